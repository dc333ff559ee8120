"""Authenticators that sign with AWS credentials, fixed or refreshable."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Protocol

from ..errors import CredentialsError, ExpiredTokenError, ServiceError
from ._protocol import Authenticator
from .credentials import Credentials, CredentialsProvider
from .refresh import Fixed, Refresher, call_off_loop
from .sigv4 import SigV4Signer

__all__ = ["CredentialsSource", "ProviderSource", "RefreshingAuthenticator", "StaticAuthenticator"]

# A key that was deleted or replaced: after a rotation, the source has another one.
_UNKNOWN_KEY: Final = frozenset({"InvalidClientTokenId", "UnrecognizedClientException"})


class CredentialsSource(Protocol):
    """A source from which credentials can be fetched repeatedly."""

    name: str
    """The name of the source in messages; may become more precise with the first fetch. Never a secret."""

    lifetime: timedelta | None
    """How long credentials without an expiry are used before they are fetched again; None: until they are refused."""

    async def fetch(self) -> Credentials:
        """Return valid credentials, without blocking the event loop. Raises CredentialsError."""
        ...

    def forget(self) -> bool:
        """Drop what is cached, because the service has refused it; return whether `fetch` can obtain others."""
        ...


class ProviderSource:
    """Credentials from a callable; a plain function is called in a worker thread."""

    lifetime: timedelta | None = None

    def __init__(self, provider: CredentialsProvider, *, name: str = "credentials callable") -> None:
        self.name = name
        self._provider = provider

    async def fetch(self) -> Credentials:
        """Call the callable. Raises CredentialsError when it returns anything other than `Credentials`."""
        return _as_credentials(await call_off_loop(self._provider), self.name)

    def forget(self) -> bool:
        """Return True: the callable can be called again."""
        return True


class StaticAuthenticator(Authenticator):
    """Signs with credentials that cannot be refreshed."""

    def __init__(self, credentials: Credentials, *, source: str = "credentials argument") -> None:
        self.source = source
        self._fixed = Fixed(credentials, source=source)
        self._signer = SigV4Signer(credentials)

    @property
    def credentials(self) -> Credentials | None:
        """The credentials that requests are signed with."""
        return self._fixed.value

    def ready(self, now: datetime) -> bool:
        """Return whether the credentials have not expired."""
        return self._fixed.ready(now)

    async def prepare(self, now: datetime) -> None:
        """Do nothing while the credentials are valid; raise ExpiredCredentialsError once they have expired."""
        await self._fixed.refresh(now)

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
        """Sign the request into ``headers``; see `SigV4Signer.sign`."""
        self._signer.sign(method, url, headers, body, service=service, region=region, now=now)

    def invalidate(self, headers: Mapping[str, str] | None = None, refusal: ServiceError | None = None) -> bool:
        """Return False: no other credentials can be obtained."""
        return self._fixed.forget()

    def __repr__(self) -> str:
        """Return the origin of the credentials, without secrets."""
        return f"StaticAuthenticator(source={self.source!r})"


class RefreshingAuthenticator(Authenticator):
    """Signs with credentials from a source, refreshed before they expire, once for all waiters.

    See `Refresher` for who fetches and when. Nothing is fetched before the first `prepare`.
    """

    def __init__(self, origin: CredentialsSource) -> None:
        self.source = origin.name
        self._origin = origin
        self._signer: SigV4Signer | None = None
        self._refresher = Refresher(origin.fetch, source=origin.name, lifetime=origin.lifetime)

    @property
    def credentials(self) -> Credentials | None:
        """The credentials that requests are signed with; None before the first `prepare`."""
        return self._refresher.value

    def ready(self, now: datetime) -> bool:
        """Return whether there are credentials that need not be refreshed yet."""
        return self._refresher.ready(now)

    async def prepare(self, now: datetime) -> None:
        """Fetch or refresh the credentials, once for all waiters, without blocking the event loop.

        When the waiter that fetches is cancelled, another takes over. Raises CredentialsError.
        """
        await self._refresher.refresh(now)
        self.source = self._refresher.source = self._origin.name

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
        """Sign the request into ``headers``; see `SigV4Signer.sign`. Raises CredentialsError before `prepare`."""
        credentials = self._refresher.value
        if credentials is None:
            raise CredentialsError(f"The credentials of the {self.source} are not loaded.", hint="Await prepare().")
        signer = self._signer
        if signer is None or signer.credentials is not credentials:
            signer = self._signer = SigV4Signer(credentials)
        signer.sign(method, url, headers, body, service=service, region=region, now=now)

    def invalidate(self, headers: Mapping[str, str] | None = None, refusal: ServiceError | None = None) -> bool:
        """Drop the credentials that the service has refused; return whether `prepare` can obtain others.

        ``headers`` are those of the refused request: when they were signed with another key or session token than the
        current one, the credentials have been refreshed meanwhile and are kept, so that a hundred refusals in a row
        cause only one fetch. A ``refusal`` that is about something else changes nothing and returns False.
        """
        if refusal is not None and not (isinstance(refusal, ExpiredTokenError) or refusal.code in _UNKNOWN_KEY):
            return False
        credentials = self._refresher.value
        if credentials is None:
            return True
        if headers is not None and not _signed_with(credentials, headers):
            return True
        return self._origin.forget() and self._refresher.forget()

    def __repr__(self) -> str:
        """Return the origin of the credentials, without secrets."""
        return f"RefreshingAuthenticator(source={self.source!r})"


def _signed_with(credentials: Credentials, headers: Mapping[str, str]) -> bool:
    key_id = headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
    return key_id == credentials.access_key_id and headers.get("x-amz-security-token") == credentials.session_token


def _as_credentials(value: object, source: str) -> Credentials:
    if not isinstance(value, Credentials):
        raise CredentialsError(
            f"The {source} returned {type(value).__name__}; Credentials are expected.",
            hint="Return Credentials(access_key_id, secret_access_key, session_token, expires_at=...).",
        )
    return value
