"""``bedrock-async plugins``: what is installed beside the library, and whether it works."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from rich.table import Table
from rich.text import Text

from .._version import __version__
from ..errors import BedrockError
from ..providers.registry import ProviderRegistry, installed
from .console import styled, terminal_safe
from .loop import CommandLoop

__all__ = ["Plugin", "check", "find_plugins", "plugins"]

OURS: Final = "bedrock-async"


@dataclass(frozen=True, slots=True)
class Plugin:
    """One thing that a distribution brings; ``fault`` says why it cannot be used."""

    name: str
    kind: str
    distribution: str
    version: str
    state: str
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class _Kind:
    """A group of entry points, what it brings without any, and how one of it is loaded."""

    label: str
    points: Callable[[], Iterable[EntryPoint]]
    built_in: Sequence[str]
    load: Callable[[str], Awaitable[None]]


async def _load_provider(name: str) -> None:
    ProviderRegistry().get(name)


async def _load_emulator_model(name: str) -> None:
    from .models import load_model

    await (await load_model(name)).aclose()


_KINDS: Final = (
    _Kind("provider", installed, (), _load_provider),
    _Kind(
        "emulator model",
        lambda: entry_points(group="bedrock_async.emulator_models"),
        ("replay", "scripted"),
        _load_emulator_model,
    ),
)


def plugins(*, load: bool) -> bool:
    """List what is there on stdout; with ``load`` import each of them too. Return whether all is well."""
    found = find_plugins()
    if load:
        with CommandLoop() as loop:
            found = [loop.run(check(plugin)) for plugin in found]
    _show(found)
    return not any(plugin.fault for plugin in found)


def find_plugins() -> list[Plugin]:
    """Return all plugins, the built-in ones first. Nothing is imported but metadata is read."""
    found: list[Plugin] = []
    for kind in _KINDS:
        # An editable and a plain installation can both be on the path, and the built-in provider is registered too.
        claims = {(point.name, _distribution(point), point.value): point for point in kind.points()}
        points = sorted(claims.values(), key=lambda point: (_distribution(point) != OURS, point.name))
        names = [point.name for point in points]
        built_in = [name for name in kind.built_in if name not in names]
        found += [Plugin(name, kind.label, OURS, __version__, "built in") for name in built_in]
        for point in points:
            plugin = Plugin(point.name, kind.label, _distribution(point), _version(point), "installed")
            if names.count(point.name) > 1:
                others = sorted({_distribution(other) for other in points if other.name == point.name})
                fault = f"{point.name!r} is claimed {names.count(point.name)} times, by {', '.join(others)}"
                plugin = replace(plugin, state="conflict", fault=f"{fault}: remove all but one.")
            found.append(plugin)
    return found


async def check(plugin: Plugin) -> Plugin:
    """Import the plugin and make its object; return it with the outcome. One in conflict stays as it is."""
    if plugin.fault is not None or plugin.state == "built in":
        return plugin
    kind = next(kind for kind in _KINDS if kind.label == plugin.kind)
    try:
        await kind.load(plugin.name)
    except BedrockError as exc:
        return replace(plugin, state="failed", fault=str(exc))
    return replace(plugin, state="ok")


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else OURS


def _version(point: EntryPoint) -> str:
    return point.dist.version if point.dist is not None else __version__


_HEADER: Final = ("name", "kind", "distribution", "version", "state")
_STYLES: Final = {"ok": "green", "conflict": "red", "failed": "red"}


def _show(found: Sequence[Plugin]) -> None:
    console = styled(sys.stdout)
    rows = [(each.name, each.kind, each.distribution, each.version, each.state) for each in found]
    if console.is_terminal:
        table = Table(*_HEADER, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            *cells, state = map(terminal_safe, row)
            table.add_row(*map(Text, cells), Text(state, style=_STYLES.get(state, "")))
        console.print(table)
    else:
        widths = [max(map(len, column)) for column in zip(_HEADER, *rows, strict=True)]
        for row in (_HEADER, *rows):
            sys.stdout.write("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
            sys.stdout.write("\n")
    for fault in sorted({each.fault for each in found if each.fault}):
        console.print(Text(terminal_safe(fault)))
