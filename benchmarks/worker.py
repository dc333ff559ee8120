"""One measurement in a fresh process: ``python -m benchmarks.worker PEER SCENARIO DIVISOR URL`` prints one JSON line.

It runs in the client's own environment, pinned to the client's core.
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Final
from urllib.parse import quote, urlsplit

from .contract import Client, Conversation, Peer
from .machine import pin, raise_open_files, resident_bytes
from .peers import peer
from .scenarios import DECODE_PIECE_BYTES, OVERHEAD_EVENTS, SCENARIOS, TOKENS_PER_S, Plan, Scenario

Figures = dict[str, float]

_WARM_UP: Final = Plan(events=OVERHEAD_EVENTS + 40, frames_per_write=4)
_PATIENCE_S: Final = 60.0
_OPENED_AT_A_TIME: Final = 10
_GROWTH_FROM: Final = 2_000


class IncompleteError(AssertionError):
    """The client did not hand on all that the server sent."""


async def main(subject: Peer, scenario: Scenario, url: str) -> Figures:
    """Open the client, let it warm up, and measure."""
    async with subject.opened(url) as client:
        conversation = client.conversation(_turns(scenario))
        if scenario.kind == "converse":
            await client.converse(scenario.plan.model_id, conversation)
        else:
            await _streamed(client, _WARM_UP._replace(content=scenario.plan.content), conversation)
        gc.collect()
        figures = await _MEASURES[scenario.kind](client, scenario, conversation)
        if scenario.kind in {"memory", "paced"}:
            # Nobody needs a thousand streams closed in good order; the figures are there.
            _print(figures)
            os._exit(0)
        return figures


def _turns(scenario: Scenario) -> list[str]:
    turns, characters = scenario.history
    text = ("Write a sentence about foxes. " * (characters // 30 + 1))[:characters]
    return [text] * turns


async def _streamed(client: Client, plan: Plan, conversation: Conversation) -> None:
    """Read one stream and hold the client to every character of it."""
    texts: list[str] = []
    read = client.tool_stream if plan.content == "tool" else client.stream
    await read(plan.model_id, conversation, texts.append)
    characters = sum(map(len, texts))
    if characters != plan.characters():
        raise IncompleteError(f"{characters} of {plan.characters()} characters of a stream were handed on")


async def _stream(client: Client, scenario: Scenario, conversation: Conversation) -> Figures:
    plan = scenario.plan

    async def work() -> None:
        for _ in range(scenario.repeats):
            await asyncio.gather(*(_streamed(client, plan, conversation) for _ in range(scenario.concurrency)))

    return await _timed(work, plan.events * scenario.concurrency * scenario.repeats)


async def _converse(client: Client, scenario: Scenario, conversation: Conversation) -> Figures:
    model = scenario.plan.model_id

    async def task() -> None:
        for _ in range(scenario.repeats):
            if not await client.converse(model, conversation):
                raise IncompleteError("an answer without text")

    async def work() -> None:
        await asyncio.gather(*(task() for _ in range(scenario.concurrency)))

    await work()  # opens the connections; the first calls of some clients cost much more than all later ones
    gc.collect()
    return await _timed(work, scenario.concurrency * scenario.repeats)


async def _timed(work: Callable[[], Awaitable[None]], units: int) -> Figures:
    cpu, wall = time.process_time(), time.perf_counter()
    await work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu_us": cpu / units * 1e6, "wall_us": wall / units * 1e6}


async def _first_event(client: Client, scenario: Scenario, conversation: Conversation) -> Figures:
    model = scenario.plan.model_id
    seconds: list[float] = []
    for _ in range(scenario.repeats):
        seen: list[float] = []

        def see(_text: str, seen: list[float] = seen) -> None:
            if not seen:
                seen.append(time.perf_counter())

        started = time.perf_counter()
        await client.stream(model, conversation, see)
        seconds.append(seen[0] - started)
    return {"wall_us": statistics.median(seconds) * 1e6, "p90_us": statistics.quantiles(seconds, n=10)[-1] * 1e6}


async def _paced(client: Client, scenario: Scenario, conversation: Conversation) -> Figures:
    """Compare when each text was seen with when it was due: the processes share the clock."""
    plan = scenario.plan
    late_s: list[float] = []
    began: list[tuple[float, float]] = []
    clock, period_s = time.perf_counter, 1 / TOKENS_PER_S
    offset_s = time.perf_counter() - time.monotonic()

    async def task() -> None:
        seen = 0
        due_s = 0.0

        def see(text: str) -> None:
            nonlocal seen, due_s
            seen += 1
            if seen > 2:
                late_s.append(clock() - due_s)
                due_s += period_s
            elif seen == 2:
                due_s = float(text) + offset_s
                if not began:
                    began.append((time.process_time(), clock()))

        await client.stream(plan.model_id, conversation, see)

    await asyncio.gather(*(task() for _ in range(scenario.concurrency)))
    if len(late_s) != (plan.deltas - 1) * scenario.concurrency:
        raise IncompleteError(f"{len(late_s)} of {(plan.deltas - 1) * scenario.concurrency} events were handed on")
    cpu, wall = began[0]
    cents = statistics.quantiles(late_s, n=100)
    return {
        "cpu_percent": (time.process_time() - cpu) / (time.perf_counter() - wall) * 100,
        "late_p50_ms": cents[49] * 1e3,
        "late_p99_ms": cents[98] * 1e3,
    }


async def _memory(client: Client, scenario: Scenario, conversation: Conversation) -> Figures:
    """Open the streams a few at a time, as a service does: what opening takes for a moment is not theirs to keep."""
    model = scenario.plan.model_id
    seen = 0
    wanted = _OPENED_AT_A_TIME
    opened = asyncio.Event()

    def see(_text: str) -> None:
        nonlocal seen
        seen += 1
        if seen == wanted:
            opened.set()

    tasks: list[asyncio.Task[None]] = []
    gc.collect()
    before, cpu = _resident(), time.process_time()
    while len(tasks) < scenario.concurrency:
        opened.clear()
        tasks += (asyncio.ensure_future(client.stream(model, conversation, see)) for _ in range(_OPENED_AT_A_TIME))
        wanted = len(tasks)
        await _first_of(opened, tasks)
    cpu = time.process_time() - cpu
    gc.collect()
    return {
        "kib": (_resident() - before) / scenario.concurrency / 1024,
        "open_us": cpu / scenario.concurrency * 1e6,
    }


async def _growth(client: Client, scenario: Scenario, conversation: Conversation) -> Figures:
    """Measure what a stream keeps of each of its events when nobody wants the whole response."""
    deltas = scenario.plan.deltas
    first_look = min(_GROWTH_FROM, deltas // 4)
    seen = 0
    resident: list[int] = []

    def see(_text: str) -> None:
        nonlocal seen
        seen += 1
        if seen in {first_look, deltas}:
            resident.append(_resident())

    await client.unkept_stream(scenario.plan.model_id, conversation, see)
    return {"bytes": max(0.0, (resident[1] - resident[0]) / (deltas - first_look))}


async def _streams(client: Client, scenario: Scenario, conversation: Conversation) -> Figures:
    """CPU per event between the first delta of the last stream and the last delta of all: opening is not in it."""
    figures: Figures = {}
    for streams in scenario.points:
        deltas = max(scenario.total // streams, 2)
        plan = scenario.plan._replace(events=deltas + OVERHEAD_EVENTS, streams=streams)
        last = streams * deltas
        seen = 0
        cpu: list[float] = []

        def see(_text: str, streams: int = streams, last: int = last, cpu: list[float] = cpu) -> None:
            nonlocal seen
            seen += 1
            if seen in {streams, last}:
                cpu.append(time.process_time())

        gc.collect()
        await asyncio.gather(*(client.stream(plan.model_id, conversation, see) for _ in range(streams)))
        figures[str(streams)] = (cpu[1] - cpu[0]) / (last - streams) * 1e6
    return figures


async def _bytes(client: Client, scenario: Scenario, conversation: Conversation) -> Figures:
    figures: Figures = {}
    for point in scenario.points:
        plan = scenario.plan
        plan = plan._replace(text_chars=point) if plan.chunk_bytes else plan._replace(chunk_bytes=point)
        plan = plan._replace(events=max(scenario.total // plan.text_chars, 4) + OVERHEAD_EVENTS)
        cpu = time.process_time()
        await _streamed(client, plan, conversation)
        figures[str(point)] = (time.process_time() - cpu) / plan.characters() * 1e9
    return figures


_MEASURES: Final = {
    "stream": _stream,
    "converse": _converse,
    "first-event": _first_event,
    "paced": _paced,
    "memory": _memory,
    "growth": _growth,
    "streams": _streams,
    "bytes": _bytes,
}


async def _first_of(opened: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Wait until all are open. Raises what a task raised, or TimeoutError."""
    waiting = asyncio.ensure_future(opened.wait())
    newest = tasks[-_OPENED_AT_A_TIME:]
    done, _ = await asyncio.wait((waiting, *newest), timeout=_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
    for task in newest:
        if task in done:
            task.result()
    if not waiting.done():
        raise TimeoutError(f"not all of {len(tasks)} streams were open after {_PATIENCE_S:g} s")


def _resident() -> int:
    resident = resident_bytes()
    if resident is None:
        raise OSError("this system does not tell how much memory a process occupies")
    return resident


def decode(subject: Peer, scenario: Scenario, url: str) -> Figures:
    """Measure a decoder on a body in memory: the best of several runs, as nothing but this process is in them."""
    assert subject.decode is not None
    body = _body(scenario.plan, url, native=subject.native)
    pieces = [body[at : at + DECODE_PIECE_BYTES] for at in range(0, len(body), DECODE_PIECE_BYTES)]
    best = float("inf")
    for _ in range(scenario.repeats):
        gc.collect()
        cpu = time.process_time()
        events = subject.decode(pieces)
        best = min(best, time.process_time() - cpu)
        if not scenario.plan.events <= events <= scenario.plan.events + 1:
            raise IncompleteError(f"{events} of {scenario.plan.events} events were decoded")
    return {"cpu_us": best / scenario.plan.events * 1e6}


def _body(plan: Plan, url: str, *, native: bool) -> bytes:
    with closing(http.client.HTTPConnection(urlsplit(url).netloc)) as connection:
        connection.request("GET", f"/model/{quote(plan.model_id, safe='')}/{'native-body' if native else 'body'}")
        return connection.getresponse().read()


def _print(figures: Figures) -> None:
    sys.stdout.write(f"\n{json.dumps(figures)}\n")
    sys.stdout.flush()


def measure(name: str, scenario_name: str, divisor: int, url: str) -> Figures:
    """Measure one client in one scenario."""
    subject = peer(name)
    scenario = SCENARIOS[scenario_name].divided(divisor)
    if scenario.kind == "decode":
        return decode(subject, scenario, url)
    with asyncio.Runner(loop_factory=subject.new_event_loop) as runner:
        return runner.run(main(subject, scenario, url))


if __name__ == "__main__":
    pin("client")
    raise_open_files()
    _print(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
