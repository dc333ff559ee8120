"""`parse` and streams with an output type: over the wire, against scripted and recorded answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Final, Self

import anyio
import pytest
from corpus import Exchange, exchange, exchanges
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, model_validator
from strategies import json_objects
from typing_extensions import TypedDict
from virtual_time import run_virtually

from bedrock_async import NO_RETRY, BedrockClient, Credentials, OutputStream, OutputType
from bedrock_async.calls import Inference
from bedrock_async.errors import (
    ClientClosedError,
    InvalidRequestError,
    OutputError,
    OutputInvalidError,
    OutputRefusedError,
    OutputToolUseError,
    OutputTruncatedError,
    ServiceError,
    StreamError,
    StreamTruncatedError,
    ThrottlingError,
    TotalTimeoutError,
    ValidationError,
    service_error,
)
from bedrock_async.features.structured import OutputFaults, OutputMode
from bedrock_async.outputs import Question, Refusals, parse
from bedrock_async.testing import BedrockEmulator, ReceivedRequest, ScriptedModel
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.testing.frames import stream_bytes
from bedrock_async.testing.script import Script, text_events, tool_use_events
from bedrock_async.types import ConverseResponse

SONNET: Final = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA: Final = "us.amazon.nova-lite-v1:0"
LLAMA: Final = "us.meta.llama3-3-70b-instruct-v1:0"
STREAM: Final = {"content-type": "application/vnd.amazon.eventstream"}
QUESTION: Final = "Tell me about Paris."


class City(BaseModel):
    """Information about a city."""

    city: str
    population: Annotated[int, Field(ge=1)]


@dataclass
class Point:
    """A point."""

    x: int
    y: int


class Movie(TypedDict):
    """A movie."""

    title: str


PARIS: Final[dict[str, Any]] = {"city": "Paris", "population": 2_161_000}
NO_CITY: Final[dict[str, Any]] = {"city": "Paris", "population": 0}
WEATHER: Final = {"toolSpec": {"name": "get_weather", "inputSchema": {"json": {"type": "object"}}}}
CITY_SCHEMA: Final = {"title": "City", "type": "object", "properties": {"city": {"type": "string"}}}


@asynccontextmanager
async def talking(model: ScriptedModel) -> AsyncGenerator[tuple[BedrockClient, BedrockEmulator]]:
    """A client, and the emulator that serves this model to it."""
    async with BedrockEmulator([model]) as emulator, client_of(emulator) as client:
        yield client, emulator


def client_of(emulator: BedrockEmulator) -> BedrockClient:
    """Return a client of an emulator."""
    return BedrockClient(
        region="us-east-1", endpoint_url=emulator.url, credentials=Credentials("AKIDEXAMPLE", "secret")
    )


def canned(*responses: CannedResponse) -> BedrockClient:
    """Return a client whose transport gives these answers."""
    credentials = Credentials("AKIDEXAMPLE", "secret")
    return BedrockClient(region="us-east-1", credentials=credentials, transport=CannedTransport(responses))


def document(value: object) -> list[Any]:
    """Return the events of an answer that is this value as JSON."""
    return [*text_events(json.dumps(value))]


def sent(emulator: BedrockEmulator) -> list[dict[str, Any]]:
    """Return the bodies of all requests."""
    return [json.loads(request.body) for request in emulator.requests]


def way(body: Mapping[str, Any]) -> str:
    """Return how a request asks for its output."""
    if "outputConfig" in body:
        return "native"
    if "toolConfig" in body:
        return "strict" if any(tool["toolSpec"].get("strict") for tool in body["toolConfig"]["tools"]) else "tool"
    return "prompt"


# -- the ways


@pytest.mark.parametrize(
    ("model", "mode", "answer"),
    [
        (SONNET, "native", document(PARIS)),
        (NOVA, "tool", tool_use_events("City", PARIS)),
        (LLAMA, "prompt", text_events(f"Sure!\n```json\n{json.dumps(PARIS)}\n```")),
    ],
)
async def test_the_answer_is_a_value_of_the_type(model: str, mode: OutputMode, answer: Script) -> None:
    """Each model is asked in the way that its facts name; the value comes validated, with what it was read from."""
    async with talking(ScriptedModel(answer)) as (client, emulator):
        result = await client.parse(model, QUESTION, output_type=City)
        assert result.value == City(**PARIS)
        assert (result.mode, [way(body) for body in sent(emulator)]) == (mode, [mode])
        assert result.rounds == (result.response,)
        assert result.response.meta.request_id == emulator.requests[0].request_id


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (Point, {"x": 1, "y": 2}, Point(1, 2)),
        (Movie, {"title": "Stalker"}, {"title": "Stalker"}),
        (CITY_SCHEMA, {"city": "Paris"}, {"city": "Paris"}),
        (list[int], {"value": [1, 2]}, [1, 2]),
        (OutputType.of(City), PARIS, City(**PARIS)),
    ],
)
@pytest.mark.parametrize("mode", ["native", "tool"])
async def test_any_type_will_do(kind: Any, value: Any, read: object, mode: OutputMode) -> None:  # noqa: ANN401
    """Dataclasses, TypedDicts, JSON schemas and plain types come back as what they are, whole and streamed."""
    name = OutputType.of(kind).name
    model = ScriptedModel(document(value) if mode == "native" else tool_use_events(name, value))
    async with talking(model) as (client, _):
        result = await client.parse(SONNET, QUESTION, output_type=kind, output_mode=mode)
        assert result.value == read
        stream = client.stream(SONNET, QUESTION, output_type=kind, output_mode=mode)
        assert isinstance(stream, OutputStream)
        assert await stream.get_final_output() == read


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"output_type": None}, "output_type"),
        ({"output_type": object.__init__}, "output_type"),
        ({"output_type": "City"}, "output_type"),
        ({"output_type": {"enum": {1, 2}}}, "output_type"),
        ({"output_type": {"type": "object", "properties": []}}, "output_type"),
        ({"output_type": City, "output_mode": "grammar"}, "output_mode"),
        ({"output_type": City, "max_repairs": -1}, "max_repairs"),
        ({"output_type": City, "max_repairs": True}, "max_repairs"),
        ({"output_type": City, "temprature": 1}, "temprature"),
    ],
)
async def test_wrong_arguments_are_refused_before_anything_is_sent(arguments: dict[str, Any], path: str) -> None:
    """No request, but an error that names the argument."""
    async with talking(ScriptedModel(document(PARIS))) as (client, emulator):
        with pytest.raises(InvalidRequestError) as failure:
            await client.parse(SONNET, QUESTION, **arguments)
        assert failure.value.path == path
        assert not emulator.requests


# -- the ladder


def refusing(*refused: str, about: str = "{} is not supported by this model") -> Callable[[ReceivedRequest], Script]:
    """Return a script that refuses these ways as the service does, and answers all others with Paris."""
    members = {"native": "outputConfig.textFormat", "strict": "tools.0.strict", "tool": "toolConfig.toolChoice"}

    def script(request: ReceivedRequest) -> Script:
        found = way(json.loads(request.body))
        if found in refused:
            return [service_error("ValidationException", about.format(members[found]))]
        return document(PARIS) if found in {"native", "prompt"} else tool_use_events("City", PARIS)

    return script


@pytest.mark.parametrize(
    ("refused", "tried", "mode"),
    [
        (["native"], ["native", "strict"], "tool"),
        (["native", "strict"], ["native", "strict", "tool"], "tool"),
        (["native", "strict", "tool"], ["native", "strict", "tool", "prompt"], "prompt"),
    ],
)
@pytest.mark.parametrize("verb", ["parse", "stream", "converse"])
async def test_what_the_service_refuses_is_asked_in_the_next_way_and_remembered(
    refused: list[str], tried: list[str], mode: OutputMode, verb: str
) -> None:
    """The first call goes down the ladder, all later ones of the client begin where it ended."""
    async with talking(ScriptedModel(refusing(*refused))) as (client, emulator):
        if verb == "parse":
            first = await client.parse(SONNET, QUESTION, output_type=City)
            assert (first.value, first.mode) == (City(**PARIS), mode)
        elif verb == "stream":
            async with client.stream(SONNET, QUESTION, output_type=City) as stream:
                assert stream.mode == mode
                assert await stream.get_final_output() == City(**PARIS)
        else:
            reply = await client.converse(SONNET, QUESTION, output_type=City)
            assert "Paris" in str(reply.message)
        assert [way(body) for body in sent(emulator)] == tried
        result = await client.parse("anthropic.claude-sonnet-4-5-20250929-v1:0", QUESTION, output_type=City)
        assert result.mode == mode
        assert [way(body) for body in sent(emulator)] == [*tried, tried[-1]]


async def test_a_model_without_forced_tools_is_not_asked_for_one_again() -> None:
    """A refusal of the choice of a tool is one of strict tools and others alike: both are passed over from then on."""

    def script(request: ReceivedRequest) -> Script:
        about = {"native": "outputConfig is not supported", "strict": "toolChoice is not supported"}
        found = way(json.loads(request.body))
        return [service_error("ValidationException", about[found])] if found in about else document(PARIS)

    async with talking(ScriptedModel(script)) as (client, emulator):
        for _ in range(2):
            assert (await client.parse(SONNET, QUESTION, output_type=City)).mode == "prompt"
        assert [way(body) for body in sent(emulator)] == ["native", "strict", "prompt", "prompt"]


async def test_another_client_and_another_model_learn_for_themselves() -> None:
    """What one model refuses says nothing about others, and clients share nothing."""
    async with talking(ScriptedModel(refusing("native"))) as (client, emulator):
        await client.parse(SONNET, QUESTION, output_type=City)
        await client.parse("us.anthropic.claude-haiku-4-5-20251001-v1:0", QUESTION, output_type=City)
        async with client_of(emulator) as other:
            await other.parse(SONNET, QUESTION, output_type=City)
        assert [way(body) for body in sent(emulator)] == ["native", "strict"] * 3


async def test_a_refused_schema_is_remembered_for_this_schema_only() -> None:
    """A schema that cannot be compiled does not stop others from being tried."""
    script = refusing("native", about="The schema is too complex to be compiled")
    async with talking(ScriptedModel(script)) as (client, emulator):
        for kind in (City, City, CITY_SCHEMA):
            await client.parse(SONNET, QUESTION, output_type=kind)
        assert [way(body) for body in sent(emulator)] == ["native", "strict", "strict", "native", "strict"]


async def test_a_request_that_is_wrong_in_every_way_teaches_nothing() -> None:
    """When the last way fails, too, the refusals were about something else: the next call begins at the top."""

    def script(_request: ReceivedRequest) -> Script:
        return [service_error("ValidationException", "toolConfig and outputConfig: your history is broken")]

    async with talking(ScriptedModel(script)) as (client, emulator):
        for _ in range(2):
            with pytest.raises(ValidationError, match="history is broken"):
                await client.parse(SONNET, QUESTION, output_type=City)
        assert [way(body) for body in sent(emulator)] == ["native", "strict", "prompt"] * 2


async def test_a_mode_that_is_asked_for_is_the_only_one() -> None:
    """Asked for explicitly, a refusal is the caller's to see; a strict tool may still become one that is not."""
    async with talking(ScriptedModel(refusing("native", "strict"))) as (client, emulator):
        for _ in range(2):
            with pytest.raises(ValidationError):
                await client.parse(SONNET, QUESTION, output_type=City, output_mode="native")
        result = await client.parse(SONNET, QUESTION, output_type=City, output_mode="tool")
        assert result.value == City(**PARIS)
        assert [way(body) for body in sent(emulator)] == ["native", "native", "strict", "tool"]


async def test_other_errors_are_no_reason_to_try_another_way() -> None:
    """Throttling, wrong models and the like come to the caller at once."""
    script = [service_error("AccessDeniedException", "You don't have access to outputConfig.")]
    async with talking(ScriptedModel(script)) as (client, emulator):
        with pytest.raises(ServiceError, match="access"):
            await client.parse(SONNET, QUESTION, output_type=City)
        assert len(emulator.requests) == 1


async def test_what_is_remembered_is_bounded() -> None:
    """A service that makes a schema for each call does not grow the client."""
    refusals = Refusals()
    question = a_question(refusals=refusals)
    for number in range(3_000):
        refusals.add(f"model {number}", question.rungs[:1], question.output)
    assert len(refusals) <= 1_024
    assert refusals.left("model 2999", question.rungs, question.output) == question.rungs[1:]
    assert refusals.left("model 0", question.rungs, question.output) == question.rungs


def a_question(*, refusals: Refusals | None = None) -> Question[Any]:
    """Return a question of a client that is asked nowhere."""
    client = canned(CannedResponse())
    inference: Inference = client._inference(SONNET, QUESTION, {}, verb="parse")  # pyright: ignore[reportPrivateUsage]
    return Question(inference, City, None, refusals or Refusals())


# -- repairing


async def test_an_invalid_answer_is_shown_its_faults_and_repaired() -> None:
    """The answer and what is wrong with it go back; the next answer counts, and the tokens of both are told."""
    async with talking(ScriptedModel.in_turn(document(NO_CITY), document(PARIS))) as (client, emulator):
        result = await client.parse(SONNET, QUESTION, output_type=City)
        assert result.value == City(**PARIS)
        assert len(result.rounds) == 2
        assert result.usage.calls == 2
        assert result.usage.output_tokens == sum(each.usage.output_tokens for each in result.rounds) > 0
        first, second = sent(emulator)
        assert second["outputConfig"] == first["outputConfig"]
        said, told = second["messages"][len(first["messages"]) :]
        assert (said["role"], json.loads(said["content"][0]["text"])) == ("assistant", NO_CITY)
        assert told["role"] == "user"
        assert "- population: " in told["content"][0]["text"]


async def test_the_faults_of_a_tool_use_are_its_result() -> None:
    """In the mode `tool` the faults come as the failed result of the call, as histories want it."""
    model = ScriptedModel.in_turn(tool_use_events("City", NO_CITY), tool_use_events("City", PARIS))
    async with talking(model) as (client, emulator):
        result = await client.parse(NOVA, QUESTION, output_type=City)
        assert result.value == City(**PARIS)
        (outcome,) = sent(emulator)[1]["messages"][-1]["content"]
        assert outcome["toolResult"]["status"] == "error"
        assert "population" in outcome["toolResult"]["content"][0]["text"]


@pytest.mark.parametrize("max_repairs", [0, 1, 2])
async def test_repairs_come_to_an_end(max_repairs: int) -> None:
    """After so many rounds the error has all answers and what they used; it shows faults, and no values."""
    async with talking(ScriptedModel(document({"city": "hush", "population": "hush"}))) as (client, emulator):
        with pytest.raises(OutputInvalidError, match="population: ") as failure:
            await client.parse(SONNET, QUESTION, output_type=City, max_repairs=max_repairs)
        error = failure.value
        assert len(emulator.requests) == len(error.rounds) == error.usage.calls == max_repairs + 1
        assert error.response is error.rounds[-1]
        assert error.response.meta.request_id == emulator.requests[-1].request_id
        assert "hush" not in str(error)


@pytest.mark.parametrize(
    ("script", "error", "part"),
    [
        (text_events("I cannot.", stop_reason="refusal"), OutputRefusedError, "refusal"),
        (text_events("Blocked.", stop_reason="guardrail_intervened"), OutputRefusedError, "guardrail_intervened"),
        (text_events("", stop_reason="content_filtered"), OutputRefusedError, "content_filtered"),
        (text_events('{"city": "Pa', stop_reason="max_tokens"), OutputTruncatedError, "Raise max_tokens"),
        (
            text_events("{", stop_reason="model_context_window_exceeded"),
            OutputTruncatedError,
            "Shorten the conversation",
        ),
        (tool_use_events("get_weather", {}), OutputToolUseError, "requests get_weather before"),
        (text_events("no idea"), OutputInvalidError, "the answer contains no JSON"),
        (text_events("", stop_reason="malformed_model_output"), OutputInvalidError, "the answer is empty"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_each_failure_is_an_error_of_its_own(
    script: Script,
    error: type[OutputError],
    part: str,
    streamed: bool,  # noqa: FBT001
) -> None:
    """Refused, cut off, waiting for tools and invalid are four errors, each with the answer; none asks again."""
    async with talking(ScriptedModel(script)) as (client, emulator):
        with pytest.raises(error, match=part) as failure:
            if streamed:
                await client.stream(SONNET, QUESTION, output_type=City, tools=[WEATHER]).get_final_output()
            else:
                repairs = 0 if error is OutputInvalidError else 2
                await client.parse(SONNET, QUESTION, output_type=City, tools=[WEATHER], max_repairs=repairs)
        assert type(failure.value) is error
        assert failure.value.response.stop_reason
        assert failure.value.usage.calls == len(emulator.requests) == 1


async def test_tools_of_the_caller_run_before_the_output() -> None:
    """The error has what the next question needs: the answer that asks for the tool."""
    model = ScriptedModel.in_turn(tool_use_events("get_weather", {"city": "Paris"}), tool_use_events("City", PARIS))
    async with talking(model) as (client, emulator):
        messages: list[Any] = [{"role": "user", "content": [{"text": QUESTION}]}]
        with pytest.raises(OutputToolUseError) as failure:
            await client.parse(NOVA, messages, output_type=City, tools=[WEATHER])
        (use,) = failure.value.response.tool_uses
        outcome = {"toolResult": {"toolUseId": use.tool_use_id, "content": [{"text": "sunny"}]}}
        messages += [failure.value.response.message, {"role": "user", "content": [outcome]}]
        result = await client.parse(NOVA, messages, output_type=City, tools=[WEATHER])
        assert result.value == City(**PARIS)
        for body in sent(emulator):
            assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == ["get_weather", "City"]
            assert body["toolConfig"]["toolChoice"] == {"any": {}}


def test_one_limit_holds_for_all_rounds() -> None:
    """Answers that are none do not add up to more time than a call may take."""
    nothing = ConverseResponse.from_dict({"output": {"message": {"role": "assistant", "content": [{"text": "no"}]}}})
    answers = [nothing, nothing]

    async def send(_inference: Inference) -> ConverseResponse:
        if not answers:
            await anyio.sleep_forever()
        return answers.pop()

    with pytest.raises(TotalTimeoutError, match=r"2\.5 s \(2 answers") as failure:
        run_virtually(parse(a_question(), send, max_repairs=9, total_s=2.5))
    assert failure.value.limit_s == 2.5
    assert len(failure.value.rounds) == 2


async def test_an_error_in_a_repair_round_has_the_answers_before_it() -> None:
    """They were billed, and one of them may be good enough for the caller."""
    throttled = service_error("ThrottlingException", "Too many tokens")
    async with talking(ScriptedModel.in_turn(document(NO_CITY), [throttled])) as (client, _):
        with pytest.raises(ThrottlingError) as failure:
            await client.parse(SONNET, QUESTION, output_type=City, retry=NO_RETRY)
    assert [json.loads(each.text) for each in failure.value.rounds] == [NO_CITY]


async def test_a_validator_that_fails_is_an_invalid_output() -> None:
    """The answer is not lost to an error of the caller's own code, and the error does not quote it."""

    class Capital(City):
        @model_validator(mode="after")
        def known(self) -> Self:
            raise LookupError(self.city)

    async with talking(ScriptedModel(document(PARIS))) as (client, _):
        with pytest.raises(OutputInvalidError, match="LookupError") as failure:
            await client.parse(SONNET, QUESTION, output_type=Capital, max_repairs=0)
    assert "Paris" not in str(failure.value)
    assert failure.value.response.text == json.dumps(PARIS)
    assert isinstance(failure.value.__cause__, OutputFaults)
    assert isinstance(failure.value.__cause__.__cause__, LookupError)


# -- streams


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        (SONNET, document(PARIS)),
        (NOVA, tool_use_events("City", PARIS, text="Let me see.")),
        (LLAMA, text_events(f"Sure!\n```json\n{json.dumps(PARIS)}\n```")),
    ],
)
async def test_an_output_grows_with_its_stream(model: str, answer: Script) -> None:
    """Partial outputs are plain objects, each more than the one before; the final one is validated."""
    async with talking(ScriptedModel(answer)) as (client, _):
        async with client.stream(model, QUESTION, output_type=City) as stream:
            seen = [partial async for partial in stream.partial_outputs]
            final = await stream.get_final_output()
        assert final == City(**PARIS)
        assert seen[0] != seen[-1] == PARIS
        assert all(new.items() >= dict(list(old.items())[:-1]).items() for old, new in pairwise(seen))
        assert await stream.get_final_output() == final


async def test_a_stream_of_an_output_is_a_stream_of_events() -> None:
    """Iterating, the text and the final response are those of any stream; nothing of it needs the output to be one."""
    async with talking(ScriptedModel(text_events("no idea"))) as (client, _):
        stream = client.stream(SONNET, QUESTION, output_type=City)
        assert stream.mode is None
        types = [event.type async for event in stream]
        assert types[0] == "message_start"
        assert types[-1] == "metadata"
        assert (await stream.get_final_response()).text == "no idea"
        with pytest.raises(OutputInvalidError):
            await stream.get_final_output()
        text = "".join([piece async for piece in client.stream(SONNET, QUESTION, output_type=City).text_stream])
        assert text == "no idea"


async def test_partial_outputs_begin_with_what_was_handed_out_before() -> None:
    """Who looks at some events first misses nothing of the output."""
    streamed = canned(CannedResponse.stream(document(PARIS)))
    async with streamed.stream(SONNET, QUESTION, output_type=City) as stream:
        async for event in stream:
            if event.text and "Paris" in event.text:
                break
        seen = [partial async for partial in stream.partial_outputs]
        assert seen[0]["city"] == "Paris"
        assert seen[-1] == PARIS
    whole = canned(CannedResponse.stream(document(PARIS)))
    async with whole.stream(SONNET, QUESTION, output_type=City) as stream:
        assert (await stream.next_batch())[-1].type == "metadata"
        assert [partial async for partial in stream.partial_outputs] == [PARIS]
        assert await stream.get_final_output() == City(**PARIS)


async def test_an_output_that_was_begun_grows_from_its_beginning() -> None:
    """The last message of the assistant is part of it, in streams and in whole answers."""
    begun, rest = json.dumps(PARIS)[:20], json.dumps(PARIS)[20:]
    question = [
        {"role": "user", "content": [{"text": QUESTION}]},
        {"role": "assistant", "content": [{"text": begun}]},
    ]
    client = canned(CannedResponse.stream(text_events(rest)))
    async with client.stream(SONNET, question, output_type=City, output_mode="prompt") as stream:
        seen = [partial async for partial in stream.partial_outputs]
        assert seen[0]["city"].startswith("Pa")
        assert seen[-1] == PARIS
        assert await stream.get_final_output() == City(**PARIS)


async def test_of_several_calls_of_the_tool_the_last_one_is_the_output() -> None:
    """A model that calls the tool again means its last word; calls of other tools are no pieces of the output."""
    uses = (("City", NO_CITY), ("get_weather", {"city": "Rome"}), ("City", PARIS))
    events: list[Any] = [{"messageStart": {"role": "assistant"}}]
    for index, (name, value) in enumerate(uses):
        start = {"toolUse": {"name": name, "toolUseId": f"id-{index}"}}
        delta = {"toolUse": {"input": json.dumps(value)}}
        events += [
            {"contentBlockStart": {"contentBlockIndex": index, "start": start}},
            {"contentBlockDelta": {"contentBlockIndex": index, "delta": delta}},
            {"contentBlockStop": {"contentBlockIndex": index}},
        ]
    events += [{"messageStop": {"stopReason": "tool_use"}}, {"metadata": {"usage": {}, "metrics": {"latencyMs": 1}}}]
    async with talking(ScriptedModel(events)) as (client, _):
        stream = client.stream(NOVA, QUESTION, output_type=City, tools=[WEATHER])
        assert [partial async for partial in stream.partial_outputs] == [NO_CITY, PARIS]
        assert await stream.get_final_output() == City(**PARIS)
        stream = client.stream(NOVA, QUESTION, output_type=City, tools=[WEATHER])
        starts = 0
        while starts < 3:
            starts += (await anext(stream)).type == "content_block_start"
        assert [partial async for partial in stream.partial_outputs] == [PARIS]


async def test_a_stream_that_breaks_tells_what_had_arrived() -> None:
    """Errors of the connection and of the service carry the part of the answer; a closed stream has no output."""
    async with talking(ScriptedModel(document(PARIS)[:3])) as (client, _):
        with pytest.raises(StreamTruncatedError) as failure:
            await client.stream(SONNET, QUESTION, output_type=City).get_final_output()
        assert failure.value.partial_response is not None
        assert failure.value.partial_response.text.startswith('{"city":')
        stream = client.stream(SONNET, QUESTION, output_type=City)
        async with stream:
            pass
        with pytest.raises(StreamError, match="closed before its end"):
            await stream.get_final_output()


async def test_a_stream_of_an_output_keeps_what_it_brings() -> None:
    """There is nothing to read an output from where nothing is kept; a closed client opens nothing."""
    client = canned(CannedResponse())
    with pytest.raises(InvalidRequestError, match="accumulate=False"):
        client.stream(SONNET, QUESTION, output_type=City, accumulate=False)
    with pytest.raises(InvalidRequestError, match="output_mode"):
        client.stream(SONNET, QUESTION, output_type=City, output_mode="grammar")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.aclose()
    with pytest.raises(ClientClosedError):
        client.stream(SONNET, QUESTION, output_type=City)


@given(json_objects(), st.data())
@settings(max_examples=50, deadline=None)
def test_however_a_document_is_cut_it_grows_to_the_whole(value: dict[str, Any], data: st.DataObject) -> None:
    """Whatever the pieces of text and of the network: each partial output is new, the last one is the output."""
    text = json.dumps(value)
    pieces: list[str] = []
    while text:
        size = data.draw(st.integers(1, len(text)))
        pieces.append(text[:size])
        text = text[size:]
    deltas: list[Any] = [{"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": piece}}} for piece in pieces]
    body = stream_bytes([{"messageStart": {"role": "assistant"}}, *deltas, *document({})[-3:]])
    cut = data.draw(st.integers(1, len(body)))

    async def read() -> None:
        client = canned(CannedResponse([body[:cut], body[cut:]] if cut < len(body) else [body], headers=STREAM))
        async with client.stream(SONNET, QUESTION, output_type={"type": "object"}, output_mode="native") as stream:
            seen = [partial async for partial in stream.partial_outputs]
            assert await stream.get_final_output() == value
        assert seen[-1] == value
        assert all(new != old for old, new in pairwise(seen))

    asyncio.run(read())


# -- recorded traffic

STRUCTURED: Final = [
    each
    for each in exchanges("converse", 200)
    if "structured_output" in each.features and b"toolUse" not in each.response_body
]


def schema_of(recorded: Exchange) -> dict[str, Any]:
    """Return the schema that a recorded request asked for."""
    definition = recorded.request_json["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    schema: dict[str, Any] = json.loads(definition["schema"])
    return schema


@pytest.mark.parametrize("recorded", STRUCTURED, ids=str)
async def test_recorded_answers_are_parsed(recorded: Exchange) -> None:
    """What real models said to a schema is an output, whole and replayed as a stream."""
    schema = schema_of(recorded)
    answer = canned(CannedResponse([recorded.response_body]), CannedResponse([recorded.response_body]))
    result = await answer.parse(recorded.model_id, QUESTION, output_type=schema, output_mode="native")
    assert set(schema["required"]) <= result.value.keys()
    stream = answer.stream(recorded.model_id, QUESTION, output_type=schema, output_mode="native", streaming=False)
    seen = [partial async for partial in stream.partial_outputs]
    assert await stream.get_final_output() == result.value == seen[-1]


TOOL_STREAMS: Final = [each for each in exchanges("converse-stream", 200) if b"structured_output" in each.response_body]


@pytest.mark.parametrize("pieces", [None, 7])
async def test_a_recorded_stream_of_a_schema_grows(pieces: int | None) -> None:
    """A real stream of JSON text, in whatever pieces it arrives, grows to the city that it tells of."""
    recorded = exchange("converse-stream__anthropic.claude-4+__200__c48c6b52cf7ca702")
    client = canned(CannedResponse(cut_up(recorded.response_body, pieces), headers=STREAM))
    async with client.stream(recorded.model_id, QUESTION, output_type=schema_of(recorded)) as stream:
        seen = [partial async for partial in stream.partial_outputs]
        assert stream.mode == "native"
        city = await stream.get_final_output()
    assert seen == [{}, {"city": ""}, {"city": "Paris", "country": "France"}, city]
    assert city["population"] == 2_161_000


@pytest.mark.parametrize("recorded", TOOL_STREAMS, ids=str)
async def test_recorded_streams_of_a_tool_grow(recorded: Exchange) -> None:
    """A real tool use, after words of the model, grows to the output of the mode `tool`."""
    (tool,) = recorded.request_json["toolConfig"]["tools"]
    schema = {**tool["toolSpec"]["inputSchema"]["json"], "title": tool["toolSpec"]["name"]}
    client = canned(CannedResponse(cut_up(recorded.response_body, 100), headers=STREAM))
    async with client.stream(recorded.model_id, QUESTION, output_type=schema, output_mode="tool") as stream:
        seen = [partial async for partial in stream.partial_outputs]
        output = await stream.get_final_output()
    assert len(seen) > 3
    assert seen[-1] == output
    assert isinstance(output["name"], str)


def cut_up(body: bytes, size: int | None) -> list[bytes]:
    """Return the body whole, or in pieces."""
    return [body] if size is None else [body[at : at + size] for at in range(0, len(body), size)]


@pytest.mark.parametrize(
    "recorded",
    [
        each
        for each in exchanges("converse", 200)
        if b'"name":"structured_output"' in each.response_body.replace(b": ", b":")
    ],
    ids=str,
)
async def test_recorded_tool_uses_are_parsed(recorded: Exchange) -> None:
    """What models called the tool of another client with is an output here, beside other tools, too."""
    tools = {tool["toolSpec"]["name"]: tool for tool in recorded.request_json["toolConfig"]["tools"]}
    wanted = tools.pop("structured_output")["toolSpec"]
    schema = {**wanted["inputSchema"]["json"], "title": wanted["name"]}
    others: list[Any] | None = list(tools.values()) or None
    client = canned(CannedResponse([recorded.response_body]))
    result = await client.parse(recorded.model_id, QUESTION, output_type=schema, output_mode="tool", tools=others)
    (use,) = [use for use in result.response.tool_uses if use.name == "structured_output"]
    assert result.value == use.input


# -- other verbs and providers


async def test_other_verbs_ask_for_the_output_and_read_nothing() -> None:
    """`converse` returns the reply as it came; `prepare` and `count_tokens` have what would be sent."""
    async with talking(ScriptedModel(text_events("no idea"))) as (client, emulator):
        reply = await client.converse(SONNET, QUESTION, output_type=City)
        assert reply.text == "no idea"
        prepared = client.prepare(SONNET, QUESTION, output_type=City)
        assert prepared.to_wire() == sent(emulator)[0]
        await client.count_tokens(SONNET, QUESTION, output_type=City, output_mode="tool")
        (tool,) = sent(emulator)[1]["input"]["converse"]["toolConfig"]["tools"]
        assert tool["toolSpec"]["name"] == "City"


async def test_a_ready_request_is_asked_with_nothing_but_the_output() -> None:
    """What asks for the output is added to a ready request, and the defaults of the client are not."""
    async with BedrockEmulator([ScriptedModel(document(PARIS))]) as emulator:
        client = BedrockClient(
            region="us-east-1",
            endpoint_url=emulator.url,
            credentials=Credentials("AKIDEXAMPLE", "secret"),
            settings={"system": "Be brief."},
        )
        async with client:
            request = client.prepare(SONNET, QUESTION, max_tokens=50).model_copy(update={"system": None})
            assert (await client.parse(request, output_type=City)).value == City(**PARIS)
            assert await client.stream(request, output_type=City).get_final_output() == City(**PARIS)
            for body in sent(emulator):
                assert {**body, "outputConfig": None} == {**request.to_wire(), "outputConfig": None}
                assert way(body) == "native"


async def test_a_native_body_is_asked_by_what_its_family_can_express() -> None:
    """With `invoke` a way that the dialect has no words for is passed over without a request."""
    model = ScriptedModel(tool_use_events("City", PARIS))
    async with talking(model) as (client, emulator):
        facts: Any = {"structured_output": True}
        for _ in range(2):
            result = await client.parse(NOVA, QUESTION, output_type=City, provider="invoke", model_profile=facts)
            assert (result.value, result.mode) == (City(**PARIS), "tool")
        stream = client.stream(NOVA, QUESTION, output_type=City, provider="invoke", model_profile=facts)
        assert await stream.get_final_output() == City(**PARIS)
        assert [request.operation for request in emulator.requests] == [
            *("InvokeModel", "InvokeModel", "InvokeModelWithResponseStream")
        ]


async def test_recorded_native_tool_uses_are_outputs() -> None:
    """What a model answered over its native body is parsed, whole and streamed, as over Converse."""
    whole = exchange("invoke__openai__200__42fa702d0a7c9a22")
    streamed = exchange("invoke-with-response-stream__openai__200__382223dc243109bb")
    (tool,) = whole.request_json["tools"]
    schema = {**tool["function"]["parameters"], "title": tool["function"]["name"]}
    client = canned(
        CannedResponse([whole.response_body]), CannedResponse(cut_up(streamed.response_body, 100), headers=STREAM)
    )
    model = whole.model_id
    result = await client.parse(model, QUESTION, output_type=schema, output_mode="tool", provider="invoke")
    assert result.value["name"] == "Alexandra Martinez"
    stream = client.stream(model, QUESTION, output_type=schema, output_mode="tool", provider="invoke")
    seen = [partial async for partial in stream.partial_outputs]
    assert seen[-1] == await stream.get_final_output()
