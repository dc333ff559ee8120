"""A server of any number of streams, in a process of its own: ``python many_streams.py``.

It prints its port. Each number N that comes by stdin sends N events to every stream; the end of stdin ends the process.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from bedrock_async.testing.frames import event_frame

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(event_type: str, payload: dict[str, object]) -> bytes:
    """Return an event as one HTTP chunk."""
    frame = event_frame(event_type, payload)  # type: ignore[arg-type]
    return b"%x\r\n%b\r\n" % (len(frame), frame)


FIRST = HEAD + chunk("messageStart", {"role": "assistant"})
DELTA = chunk("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": " again"}})


class Peer(asyncio.Protocol):
    """One connection, whose first request is answered with a stream."""

    def __init__(self, streams: list[asyncio.Transport]) -> None:
        self._streams = streams
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Begin the stream when the head of the request is there."""
        self._received += data
        if b"\r\n\r\n" in self._received and self._transport not in self._streams:
            self._streams.append(self._transport)
            self._transport.write(FIRST)


async def main() -> None:
    """Serve until stdin ends."""
    streams: list[asyncio.Transport] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Peer(streams), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        for _ in range(int(line)):
            for stream in streams:
                stream.write(DELTA)
            await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(main())
