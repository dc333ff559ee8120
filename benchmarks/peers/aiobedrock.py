"""aiobedrock. Its endpoint is fixed: a subclass sends the signed request elsewhere."""

# ruff: noqa: D102 - the methods do what contract.Client says
from __future__ import annotations

import json
import warnings
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from typing import Any

from ..contract import BOTO3_TOOLS, CONNECTIONS, MAX_TOKENS, REGION, Client, Conversation, Peer, See


class Aiobedrock(Client):
    """A client of aiobedrock; an answer that is no stream comes as bytes."""

    def __init__(self, client: object) -> None:
        self._client: Any = client

    async def converse(self, model: str, conversation: Conversation) -> str:
        body = await self._client.converse(
            modelId=model, messages=conversation, inferenceConfig={"maxTokens": MAX_TOKENS}
        )
        text: str = json.loads(body)["output"]["message"]["content"][0]["text"]
        return text

    async def stream(self, model: str, conversation: Conversation, see: See) -> None:
        async for event in self._client.converse_stream(
            modelId=model, messages=conversation, inferenceConfig={"maxTokens": MAX_TOKENS}
        ):
            delta = event.get("contentBlockDelta")
            if delta is not None:
                see(delta["delta"]["text"])

    async def tool_stream(self, model: str, conversation: Conversation, see: See) -> None:
        async for event in self._client.converse_stream(
            modelId=model, messages=conversation, inferenceConfig={"maxTokens": MAX_TOKENS}, toolConfig=BOTO3_TOOLS
        ):
            delta = event.get("contentBlockDelta")
            if delta is not None:
                see(delta["delta"]["toolUse"]["input"])


def load() -> None:
    """Import what an application imports."""
    import_module("aiobedrock")


@asynccontextmanager
async def opened(endpoint: str) -> AsyncGenerator[Client]:
    """Make a client; its credentials come from the environment."""
    base: Any = import_module("aiobedrock").Client
    fixed = f"https://bedrock-runtime.{REGION}.amazonaws.com"

    def request(self: object, url: str, **rest: object) -> AbstractAsyncContextManager[Any]:
        sent: AbstractAsyncContextManager[Any] = base._request(self, url.replace(fixed, endpoint), **rest)  # noqa: SLF001
        return sent

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks aiohttp for something that is no longer needed
        client: Any = type("Client", (base,), {"_request": request})(region_name=REGION, max_connections=CONNECTIONS)
        async with client:
            yield Aiobedrock(client)


PEER = Peer(
    title="aiobedrock",
    requirements=("aiobedrock",),
    packages=("aiobedrock", "aiohttp", "botocore", "orjson"),
    load=load,
    opened=opened,
    not_offered={"decode": "the decoder is botocore's, without its parser"},
)
