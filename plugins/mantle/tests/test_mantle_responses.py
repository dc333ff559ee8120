"""The Responses API: what is written, and what answers and events say; `test_mantle_recorded.py` has the recordings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from bedrock_async import (
    BedrockError,
    CitationsBlock,
    ConverseResponse,
    Event,
    EventDecodeError,
    InternalServerError,
    InvalidRequestError,
    ModelError,
    ReasoningBlock,
    ResponseDecodeError,
    StreamTruncatedError,
    TextBlock,
    ThrottlingError,
    ToolUseBlock,
    UnknownBlock,
    ValidationError,
    fold,
)
from bedrock_async.providers import HttpRequest

Written = Callable[..., HttpRequest]
Answered = Callable[..., ConverseResponse]
Streamed = Callable[..., list[Event]]

MODEL: Final = "openai.gpt-5.6-sol"
SCHEMA: Final[dict[str, Any]] = {"type": "object", "properties": {"city": {"type": "string"}}}
USER: Final[dict[str, Any]] = {"role": "user", "content": [{"text": "Hi."}]}
PNG: Final = b"\x89PNG\r\n\x1a\n"
IMAGE: Final[dict[str, Any]] = {"image": {"format": "png", "source": {"bytes": PNG}}}
INPUT_IMAGE: Final = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBORw0KGgo="}


def message(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """An item of the output."""
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": list(parts)}


def text(said: str, **more: object) -> dict[str, Any]:
    """A part of a message."""
    return {"type": "output_text", "text": said, "annotations": [], **more}


def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A tool call."""
    return {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": name, "arguments": arguments}


def response(*output: Mapping[str, Any], **members: object) -> dict[str, Any]:
    """A whole response."""
    return {
        "object": "response",
        "id": "resp_abc",
        "status": "completed",
        "error": None,
        "output": list(output),
        **members,
    }


def streamed_response(*events: Mapping[str, Any], end: Mapping[str, Any] | None = None) -> bytes:
    """The bytes of a stream, which begins and, unless ``end`` says something else, ends as streams do."""
    begin = {"type": "response.created", "response": response(status="in_progress")}
    last = end if end is not None else {"type": "response.completed", "response": response()}
    numbered = [{**event, "sequence_number": number} for number, event in enumerate([begin, *events, last])]
    return b"".join(
        b"event: " + str(event["type"]).encode() + b"\ndata: " + json.dumps(event).encode() + b"\n\n"
        for event in numbered
    )


def added(index: int, item: Mapping[str, Any]) -> dict[str, Any]:
    """An item begins."""
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index: int, item: Mapping[str, Any]) -> dict[str, Any]:
    """An item ends."""
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def delta(kind: str, index: int, piece: object, **more: object) -> dict[str, Any]:
    """A piece of an item."""
    return {"type": f"response.{kind}.delta", "output_index": index, "delta": piece, **more}


# -- writing


def test_everything_that_the_form_has_is_written(written: Written) -> None:
    """System, text, images, tools, results, sampling, effort, a schema, and the caller's own; nothing is stored."""
    request = written(
        {
            "system": [{"text": "Be brief."}, {"text": "Be kind."}],
            "messages": [
                {"role": "user", "content": [{"text": "See?"}, IMAGE]},
                {
                    "role": "assistant",
                    "content": [
                        {"text": "Let me "},
                        {"text": "look."},
                        {"toolUse": {"toolUseId": "call-1", "name": "weather", "input": {"city": "Paris"}}},
                        {"toolUse": {"toolUseId": "call-2", "name": "map", "input": {}}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"toolResult": {"toolUseId": "call-1", "content": [{"text": "no"}], "status": "error"}},
                        {"toolResult": {"toolUseId": "call-2", "content": [{"json": {"c": 5}}, IMAGE]}},
                        {"text": "And?"},
                    ],
                },
                {"role": "system", "content": [{"text": "Faster."}]},
            ],
            "inferenceConfig": {"maxTokens": 99, "temperature": 1.0, "topP": 0.9},
            "toolConfig": {
                "tools": [
                    {"toolSpec": {"name": "weather", "description": "W.", "inputSchema": {"json": SCHEMA}}},
                    {"toolSpec": {"name": "map", "strict": True, "inputSchema": {"json": SCHEMA}}},
                ],
                "toolChoice": {"any": {}},
            },
            "outputConfig": {
                "effort": "low",
                "textFormat": {
                    "type": "json_schema",
                    "structure": {
                        "jsonSchema": {"name": "city", "description": "A city.", "schema": json.dumps(SCHEMA)}
                    },
                },
            },
            "serviceTier": {"type": "default"},
            "additionalModelRequestFields": {"reasoning": {"summary": "auto"}, "parallel_tool_calls": False},
        },
        MODEL,
    )
    assert json.loads(request.body) == {
        "model": MODEL,
        "instructions": "Be brief.\nBe kind.",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "See?"},
                    INPUT_IMAGE,
                ],
            },
            {"role": "assistant", "content": "Let me look."},
            {"type": "function_call", "call_id": "call-1", "name": "weather", "arguments": '{"city": "Paris"}'},
            {"type": "function_call", "call_id": "call-2", "name": "map", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call-1", "output": "Error: no"},
            {
                "type": "function_call_output",
                "call_id": "call-2",
                "output": [
                    {"type": "input_text", "text": '{"c": 5}'},
                    INPUT_IMAGE,
                ],
            },
            {"role": "user", "content": "And?"},
            {"role": "system", "content": "Faster."},
        ],
        "max_output_tokens": 99,
        "temperature": 1.0,
        "top_p": 0.9,
        "tools": [
            {"type": "function", "name": "weather", "description": "W.", "parameters": SCHEMA, "strict": False},
            {"type": "function", "name": "map", "parameters": SCHEMA, "strict": True},
        ],
        "tool_choice": "required",
        "text": {"format": {"type": "json_schema", "name": "city", "description": "A city.", "schema": SCHEMA}},
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "parallel_tool_calls": False,
        "service_tier": "default",
        "store": False,
        "stream": False,
    }


@pytest.mark.parametrize(
    ("choice", "expected"),
    [({"auto": {}}, "auto"), ({"tool": {"name": "map"}}, {"type": "function", "name": "map"})],
)
def test_the_choice_among_tools_is_written(choice: dict[str, Any], expected: object, written: Written) -> None:
    """In the words of the API."""
    tools = [{"toolSpec": {"name": "map", "inputSchema": {"json": SCHEMA}}}]
    body = json.loads(written({"messages": [USER], "toolConfig": {"tools": tools, "toolChoice": choice}}, MODEL).body)
    assert body["tool_choice"] == expected


def test_an_effort_in_the_word_of_chat_completions_is_understood(written: Written) -> None:
    """The members of the caller's own stay beside it."""
    fields = {"reasoning_effort": "high", "reasoning": {"summary": "auto"}}
    body = json.loads(written({"messages": [USER], "additionalModelRequestFields": fields}, MODEL).body)
    assert body["reasoning"] == {"effort": "high", "summary": "auto"}
    assert "reasoning_effort" not in body


def test_what_the_caller_says_wins(written: Written) -> None:
    """A stored response, and one without hidden reasoning."""
    body = json.loads(
        written({"messages": [USER], "additionalModelRequestFields": {"store": True, "include": []}}, MODEL).body
    )
    assert (body["store"], body["include"]) == (True, [])


def test_readable_reasoning_goes_back_as_an_item(written: Written) -> None:
    """Each with an id of its own, which the form demands."""
    thought = {"reasoningContent": {"reasoningText": {"text": "Hm."}}}
    asked = {"messages": [USER, {"role": "assistant", "content": [thought, {"text": "Yes."}]}, USER]}
    body = json.loads(written(asked, "openai.gpt-oss-20b", api="responses").body)
    assert body["input"][1:3] == [
        {
            "type": "reasoning",
            "id": "rs_messages_1_content_0",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "Hm."}],
        },
        {"role": "assistant", "content": "Yes."},
    ]
    assert "include" not in body


REFUSED: Final[list[tuple[dict[str, Any], str, str]]] = [
    (
        {"messages": [USER], "inferenceConfig": {"stopSequences": ["END"]}},
        r"stop sequences \(inference_config.stop_sequences\) in the Responses API of bedrock-mantle",
        "'api': 'chat'",
    ),
    ({"messages": [USER], "guardrailConfig": {"guardrailIdentifier": "g"}}, "a guardrail", "'endpoint': 'runtime'"),
    (
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": [{"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2lnbmVk"}}}],
                }
            ]
        },
        r"reasoning that another model has signed or hidden \(messages\[0\].content\[0\]\)",
        "converse",
    ),
    (
        {"messages": [{"role": "assistant", "content": [{"reasoningContent": {"redactedContent": b"{}"}}]}]},
        "reasoning that another model has signed or hidden",
        "converse",
    ),
    (
        {"messages": [{"role": "user", "content": [{"audio": {"format": "mp3", "source": {"bytes": b"x"}}}]}]},
        "audio clips",
        "'api': 'chat'",
    ),
    ({"messages": [{"role": "assistant", "content": [IMAGE]}]}, "media in a message of the assistant", "converse"),
    (
        {"messages": [{"role": "user", "content": [{"new": {"type": "other"}}]}]},
        "blocks that this version",
        "converse",
    ),
    ({"system": [{"new": {}}], "messages": [USER]}, "a block of type UnknownBlock in the system prompt", "converse"),
    (
        {"messages": [{"role": "user", "content": [{"toolResult": {"toolUseId": "a", "content": [{"new": {}}]}}]}]},
        "a block of type UnknownBlock in the result of a tool",
        "converse",
    ),
]


@pytest.mark.parametrize(("request_", "what", "hint"), REFUSED)
def test_what_has_no_place_is_refused(request_: dict[str, Any], what: str, hint: str, written: Written) -> None:
    """The error names the provider, the feature, the place, and what to call instead."""
    with pytest.raises(InvalidRequestError, match=f"^the provider 'mantle' cannot express {what}") as caught:
        written(request_, MODEL)
    assert hint in (caught.value.hint or "")


# -- reading


def test_hidden_reasoning_comes_back_to_its_place(answered: Answered, streamed: Streamed, written: Written) -> None:
    """Sealed with its id: as redacted content, or as the signature of a summary; whole and streamed alike."""
    hidden: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "b64"}
    summary = [{"type": "summary_text", "text": "First."}, {"type": "summary_text", "text": "Then."}]
    summed = {"type": "reasoning", "id": "rs_2", "summary": summary, "encrypted_content": "more"}
    whole = answered(response(hidden, summed, message(text("Yes."))), MODEL)
    first, second, said = whole.message.content
    assert isinstance(first, ReasoningBlock)
    assert first.redacted_content == b'{"id":"rs_1","encrypted_content":"b64"}'
    assert isinstance(second, ReasoningBlock)
    assert (second.text, second.signature) == ("First.\n\nThen.", '{"id":"rs_2","encrypted_content":"more"}')
    assert said == TextBlock(text="Yes.")

    pieces = [
        added(0, {**hidden, "encrypted_content": "half"}),
        done(0, hidden),
        added(1, {"type": "reasoning", "id": "rs_2", "summary": []}),
        delta("reasoning_summary_text", 1, "First.", summary_index=0),
        delta("reasoning_summary_text", 1, "Then.", summary_index=1),
        done(1, summed),
        added(2, message()),
        delta("output_text", 2, "Yes.", content_index=0),
        done(2, message(text("Yes."))),
    ]
    assert fold(streamed(streamed_response(*pieces), MODEL)).message == whole.message

    history = {"messages": [USER, whole.message.to_dict(), USER]}
    assert json.loads(written(history, MODEL).body)["input"][1:3] == [
        hidden,
        {**summed, "summary": [{"type": "summary_text", "text": "First.\n\nThen."}]},
    ]


@pytest.mark.parametrize(
    ("kind", "more"),
    [("reasoning_text", {"content_index": 0}), ("reasoning_summary_text", {"summary_index": 0}), ("reasoning", {})],
)
def test_all_events_of_reasoning_are_read(kind: str, more: dict[str, Any], streamed: Streamed) -> None:
    """That of Gemma too, whose deltas may be objects."""
    item: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": []}
    body = streamed_response(
        added(0, item), delta(kind, 0, "I th", **more), delta(kind, 0, {"text": "ink."}, **more), done(0, item)
    )
    assert fold(streamed(body, MODEL)).reasoning == "I think."


def test_parts_of_a_message_are_blocks(answered: Answered, streamed: Streamed) -> None:
    """One each, whole and streamed alike."""
    item = message(text("One."), text("Two."))
    whole = answered(response(item), MODEL).message
    assert whole.content == [TextBlock(text="One."), TextBlock(text="Two.")]
    pieces = [delta("output_text", 0, said, content_index=index) for index, said in enumerate(("One.", "Two."))]
    assert fold(streamed(streamed_response(added(0, message()), *pieces, done(0, item)), MODEL)).message == whole


def test_the_pieces_of_parallel_calls_may_be_mixed(streamed: Streamed) -> None:
    """The output index of a piece tells its item; blocks still come one after the other."""
    calls = [call("call_a", "f", '{"n": 1}'), call("call_b", "g", '{"m": 2}'), call("call_c", "h", "{}")]
    pieces = [
        *(added(index, {**each, "arguments": ""}) for index, each in enumerate(calls)),
        delta("function_call_arguments", 1, '{"m"'),
        delta("function_call_arguments", 0, '{"n"'),
        delta("function_call_arguments", 2, "{}"),
        done(2, calls[2]),
        delta("function_call_arguments", 1, ": 2}"),
        delta("function_call_arguments", 0, ": 1}"),
        done(0, calls[0]),
        done(1, calls[1]),
    ]
    events = streamed(streamed_response(*pieces), MODEL)
    reply = fold(events)
    assert [(use.tool_use_id, use.name, use.input) for use in reply.tool_uses] == [
        ("call_a", "f", {"n": 1}),
        ("call_b", "g", {"m": 2}),
        ("call_c", "h", {}),
    ]
    assert reply.stop_reason == "tool_use"


def test_items_that_come_whole_are_read(streamed: Streamed) -> None:
    """A stream may have no pieces at all."""
    items = [message(text("Yes.")), call("call_x", "f", '{"n": 1}')]
    reply = fold(streamed(streamed_response(*(done(index, item) for index, item in enumerate(items))), MODEL))
    assert reply.text == "Yes."
    assert [use.input for use in reply.tool_uses] == [{"n": 1}]


def test_ids_that_every_answer_begins_anew_are_made_different(answered: Answered) -> None:
    """The ids of a conversation must not collide; all other ids stay unchanged."""
    ids = [
        answered(response(call(call_id, "f", "{}"), id=response_id), MODEL).tool_uses[0].tool_use_id
        for response_id in ("resp_" + "a" * 80, "resp_b")
        for call_id in ("call_0", "call_12", "call_836db14dc7486091")
    ]
    assert ids == [
        "call_0_" + "a" * 57,
        "call_12_" + "a" * 56,
        "call_836db14dc7486091",
        "call_0_b",
        "call_12_b",
        ids[2],
    ]


def test_sources_are_cited(answered: Answered, streamed: Streamed) -> None:
    """URL citations become citations; other annotations are ignored."""
    mark = {"type": "url_citation", "url": "https://example.com/a", "title": "A", "start_index": 0, "end_index": 4}
    item = message(text("Yes.", annotations=[mark, {"type": "file_citation", "file_id": "f"}]))
    whole = answered(response(item), MODEL).message
    (block,) = whole.content
    assert isinstance(block, CitationsBlock)
    assert block.text == "Yes."
    assert block.citations is not None
    assert [(each.title, each.source) for each in block.citations] == [("A", "https://example.com/a")]

    pieces = [
        delta("output_text", 0, "Yes.", content_index=0),
        {"type": "response.output_text.annotation.added", "output_index": 0, "annotation": mark},
        {"type": "response.output_text.annotation.added", "output_index": 0, "annotation": {"type": "file_citation"}},
        done(0, item),
    ]
    assert fold(streamed(streamed_response(added(0, message()), *pieces), MODEL)).message == whole


def test_what_the_service_did_itself_is_kept_and_goes_back(
    answered: Answered, streamed: Streamed, written: Written
) -> None:
    """A web search, for example, is an unknown block, which becomes the same item again."""
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "x"}}
    whole = answered(response(search, message(text("Yes."))), MODEL).message
    assert whole.content == [UnknownBlock(raw={"web_search_call": search}), TextBlock(text="Yes.")]
    progress = {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1"}
    pieces = [added(0, search), progress, done(0, search), done(1, message(text("Yes.")))]
    assert fold(streamed(streamed_response(*pieces), MODEL)).message == whole
    assert json.loads(written({"messages": [USER, whole.to_dict(), USER]}, MODEL).body)["input"][1] == search


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, "end_turn"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "max_tokens"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filtered"),
        ({"status": "incomplete", "incomplete_details": {"reason": "something_new"}}, "something_new"),
        ({"status": "incomplete", "incomplete_details": None}, "incomplete"),
    ],
)
def test_stop_reasons_are_those_of_converse(
    members: dict[str, Any], expected: str, answered: Answered, streamed: Streamed
) -> None:
    """Whole and streamed alike."""
    assert answered(response(message(text("x")), **members), MODEL).stop_reason == expected
    kind = "response.incomplete" if members else "response.completed"
    body = streamed_response(end={"type": kind, "response": response(**members)})
    assert fold(streamed(body, MODEL)).stop_reason == expected


def test_a_refusal_is_text_and_the_reason_for_the_end(answered: Answered, streamed: Streamed) -> None:
    """Whole and streamed alike."""
    item = message({"type": "refusal", "refusal": "I must not."})
    whole = answered(response(item), MODEL)
    assert (whole.text, whole.stop_reason) == ("I must not.", "content_filtered")
    pieces = [added(0, message()), delta("refusal", 0, "I must not.", content_index=0), done(0, item)]
    reply = fold(streamed(streamed_response(*pieces), MODEL))
    assert (reply.text, reply.stop_reason) == ("I must not.", "content_filtered")


def test_tokens_of_the_cache_are_counted_apart(answered: Answered) -> None:
    """Converse does so; OpenAI counts them as part of the input."""
    usage = {
        "input_tokens": 109,
        "output_tokens": 5,
        "input_tokens_details": {"cache_write_tokens": 107, "cached_tokens": 0},
    }
    told = answered(response(message(text("x")), usage=usage), MODEL).usage
    assert (told.input_tokens, told.cache_write_input_tokens, told.cache_read_input_tokens) == (2, 107, 0)
    assert (told.output_tokens, told.total_tokens) == (5, 114)


@pytest.mark.parametrize(
    ("event", "error", "code"),
    [
        (
            {"type": "error", "code": "rate_limit_exceeded", "message": "Slow.", "param": None},
            ThrottlingError,
            "rate_limit_exceeded",
        ),
        ({"type": "error", "error": {"code": "server_error", "message": "Oops."}}, InternalServerError, "server_error"),
        (
            {
                "type": "response.failed",
                "response": response(status="failed", error={"code": "server_error", "message": "O."}),
            },
            InternalServerError,
            "server_error",
        ),
        (
            {
                "type": "response.failed",
                "response": response(status="failed", error={"code": "invalid_prompt", "message": "O."}),
            },
            ValidationError,
            "invalid_prompt",
        ),
        ({"type": "response.failed", "response": response(status="failed")}, BedrockError, "ModelStreamErrorException"),
    ],
)
def test_an_error_inside_a_stream_is_raised(
    event: dict[str, Any], error: type[BedrockError], code: str, streamed: Streamed
) -> None:
    """Every form is read, with the service's own code."""
    with pytest.raises(error) as caught:
        streamed(streamed_response(done(0, message(text("x"))), end=event), MODEL)
    assert getattr(caught.value, "code", None) == code
    assert getattr(caught.value, "in_stream", False)


def test_a_failed_response_is_an_error(answered: Answered) -> None:
    """It is one although it comes with HTTP 200."""
    failed = response(status="failed", error={"code": "server_error", "message": "Oops."})
    with pytest.raises(InternalServerError, match="server_error, HTTP 200: Oops") as caught:
        answered(failed, MODEL)
    assert caught.value.retryable


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled"])
def test_a_response_that_goes_on_elsewhere_is_an_error(status: str, answered: Answered) -> None:
    """It is not complete, and nothing here waits for it."""
    with pytest.raises(ModelError, match=f"its status is '{status}'") as caught:
        answered(response(status=status), MODEL)
    assert "leave background out" in (caught.value.hint or "")


UNREADABLE: Final[list[dict[str, Any]]] = [
    {"object": "response"},
    {"object": "response", "output": [{}], "status": "completed"},
    {"object": "response", "output": [{"type": 5}], "status": "completed"},
    {"object": "response", "output": [{"type": "message", "content": [5]}], "status": "completed"},
    {"object": "chat.completion", "choices": []},
]


@pytest.mark.parametrize("body", UNREADABLE)
def test_a_body_of_another_form_is_an_error(body: dict[str, Any], answered: Answered) -> None:
    """The error is of our tree."""
    with pytest.raises(ResponseDecodeError, match="as the Responses API"):
        answered(body, MODEL)


BROKEN: Final[list[dict[str, Any]]] = [
    {"type": "response.output_text.delta"},
    {"type": "response.output_item.done", "output_index": 0, "item": {}},
    {"type": "response.completed", "response": 5},
    {"no": "type"},
    delta("output_text", 0, 5, content_index=0),
]


@pytest.mark.parametrize("event", BROKEN)
def test_an_event_of_another_form_is_an_error(event: dict[str, Any], streamed: Streamed) -> None:
    """The error carries what arrived."""
    body = b"data: " + json.dumps(event).encode() + b"\n\n"
    with pytest.raises(EventDecodeError) as caught:
        streamed(body, MODEL)
    assert caught.value.payload == body[6:-2]


def test_events_that_nobody_knows_are_read_over(streamed: Streamed) -> None:
    """New event types report progress, or repeat others."""
    body = streamed_response(
        {"type": "response.something.new", "x": 1}, {"type": "keepalive"}, done(0, message(text("x")))
    )
    assert fold(streamed(body, MODEL)).text == "x"


def test_a_stream_without_its_end_is_cut_off(streamed: Streamed) -> None:
    """It is, even if every item was complete."""
    body = streamed_response(done(0, message(text("x"))))
    with pytest.raises(StreamTruncatedError):
        streamed(body[: body.rindex(b"event: ")], MODEL)


def test_a_piece_after_the_end_of_its_item_is_an_error(streamed: Streamed) -> None:
    """It would change what has already been returned."""
    body = streamed_response(done(0, message(text("x"))), delta("output_text", 0, "y", content_index=0))
    with pytest.raises(EventDecodeError, match="a piece of block 0 comes after its end"):
        streamed(body, MODEL)


def test_tool_input_that_is_no_json_is_kept_as_text(answered: Answered) -> None:
    """As a stream that hit its limit leaves it: never turned into something that could be run."""
    (use,) = answered(response(call("c", "f", '{"n": ')), MODEL).message.content
    assert isinstance(use, ToolUseBlock)
    assert use.invalid_input
