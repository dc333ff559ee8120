"""The whole way over HTTP: a conversation with a tool, against the model that the package brings."""

from __future__ import annotations

import asyncio
from typing import Any

from bedrock_async_example import ExampleFamily
from bedrock_async_example.emulator import ExampleModel

from bedrock_async import BedrockClient, Credentials
from bedrock_async.testing import BedrockEmulator

TOOL = {"toolSpec": {"name": "look_up", "inputSchema": {"json": {"type": "object"}}}}


def test_a_tool_is_called_and_its_result_read() -> None:
    """Question, call, result, answer: each turn goes through the native dialect."""

    async def talk() -> tuple[str, list[str]]:
        async with (
            BedrockEmulator([ExampleModel()]) as emulator,
            BedrockClient(
                region="us-east-1",
                endpoint_url=emulator.url,
                credentials=Credentials("any", "key"),
                families={"example": ExampleFamily()},
            ) as client,
        ):
            history: list[Any] = [{"role": "user", "content": [{"text": "What is a plugin?"}]}]
            first = await client.converse("example.chat-1", history, tools=[TOOL], provider="invoke")
            (use,) = first.tool_uses
            result = {"toolResult": {"toolUseId": use.tool_use_id, "content": [{"text": "A package."}]}}
            history = [*history, first.message, {"role": "user", "content": [result]}]
            async with client.stream("example.chat-1", history, tools=[TOOL], provider="invoke") as stream:
                words = [text async for text in stream.text_stream]
        return use.name, words

    assert asyncio.run(talk()) == ("look_up", ["You ", "said: ", "A ", "package. "])
