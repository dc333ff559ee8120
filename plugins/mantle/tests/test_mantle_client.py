"""The provider inside a client, over a real connection to an endpoint on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import pytest
from bedrock_async_mantle import MantleProvider
from bedrock_async_mantle.testing import CannedAnswer, CannedEndpoint

from bedrock_async import (
    AccessDeniedError,
    AuthenticationError,
    BedrockClient,
    ConnectionLostError,
    Credentials,
    EventStreamError,
    InternalServerError,
    RetryPolicy,
    StandardRetry,
    StreamTruncatedError,
    ThrottlingError,
    UnexpectedContentTypeError,
    ValidationError,
)

MODEL: Final = "qwen.qwen3-32b"
AT_ONCE: Final = StandardRetry(base_delay_s=0.0)


def chunk(delta: Mapping[str, Any], reason: str | None = None) -> dict[str, Any]:
    """One chunk of a chat completion."""
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


WHOLE: Final = CannedAnswer.json(
    {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
)
STREAM: Final = CannedAnswer.stream(
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo."}),
    chunk({}, "stop"),
    {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    done=True,
)
THROTTLED: Final = CannedAnswer.error(429, "rate_limit_exceeded", "Slow down.", "rate_limit_error")


def client_of(endpoint: CannedEndpoint, *, api_key: str | None = None, retry: RetryPolicy = AT_ONCE) -> BedrockClient:
    """Return a client that calls the endpoint through this provider."""
    return BedrockClient(
        region="us-east-1",
        credentials=None if api_key else Credentials("AKIDEXAMPLE", "secret"),
        api_key=api_key,
        provider="mantle",
        providers={"mantle": MantleProvider(endpoint.url)},
        retry=retry,
    )


async def test_a_call_and_a_stream_say_the_same() -> None:
    """Text, reason for the end, tokens, and what is not in the body."""
    async with CannedEndpoint([WHOLE, STREAM]) as endpoint, client_of(endpoint) as client:
        reply = await client.converse(MODEL, "Hi.", max_tokens=10)
        async with client.stream(MODEL, "Hi.", max_tokens=10) as stream:
            texts = [text async for text in stream.text_stream]
            streamed = await stream.get_final_response()
    assert texts == ["Hel", "lo."]
    assert streamed.to_dict() == reply.to_dict()
    assert (reply.text, reply.stop_reason, reply.usage.total_tokens) == ("Hello.", "end_turn", 5)
    assert (reply.meta.provider, reply.meta.request_id) == ("mantle", "a1b2c3d4-0000-4000-8000-000000000000")
    whole, streaming = endpoint.requests
    assert whole.path == streaming.path == "/v1/chat/completions"
    assert whole.body == {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Hi."}],
        "max_tokens": 10,
        "stream": False,
    }
    assert streaming.headers["accept"] == "text/event-stream"


async def test_credentials_sign_for_bedrock_mantle() -> None:
    """In the region of the client, for the service that IAM knows."""
    async with CannedEndpoint([WHOLE]) as endpoint, client_of(endpoint) as client:
        await client.converse(MODEL, "Hi.")
    (request,) = endpoint.requests
    authorization = request.headers["authorization"]
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/us-east-1/bedrock-mantle/aws4_request," in authorization


async def test_an_api_key_is_a_bearer_token() -> None:
    """As for Bedrock itself."""
    async with CannedEndpoint([WHOLE]) as endpoint, client_of(endpoint, api_key="ABSK-example") as client:
        await client.converse(MODEL, "Hi.")
    assert endpoint.requests[0].headers["authorization"] == "Bearer ABSK-example"


async def test_the_runtime_is_where_the_client_says() -> None:
    """Under /openai/v1 of the client's own endpoint, signed for as Bedrock."""
    async with (
        CannedEndpoint([WHOLE]) as endpoint,
        BedrockClient(
            region="us-east-1",
            endpoint_url=endpoint.url,
            credentials=Credentials("AKIDEXAMPLE", "secret"),
            providers={"mantle": MantleProvider()},
        ) as client,
    ):
        await client.converse(MODEL, "Hi.", provider="mantle", provider_options={"endpoint": "runtime"})
    (request,) = endpoint.requests
    assert request.path == "/openai/v1/chat/completions"
    assert "/us-east-1/bedrock/aws4_request," in request.headers["authorization"]


async def test_the_installed_provider_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through its entry point; the environment leads it to this machine."""
    async with CannedEndpoint([WHOLE]) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_MANTLE", endpoint.url)
        async with BedrockClient(region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret")) as client:
            reply = await client.converse(MODEL, "Hi.", provider="mantle")
    assert reply.text == "Hello."


async def test_errors_of_openai_s_form_decide_about_repetition() -> None:
    """Throttled twice, then answered: for calls and streams alike, with the service's code for every attempt."""
    async with CannedEndpoint([THROTTLED, THROTTLED, WHOLE]) as endpoint, client_of(endpoint) as client:
        reply = await client.converse(MODEL, "Hi.")
    assert [attempt.code for attempt in reply.meta.attempts] == ["rate_limit_exceeded", "rate_limit_exceeded", None]

    async with CannedEndpoint([THROTTLED, STREAM]) as endpoint, client_of(endpoint) as client:
        streamed = await client.stream(MODEL, "Hi.").get_final_response()
    assert [attempt.code for attempt in streamed.meta.attempts] == ["rate_limit_exceeded", None]


@pytest.mark.parametrize(
    ("answer", "error", "attempts"),
    [
        (
            CannedAnswer.error(401, "access_denied", "Not for this account.", "permission_denied_error"),
            AccessDeniedError,
            1,
        ),
        (CannedAnswer.error(401, "invalid_api_key", "Invalid bearer token"), AuthenticationError, 1),
        (CannedAnswer.error(400, "validation_error", "model `x` isn't supported on this route"), ValidationError, 1),
        (CannedAnswer.error(400, None, "Internal server error"), InternalServerError, 3),
        (
            CannedAnswer.json({"Output": {"__type": "com.amazon.coral.service#UnknownOperationException"}}),
            ValidationError,
            1,
        ),
        (CannedAnswer((b"<html></html>",), content_type="text/html"), UnexpectedContentTypeError, 1),
    ],
)
async def test_errors_are_those_of_the_tree(answer: CannedAnswer, error: type[Exception], attempts: int) -> None:
    """Whole and streamed alike, what is worth it repeated."""
    async with CannedEndpoint([answer]) as endpoint, client_of(endpoint) as client:
        with pytest.raises(error):
            await client.converse(MODEL, "Hi.")
        with pytest.raises(error):
            await client.stream(MODEL, "Hi.").get_final_response()
    assert len(endpoint.requests) == 2 * attempts


async def test_a_stream_that_fails_half_way_has_what_came() -> None:
    """An error inside, an early end, and an endless line: each carries the partial response, and none is repeated."""
    begun = (b'data: {"choices": [{"index": 0, "delta": {"content": "Hel"}, "finish_reason": null}]}\n\n',)
    cases: list[tuple[bytes, type[Exception]]] = [
        (b'data: {"error": {"code": "rate_limit_exceeded", "message": "Slow."}}\n\n', ThrottlingError),
        (b"", StreamTruncatedError),
        (b"data: " + b"x" * (17 * 1024 * 1024), EventStreamError),
    ]
    for rest, error in cases:
        answer = CannedAnswer((*begun, rest), content_type="text/event-stream")
        async with CannedEndpoint([answer]) as endpoint, client_of(endpoint) as client:
            with pytest.raises(error) as caught:
                async for _ in client.stream(MODEL, "Hi."):
                    pass
        partial = getattr(caught.value, "partial_response", None)
        assert partial is not None
        assert partial.text == "Hel"
        assert len(endpoint.requests) == 1


async def test_an_error_before_the_first_event_is_repeated() -> None:
    """The caller has seen nothing yet, although the head was a success."""
    failing = CannedAnswer.stream({"error": {"code": "server_error", "message": "Oops."}})
    async with CannedEndpoint([failing, STREAM]) as endpoint, client_of(endpoint) as client:
        reply = await client.stream(MODEL, "Hi.").get_final_response()
    assert (reply.text, len(reply.meta.attempts)) == ("Hello.", 2)


async def test_leaving_a_stream_closes_its_connection() -> None:
    """The connection closes at once, although the endpoint would go on."""
    gone, left = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        writer.write(b'data: {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}\n\n')
        await left.wait()
        try:
            while await reader.read(1024):
                pass
        except ConnectionResetError:
            pass
        gone.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        provider = MantleProvider(f"http://{host}:{port}")
        async with BedrockClient(
            region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret"), providers={"mantle": provider}
        ) as client:
            async with client.stream(MODEL, "Hi.", provider="mantle") as stream:
                async for event in stream:
                    if event.text:
                        break
            left.set()
            await asyncio.wait_for(gone.wait(), 30)


async def test_a_lost_connection_is_told() -> None:
    """The error carries what had arrived."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 999\r\n\r\n")
        writer.write(b'data: {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}\n\n')
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        provider = MantleProvider(f"http://{host}:{port}")
        async with BedrockClient(
            region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret"), providers={"mantle": provider}
        ) as client:
            with pytest.raises(ConnectionLostError) as caught:
                await client.stream(MODEL, "Hi.", provider="mantle").get_final_response()
    assert caught.value.partial_response is not None
    assert caught.value.partial_response.text == "Hel"
