"""The retry quota of a client: how much it repeats while the service is down. Pure."""

from __future__ import annotations

from typing import Final

from ..errors import BedrockError, CallTimeoutError

CAPACITY: Final = 500
COST: Final = 5
TIMEOUT_COST: Final = 10
_EARNED: Final = 1
# All four: the standard mode of the AWS SDKs, as in botocore.retries.quota and .standard.


class RetryQuota:
    """What a client may still spend on repetitions; all its calls share one.

    Each repetition costs 5, one after a timeout 10. A call that succeeds gives back what its last repetition cost, one
    that needed none earns 1. Once it is used up, failures reach the caller at once, so that a service that is down is
    not flooded as well.
    """

    __slots__ = ("available", "capacity")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = self.available = capacity

    def spend(self, failure: BedrockError) -> int:
        """Take what repeating after ``failure`` costs, and return it; 0 when that much is not left."""
        cost = TIMEOUT_COST if isinstance(failure, CallTimeoutError) else COST
        if cost > self.available:
            return 0
        self.available -= cost
        return cost

    def succeeded(self, spent: int) -> None:
        """Note that a call has succeeded, whose last repetition cost ``spent``; 0 for a call without."""
        self.available = min(self.capacity, self.available + (spent or _EARNED))
