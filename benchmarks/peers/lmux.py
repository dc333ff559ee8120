"""lmux-aws-bedrock, with a pool that is large enough; credentials come from the environment through boto3."""

# ruff: noqa: D102 - the methods do what contract.Client says
from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from ..contract import (
    CONNECTIONS,
    MAX_TOKENS,
    REGION,
    TOOL_DESCRIPTION,
    TOOL_NAME,
    TOOL_SCHEMA,
    Client,
    Conversation,
    Peer,
    See,
)


class Lmux(Client):
    """A provider of lmux."""

    def __init__(self, provider: object) -> None:
        self._provider: Any = provider
        self._types: Any = import_module("lmux.types")
        function = {"name": TOOL_NAME, "description": TOOL_DESCRIPTION, "parameters": TOOL_SCHEMA}
        self._tools = [self._types.Tool.model_validate({"function": function})]

    def conversation(self, turns: Sequence[str]) -> Conversation:
        kinds = (self._types.UserMessage, self._types.AssistantMessage)
        return [kinds[number % 2](content=text) for number, text in enumerate(turns)]

    async def converse(self, model: str, conversation: Conversation) -> str:
        response = await self._provider.achat(model, conversation, max_tokens=MAX_TOKENS)
        text: str = response.content
        return text

    async def stream(self, model: str, conversation: Conversation, see: See) -> None:
        async for chunk in self._provider.achat_stream(model, conversation, max_tokens=MAX_TOKENS):
            text = chunk.delta
            if text is not None:
                see(text)

    async def tool_stream(self, model: str, conversation: Conversation, see: See) -> None:
        stream = self._provider.achat_stream(model, conversation, max_tokens=MAX_TOKENS, tools=self._tools)
        async for chunk in stream:
            for delta in chunk.tool_call_deltas or ():
                if delta.function is not None and delta.function.arguments is not None:
                    see(delta.function.arguments)


def load() -> None:
    """Import what an application imports."""
    import_module("lmux_aws_bedrock")
    import_module("httpx")


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Client]:
    """Make a provider."""
    httpx = import_module("httpx")
    limits = httpx.Limits(max_connections=CONNECTIONS)
    transport = httpx.AsyncHTTPTransport(limits=limits)
    provider = import_module("lmux_aws_bedrock").BedrockProvider(
        region=REGION, endpoint_url=url, async_transport=transport
    )
    try:
        yield Lmux(provider)
    finally:
        await provider.aclose()


def decode(pieces: Sequence[bytes]) -> int:
    """Decode events into models of pydantic."""
    decoder = import_module("lmux_bedrock_shared").EventStreamDecoder()
    provider = import_module("lmux_aws_bedrock.provider")
    events = 0
    for piece in pieces:
        for headers, payload in decoder.feed(piece):
            provider.WireStreamEvent.model_validate(provider._decode_event(headers, payload))  # noqa: SLF001 - it has no other
            events += 1
    return events


PEER = Peer(
    title="lmux-aws-bedrock",
    requirements=("lmux-aws-bedrock",),
    packages=("lmux-aws-bedrock", "httpx", "httpcore", "pydantic", "boto3"),
    load=load,
    opened=opened,
    decode=decode,
)
