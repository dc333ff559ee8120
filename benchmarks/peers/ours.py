"""bedrock_async with its default transport."""

# ruff: noqa: D102 - the methods do what contract.Client says
from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from typing import Any

from ..contract import BOTO3_TOOLS, CONNECTIONS, KEYS, MAX_TOKENS, REGION, Client, Conversation, Peer, See


class Ours(Client):
    """A BedrockClient."""

    def __init__(self, client: object) -> None:
        self._client: Any = client

    async def converse(self, model: str, conversation: Conversation) -> str:
        reply = await self._client.converse(model, conversation, max_tokens=MAX_TOKENS)
        text: str = reply.text
        return text

    async def stream(self, model: str, conversation: Conversation, see: See) -> None:
        async for event in self._client.stream(model, conversation, max_tokens=MAX_TOKENS):
            text = event.text
            if text is not None:
                see(text)

    async def unkept_stream(self, model: str, conversation: Conversation, see: See) -> None:
        stream = self._client.stream(model, conversation, max_tokens=MAX_TOKENS, accumulate=False)
        async for event in stream:
            text = event.text
            if text is not None:
                see(text)

    async def tool_stream(self, model: str, conversation: Conversation, see: See) -> None:
        tools = BOTO3_TOOLS["tools"]
        async for event in self._client.stream(model, conversation, max_tokens=MAX_TOKENS, tools=tools):
            piece = event.tool_input
            if piece is not None:
                see(piece)


def load() -> None:
    """Import what an application imports: the names it uses."""
    library = import_module("bedrock_async")
    assert library.BedrockClient
    assert library.Credentials


def opened(transport: str | None) -> Callable[[str], AbstractAsyncContextManager[Client]]:
    """Return what opens a client with that transport; None is the default one."""

    @asynccontextmanager
    async def open_client(url: str) -> AsyncGenerator[Client]:
        from bedrock_async import BedrockClient, Credentials, Limits

        async with BedrockClient(
            region=REGION,
            endpoint_url=url,
            credentials=Credentials(*KEYS),
            limits=Limits(max_connections=CONNECTIONS),
            transport=transport,
        ) as client:
            yield Ours(client)

    return open_client


def decode(pieces: Sequence[bytes]) -> int:
    """Decode typed events, both checksums compared."""
    from bedrock_async.events import ConverseEventDecoder

    decoder = ConverseEventDecoder()
    return sum(len(decoder.receive(piece)) for piece in pieces)


PEER = Peer(
    title="bedrock_async",
    kind="ours",
    environment="ours",
    package="bedrock_async",
    requirements=("httptools", "httpx2", "uvloop"),
    packages=("bedrock-async", "aiohttp", "httptools", "httpx2", "msgspec", "pydantic", "uvloop"),
    load=load,
    opened=opened(None),
    decode=decode,
)
