"""aiobotocore, with a pool that is large enough."""

# ruff: noqa: D102 - the methods do what contract.Client says
from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from ..contract import BOTO3_TOOLS, CONNECTIONS, KEYS, MAX_TOKENS, REGION, Client, Conversation, Peer, See


class Aiobotocore(Client):
    """A client of aiobotocore, or of aioboto3, which hands out the same."""

    def __init__(self, client: object) -> None:
        self._client: Any = client

    async def converse(self, model: str, conversation: Conversation) -> str:
        response = await self._client.converse(
            modelId=model, messages=conversation, inferenceConfig={"maxTokens": MAX_TOKENS}
        )
        text: str = response["output"]["message"]["content"][0]["text"]
        return text

    async def stream(self, model: str, conversation: Conversation, see: See) -> None:
        response = await self._client.converse_stream(
            modelId=model, messages=conversation, inferenceConfig={"maxTokens": MAX_TOKENS}
        )
        async for event in response["stream"]:
            delta = event.get("contentBlockDelta")
            if delta is not None:
                see(delta["delta"]["text"])

    async def tool_stream(self, model: str, conversation: Conversation, see: See) -> None:
        response = await self._client.converse_stream(
            modelId=model, messages=conversation, inferenceConfig={"maxTokens": MAX_TOKENS}, toolConfig=BOTO3_TOOLS
        )
        async for event in response["stream"]:
            delta = event.get("contentBlockDelta")
            if delta is not None:
                see(delta["delta"]["toolUse"]["input"])


def load() -> None:
    """Import what an application imports."""
    import_module("aiobotocore.config")
    import_module("aiobotocore.session")


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Client]:
    """Make a client."""
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    session: Any = get_session()
    async with session.create_client(
        "bedrock-runtime",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=KEYS[0],
        aws_secret_access_key=KEYS[1],
        config=AioConfig(max_pool_connections=CONNECTIONS),
    ) as client:
        yield Aiobotocore(client)


PEER = Peer(
    title="aiobotocore",
    requirements=("aiobotocore",),
    packages=("aiobotocore", "botocore", "aiohttp"),
    load=load,
    opened=opened,
    not_offered={"decode": "the decoder is botocore's"},
)
