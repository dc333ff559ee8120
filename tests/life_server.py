"""A server of Converse, ConverseStream, CountTokens and native streams whose answers wait for the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

from rawserver import RawConnection, RawRequest, RawServer
from transports import client_tls, opened, server_tls, turns

from bedrock_async import BedrockClient, Credentials, StandardRetry
from bedrock_async.testing.frames import event_frame, stream_bytes

MODEL: Final = "us.amazon.nova-lite-v1:0"
TEXT: Final = "Hello"

STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\n"
    b"x-amzn-requestid: r-1\r\ntransfer-encoding: chunked\r\n\r\n"
)
START: Final = event_frame("messageStart", {"role": "assistant"})
DELTA: Final = event_frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": TEXT}})
STOP: Final = event_frame("messageStop", {"stopReason": "end_turn"})
METADATA: Final = event_frame("metadata", {"usage": {}, "metrics": {"latencyMs": 1}})
NATIVE: Final = stream_bytes([{"chunk": {"bytes": "e30="}}])
LAST: Final = b"0\r\n\r\n"

MESSAGE: Final = {"role": "assistant", "content": [{"text": TEXT}]}
ANSWER: Final = {"output": {"message": MESSAGE}, "stopReason": "end_turn", "usage": {}, "metrics": {"latencyMs": 1}}


def chunk(*frames: bytes) -> bytes:
    """Return frames as one HTTP chunk."""
    body = b"".join(frames)
    return b"%x\r\n%b\r\n" % (len(body), body)


def whole(document: object, status: bytes = b"200 OK") -> bytes:
    """Return an HTTP response with JSON."""
    body = json.dumps(document).encode()
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(body)) + body


def in_pieces(response: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a response in three pieces, of which the first ends in the head."""
    return response[:20], response[20:-5], response[-5:]


class Service:
    """Answers every request, as soon as ``gate`` is open; streams begin before and end behind it.

    Requests whose text is "together" are answered when two of them are there, each on a connection of its own; the
    first one whose text is "again" is refused for now.
    """

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.requests = 0
        self._answering: set[RawConnection] = set()
        self._stalled: set[RawConnection] = set()
        self._together = 0
        self._both = asyncio.Event()
        self.refused = False

    async def asked_for(self, requests: int) -> None:
        """Return when so many requests have come in all."""
        while self.requests < requests:
            self.asked.clear()
            await self.asked.wait()

    async def __call__(self, peer: RawConnection) -> None:
        while True:
            request = await peer.read_request()
            self.requests += 1
            self.asked.set()
            await self._answer(request, peer)

    def stall(self) -> None:
        """Send nothing more of the answers that are being sent: only by closing them can a client get rid of these."""
        self._stalled |= self._answering

    async def _slowly(self, peer: RawConnection, *pieces: bytes) -> None:
        """Send pieces so that the client waits for each; the last one ends the answer."""
        self._answering.add(peer)
        for number, piece in enumerate(pieces, 1):
            if peer in self._stalled:
                await peer.closed.wait()
                raise EOFError
            if number == len(pieces):
                self._answering.discard(peer)
                await peer.send(piece)
            else:
                await peer.send(piece)
                await turns(5)

    async def _answer(self, request: RawRequest, peer: RawConnection) -> None:
        operation = request.line.split()[1].rpartition(b"/")[2]
        if b'"together"' in request.body:
            await self._wait_for_two()
        elif b'"again"' in request.body and not self.refused:
            self.refused = True
            await peer.send(whole({"message": "busy"}, b"503 Service Unavailable"))
            return
        match operation:
            case b"converse-stream":
                await peer.send(STREAM_HEAD, chunk(START))
                await self.gate.wait()
                await self._slowly(peer, chunk(DELTA), chunk(STOP), chunk(METADATA), LAST)
            case b"invoke-with-response-stream":
                await peer.send(STREAM_HEAD, chunk(NATIVE))
                await self.gate.wait()
                await self._slowly(peer, chunk(NATIVE), LAST)
            case b"count-tokens":
                await self.gate.wait()
                await self._slowly(peer, *in_pieces(whole({"inputTokens": 7})))
            case _:
                await self.gate.wait()
                await self._slowly(peer, *in_pieces(whole(ANSWER)))

    async def _wait_for_two(self) -> None:
        self._together += 1
        if self._together % 2:
            self._both.clear()
        else:
            self._both.set()
        await self._both.wait()


@asynccontextmanager
async def serving(
    kind: str,
    *,
    tls: bool = False,
    max_connections: int | None = None,
    **keywords: Any,  # noqa: ANN401 - those of BedrockClient
) -> AsyncGenerator[tuple[Service, RawServer, BedrockClient]]:
    """Enter a service, and a client of it with a transport of this kind; the client is closed in the end."""
    service = Service()
    contexts = (server_tls(), client_tls()) if tls else (None, None)
    async with (
        RawServer(service, tls=contexts[0]) as server,
        opened(kind, max_connections=max_connections, tls=contexts[1]) as transport,
        client_of(server, transport=transport, **keywords) as client,
    ):
        yield service, server, client


def client_of(server: RawServer, **keywords: Any) -> BedrockClient:  # noqa: ANN401 - those of BedrockClient
    """Return a client of that server."""
    options: dict[str, Any] = {
        "region": "us-east-1",
        "endpoint_url": server.url,
        "credentials": Credentials("AKIDEXAMPLE", "secret"),
        "retry": StandardRetry(max_attempts=1),
    }
    return BedrockClient(**{**options, **keywords})


def ours(*servers: RawServer) -> set[asyncio.Task[Any]]:
    """Return the tasks that are neither the running one nor a server's."""
    theirs = {script for server in servers for script in server._scripts}
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task() and task not in theirs}
