"""One recorded exchange: the request, the pieces of its response, and how it ended."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self, TypeAlias
from urllib.parse import unquote, urlsplit

from ..errors import (
    BedrockError,
    CallTimeoutError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    InvalidRequestError,
    NameResolutionError,
    ProtocolError,
    TLSError,
    TooManyOpenFilesError,
    TransportError,
)
from ..transport import WireRequest
from .answers import Control, HttpAnswer
from .received import ReceivedRequest
from .replay import CONNECTION_HEADERS, RecordedExchange

__all__ = [
    "CassetteExchange",
    "CassetteRequest",
    "CassetteResponse",
    "Ended",
    "RecordedFailure",
    "RecordedPiece",
]

Ended: TypeAlias = Literal["complete", "failed", "incomplete"]
"""How an exchange ended: its body was complete, the connection failed, or it was not read to its end."""

_FAILURES: Final[Mapping[str, type[TransportError]]] = {
    kind.__name__: kind
    for kind in (
        *(ConnectError, ConnectionLostError, NameResolutionError, ProtocolError, TLSError, TooManyOpenFilesError),
        TransportError,
    )
}


@dataclass(frozen=True, slots=True)
class CassetteRequest:
    """A request as sent; ``path`` and ``query`` are quoted as on the wire, header names are lower-case."""

    method: str
    path: str
    body: bytes = b""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)  # keys, until redacted
    host: str = ""

    @classmethod
    def from_wire(cls, request: WireRequest) -> Self:
        """Return the request that a client passes to its transport."""
        url = urlsplit(request.url)
        headers = {name.lower(): value for name, value in request.headers.items()}
        return cls(request.method, url.path or "/", request.body, url.query, headers, url.netloc.rpartition("@")[2])

    @classmethod
    def from_received(cls, request: ReceivedRequest) -> Self:
        """Return the request that an emulator received."""
        return cls(
            request.method, request.path, request.body, request.query, request.headers, request.headers.get("host", "")
        )


@dataclass(frozen=True, slots=True)
class RecordedPiece:
    """Bytes of a body that arrived together, ``at_ms`` milliseconds after the request was sent."""

    data: bytes
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class CassetteResponse:
    """A response as received; its head arrived ``head_ms`` milliseconds after the request was sent."""

    status: int
    headers: Mapping[str, str]
    pieces: tuple[RecordedPiece, ...] = ()
    head_ms: int = 0

    @property
    def body(self) -> bytes:
        """The whole body, as far as it was received."""
        return b"".join(piece.data for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class RecordedFailure:
    """A failure of the connection: the name of its error class, and the error's message."""

    name: str
    message: str
    hint: str | None = None
    sent: bool = False
    limit_s: float | None = None

    @classmethod
    def of(cls, error: TransportError | CallTimeoutError) -> Self:
        """Return the record of a transport's failure."""
        if isinstance(error, CallTimeoutError):
            return cls(type(error).__name__, error.message, error.hint, limit_s=error.limit_s)
        return cls(type(error).__name__, error.message, error.hint, sent=error.sent)

    def error(self) -> BedrockError:
        """Return the failure as an error to raise. A class unknown to this version becomes TransportError."""
        if self.limit_s is not None:
            return ConnectTimeoutError(self.message, limit_s=self.limit_s, hint=self.hint)
        return _FAILURES.get(self.name, TransportError)(self.message, hint=self.hint, sent=self.sent)


@dataclass(frozen=True, slots=True)
class CassetteExchange:
    """A request and its outcome; without a response if none began. ``label`` is chosen by the recorder."""

    request: CassetteRequest
    response: CassetteResponse | None = None
    ended: Ended = "complete"
    failure: RecordedFailure | None = None
    label: str | None = None

    def answer(self, *, pace: float = 0.0) -> HttpAnswer | Control:
        """Return what an emulator does to play the exchange; ``pace`` 1 keeps the recorded times, 0 omits them.

        A connection that failed before any response is reset, because a server can no longer refuse it; one that failed
        later breaks at the same place; a body that was not read to its end breaks off where reading stopped.
        """
        response = self.response
        if response is None:
            return Control.RESET
        previous_ms = response.head_ms
        pauses_s: list[float] = []
        for piece in response.pieces:
            pauses_s.append(pace * (piece.at_ms - previous_ms) / 1000)
            previous_ms = piece.at_ms
        return HttpAnswer(
            response.status,
            response.body,
            {name: value for name, value in response.headers.items() if name not in CONNECTION_HEADERS},
            chunk_bytes=[len(piece.data) for piece in response.pieces],
            pauses_s=pauses_s,
            # Not a reset, which may discard data that the reader has not read yet.
            end=None if self.ended == "complete" else Control.CLOSE,
        )

    # -- the format of recorded exchanges, one per file

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read the format of `ReplayModel`. Raises InvalidRequestError if the record is invalid."""
        recorded = RecordedExchange.from_json(record)
        answer = recorded.answer
        path, _, query = recorded.path.partition("?")
        headers = {name.lower(): value for name, value in recorded.request_headers.items()}
        host: object = record.get("host")
        request = CassetteRequest(
            recorded.method,
            path,
            recorded.request_body or b"",
            query,
            headers,
            host if isinstance(host, str) else "",
        )
        response = CassetteResponse(
            answer.status,
            {name.lower(): value for name, value in answer.headers.items()},
            tuple(RecordedPiece(data) for data in cut(answer.body, answer.chunk_bytes or ())),
        )
        return cls(request, response)

    def to_record(self, name: str) -> dict[str, Any]:
        """Return the format of `ReplayModel`, with ``name`` as the id.

        Raises InvalidRequestError for an exchange without a response, which that format cannot represent. How the
        exchange ended, and its times, are lost.
        """
        request, response = self.request, self.response
        if response is None:
            raise InvalidRequestError(f"the exchange {name} has no response, which this format requires.")
        try:
            body, encoding = request.body.decode(), "utf-8"
        except UnicodeDecodeError:
            body, encoding = base64.b64encode(request.body).decode(), "base64"
        model_id, kind = _target(request.path)
        return {
            "id": name,
            "kind": kind,
            "model_id": model_id,
            "method": request.method,
            "host": request.host,
            "path": request.path + (f"?{request.query}" if request.query else ""),
            "request_headers": dict(request.headers),
            "request_body": body,
            "request_body_encoding": encoding,
            "status": response.status,
            "response_headers": dict(response.headers),
            "response_body_b64": base64.b64encode(response.body).decode(),
            "response_chunk_sizes": [len(piece.data) for piece in response.pieces],
        }


def cut(body: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Return the body in pieces of these sizes, and the rest as the last piece."""
    pieces: list[bytes] = []
    at = 0
    for size in sizes:
        if piece := body[at : at + size]:
            pieces.append(piece)
        at += size
    if rest := body[at:]:
        pieces.append(rest)
    return pieces


def _target(path: str) -> tuple[str | None, str]:
    """Return the model or guardrail in a path of the service, and the operation as named in records."""
    steps = path.strip("/").split("/")
    if len(steps) < 3:
        return None, steps[0] or "other"
    kind = "apply-guardrail" if steps[0] == "guardrail" and steps[-1] == "apply" else steps[-1]
    return unquote(steps[1]), kind
