"""Where the vendors differ, and what their decoders do with odd chunks."""

from __future__ import annotations

from typing import Any, Final

import pytest
from bedrock_async_chatforms import google, minimax, moonshot, moonshotai, nvidia, writer, zai
from hypothesis import given
from hypothesis import strategies as st
from native_properties import cut, only_our_errors, strange_chunks, streamed
from native_traffic import native_body

from bedrock_async import BedrockError, ConverseRequest, EventDecodeError, InvalidRequestError, StreamTruncatedError
from bedrock_async.families.chat_form import ChatFormFamily

MODELS: Final = {
    "google.gemma-3-4b-it": google(),
    "minimax.minimax-m2": minimax(),
    "moonshot.kimi-k2-thinking": moonshot(),
    "moonshotai.kimi-k2.5": moonshotai(),
    "nvidia.nemotron-nano-12b-v2": nvidia(),
    "writer.palmyra-vision-7b": writer(),
    "zai.glm-4.7-flash": zai(),
}
ROWS: Final = pytest.mark.parametrize(("model", "family"), MODELS.items(), ids=list(MODELS))
IMAGE: Final = {"image": {"format": "png", "source": {"bytes": b"image"}}}


def body(model: str, *content: dict[str, Any], **wire: Any) -> dict[str, Any]:  # noqa: ANN401 - any member
    """The native body of a question."""
    request = {"messages": [{"role": "user", "content": list(content) or [{"text": "Hi"}]}], **wire}
    native: dict[str, Any] = native_body(ConverseRequest.from_dict(request), model, MODELS[model])
    return native


@ROWS
def test_texts_are_one_string(model: str, family: ChatFormFamily) -> None:
    """Not every model takes a list of texts."""
    (message,) = body(model, {"text": "Hi"}, {"text": "there"})["messages"]
    assert message == {"role": "user", "content": "Hi\nthere"}


@ROWS
def test_vendors_with_models_that_see_take_images(model: str, family: ChatFormFamily) -> None:
    """The others refuse them; the error names the place and the provider that supports them."""
    if "images" in family.form.features:
        assert body(model, IMAGE)["messages"][0]["content"][0]["type"] == "image_url"
        return
    with pytest.raises(InvalidRequestError, match=rf"'{family.name}' cannot express images.*converse") as caught:
        body(model, IMAGE)
    assert caught.value.path == "messages[0].content[0]"


@pytest.mark.parametrize(
    ("model", "given_tokens", "told"),
    [
        ("us.writer.palmyra-x5-v1:0", None, 8192),
        ("us.writer.palmyra-x5-v1:0", 5, 5),
        ("writer.palmyra-vision-7b", None, None),
    ],
)
def test_palmyra_is_told_how_much_it_may_say(model: str, given_tokens: int | None, told: int | None) -> None:
    """Its default is 16 tokens, where Converse uses the model's maximum."""
    wire = {} if given_tokens is None else {"inferenceConfig": {"maxTokens": given_tokens}}
    request = ConverseRequest.from_dict({"messages": [{"role": "user", "content": [{"text": "Hi"}]}], **wire})
    assert native_body(request, model, writer()).get("max_tokens") == told


@given(cut("<reasoning>Six </reasoning><reasoning>times seven.</reasoning> 42, \U0001f600"))
def test_reasoning_is_told_from_text_wherever_chunks_are_cut(pieces: list[str]) -> None:
    """As seen with Kimi K2: every piece of it is in tags of its own."""
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    response = streamed(moonshot(), "moonshot.kimi-k2-thinking", chunks)
    assert (response.reasoning, response.text) == ("Six times seven.", " 42, \U0001f600")


@ROWS
@given(
    chunks=st.lists(
        strange_chunks(
            *("choices", "message", "delta", "content", "reasoning", "tool_calls", "function", "id", "name"),
            *("arguments", "finish_reason", "usage", "prompt_tokens", "index", "text"),
        ),
        max_size=3,
    )
)
def test_chunks_of_any_shape_are_events_or_an_error_of_ours(
    model: str, family: ChatFormFamily, chunks: list[dict[str, Any]]
) -> None:
    """No KeyError escapes, and no event out of order."""
    only_our_errors(family, model, chunks)


@ROWS
@pytest.mark.parametrize(
    "chunk", [{}, {"choices": {}}, {"choices": [{"index": 0}]}, {"choices": [{"text": "a", "finish_reason": "stop"}]}]
)
def test_a_bad_chunk_is_an_error(model: str, family: ChatFormFamily, chunk: dict[str, Any]) -> None:
    """The error names the family, or says that the stream is incomplete."""
    with pytest.raises(BedrockError) as caught:
        streamed(family, model, [chunk])
    assert isinstance(caught.value, StreamTruncatedError) or f"'{family.name}'" in str(caught.value)
    assert isinstance(caught.value, EventDecodeError | StreamTruncatedError)
