"""Decides when to poll the state of a job again; has no clock or randomness of its own."""

from __future__ import annotations

from random import Random
from typing import Final

import msgspec

from ..errors import BedrockError, CallTimeoutError

__all__ = ["PollSchedule"]

_GROWTH: Final = 1.3  # polls some 23 % of the elapsed time later: the end of a job of 20 s is noticed within 5 s
_JITTER: Final = 0.2


class PollSchedule(msgspec.Struct):
    """The waits between polls: growing from ``first_s`` to ``most_s`` seconds, each with a jitter of 20 %.

    Polling may fail ``most_failures`` times in a row; the next failure is raised.
    """

    random: Random
    first_s: float = 0.5
    most_s: float = 15.0
    most_failures: int = 10
    _nominal_s: float = 0.0
    _failures: int = 0

    def next_s(self) -> float:
        """Return the seconds to wait before the next poll."""
        self._nominal_s = min(self._nominal_s * _GROWTH, self.most_s) if self._nominal_s else self.first_s
        return self._nominal_s * self.random.uniform(1 - _JITTER, 1 + _JITTER)

    def answered(self) -> None:
        """Record a successful poll."""
        self._failures = 0

    def failed(self, failure: BedrockError) -> None:
        """Return if polling should continue in spite of ``failure``; otherwise raise it."""
        self._failures += 1
        # Polling changes nothing, so that a poll that timed out may be repeated, too.
        passing = failure.retryable or isinstance(failure, CallTimeoutError)
        if not passing or self._failures > self.most_failures:
            raise failure
