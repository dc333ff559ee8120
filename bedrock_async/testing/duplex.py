"""Conversations in the emulator: models that receive and send at the same time, and the session they are given."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol, Self, runtime_checkable

from ..errors import ServiceError, service_error
from ..eventstream import CONTENT_TYPE
from ..types import JSONValue
from .answers import Control, HttpAnswer
from .frames import Padding, chunk_frame, error_frame, exception_frame
from .received import ReceivedRequest
from .responses import original_members

if TYPE_CHECKING:
    from .input_events import InputEvents

__all__ = ["DuplexModel", "DuplexSession", "echo"]

IN_STREAM: Final = frozenset(
    {
        "InternalServerException",
        "ModelStreamErrorException",
        "ModelTimeoutException",
        "ServiceUnavailableException",
        "ThrottlingException",
        "ValidationException",
    }
)
"""The exceptions that the service model lists for the events of a conversation; others are unmodelled errors."""


class Wire(Protocol):
    """A request whose body is still being received, and its response."""

    async def read(self) -> bytes:
        """Return the received data, waiting for some; ``b""`` at the end."""
        ...

    def respond(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of the response."""
        ...

    async def write(self, data: bytes) -> None:
        """Send a piece of the response, as fast as the client accepts it."""
        ...

    def end(self) -> None:
        """End the response."""
        ...

    async def break_off(self, control: Control) -> None:
        """Break off the response without ending it."""
        ...


class DuplexSession:
    """One conversation from the model's point of view: iterate over the client's events, and `send` at any time.

    ``request`` is the request that began it. Events are verified and unframed, as the JSON that the client sent;
    iteration ends when the client ends its input. An invalid, unauthentic or oversized event ends the conversation with
    the service's error, whatever the model does with the exception.

    The head of the response is sent by the first read or send. When the client goes away, the model is cancelled.
    """

    def __init__(self, wire: Wire, request: ReceivedRequest, events: InputEvents, *, padding: Padding | None) -> None:
        self.request = request
        self._wire = wire
        self._events = events
        self._padding = padding
        self._accepted = False
        self.failure: ServiceError | None = None
        """The fault in the client's input, if any."""

    def __aiter__(self) -> Self:
        """Return the session itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the client's next event. Cancelling loses no data. Raises ServiceError for an invalid event."""
        self.accept()
        while not self._events.ready:
            if self._events.failure is not None:
                self.failure = self._events.failure
                raise self.failure.with_traceback(None)
            if self._events.ended:
                raise StopAsyncIteration
            self._events.receive(await self._wire.read())
        event = self._events.ready.popleft()
        self.request.input_events.append(event)
        return event

    async def send(self, event: Mapping[str, JSONValue] | bytes | str) -> None:
        """Send one native event: an object, or its JSON. Waits while the client accepts no data."""
        data = event.encode() if isinstance(event, str) else event
        await self.write(chunk_frame(data, padding=self._padding.next() if self._padding else None))

    async def write(self, data: bytes) -> None:
        """Send raw bytes in the stream: broken frames, or several at once."""
        self.accept()
        await self._wire.write(data)
        # Otherwise a model that never waits would block the loop, and never learn that the client is gone.
        await asyncio.sleep(0)

    def accept(self) -> None:
        """Send the head of the response, unless it was sent already."""
        if not self._accepted:
            self._accepted = True
            self.request.status = 200
            self._wire.respond(200, {"content-type": CONTENT_TYPE, "x-amzn-requestid": self.request.request_id})

    async def break_off(self, control: Control) -> None:
        """Break off as ``control`` says, which ends the conversation; ``Control.HEAD`` only sends the head."""
        if control is Control.HEAD:
            self.accept()
        else:
            await self._wire.break_off(control)

    # For the emulator.

    def finish(self) -> None:
        """End the response."""
        self.accept()
        self._wire.end()

    async def answer(self, answer: HttpAnswer) -> None:
        """Send a complete response instead of a stream."""
        self.request.status = answer.status
        self._wire.respond(answer.status, answer.headers)
        await self._wire.write(answer.body)
        self._wire.end()

    async def fail(self, error: ServiceError) -> None:
        """End the stream with an error inside it."""
        if error.code in IN_STREAM:
            frame = exception_frame(error.code, error.message, **original_members(error))
        else:
            frame = error_frame(error.code, error.message)
        await self._wire.write(frame)
        self._wire.end()

    @property
    def accepted(self) -> bool:
        """Whether the head of the response was sent."""
        return self._accepted


@runtime_checkable
class DuplexModel(Protocol):
    """An optional extension of `EmulatorModel`: conversations (InvokeModelWithBidirectionalStream)."""

    async def bidirectional(self, session: DuplexSession) -> None:
        """Hold one conversation; returning ends it.

        Cancelled when the client goes away. A ServiceError is sent as the service's answer: over HTTP before anything
        was read or sent, and inside the stream after that.
        """
        ...


async def echo(session: DuplexSession) -> None:
    """Send every event back unchanged, until the client ends its input."""
    async for event in session:
        await session.send(event)


def unsupported() -> ServiceError:
    """Return the error of a model that does not support conversations."""
    return service_error("ValidationException", "This model doesn't support bidirectional streaming.")
