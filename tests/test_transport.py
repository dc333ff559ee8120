"""What goes over the wire and comes back, the same for every transport."""

from __future__ import annotations

import asyncio
import hashlib
import random
from typing import Final

import pytest
from rawserver import RawConnection, RawRequest, RawServer
from transports import CONNECT_S, KINDS, OK, body_of, client_tls, opened, post, seen_closed, server_tls, turns

from bedrock_async.errors import ProtocolError
from bedrock_async.transport import WireRequest

pytestmark = pytest.mark.parametrize("kind", KINDS)

ARN_PATH: Final = (
    "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A111122223333%3Ainference-profile%2Fus.anthropic.claude-v1%3A0/converse"
)


class Recorder:
    """A script that answers every request with ``ok`` and keeps what was asked."""

    def __init__(self) -> None:
        self.requests: list[RawRequest] = []

    async def __call__(self, peer: RawConnection) -> None:
        while True:
            self.requests.append(await peer.read_request())
            await peer.send(OK)


def fields(request: RawRequest) -> list[tuple[bytes, bytes]]:
    """Return the headers in alphabetical order, names in lower case, each as often as it came."""
    return sorted((name.lower(), value) for name, value in request.headers)


async def test_exactly_the_given_request_goes_out(kind: str) -> None:
    """Request line, headers and body are those given; only content-length is added."""
    recorder = Recorder()
    headers = {
        "authorization": "AWS4-HMAC-SHA256 Credential=AKID/20250101/us-east-1/bedrock/aws4_request",
        "content-type": "application/json",
        "x-amz-date": "20250101T000000Z",
    }
    async with RawServer(recorder) as server, opened(kind) as transport:
        response = await transport.send(post(server, ARN_PATH, b'{"a": 1}', headers), connect_timeout_s=CONNECT_S)
        assert (response.status, await response.read(100)) == (200, b"ok")
    (request,) = recorder.requests
    assert request.line == f"POST {ARN_PATH} HTTP/1.1".encode()
    assert request.body == b'{"a": 1}'
    given = {"host": server.host, "content-length": "8", **headers}
    assert fields(request) == sorted((name.encode(), value.encode()) for name, value in given.items())


@pytest.mark.parametrize(
    "target",
    [
        "/model/a%2fb%3a0/invoke",
        "/model/a%7Eb~c/invoke",
        "/model/a/../b/./invoke",
        "/model//a/invoke",
        "/async-invoke?statusEquals=InProgress&nextToken=a%2Fb%2B%3D%3D",
        "/async-invoke?submitTimeAfter=2025-01-01T00%3A00%3A00Z",
        "/model/a!$&'()*+,;=:@/invoke",
    ],
)
async def test_the_target_is_sent_byte_for_byte(kind: str, target: str) -> None:
    """Nothing in path and query is quoted, unquoted, resolved or put in order: the signature covers what was given."""
    recorder = Recorder()
    async with RawServer(recorder) as server, opened(kind) as transport:
        response = await transport.send(post(server, target), connect_timeout_s=CONNECT_S)
        await response.read(100)
    assert recorder.requests[0].line == f"POST {target} HTTP/1.1".encode()


async def test_a_get_without_a_body_has_the_given_headers_only(kind: str) -> None:
    """No content-length, no accept, no user-agent: what is not given is not sent."""
    recorder = Recorder()
    async with RawServer(recorder) as server, opened(kind) as transport:
        request = WireRequest("GET", f"{server.url}/async-invoke", {"host": server.host}, b"")
        response = await transport.send(request, connect_timeout_s=CONNECT_S)
        await response.read(100)
    assert recorder.requests[0].line == b"GET /async-invoke HTTP/1.1"
    assert fields(recorder.requests[0]) == [(b"host", server.host.encode())]


async def test_a_post_without_a_body_says_so(kind: str) -> None:
    """An empty body is announced with its length, and no content type is invented for it."""
    recorder = Recorder()
    async with RawServer(recorder) as server, opened(kind) as transport:
        response = await transport.send(post(server, body=b""), connect_timeout_s=CONNECT_S)
        await response.read(100)
    assert fields(recorder.requests[0]) == [(b"content-length", b"0"), (b"host", server.host.encode())]


async def test_a_missing_host_header_is_added(kind: str) -> None:
    """The host is that of the URL, with its port."""
    recorder = Recorder()
    async with RawServer(recorder) as server, opened(kind) as transport:
        request = WireRequest("POST", f"{server.url}/x", {}, b"{}")
        response = await transport.send(request, connect_timeout_s=CONNECT_S)
        await response.read(100)
    assert (b"host", server.host.encode()) in fields(recorder.requests[0])


async def test_response_headers_are_lower_case_and_joined(kind: str) -> None:
    """Names are in lower case, and the values of a repeated header are joined by a comma."""

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(
            b"HTTP/1.1 424 Failed\r\nX-Amzn-RequestId: r-1\r\nVary: a\r\nContent-Length: 0\r\nvary: b\r\n\r\n"
        )

    async with RawServer(script) as server, opened(kind) as transport:
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert response.status == 424
        assert dict(response.headers) == {"x-amzn-requestid": "r-1", "vary": "a, b", "content-length": "0"}
        assert await response.receive() == b""


async def test_cookies_are_not_sent_back(kind: str) -> None:
    """A cookie that a gateway sets does not change the next request, which is signed without it."""
    asked: list[RawRequest] = []

    async def script(peer: RawConnection) -> None:
        while True:
            asked.append(await peer.read_request())
            await peer.send(b"HTTP/1.1 200 OK\r\nset-cookie: session=1; path=/\r\ncontent-length: 2\r\n\r\nok")

    async with RawServer(script) as server, opened(kind) as transport:
        for _ in range(2):
            response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
            await response.read(100)
    assert fields(asked[1]) == fields(asked[0])


async def test_a_compressed_body_is_not_touched(kind: str) -> None:
    """The body is handed out as it came, whatever its content-encoding."""

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x00\xff")

    async with RawServer(script) as server, opened(kind) as transport:
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await body_of(response) == b"\x1f\x8b\x00\xff"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_returned(kind: str, status: int) -> None:
    """Redirects are answers like others: following one would carry credentials to another host."""
    location = b"HTTP/1.1 %d Moved\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"
    asked: list[RawRequest] = []

    async def script(peer: RawConnection) -> None:
        while True:
            asked.append(await peer.read_request())
            await peer.send(location % status)

    async with RawServer(script) as server, opened(kind) as transport:
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert (response.status, response.headers["location"], await response.read(100)) == (status, "/elsewhere", b"")
    assert len(asked) == 1


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_pieces_are_handed_out_as_they_arrive(kind: str, *, chunked: bool, tls: bool) -> None:
    """The server sends a piece only when the one before it has been received, and every piece comes through."""
    pieces = [b"one", b"two ", b"three" * 50]
    go_on = asyncio.Semaphore(0)

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        length = b"content-length: %d" % sum(map(len, pieces))
        await peer.send((b"transfer-encoding: chunked" if chunked else length) + b"\r\n\r\n")
        for piece in pieces:
            await go_on.acquire()
            await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        await go_on.acquire()
        await peer.send(b"0\r\n\r\n" if chunked else b"")

    server_context, client_context = (server_tls(), client_tls()) if tls else (None, None)
    async with RawServer(script, tls=server_context) as server, opened(kind, tls=client_context) as transport:
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        received: list[bytes] = []
        for _ in pieces:
            go_on.release()
            received.append(await response.receive())
        go_on.release()
        assert await response.receive() == b""
        assert await response.receive() == b""
    assert received == pieces


async def test_what_has_arrived_comes_in_one_piece(kind: str) -> None:
    """A hundred writes that wait already are handed out together, but for what came with the head."""
    sent = asyncio.Event()

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 300\r\n\r\n", *[b"abc"] * 100)
        sent.set()

    async with RawServer(script) as server, opened(kind) as transport:
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        await sent.wait()
        await turns(10)  # in which the loop reads what the system has
        pieces: list[bytes] = []
        while piece := await response.receive():
            pieces.append(piece)
    assert b"".join(pieces) == b"abc" * 100
    # anyio, below httpx, keeps what the system handed out at different times apart.
    assert len(pieces) <= (2 if kind in ("aiohttp", "native") else 10)


@pytest.mark.parametrize("size", [2**20 - 1, 2**20, 5_000_000])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_large_body_goes_out_whole(kind: str, *, size: int, tls: bool) -> None:
    """Bodies of megabytes (images, documents) arrive unchanged, with their length."""
    recorder = Recorder()
    body = random.Random(size).randbytes(size)
    server_context, client_context = (server_tls(), client_tls()) if tls else (None, None)
    async with RawServer(recorder, tls=server_context) as server, opened(kind, tls=client_context) as transport:
        response = await transport.send(post(server, body=body), connect_timeout_s=CONNECT_S)
        assert await response.read(100) == b"ok"
    assert (b"content-length", str(size).encode()) in fields(recorder.requests[0])
    assert hashlib.sha256(recorder.requests[0].body).digest() == hashlib.sha256(body).digest()


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
@pytest.mark.parametrize("at_once", [False, True], ids=["receive", "read"])
async def test_a_large_body_comes_in_whole(kind: str, *, chunked: bool, at_once: bool) -> None:
    """Bodies of megabytes come through unchanged, received in pieces or read at once."""
    body = random.Random(7).randbytes(5_000_000)

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        if chunked:
            await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for start in range(0, len(body), 70_000):
                piece = body[start : start + 70_000]
                await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            await peer.send(b"0\r\n\r\n")
        else:
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body), body)

    async with RawServer(script) as server, opened(kind) as transport:
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        received = await response.read(len(body)) if at_once else await body_of(response)
    assert hashlib.sha256(received).digest() == hashlib.sha256(body).digest()


async def test_a_body_without_length_ends_with_the_connection(kind: str) -> None:
    """HTTP/1.0 style: what came before the close is the body."""

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n", b"all of it")
        peer.end()

    async with RawServer(script) as server, opened(kind) as transport:
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert await body_of(response) == b"all of it"


@pytest.mark.parametrize("at_once", [False, True], ids=["receive", "read"])
async def test_a_body_read_to_its_end_gives_the_connection_back(kind: str, *, at_once: bool) -> None:
    """Requests one after the other share one connection."""
    recorder = Recorder()
    async with RawServer(recorder) as server, opened(kind) as transport:
        for _ in range(3):
            response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
            assert (await response.read(2) if at_once else await body_of(response)) == b"ok"
            response.abort()  # has nothing left to close
        assert len(server.connections) == 1
        assert not server.connections[0].closed.is_set()
    assert len(recorder.requests) == 3


async def test_a_body_longer_than_allowed_is_not_read_on(kind: str) -> None:
    """The error names the limit, and the connection is closed."""

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b"x" * 11)

    async with RawServer(script) as server, opened(kind) as transport:
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        with pytest.raises(ProtocolError, match="longer than the 10 bytes allowed"):
            await response.read(10)
        await seen_closed(server.connections[0])


async def test_two_readers_at_once_are_a_bug_that_shows(kind: str) -> None:
    """The second one is told; the first one gets its piece, and the connection stays."""
    go_on = asyncio.Event()

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n")
        await go_on.wait()
        await peer.send(b"abc")

    async with RawServer(script) as server, opened(kind) as transport:
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        first = asyncio.create_task(response.receive())
        await turns(3)
        with pytest.raises(RuntimeError):
            await response.receive()
        go_on.set()
        assert await first == b"abc"
        assert await response.receive() == b""


async def test_interim_answers_are_passed_over(kind: str) -> None:
    """100 Continue and 103 Early Hints are no answers."""

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", OK)

    async with RawServer(script) as server, opened(kind) as transport:
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert (response.status, await response.read(100)) == (200, b"ok")


async def test_many_requests_at_once(kind: str) -> None:
    """Concurrent requests have connections of their own, up to the limit, and get their own answers."""

    async def script(peer: RawConnection) -> None:
        while True:
            request = await peer.read_request()
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(request.body), request.body)

    async def ask(number: int) -> bytes:
        response = await transport.send(post(server, body=b"number %d" % number), connect_timeout_s=CONNECT_S)
        return await response.read(100)

    async with RawServer(script) as server, opened(kind, max_connections=8) as transport, asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(number)) for number in range(50)]
    assert [task.result() for task in tasks] == [b"number %d" % number for number in range(50)]
    assert len(server.connections) == 8
