"""Calls and streams through a mix of faults for minutes: ``python scripts/soak.py --seconds 600``.

Prints, every few seconds, rates, outcomes, memory and open descriptors of this process, which holds the client and the
emulator. Ends with an error when a text came out wrong, a call outlived its limits, or memory or descriptors grew.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from bedrock_async import BedrockClient, BedrockError, Credentials, StandardRetry, Timeouts
from bedrock_async.testing import BedrockEmulator, Chaos, Fault, ReceivedRequest, ScriptedModel, text_events

MODEL: Final = "us.amazon.nova-lite-v1:0"
LIMIT_S: Final = 30.0
"""No call takes longer than this: its own limits are far shorter."""

GROWTH: Final = 1.2
"""By how much memory may grow between the first third of the run and its end."""

# The service's own duplicates are handed on as they come, which the check of the texts would take for a fault of ours.
FAULTS: Final = tuple(fault for fault in Fault if fault not in {Fault.DUPLICATED, Fault.REORDERED})


def main() -> int:
    """Run, print, and return how many things went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=0.2, help="the share of requests that meet a fault")
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--transport", default="native", choices=("native", "aiohttp", "httpx"))
    return asyncio.run(_soak(parser.parse_args()))


class _Soak:
    """What happened so far."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.number = 0

    async def work(self, client: BedrockClient, until: float) -> None:
        while time.monotonic() < until and not self.wrong:
            self.number += 1
            number = self.number
            try:
                async with asyncio.timeout(LIMIT_S):
                    text = await (_streamed if number % 4 == 0 else _whole)(client, number)
            except BedrockError as exc:
                self.outcomes[type(exc).__name__] += 1
            except TimeoutError:
                self.wrong.append(f"call {number} took longer than {LIMIT_S:g} s")
            else:
                self.outcomes["answered"] += 1
                if text != _text(number):
                    self.wrong.append(f"call {number} was answered with {text!r}")


async def _soak(options: argparse.Namespace) -> int:
    soak = _Soak()
    chaos = Chaos(options.rate, faults=FAULTS, seed=options.seed)
    rows: list[tuple[int, int]] = []
    async with BedrockEmulator([ScriptedModel(_answer)], chaos=chaos, keep_requests=100) as emulator:
        client = BedrockClient(
            region="us-east-1",
            endpoint_url=emulator.url,
            credentials=Credentials("AKIDEXAMPLE", "secret"),
            transport=options.transport,
            retry=StandardRetry(base_delay_s=0.01, model_not_ready_delay_s=(0.01, 0.02)),
            timeouts=Timeouts(connect_s=5.0, first_event_s=1.0, idle_s=1.0, total_s=5.0),
        )
        async with client, asyncio.TaskGroup() as group:
            until = time.monotonic() + options.seconds
            for _ in range(options.workers):
                group.create_task(soak.work(client, until))
            await _report(soak, options.seconds, rows)
    soak.wrong += _grown(rows)
    for line in soak.wrong:
        sys.stdout.write(f"WRONG: {line}\n")
    sys.stdout.write(f"{soak.outcomes.total():,} calls: {_listed(soak.outcomes)}\n")
    return len(soak.wrong)


async def _report(soak: _Soak, seconds: float, rows: list[tuple[int, int]]) -> None:
    every_s = max(seconds / 60, 1.0)
    sys.stdout.write("seconds  calls/s  answered  memory MiB  descriptors\n")
    started, before = time.monotonic(), 0
    while time.monotonic() - started < seconds and not soak.wrong:
        await asyncio.sleep(every_s)
        done = soak.outcomes.total()
        rows.append((_memory_kib(), _descriptors()))
        share = soak.outcomes["answered"] / max(done, 1)
        elapsed, rate = time.monotonic() - started, (done - before) / every_s
        sys.stdout.write(f"{elapsed:7.0f}  {rate:7.0f}  {share:8.1%}  {rows[-1][0] / 1024:10.1f}  {rows[-1][1]:11}\n")
        sys.stdout.flush()
        before = done


def _grown(rows: Sequence[tuple[int, int]]) -> list[str]:
    """Return what grew between the first third of the run and its end."""
    if len(rows) < 6:
        return []
    third, last = rows[: len(rows) // 3], rows[-len(rows) // 3 :]
    memory, descriptors = (max(row[column] for row in third) for column in (0, 1))
    grown: list[str] = []
    if min(row[0] for row in last) > memory * GROWTH:
        grown.append(f"memory grew from {memory / 1024:.0f} to {last[-1][0] / 1024:.0f} MiB")
    if min(row[1] for row in last) > descriptors * GROWTH:
        grown.append(f"open descriptors grew from {descriptors} to {last[-1][1]}")
    return grown


async def _whole(client: BedrockClient, number: int) -> str:
    return (await client.converse(MODEL, str(number))).text


async def _streamed(client: BedrockClient, number: int) -> str:
    async with client.stream(MODEL, str(number)) as stream:
        return "".join([text async for text in stream.text_stream])


def _answer(request: ReceivedRequest) -> list[Any]:
    body = cast("Mapping[str, Any]", request.json())
    return list(text_events(_text(int(body["messages"][0]["content"][0]["text"]))))


def _text(number: int) -> str:
    return " ".join(f"{number}.{word}" for word in range(8))


def _memory_kib() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        return int(next(line for line in status.read_text("ascii").splitlines() if line.startswith("VmRSS")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _descriptors() -> int:
    folder = Path("/dev/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def _listed(outcomes: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in outcomes.most_common())


if __name__ == "__main__":
    sys.exit(main())
