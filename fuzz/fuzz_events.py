"""Fuzzes the decoder of Converse streams: whatever the payloads, events or errors of the tree come out.

    python fuzz/fuzz_events.py --seconds 60

An input is a stream: each line is an event as JSON, ``{"messageStart": {...}}``, or else the payload of a delta.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

from harness import PromiseBrokenError, Target, main, mutated_lines


def make_target() -> Callable[[bytes], int]:
    """Return the function under test: lines become frames, frames events, and events a response."""
    from bedrock_async.errors import BedrockError
    from bedrock_async.events import ConverseEventDecoder, Event, event_from_wire
    from bedrock_async.folding import condensed, fold
    from bedrock_async.testing.frames import event_frame

    def frame(line: bytes) -> bytes:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return event_frame("contentBlockDelta", line)
        members = cast("dict[str, object]", value) if isinstance(value, dict) else {}
        if len(members) == 1:
            ((name, payload),) = members.items()
            try:
                return event_frame(name, json.dumps(payload).encode())
            except (BedrockError, UnicodeEncodeError):  # a name that is no header
                return event_frame("metadata", json.dumps(payload).encode())
        return event_frame("contentBlockDelta", line)

    def outcome(body: bytes, size: int) -> tuple[list[Event], str]:
        decoder = ConverseEventDecoder()
        decoder.start(200, {"content-type": "application/vnd.amazon.eventstream"})
        events: list[Event] = []
        try:
            for start in range(0, len(body), size):
                events += decoder.receive(body[start : start + size])
            events += decoder.receive(b"")
            events += decoder.eof()
        except BedrockError as error:
            return events, f"{type(error).__name__}: {error}"
        return events, ""

    def target(data: bytes) -> int:
        body = b"".join(frame(line) for line in data.splitlines())
        whole = outcome(body, max(len(body), 1))
        if outcome(body, 1 + len(data) % 97) != whole:
            raise PromiseBrokenError("events or error depend on how the bytes are cut")
        events, _ = whole
        for event in events:
            try:
                wire, _ = event.to_wire(), (event.text, event.to_dict())
            except BedrockError:  # what the typed reader passes over may be no UTF-8
                continue
            if event_from_wire(wire).to_wire() != wire:
                raise PromiseBrokenError(f"{event} does not survive its own wire form")
        try:
            response = fold(events)
        except BedrockError:
            return len(events)
        if fold(condensed(events)).to_wire() != response.to_wire():
            raise PromiseBrokenError("joining the text changes the response")
        _ = response.text, response.tool_uses, response.reasoning, response.to_dict()
        return len(events)

    return target


if __name__ == "__main__":
    main(Target("events", make_target, ("bedrock_async.events", "bedrock_async.folding"), "events", mutated_lines))
