"""Folds the wire events of ConverseStream into the wire response of Converse, as the service relates the two.

This implementation is the emulator's own and works on plain JSON, so that what a test receives from the emulator was
not computed by the code under test.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from ..types import JSONValue
from .frames import WireEvent

__all__ = ["fold_wire_events"]

# Metadata members that a Converse response has at its top level; unknown ones are kept in the same way.
_PADDING: Final = "p"


def fold_wire_events(events: Iterable[WireEvent]) -> dict[str, JSONValue]:
    """Return the Converse response with the content of these events, which must not include exceptions.

    Blocks are ordered by their index. Tool input is the concatenated JSON, parsed (``{}`` if empty); text that is not
    JSON is kept as a string, as a consumer of the stream would see it.
    """
    message: dict[str, Any] = {"role": "assistant"}
    response: dict[str, Any] = {"output": {"message": message}}
    blocks: dict[int, _Block] = {}
    for event in events:
        for name, payload in event.items():
            members: dict[str, Any] = dict(payload) if isinstance(payload, Mapping) else {}
            members.pop(_PADDING, None)
            if name == "messageStart":
                message.update(members)
            elif name in {"contentBlockStart", "contentBlockDelta"}:
                block = blocks.setdefault(members.get("contentBlockIndex", 0), _Block())
                block.add(members.get("start" if name == "contentBlockStart" else "delta") or {})
            elif name in {"messageStop", "metadata"}:
                response.update(members)
    message["content"] = [blocks[index].wire() for index in sorted(blocks)]
    return response


class _Block:
    """The parts of one content block: a start sets members, deltas join or append to them."""

    def __init__(self) -> None:
        self._parts: dict[str, Any] = {}
        self._redacted: list[bytes] = []

    def add(self, part: Mapping[str, Any]) -> None:
        for kind, value in part.items():
            if kind == "text":
                self._parts["text"] = self._parts.get("text", "") + value
            elif kind == "citation":
                self._parts.setdefault("citations", []).append(value)
            elif kind == "toolResult" and isinstance(value, list):
                self._parts.setdefault("toolResult", {}).setdefault("content", []).extend(value)
            elif kind == "reasoningContent":
                self._reasoning(value)
            elif isinstance(value, Mapping):
                self._merge(self._parts.setdefault(kind, {}), cast("Mapping[str, Any]", value))
            else:
                self._parts[kind] = value

    def _reasoning(self, value: Mapping[str, Any]) -> None:
        if "redactedContent" in value:
            self._redacted.append(base64.b64decode(value["redactedContent"]))
        else:
            self._merge(self._parts.setdefault("reasoningContent", {}), value)

    @staticmethod
    def _merge(into: dict[str, Any], value: Mapping[str, Any]) -> None:
        for name, member in value.items():
            joined = isinstance(member, str) and isinstance(into.get(name), str)
            into[name] = into[name] + member if joined else member

    def wire(self) -> dict[str, Any]:
        """Return the block as Converse returns it."""
        parts = dict(self._parts)
        if self._redacted:
            return {"reasoningContent": {"redactedContent": base64.b64encode(b"".join(self._redacted)).decode()}}
        if "reasoningContent" in parts:
            return {"reasoningContent": {"reasoningText": {"text": "", **parts["reasoningContent"]}}}
        if "toolUse" in parts:
            tool_use: dict[str, Any] = parts["toolUse"]
            return {"toolUse": {**tool_use, "input": _document(tool_use.get("input", ""))}}
        if "citations" in parts:
            content = [{"text": parts["text"]}] if "text" in parts else []
            return {"citationsContent": {"citations": parts["citations"], "content": content}}
        return parts


def _document(text: str) -> JSONValue:
    try:
        document: JSONValue = json.loads(text or "{}")
    except ValueError:
        return text
    return document
