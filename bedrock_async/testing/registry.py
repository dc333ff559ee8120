"""Finds emulator models by name, among those that installed distributions register."""

from __future__ import annotations

from typing import Final, TypeAlias

from ..errors import BedrockError, PluginError
from ..plugins import PluginKind, PluginRegistry, load_entry_point, origin
from .answers import HttpModel
from .models import ENTRY_POINT_GROUP, EmulatorModel

__all__ = ["EMULATOR_MODELS", "ServedModel", "emulator_model_names", "load_emulator_model"]

ServedModel: TypeAlias = EmulatorModel | HttpModel
"""What the emulator can serve: a model behind the service's protocol, or one that answers complete HTTP requests."""


def _checked(model: object, name: str, source: str) -> ServedModel:
    if not isinstance(model, EmulatorModel | HttpModel):
        raise PluginError(
            f"the emulator model {name!r} of {source} is of type {type(model).__name__}, which lacks a method of "
            "EmulatorModel.",
            distribution=source,
            hint="See bedrock_async.testing.EmulatorModel for the methods a model needs.",
        )
    return model


EMULATOR_MODELS: Final = PluginKind(ENTRY_POINT_GROUP, "emulator model", "models", _checked)
"""The kind of plugins registered in the group of emulator models."""


def emulator_model_names() -> list[str]:
    """Return the names that `load_emulator_model` knows, sorted. Nothing is imported."""
    return sorted({point.name for point in EMULATOR_MODELS.installed()})


def load_emulator_model(name: str, **options: object) -> ServedModel:
    """Return the model registered under ``name`` (entry-point group ``bedrock_async.emulator_models``).

    Only this one is imported; ``options`` are passed to it. Raises PluginError, which names the distribution, when the
    name is unknown or ambiguous, the import fails, or the result is not a model; a `BedrockError` raised by the model
    itself is passed on. Importing and building can take seconds: call it in a worker thread.
    """
    point = PluginRegistry(EMULATOR_MODELS).entry_point(name)
    try:
        made = load_entry_point(point, **options)
    except PluginError as exc:
        if isinstance(exc.__cause__, BedrockError):
            raise exc.__cause__ from None
        raise
    return EMULATOR_MODELS.check(made, name, origin(point))
