"""The interface to HTTP for the rest of the library: send a request, get a head, then pieces of the body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import msgspec


class WireRequest(msgspec.Struct, frozen=True, gc=False):
    """One HTTP request, ready to be sent.

    ``url`` is absolute and quoted exactly as it was signed: a transport must not quote, unquote or normalise it.
    ``headers`` are complete except for ``content-length`` and connection management; they include ``host`` if it was
    signed.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        """Return a text that is safe to log: no header values, as some are secrets, and no body."""
        return f"WireRequest({self.method!r}, {self.url!r}, headers={[*self.headers]!r}, body=<{len(self.body)} bytes>)"


class WireResponse(Protocol):
    """A response whose head has arrived."""

    status: int
    headers: Mapping[str, str]
    """Names are lower-case; repeated headers are joined with ``", "``."""

    async def receive(self) -> bytes:
        """Return the next piece of the body as soon as one has arrived, ``b""`` at the end of the body.

        All bytes that have already arrived are returned in one piece. Cancelling leaves the response either usable or
        aborted, never half read. Raises ConnectionLostError when the connection breaks before the body is complete.
        """
        ...

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole body and release the connection. Raises ProtocolError if it is longer than ``max_bytes``."""
        ...

    def abort(self) -> None:
        """Close the connection now, unless the body was read to its end. Synchronous, idempotent, never raises."""
        ...


class DuplexResponse(WireResponse, Protocol):
    """A response that may arrive while its request is still being sent; ``status`` is 0 until its head has arrived."""

    @property
    def takes_input(self) -> bool:
        """Whether the peer may still accept input."""
        ...

    async def head(self) -> None:
        """Wait until ``status`` and ``headers`` have arrived. Raises ConnectionLostError or ProtocolError."""
        ...

    async def send(self, data: bytes) -> None:
        """Send a piece of the request's body at the pace of the peer. Cancelling in mid-piece aborts the stream."""
        ...

    def end(self) -> None:
        """End the request's body."""
        ...


@runtime_checkable
class DuplexTransport(Protocol):
    """Opens bidirectional streams. A client uses its `Transport` for these, too, if that implements this protocol."""

    async def open(self, request: WireRequest, *, connect_timeout_s: float) -> DuplexResponse:
        """Send the head of the request and return; see `Transport.send` for the errors of connecting."""
        ...

    async def aclose(self) -> None:
        """Close all streams. Idempotent."""
        ...


@runtime_checkable
class Transport(Protocol):
    """Sends requests over pooled connections. All failures are `BedrockError`."""

    name: str

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        """Send the request and return once the head of the response has arrived; redirects are not followed.

        ``connect_timeout_s`` bounds waiting for a free connection and connecting, not the answer. Cancelling closes the
        connection in use. Raises ConnectTimeoutError, ConnectError (NameResolutionError, TLSError),
        ConnectionLostError, TooManyOpenFilesError or ProtocolError, InvalidRequestError for a request that cannot be
        sent, and ClientClosedError after `aclose`; ``sent`` on a TransportError tells whether any byte of the request
        may have reached the peer.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        ...
