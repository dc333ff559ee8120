"""An alternative transport: HTTP/1.1 over aiohttp's connection pool.

Nothing of aiohttp is exposed: requests, responses and errors are ours.
"""

from __future__ import annotations

import asyncio
import errno
import io
import math
import os
import socket
import ssl
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.tracing import Trace
from yarl import URL

from ..errors import BedrockError, ConnectError, InvalidRequestError, TransportError
from . import _failures
from ._protocol import WireRequest, WireResponse
from ._proxies import EnvironmentProxies
from ._sockets import keepalive_options, pool_size
from ._tls import ClientCert, shared_context

__all__ = ["AiohttpTransport"]

_CLOSE_LIMIT_S: Final = 5.0

_LARGE_BODY_BYTES: Final = 2**20
"""Bodies of this size or more are sent in pieces, letting other tasks run; aiohttp warns when given them at once."""

_READ_BUFFER_BYTES: Final = 2**16
"""aiohttp pauses reading when twice this much of a response is unread."""

_DROPPED: Final = frozenset({errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ESHUTDOWN})


class AiohttpTransport:
    """Sends requests over a pool of at most ``max_connections`` connections.

    The arguments are those of `NativeTransport`. The first request binds the transport to the running event loop.
    """

    name = "aiohttp"

    def __init__(
        self,
        *,
        max_connections: int | None = None,
        ssl_context: ssl.SSLContext | None = None,
        ca_bundle: str | None = None,
        client_cert: ClientCert | None = None,
        proxies: Mapping[str, str] | None = None,
        trust_env: bool = True,
        environ: Mapping[str, str] | None = None,
        keepalive_idle_s: int = 60,
        pool_idle_s: float = 60.0,
    ) -> None:
        environ = (os.environ if environ is None else environ) if trust_env else {}
        self._max_connections = pool_size(max_connections)
        self._tls = ssl_context
        self._ca_bundle = ca_bundle or environ.get("AWS_CA_BUNDLE") or None
        self._client_cert = client_cert
        self._proxies = EnvironmentProxies(environ, proxies)
        self._keepalive = keepalive_options(keepalive_idle_s)
        self._pool_idle_s = pool_idle_s
        self._session: aiohttp.ClientSession | None = None
        self._timeout = aiohttp.ClientTimeout()
        self._live: weakref.WeakSet[_Response] = weakref.WeakSet()
        self._closed = False

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        """Send the request and return once the head of the response has arrived; see `Transport.send`.

        A pooled connection that the peer turns out to have closed before any byte of the response is replaced by
        another, once, for the reasons given at `NativeTransport.send`.
        """
        if self._closed:
            raise _failures.transport_closed()
        session = self._session or self._open()
        secure = request.url.startswith("https:")
        if secure and self._tls is None:
            self._tls = await shared_context(self._ca_bundle, self._client_cert)
        if self._timeout.connect != connect_timeout_s:
            # An infinite threshold, because aiohttp would otherwise round longer limits up to a full second of the
            # loop's clock.
            self._timeout = aiohttp.ClientTimeout(connect=connect_timeout_s, ceil_threshold=math.inf)
        url = _url(request.url)
        proxy = self._proxies.proxy_for(request.url)
        replaced = False
        while True:
            attempt = _Attempt()
            token = _attempt.set(attempt)
            try:
                response = await session.request(
                    request.method,
                    url,
                    data=_payload(request.body),
                    headers=request.headers,
                    allow_redirects=False,
                    timeout=self._timeout,
                    ssl=self._tls if secure and self._tls is not None else True,
                    proxy=proxy,
                )
            except asyncio.CancelledError as exc:
                attempt.abort()
                if self._cancelled_by_closing():
                    raise _failures.transport_closed() from exc
                raise
            except BaseException as exc:
                attempt.abort()
                if attempt.reused and not replaced and self._dropped_while_idle(exc):
                    replaced = True
                    continue
                failure = self._failure(exc, request.url, attempt, connect_timeout_s)
                if failure is None:
                    raise
                raise failure from exc
            finally:
                _attempt.reset(token)
            if attempt.link is not None:
                attempt.link.content = response.content
            found = _Response(response)
            self._live.add(found)
            return found

    async def aclose(self) -> None:
        """Abort the responses in progress and close all connections. Idempotent.

        Takes at most 5 s. Connections are closed even when this is cancelled.
        """
        self._closed = True
        session, self._session = self._session, None
        for response in list(self._live):
            response.abort()
        if session is not None:
            if isinstance(session.connector, _Connector):
                session.connector.abort()
            # Nothing is open from here on; the loop only needs to process it.
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_LIMIT_S):
                    await session.close()

    def _open(self) -> aiohttp.ClientSession:
        connector = _Connector(
            limit=self._max_connections, keepalive_timeout=self._pool_idle_s, socket_factory=self._socket
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_READ_BUFFER_BYTES,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        )
        return self._session

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol = address[:3]
        connection = socket.socket(family=family, type=kind, proto=protocol)
        try:
            for option in self._keepalive:
                connection.setsockopt(*option)
        except BaseException:
            connection.close()
            raise
        return connection

    def _cancelled_by_closing(self) -> bool:
        """Whether a waiting request was cancelled by `aclose` rather than by a cancellation of its task."""
        task = asyncio.current_task()
        return self._closed and task is not None and not task.cancelling()

    def _dropped_while_idle(self, exc: BaseException) -> bool:
        """Whether the peer closed a reused connection before any byte of the response, as far as can be told."""
        if self._closed:
            return False
        if isinstance(exc, aiohttp.ServerDisconnectedError):
            # Anything but the default text is a partial head that had arrived.
            return isinstance(exc.message, str)
        return (
            isinstance(exc, aiohttp.ClientOSError)
            and not isinstance(exc, aiohttp.ClientConnectorError)
            and (exc.errno in _DROPPED or isinstance(exc.__cause__, aiohttp.ClientConnectionResetError))
        )

    def _failure(
        self, exc: BaseException, url: str, attempt: _Attempt, connect_timeout_s: float
    ) -> BedrockError | None:
        """Return our error for ``exc``, or None if it is not a failure of the connection."""
        peer = _failures.peer_of(url)
        match exc:
            case BedrockError():
                return None
            case aiohttp.ConnectionTimeoutError():
                return _failures.connect_timeout(
                    peer=peer, limit_s=connect_timeout_s, max_connections=self._max_connections
                )
            case aiohttp.ClientConnectorError():
                # aiohttp's own classes imitate those of ssl, but without their details.
                return _failures.connect_failure(
                    exc.__cause__ or exc, peer=f"{exc.host}:{exc.port}", max_connections=self._max_connections
                )
            case aiohttp.ClientHttpProxyError():
                return ConnectError(
                    f"the proxy refused to connect to {peer} (HTTP {exc.status}).",
                    hint="Check the proxy's credentials and rules, or add the host to NO_PROXY.",
                )
            case aiohttp.ClientResponseError():
                return _failures.not_http(exc.message, peer=peer)
            case UnicodeError():
                return _failures.connect_failure(exc, peer=peer, max_connections=self._max_connections)
            case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | ValueError():
                return InvalidRequestError(f"the request to {peer} cannot be sent ({exc}).")
            case aiohttp.ClientError() | OSError():
                if self._closed:
                    return _failures.transport_closed()
                if attempt.transport is None:
                    return _failures.connect_failure(exc, peer=peer, max_connections=self._max_connections)
                return _failures.connection_lost(exc, peer=peer, received_bytes=None)
            case RuntimeError() if self._closed:
                return _failures.transport_closed()
            case _:
                return None


class _Response:
    """A response over aiohttp."""

    __slots__ = ("__weakref__", "_failure", "_readany", "_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = _headers(response)
        self._response = response
        self._readany = response.content.readany
        self._failure: TransportError | None = None

    async def receive(self) -> bytes:
        """Return the next piece of the body; see `WireResponse.receive`. Cancelling leaves the response usable."""
        if self._failure is not None:
            raise self._failure
        try:
            return await self._readany()
        except (aiohttp.ClientError, HttpProcessingError, OSError, RuntimeError) as exc:
            connection = self._response.connection
            if isinstance(exc, RuntimeError) and connection is not None and not connection.closed:
                raise  # two concurrent readers: a bug of the caller, not a fault of the connection
            failure = self._failure
            if failure is None:
                failure = self._broken(exc)
                failure.__cause__ = exc
                # What arrived before the connection broke is still returned; the failure follows with the next call.
                rest = b"".join(getattr(self._response.content, "_buffer", ()))
                self._close(failure)
                if rest:
                    return rest
            raise failure from exc

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole body; see `WireResponse.read`. Cancelling closes the connection."""
        at_eof = self._response.content.at_eof
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := await self.receive():
                size += len(piece)
                if size > max_bytes:
                    raise _failures.body_too_large(peer=_failures.peer_of(str(self._response.url)), max_bytes=max_bytes)
                pieces.append(piece)
                if at_eof():
                    break
        except BaseException:
            self.abort()
            raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def abort(self) -> None:
        """Close the connection now; see `WireResponse.abort`."""
        if self._response.connection is not None:  # otherwise the body was read to its end, or closed before
            self._close(_failures.connection_aborted(peer=_failures.peer_of(str(self._response.url))))

    def _close(self, failure: TransportError) -> None:
        self._failure = failure
        connection = self._response.connection
        # Otherwise aiohttp would first flush its buffers and wait for the peer to answer a close_notify.
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        self._response.close()

    def _broken(self, exc: BaseException) -> TransportError:
        peer = _failures.peer_of(str(self._response.url))
        if isinstance(exc, HttpProcessingError):
            return _failures.not_http(exc.message, peer=peer)
        return _failures.connection_lost(exc, peer=peer, received_bytes=self._response.content.total_bytes)


class _Link:
    """The state of one pooled connection, as long as it lives."""

    __slots__ = ("content",)

    def __init__(self) -> None:
        self.content: aiohttp.StreamReader | None = None

    def lost(self, protocol: ResponseHandler, closed: asyncio.Future[None]) -> None:
        """Wake the reader of a body that will not arrive.

        aiohttp 3.14 loses track of the reader when the peer breaks the chunked encoding, and leaves it waiting forever.
        """
        if not closed.cancelled():
            closed.exception()  # retrieved, so that asyncio does not report it as unhandled
        # Breaks a reference cycle: a body holds its connection, and the connection this object.
        content, self.content = self.content, None
        if content is not None and not content.is_eof() and content.exception() is None:
            content.set_exception(protocol.exception() or aiohttp.ServerDisconnectedError())


class _Attempt:
    """The connection used by one request: needed to close it, and to explain a failure."""

    __slots__ = ("link", "reused", "transport")

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.link: _Link | None = None
        self.reused = False

    def abort(self) -> None:
        """Close the connection now; aiohttp itself would flush its buffers first."""
        if self.transport is not None:
            self.transport.abort()


_attempt: ContextVar[_Attempt] = ContextVar("bedrock_async_transport_attempt")


class _Connector(aiohttp.TCPConnector):
    """A pool that tells each request which connection it got, and whether that connection was used before."""

    def __init__(
        self, *, limit: int, keepalive_timeout: float, socket_factory: Callable[[tuple[Any, ...]], socket.socket]
    ) -> None:
        # socket_factory has a type of aiohappyeyeballs, whose address tuple is only partially typed.
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            limit=limit, keepalive_timeout=keepalive_timeout, socket_factory=socket_factory
        )
        self._links: weakref.WeakKeyDictionary[ResponseHandler, _Link] = weakref.WeakKeyDictionary()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the name is aiohttp's
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        protocol = connection.protocol
        if protocol is not None:
            attempt = _attempt.get()
            attempt.transport = protocol.transport
            link = self._links.get(protocol)
            attempt.reused = link is not None
            if link is None:
                link = self._links[protocol] = _Link()
                closed: asyncio.Future[None] | None = getattr(protocol, "closed", None)  # since aiohttp 3.12.4
                if closed is not None:
                    closed.add_done_callback(partial(link.lost, protocol))
            attempt.link = link
        return connection

    def abort(self) -> None:
        """Close every connection now, idle or in use."""
        for protocol in list(self._links):
            if protocol.transport is not None:
                protocol.transport.abort()


def _url(text: str) -> URL:
    try:
        return URL(text, encoded=True)
    except ValueError as exc:
        raise InvalidRequestError(f"the request's URL cannot be read ({exc}).", path="endpoint_url") from exc


def _payload(body: bytes) -> bytes | io.BytesIO | None:
    if len(body) < _LARGE_BODY_BYTES:
        return body or None
    return io.BytesIO(body)


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    received = response.headers
    headers = {name.lower(): value for name, value in received.items()}
    if len(headers) < len(received):
        return {name: ", ".join(received.getall(name)) for name in headers}
    return headers
