"""The keywords of a call, and the request that they make."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict, cast

from pydantic import ValidationError

from .._error import a_kind
from ..errors import InvalidRequestError
from ..families.profiles import ModelProfile, ProfileFields, overridden
from ..types import (
    ConverseRequest,
    GuardrailConfig,
    Message,
    SystemBlock,
    WireModel,
)
from .guardrails import guardrail_config
from .other_names import OTHER_NAMES
from .tools import tool_config

if TYPE_CHECKING:
    from ..known_models import KnownModelId
    from ..resilience import Continuation, RetryPolicy, Timeouts
    from .cache_plan import CacheConfig
    from .guardrails import GuardrailSettings
    from .normalize import Normalization
    from .reasoning import Reasoning
    from .structured import OutputMode
    from .tools import ToolChoiceLike, Tools

Messages: TypeAlias = "str | Sequence[Mapping[str, object] | Message]"
"""A question as text, or the turns of a conversation: boto3-shaped dicts and `Message` objects mix freely."""

ROLES: Final = ("user", "assistant", "system")


class UntypedSettings(TypedDict, total=False):
    """The keywords of `CallSettings` but for those that ask for an output of a type."""

    system: str | Sequence[str | Mapping[str, object] | SystemBlock] | None
    tools: Tools | None
    """What the model may use: tools made with `tool`, typed functions, definitions and boto3 dicts, in any mixture."""
    tool_choice: ToolChoiceLike | None
    """``"auto"``, ``"any"``, ``"none"``, the tool that must be used or its name, or the wire's own object."""
    parallel_tools: bool | None
    """False lets the model ask for one tool at a time; refused for models that cannot be told so."""
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    stop_sequences: Sequence[str] | None
    guardrail: GuardrailSettings | GuardrailConfig | Mapping[str, object] | None
    cache: CacheConfig | Mapping[str, object] | Literal["auto"] | None
    """Which cache points the planner sets; ``"auto"`` is ``CacheConfig(strategy="auto")``. See `plan_cache`."""
    reasoning: Reasoning | Mapping[str, object] | None
    """How much the model thinks, for all models alike."""
    normalize: bool | Literal["strict"] | Normalization | None
    """Whether what the service is known to refuse is put right, by default True; ``"strict"`` refuses it here."""
    effort: str | None
    performance: Literal["standard", "optimized"] | str | None
    service_tier: Literal["priority", "default", "flex", "reserved"] | str | None
    request_metadata: Mapping[str, str] | None
    prompt_variables: Mapping[str, str] | None
    inference_profile: KnownModelId | str | None
    """The id or ARN that the call goes to, while ``model`` says what the model behind it can do."""
    model_profile: ModelProfile | ProfileFields | None
    """Facts about the model that correct the built-in tables: all of them, or some."""
    additional_request_fields: Mapping[str, object] | None
    additional_response_field_paths: Sequence[str] | None
    extra_body: Mapping[str, object] | None
    """Merged into the JSON body last, object into object."""
    provider: str | None
    provider_options: Mapping[str, object] | None
    timeouts: Timeouts | None
    retry: RetryPolicy | None
    continuation: Continuation | None
    """Lets a stream that fails in the middle go on in another attempt, with the text so far."""
    streaming: bool | None
    """False makes `stream` call Converse and replay the answer as events, for models that cannot stream."""
    accumulate: bool | None
    """False makes a stream keep nothing of what it brings: constant memory, but no `get_final_response`."""


class CallSettings(UntypedSettings, total=False):
    """The keywords that all verbs take; docs/requests.md#keywords lists them with their meanings and defaults.

    A value of None is the same as leaving the keyword out.
    """

    output_type: object
    """What the answer is to be: a pydantic model, dataclass, TypedDict, any type that pydantic knows, or a JSON schema.

    The model is asked for it. `stream` returns an `OutputStream`; the reply of `converse` is not read: use `parse`.
    """
    output_mode: OutputMode | None
    """How the model is asked for it; by default the first way that the model has and the service does not refuse."""


_INFERENCE: Final = {
    "max_tokens": "maxTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "stop_sequences": "stopSequences",
}


def _no_name_near(valid: Sequence[str]) -> str:
    if "extra_body" in valid:
        return (
            "Pass the model's own members through additional_request_fields, members of the request through extra_body."
        )
    return f"It has: {', '.join(valid)}."


_OWN_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "parse": ("max_repairs",),
    "run_tools": ("max_rounds", "max_concurrency", "tool_timeout_s", "on_tool_error", "deps"),
    "count_tokens": ("body", "breakdown", "estimate"),
    "estimate_cost": (
        *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
        *("batch", "estimate"),
    ),
    "embed": (
        *("purpose", "dimensions", "normalize", "truncate", "max_concurrency"),
        "additional_request_fields",
    ),
    "rerank": ("top_n", "additional_request_fields"),
    "generate_image": (
        *("images", "mask", "negative_prompt", "count", "width", "height", "aspect_ratio", "seed", "format", "task"),
        "additional_request_fields",
    ),
}
"""Keywords that a verb has besides its settings."""


def check_names(
    settings: Mapping[str, object],
    *,
    verb: str,
    known: type = CallSettings,
    others: Mapping[str, tuple[str, str]] | None = None,
) -> None:
    """Refuse keywords that are not in ``known``. Raises InvalidRequestError with the nearest valid name.

    ``others`` are names that keywords have in other libraries; by default those known for the keywords of a call.
    """
    names = known.__annotations__
    if not settings.keys() <= names.keys():
        name = min(settings.keys() - names.keys())
        where = verb if verb.endswith(")") else f"{verb}()"
        if others is None:
            others = OTHER_NAMES if known is CallSettings else {}
        if name in others:
            whose, here = others[name]
            raise InvalidRequestError(
                f"{where} has no keyword {name!r}, which is {whose}.",
                path=name,
                hint=here if here.endswith(".") else f"Pass {here}.",
            )
        if "settings" in names and name in CallSettings.__annotations__:
            raise InvalidRequestError(
                f"{where} has no keyword {name!r}, which calls have.",
                path=name,
                hint=f"Pass it to a call, or for all calls settings={{{name!r}: ...}}.",
            )
        valid = [*_OWN_NAMES.get(verb, ()), *names]
        near = [full for full in valid if full.startswith(name)] or difflib.get_close_matches(name, valid, n=1)
        raise InvalidRequestError(
            f"{where} has no keyword {name!r}.",
            path=name,
            hint=f"Did you mean {near[0]!r}?" if near else _no_name_near(valid),
        )


HOW_SENT: Final = frozenset(
    {
        "accumulate",
        "continuation",
        "inference_profile",
        "model_profile",
        "provider",
        "provider_options",
        "retry",
        "streaming",
        "timeouts",
    }
)
"""The keywords that say how a request is sent, and nothing about what is in it."""


ASKING: Final = frozenset({"output_mode", "output_type"})
"""The keywords that ask for an output; a ready request is asked with them, too."""


def check_ready(settings: Mapping[str, object], *, verb: str, allowed: frozenset[str] = frozenset()) -> None:
    """Refuse keywords that would change a ready request, which is sent as it is. Raises InvalidRequestError."""
    changing = sorted(
        name for name, value in settings.items() if value is not None and name not in HOW_SENT and name not in allowed
    )
    if changing:
        raise InvalidRequestError(
            f"{verb}() has {', '.join(changing)} together with a ready request or body, which is sent as it is.",
            path=changing[0],
            hint="Put it into the request: client.prepare(model, messages, ...) builds one from keywords.",
        )


def merged_settings(defaults: Mapping[str, Any], call: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``defaults`` overridden by what the call sets; None in a call leaves the default standing.

    Of ``model_profile`` each fact is overridden for itself.
    """
    if not call:
        return dict(defaults)
    merged = {**defaults, **{name: value for name, value in call.items() if value is not None}}
    if "model_profile" in merged and "model_profile" in defaults:
        merged["model_profile"] = _facts(defaults["model_profile"], merged["model_profile"])
    return merged


def _facts(defaults: object, facts: object) -> object:
    if facts is defaults or not isinstance(facts, Mapping):
        return facts
    changes = cast("Mapping[str, Any]", facts)
    if isinstance(defaults, ModelProfile):
        return overridden(defaults, changes, path="model_profile")
    return {**cast("Mapping[str, Any]", defaults), **changes} if isinstance(defaults, Mapping) else changes


def changed_settings(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``settings`` after ``changes``, of which None removes a setting; lists and dicts are copies."""
    changed = {**settings, **{name: copied(value) for name, value in changes.items()}}
    return {name: value for name, value in changed.items() if value is not None}


def copied(value: object) -> Any:  # noqa: ANN401 - a setting of any kind
    """Return a setting that nobody else can change: lists and dicts are copied deeply."""
    if isinstance(value, dict):
        return {name: copied(each) for name, each in cast("dict[object, object]", value).items()}
    if isinstance(value, list):
        return [copied(each) for each in cast("list[object]", value)]
    return value


def build_request(model_id: str, messages: Messages, settings: Mapping[str, Any]) -> ConverseRequest:
    """Return the request that these keywords mean. Raises InvalidRequestError with the path of what is wrong."""
    members: dict[str, Any] = {"modelId": model_id, "messages": _messages(messages)}
    inference = {wire: settings[name] for name, wire in _INFERENCE.items() if settings.get(name) is not None}
    if inference:
        members["inferenceConfig"] = inference
    if (system := settings.get("system")) is not None:
        members["system"] = _system(system)
    tools = settings.get("tools")
    if tools is not None and tools not in ([], ()):  # the service refuses an empty list
        members["toolConfig"] = tool_config(tools, settings.get("tool_choice"))
    elif settings.get("tool_choice") not in (None, "none"):
        raise InvalidRequestError("tool_choice was passed without tools.", path="tool_choice", hint="Pass tools=[...].")
    if (guardrail := settings.get("guardrail")) is not None:
        members["guardrailConfig"] = guardrail_config(guardrail)
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
        request: ConverseRequest = ConverseRequest.__pydantic_validator__.validate_python(members)
        if (extra := settings.get("extra_body")) is not None:
            request = _extended(request, _mapping("extra_body", extra))
    except ValidationError as exc:
        raise invalid_request(exc) from exc
    return request


def _mapping(keyword: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise InvalidRequestError(
            f"{keyword} is {a_kind(value)}, not a mapping.",
            path=keyword,
            hint=f'Pass {keyword}={{"name": ...}}.',
        )
    return cast("Mapping[str, object]", value)


def _extended(request: ConverseRequest, extra: Mapping[str, object]) -> ConverseRequest:
    try:
        body = json.dumps(_deep_merge(request.to_wire(), extra))
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidRequestError(
            f"extra_body contains a value that JSON cannot represent: {exc}.", path="extra_body"
        ) from exc
    return ConverseRequest.from_wire(body, model_id=request.model_id)


_MESSAGE: Final = 'A message looks like {"role": "user", "content": [{"text": "a question"}]}.'
_ONE_TURN: Final = (
    'Text and blocks are the content of a message: pass [{"role": "user", "content": [block, {"text": "a question"}]}].'
)


def _messages(messages: object) -> Sequence[object]:
    if isinstance(messages, str):
        return [{"role": "user", "content": [{"text": messages}]}]
    if not isinstance(messages, list | Sequence) or isinstance(messages, bytes | bytearray):
        raise InvalidRequestError(
            f"messages is {a_kind(messages)}, not text or a list of messages.",
            path="messages",
            hint='Pass "a question" or [{"role": "user", "content": [{"text": "a question"}]}].',
        )
    turns = list(cast("Sequence[object]", messages))
    for index, message in enumerate(turns):
        if isinstance(message, dict | Mapping):
            role = cast("Mapping[str, object]", message).get("role")
        elif isinstance(message, Message):
            role = message.role
        else:
            raise InvalidRequestError(
                f"messages[{index}] is {a_kind(message)}, not a dict or a Message.",
                path=f"messages[{index}]",
                hint=_ONE_TURN if isinstance(message, str | WireModel) else _MESSAGE,
            )
        if role not in ROLES:
            if isinstance(message, Mapping) and message and message.keys().isdisjoint(("role", "content")):
                raise InvalidRequestError(
                    f"messages[{index}] has no role and no content.", path=f"messages[{index}]", hint=_ONE_TURN
                )
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


def _deep_merge(base: object, extra: object) -> object:
    if not (isinstance(base, Mapping) and isinstance(extra, Mapping)):
        return extra
    merged = dict(cast("Mapping[str, object]", base))
    for name, value in cast("Mapping[str, object]", extra).items():
        merged[name] = _deep_merge(merged.get(name), value)
    return merged


def invalid_request(fault: ValidationError) -> InvalidRequestError:
    """Return the error of our tree for what pydantic refused in a request made from keywords."""
    from ..types._faults import invalid_request as refusal

    return refusal(fault, hints=_hint)


def _hint(path: str, kind: str) -> str | None:
    if kind == "string_type":  # boto3's object in the place of its one member
        return next((hint for member, hint in _MEMBERS.items() if path.startswith(member)), None)
    return None


_MEMBERS: Final = {
    "performanceConfig.": 'Pass performance="optimized".',
    "promptVariables.": 'Pass prompt_variables={"name": "text"}.',
    "serviceTier.": 'Pass service_tier="flex".',
}
