"""Closing a client: at once, or when what is in flight has ended; in bounded time, and with nothing left."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
from life_server import MODEL, TEXT, Service, client_of, ours, serving
from rawserver import RawServer
from transports import turns

from bedrock_async import (
    BedrockClient,
    BedrockError,
    ClientClosedError,
    ConnectionLostError,
    Credentials,
    Hooks,
    InvalidRequestError,
    StandardRetry,
    tool,
)
from bedrock_async.testing import BedrockEmulator, ScriptedModel, text_events, tool_use_events

LONG_S = 50.0


@pytest.fixture(params=["native", "aiohttp", "httpx"])
def kind(request: pytest.FixtureRequest) -> str:
    """Every promise here holds for every transport."""
    name: str = request.param
    return name


@pytest.fixture
async def gated(kind: str) -> AsyncIterator[tuple[Service, RawServer, BedrockClient]]:
    """A service that answers when it is allowed to, and a client of it that owns its transport."""
    service = Service()
    service.gate.clear()
    async with RawServer(service) as server:
        client = client_of(server, transport=kind)
        yield service, server, client
        await client.aclose()
        await turns(5)
        assert not ours(server)


async def read(client: BedrockClient) -> str:
    """Read a whole stream."""
    async with client.stream(MODEL, "Hi.") as stream:
        return (await stream.get_final_response()).text


async def test_draining_lets_calls_and_streams_end(gated: tuple[Service, RawServer, BedrockClient]) -> None:
    """What is in flight is answered; new calls are refused meanwhile; then everything is closed."""
    service, server, client = gated
    async with asyncio.TaskGroup() as group:
        call, stream = group.create_task(client.converse(MODEL, "Hi.")), group.create_task(read(client))
        count = group.create_task(client.count_tokens(MODEL, "Hi."))
        await service.asked_for(3)
        closing = group.create_task(client.aclose(drain_s=LONG_S))
        await turns(3)
        with pytest.raises(ClientClosedError):
            await client.converse(MODEL, "Hi.")
        with pytest.raises(ClientClosedError):
            client.stream(MODEL, "Hi.")
        with pytest.raises(ClientClosedError):
            await client.invoke(MODEL, {})
        with pytest.raises(ClientClosedError):
            await client.count_tokens(MODEL, "Hi.")
        with pytest.raises(ClientClosedError):
            await client.apply_guardrail("g", "1", source="INPUT", content="Hi.")
        with pytest.raises(ClientClosedError):
            client.run_tools(MODEL, "Hi.", tools=[weather])
        assert not closing.done()
        service.gate.set()
    assert (call.result().text, stream.result(), count.result().input_tokens) == (TEXT, TEXT, 7)
    assert service.requests == 3
    for connection in server.connections:
        async with asyncio.timeout(30):
            await connection.closed.wait()


async def test_draining_ends_in_time(gated: tuple[Service, RawServer, BedrockClient]) -> None:
    """What has not ended by then is ended: calls and streams that are opening, read on, or not read at all."""
    service, server, client = gated
    held = client.stream(MODEL, "Hi.")
    await anext(held)
    began = asyncio.Event()

    async def read_on() -> None:
        async for _ in client.stream(MODEL, "Hi."):
            began.set()

    calls: list[asyncio.Task[Any]] = [
        asyncio.ensure_future(client.converse(MODEL, "Hi.")),
        asyncio.ensure_future(client.count_tokens(MODEL, "Hi.")),
        asyncio.ensure_future(read_on()),
    ]
    await service.asked_for(4)
    await began.wait()
    await client.aclose(drain_s=0.05)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ClientClosedError, ClientClosedError, ConnectionLostError]
    with pytest.raises(ConnectionLostError):
        while True:
            await anext(held)
    await turns(5)
    assert not ours(server)


async def test_closing_at_once_ends_calls_wherever_they_are(kind: str) -> None:
    """Without ``drain_s`` nothing is waited for: not the pause before another attempt, not credentials, not a hook."""
    reached = asyncio.Event()

    async def never() -> Credentials:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    slow = StandardRetry(max_attempts=2, base_delay_s=LONG_S, max_delay_s=LONG_S)
    retried = Hooks(on_retry=lambda _retry, _call: reached.set())
    ways: list[dict[str, Any]] = [{"retry": slow, "hooks": retried}, {"credentials": never}]
    for keywords in ways:
        for verb in ("converse", "stream"):
            reached.clear()
            async with serving(kind, **keywords) as (_, server, client):
                asking = client.converse(MODEL, "again") if verb == "converse" else anext(client.stream(MODEL, "again"))
                call = asyncio.ensure_future(asking)
                await reached.wait()
                await turns(3)
                await client.aclose()
                with pytest.raises(ClientClosedError, match="drain_s") as caught:
                    await call
                if "retry" in keywords:
                    assert [attempt.status for attempt in caught.value.attempts] == [503]
                await turns(5)
                assert not ours(server)


async def test_a_transport_that_was_passed_in_stays_open(kind: str) -> None:
    """The client ends what it has in flight, and leaves the transport to its owner: another client goes on."""
    async with serving(kind) as (service, server, client):
        other = client_of(server, transport=client._transport)
        service.gate.clear()
        call, others = (asyncio.ensure_future(each.converse(MODEL, "Hi.")) for each in (client, other))
        await service.asked_for(2)
        await client.aclose()
        with pytest.raises(ClientClosedError):
            await call
        service.gate.set()
        assert (await others).text == TEXT


async def test_closing_again_is_allowed(gated: tuple[Service, RawServer, BedrockClient]) -> None:
    """A second aclose without ``drain_s`` ends the waiting of the first; later ones do nothing."""
    service, _, client = gated
    call = asyncio.ensure_future(client.converse(MODEL, "Hi."))
    await service.asked_for(1)
    first = asyncio.ensure_future(client.aclose(drain_s=LONG_S))
    second = asyncio.ensure_future(client.aclose(drain_s=LONG_S))
    await turns(3)
    await client.aclose()
    await asyncio.gather(first, second)
    with pytest.raises(ClientClosedError):
        await call
    await client.aclose()
    await client.aclose(drain_s=LONG_S)


async def test_cancelling_the_closing_closes_all_the_same(gated: tuple[Service, RawServer, BedrockClient]) -> None:
    """Nothing is left open when whoever drains is cancelled."""
    service, server, client = gated
    call = asyncio.ensure_future(client.converse(MODEL, "Hi."))
    await service.asked_for(1)
    closing = asyncio.ensure_future(client.aclose(drain_s=LONG_S))
    await turns(3)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(ClientClosedError):
        await call
    async with asyncio.timeout(30):
        await server.connections[0].closed.wait()


async def test_draining_an_idle_client_takes_no_time(gated: tuple[Service, RawServer, BedrockClient]) -> None:
    """There is nothing to wait for after calls that ended, failed or were cancelled, and streams that were left."""
    service, _, client = gated
    service.gate.set()
    await client.converse(MODEL, "Hi.")
    await read(client)
    stream = client.stream(MODEL, "Hi.")
    await anext(stream)
    del stream
    with pytest.raises(BedrockError):
        await client.converse(MODEL, "again")
    service.gate.clear()
    call = asyncio.ensure_future(client.converse(MODEL, "Hi."))
    await service.asked_for(5)
    call.cancel()
    await asyncio.wait([call])
    async with asyncio.timeout(30):
        await client.aclose(drain_s=LONG_S)


@tool
async def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"sunny in {city}"


async def test_draining_waits_for_a_loop_of_tools(kind: str) -> None:
    """Also while a tool runs and nothing is on its way: the loop makes its next request, and has its answer."""
    running, finish = asyncio.Event(), asyncio.Event()

    @tool
    async def slow(city: str) -> str:
        """Return the weather of a city, slowly."""
        running.set()
        await finish.wait()
        return f"sunny in {city}"

    model = ScriptedModel.in_turn(tool_use_events("slow", {"city": "Paris"}), text_events("It is sunny."))
    async with BedrockEmulator([model]) as emulator:
        client = BedrockClient(region="us-east-1", endpoint_url=emulator.url, api_key="key", transport=kind)
        result = asyncio.ensure_future(client.run_tools(MODEL, "Weather?", tools=[slow]).result())
        await running.wait()
        closing = asyncio.ensure_future(client.aclose(drain_s=LONG_S))
        await turns(10)
        assert not closing.done()
        finish.set()
        assert (await result).text == "It is sunny."
        async with asyncio.timeout(30):
            await closing


@pytest.mark.parametrize("drain_s", ["30", math.nan, True])
async def test_seconds_are_a_number(drain_s: Any) -> None:  # noqa: ANN401 - whatever is wrong
    """What is none is refused, and the client stays open."""
    client = BedrockClient(region="us-east-1", api_key="key")
    with pytest.raises(InvalidRequestError, match="drain_s"):
        await client.aclose(drain_s=drain_s)
    client.stream(MODEL, "Hi.").abort()
    await client.aclose(drain_s=0)
