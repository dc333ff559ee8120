"""Recorded native traffic through the invoke provider and a family: what the tests of every family's plugin need."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from corpus import Exchange, exchanges

from bedrock_async import ConverseRequest, ConverseResponse, Event
from bedrock_async.events import ConverseEventDecoder
from bedrock_async.families import ModelFamily, find_profile
from bedrock_async.folding import fold
from bedrock_async.model_id import parse_model_id
from bedrock_async.providers import CallContext, HttpResponse, Send, StreamPlan
from bedrock_async.providers.invoke import InvokeProvider

__all__ = [
    "call_context",
    "native_answer",
    "native_body",
    "native_chunks",
    "native_events",
    "native_headers",
    "recorded",
    "recorded_both_ways",
    "recorded_latency_ms",
    "recorded_response",
]

_QUESTION = ConverseRequest.from_wire({"messages": [{"role": "user", "content": [{"text": "Hello"}]}]})


def recorded(kind: str, *families: str) -> list[Exchange]:
    """Return the successful exchanges of that kind with models whose coarse family begins with one of these."""
    return [each for each in exchanges(kind, 200) if each.raw["model_family"].startswith(families)]


def recorded_both_ways(
    vendor: str, natives: Sequence[Exchange], converse_of: Callable[[Any], Mapping[str, Any]]
) -> list[tuple[Exchange, Exchange]]:
    """Return recorded calls of one model with the same messages: the one through Converse, and the native one.

    ``converse_of`` returns the Converse request, in boto3's shape, that a native body stands for.
    """
    return [
        (converse, native)
        for kind in ("converse", "converse-stream")
        for converse in recorded(kind, vendor)
        for native in natives
        if converse.model_id == native.model_id
        and converse_of(native.request_json)["messages"] == converse.request_json["messages"]
    ]


def recorded_latency_ms(exchange: Exchange) -> int | None:
    """Return the time that the service reported in a header, None where it was not recorded."""
    latency = native_headers(exchange).get("x-amzn-bedrock-invocation-latency")
    return None if latency is None else int(latency)


def call_context(model: str, family: ModelFamily, **options: Any) -> CallContext:  # noqa: ANN401 - any option
    """Return the context of a call of that model."""
    parsed = parse_model_id(model)
    return CallContext(parsed, "us-east-1", options, family=family, profile=find_profile(parsed.base_model))


def native_headers(exchange: Exchange) -> dict[str, str]:
    """Return the headers of the answer as a transport gives them."""
    return {name.lower(): value for name, value in exchange.response_headers.items()}


def native_answer(exchange: Exchange, family: ModelFamily, *, model: str | None = None) -> ConverseResponse:
    """Return the response that the provider makes of a recorded answer; ``model`` where none was recorded."""
    flow = InvokeProvider().converse(_QUESTION, call_context(model or exchange.model_id, family))
    next(flow)
    try:
        flow.send(HttpResponse(200, native_headers(exchange), exchange.response_body))
    except StopIteration as end:
        response: ConverseResponse = end.value
        return response
    raise AssertionError("the provider wants more than one answer")


def native_events(exchange: Exchange, family: ModelFamily, *, size: int | None = None) -> list[Event]:
    """Return the events that the provider makes of a recorded stream, which arrives in pieces of ``size`` bytes."""
    plan = InvokeProvider().stream(_QUESTION, call_context(exchange.model_id, family))
    assert isinstance(plan, StreamPlan)
    plan.decoder.start(200, native_headers(exchange))
    body, events = exchange.response_body, list[Event]()
    for start in range(0, len(body), size or len(body)):
        events += plan.decoder.receive(body[start : start + (size or len(body))])
    return [*events, *plan.decoder.eof()]


def recorded_response(exchange: Exchange, family: ModelFamily) -> ConverseResponse:
    """Return the response of a recorded exchange, whole or streamed, native or through Converse."""
    match exchange.kind:
        case "invoke":
            return native_answer(exchange, family)
        case "converse":
            return ConverseResponse.from_wire(exchange.response_body)
        case "converse-stream":
            decoder = ConverseEventDecoder()
            return fold([*decoder.receive(exchange.response_body), *decoder.eof()])
        case _:
            return fold(native_events(exchange, family))


def native_chunks(exchange: Exchange) -> list[Any]:
    """Return the native events of a recorded stream as JSON, read by botocore."""
    assert exchange.eventstream is not None
    return [json.loads(base64.b64decode(event["payload"]["bytes"])) for event in exchange.eventstream["events"]]


def native_body(request: ConverseRequest, model: str, family: ModelFamily, **options: Any) -> Any:  # noqa: ANN401 - JSON
    """Return the native body that the provider sends for a request."""
    effect = next(InvokeProvider().converse(request, call_context(model, family, **options)))
    assert isinstance(effect, Send)
    return json.loads(effect.request.body)
