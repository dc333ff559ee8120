"""Emulator models by name, for ``--local`` and ``serve``. Loads the emulator: import it only when needed."""

from __future__ import annotations

from typing import Final, Protocol, runtime_checkable

import anyio

from ..errors import MissingExtraError
from ..testing.embeddings import EmbeddingModel
from ..testing.registry import ServedModel, emulator_model_names, load_emulator_model
from ..testing.script import ScriptedModel

__all__ = ["EMBEDDINGS", "LOCAL", "SCRIPTED", "load_model", "start_model"]

EMBEDDINGS: Final = "embeddings"
LOCAL: Final = "local"
SCRIPTED: Final = "scripted"


@runtime_checkable
class _Startable(Protocol):
    """A model that can load its resources before the first request, and then raises its own errors."""

    async def start(self) -> None: ...


async def load_model(name: str, *, text: str | None = None) -> ServedModel:
    """Return the emulator model of this name; ``text`` is the answer of the scripted one.

    Raises MissingExtraError when the local model is not installed, PluginError for an unknown or broken one.
    """
    if name == SCRIPTED:
        return ScriptedModel.text() if text is None else ScriptedModel.text(text)
    if name == EMBEDDINGS:
        return EmbeddingModel()
    if name == LOCAL and LOCAL not in emulator_model_names():
        raise MissingExtraError(
            "the local model is a plugin, bedrock-async-local, which is not installed.",
            hint="pip install bedrock-async-local",
        )
    return await anyio.to_thread.run_sync(load_emulator_model, name)


async def start_model(model: ServedModel) -> None:
    """Load the model's resources (weights, engine), if it supports that. Raises the model's errors; cancellable."""
    if isinstance(model, _Startable):
        await model.start()
