"""Errors in OpenAI's form, and the classes that they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bedrock_async_mantle.faults import read_error, told_error

from bedrock_async import (
    AccessDeniedError,
    AuthenticationError,
    ConflictError,
    InputTooLongError,
    InternalServerError,
    ModelIdRejectedError,
    OnDemandNotSupportedError,
    QuotaExceededError,
    ResourceNotFoundError,
    ServiceError,
    ServiceUnavailableError,
    ThrottlingError,
    ValidationError,
)

CASES = [
    # Bodies as public projects print them from bedrock-mantle and bedrock-runtime, 2026-07 to 2026-09.
    (401, "invalid_api_key", "permission_denied_error", "Invalid bearer token", AuthenticationError),
    (401, "access_denied", "permission_denied_error", "x is not available for this account.", AccessDeniedError),
    (403, "access_denied", "permission_denied_error", "not authorized to perform: bedrock-mantle:X", AccessDeniedError),
    (400, "validation_error", "invalid_request_error", "Unsupported parameter: 'max_tokens'", ValidationError),
    (
        400,
        "validation_error",
        "invalid_request_error",
        "The provided model identifier is invalid.",
        ModelIdRejectedError,
    ),
    (
        400,
        "validation_error",
        "invalid_request_error",
        "Invocation of model ID x with on-demand throughput isn\u2019t supported.",
        OnDemandNotSupportedError,
    ),
    (404, None, "invalid_request_error", "The model 'gpt-4o' does not exist", ResourceNotFoundError),
    (400, None, None, "Internal server error", InternalServerError),
    # OpenAI's own words.
    (400, "context_length_exceeded", "invalid_request_error", "too many", InputTooLongError),
    (429, "rate_limit_exceeded", "tokens", "Slow.", ThrottlingError),
    (429, "insufficient_quota", "insufficient_quota", "No more.", QuotaExceededError),
    (503, "server_is_overloaded", "service_unavailable_error", "Busy.", ServiceUnavailableError),
    (503, "slow_down", "service_unavailable_error", "Slow.", ThrottlingError),
    (500, "server_error", "server_error", "Oops.", InternalServerError),
    (409, None, None, "Conflict.", ConflictError),
    (422, "something_new", "invalid_request_error", "New.", ValidationError),
    (418, "something_new", "something_new", "Tea.", ServiceError),
]


@pytest.mark.parametrize(("status", "code", "kind", "message", "error"), CASES)
def test_the_class_of_an_error_goes_by_its_code(
    status: int, code: str | None, kind: str | None, message: str, error: type[ServiceError]
) -> None:
    """After the code, the status decides, then the type; code, message and status stay as they came."""
    body = {"error": {"code": code, "message": message, "param": None, "type": kind}}
    told = read_error(status, {"x-amzn-requestid": "r-1", "retry-after": "3"}, json.dumps(body).encode())
    assert type(told) is error
    assert (told.message, told.status, told.request_id, told.retry_after_s) == (message, status, "r-1", 3.0)
    assert told.code == (code or kind or told.code)
    assert told.hint
    assert told.retryable == issubclass(error, InternalServerError | ServiceUnavailableError | ThrottlingError)


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("model `google.gemma-4-31b` isn't supported on this route", 'provider_options={"path"'),
        ("The model 'x' does not support the '/v1/responses' API", "Choose the other API"),
        ("The model doesn't exist or doesn't support this API", "is not served there"),
        ("Function tools with reasoning_effort are not supported for x", '{"api": "responses"}'),
        ("The model 'x' does not support tool_choice '\"required\"' for /v1/responses API.", "Leave tool_choice out"),
        ("not authorized to perform: bedrock-mantle:CreateInference on resource", "do not cover bedrock-mantle:"),
    ],
)
def test_messages_that_need_it_have_a_next_step_of_their_own(message: str, hint: str) -> None:
    """These are the endpoints' messages about paths, APIs and permissions."""
    told = told_error({"error": {"message": message, "code": "validation_error"}}, status=400)
    assert told is not None
    assert hint in (told.hint or "")


def test_an_unknown_path_of_the_runtime_is_an_error_under_http_200() -> None:
    """What bedrock-runtime answers to it would be an empty success."""
    body = {"Output": {"__type": "com.amazon.coral.service#UnknownOperationException"}, "Version": "1.0"}
    told = told_error(body, status=200)
    assert isinstance(told, ValidationError)
    assert (told.code, told.status) == ("UnknownOperationException", 200)
    assert "/openai/v1" in (told.hint or "")


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (b'{"Message": "User is not authorized"}', AccessDeniedError, "User is not authorized"),
        (
            b'{"message": "The security token included in the request is invalid."}',
            AccessDeniedError,
            "The security token",
        ),
        (b"<html>502</html>", AccessDeniedError, "contains no error message"),
        (b"{" * 999, AccessDeniedError, "contains no error message"),
        (b'{"error": null}', AccessDeniedError, "contains no error message"),
        (b'{"code":"invalid_api_key","message":"No.","param":null,"type":"x"}', AuthenticationError, "No."),
        (b'{"error": {"message": "  "}}', AccessDeniedError, "contains no error message"),
    ],
)
def test_other_forms_are_read_as_bedrock_tells_errors(body: bytes, error: type[ServiceError], message: str) -> None:
    """AWS's front end, or a gateway, answers so in place of the endpoint."""
    told = read_error(403, {}, body)
    assert type(told) is error
    assert message in told.message


@pytest.mark.parametrize("value", [None, 5, [], {}, {"choices": []}, {"type": "response.created"}, {"Output": {}}])
def test_what_is_no_error_is_none(value: Any) -> None:  # noqa: ANN401
    """Chunks, events and answers."""
    assert told_error(value) is None
