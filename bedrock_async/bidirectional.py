"""BidirectionalStream: a conversation in which both sides speak at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeAlias, TypeVar

from .calls import Call, OpenDuplex, refusal
from .errors import (
    BedrockError,
    ConnectionLostError,
    FirstEventTimeoutError,
    IdleTimeoutError,
    InvalidRequestError,
    ServiceError,
    StreamError,
    TotalTimeoutError,
)
from .native import ChunkDecoder, InvokeChunk, encode_input
from .providers import HttpRequest
from .transport import DuplexResponse
from .types import ResponseMeta

T = TypeVar("T")

Opener: TypeAlias = Callable[[], Awaitable[OpenDuplex]]

_OK: Final = range(200, 300)
_PIECE_BYTES: Final = 2**14
"""What the service must take within ``idle_s``; a long event may need longer as a whole."""


class BidirectionalStream:
    """One InvokeModelWithBidirectionalStream call: `send` events, iterate over those of the model, both at once.

    ::

        async with client.invoke_bidirectional("amazon.nova-2-sonic-v1:0") as duplex:
            await duplex.send({"event": {"sessionStart": {...}}})
            async for chunk in duplex:
                print(chunk.json())

    The request goes out on entering ``async with``. Any number of tasks may send, one may iterate. The connection
    closes at once on leaving ``async with``, on `aclose`, on an error of the connection, when a send that was under way
    or a pending ``__anext__`` is cancelled, and when the last reference dies. Nothing is sent twice: what was said is
    lost with the connection, and a new stream begins anew.

    At most 256 KiB of what nobody has read yet are kept here; a model that says more waits. A `send` waits as long as
    the service takes nothing. When the service ends the conversation, a `send` raises, and whoever iterates still gets
    all that was said, and the reason.

    Of the timeouts ``connect_s`` bounds each attempt to connect, ``first_event_s`` the wait for the first event and
    ``idle_s`` that for each other one, as well as for a peer that takes nothing; ``total_s`` bounds the session, which
    the service itself ends after eight minutes. Errors are `BedrockError`: ServiceError, also for a refused request
    and for exceptions inside the stream, TransportError, CallTimeoutError, EventStreamError or EventDecodeError.
    """

    def __init__(self, opener: Opener, request: HttpRequest, call: Call, describe: Callable[[], ResponseMeta]) -> None:
        self._opener = opener
        self._request = request
        self._call = call
        self._describe = describe
        self._open: OpenDuplex | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._decoder = ChunkDecoder(may_be_empty=True)
        self._ready: list[InvokeChunk] = []  # in reverse, so that the next one is popped from the end
        self._sending = asyncio.Lock()
        self._judging = asyncio.Lock()
        self._opening = False
        self._reading = False
        self._began = False
        self._some_came = False
        self._complete = False
        self._input_ended = False
        self._closed = False
        self._failure: BedrockError | None = None
        """What the conversation ended with, for those who ask later."""
        self._deadline: float | None = None

    @property
    def meta(self) -> ResponseMeta:
        """Request id, status, headers and attempts; empty before the service has answered, with the first event."""
        return self._describe() if self._call.status else ResponseMeta()

    # -- life

    async def __aenter__(self) -> Self:
        """Connect and send the request. Raises TransportError, CallTimeoutError, CredentialsError, StreamError."""
        self._require_open()
        if self._opening:
            raise StreamError("the stream was entered a second time.", hint="Open another one for each conversation.")
        self._opening = True
        self._loop = asyncio.get_running_loop()
        total_s = self._call.timeouts.total_s
        if total_s is not None:
            self._deadline = self._loop.time() + total_s
        opened = await self._limited(self._opener, None, self._model_is_silent)
        self._open = opened
        if self._closed:  # by another task, meanwhile
            opened.response.abort()
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

    def __del__(self) -> None:
        """Close the connection when the last reference dies."""
        opened: OpenDuplex | None = self.__dict__.get("_open")
        loop = self.__dict__.get("_loop")
        if opened is None or loop is None or loop.is_closed():
            return
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is loop:
            opened.response.abort()
        else:
            # The collector may run in any thread; sockets belong to the loop's.
            loop.call_soon_threadsafe(opened.response.abort)

    # -- both directions

    async def send(self, event: Mapping[str, object] | bytes | str) -> None:
        """Send one event: a mapping, written as JSON, or JSON as it is. Waits while the peer takes nothing.

        Cancelling closes the stream when the event was on its way. Raises InvalidRequestError after `end_input` or
        `aclose` and for an event of more than 1,000,000 bytes, with which nothing is sent; ConnectionLostError when the
        service takes nothing more, and says why to whoever iterates; IdleTimeoutError, and as the class says.
        """
        frame = encode_input(event)
        async with self._sending:
            await self._send(frame)

    async def end_input(self) -> None:
        """Tell the model that nothing more is coming; its events still arrive.

        Idempotent, and without effect where the service has ended the conversation before. Raises as `send` does.
        """
        async with self._sending:
            if self._input_ended:
                return
            opened = self._require_input()
            if opened.response.takes_input and opened.signer is not None:
                await self._send(b"")  # a signed frame without content: the end cannot be forged either
            self._input_ended = True
            if opened.response.takes_input:
                opened.response.end()

    def __aiter__(self) -> Self:
        """Return the stream itself."""
        return self

    async def __anext__(self) -> InvokeChunk:
        """Return the model's next event. Cancelling closes the stream."""
        if not self._ready:
            await self._fill()
        return self._ready.pop()

    # -- inside

    async def _send(self, frame: bytes) -> None:
        opened = self._require_input()
        response = opened.response
        await self._check_head(response)
        if opened.signer is not None:
            frame = opened.signer.sign(frame, self._call.line.now())
        sent = 0
        try:
            while sent < len(frame):
                send = partial(response.send, frame[sent : sent + _PIECE_BYTES])
                await self._limited(send, self._call.timeouts.idle_s, self._peer_is_deaf)
                sent += _PIECE_BYTES
        except ConnectionLostError:
            # The service ended it. Why, is in the head, which may have come meanwhile, or in events yet to be read.
            await self._check_head(response)
            raise
        except BedrockError as exc:
            self._fail(exc)
            raise
        except BaseException:
            # Half an event cannot be taken back, and the signature after this one would rest on what was not sent.
            if sent or not response.takes_input or opened.signer is not None:
                self.abort()
            raise

    async def _fill(self) -> None:
        """Put at least one event into ``_ready``. Raises StopAsyncIteration at the end."""
        self._raise_failure()
        if self._closed or self._complete:
            raise StopAsyncIteration
        response = self._require_entered().response
        if self._reading:
            raise StreamError(
                "another task is already waiting for the next event of this stream.",
                hint="Let one task iterate and hand the events on.",
            )
        self._reading = True
        limit_s = self._call.timeouts.idle_s if self._some_came else self._call.timeouts.first_event_s
        try:
            self._ready = await self._limited(partial(self._next_events, response), limit_s, self._model_is_silent)
        except BedrockError as exc:
            self._fail(exc)
            raise
        except BaseException:
            self.abort()
            raise
        finally:
            self._reading = False
        if not self._ready:
            self._complete = True
            raise StopAsyncIteration
        self._some_came = True

    async def _next_events(self, response: DuplexResponse) -> list[InvokeChunk]:
        """Return the next events, the last one first; none at the end of the conversation."""
        decoder = self._decoder
        while True:
            if decoder.pending_error is not None:
                decoder.receive(b"")
            if not self._began:
                await response.head()
                await self._check_head(response)
                decoder.start(response.status, response.headers)
            data = await response.receive()
            chunks = decoder.receive(data) if data else decoder.eof()
            if chunks or not data:
                return chunks[::-1]

    async def _check_head(self, response: DuplexResponse) -> None:
        """Take note of the head of the answer once it is there. Raises what was answered instead of a stream."""
        if self._began or not response.status or self._open is None:
            return
        if response.status in _OK:
            self._began = True
            self._call.succeeded(self._open.started, response.status, response.headers)
            return
        async with self._judging:  # whoever sends and whoever iterates may both come here, and one can read it
            if self._failure is None:
                reading = partial(refusal, self._request, response, self._call)
                try:
                    failure = await self._limited(reading, self._call.timeouts.idle_s, self._refusal_is_silent)
                except BedrockError as exc:
                    failure = exc
                self._call.status, self._call.headers = response.status, response.headers
                self._call.failed(self._open.started, failure)
                self._fail(failure)
            self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure = copy(self._failure)
            raise failure from self._failure.__cause__

    def _fail(self, failure: BedrockError) -> None:
        """Close the connection, and keep why."""
        self._call.explain(failure)
        if isinstance(failure, ServiceError) and failure.request_id is None:
            failure.request_id = self._call.request_id
        if self._failure is None and not self._closed:
            self._failure = failure
        self.abort()

    async def _limited(
        self, wait: Callable[[], Awaitable[T]], limit_s: float | None, expired: Callable[[float], BedrockError]
    ) -> T:
        """Wait no longer than the limit, nor than the session may last, and not at all when that is over."""
        now = asyncio.get_running_loop().time()
        if self._deadline is not None and now >= self._deadline:
            raise self._session_is_over()
        limit_at = None if limit_s is None else now + limit_s
        first = min((at for at in (limit_at, self._deadline) if at is not None), default=None)
        try:
            async with asyncio.timeout_at(first):
                return await wait()
        except TimeoutError as exc:
            if isinstance(exc, BedrockError) or first is None:
                raise
            if first == limit_at and limit_s is not None:
                raise expired(limit_s) from exc
            raise self._session_is_over() from exc

    def _session_is_over(self) -> BedrockError:
        total_s = self._call.timeouts.total_s or 0.0
        return TotalTimeoutError(
            f"the session lasted longer than {total_s:g} s.",
            limit_s=total_s,
            hint="Raise timeouts.total_s, or begin a new session before the limit.",
        )

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

    def _refusal_is_silent(self, limit_s: float) -> BedrockError:
        status = self._open.response.status if self._open is not None else 0
        return IdleTimeoutError(
            f"the service answered HTTP {status} and did not finish saying why within {limit_s:g} s.",
            limit_s=limit_s,
            hint="Begin a new session; if it persists, look for a proxy or load balancer in between.",
        )

    def _peer_is_deaf(self, limit_s: float) -> BedrockError:
        return IdleTimeoutError(
            f"the service accepted none of the data sent for {limit_s:g} s.",
            limit_s=limit_s,
            hint="Send no faster than in real time, and read what the model says.",
        )

    def _require_open(self) -> None:
        if self._closed:
            raise InvalidRequestError(
                "the stream is closed.", hint="Open another one: client.invoke_bidirectional(...)."
            ) from self._failure

    def _require_input(self) -> OpenDuplex:
        self._require_open()
        if self._input_ended:
            raise InvalidRequestError("an event was sent after end_input().", hint="Open another stream to continue.")
        return self._require_entered()

    def _require_entered(self) -> OpenDuplex:
        if self._open is None:
            raise InvalidRequestError(
                "the stream is not open.",
                hint="Use it inside `async with client.invoke_bidirectional(model) as duplex:`.",
            )
        return self._open
