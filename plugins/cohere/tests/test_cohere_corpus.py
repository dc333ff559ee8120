"""Every recorded native exchange with Cohere's models goes through the family, and says what the recording says."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from bedrock_async_cohere import CohereFamily
from corpus import Exchange, exchanges
from native_properties import converse_events, event_kinds, events_of
from native_traffic import (
    call_context,
    native_answer,
    native_body,
    native_chunks,
    native_events,
    native_headers,
    recorded,
    recorded_latency_ms,
)

from bedrock_async import ConverseRequest, InvokeRequest
from bedrock_async.families import EmbedRequest, FamilyContext, RerankRequest
from bedrock_async.folding import fold
from bedrock_async.providers import HttpResponse
from bedrock_async.tasks import Task, embed
from bedrock_async.testing.expecting import driven

FAMILY: Final = CohereFamily()
WHOLE: Final = recorded("invoke", "cohere.command")
STREAMED: Final = recorded("invoke-with-response-stream", "cohere.command")
EMBEDDED: Final = recorded("invoke", "cohere.embed")
RANKED: Final = recorded("invoke", "cohere.rerank")
CONVERSED: Final = [each for each in exchanges("converse-stream", 200) if "cohere" in each.id]
REASONS: Final = {"MAX_TOKENS": "max_tokens", "max_tokens": "max_tokens", "COMPLETE": "end_turn"}


def _named(model: str) -> str:
    """The model, where an exchange was recorded without its name."""
    return "cohere.embed-english-v3" if model == "unknown" else model


def context(model: str) -> FamilyContext:
    """The context of a task with that model."""
    call = call_context(_named(model), FAMILY)
    return FamilyContext(call.model, call.profile)


# -- chat


@pytest.mark.parametrize("exchange", WHOLE, ids=str)
def test_a_recorded_answer_says_what_it_said(exchange: Exchange) -> None:
    """Text and stop reason from the body; usage and latency from the headers where they were recorded."""
    native, response = exchange.response_json, native_answer(exchange, FAMILY)
    answer = native["generations"][0] if "generations" in native else native
    headers = native_headers(exchange)

    assert response.text == answer["text"]
    assert response.stop_reason == REASONS[answer["finish_reason"]]
    assert response.usage.input_tokens == int(headers.get("x-amzn-bedrock-input-token-count", "0"))
    assert response.usage.output_tokens == int(headers.get("x-amzn-bedrock-output-token-count", "0"))
    assert response.metrics.latency_ms == recorded_latency_ms(exchange)


@pytest.mark.parametrize("size", [1, 1_000_000], ids=["bytes", "whole"])
@pytest.mark.parametrize("exchange", STREAMED, ids=str)
def test_a_recorded_stream_says_what_it_said(exchange: Exchange, size: int) -> None:
    """Text piece by piece (of the first generation, where two were asked for), stop reason, and usage."""
    chunks, events = native_chunks(exchange), native_events(exchange, FAMILY, size=size)
    response = fold(events)

    said = [chunk["text"] for chunk in chunks if "text" in chunk and chunk.get("index", 0) == 0]
    assert [event.text for event in events if event.text] == said
    assert response.stop_reason == REASONS[chunks[-1]["finish_reason"]]
    if (end := chunks[-1].get("response")) is not None:
        assert response.text == end["text"]
    metrics = chunks[-1]["amazon-bedrock-invocationMetrics"]
    assert response.usage.input_tokens == metrics["inputTokenCount"]
    assert response.usage.output_tokens == metrics["outputTokenCount"]
    assert response.metrics.latency_ms == metrics["invocationLatency"]


def converse_of(native: dict[str, Any]) -> dict[str, Any]:
    """The Converse request of the same meaning; what it has no word for goes into the additional fields."""
    rest = dict(native)
    text = rest.pop("message", None) or rest.pop("prompt")
    names = {"max_tokens": "maxTokens", "temperature": "temperature", "p": "topP", "stop_sequences": "stopSequences"}
    inference = {names[name]: rest.pop(name) for name in names if rest.get(name)}
    rest.pop("stream", None)
    return {
        "messages": [{"role": "user", "content": [{"text": text}]}],
        "inferenceConfig": inference,
        "additionalModelRequestFields": rest,
    }


@pytest.mark.parametrize("exchange", [each for each in (*WHOLE, *STREAMED) if each.request_body], ids=str)
def test_a_request_of_the_same_meaning_becomes_the_recorded_body(exchange: Exchange) -> None:
    """Member by member, up to ``stream``, which the operation decides."""
    request = ConverseRequest.from_dict(converse_of(exchange.request_json))
    recorded_body = {name: value for name, value in exchange.request_json.items() if name != "stream"}
    assert native_body(request, exchange.model_id, FAMILY) == recorded_body


def test_both_ways_give_the_same_events() -> None:
    """Command R was recorded both ways, with other questions: events of the same kinds, in the same order."""
    (exchange,) = (each for each in CONVERSED if "tools" not in each.features)
    converse = converse_events(exchange)
    assert {tuple(event_kinds(native_events(each, FAMILY))) for each in STREAMED} == {tuple(event_kinds(converse))}


@pytest.mark.parametrize("exchange", [each for each in CONVERSED if "tools" in each.features], ids=str)
def test_both_ways_tell_calls_in_the_same_order(exchange: Exchange) -> None:
    """Converse was recorded to: the plan as text, then the call; native events of calls become the same."""
    converse = converse_events(exchange)
    (use,) = fold(converse).tool_uses
    call = {"name": use.name, "parameters": use.input}
    chunks: list[dict[str, Any]] = [
        {"event_type": "stream-start", "is_finished": False},
        {"event_type": "text-generation", "is_finished": False, "text": fold(converse).text},
        {"event_type": "tool-calls-generation", "is_finished": False, "tool_calls": [call]},
        {
            "event_type": "stream-end",
            "is_finished": True,
            "finish_reason": "COMPLETE",
            "amazon-bedrock-invocationMetrics": {"inputTokenCount": 5, "outputTokenCount": 40},
        },
    ]
    native = events_of(FAMILY, exchange.model_id, chunks)
    assert event_kinds(native) == event_kinds(converse)
    ours, theirs = fold(native), fold(converse)
    assert (ours.text, ours.stop_reason) == (theirs.text, theirs.stop_reason)
    assert [(each.name, each.input) for each in ours.tool_uses] == [(use.name, use.input)]


def test_the_tokens_are_those_that_converse_counts() -> None:
    """Billed units: ``Hi there!`` is three tokens to Converse, and seven words are seven here."""
    (short,) = (
        each for each in exchanges("converse", 200) if b"Hi there!" in each.request_body and "cohere" in each.id
    )
    assert short.response_json["usage"]["inputTokens"] == 3
    (stream,) = (each for each in STREAMED if "command-r" in each.model_id)
    meta = native_chunks(stream)[-1]["response"]["meta"]
    usage = fold(native_events(stream, FAMILY)).usage
    assert usage.input_tokens == meta["billed_units"]["input_tokens"] != meta["tokens"]["input_tokens"]


# -- embeddings and ranking


@pytest.mark.parametrize("exchange", EMBEDDED, ids=str)
def test_recorded_embeddings_are_read(exchange: Exchange) -> None:
    """Vectors come in the order of the texts; the tokens come from the header."""
    embeddings: Any = exchange.response_json["embeddings"]
    vectors: Any = embeddings["float"] if "embed-v4" in exchange.model_id else embeddings
    texts: list[str] = exchange.response_json["texts"]
    headers = native_headers(exchange)
    call = call_context(_named(exchange.model_id), FAMILY)
    task = Task(call, FAMILY, InvokeRequest(model_id=call.model.raw), {})
    found, _ = driven(embed(EmbedRequest(inputs=texts), task), [HttpResponse(200, headers, exchange.response_body)])

    assert found.vectors == vectors
    tokens = headers.get("x-amzn-bedrock-input-token-count")
    assert found.input_tokens == (None if tokens is None else int(tokens))


@pytest.mark.parametrize("exchange", [each for each in EMBEDDED if each.request_body], ids=str)
def test_a_request_for_embeddings_becomes_the_recorded_body(exchange: Exchange) -> None:
    """Member by member."""
    native = exchange.request_json
    purposes = {"search_document": "document", "search_query": "query"}
    request = EmbedRequest(
        inputs=native["texts"],
        purpose=purposes[native["input_type"]],
        dimensions=native.get("output_dimension"),
        truncate=native["truncate"].lower() if "truncate" in native else None,
    )
    assert FAMILY.encode_embed(request, context(exchange.model_id)).body == native


def test_the_recorded_ranking_is_read_and_asked_for() -> None:
    """The best document first, by its index."""
    (exchange,) = RANKED
    native, ctx = exchange.request_json, context(exchange.model_id)
    request = RerankRequest(query=native["query"], documents=native["documents"], top_n=native["top_n"])
    assert json.loads(json.dumps(FAMILY.encode_rerank(request, ctx).body)) == native

    ranked = FAMILY.decode_rerank(exchange.response_json, native_headers(exchange), ctx)
    assert [(each.index, each.score) for each in ranked] == [(2, 0.8742601), (0, 0.1728413), (4, 0.10793502)]
