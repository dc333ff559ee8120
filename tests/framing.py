"""What the tests of the event stream framing share: feeding a decoder, and frames made without our encoder."""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Iterable, Iterator

from bedrock_async.eventstream import EventStreamDecoder, Frame

__all__ = ["build_frame", "build_header", "decode", "decode_pieces", "pieces"]


def pieces(data: bytes, size: int | None) -> Iterator[bytes]:
    """Cut ``data`` into pieces of that many bytes; None leaves it whole."""
    step = size or max(len(data), 1)
    return (data[start : start + step] for start in range(0, len(data), step))


def decode(data: bytes, size: int | None = None, decoder: EventStreamDecoder | None = None) -> list[Frame]:
    """Return the frames of a complete stream that arrives in pieces of ``size`` bytes."""
    return decode_pieces(pieces(data, size), decoder)


def decode_pieces(parts: Iterable[bytes], decoder: EventStreamDecoder | None = None) -> list[Frame]:
    """Return the frames of a complete stream that arrives in these pieces."""
    decoder = decoder or EventStreamDecoder()
    frames: list[Frame] = []
    for part in parts:
        decoder.receive_data(part)
        frames += decoder.next_frames()
    decoder.receive_eof()
    return frames


def build_header(name: bytes, kind: int, value: bytes) -> bytes:
    """Return one header as the format describes it; a string's or byte array's length belongs to ``value``."""
    return bytes((len(name),)) + name + bytes((kind,)) + value


def build_frame(
    block: bytes = b"",
    payload: bytes = b"",
    *,
    total_bytes: int | None = None,
    header_bytes: int | None = None,
    prelude_crc: int | None = None,
) -> bytes:
    """Return a frame as the format describes it, independent of our encoder; the keywords put a lie in its place.

    The message checksum is always right, so that nothing but the lie is wrong.
    """
    total = 16 + len(block) + len(payload) if total_bytes is None else total_bytes
    lengths = struct.pack(">II", total, len(block) if header_bytes is None else header_bytes)
    prelude = lengths + struct.pack(">I", crc32(lengths) if prelude_crc is None else prelude_crc)
    body = prelude + block + payload
    return body + struct.pack(">I", crc32(body))
