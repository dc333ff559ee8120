"""Finding providers by name: built in, given to the client, or installed as a plugin.

Entry-point group ``bedrock_async.providers``; the entry point's name is the provider's name, its object a class or
function without arguments that returns a `Provider`. A plugin is imported only when its name is asked for, and a
broken one fails only its own look-up.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from ..errors import PluginError
from ._protocol import INTERFACE_VERSION, Provider

GROUP: Final = "bedrock_async.providers"

# Loaded through the same code as plugins. Not in pyproject.toml: reading the metadata of every installed
# distribution takes tens of milliseconds, which the first call of the default provider should not pay.
_BUILT_IN: Final = (EntryPoint("converse", "bedrock_async.providers.converse:ConverseProvider", GROUP),)


class ProviderRegistry:
    """The providers of one client. ``given`` (name -> provider) comes before what is installed."""

    def __init__(self, given: Mapping[str, Provider] | None = None) -> None:
        """Check the given providers. Raises PluginError."""
        self._loaded: dict[str, Provider] = {}
        for name, provider in (given or {}).items():
            self._loaded[name] = check_provider(provider, name, "providers=")

    def get(self, name: str) -> Provider:
        """Return the provider of this name. Raises PluginError, which names the distribution at fault."""
        provider = self._loaded.get(name)
        if provider is None:
            provider = self._loaded[name] = _load(name)
        return provider


def installed() -> tuple[EntryPoint, ...]:
    """Return the entry points of all providers, built in and installed; nothing is imported."""
    return _BUILT_IN + tuple(point for point in entry_points(group=GROUP) if point not in _BUILT_IN)


def _load(name: str) -> Provider:
    found = [point for point in _BUILT_IN if point.name == name]
    if not found:
        found = [point for point in installed() if point.name == name]
    if not found:
        names = sorted({point.name for point in installed()})
        near = difflib.get_close_matches(name, names, n=1)
        raise PluginError(
            f"there is no provider {name!r}; installed: {', '.join(names)}.",
            hint=f"Did you mean {near[0]!r}?" if near else "Install the plugin that brings it.",
        )
    if len(found) > 1:
        raise PluginError(
            f"{len(found)} distributions bring a provider {name!r}: {', '.join(map(origin, found))}.",
            distribution=origin(found[1]),
            hint="Uninstall one of them, or pass the one you mean as providers={...}.",
        )
    return check_provider(load_entry_point(found[0]), name, origin(found[0]))


def origin(point: EntryPoint) -> str:
    """Return name and version of the distribution that brings an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "bedrock-async"


def load_entry_point(point: EntryPoint) -> object:
    """Import an entry point's object and call it. Raises PluginError, with the failure as its cause."""
    try:
        made: object = point.load()()
    except Exception as exc:
        raise PluginError(
            f"{point.name!r} of {origin(point)} ({point.value}) failed to load: {type(exc).__name__}: {exc}.",
            distribution=origin(point),
            hint="Reinstall or remove that distribution; everything else goes on working.",
        ) from exc
    return made


def check_provider(provider: object, name: str, source: str) -> Provider:
    """Return ``provider`` when it keeps the protocol. Raises PluginError, which says what is missing."""
    try:
        missing = list(_missing(provider))
    except Exception as exc:
        raise PluginError(
            f"the provider {name!r} of {source} ({type(provider).__name__}) cannot be looked at: {exc!r}.",
            distribution=source,
            hint="Reinstall or remove that distribution; everything else goes on working.",
        ) from exc
    if missing or not isinstance(provider, Provider):
        raise PluginError(
            f"the provider {name!r} of {source} ({type(provider).__name__}) lacks {', '.join(missing)}.",
            distribution=source,
            hint="See the Provider protocol in bedrock_async.providers.",
        )
    if provider.interface_version != INTERFACE_VERSION:
        raise PluginError(
            f"the provider {name!r} of {source} speaks interface version {provider.interface_version}; "
            f"this bedrock_async speaks {INTERFACE_VERSION}.",
            distribution=source,
            hint="Install a version of it that fits.",
        )
    return provider


def _missing(provider: object) -> Iterable[str]:
    if not isinstance(getattr(provider, "name", None), str):
        yield "name: str"
    if not isinstance(getattr(provider, "interface_version", None), int):
        yield "interface_version: int"
    for verb in ("converse", "stream"):
        if not callable(getattr(provider, verb, None)):
            yield f"{verb}(request, ctx)"
