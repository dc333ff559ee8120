"""The events of a stream and their decoder, case by case: what is lenient, what is an error, and which one."""

from __future__ import annotations

import json
from operator import attrgetter
from typing import Any, Final, get_args

import msgspec
import pytest
from framing import pieces as cut
from hypothesis import given
from hypothesis import strategies as st
from strategies import events as event_wires
from strategies import pieces

from bedrock_async import (
    AccessDeniedError,
    BedrockError,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    Event,
    EventDecodeError,
    EventStreamError,
    InputTooLongError,
    InternalServerError,
    MessageStartEvent,
    MessageStopEvent,
    MetadataEvent,
    ModelStreamError,
    ServiceError,
    ServiceUnavailableError,
    StreamTruncatedError,
    ThrottlingError,
    TokenUsage,
    UnexpectedContentTypeError,
    UnknownEvent,
    ValidationError,
)
from bedrock_async.events import (
    _MAX_ROUTES,
    _ROUTES,
    ContentDelta,
    ContentStart,
    ConverseEventDecoder,
    ReasoningDelta,
    StreamEvent,
    ToolUseDelta,
    ToolUseStart,
    decode_event,
    event_from_wire,
)
from bedrock_async.eventstream import CONTENT_TYPE, HeaderValue, Int8, encode_frame
from bedrock_async.testing import corrupted, event_frame, exception_frame, truncated

START: Final = event_frame("messageStart", {"role": "assistant"}, padding="abc")
HELLO: Final = event_frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hello"}}, padding="abcd")
STOP: Final = event_frame("contentBlockStop", {"contentBlockIndex": 0}, padding="ab")
END: Final = event_frame("messageStop", {"stopReason": "end_turn"}, padding="ab")
METADATA: Final = event_frame(
    "metadata",
    {"metrics": {"latencyMs": 7}, "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}},
    padding="abc",
)
WHOLE: Final = START + HELLO + STOP + END + METADATA
DELTA: Final = "contentBlockDelta"


def received(body: bytes, *, piece_bytes: int | None = None) -> list[Event]:
    """Return the events of a body that arrives in pieces of that many bytes; None is in one."""
    decoder = ConverseEventDecoder()
    return [event for piece in cut(body, piece_bytes) for event in decoder.receive(piece)]


def delta_of(payload: bytes) -> ContentBlockDeltaEvent:
    """Return the delta event of that payload."""
    event = decode_event(DELTA, payload)
    assert isinstance(event, ContentBlockDeltaEvent)
    return event


# -- what an event is


def test_a_stream_gives_typed_events() -> None:
    """Each event is of its class, with its members and its type's name."""
    start, hello, stop, end, metadata = received(WHOLE)
    assert isinstance(start, MessageStartEvent)
    assert start.role == "assistant"
    assert isinstance(hello, ContentBlockDeltaEvent)
    assert (hello.content_block_index, hello.text, hello.tool_input) == (0, "Hello", None)
    assert isinstance(stop, ContentBlockStopEvent)
    assert stop.content_block_index == 0
    assert isinstance(end, MessageStopEvent)
    assert (end.stop_reason, end.additional_model_response_fields) == ("end_turn", None)
    assert isinstance(metadata, MetadataEvent)
    assert metadata.usage == TokenUsage(input_tokens=1, output_tokens=2, total_tokens=3)
    assert metadata.metrics is not None
    assert metadata.metrics.latency_ms == 7
    assert (metadata.trace, metadata.performance_config, metadata.service_tier) == (None, None, None)
    assert [event.type for event in (start, hello, stop, end, metadata)] == [
        "message_start",
        "content_block_delta",
        "content_block_stop",
        "message_stop",
        "metadata",
    ]
    assert [event.text for event in (start, hello, stop, end, metadata)] == [None, "Hello", None, None, None]


def test_match_works_on_events() -> None:
    """Events are made for match, down into their members."""

    def described(event: Event) -> str:
        match event:
            case ContentBlockDeltaEvent(delta=ContentDelta(text=str(text))):
                return f"text {text}"
            case ContentBlockDeltaEvent(delta=ContentDelta(tool_use=ToolUseDelta(input=str(piece)))):
                return f"input {piece}"
            case ContentBlockStartEvent(start=ContentStart(tool_use=ToolUseStart(name=name))):
                return f"tool {name}"
            case MessageStopEvent(stop_reason=reason):
                return f"stop {reason}"
            case UnknownEvent(name=name):
                return f"unknown {name}"
            case _:
                return event.type

    wires: list[dict[str, Any]] = [
        {"contentBlockDelta": {"delta": {"text": "a"}}},
        {"contentBlockDelta": {"delta": {"toolUse": {"input": "{"}}}},
        {"contentBlockStart": {"start": {"toolUse": {"toolUseId": "t", "name": "n"}}}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"hologram": {}},
        {"messageStart": {}},
    ]
    assert [described(event_from_wire(wire)) for wire in wires] == [
        "text a",
        "input {",
        "tool n",
        "stop end_turn",
        "unknown hologram",
        "message_start",
    ]


@pytest.mark.parametrize("event", received(WHOLE), ids=lambda event: event.type)
def test_events_are_immutable(event: Event) -> None:
    """No member of an event can be set."""
    for name in event.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(event, name, None)


def test_an_event_keeps_its_payload_and_forgets_the_padding() -> None:
    """payload is what was received; neither form has the padding member."""
    (event,) = received(HELLO)
    assert json.loads(event.payload) == {"contentBlockIndex": 0, "delta": {"text": "Hello"}, "p": "abcd"}
    wire = {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hello"}}}
    assert event.to_wire() == event.to_dict() == wire


def test_an_event_made_by_hand_has_the_wire_form_of_its_members() -> None:
    """Members that are not set are absent; what is read back is the same event but for the payload."""
    event = ContentBlockDeltaEvent(
        content_block_index=1, delta=ContentDelta(reasoning_content=ReasoningDelta(redacted_base64="AAE="))
    )
    wire = {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"reasoningContent": {"redactedContent": "AAE="}}}}
    assert event.to_wire() == wire
    assert event.to_dict()["contentBlockDelta"]["delta"]["reasoningContent"] == {"redactedContent": b"\0\1"}
    read = ContentBlockDeltaEvent.from_wire(wire)
    assert read.delta == event.delta
    assert MessageStartEvent().to_wire() == {"messageStart": {}}


def test_every_event_type_has_its_class() -> None:
    """The wire names and the types of the public classes are distinct, and only the unknown event has no wire name."""
    kinds: tuple[type[StreamEvent], ...] = get_args(Event)
    assert sorted(kind.type for kind in kinds) == [
        "content_block_delta",
        "content_block_start",
        "content_block_stop",
        "message_start",
        "message_stop",
        "metadata",
        "unknown",
    ]
    assert [kind.wire_name for kind in kinds if kind.type == "unknown"] == [""]


# -- lenient reading


@pytest.mark.parametrize("index", ["0", "0.0", '"0"', "null", "-0"])
def test_a_block_index_in_another_spelling_is_read(index: str) -> None:
    """Null, 0.0 or "0" in an integer is read, and to_wire keeps the spelling."""
    event = delta_of(f'{{"contentBlockIndex":{index},"delta":{{"text":"a"}},"new":1}}'.encode())
    assert event.text == "a"
    assert event.content_block_index == (None if index == "null" else 0)
    assert event.to_wire()[DELTA] == {"contentBlockIndex": json.loads(index), "delta": {"text": "a"}, "new": 1}


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (rb'{"delta":{"text":"a\ud83d"}}', "a\ud83d"),
        (rb'{"delta":{"text":"\ude00b"}}', "\ude00b"),
        (rb'{"delta":{"text":"\ud83d\ude00"}}', "\U0001f600"),
        (b'{"delta":{"text":"a\xed\xa0\xbd"}}', "a\ud83d"),
        (b'\xef\xbb\xbf{"delta":{"text":"after a byte order mark"}}', "after a byte order mark"),
        (b'{"delta":{"text":"NUL \\u0000"}}', "NUL \0"),
    ],
)
def test_text_that_strict_parsers_refuse_is_read(payload: bytes, text: str) -> None:
    """Lone surrogates, escaped or as bytes, reach the user as Python text has them."""
    event = delta_of(payload)
    assert event.text == text
    assert event.to_wire() == {DELTA: {"delta": {"text": text}}}
    assert received(event_frame(DELTA, payload)) == [event]


@pytest.mark.parametrize("other", ["null", r'{"title":"\ud83d","source":null}'])
def test_raw_members_pass_the_lenient_reading(other: str) -> None:
    """Members that are kept as JSON come through it too, null and broken text in them included."""
    event = delta_of(f'{{"contentBlockIndex":"3","delta":{{"text":"a","citation":{other}}}}}'.encode())
    assert event.content_block_index == 3
    assert event.delta is not None
    citation = event.delta.citation
    assert (None if citation is None else (citation.title, citation.source)) == (
        None if other == "null" else ("\ufffd", None)
    )


def test_documents_with_what_json_has_not_are_read() -> None:
    """NaN and lone surrogates in additionalModelResponseFields, or in a tool's result, are given as Python has them."""
    stop = decode_event("messageStop", rb'{"stopReason":"end_turn","additionalModelResponseFields":["\ud83d",1e999]}')
    assert isinstance(stop, MessageStopEvent)
    assert stop.additional_model_response_fields == ["\ud83d", float("inf")]
    event = delta_of(rb'{"delta":{"toolResult":[{"text":"\ud83d"},{"json":{"a":null}}]}}')
    assert event.delta is not None
    assert event.delta.tool_result == [{"text": "\ud83d"}, {"json": {"a": None}}]


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("messageStart", {}),
        ("messageStart", {"role": None}),
        ("contentBlockStart", {"start": None}),
        ("contentBlockStart", {"start": {"toolUse": None}}),
        ("contentBlockStart", {"contentBlockIndex": 1, "start": {"hologram": {"a": 1}}}),
        ("contentBlockDelta", {}),
        ("contentBlockDelta", {"delta": None}),
        ("contentBlockDelta", {"delta": {}}),
        ("contentBlockDelta", {"delta": {"hologram": [1, {"b": None}]}, "new": {"c": []}}),
        ("contentBlockDelta", {"delta": {"toolUse": {"input": None, "new": 1}}}),
        ("contentBlockDelta", {"delta": {"image": None, "citation": None, "toolResult": None}}),
        ("contentBlockStop", {}),
        ("messageStop", {"stopReason": None, "additionalModelResponseFields": None}),
        ("metadata", {}),
        ("metadata", {"usage": None, "metrics": None, "trace": None, "performanceConfig": None, "serviceTier": None}),
        ("metadata", {"usage": {"inputTokens": 1, "serverToolUsage": {}}, "new": 5}),
        ("hologram", {"any": ["thing", None]}),
    ],
)
def test_members_may_be_absent_null_or_unknown(name: str, wire: dict[str, Any]) -> None:
    """Every member is optional, nulls count as absent, and what nobody knows is kept: no property raises."""
    (event,) = received(event_frame(name, wire, padding="abcdef"))
    assert event.to_wire() == event.to_dict() == {name: wire}
    for part in (event, getattr(event, "delta", None)):
        for attribute in dir(part):
            assert getattr(part, attribute, None) is not NotImplemented


def test_usage_in_other_spellings_is_read() -> None:
    """Numbers as text, whole floats and nulls in usage give numbers."""
    event = decode_event("metadata", b'{"usage":{"inputTokens":"5","outputTokens":2.0,"totalTokens":null}}')
    assert isinstance(event, MetadataEvent)
    assert event.usage is not None
    assert (event.usage.input_tokens, event.usage.output_tokens, event.usage.total_tokens) == (5, 2, 0)


@pytest.mark.parametrize("payload", [b"\x00\x01", b"[1]", b"{"])
def test_an_unknown_event_may_hold_anything(payload: bytes) -> None:
    """An event of a later version is delivered even where its payload is no JSON object."""
    (event,) = received(event_frame("hologram", payload))
    assert isinstance(event, UnknownEvent)
    assert event.name == "hologram"
    assert event.type == "unknown"
    assert event.payload == payload
    assert event.to_dict() == {"hologram": payload}
    assert isinstance(event.to_wire()["hologram"], str)


@pytest.mark.parametrize("event", [UnknownEvent(name="hologram"), *received(event_frame("hologram", b""))])
def test_an_unknown_event_without_payload_has_no_members(event: Event) -> None:
    """Received or made by hand, it is its name and nothing else."""
    assert event.to_wire() == event.to_dict() == {"hologram": {}}


# -- malformed events


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"", "not JSON"),
        (b'{"contentBlockIndex":0,"delta":{"text":"a"}', "not JSON"),
        (b'{"delta":{"text":"\xff\xfe"}}', "not JSON"),
        (b'{"delta":{"text":"a"}}trailing', "not JSON"),
        (b"null", "of type NoneType"),
        (b"[]", "of type list"),
        (b'"text"', "of type str"),
        (b'{"delta":[]}', "not as the service documents it"),
        (b'{"delta":{"text":5}}', "not as the service documents it"),
        (b'{"delta":{"toolUse":{"input":{}}}}', "not as the service documents it"),
        (b'{"contentBlockIndex":1.5}', "not as the service documents it"),
        (b'{"contentBlockIndex":"one"}', "not as the service documents it"),
        (b'{"contentBlockIndex":true}', "not as the service documents it"),
        (b"[" * 100_000, "not JSON"),
        (b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "not JSON"),
    ],
)
def test_a_known_event_that_cannot_be_read_is_an_error_with_its_payload(payload: bytes, fault: str) -> None:
    """The error names the event, says what is wrong and how long the payload is, and holds the payload."""
    with pytest.raises(EventDecodeError, match=f"contentBlockDelta .{len(payload)} bytes. is .*{fault}") as caught:
        received(event_frame(DELTA, payload))
    assert caught.value.event_type == DELTA
    assert caught.value.payload == payload
    assert not caught.value.retryable
    assert "model id" in str(caught.value)


@pytest.mark.parametrize("path", ["citation", "image.source", "reasoning_content.redacted_content"])
def test_members_that_are_read_late_raise_errors_of_our_tree(path: str) -> None:
    """A member that is only looked into when asked for is refused then, with an error of ours."""
    delta = delta_of(
        b'{"delta":{"citation":5,"image":{"source":{"bytes":"?"}},"reasoningContent":{"redactedContent":"?"}}}'
    ).delta
    with pytest.raises(BedrockError, match=r"not base64|not as the service documents it"):
        attrgetter(path)(delta)


@pytest.mark.parametrize("wire", [{}, {"a": {}, "b": {}}, {"messageStart": 5}, {"messageStart": {"role": {1}}}])
def test_a_wire_object_that_is_no_event_is_refused(wire: dict[str, Any]) -> None:
    """from_wire wants one key with a JSON object behind it."""
    with pytest.raises(EventDecodeError):
        event_from_wire(wire)


def test_from_wire_of_a_class_wants_that_class() -> None:
    """Asking MessageStopEvent for a messageStart is a mistake that is named."""
    with pytest.raises(EventDecodeError, match="expected MessageStopEvent, got MessageStartEvent"):
        MessageStopEvent.from_wire({"messageStart": {}})


# -- the decoder


@given(st.data())
def test_the_pieces_do_not_matter(data: st.DataObject) -> None:
    """However the bytes are cut, empty pieces included, the events are the same."""
    wires = data.draw(st.lists(event_wires(), max_size=4))
    frames = [event_frame(name, members) for wire in wires for name, members in wire.items()]
    body = b"".join(frames) + END + METADATA
    decoder = ConverseEventDecoder()
    events = [event for piece in data.draw(pieces(body)) for event in decoder.receive(piece)]
    assert decoder.eof() == []
    assert events == received(body)
    assert [event.to_wire() for event in events[:-2]] == wires


@pytest.mark.parametrize("content_type", [CONTENT_TYPE, f"{CONTENT_TYPE}; charset=utf-8", CONTENT_TYPE.upper()])
def test_the_content_type_of_an_event_stream_is_accepted(content_type: str) -> None:
    """Case and parameters do not matter."""
    ConverseEventDecoder().start(200, {"content-type": content_type})


@pytest.mark.parametrize("content_type", ["", "application/json", "text/html; charset=utf-8", f"x{CONTENT_TYPE}"])
def test_another_content_type_is_refused(content_type: str) -> None:
    """A page of a proxy under status 200 is named for what it is."""
    with pytest.raises(
        UnexpectedContentTypeError, match=r"HTTP 200.*content type .*vnd\.amazon\.eventstream"
    ) as caught:
        ConverseEventDecoder().start(200, {"content-type": content_type} if content_type else {})
    assert not caught.value.retryable
    assert caught.value.sent
    assert "endpoint_url" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        (b"", "messageStop and metadata"),
        (START + HELLO, "messageStop and metadata"),
        (START + HELLO + STOP + END, "metadata"),
        (START + METADATA, "messageStop"),
    ],
)
@pytest.mark.parametrize("piece_bytes", [None, 1])
def test_a_stream_that_ends_too_early_is_truncated(body: bytes, missing: str, piece_bytes: int | None) -> None:
    """A clean end of the body without the last events is no answer: retryable, and it says what is missing."""
    decoder = ConverseEventDecoder()
    for piece in cut(body, piece_bytes):
        decoder.receive(piece)
    with pytest.raises(StreamTruncatedError, match=f"without {missing}\\.") as caught:
        decoder.eof()
    assert caught.value.retryable
    assert not decoder.complete


def test_a_stream_that_ends_inside_a_frame_breaks_the_framing() -> None:
    """The bytes that are missing are counted, and calling again may help."""
    decoder = ConverseEventDecoder()
    assert len(decoder.receive(START + truncated(HELLO))) == 1
    with pytest.raises(EventStreamError, match="ended inside the frame") as caught:
        decoder.eof()
    assert caught.value.retryable


def test_events_after_the_last_are_delivered() -> None:
    """messageStop and metadata make a stream complete in any order, and what follows is no error."""
    decoder = ConverseEventDecoder()
    events = decoder.receive(START + METADATA + END + event_frame("hologram", {}))
    assert [event.type for event in events] == ["message_start", "metadata", "message_stop", "unknown"]
    assert decoder.complete
    assert decoder.eof() == []


ERRORS: Final[list[tuple[bytes, type[BedrockError]]]] = [
    (exception_frame("throttlingException", "Too many tokens"), ThrottlingError),
    (corrupted(HELLO), EventStreamError),
    (event_frame(DELTA, b"{"), EventDecodeError),
    (event_frame("messageStop", b"{"), EventDecodeError),
    (encode_frame({":message-type": "event"}, b"{}")[:-1] + b"\0", EventStreamError),
]


@pytest.mark.parametrize(("fault", "kind"), ERRORS)
def test_events_before_an_error_in_the_same_piece_come_first(fault: bytes, kind: type[BedrockError]) -> None:
    """No event is lost: the error waits in pending_error, and the next call raises it, once."""
    decoder = ConverseEventDecoder()
    events = decoder.receive(START + HELLO + fault + STOP)
    assert [event.type for event in events] == ["message_start", "content_block_delta"]
    assert isinstance(decoder.pending_error, kind)
    with pytest.raises(kind):
        decoder.receive(b"")
    assert decoder.pending_error is None


@pytest.mark.parametrize(("fault", "kind"), ERRORS)
def test_an_error_alone_in_a_piece_is_raised_at_once(fault: bytes, kind: type[BedrockError]) -> None:
    """With nothing to hand out first, receive raises."""
    decoder = ConverseEventDecoder()
    decoder.receive(START)
    with pytest.raises(kind):
        decoder.receive(fault)


@pytest.mark.parametrize(("fault", "kind"), ERRORS)
def test_the_end_of_the_body_raises_what_is_pending(fault: bytes, kind: type[BedrockError]) -> None:
    """An error that arrived with the last events is not covered up by the truncation that it causes."""
    decoder = ConverseEventDecoder()
    decoder.receive(START + fault)
    with pytest.raises(kind):
        decoder.eof()


def test_a_frame_longer_than_the_limit_is_refused() -> None:
    """max_frame_bytes bounds what one frame may make the decoder keep."""
    limit = len(HELLO)
    assert ConverseEventDecoder(max_frame_bytes=limit).receive(HELLO)
    with pytest.raises(EventStreamError, match="bytes"):
        ConverseEventDecoder(max_frame_bytes=limit).receive(event_frame(DELTA, {"delta": {"text": "x" * limit}}))


def test_headers_that_vary_do_not_fill_the_memory() -> None:
    """Header blocks are remembered to be found again; a peer that never repeats one is read all the same."""
    for number in range(600):
        headers = {":message-type": "event", ":event-type": DELTA, "n": str(number)}
        (event,) = received(encode_frame(headers, b'{"delta":{"text":"a"}}'))
        assert event.text == "a"
    assert len(_ROUTES) == _MAX_ROUTES


def test_header_blocks_of_other_orders_and_types_are_read() -> None:
    """The order of headers, and headers that nobody knows, say nothing."""
    headers: dict[str, HeaderValue] = {"x-new": Int8(5), ":message-type": "event", ":event-type": "messageStart"}
    (event,) = received(encode_frame(headers, b'{"role":"assistant"}'))
    assert isinstance(event, MessageStartEvent)


def test_an_event_without_a_name_is_unknown() -> None:
    """A frame that announces nothing is kept, not refused."""
    (event,) = received(encode_frame({}, b'{"a":1}'))
    assert isinstance(event, UnknownEvent)
    assert event.to_wire() == {"": {"a": 1}}


# -- exceptions inside a stream


@pytest.mark.parametrize(
    ("code", "kind", "status", "retryable"),
    [
        ("internalServerException", InternalServerError, 500, True),
        ("modelStreamErrorException", ModelStreamError, 424, True),
        ("serviceUnavailableException", ServiceUnavailableError, 503, True),
        ("throttlingException", ThrottlingError, 429, True),
        ("validationException", ValidationError, 400, False),
        ("accessDeniedException", AccessDeniedError, 403, False),
        ("somethingNewException", ServiceError, 0, False),
    ],
)
@pytest.mark.parametrize("member", ["message", "Message"])
def test_an_exception_frame_is_the_error_of_its_code(
    code: str, kind: type[ServiceError], status: int, retryable: object, member: str
) -> None:
    """Modelled or not, the frame has the class, status and code that the same exception has over HTTP."""
    headers = {":exception-type": code, ":content-type": "application/json", ":message-type": "exception"}
    with pytest.raises(ServiceError) as caught:
        received(encode_frame(headers, json.dumps({member: "it broke"}).encode()))
    error = caught.value
    assert type(error) is kind
    assert error.code == code[0].upper() + code[1:]
    assert (error.status, error.retryable, error.in_stream) == (status, retryable, True)
    assert error.message == "it broke"
    assert str(error).startswith(f"{error.code}, in the stream: it broke")


def test_the_model_servers_own_status_and_message_are_kept() -> None:
    """ModelStreamErrorException passes on what the model's own server said."""
    frame = exception_frame(
        "modelStreamErrorException", "the model failed", originalStatusCode=503, originalMessage="overloaded"
    )
    with pytest.raises(ModelStreamError) as caught:
        received(frame)
    assert (caught.value.original_status_code, caught.value.original_message) == (503, "overloaded")
    assert caught.value.status == 424


def test_input_that_is_too_long_inside_a_stream_is_named_as_over_http() -> None:
    """The same texts narrow the class, wherever they arrive."""
    with pytest.raises(InputTooLongError, match=r"count_tokens"):
        received(exception_frame("validationException", "Input is too long for requested model."))


def test_an_error_frame_has_code_and_text_in_its_headers() -> None:
    """The third message type of the framing: no payload, :error-code and :error-message."""
    headers = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "An internal error"}
    with pytest.raises(InternalServerError, match="An internal error") as caught:
        received(encode_frame(headers, b""))
    assert (caught.value.code, caught.value.retryable) == ("InternalFailure", True)


@pytest.mark.parametrize("payload", [b"", b"not JSON", b"[]", b'{"message":5}', b'{"originalStatusCode":true}'])
def test_an_exception_frame_without_a_message_says_so(payload: bytes) -> None:
    """A frame with neither code nor text is an error without None in it."""
    with pytest.raises(ServiceError, match=f"exception frame of {len(payload)} bytes contains no message") as caught:
        received(encode_frame({":message-type": "exception"}, payload))
    assert caught.value.code == "UnknownException"
    assert caught.value.original_status_code is None
    assert "None" not in str(caught.value)


def test_events_are_msgspec_structs_without_garbage_collection() -> None:
    """What keeps a million events cheap: no event takes part in cycle collection."""
    for kind in get_args(Event):
        assert issubclass(kind, msgspec.Struct)
        assert kind.__struct_config__.gc is False
        assert kind.__struct_config__.frozen is True
