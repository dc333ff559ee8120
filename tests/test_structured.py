"""Outputs of a type: the ways to ask for them, and reading them from what models really say."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

import pytest
from corpus import Exchange, exchange, exchanges
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel
from strategies import json_objects
from typing_extensions import TypedDict

from bedrock_async.errors import (
    InputTooLongError,
    InvalidRequestError,
    OutputError,
    OutputInvalidError,
    OutputRefusedError,
    OutputToolUseError,
    OutputTruncatedError,
    ServiceError,
    ThrottlingError,
    ValidationError,
)
from bedrock_async.families.profiles import UNKNOWN, find_profile
from bedrock_async.features.json_schemas import object_schema, schema_faults, strict_obstacle, strict_schema
from bedrock_async.features.structured import (
    Asked,
    OutputFaults,
    OutputMode,
    OutputType,
    PartialOutput,
    Rung,
    asked,
    documents_in,
    is_about_schema,
    ladder,
    next_rung,
    repair,
)
from bedrock_async.types import ConverseRequest, ConverseResponse

SONNET: Final = find_profile("anthropic.claude-sonnet-4-5-20250929-v1:0")
NOVA: Final = find_profile("amazon.nova-lite-v1:0")
LLAMA: Final = find_profile("meta.llama3-3-70b-instruct-v1:0")


class City(BaseModel):
    """Information about a city."""

    city: str
    country: str
    population: Annotated[int, Field(ge=1, le=100_000_000)]
    founded: date | None = None


@dataclass
class Point:
    """A point."""

    x: int
    y: int


class Movie(TypedDict):
    """A movie."""

    title: str


class Node(BaseModel):
    """Refers to itself."""

    children: list[Node] = []


NATIVE: Final = Rung("native")
STRICT: Final = Rung("tool", strict=True)
TOOL: Final = Rung("tool")
PROMPT: Final = Rung("prompt")
RUNGS: Final = {"native": NATIVE, "tool": TOOL, "prompt": PROMPT}

PARIS: Final[dict[str, Any]] = {"city": "Paris", "country": "France", "population": 2_161_000}
SCHEMA: Final[dict[str, Any]] = {
    "title": "City info!",
    "type": "object",
    "properties": {"city": {"type": "string"}, "size": {"enum": ["big", "small"]}},
    "required": ["city"],
    "additionalProperties": False,
}


def request(**members: object) -> ConverseRequest:
    """Return a request with one question."""
    return ConverseRequest.from_dict({"messages": [{"role": "user", "content": [{"text": "Paris?"}]}], **members})


def answer(*content: object, stop_reason: str = "end_turn") -> ConverseResponse:
    """Return an answer with this content; text may stand for a text block."""
    blocks = [{"text": each} if isinstance(each, str) else each for each in content]
    message = {"role": "assistant", "content": blocks}
    return ConverseResponse.from_dict({"output": {"message": message}, "stopReason": stop_reason})


def use(name: str, value: object) -> dict[str, Any]:
    """Return a tool use."""
    return {"toolUse": {"toolUseId": f"id-{name}", "name": name, "input": value}}


def read_output(
    response: ConverseResponse,
    output: OutputType[Any],
    mode: OutputMode,
    *,
    tool: str | None = None,
    others: frozenset[str] = frozenset(),
) -> object:
    """Read an answer to a question that was asked in that mode; the tool has the name of the output by default."""
    name = (tool or output.name) if mode == "tool" else None
    return Asked(request(), output, RUNGS[mode], name, others).read(response)


@pytest.mark.parametrize(
    ("kind", "name", "value", "read"),
    [
        (City, "City", PARIS, City(**PARIS)),
        (Point, "Point", {"x": 1, "y": 2}, Point(1, 2)),
        (Movie, "Movie", {"title": "Stalker"}, {"title": "Stalker"}),
        (SCHEMA, "City_info", {"city": "Paris", "size": "big"}, {"city": "Paris", "size": "big"}),
        (list[int], "output", [1, 2], [1, 2]),
        (Literal["a", "b"], "output", "a", "a"),
    ],
)
@pytest.mark.parametrize("mode", ["native", "tool", "prompt"])
def test_any_type_comes_back_by_any_way(kind: Any, name: str, value: object, read: object, mode: OutputMode) -> None:  # noqa: ANN401
    """Models, dataclasses, TypedDicts, schemas and plain types: what was asked for is what is read."""
    output = OutputType.of(kind)
    assert output.name == name
    sent = asked(request(), output, RUNGS[mode], SONNET).request.to_dict()
    schema: dict[str, Any]
    if mode == "native":
        schema = json.loads(sent["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"])
    elif mode == "tool":
        schema = sent["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"]
        assert sent["toolConfig"]["toolChoice"] == {"tool": {"name": name}}
    else:
        schema = json.loads(sent["system"][-1]["text"].partition("\n")[2])
    whole = mode == "prompt" or isinstance(value, dict)
    document: Any = value if whole else {"value": value}  # pyright: ignore[reportUnknownVariableType]
    assert schema_faults(document, schema) == []
    said = answer(use(name, document) if mode == "tool" else json.dumps(document))
    assert read_output(said, output, mode) == read


def test_a_type_without_a_schema_is_refused() -> None:
    """What pydantic cannot describe is an error with the next step, before anything is sent."""
    with pytest.raises(InvalidRequestError, match="has no JSON schema"):
        OutputType.of(object.__init__)


# -- schemas


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"properties": ["a"]}, "schema.properties is a list, not an object"),
        ({"properties": {"a": {"anyOf": 3}}}, "schema.properties.a.anyOf is an int, not a list"),
        ({"items": {"enum": "a"}}, "schema.items.enum is a str, not a list"),
        ({"oneOf": [True, 5]}, "schema.oneOf[1] is an int, not an object"),
        ({"required": ["a", ["b"]]}, "schema.required[1] is a list, not text"),
        ({"type": ["string", 5]}, "schema.type[1] is an int, not text"),
        ({"description": 5}, "schema.description is an int, not text"),
        ({"$ref": 5}, "schema.$ref is an int, not text"),
        ({"default": {1, 2}}, "contains a value that JSON cannot represent"),
    ],
)
def test_what_is_no_schema_is_refused_with_its_place(schema: dict[str, Any], fault: str) -> None:
    """When it is given, and not somewhere inside when an answer comes."""
    with pytest.raises(InvalidRequestError) as failure:
        OutputType.of(schema)
    assert fault in str(failure.value)
    assert failure.value.path == "output_type"


def test_a_schema_may_refer_to_itself_as_a_whole() -> None:
    """It cannot be strict, and values are held to it at every depth."""
    tree: dict[str, Any] = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}
    assert OutputType.of(tree).schema is tree
    assert strict_obstacle(tree) is not None
    value: dict[str, Any] = {"children": [{"children": [{}]}]}
    assert schema_faults(value, tree) == []
    assert schema_faults({"children": [{"children": 5}]}, tree) == ["children[0].children: is an int, not array"]


def test_strict_schemas_are_closed_and_tell_what_they_cannot_hold() -> None:
    """Objects are closed, bounds and lengths become words, alternatives stay; nothing is changed in place."""
    schema = OutputType.of(City).schema
    before = json.dumps(schema)
    made = strict_schema(schema)
    assert made["additionalProperties"] is False
    assert made["properties"]["population"]["description"] == "maximum: 100000000, minimum: 1"
    assert "minimum" not in made["properties"]["population"]
    assert made["properties"]["founded"]["anyOf"] == [{"type": "string", "format": "date"}, {"type": "null"}]
    assert json.dumps(schema) == before


@pytest.mark.parametrize(
    ("kind", "obstacle"),
    [
        (City, None),
        (list[City], None),
        (Node, "schema.children[].children[] refers to itself"),
        (dict[str, int], "schema is an object with members of any name"),
        (list[dict[str, int]], "schema[] is an object with members of any name"),
    ],
)
def test_what_cannot_be_strict_is_found(kind: Any, obstacle: str | None) -> None:  # noqa: ANN401
    """Recursion and objects with free names are no strict schema, and the path says where they are."""
    assert strict_obstacle(OutputType.of(kind).schema) == obstacle


def test_tools_get_an_object_at_the_top() -> None:
    """Lists and scalars are wrapped, with their definitions; a recursive model is an object already."""
    schema, wrapped = object_schema(OutputType.of(list[City]).schema)
    assert wrapped
    assert schema["properties"]["value"]["items"] == {"$ref": "#/$defs/City"}
    assert "City" in schema["$defs"]
    schema, wrapped = object_schema(OutputType.of(Node).schema)
    assert (schema["type"], wrapped) == ("object", False)
    assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        ({"city": "Paris"}, []),
        ({}, ["city: is missing"]),
        ({"city": 1}, ["city: is an int, not string"]),
        ({"city": "Paris", "size": "huge"}, ["size: is not one of the 2 allowed values"]),
        ({"city": "Paris", "x": 1}, ["x: is not a member of this object"]),
        ([], ["the output: is a list, not object"]),
    ],
)
def test_values_are_held_to_a_schema_of_the_user(value: object, faults: list[str]) -> None:
    """A JSON schema is checked without another library: what is wrong is named by its path, never by its value."""
    assert schema_faults(value, SCHEMA) == faults


@given(json_objects())
@settings(max_examples=100)
def test_a_schema_of_nothing_takes_everything(value: dict[str, Any]) -> None:
    """Only what a schema says is held against a value."""
    assert schema_faults(value, {}) == []
    assert schema_faults(value, {"type": "object"}) == []


def test_schemas_that_are_true_or_false_are_schemas() -> None:
    """JSON Schema knows ``true`` (anything) and ``false`` (nothing) in the place of an object."""
    schema = {"type": "object", "properties": {"any": True, "none": False}}
    assert strict_schema(schema)["properties"] == {"any": True, "none": False}
    assert schema_faults({"any": [1]}, schema) == []
    assert schema_faults({"none": 1}, schema) == ["none: is not allowed"]


# -- choosing the way


@pytest.mark.parametrize(
    ("profile", "kind", "thinking", "expected"),
    [
        (SONNET, City, False, (NATIVE, STRICT, TOOL, PROMPT)),
        (SONNET, City, True, (NATIVE, PROMPT)),
        (SONNET, Node, False, (TOOL, PROMPT)),
        (NOVA, City, False, (TOOL, PROMPT)),
        (LLAMA, City, False, (PROMPT,)),
        (UNKNOWN, City, False, (TOOL, PROMPT)),
        (replace(UNKNOWN, tools=False), City, False, (PROMPT,)),
    ],
)
def test_the_ladder_follows_the_facts(
    profile: Any,  # noqa: ANN401
    kind: Any,  # noqa: ANN401
    thinking: bool,  # noqa: FBT001
    expected: tuple[Rung, ...],
) -> None:
    """A schema where the model takes it, a forced tool where it may be forced, a prompt always."""
    assert ladder(profile, OutputType.of(kind), thinking_request(thinking=thinking)) == expected


def thinking_request(*, thinking: bool) -> ConverseRequest:
    """Return a request that switches thinking on or off."""
    fields = {"thinking": {"type": "enabled", "budget_tokens": 1024} if thinking else {"type": "disabled"}}
    return request(additionalModelRequestFields=fields)


def test_a_mode_that_is_wanted_is_the_only_one() -> None:
    """Asked for explicitly, no other is tried; a misspelt one is refused."""
    output = OutputType.of(City)
    assert ladder(LLAMA, output, request(), wanted="native") == (NATIVE,)
    assert ladder(LLAMA, output, request(), wanted="tool") == (TOOL,)
    assert ladder(SONNET, output, request(), wanted="tool") == (STRICT, TOOL)
    with pytest.raises(InvalidRequestError, match="native, tool, prompt"):
        ladder(LLAMA, output, request(), wanted="grammar")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def refusal(kind: type[ServiceError], message: str) -> ServiceError:
    """Return an error of the service."""
    return kind(message, code=kind.__name__, status=400)


@pytest.mark.parametrize(
    ("tried", "error", "expected"),
    [
        (NATIVE, refusal(ValidationError, "The model does not support outputConfig.textFormat"), STRICT),
        (NATIVE, refusal(ValidationError, "Schema is too complex for compilation"), STRICT),
        (STRICT, refusal(ValidationError, "tools.0.custom.strict: Extra inputs are not permitted"), TOOL),
        (STRICT, refusal(ValidationError, "This model does not support toolChoice"), PROMPT),
        (TOOL, refusal(ValidationError, "toolChoice.any is not supported by this model"), PROMPT),
        (NATIVE, InvalidRequestError("cannot express this", path="output_config.text_format"), STRICT),
        (TOOL, InvalidRequestError("cannot express this", path="tool_config.tool_choice"), PROMPT),
        (NATIVE, InvalidRequestError("cannot express images", path="messages[0].content[0]"), None),
        (NATIVE, refusal(ValidationError, "The provided model identifier is invalid."), None),
        (NATIVE, refusal(ThrottlingError, "outputConfig"), None),
        (TOOL, refusal(InputTooLongError, "tool input is too long"), None),
        (PROMPT, refusal(ValidationError, "schema"), None),
        (NATIVE, ValueError("outputConfig"), None),
    ],
)
def test_only_a_refusal_of_the_way_itself_leads_to_the_next(
    tried: Rung, error: Exception, expected: Rung | None
) -> None:
    """The ladder goes down where the service or the provider refused what the way needs, and for nothing else."""
    assert next_rung(tried, (NATIVE, STRICT, TOOL, PROMPT), error) == expected
    assert next_rung(tried, (tried,), error) is None


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Schema is too complex for compilation", True),
        ("Invalid grammar", True),
        ("outputConfig.textFormat.structure.jsonSchema is not supported", False),
        ("This model does not support toolChoice", False),
    ],
)
def test_a_refusal_of_one_schema_is_told_from_one_of_all(message: str, expected: bool) -> None:  # noqa: FBT001
    """A schema that cannot be compiled says nothing about the next one."""
    assert is_about_schema(refusal(ValidationError, message)) is expected
    assert not is_about_schema(ValueError(message))


# -- asking


def test_what_the_request_had_stays() -> None:
    """Effort, other tools and the system prompt are kept; with other tools some tool is forced, not this one."""
    own = {"toolSpec": {"name": "City", "inputSchema": {"json": {"type": "object"}}}}
    before = request(system=[{"text": "Be brief."}], outputConfig={"effort": "low"}, toolConfig={"tools": [own]})
    output = OutputType.of(City)
    assert asked(before, output, NATIVE, SONNET).request.to_dict()["outputConfig"]["effort"] == "low"
    assert asked(before, output, PROMPT, SONNET).request.to_dict()["system"][0] == {"text": "Be brief."}
    strict = asked(before, output, STRICT, SONNET)
    config = strict.request.to_dict()["toolConfig"]
    assert [tool["toolSpec"]["name"] for tool in config["tools"]] == ["City", "City_out"]
    assert (strict.tool, [*strict.others]) == ("City_out", ["City"])
    assert config["toolChoice"] == {"any": {}}
    assert config["tools"][1]["toolSpec"]["strict"] is True
    assert "strict" not in asked(before, output, TOOL, NOVA).request.to_dict()["toolConfig"]["tools"][1]["toolSpec"]


def test_a_tool_is_forced_only_where_it_can_be() -> None:
    """Asked for explicitly, a model that takes no forced tool is left to call it."""
    output = OutputType.of(City)
    assert "toolChoice" not in asked(request(), output, TOOL, LLAMA).request.to_dict()["toolConfig"]
    thinking = asked(thinking_request(thinking=True), output, TOOL, SONNET).request.to_dict()
    assert "toolChoice" not in thinking["toolConfig"]


def test_a_model_without_a_system_prompt_is_asked_in_the_last_message() -> None:
    """Where there is no place for instructions, they stand behind the question."""
    sent = asked(request(), OutputType.of(City), PROMPT, replace(UNKNOWN, system_prompts=False)).request.to_dict()
    assert "system" not in sent
    assert sent["messages"][0]["content"][0] == {"text": "Paris?"}
    assert "JSON schema" in sent["messages"][0]["content"][1]["text"]


def test_a_recorded_request_is_what_is_sent() -> None:
    """The mode `native` writes what the service took from others: the same schema, name and description."""
    recorded = exchange("converse__anthropic.claude-4+__200__555238d9b0b8ff2d").request_json["outputConfig"]
    kind = {
        "title": "CityInfo",
        "description": "Information about a city.",
        "type": "object",
        "properties": {"city": {"type": "string"}, "country": {"type": "string"}, "population": {"type": "integer"}},
        "required": ["city", "country", "population"],
    }
    ours = asked(request(), OutputType.of(kind), NATIVE, SONNET).request.to_dict()["outputConfig"]
    for config in (recorded, ours):
        definition = config["textFormat"]["structure"]["jsonSchema"]
        definition["schema"] = json.loads(definition["schema"])
    for name in ("title", "description"):
        ours["textFormat"]["structure"]["jsonSchema"]["schema"].pop(name, None)
    assert ours == recorded


# -- reading

STRUCTURED: Final = [
    each
    for each in exchanges("converse", 200)
    if "structured_output" in each.features and b"toolUse" not in each.response_body
]


@pytest.mark.parametrize("recorded", STRUCTURED, ids=str)
def test_recorded_structured_answers_are_read(recorded: Exchange) -> None:
    """Real answers follow the schema of their request, thinking before them or not."""
    schema = json.loads(recorded.request_json["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"])
    response = ConverseResponse.from_wire(recorded.response_body)
    value = read_output(response, OutputType.of(schema), "native")
    assert isinstance(value, dict)
    assert set(schema["required"]) <= value.keys()


@pytest.mark.parametrize(
    "recorded",
    [each for each in exchanges("converse", 200) if {"tool_choice", "tool_use_response"} <= each.features],
    ids=str,
)
def test_recorded_tool_uses_are_read(recorded: Exchange) -> None:
    """The input of a tool that a model was made to call is held to the tool's own schema."""
    tools = recorded.request_json["toolConfig"]["tools"]
    schemas = {
        each["toolSpec"]["name"]: each["toolSpec"]["inputSchema"]["json"] for each in tools if "toolSpec" in each
    }
    response = ConverseResponse.from_wire(recorded.response_body)
    for called in response.tool_uses:
        output = OutputType.of(schemas[called.name])
        only = response.model_copy(update={"stop_reason": "tool_use"})
        assert isinstance(read_output(only, output, "tool", tool=called.name), dict)


@pytest.mark.parametrize(
    "text",
    [
        '{"x": 1, "y": 2}',
        ' \n{"x": 1, "y": 2}\n',
        '```json\n{"x": 1, "y": 2}\n```',
        'Sure! ```\n{"x": 1, "y": 2}``` Anything else?',
        'Here it is: {"x": 1, "y": 2}. Done [1].',
        'A set {a} and then {"x": 1, "y": 2}',
        'As [1] says, and [2]: {"x": 1, "y": 2}',
    ],
)
def test_json_between_words_is_found(text: str) -> None:
    """Models that are only asked write fences and courtesies around the document."""
    assert read_output(answer(text), OutputType.of(Point), "prompt") == Point(1, 2)


@given(json_objects(), st.sampled_from(["", "Here: ", "\n"]), st.sampled_from(["", " Done.", "\n"]))
@settings(max_examples=200)
def test_any_document_is_found_between_words(value: dict[str, Any], before: str, after: str) -> None:
    """Whatever a document holds, brackets and quotes in its texts included, it comes out whole."""
    assert next(documents_in(before + json.dumps(value) + after)) == value


@pytest.mark.parametrize("text", ["[" * 20_000, "{" * 20_000, "```" * 20_000, '{"a":' * 20_000])
def test_an_answer_of_brackets_is_read_in_no_time(text: str) -> None:
    """Nonsense that goes deep is an error like any other: it neither overflows the stack nor hangs."""
    assert list(documents_in(text)) == []
    for before in ({}, prefilled(text)):
        with pytest.raises(OutputInvalidError, match="no JSON"):
            Asked(request(**before), OutputType.of(Point), PROMPT).read(answer(text))


def prefilled(text: str) -> dict[str, object]:
    """Return the messages of a request whose answer is begun."""
    asking = {"role": "user", "content": [{"text": "A point?"}]}
    return {"messages": [asking, {"role": "assistant", "content": [{"text": text}]}]}


@pytest.mark.parametrize(
    ("begun", "said"),
    [
        ('{"x":', ' 1, "y": 2}'),
        ("{", '"x": 1, "y": 2}\n'),
        ("```json\n{", '"x": 1, "y": 2}\n```'),
        ('{"x": 1, "y"', ": 2}"),
        ('{"x":', '{"x": 1, "y": 2}'),
        ('{"x":', '```json\n{"x": 1, "y": 2}\n```'),
        ("The point is", ' {"x": 1, "y": 2}.'),
    ],
)
@pytest.mark.parametrize("rung", [PROMPT, NATIVE, TOOL], ids=lambda rung: rung.mode)
def test_an_answer_that_was_begun_is_read_with_its_beginning(begun: str, said: str, rung: Rung) -> None:
    """A last message of the assistant is part of the document; a model that begins anew is read all the same."""
    question = asked(request(**prefilled(begun)), OutputType.of(Point), rung, SONNET)
    assert question.read(answer(said)) == Point(1, 2)
    if rung is TOOL:
        assert question.read(answer(use("Point", {"x": 1, "y": 2}))) == Point(1, 2)


def test_a_repair_of_an_answer_that_was_begun_shows_it_whole() -> None:
    """Turns alternate, and the next answer goes on from nothing."""
    question = asked(request(**prefilled('{"x":')), OutputType.of(Point), PROMPT, SONNET)
    with pytest.raises(OutputInvalidError, match="y: Field required") as failure:
        question.read(answer(" 1}"))
    hint = failure.value.hint or ""  # after the rounds of repair there is no more to be had from another one alone
    assert all(word in hint for word in ("Simplify the type", "max_repairs=", "faults", "response"))
    again = question.repaired(failure.value, SONNET)
    messages = list(again.request.messages or ())
    assert [message.role for message in messages] == ["user", "assistant", "user"]
    assert messages[1].text == '{"x": 1}'
    assert again.prefill == ""
    assert again.read(answer('{"x": 1, "y": 2}')) == Point(1, 2)


def test_the_question_and_not_the_beginning_of_the_answer_says_what_is_wanted() -> None:
    """Where there is no system prompt, the words stand in the last message of the user."""
    profile = replace(UNKNOWN, system_prompts=False)
    sent = asked(request(**prefilled("{")), OutputType.of(Point), PROMPT, profile).request.to_dict()["messages"]
    assert "JSON schema" in sent[0]["content"][1]["text"]
    assert sent[1]["content"] == [{"text": "{"}]


def test_of_several_documents_the_first_that_is_of_the_type_counts() -> None:
    """An example, or a sketch, may stand before the answer; where none fits, the faults are those of the first."""
    sketch, wrong, right = (f"```json\n{json.dumps(each)}\n```" for each in ({"x": 1}, [5], {"x": 1, "y": 2}))
    other = '```\n{"x": 3, "y": 4}\n```'
    assert read_output(answer(f"Say {sketch}, {wrong}, or {right}? {other}"), OutputType.of(Point), "prompt") == Point(
        1, 2
    )
    with pytest.raises(OutputInvalidError, match="y: Field required"):
        read_output(answer(f"{sketch} {wrong}"), OutputType.of(Point), "prompt")
    whole = json.dumps({"text": right})
    with pytest.raises(OutputInvalidError):  # an answer that is a document has none within
        read_output(answer(whole), OutputType.of(Point), "prompt")


@pytest.mark.parametrize(
    ("response", "error", "part"),
    [
        (answer("I cannot.", stop_reason="refusal"), OutputRefusedError, "refusal"),
        (answer("Sorry.", stop_reason="guardrail_intervened"), OutputRefusedError, "guardrail_intervened"),
        (answer("", stop_reason="content_filtered"), OutputRefusedError, "content_filtered"),
        (answer('{"x": 1', stop_reason="max_tokens"), OutputTruncatedError, "Raise max_tokens"),
        (answer("{", stop_reason="model_context_window_exceeded"), OutputTruncatedError, "Shorten the conversation"),
        (answer('{"x": "secret"}'), OutputInvalidError, "y: Field required"),
        (answer("no idea"), OutputInvalidError, "the answer contains no JSON"),
        (answer(), OutputInvalidError, "the answer is empty"),
        (answer(use("Point", '{"x": 1')), OutputInvalidError, "the tool input is not a JSON object"),
    ],
)
def test_refused_truncated_and_invalid_are_three_errors(
    response: ConverseResponse, error: type[OutputError], part: str
) -> None:
    """Each has the answer as it came; none shows what the model said."""
    with pytest.raises(error) as failure:
        read_output(response, OutputType.of(Point), "tool")
    assert failure.value.response is response
    assert part in str(failure.value)
    assert "secret" not in str(failure.value)
    assert type(failure.value) is error


def test_an_answer_in_which_a_guardrail_masked_something_is_read() -> None:
    """The same stop reason stands for blocked and for masked answers; what is of the type is no refusal."""
    masked = answer('{"x": 1, "y": 2}', stop_reason="guardrail_intervened")
    assert read_output(masked, OutputType.of(Point), "native") == Point(1, 2)
    blocked = answer("Blocked by rule [1].", stop_reason="guardrail_intervened")
    with pytest.raises(OutputRefusedError):
        read_output(blocked, OutputType.of(list[int]), "prompt")


def test_tools_of_the_caller_come_first() -> None:
    """A call of another tool that there is is no invalid answer; beside the output it does not count."""
    output = OutputType.of(Point)
    waiting = answer(use("look_up", {}), stop_reason="tool_use")
    for mode in RUNGS:
        with pytest.raises(OutputToolUseError, match="requests look_up before") as failure:
            read_output(waiting, output, mode, others=frozenset({"look_up", "other"}))  # type: ignore[arg-type]
        assert failure.value.response is waiting
    both = answer(use("look_up", {}), use("Point", {"x": 1, "y": 2}), stop_reason="tool_use")
    assert read_output(both, output, "tool", others=frozenset({"look_up"})) == Point(1, 2)
    with pytest.raises(OutputInvalidError):
        read_output(waiting, output, "native")


def test_text_in_the_place_of_a_tool_use_is_read_too() -> None:
    """Some models write the document that they should have called the tool with."""
    assert read_output(answer('{"x": 1, "y": 2}'), OutputType.of(Point), "tool") == Point(1, 2)


# -- growing


@given(json_objects(), st.data())
@settings(max_examples=100)
def test_pieces_grow_to_the_whole(value: dict[str, Any], data: st.DataObject) -> None:
    """However the text is cut, each object that comes is new, and the last one is the whole."""
    text = json.dumps(value)
    partial = PartialOutput()
    seen: list[Any] = []
    while text:
        size = data.draw(st.integers(1, len(text)))
        if (found := partial.feed(text[:size])) is not None:
            seen.append(found)
        text = text[size:]
    assert seen[-1] == value
    assert all(new != old for old, new in pairwise(seen))


def test_an_object_grows_piece_by_piece() -> None:
    """Texts grow with their pieces, numbers show when they are complete, words around the document do not disturb."""
    partial = PartialOutput()
    pieces = ["```json\n", '{"city": "Pa', 'ris", "popu', 'lation": 21', "61000}", "\n``", "`"]
    assert [partial.feed(piece) for piece in pieces] == [
        None,
        {"city": "Pa"},
        {"city": "Paris"},
        None,
        PARIS_SMALL,
        None,
        None,
    ]


PARIS_SMALL: Final = {"city": "Paris", "population": 2_161_000}


def test_brackets_among_the_words_before_it_are_no_beginning() -> None:
    """What turns out to be no JSON is passed over, as in a whole answer."""
    partial = PartialOutput()
    pieces = ["As {you} asked: {", '"x": "a', 'b"}', " Done [2]."]
    assert [partial.feed(piece) for piece in pieces] == [{}, {"x": "a"}, {"x": "ab"}, None]
    broken = PartialOutput()
    assert [broken.feed(piece) for piece in ('{"x": "a", ', "y: [1, 2]}")] == [{"x": "a"}, None]


def test_wrapped_outputs_grow_without_their_wrapping() -> None:
    """A list that had to be wrapped in an object for the service grows as a list."""
    partial = PartialOutput(wrapped=True)
    assert [partial.feed(piece) for piece in ('{"val', 'ue": [1', ", 2", "]}")] == [None, [], [1], [1, 2]]


# -- repairing


def failed(response: ConverseResponse, mode: OutputMode) -> OutputInvalidError:
    """Return the error of an answer."""
    with pytest.raises(OutputInvalidError) as failure:
        read_output(response, OutputType.of(Point), mode)
    return failure.value


def test_a_repair_shows_the_model_what_was_wrong() -> None:
    """The answer goes back into the history, and behind it the faults with their paths."""
    said, told = repair(failed(answer('{"x": 1}'), "prompt"))
    assert said.text == '{"x": 1}'
    assert told.role == "user"
    assert "- y: Field required" in told.text


def test_each_tool_use_of_a_repair_has_its_result() -> None:
    """The faults are the result of the output's tool; another tool that was called says that it was not run."""
    response = answer(use("Point", {"x": 1}), use("other", {}))
    _, told = repair(failed(response, "tool"), tool="Point")
    results = [block["toolResult"] for block in told.to_dict()["content"]]
    assert [result["toolUseId"] for result in results] == ["id-Point", "id-other"]
    assert {result["status"] for result in results} == {"error"}
    assert "y: Field required" in results[0]["content"][0]["text"]
    assert results[1]["content"] == [{"text": "This tool was not run."}]


def test_a_repair_sends_back_only_what_the_service_takes() -> None:
    """Blank text, reasoning that cannot be replayed and broken inputs would be refused in the history."""
    said, _ = repair(failed(answer(" "), "prompt"))
    assert said.text == "(no answer)"
    thought = {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "s"}}}
    broken = failed(answer(thought, use("Point", '{"x": ')), "tool")
    said, _ = repair(broken, tool="Point", profile=UNKNOWN)
    (block,) = said.to_dict()["content"]
    assert block["toolUse"]["input"] == {"INVALID_JSON": '{"x": '}
    said, _ = repair(broken, tool="Point", profile=SONNET)
    assert said.to_dict()["content"][0] == thought


def test_faults_name_paths_and_no_values() -> None:
    """What the model said is in the response, not in the faults, which end up in logs."""
    output = OutputType.of(RootModel[list[City]])
    with pytest.raises(OutputFaults) as failure:
        output.validate([{**PARIS, "population": "hush"}])
    (fault,) = failure.value.faults
    assert fault.startswith("[0].population: ")
    assert "hush" not in fault
