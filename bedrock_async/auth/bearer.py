"""Amazon Bedrock API keys: a bearer token instead of a signature."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from ..errors import AccessDeniedError, AuthenticationError, CredentialsError, ServiceError
from ._protocol import Authenticator
from .credentials import ApiKey, ApiKeyProvider
from .refresh import Fixed, Refresher, call_off_loop

__all__ = ["API_KEY_LIFETIME", "BearerAuthenticator"]

API_KEY_LIFETIME: Final = timedelta(minutes=5)
"""How long a key without an expiry, returned by a callable, is used before the callable is called again."""

# A wrong, revoked or expired key is an AccessDeniedException, like a missing permission; but a missing permission names
# "bedrock:CallWithBearerToken". Messages about keys: "Authentication failed: Please make sure your API Key is valid.",
# "Invalid API Key format: Must start with pre-defined prefix", "Bearer Token has expired"  [quoted in public threads,
# 2025-2026]
_OF_THE_KEY: Final = re.compile(r"\b(api key|bearer token)\b", re.IGNORECASE)


class BearerAuthenticator(Authenticator):
    """Puts an API key on every request.

    ``api_key`` is the key, an `ApiKey`, or a callable that returns either; a plain function is called in a worker
    thread, so it may read files or call a secret store. The callable is called again from 15 minutes before the
    ``expires_at`` of an `ApiKey`, or after five minutes if there is no expiry. Raises InvalidRequestError for a key
    that is not a valid header value.
    """

    def __init__(self, api_key: str | ApiKey | ApiKeyProvider, *, source: str = "api_key argument") -> None:
        self.source = source
        self._header: tuple[ApiKey, str] | None = None
        self._keys: Fixed[ApiKey] | Refresher[ApiKey]
        if isinstance(api_key, str | ApiKey):
            self._keys = Fixed(_api_key(api_key, source), source=source)
        else:
            provider = api_key

            async def fetch() -> ApiKey:
                return _api_key(await call_off_loop(provider), source)

            self._keys = Refresher(fetch, source=source, lifetime=API_KEY_LIFETIME)

    def ready(self, now: datetime) -> bool:
        """Return whether there is a key that need not be renewed yet."""
        return self._keys.ready(now)

    async def prepare(self, now: datetime) -> None:
        """Fetch the key if necessary, once for all waiters.

        When the waiter that fetches is cancelled, another takes over. Raises CredentialsError.
        """
        await self._keys.refresh(now)

    def authorize(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes,
        *,
        service: str,
        region: str,
        now: datetime,
    ) -> None:
        """Set ``authorization`` in ``headers``. Raises CredentialsError before the first `prepare`."""
        key = self._keys.value
        if key is None:
            raise CredentialsError(f"The API key of the {self.source} has not been fetched.", hint="Await prepare().")
        header = self._header
        if header is None or header[0] is not key:
            header = self._header = (key, f"Bearer {key.value}")
        headers["authorization"] = header[1]

    def invalidate(self, headers: Mapping[str, str] | None = None, refusal: ServiceError | None = None) -> bool:
        """Drop the key that the service has refused; return whether `prepare` can obtain another.

        ``headers`` are those of the refused request: when they carry another key than the current one, the key has been
        renewed meanwhile and is kept. A ``refusal`` that is not about the key changes nothing and returns False.
        """
        if refusal is not None and not _is_about_the_key(refusal):
            return False
        key = self._keys.value
        if headers is not None and key is not None and headers.get("authorization") != f"Bearer {key.value}":
            return True
        return self._keys.forget()

    def __repr__(self) -> str:
        """Return the origin of the key, without the key."""
        return f"BearerAuthenticator(source={self.source!r})"


def _is_about_the_key(refusal: ServiceError) -> bool:
    return isinstance(refusal, AuthenticationError) or (
        isinstance(refusal, AccessDeniedError) and _OF_THE_KEY.search(refusal.message) is not None
    )


def _api_key(value: object, source: str) -> ApiKey:
    if isinstance(value, ApiKey):
        return value
    if isinstance(value, str):
        return ApiKey(value)
    raise CredentialsError(
        f"The {source} returned {type(value).__name__}; a str or an ApiKey is expected.",
        hint="Return ApiKey(value, expires_at=...) when the key's expiry is known.",
    )
