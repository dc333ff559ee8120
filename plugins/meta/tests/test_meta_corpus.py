"""Every recorded native exchange with Llama goes through the family, and says what the recording says."""

from __future__ import annotations

from typing import Any, Final

import pytest
from bedrock_async_meta import MetaFamily
from corpus import Exchange, exchanges
from native_properties import converse_events, event_kinds
from native_traffic import native_answer, native_body, native_chunks, native_events, recorded, recorded_latency_ms

from bedrock_async import ConverseRequest
from bedrock_async.folding import fold

FAMILY: Final = MetaFamily()
WHOLE: Final = recorded("invoke", "meta")
STREAMED: Final = recorded("invoke-with-response-stream", "meta")
REQUESTS: Final = [each for each in (*WHOLE, *STREAMED) if each.request_body]
CONVERSED: Final = [each for each in exchanges("converse-stream", 200) if "llama" in each.id]
REASONS: Final = {"length": "max_tokens", "max_tokens": "max_tokens", "stop": "end_turn"}


@pytest.mark.parametrize("exchange", WHOLE, ids=str)
def test_a_recorded_answer_says_what_it_said(exchange: Exchange) -> None:
    """Text, stop reason and usage from the body, latency from the headers."""
    native, response = exchange.response_json, native_answer(exchange, FAMILY)

    assert response.text == native["generation"]
    assert response.stop_reason == REASONS[native["stop_reason"]]
    assert response.usage.input_tokens == native["prompt_token_count"]
    assert response.usage.output_tokens == native["generation_token_count"]
    assert response.metrics.latency_ms == recorded_latency_ms(exchange)


@pytest.mark.parametrize("size", [1, 1_000_000], ids=["bytes", "whole"])
@pytest.mark.parametrize("exchange", STREAMED, ids=str)
def test_a_recorded_stream_says_what_it_said(exchange: Exchange, size: int) -> None:
    """Text piece by piece, stop reason, and usage from the chunks, as the metrics have it."""
    chunks, events = native_chunks(exchange), native_events(exchange, FAMILY, size=size)
    response = fold(events)

    assert [event.text for event in events if event.text] == [
        chunk["generation"] for chunk in chunks if chunk["generation"]
    ]
    assert response.stop_reason == REASONS[chunks[-1]["stop_reason"]]
    metrics = chunks[-1]["amazon-bedrock-invocationMetrics"]
    assert response.usage.input_tokens == chunks[0]["prompt_token_count"] == metrics["inputTokenCount"]
    assert response.usage.output_tokens == chunks[-1]["generation_token_count"] == metrics["outputTokenCount"]
    assert response.metrics.latency_ms == metrics["invocationLatency"]


def converse_of(native: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The Converse request of the same meaning, and whether its prompt is raw."""
    prompt: str = native["prompt"]
    request: dict[str, Any] = {}
    raw = not prompt.startswith("<s>[INST] ")
    if not raw:
        system, _, prompt = prompt.removeprefix("<s>[INST] <<SYS>>\n").partition("\n<</SYS>>\n\n")
        request["system"] = [{"text": system}]
    request["messages"] = [{"role": "user", "content": [{"text": prompt.removesuffix(" [/INST]")}]}]
    names = {"max_gen_len": "maxTokens", "temperature": "temperature", "top_p": "topP"}
    request["inferenceConfig"] = {names[name]: native[name] for name in names if name in native}
    return request, raw


@pytest.mark.parametrize("exchange", REQUESTS, ids=str)
def test_a_request_of_the_same_meaning_becomes_the_recorded_body(exchange: Exchange) -> None:
    """Most were recorded raw; one has the template of Llama 2 with a system prompt."""
    wire, raw = converse_of(exchange.request_json)
    options = {"raw_prompt": True} if raw else {}
    body = native_body(ConverseRequest.from_dict(wire), exchange.model_id, FAMILY, **options)
    assert body == exchange.request_json


def test_one_recorded_prompt_has_a_template() -> None:
    """Otherwise the test above would prove nothing about templates."""
    assert [converse_of(each.request_json)[1] for each in REQUESTS].count(False) == 1


@pytest.mark.parametrize("exchange", CONVERSED, ids=str)
def test_both_ways_give_the_same_events(exchange: Exchange) -> None:
    """Llama was recorded both ways, with other questions: the events are of the same kinds, in the same order."""
    converse = converse_events(exchange)
    assert {tuple(event_kinds(native_events(each, FAMILY))) for each in STREAMED} == {tuple(event_kinds(converse))}
