"""How fast a client sends after it was throttled: the adaptive mode of the AWS SDKs. Pure.

Throttled, it slows down to 0.7 of the rate at which it was sending, and from there the rate grows along a cubic curve,
as in TCP: slowly around the rate that was too much, faster beyond it. Source: botocore.retries.adaptive, .bucket and
.throttling, whose decisions these are; a test compares them.
"""

from __future__ import annotations

from math import floor
from typing import Final

_SCALE: Final = 0.4
_BETA: Final = 0.7
_SMOOTHING: Final = 0.8
_MEASURED_EVERY_S: Final = 0.5
_LEAST_RATE: Final = 0.5
_MOST_TIMES_MEASURED: Final = 2.0
_SLACK: Final = 1e-9
"""What is missing to a whole permit by rounding alone: waiting for it would be waiting for nothing, again and again."""


class CubicRate:
    """The rate, in requests per second, that is to be tried; times are in seconds of any one clock."""

    __slots__ = ("_last_throttled", "_plateau_s", "_too_much")

    def __init__(self, now: float) -> None:
        self._too_much = 0.0
        self._plateau_s = 0.0
        self._last_throttled = now

    def succeeded(self, now: float) -> float:
        """Return the rate after a success."""
        return _SCALE * (now - self._last_throttled - self._plateau_s) ** 3 + self._too_much

    def throttled(self, rate: float, now: float) -> float:
        """Return the rate after ``rate`` was too much."""
        self._too_much = rate
        self._plateau_s = (rate * (1 - _BETA) / _SCALE) ** (1 / 3)
        self._last_throttled = now
        return rate * _BETA


class MeasuredRate:
    """The rate, in requests per second, at which answers come: smoothed, over spans of half a second."""

    __slots__ = ("_count", "_since", "rate")

    def __init__(self, now: float) -> None:
        self.rate = 0.0
        self._count = 0
        self._since = float(floor(now))

    def record(self, now: float) -> float:
        """Count one answer and return the rate."""
        span = floor(now / _MEASURED_EVERY_S) * _MEASURED_EVERY_S
        self._count += 1
        if span > self._since:
            current = self._count / (span - self._since)
            self.rate = current * _SMOOTHING + self.rate * (1 - _SMOOTHING)
            self._count = 0
            self._since = span
        return self.rate


class PermitBucket:
    """Permits to send, which grow at ``rate`` per second up to what a second brings."""

    __slots__ = ("_filled_at", "capacity", "permits", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.permits = 0.0
        self._filled_at = now
        self.rate = max(rate, _LEAST_RATE)
        self.capacity = max(rate, 1.0)

    def set_rate(self, rate: float, now: float) -> None:
        """Go on at another rate, though never at less than one permit in two seconds."""
        self._fill(now)
        self.rate = max(rate, _LEAST_RATE)
        self.capacity = max(rate, 1.0)
        self.permits = min(self.permits, self.capacity)

    def take(self, now: float) -> float:
        """Take a permit and return 0, or return in how many seconds there will be one at this rate."""
        self._fill(now)
        missing = 1.0 - self.permits
        if missing > _SLACK:
            return missing / self.rate
        self.permits = max(0.0, self.permits - 1.0)
        return 0.0

    def _fill(self, now: float) -> None:
        self.permits = min(self.capacity, self.permits + (now - self._filled_at) * self.rate)
        self._filled_at = now


class Pace:
    """The rate limiter of the adaptive mode: no limit before the service throttles for the first time.

    One object for all calls that share a quota; the clock is the caller's. Asking costs nothing while there is no
    limit.
    """

    __slots__ = ("_bucket", "_cubic", "_measured", "limited")

    def __init__(self) -> None:
        self.limited = False
        self._cubic: CubicRate | None = None
        self._measured: MeasuredRate | None = None
        self._bucket: PermitBucket | None = None

    @property
    def rate(self) -> float | None:
        """Requests per second, None while there is no limit."""
        return self._bucket.rate if self.limited and self._bucket is not None else None

    def wait_s(self, now: float) -> float:
        """Take a permit and return 0, or return after how many seconds to ask again."""
        if not self.limited or self._bucket is None:
            return 0.0
        return self._bucket.take(now)

    def answered(self, now: float, *, throttled: bool) -> None:
        """Note how an attempt ended that the service has answered."""
        cubic, measured, bucket = self._parts(now)
        rate = measured.record(now)
        if throttled:
            new_rate = cubic.throttled(min(rate, bucket.rate) if self.limited else rate, now)
            self.limited = True
        else:
            new_rate = cubic.succeeded(now)
        bucket.set_rate(min(new_rate, _MOST_TIMES_MEASURED * rate), now)

    def _parts(self, now: float) -> tuple[CubicRate, MeasuredRate, PermitBucket]:
        if self._cubic is None or self._measured is None or self._bucket is None:
            self._cubic, self._measured, self._bucket = CubicRate(now), MeasuredRate(now), PermitBucket(1.0, now)
        return self._cubic, self._measured, self._bucket
