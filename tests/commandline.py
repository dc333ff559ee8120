"""The command line under test: in this process for speed, as a process of its own where that matters."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from typer.testing import CliRunner, Result

from bedrock_async.cli.app import app
from bedrock_async.testing import BedrockEmulator, ServedModel

COMMAND: Final = (sys.executable, "-m", "bedrock_async.cli")
MODEL: Final = "us.amazon.nova-lite-v1:0"
CREDENTIALS: Final[Mapping[str, str]] = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AWS_REGION": "us-east-1",
}


def run(*arguments: str, input: str | bytes | None = None, env: Mapping[str, str | None] | None = None) -> Result:  # noqa: A002
    """Run a command in this process; stdin and stdout are pipes. A bug's exception is raised here."""
    return CliRunner().invoke(app, arguments, input=input, env=env, catch_exceptions=False)


def spawn(*arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start a command as a process of its own, with pipes for its output."""
    return subprocess.Popen([*COMMAND, *arguments], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@contextmanager
def serving(*models: ServedModel) -> Generator[tuple[BedrockEmulator, BlockingPortal]]:
    """Serve the models from another thread; the portal calls functions there."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(BedrockEmulator(models)) as emulator,
    ):
        yield emulator, portal


def put_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let this process, for the time of the test, import from ``folder`` first."""
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    importlib.invalidate_caches()


def install(
    folder: Path,
    name: str,
    *,
    modules: Mapping[str, str] | None = None,
    entry_points: Mapping[str, Iterable[str]] | None = None,
    version: str = "1.2.3",
) -> None:
    """Write a distribution into ``folder``: once that is on the path, it is installed, and hides any of its name."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"[{group}]\n" + "\n".join(points) for group, points in (entry_points or {}).items()]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, source in (modules or {}).items():
        (folder / f"{module}.py").write_text(source)
