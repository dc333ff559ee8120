"""Event-stream frames as the service builds them, and damaged ones, for tests of anything that reads them.

The form is that of 4,267 recorded frames: three string headers in the order ``:event-type``, ``:content-type``,
``:message-type``; compact JSON with sorted members; and a member ``p`` that contains the beginning of
`PADDING_ALPHABET`, 2 to 61 characters long, every length being equally likely.
"""

from __future__ import annotations

import base64
import json
import random
import struct
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias, cast
from zlib import crc32

from ..errors import InvalidRequestError
from ..eventstream import encode_frame
from ..types import JSONValue

__all__ = [
    "PADDING_ALPHABET",
    "Padding",
    "WireEvent",
    "chunk_frame",
    "corrupted",
    "error_frame",
    "event_frame",
    "exception_frame",
    "oversized_frame",
    "stream_bytes",
    "truncated",
    "wire_json",
]

WireEvent: TypeAlias = Mapping[str, JSONValue]
"""An event of ConverseStream as a one-key object: ``{"messageStart": {"role": "assistant"}}``."""

PADDING_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_SHORTEST_PADDING: Final = 2
_LONGEST_PADDING: Final = 61

_CONTENT_TYPE: Final = "application/json"
# Members that hold a document: the model's own JSON, whose order the service preserves.
_DOCUMENTS: Final = frozenset({"additionalModelResponseFields", "input", "json"})
_CRC: Final = struct.Struct(">I")
_PRELUDE_LENGTHS: Final = struct.Struct(">II")


class Padding:
    """The padding texts of the member ``p``, with the service's distribution and reproducible by ``seed``."""

    def __init__(self, seed: int = 0) -> None:
        """Start the sequence for ``seed``."""
        self._random = random.Random(seed)  # noqa: S311 - lengths of padding, not secrets

    def next(self) -> str:
        """Return the padding of the next event."""
        return PADDING_ALPHABET[: self._random.randint(_SHORTEST_PADDING, _LONGEST_PADDING)]


def wire_json(value: JSONValue | Mapping[str, JSONValue]) -> bytes:
    """Return JSON as the service writes it: compact UTF-8, members sorted, except in documents."""
    text = json.dumps(_sorted(value), ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate: possible as an escape in JSON, but not in UTF-8
        return json.dumps(_sorted(value), separators=(",", ":")).encode()


def _sorted(value: object) -> object:
    if isinstance(value, Mapping):
        members = cast("Mapping[str, object]", value)
        return {name: members[name] if name in _DOCUMENTS else _sorted(members[name]) for name in sorted(members)}
    if isinstance(value, list):
        return [_sorted(item) for item in cast("list[object]", value)]
    return value


def event_frame(event_type: str, payload: Mapping[str, JSONValue] | bytes, *, padding: str | None = None) -> bytes:
    """Return the frame of one event, for example ``event_frame("messageStart", {"role": "assistant"})``.

    A payload of bytes is used unchanged, so it may be broken JSON. ``padding`` becomes the member ``p``. Raises
    EventStreamError when the payload exceeds the maximum size of a frame.
    """
    if not isinstance(payload, bytes):
        payload = wire_json(payload if padding is None else {**payload, "p": padding})
    headers = {":event-type": event_type, ":content-type": _CONTENT_TYPE, ":message-type": "event"}
    return encode_frame(headers, payload)


def chunk_frame(chunk: Mapping[str, JSONValue] | bytes, *, padding: str | None = None) -> bytes:
    """Return the frame of one ``chunk`` event of InvokeModelWithResponseStream, with native JSON as base64."""
    if not isinstance(chunk, bytes):
        chunk = json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode()
    return event_frame("chunk", {"bytes": base64.b64encode(chunk).decode()}, padding=padding)


def exception_frame(code: str, message: str, **members: JSONValue) -> bytes:
    """Return the frame of an exception inside a stream, for example ``("ThrottlingException", "Too many tokens")``.

    The code may be spelt as over HTTP (``ThrottlingException``) or as in frames (``throttlingException``). Other
    members, such as ``originalStatusCode``, are placed next to the message. Recorded exceptions have no padding.
    """
    headers = {
        ":exception-type": code[:1].lower() + code[1:],
        ":content-type": _CONTENT_TYPE,
        ":message-type": "exception",
    }
    return encode_frame(headers, wire_json({"message": message, **members}))


def error_frame(code: str, message: str) -> bytes:
    """Return the frame of an error that the service model does not list, such as an invalid signature."""
    headers = {":error-code": code, ":error-message": message, ":message-type": "error"}
    return encode_frame(headers, b"")


def stream_bytes(events: Iterable[WireEvent | bytes], *, padding_seed: int | None = 0) -> bytes:
    """Return the body of a stream: a frame for every event, padded unless the seed is None; bytes are kept unchanged.

    ``{"chunk": {"bytes": ...}}`` is an event like any other. Raises InvalidRequestError when an event does not have
    exactly one key.
    """
    padding = None if padding_seed is None else Padding(padding_seed)
    return b"".join(
        event if isinstance(event, bytes) else frame_of(event, padding=padding.next() if padding else None)
        for event in events
    )


def frame_of(event: WireEvent, *, padding: str | None = None) -> bytes:
    """Return the frame of a one-key wire object. Raises InvalidRequestError when it has another shape."""
    if len(event) == 1:
        ((event_type, payload),) = event.items()
        if isinstance(payload, dict):
            return event_frame(event_type, payload, padding=padding)
    raise InvalidRequestError(
        f"a stream event is an object of one key, its type, with an object behind it; this one has {len(event)} keys.",
        hint='Write it as {"messageStart": {"role": "assistant"}}.',
    )


def truncated(frame: bytes, keep_bytes: int | None = None) -> bytes:
    """Return the beginning of a frame, by default half of it, as left by a connection that breaks within the frame."""
    return frame[: len(frame) // 2 if keep_bytes is None else keep_bytes]


def corrupted(frame: bytes, *, prelude: bool = False) -> bytes:
    """Return the frame with one bit flipped: in the message checksum, or in that of the prelude."""
    position = 11 if prelude else len(frame) - 1
    return frame[:position] + bytes((frame[position] ^ 1,)) + frame[position + 1 :]


def oversized_frame(declared_bytes: int = 0x7FFF_FFFF) -> bytes:
    """Return the beginning of a frame that declares this size, with a correct prelude checksum.

    A reader that trusts the size waits or allocates memory until it fails; it should reject the frame at once.
    """
    lengths = _PRELUDE_LENGTHS.pack(declared_bytes, 0)
    return lengths + _CRC.pack(crc32(lengths)) + b"\0" * 64
