"""Connections are closed at once: on abort, on cancelling, on closing the transport; and nothing is left behind.

In every case the server sees the connection closed within `transports.CLOSE_LIMIT_S`.
"""

from __future__ import annotations

import asyncio
import gc
import select
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest
from rawserver import RawConnection, RawServer, Script
from transports import CONNECT_S, KINDS, OK, client_tls, opened, post, seen_closed, server_tls, turns

from bedrock_async.errors import ClientClosedError, ConnectionLostError
from bedrock_async.transport import Transport, WireRequest, WireResponse

pytestmark = [
    pytest.mark.parametrize("kind", KINDS),
    pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"]),
]

ANYIO: Final = tuple(int(part) for part in version("anyio").split(".")[:2])
HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"


class Stream:
    """A script whose first connection sends a head and ten bytes of a body of a thousand; the others answer ``ok``."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answered = False
        self.connections = 0

    async def __call__(self, peer: RawConnection) -> None:
        first = self.connections == 0
        self.connections += 1
        await peer.read_request()
        self.asked.set()
        await peer.send(HEAD + b"ten bytes." if first else OK)
        self.answered = True


class Silence(Stream):
    """The first connection takes the request and says nothing; the others answer ``ok``."""

    async def __call__(self, peer: RawConnection) -> None:
        first = self.connections == 0
        self.connections += 1
        await peer.read_request()
        self.asked.set()
        if not first:
            await peer.send(OK)


@asynccontextmanager
async def served(
    kind: str, script: Script, *, tls: bool, max_connections: int | None = None
) -> AsyncGenerator[tuple[RawServer, Transport]]:
    """Enter a server with this script and a transport that trusts it."""
    server_context, client_context = (server_tls(), client_tls()) if tls else (None, None)
    async with (
        RawServer(script, tls=server_context) as server,
        opened(kind, max_connections=max_connections, tls=client_context) as transport,
    ):
        yield server, transport


def end_has_arrived(peer: RawConnection, within_s: float = 0.0) -> bool:
    """Ask the system, not the loop, whether the peer has closed its end; the loop stands still meanwhile."""
    raw: socket.socket = peer.transport.get_extra_info("socket")
    with socket.fromfd(raw.fileno(), raw.family, raw.type) as twin:
        select.select([twin], [], [], within_s)
        try:
            return twin.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True


class Relay:
    """A script that carries bytes to another server and back until the cable is cut, silently."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.cut = False

    async def __call__(self, peer: RawConnection) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        back = asyncio.create_task(self._back(reader, peer))
        carried = 0
        try:
            while True:
                await peer.more()
                if not self.cut:
                    writer.write(peer.received[carried:])
                carried = len(peer.received)
        finally:
            back.cancel()
            writer.transport.abort()

    async def _back(self, reader: asyncio.StreamReader, peer: RawConnection) -> None:
        while piece := await reader.read(65536):
            if not self.cut:
                await peer.send(piece)


async def test_abort_takes_effect_within_one_turn_of_the_loop(kind: str, *, tls: bool) -> None:
    """It does not wait for a task to be scheduled: the end of the connection is on its way at once."""
    async with served(kind, Stream(), tls=tls) as (server, transport):
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await response.receive() == b"ten bytes."
        assert not end_has_arrived(server.connections[0])
        response.abort()
        await turns(1)
        assert end_has_arrived(server.connections[0], within_s=10.0)


@pytest.mark.parametrize("waiting", ["head", "body"])
async def test_closing_does_not_wait_for_a_peer_that_has_gone(kind: str, waiting: str, *, tls: bool) -> None:
    """With the network cut, a TLS connection that said goodbye politely would stay open for 30 s."""
    script = Stream() if waiting == "body" else Silence()
    server_context, client_context = (server_tls(), client_tls()) if tls else (None, None)
    async with RawServer(script, tls=server_context) as server:
        relay = Relay(server.port)
        async with RawServer(relay) as between, opened(kind, tls=client_context) as transport:
            near = post(between)
            url = near.url if not tls else near.url.replace("http:", "https:")
            request = WireRequest(near.method, url, near.headers, near.body)
            sending = asyncio.create_task(transport.send(request, connect_timeout_s=CONNECT_S))
            await script.asked.wait()
            if waiting == "body":
                response = await sending
                assert await response.receive() == b"ten bytes."
                relay.cut = True
                response.abort()
            else:
                relay.cut = True
                sending.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await sending
            await seen_closed(between.connections[0])


async def test_abort_closes_an_unread_body(kind: str, *, tls: bool) -> None:
    """Nothing of the body was asked for."""
    async with served(kind, Stream(), tls=tls) as (server, transport):
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        response.abort()
        await seen_closed(server.connections[0])


async def test_abort_closes_a_half_read_body_and_may_be_called_again(kind: str, *, tls: bool) -> None:
    """After it, reading raises: the end of the body is never made up."""
    async with served(kind, Stream(), tls=tls) as (server, transport):
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await response.receive() == b"ten bytes."
        response.abort()
        response.abort()
        await seen_closed(server.connections[0])
        for _ in range(2):
            with pytest.raises(ConnectionLostError, match="closed here before its body was read"):
                await response.receive()
        with pytest.raises(ConnectionLostError, match="closed here before its body was read"):
            await response.read(2000)


async def test_abort_wakes_a_reader(kind: str, *, tls: bool) -> None:
    """Another task that waits for the next piece gets an error, not a wait without end."""
    async with served(kind, Stream(), tls=tls) as (server, transport):
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await response.receive() == b"ten bytes."
        reader = asyncio.create_task(response.receive())
        await turns(3)
        response.abort()
        with pytest.raises(ConnectionLostError, match="closed here before its body was read"):
            await reader
        await seen_closed(server.connections[0])


async def test_abort_closes_although_the_peer_goes_on_sending(kind: str, *, tls: bool) -> None:
    """A stream of data in full flow, with the reader far behind, ends as fast."""
    lost = asyncio.Event()

    class Flood(Stream):
        async def __call__(self, peer: RawConnection) -> None:
            await peer.read_request()
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
            while not peer.closed.is_set():
                await peer.send(b"x" * 10_000)
            lost.set()

    async with served(kind, Flood(), tls=tls) as (server, transport):
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await response.receive()
        response.abort()
        await seen_closed(server.connections[0])
        await lost.wait()


@pytest.mark.parametrize("turns_between", range(4))
async def test_cancelling_a_tls_handshake(kind: str, *, tls: bool, turns_between: int) -> None:
    """Also when it is cancelled again meanwhile; the place in the pool is free afterwards."""
    if not tls:
        pytest.skip("needs TLS")

    async def script(peer: RawConnection) -> None:
        await peer.closed.wait()

    async with RawServer(script) as server, opened(kind, max_connections=1, tls=client_tls()) as transport:
        request = WireRequest("POST", f"https://{server.host}/x", {}, b"{}")
        for number in range(2):
            sending = asyncio.create_task(transport.send(request, connect_timeout_s=CONNECT_S))
            peer = await server.connection(number)
            await peer.more()  # the client's hello
            sending.cancel()
            await turns(turns_between)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await seen_closed(peer)


@pytest.mark.parametrize("turns_before", range(16))
async def test_cancelling_while_connecting(kind: str, *, tls: bool, turns_before: int) -> None:
    """At whatever step it comes, every connection that was begun ends; the place in the pool is free afterwards."""
    if kind.startswith("httpx") and ANYIO < (4, 16):
        pytest.skip("anyio before 4.16, below httpx, forgets a connection whose making is cancelled in its last turn")
    script = Stream()
    script.connections = 1
    async with served(kind, script, tls=tls, max_connections=1) as (server, transport):
        sending = asyncio.create_task(transport.send(post(server), connect_timeout_s=CONNECT_S))
        await turns(turns_before)
        if not sending.cancel() or (kind == "native" and script.answered):
            pytest.skip("was faster")  # our own transport has given the connection back by then
        with pytest.raises(asyncio.CancelledError):
            await sending
        await turns(20)
        for peer in server.connections:
            await seen_closed(peer)
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await response.read(100) == b"ok"


async def test_abort_frees_the_place_in_the_pool(kind: str, *, tls: bool) -> None:
    """With one connection allowed, the next request gets a new one."""
    async with served(kind, Stream(), tls=tls, max_connections=1) as (server, transport):
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        response.abort()
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await response.read(100) == b"ok"
        assert len(server.connections) == 2


@pytest.mark.parametrize("turns_between", range(8))
async def test_cancelling_a_request_that_waits_for_its_answer(kind: str, *, tls: bool, turns_between: int) -> None:
    """Also when it is cancelled again while it closes; the place in the pool is free afterwards."""
    script = Silence()
    async with served(kind, script, tls=tls, max_connections=1) as (server, transport):
        request = asyncio.create_task(transport.send(post(server), connect_timeout_s=CONNECT_S))
        await script.asked.wait()
        request.cancel()
        await turns(turns_between)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await seen_closed(server.connections[0])
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await response.read(100) == b"ok"


@pytest.mark.parametrize("turns_between", range(8))
async def test_cancelling_a_read(kind: str, *, tls: bool, turns_between: int) -> None:
    """Also when it is cancelled again meanwhile: the response is usable, or aborted and closed; never half read."""
    script = Stream()
    async with served(kind, script, tls=tls, max_connections=1) as (server, transport):
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await response.receive() == b"ten bytes."
        reader = asyncio.create_task(response.receive())
        await turns(3)
        reader.cancel()
        await turns(turns_between)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        if not server.connections[0].closed.is_set() and kind in ("aiohttp", "native"):
            await server.connections[0].send(b"and more")
            assert await response.receive() == b"and more"
        response.abort()
        await seen_closed(server.connections[0])
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await response.read(100) == b"ok"


@pytest.mark.parametrize("turns_between", range(8))
async def test_cancelling_a_read_of_the_whole_body(kind: str, *, tls: bool, turns_between: int) -> None:
    """What was read is lost with it, so the connection is closed."""
    async with served(kind, Stream(), tls=tls, max_connections=1) as (server, transport):
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        reader = asyncio.create_task(response.read(2000))
        await turns(5)
        reader.cancel()
        await turns(turns_between)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await seen_closed(server.connections[0])
        with pytest.raises(ConnectionLostError):
            await response.receive()
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await response.read(100) == b"ok"


TCP_STATES: Final = Path("/proc/net/tcp")
"""One connection a line: local and remote address as ``0100007F:PORT`` in hexadecimal, then the state."""


def is_established(port: int, remote_port: int) -> bool:
    """Whether the system holds an open connection from this local port to that port."""
    ends = f":{port:04X}", f":{remote_port:04X}"  # one local port may be in use towards several others
    rows = (line.split() for line in TCP_STATES.read_text().splitlines()[1:])
    return any(row[1].endswith(ends[0]) and row[2].endswith(ends[1]) and row[3] == "01" for row in rows)


@pytest.mark.skipif(not TCP_STATES.exists(), reason="asks Linux for the state of a connection")
async def test_cancelling_while_the_request_goes_out(kind: str, *, tls: bool) -> None:
    """What a slow peer has not yet taken of a long body is dropped; it does not keep the connection open."""
    body = b"x" * 20_000_000

    class Slow(Stream):
        async def __call__(self, peer: RawConnection) -> None:
            while len(peer.received) < 100:
                await peer.more()
            peer.transport.pause_reading()
            self.asked.set()

    script = Slow()
    async with served(kind, script, tls=tls) as (server, transport):
        request = asyncio.create_task(transport.send(post(server, body=body), connect_timeout_s=CONNECT_S))
        await script.asked.wait()
        (peer,) = server.connections
        port: int = peer.transport.get_extra_info("peername")[1]
        await turns(200)
        assert is_established(port, server.port)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await turns(10)
        assert not is_established(port, server.port)
        peer.transport.resume_reading()
        await seen_closed(peer)
        assert len(peer.received) < len(body)


async def test_an_unfinished_response_that_nobody_wants_any_more_leaves_no_warning(kind: str, *, tls: bool) -> None:
    """Closing the transport closes it: pytest turns a warning about what is left over into a failure."""
    async with served(kind, Stream(), tls=tls) as (server, transport):
        await transport.send(post(server), connect_timeout_s=CONNECT_S)
        peer = server.connections[0]
        await transport.aclose()
        gc.collect()
        await turns(5)
        if not kind.endswith("-client"):
            await seen_closed(peer)
    gc.collect()


async def test_closing_the_transport_aborts_what_is_in_flight(kind: str, *, tls: bool) -> None:
    """Readers and requests under way end in an error; the server sees all connections closed."""

    class Both(Stream):
        async def __call__(self, peer: RawConnection) -> None:
            request = await peer.read_request()
            if request.line.startswith(b"POST /stream"):
                await peer.send(HEAD + b"ten bytes.")
            else:
                self.asked.set()

    script = Both()
    async with served(kind, script, tls=tls) as (server, transport):
        response = await transport.send(post(server, "/stream"), connect_timeout_s=CONNECT_S)
        assert await response.receive() == b"ten bytes."
        reader = asyncio.create_task(response.receive())
        request = asyncio.create_task(transport.send(post(server, "/silence"), connect_timeout_s=CONNECT_S))
        await script.asked.wait()
        await transport.aclose()
        with pytest.raises(ConnectionLostError, match="closed here"):
            await reader
        with pytest.raises(ClientClosedError):
            await request
        for peer in server.connections:
            await seen_closed(peer)


async def test_closing_the_transport_ends_a_wait_for_a_connection(kind: str, *, tls: bool) -> None:
    """Who waits for a place in the pool is told, and not cancelled."""
    script = Silence()
    async with served(kind, script, tls=tls, max_connections=1) as (server, transport):
        requests = [asyncio.create_task(transport.send(post(server), connect_timeout_s=CONNECT_S)) for _ in range(3)]
        await script.asked.wait()
        await transport.aclose()
        for request in requests:
            with pytest.raises(ClientClosedError, match="is closed"):
                await request


async def test_closing_is_idempotent_and_final(kind: str, *, tls: bool) -> None:
    """Idle connections close too; afterwards every request is refused, with the next step."""
    script = Stream()
    script.connections = 1
    async with served(kind, script, tls=tls) as (server, transport):
        response: WireResponse = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await response.read(100) == b"ok"
        await transport.aclose()
        await transport.aclose()
        if not kind.endswith("-client"):
            await seen_closed(server.connections[0])
        with pytest.raises(ClientClosedError, match="Create a new client"):
            await transport.send(post(server), connect_timeout_s=CONNECT_S)
        response.abort()


@pytest.mark.parametrize("turns_before", range(6))
async def test_cancelling_the_closing_does_not_stop_it(kind: str, *, tls: bool, turns_before: int) -> None:
    """Connections that wait in the pool, and those in use, are closed all the same."""
    script = Stream()
    async with served(kind, script, tls=tls) as (server, transport):
        half_read = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await response.read(100) == b"ok"
        closing = asyncio.create_task(transport.aclose())
        await turns(turns_before)
        closing.cancel()
        await asyncio.wait((closing,))
        if turns_before:  # else it was cancelled before it began
            await seen_closed(server.connections[0])
            if not kind.endswith("-client"):
                await seen_closed(server.connections[1])
        half_read.abort()


async def test_closing_a_transport_that_was_never_used(kind: str, *, tls: bool) -> None:
    """Nothing was opened, and nothing is to be closed."""
    async with opened(kind) as transport:
        await transport.aclose()
        await transport.aclose()
