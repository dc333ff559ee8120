"""Emulator models by name: found through entry points, and every way of failing names the distribution."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import pytest

from bedrock_async.errors import InvalidRequestError, PluginError
from bedrock_async.testing import (
    ENTRY_POINT_GROUP,
    BedrockEmulator,
    ScriptedModel,
    emulator_model_names,
    load_emulator_model,
)

GOOD: Final = """
from bedrock_async.testing import ScriptedModel
from bedrock_async.errors import InvalidRequestError

def make(text="from a plugin", model_ids=("*",)):
    return ScriptedModel.text(text, model_ids=model_ids)

def refuse():
    raise InvalidRequestError("the weights are missing.")

def fail():
    raise RuntimeError("no memory")

class NoModel:
    pass
"""


class Install(Protocol):
    """Installs a distribution for the test: a module, and entry points by name."""

    def __call__(self, distribution: str, entry_points: dict[str, str], source: str = GOOD) -> None: ...


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return the function that installs distributions on a path of their own."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    modules: list[str] = []

    def add(distribution: str, entry_points: dict[str, str], source: str = GOOD) -> None:
        module = distribution.replace("-", "_")
        modules.append(module)
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        rows = "".join(f"{name} = {module}:{attribute}\n" for name, attribute in entry_points.items())
        (info / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{rows}")

    yield add
    for module in modules:
        sys.modules.pop(module, None)


async def test_a_registered_model_is_loaded_and_served(install: Install) -> None:
    """The entry point's callable gets the options, and what it makes can be served."""
    install("example-models", {"specimen": "make"})
    assert "specimen" in emulator_model_names()
    model = load_emulator_model("specimen", text="with options", model_ids=["example.model-v1:0"])
    assert isinstance(model, ScriptedModel)
    assert model.model_ids == ["example.model-v1:0"]
    async with BedrockEmulator([model]) as emulator:
        assert emulator.url.startswith("http://127.0.0.1:")


def test_nothing_else_is_imported(install: Install) -> None:
    """Listing imports nothing, and a broken plugin does not touch the others."""
    install("example-models", {"specimen": "make"})
    install("broken-models", {"broken": "make"}, source="raise RuntimeError('at import')")
    assert {"specimen", "broken"} <= set(emulator_model_names())
    assert "example_models" not in sys.modules
    load_emulator_model("specimen")
    assert "broken_models" not in sys.modules


def test_an_unknown_name_lists_the_known_ones(install: Install) -> None:
    """The error says what there is, and how more come."""
    install("example-models", {"specimen": "make"})
    with pytest.raises(PluginError, match=r"no emulator model 'nope'; installed: .*specimen.*Install the plugin"):
        load_emulator_model("nope")


def test_a_name_that_two_claim_is_a_conflict(install: Install) -> None:
    """Neither wins silently: both distributions are named."""
    install("example-models", {"specimen": "make"})
    install("other-models", {"specimen": "make"})
    with pytest.raises(PluginError, match="2 distributions register an emulator model 'specimen': ") as caught:
        load_emulator_model("specimen")
    assert all(name in str(caught.value) for name in ("example-models 1.0", "other-models 1.0"))


@pytest.mark.parametrize(
    ("attribute", "source", "text"),
    [
        ("make", "raise RuntimeError('at import')", r"\(culprit_models:make\) failed to load: RuntimeError"),
        ("absent", GOOD, r"\(culprit_models:absent\) failed to load: AttributeError"),
        ("fail", GOOD, "failed to load: RuntimeError: no memory"),
        ("NoModel", GOOD, "of type NoModel, which lacks a method of EmulatorModel"),
    ],
)
def test_a_failing_plugin_is_named(install: Install, attribute: str, source: str, text: str) -> None:
    """Import errors, failures while building and objects that are no model all name the distribution."""
    install("culprit-models", {"culprit": attribute}, source=source)
    with pytest.raises(PluginError, match=text) as caught:
        load_emulator_model("culprit")
    assert caught.value.distribution == "culprit-models 1.0"
    assert "culprit-models" in str(caught.value)


def test_wrong_options_are_named(install: Install) -> None:
    """An option that the model does not take is a PluginError that lists what was given."""
    install("example-models", {"specimen": "make"})
    with pytest.raises(PluginError, match=r"Check its options \(colour\)"):
        load_emulator_model("specimen", colour="red")


def test_errors_of_our_tree_come_through(install: Install) -> None:
    """What a model itself has to say, such as missing weights, is not wrapped."""
    install("example-models", {"specimen": "refuse"})
    with pytest.raises(InvalidRequestError, match="weights are missing"):
        load_emulator_model("specimen")
