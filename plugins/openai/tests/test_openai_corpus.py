"""Every recorded native exchange with gpt-oss goes through the family, and says what the recording says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import pytest
from bedrock_async_openai import OpenAIFamily
from corpus import Exchange
from native_traffic import native_answer, native_body, native_chunks, native_events, recorded

from bedrock_async import ConverseRequest, ConverseResponse
from bedrock_async.folding import fold

_TAGGED: Final = re.compile(r"<reasoning>(.*?)</reasoning>", re.DOTALL)
# What a client may write and the family does not: the operation and the path say the same.
_REDUNDANT: Final = {"model", "stream", "stream_options"}


FAMILY: Final = OpenAIFamily()
WHOLE: Final = recorded("invoke", "openai")
STREAMED: Final = recorded("invoke-with-response-stream", "openai")


@pytest.mark.parametrize("exchange", WHOLE, ids=str)
def test_a_recorded_answer_says_what_it_said(exchange: Exchange) -> None:
    """Reasoning apart from text, tool uses, stop reason and usage."""
    native, response = exchange.response_json, native_answer(exchange, FAMILY)
    (choice,) = native["choices"]
    content = choice["message"]["content"]

    assert response.text == _TAGGED.sub("", content)
    assert response.reasoning == "".join(_TAGGED.findall(content))
    assert [(use.tool_use_id, use.name, use.input) for use in response.tool_uses] == [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in choice["message"].get("tool_calls", ())
    ]
    reasons = {"length": "max_tokens", "stop": "end_turn", "tool_calls": "tool_use"}
    assert response.stop_reason == reasons[choice["finish_reason"]]
    usage = native["usage"]
    assert (response.usage.input_tokens, response.usage.output_tokens) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )
    assert response.usage.total_tokens == usage["total_tokens"]
    assert response.metrics.latency_ms == int(exchange.response_headers["x-amzn-bedrock-invocation-latency"])


@pytest.mark.parametrize("size", [1, 1_000_000], ids=["bytes", "whole"])
@pytest.mark.parametrize("exchange", STREAMED, ids=str)
def test_a_recorded_stream_says_what_it_said(exchange: Exchange, size: int) -> None:
    """Reasoning apart from text, tool uses, stop reason, and usage from the metrics."""
    chunks = native_chunks(exchange)
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    content = "".join(delta.get("content") or "" for delta in deltas)
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    response = fold(native_events(exchange, FAMILY, size=size))

    assert response.text == _TAGGED.sub("", content)
    assert response.reasoning == "".join(_TAGGED.findall(content))
    assert [use.tool_use_id for use in response.tool_uses] == [call["id"] for call in calls if "id" in call]
    if calls:
        (use,) = response.tool_uses
        assert use.input == json.loads("".join(call["function"]["arguments"] for call in calls))
    assert response.stop_reason == ("tool_use" if calls else "end_turn")
    metrics = chunks[-1]["amazon-bedrock-invocationMetrics"]
    assert response.usage.input_tokens == metrics["inputTokenCount"]
    assert response.usage.output_tokens == metrics["outputTokenCount"]
    assert response.metrics.latency_ms == metrics["invocationLatency"]


def converse_of(native: Mapping[str, Any]) -> dict[str, Any]:
    """The Converse request of the same meaning as a recorded native one."""
    messages: list[dict[str, Any]] = []
    request: dict[str, Any] = {"messages": messages}
    for message in native["messages"]:
        content = [{"text": message["content"]}] if message["content"] else []
        match message["role"]:
            case "system":
                request["system"] = content
            case "tool":
                result = {"toolUseId": message["tool_call_id"], "content": content}
                messages.append({"role": "user", "content": [{"toolResult": result}]})
            case role:
                uses = [
                    {
                        "toolUse": {
                            "toolUseId": call["id"],
                            "name": call["function"]["name"],
                            "input": json.loads(call["function"]["arguments"]),
                        }
                    }
                    for call in message.get("tool_calls", ())
                ]
                messages.append({"role": role, "content": [*content, *uses]})
    names = {"max_tokens": "maxTokens", "temperature": "temperature", "top_p": "topP"}
    request["inferenceConfig"] = {names[name]: native[name] for name in names if name in native}
    if "tools" in native:
        tools = [
            {
                "toolSpec": {
                    "name": tool["function"]["name"],
                    "description": tool["function"]["description"],
                    "inputSchema": {"json": tool["function"]["parameters"]},
                }
            }
            for tool in native["tools"]
        ]
        choice = {"tool": native["tool_choice"]["function"]} if "tool_choice" in native else None
        request["toolConfig"] = {"tools": tools, **({"toolChoice": choice} if choice else {})}
    if "seed" in native:
        request["additionalModelRequestFields"] = {"seed": native["seed"]}
    return request


def plain(native: Mapping[str, Any]) -> dict[str, Any]:
    """A native request without what says nothing, and with the arguments of tool calls as objects."""
    body: dict[str, Any] = json.loads(
        json.dumps({name: value for name, value in native.items() if name not in _REDUNDANT})
    )
    for message in body["messages"]:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return body


@pytest.mark.parametrize("exchange", [*WHOLE, *STREAMED], ids=str)
def test_a_request_of_the_same_meaning_becomes_the_recorded_body(exchange: Exchange) -> None:
    """Member by member."""
    request = ConverseRequest.from_dict(converse_of(exchange.request_json))
    body = native_body(request, exchange.model_id, FAMILY)
    assert plain(body) == plain(exchange.request_json)


def order(response: ConverseResponse) -> tuple[str, ...]:
    """The kinds of the blocks of an answer."""
    return tuple(type(block).__name__ for block in response.message.content)


def test_reasoning_and_text_stand_where_converse_puts_them() -> None:
    """Converse gives a block of reasoning and then the text or tool use: so does the native way."""
    theirs = {order(ConverseResponse.from_wire(each.response_body)) for each in recorded("converse", "openai")}
    ours = {order(native_answer(exchange, FAMILY)) for exchange in WHOLE}
    assert ("ReasoningBlock", "ToolUseBlock") in ours & theirs
    assert all(blocks[0] == "ReasoningBlock" for blocks in ours | theirs)
