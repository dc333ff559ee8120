"""boto3 in threads: a thread for each call, and for the whole of each stream, which is the cheapest way to use it."""

# ruff: noqa: D102 - the methods do what contract.Client says
from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Final

from ..contract import BOTO3_TOOLS, KEYS, MAX_TOKENS, REGION, THREADS, Client, Conversation, Peer, See

_THREADS: Final = 64


class Boto3(Client):
    """A client of boto3 and the threads that use it."""

    def __init__(self, client: object, threads: ThreadPoolExecutor) -> None:
        self._client: Any = client
        self._threads = threads

    async def converse(self, model: str, conversation: Conversation) -> str:
        def work() -> str:
            response = self._client.converse(
                modelId=model, messages=conversation, inferenceConfig={"maxTokens": MAX_TOKENS}
            )
            text: str = response["output"]["message"]["content"][0]["text"]
            return text

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def stream(self, model: str, conversation: Conversation, see: See) -> None:
        def work() -> None:
            response = self._client.converse_stream(
                modelId=model, messages=conversation, inferenceConfig={"maxTokens": MAX_TOKENS}
            )
            for event in response["stream"]:
                delta = event.get("contentBlockDelta")
                if delta is not None:
                    see(delta["delta"]["text"])

        await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def tool_stream(self, model: str, conversation: Conversation, see: See) -> None:
        def work() -> None:
            response = self._client.converse_stream(
                modelId=model, messages=conversation, inferenceConfig={"maxTokens": MAX_TOKENS}, toolConfig=BOTO3_TOOLS
            )
            for event in response["stream"]:
                delta = event.get("contentBlockDelta")
                if delta is not None:
                    see(delta["delta"]["toolUse"]["input"])

        await asyncio.get_running_loop().run_in_executor(self._threads, work)


def load() -> None:
    """Import what an application imports."""
    import_module("boto3")
    import_module("botocore.config")


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Client]:
    """Make a client."""
    client = import_module("boto3").client(
        "bedrock-runtime",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=KEYS[0],
        aws_secret_access_key=KEYS[1],
        config=import_module("botocore.config").Config(max_pool_connections=_THREADS),
    )
    with ThreadPoolExecutor(_THREADS) as threads:
        yield Boto3(client, threads)


PEER = Peer(
    title="boto3 in threads",
    requirements=("boto3",),
    packages=("boto3", "botocore"),
    load=load,
    opened=opened,
    not_offered={"decode": "the decoder is botocore's"},
    max_streams=_THREADS,
    max_streams_reason=THREADS,
)
