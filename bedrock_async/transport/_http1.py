"""One HTTP/1.1 connection: it sends requests, one at a time, and parses responses with llhttp (httptools)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import Final, Protocol, cast

from httptools import HttpParserCallbackError, HttpParserError, HttpResponseParser

from ..errors import BedrockError, TransportError
from . import _failures
from ._tls_layer import TlsLayer

__all__ = ["Connection", "Owner", "Response"]

_MOST_UNREAD_BYTES: Final = 2**17
"""How much may wait unread before reading is paused, or arrive without completing a head or a piece of body."""

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

_MOST_FIELDS: Final = 256
"""The most header fields of a response. Bedrock sends about ten."""

_AT_ONCE_BYTES: Final = 2**16
"""Bodies up to this size are written at once with the head, longer ones in pieces of this size."""

_PIECES_A_TURN: Final = 4
"""How many pieces of a long body are written before other tasks get a turn."""


class Owner(Protocol):
    """The pool that lends the connection to requests and takes it back."""

    def freed(self, connection: Connection) -> None:
        """Take back a connection that can be reused."""
        ...

    def closed(self, connection: Connection) -> None:
        """Register that the connection is closed."""
        ...


class _EndOfParsingError(Exception):
    """Raised in a callback to stop the parser, which passes it on to the caller."""


class Response:
    """A response, in progress or complete; see `WireResponse`.

    When ``head`` is done, either the head of the response has arrived, or ``status`` is 0 and ``failure`` says why not.
    """

    __slots__ = (
        "_connection",
        "_loop",
        "_peer",
        "_pieces",
        "failure",
        "head",
        "headers",
        "reader",
        "received_bytes",
        "status",
        "unanswered",
    )

    def __init__(self, connection: Connection, pieces: list[bytes], loop: asyncio.AbstractEventLoop, peer: str) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = _NO_HEADERS
        self.head: asyncio.Future[None] = loop.create_future()
        self.reader: asyncio.Future[None] | None = None
        """Done when something has arrived for the waiting reader."""
        self.received_bytes = 0
        """How much of the body was returned to the reader."""
        self.unanswered = False
        """Whether the connection was lost before the first byte of the response."""
        self._connection: Connection | None = connection
        """None once the body is complete or has failed."""
        self._pieces = pieces
        """Received but unread; the connection's own list until the response ends."""
        self.failure: BedrockError | None = None
        self._loop = loop
        self._peer = peer

    async def receive(self) -> bytes:
        """Return the next piece of the body; see `WireResponse.receive`. Cancelling leaves the response usable."""
        arrival = self.arrival()
        if arrival is not None:
            try:
                await arrival
            finally:
                self.reader = None
        return self.take()

    def arrival(self) -> asyncio.Future[None] | None:
        """Return a future to await before `take`, or None when there is something to take.

        For readers that wait for every event: it saves the coroutine of `receive`. The response is aborted when a task
        is cancelled while it awaits this.
        """
        if self._pieces or self._connection is None:
            return None
        if self.reader is not None:
            raise RuntimeError("another task is already reading this response")
        reader = self.reader = self._loop.create_future()
        return reader

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole body; see `WireResponse.read`. Cancelling closes the connection."""
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := await self.receive():
                size += len(piece)
                if size > max_bytes:
                    raise _failures.body_too_large(peer=self._peer, max_bytes=max_bytes)
                pieces.append(piece)
                if self._connection is None and self.failure is None and not self._pieces:
                    break
        except BaseException:
            self.abort()
            raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def abort(self) -> None:
        """Close the connection now; see `WireResponse.abort`."""
        if self._connection is not None:
            self._connection.abort()

    def take(self) -> bytes:
        """Return everything that has arrived, ``b""`` at the end of the body. Raises as `receive` does."""
        self.reader = None
        pieces = self._pieces
        if not pieces:
            if self.failure is not None:
                raise self.failure
            return b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.received_bytes += len(data)
        connection = self._connection
        if connection is not None:
            connection.unread_bytes = 0
            if connection.paused:
                connection.read_on()
        return data

    # -- called by the connection

    def end(self, rest: list[bytes], failure: BedrockError | None = None) -> None:
        """End the response with the unread ``rest``: its body is complete, or it has failed with ``failure``.

        The connection is detached from this response.
        """
        self._connection = None
        self._pieces = rest
        self.failure = failure
        for waiter in (self.head, self.reader):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)


class Connection(asyncio.BufferedProtocol):
    """A connection to ``peer`` (``host:port``) through the given TLS layers, outermost first.

    Received bytes are read into ``buffer``, which may be shared by all connections of an event loop, because nothing
    remains in it. Call `start` when the connection is established and no other request is in progress.
    """

    __slots__ = (
        "_buffer",
        "_complete",
        "_fields",
        "_head_only",
        "_headers",
        "_keep_alive",
        "_layers",
        "_loop",
        "_lost_by",
        "_owner",
        "_parser",
        "_peer",
        "_pieces",
        "_response",
        "_transport",
        "_unsent",
        "_until_close",
        "_writable",
        "closed",
        "idle_since",
        "paused",
        "reused",
        "unread_bytes",
    )

    def __init__(
        self,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        *,
        peer: str,
        buffer: memoryview,
        layers: Sequence[TlsLayer] = (),
    ) -> None:
        self._owner = owner
        self._loop = loop
        self._peer = peer
        self._buffer = buffer
        self._layers = layers
        self._pieces: list[bytes] = []
        self._headers: dict[str, str] = {}
        callbacks = SimpleNamespace(
            on_message_begin=self._message_begins,
            on_header=self._header,
            on_headers_complete=self._head_ends,
            on_body=self._pieces.append,
            on_message_complete=self._message_ends,
        )
        self._parser: HttpResponseParser | None = HttpResponseParser(callbacks)
        self._fields = 0
        self._response: Response | None = None
        self._lost_by: Exception | None = None
        self.unread_bytes = 0
        self._unsent: memoryview | None = None
        self._complete = self._keep_alive = self._until_close = self._head_only = self.paused = False
        self._writable = True
        self.closed = False
        self.reused = False
        """Whether an earlier request was answered on this connection."""
        self.idle_since = 0.0
        """The loop time at which the owner got it back."""

    # -- requests

    def start(self, method: str, head: bytes, body: bytes) -> Response:
        """Send a request and return its response; await the response's ``head`` next."""
        response = self._response = Response(self, self._pieces, self._loop, self._peer)
        self.unread_bytes = self._fields = 0
        self._until_close = False
        self._head_only = method == "HEAD"
        if self.closed:
            self._lost(self._lost_by)
            return response
        try:
            if len(body) <= _AT_ONCE_BYTES:
                self._write(head + body if body else head)
            else:
                self._write(head)
                self._unsent = memoryview(body)
                self._write_on()
        except ssl.SSLError as exc:
            self._lost(exc)
        return response

    def _write(self, data: bytes | memoryview) -> None:
        for layer in reversed(self._layers):
            data = layer.seal(data)
        self._transport.write(data)

    def _write_on(self) -> None:
        """Write more of a long body, until the write buffer is full or other tasks should get a turn."""
        for _ in range(_PIECES_A_TURN):
            unsent = self._unsent
            if unsent is None or not self._writable:
                return  # `resume_writing` continues
            self._unsent = unsent[_AT_ONCE_BYTES:] or None
            try:
                self._write(unsent[:_AT_ONCE_BYTES])
            except ssl.SSLError as exc:
                self._lost(exc)
                return
        if self._unsent is not None:
            self._loop.call_soon(self._write_on)

    def pause_writing(self) -> None:
        """Pause writing a long body; called by asyncio."""
        self._writable = False

    def resume_writing(self) -> None:
        """Continue writing a long body; called by asyncio."""
        self._writable = True
        self._write_on()

    # -- receiving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; called by asyncio."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer to read into; called by asyncio."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Process received bytes; called by asyncio."""
        if not self._layers:
            self._feed(self._buffer[:nbytes])
            return
        data: bytes | memoryview = self._buffer[:nbytes]
        for depth, layer in enumerate(self._layers):
            data = layer.open(data)
            if reply := layer.outgoing:
                for below in reversed(self._layers[:depth]):
                    reply = below.seal(reply)
                self._transport.write(reply)
        if data:
            self._feed(data)
        for layer in self._layers:
            if layer.failure is not None:
                self._lost(layer.failure)
            elif layer.said_goodbye:
                self.eof_received()

    def _feed(self, data: bytes | memoryview) -> None:
        response, parser = self._response, self._parser
        if response is None or parser is None:
            self.abort()  # unsolicited; some servers announce in this way that they will close the connection
            return
        try:
            parser.feed_data(data)
        except HttpParserError as exc:
            if not self._complete:
                self._broken(exc)
                return
            self._keep_alive = False  # bytes after the response belong to no request
        if self._complete:
            self._finish(response)
            return
        reader = response.reader
        if reader is not None and self._pieces and not reader.done():
            reader.set_result(None)
            return  # a waiting reader has already taken everything before this piece
        self.unread_bytes += len(data)
        if self.unread_bytes > _MOST_UNREAD_BYTES:
            self._slow_down(response)

    def eof_received(self) -> None:
        """Process the end of the peer's data; called by asyncio."""
        response = self._response
        # Without a length, truncation of a TLS connection looks like the end of the body: only the peer's close_notify
        # distinguishes the two.  [RFC 9112, section 9.8]
        if response is not None and self._until_close and all(layer.said_goodbye for layer in self._layers):
            self._keep_alive = False
            self._finish(response)
        else:
            self._lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the response in progress, if any; called by asyncio."""
        self._lost(exc)
        self._parser = None  # the parser refers to this object

    # -- parser callbacks

    def _message_begins(self) -> None:
        if self._complete:
            raise _EndOfParsingError("a second response")

    def _header(self, name: bytes, value: bytes) -> None:
        headers = self._headers
        key = name.decode("latin-1").lower()
        text = value.decode("utf-8", "surrogateescape")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
        self._fields += 1
        if self._fields > _MOST_FIELDS:
            raise _EndOfParsingError(f"more than {_MOST_FIELDS} header fields")

    def _head_ends(self) -> None:
        response, parser = self._response, self._parser
        if response is None or parser is None:
            return
        status = parser.get_status_code()
        headers, self._headers = self._headers, {}
        if status == 101:
            raise _EndOfParsingError("status 101 without having been asked for another protocol")
        if status < 200:
            return  # 100 Continue, 103 Early Hints: the final response follows
        response.status, response.headers = status, headers
        if self._head_only:
            # llhttp cannot be told that a HEAD response has no body, whatever its headers say.
            self._complete, self._keep_alive = True, False
        elif "content-length" not in headers:
            coding = headers.get("transfer-encoding")
            self._until_close = coding is None or not coding.lower().endswith("chunked")
        if not response.head.done():
            response.head.set_result(None)
        if self._complete:
            raise _EndOfParsingError("no body to read")

    def _message_ends(self) -> None:
        response, parser = self._response, self._parser
        if response is not None and parser is not None and response.status:
            self._complete = True
            self._keep_alive = parser.should_keep_alive()

    # -- ending

    def _finish(self, response: Response) -> None:
        """Hand the rest of the body to the response, and return the connection to the pool if it can be reused."""
        self._response = None
        self._complete = False
        pieces = self._pieces
        response.end(pieces[:])
        pieces.clear()
        # A server may answer before it has read all of a request, and need not read the rest. And a caller that was
        # cancelled just before the answer arrived must find the connection closed, as in every other case.
        unsent = self._unsent is not None or self._transport.get_write_buffer_size()
        if self._keep_alive and not unsent and not response.head.cancelled():
            self.reused = True
            self._owner.freed(self)
        else:
            self.abort()

    def abort(self, failure: BedrockError | None = None) -> None:
        """Close the connection now; a response in progress ends with ``failure``. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self._unsent = None
        response, self._response = self._response, None
        if not self._loop.is_closed():
            self._transport.abort()
        self._owner.closed(self)
        if response is not None:
            response.end([], failure or _failures.connection_aborted(peer=self._peer))

    def _lost(self, exc: Exception | None) -> None:
        """End the response in progress, whose connection was lost."""
        response = self._response
        if response is None:
            if not self.closed:
                self._lost_by = exc
            self.abort()
            return
        cause = exc or EOFError("the peer closed the connection")
        received = response.received_bytes + sum(map(len, self._pieces)) if response.status else None
        response.unanswered = not (response.status or self.unread_bytes or isinstance(exc, ssl.SSLError))
        self._break(_failures.connection_lost(cause, peer=self._peer, received_bytes=received), cause)

    def _broken(self, exc: Exception) -> None:
        """End the response in progress, because the peer did not send valid HTTP."""
        said = str(exc.__context__ if isinstance(exc, HttpParserCallbackError) and exc.__context__ else exc)
        self._break(_failures.not_http(said, peer=self._peer), exc)

    def _break(self, failure: TransportError, cause: Exception) -> None:
        failure.__cause__ = cause
        response, self._response = self._response, None
        rest = self._pieces[:]
        self._pieces.clear()
        self.abort()
        if response is not None:
            response.end(rest, failure)

    # -- flow control

    def _slow_down(self, response: Response) -> None:
        """Pause reading until the reader has caught up; fail if received bytes complete no head or piece."""
        if not response.status:
            self._broken(_EndOfParsingError(f"a head of more than {_MOST_UNREAD_BYTES} bytes"))
        elif not self._pieces:
            self._broken(_EndOfParsingError(f"{_MOST_UNREAD_BYTES} bytes between two pieces of the body"))
        elif not self.paused:
            self.paused = True
            self._transport.pause_reading()

    def read_on(self) -> None:
        """Resume reading once the reader has caught up."""
        self.paused = False
        self._transport.resume_reading()
