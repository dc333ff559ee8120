"""Tools made from typed functions: `tool` reads name, description and schema from the signature and the docstring.

    @tool
    async def weather(city: str, days: int = 1) -> str:
        \"\"\"Tell the weather.

        Args:
            city: The name of a city.
            days: How many days ahead.
        \"\"\"

The function itself is not changed: ``weather("Paris")`` still calls it. Nothing here runs a tool for the model.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, update_wrapper
from types import SimpleNamespace, UnionType
from typing import (
    Annotated,
    Any,
    Concatenate,
    Final,
    Generic,
    ParamSpec,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

import msgspec
from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model
from pydantic.errors import PydanticUndefinedAnnotation
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind
from pydantic_core import PydanticUndefined

from .._error import a_kind
from ..errors import InvalidRequestError
from ..types import Message, ToolInputSchema, ToolSpec, ToolUseBlock
from .json_schemas import Schema, strict_obstacle, strict_schema

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
Q = ParamSpec("Q")

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ToolInput(msgspec.Struct, frozen=True):
    """The input of one tool use, held to the function's types; ``error`` says what is wrong, for the model to read."""

    arguments: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may know of the call: it is passed to a parameter of this type, which the model does not see.

    - ``tool_use``: what the model asked for.
    - ``messages``: what the loop has added to the conversation so far, ending with the model's answer of this turn.
    - ``round``: the number of the answer that asked for it, from 1 on.
    - ``deps``: what ``run_tools(..., deps=...)`` was given: a database, a user, anything.
    """

    tool_use: ToolUseBlock
    messages: Sequence[Message] = ()
    round: int = 1
    deps: Any = None


class Tool(Generic[P, R]):
    """A function that a model may call: what the model is told of it, and the check of what the model passes.

    Calling the tool calls the function. ``is_async`` says whether that returns an awaitable; a function that is not
    async may block, and belongs off the event loop. A tool may also be made of a method: reached through an object, it
    is a tool of that object, and ``unbound`` before that. ``context_parameter`` is the name of the parameter that takes
    a `ToolContext`, where there is one.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        strict: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        given: object = function
        if inspect.isclass(given) or not callable(given):
            what = f"the class {given.__name__}" if inspect.isclass(given) else a_kind(given)
            raise InvalidRequestError(
                f"{what} is not a tool.", path="function", hint="Pass a function, or an object that can be called."
            )
        self.function = function
        self.context_parameter: str | None = None
        self._given_description = description
        self.name: str = name or getattr(function, "__name__", None) or type(function).__name__
        _check_text("name", self.name)
        _check_text("description", description)
        check_limit_s("timeout_s", timeout_s)
        self.strict = strict
        self.timeout_s = timeout_s
        self.is_async = inspect.iscoroutinefunction(_routine(function))
        if not _NAME.fullmatch(self.name):
            raise InvalidRequestError(
                f"the tool name {self.name!r} is not one that the service accepts.",
                path="name",
                hint='Pass @tool(name="..."): letters A to Z, digits, _ and -, 64 at most.',
            )
        said, self._said_of_parameters = read_docstring(inspect.getdoc(function) or "")
        self.description = description or said or None
        update_wrapper(self, function, updated=())
        self._model = self._input_model()
        self.unbound: bool = next(iter(self._fields), None) == "self"
        self._plain_schema = self._read_schema()
        if strict and (obstacle := strict_obstacle(self._plain_schema)) is not None:
            raise self._fault(f"cannot be strict: {obstacle}", "Use types with fixed members, or leave strict out.")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        return self.function(*args, **kwargs)

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Tool[P, R]: ...

    @overload
    def __get__(
        self: Tool[Concatenate[S, Q], R],  # pyright: ignore[reportGeneralTypeIssues]
        instance: S,
        owner: type[Any] | None = None,
    ) -> Tool[Q, R]: ...

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        """Return a tool of that object, when it is a method that is reached through one."""
        bind: Any = getattr(self.function, "__get__", None)
        if instance is None or bind is None:
            return self
        return Tool(
            bind(instance, owner),
            name=self.name,
            description=self._given_description,
            strict=self.strict,
            timeout_s=self.timeout_s,
        )

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"

    @cached_property
    def schema(self) -> Schema:
        """The JSON schema of the input."""
        return strict_schema(self._plain_schema) if self.strict else self._plain_schema

    @cached_property
    def spec(self) -> ToolSpec:
        """The definition that goes into a request."""
        return ToolSpec(
            name=self.name,
            description=self.description,
            input_schema=ToolInputSchema(json=self.schema),
            strict=True if self.strict else None,
        )

    def read(self, use: ToolUseBlock) -> ToolInput:
        """Return the arguments for the function, converted to its types, or what is wrong with them.

        Input that is not a JSON object, as a cut-off answer leaves it, is an error: it is never taken for an empty one.
        """
        if use.invalid_input:
            return ToolInput(error="The input is not a complete JSON object. Call the tool again with a shorter one.")
        try:
            made = self._model.model_validate(use.input)
        except ValidationError as exc:
            details = exc.errors(include_url=False, include_input=False, include_context=False)
            faults = "\n".join(f"- {'.'.join(map(str, each['loc'])) or 'input'}: {each['msg']}" for each in details)
            return ToolInput(error=f"The input does not fit:\n{faults}")
        return ToolInput({name: getattr(made, alias) for name, alias in self._fields.items()})

    def _read_schema(self) -> Schema:
        try:
            schema = self._model.model_json_schema(by_alias=True, schema_generator=_Generator)
        except (PydanticUserError, PydanticUndefinedAnnotation) as exc:
            raise self._untold(exc) from exc
        return cast("Schema", _without_titles(schema))

    def _input_model(self) -> type[BaseModel]:
        try:
            signature = inspect.signature(self.function)
            hints = _hints_of(_routine(self.function))
        except (NameError, TypeError, ValueError) as exc:
            raise self._fault(f"has a signature that cannot be read: {exc}", "Import the names of its types.") from exc
        members: dict[str, Any] = {}
        # Fields have names of their own, so that a parameter may be called as a method of pydantic's models is.
        self._fields: dict[str, str] = {}
        for index, parameter in enumerate(signature.parameters.values()):
            if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY}:
                raise self._fault(
                    f"takes {parameter}, which no model can pass by name", "Give each argument its own name."
                )
            hint = hints.get(parameter.name, Any)
            if _is_context(hint):
                self.context_parameter = parameter.name
                continue
            alias = f"parameter_{index}"
            self._fields[parameter.name] = alias
            members[alias] = self._member(parameter, hint)
        try:
            return create_model(self.name, __config__=_CONFIG, **members)
        except (PydanticUserError, PydanticUndefinedAnnotation) as exc:
            raise self._untold(exc) from exc

    def _member(self, parameter: inspect.Parameter, kind: Any) -> tuple[Any, Any]:  # noqa: ANN401 - a type
        """Return the type and the default of a field; what a Field of the function's own says comes first."""
        given = parameter.default
        own = [each for each in get_args(kind)[1:] if isinstance(each, FieldInfo)] if _is_annotated(kind) else []
        if isinstance(given, FieldInfo):
            own.append(given)
            kind = Annotated[kind, given]
        described = any(each.description for each in own)
        said: dict[str, Any] = {} if described else {"description": self._said_of_parameters.get(parameter.name)}
        if isinstance(given, FieldInfo) and given.default_factory is not None:
            return kind, Field(default_factory=given.default_factory, alias=parameter.name, **said)
        default = given.default if isinstance(given, FieldInfo) else given
        default = ... if default is inspect.Parameter.empty or default is PydanticUndefined else default
        return kind, Field(default, alias=parameter.name, **said)

    def _untold(self, exc: Exception) -> InvalidRequestError:
        said = str(exc).splitlines()[0].rstrip(".")
        return self._fault(
            f"has a parameter that cannot be described to a model: {said}",
            "Use types that pydantic can read from JSON; a TypedDict is that of typing_extensions before Python 3.12.",
        )

    def _fault(self, what: str, hint: str) -> InvalidRequestError:
        return InvalidRequestError(f"the tool {self.name!r} {what}.", path=self.name, hint=hint)


_CONFIG: Final = ConfigDict(extra="forbid", protected_namespaces=())


class _Generator(GenerateJsonSchema):
    """Leaves a default out that JSON cannot hold: an object that stands for "not given" is nothing for a model."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012


def check_limit_s(path: str, limit_s: object) -> None:
    """Refuse what is neither None nor a number of seconds above 0. Raises InvalidRequestError."""
    if limit_s is None:
        return
    if isinstance(limit_s, bool) or not isinstance(limit_s, int | float) or not limit_s > 0:
        raise InvalidRequestError(
            f"{path} is {limit_s!r}.", path=path, hint="Pass seconds, more than 0, or leave it out."
        )


def _check_text(path: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise InvalidRequestError(f"{path} is {a_kind(value)}, not text.", path=path)


def _hints_of(routine: Any) -> Mapping[str, Any]:  # noqa: ANN401 - anything that can be called
    """Return the types of the parameters. What a tool returns may be of a type that only type checkers import."""
    try:
        return get_type_hints(routine, include_extras=True)
    except NameError:
        plain = inspect.unwrap(routine)
        hints = {name: hint for name, hint in plain.__annotations__.items() if name != "return"}
        bare = SimpleNamespace(__annotations__=hints, __globals__=getattr(plain, "__globals__", {}))
        return get_type_hints(bare, include_extras=True)


def _is_context(hint: object) -> bool:
    """Tell whether a parameter takes the `ToolContext`, or may be left without one by who calls the function."""
    plain = get_args(hint)[0] if _is_annotated(hint) else hint
    union = get_origin(plain) in (Union, UnionType)
    return plain is ToolContext or (union and ToolContext in get_args(plain))


def _routine(function: Any) -> Any:  # noqa: ANN401 - anything that can be called
    """Return what is run when ``function`` is called: itself, or the method of an object."""
    while isinstance(function, partial):
        function = cast("Any", function).func
    return function if inspect.isroutine(function) else type(function).__call__


def _is_annotated(kind: object) -> bool:
    return get_origin(kind) is Annotated


def _without_titles(schema: object) -> object:
    """Leave out the titles that pydantic makes of names, and the name of the model: words that the model pays for."""
    if isinstance(schema, list):
        return [_without_titles(each) for each in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    members = cast("dict[str, object]", schema)
    made: dict[str, object] = {}
    for name, value in members.items():
        if name in {"properties", "$defs"} and isinstance(value, dict):
            inner = cast("dict[str, object]", value)
            made[name] = {key: _without_titles(each) for key, each in inner.items()}
        elif name in _DATA:
            made[name] = value
        elif not (name == "title" and isinstance(value, str)):
            made[name] = _without_titles(value)
    return made


_DATA: Final = frozenset({"default", "enum", "const", "examples"})


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *, name: str | None = None, description: str | None = None, strict: bool = False, timeout_s: float | None = None
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool = False,
    timeout_s: float | None = None,
) -> Tool[P, R] | Callable[[Callable[P, R]], Tool[P, R]]:
    """Make a tool from a typed function, as ``@tool`` or ``@tool(name=..., strict=True)``.

    The schema comes from the types of the parameters, their descriptions from the docstring (of Google's, numpy's or
    Sphinx' style) or from ``Annotated[..., Field(description=...)]``. With ``strict`` the service holds the model to
    the schema, where it can; ``timeout_s`` is how long one call may take, in seconds. Raises InvalidRequestError for a
    function whose arguments have no JSON schema.
    """

    def made(each: Callable[P, R]) -> Tool[P, R]:
        return Tool(each, name=name, description=description, strict=strict, timeout_s=timeout_s)

    return made if function is None else made(function)


# -- docstrings

_SPHINX: Final = re.compile(r":param\s+(?:[^:]*\s)?\*{0,2}(\w+):\s*")
_SECTION: Final = re.compile(r"(Args|Arguments|Parameters|Params|Other Parameters|Keyword Args|Keyword Arguments):?")
_OTHER_SECTION: Final = re.compile(
    r"(Returns?|Yields?|Raises|Examples?|Notes?|See Also|Warnings?|Attributes|References|Todo):?"
)
_GOOGLE_ITEM: Final = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_NUMPY_ITEM: Final = re.compile(r"\*{0,2}(\w+)\s*(?::.*)?")


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return the description in a docstring, without its sections, and what it says of each parameter."""
    said: list[str] = []
    parameters: dict[str, str] = {}
    lines = inspect.cleandoc(text).splitlines()
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        underlined = at + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[at + 1].strip()) is not None
        indented = lines[at][:1].isspace()
        if not indented and _SECTION.fullmatch(line) and (underlined or line.endswith(":")):
            end = _end_of_section(lines, at + 1 + underlined, underlined=underlined)
            body = lines[at + 1 + underlined : end]
            parameters |= _items(body, _NUMPY_ITEM if underlined else _GOOGLE_ITEM)
            at = end
        elif not indented and _OTHER_SECTION.fullmatch(line) and (underlined or line.endswith(":")):
            at = _end_of_section(lines, at + 1 + underlined, underlined=underlined)
        elif line.startswith(":"):
            end = _end_of_field(lines, at + 1)
            if (match := _SPHINX.match(line)) is not None:
                parameters[match[1]] = _joined([line[match.end() :], *lines[at + 1 : end]])
            at = end
        else:
            said.append(lines[at])
            at += 1
    return "\n".join(said).strip(), parameters


def _end_of_section(lines: Sequence[str], start: int, *, underlined: bool) -> int:
    for at in range(start, len(lines)):
        line = lines[at]
        if underlined:
            if at + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[at + 1].strip()):
                return at
        elif line.strip() and not line[0].isspace():
            return at
    return len(lines)


def _end_of_field(lines: Sequence[str], start: int) -> int:
    for at in range(start, len(lines)):
        if not lines[at].strip() or not lines[at][0].isspace():
            return at
    return len(lines)


def _items(lines: Sequence[str], item: re.Pattern[str]) -> dict[str, str]:
    """Read the items of a section: those that are indented least are names, the others belong to the one before."""
    filled = [line for line in lines if line.strip()]
    least = min((len(line) - len(line.lstrip()) for line in filled), default=0)
    found: dict[str, list[str]] = {}
    name = ""
    for line in filled:
        match = item.fullmatch(line.strip()) if len(line) - len(line.lstrip()) == least else None
        if match is not None:
            name = match[1]
            found[name] = [match[2]] if item is _GOOGLE_ITEM else []
        elif name:
            found[name].append(line)
    return {name: _joined(pieces) for name, pieces in found.items()}


def _joined(pieces: Sequence[str]) -> str:
    return " ".join(piece.strip() for piece in pieces if piece.strip())
