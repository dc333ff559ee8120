"""The keywords of the operations beside Converse, and the requests that they make."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypedDict, TypeVar, cast

from pydantic import ValidationError

from ..errors import InvalidRequestError
from ..resilience import RetryPolicy, Timeouts
from ..types import (
    ApplyGuardrailRequest,
    ConverseRequest,
    CountTokensRequest,
    GuardrailChecks,
    GuardrailChecksRequest,
    GuardrailConfig,
    GuardrailContent,
    InvokeRequest,
    Message,
    WireModel,
)
from .settings import invalid_request

M = TypeVar("M", bound=WireModel)

NativeBody: TypeAlias = "bytes | str | Mapping[str, object]"
"""The native body of a model: bytes and text go out as they are, a mapping as JSON."""

_COUNTED: Final = {"messages", "system", "toolConfig", "additionalModelRequestFields"}


class InvokeSettings(TypedDict, total=False):
    """The keywords of `invoke` and `invoke_stream`. A value of None is the same as leaving the keyword out."""

    content_type: str | None
    """The type of the body; ``application/json`` unless given."""
    accept: str | None
    guardrail: GuardrailConfig | Mapping[str, object] | None
    performance: Literal["standard", "optimized"] | str | None
    service_tier: Literal["priority", "default", "flex", "reserved"] | str | None
    request_metadata: Mapping[str, str] | None
    timeouts: Timeouts | None
    retry: RetryPolicy | None


def build_invoke(model_id: str, body: object, settings: Mapping[str, Any]) -> InvokeRequest:
    """Return the request that these keywords mean. Raises InvalidRequestError."""
    members: dict[str, Any] = {
        "modelId": model_id,
        "body": native_body(body),
        "contentType": settings.get("content_type") or "application/json",
        "accept": settings.get("accept"),
        "performanceConfigLatency": settings.get("performance"),
        "serviceTier": settings.get("service_tier"),
    }
    if (metadata := settings.get("request_metadata")) is not None:
        members["requestMetadata"] = _json("request_metadata", metadata).decode("ascii")
    if (guardrail := settings.get("guardrail")) is not None:
        config = _validated(GuardrailConfig, guardrail)
        members["guardrailIdentifier"] = config.guardrail_identifier
        members["guardrailVersion"] = config.guardrail_version
        # Converse says "enabled_full" where InvokeModel says "ENABLED_FULL".
        members["trace"] = config.trace.upper() if config.trace else None
    return _validated(InvokeRequest, {name: value for name, value in members.items() if value is not None})


def native_body(body: object) -> bytes:
    """Return a native body as bytes. Raises InvalidRequestError for what is none."""
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, Mapping):
        return _json("body", cast("Mapping[str, object]", body))
    raise InvalidRequestError(
        f"body is a {type(body).__name__}, not bytes, text or a mapping.",
        path="body",
        hint="Pass the model's native body as a dict, or as JSON.",
    )


def build_count_tokens(request: ConverseRequest) -> CountTokensRequest:
    """Return the request that counts what ``request`` would send; members that are no input are left out."""
    counted = {name: value for name, value in request.to_dict().items() if name in _COUNTED}
    return CountTokensRequest.from_dict({"modelId": request.model_id, "input": {"converse": counted}})


def build_count_tokens_of_body(model_id: str, body: object) -> CountTokensRequest:
    """Return the request that counts a native body. Raises InvalidRequestError."""
    counted = {"invokeModel": {"body": native_body(body)}}
    return _validated(CountTokensRequest, {"modelId": model_id, "input": counted})


def build_apply_guardrail(
    guardrail_id: str,
    version: str,
    *,
    source: str,
    content: str | Sequence[str | Mapping[str, object] | GuardrailContent],
    output_scope: str | None,
) -> ApplyGuardrailRequest:
    """Return the request that these arguments mean. Raises InvalidRequestError with the path of what is wrong."""
    for name, value in (("guardrail_id", guardrail_id), ("version", version)):
        if not value:
            raise InvalidRequestError(f"{name} is empty.", path=name, hint="Versions are numbers, or 'DRAFT'.")
    pieces = [content] if isinstance(content, str) else content
    members: dict[str, Any] = {
        "guardrailIdentifier": guardrail_id,
        "guardrailVersion": version,
        "source": source,
        "content": [{"text": {"text": piece}} if isinstance(piece, str) else piece for piece in pieces],
    }
    if output_scope is not None:
        members["outputScope"] = output_scope
    return _validated(ApplyGuardrailRequest, members)


def build_guardrail_checks(
    messages: str | Sequence[Mapping[str, object] | Message], checks: Mapping[str, object] | GuardrailChecks
) -> GuardrailChecksRequest:
    """Return the request that these arguments mean. Raises InvalidRequestError with the path of what is wrong."""
    turns: Sequence[object] = (
        [{"role": "user", "content": [{"text": messages}]}]
        if isinstance(messages, str)
        else [message.to_dict() if isinstance(message, Message) else message for message in messages]
    )
    return _validated(GuardrailChecksRequest, {"messages": turns, "checks": checks})


def _validated(kind: type[M], members: object) -> M:
    try:
        return kind.model_validate(members)
    except ValidationError as exc:
        raise invalid_request(exc) from exc


def _json(name: str, value: object) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidRequestError(f"{name} holds what JSON cannot: {exc}.", path=name) from exc
