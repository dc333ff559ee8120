"""The default transport: HTTP/1.1 over asyncio protocols, parsed by llhttp (httptools)."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from ..errors import WrongEventLoopError
from . import _failures
from ._addresses import Resolver
from ._channel import open_channel
from ._http1 import Connection
from ._origin import Origin, Route, Router
from ._pool import Pool
from ._protocol import WireRequest, WireResponse
from ._proxies import EnvironmentProxies
from ._request_head import HeadWriter
from ._sockets import keepalive_options, pool_size
from ._tls import ClientCert, shared_context

__all__ = ["NativeTransport"]

_PLAIN_BUFFER_BYTES: Final = 2**16
_TLS_BUFFER_BYTES: Final = 2**14
"""The size of one read. OpenSSL's buffer of a connection grows to the largest input it ever got."""


class NativeTransport:
    """Sends requests over a pool of at most ``max_connections`` connections, in the order of arrival.

    ``max_connections`` defaults to 1,000, or to 64 less than the process's limit of open files if that is smaller.
    ``ssl_context`` replaces the process-wide context, which trusts ``ca_bundle``, else AWS_CA_BUNDLE, else the system's
    store. ``client_cert`` (a PEM file, or one for the certificate and one for the key) is presented to servers that
    request a certificate. ``environ`` (default: ``os.environ``) supplies that variable and the proxies; with
    ``trust_env=False`` neither is read. ``proxies`` (URLs by the scheme of the request, ``{}`` for none) replace those
    of the environment; for an https proxy the same trust and client certificate apply as for the endpoint, unless
    ``proxy_ca_bundle`` or ``proxy_client_cert`` differ.

    Connections are probed after ``keepalive_idle_s`` seconds of silence and dropped after ``pool_idle_s`` seconds
    unused (60 s, as in the AWS SDK for Java). Creating a transport needs no event loop; the first request binds it to
    the running loop, and any other loop raises WrongEventLoopError.
    """

    name = "native"

    def __init__(
        self,
        *,
        max_connections: int | None = None,
        ssl_context: ssl.SSLContext | None = None,
        ca_bundle: str | None = None,
        client_cert: ClientCert | None = None,
        proxies: Mapping[str, str] | None = None,
        proxy_ca_bundle: str | None = None,
        proxy_client_cert: ClientCert | None = None,
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
        self._proxy_tls: ssl.SSLContext | None = None
        self._proxy_trust = (proxy_ca_bundle, proxy_client_cert)
        self._router = Router(EnvironmentProxies(environ, proxies))
        self._heads = HeadWriter()
        self._resolver = Resolver()
        self._keepalive = keepalive_options(keepalive_idle_s)
        self._pool_idle_s = pool_idle_s
        self._plain_buffer = memoryview(bytearray(_PLAIN_BUFFER_BYTES))
        self._tls_buffer = self._plain_buffer[:_TLS_BUFFER_BYTES]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: Pool | None = None
        self._connecting: set[asyncio.Timeout] = set()
        self._closed = False

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        """Send the request and return once the head of the response has arrived; see `Transport.send`.

        A pooled connection that the peer turns out to have closed before any byte of the response is replaced by a new
        one, once. A server may close an idle connection at any time, even while a request is on its way, and RFC 9112
        (section 9.3.1) lets a client repeat requests that are known to be safe. These are: inference changes nothing,
        and requests that start a job carry a token against starting it twice. botocore repeats every operation in this
        case; urllib3 discards dropped connections when it takes one from its pool, which leaves a race. On a new
        connection the same failure has other causes, and is reported.
        """
        if self._closed:
            raise _failures.transport_closed()
        pool = self._pool
        if pool is None or asyncio.get_running_loop() is not self._loop:
            pool = self._bind()
        route = self._router.route(request.url)
        head = self._heads.head(request, route)
        connection = pool.idle(route.origin) or await self._connection(pool, route, connect_timeout_s)
        while True:
            response = connection.start(request.method, head, request.body)
            try:
                await response.head
            except BaseException:
                response.abort()
                raise
            if response.status:
                return response
            failure = response.failure
            if self._is_closed():
                raise _failures.transport_closed() from failure
            if failure is not None and not (connection.reused and response.unanswered):
                raise failure
            connection = await self._connection(pool, route, connect_timeout_s, fresh=True)

    async def aclose(self) -> None:
        """Abort the responses in progress and close all connections. Idempotent.

        Connections are closed even when this is cancelled.
        """
        self._closed = True
        for limit in self._connecting:
            with suppress(RuntimeError):  # the limit has just expired
                limit.reschedule(0.0)
        if self._pool is not None:
            self._pool.close()
        await asyncio.sleep(0)  # lets the loop close the sockets

    def _is_closed(self) -> bool:
        """Return the current state, which `aclose` may have changed during a wait."""
        return self._closed

    def _bind(self) -> Pool:
        """Create the pool, which binds this transport to the running loop."""
        if self._loop is not None:
            raise WrongEventLoopError(
                "the transport belongs to an event loop other than the running one.",
                hint="Create a client, or a transport, per event loop.",
            )
        self._loop = asyncio.get_running_loop()
        self._pool = Pool(self._loop, max_connections=self._max_connections, idle_s=self._pool_idle_s)
        return self._pool

    async def _connection(self, pool: Pool, route: Route, limit_s: float, *, fresh: bool = False) -> Connection:
        """Return a pooled connection when one is free, or a new one when the pool has a free slot."""
        origin = route.origin
        if self._tls is None and (origin.secure or (origin.proxy is not None and origin.proxy.secure)):
            self._tls = await shared_context(self._ca_bundle, self._client_cert)
        if self._proxy_tls is None and any(self._proxy_trust) and origin.proxy is not None and origin.proxy.secure:
            self._proxy_tls = await shared_context(*self._proxy_trust)
        if self._closed:
            raise _failures.transport_closed()
        limit = asyncio.timeout(limit_s)
        self._connecting.add(limit)
        try:
            async with limit:
                return await pool.turn(origin, fresh=fresh) or await self._new_connection(pool, origin)
        except TimeoutError as exc:
            if self._closed:
                raise _failures.transport_closed() from exc
            raise _failures.connect_timeout(
                peer=route.peer, limit_s=limit_s, max_connections=self._max_connections
            ) from exc
        finally:
            self._connecting.discard(limit)

    async def _new_connection(self, pool: Pool, origin: Origin) -> Connection:
        """Open a connection in the slot granted by the pool."""
        loop = asyncio.get_running_loop()
        try:
            channel = await open_channel(
                origin,
                self._tls,
                proxy_context=self._proxy_tls,
                resolver=self._resolver,
                options=self._keepalive,
                max_connections=self._max_connections,
            )
            connection = Connection(
                pool,
                loop,
                peer=origin.peer,
                buffer=self._tls_buffer if channel.layers else self._plain_buffer,
                layers=channel.layers,
            )
            # From here on the loop closes the socket, also on cancellation.
            await loop.create_connection(lambda: connection, sock=channel.socket)
        except BaseException:
            pool.give_up()
            raise
        pool.opened(connection, origin)
        return connection
