"""aws-sdk-bedrock-runtime, AWS's own asynchronous SDK, with a pool that is large enough."""

# ruff: noqa: D102 - the methods do what contract.Client says
from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

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


class Smithy(Client):
    """A client of the SDK."""

    def __init__(self, client: object) -> None:
        self._client: Any = client
        self._models: Any = import_module("aws_sdk_bedrock_runtime.models")
        self._limits = self._models.InferenceConfiguration(max_tokens=MAX_TOKENS)
        document = import_module("smithy_core.documents").Document
        specification = self._models.ToolSpecification(
            name=TOOL_NAME,
            description=TOOL_DESCRIPTION,
            input_schema=self._models.ToolInputSchemaJson(document(TOOL_SCHEMA)),
        )
        self._tools = self._models.ToolConfiguration(tools=[self._models.ToolToolSpec(specification)])

    def conversation(self, turns: Sequence[str]) -> Conversation:
        message, text_block = self._models.Message, self._models.ContentBlockText
        return [
            message(role=("user", "assistant")[number % 2], content=[text_block(text)])
            for number, text in enumerate(turns)
        ]

    async def converse(self, model: str, conversation: Conversation) -> str:
        response = await self._client.converse(
            self._models.ConverseInput(model_id=model, messages=conversation, inference_config=self._limits)
        )
        text: str = response.output.value.content[0].value
        return text

    async def stream(self, model: str, conversation: Conversation, see: See) -> None:
        kind = self._models.ConverseStreamOutputContentBlockDelta
        async with await self._stream(model, conversation) as stream:
            async for event in stream.output_stream:
                if isinstance(event, kind):
                    see(event.value.delta.value)

    async def tool_stream(self, model: str, conversation: Conversation, see: See) -> None:
        kind = self._models.ConverseStreamOutputContentBlockDelta
        async with await self._stream(model, conversation, tool_config=self._tools) as stream:
            async for event in stream.output_stream:
                if isinstance(event, kind):
                    see(event.value.delta.value.input)

    async def _stream(self, model: str, conversation: Conversation, **members: object) -> Any:  # noqa: ANN401
        request = self._models.ConverseStreamInput(
            model_id=model, messages=conversation, inference_config=self._limits, **members
        )
        return await self._client.converse_stream(request)


def load() -> None:
    """Import what an application imports."""
    import_module("aws_sdk_bedrock_runtime.client")
    import_module("aws_sdk_bedrock_runtime.config")
    import_module("aws_sdk_bedrock_runtime.models")
    import_module("smithy_core.documents")


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Client]:
    """Make a client. Its transport takes no limit of connections but that of a session."""
    aiohttp = import_module("aiohttp")
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        auto_decompress=False,
        headers={"Accept-Encoding": "identity"},
    )
    config = await import_module("aws_sdk_bedrock_runtime.config").AsyncBedrockRuntimeConfig.resolve(
        endpoint_uri=url,
        region=REGION,
        aws_access_key_id=KEYS[0],
        aws_secret_access_key=KEYS[1],
        transport=import_module("smithy_http.aio.aiohttp").AIOHTTPClient(_session=session),
    )
    async with session:
        yield Smithy(import_module("aws_sdk_bedrock_runtime.client").AsyncBedrockRuntimeClient(config))


PEER = Peer(
    title="aws-sdk-bedrock-runtime",
    requirements=("aws-sdk-bedrock-runtime",),
    packages=("aws-sdk-bedrock-runtime", "smithy-http", "smithy-core", "aiohttp"),
    load=load,
    opened=opened,
    slow=2,
)
