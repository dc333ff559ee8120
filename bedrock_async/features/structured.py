"""Answers of a given type: how a model is asked for one, and how the value is read from its answer.

There are three modes. ``native``: the service constrains the model to a JSON schema (``outputConfig.textFormat``).
``tool``: the model must call a tool whose input is the output. ``prompt``: the model is asked in words. `ladder` says
which of them to try for a model, and in which order; `asked` builds the request, `Asked.read` returns the value, and
`Asked.repaired` builds the next request, which tells the model what was wrong. Nothing here sends anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, cast

import msgspec
from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, PydanticUndefinedAnnotation
from pydantic_core import from_json

from ..errors import (
    InputTooLongError,
    InvalidRequestError,
    OutputInvalidError,
    OutputRefusedError,
    OutputToolUseError,
    OutputTruncatedError,
)
from ..errors import ValidationError as ServiceValidationError
from ..families.profiles import UNKNOWN, ModelProfile
from ..types import (
    AnyToolChoice,
    ContentBlock,
    ConverseRequest,
    ConverseResponse,
    JsonSchemaDefinition,
    Message,
    OutputConfig,
    OutputFormat,
    OutputStructure,
    ReasoningBlock,
    SpecificToolChoice,
    TextBlock,
    ToolChoice,
    ToolConfig,
    ToolInputSchema,
    ToolResultBlock,
    ToolSpec,
    ToolUseBlock,
)
from .json_schemas import VALUE, malformed_schema, object_schema, schema_faults, strict_obstacle, strict_schema
from .normalize import with_object_input

T = TypeVar("T")

OutputMode: TypeAlias = Literal["native", "tool", "prompt"]
"""How a model is asked for an output: with a schema that the service enforces, with a forced tool, or in words."""

OUTPUT_MODES: Final[tuple[OutputMode, ...]] = ("native", "tool", "prompt")

_REFUSED: Final = frozenset({"refusal", "content_filtered"})
# The stop reason of blocked answers, and of those with masked content, which may still be the output.
_INTERVENED: Final = "guardrail_intervened"
_TRUNCATED: Final = frozenset({"max_tokens", "model_context_window_exceeded"})
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class OutputType(Generic[T]):
    """The type of an answer: a name, a description, a JSON schema, and the validation of a value.

    `of` makes one from a pydantic model, a dataclass, a TypedDict, any other type that pydantic supports, or a JSON
    schema.
    """

    name: str
    description: str | None
    schema: Mapping[str, Any]
    adapter: TypeAdapter[T] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, kind: Any) -> OutputType[Any]:  # noqa: ANN401 - a type, or a schema
        """Return the output type for ``kind``. Raises InvalidRequestError if it has no JSON schema."""
        if isinstance(kind, OutputType):
            return kind  # pyright: ignore[reportUnknownVariableType]
        if kind is None:
            raise InvalidRequestError(
                "output_type is None.", path="output_type", hint="Pass a type, such as a pydantic model."
            )
        if isinstance(kind, Mapping):
            return _of_schema(cast("Mapping[str, Any]", kind))
        # Other types may be equal without being identical, such as int | str and str | int.
        return _of_class(kind) if isinstance(kind, type) else _of_type(kind)

    def validate(self, value: object) -> T:
        """Return the value of a JSON document. Raises OutputFaults with everything that is wrong."""
        if self.adapter is None:
            if faults := schema_faults(value, self.schema):
                raise OutputFaults(faults)
            return cast("T", value)
        try:
            # As JSON, so that "2026-11-21" becomes a date and a list a tuple, but "1" no number in strict models.
            return self.adapter.validate_json(json.dumps(value))
        except ValidationError as exc:
            details = exc.errors(include_url=False, include_input=False, include_context=False)
            raise OutputFaults([f"{_path(each['loc'])}: {each['msg']}" for each in details]) from exc
        except Exception as exc:
            # A custom validator failed; its message may contain the value, the class of the error does not.
            raise OutputFaults([f"the output: validation failed with {type(exc).__name__}"]) from exc


class OutputFaults(ValueError):  # noqa: N818 - becomes an error of the tree
    """What is wrong with a value, each fault with its path, without the value itself."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


def _of_schema(schema: Mapping[str, Any]) -> OutputType[Any]:
    try:
        json.dumps(schema, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidRequestError(
            f"output_type contains a value that JSON cannot represent: {exc}.",
            path="output_type",
            hint="A schema is made of JSON values.",
        ) from exc
    if (fault := malformed_schema(schema)) is not None:
        raise InvalidRequestError(f"output_type is not a JSON schema: {fault}.", path="output_type")
    return OutputType(_name(str(schema.get("title") or "output")), schema.get("description"), schema)


def _of_type(kind: Any) -> OutputType[Any]:  # noqa: ANN401
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        schema = adapter.json_schema()
    except (
        PydanticUserError,
        PydanticSchemaGenerationError,
        PydanticInvalidForJsonSchema,
        PydanticUndefinedAnnotation,
    ) as exc:
        raise InvalidRequestError(
            f"output_type {getattr(kind, '__name__', type(kind).__name__)} has no JSON schema: "
            f"{str(exc).splitlines()[0]}",
            path="output_type",
            hint="Pass a pydantic model, a dataclass, a TypedDict (before Python 3.12 from typing_extensions), "
            "or a JSON schema as a dict.",
        ) from exc
    name = _name(kind.__name__ if isinstance(kind, type) else "output")
    return OutputType(name, schema.get("description"), schema, adapter)


# Making a schema takes as long as reading a hundred small events.
_of_class: Final = lru_cache(maxsize=256)(_of_type)


def _path(steps: tuple[int | str, ...]) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return path.removeprefix(".") or "the output"


def _name(name: str) -> str:
    return _NOT_IN_NAME.sub("_", name).strip("_")[:64] or "output"


# -- choosing


class Rung(msgspec.Struct, frozen=True):
    """One way to ask: a mode, and whether the schema of its tool is strict."""

    mode: OutputMode
    strict: bool = False


def ladder(
    profile: ModelProfile, output: OutputType[Any], request: ConverseRequest, *, wanted: OutputMode | None = None
) -> tuple[Rung, ...]:
    """Return the ways to try, in order: those of the ``wanted`` mode, or all that the model supports.

    ``native`` is tried if the model accepts a schema and the schema can be strict, ``tool`` if a tool can be forced
    (some models accept none while reasoning), ``prompt`` last; a strict tool comes before one that is not.
    Raises InvalidRequestError for a mode that does not exist.
    """
    if wanted is not None and wanted not in OUTPUT_MODES:
        raise InvalidRequestError(
            f"unknown output_mode {wanted!r}.",
            path="output_mode",
            hint=f"Pass one of {', '.join(OUTPUT_MODES)}.",
        )
    rungs: list[Rung] = []
    if wanted == "native" or (profile.structured_output and strict_obstacle(output.schema) is None):
        rungs.append(Rung("native"))
    if wanted == "tool" or _can_force(profile, request):
        if profile.strict_tools and strict_obstacle(object_schema(output.schema)[0]) is None:
            rungs.append(Rung("tool", strict=True))
        rungs.append(Rung("tool"))
    rungs.append(Rung("prompt"))
    return tuple(rung for rung in rungs if wanted in (None, rung.mode))


def _can_force(profile: ModelProfile, request: ConverseRequest) -> bool:
    if not profile.tools or not profile.tool_choice & {"any", "tool"}:
        return False
    return profile.forced_tool_with_reasoning or not _thinks(request)


def _thinks(request: ConverseRequest) -> bool:
    fields = request.additional_model_request_fields
    thinking = fields.get("thinking") if isinstance(fields, dict) else None
    return isinstance(thinking, dict) and thinking.get("type") != "disabled"


_ABOUT: Final[Mapping[OutputMode, re.Pattern[str]]] = {
    "native": re.compile(r"output_?(config|format)|text_?format|structured output|schema|grammar", re.IGNORECASE),
    "tool": re.compile(r"tool.?choice|tool.?config|tool use|tools?\b", re.IGNORECASE),
    "prompt": re.compile(r"(?!)"),  # it needs nothing that could be rejected
}
_ABOUT_STRICT: Final = re.compile(r"\bstrict", re.IGNORECASE)
# "jsonSchema" and "json_schema" are members that a model does not accept; "schema" is the one that was sent.
_ABOUT_SCHEMA: Final = re.compile(r"\b(schema|grammar)\b|compil|too complex", re.IGNORECASE)


def next_rung(tried: Rung, rungs: Sequence[Rung], error: Exception) -> Rung | None:
    """Return the way to try after one was rejected; None if the rejection is about something else.

    A rejection counts only if it mentions what the mode needs: a ValidationException of the service, which generated
    and billed nothing, or the InvalidRequestError of a provider whose dialect cannot express it.
    """
    said = _refusal(error)
    below = rungs[rungs.index(tried) + 1 :] if tried in rungs else ()
    if said is None or not below:
        return None
    if tried.strict and _ABOUT_STRICT.search(said):
        return below[0]
    if not _ABOUT[tried.mode].search(said):
        return None
    return next((rung for rung in below if rung.mode != tried.mode), None)


def is_about_schema(error: Exception) -> bool:
    """Whether a rejection is about this schema in particular, and says nothing about others."""
    return _ABOUT_SCHEMA.search(_refusal(error) or "") is not None


def _refusal(error: Exception) -> str | None:
    if isinstance(error, InvalidRequestError):
        return f"{error.path or ''} {error.message}"
    if isinstance(error, ServiceValidationError) and not isinstance(error, InputTooLongError):
        return error.message
    return None


# -- asking


class Asked(msgspec.Struct, Generic[T], frozen=True):
    """A request that asks for an output, and how its answer is read."""

    request: ConverseRequest
    output: OutputType[T]
    rung: Rung
    tool: str | None = None
    """The name of the tool whose input is the output."""
    others: frozenset[str] = frozenset()
    """The names of the caller's own tools."""

    @property
    def mode(self) -> OutputMode:
        """How the model is asked."""
        return self.rung.mode

    @property
    def wrapped(self) -> bool:
        """Whether the output is wrapped in an object, because the document has to be one."""
        return self.mode != "prompt" and object_schema(self.output.schema)[1]

    @property
    def prefill(self) -> str:
        """The text of a final assistant message, which the answer continues and does not repeat."""
        last = self.request.messages[-1] if self.request.messages else None
        if last is None or last.role != "assistant":
            return ""
        return "".join(block.text for block in last.content if isinstance(block, TextBlock))

    def read(self, response: ConverseResponse) -> T:
        """Return the value in an answer: if its text contains several documents, the first that matches the type.

        Raises OutputRefusedError if the model or a guardrail refused, OutputTruncatedError if the answer was cut off,
        OutputToolUseError if the caller's tools must run first, and OutputInvalidError if it does not match the type;
        each has the response.
        """
        reason = response.stop_reason
        if reason in _REFUSED:
            raise _refused(response)
        if reason in _TRUNCATED:
            raise OutputTruncatedError(
                f"the answer was cut off after {response.usage.output_tokens} tokens (stop reason {reason!r}).",
                response=response,
                hint="Raise max_tokens." if reason == "max_tokens" else "Shorten the conversation.",
            )
        if waiting := self._waiting_tools(response):
            raise OutputToolUseError(
                f"the model requests {', '.join(waiting)} before it answers.",
                response=response,
                hint="Append this error's response.message and the tool results to the messages, and ask again.",
            )
        try:
            return self._value(response)
        except OutputFaults as exc:
            if reason == _INTERVENED:
                raise _refused(response) from exc
            raise OutputInvalidError(
                f"the answer is not a valid {self.output.name}: {exc} (stop reason {reason!r}).",
                faults=exc.faults,
                response=response,
                hint="Simplify the type, or allow more repair rounds with max_repairs=...; this error's faults and "
                "response show what is wrong.",
            ) from exc

    def _waiting_tools(self, response: ConverseResponse) -> list[str]:
        called = [use.name for use in response.tool_uses]
        return [] if self.tool in called else sorted(self.others.intersection(called))

    def _value(self, response: ConverseResponse) -> T:
        """Return the first document that matches the type. Raises OutputFaults with those of the first one."""
        faults: OutputFaults | None = None
        for document in self._documents(response):
            try:
                return self.output.validate(self._unwrapped(document))
            except OutputFaults as exc:
                faults = faults or exc
        if faults is None:
            said = "the answer contains no JSON" if response.text.strip() else "the answer is empty"
            raise OutputFaults([said])
        raise faults

    def _documents(self, response: ConverseResponse) -> Iterator[object]:
        inputs = [use.input for use in response.tool_uses if use.name == self.tool]
        if inputs:
            if not isinstance(inputs[-1], dict):
                raise OutputFaults(["the tool input is not a JSON object"])
            yield inputs[-1]
            return
        # Some models write the tool input as text instead, and some start over after a prefill.
        for begun in dict.fromkeys((self.prefill, "")):
            yield from documents_in(begun + response.text, whole=response.stop_reason == _INTERVENED)

    def _unwrapped(self, document: object) -> object:
        if self.wrapped and isinstance(document, dict):
            members = cast("dict[str, object]", document)
            return members[VALUE] if members.keys() == {VALUE} else members
        return document

    def repaired(self, error: OutputInvalidError, profile: ModelProfile) -> Asked[T]:
        """Return the next request: the invalid answer, followed by what was wrong with it."""
        messages = list(self.request.messages or ())
        said, told = repair(error, tool=self.tool, profile=profile)
        if messages and messages[-1].role == "assistant":  # the answer continued it: both are one turn
            said = said.model_copy(update={"content": [*messages.pop().content, *said.content]})
        messages += [said, told]
        return msgspec.structs.replace(self, request=self.request.model_copy(update={"messages": messages}))


def _refused(response: ConverseResponse) -> OutputRefusedError:
    return OutputRefusedError(f"the answer is a refusal (stop reason {response.stop_reason!r}).", response=response)


def asked(request: ConverseRequest, output: OutputType[T], rung: Rung, profile: ModelProfile) -> Asked[T]:
    """Return the request that asks for the output in this way; the request keeps its tools and system prompt."""
    config = request.tool_config
    others = frozenset(each.name for each in config.tools if isinstance(each, ToolSpec)) if config else frozenset[str]()
    if rung.mode == "native":
        return Asked(_asked_natively(request, output), output, rung, others=others)
    if rung.mode == "prompt":
        return Asked(_asked_in_words(request, output, profile), output, rung, others=others)
    tool = output.name
    while tool in others:
        tool = f"{tool[:60]}_out"
    return Asked(_asked_by_tool(request, output, profile, tool, strict=rung.strict), output, rung, tool, others)


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


def _asked_by_tool(
    request: ConverseRequest, output: OutputType[Any], profile: ModelProfile, name: str, *, strict: bool
) -> ConverseRequest:
    others = list(request.tool_config.tools) if request.tool_config is not None else []
    schema, _ = object_schema(output.schema)
    tool = ToolSpec(
        name=name,
        description=output.description or "The answer. Call this tool with it, and say nothing else.",
        input_schema=ToolInputSchema(json=strict_schema(schema) if strict else schema),
        strict=True if strict else None,
    )
    choice: ToolChoice | None = None
    if _can_force(profile, request):
        only = not others and "tool" in profile.tool_choice
        choice = ToolChoice(tool=SpecificToolChoice(name=name)) if only else ToolChoice(any=AnyToolChoice())
    return request.model_copy(update={"tool_config": ToolConfig(tools=[*others, tool], tool_choice=choice)})


def _asked_in_words(request: ConverseRequest, output: OutputType[Any], profile: ModelProfile) -> ConverseRequest:
    words = TextBlock(
        text="Answer with one JSON document and nothing else: no explanation, no code fence. It must follow this JSON "
        f"schema:\n{json.dumps(output.schema, ensure_ascii=False)}"
    )
    messages = list(request.messages or ())
    if profile.system_prompts or not messages:
        return request.model_copy(update={"system": [*(request.system or ()), words]})
    # A final assistant message is the beginning of the answer.
    asking = [number for number, message in enumerate(messages) if message.role == "user"] or [-1]
    last = messages[asking[-1]]
    messages[asking[-1]] = last.model_copy(update={"content": [*last.content, words]})
    return request.model_copy(update={"messages": messages})


# -- reading

_FENCE: Final = re.compile(r"```(?:json)?\s*\n?(.*?)(?:```|\Z)", re.DOTALL)
_START: Final = re.compile(r"[\[{]")
# An answer that contains only brackets must not take seconds.
_MOST_STARTS: Final = 1_000


def documents_in(text: str, *, whole: bool = False) -> Iterator[object]:
    """Yield the JSON document that a text is or, unless it must be the ``whole`` text, those inside it.

    Inside means in code fences or, if no fence contains one, the longest one between words.
    """
    if (document := _parsed(text)) is not None:
        yield document[0]
    elif not whole:
        found = False
        for match in _FENCE.finditer(text):
            if (document := _parsed(match[1])) is not None:
                found = True
                yield document[0]
        if not found and (document := _longest_in(text)) is not None:
            yield document[0]


def _parsed(text: str) -> tuple[object] | None:
    try:
        return (cast("object", json.loads(text)),)
    except (ValueError, RecursionError):
        return None


def _longest_in(text: str) -> tuple[object] | None:
    """Return the longest document between words, because a reference such as [1] is one, too."""
    decoder = json.JSONDecoder()
    found, length, position = None, 0, 0
    for _ in range(_MOST_STARTS):
        if (start := _START.search(text, position)) is None:
            break
        try:
            value, position = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            position = start.end()
        else:
            if position - start.start() > length:
                found, length = (cast("object", value),), position - start.start()
    return found


_LONG: Final = 16_384
_OF_NUMBERS: Final = "+-.0123456789eE"


class PartialOutput:
    """Builds an object from pieces of JSON as a stream delivers them: text, or the input of the output's tool.

    `feed` returns the object as far as it is known if it has grown, else None. Strings grow piece by piece; numbers,
    names and literals appear when they are complete. Objects are plain: nothing is validated, and the last pieces of a
    long one appear only in the final output.
    """

    def __init__(self, *, wrapped: bool = False) -> None:
        self._wrapped = wrapped
        self._text = ""
        self._parsed = 0
        self._from = 0
        self._last: object = None

    def feed(self, piece: str) -> object | None:
        """Add the next piece; return the object if it has grown."""
        self._text += piece
        # Parsing restarts each time: for long answers, only after they have grown by another sixty-fourth.
        if len(self._text) > _LONG and len(self._text) - self._parsed < len(self._text) // 64:
            return None
        self._parsed = len(self._text)
        found = self._found()
        if self._wrapped and isinstance(found, dict):
            found = cast("dict[str, object]", found).get(VALUE)
        if found is None or found == self._last:
            return None
        self._last = found
        return found

    def _found(self) -> object:
        while (start := _START.search(self._text, self._from)) is not None:
            begun = self._text[start.start() :].rstrip(_OF_NUMBERS)
            try:
                return cast("object", from_json(begun, allow_partial="trailing-strings"))
            except ValueError:
                if self._last:  # words, or the end of a fence, after it
                    break
                self._from = start.end()  # a bracket among the words before it
        return None


# -- repairing

_NOTHING_SAID: Final = "(no answer)"


def repair(
    error: OutputInvalidError, *, tool: str | None = None, profile: ModelProfile = UNKNOWN
) -> tuple[Message, Message]:
    """Return the messages to add to the conversation: the answer, and what was wrong with it.

    If the answer used tools, it is said in their results, because each use needs one.
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
        content = [TextBlock(text=text if tool is None else f"{text} Call the tool {tool!r} with it.")]
    said = list(_replayable(response.message.content, profile)) or [TextBlock(text=_NOTHING_SAID)]
    return Message(role="assistant", content=said), Message(role="user", content=content)


def _replayable(content: Sequence[ContentBlock], profile: ModelProfile) -> Iterator[ContentBlock]:
    """Yield the blocks of an answer that the model accepts back: the service rejects blank text and invalid inputs."""
    for block in content:
        if isinstance(block, TextBlock) and not block.text.strip():
            continue
        if isinstance(block, ReasoningBlock) and (profile.reasoning is None or not profile.reasoning.replayed):
            continue
        yield with_object_input(block) if isinstance(block, ToolUseBlock) else block


__all__ = [
    "OUTPUT_MODES",
    "Asked",
    "OutputFaults",
    "OutputMode",
    "OutputType",
    "PartialOutput",
    "Rung",
    "asked",
    "documents_in",
    "is_about_schema",
    "ladder",
    "next_rung",
    "repair",
]
