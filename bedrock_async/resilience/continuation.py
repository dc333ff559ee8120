"""Going on after a stream failed in the middle: when it is possible, what is asked, and how the parts join. Pure.

Only text can be continued. Where the model takes a last message of the assistant it goes on from there; any other one
is shown its own text and told to go on. Nothing but the joint is touched: text that has been handed out stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import msgspec

from ..errors import InvalidRequestError
from ..events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    Event,
    MessageStartEvent,
    MessageStopEvent,
    MetadataEvent,
    event_from_wire,
)
from ..types import ConverseRequest, JSONValue, Message, TextBlock, TokenUsage
from ._numbers import is_count

GO_ON: Final = (
    "Your answer was cut off by a technical fault. Go on exactly where it ends: do not repeat any of it, do not "
    "comment on it, and begin with the very next character."
)
"""What a model is told if it does not continue a last message of the assistant."""

_INDEX: Final = "contentBlockIndex"
_USAGE: Final = ("inputTokens", "outputTokens", "totalTokens", "cacheReadInputTokens", "cacheWriteInputTokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """Lets a stream that fails in the middle go on in another attempt, with the text so far.

    After a failure that is worth repeating (`BedrockError.retryable`) the call is made again, at most
    ``max_continuations`` times, with what had arrived as the beginning of the answer; the retry policy says when, and
    targets where. ``model`` is asked from then on, in place of the call's. A stream that has brought anything but text
    (tool use, reasoning, citations, images) ends with its error. Each attempt is billed, and each may use all of
    ``max_tokens``.
    """

    max_continuations: int = 1
    model: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that would never continue anything."""
        count = cast("object", self.max_continuations)
        if not is_count(count):
            raise InvalidRequestError(
                f"continuation.max_continuations is {count!r}; it must be a whole number, 1 or more.",
                path="continuation.max_continuations",
                hint="Leave continuation out to have none.",
            )


def continued_request(request: ConverseRequest, text: str, *, prefill: bool) -> ConverseRequest:
    """Return the request that goes on after ``text``, the answer to ``request`` so far.

    With ``prefill`` the text is the last message, without blanks at its end, which the service refuses there.
    """
    messages = list(request.messages or ())
    begun = text.rstrip() if prefill else text
    if not begun.strip():
        return request
    last = messages[-1] if messages else None
    if last is not None and last.role == "assistant":
        # The caller had begun the answer already; two messages of one role in a row are refused.
        content = list(last.content)
        if content and isinstance(content[-1], TextBlock):
            content[-1] = TextBlock(text=content[-1].text + begun)
        else:
            content.append(TextBlock(text=begun))
        messages[-1] = Message(role="assistant", content=content)
    else:
        messages.append(Message(role="assistant", content=[TextBlock(text=begun)]))
    if not prefill:
        messages.append(Message(role="user", content=[TextBlock(text=GO_ON)]))
    return request.model_copy(update={"messages": messages})


class Splice(msgspec.Struct):
    """Makes one stream of the events of several attempts: one beginning, one end, every index used once."""

    _texts: list[str] = msgspec.field(default_factory=list[str])
    _plain: bool = True
    """Whether nothing but text has come."""
    _ended: bool = False
    _begun: bool = False
    _open: int | None = None
    """The block of text that is being written."""
    _next: int = 0
    """The first index that no block has."""
    _base: int = 0
    """What is added to the indices of the attempt under way."""
    _parts: int = 1
    _joint: bool = False
    """Whether the first text of this part is still to come."""
    _skip_blanks: bool = False
    _usage: TokenUsage | None = None

    @property
    def text(self) -> str | None:
        """The answer so far, None where it cannot be continued: it is more than text, or has ended."""
        return "".join(self._texts) if self._plain and not self._ended else None

    def take(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return the events to hand out for those that the attempt under way has brought."""
        if self._parts == 1:
            for event in events:
                self._note(event)
            return events
        taken: list[Event] = []
        for event in events:
            taken += self._joined(event)
        return taken

    def go_on(self, *, prefill: bool) -> None:
        """Expect the events of another attempt, which goes on after `text`."""
        text = "".join(self._texts)
        self._parts += 1
        # Blanks at its end were left out of the prefill, so that the model may begin with some of its own.
        self._skip_blanks = prefill and bool(text) and text != text.rstrip()
        self._joint = True
        self._base = self._next if self._open is None else self._open

    # -- inside

    def _note(self, event: Event) -> None:
        match event:
            case ContentBlockDeltaEvent():
                index = self._index(event.content_block_index)
                self._next = max(self._next, index + 1)
                if event.text is None:
                    self._plain = False
                else:
                    self._texts.append(event.text)
                    self._open = index
            case ContentBlockStartEvent():
                self._plain = False
                self._next = max(self._next, self._index(event.content_block_index) + 1)
            case ContentBlockStopEvent():
                self._open = None
            case MessageStartEvent():
                self._begun = True
            case MessageStopEvent():
                self._ended = True
            case MetadataEvent():
                self._usage = event.usage
            case _:
                pass

    def _index(self, index: int | None) -> int:
        if index is not None:
            return index
        return max(0, self._next - 1)

    def _joined(self, event: Event) -> list[Event]:
        match event:
            case MessageStartEvent() if self._begun:
                return []
            case ContentBlockDeltaEvent() if event.text is not None:
                return self._joined_text(event)
            case ContentBlockDeltaEvent() | ContentBlockStartEvent():
                before = self._closed_joint()
                moved = self._moved(event)
                self._note(moved)
                return [*before, moved]
            case ContentBlockStopEvent():
                moved = self._moved(event)
                self._note(moved)
                return [moved]
            case MessageStopEvent():
                before = self._closed_joint()
                self._note(event)
                return [*before, event]
            case MetadataEvent():
                summed = _with_usage(event, self._usage)
                self._note(summed)
                return [summed]
            case _:
                self._note(event)
                return [event]

    def _joined_text(self, event: ContentBlockDeltaEvent) -> list[Event]:
        self._joint = False
        moved = self._moved(event)
        if self._skip_blanks:
            text = (event.text or "").lstrip()
            if not text:
                return []
            self._skip_blanks = False
            if text != event.text:
                moved = _with_text(moved, text)
        self._note(moved)
        return [moved]

    def _closed_joint(self) -> list[Event]:
        """Return what ends the block that was being written, when something else than its text follows."""
        if not self._joint:
            return []
        self._joint = False
        if self._open is None:
            return []
        stop = event_from_wire({"contentBlockStop": {_INDEX: self._open}})
        self._open = None
        self._base = self._next
        return [stop]

    def _moved(self, event: Event) -> Event:
        """Return an event of a block under the index that the block has in the whole answer."""
        if self._base == 0:
            return event
        ((name, members),) = event.to_wire().items()
        if not isinstance(members, dict):
            return event
        index = members.get(_INDEX)
        if not isinstance(index, int):
            return event
        return event_from_wire({name: {**members, _INDEX: index + self._base}})


def _with_text(event: Event, text: str) -> Event:
    ((name, members),) = event.to_wire().items()
    assert isinstance(members, dict), "a delta is an object"  # noqa: S101
    return event_from_wire({name: {**members, "delta": {"text": text}}})


def _with_usage(event: MetadataEvent, before: TokenUsage | None) -> Event:
    """Return metadata whose usage is that of all parts which have told theirs."""
    if before is None:
        return event
    members: dict[str, JSONValue] = dict(event.to_wire()).get("metadata") or {}  # type: ignore[assignment]
    told = members.get("usage")
    usage: dict[str, JSONValue] = dict(told) if isinstance(told, dict) else {}
    for name, tokens in before.to_wire().items():
        if name in _USAGE and isinstance(tokens, int):
            now = usage.get(name)
            usage[name] = tokens + (now if isinstance(now, int) else 0)
    return event_from_wire({"metadata": {**members, "usage": usage}})
