"""The authentication interface that sending a request relies on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from ..errors import ServiceError


class Authenticator(Protocol):
    """Holds one kind of credentials and authorises requests with them."""

    source: str
    """The readable origin of the credentials: ``"environment (AWS_ACCESS_KEY_ID)"``. Never a secret."""

    def ready(self, now: datetime) -> bool:
        """Return whether `authorize` can be called now: credentials are loaded and not about to expire."""
        ...

    async def prepare(self, now: datetime) -> None:
        """Load or refresh the credentials, once for all waiters, without blocking the event loop.

        Cancelling one waiter does not affect the others. Raises CredentialsError.
        """
        ...

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
        """Add the authorisation headers to ``headers`` (lower-case names) in place. ``url`` is absolute and quoted."""
        ...

    def invalidate(self, headers: Mapping[str, str] | None = None, refusal: ServiceError | None = None) -> bool:
        """Drop credentials that the service has refused; return whether `prepare` can obtain others.

        ``headers`` are those of the refused request: credentials fetched since it was signed are kept. A ``refusal``
        that would equally apply to others (a missing permission, a wrong clock) changes nothing and returns False.
        """
        ...
