"""Finds providers by name: built in, given to the client, or installed as a plugin.

Entry-point group ``bedrock_async.providers``; the name of the entry point is the provider's name, its object a class or
function without arguments that returns a `Provider`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint
from typing import Final, cast

from ..plugins import EVERYTHING, Allowed, PluginKind, PluginRegistry, check_members
from ._protocol import INTERFACE_VERSION, Provider

GROUP: Final = "bedrock_async.providers"

# Loaded by the same code as plugins.
_BUILT_IN: Final = (
    EntryPoint("converse", "bedrock_async.providers.converse:ConverseProvider", GROUP),
    EntryPoint("invoke", "bedrock_async.providers.invoke:InvokeProvider", GROUP),
    EntryPoint("async-invoke", "bedrock_async.providers.async_invoke:AsyncInvokeProvider", GROUP),
)


def check_provider(provider: object, name: str, source: str) -> Provider:
    """Return ``provider`` if it implements the protocol. Raises PluginError, which names what is missing."""
    check_members(
        provider,
        name,
        source,
        noun="provider",
        version=INTERFACE_VERSION,
        members={
            "name: str": lambda value: isinstance(value, str),
            "interface_version: int": lambda value: isinstance(value, int),
            "converse(request, ctx)": callable,
            "stream(request, ctx)": callable,
        },
    )
    return cast("Provider", provider)


PROVIDERS: Final = PluginKind(GROUP, "provider", "providers", check_provider, _BUILT_IN)
"""The kind of plugins registered in the group of providers."""


class ProviderRegistry(PluginRegistry[Provider]):
    """The providers of one client. ``given`` (name -> provider) takes precedence over installed ones."""

    def __init__(self, given: Mapping[str, Provider] | None = None, allowed: Allowed = EVERYTHING) -> None:
        """Check the given providers. Raises PluginError."""
        super().__init__(PROVIDERS, given, allowed)
