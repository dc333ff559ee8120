"""The tools of a call, in all the forms that callers have them, and the choice among them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec

from .._error import a_kind
from ..errors import InvalidRequestError
from ..families.profiles import ModelProfile
from ..types import (
    CachePointBlock,
    ConverseRequest,
    SystemTool,
    ToolChoice,
    ToolConfig,
    ToolDefinition,
    ToolResultBlock,
    ToolSpec,
    ToolUseBlock,
    UnknownBlock,
)
from .adjustment import Adjustment
from .tool_schema import Tool

ToolLike: TypeAlias = Tool[..., Any] | Callable[..., Any] | Mapping[str, object] | ToolDefinition
"""A tool: one made with `tool`, a typed function, a `ToolSpec`, `SystemTool` or cache point, or boto3's dict of those.

A plain function is made a tool each time it is passed, which costs about a millisecond: in busy services, decorate it.
"""

Tools: TypeAlias = ToolConfig | Sequence[ToolLike]
"""The tools of a call, of all forms mixed; or a whole `ToolConfig`."""

ToolChoiceLike: TypeAlias = (
    Literal["auto", "any", "none"] | str | Tool[..., Any] | Callable[..., Any] | Mapping[str, object] | ToolChoice
)
"""How the model chooses among the tools.

``"auto"``: as it likes. ``"any"``: it must use one. ``"none"``: it must not. The name of a tool, or the tool itself: it
must use that one. Or the wire's own object, such as ``{"tool": {"name": "any"}}`` for a tool of such a name.
"""

_WORDS: Final = frozenset({"auto", "any"})


class ToolSet(msgspec.Struct, frozen=True):
    """The tools of a call, read once: what the model is told of, and the functions by their names."""

    definitions: Tools
    functions: Mapping[str, Tool[..., Any]]
    declared: frozenset[str]
    """The names of tools without a function here: the caller runs those."""

    @classmethod
    def of(cls, tools: object) -> ToolSet:
        """Read the ``tools`` of a call. Raises InvalidRequestError, also for two functions of one name."""
        if isinstance(tools, ToolConfig):
            return cls(tools, {}, tool_names(tools.tools))
        read = [as_tool(each, f"toolConfig.tools[{index}]") for index, each in enumerate(_listed(tools))]
        functions: dict[str, Tool[..., Any]] = {}
        declared = tool_names(read)
        for index, each in enumerate(read):
            if not isinstance(each, Tool):
                continue
            if each.name in functions or each.name in declared:
                raise InvalidRequestError(
                    f"two tools are called {each.name!r}.",
                    path=f"toolConfig.tools[{index}]",
                    hint='Give one of them another name: @tool(name="...").',
                )
            functions[each.name] = each
        return cls(cast("Tools", read), functions, declared)


def tool_config(tools: object, choice: object) -> object:
    """Return what the keywords ``tools`` and ``tool_choice`` mean, for `ConverseRequest` to validate.

    The choice ``"none"`` is left to `settle_tool_choice`. Raises InvalidRequestError.
    """
    if isinstance(tools, ToolConfig):
        config: dict[str, object] = {"tools": tools.tools}
        if choice is None:
            return tools
    else:
        config = {
            "tools": [definition(each, f"toolConfig.tools[{index}]") for index, each in enumerate(_listed(tools))]
        }
    if choice is not None and choice != "none":
        config["toolChoice"] = _known_choice(wire_tool_choice(choice), cast("Sequence[object]", config["tools"]))
    return config


def _known_choice(choice: object, tools: Sequence[object]) -> object:
    """Return the choice. Raises InvalidRequestError for that of a tool that is not there."""
    if isinstance(choice, ToolChoice):
        name: object = None if choice.tool is None else choice.tool.name
    else:
        name = _mapping(_mapping(choice).get("tool")).get("name")
    known = tool_names(tools, ToolSpec, SystemTool)
    if isinstance(name, str) and name not in known and not any(map(_is_of_a_new_kind, tools)):
        near = difflib.get_close_matches(name, [*known, *_WORDS, "none"], n=1)
        others = f'Pass "auto", "any", "none" or the name of a tool: {", ".join(sorted(known))}.'
        raise InvalidRequestError(
            f"tool_choice is {name!r}, but no tool has that name.",
            path="tool_choice",
            hint=f"Did you mean {near[0]!r}?" if near else others,
        )
    return choice


def _is_of_a_new_kind(definition: object) -> bool:
    tags = set(_mapping(definition.raw if isinstance(definition, UnknownBlock) else definition))
    return not tags <= {ToolSpec.tag, SystemTool.tag, CachePointBlock.tag}


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def wire_tool_choice(choice: object) -> object:
    """Return the wire's object for a choice; what is one already is returned as it is."""
    if isinstance(choice, str):
        return {choice: {}} if choice in _WORDS else {"tool": {"name": choice}}
    if isinstance(choice, Tool):
        return {"tool": {"name": cast("Tool[..., Any]", choice).name}}
    if callable(choice) and not isinstance(choice, ToolChoice):
        return {"tool": {"name": getattr(choice, "__name__", type(choice).__name__)}}
    return choice


def forces_a_tool(choice: object) -> bool:
    """Tell whether the model must use a tool under this choice."""
    if choice is None or choice == "none":
        return False
    wire = wire_tool_choice(choice)
    if isinstance(wire, ToolChoice):
        return wire.auto is None
    return not (isinstance(wire, Mapping) and "auto" in wire)


def definition(each: object, path: str) -> object:
    """Return what goes into a request for one tool: the definition of a `Tool` or function, else what was given."""
    read = as_tool(each, path)
    return read.spec if isinstance(read, Tool) else read


def as_tool(each: object, path: str) -> Tool[..., Any] | object:
    """Return a `Tool` for a function; all else is returned as it is.

    Raises InvalidRequestError for a class, and for a method without an object.
    """
    if isinstance(each, Tool):
        made = cast("Tool[..., Any]", each)
        if made.unbound:
            raise InvalidRequestError(
                f"{path} is the method {made.name!r} without an instance.",
                path=path,
                hint="Pass the method of an instance.",
            )
        return made
    if inspect.isclass(each):
        raise InvalidRequestError(
            f"{path} is the class {each.__name__}, not a tool.",
            path=path,
            hint="Pass a function, or an object that can be called.",
        )
    if callable(each):
        return as_tool(Tool(each), path)
    _check_shape(each, path)
    return each


def _check_shape(tool: object, path: str) -> None:
    """Refuse the dict of a tool as other APIs have it. Raises InvalidRequestError, which shows it in the service's."""
    if not isinstance(tool, dict) or len(given := cast("dict[str, object]", tool)) == 1:
        return
    function = given.get("function")
    if isinstance(function, dict):
        members, schema = cast("dict[str, object]", function), 'tool["function"]["parameters"]'
        form = "in OpenAI's form"
    elif "input_schema" in given:
        members, schema, form = given, 'tool["input_schema"]', "in Anthropic's form"
    elif "parameters" in given:
        members, schema, form = given, 'tool["parameters"]', "in OpenAI's form"
    elif "inputSchema" in given and ToolSpec.tag not in given:
        members, schema, form = given, 'tool["inputSchema"]', "without 'toolSpec' around it"
    else:
        return
    name = members.get("name")
    shown = repr(name) if isinstance(name, str) else '"..."'
    nested = given.get("inputSchema")
    wrapped = schema if isinstance(nested, dict) and "json" in nested else f'{{"json": {schema}}}'
    spec = f'{{"name": {shown}, "description": "...", "inputSchema": {wrapped}}}'
    raise InvalidRequestError(
        f"{path} is a tool {form}.",
        path=path,
        hint=f'Write {{"toolSpec": {spec}}}, or pass a function with annotations.',
    )


def settle_tool_choice(request: ConverseRequest, settings: Mapping[str, Any], profile: ModelProfile) -> ConverseRequest:
    """Return the request with ``tool_choice="none"`` and ``parallel_tools=False`` in the words of the model.

    The service's own choice has neither. Models with `ModelProfile.native_tool_choice` take both among the additional
    fields; for the others ``"none"`` leaves the tools out, and ``parallel_tools=False`` raises InvalidRequestError.
    """
    config = request.tool_config
    if config is None:
        return request
    if settings.get("tool_choice") == "none":
        # Claude honours its native field where the Converse one is left out.  [pydantic-ai 2.68.0, observed]
        # Tools that the history used stay, so that a cached prefix stays, too.
        if profile.native_tool_choice and _uses_tools(request):
            return _with_native_choice(request, {"type": "none"})
        left_out = request.model_copy(update={"tool_config": None})
        left_out.__pydantic_fields_set__.discard("tool_config")
        return left_out
    if settings.get("parallel_tools") is not False:
        return request
    if not profile.native_tool_choice:
        raise InvalidRequestError(
            f"{request.model_id} is not known to support parallel_tools=False.",
            path="parallel_tools",
            hint="Leave it out: run_tools(..., max_concurrency=1) runs the tools of a turn one after the other.",
        )
    # A type beside toolConfig.toolChoice is refused; without one the native choice needs it.  [litellm 1.109.1]
    native: dict[str, object] = {"disable_parallel_tool_use": True}
    return _with_native_choice(request, native if config.tool_choice is not None else {"type": "auto", **native})


def resettle_tool_choice(
    request: ConverseRequest, settings: Mapping[str, Any], *, was: ModelProfile, profile: ModelProfile
) -> tuple[ConverseRequest, tuple[Adjustment, ...]]:
    """Return a request that `settle_tool_choice` made for one model (``was``) as another one takes it.

    An answer with tools side by side is worth more there than none, so that ``parallel_tools=False`` is left out.
    """
    fields = request.additional_model_request_fields
    if not was.native_tool_choice or profile.native_tool_choice or not isinstance(fields, dict):
        return request, ()
    changes: dict[str, object] = {}
    if settings.get("tool_choice") == "none":
        changes["tool_config"] = None
        done = Adjustment("tool_choice", "toolConfig", "left out, because no tool is to be used")
    elif settings.get("parallel_tools") is False:
        done = Adjustment("parallel_tools", "additionalModelRequestFields.tool_choice", "left out")
    else:
        return request, ()
    left = {name: value for name, value in fields.items() if name != "tool_choice"}
    changes["additional_model_request_fields"] = left or None
    made = request.model_copy(update=changes)
    made.__pydantic_fields_set__.difference_update(name for name, value in changes.items() if value is None)
    return made, (done,)


def _with_native_choice(request: ConverseRequest, choice: Mapping[str, object]) -> ConverseRequest:
    given = request.additional_model_request_fields
    fields = dict(given) if isinstance(given, dict) else {}
    own = fields.get("tool_choice")
    fields["tool_choice"] = {**choice, **(own if isinstance(own, dict) else {})}  # type: ignore[dict-item]
    return request.model_copy(update={"additional_model_request_fields": fields})


def _uses_tools(request: ConverseRequest) -> bool:
    return any(isinstance(block, _TOOL_BLOCKS) for message in request.messages or () for block in message.content)


_TOOL_BLOCKS: Final = (ToolUseBlock, ToolResultBlock)


def _listed(tools: object) -> Sequence[object]:
    if isinstance(tools, Sequence) and not isinstance(tools, str | bytes):
        return cast("Sequence[object]", tools)
    what = repr(cast("Tool[..., Any]", tools)) if isinstance(tools, Tool) else a_kind(tools)
    raise InvalidRequestError(
        f"toolConfig.tools is {what}, not a list of tools.", path="toolConfig.tools", hint="Pass tools=[...]."
    )


def tool_names(tools: Sequence[object], *kinds: type[ToolSpec | SystemTool]) -> frozenset[str]:
    """Return the names of the definitions of these kinds: ``toolSpec``, those that the caller is to run, by default."""
    found: set[str] = set()
    for each in tools:
        name: object = None
        for kind in kinds or (ToolSpec,):
            name = each.name if isinstance(each, kind) else _mapping(_mapping(each).get(kind.tag)).get("name", name)
        if isinstance(name, str):
            found.add(name)
    return frozenset(found)
