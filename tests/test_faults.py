"""Faults that the emulator cannot inject: names that resolve slowly, and peers that close only their own end.

Silence in the TLS handshake is in test_transport_failures.py, everything else in test_chaos.py.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from life_server import DELTA, MODEL, START, STREAM_HEAD, TEXT, Service, chunk, client_of, ours, whole
from rawserver import RawConnection, RawServer
from transports import Clock, opened, turns
from typing_extensions import override

from bedrock_async import (
    BedrockClient,
    ConnectionLostError,
    ConnectTimeoutError,
    StreamTruncatedError,
    Timeouts,
    TransportError,
)
from bedrock_async.transport import NativeTransport
from bedrock_async.transport._addresses import Address, Resolver

SOON = Timeouts(connect_s=10.0, total_s=None)

pytestmark = pytest.mark.parametrize("kind", ["native", "aiohttp", "httpx"])


class SlowNames(Clock):
    """A loop whose resolver answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        self._released = threading.Event()

    def release(self) -> None:
        """Let the resolver answer from now on."""
        self.answers.set()
        self._released.set()

    @override
    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:  # as the loop has it
        """Answer as the loop does, when it is allowed to; aiohttp and httpx ask here."""
        self.asked.set()
        await self.answers.wait()
        return await super().getaddrinfo(*args, **kwargs)

    def look_up(self, _host: str, port: int) -> list[Address]:
        """Do the same in a worker thread; `NativeTransport` asks there."""
        self.call_soon_threadsafe(self.asked.set)
        self._released.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, ("127.0.0.1", port))]


def with_slow_names(kind: str, test: Callable[[SlowNames, BedrockClient], Coroutine[Any, Any, None]]) -> None:
    """Run a test with a client whose endpoint has a name that resolves slowly."""
    loop = SlowNames()
    service = Service()

    async def run() -> None:
        async with RawServer(service) as server, opened(kind) as transport:
            if isinstance(transport, NativeTransport):
                transport._resolver = Resolver(loop.look_up)
            client = client_of(server, endpoint_url=f"http://localhost:{server.port}", transport=transport)
            try:
                await test(loop, client)
                loop.release()
                assert (await client.converse(MODEL, "Hi.")).text == TEXT
                assert service.requests == 1
            finally:
                loop.release()
            await client.aclose()
            await transport.aclose()
            await turns(10)
            assert not ours(server)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(run())


@pytest.mark.parametrize("verb", ["converse", "stream"])
def test_a_slow_resolver_is_bounded_by_the_connect_limit(kind: str, verb: str) -> None:
    """Looking up the name is a part of connecting: ``connect_s`` ends it, with nothing sent."""

    async def test(loop: SlowNames, client: BedrockClient) -> None:
        stream = client.stream(MODEL, "Hi.", timeouts=SOON)
        asking = client.converse(MODEL, "Hi.", timeouts=SOON) if verb == "converse" else anext(stream)
        call = asyncio.ensure_future(asking)
        await loop.asked.wait()
        await loop.pass_(9.5)
        assert not call.done()
        await loop.pass_(1)
        with pytest.raises(ConnectTimeoutError, match="10 s"):
            await call

    with_slow_names(kind, test)


def test_cancelling_does_not_wait_for_the_resolver(kind: str) -> None:
    """The caller goes on at once; the look-up ends by itself, and the next call has use for it."""

    async def test(loop: SlowNames, client: BedrockClient) -> None:
        call = asyncio.ensure_future(client.converse(MODEL, "Hi."))
        await loop.asked.wait()
        call.cancel()
        await turns(20)
        assert call.cancelled()

    with_slow_names(kind, test)


def half_closes(*pieces: bytes, answers: int = 1) -> Callable[[RawConnection], Coroutine[Any, Any, None]]:
    """Return a script that sends these and closes its end only: it would still listen."""
    served = 0

    async def script(peer: RawConnection) -> None:
        nonlocal served
        await peer.read_request()
        served += 1
        if served <= answers:
            await peer.send(*pieces)
            peer.transport.write_eof()
        else:
            await peer.send(whole({"output": {"message": {"role": "assistant", "content": [{"text": TEXT}]}}}))
        await peer.closed.wait()

    return script


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\ncontent-le", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"]
)
async def test_a_peer_that_closes_its_end_before_it_has_answered(kind: str, sent: bytes) -> None:
    """Its end is the end: the call fails, the connection is closed on both sides, the next call has a new one."""
    async with RawServer(half_closes(sent)) as server, client_of(server, transport=kind) as client:
        with pytest.raises((ConnectionLostError, TransportError)):
            await client.converse(MODEL, "Hi.")
        async with asyncio.timeout(30):
            await server.connections[0].closed.wait()
        assert (await client.converse(MODEL, "Hi.")).text == TEXT


async def test_a_peer_that_closes_its_end_in_a_stream(kind: str) -> None:
    """What came is handed out, and the end of the connection is no end of the answer."""
    script = half_closes(STREAM_HEAD, chunk(START, DELTA))
    async with RawServer(script) as server, client_of(server, transport=kind) as client:
        texts: list[str | None] = []
        with pytest.raises((ConnectionLostError, StreamTruncatedError)):
            async for event in client.stream(MODEL, "Hi."):
                texts.append(event.text)  # noqa: PERF401 - what came before the failure counts
        assert texts == [None, TEXT]
        async with asyncio.timeout(30):
            await server.connections[0].closed.wait()


async def test_a_peer_that_closes_its_end_after_its_answer(kind: str) -> None:
    """The answer counts, and its connection is not used again."""
    answer = whole({"output": {"message": {"role": "assistant", "content": [{"text": TEXT}]}}})
    async with RawServer(half_closes(answer)) as server, client_of(server, transport=kind) as client:
        assert (await client.converse(MODEL, "Hi.")).text == TEXT
        async with asyncio.timeout(30):
            await server.connections[0].closed.wait()
        assert (await client.converse(MODEL, "Hi.")).text == TEXT
        assert len(server.connections) == 2
