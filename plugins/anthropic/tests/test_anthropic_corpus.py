"""Every recorded native exchange with Claude goes through the family, and says what the recording says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, cast

import pytest
from anthropic_words import converse_of, plain
from bedrock_async_anthropic import AnthropicFamily
from corpus import Exchange
from native_traffic import (
    native_answer,
    native_body,
    native_chunks,
    native_events,
    native_headers,
    recorded,
    recorded_both_ways,
    recorded_latency_ms,
    recorded_response,
)

from bedrock_async import ConverseRequest, ConverseResponse, Event, StreamTruncatedError
from bedrock_async.folding import fold, unfold

# Recorded as answers alone, without the request and its model.
_UNKNOWN: Final = "anthropic.claude-3-5-sonnet-20240620-v1:0"
FAMILY: Final = AnthropicFamily()
WHOLE: Final = recorded("invoke", "anthropic")
STREAMED: Final = recorded("invoke-with-response-stream", "anthropic")
# One recorded stream breaks off: its only chunk has no stop reason.
BROKEN: Final = "invoke-with-response-stream__anthropic.claude-2-and-older__200__1faa332770a0ad24"
COMPLETE: Final = [each for each in STREAMED if each.id != BROKEN]
REQUESTS: Final = [each for each in [*WHOLE, *STREAMED] if b'"messages"' in each.request_body]
PROMPTS: Final = [each for each in [*WHOLE, *STREAMED] if b'"prompt"' in each.request_body]


def answer(exchange: Exchange) -> ConverseResponse:
    """The response that the provider makes of a recorded answer."""
    return native_answer(exchange, FAMILY, model=_UNKNOWN if exchange.model_id == "unknown" else None)


def events(exchange: Exchange, *, size: int | None = None) -> list[Event]:
    """The events that the provider makes of a recorded stream."""
    return native_events(exchange, FAMILY, size=size)


# -- answers


@pytest.mark.parametrize("exchange", WHOLE, ids=str)
def test_a_recorded_answer_says_what_it_said(exchange: Exchange) -> None:
    """Text, thinking, tool uses, stop reason and usage, of messages and of text completions."""
    native, response = exchange.response_json, answer(exchange)
    content = native.get("content") or [{"type": "text", "text": native["completion"]}]

    assert response.text == "".join(block["text"] for block in content if block["type"] == "text")
    assert response.reasoning == "".join(block["thinking"] for block in content if block["type"] == "thinking")
    assert [(use.tool_use_id, use.name, use.input) for use in response.tool_uses] == [
        (block["id"], block["name"], block["input"]) for block in content if block["type"] == "tool_use"
    ]
    assert response.stop_reason == native["stop_reason"]
    sent = native_headers(exchange)
    usage = native.get("usage") or {
        "input_tokens": int(sent.get("x-amzn-bedrock-input-token-count", "0")),
        "output_tokens": int(sent.get("x-amzn-bedrock-output-token-count", "0")),
    }
    assert response.usage.input_tokens == usage["input_tokens"]
    assert response.usage.output_tokens == usage["output_tokens"]
    assert response.usage.cache_read_input_tokens == usage.get("cache_read_input_tokens")
    assert response.usage.cache_write_input_tokens == usage.get("cache_creation_input_tokens")
    assert response.metrics.latency_ms == recorded_latency_ms(exchange)


@pytest.mark.parametrize("exchange", COMPLETE, ids=str)
def test_a_recorded_stream_says_what_it_said(exchange: Exchange) -> None:
    """Text, thinking with its signature, tool uses, stop reason, usage and times."""
    native, response = native_chunks(exchange), fold(events(exchange))
    deltas = [chunk["delta"] for chunk in native if chunk.get("type") == "content_block_delta"]
    texts = [delta["text"] for delta in deltas if delta["type"] == "text_delta"]
    texts += [chunk["completion"] for chunk in native if "completion" in chunk]

    assert response.text == "".join(texts)
    assert response.reasoning == "".join(delta.get("thinking", "") for delta in deltas)
    assert [use.tool_use_id for use in response.tool_uses] == [
        chunk["content_block"]["id"]
        for chunk in native
        if chunk.get("type") == "content_block_start" and chunk["content_block"]["type"] == "tool_use"
    ]
    inputs: dict[int, str] = {}
    for chunk in native:
        if chunk.get("type") == "content_block_delta" and chunk["delta"]["type"] == "input_json_delta":
            inputs[chunk["index"]] = inputs.get(chunk["index"], "") + chunk["delta"]["partial_json"]
    assert [use.input for use in response.tool_uses] == [json.loads(text or "{}") for text in inputs.values()]
    reasons = [chunk.get("stop_reason") or chunk.get("delta", {}).get("stop_reason") for chunk in native]
    assert response.stop_reason == next(reason for reason in reversed(reasons) if reason)
    metrics = native[-1]["amazon-bedrock-invocationMetrics"]
    assert response.usage.input_tokens == metrics["inputTokenCount"]
    told = [chunk["usage"]["output_tokens"] for chunk in native if chunk.get("type") == "message_delta"]
    assert response.usage.output_tokens == (told[-1] if told else metrics["outputTokenCount"])
    assert response.metrics.latency_ms == metrics["invocationLatency"]


@pytest.mark.parametrize("exchange", [COMPLETE[0], COMPLETE[len(COMPLETE) // 2], COMPLETE[-1]], ids=str)
def test_a_recorded_stream_may_come_byte_by_byte(exchange: Exchange) -> None:
    """The same events, however the network cuts it."""
    assert [event.to_wire() for event in events(exchange, size=1)] == [event.to_wire() for event in events(exchange)]


def test_the_recorded_stream_that_breaks_off_is_an_error() -> None:
    """Its only chunk tells no stop reason: nobody takes it for an answer."""
    (exchange,) = (each for each in STREAMED if each.id == BROKEN)
    with pytest.raises(StreamTruncatedError):
        events(exchange)


def test_a_recorded_signature_survives() -> None:
    """The signature of a streamed thought is whole, so that it can be sent back."""
    (exchange,) = (each for each in COMPLETE if "reasoning_signature" in each.features)
    (signature,) = (
        chunk["delta"]["signature"]
        for chunk in native_chunks(exchange)
        if chunk.get("type") == "content_block_delta" and chunk["delta"]["type"] == "signature_delta"
    )
    wire = fold(events(exchange)).to_wire()
    assert signature in json.dumps(wire)


# -- requests


@pytest.mark.parametrize("exchange", REQUESTS, ids=str)
def test_a_request_of_the_same_meaning_becomes_the_recorded_body(exchange: Exchange) -> None:
    """Member by member, with the short forms of text written out."""
    request = ConverseRequest.from_dict(converse_of(exchange.request_json))
    assert native_body(request, exchange.model_id, FAMILY) == plain(exchange.request_json)


def prompted(native: Mapping[str, Any]) -> dict[str, Any]:
    """The Converse request of the same meaning as a text completion's."""
    turns = re.findall(r"\n\n(Human|Assistant):(.*?)(?=\n\nHuman:|\n\nAssistant:|$)", native["prompt"], re.DOTALL)
    if turns[-1] == ("Assistant", ""):
        turns.pop()
    roles = {"Human": "user", "Assistant": "assistant"}
    sampling = {"max_tokens_to_sample": "maxTokens", "temperature": "temperature", "top_p": "topP"}
    request: dict[str, Any] = {
        "messages": [{"role": roles[who], "content": [{"text": text.removeprefix(" ")}]} for who, text in turns],
        "inferenceConfig": {sampling[name]: value for name, value in native.items() if name in sampling},
        "additionalModelRequestFields": {"top_k": native["top_k"]},
    }
    if "stop_sequences" in native:
        request["inferenceConfig"]["stopSequences"] = native["stop_sequences"]
    return request


@pytest.mark.parametrize("exchange", PROMPTS, ids=str)
def test_a_prompt_of_the_same_meaning_becomes_the_recorded_one(exchange: Exchange) -> None:
    """Text completions, on request; some clients leave the space after "Human:" out."""
    recorded_body = exchange.request_json
    recorded_body["prompt"] = re.sub(r"(Human|Assistant):(?=\S)", r"\1: ", recorded_body["prompt"])
    request = ConverseRequest.from_dict(prompted(recorded_body))
    assert native_body(request, exchange.model_id, FAMILY, text_completions=True) == recorded_body


# -- both ways


PAIRS: Final = recorded_both_ways("anthropic", REQUESTS, converse_of)


@pytest.mark.parametrize(("converse", "native"), PAIRS, ids=[f"{one}-{other}" for one, other in PAIRS])
def test_both_ways_say_the_same(converse: Exchange, native: Exchange) -> None:
    """A conversation recorded both ways: the messages become the native ones, and the answers are alike.

    Models do not say the same twice; where these did, the responses are equal up to the times.
    """
    request = ConverseRequest.from_wire(converse.request_body, model_id=converse.model_id)
    body = native_body(request, converse.model_id, FAMILY)
    assert body["messages"] == plain(native.request_json)["messages"]

    theirs, ours = recorded_response(converse, FAMILY), recorded_response(native, FAMILY)
    assert [type(block) for block in ours.message.content] == [type(block) for block in theirs.message.content]
    assert [event.type for event in unfold(ours)] == [event.type for event in unfold(theirs)]
    if ours.text == theirs.text:
        wires = [response.model_copy(update={"metrics": None}).to_wire() for response in (ours, theirs)]
        assert wires[0] == wires[1]


def test_some_conversations_were_recorded_both_ways() -> None:
    """With equal answers too: the comparison above is not empty."""
    texts = [[recorded_response(each, FAMILY).text for each in pair] for pair in PAIRS]
    assert sum(one == other for one, other in texts) >= 4


def shape(value: object) -> object:
    """The members of JSON and the kinds of their values."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return tuple((name, shape(members[name])) for name in sorted(members))
    return type(value).__name__


def converse_shapes() -> set[object]:
    """The shapes of all events that Converse was recorded to send for Claude."""
    found: set[object] = set()
    for exchange in recorded("converse-stream", "anthropic"):
        assert exchange.eventstream is not None
        for event in exchange.eventstream["events"]:
            payload = {name: value for name, value in event["payload"].items() if name != "p"}
            found.add(shape({event["headers"][":event-type"]: payload}))
    return found


def test_native_streams_have_the_events_that_converse_sends() -> None:
    """Every event made of a native chunk has the members of one that Converse itself was recorded to send."""
    known = converse_shapes()
    ours = {
        shape(event.to_wire())
        for exchange in COMPLETE
        for event in events(exchange)
        if event.type != "metadata"  # its usage has the members that the model tells
    }
    assert ours <= known
    assert len(ours) > 5
