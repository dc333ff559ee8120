"""Signatures of the events that a client sends, each chained to the previous one, the first to the request's. Pure.

The request itself is signed with `STREAMING_EVENTS` in place of a hash of its body. Each event is then a frame within a
frame: the outer one has the two headers ``:date`` and ``:chunk-signature``, and the event's own frame as its payload. A
signed frame with an empty payload ends the input. So events can be neither changed, omitted, repeated nor reordered.
Reference: "Event stream encoding" in the developer guide of Amazon Transcribe, the only place where AWS describes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from ..errors import CredentialsError
from ..eventstream import encode_frame, encode_headers
from ._protocol import Authenticator
from .credentials import Credentials
from .sharing import HoldsCredentials
from .sigv4 import SigV4Signer

__all__ = ["STREAMING_EVENTS", "EventSigner", "event_signer"]

STREAMING_EVENTS: Final = "STREAMING-AWS4-HMAC-SHA256-EVENTS"
"""The ``x-amz-content-sha256`` of a request whose body is signed event by event."""

_SIGNATURE: Final = "Signature="


class EventSigner:
    """Signs the events of one stream, in the order in which they are sent.

    ``request_signature`` is the signature of the request, in hex. The credentials must be those that signed the
    request, even if they have been renewed since: the service verifies the whole stream with them.
    """

    __slots__ = ("_prior", "_region", "_service", "_signer")

    def __init__(self, credentials: Credentials, request_signature: str, *, service: str, region: str) -> None:
        self._signer = SigV4Signer(credentials)
        self._prior = request_signature
        self._service = service
        self._region = region

    def sign(self, payload: bytes, now: datetime) -> bytes:
        """Return the signed frame for ``payload``: the frame of an event, or ``b""``, which ends the input.

        ``now`` is an aware datetime, sent with millisecond precision. Every frame must be sent, in this order, because
        the next signature depends on it. Raises EventStreamError, leaving the state unchanged, when the payload is too
        large.
        """
        date = encode_headers({":date": now})
        signature = self._signer.sign_event(
            self._prior, date, payload, service=self._service, region=self._region, now=now
        )
        frame = encode_frame(date + encode_headers({":chunk-signature": signature}), payload)
        self._prior = signature.hex()
        return frame

    def __repr__(self) -> str:
        """Return the scope of the signature, without the secret."""
        return f"EventSigner(service={self._service!r}, region={self._region!r})"


def event_signer(
    authenticator: Authenticator, headers: Mapping[str, str], *, service: str, region: str
) -> EventSigner | None:
    """Return the signer for the events of a request that was just authorised; None for an API key.

    ``headers`` are those of the request, including ``authorization``. Call this before awaiting anything, while the
    authenticator still has the credentials of the request. Raises CredentialsError when it does not expose them.
    """
    scheme, _, fields = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return None
    signature = fields.rpartition(_SIGNATURE)[2] if _SIGNATURE in fields else ""
    credentials = authenticator.credentials if isinstance(authenticator, HoldsCredentials) else None
    if not signature or credentials is None:
        raise CredentialsError(
            f"the {authenticator.source} provides no credentials for signing the events of a stream.",
            hint="A bidirectional stream needs an API key, or an authenticator that exposes its `credentials`.",
        )
    return EventSigner(credentials, signature, service=service, region=region)
