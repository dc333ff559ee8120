"""An HTTP/2 server and a client whose every frame a test decides: h2 in the test's hands, over cleartext or TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeAlias, TypeVar, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event
from h2.exceptions import StreamClosedError

E = TypeVar("E", bound=Event)
Script: TypeAlias = "Callable[[RawHttp2], Awaitable[None]]"


class RawHttp2(asyncio.Protocol):
    """One connection, its events in the order of arrival. Nothing is acknowledged unless the script does."""

    def __init__(self, server: RawHttp2Server) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.closed = asyncio.Event()
        self._server = server
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.h2.initiate_connection()
        self.flush()
        self._server.connected(self)

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self._events.put_nowait(event)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def flush(self) -> None:
        """Send what h2 has to say."""
        self.transport.write(self.h2.data_to_send())

    async def next(self, *kinds: type[E]) -> E:
        """Return the next event of these kinds, passing over others."""
        while True:
            event = await self._events.get()
            if isinstance(event, kinds):
                return event

    def respond(self, *headers: tuple[str, str], status: int = 200) -> None:
        """Send the head of a response."""
        self.h2.send_headers(1, [(":status", str(status)), *headers])
        self.flush()

    def say(self, data: bytes, *, end: bool = False) -> None:
        """Send a piece of the response."""
        self.h2.send_data(1, data, end_stream=end)
        self.flush()


class RawHttp2Server:
    """Runs ``script`` for every connection; leaving `async with` ends the scripts, and raises what one raised."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self._script, self._tls = script, tls
        self._tasks: list[asyncio.Task[None]] = []
        self.connections: list[RawHttp2] = []

    def connected(self, connection: RawHttp2) -> None:
        """Start the script of a connection."""
        self.connections.append(connection)

        async def run() -> None:
            with suppress(StreamClosedError):  # the client gave up before the script had spoken
                await self._script(connection)

        self._tasks.append(asyncio.get_running_loop().create_task(run()))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: RawHttp2(self), "127.0.0.1", 0, ssl=self._tls
        )
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"https://localhost:{port}" if self._tls else f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for connection in self.connections:
            connection.transport.abort()
            await connection.closed.wait()
        finished = [task for task in self._tasks if task.done()]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for task in finished if error is None else []:
            task.result()


class RawHttp2Client:
    """A connection to a server that speaks HTTP/2 in cleartext; nothing is acknowledged unless the test does."""

    def __init__(self, url: str) -> None:
        self._host, _, port = url.removeprefix("http://").rpartition(":")
        self._port = int(port)
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._events: list[Event] = []

    def flush(self) -> None:
        """Send what h2 has to say."""
        self._writer.write(self.h2.data_to_send())

    async def next(self, kind: type[E]) -> E:
        """Return the next event of this kind, passing over others."""
        while True:
            while self._events:
                event = self._events.pop(0)
                if isinstance(event, kind):
                    return event
            data = await self._reader.read(65_536)
            assert data, "the server closed the connection"
            self._events += self.h2.receive_data(data)
            self.flush()

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self.h2.initiate_connection()
        self.flush()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.transport.abort()
