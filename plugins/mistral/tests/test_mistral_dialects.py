"""Which dialect each model is written to in, what each refuses, and what their decoders do with odd chunks."""

from __future__ import annotations

from typing import Any, Final

import pytest
from bedrock_async_mistral import MistralFamily
from hypothesis import given
from hypothesis import strategies as st
from native_properties import cut, only_our_errors, strange_chunks, streamed
from native_traffic import native_body

from bedrock_async import BedrockError, ConverseRequest, EventDecodeError, InvalidRequestError, StreamTruncatedError

FAMILY: Final = MistralFamily()
SEVEN: Final = "mistral.mistral-7b-instruct-v0:2"
LARGE: Final = "mistral.mistral-large-2402-v1:0"
THREE: Final = "mistral.mistral-large-3-675b-instruct"
TEXT: Final = "Die Antwort, \U0001f600, ist: 42."


def tool(name: str) -> dict[str, Any]:
    """A tool of that name."""
    return {"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}}


def body(wire: dict[str, Any], model: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - any option
    """The native body of a request, which has a question where it says nothing else."""
    question = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
    native: dict[str, Any] = native_body(ConverseRequest.from_dict({**question, **wire}), model, FAMILY, **options)
    return native


@pytest.mark.parametrize(
    ("model", "options", "member"),
    [
        (SEVEN, {}, "prompt"),
        ("mistral.mixtral-8x7b-instruct-v0:1", {}, "prompt"),
        (LARGE, {}, "messages"),
        (LARGE, {"text_completions": True}, "prompt"),
        ("mistral.mistral-small-2402-v1:0", {"text_completions": True}, "prompt"),
        ("mistral.mistral-large-2407-v1:0", {"text_completions": True}, "messages"),
        (THREE, {"text_completions": True}, "messages"),
        (THREE, {"raw_prompt": True}, "prompt"),
        ("mistral.model-of-tomorrow-1", {}, "messages"),
    ],
)
def test_each_model_is_written_to_in_its_dialect(model: str, options: dict[str, Any], member: str) -> None:
    """The call may choose if a model takes both."""
    assert member in body({}, model, **options)


def test_a_last_answer_is_left_open() -> None:
    """The prompt ends inside it, so the model continues it."""
    messages = [
        {"role": "user", "content": [{"text": "Count."}]},
        {"role": "assistant", "content": [{"text": "One, two,"}]},
    ]
    assert body({"messages": messages}, SEVEN)["prompt"] == "<s>[INST] Count. [/INST] One, two,"


def test_a_system_prompt_alone_is_an_instruction() -> None:
    """It is not lost if no user turn follows."""
    native = body({"messages": [], "system": [{"text": "Be brief."}]}, SEVEN)
    assert native["prompt"] == "<s>[INST] Be brief. [/INST]"


@pytest.mark.parametrize(
    ("choice", "native"), [({"auto": {}}, "auto"), ({"any": {}}, "any"), ({"tool": {"name": "one"}}, "any")]
)
def test_the_choice_among_tools_is_a_word(choice: dict[str, Any], native: str) -> None:
    """Choosing the only tool is choosing any."""
    assert body({"toolConfig": {"tools": [tool("one")], "toolChoice": choice}}, LARGE)["tool_choice"] == native


def test_a_tool_that_is_not_strict_says_nothing_of_it() -> None:
    """Mistral's own form has no member for strict tools; False is the default."""
    loose = {"toolSpec": {**tool("one")["toolSpec"], "strict": False}}
    (native,) = body({"toolConfig": {"tools": [loose]}}, LARGE)["tools"]
    assert "strict" not in native["function"]


def test_one_of_several_tools_cannot_be_forced() -> None:
    """The form can only force any of them, which is not what was asked."""
    config = {"tools": [tool("one"), tool("two")], "toolChoice": {"tool": {"name": "one"}}}
    with pytest.raises(InvalidRequestError, match="cannot express the choice of one among several tools") as caught:
        body({"toolConfig": config}, LARGE)
    assert caught.value.path == "tool_config.tool_choice.tool"
    named = {"type": "function", "function": {"name": "one"}}
    assert body({"toolConfig": config}, THREE)["tool_choice"] == named


@pytest.mark.parametrize(
    ("model", "feature", "wire"),
    [
        (SEVEN, "tools", {"toolConfig": {"tools": [tool("one")]}}),
        (LARGE, "stop sequences", {"inferenceConfig": {"stopSequences": ["|"]}}),
        (THREE, "an effort level", {"outputConfig": {"effort": "low"}}),
    ],
)
def test_what_a_dialect_cannot_say_is_refused(model: str, feature: str, wire: dict[str, Any]) -> None:
    """The error names the feature, and the provider that supports it."""
    with pytest.raises(InvalidRequestError, match=f"'mistral' cannot express {feature}.*converse"):
        body(wire, model)


@given(cut(TEXT), st.sampled_from(["outputs", "message", "delta"]))
def test_text_may_be_cut_anywhere(pieces: list[str], form: str) -> None:
    """This holds in every dialect."""
    last = len(pieces) - 1
    chunks: list[dict[str, Any]] = [
        {"outputs": [{"text": piece, "stop_reason": "stop" if index == last else None}]}
        if form == "outputs"
        else {"choices": [{"index": 0, form: {"content": piece}, "stop_reason": "stop" if index == last else None}]}
        for index, piece in enumerate(pieces)
    ]
    response = streamed(FAMILY, SEVEN, chunks)
    assert (response.text, response.stop_reason) == (TEXT, "end_turn")


@given(
    st.lists(
        strange_chunks(
            *("outputs", "text", "stop_reason", "choices", "message", "delta", "content", "tool_calls", "function"),
            *("id", "name", "arguments", "finish_reason", "usage", "prompt_tokens", "index"),
        ),
        max_size=3,
    )
)
def test_chunks_of_any_shape_are_events_or_an_error_of_ours(chunks: list[dict[str, Any]]) -> None:
    """No KeyError escapes, and no event out of order."""
    only_our_errors(FAMILY, SEVEN, chunks)


@pytest.mark.parametrize(
    "chunk", [{}, {"outputs": []}, {"outputs": [{"text": "a"}]}, {"choices": {}}, {"choices": [{"index": 0}]}]
)
def test_a_bad_chunk_is_an_error(chunk: dict[str, Any]) -> None:
    """The error names the family, or says that the stream is incomplete."""
    with pytest.raises(BedrockError) as caught:
        streamed(FAMILY, SEVEN, [chunk])
    assert isinstance(caught.value, StreamTruncatedError) or "'mistral'" in str(caught.value)
    assert isinstance(caught.value, EventDecodeError | StreamTruncatedError)
