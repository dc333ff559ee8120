"""What a decoder of native chunks owes to anything that may arrive, and to Converse: for the tests of the plugins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

from corpus import Exchange
from hypothesis import strategies as st
from native_traffic import call_context, native_headers
from strategies import JSON_VALUES

from bedrock_async import BedrockError, ConverseRequest, Event
from bedrock_async.events import ConverseEventDecoder
from bedrock_async.families import EventOrder, ModelFamily
from bedrock_async.folding import fold
from bedrock_async.providers import StreamPlan
from bedrock_async.providers.invoke import InvokeProvider
from bedrock_async.testing import chunk_frame
from bedrock_async.types import ConverseResponse

__all__ = ["converse_events", "cut", "event_kinds", "events_of", "only_our_errors", "strange_chunks", "streamed"]

_QUESTION = ConverseRequest.from_wire({"messages": [{"role": "user", "content": [{"text": "Hello"}]}]})
_STREAM = {"content-type": "application/vnd.amazon.eventstream"}


def strange_chunks(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with members of these names, as a family's chunks have them, and anything as their values."""
    word = st.sampled_from(names)
    value = st.recursive(
        JSON_VALUES,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(word, inner, max_size=3),
        max_leaves=8,
    )
    return st.dictionaries(word, value, max_size=4)


def cut(text: str) -> st.SearchStrategy[list[str]]:
    """The pieces of a text, cut anywhere."""
    places = st.lists(st.integers(0, len(text)), max_size=6).map(lambda cuts: sorted({0, *cuts, len(text)}))
    return places.map(lambda cuts: [text[start:end] for start, end in pairwise(cuts)])


def events_of(family: ModelFamily, model: str, chunks: Sequence[Mapping[str, Any]]) -> list[Event]:
    """Return the events that the provider makes of chunks."""
    plan = InvokeProvider().stream(_QUESTION, call_context(model, family))
    assert isinstance(plan, StreamPlan)
    plan.decoder.start(200, _STREAM)
    events = [event for chunk in chunks for event in plan.decoder.receive(chunk_frame(dict(chunk)))]
    return [*events, *plan.decoder.eof()]


def streamed(family: ModelFamily, model: str, chunks: Sequence[Mapping[str, Any]]) -> ConverseResponse:
    """Return what the events of chunks fold into, having held them to the order of a Converse stream."""
    return fold(EventOrder(family.name).check(events_of(family, model, chunks)))


def converse_events(exchange: Exchange) -> list[Event]:
    """Return the events of a recorded Converse stream."""
    decoder = ConverseEventDecoder()
    decoder.start(200, native_headers(exchange))
    return [*decoder.receive(exchange.response_body), *decoder.eof()]


def event_kinds(events: Sequence[Event]) -> list[str]:
    """Return the kinds of events in their order, without repetitions: what two answers have in common."""
    return [kind for kind, _ in groupby(event.type for event in events)]


def only_our_errors(family: ModelFamily, model: str, chunks: Sequence[Mapping[str, Any]]) -> None:
    """Read chunks of any shape: they make events in order or an error of our tree, nothing else."""
    try:
        streamed(family, model, chunks)
    except BedrockError:
        return
