"""The clients that are measured. Each imports its library only when it is asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit

from .scenarios import QUESTION

REGION: Final = "us-east-1"
KEYS: Final = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
_MESSAGES: Final = [{"role": "user", "content": [{"text": QUESTION}]}]


class Client(Protocol):
    """What a scenario needs of a client."""

    async def stream(self, model: str) -> int:
        """Read one stream to its end and return the characters of its text."""
        ...

    async def converse(self, model: str) -> int:
        """Make one call and return the characters of its text."""
        ...


class _Ours:
    def __init__(self, client: Any) -> None:  # noqa: ANN401 - imported only where it is measured
        self._client = client

    async def stream(self, model: str) -> int:
        characters = 0
        async for event in self._client.stream(model, _MESSAGES, max_tokens=100):
            text = event.text
            if text is not None:
                characters += len(text)
        return characters

    async def converse(self, model: str) -> int:
        reply = await self._client.converse(model, _MESSAGES, max_tokens=100)
        return len(reply.text)


@asynccontextmanager
async def _ours(url: str, transport: str) -> AsyncGenerator[Client]:
    from bedrock_async import BedrockClient, Credentials

    async with BedrockClient(
        region=REGION, endpoint_url=url, credentials=Credentials(*KEYS), transport=transport
    ) as client:
        yield _Ours(client)


def ours_aiohttp(url: str) -> AbstractAsyncContextManager[Client]:
    """bedrock_async as it comes."""
    return _ours(url, "aiohttp")


def ours_httpx(url: str) -> AbstractAsyncContextManager[Client]:
    """bedrock_async over httpx."""
    return _ours(url, "httpx")


class _Aiobotocore:
    def __init__(self, client: Any) -> None:  # noqa: ANN401 - imported only where it is measured
        self._client = client

    async def stream(self, model: str) -> int:
        response = await self._client.converse_stream(
            modelId=model, messages=_MESSAGES, inferenceConfig={"maxTokens": 100}
        )
        characters = 0
        async for event in response["stream"]:
            delta = event.get("contentBlockDelta")
            if delta is not None:
                characters += len(delta["delta"]["text"])
        return characters

    async def converse(self, model: str) -> int:
        response = await self._client.converse(modelId=model, messages=_MESSAGES, inferenceConfig={"maxTokens": 100})
        return len(response["output"]["message"]["content"][0]["text"])


@asynccontextmanager
async def aiobotocore(url: str) -> AsyncGenerator[Client]:
    """aiobotocore, with a pool that is large enough."""
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    session: Any = get_session()
    async with session.create_client(
        "bedrock-runtime",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=KEYS[0],
        aws_secret_access_key=KEYS[1],
        config=AioConfig(max_pool_connections=200),
    ) as client:
        yield _Aiobotocore(client)


class _RawConnection(asyncio.Protocol):
    """The floor: a socket, a split of HTTP by hand, frames cut and text decoded, nothing else."""

    def __init__(self) -> None:
        self.idle = True
        self._decode: Callable[[bytes], int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def request(self, head: bytes, body: bytes, *, stream: bool) -> asyncio.Future[int]:
        """Send a request; the future has the characters of the answer's text."""
        self.idle = False
        self._done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._characters = 0
        self._stream = stream
        self._in_body = False
        self._frames = _decoder() if stream else None
        self.transport.write(head + body)
        return self._done

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        if not self._in_body:
            head_end = buffer.find(b"\r\n\r\n")
            if head_end < 0:
                self._buffer = buffer
                return
            self._in_body = True
            head, buffer = buffer[:head_end], buffer[head_end + 4 :]
            if not self._stream:
                self._length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        if self._stream:
            self._chunks(buffer)
        elif len(buffer) >= self._length:
            self._finish(len(json.loads(buffer)["output"]["message"]["content"][0]["text"]))
        else:
            self._buffer = buffer

    def _chunks(self, buffer: bytes) -> None:
        at = 0
        assert self._frames is not None
        while True:
            line_end = buffer.find(b"\r\n", at)
            if line_end < 0:
                break
            size = int(buffer[at:line_end], 16)
            if len(buffer) < line_end + size + 4:
                break
            if not size:
                self._finish(self._characters)
                return
            self._characters += self._frames(buffer[line_end + 2 : line_end + 2 + size])
            at = line_end + size + 4
        self._buffer = buffer[at:]

    def _finish(self, characters: int) -> None:
        self.idle = True
        self._buffer = b""
        self._done.set_result(characters)


def _decoder() -> Callable[[bytes], int]:
    """Return a function from bytes to characters of text: our own decoder, typed events and all."""
    from bedrock_async.events import ConverseEventDecoder

    decoder = ConverseEventDecoder()

    def characters(data: bytes) -> int:
        return sum(len(event.text) for event in decoder.receive(data) if event.text is not None)

    return characters


class _Raw:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._connections: list[_RawConnection] = []
        self._body = json.dumps({"messages": _MESSAGES, "inferenceConfig": {"maxTokens": 100}}).encode()

    async def _call(self, path: str, *, stream: bool) -> int:
        connection = next((each for each in self._connections if each.idle), None)
        if connection is None:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(_RawConnection, self._host, self._port)
            self._connections.append(connection)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(self._body)}\r\n\r\n"
        )
        return await connection.request(head.encode(), self._body, stream=stream)

    async def stream(self, model: str) -> int:
        return await self._call(f"/model/{quote(model, safe='')}/converse-stream", stream=True)

    async def converse(self, model: str) -> int:
        return await self._call(f"/model/{quote(model, safe='')}/converse", stream=False)

    def close(self) -> None:
        for connection in self._connections:
            connection.transport.abort()


@asynccontextmanager
async def raw_socket(url: str) -> AsyncGenerator[Client]:
    """Open a raw asyncio socket with the same typed decode: no signature, no pool, no errors, no limits."""
    client = _Raw(url)
    yield client
    client.close()


CLIENTS: Final[dict[str, Callable[[str], AbstractAsyncContextManager[Client]]]] = {
    "raw socket": raw_socket,
    "bedrock_async": ours_aiohttp,
    "bedrock_async (httpx)": ours_httpx,
    "aiobotocore": aiobotocore,
}
