"""What requests, responses and content blocks promise, case by case."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from traceback import format_exception
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from bedrock_async import (
    AudioBlock,
    CachePointBlock,
    Citation,
    CitationsBlock,
    ContentBlock,
    ConverseRequest,
    ConverseResponse,
    DocumentBlock,
    GuardContentBlock,
    ImageBlock,
    InferenceConfig,
    InvalidRequestError,
    MediaSource,
    Message,
    ReasoningBlock,
    ResponseMeta,
    S3Location,
    TextBlock,
    TokenUsage,
    ToolChoice,
    ToolConfig,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
    VideoBlock,
    WireModel,
)
from bedrock_async.types import CitedText, JsonBlock, ReasoningText, ToolInputSchema, ToolSpec
from bedrock_async.types._wire import Timestamp

PIXEL = b"\x89PNG\r\n\x1a\n\xff\xfe"
WEATHER = ToolUseBlock(tool_use_id="t1", name="weather", input={"city": "Paris"})


class Dated(WireModel):
    """Any object with a time, as those of async-invoke have one."""

    submit_time: Timestamp | None = None


def described(block: ContentBlock) -> str:
    """Describe a block as user code would, with the match statement."""
    match block:
        case TextBlock(text=text):
            return f"text {text}"
        case ToolUseBlock(name=name, input={"city": city}):
            return f"{name} of {city}"
        case ToolUseBlock(invalid_input=True):
            return "cut tool use"
        case ImageBlock(format="png", source=MediaSource(bytes=bytes() as data)):
            return f"png of {len(data)} bytes"
        case ReasoningBlock(text=text) if text:
            return f"thought {text}"
        case CitationsBlock(citations=[Citation(title=title), *_]):
            return f"cites {title}"
        case UnknownBlock(raw={"hologram": _}):
            return "a hologram"
        case _:
            return type(block).__name__


@pytest.mark.parametrize(
    ("block", "description"),
    [
        (TextBlock(text="hi"), "text hi"),
        (WEATHER, "weather of Paris"),
        (ToolUseBlock(tool_use_id="t", name="weather", input='{"ci'), "cut tool use"),
        (ImageBlock(format="png", source=MediaSource(bytes=PIXEL)), "png of 10 bytes"),
        (ReasoningBlock(reasoning_text=ReasoningText(text="hm")), "thought hm"),
        (ReasoningBlock(redacted_content=b"x"), "ReasoningBlock"),
        (CitationsBlock(content=[CitedText(text="x")], citations=[Citation(title="A")]), "cites A"),
        (UnknownBlock(raw={"hologram": {}}), "a hologram"),
        (CachePointBlock(type="default"), "CachePointBlock"),
    ],
)
def test_match_works_on_blocks(block: ContentBlock, description: str) -> None:
    """Blocks are made for match and isinstance, as built by hand and as read from the wire."""
    assert described(block) == description
    (read,) = Message.from_wire({"role": "user", "content": [block.to_wire()]}).content
    assert read == block
    assert described(read) == description


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (WEATHER, "input"),
        (TextBlock(text="x"), "text"),
        (Message(role="user", content=[]), "content"),
        (ConverseRequest(), "messages"),
        (ConverseResponse(), "usage"),
        (UnknownBlock(raw={}), "raw"),
        (TokenUsage(), "input_tokens"),
    ],
)
def test_everything_is_frozen(thing: WireModel, name: str) -> None:
    """Members are neither set nor deleted: what one task passes on, another may read."""
    with pytest.raises(
        InvalidRequestError, match=rf"is frozen: {name} cannot be changed\. Make a changed copy"
    ) as caught:
        setattr(thing, name, SECRET)
    assert SECRET not in "".join(format_exception(caught.value))
    with pytest.raises(InvalidRequestError, match="frozen"):
        delattr(thing, name)
    with pytest.raises(AttributeError):
        ResponseMeta().status = 500  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_a_constructor_takes_none_for_absent_and_the_wire_keeps_an_explicit_null() -> None:
    """None never travels by accident; what was received with a null is given back with it."""
    built = CachePointBlock(type="default", ttl=None)
    assert built.to_wire() == {"cachePoint": {"type": "default"}}
    assert Message(role="user", content=[built]).to_wire()["content"] == [{"cachePoint": {"type": "default"}}]

    received = CachePointBlock.from_wire({"cachePoint": {"type": "default", "ttl": None}})
    assert received.ttl is None
    assert received.to_wire() == received.to_dict() == {"cachePoint": {"type": "default", "ttl": None}}


def test_members_are_taken_by_field_name_and_given_as_wire_name() -> None:
    """Keywords are snake_case; both dict forms are camelCase, and snake_case in them is a foreign member."""
    usage = TokenUsage(input_tokens=3, cache_read_input_tokens=1)
    assert usage.to_wire() == {"inputTokens": 3, "cacheReadInputTokens": 1}
    foreign = TokenUsage.from_wire({"inputTokens": 3, "input_tokens": 4})
    assert foreign.input_tokens == 3
    assert foreign.to_wire() == {"inputTokens": 3, "input_tokens": 4}


def test_blobs_are_bytes_for_the_user_and_base64_on_the_wire() -> None:
    """Each form has its own spelling of a blob, and both come back to the same block."""
    image = ImageBlock(format="png", source=MediaSource(bytes=PIXEL))
    text = base64.b64encode(PIXEL).decode()
    assert image.to_wire() == {"image": {"format": "png", "source": {"bytes": text}}}
    assert image.to_dict() == {"image": {"format": "png", "source": {"bytes": PIXEL}}}
    assert ImageBlock.from_wire(json.dumps(image.to_wire())) == ImageBlock.from_dict(image.to_dict()) == image
    for buffer in (bytearray(PIXEL), memoryview(PIXEL)):
        assert MediaSource.from_dict({"bytes": buffer}) == MediaSource(bytes=PIXEL)


@pytest.mark.parametrize("text", ["not base64!", "AAA", "AA==AA==", "é"])
def test_a_blob_that_is_no_base64_on_the_wire_is_refused(text: str) -> None:
    """Nothing is skipped over or guessed: the error names the member."""
    with pytest.raises(InvalidRequestError, match=r"bytes: .*base64"):
        MediaSource.from_wire({"bytes": text})


@pytest.mark.parametrize("value", ["aGk=", 5, [1, 2], {}])
def test_a_blob_that_is_no_bytes_in_a_dict_is_refused(value: object) -> None:
    """A str in a dict is not taken for base64 and not encoded: bytes are wanted, and the path says where."""
    with pytest.raises(InvalidRequestError, match=r"image\.source(\.bytes)?: "):
        Message.from_dict({"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": value}}}]})


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (datetime(2026, 8, 1, 12, 30, 5, tzinfo=UTC), "2026-08-01T12:30:05Z"),
        (datetime(2026, 8, 1, 12, 30, 5, 250_000, tzinfo=UTC), "2026-08-01T12:30:05.250000Z"),
        (datetime(2026, 8, 1, 14, 30, 5, tzinfo=timezone(timedelta(hours=2))), "2026-08-01T12:30:05Z"),
    ],
)
def test_timestamps_are_aware_datetimes_for_the_user_and_iso_8601_on_the_wire(value: datetime, wire: str) -> None:
    """The service model's timestampFormat is iso8601; a time without a zone is taken as UTC, never as local."""
    dated = Dated(submit_time=value)
    assert dated.to_wire() == {"submitTime": wire}
    assert json.loads(dated.to_wire_bytes()) == {"submitTime": wire}
    assert dated.to_dict() == {"submitTime": value}
    assert Dated.from_wire({"submitTime": wire}).submit_time == value
    naive = datetime(2026, 8, 1, 12)  # noqa: DTZ001 - the case in question
    assert Dated.from_dict({"submitTime": naive}).submit_time == naive.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("made", "given"),
    [
        (MediaSource, "none"),
        (lambda: MediaSource(bytes=b"x", s3_location=S3Location(uri="s3://b/k")), "bytes, s3Location"),
        (lambda: ToolChoice.from_dict({"auto": {}, "tool": {"name": "x"}}), "auto, tool"),
    ],
)
def test_a_union_built_here_has_exactly_one_member(made: Any, given: str) -> None:  # noqa: ANN401 - a factory
    """None or two members of a union are a mistake of the caller, named before anything is sent."""
    with pytest.raises(InvalidRequestError, match=f"exactly one of .* must be set, not: {given}"):
        made()


@pytest.mark.parametrize("source", [{}, {"bytes": None, "s3Location": None}, {"bytes": "AA==", "s3Location": None}])
def test_a_union_of_the_wire_is_kept_as_it_came(source: dict[str, Any]) -> None:
    """What the service sends is not judged; explicit nulls beside the member that is set survive, both ways."""
    read = MediaSource.from_wire(source)
    assert read.to_wire() == source
    if source.get("bytes"):
        assert MediaSource.from_dict(read.to_dict()) == read


def test_two_kinds_at_once_are_an_error_in_what_we_send_and_unknown_in_what_we_receive() -> None:
    """A block has one kind; a received object with two is kept whole."""
    both = {"text": "x", "cachePoint": {"type": "default"}}
    with pytest.raises(InvalidRequestError, match="text and cachePoint are both set"):
        Message.from_dict({"role": "user", "content": [both]})
    (kept,) = Message.from_wire({"role": "user", "content": [both]}).content
    assert kept == UnknownBlock(raw=both)


def test_a_null_beside_the_tag_does_not_make_another_block_of_it() -> None:
    """A serializer that writes all members of a union sets only the one that is not null."""
    wire: dict[str, Any] = {
        "role": "assistant",
        "content": [
            {"text": "x", "toolUse": None, "image": None},
            {"toolUse": {"toolUseId": "t", "name": "n", "input": {}}, "text": None},
        ],
    }
    message = Message.from_wire(wire)
    assert [type(block) for block in message.content] == [TextBlock, ToolUseBlock]
    assert message.text == "x"
    assert message.to_wire() == wire
    assert Message.from_dict(message.to_dict()) == message


def test_members_beside_the_tag_survive() -> None:
    """A member that a later service puts beside the kind of a block comes through both forms."""
    wire: dict[str, Any] = {
        "toolUse": {"toolUseId": "t", "name": "n", "input": {}, "new": [1]},
        "caller": {"id": 7},
    }
    block = ToolUseBlock.from_wire(wire)
    assert block.to_wire() == block.to_dict() == wire
    assert json.loads(block.to_wire_bytes()) == wire
    assert ToolUseBlock.from_dict(block.to_dict()) == block


def test_an_unknown_block_is_sent_as_it_was_built() -> None:
    """A block newer than this library can be sent today."""
    block = UnknownBlock(raw={"hologram": {"format": "h1", "none": None}})
    message = Message(role="user", content=[block, TextBlock(text="x")])
    assert message.to_wire()["content"] == [{"hologram": {"format": "h1", "none": None}}, {"text": "x"}]
    assert message.content[0] is block


@pytest.mark.parametrize("value", [{"a": [1, None, {"b": "c"}]}, [1, 2], "text", 5, 1.5, True, None, {}, []])
def test_documents_are_any_json(value: object) -> None:
    """Tool inputs, JSON results and schemas are kept as they are, null included."""
    wire = {"json": value}
    for kind in (JsonBlock, ToolInputSchema):
        assert kind.from_wire(wire).to_wire() == kind.from_dict(wire).to_dict() == wire


@pytest.mark.parametrize(
    ("tool_input", "invalid"),
    [({}, False), ({"a": 1}, False), ('{"a": 1', True), ("", True), ([1], True), (None, True)],
)
def test_an_input_that_is_no_object_is_flagged(tool_input: object, invalid: object) -> None:
    """A tool is only ever run with an object; anything else says so."""
    block = ToolUseBlock.from_wire({"toolUse": {"toolUseId": "t", "name": "n", "input": tool_input}})
    assert block.invalid_input is invalid
    assert block.input == tool_input


def test_a_response_without_message_is_empty_but_usable() -> None:
    """Every shortcut works on a response of which nothing is known."""
    response = ConverseResponse()
    assert (response.text, response.reasoning, response.tool_uses, response.stop_reason) == ("", "", [], "")
    assert response.message == Message(role="assistant", content=[])
    assert response.usage.total_tokens == 0
    assert response.metrics.latency_ms is None
    assert response.to_wire() == {}


def test_the_tools_that_the_service_runs_itself_are_not_asked_of_the_caller() -> None:
    """tool_uses leaves out server_tool_use; type "tool_use", which no model file knows, is an ordinary call."""
    ours = ToolUseBlock(tool_use_id="1", name="a", input={}, type="tool_use")
    theirs = ToolUseBlock(tool_use_id="2", name="nova_grounding", input={}, type="server_tool_use")
    message = Message(role="assistant", content=[ours, theirs])
    response = ConverseResponse.from_dict({"output": {"message": message.to_dict()}})
    assert response.tool_uses == [ours]


def test_the_text_of_a_message_is_that_of_text_and_citation_blocks() -> None:
    """Reasoning and tool results are not part of the answer's text."""
    message = Message(
        role="assistant",
        content=[
            ReasoningBlock(reasoning_text=ReasoningText(text="thinking", signature="s")),
            TextBlock(text="A"),
            CitationsBlock(content=[CitedText(text="B"), CitedText(text="C")]),
            ToolResultBlock(tool_use_id="t", content=[TextBlock(text="not this")]),
        ],
    )
    assert message.text == "ABC"
    assert isinstance(message.content[0], ReasoningBlock)
    assert message.content[0].signature == "s"


def test_the_model_id_is_no_part_of_the_body() -> None:
    """It travels in the path: to_wire leaves it out, to_dict is boto3's keyword arguments and has it."""
    request = ConverseRequest.from_wire({"messages": []}, model_id="amazon.nova-lite-v1:0")
    assert request.model_id == "amazon.nova-lite-v1:0"
    assert request.to_wire() == {"messages": []}
    assert request.to_wire_bytes() == b'{"messages":[]}'
    assert request.to_dict() == {"modelId": "amazon.nova-lite-v1:0", "messages": []}
    assert ConverseRequest.from_dict(request.to_dict()) == request


@pytest.mark.parametrize("name", ["temperature", "topP"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_has_not_are_refused(name: str, value: float) -> None:
    """NaN would leave as text that no server can read."""
    with pytest.raises(InvalidRequestError, match="finite"):
        InferenceConfig.from_dict({name: value})


def test_lone_surrogates_in_a_request_leave_as_escapes() -> None:
    """UTF-8 has no bytes for them; JSON's escapes have."""
    request = ConverseRequest.from_dict({"messages": [{"role": "user", "content": [{"text": "a\ud83d"}]}]})
    body = request.to_wire_bytes()
    assert rb"a\ud83d" in body
    assert json.loads(body) == request.to_wire()


@pytest.mark.parametrize("number", [2**63, -(2**70), 10**30])
def test_integers_of_any_size_survive_in_documents(number: int) -> None:
    """A document is not ours to round."""
    tool = ToolUseBlock.from_wire({"toolUse": {"toolUseId": "t", "name": "n", "input": {"n": number}}})
    assert tool.input == {"n": number}
    assert json.loads(tool.to_wire_bytes())["toolUse"]["input"] == {"n": number}


def test_everything_can_be_copied_and_pickled() -> None:
    """Requests and responses, metadata included, cross process borders."""
    meta = ResponseMeta(request_id="r", headers={"x": "y"}, model="m")
    response = ConverseResponse.from_dict({"output": {"message": {"role": "assistant", "content": [{"text": "x"}]}}})
    for thing in (response, response.with_meta(meta), ResponseMeta(), UnknownBlock(raw={"a": 1}), WEATHER):
        assert pickle.loads(pickle.dumps(thing)) == thing  # noqa: S301 - our own
        assert copy.deepcopy(thing) == thing
        assert copy.copy(thing) == thing
    assert pickle.loads(pickle.dumps(response.with_meta(meta))).meta == meta  # noqa: S301 - our own


def test_metadata_stands_beside_the_body() -> None:
    """with_meta gives a response of the same body; the one before is untouched."""
    response = ConverseResponse.from_dict({"stopReason": "end_turn"})
    answered = response.with_meta(ResponseMeta(request_id="r-1", status=200))
    assert answered.meta.request_id == "r-1"
    assert answered.to_wire() == response.to_wire() == {"stopReason": "end_turn"}
    assert response.meta.request_id is None


def test_sequences_of_any_kind_are_taken() -> None:
    """Tuples are as good as lists, typed objects and dicts mix freely."""
    message = Message.from_dict({"role": "user", "content": (TextBlock(text="a"), {"text": "b"})})
    assert message == Message(role="user", content=[TextBlock(text="a"), TextBlock(text="b")])
    tool = ToolSpec(name="n", input_schema=ToolInputSchema(json={"type": "object"}))
    config = ToolConfig(tools=[tool, CachePointBlock(type="default")])
    assert config.to_wire() == {
        "tools": [
            {"toolSpec": {"name": "n", "inputSchema": {"json": {"type": "object"}}}},
            {"cachePoint": {"type": "default"}},
        ]
    }


@pytest.mark.parametrize("kind", [AudioBlock, VideoBlock, ImageBlock])
def test_values_of_tomorrow_are_taken(kind: type[AudioBlock | VideoBlock | ImageBlock]) -> None:
    """A format that no enumeration names goes through: the service decides."""
    block = kind(format="h.267", source=MediaSource(bytes=b"x"))
    assert block.format == "h.267"
    assert kind.from_wire(block.to_wire()) == block


@pytest.mark.parametrize("content", ["hello", {"text": "hello"}, ["hello"], [None], [[]], 5])
def test_content_that_is_no_list_of_blocks_is_refused(content: object) -> None:
    """A text or a single block in the place of the list is a mistake, not a list of letters or of keys."""
    with pytest.raises(InvalidRequestError, match="content"):
        Message.from_dict({"role": "user", "content": content})


SECRET = "CANARY-PROMPT"
WRONG: Any = {SECRET}


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: Message(role="user", content=WRONG), "content"),
        (lambda: TextBlock(text=WRONG), "text"),
        (lambda: Message.from_dict({"role": "user", "content": [{"text": {"more": SECRET}}]}), "content[0].text"),
        (lambda: Message.from_dict(WRONG), None),
        (lambda: Message.from_wire({"role": "user", "content": [SECRET.encode()]}), None),
        (lambda: Message.from_wire(f'{{"role": "{SECRET}"'), None),
        (lambda: ConverseRequest.from_wire({"messages": [{"role": [SECRET]}]}), "messages[0].role"),
        (lambda: ConverseResponse.from_wire({"output": {"message": SECRET}}), "output.message"),
        (lambda: ToolChoice.from_dict({"any": {}, "auto": {SECRET: 1}}), None),
        (lambda: ConverseResponse.from_wire({"trace": {"guardrail": {"inputAssessment": SECRET}}}), "trace.guardrail."),
    ],
)
def test_what_no_object_can_be_made_of_is_an_error_of_the_tree_that_quotes_nothing(
    make: Callable[[], object], path: str | None
) -> None:
    """Constructors, `from_dict` and `from_wire` raise InvalidRequestError with the path.

    Neither it nor its cause, which a traceback shows, repeats what was given.
    """
    with pytest.raises(InvalidRequestError) as caught:
        make()
    error, cause = caught.value, caught.value.__cause__
    assert (error.path or "").startswith(path or "")
    assert (error.path is None) is (path is None)
    assert SECRET not in f"{error} {error!r} {cause} {cause!r}"
    assert isinstance(error, ValueError)


def test_the_error_names_the_class_and_counts_the_faults() -> None:
    """Who makes many objects sees which one it was."""
    with pytest.raises(InvalidRequestError, match=r"^Message: role: Field required \(1 more faults follow\)\."):
        Message.from_dict({})


def test_reading_within_another_model_is_pydantic_s() -> None:
    """In a model of the user's, the fault of an object of ours is one of pydantic's, with the path through both."""
    reader = TypeAdapter(list[Message])
    with pytest.raises(ValidationError) as caught:
        reader.validate_python([{"role": "user", "content": [{"text": 5}]}])
    assert caught.value.errors()[0]["loc"][:2] == (0, "content")
    with pytest.raises(ValidationError) as alone:
        Message.model_validate({"role": SECRET, "content": SECRET})
    assert SECRET not in f"{alone.value} {alone.value!r}"


def test_documents_and_guard_content_keep_their_nested_classes() -> None:
    """Nested members are objects of their own, down to the last."""
    document = DocumentBlock.from_dict(
        {
            "document": {
                "name": "d",
                "format": "pdf",
                "source": {"content": [{"text": "a"}]},
                "citations": {"enabled": True},
            }
        }
    )
    assert document.source.content is not None
    assert document.source.content[0].text == "a"
    assert document.citations is not None
    assert document.citations.enabled is True
    guard = GuardContentBlock.from_dict({"guardContent": {"text": {"text": "x", "qualifiers": ["query"]}}})
    assert guard.text is not None
    assert guard.text.qualifiers == ["query"]


def test_a_response_keeps_what_is_known_of_its_call() -> None:
    """Copies, pickles and changed copies have the same ``meta``; what is equal is the body."""
    bare = ConverseResponse.from_wire(b'{"stopReason":"end_turn"}')
    known = bare.with_meta(ResponseMeta(request_id="r-1"))
    twins = [copy.copy(known), copy.deepcopy(known), pickle.loads(pickle.dumps(known)), known.model_copy()]  # noqa: S301
    assert [twin.meta for twin in twins] == [known.meta] * 4
    assert twins == [bare] * 4
    assert bare.meta == ResponseMeta()
