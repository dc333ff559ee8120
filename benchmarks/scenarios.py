"""What is measured: named questions on realistic payloads, shared by the server and all clients.

Nothing but the standard library is imported here, for every client's environment imports it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from .contract import NO_DECODER, Peer

Mode: TypeAlias = Literal["turns", "burst", "paced", "hold", "gate"]
Kind: TypeAlias = Literal[
    "decode", "stream", "converse", "first-event", "paced", "memory", "growth", "streams", "bytes", "cold"
]

WORDS: Final = (" the", " quick", " brown", " fox", " jumps", " over", " a", " lazy", " dog,", " again")
"""The texts of the deltas, over and over."""

TOOL_PIECES: Final = ('{"city"', ': "', "Zur", "ich", '", "da', 'ys": ', "1", "2", "3", "}")
"""The pieces of a tool's input, over and over; only the first ten are one JSON text."""

_LEAST_OF_EACH_STREAM: Final = 16
"""Events that each stream of a sweep has at least, whatever part of the scenario is run."""

BURST_S: Final = 0.02
TOKENS_PER_S: Final = 30
OVERHEAD_EVENTS: Final = 4
"""messageStart, contentBlockStop, messageStop, metadata."""

DECODE_PIECE_BYTES: Final = 8192
"""Decoders get a body in pieces of this size."""

_MODEL: Final = re.compile(r"bench-(text|tool)-([a-z]+)-n(\d+)-w(\d+)-c(\d+)-f(\d+)-s(\d+)-r(\d+)-")


class Plan(NamedTuple):
    """What the server sends; it travels as the model id."""

    mode: Mode = "turns"
    """``turns``: as fast as possible, one write of each stream after the other; ``burst``: one write of every stream
    at the same instant of each 20 ms; ``paced``: 30 frames per second of each stream, evenly spread over them;
    ``hold``: one delta and then nothing; ``gate``: one delta, the rest in turns when all streams are open, and the end
    a second later."""
    events: int = OVERHEAD_EVENTS + 1
    frames_per_write: int = 1
    chunk_bytes: int = 0
    """Cut the body into HTTP chunks of this size, wherever frames end; 0 leaves each write one chunk."""
    text_chars: int = 0
    """Length of each delta's text; 0 means a word."""
    streams: int = 1
    """How many streams ``gate`` and ``paced`` wait for."""
    response_chars: int = 0
    """Length of the text of an answer that is no stream; 0 means a sentence."""
    content: str = "text"
    """``text``, or ``tool`` for the input of a tool."""

    @property
    def model_id(self) -> str:
        """The plan as a model id."""
        return (
            f"anthropic.bench-{self.content}-{self.mode}-n{self.events}-w{self.frames_per_write}-c{self.chunk_bytes}"
            f"-f{self.text_chars}-s{self.streams}-r{self.response_chars}-v1:0"
        )

    @property
    def deltas(self) -> int:
        """Events that carry text or tool input."""
        return self.events - OVERHEAD_EVENTS

    def pieces(self) -> Sequence[str]:
        """Return what the deltas carry, over and over."""
        if self.content == "tool":
            return TOOL_PIECES
        if not self.text_chars:
            return WORDS
        # Different ones: a client takes it for a model's fault when the same text comes again and again.
        text = "".join(WORDS) * (self.text_chars // len("".join(WORDS)) + 2)
        return [text[start : start + self.text_chars] for start in range(len(WORDS))]

    def characters(self) -> int:
        """Return the characters of all deltas of one stream: a client that saw fewer did not read them."""
        pieces = self.pieces()
        return sum(len(pieces[i % len(pieces)]) for i in range(self.deltas))


def plan_of(model_id: str) -> Plan:
    """Return the plan in a model id. Raises ValueError."""
    found = _MODEL.search(model_id)
    if found is None:
        raise ValueError(f"no plan in the model id {model_id!r}")
    content, mode, *numbers = found.groups()
    events, writes, chunk, text, streams, response = map(int, numbers)
    known: dict[str, Mode] = {"turns": "turns", "burst": "burst", "paced": "paced", "hold": "hold", "gate": "gate"}
    return Plan(known[mode], events, writes, chunk, text, streams, response, content)


class Metric(NamedTuple):
    """One figure of a scenario; less is better."""

    name: str
    title: str
    unit: str


_CPU_EVENT: Final = Metric("cpu_us", "CPU per event", "us")
_CPU_CALL: Final = Metric("cpu_us", "CPU per call", "us")
_WALL_CALL: Final = Metric("wall_us", "time per call", "us")
_WALL_EVENT: Final = Metric("wall_us", "time per event", "us")


class Scenario(NamedTuple):
    """One question."""

    name: str
    title: str
    kind: Kind
    metrics: tuple[Metric, ...]
    """The first one is what clients are compared by."""
    plan: Plan = Plan()
    repeats: int = 1
    """Calls of each task, or repetitions."""
    concurrency: int = 1
    tls: bool = False
    points: tuple[int, ...] = ()
    """What a sweep goes through; each point is a metric."""
    total: int = 0
    """Events or bytes at each point of a sweep."""
    history: tuple[int, int] = (1, 29)
    """Turns of the conversation that is sent, and characters in each."""

    def divided(self, by: int) -> Scenario:
        """Return the scenario with that part of its events, calls or bytes; what it asks stays the same."""
        if by == 1:
            return self
        deltas = max(self.plan.deltas // by, min(self.plan.deltas, 10))
        return self._replace(
            plan=self.plan._replace(events=OVERHEAD_EVENTS + deltas),
            repeats=max(self.repeats // by, min(self.repeats, 3)),
            total=max(self.total // by, _LEAST_OF_EACH_STREAM * max(self.points) if self.kind == "streams" else 0),
        )


def _sweep(points: tuple[int, ...], unit: str, what: str) -> tuple[Metric, ...]:
    return tuple(Metric(str(point), f"{point:,} {what}", unit) for point in points)


_STREAM_COUNTS: Final = (1, 8, 64, 512, 2000)
_FRAME_CHARS: Final = (100, 1_000, 10_000, 100_000, 1_000_000)
_CHUNK_BYTES: Final = (256, 4_096, 65_536, 1_048_576)

_PLAIN: Final = (
    Scenario(
        "decode", "decode only, 20,000 frames in 8 KiB pieces", "decode", (_CPU_EVENT,), Plan(events=20_000), repeats=5
    ),
    Scenario(
        "coalesced",
        "one stream of 5,000 events, 64 frames per write",
        "stream",
        (_CPU_EVENT, _WALL_EVENT),
        Plan(events=5_000, frames_per_write=64),
        repeats=4,
    ),
    Scenario(
        "saturated",
        "64 streams of 500 events, one frame per write, as fast as possible",
        "stream",
        (_CPU_EVENT, _WALL_EVENT),
        Plan(events=500),
        concurrency=64,
    ),
    Scenario(
        "burst",
        "64 streams of 120 events, one frame per read: one of every stream in each 20 ms",
        "stream",
        (_CPU_EVENT,),
        Plan("burst", events=120),
        concurrency=64,
    ),
    Scenario(
        "paced",
        "1,000 streams of 30 tokens per second each",
        "paced",
        (
            Metric("cpu_percent", "CPU of a core", "%"),
            Metric("late_p50_ms", "lateness, median", "ms"),
            Metric("late_p99_ms", "lateness, 99th percentile", "ms"),
        ),
        Plan("paced", events=150, streams=1000),
        concurrency=1000,
    ),
    Scenario("converse", "converse, one at a time", "converse", (_CPU_CALL, _WALL_CALL), repeats=400),
    Scenario("converse64", "converse, 64 in flight", "converse", (_CPU_CALL, _WALL_CALL), repeats=40, concurrency=64),
    Scenario(
        "first-event",
        "from the call to the first event",
        "first-event",
        (Metric("wall_us", "median", "us"), Metric("p90_us", "90th percentile", "us")),
        Plan(events=8, frames_per_write=8),
        repeats=200,
    ),
    Scenario(
        "memory",
        "1,000 open streams that wait for their next event",
        "memory",
        (Metric("kib", "memory per stream", "KiB"), Metric("open_us", "CPU to open one", "us")),
        Plan("hold"),
        concurrency=1000,
    ),
)

_MORE: Final = (
    Scenario(
        "tool",
        "one stream of 3,000 pieces of tool input, 16 frames per write",
        "stream",
        (_CPU_EVENT,),
        Plan(events=3_000, frames_per_write=16, content="tool"),
        repeats=3,
    ),
    Scenario(
        "history",
        "a request with 200 messages, 1 MB",
        "converse",
        (_CPU_CALL, _WALL_CALL),
        repeats=20,
        history=(199, 5_000),
    ),
    Scenario(
        "large",
        "an answer of 1 MB that is no stream",
        "converse",
        (_CPU_CALL, _WALL_CALL),
        Plan(response_chars=1_000_000),
        repeats=20,
    ),
    Scenario(
        "growth",
        "one stream of 50,000 events: memory that stays for each",
        "growth",
        (Metric("bytes", "memory per event", "B"),),
        Plan(events=50_000, frames_per_write=64),
    ),
    Scenario(
        "streams",
        "CPU per event by the number of streams, 16 frames per write",
        "streams",
        _sweep(_STREAM_COUNTS, "us", "streams"),
        Plan("gate", frames_per_write=16),
        points=_STREAM_COUNTS,
        total=64_000,
    ),
    Scenario(
        "frame-sizes",
        "CPU per byte by the length of each event's text, in chunks of 16 KiB",
        "bytes",
        _sweep(_FRAME_CHARS, "ns", "characters"),
        Plan(chunk_bytes=16_384),
        points=_FRAME_CHARS,
        total=16_000_000,
    ),
    Scenario(
        "chunk-sizes",
        "CPU per byte by the size of HTTP chunks, texts of 200 characters",
        "bytes",
        _sweep(_CHUNK_BYTES, "ns", "bytes"),
        Plan(text_chars=200),
        points=_CHUNK_BYTES,
        total=8_000_000,
    ),
    Scenario(
        "cold",
        "a cold process",
        "cold",
        (
            Metric("total_ms", "until the first stream ended, CPU", "ms"),
            Metric("statement_ms", "import statement alone", "ms"),
            Metric("import_ms", "import", "ms"),
            Metric("client_ms", "first client", "ms"),
            Metric("call_ms", "first stream", "ms"),
            Metric("again_ms", "a further client", "ms"),
            Metric("modules", "modules loaded", ""),
            Metric("call_modules", "modules loaded by the first stream", ""),
            Metric("mib", "memory added", "MiB"),
        ),
        Plan(events=16, frames_per_write=4),
    ),
)


def _over_tls(scenario: Scenario) -> Scenario:
    return scenario._replace(name=f"{scenario.name}-tls", title=f"{scenario.title}, over TLS", tls=True)


SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (*_PLAIN, *(_over_tls(each) for each in _PLAIN if each.kind != "decode"), *_MORE)
}


def reason_against(peer: Peer, scenario: Scenario) -> str | None:
    """Return why the client has no figure in the scenario, None where it has one."""
    if scenario.kind == "decode":
        return None if peer.decode else peer.not_offered.get("decode", NO_DECODER)
    for key in (scenario.name, scenario.kind, "tls" if scenario.tls else "", "*"):
        if key in peer.not_offered:
            return peer.not_offered[key]
    streams = max((scenario.concurrency, *(scenario.points if scenario.kind == "streams" else ())))
    if scenario.kind != "converse" and streams > peer.max_streams:
        return f"{peer.max_streams} streams at a time: {peer.max_streams_reason}"
    return None
