"""Tools in Llama's prompts and answers, what is refused, and what the decoder does with odd chunks."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from bedrock_async_meta import MetaFamily
from hypothesis import given
from hypothesis import strategies as st
from native_properties import cut, only_our_errors, strange_chunks, streamed
from native_traffic import native_body

from bedrock_async import BedrockError, ConverseRequest, EventDecodeError, InvalidRequestError, StreamTruncatedError
from bedrock_async.families import FamilyContext
from bedrock_async.model_id import parse_model_id
from bedrock_async.types import ImageBlock, MediaSource, Message, S3Location, ToolUseBlock

FAMILY: Final = MetaFamily()
LLAMA_3_3: Final = "us.meta.llama3-3-70b-instruct-v1:0"
LLAMA_4: Final = "us.meta.llama4-scout-17b-instruct-v1:0"
VISION: Final = "us.meta.llama3-2-11b-instruct-v1:0"
TOOLS: Final[dict[str, Any]] = {
    "tools": [{"toolSpec": {"name": "add", "inputSchema": {"json": {"type": "object"}}}}],
}
IMAGE: Final[dict[str, Any]] = {"image": {"format": "png", "source": {"bytes": b"png"}}}
CALL: Final = '{"name": "add", "parameters": {"text": "\\u00e4 \U0001f600 \\"}}"}}'
INPUT: Final = {"text": '\u00e4 \U0001f600 "}}'}


def prompt(wire: dict[str, Any], model: str = LLAMA_3_3, **options: Any) -> str:  # noqa: ANN401 - any option
    """The prompt that a request becomes."""
    text: str = native_body(ConverseRequest.from_dict(wire), model, FAMILY, **options)["prompt"]
    return text


def chunks(pieces: list[str]) -> list[dict[str, Any]]:
    """The chunks of an answer in pieces."""
    last = {"generation": "", "prompt_token_count": None, "generation_token_count": 3, "stop_reason": "stop"}
    first = [
        {"generation": piece, "prompt_token_count": 9 if index == 0 else None, "stop_reason": None}
        for index, piece in enumerate(pieces)
    ]
    return [*first, last]


# -- calls in answers


@given(cut(CALL))
def test_a_call_may_be_cut_anywhere(pieces: list[str]) -> None:
    """It is one tool use, with no text beside it."""
    response = streamed(FAMILY, LLAMA_3_3, chunks(pieces))
    assert [(use.name, use.input) for use in response.tool_uses] == [("add", INPUT)]
    assert (response.text, response.stop_reason) == ("", "tool_use")


@pytest.mark.parametrize(
    "answer",
    [
        f"{CALL}",
        f"\n\n{CALL}\n",
        f"<|python_tag|>{CALL}<|eom_id|>",
        f"<|python_start|>{CALL}<|python_end|><|eot|>",
        '{\n    "type": "function",\n    "name": "add",\n    "parameters": ' + json.dumps(INPUT) + "\n}",
    ],
)
def test_a_call_comes_in_several_forms(answer: str) -> None:
    """With blanks or the tokens of its generation around it."""
    response = streamed(FAMILY, LLAMA_3_3, chunks([answer]))
    assert [(use.name, use.input) for use in response.tool_uses] == [("add", INPUT)]
    assert response.text == ""


def test_several_calls_are_several_tool_uses() -> None:
    """Each with an id of its own, even where they are equal."""
    response = streamed(FAMILY, LLAMA_3_3, chunks([f"{CALL}; {CALL}"]))
    assert [use.input for use in response.tool_uses] == [INPUT, INPUT]
    first, second = (use.tool_use_id for use in response.tool_uses)
    assert first != second


def test_the_same_call_in_a_later_turn_is_another_one() -> None:
    """Its prompt is longer; the same answer, read again, has the same id."""
    whole = {"generation": CALL, "prompt_token_count": 9, "generation_token_count": 3, "stop_reason": "stop"}
    ctx = FamilyContext(parse_model_id(LLAMA_3_3))
    once, again, later = (
        FAMILY.decode({**whole, "prompt_token_count": count}, {}, ctx).tool_uses[0].tool_use_id for count in (9, 9, 20)
    )
    assert once == again
    assert once != later


@pytest.mark.parametrize(
    "answer",
    [
        '{"name": "Alice", "age": 5}',
        '{"name": "add", "parameters": {"a": 1}} is how to call it.',
        '{"name": "add", "parameters": {"a": 1}',
        '{"name": "add", "parameters": "none"}',
        '{"name": 5, "parameters": {}}',
        '{"city": "Paris"}',
        "Call {CALL}.",
        "<|python_tag|>print(1)",
        '{"name": "add", "parameters": {}} 5',
        "{",
        " ",
    ],
)
def test_other_answers_are_text(answer: str) -> None:
    """What only begins as a call, or quotes one, is left as it is."""
    response = streamed(FAMILY, LLAMA_3_3, chunks([answer]))
    assert (response.text, list(response.tool_uses), response.stop_reason) == (answer, [], "end_turn")


@given(cut("Die Antwort, \U0001f600, ist: {42}."))
def test_text_is_handed_on_piece_by_piece(pieces: list[str]) -> None:
    """However it is cut."""
    decoder = FAMILY.stream_decoder(FamilyContext(parse_model_id(LLAMA_3_3)))
    given_out = ["".join(event.text or "" for event in decoder.receive(chunk)) for chunk in chunks(pieces)]
    assert given_out == [*pieces, ""]


def test_a_call_within_text_is_text() -> None:
    """Even where it is a piece of its own."""
    response = streamed(FAMILY, LLAMA_3_3, chunks(["I would say: ", CALL]))
    assert (response.text, list(response.tool_uses)) == (f"I would say: {CALL}", [])


def test_an_answer_that_breaks_off_is_no_call() -> None:
    """Without a stop reason, what would have followed is unknown."""
    with pytest.raises(StreamTruncatedError):
        streamed(FAMILY, LLAMA_3_3, chunks([CALL])[:-1])


def test_a_call_cut_by_the_limit_is_text() -> None:
    """An incomplete call cannot be made."""
    response = streamed(
        FAMILY, LLAMA_3_3, [{"generation": CALL[:30], "prompt_token_count": 9, "stop_reason": "length"}]
    )
    assert (response.text, response.stop_reason) == (CALL[:30], "max_tokens")


# -- tools in prompts


def test_results_are_json_of_the_role_ipython() -> None:
    """Text, JSON and several parts; an error is told in the text."""
    results = [
        ([{"json": {"sum": 5}}], None, '{"sum": 5}'),
        ([{"text": "a"}, {"json": 1}], None, '["a", 1]'),
        ([{"text": "no"}], "error", '{"error": "no"}'),
    ]
    for content, status, written in results:
        result = {"toolUseId": "1", "content": content, **({"status": status} if status else {})}
        messages = [{"role": "user", "content": [{"toolResult": result}, {"text": "And now?"}]}]
        header = "<|start_header_id|>{}<|end_header_id|>\n\n".format
        end = "<|eot_id|>"
        expected = f"{header('ipython')}{written}{end}{header('user')}And now?{end}{header('assistant')}"
        assert prompt({"messages": messages}).endswith(expected)


def test_parallel_calls_and_text_of_a_turn_stay_together() -> None:
    """One turn of the assistant is one of the prompt."""
    uses = [{"toolUse": {"toolUseId": str(number), "name": "add", "input": {"a": number}}} for number in (1, 2)]
    text = prompt({"messages": [{"role": "assistant", "content": [{"text": "Twice: "}, *uses]}]}, LLAMA_4)
    calls = '{"name": "add", "parameters": {"a": 1}}; {"name": "add", "parameters": {"a": 2}}'
    assert text == f"<|begin_of_text|><|header_start|>assistant<|header_end|>\n\nTwice: {calls}"


def test_results_before_calls_of_the_same_turn_are_not_lost() -> None:
    """Whatever made such a turn, all of it is written."""
    use = {"toolUse": {"toolUseId": "2", "name": "add", "input": {"a": 2}}}
    result = {"toolResult": {"toolUseId": "1", "content": [{"text": "found"}]}}
    text = prompt({"messages": [{"role": "assistant", "content": [result, use]}]}, LLAMA_4)
    assert text.index('"found"') < text.index('{"name": "add"')


def test_tools_without_a_question_are_told_all_the_same() -> None:
    """They then form a turn of their own."""
    assert "Given the following functions" in prompt({"messages": [], "toolConfig": TOOLS}, LLAMA_4)


@pytest.mark.parametrize(
    ("model", "feature", "wire"),
    [
        ("meta.llama2-70b-chat-v1", "tools", {"toolConfig": TOOLS}),
        ("meta.llama3-8b-instruct-v1:0", "tools", {"toolConfig": TOOLS}),
        (LLAMA_3_3, "stop sequences", {"inferenceConfig": {"stopSequences": ["|"]}}),
        (LLAMA_3_3, "a forced choice", {"toolConfig": {**TOOLS, "toolChoice": {"any": {}}}}),
        ("meta.llama3-1-8b-instruct-v1:0", "images", {"messages": [{"role": "user", "content": [IMAGE]}]}),
        (VISION, "tools beside images", {"messages": [{"role": "user", "content": [IMAGE]}], "toolConfig": TOOLS}),
    ],
)
def test_what_a_generation_cannot_say_is_refused(model: str, feature: str, wire: dict[str, Any]) -> None:
    """The error names the feature, and the provider that supports it."""
    question = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
    with pytest.raises(InvalidRequestError, match=f"'meta' cannot express {feature}.*converse"):
        prompt({**question, **wire}, model)


def test_llama_4_takes_tools_beside_images() -> None:
    """Meta's restriction for 3.2 does not apply to 4."""
    wire = {"messages": [{"role": "user", "content": [IMAGE]}], "toolConfig": TOOLS}
    body = native_body(ConverseRequest.from_dict(wire), LLAMA_4, FAMILY)
    assert body["images"] == ["cG5n"]
    assert "<|image|><|eot|>" in body["prompt"]


def test_media_in_results_are_refused() -> None:
    """The place is named."""
    result = {"toolResult": {"toolUseId": "1", "content": [IMAGE]}}
    with pytest.raises(InvalidRequestError, match="media in the result") as caught:
        prompt({"messages": [{"role": "user", "content": [result]}]}, VISION)
    assert caught.value.path == "messages[0].content[0].content[0]"


def test_a_call_that_was_cut_off_is_refused() -> None:
    """The model would take it for an example of a call."""
    use = ToolUseBlock(tool_use_id="1", name="add", input='{"a": ')
    request = ConverseRequest(messages=[Message(role="assistant", content=[use])])
    with pytest.raises(InvalidRequestError, match="whose input is not an object") as caught:
        native_body(request, LLAMA_3_3, FAMILY)
    assert caught.value.path == "messages[0].content[0]"


def test_encoding_alone_drops_nothing() -> None:
    """A request that was not checked before is refused there."""
    image = ImageBlock(format="png", source=MediaSource(s3_location=S3Location(uri="s3://b/i")))
    request = ConverseRequest(messages=[Message(role="user", content=[image])])
    with pytest.raises(InvalidRequestError, match="ImageBlock"):
        FAMILY.encode(request, FamilyContext(parse_model_id(VISION)))


def test_prompts_of_other_templates_may_be_written_raw() -> None:
    """The prompt is the request's texts, and nothing else."""
    messages = [{"role": "user", "content": [{"text": "The sky is"}]}]
    assert prompt({"messages": messages, "system": [{"text": "A poem. "}]}, raw_prompt=True) == "A poem. The sky is"


def test_a_system_prompt_alone_reaches_llama_2() -> None:
    """It is not lost if no user turn follows."""
    text = prompt({"messages": [], "system": [{"text": "Be brief."}]}, "meta.llama2-13b-chat-v1")
    assert text == "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n[/INST]"


# -- odd chunks


@given(
    st.lists(
        strange_chunks("generation", "prompt_token_count", "generation_token_count", "stop_reason", "name"), max_size=3
    )
)
def test_chunks_of_any_shape_are_events_or_an_error_of_ours(many: list[dict[str, Any]]) -> None:
    """No KeyError escapes, and no event out of order."""
    only_our_errors(FAMILY, LLAMA_3_3, many)


@pytest.mark.parametrize(
    "chunk", [{"generation": 5, "stop_reason": "stop"}, {"generation": "a"}, {"outputs": [{"text": "a"}]}]
)
def test_a_bad_chunk_is_an_error(chunk: dict[str, Any]) -> None:
    """The error names the family."""
    with pytest.raises(EventDecodeError, match="'meta'"):
        streamed(FAMILY, LLAMA_3_3, [chunk])


def test_nothing_at_all_is_no_answer() -> None:
    """A stream without any chunk is incomplete."""
    with pytest.raises(BedrockError):
        streamed(FAMILY, LLAMA_3_3, [])
