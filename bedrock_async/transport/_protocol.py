"""What the rest of the library knows of HTTP: a request goes out, a head comes back, then pieces of the body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import msgspec


class WireRequest(msgspec.Struct, frozen=True, gc=False):
    """One HTTP request, ready to be sent.

    ``url`` is absolute and quoted exactly as it was signed: a transport must not quote, unquote or normalise it.
    ``headers`` are complete but for ``content-length`` and connection management; ``host`` is among them when it
    was signed.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        """Return what may be logged: no header's value, for some are keys, and no prompt."""
        return f"WireRequest({self.method!r}, {self.url!r}, headers={[*self.headers]!r}, body=<{len(self.body)} bytes>)"


class WireResponse(Protocol):
    """A response whose head has arrived."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; repeated headers joined with ``", "``."""

    async def receive(self) -> bytes:
        """Return the next piece of the body as soon as one is there, ``b""`` at its end.

        All bytes that have already arrived come in one piece. Cancelling leaves the response usable or aborted,
        never half read. Raises ConnectionLostError when the connection breaks before the body is complete.
        """
        ...

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole body and give the connection back. Raises ProtocolError beyond ``max_bytes``."""
        ...

    def abort(self) -> None:
        """Close the connection now, unless the body was read to its end. Synchronous, idempotent, never raises."""
        ...


class DuplexResponse(WireResponse, Protocol):
    """A response that may arrive while its request is still being sent; ``status`` is 0 until its head has come."""

    @property
    def takes_input(self) -> bool:
        """Whether the peer may still listen to what is sent."""
        ...

    async def head(self) -> None:
        """Return when ``status`` and ``headers`` are there. Raises ConnectionLostError or ProtocolError."""
        ...

    async def send(self, data: bytes) -> None:
        """Send a piece of the request's body, as fast as the peer takes it. Cancelled in the middle, it aborts."""
        ...

    def end(self) -> None:
        """End the request's body."""
        ...


@runtime_checkable
class DuplexTransport(Protocol):
    """Opens streams in both directions. A `Transport` that is one, too, is given these by a client as well."""

    async def open(self, request: WireRequest, *, connect_timeout_s: float) -> DuplexResponse:
        """Send the head of the request, and return; see `Transport.send` for the errors of connecting."""
        ...

    async def aclose(self) -> None:
        """Close all streams. Idempotent."""
        ...


@runtime_checkable
class Transport(Protocol):
    """Sends requests over pooled connections. All its failures are errors of our tree."""

    name: str

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        """Send the request and return when the response's head has arrived; redirects are not followed.

        ``connect_timeout_s`` bounds waiting for a free connection and connecting, not the answer.
        Cancelling closes the connection that was in use. Raises ConnectTimeoutError, ConnectError
        (NameResolutionError, TLSError), ConnectionLostError, TooManyOpenFilesError or ProtocolError;
        ``sent`` on a TransportError says whether any byte of the request can have reached the peer.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        ...
