"""A script for the emulator that uses the tools of a request as a model would, and else answers as `schema_answers`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from schema_answers import example_of, schema_answers

from bedrock_async.testing import ReceivedRequest, WireEvent, text_events
from bedrock_async.testing.script import Script
from bedrock_async.types import JSONValue

__all__ = ["tool_answers"]

_INPUTS: Final[Mapping[str, object]] = {"city": "Paris", "number": 1764, "symbol": "AAPL", "zone": "UTC"}
_PIECE_CHARACTERS: Final = 9
_SHORTEST_WORD: Final = 4
_END: Final[list[WireEvent]] = [
    {"metadata": {"usage": {"inputTokens": 40, "outputTokens": 12, "totalTokens": 52}, "metrics": {"latencyMs": 9}}}
]


def tool_answers(request: ReceivedRequest) -> Script:
    """Return an answer that uses each tool whose name the question speaks of, or one that says what tools gave."""
    body: dict[str, Any] = json.loads(request.body)
    config: dict[str, Any] = body.get("toolConfig", {})
    if not config.get("tools") or config.get("toolChoice", {"auto": {}}).keys() != {"auto"}:
        return schema_answers(request)
    last = body["messages"][-1]["content"]
    if any("toolResult" in block for block in last):
        return text_events(" ".join(_said(block["toolResult"]) for block in last if "toolResult" in block))
    question = " ".join(block.get("text", "") for block in last).lower()
    for each in config["tools"]:
        if "systemTool" in each:
            return _by_the_service(each["systemTool"]["name"])
    specs = [each["toolSpec"] for each in config["tools"] if "toolSpec" in each]
    asked = [spec for spec in specs if _speaks_of(question, spec["name"])]
    return _uses(asked) if asked else schema_answers(request)


def _speaks_of(question: str, name: str) -> bool:
    return any(word in question for word in name.lower().split("_") if len(word) >= _SHORTEST_WORD)


def _said(result: Mapping[str, Any]) -> str:
    return " ".join(part["text"] if "text" in part else json.dumps(part.get("json")) for part in result["content"])


def _uses(specs: list[dict[str, Any]]) -> list[WireEvent]:
    events: list[WireEvent] = [{"messageStart": {"role": "assistant"}}]
    for index, spec in enumerate(specs):
        start: JSONValue = {"toolUse": {"toolUseId": f"tooluse_{index}", "name": spec["name"]}}
        events += _block(
            index, start, [{"toolUse": {"input": piece}} for piece in _pieces(spec["inputSchema"]["json"])]
        )
    return [*events, {"messageStop": {"stopReason": "tool_use"}}, *_END]


def _pieces(schema: Mapping[str, Any]) -> list[str]:
    example = cast("dict[str, object]", example_of({"type": "object", **schema}))
    wanted = {name: _INPUTS.get(name, value) for name, value in example.items()}
    text = json.dumps(wanted)
    return [text[at : at + _PIECE_CHARACTERS] for at in range(0, len(text), _PIECE_CHARACTERS)]


def _by_the_service(name: str) -> list[WireEvent]:
    """Return an answer of Nova's: the use of its own tool, what that gave, and the answer, with its source."""
    use: JSONValue = {"toolUse": {"toolUseId": "tooluse_s", "name": name, "type": "server_tool_use"}}
    gave: JSONValue = {"toolResult": {"toolUseId": "tooluse_s", "type": f"{name}_result", "status": "success"}}
    cited: JSONValue = {"location": {"web": {"url": "https://aws.amazon.com/bedrock/", "domain": "aws.amazon.com"}}}
    return [
        {"messageStart": {"role": "assistant"}},
        *_block(0, use, [{"toolUse": {"input": '{"query": "news"}'}}]),
        *_block(1, gave, [{"toolResult": [{"text": "Found 3 pages."}]}]),
        *_block(2, None, [{"text": "There is news."}, {"citation": cited}]),
        {"messageStop": {"stopReason": "end_turn"}},
        *_END,
    ]


def _block(index: int, start: JSONValue, deltas: list[JSONValue]) -> list[WireEvent]:
    begun: list[WireEvent] = [{"contentBlockStart": {"contentBlockIndex": index, "start": start}}] if start else []
    pieces: list[WireEvent] = [{"contentBlockDelta": {"contentBlockIndex": index, "delta": delta}} for delta in deltas]
    return [*begun, *pieces, {"contentBlockStop": {"contentBlockIndex": index}}]
