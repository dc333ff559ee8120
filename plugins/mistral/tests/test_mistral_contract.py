"""The family of Mistral's models keeps the public contract of model families, in each of its dialects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from bedrock_async_mistral import MistralFamily

from bedrock_async.families import ModelFamily
from bedrock_async.testing import FamilyContract, FamilySample

ADD: Final[dict[str, Any]] = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
TOOL: Final[dict[str, Any]] = {"toolSpec": {"name": "add", "description": "Add.", "inputSchema": {"json": ADD}}}
FUNCTION: Final[dict[str, Any]] = {
    "type": "function",
    "function": {"name": "add", "description": "Add.", "parameters": ADD},
}
LOOP: Final[list[dict[str, Any]]] = [
    {"role": "user", "content": [{"text": "Add 2 and 3."}]},
    {
        "role": "assistant",
        "content": [{"toolUse": {"toolUseId": "call-1", "name": "add", "input": {"a": 2, "b": 3}}}],
    },
    {"role": "user", "content": [{"toolResult": {"toolUseId": "call-1", "content": [{"text": "5"}]}}]},
]
CALL: Final[dict[str, Any]] = {"id": "call-2", "function": {"name": "add", "arguments": '{"a": 5}'}}

PROMPT: Final = FamilySample(
    model="mistral.mistral-7b-instruct-v0:2",
    request={
        "system": [{"text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [{"text": "Hi"}]},
            {"role": "assistant", "content": [{"text": " Hello."}]},
            {"role": "user", "content": [{"text": "Who are you?"}]},
        ],
        "inferenceConfig": {"maxTokens": 50, "temperature": 0.5, "topP": 0.9, "stopSequences": ["|"]},
        "additionalModelRequestFields": {"top_k": 50},
    },
    native_request={
        "prompt": "<s>[INST] Be brief.\n\nHi [/INST] Hello.</s>[INST] Who are you? [/INST]",
        "max_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["|"],
        "top_k": 50,
    },
    native_response={"outputs": [{"text": " I am Mistral.", "stop_reason": "stop"}]},
    headers={"X-Amzn-Bedrock-Input-Token-Count": "23", "X-Amzn-Bedrock-Output-Token-Count": "5"},
    chunks=(
        {"outputs": [{"text": " I am", "stop_reason": None}]},
        {
            "outputs": [{"text": " Mistral.", "stop_reason": "stop"}],
            "amazon-bedrock-invocationMetrics": {"inputTokenCount": 23, "outputTokenCount": 5},
        },
    ),
    text=" I am Mistral.",
    stop_reason="end_turn",
    input_tokens=23,
    output_tokens=5,
)

CHAT: Final = FamilySample(
    model="mistral.mistral-large-2407-v1:0",
    request={
        "system": [{"text": "Be exact."}],
        "messages": LOOP,
        "inferenceConfig": {"maxTokens": 400, "temperature": 0.0, "topP": 0.5},
        "toolConfig": {"tools": [TOOL], "toolChoice": {"tool": {"name": "add"}}},
    },
    native_request={
        "messages": [
            {"role": "system", "content": "Be exact."},
            {"role": "user", "content": "Add 2 and 3."},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "call-1", "function": {"name": "add", "arguments": '{"a": 2, "b": 3}'}}],
            },
            {"role": "tool", "tool_call_id": "call-1", "content": "5"},
        ],
        "max_tokens": 400,
        "temperature": 0.0,
        "top_p": 0.5,
        "tools": [FUNCTION],
        "tool_choice": "any",
    },
    native_response={
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Again.", "tool_calls": [CALL]},
                "stop_reason": "tool_calls",
            }
        ]
    },
    headers={"X-Amzn-Bedrock-Input-Token-Count": "20", "X-Amzn-Bedrock-Output-Token-Count": "9"},
    chunks=(
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Aga"}, "stop_reason": None}]},
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": "in."}, "stop_reason": None}]},
        {
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "", "tool_calls": [CALL]},
                    "stop_reason": "tool_calls",
                }
            ],
            "amazon-bedrock-invocationMetrics": {"inputTokenCount": 20, "outputTokenCount": 9},
        },
    ),
    text="Again.",
    tool_uses=[("add", {"a": 5})],
    stop_reason="tool_use",
    input_tokens=20,
    output_tokens=9,
)

VISION: Final = FamilySample(
    model="mistral.pixtral-large-2502-v1:0",
    request={
        "messages": [
            {
                "role": "user",
                "content": [{"text": "What is it?"}, {"image": {"format": "png", "source": {"bytes": b"png"}}}],
            }
        ]
    },
    native_request={
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}},
                ],
            }
        ]
    },
)

OPEN: Final = FamilySample(
    model="mistral.mistral-large-3-675b-instruct",
    request={
        "messages": LOOP,
        "inferenceConfig": {"maxTokens": 400, "stopSequences": ["END"]},
        "toolConfig": {"tools": [TOOL], "toolChoice": {"tool": {"name": "add"}}},
    },
    native_request={
        "messages": [
            {"role": "user", "content": "Add 2 and 3."},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "call-1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 3}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "call-1", "content": "5"},
        ],
        "max_tokens": 400,
        "stop": ["END"],
        "tools": [FUNCTION],
        "tool_choice": {"type": "function", "function": {"name": "add"}},
    },
    native_response={
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Again.", "tool_calls": [{"type": "function", **CALL}]},
                "finish_reason": "tool_calls",
                "stop_reason": None,
            }
        ],
        "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29},
    },
    chunks=(
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Again."}, "finish_reason": None}]},
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {"tool_calls": [{"index": 0, "id": "call-2", "function": {"name": "add"}}]},
                    "finish_reason": None,
                }
            ]
        },
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"a": 5}'}}]}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls", "stop_reason": None}]},
        {"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}},
    ),
    text="Again.",
    tool_uses=[("add", {"a": 5})],
    stop_reason="tool_use",
    input_tokens=20,
    output_tokens=9,
)

RAW: Final = FamilySample(
    model="mistral.mixtral-8x7b-instruct-v0:1",
    options={"raw_prompt": True},
    request={"messages": [{"role": "user", "content": [{"text": "Say this is"}]}]},
    native_request={"prompt": "Say this is", "max_tokens": 4_096},
)


class TestMistral(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (PROMPT, CHAT, VISION, OPEN, RAW)

    def family(self) -> ModelFamily:
        """Return the family under test."""
        return MistralFamily()
