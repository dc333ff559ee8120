"""What a client has in flight, so that closing it can wait for that, and end it."""

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
"""How many times as long as looking took nobody looks again,"""
_LONGEST_PAUSE_S: Final = 0.1
"""and no longer than this: looking takes long, too, when the machine does something else."""


class Body(Protocol):
    """What a stream is read from."""

    def abort(self) -> None:
        """Close it now."""
        ...


class Limit:
    """The time of one call: as `asyncio.timeout`, for ``with``, at a fraction of its cost. Entered once.

    When it runs out, the task in it is cancelled, and leaving raises TimeoutError in the place of CancelledError.
    """

    __slots__ = ("_cancelling", "_in_flight", "_task", "expired", "when")

    def __init__(self, in_flight: InFlight, when: float | None) -> None:
        """``when`` is a time of the loop."""
        self._in_flight = in_flight
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self.when = when
        self.expired = False

    def expire(self) -> None:
        """End what is in it. Idempotent."""
        if not self.expired and self._task is not None:
            self.expired = True
            self._task.cancel()

    def __enter__(self) -> None:
        """Begin. Raises RuntimeError outside a task."""
        task = self._task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call needs a task: run it with asyncio.run or asyncio.create_task")
        self._cancelling = task.cancelling()
        in_flight = self._in_flight
        in_flight.limits.add(self)
        if in_flight.closed:
            # Not now: a task that cancels itself, and leaves without having waited, is cancelled somewhere later.
            asyncio.get_running_loop().call_soon(self.expire)
        elif self.when is not None:
            in_flight.look_at(self.when)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End. Raises TimeoutError when the limit was what cancelled the task."""
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
    """The calls, the open streams and the operations of several calls of one client.

    A call under way is known by the limit of its time: to end it is to let that run out. One timer of the loop serves
    all limits, so that two entries of a set are nearly all that a limit costs.
    """

    def __init__(self) -> None:
        self.limits: set[Limit] = set()
        """Those that are entered, one for each call."""
        self._look_at = inf
        """The loop's time when the timer is to look for limits that have run out."""
        self._timer: asyncio.TimerHandle | None = None
        self.rounds: weakref.WeakSet[object] = weakref.WeakSet()
        """Those whose next call is still to come."""
        self.closed = False
        self._bodies: dict[int, Body] = {}
        self._operations = 0
        self._changed: asyncio.Event | None = None

    def limit(self, seconds: float | None) -> Limit:
        """Return a limit of so many seconds from now on; None lets it run out only when `stop` says so."""
        return Limit(self, None if seconds is None else asyncio.get_running_loop().time() + seconds)

    def limit_at(self, when: float | None) -> Limit:
        """Return a limit that runs out at this time of the loop."""
        return Limit(self, when)

    def look_at(self, when: float) -> None:
        """Look at this time of the loop, or earlier, which limits have run out."""
        if when >= self._look_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._look_at = when
        # The timer may be hours ahead, and a client that is gone need not wait for it.
        reference: weakref.ref[InFlight] = weakref.ref(self)
        self._timer = asyncio.get_running_loop().call_at(when, _look, reference)

    def look(self) -> None:
        """End the calls whose limits have run out."""
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
            # Where thousands end one by one, looking at all of them takes a twentieth of the time at most.
            pause_s = min(_PAUSE * (loop.time() - now), _LONGEST_PAUSE_S)
            self.look_at(max(ends, now + pause_s))

    def opened(self, body: Body) -> None:
        """Take note of a stream that is open."""
        self._bodies[id(body)] = body
        if self.closed:
            body.abort()

    def ended(self, body: Body) -> None:
        """Take note that a stream has ended. Idempotent."""
        self._bodies.pop(id(body), None)
        self.changed()

    def changed(self) -> None:
        """Let those who wait look again."""
        if self._changed is not None:
            self._changed.set()

    def abort(self, body: Body) -> None:
        """Close a stream that nobody holds any more."""
        body.abort()
        self.ended(body)

    def __enter__(self) -> None:
        """Begin an operation that makes several calls, and may do other things between them."""
        self._operations += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._operations -= 1
        self.changed()

    async def within(self, work: Awaitable[T], attempts: Sequence[Attempt]) -> T:
        """Await what belongs to a call and has no limit of its own. Raises ClientClosedError when `stop` ends it."""
        try:
            with self.limit(None):
                return await work
        except TimeoutError as exc:
            if isinstance(exc, BedrockError) or not self.closed:
                raise
            raise cut_short(attempts) from exc

    async def drained(self, within_s: float) -> None:
        """Return when nothing is in flight any more, after ``within_s`` seconds at the latest."""
        # One event for all who wait: each looks again, and none of them waits for another.
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
        "the client was closed before the call had ended.",
        hint="Close it later, or let what is in flight end: await client.aclose(drain_s=30).",
    )
    error.attempts = tuple(attempts)
    return error


def _look(reference: weakref.ref[InFlight]) -> None:
    in_flight = reference()
    if in_flight is not None:
        in_flight.look()


class Ending(Protocol):
    """What tells when it has ended, as streams do."""

    def add_done_callback(self, callback: Callable[..., object], /) -> None:
        """Call ``callback`` then."""
        ...


class Rounds(Generic[P, S]):
    """Calls of one client that follow one another, with other work between them: in flight from the first one's end on.

    Whoever makes the calls holds this object, and calls `over` after the last one.
    """

    def __init__(self, in_flight: InFlight, ask: Callable[P, S]) -> None:
        """``ask`` makes a call."""
        self._in_flight = in_flight
        self._ask = ask
        self._over = False

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> S:
        """Make the next call."""
        call = self._ask(*args, **kwargs)
        call.add_done_callback(self._between)
        return call

    def over(self, _result: object = None) -> None:
        """Take note that there will be no further call."""
        self._over = True
        self._in_flight.rounds.discard(self)
        self._in_flight.changed()

    def _between(self, _call: object) -> None:
        if not self._over:
            self._in_flight.rounds.add(self)


class AtEndOfLoop:
    """Has ``close`` awaited when the running loop shuts down, as `asyncio.run` and `asyncio.Runner` do it.

    Hold this object: when it is let go, ``close`` is awaited, too. Asynchronous generators are the only thing that
    loops finish before they end.
    """

    def __init__(self, close: Callable[[], Awaitable[object]]) -> None:
        self._close: Callable[[], Awaitable[object]] | None = close
        self._waiting = self._wait()
        with suppress(StopIteration):  # which says that it waits: the loop knows it from here on
            anext(self._waiting).__await__().__next__()

    def cancel(self) -> None:
        """Take note that everything is closed."""
        self._close = None
        with suppress(StopIteration, RuntimeError):  # it has ended, or the loop is ending it
            self._waiting.aclose().__await__().__next__()

    async def _wait(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            if self._close is not None:
                await self._close()
