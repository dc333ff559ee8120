"""Event-stream frames as the service builds them, and the same frames damaged, for tests of anything that reads them.

What a real stream looks like was read off 4,267 recorded frames: three string headers in the order ``:event-type``,
``:content-type``, ``:message-type``; compact JSON with sorted members; and a member ``p`` whose text is the beginning
of `PADDING_ALPHABET`, 2 to 61 characters long with every length equally likely.
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
# Members that hold a document: the model's own JSON, whose order the service keeps.
_DOCUMENTS: Final = frozenset({"additionalModelResponseFields", "input", "json"})
_CRC: Final = struct.Struct(">I")
_PRELUDE_LENGTHS: Final = struct.Struct(">II")


class Padding:
    """The texts of the padding member ``p``, in the service's distribution and reproducible by ``seed``."""

    def __init__(self, seed: int = 0) -> None:
        """Start the sequence that belongs to ``seed``."""
        self._random = random.Random(seed)  # noqa: S311 - lengths of padding, not secrets

    def next(self) -> str:
        """Return the padding of the next event."""
        return PADDING_ALPHABET[: self._random.randint(_SHORTEST_PADDING, _LONGEST_PADDING)]


def wire_json(value: JSONValue | Mapping[str, JSONValue]) -> bytes:
    """Return JSON as the service writes it: compact UTF-8, members sorted, documents left in their own order."""
    text = json.dumps(_sorted(value), ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate: JSON can carry it, UTF-8 cannot
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

    A payload of bytes goes out as it is, so that it may be broken JSON. ``padding`` becomes the member ``p``.
    Raises EventStreamError when the payload is longer than a frame may be.
    """
    if not isinstance(payload, bytes):
        payload = wire_json(payload if padding is None else {**payload, "p": padding})
    headers = {":event-type": event_type, ":content-type": _CONTENT_TYPE, ":message-type": "event"}
    return encode_frame(headers, payload)


def chunk_frame(chunk: Mapping[str, JSONValue] | bytes, *, padding: str | None = None) -> bytes:
    """Return the frame of one ``chunk`` event of InvokeModelWithResponseStream, which holds native JSON as base64."""
    if not isinstance(chunk, bytes):
        chunk = json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode()
    return event_frame("chunk", {"bytes": base64.b64encode(chunk).decode()}, padding=padding)


def exception_frame(code: str, message: str, **members: JSONValue) -> bytes:
    """Return the frame of an exception inside a stream, for example ``("ThrottlingException", "Too many tokens")``.

    The code may be spelt as over HTTP (``ThrottlingException``) or as in frames (``throttlingException``). Other
    members, such as ``originalStatusCode``, stand beside the message. No padding was seen on these.
    """
    headers = {
        ":exception-type": code[:1].lower() + code[1:],
        ":content-type": _CONTENT_TYPE,
        ":message-type": "exception",
    }
    return encode_frame(headers, wire_json({"message": message, **members}))


def error_frame(code: str, message: str) -> bytes:
    """Return the frame of an error that the service's model does not list, such as a wrong signature's."""
    headers = {":error-code": code, ":error-message": message, ":message-type": "error"}
    return encode_frame(headers, b"")


def stream_bytes(events: Iterable[WireEvent | bytes], *, padding_seed: int | None = 0) -> bytes:
    """Return the body of a stream: a frame for every event, padded unless the seed is None; bytes as they are.

    ``{"chunk": {"bytes": ...}}`` is an event as any other. Raises InvalidRequestError when an event has not one key.
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
    """Return the beginning of a frame, by default its first half: what is left when a connection breaks in it."""
    return frame[: len(frame) // 2 if keep_bytes is None else keep_bytes]


def corrupted(frame: bytes, *, prelude: bool = False) -> bytes:
    """Return the frame with one wrong bit: in the message checksum, or in that of the prelude."""
    position = 11 if prelude else len(frame) - 1
    return frame[:position] + bytes((frame[position] ^ 1,)) + frame[position + 1 :]


def oversized_frame(declared_bytes: int = 0x7FFF_FFFF) -> bytes:
    """Return the beginning of a frame that declares so many bytes, with a right prelude checksum.

    A reader that trusts the number waits or allocates until it fails; the right answer is to refuse it at once.
    """
    lengths = _PRELUDE_LENGTHS.pack(declared_bytes, 0)
    return lengths + _CRC.pack(crc32(lengths)) + b"\0" * 64
