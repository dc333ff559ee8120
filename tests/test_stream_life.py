"""The life of a stream over real sockets: whatever ends it, the server sees the connection close at once."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import pytest
from life_server import DELTA, METADATA, START, STOP, STREAM_HEAD, chunk
from rawserver import RawConnection, RawServer
from transports import seen_closed

from bedrock_async import BedrockClient, Credentials, EventStreamError, StandardRetry, StreamError, Timeouts
from bedrock_async.stream import ResponseStream
from bedrock_async.testing.frames import corrupted
from bedrock_async.transport import NativeTransport, WireRequest, WireResponse

MODEL = "us.anthropic.claude-sonnet-4-20250514-v1:0"


class Endless:
    """A server that sends two events to every request and then says nothing more."""

    def __init__(self) -> None:
        self.served = 0

    async def script(self, peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(STREAM_HEAD, chunk(START, DELTA))
        self.served += 1
        await peer.closed.wait()


@pytest.fixture(params=["native", "aiohttp", "httpx"])
def transport(request: pytest.FixtureRequest) -> str:
    """Every promise here holds for every transport."""
    name: str = request.param
    return name


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    """An endless stream."""
    async with RawServer(Endless().script) as running:
        yield running


@pytest.fixture
async def client(server: RawServer, transport: str) -> AsyncIterator[BedrockClient]:
    """A client of that server."""
    async with BedrockClient(
        region="us-east-1",
        endpoint_url=server.url,
        credentials=Credentials("AKIDEXAMPLE", "secret"),
        transport=transport,
        retry=StandardRetry(max_attempts=1),
    ) as made:
        yield made


async def closed_at_once(server: RawServer) -> None:
    """Wait until the server's only connection is closed, and hold that to the limit."""
    await seen_closed(await server.connection(0))


async def leave(stream: ResponseStream) -> None:
    """Leave ``async with`` in the middle."""
    async with stream:
        await anext(stream)


async def raise_inside(stream: ResponseStream) -> None:
    """Leave ``async with`` by an error of the caller's."""
    with pytest.raises(KeyError):
        async with stream:
            raise KeyError


async def close(stream: ResponseStream) -> None:
    """Call aclose, twice."""
    await anext(stream)
    await stream.aclose()
    await stream.aclose()


async def cancel(stream: ResponseStream) -> None:
    """Cancel the task that waits for the third event."""
    task = asyncio.ensure_future(stream.get_final_response())
    await until_waiting(stream)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cancel_twice(stream: ResponseStream) -> None:
    """Cancel again while the first cancellation is under way."""

    async def stubborn() -> None:
        try:
            async with stream:
                await stream.get_final_response()
        finally:
            await asyncio.Event().wait()

    task = asyncio.ensure_future(stubborn())
    await until_waiting(stream)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def time_out(stream: ResponseStream) -> None:
    """Let the caller's own deadline pass."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as limit:
            async for _ in stream:
                limit.reschedule(asyncio.get_running_loop().time() + 0.05)  # not while it is still connecting


async def until_waiting(stream: ResponseStream) -> None:
    """Return when the stream has handed out what arrived, and waits for more."""
    while stream._waiting_since is None:  # noqa: ASYNC110 - the stream has no event for it
        await asyncio.sleep(0)


@pytest.mark.parametrize("end", [leave, raise_inside, close, cancel, cancel_twice, time_out])
async def test_the_connection_closes_at_once(
    client: BedrockClient, server: RawServer, end: Callable[[ResponseStream], Awaitable[None]]
) -> None:
    """Leaving, closing, cancelling (also twice) and the caller's deadline close the socket within 100 ms."""
    stream = client.stream(MODEL, "Hi.")
    await end(stream)
    await closed_at_once(server)
    assert [event async for event in stream] == [], "a closed stream is at its end"


class Passing:
    """A response that counts what is read of another one, and passes on all else that it is asked for."""

    def __init__(self, response: WireResponse) -> None:
        self.response = response
        self.received_pieces = 0

    def __getattr__(self, name: str) -> object:
        passed: object = getattr(self.response, name)
        return passed

    async def receive(self) -> bytes:
        self.received_pieces += 1
        return await self.response.receive()


class Wrapping:
    """A transport that wraps the responses of another one."""

    name = "wrapping"

    def __init__(self) -> None:
        self.transport = NativeTransport(trust_env=False)
        self.responses: list[Passing] = []

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        response = Passing(await self.transport.send(request, connect_timeout_s=connect_timeout_s))
        self.responses.append(response)
        return cast("WireResponse", response)

    async def aclose(self) -> None:
        await self.transport.aclose()


async def test_a_response_that_wraps_another_is_read_itself(server: RawServer) -> None:
    """What a caller's own transport does to the pieces is not passed by, however quick the one below could be."""
    transport = Wrapping()
    async with BedrockClient(
        region="us-east-1", endpoint_url=server.url, credentials=Credentials("id", "secret"), transport=transport
    ) as client:
        stream = client.stream(MODEL, "Hi.")
        task = asyncio.ensure_future(stream.get_final_response())
        await until_waiting(stream)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (response,) = transport.responses
    assert response.received_pieces == 2, "the two events, and the wait for the third"


async def test_break_out_of_a_bare_loop_closes_at_once(client: BedrockClient, server: RawServer) -> None:
    """A stream that nobody holds is closed when the loop over it is left: the last reference dies there."""
    async for event in client.stream(MODEL, "Hi."):
        assert event.type == "message_start"
        break
    await closed_at_once(server)


async def test_break_out_of_the_text_closes_at_once(client: BedrockClient, server: RawServer) -> None:
    """The same holds for the views of a stream, text_stream and batches."""
    async for text in client.stream(MODEL, "Hi.").text_stream:
        assert text == "Hello"
        break
    await closed_at_once(server)


async def test_a_stream_that_was_left_has_no_final_response(client: BedrockClient) -> None:
    """Half an answer is never taken for a whole one: what had arrived is there under a name that says so."""
    async with client.stream(MODEL, "Hi.") as stream:
        async for event in stream:
            if event.text:
                break
    with pytest.raises(StreamError, match="closed before its end") as caught:
        await stream.get_final_response()
    assert caught.value.partial_response == stream.response_so_far
    assert stream.response_so_far.text == "Hello"
    never_opened = client.stream(MODEL, "Hi.")
    await never_opened.aclose()
    with pytest.raises(StreamError, match="closed before its end"):
        await never_opened.get_final_response()


async def test_a_dropped_stream_leaves_nothing(client: BedrockClient, server: RawServer) -> None:
    """No timer, cycle or registry keeps an abandoned stream alive."""
    gc.disable()
    try:
        stream = client.stream(MODEL, "Hi.")
        await anext(stream)
        alive = weakref.ref(stream)
        del stream
        assert alive() is None
    finally:
        gc.enable()
    await closed_at_once(server)


async def test_a_stream_that_dies_in_another_thread(client: BedrockClient, server: RawServer) -> None:
    """The collector may run anywhere: the socket is closed by the loop's own thread."""
    holder = [client.stream(MODEL, "Hi.")]
    await anext(holder[0])
    thread = threading.Thread(target=holder.clear)
    thread.start()
    thread.join()
    await closed_at_once(server)


async def test_a_broken_frame_closes_at_once(transport: str) -> None:
    """A wrong checksum raises EventStreamError behind the good events, with the partial response, and closes."""

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(STREAM_HEAD, chunk(START, DELTA, corrupted(DELTA)))
        await peer.closed.wait()

    async with (
        RawServer(script) as server,
        BedrockClient(
            region="us-east-1",
            endpoint_url=server.url,
            credentials=Credentials("AKIDEXAMPLE", "secret"),
            transport=transport,
        ) as client,
    ):
        seen = 0
        with pytest.raises(EventStreamError) as caught:
            async for _ in client.stream(MODEL, "Hi."):
                seen += 1
        assert seen == 2
        assert caught.value.partial_response is not None
        assert caught.value.partial_response.text == "Hello"
        await closed_at_once(server)


async def test_a_stream_that_falls_silent_is_closed(client: BedrockClient, server: RawServer) -> None:
    """The idle limit wakes up the waiting reader, whatever the transport."""
    stream = client.stream(MODEL, "Hi.", timeouts=Timeouts(idle_s=0.05))
    with pytest.raises(TimeoutError, match=r"0\.05 s"):
        await stream.get_final_response()
    await closed_at_once(server)


async def test_a_finished_stream_gives_its_connection_back(transport: str) -> None:
    """The next request goes over the connection of a stream that was read to its end."""

    async def script(peer: RawConnection) -> None:
        while True:
            await peer.read_request()
            await peer.send(STREAM_HEAD, chunk(START, DELTA), chunk(STOP, METADATA), b"0\r\n\r\n")

    async with (
        RawServer(script) as server,
        BedrockClient(
            region="us-east-1",
            endpoint_url=server.url,
            credentials=Credentials("AKIDEXAMPLE", "secret"),
            transport=transport,
        ) as client,
    ):
        for _ in range(3):
            async with client.stream(MODEL, "Hi.") as stream:
                assert (await stream.get_final_response()).text == "Hello"
        assert len(server.connections) == 1
