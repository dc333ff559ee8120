"""``bedrock-async plugins``: the installed plugins, and whether they work."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from typing import Final

from rich.text import Text

from .._version import __version__
from ..errors import BedrockError
from ..families.registry import FAMILIES, FamilyRegistry
from ..plugins import VARIABLE, allowed_plugins
from ..providers.registry import PROVIDERS, ProviderRegistry
from .console import show_table, styled, terminal_safe
from .loop import CommandLoop

__all__ = ["Plugin", "check", "find_plugins", "plugins"]

OURS: Final = "bedrock-async"


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point of a distribution; ``fault`` says why it cannot be used.

    ``models`` are the patterns of model ids that a family claims; before it is imported, those of its vendor.
    """

    name: str
    kind: str
    distribution: str
    version: str
    state: str
    models: str = ""
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class _Kind:
    """A group of entry points, its built-in members, and how to load one.

    ``limited`` kinds respect the environment variable that limits which distributions may be loaded.
    """

    label: str
    points: Callable[[], Iterable[EntryPoint]]
    built_in: Sequence[str]
    load: Callable[[Plugin], Awaitable[Plugin]]
    models: str = ""
    limited: bool = True


async def _load_provider(plugin: Plugin) -> Plugin:
    ProviderRegistry().get(plugin.name)
    return replace(plugin, state=_OK)


async def _load_family(plugin: Plugin) -> Plugin:
    family = FamilyRegistry().get(plugin.name)
    return replace(plugin, state=_OK if family.verified else _UNVERIFIED, models=", ".join(family.models))


def _emulator_models() -> Iterable[EntryPoint]:
    from ..testing.registry import EMULATOR_MODELS

    return EMULATOR_MODELS.installed()


async def _load_emulator_model(plugin: Plugin) -> Plugin:
    from .models import load_model

    await (await load_model(plugin.name)).aclose()
    return replace(plugin, state=_OK)


_INSTALLED: Final = "installed"
_OK: Final = "ok"
_UNVERIFIED: Final = "ok, unverified"
_NOT_ALLOWED: Final = "not allowed"
_NOTES: Final = {
    _INSTALLED: "installed: --check tells whether it works, and whether a family is checked against recorded traffic.",
    _UNVERIFIED: "unverified: not checked against recorded traffic of these models, because there was none.",
    _NOT_ALLOWED: f"not allowed: {VARIABLE} does not name the distribution.",
}

_KINDS: Final = (
    _Kind("provider", PROVIDERS.installed, (), _load_provider),
    _Kind("family", FAMILIES.installed, (), _load_family, models="{name}.*"),
    _Kind(
        "emulator model",
        _emulator_models,
        ("embeddings", "replay", "scripted"),
        _load_emulator_model,
        limited=False,
    ),
)


def plugins(*, load: bool) -> bool:
    """List the plugins on stdout; with ``load``, import each of them as well. Return whether all can be used."""
    found = find_plugins()
    if load:
        with CommandLoop() as loop:
            found = [loop.run(check(plugin)) for plugin in found]
    _show(found)
    return not any(plugin.fault for plugin in found)


def find_plugins() -> list[Plugin]:
    """Return all plugins, built-in ones first. Reads metadata, but imports nothing."""
    found: list[Plugin] = []
    allowed = allowed_plugins(os.environ)
    for kind in _KINDS:
        points = sorted(kind.points(), key=lambda point: (_distribution(point) != OURS, point.name))
        names = [point.name for point in points]
        built_in = [name for name in kind.built_in if name not in names]
        found += [Plugin(name, kind.label, OURS, __version__, "built in") for name in built_in]
        for point in points:
            state = _INSTALLED if allowed.permits(point) or not kind.limited else _NOT_ALLOWED
            models = kind.models.format(name=point.name)
            plugin = Plugin(point.name, kind.label, _distribution(point), _version(point), state, models)
            if names.count(point.name) > 1:
                others = sorted({_distribution(other) for other in points if other.name == point.name})
                fault = f"{point.name!r} is claimed {names.count(point.name)} times, by {', '.join(others)}"
                plugin = replace(plugin, state="conflict", fault=f"{fault}: remove all but one.")
            found.append(plugin)
    return found


async def check(plugin: Plugin) -> Plugin:
    """Import the plugin and create its object; return it with the outcome.

    A plugin that is in conflict, built in or not allowed is returned unchanged.
    """
    if plugin.fault is not None or plugin.state != _INSTALLED:
        return plugin
    kind = next(kind for kind in _KINDS if kind.label == plugin.kind)
    try:
        return await kind.load(plugin)
    except BedrockError as exc:
        return replace(plugin, state="failed", fault=str(exc))


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else OURS


def _version(point: EntryPoint) -> str:
    return point.dist.version if point.dist is not None else __version__


_HEADER: Final = ("name", "kind", "distribution", "version", "models", "state")
_STYLES: Final = {_OK: "green", _UNVERIFIED: "yellow", _NOT_ALLOWED: "yellow", "conflict": "red", "failed": "red"}


def _show(found: Sequence[Plugin]) -> None:
    rows = [(each.name, each.kind, each.distribution, each.version, each.models, each.state) for each in found]
    show_table(_HEADER, rows, _STYLES)
    console = styled(sys.stdout)
    for note in sorted({_NOTES[each.state] for each in found if each.state in _NOTES}):
        console.print(Text(note))
    for fault in sorted({each.fault for each in found if each.fault}):
        console.print(Text(terminal_safe(fault)))
