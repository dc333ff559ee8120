"""A pool of connections: at most so many, the first to ask is the first to be served."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import suppress

from ._http1 import Connection
from ._origin import Origin

__all__ = ["Pool"]


class _Waiter:
    """A request that waits for its turn: a connection that it can use, or None for a place to open one."""

    __slots__ = ("fresh", "origin", "turn")

    def __init__(self, origin: Origin, *, fresh: bool, turn: asyncio.Future[Connection | None]) -> None:
        self.origin = origin
        self.fresh = fresh
        self.turn = turn


class Pool:
    """Holds the connections of a transport, idle and in use, and the places for those that are being opened.

    As long as someone waits there is neither an idle connection nor a free place: whatever becomes free goes to the
    one who has waited longest.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, max_connections: int, idle_s: float) -> None:
        self._loop = loop
        self._max_connections = max_connections
        self._idle_s = idle_s
        self._places_taken = 0
        self._origins: dict[Connection, Origin] = {}
        """Every open connection."""
        self._idle: dict[Origin, dict[Connection, None]] = {}
        """The one that was used last stands at the end, and is used next: the others grow old and are closed."""
        self._waiters: deque[_Waiter] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def idle(self, origin: Origin) -> Connection | None:
        """Return an idle connection that leads there, None when there is none."""
        idle = self._idle.get(origin)
        while idle:
            connection, _ = idle.popitem()
            if self._loop.time() - connection.idle_since < self._idle_s:
                return connection
            connection.abort()
        return None

    async def turn(self, origin: Origin, *, fresh: bool = False) -> Connection | None:
        """Return a connection that leads there, or None for a place in which the caller opens one.

        Who gets a place gives it to a connection with `opened`, or back with `give_up`. ``fresh`` asks for a place
        in any case. Cancelling gives up the turn.
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
            self._waiters.appendleft(waiter)  # it had its turn, and lost its connection
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
            # The peer closed it before we woke, and its place went to the next one: we are first again.
            turn = waiter.turn = self._loop.create_future()
            self._waiters.appendleft(waiter)

    def _leave(self, waiter: _Waiter) -> None:
        turn = waiter.turn
        if not turn.done() or turn.cancelled():
            with suppress(ValueError):  # left out already
                self._waiters.remove(waiter)
        elif (connection := turn.result()) is None:
            self.give_up()
        elif not connection.closed:
            self.freed(connection)

    def opened(self, connection: Connection, origin: Origin) -> None:
        """Let a connection have the place of the caller."""
        if self._closed:
            connection.abort()  # it was made in the moment of closing
        if connection.closed:
            self.give_up()
        else:
            self._origins[connection] = origin

    def give_up(self) -> None:
        """Give a place to the next one who waits, if any."""
        waiter = self._next_waiter()
        if waiter is None:
            self._places_taken -= 1
        else:
            waiter.turn.set_result(None)

    def freed(self, connection: Connection) -> None:
        """Take back a connection that can be used again; see `Owner`."""
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
        """Take note that a connection is closed; see `Owner`."""
        origin = self._origins.pop(connection, None)
        if origin is None:
            return
        idle = self._idle.get(origin)
        if idle:
            idle.pop(connection, None)
        self.give_up()

    def close(self) -> None:
        """Close every connection, and those to come."""
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
        """Close what was idle for too long, and look again when the next one will have been."""
        now, since = self._loop.time(), math.inf
        for idle in self._idle.values():
            for connection in list(idle):
                if now - connection.idle_since < self._idle_s:
                    since = min(since, connection.idle_since)
                    break
                connection.abort()
        self._sweep = self._loop.call_at(since + self._idle_s, self._close_idle) if since < math.inf else None
