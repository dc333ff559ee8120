"""A pool with a limited number of connections, which serves requests in the order of arrival."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import suppress

from ._http1 import Connection
from ._origin import Origin

__all__ = ["Pool"]


class _Waiter:
    """A request that waits for its turn: for a usable connection, or None for a slot to open one."""

    __slots__ = ("fresh", "origin", "turn")

    def __init__(self, origin: Origin, *, fresh: bool, turn: asyncio.Future[Connection | None]) -> None:
        self.origin = origin
        self.fresh = fresh
        self.turn = turn


class Pool:
    """Holds the connections of a transport, idle and in use, and counts slots for those being opened.

    While a request waits, there is neither an idle connection nor a free slot: whatever becomes free goes to the
    request that has waited longest.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, max_connections: int, idle_s: float) -> None:
        self._loop = loop
        self._max_connections = max_connections
        self._idle_s = idle_s
        self._places_taken = 0
        self._origins: dict[Connection, Origin] = {}
        """Every open connection."""
        self._idle: dict[Origin, dict[Connection, None]] = {}
        """The most recently used connection is last and is reused first, so that surplus ones age and are closed."""
        self._waiters: deque[_Waiter] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def idle(self, origin: Origin) -> Connection | None:
        """Return an idle connection to ``origin``, or None."""
        idle = self._idle.get(origin)
        while idle:
            connection, _ = idle.popitem()
            if self._loop.time() - connection.idle_since < self._idle_s:
                return connection
            connection.abort()
        return None

    async def turn(self, origin: Origin, *, fresh: bool = False) -> Connection | None:
        """Return a connection to ``origin``, or None for a slot in which the caller must open one.

        A caller that gets a slot fills it with `opened` or returns it with `give_up`. ``fresh`` always asks for a slot,
        ahead of the queue. Cancelling gives up the turn.
        """
        if not self._waiters:
            if not fresh and (connection := self.idle(origin)) is not None:
                return connection
            if self._places_taken >= self._max_connections:
                self._close_longest_idle()
            if self._places_taken < self._max_connections:
                self._places_taken += 1
                return None
        turn: asyncio.Future[Connection | None] = self._loop.create_future()
        waiter = _Waiter(origin, fresh=fresh, turn=turn)
        if fresh:
            self._waiters.appendleft(waiter)  # it had its turn already, and lost its connection
        else:
            self._waiters.append(waiter)
        while True:
            try:
                connection = await turn
            except asyncio.CancelledError:
                self._leave(waiter)
                raise
            if connection is None or not connection.closed:
                return connection
            # The peer closed it before this task woke up, and its slot went to the next waiter: go back to the front.
            turn = waiter.turn = self._loop.create_future()
            self._waiters.appendleft(waiter)

    def _leave(self, waiter: _Waiter) -> None:
        turn = waiter.turn
        if not turn.done() or turn.cancelled():
            with suppress(ValueError):  # already removed
                self._waiters.remove(waiter)
        elif (connection := turn.result()) is None:
            self.give_up()
        elif not connection.closed:
            self.freed(connection)

    def opened(self, connection: Connection, origin: Origin) -> None:
        """Fill the caller's slot with a connection."""
        if self._closed:
            connection.abort()  # it was opened while the pool was closing
        if connection.closed:
            self.give_up()
        else:
            self._origins[connection] = origin

    def give_up(self) -> None:
        """Pass a slot on to the next waiter, if any."""
        waiter = self._next_waiter()
        if waiter is None:
            self._places_taken -= 1
        else:
            waiter.turn.set_result(None)

    def freed(self, connection: Connection) -> None:
        """Take back a connection that can be reused; see `Owner`."""
        waiter = self._next_waiter()
        if waiter is None:
            connection.idle_since = self._loop.time()
            self._idle.setdefault(self._origins[connection], {})[connection] = None
            if self._sweep is None and self._idle_s < math.inf:
                self._sweep = self._loop.call_later(self._idle_s, self._close_idle)
        elif waiter.fresh or waiter.origin != self._origins[connection]:
            self._waiters.appendleft(waiter)
            connection.abort()
        else:
            waiter.turn.set_result(connection)

    def closed(self, connection: Connection) -> None:
        """Unregister a closed connection; see `Owner`."""
        origin = self._origins.pop(connection, None)
        if origin is None:
            return
        idle = self._idle.get(origin)
        if idle:
            idle.pop(connection, None)
        self.give_up()

    def close(self) -> None:
        """Close every connection, including those still being opened."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in list(self._origins):
            connection.abort()

    def _next_waiter(self) -> _Waiter | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.turn.done():
                return waiter
        return None

    def _close_longest_idle(self) -> None:
        longest = [next(iter(idle)) for idle in self._idle.values() if idle]
        if longest:
            min(longest, key=lambda connection: connection.idle_since).abort()

    def _close_idle(self) -> None:
        """Close connections that were idle for too long, and schedule the next check."""
        now, since = self._loop.time(), math.inf
        for idle in self._idle.values():
            for connection in list(idle):
                if now - connection.idle_since < self._idle_s:
                    since = min(since, connection.idle_since)
                    break
                connection.abort()
        self._sweep = self._loop.call_at(since + self._idle_s, self._close_idle) if since < math.inf else None
