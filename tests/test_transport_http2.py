"""Streams over HTTP/2 send and receive at once, keep to both windows, and end in errors of our tree."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

import pytest
import trustme

pytest.importorskip("h2")

from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset, WindowUpdated
from rawhttp2 import RawHttp2, RawHttp2Server

from bedrock_async.errors import (
    ClientClosedError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    ProtocolError,
    TLSError,
)
from bedrock_async.transport import WireRequest
from bedrock_async.transport.http2 import DuplexStream, Http2Transport

CONNECT_S = 10.0


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


async def test_tls_with_alpn() -> None:
    """Over TLS the peer is asked for h2, and checked against the trusted authority."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    trusting.set_alpn_protocols(["h2"])
    async with RawHttp2Server(echo, tls=context) as server:
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
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    trusting.set_alpn_protocols(["h2"])

    async def script(peer: RawHttp2) -> None:
        await peer.closed.wait()

    async with RawHttp2Server(script, tls=context) as server:
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
        with pytest.raises(ProtocolError, match="rules of HTTP/2"):
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


async def test_connecting_has_its_errors(transport: Http2Transport) -> None:
    """A refused connection, one that takes too long and a closed transport are told apart."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(ConnectTimeoutError):
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
