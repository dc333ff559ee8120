"""Rate limits: the numbers, what was sent in a minute, and who goes next."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import math
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from virtual_time import now, run_virtually

from bedrock_async import (
    BedrockClient,
    BedrockError,
    ConnectError,
    ConnectionLostError,
    Credentials,
    InvalidRequestError,
    JSONValue,
    QueueFullError,
    RateLimit,
    RateLimiter,
    ResponseStream,
    StandardRetry,
    Timeouts,
    TotalTimeoutError,
    parse_model_id,
)
from bedrock_async.errors import service_error
from bedrock_async.families.profiles import find_profile
from bedrock_async.limiting import Ticket
from bedrock_async.resilience import RateStore, RateWindow
from bedrock_async.resilience.token_estimate import Counted, counted_in_metrics, estimated_tokens
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.testing.frames import event_frame, exception_frame, stream_bytes
from bedrock_async.types import ConverseRequest, TokenUsage

MODEL: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
NOVA: Final = "us.amazon.nova-lite-v1:0"
MINUTE: Final = 60.0
STREAM_TYPE: Final = {"content-type": "application/vnd.amazon.eventstream"}


def reply(**usage: int) -> CannedResponse:
    """Return an answer that has used so many tokens."""
    message = {"role": "assistant", "content": [{"text": "Hello."}]}
    return CannedResponse([json.dumps({"output": {"message": message}, "usage": usage}).encode()])


EVENTS: Final[list[dict[str, JSONValue]]] = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hello."}}},
    {"contentBlockStop": {"contentBlockIndex": 0}},
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": {"inputTokens": 10, "outputTokens": 20, "totalTokens": 30}, "metrics": {"latencyMs": 4}}},
]


# -- the numbers


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"max_queue": 5},
        {"requests_per_minute": 0},
        {"requests_per_minute": 1.5},
        {"tokens_per_minute": -1},
        {"max_in_flight": True},
        {"max_in_flight": 1, "max_queue": -1},
        {"max_in_flight": 1, "burndown": -1},
        {"max_in_flight": 1, "burndown": math.inf},
    ],
    ids=str,
)
def test_limits_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    """And a limit that limits nothing; the error names the member and the next step."""
    with pytest.raises(InvalidRequestError, match=r"rate_limit|rate limit") as caught:
        RateLimit(**wrong)
    assert (caught.value.path or "").startswith("rate_limit")


@pytest.mark.parametrize("wrong", [60, "60", {}, {"*": 60}, [RateLimit(max_in_flight=1)]], ids=str)
def test_what_is_no_limit_is_refused_by_the_client(wrong: object) -> None:
    """With what to pass in its place."""
    with pytest.raises(InvalidRequestError, match="not a RateLimit") as caught:
        BedrockClient(region="us-east-1", rate_limit=wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert caught.value.path == "rate_limit"


def test_the_most_precise_pattern_counts() -> None:
    """Patterns are of the id that is called and of the base model; what fits none is not limited."""
    every, claude, sonnet = (RateLimit(max_in_flight=count) for count in (1, 2, 3))
    limiter = RateLimiter({"*": every, "*claude*": claude, "anthropic.claude-sonnet-4-20250514-v1:0": sonnet})
    assert limiter.limit_for(parse_model_id(MODEL)) is sonnet
    assert limiter.limit_for(parse_model_id("eu.anthropic.claude-haiku-4-5-v1:0")) is claude
    assert limiter.limit_for(parse_model_id(NOVA)) is every
    assert RateLimiter({"*claude*": claude}).limit_for(parse_model_id(NOVA)) is None


# -- the window


class WindowMachine(RuleBasedStateMachine):
    """A window against a list of everything that was ever sent."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.limit = RateLimit(requests_per_minute=7, tokens_per_minute=1_000, max_in_flight=4)
        self.window = RateWindow()
        self.sent: list[Sent] = []

    @rule(seconds=st.sampled_from([0.1, 1.0, 7.0, 59.9, 60.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    @rule(tokens=st.integers(0, 1_500))
    def ask(self, tokens: int) -> None:
        """Ask once; whoever is refused may go at the time that was said, if nobody else came."""
        before = (self.window.requests, self.window.tokens, self.window.in_flight)
        wait_s = self.window.admit(self.limit, str(len(self.sent)), tokens, self.now)
        if wait_s == 0:
            self.sent.append(Sent(self.now, min(tokens, 1_000)))
            return
        assert wait_s > 0
        assert (self.window.requests, self.window.tokens, self.window.in_flight) <= before
        if wait_s < math.inf:
            self.now += wait_s
            if self.window.admit(self.limit, str(len(self.sent)), tokens, self.now) == 0:
                self.sent.append(Sent(self.now, min(tokens, 1_000)))
            else:
                # Rounding may let the last one go a hair later.
                self.now += 1e-6
                assert self.window.admit(self.limit, str(len(self.sent)), tokens, self.now) == 0
                self.sent.append(Sent(self.now, min(tokens, 1_000)))

    @precondition(lambda self: any(not each.ended for each in self.sent))
    @rule(data=st.data(), tokens=st.none() | st.integers(0, 1_000))
    def end(self, data: st.DataObject, tokens: int | None) -> None:
        """End an attempt, with what it used or without knowing."""
        number = data.draw(st.sampled_from([number for number, each in enumerate(self.sent) if not each.ended]))
        each = self.sent[number]
        each.ended = True
        # What a call turns out to need beyond its reservation cannot be taken back: that is not the window's fault.
        tokens = None if tokens is None else min(tokens, each.tokens)
        if tokens is not None and self.now < each.at + MINUTE:
            each.tokens = tokens
        self.window.finish(self.limit, str(number), tokens, self.now, throttled=False)
        self.window.finish(self.limit, str(number), 999, self.now, throttled=False)  # twice is once

    @invariant()
    def never_more_than_the_limits(self) -> None:
        """In the 60 seconds until now, whatever happened before."""
        recent = [each for each in self.sent if each.at + MINUTE > self.now]
        assert len(recent) <= 7
        assert sum(each.tokens for each in recent) <= 1_000
        assert sum(not each.ended for each in self.sent) == self.window.in_flight <= 4


@dataclass
class Sent:
    """One attempt."""

    at: float
    tokens: int
    ended: bool = field(default=False)


TestWindow = WindowMachine.TestCase
TestWindow.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_request_beyond_the_whole_limit_goes_alone() -> None:
    """It would never go otherwise; the next one waits until it has left the window."""
    limit, window = RateLimit(tokens_per_minute=100), RateWindow()
    assert window.admit(limit, "a", 5_000, 0.0) == 0
    assert window.admit(limit, "b", 1, 0.0) == 60
    assert window.admit(limit, "b", 1, 60.0) == 0


def test_settling_makes_room() -> None:
    """What was reserved and not used can be used by others at once; what was used beyond it counts, too."""
    limit, window = RateLimit(tokens_per_minute=100), RateWindow()
    window.admit(limit, "a", 100, 0.0)
    window.finish(limit, "a", 40, 10.0, throttled=False)
    assert window.admit(limit, "b", 60, 10.0) == 0
    window.finish(limit, "b", 90, 20.0, throttled=False)
    assert window.tokens == 130
    assert window.admit(limit, "c", 10, 20.0) == 40


def test_settling_after_the_minute_changes_nothing() -> None:
    """A stream of five minutes counts in the minute in which it was asked for."""
    limit, window = RateLimit(tokens_per_minute=100), RateWindow()
    window.admit(limit, "a", 100, 0.0)
    assert window.admit(limit, "b", 50, 60.0) == 0
    window.finish(limit, "a", 5_000, 300.0, throttled=False)
    assert window.tokens == 0


def test_throttling_lowers_the_limits_and_time_raises_them() -> None:
    """0.7 of them count after one throttling, a tenth more with each minute, and never less than a tenth."""
    limit, window = RateLimit(requests_per_minute=100), RateWindow()
    window.admit(limit, "a", 0, 0.0)
    window.finish(limit, "a", 0, 1.0, throttled=True)
    assert window.share(1.0) == pytest.approx(0.7)
    assert window.share(61.0) == pytest.approx(0.8)
    assert window.share(10_000.0) == 1
    for number in range(20):
        window.admit(limit, str(number), 0, 2.0 + number)
        window.finish(limit, str(number), 0, 2.5 + number, throttled=True)
    assert window.share(22.0) == pytest.approx(0.1, abs=0.01)


def test_attempts_that_are_throttled_together_are_one_sign() -> None:
    """Only one that was sent after the last lowering can lower the limits again."""
    limit, window = RateLimit(max_in_flight=10), RateWindow()
    for number in range(10):
        window.admit(limit, str(number), 0, 0.0)
    for number in range(10):
        window.finish(limit, str(number), 0, 1.0, throttled=True)
    assert window.share(1.0) == pytest.approx(0.7)
    for number in range(7):
        assert window.admit(limit, f"again {number}", 0, 1.0) == 0
    assert window.admit(limit, "one more", 0, 1.0) == pytest.approx(60.0)


def test_places_that_time_brings_back_can_be_taken() -> None:
    """Whoever waits for one of them goes when it is there, although nobody has ended; for the others it waits."""

    async def main() -> None:
        limited = Limited(RateLimit(max_in_flight=10))
        held = [await limited.enter("held") for _ in range(8)]
        held[0].failed(service_error("ThrottlingException", "m"))
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(limited.enter(str(number))) for number in range(4)]
            await asyncio.sleep(600)
            assert [each.done() for each in waiting] == [True, True, True, False]
            held[1].close()
        assert [round(at) for _, at in limited.entered[8:]] == [60, 120, 180, 600]

    run_virtually(main())


def test_the_limits_can_stay_as_they_are() -> None:
    """With adaptive=False throttling teaches nothing."""
    limit, window = RateLimit(max_in_flight=10, adaptive=False), RateWindow()
    window.admit(limit, "a", 0, 0.0)
    window.finish(limit, "a", 0, 1.0, throttled=True)
    assert window.share(1.0) == 1


# -- waiting


class Limited:
    """A limiter in virtual time, and what came of those who asked."""

    def __init__(self, limit: RateLimit, store: RateStore | None = None) -> None:
        self.limiter = RateLimiter(limit, store=store, clock=now)
        self.entered: list[tuple[str, float]] = []

    def ticket(self, tokens: int = 0) -> Ticket:
        ticket = self.limiter.ticket(
            parse_model_id(MODEL), region="us-east-1", tokens=lambda limit: Counted(tokens, 0, 1.0)
        )
        assert ticket is not None
        return ticket

    async def enter(self, name: str, tokens: int = 0) -> Ticket:
        ticket = self.ticket(tokens)
        await ticket.enter()
        self.entered.append((name, now() - 1_000))
        return ticket


async def settled() -> None:
    """Let everything happen that can happen now."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_first_come_first_served() -> None:
    """A small request does not pass a large one that came before it."""

    async def main() -> list[tuple[str, float]]:
        limited = Limited(RateLimit(tokens_per_minute=100))
        await limited.enter("first", 60)
        async with asyncio.TaskGroup() as group:
            for name, tokens in (("large", 100), ("small", 10), ("smaller", 1)):
                group.create_task(limited.enter(name, tokens))
                await settled()
        return limited.entered

    assert run_virtually(main()) == [("first", 0), ("large", 60), ("small", 120), ("smaller", 120)]


def test_whoever_ends_lets_the_next_one_in() -> None:
    """At once, one for one."""

    async def main() -> None:
        limited = Limited(RateLimit(max_in_flight=2))
        tickets = [await limited.enter("a"), await limited.enter("b")]
        waiting = [asyncio.ensure_future(limited.enter(name)) for name in "cde"]
        await settled()
        assert limited.limiter.waiting() == 3
        tickets[0].close()
        tickets[0].close()  # twice is once
        await settled()
        assert [name for name, _ in limited.entered] == ["a", "b", "c"]
        tickets[1].failed(ConnectError("m"))
        await settled()
        assert [name for name, _ in limited.entered] == ["a", "b", "c", "d"]
        (await waiting[0]).close()
        await waiting[2]
        assert now() == 1_000

    run_virtually(main())


@pytest.mark.parametrize("cancelled", [0, 1, 2])
def test_a_waiter_that_is_cancelled_loses_nothing(cancelled: int) -> None:
    """Neither a place nor tokens, wherever it stood; the others keep their order."""

    async def main() -> None:
        limited = Limited(RateLimit(max_in_flight=1, requests_per_minute=100))
        holder = await limited.enter("holder")
        waiting = [asyncio.ensure_future(limited.enter(str(number))) for number in range(3)]
        await settled()
        waiting[cancelled].cancel()
        await settled()
        assert limited.limiter.waiting() == 2
        holder.close()
        order = [number for number in range(3) if number != cancelled]
        (await waiting[order[0]]).close()
        (await waiting[order[1]]).close()
        assert [name for name, _ in limited.entered] == ["holder", *map(str, order)]
        for _ in range(97):  # of 100 in a minute, the cancelled one took none
            (await limited.enter("another")).close()
        assert now() == 1_000
        await limited.enter("beyond")
        assert now() == 1_060

    run_virtually(main())


def test_one_that_is_cancelled_as_it_is_let_in_gives_its_place_back() -> None:
    """Both happen in one turn of the loop."""

    async def main() -> None:
        limited = Limited(RateLimit(max_in_flight=1))
        holder = await limited.enter("holder")
        first, second = (asyncio.ensure_future(limited.enter(name)) for name in ("first", "second"))
        await settled()
        holder.close()
        first.cancel()
        assert (await second) is not None
        assert [name for name, _ in limited.entered] == ["holder", "second"]

    run_virtually(main())


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(["enter", "cancel", "leave", "rest"]), st.integers(0, 9)), max_size=40),
)
def test_whatever_is_cancelled_whenever_nobody_is_forgotten(most: int, acts: list[tuple[str, int]]) -> None:
    """In one turn of the loop or in several: every place comes back, and who was not cancelled gets one."""

    async def main() -> None:
        limited = Limited(RateLimit(max_in_flight=most))
        tasks: list[asyncio.Task[Ticket]] = []
        for act, which in acts:
            chosen = tasks[which % len(tasks)] if tasks else None
            if act == "enter":
                tasks.append(asyncio.ensure_future(limited.enter(str(len(tasks)))))
            elif act == "rest" or chosen is None:
                await asyncio.sleep(0)
            elif act == "cancel":
                chosen.cancel()
            elif chosen.done() and not chosen.cancelled():
                chosen.result().close()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                (await task).close()
        assert now() == 1_000
        assert limited.limiter.waiting() == 0
        later = [await limited.enter("later") for _ in range(most)]
        assert window_of(limited.limiter).in_flight == len(later)

    run_virtually(main())


def test_a_place_may_be_freed_in_the_middle_of_anything() -> None:
    """A finaliser closes a stream while the same thread asks for a place: neither waits for the other."""

    def clock() -> float:
        for ticket in finalised:
            ticket.close()
        finalised.clear()
        return 0.0

    async def main() -> None:
        limiter = RateLimiter(RateLimit(max_in_flight=2), clock=clock)
        tickets: list[Ticket] = []
        for _ in range(3):
            ticket = limiter.ticket(parse_model_id(MODEL), region="us-east-1", tokens=lambda limit: Counted(0, 0, 1.0))
            assert ticket is not None
            tickets.append(ticket)
        await tickets[0].enter()
        await tickets[1].enter()
        finalised.append(tickets[0])
        await tickets[2].enter()
        ended.append("entered")

    finalised: list[Ticket] = []
    ended: list[str] = []
    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    thread.join(30)
    assert ended == ["entered"]


async def test_a_place_that_is_freed_while_another_is_reserved_counts_afterwards() -> None:
    """The sums of an admission are not changed under it, and the place is free as soon as it is made."""

    def clock() -> float:
        for ticket in finalised:
            ticket.close()
            seen.append(window_of(limiter).in_flight)
        finalised.clear()
        return 0.0

    async def enter() -> Ticket:
        ticket = limiter.ticket(parse_model_id(MODEL), region="us-east-1", tokens=lambda limit: Counted(0, 0, 1.0))
        assert ticket is not None
        await ticket.enter()
        return ticket

    seen: list[int] = []
    finalised: list[Ticket] = []
    limiter = RateLimiter(RateLimit(max_in_flight=2), clock=clock)
    tickets = [await enter(), await enter()]
    finalised.append(tickets[0])
    async with asyncio.timeout(30):
        await enter()
    assert seen == [2]
    assert window_of(limiter).in_flight == 2


def test_a_full_queue_is_an_error_of_its_own() -> None:
    """It says how many wait, may be tried again, and takes nobody's place."""

    async def main() -> None:
        limited = Limited(RateLimit(max_in_flight=1, max_queue=2))
        holder = await limited.enter("holder")
        waiting = [asyncio.ensure_future(limited.enter(name)) for name in "ab"]
        await settled()
        with pytest.raises(QueueFullError, match="2 calls are already waiting") as caught:
            await limited.enter("c")
        assert caught.value.retryable
        assert caught.value.max_queue == 2
        assert "max_queue" in (caught.value.hint or "")
        holder.close()
        for task in waiting:
            (await task).close()

    run_virtually(main())


def test_nobody_need_wait() -> None:
    """With max_queue=0 the one that would wait is told so at once."""

    async def main() -> None:
        limited = Limited(RateLimit(requests_per_minute=1, max_queue=0))
        await limited.enter("first")
        with pytest.raises(QueueFullError, match="no call may wait"):
            await limited.enter("second")
        assert limited.limiter.waiting() == 0

    run_virtually(main())


class FarStore:
    """A store that every question takes a turn of the loop to reach, and that lets so many through."""

    def __init__(self, places: float = math.inf) -> None:
        self.places = places

    async def admit(self, key: str, limit: RateLimit, lease: str, tokens: int) -> float:
        await asyncio.sleep(0)
        if self.places < 1:
            return math.inf
        self.places -= 1
        return 0.0

    def finish(self, key: str, limit: RateLimit, lease: str, tokens: int | None, *, throttled: bool) -> None:
        self.places += 1


@pytest.mark.parametrize("most", [0, 1, 5])
def test_who_waits_for_its_turn_to_ask_is_not_told_that_the_queue_is_full(most: int) -> None:
    """While nobody was made to wait there is no queue: a store that is far away is asked by one after the other."""

    async def main() -> None:
        limited = Limited(RateLimit(max_in_flight=1_000, max_queue=most), store=FarStore())
        await asyncio.gather(*(limited.enter(str(number)) for number in range(20)))
        assert [name for name, _ in limited.entered] == [str(number) for number in range(20)]

    run_virtually(main())


@pytest.mark.parametrize("most", [0, 1, 5])
def test_once_one_is_made_to_wait_no_more_wait_than_may(most: int) -> None:
    """Those who came last while it was asked are sent away; the others get their turn."""

    async def main() -> None:
        limited = Limited(RateLimit(max_in_flight=3, max_queue=most), store=FarStore(3))
        tasks = [asyncio.ensure_future(limited.enter(str(number))) for number in range(20)]
        await settled()
        assert limited.limiter.waiting() == most
        with pytest.raises(QueueFullError):
            await limited.enter("late")
        ended = [task for task in tasks if task.done()]
        assert [isinstance(task.exception(), QueueFullError) for task in ended] == [False] * 3 + [True] * (17 - most)
        for task in tasks[: 3 + most]:
            (await task).close()
        assert [name for name, _ in limited.entered] == [str(number) for number in range(3 + most)]

    run_virtually(main())


def test_loops_of_several_threads_share_one_limiter() -> None:
    """Who leaves in one thread lets in who waits in another."""
    limiter = RateLimiter(RateLimit(max_in_flight=1))
    most, at_once = [0], [0]

    async def calls() -> None:
        for _ in range(50):
            ticket = limiter.ticket(parse_model_id(MODEL), region="us-east-1", tokens=lambda limit: Counted(0, 0, 1.0))
            assert ticket is not None
            await ticket.enter()
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
            await asyncio.sleep(0)
            at_once[0] -= 1
            ticket.close()

    threads = [threading.Thread(target=lambda: asyncio.run(calls())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert most == [1]
    assert limiter.waiting() == 0


def test_a_place_that_nobody_can_free_is_freed() -> None:
    """A stream that outlives its event loop keeps no place of a limiter that is used in the next one."""
    limiter = RateLimiter(RateLimit(max_in_flight=1, max_queue=0))

    async def first() -> None:
        answer = CannedResponse([stream_bytes(EVENTS[:2]), asyncio.Event()], headers=STREAM_TYPE)
        client, _, _ = client_of([answer], limiter)
        kept.append(client.stream(MODEL, "Hi."))
        await anext(kept[0])

    async def second() -> None:
        client, _, _ = client_of([reply(), reply()], limiter)
        with pytest.raises(QueueFullError):
            await client.converse(MODEL, "Hi.")
        kept.clear()
        gc.collect()  # clients know themselves
        await client.converse(MODEL, "Hi.")

    kept: list[ResponseStream] = []
    asyncio.run(first())
    asyncio.run(second())


def test_who_waits_in_a_loop_that_was_closed_holds_up_nobody() -> None:
    """Nobody can wake it up any more: those behind it go on."""
    limiter = RateLimiter(RateLimit(max_in_flight=1))

    def ticket() -> Ticket:
        ticket = limiter.ticket(parse_model_id(MODEL), region="us-east-1", tokens=lambda limit: Counted(0, 0, 1.0))
        assert ticket is not None
        return ticket

    async def hold() -> Ticket:
        held = ticket()
        await held.enter()
        return held

    async def wait() -> None:
        waiting.append(asyncio.ensure_future(ticket().enter()))
        await settled()

    async def go_on(held: Ticket) -> None:
        task = asyncio.ensure_future(ticket().enter())
        await settled()
        held.close()
        async with asyncio.timeout(30):
            await task

    waiting: list[asyncio.Task[None]] = []
    held = asyncio.run(hold())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(wait())
    loop.close()
    asyncio.run(go_on(held))
    assert limiter.waiting() == 0
    waiting[0].get_coro().close()  # it would complain of being forgotten


@pytest.mark.parametrize("how", ["left", "forgotten"])
def test_a_loop_that_closes_while_others_wait_holds_up_nobody(how: str) -> None:
    """Whoever waits behind a waiter that is gone is told instead, however the place is freed."""
    limiter = RateLimiter(RateLimit(max_in_flight=1))

    async def enter() -> list[Ticket]:
        ticket = limiter.ticket(parse_model_id(MODEL), region="us-east-1", tokens=lambda limit: Counted(0, 0, 1.0))
        assert ticket is not None
        await ticket.enter()
        return [ticket]

    async def begin() -> asyncio.Task[list[Ticket]]:
        task = asyncio.ensure_future(enter())
        await settled()
        return task

    async def go_on() -> None:
        async with asyncio.timeout(30):
            await behind

    loop, closing = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        held = loop.run_until_complete(enter())
        gone = closing.run_until_complete(begin())
        behind = loop.run_until_complete(begin())
        closing.close()
        if how == "left":
            held[0].close()
        held.clear()
        loop.run_until_complete(go_on())
    finally:
        loop.close()
    gone.get_coro().close()  # it would complain of being forgotten


def test_models_that_nobody_calls_any_more_are_forgotten() -> None:
    """Ids come from anywhere, so the memory is bounded; what still counts, or is under way, is never forgotten."""

    def ticket_of(number: int) -> Ticket:
        model = parse_model_id(f"acme.chat-{number}")
        ticket = limiter.ticket(model, region="us-east-1", tokens=lambda limit: Counted(0, 0, 1.0))
        assert ticket is not None
        return ticket

    async def call(number: int) -> None:
        ticket = ticket_of(number)
        await ticket.enter()
        ticket.close()

    async def main() -> None:
        held = ticket_of(-1)
        await held.enter()
        for number in range(5_000):
            times[0] = number * 0.1  # 600 of them count at any time
            await call(number)
        assert 600 <= len(store._windows) <= 2_000
        while len(queues) > 1:  # the guard of the loops may keep one of so many calls until it looks again
            await settled()
        assert store._windows["/us-east-1/acme.chat--1"].in_flight == 1
        waiting = asyncio.ensure_future(call(-1))
        await settled()
        assert not waiting.done()
        held.close()
        await waiting

    times = [0.0]
    limiter = RateLimiter(RateLimit(max_in_flight=1), clock=lambda: times[0])
    internals: Any = limiter
    store, queues = internals._store, internals._queues
    run_virtually(main())


def test_whoever_waits_is_told_of_it() -> None:
    """Of a place that was abandoned while it waited."""

    async def main() -> None:
        limited = Limited(RateLimit(max_in_flight=1))
        holder: list[Ticket] = [await limited.enter("holder")]
        waiter = asyncio.ensure_future(limited.enter("waiter"))
        await settled()
        holder.clear()
        (await waiter).close()
        assert now() == 1_000

    run_virtually(main())


# -- in a client


def client_of(
    answers: list[CannedResponse | BedrockError | asyncio.Event], limit: RateLimit | RateLimiter, **options: object
) -> tuple[BedrockClient, CannedTransport, RateLimiter]:
    """Return a client that is limited in the loop's time."""
    limiter = limit if isinstance(limit, RateLimiter) else RateLimiter(limit, clock=now)
    transport = CannedTransport(answers)
    keywords: dict[str, Any] = {"retry": StandardRetry(base_delay_s=0.0), **options}
    credentials = Credentials("AKIDEXAMPLE", "secret")
    client = BedrockClient(
        region="us-east-1", credentials=credentials, transport=transport, rate_limit=limiter, **keywords
    )
    return client, transport, limiter


def window_of(limiter: RateLimiter, model: str = MODEL) -> RateWindow:
    """Return what the limiter knows of a model."""
    store: Any = limiter._store
    window: RateWindow = store._windows[f"/us-east-1/{model}"]
    return window


async def test_a_call_reserves_its_estimate_and_settles_on_what_it_used() -> None:
    """Input estimate plus max_tokens times 5, for Claude; then input plus 5 times output, cache reads aside."""
    gate = asyncio.Event()
    answer = reply(inputTokens=100, outputTokens=20, cacheReadInputTokens=7_000, cacheWriteInputTokens=30)
    client, _, limiter = client_of([gate, answer], RateLimit(tokens_per_minute=100_000))
    task = asyncio.ensure_future(client.converse(MODEL, "x" * 400, max_tokens=1_000))
    await settled()
    window = window_of(limiter)
    assert (window.in_flight, window.tokens) == (1, 100 + 5_000)
    gate.set()
    await task
    assert (window.in_flight, window.tokens) == (0, 100 + 30 + 5 * 20)


@pytest.mark.parametrize(
    ("model", "burndown", "max_tokens", "expected"),
    [
        (NOVA, None, 100, 1 + 100),
        (NOVA, 2.0, 100, 1 + 200),
        (MODEL, 1.0, 100, 1 + 100),
        (MODEL, None, None, 1 + 5 * 64_000),
        ("acme.unknown-v1:0", None, None, 1 + 4_096),
    ],
)
async def test_what_is_reserved_follows_the_model(
    model: str, burndown: float | None, max_tokens: int | None, expected: int
) -> None:
    """Its burndown rate unless the limit has one; without max_tokens what it can write at most."""
    gate = asyncio.Event()
    client, _, limiter = client_of([gate, reply()], RateLimit(tokens_per_minute=10**9, burndown=burndown))
    task = asyncio.ensure_future(client.converse(model, "abc", max_tokens=max_tokens))
    await settled()
    assert window_of(limiter, model).tokens == expected
    gate.set()
    await task
    assert window_of(limiter, model).tokens == expected  # the answer tells no usage: the reservation stays


@pytest.mark.parametrize(
    ("failure", "counts", "lowers"),
    [
        (service_error("ThrottlingException", "m"), False, True),
        (service_error("ValidationException", "m"), False, False),
        (ConnectError("m"), False, False),
        (ConnectionLostError("m", sent=True), True, False),
    ],
    ids=lambda value: getattr(value, "code", None) or type(value).__name__,
)
async def test_what_failed_counts_where_it_may_have_been_worked_on(
    failure: BedrockError, counts: object, lowers: object
) -> None:
    """A refusal costs no tokens; a lost connection may have. Throttling lowers the limits. The place is free again."""
    client, _, limiter = client_of([failure], RateLimit(tokens_per_minute=100_000), retry=StandardRetry(1))
    with pytest.raises(type(failure)):
        await client.converse(NOVA, "abc", max_tokens=100)
    window = window_of(limiter, NOVA)
    assert window.in_flight == 0
    assert (window.tokens > 0) == counts
    assert (window.share(now()) < 1) == lowers


async def test_each_attempt_is_let_through_by_itself() -> None:
    """The repetition of a throttled call waits for its turn as any other, and counts."""
    client, _, limiter = client_of([service_error("ThrottlingException", "m"), reply()], RateLimit(max_in_flight=1))
    await client.converse(MODEL, "Hi.")
    window = window_of(limiter)
    assert (window.requests, window.in_flight) == (2, 0)


async def test_a_stream_keeps_its_place_until_its_end() -> None:
    """And is settled with the usage of its metadata event."""
    client, _, limiter = client_of(
        [CannedResponse([stream_bytes(EVENTS[:2]), stream_bytes(EVENTS[2:])], headers=STREAM_TYPE)],
        RateLimit(max_in_flight=1, tokens_per_minute=1_000_000),
    )
    async with client.stream(MODEL, "Hi.", max_tokens=100) as stream:
        await anext(stream)
        window = window_of(limiter)
        assert (window.in_flight, window.tokens) == (1, 1 + 500)
        await stream.get_final_response()
    assert (window.in_flight, window.tokens) == (0, 10 + 5 * 20)


@pytest.mark.parametrize("how", ["left", "dropped", "broken", "throttled", "in one piece"])
async def test_however_a_stream_ends_its_place_is_free(how: str) -> None:
    """Left early, forgotten, broken, throttled in the middle, or arrived whole and never read to its end."""
    pieces: list[Any] = [stream_bytes(EVENTS[:2]), stream_bytes(EVENTS[2:])]
    if how == "broken":
        pieces = [stream_bytes(EVENTS[:2]), ConnectionLostError("m", sent=True)]
    if how == "throttled":
        pieces = [stream_bytes(EVENTS[:2]), exception_frame("throttlingException", "Too many tokens.")]
    if how == "in one piece":
        pieces = [stream_bytes(EVENTS)]
    client, _, limiter = client_of([CannedResponse(pieces, headers=STREAM_TYPE)], RateLimit(max_in_flight=1))
    stream = client.stream(MODEL, "Hi.")
    await anext(stream)
    window = window_of(limiter)
    match how:
        case "left":
            await stream.aclose()
        case "dropped":
            del stream
        case "broken" | "throttled":
            with pytest.raises(BedrockError):
                await stream.get_final_response()
        case _:
            pass
    assert window.in_flight == 0
    assert (window.share(now()) < 1) == (how == "throttled")


async def test_a_native_stream_is_settled_by_its_metrics() -> None:
    """The last chunk of InvokeModelWithResponseStream tells what was used; InvokeModel tells it in headers."""
    chunk = json.dumps({"amazon-bedrock-invocationMetrics": {"inputTokenCount": 7, "outputTokenCount": 3}}).encode()
    frame = event_frame("chunk", {"bytes": base64.b64encode(chunk).decode()})
    headers = {"x-amzn-bedrock-input-token-count": "11", "x-amzn-bedrock-output-token-count": "2"}
    client, _, limiter = client_of(
        [CannedResponse([frame], headers=STREAM_TYPE), CannedResponse([b"{}"], headers=headers)],
        RateLimit(max_in_flight=1, tokens_per_minute=10_000),
    )
    assert [each async for each in client.invoke_stream(MODEL, {"prompt": "Hi."})]
    window = window_of(limiter)
    assert (window.in_flight, window.tokens) == (0, 7 + 15)
    await client.invoke(MODEL, {"prompt": "Hi."})
    assert (window.in_flight, window.tokens) == (0, 7 + 15 + 11 + 10)


async def test_a_native_stream_that_tells_nothing_frees_its_place_at_its_end() -> None:
    """Its reservation stays: nobody knows what it has used."""
    frame = event_frame("chunk", {"bytes": base64.b64encode(b"{}").decode()})
    answer = CannedResponse([frame], headers=STREAM_TYPE)
    client, _, limiter = client_of([answer], RateLimit(max_in_flight=1, tokens_per_minute=10_000))
    stream = client.invoke_stream(MODEL, {"prompt": "Hi."})
    assert [each async for each in stream]
    window = window_of(limiter)
    assert (window.in_flight, window.tokens > 0, answer.aborted) == (0, True, False)


async def test_clients_share_what_they_are_given() -> None:
    """One limiter in two clients: the second waits for the first; models and regions are told apart."""
    limiter = RateLimiter(RateLimit(max_in_flight=1, max_queue=0))
    gate = asyncio.Event()
    one, _, _ = client_of([gate, reply()], limiter)
    other, _, _ = client_of([reply(), reply()], limiter)
    task = asyncio.ensure_future(one.converse(MODEL, "Hi."))
    await settled()
    with pytest.raises(QueueFullError):
        await other.converse(MODEL, "Hi.")
    await other.converse(NOVA, "Hi.")
    gate.set()
    await task
    await other.converse(MODEL, "Hi.")


def test_waiting_counts_against_the_deadline_of_the_call() -> None:
    """TotalTimeoutError, of calls and of streams that are not open yet; the waiter is gone."""

    async def main() -> None:
        limit = RateLimit(requests_per_minute=1)
        client, transport, limiter = client_of([reply()], limit, timeouts=Timeouts(total_s=10.0))
        await client.converse(MODEL, "Hi.")
        with pytest.raises(TotalTimeoutError):
            await client.converse(MODEL, "Hi.")
        with pytest.raises(TotalTimeoutError):
            await anext(client.stream(MODEL, "Hi."))
        assert now() == pytest.approx(1_020)
        assert limiter.waiting() == 0
        assert len(transport.requests) == 1

    run_virtually(main())


@pytest.mark.parametrize("verb", ["converse", "stream"])
async def test_cancelling_a_call_frees_its_place(verb: str) -> None:
    """While it waits for its turn, for the head of the answer, and for its body or first event."""
    never = asyncio.Event()
    body = CannedResponse([b"{", never] if verb == "converse" else [never], headers=STREAM_TYPE)
    plain = reply()
    cases: list[list[CannedResponse | BedrockError | asyncio.Event]] = [[never, plain], [body, plain]]
    for answers in cases:
        client, transport, limiter = client_of(answers, RateLimit(max_in_flight=1))

        async def call(client: BedrockClient = client) -> None:
            if verb == "converse":
                await client.converse(MODEL, "Hi.")
            else:
                await anext(client.stream(MODEL, "Hi."))

        first, second = asyncio.ensure_future(call()), asyncio.ensure_future(call())
        await settled()
        assert (len(transport.requests), limiter.waiting()) == (1, 1)
        for task in (second, first):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert (window_of(limiter).in_flight, limiter.waiting()) == (0, 0)


async def test_operations_that_are_no_inference_are_not_limited() -> None:
    """They have quotas of their own."""
    limiter = RateLimiter(RateLimit(max_in_flight=1, max_queue=0))
    client, _, _ = client_of([CannedResponse([b'{"inputTokens": 5}'])], limiter)
    holder = limiter.ticket(parse_model_id(MODEL), region="us-east-1", tokens=lambda limit: Counted(0, 0, 1.0))
    assert holder is not None
    await holder.enter()
    assert (await client.count_tokens(MODEL, "Hi.")).input_tokens == 5


# -- the estimate


@given(st.text(max_size=500))
def test_any_text_can_be_estimated(text: str) -> None:
    """At a token for four bytes, at least one."""
    request = ConverseRequest.from_dict({"messages": [{"role": "user", "content": [{"text": text}]}]})
    expected = max(1, math.ceil(len(text.encode("utf-8", "surrogatepass")) / 4))
    assert estimated_tokens(request) == expected


def test_media_tools_and_system_prompts_count() -> None:
    """Whatever the input is made of."""
    plain: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "x" * 40}]}]}
    image = {"image": {"format": "png", "source": {"bytes": b"x" * 10_000}}}
    document = {"document": {"name": "d", "format": "pdf", "source": {"bytes": b"x" * 40_000}}}
    result = {"toolResult": {"toolUseId": "1", "content": [{"text": "y" * 400}, {"json": {"a": "b" * 400}}]}}
    tools = {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}}]}
    sizes = [
        estimated_tokens(ConverseRequest.from_dict(request))
        for request in (
            plain,
            {**plain, "system": [{"text": "z" * 40}]},
            {"messages": [{"role": "user", "content": [image]}]},
            {"messages": [{"role": "user", "content": [document]}]},
            {"messages": [{"role": "user", "content": [result]}]},
            {**plain, "toolConfig": tools},
        )
    ]
    assert sizes[:4] == [10, 20, 1_600, 1_000]
    assert sizes[4] > 200
    assert sizes[5] > 20


@pytest.mark.parametrize(
    "chunk",
    [b"", b"{}", b'"amazon-bedrock-invocationMetrics"', b'{"amazon-bedrock-invocationMetrics": 3}', b'{"amazon-bed'],
)
def test_chunks_without_metrics_tell_nothing(chunk: bytes) -> None:
    """Nor do broken ones."""
    assert counted_in_metrics(chunk) is None


def test_usage_counts_by_the_burndown_rate() -> None:
    """An answer that tells nothing is unknown, not free."""
    counted = Counted(10, 100, 5.0)
    assert counted.reserved == 510
    assert counted.used(TokenUsage(input_tokens=3, output_tokens=2, cache_read_input_tokens=99)) == 13
    assert counted.used(TokenUsage()) is None
    assert counted.used(None) is None
    assert find_profile("anthropic.claude-sonnet-4-20250514-v1:0").burndown == 5
    assert find_profile("anthropic.claude-3-haiku-20240307-v1:0").burndown == 1
    assert find_profile("amazon.nova-lite-v1:0").burndown == 1
