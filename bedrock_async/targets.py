"""The target loop: one call, and the places that can answer it, in their order or two at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Generic, TypeVar

import anyio
import msgspec

from .auth import Authenticator, authenticator_of_api_key, authenticator_of_credentials
from .calls import CANCELLED, TIMED_OUT, Call, Inference, Line, OpenStream, too_late
from .errors import BedrockError
from .events import Event
from .resilience import Breaker, Failover, Target, Timeouts
from .resilience.failover import HedgeBudget, Latencies, escalates, speaks_against_target
from .transport import Endpoint
from .types import Attempt

T = TypeVar("T")

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


class Place(msgspec.Struct, frozen=True):
    """Where a target is: what is not its own is None, and the client's."""

    target: Target
    region: str | None = None
    endpoint: Endpoint | None = None
    authenticator: Authenticator | None = None

    def line(self, line: Line) -> Line:
        """Return the line of a client as it leads there."""
        if self.region is None and self.endpoint is None and self.authenticator is None:
            return line
        return replace(
            line,
            region=self.region or line.region,
            endpoint=self.endpoint or line.endpoint,
            authenticator=self.authenticator or line.authenticator,
        )


class _State(msgspec.Struct):
    """What is known of a target: whether it answers, and how fast."""

    place: Place
    breaker: Breaker | None
    latencies: Latencies = msgspec.field(default_factory=Latencies)

    def admit(self, now: float) -> int | None:
        return 0 if self.breaker is None else self.breaker.admit(now)


class Way(msgspec.Struct):
    """One call on its way to one target."""

    inference: Inference
    call: Call


class Answer(msgspec.Struct, Generic[T]):
    """What a target has answered, and which one; the attempts are those of all targets."""

    value: T
    way: Way


Ask = Callable[[Way], Awaitable[T]]


class _Outcome(msgspec.Struct, Generic[T]):
    """How asking one target ended."""

    way: Way | None = None
    value: tuple[T] | None = None
    failure: Exception | None = None
    escalates: bool = False


class TargetLoop:
    """Asks the targets of a client; their breakers and latencies are known to all its calls. Clock in seconds."""

    def __init__(self, failover: Failover, places: Sequence[Place], *, clock: Callable[[], float]) -> None:
        self.hedge = None if failover.hedge is None else HedgeBudget(failover.hedge)
        self.clock = clock
        self._states = [
            _State(place, None if failover.breaker is None else Breaker(failover.breaker)) for place in places
        ]

    async def ask(
        self, call: Call, aim: Callable[[Place], Way], ask: Ask[T], *, discard: Callable[[T], object] | None = None
    ) -> Answer[T]:
        """Return the answer of the first target that gives one, within ``total_s`` over all of them.

        ``call`` has the limits and the policy; each target gets a call of its own by ``aim``. ``discard`` lets go of an
        answer that nobody wants any more. Cancelling cancels whatever is under way. Raises as the last target did.
        """
        attempt = _Asking(self, call, aim, ask, discard)
        total_s = call.timeouts.total_s
        try:
            async with asyncio.timeout(total_s) as attempt.limit:
                answer = await attempt.run()
        except BedrockError as exc:
            exc.attempts = attempt.attempts()
            raise
        except TimeoutError as exc:
            if total_s is None or attempt.limit is None or not attempt.limit.expired():
                raise
            raise too_late(total_s, attempt.attempts()) from exc
        answer.way.call.attempts = list(attempt.attempts())
        return answer

    # -- for _Asking

    def admitted(self, asked: Callable[[], object]) -> Iterator[tuple[_State, int | None]]:
        """Yield the targets that are worth asking, in order; the first one when in the end nobody was ``asked``."""
        for state in self._states:
            admitted = state.admit(self.clock())
            if admitted is not None:
                yield state, admitted
        if not asked():
            yield self._states[0], None


class _Asking(Generic[T]):
    """One call through the loop."""

    def __init__(
        self,
        loop: TargetLoop,
        call: Call,
        aim: Callable[[Place], Way],
        ask: Ask[T],
        discard: Callable[[T], object] | None,
    ) -> None:
        self._loop = loop
        self._limits = call
        self._aim = aim
        self._ask = ask
        self._discard = discard
        self._ways: list[Way] = []
        self._wrong: dict[str, BedrockError] = {}
        """The targets that this call cannot be sent to, and why."""
        self.limit: asyncio.Timeout | None = None
        """The time of the whole call."""

    def attempts(self) -> tuple[Attempt, ...]:
        """Return the attempts at all targets in the order in which they began."""
        every = [attempt for way in self._ways for attempt in way.call.attempts]
        every.sort(key=lambda attempt: attempt.started_at or _LONG_AGO)
        return tuple(msgspec.structs.replace(each, number=number) for number, each in enumerate(every, 1))

    async def run(self) -> Answer[T]:
        """Ask one target after the other."""
        targets = self._loop.admitted(lambda: self._ways)
        hedge = self._loop.hedge
        if hedge is not None:
            hedge.called()
        failure: Exception | None = None
        for state, admitted in targets:
            delay_s = None if hedge is None else hedge.delay_s(state.latencies)
            if delay_s is None:
                outcome = await self._outcome(state, admitted)
            else:
                outcome = await self._race(state, admitted, targets, delay_s)
            if outcome.value is not None and outcome.way is not None:
                return Answer(outcome.value[0], outcome.way)
            # What is wrong with a target is no reason to hide what happened at another.
            if failure is None or outcome.way is not None:
                failure = outcome.failure
            if not outcome.escalates:
                break
        assert failure is not None, "there is always a target"  # noqa: S101
        for target, fault in self._wrong.items():
            if fault is not failure:
                failure.add_note(f"The target {target!r} was not asked: {fault}")
        raise failure

    async def _outcome(self, state: _State, admitted: int | None) -> _Outcome[T]:
        """Ask one target; its breaker is told what that says of it. One that is wrong for the call is not asked."""
        clock, breaker = self._loop.clock, state.breaker
        failed: bool | None = None
        way: Way | None = None
        started = clock()
        try:
            try:
                way = self._aim(state.place)
            except BedrockError as exc:
                self._wrong.setdefault(state.place.target.label, exc)
                return _Outcome(failure=exc, escalates=True)
            self._ways.append(way)
            value = await self._ask(way)
        except BedrockError as exc:
            failed = speaks_against_target(exc)
            wanted = bool(getattr(self._limits.retry, "retry_timeouts", False))
            return _Outcome(way, failure=exc, escalates=escalates(exc, retry_timeouts=wanted))
        except Exception as exc:  # noqa: BLE001 - raised by `run`; out of a task group it would come as a group
            return _Outcome(way, failure=exc)
        except asyncio.CancelledError:
            late = self.limit is not None and self.limit.expired()
            if way is not None:
                way.call.cut(TIMED_OUT if late else CANCELLED)
                failed = True if late and self._took_too_long(way, clock() - started) else None
            raise
        else:
            failed = False
            state.latencies.add(clock() - started)
            return _Outcome(way, value=(value,))
        finally:
            if breaker is not None and admitted is not None:
                if failed is None:
                    breaker.forget(admitted)
                else:
                    breaker.record(admitted, clock(), failed=failed)

    def _took_too_long(self, way: Way, seconds: float) -> bool:
        """Return whether it was this target that used up the time of the call: half of it, and without an answer."""
        total_s, attempts = self._limits.timeouts.total_s, way.call.attempts
        # One that still waits for its turn, or that a slow one left little time, has done nothing wrong.
        return total_s is not None and seconds >= total_s / 2 and bool(attempts) and attempts[-1].code is not None

    async def _race(
        self, state: _State, admitted: int | None, others: Iterator[tuple[_State, int | None]], delay_s: float
    ) -> _Outcome[T]:
        """Ask one target, and the next one beside it when the first takes longer than ``delay_s``.

        The first answer ends the other one at once. So does a failure of the first target that no other can mend; the
        second was asked for company, and its failure ends nothing.
        """
        outcomes: list[_Outcome[T]] = []
        running = 1
        try:
            async with anyio.create_task_group() as group:

                async def first() -> None:
                    outcome = await self._outcome(state, admitted)
                    ended(outcome, decides=not outcome.escalates)

                async def second() -> None:
                    nonlocal running
                    await self._limits.line.sleep(delay_s)
                    hedge = self._loop.hedge
                    if hedge is None or not hedge.ready:
                        return
                    found = next(others, None)
                    if found is None:
                        return
                    hedge.take()
                    running += 1
                    ended(await self._outcome(*found), decides=False)

                def ended(outcome: _Outcome[T], *, decides: bool) -> None:
                    nonlocal running
                    running -= 1
                    outcomes.append(outcome)
                    if outcome.value is not None or decides or running == 0:
                        group.cancel_scope.cancel()

                group.start_soon(first)
                group.start_soon(second)
        except BaseException:
            self._let_go(outcomes, None)
            raise
        best = next((outcome for outcome in outcomes if outcome.value is not None), None)
        best = best or next((outcome for outcome in outcomes if not outcome.escalates), None)
        best = best or next((outcome for outcome in reversed(outcomes) if outcome.way is not None), outcomes[-1])
        self._let_go(outcomes, best)
        return best

    def _let_go(self, outcomes: Sequence[_Outcome[T]], best: _Outcome[T] | None) -> None:
        for outcome in outcomes:
            if outcome is not best and outcome.value is not None and self._discard is not None:
                self._discard(outcome.value[0])


def close_stream(stream: OpenStream[Event]) -> None:
    """Let go of a stream that nobody reads."""
    if stream.response is not None:
        stream.response.abort()


def call_of(call: Call, line: Line, target: str) -> Call:
    """Return a call like ``call`` to another place; how long all of them take together is not its business."""
    timeouts: Timeouts = replace(call.timeouts, total_s=None)
    return Call(line, timeouts, call.retry, call.large, spent=call.spent, target=target)


def place_of(target: Target, *, region: str, resolve: Callable[..., Endpoint]) -> Place:
    """Return where a target is, for a client of ``region``; ``resolve`` is `resolve_endpoint` as the client has it.

    A region of its own has the endpoint that a client of that region would have. Raises InvalidRequestError.
    """
    elsewhere = target.region if target.region != region else None
    endpoint = None
    if elsewhere is not None or target.endpoint_url is not None:
        endpoint = resolve(target.region or region, endpoint_url=target.endpoint_url)
    authenticator = None
    if target.api_key is not None:
        authenticator = authenticator_of_api_key(target.api_key)
    elif target.credentials is not None:
        authenticator = authenticator_of_credentials(target.credentials)
    return Place(target, elsewhere, endpoint, authenticator)
