"""The limits of calls beside everything else that cancels a task: other limits, callers, groups, and closing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from typing_extensions import override
from virtual_time import VirtualLoop, now, run_virtually

from bedrock_async.in_flight import InFlight, Limit


async def forever() -> None:
    """Wait for nothing."""
    await asyncio.Event().wait()


async def limited(in_flight: InFlight, seconds: float | None, work: Callable[[], Awaitable[object]] = forever) -> None:
    """Do something within a limit."""
    with in_flight.limit(seconds):
        await work()


async def left_whole() -> None:
    """Hold the task to being as it was: whoever waits next is not cancelled for what is over."""
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1.0])
def test_what_takes_longer_ends_in_a_timeout(seconds: float) -> None:
    """At the time of the limit, also where that is over already; nothing is kept of it."""

    async def main() -> None:
        in_flight = InFlight()
        with pytest.raises(TimeoutError):
            await limited(in_flight, seconds)
        assert now() == 1_000 + max(0.0, seconds)
        await left_whole()
        assert not in_flight.limits

    run_virtually(main())


def test_each_of_many_ends_at_its_own_time() -> None:
    """One timer serves all, in whatever order they come and go; one without a limit goes on."""

    async def main() -> None:
        in_flight = InFlight()
        ended: dict[int, float] = {}

        async def one(number: int) -> None:
            with pytest.raises(TimeoutError):
                await limited(in_flight, float(number))
            ended[number] = now() - 1_000

        endless = asyncio.ensure_future(limited(in_flight, None))
        async with asyncio.TaskGroup() as group:
            for number in [*range(1_000, 500, -1), *range(1, 501)]:
                group.create_task(one(number))
        assert ended == {number: pytest.approx(number) for number in range(1, 1_001)}
        assert not endless.done()
        endless.cancel()
        with pytest.raises(asyncio.CancelledError):
            await endless
        assert not in_flight.limits

    run_virtually(main())


def test_thousands_that_end_one_by_one_are_ended_together() -> None:
    """Where looking at all of them takes long, they are not looked at for each that ends."""

    class Slow(VirtualLoop):
        @override
        def time(self) -> float:
            self.now += 0.001
            return self.now

    class Counted(InFlight):
        looks = 0

        @override
        def look(self) -> None:
            self.looks += 1
            super().look()

    async def main() -> None:
        in_flight = Counted()

        async def one(number: int) -> None:
            with pytest.raises(TimeoutError), in_flight.limit_at(1_010 + number / 1_000):
                await forever()

        async with asyncio.TaskGroup() as group:
            for number in range(1_000):
                group.create_task(one(number))
        assert in_flight.looks < 100

    with asyncio.Runner(loop_factory=Slow) as runner:
        runner.run(main())


def test_a_machine_that_hangs_once_makes_no_limit_late() -> None:
    """A pause of the whole process while the limits are looked at delays the next look by a tenth of a second."""

    class Hung(Limit):
        @override
        def expire(self) -> None:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.now += 5.0
            super().expire()

    async def main() -> None:
        in_flight = InFlight()

        async def hang() -> None:
            with pytest.raises(TimeoutError), Hung(in_flight, 1_001.0):
                await forever()

        task = asyncio.ensure_future(hang())
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await limited(in_flight, 2.0)
        assert now() == pytest.approx(1_006.0, abs=0.11)
        await task

    run_virtually(main())


@pytest.mark.parametrize("debug", [False, True])
def test_two_limits_that_run_out_together_are_two_timeouts(debug: bool) -> None:  # noqa: FBT001
    """The outer one ends what is in it, whichever of the two belongs to `asyncio.timeout`; then the task is whole."""

    async def main() -> None:
        in_flight = InFlight()
        for outer_s in (1.0, 2.0):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(outer_s):
                    with pytest.raises(TimeoutError):
                        await limited(in_flight, 2.0)
                    await forever()
            await left_whole()
        with pytest.raises(TimeoutError), in_flight.limit(1.0):
            with pytest.raises(TimeoutError):
                await limited(in_flight, 0.5)
            await forever()
        await left_whole()

    with asyncio.Runner(loop_factory=VirtualLoop, debug=debug) as runner:
        runner.run(main())


@pytest.mark.parametrize("first", ["limit", "caller"])
def test_being_cancelled_as_the_limit_runs_out_is_being_cancelled(first: str) -> None:
    """Whichever comes first in that turn of the loop: who cancelled a task waits for it to be cancelled."""

    async def main() -> None:
        in_flight = InFlight()
        task = asyncio.ensure_future(limited(in_flight, None))
        await asyncio.sleep(0)
        (limit,) = in_flight.limits
        for end in (limit.expire, task.cancel) if first == "limit" else (task.cancel, limit.expire):
            end()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run_virtually(main())


def test_a_group_that_fails_as_the_limit_runs_out_fails() -> None:
    """Of the limit nothing is left that would cancel what follows."""

    async def main() -> None:
        in_flight = InFlight()
        gate = asyncio.Event()

        async def fail() -> None:
            await gate.wait()
            raise KeyError("child")

        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                asyncio.get_running_loop().call_later(1.0, gate.set)
                await limited(in_flight, 1.0)
        assert caught.group_contains(KeyError)
        await left_whole()

    run_virtually(main())


@pytest.mark.parametrize("waits", [False, True])
def test_what_begins_after_closing_ends_at_once(waits: bool) -> None:  # noqa: FBT001
    """In a timeout where it waits; where it does not, it ends as it does, and nothing is cancelled later for it."""

    async def main() -> None:
        in_flight = InFlight()
        in_flight.stop()
        if waits:
            with pytest.raises(TimeoutError):
                await limited(in_flight, 5.0)
        else:
            with pytest.raises(KeyError), in_flight.limit(5.0):
                raise KeyError("at once")
        await left_whole()
        assert now() == 1_000

    run_virtually(main())


def test_a_timer_that_is_left_keeps_nothing_alive() -> None:
    """A loop may end with a timer hours ahead, and the next loop is none of its business."""

    async def main(in_flight: InFlight) -> None:
        await limited(in_flight, 3_600.0, work=lambda: asyncio.sleep(0))
        assert not in_flight.limits

    run_virtually(main(InFlight()))
