"""AWS Signature Version 4, as the Bedrock endpoints verify it: signed headers, signed body. Pure: has no clock.

It is cheap because the signing key is derived once per day, region and service and kept as two primed SHA-256 states,
the canonical path is computed once per URL, the timestamp is formatted once per second, and the body is hashed as the
bytes that are sent. Reference: "Create a signed AWS API request" in the IAM user guide; exactness is tested against the
official vectors and botocore's signer.
"""

from __future__ import annotations

import hmac
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple, Protocol, TypeVar
from urllib.parse import quote, urlsplit

from .credentials import Credentials

_K = TypeVar("_K")
_V = TypeVar("_V")

__all__ = ["UNSIGNED_HEADERS", "SigV4Signer"]

UNSIGNED_HEADERS: Final[frozenset[str]] = frozenset(
    {
        # botocore omits these, because proxies and tracing agents add or rewrite them.
        "baggage",
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-amzn-trace-id",
        # HTTP libraries set this themselves, after signing.
        "accept-encoding",
        "authorization",
        "content-length",
    }
)
"""Lower-case names of headers that are sent but not signed; every other header is signed."""

# The limits of the caches. A client calls tens of URLs; only GetAsyncInvoke has a new one for each job.
_MAX_TARGETS: Final = 512
_MAX_SHAPES: Final = 64
_MAX_KEYS: Final = 64

_ONE_SECOND: Final = timedelta(seconds=1)
_BLOCK_SIZE: Final = 64
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))


class _Second(NamedTuple):
    """One second of the clock, formatted."""

    start: datetime
    end: datetime
    timestamp: str
    date: str


class _Target(NamedTuple):
    """What method and URL contribute to the canonical request."""

    head: str
    host: str


class _Shape(NamedTuple):
    """The signed headers among a set of header names, in canonical order."""

    names: tuple[str, ...]
    joined: str


class _HashState(Protocol):
    """The interface of hashlib's objects, whose own type has no public name."""

    def copy(self) -> _HashState: ...
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...
    def hexdigest(self) -> str: ...


class _Key(NamedTuple):
    """A signing key as HMAC's two SHA-256 states: signing takes two copies and two short updates."""

    scope: str
    inner: _HashState
    outer: _HashState
    prefix: str


class SigV4Signer:
    """Signs requests with one set of credentials.

    ``normalize_path`` removes dot segments and repeated slashes from the path before it is signed, as for every service
    except S3; ``unsigned_headers`` are the lower-case names to omit from the signature. Thread-safe.
    """

    __slots__ = ("_keys", "_normalize_path", "_second", "_shapes", "_targets", "_unsigned", "credentials")

    def __init__(
        self,
        credentials: Credentials,
        *,
        normalize_path: bool = True,
        unsigned_headers: AbstractSet[str] = UNSIGNED_HEADERS,
    ) -> None:
        self.credentials = credentials
        self._normalize_path = normalize_path
        self._unsigned = frozenset(unsigned_headers) | {"authorization"}
        self._second: _Second | None = None
        self._targets: dict[tuple[str, str], _Target] = {}
        self._shapes: dict[tuple[str, ...], _Shape] = {}
        self._keys: dict[tuple[str, str, str], _Key] = {}

    def sign(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes,
        *,
        service: str,
        region: str,
        now: datetime,
    ) -> str:
        """Sign the request: add ``authorization`` and what it depends on to ``headers``; return the signature in hex.

        ``url`` is absolute and quoted as it will be sent; the names in ``headers`` are lower-case and ``now`` is an
        aware datetime. ``host`` is added if it is missing; ``x-amz-date`` and ``x-amz-security-token`` are replaced, so
        that headers can be signed again. A given ``x-amz-content-sha256`` is used in place of the hash of the body.
        """
        second = self._second
        if second is None or not second.start <= now < second.end:
            second = self._second = _format_second(now)
        target = self._targets.get((method, url)) or self._new_target(method, url)
        key = self._keys.get((second.date, region, service)) or self._new_key(second.date, region, service)

        if "host" not in headers:
            headers["host"] = target.host
        headers["x-amz-date"] = second.timestamp
        token = self.credentials.session_token
        if token is not None:
            headers["x-amz-security-token"] = token
        elif "x-amz-security-token" in headers:
            del headers["x-amz-security-token"]
        names = tuple(headers)
        shape = self._shapes.get(names) or self._new_shape(names)

        canonical_headers = "\n".join([f"{name}:{' '.join(headers[name].split())}" for name in shape.names])
        body_hash = headers.get("x-amz-content-sha256") or sha256(body).hexdigest()
        canonical = f"{target.head}{canonical_headers}\n\n{shape.joined}\n{body_hash}"
        digest = sha256(canonical.encode()).hexdigest()

        inner = key.inner.copy()
        inner.update(f"AWS4-HMAC-SHA256\n{second.timestamp}\n{key.scope}\n{digest}".encode())
        outer = key.outer.copy()
        outer.update(inner.digest())
        signature = outer.hexdigest()
        headers["authorization"] = f"{key.prefix}{shape.joined}, Signature={signature}"
        return signature

    def sign_event(
        self, prior_signature: str, headers: bytes, payload: bytes, *, service: str, region: str, now: datetime
    ) -> bytes:
        """Return the signature of one event of a signed stream, 32 bytes.

        ``prior_signature`` is the hex signature of the previous event, or of the request; ``headers`` is the encoded
        header block that is signed with the payload, and ``now`` the aware datetime in it. Reference: "Event stream
        encoding" in the developer guide of Amazon Transcribe.
        """
        second = self._second
        if second is None or not second.start <= now < second.end:
            second = self._second = _format_second(now)
        key = self._keys.get((second.date, region, service)) or self._new_key(second.date, region, service)
        hashes = f"{sha256(headers).hexdigest()}\n{sha256(payload).hexdigest()}"
        inner = key.inner.copy()
        inner.update(f"AWS4-HMAC-SHA256-PAYLOAD\n{second.timestamp}\n{key.scope}\n{prior_signature}\n{hashes}".encode())
        outer = key.outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def __repr__(self) -> str:
        """Return the repr of the credentials, which hides the secrets."""
        return f"SigV4Signer({self.credentials!r})"

    def _new_target(self, method: str, url: str) -> _Target:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if ":" in host:
            host = f"[{host}]"
        if parts.port is not None and parts.port != _DEFAULT_PORTS.get(parts.scheme):
            host = f"{host}:{parts.port}"
        path = parts.path or "/"
        if self._normalize_path:
            path = _without_dot_segments(path)
        # The path, already quoted, is quoted a second time: only S3 signs it as sent.
        target = _Target(f"{method.upper()}\n{quote(path, safe='/~')}\n{_canonical_query(parts.query)}\n", host)
        _remember(self._targets, (method, url), target, _MAX_TARGETS)
        return target

    def _new_shape(self, names: tuple[str, ...]) -> _Shape:
        signed = tuple(sorted(name for name in names if name not in self._unsigned))
        shape = _Shape(signed, ";".join(signed))
        _remember(self._shapes, names, shape, _MAX_SHAPES)
        return shape

    def _new_key(self, date: str, region: str, service: str) -> _Key:
        secret = f"AWS4{self.credentials.secret_access_key}".encode()
        for part in (date, region, service, "aws4_request"):
            secret = hmac.digest(secret, part.encode(), "sha256")
        block = secret.ljust(_BLOCK_SIZE, b"\0")
        scope = f"{date}/{region}/{service}/aws4_request"
        key = _Key(
            scope,
            sha256(block.translate(_INNER_PAD)),
            sha256(block.translate(_OUTER_PAD)),
            f"AWS4-HMAC-SHA256 Credential={self.credentials.access_key_id}/{scope}, SignedHeaders=",
        )
        _remember(self._keys, (date, region, service), key, _MAX_KEYS)
        return key


def _remember(cache: dict[_K, _V], key: _K, value: _V, limit: int) -> None:
    if len(cache) >= limit:
        cache.clear()  # atomic, unlike evicting single entries: threads may share a signer
    cache[key] = value


def _format_second(now: datetime) -> _Second:
    start = now.astimezone(UTC).replace(microsecond=0)
    return _Second(start, start + _ONE_SECOND, start.strftime("%Y%m%dT%H%M%SZ"), start.strftime("%Y%m%d"))


def _without_dot_segments(path: str) -> str:
    """Apply RFC 3986, section 5.2.4, and collapse repeated slashes, as AWS services require."""
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if segments:
                segments.pop()
        elif segment and segment != ".":
            segments.append(segment)
    last = "/" if path.endswith("/") and segments else ""
    return f"/{'/'.join(segments)}{last}"


def _canonical_query(query: str) -> str:
    """Return the query sorted by quoted name, then by quoted value; a name without ``=`` has an empty value."""
    if not query:
        return ""
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&"))
    return "&".join(f"{name}={value}" for name, value in pairs)
