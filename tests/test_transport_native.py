"""What is particular to our own transport: its parser's limits, its buffers, its TLS, and what it costs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import ssl
import subprocess
import sys
from asyncio.sslproto import SSLProtocol
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rawserver import RawConnection, RawRequest, RawServer, Script
from transports import (
    CONNECT_S,
    OK,
    Tunnel,
    authority,
    body_of,
    client_tls,
    post,
    seen_closed,
    server_tls,
    turns,
)
from typing_extensions import override

from bedrock_async.errors import (
    ClientClosedError,
    ConnectError,
    ConnectionLostError,
    InvalidRequestError,
    ProtocolError,
    TLSError,
    WrongEventLoopError,
)
from bedrock_async.transport import AiohttpTransport, NativeTransport, WireRequest, as_transport
from bedrock_async.transport import native as module
from bedrock_async.transport._http1 import Connection
from bedrock_async.transport._tls_layer import TlsLayer

ROOT: Final = Path(__file__).parent.parent
CHUNKED: Final = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@asynccontextmanager
async def serving(
    script: Script, *, tls: bool = False, max_connections: int | None = None
) -> AsyncGenerator[tuple[RawServer, NativeTransport]]:
    """Enter a server with this script and a transport of our own."""
    server_context, client_context = (server_tls(), client_tls()) if tls else (None, None)
    async with RawServer(script, tls=server_context) as server:
        transport = NativeTransport(max_connections=max_connections, ssl_context=client_context, trust_env=False)
        try:
            yield server, transport
        finally:
            await transport.aclose()


def answering(*pieces: bytes, end: bool = False) -> Script:
    """Return a script that sends these pieces after every request."""

    async def script(peer: RawConnection) -> None:
        while True:
            await peer.read_request()
            await peer.send(*pieces)
            if end:
                peer.end()

    return script


def connections_of(transport: NativeTransport) -> list[Connection]:
    """Return the open connections of a transport."""
    assert transport._pool is not None
    return list(transport._pool._origins)


def is_paused(connection: Connection) -> bool:
    """Whether a connection reads no more for the moment."""
    return connection.paused


# -- which transport is taken


def test_without_httptools_aiohttp_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where httptools cannot be built there is a transport all the same."""
    for name in ("httptools", "bedrock_async.transport.native", "bedrock_async.transport._http1"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "httptools", None)  # what the import system understands as "not there"
    assert type(as_transport(None)[0]) is AiohttpTransport


def test_a_client_of_its_own_imports_no_other_http_library() -> None:
    """With keys at hand, a client costs neither aiohttp's import nor httpx's nor botocore's."""
    program = (
        "import sys\n"
        "from bedrock_async import BedrockClient, Credentials\n"
        "BedrockClient(region='us-east-1', credentials=Credentials('AKID', 'secret'))\n"
        "assert 'httptools' in sys.modules\n"
        "heavy = {'aiohttp', 'yarl', 'httpx', 'httpx2', 'httpcore', 'botocore', 'uvloop'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_another_event_loop_is_refused() -> None:
    """Connections belong to a loop: in another one there is an error, not a wait without end."""
    transport = NativeTransport(trust_env=False)
    request = WireRequest("POST", "http://127.0.0.1:1/x", {}, b"")

    async def ask() -> None:
        await transport.send(request, connect_timeout_s=CONNECT_S)

    with pytest.raises(ConnectError):
        asyncio.run(ask())
    with pytest.raises(WrongEventLoopError, match="an event loop other"):
        asyncio.run(ask())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("turns_before", range(16))
async def test_closing_while_connecting(turns_before: int, *, tls: bool) -> None:
    """At whatever step it comes: the request ends with the transport, and no connection is left."""

    async def script(peer: RawConnection) -> None:
        await peer.closed.wait()

    async with serving(script, tls=tls) as (server, transport):
        sending = asyncio.create_task(transport.send(post(server), connect_timeout_s=CONNECT_S))
        await turns(turns_before)
        await transport.aclose()
        with pytest.raises(ClientClosedError):
            await sending
        await turns(20)
        for peer in server.connections:
            await seen_closed(peer)


# -- heads


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_response_that_trickles_in(*, tls: bool) -> None:
    """Byte by byte is the same as at once."""
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\ntransfer-encoding: chunked\r\n\r\n"
    answer += b"5;note=x\r\nhello\r\n0\r\nx-trailer: 1\r\n\r\n"
    async with serving(answering(*(answer[at : at + 1] for at in range(len(answer)))), tls=tls) as (server, transport):
        for _ in range(2):
            response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
            assert (response.status, dict(response.headers)) == (200, {"x-a": "1, 2", "transfer-encoding": "chunked"})
            assert await body_of(response) == b"hello"
        assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 300 + b"\r\n", "more than 256 header fields"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n", "a head of more than 131072 bytes"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, "a head of more than 131072 bytes"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", "status 101"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "status 101"),
        (b"HTTP/2 200\r\n\r\n", "Expected"),
        (b"HTTP/1.1 200 OK\r\nx y: 1\r\n\r\n", "header"),
        (b"HTTP/1.1 200 OK\r\nx: 1\rz: 2\r\n\r\n", "header"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok", "Transfer-Encoding"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n", "Content-Length"),
    ],
    ids=["fields", "long", "interim", "upgrade", "101", "version", "name", "cr", "both", "negative", "overflow"],
)
async def test_heads_that_are_refused(answer: bytes, said: str) -> None:
    """A head without end fills no memory; what could be read in two ways is not read at all."""
    async with serving(answering(answer)) as (server, transport):
        with pytest.raises(ProtocolError, match=said):
            await transport.send(post(server), connect_timeout_s=CONNECT_S)
        await seen_closed(server.connections[0])


@pytest.mark.parametrize(
    "headers",
    [
        {"content-length": "1"},
        {"Transfer-Encoding": "chunked"},
        {"x:": "1"},
        {"": "1"},
        {"x-a": "\ud800"},
        {"x-a": "1\r2"},
    ],
)
async def test_headers_that_are_refused(headers: dict[str, str]) -> None:
    """Names that are none, half characters, and what says how long the body is."""
    async with serving(answering(OK)) as (server, transport):
        with pytest.raises(InvalidRequestError, match=rf"the request to {server.host} cannot be sent"):
            await transport.send(post(server, headers=headers), connect_timeout_s=CONNECT_S)
        assert server.connections == []


@pytest.mark.parametrize("path", ["/a b", "/a\r\nx: 1", "/a\tb", "/ä", "/a\x00b"])
async def test_targets_that_are_refused(path: str) -> None:
    """A space or a line break in a path would be another request."""
    async with serving(answering(OK)) as (server, transport):
        with pytest.raises(InvalidRequestError, match="unquoted characters"):
            await transport.send(post(server, path), connect_timeout_s=CONNECT_S)
        with pytest.raises(InvalidRequestError, match="is not a method"):
            await transport.send(WireRequest("GET /x", server.url, {}, b""), connect_timeout_s=CONNECT_S)
        assert server.connections == []


async def test_header_values_may_be_any_text() -> None:
    """Percent signs and characters beyond ASCII arrive as they are, in UTF-8: as they were signed."""
    asked: list[RawRequest] = []

    async def script(peer: RawConnection) -> None:
        asked.append(await peer.read_request())
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-b: 100 %s \xc3\xa4 \xff\r\n\r\n")

    async with serving(script) as (server, transport):
        response = await transport.send(
            post(server, "/%25?a=%d", headers={"x-a%": "%s ä"}), connect_timeout_s=CONNECT_S
        )
        assert response.headers["x-b"] == "100 %s ä \udcff"
    assert asked[0].line == b"POST /%25?a=%d HTTP/1.1"
    assert (b"x-a%", "%s ä".encode()) in asked[0].headers


@pytest.mark.parametrize("url_end", ["", "?a=b/c", "/?a=b#part", "#part"])
async def test_urls_without_a_path(url_end: str) -> None:
    """The target begins with a slash, and a fragment stays here."""
    asked: list[RawRequest] = []

    async def script(peer: RawConnection) -> None:
        asked.append(await peer.read_request())
        await peer.send(OK)

    async with serving(script) as (server, transport):
        await transport.send(WireRequest("GET", server.url + url_end, {}, b""), connect_timeout_s=CONNECT_S)
    query = url_end.partition("#")[0].lstrip("/")
    assert asked[0].line == f"GET /{query} HTTP/1.1".encode()


# -- bodies


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_statuses_without_a_body(status: bytes) -> None:
    """No length is needed to know that nothing follows, and the connection is used again."""
    async with serving(answering(b"HTTP/1.1 %b\r\nx-a: 1\r\n\r\n" % status)) as (server, transport):
        for _ in range(2):
            response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
            assert response.status == int(status[:3])
            assert await response.receive() == b""
        assert len(server.connections) == 1


async def test_the_answer_to_head_has_no_body() -> None:
    """Whatever length it announces."""
    async with serving(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")) as (server, transport):
        for _ in range(2):
            request = WireRequest("HEAD", f"{server.url}/x", {}, b"")
            response = await transport.send(request, connect_timeout_s=CONNECT_S)
            assert response.headers["content-length"] == "1000"
            assert await response.read(100) == b""


@pytest.mark.parametrize(
    "content", [b"not\r\n", b"5\r\nhello", b"5\r\nhellooo\r\n0\r\n\r\n", b"ffffffffffffffffff\r\n"]
)
async def test_chunks_that_are_none(content: bytes) -> None:
    """What came before the fault is handed out; then comes the error, never an end that looks right."""
    async with serving(answering(CHUNKED + b"3\r\nabc\r\n" + content, end=True)) as (server, transport):
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        with pytest.raises((ProtocolError, ConnectionLostError)):
            await body_of(response)
        await seen_closed(server.connections[0])


@pytest.mark.parametrize(
    "content",
    [b"3;" + b"x" * 300_000, b"0\r\nx-a: " + b"y" * 300_000, b"0\r\n" + b"x: y\r\n" * 1000],
    ids=["extension", "trailer", "trailers"],
)
async def test_a_body_that_gets_nowhere(content: bytes) -> None:
    """Chunk extensions and trailers without end fill no memory, and nobody waits for them."""
    async with serving(answering(CHUNKED + b"3\r\nabc\r\n", content)) as (server, transport):
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await response.receive() == b"abc"
        with pytest.raises(ProtocolError, match=r"between two pieces of the body|more than 256 header fields"):
            await response.receive()
        await seen_closed(server.connections[0])


@pytest.mark.parametrize("head", [b"", b"transfer-encoding: gzip\r\n", b"connection: close\r\n"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_body_that_ends_with_the_connection(head: bytes, *, tls: bool) -> None:
    """Over TLS, too, where the peer says goodbye; the connection is not used again."""
    script = answering(b"HTTP/1.1 200 OK\r\n%b\r\n" % head, b"all ", b"of it", end=True)
    async with serving(script, tls=tls) as (server, transport):
        for number in range(2):
            response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
            assert await body_of(response) == b"all of it"
            await seen_closed(server.connections[number])


async def test_a_tls_connection_that_is_cut_off_does_not_end_a_body() -> None:
    """Without a length only the peer's goodbye tells the end from an attacker who cuts the connection."""
    cut = asyncio.Event()

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nall of")
        await cut.wait()
        peer.transport.abort()

    async with serving(script, tls=True) as (server, transport):
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await response.receive() == b"all of"
        cut.set()
        with pytest.raises(ConnectionLostError, match="after 6 bytes"):
            await response.receive()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    "extra", [b"HTTP/1.1 500 No\r\ncontent-length: 4\r\n\r\nevil", b"H", b"garbage", b"\x00"], ids=str
)
@pytest.mark.parametrize("together", [True, False], ids=["together", "later"])
async def test_what_follows_a_response_is_nobodys(extra: bytes, *, tls: bool, together: bool) -> None:
    """A response that nobody asked for must not become the answer to the next request, nor change the one before."""
    taken = asyncio.Semaphore(0)

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(OK + extra if together else OK)
        await taken.acquire()
        if not together:
            await peer.send(extra)
        await peer.closed.wait()

    async with serving(script, tls=tls) as (server, transport):
        for number in range(2):
            response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
            assert (response.status, dict(response.headers)) == (200, {"content-length": "2"})
            assert await response.read(100) == b"ok"
            taken.release()
            await seen_closed(server.connections[number])
        assert len(server.connections) == 2


async def test_line_breaks_between_responses_are_harmless() -> None:
    """Some old servers send one too many (RFC 9112, section 2.2): the parser passes over them within a read."""
    async with serving(answering(b"\r\n" + OK)) as (server, transport):
        for _ in range(2):
            response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
            assert await response.read(100) == b"ok"
        assert len(server.connections) == 1


# -- requests


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_an_answer_before_the_request_is_sent(*, tls: bool) -> None:
    """A server that refuses a long body after its head is heard, and the connection is not used again."""
    refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno"

    async def script(peer: RawConnection) -> None:
        while b"\r\n\r\n" not in peer.received:
            await peer.more()
        peer.transport.pause_reading()
        await peer.send(refusal)
        await peer.closed.wait()

    async with serving(script, tls=tls) as (server, transport):
        response = await transport.send(post(server, body=b"x" * 20_000_000), connect_timeout_s=CONNECT_S)
        assert (response.status, await response.read(100)) == (413, b"no")
        assert connections_of(transport) == []
        server.connections[0].transport.resume_reading()
        await seen_closed(server.connections[0])


async def test_a_long_body_lets_others_have_their_turn() -> None:
    """Twenty megabytes are sent in pieces, between which the loop goes on."""
    body = random.Random(1).randbytes(20_000_000)
    async with serving(answering(OK)) as (server, transport):
        sending = asyncio.create_task(transport.send(post(server, body=body), connect_timeout_s=CONNECT_S))
        turn = 0
        while not sending.done():
            await asyncio.sleep(0)
            turn += 1
        assert await (await sending).read(100) == b"ok"
    assert turn > 20
    assert server.connections[0].received.endswith(body)


# -- the reader's pace


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
async def test_a_slow_reader_slows_the_peer_down(*, tls: bool, chunked: bool) -> None:
    """What waits for the reader is bounded; nothing is lost when it goes on."""
    body = random.Random(2).randbytes(12_000_000)
    pieces = [body[at : at + 100_000] for at in range(0, len(body), 100_000)]

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        if chunked:
            await peer.send(CHUNKED, *(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces), b"0\r\n\r\n")
        else:
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body), *pieces)

    async with serving(script, tls=tls) as (server, transport):
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        (connection,) = connections_of(transport)
        while not is_paused(connection):
            await turns(1)
        await turns(300)
        waiting = sum(map(len, connection._pieces))
        assert is_paused(connection)
        assert waiting < 2**17 + 2**16
        first = await response.receive()
        assert len(first) == waiting
        assert not is_paused(connection)
        assert first + await body_of(response) == body


async def test_abort_while_the_peer_is_slowed_down() -> None:
    """A connection that is not read is closed as fast as any."""
    async with serving(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n" + b"x" * 9_000_000)) as (
        server,
        transport,
    ):
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        while not is_paused(connections_of(transport)[0]):
            await turns(1)
        response.abort()
        await seen_closed(server.connections[0])
        with pytest.raises(ConnectionLostError, match="closed here"):
            await response.receive()


class Nowhere(asyncio.Transport):
    """A transport without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    @override
    def abort(self) -> None:
        self.aborted = True

    @override
    def get_write_buffer_size(self) -> int:
        return 0


class Owner:
    """Whoever gets a connection back."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def freed(self, connection: Connection) -> None:
        self.told.append("freed")

    def closed(self, connection: Connection) -> None:
        self.told.append("closed")


def connected(*layers: TlsLayer, loop: asyncio.AbstractEventLoop | None = None) -> tuple[Connection, Nowhere, Owner]:
    """Return a connection without a network."""
    transport, owner = Nowhere(), Owner()
    loop = loop or asyncio.get_running_loop()
    connection = Connection(owner, loop, peer="a:443", buffer=memoryview(bytearray(1000)), layers=layers)
    connection.connection_made(transport)
    return connection, transport, owner


def arrives(connection: Connection, data: bytes) -> None:
    """Let the connection read this."""
    connection.get_buffer(-1)[: len(data)] = data
    connection.buffer_updated(len(data))


def test_abort_after_the_loop_was_closed() -> None:
    """It never raises, whenever a response is collected."""
    loop = asyncio.new_event_loop()
    connection, transport, owner = connected(loop=loop)
    response = connection.start("POST", b"head", b"")
    arrives(connection, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab")
    loop.close()
    response.abort()
    response.abort()
    assert owner.told == ["closed"]
    assert not transport.aborted  # a transport asks its loop


async def test_a_connection_that_was_lost_before_it_was_used() -> None:
    """A request that is given to it fails, and is told why; nothing is written."""
    connection, transport, owner = connected()
    reset = ConnectionResetError(104, "reset")
    connection.connection_lost(reset)
    response = connection.start("POST", b"head", b"")
    await response.head
    assert (response.status, response.unanswered) == (0, True)
    assert isinstance(response.failure, ConnectionLostError)
    assert response.failure.__cause__ is reset
    assert (transport.written, owner.told) == (b"", ["closed"])


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Return a response in one of the forms of HTTP/1.1, and its body."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=4))
    body = b"".join(pieces)
    head = b"HTTP/1.1 100 Continue\r\n\r\n" * draw(st.integers(0, 1)) + b"HTTP/1.1 200 OK\r\nx-a:\r\n"
    if draw(st.booleans()):
        return head + b"content-length: %d\r\n\r\n" % len(body) + body, body
    chunks = b"".join(b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\nx-b: 1\r\n\r\n", body


def cut(data: bytes, draw: st.DataObject) -> list[bytes]:
    """Return the bytes in pieces."""
    places = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=6)))
    return [data[start:end] for start, end in pairwise([0, *places, len(data)]) if start < end]


@given(st.data())
async def test_however_a_response_is_cut(data: st.DataObject) -> None:
    """The body is the same, the connection is given back, and nothing else is ever handed out."""
    answer, body = data.draw(answers())
    connection, _, owner = connected()
    response = connection.start("POST", b"", b"")
    for piece in cut(answer, data):
        arrives(connection, piece)
    assert (response.status, await response.read(1000)) == (200, body)
    assert owner.told == ["freed"]


@given(st.data())
async def test_whatever_arrives(data: st.DataObject) -> None:
    """Damaged responses, and what is none, end in a failure or in a body: never in another error, or in no end."""
    answer, _ = data.draw(answers())
    at, removed = data.draw(st.integers(0, len(answer))), data.draw(st.integers(0, 5))
    damaged = answer[:at] + data.draw(st.binary(max_size=5)) + answer[at + removed :]
    connection, _, owner = connected()
    response = connection.start("POST", b"", b"")
    for piece in cut(damaged, data):
        if connection.closed:
            break
        arrives(connection, piece)
    connection.eof_received()
    connection.connection_lost(None)
    await response.head
    if response.status:
        with contextlib.suppress(ProtocolError, ConnectionLostError):
            await response.read(1000)
    else:
        assert isinstance(response.failure, ProtocolError | ConnectionLostError)
    assert owner.told in (["closed"], ["freed", "closed"])


# -- TLS


async def test_tls_takes_little_memory() -> None:
    """What arrives is read through one buffer of 16 KiB, not through 256 KiB for each connection, as asyncio does."""

    def users_of_asyncios_tls() -> list[object]:
        return [each for each in gc.get_objects() if isinstance(each, SSLProtocol)]

    before = users_of_asyncios_tls()  # kept, so that none of them goes meanwhile
    script = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc")
    async with serving(script, tls=True) as (server, transport):
        for _ in range(5):
            await transport.send(post(server), connect_timeout_s=CONNECT_S)
        buffers = {id(connection.get_buffer(-1).obj) for connection in connections_of(transport)}
        assert len(connections_of(transport)) == 5
        assert len(buffers) == 1
        assert len(connections_of(transport)[0].get_buffer(-1)) == 2**14
        assert len(users_of_asyncios_tls()) - len(before) == 5  # the server's


class Layer(TlsLayer):
    """TLS that is none: what it has to say of itself, and what it cannot do, is the test's."""

    def __init__(self, name: bytes, *, reply: bytes = b"", broken: bool = False) -> None:
        self.failure = None
        self.said_goodbye = False
        self._name = name
        self._reply = reply
        self._broken = broken

    @override
    def open(self, data: bytes | memoryview) -> bytes:
        return bytes(data)

    @override
    def seal(self, data: bytes | memoryview) -> bytes:
        if self._broken:
            error = ssl.SSLWantReadError(2, "The operation did not complete (write)")
            error.reason = "WANT_READ"  # as OpenSSL's own errors have one
            raise error
        return b"%b(%b)" % (self._name, bytes(data))

    @property
    @override
    def outgoing(self) -> bytes:
        reply, self._reply = self._reply, b""
        return reply


async def test_tls_that_has_something_to_say_of_itself() -> None:
    """An answer to new keys goes out at once, sealed by the layers below it."""
    connection, transport, _ = connected(Layer(b"outer"), Layer(b"inner", reply=b"keys"))
    connection.start("POST", b"head", b"")
    assert transport.written == b"outer(inner(head))"
    arrives(connection, b"HTTP/1.1 200 OK\r\n")
    assert transport.written == b"outer(inner(head))outer(keys)"


@pytest.mark.parametrize("size", [0, 100_000])
async def test_tls_that_cannot_be_written_to(size: int) -> None:
    """A peer that renegotiates just when a request goes out: the connection is given up."""
    connection, transport, owner = connected(Layer(b"tls", broken=True))
    response = connection.start("POST", b"head", b"x" * size)
    await response.head
    assert response.status == 0
    assert isinstance(response.failure, TLSError)
    assert response.failure.sent
    assert (transport.aborted, owner.told) == (True, ["closed"])


class Wire:
    """A script that carries bytes to a server and back, in pieces of its own, with or without faults."""

    def __init__(self, port: int, *, piece_bytes: int = 2**16) -> None:
        self._port = port
        self._piece_bytes = piece_bytes
        self._noise: asyncio.Queue[bytes] = asyncio.Queue()

    def add(self, noise: bytes) -> None:
        """Let the client receive this."""
        self._noise.put_nowait(noise)

    async def __call__(self, peer: RawConnection) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        carried = 0
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._back(reader, peer))
                group.create_task(self._disturb(peer))
                while True:
                    await peer.more()
                    writer.write(peer.received[carried:])
                    carried = len(peer.received)
        except* EOFError:
            pass
        finally:
            writer.transport.abort()

    async def _back(self, reader: asyncio.StreamReader, peer: RawConnection) -> None:
        while piece := await reader.read(self._piece_bytes):
            await peer.send(piece)
        peer.end()

    async def _disturb(self, peer: RawConnection) -> None:
        while True:
            await peer.send(await self._noise.get())


@asynccontextmanager
async def wired(script: Script, *, piece_bytes: int = 2**16) -> AsyncGenerator[tuple[NativeTransport, Wire, str]]:
    """Enter a TLS server behind a `Wire`, and a transport that trusts it."""
    async with RawServer(script, tls=server_tls()) as server:
        wire = Wire(server.port, piece_bytes=piece_bytes)
        async with RawServer(wire) as between:
            transport = NativeTransport(ssl_context=client_tls(), trust_env=False)
            try:
                yield transport, wire, f"https://{between.host}/x"
            finally:
                await transport.aclose()


async def test_tls_records_that_trickle_in() -> None:
    """Handshake, tickets and records arrive byte by byte, and mean the same."""
    async with wired(answering(CHUNKED, b"5\r\nhello\r\n", b"0\r\n\r\n"), piece_bytes=1) as (transport, _, url):
        for _ in range(2):
            response = await transport.send(WireRequest("POST", url, {}, b"{}"), connect_timeout_s=CONNECT_S)
            assert await body_of(response) == b"hello"
        assert len(connections_of(transport)) == 1


@pytest.mark.parametrize(
    "noise", [b"\x17\x03\x03\x00\x20" + b"x" * 32, b"\x00" * 100, b"HTTP/1.1"], ids=["record", "zeros", "text"]
)
async def test_tls_records_that_were_tampered_with(noise: bytes) -> None:
    """They end the response: what came before is handed out, the noise is not."""
    async with wired(answering(b"HTTP/1.1 200 OK\r\n\r\nabc")) as (transport, wire, url):
        response = await transport.send(WireRequest("POST", url, {}, b"{}"), connect_timeout_s=CONNECT_S)
        assert await response.receive() == b"abc"
        wire.add(noise)
        for _ in range(2):
            with pytest.raises(ConnectionLostError, match="after 3 bytes") as caught:
                await response.receive()
            assert isinstance(caught.value.__cause__, ssl.SSLError)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_of_tls(version: ssl.TLSVersion) -> None:
    """Requests and responses longer than a record come through both."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.maximum_version = version
    authority().issue_cert("127.0.0.1").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    body = random.Random(3).randbytes(50_000)

    async def script(peer: RawConnection) -> None:
        request = await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 50000\r\n\r\n" + request.body)

    async with RawServer(script, tls=context) as server:
        transport = NativeTransport(ssl_context=client_tls(), trust_env=False)
        response = await transport.send(post(server, body=body), connect_timeout_s=CONNECT_S)
        assert await response.read(50_000) == body
        await transport.aclose()


async def fails_to_shake_hands(peer: RawConnection, context: ssl.SSLContext) -> ssl.SSLError:
    """Be a TLS server by hand, because asyncio's forgets to send alerts, until the handshake fails; return why."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    taken = 0
    while True:
        await peer.more()
        incoming.write(peer.received[taken:])
        taken = len(peer.received)
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await peer.send(outgoing.read())
        except ssl.SSLError as exc:
            await peer.send(outgoing.read())
            return exc


async def test_a_server_that_wants_a_certificate() -> None:
    """With TLS 1.3 it says so when the handshake is over for the client; the error is about TLS all the same."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    authority().issue_cert("127.0.0.1").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]

    async def script(peer: RawConnection) -> None:
        assert "CERTIFICATE" in str(await fails_to_shake_hands(peer, context))

    async with RawServer(script) as server:
        transport = NativeTransport(ssl_context=client_tls(), trust_env=False)
        request = WireRequest("POST", f"https://{server.host}/x", {}, b"{}")
        with pytest.raises(TLSError, match=r"handshake with .* failed .*CERTIFICATE_REQUIRED") as caught:
            await transport.send(request, connect_timeout_s=CONNECT_S)
        assert caught.value.sent
        await transport.aclose()


async def test_a_server_is_told_why_it_is_not_trusted() -> None:
    """The alert goes out before the connection is closed: it is what the server's log shows."""
    told: list[ssl.SSLError] = []

    async def script(peer: RawConnection) -> None:
        told.append(await fails_to_shake_hands(peer, server_tls()))

    async with RawServer(script) as server:
        transport = NativeTransport(ssl_context=ssl.create_default_context(), trust_env=False)
        request = WireRequest("POST", f"https://{server.host}/x", {}, b"{}")
        with pytest.raises(TLSError, match="is not trusted"):
            await transport.send(request, connect_timeout_s=CONNECT_S)
        while not told:
            await turns(1)
        await transport.aclose()
    assert "UNKNOWN_CA" in str(told[0])


# -- proxies


async def test_tls_through_a_proxy_that_speaks_tls_itself() -> None:
    """One layer of TLS inside another: the proxy reads what is for it, and nothing else."""
    asked: list[RawRequest] = []

    async def endpoint(peer: RawConnection) -> None:
        while True:
            asked.append(await peer.read_request())
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000)

    async with RawServer(endpoint, tls=server_tls("a.example")) as server:
        tunnel = Tunnel(server.port)
        async with RawServer(tunnel, tls=server_tls("localhost")) as proxy:
            proxies = {"https": f"https://user:secret@localhost:{proxy.port}"}
            transport = NativeTransport(ssl_context=client_tls(), trust_env=False, proxies=proxies)
            for number in range(2):
                request = WireRequest("POST", "https://a.example/x", {}, b"y" * 100_000)
                response = await transport.send(request, connect_timeout_s=CONNECT_S)
                assert await response.read(100_000) == b"x" * 100_000
                assert asked[number].body == request.body
            await transport.aclose()
            assert len(proxy.connections) == 1
    assert tunnel.asked.line == b"CONNECT a.example:443 HTTP/1.1"


async def test_all_hosts_share_a_proxy_that_takes_plain_requests() -> None:
    """One connection serves them all."""
    async with RawServer(answering(OK)) as proxy:
        transport = NativeTransport(environ={"HTTP_PROXY": proxy.url})
        for host in ("a.example", "b.example:8080"):
            response = await transport.send(WireRequest("GET", f"http://{host}/", {}, b""), connect_timeout_s=CONNECT_S)
            assert await response.read(100) == b"ok"
        await transport.aclose()
        assert len(proxy.connections) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "something that is not HTTP"),
        (b"HTTP/1.1 200", "closed the connection before it opened a tunnel"),
        (b"", "closed the connection before it opened a tunnel"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, "no end of its head"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "HTTP 502"),
    ],
    ids=["ssh", "half", "nothing", "long", "refusal"],
)
async def test_a_proxy_that_opens_no_tunnel(answer: bytes, said: str) -> None:
    """Nothing was sent but the question; the connection is closed."""
    async with RawServer(answering(answer, end=True)) as proxy:
        transport = NativeTransport(environ={"HTTPS_PROXY": proxy.url})
        with pytest.raises(ConnectError, match=said) as caught:
            await transport.send(WireRequest("GET", "https://a.example/", {}, b""), connect_timeout_s=CONNECT_S)
        assert not caught.value.sent
        await seen_closed(proxy.connections[0])
        await transport.aclose()


@pytest.mark.parametrize("proxy", ["http://:3128", "http://p:port", "http://["])
async def test_a_proxy_that_has_no_address(proxy: str) -> None:
    """The error says whose address it is, and repeats none of it: it may hold a password."""
    transport = NativeTransport(environ={"HTTPS_PROXY": proxy})
    with pytest.raises(InvalidRequestError, match="proxy"):
        await transport.send(WireRequest("GET", "https://a.example/", {}, b""), connect_timeout_s=CONNECT_S)


# -- what it costs


async def test_no_task_and_no_timer_for_a_request() -> None:
    """Fifty requests one after the other, and ten open streams: no task of ours, and the pool's one timer."""
    async with serving(answering(CHUNKED, b"3\r\nabc\r\n")) as (streams, transport):
        open_streams = [await transport.send(post(streams), connect_timeout_s=CONNECT_S) for _ in range(10)]
        async with serving(answering(OK)) as (server, other):
            before = asyncio.all_tasks()
            timers = pending_timers()
            for _ in range(50):
                response = await other.send(post(server), connect_timeout_s=CONNECT_S)
                assert await response.read(100) == b"ok"
            assert asyncio.all_tasks() - before <= set(server._scripts)
            assert pending_timers() - timers <= 1 + len(server.connections)  # the connect limit, cancelled
        assert all([await each.receive() == b"abc" for each in open_streams])


def pending_timers() -> int:
    """Return how many timers the loop holds."""
    return len(asyncio.get_running_loop()._scheduled)  # type: ignore[attr-defined]


async def test_few_steps_for_a_request_and_for_a_piece() -> None:
    """So many calls of functions of the transport: what costs time on every machine."""
    pieces = 100
    go_on = asyncio.Semaphore(0)

    async def stream(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(CHUNKED)
        for _ in range(pieces):
            await go_on.acquire()
            await peer.send(b"3\r\nabc\r\n")

    async with serving(answering(OK)) as (server, transport):
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await response.read(100) == b"ok"
        with counted_calls() as calls:
            response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
            assert await response.read(100) == b"ok"
        assert len(calls) <= 24, calls
    async with serving(stream) as (server, transport):
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        with counted_calls() as calls:
            for _ in range(pieces):
                go_on.release()
                assert await response.receive() == b"abc"
        assert len(calls) <= 7 * pieces, calls[-20:]


@contextlib.contextmanager
def counted_calls() -> Generator[list[str]]:
    """Collect the names of the functions of the transport that are entered, or gone on with."""
    folder = str(Path(module.__file__).parent)
    calls: list[str] = []

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(folder):
            calls.append(frame.f_code.co_name)

    gc.disable()  # a collection would close what earlier tests have left
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        gc.enable()


# -- uvloop


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_it_works_on_uvloop(*, tls: bool) -> None:
    """Which has another create_connection and other transports: pooling, both ways of a long body, every ending."""
    uvloop = pytest.importorskip("uvloop")

    async def script(peer: RawConnection) -> None:
        while True:
            request = await peer.read_request()
            match request.line.split()[1]:
                case b"/echo":
                    await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(request.body), request.body)
                case b"/stream":
                    await peer.send(CHUNKED, b"3\r\nabc\r\n")
                case b"/silence":
                    await peer.closed.wait()
                case _:
                    peer.end()

    async def test() -> None:
        async with serving(script, tls=tls, max_connections=1) as (server, transport):
            body = random.Random(4).randbytes(3_000_000)
            for sent in (b"", b"{}", body):
                response = await transport.send(post(server, "/echo", sent), connect_timeout_s=CONNECT_S)
                await turns(50)
                assert await response.read(len(body)) == sent
            assert len(server.connections) == 1
            response = await transport.send(post(server, "/stream"), connect_timeout_s=CONNECT_S)
            assert await response.receive() == b"abc"
            response.abort()
            await seen_closed(server.connections[0])
            sending = asyncio.create_task(transport.send(post(server, "/silence"), connect_timeout_s=CONNECT_S))
            peer = await server.connection(1)
            while not peer.received:
                await turns(1)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await seen_closed(peer)
            with pytest.raises(ConnectionLostError):
                await transport.send(post(server, "/end"), connect_timeout_s=CONNECT_S)
            near = WireRequest("POST", server.url.replace("127.0.0.1", "localhost") + "/echo", {}, b"1")
            response = await transport.send(near, connect_timeout_s=CONNECT_S)
            assert await response.read(100) == b"1"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
