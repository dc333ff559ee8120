"""A script for the emulator that answers native bodies as Claude does: with text, or with the use of a tool."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from bedrock_async.testing import ReceivedRequest, WireEvent
from bedrock_async.testing.script import Script

__all__ = ["claude_answers"]

_WORDS: Final = ("A", " fine", " answer.")
_INPUT_TOKENS: Final = 40


def claude_answers(request: ReceivedRequest) -> Script:
    """Return the native answer, or the chunks of one; a tool is used when the body offers one."""
    body: dict[str, Any] = json.loads(request.body)
    block = _use(body["tools"][0]) if body.get("tools") else {"type": "text", "text": "".join(_WORDS)}
    answer: dict[str, Any] = {
        "id": "msg_bdrk_0123456789",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [block],
        "stop_reason": "end_turn" if block["type"] == "text" else "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": _INPUT_TOKENS, "output_tokens": len(_WORDS)},
    }
    return [answer] if request.operation == "InvokeModel" else _chunks(answer)


def _use(tool: Mapping[str, Any]) -> dict[str, Any]:
    wanted = dict.fromkeys(tool["input_schema"]["properties"], "San Francisco")
    return {"type": "tool_use", "id": "toolu_bdrk_0123456789", "name": tool["name"], "input": wanted}


def _chunks(answer: dict[str, Any]) -> list[WireEvent]:
    block: dict[str, Any] = answer["content"][0]
    begun: dict[str, Any]
    if block["type"] == "text":
        begun = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": word} for word in _WORDS]
    else:
        begun = {**block, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
    ended = {"stop_reason": answer["stop_reason"], "stop_sequence": None}
    metrics = {
        "inputTokenCount": _INPUT_TOKENS,
        "outputTokenCount": len(_WORDS),
        "invocationLatency": 9,
        "firstByteLatency": 5,
    }
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**answer, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": begun},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": len(_WORDS)}},
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics},
    ]
    return [*events]
