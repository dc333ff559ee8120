"""Whether and when a failed attempt is repeated, and limits of time: decisions without clock or dice of their own."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker
from hypothesis import given
from hypothesis import strategies as st

from bedrock_async import (
    BedrockError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    EventDecodeError,
    FirstEventTimeoutError,
    InvalidRequestError,
    Limits,
    NoCredentialsError,
    RetryPolicy,
    StandardRetry,
    StreamTruncatedError,
    Timeouts,
    TLSError,
)
from bedrock_async.errors import IdleTimeoutError, TotalTimeoutError, service_error
from bedrock_async.resilience import NO_RETRY
from bedrock_async.testing.service_model import service_model

THROTTLED = service_error("ThrottlingException", "slow down")
NOT_READY = service_error("ModelNotReadyException", "loading")


def delay_s(failure: BedrockError, attempt: int, policy: RetryPolicy | None = None, seed: int = 1) -> float | None:
    """Return the decision of a policy, the standard one by default, with dice that always fall alike."""
    return (policy or StandardRetry()).delay_s(failure, attempt, random=Random(seed))


@pytest.mark.parametrize(
    "failure",
    [
        THROTTLED,
        service_error("InternalServerException", "m"),
        service_error("ServiceUnavailableException", "m"),
        service_error("ModelErrorException", "m"),
        service_error("ModelStreamErrorException", "m", in_stream=True),
        service_error("", "m", status=502),
        ConnectError("m"),
        ConnectionLostError("m", sent=True),
        ConnectTimeoutError("m", limit_s=10),
        StreamTruncatedError("m"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_what_may_succeed_is_repeated(failure: BedrockError) -> None:
    """Twice by default, and then no more."""
    assert [delay_s(failure, attempt) is not None for attempt in (1, 2, 3, 4)] == [True, True, False, False]


@pytest.mark.parametrize(
    "failure",
    [
        service_error("ValidationException", "m"),
        service_error("AccessDeniedException", "m"),
        service_error("ExpiredTokenException", "m"),
        service_error("ServiceQuotaExceededException", "m"),
        FirstEventTimeoutError("m", limit_s=300),
        TLSError("m"),
        NoCredentialsError("m"),
        InvalidRequestError("m"),
        EventDecodeError("m", event_type="metadata", payload=b""),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_what_cannot_succeed_or_may_have_been_billed_is_not_repeated(failure: BedrockError) -> None:
    """Not even once; a request that timed out after it was sent may have been carried out."""
    assert delay_s(failure, 1) is None


THROTTLING: Any = ThrottledRetryableChecker
TRANSIENT: Any = TransientRetryableChecker
# What another service means by it, and Bedrock's own quotas, which no repetition raises.
OF_OTHER_SERVICES = {
    "EC2ThrottledException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
}


@pytest.mark.parametrize(
    "code",
    sorted({*THROTTLING._THROTTLED_ERROR_CODES, *TRANSIENT._TRANSIENT_ERROR_CODES} - OF_OTHER_SERVICES),
)
def test_codes_that_botocore_repeats_are_repeated(code: str) -> None:
    """Whatever status they come with, over HTTP and in a stream."""
    for status, in_stream in ((400, False), (503, False), (None, True)):
        assert delay_s(service_error(code, "m", status=status, in_stream=in_stream), 1) is not None


@pytest.mark.parametrize("status", TRANSIENT._TRANSIENT_STATUS_CODES)
def test_statuses_that_botocore_repeats_are_repeated(status: int) -> None:
    """Whatever code they come with, or without one."""
    for code in ("", "BrandNewException"):
        assert delay_s(service_error(code, "m", status=status), 1) is not None


REPEATED = {
    "InternalServerException",
    "ModelErrorException",
    "ModelNotReadyException",
    "ModelStreamErrorException",
    "ModelTimeoutException",
    "ServiceUnavailableException",
    "ThrottlingException",
}


def test_the_service_models_exceptions_are_all_decided() -> None:
    """These are worth repeating, 408 and 424 among them, and no other; whatever the model marks as retryable is."""
    shapes = [service_model().shape_for(name) for name in service_model().shape_names]
    exceptions = [shape for shape in shapes if shape.metadata.get("exception")]
    assert {shape.name for shape in exceptions if delay_s(service_error(shape.name, "m"), 1) is not None} == REPEATED
    assert {shape.name for shape in exceptions if shape.metadata.get("retryable")} <= REPEATED
    assert {shape.name for shape in exceptions if shape.metadata.get("fault")} <= REPEATED


def test_a_first_event_that_did_not_come_is_asked_for_again_where_that_is_wanted() -> None:
    """It may be billed twice, so it is off by default; no other limit is worth repeating."""
    wanted = StandardRetry(retry_timeouts=True)
    late = FirstEventTimeoutError("m", limit_s=300)
    assert [delay_s(late, attempt, wanted) is not None for attempt in (1, 2, 3)] == [True, True, False]
    assert delay_s(late, 1) is None
    assert delay_s(IdleTimeoutError("m", limit_s=300), 1, wanted) is None
    assert delay_s(TotalTimeoutError("m", limit_s=300), 1, wanted) is None


@given(st.integers(1, 60), st.integers(), st.floats(0.01, 30), st.floats(0.01, 100))
def test_the_wait_is_jittered_and_bounded(attempt: int, seed: int, base_s: float, most_s: float) -> None:
    """Anything from nothing to the doubled base, never beyond the bound."""
    policy = StandardRetry(max_attempts=100, base_delay_s=base_s, max_delay_s=most_s)
    delay = delay_s(THROTTLED, attempt, policy, seed)
    assert delay is not None
    assert 0 <= delay <= min(base_s * 2 ** (attempt - 1), most_s)


def test_the_waits_of_a_seed_are_known() -> None:
    """The same dice, the same waits: first below 1 s, then below 2 s, then 4 s; others wait differently."""
    dice = Random(7)
    expected = [dice.random() * bound for bound in (1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0)]
    dice = Random(7)
    policy = StandardRetry(max_attempts=10)
    assert [policy.delay_s(THROTTLED, attempt, random=dice) for attempt in range(1, 8)] == expected
    assert len({delay_s(THROTTLED, 1, seed=seed) for seed in range(50)}) == 50


@pytest.mark.parametrize("attempt", [64, 65, 1025, 10**6])
def test_no_number_of_attempts_overflows(attempt: int) -> None:
    """A policy that retries for days goes on doing so."""
    delay = delay_s(THROTTLED, attempt, StandardRetry(max_attempts=10**9))
    assert delay is not None
    assert delay <= 20


def test_a_model_that_is_being_loaded_is_given_time() -> None:
    """Five attempts, 5 to 30 seconds apart, whatever max_attempts says."""
    delays = [delay_s(NOT_READY, attempt, seed=attempt) for attempt in range(1, 6)]
    assert delays[4] is None
    assert all(delay is not None and 5 <= delay <= 30 for delay in delays[:4])
    assert len(set(delays)) == 5
    patient = StandardRetry(model_not_ready_attempts=2, model_not_ready_delay_s=(1.0, 1.0))
    assert [delay_s(NOT_READY, attempt, patient) for attempt in (1, 2)] == [1.0, None]
    asked = service_error("ModelNotReadyException", "m", retry_after_s=15.0)
    assert delay_s(asked, 1, patient) == 15.0


@pytest.mark.parametrize(
    ("asked_s", "least_s", "most_s"), [(0.0, 0.0, 1.0), (3.0, 3.0, 3.0), (20.0, 20.0, 20.0), (3600.0, 20.0, 20.0)]
)
def test_what_the_service_asks_for_is_waited_up_to_the_bound(asked_s: float, least_s: float, most_s: float) -> None:
    """A Retry-After is the least wait; an hour is not waited."""
    failure = service_error("ThrottlingException", "m", retry_after_s=asked_s)
    delay = delay_s(failure, 1)
    assert delay is not None
    assert least_s <= delay <= most_s


def test_a_short_retry_after_does_not_shorten_the_wait() -> None:
    """The larger of the two counts."""
    policy = StandardRetry(base_delay_s=20.0)
    plain = delay_s(THROTTLED, 1, policy)
    assert plain is not None
    assert plain > 0.001
    assert delay_s(service_error("ThrottlingException", "m", retry_after_s=0.001), 1, policy) == plain


@pytest.mark.parametrize("failure", [THROTTLED, NOT_READY, ConnectError("m")])
def test_no_retry_is_one_attempt(failure: BedrockError) -> None:
    """Whatever happens."""
    assert delay_s(failure, 1, NO_RETRY) is None


def test_policies_of_others_fit_the_protocol() -> None:
    """Any object with the method is a policy."""

    class Stubborn:
        def delay_s(self, failure: BedrockError, attempt: int, *, random: Random) -> float | None:
            return 0.0 if attempt < 3 else None

    assert isinstance(Stubborn(), RetryPolicy)
    assert isinstance(StandardRetry(), RetryPolicy)
    assert not isinstance(object(), RetryPolicy)
    assert delay_s(InvalidRequestError("m"), 2, Stubborn()) == 0.0


# -- limits


def test_the_default_timeouts_are_those_of_the_documentation() -> None:
    """10 s to connect, 300 s to the first event and between events, an hour for a whole call."""
    assert Timeouts() == Timeouts(connect_s=10.0, first_event_s=300.0, idle_s=300.0, total_s=3600.0)
    assert Limits() == Limits(max_response_bytes=64 * 1024 * 1024, max_connections=None)


@pytest.mark.parametrize("name", ["connect_s", "first_event_s", "idle_s", "total_s"])
@pytest.mark.parametrize("seconds", [0, -1, -0.5, float("nan"), "5", [5], True])
def test_a_timeout_that_can_never_be_met_is_refused(name: str, seconds: object) -> None:
    """Zero, negative, not a number or no number at all: the error names the limit and the way to have none."""
    wrong = {name: seconds}
    with pytest.raises(InvalidRequestError, match=f"timeouts.{name} is .*more than 0 seconds") as caught:
        Timeouts(**wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert caught.value.path == f"timeouts.{name}"
    assert "Connecting needs a limit" in str(caught.value) or name != "connect_s"
    assert "None for no limit" in str(caught.value) or name == "connect_s"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_attempts", "3"),
        ("max_attempts", 0),
        ("max_attempts", True),
        ("base_delay_s", -1.0),
        ("max_delay_s", float("nan")),
        ("model_not_ready_attempts", 1.5),
        ("model_not_ready_delay_s", 5.0),
        ("model_not_ready_delay_s", (1.0, 2.0, 3.0)),
        ("model_not_ready_delay_s", ("1", "2")),
    ],
)
def test_a_policy_that_would_fail_in_a_failing_call_is_refused(name: str, value: object) -> None:
    """When it is made, and by name."""
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(InvalidRequestError, match=f"retry.{name} is") as caught:
        StandardRetry(**wrong)
    assert caught.value.path == f"retry.{name}"


def test_none_is_no_limit_but_for_connecting() -> None:
    """And whole numbers of seconds are numbers."""
    without: Any = None
    with pytest.raises(InvalidRequestError, match=r"timeouts\.connect_s is None"):
        Timeouts(connect_s=without)
    timeouts = Timeouts(connect_s=5, first_event_s=None, idle_s=None, total_s=None)
    assert (timeouts.connect_s, timeouts.first_event_s) == (5, None)
