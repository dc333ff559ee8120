"""Answers of a given type: how a model is asked for one, and how it is read from what the model says.

There are three ways. ``native``: the service holds the model to a JSON schema (``outputConfig.textFormat``). ``tool``:
the model must call a tool whose input is the output. ``prompt``: the system prompt asks for it. `ways` says which of
them to try for a model, in which order; `asked` makes the request, `read_output` the value, `repair` the messages that
show the model what was wrong. Nothing here sends anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, cast

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError
from pydantic_core import from_json

from ..errors import (
    InputTooLongError,
    InvalidRequestError,
    OutputInvalidError,
    OutputRefusedError,
    OutputTruncatedError,
)
from ..errors import ValidationError as ServiceValidationError
from ..families.profiles import ModelProfile
from ..types import (
    AnyToolChoice,
    ConverseRequest,
    ConverseResponse,
    JsonSchemaDefinition,
    Message,
    OutputConfig,
    OutputFormat,
    OutputStructure,
    SpecificToolChoice,
    TextBlock,
    ToolChoice,
    ToolConfig,
    ToolInputSchema,
    ToolResultBlock,
    ToolSpec,
)
from .json_schemas import VALUE, Schema, object_schema, schema_faults, strict_obstacle, strict_schema

T = TypeVar("T")

Way: TypeAlias = Literal["native", "tool", "prompt"]
"""How a model is asked for an output of a type."""

WAYS: Final[tuple[Way, ...]] = ("native", "tool", "prompt")

_REFUSED: Final = frozenset({"refusal", "content_filtered", "guardrail_intervened"})
_TRUNCATED: Final = frozenset({"max_tokens", "model_context_window_exceeded"})
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class OutputType(Generic[T]):
    """What an answer shall be: a name, a description, a JSON schema, and the check of a value.

    `of` makes it from a pydantic model, a dataclass, a TypedDict, any other type that pydantic knows, or a JSON schema.
    """

    name: str
    description: str | None
    schema: Mapping[str, Any]
    adapter: TypeAdapter[T] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, kind: Any) -> OutputType[Any]:  # noqa: ANN401 - a type, or a schema
        """Return the output type that ``kind`` means. Raises InvalidRequestError for what has no JSON schema."""
        if isinstance(kind, OutputType):
            return kind  # pyright: ignore[reportUnknownVariableType]
        if isinstance(kind, Mapping):
            schema = cast("Mapping[str, Any]", kind)
            return OutputType(_name(str(schema.get("title") or "output")), schema.get("description"), schema)
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(kind)
            made = adapter.json_schema()
        except (PydanticUserError, PydanticSchemaGenerationError, PydanticInvalidForJsonSchema) as exc:
            raise InvalidRequestError(
                f"output_type {getattr(kind, '__name__', type(kind).__name__)} has no JSON schema: "
                f"{str(exc).splitlines()[0]}",
                path="output_type",
                hint="Pass a pydantic model, a dataclass, a TypedDict (before Python 3.12 that of typing_extensions), "
                "or a JSON schema as a dict.",
            ) from exc
        name = _name(kind.__name__ if isinstance(kind, type) else "output")
        return OutputType(name, made.get("description"), made, adapter)

    def validate(self, value: object) -> T:
        """Return the value of a JSON document. Raises OutputFaults with what is wrong."""
        if self.adapter is None:
            if faults := schema_faults(value, self.schema):
                raise OutputFaults(faults)
            return cast("T", value)
        try:
            # As JSON, so that "2026-11-21" is a date and a list a tuple, while "1" is no number in strict models.
            return self.adapter.validate_json(json.dumps(value))
        except ValidationError as exc:
            details = exc.errors(include_url=False, include_input=False, include_context=False)
            raise OutputFaults([f"{_path(each['loc'])}: {each['msg']}" for each in details]) from exc


class OutputFaults(ValueError):  # noqa: N818 - what is wrong with a value, on its way to an error of the tree
    """What is wrong with a value, each fault with its path, without the value itself."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


def _path(steps: tuple[int | str, ...]) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return path.removeprefix(".") or "the output"


def _name(name: str) -> str:
    return _NOT_IN_NAME.sub("_", name).strip("_")[:64] or "output"


# -- choosing


def ways(
    profile: ModelProfile, output: OutputType[Any], *, wanted: Way | None = None, thinking: bool = False
) -> tuple[Way, ...]:
    """Return the ways to try, in their order: the one that is wanted, or the ladder of what the model can do.

    ``native`` is tried where the model takes a schema and the schema can be strict, ``tool`` where a tool can be
    forced (``thinking`` says that the model is asked to think, beside which some take no forced tool), ``prompt`` last.
    Raises InvalidRequestError for a way that does not exist.
    """
    if wanted is not None:
        if wanted not in WAYS:
            raise InvalidRequestError(
                f"there is no way {wanted!r} to an output.", path="output_way", hint=f"Pass one of {', '.join(WAYS)}."
            )
        return (wanted,)
    found: list[Way] = []
    if profile.structured_output and strict_obstacle(output.schema) is None:
        found.append("native")
    can_force = profile.tools and bool(profile.tool_choice & {"any", "tool"})
    if can_force and (profile.forced_tool_with_reasoning or not thinking):
        found.append("tool")
    return (*found, "prompt")


_ABOUT: Final[Mapping[Way, re.Pattern[str]]] = {
    "native": re.compile(r"output_?(config|format)|text_?format|structured output|schema|grammar", re.IGNORECASE),
    "tool": re.compile(r"tool.?choice|tool.?config|tool use|tools?\b", re.IGNORECASE),
}


def next_way(tried: Way, ladder: Sequence[Way], error: Exception) -> Way | None:
    """Return the way to try after the service refused one; None where the refusal is about something else.

    Only a ValidationException that speaks of what the way needs counts: nothing was generated, and nothing billed.
    """
    about = _ABOUT.get(tried)
    if about is None or not isinstance(error, ServiceValidationError) or isinstance(error, InputTooLongError):
        return None
    if not about.search(error.message):
        return None
    behind = ladder[ladder.index(tried) + 1 :] if tried in ladder else ()
    return behind[0] if behind else None


# -- asking


def asked(request: ConverseRequest, output: OutputType[Any], way: Way, profile: ModelProfile) -> ConverseRequest:
    """Return the request that asks for the output in that way; tools and system prompt of the request stay."""
    if way == "native":
        return _asked_natively(request, output)
    if way == "tool":
        return _asked_by_tool(request, output, profile)
    text = (
        "Answer with one JSON document and nothing else: no explanation, no code fence. It must follow this JSON "
        f"schema:\n{json.dumps(output.schema, ensure_ascii=False)}"
    )
    return request.model_copy(update={"system": [*(request.system or ()), TextBlock(text=text)]})


def _asked_natively(request: ConverseRequest, output: OutputType[Any]) -> ConverseRequest:
    schema, _ = object_schema(output.schema)
    definition = JsonSchemaDefinition(
        schema=json.dumps(strict_schema(schema), ensure_ascii=False),
        name=output.name,
        description=output.description,
    )
    form = OutputFormat(type="json_schema", structure=OutputStructure(json_schema=definition))
    before = request.output_config or OutputConfig()
    return request.model_copy(update={"output_config": before.model_copy(update={"text_format": form})})


def _asked_by_tool(request: ConverseRequest, output: OutputType[Any], profile: ModelProfile) -> ConverseRequest:
    others = list(request.tool_config.tools) if request.tool_config is not None else []
    schema, _ = object_schema(output.schema)
    strict = profile.strict_tools and strict_obstacle(schema) is None
    tool = ToolSpec(
        name=tool_name(request, output),
        description=output.description or "The answer. Call this tool with it, and say nothing else.",
        input_schema=ToolInputSchema(json=strict_schema(schema) if strict else schema),
        strict=True if strict else None,
    )
    only = not others and "tool" in profile.tool_choice
    choice = ToolChoice(tool=SpecificToolChoice(name=tool.name)) if only else ToolChoice(any=AnyToolChoice())
    return request.model_copy(update={"tool_config": ToolConfig(tools=[*others, tool], tool_choice=choice)})


def tool_name(request: ConverseRequest, output: OutputType[Any]) -> str:
    """Return the name of the tool whose input is the output: the output's own, or a longer one where that is taken."""
    config = request.tool_config
    taken = {tool.name for tool in config.tools if isinstance(tool, ToolSpec)} if config is not None else set[str]()
    name = output.name
    while name in taken:
        name = f"{name[:60]}_out"
    return name


# -- reading


def read_output(response: ConverseResponse, output: OutputType[T], way: Way, *, tool: str | None = None) -> T:
    """Return the value in an answer. ``tool`` is the name of the tool of the way ``tool``.

    Raises OutputRefusedError when model or guardrail refused, OutputTruncatedError when the answer was cut off, and
    OutputInvalidError when it is not of the type; each has the response.
    """
    reason = response.stop_reason
    if reason in _REFUSED:
        raise OutputRefusedError(f"the answer is a refusal (stop reason {reason!r}).", response=response)
    if reason in _TRUNCATED:
        raise OutputTruncatedError(
            f"the answer was cut off after {response.usage.output_tokens} tokens (stop reason {reason!r}).",
            response=response,
            hint="Pass a larger max_tokens." if reason == "max_tokens" else "Shorten the conversation.",
        )
    try:
        return output.validate(_unwrapped(_document(response, way, tool or output.name), output, way))
    except OutputFaults as exc:
        raise OutputInvalidError(
            f"the answer is no {output.name}: {exc} (stop reason {reason!r}).",
            faults=exc.faults,
            response=response,
            hint="Allow a repair round, or read the response of this error.",
        ) from exc


def _document(response: ConverseResponse, way: Way, tool: str) -> object:
    if way == "tool":
        inputs = [use.input for use in response.tool_uses if use.name == tool]
        if inputs:
            if not isinstance(inputs[-1], dict):
                raise OutputFaults(["the output: the input of the tool is no JSON object"])
            return cast("object", inputs[-1])
        # Some models write what they should have called the tool with.
    return json_in(response.text)


def _unwrapped(document: object, output: OutputType[Any], way: Way) -> object:
    if way != "prompt" and object_schema(output.schema)[1] and isinstance(document, dict):
        members = cast("dict[str, object]", document)
        return members[VALUE] if members.keys() == {VALUE} else members
    return document  # pyright: ignore[reportUnknownVariableType]


_FENCE: Final = re.compile(r"```(?:json)?\s*\n?(.*?)(?:```|\Z)", re.DOTALL)
_START: Final = re.compile(r"[\[{]")
# An answer of nothing but brackets must not take seconds.
_MOST_STARTS: Final = 1_000


def json_in(text: str) -> object:
    """Return the JSON document that a text is, or that stands in it, fenced or between words. Raises OutputFaults."""
    candidates = [text, *(match[1] for match in _FENCE.finditer(text))]
    for candidate in candidates:
        try:
            return cast("object", json.loads(candidate))
        except (ValueError, RecursionError):
            continue
    decoder = json.JSONDecoder()
    for start in islice(_START.finditer(text), _MOST_STARTS):
        try:
            return cast("object", decoder.raw_decode(text, start.start())[0])
        except (ValueError, RecursionError):
            continue
    raise OutputFaults(["the output: there is no JSON in the answer" if text.strip() else "the output: it is empty"])


_LONG: Final = 16_384
_OF_NUMBERS: Final = "+-.0123456789eE"


class PartialOutput:
    """Grows an object from pieces of JSON, as a stream brings them: text, or the input of the output's tool.

    `feed` returns the object as far as it is known when there is more of it than before, else None. Texts grow with
    their pieces; numbers, names and literals show when they are complete. Objects are plain: nothing is validated, and
    of a long one the last pieces show in the final output only.
    """

    def __init__(self, *, wrapped: bool = False) -> None:
        self._wrapped = wrapped
        self._text = ""
        self._parsed = 0
        self._last: object = None

    def feed(self, piece: str) -> object | None:
        """Take the next piece."""
        self._text += piece
        # Parsing begins anew each time: with long answers only after another sixty-fourth of them.
        if len(self._text) > _LONG and len(self._text) - self._parsed < len(self._text) // 64:
            return None
        self._parsed = len(self._text)
        start = _START.search(self._text)
        if start is None:
            return None
        try:
            begun = self._text[start.start() :].rstrip(_OF_NUMBERS)
            found = cast("object", from_json(begun, allow_partial="trailing-strings"))
        except ValueError:  # words or the end of a fence behind it
            return None
        if self._wrapped and isinstance(found, dict):
            found = cast("dict[str, object]", found).get(VALUE)
        if found is None or found == self._last:
            return None
        self._last = found
        return found


# -- repairing


def repair(error: OutputInvalidError, way: Way, *, tool: str | None = None) -> tuple[Message, Message]:
    """Return the messages to add to the conversation: the answer, and what was wrong with it.

    The results of tools that were called in the answer say so, for each use needs one.
    """
    response = error.response
    faults = "\n".join(f"- {fault}" for fault in error.faults)
    text = f"That answer cannot be used:\n{faults}\nAnswer again, with these faults corrected."
    uses = response.tool_uses
    if uses:
        content: list[Any] = [
            ToolResultBlock(
                tool_use_id=use.tool_use_id,
                content=[TextBlock(text=text if tool in (None, use.name) else "This tool was not run.")],
                status="error",
            )
            for use in uses
        ]
    else:
        content = [TextBlock(text=f"{text} Call the tool {tool!r} with it." if way == "tool" and tool else text)]
    return response.message, Message(role="user", content=content)


__all__ = [
    "WAYS",
    "OutputFaults",
    "OutputType",
    "PartialOutput",
    "Schema",
    "Way",
    "asked",
    "json_in",
    "next_way",
    "read_output",
    "repair",
    "tool_name",
    "ways",
]
