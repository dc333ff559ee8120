"""RateLimiter: lets calls through as `RateLimit` says, first come first served, for all clients that share it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import Final, Generic, TypeVar
from uuid import uuid4
from weakref import WeakValueDictionary

from .errors import (
    BedrockError,
    CallTimeoutError,
    ConnectError,
    QueueFullError,
    StreamError,
    ThrottlingError,
    TransportError,
)
from .events import MetadataEvent
from .model_id import ModelId
from .native import InvokeChunk
from .providers import EventDecoder
from .resilience import RateLimit, RateStore, RateWindow
from .resilience.rate_limit import checked_limits, limit_of
from .resilience.token_estimate import Counted, counted_in_headers, counted_in_metrics
from .transport import WireResponse

E = TypeVar("E")

_MOST_WINDOWS: Final = 1000
"""How many models a process remembers before it looks for those of which nothing is known any more."""


class RateLimiter:
    """Limits what goes to each model; pass one object to several clients of a process to let them share the limits.

    ::

        limiter = RateLimiter({"*claude*": RateLimit(tokens_per_minute=200_000), "*": RateLimit(max_in_flight=50)})
        client = BedrockClient(region="us-east-1", rate_limit=limiter)

    ``limits`` is one `RateLimit`, which holds for each model separately, or several by patterns of model ids, of which
    the most precise one applies; a model that fits none is not limited. Models are told apart by account (where an ARN
    names it), region and the id that is called, as quotas are. Clients of different accounts need a limiter each.

    Waiting is first come first served. A call that is cancelled while it waits leaves without having taken anything.
    The clients may live in several event loops. ``store`` keeps the counts outside this process. ``clock`` is in
    seconds.
    """

    def __init__(
        self,
        limits: RateLimit | Mapping[str, RateLimit],
        *,
        store: RateStore | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = checked_limits(limits)
        self._store = store if store is not None else _LocalStore(clock)
        self._shared = _Shared(self._store)
        # A queue lives as long as one waits in it, has a lease of it, or may come back for another attempt.
        self._queues = WeakValueDictionary[str, _Queue]()

    def __repr__(self) -> str:
        return f"RateLimiter({self._limits!r}, {self.waiting()} waiting)"

    def limit_for(self, model: ModelId) -> RateLimit | None:
        """Return the limit of a model, None where it has none."""
        return limit_of(self._limits, model.raw, model.base_model)

    def waiting(self) -> int:
        """Return how many calls are waiting."""
        return sum(len(queue.waiters) for queue in list(self._queues.values()))

    def ticket(
        self, model: ModelId, *, region: str, tokens: Callable[[RateLimit], Counted], account: str = ""
    ) -> Ticket | None:
        """Return the ticket of a call to ``model``, None where that is not limited.

        ``tokens`` gives the estimate for the call, ``account`` the account whose quota counts, where it is not the
        client's. The call enters with the ticket before each attempt.
        """
        limit = self.limit_for(model)
        if limit is None:
            return None
        key = f"{model.account or account}/{model.region or region}/{model.raw.rpartition('/')[2]}"
        with self._shared.lock:
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = _Queue(key, limit, self._shared)
        return Ticket(queue, tokens(limit))


class _LocalStore:
    """What was sent by this process. Of a model that was not called for long it remembers nothing."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._windows: dict[str, RateWindow] = {}
        self._most = _MOST_WINDOWS
        self._lock = threading.Lock()
        self._ended: deque[tuple[str, RateLimit, str, int | None, bool]] = deque()

    async def admit(self, key: str, limit: RateLimit, lease: str, tokens: int) -> float:
        with self._lock:
            self._count_ended()
            now = self._clock()
            return self._window(key, now).admit(limit, lease, tokens, now)

    def finish(self, key: str, limit: RateLimit, lease: str, tokens: int | None, *, throttled: bool) -> None:
        self._ended.append((key, limit, lease, tokens, throttled))
        # A finaliser may run in the middle of whatever holds the lock: who asks next counts what has ended first.
        while self._ended and self._lock.acquire(blocking=False):
            try:
                self._count_ended()
            finally:
                self._lock.release()

    def _count_ended(self) -> None:
        while self._ended:
            key, limit, lease, tokens, throttled = self._ended.popleft()
            window = self._windows.get(key)
            if window is not None:
                window.finish(limit, lease, tokens, self._clock(), throttled=throttled)

    def _window(self, key: str, now: float) -> RateWindow:
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= self._most:
                self._windows = {key: window for key, window in self._windows.items() if not window.empty(now)}
                self._most = max(_MOST_WINDOWS, 2 * len(self._windows))
            window = self._windows[key] = RateWindow()
        return window


class _Waiter:
    """One call that waits; it belongs to its loop."""

    __slots__ = ("_future", "_loop", "_signalled", "refused", "told")

    def __init__(self) -> None:
        self.told = False
        """Whether the limit has made it wait: it came to the front, and was not let through."""
        self.refused = False
        """Whether more wait before it than may."""
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] | None = None
        self._signalled = False

    @property
    def gone(self) -> bool:
        """Whether nobody can wake it up any more."""
        return self._loop.is_closed()

    async def rest(self, seconds: float) -> None:
        """Wait for `signal`, at most for ``seconds``; one that came since the last rest counts."""
        future = self._future = self._loop.create_future()
        timer: asyncio.TimerHandle | None = None
        try:
            if not self._signalled:  # looked at once there is a future: a finaliser signals in between
                timer = self._loop.call_later(seconds, _finish, future) if seconds < inf else None
                await future
        finally:
            self._future = None
            if timer is not None:
                timer.cancel()
        self._signalled = False

    def signal(self) -> bool:
        """Let the waiter look again; from any thread. Return whether it can."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            self._signal()
            return True
        try:
            self._loop.call_soon_threadsafe(self._signal)
        except RuntimeError:  # closed, maybe only now and in another thread
            return False
        return True

    def _signal(self) -> None:
        self._signalled = True
        if self._future is not None:
            _finish(self._future)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Shared:
    """What the queues of a limiter have in common."""

    __slots__ = ("abandoned", "lock", "store", "taken")

    def __init__(self, store: RateStore) -> None:
        self.store = store
        self.lock = threading.RLock()
        """Finalisers take it too, in the middle of whatever holds it: it can be taken again."""
        self.taken: dict[str, _Queue] = {}
        """The queues of the leases: a finaliser finds the one in which others wait."""
        self.abandoned: deque[str] = deque()
        """Leases that whoever asks next, for any model, gives back."""


class _Queue:
    """Those who want to call one model, in their order: only the first one asks the store."""

    __slots__ = ("__weakref__", "_shared", "key", "limit", "waiters")

    def __init__(self, key: str, limit: RateLimit, shared: _Shared) -> None:
        self.key = key
        self.limit = limit
        self.waiters: deque[_Waiter] = deque()
        self._shared = shared

    async def enter(self, tokens: int) -> str:
        """Return the lease of one attempt, once it may go. Raises QueueFullError."""
        waiter = _Waiter()
        shared = self._shared
        with shared.lock:
            if self._limited() and len(self.waiters) >= self.limit.max_queue:
                raise _full(self.key, self.limit)
            self.waiters.append(waiter)
        lease = uuid4().hex
        try:
            while True:
                if waiter.refused:
                    raise _full(self.key, self.limit)
                if self.waiters[0].gone:
                    self._signal_first()
                if self.waiters[0] is not waiter:
                    await waiter.rest(inf)
                    continue
                self._free_abandoned()
                wait_s = await shared.store.admit(self.key, self.limit, lease, tokens)
                if wait_s <= 0:
                    shared.taken[lease] = self
                    return lease
                waiter.told = True
                self._refuse_rest()
                await waiter.rest(wait_s)
        finally:
            with shared.lock, suppress(ValueError):  # it was passed over when its loop had been closed
                self.waiters.remove(waiter)
            self._signal_first()

    def leave(self, lease: str, tokens: int | None, *, throttled: bool) -> None:
        """Free the place of an attempt, and count ``tokens`` for it; None leaves the reservation."""
        self._shared.taken.pop(lease, None)
        self._shared.store.finish(self.key, self.limit, lease, tokens, throttled=throttled)
        self._signal_first()

    def abandon(self, lease: str) -> None:
        """Let whoever comes next free the place of an attempt: a finaliser may run in the middle of anything."""
        self._shared.abandoned.append(lease)
        self._signal_first()

    def _free_abandoned(self) -> None:
        shared = self._shared
        with suppress(IndexError):  # that was the last one, or another thread has taken it
            while lease := shared.abandoned.popleft():
                shared.taken[lease].leave(lease, None, throttled=False)

    def _limited(self) -> bool:
        """Return whether the limit makes the first one wait, and with it all behind it.

        A store that is far away is asked by one after the other: whoever only waits for its turn is not held up.
        """
        return bool(self.waiters) and self.waiters[0].told and not self.waiters[0].gone

    def _refuse_rest(self) -> None:
        """Send those away who came while the first one was asking, beyond as many as may wait."""
        for waiter in list(self.waiters)[self.limit.max_queue :]:
            waiter.refused = True
            waiter.signal()

    def _signal_first(self) -> None:
        """Let the first one look that still can; those before it, whose loops are closed, are dropped."""
        for waiter in list(self.waiters):
            if waiter.signal():
                return
            with suppress(ValueError):  # somebody else has dropped it
                self.waiters.remove(waiter)


def _full(key: str, limit: RateLimit) -> QueueFullError:
    model = key.rpartition("/")[2]
    waiting = "no call may wait" if limit.max_queue == 0 else f"{limit.max_queue} calls are already waiting"
    return QueueFullError(
        f"the rate limit of {model} is reached, and {waiting}.",
        max_queue=limit.max_queue,
        hint="Send less at once, raise rate_limit.max_queue, or spread the load over targets.",
    )


class Ticket:
    """The way of one call through a limiter: in before each attempt, out after it, once with what it has used.

    Between a success and `settle` or `close` the place stays taken: that is while a stream is being read.
    """

    __slots__ = ("_counted", "_lease", "_queue")

    def __init__(self, queue: _Queue, counted: Counted) -> None:
        self._queue = queue
        self._counted = counted
        self._lease: str | None = None

    async def enter(self) -> None:
        """Return once an attempt may go; at once for a call that is in. Cancelling gives everything back.

        Raises QueueFullError.
        """
        if self._lease is None:
            self._lease = await self._queue.enter(self._counted.reserved)

    def failed(self, failure: BedrockError, *, begun: bool = False) -> None:
        """Leave after an attempt that failed; what the service has not worked on does not count."""
        unknown = (
            begun
            or isinstance(failure, CallTimeoutError | StreamError)
            or (isinstance(failure, TransportError) and failure.sent and not isinstance(failure, ConnectError))
        )
        throttled = isinstance(failure, ThrottlingError)
        self._leave(None if unknown else 0, throttled=throttled)

    def settle(self, usage: object, headers: Mapping[str, str]) -> None:
        """Leave with what an answer says that was used: its TokenUsage, or the headers of a native one."""
        self._leave(self._counted.used(usage) or self._counted.used(counted_in_headers(headers)))

    def close(self) -> None:
        """Leave without knowing what was used: the reservation stays. Idempotent, as everything here."""
        self._leave(None)

    def watched(
        self, first: Sequence[E], response: WireResponse, decoder: EventDecoder[E]
    ) -> tuple[WireResponse, EventDecoder[E]]:
        """Return a stream that leaves with its end, with the usage that it reports."""
        watch = _WatchedDecoder(decoder, self)
        watch.look(first)
        return _WatchedResponse(response, self), watch

    def __del__(self) -> None:
        """Free the place of a stream whose event loop is gone: nobody else can."""
        if self._lease is not None:
            self._queue.abandon(self._lease)

    def _leave(self, tokens: int | None, *, throttled: bool = False) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            self._queue.leave(lease, tokens, throttled=throttled)


class _WatchedDecoder(Generic[E]):
    """A decoder that looks for the usage among the last events."""

    def __init__(self, decoder: EventDecoder[E], ticket: Ticket) -> None:
        self._decoder = decoder
        self._ticket = ticket

    @property
    def pending_error(self) -> BedrockError | None:
        return self._decoder.pending_error

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        self._decoder.start(status, headers)

    def receive(self, data: bytes) -> Sequence[E]:
        try:
            events = self._decoder.receive(data)
        except BedrockError as exc:
            self._ticket.failed(exc, begun=True)
            raise
        self.look(events)
        return events

    def eof(self) -> Sequence[E]:
        events = self._decoder.eof()
        self.look(events)
        return events

    def look(self, events: Sequence[E]) -> None:
        """Leave with the usage, when the last event tells it: what comes after it is the end."""
        if not events:
            return
        last: object = events[-1]
        if isinstance(last, MetadataEvent):
            self._ticket.settle(last.usage, {})
        elif isinstance(last, InvokeChunk) and (used := counted_in_metrics(last.bytes)) is not None:
            self._ticket.settle(used, {})


class _WatchedResponse:
    """A response whose end, however it comes about, frees the place of the call."""

    def __init__(self, response: WireResponse, ticket: Ticket) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._ticket = ticket

    async def receive(self) -> bytes:
        data = await self._response.receive()
        if not data:
            self._ticket.close()
        return data

    async def read(self, max_bytes: int) -> bytes:
        return await self._response.read(max_bytes)

    def abort(self) -> None:
        self._response.abort()
        self._ticket.close()
