"""What InvokeModel and InvokeModelWithResponseStream return: a model's native answer and events, and their decoder."""

from __future__ import annotations

import base64
import builtins
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from .errors import (
    BedrockError,
    EventDecodeError,
    InvalidRequestError,
    ResponseDecodeError,
    StreamTruncatedError,
)
from .events import PADDING, exception_of_frame, read_object, require_event_stream
from .eventstream import EventStreamDecoder, encode_frame, encode_headers, parse_headers
from .types import JSONValue, ResponseMeta
from .types.guardrail_decisions import GuardrailDecision, native_decision

CHUNK: Final = "chunk"
"""The type of the events that carry a model's own."""

METRICS: Final = "amazon-bedrock-invocationMetrics"
"""The member of the last native chunk that has token counts and times."""


_MARK: Final = b'"amazon-bedrock-'


@dataclass(frozen=True, slots=True)
class InvokeResponse:
    """The native answer of a model, byte for byte; ``headers`` have lower-case names."""

    body: bytes
    headers: Mapping[str, str]
    meta: ResponseMeta = field(default_factory=ResponseMeta, compare=False)

    @property
    def content_type(self) -> str:
        """The type of the body."""
        return self.headers.get("content-type", "")

    @property
    def performance_config_latency(self) -> str | None:
        """The latency class that was used."""
        return self.headers.get("x-amzn-bedrock-performanceconfig-latency")

    @property
    def service_tier(self) -> str | None:
        """The service tier that was used."""
        return self.headers.get("x-amzn-bedrock-service-tier")

    @property
    def input_tokens(self) -> int | None:
        """Input tokens, where the service reports them in a header."""
        return _count(self.headers.get("x-amzn-bedrock-input-token-count"))

    @property
    def output_tokens(self) -> int | None:
        """Output tokens, where the service reports them in a header."""
        return _count(self.headers.get("x-amzn-bedrock-output-token-count"))

    @property
    def latency_ms(self) -> int | None:
        """The service's own time in milliseconds, where it reports it in a header."""
        return _count(self.headers.get("x-amzn-bedrock-invocation-latency"))

    @property
    def guardrail(self) -> GuardrailDecision | None:
        """What a guardrail decided, by headers and by the members that the service adds; None where they do not say."""
        return native_decision(self.headers, _service_members(self.body))

    def json(self) -> JSONValue:
        """Return the body as JSON. Raises ResponseDecodeError when it is none."""
        try:
            value: JSONValue = json.loads(self.body)
        except (ValueError, RecursionError) as exc:
            raise ResponseDecodeError(
                f"the body ({len(self.body)} bytes of {self.content_type or 'no type'}) is not JSON: {exc}.",
                hint="Read InvokeResponse.body; images and audio of some models come as bytes.",
            ) from exc
        return value

    def to_dict(self) -> dict[str, object]:
        """Return boto3's shape, with the body as bytes."""
        members: dict[str, object] = {"body": self.body}
        if "content-type" in self.headers:
            members["contentType"] = self.content_type
        if self.performance_config_latency is not None:
            members["performanceConfigLatency"] = self.performance_config_latency
        if self.service_tier is not None:
            members["serviceTier"] = self.service_tier
        return members


def _service_members(native: builtins.bytes) -> JSONValue:
    """Return native JSON that has members of the service's own; None for any other, which is not parsed."""
    if _MARK not in native:
        return None
    try:
        members: JSONValue = json.loads(native)
    except (ValueError, RecursionError):
        return None
    return members


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


class InvokeChunk(msgspec.Struct, frozen=True, gc=False):
    """One native event of a model, as its own JSON.

    ``name`` is ``"chunk"``, or the type of an event nobody knows, whose ``bytes`` are its whole payload. ``payload`` is
    the JSON around the bytes as it was received, padding included; empty for a chunk made by hand.
    """

    bytes: bytes
    name: str = "chunk"
    payload: builtins.bytes = b""

    @property
    def guardrail(self) -> GuardrailDecision | None:
        """What a guardrail decided, as far as this chunk tells it; most do not."""
        return native_decision({}, _service_members(self.bytes))

    def json(self) -> JSONValue:
        """Return the native event. Raises EventDecodeError when it is no JSON."""
        try:
            value: JSONValue = json.loads(self.bytes)
        except (ValueError, RecursionError) as exc:
            raise EventDecodeError(
                f"a native chunk of {len(self.bytes)} bytes is not JSON ({exc}).",
                event_type=self.name,
                payload=self.bytes,
            ) from exc
        return value

    def to_wire(self) -> dict[str, JSONValue]:
        """Return the one-key object of the wire, ``{"chunk": {"bytes": base64}}``, complete but for the padding."""
        members = self._received()
        return {self.name: base64.b64encode(self.bytes).decode("ascii") if members is None else members}

    def to_dict(self) -> dict[str, object]:
        """Return boto3's shape, ``{"chunk": {"bytes": ...}}``, with all that was received beside the bytes."""
        members = self._received()
        if members is None:
            return {self.name: self.bytes}
        if self.name == CHUNK and members.get("bytes") is not None:
            return {self.name: {**members, "bytes": self.bytes}}
        return {self.name: members}

    def _received(self) -> dict[str, JSONValue] | None:
        """Return the members but for the padding; None for an event nobody knows that is no JSON object."""
        if not self.payload and self.name == CHUNK:
            return {"bytes": base64.b64encode(self.bytes).decode("ascii")}
        try:
            members = read_object(self.name, self.payload)
        except EventDecodeError:
            return None
        members.pop(PADDING, None)
        return members


MAX_INPUT_BYTES: Final = 1_000_000
"""The most that one input event of a bidirectional stream may have (PartBody of the service model)."""

_INPUT_HEADERS: Final = encode_headers(
    {":message-type": "event", ":event-type": CHUNK, ":content-type": "application/json"}
)


def encode_input(event: Mapping[str, object] | bytes | str) -> bytes:
    """Return the frame of one input event of a bidirectional stream; a mapping is written as JSON.

    Raises InvalidRequestError for what JSON cannot hold, and beyond `MAX_INPUT_BYTES`.
    """
    if isinstance(event, bytes):
        data = event
    else:
        try:
            text = event if isinstance(event, str) else _as_json(event)
            data = text.encode()
        except (TypeError, ValueError, RecursionError) as exc:
            raise InvalidRequestError(
                f"the event contains a value that JSON cannot represent ({type(exc).__name__}).",
                path="event",
                hint="An event is made of dicts, lists, text and numbers; audio travels in it as base64 text.",
            ) from exc
    if len(data) > MAX_INPUT_BYTES:
        raise InvalidRequestError(
            f"the event takes {len(data)} bytes; {MAX_INPUT_BYTES} are allowed.",
            path="event",
            hint="Send audio in shorter pieces: 32 ms of it are about 1,000 bytes.",
        )
    return encode_frame(_INPUT_HEADERS, b'{"bytes":"%b"}' % base64.b64encode(data))


_as_json: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class _Payload(msgspec.Struct):
    # msgspec decodes the base64 itself, straight from the payload.
    data: bytes | None = msgspec.field(default=None, name="bytes")


_decode_payload: Final = msgspec.json.Decoder(_Payload).decode


class ChunkDecoder:
    """Makes the chunks of an InvokeModelWithResponseStream response from its bytes; sans-IO.

    Errors are those of `ConverseEventDecoder`. What ends a native stream is the model's own affair, so that the end of
    the body counts as its end when it stands between two frames and at least one chunk has come; none has to come with
    ``may_be_empty``, in a conversation that nobody began.
    """

    def __init__(self, *, may_be_empty: bool = False) -> None:
        self.pending_error: BedrockError | None = None
        self._may_be_empty = may_be_empty
        self._frames = EventStreamDecoder()
        self._chunks = 0

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Check the head of the response. Raises UnexpectedContentTypeError."""
        require_event_stream(status, headers)

    def receive(self, data: bytes) -> list[InvokeChunk]:
        """Return all chunks that are complete with ``data``; ``b""`` only raises what is pending."""
        error, self.pending_error = self.pending_error, None
        if error is not None:
            raise error
        chunks: list[InvokeChunk] = []
        try:
            for block, payload in self._frames.take_raw_frames(data):  # one by one: those before a fault are not lost
                chunks.append(_chunk(block, payload))
            if self._frames.failure is not None:
                self._frames.next_raw_frames()  # raises the fault that stood behind the last good frame
        except BedrockError as exc:
            self.pending_error = exc
            if not chunks:
                raise
        self._chunks += len(chunks)
        return chunks

    def eof(self) -> list[InvokeChunk]:
        """Tell that the body has ended. Raises StreamTruncatedError where nothing came."""
        error, self.pending_error = self.pending_error, None
        if error is not None:
            raise error
        self._frames.receive_eof()
        if not self._chunks and not self._may_be_empty:
            raise StreamTruncatedError("the stream ended without a chunk.", hint="Call again to get an answer.")
        return []


def _chunk(block: bytes, payload: bytes) -> InvokeChunk:
    headers = parse_headers(block)
    if headers.get(":message-type", "event") != "event":
        raise exception_of_frame(headers, payload)
    name = str(headers.get(":event-type", ""))
    if name != CHUNK:
        return InvokeChunk(payload, name, payload)
    try:
        return InvokeChunk(_decode_payload(payload).data or b"", name, payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise EventDecodeError(
            f"the payload of a chunk ({len(payload)} bytes) contains no base64 bytes ({exc}).",
            event_type=name,
            payload=payload,
        ) from exc
