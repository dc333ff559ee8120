"""Measure bedrock_async beside other clients: ``python -m benchmarks``; with ``--peers`` beside all of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from . import docs, record, report
from .measure import measure
from .peers import ALL, QUICK
from .scenarios import SCENARIOS

_QUICK_DIVISOR = 10


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; default all")
    parser.add_argument("--peers", action="store_true", help="all clients, not only ours, the floors and aiobotocore")
    parser.add_argument("--client", action="append", help=f"only this one, several times for more; of {', '.join(ALL)}")
    parser.add_argument("--rounds", type=int, default=3, help="processes for each cell (3)")
    parser.add_argument("--quick", action="store_true", help="one round of a tenth of the work: does everything run?")
    parser.add_argument("--python", help="the version or path of the Python that runs the clients")
    parser.add_argument("--json", type=Path, help="keep the run in this file, too")
    parser.add_argument(
        "--record",
        action="store_true",
        help="make it the recorded run, or a part of it: results/recorded.json, docs/performance.md",
    )
    options = parser.parse_args(given)
    _check(parser, "scenario", options.scenarios, list(SCENARIOS))
    _check(parser, "client", options.client or [], list(ALL))
    return options


def _check(parser: argparse.ArgumentParser, kind: str, names: list[str], known: list[str]) -> None:
    if unknown := [name for name in names if name not in known]:
        parser.error(f"there is no {kind} {', '.join(unknown)}; there are {', '.join(known)}")


def _progress(line: str) -> None:
    end = "\r" if sys.stderr.isatty() else "\n"
    sys.stderr.write(f"{line:<78}{end}")
    sys.stderr.flush()


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print the tables, the targets and what moved, and keep the run."""
    options = _arguments(given)
    before = record.load()
    clients = options.client or list(ALL if options.peers else QUICK)
    rounds, divisor = (1, _QUICK_DIVISOR) if options.quick else (options.rounds, 1)
    if options.record and options.scenarios and before is not None:
        before.check_part(clients, rounds=rounds, divisor=divisor)
    taken = measure(
        clients,
        options.scenarios or list(SCENARIOS),
        rounds=rounds,
        divisor=divisor,
        python=options.python,
        progress=_progress,
    )
    kept = record.FOLDER / f"{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    for path in (kept, *([options.json] if options.json else [])):
        record.save(taken, path)
    sys.stdout.write(f"{report.text(taken, before)}\n\nkept in {kept}\n")
    if options.record:
        whole = before.with_scenarios_of(taken) if before is not None and options.scenarios else taken
        record.save(whole, record.RECORDED)
        docs.write(whole)


if __name__ == "__main__":
    main()
