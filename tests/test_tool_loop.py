"""The loop of tools over the wire: what is sent, what comes, and that nothing stays behind however it ends."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any, Final

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    ConverseRequest,
    Credentials,
    ImageBlock,
    InvalidRequestError,
    Message,
    StreamError,
    SystemTool,
    TextBlock,
    ThrottlingError,
    Tool,
    ToolContext,
    ToolError,
    ToolFailedError,
    ToolFinished,
    ToolInputError,
    ToolLoop,
    ToolLoopResult,
    ToolResult,
    ToolRoundsError,
    ToolStarted,
    ToolTimeoutError,
    ToolUseBlock,
    tool,
)
from bedrock_async.errors import service_error
from bedrock_async.testing import (
    BedrockEmulator,
    Script,
    ScriptedModel,
    text_events,
    tool_use_events,
)
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.types import JsonBlock, MediaSource, ToolConfig, ToolInputSchema, ToolSpec

MODEL: Final = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
QUESTION: Final = "What is the weather in Paris?"

Event = Mapping[str, Any]


def uses(*calls: tuple[str, str, object], stop_reason: str = "tool_use", text: str = "") -> list[Event]:
    """Return the events of an answer that uses tools: name, id and input each; text as input is sent as it is."""
    events: list[Event] = [{"messageStart": {"role": "assistant"}}]
    if text:
        events.append({"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": text}}})
        events.append({"contentBlockStop": {"contentBlockIndex": 0}})
    for index, (name, tool_use_id, value) in enumerate(calls, 1 if text else 0):
        piece = value if isinstance(value, str) else json.dumps(value)
        start = {"toolUse": {"name": name, "toolUseId": tool_use_id}}
        events.append({"contentBlockStart": {"contentBlockIndex": index, "start": start}})
        if piece:
            events.append({"contentBlockDelta": {"contentBlockIndex": index, "delta": {"toolUse": {"input": piece}}}})
        events.append({"contentBlockStop": {"contentBlockIndex": index}})
    usage = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
    return [*events, {"messageStop": {"stopReason": stop_reason}}, {"metadata": {"usage": usage, "metrics": {}}}]


@tool
async def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"{city}: sunny"


class Service:
    """A model that plays one script after the other, and the requests that it got."""

    def __init__(self, emulator: BedrockEmulator, client: BedrockClient) -> None:
        self.emulator = emulator
        self.client = client

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The requests, as JSON."""
        return [json.loads(request.body) for request in self.emulator.requests]

    def run(self, *tools: Any, **settings: Any) -> ToolLoop:  # noqa: ANN401 - as run_tools
        """Return the loop for the usual question."""
        return self.client.run_tools(MODEL, QUESTION, tools=list(tools) or [weather], **settings)


@asynccontextmanager
async def serving(*scripts: Script, **options: Any) -> AsyncGenerator[Service]:  # noqa: ANN401 - as the client
    """Serve these answers in turn."""
    async with (
        BedrockEmulator([ScriptedModel.in_turn(*scripts)]) as emulator,
        BedrockClient(
            region="us-east-1",
            endpoint_url=emulator.url,
            credentials=Credentials("AKIDEXAMPLE", "secret"),
            **options,
        ) as client,
    ):
        yield Service(emulator, client)


async def steps_of(run: ToolLoop) -> list[Any]:
    """Return all steps."""
    return [step async for step in run]


def results_in(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tool results of the last message of a request."""
    return [block["toolResult"] for block in body["messages"][-1]["content"]]


def finished(steps: Iterable[object]) -> list[ToolFinished]:
    """Return what became of the tools."""
    return [step for step in steps if isinstance(step, ToolFinished)]


# -- the way of a loop


async def test_a_loop_runs_tools_until_there_is_an_answer() -> None:
    """Events of each round, the tools between them, and a result with all new messages and everything that was used."""
    async with serving(
        uses(("weather", "u1", {"city": "Paris"}), text="Let me see."), text_events("Sunny.")
    ) as service:
        run = service.run(max_tokens=100, system="Be brief.")
        steps = await steps_of(run)
        result = await run.result()
        first, second = service.bodies
    assert "".join(step.text or "" for step in steps) == "Let me see.Sunny."
    assert {step.type for step in steps} >= {"message_start", "content_block_delta", "tool_started", "tool_finished"}
    (started,) = (step for step in steps if isinstance(step, ToolStarted))
    (done,) = finished(steps)
    assert (started.tool_use.input, started.round) == ({"city": "Paris"}, 1)
    assert (done.tool_use, done.error, done.duration_s > 0) == (started.tool_use, None, True)
    assert steps.index(started) < steps.index(done) < len(steps) - 1
    assert result.text == "Sunny."
    assert (result.stop_reason, len(result.rounds), result.pending) == ("end_turn", 2, ())
    assert (result.usage.calls, result.usage.input_tokens) == (2, 18)
    assert [message.to_wire() for message in result.messages] == [
        *second["messages"][1:],
        {"role": "assistant", "content": [{"text": "Sunny."}]},
    ]
    assert results_in(second) == [{"toolUseId": "u1", "content": [{"text": "Paris: sunny"}]}]
    assert {**second, "messages": second["messages"][:1]} == first
    assert (run.messages, run.rounds, run.usage) == (result.messages, result.rounds, result.usage)


async def test_the_history_of_a_loop_can_be_asked_again() -> None:
    """What was given comes first, as it was given; a result is what the next question follows."""
    history: list[Any] = [
        {"role": "user", "content": [{"text": "Hi."}]},
        Message(role="assistant", content=[TextBlock(text="Hello.")]),
        {"role": "user", "content": [{"text": QUESTION}]},
    ]
    async with serving(uses(("weather", "u1", {"city": "Rome"})), text_events("Fine.")) as service:
        run = service.client.run_tools(MODEL, history, tools=[weather])
        history += (await run.result()).messages
        await service.client.run_tools(MODEL, history, tools=[weather]).result()
        *_, second, third = service.bodies
    assert [message["role"] for message in second["messages"]] == ["user", "assistant"] * 2 + ["user"]
    assert third["messages"] == [*second["messages"], {"role": "assistant", "content": [{"text": "Fine."}]}]


async def test_several_rounds_of_several_tools() -> None:
    """Results go back in the order of the uses, whichever tool ended first."""
    order: list[str] = []
    second_done = anyio.Event()

    async def first() -> str:
        await second_done.wait()
        order.append("first")
        return "1"

    async def second() -> str:
        order.append("second")
        second_done.set()
        return "2"

    scripts = (
        uses(("first", "a", {}), ("second", "b", {})),
        uses(("second", "c", {})),
        text_events("Done."),
    )
    async with serving(*scripts) as service:
        result = await service.run(first, second).result()
        bodies = service.bodies
    assert order == ["second", "first", "second"]
    assert [each["toolUseId"] for each in results_in(bodies[1])] == ["a", "b"]
    assert [each["content"] for each in results_in(bodies[1])] == [[{"text": "1"}], [{"text": "2"}]]
    assert len(result.rounds) == 3
    assert len(result.messages) == 5


async def test_inside_async_with_a_tool_is_finished_when_it_is() -> None:
    """A quick tool is told of while a slow one still runs."""
    release = anyio.Event()

    async def slow() -> str:
        await release.wait()
        return "slow"

    async def quick() -> str:
        return "quick"

    async with serving(uses(("slow", "a", {}), ("quick", "b", {})), text_events("Done.")) as service:
        names: list[str] = []
        async with service.run(slow, quick) as run, asyncio.timeout(30):
            async for step in run:
                if isinstance(step, ToolFinished):
                    names.append(step.tool_use.name)
                    release.set()
            assert (await run.result()).text == "Done."
    assert names == ["quick", "slow"]


async def test_tools_that_are_not_async_run_in_threads() -> None:
    """They do not hold up the loop, see the context of the caller, and each other while they wait."""
    barrier = threading.Barrier(2, timeout=30)
    threads: set[int] = set()
    caller = ContextVar("caller", default="nobody")
    caller.set("me")

    def blocking(name: str) -> str:
        threads.add(threading.get_ident())
        barrier.wait()
        return f"{name} for {caller.get()}"

    async with serving(
        uses(("blocking", "a", {"name": "x"}), ("blocking", "b", {"name": "y"})), text_events("Done.")
    ) as service:
        await service.run(blocking).result()
        said = [each["content"][0]["text"] for each in results_in(service.bodies[1])]
    assert said == ["x for me", "y for me"]
    assert len(threads) == 2
    assert threading.get_ident() not in threads


async def test_concurrency_has_a_limit() -> None:
    """Never more than max_concurrency tools of a turn run at a time, and all of them run."""
    running, most = 0, 0

    async def step(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        running -= 1
        return number

    calls = [("step", f"u{number}", {"number": number}) for number in range(7)]
    for limit in (1, 3):
        most = 0
        async with serving(uses(*calls), text_events("Done.")) as service:
            await service.run(step, max_concurrency=limit).result()
            assert [each["content"][0]["text"] for each in results_in(service.bodies[1])] == list("0123456")
        assert most == limit


class Found(BaseModel):
    """What a search gives."""

    title: str
    score: float


PNG: Final = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1"
IMAGE: Final = ImageBlock(format="png", source=MediaSource(bytes=PNG))


async def test_tools_return_text_json_media_and_results() -> None:
    """Each kind of value comes to the model as the service takes it."""
    values: list[Any] = [
        "text",
        Found(title="a", score=0.5),
        [Found(title="a", score=1)],
        3,
        None,
        [IMAGE, "a chart"],
        ToolResult({"n": 1}, status="error"),
    ]
    handed_out = iter(values)

    def give() -> Any:  # noqa: ANN401
        return next(handed_out)

    calls: list[tuple[str, str, object]] = [("give", f"u{number}", {}) for number in range(len(values))]
    async with serving(uses(*calls), text_events("Done.")) as service:
        await service.run(give, max_concurrency=1).result()
        results = results_in(service.bodies[1])
    assert [each["content"] for each in results[:5]] == [
        [{"text": "text"}],
        [{"json": {"title": "a", "score": 0.5}}],
        [{"text": '[{"title": "a", "score": 1.0}]'}],
        [{"text": "3"}],
        [{"text": "(no output)"}],
    ]
    assert [list(block) for block in results[5]["content"]] == [["image"], ["text"]]
    assert results[6] == {"toolUseId": "u6", "content": [{"json": {"n": 1}}], "status": "error"}


async def test_media_that_would_be_refused_are_a_failure_of_the_tool() -> None:
    """The model is told, and may try something else: a broken file does not end the loop."""

    @tool
    def look(x: int) -> ImageBlock:
        """Look."""
        return ImageBlock(format="png", source=MediaSource(bytes=b"no image"))

    async with serving(uses(("look", "a", {"x": 1})), text_events("Sorry.")) as service:
        steps = await steps_of(service.run(look))
        (told,) = results_in(service.bodies[1])
    assert told["status"] == "error"
    assert "content[0].image.source.bytes: the 8 bytes do not begin like a png file" in told["content"][0]["text"]
    assert "messages[" not in told["content"][0]["text"]
    assert isinstance(finished(steps)[0].error, ToolFailedError)


async def test_a_tool_may_see_the_context() -> None:
    """The parameter gets the use, the turns so far and what the caller gave; the model knows nothing of it."""
    seen: list[ToolContext] = []

    @tool
    async def who(name: str, context: ToolContext) -> str:
        """Tell who."""
        seen.append(context)
        return f"{name} of {context.deps}"

    assert set(who.schema["properties"]) == {"name"}
    scripts = uses(("who", "a", {"name": "Ada"})), uses(("who", "b", {"name": "Bob"})), text_events("Done.")
    async with serving(*scripts) as service:
        await service.run(who, deps="the house").result()
        assert results_in(service.bodies[2])[0]["content"] == [{"text": "Bob of the house"}]
    assert [(each.tool_use.tool_use_id, each.round, len(each.messages)) for each in seen] == [("a", 1, 1), ("b", 2, 3)]
    assert seen[1].messages[-1].content == [seen[1].tool_use]


async def test_a_method_is_a_tool_of_its_object() -> None:
    """``@tool`` in a class: reached through an object, it is called with that object."""

    class Shop:
        def __init__(self, stock: int) -> None:
            self.stock = stock

        @tool
        def count(self, item: str) -> str:
            """Count an item."""
            return f"{self.stock} {item}"

    shop = Shop(3)
    assert isinstance(shop.count, Tool)
    assert set(shop.count.schema["properties"]) == {"item"}
    assert shop.count("pens") == "3 pens"
    async with serving(uses(("count", "a", {"item": "cups"})), text_events("Done.")) as service:
        await service.run(shop.count).result()
        assert results_in(service.bodies[1])[0]["content"] == [{"text": "3 cups"}]


# -- the choice among tools


@pytest.mark.parametrize("choice", ["any", "weather", weather, {"tool": {"name": "weather"}}])
async def test_a_forced_choice_is_for_the_first_round(choice: Any) -> None:  # noqa: ANN401
    """Else the model could never say what it has found."""
    async with serving(uses(("weather", "u1", {"city": "Paris"})), text_events("Sunny.")) as service:
        await service.run(tool_choice=choice).result()
        first, second = (body["toolConfig"]["toolChoice"] for body in service.bodies)
    assert first in ({"any": {}}, {"tool": {"name": "weather"}})
    assert second == {"auto": {}}


async def test_a_forced_choice_of_the_client_and_of_a_config_are_for_the_first_round_too() -> None:
    """Wherever it was set."""
    config = ToolConfig.from_dict({"tools": [weather.spec.to_dict()], "toolChoice": {"any": {}}})
    for options, keywords in (
        ({"settings": {"tools": [weather], "tool_choice": "any"}}, {}),
        ({}, {"tools": config}),
    ):
        async with serving(uses(("weather", "u1", {"city": "Paris"})), text_events("Sunny."), **options) as service:
            run = service.client.run_tools(MODEL, QUESTION, **keywords)  # type: ignore[arg-type]
            await run.result()
            choices = [body["toolConfig"]["toolChoice"] for body in service.bodies]
        assert choices == [{"any": {}}, {"auto": {}}][: len(run.rounds)]


async def test_a_turn_that_was_begun_without_thinking_ends_without() -> None:
    """A forced tool goes before thinking in the first round, and Claude takes none in the rest of that turn."""
    fields = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    async with serving(uses(("weather", "u1", {"city": "Paris"})), text_events("Sunny.")) as service:
        result = await service.run(tool_choice="any", additional_request_fields=fields).result()
        assert ["additionalModelRequestFields" in body for body in service.bodies] == [False, False]
    assert all("forced_tool" in line for answer in result.rounds for line in answer.meta.adjustments)


async def test_an_unforced_choice_stays() -> None:
    """What needs no change keeps the cached prefix."""
    async with serving(uses(("weather", "u1", {"city": "Paris"})), text_events("Sunny.")) as service:
        await service.run(tool_choice="auto").result()
        assert [body["toolConfig"]["toolChoice"] for body in service.bodies] == [{"auto": {}}, {"auto": {}}]


async def test_a_ready_request_is_asked_as_it_is() -> None:
    """Its own tools are declared, the functions run them, and its history goes on."""
    request = ConverseRequest.from_dict(
        {
            "modelId": MODEL,
            "messages": [{"role": "user", "content": [{"text": QUESTION}]}],
            "toolConfig": {
                "tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}],
                "toolChoice": {"any": {}},
            },
            "requestMetadata": {"team": "a"},
        }
    )
    for arguments in ((request,), (None, request), (MODEL, request.model_copy(update={"model_id": None}))):
        async with serving(uses(("weather", "u1", {"city": "Paris"})), text_events("Sunny.")) as service:
            result = await service.client.run_tools(*arguments, tools=[weather]).result()
            first, second = service.bodies
        assert first == request.to_wire()
        assert second["toolConfig"] == {**first["toolConfig"], "toolChoice": {"auto": {}}}
        assert second["requestMetadata"] == {"team": "a"}
        assert (len(second["messages"]), result.text) == (3, "Sunny.")


async def test_streaming_false_makes_rounds_of_converse() -> None:
    """The same steps, for models that cannot stream tool use."""
    async with serving(uses(("weather", "u1", {"city": "Paris"})), text_events("Sunny.")) as service:
        steps = await steps_of(service.run(streaming=False))
        operations = [request.operation for request in service.emulator.requests]
    assert operations == ["Converse", "Converse"]
    assert [step.result.content[0].text for step in finished(steps)] == ["Paris: sunny"]  # type: ignore[union-attr]


async def test_texts_of_all_rounds_are_one_stream() -> None:
    """``text_stream`` passes over everything else."""
    async with serving(
        uses(("weather", "u1", {"city": "Paris"}), text="Wait."), text_events("It is sunny.")
    ) as service:
        assert [text async for text in service.run().text_stream] == ["Wait.", "It", " is", " sunny."]


async def test_done_callbacks_tell_the_end() -> None:
    """Once, with the result, or without one when it was closed before."""
    ends: list[ToolLoopResult | None] = []
    async with serving(uses(("weather", "u1", {"city": "Paris"})), text_events("Sunny.")) as service:
        run = service.run()
        run.add_done_callback(ends.append)
        result = await run.result()
        await run.aclose()
        run.add_done_callback(ends.append)
        closed = service.run()
        closed.add_done_callback(ends.append)
        await closed.aclose()
    assert ends == [result, result, None]


# -- what is never run


async def ended_with(error: type[ToolError], script: Script, *tools: Any, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
    """Run a loop whose only tool use is not to be run; return the result that the model was told.

    With ``on_tool_error="raise"`` the same is an error, and nothing more is sent.
    """
    async with serving(script, text_events("Sorry.")) as service:
        steps = await steps_of(service.run(*tools, **settings))
        (told,) = results_in(service.bodies[1])
    assert not [step for step in steps if isinstance(step, ToolStarted)]
    (done,) = finished(steps)
    assert isinstance(done.error, error)
    assert done.duration_s == 0.0
    assert told == done.result.to_wire()["toolResult"]
    assert told["status"] == "error"
    async with serving(script) as service:
        run = service.run(*tools, on_tool_error="raise", **settings)
        with pytest.raises(error) as raised:
            await run.result()
        assert len(service.bodies) == 1
    assert raised.value.message == told["content"][0]["text"]
    assert (len(raised.value.rounds), raised.value.messages) == (1, ())
    return told


async def test_a_tool_that_nobody_knows_is_told() -> None:
    """With the names of those that there are."""
    told = await ended_with(ToolInputError, uses(("wether", "u1", {})))
    assert told["content"] == [{"text": "There is no tool 'wether'. The tools are: weather."}]


async def test_input_that_does_not_fit_is_told() -> None:
    """With its faults, and without running anything."""
    told = await ended_with(ToolInputError, uses(("weather", "u1", {"town": "Paris"})))
    assert told["content"] == [
        {"text": "The input does not fit:\n- city: Field required\n- town: Extra inputs are not permitted"}
    ]


@pytest.mark.parametrize(
    ("value", "stop_reason"),
    [
        ('{"city": "Par', "max_tokens"),
        ('{"city": "Par', "tool_use"),
        ('["Paris"]', "tool_use"),
        ("", "max_tokens"),
        ("{}", "max_tokens"),
        ('{"city": "Paris"}', "max_tokens"),
        ('{"city": "Paris"}', "malformed_tool_use"),
        ('{"city": "Paris"}', "malformed_model_output"),
    ],
)
@pytest.mark.parametrize("streaming", [True, False])
async def test_input_that_was_cut_off_is_never_run(value: str, stop_reason: str, *, streaming: bool) -> None:
    """Text that is no object, and the last use of an answer that was cut off, which the service may have filled in."""
    script = uses(("weather", "u1", value), stop_reason=stop_reason)
    told = await ended_with(ToolInputError, script, streaming=streaming)
    assert "was cut off or is not a JSON object" in told["content"][0]["text"]
    assert stop_reason in told["content"][0]["text"]


async def test_the_history_holds_an_object_where_the_input_was_cut_off() -> None:
    """The service refuses anything else there; the text is kept, so that the model sees what it wrote."""
    async with serving(
        uses(("weather", "u1", '{"city": "Pa'), stop_reason="max_tokens"), text_events("Oh.")
    ) as service:
        result = await service.run().result()
        sent = service.bodies[1]["messages"][1]["content"][0]["toolUse"]
    assert sent["input"] == {"INVALID_JSON": '{"city": "Pa'}
    assert result.messages[0].to_wire()["content"] == [{"toolUse": sent}]
    assert result.rounds[0].broken_tool_uses[0].input == '{"city": "Pa'


async def test_complete_uses_before_the_cut_are_run() -> None:
    """Only the last one may be incomplete."""
    script = uses(("weather", "a", {"city": "Rome"}), ("weather", "b", {"city": "Paris"}), stop_reason="max_tokens")
    async with serving(script, text_events("Done.")) as service:
        await service.run().result()
        first, second = results_in(service.bodies[1])
    assert first == {"toolUseId": "a", "content": [{"text": "Rome: sunny"}]}
    assert second["status"] == "error"


class Odd(BaseModel):
    """Input of a type that raises what pydantic does not expect."""

    n: int

    def model_post_init(self, context: object, /) -> None:
        """Fail."""
        raise RuntimeError("no luck")


def use_odd(odd: Odd) -> None:
    """Use it."""


async def test_a_validator_that_fails_is_told() -> None:
    """Types of the caller may raise what they like while input is read."""
    told = await ended_with(ToolInputError, uses(("use_odd", "u1", {"odd": {"n": 1}})), use_odd)
    assert told["content"][0]["text"] == "The input of the tool 'use_odd' cannot be read: RuntimeError: no luck"


@pytest.mark.parametrize(
    "stop_reason", ["guardrail_intervened", "content_filtered", "model_context_window_exceeded", "refusal"]
)
async def test_a_blocked_answer_ends_the_loop(stop_reason: str) -> None:
    """Nothing that it asks for is run; it is said to be pending."""
    async with serving(uses(("weather", "u1", {"city": "Paris"}), stop_reason=stop_reason)) as service:
        result = await service.run().result()
        assert len(service.bodies) == 1
    assert [use.tool_use_id for use in result.pending] == ["u1"]
    assert result.stop_reason == stop_reason


async def test_tools_without_a_function_are_the_callers() -> None:
    """The loop ends with them, none of the turn having run, and goes on with their results."""
    ran: list[str] = []

    @tool
    def mine(word: str) -> str:
        """Note a word."""
        ran.append(word)
        return word

    ask_user = ToolSpec(name="ask_user", input_schema=ToolInputSchema(json={"type": "object"}))
    as_dict = {"toolSpec": {"name": "ask_user", "inputSchema": {"json": {"type": "object"}}}}
    script = uses(("mine", "a", {"word": "x"}), ("ask_user", "b", {}))
    for declared in (ask_user, as_dict):
        async with serving(script) as service:
            result = await service.run(mine, declared).result()
        assert [use.name for use in result.pending] == ["mine", "ask_user"]
        assert result.messages == (result.response.message,)
    assert ran == []


async def test_tools_of_the_service_are_not_run_here() -> None:
    """Their uses and results are part of the answer, and of the history as they came."""
    server = {"toolUseId": "s1", "name": "nova_code_interpreter", "type": "server_tool_use"}
    answered = {"toolUseId": "s1", "type": "nova_code_interpreter_result", "status": "success"}
    script: list[Event] = [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockStart": {"contentBlockIndex": 0, "start": {"toolUse": server}}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"toolUse": {"input": '{"snippet": "1+1"}'}}}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"contentBlockStart": {"contentBlockIndex": 1, "start": {"toolResult": answered}}},
        {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"toolResult": [{"json": {"stdOut": "2"}}]}}},
        {"contentBlockStop": {"contentBlockIndex": 1}},
        *uses(("weather", "u1", {"city": "Paris"}))[1:],
    ]
    for event in script[7:-2]:
        next(iter(event.values()))["contentBlockIndex"] = 2
    async with serving(script, text_events("Done.")) as service:
        result = await service.run(SystemTool(name="nova_code_interpreter"), weather).result()
        first, second = service.bodies
    assert first["toolConfig"]["tools"][0] == {"systemTool": {"name": "nova_code_interpreter"}}
    assert [use.name for use in result.rounds[0].server_tool_uses] == ["nova_code_interpreter"]
    assert result.rounds[0].server_tool_results[0].content == [JsonBlock(json={"stdOut": "2"})]
    content = second["messages"][1]["content"]
    assert [list(block) for block in content] == [["toolUse"], ["toolResult"], ["toolUse"]]
    assert content[0]["toolUse"] == {**server, "input": {"snippet": "1+1"}}
    assert [each["toolUseId"] for each in results_in(second)] == ["u1"]


# -- tools that fail


class NoSuchCityError(Exception):
    """Raised by a tool."""


async def fail(city: str) -> str:
    """Fail."""
    raise NoSuchCityError(f"no {city}")


def fail_in_thread(city: str) -> str:
    """Fail in a thread."""
    raise NoSuchCityError(f"no {city}")


async def await_what_was_cancelled(city: str) -> None:
    """Wait for something of another library, which gives up."""
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.cancel(city)
    await future


def return_what_is_no_result(city: str) -> object:
    """Return an object."""
    return object() if city else None


def return_bytes(city: str) -> bytes:
    """Return bytes."""
    return city.encode()


FAILING: Final[list[tuple[Callable[..., Any], str]]] = [
    (fail, "The tool 'fail' failed: NoSuchCityError: no Paris"),
    (fail_in_thread, "The tool 'fail_in_thread' failed: NoSuchCityError: no Paris"),
    (await_what_was_cancelled, "The tool 'await_what_was_cancelled' failed: it was cancelled."),
    (
        return_what_is_no_result,
        "The tool 'return_what_is_no_result' failed: TypeError: JSON cannot represent a value of type object",
    ),
    (return_bytes, "The tool 'return_bytes' failed: TypeError: bytes are not a result"),
]


@pytest.mark.parametrize(("function", "said"), FAILING, ids=lambda value: getattr(value, "__name__", ""))
async def test_a_tool_that_fails_is_told(function: Callable[..., Any], said: str) -> None:
    """The class and the text of the exception, and nothing else of it; the others of the turn are not touched."""
    name = function.__name__
    script = uses((name, "a", {"city": "Paris"}), ("weather", "b", {"city": "Rome"}))
    async with serving(script, text_events("Sorry.")) as service:
        steps = await steps_of(service.run(function, weather))
        first, second = results_in(service.bodies[1])
    assert first["status"] == "error"
    assert first["content"][0]["text"].startswith(said)
    assert "Traceback" not in first["content"][0]["text"]
    assert second == {"toolUseId": "b", "content": [{"text": "Rome: sunny"}]}
    errors = {done.tool_use.tool_use_id: done.error for done in finished(steps)}
    assert isinstance(errors["a"], ToolFailedError)
    assert errors["a"].__cause__ is not None
    assert errors["b"] is None


async def test_an_error_can_end_the_loop() -> None:
    """The error has the exception, the use, the answers so far and the turns that were complete: those can go on."""
    scripts = uses(("weather", "a", {"city": "Rome"})), uses(("fail", "b", {"city": "Paris"}))
    async with serving(*scripts) as service:
        run = service.run(weather, fail, on_tool_error="raise")
        with pytest.raises(ToolFailedError, match="NoSuchCityError: no Paris") as raised:
            await run.result()
        assert len(service.bodies) == 2
        with pytest.raises(StopAsyncIteration):
            await anext(run)
        with pytest.raises(StreamError, match="there is no result"):
            await run.result()
    error = raised.value
    assert isinstance(error.__cause__, NoSuchCityError)
    assert error.tool_use is not None
    assert (error.tool_use.tool_use_id, len(error.rounds)) == ("b", 2)
    assert [message.role for message in error.messages] == ["assistant", "user"]
    assert run.messages == error.messages


async def test_a_failure_that_ends_the_loop_cancels_the_other_tools() -> None:
    """And waits for their end, so that nothing runs on."""
    started = anyio.Event()
    ended: list[str] = []

    async def slow() -> None:
        try:
            started.set()
            await anyio.sleep_forever()
        finally:
            ended.append("slow")

    async def quick() -> None:
        await started.wait()
        raise NoSuchCityError

    script = uses(("slow", "a", {}), ("quick", "b", {}))
    async with serving(script) as service:
        with pytest.raises(ToolFailedError, match="NoSuchCityError"):
            await service.run(slow, quick, on_tool_error="raise").result()
        assert ended == ["slow"]
        async with service.run(slow, quick, on_tool_error="raise") as run:
            with pytest.raises(ToolFailedError, match="NoSuchCityError"):
                await run.result()
        assert ended == ["slow", "slow"]


def leave_in_thread(city: str) -> str:
    """End the program from a thread."""
    raise SystemExit(f"no {city}")


async def leave(city: str) -> str:
    """End the program."""
    raise SystemExit(f"no {city}")


async def interrupt(city: str) -> str:
    """Do as Ctrl-C does."""
    raise KeyboardInterrupt(f"no {city}")


@pytest.mark.parametrize("entered", [False, True])
@pytest.mark.parametrize("function", [leave, leave_in_thread, interrupt])
async def test_what_ends_the_program_comes_out_as_itself(function: Callable[..., Any], *, entered: bool) -> None:
    """Not in a group, and where the steps are read, so that whatever is open there is closed; no model is told."""
    async with serving(uses((function.__name__, "a", {"city": "Paris"}))) as service:
        run = service.run(function)
        with pytest.raises((SystemExit, KeyboardInterrupt), match=r"^no Paris$"):
            if entered:
                async with run:
                    await run.result()
            else:
                await run.result()
        assert len(service.bodies) == 1


async def test_a_function_says_what_the_model_is_told() -> None:
    """It gets the error with its cause, and may return anything that a tool may return."""
    seen: list[ToolError] = []

    def told(error: ToolError) -> object:
        seen.append(error)
        return {"code": 17}

    script = uses(("fail", "a", {"city": "Paris"}), ("nothing", "b", {}))
    async with serving(script, text_events("Sorry.")) as service:
        await service.run(fail, on_tool_error=told).result()
        results = results_in(service.bodies[1])
    assert [each["content"] for each in results] == [[{"json": {"code": 17}}]] * 2
    assert {each["status"] for each in results} == {"error"}
    assert sorted(type(error).__name__ for error in seen) == ["ToolFailedError", "ToolInputError"]


async def test_such_a_function_may_be_async() -> None:
    """It is awaited, for input that does not fit, too."""

    async def told(error: ToolError) -> object:
        await anyio.lowlevel.checkpoint()
        return f"{type(error).__name__}, but go on"

    script = uses(("fail", "a", {"city": "Paris"}), ("nothing", "b", {}))
    async with serving(script, text_events("Sorry.")) as service:
        await service.run(fail, on_tool_error=told).result()
        contents = [each["content"] for each in results_in(service.bodies[1])]
    assert contents == [[{"text": "ToolFailedError, but go on"}], [{"text": "ToolInputError, but go on"}]]


def what_is_no_result(error: ToolError) -> object:
    """Return what a tool may not return."""
    return error


async def test_what_such_a_function_raises_ends_the_loop() -> None:
    """Unchanged, with or without ``async with``."""

    def told(error: ToolError) -> object:
        raise KeyError(str(error.tool_use))

    async with serving(uses(("fail", "a", {"city": "Paris"}))) as service:
        with pytest.raises(KeyError):
            await service.run(fail, on_tool_error=told).result()
        with pytest.raises(KeyError):
            async with service.run(fail, on_tool_error=told) as run:
                await run.result()
        with pytest.raises(ToolFailedError, match="on_tool_error returned"):
            await service.run(fail, on_tool_error=what_is_no_result).result()


async def test_long_texts_of_exceptions_are_cut() -> None:
    """Whole pages are nothing that a model needs to read."""

    def page() -> None:
        raise ValueError("x" * 100_000)

    async with serving(uses(("page", "a", {})), text_events("Sorry.")) as service:
        await service.run(page).result()
        assert len(results_in(service.bodies[1])[0]["content"][0]["text"]) == 2_000


async def test_tools_have_limits_of_their_own() -> None:
    """A tool's limit goes before the loop's; whoever takes longer is cancelled, and a thread is left to itself."""
    cancelled: list[str] = []
    release = threading.Event()

    @tool(timeout_s=0.01)
    async def forever() -> None:
        """Wait."""
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append("forever")

    def stuck() -> None:
        """Wait in a thread."""
        release.wait(10)

    script = uses(("forever", "a", {}), ("stuck", "b", {}), ("weather", "c", {"city": "Rome"}))
    try:
        async with serving(script, text_events("Sorry.")) as service:
            steps = await steps_of(service.run(forever, stuck, weather, tool_timeout_s=0.2))
            results = results_in(service.bodies[1])
    finally:
        release.set()
    assert results[0]["content"] == [{"text": "The tool 'forever' took longer than 0.01 s."}]
    assert results[1]["content"] == [{"text": "The tool 'stuck' took longer than 0.2 s."}]
    assert results[2]["content"] == [{"text": "Rome: sunny"}]
    assert cancelled == ["forever"]
    errors = {done.tool_use.name: done.error for done in finished(steps)}
    assert isinstance(errors["forever"], ToolTimeoutError)
    assert isinstance(errors["forever"], TimeoutError)
    assert errors["forever"].limit_s == 0.01
    assert errors["weather"] is None


async def test_a_timeout_of_the_tools_own_is_no_limit_of_the_loop() -> None:
    """It is what the tool raised."""

    async def impatient() -> None:
        raise TimeoutError("the database")

    async with serving(uses(("impatient", "a", {})), text_events("Sorry.")) as service:
        await service.run(impatient, tool_timeout_s=60).result()
        (told,) = results_in(service.bodies[1])
    assert told["content"] == [{"text": "The tool 'impatient' failed: TimeoutError: the database"}]


async def test_rounds_have_a_limit() -> None:
    """The error has the turns that were complete and the answer that wants more; nothing of that was run."""
    ran = count()

    def again() -> int:
        return next(ran)

    async with serving(uses(("again", "a", {}))) as service:
        run = service.run(again, max_rounds=3)
        with pytest.raises(ToolRoundsError, match=r"after 3 rounds \(again\)") as raised:
            await run.result()
        assert len(service.bodies) == 3
    assert next(ran) == 2
    assert len(raised.value.rounds) == 3
    assert [message.role for message in raised.value.messages] == ["assistant", "user"] * 2
    assert raised.value.rounds[-1].tool_uses


async def test_an_answer_in_the_last_round_is_an_answer() -> None:
    """The limit is for those that want tools."""
    async with serving(uses(("weather", "a", {"city": "Rome"})), text_events("Sunny.")) as service:
        assert (await service.run(max_rounds=2).result()).text == "Sunny."


async def test_an_error_of_the_service_leaves_the_complete_turns() -> None:
    """What had been done need not be done again."""
    failure = service_error("ThrottlingException", "Too many tokens")
    async with serving(uses(("weather", "a", {"city": "Rome"})), [failure], retry=NO_RETRY) as service:
        run = service.run()
        with pytest.raises(ThrottlingError) as raised:
            await run.result()
    assert [message.role for message in run.messages] == ["assistant", "user"]
    assert raised.value.rounds == run.rounds
    assert len(run.rounds) == 1


async def test_a_loop_without_tools_is_one_answer() -> None:
    """Who puts the tools together at run time may come to none."""
    async with serving(text_events("Hi.")) as service:
        assert (await service.client.run_tools(MODEL, QUESTION, tools=[]).result()).text == "Hi."
        assert "toolConfig" not in service.bodies[0]


CALLS: Final[st.SearchStrategy[tuple[str, object]]] = st.sampled_from(
    [
        ("weather", {"city": "Rome"}),
        ("weather", {"town": "Rome"}),
        ("weather", '{"city": "R'),
        ("fail", {"city": "Rome"}),
        ("fail_in_thread", {"city": "Rome"}),
        ("return_bytes", {"city": "Rome"}),
        ("nobody", {}),
    ]
)


@given(
    rounds=st.lists(st.lists(CALLS, min_size=1, max_size=4), max_size=4), limit=st.integers(1, 4), entered=st.booleans()
)
@settings(max_examples=40)
def test_whatever_tools_do_the_history_is_one_that_can_be_sent(
    *, rounds: list[list[tuple[str, object]]], limit: int, entered: bool
) -> None:
    """Every use has its one result in the next message, in the same order, and inputs are objects."""
    answers = [
        uses(*((name, f"u{turn}-{index}", value) for index, (name, value) in enumerate(calls)))
        for turn, calls in enumerate(rounds)
    ]
    transport = CannedTransport([CannedResponse.stream(events) for events in (*answers, text_events("Done."))])

    async def main() -> ToolLoopResult:
        client = BedrockClient(
            region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret"), transport=transport
        )
        run = client.run_tools(
            MODEL, QUESTION, tools=[weather, fail, fail_in_thread, return_bytes], max_concurrency=limit
        )
        if not entered:
            return await run.result()
        async with run:
            return await run.result()

    result = asyncio.run(main())
    messages = json.loads(transport.requests[-1].body)["messages"]
    assert [message["role"] for message in messages] == ["user", *["assistant", "user"] * len(rounds)]
    for answer, told in zip(messages[1::2], messages[2::2], strict=True):
        asked = [block["toolUse"] for block in answer["content"]]
        assert [block["toolResult"]["toolUseId"] for block in told["content"]] == [use["toolUseId"] for use in asked]
        assert all(block["toolResult"]["content"] for block in told["content"])
        assert all(isinstance(use["input"], dict) for use in asked)
    assert [message.to_wire() for message in result.messages[:-1]] == messages[1:]
    assert (result.text, result.usage.calls) == ("Done.", len(rounds) + 1)


# -- leaving


class Stuck:
    """A tool that waits until it is cancelled, and says when it began and ended."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        self.ended = anyio.Event()

    async def __call__(self) -> None:
        self.started.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.ended.set()


def stuck_tool() -> tuple[Stuck, Tool[..., Any]]:
    """Return such a tool, and what is passed."""
    stuck = Stuck()
    return stuck, Tool(stuck, name="stuck", description="Wait.")


@pytest.mark.parametrize("entered", [False, True])
async def test_cancelling_while_tools_run_cancels_them(*, entered: bool) -> None:
    """When the cancelled task is done the tools are done, too; the loop is over."""
    stuck, waits = stuck_tool()
    async with serving(uses(("stuck", "a", {}))) as service:
        run = service.run(waits)

        async def consume() -> None:
            if entered:
                async with run:
                    await run.result()
            else:
                await run.result()

        task = asyncio.ensure_future(consume())
        await stuck.started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stuck.ended.is_set()
        with pytest.raises(StopAsyncIteration):
            await anext(run)


@pytest.mark.parametrize("entered", [False, True])
async def test_cancelling_while_an_answer_comes_closes_the_stream(*, entered: bool) -> None:
    """The service sees the connection close."""
    never = asyncio.Event()
    waiting = asyncio.Event()
    async with serving([*text_events("hello world")[:2], never]) as service:
        run = service.run()

        async def consume() -> None:
            async for _ in run:
                waiting.set()

        async def enter() -> None:
            async with run:
                await consume()

        task = asyncio.ensure_future(enter() if entered else consume())
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(30):
            await service.emulator.requests[0].wait_connection_closed()


async def test_cancelling_before_anything_came_closes_the_connection() -> None:
    """While the head of the first answer, or of a later one, is waited for."""
    for scripts in ([[asyncio.Event()]], [uses(("weather", "a", {"city": "Rome"})), [asyncio.Event()]]):
        async with serving(*scripts) as service:
            task = asyncio.ensure_future(service.run().result())
            waited_for = (await service.emulator.wait_for_requests(len(scripts)))[-1]
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(30):
                await waited_for.wait_connection_closed()


async def test_cancelling_does_not_wait_for_a_thread() -> None:
    """It cannot be stopped; what it returns in the end is dropped."""
    started, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def stuck() -> str:
        loop.call_soon_threadsafe(started.set)
        release.wait(30)
        return "too late"

    async with serving(uses(("stuck", "a", {}))) as service:
        task = asyncio.ensure_future(service.run(stuck).result())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not release.is_set()
        release.set()
        assert len(service.bodies) == 1


async def test_leaving_async_with_cancels_what_runs() -> None:
    """By ``break``, by an error of the caller's (which comes out as it is), or at the end of the block."""
    for how in ("break", "error"):
        stuck, waits = stuck_tool()
        async with serving(uses(("stuck", "a", {}))) as service:
            with pytest.raises(KeyError) if how == "error" else anyio.CancelScope():
                async with service.run(waits) as run:
                    async for step in run:
                        if isinstance(step, ToolStarted):
                            await stuck.started.wait()
                            if how == "error":
                                raise KeyError
                            break
            assert stuck.ended.is_set()
            with pytest.raises(StopAsyncIteration):
                await anext(run)


@pytest.mark.parametrize("entered", [False, True])
async def test_closing_from_another_task_waits_for_the_tools(*, entered: bool) -> None:
    """After `aclose` nothing runs; who was iterating comes to the end."""
    stuck, waits = stuck_tool()
    async with serving(uses(("stuck", "a", {}))) as service:
        run = service.run(waits)

        async def consume() -> list[Any]:
            if not entered:
                return [step async for step in run]
            async with run:
                return [step async for step in run]

        task = asyncio.ensure_future(consume())
        await stuck.started.wait()
        await run.aclose()
        assert stuck.ended.is_set()
        await run.aclose()
        assert isinstance((await task)[-1], ToolStarted)


async def test_break_out_of_a_bare_loop_leaves_nothing() -> None:
    """No tool has been started when its `ToolStarted` is handed out; a stream that is left closes at once."""
    stuck, waits = stuck_tool()
    before = asyncio.all_tasks()
    async with serving(uses(("stuck", "a", {}))) as service:
        async for step in service.run(waits):
            if isinstance(step, ToolStarted):
                break
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        assert not stuck.started.is_set()
    never = asyncio.Event()
    async with serving([*text_events("hello world")[:2], never]) as service:
        async for _ in service.run():
            break
        gc.collect()
        async with asyncio.timeout(30):
            await service.emulator.requests[0].wait_connection_closed()
    assert asyncio.all_tasks() == before


async def test_a_loop_that_is_forgotten_is_freed() -> None:
    """No cycle holds it: its stream closes when the last reference dies."""
    async with serving([*text_events("hello world")[:2], asyncio.Event()]) as service:
        gc.disable()
        try:
            run = service.run()
            await anext(run)
            del run
            async with asyncio.timeout(30):
                await service.emulator.requests[0].wait_connection_closed()
        finally:
            gc.enable()


async def test_one_task_iterates() -> None:
    """A second one gets an error, and the first goes on."""
    stuck, waits = stuck_tool()
    async with serving(uses(("stuck", "a", {}))) as service:
        run = service.run(waits)
        task = asyncio.ensure_future(run.result())
        await stuck.started.wait()
        with pytest.raises(StreamError, match="another task"):
            await anext(run)
        assert not stuck.ended.is_set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_nothing_is_sent_before_the_first_step() -> None:
    """Making and entering a loop sends nothing."""
    async with serving(text_events("Hi.")) as service:
        run = service.run()
        async with run:
            assert service.bodies == []
            await anext(run)
            assert len(service.bodies) == 1


async def test_a_deadline_of_the_callers_is_one_for_the_whole_loop() -> None:
    """An enclosing timeout cancels the tool in the midst, and is the caller's TimeoutError."""
    stuck, waits = stuck_tool()
    async with serving(uses(("stuck", "a", {}))) as service:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as limit:

                async def expire() -> None:
                    await stuck.started.wait()
                    limit.reschedule(asyncio.get_running_loop().time())

                async with anyio.create_task_group() as group:
                    group.start_soon(expire)
                    await service.run(waits).result()
        assert stuck.ended.is_set()


# -- arguments


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"max_rounds": 0}, "max_rounds"),
        ({"max_rounds": True}, "max_rounds"),
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"tool_timeout_s": 0}, "tool_timeout_s"),
        ({"tool_timeout_s": "5"}, "tool_timeout_s"),
        ({"output_type": dict}, "output_type"),
        ({"tool_choice": "wether"}, "tool_choice"),
        ({"tools": [weather.spec, weather]}, "toolConfig.tools[1]"),
        ({"on_tool_error": "ignore"}, "on_tool_error"),
        ({"tools": None}, "tools"),
        ({"tools": weather}, "toolConfig.tools"),
        ({"tools": "weather"}, "toolConfig.tools"),
        ({"tools": [weather, weather]}, "toolConfig.tools[1]"),
        ({"tools": [BaseModel]}, "toolConfig.tools[0]"),
        ({"temperatur": 1}, "temperatur"),
    ],
)
async def test_wrong_arguments_are_refused_at_once(settings: dict[str, Any], path: str) -> None:
    """Before anything is sent, with the name of the argument."""
    async with serving(text_events("Hi.")) as service:
        arguments: dict[str, Any] = {"tools": [weather], **settings}
        with pytest.raises(InvalidRequestError) as raised:
            service.client.run_tools(MODEL, QUESTION, **arguments)
        assert raised.value.path == path
        assert service.bodies == []


def test_the_steps_of_tools_are_values() -> None:
    """They can be compared, printed and matched."""
    use = ToolUseBlock(tool_use_id="u", name="weather", input={})
    assert ToolStarted(tool_use=use, round=1) == ToolStarted(tool_use=use, round=1)
    assert "weather" in repr(ToolStarted(tool_use=use, round=1))
    assert ToolStarted(tool_use=use, round=1).text is None


def test_scripts_of_tool_use_fold_as_written() -> None:
    """The helper of this module writes what the emulator's own does."""
    kinds = [next(iter(event)) for event in uses(("t", "u", {"a": 1}))]
    assert kinds == [next(iter(event)) for event in tool_use_events("t", {"a": 1}, tool_use_id="u")]
