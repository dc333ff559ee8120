"""Every way to have a transport, and what their tests share."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from typing import Final

import httpx
import httpx2
import trustme
from rawserver import RawConnection, RawRequest, RawServer
from typing_extensions import override

from bedrock_async.transport import (
    AiohttpTransport,
    HttpxTransport,
    NativeTransport,
    Transport,
    WireRequest,
    WireResponse,
)

KINDS: Final = ("native", "aiohttp", "httpx", "httpx-client", "httpx2-client")
"""Our own; over aiohttp; over httpx with a client of our own; over a client that the user made."""

CLOSE_LIMIT_S: Final = 0.1
"""By when the server must see that a connection was closed."""

CONNECT_S: Final = 30.0
OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def opened(
    kind: str, *, max_connections: int | None = None, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Transport]:
    """Make a transport; close it in the end, and the client below it where that is the user's."""
    async with AsyncExitStack() as stack:
        match kind:
            case "native":
                transport: Transport = NativeTransport(
                    max_connections=max_connections, ssl_context=tls, trust_env=False
                )
            case "aiohttp":
                transport = AiohttpTransport(max_connections=max_connections, ssl_context=tls, trust_env=False)
            case "httpx":
                transport = HttpxTransport(max_connections=max_connections, ssl_context=tls, trust_env=False)
            case "httpx-client":
                limits = httpx.Limits(max_connections=max_connections)
                client = httpx.AsyncClient(verify=tls or False, trust_env=False, limits=limits)
                transport = HttpxTransport(await stack.enter_async_context(client))
            case _:
                limits2 = httpx2.Limits(max_connections=max_connections)
                client2 = httpx2.AsyncClient(verify=tls or False, trust_env=False, limits=limits2)
                transport = HttpxTransport(await stack.enter_async_context(client2))
        stack.push_async_callback(transport.aclose)
        yield transport


# trustme's methods take contexts of pyOpenSSL, too, which is not installed: hence what pyright is told below.


@cache
def authority() -> trustme.CA:
    """Return a certificate authority that nobody trusts yet, the same for the whole session."""
    return trustme.CA()


@cache
def server_tls(*names: str) -> ssl.SSLContext:
    """Return the context of a server that `authority` vouches for, by default on loopback."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert(*(names or ("127.0.0.1", "localhost"))).configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


@cache
def client_tls() -> ssl.SSLContext:
    """Return the context of a client that trusts `authority`."""
    context = ssl.create_default_context()
    authority().configure_trust(context)  # pyright: ignore[reportUnknownMemberType]
    return context


def post(
    server: RawServer, path: str = "/model/m/converse", body: bytes = b"{}", headers: Mapping[str, str] | None = None
) -> WireRequest:
    """Return a request as the send loop makes it."""
    return WireRequest("POST", server.url + path, {"host": server.host, **(headers or {})}, body)


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when the test says so, however busy the machine is."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1_000.0

    @override
    def time(self) -> float:
        return self._now

    async def pass_(self, seconds: float) -> None:
        """Let so much time pass at once, and run what has become due."""
        self._now += seconds
        await turns(10)


def with_clock(test: Callable[[Clock], Coroutine[object, object, None]]) -> None:
    """Run an asynchronous test on a `Clock`."""
    clock = Clock()
    with asyncio.Runner(loop_factory=lambda: clock) as runner:
        runner.run(test(clock))


class Tunnel:
    """A script that answers CONNECT and then carries bytes to a server of ours."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.asked: RawRequest

    async def __call__(self, peer: RawConnection) -> None:
        self.asked = await peer.read_request()
        carried = len(peer.received)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = asyncio.create_task(self._back(reader, peer))
        try:
            while True:
                if len(peer.received) > carried:
                    writer.write(peer.received[carried:])
                    carried = len(peer.received)
                await peer.more()
        finally:
            back.cancel()
            writer.transport.abort()

    async def _back(self, reader: asyncio.StreamReader, peer: RawConnection) -> None:
        while piece := await reader.read(65536):
            await peer.send(piece)


async def turns(count: int) -> None:
    """Let the loop turn so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def body_of(response: WireResponse) -> bytes:
    """Return the whole body, received piece by piece."""
    pieces: list[bytes] = []
    while piece := await response.receive():
        pieces.append(piece)
    return b"".join(pieces)


async def seen_closed(peer: RawConnection) -> None:
    """Return when the server has seen the connection closed; fail after `CLOSE_LIMIT_S`.

    A machine so busy that the loop has hardly turned by then is given a hundred turns.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + CLOSE_LIMIT_S
    turn = 0
    while not peer.closed.is_set():
        turn += 1
        assert turn < 100 or loop.time() < deadline, f"still open after {CLOSE_LIMIT_S} s"
        await asyncio.sleep(0)
