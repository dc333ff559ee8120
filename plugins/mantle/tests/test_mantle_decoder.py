"""The decoder of streams beside what they say: heads, pending errors, JSON in place of a stream, and letting go."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
from bedrock_async_mantle import MantleProvider

from bedrock_async import (
    AuthenticationError,
    ConverseRequest,
    Event,
    ModelStreamError,
    ResponseDecodeError,
    StreamTruncatedError,
    UnexpectedContentTypeError,
    ValidationError,
    parse_model_id,
)
from bedrock_async.providers import CallContext, EventDecoder, StreamPlan

SSE = {"content-type": "text/event-stream"}
TEXT = b'data: {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}\n\n'
CALLS = (
    b'data: {"choices": [{"index": 0, "delta": {"tool_calls": ['
    b'{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},'
    b'{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{"}}]}}]}\n\n'
)
ITEMS = b"".join(
    b'data: {"type": "response.output_item.added", "output_index": %d, "item": '
    b'{"type": "function_call", "call_id": "c%d", "name": "f", "arguments": ""}}\n\n' % (index, index)
    for index in range(2)
)
FAULT = b'data: {"error": {"message": "Oops."}}\n\n'


def decoder(model: str = "qwen.qwen3-32b") -> EventDecoder[Event]:
    """Return a fresh decoder."""
    plan = MantleProvider(environ={}).stream(ConverseRequest(), CallContext(parse_model_id(model), "us-east-1"))
    assert isinstance(plan, StreamPlan)
    return plan.decoder


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Leave only reference counts to free things."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    ("model", "body"), [("qwen.qwen3-32b", TEXT), ("qwen.qwen3-32b", CALLS), ("openai.gpt-5.5", ITEMS)]
)
def test_a_decoder_that_is_let_go_is_gone(model: str, body: bytes) -> None:
    """At once, even with pieces waiting: a stream closes with its last reference, so there must be no cycle."""
    decoding = decoder(model)
    decoding.start(200, SSE)
    assert decoding.receive(body)
    gone = weakref.ref(decoding)
    del decoding
    assert gone() is None


def test_an_error_behind_events_waits_for_the_next_look() -> None:
    """No event is lost, and the error is raised once."""
    decoding = decoder()
    decoding.start(200, SSE)
    events = decoding.receive(TEXT + FAULT + TEXT)
    assert [event.text for event in events] == [None, "Hel"]
    assert isinstance(decoding.pending_error, ModelStreamError)
    with pytest.raises(ModelStreamError):
        decoding.receive(b"")
    assert decoding.pending_error is None


def test_a_pending_error_is_raised_at_the_end_too() -> None:
    """It is raised in place of the error about the missing end."""
    decoding = decoder()
    decoding.start(200, SSE)
    decoding.receive(TEXT + FAULT)
    with pytest.raises(ModelStreamError):
        decoding.eof()


@pytest.mark.parametrize("kind", ["text/event-stream", "text/event-stream; charset=utf-8", "TEXT/Event-Stream"])
def test_the_type_of_an_event_stream_may_have_parameters(kind: str) -> None:
    """The media type may also be in any case."""
    decoder().start(200, {"content-type": kind})


@pytest.mark.parametrize("kind", ["text/html", "", "application/vnd.amazon.eventstream", "text/plain"])
def test_other_types_are_refused(kind: str) -> None:
    """They are refused at the head: something other than the endpoint answered."""
    with pytest.raises(UnexpectedContentTypeError, match="HTTP 200"):
        decoder().start(200, {"content-type": kind})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error": {"code": "invalid_api_key", "message": "No."}}', AuthenticationError),
        (b'{"Output": {"__type": "com.amazon.coral.service#UnknownOperationException"}}', ValidationError),
        (b'{"choices": []}', ResponseDecodeError),
        (b"{", ResponseDecodeError),
        (b"", StreamTruncatedError),
    ],
)
def test_json_in_place_of_a_stream_is_an_error(body: bytes, error: type[Exception]) -> None:
    """The error that the JSON reports is raised, although it came with HTTP 200."""
    decoding = decoder()
    decoding.start(200, {"content-type": "application/json"})
    for place in range(len(body)):
        assert decoding.receive(body[place : place + 1]) == []
    with pytest.raises(error):
        decoding.eof()
