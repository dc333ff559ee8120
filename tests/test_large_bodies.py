"""A large request holds up nobody: its body is made and hashed beside the event loop, and is the same body."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from bedrock_async import BedrockClient, ConverseRequest, Credentials, InvalidRequestError
from bedrock_async.providers import CallContext, Flow, StreamPlan
from bedrock_async.providers.converse import ConverseProvider
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.types import ConverseResponse, JSONValue
from bedrock_async.types.request import LARGE_BODY_BYTES

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
LARGE_TEXT = "word " * (LARGE_BODY_BYTES // 5 + 1)
ANSWER = json.dumps({"output": {"message": {"role": "assistant", "content": [{"text": "ok"}]}}}).encode()
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * LARGE_BODY_BYTES

LARGE: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": [{"text": LARGE_TEXT}]}]},
    {
        "messages": [
            {"role": "user", "content": [{"text": "a"}, {"image": {"format": "png", "source": {"bytes": PNG}}}]},
            {"role": "assistant", "content": [{"newBlock": {"n": 1}}], "newMember": [1.5]},
            {
                "role": "user",
                "content": [{"toolResult": {"toolUseId": "t", "content": [{"text": LARGE_TEXT}], "status": "success"}}],
            },
        ],
        "system": [{"text": "be brief"}],
        "inferenceConfig": {"maxTokens": 5},
        "newMember": {"deep": [True]},
    },
    {"messages": [{"role": "user", "content": [{"text": LARGE_TEXT + "\ud800"}]}], "system": [{"text": "\ud800"}]},
]


class Watching(ConverseProvider):
    """The default provider, noting in which threads it makes requests."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def converse(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
        self.threads.append(threading.get_ident())
        return (yield from super().converse(request, ctx))

    def stream(self, request: ConverseRequest, ctx: CallContext) -> StreamPlan[Any]:
        self.threads.append(threading.get_ident())
        return super().stream(request, ctx)


def client(provider: ConverseProvider, answer: CannedResponse) -> BedrockClient:
    """Return a client of this provider and this answer."""
    return BedrockClient(
        region="us-east-1",
        credentials=Credentials("id", "secret"),
        transport=CannedTransport([answer]),
        providers={"watching": provider},
        provider="watching",
    )


@pytest.mark.parametrize("members", LARGE, ids=["text", "every kind", "lone surrogates"])
def test_a_large_body_is_the_same_body(members: dict[str, Any]) -> None:
    """Made block by block, the body says what `to_wire` says, unknown members included."""
    request = ConverseRequest.from_dict(members)
    assert request.size_hint >= LARGE_BODY_BYTES
    assert json.loads(request.to_wire_bytes()) == request.to_wire()


@pytest.mark.parametrize("text", ["hello", LARGE_TEXT], ids=["small", "large"])
async def test_large_bodies_are_made_beside_the_loop(text: str) -> None:
    """A small body is made at once in the loop's thread, a large one in another, for whole answers and streams."""
    events: list[dict[str, JSONValue]] = [
        {"messageStart": {"role": "assistant"}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {}},
    ]
    provider = Watching()
    reply = await client(provider, CannedResponse([ANSWER])).converse(MODEL, text)
    assert reply.text == "ok"
    async with client(provider, CannedResponse.stream(events)).stream(MODEL, text) as stream:
        assert (await stream.get_final_response()).stop_reason == "end_turn"
    in_loop = [thread == threading.get_ident() for thread in provider.threads]
    assert in_loop == [text == "hello"] * 2


async def test_a_flow_that_needs_nothing_still_answers() -> None:
    """A provider that answers from what it knows ends its flow without an effect; a large request changes nothing."""

    class Knowing(ConverseProvider):
        def converse(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
            if request.messages is None:
                yield from super().converse(request, ctx)
            return ConverseResponse.from_wire(ANSWER)

    reply = await client(Knowing(), CannedResponse()).converse(MODEL, LARGE_TEXT)
    assert reply.text == "ok"


async def test_cancelling_while_a_large_body_is_made() -> None:
    """The call ends at once; the thread goes on alone, and nobody hears of it."""
    working, go_on = threading.Event(), threading.Event()

    class Slow(ConverseProvider):
        name = "slow"

        def converse(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
            working.set()
            go_on.wait(30)
            return (yield from super().converse(request, ctx))

    transport = CannedTransport([CannedResponse([ANSWER])])
    client = BedrockClient(
        region="us-east-1", transport=transport, credentials=Credentials("AKID", "secret"), providers={"slow": Slow()}
    )
    task = asyncio.ensure_future(client.converse(MODEL, LARGE_TEXT, provider="slow"))
    await asyncio.to_thread(working.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert not transport.requests


async def test_a_large_body_that_json_cannot_hold_is_refused() -> None:
    """The error comes out of the other thread as it would come out of this one."""
    with pytest.raises(InvalidRequestError, match="JSON cannot"):
        await client(Watching(), CannedResponse()).converse(
            MODEL, LARGE_TEXT, additional_request_fields={"key": object()}
        )
