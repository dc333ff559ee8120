"""An alternative transport: over httpx or httpx2, for SOCKS proxies, HTTP/2, MockTransport, or an existing client.

It needs several times the CPU time of the default transport, and has the same contract.
"""

from __future__ import annotations

import asyncio
import importlib
import math
import os
import socket
import ssl
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast

import anyio

from ..errors import BedrockError, ConnectError, InvalidRequestError, MissingExtraError, TransportError
from . import _failures
from ._origin import target_of
from ._protocol import WireRequest, WireResponse
from ._proxies import EnvironmentProxies
from ._sockets import keepalive_options, pool_size
from ._tls import ClientCert, shared_context

if TYPE_CHECKING:
    import httpx

    from . import HttpClient

__all__ = ["HttpxTransport"]

_CLOSE_LIMIT_S: Final = 5.0

T = TypeVar("T")


class HttpxTransport:
    """Sends requests through ``client``, an existing httpx or httpx2 ``AsyncClient``, or through its own client.

    A client that is passed in remains its owner's: `aclose` leaves it open, and its limits, proxies and TLS settings
    apply instead of the arguments here. Its default headers, cookies, ``auth`` and redirects do not apply, because a
    request is sent exactly as it was signed. Without ``client``, the arguments are those of `NativeTransport`. Raises
    MissingExtraError when neither library is installed.

    Pieces of a body arrive as httpx returns them, one for each HTTP chunk.
    """

    name = "httpx"

    def __init__(
        self,
        client: HttpClient | None = None,
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
        self._library = _installed_library() if client is None else _library_of(client)
        # httpx2 has the same interface as httpx; where the classes matter, `_library` has the right ones.
        self._given = cast("httpx.AsyncClient | None", client)
        self._own: dict[str | None, httpx.AsyncClient] = {}
        self._max_connections = pool_size(max_connections)
        self._tls = ssl_context
        self._ca_bundle = ca_bundle or environ.get("AWS_CA_BUNDLE") or None
        self._client_cert = client_cert
        self._proxies = EnvironmentProxies(environ, proxies)
        self._keepalive = keepalive_options(keepalive_idle_s)
        self._pool_idle_s = pool_idle_s
        self._live: weakref.WeakSet[_Response] = weakref.WeakSet()
        self._work = _Work()
        self._closing: asyncio.Task[None] | None = None
        self._closed = False

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        """Send the request and return once the head of the response has arrived; see `Transport.send`.

        A pooled connection that the peer has closed in the meantime is replaced once, for the reasons given at
        `NativeTransport.send`.
        """
        if self._closed:
            raise _failures.transport_closed()
        peer = _failures.peer_of(request.url)
        client = self._given
        if client is None:
            proxy = self._proxies.proxy_for(request.url)
            client = self._own.get(proxy) or await self._open(proxy)
            if proxy is not None:
                peer += " (through a proxy)"
        replaced = False
        while True:
            progress = _Progress(connect_timeout_s)
            task = self._work.call(self._exchange(client, request, progress), stop=progress.stop)
            try:
                await asyncio.wait((task,))
            except BaseException:
                progress.stop(task)
                task.add_done_callback(self._close_unseen)
                raise
            try:
                response = task.result()
            except asyncio.CancelledError as exc:  # by `aclose`: a cancellation of this task is handled above
                raise _failures.transport_closed() from exc
            except Exception as exc:
                if progress.reused and not replaced and self._dropped_while_idle(exc):
                    replaced = True
                    continue
                failure = self._failure(exc, client, peer, progress)
                if failure is None:
                    raise
                raise failure from exc
            found = _Response(response, peer=peer, library=self._library, work=self._work)
            self._live.add(found)
            return found

    async def aclose(self) -> None:
        """Abort what is in progress and close the connections; a client that was passed in stays open. Idempotent.

        Takes at most 5 s. Connections are closed even when this is cancelled.
        """
        self._closed = True
        for response in list(self._live):
            response.abort()
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close_all())
        await asyncio.wait((self._closing,), timeout=_CLOSE_LIMIT_S)

    async def _close_all(self) -> None:
        """Close everything; runs in its own task, for the reasons given at `_Work`."""
        await self._work.finish()
        for client in self._own.values():
            await client.aclose()

    async def _open(self, proxy: str | None) -> httpx.AsyncClient:
        tls = self._tls or await shared_context(self._ca_bundle, self._client_cert)
        if self._closed:
            raise _failures.transport_closed()
        library = self._library
        limits = library.Limits(
            max_connections=self._max_connections,
            max_keepalive_connections=self._max_connections,
            keepalive_expiry=self._pool_idle_s,
        )
        transport = library.AsyncHTTPTransport(
            verify=tls, trust_env=False, proxy=proxy, limits=limits, socket_options=self._keepalive
        )
        # Another task may have been faster; a client that was never used need not be closed.
        return self._own.setdefault(proxy, library.AsyncClient(transport=transport, trust_env=False))

    async def _exchange(self, client: httpx.AsyncClient, request: WireRequest, progress: _Progress) -> httpx.Response:
        url: httpx.URL = self._library.URL(request.url)
        limit_s = progress.connect_timeout_s
        extensions: dict[str, object] = {
            "timeout": {"connect": limit_s, "pool": limit_s, "read": None, "write": None},
            "trace": progress,
        }
        target = target_of(request.url).encode("ascii")
        if url.raw_path != target:
            # httpx normalizes dot segments and re-quotes the path; the signature covers the original.
            extensions["target"] = target
        message = self._library.Request(
            request.method, url, headers=request.headers, content=request.body, extensions=extensions
        )
        try:
            with progress.scope:
                return await client.send(message, stream=True, auth=None, follow_redirects=False)
            raise _failures.connect_timeout(
                peer=_failures.peer_of(request.url), limit_s=limit_s, max_connections=self._pool_size
            )
        except BaseException:
            # A cancelled TLS handshake would leave the TCP connection open until garbage collection.
            if progress.connection is not None:
                await progress.connection.aclose()
            raise

    def _close_unseen(self, task: asyncio.Task[httpx.Response]) -> None:
        """Close a response that arrived after its caller had gone."""
        if not task.cancelled() and task.exception() is None:
            _Response(task.result(), peer="", library=self._library, work=self._work).abort()

    @property
    def _pool_size(self) -> int | None:
        return self._max_connections if self._given is None else None

    def _dropped_while_idle(self, exc: Exception) -> bool:
        library = self._library
        if self._closed:
            return False
        return isinstance(exc, library.ReadError | library.WriteError) or (
            isinstance(exc, library.RemoteProtocolError) and "without sending a response" in str(exc)
        )

    def _failure(
        self, exc: Exception, client: httpx.AsyncClient, peer: str, progress: _Progress
    ) -> BedrockError | None:
        """Return our error for ``exc``, or None if it is not a failure of the connection."""
        library = self._library
        if isinstance(exc, BedrockError):
            return None
        if self._closed or client.is_closed:
            return _failures.transport_closed()
        if isinstance(exc, library.ConnectTimeout | library.PoolTimeout):
            return _failures.connect_timeout(
                peer=peer, limit_s=progress.connect_timeout_s, max_connections=self._pool_size
            )
        if isinstance(exc, library.ProxyError):
            return ConnectError(
                f"the proxy refused to connect to {peer} ({exc}).",
                hint="Check the proxy's credentials and rules, or add the host to NO_PROXY.",
            )
        if isinstance(exc, library.ConnectError | OSError | UnicodeError) and not progress.sent:
            return _failures.connect_failure(exc, peer=peer, max_connections=self._pool_size)
        if isinstance(exc, library.InvalidURL | library.UnsupportedProtocol | library.LocalProtocolError | ValueError):
            return InvalidRequestError(f"the request to {peer} cannot be sent ({exc}).")
        if isinstance(exc, library.TransportError | OSError):
            return _broken(exc, library, peer=peer, received_bytes=None)
        return None


class _Response:
    """A response over httpx."""

    __slots__ = (
        "__weakref__",
        "_complete",
        "_failure",
        "_library",
        "_peer",
        "_pieces",
        "_reading",
        "_received_bytes",
        "_response",
        "_work",
        "headers",
        "status",
    )

    def __init__(self, response: httpx.Response, *, peer: str, library: ModuleType, work: _Work) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = _headers(response)
        self._response = response
        # Not aiter_raw(), which rejects the preset content of a MockTransport's response.
        self._pieces = aiter(cast("AsyncIterator[bytes]", response.stream))
        self._peer = peer
        self._library = library
        self._work = work
        self._reading: asyncio.Task[bytes] | None = None
        self._received_bytes = 0
        self._complete = False
        self._failure: TransportError | None = None

    async def receive(self) -> bytes:
        """Return the next piece of the body; see `WireResponse.receive`. Cancelling closes the connection."""
        return await self._read(self._next())

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole body; see `WireResponse.read`. Cancelling closes the connection."""
        return await self._read(self._rest(max_bytes))

    def abort(self) -> None:
        """Close the connection now; see `WireResponse.abort`."""
        if self._complete or self._failure is not None:
            return
        self._close(_failures.connection_aborted(peer=self._peer))

    async def _read(self, work: Coroutine[object, object, bytes]) -> bytes:
        if self._failure is not None:
            work.close()
            raise self._failure
        task = self._reading = self._work.call(work)
        try:
            await asyncio.wait((task,))
        except BaseException:
            self.abort()
            raise
        finally:
            self._reading = None
        if task.cancelled() and self._failure is not None:
            raise self._failure
        try:
            return task.result()
        except BedrockError as exc:
            if isinstance(exc, TransportError):
                self._close(exc)
            raise
        except (self._library.TransportError, OSError) as exc:
            failure = _broken(exc, self._library, peer=self._peer, received_bytes=self._received_bytes)
            self._close(failure)
            raise failure from exc

    async def _next(self) -> bytes:
        if not self._complete:
            async for piece in self._pieces:
                if piece:
                    self._received_bytes += len(piece)
                    return piece
            # The pool owns the connection from here on: closing it would hurt another request.
            self._complete = True
            await self._response.aclose()
        return b""

    async def _rest(self, max_bytes: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while piece := await self._next():
            size += len(piece)
            if size > max_bytes:
                raise _failures.body_too_large(peer=self._peer, max_bytes=max_bytes)
            pieces.append(piece)
        return b"".join(pieces)

    def _close(self, failure: TransportError) -> None:
        self._failure = failure
        _shut_down(self._response)
        reading = self._reading
        if reading is not None:
            reading.cancel()
        self._work.close(lambda: self._finish_closing(reading))

    async def _finish_closing(self, reading: asyncio.Task[bytes] | None) -> None:
        if reading is not None:
            await asyncio.wait((reading,))
        await self._response.aclose()
        # Otherwise the interpreter would close the generator some time later, in a task of its own.
        if (close := getattr(self._pieces, "aclose", None)) is not None:
            await close()


class _Closable(Protocol):
    """Something that can be closed, such as a network stream of httpcore."""

    async def aclose(self) -> None:
        """Close it. Idempotent."""
        ...


class _Progress:
    """The progress of a request within httpx; serves as its trace hook, called in the sending task.

    ``scope`` bounds the time from the first attempt to connect to the first byte of the request, whereas httpx's own
    limits apply to each step (pool, connect, TLS) separately.

    httpcore 1.0 is fragile between the end of connecting and the first byte: cancelled within those two turns of the
    loop, it leaks the connection's place in the pool. Such a cancellation is postponed until right afterwards.
    """

    __slots__ = ("_connecting", "_deadline", "_fragile", "_stopped", "connect_timeout_s", "connection", "scope", "sent")

    def __init__(self, connect_timeout_s: float) -> None:
        self.connect_timeout_s = connect_timeout_s
        self.scope = anyio.CancelScope()
        self.sent = False
        self.connection: _Closable | None = None
        """The TCP connection opened for this request, if any."""
        self._deadline = anyio.current_time() + connect_timeout_s
        self._connecting = False
        self._fragile = False
        self._stopped = False

    @property
    def reused(self) -> bool:
        """Whether the request was sent on a connection that had been used before."""
        return self.sent and not self._connecting

    def stop(self, task: asyncio.Task[object]) -> None:
        """Cancel the sending task, now or as soon as httpcore can handle it."""
        self._stopped = True
        if not self._fragile:
            task.cancel()

    async def __call__(self, event: str, info: Mapping[str, object]) -> None:
        if event.endswith("connect_tcp.started"):
            self._connecting = True
            self.scope.deadline = self._deadline
        elif event.endswith("connect_tcp.complete"):
            self.connection = cast("_Closable", info["return_value"])
            self._enter_fragile()
        elif event.endswith("start_tls.started"):
            self._leave_fragile()
            self.scope.deadline = self._deadline
        elif event.endswith("start_tls.complete"):
            self._enter_fragile()
        elif event.endswith("send_request_headers.started"):
            self._leave_fragile()
            if _is_connect(info):
                self.scope.deadline = self._deadline
            else:
                self.sent = True

    def _enter_fragile(self) -> None:
        self._fragile = True
        self.scope.deadline = math.inf

    def _leave_fragile(self) -> None:
        self._fragile = False
        if self._stopped:
            raise asyncio.CancelledError


class _Work:
    """The tasks in which httpx runs.

    httpx closes a connection in several steps, and a second cancellation between them would leave the connection open
    and its place in the pool taken forever. So httpx runs in tasks of its own: a cancelled caller leaves at once, while
    the task, which is cancelled only once, closes undisturbed. The transport's ``aclose()`` waits for all of them.
    """

    def __init__(self) -> None:
        self._calls: dict[asyncio.Task[object], Callable[[asyncio.Task[object]], None] | None] = {}
        self._closings: set[asyncio.Task[object]] = set()

    def call(
        self, work: Coroutine[object, object, T], *, stop: Callable[[asyncio.Task[object]], None] | None = None
    ) -> asyncio.Task[T]:
        """Run ``work`` in a task that the caller awaits; ``stop`` cancels it in place of ``task.cancel``."""
        task = asyncio.get_running_loop().create_task(work)
        self._calls[cast("asyncio.Task[object]", task)] = stop
        task.add_done_callback(self._called)
        return task

    def close(self, work: Callable[[], Coroutine[object, object, None]]) -> None:
        """Run ``work`` in a background task, if the loop is still running."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        task = loop.create_task(work())
        self._closings.add(cast("asyncio.Task[object]", task))
        task.add_done_callback(self._closed)

    async def finish(self) -> None:
        """Stop the calls in progress and wait until every task has ended."""
        for task, stop in list(self._calls.items()):
            if stop is None:
                task.cancel()
            else:
                stop(task)
        while tasks := self._calls.keys() | self._closings:
            await asyncio.wait(tasks)

    def _called(self, task: asyncio.Task[object]) -> None:
        del self._calls[task]
        if not task.cancelled():
            task.exception()  # retrieved for asyncio: the caller has it, or has left

    def _closed(self, task: asyncio.Task[object]) -> None:
        self._closings.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved for asyncio: nobody is interested in a failure to close any more


def _shut_down(response: httpx.Response) -> None:
    """Let the peer see the end of the connection now; httpx itself can close it only in another task."""
    if response.extensions.get("http_version") == b"HTTP/2":
        return  # the connection is shared with other requests
    stream = response.extensions.get("network_stream")
    connection = stream.get_extra_info("socket") if stream is not None else None
    if connection is None:  # no network: MockTransport, ASGITransport
        return
    # A duplicate, because uvloop's socket objects reject shutdown().
    with suppress(OSError), socket.fromfd(connection.fileno(), connection.family, connection.type) as twin:
        twin.shutdown(socket.SHUT_RDWR)


def _broken(exc: BaseException, library: ModuleType, *, peer: str, received_bytes: int | None) -> TransportError:
    if isinstance(exc, library.RemoteProtocolError) and "without sending" not in str(exc):
        return _failures.not_http(str(exc), peer=peer)
    # "Server disconnected without sending a response", "peer closed connection without sending complete message body"
    return _failures.connection_lost(exc, peer=peer, received_bytes=received_bytes)


def _installed_library() -> ModuleType:
    # httpx2 first: httpx 0.28 scans all connections of its pool for each of them, which costs 7 ms per call at 64 in
    # flight; httpx2 takes 0.7.
    for name in ("httpx2", "httpx"):
        with suppress(ImportError):
            return importlib.import_module(name)
    raise MissingExtraError(
        "HttpxTransport needs httpx, which is not installed.", hint="Install it: pip install 'bedrock-async[httpx]'."
    )


def _library_of(client: object) -> ModuleType:
    for kind in type(client).__mro__:
        library = kind.__module__.partition(".")[0]
        if kind.__name__ == "AsyncClient" and library in ("httpx", "httpx2"):
            return importlib.import_module(library)
    raise InvalidRequestError(
        f"client is a {type(client).__name__}; an httpx.AsyncClient or httpx2.AsyncClient is needed.", path="client"
    )


def _is_connect(info: Mapping[str, object]) -> bool:
    """Whether a request asks a proxy for a tunnel."""
    return getattr(info.get("request"), "method", None) == b"CONNECT"


def _headers(response: httpx.Response) -> dict[str, str]:
    return dict(response.headers.items())  # httpx returns names in lower case, and joins repeated headers
