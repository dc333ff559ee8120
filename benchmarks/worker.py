"""One measurement in a fresh process: ``python -m benchmarks.worker CLIENT SCENARIO URL`` prints one JSON line."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time

from . import decoders
from .clients import CLIENTS, Client
from .scenarios import SCENARIOS, Scenario


def pin(core: int) -> None:
    """Keep this process on one core, where the machine has more than one and lets us."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > core:
        os.sched_setaffinity(0, {core})


async def _work(client: Client, scenario: Scenario, *, count: int) -> None:
    async def task() -> None:
        if scenario.kind == "stream":
            assert await client.stream(scenario.model_id)
        else:
            for _ in range(count):
                assert await client.converse(scenario.model_id)

    await asyncio.gather(*(task() for _ in range(scenario.concurrency)))


async def _measure(name: str, scenario: Scenario, url: str) -> tuple[float, float]:
    async with CLIENTS[name](url) as client:
        await _work(client, scenario, count=2)
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        await _work(client, scenario, count=scenario.count)
        return time.process_time() - cpu, time.perf_counter() - wall


def _decode(name: str, scenario: Scenario) -> tuple[float, float]:
    pieces = decoders.body(scenario.count)
    decode = decoders.DECODERS[name]
    assert decode(pieces) == scenario.count
    cpu, wall = time.process_time(), time.perf_counter()
    decode(pieces)
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    """Measure, and print CPU and wall microseconds per unit."""
    name, scenario_name, url = sys.argv[1:4]
    scenario = SCENARIOS[scenario_name]
    pin(0)
    if scenario.kind == "decode":
        cpu, wall = _decode(name, scenario)
    else:
        cpu, wall = asyncio.run(_measure(name, scenario, url))
    result = {"cpu_us": cpu / scenario.units * 1e6, "wall_us": wall / scenario.units * 1e6}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
