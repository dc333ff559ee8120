"""The decoder's and encoder's promises, on frames made by hand."""

# pyright: reportPrivateUsage=false
# What is buffered and what is remembered shows in no public name, and both are promises.

from __future__ import annotations

import gc
import struct
import sys
import weakref
from binascii import crc32
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from types import FrameType
from typing import Any, Final, Self, cast
from uuid import UUID

import pytest
from framing import build_frame, build_header, decode, pieces
from typing_extensions import override

from bedrock_async import eventstream
from bedrock_async.errors import StreamError
from bedrock_async.eventstream import (
    DEFAULT_MAX_HEADER_BYTES,
    DEFAULT_MAX_PAYLOAD_BYTES,
    EpochMilliseconds,
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

EVENT: Final = {":event-type": "contentBlockDelta", ":content-type": "application/json", ":message-type": "event"}
ONE: Final = encode_frame(EVENT, b'{"one":1}')
TWO: Final = encode_frame(EVENT, b'{"two":22}')
THREE: Final = encode_frame({}, b"")
BAD_CRC: Final = TWO[:-1] + bytes((TWO[-1] ^ 1,))
DUPLICATE: Final = build_header(b"twin", 0, b"") * 2


def fed(*parts: bytes, **limits: int) -> EventStreamDecoder:
    """Return a decoder that has received these pieces."""
    decoder = EventStreamDecoder(**limits)
    for part in parts:
        decoder.receive_data(part)
    return decoder


class TestFrames:
    def test_there_is_no_frame_until_its_last_byte_is_there(self) -> None:
        """At every shorter length all three ways of asking say that more is needed."""
        for cut in range(len(ONE)):
            decoder = fed(ONE[:cut])
            assert decoder.next_frame() is None
            assert decoder.next_frames() == []
            assert decoder.next_raw_frames() == []
            decoder.receive_data(ONE[cut:])
            assert decoder.next_frames() == [Frame(EVENT, b'{"one":1}')]

    def test_the_three_ways_of_asking_share_one_queue(self) -> None:
        """A frame is handed out once, in order, whichever way is used in between."""
        decoder = fed(ONE + TWO + THREE + ONE)
        first = decoder.next_frame()
        assert first is not None
        assert first.payload == b'{"one":1}'
        decoder.receive_data(TWO)
        second = decoder.next_frame()
        assert second is not None
        assert second.payload == b'{"two":22}'
        assert [payload for _, payload in decoder.next_raw_frames()] == [b"", b'{"one":1}', b'{"two":22}']
        assert decoder.next_frame() is None
        decoder.receive_data(ONE)
        assert decoder.next_frames() == [first]
        decoder.receive_eof()

    def test_frames_stay_available_after_a_clean_end(self) -> None:
        """The end of the body may be declared before the frames are taken, and more than once."""
        decoder = fed(ONE + TWO)
        decoder.receive_eof()
        decoder.receive_eof()
        assert len(decoder.next_frames()) == 2
        assert decoder.next_frames() == []

    def test_an_empty_stream_is_a_stream_without_frames(self) -> None:
        """No bytes, or empty pieces, are no fault of the framing."""
        assert decode(b"") == []
        assert fed(b"", ONE, b"").next_frames() == decode(ONE)

    @pytest.mark.parametrize("wrap", [bytearray, memoryview])
    def test_the_buffer_of_the_caller_may_be_used_again(self, wrap: Callable[[bytes], bytearray | memoryview]) -> None:
        """Pieces may be any bytes-like object; nothing refers to it after receive_data has returned."""
        buffer = bytearray(ONE + TWO[:20])
        decoder = EventStreamDecoder()
        decoder.receive_data(buffer if wrap is bytearray else memoryview(buffer))
        buffer[:] = bytes(len(buffer))
        decoder.receive_data(wrap(TWO[20:]))
        assert decoder.next_frames() == decode(ONE + TWO)

    @pytest.mark.parametrize("wrong", ["text", 3, None])
    def test_a_piece_that_is_no_bytes_is_a_type_error(self, wrong: object) -> None:
        """An int must not become that many zeros."""
        with pytest.raises(TypeError, match="bytes-like"):
            EventStreamDecoder().receive_data(cast("bytes", wrong))

    def test_headers_of_a_frame_are_read_only(self) -> None:
        """Equal blocks share one mapping, so that nobody may change it."""
        first, second = decode(ONE + TWO)
        assert first.headers is second.headers
        with pytest.raises(TypeError, match="does not support item assignment"):
            cast("dict[str, HeaderValue]", first.headers)["x"] = 1


class TestFaults:
    """Whatever is wrong ends in EventStreamError, with numbers, for good."""

    def test_frames_before_a_fault_are_delivered_first(self) -> None:
        """Two good frames, then the fault; the good frame behind it never comes."""
        decoder = fed(ONE + THREE + BAD_CRC + ONE)
        assert [frame.payload for frame in decoder.next_frames()] == [b'{"one":1}', b""]
        where = f"the frame at byte {len(ONE + THREE)}"
        with pytest.raises(EventStreamError, match=rf"message checksum of {where} \({len(BAD_CRC)} bytes\) is 0x"):
            decoder.next_frames()

    def test_a_failed_decoder_raises_the_same_error_at_every_call(self) -> None:
        """After an error there are no frames, no forgiveness and no other message."""
        decoder = fed(BAD_CRC)
        calls: list[Callable[[], object]] = [
            decoder.next_frames,
            decoder.next_frame,
            decoder.next_raw_frames,
            decoder.receive_eof,
            lambda: decoder.receive_data(ONE),
            lambda: decoder.receive_data(b""),
            lambda: decoder.take_raw_frames(ONE),
            decoder.next_frames,
        ]
        messages: set[tuple[str, bool]] = set()
        for call in calls:
            with pytest.raises(EventStreamError) as caught:
                call()
            messages.add((str(caught.value), caught.value.retryable))
        assert len(messages) == 1

    def test_pieces_behind_a_fault_that_nobody_has_seen_yet_are_dropped(self) -> None:
        """receive_data never raises for what it was just given: the frames before the fault are still to be had."""
        decoder = fed(ONE + BAD_CRC, ONE, b"\x00" * 100)
        assert decoder.next_frames() == decode(ONE)
        with pytest.raises(EventStreamError, match="message checksum"):
            decoder.next_frames()

    def test_next_frame_fails_at_the_fault_and_stays_failed(self) -> None:
        """One by one, too, the good frames come first and nothing comes after."""
        decoder = fed(ONE + build_frame(DUPLICATE) + ONE)
        assert decoder.next_frame() == decode(ONE)[0]
        for _ in range(2):
            with pytest.raises(EventStreamError, match="'twin' comes twice"):
                decoder.next_frame()

    def test_next_frames_fails_at_malformed_headers_and_stays_failed(self) -> None:
        """Headers that break the format are a fault of the stream, like a wrong checksum."""
        decoder = fed(ONE + build_frame(DUPLICATE) + ONE)
        assert decoder.next_frames() == decode(ONE)
        for call in (decoder.next_frames, decoder.next_raw_frames, decoder.receive_eof):
            with pytest.raises(EventStreamError, match="'twin' comes twice"):
                call()
        cut = fed(ONE + build_frame(DUPLICATE) + ONE[:20])
        assert cut.next_frames() == decode(ONE)
        with pytest.raises(EventStreamError, match="'twin' comes twice"):
            cut.receive_eof()
        with pytest.raises(EventStreamError, match="'twin' comes twice"):
            fed(build_frame(DUPLICATE) + ONE).next_frames()

    def test_raw_frames_leave_the_headers_to_the_caller(self) -> None:
        """next_raw_frames hands out the block as it came; parse_headers refuses it."""
        ((block, _),) = fed(build_frame(DUPLICATE)).next_raw_frames()
        assert block == DUPLICATE
        with pytest.raises(EventStreamError, match="'twin' comes twice"):
            parse_headers(block)

    @pytest.mark.parametrize("total", [*range(16), 4294967295])
    def test_a_length_out_of_bounds_is_refused_before_more_bytes_come(self, total: int) -> None:
        """A frame has 16 bytes at least; both bounds are in the message."""
        prelude = build_frame(total_bytes=total)[:12]
        with pytest.raises(EventStreamError, match=rf"byte 0 declares {total} bytes; 16 to 1064 are allowed"):
            fed(prelude, max_payload_bytes=1000, max_header_bytes=48).next_frames()

    def test_limits_are_exact(self) -> None:
        """Payload and headers may be as long as their limits and not one byte longer, whoever has room left."""
        block = encode_headers({"a": "b" * 40})
        size = len(block)
        assert len(decode(build_frame(block, b"x" * 100), decoder=EventStreamDecoder(100, size))) == 1
        with pytest.raises(EventStreamError, match="declares 101 payload bytes; 0 to 100 are allowed"):
            decode(build_frame(b"", b"x" * 101), decoder=EventStreamDecoder(100, size))
        with pytest.raises(EventStreamError, match=f"declares {size} header bytes in {size + 16}; 0 to {size - 1} are"):
            decode(build_frame(block), decoder=EventStreamDecoder(100, size - 1))

    def test_the_default_limits_are_those_of_the_official_implementations(self) -> None:
        """16 MiB of payload and 128 KiB of headers pass; the next byte of either does not."""
        assert (DEFAULT_MAX_PAYLOAD_BYTES, DEFAULT_MAX_HEADER_BYTES) == (16 * 1024**2, 128 * 1024)
        payload, block = bytes(16 * 1024**2), build_header(b"n", 6, b"\xff\xff" + bytes(0xFFFF)) * 1
        block += build_header(b"m", 6, struct.pack(">H", 128 * 1024 - len(block) - 5) + bytes(131072 - len(block) - 5))
        assert len(block) == 128 * 1024
        (frame,) = decode(build_frame(block, payload))
        assert frame.payload == payload
        assert len(frame.headers) == 2
        with pytest.raises(EventStreamError, match="16777217 payload bytes; 0 to 16777216 are"):
            fed(build_frame(total_bytes=16 + 16 * 1024**2 + 1)[:12]).next_frames()
        with pytest.raises(EventStreamError, match="131073 header bytes in 200000; 0 to 131072 are"):
            fed(build_frame(total_bytes=200_000, header_bytes=131_073)[:12]).next_frames()

    def test_headers_cannot_be_longer_than_their_frame(self) -> None:
        """The header length is checked against the frame it stands in, although all checksums are right."""
        with pytest.raises(EventStreamError, match="declares 5 header bytes in 20; 0 to 4 are allowed"):
            fed(build_frame(b"", b"four", header_bytes=5)).next_frames()

    def test_a_wrong_prelude_checksum_is_refused_under_a_right_message_checksum(self) -> None:
        """The message checksum covers the prelude; the prelude's own one has to be right all the same."""
        data = build_frame(b"", b"payload", prelude_crc=0xDEADBEEF)
        with pytest.raises(EventStreamError, match="prelude checksum of the frame at byte 0 is 0xdeadbeef; its bytes"):
            fed(data).next_frames()

    def test_a_body_that_is_no_event_stream_is_called_that(self) -> None:
        """A gateway's page fails at its first 12 bytes, and the error says where to look."""
        with pytest.raises(EventStreamError, match="not an event stream: check the status and the content type"):
            fed(b"<html><head>").next_frames()

    @pytest.mark.parametrize("size", [None, 1])
    def test_no_single_flipped_bit_is_delivered(self, size: int | None) -> None:
        """Wherever in the second of three frames a bit flips, the first is delivered and then there is an error."""
        first = decode(ONE)
        for bit in range(len(TWO) * 8):
            damaged = bytearray(TWO)
            damaged[bit // 8] ^= 1 << bit % 8
            frames: list[Frame] = []
            decoder = EventStreamDecoder()
            with pytest.raises(EventStreamError):  # which call raises depends on the bit
                for piece in pieces(ONE + bytes(damaged) + ONE, size):
                    decoder.receive_data(piece)
                    frames += decoder.next_frames()
                frames += decoder.next_frames()
                decoder.receive_eof()
            assert frames == first, bit

    @pytest.mark.parametrize(
        ("have", "text"),
        [
            (1, "1 of at least 16 bytes"),
            (11, "11 of at least 16 bytes"),
            (12, f"12 of {len(TWO)} bytes"),
            (len(TWO) - 1, f"{len(TWO) - 1} of {len(TWO)} bytes"),
        ],
    )
    def test_the_end_inside_a_frame_says_how_much_is_missing(self, have: int, text: str) -> None:
        """How many of how many bytes had arrived, and where the frame began; the call is worth another try."""
        decoder = fed(ONE + TWO[:have])
        assert decoder.next_frames() == decode(ONE)
        message = f"the stream ended inside the frame at byte {len(ONE)}: {text} had arrived"
        for call in (decoder.receive_eof, decoder.next_frames, decoder.receive_eof):
            with pytest.raises(EventStreamError, match=message) as caught:
                call()
            assert caught.value.retryable

    def test_a_frame_that_comes_alone_waits_for_those_before_it(self) -> None:
        """Taken in one call, too, the frames come in the order of the wire, also those that were received before."""
        assert [payload for _, payload in fed(ONE).take_raw_frames(TWO)] == [b'{"one":1}', b'{"two":22}']
        assert [payload for _, payload in fed(ONE[:9]).take_raw_frames(ONE[9:] + TWO)] == [b'{"one":1}', b'{"two":22}']
        assert fed().take_raw_frames(ONE) == fed().take_raw_frames(bytearray(ONE)) == fed(ONE).next_raw_frames()

    def test_a_frame_that_comes_alone_after_the_declared_end_is_refused(self) -> None:
        """Whole as it is, nothing can follow the end."""
        decoder = fed(ONE)
        decoder.receive_eof()
        decoder.next_frames()
        with pytest.raises(EventStreamError, match=f"{len(TWO)} bytes arrived after the declared end"):
            decoder.take_raw_frames(TWO)

    def test_a_fault_behind_the_frames_of_a_piece_is_there_to_be_seen(self) -> None:
        """Taking the frames leaves it in `failure`, and the next call raises it."""
        decoder = fed()
        assert decoder.failure is None
        assert len(decoder.take_raw_frames(ONE + BAD_CRC)) == 1
        assert "message checksum" in str(decoder.failure)
        with pytest.raises(EventStreamError, match="message checksum"):
            decoder.take_raw_frames(ONE)

    def test_bytes_after_the_declared_end_are_refused(self) -> None:
        """Nothing can follow the end of the body but nothing."""
        decoder = fed(ONE)
        decoder.receive_eof()
        decoder.receive_data(b"")
        for _ in range(2):
            with pytest.raises(EventStreamError, match=f"{len(TWO)} bytes arrived after the declared end"):
                decoder.receive_data(TWO)

    def test_only_damage_is_worth_another_try(self) -> None:
        """A checksum that is wrong may be right the next time; a length that the sender means will not."""
        for data, retryable in ((BAD_CRC, True), (b"x" * 16, True), (build_frame(total_bytes=15), False)):
            with pytest.raises(EventStreamError) as caught:
                fed(data).next_frames()
            assert caught.value.retryable is retryable
            assert isinstance(caught.value, StreamError)

    def test_a_failed_decoder_does_not_keep_its_user_alive(self) -> None:
        """An abandoned stream is freed with its last reference, not when the garbage collector comes by."""

        class Stream:
            def __init__(self) -> None:
                self.decoder = fed(BAD_CRC)

            def read(self) -> None:
                self.decoder.next_frames()

        stream = Stream()
        with pytest.raises(EventStreamError) as caught:
            stream.read()
        alive = weakref.ref(stream)
        gc.disable()
        try:
            del stream, caught
            assert alive() is None
        finally:
            gc.enable()

    @pytest.mark.parametrize(
        ("limits", "message"),
        [
            ({"max_payload_bytes": -1}, "max_payload_bytes is -1"),
            ({"max_header_bytes": -1}, "max_header_bytes -1"),
            ({"max_payload_bytes": 2**32}, "allow frames of 4295098384 bytes; the format ends at 4294967295"),
        ],
    )
    def test_limits_that_no_frame_can_have_are_refused(self, limits: dict[str, int], message: str) -> None:
        """Decoder and encoder refuse the same limits."""
        with pytest.raises(EventStreamError, match=message):
            EventStreamDecoder(**limits)
        with pytest.raises(EventStreamError, match=message):
            encode_frame({}, b"", **limits)


class CountingTail(bytearray):
    """Stands in for the decoder's buffer and counts the bytes that move through it."""

    def __init__(self) -> None:
        super().__init__()
        self.copied_bytes = 0

    @override
    def __iadd__(self, piece: Any, /) -> Self:
        self.copied_bytes += len(piece)
        super().__iadd__(piece)
        return self

    def __bytes__(self) -> bytes:
        self.copied_bytes += len(self)
        return bytes(memoryview(self))


class TestCost:
    @pytest.mark.parametrize("size", [1, 7, 1000, 65536])
    def test_every_byte_is_copied_a_fixed_number_of_times(self, size: int) -> None:
        """A byte enters the buffer once and leaves it once (a prelude twice), however small the pieces are."""
        data = (encode_frame(EVENT, bytes(100_000)) + ONE) * 2
        decoder = EventStreamDecoder()
        tail = CountingTail()
        decoder._tail = tail
        for piece in pieces(data, size):
            decoder.receive_data(piece)
        assert len(decoder.next_frames()) == 4
        assert decoder._tail is tail
        preludes = 4 * 2 * 12
        assert 0 < tail.copied_bytes <= 2 * len(data) + preludes

    def test_whole_frames_are_not_buffered_at_all(self) -> None:
        """Frames that arrive whole are cut from the piece; only the rest of the last one is kept."""
        decoder = EventStreamDecoder()
        tail = CountingTail()
        decoder._tail = tail
        decoder.receive_data(ONE * 1000 + TWO[:30])
        assert len(decoder.next_raw_frames()) == 1000
        assert tail.copied_bytes == 30

    def test_the_work_grows_with_the_pieces_not_with_their_square(self) -> None:
        """Twice as many one-byte pieces of one frame run twice as many lines of the decoder."""

        def lines(payload_bytes: int) -> int:
            data = encode_frame({}, bytes(payload_bytes))
            count = 0

            def trace(frame: FrameType, event: str, _: object) -> Any:  # noqa: ANN401 - sys.settrace's type
                nonlocal count
                if frame.f_code.co_filename != eventstream.__file__:
                    return None
                count += event == "line"
                return trace

            decoder = EventStreamDecoder()
            before = sys.gettrace()
            sys.settrace(trace)
            try:
                for piece in pieces(data, 1):
                    decoder.receive_data(piece)
                    decoder.next_raw_frames()
            finally:
                sys.settrace(before)
            return count

        small, large = lines(1000), lines(2000)
        assert 1000 < small < large < 2.1 * small

    def test_what_is_held_back_is_less_than_one_frame(self) -> None:
        """After any piece the buffer holds the start of one frame and nothing that was delivered."""
        decoder = EventStreamDecoder()
        for piece in pieces((ONE + TWO) * 50, 61):
            decoder.receive_data(piece)
            assert len(decoder._tail) < len(TWO)
            decoder.next_frames()
        assert not decoder._tail


class TestHeaderCache:
    def test_it_is_bounded_in_number_and_in_size(self) -> None:
        """A stream in which every header block is new, or huge, fills 256 places of 1 KiB at the most."""
        cache = eventstream._parse_remembered
        for number in range(1000):
            parse_headers(encode_headers({"n": number}))
        assert cache.cache_info().currsize == 256
        misses = cache.cache_info().misses
        huge = encode_headers({"n": b"x" * 1020})
        assert len(huge) == 1025
        assert parse_headers(huge) == {"n": b"x" * 1020}
        assert cache.cache_info().misses == misses

    def test_a_repeated_block_is_parsed_once(self) -> None:
        """The same bytes give the same mapping, whichever object they stand in."""
        block = encode_headers(EVENT)
        assert parse_headers(block) is parse_headers(bytes(bytearray(block)))

    def test_a_malformed_block_is_refused_every_time(self) -> None:
        """Errors are not remembered as anything else."""
        for _ in range(2):
            with pytest.raises(EventStreamError, match="comes twice"):
                parse_headers(DUPLICATE)


ALL_TYPES: Final[Mapping[str, tuple[HeaderValue, bytes]]] = {
    "true": (True, b"\x00"),
    "false": (False, b"\x01"),
    "byte": (Int8(-128), b"\x02\x80"),
    "short": (Int16(-2), b"\x03\xff\xfe"),
    "integer": (Int32(2**31 - 1), b"\x04\x7f\xff\xff\xff"),
    "long": (Int64(-(2**63)), b"\x05\x80" + bytes(7)),
    "bytes": (b"\x00\xff", b"\x06\x00\x02\x00\xff"),
    "string": ("grüße 🎉", b"\x07\x00\x0c" + "grüße 🎉".encode()),
    "timestamp": (datetime(2024, 10, 31, 14, 15, 14, 1000, tzinfo=UTC), b"\x08" + (1730384114001).to_bytes(8, "big")),
    "uuid": (UUID(int=1), b"\x09" + bytes(15) + b"\x01"),
}


class TestHeaders:
    @pytest.mark.parametrize("name", ALL_TYPES)
    def test_each_of_the_ten_types_stands_on_the_wire_as_specified(self, name: str) -> None:
        """Type byte and value of every type, both ways, with the Python type that encodes as it came."""
        value, wire = ALL_TYPES[name]
        block = build_header(name.encode(), wire[0], wire[1:])
        parsed = parse_headers(block)
        assert parsed == {name: value}
        assert type(parsed[name]) is type(value)
        assert encode_headers({name: value}) == block

    def test_order_and_empty_names_and_values_survive(self) -> None:
        """The format forbids neither, and neither do smithy-rs and botocore."""
        headers: dict[str, HeaderValue] = {"b": "", "": b"", "a": True, "n" * 255: "x" * 65535}
        parsed = parse_headers(encode_headers(headers))
        assert list(parsed.items()) == list(headers.items())

    @pytest.mark.parametrize(
        ("block", "message"),
        [
            (b"\x00", "declares a name of 0 bytes; 0 are left besides its type"),
            (b"\x05abc", "byte 0 of 4 declares a name of 5 bytes; 2 are left besides its type"),
            (b"\x03abc", "declares a name of 3 bytes; 2 are left besides its type"),
            (build_header(b"a", 0, b"") + b"\xff", "byte 3 of 4 declares a name of 255 bytes; 0 are left"),
            (build_header(b"a", 10, b""), "'a' is of type 10; 0 to 9 are known"),
            (build_header(b"a", 255, b""), "'a' is of type 255; 0 to 9 are known"),
            (build_header(b"a", 2, b""), "'a' ends at byte 4 of its block; the block has 3"),
            (build_header(b"a", 3, b"\x00"), "ends at byte 5 of its block; the block has 4"),
            (build_header(b"a", 4, b"\x00\x00\x00"), "ends at byte 7 of its block; the block has 6"),
            (build_header(b"a", 5, bytes(7)), "ends at byte 11 of its block; the block has 10"),
            (build_header(b"a", 6, b""), "ends at byte 5 of its block; the block has 3"),
            (build_header(b"a", 6, b"\x00"), "ends at byte 5 of its block; the block has 4"),
            (build_header(b"a", 7, b"\x00\x02x"), "ends at byte 7 of its block; the block has 6"),
            (build_header(b"a", 7, b"\xff\xffx"), "ends at byte 65540 of its block; the block has 6"),
            (build_header(b"a", 8, bytes(7)), "ends at byte 11 of its block; the block has 10"),
            (build_header(b"a", 9, bytes(15)), "ends at byte 19 of its block; the block has 18"),
            (build_header(b"a\xff", 0, b""), "name of the header at byte 0 is not UTF-8: byte 1 of 2"),
            (build_header(b"a", 7, b"\x00\x03\xed\xa0\x80"), "'a' is not UTF-8: byte 0 of 3"),
            (DUPLICATE, "'twin' comes twice, again at byte 6 of 12"),
        ],
    )
    def test_a_malformed_block_is_refused_with_numbers(self, block: bytes, message: str) -> None:
        """No length leads out of the block, no type is guessed, no text is repaired."""
        with pytest.raises(EventStreamError, match=message):
            parse_headers(block)
        with pytest.raises(EventStreamError, match=message):
            decode(build_frame(block))

    @pytest.mark.parametrize(
        ("milliseconds", "expected"),
        [
            (-62135596800000, datetime(1, 1, 1, tzinfo=UTC)),
            (-62135596800001, EpochMilliseconds(-62135596800001)),
            (-1, datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
            (253402300799999, datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
            (253402300800000, EpochMilliseconds(253402300800000)),
            (2**63 - 1, EpochMilliseconds(2**63 - 1)),
            (-(2**63), EpochMilliseconds(-(2**63))),
        ],
    )
    def test_every_timestamp_survives(self, milliseconds: int, expected: HeaderValue) -> None:
        """A time that no datetime holds is kept as its milliseconds, and both forms encode as they came."""
        block = build_header(b"t", 8, milliseconds.to_bytes(8, "big", signed=True))
        value = parse_headers(block)["t"]
        assert value == expected
        assert type(value) is type(expected)
        assert encode_headers({"t": value}) == block

    def test_a_datetime_of_any_zone_is_the_same_instant_cut_to_milliseconds(self) -> None:
        """The wire has whole milliseconds and no zone; before 1970, too, the cut goes down."""
        east = timezone(timedelta(hours=5, minutes=45))
        cut = parse_headers(encode_headers({"t": datetime(2024, 1, 1, 5, 45, 0, 1999, tzinfo=east)}))
        assert cut["t"] == datetime(2024, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)
        before = parse_headers(encode_headers({"t": datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)}))
        assert before["t"] == datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("value", "kind"), [(0, Int32), (-(2**31), Int32), (2**31, Int64), (-(2**31) - 1, Int64), (2**63 - 1, Int64)]
    )
    def test_a_plain_int_takes_32_bits_where_it_fits(self, value: int, kind: type[int]) -> None:
        """An int without a width is written as integer, else as long."""
        parsed = parse_headers(encode_headers({"n": value}))["n"]
        assert (type(parsed), parsed) == (kind, value)

    @pytest.mark.parametrize(
        ("headers", "message"),
        [
            ({"n" * 256: 1}, "name of 256 bytes is too long; 255 are allowed: 'nnnn"),
            ({"ü" * 128: 1}, "name of 256 bytes is too long"),
            ({"a": "x" * 65536}, "'a' takes 65536 bytes; 65535 are allowed"),
            ({"a": b"x" * 65536}, "'a' takes 65536 bytes; 65535 are allowed"),
            ({"a": Int8(128)}, "'a' needs 9 bits; its type has 8"),
            ({"a": Int16(-32769)}, "'a' needs 17 bits; its type has 16"),
            ({"a": Int32(2**31)}, "'a' needs 33 bits; its type has 32"),
            ({"a": Int64(2**63)}, "'a' needs 65 bits; its type has 64"),
            ({"a": EpochMilliseconds(2**63)}, "'a' needs 65 bits; its type has 64"),
            ({"a": 10**5000}, "'a' needs 16611 bits; its type has 64"),
            ({"a": datetime(2024, 1, 1)}, "datetime in the header 'a' has no time zone"),  # noqa: DTZ001 - the point
            ({"a": "\ud800"}, "value of the header 'a' cannot be encoded as UTF-8: character 0"),
            ({"a\ud800": "x"}, r"name of the header 'a\\ud800' cannot be encoded as UTF-8: character 1"),
            ({"a": 1.5}, "'a' is a float; bool, int, bytes, str, datetime or UUID are possible"),
            ({"a": None}, "'a' is a NoneType; bool"),
        ],
    )
    def test_what_does_not_fit_is_not_encoded(self, headers: dict[str, HeaderValue], message: str) -> None:
        """The encoder raises in our tree and names the header; it never writes something else instead."""
        with pytest.raises(EventStreamError, match=message):
            encode_headers(headers)
        with pytest.raises(EventStreamError, match=message):
            encode_frame(headers)


class TestEncodeFrame:
    def test_a_frame_stands_on_the_wire_as_specified(self) -> None:
        """Lengths, both checksums and order, compared with a frame put together by hand."""
        block = build_header(b"a", 7, b"\x00\x01b")
        assert encode_frame({"a": "b"}, b"payload") == build_frame(block, b"payload")
        assert encode_frame({}) == build_frame() == bytes.fromhex("000000100000000005c248eb7d98c8ff")

    def test_a_raw_block_is_taken_as_it_is(self) -> None:
        """Raw frames go through unparsed, which also lets a test send what parse_headers refuses."""
        assert encode_frame(encode_headers(EVENT), b'{"one":1}') == ONE
        assert encode_frame(DUPLICATE, b"x") == build_frame(DUPLICATE, b"x")

    def test_it_refuses_what_a_decoder_with_the_same_limits_refuses(self) -> None:
        """Limits are the same numbers on both sides."""
        block = encode_headers({"a": "b" * 10})
        assert decode(encode_frame(block, b"12345", max_payload_bytes=5, max_header_bytes=len(block)))
        with pytest.raises(EventStreamError, match="payload takes 6 bytes; 0 to 5 are allowed"):
            encode_frame(block, b"123456", max_payload_bytes=5)
        with pytest.raises(
            EventStreamError, match=f"headers take {len(block)} bytes; 0 to {len(block) - 1} are allowed"
        ):
            encode_frame(block, max_header_bytes=len(block) - 1)

    def test_the_message_checksum_covers_everything_before_it(self) -> None:
        """The last four bytes are the CRC-32 of all others."""
        assert struct.unpack(">I", ONE[-4:])[0] == crc32(ONE[:-4])
