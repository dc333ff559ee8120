"""pydantic-ai's BedrockConverseModel: boto3 in threads, a hop for every event."""

# ruff: noqa: D102 - the methods do what contract.Client says
from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

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


class PydanticAi(Client):
    """A model for each model id, all over one provider."""

    def __init__(self, provider: object) -> None:
        self._provider = provider
        self._kind: Any = import_module("pydantic_ai.models.bedrock").BedrockConverseModel
        self._messages: Any = import_module("pydantic_ai.messages")
        models: Any = import_module("pydantic_ai.models")
        tool = import_module("pydantic_ai.tools").ToolDefinition(
            name=TOOL_NAME, description=TOOL_DESCRIPTION, parameters_json_schema=TOOL_SCHEMA
        )
        self._plain = models.ModelRequestParameters()
        self._with_tool = models.ModelRequestParameters(function_tools=[tool])
        self._settings = {"max_tokens": MAX_TOKENS}
        self._models: dict[str, Any] = {}

    def conversation(self, turns: Sequence[str]) -> Conversation:
        messages = self._messages
        return [
            messages.ModelResponse(parts=[messages.TextPart(content=text)])
            if number % 2
            else messages.ModelRequest(parts=[messages.UserPromptPart(content=text)])
            for number, text in enumerate(turns)
        ]

    async def converse(self, model: str, conversation: Conversation) -> str:
        response = await self._model(model).request(conversation, self._settings, self._plain)
        text: str = response.parts[0].content
        return text

    async def stream(self, model: str, conversation: Conversation, see: See) -> None:
        async with self._model(model).request_stream(conversation, self._settings, self._plain) as stream:
            async for event in stream:
                if event.event_kind == "part_delta":
                    see(event.delta.content_delta)
                elif event.event_kind == "part_start":
                    see(event.part.content)

    async def tool_stream(self, model: str, conversation: Conversation, see: See) -> None:
        async with self._model(model).request_stream(conversation, self._settings, self._with_tool) as stream:
            async for event in stream:
                if event.event_kind == "part_delta":
                    see(event.delta.args_delta)
                elif event.event_kind == "part_start":
                    see(event.part.args or "")

    def _model(self, model: str) -> Any:  # noqa: ANN401 - a model
        found = self._models.get(model)
        if found is None:
            found = self._models[model] = self._kind(model, provider=self._provider)
        return found


def load() -> None:
    """Import what an application imports."""
    import_module("pydantic_ai.models.bedrock")
    import_module("pydantic_ai.providers.bedrock")


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Client]:
    """Make a provider."""
    provider = import_module("pydantic_ai.providers.bedrock").BedrockProvider(
        base_url=url, region_name=REGION, aws_access_key_id=KEYS[0], aws_secret_access_key=KEYS[1]
    )
    yield PydanticAi(provider)


PEER = Peer(
    title="pydantic-ai",
    requirements=("pydantic-ai-slim[bedrock]",),
    packages=("pydantic-ai-slim", "boto3", "pydantic"),
    load=load,
    opened=opened,
    slow=5,
    max_streams=64,
    max_streams_reason="a stream that waits holds one of anyio's 40 threads",
)
