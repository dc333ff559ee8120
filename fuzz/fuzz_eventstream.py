"""Fuzzes the event stream decoder: whatever the bytes, frames or EventStreamError come out, and nothing else.

python fuzz/fuzz_eventstream.py --seconds 60
"""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Callable

from harness import MAX_BYTES, PromiseBrokenError, Target, main, mutated_bytes


def make_target() -> Callable[[bytes], int]:
    """Return the function under test, which takes any bytes and returns how many frames they held.

    Imported here, so that atheris can instrument the module first.
    """
    from bedrock_async.eventstream import (
        EventStreamDecoder,
        EventStreamError,
        Frame,
        encode_frame,
        encode_headers,
        parse_headers,
    )

    def outcome(data: bytes, size: int) -> tuple[list[Frame], str]:
        decoder = EventStreamDecoder(MAX_BYTES, MAX_BYTES)
        frames: list[Frame] = []
        try:
            for start in range(0, len(data), size):
                decoder.receive_data(data[start : start + size])
                frames += decoder.next_frames()
            # A fault behind the last frames is raised by the next call.
            frames += decoder.next_frames()
            decoder.receive_eof()
        except EventStreamError as error:
            return frames, str(error)
        return frames, ""

    def check_stream(data: bytes) -> int:
        whole = outcome(data, max(len(data), 1))
        if outcome(data, 1 + len(data) % 13) != whole:
            raise PromiseBrokenError("frames or error depend on how the bytes are cut")
        frames, error = whole
        encoded = b"".join(encode_frame(frame.headers, frame.payload) for frame in frames)
        if not data.startswith(encoded) or (not error and encoded != data):
            raise PromiseBrokenError("encoding the frames does not restore their bytes")
        return len(frames)

    def check_headers(block: bytes) -> None:
        try:
            headers = parse_headers(block)
        except EventStreamError:
            return
        if encode_headers(headers) != block:
            raise PromiseBrokenError("encoding the headers does not restore their bytes")

    def target(data: bytes) -> int:
        check_headers(data)
        # With its checksums put right, a mutated frame gets past them; with one of the two, it must not.
        check_stream(with_right_checksums(data, preludes=False))
        return check_stream(data) + check_stream(with_right_checksums(data))

    return target


def with_right_checksums(data: bytes, *, preludes: bool = True) -> bytes:
    """Return the bytes with right message checksums, and prelude checksums, where the declared lengths put them."""
    repaired = bytearray(data)
    pos = 0
    while pos + 12 <= len(repaired):
        if preludes:
            repaired[pos + 8 : pos + 12] = struct.pack(">I", crc32(repaired[pos : pos + 8]))
        (total,) = struct.unpack_from(">I", repaired, pos)
        end = pos + total
        if total < 16 or end > len(repaired):
            break
        repaired[end - 4 : end] = struct.pack(">I", crc32(repaired[pos : end - 4]))
        pos = end
    return bytes(repaired)


if __name__ == "__main__":
    main(Target("eventstream", make_target, ("bedrock_async.eventstream",), "frames", mutated_bytes))
