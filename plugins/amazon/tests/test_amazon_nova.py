"""Nova's words: what requests become, and what answers say, beyond what was recorded natively."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest
from bedrock_async_amazon import AmazonFamily
from corpus import exchanges

from bedrock_async import ConverseRequest, ConverseResponse, InvalidRequestError, ToolUseBlock
from bedrock_async.families import FamilyContext, encode_request, find_profile
from bedrock_async.folding import fold
from bedrock_async.model_id import parse_model_id

NOVA: Final = "amazon.nova-pro-v1:0"
NOVA_2: Final = "us.amazon.nova-2-lite-v1:0"
TOOL: Final = {"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}}


def context(model: str = NOVA) -> FamilyContext:
    """Return the context of a call."""
    parsed = parse_model_id(model)
    return FamilyContext(parsed, find_profile(parsed.base_model, also=[AmazonFamily.profiles]))


def encoded(wire: Mapping[str, Any], model: str = NOVA) -> Any:  # noqa: ANN401 - JSON
    """The native body of a Converse request in boto3's shape."""
    return dict(encode_request(AmazonFamily(), ConverseRequest.from_dict(wire), context(model)).body)


def blocks(*content: Mapping[str, Any], role: str = "user", model: str = NOVA) -> Any:  # noqa: ANN401 - JSON
    """The native blocks of one message."""
    return encoded({"messages": [{"role": role, "content": content}]}, model)["messages"][0]["content"]


def decoded(*content: Mapping[str, Any], **members: Any) -> ConverseResponse:  # noqa: ANN401 - any member
    """The response of a native answer of Nova 2."""
    body: dict[str, Any] = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn"}
    return AmazonFamily().decode({**body, **members}, {}, context(NOVA_2))


def streamed(*chunks: Mapping[str, Any]) -> ConverseResponse:
    """The response that a stream with these events for content folds into."""
    decoder = AmazonFamily().stream_decoder(context(NOVA_2))
    end = ({"messageStop": {"stopReason": "end_turn"}}, {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 2}}})
    every = ({"messageStart": {"role": "assistant"}}, *chunks, *end)
    events = [event for chunk in every for event in decoder.receive(chunk)]
    return fold([*events, *decoder.eof()])


# -- requests


def test_the_first_generation_is_told_the_version_of_its_schema() -> None:
    """The documented request of Nova 2 has no such member."""
    question = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
    assert encoded(question)["schemaVersion"] == "messages-v1"
    assert encoded(question, "amazon.nova-premier-v1:0")["schemaVersion"] == "messages-v1"
    assert encoded(question, NOVA_2) == question


def test_media_stand_as_in_converse() -> None:
    """Bytes become base64; a place in S3 keeps its owner."""
    place = {"s3Location": {"uri": "s3://bucket/clip", "bucketOwner": "123456789012"}}
    image = {"image": {"format": "webp", "source": {"bytes": b"x"}}}
    video = {"video": {"format": "three_gp", "source": place}}
    assert blocks(image, video) == [{"image": {"format": "webp", "source": {"bytes": "eA=="}}}, video]


def test_audio_goes_to_the_second_generation_only() -> None:
    """The first generation's body cannot express it."""
    audio = {"audio": {"format": "mp3", "source": {"bytes": b"x"}}}
    assert blocks(audio, model="amazon.nova-2-omni-v1:0") == [{"audio": {"format": "mp3", "source": {"bytes": "eA=="}}}]
    with pytest.raises(InvalidRequestError, match="'amazon' cannot express audio clips"):
        blocks(audio)


@pytest.mark.parametrize("model", [NOVA, NOVA_2])
@pytest.mark.parametrize(
    ("block", "feature"),
    [
        ({"document": {"format": "pdf", "name": "d", "source": {"bytes": b"x"}}}, "documents"),
        ({"guardContent": {"text": {"text": "g"}}}, "content marked for the guardrail"),
        ({"searchResult": {"source": "s", "title": "t", "content": [{"text": "c"}]}}, "search results"),
    ],
)
def test_what_only_converse_takes_is_refused(model: str, block: dict[str, Any], feature: str) -> None:
    """The error names the feature, the place, and the provider that supports it."""
    with pytest.raises(InvalidRequestError, match=f"'amazon' cannot express {feature}") as caught:
        blocks({"text": "See:"}, block, model=model)
    assert caught.value.path == "messages[0].content[1]"
    assert "provider='converse'" in str(caught.value)


def test_a_document_in_the_result_of_a_tool_is_refused_too() -> None:
    """The error names the place in the result."""
    document = {"document": {"format": "txt", "name": "d", "source": {"bytes": b"x"}}}
    with pytest.raises(InvalidRequestError, match="documents") as caught:
        blocks({"toolResult": {"toolUseId": "1", "content": [document]}})
    assert caught.value.path == "messages[0].content[0].content[0]"


def test_tool_uses_and_their_results_stand_as_in_converse() -> None:
    """Without the type that Converse adds; with the status of a result, its text, JSON and images."""
    use = {"toolUseId": "1", "name": "t", "input": {"a": [1]}}
    assert blocks({"toolUse": {**use, "type": "tool_use"}}, role="assistant") == [{"toolUse": use}]
    result = {
        "toolResult": {
            "toolUseId": "1",
            "content": [{"text": "a"}, {"json": {"b": "ä"}}],
            "status": "error",
        }
    }
    assert blocks(result) == [result]


def test_a_tool_use_that_was_cut_off_is_refused() -> None:
    """Its input is not an object; the model would be shown something that it never said."""
    with pytest.raises(InvalidRequestError, match="cut off or malformed"):
        blocks({"toolUse": {"toolUseId": "1", "name": "t", "input": '{"a":'}}, role="assistant")


@pytest.mark.parametrize("choice", [{"auto": {}}, {"any": {}}, {"tool": {"name": "t"}}])
def test_the_choice_of_a_tool_stands_as_in_converse(choice: dict[str, Any]) -> None:
    """All three forms."""
    body = encoded({"messages": [], "toolConfig": {"tools": [TOOL], "toolChoice": choice}})
    assert body["toolConfig"] == {"tools": [TOOL], "toolChoice": choice}


def test_strict_tools_are_refused_and_others_say_nothing_of_it() -> None:
    """False is what Nova does anyway, and is left out."""
    spec = TOOL["toolSpec"]
    tools = [{"toolSpec": {**spec, "strict": False}}]
    assert encoded({"messages": [], "toolConfig": {"tools": tools}})["toolConfig"] == {"tools": [TOOL]}
    with pytest.raises(InvalidRequestError, match="strict tools"):
        encoded({"messages": [], "toolConfig": {"tools": [{"toolSpec": {**spec, "strict": True}}]}})


def test_cache_points_mark_the_block_before_them() -> None:
    """In system prompt and messages, whatever the block is."""
    point = {"cachePoint": {"type": "default"}}
    image = {"image": {"format": "png", "source": {"bytes": b"x"}}}
    body = encoded({"system": [{"text": "s"}, point], "messages": [{"role": "user", "content": [image, point]}]})
    assert body["system"] == [{"text": "s", **point}]
    assert body["messages"][0]["content"] == [{"image": {"format": "png", "source": {"bytes": "eA=="}}, **point}]


@pytest.mark.parametrize(
    ("wire", "path"),
    [
        (
            {"messages": [{"role": "user", "content": [{"cachePoint": {"type": "default"}}, {"text": "late"}]}]},
            "messages[0].content[0]",
        ),
        (
            {"messages": [], "toolConfig": {"tools": [TOOL, {"cachePoint": {"type": "default"}}]}},
            "tool_config.tools[1]",
        ),
    ],
)
def test_a_cache_point_where_none_can_stand_is_refused(wire: dict[str, Any], path: str) -> None:
    """At the beginning, and among the tools, which Nova does not cache."""
    with pytest.raises(InvalidRequestError, match="cache point") as caught:
        encoded(wire)
    assert caught.value.path == path


def test_settings_of_the_callers_own_stand_beside_the_common_ones() -> None:
    """topK as Converse's additional field, and reasoning with its budget's name."""
    fields = {
        "inferenceConfig": {"topK": 20},
        "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"},
    }
    wire: dict[str, Any] = {"messages": [], "inferenceConfig": {"topP": 0.9}, "additionalModelRequestFields": fields}
    body = encoded(wire, NOVA_2)
    assert body["inferenceConfig"] == {"topP": 0.9, "topK": 20}
    assert body["reasoningConfig"] == fields["reasoningConfig"]


def test_effort_goes_to_models_that_reason() -> None:
    """The others refuse it."""
    wire: dict[str, Any] = {"messages": [], "outputConfig": {"effort": "medium"}}
    assert encoded(wire, NOVA_2)["reasoningConfig"] == {"type": "enabled", "maxReasoningEffort": "medium"}
    with pytest.raises(InvalidRequestError, match="an effort level"):
        encoded(wire)


@pytest.mark.parametrize("model", [NOVA, NOVA_2])
def test_settings_of_the_output_that_nobody_knows_are_refused(model: str) -> None:
    """Effort has another name in the native body, and so may members beside it."""
    with pytest.raises(InvalidRequestError, match="members or values that this version does not know") as caught:
        encoded({"messages": [], "outputConfig": {"verbosity": "low"}}, model)
    assert caught.value.path == "output_config.verbosity"


def test_tools_of_the_service_and_what_they_found_go_back() -> None:
    """As Converse was recorded to take them back, with their types."""
    (exchange,) = (
        each
        for each in exchanges("converse", 200)
        if "server_tool_use" in each.features and "tool_use_history" in each.features
    )
    native = encode_request(AmazonFamily(), ConverseRequest.from_wire(exchange.request_body), context(NOVA_2)).body
    assert native["messages"] == exchange.request_json["messages"]
    assert native["toolConfig"] == exchange.request_json["toolConfig"]
    kinds = {each[name].get("type") for each in native["messages"][1]["content"] for name in each}
    assert kinds == {"server_tool_use", "nova_code_interpreter_result", None}


# -- answers


@pytest.mark.parametrize(
    "reason",
    ["end_turn", "tool_use", "max_tokens", "stop_sequence", "content_filtered", "malformed_tool_use", "of_tomorrow"],
)
def test_stop_reasons_are_converses(reason: str) -> None:
    """The names are the same; an unknown one is passed on."""
    assert decoded({"text": "a"}, stopReason=reason).stop_reason == reason


def test_usage_has_converses_names_beside_novas() -> None:
    """And the total counts what was cached."""
    native = {"inputTokens": 6, "outputTokens": 3, "cacheReadInputTokenCount": 10, "cacheWriteInputTokenCount": 0}
    wire = decoded({"text": "a"}, usage={**native, "totalTokens": 9}).usage.to_wire()
    assert wire == {**native, "cacheReadInputTokens": 10, "cacheWriteInputTokens": 0, "totalTokens": 19}


def test_counts_that_are_null_were_not_told() -> None:
    """They are neither an error nor zero."""
    usage = decoded({"text": "a"}, usage={"inputTokens": 6, "outputTokens": None}).usage
    assert usage.input_tokens == 6
    assert "output_tokens" not in usage.model_fields_set


def test_an_answer_that_is_not_as_documented_is_not_quoted() -> None:
    """The error says where it is wrong, not what the model said."""
    with pytest.raises(ValueError, match=r"toolUse\.toolUseId: Field required") as caught:
        decoded({"toolUse": {"name": "secret"}})
    assert "secret" not in str(caught.value)


def test_reasoning_is_apart_from_text() -> None:
    """Whole and streamed alike."""
    whole = decoded({"reasoningContent": {"reasoningText": {"text": "[REDACTED]"}}}, {"text": "Done."})
    stream = streamed(
        {"contentBlockDelta": {"delta": {"reasoningContent": {"text": "[REDACTED]"}}, "contentBlockIndex": 0}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"contentBlockDelta": {"delta": {"text": "Done."}, "contentBlockIndex": 1}},
        {"contentBlockStop": {"contentBlockIndex": 1}},
    )
    assert whole.message.to_wire() == stream.message.to_wire()
    assert (whole.reasoning, whole.text) == ("[REDACTED]", "Done.")


def test_tools_that_the_service_ran_keep_their_type() -> None:
    """So nobody takes them for tools to run; the stream is Nova's, in the form that Converse was recorded to send."""
    (exchange,) = (
        each
        for each in exchanges("converse-stream", 200)
        if "server_tool_use" in each.features and each.eventstream is not None
    )
    assert exchange.eventstream is not None
    content = [
        {event["headers"][":event-type"]: {name: value for name, value in event["payload"].items() if name != "p"}}
        for event in exchange.eventstream["events"]
    ]
    response = streamed(*(event for event in content if next(iter(event)).startswith("contentBlock")))
    first, second, *_ = response.message.content
    assert isinstance(first, ToolUseBlock)
    assert first.type == "server_tool_use"
    assert type(second).__name__ == "ToolResultBlock"
    assert [use.name for use in response.tool_uses] == ["final_result"]


def test_citations_belong_to_the_text_around_them() -> None:
    """A block of text with its sources, as web grounding gives it."""
    citation = {"location": {"web": {"url": "https://a.example", "domain": "a.example"}}}
    response = streamed(
        {"contentBlockDelta": {"delta": {"text": "So it is."}, "contentBlockIndex": 0}},
        {"contentBlockDelta": {"delta": {"citation": citation}, "contentBlockIndex": 0}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
    )
    (block,) = response.message.content
    assert "https://a.example" in json.dumps(block.to_wire())
    assert response.text == "So it is."


def test_whole_answers_of_tools_that_the_service_ran_are_read() -> None:
    """As Converse was recorded to give them: only the caller's own tool is to be run."""
    exchange = next(each for each in exchanges("converse", 200) if "server_tool_use" in each.features)
    native = {name: value for name, value in exchange.response_json.items() if name != "metrics"}
    response = AmazonFamily().decode(native, {}, context(NOVA_2))
    assert response.message.to_wire() == ConverseResponse.from_wire(exchange.response_body).message.to_wire()
    assert [use.name for use in response.tool_uses] == ["final_result"]
