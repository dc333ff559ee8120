"""The targets, as code: what is compared with what, and the limit.

All are ratios within one run, or quantities that a run measures beside them. One is missed when the median lies outside
the limit by more than the run's spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final, Literal, NamedTuple, TypeAlias

from .peers import FASTEST_OF
from .record import SUBJECT, Estimate, Record, estimate
from .scenarios import SCENARIOS

Verdict: TypeAlias = Literal["met", "met within the spread", "missed", "not measured"]

FASTEST: Final = "fastest peer"
ITSELF: Final = "itself"
"""Compared with its own figure at a smaller point of the sweep."""
RAW: Final = "raw-socket"


class Target(NamedTuple):
    """One promise."""

    scenario: str
    limit: float
    against: str = ""
    """A client, `FASTEST`, `ITSELF`; nothing for a quantity."""
    metric: str = ""
    """Of the scenario's metrics; its main one by default."""


class Judgement(NamedTuple):
    """A promise and how a run bears it out."""

    target: Target
    verdict: Verdict
    against: str
    """The client that was compared with."""
    found: Estimate | None


_STREAMING: Final = ("coalesced", "saturated", "burst", "tool", "paced")
_STREAMING_TLS: Final = ("coalesced-tls", "saturated-tls", "burst-tls", "paced-tls")

TARGETS: Final = (
    Target("decode", 1 / 12, "botocore"),
    Target("coalesced", 0.25, FASTEST),
    Target("saturated", 0.45, FASTEST),
    Target("burst", 0.6, FASTEST),
    Target("burst-tls", 0.75, FASTEST),
    *(Target(scenario, 1.3, RAW) for scenario in (*_STREAMING, *_STREAMING_TLS)),
    Target("converse64", 0.3, FASTEST),
    Target("converse64-tls", 0.3, FASTEST),
    Target("converse64", 0.1, "aiobotocore"),
    Target("converse64-tls", 0.1, "aiobotocore"),
    Target("first-event", 0.6, FASTEST),
    Target("cold", 100.0, metric="statement_ms"),
    Target("cold", 0.9, "capo", metric="total_ms"),
    Target("cold", 0.0, metric="call_modules"),
    Target("cold", 1.0, metric="again_ms"),
    Target("memory", 12.0),
    Target("memory-tls", 90.0),
    # A process grows by whole pages and arenas: a few bytes per event of 50,000 are none.
    Target("growth", 8.0),
    Target("streams", 1.25, ITSELF),
    Target("frame-sizes", 1.25, ITSELF),
    Target("chunk-sizes", 1.25, ITSELF),
)


def judge(record: Record, targets: Sequence[Target] = TARGETS) -> list[Judgement]:
    """Hold every target against a run."""
    return [_judged(record, target) for target in targets]


def _judged(record: Record, target: Target) -> Judgement:
    against = fastest(record, target.scenario) if target.against == FASTEST else target.against
    found = _found(record, target, against)
    verdict: Verdict = "not measured"
    if found is not None:
        beyond = found.median - target.limit
        verdict = "met" if beyond <= 0 else "met within the spread" if beyond <= found.spread else "missed"
    return Judgement(target, verdict, against, found)


def _found(record: Record, target: Target, against: str) -> Estimate | None:
    match target.against:
        case "":
            metric = target.metric or SCENARIOS[target.scenario].metrics[0].name
            return estimate(record.cell(target.scenario, SUBJECT).values(metric))
        case "itself":
            return estimate(map(worst_growth, record.cell(target.scenario, SUBJECT).rounds))
        case _:
            return record.ratio(target.scenario, SUBJECT, against, target.metric) if against else None


def fastest(record: Record, scenario: str) -> str:
    """Return the cheapest of the comparable peers in a scenario; nothing where none was measured."""
    medians = {name: median for name in FASTEST_OF if (median := record.median(scenario, name)) is not None}
    return min(medians, key=lambda name: medians[name], default="")


def worst_growth(figures: dict[str, float]) -> float:
    """Return how much more a larger point of a sweep costs than any smaller one, at worst."""
    values = [figures[point] for point in sorted(figures, key=int)]
    return max((later / earlier for earlier, later in combinations(values, 2) if earlier), default=1.0)
