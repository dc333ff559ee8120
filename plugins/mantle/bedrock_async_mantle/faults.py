"""Errors in OpenAI's form, as HTTP bodies and inside streams, in the error tree of bedrock-async."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from bedrock_async import BedrockError, InputTooLongError, ServiceError
from bedrock_async.errors import service_error, service_error_from_response

__all__ = ["read_error", "told_error"]

# The status that decides the error class, by ``code`` or else ``type``. bedrock-mantle answers HTTP 401 to a bad
# key and to a model that the account may not use; only the code tells them apart.  [invalid_api_key, access_denied,
# validation_error, invalid_request_error, permission_denied_error: printed by several projects, 2026-07 and 2026-08;
# the others are OpenAI's]
_STATUSES: Final[Mapping[str, int]] = {
    "access_denied": 403,
    "api_error": 500,
    "authentication_error": 401,
    "conflict": 409,
    "engine_overloaded": 503,
    "internal_error": 500,
    "internal_server_error": 500,
    "invalid_api_key": 401,
    "invalid_prompt": 400,
    "invalid_request": 400,
    "invalid_request_error": 400,
    "invalid_value": 400,
    "missing_required_parameter": 400,
    "model_not_found": 404,
    "not_found": 404,
    "not_found_error": 404,
    "overloaded_error": 503,
    "permission_denied": 403,
    "permission_denied_error": 403,
    "permission_error": 403,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "server_is_overloaded": 503,
    "service_unavailable": 503,
    "service_unavailable_error": 503,
    "slow_down": 429,
    "throttling_error": 429,
    "throttling_exception": 429,
    "timeout": 504,
    "unknown_parameter": 400,
    "unsupported_parameter": 400,
    "unsupported_value": 400,
    "validation_error": 400,
    "vector_store_timeout": 504,
}
# Statuses that have a class of their own.
_CLASSED: Final = frozenset({400, 401, 403, 404, 408, 409, 424, 429, 500, 502, 503, 504})
# Codes for which Bedrock has one of its own with the same meaning.
_CODES: Final[Mapping[str, str]] = {
    "insufficient_quota": "ServiceQuotaExceededException",
    "UnknownOperationException": "UnknownOperationException",
}
_TOO_LONG: Final = frozenset({"context_length_exceeded", "string_above_max_length"})
# A server fault sent as HTTP 400, gone a moment later.  [aws-samples/sample-per-model-bedrock, 2026-08]
_SERVER_FAULTS: Final = ("internal server error", "internal failure", "internal error")

# Part of a message (in lower case) -> next step; the first match wins.  [texts: aws-samples/sample-per-model-bedrock]
_HINTS: Final[Mapping[str, str]] = {
    "isn't supported on this route": "Models are served under /v1 or /openai/v1; choose the other path: "
    'provider_options={"path": "/openai/v1"}. Some models are served in a few regions only.',
    "doesn't exist or doesn't support this api": "The model, or this API of it, is not served there: try "
    'provider_options={"api": ...}, or call it with provider="converse".',
    "does not support the '": 'Choose the other API with provider_options={"api": "chat"} or {"api": "responses"}, or '
    'call the model with provider="converse". Claude models support neither.',
    "function tools with reasoning_effort": 'Call it with provider_options={"api": "responses"}, which takes both.',
    "does not support tool_choice": 'Leave tool_choice out, or call the model with provider="converse".',
    "unknownoperation": "Nothing is served under that path: bedrock-runtime has /openai/v1, bedrock-mantle /v1 and "
    "/openai/v1.",
    "bedrock-mantle:": "Allow that action in the principal's IAM policy; permissions for bedrock: do not cover "
    "bedrock-mantle:.",
}


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> BedrockError:
    """Return the error of an HTTP response: read in OpenAI's form if it has that, else in Bedrock's."""
    plain = service_error_from_response(status, headers, body)
    told = told_error(_parsed(body), status=status)
    if told is None:
        return plain
    told.request_id = plain.request_id or headers.get("x-request-id")
    told.retry_after_s = plain.retry_after_s
    return told


def told_error(value: object, *, status: int | None = None) -> ServiceError | None:
    """Return the error that JSON reports, or None. Without ``status`` the JSON came inside a stream.

    ``value`` is a body (``{"error": {...}}``), an event of a stream, or what bedrock-runtime answers with HTTP 200 to
    an unknown path.
    """
    fault = _fault(value)
    if fault is None:
        return None
    code, kind = _word(fault.get("code")), _word(fault.get("type"))
    message = _text(fault.get("message")) or "the answer contains no error message"
    in_stream = status is None
    decided = _decided(code, kind, message, status)
    if code in _TOO_LONG or kind in _TOO_LONG:
        error: ServiceError = InputTooLongError(
            message,
            code=code,
            status=400,
            in_stream=in_stream,
            hint="Shorten the input, or choose a model with a larger context window.",
        )
    else:
        unknown = "ModelStreamErrorException" if in_stream else "ModelErrorException"
        own = _CODES.get(code) or _CODES.get(kind) or ("" if decided else unknown)
        error = service_error(own, message, status=decided, in_stream=in_stream)
    # The class is chosen; code and status stay as they came.
    error.code = code or kind or error.code
    if status is not None:
        error.status = status
    said = f"{code} {message}".lower()
    error.hint = next((hint for text, hint in _HINTS.items() if text in said), error.hint)
    return error


def _decided(code: str, kind: str, message: str, status: int | None) -> int | None:
    """Return the status that decides the error class, or None if nothing does."""
    if message.strip().rstrip(".").lower() in _SERVER_FAULTS:
        return 500
    number = int(code) if len(code) == 3 and code.isascii() and code.isdigit() else 0
    # The HTTP status is more exact than a general type, which counts only if nothing else decides.
    failed = next((each for each in (number, status or 0) if 400 <= each < 600), None)
    return _STATUSES.get(code) or (failed if failed in _CLASSED else _STATUSES.get(kind)) or failed


def _fault(value: object) -> Mapping[str, Any] | None:
    """Return the members of an error: ``message``, ``code`` and ``type``."""
    if not isinstance(value, Mapping):
        return None
    members = cast("Mapping[str, Any]", value)
    fault: object = members.get("error")
    if fault and isinstance(fault, Mapping):
        return cast("Mapping[str, Any]", fault)
    if fault and isinstance(fault, str):
        return {"message": fault, "code": members.get("code")}
    if members.get("type") == "error" or members.get("object") == "error":
        return {name: each for name, each in members.items() if name != "type" or each != "error"}
    if "message" in members and "param" in members:
        return members
    output = members.get("Output")
    kind = cast("Mapping[str, Any]", output).get("__type") if isinstance(output, Mapping) else None
    if isinstance(kind, str):
        code = kind.rpartition("#")[2]
        return {"code": code, "message": f"the endpoint does not know the operation ({code})"}
    return None


def _parsed(body: bytes) -> object:
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value


def _word(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
