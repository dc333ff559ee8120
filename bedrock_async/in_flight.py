"""Tracks what a client has in flight, so that closing the client can wait for it or end it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf
from types import TracebackType
from typing import Final, Generic, ParamSpec, Protocol, TypeVar

from .errors import BedrockError, ClientClosedError
from .types import Attempt

__all__ = ["AtEndOfLoop", "Body", "InFlight", "Rounds"]

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Ending")

_PAUSE: Final = 20.0
"""After a scan of the limits, the next one waits at least this many times as long as the scan took,"""
_LONGEST_PAUSE_S: Final = 0.1
"""but no longer than this, because a scan also takes long when the machine is busy."""


class Body(Protocol):
    """The body that a stream reads."""

    def abort(self) -> None:
        """Close the connection now."""
        ...


class Limit:
    """The time limit of one call: like `asyncio.timeout`, but for ``with`` and much cheaper. Can be entered once.

    When it expires, the task inside is cancelled, and leaving raises TimeoutError instead of CancelledError.
    """

    __slots__ = ("_cancelling", "_in_flight", "_task", "expired", "when")

    def __init__(self, in_flight: InFlight, when: float | None) -> None:
        """Create a limit that expires at ``when``, a time of the event loop's clock; None means never."""
        self._in_flight = in_flight
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self.when = when
        self.expired = False

    def expire(self) -> None:
        """Cancel the task inside the limit. Idempotent."""
        if not self.expired and self._task is not None:
            self.expired = True
            self._task.cancel()

    def __enter__(self) -> None:
        """Start the limit. Raises RuntimeError outside a task."""
        task = self._task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call needs a task: run it with asyncio.run or asyncio.create_task")
        self._cancelling = task.cancelling()
        in_flight = self._in_flight
        in_flight.limits.add(self)
        if in_flight.closed:
            # Deferred: a task that cancels itself and leaves the block without awaiting would be cancelled elsewhere,
            # later.
            asyncio.get_running_loop().call_soon(self.expire)
        elif self.when is not None:
            in_flight.look_at(self.when)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the limit. Raises TimeoutError if the limit was what cancelled the task."""
        in_flight, task = self._in_flight, self._task
        self._task = None
        in_flight.limits.discard(self)
        in_flight.changed()
        if (
            self.expired
            and task is not None
            and task.uncancel() <= self._cancelling
            and isinstance(error, asyncio.CancelledError)
        ):
            raise TimeoutError from error


class InFlight:
    """The calls, open streams and multi-call operations of one client.

    Each call is represented by its time limit: expiring the limit ends the call. A single loop timer serves all limits,
    so that a limit costs little more than two set operations.
    """

    def __init__(self) -> None:
        self.limits: set[Limit] = set()
        """The limits that have been entered, one for each call."""
        self._look_at = inf
        """The loop time at which the timer will next check for expired limits."""
        self._timer: asyncio.TimerHandle | None = None
        self.rounds: weakref.WeakSet[object] = weakref.WeakSet()
        """Sequences of calls that are between two calls."""
        self.closed = False
        self._bodies: dict[int, Body] = {}
        self._operations = 0
        self._changed: asyncio.Event | None = None

    def limit(self, seconds: float | None) -> Limit:
        """Return a limit that expires in ``seconds``; with None it expires only when `stop` is called."""
        return Limit(self, None if seconds is None else asyncio.get_running_loop().time() + seconds)

    def limit_at(self, when: float | None) -> Limit:
        """Return a limit that expires at ``when``, a time of the event loop's clock."""
        return Limit(self, when)

    def look_at(self, when: float) -> None:
        """Check for expired limits at this loop time at the latest."""
        if when >= self._look_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._look_at = when
        # A weak reference, as the timer may be hours ahead and must not keep an abandoned client alive.
        reference: weakref.ref[InFlight] = weakref.ref(self)
        self._timer = asyncio.get_running_loop().call_at(when, _look, reference)

    def look(self) -> None:
        """Expire the limits whose time is over, which ends their calls."""
        self._look_at, self._timer = inf, None
        loop = asyncio.get_running_loop()
        now = loop.time()
        ends = inf
        for limit in self.limits:
            if limit.when is None or limit.expired:
                continue
            if limit.when <= now:
                limit.expire()
            else:
                ends = min(ends, limit.when)
        if ends < inf:
            # Where thousands of limits expire one by one, scanning them takes at most a twentieth of the time.
            pause_s = min(_PAUSE * (loop.time() - now), _LONGEST_PAUSE_S)
            self.look_at(max(ends, now + pause_s))

    def opened(self, body: Body) -> None:
        """Register an open stream."""
        self._bodies[id(body)] = body
        if self.closed:
            body.abort()

    def ended(self, body: Body) -> None:
        """Unregister a stream that has ended. Idempotent."""
        self._bodies.pop(id(body), None)
        self.changed()

    def changed(self) -> None:
        """Wake `drained` to check again."""
        if self._changed is not None:
            self._changed.set()

    def abort(self, body: Body) -> None:
        """Close and unregister a stream that was abandoned."""
        body.abort()
        self.ended(body)

    def __enter__(self) -> None:
        """Begin an operation that makes several calls and may do other things between them."""
        self._operations += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the operation."""
        self._operations -= 1
        self.changed()

    async def within(self, work: Awaitable[T], attempts: Sequence[Attempt]) -> T:
        """Await a step of a call that has no limit of its own. Raises ClientClosedError when `stop` ends it."""
        try:
            with self.limit(None):
                return await work
        except TimeoutError as exc:
            if isinstance(exc, BedrockError) or not self.closed:
                raise
            raise cut_short(attempts) from exc

    async def drained(self, within_s: float) -> None:
        """Wait until nothing is in flight any more, for at most ``within_s`` seconds."""
        # One event serves all waiting tasks: each checks again after it, and clearing it affects no other.
        changed = self._changed = self._changed or asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not self.closed and (self.limits or self._bodies or self._operations or self.rounds):
                    changed.clear()
                    await changed.wait()

    def stop(self) -> None:
        """End everything: calls raise ClientClosedError, streams ConnectionLostError. Idempotent."""
        self.closed = True
        for limit in self.limits:
            limit.expire()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        bodies, self._bodies = self._bodies, {}
        for body in bodies.values():
            body.abort()
        self.rounds.clear()
        self.changed()


def cut_short(attempts: Sequence[Attempt]) -> ClientClosedError:
    """Return the error of a call that was ended because its client was closed."""
    error = ClientClosedError(
        "the client was closed before the call completed.",
        hint="Close it later, or let calls finish: await client.aclose(drain_s=30).",
    )
    error.attempts = tuple(attempts)
    return error


def _look(reference: weakref.ref[InFlight]) -> None:
    in_flight = reference()
    if in_flight is not None:
        in_flight.look()


class Ending(Protocol):
    """Something that reports its end, as streams do."""

    def add_done_callback(self, callback: Callable[..., object], /) -> None:
        """Register ``callback`` to be called at the end."""
        ...


class Rounds(Generic[P, S]):
    """A sequence of calls of one client with other work in between, in flight from the end of the first call.

    The code that makes the calls holds this object, and calls `over` after the last one.
    """

    def __init__(self, in_flight: InFlight, ask: Callable[P, S]) -> None:
        """Make calls with ``ask``."""
        self._in_flight = in_flight
        self._ask = ask
        self._over = False

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> S:
        """Make the next call."""
        call = self._ask(*args, **kwargs)
        call.add_done_callback(self._between)
        return call

    def over(self, _result: object = None) -> None:
        """Declare that no further call follows."""
        self._over = True
        self._in_flight.rounds.discard(self)
        self._in_flight.changed()

    def _between(self, _call: object) -> None:
        if not self._over:
            self._in_flight.rounds.add(self)


class AtEndOfLoop:
    """Makes the running loop await ``close`` when it shuts down, as `asyncio.run` and `asyncio.Runner` do.

    Keep a reference: ``close`` is also awaited when the last one is dropped. Implemented with an asynchronous
    generator, because generators are the only objects that event loops finalize before they stop.
    """

    def __init__(self, close: Callable[[], Awaitable[object]]) -> None:
        self._close: Callable[[], Awaitable[object]] | None = close
        self._waiting = self._wait()
        with suppress(StopIteration):  # the generator is suspended now, and registered with the loop
            anext(self._waiting).__await__().__next__()

    def cancel(self) -> None:
        """Do not await ``close`` any more: everything is closed already."""
        self._close = None
        with suppress(StopIteration, RuntimeError):  # it has ended, or the loop is ending it
            self._waiting.aclose().__await__().__next__()

    async def _wait(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            if self._close is not None:
                await self._close()
