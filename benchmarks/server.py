"""The server that all clients are measured against: as little work as possible, in a process of its own."""

from __future__ import annotations

import asyncio
import re
import sys
from functools import lru_cache
from urllib.parse import unquote

from .scenarios import CONVERSE_BODY, frames

_CONVERSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-amzn-RequestId: b-1\r\nContent-Length: %d\r\n\r\n%b"
    % (len(CONVERSE_BODY), CONVERSE_BODY)
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\nx-amzn-RequestId: b-1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MODEL = re.compile(r"bench\.n(\d+)-w(\d+)-")


@lru_cache
def _writes(events: int, frames_per_write: int) -> list[bytes]:
    every = frames(events)
    pieces = [b"".join(every[at : at + frames_per_write]) for at in range(0, len(every), frames_per_write)]
    return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"]


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._received = b""
        self._streams: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = _LENGTH.search(self._received, 0, head_end)
        end = head_end + 4 + (int(length[1]) if length else 0)
        if len(self._received) < end:
            return
        path = self._received[: self._received.index(b"\r\n")].split()[1].decode()
        self._received = self._received[end:]
        if path.endswith("/converse-stream"):
            found = _MODEL.search(unquote(path))
            assert found is not None, path
            task = asyncio.ensure_future(self._stream(int(found[1]), int(found[2])))
            self._streams.add(task)
            task.add_done_callback(self._streams.discard)
        else:
            self._transport.write(_CONVERSE)

    async def _stream(self, events: int, frames_per_write: int) -> None:
        write = self._transport.write
        write(_STREAM_HEAD)
        for piece in _writes(events, frames_per_write):
            write(piece)
            await asyncio.sleep(0)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=2048)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
