"""What streams of a call have in common, and ResponseStream: its events, in the caller's hands."""

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
# An event is some 400 bytes; joined, little more than its text is left. Joining costs 0.7 us per event, which a stream
# that is over within seconds need not pay.
_KEPT_EVENTS: Final = 64
_KEPT_S: Final = 2.0
_METRICS: Final = METRICS.encode("ascii")
# Streams that began together take turns with it, or a thousand of them would hold each other up: so many events later.
_TURNS: Final = cycle([turn * 37 % _KEPT_EVENTS for turn in range(_KEPT_EVENTS)])

# Of no client: closing one ends the call that opens a stream, which says so in its own way.
_OPENING: Final = InFlight()

Opener: TypeAlias = Callable[[], Awaitable[tuple[OpenStream[E], ResponseMeta]]]


class _AwaitedResponse(Protocol):
    """What responses of the default transport offer beside ``receive``: a wait that needs no coroutine of its own.

    Whoever is cancelled while waiting aborts the response.
    """

    def arrival(self) -> asyncio.Future[None] | None:
        """Return what is done when there is something to take; None when there is something already."""
        ...

    def take(self) -> bytes:
        """Return what `WireResponse.receive` would, now that it is there. Raises as it does."""
        ...


class ServiceStream(Generic[E]):
    """An async iterator over what one call streams. Nothing is sent before the first ``__anext__`` or ``__aenter__``.

    The connection closes at once on leaving ``async with``, on `aclose`, on cancellation, on an error, and when the
    last reference dies; a stream that was read to its end gives its connection back. It can be iterated once; one that
    has failed raises its error again.

    Errors while iterating are `BedrockError`: ServiceError (also for exceptions inside the stream), TransportError,
    CallTimeoutError, EventStreamError, EventDecodeError or StreamTruncatedError. Cancelling a pending ``__anext__``
    closes the stream; it cannot be resumed.
    """

    def __init__(self, opener: Opener[E], *, idle_s: float | None, in_flight: InFlight | None = None) -> None:
        self._opener: Opener[E] | None = opener
        self._idle_s = idle_s
        self._in_flight = in_flight
        self._ready: list[E] = []  # in reverse, so that the next one is popped from the end
        self._body: WireResponse | None = None
        self._awaited: _AwaitedResponse | None = None
        """The body once more, where it is awaited in the quicker way."""
        self._decoder: EventDecoder[E] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._now: Callable[[], float] = float
        self._watch: asyncio.TimerHandle | None = None
        self._waiting_since: float | None = None
        self._opening: Limit | None = None
        """The request under way, which `abort` ends."""
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
        """Return the next one; what has arrived already is returned without waiting."""
        ready = self._ready
        if not ready:
            await self._fill()
        return ready.pop()

    @property
    def batches(self) -> BatchStream[E]:
        """The rest in lists, as it arrives: less work for each event for those who forward them."""
        return BatchStream(self)

    async def next_batch(self) -> list[E]:
        """Return all that has arrived and was not handed out yet, waiting for one. Raises as iterating."""
        if not self._ready:
            await self._fill()
        batch = self._ready[::-1]
        self._ready.clear()
        return batch

    @property
    def meta(self) -> ResponseMeta:
        """Request id, status, headers and attempts. Empty before the stream is open."""
        return (self._meta if self._late_meta is None else self._late_meta()) or ResponseMeta()

    @property
    def read_to_end(self) -> bool:
        """Whether all that the service sent was handed out, and nothing is missing."""
        return self._read_to_end

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Call ``callback(stream)`` once nothing more will be handed out: at the end, after an error, when closed.

        `read_to_end` tells which. A stream that is only forgotten closes its connection without calling anybody. What
        a callback raises comes to who reads the stream.
        """
        if self._done:
            callback(self)
        else:
            self._done_callbacks.append(callback)

    # -- life

    async def __aenter__(self) -> Self:
        """Send the request and return when the first events have arrived."""
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
        """Close the connection at once, unless the stream was read to its end. Idempotent; nothing in it waits."""
        self.abort()

    def abort(self) -> None:
        """Do what `aclose` does, from synchronous code in the loop's thread."""
        self._opener = None
        if self._opening is not None:
            self._opening.expire()
        self._ready.clear()
        self._release(self._body)
        self._finish(read_to_end=False)

    def __del__(self) -> None:
        """Close the connection when the last reference dies: ``break`` leaves nothing open."""
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
            # The collector may run in any thread; sockets belong to the loop's.
            in_flight = self._in_flight
            loop.call_soon_threadsafe(body.abort if in_flight is None else partial(in_flight.abort, body))

    # -- inside

    async def _fill(self) -> None:
        """Put at least one into ``_ready``. Raises StopAsyncIteration at the end of the stream."""
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
        """Return where there is nothing to read from, because the stream has come to its end or was closed."""
        if self._complete:
            self._finish(read_to_end=True)
            await self._show_end()
        elif self._opening is not None:
            raise _another_task()
        elif self._failure is not None:
            raise copy(self._failure)

    async def _break(self, body: WireResponse, exc: BaseException) -> None:
        """End with an error; raise the one to be raised in its place."""
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
        # Asked of the class: a response that passes on what it does not know to another one is to be read itself.
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
        """Keep the error that ends the stream for those who ask again."""
        self._failure = copy(error)  # without its frames, which hold the stream
        return error

    def _end(self) -> None:
        """Note that everything has come, and give the connection back."""
        self._complete = True
        self._release(None)

    def _finish(self, *, read_to_end: bool) -> None:
        """Tell those who asked that nothing more will be handed out. Idempotent."""
        if not self._done:
            self._done, self._read_to_end = True, read_to_end
            callbacks, self._done_callbacks = self._done_callbacks, []
            for callback in callbacks:
                callback(self)

    def _release(self, body: WireResponse | None) -> None:
        """Let go of the connection, closing it when ``body`` is given. Synchronous, idempotent."""
        if self._body is not None and self._in_flight is not None:
            self._in_flight.ended(self._body)
        self._body = self._awaited = self._decoder = None
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
        if body is not None:
            body.abort()

    def _take(self, events: Sequence[E]) -> None:
        """Keep events for those who ask for the next ones."""
        self._ready += reversed(events)

    def _idle_timeout(self) -> IdleTimeoutError:
        idle_s = self._idle_s or 0.0
        return IdleTimeoutError(
            f"no event arrived for {idle_s:g} s.", limit_s=idle_s, hint="Raise timeouts.idle_s, or try again."
        )

    def _explained(self, error: BedrockError) -> BedrockError:
        """Put on an error what the stream knows: attempts and request id."""
        error.attempts = self.meta.attempts
        if isinstance(error, ServiceError) and error.request_id is None:
            error.request_id = self.meta.request_id
        if self._advise is not None:
            self._advise(error)
        return error

    def _broken(self, error: BedrockError) -> BedrockError:
        """Put on the error that ends the stream what the stream knows; its attempt has failed with it."""
        self._explained(error)
        error.attempts = broken(error.attempts, error)
        return error

    async def _shown(self, error: BedrockError) -> BedrockError:
        """Show the error that ends the stream to the caller's functions."""
        hooks, self._hooks = self._hooks, None
        if hooks is not None:
            await hooks.failed(error)
        return error

    async def _show_end(self) -> None:
        """Show to the caller's functions what the whole stream has brought, once."""
        hooks, self._hooks = self._hooks, None
        if hooks is not None and (response := self._whole()) is not None:
            await hooks.answered(response)

    def _whole(self) -> object:
        """Return everything that the stream has brought as one answer, None where it has none."""
        return None

    def _watch_idle(self, after_s: float) -> None:
        """Look in ``after_s`` seconds whether the stream is idle: one timer for each stream, re-armed when it fires."""
        reference = weakref.ref(self)  # a timer must not keep a stream alive that nobody reads

        def look() -> None:
            stream = reference()
            if stream is not None:
                stream._check_idle()  # noqa: SLF001 - this is the stream's own

        self._watch = asyncio.get_running_loop().call_later(after_s, look)

    def _check_idle(self) -> None:
        """Abort the stream when its reader has waited for too long, else look again later."""
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
        "the stream was closed before its first event.", hint="Close it only when nobody waits for it any more."
    )


class ResponseStream(ServiceStream[Event]):
    """The events of one answer; see `ServiceStream` for its life.

    Errors while iterating carry ``partial_response``: what had arrived. For that, and for `get_final_response`, a
    stream keeps what it brings, the text of a slow one joined; with ``accumulate=False`` it keeps nothing.
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
        """With so many events kept it is time to see whether they are to be joined."""

    @property
    def meta(self) -> ResponseMeta:
        """Request id, status, headers and attempts; empty before the stream is open. The cost, once all has come."""
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
        """The inputs of the tools that the model asks for, as they grow, in the rest of the stream."""
        return ToolInputStream(self)

    async def get_final_response(self) -> ConverseResponse:
        """Read the rest of the stream and return everything as one response.

        Raises as iterating does, and StreamError when the stream was closed or failed before its end.
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
        """What has arrived until now, as a response; events that were not yet handed out are part of it."""
        self._require_accumulated()
        return fold(self._seen)

    def _whole(self) -> ConverseResponse | None:
        if not self._accumulate:
            return None
        try:
            return fold(self._seen).with_meta(self.meta)
        except BedrockError:  # whoever asks for the response is told so
            return None

    @property
    def guardrail(self) -> GuardrailDecision | None:
        """What a guardrail has decided by now: whether it intervened with the stop, how with the last event."""
        return self.response_so_far.guardrail

    def _require_accumulated(self) -> None:
        if not self._accumulate:
            raise StreamError(
                "this stream keeps nothing of what it brings: it was made with accumulate=False.",
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
        """Join the text of what was kept, if this stream takes its time: then it may be one of a thousand."""
        seen, now = self._seen, self._now()
        if not self._condensed_at:
            self._condensed_at = now
        elif now - self._condensed_at > _KEPT_S:
            seen[self._condensed :] = condensed(seen[self._condensed :])
            self._condensed = len(seen)
            self._condensed_at = now
        self._full = len(seen) + _KEPT_EVENTS

    def _explained(self, error: BedrockError) -> BedrockError:
        """Put on an error what the stream knows, the response so far included."""
        super()._explained(error)
        if self._accumulate and isinstance(error, ServiceError | StreamError | TransportError | CallTimeoutError):
            try:
                error.partial_response = fold(self._seen)
            except BedrockError:
                error.partial_response = None
        return error


class InvokeStream(ServiceStream[InvokeChunk]):
    """The native events of one InvokeModelWithResponseStream call; see `ServiceStream` for its life.

    What the head of the answer says is known once the stream is open.
    """

    def __init__(self, opener: Opener[InvokeChunk], *, idle_s: float | None, in_flight: InFlight | None = None) -> None:
        super().__init__(opener, idle_s=idle_s, in_flight=in_flight)
        self._ends: tuple[InvokeChunk, ...] = ()
        """The first chunk and the last two so far: between them they tell what was used."""

    @property
    def meta(self) -> ResponseMeta:
        """Request id, status, headers and attempts; empty before the stream is open. The cost, once all has come."""
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
        """The type of the chunks' bytes; empty before the stream is open."""
        return self.meta.headers.get("x-amzn-bedrock-content-type", "")

    @property
    def performance_config_latency(self) -> str | None:
        """The latency class that was used."""
        return self.meta.headers.get("x-amzn-bedrock-performanceconfig-latency")

    @property
    def service_tier(self) -> str | None:
        """The service tier that was used."""
        return self.meta.headers.get("x-amzn-bedrock-service-tier")


class BatchStream(Generic[E]):
    """What a stream brings, in lists; holds the stream, so that it lives as long as it is read."""

    def __init__(self, stream: ServiceStream[E]) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> list[E]:
        """Return all that has arrived, at least one. Raises as the stream does."""
        return await self._stream.next_batch()


class HasText(Protocol):
    """What may bring a piece of the model's text."""

    @property
    def text(self) -> str | None:
        """The piece, or None."""
        ...


class TextStream:
    """The text deltas of a stream; holds the stream, so that it lives as long as its text is read."""

    def __init__(self, stream: AsyncIterator[HasText]) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> str:
        """Return the next piece of text; other events are passed over. Raises as the stream does."""
        stream = self._stream
        while True:
            event = await stream.__anext__()
            if event.text is not None:
                return event.text


class ToolInputStream:
    """The growing inputs of tools in a stream; holds the stream, so that it lives as long as they are read."""

    def __init__(self, stream: AsyncIterator[object]) -> None:
        self._stream = stream
        self._inputs = ToolInputs()

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> PartialToolInput:
        """Return an input as it begins, grows and ends; other events are passed over. Raises as the stream does."""
        while True:
            found = self._inputs.add(await self._stream.__anext__())
            if found is not None:
                return found
