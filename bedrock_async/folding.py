"""Folding the events of a stream into the response that Converse would have given, unknown members included."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from .events import (
    PADDING,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    Event,
    MessageStartEvent,
    MessageStopEvent,
    MetadataEvent,
    event_from_wire,
    mended,
    read_model,
)
from .types import ConverseResponse

_INDEX = "contentBlockIndex"


class ResponseAccumulator:
    """Takes events in order and gives the response so far at any time. Pure, linear in the events."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {"role": "assistant"}
        self._blocks: dict[int, _Block] = {}
        self._response: dict[str, Any] = {}

    def add(self, event: Event) -> None:
        """Add one event; one that arrives without a block index belongs to the block before it."""
        if event.type == "unknown":
            return
        members: dict[str, Any] = event.to_wire()[event.wire_name]  # type: ignore[assignment]
        if isinstance(event, MessageStartEvent):
            self._message.update(members)
        elif isinstance(event, ContentBlockStartEvent):
            self._block(members).start(members)
        elif isinstance(event, ContentBlockDeltaEvent):
            self._block(members).add(members)
        elif isinstance(event, MessageStopEvent | MetadataEvent):
            self._response.update(members)

    def response(self) -> ConverseResponse:
        """Return everything so far as a response; members that have not arrived are absent."""
        wire = dict(self._response)
        content = [self._blocks[index].wire() for index in sorted(self._blocks)]
        wire["output"] = {"message": {**self._message, "content": content}}
        return read_model(ConverseResponse, json.dumps(mended(wire)).encode("ascii"))

    def _block(self, members: Mapping[str, Any]) -> _Block:
        index = members.get(_INDEX)
        if not isinstance(index, int):
            index = max(self._blocks, default=0)
        return self._blocks.setdefault(index, _Block())


def fold(events: Iterable[Event]) -> ConverseResponse:
    """Return the response that these events make."""
    accumulator = ResponseAccumulator()
    for event in events:
        accumulator.add(event)
    return accumulator.response()


def unfold(response: ConverseResponse) -> list[Event]:
    """Return the events that a stream of this response would have had; folding them gives the response back."""
    wire: dict[str, Any] = response.to_wire()
    message: dict[str, Any] = dict((wire.pop("output", None) or {}).get("message") or {})
    events = [event_from_wire({"messageStart": {k: v for k, v in message.items() if k != "content"}})]
    for index, block in enumerate(message.get("content") or ()):
        events += _unfold_block(index, block)
    stop = {name: wire.pop(name) for name in ("stopReason", "additionalModelResponseFields") if name in wire}
    return [*events, event_from_wire({"messageStop": stop}), event_from_wire({"metadata": wire})]


def _unfold_block(index: int, block: Mapping[str, Any]) -> Iterable[Event]:
    deltas: list[dict[str, Any]] = []
    start: dict[str, Any] = {}
    for name, value in block.items():
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
                deltas += [{"image": {key: value[key]}} for key in ("source", "error") if key in value]
            case "reasoningContent":
                deltas += _unfold_reasoning(value)
            case "citationsContent":
                deltas += [{"text": part["text"]} for part in value.get("content") or () if "text" in part]
                deltas += [{"citation": citation} for citation in value.get("citations") or ()]
            case _:
                deltas.append({name: value})
    if start:
        yield event_from_wire({"contentBlockStart": {_INDEX: index, "start": start}})
    for delta in deltas:
        yield event_from_wire({"contentBlockDelta": {_INDEX: index, "delta": delta}})
    yield event_from_wire({"contentBlockStop": {_INDEX: index}})


def _unfold_reasoning(value: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for name, member in value.items():
        pieces = member.items() if name == "reasoningText" and isinstance(member, dict) else [(name, member)]
        for key, piece in pieces:
            yield {"reasoningContent": {key: piece}}


class _Block:
    """One content block while it grows. Pieces are collected and joined once, so that long blocks stay linear."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._citations: list[Any] = []
        self._tool_use: dict[str, Any] | None = None
        self._tool_input: list[str] = []
        self._tool_result: dict[str, Any] | None = None
        self._reasoning: list[str] = []
        self._signature: list[str] = []
        self._redacted: list[bytes] = []
        self._image: dict[str, Any] | None = None
        self._image_bytes: list[bytes] = []
        self._other: dict[str, Any] = {}
        self._beside: dict[str, Any] = {}

    def start(self, members: Mapping[str, Any]) -> None:
        start = members.get("start")
        for name, value in (start if isinstance(start, dict) else {}).items():
            if name == "toolUse":
                self._tool_use = dict(value)
            elif name == "toolResult":
                self._tool_result = {**value, "content": []}
            elif name == "image":
                self._image = dict(value)
            else:
                self._other[name] = value
        self._keep_beside(members, "start")

    def add(self, members: Mapping[str, Any]) -> None:
        delta = members.get("delta")
        for name, value in (delta if isinstance(delta, dict) else {}).items():
            if value is None:
                continue
            match name:
                case "text":
                    self._text.append(str(value))
                case "citation":
                    self._citations.append(value)
                case "toolUse":
                    self._add_tool_use(value)
                case "toolResult":
                    self._add_tool_result(value)
                case "reasoningContent":
                    self._add_reasoning(value)
                case "image":
                    self._add_image(value)
                case _:
                    self._other[name] = _merged(self._other.get(name), value)
        self._keep_beside(members, "delta")

    def wire(self) -> dict[str, Any]:
        """Return the block as Converse would send it."""
        wire: dict[str, Any] = {}
        text = "".join(self._text)
        if self._tool_use is not None:
            wire["toolUse"] = {**self._tool_use, "input": _tool_input("".join(self._tool_input))}
        if self._tool_result is not None:
            wire["toolResult"] = self._tool_result
        if self._redacted:
            wire["reasoningContent"] = {"redactedContent": base64.b64encode(b"".join(self._redacted)).decode("ascii")}
        if self._reasoning or self._signature:
            reasoning = {"text": "".join(self._reasoning)}
            if self._signature:
                reasoning["signature"] = "".join(self._signature)
            wire.setdefault("reasoningContent", {})["reasoningText"] = reasoning
        if self._image is not None:
            wire["image"] = self._image
            if self._image_bytes:
                joined = base64.b64encode(b"".join(self._image_bytes)).decode("ascii")
                wire["image"] = {**self._image, "source": {"bytes": joined}}
        if self._citations:
            wire["citationsContent"] = {"content": [{"text": text}] if self._text else [], "citations": self._citations}
        elif self._text or not (wire or self._other):
            wire["text"] = text
        return {**wire, **self._other, **self._beside}

    def _keep_beside(self, members: Mapping[str, Any], known: str) -> None:
        for name, value in members.items():
            if name not in {known, _INDEX, PADDING}:
                self._beside[name] = value

    def _add_tool_use(self, value: Mapping[str, Any]) -> None:
        if self._tool_use is None:
            self._tool_use = {"toolUseId": "", "name": ""}
        for name, member in value.items():
            if name == "input":
                self._tool_input.append(str(member))
            else:
                self._tool_use[name] = member

    def _add_tool_result(self, pieces: list[Any]) -> None:
        if self._tool_result is None:
            self._tool_result = {"toolUseId": "", "content": []}
        content: list[Any] = self._tool_result["content"]
        for piece in pieces:
            if content and set(piece) == {"text"} == set(content[-1]):
                content[-1] = {"text": content[-1]["text"] + piece["text"]}
            else:
                content.append(piece)

    def _add_reasoning(self, value: Mapping[str, Any]) -> None:
        for name, member in value.items():
            if name == "text":
                self._reasoning.append(str(member))
            elif name == "signature":
                self._signature.append(str(member))
            elif name == "redactedContent":
                self._redacted.append(base64.b64decode(member))
            else:
                self._other["reasoningContent"] = _merged(self._other.get("reasoningContent"), {name: member})

    def _add_image(self, value: Mapping[str, Any]) -> None:
        if self._image is None:
            self._image = {"format": ""}
        for name, member in value.items():
            if name == "source" and isinstance(member, dict) and set(member) == {"bytes"}:
                self._image_bytes.append(base64.b64decode(member["bytes"]))
            else:
                self._image[name] = member


def _tool_input(text: str) -> Any:
    """Return the parsed input. No delta at all means no arguments; text that is no JSON stays text: never ``{}``."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _merged(old: Any, new: Any) -> Any:
    """Merge a further piece of a member nobody knows: text and lists grow, objects merge, the rest is replaced."""
    if isinstance(old, str) and isinstance(new, str):
        return old + new
    if isinstance(old, list) and isinstance(new, list):
        return old + new
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{name: _merged(old.get(name), value) for name, value in new.items()}}
    return new
