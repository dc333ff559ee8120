"""How much may be sent to a model in a minute and at once: the numbers, and what was sent. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import floor, inf, isfinite
from typing import Final, Protocol, cast

from ..errors import InvalidRequestError
from ._numbers import is_count

MINUTE_S: Final = 60.0
BACK_OFF: Final = 0.7
"""What is left of the limits after the service has throttled."""
LEAST_SHARE: Final = 0.1
RECOVERY_PER_S: Final = 0.1 / MINUTE_S
"""By how much the share grows again: a tenth of the limits in a minute."""
_SLACK_S: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """What may go to one model, as its quotas have it. None means no limit; one of the first three is needed.

    - ``requests_per_minute``, ``tokens_per_minute``: in any 60 seconds. A call reserves the estimate for its input plus
      ``max_tokens`` times ``burndown``, and is settled with what the service reports.
    - ``max_in_flight``: calls and streams at once, until the answer or the stream has ended.
    - ``max_queue``: how many may wait; the next one gets QueueFullError. 0 lets no call wait.
    - ``burndown``: how many tokens an output token counts for; None for what is known of the model (5 for Claude from
      3.7 on, else 1).
    - ``adaptive``: after a throttling only 0.7 of the limits apply, growing back by a tenth per minute.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_in_flight: int | None = None
    max_queue: int = 1_000
    burndown: float | None = None
    adaptive: bool = True

    def __post_init__(self) -> None:
        """Refuse what can never be met."""
        limits = ("requests_per_minute", "tokens_per_minute", "max_in_flight")
        for name, least in (*((name, 1) for name in limits), ("max_queue", 0)):
            count: object = getattr(self, name)
            if count is None and least:
                continue
            if not is_count(count, least=least):
                raise InvalidRequestError(
                    f"rate_limit.{name} is {count!r}; it must be a whole number, {least} or more.",
                    path=f"rate_limit.{name}",
                    hint="Leave it out for no limit." if least else "0 lets no call wait.",
                )
        burndown = cast("object", self.burndown)
        if burndown is not None and not (
            isinstance(burndown, int | float) and burndown >= 0 and isfinite(burndown) and burndown is not True
        ):
            raise InvalidRequestError(
                f"rate_limit.burndown is {burndown!r}; it must be a number, 0 or more.", path="rate_limit.burndown"
            )
        if all(getattr(self, name) is None for name in limits):
            raise InvalidRequestError(
                "the rate limit limits nothing.",
                path="rate_limit",
                hint="Pass RateLimit(requests_per_minute=100, tokens_per_minute=200_000), or max_in_flight=.",
            )


def limit_of(limits: Mapping[str, RateLimit], *names: str | None) -> RateLimit | None:
    """Return the limit of the pattern that fits one of the names best: most characters that are no ``*``."""
    fitting = [pattern for pattern in limits if any(name and fnmatchcase(name, pattern) for name in names)]
    best = max(fitting, key=lambda pattern: len(pattern.replace("*", "")), default=None)
    return None if best is None else limits[best]


def checked_limits(limits: object) -> Mapping[str, RateLimit]:
    """Return patterns of model ids with their limits; one limit is for each model. Raises InvalidRequestError."""
    kind = type(limits).__name__
    if isinstance(limits, RateLimit):
        return {"*": limits}
    if isinstance(limits, Mapping):
        table = cast("Mapping[object, object]", limits)
        if table and all(isinstance(key, str) and isinstance(value, RateLimit) for key, value in table.items()):
            return cast("Mapping[str, RateLimit]", {**table})
    raise InvalidRequestError(
        f"rate_limit is a {kind}, not a RateLimit or a mapping of model ids to them.",
        path="rate_limit",
        hint='Pass RateLimit(requests_per_minute=100), {"*claude*": RateLimit(...)}, or a RateLimiter.',
    )


class RateStore(Protocol):
    """Keeps what was sent: in this process, or in a place that several share.

    ``key`` names account, region and model; ``lease`` one attempt, and is never used twice.
    """

    async def admit(self, key: str, limit: RateLimit, lease: str, tokens: int) -> float:
        """Reserve and return 0.0, or return after how many seconds to ask again.

        ``math.inf`` says that only a `finish` in this process makes room. When cancelled, it has reserved nothing, or
        frees it again.
        """
        ...

    def finish(self, key: str, limit: RateLimit, lease: str, tokens: int | None, *, throttled: bool) -> None:
        """Free the place of an attempt that has ended, and count ``tokens`` for it; None leaves the reservation.

        Called once for each lease that was admitted, also from finalisers: it neither waits nor raises.
        """
        ...


class _Lease:
    """One attempt: when it was admitted, and what it counts."""

    __slots__ = ("admitted_at", "tokens")

    def __init__(self, admitted_at: float, tokens: int) -> None:
        self.admitted_at = admitted_at
        self.tokens = tokens


class RateWindow:
    """What was sent to one model in the last 60 seconds, and what is under way. Times are seconds of any one clock."""

    __slots__ = ("_backed_off_at", "_leases", "_recent", "_share", "_share_at", "in_flight", "tokens")

    def __init__(self) -> None:
        self.in_flight = 0
        self.tokens = 0
        """Tokens that count in these 60 seconds."""
        self._recent: deque[_Lease] = deque()
        self._leases: dict[str, _Lease] = {}
        self._share = 1.0
        self._share_at = 0.0
        self._backed_off_at = -inf

    @property
    def requests(self) -> int:
        """Requests that count in these 60 seconds."""
        return len(self._recent)

    def empty(self, now: float) -> bool:
        """Return whether it says no more than a new one: nothing under way, nothing that counts, the whole share."""
        self._forget(now)
        return not (self._recent or self._leases) and self.share(now) >= 1.0

    def share(self, now: float) -> float:
        """Return how much of the limits counts at the moment: 1.0, and less after a throttling."""
        return min(1.0, self._share + (now - self._share_at) * RECOVERY_PER_S)

    def admit(self, limit: RateLimit, lease: str, tokens: int, now: float) -> float:
        """Reserve and return 0.0, or return after how many seconds to ask again (`RateStore.admit`).

        A request of more tokens than the limit goes when nothing else is counted: otherwise it would never go.
        """
        self._forget(now)
        share = self.share(now)
        if limit.max_in_flight is not None and self.in_flight >= max(1, floor(limit.max_in_flight * share)):
            return self._place_wait_s(limit.max_in_flight, share)
        wait_s = 0.0
        if limit.requests_per_minute is not None:
            over = len(self._recent) + 1 - max(1, floor(limit.requests_per_minute * share))
            if over > 0:
                wait_s = self._recent[over - 1].admitted_at + MINUTE_S - now
        if limit.tokens_per_minute is not None:
            most = max(1, floor(limit.tokens_per_minute * share))
            tokens = min(tokens, most)
            wait_s = max(wait_s, self._tokens_wait_s(self.tokens + tokens - most, now))
        if wait_s > 0:
            return max(wait_s, _SLACK_S)
        self._leases[lease] = entry = _Lease(now, tokens)
        self._recent.append(entry)
        self.tokens += tokens
        self.in_flight += 1
        return 0.0

    def finish(self, limit: RateLimit, lease: str, tokens: int | None, now: float, *, throttled: bool) -> None:
        """Free the place of an attempt, and count ``tokens`` for it; None leaves the reservation."""
        entry = self._leases.pop(lease, None)
        if entry is None:
            return
        self._forget(now)
        self.in_flight -= 1
        if tokens is not None and now < entry.admitted_at + MINUTE_S:
            self.tokens += tokens - entry.tokens
            entry.tokens = tokens
        # A hundred attempts that are throttled together are one sign, not a hundred.
        if throttled and limit.adaptive and entry.admitted_at > self._backed_off_at:
            self._share = max(LEAST_SHARE, self.share(now) * BACK_OFF)
            self._share_at = self._backed_off_at = now

    def _place_wait_s(self, most: int, share: float) -> float:
        """Return when the share has grown so far that there is one more place, `inf` when all of them are taken."""
        if self.in_flight >= most:
            return inf
        return max(((self.in_flight + 1) / most - share) / RECOVERY_PER_S, _SLACK_S)

    def _tokens_wait_s(self, over: int, now: float) -> float:
        for entry in self._recent:
            if over <= 0:
                break
            over -= entry.tokens
            if over <= 0:
                return entry.admitted_at + MINUTE_S - now
        return 0.0

    def _forget(self, now: float) -> None:
        recent = self._recent
        while recent and recent[0].admitted_at + MINUTE_S <= now:
            self.tokens -= recent.popleft().tokens
