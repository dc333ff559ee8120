"""What a scripted or replayed model can make the emulator do, besides sending events."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

from .frames import WireEvent
from .received import ReceivedRequest

__all__ = ["Control", "HttpAnswer", "HttpModel", "Output", "StepModel"]


class Control(enum.Enum):
    """What to do with the connection at this point of the response."""

    HEAD = "head"
    """Send the status line and headers now, before there is an event."""

    SILENCE = "silence"
    """Keep the connection open and send nothing more until the client goes away."""

    CLOSE = "close"
    """Close the connection in the middle of the response, without ending the body."""

    RESET = "reset"
    """Reset the connection (TCP RST), dropping what was not yet sent."""

    RESET_IN_HEAD = "reset-in-head"
    """Send the beginning of a status line, then reset the connection."""

    ABORT = "abort"
    """Close the connection at once; over TLS, without a close_notify."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete HTTP response, sent as it is; only the server's own connection headers are added.

    ``chunk_bytes`` are the sizes of the pieces in which the body is written, each one flushed; None writes it at once.
    ``pauses_s`` are the seconds to wait before each piece. ``end`` is what happens instead of ending the body.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    chunk_bytes: Sequence[int] | None = None
    pauses_s: Sequence[float] = ()
    end: Control | None = None

    @classmethod
    def html(cls, status: int = 502, text: str = "Bad Gateway") -> HttpAnswer:
        """Return the HTML error page of a gateway between client and service."""
        page = f"<html><head><title>{status} {text}</title></head><body><h1>{status} {text}</h1></body></html>"
        return cls(status, page.encode(), {"content-type": "text/html"})

    @classmethod
    def redirect(cls, location: str, status: int = 307) -> HttpAnswer:
        """Return a redirect to another address."""
        return cls(status, b"", {"location": location})

    @classmethod
    def empty(cls, content_type: str = "application/vnd.amazon.eventstream") -> HttpAnswer:
        """Return a successful response with an empty body."""
        return cls(200, b"", {"content-type": content_type})


Output: TypeAlias = WireEvent | bytes | HttpAnswer | Control
"""What `StepModel.steps` yields.

An event is framed and padded in a stream, and folded into a response that is not a stream. Bytes are sent unchanged in
a stream, and are the whole body of any other response. An HttpAnswer must come first and is the whole response.
"""


@runtime_checkable
class StepModel(Protocol):
    """An emulator model that also controls bytes and connections; the emulator uses `steps` if a model has it."""

    def steps(self, request: ReceivedRequest) -> AsyncIterator[Output]:
        """Yield what to send: for InvokeModel one mapping, the native response; for its stream, the chunks.

        The iterator is closed as soon as the client's connection is lost. ServiceError has the same meaning as in
        `EmulatorModel`.
        """
        ...


@runtime_checkable
class HttpModel(Protocol):
    """A model that answers whole HTTP requests, before any validation or routing."""

    def respond(self, request: ReceivedRequest) -> HttpAnswer | Control | None:
        """Return the response, or what to do instead; None if the request is for another model."""
        ...

    async def aclose(self) -> None:
        """Release all resources. Idempotent."""
        ...
