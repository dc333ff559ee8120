"""Decisions about failing calls: retries, limits, breakers, failover. Pure: clock and randomness are arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy

if TYPE_CHECKING:
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

_HOME = {
    ".breaker": (
        "Breaker",
        "CircuitBreaker",
    ),
    ".continuation": ("Continuation",),
    ".failover": (
        "Failover",
        "Hedge",
        "Target",
    ),
    ".limits": (
        "Limits",
        "Timeouts",
    ),
    ".pacing": ("Pace",),
    ".quota": ("RetryQuota",),
    ".rate_limit": (
        "RateLimit",
        "RateStore",
        "RateWindow",
    ),
    ".retry": (
        "NO_RETRY",
        "AdaptiveRetry",
        "RetryPolicy",
        "StandardRetry",
    ),
}
if not TYPE_CHECKING:  # see `lazy`
    __getattr__, __dir__ = lazy(__name__, _HOME)
