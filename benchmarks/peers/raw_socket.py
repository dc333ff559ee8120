"""The floor: an asyncio socket, HTTP split by hand, and our own typed decode. No signature, pool, errors or limits."""

# ruff: noqa: D102 - the methods do what contract.Client says
from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib import import_module
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit

from ..contract import BOTO3_TOOLS, MAX_TOKENS, Client, Conversation, Peer, See

Receive: TypeAlias = Callable[[bytes], list[Any]]
"""Takes a piece of a stream's body and returns the events that it completes."""


class Connection(asyncio.Protocol):
    """One connection and the answer that arrives on it."""

    def __init__(self, new_decoder: Callable[[], Receive]) -> None:
        self._new_decoder = new_decoder

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def request(self, data: bytes, see: See | None, *, tools: bool = False) -> asyncio.Future[str]:
        """Send a request; the future has the text of an answer that is no stream."""
        self._done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._see = see
        self._tools = tools
        self._in_body = False
        self._receive = self._new_decoder()
        self.transport.write(data)
        return self._done

    def data_received(self, data: bytes) -> None:
        """Split the head off, and hand on what is complete."""
        buffer = self._buffer + data if self._buffer else data
        if not self._in_body:
            head_end = buffer.find(b"\r\n\r\n")
            if head_end < 0:
                self._buffer = buffer
                return
            self._in_body = True
            head, buffer = buffer[:head_end], buffer[head_end + 4 :]
            if self._see is None:
                self._length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        if self._see is not None:
            self._chunks(buffer, self._see)
        elif len(buffer) >= self._length:
            self._finish(json.loads(buffer)["output"]["message"]["content"][0]["text"])
        else:
            self._buffer = buffer

    def _chunks(self, buffer: bytes, see: See) -> None:
        at = 0
        while True:
            line_end = buffer.find(b"\r\n", at)
            if line_end < 0:
                break
            size = int(buffer[at:line_end], 16)
            if len(buffer) < line_end + size + 4:
                break
            if not size:
                self._finish("")
                return
            for event in self._receive(buffer[line_end + 2 : line_end + 2 + size]):
                text = event.tool_input if self._tools else event.text
                if text is not None:
                    see(text)
            at = line_end + size + 4
        self._buffer = buffer[at:]

    def _finish(self, text: str) -> None:
        self._buffer = b""
        self._done.set_result(text)


def new_decoder() -> Receive:
    """Return our own decoder: typed events, both checksums."""
    from bedrock_async.events import ConverseEventDecoder

    return ConverseEventDecoder().receive


class Raw(Client):
    """As many connections as are used at a time."""

    connection: Callable[[Callable[[], Receive]], Connection] = Connection

    def __init__(self, url: str, decoder: Callable[[], Receive]) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._decoder = decoder
        self._idle: list[Connection] = []
        self._connections: list[Connection] = []

    async def converse(self, model: str, conversation: Conversation) -> str:
        return await self._call(model, "converse", conversation, None)

    async def stream(self, model: str, conversation: Conversation, see: See) -> None:
        await self._call(model, "converse-stream", conversation, see)

    async def tool_stream(self, model: str, conversation: Conversation, see: See) -> None:
        await self._call(model, "converse-stream", conversation, see, toolConfig=BOTO3_TOOLS)

    async def _call(self, model: str, action: str, conversation: Conversation, see: See | None, **more: object) -> str:
        if self._idle:
            connection = self._idle.pop()
        else:
            loop = asyncio.get_running_loop()
            factory = partial(self.connection, self._decoder)
            _, connection = await loop.create_connection(factory, self._host, self._port, ssl=self._tls)
            self._connections.append(connection)
        request = {"messages": conversation, "inferenceConfig": {"maxTokens": MAX_TOKENS}, **more}
        body = json.dumps(request).encode()
        head = (
            f"POST /model/{quote(model, safe='')}/{action} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        text = await connection.request(head.encode() + body, see, tools=bool(more))
        self._idle.append(connection)
        return text

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.transport.abort()


def opened(
    decoder: Callable[[], Receive], kind: type[Raw] = Raw
) -> Callable[[str], AbstractAsyncContextManager[Client]]:
    """Return what opens such a client with that decoder."""

    @asynccontextmanager
    async def open_client(url: str) -> AsyncGenerator[Client]:
        client = kind(url, decoder)
        yield client
        client.close()

    return open_client


def load() -> None:
    """Import the decoder."""
    import_module("bedrock_async.events")


PEER = Peer(
    title="raw socket",
    kind="floor",
    environment="ours",
    packages=("msgspec",),
    load=load,
    opened=opened(new_decoder),
    not_offered={"decode": "the decoder is bedrock_async's"},
)
