"""The family of DeepSeek keeps the public contract of model families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from bedrock_async_deepseek import DeepSeekFamily

from bedrock_async.families import ModelFamily
from bedrock_async.testing import FamilyContract, FamilySample

WEATHER: Final[dict[str, Any]] = {"type": "object", "properties": {"city": {"type": "string"}}}

# The body's members are those of the Bedrock user guide, "DeepSeek models"; the answer is that of the module
# pwshBedrock's tests (src/Tests/Unit/Public/Invoke-DeepSeekModel.Tests.ps1), shortened; the chunks have the form of
# those in langchain-aws' tests (libs/aws/tests/unit_tests/llms/test_bedrock.py).
R1: Final = FamilySample(
    model="us.deepseek.r1-v1:0",
    request={
        "system": [{"text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [{"text": "Hi"}]},
            {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "A greeting.\n"}}},
                    {"text": "\n\nHello."},
                ],
            },
            {"role": "user", "content": [{"text": "Hi there, how are you?"}]},
        ],
        "inferenceConfig": {"maxTokens": 512, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
    },
    native_request={
        "prompt": "<\uff5cbegin\u2581of\u2581sentence\uff5c>Be brief.<\uff5cUser\uff5c>Hi<\uff5cAssistant\uff5c>"
        "<think>\nA greeting.\n</think>\n\nHello.<\uff5cend\u2581of\u2581sentence\uff5c>"
        "<\uff5cUser\uff5c>Hi there, how are you?<\uff5cAssistant\uff5c><think>\n",
        "max_tokens": 512,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
    },
    native_response={
        "choices": [
            {
                "text": "Okay, the user greeted me. Keep it concise and welcoming.\n</think>\n\nHello! How can I "
                "assist you today?",
                "stop_reason": "stop",
            }
        ]
    },
    headers={"X-Amzn-Bedrock-Input-Token-Count": "41", "X-Amzn-Bedrock-Output-Token-Count": "51"},
    chunks=(
        {"choices": [{"text": "Okay, the user greeted me. ", "stop_reason": None}]},
        {"choices": [{"text": "Keep it concise and welcoming.\n</th", "stop_reason": None}]},
        {"choices": [{"text": "ink>\n\nHello! How can I ", "stop_reason": None}]},
        {
            "choices": [{"text": "assist you today?", "stop_reason": "stop"}],
            "amazon-bedrock-invocationMetrics": {"inputTokenCount": 41, "outputTokenCount": 51},
        },
    ),
    text="\n\nHello! How can I assist you today?",
    reasoning="Okay, the user greeted me. Keep it concise and welcoming.\n",
    stop_reason="end_turn",
    input_tokens=41,
    output_tokens=51,
)

V3: Final = FamilySample(
    model="deepseek.v3-v1:0",
    request={
        "messages": [{"role": "user", "content": [{"text": "What is the weather"}, {"text": "in Paris?"}]}],
        "toolConfig": {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": WEATHER}}}]},
        "inferenceConfig": {"maxTokens": 100},
    },
    native_request={
        "messages": [{"role": "user", "content": "What is the weather\nin Paris?"}],
        "max_tokens": 100,
        "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}],
    },
    native_response={
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "reasoning_content": "I need the tool.",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "call-1",
                            "type": "function",
                            "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
                        }
                    ],
                },
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29},
    },
    reasoning="I need the tool.",
    tool_uses=[("get_weather", {"city": "Paris"})],
    stop_reason="tool_use",
    input_tokens=20,
    output_tokens=9,
)


class TestDeepSeek(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (R1, V3)

    def family(self) -> ModelFamily:
        """Return the family under test."""
        return DeepSeekFamily()
