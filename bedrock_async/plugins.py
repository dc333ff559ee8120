"""What installed distributions register: found by name, imported only when asked for, checked before use.

Providers and model families are registered as entry points. A registry reads the metadata of installed distributions
once, when a name is asked for that is neither built in nor given. A distribution that is broken, in conflict or of
another interface version fails only the look-ups of its own names, with an error that names it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Generic, TypeVar

import msgspec

from .errors import PluginError

__all__ = [
    "EVERYTHING",
    "VARIABLE",
    "Allowed",
    "PluginKind",
    "PluginRegistry",
    "allowed_plugins",
    "check_members",
    "check_own_name",
    "load_entry_point",
    "origin",
]

T = TypeVar("T")

VARIABLE: Final = "BEDROCK_ASYNC_PLUGINS"
"""The environment variable that limits which distributions may be loaded."""

OURS: Final = "bedrock-async"
_PREFIX: Final = "bedrock-async-"


class Allowed(msgspec.Struct, frozen=True):
    """Which distributions may be loaded: those of these names, or all of them (None)."""

    names: frozenset[str] | None = None

    def permits(self, point: EntryPoint) -> bool:
        """Tell whether an entry point may be loaded; built-in ones always may."""
        if self.names is None or point.dist is None:
            return True
        name = _canonical(point.dist.name)
        return name == OURS or name in self.names or name.removeprefix(_PREFIX) in self.names


EVERYTHING: Final = Allowed()
"""No limit."""


def allowed_plugins(environ: Mapping[str, str]) -> Allowed:
    """Return what ``BEDROCK_ASYNC_PLUGINS`` allows: distributions, separated by commas.

    ``bedrock-async-`` may be left out. Unset means no limit; empty means no plugin at all.
    """
    value = environ.get(VARIABLE)
    if value is None:
        return EVERYTHING
    return Allowed(frozenset(_canonical(name) for name in value.split(",") if name.strip()))


def _canonical(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")


class PluginKind(msgspec.Struct, Generic[T], frozen=True):
    """What is registered under one group of entry points.

    ``check`` takes what an entry point made, its name, and where it comes from; it returns the object, typed, or raises
    PluginError. ``keyword`` is the client's argument that gives one without installing it. Built-in ones are in no
    distribution's metadata, which takes tens of milliseconds to read.
    """

    group: str
    noun: str
    keyword: str
    check: Callable[[object, str, str], T]
    built_in: tuple[EntryPoint, ...] = ()

    def installed(self) -> tuple[EntryPoint, ...]:
        """Return all entry points, those built in first; nothing is imported.

        An editable and a plain installation of one distribution can both be on the path: the same claim counts once.
        """
        claims = {(point.name, _distribution(point), point.value): point for point in self.built_in}
        for point in entry_points(group=self.group):
            claims.setdefault((point.name, _distribution(point), point.value), point)
        return tuple(claims.values())


class PluginRegistry(Generic[T]):
    """The plugins of one kind, for one client. Those that are ``given`` (name -> object) come before installed ones."""

    def __init__(
        self, kind: PluginKind[T], given: Mapping[str, T] | None = None, allowed: Allowed = EVERYTHING
    ) -> None:
        """Check what is given. Raises PluginError."""
        self.kind = kind
        self._allowed = allowed
        self._points: tuple[EntryPoint, ...] | None = None
        self._loaded = {name: kind.check(plugin, name, f"{kind.keyword}=") for name, plugin in (given or {}).items()}

    def get(self, name: str) -> T:
        """Return the plugin of this name. Raises PluginError, which names the distribution at fault."""
        found = self.find(name)
        if found is None:
            raise self._unknown(name)
        return found

    def find(self, name: str) -> T | None:
        """Return the plugin of this name, None if nothing registers it. Raises PluginError for a broken one."""
        plugin = self._loaded.get(name)
        if plugin is None and (point := self._point(name)) is not None:
            # Only what was loaded and checked is kept: after a failure the next call tries again.
            plugin = self.kind.check(load_entry_point(point), name, origin(point))
            check_own_name(plugin, name, origin(point), noun=self.kind.noun)
            self._loaded[name] = plugin
        return plugin

    def entry_point(self, name: str) -> EntryPoint:
        """Return the entry point of this name, for whoever loads it with options. Raises PluginError as `get`."""
        point = self._point(name)
        if point is None:
            raise self._unknown(name)
        return point

    def origin(self, name: str) -> str:
        """Return where the plugin of this name comes from: distribution and version, or the client's keyword."""
        for point in (*self.kind.built_in, *(self._points or ())):
            if point.name == name:
                return origin(point)
        return f"{self.kind.keyword}="

    def _unknown(self, name: str) -> PluginError:
        names = sorted({*self._loaded, *(point.name for point in self._read())})
        near = difflib.get_close_matches(name, names, n=1)
        return PluginError(
            f"there is no {self.kind.noun} {name!r}; installed: {', '.join(names) or 'none'}.",
            hint=f"Did you mean {near[0]!r}?" if near else "Install the plugin that provides it.",
        )

    def _point(self, name: str) -> EntryPoint | None:
        found = [point for point in self.kind.built_in if point.name == name]
        found = found or [point for point in self._read() if point.name == name]
        if not found:
            return None
        permitted = [point for point in found if self._allowed.permits(point)]
        if not permitted:
            raise PluginError(
                f"the {self.kind.noun} {name!r} of {origin(found[0])} is not loaded: {VARIABLE} does not allow it.",
                distribution=origin(found[0]),
                hint=f"Add {_distribution(found[0])} to {VARIABLE}, or unset it.",
            )
        if len(permitted) > 1:
            raise PluginError(
                f"{len(permitted)} distributions register {_article(self.kind.noun)} {self.kind.noun} {name!r}: "
                f"{', '.join(map(origin, permitted))}.",
                distribution=origin(permitted[1]),
                hint=f"Uninstall one of them, or pass the one you mean as {self.kind.keyword}=...",
            )
        return permitted[0]

    def _read(self) -> Iterable[EntryPoint]:
        if self._points is None:
            self._points = self.kind.installed()
        return self._points


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else OURS


def origin(point: EntryPoint) -> str:
    """Return name and version of the distribution that brings an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else OURS


def load_entry_point(point: EntryPoint, **options: object) -> object:
    """Import an entry point's object and call it, with options. Raises PluginError, with the failure as its cause."""
    try:
        made: object = point.load()(**options)
    except (Exception, SystemExit) as exc:  # a script that exits where it is imported would end the whole program
        check = f"Check its options ({', '.join(sorted(options))}). " if options else ""
        raise PluginError(
            f"{point.name!r} of {origin(point)} ({point.value}) failed to load: {type(exc).__name__}: {exc}.",
            distribution=origin(point),
            hint=f"{check}Reinstall or remove that distribution; everything else keeps working.",
        ) from exc
    return made


def check_own_name(plugin: object, name: str, source: str, *, noun: str) -> None:
    """Hold an installed plugin to the name that it is registered under. Raises PluginError, which names both."""
    own: object = getattr(plugin, "name", name)
    if own != name:
        raise PluginError(
            f"the {noun} {name!r} of {source} ({type(plugin).__name__}) calls itself {own!r}.",
            distribution=source,
            hint=f"Register it as {own!r}, or give it the name of its entry point.",
        )


def check_members(
    plugin: object, name: str, source: str, *, noun: str, version: int, members: Mapping[str, Callable[[object], bool]]
) -> None:
    """Hold a plugin to the members of its protocol, and to the version of the interface.

    ``members`` maps how a member is written (``"encode(request, ctx)"``) to what its value must satisfy; the name of
    the member is what stands before ``(`` or ``:``. Raises PluginError, which says what is missing.
    """
    if isinstance(plugin, type):
        raise PluginError(
            f"the {noun} {name!r} of {source} is the class {plugin.__name__}, not an instance.",
            distribution=source,
            hint=f"Pass {plugin.__name__}().",
        )
    try:
        missing = [
            written
            for written, holds in members.items()
            if not holds(getattr(plugin, written.partition("(")[0].partition(":")[0], None))
        ]
        spoken: object = getattr(plugin, "interface_version", None)
    except Exception as exc:
        raise PluginError(
            f"the {noun} {name!r} of {source} ({type(plugin).__name__}) cannot be inspected: {exc!r}.",
            distribution=source,
            hint="Reinstall or remove that distribution; everything else keeps working.",
        ) from exc
    if missing:
        raise PluginError(
            f"the {noun} {name!r} of {source} ({type(plugin).__name__}) lacks {', '.join(missing)}.",
            distribution=source,
            hint=f"See the protocol of a {noun} in bedrock_async.",
        )
    if spoken != version:
        raise PluginError(
            f"the {noun} {name!r} of {source} speaks interface version {spoken}; this bedrock_async speaks {version}.",
            distribution=source,
            hint="Install a compatible version.",
        )
