"""The circuit breaker of a target: when it opens, and who may try."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bedrock_async import CircuitBreaker, InvalidRequestError
from bedrock_async.resilience import Breaker

CONFIG: Final = CircuitBreaker(error_rate=0.5, min_calls=4, window_s=10.0, open_s=30.0, probes=2)


def called(breaker: Breaker, now: float, *, failed: bool) -> None:
    """Make one call."""
    admitted = breaker.admit(now)
    assert admitted is not None
    breaker.record(admitted, now, failed=failed)


def opened(at: float = 0.0, config: CircuitBreaker = CONFIG) -> Breaker:
    """Return a breaker that has opened."""
    breaker = Breaker(config)
    for _ in range(config.min_calls):
        called(breaker, at, failed=True)
    assert breaker.state(at) == "open"
    return breaker


def test_it_opens_at_the_error_rate() -> None:
    """Not before there are enough calls to tell."""
    breaker = Breaker(CONFIG)
    for failed in (False, True, True):
        called(breaker, 0.0, failed=failed)
    assert breaker.state(0.0) == "closed"
    called(breaker, 0.0, failed=True)
    assert breaker.state(0.0) == "open"


def test_what_lies_longer_back_does_not_count() -> None:
    """The rate is that of the last ten seconds."""
    breaker = Breaker(CONFIG)
    for second in range(100):
        called(breaker, second * 4.0, failed=True)
    assert breaker.state(400.0) == "closed"


def test_successes_do_not_open_it() -> None:
    """Even when more than half of the calls before them failed: a failure opens it."""
    breaker = Breaker(CONFIG)
    for failed in (True, True, True, False):
        called(breaker, 0.0, failed=failed)
    assert breaker.state(0.0) == "closed"


def test_open_it_lets_nobody_through() -> None:
    """For 30 seconds; then as many probes as were asked for, at once."""
    breaker = opened()
    assert breaker.admit(29.9) is None
    assert breaker.state(30.0) == "half-open"
    assert breaker.admit(30.0) is not None
    assert breaker.admit(30.0) is not None
    assert breaker.admit(30.0) is None


def test_probes_that_succeed_close_it() -> None:
    """All of them."""
    breaker = opened()
    called(breaker, 30.0, failed=False)
    assert breaker.state(30.0) == "half-open"
    called(breaker, 30.0, failed=False)
    assert breaker.state(30.0) == "closed"


def test_a_probe_that_fails_keeps_it_open() -> None:
    """For 30 seconds from then on; the other probe says nothing any more."""
    breaker = opened()
    first, second = breaker.admit(30.0), breaker.admit(30.0)
    assert first is not None
    assert second is not None
    breaker.record(first, 40.0, failed=True)
    breaker.record(second, 41.0, failed=False)
    assert breaker.admit(69.9) is None
    assert breaker.admit(70.0) is not None


def test_a_probe_that_is_cancelled_makes_room_for_another() -> None:
    """A breaker never stays half open for ever."""
    breaker = opened()
    for _ in range(10):
        admitted = breaker.admit(30.0)
        assert admitted is not None
        breaker.forget(admitted)
    called(breaker, 30.0, failed=False)
    called(breaker, 30.0, failed=False)
    assert breaker.state(30.0) == "closed"


def test_a_call_from_before_says_nothing() -> None:
    """One that began while it was closed, and ends when it has opened."""
    breaker = Breaker(CONFIG)
    slow = breaker.admit(0.0)
    assert slow is not None
    for _ in range(4):
        called(breaker, 0.0, failed=True)
    breaker.record(slow, 35.0, failed=False)
    breaker.forget(slow)
    assert breaker.state(35.0) == "half-open"
    assert breaker.admit(35.0) is not None
    assert breaker.admit(35.0) is not None
    assert breaker.admit(35.0) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"error_rate": 0},
        {"error_rate": 1.1},
        {"min_calls": 0},
        {"window_s": 0},
        {"open_s": -1},
        {"open_s": "x"},
        {"probes": 0},
    ],
)
def test_what_makes_no_breaker_is_refused(wrong: dict[str, Any]) -> None:
    """By name, with what is allowed."""
    with pytest.raises(InvalidRequestError, match="breaker") as caught:
        CircuitBreaker(**wrong)
    assert caught.value.hint


class BreakerMachine(RuleBasedStateMachine):
    """A breaker among calls that begin, end and are cancelled in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = Breaker(CONFIG)
        self.under_way: list[tuple[int, bool]] = []
        self.closed_results: deque[tuple[float, bool]] = deque()

    @rule(seconds=st.sampled_from([0.0, 1.0, 9.0, 30.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    @rule()
    def begin(self) -> None:
        """Let a call through, if it may."""
        state = self.breaker.state(self.now)
        admitted = self.breaker.admit(self.now)
        if state == "open":
            assert admitted is None
        if state == "closed":
            assert admitted is not None
        if admitted is not None:
            self.under_way.append((admitted, state == "half-open"))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), how=st.sampled_from(["success", "failure", "cancelled"]))
    def end(self, data: st.DataObject, how: str) -> None:
        """End a call."""
        admitted, _ = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        before = self.breaker.state(self.now)
        if how == "cancelled":
            self.breaker.forget(admitted)
            assert self.breaker.state(self.now) == before
        else:
            self.breaker.record(admitted, self.now, failed=how == "failure")
            if how == "success":
                assert (before, self.breaker.state(self.now)) in {
                    (before, before),
                    ("half-open", "closed"),
                }
            elif before == "open":
                assert self.breaker.state(self.now) == "open"

    @invariant()
    def probes_are_few_and_never_lost(self) -> None:
        """At most as many as were asked for are under way, and one of the next ones can always go."""
        probing = self.breaker._probing
        assert 0 <= probing <= CONFIG.probes
        if self.breaker.state(self.now) == "half-open" and not any(probe for _, probe in self.under_way):
            assert probing == 0


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
