"""A stream that goes on after it has failed in the middle: in another attempt, with the text so far."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

import anyio
import msgspec

from .calls import Call, OpenStream, broken, forget_frames
from .errors import BedrockError
from .events import Event
from .providers import EventDecoder
from .resilience import Continuation
from .resilience.continuation import Splice
from .transport import WireResponse
from .types import ResponseMeta

Reopen: TypeAlias = "Callable[[str], Awaitable[tuple[OpenStream[Event], ResponseMeta]]]"
"""Opens the stream that goes on after a text."""

_READY: Final = b"."


class _Decoded:
    """The decoder beside a body that has decoded its events already."""

    def __init__(self) -> None:
        self.pending_error: BedrockError | None = None
        self.events: Sequence[Event] = ()

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Do nothing: each attempt has started its own."""

    def receive(self, data: bytes) -> Sequence[Event]:
        events, self.events = self.events, ()
        return events

    def eof(self) -> Sequence[Event]:
        return ()


class ContinuedStream:
    """The body of a stream that goes on in other attempts; what it receives it decodes at once, for `decoder`.

    If a failure is worth repeating and what came before it can be continued, reading waits for the next attempt. If
    that fails before it has brought anything, the first failure is raised: it is the one that the caller can do
    something about, and it has what arrived.
    """

    def __init__(
        self,
        stream: OpenStream[Event],
        meta: ResponseMeta,
        *,
        continuation: Continuation,
        call: Call,
        prefill: bool,
        reopen: Reopen,
    ) -> None:
        assert stream.response is not None, "a stream that is complete need not be continued"  # noqa: S101
        assert stream.decoder is not None, "what has a body has a decoder"  # noqa: S101
        self.status = stream.response.status
        self.headers: Mapping[str, str] = stream.response.headers
        self.decoder = _Decoded()
        self._response: WireResponse | None = stream.response
        self._decoder: EventDecoder[Event] | None = stream.decoder
        self._meta = meta
        self._splice = Splice()
        self._left = continuation.max_continuations
        self._call = call
        self._prefill = prefill
        self._reopen = reopen
        self._waiting: anyio.CancelScope | None = None
        self._aborted = False
        self.first = self._splice.take(stream.first)

    def meta(self) -> ResponseMeta:
        """Return what is known of all attempts."""
        return self._meta

    async def receive(self) -> bytes:
        """Wait until there are events, or the end."""
        while True:
            try:
                events = await self._events()
            except BedrockError as exc:
                events = await self._go_on(exc)
            if events is None:
                return b""
            if events:
                self.decoder.events = events
                return _READY

    async def read(self, max_bytes: int) -> bytes:
        """Return nothing: a stream is not read whole."""
        return b""

    def abort(self) -> None:
        """Close the attempt under way, or give up opening the next one."""
        self._aborted = True
        if self._response is not None:
            self._response.abort()
        if self._waiting is not None:
            self._waiting.cancel()

    # -- inside

    async def _events(self) -> Sequence[Event] | None:
        """Return the next events of the attempt under way, None at its end."""
        response, decoder = self._response, self._decoder
        if response is None or decoder is None:
            return None
        if decoder.pending_error is not None:
            decoder.receive(b"")
        data = await response.receive()
        events = self._splice.take(decoder.receive(data) if data else decoder.eof())
        if not data:
            self._response = self._decoder = None
            return events or None
        return events

    async def _go_on(self, failure: BedrockError) -> Sequence[Event]:
        """Open the next attempt and return its first events. Raises ``failure`` where there is none."""
        response, self._response, self._decoder = self._response, None, None
        if response is not None:
            response.abort()
        text = self._splice.text
        delay_s = None if self._aborted or text is None or self._left == 0 else self._call.delay_s(failure, 1)
        if text is None or delay_s is None:
            raise failure
        self._left -= 1
        stream: OpenStream[Event] | None = None
        try:
            with anyio.CancelScope() as self._waiting:
                await self._call.line.sleep(delay_s)
                stream, meta = await self._reopen(text)
                self._meta = joined(self._meta, meta, failure)
        except BedrockError as exc:
            raise failure from exc
        finally:
            self._waiting = None
        if stream is None or self._aborted:  # aborted, maybe, just as it had opened
            if stream is not None and stream.response is not None:
                stream.response.abort()
            raise failure
        forget_frames(failure)
        self._response, self._decoder = stream.response, stream.decoder
        self._splice.go_on(prefill=self._prefill)
        return self._splice.take(stream.first)


def joined(before: ResponseMeta, after: ResponseMeta, failure: BedrockError) -> ResponseMeta:
    """Return what is known of a stream that broke with ``failure`` and went on."""
    attempts = (*broken(before.attempts, failure), *after.attempts)
    numbered = tuple(msgspec.structs.replace(each, number=number) for number, each in enumerate(attempts, 1))
    return msgspec.structs.replace(after, attempts=numbered, continuations=before.continuations + 1)
