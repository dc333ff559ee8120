"""Hides what no recording may contain: account ids, keys, tokens, names of principals.

Replacements have the same number of bytes, so that lengths, frames and chunks of recorded traffic remain correct.
Replacements are left unchanged the next time, so that a request redacted now equals the recorded one.
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
"""Replaces account ids: the one in AWS's own examples."""

FILLER: Final = b"x"
"""Replaces every byte of a secret or text: valid in base64, in names and in JSON."""

_EXAMPLE_KEY: Final = b"IOSFODNN7EXAMPLE"  # from the AWS documentation, without the four letters of the kind
_NO_TOKEN: Final = "00000000-0000-4000-8000-000000000000"  # noqa: S105 - it takes the place of one
_PAGE: Final = "page-"
_PAGE_TOKEN: Final = re.compile(rf"{_PAGE}[0-9a-f]{{32}}")

# The last group of a UUID, such as a request id, may consist of twelve digits by chance.
_IN_UUID: Final = rb"(?<![0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-)"
_ACCOUNT: Final = re.compile(rb"(?<![0-9])(?<![0-9]\.)" + _IN_UUID + rb"[0-9]{12}(?![0-9])")
# As shown in the console; four groups are a card number, which is not matched.
_SPACED_ACCOUNT: Final = re.compile(rb"(?<![0-9-])[0-9]{4}-[0-9]{4}-[0-9]{4}(?![0-9]|-[0-9])")
# In a long base64 text, which is binary data, twelve digits in a row are chance, and replacing them would damage an
# image.
_OPAQUE: Final = re.compile(rb"[A-Za-z0-9+/]{64,}={0,2}")


def _filled(keep: int) -> Callable[[re.Match[bytes]], bytes]:
    """Return a replacement for all of a match except its first ``keep`` bytes."""
    return lambda found: found[0][:keep] + FILLER * (len(found[0]) - keep)


def _tail_filled(found: re.Match[bytes]) -> bytes:
    """Replace the last group of a match, which is its end."""
    size = len(found[found.re.groups])
    return found[0][: len(found[0]) - size] + FILLER * size


_Rule = tuple[re.Pattern[bytes], Callable[[re.Match[bytes]], bytes]]
_RULES: Final[tuple[_Rule, ...]] = (
    # Prefixes of ids, from "IAM identifiers" in the IAM user guide.
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
    # Names of users, roles and sessions, which are often names of people.
    (
        re.compile(
            rb"(arn:aws[a-z-]*:(?:iam|sts)::[0-9]{12}:(?:user|role|assumed-role|federated-user|group|instance-profile)/)"
            rb"([\w+=,.@/-]+)"
        ),
        _tail_filled,
    ),
)


def hide(data: bytes, secrets: Iterable[bytes] = ()) -> bytes:
    """Return the bytes with private data replaced, in the same length; ``secrets`` are matched literally.

    Account ids in data that is entirely base64 are not matched.
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
    """Do the same in a path or query, preserving the client's percent-encoding."""
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
    """Return the replacement for ``text`` in a member of this name, or None if the name alone does not decide.

    Tokens that differ between calls are replaced by constants, so that a request with a new idempotency token matches
    the recorded one, and the next page is found under the token in the recorded page before it.
    """
    if name in {"clientRequestToken", "ClientRequestToken"}:
        return _NO_TOKEN
    if name in {"nextToken", "NextToken"} and text:
        return text if _PAGE_TOKEN.fullmatch(text) else _PAGE + hashlib.sha256(text.encode()).hexdigest()[:32]
    if _SECRET_MEMBER.search(name):
        return FILLER.decode() * len(text.encode("utf-8", "surrogatepass"))
    return None


def holds_account(name: str) -> bool:
    """Whether a twelve-digit number under this name is an account id; in texts, every one is taken for one."""
    return _ACCOUNT_MEMBER.search(name) is not None


# The request headers of the service's protocol; any other may hold a gateway's key.
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
    """Return the credentials in a request's headers, which a recorded response may not contain either."""
    found: set[str] = set()
    for name, value in headers.items():
        if not kept_request_header(name.lower()) and _SECRET_HEADER.search(name):
            found.update(_PROOF.findall(value) or (value,))
    return frozenset(secret.encode() for secret in found if len(secret) >= _LEAST_SECRET_BYTES)


_PUBLIC_HOST: Final = re.compile(r"bedrock[a-z-]*\.[a-z0-9-]+\.(?:amazonaws\.com(?:\.cn)?|api\.aws)(?::\d+)?")
_LOOPBACK: Final = re.compile(r"(?:127\.[0-9.]+|localhost|\[::1\])(?::\d+)?")


def public_host(host: str) -> str:
    """Return the host if it is a public one of the service, otherwise a placeholder that reveals no network."""
    if not host or _PUBLIC_HOST.fullmatch(host):
        return host
    return "localhost" if _LOOPBACK.fullmatch(host) else "private-endpoint.invalid"
