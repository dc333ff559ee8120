"""Pegasus: turns, videos and segments, and what odd chunks make."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from bedrock_async_twelvelabs import TwelveLabsFamily
from hypothesis import given
from hypothesis import strategies as st
from native_properties import cut, only_our_errors, strange_chunks, streamed
from native_traffic import call_context, native_body

from bedrock_async import (
    BedrockError,
    ConverseRequest,
    EventDecodeError,
    InvalidRequestError,
    StreamTruncatedError,
)
from bedrock_async.families import FamilyContext
from bedrock_async.model_id import parse_model_id
from bedrock_async.providers import HttpResponse, ReadObject, Sleep
from bedrock_async.providers.async_invoke import AsyncInvokeProvider
from bedrock_async.testing.expecting import driven

FAMILY: Final = TwelveLabsFamily()
MODEL: Final = "us.twelvelabs.pegasus-1-2-v1:0"
VIDEO: Final = {"video": {"format": "mp4", "source": {"bytes": b"video"}}}
TEXT: Final = "A walk, \U0001f600, in a park."


def body(*turns: list[dict[str, Any]], **wire: Any) -> dict[str, Any]:  # noqa: ANN401 - any member
    """The native body of turns, the user's first."""
    messages = [{"role": "assistant" if index % 2 else "user", "content": turn} for index, turn in enumerate(turns)]
    native: dict[str, Any] = native_body(ConverseRequest.from_dict({"messages": messages, **wire}), MODEL, FAMILY)
    return native


def test_turns_become_one_prompt() -> None:
    """The body has a place for only one; a video in an earlier turn is kept."""
    native = body([VIDEO, {"text": "What is it?"}], [{"text": "A park."}], [{"text": "Where?"}, {"text": "When?"}])
    assert native == {
        "inputPrompt": "user: What is it?\nassistant: A park.\nuser: Where?\nWhen?",
        "mediaSource": {"base64String": "dmlkZW8="},
    }


def test_the_description_of_a_schema_stands_in_it() -> None:
    """The body has no other member for it; a description in the schema wins."""
    for schema, described in (("{}", "Parks."), ('{"description": "Ponds."}', "Ponds.")):
        structure = {"jsonSchema": {"schema": schema, "description": "Parks."}}
        wire = {"outputConfig": {"textFormat": {"type": "json_schema", "structure": structure}}}
        assert body([{"text": "?"}], **wire)["responseFormat"] == {"jsonSchema": {"description": described}}


def test_a_second_video_is_refused() -> None:
    """The error names the place."""
    with pytest.raises(InvalidRequestError, match=r"'twelvelabs' cannot express more than one video") as caught:
        body([VIDEO, {"text": "What is it?"}], [{"text": "A park."}], [{"text": "And this?"}, VIDEO])
    assert caught.value.path == "messages[2].content[1]"


def test_segments_are_told_beside_the_text() -> None:
    """Pegasus 1.5 finds what is asked for in a video, with the times."""
    fields: dict[str, Any] = {
        "analysis_mode": "time_based_metadata",
        "segment_definitions": [{"id": "scenes", "description": "What happens", "fields": []}],
    }
    assert body([VIDEO], additionalModelRequestFields=fields) == {
        "mediaSource": {"base64String": "dmlkZW8="},
        **fields,
    }
    told = {"segments": [{"start_sec": 0, "end_sec": 4.5, "summary": "A walk"}], "definition_errors": []}
    response = FAMILY.decode({**told, "stopReason": "stop"}, {}, FamilyContext(parse_model_id(MODEL)))
    assert response.additional_model_response_fields == told
    assert (response.text, response.stop_reason) == ("", "end_turn")


@given(cut(TEXT))
def test_text_may_be_cut_anywhere(pieces: list[str]) -> None:
    """Until the last chunk the stop reason is empty."""
    chunks = [*({"message": piece, "stopReason": ""} for piece in pieces), {"message": "", "stopReason": "length"}]
    response = streamed(FAMILY, MODEL, chunks)
    assert (response.text, response.stop_reason) == (TEXT, "max_tokens")


@given(
    st.lists(
        strange_chunks("message", "stopReason", "finishReason", "segments", "definition_errors", "content"), max_size=3
    )
)
def test_chunks_of_any_shape_are_events_or_an_error_of_ours(chunks: list[dict[str, Any]]) -> None:
    """No KeyError escapes, and no event out of order."""
    only_our_errors(FAMILY, MODEL, chunks)


@pytest.mark.parametrize(
    "chunk",
    [{}, {"message": 7, "stopReason": "stop"}, {"message": "a"}, {"message": "a", "stopReason": ""}, {"text": "a"}],
)
def test_a_bad_chunk_is_an_error(chunk: dict[str, Any]) -> None:
    """The error names the family, or says that the stream is incomplete."""
    with pytest.raises(BedrockError) as caught:
        streamed(FAMILY, MODEL, [chunk])
    assert isinstance(caught.value, StreamTruncatedError) or "'twelvelabs'" in str(caught.value)
    assert isinstance(caught.value, EventDecodeError | StreamTruncatedError)


def answer(members: dict[str, Any]) -> HttpResponse:
    """A JSON answer of the service."""
    return HttpResponse(200, {"content-type": "application/json"}, json.dumps(members).encode())


def test_an_answer_may_come_through_a_job() -> None:
    """The native answer is read from output.json as it is from InvokeModel."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:async-invoke/abcdef012345"
    place = "s3://videos/said/abcdef012345"
    state = {
        "invocationArn": arn,
        "status": "Completed",
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": place}},
    }
    request = ConverseRequest.from_dict({"messages": [{"role": "user", "content": [VIDEO, {"text": "What is it?"}]}]})
    ctx = call_context(MODEL, FAMILY, output_s3_uri="s3://videos/said")
    answers = [answer({"invocationArn": arn}), None, answer(state), b'{"message": "A park.", "finishReason": "stop"}']
    response, effects = driven(AsyncInvokeProvider(lambda: "token").converse(request, ctx), answers)
    assert (response.text, response.stop_reason) == ("A park.", "end_turn")
    assert isinstance(effects[1], Sleep)
    assert effects[3] == ReadObject(f"{place}/output.json")
