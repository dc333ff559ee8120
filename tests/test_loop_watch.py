"""The guard of the event loop sees what holds it up, and nothing else."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest
from loop_watch import LoopWatch

LIMIT_S = 0.1


@pytest.fixture
def watch() -> Iterator[LoopWatch]:
    """Watch with this file as the code that must not hold up the loop."""
    watch = LoopWatch(limit_s=LIMIT_S, is_ours=lambda file: file == __file__)
    watch.start()
    yield watch
    watch.stop()


def compute(seconds: float) -> None:
    """Use so much processor time, in this one call."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def test_a_computation_is_seen(watch: LoopWatch) -> None:
    """One call that computes for several times the limit is told, once, with its stack."""

    async def call() -> None:
        compute(6 * LIMIT_S)

    await asyncio.ensure_future(call())
    (told,) = watch.blocked
    assert "in compute" in told
    assert f"{LIMIT_S:g} s" in told


async def test_short_turns_are_not(watch: LoopWatch) -> None:
    """The same work with the loop's other work in between holds up nobody."""

    async def call() -> None:
        for _ in range(60):
            compute(LIMIT_S / 10)
            await asyncio.sleep(0)

    await asyncio.ensure_future(call())
    assert watch.blocked == []


def test_work_without_a_loop_is_not(watch: LoopWatch) -> None:
    """A function that nobody calls from a loop may take its time."""
    compute(6 * LIMIT_S)
    assert watch.blocked == []


async def test_a_thread_is_not(watch: LoopWatch) -> None:
    """Work in a worker thread is where it belongs."""
    await asyncio.to_thread(compute, 6 * LIMIT_S)
    assert watch.blocked == []


async def test_waiting_for_the_processor_is_not() -> None:
    """Code of others that computes, and the waits of ours, do not count."""
    watch = LoopWatch(limit_s=LIMIT_S, is_ours=lambda file: file == asyncio.__file__)
    watch.start()
    compute(6 * LIMIT_S)
    watch.stop()
    assert watch.blocked == []


async def test_many_calls_one_after_the_other_are_not() -> None:
    """Ten thousand short calls that a test makes in a row are the test's own."""
    watch = LoopWatch(limit_s=LIMIT_S, is_ours=lambda file: file == socket.__file__)
    watch.start()
    until = time.thread_time() + 6 * LIMIT_S
    while time.thread_time() < until:
        for _ in range(100):
            socket.has_dualstack_ipv6()
    watch.stop()
    assert watch.blocked == []


async def test_calls_that_block_are_seen() -> None:
    """A sleep, and a look-up of a name, on the loop; an address needs no look-up."""
    watch = LoopWatch(is_ours=lambda file: file == __file__)
    for event, args in (("time.sleep", (1.0,)), ("socket.getaddrinfo", ("localhost", 1)), ("open", ("f",))):
        watch.audit(event, args)
    watch.audit("socket.getaddrinfo", ("127.0.0.1", 1))
    assert [told.partition(" ")[0].partition("(")[0] for told in watch.blocked] == ["time.sleep", "socket.getaddrinfo"]
    await asyncio.to_thread(watch.audit, "time.sleep", (1.0,))
    assert len(watch.blocked) == 2
