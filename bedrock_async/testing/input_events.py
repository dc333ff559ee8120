"""The events that a client sends in a conversation, decoded by botocore, which is independent code, and verified."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

from ..errors import BedrockError, ServiceError, service_error
from .authentication import EventChain, bad_signature

if TYPE_CHECKING:
    from botocore.eventstream import EventStreamMessage

__all__ = ["InputEvents"]

_MOST_BYTES: Final = 1_000_000
"""PartBody of the service's model."""


class InputEvents:
    """Reads the native events of one conversation from the bytes of its request.

    ``chain`` verifies their signatures; None if the request has none, or none are required. ``ready`` holds the events
    to be taken, ``failure`` a fault after them; ``ended`` tells whether the input has ended.
    """

    def __init__(self, chain: EventChain | None, now: Callable[[], datetime]) -> None:
        from botocore.eventstream import EventStreamBuffer

        self.ready: deque[bytes] = deque()
        self.failure: ServiceError | None = None
        self.ended = False
        self._chain = chain
        self._now = now
        self._signed_end = False
        self._frames = EventStreamBuffer()
        self._pending_bytes = 0

    def receive(self, data: bytes) -> None:
        """Take received data, or ``b""`` at the end of the input."""
        if self.failure is not None or self.ended:
            return
        try:
            if not data:
                self._end()
                return
            for frame in self._decoded(data):
                self._take(frame)
        except ServiceError as exc:
            self.failure = exc

    def _end(self) -> None:
        if self._chain is not None and not self._signed_end:
            raise bad_signature("The signed end of the event stream is missing.")
        if self._pending_bytes:
            raise _invalid("The event stream ended inside an event.")
        self.ended = True

    def _decoded(self, data: bytes) -> list[EventStreamMessage]:
        self._frames.add_data(data)
        messages = _messages(self._frames)
        self._pending_bytes += len(data) - sum(map(_length, messages))
        return messages

    def _take(self, frame: EventStreamMessage) -> None:
        if self._signed_end:
            raise _invalid("An event follows the end of the event stream.")
        headers = _headers(frame)
        signature, date_ms = headers.get(":chunk-signature"), headers.get(":date")
        if self._chain is not None:
            if not isinstance(signature, bytes) or not isinstance(date_ms, int):
                raise bad_signature("An event of the event stream is not signed.")
            self._chain.check(date_ms, frame.payload, signature, self._now())
        if signature is None:
            self.ready.append(_native(frame))
        elif frame.payload:
            self._inner(frame.payload)
        else:
            self._signed_end = True

    def _inner(self, payload: bytes) -> None:
        from botocore.eventstream import EventStreamBuffer

        buffer = EventStreamBuffer()
        buffer.add_data(payload)
        messages = _messages(buffer)
        if len(messages) != 1:
            raise _invalid("A signed event contains no event.")
        self.ready.append(_native(messages[0]))


def _messages(buffer: Any) -> list[EventStreamMessage]:  # noqa: ANN401 - botocore's buffer, which its stubs type in part
    from botocore.eventstream import ParserError

    try:
        return list(buffer)
    except (ParserError, ValueError, KeyError, IndexError, struct.error) as exc:
        raise _invalid("The event stream cannot be decoded.") from exc


def _length(frame: EventStreamMessage) -> int:
    prelude: Any = frame.prelude  # botocore's stubs declare a number, as they do for the headers
    return int(prelude.total_length)


def _headers(frame: EventStreamMessage) -> Mapping[str, Any]:
    headers: Any = frame.headers
    return cast("Mapping[str, Any]", headers)


def _native(frame: EventStreamMessage) -> bytes:
    headers = _headers(frame)
    if (headers.get(":message-type"), headers.get(":event-type")) != ("event", "chunk"):
        raise _invalid("The event stream contains something that is not a chunk.")
    try:
        native = base64.b64decode(json.loads(frame.payload)["bytes"], validate=True)
    except (ValueError, TypeError, KeyError, binascii.Error) as exc:
        raise _invalid("The payload of a chunk contains no base64 bytes.") from exc
    if len(native) > _MOST_BYTES:
        raise _invalid(
            f"Value at 'bytes' failed to satisfy constraint: Member must have length less than or equal to "
            f"{_MOST_BYTES}"
        )
    return native


def _invalid(message: str) -> BedrockError:
    return service_error("ValidationException", message)
