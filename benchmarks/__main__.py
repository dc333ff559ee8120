"""Run all scenarios and print the table: ``python -m benchmarks [--rounds N] [--json FILE] [SCENARIO ...]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from .clients import CLIENTS
from .decoders import DECODERS
from .scenarios import SCENARIOS, Scenario

_PACKAGES: Final = ("bedrock-async", "aiohttp", "msgspec", "pydantic", "httpx", "aiobotocore", "botocore")
_SUBJECT: Final = "bedrock_async"

Results = dict[str, dict[str, list[float]]]


@contextmanager
def _server() -> Generator[str]:
    """Run the server on the second core, where there is one; its own process, like every client."""
    command = [sys.executable, "-m", "benchmarks.server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
            os.sched_setaffinity(process.pid, {1})
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def _names(scenario: Scenario) -> list[str]:
    return list(DECODERS if scenario.kind == "decode" else CLIENTS)


def _measure(scenarios: list[Scenario], rounds: int, url: str) -> Results:
    results: Results = {scenario.name: {name: [] for name in _names(scenario)} for scenario in scenarios}
    for _ in range(rounds):
        order = [(scenario, name) for scenario in scenarios for name in _names(scenario)]
        random.shuffle(order)
        for scenario, name in order:
            command = [sys.executable, "-m", "benchmarks.worker", name, scenario.name, url]
            finished = subprocess.run(command, capture_output=True, text=True, check=False)
            if finished.returncode:
                sys.exit(f"{name}, {scenario.name}:\n{finished.stderr}")
            results[scenario.name][name].append(json.loads(finished.stdout)["cpu_us"])
            sys.stderr.write(".")
            sys.stderr.flush()
    sys.stderr.write("\n")
    return results


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _machine() -> str:
    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = models[0] if models else cpu
    return f"{platform.python_implementation()} {platform.python_version()}, {cpu}, {os.cpu_count()} cores"


def _table(results: Results) -> str:
    lines: list[str] = []
    for name, clients in results.items():
        scenario = SCENARIOS[name]
        ours = statistics.median(clients[_SUBJECT])
        lines += ["", f"{scenario.title} (CPU us per {scenario.unit})"]
        lines.append(f"  {'':<24}{'median':>9}{'spread':>18}{'x ' + _SUBJECT:>18}")
        for client, values in sorted(clients.items(), key=lambda item: statistics.median(item[1])):
            median = statistics.median(values)
            spread = f"{min(values):.2f}-{max(values):.2f}"
            lines.append(f"  {client:<24}{median:>9.2f}{spread:>18}{median / ours:>18.2f}")
    return "\n".join(lines)


def main() -> None:
    """Measure every client in every scenario, in random order, and print medians, spread and ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; default all")
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes for each cell (5)")
    parser.add_argument("--json", type=Path, help="keep the measurements in this file")
    arguments = parser.parse_args()
    unknown = set(arguments.scenarios) - SCENARIOS.keys()
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}")
    scenarios = [SCENARIOS[name] for name in arguments.scenarios or SCENARIOS]
    with _server() as url:
        results = _measure(scenarios, arguments.rounds, url)
    header = [_machine(), ", ".join(f"{package} {number}" for package, number in _versions().items())]
    header.append(f"{arguments.rounds} rounds; CPU time of the client process; client and server on a core each")
    sys.stdout.write("\n".join(header) + _table(results) + "\n")
    if arguments.json:
        record = {"machine": _machine(), "versions": _versions(), "cpu_us": results}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
