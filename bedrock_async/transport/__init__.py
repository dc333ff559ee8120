"""How requests reach an endpoint: the `Transport` protocol, its implementations, and endpoint addresses.

`NativeTransport`, the default, is built on asyncio with a parser in C. `AiohttpTransport` runs on aiohttp, and
`HttpxTransport` on httpx or httpx2, for what only those offer: SOCKS proxies, HTTP/2, MockTransport, or an existing
client. Importing this package imports none of the three.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypedDict, runtime_checkable

from .._lazy import lazy
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
    """An existing ``httpx.AsyncClient`` or ``httpx2.AsyncClient``; neither library needs to be installed."""

    @property
    def is_closed(self) -> bool:
        """Whether the client was closed."""
        ...

    @property
    def trust_env(self) -> bool:
        """Whether the client reads proxies from the environment."""
        ...

    async def aclose(self) -> None:
        """Close the client. Never called here: the client belongs to its creator."""
        ...


def default_transport(*, max_connections: int | None = None, options: ConnectionOptions | None = None) -> Transport:
    """Return a new transport of the default kind. Needs no running event loop.

    This is `NativeTransport`, or `AiohttpTransport` when httptools cannot be imported.
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
    """Return the transport for a ``transport`` argument, and whether it was created here and must be closed by us.

    None creates a `default_transport`; ``"native"``, ``"aiohttp"`` and ``"httpx"`` create a transport of that kind; an
    existing httpx client is wrapped in an `HttpxTransport`; a `Transport` is returned unchanged. ``max_connections``
    and ``options`` apply to newly created transports only. Needs no running event loop. Raises InvalidRequestError for
    anything else, and for options that an existing transport cannot adopt; MissingExtraError when httpx is not
    installed.
    """
    if transport is None:
        return default_transport(max_connections=max_connections, options=options), True
    if not isinstance(transport, str) and options is not None and options.for_transports:
        raise InvalidRequestError(
            f"{' and '.join(options.for_transports)} of connection=... cannot be applied to an existing transport.",
            path="connection",
            hint="Pass them when you create the transport.",
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
        f"transport={transport!r} is not a transport.",
        path="transport",
        hint='It is "native", "aiohttp", "httpx", a ready httpx.AsyncClient, or an object of the Transport protocol.',
    )


def duplex_transport(options: ConnectionOptions | None = None) -> DuplexTransport:
    """Return a new transport for bidirectional streams. Needs no running event loop.

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
    """Return the keyword arguments, common to all our transports, that the options determine."""
    options = options or ConnectionOptions()
    if options.proxy_ca_bundle is not None or options.proxy_client_cert is not None:
        raise InvalidRequestError(
            "only the native transport supports separate certificates for the proxy.",
            path="connection",
            hint="Leave transport=... out, or pass httpx.AsyncClient(proxy=httpx.Proxy(..., ssl_context=...)).",
        )
    return {"ca_bundle": options.ca_bundle, "client_cert": options.client_cert, "proxies": options.proxies}


if not TYPE_CHECKING:  # see `lazy`
    __getattr__, __dir__ = lazy(
        __name__,
        {".aiohttp": ("AiohttpTransport",), ".httpx": ("HttpxTransport",), ".native": ("NativeTransport",)},
    )
