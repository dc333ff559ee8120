"""What holds for every frame and for every sequence of bytes."""

from __future__ import annotations

import struct
from binascii import crc32
from datetime import datetime, timezone
from typing import Final

from framing import build_frame, build_header, decode_pieces
from hypothesis import given
from hypothesis import strategies as st

from bedrock_async.eventstream import (
    EventStreamDecoder,
    EventStreamError,
    Frame,
    HeaderValue,
    Int8,
    Int16,
    Int32,
    Int64,
    encode_frame,
    encode_headers,
    parse_headers,
)


def ints(kind: type[int], bits: int) -> st.SearchStrategy[int]:
    """Return every value of a width."""
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1).map(kind)


def whole_milliseconds(moment: datetime) -> datetime:
    """Cut off what the wire cannot hold."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


TEXT: Final = st.text(st.characters(codec="utf-8"), max_size=60)
VALUES: Final[st.SearchStrategy[HeaderValue]] = st.one_of(
    st.booleans(),
    ints(Int8, 8),
    ints(Int16, 16),
    ints(Int32, 32),
    ints(Int64, 64),
    st.binary(max_size=60),
    TEXT,
    st.datetimes(timezones=st.just(timezone.utc)).map(whole_milliseconds),  # noqa: UP017 - a tzinfo, not an alias
    st.uuids(),
)
HEADERS: Final = st.dictionaries(TEXT, VALUES, max_size=8)
FRAMES: Final = st.builds(Frame, HEADERS, st.binary(max_size=300))

# Blocks made byte by byte from the format's description, without our encoder.
SIZED: Final = st.binary(max_size=60).map(lambda value: struct.pack(">H", len(value)) + value)
SIZED_TEXT: Final = TEXT.map(str.encode).map(lambda value: struct.pack(">H", len(value)) + value)
WIRE_VALUES: Final = st.one_of(
    st.tuples(st.sampled_from([0, 1]), st.just(b"")),
    st.tuples(st.just(2), st.binary(min_size=1, max_size=1)),
    st.tuples(st.just(3), st.binary(min_size=2, max_size=2)),
    st.tuples(st.just(4), st.binary(min_size=4, max_size=4)),
    st.tuples(st.sampled_from([5, 8]), st.binary(min_size=8, max_size=8)),
    st.tuples(st.just(6), SIZED),
    st.tuples(st.just(7), SIZED_TEXT),
    st.tuples(st.just(9), st.binary(min_size=16, max_size=16)),
)
WIRE_BLOCKS: Final = st.dictionaries(TEXT.map(str.encode), WIRE_VALUES, max_size=8).map(
    lambda headers: b"".join(build_header(name, kind, value) for name, (kind, value) in headers.items())
)


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Cut ``data`` at any places, empty pieces included."""
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[start:stop] for start, stop in zip([0, *places], [*places, len(data)], strict=True)]


def typed(frame: Frame) -> tuple[list[tuple[str, str, HeaderValue]], bytes]:
    """Make order and types count in a comparison: Int8(1) == Int64(1) == True."""
    return [(name, type(value).__name__, value) for name, value in frame.headers.items()], frame.payload


@given(st.lists(FRAMES, max_size=5), st.data())
def test_what_is_encoded_is_decoded_whatever_the_pieces(frames: list[Frame], data: st.DataObject) -> None:
    """Names, values, types, order and payloads come back, wherever the bytes are cut."""
    wire = b"".join(encode_frame(frame.headers, frame.payload) for frame in frames)
    decoded = decode_pieces(data.draw(cut(wire)))
    assert [typed(frame) for frame in decoded] == [typed(frame) for frame in frames]


@given(st.lists(st.tuples(WIRE_BLOCKS, st.binary(max_size=300)), max_size=5), st.data())
def test_what_is_decoded_is_encoded_to_the_same_bytes(parts: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    """Any valid frame, not only one of our encoder, is restored bit by bit."""
    wire = b"".join(build_frame(block, payload) for block, payload in parts)
    decoded = decode_pieces(data.draw(cut(wire)))
    assert b"".join(encode_frame(frame.headers, frame.payload) for frame in decoded) == wire


@given(st.lists(FRAMES, min_size=1, max_size=4), st.data())
def test_one_flipped_bit_is_never_delivered(frames: list[Frame], data: st.DataObject) -> None:
    """The frames before the damaged one are delivered, the damaged one and all after it are not."""
    wires = [encode_frame(frame.headers, frame.payload) for frame in frames]
    victim = data.draw(st.integers(0, len(wires) - 1))
    damaged = bytearray(wires[victim])
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    parts = data.draw(cut(b"".join([*wires[:victim], bytes(damaged), *wires[victim + 1 :]])))

    decoder = EventStreamDecoder()
    delivered: list[Frame] = []
    failed = False
    try:
        for part in parts:
            decoder.receive_data(part)
            delivered += decoder.next_frames()
        delivered += decoder.next_frames()
        decoder.receive_eof()
    except EventStreamError:
        failed = True
    assert failed
    assert [typed(frame) for frame in delivered] == [typed(frame) for frame in frames[:victim]]


def outcome(parts: list[bytes]) -> tuple[list[Frame], str]:
    """Return all frames that can be had, and the message of the error at the end, if there is one."""
    decoder = EventStreamDecoder(max_payload_bytes=1000, max_header_bytes=1000)
    frames: list[Frame] = []
    try:
        for part in parts:
            decoder.receive_data(part)
            while (frame := decoder.next_frame()) is not None:
                frames.append(frame)
        decoder.receive_eof()
    except EventStreamError as error:
        return frames, str(error)
    return frames, ""


# A prelude with a right checksum takes random bytes past the first check.
PRELUDES: Final = st.tuples(st.integers(0, 200), st.integers(0, 200)).map(
    lambda lengths: struct.pack(">II", *lengths) + struct.pack(">I", crc32(struct.pack(">II", *lengths)))
)
NEARLY_FRAMES: Final = st.one_of(
    st.binary(max_size=100),
    st.tuples(PRELUDES, st.binary(max_size=220)).map(b"".join),
    st.tuples(st.binary(max_size=60), st.binary(max_size=60)).map(lambda parts: build_frame(*parts)),
    FRAMES.map(lambda frame: encode_frame(frame.headers, frame.payload)),
)


@given(st.lists(NEARLY_FRAMES, max_size=5).map(b"".join), st.data())
def test_any_bytes_end_in_frames_or_an_event_stream_error(wire: bytes, data: st.DataObject) -> None:
    """Nothing else is raised, and frames and error do not depend on how the bytes were cut."""
    frames, error = outcome([wire])
    assert outcome(data.draw(cut(wire))) == (frames, error)
    assert outcome([bytes((byte,)) for byte in wire]) == (frames, error)
    assert wire.startswith(b"".join(encode_frame(frame.headers, frame.payload) for frame in frames))


def raw_outcome(parts: list[bytes], *, in_one_call: bool) -> tuple[list[tuple[bytes, bytes]], str]:
    """Return the raw frames of all pieces, taken in one of two ways, and the message of the error at the end."""
    decoder = EventStreamDecoder(max_payload_bytes=100, max_header_bytes=40)
    frames: list[tuple[bytes, bytes]] = []
    try:
        for part in parts:
            if in_one_call:
                frames += decoder.take_raw_frames(part)
            else:
                decoder.receive_data(part)
                frames += decoder.next_raw_frames()
        frames += decoder.next_raw_frames()
        decoder.receive_eof()
    except EventStreamError as error:
        return frames, str(error)
    return frames, ""


LONE_FRAMES: Final = st.tuples(st.binary(max_size=60), st.binary(max_size=160)).map(lambda parts: build_frame(*parts))


@given(st.lists(st.one_of(LONE_FRAMES, NEARLY_FRAMES), min_size=1, max_size=5), st.data())
def test_taking_the_frames_of_a_piece_in_one_call_changes_nothing(parts: list[bytes], data: st.DataObject) -> None:
    """One whole frame, several, a part of one, one beyond a limit or damaged: what comes out is the same."""
    for part in parts:
        EventStreamDecoder().receive_data(part)  # from here on its prelude is known
    victim = data.draw(st.integers(0, len(parts) - 1))
    if damaged := bytearray(parts[victim]):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(0, 1))
        parts[victim] = bytes(damaged)
    assert raw_outcome(parts, in_one_call=True) == raw_outcome(parts, in_one_call=False)


@given(st.one_of(st.binary(max_size=60), WIRE_BLOCKS, st.tuples(WIRE_BLOCKS, st.binary(max_size=10)).map(b"".join)))
def test_a_header_block_is_refused_or_restored(block: bytes) -> None:
    """There is one way to write headers: what parses encodes to the same bytes."""
    try:
        headers = parse_headers(block)
    except EventStreamError:
        return
    assert encode_headers(headers) == block
