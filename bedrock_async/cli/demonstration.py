"""The model that `verify` uses without an account: scripted answers to every check."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from ..testing.frames import WireEvent
from ..testing.received import ReceivedRequest
from ..testing.script import Script, ScriptedModel, text_events, tool_use_events
from ..types import JSONValue

__all__ = ["DEMONSTRATION_MODEL", "demonstration_model"]

DEMONSTRATION_MODEL: Final = "us.amazon.nova-2-lite-v1:0"
"""The id of the demonstration model: one with every feature that the checks examine."""

_CACHED_TOKENS: Final = 1280


def demonstration_model() -> ScriptedModel:
    """Return a model that uses tools, reasons, caches and stops like a model of the service."""
    warm = False

    def script(received: ReceivedRequest) -> Script:
        nonlocal warm
        request = cast("dict[str, Any]", received.json())
        events = _answer(request)
        if b'"cachePoint"' in received.body:
            events[-1] = _with_usage(events[-1], read=_CACHED_TOKENS * warm, write=_CACHED_TOKENS * (not warm))
            warm = True
        if "guardrailConfig" in request:
            events[-1] = _with_trace(events[-1])
        return events

    return ScriptedModel(script, input_tokens=11, model_ids=(DEMONSTRATION_MODEL, "amazon.nova-2-lite-v1:0"))


def _answer(request: Mapping[str, Any]) -> list[WireEvent]:
    last = request["messages"][-1]["content"]
    if "toolConfig" in request and not any("toolResult" in block for block in last):
        name = request["toolConfig"]["tools"][0]["toolSpec"]["name"]
        return tool_use_events(name, {"city": "Paris"})
    if "reasoningConfig" in request.get("additionalModelRequestFields", {}):
        return _reasoned()
    limits = request.get("inferenceConfig", {})
    if any(block.get("text", "").startswith("Count") for block in last):
        words = " ".join(str(number) for number in range(1, limits.get("maxTokens", 9) + 1))
        return text_events(words, stop_reason="max_tokens")
    if limits.get("stopSequences"):
        return text_events("1 2 3 4 ", stop_reason="stop_sequence")
    return text_events("pong")


def _reasoned() -> list[WireEvent]:
    """Return an answer that begins with reasoning, whose deltas have no start and whose signature comes last."""
    thoughts: list[dict[str, JSONValue]] = [{"text": "9.9 is"}, {"text": " 9.90."}, {"signature": "c2lnbmVk"}]
    start, *text = text_events("9.9")
    thinking: list[WireEvent] = [
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"reasoningContent": cast("JSONValue", thought)}}}
        for thought in thoughts
    ]
    return [start, *thinking, {"contentBlockStop": {"contentBlockIndex": 0}}, *(_moved(event) for event in text)]


def _moved(event: WireEvent) -> WireEvent:
    """Return the event for the next block."""
    ((name, members),) = event.items()
    if isinstance(members, dict) and "contentBlockIndex" in members:
        return {name: {**members, "contentBlockIndex": 1}}
    return event


def _with_usage(metadata: WireEvent, *, read: int, write: int) -> WireEvent:
    members = _members(metadata)
    usage = {**members["usage"], "cacheReadInputTokens": read, "cacheWriteInputTokens": write}
    return {"metadata": {**members, "usage": usage}}


def _with_trace(metadata: WireEvent) -> WireEvent:
    return {"metadata": {**_members(metadata), "trace": {"guardrail": {"actionReason": "No action."}}}}


def _members(metadata: WireEvent) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(json.dumps(metadata["metadata"]))
    return members
