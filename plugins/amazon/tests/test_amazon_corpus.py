"""Every recorded native exchange with Amazon's models goes through the family, and says what the recording says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

import pytest
from bedrock_async_amazon import AmazonFamily
from corpus import Exchange
from native_traffic import (
    call_context,
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

from bedrock_async import ConverseRequest, InvalidRequestError, InvokeRequest
from bedrock_async.families import EmbedRequest, FamilyContext
from bedrock_async.folding import fold, unfold
from bedrock_async.model_id import parse_model_id
from bedrock_async.providers import HttpResponse
from bedrock_async.tasks import Task, embed
from bedrock_async.testing.expecting import driven

FAMILY: Final = AmazonFamily()
NOVA: Final = [each for each in recorded("invoke", "amazon.nova") if "embedding" not in each.features]
NOVA_STREAMED: Final = recorded("invoke-with-response-stream", "amazon.nova")
TITAN: Final = recorded("invoke", "amazon.titan-text")
TITAN_STREAMED: Final = recorded("invoke-with-response-stream", "amazon.titan-text")
EMBEDDED: Final = [each for each in recorded("invoke", "amazon") if "embedding" in each.features]

# A client's test server took Titan's word for the text: no model was asked that way.
STRANGE: Final = "invoke__amazon.nova__200__eb46880415b98a63"


def test_every_recorded_exchange_is_of_a_kind_that_is_tested() -> None:
    """Nothing of the corpus is left out by accident."""
    every = [*recorded("invoke", "amazon"), *recorded("invoke-with-response-stream", "amazon")]
    assert len(every) == len([*NOVA, *NOVA_STREAMED, *TITAN, *TITAN_STREAMED, *EMBEDDED])
    assert len(every) == 59


# -- answers


@pytest.mark.parametrize("exchange", NOVA, ids=str)
def test_a_recorded_answer_of_nova_says_what_it_said(exchange: Exchange) -> None:
    """Text, tool uses with their ids, stop reason, usage with what was cached, and the service's time."""
    native, response = exchange.response_json, native_answer(exchange, FAMILY)
    content = native["output"]["message"]["content"]

    assert response.text == "".join(block.get("text", "") for block in content)
    assert [(use.tool_use_id, use.name, use.input) for use in response.tool_uses] == [
        (block["toolUse"]["toolUseId"], block["toolUse"]["name"], block["toolUse"]["input"])
        for block in content
        if "toolUse" in block
    ]
    assert len(response.message.content) == len(content)
    intervened = native.get("amazon-bedrock-guardrailAction") == "INTERVENED"
    assert response.stop_reason == ("guardrail_intervened" if intervened else native["stopReason"])
    usage, headers = native["usage"], native_headers(exchange)
    outputs = usage.get("outputTokens", headers.get("x-amzn-bedrock-output-token-count"))
    assert response.usage.input_tokens == usage["inputTokens"]
    assert response.usage.output_tokens == int(outputs)
    assert (response.usage.cache_read_input_tokens or 0) == usage.get("cacheReadInputTokenCount", 0)
    assert response.usage.total_tokens == usage.get("totalTokens", usage["inputTokens"] + int(outputs))
    assert response.metrics.latency_ms == recorded_latency_ms(exchange)


@pytest.mark.parametrize("size", [1, 1_000_000], ids=["bytes", "whole"])
@pytest.mark.parametrize("exchange", NOVA_STREAMED, ids=str)
def test_a_recorded_stream_of_nova_says_what_it_said(exchange: Exchange, size: int) -> None:
    """Text in one block, piece by piece; stop reason, usage with what was cached, and times."""
    native, events = native_chunks(exchange), native_events(exchange, FAMILY, size=size)
    pieces = [chunk["contentBlockDelta"]["delta"]["text"] for chunk in native if "contentBlockDelta" in chunk]
    response = fold(events)

    assert [event.text for event in events if event.type == "content_block_delta"] == pieces
    assert [type(block).__name__ for block in response.message.content] == ["TextBlock"]
    (stop,) = (chunk["messageStop"]["stopReason"] for chunk in native if "messageStop" in chunk)
    assert response.stop_reason == stop
    metrics = native[-1]["amazon-bedrock-invocationMetrics"]
    assert response.usage.input_tokens == metrics["inputTokenCount"]
    assert response.usage.output_tokens == metrics["outputTokenCount"]
    assert response.usage.cache_read_input_tokens == metrics["cacheReadInputTokenCount"]
    assert response.usage.cache_write_input_tokens == metrics["cacheWriteInputTokenCount"]
    assert response.metrics.latency_ms == metrics["invocationLatency"]


_REASONS: Final = {"FINISH": "end_turn", "LENGTH": "max_tokens", "max_tokens": "max_tokens"}


@pytest.mark.parametrize("exchange", TITAN, ids=str)
def test_a_recorded_answer_of_titan_says_what_it_said(exchange: Exchange) -> None:
    """Text, stop reason, usage, and the service's time."""
    native, response = exchange.response_json, native_answer(exchange, FAMILY)
    (result,) = native["results"]

    assert response.text == result["outputText"]
    assert response.stop_reason == _REASONS[result["completionReason"]]
    assert response.usage.input_tokens == native["inputTextTokenCount"]
    assert response.usage.output_tokens == result["tokenCount"]
    assert response.metrics.latency_ms == recorded_latency_ms(exchange)


@pytest.mark.parametrize("size", [1, 1_000_000], ids=["bytes", "whole"])
@pytest.mark.parametrize("exchange", TITAN_STREAMED, ids=str)
def test_a_recorded_stream_of_titan_says_what_it_said(exchange: Exchange, size: int) -> None:
    """Text piece by piece, stop reason or what the guardrail did, usage and times."""
    native, events = native_chunks(exchange), native_events(exchange, FAMILY, size=size)
    response = fold(events)

    assert [event.text for event in events if event.type == "content_block_delta"] == [
        chunk["outputText"] for chunk in native
    ]
    intervened = native[-1].get("amazon-bedrock-guardrailAction") == "INTERVENED"
    reason = "guardrail_intervened" if intervened else _REASONS[native[-1]["completionReason"]]
    assert response.stop_reason == reason
    assert (response.trace is not None) == intervened
    metrics = native[-1]["amazon-bedrock-invocationMetrics"]
    assert response.usage.input_tokens == metrics["inputTokenCount"]
    assert response.usage.output_tokens == metrics["outputTokenCount"]
    assert response.metrics.latency_ms == metrics["invocationLatency"]


@pytest.mark.parametrize("kind", ["invoke", "invoke-with-response-stream"])
def test_recorded_guardrail_verdicts_are_told(kind: str) -> None:
    """With the typed trace: what was masked, and by which rule."""
    (exchange,) = (
        each for each in recorded(kind, "amazon") if b"INTERVENED" in each.response_body or _intervened(each)
    )
    response = native_answer(exchange, FAMILY) if kind == "invoke" else fold(native_events(exchange, FAMILY))
    assert response.stop_reason == "guardrail_intervened"
    assert response.trace is not None
    assert response.trace.guardrail is not None
    assert "Account Number" in json.dumps(response.trace.guardrail.to_wire())


def _intervened(exchange: Exchange) -> bool:
    chunks = native_chunks(exchange) if exchange.eventstream is not None else ()
    return any(chunk.get("amazon-bedrock-guardrailAction") == "INTERVENED" for chunk in chunks)


# -- embeddings


def context(model: str) -> FamilyContext:
    """Return the context of a call."""
    return FamilyContext(parse_model_id(model), call_context(model, FAMILY).profile)


@pytest.mark.parametrize("exchange", EMBEDDED, ids=str)
def test_a_recorded_embedding_is_what_it_was(exchange: Exchange) -> None:
    """The vector and the tokens counted, in the body or the headers."""
    native, headers = exchange.response_json, native_headers(exchange)
    task = Task(call_context(exchange.model_id, FAMILY), FAMILY, InvokeRequest(model_id=exchange.model_id), {})
    found, _ = driven(embed(EmbedRequest(inputs=["Hello"]), task), [HttpResponse(200, headers, exchange.response_body)])
    vector = native["embedding"] if "embedding" in native else native["embeddings"][0]["embedding"]
    assert found.vectors == [vector]
    counted = native.get("inputTextTokenCount", headers.get("x-amzn-bedrock-input-token-count"))
    assert found.input_tokens == int(counted)


_PURPOSES: Final = {"GENERIC_RETRIEVAL": "query", "TEXT_RETRIEVAL": "text_retrieval"}


def embedding_of(native: Mapping[str, Any]) -> EmbedRequest:
    """The request of the same meaning as a recorded body."""
    if "inputText" in native:
        return EmbedRequest(
            inputs=[native["inputText"]], dimensions=native.get("dimensions"), normalize=native.get("normalize")
        )
    params = native["singleEmbeddingParams"]
    text = params["text"]
    purpose, truncate = _PURPOSES[params["embeddingPurpose"]], text["truncationMode"].lower()
    return EmbedRequest(inputs=[text["value"]], purpose=purpose, truncate=truncate)


@pytest.mark.parametrize("exchange", [each for each in EMBEDDED if each.request_body], ids=str)
def test_a_request_for_an_embedding_becomes_the_recorded_body(exchange: Exchange) -> None:
    """Member by member."""
    native = exchange.request_json
    body = FAMILY.encode_embed(embedding_of(native), context(exchange.model_id)).body
    assert body == native


# -- requests


def plain(native: Mapping[str, Any]) -> dict[str, Any]:
    """A native request with Nova's present names, and the version that it has when none is told."""
    body: dict[str, Any] = {"schemaVersion": "messages-v1", **native}
    names = {"max_new_tokens": "maxTokens", "top_p": "topP"}
    if "inferenceConfig" in native:
        config = native["inferenceConfig"]
        body["inferenceConfig"] = {names.get(name, name): value for name, value in config.items()}
    return body


def converse_of(native: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the Converse request that means the same as a recorded one of Nova's."""
    body = plain(native)
    request: dict[str, Any] = {name: body[name] for name in ("toolConfig",) if name in body}
    request["messages"] = [
        {"role": message["role"], "content": _apart(message["content"])} for message in body["messages"]
    ]
    if "system" in body:
        request["system"] = _apart(body["system"])
    if config := dict(body.get("inferenceConfig", {})):
        if (top_k := config.pop("topK", None)) is not None:
            request["additionalModelRequestFields"] = {"inferenceConfig": {"topK": top_k}}
        request["inferenceConfig"] = config
    return request


def _apart(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Blocks with their cache points after them."""
    apart: list[dict[str, Any]] = []
    for block in blocks:
        members = dict(block)
        point = members.pop("cachePoint", None)
        apart += [members, *([] if point is None else [{"cachePoint": point}])]
    return apart


NOVA_REQUESTS: Final = [each for each in [*NOVA, *NOVA_STREAMED] if each.id != STRANGE]
PROMPTS: Final = [each for each in [*TITAN, *TITAN_STREAMED] if each.request_body]


@pytest.mark.parametrize("exchange", NOVA_REQUESTS, ids=str)
def test_a_request_of_the_same_meaning_becomes_novas_recorded_body(exchange: Exchange) -> None:
    """Member by member, but for older names of the same members."""
    request = ConverseRequest.from_wire(converse_of(exchange.request_json))
    assert native_body(request, exchange.model_id, FAMILY) == plain(exchange.request_json)


@pytest.mark.parametrize("exchange", PROMPTS, ids=str)
def test_a_prompt_of_the_same_meaning_becomes_titans_recorded_one(exchange: Exchange) -> None:
    """As text to be continued, which is how all recorded clients wrote it."""
    native = exchange.request_json
    names = {
        "maxTokenCount": "maxTokens",
        "topP": "topP",
        "temperature": "temperature",
        "stopSequences": "stopSequences",
    }
    config = native.get("textGenerationConfig", {})
    request = ConverseRequest.from_wire(
        {
            "messages": [{"role": "user", "content": [{"text": native["inputText"]}]}],
            "inferenceConfig": {names[name]: value for name, value in config.items()},
        }
    )
    wanted = {name: value for name, value in native.items() if value != {}}
    assert native_body(request, exchange.model_id, FAMILY, text_completion=True) == wanted


# -- both ways


PAIRS: Final = recorded_both_ways("amazon.nova", NOVA_REQUESTS, converse_of)


def test_some_conversations_were_recorded_both_ways() -> None:
    """Whole and streamed: the comparison below is not empty."""
    assert len(PAIRS) >= 20
    assert {converse.kind for converse, _ in PAIRS} == {"converse", "converse-stream"}


@pytest.mark.parametrize(("converse", "native"), PAIRS, ids=[f"{one}-{other}" for one, other in PAIRS])
def test_both_ways_say_the_same(converse: Exchange, native: Exchange) -> None:
    """A conversation recorded both ways: the request becomes the native one, and the answers are alike.

    Models do not say the same twice: the blocks, the events, the tools that are called and why it stopped are equal,
    ids and times aside.
    """
    request = ConverseRequest.from_wire(converse.request_body, model_id=converse.model_id)
    assert native_body(request, converse.model_id, FAMILY) == plain(native.request_json)

    theirs, ours = recorded_response(converse, FAMILY), recorded_response(native, FAMILY)
    assert [type(block) for block in ours.message.content] == [type(block) for block in theirs.message.content]
    assert [event.type for event in unfold(ours)] == [event.type for event in unfold(theirs)]
    assert [(use.name, use.input) for use in ours.tool_uses] == [(use.name, use.input) for use in theirs.tool_uses]
    assert ours.stop_reason == theirs.stop_reason


@pytest.mark.parametrize(
    "converse", [each for each in recorded("converse", "amazon.nova") if each.request_body], ids=str
)
def test_requests_recorded_through_converse_can_be_written_natively(converse: Exchange) -> None:
    """All of them, but for documents, guarded content and such, which are refused with their place."""
    request = ConverseRequest.from_wire(converse.request_body)
    if "document_input" in converse.features or "guard_content" in converse.features:
        with pytest.raises(InvalidRequestError, match="the family 'amazon' cannot express") as caught:
            native_body(request, converse.model_id, FAMILY)
        assert caught.value.path
    else:
        body = native_body(request, converse.model_id, FAMILY)
        assert len(body["messages"]) == len(converse.request_json["messages"])


def test_a_dialogue_costs_the_tokens_that_converse_was_recorded_to_cost() -> None:
    """Converse writes the turns of a Titan model as a dialogue: three tokens more than the question alone."""
    question = "Say this is a test"
    natively = {
        int(counted)
        for each in TITAN
        if (counted := native_headers(each).get("x-amzn-bedrock-input-token-count"))
        and each.request_json["inputText"] == question
    }
    converse = {
        each.response_json["usage"]["inputTokens"]
        for each in recorded("converse", "amazon.titan-text")
        if each.request_json["messages"][0]["content"] == [{"text": question}]
    }
    assert (natively, converse) == ({5}, {8})


def shape(value: object) -> object:
    """The members of JSON and the kinds of their values."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return tuple((name, shape(members[name])) for name in sorted(members))
    return type(value).__name__


def test_native_streams_have_the_events_that_converse_sends() -> None:
    """Every event made of a native chunk has the members of one that Converse itself was recorded to send."""
    known: set[object] = set()
    for exchange in recorded("converse-stream", "amazon"):
        assert exchange.eventstream is not None
        for event in exchange.eventstream["events"]:
            payload = {name: value for name, value in event["payload"].items() if name != "p"}
            known.add(shape({event["headers"][":event-type"]: payload}))
    ours = {
        shape(event.to_wire())
        for exchange in [*NOVA_STREAMED, *TITAN_STREAMED]
        for event in native_events(exchange, FAMILY)
        if event.type != "metadata"  # its usage has the members that the model tells
    }
    assert ours <= known
    assert len(ours) == 4
