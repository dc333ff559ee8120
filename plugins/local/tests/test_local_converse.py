from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import pytest
from bedrock_async_local.converse import (
    DEFAULT_SYSTEM_PROMPT,
    chosen_tool,
    clean_text,
    read_request,
    tool_choice_request,
    tool_input_request,
)
from bedrock_async_local.engine import DEFAULT_MAX_TOKENS, ChatMessage
from bedrock_async_local.schemas import contradiction

from bedrock_async.errors import ValidationError
from bedrock_async.types import JSONValue

Wire = dict[str, JSONValue]


def asking(*content: Wire, **members: JSONValue) -> Wire:
    """A request of one user message."""
    return {"messages": [{"role": "user", "content": list(content) or [{"text": "Hello?"}]}], **members}


def turns(request: Mapping[str, JSONValue]) -> list[tuple[str, str]]:
    """Role and text of what the model reads."""
    return [(message["role"], message["content"]) for message in read_request(request).chat.messages]


def tool(name: str, description: str | None = None, **properties: JSONValue) -> Wire:
    """A tool whose input is an object."""
    spec: Wire = {"name": name, "inputSchema": {"json": {"type": "object", "properties": properties}}}
    if description is not None:
        spec["description"] = description
    return {"toolSpec": spec}


WEATHER = tool("get_weather", "Get the weather of a city", city={"type": "string"})
ADD = tool("add_numbers")


def test_without_a_system_prompt_the_measured_one_is_used() -> None:
    """The default prompt stands in only when the caller gives none; the caller's blocks are joined."""
    assert turns(asking()) == [("system", DEFAULT_SYSTEM_PROMPT), ("user", "Hello?")]
    own: list[JSONValue] = [
        {"text": "Be brief."},
        {"cachePoint": {"type": "default"}},
        {"guardContent": {"text": {"text": "Be kind."}}},
    ]
    assert turns(asking(system=own)) == [("system", "Be brief.\n\nBe kind."), ("user", "Hello?")]


def test_turns_alternate_and_neighbours_of_one_role_are_joined() -> None:
    """Chat templates want roles to alternate: neighbours are joined, and what is left empty is dropped."""
    request: Wire = {
        "messages": [
            {"role": "user", "content": [{"text": "One."}, {"text": "Two."}]},
            {"role": "user", "content": [{"text": "Three."}]},
            {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "Hm."}}}]},
            {"role": "assistant", "content": [{"text": "Four."}]},
            {"role": "system", "content": [{"text": "From now on, in French."}]},
            {"role": "user", "content": [{"text": "Five."}, {"cachePoint": {"type": "default"}}]},
        ]
    }
    assert turns(request) == [
        ("system", "From now on, in French."),
        ("user", "One.\nTwo.\n\nThree."),
        ("assistant", "Four."),
        ("user", "Five."),
    ]


@pytest.mark.parametrize(
    "messages", [[], [{"role": "assistant", "content": [{"text": "Hi"}]}], [{"role": "user", "content": []}]]
)
def test_a_conversation_starts_with_the_user(messages: list[JSONValue]) -> None:
    """No messages, or none of the user first, is refused with the service's sentence."""
    with pytest.raises(ValidationError, match="must start with a user message"):
        read_request({"messages": messages})


def test_what_is_text_in_other_blocks_is_read() -> None:
    """Documents of text formats and given as text, search results, guarded text and citations become text."""
    csv = base64.b64encode(b"\xef\xbb\xbfname,age\nTom,3\n").decode()
    request = asking(
        {"text": "Look:"},
        {"document": {"name": "cats", "format": "csv", "source": {"bytes": csv}}},
        {"document": {"name": "note", "context": "mine", "format": "pdf", "source": {"text": "A note."}}},
        {"document": {"name": "parts", "source": {"content": [{"text": "P1"}, {"text": "P2"}]}}},
        {"searchResult": {"source": "https://x.test", "title": "X", "content": [{"text": "Found."}]}},
        {"guardContent": {"text": {"text": "Guarded."}}},
        {"citationsContent": {"content": [{"text": "Cited."}], "citations": []}},
    )
    ((_, _), (role, text)) = turns(request)
    assert role == "user"
    assert text == (
        "Look:\nDocument 'cats':\nname,age\nTom,3\n\nDocument 'note' (mine):\nA note.\nDocument 'parts':\nP1\nP2\n"
        "Search result 'X' from https://x.test:\nFound.\nGuarded.\nCited."
    )


def test_tool_calls_and_results_in_the_history_are_told_as_text() -> None:
    """A call and its result name the tool, with JSON as JSON, text as text, and a failure as one."""
    request: Wire = {
        "messages": [
            {"role": "user", "content": [{"text": "Weather?"}]},
            {
                "role": "assistant",
                "content": [{"toolUse": {"toolUseId": "t1", "name": "get_weather", "input": {"city": "Zürich"}}}],
            },
            {
                "role": "user",
                "content": [
                    {"toolResult": {"toolUseId": "t1", "content": [{"json": {"celsius": 21}}, {"text": "Sunny."}]}},
                    {"toolResult": {"toolUseId": "t2", "content": [{"text": "No answer."}], "status": "error"}},
                ],
            },
        ],
        "toolConfig": {"tools": [WEATHER]},
    }
    assert turns(request)[2:] == [
        ("assistant", 'I call the tool get_weather with {"city": "Zürich"}.'),
        ("user", 'The tool get_weather returned: {"celsius": 21}\nSunny.\nThe tool t2 failed: No answer.'),
    ]


PIXEL = base64.b64encode(b"not looked at").decode()


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"image": {"format": "png", "source": {"bytes": PIXEL}}}, "the image content block at messages.0.content.0"),
        ({"video": {"format": "mp4", "source": {"bytes": PIXEL}}}, "the video content block"),
        ({"audio": {"format": "wav", "source": {"bytes": PIXEL}}}, "the audio content block"),
        ({"guardContent": {"image": {"format": "png", "source": {"bytes": PIXEL}}}}, "the guardContent content block"),
        ({"hologram": {"format": "h1"}}, "the hologram content block"),
        (
            {"toolResult": {"toolUseId": "t", "content": [{"image": {"format": "png", "source": {"bytes": PIXEL}}}]}},
            "the image content block at messages.0.content.0.toolResult.content.0",
        ),
        ({"document": {"name": "d", "format": "pdf", "source": {"bytes": PIXEL}}}, "doesn't support pdf documents"),
        ({"document": {"name": "d", "source": {"s3Location": {"uri": "s3://b/k"}}}}, "documents in S3"),
        ({"document": {"name": "d", "format": "txt", "source": {"bytes": "/w=="}}}, "not UTF-8 text"),
    ],
)
def test_what_the_model_cannot_read_is_refused_by_name(block: Wire, words: str) -> None:
    """Images and the like end in a ValidationException that names the block and its place."""
    with pytest.raises(ValidationError) as caught:
        read_request(asking(block))
    assert words in caught.value.message
    assert caught.value.code == "ValidationException"


def test_inference_parameters_are_passed_on() -> None:
    """maxTokens, temperature, topP, stopSequences and the engine's sampling parameters reach the generation."""
    plan = read_request(
        asking(
            inferenceConfig={"maxTokens": 5, "temperature": 0.7, "topP": 0.9, "stopSequences": ["END", "\n\n"]},
            additionalModelRequestFields={"top_k": 3, "seed": 42},
        )
    )
    assert (plan.chat.max_tokens, plan.chat.temperature, plan.chat.top_p) == (5, 0.7, 0.9)
    assert plan.stop_sequences == ("END", "\n\n")
    assert plan.chat.sampling == {"top_k": 3, "seed": 42}
    bare = read_request(asking()).chat
    assert (bare.max_tokens, bare.temperature, bare.top_p) == (DEFAULT_MAX_TOKENS, 0.0, None)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"additionalModelRequestFields": {"grammar": "root ::= x"}}, r"extraneous key \[grammar\]"),
        ({"additionalModelRequestFields": {"top_k": "3"}}, "top_k must be a number"),
        ({"additionalModelRequestFields": {"top_k": True}}, "top_k must be a number"),
        ({"additionalModelRequestFields": [1]}, "must be an object"),
        ({"inferenceConfig": {"maxTokens": "many"}}, "inferenceConfig.maxTokens"),
    ],
)
def test_parameters_that_cannot_be_are_refused(members: Wire, words: str) -> None:
    """A parameter that the engine must not see, or of the wrong type, is refused by its name."""
    with pytest.raises(ValidationError, match=words):
        read_request(asking(**members))


@pytest.mark.parametrize("choice", [None, {"auto": {}}])
def test_a_free_choice_of_tools_is_answered_with_text(choice: JSONValue) -> None:
    """Without a choice, or with auto, the tools do not change the answer: the model cannot decide."""
    config: Wire = {"tools": [WEATHER, ADD]}
    if choice is not None:
        config["toolChoice"] = choice
    plan = read_request(asking(toolConfig=config))
    assert plan == read_request(asking())
    assert plan.tools == ()


def test_a_forced_tool_is_an_answer_under_its_schema() -> None:
    """The named tool's schema holds the answer, the system prompt says so at its end, stop sequences do not apply."""
    plan = read_request(
        asking(
            system=[{"text": "Be brief."}],
            inferenceConfig={"stopSequences": ["}"]},
            toolConfig={"tools": [ADD, WEATHER], "toolChoice": {"tool": {"name": "get_weather"}}},
        )
    )
    assert [spec.name for spec in plan.tools] == ["get_weather"]
    assert plan.stop_sequences == ()
    request = tool_input_request(plan, plan.tools[0])
    assert request.json_schema == {"type": "object", "properties": {"city": {"type": "string"}}}
    system, user = request.messages
    assert system["content"].startswith("Be brief.\n\nYou call the tool get_weather (Get the weather of a city).")
    assert json.dumps(request.json_schema) in system["content"]
    assert user == ChatMessage(role="user", content="Hello?")


def test_any_of_several_tools_is_chosen_by_a_grammar_of_their_names() -> None:
    """The choice sees every description as an example, then the question, and can only be a name."""
    plan = read_request(asking(toolConfig={"tools": [WEATHER, ADD], "toolChoice": {"any": {}}}))
    request = tool_choice_request(plan)
    assert request.grammar == 'root ::= "get_weather" | "add_numbers"'
    assert [message["content"] for message in request.messages[1:]] == [
        "Get the weather of a city",
        "get_weather",
        "add numbers",
        "add_numbers",
        "Hello?",
    ]
    assert chosen_tool(plan, "add_numbers").name == "add_numbers"
    with pytest.raises(Exception, match="none of the 2 tools"):
        chosen_tool(plan, "add_")


NO_TOOLS: list[tuple[Wire, str]] = [
    ({"tools": [WEATHER], "toolChoice": {"tool": {"name": "other"}}}, "no tool 'other'"),
    ({"tools": [{"systemTool": {"name": "nova_grounding"}}]}, r"toolConfig.tools.0.systemTool"),
    ({"tools": [{"laser": {}}]}, r"toolConfig.tools.0.laser"),
    (
        {
            "tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "string"}}}}],
            "toolChoice": {"any": {}},
        },
        "of type object",
    ),
    (
        {"tools": [tool("t", code={"type": "string", "pattern": "^a{5,2}$"})], "toolChoice": {"any": {}}},
        "at least 5 and at most 2 times",
    ),
]


@pytest.mark.parametrize(("config", "words"), NO_TOOLS)
def test_tools_that_cannot_be_are_refused(config: Wire, words: str) -> None:
    """A tool that is not there, tools of the service, inputs that are no objects or can never be, are refused."""
    with pytest.raises(ValidationError, match=words):
        read_request(asking(toolConfig=config))


def text_format(schema: str | None) -> Wire:
    """An outputConfig with this schema."""
    structure: Wire = {} if schema is None else {"jsonSchema": {"schema": schema}}
    return {"textFormat": {"type": "json_schema", "structure": structure}}


def test_an_output_schema_holds_the_answer() -> None:
    """The schema, a text on the wire, becomes the grammar, and stands at the end of the system prompt."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    plan = read_request(asking(system=[{"text": "Be brief."}], outputConfig=text_format(json.dumps(schema))))
    assert plan.chat.json_schema == schema
    assert plan.chat.messages[0]["content"].startswith("Be brief.\n\nReply with only JSON")
    alone = read_request(asking(outputConfig=text_format(json.dumps(schema))))
    assert alone.chat.messages[0]["content"].startswith("Reply with only JSON")


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("{", "is not JSON"),
        ('"string"', "must be a JSON object"),
        (None, "jsonSchema is required"),
        ('{"anyOf": [{"type": "string", "minLength": 5, "maxLength": 2}]}', "minLength 5 is greater than maxLength 2"),
    ],
)
def test_an_output_schema_that_cannot_be_is_refused(schema: str | None, words: str) -> None:
    """A schema that is no JSON object is refused with its path."""
    with pytest.raises(ValidationError, match=words):
        read_request(asking(outputConfig=text_format(schema)))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": 2, "maxLength": 2, "pattern": "^a{2,5}b{3}c{1,}$"},
        {"const": {"minLength": 5, "maxLength": 2}},
        {"enum": [{"pattern": "{5,2}"}]},
        {"properties": {"minLength": {"type": "integer"}, "maxLength": {"type": "integer"}}},
    ],
)
def test_schemas_that_can_be_met_pass(schema: JSONValue) -> None:
    """Equal limits, values that look like limits, and properties of these names are no contradictions."""
    assert contradiction(schema) is None


def test_a_deep_schema_is_looked_through() -> None:
    """A contradiction below a thousand levels is found, without exhausting the stack."""
    schema: JSONValue = {"minLength": 2, "maxLength": 1}
    for _ in range(5000):
        schema = {"items": [schema]}
    assert contradiction(schema) == "minLength 2 is greater than maxLength 1"


def test_half_a_character_does_not_reach_the_engine() -> None:
    """A lone surrogate cannot be encoded for the engine: it becomes U+FFFD."""
    assert clean_text("a\ud83db\U0001f600") == "a\ufffdb\U0001f600"
    with pytest.raises(ValidationError, match="is not JSON"):
        read_request(asking(outputConfig=text_format('{"const": "\\ud83d"}')))
    with pytest.raises(ValidationError, match="cannot be read"):
        read_request(asking({"text": "\ud83d"}))
