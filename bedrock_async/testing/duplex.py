"""Conversations behind the emulator: a model that listens and speaks at once, and the session that it is given."""

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
"""The exceptions that the service's model lists for the events of a conversation; others are unmodelled errors."""


class Wire(Protocol):
    """A request whose body is still coming, and its answer."""

    async def read(self) -> bytes:
        """Return what has arrived, as soon as there is something; ``b""`` at the end."""
        ...

    def respond(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of the answer."""
        ...

    async def write(self, data: bytes) -> None:
        """Send a piece of the answer, as fast as the client takes it."""
        ...

    def end(self) -> None:
        """End the answer."""
        ...

    async def break_off(self, control: Control) -> None:
        """Leave the client without an end of the answer."""
        ...


class DuplexSession:
    """One conversation, seen from the model: iterate over what the client sends, `send` whenever there is something.

    ``request`` is the request that began it. Events arrive verified and without their frames, as the JSON that the
    client sent; iteration ends when the client ends its input. An event that is not authentic, too long or no event at
    all ends the conversation with the service's error, whatever the model makes of the exception.

    The head of the answer goes out with the first read or send. When the client goes away, the model is cancelled.
    """

    def __init__(self, wire: Wire, request: ReceivedRequest, events: InputEvents, *, padding: Padding | None) -> None:
        self.request = request
        self._wire = wire
        self._events = events
        self._padding = padding
        self._accepted = False
        self.failure: ServiceError | None = None
        """What was wrong with the client's input."""

    def __aiter__(self) -> Self:
        """Return the session itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the client's next event. Cancelling loses nothing. Raises ServiceError for what is none."""
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
        """Send one native event: an object, or its JSON. Waits as long as the client takes nothing."""
        data = event.encode() if isinstance(event, str) else event
        await self.write(chunk_frame(data, padding=self._padding.next() if self._padding else None))

    async def write(self, data: bytes) -> None:
        """Send bytes into the stream as they are: broken frames, or several at once."""
        self.accept()
        await self._wire.write(data)
        # A model that never waits would otherwise keep the loop to itself and never learn of a lost client.
        await asyncio.sleep(0)

    def accept(self) -> None:
        """Send the head of the answer, unless that was done."""
        if not self._accepted:
            self._accepted = True
            self.request.status = 200
            self._wire.respond(200, {"content-type": CONTENT_TYPE, "x-amzn-requestid": self.request.request_id})

    async def break_off(self, control: Control) -> None:
        """Do this with the connection; the conversation is over then, but for ``Control.HEAD``."""
        if control is Control.HEAD:
            self.accept()
        else:
            await self._wire.break_off(control)

    # What follows is the emulator's.

    def finish(self) -> None:
        """End the answer."""
        self.accept()
        self._wire.end()

    async def answer(self, answer: HttpAnswer) -> None:
        """Send a whole answer in the place of a stream."""
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
        """Whether the head of the answer went out."""
        return self._accepted


@runtime_checkable
class DuplexModel(Protocol):
    """What a model may offer beside `EmulatorModel`: conversations (InvokeModelWithBidirectionalStream)."""

    async def bidirectional(self, session: DuplexSession) -> None:
        """Hold one conversation; returning ends it.

        Cancelled when the client goes away. ServiceError is the service's answer: over HTTP before anything was read or
        sent, inside the stream after that.
        """
        ...


async def echo(session: DuplexSession) -> None:
    """Send every event back as it is, until the client ends its input."""
    async for event in session:
        await session.send(event)


def unsupported() -> ServiceError:
    """Return the refusal of a model that holds no conversations."""
    return service_error("ValidationException", "This model doesn't support bidirectional streaming.")
