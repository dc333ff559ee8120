"""The family of gpt-oss keeps the public contract of model families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from bedrock_async_openai import OpenAIFamily

from bedrock_async.families import ModelFamily
from bedrock_async.testing import FamilyContract, FamilySample

MODEL: Final = "openai.gpt-oss-20b-1:0"
ADD: Final[dict[str, Any]] = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}


def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    """One chunk of a chat completion."""
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


TOOL_LOOP: Final = FamilySample(
    model=MODEL,
    request={
        "system": [{"text": "Be exact."}],
        "messages": [
            {"role": "user", "content": [{"text": "Add 2 and 3."}]},
            {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "I add."}}},
                    {"toolUse": {"toolUseId": "call-1", "name": "add", "input": {"a": 2, "b": 3}}},
                ],
            },
            {"role": "user", "content": [{"toolResult": {"toolUseId": "call-1", "content": [{"text": "5"}]}}]},
        ],
        "inferenceConfig": {"maxTokens": 409, "temperature": 0.0, "topP": 0.5, "stopSequences": ["END"]},
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "add", "description": "Add.", "inputSchema": {"json": ADD}}}],
            "toolChoice": {"tool": {"name": "add"}},
        },
        "additionalModelRequestFields": {"seed": 42},
    },
    native_request={
        "messages": [
            {"role": "system", "content": "Be exact."},
            {"role": "user", "content": "Add 2 and 3."},
            {
                "role": "assistant",
                "content": "<reasoning>I add.</reasoning>",
                "tool_calls": [
                    {"id": "call-1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 3}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "call-1", "content": "5"},
        ],
        "max_tokens": 409,
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": ["END"],
        "tools": [{"type": "function", "function": {"name": "add", "description": "Add.", "parameters": ADD}}],
        "tool_choice": {"type": "function", "function": {"name": "add"}},
        "seed": 42,
    },
    native_response={
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": "<reasoning>Once more.</reasoning>Again.",
                    "tool_calls": [
                        {"id": "call-2", "type": "function", "function": {"name": "add", "arguments": '{"a": 5}'}}
                    ],
                },
            }
        ],
        "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29},
    },
    chunks=(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "<reasoning>Once </reasoning>"}),
        chunk({"content": "<reasoning>more.</reaso"}),
        chunk({"content": "ning>Aga"}),
        chunk({"content": "in."}),
        chunk({"tool_calls": [{"index": 0, "id": "call-2", "function": {"name": "add", "arguments": '{"a"'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": ": 5}"}}]}),
        chunk({}, "tool_calls"),
        {"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}},
    ),
    text="Again.",
    reasoning="Once more.",
    tool_uses=[("add", {"a": 5})],
    stop_reason="tool_use",
    input_tokens=20,
    output_tokens=9,
)


class TestOpenAI(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (TOOL_LOOP,)

    def family(self) -> ModelFamily:
        """Return the family under test."""
        return OpenAIFamily()
