"""The duplex stream: events both ways over HTTP/2, signed one after the other, ended in errors of our tree."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from bidirectional_wire import Keeper, KeptStream
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded
from rawhttp2 import RawHttp2, RawHttp2Server
from virtual_time import run_virtually

from bedrock_async import BedrockClient, Credentials, StandardRetry, Timeouts
from bedrock_async.auth import EventSigner
from bedrock_async.errors import (
    AccessDeniedError,
    ConnectError,
    ConnectionLostError,
    EventStreamError,
    FirstEventTimeoutError,
    IdleTimeoutError,
    InvalidModelIdError,
    InvalidRequestError,
    ModelStreamError,
    StreamError,
    TotalTimeoutError,
)
from bedrock_async.eventstream import EventStreamDecoder, Frame
from bedrock_async.testing.frames import chunk_frame, exception_frame

MODEL = "amazon.nova-sonic-v1:0"
KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "token")
EVENTS = ("content-type", "application/vnd.amazon.eventstream")


class Listener:
    """Reads what a client sends: signed frames, and the frames within them."""

    def __init__(self, peer: RawHttp2) -> None:
        self._peer = peer
        self._outer = EventStreamDecoder()
        self.frames: list[Frame] = []
        self.head: dict[str, str] = {}

    async def begin(self) -> None:
        """Wait for the head of the request."""
        self.head = {str(name): str(value) for name, value in (await self._peer.next(RequestReceived)).headers}

    async def frame(self) -> Frame | None:
        """Return the next frame as it stands on the wire, None at the end of the input."""
        while True:
            frame = self._outer.next_frame()
            if frame is not None:
                self.frames.append(frame)
                return frame
            event: DataReceived | StreamEnded = await self._peer.next(DataReceived, StreamEnded)
            if isinstance(event, StreamEnded):
                return None
            self._peer.h2.acknowledge_received_data(event.flow_controlled_length, 1)
            self._peer.flush()
            self._outer.receive_data(event.data)


def event_in(frame: Frame) -> bytes:
    """Return the native event of an unsigned frame."""
    assert list(frame.headers.items()) == [
        (":message-type", "event"),
        (":event-type", "chunk"),
        (":content-type", "application/json"),
    ]
    return base64.b64decode(json.loads(frame.payload)["bytes"])


def unsigned(payload: bytes) -> Frame:
    """Return the frame within a signed one."""
    decoder = EventStreamDecoder()
    decoder.receive_data(payload)
    (frame,) = decoder.next_frames()
    return frame


def client_of(server: RawHttp2Server, **limits: float) -> BedrockClient:
    """Return a client of the server that signs."""
    return BedrockClient(
        region="us-east-1", credentials=KEYS, endpoint_url=server.url, timeouts=Timeouts(**limits) if limits else None
    )


async def test_a_conversation_with_signed_events() -> None:
    """Events go both ways at once; each frame carries the signature that rests on all before it, the end too."""
    listeners: list[Listener] = []

    async def script(peer: RawHttp2) -> None:
        listener = Listener(peer)
        listeners.append(listener)
        await listener.begin()
        peer.respond(EVENTS)
        while (frame := await listener.frame()) is not None:
            if frame.payload:
                peer.say(chunk_frame(event_in(unsigned(frame.payload))))
        peer.h2.end_stream(1)
        peer.flush()

    async with (
        RawHttp2Server(script) as server,
        client_of(server) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        for event, native in (
            ({"event": {"text": "ä"}}, '{"event":{"text":"ä"}}'.encode()),
            (b"{}", b"{}"),
            ("[]", b"[]"),
        ):
            await duplex.send(event)
            assert (await anext(duplex)).bytes == native
        await duplex.end_input()
        await duplex.end_input()
        assert [chunk async for chunk in duplex] == []
    (listener,) = listeners
    assert listener.head[":path"] == "/model/amazon.nova-sonic-v1%3A0/invoke-with-bidirectional-stream"
    assert listener.head["x-amz-content-sha256"] == "STREAMING-AWS4-HMAC-SHA256-EVENTS"
    assert listener.head["content-type"] == "application/vnd.amazon.eventstream"
    chain = EventSigner(KEYS, listener.head["authorization"].rpartition("=")[2], service="bedrock", region="us-east-1")
    assert len(listener.frames) == 4
    for frame in listener.frames:
        date = frame.headers[":date"]
        assert isinstance(date, datetime)
        assert date.tzinfo is UTC
        assert unsigned(chain.sign(frame.payload, date)).headers == frame.headers


async def test_with_an_api_key_frames_go_out_bare() -> None:
    """Without a secret nothing is signed: events are sent as they are, and the input ends without a frame."""
    seen: list[bytes] = []
    heads: list[dict[str, str]] = []

    async def script(peer: RawHttp2) -> None:
        listener = Listener(peer)
        await listener.begin()
        heads.append(listener.head)
        peer.respond(EVENTS)
        while (frame := await listener.frame()) is not None:
            seen.append(event_in(frame))
        peer.say(chunk_frame(b"bye"), end=True)

    async with RawHttp2Server(script) as server:
        client = BedrockClient(region="us-east-1", api_key="ABSKexample", endpoint_url=server.url)
        async with client, client.invoke_bidirectional(MODEL) as duplex:
            await duplex.send(b"{}")
            await duplex.end_input()
            assert [chunk.bytes async for chunk in duplex] == [b"bye"]
    assert seen == [b"{}"]
    assert heads[0]["authorization"] == "Bearer ABSKexample"
    assert "x-amz-content-sha256" not in heads[0]


async def silent(peer: RawHttp2) -> None:
    """Answer 200 and say nothing."""
    await peer.next(RequestReceived)
    peer.respond(EVENTS)
    await peer.closed.wait()


async def test_what_cannot_be_sent_is_refused_here() -> None:
    """An event over the limit, or after the end, is an error that says so, and harms the stream no further."""
    async with RawHttp2Server(silent) as server, client_of(server) as client:
        duplex = client.invoke_bidirectional(MODEL)
        with pytest.raises(InvalidRequestError, match="not open"):
            await duplex.send(b"{}")
        with pytest.raises(InvalidRequestError, match="not open"):
            await anext(duplex)
        async with duplex:
            with pytest.raises(InvalidRequestError, match="1000001 bytes; 1000000 are allowed"):
                await duplex.send(bytes(1_000_001))
            for value in (b"raw", float("nan"), "\ud800"):
                with pytest.raises(InvalidRequestError, match="a value that JSON cannot"):
                    await duplex.send({"audio": value})
            await duplex.send(b"{}")
            await duplex.end_input()
            with pytest.raises(InvalidRequestError, match=r"after end_input"):
                await duplex.send(b"{}")
            await duplex.aclose()
            await duplex.aclose()
            with pytest.raises(InvalidRequestError, match="closed"):
                await duplex.send(b"{}")
            assert [chunk async for chunk in duplex] == []


async def test_a_refused_request_is_the_services_error() -> None:
    """An answer that is no success is raised by reading, typed by the table of all errors."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.respond(("x-amzn-errortype", "AccessDeniedException"), ("content-type", "application/json"), status=403)
        peer.say(b'{"message":"no access"}', end=True)

    async with (
        RawHttp2Server(script) as server,
        client_of(server) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        with pytest.raises(AccessDeniedError, match="no access"):
            await anext(duplex)
        with pytest.raises(InvalidRequestError, match="closed"):
            await duplex.send(b"{}")


async def test_a_refusal_reaches_sender_and_reader() -> None:
    """Both wait when the refusal begins to arrive, and both are told all of it."""

    async def script(peer: RawHttp2) -> None:
        size = 0
        while size < 65_535:
            size += len((await peer.next(DataReceived)).data)
        peer.respond(("x-amzn-errortype", "AccessDeniedException"), ("content-type", "application/json"), status=403)
        for piece in (b'{"message":', b'"no access"}'):
            await asyncio.sleep(0)
            peer.say(piece)
        peer.h2.end_stream(1)
        peer.flush()

    async with (
        RawHttp2Server(script) as server,
        client_of(server) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        reading = asyncio.create_task(duplex.__anext__())
        with pytest.raises(AccessDeniedError, match="no access"):
            await duplex.send(bytes(300_000))
        with pytest.raises(AccessDeniedError, match="no access"):
            await reading


async def test_an_exception_inside_the_stream_follows_its_events() -> None:
    """Events before an exception are handed out, then it is raised with its type."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.respond(EVENTS)
        peer.say(chunk_frame(b"one") + exception_frame("modelStreamErrorException", "broken"))

    async with (
        RawHttp2Server(script) as server,
        client_of(server) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        assert (await anext(duplex)).bytes == b"one"
        with pytest.raises(ModelStreamError, match="broken"):
            await anext(duplex)


async def test_corrupt_frames() -> None:
    """Bytes that are no frames end the stream with what is wrong with them."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.respond(EVENTS)
        peer.say(bytes(100))

    async with (
        RawHttp2Server(script) as server,
        client_of(server) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        with pytest.raises(EventStreamError, match="checksum"):
            await anext(duplex)


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"first_event_s": 0.05}, FirstEventTimeoutError),
        ({"total_s": 0.05}, TotalTimeoutError),
    ],
)
async def test_silence_ends(limits: dict[str, float], error: type[Exception]) -> None:
    """A model that says nothing is given up at the limit that comes first, by name."""
    async with RawHttp2Server(silent) as server, client_of(server, **limits) as client:
        with pytest.raises(error, match=r"0\.05 s"):  # on a busy machine connecting alone may take the session's time
            async with client.invoke_bidirectional(MODEL) as duplex:
                await anext(duplex)


async def test_silence_between_events_ends() -> None:
    """Once it has spoken, a model has idle_s for each further event; the error is the same whenever one asks."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.respond(EVENTS)
        peer.say(chunk_frame(b"one"))
        await peer.closed.wait()

    async with (
        RawHttp2Server(script) as server,
        client_of(server, idle_s=0.05) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        assert (await anext(duplex)).bytes == b"one"
        for _ in range(2):
            with pytest.raises(IdleTimeoutError, match=r"no event arrived for 0\.05 s"):
                await anext(duplex)


async def test_a_peer_that_takes_nothing() -> None:
    """A send that finds no room waits for idle_s, and then says so; the stream is closed."""
    async with (
        RawHttp2Server(silent) as server,
        client_of(server, idle_s=0.05) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        with pytest.raises(IdleTimeoutError, match=r"accepted none of the data sent for 0\.05 s"):
            await duplex.send(bytes(300_000))
        with pytest.raises(InvalidRequestError, match="closed"):
            await duplex.send(b"{}")


class SlowStream(KeptStream):
    """A stream that takes each piece after a while."""

    def __init__(self, piece_s: float) -> None:
        super().__init__()
        self._piece_s = piece_s

    async def send(self, data: bytes) -> None:
        for at in range(0, len(data), 16_384):
            await asyncio.sleep(self._piece_s)
            self.body += data[at : at + 16_384]


def keeping_client(stream: KeptStream, **limits: float) -> BedrockClient:
    """Return a client whose conversations go into a stream."""
    return BedrockClient(region="us-east-1", credentials=KEYS, transport=Keeper(stream), timeouts=Timeouts(**limits))


def test_a_long_event_to_a_slow_peer() -> None:
    """idle_s is for a peer that takes nothing: one that takes a little at a time is waited for."""
    stream = SlowStream(20.0)

    async def talk() -> None:
        async with keeping_client(stream, idle_s=30) as client, client.invoke_bidirectional(MODEL) as duplex:
            await duplex.send(bytes(100_000))

    run_virtually(talk())
    assert len(stream.body) > 100_000


def test_a_long_event_that_is_cancelled() -> None:
    """Half an event cannot be taken back, signed or not: the stream is closed."""
    stream = SlowStream(20.0)

    async def talk() -> None:
        client = BedrockClient(region="us-east-1", api_key="ABSKexample", transport=Keeper(stream))
        async with client, client.invoke_bidirectional(MODEL) as duplex:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(duplex.send(bytes(100_000)), 30)
            assert not stream.takes_input
            with pytest.raises(InvalidRequestError, match="closed"):
                await duplex.send(b"{}")

    run_virtually(talk())
    assert len(stream.body) == 16_384


def test_the_session_ends_for_who_only_sends() -> None:
    """total_s bounds the session also where nothing is ever waited for."""
    stream = KeptStream()

    async def talk() -> None:
        async with keeping_client(stream, total_s=100) as client, client.invoke_bidirectional(MODEL) as duplex:
            await duplex.send(b"{}")
            await asyncio.sleep(99)
            await duplex.send(b"{}")
            await asyncio.sleep(1)
            with pytest.raises(TotalTimeoutError, match="longer than 100 s"):
                await duplex.send(b"{}")
            with pytest.raises(TotalTimeoutError, match="longer than 100 s"):
                await anext(duplex)

    run_virtually(talk())
    assert not stream.takes_input


async def test_a_refusal_that_does_not_end() -> None:
    """Who sends and who reads are told that it was refused, though why never came."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.respond(("content-type", "application/json"), status=503)
        peer.say(b'{"message":')
        await peer.closed.wait()

    async with (
        RawHttp2Server(script) as server,
        client_of(server, idle_s=0.05) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        for _ in range(2):
            with pytest.raises(IdleTimeoutError, match=r"answered HTTP 503 .* within 0\.05 s"):
                await anext(duplex)


async def test_cancelling_closes_at_once() -> None:
    """A reader that is cancelled leaves no connection behind."""
    closed = asyncio.Event()

    async def script(peer: RawHttp2) -> None:
        await peer.closed.wait()
        closed.set()

    async with (
        RawHttp2Server(script) as server,
        client_of(server) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        reading = asyncio.create_task(duplex.__anext__())
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
        await closed.wait()


async def test_goaway_in_mid_conversation() -> None:
    """A server that gives up says so with its code; what came before is read, and a send is told, too."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.respond(EVENTS)
        peer.say(chunk_frame(b"one"))
        await peer.next(DataReceived)
        peer.h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
        peer.flush()

    async with (
        RawHttp2Server(script) as server,
        client_of(server) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        assert (await anext(duplex)).bytes == b"one"
        await duplex.send(b"{}")
        with pytest.raises(ConnectionLostError, match=r"GOAWAY, ENHANCE_YOUR_CALM"):
            await anext(duplex)
        with pytest.raises(InvalidRequestError, match="closed"):
            await duplex.send(b"{}")


async def test_a_reset_in_mid_conversation() -> None:
    """A reset stream is a lost connection, for as often as one asks, each time as an object of its own."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.respond(EVENTS)
        peer.h2.reset_stream(1, ErrorCodes.INTERNAL_ERROR)
        peer.flush()

    async with (
        RawHttp2Server(script) as server,
        client_of(server) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        raised: list[ConnectionLostError] = []
        for _ in range(2):
            with pytest.raises(ConnectionLostError, match=r"INTERNAL_ERROR") as caught:
                await anext(duplex)
            raised.append(caught.value)
    assert raised[0] is not raised[1]


async def test_the_end_of_an_event_that_is_cut_off() -> None:
    """A response that ends inside a frame is no end of the conversation."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.respond(EVENTS)
        peer.say(chunk_frame(b"one") + chunk_frame(b"two")[:-1], end=True)

    async with (
        RawHttp2Server(script) as server,
        client_of(server) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        assert (await anext(duplex)).bytes == b"one"
        with pytest.raises(EventStreamError, match="ended inside the frame"):
            await anext(duplex)


async def test_a_forgotten_stream_closes() -> None:
    """When the last reference dies without `async with`, the peer is told at once."""
    closed = asyncio.Event()

    async def script(peer: RawHttp2) -> None:
        await peer.closed.wait()
        closed.set()

    async with RawHttp2Server(script) as server, client_of(server) as client:
        duplex = client.invoke_bidirectional(MODEL)
        await duplex.__aenter__()
        del duplex
        await closed.wait()


async def test_one_reader_one_life() -> None:
    """A second reader and a second entering are refused, and harm nothing."""
    async with (
        RawHttp2Server(silent) as server,
        client_of(server) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        first = asyncio.create_task(duplex.__anext__())
        await asyncio.sleep(0)
        with pytest.raises(StreamError, match="another task"):
            await anext(duplex)
        with pytest.raises(StreamError, match="second time"):
            await duplex.__aenter__()
        assert not first.done()
        first.cancel()
        await asyncio.wait([first])


async def test_a_send_that_is_cancelled_closes() -> None:
    """The event was signed: those after it would rest on one that never came."""
    async with (
        RawHttp2Server(silent) as server,
        client_of(server) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        sending = asyncio.create_task(duplex.send(bytes(300_000)))
        waiting = asyncio.create_task(duplex.send(b"{}"))
        await asyncio.wait([sending], timeout=0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert not sending.done()  # one that waited for its turn is given up without harm
        sending.cancel()
        await asyncio.wait([sending])
        with pytest.raises(InvalidRequestError, match="closed"):
            await duplex.send(b"{}")


async def test_connecting_is_tried_again() -> None:
    """A refused connection is no conversation yet: it is repeated as the retry policy says, and told with attempts."""
    retry = StandardRetry(max_attempts=2, base_delay_s=0.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with BedrockClient(region="us-east-1", credentials=KEYS, endpoint_url=url, retry=retry) as client:
            with pytest.raises(ConnectError) as caught:
                await client.invoke_bidirectional(MODEL).__aenter__()
    assert len(caught.value.attempts) == 2


def test_names_are_checked() -> None:
    """A misspelt keyword and an ARN of another region are refused before anything is sent."""
    client = BedrockClient(region="us-east-1", credentials=KEYS)
    wrong: dict[str, Any] = {"inference_profil": "x"}
    with pytest.raises(InvalidRequestError, match="inference_profile"):
        client.invoke_bidirectional(MODEL, **wrong)
    with pytest.raises(InvalidModelIdError, match="eu-west-1"):
        client.invoke_bidirectional("arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-sonic-v1:0")


NOTHING_OF_HTTP2 = """
import sys
import bedrock_async, bedrock_async.testing
from bedrock_async import BedrockClient
BedrockClient(region="us-east-1", api_key="k")
assert not {"h2", "hpack", "hyperframe"} & set(sys.modules), "imported"
"""

WITHOUT_HTTP2 = """
import asyncio, sys
sys.modules["h2"] = None
from bedrock_async import BedrockClient, Credentials, MissingExtraError
from bedrock_async.testing import BedrockEmulator, ScriptedModel

async def main():
    async with BedrockEmulator([ScriptedModel.text("hello")]) as emulator:
        keys = Credentials("a", "b")
        async with BedrockClient(region="us-east-1", credentials=keys, endpoint_url=emulator.url) as client:
            assert (await client.converse("amazon.nova-lite-v1:0", "Hi")).text == "hello"
            try:
                client.invoke_bidirectional("amazon.nova-sonic-v1:0")
            except MissingExtraError as exc:
                assert "bedrock-async[bidirectional]" in str(exc), exc
            else:
                raise AssertionError("no error")

asyncio.run(main())
"""


@pytest.mark.parametrize("program", [NOTHING_OF_HTTP2, WITHOUT_HTTP2], ids=["not imported", "not installed"])
def test_http2_is_an_extra(program: str) -> None:
    """Nothing imports h2 before a conversation, and without it everything else works."""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
