"""What a client has in flight, so that closing it can wait for that, and end it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Generic, ParamSpec, Protocol, TypeVar

from .errors import BedrockError, ClientClosedError

__all__ = ["Body", "InFlight", "Rounds", "await_at_end_of_loop"]

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Ending")


class Body(Protocol):
    """What a stream is read from."""

    def abort(self) -> None:
        """Close it now."""
        ...


class InFlight:
    """The calls, the open streams and the operations of several calls of one client.

    A call under way is known by the limit of its time: to end it is to let that run out. Two entries of a set are all
    that this costs a call.
    """

    def __init__(self) -> None:
        self.limits: set[asyncio.Timeout] = set()
        """One for each call; belongs in here before it is entered, and is taken out by `over`."""
        self.rounds: weakref.WeakSet[Rounds[..., Ending]] = weakref.WeakSet()
        """Those whose next call is still to come."""
        self.closed = False
        self._bodies: dict[int, Body] = {}
        self._operations = 0
        self._changed: asyncio.Event | None = None

    def over(self, limit: asyncio.Timeout) -> None:
        """Take note that a call has ended."""
        self.limits.discard(limit)
        if self._changed is not None:
            self._changed.set()

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

    async def within(self, work: Awaitable[T]) -> T:
        """Await what belongs to a call and has no limit of its own. Raises ClientClosedError when `stop` ends it."""
        limit = asyncio.timeout(None)
        self.limits.add(limit)
        try:
            async with limit:
                return await work
        except TimeoutError as exc:
            if isinstance(exc, BedrockError) or not self.closed:
                raise
            raise cut_short() from exc
        finally:
            self.over(limit)

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
        for limit in list(self.limits):
            with suppress(RuntimeError):  # it has just run out
                limit.reschedule(0.0)
        bodies, self._bodies = self._bodies, {}
        for body in bodies.values():
            body.abort()
        self.rounds.clear()
        self.changed()


def cut_short() -> ClientClosedError:
    """Return the error of a call that was ended because its client was closed."""
    return ClientClosedError(
        "the client was closed before the call had ended.",
        hint="Close it later, or let what is in flight end: await client.aclose(drain_s=30).",
    )


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


def await_at_end_of_loop(close: Callable[[], Awaitable[object]]) -> AsyncGenerator[None]:
    """Have ``close`` awaited when the running loop shuts down, as `asyncio.run` and `asyncio.Runner` do it.

    Hold what this returns; closing it, or letting it go, awaits ``close`` at once. Asynchronous generators are the only
    thing that loops finish before they end.
    """

    async def wait() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await close()

    waiting = wait()
    with suppress(StopIteration):  # which says that it waits: the loop knows it from here on
        anext(waiting).__await__().__next__()
    return waiting
