"""Tools from typed functions: the schema, the descriptions, and the check of what a model passes."""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from corpus import exchanges
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from strategies import json_objects

from bedrock_async.errors import InvalidRequestError
from bedrock_async.features.json_schemas import schema_faults
from bedrock_async.features.tool_schema import Tool, ToolContext, read_docstring, tool
from bedrock_async.types import ConverseResponse, ToolUseBlock


class Place(BaseModel):
    """Where something is."""

    city: str
    title: str = ""


@dataclass
class Range:
    """Days."""

    first: date
    last: date | None = None


@tool
async def weather(city: str, days: int = 1, unit: Literal["C", "F"] = "C") -> str:
    """Tell the weather.

    Only for cities.

    Args:
        city: The name of a city,
            with its country where there are two.
        days (int): How many days ahead.

    Returns:
        Words.
    """
    return f"{city} {days} {unit}"


def use(value: Any, name: str = "t") -> ToolUseBlock:  # noqa: ANN401
    """Return a tool use with this input."""
    return ToolUseBlock(tool_use_id="u", name=name, input=value)


async def test_a_tool_is_described_by_its_function() -> None:
    """Name, description, schema and defaults come from signature and docstring; the function works as before."""
    assert weather.spec.to_wire() == {
        "toolSpec": {
            "name": "weather",
            "description": "Tell the weather.\n\nOnly for cities.",
            "inputSchema": {
                "json": {
                    "type": "object",
                    "properties": {
                        "city": {
                            "type": "string",
                            "description": "The name of a city, with its country where there are two.",
                        },
                        "days": {"type": "integer", "default": 1, "description": "How many days ahead."},
                        "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
                    },
                    "required": ["city"],
                    "additionalProperties": False,
                }
            },
        }
    }
    assert weather.is_async
    assert await weather("Paris", unit="F") == "Paris 1 F"
    assert weather.__doc__ is not None


def test_settings_of_a_tool() -> None:
    """Name, description, strictness and time limit can be given; a strict schema is closed all the way down."""

    @tool(name="find-it", description="Finds.", strict=True, timeout_s=2.5)
    def find(place: Place, when: Range) -> None:
        """Not this."""

    wire = find.spec.to_wire()["toolSpec"]
    assert isinstance(wire, dict)
    assert (wire["name"], wire["description"], wire["strict"]) == ("find-it", "Finds.", True)
    assert all(each["additionalProperties"] is False for each in find.schema["$defs"].values())
    assert set(find.schema["$defs"]["Place"]["properties"]) == {"city", "title"}
    assert (find.timeout_s, find.is_async) == (2.5, False)


def test_arguments_come_in_the_types_of_the_function() -> None:
    """What a model passes as JSON is what the function was written for: models, dataclasses, dates."""

    @tool
    def plan(place: Place, days: Range, tags: tuple[str, ...] = ()) -> None:
        """Plan."""

    read = plan.read(use({"place": {"city": "Paris"}, "days": {"first": "2026-11-21"}, "tags": ["a"]}))
    assert read.error is None
    assert read.arguments == {"place": Place(city="Paris"), "days": Range(date(2026, 11, 21)), "tags": ("a",)}


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({}, "- city: Field required"),
        ({"city": "Paris", "days": "many"}, "- days: Input should be a valid integer"),
        ({"city": "Paris", "x": 1}, "- x: Extra inputs are not permitted"),
        ({"city": {"secret": 1}}, "- city: Input should be a valid string"),
        ('{"city": "Par', "not a complete JSON object"),
        ("", "not a complete JSON object"),
        (["Paris"], "not a complete JSON object"),
    ],
)
def test_what_does_not_fit_is_told_and_not_run(value: object, part: str) -> None:
    """Wrong, unknown, missing and cut-off input is an error for the model to read, without the value."""
    read = weather.read(use(value))
    assert read.error is not None
    assert part in read.error
    assert "secret" not in read.error
    assert read.arguments == {}


def test_names_that_pydantic_has_itself_can_be_parameters() -> None:
    """A parameter may be called copy, schema, model_config or begin with an underscore."""

    @tool
    def odd(copy: int, schema: str, model_config: str, _hidden: int = 3) -> None:
        """Odd."""

    assert set(odd.schema["properties"]) == {"copy", "schema", "model_config", "_hidden"}
    read = odd.read(use({"copy": 1, "schema": "s", "model_config": "m"}))
    assert read.arguments == {"copy": 1, "schema": "s", "model_config": "m", "_hidden": 3}


def test_fields_of_pydantic_describe_parameters_too() -> None:
    """``Annotated`` and a ``Field`` as the default keep their descriptions, bounds and defaults."""

    @tool
    def search(
        query: Annotated[str, Field(description="What to look for.", min_length=1)],
        limit: int = Field(10, le=50, description="How many."),
    ) -> None:
        """Search.

        Args:
            query: Not this.
            limit: Nor this.
        """

    properties = search.schema["properties"]
    assert properties["limit"] == {"type": "integer", "default": 10, "maximum": 50, "description": "How many."}
    assert properties["query"]["minLength"] == 1
    assert search.read(use({"query": "x"})).arguments == {"query": "x", "limit": 10}
    assert search.read(use({"query": "x", "limit": 51})).error is not None


SPHINX = """Does.

:param a: First.
:param int b: Second,
    and more.
:returns: x
"""
NUMPY = """Does.

Parameters
----------
a : int
    First.
b
    Second,
    and more.

Returns
-------
int
    Words.
"""
GOOGLE = """Does.

Raises:
    ValueError: No.

Args:
    a: First: of all.
    **b: Second.

Behind.
"""


@pytest.mark.parametrize(
    ("docstring", "description", "parameters"),
    [
        ("Does.", "Does.", {}),
        ("", "", {}),
        (SPHINX, "Does.", {"a": "First.", "b": "Second, and more."}),
        (NUMPY, "Does.", {"a": "First.", "b": "Second, and more."}),
        (GOOGLE, "Does.\n\nBehind.", {"a": "First: of all.", "b": "Second."}),
    ],
)
def test_docstrings_of_all_styles_are_read(docstring: str, description: str, parameters: dict[str, str]) -> None:
    """Google's, numpy's and Sphinx' sections give the descriptions of parameters, and are no part of the tool's."""
    assert read_docstring(docstring) == (description, parameters)


@given(st.text())
@settings(max_examples=200)
def test_any_docstring_can_be_read(text: str) -> None:
    """Docstrings are prose: whatever stands there, reading it ends, without an error."""
    description, parameters = read_docstring(text)
    assert isinstance(description, str)
    assert all(name.isidentifier() or name.isalnum() for name in parameters)


def _variadic(*names: str) -> None: ...


def _keywords(**names: str) -> None: ...


def _positional(name: str, /) -> None: ...


def _untypable(value: memoryview) -> None: ...


def _callback(call: Callable[[], int]) -> None: ...


class OldDict(typing.TypedDict):
    """Which pydantic does not take before Python 3.12."""

    city: str


def _old_dict(value: OldDict) -> None: ...


FUNCTIONS: list[Any] = [
    _variadic,
    _keywords,
    _positional,
    _untypable,
    _callback,
    lambda value: value,  # pyright: ignore[reportUnknownLambdaType]
    Place,
    "weather",
    *([_old_dict] if sys.version_info < (3, 12) else []),
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_that_no_model_can_call_are_refused(function: Any) -> None:  # noqa: ANN401
    """Arguments without names, types without a schema, names that the service refuses: an error when it is made."""
    with pytest.raises(InvalidRequestError):
        tool(function)


@pytest.mark.parametrize(
    "wrong", [{"timeout_s": 0}, {"timeout_s": "5"}, {"timeout_s": True}, {"name": 5}, {"description": 5}]
)
def test_settings_of_a_tool_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    """When it is made, and not when the model asks for it."""
    with pytest.raises(InvalidRequestError) as failure:
        tool(**wrong)(weather.function)
    assert failure.value.path == next(iter(wrong))


def test_what_a_tool_returns_may_be_of_a_type_that_only_checkers_import() -> None:
    """The model is told of parameters; the type of the result need not be there."""

    def found(city: str) -> str:
        return city

    found.__annotations__["return"] = "OnlyForCheckers"
    assert tool(found).schema["properties"] == {"city": {"type": "string"}}
    found.__annotations__["city"] = "OnlyForCheckers"
    with pytest.raises(InvalidRequestError, match="'OnlyForCheckers' is not defined"):
        tool(found)


def test_the_context_may_be_left_out_by_who_calls_the_function() -> None:
    """A function that can be called without the loop: the model is told nothing of the context all the same."""

    def plain(city: str, context: ToolContext | None = None) -> str:
        return city if context is None else city + str(context.deps)

    def annotated(city: str, context: Annotated[ToolContext | None, "of the loop"] = None) -> str:
        return plain(city, context)

    for each in (plain, annotated):
        made = tool(each)
        assert list(made.schema["properties"]) == ["city"]
        assert made.context_parameter == "context"
        assert made("Rome") == "Rome"


def test_a_default_that_json_cannot_hold_is_not_told() -> None:
    """An object that stands for what was not given is nothing for a model, and no reason to warn."""
    missing = object()

    def found(city: str, near: Any = missing) -> str:  # noqa: ANN401
        return city if near is missing else "near"

    made = tool(found)
    assert made.schema["properties"]["near"] == {}
    assert made.read(ToolUseBlock(tool_use_id="a", name="found", input={"city": "Rome"})).arguments["near"] is missing


def test_a_strict_tool_needs_a_strict_schema() -> None:
    """Free-form members cannot be strict, and the error says where they are."""

    def count(words: dict[str, int]) -> None: ...

    assert tool(count).schema["properties"]["words"]["type"] == "object"
    with pytest.raises(InvalidRequestError, match=r"schema\.words is an object with members of any name"):
        tool(strict=True)(count)


def test_objects_that_can_be_called_are_tools_too() -> None:
    """An instance with an async ``__call__`` is an async tool; its name is given or that of its class."""

    class Lookup:
        async def __call__(self, key: str) -> str:
            """Look up."""
            return key

    found = Tool(Lookup())
    assert (found.name, found.is_async) == ("Lookup", True)
    assert set(found.schema["properties"]) == {"key"}


@given(json_objects())
@settings(max_examples=200)
def test_what_is_read_fits_the_schema_and_what_does_not_fit_is_told(value: dict[str, Any]) -> None:
    """Any JSON object is either refused with a reason or fits what the model was told."""
    read = weather.read(use(value))
    assert (read.error is None) == bool(read.arguments)
    if read.error is None:
        json.dumps(value)
        assert set(value) <= set(weather.schema["properties"])


def test_recorded_tool_uses_fit_a_function_written_for_them() -> None:
    """The inputs of recorded calls of one tool are read into the arguments of a function with its parameters."""
    seen = 0
    for each in exchanges("converse", 200):
        response = ConverseResponse.from_wire(each.response_body)
        for called in response.tool_uses:
            if isinstance(called.input, dict) and all(isinstance(v, str) for v in called.input.values()):
                declared = "\n".join(f"    {name}: Said." for name in called.input)
                function = _function_of(list(called.input), f"Does.\n\nArgs:\n{declared}")
                made = tool(name=called.name)(function)
                assert made.read(called).arguments == called.input
                assert schema_faults(called.input, made.schema) == []
                seen += 1
    assert seen > 50


def _function_of(names: list[str], docstring: str) -> Any:  # noqa: ANN401
    import inspect

    def function(**_: str) -> None: ...

    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=str) for name in names]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]
    function.__annotations__ = dict.fromkeys(names, str)
    function.__doc__ = docstring
    return function
