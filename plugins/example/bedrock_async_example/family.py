"""The dialect: Converse requests become native bodies; native bodies and chunks become Converse responses."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from bedrock_async import (
    ConverseRequest,
    ConverseResponse,
    JsonBlock,
    Message,
    TextBlock,
    ToolResultBlock,
    ToolSpec,
    ToolUseBlock,
)
from bedrock_async.families import (
    EventBuilder,
    FamilyContext,
    ModelProfile,
    NativeDecoder,
    NativeObject,
    NativeRequest,
    decode_with,
    stop_reason,
    stream_with,
    unsupported,
)

__all__ = ["ExampleFamily"]


class ExampleFamily:
    """Example's chat models."""

    name = "example"
    interface_version = 1
    models = ("example.*",)
    verified = False
    """Whether tests hold the family to recorded traffic."""
    profiles: Mapping[str, ModelProfile] = {
        "example.*": ModelProfile(
            source="the vendor's documentation, 2026-11",
            context_window=8_192,
            max_output_tokens=1_024,
            tool_choice=frozenset({"auto"}),
        )
    }

    def supports(self, ctx: FamilyContext) -> Collection[str]:
        """Return the features besides text that a native body can express; others are refused before `encode`."""
        return {"max_tokens", "system", "temperature", "tools"}

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the native body."""
        body: dict[str, Any] = {"turns": [turn for message in request.messages or () for turn in turns(message)]}
        if request.system:
            body["system"] = "\n".join(block.text for block in request.system if isinstance(block, TextBlock))
        if (inference := request.inference_config) is not None:
            if inference.max_tokens is not None:
                body["limit"] = inference.max_tokens
            if inference.temperature is not None:
                body["temperature"] = inference.temperature
        if request.tool_config is not None:
            body["tools"] = [
                {"tool": tool.name, "about": tool.description, "takes": tool.input_schema.json_}
                for tool in request.tool_config.tools
                if isinstance(tool, ToolSpec)
            ]
        return NativeRequest(body)

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Return the response for a native body."""
        return decode_with(read, body)

    def stream_decoder(self, ctx: FamilyContext) -> NativeDecoder:
        """Return a decoder of native chunks, which are read as bodies are."""
        return stream_with(read)


def turns(message: Message) -> Iterator[dict[str, Any]]:
    """Yield the native turns of a message: texts, tool calls and tool results are turns of their own."""
    for block in message.content:
        match block:
            case TextBlock(text=text):
                yield {"who": message.role, "says": text}
            case ToolUseBlock():
                yield {"who": message.role, "call": block.tool_use_id, "tool": block.name, "with": block.input}
            case ToolResultBlock():
                yield {"who": "tool", "call": block.tool_use_id, "says": said(block), "failed": block.status == "error"}
            case _:
                raise unsupported(block, family="example", model="")


def said(result: ToolResultBlock) -> str:
    """Return the result of a tool as text."""
    texts = [block.text for block in result.content if isinstance(block, TextBlock)]
    return "\n".join(texts + [json.dumps(block.json_) for block in result.content if isinstance(block, JsonBlock)])


def read(native: NativeObject, events: EventBuilder) -> None:
    """Read a body, or one chunk of it. Required members are read without checks: a missing one is an error."""
    if "call" in native:
        events.whole_tool_use(native["call"], native["tool"], native["with"])
    else:
        events.text(native["says"])
    events.stop(stop_reason(native.get("ended"), done="end_turn", limit="max_tokens", calls="tool_use"))
    if (counted := native.get("counted")) is not None:
        events.usage(input_tokens=counted["in"], output_tokens=counted["out"])
