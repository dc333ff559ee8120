"""Fuzzes the event stream decoder: whatever the bytes, frames or EventStreamError come out, and nothing else.

    python fuzz/fuzz_eventstream.py --seconds 60

With atheris installed (`pip install atheris`) the mutations follow coverage; without it a seeded generator makes
them, which `--seed` repeats. An input that breaks the promise is written to a file and the program exits with an error.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import struct
import sys
import time
from binascii import crc32
from collections.abc import Callable
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Final

SEEDS: Final = Path(__file__).parent / "corpus" / "eventstream"

# Small enough for mutated lengths to hit, large enough for every seed.
MAX_BYTES: Final = 4096

# Where a length or a type has its edges.
EDGES: Final = (0, 1, 2, 9, 10, 11, 12, 15, 16, 17, 127, 128, 255, 256, 4096, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


class PromiseBrokenError(AssertionError):
    """The decoder or the encoder did something else than its documentation says."""


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


def mutated(seeds: list[bytes], rng: random.Random) -> bytes:
    """Return one or two seeds with one to six changes."""
    data = bytearray(b"".join(rng.choices(seeds, k=rng.choice((1, 1, 2)))))
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(data):
                data[at] = rng.choice(EDGES) & 0xFF
            case 2:
                data[at : at + 4] = struct.pack(">I", rng.choice(EDGES))
            case 3:
                del data[at : at + rng.randint(1, 16)]
            case 4:
                data[at:at] = rng.randbytes(rng.randint(1, 16))
            case _:
                data[0:4] = struct.pack(">I", len(data))
    return bytes(data[:MAX_BYTES])


def fuzz_at_random(seeds: list[bytes], seed: int, seconds: float, runs: int | None) -> None:
    """Run the target on mutated seeds until the time or the number of runs is over, and print what happened."""
    target = make_target()
    rng = random.Random(seed)
    # An endless loop breaks the promise as well: the traceback shows where, the seed leads there again.
    faulthandler.dump_traceback_later(seconds + 10, exit=True)
    for data in seeds:
        target(data)
    done = frames = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end and (runs is None or done < runs):
        data = mutated(seeds, rng)
        try:
            frames += target(data)
        except BaseException:
            name = f"crash-{sha256(data).hexdigest()[:16]}.bin"
            Path(name).write_bytes(data)
            print(f"run {done} of seed {seed} broke the promise; the input is in {name}", file=sys.stderr)
            raise
        done += 1
    faulthandler.cancel_dump_traceback_later()
    print(f"{done} inputs from seed {seed}: {frames} frames delivered, otherwise EventStreamError, nothing else")


def fuzz_by_coverage(atheris: Any, seconds: float, runs: int | None) -> None:  # noqa: ANN401 - a module without types
    """Run the target under atheris, which ends the process."""
    with atheris.instrument_imports(include=["bedrock_async.eventstream"]):
        target = make_target()

    def entry(data: bytes) -> None:
        target(data)

    # Seeds by name and no corpus folder: libFuzzer would write what it learns into that.
    options = {
        "max_total_time": max(int(seconds), 1),
        "max_len": MAX_BYTES,
        "runs": runs or -1,
        "timeout": 10,
        "seed_inputs": ",".join(str(path) for path in sorted(SEEDS.iterdir())),
    }
    atheris.Setup([sys.argv[0], *(f"-{name}={value}" for name, value in options.items())], entry)
    atheris.Fuzz()


def main() -> None:
    """Read the command line and fuzz."""
    parser = argparse.ArgumentParser(description="Fuzz the event stream decoder.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--runs", type=int, help="stop after that many inputs")
    parser.add_argument("--seed", type=int, default=0, help="start of the random generator (default: 0)")
    parser.add_argument("--engine", choices=("auto", "atheris", "random"), default="auto")
    arguments = parser.parse_args()
    seeds = [path.read_bytes() for path in sorted(SEEDS.iterdir())]
    if arguments.engine != "random":
        try:
            atheris = import_module("atheris")
        except ImportError:
            if arguments.engine == "atheris":
                parser.error("atheris is not installed: pip install atheris")
        else:
            fuzz_by_coverage(atheris, arguments.seconds, arguments.runs)
            return
    fuzz_at_random(seeds, arguments.seed, arguments.seconds, arguments.runs)


if __name__ == "__main__":
    main()
