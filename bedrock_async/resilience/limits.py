"""The limits of a client: seconds and bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..errors import InvalidRequestError
from ._numbers import is_count, is_number

INFERENCE_TOTAL_S: Final = 3600.0
"""An answer may take the model an hour; botocore's 60 seconds cut long ones off."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds; None is without limit, but for ``connect_s``, which must have one.

    ``connect_s`` and ``first_event_s`` count for each attempt, ``idle_s`` between two pieces of an open stream (only
    while the stream is being read), ``total_s`` over all attempts of a call, and of a stream until its first event.
    """

    connect_s: float = 10.0
    first_event_s: float | None = 300.0
    idle_s: float | None = 300.0
    total_s: float | None = INFERENCE_TOTAL_S

    def __post_init__(self) -> None:
        """Refuse what can never be met."""
        for name in ("connect_s", "first_event_s", "idle_s", "total_s"):
            seconds: object = getattr(self, name)
            if seconds is None and name != "connect_s":
                continue
            if not is_number(seconds) or seconds == 0:
                raise InvalidRequestError(
                    f"timeouts.{name} is {seconds!r}; it must be more than 0 seconds.",
                    path=f"timeouts.{name}",
                    hint="Connecting needs a limit." if name == "connect_s" else "Use None for no limit.",
                )


@dataclass(frozen=True, slots=True)
class Limits:
    """How much to take: bytes of one response body that is read whole, and connections at once.

    ``max_connections`` None means min(1000, soft limit of open files - 64).
    """

    max_response_bytes: int = 64 * 1024 * 1024
    max_connections: int | None = None

    def __post_init__(self) -> None:
        """Refuse what can never be met."""
        counts: dict[str, object] = {"max_response_bytes": self.max_response_bytes}
        if self.max_connections is not None:
            counts["max_connections"] = self.max_connections
        for name, count in counts.items():
            if not is_count(count):
                raise InvalidRequestError(
                    f"limits.{name} is {count!r}; it must be a whole number, 1 or more.",
                    path=f"limits.{name}",
                    hint="Leave it out for the default.",
                )
