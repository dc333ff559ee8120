"""capo-bedrock-runtime, with a pool that is large enough (its default is ten connections)."""

# ruff: noqa: D102 - the methods do what contract.Client says
from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Final

from ..contract import (
    CONNECTIONS,
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

_TOOLS: Final = {
    "tools": [
        {
            "toolSpec": {
                "name": TOOL_NAME,
                "description": TOOL_DESCRIPTION,
                "input_schema": {"json": TOOL_SCHEMA},
            }
        }
    ]
}


class Capo(Client):
    """A client of capo."""

    def __init__(self, client: object) -> None:
        self._client: Any = client

    async def converse(self, model: str, conversation: Conversation) -> str:
        response = await self._client.converse(
            model, messages=conversation, inference_config={"max_tokens": MAX_TOKENS}
        )
        text: str = response["output"]["message"]["content"][0]["text"]
        return text

    async def stream(self, model: str, conversation: Conversation, see: See) -> None:
        async with self._client.converse_stream(
            model, messages=conversation, inference_config={"max_tokens": MAX_TOKENS}
        ) as response:
            async for event in response["stream"]:
                delta = event.get("contentBlockDelta")
                if delta is not None:
                    see(delta["delta"]["text"])

    async def tool_stream(self, model: str, conversation: Conversation, see: See) -> None:
        async with self._client.converse_stream(
            model, messages=conversation, inference_config={"max_tokens": MAX_TOKENS}, tool_config=_TOOLS
        ) as response:
            async for event in response["stream"]:
                delta = event.get("contentBlockDelta")
                if delta is not None:
                    see(delta["delta"]["toolUse"]["input"])


def load() -> None:
    """Import what an application imports."""
    import_module("capo_bedrock_runtime")
    import_module("zapros")


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Client]:
    """Make a client."""
    library = import_module("capo_bedrock_runtime")
    handler = import_module("zapros").AsyncStdNetworkHandler(http1={"max_connections_per_host": CONNECTIONS})
    async with library.AsyncBedrockRuntimeClient(
        handler,
        region=REGION,
        endpoint=url,
        credentials={"access_key": KEYS[0], "secret_key": KEYS[1]},
    ) as client:
        yield Capo(client)


PEER = Peer(
    title="capo-bedrock-runtime",
    requirements=("capo-bedrock-runtime",),
    packages=("capo-bedrock-runtime", "zapros", "h11"),
    load=load,
    opened=opened,
)
