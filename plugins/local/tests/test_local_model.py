from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import pytest
from bedrock_async_local import MODEL_ID, LocalModel, WeightsError
from bedrock_async_local.engine import ChatMessage, ChatRequest, Finish, Piece

from bedrock_async.errors import (
    InvalidRequestError,
    ModelError,
    ModelStreamError,
    ResourceNotFoundError,
    ServiceUnavailableError,
    ValidationError,
)
from bedrock_async.testing.models import ENTRY_POINT_GROUP, EmulatorModel
from bedrock_async.types import JSONValue

Wire = dict[str, JSONValue]


def pieces(*texts: str, finish: Finish | None = "end", input_tokens: int = 7) -> list[Piece]:
    """The pieces of an answer of one token each."""
    answer = [
        Piece(text=text, input_tokens=input_tokens, output_tokens=number) for number, text in enumerate(texts, start=1)
    ]
    if finish is not None:
        answer.append(Piece(text="", input_tokens=input_tokens, output_tokens=len(texts) + 1, finish=finish))
    return answer


class FakeEngine:
    """Answers with prepared pieces, and keeps what it was asked and how far it was read."""

    def __init__(self, *answers: Sequence[Piece] | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[ChatRequest] = []
        self.counted: list[Sequence[ChatMessage]] = []
        self.given: list[Piece] = []
        self.stopped = 0
        self.closed = 0

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Piece]:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        try:
            for piece in answer:
                self.given.append(piece)
                yield piece
        finally:
            self.stopped += 1

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        self.counted.append(messages)
        return 42

    async def aclose(self) -> None:
        self.closed += 1


def clock() -> Callable[[], float]:
    """A clock that moves a quarter of a second with every call."""
    times = iter(range(1000))
    return lambda: next(times) / 4


def model_of(*answers: Sequence[Piece] | Exception) -> tuple[LocalModel, FakeEngine]:
    """A model over an engine that gives these answers, one a request."""
    engine = FakeEngine(*answers)
    return LocalModel(engine=engine, clock=clock()), engine


def asking(**members: JSONValue) -> Wire:
    """A request of one user message."""
    return {"messages": [{"role": "user", "content": [{"text": "Hello?"}]}], **members}


async def events_of(model: LocalModel, **members: JSONValue) -> list[dict[str, Any]]:
    """All events of an answer."""
    return [dict(event) async for event in model.converse_stream(asking(**members))]


def tool(name: str) -> Wire:
    """A tool that takes any object."""
    return {"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}}


def test_it_is_a_model_for_the_emulator() -> None:
    """It implements the emulator's protocol and answers to its id; nothing is loaded by making one."""
    model = LocalModel()
    assert isinstance(model, EmulatorModel)
    assert list(model.model_ids) == [MODEL_ID]


def test_the_distribution_registers_it_as_local() -> None:
    """The emulator finds it under the name that `bedrock-async serve --model local` uses."""
    from importlib.metadata import entry_points

    (point,) = {found.value: found for found in entry_points(group=ENTRY_POINT_GROUP, name="local")}.values()
    assert point.load() is LocalModel


async def test_text_streams_as_the_service_streams_it() -> None:
    """messageStart, a delta per piece without a block start, block stop, message stop, then the exact usage."""
    model, engine = model_of(pieces("Hel", "lo"))
    assert await events_of(model) == [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hel"}}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "lo"}}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "end_turn"}},
        {
            "metadata": {
                "usage": {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10},
                "metrics": {"latencyMs": 250},
            }
        },
    ]
    assert engine.stopped == 1


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("end", "end_turn"), ("max_tokens", "max_tokens"), ("context", "model_context_window_exceeded")],
)
async def test_stop_reasons_are_the_services_own(finish: Finish, reason: str) -> None:
    """Each way in which a generation ends has the service's name."""
    model, _ = model_of(pieces("x", finish=finish))
    assert {"messageStop": {"stopReason": reason}} in await events_of(model)


async def test_a_stop_sequence_ends_the_answer_and_the_generation() -> None:
    """Across pieces too: nothing of the sequence comes out, the reason names it, the rest is never generated."""
    model, engine = model_of(pieces("one E", "N", "D two", "three"))
    events = await events_of(model, inferenceConfig={"stopSequences": ["END"]})
    assert [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event] == [
        {"text": "one "}
    ]
    assert {"messageStop": {"stopReason": "stop_sequence"}} in events
    assert events[-1]["metadata"]["usage"] == {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10}
    assert [piece.text for piece in engine.given] == ["one E", "N", "D two"]


async def test_the_engine_is_stopped_before_the_last_text_goes_out() -> None:
    """However long the caller takes over the last text, the engine does not go on behind it."""
    model, engine = model_of(pieces("one END", "two"))
    async for event in model.converse_stream(asking(inferenceConfig={"stopSequences": ["END"]})):
        if "contentBlockDelta" in event:
            assert engine.stopped == 1


async def test_the_beginning_of_a_stop_sequence_at_the_end_is_text() -> None:
    """Text held back for the rest of a stop sequence is returned when the answer ends without it."""
    model, _ = model_of(pieces("one", " EN"))
    events = await events_of(model, inferenceConfig={"stopSequences": ["END"]})
    texts = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    assert "".join(texts) == "one EN"
    assert {"messageStop": {"stopReason": "end_turn"}} in events


async def test_an_empty_answer_has_no_block() -> None:
    """Where the model ends at once there is a message without content, and no stop of a block that never was."""
    model, _ = model_of(pieces())
    assert [next(iter(event)) for event in await events_of(model)] == ["messageStart", "messageStop", "metadata"]


async def test_a_forced_tool_streams_its_input() -> None:
    """A toolUse block starts with id and name, its input comes in pieces, and the reason is tool_use."""
    model, engine = model_of(pieces('{"a"', ": 1}"))
    events = await events_of(model, toolConfig={"tools": [tool("add")], "toolChoice": {"any": {}}})
    start = events[1]["contentBlockStart"]
    assert start["contentBlockIndex"] == 0
    assert start["start"]["toolUse"]["name"] == "add"
    assert re.fullmatch(r"tooluse_[\w-]{22}", start["start"]["toolUse"]["toolUseId"])
    assert [event["contentBlockDelta"]["delta"] for event in events[2:4]] == [
        {"toolUse": {"input": '{"a"'}},
        {"toolUse": {"input": ": 1}"}},
    ]
    assert events[4:6] == [{"contentBlockStop": {"contentBlockIndex": 0}}, {"messageStop": {"stopReason": "tool_use"}}]
    assert engine.requests[0].json_schema == {"type": "object"}


async def test_a_tool_input_that_was_cut_off_says_so() -> None:
    """A call that reached the limit is not reported as a complete one."""
    model, _ = model_of(pieces('{"a"', finish="max_tokens"))
    events = await events_of(model, toolConfig={"tools": [tool("add")], "toolChoice": {"tool": {"name": "add"}}})
    assert {"messageStop": {"stopReason": "max_tokens"}} in events


async def test_one_of_several_tools_is_chosen_first() -> None:
    """The choice is a generation of its own, and neither in the events nor in the usage."""
    model, engine = model_of(pieces("sub", "tract", input_tokens=99), pieces("{}"))
    events = await events_of(model, toolConfig={"tools": [tool("add"), tool("subtract")], "toolChoice": {"any": {}}})
    assert events[1]["contentBlockStart"]["start"]["toolUse"]["name"] == "subtract"
    assert events[-1]["metadata"]["usage"]["inputTokens"] == 7
    assert engine.requests[0].grammar == 'root ::= "add" | "subtract"'
    assert "subtract" in engine.requests[1].messages[0]["content"]


async def test_tokens_are_counted_over_what_a_generation_would_read() -> None:
    """count_tokens counts exactly the messages that the same request would generate from, tools included."""
    tools: Wire = {"tools": [tool("add"), tool("subtract")], "toolChoice": {"any": {}}}
    model, engine = model_of(pieces("x"), pieces("add"), pieces("{}"), pieces("add"))
    await events_of(model)
    assert await model.count_tokens(asking()) == 42
    assert engine.counted[0] == engine.requests[0].messages
    await events_of(model, toolConfig=tools)
    await model.count_tokens(asking(toolConfig=tools))
    assert engine.counted[1] == engine.requests[2].messages


async def test_a_refusal_comes_before_the_first_event() -> None:
    """What the engine refuses is raised before messageStart, so that it becomes an HTTP error."""
    model, _ = model_of(ValidationError("no", code="ValidationException", status=400))
    with pytest.raises(ValidationError):
        await anext(model.converse_stream(asking()))


async def test_an_engine_that_falls_silent_is_an_error() -> None:
    """An answer without an end is never passed off as a complete one."""
    model, _ = model_of(pieces("x", finish=None), pieces("x", finish=None), pieces(finish=None))
    with pytest.raises(ModelStreamError):
        await events_of(model)
    for _ in range(2):
        with pytest.raises(ModelError):
            await model.invoke(b'{"messages": [{"role": "user", "content": "Hi"}]}')


async def test_closing_the_events_stops_the_generation() -> None:
    """aclose of the iterator, also in the middle, closes the engine's stream."""
    model, engine = model_of(pieces("a", "b", "c"))
    events = model.converse_stream(asking())
    await anext(events)
    await anext(events)
    assert engine.stopped == 0
    await events.aclose()
    assert engine.stopped == 1
    assert len(engine.given) == 1


NATIVE = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "stop": ["END"]}).encode()


async def test_a_native_answer_is_a_chat_completion() -> None:
    """InvokeModel: text, finish reason and usage in OpenAI's form, under the model's id and not the file's path."""
    model, _ = model_of(pieces("Hel", "lo"), pieces("HelloEND", "x"), pieces("x", finish="max_tokens"))
    answer = json.loads(await model.invoke(NATIVE))
    assert answer["object"] == "chat.completion"
    assert answer["model"] == MODEL_ID
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello", "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ]
    assert answer["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    stopped = json.loads(await model.invoke(NATIVE))
    assert (stopped["choices"][0]["message"]["content"], stopped["choices"][0]["finish_reason"]) == ("Hello", "stop")
    assert json.loads(await model.invoke(NATIVE))["choices"][0]["finish_reason"] == "length"


async def test_a_native_stream_ends_with_the_usage() -> None:
    """Chunks carry the deltas, the first one the role; the last one finish reason, usage and Bedrock's metrics."""
    model, engine = model_of(pieces("Hel", "lo"))
    chunks = [json.loads(chunk) async for chunk in model.invoke_stream(NATIVE)]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert [chunk["choices"][0] for chunk in chunks] == [
        {"index": 0, "delta": {"content": "Hel", "role": "assistant"}, "finish_reason": None},
        {"index": 0, "delta": {"content": "lo"}, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    ]
    assert [chunk for chunk in chunks if "usage" in chunk] == chunks[-1:]
    assert chunks[-1]["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert chunks[-1]["amazon-bedrock-invocationMetrics"] == {
        "inputTokenCount": 7,
        "outputTokenCount": 3,
        "invocationLatency": 500,
        "firstByteLatency": 250,
    }
    assert engine.stopped == 1


async def test_closing_closes_the_engine_and_ends_all_use() -> None:
    """aclose is idempotent for the model; afterwards every request is a ServiceUnavailableError."""
    model, engine = model_of(pieces("x"))
    async with model:
        await model.start()
        assert engine.closed == 0
    assert engine.closed == 1
    await model.aclose()
    with pytest.raises(ServiceUnavailableError):
        await events_of(model)
    with pytest.raises(ServiceUnavailableError):
        await model.start()


async def test_closing_a_model_that_was_never_used_is_nothing() -> None:
    """No weights are fetched just to be discarded."""
    await LocalModel("/no/such/file.gguf").aclose()


async def test_weights_that_are_not_there_are_told_to_whoever_asks() -> None:
    """start() raises the tree's error; a request gets a service error with the same words, which no client retries."""
    async with LocalModel("/no/such/file.gguf") as model:
        with pytest.raises(WeightsError, match=r"/no/such/file\.gguf"):
            await model.start()
        with pytest.raises(ResourceNotFoundError, match=r"/no/such/file\.gguf") as caught:
            await events_of(model)
        assert not caught.value.retryable


class Place:
    """A path to nowhere that counts how often it is looked up, and keeps the first to do so waiting."""

    def __init__(self) -> None:
        self.asked = 0
        self.go_on = threading.Event()

    def __fspath__(self) -> str:
        self.asked += 1
        self.go_on.wait(30)
        return "/no/such/file.gguf"


async def test_one_caller_that_gives_up_does_not_stop_the_load_for_others() -> None:
    """All who wait share one load; cancelling one of them changes nothing for the rest."""
    place = Place()
    async with LocalModel(place) as model:
        first, second = asyncio.ensure_future(model.start()), asyncio.ensure_future(model.start())
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        place.go_on.set()
        with pytest.raises(WeightsError):
            await second
        assert place.asked == 1
        with pytest.raises(WeightsError):
            await model.start()
        assert place.asked == 2


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"context_tokens": -1}, {"parallel": 0}])
def test_numbers_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    """A number below 1 is an error that names the argument."""
    (name,) = wrong
    with pytest.raises(InvalidRequestError, match=name) as caught:
        LocalModel(**wrong)  # type: ignore[arg-type]
    assert caught.value.path == name
