"""What a run measured, as it is kept: JSON of its own machine, versions and every single figure."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from .scenarios import SCENARIOS, Metric

FOLDER: Final = Path(__file__).resolve().parent / "results"
RECORDED: Final = FOLDER / "recorded.json"
"""The last recorded table: committed, compared with by every later run, and shown in docs/performance.md."""

SUBJECT: Final = "ours"


class Cell(msgspec.Struct, omit_defaults=True):
    """One client in one scenario: its figures of every round, or why there are none."""

    rounds: list[dict[str, float]] = []
    not_offered: str = ""
    failed: str = ""

    @property
    def reason(self) -> str:
        """Why there are no figures; empty where there are some."""
        if self.failed:
            return f"failed: {self.failed}"
        return self.not_offered

    def values(self, metric: str) -> list[float]:
        """Return the figure of every round."""
        return [figures[metric] for figures in self.rounds if metric in figures]


class Measured(msgspec.Struct):
    """One client of a run."""

    title: str
    kind: str
    versions: dict[str, str]


class Record(msgspec.Struct):
    """One run."""

    taken: str
    """UTC, ISO 8601."""
    machine: str
    pinned: str
    python: str
    rounds: int
    divisor: int
    """By how much the counts of events and calls were divided: 1 in a full run."""
    clients: dict[str, Measured]
    environments: dict[str, dict[str, str]]
    """Every installed distribution and its version."""
    results: dict[str, dict[str, Cell]]
    again: dict[str, str] = {}
    """When scenarios were measured once more that are part of this run; UTC, ISO 8601."""

    def cell(self, scenario: str, client: str) -> Cell:
        """Return a cell; one that was not measured is empty."""
        return self.results.get(scenario, {}).get(client) or Cell()

    def check_part(self, clients: Collection[str], *, rounds: int, divisor: int) -> None:
        """Leave the program with a message unless a part measured in this way can become a part of this run."""
        if {*clients} != {*self.clients} or (rounds, divisor) != (self.rounds, self.divisor):
            sys.exit(
                f"a part of the recorded run is recorded with all its {len(self.clients)} clients (--peers) and "
                f"--rounds {self.rounds}; without scenarios, all of it is recorded anew."
            )

    def with_scenarios_of(self, later: Record) -> Record:
        """Return this run with the scenarios of a later one in the place of its own.

        Ratios are taken within a scenario, so that a part may be measured again. Raises ValueError where the machine,
        the Python or the clients differ.
        """
        names = ("machine", "pinned", "python", "rounds", "divisor")
        differing = [name for name in names if getattr(self, name) != getattr(later, name)]
        if {*self.clients} != {*later.clients}:
            differing.append("clients")
        if differing:
            raise ValueError(f"the recorded run has other {', '.join(differing)}: record all scenarios")
        again = {**self.again, **dict.fromkeys(later.results, later.taken)}
        return msgspec.structs.replace(later, taken=self.taken, results={**self.results, **later.results}, again=again)

    def median(self, scenario: str, client: str, metric: str = "") -> float | None:
        """Return the median over the rounds, of the scenario's main figure by default."""
        values = self.cell(scenario, client).values(metric or main_metric(scenario).name)
        return statistics.median(values) if values else None

    def ratio(self, scenario: str, client: str, other: str, metric: str = "") -> Estimate | None:
        """Compare two clients round by round: the machine's mood is in both figures of a pair."""
        name = metric or main_metric(scenario).name
        ours, theirs = self.cell(scenario, client).rounds, self.cell(scenario, other).rounds
        return estimate(
            mine[name] / yours[name]
            for mine, yours in zip(ours, theirs, strict=False)
            if name in mine and yours.get(name)
        )


class Estimate(msgspec.Struct, frozen=True):
    """A median and how far the rounds lie apart."""

    median: float
    spread: float
    """The distance between the quartiles of the rounds; 0 for a single round."""


def estimate(values: Iterable[float]) -> Estimate | None:
    """Return median and spread; None for no values."""
    known = list(values)
    if not known:
        return None
    spread = 0.0
    if len(known) > 1:
        low, _, high = statistics.quantiles(known, n=4, method="inclusive")
        spread = high - low
    return Estimate(statistics.median(known), spread)


def main_metric(scenario: str) -> Metric:
    """Return the figure by which clients are compared."""
    return SCENARIOS[scenario].metrics[0]


def load(path: Path = RECORDED) -> Record | None:
    """Return a kept run; None where there is none. Raises msgspec.ValidationError for another form."""
    return msgspec.json.decode(path.read_bytes(), type=Record) if path.exists() else None


def save(record: Record, path: Path) -> None:
    """Keep a run, readable and with stable lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(_rounded(record)), indent=1) + b"\n")


def _rounded(record: Record) -> Record:
    """Four digits are more than any of this machine's figures have."""
    for clients in record.results.values():
        for cell in clients.values():
            cell.rounds = [{name: float(f"{value:.4g}") for name, value in each.items()} for each in cell.rounds]
    return record


def ordered(record: Record, scenario: str) -> Sequence[str]:
    """Return the scenario's clients, the cheapest first, those without figures last."""

    def key(client: str) -> tuple[bool, float]:
        median = record.median(scenario, client)
        return median is None, median or 0.0

    return sorted(record.results.get(scenario, {}), key=key)
