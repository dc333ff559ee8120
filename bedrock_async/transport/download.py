"""Downloads a file from the web, with limits on size, time and redirects, and only from public addresses.

A URL supplied by a user of a service must not reach what only the service can reach (metadata endpoints, databases,
admin pages): server-side request forgery. Therefore the address of every connection is checked when its socket is
created, which neither redirects nor DNS rebinding can circumvent.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from yarl import URL

from ..errors import (
    BedrockError,
    InvalidRequestError,
    ProtocolError,
    RedirectError,
    TooManyOpenFilesError,
    TotalTimeoutError,
    TransportError,
)
from ._failures import connect_failure, connection_lost

__all__ = ["Download", "download", "is_public"]

_MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES: Final = 64 * 1024
_CLIENT_ERRORS: Final = frozenset(range(400, 500)) - {408, 429}  # these two are transient
_OK: Final = 200
_HEADERS: Final = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "bedrock-async"}

_NO_SERVER: Final = "Check the URL, and whether this machine reaches the internet without a proxy: none is used."

# IPv6 ranges that embed an IPv4 address, and are as private as that address.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_TEREDO: Final = ipaddress.IPv6Network("2001::/32")
# Not public, although the standard library of some Python 3.11 and 3.12 releases says so.  [CVE-2024-4032]
_NOT_PUBLIC: Final = tuple(
    map(ipaddress.ip_network, ("192.0.0.0/24", "198.18.0.0/15", "64:ff9b:1::/48", "2001:db8::/32", "fec0::/10"))
)


@dataclass(frozen=True, slots=True, repr=False)
class Download:
    """A downloaded file; ``content_type`` has no parameters, and is empty if the server sent none."""

    data: bytes
    content_type: str
    name: str
    """The last segment of the path, such as ``photo.jpg``."""


def is_public(address: str) -> bool:
    """Return whether an IP address is public, also when it is embedded in an IPv6 address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip in _TEREDO:
            return False
    if any(ip in network for network in _NOT_PUBLIC):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


async def download(
    url: str,
    *,
    max_bytes: int,
    timeout_s: float,
    allow_private: bool = False,
    public: Callable[[str], bool] = is_public,
) -> Download:
    """Download the file at an http or https URL, which must answer with status 200. Cancelling closes the connection.

    Up to five redirects are followed, but none from https to http. Proxies of the environment are not used, because
    they would make the connections that are checked here. ``max_bytes`` limits the body; compressed responses are
    rejected. ``timeout_s`` bounds the whole download. ``public`` decides whether an address may be reached.

    Raises InvalidRequestError for a URL that is invalid, that leads to a non-public address (unless ``allow_private``),
    that the server rejects (4xx) or whose body is larger; TransportError for other failures of server or network;
    TotalTimeoutError.
    """
    target = _parsed(url)
    try:
        async with asyncio.timeout(timeout_s):
            return await _followed(target, max_bytes=max_bytes, gate=_Gate(_anywhere if allow_private else public))
    except TimeoutError as exc:
        if isinstance(exc, BedrockError):
            raise
        raise TotalTimeoutError(
            f"{_shown(target)} was not read within {timeout_s:g} s.", limit_s=timeout_s, hint="Raise timeout_s."
        ) from exc


def _anywhere(_: str) -> bool:
    return True


async def _followed(target: URL, *, max_bytes: int, gate: _Gate) -> Download:
    connector = aiohttp.TCPConnector(socket_factory=gate.socket, force_close=True)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=_HEADERS,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(),
        trust_env=False,
    ) as session:
        for _ in range(_MAX_REDIRECTS + 1):
            answer = await _get(session, target, gate, max_bytes)
            if isinstance(answer, Download):
                return answer
            target = _redirected(target, answer)
    raise RedirectError(f"{_shown(target)} redirects more than {_MAX_REDIRECTS} times.", hint="Pass the final URL.")


async def _get(session: aiohttp.ClientSession, target: URL, gate: _Gate, max_bytes: int) -> Download | str:
    """Return the downloaded file, or the location of a redirect."""
    peer = f"{target.host}:{target.port}"
    received: int | None = None
    try:
        async with session.get(target, allow_redirects=False) as response:
            if response.status in _REDIRECTS and "Location" in response.headers:
                return response.headers["Location"]
            _check_head(response, target, max_bytes)
            data = bytearray()
            received = 0
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                data += chunk
                received = len(data)
                if received > max_bytes:
                    raise _too_large(target, f"more than {max_bytes}", max_bytes)
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            return Download(bytes(data), kind, target.name)
    except (aiohttp.ClientConnectorError, UnicodeError) as exc:  # UnicodeError: a label of the name is too long
        if gate.refused is not None:
            raise _private(target, gate.refused) from exc
        failure = connect_failure(exc, peer=peer, max_connections=None)
        if not isinstance(failure, TooManyOpenFilesError):
            failure.hint = _NO_SERVER  # the usual hint is about the service, which was not called
        raise failure from exc
    except aiohttp.InvalidURL as exc:
        raise InvalidRequestError("the URL cannot be requested.", path="url") from exc
    except (aiohttp.ClientError, OSError) as exc:
        failure = connection_lost(exc, peer=peer, received_bytes=received)
        failure.hint = "Try again; if it persists, fetch it by other means, and pass the bytes."
        raise failure from exc


def _check_head(response: aiohttp.ClientResponse, target: URL, max_bytes: int) -> None:
    if response.status in _CLIENT_ERRORS:
        raise InvalidRequestError(
            f"{_shown(target)} answered {response.status}.",
            path="url",
            hint="Check the URL, and whether it needs a login: nothing but the URL itself is sent.",
        )
    if response.status != _OK:
        raise TransportError(f"{_shown(target)} answered {response.status}.", hint="Try again later.", sent=True)
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise ProtocolError(
            f"{_shown(target)} sent a compressed response ({encoding[:20]}) that was not requested.",
            hint="Fetch it by other means, and pass the bytes.",
            sent=True,
        )
    if response.content_length is not None and response.content_length > max_bytes:
        raise _too_large(target, str(response.content_length), max_bytes)


def _parsed(url: object) -> URL:
    try:
        target = URL(url) if isinstance(url, str) else None
    except ValueError as exc:
        raise InvalidRequestError("the URL cannot be parsed: invalid host or port.", path="url") from exc
    if target is None or target.scheme not in {"http", "https"} or not target.host:
        scheme = f"the scheme {target.scheme!r}" if target is not None and target.scheme else "no scheme and host"
        raise InvalidRequestError(
            f"the URL has {scheme}; http and https are fetched."
            if isinstance(url, str)
            else f"the URL is a {type(url).__name__}, not text.",
            path="url",
            hint="Objects of S3 are passed with from_s3, data: URLs with from_data_url, files with read.",
        )
    if target.user is not None or target.password is not None:
        raise InvalidRequestError("the URL holds a user name or password.", path="url", hint="Pass it without.")
    return target


def _redirected(target: URL, location: str) -> URL:
    try:
        onward = _parsed(str(target.join(URL(location))))
    except (InvalidRequestError, ValueError) as exc:
        raise RedirectError(f"{_shown(target)} redirects to something that is not an http or https URL.") from exc
    if target.scheme == "https" and onward.scheme == "http":
        raise RedirectError(
            f"{_shown(target)} redirects from https to http.",
            hint="Pass the http URL yourself, if you trust the network.",
        )
    return onward


def _shown(url: URL) -> str:
    """Return a URL without its query, which may contain a signature."""
    return f"{url.scheme}://{url.host}{url.path}"


def _private(target: URL, address: str) -> InvalidRequestError:
    where = address if target.host == address else f"{target.host} is at {address}, which"
    return InvalidRequestError(
        f"{where} is not a public internet address.",
        path="url",
        hint="URLs from users must not reach the internal network; pass allow_private=True for URLs that you trust.",
    )


def _too_large(target: URL, size: str, limit: int) -> InvalidRequestError:
    return InvalidRequestError(
        f"{_shown(target)} has {size} bytes; at most {limit} are downloaded.", path="url", hint="Raise max_bytes."
    )


class _Gate:
    """Creates the sockets of a download, for permitted addresses only."""

    def __init__(self, reachable: Callable[[str], bool]) -> None:
        self._reachable = reachable
        self.refused: str | None = None
        """The address that was refused, if any."""

    def socket(self, address: tuple[Any, ...]) -> socket.socket:
        """Return a socket for an address as described by ``getaddrinfo``. Raises OSError if it is not permitted."""
        family, kind, protocol, _, peer = address
        if not self._reachable(peer[0]):
            self.refused = str(peer[0])
            raise OSError(errno.EACCES, "not a public address")
        return socket.socket(family, kind, protocol)
