"""TLS without a socket: bytes in, bytes out.

asyncio's own TLS keeps a buffer of 256 KiB for every connection (``SSLProtocol.max_size``). Here nothing is kept but
what OpenSSL itself needs, and what arrives is read through a buffer that all connections share.
"""

from __future__ import annotations

import ssl
from typing import Final

__all__ = ["TlsLayer"]

_RECORD_BYTES: Final = 2**14
"""The most that one TLS record carries (RFC 8446, section 5.1); a read returns one record at most."""


class TlsLayer:
    """The client's end of one TLS connection with ``host``, whose certificate is checked as ``context`` says.

    After every call whose name is a verb, what `outgoing` returns must be sent.
    """

    __slots__ = ("_incoming", "_outgoing", "_tls", "failure", "said_goodbye")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.said_goodbye = False
        """The peer has closed its direction in order: what came before is all there was."""
        self.failure: ssl.SSLError | None = None
        """What went wrong with the bytes of the peer, or the alert that it sent."""

    def shake_hands(self, data: bytes = b"") -> bool:
        """Take what arrived and return whether the handshake is done. Raises ssl.SSLError when it failed."""
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def open(self, data: bytes | memoryview) -> bytes:
        """Take what arrived and return what it says, which may be nothing. Sets `said_goodbye` and `failure`."""
        incoming = self._incoming
        incoming.write(data)
        said: list[bytes] = []
        # As long as there is something: a read of nothing raises, which costs more than the read itself.
        while incoming.pending:
            try:
                piece = self._tls.read(_RECORD_BYTES)
            except ssl.SSLWantReadError:
                break  # the rest of a record, or a message of TLS to itself such as a session ticket
            except ssl.SSLError as exc:
                self.failure = exc
                break
            if not piece:
                self.said_goodbye = True
                break
            said.append(piece)
        return said[0] if len(said) == 1 else b"".join(said)

    def seal(self, data: bytes | memoryview) -> bytes:
        """Return ``data`` as it is to be sent. Raises ssl.SSLError when the connection is over.

        One is the wish to read first: a peer that renegotiates just now, which TLS 1.3 has done away with.
        """
        if len(data) <= _RECORD_BYTES:
            self._tls.write(data)
            return self._outgoing.read()
        # Record by record, because the buffer below stays as large as it ever was.
        view = memoryview(data)
        sealed: list[bytes] = []
        while view:
            view = view[self._tls.write(view) :]
            sealed.append(self._outgoing.read())
        return b"".join(sealed)

    @property
    def protocol(self) -> str | None:
        """The protocol that both ends agreed on (ALPN), once the handshake is done."""
        return self._tls.selected_alpn_protocol()

    @property
    def outgoing(self) -> bytes:
        """What must be sent although nobody asked for it: the handshake, alerts, answers to new keys."""
        return self._outgoing.read() if self._outgoing.pending else b""
