"""Authenticates requests as the service's front end does.

Signatures are recomputed by botocore's SigV4Auth, which is independent code, so that a mistake in our signing cannot be
masked by the same mistake here. Messages and codes as recorded, or quoted in public threads.
"""

from __future__ import annotations

import hmac
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

from ..errors import InvalidRequestError, service_error
from .received import ReceivedRequest

if TYPE_CHECKING:
    from botocore.auth import SigV4Auth

__all__ = [
    "Authentication",
    "CredentialsLike",
    "EmulatorCredentials",
    "EventChain",
    "SigningCredentials",
    "bad_signature",
]

_SERVICE: Final = "bedrock"
_SKEW: Final = timedelta(minutes=5)
_TIMESTAMP: Final = "%Y%m%dT%H%M%SZ"
_API_KEY_PREFIXES: Final = ("ABSK", "bedrock-api-key-")
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_STREAMING_EVENTS: Final = "STREAMING-AWS4-HMAC-SHA256-EVENTS"
_DATE_HEADER: Final = struct.Struct(">6sBq")
_TIMESTAMP_TYPE: Final = 8
_MISMATCH: Final = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
_INVALID_TOKEN: Final = "The security token included in the request is invalid."  # noqa: S105 - a message


@runtime_checkable
class SigningCredentials(Protocol):
    """Anything with these three attributes, the client's own credentials included."""

    @property
    def access_key_id(self) -> str:
        """The public half of the key."""
        ...

    @property
    def secret_access_key(self) -> str:
        """The secret half of the key."""
        ...

    @property
    def session_token(self) -> str | None:
        """The token of temporary credentials."""
        ...


@dataclass(frozen=True, slots=True)
class EmulatorCredentials:
    """A key that the emulator accepts; after ``expires_at`` it responds with ExpiredTokenException."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


CredentialsLike: TypeAlias = SigningCredentials | tuple[str, str] | tuple[str, str, str | None]
"""Credentials as an object or as a tuple of key id, secret and, for temporary ones, session token."""


class Authentication:
    """The keys that are accepted. With neither credentials nor API keys, every request is accepted unchecked."""

    def __init__(
        self,
        *,
        region: str,
        credentials: Iterable[CredentialsLike] | None = None,
        api_keys: Iterable[str] | None = None,
    ) -> None:
        """Accept only these keys; None for both accepts everything."""
        self._required = credentials is not None or api_keys is not None
        self._credentials = {key.access_key_id: key for key in map(_as_credentials, credentials or ())}
        self._api_keys = [key.encode() for key in api_keys or ()]
        self._region = region

    def event_chain(self, request: ReceivedRequest) -> EventChain | None:
        """Return the verifier for the events of a request that passed `check`; None if its events are not signed."""
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        if not self._required or scheme != _ALGORITHM:
            return None
        fields = _fields(rest)
        key_id, _, region, *_ = fields["Credential"].split("/")
        return EventChain(_signing(self._credentials[key_id], region), fields["Signature"])

    def check(self, request: ReceivedRequest, now: datetime, *, streaming: bool = False) -> None:
        """Return if the request is authentic at the time ``now``. Raises ServiceError as the service would.

        The body of a ``streaming`` request is still to come: its events are signed individually.
        """
        if not self._required:
            return
        authorization = request.headers.get("authorization", "")
        scheme, _, rest = authorization.partition(" ")
        if not authorization:
            raise service_error("MissingAuthenticationTokenException", "Missing Authentication Token")
        if scheme.lower() == "bearer":
            self._check_bearer(rest.strip())
        elif scheme == _ALGORITHM:
            self._check_signature(request, _fields(rest), now, streaming=streaming)
        else:
            raise _incomplete(f"Unsupported AWS 'algorithm': '{scheme}'.")

    def _check_bearer(self, token: str) -> None:
        presented = token.encode()
        # All keys are compared, so that the timing reveals nothing.
        if not any([hmac.compare_digest(presented, key) for key in self._api_keys]):  # noqa: C419
            known = token.startswith(_API_KEY_PREFIXES)
            raise service_error(
                "AccessDeniedException",
                "Authentication failed: Please make sure your API Key is valid."
                if known
                else "Invalid API Key format: Must start with pre-defined prefix",
            )

    def _check_signature(
        self, request: ReceivedRequest, fields: Mapping[str, str], now: datetime, *, streaming: bool
    ) -> None:
        scope = fields["Credential"].split("/")
        if len(scope) != 5:
            raise _incomplete("Credential must have exactly 5 slash-delimited elements.")
        key_id, date, region, service, terminator = scope
        if terminator != "aws4_request":
            raise _invalid("Credential should be scoped with a valid terminator: 'aws4_request'.")
        credentials = self._credentials.get(key_id)
        if credentials is None or credentials.session_token != request.headers.get("x-amz-security-token"):
            raise service_error("UnrecognizedClientException", _INVALID_TOKEN)
        if region != self._region:
            raise _invalid(f"Credential should be scoped to a valid region, not '{region}'.")
        if service != _SERVICE:
            raise _invalid(f"Credential should be scoped to correct service: '{_SERVICE}'.")
        signed_headers = fields["SignedHeaders"].split(";")
        if "host" not in signed_headers:
            raise _invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
        timestamp = _check_time(request, date, now)
        expected = _signature(request, credentials, (timestamp, region), signed_headers, streaming=streaming)
        if not hmac.compare_digest(expected.encode(), fields["Signature"].encode()):
            raise _invalid(_MISMATCH)
        expires_at: datetime | None = getattr(credentials, "expires_at", None)
        if expires_at is not None and expires_at <= now:
            raise service_error("ExpiredTokenException", "The security token included in the request is expired")


class EventChain:
    """Verifies the events of one conversation, in the order of arrival, with botocore's key and algorithm.

    Each signature is chained to the previous one, the first to ``request_signature``.
    """

    def __init__(self, signing: SigV4Auth, request_signature: str) -> None:
        self._signing = signing
        self._prior = request_signature

    def check(self, date_ms: int, payload: bytes, signature: bytes, now: datetime) -> None:
        """Return if the event is authentic at the time ``now``. Raises ServiceError as for a request."""
        from botocore.awsrequest import AWSRequest

        signed_at = datetime.fromtimestamp(date_ms // 1000, UTC)
        timestamp = signed_at.strftime(_TIMESTAMP)
        if abs(signed_at - now) > _SKEW:
            raise _invalid(f"Signature of an event not current: {timestamp} is not within 5 min. of {now:{_TIMESTAMP}}")
        request = AWSRequest()
        request.context["timestamp"] = timestamp
        date = _DATE_HEADER.pack(b"\x05:date", _TIMESTAMP_TYPE, date_ms)
        lines = (
            f"{_ALGORITHM}-PAYLOAD",
            timestamp,
            self._signing.credential_scope(request),
            self._prior,
            sha256(date).hexdigest(),
            sha256(payload).hexdigest(),
        )
        self._prior = self._signing.signature("\n".join(lines), request)
        if not hmac.compare_digest(self._prior, signature.hex()):
            raise bad_signature(_MISMATCH)


def _signing(credentials: SigningCredentials, region: str, kind: type[SigV4Auth] | None = None) -> SigV4Auth:
    from botocore.auth import SigV4Auth
    from botocore.credentials import Credentials

    key = Credentials(credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
    return (kind or SigV4Auth)(key, _SERVICE, region)


def _as_credentials(credentials: object) -> SigningCredentials:
    if isinstance(credentials, SigningCredentials):
        return credentials
    match credentials:
        case (str(key_id), str(secret)):
            return EmulatorCredentials(key_id, secret)
        case (str(key_id), str(secret), None | str() as token):
            return EmulatorCredentials(key_id, secret, token)
        case _:
            pass
    raise InvalidRequestError(
        f"credentials of the emulator cannot be of type {type(credentials).__name__}.",
        path="credentials",
        hint="Pass (access_key_id, secret_access_key) or (access_key_id, secret_access_key, session_token).",
    )


def _fields(text: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in text.split(","))
    fields = {name: value for name, _, value in pairs}
    for name in ("Credential", "Signature", "SignedHeaders"):
        if not fields.get(name):
            raise _incomplete(f"Authorization header requires '{name}' parameter.")
    return fields


def _check_time(request: ReceivedRequest, date: str, now: datetime) -> str:
    timestamp = request.headers.get("x-amz-date", "")
    if not re.fullmatch(r"\d{8}T\d{6}Z", timestamp):
        raise _incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if date != timestamp[:8]:
        raise _invalid(
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{date}' != '{timestamp[:8]}', from '{timestamp}'."
        )
    try:
        signed_at = datetime.strptime(timestamp, _TIMESTAMP).replace(tzinfo=UTC)
    except ValueError as exc:
        raise _incomplete(f"'{timestamp}' is not a date.") from exc
    earliest, latest = now - _SKEW, now + _SKEW
    current = now.strftime(_TIMESTAMP)
    if signed_at < earliest:
        raise _invalid(
            f"Signature expired: {timestamp} is now earlier than {earliest.strftime(_TIMESTAMP)} ({current} - 5 min.)"
        )
    if signed_at > latest:
        raise _invalid(
            f"Signature not yet current: {timestamp} is still later than {latest.strftime(_TIMESTAMP)} "
            f"({current} + 5 min.)"
        )
    return timestamp


def _signature(
    request: ReceivedRequest,
    credentials: SigningCredentials,
    scope: tuple[str, str],
    signed_headers: list[str],
    *,
    streaming: bool,
) -> str:
    """Return the signature that the request should have; ``scope`` is its timestamp and region."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.compat import HTTPHeaders

    class Verifier(SigV4Auth):
        """botocore's algorithm, over exactly the headers that the client claims to have signed."""

        def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
            return signed

        def payload(self, request: AWSRequest) -> Any:  # noqa: ANN401 - as in botocore
            return _STREAMING_EVENTS if streaming else super().payload(request)

    timestamp, region = scope
    signed = HTTPHeaders()
    for name in signed_headers:
        signed[name] = request.headers.get(name, "")
    # The request gets no headers, so that the hash of the body is computed here, whatever x-amz-content-sha256 claims.
    query = f"?{request.query}" if request.query else ""
    url = f"http://{request.headers.get('host', '')}{request.path}{query}"
    aws_request = AWSRequest(method=request.method, url=url, data=request.body)
    aws_request.context["timestamp"] = timestamp
    verifier = _signing(credentials, region, Verifier)
    return verifier.signature(
        verifier.string_to_sign(aws_request, verifier.canonical_request(aws_request)), aws_request
    )


def bad_signature(message: str) -> Exception:
    """Return the service's error for an invalid signature."""
    return service_error("InvalidSignatureException", message)


_invalid = bad_signature


def _incomplete(message: str) -> Exception:
    return service_error("IncompleteSignatureException", message)
