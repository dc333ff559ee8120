"""What is particular to a transport over a client that the user made."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import ModuleType
from typing import Final, cast

import httpx
import httpx2
import pytest
from rawserver import RawConnection, RawRequest, RawServer
from transports import CONNECT_S, OK, body_of, post, seen_closed, turns
from typing_extensions import override

from bedrock_async.errors import ClientClosedError, ConnectError, ConnectionLostError, InvalidRequestError
from bedrock_async.transport import HttpxTransport, WireRequest

REQUEST: Final = WireRequest("POST", "https://bedrock.example/model/a%3Ab/converse", {"x-a": "1"}, b"{}")


class Pieces(httpx.AsyncByteStream, httpx2.AsyncByteStream):
    """A body that comes in pieces, and knows whether it was closed."""

    def __init__(self, *pieces: bytes, endless: bool = False) -> None:
        self._pieces = pieces
        self._endless = endless
        self.closed = False

    @override
    async def __aiter__(self) -> AsyncGenerator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._endless:
            await asyncio.Event().wait()

    @override
    async def aclose(self) -> None:
        self.closed = True


def mocked(library: ModuleType, handler: Callable[[httpx.Request], object]) -> HttpxTransport:
    """Return a transport over a client of the library that has no network."""
    return HttpxTransport(library.AsyncClient(transport=library.MockTransport(handler)))


libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


@libraries
async def test_mock_transport_with_a_ready_body(library: ModuleType) -> None:
    """A user's tests need no server: httpx's MockTransport answers, and sees the request as it was given."""
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        answer: httpx.Response = library.Response(200, headers={"X-Amzn-RequestId": "r-1"}, content=b'{"a": 1}')
        return answer

    transport = mocked(library, handler)
    response = await transport.send(REQUEST, connect_timeout_s=CONNECT_S)
    assert (response.status, response.headers["x-amzn-requestid"]) == (200, "r-1")
    assert await response.read(100) == b'{"a": 1}'
    assert asked[0].method == "POST"
    assert str(asked[0].url) == REQUEST.url
    assert asked[0].content == b"{}"
    assert sorted(asked[0].headers.items()) == [("content-length", "2"), ("host", "bedrock.example"), ("x-a", "1")]
    await transport.aclose()


@libraries
async def test_mock_transport_with_a_streamed_body(library: ModuleType) -> None:
    """Pieces come one by one, empty ones are passed over, and the end is the end."""
    body = Pieces(b"one", b"", b"two")
    transport = mocked(library, lambda request: library.Response(200, stream=body))
    response = await transport.send(REQUEST, connect_timeout_s=CONNECT_S)
    assert [await response.receive() for _ in range(4)] == [b"one", b"two", b"", b""]
    assert body.closed
    await transport.aclose()


@libraries
async def test_aborting_where_there_is_no_socket(library: ModuleType) -> None:
    """The stream below is closed, in a turn or two of the loop."""
    body = Pieces(b"one", endless=True)
    transport = mocked(library, lambda request: library.Response(200, stream=body))
    response = await transport.send(REQUEST, connect_timeout_s=CONNECT_S)
    assert await response.receive() == b"one"
    reader = asyncio.create_task(response.receive())
    await turns(3)
    response.abort()
    with pytest.raises(ConnectionLostError):
        await reader
    await turns(5)
    assert body.closed
    await transport.aclose()


@libraries
async def test_an_asynchronous_handler_may_take_its_time(library: ModuleType) -> None:
    """The connect limit is for connecting: where nothing connects, it bounds nothing."""
    go_on = asyncio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        await go_on.wait()
        answer: httpx.Response = library.Response(200, content=b"ok")
        return answer

    transport = mocked(library, handler)
    sending = asyncio.create_task(transport.send(REQUEST, connect_timeout_s=0.0))
    await turns(10)
    assert not sending.done()
    go_on.set()
    assert await (await sending).read(100) == b"ok"
    await transport.aclose()


@libraries
async def test_what_a_handler_raises(library: ModuleType) -> None:
    """Errors of the library become ours, also where nothing was connected; bugs stay what they are."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise library.ConnectError("refused by the test")

    def fail(request: httpx.Request) -> httpx.Response:
        raise KeyError("a bug in the handler")

    transport = mocked(library, refuse)
    with pytest.raises(ConnectError, match="refused by the test") as caught:
        await transport.send(REQUEST, connect_timeout_s=CONNECT_S)
    assert not caught.value.sent
    await transport.aclose()
    transport = mocked(library, fail)
    with pytest.raises(KeyError, match="a bug in the handler"):
        await transport.send(REQUEST, connect_timeout_s=CONNECT_S)
    await transport.aclose()


@libraries
async def test_the_clients_own_settings_do_not_change_the_request(library: ModuleType) -> None:
    """Default headers, parameters, cookies, credentials and redirects of the client are not for signed requests."""
    asked: list[RawRequest] = []

    async def script(peer: RawConnection) -> None:
        while True:
            asked.append(await peer.read_request())
            await peer.send(b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n")

    client = library.AsyncClient(
        auth=("user", "secret"),
        params={"a": "1"},
        headers={"x-default": "1"},
        cookies={"c": "1"},
        follow_redirects=True,
        verify=False,
    )
    async with RawServer(script) as server, client:
        transport = HttpxTransport(client)
        response = await transport.send(post(server, "/model/m/converse"), connect_timeout_s=CONNECT_S)
        assert (response.status, await response.read(100)) == (302, b"")
    assert [request.line for request in asked] == [b"POST /model/m/converse HTTP/1.1"]
    assert sorted(name.lower() for name, _ in asked[0].headers) == [b"content-length", b"host"]


@libraries
async def test_a_client_that_was_passed_in_stays_open(library: ModuleType) -> None:
    """Closing the transport aborts what it has in flight and leaves the rest to the client's owner."""

    async def script(peer: RawConnection) -> None:
        while True:
            request = await peer.read_request()
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nha" if b"half" in request.line else OK)

    async with RawServer(script) as server, library.AsyncClient(verify=False) as client:
        transport = HttpxTransport(client)
        response = await transport.send(post(server, "/half"), connect_timeout_s=CONNECT_S)
        assert await response.receive() == b"ha"
        await transport.aclose()
        await seen_closed(server.connections[0])
        with pytest.raises(ClientClosedError):
            await transport.send(post(server), connect_timeout_s=CONNECT_S)
        assert not client.is_closed
        assert (await client.get(server.url)).text == "ok"
        other = HttpxTransport(client)
        response = await other.send(post(server), connect_timeout_s=CONNECT_S)
        assert await body_of(response) == b"ok"


@libraries
async def test_a_client_that_its_owner_has_closed(library: ModuleType) -> None:
    """The error is ours and says what happened."""
    client = library.AsyncClient(verify=False)
    transport = HttpxTransport(client)
    await client.aclose()
    with pytest.raises(ClientClosedError, match="is closed"):
        await transport.send(REQUEST, connect_timeout_s=CONNECT_S)


@libraries
def test_a_client_that_cannot_await_is_refused(library: ModuleType) -> None:
    """The synchronous client has almost the same methods."""
    with library.Client() as client, pytest.raises(InvalidRequestError, match=r"httpx\.AsyncClient"):
        HttpxTransport(client)


@libraries
async def test_a_subclass_of_the_client_will_do(library: ModuleType) -> None:
    """The library is found through the class's ancestors, not by its own module."""
    kind = type("SomebodysOwn", (library.AsyncClient,), {})

    def handler(request: httpx.Request) -> object:
        return library.Response(200, content=b"ok")

    client = cast("httpx.AsyncClient", kind(transport=library.MockTransport(handler)))
    async with client:
        response = await HttpxTransport(client).send(REQUEST, connect_timeout_s=CONNECT_S)
        assert await response.read(100) == b"ok"


@libraries
async def test_a_response_that_came_although_the_request_was_cancelled_is_closed(library: ModuleType) -> None:
    """Nobody will read it: its stream is closed, and nothing is left for the garbage collector to complain about."""
    body = Pieces(b"one", endless=True)
    asked = asyncio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            answer: httpx.Response = library.Response(200, stream=body)
            return answer
        raise AssertionError

    transport = mocked(library, handler)
    sending = asyncio.create_task(transport.send(REQUEST, connect_timeout_s=CONNECT_S))
    await asked.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await turns(10)
    assert body.closed
    await transport.aclose()
    gc.collect()


class Shared(httpx.AsyncBaseTransport):
    """A transport whose responses say that they share an HTTP/2 connection."""

    class Network:
        """A network stream that must be left alone."""

        def get_extra_info(self, name: str) -> object:
            raise AssertionError(f"the connection's {name} was touched")

    def __init__(self, body: AsyncIterator[bytes] | httpx.AsyncByteStream) -> None:
        self._body = body

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(self._body, httpx.AsyncByteStream)
        extensions = {"http_version": b"HTTP/2", "network_stream": Shared.Network()}
        return httpx.Response(200, stream=self._body, extensions=extensions)


async def test_aborting_one_of_several_streams_on_a_connection() -> None:
    """Over HTTP/2 the other requests of the connection go on: only the stream is closed."""
    body = Pieces(b"one", endless=True)
    transport = HttpxTransport(httpx.AsyncClient(transport=Shared(body)))
    response = await transport.send(REQUEST, connect_timeout_s=CONNECT_S)
    assert await response.receive() == b"one"
    response.abort()
    await turns(5)
    assert body.closed
    await transport.aclose()
