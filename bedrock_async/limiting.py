"""RateLimiter: lets calls through as `RateLimit` says, first come first served, for all clients that share it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import Generic, TypeVar
from uuid import uuid4

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


class RateLimiter:
    """Limits what goes to each model; pass one object to several clients of a process to let them share the limits.

    ::

        limiter = RateLimiter({"*claude*": RateLimit(tokens_per_minute=200_000), "*": RateLimit(max_in_flight=50)})
        client = BedrockClient(region="us-east-1", rate_limit=limiter)

    ``limits`` is one `RateLimit`, for each model by itself, or several by patterns of model ids, of which the most
    precise one counts; what fits none is not limited. Models are told apart by account (where an ARN names it), region
    and the id that is called, as quotas are. Clients of several accounts need one each.

    Waiting is first come first served. A waiter that is cancelled leaves without having taken anything. The clients may
    live in several event loops. ``store`` keeps what was sent in another place than this process. ``clock`` is in
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
        self._queues: dict[str, _Queue] = {}
        self._lock = threading.Lock()

    def limit_for(self, model: ModelId) -> RateLimit | None:
        """Return the limit of a model, None where it has none."""
        return limit_of(self._limits, model.raw, model.base_model)

    def waiting(self) -> int:
        """Return how many calls wait at the moment."""
        return sum(len(queue.waiters) for queue in list(self._queues.values()))

    def ticket(
        self, model: ModelId, *, region: str, tokens: Callable[[RateLimit], Counted], account: str = ""
    ) -> Ticket | None:
        """Return the ticket of a call to ``model``, None where that is not limited.

        ``tokens`` tells what the call is estimated at, ``account`` whose quota it is of, where it is not the client's.
        The call enters with the ticket before each attempt.
        """
        limit = self.limit_for(model)
        if limit is None:
            return None
        key = f"{model.account or account}/{model.region or region}/{model.raw.rpartition('/')[2]}"
        with self._lock:
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = _Queue(key, limit, self._store, self._lock)
        return Ticket(queue, tokens(limit))


class _LocalStore:
    """What was sent by this process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._windows: dict[str, RateWindow] = {}
        self._lock = threading.Lock()

    async def admit(self, key: str, limit: RateLimit, lease: str, tokens: int) -> float:
        with self._lock:
            return self._window(key).admit(limit, lease, tokens, self._clock())

    def finish(self, key: str, limit: RateLimit, lease: str, tokens: int | None, *, throttled: bool) -> None:
        with self._lock:
            self._window(key).finish(limit, lease, tokens, self._clock(), throttled=throttled)

    def _window(self, key: str) -> RateWindow:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = RateWindow()
        return window


class _Waiter:
    """One call that waits; it belongs to its loop."""

    __slots__ = ("_future", "_loop", "_signalled")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] | None = None
        self._signalled = False

    @property
    def gone(self) -> bool:
        """Whether nobody can wake it up any more."""
        return self._loop.is_closed()

    async def rest(self, seconds: float) -> None:
        """Wait for `signal`, at most for ``seconds``; one that came since the last rest counts."""
        if not self._signalled:
            future = self._future = self._loop.create_future()
            timer = self._loop.call_later(seconds, _finish, future) if seconds < inf else None
            try:
                await future
            finally:
                self._future = None
                if timer is not None:
                    timer.cancel()
        self._signalled = False

    def signal(self) -> None:
        """Let the waiter look again; from any thread."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            self._signal()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._signal)

    def _signal(self) -> None:
        self._signalled = True
        if self._future is not None:
            _finish(self._future)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Queue:
    """Those who want to call one model, in their order: only the first one asks the store."""

    __slots__ = ("_abandoned", "_lock", "_store", "key", "limit", "waiters")

    def __init__(self, key: str, limit: RateLimit, store: RateStore, lock: threading.Lock) -> None:
        self.key = key
        self.limit = limit
        self.waiters: deque[_Waiter] = deque()
        self._store = store
        self._lock = lock
        self._abandoned: list[str] = []

    async def enter(self, tokens: int) -> str:
        """Return the lease of one attempt, once it may go. Raises QueueFullError."""
        waiter = _Waiter()
        with self._lock:
            waiting = len(self.waiters)
            if waiting >= max(1, self.limit.max_queue):  # whoever comes first may not have to wait
                raise _full(self.key, self.limit)
            self.waiters.append(waiter)
        lease = uuid4().hex
        try:
            while True:
                if self.waiters[0].gone:
                    self._signal_first()
                if self.waiters[0] is not waiter:
                    await waiter.rest(inf)
                    continue
                while self._abandoned:
                    self._store.finish(self.key, self.limit, self._abandoned.pop(), None, throttled=False)
                wait_s = await self._store.admit(self.key, self.limit, lease, tokens)
                if wait_s <= 0:
                    return lease
                if self.limit.max_queue == 0:
                    raise _full(self.key, self.limit)
                await waiter.rest(wait_s)
        finally:
            with self._lock, suppress(ValueError):  # it was passed over when its loop had been closed
                self.waiters.remove(waiter)
            self._signal_first()

    def leave(self, lease: str, tokens: int | None, *, throttled: bool) -> None:
        """Free the place of an attempt, and count ``tokens`` for it; None leaves the reservation."""
        self._store.finish(self.key, self.limit, lease, tokens, throttled=throttled)
        self._signal_first()

    def abandon(self, lease: str) -> None:
        """Let whoever comes next free the place of an attempt: a finaliser may run in the middle of anything."""
        self._abandoned.append(lease)
        for waiter in tuple(self.waiters)[:1]:
            waiter.signal()

    def _signal_first(self) -> None:
        with self._lock:
            while self.waiters and self.waiters[0].gone:
                self.waiters.popleft()
            first = self.waiters[0] if self.waiters else None
        if first is not None:
            first.signal()


def _full(key: str, limit: RateLimit) -> QueueFullError:
    model = key.rpartition("/")[2]
    waiting = "nobody may wait" if limit.max_queue == 0 else f"{limit.max_queue} wait already"
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
        """Free a place that nobody can free any more: that of a stream whose event loop is gone."""
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
