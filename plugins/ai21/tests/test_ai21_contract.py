"""The family of AI21's models keeps the public contract of model families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from bedrock_async_ai21 import AI21Family

from bedrock_async.families import ModelFamily
from bedrock_async.testing import FamilyContract, FamilySample

ADD: Final[dict[str, Any]] = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
CALL: Final[dict[str, Any]] = {
    "id": "call-2",
    "type": "function",
    "function": {"name": "add", "arguments": '{"a": 5}'},
}


def chunk(delta: dict[str, Any], reason: str | None = None, tokens: int = 0) -> dict[str, Any]:
    """One chunk of a chat completion, which counts as it goes."""
    usage = {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 20 + tokens}
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "chatcmpl-1", "choices": [choice], "usage": usage}


JAMBA: Final = FamilySample(
    model="ai21.jamba-1-5-large-v1:0",
    request={
        "system": [{"text": "Be exact."}],
        "messages": [
            {"role": "user", "content": [{"text": "Add"}, {"text": "2 and 3."}]},
            {
                "role": "assistant",
                "content": [{"toolUse": {"toolUseId": "call-1", "name": "add", "input": {"a": 2, "b": 3}}}],
            },
            {"role": "user", "content": [{"toolResult": {"toolUseId": "call-1", "content": [{"text": "5"}]}}]},
        ],
        "inferenceConfig": {"maxTokens": 400, "temperature": 0.0, "topP": 0.5, "stopSequences": ["END"]},
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "add", "description": "Add.", "inputSchema": {"json": ADD}}}],
        },
        "additionalModelRequestFields": {"n": 1},
    },
    native_request={
        "messages": [
            {"role": "system", "content": "Be exact."},
            {"role": "user", "content": "Add\n2 and 3."},
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
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": ["END"],
        "tools": [{"type": "function", "function": {"name": "add", "description": "Add.", "parameters": ADD}}],
        "n": 1,
    },
    native_response={
        "id": "chatcmpl-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": " Again.", "tool_calls": [CALL]},
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29},
        "meta": {"requestDurationMillis": 170},
    },
    chunks=(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": " Again."}, tokens=3),
        chunk({"tool_calls": [{"index": 0, **CALL}]}, tokens=8),
        chunk({"content": ""}, "tool_calls", 9),
    ),
    text=" Again.",
    tool_uses=[("add", {"a": 5})],
    stop_reason="tool_use",
    input_tokens=20,
    output_tokens=9,
)

INSTRUCT: Final = FamilySample(
    model="ai21.jamba-instruct-v1:0",
    native_request={"messages": [{"role": "user", "content": "A plain question?"}]},
)

JURASSIC: Final = FamilySample(
    model="ai21.j2-ultra-v1",
    request={
        "system": [{"text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [{"text": "Hi"}]},
            {"role": "assistant", "content": [{"text": "Hello."}]},
            {"role": "user", "content": [{"text": "Who are you?"}]},
        ],
        "inferenceConfig": {"maxTokens": 50, "topP": 0.9, "stopSequences": ["|"]},
    },
    native_request={
        "prompt": "Be brief.\n\nUser: Hi\n\nAssistant: Hello.\n\nUser: Who are you?\n\nAssistant:",
        "maxTokens": 50,
        "topP": 0.9,
        "stopSequences": ["|"],
    },
    native_response={
        "id": 1234,
        "prompt": {"text": "Hi", "tokens": []},
        "completions": [
            {"data": {"text": " I am Jurassic.", "tokens": []}, "finishReason": {"reason": "length", "length": 50}}
        ],
    },
    headers={"X-Amzn-Bedrock-Input-Token-Count": "23", "X-Amzn-Bedrock-Output-Token-Count": "50"},
    text=" I am Jurassic.",
    stop_reason="max_tokens",
    input_tokens=23,
    output_tokens=50,
)


class TestAI21(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (JAMBA, INSTRUCT, JURASSIC)

    def family(self) -> ModelFamily:
        """Return the family under test."""
        return AI21Family()
