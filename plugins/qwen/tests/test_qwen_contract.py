"""The family of Qwen keeps the public contract of model families, and reads any chunk as it must."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import pytest
from bedrock_async_qwen import QwenFamily
from hypothesis import given
from hypothesis import strategies as st
from native_properties import cut, only_our_errors, strange_chunks, streamed
from native_traffic import native_body

from bedrock_async import BedrockError, ConverseRequest, EventDecodeError, StreamTruncatedError
from bedrock_async.families import ModelFamily
from bedrock_async.testing import FamilyContract, FamilySample

MODEL: Final = "qwen.qwen3-32b-v1:0"
ID: Final = "chatcmpl-a069cbda08ce4599afae798c4d2de095"

# The chunks are those of langchain-aws' tests (libs/aws/tests/unit_tests/llms/test_bedrock.py), which have the look of
# recorded ones; the whole answer is made of them.
GREETING: Final = FamilySample(
    model=MODEL,
    request={
        "system": [{"text": "Say it twice."}],
        "messages": [{"role": "user", "content": [{"text": "Say hello,"}, {"text": "say goodbye."}]}],
        "inferenceConfig": {"maxTokens": 50, "temperature": 0.0},
    },
    native_request={
        "messages": [
            {"role": "system", "content": "Say it twice."},
            {"role": "user", "content": "Say hello,\nsay goodbye."},
        ],
        "max_tokens": 50,
        "temperature": 0.0,
    },
    native_response={
        "id": ID,
        "object": "chat.completion",
        "created": 1759875373,
        "model": MODEL,
        "service_tier": "auto",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello.  \nGoodbye."}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 35, "completion_tokens": 7, "total_tokens": 42},
    },
    chunks=(
        {
            "choices": [{"delta": {"content": "", "role": "assistant"}, "finish_reason": None, "index": 0}],
            "created": 1759875373,
            "id": ID,
            "model": MODEL,
            "object": "chat.completion.chunk",
            "service_tier": "auto",
        },
        {
            "choices": [{"delta": {"content": "Hello.  \nGoodbye."}, "finish_reason": "stop", "index": 0}],
            "created": 1759875373,
            "id": ID,
            "model": MODEL,
            "object": "chat.completion.chunk",
            "service_tier": "auto",
            "amazon-bedrock-invocationMetrics": {
                "inputTokenCount": 35,
                "outputTokenCount": 7,
                "invocationLatency": 225,
                "firstByteLatency": 191,
            },
        },
    ),
    text="Hello.  \nGoodbye.",
    stop_reason="end_turn",
    input_tokens=35,
    output_tokens=7,
)


class TestQwen(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (GREETING,)

    def family(self) -> ModelFamily:
        """Return the family under test."""
        return QwenFamily()


FAMILY: Final = QwenFamily()


def test_images_stand_beside_text() -> None:
    """The content then is a list of parts."""
    content = [{"text": "What is it?"}, {"image": {"format": "png", "source": {"bytes": b"image"}}}]
    request = ConverseRequest.from_dict({"messages": [{"role": "user", "content": content}]})
    (message,) = native_body(request, "qwen.qwen3-vl-235b-a22b", FAMILY)["messages"]
    assert message["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aW1hZ2U="}},
    ]


@given(cut("<reasoning>Six </reasoning><reasoning>times seven.</reasoning>42, \U0001f600"))
def test_reasoning_is_told_from_text_wherever_chunks_are_cut(pieces: list[str]) -> None:
    """It is in tags, as InvokeModel writes it for similar models."""
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    response = streamed(FAMILY, MODEL, chunks)
    assert (response.reasoning, response.text) == ("Six times seven.", "42, \U0001f600")


@given(
    st.lists(
        strange_chunks(
            *("choices", "message", "delta", "content", "reasoning", "tool_calls", "function", "id", "name"),
            *("arguments", "finish_reason", "usage", "prompt_tokens", "index", "text"),
        ),
        max_size=3,
    )
)
def test_chunks_of_any_shape_are_events_or_an_error_of_ours(chunks: list[dict[str, Any]]) -> None:
    """No KeyError escapes, and no event out of order."""
    only_our_errors(FAMILY, MODEL, chunks)


@pytest.mark.parametrize(
    "chunk", [{}, {"choices": {}}, {"choices": [{"index": 0}]}, {"choices": [{"text": "a", "stop_reason": "stop"}]}]
)
def test_a_bad_chunk_is_an_error(chunk: dict[str, Any]) -> None:
    """The error names the family, or says that the stream is incomplete."""
    with pytest.raises(BedrockError) as caught:
        streamed(FAMILY, MODEL, [chunk])
    assert isinstance(caught.value, StreamTruncatedError) or "'qwen'" in str(caught.value)
    assert isinstance(caught.value, EventDecodeError | StreamTruncatedError)
