"""Rate limits that processes share through Redis: `RedisRateStore` is the ``store`` of a `RateLimiter`."""

from __future__ import annotations

from .store import RateStoreError, RedisRateStore

__all__ = ["RateStoreError", "RedisRateStore"]
