"""Every recorded native exchange with Mistral's models goes through the family, and says what the recording says."""

from __future__ import annotations

import base64
from typing import Any, Final

import pytest
from bedrock_async_mistral import MistralFamily
from corpus import Exchange, exchanges
from native_properties import converse_events, event_kinds
from native_traffic import (
    native_answer,
    native_body,
    native_chunks,
    native_events,
    native_headers,
    recorded,
    recorded_latency_ms,
)

from bedrock_async import ConverseRequest
from bedrock_async.folding import fold

FAMILY: Final = MistralFamily()
WHOLE: Final = recorded("invoke", "mistral")
STREAMED: Final = recorded("invoke-with-response-stream", "mistral")
REASONS: Final = {"length": "max_tokens", "stop": "end_turn"}


@pytest.mark.parametrize("exchange", WHOLE, ids=str)
def test_a_recorded_answer_says_what_it_said(exchange: Exchange) -> None:
    """Text and stop reason from the body, usage and latency from the headers where they were recorded."""
    (output,) = exchange.response_json["outputs"]
    headers, response = native_headers(exchange), native_answer(exchange, FAMILY)

    assert response.text == output["text"]
    assert response.stop_reason == REASONS[output["stop_reason"]]
    assert response.usage.input_tokens == int(headers.get("x-amzn-bedrock-input-token-count", "0"))
    assert response.usage.output_tokens == int(headers.get("x-amzn-bedrock-output-token-count", "0"))
    assert response.metrics.latency_ms == recorded_latency_ms(exchange)


@pytest.mark.parametrize("size", [1, 1_000_000], ids=["bytes", "whole"])
@pytest.mark.parametrize("exchange", STREAMED, ids=str)
def test_a_recorded_stream_says_what_it_said(exchange: Exchange, size: int) -> None:
    """Text piece by piece, stop reason, and usage from the metrics."""
    chunks, events = native_chunks(exchange), native_events(exchange, FAMILY, size=size)
    response = fold(events)

    assert [event.text for event in events if event.text] == [chunk["outputs"][0]["text"] for chunk in chunks]
    assert response.stop_reason == REASONS[chunks[-1]["outputs"][0]["stop_reason"]]
    metrics = chunks[-1]["amazon-bedrock-invocationMetrics"]
    assert response.usage.input_tokens == metrics["inputTokenCount"]
    assert response.usage.output_tokens == metrics["outputTokenCount"]
    assert response.metrics.latency_ms == metrics["invocationLatency"]


def test_a_request_of_the_same_meaning_becomes_the_recorded_prompt() -> None:
    """The recorded one is raw, without a template."""
    (exchange,) = (each for each in WHOLE if each.request_body)
    native: dict[str, Any] = exchange.request_json
    inference = {"maxTokens": native["max_tokens"], "temperature": native["temperature"], "topP": native["top_p"]}
    request = ConverseRequest.from_dict(
        {
            "messages": [{"role": "user", "content": [{"text": native["prompt"]}]}],
            "inferenceConfig": {**inference, "stopSequences": native["stop"]},
        }
    )
    assert native_body(request, exchange.model_id, FAMILY, raw_prompt=True) == native


def test_a_request_of_the_same_meaning_becomes_the_recorded_chat() -> None:
    """An image, a tool and the free choice among tools, for Pixtral."""
    (exchange,) = (each for each in exchanges("invoke", 403) if "pixtral" in each.model_id)
    native: dict[str, Any] = exchange.request_json
    (message,), (tool,) = native["messages"], native["tools"]
    text, image = message["content"]
    data = base64.b64decode(image["image_url"]["url"].partition("base64,")[2])
    function = tool["function"]
    schema = {"json": function["parameters"]}
    request = ConverseRequest.from_dict(
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"text": text["text"]}, {"image": {"format": "png", "source": {"bytes": data}}}],
                }
            ],
            "inferenceConfig": {"maxTokens": native["max_tokens"], "temperature": native["temperature"]},
            "toolConfig": {
                "tools": [
                    {
                        "toolSpec": {
                            "name": function["name"],
                            "description": function["description"],
                            "inputSchema": schema,
                        }
                    }
                ],
                "toolChoice": {"auto": {}},
            },
        }
    )
    assert native_body(request, exchange.model_id, FAMILY) == native


def test_both_ways_give_the_same_events() -> None:
    """7B was recorded both ways, with other questions: the events are of the same kinds, in the same order."""
    (theirs,) = (each for each in exchanges("converse-stream", 200) if "mistral-7b" in each.model_id)
    converse = converse_events(theirs)
    (ours,) = STREAMED

    native = native_events(ours, FAMILY)
    assert event_kinds(native) == event_kinds(converse)
    # Both keep the blank that the first piece begins with.
    assert [next(event.text for event in events if event.text)[0] for events in (native, converse)] == [" ", " "]
