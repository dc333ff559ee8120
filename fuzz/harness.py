"""What the fuzz targets share: the command line, the engines, and changes to bytes and to JSON.

With atheris installed (`pip install atheris`) the changes follow coverage; without it a seeded generator makes them,
which `--seed` repeats. An input that breaks the promise is written to a file and the program exits with an error.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import random
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

CORPUS: Final = Path(__file__).parent / "corpus"

# Small enough for mutated lengths to hit, large enough for every seed.
MAX_BYTES: Final = 4096

# Where a length or a type has its edges.
EDGES: Final = (0, 1, 2, 9, 10, 11, 12, 15, 16, 17, 127, 128, 255, 256, 4096, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

# What a reader of JSON does not expect in some place.
STRANGE: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1.5, 1e400, 2**70, "", "text", "\ud800", [], {}, [None], [[]], [{}], {"": None}),
    *("AAAA", "====", "end_turn", {"text": None}, {"type": "text"}, {"type": "tool_use"}, ["a", 1], {"0": {"0": {}}}),
)

_AT_THIS_PLACE: Final = 0.1
"""How often a change stops at an object or a list, and does not go deeper."""

Mutate: TypeAlias = Callable[[Sequence[bytes], random.Random], bytes]


class PromiseBrokenError(AssertionError):
    """The program under test did something else than its documentation says."""


@dataclass(frozen=True, slots=True)
class Target:
    """A program to fuzz.

    - ``name``: also that of the folder with its seeds.
    - ``make``: returns the function under test, which takes any bytes, raises when a promise is broken, and returns how
      many results it came to. It imports what it tests, so that atheris can instrument that first.
    - ``modules``: what atheris instruments. ``counted``: what the results are called.
    """

    name: str
    make: Callable[[], Callable[[bytes], int]]
    modules: tuple[str, ...]
    counted: str
    mutate: Mutate

    @property
    def seeds(self) -> list[Path]:
        """The files of the seeds."""
        return sorted((CORPUS / self.name).iterdir())


def mutated_bytes(seeds: Sequence[bytes], rng: random.Random) -> bytes:
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


def mutated_lines(seeds: Sequence[bytes], rng: random.Random) -> bytes:
    """Return the lines of a seed, each of which may be JSON, with changes to values, order or bytes."""
    lines = rng.choice(seeds).splitlines()
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(lines)) if lines else 0
        match rng.randrange(8):
            case 0 if lines:
                del lines[at]
            case 1 if lines:
                lines.insert(rng.randrange(len(lines) + 1), lines[at])
            case 2 if lines:
                lines[at] = mutated_bytes([lines[at]], rng).replace(b"\n", b"")
            case 3:
                lines += rng.choice(seeds).splitlines()[:2]
            case _ if lines:
                lines[at] = _mutated_json(lines[at], rng)
            case _:
                lines.append(rng.randbytes(8).replace(b"\n", b""))
    return b"\n".join(lines)[: 8 * MAX_BYTES]


def _mutated_json(line: bytes, rng: random.Random) -> bytes:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return mutated_bytes([line], rng)
    for _ in range(rng.randint(1, 3)):
        value = _changed(value, rng)
    return json.dumps(value).encode()


def _changed(value: Any, rng: random.Random) -> Any:  # noqa: ANN401 - JSON of any shape
    """Return the value with one place in it changed."""
    if rng.random() < _AT_THIS_PLACE or not value:
        return rng.choice(STRANGE)
    if isinstance(value, dict):
        return _changed_object(cast("dict[str, Any]", value), rng)
    if isinstance(value, list):
        return _changed_list(cast("list[object]", value), rng)
    return rng.choice(STRANGE)


def _changed_object(members: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    name = rng.choice(list(members))
    match rng.randrange(8):
        case 0:
            return {each: member for each, member in members.items() if each != name}
        case 1:
            return {**members, rng.choice(list(members)): members[name]}
        case _:
            return {**members, name: _changed(members[name], rng)}


def _changed_list(items: list[object], rng: random.Random) -> list[object]:
    at = rng.randrange(len(items))
    match rng.randrange(6):
        case 0:
            return items[:at] + items[at + 1 :]
        case 1:
            return [*items, items[at]]
        case _:
            return [*items[:at], _changed(items[at], rng), *items[at + 1 :]]


def main(target: Target) -> None:
    """Read the command line and fuzz."""
    parser = argparse.ArgumentParser(description=f"Fuzz {target.name}.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--runs", type=int, help="stop after that many inputs")
    parser.add_argument("--seed", type=int, default=0, help="start of the random generator (default: 0)")
    parser.add_argument("--engine", choices=("auto", "atheris", "random"), default="auto")
    arguments = parser.parse_args()
    if arguments.engine != "random":
        try:
            atheris = import_module("atheris")
        except ImportError:
            if arguments.engine == "atheris":
                parser.error("atheris is not installed: pip install atheris")
        else:
            _fuzz_by_coverage(target, atheris, arguments.seconds, arguments.runs)
            return
    _fuzz_at_random(target, arguments.seed, arguments.seconds, arguments.runs)


def _fuzz_at_random(target: Target, seed: int, seconds: float, runs: int | None) -> None:
    """Run the target on mutated seeds until the time or the number of runs is over, and print what happened."""
    function = target.make()
    seeds = [path.read_bytes() for path in target.seeds]
    rng = random.Random(seed)
    # An endless loop breaks the promise as well: the traceback shows where, the seed leads there again.
    faulthandler.dump_traceback_later(seconds + 10, exit=True)
    for data in seeds:
        function(data)
    done = results = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end and (runs is None or done < runs):
        data = target.mutate(seeds, rng)
        try:
            results += function(data)
        except BaseException:
            name = f"crash-{sha256(data).hexdigest()[:16]}.bin"
            Path(name).write_bytes(data)
            print(f"run {done} of seed {seed} broke the promise; the input is in {name}", file=sys.stderr)
            raise
        done += 1
    faulthandler.cancel_dump_traceback_later()
    print(f"{done} inputs from seed {seed}: {results} {target.counted}, otherwise the errors that are promised")


def _fuzz_by_coverage(target: Target, atheris: Any, seconds: float, runs: int | None) -> None:  # noqa: ANN401 - untyped
    """Run the target under atheris, which ends the process."""
    with atheris.instrument_imports(include=list(target.modules)):
        function = target.make()

    def entry(data: bytes) -> None:
        function(data)

    # Seeds by name and no corpus folder: libFuzzer would write what it learns into that.
    options = {
        "max_total_time": max(int(seconds), 1),
        "max_len": MAX_BYTES,
        "runs": runs or -1,
        "timeout": 10,
        "seed_inputs": ",".join(str(path) for path in target.seeds),
    }
    atheris.Setup([sys.argv[0], *(f"-{name}={value}" for name, value in options.items())], entry)
    atheris.Fuzz()
