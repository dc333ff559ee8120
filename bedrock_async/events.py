"""The events of a response stream, and the decoder that makes them from bytes; `folding` makes a response of them.

An event is decoded straight from its payload into a small struct, keeps that payload, and looks at the rest of it
only when asked: `StreamEvent.to_wire` has every member that was received, also those no class here knows.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, Self, TypeAlias, TypeVar, cast

import msgspec
from msgspec.structs import force_setattr

from .errors import (
    BedrockError,
    EventDecodeError,
    ResponseDecodeError,
    StreamTruncatedError,
    UnexpectedContentTypeError,
    service_error,
)
from .eventstream import CONTENT_TYPE, EventStreamDecoder, HeaderValue, parse_headers
from .types import (
    Citation,
    ConverseMetrics,
    ConverseTrace,
    JSONValue,
    MediaError,
    MediaSource,
    PerformanceConfig,
    ServiceTier,
    TokenUsage,
    WireModel,
)
from .types._wire import UNREAD, is_member, read_wire
from .types.guardrail_decisions import INTERVENED, GuardrailDecision, trace_decision

EventType = Literal[
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_stop",
    "metadata",
    "unknown",
]

M = TypeVar("M", bound=WireModel)

# Real streams pad every event with "p" (2-61 characters); it carries no meaning.  [corpus, 2025-11]
PADDING: Final = "p"

# What msgspec raises for payloads that it rejects; json may still read them.
_REFUSALS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# msgspec does not support ``Raw | None``: an absent raw member is an empty Raw.
_ABSENT: Final = msgspec.Raw(b"")


class StreamEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """The base of all events. Events are immutable; every member is optional, because the service may omit it."""

    type: ClassVar[EventType] = "unknown"
    wire_name: ClassVar[str] = ""

    payload: bytes = msgspec.field(default=b"", name="$payload")
    """The JSON that was received, padding included; empty for an event created by the caller."""

    @property
    def text(self) -> str | None:
        """The text of a text delta, otherwise None."""
        return None

    @property
    def tool_input(self) -> str | None:
        """The piece of tool-input JSON of a tool-use delta, otherwise None."""
        return None

    @property
    def guardrail(self) -> GuardrailDecision | None:
        """What this event tells of a guardrail's decision; None except for the stop and metadata events."""
        return None

    def to_wire(self) -> dict[str, JSONValue]:
        """Return the one-key object of the wire, ``{"contentBlockDelta": {...}}``, complete except for the padding."""
        return {self.wire_name: self._members()}

    def to_dict(self) -> dict[str, Any]:
        """Return the event as boto3 does: like `to_wire`, but with blobs as bytes."""
        return {self.wire_name: self._members()}

    @classmethod
    def from_wire(cls, wire: Mapping[str, object]) -> Self:
        """Read the one-key object of the wire. Raises EventDecodeError, also for an event of another class."""
        event = event_from_wire(wire)
        if not isinstance(event, cls):
            raise EventDecodeError(
                f"expected {cls.__name__}, got {type(event).__name__}.", event_type=event.type, payload=event.payload
            )
        return event

    def _members(self) -> dict[str, JSONValue]:
        members = read_object(self.wire_name, self.payload or msgspec.json.encode(self))
        members.pop(PADDING, None)
        return members


class MessageStartEvent(StreamEvent, frozen=True, gc=False, kw_only=True, rename="camel"):
    """The first event of a message."""

    type: ClassVar[EventType] = "message_start"
    wire_name: ClassVar[str] = "messageStart"

    role: str | None = None


class ToolUseStart(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """The start of a tool use, whose input follows in deltas."""

    tool_use_id: str | None = None
    name: str | None = None
    type: str | None = None


class ToolResultStart(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """The start of the result of a tool that the service ran itself."""

    tool_use_id: str | None = None
    type: str | None = None
    status: str | None = None


class ImageStart(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """The start of an image, whose bytes follow in deltas."""

    format: str | None = None


class ContentStart(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """The kind of block that starts; one member is set."""

    tool_use: ToolUseStart | None = None
    tool_result: ToolResultStart | None = None
    image: ImageStart | None = None


class ContentBlockStartEvent(StreamEvent, frozen=True, gc=False, kw_only=True, rename="camel"):
    """The start of a tool use, tool result or image. Text and reasoning start with their first delta."""

    type: ClassVar[EventType] = "content_block_start"
    wire_name: ClassVar[str] = "contentBlockStart"

    content_block_index: int | None = None
    start: ContentStart | None = None


class ToolUseDelta(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """A piece of the JSON text of a tool's input."""

    input: str | None = None


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """A piece of reasoning text, its signature, or a piece of redacted content."""

    text: str | None = None
    signature: str | None = None
    redacted_base64: str | None = msgspec.field(default=None, name="redactedContent")

    @property
    def redacted_content(self) -> bytes | None:
        """The redacted content, which only the service can decrypt."""
        return None if self.redacted_base64 is None else debase64(self.redacted_base64)


class ImageDelta(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """A piece of an image, or the reason why there is none."""

    source_json: msgspec.Raw = msgspec.field(default=_ABSENT, name="source")
    error_json: msgspec.Raw = msgspec.field(default=_ABSENT, name="error")

    @property
    def source(self) -> MediaSource | None:
        """The bytes of this piece of the image, or its location."""
        return _typed(MediaSource, self.source_json)

    @property
    def error(self) -> MediaError | None:
        """The reason why there is no image."""
        return _typed(MediaError, self.error_json)


class ContentDelta(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """A piece of a content block; one member is set."""

    text: str | None = None
    tool_use: ToolUseDelta | None = None
    reasoning_content: ReasoningDelta | None = None
    image: ImageDelta | None = None
    tool_result_json: msgspec.Raw = msgspec.field(default=_ABSENT, name="toolResult")
    citation_json: msgspec.Raw = msgspec.field(default=_ABSENT, name="citation")

    @property
    def tool_result(self) -> list[JSONValue] | None:
        """Pieces of the result of a tool that the service ran, each ``{"text": ...}`` or ``{"json": ...}``."""
        pieces = _document(self.tool_result_json)
        return pieces if isinstance(pieces, list) else None

    @property
    def citation(self) -> Citation | None:
        """A source that the text of this block cites."""
        return _typed(Citation, self.citation_json)


class ContentBlockDeltaEvent(StreamEvent, frozen=True, gc=False, kw_only=True, rename="camel"):
    """A piece of a content block. The pieces of different blocks never interleave."""

    type: ClassVar[EventType] = "content_block_delta"
    wire_name: ClassVar[str] = "contentBlockDelta"

    content_block_index: int | None = None
    delta: ContentDelta | None = None

    @property
    def text(self) -> str | None:
        """The text of a text delta, otherwise None."""
        delta = self.delta
        return None if delta is None else delta.text

    @property
    def tool_input(self) -> str | None:
        """The piece of tool-input JSON of a tool-use delta, otherwise None."""
        delta = self.delta
        return None if delta is None or delta.tool_use is None else delta.tool_use.input

    def to_dict(self) -> dict[str, Any]:
        """Return the event as boto3 does: like `to_wire`, but with blobs as bytes."""
        members = self._members()
        if isinstance(delta := members.get("delta"), dict):
            _blob(delta.get("reasoningContent"), "redactedContent")
            if isinstance(image := delta.get("image"), dict):
                _blob(image.get("source"), "bytes")
        return {self.wire_name: members}


class ContentBlockStopEvent(StreamEvent, frozen=True, gc=False, kw_only=True, rename="camel"):
    """A content block is complete."""

    type: ClassVar[EventType] = "content_block_stop"
    wire_name: ClassVar[str] = "contentBlockStop"

    content_block_index: int | None = None


class MessageStopEvent(StreamEvent, frozen=True, gc=False, kw_only=True, rename="camel"):
    """The message is complete; metadata follows."""

    type: ClassVar[EventType] = "message_stop"
    wire_name: ClassVar[str] = "messageStop"

    stop_reason: str | None = None
    additional_json: msgspec.Raw = msgspec.field(default=_ABSENT, name="additionalModelResponseFields")

    @property
    def additional_model_response_fields(self) -> JSONValue:
        """The fields that ``additional_response_field_paths`` asked for."""
        return _document(self.additional_json)

    @property
    def guardrail(self) -> GuardrailDecision | None:
        """Whether a guardrail intervened; how is in the trace of the next event, the metadata."""
        return trace_decision(None, intervened=self.stop_reason == INTERVENED)


class MetadataEvent(StreamEvent, frozen=True, gc=False, kw_only=True, rename="camel"):
    """The last event: the usage, latency and trace of the whole response."""

    type: ClassVar[EventType] = "metadata"
    wire_name: ClassVar[str] = "metadata"

    usage_json: msgspec.Raw = msgspec.field(default=_ABSENT, name="usage")
    metrics_json: msgspec.Raw = msgspec.field(default=_ABSENT, name="metrics")
    trace_json: msgspec.Raw = msgspec.field(default=_ABSENT, name="trace")
    performance_json: msgspec.Raw = msgspec.field(default=_ABSENT, name="performanceConfig")
    tier_json: msgspec.Raw = msgspec.field(default=_ABSENT, name="serviceTier")

    @property
    def usage(self) -> TokenUsage | None:
        """The number of tokens used."""
        return _typed(TokenUsage, self.usage_json)

    @property
    def metrics(self) -> ConverseMetrics | None:
        """The service's own latency metrics."""
        return _typed(ConverseMetrics, self.metrics_json)

    @property
    def trace(self) -> ConverseTrace | None:
        """What the guardrail and the prompt router did."""
        return _typed(ConverseTrace, self.trace_json)

    @property
    def guardrail(self) -> GuardrailDecision | None:
        """The decision of a guardrail, according to its trace."""
        trace = self.trace
        return None if trace is None else trace_decision(trace.guardrail)

    @property
    def tells_how(self) -> bool:
        """Whether it names the latency class or the service tier."""
        return self.performance_json is not _ABSENT or self.tier_json is not _ABSENT

    @property
    def performance_config(self) -> PerformanceConfig | None:
        """The latency class that the service used."""
        return _typed(PerformanceConfig, self.performance_json)

    @property
    def service_tier(self) -> ServiceTier | None:
        """The service tier that the service used."""
        return _typed(ServiceTier, self.tier_json)


class UnknownEvent(StreamEvent, frozen=True, gc=False, kw_only=True, rename="camel"):
    """An event type that this version does not know; ``name`` is the type on the wire."""

    type: ClassVar[EventType] = "unknown"

    name: str = ""

    def to_wire(self) -> dict[str, JSONValue]:
        """Return ``{name: members}``; a payload that is not a JSON object is given as base64 text."""
        try:
            return {self.name: self._members()}
        except EventDecodeError:
            return {self.name: base64.b64encode(self.payload).decode("ascii")}

    def to_dict(self) -> dict[str, Any]:
        """Return ``{name: members}``; a payload that is not a JSON object is given as bytes."""
        try:
            return {self.name: self._members()}
        except EventDecodeError:
            return {self.name: self.payload}

    def _members(self) -> dict[str, JSONValue]:
        # The name is not part of the payload, so an event created by the caller has no members.
        return super()._members() if self.payload else {}


Event: TypeAlias = (
    MessageStartEvent
    | ContentBlockStartEvent
    | ContentBlockDeltaEvent
    | ContentBlockStopEvent
    | MessageStopEvent
    | MetadataEvent
    | UnknownEvent
)
"""Any event of a Converse stream."""

_KNOWN: Final[tuple[type[StreamEvent], ...]] = (
    MessageStartEvent,
    ContentBlockStartEvent,
    ContentBlockDeltaEvent,
    ContentBlockStopEvent,
    MessageStopEvent,
    MetadataEvent,
)
_BY_NAME: Final[dict[str, type[StreamEvent]]] = {kind.wire_name: kind for kind in _KNOWN}
_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    name: msgspec.json.Decoder(kind) for name, kind in _BY_NAME.items()
}


def read_object(name: str, payload: bytes) -> dict[str, JSONValue]:
    """Parse the payload of an event leniently, accepting lone surrogates and NaN. Raises EventDecodeError."""
    try:
        value: JSONValue = _loads(payload)
    except (ValueError, RecursionError) as exc:
        raise _unreadable(name, payload, f"not JSON ({exc})") from exc
    if not isinstance(value, dict):
        raise _unreadable(name, payload, f"JSON, but of type {type(value).__name__}")
    return value


def _loads(payload: bytes) -> JSONValue:
    try:
        value: JSONValue = msgspec.json.decode(payload)
    except _REFUSALS:
        value = json.loads(payload)
    return value


def _document(raw: msgspec.Raw) -> JSONValue:
    """Parse a raw member; None if absent. Raises EventDecodeError, as the typed decoder does not parse raw members."""
    try:
        return _loads(bytes(raw)) if raw else None
    except (ValueError, RecursionError) as exc:
        raise _unreadable("", bytes(raw), f"not JSON ({exc})") from exc


def _unreadable(name: str, payload: bytes, what: str) -> EventDecodeError:
    which = f"the event {name}" if name else "an event"
    message = f"the payload of {which} ({len(payload)} bytes) is {what}."
    return EventDecodeError(message, event_type=name, payload=payload)


def decode_event(name: str, payload: bytes) -> Event:
    """Return the event of one frame. Raises EventDecodeError when a known event cannot be read even leniently."""
    decoder = _DECODERS.get(name)
    if decoder is None:
        return UnknownEvent(name=name, payload=payload)
    try:
        event: Event = decoder.decode(payload)
    except _REFUSALS:
        event = _decode_leniently(name, payload)
    force_setattr(event, "payload", payload)
    return event


def _decode_leniently(name: str, payload: bytes) -> Event:
    """Read what the strict decoder rejects: ``"0"``, ``0.0`` or null as an integer, lone surrogates, wrong types."""
    members = read_object(name, payload)
    kind = _BY_NAME[name]
    index = members.get("contentBlockIndex")
    if isinstance(index, float) and index.is_integer():
        members["contentBlockIndex"] = int(index)
    try:
        event = cast("Event", msgspec.convert(_raw_json(members, kind), kind, strict=False))
    except (msgspec.ValidationError, UnicodeEncodeError) as exc:  # UnicodeEncodeError is about the name of a member
        raise _unreadable(name, payload, f"not as the service documents it ({exc})") from exc
    return event


def _raw_json(members: Mapping[str, JSONValue], kind: type[msgspec.Struct]) -> dict[str, object]:
    """Re-encode the members that ``kind`` keeps as raw JSON, because `msgspec.convert` expects them encoded."""
    converted: dict[str, object] = dict(members)
    for field in msgspec.structs.fields(kind):
        if field.encode_name not in members:
            continue
        value = members[field.encode_name]
        if field.type is msgspec.Raw:
            converted[field.encode_name] = msgspec.Raw(json.dumps(value).encode("ascii"))
        elif isinstance(value, dict):
            nested = getattr(field.type, "__args__", (field.type,))[0]
            if isinstance(nested, type) and issubclass(nested, msgspec.Struct):
                converted[field.encode_name] = _raw_json(value, nested)
    return converted


def event_from_wire(wire: Mapping[str, object]) -> Event:
    """Return the event of a one-key object of the wire. Raises EventDecodeError."""
    if len(wire) != 1:
        payload = json.dumps(dict(wire), default=repr).encode("ascii")
        raise _unreadable("", payload, f"an object of {len(wire)} keys, not of one")
    ((name, members),) = wire.items()
    if isinstance(members, str) and name not in _BY_NAME:
        try:
            return UnknownEvent(name=name, payload=debase64(members))  # `to_wire` of one that is not an object
        except EventDecodeError:
            pass
    try:
        payload = json.dumps(members, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, RecursionError) as exc:
        raise _unreadable(name, b"", f"not JSON ({exc})") from exc
    return decode_event(name, payload)


def _typed(kind: type[M], raw: msgspec.Raw) -> M | None:
    body = bytes(raw)
    return None if body in {b"", b"null"} else read_model(kind, body)


def read_model(kind: type[M], body: bytes) -> M:
    """Read a response object from JSON; tolerates explicit nulls and lone surrogates, which strict parsing rejects.

    A content block that lacks a member documented as required becomes an UnknownBlock. Raises ResponseDecodeError,
    which names the place where the JSON differs from the documented shape.
    """
    try:
        return read_wire(kind, body)
    except ValueError as strict:
        try:
            return _read_leniently(kind, mended(_loads(body)))
        except (ValueError, RecursionError) as exc:
            raise ResponseDecodeError(
                f"the {kind.__name__} of {len(body)} bytes is not as the service documents it: {_first_fault(strict)}.",
                body=body,
                hint="Report this answer with the model id; `body` of the error holds its first bytes.",
            ) from exc


def _read_leniently(kind: type[M], wire: JSONValue) -> M:
    # Only rejected nulls are removed: others are kept, so that unknown members round-trip. A content block that lacks a
    # member (such as an image whose error says why it is missing) must not cost the rest of the answer.
    for _ in range(_MOST_READINGS):
        try:
            return read_wire(kind, json.dumps(wire))
        except ValueError as exc:
            if not (_drop_refused_nulls(wire, exc) or _fill(wire, exc) or _set_aside_blocks(wire, exc)):
                break
    return read_wire(kind, json.dumps(without_nulls(wire)))


def _refused(refusal: ValueError, kind: str = "") -> list[list[int | str]]:
    """Return the paths of all validation errors, or of those of one kind."""
    details: list[dict[str, Any]] = getattr(refusal, "errors", list)()
    return [list(filter(is_member, each["loc"])) for each in details if kind in {"", each["type"]}]


def _drop_refused_nulls(wire: JSONValue, refusal: ValueError) -> bool:
    """Remove rejected nulls (members and items) in place; return whether there were any."""
    dropped = False
    for *steps, last in reversed([path for path in _refused(refusal) if path]):  # in reverse: indexes stay valid
        holder = _below(wire, steps)
        if isinstance(holder, dict) and last in holder and holder[str(last)] is None:
            del holder[str(last)]
            dropped = True
        elif isinstance(holder, list) and isinstance(last, int) and last < len(holder) and holder[last] is None:
            del holder[last]
            dropped = True
    return dropped


def _fill(wire: JSONValue, refusal: ValueError) -> bool:
    """Fill in, in place, missing members that a stream may omit; return whether there were any."""
    filled = False
    for path in _refused(refusal, "missing"):
        holder, place = _below(wire, path[:-1]), tuple(path[-2:])
        if isinstance(holder, dict) and place in _FILLED:
            holder[str(path[-1])] = json.loads(_FILLED[place])
            filled = True
    return filled


def _set_aside_blocks(wire: JSONValue, refusal: ValueError) -> bool:
    """Mark content blocks that lack a member, in place; return whether there were any.

    Tool uses are exempt: one that goes unseen would never get its result.
    """
    places = {tuple(path[: path.index(_CONTENT) + 2]) for path in _refused(refusal, "missing") if _CONTENT in path}
    marked = False
    for *steps, index in places:
        blocks = _below(wire, steps)
        block = blocks[index] if isinstance(blocks, list) and isinstance(index, int) else None
        if isinstance(block, dict) and "toolUse" not in block:
            cast("list[JSONValue]", blocks)[cast("int", index)] = {UNREAD: block}
            marked = True
    return marked


def _below(wire: JSONValue, steps: Sequence[int | str]) -> JSONValue:
    for step in steps:
        if isinstance(wire, dict):
            wire = wire.get(str(step))
        elif isinstance(wire, list) and isinstance(step, int) and step < len(wire):
            wire = wire[step]
    return wire


def _first_fault(fault: ValueError) -> str:
    details: list[dict[str, Any]] = getattr(fault, "errors", list)()
    if not details:
        return str(fault)
    path = ".".join(str(step) for step in filter(is_member, details[0]["loc"]))
    return f"{path}: {details[0]['msg']}" if path else str(details[0]["msg"])


_CONTENT: Final = "content"
"""The member of a message that holds its blocks."""

_FILLED: Final[Mapping[tuple[int | str, ...], str]] = {
    ("message", "content"): "[]",
    ("message", "role"): '"assistant"',
    ("reasoningText", "text"): '""',  # some models omit their reasoning, and sign it all the same
    ("toolUse", "input"): "{}",
}
"""The values, as JSON, that `folding` assumes for members that no event carries, by the last two steps of the path."""

_MOST_READINGS: Final = 8
"""Each round finds the nulls that the previous one hid; usually the first finds all."""

# Members that hold a document of the user or the model, in which a null has a meaning.
_DOCUMENTS: Final = frozenset({"input", "json", "additionalModelResponseFields"})


def without_nulls(value: JSONValue) -> JSONValue:
    """Return JSON without the members that are null; documents (such as the input of a tool) are kept unchanged."""
    if isinstance(value, dict):
        return {
            name: member if name in _DOCUMENTS else without_nulls(member)
            for name, member in value.items()
            if member is not None
        }
    if isinstance(value, list):
        return [without_nulls(item) for item in value if item is not None]
    return value


def mended(value: JSONValue) -> JSONValue:
    """Return JSON with surrogate pairs combined into characters and lone surrogates replaced by U+FFFD."""
    if isinstance(value, str):
        return _mended_text(value)
    if isinstance(value, dict):
        return {_mended_text(name): mended(member) for name, member in value.items()}
    if isinstance(value, list):
        return [mended(item) for item in value]
    return value


def _mended_text(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def debase64(text: str) -> bytes:
    """Return the bytes of a base64 blob. Raises EventDecodeError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise EventDecodeError(
            f"a blob of {len(text)} characters is not base64 ({exc}).",
            event_type="contentBlockDelta",
            payload=text.encode("utf-8", "surrogatepass"),
        ) from exc


def _blob(members: JSONValue, name: str) -> None:
    """Decode the base64 text of a member to bytes, in place."""
    if isinstance(members, dict) and isinstance(text := members.get(name), str):
        cast("dict[str, object]", members)[name] = debase64(text)


# Raw header block -> decoder of its event type. Bedrock repeats a few blocks; the limit only matters against a peer
# that keeps varying them.
_ROUTES: Final[dict[bytes, Callable[[bytes], Any]]] = {}
_MAX_ROUTES: Final = 256


def unexpected_content_type(status: int, received: str, expected: str) -> UnexpectedContentTypeError:
    """Return the error for an answer whose content type is not that of the operation."""
    return UnexpectedContentTypeError(
        f"the answer (HTTP {status}) has the content type {received or 'none'}, not {expected}.",
        hint="Check endpoint_url: something that is not the Bedrock Runtime answered.",
        sent=True,
    )


def require_event_stream(status: int, headers: Mapping[str, str]) -> None:
    """Check that an answer is an event stream. Raises UnexpectedContentTypeError."""
    kind = headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise unexpected_content_type(status, kind, CONTENT_TYPE)


class ConverseEventDecoder:
    """Decodes the bytes of a ConverseStream response into events; sans-IO.

    ``receive`` and ``eof`` raise EventStreamError, EventDecodeError, StreamTruncatedError or the ServiceError of an
    exception frame. An error that follows events in the same piece is kept in `pending_error` and raised by the next
    call, so that no event is lost.
    """

    def __init__(self, *, max_frame_bytes: int | None = None) -> None:
        self.pending_error: BedrockError | None = None
        self.complete = False
        """Whether both messageStop and metadata have arrived."""
        self._frames = EventStreamDecoder() if max_frame_bytes is None else EventStreamDecoder(max_frame_bytes)
        self._stopped = False
        self._metadata = False

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Check the head of the response. Raises UnexpectedContentTypeError."""
        require_event_stream(status, headers)

    def receive(self, data: bytes) -> list[Event]:
        """Return the events that ``data`` completes; ``b""`` only raises a pending error."""
        if self.pending_error is not None:
            self._raise_pending()
        events: list[Event] = []
        frames = self._frames
        try:
            for block, payload in frames.take_raw_frames(data):
                decode = _ROUTES.get(block)
                if decode is None:
                    events.append(self._decode(block, payload))
                    continue
                try:
                    event = decode(payload)
                except _REFUSALS:
                    events.append(self._decode(block, payload))
                else:
                    force_setattr(event, "payload", payload)
                    events.append(event)
            if frames.failure is not None:
                frames.next_raw_frames()  # raises the fault that follows the last good frame
        except BedrockError as exc:
            self.pending_error = exc
            if not events:
                raise
        return events

    def eof(self) -> list[Event]:
        """Declare the end of the body. Raises StreamTruncatedError when the response is not complete."""
        self._raise_pending()
        self._frames.receive_eof()
        if not self.complete:
            missing = [
                name for name, came in (("messageStop", self._stopped), ("metadata", self._metadata)) if not came
            ]
            raise StreamTruncatedError(
                f"the stream ended without {' and '.join(missing)}.",
                hint="The answer is not complete: partial_response has what arrived. Call again to get a whole one.",
            )
        return []

    def _raise_pending(self) -> None:
        # Drop the reference: the error's traceback leads to the stream, and an abandoned stream can only close at once
        # if no cycle keeps it alive.
        error, self.pending_error = self.pending_error, None
        if error is not None:
            raise error

    def _decode(self, block: bytes, payload: bytes) -> Event:
        """Decode a frame that is an exception, ends the response, or has unseen headers or an irregular payload."""
        headers = parse_headers(block)
        kind = headers.get(":message-type", "event")
        if kind != "event":
            raise exception_of_frame(headers, payload)
        name = str(headers.get(":event-type", ""))
        event = decode_event(name, payload)
        if name == "messageStop":
            self._stopped = True
        elif name == "metadata":
            self._metadata = True
        elif name in _DECODERS and len(_ROUTES) < _MAX_ROUTES:
            _ROUTES[block] = _DECODERS[name].decode
        self.complete = self._stopped and self._metadata
        return event


def exception_of_frame(headers: Mapping[str, HeaderValue], payload: bytes) -> BedrockError:
    """Return the error of an exception frame (modelled, JSON payload) or an error frame (code and text in headers)."""
    try:
        members = read_object("", payload)
    except EventDecodeError:
        members = {}
    code = headers.get(":exception-type") or headers.get(":error-code") or ""
    message = members.get("message") or members.get("Message") or headers.get(":error-message")
    status = members.get("originalStatusCode")
    original = members.get("originalMessage")
    return service_error(
        str(code),
        message if isinstance(message, str) else f"the exception frame of {len(payload)} bytes contains no message",
        in_stream=True,
        original_status_code=status if isinstance(status, int) and not isinstance(status, bool) else None,
        original_message=original if isinstance(original, str) else None,
    )
