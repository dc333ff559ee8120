"""Whatever goes wrong on a connection becomes one error of our tree, the same over every library."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from rawserver import RawConnection, RawRequest, RawServer
from transports import (
    CONNECT_S,
    KINDS,
    OK,
    Clock,
    body_of,
    client_tls,
    opened,
    post,
    seen_closed,
    server_tls,
    turns,
    with_clock,
)

from bedrock_async.errors import (
    BedrockError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    InvalidRequestError,
    NameResolutionError,
    ProtocolError,
    TLSError,
)
from bedrock_async.transport import AiohttpTransport, HttpxTransport, NativeTransport, WireRequest

pytestmark = pytest.mark.parametrize("kind", KINDS)

CHUNKED: Final = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
SHORT: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"


class Answer:
    """A script that takes each request, sends the pieces, and closes or resets the connection."""

    def __init__(self, *pieces: bytes, reset: bool = False) -> None:
        self._pieces = pieces
        self._reset = reset
        self.go_on = asyncio.Event()
        self.requests: list[RawRequest] = []

    async def __call__(self, peer: RawConnection) -> None:
        self.requests.append(await peer.read_request())
        await peer.send(*self._pieces)
        if self._reset:
            # An RST makes the system throw away what the client has not read yet.
            await self.go_on.wait()
            peer.reset()
        else:
            peer.end()


def chain(exc: BaseException) -> Sequence[BaseException]:
    """Return the exception and its causes."""
    found = [exc]
    while (cause := found[-1].__cause__) is not None:
        found.append(cause)
    return found


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("head", [b"", b"HTTP/1.", b"HTTP/1.1 200 OK\r\ncontent-le"], ids=["none", "line", "header"])
async def test_a_connection_lost_before_the_answer(kind: str, head: bytes, *, reset: bool) -> None:
    """The request went out and may have been served: the error says so, and that trying again may help."""
    script = Answer(head, reset=reset)
    async with RawServer(script) as server, opened(kind) as transport:
        sending = asyncio.create_task(transport.send(post(server), connect_timeout_s=CONNECT_S))
        await server.connection(0)
        await turns(20)
        script.go_on.set()
        with pytest.raises(ConnectionLostError, match=f"{server.host} broke before it answered") as caught:
            await sending
        assert caught.value.sent
        assert caught.value.retryable
        assert caught.value.__cause__ is not None
        assert len(server.connections) == 1


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize(
    "answer",
    [SHORT, CHUNKED + b"3\r\nabc\r\n", CHUNKED + b"5\r\nabc"],
    ids=["content-length", "between-chunks", "in-a-chunk"],
)
@pytest.mark.parametrize("slow_reader", [False, True])
async def test_a_connection_lost_in_the_body(kind: str, answer: bytes, *, reset: bool, slow_reader: bool) -> None:
    """What had arrived is handed out first, then the error, every time: never an end that looks right."""
    script = Answer(answer, reset=reset)
    async with RawServer(script) as server, opened(kind) as transport:
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        if slow_reader and not reset:
            await server.connections[0].closed.wait() if kind in ("aiohttp", "native") else await turns(20)
            await turns(5)
            assert await response.receive() == b"abc"
        else:
            assert await response.receive() == b"abc"
            script.go_on.set()
        for _ in range(2):
            with pytest.raises(ConnectionLostError, match="broke after 3 bytes of the response's body") as caught:
                await response.receive()
            assert caught.value.sent
            assert caught.value.__cause__ is not None
        response.abort()


async def test_a_connection_lost_while_the_whole_body_is_read(kind: str) -> None:
    """Half a body is no body."""
    async with RawServer(Answer(SHORT)) as server, opened(kind) as transport:
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        with pytest.raises(ConnectionLostError, match="broke after 3 bytes"):
            await response.read(1000)
        await seen_closed(server.connections[0])


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"<html><body>it works</body></html>\r\n\r\n",
    ],
    ids=["ssh", "status", "length", "lengths", "html"],
)
async def test_an_answer_that_is_no_http(kind: str, answer: bytes) -> None:
    """The error names the peer and the next step, quotes nothing at length, and is not worth repeating."""
    async with RawServer(Answer(answer)) as server, opened(kind) as transport:
        with pytest.raises(ProtocolError, match=r"is not HTTP \(.*Check endpoint_url") as caught:
            await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert server.host in str(caught.value)
        assert len(str(caught.value)) < 400
        assert not caught.value.retryable
        await seen_closed(server.connections[0])


async def test_a_body_that_is_no_http(kind: str) -> None:
    """Broken chunks in the middle of a stream end it; the reader does not wait for ever."""
    go_on = asyncio.Event()

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(CHUNKED, b"3\r\nabc\r\n")
        await go_on.wait()
        await peer.send(b"not a chunk\r\n")

    async with RawServer(script) as server, opened(kind) as transport:
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await response.receive() == b"abc"
        reader = asyncio.create_task(response.receive())
        await turns(5)
        go_on.set()
        with pytest.raises(ProtocolError, match="is not HTTP"):
            await reader
        await seen_closed(server.connections[0])


@pytest.mark.parametrize("answer", [b"", b"\x15\x03\x01\x00\x02\x02\x46"], ids=["closes", "alert"])
async def test_tls_spoken_to_in_plain_text(kind: str, answer: bytes) -> None:
    """http:// to a port that speaks TLS: it closes the connection or answers with a TLS alert."""
    async with RawServer(Answer(answer)) as server, opened(kind) as transport:
        with pytest.raises((ConnectionLostError, ProtocolError)):
            await transport.send(post(server), connect_timeout_s=CONNECT_S)


async def test_a_server_that_is_not_there(kind: str) -> None:
    """The error names host and port; nothing was sent."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with opened(kind) as transport:
            with pytest.raises(ConnectError, match=f"{url.removeprefix('http://')} refused the connection") as caught:
                await transport.send(WireRequest("POST", f"{url}/x", {}, b"{}"), connect_timeout_s=CONNECT_S)
    assert type(caught.value) is ConnectError
    assert not caught.value.sent
    assert caught.value.retryable
    assert any(isinstance(cause, OSError) or not isinstance(cause, BedrockError) for cause in chain(caught.value))


@pytest.mark.parametrize("host", ["bedrock-runtime.us-esat-1.invalid", f"{'a' * 64}.invalid"], ids=["unknown", "label"])
async def test_a_name_that_does_not_resolve(kind: str, host: str) -> None:
    """The error names the host and where to look; nothing was sent."""
    async with opened(kind) as transport:
        with pytest.raises(NameResolutionError, match=host) as caught:
            await transport.send(WireRequest("POST", f"http://{host}/x", {}, b"{}"), connect_timeout_s=CONNECT_S)
    assert not caught.value.sent
    assert "endpoint_url" in str(caught.value)


async def test_a_certificate_that_nobody_vouches_for(kind: str) -> None:
    """The error says what is wrong and which variable helps; it is not worth repeating."""
    untrusting = ssl.create_default_context()
    async with RawServer(Answer(OK), tls=server_tls()) as server, opened(kind, tls=untrusting) as transport:
        with pytest.raises(TLSError, match=r"certificate of 127.0.0.1:\d+ is not trusted .*AWS_CA_BUNDLE") as caught:
            await transport.send(post(server), connect_timeout_s=CONNECT_S)
    assert not caught.value.sent
    assert not caught.value.retryable


async def test_a_certificate_of_another_host(kind: str) -> None:
    """The name in the certificate counts, too."""
    async with (
        RawServer(Answer(OK), tls=server_tls("bedrock.example")) as server,
        opened(kind, tls=client_tls()) as transport,
    ):
        with pytest.raises(TLSError, match="is not trusted"):
            await transport.send(post(server), connect_timeout_s=CONNECT_S)


async def test_plain_text_where_tls_is_expected(kind: str) -> None:
    """https:// to a plain HTTP port is a TLS error that says which scheme to look at."""

    async def script(peer: RawConnection) -> None:
        await peer.more()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    async with RawServer(script) as server, opened(kind, tls=client_tls()) as transport:
        request = WireRequest("POST", f"https://{server.host}/x", {}, b"{}")
        with pytest.raises(TLSError, match=r"handshake with .* failed .*http://"):
            await transport.send(request, connect_timeout_s=CONNECT_S)


async def test_a_server_that_hangs_up_in_the_handshake(kind: str) -> None:
    """No connection was made, and nothing was sent."""

    async def script(peer: RawConnection) -> None:
        await peer.more()
        peer.end()

    async with RawServer(script) as server, opened(kind, tls=client_tls()) as transport:
        request = WireRequest("POST", f"https://{server.host}/x", {}, b"{}")
        with pytest.raises(ConnectError) as caught:
            await transport.send(request, connect_timeout_s=CONNECT_S)
    assert not caught.value.sent


def test_a_server_that_says_nothing_in_the_handshake(kind: str) -> None:
    """The connect limit covers the TLS handshake, to the second, and the connection is closed."""

    async def script(peer: RawConnection) -> None:
        await peer.closed.wait()

    async def test(clock: Clock) -> None:
        async with RawServer(script) as server, opened(kind, tls=client_tls()) as transport:
            request = WireRequest("POST", f"https://{server.host}/x", {}, b"{}")
            sending = asyncio.create_task(transport.send(request, connect_timeout_s=10))
            peer = await server.connection(0)
            await peer.more()
            await clock.pass_(9.5)
            assert not sending.done()
            await clock.pass_(1)
            with pytest.raises(ConnectTimeoutError, match=f"{server.host} became available within 10 s") as caught:
                await sending
            assert caught.value.limit_s == 10
            assert caught.value.retryable
            await peer.closed.wait()

    with_clock(test)


def test_the_connect_limit_does_not_bound_the_answer(kind: str) -> None:
    """A model may think for an hour: how long that is fine is not the transport's business."""
    asked, thought, said = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        asked.set()
        await thought.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n")
        await said.wait()
        await peer.send(b"abc")

    async def test(clock: Clock) -> None:
        async with RawServer(script) as server, opened(kind) as transport:
            sending = asyncio.create_task(transport.send(post(server), connect_timeout_s=1))
            await asked.wait()
            await clock.pass_(3600)
            assert not sending.done()
            thought.set()
            response = await sending
            reading = asyncio.create_task(response.receive())
            await clock.pass_(3600)
            assert not reading.done()
            said.set()
            assert await reading == b"abc"
            assert await response.receive() == b""

    with_clock(test)


def test_a_pool_that_is_used_up(kind: str) -> None:
    """The connect limit covers the wait for a connection; the error says what to do, and nothing was sent."""

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.closed.wait()

    async def test(clock: Clock) -> None:
        async with RawServer(script) as server, opened(kind, max_connections=1) as transport:
            first = asyncio.create_task(transport.send(post(server), connect_timeout_s=10))
            await server.connection(0)
            second = asyncio.create_task(transport.send(post(server), connect_timeout_s=10))
            await turns(10)
            await clock.pass_(9.5)
            assert not second.done()
            await clock.pass_(1)
            with pytest.raises(ConnectTimeoutError, match=r"within 10 s .*max_connections=.*max_in_flight="):
                await second
            assert not first.done()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert len(server.connections) == 1

    with_clock(test)


async def test_a_pool_serves_in_the_order_of_asking(kind: str) -> None:
    """Nobody waits for ever because others came later."""
    served: list[bytes] = []
    go_on = asyncio.Event()

    async def script(peer: RawConnection) -> None:
        while True:
            request = await peer.read_request()
            served.append(request.body)
            await go_on.wait()
            await peer.send(OK)

    async def ask(body: bytes) -> None:
        response = await transport.send(post(server, body=body), connect_timeout_s=CONNECT_S)
        await response.read(100)

    async with RawServer(script) as server, opened(kind, max_connections=1) as transport:
        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(ask(b"%d" % number))
                await turns(5)
            go_on.set()
        assert served == [b"%d" % number for number in range(6)]
        assert len(server.connections) == 1


class Stale:
    """A script whose first connection answers one request, takes the next, and ends in one of the ways."""

    def __init__(self, how: str, *, others: bytes = OK) -> None:
        self._how = how
        self._others = others
        self.connections = 0

    async def __call__(self, peer: RawConnection) -> None:
        self.connections += 1
        if self.connections > 1:
            await peer.read_request()
            await peer.send(self._others)
            if not self._others:
                peer.end()
            return
        await peer.read_request()
        await peer.send(OK)
        await peer.read_request()
        match self._how:
            case "closed":
                peer.end()
            case "reset":
                peer.reset()
            case half_a_head:
                await peer.send(half_a_head.encode())
                peer.end()


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("how", ["closed", "reset"])
async def test_a_pooled_connection_that_the_peer_gave_up_is_replaced(kind: str, how: str, method: str) -> None:
    """The server closes an idle connection just when the next request goes out: that one goes out again."""
    script = Stale(how)
    async with RawServer(script) as server, opened(kind) as transport:
        request = WireRequest(method, f"{server.url}/x", {"host": server.host}, b"{}" if method == "POST" else b"")
        for _ in range(2):
            response = await transport.send(request, connect_timeout_s=CONNECT_S)
            assert await response.read(100) == b"ok"
        assert len(server.connections) == 2
        assert server.connections[1].received == server.connections[0].received[len(server.connections[1].received) :]


@pytest.mark.parametrize("how", ["closed", "reset"])
async def test_a_pooled_connection_is_replaced_only_once(kind: str, how: str) -> None:
    """When the new connection fails in the same way, that is the answer."""
    script = Stale(how, others=b"")
    async with RawServer(script) as server, opened(kind) as transport:
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        await response.read(100)
        with pytest.raises(ConnectionLostError):
            await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert len(server.connections) == 2


async def test_an_answer_that_has_begun_is_not_asked_for_again(kind: str) -> None:
    """Half a head on a pooled connection is an answer that was lost, not a connection that was idle."""
    if kind.startswith("httpx"):
        pytest.skip("httpx does not tell half a head from none")
    async with RawServer(Stale("HTTP/1.1 200 OK\r\ncontent-le")) as server, opened(kind) as transport:
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        await response.read(100)
        with pytest.raises(ConnectionLostError):
            await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert len(server.connections) == 1


@pytest.mark.parametrize("closing", ["between", "connection-close"])
async def test_a_connection_that_closed_while_idle_is_not_used(kind: str, closing: str) -> None:
    """What the peer has closed, or said it will close, is not taken from the pool again."""

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        if closing == "between":
            await peer.send(OK)
        else:
            await peer.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
        peer.end()

    async with RawServer(script) as server, opened(kind) as transport:
        for number in range(3):
            response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
            assert await body_of(response) == b"ok"
            await seen_closed(server.connections[number])
            await turns(5)
        assert [peer.received.count(b"POST") for peer in server.connections] == [1, 1, 1]


@pytest.mark.parametrize("headers", [{"x-a": "1\r\nx-b: 2"}, {"x-a": "1\n2"}, {"x a": "1"}])
async def test_headers_that_would_break_the_request_are_refused(kind: str, headers: dict[str, str]) -> None:
    """A line break in a header would be another header: nothing is sent."""
    if "x a" in headers and kind == "aiohttp":
        pytest.skip("aiohttp does not look at names; ours are made by the signer")
    async with RawServer(Answer(OK)) as server, opened(kind) as transport:
        with pytest.raises(InvalidRequestError, match="cannot be sent"):
            await transport.send(post(server, headers=headers), connect_timeout_s=CONNECT_S)
        assert all(not peer.received for peer in server.connections)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http:///x", "http://127.0.0.1:port/x", "127.0.0.1/x"])
async def test_urls_that_lead_nowhere_are_refused(kind: str, url: str) -> None:
    """No scheme, no host, no port number: an error of ours, whatever the library thinks of it."""
    async with opened(kind) as transport:
        with pytest.raises(InvalidRequestError):
            await transport.send(WireRequest("POST", url, {}, b""), connect_timeout_s=CONNECT_S)


FEW_FILES: Final = """
import asyncio, os, resource, sys

import bedrock_async.transport as transports
from bedrock_async.errors import TooManyOpenFilesError


async def serve(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 10\\r\\n\\r\\n")


async def main(name):
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport = getattr(transports, name)(max_connections=5)
    request = transports.WireRequest("POST", f"http://127.0.0.1:{port}/x", {}, b"")
    response = await transport.send(request, connect_timeout_s=5)  # imports what is imported at the first request
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        await transport.send(request, connect_timeout_s=5)
    except TooManyOpenFilesError as exc:
        assert exc.retryable and not exc.sent
        print(lowest_free, exc)


asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_no_file_descriptor_left(kind: str) -> None:
    """The error names the limit as it is now and both ways out. In a process of its own, which has few."""
    if kind.endswith("-client"):
        pytest.skip("the same code as without a client")
    name = {"native": NativeTransport, "aiohttp": AiohttpTransport, "httpx": HttpxTransport}[kind].__name__
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", FEW_FILES, name], capture_output=True, text=True, timeout=50, check=False, cwd=root
    )
    assert done.returncode == 0, done.stderr
    limit, _, message = done.stdout.partition(" ")
    assert message.startswith("no file descriptor is left for ")
    assert f"the limit is {limit}." in message
    assert "ulimit -n" in message
