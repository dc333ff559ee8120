"""Streams over HTTP/2 send and receive at once, keep to both windows, and end in errors of our tree."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, SettingsAcknowledged, StreamEnded, StreamReset, WindowUpdated
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, SettingsFrame, WindowUpdateFrame
from rawhttp2 import RawHttp2, RawHttp2Server
from rawserver import RawServer
from transports import Tunnel, authority, server_tls

from bedrock_async.errors import (
    ClientClosedError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    ProtocolError,
    TLSError,
)
from bedrock_async.transport import WireRequest
from bedrock_async.transport._origin import Router
from bedrock_async.transport._proxies import EnvironmentProxies
from bedrock_async.transport.http2 import DuplexStream, Http2Transport

CONNECT_S = 30.0


def request_to(url: str) -> WireRequest:
    """Return the head of a request with a model id that must stay quoted."""
    host = url.partition("://")[2]
    return WireRequest("POST", f"{url}/model/a%3A0/invoke", {"host": host, "x-amz-date": "today"}, b"")


async def opened(transport: Http2Transport, server: RawHttp2Server) -> DuplexStream:
    """Open a stream to a server."""
    return await transport.open(request_to(server.url), connect_timeout_s=CONNECT_S)


@pytest.fixture
async def transport() -> Http2Transport:
    """A transport that takes nothing from the environment."""
    return Http2Transport(trust_env=False)


async def echo(peer: RawHttp2) -> None:
    """Answer 200, send every piece back, and end when the client has."""
    await peer.next(RequestReceived)
    peer.respond(("content-type", "test"))
    while True:
        event: DataReceived | StreamEnded = await peer.next(DataReceived, StreamEnded)
        if isinstance(event, StreamEnded):
            peer.h2.end_stream(1)
            peer.flush()
            return
        peer.h2.acknowledge_received_data(event.flow_controlled_length, 1)
        peer.say(event.data)


async def test_both_directions_at_once(transport: Http2Transport) -> None:
    """What is sent arrives before the request has ended, and the answer before that too; half-closing ends both."""
    async with RawHttp2Server(echo) as server:
        stream = await opened(transport, server)
        for piece in (b"one", b"two"):
            await stream.send(piece)
            assert await stream.receive() == piece
        assert (stream.status, stream.headers) == (200, {"content-type": "test"})
        stream.end()
        assert await stream.receive() == b""
        assert await stream.receive() == b""
        stream.abort()
        stream.abort()
        assert stream.is_closed


async def test_the_head_is_sent_as_it_was_signed(transport: Http2Transport) -> None:
    """The path stays quoted, the host becomes the authority, and all other headers are there."""
    heads: list[list[tuple[str, str]]] = []

    async def script(peer: RawHttp2) -> None:
        heads.append([(str(name), str(value)) for name, value in (await peer.next(RequestReceived)).headers])
        peer.respond(("a", "1"), ("a", "2"), status=403)
        peer.say(b"no", end=True)

    async with RawHttp2Server(script) as server:
        stream = await opened(transport, server)
        await stream.head()
        assert (stream.status, stream.headers) == (403, {"a": "1, 2"})
        assert await stream.read(100) == b"no"
        host = server.url.partition("://")[2]
    assert heads == [
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", host),
            (":path", "/model/a%3A0/invoke"),
            ("x-amz-date", "today"),
        ]
    ]


def http2_tls(made: trustme.CA, protocol: str = "h2") -> ssl.SSLContext:
    """Return the context of a server that speaks this protocol."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.issue_cert("localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType] - see transports.py
    context.set_alpn_protocols([protocol])
    return context


def trusting_http2(made: trustme.CA) -> ssl.SSLContext:
    """Return the context of a client that speaks HTTP/2."""
    context = ssl.create_default_context()
    made.configure_trust(context)  # pyright: ignore[reportUnknownMemberType]
    context.set_alpn_protocols(["h2"])
    return context


class Written(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += data

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        """Do nothing: there is no connection."""


async def test_a_server_that_speaks_first() -> None:
    """Its settings may come before the request is written: what answers them never goes before the preface."""
    stream = DuplexStream(peer="server", layers=[])
    written = Written()
    stream.connection_made(written)
    server = H2Connection(H2Configuration(client_side=False))
    server.initiate_connection()
    stream.data_received(server.data_to_send())
    router = Router(EnvironmentProxies({}))
    request = request_to("http://127.0.0.1:1")
    stream.start(request, router.route(request.url))
    assert written.data.startswith(b"PRI * HTTP/2.0")
    kinds = [type(event) for event in server.receive_data(written.data)]
    assert kinds.index(SettingsAcknowledged) < kinds.index(RequestReceived)


@pytest.mark.parametrize(
    ("frame", "error", "complaint"),
    [
        (GoAwayFrame(0, last_stream_id=0, error_code=2), ConnectionLostError, "GOAWAY, INTERNAL_ERROR"),
        (SettingsFrame(0, settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 0}), ProtocolError, "Max outbound streams"),
    ],
    ids=["goes away", "takes no streams"],
)
async def test_a_server_that_wants_no_request(frame: Frame, error: type[Exception], complaint: str) -> None:
    """It may say so before the request was written, and whoever waits for the head is told in our words."""
    stream = DuplexStream(peer="server", layers=[])
    stream.connection_made(Written())
    stream.data_received(SettingsFrame(0).serialize() + frame.serialize())
    request = request_to("http://127.0.0.1:1")
    stream.start(request, Router(EnvironmentProxies({})).route(request.url))
    with pytest.raises(error, match=complaint):
        await stream.head()


def answered() -> tuple[DuplexStream, Written]:
    """Return a stream whose response has begun, and what it wrote since."""
    stream, written = DuplexStream(peer="server", layers=[]), Written()
    stream.connection_made(written)
    request = request_to("http://127.0.0.1:1")
    stream.start(request, Router(EnvironmentProxies({})).route(request.url))
    head = HeadersFrame(1, data=b"\x88", flags=["END_HEADERS"])  # ``:status: 200``: RFC 7541, appendix A
    stream.data_received(SettingsFrame(0).serialize() + head.serialize())
    written.data = b""
    return stream, written


async def test_small_frames_take_little_room() -> None:
    """What nobody has read takes the room of its bytes, in however many frames it came."""
    stream, _ = answered()
    pair = DataFrame(1, data=b"ab").serialize()
    tracemalloc.start()
    try:
        for _ in range(20_000):
            stream.data_received(pair)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 4 * 40_000
    assert await stream.receive() == b"ab" * 20_000


async def test_the_window_opens_when_the_reader_comes_back() -> None:
    """What was read and is still being worked on counts as kept: no second window gathers behind it."""
    stream, written = answered()
    for _ in range(16):
        stream.data_received(DataFrame(1, data=bytes(16_384)).serialize())
    assert len(await stream.receive()) == 2**18
    assert written.data == b""
    again = asyncio.create_task(stream.receive())
    await asyncio.sleep(0)
    assert WindowUpdateFrame(1, window_increment=2**18).serialize() in written.data
    again.cancel()
    await asyncio.wait([again])


async def test_tls_with_alpn() -> None:
    """Over TLS the peer is asked for h2, and checked against the trusted authority."""
    made = trustme.CA()
    trusting = trusting_http2(made)
    async with RawHttp2Server(echo, tls=http2_tls(made)) as server:
        stream = await opened(Http2Transport(ssl_context=trusting, trust_env=False), server)
        await stream.send(bytes(100_000))
        received = b""
        while len(received) < 100_000:
            received += await stream.receive()
        stream.end()
        assert await stream.receive() == b""
        stream.abort()
        with pytest.raises(TLSError):
            await opened(Http2Transport(trust_env=False), server)


async def test_a_peer_without_http2_is_named() -> None:
    """A TLS server that does not agree on h2 is refused before anything is sent to it."""
    made = trustme.CA()
    trusting = trusting_http2(made)

    async def script(peer: RawHttp2) -> None:
        await peer.closed.wait()

    async with RawHttp2Server(script, tls=http2_tls(made, "http/1.1")) as server:
        with pytest.raises(ProtocolError, match="does not offer HTTP/2"):
            await opened(Http2Transport(ssl_context=trusting, trust_env=False), server)


async def test_sending_waits_for_a_peer_that_stops_reading(transport: Http2Transport) -> None:
    """No more than the peer's window goes out; the rest follows as soon as it is opened, and nothing is lost."""
    total = 300_000
    window = 65_535
    full, go_on = asyncio.Event(), asyncio.Event()
    seen: list[int] = []

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        size = 0
        while size < window:
            size += len((await peer.next(DataReceived)).data)
        seen.append(size)
        full.set()
        await go_on.wait()
        peer.h2.acknowledge_received_data(size, 1)
        peer.flush()
        while size < total:
            event = await peer.next(DataReceived)
            size += len(event.data)
            peer.h2.acknowledge_received_data(event.flow_controlled_length, 1)
            peer.flush()
        seen.append(size)
        peer.respond()
        peer.say(b"", end=True)

    async with RawHttp2Server(script) as server:
        stream = await opened(transport, server)
        sending = asyncio.create_task(stream.send(bytes(total)))
        await full.wait()
        assert not sending.done()
        go_on.set()
        await sending
        await stream.head()
    assert seen == [window, total]


async def test_what_nobody_reads_is_bounded(transport: Http2Transport) -> None:
    """A peer may send 256 KiB ahead of the reader; reading opens the window again."""
    sent: list[int] = []
    full = asyncio.Event()

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.respond()
        await peer.next(DataReceived)  # by now the settings have arrived
        while (size := min(peer.h2.local_flow_control_window(1), 16_384)) > 0:
            peer.say(bytes(size))
            sent.append(size)
        full.set()
        await peer.next(WindowUpdated)
        assert peer.h2.local_flow_control_window(1) > 0
        peer.say(b"more")

    async with RawHttp2Server(script) as server:
        stream = await opened(transport, server)
        await stream.send(b"go")
        await full.wait()
        received = 0
        while received < 2**18:
            received += len(await stream.receive())
        assert (received, sum(sent)) == (2**18, 2**18)
        assert await stream.receive() == b"more"
        stream.abort()


async def test_padding_is_given_back(transport: Http2Transport) -> None:
    """Frames of nothing but padding take the window, and whoever waits for data opens it again."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.respond()
        await peer.next(DataReceived)
        while peer.h2.local_flow_control_window(1) > 256:
            peer.h2.send_data(1, b"", pad_length=255)
        peer.flush()
        await peer.next(WindowUpdated)
        peer.say(b"data")

    async with RawHttp2Server(script) as server:
        stream = await opened(transport, server)
        await stream.send(b"go")
        assert await stream.receive() == b"data"
        stream.abort()


async def test_answers_that_nobody_takes(transport: Http2Transport) -> None:
    """A peer that sends pings without end and reads nothing is given up before its answers fill the memory."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.respond()
        peer.transport.pause_reading()
        pings = PingFrame(0, opaque_data=b"12345678").serialize() * 4096
        while not peer.transport.is_closing():
            if peer.transport.get_write_buffer_size() < 2**20:
                peer.transport.write(pings)
            await asyncio.sleep(0)

    async with RawHttp2Server(script) as server:
        stream = await opened(transport, server)
        with pytest.raises(ConnectionLostError, match="requested answers"):
            await stream.receive()
        assert stream.is_closed


async def test_a_reset_is_told(transport: Http2Transport) -> None:
    """What came before a reset is handed out; then reader and sender learn its code, every time they ask."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.respond()
        peer.say(b"first")
        peer.h2.reset_stream(1, ErrorCodes.INTERNAL_ERROR)
        peer.flush()

    async with RawHttp2Server(script) as server:
        stream = await opened(transport, server)
        assert await stream.receive() == b"first"
        for _ in range(2):
            with pytest.raises(ConnectionLostError, match=r"reset the stream \(INTERNAL_ERROR\) after 5 bytes") as info:
                await stream.receive()
            assert info.value.sent
        with pytest.raises(ConnectionLostError, match="reset"):
            await stream.send(b"late")
        with pytest.raises(ConnectionLostError, match="reset"):
            stream.end()


async def test_goaway_in_mid_conversation(transport: Http2Transport) -> None:
    """A server that goes away ends the stream with its code, also for a sender that waits for it."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        await peer.next(DataReceived)
        peer.h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
        peer.flush()

    async with RawHttp2Server(script) as server:
        stream = await opened(transport, server)
        with pytest.raises(ConnectionLostError, match=r"GOAWAY, ENHANCE_YOUR_CALM"):
            await stream.send(bytes(300_000))
        with pytest.raises(ConnectionLostError, match="GOAWAY"):
            await stream.head()


async def test_a_connection_that_breaks(transport: Http2Transport) -> None:
    """A connection that closes without a word is no end of the response."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.respond()
        peer.transport.close()

    async with RawHttp2Server(script) as server:
        stream = await opened(transport, server)
        with pytest.raises(ConnectionLostError):
            await stream.receive()


async def test_what_is_no_http2_is_refused(transport: Http2Transport) -> None:
    """An HTTP/1.1 server is named as a peer that does not speak the protocol."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        with suppress(ConnectionError):
            await reader.read()
            writer.close()
            await writer.wait_closed()
        served.set()

    served = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        stream = await transport.open(request_to(url), connect_timeout_s=CONNECT_S)
        with pytest.raises(ProtocolError, match="violated HTTP/2"):
            await stream.head()
        assert stream.is_closed
        await served.wait()


async def test_closing_resets_the_stream(transport: Http2Transport) -> None:
    """abort() tells the peer, closes the socket, and whoever reads on is told that it was closed here."""
    resets: list[int] = []
    closed = asyncio.Event()

    async def script(peer: RawHttp2) -> None:
        resets.append(int((await peer.next(StreamReset)).error_code or 0))
        await peer.closed.wait()
        closed.set()

    async with RawHttp2Server(script) as server:
        stream = await opened(transport, server)
        stream.abort()
        with pytest.raises(ConnectionLostError, match="closed here"):
            await stream.receive()
        await closed.wait()
    assert resets == [int(ErrorCodes.CANCEL)]


async def test_a_cancelled_read_loses_nothing(transport: Http2Transport) -> None:
    """After a read was cancelled the next one returns what came."""
    async with RawHttp2Server(echo) as server:
        stream = await opened(transport, server)
        reading = asyncio.create_task(stream.receive())
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        await stream.send(b"still here")
        assert await stream.receive() == b"still here"
        stream.end()
        assert await stream.receive() == b""
        stream.abort()


async def test_a_send_cancelled_in_the_middle_closes_the_stream(transport: Http2Transport) -> None:
    """Half an event cannot be taken back: the stream is closed, not continued in the wrong place."""
    full = asyncio.Event()

    async def script(peer: RawHttp2) -> None:
        size = 0
        while size < 65_535:
            size += len((await peer.next(DataReceived)).data)
        full.set()

    async with RawHttp2Server(script) as server:
        stream = await opened(transport, server)
        sending = asyncio.create_task(stream.send(bytes(300_000)))
        await full.wait()
        sending.cancel()
        await asyncio.wait([sending])
        assert sending.cancelled()
        assert stream.is_closed


@pytest.mark.parametrize("turns", range(8))
async def test_closing_the_transport_while_a_stream_opens(transport: Http2Transport, turns: int) -> None:
    """Whenever it comes, no stream outlives the transport."""

    async def script(peer: RawHttp2) -> None:
        await peer.closed.wait()

    async with RawHttp2Server(script) as server:
        opening = asyncio.create_task(opened(transport, server))
        for _ in range(turns):
            await asyncio.sleep(0)
        await transport.aclose()
        (outcome,) = await asyncio.gather(opening, return_exceptions=True)
        assert isinstance(outcome, ClientClosedError) or (isinstance(outcome, DuplexStream) and outcome.is_closed)


async def test_connecting_has_its_errors(transport: Http2Transport) -> None:
    """A refused connection, one that takes too long and a closed transport are told apart."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(ConnectTimeoutError, match=r"no connection to 127\.0\.0\.1:\d+ was made within 0 s\."):
            await transport.open(request_to(url), connect_timeout_s=0.0)
    with pytest.raises(ConnectError, match="refused"):
        await transport.open(request_to(url), connect_timeout_s=CONNECT_S)
    await transport.aclose()
    await transport.aclose()
    with pytest.raises(ClientClosedError):
        await transport.open(request_to(url), connect_timeout_s=CONNECT_S)


async def test_closing_the_transport_closes_its_streams(transport: Http2Transport) -> None:
    """aclose() ends every stream that is open."""
    async with RawHttp2Server(echo) as server:
        stream = await opened(transport, server)
        await transport.aclose()
        with pytest.raises(ConnectionLostError):
            await stream.send(b"late")


async def test_a_goaway_that_spares_the_stream(transport: Http2Transport) -> None:
    """A server that only wants no new streams changes nothing for this one, to its proper end."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.respond()
        peer.say(b"one")
        peer.transport.write(GoAwayFrame(0, last_stream_id=1, error_code=0).serialize())
        await peer.next(DataReceived)
        peer.say(b"two", end=True)

    async with RawHttp2Server(script) as server:
        stream = await opened(transport, server)
        assert await stream.receive() == b"one"
        await stream.send(b"still here")
        assert await stream.receive() == b"two"
        assert await stream.receive() == b""
        stream.abort()


@pytest.mark.parametrize(
    "broken", [b"\0\0\4\3\0\0\0\0\0\0\0\0\0", b"\xff\xff\xff\0\0\0\0\0\x01"], ids=["misplaced", "too long"]
)
async def test_what_came_before_a_broken_frame(transport: Http2Transport, broken: bytes) -> None:
    """Data in the same segment as a frame that cannot be is still handed out, and then the fault."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.respond()
        await peer.next(DataReceived)
        peer.h2.send_data(1, b"first")
        peer.transport.write(peer.h2.data_to_send() + broken)

    async with RawHttp2Server(script) as server:
        stream = await opened(transport, server)
        await stream.head()
        await stream.send(b"go")
        assert await stream.receive() == b"first"
        with pytest.raises(ProtocolError, match="violated HTTP/2"):
            await stream.receive()


async def test_a_frame_that_is_too_long(transport: Http2Transport) -> None:
    """Its first bytes are enough: nothing of it is kept, and the peer is named."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.transport.write(b"\xff\xff\xff\0\0\0\0\0\x01")

    async with RawHttp2Server(script) as server:
        stream = await opened(transport, server)
        with pytest.raises(ProtocolError, match="a frame of 16777215 bytes; 16384 are allowed"):
            await stream.head()
        assert stream.is_closed


async def test_a_status_that_is_none(transport: Http2Transport) -> None:
    """A head that cannot be read is a broken rule of the protocol."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.h2.send_headers(1, [(":status", "fine")])
        peer.flush()

    async with RawHttp2Server(script) as server:
        stream = await opened(transport, server)
        with pytest.raises(ProtocolError, match="violated HTTP/2"):
            await stream.head()


@pytest.mark.parametrize(("status", "ended"), [(403, False), (200, True)], ids=["refused", "answered in full"])
async def test_a_send_that_waits_for_nobody_ends(transport: Http2Transport, status: int, *, ended: bool) -> None:
    """Who is refused, or has the whole answer, is not listened to any more: the send that waits is told at once."""
    told = asyncio.Event()

    async def script(peer: RawHttp2) -> None:
        size = 0
        while size < 65_535:
            size += len((await peer.next(DataReceived)).data)
        peer.respond(status=status)
        peer.say(b"no", end=ended)
        await told.wait()
        if not ended:
            peer.say(b"", end=True)

    async with RawHttp2Server(script) as server:
        stream = await opened(transport, server)
        listening = stream.takes_input
        with pytest.raises(ConnectionLostError, match="accepts nothing more"):
            await stream.send(bytes(300_000))
        told.set()
        assert (listening, stream.takes_input) == (True, False)
        assert (stream.status, await stream.read(100)) == (status, b"no")


async def test_each_failure_is_an_object_of_its_own(transport: Http2Transport) -> None:
    """Raised again, an error has a traceback of its own and the same cause."""

    async def script(peer: RawHttp2) -> None:
        await peer.next(RequestReceived)
        peer.transport.abort()

    async with RawHttp2Server(script) as server:
        stream = await opened(transport, server)
        raised: list[BaseException] = []
        for _ in range(2):
            with pytest.raises(ConnectionLostError) as caught:
                await stream.receive()
            raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert str(raised[0]) == str(raised[1])
    assert raised[0].__cause__ is raised[1].__cause__ is not None


async def test_a_proxy_is_asked_for_a_tunnel() -> None:
    """Also where the endpoint is plain http: a proxy that would read the request cannot carry both directions."""
    async with RawHttp2Server(echo) as server:
        tunnel = Tunnel(int(server.url.rpartition(":")[2]))
        async with RawServer(tunnel) as proxy:
            transport = Http2Transport(proxies={"http": f"http://user:secret@{proxy.host}"}, trust_env=False)
            await spoken_through(transport, server)
    assert tunnel.asked.line == f"CONNECT {server.url.removeprefix('http://')} HTTP/1.1".encode()
    assert (b"proxy-authorization", b"Basic dXNlcjpzZWNyZXQ=") in tunnel.asked.headers


async def test_a_secure_proxy_has_a_trust_of_its_own(tmp_path: Path) -> None:
    """The proxy is checked against its bundle, the endpoint against the other; without it the proxy is not trusted."""
    of_endpoint = trustme.CA()
    of_endpoint.cert_pem.write_to_path(tmp_path / "endpoint.pem")
    authority().cert_pem.write_to_path(tmp_path / "proxy.pem")
    async with RawHttp2Server(echo, tls=http2_tls(of_endpoint)) as server:
        tunnel = Tunnel(int(server.url.rpartition(":")[2]))
        async with RawServer(tunnel, tls=server_tls()) as proxy:
            options: dict[str, Any] = {
                "proxies": {"https": f"https://{proxy.host}"},
                "ca_bundle": str(tmp_path / "endpoint.pem"),
                "trust_env": False,
            }
            await spoken_through(Http2Transport(**options, proxy_ca_bundle=str(tmp_path / "proxy.pem")), server)
            with pytest.raises(TLSError):
                await opened(Http2Transport(**options), server)


async def spoken_through(transport: Http2Transport, server: RawHttp2Server) -> None:
    """Send something to a server that sends it back."""
    stream = await opened(transport, server)
    await stream.send(b"through")
    assert await stream.receive() == b"through"
    await transport.aclose()
