from __future__ import annotations

import json

import pytest
from bedrock_async_local.converse import DEFAULT_SYSTEM_PROMPT
from bedrock_async_local.engine import DEFAULT_MAX_TOKENS, ChatMessage
from bedrock_async_local.native import read_body

from bedrock_async.errors import ValidationError
from bedrock_async.types import JSONValue

HELLO: list[JSONValue] = [{"role": "user", "content": "Hello?"}]


def body(**members: JSONValue) -> bytes:
    """A body with these members."""
    return json.dumps({"messages": HELLO, **members}).encode()


def test_a_recorded_body_is_read() -> None:
    """The members of a body as recorded for gpt-oss reach the generation; model and stream are of no account."""
    request = read_body(
        body(
            messages=[
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]},
                {"role": "assistant", "content": "Three."},
                {"role": "user", "content": "Four \ud83d."},
            ],
            model="openai.gpt-oss-120b-1:0",
            stream=True,
            max_tokens=100,
            temperature=0.5,
            top_p=0.8,
            seed=1,
            stop="END",
            response_format=None,
        )
    )
    chat = request.chat
    assert chat.messages == [
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content="One.\nTwo."),
        ChatMessage(role="assistant", content="Three."),
        ChatMessage(role="user", content="Four \ufffd."),
    ]
    assert (chat.max_tokens, chat.temperature, chat.top_p, chat.sampling) == (100, 0.5, 0.8, {"seed": 1})
    assert request.stop_sequences == ("END",)


def test_the_defaults_are_those_of_converse() -> None:
    """Without a system message and without numbers the measured defaults hold; max_completion_tokens wins."""
    request = read_body(body())
    assert request.chat.messages[0] == ChatMessage(role="system", content=DEFAULT_SYSTEM_PROMPT)
    assert (request.chat.max_tokens, request.chat.temperature) == (DEFAULT_MAX_TOKENS, 0.0)
    assert request.stop_sequences == ()
    assert read_body(body(max_tokens=5, max_completion_tokens=6)).chat.max_tokens == 6


@pytest.mark.parametrize(
    ("response_format", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}}, {"type": "array"}),
    ],
)
def test_response_formats_become_schemas(response_format: JSONValue, schema: JSONValue) -> None:
    """Text needs none, a JSON object is the schema of any object, a JSON schema is itself."""
    assert read_body(body(response_format=response_format)).chat.json_schema == schema


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (b"{", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"\xff\xfe", "the body is not JSON"),
        (b"[]", "expected type: JSONObject"),
        (b"{}", "messages must be"),
        (body(messages=[]), "messages must be"),
        (body(messages=["Hello?"]), "messages.0.role"),
        (body(messages=[{"role": "tool", "content": "5"}]), "messages.0.role"),
        (body(messages=[{"role": "user"}]), "messages.0.content"),
        (body(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), "messages.0.content"),
        (body(grammar="root ::= x"), r"extraneous key \[grammar\]"),
        (body(tools=[]), r"extraneous key \[tools\]"),
        (body(max_tokens=0), "max_tokens"),
        (body(max_tokens=True), "max_tokens"),
        (body(temperature=2.5), "temperature must be between 0 and 2"),
        (body(temperature="hot"), "temperature must be a number"),
        (body(top_p=-1), "top_p"),
        (body(seed="x"), "seed"),
        (body(stop=[""]), "stop"),
        (body(stop=5), "stop"),
        (body(response_format={"type": "xml"}), "response_format.type"),
        (body(response_format={"type": "json_schema"}), "response_format.json_schema.schema"),
        (
            body(response_format={"type": "json_schema", "json_schema": {"schema": {"minLength": 2, "maxLength": 1}}}),
            "minLength 2 is greater",
        ),
    ],
)
def test_bodies_that_cannot_be_are_refused(given: bytes, words: str) -> None:
    """Every wrong body is a ValidationException that names the member."""
    with pytest.raises(ValidationError, match=words):
        read_body(given)
