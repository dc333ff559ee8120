"""Recording and replaying: over a transport and through the emulator, with everything that can happen to a stream."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final

import pytest
from aiohttp import ClientPayloadError
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from commandline import serving
from corpus import Exchange, exchanges
from official_clients import OFFICIAL_CLIENTS, Connect
from urllib3.exceptions import ProtocolError as ProtocolError3

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    BedrockError,
    ClientClosedError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    Credentials,
    Event,
    IdleTimeoutError,
    InvalidRequestError,
    ModelStreamError,
    ProtocolError,
    StandardRetry,
    Timeouts,
    TLSError,
    TransportError,
)
from bedrock_async.testing import (
    BedrockEmulator,
    Cassette,
    CassetteExchange,
    CassetteMode,
    CassetteRequest,
    CassetteResponse,
    NotRecordedError,
    RecordedFailure,
    RecordedPiece,
    ReplayModel,
    ScriptedModel,
    ServedModel,
    WireEvent,
    exception_frame,
    read_cassette,
    stream_bytes,
)
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.transport import Transport, WireRequest, WireResponse

MODEL: Final = "us.amazon.nova-lite-v1:0"
PATH: Final = "/model/us.amazon.nova-lite-v1%3A0/converse"
STREAM: Final = {"content-type": "application/vnd.amazon.eventstream"}
RECORDED: Final = [each for each in exchanges() if each.raw["request_body"] is not None]
AT_ONCE: Final = StandardRetry(base_delay_s=0.0, model_not_ready_delay_s=(0.0, 0.0))
NOT_CI: Final[Mapping[str, str]] = {}
# What boto3 and aiobotocore let through when a connection breaks in a body: errors of urllib3 and aiohttp.
_BROKEN: Final = (BotoCoreError, ProtocolError3, ClientPayloadError)
EVENTS: Final[list[WireEvent]] = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hello"}}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": " there."}}},
    {"contentBlockStop": {"contentBlockIndex": 0}},
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}, "metrics": {"latencyMs": 4}}},
]


def reply(text: str = "Hello.") -> CannedResponse:
    """Return an answer of Converse."""
    message = {"role": "assistant", "content": [{"text": text}]}
    usage = {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}
    body = {"output": {"message": message}, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 4}}
    return CannedResponse([json.dumps(body).encode()])


def refusal(status: int, code: str) -> CannedResponse:
    """Return an error answer."""
    return CannedResponse([b'{"message":"No."}'], status=status, headers={"x-amzn-errortype": code})


def client_over(
    transport: Transport, *, retry: StandardRetry = NO_RETRY, timeouts: Timeouts | None = None
) -> BedrockClient:
    """Return a client over this transport."""
    credentials = Credentials("AKIDEXAMPLE", "secret")
    return BedrockClient(
        region="us-east-1", transport=transport, credentials=credentials, retry=retry, timeouts=timeouts
    )


def recording(path: Path | None, *answers: CannedResponse | BedrockError | asyncio.Event) -> Cassette:
    """Return a cassette that records these answers."""
    return Cassette(path, mode="record", transport=CannedTransport(answers))


def client_at(emulator: BedrockEmulator) -> BedrockClient:
    """Return a client of an emulator, which makes one attempt."""
    credentials = Credentials("AKIDEXAMPLE", "secret")
    return BedrockClient(region="us-east-1", endpoint_url=emulator.url, credentials=credentials, retry=NO_RETRY)


class Ticks:
    """A clock that moves on by 0.25 s whenever it is looked at."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        self._now += 0.25
        return self._now


# -- the round trip


@pytest.mark.parametrize("kind", ["aiohttp", "httpx"])
async def test_real_traffic_is_replayed_as_it_was(kind: str, tmp_path: Path) -> None:
    """Over real sockets: what was recorded with any transport replays without one, event for event."""
    path = tmp_path / "deep" / "tape.json"
    told: list[object] = []
    async with BedrockEmulator([ScriptedModel.text("hello to the world")]) as emulator:
        async with Cassette(path, mode="record", transport=kind) as cassette:
            told.append(await everything(emulator.url, cassette))
        url = emulator.url
    assert [each.ended for each in read_cassette(path).exchanges] == ["complete"] * 4
    async with Cassette(path, mode="replay") as cassette:
        told.append(await everything(url, cassette))
        assert cassette.unplayed == ()
    assert told[0] == told[1]


async def everything(url: str, cassette: Cassette) -> list[object]:
    """Make a call of each kind; return all that a caller can see of the answers."""
    credentials = cassette.credentials or Credentials("AKIDEXAMPLE", "secret")
    async with BedrockClient(
        region="us-east-1", endpoint_url=url, credentials=credentials, transport=cassette, retry=NO_RETRY
    ) as client:
        whole = await client.converse(MODEL, "Hi")
        async with client.stream(MODEL, "Hi") as stream:
            events = [event.to_wire() async for event in stream]
        native = await client.invoke(MODEL, {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]})
        with pytest.raises(BedrockError) as caught:
            await client.converse(MODEL, "Hi", max_tokens=0)
        meta = {name: value for name, value in whole.meta.headers.items() if name != "date"}
        return [
            whole.to_wire(),
            whole.meta.status,
            meta,
            events,
            stream.meta.request_id,
            native.body,
            repr(caught.value),
        ]


async def test_a_file_is_read_in_another_process_of_time(tmp_path: Path) -> None:
    """Times and pieces are kept: when the head came, when each piece, how long it was."""
    data = stream_bytes(EVENTS)
    pieces = [data[:10], data[10:300], data[300:]]
    path = tmp_path / "tape.json"
    transport = CannedTransport([CannedResponse(pieces, headers=STREAM)])
    async with Cassette(path, mode="record", transport=transport, clock=Ticks()) as cassette:
        await client_over(cassette).stream(MODEL, "Hi").get_final_response()
    (recorded,) = read_cassette(path).exchanges
    assert recorded.response is not None
    assert recorded.response.head_ms == 250
    assert recorded.response.pieces == tuple(
        RecordedPiece(piece, at_ms) for piece, at_ms in zip(pieces, (500, 750, 1000), strict=True)
    )


async def test_recorded_times_are_kept_on_request(tmp_path: Path) -> None:
    """With ``pace`` the head and every piece come after the recorded time, or a multiple; without, at once."""
    data = stream_bytes(EVENTS)
    path = tmp_path / "tape.json"
    transport = CannedTransport([CannedResponse([data[:10], data[10:]], headers=STREAM)])
    async with Cassette(path, mode="record", transport=transport, clock=Ticks()) as cassette:
        await client_over(cassette).stream(MODEL, "Hi").get_final_response()
    for pace, expected in ((1.0, [0.25, 0.25, 0.25]), (2.0, [0.5, 0.5, 0.5]), (0.0, [])):
        slept: list[float] = []

        async def sleep(seconds: float, slept: list[float] = slept) -> None:
            slept.append(seconds)

        async with Cassette(path, mode="replay", pace=pace, sleep=sleep) as cassette:
            assert (await client_over(cassette).stream(MODEL, "Hi").get_final_response()).text == "Hello there."
        assert slept == expected


class Wire:
    """Sends recorded requests straight to a transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(self, recorded: Exchange) -> tuple[int, Mapping[str, str], list[bytes]]:
        """Return status, headers and pieces of the answer."""
        request = WireRequest(
            recorded.method, f"https://{recorded.host}{recorded.path}", recorded.request_headers, recorded.request_body
        )
        response: WireResponse = await self._transport.send(request, connect_timeout_s=1.0)
        pieces: list[bytes] = []
        while piece := await response.receive():
            pieces.append(piece)
        return response.status, response.headers, pieces


async def test_all_recorded_exchanges_replay_over_the_transport(tmp_path: Path) -> None:
    """Every recorded exchange, of every kind, saved in one cassette: bytes, chunks, status and headers come back."""
    path = tmp_path / "tape.json"
    held = [CassetteExchange.from_record(each.raw) for each in RECORDED]
    Cassette(exchanges=held).save(path)
    answers: dict[tuple[str, str, str], list[Exchange]] = {}
    for each in RECORDED:
        answers.setdefault(key_of(each), []).append(each)
    async with Cassette(path, mode="replay") as cassette:
        wire = Wire(cassette)
        for each in RECORDED:
            expected = answers[key_of(each)].pop(0)
            status, headers, pieces = await wire.send(each)
            assert (status, b"".join(pieces)) == (expected.status, expected.response_body)
            if expected.chunk_sizes:
                assert [len(piece) for piece in pieces] == [size for size in expected.chunk_sizes if size]
            assert (
                headers["content-type"]
                == {name.lower(): value for name, value in expected.response_headers.items()}["content-type"]
            )
        assert cassette.unplayed == ()


def key_of(recorded: Exchange) -> tuple[str, str, str]:
    """Return what two exchanges with equal requests share."""
    headers = {
        name.lower(): value
        for name, value in recorded.request_headers.items()
        if "bedrock-guardrail" in name.lower() or "bedrock-trace" in name.lower()
    }
    try:
        body = json.dumps(recorded.request_json, sort_keys=True)
    except ValueError:
        body = repr(recorded.request_body)
    return recorded.method, recorded.path.replace("%3A", ":"), body + json.dumps(headers, sort_keys=True)


# -- replaying through the emulator


@pytest.fixture(params=list(OFFICIAL_CLIENTS))
def connect(request: pytest.FixtureRequest) -> Connect:
    """Return the function that opens one of the official clients."""
    return OFFICIAL_CLIENTS[str(request.param)]


async def test_official_clients_replay_what_ours_recorded(connect: Connect, tmp_path: Path) -> None:
    """An emulator serves the cassette: whole answers, streams and refusals reach boto3 and aiobotocore."""
    path = tmp_path / "tape.json"
    answers = [
        reply("whole"),
        CannedResponse([stream_bytes(EVENTS)], headers=STREAM),
        refusal(429, "ThrottlingException"),
    ]
    async with recording(path, *answers) as cassette:
        client = client_over(cassette)
        await client.converse(MODEL, "Hi")
        await client.stream(MODEL, "Hi").get_final_response()
        with pytest.raises(BedrockError):
            await client.converse(MODEL, "More")
    messages = [{"role": "user", "content": [{"text": "Hi"}]}]
    async with BedrockEmulator([Cassette(path, mode="replay")]) as emulator, connect(emulator.url) as official:
        whole = await official.call("converse", modelId=MODEL, messages=messages)
        assert whole["output"]["message"]["content"] == [{"text": "whole"}]
        events = [event async for event in official.events("converse_stream", modelId=MODEL, messages=messages)]
        assert [next(iter(each)) for each in events] == [next(iter(each)) for each in EVENTS]
        messages[0]["content"] = [{"text": "More"}]
        with pytest.raises(ClientError, match="Throttling"):
            await official.call("converse", modelId=MODEL, messages=messages)
        with pytest.raises(ClientError, match="was recorded 1 time in the cassette"):
            await official.call("converse", modelId=MODEL, messages=messages)


async def test_a_broken_stream_breaks_through_the_emulator_too(connect: Connect) -> None:
    """The frames that had come reach the official client; then its connection breaks, as the recorded one did."""
    data = stream_bytes(EVENTS[:2])
    failure = ConnectionLostError("the connection broke.", sent=True)
    cassette = recording(None, CannedResponse([data, failure], headers=STREAM))
    with pytest.raises(ConnectionLostError):
        await client_over(cassette).stream(MODEL, "Hi").get_final_response()
    replay = Cassette(exchanges=cassette.exchanges, mode="replay", repeat=True)
    messages = [{"role": "user", "content": [{"text": "Hi"}]}]
    async with BedrockEmulator([replay]) as emulator:
        async with connect(emulator.url, config=Config(retries={"max_attempts": 0})) as official:
            seen: list[str] = []
            with pytest.raises(_BROKEN):
                async for event in official.events("converse_stream", modelId=MODEL, messages=messages):
                    seen.append(next(iter(event)))  # noqa: PERF401 - what came before the failure counts
        assert seen == ["messageStart", "contentBlockDelta"]
        async with client_at(emulator) as ours:
            with pytest.raises(ConnectionLostError) as lost:
                await ours.stream(MODEL, "Hi").get_final_response()
        assert lost.value.partial_response is not None
        assert lost.value.partial_response.text == "Hello"


async def test_a_connection_that_failed_at_once_is_reset_by_the_emulator() -> None:
    """A server cannot refuse a connection that it has accepted; it resets it before any answer."""
    cassette = recording(None, ConnectError("refused."))
    with pytest.raises(ConnectError):
        await client_over(cassette).converse(MODEL, "Hi")
    replay = Cassette(exchanges=cassette.exchanges, mode="replay", repeat=True)
    async with BedrockEmulator([replay]) as emulator, client_at(emulator) as client:
        with pytest.raises(ConnectionLostError):
            await client.converse(MODEL, "Hi")


@pytest.mark.parametrize("mode", ["auto", "replay"])
async def test_what_is_missing_goes_to_the_other_models_of_the_emulator(mode: CassetteMode, tmp_path: Path) -> None:
    """In the mode auto the emulator's next model answers what was not recorded; in replay nobody does."""
    missing = Cassette(tmp_path / "none.json", mode=mode, environ=NOT_CI)
    models: list[ServedModel] = [missing, ScriptedModel.text("live")]
    async with BedrockEmulator(models) as emulator, client_at(emulator) as client:
        if mode == "auto":
            assert (await client.converse(MODEL, "Hi")).text == "live"
        else:
            with pytest.raises(BedrockError, match=r"none\.json, which does not exist, has no exchanges"):
                await client.converse(MODEL, "Hi")


async def test_records_go_to_the_replay_model_and_come_back() -> None:
    """The exchange format is read and written: what ReplayModel serves is what the cassette holds."""
    cassette = recording(None, reply("one"), CannedResponse([stream_bytes(EVENTS)], headers=STREAM))
    client = client_over(cassette)
    await client.converse(MODEL, "Hi")
    await client.stream(MODEL, "Hi").get_final_response()
    records = [each.to_record(f"n{number}") for number, each in enumerate(cassette.exchanges)]
    assert [(each["kind"], each["model_id"]) for each in records] == [("converse", MODEL), ("converse-stream", MODEL)]
    for record, each in zip(records, cassette.exchanges, strict=True):
        again = CassetteExchange.from_record(record)
        assert again.request == each.request
        assert again.response is not None
        assert each.response is not None
        assert (again.response.status, again.response.body) == (each.response.status, each.response.body)
    async with BedrockEmulator([ReplayModel(records)]) as emulator, client_at(emulator) as live:
        assert (await live.converse(MODEL, "Hi")).text == "one"
        assert (await live.stream(MODEL, "Hi").get_final_response()).text == "Hello there."
    with pytest.raises(InvalidRequestError, match="has no response"):
        CassetteExchange(CassetteRequest("POST", PATH)).to_record("x")


# -- failures


@pytest.mark.parametrize(
    "failure",
    [
        ConnectError("nobody listens.", hint="Look."),
        TLSError("the certificate of the endpoint is not trusted."),
        ConnectTimeoutError("no connection within 3 s.", limit_s=3.0),
        ConnectionLostError("the connection broke before it answered.", sent=True),
        ProtocolError("that is not HTTP.", sent=True),
        TransportError("something else."),
    ],
    ids=lambda failure: type(failure).__name__,
)
async def test_a_failed_connection_is_recorded_and_fails_again(failure: BedrockError, tmp_path: Path) -> None:
    """The failure has the same class, message, next step and answer to "was it sent"; whatever its place."""
    path = tmp_path / "tape.json"
    data = stream_bytes(EVENTS[:2])
    async with recording(path, failure, CannedResponse([data, failure], headers=STREAM)) as cassette:
        client = client_over(cassette)
        with pytest.raises(type(failure)):
            await client.converse(MODEL, "Hi")
        with pytest.raises(type(failure)):
            await client.stream(MODEL, "Hi").get_final_response()
    async with Cassette(path, mode="replay") as cassette:
        client = client_over(cassette)
        with pytest.raises(type(failure)) as first:
            await client.converse(MODEL, "Hi")
        with pytest.raises(type(failure)) as second:
            await client.stream(MODEL, "Hi").get_final_response()
    for caught in (first.value, second.value):
        assert (caught.message, caught.hint, caught.retryable) == (failure.message, failure.hint, failure.retryable)
        assert getattr(caught, "sent", None) == getattr(failure, "sent", None)
        assert getattr(caught, "limit_s", None) == getattr(failure, "limit_s", None)
    assert getattr(second.value, "partial_response").text == "Hello"  # noqa: B009 - of three classes


def test_a_failure_of_a_later_version_is_a_transport_error() -> None:
    """A class that this version does not know is still a failure of the connection."""
    assert type(RecordedFailure("QuantumError", "gone.").error()) is TransportError


async def test_an_exception_inside_a_stream_is_replayed(tmp_path: Path) -> None:
    """An error that came in the middle of a stream comes there again, with the text before it."""
    path = tmp_path / "tape.json"
    data = stream_bytes(
        [*EVENTS[:2], exception_frame("ModelStreamErrorException", "It broke.", originalStatusCode=500)]
    )
    async with recording(path, CannedResponse([data], headers=STREAM)) as cassette:
        with pytest.raises(ModelStreamError):
            await client_over(cassette).stream(MODEL, "Hi").get_final_response()
    async with Cassette(path, mode="replay") as cassette:
        with pytest.raises(ModelStreamError) as caught:
            await client_over(cassette).stream(MODEL, "Hi").get_final_response()
    assert caught.value.original_status_code == 500
    assert caught.value.partial_response is not None
    assert caught.value.partial_response.text == "Hello"


async def test_attempts_are_exchanges_of_their_own(tmp_path: Path) -> None:
    """A call that was throttled and repeated is two exchanges, and takes two attempts when it is replayed."""
    path = tmp_path / "tape.json"
    async with recording(path, refusal(429, "ThrottlingException"), reply()) as cassette:
        first = await client_over(cassette, retry=AT_ONCE).converse(MODEL, "Hi")
    async with Cassette(path, mode="replay") as cassette:
        second = await client_over(cassette, retry=AT_ONCE).converse(MODEL, "Hi")
    assert [each.status for each in first.meta.attempts] == [429, 200]
    assert [each.status for each in second.meta.attempts] == [429, 200]


async def test_what_arrived_before_a_cancellation_is_kept(tmp_path: Path) -> None:
    """A test that is cancelled in mid-stream leaves a file with what had come, marked; replaying stops there."""
    path = tmp_path / "tape.json"
    answer = CannedResponse([stream_bytes(EVENTS[:2]), asyncio.Event()], headers=STREAM)

    async def record() -> None:
        async with recording(path, answer) as cassette:
            await client_over(cassette).stream(MODEL, "Hi").get_final_response()

    task = asyncio.create_task(record())
    await answer.waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (kept,) = read_cassette(path).exchanges
    assert kept.ended == "incomplete"
    assert kept.response is not None
    assert kept.response.body == stream_bytes(EVENTS[:2])
    async with Cassette(path, mode="replay") as cassette:
        stream = client_over(cassette).stream(MODEL, "Hi")
        assert [event.text async for event in _until_error(stream)] == [None, "Hello"]


async def _until_error(stream: AsyncIterator[Event]) -> AsyncIterator[Event]:
    with pytest.raises(NotRecordedError, match=rf"ends after {len(stream_bytes(EVENTS[:2]))} bytes"):
        async for event in stream:
            yield event


async def test_a_failing_test_keeps_what_it_recorded(tmp_path: Path) -> None:
    """An error in the body of ``async with`` does not cost the recording, and is not hidden."""
    path = tmp_path / "tape.json"
    with pytest.raises(ZeroDivisionError):
        async with recording(path, reply()) as cassette:
            await client_over(cassette).converse(MODEL, "Hi")
            _ = 1 / 0
    assert len(read_cassette(path).exchanges) == 1


async def test_a_request_cancelled_before_an_answer_is_kept_as_such(tmp_path: Path) -> None:
    """What was sent and never answered stands in the file, and answers nothing."""
    path = tmp_path / "tape.json"
    transport = CannedTransport([asyncio.Event()])
    async with Cassette(path, mode="record", transport=transport) as cassette:
        call = asyncio.create_task(client_over(cassette).converse(MODEL, "Hi"))
        await turns_until(lambda: bool(transport.requests))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    (kept,) = read_cassette(path).exchanges
    assert (kept.response, kept.ended) == (None, "incomplete")
    async with Cassette(path, mode="replay") as cassette:
        with pytest.raises(NotRecordedError, match="nothing had come back"):
            await client_over(cassette).converse(MODEL, "Hi")


async def turns_until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds."""
    while not condition():  # noqa: ASYNC110 - the canned transport has no event for what it was sent
        await asyncio.sleep(0)


async def test_a_stream_that_the_caller_left_is_no_failure(tmp_path: Path) -> None:
    """Leaving a stream early closes the connection; the recording is incomplete, and plays as far as it goes."""
    path = tmp_path / "tape.json"
    answer = CannedResponse([stream_bytes(EVENTS[:2]), stream_bytes(EVENTS[2:])], headers=STREAM)
    for cassette in (recording(path, answer), Cassette(path, mode="replay")):
        async with cassette, client_over(cassette).stream(MODEL, "Hi") as stream:
            assert (await stream.__anext__()).type == "message_start"
    (kept,) = read_cassette(path).exchanges
    assert (kept.ended, kept.failure) == ("incomplete", None)
    assert answer.aborted


async def test_a_request_that_could_not_be_sent_leaves_no_trace(tmp_path: Path) -> None:
    """What is refused here, before a connection, has nothing to do with the other side."""
    path = tmp_path / "tape.json"
    async with recording(path, InvalidRequestError("the URL cannot be parsed.")) as cassette:
        with pytest.raises(InvalidRequestError):
            await client_over(cassette).converse(MODEL, "Hi")
    assert not path.exists()


async def test_an_answer_that_is_too_long_is_refused_in_both_modes() -> None:
    """The limit of the client holds while recording and while replaying; recording keeps what came."""
    cassette = recording(None, CannedResponse([b"x" * 10, b"y" * 10]))
    request = WireRequest("POST", f"https://bedrock-runtime.us-east-1.amazonaws.com{PATH}", {}, b"{}")
    with pytest.raises(ProtocolError, match="longer than the 15 bytes"):
        await (await cassette.send(request, connect_timeout_s=1.0)).read(15)
    replay = Cassette(exchanges=cassette.exchanges, mode="replay")
    with pytest.raises(ProtocolError, match="longer than the 15 bytes"):
        await (await replay.send(request, connect_timeout_s=1.0)).read(15)


async def test_aborting_wakes_a_reader_that_waits_for_its_pace() -> None:
    """A client's idle limit works on a replayed stream too: abort() ends the wait for the next piece."""
    pieces = (RecordedPiece(stream_bytes(EVENTS[:1])), RecordedPiece(stream_bytes(EVENTS[1:]), 3_600_000))
    request = CassetteRequest("POST", PATH + "-stream", b'{"messages":[{"role":"user","content":[{"text":"Hi"}]}]}')
    held = CassetteExchange(request, CassetteResponse(200, STREAM, pieces))
    cassette = Cassette(exchanges=[held], mode="replay", pace=1.0)
    stream = client_over(cassette, timeouts=Timeouts(idle_s=0.01)).stream(MODEL, "Hi")
    with pytest.raises(IdleTimeoutError):
        await stream.get_final_response()


async def test_a_replayed_response_is_closed_by_abort() -> None:
    """After abort() nothing more is given out; after the end abort() changes nothing."""
    held = CassetteExchange(CassetteRequest("POST", PATH), CassetteResponse(200, {}, (RecordedPiece(b"a"),)))
    request = WireRequest("POST", f"https://x{PATH}", {}, b"")
    cassette = Cassette(exchanges=[held, held], mode="replay")
    response = await cassette.send(request, connect_timeout_s=1.0)
    response.abort()
    with pytest.raises(ConnectionLostError):
        await response.receive()
    response = await cassette.send(request, connect_timeout_s=1.0)
    assert await response.read(10) == b"a"
    response.abort()
    assert await response.receive() == b""


# -- modes


async def test_auto_records_what_is_missing_and_replays_the_rest(tmp_path: Path) -> None:
    """The first run records; the second sends only what is new, and the file then holds both."""
    path = tmp_path / "tape.json"
    for answers, sent in (([reply("one")], 1), ([reply("two")], 1), ([reply("never")], 0)):
        transport = CannedTransport(answers)
        async with Cassette(path, transport=transport, environ=NOT_CI) as cassette:
            assert cassette.credentials is None
            assert (await client_over(cassette).converse(MODEL, "Hi")).text == "one"
            if len(read_cassette(path).exchanges if path.exists() else ()) > 0:
                assert (await client_over(cassette).converse(MODEL, "New")).text == "two"
        assert len(transport.requests) == sent
    assert len(read_cassette(path).exchanges) == 2


@pytest.mark.parametrize(("value", "mode"), [("true", "replay"), ("1", "replay"), ("", "auto"), ("false", "auto")])
def test_auto_records_nothing_in_ci(value: str, mode: str) -> None:
    """Where CI is set, a test that asks for something new fails instead of calling the service."""
    assert Cassette(environ={"CI": value}).mode == mode
    assert Cassette(mode="record", environ={"CI": value}).mode == "record"


async def test_a_replaying_cassette_never_sends(tmp_path: Path) -> None:
    """What is not recorded is an error that says how to record it; the transport stays untouched."""
    transport = CannedTransport([reply()])
    async with Cassette(tmp_path / "none.json", transport=transport, environ={"CI": "1"}) as cassette:
        assert cassette.credentials is not None
        with pytest.raises(NotRecordedError, match="which does not exist, has no exchanges") as caught:
            await client_over(cassette).converse(MODEL, "Hi")
    assert "--bedrock-record=all" in (caught.value.hint or "")
    assert transport.requests == []
    assert not (tmp_path / "none.json").exists()


async def test_recording_anew_replaces_the_file_only_when_something_came(tmp_path: Path) -> None:
    """A run that could not even begin (no credentials, no network) does not cost the old recording."""
    path = tmp_path / "tape.json"
    async with recording(path, reply("old"), reply("older")) as cassette:
        await client_over(cassette).converse(MODEL, "Hi")
        await client_over(cassette).converse(MODEL, "Hi")
    async with recording(path, reply("new")):
        pass
    assert len(read_cassette(path).exchanges) == 2
    async with recording(path, reply("new")) as cassette:
        await client_over(cassette).converse(MODEL, "Hi")
    assert len(read_cassette(path).exchanges) == 1


def test_an_unknown_mode_is_refused() -> None:
    """The error names the modes."""
    with pytest.raises(InvalidRequestError, match="'once' is not one of auto, record, replay"):
        Cassette(mode="once")  # type: ignore[arg-type]


async def test_a_closed_cassette_sends_nothing(tmp_path: Path) -> None:
    """Using it after its end is an error, as for any transport; closing it twice is none."""
    cassette = recording(tmp_path / "tape.json", reply())
    async with cassette:
        await client_over(cassette).converse(MODEL, "Hi")
    await cassette.aclose()
    with pytest.raises(ClientClosedError):
        await client_over(cassette).converse(MODEL, "Hi")


def test_a_transport_of_its_own_ends_with_the_event_loop(tmp_path: Path) -> None:
    """Nobody closed the cassette (a fixture that is no coroutine cannot): the loop's end closes its connections."""

    async def record(url: str, cassette: Cassette) -> None:
        client = BedrockClient(
            region="us-east-1", endpoint_url=url, credentials=Credentials("a", "b"), transport=cassette
        )
        await client.converse(MODEL, "Hi")

    with serving(ScriptedModel.text("Hi")) as (emulator, portal):
        cassette = Cassette(tmp_path / "tape.json", mode="record")
        asyncio.run(record(emulator.url, cassette))
        (received,) = emulator.requests
        portal.call(received.wait_connection_closed)
    cassette.save()
    assert len(read_cassette(tmp_path / "tape.json").exchanges) == 1
    del cassette
    gc.collect()  # what was left open would warn now


async def test_labels_stand_in_the_file(tmp_path: Path) -> None:
    """Whoever reads the file finds which call an exchange was for."""
    path = tmp_path / "tape.json"
    async with recording(path, reply()) as cassette:
        cassette.label = "the first call"
        await client_over(cassette).converse(MODEL, "Hi")
    assert [each.label for each in read_cassette(path).exchanges] == ["the first call"]


async def test_redacted_prompts_are_found_again(tmp_path: Path) -> None:
    """A cassette without prompts answers the requests that it was recorded for, without being told so."""
    path = tmp_path / "tape.json"
    answers = [reply("hushed answer"), CannedResponse([stream_bytes(EVENTS)], headers=STREAM)]
    transport = CannedTransport(answers)
    async with Cassette(path, mode="record", transport=transport, redact_prompts=True) as cassette:
        client = client_over(cassette)
        assert (await client.converse(MODEL, "a hushed question")).text == "hushed answer"
        await client.stream(MODEL, "a hushed question").get_final_response()
    assert b"hushed" not in path.read_bytes()
    async with Cassette(path, mode="replay") as cassette:
        client = client_over(cassette)
        assert (await client.converse(MODEL, "a hushed question")).text == "x" * 13
        streamed = await client.stream(MODEL, "a hushed question").get_final_response()
        assert (streamed.text, streamed.usage.output_tokens) == ("x" * 12, 2)
        with pytest.raises(NotRecordedError) as caught:
            await client.converse(MODEL, "another hushed question")
    assert "hushed" not in str(caught.value)


async def test_a_callable_may_even_out_what_differs_from_run_to_run(tmp_path: Path) -> None:
    """A date in the prompt does not spoil the replay when ``redact`` takes it out of both."""
    path = tmp_path / "tape.json"

    def redact(text: str, where: str) -> str:
        return "Today." if where.startswith("request.body") and text.startswith("Today is") else text

    days: list[tuple[CassetteMode, str]] = [("record", "Monday"), ("replay", "Tuesday")]
    for mode, day in days:
        cassette = Cassette(path, mode=mode, transport=CannedTransport([reply()]), redact=redact)
        async with cassette:
            assert (await client_over(cassette).converse(MODEL, f"Today is {day}.")).text == "Hello."


@pytest.mark.parametrize("size", [10, 400_000])
async def test_a_callable_that_fails_does_so_before_the_call(tmp_path: Path, size: int) -> None:
    """A rule that cannot do a request is told of while nothing was sent, nor paid."""

    def redact(text: str, where: str) -> str:
        raise KeyError(where)

    transport = CannedTransport([reply()])
    async with Cassette(tmp_path / "tape.json", mode="record", transport=transport, redact=redact) as cassette:
        with pytest.raises(KeyError):
            await client_over(cassette).converse(MODEL, "Hi" * size)
    assert transport.requests == []
    assert not (tmp_path / "tape.json").exists()


async def test_a_callable_that_fails_at_the_end_loses_nothing(tmp_path: Path) -> None:
    """What was recorded is written by the built-in rules, without any texts, and the failure is raised."""

    def redact(text: str, where: str) -> str:
        if where.startswith("response.body"):
            raise KeyError(where)
        return text

    path = tmp_path / "tape.json"
    cassette = Cassette(path, mode="record", transport=CannedTransport([reply("hushed answer")]), redact=redact)
    with pytest.raises(KeyError, match=r"response\.body"):
        async with cassette:
            assert (await client_over(cassette).converse(MODEL, "a hushed question")).text == "hushed answer"
    assert b"hushed" not in path.read_bytes()
    assert b"AKIDEXAMPLE" not in path.read_bytes()
    async with Cassette(path, mode="replay") as cassette:
        assert (await client_over(cassette).converse(MODEL, "a hushed question")).text == "x" * 13


async def test_large_requests_are_found_too(tmp_path: Path) -> None:
    """A request with megabytes in it, which is compared off the loop, is the recorded one."""
    path = tmp_path / "tape.json"
    content = [{"document": {"name": "d", "format": "txt", "source": {"bytes": b"x" * 400_000}}}, {"text": "Hi"}]
    async with recording(path, reply()) as cassette:
        await client_over(cassette).converse(MODEL, [{"role": "user", "content": content}])
    async with Cassette(path, mode="replay") as cassette:
        assert (await client_over(cassette).converse(MODEL, [{"role": "user", "content": content}])).text == "Hello."


async def test_requests_that_come_together_read_the_file_once(tmp_path: Path) -> None:
    """Without ``async with`` the first requests read the file, and each recorded exchange is still played once."""
    path = tmp_path / "tape.json"
    async with recording(path, *(reply(str(number)) for number in range(20))) as cassette:
        for _ in range(20):
            await client_over(cassette).converse(MODEL, "Hi")
    client = client_over(Cassette(path, mode="replay"))
    replies = await asyncio.gather(*(client.converse(MODEL, "Hi") for _ in range(20)))
    assert sorted(int(each.text) for each in replies) == list(range(20))
