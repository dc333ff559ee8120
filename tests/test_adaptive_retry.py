"""The adaptive mode: the rate limiter of the AWS SDKs, held to botocore's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pytest
from botocore.retries import bucket
from botocore.retries.adaptive import ClientRateLimiter, RateClocker
from botocore.retries.throttling import CubicCalculator
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override
from virtual_time import now, run_virtually

from bedrock_async import (
    AdaptiveRetry,
    BedrockClient,
    BedrockError,
    Credentials,
    Pace,
    RetryPolicy,
    StandardRetry,
    ThrottlingError,
    Timeouts,
    TotalTimeoutError,
)
from bedrock_async.testing.canned import CannedResponse, CannedTransport

MODEL: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
REPLY: Final = json.dumps({"output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}}}).encode()


class Clock(bucket.Clock):
    """botocore's clock, set by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    @override
    def current_time(self) -> float:
        return self.now

    @override
    def sleep(self, amount: float) -> None:
        raise AssertionError("nobody sleeps here")


class Detector:
    """Tells botocore's limiter what was throttled."""

    def is_throttling_error(self, *, throttled: bool) -> bool:
        return throttled


def botocores(clock: Clock) -> ClientRateLimiter:
    """Return botocore's limiter, put together as its register_retry_handler does."""
    return ClientRateLimiter(
        rate_adjustor=CubicCalculator(starting_max_rate=0, start_time=clock.current_time()),
        rate_clocker=RateClocker(clock),
        token_bucket=bucket.TokenBucket(max_rate=1, clock=clock),
        throttling_detector=Detector(),
        clock=clock,
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0, 7.3]),
            st.sampled_from(["success", "success", "throttled", "ask"]),
        ),
        max_size=200,
    )
)
def test_it_decides_as_botocores(happenings: list[tuple[float, str]]) -> None:
    """After the same answers at the same times: the same rate, the same permits, and the same wait for the next."""
    clock = Clock()
    theirs: Any = botocores(clock)
    ours = Pace()
    ours._parts(clock.now)
    for seconds, happening in happenings:
        clock.now += seconds
        if happening == "ask":
            permits = theirs._token_bucket
            if theirs._enabled:
                permits._refill()
                missing_s = permits._sleep_amount(1)
                wait_s = ours.wait_s(clock.now)
                assert wait_s == pytest.approx(max(0.0, missing_s), abs=1e-6)
                if not wait_s:
                    permits._current_capacity -= 1
            else:
                assert ours.wait_s(clock.now) == 0
            continue
        theirs.on_receiving_response(throttled=happening == "throttled")
        ours.answered(clock.now, throttled=happening == "throttled")
        assert ours.limited == theirs._enabled
        assert ours._bucket is not None
        assert ours._bucket.rate == pytest.approx(theirs._token_bucket.max_rate)
        assert ours._bucket.capacity == pytest.approx(theirs._token_bucket.max_capacity)


def test_there_is_no_limit_before_the_first_throttling() -> None:
    """Whatever the rate."""
    pace = Pace()
    for _ in range(1_000):
        assert pace.wait_s(5.0) == 0
        pace.answered(5.0, throttled=False)
    assert pace.rate is None


def test_throttled_it_slows_down_and_grows_again() -> None:
    """To 0.7 of the rate that was measured, and within the time that the cubic curve takes back to it."""
    pace = Pace()
    for step in range(100):
        pace.answered(1_000 + step / 10, throttled=False)
    pace.answered(1_010.0, throttled=True)
    slow = pace.rate
    assert slow is not None
    assert slow == pytest.approx(7.0, rel=0.05)
    rates: list[float] = []
    for step in range(1, 101):
        pace.answered(1_010 + step / 10, throttled=False)
        assert pace.rate is not None
        rates.append(pace.rate)
    assert rates == sorted(rates)
    assert rates[-1] > 10


def client_of(
    answers: Sequence[CannedResponse | BedrockError], retry: RetryPolicy
) -> tuple[BedrockClient, CannedTransport]:
    """Return a client in virtual time."""
    transport = CannedTransport(answers)
    client = BedrockClient(
        region="us-east-1", transport=transport, credentials=Credentials("AKIDEXAMPLE", "secret"), retry=retry
    )
    client._line = replace(client._line, clock=now)
    return client, transport


def throttled() -> CannedResponse:
    """Return a refusal."""
    return CannedResponse([b"{}"], status=429, headers={"x-amzn-errortype": "ThrottlingException"})


def test_calls_keep_to_the_pace() -> None:
    """After a throttling calls go out one after the other, at the rate that is left."""

    async def main() -> list[float]:
        retry = AdaptiveRetry(base_delay_s=0.0)
        client, _ = client_of([throttled(), *(CannedResponse([REPLY]) for _ in range(4))], retry)
        times: list[float] = []
        for _ in range(4):
            await client.converse(MODEL, "Hi.")
            times.append(now() - 1_000)
        return times

    times = run_virtually(main())
    assert times[0] >= 1.0  # the repetition of the throttled attempt waits for a permit as any other
    assert times == sorted(times)
    assert times[-1] > 2


def test_the_standard_mode_does_not_wait() -> None:
    """The same without adaptive."""

    async def main() -> float:
        answers = [throttled(), CannedResponse([REPLY]), CannedResponse([REPLY])]
        client, _ = client_of(answers, StandardRetry(base_delay_s=0.0))
        await client.converse(MODEL, "Hi.")
        await client.converse(MODEL, "Hi.")
        return now()

    assert run_virtually(main()) == 1_000


def test_waiting_for_a_permit_counts_against_the_deadline() -> None:
    """Of a whole call, and of a stream that is not open yet."""

    async def main() -> None:
        client, transport = client_of([throttled()], AdaptiveRetry(max_attempts=100, base_delay_s=0.0))
        limits = Timeouts(total_s=5.0)
        with pytest.raises(TotalTimeoutError) as caught:
            await client.converse(MODEL, "Hi.", timeouts=limits)
        assert 0 < len(caught.value.attempts) < 10
        assert now() == pytest.approx(1_005)
        with pytest.raises(TotalTimeoutError):
            await anext(client.stream(MODEL, "Hi.", timeouts=limits))
        assert now() == pytest.approx(1_010, abs=2)
        assert transport.requests

    run_virtually(main())


async def test_it_is_a_standard_retry_otherwise() -> None:
    """Three attempts, and the failure with all of them; each object has a pace of its own."""
    retry = AdaptiveRetry(base_delay_s=0.0)
    assert isinstance(retry, RetryPolicy)
    assert retry.pace is not AdaptiveRetry().pace
    client, _ = client_of([throttled()], retry)
    pace = retry.pace
    pace._parts(0.0)

    async def skip(seconds: float) -> None:
        assert pace._bucket is not None
        pace._bucket.permits = 1.0

    client._line = replace(client._line, sleep=skip)
    with pytest.raises(ThrottlingError) as caught:
        await client.converse(MODEL, "Hi.")
    assert len(caught.value.attempts) == 3
