"""`CommandLoop`: what signals do to the coroutines of a command."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import pytest

from bedrock_async.cli.loop import CommandLoop


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Give the process its own handlers back: a loop that was interrupted leaves Ctrl-C ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def interrupted(log: list[str], number: signal.Signals = signal.SIGINT) -> None:
    """Raise the signal while waiting, and once more during the clean-up."""
    loop = asyncio.get_running_loop()
    loop.call_soon(signal.raise_signal, number)
    try:
        await loop.create_future()
    finally:
        signal.raise_signal(number)
        await asyncio.sleep(0)
        log.append("cleaned up")


def test_results_and_errors_pass() -> None:
    """`run` returns what the coroutine returns and raises what it raises, one after the other."""

    async def double(number: int) -> int:
        return 2 * number

    async def fail() -> None:
        raise ValueError("no")

    with CommandLoop() as loop:
        assert loop.run(double(2)) == 4
        with pytest.raises(ValueError, match="no"):
            loop.run(fail())
        assert loop.run(double(3)) == 6
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_cancels_and_its_repetition_does_not_disturb() -> None:
    """The clean-up of a cancelled coroutine runs to its end, whatever is pressed meanwhile."""
    log: list[str] = []
    with pytest.raises(KeyboardInterrupt), CommandLoop() as loop:
        loop.run(interrupted(log))
    assert log == ["cleaned up"]
    assert loop.received == signal.SIGINT
    signal.raise_signal(signal.SIGINT)  # ignored: the process is about to end


def test_other_signals_can_be_listened_to() -> None:
    """A server stops in the same way on SIGTERM, and knows which signal it was."""
    log: list[str] = []
    with CommandLoop(signal.SIGINT, signal.SIGTERM) as loop, pytest.raises(KeyboardInterrupt):
        loop.run(interrupted(log, signal.SIGTERM))
    assert log == ["cleaned up"]
    assert loop.received == signal.SIGTERM


def test_a_coroutine_that_swallows_the_cancellation_is_interrupted_all_the_same() -> None:
    """A signal is a KeyboardInterrupt, also when the coroutine returned or failed instead of being cancelled."""

    async def stubborn() -> str:
        try:
            await interrupted([])
        except asyncio.CancelledError:
            return "done"
        return "never"

    with CommandLoop() as loop:
        with pytest.raises(KeyboardInterrupt):
            loop.run(stubborn())
        loop.rearm()


def test_a_command_can_go_on_after_a_signal() -> None:
    """After `rearm` the next coroutine runs and can be interrupted again."""
    log: list[str] = []
    with CommandLoop() as loop:
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                loop.run(interrupted(log))
            loop.rearm()
        loop.run(asyncio.sleep(0))
    assert log == ["cleaned up"] * 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_between_two_runs_a_signal_is_an_ordinary_interrupt() -> None:
    """Where nothing runs, as at a prompt, KeyboardInterrupt is raised on the spot."""
    with CommandLoop() as loop, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert loop.received == signal.SIGINT


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """`nohup` and background jobs of a shell are left alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with CommandLoop() as loop:
        signal.raise_signal(signal.SIGINT)
        loop.run(asyncio.sleep(0))
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_an_asynchronous_manager_is_left_on_the_loop_after_an_interrupt() -> None:
    """What was entered is closed with the exception of the body, and the exception goes on."""
    log: list[str] = []

    @asynccontextmanager
    async def manager() -> AsyncGenerator[str]:
        try:
            yield "inside"
        finally:
            await asyncio.sleep(0)
            log.append("closed")

    with pytest.raises(KeyboardInterrupt), CommandLoop() as loop, loop.entered(manager()) as value:
        assert value == "inside"
        loop.run(interrupted(log))
    assert log == ["cleaned up", "closed"]


def test_tasks_that_are_left_are_cancelled_in_the_end() -> None:
    """Closing the loop ends what a coroutine left behind."""
    log: list[str] = []

    async def background() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            log.append("ended")

    tasks: list[asyncio.Task[None]] = []

    async def start() -> None:
        tasks.append(asyncio.create_task(background()))
        await asyncio.sleep(0)

    with CommandLoop() as loop:
        loop.run(start())
    assert log == ["ended"]
    assert tasks[0].cancelled()
