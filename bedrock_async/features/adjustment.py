"""What was changed in a request on its way to the service."""

from __future__ import annotations

import msgspec


class Adjustment(msgspec.Struct, frozen=True):
    """One change of a request: the rule, the place in the request as it was given, and what was done there."""

    rule: str
    path: str
    change: str

    def __str__(self) -> str:
        """Return the line of `ResponseMeta.adjustments`."""
        return f"{self.path}: {self.change} ({self.rule})"
