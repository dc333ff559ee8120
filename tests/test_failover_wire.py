"""Failover, hedging, limits and continuations over real sockets, with every transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import anyio
import pytest
from transports import KINDS, opened

from bedrock_async import (
    BedrockClient,
    Continuation,
    Credentials,
    Failover,
    Hedge,
    RateLimit,
    RateLimiter,
    StandardRetry,
    Target,
)
from bedrock_async.errors import service_error
from bedrock_async.testing import BedrockEmulator, Control, ScriptedModel, text_events

MODEL: Final = "us.amazon.nova-lite-v1:0"
DOWN: Final = service_error("ServiceUnavailableException", "down")
BEGINNING: Final = text_events("one two")[:3]


class Silence:
    """Never happens; knows when nobody waits for it any more."""

    def __init__(self) -> None:
        self.awaited, self.given_up = asyncio.Event(), asyncio.Event()

    async def wait(self) -> None:
        """Wait until the client has gone away."""
        self.awaited.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up.set()


@asynccontextmanager
async def client_of(kind: str, models: Sequence[ScriptedModel], **options: Any) -> AsyncGenerator[BedrockClient]:  # noqa: ANN401
    """Return a client with a target for each model, each a server of its own."""
    async with AsyncExitStack() as stack:
        transport = await stack.enter_async_context(opened(kind))
        servers = [await stack.enter_async_context(BedrockEmulator([model])) for model in models]
        targets = [Target(endpoint_url=server.url, name=str(number)) for number, server in enumerate(servers)]
        hedge = options.pop("hedge", None)
        client = BedrockClient(
            region="us-east-1",
            credentials=Credentials("AKIDEXAMPLE", "secret"),
            transport=transport,
            retry=StandardRetry(max_attempts=2, base_delay_s=0.0),
            targets=Failover(targets, hedge=hedge),
            **options,
        )
        stack.push_async_callback(client.aclose)
        with anyio.fail_after(30):
            yield client


async def asked(client: BedrockClient, verb: str) -> tuple[str, list[tuple[str, str | None]]]:
    """Ask, and return the text and which target met what."""
    if verb == "converse":
        reply = await client.converse(MODEL, "Count.")
    else:
        reply = await client.stream(MODEL, "Count.").get_final_response()
    return reply.text, [(each.target, each.code) for each in reply.meta.attempts]


@pytest.mark.parametrize("verb", ["converse", "stream"])
@pytest.mark.parametrize("kind", KINDS)
async def test_the_next_server_answers(kind: str, verb: str) -> None:
    """After the first one has refused, and has reset a connection."""
    first = ScriptedModel.in_turn([DOWN], [Control.RESET_IN_HEAD])
    async with client_of(kind, [first, ScriptedModel.text("two")]) as client:
        text, attempts = await asked(client, verb)
    assert text == "two"
    assert [target for target, _ in attempts] == ["0", "0", "1"]
    assert [code for _, code in attempts] == ["ServiceUnavailableException", "ConnectionLostError", None]


@pytest.mark.parametrize("verb", ["converse", "stream"])
@pytest.mark.parametrize("kind", KINDS)
async def test_the_loser_of_a_race_is_gone(kind: str, verb: str) -> None:
    """Its connection closes, so that its server stops: nothing is billed longer than needed."""
    silence = Silence()
    hedge = Hedge(after_s=0.05, max_share=1.0)
    limiter = RateLimiter(RateLimit(max_in_flight=5))
    # The second answers when the first was asked: on a busy machine the race may begin while that one still connects.
    models = [ScriptedModel([silence]), ScriptedModel([silence.awaited, *text_events("two")])]
    async with client_of(kind, models, hedge=hedge, rate_limit=limiter) as client:
        text, attempts = await asked(client, verb)
        assert (text, attempts) == ("two", [("0", "Cancelled"), ("1", None)])
        await silence.given_up.wait()
        store: Any = limiter._store
        assert {window.in_flight for window in store._windows.values()} == {0}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [Control.RESET, Control.CLOSE, service_error("ThrottlingException", "slow")], ids=str)
async def test_a_stream_goes_on_at_the_next_connection(kind: str, how: Control | Exception) -> None:
    """All its text, once; at the first target again, whose turn it is."""
    model = ScriptedModel.in_turn([*BEGINNING, how], text_events(" three four"))  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    async with client_of(kind, [model, ScriptedModel.text("other")]) as client:
        stream = client.stream(MODEL, "Count.", continuation=Continuation())
        texts = [text async for text in stream.text_stream]
    # A reset drops what was not yet sent: of the beginning there is as much as has arrived.
    arrived = ("one two", "one", "") if how is Control.RESET else ("one two",)
    assert "".join(texts) in {beginning + " three four" for beginning in arrived}
    assert stream.meta.continuations <= 1
    assert [(each.target, each.code is None) for each in stream.meta.attempts] == [("0", False), ("0", True)]
