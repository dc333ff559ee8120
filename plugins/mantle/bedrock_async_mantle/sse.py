"""Server-sent events, ``text/event-stream``: a decoder without I/O.

[HTML Living Standard, section 9.2.5 "Parsing an event stream" and 9.2.6 "Interpreting an event stream"]
"""

from __future__ import annotations

from typing import Final

import msgspec

from bedrock_async import EventStreamError

__all__ = ["MAX_EVENT_BYTES", "ServerSentEvent", "SseDecoder"]

MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
"""The default limit of a line, and of the data of an event. The last event of a response repeats all of it."""

_BOM: Final = b"\xef\xbb\xbf"


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """One event: its data, as UTF-8, and its type, empty if none was sent."""

    data: bytes
    event: str = ""


class SseDecoder:
    """Makes events from the bytes of a body, however they are split; lines may end with CRLF, LF or CR.

    ``id`` and ``retry`` serve reconnection, which a POST does not have, and are ignored. Data stays bytes, which JSON
    parsers read. Once `error` is set, no more events are returned.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.error: EventStreamError | None = None
        """Why reading stopped: a line, or the data of an event, of more than ``max_event_bytes``."""
        self._limit = max_event_bytes
        self._line: list[bytes] = []
        self._line_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = ""
        self._first_line = True
        self._after_cr = False

    def receive(self, data: bytes) -> list[ServerSentEvent]:
        """Return the events that ``data`` completes. Those before a fault are returned; `error` is then set."""
        events: list[ServerSentEvent] = []
        if self.error is not None or not data:
            return events
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r") if data else False
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines:
            if self._line:
                self._line.append(lines[0])
                lines[0] = b"".join(self._line)
                self._line.clear()
                self._line_bytes = 0
            if self._first_line:
                self._first_line = False
                lines[0] = lines[0].removeprefix(_BOM)
            self._interpret(lines, events)
        if rest and self.error is None:
            self._line.append(rest)
            self._line_bytes += len(rest)
            # A BOM is not part of the first line, and is taken off only when that line ends.
            if self._line_bytes > self._limit + (len(_BOM) if self._first_line else 0):
                self._refuse("a line", self._line_bytes)
        return events

    def _interpret(self, lines: list[bytes], events: list[ServerSentEvent]) -> None:
        for line in lines:
            if len(line) > self._limit:
                self._refuse("a line", len(line))
                return
            if line.startswith(b"data:"):
                value = line[6:] if line.startswith(b" ", 5) else line[5:]
                self._data.append(value)
                self._data_bytes += len(value)
                if self._data_bytes > self._limit:
                    self._refuse("the data of an event", self._data_bytes)
                    return
            elif not line:
                if self._data:
                    data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                    events.append(ServerSentEvent(data, self._event))
                    self._data.clear()
                    self._data_bytes = 0
                self._event = ""
            elif line.startswith(b"event:"):
                self._event = line[6:].removeprefix(b" ").decode("utf-8", "replace")
            elif line == b"data":
                self._data.append(b"")
            elif line == b"event":
                self._event = ""

    def _refuse(self, what: str, size: int) -> None:
        self.error = EventStreamError(
            f"{what} of the event stream has {size} bytes or more; {self._limit} are allowed.",
            hint="Check that the endpoint sends an event stream; if it does, ask for a shorter answer.",
        )
        self._line.clear()
        self._data.clear()
