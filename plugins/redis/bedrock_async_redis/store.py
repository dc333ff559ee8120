"""RedisRateStore: what was sent and what is in flight, for all processes that share a Redis."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Literal, Self

import anyio
from anyio.abc import TaskGroup
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bedrock_async import BedrockError, InvalidRequestError, RateLimit

from .scripts import ADMIT, FINISH, RENEW

_PARTS: Final = ("recent", "tokens", "flight", "state")
_MAX_ENDED: Final = 10_000
"""How many ended attempts may wait to be reported; the place of one dropped beyond that is freed with its lease."""
_CLOSING_S: Final = 5.0
"""How long leaving may take to report to Redis what has ended."""


class RateStoreError(BedrockError):
    """The store is not open, or Redis cannot be reached or answers with an error: no call can be admitted."""

    retryable = True


class RedisRateStore:
    """The ``store`` of a `RateLimiter` that several processes share. Use it with ``async with``.

    ``redis`` is a URL, or a ``redis.asyncio.Redis``, which the store does not close. A place in flight is a lease of
    ``lease_s`` seconds: a live process renews it, a dead one loses it. A call that waits for a place in flight asks
    every ``poll_s`` seconds. While Redis cannot be reached, ``when_down="raise"`` fails calls with RateStoreError and
    ``"admit"`` sends them without a limit. ``clock`` replaces that of the Redis server, in seconds.

    The store belongs to the event loop in which it is entered. Leaving takes up to 5 seconds to report what has ended.
    """

    def __init__(
        self,
        redis: str | Redis,
        *,
        prefix: str = "bedrock-async",
        lease_s: float = 60.0,
        poll_s: float = 0.05,
        when_down: Literal["raise", "admit"] = "raise",
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Make the store without connecting. Raises InvalidRequestError for a value that is not allowed."""
        for name, seconds in (("lease_s", lease_s), ("poll_s", poll_s)):
            if not seconds > 0:
                raise InvalidRequestError(f"{name} is {seconds!r}; more than 0 seconds are allowed.", path=name)
        if when_down not in ("raise", "admit"):
            raise InvalidRequestError(
                f"when_down is {when_down!r}.", path="when_down", hint='Pass when_down="raise" or when_down="admit".'
            )
        self._redis: Redis = Redis.from_url(redis) if isinstance(redis, str) else redis  # pyright: ignore[reportUnknownMemberType]
        self._owns = isinstance(redis, str)
        self._prefix = prefix
        self._lease_s = lease_s
        self._poll_s = poll_s
        self._admits = when_down == "admit"
        self._clock = clock
        self._admit = self._redis.register_script(ADMIT)
        self._finish = self._redis.register_script(FINISH)
        self._renew = self._redis.register_script(RENEW)
        self._under_way: dict[str, set[str]] = {}
        self._ended: deque[tuple[str, list[str]]] = deque(maxlen=_MAX_ENDED)
        self._something_ended = asyncio.Event()
        self._group: TaskGroup | None = None

    # -- life

    async def __aenter__(self) -> Self:
        """Start to report what ends and to renew what is in flight. Raises RateStoreError if already entered."""
        if self._group is not None:
            raise RateStoreError("the store has been entered already.", hint="Enter it once, and share the limiter.")
        self._group = group = anyio.create_task_group()
        await group.__aenter__()
        group.start_soon(self._tell_ends)
        group.start_soon(self._renew_leases)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Report what has ended, and close the connection if the store opened it."""
        group, self._group = self._group, None
        if group is None:
            return
        try:
            group.cancel_scope.cancel()
            # Not the block's exception: the task group would raise it inside an exception group.
            await group.__aexit__(None, None, None)
        finally:
            with anyio.move_on_after(_CLOSING_S, shield=True), suppress(RedisError):
                await self.flush()
            if self._owns:
                with anyio.CancelScope(shield=True):
                    await self._redis.aclose()

    # -- the protocol RateStore

    async def admit(self, key: str, limit: RateLimit, lease: str, tokens: int) -> float:
        """Reserve and return 0.0, or return the seconds after which to ask again. Cancelling undoes the reservation.

        Raises RateStoreError.
        """
        if self._group is None:
            raise RateStoreError(
                "the store of the rate limits is not open.", hint="Use it inside `async with RedisRateStore(...)`."
            )
        numbers = (limit.requests_per_minute, limit.tokens_per_minute, limit.max_in_flight)
        asked = [lease, str(tokens), *("" if number is None else str(number) for number in numbers)]
        try:
            wait_s = float(await self._run(self._admit, key, [*asked, str(self._lease_s), str(self._poll_s)]))
        except RedisError as exc:
            if self._admits:
                return 0.0
            self._give_back(key, lease)
            raise RateStoreError(
                f"Redis does not say whether a call may go ({type(exc).__name__}: {exc}).",
                hint='Check the URL and the server, or pass when_down="admit" to go on without limits meanwhile.',
            ) from exc
        except BaseException:
            self._give_back(key, lease)
            raise
        if wait_s <= 0:
            self._under_way.setdefault(key, set()).add(lease)
        return wait_s

    def finish(self, key: str, limit: RateLimit, lease: str, tokens: int | None, *, throttled: bool) -> None:
        """Free the place of an ended attempt, in the background. Neither waits nor raises."""
        self._under_way.get(key, set()).discard(lease)
        lowers = throttled and limit.adaptive
        self._end(key, [lease, "" if tokens is None else str(tokens), "1" if lowers else ""])

    async def flush(self) -> None:
        """Report to Redis what has ended; the store does so by itself as attempts end. Raises RedisError."""
        while self._ended:
            first = self._ended[0]
            await self._run(self._finish, *first)
            # Should this be cancelled before here, a second report does no harm. The first may be dropped meanwhile.
            if self._ended and self._ended[0] is first:
                self._ended.popleft()

    async def renew(self) -> None:
        """Renew the leases of what is in flight; the store does so by itself, in time. Raises RedisError."""
        for key, leases in [(key, list(leases)) for key, leases in self._under_way.items() if leases]:
            await self._run(self._renew, key, [str(self._lease_s), *leases])

    # -- inside

    def _give_back(self, key: str, lease: str) -> None:
        """Undo a reservation that Redis may have made: its answer has not arrived."""
        self._end(key, [lease, "none", ""])

    def _end(self, key: str, arguments: list[str]) -> None:
        self._ended.append((key, arguments))
        self._something_ended.set()

    async def _run(self, script: Any, key: str, arguments: Sequence[str]) -> Any:  # noqa: ANN401 - the reply of a script
        now = "" if self._clock is None else f"{self._clock():.6f}"
        return await script(keys=self._keys(key), args=[now, *arguments])

    def _keys(self, key: str) -> list[str]:
        # The braces put all keys of a model into one slot of a cluster.
        return [f"{self._prefix}:{{{key}}}:{part}" for part in _PARTS]

    async def _tell_ends(self) -> None:
        while True:
            await self._something_ended.wait()
            self._something_ended.clear()
            try:
                await self.flush()
            except RedisError:
                # It is reported again a little later; meanwhile the leases run out by themselves.
                await anyio.sleep(self._poll_s)
                self._something_ended.set()

    async def _renew_leases(self) -> None:
        while True:
            await anyio.sleep(self._lease_s / 3)
            with suppress(RedisError):
                await self.renew()
