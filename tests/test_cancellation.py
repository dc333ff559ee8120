"""Wherever a call is cancelled, the pool is whole: the next call is answered, and every connection can be used."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, Final, get_args

import pytest
from cancelling import When, cancel_everywhere, cancelled_at
from life_server import MODEL, TEXT, Service, ours, serving
from transports import turns

from bedrock_async import BedrockClient, Credentials, StandardRetry

POOL: Final = 2

transports = pytest.mark.parametrize("kind", ["native", "aiohttp", "httpx"])
whens = pytest.mark.parametrize("when", get_args(When))
securities = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


async def converse(client: BedrockClient) -> None:
    """Make a call."""
    assert (await client.converse(MODEL, "Hi.")).text == TEXT


async def stream(client: BedrockClient) -> None:
    """Open a stream, read it event by event, leave it before its end."""
    async with client.stream(MODEL, "Hi.") as events:
        for _ in range(3):
            await anext(events)


async def bare_stream(client: BedrockClient) -> None:
    """Read a stream to its end without ``async with``."""
    async for _ in client.stream(MODEL, "Hi."):
        pass


async def count_tokens(client: BedrockClient) -> None:
    """Count, in several requests at once."""
    assert (await client.count_tokens(MODEL, "Hi.", system="Be brief.", breakdown=True)).input_tokens == 7


async def invoke_stream(client: BedrockClient) -> None:
    """Read native events."""
    async with client.invoke_stream(MODEL, {}) as chunks:
        async for _ in chunks:
            pass


async def repeated(client: BedrockClient) -> None:
    """Make a call whose first attempt is refused."""
    assert len((await client.converse(MODEL, "again")).meta.attempts) == 2


async def repeated_stream(client: BedrockClient) -> None:
    """Open a stream whose first attempt is refused."""
    async with client.stream(MODEL, "again") as events:
        await events.get_final_response()
        assert len(events.meta.attempts) == 2


CALLS: Final = [converse, stream, bare_stream, count_tokens, invoke_stream, repeated, repeated_stream]

RETRY: Final = StandardRetry(base_delay_s=0.001, max_delay_s=0.001)


async def whole(client: BedrockClient) -> None:
    """Use every connection at the same time: each of these is answered when the other is there, too."""
    async with asyncio.timeout(20):
        replies = await asyncio.gather(*(client.converse(MODEL, "together") for _ in range(POOL)))
    assert [reply.text for reply in replies] == [TEXT] * POOL


def once_more(service: Service) -> Callable[[], None]:
    """Return what lets the service refuse the next "again" again."""

    def refuse() -> None:
        service.refused = False

    return refuse


@transports
@whens
@securities
@pytest.mark.parametrize("call", CALLS)
async def test_cancelled_at_any_await(
    kind: str, call: Callable[[BedrockClient], Coroutine[Any, Any, None]], when: When, *, tls: bool
) -> None:
    """Connecting, sending, waiting for the head, for the body, for events, between attempts: at each suspension."""
    async with serving(kind, tls=tls, max_connections=POOL, retry=RETRY) as (service, server, client):
        suspensions = await cancel_everywhere(
            lambda: call(client),
            when=when,
            check=lambda: whole(client),
            prepare=once_more(service),
            on_cancel=service.stall,
        )
        assert suspensions >= 1
        await whole(client)
        await client.aclose()
        await client._transport.aclose()
        await turns(5)
        assert not ours(server)
    gc.collect()


@transports
@whens
@securities
@pytest.mark.parametrize("call", [converse, stream])
async def test_cancelled_on_a_new_connection(
    kind: str, call: Callable[[BedrockClient], Coroutine[Any, Any, None]], when: When, *, tls: bool
) -> None:
    """The first call of a client, which makes the connection, cancelled at each of its suspensions."""
    number, came_so_far = 0, True
    while came_so_far:
        number += 1
        async with serving(kind, tls=tls, max_connections=POOL) as (service, server, client):
            came_so_far = await cancelled_at(number, lambda: call(client), when, service.stall)
            await whole(client)
            await client.aclose()
            await client._transport.aclose()
            await turns(5)
            assert not ours(server)
    assert number > 1
    gc.collect()


@transports
@whens
@pytest.mark.parametrize("call", [converse, stream])
async def test_cancelled_while_waiting_for_a_connection(
    kind: str, call: Callable[[BedrockClient], Coroutine[Any, Any, None]], when: When
) -> None:
    """With all connections in use, at each suspension; the turn goes to the next one, and is never lost."""
    async with serving(kind, max_connections=1) as (service, server, client):
        number, came_so_far = 0, True
        while came_so_far:
            number += 1
            service.gate.clear()
            service.requests = 0
            holder = asyncio.ensure_future(client.converse(MODEL, "Hi."))
            await service.asked_for(1)
            waiter = asyncio.ensure_future(cancelled_at(number, lambda: call(client), when))
            behind = asyncio.ensure_future(client.converse(MODEL, "Hi."))
            await turns(10)
            service.gate.set()
            async with asyncio.timeout(20):
                came_so_far = await waiter
                assert (await holder).text == (await behind).text == TEXT
        assert number > 1
        await client.aclose()
        await client._transport.aclose()
        await turns(5)
        assert not ours(server)


@transports
@whens
@pytest.mark.parametrize("call", [converse, stream])
async def test_cancelled_while_waiting_for_credentials(
    kind: str, call: Callable[[BedrockClient], Coroutine[Any, Any, None]], when: When
) -> None:
    """Whoever waits beside the one that was cancelled gets them, and so does the next call."""
    came_so_far = True
    for number in range(1, 100):
        loading, ready = asyncio.Event(), asyncio.Event()

        async def load() -> Credentials:
            loading.set()  # noqa: B023 - called in this turn
            await ready.wait()  # noqa: B023
            return Credentials("AKIDEXAMPLE", "secret")

        async with serving(kind, max_connections=POOL, credentials=load) as (_, server, client):
            first = asyncio.ensure_future(cancelled_at(number, lambda: call(client), when))
            await loading.wait()
            beside = asyncio.ensure_future(client.converse(MODEL, "Hi."))
            await turns(5)
            ready.set()
            async with asyncio.timeout(20):
                came_so_far = await first
                assert (await beside).text == TEXT
            await whole(client)
            await client.aclose()
            await client._transport.aclose()
            await turns(5)
            assert not ours(server)
        if not came_so_far:
            break
    assert not came_so_far
