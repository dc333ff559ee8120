"""Strands' BedrockModel: boto3 in threads, events handed over through a queue."""

# ruff: noqa: D102 - the methods do what contract.Client says
from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Final

from ..contract import (
    KEYS,
    MAX_TOKENS,
    REGION,
    THREADS,
    TOOL_DESCRIPTION,
    TOOL_NAME,
    TOOL_SCHEMA,
    Client,
    Conversation,
    Peer,
    See,
)

_THREADS: Final = 64
_TOOLS: Final = [{"name": TOOL_NAME, "description": TOOL_DESCRIPTION, "inputSchema": {"json": TOOL_SCHEMA}}]
_ONLY_STREAMS: Final = "its model only streams"


class Strands(Client):
    """A BedrockModel."""

    def __init__(self, model: object) -> None:
        self._model: Any = model

    async def stream(self, model: str, conversation: Conversation, see: See) -> None:
        self._model.update_config(model_id=model)
        async for event in self._model.stream(conversation):
            delta = event.get("contentBlockDelta")
            if delta is not None:
                see(delta["delta"]["text"])

    async def tool_stream(self, model: str, conversation: Conversation, see: See) -> None:
        self._model.update_config(model_id=model)
        async for event in self._model.stream(conversation, _TOOLS):
            delta = event.get("contentBlockDelta")
            if delta is not None:
                see(delta["delta"]["toolUse"]["input"])


def load() -> None:
    """Import what an application imports."""
    import_module("strands.models.bedrock")


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Client]:
    """Make a model, and threads for as many streams as are open at a time."""
    session = import_module("boto3").Session(
        region_name=REGION, aws_access_key_id=KEYS[0], aws_secret_access_key=KEYS[1]
    )
    config = import_module("botocore.config").Config(max_pool_connections=_THREADS)
    model = import_module("strands.models.bedrock").BedrockModel(
        boto_session=session, boto_client_config=config, endpoint_url=url, max_tokens=MAX_TOKENS
    )
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
    yield Strands(model)


PEER = Peer(
    title="strands-agents",
    requirements=("strands-agents",),
    packages=("strands-agents", "boto3", "pydantic"),
    load=load,
    opened=opened,
    slow=2,
    not_offered={"converse": _ONLY_STREAMS},
    max_streams=_THREADS,
    max_streams_reason=THREADS,
)
