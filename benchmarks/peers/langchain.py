"""langchain-aws's ChatBedrockConverse: boto3 in threads, below langchain-core's defaults."""

# ruff: noqa: D102 - the methods do what contract.Client says
from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
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
_TOOL: Final = {
    "type": "function",
    "function": {"name": TOOL_NAME, "description": TOOL_DESCRIPTION, "parameters": TOOL_SCHEMA},
}


class Langchain(Client):
    """A chat model for each model id, all over one client of boto3."""

    def __init__(self, client: object) -> None:
        self._client = client
        self._kind: Any = import_module("langchain_aws").ChatBedrockConverse
        self._messages: Any = import_module("langchain_core.messages")
        self._models: dict[str, Any] = {}

    def conversation(self, turns: Sequence[str]) -> Conversation:
        kinds = (self._messages.HumanMessage, self._messages.AIMessage)
        return [kinds[number % 2](content=text) for number, text in enumerate(turns)]

    async def converse(self, model: str, conversation: Conversation) -> str:
        message = await self._model(model).ainvoke(conversation)
        text: str = message.text
        return text

    async def stream(self, model: str, conversation: Conversation, see: See) -> None:
        async for chunk in self._model(model).astream(conversation):
            see(chunk.text)

    async def tool_stream(self, model: str, conversation: Conversation, see: See) -> None:
        async for chunk in self._model(model).bind_tools([_TOOL]).astream(conversation):
            for piece in chunk.tool_call_chunks:
                see(piece["args"] or "")

    def _model(self, model: str) -> Any:  # noqa: ANN401 - a chat model
        found = self._models.get(model)
        if found is None:
            found = self._models[model] = self._kind(
                client=self._client,
                model=model,
                provider="anthropic",
                region_name=REGION,
                max_tokens=MAX_TOKENS,
                disable_streaming=False,  # else it streams only from the models of its own list
            )
        return found


def load() -> None:
    """Import what an application imports."""
    import_module("langchain_aws").ChatBedrockConverse  # noqa: B018 - the name is lazy
    import_module("langchain_core.messages")
    import_module("boto3")
    import_module("botocore.config")


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Client]:
    """Make a client, and threads for as many streams as are open at a time."""
    client = import_module("boto3").client(
        "bedrock-runtime",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=KEYS[0],
        aws_secret_access_key=KEYS[1],
        config=import_module("botocore.config").Config(max_pool_connections=_THREADS),
    )
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
    yield Langchain(client)


PEER = Peer(
    title="langchain-aws",
    requirements=("langchain-aws",),
    packages=("langchain-aws", "langchain-core", "boto3", "pydantic"),
    load=load,
    opened=opened,
    slow=5,
    max_streams=_THREADS,
    max_streams_reason=THREADS,
)
