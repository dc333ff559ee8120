"""The send loop: retries, deadlines, credentials, and what is recorded of the attempts. No socket, no sleeping."""

from __future__ import annotations

import asyncio
import errno
import json
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from typing_extensions import override
from virtual_time import now, run_virtually

from bedrock_async import (
    NO_RETRY,
    AccessDeniedError,
    BedrockClient,
    BedrockError,
    ClientClosedError,
    ConnectionLostError,
    ConverseRequest,
    ConverseResponse,
    Credentials,
    Event,
    ExpiredTokenError,
    FirstEventTimeoutError,
    InvalidRequestError,
    JSONValue,
    ModelNotReadyError,
    PluginError,
    RedirectError,
    ResponseDecodeError,
    ServiceUnavailableError,
    StandardRetry,
    StreamError,
    StreamTruncatedError,
    Target,
    ThrottlingError,
    Timeouts,
    TotalTimeoutError,
    UnexpectedContentTypeError,
    WrongEventLoopError,
)
from bedrock_async.errors import service_error
from bedrock_async.providers import CallContext, Flow, HttpRequest, StreamPlan, send
from bedrock_async.providers.converse import ConverseProvider
from bedrock_async.testing.canned import CannedResponse, CannedTransport, Piece
from bedrock_async.testing.frames import exception_frame, stream_bytes
from bedrock_async.transport import WireRequest, WireResponse
from bedrock_async.types.request import LARGE_BODY_BYTES

MODEL = "us.anthropic.claude-sonnet-4-20250514-v1:0"
AT_ONCE = StandardRetry(base_delay_s=0.0, model_not_ready_delay_s=(0.0, 0.0))
REPLY = json.dumps(
    {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3},
        "metrics": {"latencyMs": 4},
    }
).encode()
EVENTS: list[dict[str, JSONValue]] = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hello."}}},
    {"contentBlockStop": {"contentBlockIndex": 0}},
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}, "metrics": {"latencyMs": 4}}},
]
STREAM_TYPE = {"content-type": "application/vnd.amazon.eventstream"}


def client_of(
    answers: Sequence[CannedResponse | BedrockError | asyncio.Event], **options: object
) -> tuple[BedrockClient, CannedTransport]:
    """Return a client whose transport gives these answers."""
    transport = CannedTransport(answers)
    settings: dict[str, object] = {"credentials": Credentials("AKIDEXAMPLE", "secret"), "retry": AT_ONCE, **options}
    return BedrockClient(region="us-east-1", transport=transport, **settings), transport  # type: ignore[arg-type]


def refused(status: int, code: str, message: str = "No.", **headers: str) -> CannedResponse:
    """Return an error answer as the service words it."""
    kind = f"{code}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    body = json.dumps({"message": message}).encode()
    return CannedResponse([body], status=status, headers={"x-amzn-errortype": kind, **headers})


THROTTLED = (429, "ThrottlingException")


async def test_converse_reads_the_answer_and_its_head() -> None:
    """A reply has text, usage, and in meta everything that is not in the body."""
    client, transport = client_of([CannedResponse([REPLY[:10], REPLY[10:]])])
    reply = await client.converse(MODEL, "Hi.", max_tokens=10)
    assert (reply.text, reply.stop_reason, reply.usage.total_tokens) == ("Hello.", "end_turn", 3)
    assert (reply.meta.request_id, reply.meta.status, reply.meta.model) == ("canned", 200, MODEL)
    assert (reply.meta.region, reply.meta.provider, len(reply.meta.attempts)) == ("us-east-1", "converse", 1)
    (request,) = transport.requests
    assert request.url == (
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0/converse"
    )
    assert json.loads(request.body) == {
        "messages": [{"role": "user", "content": [{"text": "Hi."}]}],
        "inferenceConfig": {"maxTokens": 10},
    }
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")


async def test_a_retryable_failure_is_repeated_and_every_attempt_recorded() -> None:
    """Two throttled attempts, then success: three attempts on the reply, with status and code."""
    client, transport = client_of(
        [refused(*THROTTLED), ConnectionLostError("Gone.", sent=True), CannedResponse([REPLY])]
    )
    reply = await client.converse(MODEL, "Hi.")
    assert [(attempt.number, attempt.status, attempt.code) for attempt in reply.meta.attempts] == [
        (1, 429, "ThrottlingException"),
        (2, None, "ConnectionLostError"),
        (3, 200, None),
    ]
    assert len(transport.requests) == 3


async def test_an_attempt_tells_when_it_was_and_who_answered() -> None:
    """Each has the time it began at (UTC), how long it took in seconds, and the service's id of it."""
    headers = {"x-amzn-errortype": "ThrottlingException", "x-amzn-requestid": "r-1"}
    refusal = CannedResponse([b"{}"], status=429, headers=headers)
    answer = CannedResponse([REPLY], headers={"x-amzn-requestid": "r-2"})
    client, _ = client_of([refusal, ConnectionLostError("Gone.", sent=True), answer])
    before = datetime.now(UTC)
    attempts = (await client.converse(MODEL, "Hi.")).meta.attempts
    assert [attempt.request_id for attempt in attempts] == ["r-1", None, "r-2"]
    times = [attempt.started_at for attempt in attempts if attempt.started_at is not None]
    moments = [before, *times, datetime.now(UTC)]
    assert moments == sorted(moments)
    assert len(times) == 3
    assert all(0 <= attempt.duration_s < 60 for attempt in attempts)


async def test_the_last_failure_reaches_the_caller_with_all_attempts() -> None:
    """After three attempts the error is raised, and says what each attempt met."""
    client, transport = client_of([refused(*THROTTLED)])
    with pytest.raises(ThrottlingError) as caught:
        await client.converse(MODEL, "Hi.")
    assert [attempt.code for attempt in caught.value.attempts] == ["ThrottlingException"] * 3
    assert len(transport.requests) == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refused(403, "AccessDeniedException"), AccessDeniedError),
        (
            CannedResponse([b"<html>Moved</html>"], status=302, headers={"location": "https://example.com/"}),
            RedirectError,
        ),
        (CannedResponse([b"<html>Hello</html>"], headers={"content-type": "text/html"}), UnexpectedContentTypeError),
        (CannedResponse([]), ResponseDecodeError),
        (CannedResponse([b'{"output": ']), ResponseDecodeError),
        (CannedResponse([b"[]"]), ResponseDecodeError),
    ],
)
async def test_what_a_repetition_cannot_mend_is_not_repeated(answer: CannedResponse, error: type[BedrockError]) -> None:
    """Refusals and answers that are not the service's reach the caller at the first attempt, with a next step."""
    client, transport = client_of([answer])
    with pytest.raises(error) as caught:
        await client.converse(MODEL, "Hi.")
    assert caught.value.hint
    assert len(transport.requests) == 1


async def test_a_gateway_page_is_an_unavailable_service() -> None:
    """An HTML page with status 502 is retried, and described, not quoted, in the error."""
    page = CannedResponse([b"<html>Bad gateway</html>"], status=502, headers={"content-type": "text/html"})
    client, _ = client_of([page])
    with pytest.raises(ServiceUnavailableError, match=r"502.*text/html") as caught:
        await client.converse(MODEL, "Hi.")
    assert "Bad gateway" not in str(caught.value)
    assert caught.value.status == 502


async def test_no_retry_makes_one_attempt() -> None:
    """retry=NO_RETRY, on the call, overrides the client's policy."""
    client, transport = client_of([refused(*THROTTLED)])
    with pytest.raises(ThrottlingError):
        await client.converse(MODEL, "Hi.", retry=NO_RETRY)
    assert len(transport.requests) == 1


async def test_a_model_that_is_being_loaded_gets_five_attempts() -> None:
    """ModelNotReadyException is repeated four times."""
    client, transport = client_of([refused(429, "ModelNotReadyException")])
    with pytest.raises(ModelNotReadyError):
        await client.converse(MODEL, "Hi.")
    assert len(transport.requests) == 5


async def test_the_policy_is_told_the_failure_and_the_attempt() -> None:
    """Any object with delay_s decides; it is asked after each failed attempt."""
    asked: list[tuple[str, int]] = []

    class Twice:
        def delay_s(self, failure: BedrockError, attempt: int, *, random: Random) -> float | None:
            asked.append((type(failure).__name__, attempt))
            return 0.0 if attempt < 2 else None

    client, _ = client_of([refused(403, "AccessDeniedException")], retry=Twice())
    with pytest.raises(AccessDeniedError):
        await client.converse(MODEL, "Hi.")
    assert asked == [("AccessDeniedError", 1), ("AccessDeniedError", 2)]


async def test_an_expired_token_is_refreshed_once() -> None:
    """Credentials from a callable are fetched anew after ExpiredTokenException, once; the second one is raised."""
    fetched: list[int] = []

    async def provider() -> Credentials:
        fetched.append(1)
        return Credentials(f"AKID{len(fetched)}", "secret", "token")

    expired = refused(403, "ExpiredTokenException")
    client, transport = client_of([expired, CannedResponse([REPLY]), expired], credentials=provider)
    assert (await client.converse(MODEL, "Hi.")).text == "Hello."
    assert "AKID1" in transport.requests[0].headers["authorization"]
    assert "AKID2" in transport.requests[1].headers["authorization"]
    with pytest.raises(ExpiredTokenError):
        await client.converse(MODEL, "Hi.")
    assert len(fetched) == 3


async def test_expired_static_credentials_end_before_anything_is_sent() -> None:
    """Static credentials past their expiry are refused here, with the next step."""
    past = datetime.now(UTC) - timedelta(minutes=1)
    client, transport = client_of([CannedResponse([REPLY])], credentials=Credentials("AKID", "secret", "token", past))
    with pytest.raises(BedrockError, match="expired") as caught:
        await client.converse(MODEL, "Hi.")
    assert caught.value.hint
    assert not transport.requests


async def test_total_s_bounds_all_attempts() -> None:
    """A server that never answers ends in TotalTimeoutError, which is a builtin TimeoutError too."""
    client, _ = client_of([asyncio.Event(), CannedResponse([REPLY])])
    with pytest.raises(TotalTimeoutError) as caught:
        await client.converse(MODEL, "Hi.", timeouts=Timeouts(total_s=0.01))
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.limit_s == 0.01


@pytest.mark.parametrize("verb", ["converse", "stream"])
def test_the_attempt_that_the_limit_cut_short_is_known(verb: str) -> None:
    """It stands behind those that failed, with the time it began; one that was still waited for does not."""

    async def main() -> None:
        limits = Timeouts(total_s=10.0)
        client, _ = client_of([refused(*THROTTLED), asyncio.Event(), CannedResponse([REPLY])], timeouts=limits)
        with pytest.raises(TotalTimeoutError, match=r"10 s \(2 attempts\)") as caught:
            await (client.converse(MODEL, "Hi.") if verb == "converse" else anext(client.stream(MODEL, "Hi.")))
        first, second = caught.value.attempts
        assert (first.code, second.code) == ("ThrottlingException", "TotalTimeoutError")
        assert (second.number, second.status, second.request_id) == (2, None, None)
        assert first.started_at is not None
        assert second.started_at is not None
        assert first.started_at <= second.started_at
        client, _ = client_of([refused(*THROTTLED)], timeouts=limits, retry=Slowly())
        with pytest.raises(TotalTimeoutError, match=r"\(1 attempt\)") as caught:
            await (client.converse(MODEL, "Hi.") if verb == "converse" else anext(client.stream(MODEL, "Hi.")))
        assert [attempt.code for attempt in caught.value.attempts] == ["ThrottlingException"]

    run_virtually(main())


class Slowly:
    """A policy that waits an hour."""

    def delay_s(self, failure: BedrockError, attempt: int, *, random: Random) -> float | None:
        """Return it."""
        return 3600.0


@pytest.mark.parametrize("verb", ["converse", "stream"])
@pytest.mark.parametrize("targets", [None, [Target(), Target(region="us-west-2")]], ids=["one", "two"])
async def test_a_timeout_of_somebody_else_is_not_that_of_the_call(verb: str, targets: Sequence[Target] | None) -> None:
    """What a transport of the caller's lets through of the system comes as it is, and blames no limit of ours."""

    class Bare(CannedTransport):
        async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
            raise TimeoutError(errno.ETIMEDOUT, "timed out")

    keys = Credentials("AKIDEXAMPLE", "secret")
    client = BedrockClient(region="us-east-1", transport=Bare([]), credentials=keys, targets=targets)
    with pytest.raises(TimeoutError, match="timed out") as caught:
        await (client.converse(MODEL, "Hi.") if verb == "converse" else anext(client.stream(MODEL, "Hi.")))
    assert not isinstance(caught.value, BedrockError)


@pytest.mark.parametrize("verb", ["converse", "stream"])
async def test_the_attempt_that_closing_cut_short_is_known(verb: str) -> None:
    """And nothing in the task that made the call is cancelled for it later."""
    client, transport = client_of([asyncio.Event(), CannedResponse([REPLY])])

    async def call() -> ClientClosedError:
        with pytest.raises(ClientClosedError) as caught:
            await (client.converse(MODEL, "Hi.") if verb == "converse" else anext(client.stream(MODEL, "Hi.")))
        for _ in range(3):
            await asyncio.sleep(0)
        return caught.value

    task = asyncio.ensure_future(call())
    while not transport.requests:  # noqa: ASYNC110 - turns of the loop, not time
        await asyncio.sleep(0)
    await client.aclose()
    assert [attempt.code for attempt in (await task).attempts] == ["ClientClosedError"]


async def test_cancelling_is_not_turned_into_an_error_of_ours() -> None:
    """A cancelled call raises CancelledError, and aborts the response that it was reading."""
    gate = asyncio.Event()
    response = CannedResponse([REPLY[:5], gate, REPLY[5:]])
    client, _ = client_of([response])
    task = asyncio.ensure_future(client.converse(MODEL, "Hi."))
    await response.waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert response.aborted


# -- streams


async def test_a_stream_sends_nothing_before_iteration() -> None:
    """client.stream() is a plain call; the request goes out with the first event asked for."""
    client, transport = client_of([CannedResponse.stream(EVENTS)])
    stream = client.stream(MODEL, "Hi.")
    assert not transport.requests
    assert [event.type async for event in stream] == [
        "message_start",
        "content_block_delta",
        "content_block_stop",
        "message_stop",
        "metadata",
    ]
    assert len(transport.requests) == 1


async def test_a_stream_is_repeated_only_before_its_first_event() -> None:
    """Throttled over HTTP, throttled in the first frame, then fine: one stream for the caller."""
    first_frame = CannedResponse([exception_frame("throttlingException", "Too many tokens.")], headers=STREAM_TYPE)
    client, _ = client_of([refused(*THROTTLED), first_frame, CannedResponse.stream(EVENTS)])
    async with client.stream(MODEL, "Hi.") as stream:
        assert (await stream.get_final_response()).text == "Hello."
    assert [attempt.code for attempt in stream.meta.attempts] == ["ThrottlingException", "ThrottlingException", None]
    assert first_frame.aborted


class LostAtFirst(CannedTransport):
    """Loses the first request, in a frame that still names the failure, as frames do."""

    @override
    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        if not self.requests:
            self.requests.append(request)
            failure = ConnectionLostError("gone", sent=False)
            raise failure
        return await super().send(request, connect_timeout_s=connect_timeout_s)


async def test_a_stream_that_was_opened_again_closes_when_it_is_forgotten() -> None:
    """At once, and not when cycles are collected next: what the first attempt left behind does not hold it."""
    answer = CannedResponse([stream_bytes(EVENTS[:2]), asyncio.Event()], headers=STREAM_TYPE)
    client = BedrockClient(
        region="us-east-1",
        credentials=Credentials("AKIDEXAMPLE", "secret"),
        transport=LostAtFirst([answer]),
        retry=AT_ONCE,
    )
    stream = client.stream(MODEL, "Hi.")
    await anext(stream)
    del stream
    assert answer.aborted


async def test_after_the_first_event_an_error_is_raised_with_what_had_arrived() -> None:
    """An exception frame behind events: the events come first, then the error, with the partial response."""
    body = stream_bytes(EVENTS[:2]) + exception_frame("modelStreamErrorException", "Broken.", originalStatusCode=400)
    response = CannedResponse([body], headers=STREAM_TYPE)
    client, transport = client_of([response])
    stream = client.stream(MODEL, "Hi.")
    assert [(await anext(stream)).type, (await anext(stream)).type] == ["message_start", "content_block_delta"]
    with pytest.raises(BedrockError) as caught:
        await anext(stream)
    error = caught.value
    assert type(error).__name__ == "ModelStreamError"
    assert error.retryable
    assert getattr(error, "status") == 424  # noqa: B009
    assert getattr(error, "original_status_code") == 400  # noqa: B009
    assert getattr(error, "request_id") == "canned"  # noqa: B009
    assert getattr(error, "partial_response").text == "Hello."  # noqa: B009
    assert len(transport.requests) == 1
    assert response.aborted


async def test_a_stream_without_its_end_is_truncated() -> None:
    """EOF without messageStop and metadata raises StreamTruncatedError with the partial response."""
    client, _ = client_of([CannedResponse([stream_bytes(EVENTS[:3])], headers=STREAM_TYPE)])
    with pytest.raises(StreamTruncatedError, match="messageStop and metadata") as caught:
        async for _ in client.stream(MODEL, "Hi."):
            pass
    assert caught.value.partial_response is not None
    assert caught.value.partial_response.text == "Hello."


async def test_first_event_s_bounds_the_wait_for_the_first_event() -> None:
    """A stream that opens and says nothing ends in FirstEventTimeoutError, and its connection is closed."""
    silent = CannedResponse([asyncio.Event()], headers=STREAM_TYPE)
    client, _ = client_of([silent])
    with pytest.raises(FirstEventTimeoutError):
        await anext(client.stream(MODEL, "Hi.", timeouts=Timeouts(first_event_s=0.01)))
    assert silent.aborted


def test_total_s_bounds_all_attempts_to_open_a_stream() -> None:
    """Waits between them included: it ends as soon as the next attempt would come too late. What follows is free."""

    async def main() -> None:
        slow = StandardRetry(max_attempts=100, base_delay_s=4.0, max_delay_s=4.0)
        limits = Timeouts(total_s=20.0, idle_s=None)
        client, transport = client_of([refused(*THROTTLED)], retry=slow, timeouts=limits)
        with pytest.raises(TotalTimeoutError, match="20 s") as caught:
            await anext(client.stream(MODEL, "Hi."))
        assert isinstance(caught.value.__cause__, ThrottlingError)
        assert len(caught.value.attempts) == len(transport.requests) > 4
        assert 1_016 <= now() <= 1_020
        client, _ = client_of([CannedResponse([asyncio.Event()], headers=STREAM_TYPE)], timeouts=limits)
        with pytest.raises(TotalTimeoutError):
            await anext(client.stream(MODEL, "Hi."))
        wait = asyncio.Event()
        body: list[Piece] = [stream_bytes(EVENTS[:2]), wait, stream_bytes(EVENTS[2:])]
        asyncio.get_running_loop().call_later(3600, wait.set)
        client, _ = client_of([CannedResponse(body, headers=STREAM_TYPE)], timeouts=limits)
        assert (await client.stream(MODEL, "Hi.").get_final_response()).text == "Hello."

    run_virtually(main())


def test_a_stream_that_did_not_begin_is_opened_again_where_that_is_wanted() -> None:
    """With retry_timeouts=True; both attempts are known, and the silent connection is closed."""

    async def main() -> None:
        silent = CannedResponse([asyncio.Event()], headers=STREAM_TYPE)
        wanted = StandardRetry(base_delay_s=0.0, retry_timeouts=True)
        client, _ = client_of([silent, CannedResponse.stream(EVENTS)], retry=wanted)
        reply = await client.stream(MODEL, "Hi.").get_final_response()
        assert [attempt.code for attempt in reply.meta.attempts] == ["FirstEventTimeoutError", None]
        assert silent.aborted
        assert now() == 1_300

    run_virtually(main())


async def test_idle_s_bounds_the_silence_between_events() -> None:
    """A stream that falls silent ends in IdleTimeoutError with what had arrived; the connection is closed."""
    response = CannedResponse([stream_bytes(EVENTS[:2]), asyncio.Event()], headers=STREAM_TYPE)
    client, _ = client_of([response])
    with pytest.raises(BedrockError) as caught:
        async for _ in client.stream(MODEL, "Hi.", timeouts=Timeouts(idle_s=0.01)):
            pass
    assert type(caught.value).__name__ == "IdleTimeoutError"
    assert getattr(caught.value, "partial_response").text == "Hello."  # noqa: B009
    assert response.aborted


async def test_a_slow_reader_is_no_idle_stream() -> None:
    """The idle limit counts while an event is waited for, not while the caller works on one."""
    response = CannedResponse([stream_bytes(EVENTS[:2]), stream_bytes(EVENTS[2:])], headers=STREAM_TYPE)
    client, _ = client_of([response])
    stream = client.stream(MODEL, "Hi.", timeouts=Timeouts(idle_s=0.005))
    await anext(stream)
    overslept = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, overslept.set)
    await overslept.wait()
    assert (await stream.get_final_response()).stop_reason == "end_turn"


async def test_streaming_false_replays_a_whole_answer() -> None:
    """With streaming=False the Converse operation answers, through the same events."""
    client, transport = client_of([CannedResponse([REPLY])])
    async with client.stream(MODEL, "Hi.", streaming=False) as stream:
        assert [text async for text in stream.text_stream] == ["Hello."]
        reply = await stream.get_final_response()
    assert reply.to_wire() == json.loads(REPLY)
    assert transport.requests[0].url.endswith("/converse")
    assert reply.meta.request_id == "canned"


async def test_batches_hold_all_events_that_have_arrived() -> None:
    """stream.batches gives lists: one for each piece of the body here."""
    pieces = [stream_bytes(EVENTS[:2]), stream_bytes(EVENTS[2:])]
    client, _ = client_of([CannedResponse(pieces, headers=STREAM_TYPE)])
    assert [len(batch) async for batch in client.stream(MODEL, "Hi.").batches] == [2, 3]


async def test_two_tasks_cannot_wait_for_one_stream() -> None:
    """A second reader is told so; the first one is not disturbed."""
    gate = asyncio.Event()
    pieces: list[Piece] = [stream_bytes(EVENTS[:1]), gate, stream_bytes(EVENTS[1:])]
    client, _ = client_of([CannedResponse(pieces, headers=STREAM_TYPE)])
    stream = client.stream(MODEL, "Hi.")
    await anext(stream)
    first = asyncio.ensure_future(stream.get_final_response())
    await asyncio.sleep(0)
    with pytest.raises(BedrockError, match="another task"):
        await anext(stream)
    gate.set()
    assert (await first).text == "Hello."


async def test_two_tasks_cannot_open_one_stream() -> None:
    """A second reader that comes before the first event is told so, too: for it the stream is not at its end."""
    gate = asyncio.Event()
    client, transport = client_of([gate, CannedResponse.stream(EVENTS)])
    stream = client.stream(MODEL, "Hi.")
    first = asyncio.ensure_future(stream.get_final_response())
    for _ in range(5):
        await asyncio.sleep(0)
    assert transport.requests
    with pytest.raises(StreamError, match="another task"):
        await anext(stream)
    with pytest.raises(StreamError, match="another task"):
        await stream.__aenter__()
    gate.set()
    assert (await first).text == "Hello."


@pytest.mark.parametrize("wait", ["send", "first event"])
async def test_a_stream_that_is_closed_while_it_opens_stays_closed(wait: str) -> None:
    """The request ends at once, its reader is told, and nothing is left in flight."""
    gate = asyncio.Event()
    answer = CannedResponse([gate], headers=STREAM_TYPE)
    client, transport = client_of([gate, answer] if wait == "send" else [answer])
    stream = client.stream(MODEL, "Hi.")
    reader = asyncio.ensure_future(anext(stream))
    for _ in range(5):
        await asyncio.sleep(0)
    assert transport.requests
    await stream.aclose()
    with pytest.raises(StreamError, match="closed before its first event"):
        await reader
    assert reader.cancelling() == 0
    assert answer.aborted is (wait == "first event")
    with pytest.raises(StreamError, match="closed before its first event"):
        await anext(stream)
    await client.aclose(drain_s=60)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refused(403, "AccessDeniedException"), AccessDeniedError),
        (CannedResponse([stream_bytes(EVENTS[:2])], headers=STREAM_TYPE), StreamTruncatedError),
    ],
    ids=["opening", "reading"],
)
async def test_a_stream_that_has_failed_fails_again(answer: CannedResponse, error: type[BedrockError]) -> None:
    """Who tries the same stream once more is not told that the model had nothing to say."""
    client, _ = client_of([answer])
    stream = client.stream(MODEL, "Hi.")
    with pytest.raises(error) as first:
        async for _ in stream:
            pass
    for again in (anext(stream), stream.get_final_response()):
        with pytest.raises(error) as caught:
            await again
        assert str(caught.value) == str(first.value)
        assert len(caught.value.attempts) == 1


# -- use


async def test_a_closed_client_says_so() -> None:
    """Every verb of a closed client raises ClientClosedError; a stream made before it does so too."""
    client, transport = client_of([CannedResponse([REPLY])])
    stream = client.stream(MODEL, "Hi.")
    await client.aclose()
    await client.aclose()
    with pytest.raises(ClientClosedError):
        await client.converse(MODEL, "Hi.")
    with pytest.raises(ClientClosedError):
        client.stream(MODEL, "Hi.")
    with pytest.raises(ClientClosedError):
        await anext(stream)
    assert not transport.closed, "a transport that was passed in is its owner's"


def test_two_loops_cannot_share_a_client() -> None:
    """The second loop gets WrongEventLoopError, which says to make one client for each."""
    client, _ = client_of([CannedResponse([REPLY]), CannedResponse([REPLY])])
    asyncio.run(_once(client))
    with pytest.raises(WrongEventLoopError, match="one client per event loop"):
        asyncio.run(_once(client))


async def _once(client: BedrockClient) -> None:
    await client.converse(MODEL, "Hi.")


async def test_an_arn_of_another_region_names_both() -> None:
    """An ARN's region must be the client's."""
    client, _ = client_of([CannedResponse([REPLY])])
    arn = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.amazon.nova-lite-v1:0"
    with pytest.raises(BedrockError, match=r"eu-west-1.*us-east-1"):
        await client.converse(arn, "Hi.")


async def test_a_ready_request_is_sent_as_it_is() -> None:
    """No defaults of the client reach a ready request, in whichever place it is passed."""
    client, transport = client_of([CannedResponse([REPLY]), CannedResponse([REPLY])], settings={"max_tokens": 7})
    plain = client.prepare(MODEL, "Hi.").model_copy(update={"inference_config": None})
    ready = type(plain).from_wire({"messages": [{"role": "user", "content": [{"text": "Hi."}]}], "new": 1})
    await client.converse(MODEL, ready)
    await client.converse(ready.model_copy(update={"model_id": MODEL}))
    for request in transport.requests:
        assert json.loads(request.body) == {"messages": [{"role": "user", "content": [{"text": "Hi."}]}], "new": 1}
    with pytest.raises(InvalidRequestError, match="together with messages"):
        await client.converse(ready, "Hi.")  # type: ignore[call-overload]


async def test_a_provider_may_read_the_errors_of_its_endpoint() -> None:
    """Those of calls and of streams, in a form of its own; what it makes of one decides whether it is repeated."""

    def busy() -> CannedResponse:
        return CannedResponse([b'{"oops": "busy"}'], status=418)

    client, _ = client_of([busy(), busy(), busy(), busy(), CannedResponse.stream(EVENTS)], providers={"tea": Teapot()})
    with pytest.raises(ThrottlingError) as caught:
        await client.converse(MODEL, "Hi.", provider="tea")
    assert (caught.value.message, caught.value.status, len(caught.value.attempts)) == ("busy", 418, 3)
    reply = await client.stream(MODEL, "Hi.", provider="tea").get_final_response()
    assert (reply.text, [attempt.status for attempt in reply.meta.attempts]) == ("Hello.", [418, 200])


class Careless(ConverseProvider):
    """Forgets ``from``."""

    name = "careless"

    def converse(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
        yield from super().converse(request, ctx)
        return (yield send(HttpRequest("POST", "/again")))  # type: ignore[misc,return-value]  # pyright: ignore[reportReturnType]


async def test_a_flow_that_yields_no_effect_is_a_fault_of_its_provider() -> None:
    """The error says what to write; the result of the effect before is not handed out a second time."""
    client, transport = client_of([CannedResponse([REPLY])], providers={"careless": Careless()})
    with pytest.raises(PluginError, match="a flow yielded a generator, which is not an effect"):
        await client.converse(MODEL, "Hi.", provider="careless")
    assert len(transport.requests) == 1


class Noted(ConverseProvider):
    """Notes the thread that makes each request."""

    name = "noted"

    def __init__(self) -> None:
        self.threads: list[int] = []

    def stream(self, request: ConverseRequest, ctx: CallContext) -> StreamPlan[Event]:
        self.threads.append(threading.get_ident())
        return super().stream(request, ctx)


async def test_a_large_request_is_made_beside_the_loop_at_every_attempt() -> None:
    """Making it again, for a repetition, does not hold up the other streams either."""
    noted = Noted()
    answers = [refused(*THROTTLED), refused(*THROTTLED), CannedResponse.stream(EVENTS)]
    client, _ = client_of(answers, providers={"noted": noted})
    question = "x" * (LARGE_BODY_BYTES + 1)
    assert (await client.stream(MODEL, question, provider="noted").get_final_response()).text == "Hello."
    assert len(noted.threads) == 3
    assert threading.get_ident() not in noted.threads


ASKING: dict[str, Callable[[BedrockClient], Awaitable[object]]] = {
    "converse": lambda client: client.converse(MODEL, "Hi."),
    "invoke": lambda client: client.invoke(MODEL, b"{}"),
    "count_tokens": lambda client: client.count_tokens(MODEL, "Hi."),
    "apply_guardrail": lambda client: client.apply_guardrail("g", "1", source="INPUT", content="Hi."),
    "start_async_invoke": lambda client: client.start_async_invoke(
        "amazon.nova-reel-v1:0", {}, output_s3_uri="s3://bucket/key"
    ),
    "list_async_invokes": lambda client: anext(client.list_async_invokes()),
    "list_models": lambda client: client.list_models(),
}


@pytest.mark.parametrize("verb", ASKING)
async def test_every_verb_keeps_to_the_retry_policy_among_the_defaults(verb: str) -> None:
    """Also those that have no other settings."""
    answers = [refused(503, "ServiceUnavailableException") for _ in range(3)]
    client, _ = client_of(answers, settings={"retry": NO_RETRY})
    with pytest.raises(ServiceUnavailableError) as caught:
        await ASKING[verb](client)
    assert len(caught.value.attempts) == 1


@pytest.mark.parametrize("settings", [{"retry": 3}, {"timeouts": 5}])
def test_defaults_of_another_type_are_refused_when_the_client_is_made(settings: dict[str, object]) -> None:
    """Not at the first call."""
    with pytest.raises(InvalidRequestError):
        client_of([], settings=settings)


class Teapot(ConverseProvider):
    """Converse, of an endpoint that tells errors in another form."""

    name = "tea"

    def converse(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
        response = yield from send(HttpRequest("POST", "/brew", read_error=read_teapot_error))
        return ConverseResponse.from_wire(response.body)

    def stream(self, request: ConverseRequest, ctx: CallContext) -> StreamPlan[Event]:
        plan = super().stream(request, ctx)
        return StreamPlan(HttpRequest("POST", "/brew", read_error=read_teapot_error), plan.decoder)


def read_teapot_error(status: int, headers: Mapping[str, str], body: bytes) -> BedrockError:
    """Return the error of a teapot."""
    assert headers["content-type"]
    return service_error("ThrottlingException", json.loads(body)["oops"], status=status)


def test_a_request_can_be_logged() -> None:
    """Its repr, which ends up in logs and in reports of crashes, shows neither the key nor the prompt."""
    headers = {"authorization": "Bearer canary-key", "x-amz-security-token": "canary-token"}
    request = WireRequest("POST", "https://example.com/model/m/converse", headers, b"canary-prompt")
    assert repr(request) == (
        "WireRequest('POST', 'https://example.com/model/m/converse', headers=['authorization', "
        "'x-amz-security-token'], body=<13 bytes>)"
    )
