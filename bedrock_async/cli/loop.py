"""The event loop of a command, and its handling of Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Coroutine, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from types import FrameType, TracebackType
from typing import Any, Final, Self, TypeVar

__all__ = ["CommandLoop"]

T = TypeVar("T")

_WAKE_BYTES: Final = 4096


class CommandLoop:
    """An event loop in the main thread, for the coroutines of one command; use it with ``with``.

    The first of the ``signals`` cancels the running coroutine, which can then close its streams, and becomes a
    KeyboardInterrupt once the coroutine has ended. Further signals are ignored until `rearm`, so that nothing disturbs
    the clean-up. ``received`` is the number of the last signal. Between two runs the loop is stopped, and a signal is
    an ordinary KeyboardInterrupt. A signal that the process ignores, or handles otherwise, is left alone.

    asyncio.Runner does most of this, but its second Ctrl-C interrupts the clean-up, and it finally waits up to five
    minutes for threads that hang in a name look-up.
    """

    def __init__(self, *signals: signal.Signals) -> None:
        self.received: int | None = None
        self._signals = signals or (signal.SIGINT,)
        self._previous: dict[signal.Signals, Any] = {}
        self._task: asyncio.Task[Any] | None = None
        self._armed = True

    def __enter__(self) -> Self:
        """Create the loop and install the signal handlers."""
        self._loop = asyncio.new_event_loop()
        if sys.platform != "win32":  # the loop of Windows does this itself
            # Without this byte, a signal just before the loop starts waiting would be noticed only after the wait.
            self._woken, self._waker = socket.socketpair()
            for end in (self._woken, self._waker):
                end.settimeout(0)
            self._loop.add_reader(self._woken, self._woken.recv, _WAKE_BYTES)
            self._previous_waker = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in self._signals:
            previous = signal.getsignal(number)
            if previous in (signal.default_int_handler, signal.SIG_DFL):
                self._previous[number] = previous
                signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel remaining tasks and close the loop; hanging threads are abandoned."""
        loop = self._loop
        interrupted = not self._armed
        self._armed = False
        try:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            if sys.platform != "win32":
                signal.set_wakeup_fd(self._previous_waker)
                loop.remove_reader(self._woken)
                self._woken.close()
                self._waker.close()
            loop.close()
            for number, previous in self._previous.items():
                # An interrupted process is about to end, so a late Ctrl-C is ignored.
                late = interrupted and number == signal.SIGINT
                signal.signal(number, signal.SIG_IGN if late else previous)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine and return its result. Raises KeyboardInterrupt if a signal arrived meanwhile."""
        loop = self._loop
        was_armed = self._armed
        task: asyncio.Task[T] = loop.create_task(coroutine)
        self._task = task
        try:
            result = loop.run_until_complete(task)
        except BaseException as exc:
            if was_armed and not self._armed:
                raise KeyboardInterrupt from exc
            raise
        finally:
            self._task = None
        if was_armed and not self._armed:  # the coroutine had no await left to cancel
            raise KeyboardInterrupt
        return result

    @contextmanager
    def entered(self, manager: AbstractAsyncContextManager[T]) -> Generator[T]:
        """Enter an asynchronous context manager on this loop, for the duration of a synchronous ``with``."""
        value = self.run(manager.__aenter__())
        try:
            yield value
        except BaseException as exc:
            if not self.run(_leave(manager, exc)):
                raise
        else:
            self.run(_leave(manager, None))

    def rearm(self) -> None:
        """React to signals again, for a command that continues after one."""
        self._armed = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._armed:
            return
        self._armed = False
        self.received = number
        if self._task is None:
            raise KeyboardInterrupt
        # task.cancel() alone would not wake a waiting loop.
        self._loop.call_soon_threadsafe(self._task.cancel)


async def _leave(manager: AbstractAsyncContextManager[Any], error: BaseException | None) -> bool:
    if error is None:
        return bool(await manager.__aexit__(None, None, None))
    return bool(await manager.__aexit__(type(error), error, error.__traceback__))
