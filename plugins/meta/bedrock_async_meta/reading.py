"""Llama's answers and chunks, read as Converse's, with tool calls told from text."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias, cast

from bedrock_async import Event
from bedrock_async.families import EventBuilder, NativeObject, stop_reason

# How a call begins, without blanks; some models print special tokens around it.
_TOKENS: Final = ("<|python_tag|>", "<|python_start|>")
_BEGINNINGS: Final = ('{"name":"', '{"type":"function","name":"')
_STARTS: Final = (*_BEGINNINGS, *(token + start for token in _TOKENS for start in _BEGINNINGS))
_Beginning: TypeAlias = Literal["open", "call", "text"]
_BLANK: Final = re.compile(r"\s+")
_BETWEEN: Final = re.compile(r"(?:[\s;,]|<\|python_(?:tag|start|end)\|>|<\|e[om][a-z_]*\|>)*")


class LlamaDecoder:
    """Makes events from chunks, or from a whole answer as the only chunk.

    An answer that begins like a tool call (``{"name": ...``) is held back until its end, where it is known whether it
    consists of calls. Anything else is passed on as it arrives.
    """

    def __init__(self) -> None:
        self.events = EventBuilder()
        self._held: list[str] = []
        self._beginning: _Beginning = "open"
        self._prompt_tokens: int | None = None

    def receive(self, chunk: NativeObject) -> list[Event]:
        """Return the events of one chunk."""
        self.read(chunk)
        return self.events.take()

    def read(self, chunk: NativeObject) -> None:
        """Read a chunk, or a whole answer, into the builder."""
        events = self.events
        events.start()
        self._add(chunk["generation"] or "")
        if (told := chunk.get("prompt_token_count")) is not None:
            self._prompt_tokens = told
        events.usage(input_tokens=told, output_tokens=chunk.get("generation_token_count"))
        if (reason := stop_reason(chunk["stop_reason"])) is not None:
            self.flush()
            events.stop("tool_use" if reason == "end_turn" and events.has_tool_use else reason)

    def eof(self) -> list[Event]:
        """Return the last events. Raises StreamTruncatedError if no stop reason has arrived."""
        self.flush()
        return self.events.finish()

    def flush(self) -> None:
        """Pass on the text held back: as calls if it consists of calls, as text otherwise."""
        calls = read_calls("".join(self._held)) if self._held else None
        if calls is None:
            self._release()
            return
        self._held = []
        for index, (name, parameters) in enumerate(calls):
            self.events.whole_tool_use(self._id(index, name, parameters), name, parameters)

    def _add(self, text: str) -> None:
        self._held.append(text)
        if self._beginning == "open":
            self._beginning = _beginning("".join(self._held))
        if self._beginning == "text":
            self._release()

    def _release(self) -> None:
        for piece in self._held:
            self.events.text(piece)
        self._held = []

    def _id(self, index: int, name: str, parameters: object) -> str:
        # Llama's calls have no ids, Converse's must; the prompt's length tells equal calls of different turns apart.
        told = json.dumps([self._prompt_tokens, index, name, parameters], sort_keys=True)
        return f"tooluse_{sha256(told.encode()).hexdigest()[:22]}"


def _beginning(text: str) -> _Beginning:
    compact = _BLANK.sub("", text)
    if compact.startswith(_STARTS):
        return "call"
    return "open" if any(start.startswith(compact) for start in _STARTS) else "text"


def read_calls(text: str) -> list[tuple[str, dict[str, Any]]] | None:
    """Return the calls that a text consists of, or None if it is anything else."""
    decoder = json.JSONDecoder()
    calls: list[tuple[str, dict[str, Any]]] = []
    position = _skipped(text, 0)
    while position < len(text):
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            return None
        call = _call(value)
        if call is None:
            return None
        calls.append(call)
        position = _skipped(text, position)
    return calls or None


def _skipped(text: str, position: int) -> int:
    found = _BETWEEN.match(text, position)
    return found.end() if found is not None else position


def _call(value: object) -> tuple[str, dict[str, Any]] | None:
    if not isinstance(value, dict):
        return None
    members = cast("dict[str, Any]", value)
    name, parameters = members.get("name"), members.get("parameters")
    if not isinstance(name, str) or not isinstance(parameters, dict) or members.keys() - {"type", "name", "parameters"}:
        return None
    return name, cast("dict[str, Any]", parameters)
