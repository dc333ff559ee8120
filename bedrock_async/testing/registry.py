"""Emulator models by name: those that installed distributions register, the built-in ones included."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import TypeAlias

from ..errors import BedrockError, PluginError
from .answers import HttpModel
from .models import ENTRY_POINT_GROUP, EmulatorModel

__all__ = ["ServedModel", "emulator_model_names", "load_emulator_model"]

ServedModel: TypeAlias = EmulatorModel | HttpModel
"""What the emulator can serve: a model behind the service's protocol, or one that answers whole HTTP requests."""


def emulator_model_names() -> list[str]:
    """Return the names that `load_emulator_model` knows, sorted. Nothing is imported."""
    return sorted({point.name for point in entry_points(group=ENTRY_POINT_GROUP)})


def load_emulator_model(name: str, **options: object) -> ServedModel:
    """Return the model that is registered under ``name`` (entry-point group ``bedrock_async.emulator_models``).

    Only that one is imported; ``options`` are passed to it. Raises PluginError, which names the distribution, when the
    name is unknown or claimed by several, the import fails, or what it makes is no model; errors of our tree that the
    model itself raises come through. Importing and building can take seconds: call it in a worker thread.
    """
    point = _only(name, entry_points(group=ENTRY_POINT_GROUP, name=name))
    distribution = _distribution(point)
    try:
        factory = point.load()
    except Exception as exc:
        raise PluginError(
            f"the emulator model {name!r} of {distribution} cannot be imported from {point.value}: "
            f"{type(exc).__name__}: {exc}.",
            distribution=distribution,
            hint=f"Reinstall or remove {distribution}; other models are not affected.",
        ) from exc
    try:
        model: object = factory(**options)
    except BedrockError:
        raise
    except Exception as exc:
        raise PluginError(
            f"the emulator model {name!r} of {distribution} cannot be built: {type(exc).__name__}: {exc}.",
            distribution=distribution,
            hint=f"Check its options ({', '.join(sorted(options)) or 'none were given'}).",
        ) from exc
    if not isinstance(model, EmulatorModel | HttpModel):
        raise PluginError(
            f"the emulator model {name!r} of {distribution} is of type {type(model).__name__}, which lacks a method of "
            "EmulatorModel.",
            distribution=distribution,
            hint="See bedrock_async.testing.EmulatorModel for the methods a model needs.",
        )
    return model


def _only(name: str, points: Iterable[EntryPoint]) -> EntryPoint:
    # An editable and a plain installation of one distribution can both be on the path: the same claim twice.
    claims = {(_distribution(point), point.value): point for point in points}
    if not claims:
        known = ", ".join(emulator_model_names()) or "none"
        raise PluginError(
            f"there is no emulator model {name!r}; known are: {known}.",
            hint="Install the distribution that registers it; bedrock-async-local brings the model 'local'.",
        )
    if len(claims) > 1:
        distributions = sorted({distribution for distribution, _ in claims})
        raise PluginError(
            f"the emulator model {name!r} is registered {len(claims)} times, by: {', '.join(distributions)}.",
            distribution=distributions[0],
            hint="Remove all but one of them.",
        )
    return next(iter(claims.values()))


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unnamed distribution"
