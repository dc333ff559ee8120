"""What a run is turned into: ratios within rounds, verdicts, what moved, the page and its chart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import pytest

from benchmarks import chart, docs, record, report
from benchmarks.peers import ALL
from benchmarks.record import Cell, Estimate, Measured, Record, estimate
from benchmarks.scenarios import SCENARIOS
from benchmarks.targets import FASTEST, ITSELF, RAW, TARGETS, Target, fastest, judge, worst_growth

SVG: Final = "{http://www.w3.org/2000/svg}"


def cell(*values: float, metric: str = "cpu_us") -> Cell:
    """Return a cell with one figure in each round."""
    return Cell([{metric: value} for value in values])


def run(results: dict[str, dict[str, Cell]], **members: object) -> Record:
    """Return a run with these results."""
    clients = {name for cells in results.values() for name in cells}
    kinds = {"ours": "ours", RAW: "floor"}
    measured = {name: Measured(f"the {name}", kinds.get(name, "peer"), {name: "1.0"}) for name in sorted(clients)}
    made = Record("2026-01-01T00:00:00+00:00", "a machine", "pinned", "3.13.0", 3, 1, measured, {}, results)
    for name, value in members.items():
        setattr(made, name, value)
    return made


# -- figures


def test_a_part_can_be_measured_again() -> None:
    """All clients of a scenario together: ratios are taken within it. Another machine or another client is refused."""
    first = run({"burst": {"ours": cell(1), "capo": cell(2)}, "saturated": {"ours": cell(3), "capo": cell(4)}})
    later = run({"saturated": {"ours": cell(5), "capo": cell(6)}}, taken="2026-01-02T00:00:00+00:00")
    whole = first.with_scenarios_of(later)
    assert (whole.median("burst", "ours"), whole.median("saturated", "ours")) == (1, 5)
    assert (whole.taken, whole.again) == (first.taken, {"saturated": later.taken})
    for other, what in (
        (run(later.results, python="3.14.0"), "python"),
        (run({"burst": {"ours": cell(5)}}), "clients"),
    ):
        with pytest.raises(ValueError, match=f"the recorded run has other {what}"):
            first.with_scenarios_of(other)


def test_a_part_that_does_not_fit_is_refused_before_it_is_measured() -> None:
    """Measuring takes minutes; the message names the clients and rounds of the recorded run."""
    whole = run({"burst": {"ours": cell(1), "capo": cell(2)}})
    whole.check_part(["capo", "ours"], rounds=3, divisor=1)
    for clients, rounds in ((["ours"], 3), (["capo", "ours"], 2)):
        with pytest.raises(SystemExit, match=r"all its 2 clients \(--peers\) and --rounds 3"):
            whole.check_part(clients, rounds=rounds, divisor=1)


def test_the_spread_is_the_distance_between_the_quartiles() -> None:
    """One wild round widens it little."""
    assert estimate([3.0, 1.0, 2.0]) == Estimate(2.0, 1.0)
    assert estimate([1.0, 1.0, 1.0, 100.0, 1.0]) == Estimate(1.0, 0.0)
    assert estimate([5.0]) == Estimate(5.0, 0.0)
    assert estimate([]) is None


def test_ratios_are_taken_within_a_round() -> None:
    """A machine that was slow for one round was slow for both."""
    taken = run({"burst": {"ours": cell(1, 10, 2), "aiobotocore": cell(2, 20, 4)}})
    assert taken.ratio("burst", "ours", "aiobotocore") == Estimate(0.5, 0.0)
    assert taken.ratio("burst", "ours", "capo") is None


def test_a_run_is_kept_and_read_again(tmp_path: Path) -> None:
    """Figures come back with four digits, reasons as they are."""
    taken = run({"burst": {"ours": cell(1.23456, 2), "capo": Cell(not_offered="why"), "lmux": Cell(failed="how")}})
    path = tmp_path / "folder" / "run.json"
    record.save(taken, path)
    again = record.load(path)
    assert again is not None
    assert again.cell("burst", "ours").values("cpu_us") == [1.235, 2.0]
    assert again.cell("burst", "capo").reason == "why"
    assert again.cell("burst", "lmux").reason == "failed: how"
    assert record.load(tmp_path / "nothing.json") is None


# -- targets


def judged(target: Target, **cells: Cell) -> str:
    """Return the verdict on one target."""
    (judgement,) = judge(
        run({target.scenario: {name.replace("_", "-"): each for name, each in cells.items()}}), [target]
    )
    return judgement.verdict


def test_a_ratio_beyond_the_limit_by_more_than_the_spread_is_missed() -> None:
    """Met, met within the spread, missed, and not measured."""
    target = Target("burst", 0.5, "capo")
    assert judged(target, ours=cell(1, 1, 1), capo=cell(2, 2, 2)) == "met"
    assert judged(target, ours=cell(1.1, 0.9, 1.3), capo=cell(2, 2, 2)) == "met within the spread"
    assert judged(target, ours=cell(1.1, 1.1, 1.1), capo=cell(2, 2, 2)) == "missed"
    assert judged(target, ours=cell(1, 1, 1)) == "not measured"
    assert judged(target, capo=cell(1, 1, 1)) == "not measured"


def test_a_quantity_is_held_against_its_limit() -> None:
    """Nothing is compared with; a limit of nothing can be met."""
    assert judged(Target("memory", 12.0), ours=cell(11, metric="kib")) == "met"
    assert judged(Target("memory", 12.0), ours=cell(13, metric="kib")) == "missed"
    nothing = Target("cold", 0.0, metric="call_modules")
    assert judged(nothing, ours=cell(0, metric="call_modules")) == "met"
    assert judged(nothing, ours=cell(1, metric="call_modules")) == "missed"


def test_the_fastest_peer_is_the_best_of_the_comparable_ones() -> None:
    """A floor, a variant of ours or a framework is none."""
    taken = run(
        {"burst": {"raw-socket": cell(1), "ours": cell(2), "strands": cell(3), "capo": cell(9), "lmux": cell(5)}}
    )
    assert fastest(taken, "burst") == "lmux"
    assert fastest(taken, "coalesced") == ""


def test_a_sweep_is_flat_when_no_point_costs_more_than_a_smaller_one() -> None:
    """Points are compared in their order, whatever their names' order; getting cheaper is flat."""
    assert worst_growth({"1000": 3.0, "1": 2.0, "64": 1.0}) == 3.0
    assert worst_growth({"1": 3.0, "64": 2.0, "1000": 1.0}) < 1.0
    sweep = Cell([{"1": 2.0, "8": 2.4}])
    assert judged(Target("streams", 1.25, ITSELF), ours=sweep) == "met"
    assert judged(Target("streams", 1.1, ITSELF), ours=sweep) == "missed"


def test_targets_name_what_is_measured() -> None:
    """A target of a scenario, metric or client that nobody measures could never be missed."""
    for target in TARGETS:
        metrics = {metric.name for metric in SCENARIOS[target.scenario].metrics}
        assert target.metric in {"", *metrics}
        assert target.against in {"", FASTEST, ITSELF, *ALL}


# -- the report


def test_the_table_shows_figures_ratios_and_reasons() -> None:
    """The cheapest first; who has no figure comes last, with the reason."""
    cells = {
        "capo": cell(4, 4, 8),
        "ours": cell(1, 1, 2),
        "lmux": Cell(not_offered="why"),
        "strands": Cell(failed="how"),
    }
    lines = report.table(run({"burst": cells}), "burst").splitlines()
    assert lines[0] == f"{SCENARIOS['burst'].title}  [burst]"
    assert lines[2].split() == ["the", "ours", "1.00", "1.00-2.00", "1.00"]
    assert lines[3].split() == ["the", "capo", "4.00", "4.00-8.00", "4.00"]
    assert {" ".join(line.split()) for line in lines[4:]} == {"the lmux not offered: why", "the strands failed: how"}


def test_the_report_judges_only_what_was_run() -> None:
    """A run of one scenario says nothing of the others; a peer that was not run is not measured."""
    text = report.text(run({"burst": {"ours": cell(1, 1, 1), RAW: cell(1, 1, 1)}}), None)
    assert "burst: at most 1.3x raw-socket" in text
    assert re.search(r"burst: at most 0\.6x fastest peer +- +not measured", text)
    assert "coalesced" not in text


def moves(now: Cell, then: Cell, *, rounds: int = 3) -> list[str]:
    """Return what moved in a scenario between two runs in which two other clients stayed as they were."""
    steady = {"capo": cell(10, 10, 10), "lmux": cell(20, 20, 20)}
    runs = [run({"burst": {"ours": each, **steady}}, rounds=rounds) for each in (now, then)]
    return list(report.moves_since(runs[0], runs[1]))


def test_what_moved_is_what_changed_by_more_than_both_spreads() -> None:
    """A change within the spread, or of a twentieth, is none; both directions count."""
    dearer, cheaper = moves(cell(6, 6, 6), cell(5, 5, 5)), moves(cell(4, 4, 4), cell(5, 5, 5))
    assert dearer == ["  burst, CPU per event: +20% against 2 of 2 clients (ours / lmux 0.25 -> 0.3 (+20%))"]
    assert cheaper == ["  burst, CPU per event: -20% against 2 of 2 clients (ours / lmux 0.25 -> 0.2 (-20%))"]
    assert moves(cell(5.2, 5.2, 5.2), cell(5, 5, 5)) == []
    assert moves(cell(5, 6, 7), cell(4, 5, 6)) == []


def test_another_client_that_moved_alone_moves_nothing_of_ours() -> None:
    """Ours has moved where it did so against most of the others."""
    before = {"ours": cell(5, 5, 5), "capo": cell(10, 10, 10), "lmux": cell(20, 20, 20), "smithy": cell(9, 9, 9)}
    after = before | {"capo": cell(50, 50, 50)}
    assert list(report.moves_since(run({"burst": after}), run({"burst": before}))) == []


def test_a_single_round_moves_nothing_by_a_fifth() -> None:
    """Where nobody knows the spread, only a large change counts."""
    assert moves(cell(6), cell(5), rounds=1) == []
    assert moves(cell(7), cell(5), rounds=1) != []


def test_times_of_another_run_are_not_compared_but_quantities_are() -> None:
    """Kibibytes and modules do not depend on the machine's mood."""
    now, then = (run({"memory": {"ours": Cell([{"kib": kib, "open_us": 10 * kib}] * 3)}}) for kib in (20.0, 10.0))
    assert list(report.moves_since(now, then)) == ["  memory, memory per stream: 10.0 -> 20.0 (+100%)"]
    nothing = run({"cold": {"ours": Cell([{"call_modules": 0.0}] * 3)}})
    some = run({"cold": {"ours": Cell([{"call_modules": 3.0}] * 3)}})
    assert list(report.moves_since(some, nothing)) == ["  cold, modules loaded by the first stream: 0 -> 3.00"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.0064, "0.0064"), (0.5, "0.5"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1,234")],
)
def test_figures_have_three_digits(value: float | None, shown: str) -> None:
    """More would be noise."""
    assert report.figure(value) == shown


# -- the page and its chart


@pytest.fixture(scope="module")
def recorded() -> Record:
    """Return the committed run."""
    taken = record.load()
    assert taken is not None
    return taken


def test_the_page_shows_the_recorded_run(recorded: Record) -> None:
    """docs/performance.md and its chart are what ``python -m benchmarks.docs`` writes: no figure in them is by hand."""
    page = docs.PAGE.read_text(encoding="utf-8")
    assert docs.filled(page, recorded) == page
    assert docs.CHART.read_text(encoding="utf-8") == chart.svg(recorded)


def test_the_page_has_a_place_for_every_table(recorded: Record) -> None:
    """A table that no marker asks for would be lost in silence."""
    places = re.findall(r"<!-- begin ([a-z-]+) -->", docs.PAGE.read_text(encoding="utf-8"))
    assert sorted(places) == sorted(docs.parts_of(recorded))


def test_the_recorded_run_has_all_clients_and_their_versions(recorded: Record) -> None:
    """It is a run of all clients in all scenarios; in each every client has figures or a reason."""
    assert set(recorded.clients) == set(ALL)
    assert set(recorded.results) == set(SCENARIOS)
    for scenario, cells in recorded.results.items():
        for client, each in cells.items():
            assert each.rounds or each.reason, (scenario, client)
    assert all(client.versions for client in recorded.clients.values())


def test_a_table_has_the_figures_ratios_and_reasons() -> None:
    """Who has no figure at all is in the notes, not in the table."""
    results = {column.scenario: {"ours": cell(1, 1, 1)} for column in docs.TABLES["streams"][1]}
    results["coalesced"] |= {"capo": cell(4, 4, 4), "lmux": Cell(not_offered="why")}
    table = docs.parts_of(run(results))["streams"]
    assert "| **the ours** | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 |" in table
    assert "| the capo | 4.00 (x 4.00) | - | - | - | - |" in table
    assert "- the lmux: not offered: why (one stream)" in table


def test_what_is_written_by_hand_stays() -> None:
    """Only what stands between the markers is replaced; a marker of an unknown table is an error."""
    taken = run({"burst": {"ours": cell(1)}})
    page = "by hand\n<!-- begin run -->\nold\n<!-- end run -->\nby hand\n"
    assert re.fullmatch(
        r"by hand\n<!-- begin run -->\nCPython 3\.13.*\n<!-- end run -->\nby hand\n", docs.filled(page, taken)
    )
    with pytest.raises(KeyError, match="nothing"):
        docs.filled("<!-- begin nothing -->\n<!-- end nothing -->", taken)


def test_the_chart_shows_every_client_inside_its_panel() -> None:
    """One dot for each client with a figure, between the scale's ends, and names are escaped."""
    cells = {"ours": cell(2), "capo": cell(30), "raw-socket": cell(1), "strands": Cell(not_offered="why")}
    taken = run({"burst": cells, "coalesced": {"ours": cell(1), "litellm": cell(700)}})
    taken.clients["capo"].title = "<capo> & co"
    drawing = ET.fromstring(chart.svg(taken))  # noqa: S314 - made one line above
    width, height = float(drawing.attrib["width"]), float(drawing.attrib["height"])
    dots = drawing.findall(f"{SVG}circle")
    assert len(dots) == 5
    assert all(0 < float(dot.attrib["cx"]) < width and 0 < float(dot.attrib["cy"]) < height for dot in dots)
    texts = [text.text or "" for text in drawing.findall(f"{SVG}text")]
    assert "<capo> & co" in texts
    assert "15.0x · 30.0 µs" in texts
    assert not any("strands" in text for text in texts)


def test_the_chart_puts_a_client_of_ten_times_the_cost_on_the_line_of_ten() -> None:
    """The scale is logarithmic, and ours stands on the line of one."""
    drawing = ET.fromstring(chart.svg(run({"burst": {"ours": cell(3), "capo": cell(30)}})))  # noqa: S314 - our own
    lines = [float(line.attrib["x1"]) for line in drawing.findall(f"{SVG}line")]
    dots = [float(dot.attrib["cx"]) for dot in drawing.findall(f"{SVG}circle")]
    assert dots == pytest.approx(lines[:2])
