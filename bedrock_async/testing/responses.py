"""One request in the emulator, and the forms of its response."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, NoReturn

import anyio
from aiohttp import web

from ..errors import InvalidRequestError, ServiceError, service_error
from ..eventstream import CONTENT_TYPE as EVENT_STREAM
from ..types import JSONValue
from .answers import Control, HttpAnswer
from .chaos import FaultPlan
from .frames import exception_frame, wire_json
from .received import ReceivedRequest

__all__ = ["Call", "as_service_error", "error_answer", "front_end_error", "original_members", "send"]

logger = logging.getLogger("bedrock_async.testing.emulator")

_JSON: Final = "application/json"
_MODEL_ERRORS: Final = "http://internal.amazon.com/coral/com.amazon.bedrock/"
_BAD_REQUEST: Final = 400
_FRONT_END_ERRORS: Final = "http://internal.amazon.com/coral/com.amazon.coral.service/"
_FRONT_END_CODES: Final = frozenset({"SerializationException", "UnknownOperationException"})
_REFUSED_BY_IAM: Final = " is not authorized to perform: "
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Call:
    """A valid request. ``response`` is set once the head of a stream has been sent."""

    http: web.BaseRequest
    received: ReceivedRequest
    document: JSONValue
    padding_seed: int | None
    started: float
    response: web.StreamResponse | None = None
    fault: FaultPlan | None = None
    """The fault to inject, if any."""

    def elapsed_ms(self) -> int:
        """Return the time since the request's head arrived."""
        return round((asyncio.get_running_loop().time() - self.started) * 1000)

    async def answer(self, body: bytes, headers: Mapping[str, str] | None = None) -> web.StreamResponse:
        """Send a JSON response."""
        head = {"content-type": _JSON, "x-amzn-requestid": self.received.request_id}
        answer = HttpAnswer(200, body, {**head, **(headers or {})})
        return await send(self.http, self.received, answer if self.fault is None else self.fault.body(answer))

    async def open_stream(self, headers: Mapping[str, str]) -> web.StreamResponse:
        """Send the head of an event stream, unless it was sent already, and return the open response."""
        if self.response is None:
            head = {"content-type": EVENT_STREAM, "x-amzn-requestid": self.received.request_id}
            response = web.StreamResponse(status=200, headers={**head, **headers})
            response.enable_chunked_encoding()
            await response.prepare(self.http)
            self.response, self.received.status = response, 200
        return self.response

    async def instead(self, output: bytes | HttpAnswer | Control) -> web.StreamResponse:
        """Perform a script's step that replaces an event."""
        if isinstance(output, bytes):
            return await self.answer(output)
        if isinstance(output, HttpAnswer) and self.response is not None:
            raise InvalidRequestError("an HttpAnswer is the whole answer and cannot follow an event.")
        return await send(self.http, self.received, output)

    async def failed(self, exc: Exception) -> web.StreamResponse:
        """Report a model's error to the client: over HTTP, or inside a stream that has begun."""
        error = as_service_error(exc, self.received)
        if self.response is None:
            return await send(self.http, self.received, error_answer(self.received, error))
        await self.response.write(exception_frame(error.code, error.message, **original_members(error)))
        await self.response.write_eof()
        return self.response


def as_service_error(exc: Exception, received: ReceivedRequest) -> ServiceError:
    """Return the error to report to the client; one that is not a ServiceError is logged with its traceback."""
    if isinstance(exc, ServiceError):
        return exc
    logger.error("the model failed to answer %s", received.operation, exc_info=exc)
    return service_error(
        "InternalServerException",
        f"The emulator's model raised {type(exc).__name__}; the traceback is in the log {logger.name}.",
    )


async def send(http: web.BaseRequest, received: ReceivedRequest, answer: HttpAnswer | Control) -> web.StreamResponse:
    """Send a complete response, in pieces if it says so, or perform the control in its place."""
    if isinstance(answer, Control):
        await _break_off(http, answer)
    received.status = answer.status
    if answer.chunk_bytes is None and answer.end is None:
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.enable_chunked_encoding()
    await response.prepare(http)
    start = 0
    for size, pause_s in zip_longest((*(answer.chunk_bytes or ()), len(answer.body)), answer.pauses_s, fillvalue=0):
        await asyncio.sleep(pause_s)
        if piece := answer.body[start : start + int(size)]:
            await response.write(piece)
        start += int(size)
    if answer.end is not None:
        await _break_off(http, answer.end)
    await response.write_eof()
    return response


async def _break_off(http: web.BaseRequest, control: Control) -> NoReturn:
    """Break off without ending the response: stay silent, close or reset the connection."""
    if control is Control.SILENCE:
        await anyio.sleep_forever()
    if (transport := http.transport) is not None:
        connection: socket.socket = transport.get_extra_info("socket")
        match control:
            case Control.CLOSE:
                transport.close()
            case Control.ABORT:
                connection.shutdown(socket.SHUT_WR)
                transport.abort()
            case _:
                if control is Control.RESET_IN_HEAD:
                    transport.write(b"HTTP/1.1 20")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
                transport.abort()
    raise ConnectionResetError("the script closed the connection")  # aiohttp then stops processing


def error_answer(received: ReceivedRequest, error: ServiceError) -> HttpAnswer:
    """Return the service's refusal from behind the front end: by the model, or by validation."""
    if _REFUSED_BY_IAM in error.message and error.code == "AccessDeniedException":
        return front_end_error(received, error)
    origin = _FRONT_END_ERRORS if error.code in _FRONT_END_CODES else _MODEL_ERRORS
    members: dict[str, JSONValue] = {"message": error.message, **original_members(error)}
    if error.code == "UnknownOperationException":
        # The framework's envelope, as quoted in public threads; the message is the emulator's.
        members |= {"Output": {"__type": "com.amazon.coral.service#UnknownOperationException"}, "Version": "1.0"}
    return _refusal(received, error, origin, members)


def front_end_error(received: ReceivedRequest, error: ServiceError) -> HttpAnswer:
    """Return the refusal of the front end, which checks signatures and keys."""
    # Authorisation errors have a capital M, all others a lower-case one.
    name = "Message" if error.code == "AccessDeniedException" else "message"
    return _refusal(received, error, _FRONT_END_ERRORS, {name: error.message})


def _refusal(
    received: ReceivedRequest, error: ServiceError, origin: str, members: Mapping[str, JSONValue]
) -> HttpAnswer:
    headers = {
        "content-type": _JSON,
        "x-amzn-errortype": f"{error.code}:{origin}",
        "x-amzn-requestid": received.request_id,
    }
    if error.retry_after_s is not None:
        headers["x-amz-retry-after"] = str(round(error.retry_after_s * 1000))
    return HttpAnswer(error.status or _BAD_REQUEST, wire_json(members), headers)  # codes not known yet have no status


def original_members(error: ServiceError) -> dict[str, JSONValue]:
    """Return the members that describe the original error."""
    members: dict[str, JSONValue] = {
        "originalMessage": error.original_message,
        "originalStatusCode": error.original_status_code,
        "resourceName": error.resource_name,
    }
    return {name: value for name, value in members.items() if value is not None}
