"""BidirectionalStream: a conversation in which both sides speak at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self, TypeAlias, TypeVar

from .calls import Call, OpenDuplex, refusal
from .errors import (
    BedrockError,
    FirstEventTimeoutError,
    IdleTimeoutError,
    InvalidRequestError,
    TotalTimeoutError,
)
from .native import ChunkDecoder, InvokeChunk, encode_input
from .providers import HttpRequest
from .transport import DuplexResponse

T = TypeVar("T")

Opener: TypeAlias = Callable[[], Awaitable[OpenDuplex]]


class BidirectionalStream:
    """One InvokeModelWithBidirectionalStream call: `send` events, iterate over those of the model, both at once.

    ::

        async with client.invoke_bidirectional("amazon.nova-sonic-v1:0") as duplex:
            await duplex.send({"event": {"sessionStart": {...}}})
            async for chunk in duplex:
                print(chunk.json())

    The request goes out on entering ``async with``. Any number of tasks may send, one may iterate. The connection
    closes at once on leaving ``async with``, on `aclose`, on an error, and when a send or a pending ``__anext__`` is
    cancelled. Nothing is sent twice: what was said is lost with the connection, and a new stream begins anew.

    Of the timeouts ``connect_s`` bounds each attempt to connect, ``first_event_s`` the wait for the first event and
    ``idle_s`` that for each other one, as well as for a peer that takes nothing; ``total_s`` bounds the session, which
    the service itself ends after eight minutes. Errors are `BedrockError`: ServiceError, also for a refused request
    and for exceptions inside the stream, TransportError, CallTimeoutError, EventStreamError or EventDecodeError.
    """

    def __init__(self, opener: Opener, request: HttpRequest, call: Call) -> None:
        self._opener = opener
        self._request = request
        self._call = call
        self._open: OpenDuplex | None = None
        self._decoder = ChunkDecoder()
        self._ready: list[InvokeChunk] = []  # in reverse, so that the next one is popped from the end
        self._sending = asyncio.Lock()
        self._began = False
        self._some_came = False
        self._ended = False
        self._closed = False
        self._deadline: float | None = None

    # -- life

    async def __aenter__(self) -> Self:
        """Connect and send the request. Raises TransportError, CallTimeoutError or CredentialsError."""
        self._require_open()
        if self._open is None:
            total_s = self._call.timeouts.total_s
            if total_s is not None:
                self._deadline = asyncio.get_running_loop().time() + total_s
            self._open = await self._opener()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection at once."""
        self.abort()

    async def aclose(self) -> None:
        """Close the connection at once; what has not arrived is lost. Idempotent; nothing in it waits."""
        self.abort()

    def abort(self) -> None:
        """Do what `aclose` does, from synchronous code in the loop's thread."""
        self._closed = True
        self._ready.clear()
        if self._open is not None:
            self._open.response.abort()

    # -- both directions

    async def send(self, event: Mapping[str, object] | bytes | str) -> None:
        """Send one event: a mapping, written as JSON, or JSON as it is. Waits while the peer takes nothing.

        Cancelling closes the stream when the event was on its way. Raises InvalidRequestError after `end_input` or
        `aclose` and for an event of more than 1,000,000 bytes, with which nothing is sent; IdleTimeoutError, and as
        the class says.
        """
        frame = encode_input(event)
        async with self._sending:
            await self._send(frame)

    async def end_input(self) -> None:
        """Tell the model that nothing more is coming; its events still arrive. Idempotent. Raises as `send` does."""
        async with self._sending:
            if self._ended:
                return
            opened = self._require_input()
            if opened.signer is not None:
                await self._send(b"")  # a signed frame without content: the end cannot be forged either
            self._ended = True
            opened.response.end()

    def __aiter__(self) -> Self:
        """Return the stream itself."""
        return self

    async def __anext__(self) -> InvokeChunk:
        """Return the model's next event. Cancelling closes the stream."""
        if not self._ready:
            try:
                await self._fill()
            except BaseException:
                self.abort()
                raise
        return self._ready.pop()

    # -- inside

    async def _send(self, frame: bytes) -> None:
        opened = self._require_input()
        response = opened.response
        await self._check_head(response)
        if opened.signer is not None:
            frame = opened.signer.sign(frame, self._call.line.now())
        try:
            await self._limited(response.send(frame), self._call.timeouts.idle_s, self._peer_is_deaf)
        except BedrockError:
            # The head may have come meanwhile, with the reason.
            try:
                await self._check_head(response)
            finally:
                self.abort()
            raise
        except BaseException:
            self.abort()  # the signature after this one would rest on an event that was not sent
            raise

    async def _fill(self) -> None:
        if self._open is None or self._closed:
            raise StopAsyncIteration
        response = self._open.response
        limit_s = self._call.timeouts.idle_s if self._some_came else self._call.timeouts.first_event_s
        while not self._ready:
            data = await self._limited(self._receive(response), limit_s, self._model_is_silent)
            chunks = self._decoder.receive(data) if data else self._decoder.eof()
            self._ready = chunks[::-1]
            if not data and not chunks:
                raise StopAsyncIteration
        self._some_came = True

    async def _receive(self, response: DuplexResponse) -> bytes:
        if self._decoder.pending_error is not None:
            self._decoder.receive(b"")
        if not self._began:
            await response.head()
            await self._check_head(response)
            self._decoder.start(response.status, response.headers)
            self._began = True
        return await response.receive()

    async def _check_head(self, response: DuplexResponse) -> None:
        """Raise what the service answered instead of a stream."""
        if response.status and not self._began:
            failure = await refusal(self._request, response, self._call)
            if failure is not None:
                self.abort()
                raise failure

    async def _limited(
        self, waiting: Awaitable[T], limit_s: float | None, expired: Callable[[float], BedrockError]
    ) -> T:
        """Wait no longer than the limit, nor than the session may last."""
        loop = asyncio.get_running_loop()
        limit_at = None if limit_s is None else loop.time() + limit_s
        first = min((at for at in (limit_at, self._deadline) if at is not None), default=None)
        try:
            async with asyncio.timeout_at(first):
                return await waiting
        except TimeoutError as exc:
            if isinstance(exc, BedrockError) or first is None:
                raise
            if first == limit_at and limit_s is not None:
                raise expired(limit_s) from exc
            total_s = self._call.timeouts.total_s or 0.0
            raise TotalTimeoutError(
                f"the session lasted longer than {total_s:g} s.",
                limit_s=total_s,
                hint="Raise timeouts.total_s, or begin a new session before.",
            ) from exc

    def _model_is_silent(self, limit_s: float) -> BedrockError:
        if not self._some_came:
            return FirstEventTimeoutError(
                f"no event arrived within {limit_s:g} s.",
                limit_s=limit_s,
                hint="Send what the model waits for, or raise timeouts.first_event_s.",
            )
        return IdleTimeoutError(
            f"no event arrived for {limit_s:g} s.",
            limit_s=limit_s,
            hint="Send what the model waits for, or raise timeouts.idle_s.",
        )

    def _peer_is_deaf(self, limit_s: float) -> BedrockError:
        return IdleTimeoutError(
            f"the service took nothing of what was sent for {limit_s:g} s.",
            limit_s=limit_s,
            hint="Send no faster than in real time, and read what the model says.",
        )

    def _require_open(self) -> None:
        if self._closed:
            raise InvalidRequestError(
                "the stream is closed.", hint="Open another one: client.invoke_bidirectional(...)."
            )

    def _require_input(self) -> OpenDuplex:
        self._require_open()
        if self._ended:
            raise InvalidRequestError("an event is sent after end_input().", hint="Open another stream to go on.")
        if self._open is None:
            raise InvalidRequestError(
                "the stream is not open.",
                hint="Use it inside `async with client.invoke_bidirectional(model) as duplex:`.",
            )
        return self._open
