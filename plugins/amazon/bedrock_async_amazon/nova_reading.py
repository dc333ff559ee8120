"""Nova's answers and stream events, read as Converse's: the same members, except usage and indices of text blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bedrock_async import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ContentDelta,
    Event,
    MessageStartEvent,
    MessageStopEvent,
    MetadataEvent,
    StreamTruncatedError,
    UnknownEvent,
)
from bedrock_async.families import NativeObject
from bedrock_async.types import ConverseResponse

# Nova's older names for cache counts.  [recorded, 2025-05 to 2026-05]
_CACHE_COUNTS: Final = {
    "cacheReadInputTokens": "cacheReadInputTokenCount",
    "cacheWriteInputTokens": "cacheWriteInputTokenCount",
}
_COUNTS: Final = ("inputTokens", "outputTokens", *_CACHE_COUNTS)
# Blocks with a start event; text and reasoning begin with their first delta.
_BEGUN: Final = frozenset({"image", "toolResult", "toolUse"})


def read_nova(body: NativeObject) -> ConverseResponse:
    """Return the response of a whole answer. Raises KeyError, TypeError or ValueError for JSON of another form."""
    message = body["output"]["message"]
    wire: dict[str, Any] = {
        "output": {"message": {"role": "assistant", **message}},
        "stopReason": body["stopReason"],
        "usage": _usage(body.get("usage") or {}),
    }
    if (fields := body.get("additionalModelResponseFields")) is not None:
        wire["additionalModelResponseFields"] = fields
    return ConverseResponse.from_wire(wire)


def _usage(native: Mapping[str, Any]) -> dict[str, Any]:
    """Return Converse's usage: its names as well as the older ones, as Converse gives, and the sum as the total."""
    usage = {name: value for name, value in native.items() if value is not None and name != "totalTokens"}
    for name, older in _CACHE_COUNTS.items():
        if name not in usage and older in usage:
            usage[name] = usage[older]
    if counts := [usage[name] for name in _COUNTS if name in usage]:
        usage["totalTokens"] = sum(counts)
    return usage


class NovaDecoder:
    """Makes Converse's events from Nova's, which have the same names.

    Nova ends a text block after every delta; Converse was recorded to join them into one block, and so does this.
    Otherwise the order of all recorded streams is enforced (block indices without a gap, each block started and stopped
    once, then messageStop, then metadata), so that nothing is lost or misplaced silently.
    """

    def __init__(self) -> None:
        self._started = False
        self._stopped = False
        self._complete = False
        # The index of Nova's last block, and whether it has ended; the index of Converse's, and its kind while open.
        self._native, self._ended = -1, True
        self._index = 0
        self._kind: str | None = None

    def receive(self, chunk: NativeObject) -> list[Event]:
        """Return the events of one chunk. Raises KeyError, TypeError or ValueError if malformed or out of order."""
        events: list[Event] = []
        for name, members in chunk.items():
            match name:
                case "contentBlockDelta":
                    events += self._delta(members)
                case "contentBlockStop":
                    events += self._block_stop(members)
                case "contentBlockStart":
                    events += self._block_start(members)
                case "messageStart":
                    self._expect(not self._started, "messageStart", "it comes once")
                    self._started = True
                    events.append(MessageStartEvent.from_wire({name: members}))
                case "messageStop":
                    events += self._message_stop(members)
                case "metadata":
                    events.append(self._metadata(members))
                case _:  # an event type that this version does not know
                    events.append(UnknownEvent.from_wire({name: members}))
        return events

    def eof(self) -> list[Event]:
        """Return no further events. Raises StreamTruncatedError if the answer is not complete."""
        if not self._complete:
            missing = "metadata" if self._stopped else "messageStop and metadata"
            raise StreamTruncatedError(
                f"the stream ended without {missing}.",
                hint="The answer is not complete: partial_response has what arrived. Call again to get a whole one.",
            )
        return []

    def _block_start(self, members: Mapping[str, Any]) -> list[Event]:
        self._begin(members["contentBlockIndex"])
        events = self._end_block()
        self._kind = next(iter(members["start"]), "")
        wire = {ContentBlockStartEvent.wire_name: {**members, "contentBlockIndex": self._index}}
        return [*events, ContentBlockStartEvent.from_wire(wire)]

    def _delta(self, members: Mapping[str, Any]) -> list[Event]:
        index: int = members["contentBlockIndex"]
        delta: Mapping[str, Any] = members["delta"]
        kind = "text" if "citation" in delta else next(iter(delta), "")
        events: list[Event] = []
        if self._ended:
            self._begin(index)
            if kind != self._kind:
                events = self._end_block()
                self._expect(kind not in _BEGUN, f"a piece of {kind}", "contentBlockStart comes before it")
        self._expect(index == self._native, f"a piece of block {index}", f"block {self._native} has not ended")
        self._expect(self._kind in {None, kind}, f"a piece of {kind}", f"block {index} is one of {self._kind}")
        self._kind = kind
        text = delta.get("text")
        if len(delta) == 1 and isinstance(text, str) and len(members) == 2:  # nearly all are
            piece = ContentBlockDeltaEvent(content_block_index=self._index, delta=ContentDelta(text=text))
            return [*events, piece]
        wire = {ContentBlockDeltaEvent.wire_name: {**members, "contentBlockIndex": self._index}}
        return [*events, ContentBlockDeltaEvent.from_wire(wire)]

    def _block_stop(self, members: Mapping[str, Any]) -> list[Event]:
        index: int = members["contentBlockIndex"]
        self._expect(
            index == self._native and not self._ended, f"the end of block {index}", "that block is not the open one"
        )
        self._ended = True
        # The next block may continue this text.
        return [] if self._kind == "text" else self._end_block()

    def _message_stop(self, members: Mapping[str, Any]) -> list[Event]:
        self._expect(self._started and not self._stopped, "messageStop", "it comes once, after messageStart")
        self._expect(self._ended, "messageStop", f"block {self._native} has not ended")
        if not members["stopReason"]:
            raise ValueError("messageStop does not tell why the model stopped")
        self._stopped = True
        return [*self._end_block(), MessageStopEvent.from_wire({MessageStopEvent.wire_name: members})]

    def _metadata(self, members: Mapping[str, Any]) -> Event:
        self._expect(self._stopped and not self._complete, "metadata", "it comes once, after messageStop")
        self._complete = True
        # "metrics": {} and "trace": {} are empty; the service has them in members of its own.
        told = {name: value for name, value in members.items() if value}
        if "usage" in told:
            told["usage"] = _usage(told["usage"])
        return MetadataEvent.from_wire({MetadataEvent.wire_name: told})

    def _begin(self, index: int) -> None:
        """Take the beginning of Nova's next block."""
        what = f"block {index}"
        self._expect(self._started and not self._stopped, what, "content stands between messageStart and messageStop")
        self._expect(self._ended, what, f"block {self._native} has not ended")
        self._expect(index == self._native + 1, what, f"the next one is block {self._native + 1}")
        self._native, self._ended = index, False

    def _end_block(self) -> list[Event]:
        """End Converse's block, if one is open."""
        if self._kind is None:
            return []
        ended = ContentBlockStopEvent(content_block_index=self._index)
        self._kind, self._index = None, self._index + 1
        return [ended]

    def _expect(self, holds: bool, what: str, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
        if not holds:
            raise ValueError(f"{what} is out of order: {otherwise}")
