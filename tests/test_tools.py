"""Tools as callers have them, the choice among them, their results, and their input while it comes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import pytest
from corpus import Exchange, exchange, exchanges
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from strategies import JSON_VALUES, json_objects

from bedrock_async import (
    BedrockClient,
    ConverseRequest,
    Credentials,
    InvalidRequestError,
    PartialToolInput,
    SystemTool,
    Tool,
    ToolInputs,
    ToolResult,
    ToolUseBlock,
    tool,
)
from bedrock_async.events import ConverseEventDecoder, Event, event_from_wire
from bedrock_async.families.profiles import ModelProfile, find_profile
from bedrock_async.features.tool_results import error_block, result_block
from bedrock_async.features.tools import ToolSet, forces_a_tool, resettle_tool_choice, settle_tool_choice
from bedrock_async.folding import fold
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.testing.frames import stream_bytes
from bedrock_async.testing.script import tool_use_events
from bedrock_async.types import (
    AnyToolChoice,
    AutoToolChoice,
    CachePointBlock,
    ConverseResponse,
    DocumentBlock,
    DocumentSource,
    ImageBlock,
    JsonBlock,
    MediaSource,
    SearchResultBlock,
    SpecificToolChoice,
    TextBlock,
    ToolChoice,
    ToolConfig,
    ToolInputSchema,
    ToolResultBlock,
    ToolSpec,
    UnknownBlock,
)

CLAUDE: Final = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA: Final = "us.amazon.nova-2-lite-v1:0"
STREAM: Final = {"content-type": "application/vnd.amazon.eventstream"}


@tool
def weather(city: str) -> str:
    """Tell the weather."""
    return city


def current_time(zone: str = "UTC") -> str:
    """Tell the time."""
    return zone


class Finder:
    """An object that can be called."""

    def __call__(self, word: str) -> str:
        """Find a word."""
        return word


def client_of(*responses: CannedResponse) -> tuple[BedrockClient, CannedTransport]:
    """Return a client with these answers, and the transport that has its requests."""
    transport = CannedTransport(responses)
    client = BedrockClient(region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret"), transport=transport)
    return client, transport


def wire(*, model: str = CLAUDE, **settings: Any) -> dict[str, Any]:  # noqa: ANN401 - as prepare
    """Return the body that these keywords make."""
    client, _ = client_of()
    return client.prepare(model, "Hello", **settings).to_wire()


# -- the forms of tools


def test_tools_of_all_forms_mix() -> None:
    """Tools, functions, objects, definitions and boto3's dicts, in their order."""
    spec = {"toolSpec": {"name": "typed", "inputSchema": {"json": {"type": "object"}}}}
    tools = [
        weather,
        current_time,
        Finder(),
        ToolSpec(name="typed", input_schema=ToolInputSchema(json={"type": "object"})),
        spec,
        SystemTool(name="nova_grounding"),
        {"systemTool": {"name": "nova_code_interpreter"}},
        UnknownBlock(raw={"newTool": {"a": 1}}),
        CachePointBlock(type="default"),
    ]
    made = wire(tools=tools, normalize=False)["toolConfig"]["tools"]
    assert made[0] == weather.spec.to_wire()
    assert made[1]["toolSpec"]["name"] == "current_time"
    assert made[1]["toolSpec"]["description"] == "Tell the time."
    assert made[2]["toolSpec"]["name"] == "Finder"
    assert made[3:] == [
        spec,
        spec,
        {"systemTool": {"name": "nova_grounding"}},
        {"systemTool": {"name": "nova_code_interpreter"}},
        {"newTool": {"a": 1}},
        {"cachePoint": {"type": "default"}},
    ]


async def test_every_verb_takes_them() -> None:
    """converse, stream, count_tokens and prepare make the same tools of them."""
    said = b'{"output": {"message": {"role": "assistant", "content": [{"text": "Hi."}]}}}'
    count = CannedResponse([b'{"inputTokens": 3}'])
    client, transport = client_of(CannedResponse([said]), CannedResponse([said]), count)
    tools: list[Any] = [weather, current_time]
    await client.converse(CLAUDE, "Hello", tools=tools)
    await client.stream(CLAUDE, "Hello", tools=tools, streaming=False).get_final_response()
    await client.count_tokens(CLAUDE, "Hello", tools=tools)
    first, second, third = (json.loads(request.body) for request in transport.requests)
    assert first["toolConfig"] == second["toolConfig"] == third["input"]["converse"]["toolConfig"]
    assert first["toolConfig"] == wire(tools=tools)["toolConfig"]
    assert [each["toolSpec"]["name"] for each in first["toolConfig"]["tools"]] == ["weather", "current_time"]


def test_tools_of_the_client_count_where_a_call_has_none() -> None:
    """Defaults may hold tools and functions, too."""
    client = BedrockClient(
        region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret"), settings={"tools": [weather]}
    )
    assert client.prepare(CLAUDE, "Hello").to_wire()["toolConfig"] == wire(tools=[weather])["toolConfig"]


class Shelf:
    """Has tools that need an object."""

    @tool
    def count(self, what: str) -> int:
        """Count."""
        return len(what)

    def plain(self, what: str) -> int:
        """Count, too."""
        return len(what)


@pytest.mark.parametrize(
    ("tools", "path"),
    [
        (weather, "toolConfig.tools"),
        (current_time, "toolConfig.tools"),
        ("weather", "toolConfig.tools"),
        ({"toolSpec": {}}, "toolConfig.tools"),
        ([BaseModel], "toolConfig.tools[0]"),
        ([weather, Finder], "toolConfig.tools[1]"),
        ([weather, Shelf.count], "toolConfig.tools[1]"),
        ([Shelf.plain], "toolConfig.tools[0]"),
        (["weather"], "toolConfig.tools[0]"),
    ],
)
def test_what_is_no_list_of_tools_is_refused(tools: Any, path: str) -> None:  # noqa: ANN401
    """With the place, and before anything is sent."""
    with pytest.raises(InvalidRequestError) as raised:
        wire(tools=tools)
    assert raised.value.path == path


def test_a_set_of_tools_knows_its_functions() -> None:
    """Those that can be run here by their names, those that only the caller can run, and what the model is told."""
    spec = ToolSpec(name="typed", input_schema=ToolInputSchema(json={"type": "object"}))
    read = ToolSet.of(
        [weather, current_time, spec, {"toolSpec": {"name": "as_dict"}}, SystemTool(name="nova_grounding")]
    )
    assert list(read.functions) == ["weather", "current_time"]
    assert read.functions["weather"] is weather
    assert read.declared == {"typed", "as_dict"}
    again = ToolSet.of(read.definitions)
    assert again.functions == read.functions  # a function is made a tool once
    assert ToolSet.of(ToolConfig(tools=[spec])).declared == {"typed"}


@pytest.mark.parametrize(
    ("given", "form", "schema"),
    [
        ({"name": "weather", "input_schema": {}}, "in Anthropic's form", '{"json": tool["input_schema"]}'),
        (
            {"type": "function", "function": {"name": "weather", "parameters": {}}},
            "in OpenAI's form",
            '{"json": tool["function"]["parameters"]}',
        ),
        (
            {"type": "function", "name": "weather", "parameters": {}, "strict": True},
            "in OpenAI's form",
            '{"json": tool["parameters"]}',
        ),
        ({"name": "weather", "inputSchema": {"json": {}}}, "without 'toolSpec' around it", 'tool["inputSchema"]'),
        ({"name": "weather", "inputSchema": {}}, "without 'toolSpec' around it", '{"json": tool["inputSchema"]}'),
    ],
)
def test_a_tool_in_the_form_of_another_api_is_shown_in_the_service_s(
    given: dict[str, Any], form: str, schema: str
) -> None:
    """Whose form it is, and the toolSpec that the same tool reads as; for a request as for the loop of tools."""
    reads: list[Callable[[object], object]] = [lambda tools: wire(tools=tools), ToolSet.of]
    for read in reads:
        with pytest.raises(InvalidRequestError, match=rf"^toolConfig\.tools\[1\] is a tool {form}\.") as caught:
            read([weather, given])
        assert caught.value.path == "toolConfig.tools[1]"
        shown = f'{{"toolSpec": {{"name": \'weather\', "description": "...", "inputSchema": {schema}}}}}'
        assert f"Write {shown}" in str(caught.value)
        written = eval(shown, {"tool": given})  # noqa: S307 - the text of the hint is Python
        assert ToolSpec.from_dict(written).name == "weather"


# -- the choice


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ("auto", {"auto": {}}),
        ("any", {"any": {}}),
        ("weather", {"tool": {"name": "weather"}}),
        (weather, {"tool": {"name": "weather"}}),
        (current_time, {"tool": {"name": "current_time"}}),
        ({"tool": {"name": "auto"}}, {"tool": {"name": "auto"}}),  # a tool of such a name
        ({"any": {}}, {"any": {}}),
        (ToolChoice(any=AnyToolChoice()), {"any": {}}),
        (None, None),
    ],
)
def test_the_choice_in_all_forms(choice: Any, made: dict[str, Any] | None) -> None:  # noqa: ANN401
    """A word, a name, the tool itself, the wire's object, or a typed one; with a list and with a ToolConfig."""
    tools: list[Any] = [weather, current_time, Tool(weather.function, name="auto")]
    assert wire(tools=tools, tool_choice=choice)["toolConfig"].get("toolChoice") == made
    config = ToolConfig(tools=[weather.spec, Tool(current_time).spec, tools[2].spec])
    assert wire(tools=config, tool_choice=choice)["toolConfig"].get("toolChoice") == made
    assert forces_a_tool(choice) == (made is not None and "auto" not in made)


@pytest.mark.parametrize(
    ("choice", "hint"),
    [
        ("wether", "Did you mean 'weather'?"),
        ("required", "the name of a tool: nova_grounding, weather."),
        (current_time, "the name of a tool"),
        ({"tool": {"name": "Weather"}}, "Did you mean 'weather'?"),
        (ToolChoice(tool=SpecificToolChoice(name="any")), "Did you mean 'any'?"),
    ],
)
def test_a_choice_of_a_tool_that_is_not_there_is_refused(choice: Any, hint: str) -> None:  # noqa: ANN401
    """With the nearest name, or with all that may be chosen: words of other libraries are no names of tools."""
    grounding = SystemTool(name="nova_grounding")
    for tools in ([weather, grounding], ToolConfig(tools=[weather.spec, grounding])):
        with pytest.raises(InvalidRequestError) as raised:
            wire(tools=tools, tool_choice=choice)
        assert raised.value.path == "tool_choice"
        assert hint in str(raised.value)


def test_a_tool_of_a_new_kind_may_be_chosen() -> None:
    """Of what this version does not know, nobody can say how it is called."""
    new = {"remoteTool": {"server": "x"}}
    for each in (new, UnknownBlock(raw=new)):
        made = wire(tools=[weather, each], tool_choice="there")["toolConfig"]
        assert made["toolChoice"] == {"tool": {"name": "there"}}


def test_no_tools_are_no_tools() -> None:
    """An empty list, which the service refuses, leaves them out: those of the client, too."""
    assert "toolConfig" not in wire(tools=[])
    client = BedrockClient(region="us-east-1", settings={"tools": [weather]})
    assert client.prepare(CLAUDE, "Hello", tools=()).tool_config is None


def test_a_choice_goes_before_that_of_a_config() -> None:
    """And without one that of the config stays."""
    config = ToolConfig(tools=[weather.spec], tool_choice=ToolChoice(auto=AutoToolChoice()))
    assert wire(tools=config)["toolConfig"]["toolChoice"] == {"auto": {}}
    assert wire(tools=config, tool_choice="any")["toolConfig"]["toolChoice"] == {"any": {}}
    with pytest.raises(InvalidRequestError, match="without tools"):
        wire(tool_choice="any")


HISTORY: Final[list[Any]] = [
    {"role": "user", "content": [{"text": "Weather?"}]},
    {"role": "assistant", "content": [{"toolUse": {"toolUseId": "u", "name": "weather", "input": {"city": "Rome"}}}]},
    {"role": "user", "content": [{"toolResult": {"toolUseId": "u", "content": [{"text": "Sunny."}]}}]},
]
NATIVE: Final = ModelProfile(source="a test", native_tool_choice=True)
PLAIN: Final = ModelProfile(source="a test")


def settled(profile: ModelProfile, messages: Any = "Hello", **settings: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the body after the choice has been settled for a model with these facts."""
    client, _ = client_of()
    asked = {name: value for name, value in settings.items() if name not in {"parallel_tools", "tool_choice"}}
    choice = settings.get("tool_choice")
    if choice != "none":
        asked["tool_choice"] = choice
    request = client.prepare(CLAUDE, messages, tools=[weather], normalize=False, **asked)
    return settle_tool_choice(request, settings, profile).to_wire()


def test_none_leaves_the_tools_out() -> None:
    """The service's choice has no such word; where the history needs the tools, Claude is told in its own."""
    assert "toolConfig" not in settled(PLAIN, tool_choice="none")
    assert "toolConfig" not in settled(PLAIN, HISTORY, tool_choice="none")
    assert "toolConfig" not in settled(NATIVE, tool_choice="none")
    kept = settled(NATIVE, HISTORY, tool_choice="none")
    assert kept["toolConfig"] == {"tools": [weather.spec.to_wire()]}
    assert kept["additionalModelRequestFields"] == {"tool_choice": {"type": "none"}}


def test_one_tool_at_a_time_for_models_that_can_be_told() -> None:
    """A type beside the service's own choice would be refused; what the caller has there is kept."""
    one = {"disable_parallel_tool_use": True}
    assert settled(NATIVE, parallel_tools=False)["additionalModelRequestFields"] == {
        "tool_choice": {"type": "auto", **one}
    }
    forced = settled(NATIVE, parallel_tools=False, tool_choice="any")
    assert forced["additionalModelRequestFields"] == {"tool_choice": one}
    fields = {"top_k": 5, "tool_choice": {"x": 1}}
    kept = settled(NATIVE, parallel_tools=False, tool_choice="any", additional_request_fields=fields)
    assert kept["additionalModelRequestFields"] == {"top_k": 5, "tool_choice": {**one, "x": 1}}
    assert "additionalModelRequestFields" not in settled(NATIVE, parallel_tools=True)
    with pytest.raises(InvalidRequestError, match="parallel_tools=False"):
        settled(PLAIN, parallel_tools=False)


def test_a_choice_in_the_words_of_one_model_is_not_sent_to_another() -> None:
    """Where another model answers instead, what it does not know is left out, and reported."""
    client, _ = client_of()
    fields = {"top_k": 5}
    request = client.prepare(
        CLAUDE, HISTORY, tools=[weather], parallel_tools=False, additional_request_fields=fields, normalize=False
    )
    made, changes = resettle_tool_choice(request, {"parallel_tools": False}, was=NATIVE, profile=PLAIN)
    assert made.additional_model_request_fields == fields
    assert made.tool_config == request.tool_config
    assert [each.rule for each in changes] == ["parallel_tools"]
    none = client.prepare(CLAUDE, HISTORY, tools=[weather], tool_choice="none", normalize=False)
    made, changes = resettle_tool_choice(none, {"tool_choice": "none"}, was=NATIVE, profile=PLAIN)
    assert made.to_wire().keys() == {"messages"}
    assert [each.rule for each in changes] == ["tool_choice"]
    for was, profile, settings in (
        (NATIVE, NATIVE, {"parallel_tools": False}),
        (PLAIN, NATIVE, {"parallel_tools": False}),
        (NATIVE, PLAIN, {}),
    ):
        assert resettle_tool_choice(request, settings, was=was, profile=profile) == (request, ())


def test_the_facts_say_which_models_can_be_told() -> None:
    """Claude from 4.5 on; and the client asks the facts."""
    assert find_profile("anthropic.claude-sonnet-4-5-20250929-v1:0").native_tool_choice
    assert find_profile("anthropic.claude-opus-5-5-20261001-v1:0").native_tool_choice
    assert not find_profile("anthropic.claude-3-haiku-20240307-v1:0").native_tool_choice
    assert not find_profile("amazon.nova-2-lite-v1:0").native_tool_choice
    made = wire(tools=[weather], parallel_tools=False)
    assert made["additionalModelRequestFields"]["tool_choice"]["disable_parallel_tool_use"] is True
    with pytest.raises(InvalidRequestError, match="parallel_tools"):
        wire(model=NOVA, tools=[weather], parallel_tools=False)
    assert "toolConfig" not in wire(tools=[weather], tool_choice="none")
    assert "toolConfig" not in wire(tool_choice="none", parallel_tools=False)


# -- results


class Colour(Enum):
    """A colour."""

    RED = "red"


class Place(BaseModel):
    """A place."""

    city: str
    since: date


@dataclass
class Point:
    """A point."""

    x: int
    y: float


USE: Final = ToolUseBlock(tool_use_id="u1", name="t", input={})
IMAGE: Final = ImageBlock(format="png", source=MediaSource(bytes=b"\x89PNG\r\n\x1a\n"))
DOCUMENT: Final = DocumentBlock(name="report", format="pdf", source=DocumentSource(bytes=b"%PDF"))
SEARCH: Final = SearchResultBlock(source="s", title="t", content=[])
RESULT: Final = ToolResultBlock(tool_use_id="another", content=[TextBlock(text="x")], status="success")


PAGES: Final[dict[str, Any]] = {"status": "success", "content": [{"id": 1, "title": "Home"}]}


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("text", [TextBlock(text="text")]),
        ("", [TextBlock(text="(no output)")]),
        (None, [TextBlock(text="(no output)")]),
        ([], [TextBlock(text="[]")]),
        ({}, [JsonBlock(json={})]),
        ({"a": 1}, [JsonBlock(json={"a": 1})]),
        ({1: "a"}, [JsonBlock(json={"1": "a"})]),
        (Place(city="Rome", since=date(2026, 11, 21)), [JsonBlock(json={"city": "Rome", "since": "2026-11-21"})]),
        (Point(1, 2.5), [JsonBlock(json={"x": 1, "y": 2.5})]),
        ({"at": Point(1, 2)}, [JsonBlock(json={"at": {"x": 1, "y": 2}})]),
        ([1, "a"], [TextBlock(text='[1, "a"]')]),
        ((Point(1, 2),), [TextBlock(text='[{"x": 1, "y": 2}]')]),
        (1.5, [TextBlock(text="1.5")]),
        (True, [TextBlock(text="true")]),
        (float("nan"), [TextBlock(text="NaN")]),
        ({"a": float("inf")}, [JsonBlock(json={"a": "Infinity"})]),
        (Colour.RED, [TextBlock(text="red")]),
        (Decimal("1.10"), [TextBlock(text="1.10")]),
        (date(2026, 11, 21), [TextBlock(text="2026-11-21")]),
        ("Zürich", [TextBlock(text="Zürich")]),
        (["Zürich"], [TextBlock(text='["Zürich"]')]),
        (IMAGE, [IMAGE]),
        (["A chart:", IMAGE, {"n": 1}], [TextBlock(text="A chart:"), IMAGE, JsonBlock(json={"n": 1})]),
        ((DOCUMENT, SEARCH), [DOCUMENT, SEARCH]),
        ([IMAGE, None], [IMAGE]),
        (UnknownBlock(raw={"new": 1}), [UnknownBlock(raw={"new": 1})]),
        (ToolResult("x"), [TextBlock(text="x")]),
        (ToolResult(), [TextBlock(text="(no output)")]),
        ({"status": "fine", "content": []}, [JsonBlock(json={"status": "fine", "content": []})]),
        ({"content": [{"text": "a"}]}, [JsonBlock(json={"content": [{"text": "a"}]})]),
        (PAGES, [JsonBlock(json=PAGES)]),  # the answer of some service, whose content is no blocks
    ],
)
def test_what_a_tool_returns_is_a_result(value: object, content: list[Any]) -> None:
    """Text, JSON, media; the service takes objects only as JSON, and no result without content."""
    assert result_block(USE, value) == ToolResultBlock(tool_use_id="u1", content=content)
    failed = error_block(USE, value)
    assert (failed.status, failed.content) == ("error", content)


@pytest.mark.parametrize(
    "value",
    [
        ToolResult("x", status="error"),
        ToolResultBlock(tool_use_id="another", content=[TextBlock(text="x")], status="error"),
        {"status": "error", "content": [{"text": "x"}]},
        {"toolUseId": "another", "status": "error", "content": [{"text": "x"}]},
    ],
)
def test_a_result_may_have_a_status(value: object) -> None:
    """In our form, as a block, and in the form of boto3 and Strands; the id is always that of the use."""
    made = result_block(USE, value)
    assert made == ToolResultBlock(tool_use_id="u1", content=[TextBlock(text="x")], status="error")
    assert result_block(USE, RESULT).status == "success"


@pytest.mark.parametrize(
    "value", [b"bytes", bytearray(b"x"), object(), {"a": object()}, [lambda: None], ValueError("x")]
)
def test_what_is_no_result_is_refused(value: object) -> None:
    """Bytes say nothing of what they are, and JSON cannot hold the rest."""
    with pytest.raises(TypeError):
        result_block(USE, value)


@given(JSON_VALUES)
def test_any_json_is_a_result_that_says_the_same(value: Any) -> None:  # noqa: ANN401
    """As JSON or as its text, whatever it is."""
    (block,) = result_block(USE, value).content
    if isinstance(block, JsonBlock):
        assert block.json_ == value
    else:
        assert isinstance(block, TextBlock)
        said = block.text
        assert said == value if isinstance(value, str) and value else value in (None, "") or json.loads(said) == value


# -- what an answer asks for


def answer(content: list[Any], stop_reason: str) -> ConverseResponse:
    """Return an answer with this content."""
    return ConverseResponse.from_wire(
        {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop_reason}
    )


def use(name: str, value: object = None, **members: object) -> dict[str, Any]:
    """Return a tool use."""
    return {"toolUse": {"toolUseId": name, "name": name, "input": {} if value is None else value, **members}}


@pytest.mark.parametrize(
    ("content", "stop_reason", "broken"),
    [
        ([use("a"), use("b")], "tool_use", []),
        ([use("a", "{"), use("b")], "tool_use", ["a"]),
        ([use("a"), use("b")], "max_tokens", ["b"]),
        ([use("a"), {"text": "and"}], "max_tokens", []),
        ([use("a", []), use("b")], "model_context_window_exceeded", ["a", "b"]),
        ([use("a"), use("b")], "malformed_tool_use", ["a", "b"]),
        ([use("a"), use("b")], "malformed_model_output", ["b"]),
        ([{"text": "cut"}], "max_tokens", []),
        ([], "max_tokens", []),
        ([use("a", "{", type="server_tool_use")], "max_tokens", []),
    ],
)
def test_an_answer_says_which_tool_uses_are_broken(content: list[Any], stop_reason: str, broken: list[str]) -> None:
    """Those whose input is no object, and the last one of an answer that was cut off."""
    assert [each.name for each in answer(content, stop_reason).broken_tool_uses] == broken


def test_recorded_answers_that_were_cut_off() -> None:
    """100 tokens end in a tool use with input that may be complete, or empty although the tool wants arguments."""
    (cut,) = [
        each
        for each in exchanges("converse", 200)
        if "stop:max_tokens" in each.features and "tool_use_response" in each.features
    ]
    response = ConverseResponse.from_wire(cut.response_body)
    assert response.usage.output_tokens == 100
    assert response.broken_tool_uses == response.tool_uses != []
    native = exchange("invoke__anthropic.claude-3.x__200__67f702c4ff66be5a").response_json
    assert (native["stop_reason"], native["content"][-1]["input"]) == ("max_tokens", {})


def test_no_recorded_tool_use_of_a_complete_answer_is_broken() -> None:
    """Whole and streamed: what a model finished may be run."""
    seen = 0
    for each in exchanges("converse", 200) + exchanges("converse-stream", 200):
        if "stop:tool_use" in each.features:
            response = response_of(each)
            assert response.broken_tool_uses == []
            seen += len(response.tool_uses)
    assert seen > 100


def response_of(recorded: Exchange) -> ConverseResponse:
    """Return the answer of a recorded exchange."""
    if recorded.kind == "converse":
        return ConverseResponse.from_wire(recorded.response_body)
    return fold(events_of(recorded))


def events_of(recorded: Exchange) -> list[Event]:
    """Return the events of a recorded stream."""
    decoder = ConverseEventDecoder()
    return [*decoder.receive(recorded.response_body), *decoder.eof()]


# -- tools of the service


SERVER: Final = [each for each in exchanges() if "server_tool_use" in each.features]


@pytest.mark.parametrize("recorded", SERVER, ids=str)
def test_recorded_tools_of_the_service(recorded: Exchange) -> None:
    """The code interpreter's use and result are found, whole and streamed, and are none of the caller's."""
    response = response_of(recorded)
    (ran,) = response.server_tool_uses
    (gave,) = response.server_tool_results
    assert ran.name == "nova_code_interpreter"
    assert gave.tool_use_id == ran.tool_use_id
    assert isinstance(block := gave.content[0], JsonBlock)
    assert isinstance(block.json_, dict)
    assert block.json_["stdOut"] in {"7006652", "14013304"}
    assert [each.name for each in response.tool_uses] == ["final_result"]


async def test_a_recorded_history_with_tools_of_the_service_is_sent_as_recorded() -> None:
    """System tools are defined by type or dict; their uses and results come back as they came, the normaliser's too."""
    recorded = exchange("converse__amazon.nova-2__200__359e3f8add374a54")
    body = recorded.request_json
    first = exchange("converse__amazon.nova-2__200__9c7a79b9c01dc59c")
    reply = ConverseResponse.from_wire(first.response_body)
    client, transport = client_of(CannedResponse([recorded.response_body]))
    messages = [body["messages"][0], reply.message, body["messages"][2]]
    tools = [body["toolConfig"]["tools"][0], SystemTool(name="nova_code_interpreter")]
    again = await client.converse(
        recorded.model_id,
        messages,
        tools=tools,
        tool_choice="any",
        system=[each["text"] for each in body["system"]],
    )
    sent = json.loads(transport.requests[0].body)
    # What the recorder's program did not send back is the type of its own tool, which no model file knows.
    assert sent["messages"][1]["content"][-1]["toolUse"].pop("type") == "tool_use"
    result = sent["messages"][1]["content"][1]["toolResult"]
    if "text" in (said := result["content"][0]):  # Nova is told JSON as text
        result["content"] = [{"json": json.loads(said["text"])}]
    assert sent["messages"] == body["messages"]
    assert sent["toolConfig"] == body["toolConfig"]
    assert again.server_tool_uses[0].input == {"snippet": "7006652 * 2"}


def test_recorded_citations_are_found() -> None:
    """Whatever they cite: pages, characters, search results."""
    seen = 0
    for each in exchanges("converse", 200) + exchanges("converse-stream", 200):
        if "citations_response" in each.features:
            citations = response_of(each).citations
            assert citations
            seen += len(citations)
    assert seen > 10
    assert answer([{"text": "none"}], "end_turn").citations == []


def test_citations_of_the_web() -> None:
    """As grounding gives them: between the text, with the page and its domain."""
    location = {"web": {"url": "https://example.com/a", "domain": "example.com"}}
    content = [
        use("nova_grounding", type="server_tool_use"),
        {"citationsContent": {"content": [{"text": "It rained."}], "citations": [{"location": location}]}},
    ]
    response = answer(content, "end_turn")
    (citation,) = response.citations
    assert citation.location is not None
    assert citation.location.web is not None
    assert citation.location.web.url == "https://example.com/a"
    assert (response.text, response.tool_uses) == ("It rained.", [])


# -- the input while it comes


def delta(piece: str, index: int = 0) -> Event:
    """Return a piece of input."""
    return event_from_wire({"contentBlockDelta": {"contentBlockIndex": index, "delta": {"toolUse": {"input": piece}}}})


def start(name: str = "weather", index: int = 0, **members: str) -> Event:
    """Return the beginning of a tool use."""
    begun = {"toolUse": {"toolUseId": "u", "name": name, **members}}
    return event_from_wire({"contentBlockStart": {"contentBlockIndex": index, "start": begun}})


def stop(index: int = 0) -> Event:
    """Return the end of a block."""
    return event_from_wire({"contentBlockStop": {"contentBlockIndex": index}})


def grown(*events: object) -> list[tuple[dict[str, Any], str]]:
    """Return the inputs that events bring, with their status."""
    inputs = ToolInputs()
    return [(found.input, found.status) for each in events if (found := inputs.add(each)) is not None]


def test_input_grows_with_its_pieces() -> None:
    """Texts grow, members appear when they are known, and the end has the whole."""
    assert grown(start(), delta('{"city": "Pa'), delta('ris", "da'), delta('ys": 1'), delta("2}"), stop()) == [
        ({}, "growing"),
        ({"city": "Pa"}, "growing"),
        ({"city": "Paris"}, "growing"),
        ({"city": "Paris", "days": 12}, "growing"),
        ({"city": "Paris", "days": 12}, "complete"),
    ]


def test_input_that_was_cut_off_is_invalid() -> None:
    """The end says so; what there was is kept for display. Without any piece there are no arguments."""
    assert grown(start(), delta('{"city": "Pa'), stop())[-1] == ({"city": "Pa"}, "invalid")
    assert grown(start(), delta('["Paris"]'), stop())[-1] == ({}, "invalid")
    assert grown(start(), stop())[-1] == ({}, "complete")


def test_only_tool_uses_are_followed() -> None:
    """Text, other blocks and what is no event are passed over; tools of the service are marked."""
    text = event_from_wire({"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "a"}}})
    assert grown(text, stop(), "no event", None, delta('{"a": 1}')) == []
    inputs = ToolInputs()
    found = inputs.add(start("nova_grounding", 2, type="server_tool_use"))
    assert found == PartialToolInput(tool_use_id="u", name="nova_grounding", index=2, input={}, type="server_tool_use")


@given(json_objects(), st.lists(st.integers(1, 20), min_size=1, max_size=8))
def test_any_input_in_any_pieces_ends_as_it_is(value: dict[str, Any], sizes: list[int]) -> None:
    """However it is cut, the last input is the whole, and names never vanish while it grows."""
    text = json.dumps(value)
    pieces: list[str] = []
    at = 0
    while at < len(text):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(text[at : at + size])
        at += size
    found = grown(start(), *map(delta, pieces), stop())
    assert found[-1] == (value, "complete")
    known: set[str] = set()
    for growing, _ in found:
        assert known <= growing.keys()
        known |= growing.keys()


@pytest.mark.parametrize(
    "recorded", [each for each in exchanges("converse-stream", 200) if "tool_use_response" in each.features], ids=str
)
def test_recorded_inputs_grow_to_what_the_answer_has(recorded: Exchange) -> None:
    """The complete inputs are those of the folded answer, in their order."""
    events = events_of(recorded)
    inputs = ToolInputs()
    found = [each for event in events if (each := inputs.add(event)) is not None]
    response = fold(events)
    complete = [(each.name, each.input) for each in found if each.status == "complete"]
    assert complete == [(each.name, each.input) for each in (*response.server_tool_uses, *response.tool_uses)]


async def test_a_stream_hands_out_growing_inputs() -> None:
    """`tool_inputs` of a stream, and the same helper beside its events."""
    body = stream_bytes(tool_use_events("weather", {"city": "Paris", "days": 3}, text="Let me see."))
    client, _ = client_of(CannedResponse([body], headers=STREAM), CannedResponse([body], headers=STREAM))
    found = [each async for each in client.stream(CLAUDE, "Hello").tool_inputs]
    assert [found[0].status, found[-1].status] == ["growing", "complete"]
    assert (found[-1].name, found[-1].input) == ("weather", {"city": "Paris", "days": 3})
    assert len(found) > 3
    inputs = ToolInputs()
    beside = [each async for event in client.stream(CLAUDE, "Hello") if (each := inputs.add(event)) is not None]
    assert beside == found


# -- tools made of functions


def test_a_tool_of_a_class_is_bound_to_its_object() -> None:
    """With the settings of the decorator; strictness is not lost on the way."""

    class Shop:
        @tool(name="stock", description="Count.", strict=True, timeout_s=2)
        async def count(self, item: str) -> str:
            """Not this."""
            return item

    bound = Shop().count
    assert isinstance(bound, Tool)
    assert (bound.name, bound.strict, bound.timeout_s, bound.is_async) == ("stock", True, 2, True)
    assert bound.spec.description == "Count."
    assert list(bound.schema["properties"]) == ["item"]
    assert isinstance(Shop.count, Tool)


def test_a_tool_in_a_class_that_is_no_method_stays_what_it_is() -> None:
    """Objects that can be called and static methods take no object, in a class as elsewhere."""

    class Shop:
        finder = Tool(Finder())

        @tool
        @staticmethod
        def plain(item: str) -> str:
            """Return an item."""
            return item

    shop: Any = Shop()  # checkers take every callable in a class for a method
    assert shop.finder is Shop.finder
    assert shop.finder("pen") == shop.plain("pen") == "pen"
    assert list(shop.plain.schema["properties"]) == ["item"]


def test_a_ready_request_takes_no_tools() -> None:
    """It is sent as it is; only the loop takes the functions of what it declares."""
    client, _ = client_of()
    request = ConverseRequest.from_dict({"modelId": CLAUDE, "messages": HISTORY})
    with pytest.raises(InvalidRequestError, match="tools together with a ready request"):
        client.stream(request, tools=[weather])
