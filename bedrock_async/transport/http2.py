"""Bidirectional streams: HTTP/2 over asyncio, implemented with h2 from the extra ``bidirectional``.

Each stream has its own connection. Streams last for minutes, so that the handshake hardly matters; in return, no stream
waits for the flow-control window of another, and closing a stream at once just closes its socket.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from typing import Final, cast
from weakref import WeakSet

from ..errors import BedrockError, ConnectionLostError, ConnectTimeoutError, MissingExtraError, ProtocolError
from . import _failures
from ._addresses import Resolver
from ._channel import Channel, open_channel
from ._http2_frames import FrameGate
from ._origin import Route, Router
from ._protocol import WireRequest
from ._proxies import EnvironmentProxies
from ._sockets import keepalive_options
from ._tls import ClientCert, shared_context
from ._tls_layer import TlsLayer

try:
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.errors import ErrorCodes
    from h2.events import (
        ConnectionTerminated,
        DataReceived,
        Event,
        ResponseReceived,
        StreamEnded,
        StreamReset,
    )
    from h2.exceptions import H2Error
    from h2.settings import SettingCodes, Settings
except ImportError as exc:
    raise MissingExtraError(
        "a bidirectional stream needs h2, which is not installed.",
        hint="Install it: pip install 'bedrock-async[bidirectional]'.",
    ) from exc

__all__ = ["DuplexStream", "Http2Transport"]

_WINDOW_BYTES: Final = 2**18
"""The most that is buffered of received, unread data. An audio event takes about 2 KiB."""
_DEFAULT_WINDOW_BYTES: Final = 2**16 - 1  # RFC 9113, section 6.9.2
_PIECE_BYTES: Final = 2**14
"""The most that is sent in one frame, even if the peer accepts more; a TLS record holds no more."""
_MOST_UNSENT_BYTES: Final = 2**18
"""The most unsent data for a peer that does not read. Senders pause at 64 KiB (asyncio); automatic answers do not."""
_STREAM_ID: Final = 1

_OK: Final = range(200, 300)

# These belong to HTTP/1.1 (RFC 9113, section 8.2.2); the host is sent as :authority.
_NO_HEADERS: Final = frozenset({"connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})


class DuplexStream(asyncio.Protocol):
    """One request whose body is still being sent while its response arrives.

    One task may send while another one receives, but only one of each. All failures are `BedrockError`, and data
    received before a failure is still returned. A peer that has answered completely, or refused the request, accepts no
    more input: `takes_input` is False then.
    """

    def __init__(self, *, peer: str, layers: list[TlsLayer]) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._peer = peer
        self._layers = layers
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        settings = {SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES, SettingCodes.ENABLE_PUSH: 0}
        self._h2.local_settings = Settings(client=True, initial_values=settings)
        self._gate = FrameGate(_STREAM_ID)
        self._unread = bytearray()
        self._unread_window = 0
        """The flow-control window that `_unread` occupies; more than its length, because padding counts."""
        self._read_window = 0
        """The window to give back to the peer."""
        self._received_bytes = 0
        self._complete = False
        self._input_refused = False
        self._paused = False
        self._failure: BedrockError | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the connection is closed."""
        return self._transport is None

    @property
    def takes_input(self) -> bool:
        """Whether the peer may still accept input."""
        return not self._input_refused and self._failure is None

    # -- for callers

    def start(self, request: WireRequest, route: Route) -> None:
        """Send the head of the request. Never waits or raises: errors are raised by the next call."""
        fields = [(name, value) for name, value in request.headers.items() if name not in _NO_HEADERS]
        head = [
            (":method", request.method),
            (":scheme", "https" if route.origin.secure else "http"),
            (":authority", request.headers.get("host", route.host)),
            (":path", route.target),
        ]
        try:
            self._h2.send_headers(_STREAM_ID, head + fields)
        except H2Error as exc:  # the server spoke first, and accepts no request
            self._fail(_not_http2(exc, peer=self._peer))
        self._flush()

    async def head(self) -> None:
        """Wait until the head of the response has arrived, in `status` and `headers`. Raises TransportError."""
        while not self.status:
            self._raise_failure()
            await self._readable()

    async def send(self, data: bytes) -> None:
        """Send a piece of the body; return once it has been passed to the operating system or its small buffer.

        Waits as long as the peer accepts no more. Cancelling in mid-piece closes the stream; otherwise the stream stays
        usable. Raises TransportError.
        """
        view = memoryview(data)
        try:
            while view:
                self._raise_failure()
                if self._input_refused:
                    raise self._closed_by_peer()
                size = 0 if self._paused else self._h2.local_flow_control_window(_STREAM_ID)
                if size <= 0:
                    await self._writable()
                    continue
                piece = view[: min(size, _PIECE_BYTES)]
                self._h2.send_data(_STREAM_ID, bytes(piece))
                self._flush()
                view = view[len(piece) :]
            while self._paused and self._failure is None:
                await self._writable()
        except asyncio.CancelledError:
            if 0 < len(view) < len(data):
                self.abort()
            raise
        except H2Error as exc:
            raise self._fail(_not_http2(exc, peer=self._peer)) from exc

    def end(self) -> None:
        """End the body of the request; the response continues to arrive. Raises TransportError."""
        self._raise_failure()
        if self._input_refused:
            return
        try:
            self._h2.end_stream(_STREAM_ID)
        except H2Error as exc:
            raise self._fail(_not_http2(exc, peer=self._peer)) from exc
        self._flush()

    async def receive(self) -> bytes:
        """Return all data that has arrived, waiting for some; ``b""`` at the end of the response.

        The next call signals that this data was processed, and lets the peer send as much again. Cancelling loses no
        data. Raises ConnectionLostError or ProtocolError.
        """
        self._open_window()
        while not self._unread:
            if self._complete:
                return b""
            self._raise_failure()
            await self._readable()
            self._open_window()
        data = bytes(self._unread)
        self._unread.clear()
        self._read_window, self._unread_window = self._unread_window, 0
        return data

    async def read(self, max_bytes: int) -> bytes:
        """Return the rest of the response and close the stream. Raises ProtocolError beyond ``max_bytes``."""
        body = bytearray()
        try:
            while piece := await self.receive():
                body += piece
                if len(body) > max_bytes:
                    raise _failures.body_too_large(peer=self._peer, max_bytes=max_bytes)
        finally:
            self.abort()
        return bytes(body)

    def abort(self) -> None:
        """Reset the stream and close its connection now. Synchronous, idempotent, never raises."""
        transport, self._transport = self._transport, None
        if self._failure is None and not self._complete:
            self._failure = _failures.connection_aborted(peer=self._peer)
        self._wake()
        if transport is None or self._loop.is_closed():
            return
        with suppress(H2Error):
            self._h2.reset_stream(_STREAM_ID, ErrorCodes.CANCEL)
        with suppress(ssl.SSLError):
            transport.write(self._sealed(self._h2.data_to_send()))
        transport.abort()

    # -- called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the connection preface at once, as it must precede any answer to what the server sends first."""
        self._transport = cast("asyncio.Transport", transport)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW_BYTES - _DEFAULT_WINDOW_BYTES)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Process received bytes."""
        for depth, layer in enumerate(self._layers):
            data = layer.open(data)
            reply = layer.outgoing
            if reply and self._transport is not None:
                for below in reversed(self._layers[:depth]):
                    reply = below.seal(reply)
                self._transport.write(reply)
        if data:
            self._feed(data)
        for layer in self._layers:
            if layer.failure is not None or layer.said_goodbye:
                self._lost(layer.failure)

    def eof_received(self) -> None:
        """Close the connection, as the peer sends nothing more."""
        self._lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is still waiting for the connection."""
        self._lost(exc)

    def pause_writing(self) -> None:
        """Make senders wait while the write buffer is full."""
        self._paused = True

    def resume_writing(self) -> None:
        """Let senders continue."""
        self._paused = False
        self._wake()

    # -- inside

    def _feed(self, data: bytes) -> None:
        try:
            for frame in self._gate.receive(data):  # one by one: what precedes a fault is not lost
                for event in self._h2.receive_data(frame):
                    self._take(event)
        except (H2Error, ValueError) as exc:  # ValueError: from the gate, or for an invalid status or text
            self._flush()  # sends h2's GOAWAY, which names the error
            self._fail(_not_http2(exc, peer=self._peer))
            return
        self._flush()
        if self._transport is not None and self._transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:
            self._fail(self._broken("requested answers (pings, settings) and read none of them"))
        self._wake()

    def _take(self, event: Event) -> None:
        match event:
            case DataReceived(data=data, flow_controlled_length=size):
                self._received_bytes += len(data)
                self._unread += data
                if data:
                    self._unread_window += size
                else:
                    self._read_window += size
            case ResponseReceived(headers=fields):
                self._begin(cast("list[tuple[str, str]]", fields))
            case StreamEnded():
                self._complete = self._input_refused = True
            case StreamReset(error_code=code):
                # A server that has answered completely may refuse the rest of the request in this way.  [RFC 9113,
                # section 8.1]
                self._input_refused = True
                if not self._complete:
                    self._fail(self._broken(f"reset the stream ({_name(code)})"))
            case ConnectionTerminated(error_code=code):
                self._input_refused = True
                if not self._complete:
                    self._fail(self._broken(f"closed the connection for good (GOAWAY, {_name(code)})"))
            case _:
                pass

    def _begin(self, fields: list[tuple[str, str]]) -> None:
        headers: dict[str, str] = {}
        for name, value in fields:
            if name == ":status":
                self.status = int(value)
            else:
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.headers = headers
        if self.status not in _OK:
            self._input_refused = True

    def _open_window(self) -> None:
        """Give back the flow-control window of the data that has been read."""
        size, self._read_window = self._read_window, 0
        if not size or self._transport is None or self._complete or self._failure is not None:
            return
        with suppress(H2Error):  # the stream has ended meanwhile
            self._h2.acknowledge_received_data(size, _STREAM_ID)
        self._flush()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self._transport is not None:
            try:
                self._transport.write(self._sealed(data))
            except ssl.SSLError as exc:
                self._lost(exc)

    def _sealed(self, data: bytes) -> bytes:
        for layer in reversed(self._layers):
            data = layer.seal(data)
        return data

    async def _readable(self) -> None:
        self._reader = self._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    async def _writable(self) -> None:
        self._writer = self._loop.create_future()
        try:
            await self._writer
        finally:
            self._writer = None

    def _wake(self) -> None:
        for waiting in (self._reader, self._writer):
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            # A copy, because raising the same object repeatedly grows its traceback, and keeps its frames alive.
            failure = copy(self._failure)
            raise failure from self._failure.__cause__

    def _fail(self, failure: BedrockError) -> BedrockError:
        """Close the connection; return a copy of the first failure, with which the stream ends."""
        self._failure = self._failure or failure
        self.abort()
        return copy(self._failure)

    def _lost(self, exc: Exception | None) -> None:
        if self._complete:
            self._input_refused = True
            self.abort()
        elif self._failure is None:
            cause = exc or EOFError("the peer closed the connection")
            received = self._received_bytes if self.status else None
            failure = _failures.connection_lost(cause, peer=self._peer, received_bytes=received)
            failure.__cause__ = cause
            self._fail(failure)

    def _broken(self, what: str) -> ConnectionLostError:
        return ConnectionLostError(
            f"{self._peer} {what} after {self._received_bytes} bytes of the response.",
            hint="Open a new stream; the context of this one is lost.",
            sent=True,
        )

    def _closed_by_peer(self) -> ConnectionLostError:
        return ConnectionLostError(
            f"{self._peer} has ended its response and accepts nothing more.",
            hint="Read the response to its end, and open a new stream.",
            sent=True,
        )


class Http2Transport:
    """Opens bidirectional streams, each over its own connection.

    The keyword arguments are those of `NativeTransport`; an ``ssl_context`` must offer ``h2`` (ALPN). Over http, the
    peer must expect HTTP/2 with prior knowledge, as the emulator does. Proxies are always asked for a tunnel (CONNECT).
    There is no pool and no limit: each open stream has one connection.
    """

    name = "http2"

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        ca_bundle: str | None = None,
        client_cert: ClientCert | None = None,
        proxies: Mapping[str, str] | None = None,
        proxy_ca_bundle: str | None = None,
        proxy_client_cert: ClientCert | None = None,
        trust_env: bool = True,
        environ: Mapping[str, str] | None = None,
        keepalive_idle_s: int = 60,
    ) -> None:
        environ = (os.environ if environ is None else environ) if trust_env else {}
        self._tls = ssl_context
        self._ca_bundle = ca_bundle or environ.get("AWS_CA_BUNDLE") or None
        self._client_cert = client_cert
        self._proxy_tls: ssl.SSLContext | None = None
        self._proxy_trust = (proxy_ca_bundle, proxy_client_cert)
        self._router = Router(EnvironmentProxies(environ, proxies), tunnels=True)
        self._resolver = Resolver()
        self._keepalive = keepalive_options(keepalive_idle_s)
        self._streams = WeakSet[DuplexStream]()
        self._closed = False

    async def open(self, request: WireRequest, *, connect_timeout_s: float) -> DuplexStream:
        """Connect and send the head of ``request``, ignoring its ``body``; return the stream at once.

        ``connect_timeout_s`` bounds connecting. Cancelling closes what was opened. Raises ConnectTimeoutError,
        ConnectError (NameResolutionError, TLSError), TooManyOpenFilesError, ProtocolError when the peer does not offer
        HTTP/2, or ClientClosedError.
        """
        if self._closed:
            raise _failures.transport_closed()
        route = self._router.route(request.url)
        try:
            async with asyncio.timeout(connect_timeout_s):
                stream = await self._connect(route)
        except TimeoutError as exc:
            raise ConnectTimeoutError(
                f"no connection to {route.peer} was made within {connect_timeout_s:g} s.",
                limit_s=connect_timeout_s,
                hint="Check that the endpoint, or the proxy before it, is reachable.",
            ) from exc
        self._streams.add(stream)
        stream.start(request, route)
        return stream

    async def aclose(self) -> None:
        """Close all streams. Idempotent."""
        self._closed = True
        for stream in list(self._streams):
            stream.abort()
        await asyncio.sleep(0)  # lets the loop close the sockets

    async def _connect(self, route: Route) -> DuplexStream:
        origin = route.origin
        if self._tls is None and origin.secure:
            self._tls = await shared_context(self._ca_bundle, self._client_cert, protocol="h2")
        if origin.proxy is not None and origin.proxy.secure:
            # With a proxy, HTTP/1.1 is spoken until it has opened the tunnel.
            proxy_trust = self._proxy_trust if any(self._proxy_trust) else (self._ca_bundle, self._client_cert)
            self._proxy_tls = self._proxy_tls or await shared_context(*proxy_trust)
        channel = await open_channel(
            origin,
            self._tls,
            proxy_context=self._proxy_tls,
            resolver=self._resolver,
            options=self._keepalive,
            max_connections=None,
        )
        try:
            if origin.secure:
                _require_http2(channel, peer=route.peer)
            stream = DuplexStream(peer=route.peer, layers=channel.layers)
            # From here on the loop closes the socket, also on cancellation.
            await asyncio.get_running_loop().create_connection(lambda: stream, sock=channel.socket)
        except BaseException:
            channel.close()
            raise
        if self._closed:  # by aclose(), meanwhile
            stream.abort()
            raise _failures.transport_closed()
        return stream


def _require_http2(channel: Channel, *, peer: str) -> None:
    if channel.layers[-1].protocol != "h2":
        raise ProtocolError(
            f"{peer} does not offer HTTP/2, which a bidirectional stream needs.",
            hint="Check endpoint_url, and any proxy that opens TLS connections: it may speak HTTP/1.1 only.",
        )


def _not_http2(said: Exception | str, *, peer: str) -> ProtocolError:
    complaint = str(said).partition("\n")[0][:200] or type(said).__name__
    return ProtocolError(
        f"{peer} violated HTTP/2 ({complaint}).",
        hint="Check endpoint_url, its scheme (http or https) and any proxy in between.",
        sent=True,
    )


def _name(code: ErrorCodes | int | None) -> str:
    return code.name if isinstance(code, ErrorCodes) else f"code {code}"
