"""Cancel a coroutine at its n-th suspension, for n = 1, 2, 3... until it completes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast

T = TypeVar("T")

When: TypeAlias = Literal["waiting", "answered"]
"""Cancelled while it waits, or when what it waits for is there and it has not gone on yet."""


class CancelledAt(Generic[T]):
    """Awaits a coroutine, and cancels the task around it at the coroutine's n-th suspension."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, T], number: int, when: When, on_cancel: Callable[[], object]
    ) -> None:
        self._coroutine = coroutine
        self._on_cancel = on_cancel
        self._number = number
        self._when = when
        self.suspensions = 0

    def __await__(self) -> Generator[Any, Any, T]:
        task = asyncio.current_task()
        assert task is not None
        step: Callable[[], Any] = lambda: self._coroutine.send(None)  # noqa: E731 - the first of many steps
        while True:
            try:
                waited_for = step()
            except StopIteration as stop:
                result: T = stop.value
                return result
            self.suspensions += 1
            if self.suspensions == self._number:
                if self._when == "answered" and isinstance(waited_for, asyncio.Future):
                    answer = cast("asyncio.Future[object]", waited_for)
                    # Called before the task's own callback, which makes it go on.
                    answer.add_done_callback(partial(self._cancel, task))
                else:
                    self._cancel(task)
            try:
                sent = yield waited_for
            except BaseException as exc:  # noqa: BLE001 - passed on
                step = lambda exc=exc: self._coroutine.throw(exc)  # type: ignore[misc]  # noqa: E731
            else:
                step = lambda sent=sent: self._coroutine.send(sent)  # type: ignore[misc]  # noqa: E731

    def _cancel(self, task: asyncio.Task[Any], _answer: asyncio.Future[object] | None = None) -> None:
        self._on_cancel()
        task.cancel()


async def cancelled_at(
    number: int,
    call: Callable[[], Coroutine[Any, Any, object]],
    when: When,
    on_cancel: Callable[[], object] = lambda: None,
) -> bool:
    """Run ``call``, cancelled at that suspension; return whether it came so far.

    ``on_cancel`` is called in that moment. A call that was cancelled must end with CancelledError, and soon.
    """
    driven = CancelledAt(call(), number, when, on_cancel)
    task = asyncio.ensure_future(_awaited(driven))
    done, _ = await asyncio.wait([task], timeout=20)
    assert done, f"cancelled at suspension {number}, it went on"
    if task.cancelled():
        return True
    task.result()
    assert driven.suspensions < number, f"the cancellation at suspension {number} was swallowed"
    return False


async def cancel_everywhere(
    call: Callable[[], Coroutine[Any, Any, object]],
    *,
    when: When,
    check: Callable[[], Awaitable[object]],
    prepare: Callable[[], object] = lambda: None,
    on_cancel: Callable[[], object] = lambda: None,
) -> int:
    """Run ``call`` again and again, cancelled at each suspension in turn; return how many there were.

    ``prepare`` comes before each run, ``check`` after each that was cancelled.
    """
    for number in range(1, 200):
        prepare()
        if not await cancelled_at(number, call, when, on_cancel):
            return number - 1
        await check()
    raise AssertionError("200 suspensions, and no end")


async def _awaited(driven: CancelledAt[T]) -> T:
    return await driven
