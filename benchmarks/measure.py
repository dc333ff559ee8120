"""Running it: the server on one core, each client in a process of its own on the other, in random order."""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from . import environments
from .contract import KEYS, REGION, Peer
from .environments import ROOT, Environment, EnvironmentFailedError
from .machine import cores
from .peers import environment_of, peer
from .record import Cell, Measured, Record
from .scenarios import SCENARIOS, Scenario, reason_against

PATIENCE_S: Final = 180.0
"""A measurement that takes longer has failed."""

_KEPT: Final = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens, and the file with the certificate that clients trust."""

    url: str
    tls_url: str
    certificate: Path
    home: Path


@contextmanager
def server() -> Generator[Server]:
    """Run the server in a process of its own, on its core."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.server", folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            ports = process.stdout.readline().split()
            if len(ports) != 2:
                raise RuntimeError("the server did not start")
            plain, tls = ports
            certificate = Path(folder, "ca.pem")
            try:
                yield Server(f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{tls}", certificate, Path(folder))
            finally:
                process.kill()


def measure(
    clients: Sequence[str],
    scenarios: Sequence[str],
    *,
    rounds: int,
    divisor: int,
    python: str | None = None,
    progress: Callable[[str], None] = lambda _line: None,
) -> Record:
    """Measure the clients in the scenarios; what cannot be measured has its reason in the record."""
    made, unmade = _environments(clients, python, progress)
    record = Record(
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        pinned=pinning(),
        python=next((each.packages["python"] for each in made.values()), ""),
        rounds=rounds,
        divisor=divisor,
        clients={name: _measured(name, made.get(name)) for name in clients},
        environments={each.name: each.packages for each in made.values()},
        results={},
    )
    for name in scenarios:
        record.results[name] = {client: Cell(not_offered=_reason(client, name, unmade)) for client in clients}
    with server() as running:
        for number in range(rounds):
            # Clients are compared within a round: all of a scenario run one after the other, in random order.
            for name in random.sample(scenarios, len(scenarios)):
                cells = record.results[name]
                for client in random.sample(clients, len(clients)):
                    cell = cells[client]
                    if cell.reason:
                        continue
                    progress(f"round {number + 1} of {rounds}: {name}, {client}")
                    scenario = SCENARIOS[name]
                    command = _command(scenario, client, made[client].python, divisor, running)
                    _add_round(cell, command, _variables(scenario, running))
    return record


def _environments(
    clients: Sequence[str], python: str | None, progress: Callable[[str], None]
) -> tuple[dict[str, Environment], dict[str, str]]:
    """Return the environment of every client, or the reason why there is none."""
    made: dict[str, Environment] = {}
    unmade: dict[str, str] = {}
    for client in clients:
        name = environment_of(client)
        progress(f"environment {name}")
        try:
            made[client] = environments.environment(name, python)
            if extension := peer(client).extension:
                environments.build_extension(extension, made[client].python)
        except EnvironmentFailedError as exc:
            unmade[client] = f"cannot be installed here: {exc}"
    return made, unmade


def _measured(name: str, made: Environment | None) -> Measured:
    subject: Peer = peer(name)
    packages = made.packages if made else {}
    return Measured(
        title=subject.title,
        kind=subject.kind,
        versions={package: packages[package] for package in subject.packages if package in packages},
    )


def _reason(client: str, scenario: str, unmade: Mapping[str, str]) -> str:
    return reason_against(peer(client), SCENARIOS[scenario]) or unmade.get(client, "")


def _add_round(cell: Cell, command: Sequence[str | Path], variables: Mapping[str, str]) -> None:
    """Add the figures of one process to the cell; one that fails ends the client's part in the scenario."""
    try:
        finished = subprocess.run(
            command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        cell.failed = f"not finished after {PATIENCE_S:g} s"
        return
    if finished.returncode:
        lines = [line for line in finished.stderr.splitlines() if line.strip() and not line.startswith((" ", "+"))]
        cell.failed = (lines[-1] if lines else f"exit status {finished.returncode}")[:200]
        return
    figures: dict[str, float] = json.loads(finished.stdout.strip().splitlines()[-1])
    cell.rounds.append(figures)


def _command(scenario: Scenario, client: str, python: Path, divisor: int, running: Server) -> list[str | Path]:
    url = running.tls_url if scenario.tls else running.url
    if scenario.kind == "cold":
        return [python, "-m", "benchmarks.cold", client, url, scenario.plan.model_id]
    return [python, "-m", "benchmarks.worker", client, scenario.name, str(divisor * peer(client).slow), url]


def _variables(scenario: Scenario, running: Server) -> dict[str, str]:
    """Return the environment variables of a client: credentials, a home without settings, no way out."""
    variables = {name: os.environ[name] for name in _KEPT if name in os.environ}
    variables |= {
        "HOME": str(running.home),
        "AWS_ACCESS_KEY_ID": KEYS[0],
        "AWS_SECRET_ACCESS_KEY": KEYS[1],
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks for a table of prices while it is imported
    }
    if scenario.tls:
        certificate = str(running.certificate)
        variables |= dict.fromkeys(("AWS_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), certificate)
    return variables


def machine() -> str:
    """Return what this runs on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = (line.partition(":") for line in info.read_text(encoding="utf-8").splitlines())
        model = next((value.strip() for name, _, value in lines if name.strip() == "model name"), model)
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def pinning() -> str:
    """Return how processes share the cores."""
    pair = cores()
    if pair is None:
        return "not pinned: this system has one core, or does not let a process choose; figures vary more"
    return f"the client on core {pair[0]}, the server on core {pair[1]}"
