"""R1's completions: where reasoning ends however chunks cut it, what is refused, and what odd chunks make."""

from __future__ import annotations

from typing import Any, Final

import pytest
from bedrock_async_deepseek import DeepSeekFamily
from corpus import Exchange
from hypothesis import given
from hypothesis import strategies as st
from native_properties import cut, only_our_errors, strange_chunks, streamed
from native_traffic import native_body, recorded

from bedrock_async import BedrockError, ConverseRequest, EventDecodeError, InvalidRequestError, StreamTruncatedError
from bedrock_async.types import ConverseResponse

FAMILY: Final = DeepSeekFamily()
R1: Final = "us.deepseek.r1-v1:0"
V3: Final = "deepseek.v3.2"
REASONING: Final = "Okay: 6 < 7, and </thin is no tag. \U0001f600\n"
TEXT: Final = "\n\n42."


def completion(pieces: list[str], reason: str = "stop") -> list[dict[str, Any]]:
    """The chunks of a completion."""
    last = len(pieces) - 1
    return [
        {"choices": [{"text": piece, "stop_reason": reason if index == last else None}]}
        for index, piece in enumerate(pieces)
    ]


@given(cut(f"{REASONING}</think>{TEXT}"), st.booleans())
def test_reasoning_is_told_from_text_wherever_chunks_are_cut(pieces: list[str], again: bool) -> None:  # noqa: FBT001
    """The prompt opens it; an answer that repeats the opening tag is read alike."""
    response = streamed(FAMILY, R1, completion(["<thi", "nk>", *pieces] if again else pieces))
    assert (response.reasoning, response.text, response.stop_reason) == (REASONING, TEXT, "end_turn")


@given(cut("<thi"))
def test_an_answer_that_is_cut_off_early_is_reasoning(pieces: list[str]) -> None:
    """A possible beginning of a tag is held back only until the end."""
    response = streamed(FAMILY, R1, completion(pieces, "length"))
    assert (response.reasoning, response.text, response.stop_reason) == ("<thi", "", "max_tokens")


@given(
    st.lists(
        strange_chunks("choices", "text", "stop_reason", "index", "message", "delta", "content", "usage"), max_size=3
    ),
    st.sampled_from([R1, V3]),
)
def test_chunks_of_any_shape_are_events_or_an_error_of_ours(chunks: list[dict[str, Any]], model: str) -> None:
    """No KeyError escapes, and no event out of order."""
    only_our_errors(FAMILY, model, chunks)


@pytest.mark.parametrize(
    "chunk",
    [
        {},
        {"choices": {}},
        {"choices": [{"index": 0}]},
        {"choices": [{"text": 1}]},
        {"choices": [{"delta": {"content": "a"}}]},
        {"generation": "a", "stop_reason": "stop"},
    ],
)
def test_a_bad_chunk_is_an_error(chunk: dict[str, Any]) -> None:
    """The error names the family, or says that the stream is incomplete."""
    with pytest.raises(BedrockError) as caught:
        streamed(FAMILY, R1, [chunk])
    assert isinstance(caught.value, StreamTruncatedError) or "'deepseek'" in str(caught.value)
    assert isinstance(caught.value, EventDecodeError | StreamTruncatedError)


@pytest.mark.parametrize(
    ("content", "said", "path"),
    [
        ([{"text": "Hello"}], "a last message of the assistant", "messages[1]"),
        ([{"reasoningContent": {"redactedContent": b"x"}}], "redacted reasoning", "messages[1].content[0]"),
    ],
)
def test_what_the_prompt_cannot_say_is_refused(content: list[dict[str, Any]], said: str, path: str) -> None:
    """The error names the place, and the provider that supports it."""
    hello = {"role": "user", "content": [{"text": "Hi"}]}
    turns = [hello, {"role": "assistant", "content": content}, *([hello] if "redacted" in said else [])]
    with pytest.raises(InvalidRequestError, match=f"'deepseek' cannot express {said}.*converse") as caught:
        native_body(ConverseRequest.from_dict({"messages": turns}), R1, FAMILY)
    assert caught.value.path == path


@pytest.mark.parametrize("exchange", recorded("converse", "deepseek"), ids=str)
def test_a_native_answer_says_what_converse_recorded(exchange: Exchange) -> None:
    """R1 was recorded through Converse only: the same text as a native completion gives the same blocks."""
    said = ConverseResponse.from_wire(exchange.response_body)
    (chunk,) = completion([f"{said.reasoning}</think>{said.text}"])
    response = streamed(FAMILY, exchange.model_id, [chunk])
    assert (response.reasoning, response.text, response.stop_reason) == (said.reasoning, said.text, said.stop_reason)


def test_other_models_chat() -> None:
    """So do later models."""
    request = ConverseRequest.from_dict({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]})
    for model in (V3, "eu.deepseek.v3.2", "deepseek.v9-v1:0"):
        assert native_body(request, model, FAMILY) == {"messages": [{"role": "user", "content": "Hi"}]}
