"""Targets: who answers when the first one cannot, two at once, and what is told of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import now, run_virtually

from bedrock_async import (
    AccessDeniedError,
    BedrockClient,
    BedrockError,
    CircuitBreaker,
    ClientClosedError,
    ConnectionLostError,
    Credentials,
    CredentialsError,
    Failover,
    FirstEventTimeoutError,
    Hedge,
    InvalidModelIdError,
    InvalidRequestError,
    JSONValue,
    PluginError,
    RateLimit,
    ServiceUnavailableError,
    StandardRetry,
    Target,
    ThrottlingError,
    Timeouts,
    TotalTimeoutError,
    ValidationError,
)
from bedrock_async.errors import service_error
from bedrock_async.resilience.failover import HedgeBudget, Latencies, checked_targets
from bedrock_async.targets import TargetLoop
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.transport import WireRequest, WireResponse

MODEL: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
NOVA: Final = "eu.amazon.nova-lite-v1:0"
ARN: Final = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0"
EAST, WEST, EU = "us-east-1", "us-west-2", "eu-west-1"
STREAM_TYPE: Final = {"content-type": "application/vnd.amazon.eventstream"}
DOWN: Final = service_error("ServiceUnavailableException", "down")
THROTTLED: Final = service_error("ThrottlingException", "slow down")
AT_ONCE: Final = StandardRetry(base_delay_s=0.0)
ONCE: Final = StandardRetry(max_attempts=1)
TARGETS: Final = (Target(region=EAST), Target(region=WEST), Target(region=EU))


def reply(text: str = "Hello.") -> CannedResponse:
    """Return an answer."""
    message = {"role": "assistant", "content": [{"text": text}]}
    return CannedResponse([json.dumps({"output": {"message": message}}).encode()])


def stream(text: str = "Hello.") -> CannedResponse:
    """Return a stream."""
    events: list[dict[str, JSONValue]] = [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": text}}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}, "metrics": {"latencyMs": 4}}},
    ]
    return CannedResponse.stream(events)


Answer = CannedResponse | BedrockError | asyncio.Event | float
"""What a region does: answers, fails, hangs for ever, or takes so many seconds before what comes next."""


class World:
    """A transport to several regions, each with answers of its own."""

    name = "world"

    def __init__(self, regions: Mapping[str, Sequence[Answer]]) -> None:
        self._answers = {region: list(answers) for region, answers in regions.items()}
        self.requests: list[tuple[str, WireRequest]] = []
        self.given_up: list[str] = []

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        """Answer as the region of the host does."""
        region = request.url.partition("bedrock-runtime.")[2].partition(".")[0] or request.url.split("/")[2]
        self.requests.append((region, request))
        answers = self._answers[region]
        while True:
            answer = answers.pop(0) if len(answers) > 1 or isinstance(answers[0], float) else answers[0]
            try:
                if isinstance(answer, asyncio.Event):
                    await answer.wait()
                elif isinstance(answer, float | int):
                    await asyncio.sleep(answer)
                elif isinstance(answer, BedrockError):
                    raise answer
                else:
                    return answer
            except asyncio.CancelledError:
                self.given_up.append(region)
                raise

    async def aclose(self) -> None:
        """Do nothing."""

    @property
    def asked(self) -> list[str]:
        """The regions that were asked, in order."""
        return [region for region, _ in self.requests]


def client_of(
    world: World, targets: Sequence[Target] | Failover = TARGETS, *, retry: StandardRetry = ONCE, **options: object
) -> BedrockClient:
    """Return a client of the first region."""
    keywords: dict[str, Any] = {"credentials": Credentials("AKIDEXAMPLE", "secret"), **options}
    client = BedrockClient(region=EAST, transport=world, targets=targets, retry=retry, **keywords)
    if client._routing is not None and (loop := client._routing._targets) is not None:
        loop.clock = now
    return client


def loop_of(client: BedrockClient) -> TargetLoop:
    """Return what a client knows of its targets."""
    assert client._routing is not None
    assert client._routing._targets is not None
    return client._routing._targets


def states_of(loop: TargetLoop) -> dict[str, str]:
    """Return the state of each target's breaker."""
    return {state.place.target.label: state.breaker.state(loop.clock()) for state in loop._states if state.breaker}


async def settled() -> None:
    """Let everything happen that can happen now."""
    for _ in range(20):
        await asyncio.sleep(0)


# -- in order


async def test_the_first_target_answers_while_it_can() -> None:
    """Caches stay warm: nobody else is asked, and the response says who it was."""
    world = World({EAST: [reply()], WEST: [reply("west")]})
    client = client_of(world)
    reply_ = await client.converse(MODEL, "Hi.")
    assert (reply_.text, reply_.meta.target, reply_.meta.region) == ("Hello.", EAST, EAST)
    assert [attempt.target for attempt in reply_.meta.attempts] == [EAST]
    assert world.asked == [EAST]


@pytest.mark.parametrize("verb", ["converse", "stream"])
async def test_a_failure_worth_repeating_goes_on_to_the_next(verb: str) -> None:
    """After the target's own retries; the response has every attempt with its target, and the region that answered."""
    answer = reply("west") if verb == "converse" else stream("west")
    world = World({EAST: [DOWN], WEST: [answer], EU: [DOWN]})
    client = client_of(world, retry=StandardRetry(max_attempts=2, base_delay_s=0.0))
    if verb == "converse":
        response = await client.converse(MODEL, "Hi.")
    else:
        response = await client.stream(MODEL, "Hi.").get_final_response()
    assert response.text == "west"
    assert (response.meta.target, response.meta.region) == (WEST, WEST)
    assert [(each.number, each.target, each.code) for each in response.meta.attempts] == [
        (1, EAST, "ServiceUnavailableException"),
        (2, EAST, "ServiceUnavailableException"),
        (3, WEST, None),
    ]
    assert all(each.started_at is not None for each in response.meta.attempts)
    (_, request) = world.requests[-1]
    assert f"/{WEST}/bedrock/aws4_request" in request.headers["authorization"]


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (service_error("ValidationException", "no"), ValidationError),
        (service_error("AccessDeniedException", "no"), AccessDeniedError),
    ],
)
async def test_what_another_target_cannot_mend_is_raised(failure: BedrockError, error: type[BedrockError]) -> None:
    """A wrong request is wrong everywhere; nobody else is asked."""
    world = World({EAST: [failure], WEST: [reply()]})
    with pytest.raises(error):
        await client_of(world).converse(MODEL, "Hi.")
    assert world.asked == [EAST]


async def test_when_none_can_the_last_failure_is_raised_with_all_attempts() -> None:
    """Each attempt with its target."""
    world = World({EAST: [DOWN], WEST: [ConnectionLostError("gone", sent=True)], EU: [THROTTLED]})
    with pytest.raises(ThrottlingError) as caught:
        await client_of(world).converse(MODEL, "Hi.")
    assert [(each.target, each.code) for each in caught.value.attempts] == [
        (EAST, "ServiceUnavailableException"),
        (WEST, "ConnectionLostError"),
        (EU, "ThrottlingException"),
    ]


async def test_a_stream_fails_over_only_before_its_first_event() -> None:
    """What has been handed out is not said again by somebody else."""
    broken = CannedResponse([stream()._pieces[0][:200], DOWN], headers=STREAM_TYPE)  # type: ignore[index]
    world = World({EAST: [broken], WEST: [stream()]})
    opened = client_of(world).stream(MODEL, "Hi.")
    await anext(opened)
    with pytest.raises(ServiceUnavailableError) as caught:
        await opened.get_final_response()
    assert world.asked == [EAST]
    assert [(each.status, each.code) for each in caught.value.attempts] == [(200, "ServiceUnavailableException")]


async def test_a_target_may_be_another_model_or_another_provider() -> None:
    """The request goes out for that model, in that provider's way, and meta says so."""
    model = "us.amazon.nova-lite-v1:0"
    world = World({EAST: [DOWN, reply("nova")]})
    client = client_of(world, [Target(), Target(model=model)])
    response = await client.converse(MODEL, "Hi.", max_tokens=5)
    assert (response.text, response.meta.model, response.meta.target) == ("nova", model, model)
    assert [each.target for each in response.meta.attempts] == ["primary", model]
    assert "/model/us.amazon.nova-lite-v1%3A0/converse" in world.requests[1][1].url
    assert json.loads(world.requests[1][1].body) == json.loads(world.requests[0][1].body)


async def test_a_target_may_have_credentials_and_an_endpoint_of_its_own() -> None:
    """Another account, or an API key of that region; a name for the response."""
    world = World({EAST: [DOWN], "other.example.com": [DOWN], EU: [reply()]})
    targets = [
        Target(),
        Target(endpoint_url="https://other.example.com", credentials=Credentials("AKIDOTHER", "secret"), name="other"),
        Target(region=EU, api_key="bedrock-api-key-x"),
    ]
    response = await client_of(world, targets).converse(MODEL, "Hi.")
    assert [each.target for each in response.meta.attempts] == ["primary", "other", EU]
    headers = [request.headers["authorization"] for _, request in world.requests]
    assert "AKIDEXAMPLE" in headers[0]
    assert "AKIDOTHER" in headers[1]
    assert headers[2] == "Bearer bedrock-api-key-x"
    assert "AKIDOTHER" not in repr(targets)
    assert "api-key-x" not in repr(targets)


async def test_new_credentials_of_the_client_reach_its_targets() -> None:
    """Those that have none of their own."""
    world = World({EAST: [DOWN], WEST: [reply()]})
    client = client_of(world)
    client.credentials = Credentials("AKIDNEW", "secret")
    await client.converse(MODEL, "Hi.")
    assert all("AKIDNEW" in request.headers["authorization"] for _, request in world.requests)


def test_all_targets_share_the_deadline_of_the_call() -> None:
    """total_s is over all of them; the error has the attempts until then."""

    async def main() -> None:
        world = World({EAST: [4.0, DOWN], WEST: [4.0, DOWN], EU: [asyncio.Event()]})
        client = client_of(world, timeouts=Timeouts(total_s=10.0))
        with pytest.raises(TotalTimeoutError) as caught:
            await client.converse(MODEL, "Hi.")
        assert now() == 1_010
        assert [each.target for each in caught.value.attempts] == [EAST, WEST, EU]
        assert caught.value.attempts[-1].code == "TotalTimeoutError"
        assert world.given_up == [EU]

    run_virtually(main())


def test_a_first_event_that_does_not_come_is_not_asked_for_elsewhere_unless_wanted() -> None:
    """It may be billed twice; with retry_timeouts=True the next target is asked."""

    async def main() -> None:
        silent = [CannedResponse([asyncio.Event()], headers=STREAM_TYPE) for _ in range(2)]
        limits = Timeouts(first_event_s=5.0)
        world = World({EAST: [DOWN], WEST: [silent[0]], EU: [stream()]})
        with pytest.raises(FirstEventTimeoutError) as caught:
            await anext(client_of(world, timeouts=limits).stream(MODEL, "Hi."))
        assert [each.target for each in caught.value.attempts] == world.asked == [EAST, WEST]
        world = World({EAST: [silent[1]], WEST: [stream("west")]})
        wanted = StandardRetry(max_attempts=1, retry_timeouts=True)
        reply_ = await client_of(world, timeouts=limits, retry=wanted).stream(MODEL, "Hi.").get_final_response()
        assert reply_.text == "west"
        assert silent[0].aborted
        assert silent[1].aborted

    run_virtually(main())


async def test_targets_have_rate_limits_of_their_own() -> None:
    """A full queue is a reason to go elsewhere, and what waits in one region does not stop the other."""
    never = asyncio.Event()
    world = World({EAST: [never], WEST: [reply("west")]})
    client = client_of(world, rate_limit=RateLimit(max_in_flight=1, max_queue=0))
    first = asyncio.ensure_future(client.converse(MODEL, "Hi."))
    await settled()
    assert (await client.converse(MODEL, "Hi.")).text == "west"
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_target_of_another_account_has_quotas_of_its_own() -> None:
    """In the same region, for the same model."""
    world = World({EAST: [asyncio.Event(), reply("other")]})
    other = Target(credentials=Credentials("AKIDOTHER", "secret"), name="other")
    client = client_of(world, [Target(), other], rate_limit=RateLimit(max_in_flight=1, max_queue=0))
    first = asyncio.ensure_future(client.converse(MODEL, "Hi."))
    await settled()
    assert (await client.converse(MODEL, "Hi.")).meta.target == "other"
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


@pytest.mark.parametrize("verb", ["converse", "stream"])
async def test_cancelling_ends_the_attempt_under_way(verb: str) -> None:
    """At the first target and at the second; nobody else is asked."""
    cases: list[tuple[dict[str, list[Answer]], list[str]]] = [
        ({EAST: [asyncio.Event()], WEST: [reply()]}, [EAST]),
        ({EAST: [DOWN], WEST: [asyncio.Event()], EU: [reply()]}, [EAST, WEST]),
    ]
    for regions, asked in cases:
        world = World(regions)
        client = client_of(world)

        async def call(client: BedrockClient = client) -> object:
            if verb == "converse":
                return await client.converse(MODEL, "Hi.")
            return await anext(client.stream(MODEL, "Hi."))

        task = asyncio.ensure_future(call())
        await settled()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert world.asked == asked
        assert world.given_up == asked[-1:]


# -- the breaker


def test_a_target_that_fails_is_passed_over_and_tried_again() -> None:
    """Its breaker opens; after a while one call probes it, and when that succeeds it is the first again."""

    async def main() -> None:
        world = World({EAST: [*[DOWN] * 3, reply("east"), reply("east")], WEST: [reply("west") for _ in range(9)]})
        breaker = CircuitBreaker(min_calls=3, open_s=30.0)
        client = client_of(world, Failover(TARGETS[:2], breaker=breaker))
        loop = loop_of(client)
        for _ in range(5):
            assert (await client.converse(MODEL, "Hi.")).text == "west"
        assert world.asked == [EAST, WEST] * 3 + [WEST] * 2
        assert states_of(loop) == {EAST: "open", WEST: "closed"}
        await asyncio.sleep(30)
        assert states_of(loop)[EAST] == "half-open"
        assert (await client.converse(MODEL, "Hi.")).text == "east"
        assert states_of(loop)[EAST] == "closed"

    run_virtually(main())


def test_when_all_are_open_the_first_is_asked() -> None:
    """An answer, or at least the reason why there is none."""

    async def main() -> None:
        world = World({EAST: [DOWN], WEST: [DOWN]})
        client = client_of(world, Failover(TARGETS[:2], breaker=CircuitBreaker(min_calls=1)))
        for _ in range(3):
            with pytest.raises(ServiceUnavailableError):
                await client.converse(MODEL, "Hi.")
        assert world.asked == [EAST, WEST, EAST, EAST]

    run_virtually(main())


def test_refusals_do_not_open_it_and_cancelled_calls_leave_no_trace() -> None:
    """A wrong request says nothing about the target; nor does a caller who does not wait."""

    async def main() -> None:
        wrong = service_error("ValidationException", "no")
        world = World({EAST: [wrong, wrong, wrong, asyncio.Event()], WEST: [reply()]})
        client = client_of(world, Failover(TARGETS[:2], breaker=CircuitBreaker(min_calls=1)))
        for _ in range(3):
            with pytest.raises(ValidationError):
                await client.converse(MODEL, "Hi.")
        task = asyncio.ensure_future(client.converse(MODEL, "Hi."))
        await settled()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        loop = loop_of(client)
        assert states_of(loop) == {EAST: "closed", WEST: "closed"}

    run_virtually(main())


def test_silence_opens_it() -> None:
    """A first event that does not come is no reason to ask twice, and one to ask somebody else the next time."""

    async def main() -> None:
        world = World({EAST: [asyncio.Event()], WEST: [stream("west")]})
        breaker = CircuitBreaker(min_calls=1, open_s=30.0)
        client = client_of(world, Failover(TARGETS[:2], breaker=breaker), timeouts=Timeouts(first_event_s=5.0))
        with pytest.raises(FirstEventTimeoutError):
            await anext(client.stream(MODEL, "Hi."))
        assert (await client.stream(MODEL, "Hi.").get_final_response()).text == "west"
        await asyncio.sleep(30)
        with pytest.raises(FirstEventTimeoutError):
            await anext(client.stream(MODEL, "Hi."))
        loop = loop_of(client)
        assert states_of(loop) == {EAST: "open", WEST: "closed"}

    run_virtually(main())


@pytest.mark.parametrize("hedge", [None, Hedge(after_s=8.0, max_share=1.0)])
def test_hanging_until_the_call_is_over_opens_it(hedge: Hedge | None) -> None:
    """Of whole answers, too: the target that had most of the time is passed over, and no other one."""

    async def main() -> None:
        world = World({EAST: [asyncio.Event()], WEST: [asyncio.Event(), reply("west")]})
        failover = Failover(TARGETS[:2], breaker=CircuitBreaker(min_calls=1), hedge=hedge)
        client = client_of(world, failover, timeouts=Timeouts(total_s=10.0))
        loop = loop_of(client)
        with pytest.raises(TotalTimeoutError):
            await client.converse(MODEL, "Hi.")
        assert states_of(loop) == {EAST: "open", WEST: "closed"}
        if hedge is None:
            world._answers[WEST].pop(0)
        assert (await client.converse(MODEL, "Hi.")).text == "west"

    run_virtually(main())


def test_a_target_that_was_asked_late_is_not_blamed() -> None:
    """It had no time left to answer in: the slow one before it had it."""

    async def main() -> None:
        world = World({EAST: [8.0, DOWN], WEST: [asyncio.Event()]})
        failover = Failover(TARGETS[:2], breaker=CircuitBreaker(min_calls=1))
        client = client_of(world, failover, timeouts=Timeouts(total_s=10.0))
        with pytest.raises(TotalTimeoutError):
            await client.converse(MODEL, "Hi.")
        loop = loop_of(client)
        assert states_of(loop) == {EAST: "open", WEST: "closed"}

    run_virtually(main())


def test_what_the_caller_ends_opens_nothing() -> None:
    """A limit of the caller's own, and closing the client, however long the target has been silent."""

    async def main() -> None:
        world = World({EAST: [asyncio.Event()], WEST: [reply()]})
        failover = Failover(TARGETS[:2], breaker=CircuitBreaker(min_calls=1))
        client = client_of(world, failover, timeouts=Timeouts(total_s=10.0))
        loop = loop_of(client)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(9.0):
                await client.converse(MODEL, "Hi.")
        assert states_of(loop) == {EAST: "closed", WEST: "closed"}
        task = asyncio.ensure_future(client.converse(MODEL, "Hi."))
        await asyncio.sleep(9.0)
        await client.aclose()
        with pytest.raises(ClientClosedError):
            await task
        assert states_of(loop) == {EAST: "closed", WEST: "closed"}

    run_virtually(main())


def test_a_probe_that_says_nothing_leaves_it_open() -> None:
    """What fails on this side is no sign that the target answers again."""

    async def main() -> None:
        world = World({EAST: [DOWN, CredentialsError("none")], WEST: [reply()]})
        client = client_of(world, Failover(TARGETS[:2], breaker=CircuitBreaker(min_calls=1)))
        loop = loop_of(client)
        await client.converse(MODEL, "Hi.")
        await asyncio.sleep(30)
        with pytest.raises(CredentialsError):
            await client.converse(MODEL, "Hi.")
        assert states_of(loop)[EAST] == "half-open"

    run_virtually(main())


def test_a_probe_that_is_cancelled_is_not_the_last() -> None:
    """The next call may probe."""

    async def main() -> None:
        world = World({EAST: [DOWN, asyncio.Event(), reply("east")], WEST: [reply("west") for _ in range(5)]})
        client = client_of(world, Failover(TARGETS[:2], breaker=CircuitBreaker(min_calls=1)))
        await client.converse(MODEL, "Hi.")
        await asyncio.sleep(30)
        task = asyncio.ensure_future(client.converse(MODEL, "Hi."))
        await settled()
        assert (await client.converse(MODEL, "Hi.")).text == "west"  # one probe at a time
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.converse(MODEL, "Hi.")).text == "east"

    run_virtually(main())


# -- hedging

HEDGED: Final = Failover(TARGETS[:2], hedge=Hedge(after_s=2.0, max_share=1.0))


@pytest.mark.parametrize("verb", ["converse", "stream"])
def test_a_slow_target_gets_company(verb: str) -> None:
    """After two seconds the next one is asked as well; the first answer counts, and the other is cancelled at once."""

    async def main() -> None:
        answer = reply if verb == "converse" else stream
        world = World({EAST: [60.0, answer("east")], WEST: [1.0, answer("west")]})
        client = client_of(world, HEDGED)
        if verb == "converse":
            response = await client.converse(MODEL, "Hi.")
        else:
            response = await client.stream(MODEL, "Hi.").get_final_response()
        assert (response.text, response.meta.target, now()) == ("west", WEST, 1_003)
        assert world.given_up == [EAST]
        assert [(each.target, each.code) for each in response.meta.attempts] == [(EAST, "Cancelled"), (WEST, None)]

    run_virtually(main())


def test_a_fast_target_gets_none() -> None:
    """Nobody else is asked."""

    async def main() -> None:
        world = World({EAST: [1.9, reply("east")], WEST: [reply("west")]})
        assert (await client_of(world, HEDGED).converse(MODEL, "Hi.")).text == "east"
        assert world.asked == [EAST]

    run_virtually(main())


def test_the_first_may_still_win() -> None:
    """Then the second is cancelled."""

    async def main() -> None:
        world = World({EAST: [3.0, reply("east")], WEST: [asyncio.Event()]})
        assert (await client_of(world, HEDGED).converse(MODEL, "Hi.")).text == "east"
        assert (now(), world.given_up) == (1_003, [WEST])

    run_virtually(main())


def test_a_stream_that_came_too_late_is_closed() -> None:
    """Both open in one turn of the loop: one is read, the other one aborted."""

    async def main() -> None:
        gate = asyncio.Event()
        answers = {EAST: stream("east"), WEST: stream("west")}
        world = World({region: [gate, answers[region]] for region in (EAST, WEST)})
        client = client_of(world, HEDGED)
        opened = client.stream(MODEL, "Hi.")
        task = asyncio.ensure_future(opened.get_final_response())
        await asyncio.sleep(2.5)
        gate.set()
        response = await task
        loser = EAST if response.text == "west" else WEST
        assert {each.target for each in response.meta.attempts} == {EAST, WEST}
        assert answers[loser].aborted or world.given_up == [loser]

    run_virtually(main())


def test_a_failure_does_not_wait_for_the_hedge() -> None:
    """The next target is asked at once, as without hedging, and the failure of one does not end the other."""

    async def main() -> None:
        world = World({EAST: [1.0, DOWN], WEST: [reply("west")]})
        assert (await client_of(world, HEDGED).converse(MODEL, "Hi.")).text == "west"
        assert now() == 1_001
        world = World({EAST: [3.0, DOWN], WEST: [9.0, reply("west")]})
        assert (await client_of(world, HEDGED).converse(MODEL, "Hi.")).text == "west"
        assert now() == 1_001 + 2 + 9
        world = World({EAST: [9.0, reply("east")], WEST: [1.0, DOWN]})
        assert (await client_of(world, HEDGED).converse(MODEL, "Hi.")).text == "east"

    run_virtually(main())


def test_a_refusal_ends_both() -> None:
    """It would be one everywhere."""

    async def main() -> None:
        world = World({EAST: [3.0, service_error("ValidationException", "no")], WEST: [asyncio.Event()]})
        with pytest.raises(ValidationError):
            await client_of(world, HEDGED).converse(MODEL, "Hi.")
        assert (now(), world.given_up) == (1_003, [WEST])

    run_virtually(main())


@pytest.mark.parametrize(
    ("model", "west"), [(MODEL, service_error("AccessDeniedException", "no")), (ARN, DOWN)], ids=["refused", "wrong"]
)
def test_company_that_is_none_ends_nothing(model: str, west: BedrockError) -> None:
    """A second target that refuses the call, or that the call cannot go to, leaves the first one to its answer."""

    async def main() -> None:
        world = World({EAST: [5.0, reply("east")], WEST: [west]})
        assert (await client_of(world, HEDGED).converse(model, "Hi.")).text == "east"
        assert (now(), world.given_up) == (1_005, [])
        world = World({EAST: [5.0, DOWN], WEST: [west], EU: [reply("eu")]})
        client = client_of(world, replace(HEDGED, targets=[*TARGETS[:2], Target(region=EU, model=NOVA)]))
        if model == ARN:
            assert (await client.converse(model, "Hi.")).text == "eu"
        else:  # as without hedging, where the second is asked after the first
            with pytest.raises(AccessDeniedError):
                await client.converse(model, "Hi.")

    run_virtually(main())


def test_both_failing_goes_on_to_the_third() -> None:
    """Hedging changes when the next one is asked, not that it is."""

    async def main() -> None:
        world = World({EAST: [3.0, DOWN], WEST: [3.0, DOWN], EU: [reply("eu")]})
        client = client_of(world, replace(HEDGED, targets=TARGETS))
        response = await client.converse(MODEL, "Hi.")
        assert response.text == "eu"
        assert [each.target for each in response.meta.attempts] == [EAST, WEST, EU]

    run_virtually(main())


def test_cancelling_a_hedged_call_ends_both() -> None:
    """Whenever: while one is asked, and while two are."""

    async def main() -> None:
        for seconds, given_up in ((1.0, [EAST]), (3.0, [EAST, WEST])):
            world = World({EAST: [asyncio.Event()], WEST: [asyncio.Event()]})
            task = asyncio.ensure_future(client_of(world, HEDGED).converse(MODEL, "Hi."))
            await asyncio.sleep(seconds)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert sorted(world.given_up) == given_up

    run_virtually(main())


def test_a_fault_of_a_provider_comes_out_as_it_is() -> None:
    """No group of exceptions around it."""

    class Broken:
        name = "broken"
        interface_version = 1

        def converse(self, request: object, ctx: object) -> Any:  # noqa: ANN401
            raise ZeroDivisionError

        stream = converse

    async def main() -> None:
        client = client_of(World({}), HEDGED, providers={"broken": Broken()})
        with pytest.raises(ZeroDivisionError):
            await client.converse(MODEL, "Hi.", provider="broken")

    run_virtually(main())


def test_a_call_that_has_no_second_target_takes_nothing_of_the_share() -> None:
    """While the others are passed over nothing is hedged, and nothing is spent: afterwards it is."""

    async def main() -> None:
        world = World({EAST: [DOWN, 5.0, reply("east"), 5.0, reply("east")], WEST: [DOWN, reply("west")]})
        hedge = Hedge(after_s=2.0, max_share=0.01)  # enough for one call
        breaker = CircuitBreaker(min_calls=1, open_s=60.0)
        client = client_of(world, Failover(TARGETS[:2], breaker=breaker, hedge=hedge))
        with pytest.raises(BedrockError):
            await client.converse(MODEL, "Hi.")
        assert (await client.converse(MODEL, "Hi.")).text == "east"
        assert world.asked == [EAST, WEST, EAST]
        await asyncio.sleep(60)
        assert (await client.converse(MODEL, "Hi.")).text == "west"

    run_virtually(main())


def test_a_share_of_the_calls_is_hedged_at_most() -> None:
    """A slow service is not asked twice for everything."""

    async def main() -> None:
        slow = {region: [part for _ in range(40) for part in (9.0, reply())] for region in (EAST, WEST)}
        world = World(slow)
        client = client_of(world, replace(HEDGED, hedge=Hedge(after_s=1.0, max_share=0.25)))
        for _ in range(40):
            await client.converse(MODEL, "Hi.")
        assert 10 <= world.asked.count(WEST) <= 11

    run_virtually(main())


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_percentile_is_that_of_the_last_answers(seconds: list[float], share: float) -> None:
    """Of the last 200: so many of them came in that time, and not as many in less."""
    latencies = Latencies()
    for each in seconds:
        latencies.add(each)
    last = seconds[-200:]
    found = latencies.percentile(share)
    assert len(latencies) == len(last)
    assert found in last
    assert sum(each <= found for each in last) >= share * len(last)
    assert sum(each < found for each in last) < share * len(last)


def test_the_percentile_counts_once_enough_is_known() -> None:
    """Until then after_s, or never."""
    for hedge, before in ((Hedge(percentile=0.5, min_answers=3), None), (Hedge(percentile=0.5, after_s=9.0), 9.0)):
        latencies = Latencies()
        budget = HedgeBudget(replace(hedge, min_answers=3))
        for each in (1.0, 2.0):
            latencies.add(each)
            assert budget.delay_s(latencies) == before
        latencies.add(3.0)
        assert budget.delay_s(latencies) == 2.0


# -- arguments


def test_one_target_costs_nothing() -> None:
    """A list of the client itself is no list."""
    assert checked_targets(None) is None
    assert checked_targets([Target()]) is None
    client = client_of(World({}), [Target()])
    assert client._routing is None


@pytest.mark.parametrize("wrong", [[], "us-east-1", ["us-east-1"], 3, [Target(), None], Target()], ids=str)
def test_what_is_no_list_of_targets_is_refused(wrong: object) -> None:
    """With what to pass in its place."""
    with pytest.raises(InvalidRequestError, match="target") as caught:
        BedrockClient(region=EAST, targets=wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert caught.value.path == "targets"


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Target(region=""), InvalidRequestError),
        (lambda: Target(model=3), InvalidRequestError),  # type: ignore[arg-type]
        (lambda: Target(credentials=Credentials("a", "b"), api_key="k"), InvalidRequestError),
        (Hedge, InvalidRequestError),
        (lambda: Hedge(after_s=-1), InvalidRequestError),
        (lambda: Hedge(percentile=1.0), InvalidRequestError),
        (lambda: Hedge(after_s=1, max_share=0), InvalidRequestError),
        (lambda: Hedge(percentile=0.9, min_answers=0), InvalidRequestError),
        (lambda: client_of(World({}), [Target(), Target(provider="nowhere")]), PluginError),
        (lambda: client_of(World({}), [Target(), Target(region="EU WEST")]), InvalidRequestError),
        (
            lambda: client_of(
                World({}), [Target(region=EU, model="arn:aws:bedrock:us-east-1:123456789012:inference-profile/x")]
            ),
            InvalidModelIdError,
        ),
    ],
)
def test_targets_that_cannot_be_are_refused_at_once(make: Callable[[], object], error: type[BedrockError]) -> None:
    """When the client is made, not when it fails over."""
    with pytest.raises(error):
        make()


async def test_an_arn_of_the_first_region_cannot_fail_over_to_another() -> None:
    """The failure of the first is raised, with a note that says to give the other target a model of its own."""
    world = World({EAST: [service_error("ServiceUnavailableException", "down")], WEST: [reply()]})
    with pytest.raises(ServiceUnavailableError) as caught:
        await client_of(world, TARGETS[:2]).converse(ARN, "Hi.")
    (note,) = caught.value.__notes__
    assert "'us-west-2' was not asked" in note
    assert "Target(region=..., model=...)" in note
    assert world.asked == [EAST]


async def test_a_target_that_is_wrong_for_the_call_is_skipped() -> None:
    """The one behind it is asked; where nobody can be, the error says what is wrong with the first."""
    world = World({EAST: [reply("east")]})
    client = client_of(world, [Target(region=WEST), Target(region=EAST)])
    assert (await client.converse(ARN, "Hi.")).text == "east"
    with pytest.raises(InvalidModelIdError, match=WEST) as caught:
        await client_of(world, [Target(region=WEST), Target(region=EU)]).converse(ARN, "Hi.")
    assert "Target(region=..., model=...)" in (caught.value.hint or "")
    assert world.asked == [EAST]


def test_a_target_that_is_wrong_for_the_call_does_not_count_as_asked() -> None:
    """Its breaker stays as it was, and where all others are open, the first one is asked all the same."""

    async def main() -> None:
        world = World({EAST: [DOWN, DOWN, reply("east")], WEST: [DOWN]})
        client = client_of(world, Failover(TARGETS[:2], breaker=CircuitBreaker(min_calls=1)))
        with pytest.raises(ServiceUnavailableError):
            await client.converse(MODEL, "Hi.")
        loop = loop_of(client)
        await asyncio.sleep(30)
        with pytest.raises(ServiceUnavailableError):
            await client.converse(ARN, "Hi.")
        assert states_of(loop) == {EAST: "open", WEST: "half-open"}
        assert (await client.converse(ARN, "Hi.")).text == "east"

    run_virtually(main())


async def test_canned_transports_need_no_targets() -> None:
    """A client without targets has no target in what it tells."""
    client = BedrockClient(
        region=EAST, transport=CannedTransport([reply()]), credentials=Credentials("AKIDEXAMPLE", "secret")
    )
    meta = (await client.converse(MODEL, "Hi.")).meta
    assert (meta.target, [each.target for each in meta.attempts]) == ("", [""])
