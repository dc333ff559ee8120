"""Whether a target is worth asking: a circuit breaker over a rolling error rate. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ._numbers import is_count, is_number, refuse_faults

BreakerState: TypeAlias = Literal["closed", "open", "half-open"]

_CLOSED: Final = "closed"
_OPEN: Final = "open"
_HALF_OPEN: Final = "half-open"


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBreaker:
    """When a target is passed over, and when it is tried again.

    It opens when, of at least ``min_calls`` calls in ``window_s`` seconds, the share ``error_rate`` failed in a way
    that another target may not: `BedrockError.retryable`, no first event in time, or half of ``total_s`` without an
    answer when that ran out. After ``open_s`` seconds it lets ``probes`` calls through: once as many have succeeded it
    closes, and with the first failure it stays open for as long again.
    """

    error_rate: float = 0.5
    min_calls: int = 10
    window_s: float = 60.0
    open_s: float = 30.0
    probes: int = 1

    def __post_init__(self) -> None:
        """Refuse values with which it would never open or never close."""
        faults = {
            "error_rate": not is_number(self.error_rate, most=1.0) or not self.error_rate,
            "min_calls": not is_count(self.min_calls),
            "window_s": not is_number(self.window_s) or not self.window_s,
            "open_s": not is_number(self.open_s) or not self.open_s,
            "probes": not is_count(self.probes),
        }
        refuse_faults(
            "breaker",
            self,
            faults,
            hint="error_rate must be between 0 and 1, counts 1 or more, times more than 0 seconds.",
        )


class Breaker:
    """The breaker of one target. Times are seconds of any one clock.

    Every call that `admit` lets through ends in `record` or, cancelled, in `forget`, with the number that it got.
    """

    __slots__ = ("_failures", "_opened_at", "_probing", "_recent", "_round", "_succeeded", "config")

    def __init__(self, config: CircuitBreaker) -> None:
        self.config = config
        self._recent: deque[tuple[float, bool]] = deque()
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = 0
        self._succeeded = 0
        self._round = 0

    def state(self, now: float) -> BreakerState:
        """Return ``"closed"``, ``"open"``, or ``"half-open"`` once probes may go."""
        if self._opened_at is None:
            return _CLOSED
        return _OPEN if now < self.probed_from else _HALF_OPEN

    @property
    def probed_from(self) -> float:
        """When probes may go; meaningless while it is closed."""
        return (self._opened_at or 0.0) + self.config.open_s

    def admit(self, now: float) -> int | None:
        """Return the number of the round that a call belongs to, None when the target is to be passed over."""
        if self._opened_at is not None:
            if now < self.probed_from or self._probing + self._succeeded >= self.config.probes:
                return None
            self._probing += 1
        return self._round

    def record(self, admitted: int, now: float, *, failed: bool) -> None:
        """Note how a call ended. One that began before the last change of state says nothing any more."""
        if admitted != self._round:
            return
        if self._opened_at is None:
            self._count(now, failed=failed)
            return
        self._probing -= 1
        if failed:
            self._change(now)
            return
        self._succeeded += 1
        if self._succeeded >= self.config.probes:
            self._change(None)

    def forget(self, admitted: int) -> None:
        """Give back the place of a call that was cancelled."""
        if admitted == self._round and self._opened_at is not None:
            self._probing -= 1

    def _count(self, now: float, *, failed: bool) -> None:
        recent = self._recent
        recent.append((now, failed))
        self._failures += failed
        while recent[0][0] <= now - self.config.window_s:
            self._failures -= recent.popleft()[1]
        if failed and len(recent) >= self.config.min_calls and self._failures >= self.config.error_rate * len(recent):
            self._change(now)

    def _change(self, opened_at: float | None) -> None:
        self._opened_at = opened_at
        self._recent.clear()
        self._failures = self._probing = self._succeeded = 0
        self._round += 1
