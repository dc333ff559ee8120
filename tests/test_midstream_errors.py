"""Errors in the middle of a stream: every one that the service model has, with all that it carries."""

from __future__ import annotations

from typing import Any, Final

import pytest

from bedrock_async import BedrockClient, Credentials, InvokeChunk, JSONValue, ServiceError
from bedrock_async.errors import service_error
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.testing.frames import chunk_frame, exception_frame, stream_bytes
from bedrock_async.testing.service_model import service_model

MODEL: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
STREAM_TYPE: Final = {"content-type": "application/vnd.amazon.eventstream"}
BEGINNING: Final[list[dict[str, JSONValue]]] = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Once upon "}}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "a time"}}},
]


def exceptions(output: str) -> list[tuple[str, int, frozenset[str]]]:
    """Return the exceptions of an event stream: the frame's name, the HTTP status, the members."""
    shape: Any = service_model().shape_for(output)
    return [
        (name, member.metadata["error"]["httpStatusCode"], frozenset(member.members))
        for name, member in shape.members.items()
        if member.metadata.get("exception")
    ]


def client_of(answer: CannedResponse) -> BedrockClient:
    """Return a client that gets this answer."""
    credentials = Credentials("AKIDEXAMPLE", "secret")
    return BedrockClient(region="us-east-1", credentials=credentials, transport=CannedTransport([answer]))


def checked(error: ServiceError, name: str, status: int, members: frozenset[str]) -> None:
    """Check what every error of a stream carries."""
    assert error.code == name[0].upper() + name[1:]
    assert (error.message, error.status, error.in_stream) == ("It broke.", status, True)
    assert error.retryable == service_error(error.code, "m", status=status).retryable
    assert error.retryable == (status >= 408)
    assert error.request_id == "canned"
    original = (529, "overloaded") if "originalStatusCode" in members else (None, None)
    assert (error.original_status_code, error.original_message) == original
    assert [(each.status, each.code) for each in error.attempts] == [(200, error.code)]
    assert error.hint


def frame(name: str, members: frozenset[str]) -> bytes:
    """Return the frame of an exception with all members that the service model gives it."""
    extra: dict[str, JSONValue] = {"originalStatusCode": 529, "originalMessage": "overloaded"}
    return exception_frame(name, "It broke.", **{key: value for key, value in extra.items() if key in members})


@pytest.mark.parametrize(
    ("name", "status", "members"), exceptions("ConverseStreamOutput"), ids=lambda value: str(value)[:30]
)
@pytest.mark.parametrize("pieces", [1, 2])
async def test_every_modelled_exception_is_typed(name: str, status: int, members: frozenset[str], pieces: int) -> None:
    """With the HTTP status it would have had, whether it is worth repeating, and the response so far.

    Whether it arrives with the text before it or after it: all events come first.
    """
    body = [stream_bytes(BEGINNING), frame(name, members)]
    client = client_of(CannedResponse(body if pieces == 2 else [b"".join(body)], headers=STREAM_TYPE))
    texts: list[str] = []
    with pytest.raises(ServiceError) as caught:
        async for event in client.stream(MODEL, "Tell."):
            texts += [event.text] if event.text is not None else []
    checked(caught.value, name, status, members)
    assert "".join(texts) == "Once upon a time"
    assert caught.value.partial_response is not None
    assert caught.value.partial_response.text == "Once upon a time"


@pytest.mark.parametrize(("name", "status", "members"), exceptions("ResponseStream"), ids=lambda value: str(value)[:30])
async def test_native_streams_have_the_same_errors(name: str, status: int, members: frozenset[str]) -> None:
    """Chunks that arrived before are handed out."""
    client = client_of(CannedResponse([chunk_frame(b'{"a": 1}') + frame(name, members)], headers=STREAM_TYPE))
    chunks: list[InvokeChunk] = []
    with pytest.raises(ServiceError) as caught:
        async for chunk in client.invoke_stream(MODEL, {}):
            chunks.append(chunk)  # noqa: PERF401 - what came before the error counts
    checked(caught.value, name, status, members)
    assert [chunk.json() for chunk in chunks] == [{"a": 1}]


def test_the_service_model_has_them() -> None:
    """An empty table would pass in silence."""
    assert {"modelStreamErrorException", "throttlingException"} <= {name for name, *_ in exceptions("ResponseStream")}
    assert len(exceptions("ConverseStreamOutput")) >= 5
