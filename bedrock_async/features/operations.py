"""The keywords of the operations besides Converse, and the requests that they make."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict, TypeVar, cast

from pydantic import ValidationError

from .. import types
from .._error import a_kind
from ..errors import InvalidRequestError
from ..known_models import KnownModelId
from ..resilience import RetryPolicy, Timeouts
from .checks import check_image
from .fields import check_members
from .guardrails import GuardrailSettings, guardrail_config
from .settings import invalid_request

if TYPE_CHECKING:
    from ..types import (
        ApplyGuardrailRequest,
        ConverseRequest,
        CountTokensRequest,
        GuardrailChecks,
        GuardrailChecksRequest,
        GuardrailConfig,
        GuardrailContent,
        InvokeRequest,
        JobTag,
        ListAsyncInvokesRequest,
        ListFoundationModelsRequest,
        Message,
        StartAsyncInvokeRequest,
        WireModel,
    )

M = TypeVar("M", bound="WireModel")

NativeBody: TypeAlias = "bytes | bytearray | memoryview | str | Mapping[str, object]"
"""The native body of a model: bytes and text go out as they are, a mapping as JSON."""

Tags: TypeAlias = "Mapping[str, str] | Sequence[Mapping[str, str] | JobTag]"
"""Tags: a mapping, or the service's own list of objects with ``key`` and ``value``."""

_COUNTED: Final = {"messages", "system", "toolConfig", "additionalModelRequestFields"}


class InvokeSettings(TypedDict, total=False):
    """The keywords of `invoke` and `invoke_stream`. A value of None is the same as leaving the keyword out."""

    content_type: str | None
    """The type of the body; ``application/json`` unless given."""
    accept: str | None
    guardrail: GuardrailSettings | GuardrailConfig | Mapping[str, object] | None
    performance: Literal["standard", "optimized"] | str | None
    service_tier: Literal["priority", "default", "flex", "reserved"] | str | None
    request_metadata: Mapping[str, str] | None
    inference_profile: KnownModelId | str | None
    """The id or ARN that the call goes to in the place of ``model``."""
    timeouts: Timeouts | None
    retry: RetryPolicy | None


class BidirectionalSettings(TypedDict, total=False):
    """The keywords of `invoke_bidirectional`. A value of None is the same as leaving the keyword out."""

    inference_profile: KnownModelId | str | None
    """The id or ARN that the call goes to in the place of ``model``."""
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
        config = _validated(types.GuardrailConfig, guardrail_config(guardrail))
        members["guardrailIdentifier"] = config.guardrail_identifier
        members["guardrailVersion"] = config.guardrail_version
        # Converse says "enabled_full" where InvokeModel says "ENABLED_FULL".
        members["trace"] = config.trace.upper() if config.trace else None
    return _validated(types.InvokeRequest, {name: value for name, value in members.items() if value is not None})


def invoke_tags(request: InvokeRequest) -> Mapping[str, str] | None:
    """Return the metadata of a request, which travel as JSON in a header; None without any."""
    return None if request.request_metadata is None else json.loads(request.request_metadata)


def native_body(body: object) -> bytes:
    """Return a native body as bytes. Raises InvalidRequestError for anything else."""
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(cast("bytes | bytearray | memoryview[int]", body))
    if isinstance(body, str):
        try:
            return body.encode()
        except UnicodeEncodeError as exc:
            raise InvalidRequestError(
                f"body is text with a lone surrogate at position {exc.start}, which UTF-8 cannot represent.",
                path="body",
                hint="Pass a mapping, or the text of json.dumps, which escapes it.",
            ) from exc
    if isinstance(body, Mapping):
        return _json("body", cast("Mapping[str, object]", body))
    raise InvalidRequestError(
        f"body is {a_kind(body)}, not bytes, text or a mapping.",
        path="body",
        hint="Pass the model's native body as a dict, or as JSON.",
    )


def build_count_tokens(request: ConverseRequest) -> CountTokensRequest:
    """Return the request that counts what ``request`` would send; members that are no input are left out."""
    counted = {name: value for name, value in request.to_dict().items() if name in _COUNTED}
    return types.CountTokensRequest.from_dict({"modelId": request.model_id, "input": {"converse": counted}})


def build_count_tokens_of_body(model_id: str, body: object) -> CountTokensRequest:
    """Return the request that counts a native body. Raises InvalidRequestError."""
    counted = {"invokeModel": {"body": native_body(body)}}
    return _validated(types.CountTokensRequest, {"modelId": model_id, "input": counted})


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
            raise InvalidRequestError(
                f"{name} is empty.", path=name, hint="A guardrail is named by its id or ARN, a version '1' or 'DRAFT'."
            )
    pieces = [content] if isinstance(content, str) else _sequence("content", content)
    members: dict[str, Any] = {
        "guardrailIdentifier": guardrail_id,
        "guardrailVersion": version,
        "source": source,
        "content": [{"text": {"text": piece}} if isinstance(piece, str) else piece for piece in pieces],
    }
    if output_scope is not None:
        members["outputScope"] = output_scope
    request = _validated(types.ApplyGuardrailRequest, members)
    for index, piece in enumerate(request.content):
        if piece.image is not None:
            check_image(piece.image, f"content[{index}].image")
    return request


def build_guardrail_checks(
    messages: str | Sequence[Mapping[str, object] | Message], checks: Mapping[str, object] | GuardrailChecks
) -> GuardrailChecksRequest:
    """Return the request that these arguments mean. Raises InvalidRequestError with the path of what is wrong."""
    turns: Sequence[object] = (
        [{"role": "user", "content": [{"text": messages}]}]
        if isinstance(messages, str)
        else [each.to_dict() if isinstance(each, types.Message) else each for each in _sequence("messages", messages)]
    )
    if isinstance(checks, Mapping):
        check_members(types.GuardrailChecks, checks, path="checks", newer="through GuardrailChecks.from_dict(...)")
    request = _validated(types.GuardrailChecksRequest, {"messages": turns, "checks": checks})
    if not request.checks.model_fields_set:
        raise InvalidRequestError(
            "checks names no check: nothing would be looked for.",
            path="checks",
            hint='Pass one or more: {"contentFilter": {...}, "promptAttack": {...}, "sensitiveInformation": {...}}.',
        )
    return request


def _sequence(name: str, value: object) -> Sequence[object]:
    """Return a list as it is. A dict is refused: iterating over it would take the names of its members for texts."""
    if isinstance(value, bytes | bytearray) or not isinstance(value, Sequence):
        raise InvalidRequestError(
            f"{name} is {a_kind(value)}, not text or a list.", path=name, hint=f"Pass {name}=[...]."
        )
    return cast("Sequence[object]", value)


def build_start_async_invoke(
    model_id: str,
    model_input: object,
    *,
    output_s3_uri: str,
    client_request_token: str,
    kms_key_id: str | None,
    bucket_owner: str | None,
    tags: Tags | None,
) -> StartAsyncInvokeRequest:
    """Return the request that these arguments mean. Raises InvalidRequestError with the path of what is wrong."""
    if not isinstance(model_input, Mapping):
        raise InvalidRequestError(
            f"model_input is {a_kind(model_input)}, not a mapping.",
            path="model_input",
            hint="Pass the model's native input as a dict; bytes in it are base64 text.",
        )
    _json("model_input", cast("Mapping[str, object]", model_input))
    if not client_request_token:
        raise InvalidRequestError(
            "client_request_token is empty.",
            path="client_request_token",
            hint="Leave it out: each call then makes its own.",
        )
    from ..types.async_invoke import start_members

    members = start_members(
        model_id,
        cast("Mapping[str, object]", model_input),
        output_s3_uri=output_s3_uri,
        client_request_token=client_request_token,
        kms_key_id=kms_key_id,
        bucket_owner=bucket_owner,
        tags=tags,
    )
    return _validated(types.StartAsyncInvokeRequest, members)


def build_list_async_invokes(
    *,
    status: str | None,
    submitted_after: datetime | None,
    submitted_before: datetime | None,
    sort_by: str | None,
    sort_order: str | None,
) -> ListAsyncInvokesRequest:
    """Return the request that these filters mean. Raises InvalidRequestError for a time without a time zone."""
    _check_time("submitted_after", submitted_after)
    _check_time("submitted_before", submitted_before)
    members = {
        "status_equals": status,
        "submit_time_after": submitted_after,
        "submit_time_before": submitted_before,
        "sort_by": sort_by,
        "sort_order": sort_order,
    }
    return _validated(
        types.ListAsyncInvokesRequest, {name: value for name, value in members.items() if value is not None}
    )


def _check_time(name: str, when: object) -> None:
    if when is not None and not isinstance(when, datetime):
        raise InvalidRequestError(
            f"{name} is {a_kind(when)}, not a datetime.",
            path=name,
            hint="Pass datetime.now(timezone.utc) - timedelta(days=1), or datetime.fromisoformat(...).",
        )
    if when is not None and when.tzinfo is None:
        raise InvalidRequestError(
            f"{name} is a datetime without a time zone.",
            path=name,
            hint="Make it aware: datetime.now(timezone.utc).",
        )


def check_place(*, max_results: object, page_size: object, next_token: object) -> None:
    """Refuse wrong numbers and tokens for a listing. Raises InvalidRequestError."""
    for name, value in (("max_results", max_results), ("page_size", page_size)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise InvalidRequestError(f"{name} is {value!r}; it must be a whole number, 1 or more.", path=name)
    if next_token is not None and not isinstance(next_token, str):
        raise InvalidRequestError(
            f"next_token is {a_kind(next_token)}, not text.",
            path="next_token",
            hint="Pass the next_token of an earlier listing.",
        )


def build_list_models(
    *, provider: str | None, output_modality: str | None, inference_type: str | None, customization_type: str | None
) -> ListFoundationModelsRequest:
    """Return the request that these filters mean. Raises InvalidRequestError."""
    members = {
        "by_provider": provider,
        "by_output_modality": output_modality,
        "by_inference_type": inference_type,
        "by_customization_type": customization_type,
    }
    return _validated(
        types.ListFoundationModelsRequest, {name: value for name, value in members.items() if value is not None}
    )


def _validated(kind: type[M], members: object) -> M:
    try:
        return kind.model_validate(members)
    except ValidationError as exc:
        raise invalid_request(exc) from exc


def _json(name: str, value: object) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidRequestError(f"{name} contains a value that JSON cannot represent: {exc}.", path=name) from exc
