"""The building blocks of `verify`: a check is one function and one row of data, and a subject is what it examines.

A check makes a call, states with `Subject.expect` what must hold and with `Subject.expect_of_model` what models usually
do, and has `Subject.agree` compare the client's reading with the received bytes and with the official parser. The
exception that it raises determines the outcome: a ServiceError means that the service refused, any other that the
client failed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias

from ..client import BedrockClient
from ..errors import BedrockError, MissingExtraError, ServiceError
from ..events import Event
from ..native import InvokeChunk, InvokeResponse
from ..testing.cassette import Cassette
from ..testing.cassette_exchange import CassetteExchange
from ..testing.official_reading import output_shape, parsed, parsed_error, parsed_events, pruned, stream_shape
from ..testing.redaction import frames_of
from ..testing.service_model import service_model
from ..types import JSONValue
from .spending import SpendingGuard

__all__ = ["Check", "Configuration", "Examine", "Finding", "Skipped", "Subject", "has_official_parser", "same"]

_PADDING: Final = "p"
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What the account provides for the checks; checks that need a member that is None are skipped."""

    model: str
    guardrail_id: str | None = None
    guardrail_version: str = "DRAFT"
    output_s3_uri: str | None = None
    async_model: str | None = None
    async_input: Mapping[str, JSONValue] | None = None
    native_body: Mapping[str, JSONValue] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether one expectation holds, and whether it depends on the model, so that it tells nothing of the client."""

    holds: bool
    what: str
    of_model: bool = False


class Skipped(Exception):  # noqa: N818 - not an error
    """The check does not apply; the message says why."""


class ToWire(Protocol):
    """A result of the client, which can be converted to the wire's JSON and to boto3's shape."""

    def to_wire(self) -> dict[str, JSONValue]:
        """Return the JSON of the wire."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return boto3's shape."""
        ...


OpenClient: TypeAlias = Callable[..., BedrockClient]
"""Creates a client for the same endpoint and transport with other keyword arguments."""


def has_official_parser() -> bool:
    """Whether botocore is installed. Reads a service model: call it in a worker thread."""
    try:
        service_model()
    except MissingExtraError:
        return False
    return True


@dataclass(slots=True)
class Subject:
    """What a check examines: a client, and all traffic of its transport."""

    client: BedrockClient
    open_client: OpenClient
    guard: SpendingGuard
    cassette: Cassette
    configuration: Configuration
    official: bool
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def model(self) -> str:
        """The model to call."""
        return self.configuration.model

    @property
    def last(self) -> CassetteExchange:
        """The most recent exchange, unredacted."""
        return self.cassette.recorded[-1]

    def expect(self, holds: object, what: str) -> None:
        """Record whether ``what`` holds."""
        self.findings.append(Finding(bool(holds), what))

    def expect_of_model(self, holds: object, what: str) -> bool:
        """Record and return whether the model did ``what`` it was asked for, which not every model does."""
        self.findings.append(Finding(bool(holds), what, of_model=True))
        return bool(holds)

    def agree(self, operation: str, answer: ToWire) -> None:
        """Compare a complete response with the most recently received bytes."""
        body = _body(self.last)
        self.expect(same(answer.to_wire(), json.loads(body)), "to_wire() is the JSON that came, member for member")
        if self.official:
            reading = parsed(operation, body, headers=_headers(self.last))
            shape = output_shape(operation)
            self.expect(pruned(answer.to_dict(), shape) == reading, "to_dict() is what botocore reads")

    def agree_bytes(self, answer: InvokeResponse) -> None:
        """Compare a native response with the most recently received bytes."""
        body = _body(self.last)
        self.expect(answer.body == body, "the body is the bytes that came")
        if self.official:
            reading = parsed("InvokeModel", body, headers=_headers(self.last))
            self.expect(answer.to_dict() == reading, "to_dict() is what botocore reads")

    def agree_events(self, operation: str, events: Sequence[Event | InvokeChunk]) -> None:
        """Compare the events of a stream with the most recently received frames."""
        body = _body(self.last)
        self.expect([event.to_wire() for event in events] == _frames(body), "every frame is an event, complete")
        if self.official:
            shape = stream_shape(operation)
            readings = [pruned(event.to_dict(), shape) for event in events]
            self.expect(readings == parsed_events(operation, body), "the events are those that botocore reads")

    async def refusal(self, operation: str, call: Awaitable[object], expected: type[ServiceError]) -> None:
        """Make a call that must be refused with ``expected``, and compare the error with the response."""
        with self.guard.refused():
            try:
                await call
            except ServiceError as exc:
                error = exc
            else:
                self.expect(False, f"the service refuses ({expected.__name__})")  # noqa: FBT003 - the finding
                return
        response = self.last.response
        self.expect(isinstance(error, expected), f"it is a {expected.__name__}, not a {type(error).__name__}")
        self.expect(error.request_id, "the error has the request id")
        self.expect(error.hint, "the error says what to do next")
        if self.official and response is not None:
            code, message = parsed_error(operation, response.body, status=response.status, headers=response.headers)
            self.expect((error.code, error.message) == (code, message), "code and message are what botocore reads")


Examine: TypeAlias = Callable[[Subject], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of the contract.

    ``promise`` says what holds if the check agrees. An ``essential`` check must not be refused, because nothing can be
    said without it; a model may be incapable of the others. ``needs`` names the option without which the check is
    skipped.
    """

    name: str
    operation: str
    promise: str
    run: Examine
    essential: bool = False
    needs: str | None = None


def same(wire: JSONValue, came: JSONValue) -> bool:
    """Whether two JSON values are equal, ignoring the spelling of times: ``.5Z`` equals ``.500000Z``."""
    return _with_times(wire) == _with_times(came)


def _with_times(value: JSONValue) -> object:
    if isinstance(value, dict):
        return {name: _with_times(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_times(item) for item in value]
    if isinstance(value, str) and _TIME.fullmatch(value):
        return datetime.fromisoformat(value)
    return value


def _body(exchange: CassetteExchange) -> bytes:
    if exchange.response is None:
        raise BedrockError("no response was recorded for the call.")
    return exchange.response.body


def _headers(exchange: CassetteExchange) -> Mapping[str, str]:
    return exchange.response.headers if exchange.response is not None else {}


def _frames(body: bytes) -> list[dict[str, JSONValue]]:
    """Return the events in a body as one-key objects, without padding, using only framing and JSON."""
    from ..eventstream import parse_headers

    frames, _ = frames_of(body)
    events: list[dict[str, JSONValue]] = []
    for block, payload in frames:
        members: dict[str, JSONValue] = json.loads(payload)
        members.pop(_PADDING, None)
        events.append({str(parse_headers(block).get(":event-type")): members})
    return events
