"""The chart of docs/performance.md: how many times ours each client costs, as dots on a logarithmic scale.

A logarithmic scale because the clients lie three orders of magnitude apart; dots, because a bar would need a zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from .record import SUBJECT, Record, main_metric, ordered
from .report import figure

PANELS: Final = (
    ("coalesced", "One stream of 5,000 events", "CPU per event"),
    ("saturated", "64 streams, as fast as possible", "CPU per event"),
    ("burst", "64 streams, one frame per read", "CPU per event"),
    ("converse64", "Calls, 64 in flight", "CPU per call"),
    ("first-event", "Time to the first event", "on loopback"),
    ("cold", "Cold start to the end of the first stream", "CPU"),
)

_WIDTH: Final = 980
_PANEL_WIDTH: Final = 480
_ROW: Final = 17
_HEAD: Final = 46
_FOOT: Final = 26
_LABEL: Final = 168
_VALUE: Final = 108
_GAP: Final = 20
_STYLE: Final = """
    text { font: 11px system-ui, sans-serif; fill: #1f2328; }
    .ground { fill: #ffffff; } .title { font-weight: 600; font-size: 13px; } .what, .scale { fill: #59636e; }
    .grid { stroke: #d1d9e0; } .one { stroke: #1f6feb; stroke-dasharray: 3 3; }
    .ours { fill: #1f6feb; } .floor { fill: #8c959f; } .peer { fill: #bc4c00; } text.ours { font-weight: 600; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; } .ground { fill: #0d1117; } .what, .scale { fill: #9198a1; } .grid { stroke: #30363d; }
      .ours { fill: #58a6ff; } .one { stroke: #58a6ff; } .peer { fill: #f0883e; }
    }
"""


class Dot(NamedTuple):
    """One client in one panel."""

    title: str
    kind: str
    """``ours`` is the client that all are compared with; its variants are ``variant``."""
    ratio: float
    value: str


def svg(record: Record) -> str:
    """Return the chart as an SVG document; clients without a figure are not in it."""
    panels = [(dots(record, scenario), title, what) for scenario, title, what in PANELS]
    panels = [panel for panel in panels if panel[0]]
    shapes: list[str] = []
    top = 0
    for at in range(0, len(panels), 2):
        row = panels[at : at + 2]
        height = _HEAD + _FOOT + _ROW * max(len(each) for each, _, _ in row)
        for column, (each, title, what) in enumerate(row):
            shapes += _panel(each, title, what, left=column * (_PANEL_WIDTH + _GAP), top=top)
        top += height
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" width="{_WIDTH}" height="{top}">\n'
        f"<title>The cost of each client as a multiple of bedrock_async's</title>\n<style>{_STYLE}</style>\n"
        f'<rect class="ground" width="{_WIDTH}" height="{top}"/>\n{body}\n</svg>\n'
    )


def dots(record: Record, scenario: str) -> list[Dot]:
    """Return the clients of a panel, the cheapest first."""
    found: list[Dot] = []
    metric = main_metric(scenario)
    for client in ordered(record, scenario):
        ratio = record.ratio(scenario, client, SUBJECT)
        if ratio is not None:
            measured = record.clients[client]
            value = f"{figure(record.median(scenario, client))} {metric.unit.replace('us', 'µs')}"
            kind = "variant" if measured.kind == SUBJECT and client != SUBJECT else measured.kind
            found.append(Dot(measured.title, kind, ratio.median, value))
    return found


def _panel(each: list[Dot], title: str, what: str, *, left: int, top: int) -> Iterator[str]:
    low, high = _decades(dot.ratio for dot in each)
    start, end = left + _LABEL, left + _PANEL_WIDTH - _VALUE
    bottom = top + _HEAD + _ROW * len(each)

    def x(ratio: float) -> float:
        return start + (end - start) * (math.log10(ratio) - low) / (high - low)

    yield f'<text class="title" x="{left + 8}" y="{top + 18}">{escape(title)}</text>'
    yield f'<text class="what" x="{left + 8}" y="{top + 33}">{escape(what)}, multiple of bedrock_async</text>'
    for power in range(low, high + 1):
        at = x(10.0**power)
        kind = "one" if power == 0 else "grid"
        yield f'<line class="{kind}" x1="{at:.1f}" x2="{at:.1f}" y1="{top + _HEAD - 6}" y2="{bottom}"/>'
        yield f'<text class="scale" x="{at:.1f}" y="{bottom + 13}" text-anchor="middle">{10.0**power:g}x</text>'
    for number, dot in enumerate(each):
        middle = top + _HEAD + _ROW * number + _ROW // 2 - 2
        kind = {"ours": "ours", "variant": "ours", "floor": "floor"}.get(dot.kind, "peer")
        name = ' class="ours"' if dot.kind == "ours" else ""
        yield f'<text{name} x="{start - 10}" y="{middle + 4}" text-anchor="end">{escape(dot.title)}</text>'
        yield f'<circle class="{kind}" cx="{x(dot.ratio):.1f}" cy="{middle}" r="4.5"/>'
        label = escape(f"{figure(dot.ratio)}x · {dot.value}")
        yield f'<text class="what" x="{end + 8}" y="{middle + 4}">{label}</text>'


def _decades(ratios: Iterable[float]) -> tuple[int, int]:
    """Return the powers of ten around the ratios, at least one decade of which 1 is a part."""
    logs = [math.log10(ratio) for ratio in ratios]
    low, high = min(0, math.floor(min(logs))), max(0, math.ceil(max(logs)))
    return low, max(high, low + 1)
