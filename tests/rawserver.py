r"""A TCP or TLS server whose every byte, pause and way of ending a connection is written down by the test.

A test gives one script, an async function of a `RawConnection`, which runs for each connection::

    async def script(peer: RawConnection) -> None:
        request = await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with RawServer(script) as server:
        ...server.url, server.connections...

Nothing here knows HTTP beyond finding the end of a request.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias, cast

from typing_extensions import override


@dataclass(frozen=True, slots=True)
class RawRequest:
    """One request as it stood on the wire."""

    head: bytes
    """The request line and the headers, without the blank line."""

    body: bytes

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n")[0]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names as they were spelt, in their order."""
        fields = (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
        return [(name, value.strip()) for name, _, value in fields]


class RawConnection(asyncio.Protocol):
    """The server's end of one connection."""

    def __init__(self, script: Script, server: RawServer) -> None:
        self.received = bytearray()
        self.closed = asyncio.Event()
        """Set when the peer has closed or reset its end."""
        self._script = script
        self._server = server
        self._arrived = asyncio.Event()
        self._read_bytes = 0
        self._seen_bytes = 0

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._server.connected(self, self._script(self))

    @override
    def data_received(self, data: bytes) -> None:
        self.received += data
        self._arrived.set()

    @override
    def eof_received(self) -> bool | None:
        self._gone()
        return False

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._gone()

    def _gone(self) -> None:
        self.closed.set()
        self._arrived.set()

    async def read_request(self) -> RawRequest:
        """Return the next request. Raises EOFError when the peer closes before it is complete."""
        head = await self._read_until(b"\r\n\r\n")
        request = RawRequest(head, b"")
        lengths = [int(value) for name, value in request.headers if name.lower() == b"content-length"]
        return RawRequest(head, await self._read_exactly(lengths[0])) if lengths else request

    async def send(self, *pieces: bytes) -> None:
        """Send the pieces, each in a write of its own."""
        for piece in pieces:
            self.transport.write(piece)
            await asyncio.sleep(0)

    def end(self) -> None:
        """Close in order: what was sent arrives, then the end."""
        self.transport.close()

    def reset(self) -> None:
        """Close with an RST."""
        raw: socket.socket = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    async def _read_until(self, end: bytes) -> bytes:
        while (at := self.received.find(end, self._read_bytes)) < 0:
            await self.more()
        piece = bytes(self.received[self._read_bytes : at])
        self._read_bytes = at + len(end)
        return piece

    async def _read_exactly(self, size: int) -> bytes:
        while len(self.received) < self._read_bytes + size:
            await self.more()
        piece = bytes(self.received[self._read_bytes : self._read_bytes + size])
        self._read_bytes += size
        return piece

    async def more(self) -> None:
        """Return when more has been received than at the last call. Raises EOFError when the peer has closed."""
        while len(self.received) == self._seen_bytes:
            if self.closed.is_set():
                raise EOFError
            self._arrived.clear()
            await self._arrived.wait()
        self._seen_bytes = len(self.received)


Script: TypeAlias = Callable[[RawConnection], Awaitable[None]]


class RawServer:
    """Listens on a free port of 127.0.0.1 while it is entered; leaving it reports what a script got wrong."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._scripts: list[asyncio.Task[None]] = []
        self._newcomer = asyncio.Event()
        self.connections: list[RawConnection] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: RawConnection(self._script, self), "127.0.0.1", 0, ssl=self._tls
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if self._tls else 'http'}://{self.host}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for connection in self.connections:
            connection.transport.abort()
        for script in self._scripts:
            script.cancel()
        outcomes = await asyncio.gather(*self._scripts, return_exceptions=True)
        await self._server.wait_closed()
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, EOFError):
                raise outcome

    async def connection(self, index: int) -> RawConnection:
        """Return the connection of that number, as soon as it is there."""
        while len(self.connections) <= index:
            self._newcomer.clear()
            await self._newcomer.wait()
        return self.connections[index]

    def forget(self) -> None:
        """Let go of the connections whose scripts have ended, so that a test can count what is left."""
        kept = [pair for pair in zip(self.connections, self._scripts, strict=True) if not pair[1].done()]
        self.connections[:], self._scripts[:] = [pair[0] for pair in kept], [pair[1] for pair in kept]

    def connected(self, connection: RawConnection, script: Awaitable[None]) -> None:
        self.connections.append(connection)
        self._scripts.append(asyncio.ensure_future(script))
        self._newcomer.set()
