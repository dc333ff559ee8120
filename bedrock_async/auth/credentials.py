"""AWS credentials and Bedrock API keys as values, which do not show their secrets in a repr."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

from ..errors import InvalidRequestError

__all__ = ["ApiKey", "ApiKeyProvider", "Credentials", "CredentialsProvider"]

# The characters that a header value may contain unquoted: a stray line break would start another header.
_VISIBLE_ASCII: Final = re.compile(r"[!-~]+")
_UNFIT: Final = re.compile(r"[^!-~]")


@dataclass(frozen=True, slots=True)
class Credentials:
    """AWS credentials for signing requests.

    Temporary credentials have a ``session_token``. ``expires_at`` is an aware datetime; without it, credentials are
    considered valid until the service refuses them. ``account_id`` is informational. Raises InvalidRequestError for a
    member that is empty or contains white space, a line break or a non-ASCII character; the message names the member,
    never its value.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    account_id: str | None = None

    def __post_init__(self) -> None:
        _check_secret("access_key_id", self.access_key_id)
        _check_secret("secret_access_key", self.secret_access_key)
        if self.session_token is not None:
            _check_secret("session_token", self.session_token)
        _check_expiry(self.expires_at)

    def __repr__(self) -> str:
        """Return the members, with secrets replaced by whether they are set."""
        token = "" if self.session_token is None else ", session_token=<hidden>"
        expiry = "" if self.expires_at is None else f", expires_at={self.expires_at.isoformat()}"
        return f"Credentials(access_key_id={self.access_key_id!r}, secret_access_key=<hidden>{token}{expiry})"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An Amazon Bedrock API key, sent as ``authorization: Bearer <value>``.

    ``expires_at`` is an aware datetime; without it, the key is considered valid until the service refuses it. Raises
    InvalidRequestError for a value that is empty or contains white space or a non-ASCII character.
    """

    value: str = field(repr=False)
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        _check_secret("api_key", self.value)
        _check_expiry(self.expires_at)

    def __repr__(self) -> str:
        """Return the expiry, without the key."""
        expiry = "" if self.expires_at is None else f", expires_at={self.expires_at.isoformat()}"
        return f"ApiKey(<hidden>{expiry})"


_T = TypeVar("_T")
_Provider: TypeAlias = Callable[[], _T | Awaitable[_T]]

CredentialsProvider: TypeAlias = _Provider[Credentials]
"""A function or coroutine function without arguments that returns `Credentials`; a plain function may block."""

ApiKeyProvider: TypeAlias = _Provider[str | ApiKey]
"""A function or coroutine function without arguments that returns an API key; a plain function may block."""


def _check_secret(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} must be a str, not {type(value).__name__}.", path=name)
    if not value:
        raise InvalidRequestError(f"{name} is empty.", path=name, hint="Leave the argument out if there is none.")
    if not _VISIBLE_ASCII.fullmatch(value):
        unfit = _UNFIT.search(value)
        where = unfit.start() if unfit else 0
        kind = "white space" if value[where].isspace() else "a character outside visible ASCII"
        raise InvalidRequestError(
            f"{name} holds {kind} at position {where} of {len(value)}.",
            path=name,
            hint="Often it is the line end of the file that it was read from: strip() it.",
        )


def _check_expiry(expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at.tzinfo is None:
        raise InvalidRequestError(
            "expires_at is a datetime without a time zone.",
            path="expires_at",
            hint="Make it aware: datetime.now(timezone.utc) + timedelta(...).",
        )
