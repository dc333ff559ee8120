"""The keywords of a call, and the request that they make."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypedDict

from pydantic import ValidationError

from ..errors import InvalidRequestError
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


_INFERENCE: Final = {
    "max_tokens": "maxTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "stop_sequences": "stopSequences",
}
_OF_THE_CALL: Final = frozenset({"provider", "provider_options", "timeouts", "retry", "streaming"})


def check_names(settings: Mapping[str, object], *, verb: str) -> None:
    """Refuse keywords that no verb takes. Raises InvalidRequestError with the nearest valid name."""
    if unknown := settings.keys() - CallSettings.__annotations__.keys():
        name = min(unknown)
        near = difflib.get_close_matches(name, CallSettings.__annotations__, n=1)
        raise InvalidRequestError(
            f"{verb}() has no keyword {name!r}.",
            path=name,
            hint=f"Did you mean {near[0]!r}?" if near else "Pass members of the model's own through "
            "additional_request_fields, members of the request itself through extra_body.",
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
        members["requestMetadata"] = dict(metadata)
    if (variables := settings.get("prompt_variables")) is not None:
        members["promptVariables"] = {name: {"text": value} for name, value in variables.items()}
    if (fields := settings.get("additional_request_fields")) is not None:
        members["additionalModelRequestFields"] = dict(fields)
    if (paths := settings.get("additional_response_field_paths")) is not None:
        members["additionalModelResponseFieldPaths"] = list(paths)
    try:
        request = ConverseRequest.model_validate(members)
        if extra := settings.get("extra_body"):
            request = ConverseRequest.from_wire(_deep_merge(request.to_wire(), extra), model_id=model_id)
    except ValidationError as exc:
        raise invalid_request(exc) from exc
    return request


def _messages(messages: Messages) -> list[Any]:
    if isinstance(messages, str):
        return [{"role": "user", "content": [{"text": messages}]}]
    if isinstance(messages, Mapping | Message) or not isinstance(messages, Sequence):
        raise InvalidRequestError(
            f"messages is a {type(messages).__name__}, not text or a list of messages.",
            path="messages",
            hint='Pass "a question" or [{"role": "user", "content": [{"text": "a question"}]}].',
        )
    for index, message in enumerate(messages):
        role: object = message.role if isinstance(message, Message) else None
        if isinstance(message, Mapping):
            role = message.get("role")
        if role not in ROLES:
            near = difflib.get_close_matches(str(role), ROLES, n=1)
            raise InvalidRequestError(
                f"messages[{index}].role is {role!r}; it must be one of {', '.join(ROLES)}.",
                path=f"messages[{index}].role",
                hint=f"Did you mean {near[0]!r}?" if near else "Tool results are content of a user message.",
            )
    return list(messages)


def _system(system: object) -> object:
    if isinstance(system, str):
        return [{"text": system}]
    if isinstance(system, Sequence):
        return [{"text": block} if isinstance(block, str) else block for block in system]
    return system


def _tool_config(tools: object, choice: object) -> object:
    if isinstance(tools, ToolConfig):
        if choice is None:
            return tools
        return {"tools": tools.tools, "toolChoice": _tool_choice(choice)}
    config: dict[str, object] = {"tools": list(tools) if isinstance(tools, Sequence) else tools}
    if choice is not None:
        config["toolChoice"] = _tool_choice(choice)
    return config


def _tool_choice(choice: object) -> object:
    if isinstance(choice, str):
        return {choice: {}} if choice in {"auto", "any"} else {"tool": {"name": choice}}
    return choice


def _deep_merge(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in extra.items():
        old = merged.get(name)
        merged[name] = _deep_merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


# Steps of pydantic's locations that stand for a choice among classes, not for a member.
_NOT_MEMBERS: Final = frozenset({"both", "unknown"})


def invalid_request(fault: ValidationError) -> InvalidRequestError:
    """Return the error of our tree for what pydantic refused: the first fault with its path, and how many more."""
    details = fault.errors(include_url=False, include_input=False, include_context=False)
    first = details[0]
    path = ""
    for step in first["loc"]:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step not in _NOT_MEMBERS:
            path += f".{step}" if path else step
    more = f" ({len(details) - 1} more faults behind it)" if len(details) > 1 else ""
    return InvalidRequestError(f"{path}: {first['msg']}{more}.", path=path, hint=_hint(path, first["type"]))


def _hint(path: str, kind: str) -> str | None:
    if path.endswith(".content") and kind == "list_type":
        return 'Content is a list of blocks: [{"text": "..."}].'
    return None
