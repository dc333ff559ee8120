"""Many streams at once, and streams that nobody reads: memory is bounded, and the peer is slowed down."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from life_server import DELTA, LAST, METADATA, MODEL, START, STOP, STREAM_HEAD, chunk, client_of
from rawserver import RawConnection, RawServer
from transports import client_tls, opened, server_tls, turns

from bedrock_async import BedrockClient, Limits, Timeouts
from bedrock_async.stream import ResponseStream
from bedrock_async.transport._sockets import soft_descriptor_limit

STREAMS: Final = 2_000
EVENTS: Final = 10
"""Sent to each stream in each round."""

# Measured: 8 KiB for an open stream (connection, parser, decoder, task), and 126 bytes for 40,000 events.
BYTES_PER_STREAM: Final = 16_000
GROWN_BYTES: Final = 100_000

PIECE: Final = chunk(*[DELTA] * 500)
MOST_SENT: Final = 64 * 2**20
"""So much would leave a server that nobody slows down; the buffers of the system take some megabytes."""
MOST_HELD: Final = 2 * 2**20
"""What a stream may hold that nobody reads: twice what a transport reads ahead, and what it is in between."""


class Reading:
    """Two thousand tasks that read, and how much they have read."""

    def __init__(self) -> None:
        self._seen = 0
        self._target = 0
        self._reached = asyncio.Event()

    async def read(self, stream: ResponseStream) -> None:
        async for _ in stream:
            self._seen += 1
            if self._seen == self._target:
                self._reached.set()

    async def seen(self, events: int) -> None:
        """Return when so many events were read in all."""
        self._target = events
        if self._seen < events:
            self._reached.clear()
            await self._reached.wait()
        assert self._seen == events


@asynccontextmanager
async def many_streams() -> AsyncGenerator[tuple[asyncio.subprocess.Process, int]]:
    """Run the server; leave with it."""
    script = str(Path(__file__).with_name("many_streams.py"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


@pytest.mark.timeout(180)  # some seconds on an idle machine
@pytest.mark.skipif((soft_descriptor_limit() or STREAMS * 2) < STREAMS + 200, reason="needs 2,200 descriptors")
async def test_two_thousand_streams_take_flat_memory() -> None:
    """On one client, at once: what they hold does not grow with the events that come."""
    tracemalloc.start()
    try:
        async with many_streams() as (process, port):
            client = BedrockClient(
                region="us-east-1",
                endpoint_url=f"http://127.0.0.1:{port}",
                api_key="key",
                limits=Limits(max_connections=STREAMS),
                timeouts=Timeouts(connect_s=150),  # all connect at once
            )
            async with client, asyncio.timeout(150):
                reading = Reading()
                before, _ = tracemalloc.get_traced_memory()
                streams = [client.stream(MODEL, "Hi.", accumulate=False) for _ in range(STREAMS)]
                tasks = [asyncio.ensure_future(reading.read(stream)) for stream in streams]
                await reading.seen(STREAMS)
                held = [tracemalloc.get_traced_memory()[0] - before]
                for number in range(1, 4):
                    assert process.stdin is not None
                    process.stdin.write(b"%d\n" % EVENTS)
                    await reading.seen(STREAMS * (1 + number * EVENTS))
                    held.append(tracemalloc.get_traced_memory()[0] - before)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
    finally:
        tracemalloc.stop()
    assert held[0] / STREAMS < BYTES_PER_STREAM
    assert held[3] - held[1] < GROWN_BYTES, held


class Fast:
    """A server that sends as fast as it can, until it is told to end its stream."""

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.paused = asyncio.Event()
        self.enough = asyncio.Event()

    async def __call__(self, peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(STREAM_HEAD, chunk(START))
        while not self.enough.is_set() and self.sent_bytes < MOST_SENT:
            if peer.transport.get_write_buffer_size() == 0:
                await peer.send(PIECE)
                self.sent_bytes += len(PIECE)
            elif not await taken(peer):
                self.paused.set()
        await peer.send(chunk(STOP, METADATA), LAST)


async def taken(peer: RawConnection) -> bool:
    """Return whether the client takes what waits for it, in two hundred turns of the loop that it runs in, too."""
    for _ in range(200):
        await asyncio.sleep(0)
        if peer.transport.get_write_buffer_size() == 0:
            return True
    return False


@pytest.mark.parametrize("kind", ["native", "aiohttp", "httpx"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_slow_consumer_slows_the_socket(kind: str, *, tls: bool) -> None:
    """The server's writes pause when nobody reads a stream, and go on when somebody does; little is held meanwhile."""
    server_sent = Fast()
    contexts = (server_tls(), client_tls()) if tls else (None, None)
    async with (
        RawServer(server_sent, tls=contexts[0]) as server,
        opened(kind, tls=contexts[1]) as transport,
        client_of(server, transport=transport) as client,
        asyncio.timeout(50),
    ):
        stream = client.stream(MODEL, "Hi.", accumulate=False)
        await anext(stream)
        tracemalloc.start()
        try:
            await server_sent.paused.wait()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        before = server_sent.sent_bytes
        assert before < MOST_SENT
        assert held < MOST_HELD
        while server_sent.sent_bytes < before + 2**20:
            await stream.next_batch()
        server_sent.enough.set()
        async for batch in stream.batches:
            assert batch
        await turns(1)
