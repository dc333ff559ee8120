"""The floor of whatever is read with ``async for``: the raw socket, but a task wakes up for every read and decodes.

The raw socket decodes in asyncio's callback, which no asynchronous iterator can do: its reader is a task, which takes a
future and a turn of the loop for every read.
"""

# ruff: noqa: D102 - the methods do what contract.Client says
from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..contract import Peer, See
from .raw_socket import PEER as RAW
from .raw_socket import Connection, Raw, Receive, new_decoder, opened


class ReadByTask(Connection):
    """A connection whose pieces are decoded by the task that waits for them."""

    def request(self, data: bytes, see: See | None, *, tools: bool = False) -> asyncio.Future[str]:
        self._pieces: list[bytes] = []
        self._reader: asyncio.Future[None] | None = None
        decode, self._new_decoder = self._new_decoder, lambda: self._keep
        try:
            done = super().request(data, see, tools=tools)
        finally:
            self._new_decoder = decode
        if see is None:
            return done
        return asyncio.ensure_future(self._read(decode(), see, done, tools=tools))

    def _keep(self, data: bytes) -> list[Any]:
        self._pieces.append(data)
        return []

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._reader is not None and self._pieces and not self._reader.done():
            self._reader.set_result(None)

    async def _read(self, decode: Receive, see: See, done: asyncio.Future[str], *, tools: bool) -> str:
        while not done.done() or self._pieces:
            if not self._pieces:
                self._reader = asyncio.get_running_loop().create_future()
                done.add_done_callback(self._wake)
                await self._reader
                self._reader = None
                done.remove_done_callback(self._wake)
            data = b"".join(self._pieces)
            self._pieces.clear()
            for event in decode(data):
                text = event.tool_input if tools else event.text
                if text is not None:
                    see(text)
        return ""

    def _wake(self, _done: asyncio.Future[str]) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class RawReader(Raw):
    """A raw client with such connections."""

    connection: Callable[[Callable[[], Receive]], Connection] = ReadByTask


PEER = Peer(
    title="raw socket, read by a task",
    kind="floor",
    environment=RAW.environment,
    packages=RAW.packages,
    load=RAW.load,
    opened=opened(new_decoder, RawReader),
    not_offered=RAW.not_offered,
)
