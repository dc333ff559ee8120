"""Cancelling at every single await: whatever a call was doing, nothing of it stays behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pytest
from typing_extensions import override
from virtual_time import now, run_virtually

from bedrock_async import (
    AdaptiveRetry,
    BedrockClient,
    BedrockError,
    CircuitBreaker,
    ConnectionLostError,
    Continuation,
    Credentials,
    Failover,
    Hedge,
    JSONValue,
    RateLimit,
    RateLimiter,
    StandardRetry,
    Target,
)
from bedrock_async.errors import service_error
from bedrock_async.resilience import Breaker
from bedrock_async.testing.canned import CannedResponse, CannedTransport, Piece
from bedrock_async.testing.frames import exception_frame, stream_bytes
from bedrock_async.transport import WireRequest, WireResponse

MODEL: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
STREAM_TYPE: Final = {"content-type": "application/vnd.amazon.eventstream"}
DOWN: Final = service_error("ServiceUnavailableException", "down")
TARGETS: Final = (Target(region="us-east-1"), Target(region="us-west-2"))
EVENTS: Final[list[dict[str, JSONValue]]] = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hello."}}},
    {"contentBlockStop": {"contentBlockIndex": 0}},
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}, "metrics": {"latencyMs": 4}}},
]
REPLY: Final = json.dumps({"output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}}}).encode()


class Slow(CannedResponse):
    """Lets the loop turn before each piece."""

    @override
    async def receive(self) -> bytes:
        try:
            await asyncio.sleep(0)
            return await super().receive()
        except BaseException:
            self.abort()
            raise


class SlowTransport(CannedTransport):
    """Lets the loop turn before each answer, after ``before_s`` seconds, and keeps all that it gave out."""

    def __init__(self, answers: list[Callable[[], CannedResponse | BedrockError]], before_s: float) -> None:
        super().__init__([])
        self._makers = answers
        self._before_s = before_s
        self.given: list[CannedResponse] = []

    @override
    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        self.requests.append(request)
        await asyncio.sleep(self._before_s)
        make = self._makers.pop(0) if len(self._makers) > 1 else self._makers[0]
        answer = make()
        await asyncio.sleep(0)
        if isinstance(answer, BedrockError):
            raise answer
        self.given.append(answer)
        return answer


def whole() -> CannedResponse:
    """Return an answer in two pieces."""
    return Slow([REPLY[:20], REPLY[20:]])


def stream(*then: Piece) -> CannedResponse:
    """Return a stream in pieces, or its beginning and what comes then."""
    if then:
        return Slow([stream_bytes(EVENTS[:2]), *then], headers=STREAM_TYPE)
    return Slow([stream_bytes([event]) for event in EVENTS], headers=STREAM_TYPE)


def throttled() -> BedrockError:
    """Return a refusal."""
    return service_error("ThrottlingException", "slow down")


@dataclass
class Case:
    """A way that a call can go."""

    answers: list[Callable[[], CannedResponse | BedrockError]]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    before_s: float = 0.0


BROKEN: Final = exception_frame("modelStreamErrorException", "Broken.")
LIMITED: Final = {"rate_limit": RateLimit(max_in_flight=1, tokens_per_minute=10**9)}
FAILOVER: Final = {"targets": Failover(TARGETS, breaker=CircuitBreaker(min_calls=1, open_s=1.0))}
HEDGED: Final = {"targets": Failover(TARGETS, hedge=Hedge(after_s=1.0, max_share=1.0)), **LIMITED}
CASES: Final = {
    "converse": Case([whole]),
    "converse, retried": Case([throttled, lambda: ConnectionLostError("gone", sent=True), whole]),
    "converse, limited": Case([throttled, whole], LIMITED),
    "converse, adaptive": Case([throttled, throttled, whole], {"retry": AdaptiveRetry}),
    "converse, failing over": Case([lambda: DOWN, lambda: DOWN, lambda: DOWN, whole], {**FAILOVER, **LIMITED}),
    "converse, hedged": Case([whole], HEDGED, before_s=3.0),
    "stream": Case([stream]),
    "stream, limited": Case([throttled, stream], LIMITED),
    "stream, failing over": Case([lambda: DOWN, lambda: DOWN, lambda: DOWN, stream], {**FAILOVER, **LIMITED}),
    "stream, hedged": Case([stream], HEDGED, before_s=3.0),
    "stream, going on": Case(
        [lambda: stream(BROKEN), stream], {"settings": {"continuation": Continuation()}, **LIMITED}
    ),
}
MOST_TURNS: Final = 300


async def cancelled_after(turns: int, name: str) -> bool:
    """Cancel a call after so many turns of the loop, and look around; return whether it was still under way."""
    case = CASES[name]
    transport = SlowTransport(list(case.answers), case.before_s)
    options: dict[str, Any] = {"retry": StandardRetry(base_delay_s=1.0), **case.options}
    if options["retry"] is AdaptiveRetry:
        options["retry"] = AdaptiveRetry()  # a new pace each time
    limiter = None
    if "rate_limit" in options:
        limiter = options["rate_limit"] = RateLimiter(options["rate_limit"], clock=now)
    client = BedrockClient(
        region="us-east-1", transport=transport, credentials=Credentials("AKIDEXAMPLE", "secret"), **options
    )
    client._line = replace(client._line, clock=now)
    loop = None if client._routing is None else client._routing._targets
    if loop is not None:
        loop.clock = now

    async def call() -> str:
        if name.startswith("converse"):
            return (await client.converse(MODEL, "Hi.")).text
        return (await client.stream(MODEL, "Hi.").get_final_response()).text

    task = asyncio.ensure_future(call())
    for _ in range(turns):
        await asyncio.sleep(0)
        _skip_idle_time()
    under_way = not task.done()
    task.cancel()
    if under_way:
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        assert task.result().startswith("Hello.")
    assert asyncio.all_tasks() == {asyncio.current_task()}, "no task is left"
    assert all(each.aborted or each.finished for each in transport.given), "no response is left open"
    if limiter is not None:
        store: Any = limiter._store
        assert limiter.waiting() == 0
        assert [window.in_flight for window in store._windows.values() if window.in_flight] == []
    if loop is not None:
        breakers: list[Breaker | None] = [state.breaker for state in loop._states]
        assert [breaker._probing for breaker in breakers if breaker is not None] == [0] * len(breakers)
    return under_way


def _skip_idle_time() -> None:
    """Go on to the next timer where everybody waits for one, so that no turn is passed over."""
    loop: Any = asyncio.get_running_loop()
    if not loop._ready and loop._scheduled:
        loop.now = max(loop.now, loop._scheduled[0].when())


@pytest.mark.parametrize("name", CASES)
def test_cancelling_leaves_nothing_behind(name: str) -> None:
    """At whichever turn of the loop: no task, no open response, no place of a rate limit, no probe of a breaker."""
    steps = 0
    while run_virtually(cancelled_after(steps, name)):
        steps += 1
        assert steps < MOST_TURNS, "the call never ends"
    assert steps > 3
