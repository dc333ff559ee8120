"""What the tests of this plugin share: driving a provider by hand, and reading what it makes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import pytest
from bedrock_async_mantle import MantleProvider

from bedrock_async import ConverseRequest, ConverseResponse, Event, parse_model_id
from bedrock_async.providers import CallContext, HttpRequest, HttpResponse, Send, StreamPlan

Written: TypeAlias = Callable[..., HttpRequest]
Answered: TypeAlias = Callable[..., ConverseResponse]
Streamed: TypeAlias = Callable[..., list[Event]]


def context(model: str, options: Mapping[str, Any]) -> CallContext:
    """Return the context of a call."""
    return CallContext(parse_model_id(model), "us-east-1", options)


def first_request(
    request: Mapping[str, Any] | ConverseRequest,
    model: str = "openai.gpt-oss-120b",
    *,
    stream: bool = False,
    environ: Mapping[str, str] | None = None,
    endpoint_url: str | None = None,
    **options: Any,  # noqa: ANN401 - what is no option is tried too
) -> HttpRequest:
    """Return what the provider sends for a request in boto3's shape."""
    provider = MantleProvider(endpoint_url, environ=environ or {})
    asked = request if isinstance(request, ConverseRequest) else ConverseRequest.from_dict(request)
    if stream:
        plan = provider.stream(asked, context(model, options))
        assert isinstance(plan, StreamPlan)
        return plan.request
    flow = provider.converse(asked, context(model, options))
    effect = next(flow)
    flow.close()
    assert isinstance(effect, Send)
    return effect.request


def read_answer(
    body: bytes | Mapping[str, Any], model: str = "openai.gpt-oss-120b", **options: str
) -> ConverseResponse:
    """Return the response that an answer makes."""
    flow = MantleProvider(environ={}).converse(ConverseRequest(), context(model, options))
    next(flow)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(StopIteration) as stop:
        flow.send(HttpResponse(200, {"content-type": "application/json"}, raw))
    response: ConverseResponse = stop.value.value
    return response


def read_stream(body: bytes, model: str = "openai.gpt-oss-120b", *, size: int = 0, **options: str) -> list[Event]:
    """Return the events of a stream that arrives in pieces of ``size`` bytes, whole by default."""
    plan = MantleProvider(environ={}).stream(ConverseRequest(), context(model, options))
    assert isinstance(plan, StreamPlan)
    plan.decoder.start(200, {"content-type": "text/event-stream; charset=utf-8"})
    events: list[Event] = []
    for start in range(0, len(body), size or len(body) or 1):
        events += plan.decoder.receive(body[start : start + (size or len(body))])
        if plan.decoder.pending_error is not None:
            plan.decoder.receive(b"")
    return [*events, *plan.decoder.eof()]


@pytest.fixture
def written() -> Written:
    """What the provider sends; see `first_request`."""
    return first_request


@pytest.fixture
def answered() -> Answered:
    """What an answer says; see `read_answer`."""
    return read_answer


@pytest.fixture
def streamed() -> Streamed:
    """What a stream says; see `read_stream`."""
    return read_stream
