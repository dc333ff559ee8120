"""A transport without a network, for tests: returns canned responses, and keeps the requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from ..errors import BedrockError, ConnectionLostError, ProtocolError
from ..eventstream import CONTENT_TYPE
from ..transport import WireRequest, WireResponse
from ..types import JSONValue
from .frames import stream_bytes

Piece: TypeAlias = "bytes | BedrockError | asyncio.Event"
"""Bytes of a body, an error to raise in their place, or an event to wait for."""


class CannedResponse:
    """A response; ``pieces`` are returned one by one. ``aborted`` tells whether it was closed before its end."""

    def __init__(
        self, pieces: Iterable[Piece] = (), *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {
            "content-type": "application/json",
            "x-amzn-requestid": "canned",
            **(headers or {}),
        }
        self.aborted = False
        self.finished = False
        self.waiting = asyncio.Event()
        """Set while a reader waits for an event among the pieces."""
        self._pieces = list(pieces)
        self._closed = asyncio.Event()

    @classmethod
    def stream(cls, events: Iterable[Mapping[str, JSONValue]], **options: Mapping[str, str]) -> CannedResponse:
        """Return a ConverseStream response with these events, in one piece."""
        return cls([stream_bytes(events)], headers={"content-type": CONTENT_TYPE, **options.get("headers", {})})

    async def receive(self) -> bytes:
        """Return the next piece, ``b""`` at the end. Raises an error among the pieces."""
        while self._pieces:
            if self.aborted:
                raise ConnectionLostError("the response was aborted.", sent=True)
            piece = self._pieces.pop(0)
            if isinstance(piece, bytes):
                return piece
            if isinstance(piece, BedrockError):
                raise piece
            await self._wait(piece)
        self.finished = True
        return b""

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole body. Raises ProtocolError beyond ``max_bytes``."""
        body = b""
        while piece := await self.receive():
            body += piece
            if len(body) > max_bytes:
                raise ProtocolError(f"the body has more than {max_bytes} bytes.", sent=True)
        return body

    def abort(self) -> None:
        """Close the response, and wake its reader."""
        if not self.finished:
            self.aborted = True
            self._closed.set()

    async def _wait(self, event: asyncio.Event) -> None:
        self.waiting.set()
        waits = [asyncio.ensure_future(wait.wait()) for wait in (event, self._closed)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self.aborted:
            raise ConnectionLostError("the response was aborted.", sent=True)


class CannedTransport:
    """A `Transport` that returns responses in order, repeating the last one, and keeps what was sent."""

    name = "canned"

    def __init__(self, answers: Sequence[CannedResponse | BedrockError | asyncio.Event]) -> None:
        self.requests: list[WireRequest] = []
        self.closed = False
        self._answers = list(answers)

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        """Return the next response, after waiting for any events before it. Raises it if it is an error."""
        self.requests.append(request)
        while True:
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            if isinstance(answer, CannedResponse):
                return answer
            if isinstance(answer, BedrockError):
                raise answer
            await answer.wait()

    async def aclose(self) -> None:
        """Record that the transport was closed."""
        self.closed = True
