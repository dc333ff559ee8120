"""How requests reach an endpoint: the `Transport` protocol, its two implementations, and endpoint addresses.

`AiohttpTransport` is the default. `HttpxTransport` works over httpx or httpx2, for what only those have: SOCKS
proxies, HTTP/2, MockTransport, a client that is there already. Importing this package imports neither library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..errors import InvalidRequestError
from ._protocol import Transport, WireRequest, WireResponse
from .endpoints import Endpoint, resolve_endpoint

if TYPE_CHECKING:
    from .aiohttp import AiohttpTransport
    from .httpx import HttpxTransport

__all__ = [
    "AiohttpTransport",
    "Endpoint",
    "HttpClient",
    "HttpxTransport",
    "Transport",
    "WireRequest",
    "WireResponse",
    "as_transport",
    "default_transport",
    "resolve_endpoint",
]


@runtime_checkable
class HttpClient(Protocol):
    """A ready ``httpx.AsyncClient`` or ``httpx2.AsyncClient``, of which neither need be installed."""

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        ...

    @property
    def trust_env(self) -> bool:
        """Whether it reads proxies from the environment."""
        ...

    async def aclose(self) -> None:
        """Close it. Never called here: it belongs to whoever made it."""
        ...


def default_transport(*, max_connections: int | None = None) -> Transport:
    """Return a new transport of the default kind; see `AiohttpTransport`. Needs no running event loop."""
    from .aiohttp import AiohttpTransport

    return AiohttpTransport(max_connections=max_connections)


def as_transport(
    transport: Transport | HttpClient | str | None, *, max_connections: int | None = None
) -> tuple[Transport, bool]:
    """Return what a caller means by ``transport``, and whether it was made here and is to be closed by us.

    None and ``"aiohttp"`` mean a new default transport, ``"httpx"`` a new `HttpxTransport`, a ready client an
    `HttpxTransport` over it; a `Transport` stays what it is. ``max_connections`` is for the new ones. Needs no
    running event loop. Raises InvalidRequestError for anything else, MissingExtraError when httpx is not installed.
    """
    if transport is None or transport == "aiohttp":
        return default_transport(max_connections=max_connections), True
    if isinstance(transport, Transport):
        return transport, False
    if transport == "httpx":
        from .httpx import HttpxTransport

        return HttpxTransport(max_connections=max_connections), True
    if isinstance(transport, HttpClient):
        from .httpx import HttpxTransport

        return HttpxTransport(transport), True
    raise InvalidRequestError(
        f"transport={transport!r} is no transport.",
        path="transport",
        hint='It is "aiohttp", "httpx", a ready httpx.AsyncClient, or an object of the Transport protocol.',
    )


def __getattr__(name: str) -> object:
    if name == "AiohttpTransport":
        from .aiohttp import AiohttpTransport

        return AiohttpTransport
    if name == "HttpxTransport":
        from .httpx import HttpxTransport

        return HttpxTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
