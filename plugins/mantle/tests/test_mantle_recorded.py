"""Every recorded exchange of bedrock-mantle goes through the provider: requests as sent, answers as they came."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import pytest
from corpus import Exchange, exchange, exchanges

from bedrock_async import ConverseRequest, ConverseResponse, Event, fold
from bedrock_async.providers import HttpRequest

STREAMS: Final[list[dict[str, Any]]] = json.loads((Path(__file__).parent / "data" / "streams.json").read_bytes())
RECORDED: Final = [each for each in exchanges("other") if "__mantle__" in each.id and each.request_body]
WHOLE: Final = [each for each in RECORDED if not each.request_json.get("stream")]

SCHEMA: Final[dict[str, Any]] = {"additionalProperties": False, "properties": {}, "type": "object"}
TOOLS: Final[dict[str, Any]] = {
    "tools": [{"toolSpec": {"name": name, "inputSchema": {"json": SCHEMA}}} for name in ("first_tool", "second_tool")],
    "toolChoice": {"auto": {}},
}
INSTRUCTIONS: Final = STREAMS[0]["request"]["instructions"]


def api_of(recorded: Exchange) -> str:
    """Return the API of a recorded exchange."""
    return "responses" if recorded.path.endswith("/responses") else "chat"


def expected(recorded: Mapping[str, Any]) -> tuple[str, str, list[tuple[str, Any]]]:
    """Return text, readable reasoning and tool calls of a recorded answer, read by hand."""
    if "choices" in recorded:
        message = recorded["choices"][0]["message"]
        return message["content"], message.get("reasoning") or "", []
    items = recorded["output"]
    text = "".join(part["text"] for item in items if item["type"] == "message" for part in item["content"])
    reasoning = "".join(
        part["text"] for item in items if item["type"] == "reasoning" for part in item.get("content") or ()
    )
    calls = [(item["name"], json.loads(item["arguments"])) for item in items if item["type"] == "function_call"]
    return text, reasoning, calls


def test_there_are_recordings() -> None:
    """An empty list would let the tests below pass without running."""
    assert len(WHOLE) == 9
    assert len(STREAMS) == 3


@pytest.mark.parametrize("recorded", WHOLE, ids=str)
def test_a_recorded_answer_is_read(recorded: Exchange, answered: Callable[..., ConverseResponse]) -> None:
    """Text, reasoning, tool calls, stop reason and tokens, as the recording says."""
    told = recorded.response_json
    response = answered(recorded.response_body, recorded.model_id, api=api_of(recorded))

    text, reasoning, calls = expected(told)
    assert response.text == text
    assert response.reasoning == reasoning
    assert [(use.name, use.input) for use in response.tool_uses] == calls
    assert response.stop_reason == ("tool_use" if calls else "end_turn")
    assert response.usage.total_tokens == told["usage"]["total_tokens"]
    assert response.service_tier is not None
    assert response.service_tier.type == "default"


@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_recorded_stream_of_gpt_oss_is_read(size: int, streamed: Callable[..., list[Event]]) -> None:
    """Recorded without event names, and with content_index 1 for the only part: the response it repeats at its end."""
    body = exchange("other__mantle__200__3188bc6c923acf7f").response_body
    response = fold(streamed(body, "openai.gpt-oss-20b", api="responses", size=size))
    assert response.text == "Sure! Here\u2019s a quick count:\n\n1  \n2  \n3  \n4  \n5"
    assert response.reasoning == "We simply count: 1, 2, 3, 4, 5."
    assert response.stop_reason == "end_turn"
    assert (response.usage.input_tokens, response.usage.output_tokens) == (75, 46)
    assert response.usage.cache_read_input_tokens == 0


@pytest.mark.parametrize("recorded", STREAMS, ids=lambda each: f"stream-{each['source']['index']}")
def test_a_recorded_stream_of_gpt_5_is_the_answer_that_it_ends_with(
    recorded: dict[str, Any], streamed: Callable[..., list[Event]], answered: Callable[..., ConverseResponse]
) -> None:
    """Put together from its pieces, a stream is what its response.completed repeats as a whole."""
    body = recorded["response_body"]
    last = json.loads(body.rstrip().rpartition("data: ")[2].partition("\n")[0])["response"]
    for size in (0, 11):
        assert fold(streamed(body.encode(), "openai.gpt-5.6-luna", size=size)) == answered(last, "openai.gpt-5.6-luna")


def test_a_recorded_conversation_is_written_as_it_was(
    written: Callable[..., HttpRequest], streamed: Callable[..., list[Event]]
) -> None:
    """The whole tool loop, each turn appended as it was read: what is sent is what was recorded, but for ids.

    Hidden reasoning goes back to its place with its own id; calls numbered anew in every answer have ids of their own.
    """
    messages: list[Any] = [{"role": "user", "content": [{"text": "Follow the tool instructions."}]}]
    ids: list[str] = []
    for turn, recorded in enumerate(STREAMS):
        asked = {"messages": messages, "system": [{"text": INSTRUCTIONS}], "toolConfig": TOOLS}
        request = written(asked, "openai.gpt-5.6-luna", stream=True)
        assert request.path == recorded["path"]
        assert normal(json.loads(request.body)) == normal({**recorded["request"], "store": False})

        reply = fold(streamed(recorded["response_body"].encode(), "openai.gpt-5.6-luna"))
        ids += [use.tool_use_id for use in reply.tool_uses]
        results = [
            {"toolResult": {"toolUseId": use.tool_use_id, "content": [{"text": f"{name} result"}]}}
            for use, name in zip(reply.tool_uses, ["first", "second"][turn:], strict=False)
        ]
        messages += [reply.message.to_dict(), {"role": "user", "content": results}]
    assert len(set(ids)) == len(ids) == 2
    assert all(len(each) <= 64 for each in ids)


def normal(value: object) -> object:
    """Return a body without what does not count: ids of calls, ids of items but reasoning, null descriptions."""
    if isinstance(value, list):
        return [normal(each) for each in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    kept = {name: normal(each) for name, each in cast("dict[str, object]", value).items() if each is not None}
    kept.pop("call_id", None)
    if kept.get("type") == "function_call":
        kept.pop("id", None)
    return kept


def test_a_recorded_request_of_gpt_oss_is_written(written: Callable[..., HttpRequest]) -> None:
    """A tool call and its result in the history, on the path that was recorded; every member as it was."""
    recorded = exchange("other__mantle__200__097f822a334f6391")
    sent = recorded.request_json
    call, result = sent["input"][1], sent["input"][2]
    (tool,) = sent["tools"]
    spec = {"name": tool["name"], "description": tool["description"], "inputSchema": {"json": tool["parameters"]}}
    use = {"toolUseId": call["call_id"], "name": call["name"], "input": json.loads(call["arguments"])}
    request = written(
        {
            "messages": [
                {"role": "user", "content": [{"text": sent["input"][0]["content"]}]},
                {"role": "assistant", "content": [{"toolUse": use}]},
                {
                    "role": "user",
                    "content": [
                        {"toolResult": {"toolUseId": use["toolUseId"], "content": [{"text": result["output"]}]}}
                    ],
                },
            ],
            "toolConfig": {"tools": [{"toolSpec": spec}]},
        },
        recorded.model_id,
        api="responses",
    )
    body = json.loads(request.body)
    assert json.loads(body["input"][1].pop("arguments")) == json.loads(call.pop("arguments"))
    assert body == sent
    assert request.path == recorded.path
    assert request.endpoint == f"https://{recorded.host}"


@pytest.mark.parametrize(
    ("stem", "content"), [("7483429271ad78c0", "text"), ("ac82c9771f064dba", "audio")], ids=["text", "audio"]
)
def test_a_recorded_chat_completion_is_written(stem: str, content: str, written: Callable[..., HttpRequest]) -> None:
    """Text and an audio clip, on the path that was recorded."""
    recorded = exchange(f"other__mantle__200__{stem}")
    sent = recorded.request_json
    (message,) = sent["messages"]
    blocks: list[Any] = [{"text": message["content"]}]
    if content == "audio":
        text, clip = message["content"]
        assert clip["type"] == "input_audio"
        audio = {"format": clip["input_audio"]["format"], "source": {"bytes": clip["input_audio"]["data"]}}
        wire = {"messages": [{"role": "user", "content": [{"text": text["text"]}, {"audio": audio}]}]}
    else:
        wire = {"messages": [{"role": "user", "content": blocks}]}
    request = written(ConverseRequest.from_wire(wire), recorded.model_id)
    assert json.loads(request.body) == {"stream": False, **sent}
    assert request.path == recorded.path
