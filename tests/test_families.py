"""The seam of model families: what a request uses, what a family is held to, the order of events."""

from __future__ import annotations

import json
from typing import Any, Final, get_args

import pytest
from acme import Acme, giving, raising
from hypothesis import given
from hypothesis import strategies as st

from bedrock_async import (
    ConverseRequest,
    InvalidRequestError,
    PluginError,
    ResponseDecodeError,
    StreamTruncatedError,
    ThrottlingError,
)
from bedrock_async.errors import EventDecodeError, service_error
from bedrock_async.events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ContentDelta,
    ContentStart,
    Event,
    MessageStartEvent,
    MessageStopEvent,
    MetadataEvent,
    ToolUseStart,
    UnknownEvent,
    event_from_wire,
)
from bedrock_async.families import (
    FEATURES,
    EventBuilder,
    EventOrder,
    FamilyContext,
    ModelProfile,
    NativeRequest,
    check_output_schema,
    decode_with,
    document_text,
    encode_request,
    features_used,
    find_profile,
    merged_body,
    misplaced_cache_point,
    native_body,
    stop_reason,
    tool_use_input,
    unsupported,
)
from bedrock_async.families._encoding import decode_response, read_chunk
from bedrock_async.families._features import _BLOCKS
from bedrock_async.folding import fold
from bedrock_async.model_id import parse_model_id
from bedrock_async.testing.probes import PROBES
from bedrock_async.types import (
    CacheDetail,
    Citation,
    ContentBlock,
    DocumentBlock,
    ImageBlock,
    MediaSource,
    SystemBlock,
    TextBlock,
    ToolDefinition,
    ToolUseBlock,
)

MODEL: Final = "acme.chat-1"
CTX: Final = FamilyContext(parse_model_id(MODEL))


def request(**members: Any) -> ConverseRequest:  # noqa: ANN401 - any member
    """A question, with more members in boto3's shape."""
    return ConverseRequest.from_dict({"messages": [{"role": "user", "content": [{"text": "Hello?"}]}], **members})


# -- what a request uses


@pytest.mark.parametrize("feature", sorted(FEATURES))
def test_every_feature_is_seen_with_its_place(feature: str) -> None:
    """A request that uses a feature is known to, and where."""
    wire, _ = PROBES[feature]
    assert features_used(ConverseRequest.from_dict(wire))[feature]


def test_a_plain_question_uses_nothing() -> None:
    """Text, and what the service itself takes from headers, is no feature of a native body."""
    plain = request(
        guardrailConfig={"guardrailIdentifier": "g", "guardrailVersion": "1", "trace": "enabled"},
        performanceConfig={"latency": "optimized"},
        serviceTier={"type": "flex"},
        requestMetadata={"team": "a"},
        additionalModelRequestFields={"top_k": 5},
        inferenceConfig={},
    )
    assert features_used(plain) == {}


def test_the_automatic_choice_of_a_tool_is_no_feature() -> None:
    """It is what every model does."""
    tool: dict[str, Any] = {"toolSpec": {"name": "t", "inputSchema": {"json": {}}}}
    assert set(features_used(request(toolConfig={"tools": [tool], "toolChoice": {"auto": {}}}))) == {"tools"}


def test_every_member_of_a_request_has_its_place() -> None:
    """A new member of ConverseRequest is a feature, or one of those that the provider carries: never forgotten."""
    carried = {
        *("model_id", "messages", "system", "guardrail_config", "request_metadata", "performance_config"),
        *("service_tier", "additional_model_request_fields"),
    }
    featured = {
        "inference_config": "max_tokens",
        "tool_config": "tools",
        "prompt_variables": "prompt_variables",
        "additional_model_response_field_paths": "response_field_paths",
        "output_config": "structured_output",
    }
    assert set(ConverseRequest.model_fields) == carried | set(featured)
    assert set(featured.values()) <= set(FEATURES)


def test_every_kind_of_block_is_a_feature() -> None:
    """A new block cannot slip past a family that does not know it."""
    blocks = {kind for union in (ContentBlock, SystemBlock, ToolDefinition) for kind in get_args(get_args(union)[0])}
    assert blocks - {TextBlock} == set(_BLOCKS)
    assert set(_BLOCKS.values()) <= set(FEATURES)


def test_what_stands_in_a_tool_result_is_seen() -> None:
    """Down to the blocks within blocks."""
    document = {"document": {"format": "pdf", "name": "d", "source": {"s3Location": {"uri": "s3://b/k"}}}}
    result = {"toolResult": {"toolUseId": "1", "content": [document]}}
    used = features_used(ConverseRequest.from_dict({"messages": [{"role": "user", "content": [result]}]}))
    assert used["documents"] == "messages[0].content[0].content[0]"
    assert used["s3_sources"] == "messages[0].content[0].content[0].source.s3_location"


TOOL: Final[dict[str, Any]] = {"toolSpec": {"name": "t", "inputSchema": {"json": {}}}}
USE: Final[dict[str, Any]] = {"toolUseId": "1", "name": "t", "input": {}}
RESULT: Final[dict[str, Any]] = {"toolUseId": "1", "content": []}


def turn(**block: Any) -> dict[str, Any]:  # noqa: ANN401 - any block
    """The messages of a request with one block."""
    return {"messages": [{"role": "user", "content": [block]}]}


UNKNOWN: Final[list[tuple[dict[str, Any], str]]] = [
    ({"guardrailConfig": {"guardrailIdentifier": "g", "new": 1}}, "guardrail_config.new"),
    ({"performanceConfig": {"new": 1}}, "performance_config.new"),
    ({"serviceTier": {"type": "flex", "new": 1}}, "service_tier.new"),
    ({"inferenceConfig": {"topK": 5}}, "inference_config.topK"),
    ({"outputConfig": {"verbosity": "low"}}, "output_config.verbosity"),
    (
        {"outputConfig": {"textFormat": {"type": "json_schema", "structure": {"grammar": {}}}}},
        "output_config.text_format.structure.grammar",
    ),
    (
        {"outputConfig": {"textFormat": {"type": "regex", "structure": {"jsonSchema": {"schema": "{}"}}}}},
        "output_config.text_format.type",
    ),
    ({"system": [{"text": "s", "new": 1}]}, "system[0].new"),
    ({"toolConfig": {"tools": [TOOL], "toolChoice": {"none": {}}}}, "tool_config.tool_choice.none"),
    (
        {"toolConfig": {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"xml": ""}}}]}},
        "tool_config.tools[0].input_schema.xml",
    ),
    ({"messages": [{"role": "user", "content": [], "new": 1}]}, "messages[0].new"),
    (turn(document={"name": "d", "source": {"content": [{"html": "x"}]}}), "content[0].source.content[0].html"),
    (
        turn(document={"name": "d", "source": {"text": "x"}, "citations": {"enabled": False, "new": 1}}),
        "content[0].citations.new",
    ),
    (
        turn(searchResult={"source": "s", "title": "t", "content": [{"text": "x", "new": 1}]}),
        "content[0].content[0].new",
    ),
    (turn(reasoningContent={"reasoningText": {"text": "r", "new": 1}}), "content[0].reasoning_text.new"),
    (turn(toolResult={**RESULT, "content": [{"text": "x", "new": 1}]}), "content[0].content[0].new"),
    (turn(toolResult={**RESULT, "status": "pending"}), "content[0].status"),
    (turn(cachePoint={"type": "durable"}), "content[0].type"),
]


@pytest.mark.parametrize(("members", "path"), UNKNOWN)
def test_what_nobody_knows_is_seen_however_deep(members: dict[str, Any], path: str) -> None:
    """A family reads the members that it knows, and would leave out the others without a word."""
    assert features_used(request(**members))["unknown_members"].endswith(path)


def test_what_answers_bring_in_their_citations_is_no_feature() -> None:
    """A cited answer goes back although a family keeps members of its own there."""
    cited = {"citationsContent": {"content": [{"text": "x"}], "citations": [{"title": "t", "encryptedIndex": "abc"}]}}
    assert set(features_used(request(**turn(**cited)))) == {"citations"}


@pytest.mark.parametrize(
    "block",
    [
        {"toolUse": {**USE, "type": "server_tool_use"}},
        {"toolUse": {**USE, "type": "code_use"}},
        {"toolResult": {**RESULT, "type": "nova_code_interpreter_result"}},  # recorded
    ],
)
def test_tools_that_the_service_ran_are_told_by_their_type(block: dict[str, Any]) -> None:
    """Whatever the type is: the caller's own have none, or that of their block."""
    assert "server_tools" in features_used(request(**turn(**block)))


@pytest.mark.parametrize("block", [{"toolUse": {**USE, "type": "tool_use"}}, {"toolUse": USE}, {"toolResult": RESULT}])
def test_tools_of_the_caller_are_tools_and_nothing_more(block: dict[str, Any]) -> None:
    """Converse names the type of some of them."""
    assert set(features_used(request(**turn(**block)))) == {"tools"}


def test_a_role_that_nobody_knows_is_no_turn_of_the_user() -> None:
    """It goes where messages of the role system go, and is refused by prompts that know two speakers."""
    used = features_used(request(messages=[{"role": "critic", "content": [{"text": "Hm."}]}]))
    assert used == {"system_messages": "messages[0]"}


# -- what a family is held to


def test_what_a_family_does_not_support_is_refused_by_name() -> None:
    """Family, feature, place, model, and the provider that can."""
    with pytest.raises(InvalidRequestError) as caught:
        encode_request(Acme(), request(system=[{"text": "Be brief."}]), CTX)
    assert caught.value.path == "system[0]"
    said = str(caught.value)
    for part in ("'acme'", "a system prompt", "system[0]", MODEL, "provider='converse'"):
        assert part in said


@pytest.mark.parametrize("schema", ["{", "[" * 100_000, ""], ids=["cut off", "too deep", "empty"])
def test_a_schema_for_the_answer_that_is_no_json_is_refused(schema: str) -> None:
    """For families and for whoever writes bodies himself, with the place of it; a schema that is JSON passes."""

    def asking(schema: str) -> ConverseRequest:
        return request(
            outputConfig={"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema}}}}
        )

    check_output_schema(request())
    check_output_schema(asking("{}"))
    with pytest.raises(InvalidRequestError, match="is not JSON") as caught:
        check_output_schema(asking(schema))
    assert caught.value.path == "output_config.text_format.structure.json_schema.schema"


def test_a_family_may_refuse_while_it_encodes() -> None:
    """With the same words: what depends on more than the feature."""
    refusal = unsupported("documents of the format xlsx", family="acme", model=MODEL, path="messages[0]")
    family = Acme(encode=raising(refusal))
    with pytest.raises(InvalidRequestError) as caught:
        encode_request(family, request(), CTX)
    assert caught.value is refusal


def test_a_block_in_the_wrong_place_is_named_by_its_type() -> None:
    """With the right article, and with the hint of a family that knows a better one than to call Converse."""
    image = ImageBlock(format="png", source=MediaSource(bytes=b"x"))
    refusal = unsupported(image, family="acme", model=MODEL, path="inputs[0]", hint="Leave that out.")
    assert refusal.message == (
        f"the family 'acme' cannot express an ImageBlock here (inputs[0]) in the native body of {MODEL}."
    )
    assert refusal.hint == "Leave that out."


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"source": {"text": "a"}}, "a"),
        ({"source": {"content": [{"text": "a"}, {"text": "b"}]}}, "a\nb"),
        ({"format": "md", "source": {"bytes": "\u00e4".encode()}}, "\u00e4"),
        ({"format": "pdf", "source": {"bytes": b"%PDF"}}, None),
        ({"format": "txt", "source": {"s3Location": {"uri": "s3://b/k"}}}, None),
    ],
)
def test_the_text_of_a_document(document: dict[str, Any], text: str | None) -> None:
    """Whatever contains it; None where only the service can read it."""
    block = DocumentBlock.from_dict({"document": {"name": "d", **document}})
    assert document_text(block, path="messages[0].content[0]") == text


def test_a_document_that_is_not_utf_8_is_refused() -> None:
    """The error names the place and the byte, not the content."""
    block = DocumentBlock.from_dict({"document": {"name": "d", "format": "txt", "source": {"bytes": b"secret\xff"}}})
    with pytest.raises(InvalidRequestError, match=r"content\[0\] is .* not UTF-8 text \(.* at byte 6\)") as caught:
        document_text(block, path="messages[0].content[0]")
    assert caught.value.path == "messages[0].content[0]"
    assert "secret" not in str(caught.value)


def test_only_an_object_is_the_input_of_a_tool_use() -> None:
    """Input that was cut off is refused with its place."""
    assert tool_use_input(ToolUseBlock(tool_use_id="1", name="add", input={"a": 1}), path="here") == {"a": 1}
    with pytest.raises(InvalidRequestError, match="a tool use whose input is not an object") as caught:
        tool_use_input(ToolUseBlock(tool_use_id="1", name="add", input='{"a": '), path="messages[1].content[0]")
    assert caught.value.path == "messages[1].content[0]"


def test_a_cache_point_before_everything_is_refused_with_its_place() -> None:
    """Native bodies that mark the block before it have none to mark."""
    refusal = misplaced_cache_point(path="system[0]")
    assert refusal.path == "system[0]"
    assert refusal.message == "system[0] is a cache point with nothing before it to be cached."


@pytest.mark.parametrize("method", ["supports", "encode"])
def test_a_family_that_fails_is_named(method: str) -> None:
    """What it raises is the cause of an error that says which family, which class and which method."""
    fault = ZeroDivisionError("division by zero")
    with pytest.raises(PluginError, match=rf"'acme' \(.*Acme\) failed in {method}: ZeroDivisionError") as caught:
        encode_request(Acme(**{method: raising(fault)}), request(), CTX)
    assert caught.value.__cause__ is fault
    assert "provider='converse'" in str(caught.value)


@pytest.mark.parametrize(
    ("method", "value", "says"),
    [
        ("encode", None, "returned a NoneType, not a NativeRequest"),
        ("encode", {"prompt": "Hello?"}, "returned a dict, not a NativeRequest"),
        ("encode", NativeRequest([1]), "returned a NativeRequest, not a NativeRequest with an object"),  # type: ignore[arg-type]
        ("supports", "tools", "returned a str, not a collection"),
        ("supports", None, "returned a NoneType, not a collection"),
    ],
)
def test_a_family_that_gives_the_wrong_type_is_named(method: str, value: object, says: str) -> None:
    """Before anything is sent."""
    family = Acme(**{method: giving(value)})
    with pytest.raises(PluginError, match=rf"'acme'.*{says}"):
        encode_request(family, request(), CTX)


def test_errors_of_our_tree_pass_as_they_are() -> None:
    """A family says what is wrong better than the seam could."""
    refusal = InvalidRequestError("no.", path="messages")
    with pytest.raises(InvalidRequestError) as caught:
        encode_request(Acme(encode=raising(refusal)), request(), CTX)
    assert caught.value is refusal


@pytest.mark.parametrize(
    ("model", "does"),
    [
        ("amazon.titan-image-generator-v2:0", "makes images"),
        ("amazon.titan-embed-text-v2:0", "makes embeddings"),
        ("cohere.rerank-v3-5:0", "ranks documents"),
        ("amazon.nova-reel-v1:0", "makes videos"),
    ],
)
def test_a_model_that_does_not_chat_says_what_it_does(model: str, does: str) -> None:
    """An image model asked to chat is refused here, not by the service."""
    ctx = FamilyContext(parse_model_id(model), find_profile(model))
    with pytest.raises(InvalidRequestError, match=f"{model} {does}; it does not chat"):
        encode_request(Acme(), request(), ctx)


def test_members_of_the_caller_are_merged_over_the_body() -> None:
    """additional_request_fields and extra_body, object into object; the caller's word is the last."""
    asked = ConverseRequest.from_dict(
        {
            **request().to_dict(),
            "inferenceConfig": {"maxTokens": 5},
            "additionalModelRequestFields": {"sampling": {"top_k": 5}, "prompt": "mine", "list": [1]},
            "extra": {"a": 1},
        }
    )
    native = encode_request(Acme(), asked, CTX)
    assert native.body == {
        "prompt": "mine",
        "stream": False,
        "sampling": {"limit": 5, "top_k": 5},
        "list": [1],
        "extra": {"a": 1},
    }


def test_fields_of_the_caller_that_are_no_object_are_refused() -> None:
    """Converse takes any JSON; there is no way to merge it over a body."""
    with pytest.raises(InvalidRequestError, match="additional_model_request_fields is a list") as caught:
        encode_request(Acme(), request(additionalModelRequestFields=[1]), CTX)
    assert caught.value.path == "additional_model_request_fields"


@pytest.mark.parametrize("schema", ["{", "[" * 100_000])
def test_a_schema_that_is_no_json_is_the_callers_fault(schema: str) -> None:
    """Not that of the family that reads it."""
    text_format = {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema}}}
    family = Acme(supports=giving(["structured_output"]))
    with pytest.raises(InvalidRequestError, match="schema for the answer is not JSON"):
        encode_request(family, request(outputConfig={"textFormat": text_format}), CTX)


def test_merging_leaves_both_sides_alone() -> None:
    """A body that a family keeps as a constant stays one."""
    body, more = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merged_body(body, more) == {"a": {"b": 1, "c": 2}}
    assert (body, more) == ({"a": {"b": 1}}, {"a": {"c": 2}})
    assert merged_body(body, None) is body
    assert merged_body(body, [1]) is body


def test_a_body_is_compact_json() -> None:
    """In UTF-8; lone surrogates are escaped, for UTF-8 cannot hold them."""
    assert native_body(Acme(), NativeRequest({"a": "ä", "b": [1, None]})) == '{"a":"ä","b":[1,null]}'.encode()
    assert json.loads(native_body(Acme(), NativeRequest({"a": "\ud83d"}))) == {"a": "\ud83d"}


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes"])
def test_a_body_that_json_cannot_hold_is_refused(value: object) -> None:
    """Naming the family that made it."""
    with pytest.raises(InvalidRequestError, match="'acme' made contains a value that JSON cannot"):
        native_body(Acme(), NativeRequest({"a": value}))


def test_an_answer_that_a_family_cannot_read_keeps_its_bytes() -> None:
    """It was paid for: the error has the body, and says which family failed on it."""
    with pytest.raises(ResponseDecodeError, match=r"'acme'.*cannot read the answer of 5 bytes: KeyError") as caught:
        decode_response(Acme(), {"generation": "x"}, {}, CTX, raw=b"12345")
    assert caught.value.body == b"12345"
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_answer_of_the_wrong_type_is_named() -> None:
    """decode() gives a ConverseResponse or fails."""
    with pytest.raises(PluginError, match=r"decode of the family 'acme'.*returned a dict, not a ConverseResponse"):
        decode_response(Acme(decode=giving({})), {}, {}, CTX, raw=b"{}")


def test_errors_of_our_tree_come_out_of_decoding() -> None:
    """A throttling that a model tells in its body is a ThrottlingError."""
    failure = service_error("ThrottlingException", "slow down")
    with pytest.raises(ThrottlingError):
        decode_response(Acme(decode=raising(failure)), {}, {}, CTX, raw=b"{}")
    with pytest.raises(ThrottlingError):
        read_chunk(Acme(), raising(failure), b"{}")


def test_an_object_that_cannot_be_made_of_an_answer_is_no_refused_request() -> None:
    """The error says that the answer cannot be read, with its bytes: nothing is wrong with what the caller passed."""
    with pytest.raises(ResponseDecodeError, match=r"Citation: title: .*string") as caught:
        decode_response(Acme(decode=lambda *_: Citation.from_wire({"title": 5})), {}, {}, CTX, raw=b"{}")
    assert caught.value.body == b"{}"
    with pytest.raises(EventDecodeError, match=r"text: .*string"):
        read_chunk(Acme(), lambda: [TextBlock.from_wire({"text": 5})], b"{}")


def test_a_chunk_that_a_family_cannot_read_keeps_its_bytes() -> None:
    """The error has the chunk, and says which family failed on it."""
    with pytest.raises(EventDecodeError, match=r"'acme'.*cannot read a chunk of 7 bytes: KeyError") as caught:
        read_chunk(Acme(), raising(KeyError("text")), b'{"a":1}')
    assert caught.value.payload == b'{"a":1}'


@pytest.mark.parametrize("value", [None, "events", {"a": 1}, iter(())])
def test_chunks_become_lists_of_events(value: object) -> None:
    """Anything else names the family."""
    with pytest.raises(PluginError, match=r"stream_decoder of the family 'acme'.*not a list of events"):
        read_chunk(Acme(), lambda: value, b"{}")


# -- building events


def wires(events: list[Event]) -> list[str]:
    """Events as compact text, which is easy to compare."""
    return [json.dumps(event.to_wire(), separators=(",", ":")) for event in events]


def test_content_of_every_kind_makes_the_events_of_a_converse_stream() -> None:
    """Blocks change with the kind of the pieces; starts, stops and indices come by themselves."""
    events = EventBuilder()
    events.reasoning("Hm.", signature="c2ln")
    events.text("Hel")
    events.text("lo.")
    events.tool_use("id-1", "get_weather")
    events.tool_input("")
    events.tool_input('{"city":"Paris"}')
    events.tool_use("id-2", "get_time")
    events.stop("tool_use")
    events.usage(input_tokens=12)
    events.usage(output_tokens=7, cache_read_input_tokens=3)
    assert wires(events.finish()) == [
        '{"messageStart":{"role":"assistant"}}',
        '{"contentBlockDelta":{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"Hm."}}}}',
        '{"contentBlockDelta":{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"c2ln"}}}}',
        '{"contentBlockStop":{"contentBlockIndex":0}}',
        '{"contentBlockDelta":{"contentBlockIndex":1,"delta":{"text":"Hel"}}}',
        '{"contentBlockDelta":{"contentBlockIndex":1,"delta":{"text":"lo."}}}',
        '{"contentBlockStop":{"contentBlockIndex":1}}',
        '{"contentBlockStart":{"contentBlockIndex":2,"start":{"toolUse":{"toolUseId":"id-1","name":"get_weather"}}}}',
        '{"contentBlockDelta":{"contentBlockIndex":2,"delta":{"toolUse":{"input":""}}}}',
        '{"contentBlockDelta":{"contentBlockIndex":2,"delta":{"toolUse":{"input":"{\\"city\\":\\"Paris\\"}"}}}}',
        '{"contentBlockStop":{"contentBlockIndex":2}}',
        '{"contentBlockStart":{"contentBlockIndex":3,"start":{"toolUse":{"toolUseId":"id-2","name":"get_time"}}}}',
        '{"contentBlockStop":{"contentBlockIndex":3}}',
        '{"messageStop":{"stopReason":"tool_use"}}',
        '{"metadata":{"usage":{"inputTokens":12,"outputTokens":7,"totalTokens":22,"cacheReadInputTokens":3}}}',
    ]


def test_events_are_taken_as_they_come() -> None:
    """take gives what is new; the last ones come with finish."""
    events = EventBuilder()
    assert events.take() == []
    events.text("a")
    assert [event.type for event in events.take()] == ["message_start", "content_block_delta"]
    events.text("b")
    assert [event.text for event in events.take()] == ["b"]
    events.stop("end_turn")
    assert [event.type for event in events.finish()] == ["content_block_stop", "message_stop"]


def test_an_answer_without_a_stop_reason_is_truncated() -> None:
    """A stream that breaks off is never taken for a whole answer."""
    events = EventBuilder()
    events.text("a")
    with pytest.raises(StreamTruncatedError, match="without a stop reason"):
        events.finish()


def test_a_whole_answer_may_leave_its_stop_reason_out() -> None:
    """Its body has ended: there is nothing that could still come."""
    response = decode_with(lambda body, events: events.text(body["text"]), {"text": "Hi."})
    assert (response.text, response.stop_reason) == ("Hi.", "")


def test_an_answer_without_content_is_an_answer() -> None:
    """Empty text begins no block."""
    events = EventBuilder()
    events.text("")
    events.text(None)
    events.stop("end_turn")
    assert [event.type for event in events.finish()] == ["message_start", "message_stop"]


def test_redacted_reasoning_citations_and_foreign_blocks_fold() -> None:
    """What Converse knows is typed; what it has no name for is an UnknownBlock."""
    events = EventBuilder()
    events.reasoning(redacted=b"secret")
    events.end_block()
    events.text("cited")
    events.citation(Citation(title="t"))
    events.other("web_search_call", {"query": "q"})
    events.whole_tool_use("1", "tool", {"a": 1})
    events.stop("end_turn")
    events.usage(cache_write_input_tokens=5, cache_details=[CacheDetail(ttl="1h", input_tokens=5)])
    response = events.response()
    assert response.to_dict()["output"]["message"]["content"] == [
        {"reasoningContent": {"redactedContent": b"secret"}},
        {"citationsContent": {"content": [{"text": "cited"}], "citations": [{"title": "t"}]}},
        {"web_search_call": {"query": "q"}},
        {"toolUse": {"toolUseId": "1", "name": "tool", "input": {"a": 1}}},
    ]
    assert response.usage.total_tokens == 5
    assert response.usage.cache_details == [CacheDetail(ttl="1h", input_tokens=5)]


def test_tool_input_needs_a_tool_use() -> None:
    """A family that mixes its pieces up is told so."""
    events = EventBuilder()
    events.text("a")
    with pytest.raises(PluginError, match="before a tool use"):
        events.tool_input("{}")


ACTS: Final = st.one_of(
    st.text(max_size=3).map(lambda piece: ("text", piece)),
    st.text(max_size=3).map(lambda piece: ("reasoning", piece)),
    st.just(("tool_use", "")),
    st.just(("end_block", "")),
    st.just(("other", "")),
)


@given(st.lists(ACTS, max_size=20), st.booleans())
def test_a_builder_never_leaves_the_order(acts: list[tuple[str, str]], takes: bool) -> None:  # noqa: FBT001 - drawn
    """Whatever is added, and whenever events are taken: the order holds, and no text is lost."""
    events, taken = EventBuilder(), list[Event]()
    for act, piece in acts:
        match act:
            case "tool_use":
                events.whole_tool_use("id", "name", {})
            case "end_block":
                events.end_block()
            case "other":
                events.other("foreign", {"a": 1})
            case _:
                getattr(events, act)(piece)
        if takes:
            taken += events.take()
    events.stop("end_turn")
    taken += events.finish()
    order = EventOrder("acme")
    assert order.check(taken) == taken
    assert order.stopped
    response = fold(taken)
    assert response.text == "".join(piece for act, piece in acts if act == "text")
    assert response.reasoning == "".join(piece for act, piece in acts if act == "reasoning")
    assert len(response.tool_uses) == sum(act == "tool_use" for act, _ in acts)


# -- the order of events

START: Final = MessageStartEvent(role="assistant")
STOP: Final = MessageStopEvent(stop_reason="end_turn")
METADATA: Final = MetadataEvent()


def text(index: int | None, piece: str = "a") -> ContentBlockDeltaEvent:
    """A piece of text."""
    return ContentBlockDeltaEvent(content_block_index=index, delta=ContentDelta(text=piece))


def begin(index: int) -> ContentBlockStartEvent:
    """The beginning of a tool use."""
    return ContentBlockStartEvent(content_block_index=index, start=ContentStart(tool_use=ToolUseStart(name="t")))


def end(index: int) -> ContentBlockStopEvent:
    """The end of a block."""
    return ContentBlockStopEvent(content_block_index=index)


@pytest.mark.parametrize(
    "events",
    [
        [START, text(0), text(0), end(0), STOP, METADATA],
        [START, begin(0), end(0), text(1), end(1), STOP, METADATA],
        [START, end(0), text(1), end(1), STOP],
        [START, text(2), end(2), begin(5), end(5), STOP, METADATA],
        [UnknownEvent(name="new"), START, UnknownEvent(name="new"), STOP, METADATA, UnknownEvent(name="new")],
        [START, STOP],
    ],
)
def test_streams_in_order_pass(events: list[Event]) -> None:
    """Blocks one after the other; indices may leave gaps; a stranger may come at any time."""
    order = EventOrder("acme")
    assert [checked for event in events for checked in order.check([event])] == events
    assert order.stopped


DISORDER: Final[list[tuple[list[Any], str]]] = [
    ([text(0)], "content stands between messageStart and messageStop"),
    ([begin(0)], "content stands between"),
    ([end(0)], "content stands between"),
    ([STOP], "it comes once, after messageStart"),
    ([METADATA], "it comes once, after messageStop"),
    ([START, START], "the message has started already"),
    ([START, text(0), text(1)], "block 1 begins before block 0 has ended"),
    ([START, begin(0), begin(0)], "block 0 begins before block 0 has ended"),
    ([START, text(0), end(1)], "the open block is 0, not 1"),
    ([START, text(0), end(0), text(0)], "block 0 has ended already"),
    ([START, text(1), end(1), begin(0)], "block 0 has ended already"),
    ([START, text(None)], "it has no contentBlockIndex"),
    ([START, text(0), STOP], "block 0 has not ended"),
    ([START, STOP, STOP], "it comes once"),
    ([START, STOP, text(0)], "content stands between"),
    ([START, METADATA], "it comes once, after messageStop"),
    ([START, STOP, METADATA, METADATA], "it comes once, after messageStop"),
    ([START, "text"], "returned a str instead of an event"),
    ([START, {"contentBlockDelta": {}}], "returned a dict instead of an event"),
    ([START, None], "returned a NoneType instead of an event"),
]


@pytest.mark.parametrize(("events", "says"), DISORDER)
def test_streams_out_of_order_name_the_family(events: list[object], says: str) -> None:
    """The first event that is out of order is refused, with what is wrong about it."""
    with pytest.raises(PluginError, match=rf"'acme'.*{says}"):
        EventOrder("acme").check(events)


def test_events_that_other_families_pass_on_are_checked_too() -> None:
    """Events read from the wire are the same to the check as those made by hand."""
    wire: list[Any] = [{"messageStart": {"role": "assistant"}}, {"messageStop": {"stopReason": "end_turn"}}]
    order = EventOrder("acme")
    order.check([event_from_wire(each) for each in wire])
    assert order.stopped


# -- words for stop reasons


@pytest.mark.parametrize(
    ("native", "converse"),
    [
        ("stop", "end_turn"),
        ("FINISH", "end_turn"),
        ("COMPLETE", "end_turn"),
        ("length", "max_tokens"),
        ("MAX_TOKENS", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("content_filter", "content_filtered"),
        ("refusal", "content_filtered"),
        ("stop_sequence", "stop_sequence"),
        ("reason_of_tomorrow", "reason_of_tomorrow"),
        (None, None),
        ("", None),
        (7, None),
    ],
)
def test_stop_reasons_are_converses(native: object, converse: str | None) -> None:
    """Case does not matter, and an unknown word is passed on."""
    assert stop_reason(native) == converse


def test_a_family_may_have_words_of_its_own() -> None:
    """They come before the common ones."""
    assert stop_reason("STOP", stop="stop_sequence") == "stop_sequence"
    assert stop_reason("criteria_met", criteria_met="end_turn") == "end_turn"


def test_what_a_family_is_told_of_the_model() -> None:
    """The id without geography, and nothing where the id does not tell."""
    assert FamilyContext(parse_model_id("us.acme.chat-1")).base_model == "acme.chat-1"
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2"
    assert FamilyContext(parse_model_id(arn)).base_model == ""
    assert FamilyContext(parse_model_id(MODEL)).profile.source
    assert isinstance(CTX.profile, ModelProfile)
