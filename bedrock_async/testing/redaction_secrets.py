"""What no recording keeps, wherever it stands: account ids, keys, tokens, names of principals.

Everything is replaced by as many bytes as it had, so that lengths, frames and chunks of recorded traffic stay true.
What was replaced once is left as it is the next time, so that a request redacted today equals the recorded one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

__all__ = [
    "ACCOUNT_ID",
    "FILLER",
    "hide",
    "hide_in_quoted",
    "holds_account",
    "kept_request_header",
    "kept_response_header",
    "public_host",
    "replaced_member",
    "secrets_of",
]

ACCOUNT_ID: Final = b"123456789012"
"""What stands in the place of an account id: the one of AWS's own examples."""

FILLER: Final = b"x"
"""What stands in the place of every byte of a secret or text: valid in base64, in names and in JSON."""

_EXAMPLE_KEY: Final = b"IOSFODNN7EXAMPLE"  # of the AWS documentation, behind the four letters of the kind
_NO_TOKEN: Final = "00000000-0000-4000-8000-000000000000"  # noqa: S105 - it takes the place of one
_PAGE: Final = "page-"
_PAGE_TOKEN: Final = re.compile(rf"{_PAGE}[0-9a-f]{{32}}")

# The last group of a UUID, such as a request id's, may be twelve digits by chance.
_IN_UUID: Final = rb"(?<![0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-)"
_ACCOUNT: Final = re.compile(rb"(?<![0-9])(?<![0-9]\.)" + _IN_UUID + rb"[0-9]{12}(?![0-9])")
# As the console shows it; four groups are a card's number, and none of ours.
_SPACED_ACCOUNT: Final = re.compile(rb"(?<![0-9-])[0-9]{4}-[0-9]{4}-[0-9]{4}(?![0-9]|-[0-9])")
# A long text of nothing but base64 holds bytes: twelve digits in a row are chance there, and an image would be spoilt.
_OPAQUE: Final = re.compile(rb"[A-Za-z0-9+/]{64,}={0,2}")


def _filled(keep: int) -> Callable[[re.Match[bytes]], bytes]:
    """Return what replaces all of a match but its first ``keep`` bytes."""
    return lambda found: found[0][:keep] + FILLER * (len(found[0]) - keep)


def _tail_filled(found: re.Match[bytes]) -> bytes:
    """Replace the last group of a match, which is its end."""
    size = len(found[found.re.groups])
    return found[0][: len(found[0]) - size] + FILLER * size


_Rule = tuple[re.Pattern[bytes], Callable[[re.Match[bytes]], bytes]]
_RULES: Final[tuple[_Rule, ...]] = (
    # Prefixes of ids: "IAM identifiers" in the IAM user guide.
    (
        re.compile(
            rb"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA|AGPA|AIPA|ANPA|ANVA|ASCA|APKA)[A-Z0-9]{16}(?![A-Z0-9])"
        ),
        lambda found: found[0][:4] + _EXAMPLE_KEY,
    ),
    # API keys of Bedrock, long-term and short-term.
    (re.compile(rb"ABSK[A-Za-z0-9+/=]{20,}"), _filled(4)),
    (re.compile(rb"bedrock-api-key-[A-Za-z0-9+/=_-]{20,}"), _filled(len("bedrock-api-key-"))),
    # Session tokens of STS.
    (re.compile(rb"(?:FwoG|FQoG|IQoJ)[A-Za-z0-9+/=]{48,}"), _filled(4)),
    (re.compile(rb"([Bb]earer\s+)([A-Za-z0-9._~+/=-]{8,})"), _tail_filled),
    (re.compile(rb"([Xx]-[Aa]mz-(?:Signature|Credential|Security-Token)=)([^&\s\"'<>\\]+)"), _tail_filled),
    # Who: names of users, roles and sessions, which are often names of people.
    (
        re.compile(
            rb"(arn:aws[a-z-]*:(?:iam|sts)::[0-9]{12}:(?:user|role|assumed-role|federated-user|group|instance-profile)/)"
            rb"([\w+=,.@/-]+)"
        ),
        _tail_filled,
    ),
)


def hide(data: bytes, secrets: Iterable[bytes] = ()) -> bytes:
    """Return the bytes with what must not be kept replaced, in the same length; ``secrets`` are looked for as they are.

    Account ids in what is base64 from end to end are not looked for.
    """
    for secret in secrets:
        data = data.replace(secret, FILLER * len(secret))
    for pattern, replacement in _RULES:
        data = pattern.sub(replacement, data)
    if _OPAQUE.fullmatch(data):
        return data
    return _SPACED_ACCOUNT.sub(b"1234-5678-9012", _ACCOUNT.sub(ACCOUNT_ID, data))


_UNIT: Final = re.compile(r"%[0-9A-Fa-f]{2}|.", re.DOTALL)


def hide_in_quoted(text: str, secrets: Iterable[bytes] = ()) -> str:
    """Do what `hide` does in a path or query, whose percent-encoding stays as the client wrote it."""
    units = _UNIT.findall(text)
    plain = b"".join(unquote_to_bytes(unit)[:1] for unit in units)  # one byte each: URLs are ASCII
    if len(plain) != len(units):
        return text
    hidden = hide(plain, secrets)
    return "".join(
        unit if old == new else quote_from_bytes(bytes((new,)))
        for unit, old, new in zip(units, plain, hidden, strict=True)
    )


_SECRET_MEMBER: Final = re.compile(
    r"authorization|api[-_]?key|secret|passw(?:or)?d|credential|cookie|private[-_]?key|"
    r"(?:access|auth|bearer|id|refresh|security|session)[-_]?token",
    re.IGNORECASE,
)
_ACCOUNT_MEMBER: Final = re.compile(r"account|owner|payer|principal", re.IGNORECASE)


def replaced_member(name: str, text: str) -> str | None:
    """Return what a member of this name holds instead of ``text``, None where the name tells nothing.

    Tokens that differ from call to call become ones that do not: a request with a fresh idempotency token is the
    recorded one all the same, and the next page is found under the token that the recorded page before it names.
    """
    if name in {"clientRequestToken", "ClientRequestToken"}:
        return _NO_TOKEN
    if name in {"nextToken", "NextToken"} and text:
        return text if _PAGE_TOKEN.fullmatch(text) else _PAGE + hashlib.sha256(text.encode()).hexdigest()[:32]
    if _SECRET_MEMBER.search(name):
        return FILLER.decode() * len(text.encode("utf-8", "surrogatepass"))
    return None


def holds_account(name: str) -> bool:
    """Whether a number of twelve digits under this name is an account id; in texts each one is taken for that."""
    return _ACCOUNT_MEMBER.search(name) is not None


# What of a request belongs to the service's protocol; anything else may be a gateway's key under any name.
_REQUEST_HEADERS: Final = frozenset({"accept", "content-type", "user-agent"})
_PROTOCOL: Final = ("x-amzn-bedrock-", "x-amz-bedrock-")
_SECRET_HEADER: Final = re.compile(r"auth|cookie|credential|key|passw|secret|session|signature|token", re.IGNORECASE)


def kept_request_header(name: str) -> bool:
    """Whether a recording keeps a request header of this lower-case name."""
    return name in _REQUEST_HEADERS or name.startswith(_PROTOCOL)


def kept_response_header(name: str) -> bool:
    """Whether a recording keeps a response header of this lower-case name."""
    return name.startswith(_PROTOCOL) or not _SECRET_HEADER.search(name)


_PROOF: Final = re.compile(r"\b(?:Credential=|Signature=|Bearer\s+|Basic\s+)([^\s,/]+)", re.IGNORECASE)
_LEAST_SECRET_BYTES: Final = 8


def secrets_of(headers: Mapping[str, str]) -> frozenset[bytes]:
    """Return what a request's headers hold to prove who asks; nothing that comes back may repeat it."""
    found: set[str] = set()
    for name, value in headers.items():
        if not kept_request_header(name.lower()) and _SECRET_HEADER.search(name):
            found.update(_PROOF.findall(value) or (value,))
    return frozenset(secret.encode() for secret in found if len(secret) >= _LEAST_SECRET_BYTES)


_PUBLIC_HOST: Final = re.compile(r"bedrock[a-z-]*\.[a-z0-9-]+\.(?:amazonaws\.com(?:\.cn)?|api\.aws)(?::\d+)?")
_LOOPBACK: Final = re.compile(r"(?:127\.[0-9.]+|localhost|\[::1\])(?::\d+)?")


def public_host(host: str) -> str:
    """Return the host when it is a public one of the service; what stands for others says nothing of a network."""
    if not host or _PUBLIC_HOST.fullmatch(host):
        return host
    return "localhost" if _LOOPBACK.fullmatch(host) else "private-endpoint.invalid"
