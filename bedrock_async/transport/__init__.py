"""How requests reach an endpoint: the `Transport` protocol, its implementations, and endpoint addresses.

`NativeTransport` is the default: asyncio and a parser in C. `AiohttpTransport` works over aiohttp, `HttpxTransport`
over httpx or httpx2, for what only those have: SOCKS proxies, HTTP/2, MockTransport, a client that is there already.
Importing this package imports none of the three.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypedDict, runtime_checkable

from ..errors import InvalidRequestError
from ._options import ConnectionOptions
from ._protocol import DuplexResponse, DuplexTransport, Transport, WireRequest, WireResponse
from .endpoints import Endpoint, resolve_endpoint

if TYPE_CHECKING:
    from .aiohttp import AiohttpTransport
    from .httpx import HttpxTransport
    from .native import NativeTransport

__all__ = [
    "AiohttpTransport",
    "ConnectionOptions",
    "DuplexResponse",
    "DuplexTransport",
    "Endpoint",
    "HttpClient",
    "HttpxTransport",
    "NativeTransport",
    "Transport",
    "WireRequest",
    "WireResponse",
    "as_transport",
    "default_transport",
    "duplex_transport",
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


def default_transport(*, max_connections: int | None = None, options: ConnectionOptions | None = None) -> Transport:
    """Return a new transport of the default kind. Needs no running event loop.

    That is `NativeTransport`, and `AiohttpTransport` where httptools cannot be imported.
    """
    try:
        return _native(max_connections, options)
    except ImportError:
        from .aiohttp import AiohttpTransport

        return AiohttpTransport(max_connections=max_connections, **_keywords(options))


def as_transport(
    transport: Transport | HttpClient | str | None,
    *,
    max_connections: int | None = None,
    options: ConnectionOptions | None = None,
) -> tuple[Transport, bool]:
    """Return what a caller means by ``transport``, and whether it was made here and is to be closed by us.

    None means a new `default_transport`; ``"native"``, ``"aiohttp"`` and ``"httpx"`` mean a new transport of that
    kind, a ready client an `HttpxTransport` over it; a `Transport` stays what it is. ``max_connections`` and
    ``options`` are for the new ones. Needs no running event loop. Raises InvalidRequestError for anything else, and
    for options that the transport cannot take on; MissingExtraError when httpx is not installed.
    """
    if transport is None:
        return default_transport(max_connections=max_connections, options=options), True
    if not isinstance(transport, str) and options is not None and options.for_transports:
        raise InvalidRequestError(
            f"{' and '.join(options.for_transports)} of connection=... and a ready transport are given.",
            path="connection",
            hint="Give them to the transport when it is made.",
        )
    if isinstance(transport, Transport):
        return transport, False
    if transport == "native":
        return _native(max_connections, options), True
    if transport == "aiohttp":
        from .aiohttp import AiohttpTransport

        return AiohttpTransport(max_connections=max_connections, **_keywords(options)), True
    if transport == "httpx":
        from .httpx import HttpxTransport

        return HttpxTransport(max_connections=max_connections, **_keywords(options)), True
    if isinstance(transport, HttpClient):
        from .httpx import HttpxTransport

        return HttpxTransport(transport), True
    raise InvalidRequestError(
        f"transport={transport!r} is no transport.",
        path="transport",
        hint='It is "native", "aiohttp", "httpx", a ready httpx.AsyncClient, or an object of the Transport protocol.',
    )


def duplex_transport(options: ConnectionOptions | None = None) -> DuplexTransport:
    """Return a new transport for streams in both directions. Needs no running event loop.

    Raises MissingExtraError without the extra ``bidirectional``.
    """
    from .http2 import Http2Transport

    options = options or ConnectionOptions()
    return Http2Transport(
        ca_bundle=options.ca_bundle,
        client_cert=options.client_cert,
        proxies=options.proxies,
        proxy_ca_bundle=options.proxy_ca_bundle,
        proxy_client_cert=options.proxy_client_cert,
    )


class _Keywords(TypedDict):
    ca_bundle: str | None
    client_cert: str | tuple[str, str] | None
    proxies: Mapping[str, str] | None


def _native(max_connections: int | None, options: ConnectionOptions | None) -> Transport:
    from .native import NativeTransport

    options = options or ConnectionOptions()
    return NativeTransport(
        max_connections=max_connections,
        ca_bundle=options.ca_bundle,
        client_cert=options.client_cert,
        proxies=options.proxies,
        proxy_ca_bundle=options.proxy_ca_bundle,
        proxy_client_cert=options.proxy_client_cert,
    )


def _keywords(options: ConnectionOptions | None) -> _Keywords:
    """Return the keywords of every transport of ours that options settle."""
    options = options or ConnectionOptions()
    if options.proxy_ca_bundle is not None or options.proxy_client_cert is not None:
        raise InvalidRequestError(
            "only the native transport tells certificates of a proxy from those of the endpoint.",
            path="connection",
            hint="Leave transport=... out, or pass httpx.AsyncClient(proxy=httpx.Proxy(..., ssl_context=...)).",
        )
    return {"ca_bundle": options.ca_bundle, "client_cert": options.client_cert, "proxies": options.proxies}


def __getattr__(name: str) -> object:
    if name == "AiohttpTransport":
        from .aiohttp import AiohttpTransport

        return AiohttpTransport
    if name == "HttpxTransport":
        from .httpx import HttpxTransport

        return HttpxTransport
    if name == "NativeTransport":
        from .native import NativeTransport

        return NativeTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
