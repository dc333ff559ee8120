"""Streams of both APIs: server-sent events in, the events of a Converse stream out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Protocol, cast

import msgspec

from bedrock_async import (
    BedrockError,
    Event,
    EventDecodeError,
    ResponseDecodeError,
    StreamTruncatedError,
    UnexpectedContentTypeError,
)
from bedrock_async.families import EventBuilder, NativeObject

from .chat import ChatReader
from .faults import told_error
from .responses_events import ResponsesReader
from .routes import Route
from .sse import MAX_EVENT_BYTES, ServerSentEvent, SseDecoder

__all__ = ["Reader", "SseEventDecoder", "reader_of"]

_EVENT_STREAM: Final = "text/event-stream"
_JSON: Final = "application/json"
_DONE: Final = b"[DONE]"
_MAX_JSON_BYTES: Final = 1024 * 1024  # JSON in place of a stream is an error, and errors are short


class Reader(Protocol):
    """Reads the JSON of one answer."""

    @property
    def events(self) -> EventBuilder:
        """What the answer said."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing can follow."""
        ...

    def read(self, native: NativeObject) -> None:
        """Read a whole answer, or the data of one event. Raises BedrockError, or KeyError, TypeError or the like."""
        ...

    def finish(self) -> list[Event]:
        """Return the last events. Raises StreamTruncatedError if the answer is not complete."""
        ...


def reader_of(route: Route) -> Reader:
    """Return a fresh reader for an answer of the route's API."""
    return ResponsesReader(route) if route.api == "responses" else ChatReader(route)


class SseEventDecoder:
    """An `EventDecoder` for server-sent events; sans-IO.

    The last events come with the end that the API marks (``[DONE]``, ``response.completed``); what follows it is not
    read. ``receive`` and ``eof`` raise EventStreamError, EventDecodeError, StreamTruncatedError, or the ServiceError
    that came inside the stream, or as JSON in its place.
    """

    def __init__(self, reader: Reader, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.pending_error: BedrockError | None = None
        self._reader = reader
        self._sse = SseDecoder(max_event_bytes=max_event_bytes)
        self._finished = False
        self._status = 0
        self._json: bytearray | None = None

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the head of the response. Raises UnexpectedContentTypeError."""
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        self._status = status
        if kind == _JSON:
            self._json = bytearray()
        elif kind != _EVENT_STREAM:
            raise UnexpectedContentTypeError(
                f"the answer (HTTP {status}) has the content type {kind or 'none'}, not {_EVENT_STREAM}.",
                hint="Check the endpoint: something that is not Bedrock answered.",
                sent=True,
            )

    def receive(self, data: bytes) -> list[Event]:
        """Return all events that ``data`` completes; ``b""`` only raises a pending error."""
        self._raise_pending()
        if self._json is not None:
            self._json += data[: _MAX_JSON_BYTES - len(self._json)]
            return []
        events: list[Event] = []
        try:
            for event in self._sse.receive(data):
                if self._finished:
                    break
                events += self._read(event)
            if self._sse.error is not None and not self._finished:
                raise self._sse.error.copy()
        except BedrockError as exc:
            self.pending_error = exc
            if not events:
                self._raise_pending()
        return events

    def eof(self) -> list[Event]:
        """Return the last events. Raises StreamTruncatedError if the answer is not complete."""
        self._raise_pending()
        if self._json is not None:
            raise self._answer_of_json(bytes(self._json))
        return [] if self._finished else self._finish()

    def _raise_pending(self) -> None:
        # Let go of the error: its traceback leads to the stream, which must stay free of cycles to close at once.
        error, self.pending_error = self.pending_error, None
        if error is not None:
            raise error

    def _read(self, event: ServerSentEvent) -> list[Event]:
        reader = self._reader
        if event.data.startswith(_DONE):
            return self._finish()
        native = _members(event)
        try:
            if event.event == "error" and (fault := told_error({"type": "error", **native})) is not None:
                raise fault
            reader.read(native)
        except BedrockError:
            raise
        except Exception as exc:
            raise EventDecodeError(
                f"the provider 'mantle' cannot read an event of {len(event.data)} bytes: {type(exc).__name__}: {exc}.",
                event_type=event.event or "message",
                payload=event.data,
            ) from exc
        events = reader.events.take()
        return [*events, *self._finish()] if reader.ended else events

    def _finish(self) -> list[Event]:
        events = self._reader.finish()
        self._finished = True
        return events

    def _answer_of_json(self, body: bytes) -> BedrockError:
        """Return the error of an answer that is JSON where a stream was asked for."""
        try:
            fault = told_error(json.loads(body), status=self._status)
        except (ValueError, RecursionError):
            fault = None
        if fault is not None:
            return fault
        if not body:
            return StreamTruncatedError("the answer is empty.", hint="Call again to get a whole one.")
        return ResponseDecodeError(
            f"a stream was asked for; the answer (HTTP {self._status}) is JSON of {len(body)} bytes, and not an error.",
            body=body,
            hint="Call the model with streaming=False.",
        )


def _members(event: ServerSentEvent) -> dict[str, Any]:
    value: object
    try:
        value = msgspec.json.decode(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            value = json.loads(event.data.decode("utf-8", "replace"))  # slower, and takes more
        except (ValueError, RecursionError) as exc:
            raise EventDecodeError(
                f"the data of an event, {len(event.data)} bytes, is not JSON.",
                event_type=event.event or "message",
                payload=event.data,
            ) from exc
    if not isinstance(value, dict):
        raise EventDecodeError(
            f"the data of an event, {len(event.data)} bytes, is JSON of type {type(value).__name__}, not an object.",
            event_type=event.event or "message",
            payload=event.data,
        )
    return cast("dict[str, Any]", value)
