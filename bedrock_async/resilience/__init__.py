"""Decisions about failing calls: retries and limits. Pure: clock and randomness are arguments."""

from __future__ import annotations

from .limits import Limits, Timeouts
from .retry import NO_RETRY, RetryPolicy, StandardRetry

__all__ = ["NO_RETRY", "Limits", "RetryPolicy", "StandardRetry", "Timeouts"]
