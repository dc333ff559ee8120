"""ServiceStream, the base of all streams of a call, with ResponseStream and InvokeStream."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from copy import copy
from functools import partial
from itertools import cycle
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, Self, TypeAlias, TypeVar

import msgspec

from .calls import OpenStream, broken
from .errors import BedrockError, CallTimeoutError, IdleTimeoutError, ServiceError, StreamError, TransportError
from .events import Event, MetadataEvent
from .features.tool_inputs import PartialToolInput, ToolInputs
from .folding import condensed, fold
from .in_flight import InFlight, Limit
from .native import METRICS, InvokeChunk
from .providers import EventDecoder
from .transport import WireResponse
from .types import ConverseResponse, ResponseMeta

if TYPE_CHECKING:
    from .hooks import Watch
    from .types.guardrail_decisions import GuardrailDecision

E = TypeVar("E")
# An event takes about 400 bytes; condensed, little more than its text remains. Condensing costs 0.7 us per event, which
# streams that last only seconds are spared.
_KEPT_EVENTS: Final = 64
_KEPT_S: Final = 2.0
_METRICS: Final = METRICS.encode("ascii")
# Offsets that spread condensing over time: if a thousand streams that began together all condensed at the same event,
# they would delay each other.
_TURNS: Final = cycle([turn * 37 % _KEPT_EVENTS for turn in range(_KEPT_EVENTS)])

# Belongs to no client: the opening call is registered with its own client, which ends it with its own error.
_OPENING: Final = InFlight()

Opener: TypeAlias = Callable[[], Awaitable[tuple[OpenStream[E], ResponseMeta]]]


class _AwaitedResponse(Protocol):
    """An optional extension of `WireResponse`: a wait for data without a coroutine, which is cheaper to await.

    The response is aborted when a task is cancelled while it awaits `arrival`.
    """

    def arrival(self) -> asyncio.Future[None] | None:
        """Return a future that is done when data can be taken, or None when it can be taken now."""
        ...

    def take(self) -> bytes:
        """Return what `WireResponse.receive` would return, without waiting. Raises as `receive` does."""
        ...


class ServiceStream(Generic[E]):
    """An async iterator over the events of one call. Nothing is sent before the first ``__anext__`` or ``__aenter__``.

    The connection is closed at once on leaving ``async with``, on `aclose`, on cancellation, on an error, and when the
    last reference to the stream is dropped; a stream that was read to its end returns its connection to the pool. A
    stream can be iterated once; one that has failed raises the same error again.

    Errors while iterating are `BedrockError`: ServiceError (also for exceptions inside the stream), TransportError,
    CallTimeoutError, EventStreamError, EventDecodeError or StreamTruncatedError. Cancelling a pending ``__anext__``
    closes the stream; it cannot be resumed.
    """

    def __init__(self, opener: Opener[E], *, idle_s: float | None, in_flight: InFlight | None = None) -> None:
        self._opener: Opener[E] | None = opener
        self._idle_s = idle_s
        self._in_flight = in_flight
        self._ready: list[E] = []  # reversed, so that popping the next event is O(1)
        self._body: WireResponse | None = None
        self._awaited: _AwaitedResponse | None = None
        """The body again, if it offers the cheaper wait."""
        self._decoder: EventDecoder[E] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._now: Callable[[], float] = float
        self._watch: asyncio.TimerHandle | None = None
        self._waiting_since: float | None = None
        self._opening: Limit | None = None
        """The limit of the opening call, which `abort` expires."""
        self._failure: BedrockError | None = None
        self._idle = False
        self._complete = False
        self._meta: ResponseMeta | None = None
        self._late_meta: Callable[[], ResponseMeta] | None = None
        self._count: Callable[[E, ResponseMeta], None] | None = None
        self._done = False
        self._read_to_end = False
        self._done_callbacks: list[Callable[[Any], object]] = []
        self._advise: Callable[[BedrockError], None] | None = None
        self._hooks: Watch | None = None

    # -- iteration

    def __aiter__(self) -> Self:
        """Return the stream itself."""
        return self

    async def __anext__(self) -> E:
        """Return the next event, without waiting if one has already arrived."""
        ready = self._ready
        if not ready:
            await self._fill()
        return ready.pop()

    @property
    def batches(self) -> BatchStream[E]:
        """The remaining events as lists, as they arrive: less work per event for code that forwards them."""
        return BatchStream(self)

    async def next_batch(self) -> list[E]:
        """Return all events that have arrived and were not returned yet, waiting for at least one.

        Raises as iterating does, and StopAsyncIteration at the end of the stream. Cancelling closes the stream.
        """
        if not self._ready:
            await self._fill()
        batch = self._ready[::-1]
        self._ready.clear()
        return batch

    @property
    def meta(self) -> ResponseMeta:
        """Request id, status, headers and attempts. Empty until the stream is open."""
        return (self._meta if self._late_meta is None else self._late_meta()) or ResponseMeta()

    @property
    def read_to_end(self) -> bool:
        """Whether every event of a complete stream has been returned."""
        return self._read_to_end

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Call ``callback(stream)`` once no more events will be returned: at the end, after an error or on closing.

        `read_to_end` tells these apart. On a stream that is already done, the callback is called at once. Dropping the
        last reference closes the connection but calls no callbacks. Exceptions from a callback propagate to the code
        that reads or closes the stream.
        """
        if self._done:
            callback(self)
        else:
            self._done_callbacks.append(callback)

    # -- life

    async def __aenter__(self) -> Self:
        """Send the request and return once the first events have arrived."""
        if self._opener is not None:
            await self._open(self._opener)
        elif self._opening is not None:
            raise _another_task()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection at once, unless the stream was read to its end."""
        self.abort()

    async def aclose(self) -> None:
        """Close the connection at once, unless the stream was read to its end. Idempotent; never waits."""
        self.abort()

    def abort(self) -> None:
        """Close the stream as `aclose` does; synchronous, for use in the event loop's thread."""
        self._opener = None
        if self._opening is not None:
            self._opening.expire()
        self._ready.clear()
        self._release(self._body)
        self._finish(read_to_end=False)

    def __del__(self) -> None:
        """Close the connection when the last reference is dropped, as after a ``break`` out of the loop."""
        body = self.__dict__.get("_body")
        if body is None:
            return
        loop = self._loop
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is loop:
            self._release(body)
        elif loop is not None and not loop.is_closed():
            # The garbage collector may run in any thread; sockets belong to the event loop's.
            in_flight = self._in_flight
            loop.call_soon_threadsafe(body.abort if in_flight is None else partial(in_flight.abort, body))

    # -- inside

    async def _fill(self) -> None:
        """Add at least one event to ``_ready``. Raises StopAsyncIteration at the end of the stream."""
        if self._opener is not None:
            await self._open(self._opener)
            if self._ready:
                return
        body, awaited, decoder = self._body, self._awaited, self._decoder
        if body is None or decoder is None:
            await self._stop()
            raise StopAsyncIteration
        if self._waiting_since is not None:
            raise _another_task()
        try:
            while True:
                if decoder.pending_error is not None:
                    decoder.receive(b"")
                self._waiting_since = self._now()
                if awaited is None:
                    data = await body.receive()
                else:
                    arrival = awaited.arrival()
                    if arrival is not None:
                        await arrival
                    data = awaited.take()
                self._waiting_since = None
                events = decoder.receive(data) if data else decoder.eof()
                if events:
                    self._take(events)
                    if not data:
                        self._end()
                    return
                if not data:
                    self._end()
                    self._finish(read_to_end=True)
                    await self._show_end()
                    raise StopAsyncIteration
        except StopAsyncIteration:
            raise
        except BaseException as exc:
            self._waiting_since = None
            await self._break(body, exc)
            raise

    async def _stop(self) -> None:
        """Return if the stream has come to its end or was closed; raise its failure if it failed."""
        if self._complete:
            self._finish(read_to_end=True)
            await self._show_end()
        elif self._opening is not None:
            raise _another_task()
        elif self._failure is not None:
            raise copy(self._failure)

    async def _break(self, body: WireResponse, exc: BaseException) -> None:
        """End the stream with an error. Raises IdleTimeoutError instead if the idle timer caused it."""
        self._release(body)
        self._finish(read_to_end=False)
        if self._idle and isinstance(exc, TransportError):
            raise await self._shown(self._failed(self._broken(self._idle_timeout()))) from exc
        if isinstance(exc, BedrockError):
            await self._shown(self._failed(self._broken(exc)))

    async def _open(self, opener: Opener[E]) -> None:
        self._opener = None
        loop = asyncio.get_running_loop()
        limit = self._opening = _OPENING.limit(None)
        try:
            with limit:
                stream, self._meta = await opener()
        except BaseException as exc:
            self._finish(read_to_end=False)
            if isinstance(exc, BedrockError):
                self._failed(exc)
            elif isinstance(exc, TimeoutError) and limit.expired:
                raise self._failed(_closed()) from exc
            raise
        finally:
            self._opening = None
        self._loop = loop
        self._body, self._decoder = stream.response, stream.decoder
        # Looked up on the class: a wrapper that delegates unknown attributes must have its own ``receive`` called.
        if hasattr(type(stream.response), "arrival"):
            body: Any = stream.response
            self._awaited = body
        self._now = loop.time
        self._advise, self._hooks, self._late_meta = stream.advise, stream.watch, stream.meta
        self._count = stream.count
        self._complete = stream.response is None
        if stream.first:
            self._take(stream.first)
        if self._body is not None:
            if self._in_flight is not None:
                self._in_flight.opened(self._body)
            if self._idle_s is not None:
                self._watch_idle(self._idle_s)

    def _failed(self, error: BedrockError) -> BedrockError:
        """Keep the error that ends the stream, to be raised again by later reads."""
        self._failure = copy(error)  # copied without its traceback, whose frames refer to the stream
        return error

    def _end(self) -> None:
        """Mark the stream as complete and return the connection to the pool."""
        self._complete = True
        self._release(None)

    def _finish(self, *, read_to_end: bool) -> None:
        """Run the done callbacks. Idempotent."""
        if not self._done:
            self._done, self._read_to_end = True, read_to_end
            callbacks, self._done_callbacks = self._done_callbacks, []
            for callback in callbacks:
                callback(self)

    def _release(self, body: WireResponse | None) -> None:
        """Give up the connection; abort it if ``body`` is given. Idempotent."""
        if self._body is not None and self._in_flight is not None:
            self._in_flight.ended(self._body)
        self._body = self._awaited = self._decoder = None
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
        if body is not None:
            body.abort()

    def _take(self, events: Sequence[E]) -> None:
        """Queue events for the reader."""
        self._ready += reversed(events)

    def _idle_timeout(self) -> IdleTimeoutError:
        idle_s = self._idle_s or 0.0
        return IdleTimeoutError(
            f"no event arrived for {idle_s:g} s.", limit_s=idle_s, hint="Raise timeouts.idle_s, or try again."
        )

    def _explained(self, error: BedrockError) -> BedrockError:
        """Attach the attempts, the request id and the suggested next step to an error."""
        error.attempts = self.meta.attempts
        if isinstance(error, ServiceError) and error.request_id is None:
            error.request_id = self.meta.request_id
        if self._advise is not None:
            self._advise(error)
        return error

    def _broken(self, error: BedrockError) -> BedrockError:
        """Do the same for the error that ends the stream, and record it as the outcome of the last attempt."""
        self._explained(error)
        error.attempts = broken(error.attempts, error)
        return error

    async def _shown(self, error: BedrockError) -> BedrockError:
        """Pass the error that ends the stream to the caller's hooks, once."""
        hooks, self._hooks = self._hooks, None
        if hooks is not None:
            await hooks.failed(error)
        return error

    async def _show_end(self) -> None:
        """Pass the complete answer to the caller's hooks, once."""
        hooks, self._hooks = self._hooks, None
        if hooks is not None and (response := self._whole()) is not None:
            await hooks.answered(response)

    def _whole(self) -> object:
        """Return the complete answer for the hooks, or None if there is none."""
        return None

    def _watch_idle(self, after_s: float) -> None:
        """Check in ``after_s`` seconds whether the stream is idle; it has one timer, re-armed when it fires."""
        reference = weakref.ref(self)  # the timer must not keep an abandoned stream alive

        def look() -> None:
            stream = reference()
            if stream is not None:
                stream._check_idle()  # noqa: SLF001 - the stream's own method

        self._watch = asyncio.get_running_loop().call_later(after_s, look)

    def _check_idle(self) -> None:
        """Abort the stream if its reader has waited longer than ``idle_s``; otherwise check again later."""
        loop, idle_s, body = self._loop, self._idle_s, self._body
        if loop is None or idle_s is None or body is None:
            return
        waiting_since = self._waiting_since
        left_s = idle_s if waiting_since is None else waiting_since + idle_s - loop.time()
        if left_s > 0:
            self._watch_idle(left_s)
        else:
            self._idle = True
            body.abort()


def _another_task() -> StreamError:
    return StreamError(
        "another task is already waiting for the next event of this stream.",
        hint="Let one task iterate and hand the events on.",
    )


def _closed() -> StreamError:
    return StreamError(
        "the stream was closed before its first event.", hint="Close it only when no task is waiting for it any more."
    )


class ResponseStream(ServiceStream[Event]):
    """The events of one model answer; see `ServiceStream` for how a stream opens, ends and is cancelled.

    Errors while iterating carry ``partial_response``: the answer as far as it had arrived. For that and for
    `get_final_response` the stream keeps its events, and condenses the text of long-running streams; with
    ``accumulate=False`` it keeps none.
    """

    def __init__(
        self,
        opener: Opener[Event],
        *,
        idle_s: float | None,
        accumulate: bool = True,
        in_flight: InFlight | None = None,
    ) -> None:
        super().__init__(opener, idle_s=idle_s, in_flight=in_flight)
        self._accumulate = accumulate
        self._seen: list[Event] = []
        self._last: Event | None = None
        self._condensed = 0
        self._condensed_at = 0.0
        self._full = _KEPT_EVENTS + next(_TURNS)
        """The number of kept events at which condensing is considered next."""

    @property
    def meta(self) -> ResponseMeta:
        """Request id, status, headers and attempts; empty until the stream is open. The cost is known at its end."""
        meta, last = super().meta, self._last
        if meta.bill is None or last is None or last.type != "metadata":
            return meta
        return fold([last]).with_meta(meta).meta

    @property
    def text_stream(self) -> TextStream:
        """The text deltas of the rest of the stream, as an async iterator of str."""
        return TextStream(self)

    @property
    def tool_inputs(self) -> ToolInputStream:
        """The growing inputs of the tools that the model calls, in the rest of the stream."""
        return ToolInputStream(self)

    async def get_final_response(self) -> ConverseResponse:
        """Read the rest of the stream and return the whole answer as one response.

        Raises as iterating does, and StreamError when the stream was closed before its end or keeps no events
        (``accumulate=False``). Cancelling closes the stream.
        """
        self._require_accumulated()
        try:
            while True:
                await self.next_batch()
        except StopAsyncIteration:
            if not self._complete:
                raise self._explained(
                    StreamError(
                        "the stream was closed before its end: there is no final response.",
                        hint="Ask for it inside `async with`; what had arrived is stream.response_so_far.",
                    )
                ) from None
            return fold(self._seen).with_meta(self.meta)

    @property
    def response_so_far(self) -> ConverseResponse:
        """What has arrived so far, as a response; includes events that were not returned yet.

        Raises StreamError when the stream keeps no events (``accumulate=False``).
        """
        self._require_accumulated()
        return fold(self._seen)

    def _whole(self) -> ConverseResponse | None:
        if not self._accumulate:
            return None
        try:
            return fold(self._seen).with_meta(self.meta)
        except BedrockError:  # a caller who asks for the response gets this error; hooks need not
            return None

    @property
    def guardrail(self) -> GuardrailDecision | None:
        """What a guardrail has decided so far: the stop event tells that it intervened, the last event how."""
        return self.response_so_far.guardrail

    def _require_accumulated(self) -> None:
        if not self._accumulate:
            raise StreamError(
                "this stream keeps no events: it was created with accumulate=False.",
                hint="Leave accumulate out, or fold the events with ResponseAccumulator.",
            )

    def _take(self, events: Sequence[Event]) -> None:
        self._ready += reversed(events)
        if type(events[-1]) is MetadataEvent:
            if self._count is not None:
                count, self._count = self._count, None
                count(events[-1], self.meta)
            self._last = events[-1]
        if self._accumulate:
            seen = self._seen
            seen += events
            if len(seen) >= self._full:
                self._condense()

    def _condense(self) -> None:
        """Condense the kept events of a stream that has run for a while, as there may be thousands of such streams."""
        seen, now = self._seen, self._now()
        if not self._condensed_at:
            self._condensed_at = now
        elif now - self._condensed_at > _KEPT_S:
            seen[self._condensed :] = condensed(seen[self._condensed :])
            self._condensed = len(seen)
            self._condensed_at = now
        self._full = len(seen) + _KEPT_EVENTS

    def _explained(self, error: BedrockError) -> BedrockError:
        """Do the same, and attach the partial response."""
        super()._explained(error)
        if self._accumulate and isinstance(error, ServiceError | StreamError | TransportError | CallTimeoutError):
            try:
                error.partial_response = fold(self._seen)
            except BedrockError:
                error.partial_response = None
        return error


class InvokeStream(ServiceStream[InvokeChunk]):
    """The native chunks of one InvokeModelWithResponseStream call; see `ServiceStream` for its life cycle.

    The values of the response headers are available once the stream is open.
    """

    def __init__(self, opener: Opener[InvokeChunk], *, idle_s: float | None, in_flight: InFlight | None = None) -> None:
        super().__init__(opener, idle_s=idle_s, in_flight=in_flight)
        self._ends: tuple[InvokeChunk, ...] = ()
        """The first chunk and the last two so far, which together hold the usage."""

    @property
    def meta(self) -> ResponseMeta:
        """Request id, status, headers and attempts; empty until the stream is open. The cost is known at its end."""
        meta = super().meta
        if meta.bill is None:
            return meta
        return msgspec.structs.replace(meta, bill=meta.bill.of_native(meta.headers, *(end.bytes for end in self._ends)))

    def _take(self, events: Sequence[InvokeChunk]) -> None:
        self._ready += reversed(events)
        if events:
            self._ends = (*(self._ends or events)[:1], *(*self._ends[1:], *events)[-2:])
            if self._count is not None and _METRICS in events[-1].bytes:
                count, self._count = self._count, None
                count(events[-1], self.meta)

    @property
    def content_type(self) -> str:
        """The media type of the chunks' bytes; empty until the stream is open."""
        return self.meta.headers.get("x-amzn-bedrock-content-type", "")

    @property
    def performance_config_latency(self) -> str | None:
        """The latency class that the service used; None if it named none."""
        return self.meta.headers.get("x-amzn-bedrock-performanceconfig-latency")

    @property
    def service_tier(self) -> str | None:
        """The service tier that the service used; None if it named none."""
        return self.meta.headers.get("x-amzn-bedrock-service-tier")


class BatchStream(Generic[E]):
    """The events of a stream in lists. Holds a reference to the stream, which keeps it open."""

    def __init__(self, stream: ServiceStream[E]) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> list[E]:
        """Return all events that have arrived, at least one. Raises as the stream does."""
        return await self._stream.next_batch()


class HasText(Protocol):
    """An event that may carry a piece of the model's text."""

    @property
    def text(self) -> str | None:
        """The piece, or None."""
        ...


class TextStream:
    """The text deltas of a stream. Holds a reference to the stream, which keeps it open."""

    def __init__(self, stream: AsyncIterator[HasText]) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> str:
        """Return the next piece of text, skipping other events. Raises as the stream does."""
        stream = self._stream
        while True:
            event = await stream.__anext__()
            if event.text is not None:
                return event.text


class ToolInputStream:
    """The growing tool inputs of a stream. Holds a reference to the stream, which keeps it open."""

    def __init__(self, stream: AsyncIterator[object]) -> None:
        self._stream = stream
        self._inputs = ToolInputs()

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> PartialToolInput:
        """Return the next state of an input (begun, grown, ended), skipping other events. Raises as the stream does."""
        while True:
            found = self._inputs.add(await self._stream.__anext__())
            if found is not None:
                return found
