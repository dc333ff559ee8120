"""HTTP/2 for the emulator, on the same port as HTTP/1.1: by prior knowledge, or by ALPN over TLS.

Requests that are not conversations are forwarded to the HTTP/1.1 side, so that every operation is available in both.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, TypeAlias, cast

import httptools

from ..errors import MissingExtraError
from .answers import Control

try:
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.errors import ErrorCodes
    from h2.events import (
        DataReceived,
        Event,
        RemoteSettingsChanged,
        RequestReceived,
        StreamEnded,
        StreamReset,
        WindowUpdated,
    )
    from h2.exceptions import H2Error
except ImportError as exc:
    raise MissingExtraError(
        "the emulator needs h2 to speak HTTP/2, and it is not installed.",
        hint="Install it: pip install 'bedrock-async[bidirectional]'.",
    ) from exc

__all__ = ["Http2Stream", "PortOfBoth", "forward"]

logger = logging.getLogger("bedrock_async.testing.emulator")

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, section 3.4
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade"})
_READ_BYTES: Final = 2**16

Serve: TypeAlias = "Callable[[Http2Stream], Awaitable[None]]"


class Http2Stream:
    """One request, whose body may still be arriving, and its response. Cancelled when the client goes away."""

    def __init__(self, connection: _Http2, stream_id: int, fields: list[tuple[str, str]]) -> None:
        self.id = stream_id
        headers: dict[str, str] = {}
        for name, value in fields:
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        self.method = headers.pop(":method", "")
        self.target = headers.pop(":path", "/")
        headers.pop(":scheme", None)
        if authority := headers.pop(":authority", None):
            headers = {"host": authority, **headers}
        self.headers: Mapping[str, str] = headers
        self._connection = connection
        self._pieces: list[bytes] = []
        self.unread = 0
        """The flow-control window that unread data occupies, in bytes."""
        self._input_ended = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    async def read(self) -> bytes:
        """Return the received part of the body, waiting for some; ``b""`` at its end."""
        while not self._pieces and not self._input_ended:
            self._readable.clear()
            await self._readable.wait()
        data = b"".join(self._pieces)
        self._pieces.clear()
        size, self.unread = self.unread, 0
        self._connection.acknowledge(self.id, size)
        return data

    def respond(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of the response."""
        self._connection.send_head(self.id, [(":status", str(status)), *headers.items()])

    async def write(self, data: bytes) -> None:
        """Send a piece of the response, as fast as the client accepts it."""
        view = memoryview(data)
        while view:
            size = self._connection.room(self.id)
            if size <= 0:
                self._writable.clear()
                await self._writable.wait()
                continue
            self._connection.send_data(self.id, bytes(view[:size]))
            view = view[size:]

    def end(self) -> None:
        """End the response; a client that is still sending is told to stop."""
        self._connection.end(self.id)
        if not self._input_ended:
            self._connection.reset(self.id, ErrorCodes.NO_ERROR)

    async def break_off(self, control: Control) -> None:
        """Break off the response: stay silent, reset the stream, or close the connection. Never returns."""
        if control in {Control.RESET, Control.RESET_IN_HEAD}:
            self._connection.reset(self.id, ErrorCodes.INTERNAL_ERROR)
        elif control is Control.CLOSE:
            self._connection.close()
        elif control is Control.ABORT:
            self._connection.abort()
        await asyncio.get_running_loop().create_future()

    def take(self, data: bytes, size: int) -> None:
        """Keep received data; ``size`` is the window that it occupies."""
        self.unread += size
        if data:
            self._pieces.append(data)
            self._readable.set()

    def take_end(self) -> None:
        """Record the end of the body."""
        self._input_ended = True
        self._readable.set()

    def make_room(self) -> None:
        """Wake a writer that waits for the flow-control window."""
        self._writable.set()


class _Http2(asyncio.Protocol):
    """One connection. Data that no handler has read is limited by the flow-control window of 64 KiB."""

    def __init__(self, port: PortOfBoth) -> None:
        self._port = port
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, Http2Stream] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._paused = False

    # -- for streams

    def acknowledge(self, stream_id: int, size: int) -> None:
        if size:
            with suppress(H2Error):  # the stream has ended meanwhile
                self._h2.acknowledge_received_data(size, stream_id)
            self._flush()

    def send_head(self, stream_id: int, fields: list[tuple[str, str]]) -> None:
        with suppress(H2Error):
            self._h2.send_headers(stream_id, fields)
        self._flush()

    def room(self, stream_id: int) -> int:
        if self._paused or self._transport is None:
            return 0
        try:
            return min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
        except H2Error as exc:
            raise ConnectionResetError("the client gave the stream up") from exc

    def send_data(self, stream_id: int, data: bytes) -> None:
        self._h2.send_data(stream_id, data)
        self._flush()

    def end(self, stream_id: int) -> None:
        with suppress(H2Error):
            self._h2.end_stream(stream_id)
        self._flush()

    def reset(self, stream_id: int, code: ErrorCodes) -> None:
        with suppress(H2Error):
            self._h2.reset_stream(stream_id, code)
        self._flush()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # -- called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._port.opened(self)
        self._h2.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            events = self._h2.receive_data(data)
        except (H2Error, ValueError):  # h2 has written a GOAWAY that names the error
            self._flush()
            self.close()
            return
        for event in events:
            self._take(event)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for task in self._tasks.values():
            task.cancel()
        self._port.closed(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._make_room()

    # -- inside

    def _take(self, event: Event) -> None:
        match event:
            case RequestReceived(stream_id=int(stream_id), headers=fields):
                self._begin(stream_id, cast("list[tuple[str, str]]", fields))
            case DataReceived(stream_id=int(stream_id), data=data, flow_controlled_length=int(size)):
                if (stream := self._streams.get(stream_id)) is not None:
                    stream.take(data or b"", size)
                else:
                    self.acknowledge(stream_id, size)
            case StreamEnded(stream_id=int(stream_id)) if stream_id in self._streams:
                self._streams[stream_id].take_end()
            case StreamReset(stream_id=int(stream_id)) if stream_id in self._tasks:
                self._tasks[stream_id].cancel()
            case WindowUpdated() | RemoteSettingsChanged():
                self._make_room()
            case _:
                pass

    def _begin(self, stream_id: int, fields: list[tuple[str, str]]) -> None:
        stream = self._streams[stream_id] = Http2Stream(self, stream_id, fields)
        task = asyncio.get_running_loop().create_task(self._serve(stream))
        self._tasks[stream_id] = task

    async def _serve(self, stream: Http2Stream) -> None:
        try:
            await self._port.serve(stream)
        except ConnectionResetError:
            self.reset(stream.id, ErrorCodes.INTERNAL_ERROR)
        except Exception:
            logger.exception("a request over HTTP/2 could not be served")
            self.reset(stream.id, ErrorCodes.INTERNAL_ERROR)
        finally:
            self.acknowledge(stream.id, stream.unread)  # all streams share the window of the connection
            self._streams.pop(stream.id, None)
            self._tasks.pop(stream.id, None)

    def _make_room(self) -> None:
        for stream in self._streams.values():
            stream.make_room()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)


class _Undecided(asyncio.Protocol):
    """A connection whose protocol is determined by its first bytes, or by its TLS handshake."""

    def __init__(self, port: PortOfBoth) -> None:
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is None:
            self._port.opened(self)
        else:
            self._become(http2=tls.selected_alpn_protocol() == "h2")

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._data.startswith(_PREFACE):
            self._become(http2=True)
        elif not _PREFACE.startswith(self._data):
            self._become(http2=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._port.closed(self)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _become(self, *, http2: bool) -> None:
        assert self._transport is not None, "nothing is decided before the connection is made"  # noqa: S101
        protocol = _Http2(self._port) if http2 else self._port.http1()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        self._port.closed(self)
        if self._data:
            protocol.data_received(self._data)


class PortOfBoth:
    """Creates the protocol of each connection: HTTP/2 if the client speaks it, else ``http1``.

    ``serve`` handles one request over HTTP/2 and is cancelled when the client goes away.
    """

    def __init__(self, http1: Callable[[], asyncio.Protocol], serve: Serve) -> None:
        self.http1 = http1
        self.serve = serve
        self._open: set[_Http2 | _Undecided] = set()
        self._all_closed = asyncio.Event()

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _Undecided(self)

    def opened(self, connection: _Http2 | _Undecided) -> None:
        """Register a connection."""
        self._open.add(connection)

    def closed(self, connection: _Http2 | _Undecided) -> None:
        """Unregister a connection that was closed or handed over."""
        self._open.discard(connection)
        if not self._open:
            self._all_closed.set()

    async def break_connections(self) -> None:
        """Close every connection and wait until all are closed."""
        for connection in list(self._open):
            connection.abort()
        if self._open:
            self._all_closed.clear()
            await self._all_closed.wait()


class _Answer:
    """Parses an HTTP/1.1 response, to be sent on an HTTP/2 stream."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self.head: tuple[int, Mapping[str, str]] | None = None
        self.pieces: list[bytes] = []
        self.complete = False

    def receive(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        if key not in _HOP_BY_HOP:
            self._headers[key] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.head = self._parser.get_status_code(), self._headers

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.complete = True


async def forward(stream: Http2Stream, http1: Callable[[], asyncio.Protocol]) -> None:
    """Let the HTTP/1.1 side answer a request. Raises ConnectionResetError when its response breaks off."""
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    theirs.settimeout(0)
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        await asyncio.get_running_loop().connect_accepted_socket(http1, theirs)
        await _send_on(stream, writer)
        answer = _Answer()
        begun = False
        while not answer.complete:
            data = await reader.read(_READ_BYTES)
            if not data:
                raise ConnectionResetError("the answer broke off")
            answer.receive(data)
            if answer.head is not None and not begun:
                stream.respond(*answer.head)
                begun = True
            pieces, answer.pieces = answer.pieces, []
            await stream.write(b"".join(pieces))
        stream.end()
    finally:
        writer.transport.abort()


async def _send_on(stream: Http2Stream, writer: asyncio.StreamWriter) -> None:
    chunked = "content-length" not in stream.headers
    lines = [
        f"{stream.method} {stream.target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in stream.headers.items()),
    ]
    if chunked:
        lines.append("transfer-encoding: chunked")
    writer.write("\r\n".join([*lines, "", ""]).encode())
    while data := await stream.read():
        writer.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        await writer.drain()
    if chunked:
        writer.write(b"0\r\n\r\n")
