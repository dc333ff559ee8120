"""Where a connection leads (an origin, directly or through a proxy), and what follows from a URL."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from ..errors import InvalidRequestError
from . import _failures
from ._proxies import EnvironmentProxies

__all__ = ["Origin", "Proxy", "Route", "Router", "target_of"]

_MOST_ROUTES: Final = 512
"""Clients request the same few URLs repeatedly; this bounds the memory for one that never repeats any."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An http or https proxy."""

    secure: bool
    host: str
    port: int
    authorization: str = field(repr=False)
    """The header line with its credentials, or an empty string."""

    @property
    def peer(self) -> str:
        """The name of the proxy in errors."""
        return f"{_failures.host_port(self.host, self.port)} (the proxy)"


class Origin(msgspec.Struct, frozen=True, eq=False):
    """The other end of a connection, shared by all requests to it. A `Router` creates one object for each."""

    secure: bool
    host: str
    port: int
    proxy: Proxy | None
    """The proxy that tunnels the bytes (CONNECT), if any."""

    @property
    def peer(self) -> str:
        """``host:port``, the name of the origin in errors."""
        return _failures.host_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Route:
    """What follows from a URL alone."""

    origin: Origin
    peer: str
    """``host:port`` for errors."""
    host: str
    """The value of the Host header."""
    target: str
    """The request target of the request line."""
    proxy_header: str = field(repr=False)
    """A header line for a proxy that forwards requests itself, or an empty string."""


class Router:
    """Finds the route of a URL, and caches it. With ``tunnels``, proxies are only asked for tunnels (CONNECT)."""

    def __init__(self, proxies: EnvironmentProxies, *, tunnels: bool = False) -> None:
        self._proxies = proxies
        self._tunnels = tunnels
        self._routes: dict[str, Route] = {}
        self._origins: dict[tuple[object, ...], Origin] = {}

    def route(self, url: str) -> Route:
        """Return the route. Raises InvalidRequestError for a URL that is invalid or unsafe in a request line."""
        known = self._routes.get(url)
        if known is not None:
            return known
        if len(self._routes) >= _MOST_ROUTES:
            self._routes.clear()
        found = self._routes[url] = self._find(url)
        return found

    def _find(self, url: str) -> Route:
        peer = _failures.peer_of(url)
        if not url.isascii() or not url.isprintable() or " " in url:
            raise InvalidRequestError(f"the request to {peer} cannot be sent (its URL holds unquoted characters).")
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        host = parts.hostname or ""
        port = parts.port or (443 if secure else 80)
        shown = parts.netloc.rpartition("@")[2]
        target = target_of(url)
        named = self._proxies.proxy_for(url)
        if named is None:
            return Route(self._origin(secure, host, port, None), peer, shown, target, "")
        proxy = _proxy(named)
        if secure or self._tunnels:
            return Route(self._origin(secure, host, port, proxy), peer, shown, target, "")
        # A forwarding proxy takes requests for any host on the same connections.
        origin = self._origin(proxy.secure, proxy.host, proxy.port, None)
        return Route(origin, peer, shown, f"http://{shown}{target}", proxy.authorization)

    def _origin(self, secure: bool, host: str, port: int, proxy: Proxy | None) -> Origin:  # noqa: FBT001
        key = (secure, host, port, proxy)
        return self._origins.setdefault(key, Origin(secure, host, port, proxy))


def target_of(url: str) -> str:
    """Return path and query exactly as written in ``url``."""
    authority = urlsplit(url).netloc
    rest = url.partition("://")[2][len(authority) :].partition("#")[0]
    return rest if rest.startswith("/") else f"/{rest}"


def _proxy(url: str) -> Proxy:
    unreadable = InvalidRequestError(
        "the proxy URL cannot be parsed.",
        hint="It looks like http://user:password@proxy.example:3128, with special characters quoted.",
    )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise unreadable from None  # the cause may quote the URL, and with it a password
    if not host:
        raise unreadable
    secure = parts.scheme == "https"
    authorization = ""
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"proxy-authorization: Basic {b64encode(secret.encode()).decode()}\r\n"
    return Proxy(secure, host, port or (443 if secure else 80), authorization)
