"""Every error a user can meet, in one tree, and the one table from service codes to classes.

::

    BedrockError
    ├── InvalidRequestError            the call was refused here, before anything was sent
    ├── InvalidModelIdError            (defined in model_id)
    ├── ClientClosedError              used after aclose()
    ├── WrongEventLoopError            one client shared by two event loops
    ├── QueueFullError                 the rate limit of this client is reached, and too many wait already
    ├── PluginError                    a provider, family or emulator model could not be found or loaded
    ├── MissingExtraError              an optional dependency is not installed
    ├── CredentialsError
    │   ├── NoCredentialsError
    │   ├── ExpiredCredentialsError
    │   └── ProfileNotFoundError
    ├── TransportError                 the connection, not the service, failed
    │   ├── ConnectError
    │   │   ├── NameResolutionError
    │   │   └── TLSError
    │   ├── ConnectionLostError
    │   ├── TooManyOpenFilesError
    │   └── ProtocolError              the peer does not speak the protocol
    │       ├── RedirectError
    │       └── UnexpectedContentTypeError
    ├── CallTimeoutError               also a builtin TimeoutError
    │   ├── ConnectTimeoutError
    │   ├── FirstEventTimeoutError
    │   ├── IdleTimeoutError
    │   ├── TotalTimeoutError
    │   └── AsyncInvokeTimeoutError    (the job itself goes on)
    ├── ServiceError                   the service answered with an error, over HTTP or inside a stream
    │   ├── AccessDeniedError
    │   ├── AuthenticationError
    │   │   └── ExpiredTokenError
    │   ├── ConflictError
    │   ├── InternalServerError
    │   ├── ModelError
    │   ├── ModelNotReadyError
    │   ├── ModelStreamError
    │   ├── ModelTimeoutError
    │   ├── QuotaExceededError
    │   ├── ResourceNotFoundError
    │   ├── ServiceUnavailableError
    │   ├── ThrottlingError
    │   └── ValidationError
    │       ├── InputTooLongError
    │       ├── ModelIdRejectedError
    │       └── OnDemandNotSupportedError
    ├── AsyncInvokeFailedError         an asynchronous invocation ended without its output
    ├── ObjectNotFoundError            an object of S3 is not there
    ├── OutputError                    an answer that is not the output that was asked for; it has the response
    │   ├── OutputInvalidError         not of the type
    │   ├── OutputRefusedError         the model or a guardrail refused
    │   ├── OutputToolUseError         tools of the caller are to run first
    │   └── OutputTruncatedError       cut off
    ├── ResponseDecodeError            a response body that is not what the service documents
    ├── ToolError                      a tool gave no result, or the loop of tools came to no answer
    │   ├── ToolFailedError            its function raised
    │   ├── ToolInputError             the model asked for a tool that is not there, or passed what does not fit
    │   ├── ToolRoundsError            the model still asks for tools after the last round
    │   └── ToolTimeoutError           it took too long; also a builtin TimeoutError
    └── StreamError
        ├── EventStreamError           broken framing (defined in eventstream)
        ├── EventDecodeError           a known event whose payload cannot be read
        └── StreamTruncatedError       the stream ended without messageStop and metadata

Errors of a stream carry what had arrived: ``partial_response`` is the response folded so far.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

import msgspec

from ._error import BedrockError, InvalidRequestError, StreamError, with_hint
from .advice import find_rule
from .eventstream import EventStreamError
from .model_id import InvalidModelIdError

if TYPE_CHECKING:
    from .types import ConverseResponse, JSONValue, Message, ToolUseBlock
    from .usage import UsageTotals

__all__ = [
    "AccessDeniedError",
    "AsyncInvokeFailedError",
    "AsyncInvokeTimeoutError",
    "AuthenticationError",
    "BedrockError",
    "CallTimeoutError",
    "ClientClosedError",
    "ConflictError",
    "ConnectError",
    "ConnectTimeoutError",
    "ConnectionLostError",
    "CredentialsError",
    "EventDecodeError",
    "EventStreamError",
    "ExpiredCredentialsError",
    "ExpiredTokenError",
    "FirstEventTimeoutError",
    "IdleTimeoutError",
    "InputTooLongError",
    "InternalServerError",
    "InvalidModelIdError",
    "InvalidRequestError",
    "MissingExtraError",
    "ModelError",
    "ModelIdRejectedError",
    "ModelNotReadyError",
    "ModelStreamError",
    "ModelTimeoutError",
    "NameResolutionError",
    "NoCredentialsError",
    "ObjectNotFoundError",
    "OnDemandNotSupportedError",
    "OutputError",
    "OutputInvalidError",
    "OutputRefusedError",
    "OutputToolUseError",
    "OutputTruncatedError",
    "PluginError",
    "ProfileNotFoundError",
    "ProtocolError",
    "QueueFullError",
    "QuotaExceededError",
    "RedirectError",
    "ResourceNotFoundError",
    "ResponseDecodeError",
    "ServiceError",
    "ServiceUnavailableError",
    "StreamError",
    "StreamTruncatedError",
    "TLSError",
    "ThrottlingError",
    "TooManyOpenFilesError",
    "ToolError",
    "ToolFailedError",
    "ToolInputError",
    "ToolRoundsError",
    "ToolTimeoutError",
    "TotalTimeoutError",
    "TransportError",
    "UnexpectedContentTypeError",
    "ValidationError",
    "WrongEventLoopError",
    "service_error",
    "service_error_from_response",
]


class ClientClosedError(BedrockError):
    """The client was used after ``aclose()``."""


class WrongEventLoopError(BedrockError):
    """The client belongs to an event loop other than the running one."""


class QueueFullError(BedrockError):
    """The client's rate limit is reached, and ``max_queue`` calls are waiting already; nothing was sent."""

    retryable = True

    def __init__(self, message: str, *, max_queue: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.max_queue = max_queue


class PluginError(BedrockError):
    """A provider, family or emulator model could not be found or loaded; ``distribution`` names the culprit."""

    def __init__(self, message: str, *, distribution: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.distribution = distribution


class MissingExtraError(BedrockError, ImportError):
    """An optional dependency is needed and not installed; the hint is the command that installs it."""


class CredentialsError(BedrockError):
    """No usable credentials."""


class NoCredentialsError(CredentialsError):
    """No credentials were found anywhere."""


class ExpiredCredentialsError(CredentialsError):
    """The credentials have expired and cannot be refreshed from here."""


class ProfileNotFoundError(CredentialsError):
    """The named profile is in no configuration file."""


class TransportError(BedrockError):
    """The connection failed; whether the service saw the request is in ``sent``."""

    retryable = True

    def __init__(self, message: str, *, hint: str | None = None, sent: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.sent = sent
        self.partial_response: ConverseResponse | None = None


class ConnectError(TransportError):
    """No connection could be made (refused, unreachable)."""


class NameResolutionError(ConnectError):
    """The host name of the endpoint does not resolve."""


class TLSError(ConnectError):
    """The TLS handshake failed."""

    retryable = False


class ConnectionLostError(TransportError):
    """The connection closed or broke while a request or response was under way."""


class TooManyOpenFilesError(TransportError):
    """The process has no file descriptor left for another connection."""


class ProtocolError(TransportError):
    """The peer's answer does not follow the service's protocol."""

    retryable = False


class RedirectError(ProtocolError):
    """The endpoint redirected; redirects are never followed, because requests carry credentials."""


class UnexpectedContentTypeError(ProtocolError):
    """The response has a content type other than the operation's."""


class CallTimeoutError(BedrockError, TimeoutError):
    """A limit of `Timeouts` ran out; ``limit_s`` is the limit, in seconds.

    Retryable only while nothing had been sent: a request that timed out later may have been billed.
    """

    def __init__(self, message: str, *, limit_s: float, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.limit_s = limit_s
        self.partial_response: ConverseResponse | None = None


class ConnectTimeoutError(CallTimeoutError):
    """No connection was made in time."""

    retryable = True


class FirstEventTimeoutError(CallTimeoutError):
    """No first event (or response head) came in time."""


class IdleTimeoutError(CallTimeoutError):
    """An open stream was silent for too long."""


class TotalTimeoutError(CallTimeoutError):
    """The whole call, all attempts included, took too long."""


class AsyncInvokeTimeoutError(CallTimeoutError):
    """A job had not ended after ``limit_s`` seconds of waiting; it goes on, and ``invocation_arn`` finds it again."""

    def __init__(self, message: str, *, limit_s: float, invocation_arn: str = "", hint: str | None = None) -> None:
        super().__init__(message, limit_s=limit_s, hint=hint)
        self.invocation_arn = invocation_arn


class ServiceError(BedrockError):
    """The service answered with an error, as an HTTP response or as an exception frame inside a stream.

    ``code`` is the service's own name (``ThrottlingException``), ``status`` the HTTP status or, for an exception inside
    a stream, the status that the service model gives the code (``in_stream`` is then True). ``retry_after_s`` is what
    the service asked for, in seconds. ``original_status_code`` and ``original_message`` are what the model's own server
    said, and ``resource_name`` is the resource that failed, where the service passes them on.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int,
        request_id: str | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
        in_stream: bool = False,
        original_status_code: int | None = None,
        original_message: str | None = None,
        resource_name: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status
        self.request_id = request_id
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.in_stream = in_stream
        self.original_status_code = original_status_code
        self.original_message = original_message
        self.resource_name = resource_name
        self.partial_response: ConverseResponse | None = None

    def __str__(self) -> str:
        """Return code, status, message, request id and the next step."""
        where = "in the stream" if self.in_stream else f"HTTP {self.status}"
        request = f" (request id {self.request_id})" if self.request_id else ""
        return with_hint(f"{self.code}, {where}: {self.message}{request}", self.hint)


class AccessDeniedError(ServiceError):
    """The principal or key may not do this (403)."""


class AuthenticationError(ServiceError):
    """The signature, key id or token was not accepted (403)."""


class ExpiredTokenError(AuthenticationError):
    """The session token has expired (403); credentials are refreshed once before this reaches the caller."""


class ConflictError(ServiceError):
    """The request conflicts with another one under the same idempotency token (400)."""


class InternalServerError(ServiceError):
    """The service failed (500)."""


class ModelError(ServiceError):
    """The model failed while processing the request (424)."""


class ModelNotReadyError(ServiceError):
    """The model is being loaded; try again in a few seconds (429)."""


class ModelStreamError(ServiceError):
    """The model failed while it was streaming (424)."""


class ModelTimeoutError(ServiceError):
    """The model took too long (408)."""


class QuotaExceededError(ServiceError):
    """A service quota of the account is used up (400)."""


class ResourceNotFoundError(ServiceError):
    """The model or resource does not exist, or is not available any more (404)."""


class ServiceUnavailableError(ServiceError):
    """The service is not available at the moment (503; also 502 and 504 of a gateway)."""


class ThrottlingError(ServiceError):
    """Too many requests or tokens (429)."""


class ValidationError(ServiceError):
    """The service refused the request as invalid (400)."""


class InputTooLongError(ValidationError):
    """The input exceeds the model's context window."""


class ModelIdRejectedError(ValidationError):
    """The service does not know the model identifier in this region."""


class OnDemandNotSupportedError(ValidationError):
    """The model can be called only through an inference profile."""


class AsyncInvokeFailedError(BedrockError):
    """An asynchronous invocation ended without its output; ``failure_message`` is the service's reason.

    ``status`` is the one that the job ended with, ``invocation_arn`` the job.
    """

    def __init__(
        self,
        message: str,
        *,
        invocation_arn: str = "",
        status: str = "Failed",
        failure_message: str = "",
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.invocation_arn = invocation_arn
        self.status = status
        self.failure_message = failure_message


class ObjectNotFoundError(BedrockError):
    """An S3 object does not exist, or its bucket does not; ``s3_uri`` names it."""

    def __init__(self, message: str, *, s3_uri: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.s3_uri = s3_uri


class OutputError(BedrockError):
    """An answer is not the output that was asked for; ``response`` is the whole answer, which was billed.

    ``rounds`` are all answers of the call, including those of repair rounds; ``response`` is the last one.
    """

    def __init__(self, message: str, *, response: ConverseResponse, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.response = response
        self.rounds: tuple[ConverseResponse, ...] = (response,)

    @property
    def usage(self) -> UsageTotals:
        """The tokens of all rounds, and their cost where it is known."""
        from .usage import usage_of

        return usage_of(self.rounds)


class OutputRefusedError(OutputError):
    """The model, or a guardrail, refused to answer; ``response.text`` may say why."""


class OutputToolUseError(OutputError):
    """The model wants tools of the caller to run before it answers: ``response.tool_uses`` says which.

    A `Conversation` has kept the answer; the results must come next.
    """


class OutputTruncatedError(OutputError):
    """The answer was cut off, by ``max_tokens`` or by the end of the model's context window."""


class OutputInvalidError(OutputError):
    """The answer is not of the type that was asked for; ``faults`` say where and why, without the values."""

    def __init__(
        self, message: str, *, faults: tuple[str, ...], response: ConverseResponse, hint: str | None = None
    ) -> None:
        super().__init__(message, response=response, hint=hint)
        self.faults = faults


class ResponseDecodeError(BedrockError):
    """The response body is not what the service documents; ``body`` holds its first 2,048 bytes."""

    def __init__(self, message: str, *, body: bytes = b"", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.body = body[:2048]


class ToolError(BedrockError):
    """A tool gave no result, or the tool loop came to no answer; ``tool_use`` is what the model asked for.

    When the loop raises it, ``rounds`` are all answers of the model, ending with the one that the error is about, and
    ``messages`` is what the loop had added to the conversation before that one: to go on, ask again with them.
    """

    def __init__(self, message: str, *, tool_use: ToolUseBlock | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.tool_use = tool_use
        self.messages: tuple[Message, ...] = ()
        self.rounds: tuple[ConverseResponse, ...] = ()


class ToolFailedError(ToolError):
    """A tool's function raised (see ``__cause__``), or returned something that is not a result."""


class ToolInputError(ToolError):
    """The model asked for an unknown tool, or passed input that does not fit or was cut off; nothing was run."""


class ToolRoundsError(ToolError):
    """The model still asks for tools after the last round that the loop may make."""


class ToolTimeoutError(ToolError, TimeoutError):
    """A tool took longer than its limit of ``limit_s`` seconds."""

    def __init__(
        self, message: str, *, limit_s: float, tool_use: ToolUseBlock | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, tool_use=tool_use, hint=hint)
        self.limit_s = limit_s


class EventDecodeError(StreamError):
    """The payload of an event cannot be read; ``event_type`` names it, ``payload`` is what came."""

    def __init__(self, message: str, *, event_type: str, payload: bytes) -> None:
        super().__init__(message, hint="The frame's checksum is correct: report this payload with the model id.")
        self.event_type = event_type
        self.payload = payload


class StreamTruncatedError(StreamError):
    """The stream ended before it was complete; ``partial_response`` is what had arrived."""

    retryable = True


class _Row(msgspec.Struct, frozen=True):
    """What a service code means."""

    error: type[ServiceError]
    status: int
    retryable: bool = False


# Codes and statuses: botocore's bedrock-runtime/2023-09-30 service model; the last group is raised by the
# front end that every AWS service shares and stands in no service model.  [shared corpus, errors.json]
_CODES: Final[dict[str, _Row]] = {
    "AccessDeniedException": _Row(AccessDeniedError, 403),
    "ConflictException": _Row(ConflictError, 400),
    "InternalServerException": _Row(InternalServerError, 500, retryable=True),
    "ModelErrorException": _Row(ModelError, 424, retryable=True),
    "ModelNotReadyException": _Row(ModelNotReadyError, 429, retryable=True),
    "ModelStreamErrorException": _Row(ModelStreamError, 424, retryable=True),
    "ModelTimeoutException": _Row(ModelTimeoutError, 408, retryable=True),
    "ResourceNotFoundException": _Row(ResourceNotFoundError, 404),
    "ServiceQuotaExceededException": _Row(QuotaExceededError, 400),
    "ServiceUnavailableException": _Row(ServiceUnavailableError, 503, retryable=True),
    "ThrottlingException": _Row(ThrottlingError, 429, retryable=True),
    "ValidationException": _Row(ValidationError, 400),
    "ExpiredTokenException": _Row(ExpiredTokenError, 403),
    "ExpiredToken": _Row(ExpiredTokenError, 403),
    "IncompleteSignatureException": _Row(AuthenticationError, 403),
    "InvalidAccessKeyId": _Row(AuthenticationError, 403),  # S3's
    "InvalidSignatureException": _Row(AuthenticationError, 403),
    "MissingAuthenticationTokenException": _Row(AuthenticationError, 403),
    "SignatureDoesNotMatch": _Row(AuthenticationError, 403),
    "UnrecognizedClientException": _Row(AuthenticationError, 403),
    "NotAuthorized": _Row(AccessDeniedError, 403),
    "InternalFailure": _Row(InternalServerError, 500, retryable=True),
    "RequestTimeout": _Row(ServiceUnavailableError, 408, retryable=True),
    "RequestTimeoutException": _Row(ServiceUnavailableError, 408, retryable=True),
    "ServiceUnavailable": _Row(ServiceUnavailableError, 503, retryable=True),
    "SlowDown": _Row(ThrottlingError, 429, retryable=True),
    "Throttling": _Row(ThrottlingError, 429, retryable=True),
    "ThrottledException": _Row(ThrottlingError, 429, retryable=True),
    "TooManyRequestsException": _Row(ThrottlingError, 429, retryable=True),
    # What botocore.retries.standard takes for throttling, of any service.
    "BandwidthLimitExceeded": _Row(ThrottlingError, 429, retryable=True),
    "PriorRequestNotComplete": _Row(ThrottlingError, 429, retryable=True),
    "RequestLimitExceeded": _Row(ThrottlingError, 429, retryable=True),
    "RequestThrottled": _Row(ThrottlingError, 429, retryable=True),
    "RequestThrottledException": _Row(ThrottlingError, 429, retryable=True),
    "UnknownOperationException": _Row(ValidationError, 404),
}

# For answers that name no code: gateways, proxies, recorders that drop headers.
_STATUSES: Final[dict[int, _Row]] = {
    400: _Row(ValidationError, 400),
    401: _Row(AuthenticationError, 401),
    403: _Row(AccessDeniedError, 403),
    404: _Row(ResourceNotFoundError, 404),
    408: _Row(ModelTimeoutError, 408, retryable=True),
    409: _Row(ConflictError, 409),
    424: _Row(ModelError, 424, retryable=True),
    429: _Row(ThrottlingError, 429, retryable=True),
    500: _Row(InternalServerError, 500, retryable=True),
    502: _Row(ServiceUnavailableError, 502, retryable=True),
    503: _Row(ServiceUnavailableError, 503, retryable=True),
    504: _Row(ServiceUnavailableError, 504, retryable=True),
}


_NARROWER: Final[Mapping[str, type[ServiceError]]] = {
    kind.__name__: kind for kind in (InputTooLongError, ModelIdRejectedError, OnDemandNotSupportedError)
}
"""Classes that only a message tells apart, never a code."""


def service_error(
    code: str,
    message: str,
    *,
    status: int | None = None,
    request_id: str | None = None,
    retry_after_s: float | None = None,
    in_stream: bool = False,
    original_status_code: int | None = None,
    original_message: str | None = None,
    resource_name: str | None = None,
) -> ServiceError:
    """Return the error of a service code, which may be spelt as HTTP or as exception frames spell it.

    A code that is in no table becomes a `ServiceError` (or the class of its status), with code and message kept.
    """
    code = _plain_code(code)
    row = _CODES.get(code) or _STATUSES.get(status or 0) or _Row(ServiceError, status or 0, (status or 0) >= 500)
    kind, hint = row.error, None
    if (found := find_rule([each.__name__ for each in kind.__mro__], message)) is not None:
        rule, hint = found
        kind = _NARROWER.get(rule.becomes or "", kind)
    return kind(
        message,
        code=code or (f"HTTP {status}" if status else "UnknownException"),
        status=status if status is not None and not in_stream else row.status,
        request_id=request_id,
        retryable=row.retryable,
        retry_after_s=retry_after_s,
        in_stream=in_stream,
        original_status_code=original_status_code,
        original_message=original_message,
        resource_name=resource_name,
        hint=hint,
    )


def service_error_from_response(status: int, headers: Mapping[str, str], body: bytes) -> ServiceError:
    """Return the error of an HTTP response that is not a success; ``headers`` have lower-case names.

    The code comes from ``x-amzn-errortype``, else from the body's ``__type`` or ``code``; the message from
    ``message`` or ``Message``, of the body or of an ``error`` in it, which gateways send that speak OpenAI's protocol.
    A body that is no JSON object (a gateway's HTML page) is described, not quoted.
    """
    members = _members(body)
    code = headers.get("x-amzn-errortype") or _first_text(members, "__type", "code", "Code") or ""
    message = _first_text(members, *_MESSAGES)
    if message is None:
        error = members.get("error")
        message = _first_text(cast("dict[str, object]", error), *_MESSAGES) if isinstance(error, dict) else _text(error)
    if message is None:
        kind = headers.get("content-type", "no content type")
        message = f"the answer of {len(body)} bytes ({kind}) contains no error message"
    return service_error(
        code,
        message,
        status=status,
        request_id=headers.get("x-amzn-requestid"),
        retry_after_s=_retry_after_s(headers),
        original_status_code=_integer(members.get("originalStatusCode")),
        original_message=_text(members.get("originalMessage")),
        resource_name=_text(members.get("resourceName")),
    )


def _plain_code(code: str) -> str:
    """``com.amazon#throttlingException:http://internal...`` -> ``ThrottlingException``."""
    code = code.partition(":")[0].rpartition("#")[2].strip()
    return code[:1].upper() + code[1:]


def _members(body: bytes) -> Mapping[str, object]:
    try:
        value: JSONValue = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


_MESSAGES: Final = ("message", "Message", "errorMessage")


def _first_text(members: Mapping[str, object], *names: str) -> str | None:
    return next((text for name in names if (text := _text(members.get(name)))), None)


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


# Enough for thirty years; int() refuses numbers of thousands of digits.
_MAX_DIGITS: Final = 12


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds from ``x-amz-retry-after`` (milliseconds) or ``retry-after`` (seconds); dates are not used by AWS."""
    for name, scale in (("x-amz-retry-after", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
            return int(value) * scale
    return None
