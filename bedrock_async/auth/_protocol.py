"""What the send loop knows of authentication."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from ..errors import ServiceError


class Authenticator(Protocol):
    """Holds credentials of one kind and puts them on requests."""

    source: str
    """Where the credentials come from, for people: ``"environment (AWS_ACCESS_KEY_ID)"``. Never a secret."""

    def ready(self, now: datetime) -> bool:
        """Return whether `authorize` can be called at once: credentials are at hand and not about to expire."""
        ...

    async def prepare(self, now: datetime) -> None:
        """Load or refresh the credentials, once for all waiters; nothing in it blocks the event loop.

        Cancelling one waiter does not cancel the refresh for the others. Raises CredentialsError.
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
        """Forget credentials that the service has refused; return whether `prepare` can bring others.

        ``headers`` are those of the refused request: credentials that were fetched since it was signed are kept. A
        ``refusal`` that others would meet as well (a missing permission, a wrong clock) touches nothing: False.
        """
        ...
