"""The chat form: OpenAI's chat completions as a native body, as data describes each vendor's use of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import pieces

from bedrock_async import ConverseRequest, InvalidRequestError
from bedrock_async.families import EventBuilder, FamilyContext, ModelFamily, encode_request
from bedrock_async.families.chat_form import (
    CHAT_FEATURES,
    ChatForm,
    ChatFormFamily,
    TagSplitter,
    read_content,
    write_chat,
)
from bedrock_async.folding import fold
from bedrock_async.model_id import parse_model_id
from bedrock_async.testing import FamilyContract, FamilySample
from bedrock_async.types import Message

PLAIN: Final = ChatForm(name="acme", models=("acme.*",))
VENDOR: Final = ChatForm(
    name="acme",
    models=("acme.*",),
    features=CHAT_FEATURES | {"images"},
    max_tokens_field="max_completion_tokens",
    system_role="developer",
    any_tool="any",
    content_parts=False,
    reasoning_field="reasoning_content",
)
CTX: Final = FamilyContext(parse_model_id("acme.chat-1"))


def messages(*content: Sequence[Mapping[str, Any]], form: ChatForm = PLAIN) -> Any:  # noqa: ANN401 - JSON
    """The native messages of turns, the user's first."""
    turns = [{"role": "assistant" if index % 2 else "user", "content": each} for index, each in enumerate(content)]
    return write_chat(ConverseRequest.from_dict({"messages": turns}), form)["messages"]


class TestPlainForm(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (
        FamilySample(
            model="acme.chat-1",
            native_request={"messages": [{"role": "user", "content": "A plain question?"}]},
            native_response={
                "choices": [{"message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 2},
            },
            chunks=(
                {"choices": [{"index": 0, "delta": {"content": "Hel"}}]},
                {"choices": [{"index": 0, "delta": {"content": "lo."}, "finish_reason": "stop"}]},
                {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
            ),
            text="Hello.",
            stop_reason="end_turn",
            input_tokens=3,
            output_tokens=2,
        ),
    )

    def family(self) -> ModelFamily:
        """A form with nothing special."""
        return ChatFormFamily(PLAIN)


class TestVendorForm(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (
        FamilySample(
            model="acme.chat-1",
            request={
                "system": [{"text": "Be brief."}],
                "messages": [{"role": "user", "content": [{"text": "One."}, {"text": "Two."}]}],
                "inferenceConfig": {"maxTokens": 7},
            },
            native_request={
                "messages": [
                    {"role": "developer", "content": "Be brief."},
                    {"role": "user", "content": "One.\nTwo."},
                ],
                "max_completion_tokens": 7,
            },
            native_response={
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": "Hello.", "reasoning_content": "Hm."},
                        "finish_reason": "length",
                    }
                ]
            },
            headers={"x-amzn-bedrock-input-token-count": "3", "x-amzn-bedrock-output-token-count": "2"},
            chunks=(
                {"choices": [{"index": 0, "delta": {"role": "assistant", "reasoning_content": "Hm."}}]},
                {"choices": [{"index": 0, "delta": {"content": "Hello."}, "finish_reason": None}]},
                {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
                {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 3, "outputTokenCount": 2}},
            ),
            text="Hello.",
            reasoning="Hm.",
            stop_reason="max_tokens",
            input_tokens=3,
            output_tokens=2,
        ),
    )

    def family(self) -> ModelFamily:
        """A form with words of its own."""
        return ChatFormFamily(VENDOR)


# -- writing


def test_results_of_tools_are_messages_of_their_own() -> None:
    """In their place among the other content; JSON as text, and an error says that it is one."""
    results: list[dict[str, Any]] = [
        {"toolResult": {"toolUseId": "1", "content": [{"json": {"a": "ä"}}, {"text": "and"}]}},
        {"toolResult": {"toolUseId": "2", "content": [{"text": "no such city"}], "status": "error"}},
        {"toolResult": {"toolUseId": "3", "content": [{"text": "Error 5"}], "status": "error"}},
        {"toolResult": {"toolUseId": "4", "content": []}},
    ]
    assert messages([{"text": "first"}, *results, {"text": "last"}]) == [
        {"role": "user", "content": "first"},
        {"role": "tool", "tool_call_id": "1", "content": '{"a": "ä"}\nand'},
        {"role": "tool", "tool_call_id": "2", "content": "Error: no such city"},
        {"role": "tool", "tool_call_id": "3", "content": "Error 5"},
        {"role": "tool", "tool_call_id": "4", "content": ""},
        {"role": "user", "content": "last"},
    ]


def test_tool_uses_are_calls() -> None:
    """Beside the text, or in its place; input that was cut off goes as the text that it is."""
    whole = {"toolUse": {"toolUseId": "1", "name": "add", "input": {"a": 2}}}
    cut = {"toolUse": {"toolUseId": "2", "name": "add", "input": '{"a": '}}
    (_, answer) = messages([{"text": "?"}], [whole, cut])
    assert answer["content"] is None
    assert [call["function"]["arguments"] for call in answer["tool_calls"]] == ['{"a": 2}', '{"a": ']
    (_, spoken) = messages([{"text": "?"}], [{"text": "So:"}, whole])
    assert spoken["content"] == "So:"


def test_images_are_parts() -> None:
    """As data addresses, beside the text."""
    image = {"image": {"format": "webp", "source": {"bytes": b"RIFF"}}}
    (question,) = messages([{"text": "What is this?"}, image])
    address = "data:image/webp;base64," + base64.b64encode(b"RIFF").decode()
    assert question["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": address}},
    ]


@pytest.mark.parametrize(
    "content",
    [
        [{"toolResult": {"toolUseId": "1", "content": [{"image": {"format": "png", "source": {"bytes": b"x"}}}]}}],
        [{"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/k"}}}}],
        [{"video": {"format": "mp4", "source": {"bytes": b"x"}}}],
    ],
)
def test_what_the_form_has_no_place_for_is_refused(content: list[dict[str, Any]]) -> None:
    """Even where the features did not tell: naming the family and the place."""
    with pytest.raises(InvalidRequestError, match="'acme' cannot express") as caught:
        messages(content)
    assert caught.value.path
    assert caught.value.path.startswith("messages[0]")


def test_redacted_reasoning_is_refused() -> None:
    """Only the service that redacted it can read it."""
    with pytest.raises(InvalidRequestError, match="cannot express a ReasoningBlock here"):
        messages([{"text": "?"}], [{"reasoningContent": {"redactedContent": b"x"}}], form=VENDOR)


def test_reasoning_goes_back_the_way_it_came() -> None:
    """In its field, or in its tags; a form that has neither does not take it."""
    thought: list[dict[str, Any]] = [{"reasoningContent": {"reasoningText": {"text": "Hm."}}}, {"text": "Yes."}]
    (_, field) = messages([{"text": "?"}], thought, form=VENDOR)
    assert field == {"role": "assistant", "reasoning_content": "Hm.", "content": "Yes."}
    tagged = ChatForm(name="acme", models=("acme.*",), reasoning_tags=("<think>", "</think>"))
    (_, tags) = messages([{"text": "?"}], thought, form=tagged)
    assert tags == {"role": "assistant", "content": "<think>Hm.</think>Yes."}
    answer = Message.from_dict({"role": "assistant", "content": thought})
    with pytest.raises(InvalidRequestError, match="'acme' cannot express reasoning in the history"):
        encode_request(ChatFormFamily(PLAIN), ConverseRequest(messages=[answer]), CTX)


@pytest.mark.parametrize(
    ("choice", "form", "native"),
    [
        ({"auto": {}}, PLAIN, "auto"),
        ({"any": {}}, PLAIN, "required"),
        ({"any": {}}, VENDOR, "any"),
        ({"tool": {"name": "add"}}, PLAIN, {"type": "function", "function": {"name": "add"}}),
    ],
)
def test_the_choice_of_a_tool_has_the_vendors_words(choice: dict[str, Any], form: ChatForm, native: object) -> None:
    """All its forms."""
    tool = {"toolSpec": {"name": "add", "inputSchema": {"json": {"type": "object"}}, "strict": True}}
    body = write_chat(
        ConverseRequest.from_dict({"messages": [], "toolConfig": {"tools": [tool], "toolChoice": choice}}), form
    )
    assert body["tool_choice"] == native
    function = {"name": "add", "parameters": {"type": "object"}, "strict": True}
    assert body["tools"] == [{"type": "function", "function": function}]


def test_a_schema_for_the_answer_is_a_response_format() -> None:
    """With its name, and the level of effort beside it."""
    schema = {"name": "city", "description": "A city.", "schema": '{"type":"object"}'}
    request = ConverseRequest.from_dict(
        {
            "messages": [],
            "outputConfig": {
                "effort": "low",
                "textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}},
            },
        }
    )
    body = write_chat(request, PLAIN)
    described = {"name": "city", "description": "A city.", "schema": {"type": "object"}}
    assert body["response_format"] == {"type": "json_schema", "json_schema": described}
    assert body["reasoning_effort"] == "low"


def test_messages_of_the_role_system_stay_where_they_are() -> None:
    """Under the vendor's name for the role."""
    turns = [{"role": "user", "content": [{"text": "?"}]}, {"role": "system", "content": [{"text": "Now in French."}]}]
    body = write_chat(ConverseRequest.from_dict({"messages": turns}), VENDOR)
    assert body["messages"][1] == {"role": "developer", "content": "Now in French."}


# -- reading


def folded(*chunks: dict[str, Any], form: ChatForm = PLAIN) -> Any:  # noqa: ANN401 - a response
    """The response that chunks make."""
    decoder = ChatFormFamily(form).stream_decoder(CTX)
    return fold([*(event for chunk in chunks for event in decoder.receive(chunk)), *decoder.eof()])


def test_a_forced_tool_that_ends_with_stop_is_a_tool_use() -> None:
    """Some servers say "stop" where a tool was forced."""
    call = {"index": 0, "id": "1", "function": {"name": "add", "arguments": "{}"}}
    response = folded(
        {"choices": [{"delta": {"tool_calls": [call]}}]}, {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    )
    assert response.stop_reason == "tool_use"


def test_calls_follow_one_another() -> None:
    """Each with its own pieces; arguments may come as an object."""
    first = {"index": 0, "id": "1", "function": {"name": "add", "arguments": {"a": 1}}}
    second = {"index": 1, "id": "2", "function": {"name": "sub", "arguments": ""}}
    rest = {"index": 1, "function": {"arguments": '{"b":2}'}}
    response = folded(
        {"choices": [{"delta": {"tool_calls": [first, second]}}]},
        {"choices": [{"delta": {"tool_calls": [rest]}, "finish_reason": "tool_calls"}]},
    )
    assert [(use.name, use.input) for use in response.tool_uses] == [("add", {"a": 1}), ("sub", {"b": 2})]


def test_only_the_first_of_several_answers_is_read() -> None:
    """A caller who asks for more reads them with client.invoke()."""
    response = folded(
        {"choices": [{"index": 1, "delta": {"content": "other"}}, {"index": 0, "delta": {"content": "this"}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    )
    assert response.text == "this"


def test_content_may_come_in_parts() -> None:
    """As a list of text parts."""
    body = {"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}]}, "finish_reason": "x"}]}
    response = ChatFormFamily(PLAIN).decode(body, {}, CTX)
    assert (response.text, response.stop_reason) == ("ab", "x")


def test_parts_that_are_no_text_are_not_lost() -> None:
    """Reasoning may be a part of its own, as text or in parts again; a kind that nobody knows is kept as it is."""
    image = {"type": "image_url", "image_url": {"url": "https://example.com/"}}
    thoughts = {"type": "thinking", "thinking": [{"type": "text", "text": "Sim"}, {"type": "text", "text": "ple"}]}
    content = [thoughts, {"type": "thinking", "thinking": "."}, {"type": "text", "text": "4"}, image]
    whole = ChatFormFamily(PLAIN).decode({"choices": [{"message": {"content": content}}]}, {}, CTX)
    deltas = [{"choices": [{"delta": {"content": [part]}}]} for part in content]
    stream = folded(*deltas, {"choices": [{"delta": {}, "finish_reason": "stop"}]})
    assert whole.message.to_wire() == stream.message.to_wire()
    assert (whole.reasoning, whole.text) == ("Simple.", "4")
    assert whole.message.content[-1].to_wire() == {"image_url": {"image_url": {"url": "https://example.com/"}}}


def test_parts_stay_in_order() -> None:
    """Text that might have begun a tag is not held back behind the reasoning that follows it."""
    events, splitter = EventBuilder(), TagSplitter(TAGS)
    read_content([{"text": "a <"}, {"type": "thinking", "thinking": "Hm."}], events, splitter)
    events.stop("end_turn")
    content = [block.to_wire() for block in events.response().message.content]
    assert content == [{"text": "a <"}, {"reasoningContent": {"reasoningText": {"text": "Hm."}}}]


def test_a_last_chunk_may_say_null() -> None:
    """Where there is nothing more to say, some servers send no object."""
    response = folded(
        {"choices": [{"delta": {"content": "Hi."}}]}, {"choices": [{"delta": None, "finish_reason": "stop"}]}
    )
    assert (response.text, response.stop_reason) == ("Hi.", "end_turn")


TAGS: Final = ("<think>", "</think>")


def split(*texts: str) -> tuple[str, str]:
    """Text and reasoning that a splitter tells apart."""
    events, splitter = EventBuilder(), TagSplitter(TAGS)
    for text in texts:
        splitter.add(text, events)
    splitter.flush(events)
    events.stop("end_turn")
    response = events.response()
    return response.text, response.reasoning


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ("plain", "plain", ""),
        ("<think>a</think>b", "b", "a"),
        ("a<think>b</think>c<think>d</think>", "ac", "bd"),
        ("<think>never closed", "", "never closed"),
        ("a < b </think> c", "a < b </think> c", ""),
        ("<thin", "<thin", ""),
        ("<think>a</thi", "", "a</thi"),
        ("", "", ""),
    ],
)
def test_tags_tell_reasoning_from_text(content: str, text: str, reasoning: str) -> None:
    """Also where they are not closed; what only looks like a tag is text."""
    assert split(content) == (text, reasoning)


@given(st.data())
def test_tags_may_be_cut_anywhere(data: st.DataObject) -> None:
    """However a stream cuts the content, what is reasoning and what is text stays the same."""
    parts = data.draw(st.lists(st.sampled_from(["<think>", "</think>", "a", "<", "</", "th", ">"]), max_size=12))
    whole = "".join(parts)
    cut = data.draw(pieces(whole.encode()))
    assert split(*(piece.decode() for piece in cut)) == split(whole)


def test_arguments_of_any_text_survive() -> None:
    """The JSON of a tool's input comes through as it is."""
    value = {"text": 'ä "quoted" \U0001f600'}
    call = {"index": 0, "id": "1", "function": {"name": "say", "arguments": json.dumps(value)}}
    response = folded({"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]})
    assert response.tool_uses[0].input == value
