"""A chat model for the emulator, which answers in Example's native dialect without the service."""

from __future__ import annotations

from typing import Any

from bedrock_async.testing import ReceivedRequest, Script, ScriptedModel, text_events

__all__ = ["ExampleModel"]


class ExampleModel(ScriptedModel):
    """Repeats the prompt; with tools, it calls the first one, and then reports the result."""

    def __init__(self) -> None:
        super().__init__(text_events("I speak my own dialect."), native=native, model_ids=("example.chat-1",))


def native(request: ReceivedRequest) -> Script:
    """Return the chunks of a streamed answer, or the single body of a whole one."""
    asked: Any = request.json()
    last = asked["turns"][-1]
    counted: dict[str, Any] = {"in": len(request.body.split()), "out": 3}
    if asked.get("tools") and last["who"] == "user":
        call = {"call": "call-1", "tool": asked["tools"][0]["tool"], "with": {"about": last["says"]}}
        return [{**call, "ended": "calls", "counted": counted}]
    says = f"You said: {last['says']}"
    end: dict[str, Any] = {"ended": "done", "counted": counted}
    if request.operation == "InvokeModel":
        return [{"says": says, **end}]
    return [*({"says": f"{word} "} for word in says.split()), {"says": "", **end}]
