"""The keywords of a call, and the request that they make."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypedDict, cast

from pydantic import ValidationError

from ..errors import InvalidRequestError
from ..known_models import KnownModelId
from ..resilience import RetryPolicy, Timeouts
from ..types import (
    ConverseRequest,
    GuardrailConfig,
    Message,
    SystemBlock,
    ToolChoice,
    ToolConfig,
    ToolDefinition,
)
from ..types._wire import is_member

Messages: TypeAlias = "str | Sequence[Mapping[str, object] | Message]"
"""A question as text, or the turns of a conversation: boto3-shaped dicts and `Message` objects mix freely."""

ROLES: Final = ("user", "assistant", "system")


class CallSettings(TypedDict, total=False):
    """The keywords that all verbs take.

    A value of None is the same as leaving the keyword out.
    """

    system: str | Sequence[str | Mapping[str, object] | SystemBlock] | None
    tools: ToolConfig | Sequence[Mapping[str, object] | ToolDefinition] | None
    tool_choice: Literal["auto", "any"] | str | Mapping[str, object] | ToolChoice | None
    """``"auto"``, ``"any"``, the name of the tool that must be used, or the wire's own object."""
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    stop_sequences: Sequence[str] | None
    guardrail: GuardrailConfig | Mapping[str, object] | None
    effort: str | None
    performance: Literal["standard", "optimized"] | str | None
    service_tier: Literal["priority", "default", "flex", "reserved"] | str | None
    request_metadata: Mapping[str, str] | None
    prompt_variables: Mapping[str, str] | None
    inference_profile: KnownModelId | str | None
    """The id or ARN that the call goes to, while ``model`` says what the model behind it can do."""
    additional_request_fields: Mapping[str, object] | None
    additional_response_field_paths: Sequence[str] | None
    extra_body: Mapping[str, object] | None
    """Merged into the JSON body last, object into object."""
    provider: str | None
    provider_options: Mapping[str, object] | None
    timeouts: Timeouts | None
    retry: RetryPolicy | None
    streaming: bool | None
    """False lets `stream` call Converse and replay the answer as events, for models that cannot stream."""
    accumulate: bool | None
    """False lets a stream keep nothing of what it brings: constant memory, but no `get_final_response`."""


_INFERENCE: Final = {
    "max_tokens": "maxTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "stop_sequences": "stopSequences",
}


_BOTO3_NAMES: Final = {
    "additionalModelRequestFields": "additional_request_fields={...}",
    "additionalModelResponseFieldPaths": "additional_response_field_paths=[...]",
    "guardrailConfig": "guardrail={...}",
    "inferenceConfig": "max_tokens=, temperature=, top_p= and stop_sequences=",
    "outputConfig": "effort=, or extra_body={'outputConfig': {...}}",
    "performanceConfig": "performance='optimized'",
    "promptVariables": "prompt_variables={'name': 'text'}",
    "serviceTier": "service_tier='flex'",
    "toolConfig": "tools=[...] and tool_choice=",
}
"""What the members of boto3's Converse, which have other shapes or other names, are called here."""

_NO_NAME_NEAR: Final = (
    "Pass members of the model's own through additional_request_fields, members of the request through extra_body."
)


def check_names(settings: Mapping[str, object], *, verb: str, known: type = CallSettings) -> None:
    """Refuse keywords that ``known`` has not. Raises InvalidRequestError with the nearest valid name."""
    if unknown := settings.keys() - known.__annotations__.keys():
        name = min(unknown)
        names = known.__annotations__
        if known is CallSettings and name in _BOTO3_NAMES:
            raise InvalidRequestError(
                f"{verb}() has no keyword {name!r}, which is boto3's.",
                path=name,
                hint=f"Pass {_BOTO3_NAMES[name]}; or a whole request, ConverseRequest.from_dict(...).",
            )
        near = [full for full in names if full.startswith(name)] or difflib.get_close_matches(name, names, n=1)
        raise InvalidRequestError(
            f"{verb}() has no keyword {name!r}.",
            path=name,
            hint=f"Did you mean {near[0]!r}?" if near else _NO_NAME_NEAR,
        )


HOW_SENT: Final = frozenset(
    {"accumulate", "inference_profile", "provider", "provider_options", "retry", "streaming", "timeouts"}
)
"""The keywords that say how a request is sent, and nothing of what is in it."""


def check_ready(settings: Mapping[str, object], *, verb: str) -> None:
    """Refuse keywords that would change a ready request, which is sent as it is. Raises InvalidRequestError."""
    changing = sorted(name for name, value in settings.items() if value is not None and name not in HOW_SENT)
    if changing:
        raise InvalidRequestError(
            f"{verb}() has {', '.join(changing)} beside a ready request or body, which is sent as it is.",
            path=changing[0],
            hint="Put it in there: client.prepare(model, messages, ...) makes a request of keywords.",
        )


def merged_settings(defaults: Mapping[str, Any], call: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``defaults`` overridden by what the call sets; None in a call leaves the default standing."""
    if not call:
        return dict(defaults)
    return {**defaults, **{name: value for name, value in call.items() if value is not None}}


def build_request(model_id: str, messages: Messages, settings: Mapping[str, Any]) -> ConverseRequest:
    """Return the request that these keywords mean. Raises InvalidRequestError with the path of what is wrong."""
    members: dict[str, Any] = {"modelId": model_id, "messages": _messages(messages)}
    inference = {wire: settings[name] for name, wire in _INFERENCE.items() if settings.get(name) is not None}
    if inference:
        members["inferenceConfig"] = inference
    if (system := settings.get("system")) is not None:
        members["system"] = _system(system)
    if (tools := settings.get("tools")) is not None:
        members["toolConfig"] = _tool_config(tools, settings.get("tool_choice"))
    elif settings.get("tool_choice") is not None:
        raise InvalidRequestError("tool_choice is given without tools.", path="tool_choice", hint="Pass tools=[...].")
    if (guardrail := settings.get("guardrail")) is not None:
        members["guardrailConfig"] = guardrail
    if (effort := settings.get("effort")) is not None:
        members["outputConfig"] = {"effort": effort}
    if (performance := settings.get("performance")) is not None:
        members["performanceConfig"] = {"latency": performance}
    if (tier := settings.get("service_tier")) is not None:
        members["serviceTier"] = {"type": tier}
    if (metadata := settings.get("request_metadata")) is not None:
        members["requestMetadata"] = metadata
    if (variables := settings.get("prompt_variables")) is not None:
        values = _mapping("prompt_variables", variables)
        members["promptVariables"] = {name: {"text": value} for name, value in values.items()}
    if (fields := settings.get("additional_request_fields")) is not None:
        members["additionalModelRequestFields"] = dict(_mapping("additional_request_fields", fields))
    if (paths := settings.get("additional_response_field_paths")) is not None:
        members["additionalModelResponseFieldPaths"] = paths
    try:
        request = ConverseRequest.model_validate(members)
        if (extra := settings.get("extra_body")) is not None:
            request = _extended(request, _mapping("extra_body", extra))
    except ValidationError as exc:
        raise invalid_request(exc) from exc
    return request


def _mapping(keyword: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise InvalidRequestError(
            f"{keyword} is a {type(value).__name__}, not a mapping.",
            path=keyword,
            hint=f'Pass {keyword}={{"name": ...}}.',
        )
    return cast("Mapping[str, object]", value)


def _extended(request: ConverseRequest, extra: Mapping[str, object]) -> ConverseRequest:
    try:
        body = json.dumps(_deep_merge(request.to_wire(), extra))
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidRequestError(f"extra_body holds what JSON cannot: {exc}.", path="extra_body") from exc
    return ConverseRequest.from_wire(body, model_id=request.model_id)


def _messages(messages: object) -> Sequence[object]:
    if isinstance(messages, str):
        return [{"role": "user", "content": [{"text": messages}]}]
    if isinstance(messages, bytes | bytearray) or not isinstance(messages, Sequence):
        raise InvalidRequestError(
            f"messages is a {type(messages).__name__}, not text or a list of messages.",
            path="messages",
            hint='Pass "a question" or [{"role": "user", "content": [{"text": "a question"}]}].',
        )
    turns = list(cast("Sequence[object]", messages))
    for index, message in enumerate(turns):
        role: object = message.role if isinstance(message, Message) else None
        if isinstance(message, Mapping):
            role = cast("Mapping[str, object]", message).get("role")
        elif not isinstance(message, Message):
            raise InvalidRequestError(
                f"messages[{index}] is a {type(message).__name__}, not a dict or a Message.",
                path=f"messages[{index}]",
                hint='A message reads {"role": "user", "content": [{"text": "a question"}]}.',
            )
        if role not in ROLES:
            near = difflib.get_close_matches(str(role), ROLES, n=1)
            raise InvalidRequestError(
                f"messages[{index}].role is {role!r}; it must be one of {', '.join(ROLES)}.",
                path=f"messages[{index}].role",
                hint=f"Did you mean {near[0]!r}?" if near else "Tool results are content of a user message.",
            )
    return turns


def _system(system: object) -> object:
    if isinstance(system, str):
        return [{"text": system}]
    if isinstance(system, Sequence):
        blocks = cast("Sequence[object]", system)
        return [{"text": block} if isinstance(block, str) else block for block in blocks]
    return system


def _tool_config(tools: object, choice: object) -> object:
    if isinstance(tools, ToolConfig):
        if choice is None:
            return tools
        return {"tools": tools.tools, "toolChoice": _tool_choice(choice)}
    config: dict[str, object] = {"tools": tools}
    if choice is not None:
        config["toolChoice"] = _tool_choice(choice)
    return config


def _tool_choice(choice: object) -> object:
    if isinstance(choice, str):
        return {choice: {}} if choice in {"auto", "any"} else {"tool": {"name": choice}}
    return choice


def _deep_merge(base: object, extra: object) -> object:
    if not (isinstance(base, Mapping) and isinstance(extra, Mapping)):
        return extra
    merged = dict(cast("Mapping[str, object]", base))
    for name, value in cast("Mapping[str, object]", extra).items():
        merged[name] = _deep_merge(merged.get(name), value)
    return merged


def invalid_request(fault: ValidationError) -> InvalidRequestError:
    """Return the error of our tree for what pydantic refused: the first fault with its path, and how many more."""
    details = fault.errors(include_url=False, include_input=False, include_context=False)
    first = details[0]
    path = ""
    for step in filter(is_member, first["loc"]):
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    more = f" ({len(details) - 1} more faults behind it)" if len(details) > 1 else ""
    return InvalidRequestError(
        f"{path or 'the request'}: {first['msg']}{more}.", path=path or None, hint=_hint(path, first["type"])
    )


def _hint(path: str, kind: str) -> str | None:
    if path.endswith(".content") and kind == "list_type":
        return 'Content is a list of blocks: [{"text": "..."}].'
    return None
