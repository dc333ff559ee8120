"""Folds the events of a stream into the response that Converse would have returned, unknown members included."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from itertools import groupby, takewhile
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec

from .events import (
    PADDING,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    Event,
    MessageStartEvent,
    MessageStopEvent,
    MetadataEvent,
    debase64,
    decode_event,
    event_from_wire,
    mended,
    read_model,
)
from .types import ConverseResponse, JSONValue

_INDEX: Final = "contentBlockIndex"

_Members: TypeAlias = dict[str, JSONValue]


class ResponseAccumulator:
    """Folds events, added in order, and returns the response so far at any time. Linear in the number of events."""

    def __init__(self) -> None:
        self._message: _Members = {}
        self._blocks: dict[int, _Block] = {}
        self._last_index = 0
        self._response: _Members = {}

    def add(self, event: Event) -> None:
        """Add one event; an event without a block index belongs to the most recent block."""
        match event:
            case ContentBlockDeltaEvent():
                self._block(event.content_block_index).add(_members(event))
            case ContentBlockStartEvent():
                self._block(event.content_block_index).start(_members(event))
            case MessageStartEvent():
                self._message.update(_members(event))
            case MessageStopEvent() | MetadataEvent():
                self._response.update(_members(event))
            case _:  # the stop of a block carries nothing to keep, and the meaning of unknown events is unknown
                pass

    def response(self) -> ConverseResponse:
        """Return the response so far; members that have not arrived are absent."""
        content: list[JSONValue] = [self._blocks[index].wire() for index in sorted(self._blocks)]
        message: _Members = {**_filled(self._message, role="assistant"), "content": content}
        wire: _Members = {**self._response, "output": {"message": message}}
        return read_model(ConverseResponse, json.dumps(mended(wire)).encode("ascii"))

    def _block(self, index: int | None) -> _Block:
        if index is not None:
            self._last_index = index
        return self._blocks.setdefault(self._last_index, _Block())


def _members(event: Event) -> _Members:
    return _object(event.to_wire()[event.wire_name])


def fold(events: Iterable[Event]) -> ConverseResponse:
    """Return the response that these events form."""
    accumulator = ResponseAccumulator()
    for event in events:
        accumulator.add(event)
    return accumulator.response()


class _PlainText(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    text: str


class _PlainInput(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    input: str


class _ToolDelta(msgspec.Struct, forbid_unknown_fields=True, gc=False, rename="camel"):
    tool_use: _PlainInput


class _ReasoningDelta(msgspec.Struct, forbid_unknown_fields=True, gc=False, rename="camel"):
    reasoning_content: _PlainText


D = TypeVar("D")


class _Plain(msgspec.Struct, Generic[D], forbid_unknown_fields=True, gc=False, rename="camel"):
    """The payload of a delta with nothing but a piece of text: by far the most frequent kind."""

    content_block_index: int
    delta: D
    p: str = ""


_decode_text: Final = msgspec.json.Decoder(_Plain[_PlainText]).decode
_decode_tool: Final = msgspec.json.Decoder(_Plain[_ToolDelta]).decode
_decode_reasoning: Final = msgspec.json.Decoder(_Plain[_ReasoningDelta]).decode

_Place: TypeAlias = tuple[int, tuple[str, ...]]


def condensed(events: Iterable[Event]) -> list[Event]:
    """Return fewer events that fold into the same response, by joining consecutive pieces of plain text."""
    kept: list[Event] = []
    place: _Place | None = None
    texts: list[str] = []
    for event in events:
        found, text = _plain_text(event)
        if texts and found != place:
            kept.append(_text_event(place, texts))
            texts = []
        if found is None:
            kept.append(event)
        else:
            place = found
            texts.append(text)
    if texts:
        kept.append(_text_event(place, texts))
    return kept


def _plain_text(event: Event) -> tuple[_Place | None, str]:
    """Return the place of a text delta and its text; the place is None for any other event."""
    if not isinstance(event, ContentBlockDeltaEvent):
        return None, ""
    try:
        return _plain_text_of(event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, ""


def _plain_text_of(event: ContentBlockDeltaEvent) -> tuple[_Place, str]:
    if event.text is not None:
        plain = _decode_text(event.payload)
        return (plain.content_block_index, ("text",)), plain.delta.text
    if event.tool_input is not None:
        tool = _decode_tool(event.payload)
        return (tool.content_block_index, ("toolUse", "input")), tool.delta.tool_use.input
    reasoning = _decode_reasoning(event.payload)
    return (reasoning.content_block_index, ("reasoningContent", "text")), reasoning.delta.reasoning_content.text


def _text_event(place: _Place | None, texts: Sequence[str]) -> Event:
    index, path = place or (0, ())
    delta: object = "".join(texts)
    for name in reversed(path):
        delta = {name: delta}
    return decode_event("contentBlockDelta", msgspec.json.encode({_INDEX: index, "delta": delta}))


def unfold(response: ConverseResponse) -> list[Event]:
    """Return the events that a stream of this response would have had; folding them gives the response back."""
    wire = response.to_wire()
    message = _object(_object(wire.pop("output", None)).get("message"))
    content = message.pop("content", None)
    events = [event_from_wire({"messageStart": message})]
    for index, block in enumerate(content if isinstance(content, list) else ()):
        events += _unfold_block(index, _object(block))
    stop = {name: wire.pop(name) for name in ("stopReason", "additionalModelResponseFields") if name in wire}
    return [*events, event_from_wire({"messageStop": stop}), event_from_wire({"metadata": wire})]


def _object(value: JSONValue) -> _Members:
    return dict(value) if isinstance(value, dict) else {}


def _items(value: JSONValue) -> list[JSONValue]:
    return value if isinstance(value, list) else []


def _unfold_block(index: int, block: _Members) -> Iterable[Event]:
    deltas: list[_Members] = []
    start: _Members = {}
    for name, value in block.items():
        if not isinstance(value, dict):
            deltas.append({name: value})
            continue
        match name:
            case "toolUse":
                start["toolUse"] = {key: member for key, member in value.items() if key != "input"}
                text = value.get("input")
                deltas.append({"toolUse": {"input": text if isinstance(text, str) else json.dumps(text)}})
            case "toolResult":
                start["toolResult"] = {key: member for key, member in value.items() if key != "content"}
                deltas.append({"toolResult": value.get("content") or []})
            case "image":
                start["image"] = {key: member for key, member in value.items() if key not in {"source", "error"}}
                deltas.extend({"image": {key: value[key]}} for key in ("source", "error") if key in value)
            case "reasoningContent":
                deltas.extend({"reasoningContent": piece} for piece in _unfold_reasoning(value))
            case "citationsContent":
                parts = [_object(part) for part in _items(value.get("content"))]
                deltas.extend({"text": part["text"]} for part in parts if "text" in part)
                deltas.extend({"citation": citation} for citation in _items(value.get("citations")))
            case _:
                deltas.append({name: value})
    if start:
        yield event_from_wire({"contentBlockStart": {_INDEX: index, "start": start}})
    for delta in deltas:
        yield event_from_wire({"contentBlockDelta": {_INDEX: index, "delta": delta}})
    yield event_from_wire({"contentBlockStop": {_INDEX: index}})


def _unfold_reasoning(value: _Members) -> Iterable[_Members]:
    for name, member in value.items():
        if name != "reasoningText" or not isinstance(member, dict):
            yield {name: member}
            continue
        for key, piece in member.items():
            # Unknown members are emitted under their full path, so that folding restores them in place.
            yield {key: piece} if key in {"text", "signature"} else {name: {key: piece}}


class _Block:
    """One content block as it grows. Pieces are joined once at the end, which keeps long blocks linear."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._citations: list[JSONValue] = []
        self._tool_use: _Members | None = None
        self._tool_input: list[str] = []
        self._tool_result: _Members | None = None
        self._tool_result_pieces: list[JSONValue] = []
        self._reasoning: list[str] = []
        self._signature: list[str] = []
        self._redacted: list[bytes] = []
        self._image: _Members | None = None
        self._image_bytes: list[bytes] = []
        self._other: list[_Members] = []
        self._beside: _Members = {}

    def start(self, members: _Members) -> None:
        for name, value in _object(members.get("start")).items():
            match name, value:
                case "toolUse", dict():
                    self._tool_use = dict(value)
                case "toolResult", dict():
                    self._tool_result = dict(value)
                case "image", dict():
                    self._image = dict(value)
                case _:
                    self._add_other(name, value)
        self._keep_beside(members, "start")

    def add(self, members: _Members) -> None:
        for name, value in _object(members.get("delta")).items():
            match name, value:
                case "text", str():
                    self._text.append(value)
                case "citation", dict():
                    self._citations.append(value)
                case "toolUse", dict():
                    self._add_tool_use(value)
                case "toolResult", list():
                    self._tool_result = self._tool_result or {}
                    self._tool_result_pieces += value
                case "reasoningContent", dict():
                    self._add_reasoning(value)
                case "image", dict():
                    self._add_image(value)
                case _:
                    self._add_other(name, value)
        self._keep_beside(members, "delta")

    def wire(self) -> _Members:
        """Return the block as Converse would return it."""
        wire: _Members = {}
        if self._tool_use is not None:
            tool_input = _tool_input("".join(self._tool_input))
            wire["toolUse"] = {**_filled(self._tool_use, toolUseId="", name=""), "input": tool_input}
        if self._tool_result is not None:
            content = _joined_texts(self._tool_result_pieces)
            wire["toolResult"] = {**_filled(self._tool_result, toolUseId=""), "content": content}
        if reasoning := self._reasoning_wire():
            wire["reasoningContent"] = reasoning
        if self._image is not None:
            source: _Members = {"bytes": _base64(self._image_bytes)} if self._image_bytes else {}
            wire["image"] = _filled(self._image, format="", source=source)
        text = "".join(self._text)
        if self._citations:
            parts: list[JSONValue] = [{"text": text}] if self._text else []
            wire["citationsContent"] = {"content": parts, "citations": self._citations}
        elif self._text or not (wire or self._other):
            wire["text"] = text
        if self._other:
            wire = _object(_merged([wire, *self._other]))
        return {**wire, **self._beside}

    def _reasoning_wire(self) -> _Members:
        wire: _Members = {}
        if self._redacted:
            wire["redactedContent"] = _base64(self._redacted)
        if self._reasoning or self._signature:
            text: _Members = {"text": "".join(self._reasoning)}
            if self._signature:
                text["signature"] = "".join(self._signature)
            wire["reasoningText"] = text
        return wire

    def _keep_beside(self, members: _Members, known: str) -> None:
        for name, value in members.items():
            if name not in {known, _INDEX, PADDING}:
                self._beside[name] = value

    def _add_other(self, name: str, value: JSONValue) -> None:
        if value is not None:
            self._other.append({name: value})

    def _add_tool_use(self, value: _Members) -> None:
        self._tool_use = self._tool_use or {}
        for name, member in value.items():
            if name == "input" and isinstance(member, str):
                self._tool_input.append(member)
            elif member is not None:
                self._tool_use[name] = member

    def _add_reasoning(self, value: _Members) -> None:
        for name, member in value.items():
            match name, member:
                case "text", str():
                    self._reasoning.append(member)
                case "signature", str():
                    self._signature.append(member)
                case "redactedContent", str():
                    self._redacted.append(debase64(member))
                case _, None:
                    pass
                case _:
                    self._add_other("reasoningContent", {name: member})

    def _add_image(self, value: _Members) -> None:
        self._image = self._image or {}
        for name, member in value.items():
            match name, member:
                case "source", {"bytes": str(piece), **rest} if not rest:
                    self._image_bytes.append(debase64(piece))
                case _, None:
                    pass
                case _:
                    self._image[name] = member


def _filled(members: _Members, **required: JSONValue) -> _Members:
    """Fill in required members that the service omitted, rather than rejecting the whole answer."""
    return {**members, **{name: member for name, member in required.items() if members.get(name) is None}}


def _base64(pieces: Iterable[bytes]) -> str:
    return base64.b64encode(b"".join(pieces)).decode("ascii")


def _joined_texts(pieces: Iterable[JSONValue]) -> list[JSONValue]:
    """Return the content of a tool result, with consecutive pieces of text joined."""
    content: list[JSONValue] = []
    for is_text, run in groupby(pieces, _is_text):
        if is_text:
            content.append({"text": "".join(str(_object(piece)["text"]) for piece in run)})
        else:
            content += run
    return content


def _is_text(piece: JSONValue) -> bool:
    return isinstance(piece, dict) and len(piece) == 1 and isinstance(piece.get("text"), str)


def _tool_input(text: str) -> JSONValue:
    """Return the parsed input: ``{}`` for no text at all; text that is not a JSON object stays text."""
    if not text.strip():
        return {}
    try:
        value: JSONValue = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _merged(pieces: Sequence[JSONValue]) -> JSONValue:
    """Merge the pieces of an unknown member: strings and lists are joined, objects merged, anything else replaced."""
    last = pieces[-1]
    alike = [*takewhile(lambda piece: type(piece) is type(last), reversed(pieces))][::-1]
    if isinstance(last, str):
        return "".join(str(piece) for piece in alike)
    if isinstance(last, list):
        return [item for piece in alike for item in _items(piece)]
    if not isinstance(last, dict):
        return last
    members: dict[str, list[JSONValue]] = {}
    for piece in alike:
        for name, member in _object(piece).items():
            members.setdefault(name, []).append(member)
    return {name: _merged(values) for name, values in members.items()}
