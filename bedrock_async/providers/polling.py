"""When to ask for the state of a job again: a decision, without clock or randomness of its own."""

from __future__ import annotations

from random import Random
from typing import Final

import msgspec

from ..errors import BedrockError, CallTimeoutError

__all__ = ["PollSchedule"]

_GROWTH: Final = 1.3  # asks some 23 % of the time so far later: a job of 20 s is noticed within 5
_JITTER: Final = 0.2


class PollSchedule(msgspec.Struct):
    """The waits between two questions: from ``first_s`` on longer each time, to ``most_s``, a fifth more or less.

    Asking may fail ``most_failures`` times in a row before the failure counts.
    """

    random: Random
    first_s: float = 0.5
    most_s: float = 15.0
    most_failures: int = 10
    _nominal_s: float = 0.0
    _failures: int = 0

    def next_s(self) -> float:
        """Return the seconds to wait before the next question."""
        self._nominal_s = min(self._nominal_s * _GROWTH, self.most_s) if self._nominal_s else self.first_s
        return self._nominal_s * self.random.uniform(1 - _JITTER, 1 + _JITTER)

    def answered(self) -> None:
        """Note that a question was answered."""
        self._failures = 0

    def failed(self, failure: BedrockError) -> None:
        """Return when the question is to be asked again in spite of ``failure``; else raise it."""
        self._failures += 1
        # A question changes nothing, so that one that ran out of time may be asked again too.
        passing = failure.retryable or isinstance(failure, CallTimeoutError)
        if not passing or self._failures > self.most_failures:
            raise failure
