"""Messages API answers and stream events, and text completions, read as Converse's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bedrock_async import Event
from bedrock_async.errors import service_error
from bedrock_async.families import EventBuilder, NativeObject, stop_reason
from bedrock_async.types import CacheDetail

from .citations import read_citation


def read_message(body: NativeObject, events: EventBuilder) -> None:
    """Read a whole message, or a whole text completion."""
    if "completion" in body:
        read_completion(body, events)
        return
    events.start()
    for block in body["content"]:
        _whole_block(block, events)
    events.stop(stop_reason(body["stop_reason"]))
    _usage(body.get("usage"), events)


def read_completion(native: NativeObject, events: EventBuilder) -> None:
    """Read a text completion, or one chunk of it."""
    events.start()
    events.text(native["completion"])
    events.stop(stop_reason(native.get("stop_reason")))
    _usage(native.get("usage"), events)


def _whole_block(block: Mapping[str, Any], events: EventBuilder) -> None:
    match block["type"]:
        case "text":
            events.text(block["text"])
            for citation in block.get("citations") or ():
                events.citation(read_citation(citation))
        case "thinking":
            events.reasoning(block["thinking"], signature=block.get("signature"))
        case "redacted_thinking":
            events.reasoning(redacted=block["data"].encode())
        case "tool_use":
            events.whole_tool_use(block["id"], block["name"], block["input"])
        case kind:
            events.other(kind, {name: value for name, value in block.items() if name != "type"})
    events.end_block()


def _usage(usage: Mapping[str, Any] | None, events: EventBuilder) -> None:
    if not usage:
        return
    written: Mapping[str, int] = usage.get("cache_creation") or {}
    events.usage(
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        cache_read_input_tokens=usage.get("cache_read_input_tokens"),
        cache_write_input_tokens=usage.get("cache_creation_input_tokens"),
        cache_details=[
            CacheDetail(ttl=ttl, input_tokens=count)
            for ttl in ("1h", "5m")
            if (count := written.get(f"ephemeral_{ttl}_input_tokens"))
        ],
    )


class MessageDecoder:
    """Makes Converse's events from the Messages API's, one for one, or from the chunks of a text completion."""

    def __init__(self) -> None:
        self._events = EventBuilder()
        self._unknown: dict[str, Any] | None = None
        self._unknown_input = ""

    def receive(self, chunk: NativeObject) -> list[Event]:
        """Return the events of one native event or chunk. Raises ServiceError for an ``error`` event."""
        if "completion" in chunk:
            read_completion(chunk, self._events)
        else:
            self._message_event(chunk)
        return self._events.take()

    def eof(self) -> list[Event]:
        """Return the last events. Raises StreamTruncatedError if no stop reason has arrived."""
        return self._events.finish()

    def _message_event(self, chunk: NativeObject) -> None:
        events = self._events
        match chunk["type"]:
            case "content_block_delta":
                self._delta(chunk["delta"])
            case "content_block_start":
                self._start(chunk["content_block"])
            case "content_block_stop":
                self._stop()
            case "message_start":
                events.start()
                _usage(chunk["message"].get("usage"), events)
            case "message_delta":
                events.stop(stop_reason(chunk["delta"].get("stop_reason")))
                _usage(chunk.get("usage"), events)
            case "error":
                error = chunk["error"]
                raise service_error("ModelStreamErrorException", f"{error['type']}: {error['message']}", in_stream=True)
            case _:  # message_stop and ping carry nothing; event types yet to come are ignored
                pass

    def _start(self, block: Mapping[str, Any]) -> None:
        events = self._events
        match block["type"]:
            case "text":
                events.text(block.get("text"))
            case "thinking":
                events.reasoning(block.get("thinking"), signature=block.get("signature"))
            case "redacted_thinking":
                events.reasoning(redacted=block["data"].encode())
            case "tool_use":
                events.tool_use(block["id"], block["name"])
                if block.get("input"):
                    events.tool_input(json.dumps(block["input"]))
            case _:
                self._unknown, self._unknown_input = dict(block), ""

    def _delta(self, delta: Mapping[str, Any]) -> None:
        events = self._events
        match delta["type"]:
            case "text_delta":
                events.text(delta["text"])
            case "input_json_delta" if self._unknown is not None:
                self._unknown_input += delta["partial_json"]
            case "input_json_delta":
                # The first piece is empty, and Converse has an event for it too.  [corpus]
                events.tool_input(delta["partial_json"])
            case "thinking_delta":
                events.reasoning(delta["thinking"])
            case "signature_delta":
                events.reasoning(signature=delta["signature"])
            case "citations_delta":
                events.citation(read_citation(delta["citation"]))
            case kind:
                self._unknown = {**(self._unknown or {"type": kind}), **{k: v for k, v in delta.items() if k != "type"}}

    def _stop(self) -> None:
        if self._unknown is not None:
            block, self._unknown = self._unknown, None
            if self._unknown_input:
                block["input"] = _input(self._unknown_input)
            kind = block.pop("type")
            self._events.other(kind, block)
        self._events.end_block()


def _input(text: str) -> object:
    """Return the input of a tool, or its text if the answer was cut off inside it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
