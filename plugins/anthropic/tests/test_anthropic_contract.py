"""Claude's family keeps the public contract of model families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from bedrock_async_anthropic import AnthropicFamily

from bedrock_async.families import ModelFamily
from bedrock_async.testing import FamilyContract, FamilySample

WEATHER: Final[dict[str, Any]] = {
    "toolSpec": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
}

MESSAGE: Final = FamilySample(
    model="anthropic.claude-sonnet-4-5-20250929-v1:0",
    request={
        "messages": [{"role": "user", "content": [{"text": "What is the weather in Paris?"}]}],
        "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
        "inferenceConfig": {"maxTokens": 300, "temperature": 0.5, "stopSequences": ["END"]},
        "toolConfig": {"tools": [WEATHER], "toolChoice": {"any": {}}},
        "additionalModelRequestFields": {"top_k": 5},
    },
    native_request={
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 300,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "What is the weather in Paris?"}]}],
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "temperature": 0.5,
        "stop_sequences": ["END"],
        "tools": [
            {
                "name": "get_weather",
                "description": "The weather of a city.",
                "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
            }
        ],
        "tool_choice": {"type": "any"},
        "top_k": 5,
    },
    native_response={
        "id": "msg_bdrk_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [
            {"type": "thinking", "thinking": "I need the tool.", "signature": "c2lnbmVk"},
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 20, "output_tokens": 30, "cache_read_input_tokens": 5},
    },
    chunks=(
        {"type": "message_start", "message": {"role": "assistant", "usage": {"input_tokens": 20, "output_tokens": 1}}},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "thinking_delta", "thinking": "I need the tool."},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2lnbmVk"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Let me "}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "look."}},
        {"type": "content_block_stop", "index": 1},
        {
            "type": "content_block_start",
            "index": 2,
            "content_block": {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}},
        },
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ""}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"ci'}},
        {
            "type": "content_block_delta",
            "index": 2,
            "delta": {"type": "input_json_delta", "partial_json": 'ty": "Paris"}'},
        },
        {"type": "content_block_stop", "index": 2},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 30}},
        {"type": "message_stop"},
    ),
    text="Let me look.",
    reasoning="I need the tool.",
    tool_uses=[("get_weather", {"city": "Paris"})],
    stop_reason="tool_use",
    input_tokens=20,
    output_tokens=30,
)

COMPLETION: Final = FamilySample(
    model="anthropic.claude-v2:1",
    options={"text_completions": True},
    request={
        "system": [{"text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [{"text": "Hi"}]},
            {"role": "assistant", "content": [{"text": "Hello."}]},
            {"role": "user", "content": [{"text": "Who are you?"}]},
        ],
        "inferenceConfig": {"maxTokens": 50, "topP": 0.9, "stopSequences": ["\n\nHuman:"]},
    },
    native_request={
        "prompt": "Be brief.\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Who are you?\n\nAssistant:",
        "max_tokens_to_sample": 50,
        "top_p": 0.9,
        "stop_sequences": ["\n\nHuman:"],
    },
    native_response={"completion": " I am Claude.", "stop_reason": "stop_sequence", "stop": "\n\nHuman:"},
    headers={"X-Amzn-Bedrock-Input-Token-Count": "23", "X-Amzn-Bedrock-Output-Token-Count": "32"},
    chunks=(
        {"completion": " I am", "stop_reason": None, "stop": None},
        {
            "completion": " Claude.",
            "stop_reason": "stop_sequence",
            "stop": "\n\nHuman:",
            "amazon-bedrock-invocationMetrics": {"inputTokenCount": 23, "outputTokenCount": 32},
        },
    ),
    text=" I am Claude.",
    stop_reason="stop_sequence",
    input_tokens=23,
    output_tokens=32,
)


class TestAnthropic(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (MESSAGE, COMPLETION)

    def family(self) -> ModelFamily:
        """Return the family under test."""
        return AnthropicFamily()
