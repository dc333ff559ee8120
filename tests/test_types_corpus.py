"""Every recorded request and response through the types: exact on the wire, equal to botocore where it knows."""

from __future__ import annotations

import json
from typing import Final

import pytest
from botocore_reading import output_shape, parsed, pruned, serialized
from corpus import Exchange, exchanges

from bedrock_async import ConverseRequest, ConverseResponse

REQUESTS: Final = [
    exchange for kind in ("converse", "converse-stream") for exchange in exchanges(kind) if exchange.request_body
]
RESPONSES: Final = exchanges("converse", 200)


@pytest.mark.parametrize("exchange", REQUESTS, ids=str)
def test_a_recorded_request_survives_both_forms(exchange: Exchange) -> None:
    """from_wire and to_wire are exact, as objects and as bytes; from_dict of to_dict is the same request."""
    recorded = exchange.request_json
    request = ConverseRequest.from_wire(exchange.request_body, model_id=exchange.model_id)

    assert request.to_wire() == recorded
    assert json.loads(request.to_wire_bytes()) == recorded
    assert request.to_dict()["modelId"] == exchange.model_id
    assert ConverseRequest.from_dict(request.to_dict()) == request
    assert ConverseRequest.from_wire(recorded, model_id=exchange.model_id) == request


@pytest.mark.parametrize("exchange", REQUESTS, ids=str)
def test_botocore_makes_the_recorded_body_of_a_recorded_requests_dict(exchange: Exchange) -> None:
    """What to_dict returns are boto3's keyword arguments: its serializer makes the recorded JSON of them again."""
    request = ConverseRequest.from_wire(exchange.request_body, model_id=exchange.model_id)
    _, body = serialized("Converse", request.to_dict())
    assert body == exchange.request_json


@pytest.mark.parametrize("exchange", RESPONSES, ids=str)
def test_a_recorded_response_survives_both_forms_and_reads_as_botocore_reads_it(exchange: Exchange) -> None:
    """Nothing recorded is lost; pruned to what its model knows, to_dict is what botocore's parser returns."""
    response = ConverseResponse.from_wire(exchange.response_body)

    assert response.to_wire() == exchange.response_json
    assert json.loads(response.to_wire_bytes()) == exchange.response_json
    assert ConverseResponse.from_dict(response.to_dict()) == response
    assert pruned(response.to_dict(), output_shape("Converse")) == parsed("Converse", exchange.response_body)


@pytest.mark.parametrize("exchange", RESPONSES, ids=str)
def test_the_shortcuts_of_a_response_hold_what_the_recording_holds(exchange: Exchange) -> None:
    """text, tool_uses, reasoning, stop_reason and usage are those of the recorded JSON, read independently."""
    recorded = exchange.response_json
    blocks = recorded["output"]["message"]["content"]
    texts = [
        part["text"]
        for block in blocks
        for part in (block, *block.get("citationsContent", {}).get("content", []))
        if "text" in part
    ]
    tools = [block["toolUse"] for block in blocks if "toolUse" in block]
    reasoning = [block["reasoningContent"].get("reasoningText", {}) for block in blocks if "reasoningContent" in block]

    response = ConverseResponse.from_wire(exchange.response_body)

    assert response.text == "".join(texts)
    assert [(use.tool_use_id, use.name, use.input) for use in response.tool_uses] == [
        (tool["toolUseId"], tool["name"], tool["input"]) for tool in tools if tool.get("type") != "server_tool_use"
    ]
    assert not any(use.invalid_input for use in response.tool_uses)
    assert response.reasoning == "".join(text.get("text", "") for text in reasoning)
    assert response.stop_reason == recorded["stopReason"]
    assert response.usage.input_tokens == recorded["usage"]["inputTokens"]
    assert response.usage.output_tokens == recorded["usage"]["outputTokens"]
    assert response.usage.cache_read_input_tokens == recorded["usage"].get("cacheReadInputTokens")
    assert response.metrics.latency_ms == recorded["metrics"]["latencyMs"]


def test_the_corpus_is_what_its_readme_counts() -> None:
    """247 exchanges of converse and 60 of converse-stream; the few without a request are named by their status."""
    assert len(exchanges("converse")) == 247
    assert len(exchanges("converse-stream")) == 60
    assert len(REQUESTS) == 298
    assert len(RESPONSES) > 200
