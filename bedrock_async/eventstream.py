"""The application/vnd.amazon.eventstream framing: a sans-IO decoder, and its exact inverse, an encoder.

A frame on the wire, all numbers big-endian::

    total bytes (4) | header bytes (4) | CRC-32 of these 8 (4) | headers | payload | CRC-32 of all before it (4)

and one header: name length (1), name, type (1), value. This module has no socket, clock or event loop. Whatever the
input, decoding produces only frames or `EventStreamError`.

Format and limits: https://smithy.io/2.0/aws/amazon-eventstream.html and smithy-rs' aws-smithy-eventstream.
"""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final, TypeAlias
from uuid import UUID

from ._error import StreamError

__all__ = [
    "CONTENT_TYPE",
    "DEFAULT_MAX_HEADER_BYTES",
    "DEFAULT_MAX_PAYLOAD_BYTES",
    "EpochMilliseconds",
    "EventStreamDecoder",
    "EventStreamError",
    "Frame",
    "HeaderValue",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "encode_frame",
    "encode_headers",
    "parse_headers",
]

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"
"""The media type of the format."""

DEFAULT_MAX_HEADER_BYTES: Final = 128 * 1024
"""The largest header block the official implementations accept."""

DEFAULT_MAX_PAYLOAD_BYTES: Final = 16 * 1024 * 1024
"""The largest payload smithy-python accepts; the largest in recorded Bedrock traffic has 11,209 bytes."""

_PRELUDE_BYTES: Final = 12
_CRC_BYTES: Final = 4
_OVERHEAD_BYTES: Final = _PRELUDE_BYTES + _CRC_BYTES
_MAX_TOTAL_BYTES: Final = 0xFFFFFFFF
_MAX_NAME_BYTES: Final = 0xFF
_MAX_VALUE_BYTES: Final = 0xFFFF
_SMALL_FRAME_BYTES: Final = 4096

_PRELUDE: Final = struct.Struct(">III")
_LENGTHS: Final = struct.Struct(">II")
_CRC: Final = struct.Struct(">I")


class EventStreamError(StreamError):
    """The bytes violate the framing, or a header or payload cannot be encoded.

    ``retryable`` is true when the bytes were damaged or truncated in transit, false when the fault is the sender's.
    """

    def __init__(self, message: str, *, hint: str | None = None, retryable: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.retryable = retryable

    def copy(self) -> EventStreamError:
        """Return an equal error without traceback, cause and partial response."""
        return EventStreamError(self.message, hint=self.hint, retryable=self.retryable)


class Int8(int):
    """An 8-bit header value (type ``byte``): an int that remembers its width, so that it is encoded as it came."""

    __slots__ = ()


class Int16(int):
    """A 16-bit header value (type ``short``); see `Int8`."""

    __slots__ = ()


class Int32(int):
    """A 32-bit header value (type ``integer``); see `Int8`."""

    __slots__ = ()


class Int64(int):
    """A 64-bit header value (type ``long``); see `Int8`."""

    __slots__ = ()


class EpochMilliseconds(int):
    """A timestamp header outside the years 1 to 9999, which no datetime can hold: milliseconds since 1970, UTC."""

    __slots__ = ()


HeaderValue: TypeAlias = bool | int | bytes | str | datetime | UUID
"""The value of a header. Decoded ints are `Int8`, `Int16`, `Int32`, `Int64` or `EpochMilliseconds`, never plain."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: its ``headers``, in wire order, read-only and shared between equal frames, and its ``payload``."""

    headers: Mapping[str, HeaderValue]
    payload: bytes


# Preludes whose checksum was correct, with their lengths: total, headers, payload. Frames come in a few hundred
# lengths, so that nearly every prelude has been seen before, and a look-up takes half as long as the checksum.
_KNOWN_PRELUDES: Final[dict[bytes, tuple[int, int, int]]] = {}
_MOST_KNOWN_PRELUDES: Final = 4096


def _checked_lengths(prelude: bytes) -> tuple[int, int, int] | None:
    """Return the lengths in a prelude, or None when its checksum is wrong or the lengths contradict each other."""
    total, header_bytes, declared = _PRELUDE.unpack(prelude)
    payload_bytes = total - header_bytes - _OVERHEAD_BYTES
    if crc32(prelude[:8]) != declared or payload_bytes < 0:
        return None
    if len(_KNOWN_PRELUDES) >= _MOST_KNOWN_PRELUDES:
        _KNOWN_PRELUDES.clear()
    lengths = _KNOWN_PRELUDES[prelude] = (total, header_bytes, payload_bytes)
    return lengths


class EventStreamDecoder:
    """Decodes the bytes of a response body, in pieces of any size, into frames.

    Usage::

        for each piece of the body:  receive_data(piece), then next_frames() (or next_raw_frames())
        at the end of the body:      receive_eof()

    Both checksums of every frame are verified, lengths are checked before they are used, and only complete frames are
    returned. Every byte is copied a fixed number of times, however small the pieces are; less than one frame is held
    back. Complete frames in front of a fault are returned first; from then on every call raises the same
    `EventStreamError`. A decoder serves one stream and is not thread-safe.
    """

    __slots__ = (
        "_decoded_bytes",
        "_ended",
        "_max_header_bytes",
        "_max_payload_bytes",
        "_needed_bytes",
        "_plain_bytes",
        "_raised",
        "_ready",
        "_tail",
        "_taken",
        "failure",
    )

    def __init__(
        self,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        max_header_bytes: int = DEFAULT_MAX_HEADER_BYTES,
    ) -> None:
        """Create a decoder that rejects frames over these limits as soon as their first 12 bytes have arrived.

        Raises EventStreamError when no frame could satisfy the limits.
        """
        _check_limits(max_payload_bytes, max_header_bytes)
        self._max_payload_bytes = max_payload_bytes
        self._max_header_bytes = max_header_bytes
        self._plain_bytes = min(max_payload_bytes, max_header_bytes)  # no frame up to this size exceeds either limit
        self._ready: list[tuple[bytes, bytes]] = []
        self._taken = 0  # how many frames of _ready next_frame() has returned
        self._tail = bytearray()  # the beginning of one incomplete frame
        self._needed_bytes = _PRELUDE_BYTES  # the size of _tail at which its next part can be decoded
        self._decoded_bytes = 0  # the size of all complete frames so far, which is the offset of the next one
        self._ended = False
        self.failure: EventStreamError | None = None
        """The fault that is raised once all frames in front of it have been returned."""
        self._raised = False

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next piece of the body, which may be empty, and split off the frames that it completes.

        A fault in ``data`` is not raised here but by the next call that has no frame left to return. This method raises
        EventStreamError only after that, or when data arrives after `receive_eof`.
        """
        if self.failure is not None:
            if self._raised:
                raise self._failed(self.failure)
            return
        if type(data) is not bytes:
            # The caller may reuse its buffer. Through a memoryview, as bytes(3) would be three zeros.
            data = bytes(memoryview(data))
        if self._ended and data:
            raise self._failed(EventStreamError(f"{len(data)} bytes arrived after the declared end of the stream"))
        start = 0
        while self._tail and start < len(data):
            stop = start + self._needed_bytes - len(self._tail)
            self._tail += data[start:stop]
            start = min(stop, len(data))
            if len(self._tail) == self._needed_bytes:
                block = bytes(self._tail)
                self._tail.clear()
                self._split(block, 0)
        # Nearly all frames arrive whole, and are sliced directly from the received piece.
        if start < len(data) and self.failure is None:
            self._split(data, start)

    def receive_eof(self) -> None:
        """Declare the end of the body. Frames that were not taken yet remain available unless this raises.

        Raises EventStreamError when the body ends inside a frame.
        """
        self._ended = True
        if self.failure is None and self._tail:
            have, need = len(self._tail), self._needed_bytes
            least = "at least " if need == _PRELUDE_BYTES else ""
            size = max(need, _OVERHEAD_BYTES)
            self.failure = EventStreamError(
                f"the stream ended inside the frame at byte {self._decoded_bytes}: "
                f"{have} of {least}{size} bytes had arrived",
                hint="The connection was closed too early: try again.",
                retryable=True,
            )
        if self.failure is not None:
            raise self._failed(self.failure)

    def next_raw_frames(self) -> list[tuple[bytes, bytes]]:
        """Return all complete frames as (header block, payload) pairs; empty when more data is needed.

        For the hot path: a stream repeats a few header blocks, so that a dict look-up can replace parsing. Header
        blocks are not validated; `parse_headers` does that. Raises EventStreamError.
        """
        frames = self._ready
        if not frames:
            if self.failure is not None:
                raise self._failed(self.failure)
            return []
        self._ready = []
        if self._taken:
            del frames[: self._taken]
            self._taken = 0
        return frames

    def take_raw_frames(self, data: bytes | bytearray | memoryview) -> list[tuple[bytes, bytes]]:
        """Take the next piece and return all complete frames: `receive_data` and `next_raw_frames` in one call.

        Also for the hot path. Raises EventStreamError when no frame precedes a fault; a fault after some frames is kept
        in `failure` and raised by the next call.
        """
        if type(data) is bytes and not (self._tail or self._ready or self._ended or self.failure):
            # Usually one piece holds exactly one frame, which needs neither the loop nor the tail.
            lengths = _KNOWN_PRELUDES.get(data[:_PRELUDE_BYTES])
            if lengths is not None and lengths[0] == len(data) <= self._plain_bytes:
                crc_at = lengths[0] - _CRC_BYTES
                if crc32(data[:crc_at]) == _CRC.unpack_from(data, crc_at)[0]:
                    self._decoded_bytes += lengths[0]
                    payload_at = _PRELUDE_BYTES + lengths[1]
                    return [(data[_PRELUDE_BYTES:payload_at], data[payload_at:crc_at])]
        self.receive_data(data)
        return self.next_raw_frames()

    def next_frames(self) -> list[Frame]:
        """Return all complete frames with their headers parsed; empty when more data is needed.

        Raises EventStreamError; a frame with malformed headers is a fault like any other.
        """
        frames: list[Frame] = []
        for block, payload in self.next_raw_frames():
            headers = self._headers(block)
            if isinstance(headers, EventStreamError):
                if not frames:
                    raise self._failed(headers)
                break
            frames.append(Frame(headers, payload))
        return frames

    def next_frame(self) -> Frame | None:
        """Return the next complete frame, or None when more data is needed. Raises as `next_frames` does."""
        if not self._ready:
            if self.failure is not None:
                raise self._failed(self.failure)
            return None
        block, payload = self._ready[self._taken]
        self._taken += 1
        if self._taken == len(self._ready):
            self._ready.clear()
            self._taken = 0
        headers = self._headers(block)
        if isinstance(headers, EventStreamError):
            raise self._failed(headers)
        return Frame(headers, payload)

    def _split(self, data: bytes, start: int) -> None:
        """Append the complete frames of ``data[start:]`` to ``_ready``; keep the rest in ``_tail``, which is empty."""
        size = len(data)
        view = memoryview(data)
        append, plain_bytes = self._ready.append, self._plain_bytes
        known, unpack_crc = _KNOWN_PRELUDES, _CRC.unpack_from
        needed = _PRELUDE_BYTES
        pos = start
        while size - pos >= _PRELUDE_BYTES:
            # No length is used before the checksum of its prelude has been verified.
            prelude = data[pos : pos + _PRELUDE_BYTES]
            lengths = known.get(prelude) or _checked_lengths(prelude)
            if lengths is None or (lengths[0] > plain_bytes and self._exceeds_limits(lengths)):
                self._decoded_bytes += pos - start
                self.failure = self._prelude_error(prelude)
                return
            total, header_bytes, _ = lengths
            end = pos + total
            if end > size:
                needed = total
                break
            crc_at = end - _CRC_BYTES
            # Up to some kilobytes, copying is faster than slicing a memoryview.
            checked = data[pos:crc_at] if total <= _SMALL_FRAME_BYTES else view[pos:crc_at]
            if crc32(checked) != unpack_crc(data, crc_at)[0]:
                self._decoded_bytes += pos - start
                self.failure = self._message_error(data[pos:end])
                return
            headers_at = pos + _PRELUDE_BYTES
            payload_at = headers_at + header_bytes
            append((data[headers_at:payload_at], data[payload_at:crc_at]))
            pos = end
        self._decoded_bytes += pos - start
        self._needed_bytes = needed
        if pos < size:
            self._tail += view[pos:]

    def _exceeds_limits(self, lengths: tuple[int, int, int]) -> bool:
        _, header_bytes, payload_bytes = lengths
        return header_bytes > self._max_header_bytes or payload_bytes > self._max_payload_bytes

    def _prelude_error(self, prelude: bytes) -> EventStreamError:
        where = f"the frame at byte {self._decoded_bytes}"
        total, header_bytes, declared = _PRELUDE.unpack(prelude)
        computed = crc32(prelude[:8])
        if computed != declared:
            return EventStreamError(
                f"the prelude checksum of {where} is 0x{declared:08x}; its bytes give 0x{computed:08x}",
                hint="The body is damaged, or it is not an event stream: check the status and the content type.",
                retryable=True,
            )
        limit = self._max_payload_bytes + self._max_header_bytes + _OVERHEAD_BYTES
        if not _OVERHEAD_BYTES <= total <= limit:
            message = f"{where} declares {total} bytes; {_OVERHEAD_BYTES} to {limit} are allowed"
        elif header_bytes > (limit := min(self._max_header_bytes, total - _OVERHEAD_BYTES)):
            message = f"{where} declares {header_bytes} header bytes in {total}; 0 to {limit} are allowed"
        else:
            payload_bytes = total - header_bytes - _OVERHEAD_BYTES
            message = f"{where} declares {payload_bytes} payload bytes; 0 to {self._max_payload_bytes} are allowed"
        return EventStreamError(message, hint="The service sends no such frames: check what answered.")

    def _message_error(self, frame: bytes) -> EventStreamError:
        (declared,) = _CRC.unpack(frame[-_CRC_BYTES:])
        computed = crc32(frame[:-_CRC_BYTES])
        return EventStreamError(
            f"the message checksum of the frame at byte {self._decoded_bytes} ({len(frame)} bytes) is "
            f"0x{declared:08x}; its bytes give 0x{computed:08x}",
            hint="The body was damaged on the way: try again.",
            retryable=True,
        )

    def _headers(self, block: bytes) -> Mapping[str, HeaderValue] | EventStreamError:
        """Return the parsed headers, or the fault that ends decoding."""
        try:
            return parse_headers(block)
        except EventStreamError as exc:
            self.failure = exc.copy()
            return self.failure

    def _failed(self, failure: EventStreamError) -> EventStreamError:
        """Make ``failure`` the error of this and every later call, and return a copy to raise.

        Always a copy, because a traceback refers to the caller's stream: were it reachable from here, an abandoned
        stream and its connection would stay alive until the garbage collector finds the cycle.
        """
        self.failure = failure
        self._raised = True
        self._ready.clear()
        self._taken = 0
        self._tail.clear()
        return failure.copy()


def parse_headers(raw: bytes) -> Mapping[str, HeaderValue]:
    """Return the headers of a raw header block, in wire order, read-only and possibly shared with other callers.

    The last 256 distinct blocks of up to 1,024 bytes are cached: streams repeat a handful. Thread-safe. Raises
    EventStreamError when a length exceeds the block, a name occurs twice, a type is unknown or a text is not UTF-8.
    """
    return _parse_remembered(raw) if len(raw) <= _REMEMBERED_BLOCK_BYTES else _parse(raw)


def encode_headers(headers: Mapping[str, HeaderValue]) -> bytes:
    """Return the header block of a frame: the inverse of `parse_headers`, byte for byte.

    `Int8`, `Int16`, `Int32`, `Int64` and `EpochMilliseconds` keep their type; any other int is encoded in 32 bits if it
    fits, otherwise in 64. A datetime must be aware and is truncated to milliseconds. Raises EventStreamError when a
    name is longer than 255 bytes, a value longer than 65,535 bytes, a number too large for its type, or a type not
    supported.
    """
    parts: list[bytes] = []
    for name, value in headers.items():
        raw_name = _utf8(name, "name", name)
        if len(raw_name) > _MAX_NAME_BYTES:
            raise EventStreamError(
                f"a header name of {len(raw_name)} bytes is too long; {_MAX_NAME_BYTES} are allowed: {name[:32]!r}..."
            )
        parts += (bytes((len(raw_name),)), raw_name, _encode_value(name, value))
    return b"".join(parts)


def encode_frame(
    headers: Mapping[str, HeaderValue] | bytes,
    payload: bytes = b"",
    *,
    max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
    max_header_bytes: int = DEFAULT_MAX_HEADER_BYTES,
) -> bytes:
    """Encode one frame with both checksums; a decoder with the same limits returns the same headers and payload.

    ``headers`` may also be a block from `encode_headers` or `EventStreamDecoder.next_raw_frames`, which is used
    unchanged. Raises EventStreamError when headers or payload exceed the limits.
    """
    _check_limits(max_payload_bytes, max_header_bytes)
    block = headers if isinstance(headers, bytes) else encode_headers(headers)
    if len(block) > max_header_bytes:
        raise EventStreamError(f"the headers take {len(block)} bytes; 0 to {max_header_bytes} are allowed")
    if len(payload) > max_payload_bytes:
        raise EventStreamError(f"the payload takes {len(payload)} bytes; 0 to {max_payload_bytes} are allowed")
    lengths = _LENGTHS.pack(_OVERHEAD_BYTES + len(block) + len(payload), len(block))
    prelude = lengths + _CRC.pack(crc32(lengths))
    message_crc = crc32(payload, crc32(block, crc32(prelude)))
    return b"".join((prelude, block, payload, _CRC.pack(message_crc)))


def _check_limits(max_payload_bytes: int, max_header_bytes: int) -> None:
    if max_payload_bytes < 0 or max_header_bytes < 0:
        raise EventStreamError(
            f"max_payload_bytes is {max_payload_bytes} and max_header_bytes {max_header_bytes}; both must be 0 or more"
        )
    total = max_payload_bytes + max_header_bytes + _OVERHEAD_BYTES
    if total > _MAX_TOTAL_BYTES:
        raise EventStreamError(
            f"max_payload_bytes and max_header_bytes allow frames of {total} bytes; the format ends at "
            f"{_MAX_TOTAL_BYTES}"
        )


# Header types on the wire.
_TRUE, _FALSE, _BYTE, _SHORT, _INTEGER, _LONG, _BYTES, _STRING, _TIMESTAMP, _UUID = range(10)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

# class -> (type on the wire, bytes of the value)
_INTS: Final[Mapping[type, tuple[int, int]]] = {
    Int8: (_BYTE, 1),
    Int16: (_SHORT, 2),
    Int32: (_INTEGER, 4),
    Int64: (_LONG, 8),
    EpochMilliseconds: (_TIMESTAMP, 8),
}


def _timestamp(raw: bytes) -> datetime | EpochMilliseconds:
    milliseconds = int.from_bytes(raw, "big", signed=True)
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return EpochMilliseconds(milliseconds)


# type on the wire -> (bytes of the value, reader); strings and byte arrays carry their own length
_FIXED: Final[Mapping[int, tuple[int, Callable[[bytes], HeaderValue]]]] = {
    _TRUE: (0, lambda _: True),
    _FALSE: (0, lambda _: False),
    _BYTE: (1, lambda raw: Int8.from_bytes(raw, "big", signed=True)),
    _SHORT: (2, lambda raw: Int16.from_bytes(raw, "big", signed=True)),
    _INTEGER: (4, lambda raw: Int32.from_bytes(raw, "big", signed=True)),
    _LONG: (8, lambda raw: Int64.from_bytes(raw, "big", signed=True)),
    _TIMESTAMP: (8, _timestamp),
    _UUID: (16, lambda raw: UUID(bytes=raw)),
}

_REMEMBERED_BLOCKS: Final = 256
_REMEMBERED_BLOCK_BYTES: Final = 1024


def _parse(raw: bytes) -> Mapping[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    size = len(raw)
    pos = 0
    while pos < size:
        type_at = pos + 1 + raw[pos]
        if type_at >= size:
            raise EventStreamError(
                f"the header at byte {pos} of {size} declares a name of {raw[pos]} bytes; "
                f"{max(size - pos - 2, 0)} are left besides its type"
            )
        name = _text(raw[pos + 1 : type_at], f"the name of the header at byte {pos}")
        if name in headers:
            raise EventStreamError(f"the header {name!r} comes twice, again at byte {pos} of {size}")
        kind = raw[type_at]
        pos = type_at + 1
        if kind in (_BYTES, _STRING):
            value_bytes = int.from_bytes(raw[pos : pos + 2], "big")
            pos += 2
        elif kind in _FIXED:
            value_bytes = _FIXED[kind][0]
        else:
            raise EventStreamError(f"the header {name!r} is of type {kind}; 0 to {_UUID} are known")
        end = pos + value_bytes
        if end > size:
            raise EventStreamError(
                f"the value of the header {name!r} ends at byte {end} of its block; the block has {size}"
            )
        value = raw[pos:end]
        if kind == _BYTES:
            headers[name] = value
        elif kind == _STRING:
            headers[name] = _text(value, f"the header {name!r}")
        else:
            headers[name] = _FIXED[kind][1](value)
        pos = end
    return MappingProxyType(headers)


_parse_remembered = lru_cache(maxsize=_REMEMBERED_BLOCKS)(_parse)


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        raise EventStreamError(f"{what} is not UTF-8: byte {exc.start} of {len(raw)}") from exc


def _utf8(text: str, what: str, name: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise EventStreamError(
            f"the {what} of the header {name!r} cannot be encoded as UTF-8: character {exc.start}"
        ) from exc


def _encode_value(name: str, value: HeaderValue) -> bytes:
    """Return the type and value of a header as encoded on the wire."""
    match value:
        case bool():
            return bytes((_TRUE if value else _FALSE,))
        case int():
            return _encode_int(name, value)
        case str():
            return _encode_sized(name, _STRING, _utf8(value, "value", name))
        case bytes():
            return _encode_sized(name, _BYTES, value)
        case datetime():
            if value.utcoffset() is None:
                raise EventStreamError(f"the datetime in the header {name!r} has no time zone; give it one")
            return _encode_int(name, EpochMilliseconds((value - _EPOCH) // _MILLISECOND))
        case UUID():
            return bytes((_UUID,)) + value.bytes
        case _:
            raise EventStreamError(
                f"the header {name!r} is a {type(value).__name__}; bool, int, bytes, str, datetime or UUID are possible"
            )


def _encode_int(name: str, value: int) -> bytes:
    code, width = _INTS.get(type(value)) or _INTS[Int32 if -(1 << 31) <= value < 1 << 31 else Int64]
    try:
        return bytes((code,)) + value.to_bytes(width, "big", signed=True)
    except OverflowError as exc:
        # Not the number itself, which may have more digits than Python agrees to print.
        raise EventStreamError(
            f"the header {name!r} needs {value.bit_length() + 1} bits; its type has {8 * width}"
        ) from exc


def _encode_sized(name: str, code: int, value: bytes) -> bytes:
    if len(value) > _MAX_VALUE_BYTES:
        raise EventStreamError(f"the header {name!r} takes {len(value)} bytes; {_MAX_VALUE_BYTES} are allowed")
    return bytes((code,)) + len(value).to_bytes(2, "big") + value
