"""The family of Llama keeps the public contract of model families, for every generation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from bedrock_async_meta import MetaFamily

from bedrock_async.families import ModelFamily
from bedrock_async.testing import FamilyContract, FamilySample

ADD: Final[dict[str, Any]] = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
FUNCTION: Final = {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": ADD}}
TALK: Final[list[dict[str, Any]]] = [
    {"role": "user", "content": [{"text": "Hi"}]},
    {"role": "assistant", "content": [{"text": "Hello."}]},
    {"role": "user", "content": [{"text": "Who are you?"}]},
]

LLAMA_2: Final = FamilySample(
    model="meta.llama2-13b-chat-v1",
    request={"system": [{"text": "Be brief."}], "messages": TALK, "inferenceConfig": {"maxTokens": 50}},
    native_request={
        "prompt": "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello. </s><s>[INST] Who are you? [/INST]",
        "max_gen_len": 50,
    },
    native_response={
        "generation": " I am Llama.",
        "prompt_token_count": 30,
        "generation_token_count": 5,
        "stop_reason": "stop",
    },
    chunks=(
        {"generation": " I am", "prompt_token_count": 30, "generation_token_count": 2, "stop_reason": None},
        {"generation": " Llama.", "prompt_token_count": None, "generation_token_count": 4, "stop_reason": None},
        {"generation": "", "prompt_token_count": None, "generation_token_count": 5, "stop_reason": "stop"},
    ),
    text=" I am Llama.",
    stop_reason="end_turn",
    input_tokens=30,
    output_tokens=5,
)

LLAMA_3: Final = FamilySample(
    model="meta.llama3-70b-instruct-v1:0",
    request={
        "system": [{"text": "Be brief."}],
        "messages": TALK,
        "inferenceConfig": {"maxTokens": 50, "temperature": 0.5, "topP": 0.9},
    },
    native_request={
        "prompt": (
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nWho are you?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n"
        ),
        "max_gen_len": 50,
        "temperature": 0.5,
        "top_p": 0.9,
    },
)

TOOL_LOOP: Final = FamilySample(
    model="us.meta.llama3-3-70b-instruct-v1:0",
    options={"today": "21 November 2026"},
    request={
        "system": [{"text": "Be exact."}],
        "messages": [
            {"role": "user", "content": [{"text": "Add 2 and 3."}]},
            {
                "role": "assistant",
                "content": [{"toolUse": {"toolUseId": "call-1", "name": "add", "input": {"a": 2, "b": 3}}}],
            },
            {"role": "user", "content": [{"toolResult": {"toolUseId": "call-1", "content": [{"text": "5"}]}}]},
        ],
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "add", "description": "Add.", "inputSchema": {"json": ADD}}}],
            "toolChoice": {"auto": {}},
        },
    },
    native_request={
        "prompt": (
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nEnvironment: ipython\n"
            "Cutting Knowledge Date: December 2023\nToday Date: 21 November 2026\n\nBe exact.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\n"
            "Given the following functions, please respond with a JSON for a function call with its proper arguments "
            'that best answers the given prompt.\n\nRespond in the format {"name": function name, "parameters": '
            "dictionary of argument name and its value}.Do not use variables.\n\n"
            f"{json.dumps(FUNCTION, indent=4)}\n\nAdd 2 and 3.<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n"
            '{"name": "add", "parameters": {"a": 2, "b": 3}}<|eot_id|>'
            '<|start_header_id|>ipython<|end_header_id|>\n\n"5"<|eot_id|>'
            "<|start_header_id|>assistant<|end_header_id|>\n\n"
        ),
        "max_gen_len": 4_096,
    },
    native_response={
        "generation": '{"name": "add", "parameters": {"a": 5}}',
        "prompt_token_count": 120,
        "generation_token_count": 9,
        "stop_reason": "stop",
    },
    chunks=(
        {"generation": '{"', "prompt_token_count": 120, "generation_token_count": 1, "stop_reason": None},
        {"generation": 'name": "add", "para', "generation_token_count": 5, "stop_reason": None},
        {"generation": 'meters": {"a": 5}}', "generation_token_count": 9, "stop_reason": None},
        {"generation": "", "generation_token_count": 9, "stop_reason": "stop"},
    ),
    text="",
    tool_uses=[("add", {"a": 5})],
    stop_reason="tool_use",
    input_tokens=120,
    output_tokens=9,
)

VISION: Final = FamilySample(
    model="us.meta.llama3-2-90b-instruct-v1:0",
    request={
        "messages": [
            {
                "role": "user",
                "content": [{"image": {"format": "png", "source": {"bytes": b"png"}}}, {"text": "What is it?"}],
            }
        ]
    },
    native_request={
        "prompt": (
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
            "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\n<|image|>What is it?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n"
        ),
        "images": ["cG5n"],
        "max_gen_len": 4_096,
    },
)

LLAMA_4: Final = FamilySample(
    model="us.meta.llama4-maverick-17b-instruct-v1:0",
    request={"system": [{"text": "Be brief."}], "messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
    native_request={
        "prompt": (
            "<|begin_of_text|><|header_start|>system<|header_end|>\n\nBe brief.<|eot|>"
            "<|header_start|>user<|header_end|>\n\nHi<|eot|><|header_start|>assistant<|header_end|>\n\n"
        ),
        "max_gen_len": 8_192,
    },
)


class TestMeta(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (LLAMA_2, LLAMA_3, TOOL_LOOP, VISION, LLAMA_4)

    def family(self) -> ModelFamily:
        """Return the family under test."""
        return MetaFamily()
