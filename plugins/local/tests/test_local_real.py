"""The real model. These tests are skipped, and say so, where the weights cannot be fetched."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pydantic
import pytest
from bedrock_async_local import MODEL_ID, LocalModel
from bedrock_async_local.engine import ChatMessage, ChatRequest, Generation, LlamaEngine

from bedrock_async import BedrockClient, Credentials, OutputMode, ToolFinished, tool
from bedrock_async.errors import InputTooLongError, OutputInvalidError, OutputTruncatedError, ValidationError
from bedrock_async.testing import BedrockEmulator
from bedrock_async.types import JsonBlock, JSONValue

# The first of these tests downloads 93 MB where the user's cache has no weights yet.
pytestmark = pytest.mark.timeout(600)

Wire = dict[str, JSONValue]
Event = dict[str, Any]


def asking(question: str, **members: JSONValue) -> Wire:
    """A request of one user message."""
    return {"messages": [{"role": "user", "content": [{"text": question}]}], **members}


async def events_of(model: LocalModel, request: Mapping[str, JSONValue]) -> list[Event]:
    """All events of an answer."""
    return [dict(event) async for event in model.converse_stream(request)]


def texts(events: list[Event]) -> list[str]:
    """The pieces of text, or of a tool's input, in their order."""
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    return [delta["text"] if "text" in delta else delta["toolUse"]["input"] for delta in deltas]


def stop_reason(events: list[Event]) -> str:
    """The one stop reason."""
    (reason,) = (event["messageStop"]["stopReason"] for event in events if "messageStop" in event)
    return str(reason)


def usage(events: list[Event]) -> dict[str, int]:
    """The counts of the metadata event, the last one."""
    return dict(events[-1]["metadata"]["usage"])


def output_schema(schema: JSONValue) -> Wire:
    """The member that asks for JSON of this schema."""
    return {
        "outputConfig": {
            "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(schema)}}}
        }
    }


async def test_an_answer_comes_token_by_token(model: LocalModel) -> None:
    """Every token but the last, which ends the answer, is an event of its own; the text answers the question."""
    events = await events_of(model, asking("What is the capital of France?"))
    assert "Paris" in "".join(texts(events))
    assert len(texts(events)) == usage(events)["outputTokens"] - 1 >= 5
    assert stop_reason(events) == "end_turn"


async def test_the_first_event_is_there_before_the_last_token_exists(model: LocalModel, engine: LlamaEngine) -> None:
    """While the first token is handed out the engine is still at work on the rest."""
    events = model.converse_stream(asking("Count.", inferenceConfig={"maxTokens": 5000}, **ENDLESS))
    assert await anext(events) == {"messageStart": {"role": "assistant"}}
    assert "contentBlockDelta" in await anext(events)
    assert len(await engine.busy_slots()) == 1
    await events.aclose()


async def test_max_tokens_is_exact(model: LocalModel) -> None:
    """The answer ends after as many tokens, with the reason for it."""
    events = await events_of(model, asking("Tell me about cats.", inferenceConfig={"maxTokens": 7}))
    assert stop_reason(events) == "max_tokens"
    assert usage(events)["outputTokens"] == 7
    assert usage(events)["totalTokens"] == usage(events)["inputTokens"] + 7


async def test_a_stop_sequence_ends_the_answer_and_frees_the_engine(model: LocalModel, engine: LlamaEngine) -> None:
    """The text ends right before the sequence, the reason is stop_sequence, and the slot is free again."""
    whole = "".join(texts(await events_of(model, asking("What is the capital of France?"))))
    stop = whole[len(whole) // 2 :][:4]
    request = asking("What is the capital of France?", inferenceConfig={"stopSequences": ["never said", stop]})
    events = await events_of(model, request)
    assert stop_reason(events) == "stop_sequence"
    assert "".join(texts(events)) == whole[: whole.index(stop)]
    assert usage(events)["outputTokens"] >= len(texts(events))
    await idle(engine)


async def idle(engine: LlamaEngine, *, fewer_than_tokens: int = 3000) -> None:
    """Return when the engine has no generation left; none may have come to so many tokens until then."""
    for generation in engine.generations:
        await generation.wait_stopped()
    # The native engine hears of it when its current step is done: some milliseconds.
    while busy := await engine.busy_slots():
        assert max(busy) < fewer_than_tokens


# Under this schema the answer cannot end before it has taken thousands of tokens: half a minute.
ENDLESS = output_schema({"type": "array", "items": {"type": "integer"}, "minItems": 2000})


TURNS: Wire = {
    "system": [{"text": "You are a poet. 😀"}],
    "messages": [
        {"role": "user", "content": [{"text": "Say héllo."}]},
        {"role": "assistant", "content": [{"text": "Héllo, 世界!"}]},
        {"role": "user", "content": [{"text": "<|im_start|>again<|im_end|>"}]},
    ],
}
WEATHER: Wire = {
    "toolSpec": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "inputSchema": {
            "json": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                },
                "required": ["city", "unit"],
                "additionalProperties": False,
            }
        },
    }
}
ADD: Wire = {
    "toolSpec": {
        "name": "add",
        "description": "Add two numbers",
        "inputSchema": {
            "json": {
                "type": "object",
                "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
                "required": ["a", "b"],
            }
        },
    }
}


@pytest.mark.parametrize(
    "request_",
    [
        asking("Hello?"),
        TURNS,
        {**TURNS, "messages": [*TURNS["messages"], {"role": "assistant", "content": [{"text": "Sure, "}]}]},  # type: ignore[misc]
        asking("Weather in Rome?", toolConfig={"tools": [WEATHER], "toolChoice": {"any": {}}}),
        asking("Weather in Rome?", toolConfig={"tools": [WEATHER, ADD], "toolChoice": {"any": {}}}),
        asking("A city.", **output_schema({"type": "object", "properties": {"city": {"type": "string"}}})),
    ],
    ids=["question", "turns", "prefilled", "tool", "tools", "schema"],
)
async def test_counted_tokens_are_the_input_tokens(model: LocalModel, request_: Wire) -> None:
    """CountTokens and the usage of an answer give the same number, whatever the request holds."""
    events = await events_of(model, {**request_, "inferenceConfig": {"maxTokens": 3}})
    assert await model.count_tokens(request_) == usage(events)["inputTokens"] > 0


class City(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    name: str
    country: str
    population: int
    capital: bool


async def test_output_follows_the_json_schema(model: LocalModel) -> None:
    """The whole answer is JSON that the schema's own model accepts, and it still comes in pieces."""
    events = await events_of(model, asking("Describe Paris.", **output_schema(City.model_json_schema())))
    assert stop_reason(events) == "end_turn"
    assert City.model_validate_json("".join(texts(events))).name
    assert len(texts(events)) > 5


class Weather(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    city: str
    unit: Literal["celsius", "fahrenheit"]


async def test_a_forced_tool_gets_valid_input(model: LocalModel) -> None:
    """toolChoice makes the model call that tool; the input, in pieces, is valid for its schema and to the point."""
    config: Wire = {"tools": [ADD, WEATHER], "toolChoice": {"tool": {"name": "get_weather"}}}
    events = await events_of(model, asking("What is the weather in Tokyo?", toolConfig=config))
    assert events[1]["contentBlockStart"]["start"]["toolUse"]["name"] == "get_weather"
    assert stop_reason(events) == "tool_use"
    assert Weather.model_validate_json("".join(texts(events))).city == "Tokyo"
    assert len(texts(events)) > 3


async def test_any_of_several_tools_is_called(model: LocalModel) -> None:
    """With toolChoice any one of the tools is called, with input that its schema allows."""
    config: Wire = {"tools": [WEATHER, ADD], "toolChoice": {"any": {}}}
    events = await events_of(model, asking("What is the weather in Tokyo?", toolConfig=config))
    name = events[1]["contentBlockStart"]["start"]["toolUse"]["name"]
    given = json.loads("".join(texts(events)))
    assert set(given) == {"get_weather": {"city", "unit"}, "add": {"a", "b"}}[name]
    assert stop_reason(events) == "tool_use"


async def test_characters_of_several_tokens_come_whole(model: LocalModel) -> None:
    """No delta holds half a character: emoji and Chinese text arrive as they are."""
    said = "héllo 😀🎉 世界 👩‍👩‍👧"
    events = await events_of(model, asking("Say it.", **output_schema({"const": said})))
    assert json.loads("".join(texts(events))) == said
    assert all("\ufffd" not in piece and piece.encode() for piece in texts(events))


async def test_closing_the_stream_stops_the_generation(model: LocalModel, engine: LlamaEngine) -> None:
    """After aclose the engine's slot is free, after a few of the thousands of tokens that were asked for."""
    request = asking("Count.", inferenceConfig={"maxTokens": 5000}, **ENDLESS)
    events = model.converse_stream(request)
    for _ in range(3):
        await anext(events)
    assert len(await engine.busy_slots()) == 1
    await events.aclose()
    await idle(engine, fewer_than_tokens=100)


async def test_cancelling_the_reader_stops_the_generation(model: LocalModel, engine: LlamaEngine) -> None:
    """A task that is cancelled while it reads leaves no generation behind, even while the prompt is being read."""
    long_prompt = asking("word " * 3000, inferenceConfig={"maxTokens": 5})
    reader = asyncio.ensure_future(events_of(model, long_prompt))
    while not await engine.busy_slots():
        pass
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await idle(engine)


async def test_two_streams_run_side_by_side(model: LocalModel) -> None:
    """Two answers are generated together: their events interleave, and each is the answer to its own question."""
    order: list[str] = []

    async def ask(name: str, question: str) -> str:
        request = asking(question, inferenceConfig={"maxTokens": 40})
        said: list[str] = []
        async for event in model.converse_stream(request):
            order.append(name)
            said += texts([dict(event)])
        return "".join(said)

    france, cats = await asyncio.gather(
        ask("france", "What is the capital of France, and what is it known for?"), ask("cats", "Tell me about cats.")
    )
    assert "Paris" in france
    assert "cat" in cats.lower()
    first_end = min(max(index for index, name in enumerate(order) if name == who) for who in ("france", "cats"))
    assert {"france", "cats"} <= set(order[:first_end])


async def test_an_input_beyond_the_window_is_refused(model: LocalModel) -> None:
    """More tokens than the window holds: the service's refusal, with both numbers, before the first event."""
    with pytest.raises(InputTooLongError, match="8192"):
        await anext(model.converse_stream(asking("word " * 9000)))


async def test_a_full_window_ends_the_answer_with_its_own_reason(weights: Path) -> None:
    """An answer that runs into the end of the window says so; it is not taken for a reached limit."""
    engine = await asyncio.to_thread(LlamaEngine.load, weights, context_tokens=256, parallel=1)
    async with LocalModel(engine=engine) as model:
        request = asking("word " * 200, inferenceConfig={"maxTokens": 5000})
        events = await events_of(model, {**request, **ENDLESS})
        assert stop_reason(events) == "model_context_window_exceeded"
        assert usage(events)["totalTokens"] == 256


async def test_a_schema_that_the_engine_does_not_know_is_refused(model: LocalModel) -> None:
    """A JSON schema with an unknown type is the caller's error, in the engine's words."""
    with pytest.raises(ValidationError, match="nope"):
        await anext(model.converse_stream(asking("x", **output_schema({"type": "nope"}))))


async def test_the_native_form_answers_too(model: LocalModel) -> None:
    """InvokeModel and its stream give the same text and the same counts for the same body."""
    body = json.dumps({"messages": [{"role": "user", "content": "What is the capital of France?"}]}).encode()
    answer = json.loads(await model.invoke(body))
    chunks = [json.loads(chunk) async for chunk in model.invoke_stream(body)]
    streamed = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert "Paris" in answer["choices"][0]["message"]["content"] == streamed
    assert answer["usage"] == chunks[-1]["usage"]
    assert len(chunks) > 5


@pytest.mark.parametrize("path", ["/tokenize", "/v1/chat/completions", "/slots"])
async def test_other_processes_need_the_key(engine: LlamaEngine, path: str) -> None:
    """The engine's loopback port refuses whoever does not hold the random key of this process."""
    assert engine.address.startswith("http://127.0.0.1:")
    for headers in ({}, {"authorization": "Bearer guessed"}):
        async with aiohttp.ClientSession() as session, session.post(engine.address + path, headers=headers) as answer:
            assert answer.status == 401


async def test_it_speaks_bedrocks_protocol_through_the_emulator(engine: LlamaEngine) -> None:
    """Behind the emulator it answers over HTTP: event-stream frames, whole answers, token counts and refusals."""
    async with BedrockEmulator([LocalModel(engine=Shared(engine))]) as emulator, aiohttp.ClientSession() as session:
        url = f"{emulator.url}/model/{MODEL_ID}"
        question = asking("What is the capital of France?")
        async with session.post(f"{url}/converse-stream", json=question) as response:
            assert response.content_type == "application/vnd.amazon.eventstream"
            frames = await response.read()
        assert b"Paris" in frames
        async with session.post(f"{url}/converse", json=question) as response:
            answer = await response.json()
        assert "Paris" in answer["output"]["message"]["content"][0]["text"]
        async with session.post(f"{url}/count-tokens", json={"input": {"converse": question}}) as response:
            assert (await response.json())["inputTokens"] == answer["usage"]["inputTokens"]
        async with session.post(f"{url}/converse-stream", json=asking("word " * 9000)) as response:
            assert response.status == 400
            assert "Input is too long" in await response.text()


async def test_a_caller_that_hangs_up_stops_the_generation(engine: LlamaEngine) -> None:
    """The first frames arrive while the answer is generated; when the connection closes, the generation ends."""
    async with BedrockEmulator([LocalModel(engine=Shared(engine))]) as emulator, aiohttp.ClientSession() as session:
        request = asking("Count.", inferenceConfig={"maxTokens": 5000}, **ENDLESS)
        response = await session.post(f"{emulator.url}/model/{MODEL_ID}/converse-stream", json=request)
        assert b"messageStart" in await response.content.readany()
        assert len(await engine.busy_slots()) == 1
        response.close()
        while engine.generations:  # noqa: ASYNC110 - the emulator has yet to notice that the connection is gone
            await asyncio.sleep(0)
        await idle(engine, fewer_than_tokens=1000)


class Shared:
    """The session's engine, for a model that is closed before the session ends."""

    def __init__(self, engine: LlamaEngine) -> None:
        self._engine = engine

    def chat(self, request: ChatRequest) -> Generation:
        return self._engine.chat(request)

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return await self._engine.count_tokens(messages)

    async def aclose(self) -> None:
        """Leave the engine to the session."""


def test_the_examples_of_the_readme_run(weights: Path) -> None:
    """The programs in the README print an answer, and the nearer one of two texts, as they stand."""
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    chat, embeddings = (run(program, str(weights)) for program in re.findall(r"```python\n(.*?)```", readme, re.DOTALL))
    assert "Paris" in chat.stdout, chat.stderr
    (markets, cat) = (float(line.split()[0]) for line in embeddings.stdout.splitlines())
    assert cat > markets, embeddings.stderr
    assert chat.returncode == embeddings.returncode == 0


def run(program: str, gguf: str) -> subprocess.CompletedProcess[str]:
    """Run a program of its own, with these weights."""
    paths = os.pathsep.join(sys.path)
    return subprocess.run(
        [sys.executable, "-c", program, gguf],
        env={**os.environ, "PYTHONPATH": paths, "BEDROCK_ASYNC_LOCAL_GGUF": gguf},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


INTERRUPTED = """
import asyncio, os, signal, sys
from bedrock_async_local import LocalModel

async def main():
    async with LocalModel(sys.argv[1]) as model:
        request = {"messages": [{"role": "user", "content": [{"text": "Tell me a story."}]}]}
        async for event in model.converse_stream(request):
            if "contentBlockDelta" in event:
                print("token", flush=True)
                os.kill(os.getpid(), signal.SIGINT)

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself Ctrl-C on Windows")
def test_ctrl_c_ends_a_program_in_the_middle_of_an_answer(weights: Path) -> None:
    """The engine leaves Python's signal handlers alone and does not keep the program from ending."""
    done = run(INTERRUPTED, str(weights))
    assert done.stdout.splitlines()[-1] == "interrupted", done.stderr
    assert done.stdout.count("token") < 5
    assert done.returncode == 130
    assert done.stderr == ""


class Capital(pydantic.BaseModel):
    """A country and its capital."""

    country: str
    capital: str


@pytest.mark.parametrize("mode", ["native", "tool"])
async def test_an_answer_is_an_output_of_a_type(engine: LlamaEngine, mode: OutputMode) -> None:
    """Held by a schema or by a forced tool, the small model gives a validated object, whole and as it grows."""
    async with BedrockEmulator([LocalModel(engine=Shared(engine))]) as emulator, client_of(emulator) as client:
        question = "What is the capital of France?"
        result = await client.parse(MODEL_ID, question, output_type=Capital, output_mode=mode, max_tokens=100)
        assert (result.mode, type(result.value)) == (mode, Capital)
        async with client.stream(MODEL_ID, question, output_type=Capital, output_mode=mode, max_tokens=100) as stream:
            seen = [partial async for partial in stream.partial_outputs]
            assert await stream.get_final_output() == result.value
        assert len(seen) > 2
        assert Capital(**seen[-1]) == result.value


async def test_an_answer_that_is_only_asked_for_is_an_output_or_an_error(engine: LlamaEngine) -> None:
    """With words alone the model may fail: then the error has all that it said, each time that it was asked."""
    async with BedrockEmulator([LocalModel(engine=Shared(engine))]) as emulator, client_of(emulator) as client:
        try:
            result = await client.parse(
                MODEL_ID, "What is the capital of France?", output_type=Capital, output_mode="prompt", max_tokens=200
            )
        except (OutputInvalidError, OutputTruncatedError) as error:
            rounds = error.rounds
        else:
            assert (result.mode, type(result.value)) == ("prompt", Capital)
            rounds = result.rounds
        assert 1 <= len(rounds) == len(emulator.requests) <= 2
        assert all(each.text for each in rounds)


def client_of(emulator: BedrockEmulator) -> BedrockClient:
    """A client of an emulator."""
    return BedrockClient(endpoint_url=emulator.url, credentials=Credentials("any", "key"))


@tool
def get_weather(city: str, unit: Literal["celsius", "fahrenheit"]) -> dict[str, str]:
    """Get the weather of a city."""
    return {"city": city, "weather": f"sunny, 22 degrees {unit}"}


@tool
def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


@pytest.mark.parametrize("streaming", [True, False])
async def test_the_loop_runs_a_tool_that_the_model_asked_for(engine: LlamaEngine, *, streaming: bool) -> None:
    """Made to choose, it asks for a tool with input that runs; it reads the result and says something about it."""
    async with BedrockEmulator([LocalModel(engine=Shared(engine))]) as emulator, client_of(emulator) as client:
        run = client.run_tools(
            MODEL_ID,
            "What is the weather in Tokyo?",
            tools=[get_weather],
            tool_choice="any",
            max_tokens=100,
            streaming=streaming,
        )
        steps = [step async for step in run]
        result = await run.result()
    (done,) = (step for step in steps if isinstance(step, ToolFinished))
    assert (done.tool_use.name, done.error) == ("get_weather", None)
    assert isinstance(given := done.result.content[0], JsonBlock)
    assert isinstance(given.json_, dict)
    assert given.json_["city"] == "Tokyo"
    assert result.text.strip()
    assert (len(result.rounds), result.pending) == (2, ())
    assert result.usage.output_tokens > 10


async def test_any_of_two_tools_runs_with_input_that_fits(engine: LlamaEngine) -> None:
    """Whichever the small model names, the grammar holds it to that tool's schema, and the function takes that."""
    async with BedrockEmulator([LocalModel(engine=Shared(engine))]) as emulator, client_of(emulator) as client:
        run = client.run_tools(
            MODEL_ID, "What is the sum of 12 and 30?", tools=[get_weather, add], tool_choice="any", max_tokens=60
        )
        (done,) = [step async for step in run if isinstance(step, ToolFinished)]
        assert done.tool_use.name in {"get_weather", "add"}
        assert done.error is None
        assert run.rounds[-1].stop_reason in {"end_turn", "max_tokens"}
