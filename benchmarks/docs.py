"""The recorded run in docs/performance.md and its chart: ``python -m benchmarks.docs`` writes both anew.

Only what stands between the markers ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` is written; the rest is by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from . import chart, record, report
from .environments import ROOT
from .record import SUBJECT, Record
from .scenarios import SCENARIOS

PAGE: Final = ROOT / "docs" / "performance.md"
CHART: Final = ROOT / "docs" / "performance.svg"


class Column(NamedTuple):
    """One figure of a table."""

    head: str
    scenario: str
    metric: str = ""


TABLES: Final[dict[str, tuple[str, Sequence[Column]]]] = {
    "streams": (
        "Streams, CPU µs per event (x bedrock_async)",
        (
            Column("one stream", "coalesced"),
            Column("64 saturated", "saturated"),
            Column("64 burst", "burst"),
            Column("tool input", "tool"),
            Column("decode only", "decode"),
        ),
    ),
    "calls": (
        "Calls, CPU µs per call (x bedrock_async); time to the first event, µs",
        (
            Column("converse", "converse"),
            Column("converse, 64 in flight", "converse64"),
            Column("1 MB request", "history"),
            Column("1 MB answer", "large"),
            Column("first event", "first-event"),
        ),
    ),
    "tls": (
        "Over TLS, CPU µs (x bedrock_async)",
        (
            Column("one stream", "coalesced-tls"),
            Column("64 saturated", "saturated-tls"),
            Column("64 burst", "burst-tls"),
            Column("converse", "converse-tls"),
            Column("converse, 64 in flight", "converse64-tls"),
            Column("first event", "first-event-tls"),
        ),
    ),
    "many": (
        "1,000 streams: 30 tokens per second each, and open without an event",
        (
            Column("CPU of a core, %", "paced"),
            Column("late, median ms", "paced", "late_p50_ms"),
            Column("late, p99 ms", "paced", "late_p99_ms"),
            Column("TLS: CPU, %", "paced-tls"),
            Column("TLS: late, p99 ms", "paced-tls", "late_p99_ms"),
            Column("KiB each", "memory"),
            Column("TLS: KiB each", "memory-tls"),
            Column("bytes kept per event", "growth"),
        ),
    ),
    "cold": (
        "A cold process, CPU ms beyond an interpreter with asyncio",
        (
            Column("to the end of the first stream", "cold"),
            Column("import", "cold", "import_ms"),
            Column("first client", "cold", "client_ms"),
            Column("first stream", "cold", "call_ms"),
            Column("a further client", "cold", "again_ms"),
            Column("modules", "cold", "modules"),
            Column("MiB", "cold", "mib"),
        ),
    ),
    "sweep-streams": (
        "CPU µs per event by the number of streams, 16 frames per write",
        tuple(Column(f"{point:,}", "streams", str(point)) for point in SCENARIOS["streams"].points),
    ),
    "sweep-frames": (
        "CPU ns per byte by the characters of each event, in chunks of 16 KiB",
        tuple(Column(f"{point:,}", "frame-sizes", str(point)) for point in SCENARIOS["frame-sizes"].points),
    ),
    "sweep-chunks": (
        "CPU ns per byte by the bytes of each HTTP chunk, events of 200 characters",
        tuple(Column(f"{point:,}", "chunk-sizes", str(point)) for point in SCENARIOS["chunk-sizes"].points),
    ),
}


def write(taken: Record) -> None:
    """Write the page's generated parts and the chart."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), taken), encoding="utf-8")
    CHART.write_text(chart.svg(taken), encoding="utf-8")


def filled(page: str, taken: Record) -> str:
    """Return the page with the run's tables between its markers. Raises KeyError for a marker of an unknown table."""
    parts = parts_of(taken)

    def part(found: re.Match[str]) -> str:
        return f"{found[1]}\n{parts[found[2]]}\n{found[3]}"

    return re.sub(r"(<!-- begin ([a-z-]+) -->)\n.*?(<!-- end \2 -->)", part, page, flags=re.DOTALL)


def parts_of(taken: Record) -> dict[str, str]:
    """Return every generated part by its name."""
    parts = {name: _table(taken, title, columns) for name, (title, columns) in TABLES.items()}
    return {"run": _run(taken), "versions": _versions(taken), "targets": _targets(taken), **parts}


def _run(taken: Record) -> str:
    quick = f" A quick look, with 1/{taken.divisor} of the events and calls." if taken.divisor > 1 else ""
    how = f"{taken.rounds} rounds, {taken.pinned}"
    again = f" Measured again later: {', '.join(taken.again)}." if taken.again else ""
    when = f"taken {taken.taken[:10]}.{again}"
    return f"CPython {taken.python}, {taken.machine}; {how}; {when}{quick}"


def _versions(taken: Record) -> str:
    rows = [(title, versions) for title, versions in report.versions_of(taken) if versions]
    return _markdown(("client", "versions"), rows, left=2)


def _targets(taken: Record) -> str:
    return _markdown(("target", "found", ""), report.target_rows(taken), left=1)


def _table(taken: Record, title: str, columns: Sequence[Column]) -> str:
    """Return one table: clients that have a figure in it, the cheapest in the first column first."""
    main = columns[0].scenario
    clients = sorted(taken.clients, key=lambda client: _key(taken, client, main))
    rows: list[tuple[str, ...]] = []
    reasons: dict[str, list[str]] = {}
    for client in clients:
        cells = [_cell(taken, client, column) for column in columns]
        name = taken.clients[client].title
        for column, cell in zip(columns, cells, strict=True):
            if not cell:
                reason = report.why_not(taken.cell(column.scenario, client))
                reasons.setdefault(f"{name}: {reason}", []).append(column.head)
        if any(cells):
            bold = f"**{name}**" if client == SUBJECT else name
            rows.append((bold, *(cell or "-" for cell in cells)))
    notes = [f"- {reason} ({_heads(heads, columns)})" for reason, heads in reasons.items()]
    table = f"**{title}**\n\n{_markdown(('client', *(column.head for column in columns)), rows, left=1)}"
    if not notes:
        return table
    return f"{table}\n\n<details><summary>No figure, and why</summary>\n\n" + "\n".join(notes) + "\n\n</details>"


def _heads(heads: Sequence[str], columns: Sequence[Column]) -> str:
    return "everything here" if len(heads) == len(columns) else ", ".join(heads)


def _key(taken: Record, client: str, scenario: str) -> tuple[bool, float]:
    median = taken.median(scenario, client)
    return median is None, median or 0.0


def _cell(taken: Record, client: str, column: Column) -> str:
    median = taken.median(column.scenario, client, column.metric)
    if median is None:
        return ""
    ratio = None if column.metric or client == SUBJECT else taken.ratio(column.scenario, client, SUBJECT)
    return report.figure(median) + (f" (x {report.figure(ratio.median)})" if ratio else "")


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]], *, left: int) -> str:
    rule = ["---" if number < left else "--:" for number in range(len(heads))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rule, *rows))


def main() -> None:
    """Write the page and the chart from the recorded run."""
    taken = record.load()
    if taken is None:
        sys.exit(f"there is no recorded run: {record.RECORDED} is made by python -m benchmarks --peers --record")
    write(taken)


if __name__ == "__main__":
    main()
