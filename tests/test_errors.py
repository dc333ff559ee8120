"""The error tree and the table of service codes, against recorded and printed errors of the service."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import re
from collections.abc import Mapping
from typing import Any, Final

import pytest
from corpus import CORPUS, Exchange, exchanges
from hypothesis import given
from hypothesis import strategies as st

import bedrock_async
from bedrock_async import errors
from bedrock_async.errors import (
    AccessDeniedError,
    AuthenticationError,
    BedrockError,
    CallTimeoutError,
    ConflictError,
    EventDecodeError,
    ExpiredTokenError,
    IdleTimeoutError,
    InputTooLongError,
    InternalServerError,
    InvalidModelIdError,
    InvalidRequestError,
    MissingExtraError,
    ModelError,
    ModelIdRejectedError,
    ModelNotReadyError,
    ModelStreamError,
    ModelTimeoutError,
    OnDemandNotSupportedError,
    QuotaExceededError,
    ResourceNotFoundError,
    ResponseDecodeError,
    ServiceError,
    ServiceUnavailableError,
    StreamTruncatedError,
    ThrottlingError,
    ValidationError,
    service_error,
    service_error_from_response,
)
from bedrock_async.types import Attempt, ConverseResponse, ResponseMeta

ROWS: Final[list[dict[str, Any]]] = [
    {"code": None, "headers": {}, **row} for row in json.loads((CORPUS / "errors.json").read_bytes())
]
OVER_HTTP: Final = [row for row in ROWS if row["where"] == "http"]
IN_STREAM: Final = [row for row in ROWS if row["where"] == "in-stream"]
RECORDED: Final = [exchange for exchange in exchanges() if exchange.status >= 400]

# What each code means, written down beside the table that is tested.
MEANING: Final[dict[str, tuple[type[ServiceError], bool]]] = {
    "AccessDeniedException": (AccessDeniedError, False),
    "ExpiredTokenException": (ExpiredTokenError, False),
    "InvalidSignatureException": (AuthenticationError, False),
    "UnrecognizedClientException": (AuthenticationError, False),
    "ModelErrorException": (ModelError, True),
    "ModelStreamErrorException": (ModelStreamError, True),
    "ResourceNotFoundException": (ResourceNotFoundError, False),
    "ServiceUnavailableException": (ServiceUnavailableError, True),
    "ThrottlingException": (ThrottlingError, True),
    "ValidationException": (ValidationError, False),
}
# Texts that narrow the class, and a word of the next step that belongs to each.
ADVICE: Final[list[tuple[str, type[ServiceError], str]]] = [
    ("on-demand throughput isn\u2019t supported", OnDemandNotSupportedError, "inference profile"),
    ("model identifier is invalid", ModelIdRejectedError, "whether this region offers it"),
    ("Input is too long", InputTooLongError, "count_tokens()"),
    ("Input Tokens Exceeded", InputTooLongError, "count_tokens()"),
    ("Too many input tokens. Max input tokens: 8192", InputTooLongError, "Shorten the input"),
    ("prompt is too long: 250000 tokens > 200000 maximum", InputTooLongError, "count_tokens()"),
    ("doesn't support tool use in streaming mode", ValidationError, "streaming=False"),
    ("maximum tokens you requested exceeds", ValidationError, "max_tokens"),
    ("not authorized to perform: bedrock:InvokeModel on", AccessDeniedError, "the action bedrock:InvokeModel on"),
    ("You don't have access to the model with the specified model ID.", AccessDeniedError, "Request access"),
    ("aws-marketplace:Subscribe", AccessDeniedError, "aws-marketplace:Subscribe"),
    ("Invalid API Key format", AccessDeniedError, "bedrock:CallWithBearerToken"),
    ("Your account is not authorized to invoke this API operation", AccessDeniedError, "bedrock:InvokeModel"),
    ("Signature expired", AuthenticationError, "clock"),
    ("security token included in the request is expired", ExpiredTokenError, "fresh temporary credentials"),
    ("security token included in the request is invalid", AuthenticationError, "doctor"),
    ("end of its life", ResourceNotFoundError, "active version"),
    ("marked by provider as Legacy", ResourceNotFoundError, "active version"),
    ("Too many tokens", ThrottlingError, "tokens-per-minute"),
    ("Too many requests", ThrottlingError, "Slow down"),
    ("Malformed input request", ValidationError, "client.prepare()"),
    ("Bedrock is unable to process your request", ServiceUnavailableError, "Try again"),
    ("Model produced invalid sequence as part of ToolUse", ModelError, "Try again"),
]


def lower_case(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers as a transport hands them over."""
    return {name.lower(): value for name, value in headers.items()}


def error_of(row: dict[str, Any]) -> ServiceError:
    """Return our error of a printed or recorded HTTP error; where no header was recorded, with the code in one."""
    headers = lower_case(row["headers"])
    if "x-amzn-errortype" not in headers and row["code"] is not None:
        headers["x-amzn-errortype"] = row["code"]
    return service_error_from_response(row["status"], headers, row["body"].encode())


def everything_in(error: ServiceError) -> dict[str, Any]:
    """Return what an error carries, as a dict to compare."""
    return {**vars(error), "class": type(error), "text": str(error)}


# -- the table of codes


@pytest.mark.parametrize("row", OVER_HTTP, ids=lambda row: f"{row['code']}: {row['body'][:40]}")
def test_a_printed_error_has_the_class_code_status_and_message_of_its_kind(row: dict[str, Any]) -> None:
    """Every distinct error of the corpus, both spellings of the message member, recorded headers where there are."""
    error = error_of(row)
    body = json.loads(row["body"])
    kind, retryable = MEANING[row["code"] or "ValidationException"]

    assert isinstance(error, kind)
    assert error.code == (row["code"] or "HTTP 400")
    assert error.status == row["status"]
    assert error.message == body.get("message", body.get("Message"))
    assert error.retryable is retryable
    headers = lower_case(row["headers"])
    assert error.request_id == headers.get("x-amzn-requestid")
    assert error.retry_after_s is None
    assert error.in_stream is False
    assert str(error).startswith(f"{error.code}, HTTP {error.status}: {error.message}")


@pytest.mark.parametrize("row", IN_STREAM, ids=lambda row: f"{row['code']}: {row['body'][:40]}")
def test_a_printed_error_inside_a_stream_is_that_of_the_same_code_over_http(row: dict[str, Any]) -> None:
    """The spelling of the code differs, the class, the status and the advice do not."""
    message = json.loads(row["body"])["message"]
    error = service_error(row["code"], message, in_stream=True)
    code = row["code"][0].upper() + row["code"][1:]
    kind, retryable = MEANING[code]
    over_http = service_error(code, message)

    assert isinstance(error, kind)
    assert (error.code, error.retryable, error.in_stream) == (code, retryable, True)
    assert everything_in(over_http) | {"in_stream": True, "text": str(error)} == everything_in(error)
    assert f"{code}, in the stream: {message}" in str(error)


@pytest.mark.parametrize("exchange", RECORDED, ids=str)
def test_a_recorded_error_response_is_read(exchange: Exchange) -> None:
    """Every recorded exchange of status 400 and above, of any operation, has its message and no None in its text."""
    headers = lower_case(exchange.response_headers)
    body = exchange.response_json
    error = service_error_from_response(exchange.status, headers, exchange.response_body)
    assert error.status == exchange.status
    assert error.message == (body.get("message") or body.get("Message") or error.message)
    assert error.request_id == headers.get("x-amzn-requestid")
    assert type(error) is not ServiceError
    assert error.hint
    assert "None" not in str(error)
    printed = headers.get("x-amzn-errortype", "")
    assert printed.startswith(error.code) if printed else error.code == f"HTTP {exchange.status}"


@pytest.mark.parametrize(("text", "kind", "step"), ADVICE)
def test_the_next_step_fits_the_message(text: str, kind: type[ServiceError], step: str) -> None:
    """Texts that the service is known to send narrow the class where there is one, and say what to do."""
    rows = [error_of(row) for row in OVER_HTTP if text in row["body"]]
    codes = {row_kind: code for code, (row_kind, _) in MEANING.items()}
    code = next(code for row_kind, code in codes.items() if issubclass(kind, row_kind))
    for error in [*rows, service_error(code, f"A sentence. {text}. Another one.")]:
        assert type(error) is kind
        assert error.hint is not None
        assert step in error.hint
        assert str(error).endswith(error.hint)


def test_most_of_the_advice_was_seen_in_the_corpus() -> None:
    """The texts are the service's own: all but two, which public threads quote, stand in the corpus."""
    assert [text for text, _, _ in ADVICE if not any(text in row["body"] for row in ROWS)] == [
        "Too many input tokens. Max input tokens: 8192",
        "prompt is too long: 250000 tokens > 200000 maximum",
    ]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ConflictException", ConflictError),
        ("InternalServerException", InternalServerError),
        ("ModelNotReadyException", ModelNotReadyError),
        ("ModelTimeoutException", ModelTimeoutError),
        ("ServiceQuotaExceededException", QuotaExceededError),
        ("SlowDown", ThrottlingError),
        ("MissingAuthenticationTokenException", AuthenticationError),
    ],
)
@pytest.mark.parametrize(
    "spelling",
    ["{}", "{}:http://internal.amazon.com/coral/com.amazon.bedrock/", "com.amazon.coral.service#{}", " {} "],
)
def test_a_code_is_recognised_in_every_spelling(code: str, kind: type[ServiceError], spelling: str) -> None:
    """In the header with a suffix, in __type with a prefix, in frames with a small first letter."""
    for written in (code, code[0].lower() + code[1:]):
        error = service_error(spelling.format(written), "message", status=400)
        assert type(error) is kind
        assert error.code == code


@pytest.mark.parametrize("member", ["__type", "code", "Code"])
def test_the_code_may_stand_in_the_body(member: str) -> None:
    """Where no header names it; the header wins where both do."""
    body = json.dumps({member: "com.amazon#ThrottlingException", "message": "slow"}).encode()
    assert type(service_error_from_response(400, {}, body)) is ThrottlingError
    header = {"x-amzn-errortype": "ValidationException"}
    assert type(service_error_from_response(400, header, body)) is ValidationError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({"message": "no such model", "type": "invalid_request_error", "code": None}, "no such model"),
        ({"message": None}, "the answer of 28 bytes (application/json) contains no error message"),
        ("no such model", "no such model"),
        (["no such model"], "the answer of 28 bytes (application/json) contains no error message"),
    ],
)
def test_the_message_may_stand_in_an_error_of_the_body(error: object, message: str) -> None:
    """Gateways that speak OpenAI's protocol, and others, write it there; the status tells the class."""
    body = json.dumps({"error": error}).encode()
    read = service_error_from_response(404, {"content-type": "application/json"}, body)
    assert type(read) is ResourceNotFoundError
    assert read.message == message


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, ValidationError, False),
        (401, AuthenticationError, False),
        (403, AccessDeniedError, False),
        (404, ResourceNotFoundError, False),
        (408, ModelTimeoutError, True),
        (409, ConflictError, False),
        (413, ServiceError, False),
        (424, ModelError, True),
        (429, ThrottlingError, True),
        (500, InternalServerError, True),
        (502, ServiceUnavailableError, True),
        (503, ServiceUnavailableError, True),
        (504, ServiceUnavailableError, True),
        (507, ServiceError, True),
    ],
)
@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"<html><body>502 Bad Gateway</body></html>", "text/html"), (b"", ""), (b"[1]", "application/json")],
)
def test_an_answer_without_code_is_the_error_of_its_status(
    status: int, kind: type[ServiceError], retryable: object, body: bytes, content_type: str
) -> None:
    """Gateways and proxies answer too: the page is described by length and type, never quoted."""
    headers = {"content-type": content_type} if content_type else {}
    error = service_error_from_response(status, headers, body)
    assert type(error) is kind
    assert (error.code, error.status, error.retryable) == (f"HTTP {status}", status, retryable)
    assert error.message == (
        f"the answer of {len(body)} bytes ({content_type or 'no content type'}) contains no error message"
    )
    assert "Gateway" not in str(error)
    assert "None" not in str(error)


@pytest.mark.parametrize("status", [400, 500])
def test_a_code_that_nobody_knows_is_kept(status: int) -> None:
    """The class is that of the status; code, message and request id are the service's."""
    headers = {"x-amzn-errortype": "BrandNewException", "x-amzn-requestid": "r-1"}
    error = service_error_from_response(status, headers, b'{"message":"something new"}')
    assert (error.code, error.message, error.request_id) == ("BrandNewException", "something new", "r-1")
    assert error.hint
    assert type(error) is (ValidationError if status == 400 else InternalServerError)
    assert "BrandNewException, HTTP" in str(error)
    assert "(request id r-1)" in str(error)


def test_what_the_models_own_server_said_is_kept() -> None:
    """ModelErrorException carries the status and text of the model's server."""
    body = {"message": "m", "originalStatusCode": 529, "originalMessage": "overloaded", "resourceName": "r"}
    error = service_error_from_response(424, {"x-amzn-errortype": "ModelErrorException"}, json.dumps(body).encode())
    assert (error.original_status_code, error.original_message) == (529, "overloaded")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"x-amz-retry-after": "1500"}, 1.5),
        ({"x-amz-retry-after": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1.5"}, None),
        ({"retry-after": "²"}, None),
        ({"retry-after": "9" * 6000}, None),
    ],
)
def test_the_wait_that_the_service_asks_for_is_in_seconds(headers: dict[str, str], seconds: float | None) -> None:
    """Both headers of AWS, and nothing made of what is no plain number."""
    assert service_error_from_response(429, headers, b"{}").retry_after_s == seconds


@given(st.integers(400, 599), st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=3), st.binary())
def test_any_answer_is_an_error_of_our_tree(status: int, headers: dict[str, str], body: bytes) -> None:
    """Whatever stands in headers and body, the result is a ServiceError with a message and a code."""
    error = service_error_from_response(status, headers, body)
    assert error.message
    assert error.code
    assert error.status == status


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"message":null,"code":400,"__type":[]}', b"\xff\xfe{}"])
def test_broken_bodies_are_described(body: bytes) -> None:
    """Nesting without end, members of other types, and bytes of no encoding end in a description."""
    assert f"the answer of {len(body)} bytes" in service_error_from_response(500, {}, body).message


# -- the tree


def every_class(root: type[BedrockError] = BedrockError) -> list[type[BedrockError]]:
    """Return the class and all its public descendants of the library, in the order of the drawing."""
    below = [kind for kind in root.__subclasses__() if kind.__module__.startswith("bedrock_async.")]
    below += [kind for kind in root.__subclasses__() if kind.__module__ == "bedrock_async"]
    return [root, *(found for kind in below for found in every_class(kind))]


PUBLIC: Final = [kind for kind in dict.fromkeys(every_class()) if kind.__name__ in errors.__all__]


def drawn_tree() -> dict[str, str | None]:
    """Return the parent of each class, by the drawing in the module's docstring."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ((?:[│ ]   )*(?:[├└]── )?)([A-Z]\w+)", line):
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            parents[found[2]] = path[depth - 1] if depth else None
    return parents


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Every class stands in the drawing under its real parent, and nothing else stands there."""
    real = {kind.__name__: next((base.__name__ for base in kind.__bases__ if base in PUBLIC), None) for kind in PUBLIC}
    assert drawn_tree() == real
    assert len(real) > 40


def test_all_names_of_the_tree_are_public() -> None:
    """Each class is in __all__ of the module and of the package, which give the same object."""
    for kind in PUBLIC:
        assert getattr(errors, kind.__name__) is kind
        assert getattr(bedrock_async, kind.__name__) is kind
    assert errors.__all__ == sorted(errors.__all__)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (InvalidRequestError, ValueError),
        (InvalidModelIdError, ValueError),
        (MissingExtraError, ImportError),
        (CallTimeoutError, TimeoutError),
    ],
)
def test_errors_are_also_what_python_calls_them(kind: type[BedrockError], builtin: type[Exception]) -> None:
    """Code that catches the builtin catches ours."""
    assert issubclass(kind, builtin)


# Arguments that a constructor asks for, beside the message.
NEEDED: Final[dict[str, object]] = {
    "code": "ThrottlingException",
    "status": 429,
    "limit_s": 2.5,
    "event_type": "metadata",
    "payload": b"{",
    "faults": ("city: is missing",),
    "response": ConverseResponse.from_dict({"stopReason": "end_turn"}).with_meta(ResponseMeta(region="us-east-1")),
}


def made(kind: type[BedrockError]) -> BedrockError:
    """Return an error of that class with everything it can carry."""
    named = inspect.signature(kind).parameters
    wanted: dict[str, Any] = {name: value for name, value in NEEDED.items() if name in named}
    if "hint" in named:
        wanted["hint"] = "Try again."
    error = kind("it broke.", **wanted)
    error.attempts = (Attempt(1, 0.5, status=429, code="ThrottlingException", request_id="r"),)
    if "partial_response" in vars(error):
        partial = ConverseResponse.from_dict({"stopReason": "end_turn"}).with_meta(ResponseMeta(headers={"a": "b"}))
        vars(error)["partial_response"] = partial
    return error


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_every_error_can_be_pickled_and_copied(kind: type[BedrockError]) -> None:
    """Errors cross process borders (pools, queues) with all they carry, a partial response included."""
    error = made(kind)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301 - our own
        assert type(twin) is kind
        assert vars(twin) == vars(error)
        assert twin.args == error.args
        assert str(twin) == str(error)
        assert repr(twin) == repr(error)


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_every_error_says_what_happened_and_what_to_do(kind: type[BedrockError]) -> None:
    """The text has the message and the next step; without a next step it has no None."""
    error = made(kind)
    assert "it broke." in str(error)
    assert error.hint is not None
    assert error.hint in str(error)
    error.hint = None
    assert str(error).endswith("it broke.")
    assert "None" not in str(error)


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_every_error_has_a_contract(kind: type[BedrockError]) -> None:
    """A docstring of its own, a decision about retrying, no attempts before there are any."""
    assert kind.__doc__
    assert kind.__doc__ != (kind.__bases__[0].__doc__ or "")
    assert isinstance(kind.retryable, bool)
    assert kind.attempts == ()


def test_an_import_error_keeps_its_message() -> None:
    """ImportError has a place of its own for the message; a copy has it there too."""
    error = pickle.loads(pickle.dumps(MissingExtraError("no httpx.", hint="pip install it")))  # noqa: S301 - our own
    assert error.msg == "no httpx."


def test_errors_carry_what_a_handler_needs() -> None:
    """The attributes that the docstrings name."""
    assert InvalidRequestError("m", path="messages[2].role").path == "messages[2].role"
    assert IdleTimeoutError("m", limit_s=3).limit_s == 3
    assert ResponseDecodeError("m", body=b"x" * 5000).body == b"x" * 2048
    assert EventDecodeError("m", event_type="metadata", payload=b"{").payload == b"{"
    assert StreamTruncatedError("m").partial_response is None
    assert StreamTruncatedError.retryable is True
    assert str(BedrockError("it broke", hint="Try again.")) == "it broke. Try again."
