"""Chat completions: what is written, and what answers and chunks say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
from corpus import exchanges

from bedrock_async import (
    ConverseResponse,
    Event,
    EventDecodeError,
    InternalServerError,
    InvalidRequestError,
    ModelStreamError,
    ResponseDecodeError,
    StreamTruncatedError,
    ThrottlingError,
    fold,
)
from bedrock_async.providers import HttpRequest

Written = Callable[..., HttpRequest]
Answered = Callable[..., ConverseResponse]
Streamed = Callable[..., list[Event]]

SCHEMA: Final[dict[str, Any]] = {"type": "object", "properties": {"city": {"type": "string"}}}
USER: Final[dict[str, Any]] = {"role": "user", "content": [{"text": "What is the weather in Paris?"}]}
PNG: Final = b"\x89PNG\r\n\x1a\n"


def chunk(delta: Mapping[str, Any], reason: str | None = None) -> dict[str, Any]:
    """One chunk of a chat completion."""
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def sse(*events: Mapping[str, Any], done: bool = True) -> bytes:
    """The bytes of a stream."""
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    return body + (b"data: [DONE]\n\n" if done else b"")


def piece(index: int | None, call_id: str = "", name: str = "", arguments: str | None = None) -> dict[str, Any]:
    """A piece of a tool call."""
    written: dict[str, Any] = {} if index is None else {"index": index}
    if call_id:
        written |= {"id": call_id, "type": "function"}
    return {**written, "function": {**({"name": name} if name else {}), "arguments": arguments}}


def uses(response: ConverseResponse) -> list[tuple[str, str, Any]]:
    """The tool uses of a response."""
    return [(use.tool_use_id, use.name, use.input) for use in response.tool_uses]


# -- writing


def test_everything_that_the_form_has_is_written(written: Written) -> None:
    """System, text, images, tools, results, reasoning, sampling, effort, a schema, tier, and the caller's own."""
    request = written(
        {
            "system": [{"text": "Be brief."}],
            "messages": [
                {"role": "user", "content": [{"text": "See?"}, {"image": {"format": "png", "source": {"bytes": PNG}}}]},
                {
                    "role": "assistant",
                    "content": [
                        {"reasoningContent": {"reasoningText": {"text": "I ask."}}},
                        {"text": "Let me look."},
                        {"toolUse": {"toolUseId": "call-1", "name": "weather", "input": {"city": "Paris"}}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"toolResult": {"toolUseId": "call-1", "content": [{"json": {"c": 5}}], "status": "error"}},
                        {"text": "And?"},
                    ],
                },
            ],
            "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
            "toolConfig": {
                "tools": [{"toolSpec": {"name": "weather", "strict": True, "inputSchema": {"json": SCHEMA}}}],
                "toolChoice": {"tool": {"name": "weather"}},
            },
            "outputConfig": {
                "effort": "low",
                "textFormat": {
                    "type": "json_schema",
                    "structure": {"jsonSchema": {"name": "city", "schema": json.dumps(SCHEMA)}},
                },
            },
            "serviceTier": {"type": "flex"},
            "additionalModelRequestFields": {"seed": 7, "response_format": {"json_schema": {"strict": True}}},
        },
        stream=True,
    )
    assert json.loads(request.body) == {
        "model": "openai.gpt-oss-120b",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "See?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                ],
            },
            {
                "role": "assistant",
                "reasoning": "I ask.",
                "content": "Let me look.",
                "tool_calls": [
                    {
                        "id": "call-1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call-1", "content": 'Error: {"c": 5}'},
            {"role": "user", "content": "And?"},
        ],
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA, "strict": True}}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}},
        "reasoning_effort": "low",
        "stream": True,
        "stream_options": {"include_usage": True},
        "service_tier": "flex",
        "seed": 7,
    }
    assert request.headers == {"content-type": "application/json", "accept": "text/event-stream"}


def test_gpt_5_has_another_name_for_the_limit(written: Written) -> None:
    """It refuses max_tokens."""
    body = json.loads(
        written({"messages": [USER], "inferenceConfig": {"maxTokens": 9}}, "openai.gpt-5.6-sol", api="chat").body
    )
    assert body["max_completion_tokens"] == 9
    assert "max_tokens" not in body


def test_the_guardrail_of_the_runtime_stands_in_headers(written: Written) -> None:
    """Its chat completions require that; the stream processing mode is in the body."""
    request = written(
        {
            "messages": [USER],
            "guardrailConfig": {
                "guardrailIdentifier": "gr-1",
                "guardrailVersion": "2",
                "trace": "enabled",
                "streamProcessingMode": "sync",
            },
        },
        "openai.gpt-oss-120b-1:0",
        endpoint="runtime",
        stream=True,
    )
    guarded = {name: value for name, value in request.headers.items() if name.startswith("x-amzn-bedrock")}
    assert guarded == {
        "x-amzn-bedrock-guardrailidentifier": "gr-1",
        "x-amzn-bedrock-guardrailversion": "2",
        "x-amzn-bedrock-trace": "ENABLED",
    }
    assert json.loads(request.body)["amazon-bedrock-guardrailConfig"] == {"streamProcessingMode": "SYNCHRONOUS"}


@pytest.mark.parametrize(
    ("request_", "what", "hint"),
    [
        (
            {"messages": [{"role": "user", "content": [{"cachePoint": {"type": "default"}}]}]},
            "cache points",
            "converse",
        ),
        (
            {"messages": [{"role": "user", "content": [{"document": {"name": "d", "source": {"text": "x"}}}]}]},
            r"documents \(messages\[0\].content\[0\]\) in a chat completion of bedrock-mantle",
            "provider='converse'",
        ),
        ({"messages": [USER], "guardrailConfig": {"guardrailIdentifier": "g"}}, "a guardrail", "'endpoint': 'runtime'"),
        ({"messages": [USER], "requestMetadata": {"a": "b"}}, "metadata of the request", "converse"),
        ({"messages": [USER], "additionalModelRequestFields": [1]}, "additional request fields of the type list", ""),
        ({"messages": [USER], "serviceTier": {"type": "flex", "new": 1}}, r"members or values.*service_tier\.new", ""),
        ({"messages": [USER], "performanceConfig": {"latency": "optimized"}}, "the latency 'optimized'", "converse"),
        (
            {"messages": [USER], "additionalModelResponseFieldPaths": ["/a"]},
            "paths of additional response fields",
            "converse",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "toolResult": {
                                    "toolUseId": "a",
                                    "content": [{"image": {"format": "png", "source": {"bytes": PNG}}}],
                                }
                            }
                        ],
                    }
                ]
            },
            r"images in the result of a tool \(messages\[0\].content\[0\]\)",
            "'api': 'responses'",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"image": {"format": "png", "source": {"bytes": PNG}}}]}]},
            "media in a message of the assistant",
            "converse",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"reasoningContent": {"redactedContent": b"x"}}]}]},
            "hidden reasoning",
            "'api': 'responses'",
        ),
    ],
)
def test_what_has_no_place_is_refused(request_: dict[str, Any], what: str, hint: str, written: Written) -> None:
    """The error names the provider, the feature, the place, and what to call instead; nothing is dropped silently."""
    with pytest.raises(InvalidRequestError, match=f"^the provider 'mantle' cannot express {what}") as caught:
        written(request_)
    assert hint in (caught.value.hint or "")


def test_reasoning_has_no_place_in_the_chat_completions_of_gpt_5(written: Written) -> None:
    """GPT-5 never returns any there; the error names the API that does."""
    thought = {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "Hm."}}}]}
    with pytest.raises(InvalidRequestError, match="reasoning in the history") as caught:
        written({"messages": [USER, thought]}, "openai.gpt-5.5", api="chat")
    assert "'api': 'responses'" in (caught.value.hint or "")


def test_a_schema_that_is_not_json_is_refused(written: Written) -> None:
    """The error names the place."""
    schema = {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{"}}}
    with pytest.raises(InvalidRequestError, match="the schema for the answer is not JSON"):
        written({"messages": [USER], "outputConfig": {"textFormat": schema}})


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}])
def test_what_json_cannot_hold_is_refused(value: object, written: Written) -> None:
    """That includes NaN, which Python writes although it is not JSON."""
    with pytest.raises(InvalidRequestError, match="the request holds what JSON cannot"):
        written({"messages": [USER], "additionalModelRequestFields": {"x": value}})


def test_a_lone_surrogate_is_sent_as_json_spells_it(written: Written) -> None:
    """JSON can carry it, UTF-8 cannot."""
    body = written({"messages": [{"role": "user", "content": [{"text": "\ud800"}]}]}).body
    assert b'"\\ud800"' in body


# -- reading whole completions


def test_the_runtime_encloses_reasoning_in_tags(answered: Answered, streamed: Streamed, written: Written) -> None:
    """gpt-oss' content on bedrock-runtime is taken apart, however it is cut, and put together again in the history."""
    content = "<reasoning>I add.</reasoning>Five."
    options = {"endpoint": "runtime"}
    whole = {"choices": [{"index": 0, "message": {"content": content}, "finish_reason": "stop"}]}
    response = answered(whole, "openai.gpt-oss-20b-1:0", **options)
    assert (response.text, response.reasoning) == ("Five.", "I add.")

    letters = [chunk({"content": letter}) for letter in content]
    assert fold(streamed(sse(*letters, chunk({}, "stop")), "openai.gpt-oss-20b-1:0", **options)).message == (
        response.message
    )
    history = {"messages": [USER, response.message.to_dict(), USER]}
    body = json.loads(written(history, "openai.gpt-oss-20b-1:0", **options).body)
    assert body["messages"][1]["content"] == content


@pytest.mark.parametrize("recorded", [each for each in exchanges("invoke", 200) if "__openai__" in each.id], ids=str)
def test_recorded_completions_of_invoke_model_are_read(recorded: Any, answered: Answered) -> None:  # noqa: ANN401
    """The same models' chat completions, recorded through InvokeModel, have the same form."""
    told = recorded.response_json
    response = answered(recorded.response_body, recorded.model_id, endpoint="runtime")
    message = told["choices"][0]["message"]
    content = message.get("content") or ""
    assert response.text == content.rpartition("</reasoning>")[2]
    assert [use.name for use in response.tool_uses] == [
        call["function"]["name"] for call in message.get("tool_calls") or ()
    ]
    assert response.usage.total_tokens == told["usage"]["total_tokens"]


@pytest.mark.parametrize(
    ("reason", "message", "expected"),
    [
        ("stop", {"content": "x"}, "end_turn"),
        ("length", {"content": "x"}, "max_tokens"),
        ("tool_calls", {"tool_calls": [piece(None, "a", "f", "{}")]}, "tool_use"),
        ("stop", {"tool_calls": [piece(None, "a", "f", "{}")]}, "tool_use"),
        ("function_call", {"content": "x"}, "tool_use"),
        ("content_filter", {"content": "x"}, "content_filtered"),
        ("stop", {"content": None, "refusal": "I must not."}, "content_filtered"),
        ("something_new", {"content": "x"}, "something_new"),
    ],
)
def test_stop_reasons_are_those_of_converse(
    reason: str, message: dict[str, Any], expected: str, answered: Answered
) -> None:
    """Also of a tool that was forced, which ends with "stop", and of a refusal."""
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": reason}]}
    assert answered(whole).stop_reason == expected


def test_an_intervention_of_the_guardrail_is_told(answered: Answered) -> None:
    """The body tells it, as that of InvokeModel does."""
    whole = {
        "choices": [{"index": 0, "message": {"content": "Sorry."}, "finish_reason": "stop"}],
        "amazon-bedrock-guardrailAction": "INTERVENED",
    }
    assert answered(whole, endpoint="runtime").stop_reason == "guardrail_intervened"


def test_tokens_of_the_cache_are_counted_apart(answered: Answered) -> None:
    """Converse does so; OpenAI counts them as part of the prompt."""
    usage = {"prompt_tokens": 109, "completion_tokens": 5, "total_tokens": 114}
    usage["prompt_tokens_details"] = {"cached_tokens": 50, "cache_write_tokens": 40}  # type: ignore[assignment]
    whole = {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}], "usage": usage}
    told = answered(whole).usage
    assert (told.input_tokens, told.cache_read_input_tokens, told.cache_write_input_tokens) == (19, 50, 40)
    assert (told.output_tokens, told.total_tokens) == (5, 114)


def test_several_calls_of_a_whole_completion_are_told_apart(answered: Answered) -> None:
    """They have no index there."""
    calls = [piece(None, "a", "f", '{"n": 1}'), piece(None, "b", "f", '{"n": 2}'), piece(None, "", "g", "")]
    whole = {"choices": [{"index": 0, "message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}
    assert uses(answered(whole)) == [("a", "f", {"n": 1}), ("b", "f", {"n": 2}), ("call_3", "g", {})]


def test_of_several_answers_the_first_counts(answered: Answered) -> None:
    """Only the caller's additional fields can ask for more."""
    choices = [
        {"index": 1, "message": {"content": "second"}, "finish_reason": "length"},
        {"index": 0, "message": {"content": [{"type": "text", "text": "first"}]}, "finish_reason": "stop"},
    ]
    response = answered({"choices": choices})
    assert (response.text, response.stop_reason) == ("first", "end_turn")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'"text"',
        b'{"choices": 1}',
        b'{"choices": [{"index": 0}]}',
        b'{"choices": [{"message": {"content": 5}}]}',
        b"{" * 99,
    ],
)
def test_a_body_of_another_form_is_an_error(body: bytes, answered: Answered) -> None:
    """The error is of our tree, and carries the body."""
    with pytest.raises(ResponseDecodeError, match="cannot read the answer of") as caught:
        answered(body)
    assert caught.value.body == body


def test_parts_that_are_not_text_are_not_lost(answered: Answered, streamed: Streamed) -> None:
    """A part may be reasoning, as text or as a list of texts; one of an unknown kind is kept as it is."""
    image = {"type": "image_url", "image_url": {"url": "https://example.com/"}}
    thoughts = {"type": "thinking", "thinking": [{"type": "text", "text": "Sim"}, {"type": "text", "text": "ple"}]}
    content = [thoughts, {"type": "thinking", "thinking": "."}, {"type": "text", "text": "4"}, image]
    whole = answered({"choices": [{"index": 0, "message": {"content": content}, "finish_reason": "stop"}]})
    stream = fold(streamed(sse(*(chunk({"content": [part]}) for part in content), chunk({}, "stop"))))
    assert whole.message.to_wire() == stream.message.to_wire()
    assert (whole.reasoning, whole.text) == ("Simple.", "4")
    assert whole.message.content[-1].to_wire() == {"image_url": {"image_url": {"url": "https://example.com/"}}}


# -- reading streams


def test_tokens_come_after_the_end(streamed: Streamed) -> None:
    """They come in a chunk of their own, after the finish reason and before [DONE], as bedrock-mantle sends them."""
    tokens = {"prompt_tokens": 7, "completion_tokens": 3}
    usage: dict[str, Any] = {"choices": [], "usage": tokens, "service_tier": "flex"}
    events = streamed(
        sse(chunk({"role": "assistant", "content": ""}), chunk({"content": "x"}), chunk({}, "stop"), usage)
    )
    assert [event.type for event in events] == [
        "message_start",
        "content_block_delta",
        "content_block_stop",
        "message_stop",
        "metadata",
    ]
    response = fold(events)
    assert response.usage.total_tokens == 10
    assert response.service_tier is not None
    assert response.service_tier.type == "flex"


PARALLEL: Final = [
    ("a", "f", '{"n":', " 1}"),
    ("b", "g", '{"m":', " 2}"),
    ("c", "h", "{", "}"),
]


def test_parallel_calls_come_one_after_the_other(streamed: Streamed) -> None:
    """The usual order: first id and name, then pieces of the arguments with the index of the call."""
    chunks = [chunk({"content": "Both."})]
    for index, (call_id, name, first, second) in enumerate(PARALLEL):
        chunks.append(chunk({"tool_calls": [piece(index, call_id, name, "")]}))
        chunks += [chunk({"tool_calls": [piece(index, arguments=part)]}) for part in (first, second)]
    response = fold(streamed(sse(*chunks, chunk({}, "tool_calls"))))
    assert uses(response) == [("a", "f", {"n": 1}), ("b", "g", {"m": 2}), ("c", "h", {})]
    assert (response.text, response.stop_reason) == ("Both.", "tool_use")


def test_the_pieces_of_parallel_calls_may_be_mixed(streamed: Streamed) -> None:
    """The index of a piece tells its call; blocks still come one after the other."""
    chunks = [
        chunk(
            {
                "tool_calls": [
                    piece(index, call_id, name, first) for index, (call_id, name, first, _) in enumerate(PARALLEL)
                ]
            }
        ),
        *(chunk({"tool_calls": [piece(index, arguments=PARALLEL[index][3])]}) for index in (2, 0, 1)),
    ]
    events = streamed(sse(*chunks, chunk({}, "tool_calls")))
    assert uses(fold(events)) == [("a", "f", {"n": 1}), ("b", "g", {"m": 2}), ("c", "h", {})]
    starts = [event.type for event in events if event.type.startswith("content_block_st")]
    assert starts == ["content_block_start", "content_block_stop"] * 3


def test_calls_of_one_number_are_told_apart_by_their_ids(streamed: Streamed) -> None:
    """Some servers give every call the index 0; some repeat id and name with every piece."""
    chunks = [
        chunk({"tool_calls": [piece(0, "a", "f", '{"n":')]}),
        chunk({"tool_calls": [piece(0, "a", "f", "1}")]}),
        chunk({"tool_calls": [piece(0, "b", "f", '{"n":2}')]}),
    ]
    assert uses(fold(streamed(sse(*chunks, chunk({}, "tool_calls"))))) == [("a", "f", {"n": 1}), ("b", "f", {"n": 2})]


def test_pieces_without_a_number_go_on_with_the_last_call(streamed: Streamed) -> None:
    """Unless they name a new one."""
    chunks = [
        chunk({"tool_calls": [piece(None, "a", "f", '{"n":')]}),
        chunk({"tool_calls": [piece(None, arguments="1}")]}),
        chunk({"tool_calls": [piece(None, "b", "g", '{"m":')]}),
        chunk({"tool_calls": [piece(None, arguments="2}")]}),
    ]
    assert uses(fold(streamed(sse(*chunks, chunk({}, "tool_calls"))))) == [("a", "f", {"n": 1}), ("b", "g", {"m": 2})]


def test_a_piece_after_the_end_of_its_call_is_an_error(streamed: Streamed) -> None:
    """It would change a call that has already been returned."""
    chunks = [
        chunk({"tool_calls": [piece(0, "a", "f", '{"n":')]}),
        chunk({"content": "Hm."}),
        chunk({"tool_calls": [piece(0, arguments="1}")]}),
    ]
    with pytest.raises(EventDecodeError, match="a piece of block 1 comes after its end"):
        streamed(sse(*chunks))


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_comes_in_a_member_of_its_own(name: str, streamed: Streamed) -> None:
    """bedrock-mantle and other servers name it differently."""
    chunks = [chunk({name: "I th"}), chunk({name: "ink."}), chunk({"content": "Yes."}), chunk({}, "stop")]
    response = fold(streamed(sse(*chunks)))
    assert (response.reasoning, response.text) == ("I think.", "Yes.")


def test_content_may_follow_a_call(streamed: Streamed) -> None:
    """The call ends there."""
    chunks = [chunk({"tool_calls": [piece(0, "a", "f", "{}")]}), chunk({"content": "Done."}), chunk({}, "stop")]
    response = fold(streamed(sse(*chunks)))
    assert [type(block).__name__ for block in response.message.content] == ["ToolUseBlock", "TextBlock"]
    assert response.stop_reason == "tool_use"


@pytest.mark.parametrize("done", [True, False])
def test_a_stream_without_a_reason_for_its_end_is_cut_off(done: bool, streamed: Streamed) -> None:  # noqa: FBT001
    """Whether [DONE] comes or not."""
    with pytest.raises(StreamTruncatedError):
        streamed(sse(chunk({"content": "x"}), done=done))


def test_a_delta_of_null_says_nothing_more(streamed: Streamed) -> None:
    """Some servers end with one; the reason that comes with it is read."""
    end = {"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]}
    response = fold(streamed(sse(chunk({"content": "Hi"}), end)))
    assert (response.text, response.stop_reason) == ("Hi", "end_turn")


def test_a_stream_is_whole_without_done(streamed: Streamed) -> None:
    """The finish reason is enough."""
    assert fold(streamed(sse(chunk({"content": "x"}, "stop"), done=False))).text == "x"


def test_nothing_is_read_after_done(streamed: Streamed) -> None:
    """Whatever follows is ignored."""
    assert fold(streamed(sse(chunk({"content": "x"}, "stop")) + b"data: {\n\n" + b"\xff" * 9)).text == "x"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"error": {"message": "Slow down.", "type": "rate_limit_error", "code": None}}, ThrottlingError),
        ({"error": {"message": "Oops.", "type": "server_error", "code": "internal_error"}}, InternalServerError),
        ({"error": {"message": "Oops."}}, ModelStreamError),
        ({"error": "Oops."}, ModelStreamError),
        ({"object": "error", "message": "Oops.", "code": 500}, InternalServerError),
        ({"choices": [], "error": {"message": "Oops.", "code": 429}}, ThrottlingError),
    ],
)
def test_an_error_inside_a_stream_is_raised(fault: dict[str, Any], error: type[Exception], streamed: Streamed) -> None:
    """Every form that is sent is read, and is retryable according to its kind."""
    with pytest.raises(error) as caught:
        streamed(sse(chunk({"content": "x"}), fault))
    assert getattr(caught.value, "in_stream", False)
    assert getattr(caught.value, "retryable", False)


@pytest.mark.parametrize(
    "data", [b"{", b"[1]", b"5", b"\xff", b'{"choices": 1}', b'{"choices": [{"delta": 5}]}', b"{}"]
)
def test_an_event_of_another_form_is_an_error(data: bytes, streamed: Streamed) -> None:
    """The error carries what arrived."""
    with pytest.raises(EventDecodeError) as caught:
        streamed(b"data: " + data + b"\n\n")
    assert caught.value.payload == data


def test_json_that_the_fast_parser_refuses_is_read(streamed: Streamed) -> None:
    """For example, the broken UTF-8 that a cut-off character leaves in an answer."""
    body = b'data: {"choices": [{"index": 0, "delta": {"content": "a\xff"}, "finish_reason": "stop"}]}\n\n'
    assert fold(streamed(body)).text == "a\ufffd"
