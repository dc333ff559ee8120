"""The scripts decide as the limiter of one process does."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import pytest
from bedrock_async_redis.scripts import ADMIT, FINISH
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedrock_async import RateLimit
from bedrock_async.resilience import RateWindow

Server: TypeAlias = Any
"""A client of redis-py, whose types are partly unknown."""

LIMIT: Final = RateLimit(requests_per_minute=7, tokens_per_minute=1_000, max_in_flight=4)
POLL_S: Final = 0.25
KEYS: Final = ["recent", "tokens", "flight", "state"]


@dataclass
class Both:
    """A window of one process, and one in Redis, at the same time of day."""

    client: Server
    limit: RateLimit = LIMIT
    now: float = 1_000.0
    window: RateWindow = field(default_factory=RateWindow)

    def __post_init__(self) -> None:
        self.client.flushall()
        self._admit: Any = self.client.register_script(ADMIT)
        self._finish: Any = self.client.register_script(FINISH)

    def admit(self, lease: str, tokens: int) -> float:
        """Ask both."""
        limit = self.limit
        numbers = (limit.requests_per_minute, limit.tokens_per_minute, limit.max_in_flight)
        asked = ["" if number is None else str(number) for number in numbers]
        theirs = float(self._admit(keys=KEYS, args=[f"{self.now:.6f}", lease, tokens, *asked, "1e9", POLL_S]))
        places = max(1, math.floor((limit.max_in_flight or math.inf) * self.window.share(self.now)))
        full = self.window.in_flight >= places
        ours = self.window.admit(limit, lease, tokens, self.now)
        assert theirs == pytest.approx(POLL_S if full else ours, abs=2e-6)  # another process may end at any time
        self.compare()
        return ours

    def finish(self, lease: str, tokens: int | None, *, throttled: bool) -> None:
        """Tell both."""
        used = "" if tokens is None else str(tokens)
        self._finish(keys=KEYS, args=[f"{self.now:.6f}", lease, used, "1" if throttled else ""])
        self.window.finish(self.limit, lease, tokens, self.now, throttled=throttled)
        self.compare()

    def compare(self) -> None:
        """Look into both."""
        assert self.client.zcard("flight") == self.window.in_flight
        assert self.client.zcard("recent") == self.window.requests
        assert int(str(self.client.hget("state", "sum") or 0)) == self.window.tokens


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("wait"), st.sampled_from([0.125, 1.0, 7.5, 30.0, 59.5, 60.0])),
            st.tuples(st.just("ask"), st.integers(0, 1_500)),
            st.tuples(
                st.just("end"), st.tuples(st.integers(0, 9), st.none() | st.integers(0, 1_000), st.integers(0, 3))
            ),
        ),
        max_size=60,
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_they_decide_alike(fresh: Server, happenings: list[tuple[str, Any]]) -> None:
    """Whatever happens, in any order: the same calls are admitted, the others wait as long, the counts are equal."""
    both = Both(fresh)
    under_way: list[str] = []
    for number, (what, how) in enumerate(happenings):
        match what:
            case "wait":
                both.now += how
            case "ask":
                if both.admit(str(number), how) == 0:
                    under_way.append(str(number))
            case _:
                index, tokens, throttled = how
                if under_way:
                    both.finish(under_way.pop(index % len(under_way)), tokens, throttled=throttled == 0)


def test_throttling_lowers_the_limits_for_all(fresh: Server) -> None:
    """Calls throttled together count as one signal; the limits grow again with time."""
    both = Both(fresh, RateLimit(max_in_flight=10))
    for number in range(10):
        assert both.admit(str(number), 0) == 0
    both.now += 1
    for number in range(10):
        both.finish(str(number), 0, throttled=True)
    admitted = [both.admit(f"again {number}", 0) for number in range(8)]
    assert admitted == [0.0] * 7 + [pytest.approx(60.0)]
    both.now += 120
    assert both.admit("later", 0) == 0
    assert both.admit("later still", 0) == 0


def test_what_is_taken_back_counts_as_nothing(fresh: Server) -> None:
    """It counts neither as a request nor as tokens; reporting it twice makes no difference."""
    both = Both(fresh)
    both.admit("a", 500)
    for _ in range(2):
        fresh.register_script(FINISH)(keys=KEYS, args=[f"{both.now:.6f}", "a", "none", ""])
    assert (fresh.zcard("flight"), fresh.zcard("recent"), fresh.hget("state", "sum")) == (0, 0, "0")


def test_everything_expires(fresh: Server) -> None:
    """An hour after the last call no key is left."""
    both = Both(fresh)
    both.admit("a", 500)
    both.finish("a", 100, throttled=True)
    assert all(0 < int(str(fresh.ttl(key))) <= 3600 for key in fresh.keys())  # noqa: SIM118
