"""TLS without a socket: bytes in, bytes out.

asyncio's TLS allocates a buffer of 256 KiB for every connection (``SSLProtocol.max_size``). Here only OpenSSL's own
state is kept per connection, and received bytes are read through a buffer shared by all connections.
"""

from __future__ import annotations

import ssl
from typing import Final

__all__ = ["TlsLayer"]

_RECORD_BYTES: Final = 2**14
"""The maximum size of a TLS record (RFC 8446, section 5.1); a read returns at most one record."""


class TlsLayer:
    """The client's end of one TLS connection with ``host``, whose certificate is verified by ``context``.

    After each call of `shake_hands` or `open`, send what `outgoing` returns.
    """

    __slots__ = ("_incoming", "_outgoing", "_tls", "failure", "said_goodbye")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.said_goodbye = False
        """Whether the peer has sent close_notify: the data before it is complete."""
        self.failure: ssl.SSLError | None = None
        """A fault in the peer's bytes, or the alert that it sent."""

    def shake_hands(self, data: bytes = b"") -> bool:
        """Process received bytes and return whether the handshake is complete. Raises ssl.SSLError when it failed."""
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def open(self, data: bytes | memoryview) -> bytes:
        """Return the plaintext of received bytes, which may be empty. Sets `said_goodbye` and `failure`."""
        incoming = self._incoming
        incoming.write(data)
        said: list[bytes] = []
        # Stop before a read that would find nothing: it raises, which costs more than the read itself.
        while incoming.pending:
            try:
                piece = self._tls.read(_RECORD_BYTES)
            except ssl.SSLWantReadError:
                break  # an incomplete record, or a message of TLS itself such as a session ticket
            except ssl.SSLError as exc:
                self.failure = exc
                break
            if not piece:
                self.said_goodbye = True
                break
            said.append(piece)
        return said[0] if len(said) == 1 else b"".join(said)

    def seal(self, data: bytes | memoryview) -> bytes:
        """Return ``data`` encrypted, to be sent. Raises ssl.SSLError when the connection is over.

        That includes SSLWantReadError, when a peer is renegotiating just then, which TLS 1.3 abolished.
        """
        if len(data) <= _RECORD_BYTES:
            self._tls.write(data)
            return self._outgoing.read()
        # Record by record, because the BIO underneath never shrinks again.
        view = memoryview(data)
        sealed: list[bytes] = []
        while view:
            view = view[self._tls.write(view) :]
            sealed.append(self._outgoing.read())
        return b"".join(sealed)

    @property
    def protocol(self) -> str | None:
        """The protocol negotiated by ALPN, once the handshake is complete."""
        return self._tls.selected_alpn_protocol()

    @property
    def outgoing(self) -> bytes:
        """TLS messages of its own that must be sent: handshake messages, alerts, answers to key updates."""
        return self._outgoing.read() if self._outgoing.pending else b""
