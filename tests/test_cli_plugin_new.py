"""`bedrock-async plugin new`: a package that is complete, whose tests pass, and that overwrites nothing."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from commandline import put_on_path, run
from distributions import build_wheel

from bedrock_async import BedrockClient, Credentials
from bedrock_async.testing import BedrockEmulator, ScriptedModel

ROOT: Final = Path(__file__).parent.parent
KINDS: Final = ("family", "provider")


def begun(folder: Path, name: str = "zebra", kind: str = "family") -> Path:
    """The folder of a new plugin."""
    result = run("plugin", "new", name, "--kind", kind, "--directory", str(folder))
    assert result.exit_code == 0, result.output
    return folder / f"bedrock-async-{name}"


def files_below(folder: Path) -> set[str]:
    """The files of a package."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_complete(tmp_path: Path, kind: str) -> None:
    """Metadata, the typed package, its tests, and what it says of itself; and all of it is told."""
    result = run("plugin", "new", "zebra", "--kind", kind, "-d", str(tmp_path))
    package = tmp_path / "bedrock-async-zebra"
    expected = {
        "README.md",
        "pyproject.toml",
        "bedrock_async_zebra/__init__.py",
        f"bedrock_async_zebra/{kind}.py",
        "bedrock_async_zebra/py.typed",
        "tests/test_zebra.py",
    }
    assert files_below(package) == expected
    assert {line.strip() for line in result.stdout.splitlines() if line.startswith("  ")} == expected
    assert f"cd {package} && pip install -e '.[test]' && pytest" in result.stdout
    for path in expected:
        text = (package / path).read_text("utf-8")
        assert "${" not in text
        assert text or path.endswith("py.typed")


@pytest.mark.parametrize(("kind", "least"), [("family", 40), ("provider", 30)])
def test_its_tests_pass_at_once(tmp_path: Path, kind: str, least: int) -> None:
    """Run by pytest in the package's folder, not installed, with nothing changed: the contract and a client."""
    package = begun(tmp_path, kind=kind)
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= least
    assert "warning" not in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_it_reads_as_our_code_does(tmp_path: Path, kind: str) -> None:
    """The linter and the formatter find nothing in it; which imports are one's own depends on where it stands."""
    package = begun(tmp_path, kind=kind)
    for action in (["check", "--no-cache", "--ignore", "I001"], ["format", "--no-cache", "--check"]):
        command = [sys.executable, "-m", "ruff", *action, "--config", str(ROOT / "pyproject.toml"), str(package)]
        done = subprocess.run(command, cwd=package, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path, in which the wheel of a new family is installed."""
    site = tmp_path / "site"
    with build_wheel(begun(tmp_path), tmp_path / "dist") as wheel:
        wheel.extractall(site)
    put_on_path(monkeypatch, site)
    yield site
    for name in [name for name in sys.modules if name.startswith("bedrock_async_zebra")]:
        del sys.modules[name]


def test_its_wheel_is_found_by_its_models(installed: Path) -> None:
    """Built and installed, the family is there for whoever asks for one of its models, by nothing but the id."""

    async def ask() -> str:
        native = {"says": "Striped.", "ended": "done"}
        async with (
            BedrockEmulator([ScriptedModel([], native=[native])]) as emulator,
            BedrockClient(
                region="us-east-1", endpoint_url=emulator.url, credentials=Credentials("any", "key")
            ) as client,
        ):
            return (await client.converse("us.zebra.chat-1", "What are you?", provider="invoke")).text

    assert asyncio.run(ask()) == "Striped."
    assert (installed / "bedrock_async_zebra" / "py.typed").exists()


def test_its_wheel_is_listed(installed: Path) -> None:
    """`bedrock-async plugins` shows it with its models, before it is imported and after."""
    listed = [line.split() for line in run("plugins").stdout.splitlines() if line.startswith("zebra ")]
    assert listed == [["zebra", "family", "bedrock-async-zebra", "0.1.0", "zebra.*", "installed"]]
    assert "bedrock_async_zebra" not in sys.modules


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Zebra", "zebra"),
        ("zebra_models", "zebra-models"),
        ("bedrock async zebra", "bedrock-async-zebra"),
        ("../zebra", "zebra"),
        ("zebra-", "zebra"),
        ("zebra--x", "zebra-x"),
        ("1zebra", None),
        ("", None),
        ("斑马", None),
        ("z" * 41, "z" * 40),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_names_that_cannot_be_are_refused(tmp_path: Path, kind: str, name: str, near: str | None) -> None:
    """With what a name is, and the nearest that can be; nothing is written."""
    result = run("plugin", "new", name, "--kind", kind, "-d", str(tmp_path))
    assert result.exit_code == 1
    assert f"is not a valid name for a {kind}" in result.stderr
    assert (f"Did you mean {near!r}?" if near else "For example: acme.") in result.stderr
    assert not files_below(tmp_path)


@pytest.mark.parametrize(
    ("kind", "name", "owner"),
    [
        ("family", "anthropic", "bedrock-async-anthropic"),
        ("family", "moonshotai", "bedrock-async-"),
        ("provider", "converse", "bedrock-async"),
        ("provider", "async-invoke", "bedrock-async"),
    ],
)
def test_names_that_are_taken_are_refused(tmp_path: Path, kind: str, name: str, owner: str) -> None:
    """Two distributions of one name would be a conflict."""
    result = run("plugin", "new", name, "--kind", kind, "-d", str(tmp_path))
    assert result.exit_code == 1
    assert f"the {kind} {name!r} already exists: {owner}" in result.stderr
    assert not files_below(tmp_path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Not a plugin that was begun before, and not anything else that stands there."""
    package = begun(tmp_path)
    (package / "README.md").write_text("mine")
    before = {path: (package / path).read_bytes() for path in files_below(package)}
    result = run("plugin", "new", "zebra", "-d", str(tmp_path))
    assert result.exit_code == 1
    assert "already exists" in result.stderr
    assert "Nothing was written" in result.stderr
    assert {path: (package / path).read_bytes() for path in files_below(package)} == before
    (tmp_path / "bedrock-async-lion").write_text("a file of this name")
    assert "already exists" in run("plugin", "new", "lion", "-d", str(tmp_path)).stderr


def test_an_empty_folder_may_be_there(tmp_path: Path) -> None:
    """As version control makes it."""
    (tmp_path / "bedrock-async-zebra").mkdir()
    assert "pyproject.toml" in files_below(begun(tmp_path))


def test_the_place_is_made(tmp_path: Path) -> None:
    """Folders on the way there, too."""
    assert "pyproject.toml" in files_below(begun(tmp_path / "a" / "b"))


def test_a_place_that_cannot_be_is_told(tmp_path: Path) -> None:
    """With the system's reason, and without a traceback."""
    (tmp_path / "file").write_text("")
    result = run("plugin", "new", "zebra", "-d", str(tmp_path / "file"))
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
    assert os.strerror(20) in result.stderr or os.name == "nt"


def test_the_kinds_are_told() -> None:
    """A misspelt kind names those that there are; it is wrong usage."""
    result = run("plugin", "new", "zebra", "--kind", "model")
    assert result.exit_code == 2
    assert "family" in result.stderr
    assert "provider" in result.stderr
