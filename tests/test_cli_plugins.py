"""`bedrock-async plugins`: what is installed, and whether it works."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from commandline import install, put_on_path, run

import bedrock_async

PROVIDERS = "bedrock_async.providers"
MODELS = "bedrock_async.emulator_models"


def rows(stdout: str) -> dict[str, list[str]]:
    """Return the cells of the table by name: kind, distribution, version, state."""
    lines = [line.split("  ") for line in stdout.splitlines() if "  " in line]
    return {cells[0]: [cell.strip() for cell in cells[1:] if cell.strip()] for cells in lines}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that is on the path."""
    put_on_path(monkeypatch, tmp_path)
    return tmp_path


def test_what_is_built_in_is_listed() -> None:
    """The built-in provider and models are there once, of this distribution and version."""
    result = run("plugins")
    listed = rows(result.stdout)
    version = bedrock_async.__version__
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split() == ["name", "kind", "distribution", "version", "state"]
    assert listed["converse"] == ["provider", "bedrock-async", version, "installed"]
    assert listed["scripted"] == ["emulator model", "bedrock-async", version, "built in"]
    assert sum(line.startswith("converse ") for line in result.stdout.splitlines()) == 1


def test_listing_imports_nothing(folder: Path) -> None:
    """A plugin that would crash at import is listed; its module is not touched."""
    install(folder, "broken-plugin", entry_points={PROVIDERS: ["broken = no_such_module_anywhere:Provider"]})
    result = run("plugins")
    assert rows(result.stdout)["broken"] == ["provider", "broken-plugin", "1.2.3", "installed"]
    assert result.exit_code == 0
    assert "no_such_module_anywhere" not in sys.modules


def test_checking_tells_the_broken_from_the_others(folder: Path) -> None:
    """`--check` imports each: the culprit is named with its fault, status 1, and the others are ok."""
    install(
        folder,
        "two-models",
        modules={
            "two_models": "from bedrock_async.testing import ScriptedModel\n\nclass Good(ScriptedModel):\n"
            "    def __init__(self):\n        super().__init__([])\n"
        },
        entry_points={MODELS: ["good = two_models:Good", "bad = two_models:Missing"]},
    )
    install(folder, "broken-plugin", entry_points={PROVIDERS: ["broken = no_such_module_anywhere:Provider"]})
    # Hides the real one, which would load an inference engine.
    install(folder, "bedrock-async-local")
    result = run("plugins", "--check")
    listed = rows(result.stdout)
    assert result.exit_code == 1
    assert {name: listed[name][-1] for name in ("converse", "good", "bad", "broken")} == {
        "converse": "ok",
        "good": "ok",
        "bad": "failed",
        "broken": "failed",
    }
    assert "two-models" in result.stdout.splitlines()[-2] + result.stdout.splitlines()[-1]
    assert "No module named 'no_such_module_anywhere'" in result.stdout


def test_two_claims_to_one_name_are_a_conflict(folder: Path) -> None:
    """Both distributions are named, without importing either, and the status is 1."""
    install(folder, "first-plugin", entry_points={PROVIDERS: ["twice = first:Provider"]})
    install(folder, "second-plugin", entry_points={PROVIDERS: ["twice = second:Provider"]})
    result = run("plugins")
    assert result.exit_code == 1
    assert result.stdout.endswith("'twice' is claimed 2 times, by first-plugin, second-plugin: remove all but one.\n")
    assert [line.split()[-1] for line in result.stdout.splitlines() if line.startswith("twice ")] == ["conflict"] * 2
