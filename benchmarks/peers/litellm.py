"""litellm over Converse."""

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

_TOOLS: Final = [
    {
        "type": "function",
        "function": {"name": TOOL_NAME, "description": TOOL_DESCRIPTION, "parameters": TOOL_SCHEMA},
    }
]


class Litellm(Client):
    """The functions of litellm, with what they need to be told at each call."""

    def __init__(self, url: str) -> None:
        self._library: Any = import_module("litellm")
        self._settings = {
            "max_tokens": MAX_TOKENS,
            "aws_access_key_id": KEYS[0],
            "aws_secret_access_key": KEYS[1],
            "aws_region_name": REGION,
            "aws_bedrock_runtime_endpoint": url,
        }

    def conversation(self, turns: Sequence[str]) -> Conversation:
        return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(turns)]

    async def converse(self, model: str, conversation: Conversation) -> str:
        response = await self._library.acompletion(
            model=f"bedrock/converse/{model}", messages=conversation, **self._settings
        )
        text: str = response.choices[0].message.content
        return text

    async def stream(self, model: str, conversation: Conversation, see: See) -> None:
        stream = await self._library.acompletion(
            model=f"bedrock/converse/{model}", messages=conversation, stream=True, **self._settings
        )
        async for chunk in stream:
            text = chunk.choices[0].delta.content
            if text is not None:
                see(text)

    async def tool_stream(self, model: str, conversation: Conversation, see: See) -> None:
        stream = await self._library.acompletion(
            model=f"bedrock/converse/{model}", messages=conversation, stream=True, tools=_TOOLS, **self._settings
        )
        async for chunk in stream:
            for call in chunk.choices[0].delta.tool_calls or ():
                see(call.function.arguments or "")


def load() -> None:
    """Import what an application imports."""
    import_module("litellm")


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Client]:
    """There is no client to make: litellm keeps them by itself."""
    yield Litellm(url)


PEER = Peer(
    title="litellm",
    requirements=("litellm", "boto3", "mcp"),  # it imports mcp as soon as there are tools
    packages=("litellm", "aiohttp", "httpx", "boto3", "pydantic"),
    load=load,
    opened=opened,
    slow=10,
    max_streams=500,
    max_streams_reason="its pool has 500 connections per host",
)
