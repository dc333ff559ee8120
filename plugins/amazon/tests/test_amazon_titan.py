"""Titan Text's words: how turns become a prompt, and what an answer says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest
from bedrock_async_amazon import AmazonFamily

from bedrock_async import ConverseRequest, ConverseResponse, InvalidRequestError
from bedrock_async.families import FamilyContext, encode_request, find_profile
from bedrock_async.model_id import parse_model_id

TITAN: Final = "amazon.titan-text-premier-v1:0"
TOOL: Final[dict[str, Any]] = {"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}}


def context(**options: Any) -> FamilyContext:  # noqa: ANN401 - any option
    """Return the context of a call."""
    return FamilyContext(parse_model_id(TITAN), find_profile(TITAN), options=options)


def turns(*texts: tuple[str, str]) -> ConverseRequest:
    """A request with these turns: role and text."""
    return ConverseRequest.from_dict(
        {"messages": [{"role": role, "content": [{"text": text}]} for role, text in texts]}
    )


def prompt(request: ConverseRequest, **options: Any) -> Any:  # noqa: ANN401 - any option, JSON
    """The native prompt of a request."""
    return encode_request(AmazonFamily(), request, context(**options)).body["inputText"]


def answer(text: str, reason: str | None = "FINISH", **options: Any) -> ConverseResponse:  # noqa: ANN401 - any option
    """The response of a native answer."""
    result = {"tokenCount": 3, "outputText": text, "completionReason": reason}
    return AmazonFamily().decode({"inputTextTokenCount": 4, "results": [result]}, {}, context(**options))


@pytest.mark.parametrize(
    ("request_", "native"),
    [
        (turns(("user", "Hi")), "User: Hi\nBot:"),
        (turns(("user", "One."), ("user", "Two.")), "User: One.\nTwo.\nBot:"),
        (turns(("user", "Hi"), ("assistant", "Once upon")), "User: Hi\nBot: Once upon"),
        (turns(), "Bot:"),
    ],
)
def test_turns_become_a_dialogue(request_: ConverseRequest, native: str) -> None:
    """Messages of one role in a row are one turn; an answer that was begun is to be continued."""
    assert prompt(request_) == native


def test_text_is_continued_as_it_stands_where_the_call_says_so() -> None:
    """Without speakers and cue."""
    assert prompt(turns(("user", "Once upon"), ("user", "a time")), text_completion=True) == "Once upon\na time"


@pytest.mark.parametrize(
    ("native", "text"),
    [
        ("\nBot: Hello.", "Hello."),
        ("Bot:Hello.", "Hello."),
        ("Bot:  Hello.", " Hello."),
        ("Bot:", ""),
        ("\nBoth agree.", "\nBoth agree."),
        ("\nHello. Bot: no.", "\nHello. Bot: no."),
        (" \n", " \n"),
        ("", ""),
    ],
)
def test_a_repeated_cue_is_left_out(native: str, text: str) -> None:
    """As Converse was recorded to do; any other text, and any completion, is unchanged."""
    assert answer(native).text == text
    assert answer(native, text_completion=True).text == native


@pytest.mark.parametrize(
    ("native", "converse"),
    [
        ("FINISH", "end_turn"),
        ("FINISHED", "end_turn"),
        ("LENGTH", "max_tokens"),
        ("STOP_CRITERIA_MET", "stop_sequence"),
        ("CONTENT_FILTERED", "content_filtered"),
        ("RAG_QUERY_WHEN_RAG_DISABLED", "RAG_QUERY_WHEN_RAG_DISABLED"),
        (None, ""),
    ],
)
def test_stop_reasons_are_converses(native: str | None, converse: str) -> None:
    """One that Converse has no name for is passed on."""
    assert answer("a", native).stop_reason == converse


@pytest.mark.parametrize(
    "body",
    [
        {"results": []},
        {"results": [{"outputText": "a"}, {"outputText": "b"}]},
        {"results": [{"outputText": None}]},
        {"results": 5},
    ],
)
def test_an_answer_of_another_form_is_an_error(body: Mapping[str, Any]) -> None:
    """More than one result included: none of them is dropped silently."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        AmazonFamily().decode(body, {}, context())


@pytest.mark.parametrize(
    ("members", "feature"),
    [
        ({"system": [{"text": "Be brief."}]}, "a system prompt"),
        (
            {"toolConfig": {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}}]}},
            "tools",
        ),
        ({"outputConfig": {"effort": "low"}}, "an effort level"),
    ],
)
def test_what_a_prompt_cannot_express_is_refused(members: dict[str, Any], feature: str) -> None:
    """The error names the feature and the family."""
    request = ConverseRequest.from_dict({"messages": [], **members})
    with pytest.raises(InvalidRequestError, match=f"the family 'amazon' cannot express {feature}"):
        prompt(request)
