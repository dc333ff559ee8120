"""Conversations with the emulator over HTTP/2: found at its one URL, verified event by event, scripted at will."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from framing import pieces
from h2.errors import ErrorCodes
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset, WindowUpdated
from rawhttp2 import RawHttp2Client
from transports import authority, server_tls

from bedrock_async import BedrockClient, BidirectionalStream, Credentials, Timeouts
from bedrock_async.auth import EventSigner
from bedrock_async.errors import (
    AuthenticationError,
    BedrockError,
    ConnectionLostError,
    IdleTimeoutError,
    InternalServerError,
    InvalidRequestError,
    ModelStreamError,
    ServiceError,
    ThrottlingError,
    ValidationError,
    service_error,
)
from bedrock_async.eventstream import encode_frame
from bedrock_async.native import encode_input
from bedrock_async.testing import (
    BedrockEmulator,
    Cassette,
    Control,
    DuplexSession,
    EmbeddingModel,
    ReceivedRequest,
    ScriptedModel,
    chunk_frame,
    corrupted,
    event_frame,
    service_model,
)
from bedrock_async.testing.duplex import IN_STREAM
from bedrock_async.transport import NativeTransport
from bedrock_async.types import ResponseMeta

MODEL: Final = "amazon.nova-sonic-v1:0"
KEYS: Final = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "token")

Script = Callable[[DuplexSession], Awaitable[None]]


def client_of(
    emulator: BedrockEmulator, credentials: Credentials = KEYS, timeouts: Timeouts | None = None
) -> BedrockClient:
    """Return a client that knows nothing but the emulator's URL."""
    return BedrockClient(region="us-east-1", credentials=credentials, endpoint_url=emulator.url, timeouts=timeouts)


@asynccontextmanager
async def conversation(
    script: Script | None = None, timeouts: Timeouts | None = None
) -> AsyncGenerator[tuple[BidirectionalStream, BedrockEmulator]]:
    """Open a stream to an emulator that verifies everything, with this script."""
    model = ScriptedModel.text() if script is None else ScriptedModel.text(bidirectional=script)
    async with (
        BedrockEmulator([model], credentials=[KEYS]) as emulator,
        client_of(emulator, timeouts=timeouts) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        yield duplex, emulator


async def collected(duplex: BidirectionalStream) -> list[bytes]:
    """Return the rest of what the model says."""
    return [chunk.bytes async for chunk in duplex]


async def test_one_url_serves_both() -> None:
    """A client with nothing but the URL talks both ways, and asks in HTTP/1.1, at the same port."""
    async with BedrockEmulator([ScriptedModel.text("hello")], credentials=[KEYS]) as emulator:
        async with client_of(emulator) as client, client.invoke_bidirectional(MODEL) as duplex:
            assert duplex.meta == ResponseMeta()
            for event in ({"event": {"text": "ä"}}, b"[1]", '"two"'):
                await duplex.send(event)
            await duplex.end_input()
            assert await collected(duplex) == ['{"event":{"text":"ä"}}'.encode(), b"[1]", b'"two"']
            assert (await client.converse(MODEL, "Hi")).text == "hello"
        spoken, asked = emulator.requests
    assert duplex.meta.request_id == spoken.request_id
    assert (duplex.meta.status, duplex.meta.model, len(duplex.meta.attempts)) == (200, MODEL, 1)
    assert (spoken.operation, spoken.model_id, spoken.status) == ("InvokeModelWithBidirectionalStream", MODEL, 200)
    assert list(spoken.input_events) == ['{"event":{"text":"ä"}}'.encode(), b"[1]", b'"two"']
    assert spoken.connection_closed
    assert asked.operation == "Converse"


async def test_over_tls_by_alpn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same over TLS, where both ends agree on HTTP/2 in the handshake; the profile's CA bundle is enough."""
    authority().cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    async with (
        BedrockEmulator([ScriptedModel.text("hello")], credentials=[KEYS], ssl_context=server_tls()) as emulator,
        client_of(emulator) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        await duplex.send(b"{}")
        assert (await anext(duplex)).bytes == b"{}"
        assert (await client.converse(MODEL, "Hi")).text == "hello"


async def test_the_profiles_ca_bundle_counts_beside_a_ready_transport(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transport that was passed in carries no conversations; what is trusted in them is what the profile names."""
    authority().cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "config").write_text(f"[default]\nca_bundle = {tmp_path / 'ca.pem'}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    async with (
        aclosing(NativeTransport()) as transport,
        BedrockEmulator(credentials=[KEYS], ssl_context=server_tls()) as emulator,
        BedrockClient(region="us-east-1", credentials=KEYS, endpoint_url=emulator.url, transport=transport) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        await duplex.send(b"{}")
        assert (await anext(duplex)).bytes == b"{}"


async def test_a_cassette_lets_no_conversation_past(tmp_path: Path) -> None:
    """What is tested with recordings alone does not reach the network by another way."""
    async with (
        Cassette(tmp_path / "cassette.json", mode="auto") as cassette,
        BedrockClient(region="us-east-1", credentials=KEYS, transport=cassette) as client,
    ):
        with pytest.raises(InvalidRequestError, match="cannot record conversations"):
            await client.invoke_bidirectional(MODEL).__aenter__()


async def test_many_may_send() -> None:
    """Tasks that send at the same time get their signatures in the order in which their events go out."""
    async with conversation() as (duplex, _):
        async with asyncio.TaskGroup() as tasks:
            for number in range(50):
                tasks.create_task(duplex.send(str(number)))
        await duplex.end_input()
        assert sorted(await collected(duplex), key=int) == [str(number).encode() for number in range(50)]


async def test_the_largest_event_goes_both_ways() -> None:
    """An event of as many bytes as the service takes is more than any window, and passes."""
    event = b'"' + b"x" * 999_998 + b'"'
    async with conversation() as (duplex, _):
        await duplex.send(event)
        assert (await anext(duplex)).bytes == event


async def test_a_profile_between() -> None:
    """With an inference profile the conversation goes there."""
    async with (
        BedrockEmulator() as emulator,
        client_of(emulator) as client,
        client.invoke_bidirectional(MODEL, inference_profile="us.amazon.nova-sonic-v1:0") as duplex,
    ):
        await duplex.end_input()
        assert await collected(duplex) == []
    assert emulator.requests[0].model_id == "us.amazon.nova-sonic-v1:0"


async def test_a_request_signed_with_another_secret() -> None:
    """It is refused like any other, and both whoever sends and whoever reads are told."""
    async with BedrockEmulator(credentials=[KEYS]) as emulator:
        other = Credentials(KEYS.access_key_id, "another", KEYS.session_token)
        async with client_of(emulator, other) as client, client.invoke_bidirectional(MODEL) as duplex:
            for _ in range(2):
                with pytest.raises(AuthenticationError, match="signature we calculated does not match") as caught:
                    await anext(duplex)
                assert (caught.value.status, len(caught.value.attempts)) == (403, 1)
                assert caught.value.request_id == emulator.requests[0].request_id


async def test_a_refusal_wakes_a_send_that_waits() -> None:
    """A send that finds no room learns of the refusal when it comes, not when its time is up."""
    async with BedrockEmulator(credentials=[KEYS]) as emulator:
        other = Credentials(KEYS.access_key_id, "another", KEYS.session_token)
        async with client_of(emulator, other) as client, client.invoke_bidirectional(MODEL) as duplex:
            with pytest.raises(AuthenticationError, match="does not match"):
                await duplex.send(b'"' + bytes(900_000) + b'"')


def signed(events: EventSigner, payload: bytes = b"", now: datetime | None = None) -> bytes:
    """Return a signed frame; of an event, or of the end."""
    return events.sign(payload and encode_input(payload), now or datetime.now(UTC))


BadInput = Callable[[EventSigner], list[bytes]]
WRONG = "The request signature we calculated does not match"
BAD_INPUT: Final[dict[str, tuple[BadInput, str, str]]] = {
    "tampered": (
        lambda events: [signed(events, b"one").replace(b"b25l", b"dHdv")],
        "ValidationException",
        "cannot be decoded",  # the checksums are the first to tell
    ),
    "left out": (
        lambda events: [signed(events, b"one"), signed(events, b"two")][1:],
        "InvalidSignatureException",
        WRONG,
    ),
    "twice": (lambda events: [signed(events, b"one")] * 2, "InvalidSignatureException", WRONG),
    "unsigned": (lambda _: [encode_input(b"one")], "InvalidSignatureException", "is not signed"),
    "no end": (lambda events: [signed(events, b"one"), b""], "InvalidSignatureException", "signed end .* missing"),
    "after the end": (
        lambda events: [signed(events), signed(events, b"one")],
        "ValidationException",
        "follows the end",
    ),
    "old": (
        lambda events: [signed(events, b"one", datetime.now(UTC) - timedelta(minutes=6))],
        "InvalidSignatureException",
        "not within 5 min",
    ),
    "corrupt": (lambda events: [corrupted(signed(events, b"one"))], "ValidationException", "cannot be decoded"),
    "half an event": (lambda events: [signed(events), b"\0\0", b""], "ValidationException", "inside an event"),
    "too long": (
        lambda events: [events.sign(event_frame("chunk", b'{"bytes":"%b"}' % (b"QUJD" * 333_334)), datetime.now(UTC))],
        "ValidationException",
        "less than or equal to 1000000",
    ),
    "not a chunk": (
        lambda events: [events.sign(event_frame("other", {}), datetime.now(UTC))],
        "ValidationException",
        "not a chunk",
    ),
    "no base64": (
        lambda events: [events.sign(event_frame("chunk", {"bytes": "~"}), datetime.now(UTC))],
        "ValidationException",
        "no base64",
    ),
    "two in one": (
        lambda events: [events.sign(encode_input(b"1") * 2, datetime.now(UTC))],
        "ValidationException",
        "contains no event",
    ),
    "no frame within": (
        lambda events: [events.sign(encode_frame({}, b"")[:8], datetime.now(UTC))],
        "ValidationException",
        "contains no event",
    ),
}


@pytest.mark.parametrize("what", BAD_INPUT)
async def test_bad_input_is_refused_with_the_services_error(what: str) -> None:
    """Whatever is not an authentic event ends the conversation inside its stream, and never reaches the model."""
    make, code, message = BAD_INPUT[what]
    async with conversation() as (duplex, _):
        opened = duplex._open
        assert opened is not None
        assert opened.signer is not None
        *frames, last = make(opened.signer)
        for frame in frames:
            await opened.response.send(frame)
        if last:
            await opened.response.send(last)
        else:
            opened.response.end()
        with pytest.raises(ServiceError, match=message) as caught:
            await collected(duplex)
        assert (caught.value.code, caught.value.in_stream) == (code, True)


async def test_without_credentials_nothing_is_verified() -> None:
    """An emulator that wants no keys takes signed events of anybody, and bare ones with an API key."""
    async with BedrockEmulator() as emulator:
        bearer = BedrockClient(region="us-east-1", api_key="ABSKkey", endpoint_url=emulator.url)
        for client in (client_of(emulator, Credentials("any", "body")), bearer):
            async with client, client.invoke_bidirectional(MODEL) as duplex:
                await duplex.send(b"1")
                await duplex.end_input()
                assert await collected(duplex) == [b"1"]


async def test_a_refusal_before_anything_is_heard() -> None:
    """A model that raises at once refuses over HTTP; the stream's user is told when it reads."""

    async def refuse(session: DuplexSession) -> None:
        raise service_error("ThrottlingException", "Too many sessions")

    async with conversation(refuse) as (duplex, emulator):
        with pytest.raises(ThrottlingError, match="Too many sessions") as caught:
            await anext(duplex)
        assert not caught.value.in_stream
        assert emulator.requests[0].status == 429


async def test_an_exception_inside_the_conversation() -> None:
    """What was said before is handed out, then the error, of its own type, as often as one asks."""

    async def break_down(session: DuplexSession) -> None:
        await session.send(await anext(session))
        raise service_error("ModelStreamErrorException", "broken", status=424)

    async with conversation(break_down) as (duplex, _):
        await duplex.send(b"1")
        assert (await anext(duplex)).bytes == b"1"
        for _ in range(2):
            with pytest.raises(ModelStreamError, match="broken"):
                await anext(duplex)


async def test_a_model_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """Its traceback is in the log, and the client gets the service's error."""

    async def fail(session: DuplexSession) -> None:
        await anext(session)
        raise KeyError("secret")

    async with conversation(fail) as (duplex, _):
        await duplex.send(b"1")
        with caplog.at_level(logging.ERROR), pytest.raises(InternalServerError, match="KeyError"):
            await anext(duplex)
    assert "KeyError: 'secret'" in caplog.text


async def test_a_model_that_swallows_what_is_wrong_does_not_hide_it() -> None:
    """A wrong event ends the conversation although the model's task group wrapped the error in a group."""

    async def grouped(session: DuplexSession) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(session.__anext__())

    async with conversation(grouped) as (duplex, _):
        assert duplex._open is not None
        await duplex._open.response.send(encode_input(b"unsigned"))
        with pytest.raises(ServiceError, match="not signed"):
            await anext(duplex)


async def test_a_model_that_ignores_what_is_wrong_does_not_hide_it() -> None:
    """It ends as if nothing had been, and the client is told of its wrong event all the same."""

    async def ignoring(session: DuplexSession) -> None:
        with suppress(ServiceError):
            await anext(session)

    async with conversation(ignoring) as (duplex, _):
        assert duplex._open is not None
        await duplex._open.response.send(encode_input(b"unsigned"))
        with pytest.raises(ServiceError, match="not signed"):
            await anext(duplex)


async def test_models_that_hold_no_conversations() -> None:
    """A model without the method, and an id that nobody serves, are refused."""
    async with BedrockEmulator([EmbeddingModel()]) as emulator, client_of(emulator) as client:
        for model, message in (("amazon.titan-embed-text-v2:0", "doesn't support"), (MODEL, "identifier is invalid")):
            async with client.invoke_bidirectional(model) as duplex:
                with pytest.raises(ValidationError, match=message):
                    await anext(duplex)


@pytest.mark.parametrize(
    ("control", "message"), [(Control.RESET, "reset the stream"), (Control.CLOSE, "broke"), (Control.ABORT, "broke")]
)
async def test_a_model_that_breaks_off(control: Control, message: str) -> None:
    """A reset stream and a closed connection are lost connections; what was said before is there."""

    async def break_off(session: DuplexSession) -> None:
        await session.send(b"1")
        await session.break_off(control)

    async with conversation(break_off) as (duplex, _):
        assert (await anext(duplex)).bytes == b"1"
        with pytest.raises(ConnectionLostError, match=message):
            await anext(duplex)


async def test_a_client_that_goes_away_cancels_the_model() -> None:
    """Leaving the stream ends the model's work at once."""
    ended = asyncio.Event()

    async def listen(session: DuplexSession) -> None:
        try:
            async for event in session:
                await session.send(event)
        except asyncio.CancelledError:
            ended.set()
            raise

    async with BedrockEmulator([ScriptedModel.text(bidirectional=listen)]) as emulator, client_of(emulator) as client:
        async with client.invoke_bidirectional(MODEL) as duplex:
            await duplex.send(b"1")
            await anext(duplex)
        await ended.wait()


async def test_closing_the_emulator_ends_conversations() -> None:
    """Nobody waits for a model that does not stop, nor for a connection that says nothing."""
    emulator = BedrockEmulator()
    await emulator.start()
    host, port = emulator.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    async with client_of(emulator) as client, client.invoke_bidirectional(MODEL) as duplex:
        await duplex.send(b"1")
        await anext(duplex)
        await emulator.aclose()
        with pytest.raises(ConnectionLostError):
            await anext(duplex)
    assert await reader.read() == b""
    writer.close()


async def test_a_client_that_does_not_read_holds_the_model_up() -> None:
    """The model's sends wait once the windows are full, and go on when the client reads."""
    sent: list[int] = []
    stuck = asyncio.Event()

    async def chatter(session: DuplexSession) -> None:
        await anext(session)
        for number in range(40):
            sending = asyncio.ensure_future(session.send(bytes(30_000)))
            while not sending.done():
                done, _ = await asyncio.wait([sending], timeout=None if stuck.is_set() else 0.2)
                if not done:
                    stuck.set()
            sent.append(number)

    async with conversation(chatter) as (duplex, _):
        await duplex.send(b"1")
        await stuck.wait()
        assert len(sent) < 20  # 256 KiB of window, and what the system's sockets hold
        assert len(await collected(duplex)) == 40


async def test_a_model_that_does_not_listen_holds_the_client_up() -> None:
    """The client's sends wait once the window is full, go on when the model listens, and lose nothing."""
    listen = asyncio.Event()
    heard: list[int] = []

    async def deaf(session: DuplexSession) -> None:
        session.accept()
        await listen.wait()
        heard.extend([len(event) async for event in session])

    async with conversation(deaf) as (duplex, _):
        sending = asyncio.create_task(duplex.send(b'"' + bytes(300_000) + b'"'))
        reading = asyncio.create_task(collected(duplex))
        done, _ = await asyncio.wait([sending], timeout=0.05)
        assert not done
        listen.set()
        await sending
        await duplex.end_input()
        assert await reading == []
    assert heard == [300_002]


async def test_a_model_that_never_listens_is_given_up() -> None:
    """idle_s bounds a send, too; the stream is closed then, and says why when it is used again."""

    async def deaf(session: DuplexSession) -> None:
        session.accept()
        await asyncio.get_running_loop().create_future()

    async with conversation(deaf, Timeouts(idle_s=0.05)) as (duplex, _):
        with pytest.raises(IdleTimeoutError, match="accepted none"):
            await duplex.send(b'"' + bytes(300_000) + b'"')
        with pytest.raises(IdleTimeoutError, match="accepted none"):
            await anext(duplex)


async def test_a_conversation_that_the_model_ends() -> None:
    """Sends after the end raise, end_input does nothing, and what was said is still read."""

    async def hang_up(session: DuplexSession) -> None:
        await session.send(b"bye")

    async with conversation(hang_up) as (duplex, _):
        with pytest.raises(ConnectionLostError, match="accepts nothing more"):
            while True:
                await duplex.send(b"1")
                await asyncio.sleep(0)
        await duplex.end_input()
        assert await collected(duplex) == [b"bye"]


async def test_frames_of_the_models_choice() -> None:
    """A model writes bytes as they are: several events at once, or broken ones."""

    async def write(session: DuplexSession) -> None:
        await session.write(chunk_frame(b"1") + chunk_frame(b"2") + corrupted(chunk_frame(b"3")))

    async with conversation(write) as (duplex, _):
        assert [(await anext(duplex)).bytes, (await anext(duplex)).bytes] == [b"1", b"2"]
        with pytest.raises(BedrockError, match="checksum"):
            await anext(duplex)


def test_errors_inside_a_conversation_are_those_of_the_service_model() -> None:
    """Which errors are modelled, and which travel as others, is read off the reference model."""
    operation = service_model().operation_model("InvokeModelWithBidirectionalStream")
    output: Any = operation.output_shape
    members = output.members["body"].members
    modelled = {name[:1].upper() + name[1:] for name in members if name.endswith("Exception")}
    assert modelled == IN_STREAM


# Several conversations on one connection, which this client never has.

HEAD: Final = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "localhost"),
    (":path", f"/model/{MODEL}/invoke-with-bidirectional-stream"),
]


async def test_a_conversation_that_the_model_ends_stops_the_client() -> None:
    """The answer is complete, and the rest of the request is refused without an error (RFC 9113, section 8.1)."""

    async def bye(session: DuplexSession) -> None:
        await session.send(b"bye")

    async with (
        BedrockEmulator([ScriptedModel.text(bidirectional=bye)]) as emulator,
        RawHttp2Client(emulator.url) as client,
    ):
        client.h2.send_headers(1, HEAD)
        client.flush()
        await client.next(StreamEnded)
        assert (await client.next(StreamReset)).error_code == ErrorCodes.NO_ERROR


async def test_a_conversation_that_is_given_up_leaves_the_others() -> None:
    """A reset stream cancels its model; another one on the same connection goes on."""
    cancelled = asyncio.Event()

    async def listen(session: DuplexSession) -> None:
        try:
            async for event in session:
                await session.send(event)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with (
        BedrockEmulator([ScriptedModel.text(bidirectional=listen)]) as emulator,
        RawHttp2Client(emulator.url) as client,
    ):
        for stream_id in (1, 3):
            client.h2.send_headers(stream_id, HEAD)
            client.flush()
            await client.next(ResponseReceived)
        client.h2.reset_stream(1, ErrorCodes.CANCEL)
        client.flush()
        await cancelled.wait()
        client.h2.send_data(3, encode_input(b"1"), end_stream=True)
        client.flush()
        assert (await client.next(DataReceived)).stream_id == 3


async def test_what_a_model_never_read_takes_no_room() -> None:
    """The window of a connection is that of all its conversations: one that is over gives back what it took."""

    async def refuse(session: DuplexSession) -> None:
        raise service_error("ThrottlingException", "Not now")

    async with (
        BedrockEmulator([ScriptedModel.text(bidirectional=refuse)]) as emulator,
        RawHttp2Client(emulator.url) as client,
    ):
        client.h2.send_headers(1, HEAD)
        for _ in range(60):
            client.h2.send_data(1, bytes(1000))
        client.flush()
        while (await client.next(WindowUpdated)).stream_id != 0:
            pass
        assert client.h2.outbound_flow_control_window > 60_000


# Everything else over HTTP/2: by a client that is not ours.


def other_client(emulator: BedrockEmulator) -> httpx.AsyncClient:
    """Return httpx, speaking HTTP/2."""
    # A context of its own: httpx says there which protocols it speaks.
    context = ssl.create_default_context(cadata=authority().cert_pem.bytes().decode())
    return httpx.AsyncClient(http2=True, verify=context, base_url=emulator.url, trust_env=False)


async def test_every_operation_over_http2() -> None:
    """Whole answers, streams and refusals are those of HTTP/1.1."""
    body = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
    async with BedrockEmulator([ScriptedModel.text("hello world")], ssl_context=server_tls()) as emulator:
        async with other_client(emulator) as client:
            whole = await client.post(f"/model/{MODEL}/converse", json=body)
            stream = await client.post(f"/model/{MODEL}/converse-stream", content=json.dumps(body))
            refused = await client.post("/nowhere")
        url = emulator.url
    assert {answer.http_version for answer in (whole, stream, refused)} == {"HTTP/2"}
    assert whole.json()["output"]["message"]["content"] == [{"text": "hello world"}]
    assert stream.headers["content-type"] == "application/vnd.amazon.eventstream"
    assert b"messageStop" in stream.content
    assert refused.status_code == 404
    received: ReceivedRequest = emulator.requests[0]
    assert received.headers["host"] == url.removeprefix("https://")
    assert received.json() == body


async def test_a_break_over_http2() -> None:
    """A connection that the script breaks is a reset stream; the others of the connection go on."""
    model = ScriptedModel.in_turn([Control.CLOSE], [{"messageStart": {"role": "assistant"}}])
    async with BedrockEmulator([model], ssl_context=server_tls()) as emulator, other_client(emulator) as client:
        body = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(f"/model/{MODEL}/converse-stream", json=body)
        assert (await client.post(f"/model/{MODEL}/converse-stream", json=body)).status_code == 200


PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.mark.parametrize("size", [1, 3, None])
@pytest.mark.parametrize(
    ("first", "answer"),
    [
        (PREFACE + b"\0\0\0\x04\0\0\0\0\0", b"\0\0"),
        (b"PROPFIND / HTTP/1.1\r\nhost: a\r\n\r\n", b"HTTP/1.1 404"),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", b"HTTP/1.1 404"),
    ],
    ids=["HTTP/2", "nearly", "HTTP/1.1"],
)
async def test_the_first_bytes_may_come_in_pieces(first: bytes, answer: bytes, size: int | None) -> None:
    """A client is taken for what it is however they are cut."""
    async with BedrockEmulator() as emulator:
        assert (await answered(emulator, pieces(first, size))).startswith(answer)


async def test_http2_that_is_none() -> None:
    """Who begins right and goes on wrong, with data of no stream, is told so (GOAWAY, PROTOCOL_ERROR) and left."""
    async with BedrockEmulator() as emulator:
        said = await answered(emulator, [PREFACE + b"\0\0\1\0\0\0\0\0\0x"], to_the_end=True)
    assert said.endswith(b"\x07" + bytes(12) + b"\1")


async def answered(emulator: BedrockEmulator, sent: Iterable[bytes], *, to_the_end: bool = False) -> bytes:
    """Return the first, or all, of what the emulator says to these bytes."""
    host, port = emulator.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for piece in sent:
        writer.write(piece)
        await asyncio.sleep(0)
    data = await reader.read(-1 if to_the_end else 100)
    writer.close()
    return data
