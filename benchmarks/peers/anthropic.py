"""anthropic's client of Bedrock, which speaks the native streams of its models."""

# ruff: noqa: D102 - the methods do what contract.Client says
from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Final

from ..contract import (
    KEYS,
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

_TOOLS: Final = [{"name": TOOL_NAME, "description": TOOL_DESCRIPTION, "input_schema": TOOL_SCHEMA}]


class Anthropic(Client):
    """An AsyncAnthropicBedrock."""

    def __init__(self, client: object) -> None:
        self._client: Any = client

    def conversation(self, turns: Sequence[str]) -> Conversation:
        return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(turns)]

    async def converse(self, model: str, conversation: Conversation) -> str:
        message = await self._client.messages.create(model=model, messages=conversation, max_tokens=MAX_TOKENS)
        text: str = message.content[0].text
        return text

    async def stream(self, model: str, conversation: Conversation, see: See) -> None:
        stream = await self._client.messages.create(
            model=model, messages=conversation, max_tokens=MAX_TOKENS, stream=True
        )
        async for event in stream:
            if event.type == "content_block_delta":
                see(event.delta.text)

    async def tool_stream(self, model: str, conversation: Conversation, see: See) -> None:
        stream = await self._client.messages.create(
            model=model, messages=conversation, max_tokens=MAX_TOKENS, stream=True, tools=_TOOLS
        )
        async for event in stream:
            if event.type == "content_block_delta":
                see(event.delta.partial_json)


def load() -> None:
    """Import what an application imports."""
    assert import_module("anthropic").AsyncAnthropicBedrock


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Client]:
    """Make a client."""
    async with import_module("anthropic").AsyncAnthropicBedrock(
        base_url=url, aws_region=REGION, aws_access_key=KEYS[0], aws_secret_key=KEYS[1]
    ) as client:
        yield Anthropic(client)


PEER = Peer(
    title="anthropic (Bedrock)",
    requirements=("anthropic[bedrock]",),
    packages=("anthropic", "httpx2", "pydantic", "boto3"),
    load=load,
    opened=opened,
    native=True,
    slow=2,
    max_streams=1000,
    max_streams_reason="its pool has a thousand connections",
)
