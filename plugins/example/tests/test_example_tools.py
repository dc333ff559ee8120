"""The family keeps the contract where tools are used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from bedrock_async_example import ExampleFamily

from bedrock_async.families import ModelFamily
from bedrock_async.testing import FamilyContract, FamilySample

WEATHER = {"name": "weather", "description": "Tells the weather.", "inputSchema": {"json": {"type": "object"}}}
COUNTED = {"in": 30, "out": 8}
CALL = {"call": "call-2", "tool": "weather", "with": {"city": "Rome"}, "ended": "calls", "counted": COUNTED}

SAMPLE = FamilySample(
    model="example.chat-1",
    request={
        "messages": [
            {"role": "user", "content": [{"text": "What is the weather in Paris and in Rome?"}]},
            {
                "role": "assistant",
                "content": [{"toolUse": {"toolUseId": "call-1", "name": "weather", "input": {"city": "Paris"}}}],
            },
            {
                "role": "user",
                "content": [{"toolResult": {"toolUseId": "call-1", "content": [{"json": {"sky": "blue"}}]}}],
            },
        ],
        "toolConfig": {"tools": [{"toolSpec": WEATHER}]},
    },
    native_request={
        "turns": [
            {"who": "user", "says": "What is the weather in Paris and in Rome?"},
            {"who": "assistant", "call": "call-1", "tool": "weather", "with": {"city": "Paris"}},
            {"who": "tool", "call": "call-1", "says": '{"sky": "blue"}', "failed": False},
        ],
        "tools": [{"tool": "weather", "about": "Tells the weather.", "takes": {"type": "object"}}],
    },
    native_response=CALL,
    chunks=(CALL,),
    tool_uses=[("weather", {"city": "Rome"})],
    stop_reason="tool_use",
    input_tokens=30,
    output_tokens=8,
)


class TestTools(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (SAMPLE,)

    def family(self) -> ModelFamily:
        """The family under test; the tests are inherited."""
        return ExampleFamily()
