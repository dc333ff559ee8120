"""Every recorded native exchange with AI21's models goes through the family, and says what the recording says."""

from __future__ import annotations

from typing import Any, Final

import pytest
from bedrock_async_ai21 import AI21Family
from corpus import Exchange, exchanges
from hypothesis import given
from hypothesis import strategies as st
from native_properties import converse_events, cut, event_kinds, only_our_errors, strange_chunks, streamed
from native_traffic import native_answer, native_body, native_chunks, native_events, native_headers, recorded

from bedrock_async import BedrockError, ConverseRequest, InvalidRequestError
from bedrock_async.folding import fold

FAMILY: Final = AI21Family()
WHOLE: Final = recorded("invoke", "ai21")
STREAMED: Final = recorded("invoke-with-response-stream", "ai21")
JAMBA: Final = "ai21.jamba-1-5-mini-v1:0"
TEXT: Final = "Die Antwort, \U0001f600, ist: 42."


@pytest.mark.parametrize("exchange", WHOLE, ids=str)
def test_a_recorded_answer_says_what_it_said(exchange: Exchange) -> None:
    """Text and stop reason; usage and latency, which the headers have for both dialects."""
    native, response = exchange.response_json, native_answer(exchange, FAMILY)
    headers = native_headers(exchange)

    if "completions" in native:
        (completion,) = native["completions"]
        assert completion["finishReason"]["reason"] == "endoftext"
        assert response.text == completion["data"]["text"]
    else:
        (choice,) = native["choices"]
        assert choice["finish_reason"] == "stop"
        assert response.text == choice["message"]["content"]
    assert response.stop_reason == "end_turn"
    assert response.usage.input_tokens == int(headers["x-amzn-bedrock-input-token-count"])
    assert response.usage.output_tokens == int(headers["x-amzn-bedrock-output-token-count"])
    assert response.metrics.latency_ms == int(headers["x-amzn-bedrock-invocation-latency"])


@pytest.mark.parametrize("size", [1, 1_000_000], ids=["bytes", "whole"])
@pytest.mark.parametrize("exchange", STREAMED, ids=str)
def test_a_recorded_stream_says_what_it_said(exchange: Exchange, size: int) -> None:
    """Text piece by piece, stop reason, and usage as the metrics have it."""
    chunks, events = native_chunks(exchange), native_events(exchange, FAMILY, size=size)
    response = fold(events)

    pieces = [choice["delta"]["content"] for chunk in chunks for choice in chunk.get("choices", ())]
    assert [event.text for event in events if event.text] == [piece for piece in pieces if piece]
    assert response.stop_reason == "end_turn"
    metrics = chunks[-1]["amazon-bedrock-invocationMetrics"]
    assert response.usage.input_tokens == metrics["inputTokenCount"]
    assert response.usage.output_tokens == metrics["outputTokenCount"]
    assert response.metrics.latency_ms == metrics["invocationLatency"]


def converse_of(native: dict[str, Any]) -> dict[str, Any]:
    """The Converse request of the same meaning."""
    text = native["prompt"] if "prompt" in native else native["messages"][0]["content"]
    names = {"max_tokens": "maxTokens", "maxTokens": "maxTokens", "temperature": "temperature", "topP": "topP"}
    return {
        "messages": [{"role": "user", "content": [{"text": text}]}],
        "inferenceConfig": {names[name]: native[name] for name in names if name in native},
    }


@pytest.mark.parametrize("exchange", [*WHOLE, *STREAMED], ids=str)
def test_a_request_of_the_same_meaning_becomes_the_recorded_body(exchange: Exchange) -> None:
    """Member by member."""
    request = ConverseRequest.from_dict(converse_of(exchange.request_json))
    assert native_body(request, exchange.model_id, FAMILY) == exchange.request_json


def test_both_ways_give_the_same_events() -> None:
    """Jamba was recorded both ways, with other questions: events of the same kinds, in the same order."""
    (exchange,) = (each for each in exchanges("converse-stream", 200) if "ai21" in each.id)
    converse = converse_events(exchange)
    (ours,) = STREAMED
    assert event_kinds(native_events(ours, FAMILY)) == event_kinds(converse)


# -- dialects, and odd chunks


def test_a_begun_answer_of_jurassic_is_left_open() -> None:
    """The prompt ends inside it, so the model continues it."""
    messages = [
        {"role": "user", "content": [{"text": "Count."}]},
        {"role": "assistant", "content": [{"text": "One,"}]},
    ]
    body = native_body(ConverseRequest.from_dict({"messages": messages}), "ai21.j2-mid-v1", FAMILY)
    assert body["prompt"] == "User: Count.\n\nAssistant: One,"


@pytest.mark.parametrize(
    ("model", "complaint"), [("ai21.jamba-instruct-v1:0", "tools"), ("ai21.j2-mid-v1", "tools"), (JAMBA, "a forced")]
)
def test_what_a_model_cannot_take_is_refused(model: str, complaint: str) -> None:
    """The error names the feature, and the provider that supports it."""
    tool: dict[str, Any] = {"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}}
    wire: dict[str, Any] = {
        "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
        "toolConfig": {"tools": [tool], "toolChoice": {"any": {}}},
    }
    with pytest.raises(InvalidRequestError, match=f"'ai21' cannot express {complaint}.*converse"):
        native_body(ConverseRequest.from_dict(wire), model, FAMILY)


@given(cut(TEXT))
def test_text_may_be_cut_anywhere(pieces: list[str]) -> None:
    """Splitting the text differently does not change the answer."""
    chunks = [{"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]} for piece in pieces]
    last = {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "length", "stop_reason": 518}]}
    response = streamed(FAMILY, JAMBA, [*chunks, last])
    assert (response.text, response.stop_reason) == (TEXT, "max_tokens")


@given(
    st.lists(
        strange_chunks(
            *("choices", "delta", "message", "content", "finish_reason", "tool_calls", "function", "id", "name"),
            *("arguments", "usage", "prompt_tokens", "index"),
        ),
        max_size=3,
    )
)
def test_chunks_of_any_shape_are_events_or_an_error_of_ours(chunks: list[dict[str, Any]]) -> None:
    """No KeyError escapes, and no event out of order."""
    only_our_errors(FAMILY, JAMBA, chunks)


@pytest.mark.parametrize("chunk", [{"choices": 5}, {"choices": [{"index": 0}]}, {"completions": []}])
def test_a_bad_chunk_is_an_error(chunk: dict[str, Any]) -> None:
    """The error names the family."""
    with pytest.raises(BedrockError, match="'ai21'"):
        streamed(FAMILY, JAMBA, [chunk])
