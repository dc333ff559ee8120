"""Decisions about failing calls: retries, limits, breakers, failover. Pure: clock and randomness are arguments."""

from __future__ import annotations

from .breaker import Breaker, CircuitBreaker
from .continuation import Continuation
from .failover import Failover, Hedge, Target
from .limits import Limits, Timeouts
from .pacing import Pace
from .quota import RetryQuota
from .rate_limit import RateLimit, RateStore, RateWindow
from .retry import NO_RETRY, AdaptiveRetry, RetryPolicy, StandardRetry

__all__ = [
    "NO_RETRY",
    "AdaptiveRetry",
    "Breaker",
    "CircuitBreaker",
    "Continuation",
    "Failover",
    "Hedge",
    "Limits",
    "Pace",
    "RateLimit",
    "RateStore",
    "RateWindow",
    "RetryPolicy",
    "RetryQuota",
    "StandardRetry",
    "Target",
    "Timeouts",
]
