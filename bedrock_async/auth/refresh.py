"""Keeps a secret fresh: decides who fetches it, who waits, and when. Has no clock; ``now`` is an argument."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, Generic, Protocol, TypeVar, cast, overload

import anyio
from anyio import to_thread

from ..errors import BedrockError, CredentialsError, ExpiredCredentialsError

__all__ = ["ADVISORY_WINDOW", "MANDATORY_WINDOW", "RETRY_INTERVAL", "Expiring", "Fixed", "Refresher", "call_off_loop"]

_log = logging.getLogger("bedrock_async.auth")

# As in botocore (credentials.py, _DEFAULT_ADVISORY_REFRESH_TIMEOUT and _DEFAULT_MANDATORY_REFRESH_TIMEOUT).
ADVISORY_WINDOW: Final = timedelta(minutes=15)
"""From this long before the expiry, one call refreshes while the others continue with the current value."""

MANDATORY_WINDOW: Final = timedelta(minutes=10)
"""From this long before the expiry, every call waits for the refresh."""

RETRY_INTERVAL: Final = timedelta(minutes=1)
"""The least time between two attempts to refresh while the current value is still valid."""


class Expiring(Protocol):
    """A value that may expire."""

    @property
    def expires_at(self) -> datetime | None:
        """Return the expiry as an aware datetime, or None if it is not known."""
        ...


_V = TypeVar("_V", bound=Expiring)
_T = TypeVar("_T")


class _Flight:
    """One fetch and its outcome. If it is done with neither success nor error, the task that led it was cancelled."""

    __slots__ = ("done", "error", "succeeded")

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.succeeded = False
        self.error: CredentialsError | None = None


class Fixed(Generic[_V]):
    """Holds one value that cannot be renewed, with the methods of `Refresher`."""

    __slots__ = ("source", "value")

    def __init__(self, value: _V, *, source: str) -> None:
        self.source = source
        self.value = value

    def ready(self, now: datetime) -> bool:
        """Return whether the value has not expired."""
        return self.value.expires_at is None or now < self.value.expires_at

    async def refresh(self, now: datetime) -> None:
        """Return if the value is still valid; raise ExpiredCredentialsError if it has expired."""
        _refuse_expired(self.value, now, source=self.source)

    def forget(self) -> bool:
        """Return False: no other value can be obtained."""
        return False


class Refresher(Generic[_V]):
    """Holds one value and refreshes it before it expires, once for all waiters.

    There is no background task. The first caller that needs a fetch performs it in its own context, under its own
    deadline; the others wait for the outcome. When that caller is cancelled, the next waiter takes over.

    A value with an expiry is refreshed from 15 minutes before it; from 10 minutes before it, all callers wait for the
    refresh. A value without one is refreshed after ``lifetime``, and after twice that time all callers wait; with None
    it is never refreshed. When a fetch fails while the value is still valid, the failure is logged, calls continue with
    the value, and the fetch is retried a minute later.

    ``source`` describes the origin of the value in messages.
    """

    __slots__ = ("_fetch", "_flight", "_lifetime", "_refresh_after", "_wait_after", "source", "value")

    def __init__(self, fetch: Callable[[], Awaitable[_V]], *, source: str, lifetime: timedelta | None = None) -> None:
        self.source = source
        self.value: _V | None = None
        self._fetch = fetch
        self._lifetime = lifetime
        self._refresh_after: datetime | None = None
        self._wait_after: datetime | None = None
        self._flight: _Flight | None = None

    def ready(self, now: datetime) -> bool:
        """Return whether there is a value that need not be refreshed yet."""
        return self.value is not None and (self._refresh_after is None or now < self._refresh_after)

    async def refresh(self, now: datetime) -> None:
        """Return once there is a valid value, by fetching it or waiting for the fetch in progress.

        Cancelling a waiter does not affect the others; when the fetching caller is cancelled, the next waiter starts
        the fetch again. Raises CredentialsError when the fetch fails and the current value is not valid.
        """
        while not self.ready(now):
            flight = self._flight
            if flight is None:
                await self._lead(now)
                return
            if self._usable(now) and (self._wait_after is None or now < self._wait_after):
                return
            await flight.done.wait()
            if flight.succeeded and self.value is not None:
                return
            if flight.error is not None:
                if self._usable(now):
                    return
                raise copy.copy(flight.error) from flight.error  # each waiter gets its own traceback

    def forget(self) -> bool:
        """Drop the value, because the service has refused it; return True, as `refresh` can fetch another."""
        self.value = None
        return True

    async def _lead(self, now: datetime) -> None:
        flight = self._flight = _Flight()
        try:
            self._accept(await self._fetch(), now)
        except Exception as exc:
            error = flight.error = self._as_credentials_error(exc)
            if not self._usable(now):
                if error is exc:
                    raise
                raise error from exc
            _log.warning("Could not refresh the %s; continuing with the current credentials. %s", self.source, error)
            self._refresh_after = now + RETRY_INTERVAL
        else:
            flight.succeeded = True
        finally:
            self._flight = None
            flight.done.set()

    def _usable(self, now: datetime) -> bool:
        value = self.value
        return value is not None and (value.expires_at is None or now < value.expires_at)

    def _accept(self, value: _V, now: datetime) -> None:
        _refuse_expired(value, now, source=self.source)
        expiry = value.expires_at
        if expiry is not None:
            self._refresh_after = min(max(expiry - ADVISORY_WINDOW, now + RETRY_INTERVAL), expiry)
            self._wait_after = expiry - MANDATORY_WINDOW
        elif self._lifetime is not None:
            self._refresh_after = now + self._lifetime
            self._wait_after = now + 2 * self._lifetime
        else:
            self._refresh_after = self._wait_after = None
        self.value = value

    def _as_credentials_error(self, exc: Exception) -> CredentialsError:
        if isinstance(exc, CredentialsError):
            return exc
        # The text of a foreign exception may quote a secret; its type does not.
        said = exc.message if isinstance(exc, BedrockError) else f"{type(exc).__name__} was raised."
        return CredentialsError(f"The {self.source} failed: {said}", hint="The exception above says why.")


def _refuse_expired(value: Expiring, now: datetime, *, source: str) -> None:
    expiry = value.expires_at
    if expiry is not None and expiry <= now:
        raise ExpiredCredentialsError(
            f"The credentials of the {source} expired at {expiry.isoformat()}, "
            f"{(now - expiry).total_seconds():.0f} s ago.",
            hint="Renew them at their source (`aws sso login`, a new key), or check this machine's clock.",
        )


@overload
async def call_off_loop(function: Callable[[], Awaitable[_T]]) -> _T: ...
@overload
async def call_off_loop(function: Callable[[], _T | Awaitable[_T]]) -> _T: ...
async def call_off_loop(function: Callable[[], _T | Awaitable[_T]]) -> _T:
    """Call ``function`` without blocking the event loop, and return its result.

    A coroutine function is awaited; any other function runs in a worker thread, and if it returns an awaitable, that is
    awaited here. Cancelling abandons the thread: it runs on, and its result is discarded.
    """
    if inspect.iscoroutinefunction(function):
        return cast("_T", await function())
    result = await to_thread.run_sync(function, abandon_on_cancel=True)
    if inspect.isawaitable(result):
        return cast("_T", await result)
    return result
