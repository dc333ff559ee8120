"""A run as text: tables for people at a terminal, the targets, and what moved since the last recorded run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from .record import SUBJECT, Cell, Estimate, Record, estimate, main_metric, ordered
from .scenarios import SCENARIOS, Metric
from .targets import FASTEST, ITSELF, TARGETS, Judgement, Target, judge

_SPREAD: Final = "spread"
_TIMES: Final = frozenset({"us", "ms", "ns", "%"})
"""Units of what belongs to the machine; other quantities are compared as they are."""

_LEAST_MOVE: Final = 0.05
"""A ratio that changed by less has not moved, however calm the machine was."""
_LEAST_MOVE_OF_ONE: Final = 0.25
"""As much where one of the runs had a single round: nobody knows how far its figures lie apart."""


def text(record: Record, before: Record | None) -> str:
    """Return the whole report."""
    parts = [header(record), *(table(record, scenario) for scenario in record.results), targets_table(record)]
    if before is not None:
        parts.append(moved_table(record, before))
    return "\n\n".join(parts)


def header(record: Record) -> str:
    """Return what was measured where."""
    lines = [
        f"CPython {record.python}, {record.machine}",
        f"{record.rounds} rounds in random order; {record.pinned}; {record.taken}",
    ]
    if record.divisor > 1:
        lines.append(f"a quick look: 1/{record.divisor} of the events and calls of a full run")
    lines += (f"{name}: {versions}" for name, versions in versions_of(record))
    return "\n".join(lines)


def versions_of(record: Record) -> Iterator[tuple[str, str]]:
    """Return each client and the versions that matter for it."""
    for client in record.clients.values():
        yield client.title, ", ".join(f"{name} {version}" for name, version in client.versions.items())


def table(record: Record, scenario: str) -> str:
    """Return one scenario: median and spread of the main figure, its ratio to ours, and the medians of the others."""
    main, *others = SCENARIOS[scenario].metrics
    heads = [_head(main), _SPREAD, "x ours", *map(_head, others)]
    rows = [_row(record, scenario, client, main, others) for client in ordered(record, scenario)]
    lines = [f"{SCENARIOS[scenario].title}  [{scenario}]", _line("", heads, heads)]
    for title, cells, reason in rows:
        lines.append(f"  {title:<26}{reason}" if reason else _line(title, cells, heads))
    return "\n".join(lines)


def _head(metric: Metric) -> str:
    return f"{metric.title}, {metric.unit}" if metric.unit else metric.title


def _line(title: str, cells: Iterable[str], heads: Iterable[str]) -> str:
    widths = (max(len(head), 15 if head == _SPREAD else 9) + 2 for head in heads)
    return f"  {title:<26}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _row(
    record: Record, scenario: str, client: str, main: Metric, others: Iterable[Metric]
) -> tuple[str, list[str], str]:
    title = record.clients[client].title
    cell = record.cell(scenario, client)
    values = cell.values(main.name)
    if not values:
        return title, [], why_not(cell)
    ratio = record.ratio(scenario, client, SUBJECT)
    cells = [
        figure(record.median(scenario, client)),
        f"{figure(min(values))}-{figure(max(values))}",
        f"{ratio.median:.2f}" if ratio else "",
        *(figure(record.median(scenario, client, metric.name)) for metric in others),
    ]
    return title, cells, ""


def why_not(cell: Cell) -> str:
    """Return why a client has no figure."""
    return cell.reason if cell.failed else f"not offered: {cell.reason}" if cell.reason else "not measured"


def figure(value: float | None) -> str:
    """Return a figure with three digits."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    if value < 1:
        return f"{value:.2g}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def targets_table(record: Record) -> str:
    """Return each target, what was found, and whether it is met."""
    lines = ["Targets"]
    lines += (f"  {promise:<74}{found:>18}  {verdict}" for promise, found, verdict in target_rows(record))
    return "\n".join(lines)


def target_rows(record: Record) -> Iterator[tuple[str, str, str]]:
    """Return each target as (promise, what was found, verdict); scenarios that were not run are left out."""
    for judgement in judge(record, [target for target in TARGETS if target.scenario in record.results]):
        yield promise(judgement.target, judgement.against), _found(judgement.found), _verdict(judgement)


def promise(target: Target, against: str = "") -> str:
    """Return a target in words; ``against`` is the client that the run compared with."""
    metrics = SCENARIOS[target.scenario].metrics
    metric = next((each for each in metrics if each.name == target.metric), metrics[0])
    if not target.against:
        return f"{target.scenario}: {metric.title} at most {figure_of(target.limit)} {metric.unit}".rstrip()
    if target.against == ITSELF:
        return f"{target.scenario}: no point costs more than {target.limit:g}x a smaller one"
    other = target.against
    if other == FASTEST and against:
        other = f"{FASTEST} ({against})"
    limit = f"1/{1 / target.limit:g}" if target.limit < 0.1 else f"{target.limit:g}"
    which = "" if metric == metrics[0] else f" {metric.title}"
    return f"{target.scenario}:{which} at most {limit}x {other}"


def figure_of(limit: float) -> str:
    """Return a limit as it was promised."""
    return f"{limit:g}"


def _found(found: Estimate | None) -> str:
    if found is None:
        return "-"
    return figure(found.median) + (f" +-{figure(found.spread)}" if found.spread else "")


def _verdict(judgement: Judgement) -> str:
    found, limit = judgement.found, judgement.target.limit
    if judgement.verdict != "missed" or found is None or not limit:
        return judgement.verdict
    return f"missed: {found.median / limit:.2f}x the limit"


def moved_table(record: Record, before: Record) -> str:
    """Return what moved since another run by more than both runs' spreads."""
    lines = [f"Since the last recorded run ({before.taken})"]
    if (record.python, record.machine, record.divisor) != (before.python, before.machine, before.divisor):
        lines.append(f"  that was CPython {before.python}, {before.machine}, 1/{before.divisor} of the events")
    moves = list(moves_since(record, before))
    lines += moves or ["  nothing moved by more than the spread"]
    return "\n".join(lines)


class Move(NamedTuple):
    """Something that changed by more than both runs' spreads."""

    what: str
    then: float
    now: float

    @property
    def change(self) -> float:
        """The part by which it grew; infinite for what was nothing."""
        return self.now / self.then - 1 if self.then else math.inf

    def __str__(self) -> str:
        change = f" ({self.change:+.0%})" if self.then else ""
        return f"{self.what} {figure(self.then)} -> {figure(self.now)}{change}"


def moves_since(record: Record, before: Record) -> Iterator[str]:
    """Return a line for each scenario in which ours moved against the others, and each quantity of ours that did.

    Ours moved when it did so against most of the others in the same direction: one that moved alone moved by itself.
    """
    least = _LEAST_MOVE if min(record.rounds, before.rounds) > 1 else _LEAST_MOVE_OF_ONE
    for scenario in record.results:
        moves = list(_against_others(record, before, scenario, least))
        known = [move for move in moves if move is not None]
        for direction in (-1, 1):
            alike = sorted((move for move in known if move.change * direction > 0), key=lambda move: move.change)
            if 2 * len(alike) > len(moves):
                middle = alike[len(alike) // 2]
                yield (
                    f"  {scenario}, {main_metric(scenario).title}: {middle.change:+.0%} against {len(alike)} of "
                    f"{len(moves)} clients (ours / {middle})"
                )
        for metric in SCENARIOS[scenario].metrics:
            if metric.unit not in _TIMES:
                now, then = (estimate(each.cell(scenario, SUBJECT).values(metric.name)) for each in (record, before))
                if move := _move(f"{metric.title}:", now, then, least):
                    yield f"  {scenario}, {move}"


def _against_others(record: Record, before: Record, scenario: str, least: float) -> Iterator[Move | None]:
    """Return for each other client that both runs have how ours moved against it, None where it did not."""
    for client in record.results[scenario]:
        if record.clients[client].kind != "ours":
            now, then = (each.ratio(scenario, SUBJECT, client) for each in (record, before))
            if now is not None and then is not None:
                yield _move(client, now, then, least)


def _move(what: str, now: Estimate | None, then: Estimate | None, least: float) -> Move | None:
    if now is None or then is None:
        return None
    if abs(now.median - then.median) <= max(now.spread + then.spread, least * abs(then.median)):
        return None
    return Move(what, then.median, now.median)
