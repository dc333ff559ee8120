"""Builds the events of an answer in the order of a Converse stream, and checks events for that order."""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from .._error import a_kind
from ..errors import PluginError, StreamTruncatedError
from ..events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ContentDelta,
    ContentStart,
    Event,
    MessageStartEvent,
    MessageStopEvent,
    MetadataEvent,
    ReasoningDelta,
    ToolUseDelta,
    ToolUseStart,
    UnknownEvent,
    event_from_wire,
)
from ..folding import fold
from ..types import CacheDetail, Citation, ConverseResponse, JSONValue, TokenUsage
from ._protocol import NativeDecoder, NativeObject


class EventBuilder:
    """Builds the events of one answer: takes content, returns events in the correct order.

    ::

        events = EventBuilder()
        events.text("Hel")
        events.text("lo")
        events.tool_use("id-1", "get_weather")
        events.tool_input('{"city": "Paris"}')
        events.stop("tool_use")
        events.usage(input_tokens=12, output_tokens=7)

    The message starts automatically. A piece of a different kind ends the current block and begins another, as does
    `end_block`. `take` returns the events so far, in a stream after every chunk; `finish` returns the last ones, and
    `response` all of them as one response. A later stop reason or usage replaces an earlier one.
    """

    def __init__(self, *, role: str = "assistant") -> None:
        self._role = role
        self._events: list[Event] = []
        self._started = False
        self._index = 0
        self._kind: str | None = None
        self._tool_uses = 0
        self._reason: str | None = None
        self._usage: dict[str, int] = {}
        self._cache_details: Sequence[CacheDetail] = ()

    def start(self) -> None:
        """Start the message, even before its first piece. Idempotent."""
        if not self._started:
            self._started = True
            self._events.append(MessageStartEvent(role=self._role))

    def text(self, piece: str | None) -> None:
        """Add a piece of text; an empty piece has no effect."""
        if piece:
            self._delta("text", ContentDelta(text=piece))

    def reasoning(self, text: str | None = None, *, signature: str | None = None, redacted: bytes = b"") -> None:
        """Add a piece of reasoning, its signature, or redacted content."""
        if text:
            self._delta("reasoning", ContentDelta(reasoning_content=ReasoningDelta(text=text)))
        if signature:
            self._delta("reasoning", ContentDelta(reasoning_content=ReasoningDelta(signature=signature)))
        if redacted:
            base64 = b2a_base64(redacted, newline=False).decode("ascii")
            self._delta("reasoning", ContentDelta(reasoning_content=ReasoningDelta(redacted_base64=base64)))

    def citation(self, citation: Citation) -> None:
        """Add a source that the text of this block cites."""
        self._delta("text", ContentDelta(citation_json=msgspec.Raw(citation.to_wire_bytes())))

    def tool_use(self, tool_use_id: str, name: str) -> None:
        """Begin a tool use, whose input follows in pieces of JSON."""
        self._begin("tool_use")
        self._tool_uses += 1
        start = ContentStart(tool_use=ToolUseStart(tool_use_id=tool_use_id, name=name))
        self._events.append(ContentBlockStartEvent(content_block_index=self._index, start=start))

    def tool_input(self, piece: str) -> None:
        """Add a piece of the JSON text of the tool's input. Raises PluginError if no tool use has begun."""
        if self._kind != "tool_use":
            raise PluginError("tool input was added before a tool use.", hint="Call tool_use(id, name) first.")
        self._delta("tool_use", ContentDelta(tool_use=ToolUseDelta(input=piece)))

    @property
    def has_tool_use(self) -> bool:
        """Whether a tool use has begun."""
        return self._tool_uses > 0

    def whole_tool_use(self, tool_use_id: str, name: str, tool_input: object) -> None:
        """Add a tool use with its complete input: JSON text, or an object to encode."""
        self.tool_use(tool_use_id, name)
        self.tool_input(tool_input if isinstance(tool_input, str) else json.dumps(tool_input, ensure_ascii=False))

    def end_block(self) -> None:
        """End the current block, if any."""
        if self._kind is not None:
            self._kind = None
            self._events.append(ContentBlockStopEvent(content_block_index=self._index))
            self._index += 1

    def other(self, name: str, value: JSONValue) -> None:
        """Add a block unknown to Converse, which is folded into ``UnknownBlock({name: value})``."""
        self._begin("other")
        members = {"contentBlockIndex": self._index, "delta": {name: value}}
        self._events.append(event_from_wire({ContentBlockDeltaEvent.wire_name: members}))
        self.end_block()

    def stop(self, reason: str | None) -> None:
        """Set the stop reason; None is ignored."""
        if reason:
            self._reason = reason

    @property
    def stop_reason(self) -> str | None:
        """The reason why the model stopped; None until it is known."""
        return self._reason

    def usage(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cache_read_input_tokens: int | None = None,
        cache_write_input_tokens: int | None = None,
        cache_details: Sequence[CacheDetail] = (),
    ) -> None:
        """Set the tokens used; None is ignored. The total is the sum, as in Converse."""
        told = {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cache_read_input_tokens": cache_read_input_tokens,
            "cache_write_input_tokens": cache_write_input_tokens,
        }
        self._usage |= {name: count for name, count in told.items() if count is not None}
        self._cache_details = cache_details or self._cache_details

    def take(self) -> list[Event]:
        """Return the events added since the last call."""
        events, self._events = self._events, []
        return events

    def finish(self) -> list[Event]:
        """Return the last events. Raises StreamTruncatedError if no stop reason was set."""
        if self._reason is None:
            raise StreamTruncatedError(
                "the answer ended without a stop reason.",
                hint="It is not complete: partial_response has what arrived. Call again to get a whole one.",
            )
        self._end()
        return self.take()

    def response(self) -> ConverseResponse:
        """Return everything as one response; its stop reason is empty if none was set."""
        self._end()
        return fold(self.take())

    def _end(self) -> None:
        self.start()
        self.end_block()
        self._events.append(MessageStopEvent(stop_reason=self._reason))
        if self._usage:
            self._events.append(MetadataEvent(usage_json=msgspec.Raw(self._token_usage().to_wire_bytes())))

    def _token_usage(self) -> TokenUsage:
        return TokenUsage(
            **self._usage, total_tokens=sum(self._usage.values()), cache_details=list(self._cache_details) or None
        )

    def _begin(self, kind: str) -> None:
        self.start()
        self.end_block()
        self._kind = kind

    def _delta(self, kind: str, delta: ContentDelta) -> None:
        if self._kind != kind:
            self._begin(kind)
        self._events.append(ContentBlockDeltaEvent(content_block_index=self._index, delta=delta))


Read: TypeAlias = Callable[[NativeObject, EventBuilder], None]
"""Adds the content of a native body, or of a chunk, to an `EventBuilder`."""


def decode_with(read: Read, body: NativeObject) -> ConverseResponse:
    """Return the response for a body that ``read`` reads: a complete implementation of `ModelFamily.decode`."""
    events = EventBuilder()
    read(body, events)
    return events.response()


class _Reading:
    """A decoder for chunks that are read one by one, without state between them."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._events = EventBuilder()

    def receive(self, chunk: NativeObject) -> list[Event]:
        self._read(chunk, self._events)
        return self._events.take()

    def eof(self) -> list[Event]:
        return self._events.finish()


def stream_with(read: Read) -> NativeDecoder:
    """Return a decoder for chunks that ``read`` reads: a complete `ModelFamily.stream_decoder`."""
    return _Reading(read)


class EventOrder:
    """Checks that events are in the order of a Converse stream, by comparing a state and an index for each.

    The order: one message start; blocks one after another, each with an index of its own and ended before the next; the
    message stop; the metadata.
    """

    def __init__(self, family: str) -> None:
        self.stopped = False
        """Whether the message has stopped."""
        self._family = family
        self._started = False
        self._open: int | None = None
        self._closed = -1
        self._metadata = False

    def check(self, events: Iterable[object]) -> list[Event]:
        """Return the events, typed. Raises PluginError for anything that is not an event, or is out of order."""
        checked: list[Event] = []
        for event in events:
            match event:
                case ContentBlockDeltaEvent(content_block_index=index):
                    if index is None or index != self._open:
                        self._enter(event, index)
                case MessageStartEvent():
                    if self._started:
                        raise self._fault(event, "the message has started already")
                    self._started = True
                case ContentBlockStartEvent(content_block_index=index):
                    self._enter(event, index)
                case ContentBlockStopEvent(content_block_index=index):
                    if self._open is None:
                        # A block without content begins and ends with this event.
                        self._enter(event, index)
                    elif index != self._open:
                        raise self._fault(event, f"the open block is {self._open}, not {index}")
                    self._closed, self._open = self._open or 0, None
                case MessageStopEvent():
                    self._stop(event)
                case MetadataEvent():
                    if not self.stopped or self._metadata:
                        raise self._fault(event, "it comes once, after messageStop")
                    self._metadata = True
                case UnknownEvent():
                    pass
                case _:
                    raise PluginError(
                        f"the family {self._family!r} returned {a_kind(event)} instead of an event.",
                        hint="Its decoder returns a list of events; EventBuilder makes them.",
                    )
            checked.append(event)
        return checked

    def _enter(self, event: Event, index: int | None) -> None:
        if not self._started or self.stopped:
            raise self._fault(event, "content stands between messageStart and messageStop")
        if index is None:
            raise self._fault(event, "it has no contentBlockIndex")
        if self._open is not None:
            raise self._fault(event, f"block {index} begins before block {self._open} has ended")
        if index <= self._closed:
            raise self._fault(event, f"block {index} has ended already")
        self._open = index

    def _stop(self, event: Event) -> None:
        if not self._started or self.stopped:
            raise self._fault(event, "it comes once, after messageStart")
        if self._open is not None:
            raise self._fault(event, f"block {self._open} has not ended")
        self.stopped = True

    def _fault(self, event: Event, why: str) -> PluginError:
        return PluginError(
            f"the family {self._family!r} gave the event {event.wire_name} out of order: {why}.",
            hint="EventBuilder keeps the order by itself. Report this to the author of the family.",
        )


_STOP_REASONS: Final[Mapping[str, str]] = {
    "stop": "end_turn",
    "end_turn": "end_turn",
    "eos": "end_turn",
    "finish": "end_turn",
    "complete": "end_turn",
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool_calls": "tool_use",
    "tool_use": "tool_use",
    "content_filter": "content_filtered",
    "content_filtered": "content_filtered",
    "refusal": "content_filtered",
}


def stop_reason(native: object, **more: str) -> str | None:
    """Return Converse's stop reason for a native one, ignoring case; None for None.

    ``more`` adds a vendor's own reasons. An unknown reason is returned unchanged.
    """
    if not isinstance(native, str) or not native:
        return None
    word = native.lower()
    return more.get(word) or _STOP_REASONS.get(word, native)
