"""`bedrock-async plugins`: what is installed, and whether it works."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from commandline import install, put_on_path, run

import bedrock_async

PROVIDERS = "bedrock_async.providers"
MODELS = "bedrock_async.emulator_models"
FAMILIES = "bedrock_async.families"
FAMILY = """
class Family:
    name = "zebra"
    interface_version = 1
    models = ("zebra.chat-*", "zebra.write-1")
    verified = False

    def supports(self, ctx): ...
    def encode(self, request, ctx): ...
    def decode(self, body, headers, ctx): ...
    def stream_decoder(self, ctx): ...
"""


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
    assert result.stdout.splitlines()[0].split() == ["name", "kind", "distribution", "version", "models", "state"]
    assert listed["converse"] == ["provider", "bedrock-async", version, "installed"]
    for name in ("embeddings", "replay", "scripted"):
        assert listed[name] == ["emulator model", "bedrock-async", version, "built in"]
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


def test_families_are_listed_with_their_models(folder: Path) -> None:
    """By their vendor before they are imported, by their patterns after; one without recordings is told apart."""
    install(folder, "acme-zebra", modules={"zebra": FAMILY}, entry_points={FAMILIES: ["zebra = zebra:Family"]})
    listed = run("plugins")
    assert rows(listed.stdout)["zebra"] == ["family", "acme-zebra", "1.2.3", "zebra.*", "installed"]
    assert "--check tells whether it works, and whether a family is checked against recorded traffic." in listed.stdout
    assert "zebra" not in sys.modules
    # Hides the real one, which would load an inference engine.
    install(folder, "bedrock-async-local")
    checked = run("plugins", "--check")
    assert rows(checked.stdout)["zebra"] == [
        "family",
        "acme-zebra",
        "1.2.3",
        "zebra.chat-*, zebra.write-1",
        "ok, unverified",
    ]
    assert checked.stdout.endswith(
        "unverified: not checked against recorded traffic of these models, because there was none.\n"
    )
    assert checked.exit_code == 0
    del sys.modules["zebra"]


def test_a_family_that_does_not_keep_the_protocol_fails(folder: Path) -> None:
    """With what it lacks, and status 1."""
    source = FAMILY.replace("def encode", "def other")
    install(folder, "acme-zebra", modules={"zebra2": source}, entry_points={FAMILIES: ["zebra = zebra2:Family"]})
    install(folder, "bedrock-async-local")
    result = run("plugins", "--check")
    assert rows(result.stdout)["zebra"][-1] == "failed"
    assert "the family 'zebra' of acme-zebra 1.2.3 (Family) lacks encode(request, ctx)" in result.stdout
    assert result.exit_code == 1


def test_what_the_environment_does_not_allow_is_listed_and_never_imported(folder: Path) -> None:
    """It is no fault: somebody wants it so."""
    install(folder, "acme-zebra", entry_points={FAMILIES: ["zebra = no_such_module_anywhere:Family"]})
    install(folder, "bedrock-async-local")
    result = run("plugins", "--check", env={"BEDROCK_ASYNC_PLUGINS": "other"})
    assert rows(result.stdout)["zebra"][-1] == "not allowed"
    assert rows(result.stdout)["converse"][-1] == "ok"
    assert "not allowed: BEDROCK_ASYNC_PLUGINS does not name the distribution." in result.stdout
    assert result.exit_code == 0
