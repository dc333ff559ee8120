"""Where a call may go instead: targets in order, and when two of them are asked at once. Pure."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Final, cast

from .._error import a_kind
from ..errors import BedrockError, FirstEventTimeoutError, InvalidRequestError, ServiceError
from .breaker import CircuitBreaker

if TYPE_CHECKING:
    from ..auth import ApiKey, ApiKeyProvider, Credentials, CredentialsProvider

_KEPT: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A place that can answer a call. What is left out is taken from the client or the call.

    - ``model``: replaces the call's model: an id, a profile (``"eu.anthropic..."``) or an ARN; ``provider``: replaces
      its provider.
    - ``region``: where requests go and what they are signed for; ``endpoint_url``: another endpoint there.
    - ``credentials``, ``api_key``: for another account, or a key of that region; at most one of the two.
    - ``name``: what it is called on the response; by default made from the rest.
    """

    region: str | None = None
    model: str | None = None
    provider: str | None = None
    endpoint_url: str | None = None
    credentials: Credentials | CredentialsProvider | None = field(default=None, repr=False)
    api_key: str | ApiKey | ApiKeyProvider | None = field(default=None, repr=False)
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no text."""
        for name in ("region", "model", "provider", "endpoint_url", "name"):
            value: object = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise InvalidRequestError(
                    f"the {name} of a target is {value!r}.", path=f"targets.{name}", hint="Pass text, or leave it out."
                )
        if self.credentials is not None and self.api_key is not None:
            raise InvalidRequestError(
                "a target has both credentials and an API key.", path="targets.api_key", hint="Pass one of them."
            )

    @property
    def label(self) -> str:
        """What it is called on the response."""
        parts = (self.provider, self.model, self.region, self.endpoint_url)
        return self.name or " ".join(part for part in parts if part) or "primary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """When the next target is asked beside the one that is slow: the first answer counts, the other is cancelled.

    After ``after_s`` seconds; with ``percentile`` (0.95) after the time within which that share of the target's last
    200 answers came (their first events, of streams), once there are ``min_answers`` of them, and until then after
    ``after_s``, or never without it. At most ``max_share`` of the calls are hedged: a slow service is not asked twice
    for everything. What the loser had done by then may be billed.
    """

    after_s: float | None = None
    percentile: float | None = None
    min_answers: int = 20
    max_share: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values with which nothing would ever be hedged."""
        wrong = None
        if self.after_s is None and self.percentile is None:
            wrong = ("hedge has neither after_s nor percentile.", "hedge")
        elif self.after_s is not None and not self.after_s >= 0:
            wrong = (f"hedge.after_s is {self.after_s!r}.", "hedge.after_s")
        elif self.percentile is not None and not 0 < self.percentile < 1:
            wrong = (f"hedge.percentile is {self.percentile!r}; it must be between 0 and 1.", "hedge.percentile")
        elif not 0 < self.max_share <= 1:
            wrong = (f"hedge.max_share is {self.max_share!r}; it must be between 0 and 1.", "hedge.max_share")
        elif not 1 <= self.min_answers <= _KEPT:
            wrong = (f"hedge.min_answers is {self.min_answers!r}; 1 to {_KEPT} are kept.", "hedge.min_answers")
        if wrong is not None:
            raise InvalidRequestError(
                wrong[0], path=wrong[1], hint="Pass Hedge(after_s=2.0), or Hedge(percentile=0.95)."
            )


@dataclass(frozen=True, slots=True)
class Failover:
    """Targets, the first of which answers every call while it can, and what decides that it cannot.

    The next one is asked after a failure that is worth repeating, once the target's own retries are used up, or at once
    while a target's breaker is open. When all breakers are open, the first target is asked.
    """

    targets: Sequence[Target]
    breaker: CircuitBreaker | None = field(default_factory=CircuitBreaker)
    hedge: Hedge | None = None

    def __post_init__(self) -> None:
        """Refuse an empty list, and what is no target."""
        targets = cast("object", self.targets)
        if isinstance(targets, str) or not isinstance(targets, Sequence) or not targets:
            raise _no_targets(f"targets is {targets!r}.")
        for target in cast("Sequence[object]", targets):
            if not isinstance(target, Target):
                raise _no_targets(f"a target is {a_kind(target)}.")
        object.__setattr__(self, "targets", tuple(self.targets))


def checked_targets(targets: object) -> Failover | None:
    """Return how calls fail over; None where there is one way only. Raises InvalidRequestError."""
    if targets is None:
        return None
    failover = targets if isinstance(targets, Failover) else Failover(cast("Sequence[Target]", targets))
    return None if list(failover.targets) == [Target()] else failover


def _no_targets(fault: str) -> InvalidRequestError:
    return InvalidRequestError(
        fault, path="targets", hint='Pass targets=[Target(region="us-east-1"), Target(region="us-west-2")].'
    )


def escalates(failure: BedrockError, *, retry_timeouts: bool) -> bool:
    """Return whether another target may do better, and whether asking it is wanted."""
    return failure.retryable or (retry_timeouts and isinstance(failure, FirstEventTimeoutError))


def speaks_against_target(failure: BedrockError) -> bool | None:
    """Return whether a failure speaks against the target that was asked, as silence does; None where it tells nothing.

    A refusal by the service speaks for the target: it answers. A fault on this side says nothing either way.
    """
    if failure.retryable or isinstance(failure, FirstEventTimeoutError):
        return True
    return False if isinstance(failure, ServiceError) else None


class Latencies:
    """How long the last answers of a target took, in seconds."""

    __slots__ = ("_in_order", "_sorted")

    def __init__(self) -> None:
        self._in_order: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, seconds: float) -> None:
        """Note one; the oldest is dropped beyond 200."""
        if len(self._in_order) == _KEPT:
            self._sorted.remove(self._in_order.popleft())
        self._in_order.append(seconds)
        insort(self._sorted, seconds)

    def percentile(self, share: float) -> float:
        """Return the time within which this share of the answers came."""
        return self._sorted[max(0, ceil(share * len(self._sorted)) - 1)]

    def __len__(self) -> int:
        """Return how many are known."""
        return len(self._sorted)


class HedgeBudget:
    """How many calls were hedged of those that were made, so that it stays a small share."""

    __slots__ = ("_allowance", "_config")

    def __init__(self, config: Hedge) -> None:
        self._config = config
        self._allowance = 1.0

    def delay_s(self, answers: Latencies) -> float | None:
        """Return after how many seconds a call is to be hedged, None for never."""
        percentile = self._config.percentile
        if percentile is not None and len(answers) >= self._config.min_answers:
            return answers.percentile(percentile)
        return self._config.after_s

    def called(self) -> None:
        """Count a call."""
        # A burst after a quiet time is still a burst: not more than ten are saved up.
        self._allowance = min(10.0, self._allowance + self._config.max_share)

    @property
    def ready(self) -> bool:
        """Whether another call may be hedged."""
        return self._allowance >= 1.0

    def take(self) -> None:
        """Count a call that is hedged."""
        self._allowance -= 1.0
