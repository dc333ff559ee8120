"""Whether and when a failed attempt is repeated: a decision, without clock or randomness of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, Protocol, cast, runtime_checkable

from ..errors import BedrockError, FirstEventTimeoutError, ModelNotReadyError, ServiceError
from ._numbers import is_count, is_number, refuse_faults
from .pacing import Pace

MAX_DELAY_S: Final = 20.0
"""The longest wait between two attempts, as the AWS SDKs' standard mode has it."""

# Centuries, from any base; more would overflow a float.
_MAX_DOUBLINGS: Final = 64


@runtime_checkable
class RetryPolicy(Protocol):
    """Decides about one failed attempt.

    A policy may have two more attributes, both off where they are missing: ``quota``, True where a repetition is paid
    for from the client's `RetryQuota`, and ``pace``, the `Pace` that every attempt keeps to.
    """

    def delay_s(self, failure: BedrockError, attempt: int, *, random: Random) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up.

        ``attempt`` counts from 1 and is the one that failed. Called only for failures after which nothing has been
        handed to the caller yet.
        """
        ...


@dataclass(frozen=True, slots=True)
class StandardRetry:
    """The standard mode of the AWS SDKs: full jitter over exponential backoff, and a quota that all calls share.

    What `BedrockError.retryable` says may succeed is repeated. ``max_attempts`` counts the first attempt. A model that
    is being loaded gets ``model_not_ready_attempts``, 5 to 30 seconds apart. A wait that the service asks for
    (x-amz-retry-after, retry-after) is kept, up to ``max_delay_s``. With ``retry_timeouts`` a stream whose first event
    did not come in time is opened again, although the first request may have been billed. With ``quota`` repetitions
    are paid for from the client's `RetryQuota`: once that is used up, failures reach the caller at once.
    """

    max_attempts: int = 3
    base_delay_s: float = 1.0
    max_delay_s: float = MAX_DELAY_S
    model_not_ready_attempts: int = 5
    model_not_ready_delay_s: tuple[float, float] = (5.0, 30.0)
    retry_timeouts: bool = False
    quota: bool = True

    def __post_init__(self) -> None:
        """Refuse what would fail in the middle of a call. Raises InvalidRequestError."""
        faults = {
            "max_attempts": not is_count(self.max_attempts),
            "base_delay_s": not is_number(self.base_delay_s),
            "max_delay_s": not is_number(self.max_delay_s),
            "model_not_ready_attempts": not is_count(self.model_not_ready_attempts),
            "model_not_ready_delay_s": not _is_span(self.model_not_ready_delay_s),
        }
        refuse_faults(
            "retry",
            self,
            faults,
            hint="Attempts are counts, 1 or more; delays are seconds; model_not_ready_delay_s is a pair of delays.",
        )

    def delay_s(self, failure: BedrockError, attempt: int, *, random: Random) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up."""
        if not (failure.retryable or (self.retry_timeouts and isinstance(failure, FirstEventTimeoutError))):
            return None
        loading = isinstance(failure, ModelNotReadyError)
        if attempt >= (self.model_not_ready_attempts if loading else self.max_attempts):
            return None
        if loading:
            delay_s = random.uniform(*self.model_not_ready_delay_s)
        else:
            most_s = min(self.base_delay_s * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS), self.max_delay_s)
            delay_s = random.random() * most_s
        if isinstance(failure, ServiceError) and failure.retry_after_s is not None:
            return max(delay_s, min(failure.retry_after_s, self.max_delay_s))
        return delay_s


def _is_span(value: object) -> bool:
    ends = cast("Sequence[object]", value) if isinstance(value, tuple | list) else ()
    return len(ends) == 2 and all(map(is_number, ends))


@dataclass(frozen=True, slots=True)
class AdaptiveRetry(StandardRetry):
    """The adaptive mode of the AWS SDKs: as `StandardRetry`, and slower after the service has throttled.

    Every attempt then keeps to a rate that falls with each throttling and grows again between them; see `Pace`. All
    calls that share the object share the rate: make one for each account and model, as quotas are.
    """

    pace: Pace = field(default_factory=Pace, compare=False, repr=False)


NO_RETRY: Final = StandardRetry(max_attempts=1, model_not_ready_attempts=1)
"""One attempt, whatever happens."""
