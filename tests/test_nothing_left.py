"""After use nothing of a client is left: no task, no socket, no descriptor, no warning."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
import threading
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from life_server import DELTA, MODEL, START, STREAM_HEAD, TEXT, Service, chunk, client_of, ours
from rawserver import RawConnection, RawServer
from transports import turns

from bedrock_async import BedrockClient, ClientClosedError, ConnectionLostError

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors in /proc")

Use = Callable[[BedrockClient, Service], Awaitable[None]]


@pytest.fixture(params=["native", "aiohttp", "httpx"])
def kind(request: pytest.FixtureRequest) -> str:
    """Every promise here holds for every transport."""
    name: str = request.param
    return name


@pytest.fixture
def complaints(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Collect what the interpreter and asyncio have to say of things that were left."""
    said: list[str] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: said.append(repr(unraisable.exc_value))
    caplog.set_level(logging.ERROR, "asyncio")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield said
            gc.collect()
    finally:
        sys.unraisablehook = before
    said += [record.getMessage() for record in caplog.records]
    assert said == []


async def use_normally(client: BedrockClient, _: Service) -> None:
    """Make calls and read streams to their ends."""
    assert (await client.converse(MODEL, "Hi.")).text == TEXT
    async with client.stream(MODEL, "Hi.") as stream:
        assert (await stream.get_final_response()).text == TEXT
    async for native in client.invoke_stream(MODEL, {}):
        assert native.bytes


async def abandon_streams(client: BedrockClient, _: Service) -> None:
    """Leave streams by ``break``, by forgetting them, and in a cycle that only the collector finds."""
    async for _event in client.stream(MODEL, "Hi."):
        break
    forgotten = client.stream(MODEL, "Hi.")
    await anext(forgotten)
    del forgotten
    cycle: list[Any] = [client.stream(MODEL, "Hi.")]
    cycle.append(cycle)
    await anext(cycle[0])
    del cycle
    gc.collect()


async def cancel_calls(client: BedrockClient, service: Service) -> None:
    """Cancel calls and streams that wait."""
    service.gate.clear()
    calls: list[asyncio.Task[Any]] = [
        asyncio.ensure_future(client.converse(MODEL, "Hi.")),
        asyncio.ensure_future(client.stream(MODEL, "Hi.").get_final_response()),
        asyncio.ensure_future(client.count_tokens(MODEL, "Hi.")),
    ]
    await service.asked_for(3)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    assert all(call.cancelled() for call in calls)
    service.gate.set()


async def close_under_way(client: BedrockClient, service: Service) -> None:
    """Close the client with calls and streams in flight."""
    service.gate.clear()
    calls: list[asyncio.Task[Any]] = [
        asyncio.ensure_future(client.converse(MODEL, "Hi.")),
        asyncio.ensure_future(client.stream(MODEL, "Hi.").get_final_response()),
    ]
    held = client.stream(MODEL, "Hi.")
    await anext(held)
    await service.asked_for(3)
    await client.aclose()
    for call in calls:
        with pytest.raises((ClientClosedError, ConnectionLostError)):
            await call
    service.gate.set()


USES: Final = [use_normally, abandon_streams, cancel_calls, close_under_way]


@pytest.mark.parametrize("use", USES)
async def test_nothing_is_left_after_closing(kind: str, use: Use, complaints: list[str]) -> None:
    """No task of ours, no descriptor, no ResourceWarning, after whatever the client was used for."""
    gc.collect()
    descriptors = open_descriptors()
    service = Service()
    async with RawServer(service) as server:
        client = client_of(server, transport=kind)
        await use(client, service)
        await client.aclose()
        await turns(5)
        assert not ours(server)
        del client
        gc.collect()
    await turns(5)
    assert open_descriptors() <= descriptors
    assert complaints == []


async def leave_idle(client: BedrockClient, _: list[object]) -> None:
    """Leave a connection in the pool."""
    assert (await client.converse(MODEL, "Hi.")).text == TEXT


async def leave_streams(client: BedrockClient, held: list[object]) -> None:
    """Leave a stream that somebody holds, and one that nobody does."""
    for kept in (True, False):
        stream = client.stream(MODEL, "Hi.")
        await anext(stream)
        if kept:
            held.append(stream)


async def leave_tasks(client: BedrockClient, _: list[object]) -> None:
    """Leave tasks with a call, and with a stream, under way."""
    calls: list[Coroutine[Any, Any, object]] = [
        client.converse(MODEL, "Hi."),
        client.stream(MODEL, "Hi.").get_final_response(),
    ]
    tasks = [asyncio.ensure_future(call) for call in calls]
    await asyncio.wait(tasks, timeout=0.05)


@pytest.mark.parametrize("leave", [leave_idle, leave_streams, leave_tasks])
def test_nothing_is_left_when_the_loop_ends_without_closing(
    kind: str, leave: Callable[[BedrockClient, list[object]], Awaitable[None]], complaints: list[str]
) -> None:
    """`asyncio.run` that ends without ``aclose`` closes what is open, though the server and who holds it would not."""
    with serving_elsewhere(answers=leave is leave_idle) as (server, loop):
        held: list[object] = []
        gc.collect()
        descriptors = open_descriptors()

        async def main() -> None:
            client = client_of(server, transport=kind)
            held.append(client)
            await leave(client, held)

        asyncio.run(main())
        assert asyncio.run_coroutine_threadsafe(left_by(server), loop).result() <= descriptors
        held.clear()
        gc.collect()
        assert complaints == []


def test_closing_while_the_loop_ends_is_allowed(kind: str, complaints: list[str]) -> None:
    """A generator that the loop ends may close the client in its turn, whichever of the two comes first."""
    with serving_elsewhere(answers=True) as (server, _):
        held: list[object] = []

        async def replies() -> AsyncGenerator[str]:
            async with client_of(server, transport=kind) as client:
                held.append(client)
                while True:
                    yield (await client.converse(MODEL, "Hi.")).text

        async def main() -> None:
            for generator in (replies(), replies(), replies()):
                held.append(generator)
                assert await anext(generator) == TEXT

        asyncio.run(main())
        held.clear()
        gc.collect()
        assert complaints == []


@contextmanager
def serving_elsewhere(*, answers: bool) -> Generator[tuple[RawServer, asyncio.AbstractEventLoop]]:
    """Run the service in a thread, whose loop goes on when that of the test has ended."""
    running: Future[tuple[RawServer, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        service, stop = Service(), asyncio.Event()
        if not answers:
            service.gate.clear()
        async with RawServer(service) as server:
            running.set_result((server, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    server, loop, stop = running.result()
    try:
        yield server, loop
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def left_by(server: RawServer) -> int:
    """Return how many descriptors there are, without the server's own connections, which are of this process, too.

    To be run in the server's loop, so that it opens and closes none meanwhile.
    """
    await turns(10)
    sockets: list[socket.socket] = [each.transport.get_extra_info("socket") for each in server.connections]
    return open_descriptors() - sum(each.fileno() >= 0 for each in sockets)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # aiohttp and asyncio say that nobody closed them
async def test_a_client_that_is_forgotten_closes_its_connections(kind: str) -> None:
    """Also while the loop goes on: nobody has to wait for the server to close them."""
    async with RawServer(Service()) as server:
        client = client_of(server, transport=kind)
        await client.converse(MODEL, "Hi.")
        del client
        gc.collect()
        async with asyncio.timeout(30):
            await server.connections[0].closed.wait()
        await turns(20)
        assert not ours(server)


async def test_connections_that_broke_leave_nothing(kind: str) -> None:
    """Not one object for each of them, in the pool or anywhere else, once the collector has run."""

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(STREAM_HEAD, chunk(START, DELTA))
        peer.reset()

    async with RawServer(script) as server, client_of(server, transport=kind) as client:

        async def broken(times: int) -> int:
            for _ in range(times):
                with pytest.raises(ConnectionLostError):
                    await client.stream(MODEL, "Hi.").get_final_response()
            server.forget()
            await turns(5)
            gc.collect()
            return len(gc.get_objects())

        before = await broken(20)
        assert await broken(100) - before < 100


def open_descriptors() -> int:
    """Return how many descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))
