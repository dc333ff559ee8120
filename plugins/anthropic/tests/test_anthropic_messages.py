"""The words of the Messages API: what requests become, and what answers say, beyond what was recorded natively."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest
from bedrock_async_anthropic import AnthropicFamily
from bedrock_async_anthropic.citations import native_citation, read_citation
from corpus import exchanges

from bedrock_async import ConverseRequest, ConverseResponse, InvalidRequestError
from bedrock_async.errors import ModelStreamError
from bedrock_async.families import FamilyContext, encode_request, find_profile
from bedrock_async.folding import fold
from bedrock_async.model_id import parse_model_id
from bedrock_async.types import Citation

SONNET: Final = "anthropic.claude-sonnet-4-5-20250929-v1:0"


def context(model: str = SONNET, **options: Any) -> FamilyContext:  # noqa: ANN401 - any option
    """Return the context of a call."""
    return FamilyContext(parse_model_id(model), find_profile(model), options=options)


def encoded(wire: Mapping[str, Any], model: str = SONNET) -> Any:  # noqa: ANN401 - JSON
    """The native body of a Converse request in boto3's shape."""
    return dict(encode_request(AnthropicFamily(), ConverseRequest.from_dict(wire), context(model)).body)


def blocks(*content: Mapping[str, Any], role: str = "user") -> Any:  # noqa: ANN401 - JSON
    """The native blocks of one message."""
    return encoded({"messages": [{"role": role, "content": content}]})["messages"][0]["content"]


def decoded(**members: Any) -> ConverseResponse:  # noqa: ANN401 - any member
    """The response of a native message."""
    body: dict[str, Any] = {"type": "message", "role": "assistant", "content": [], "stop_reason": "end_turn", **members}
    return AnthropicFamily().decode(body, {}, context())


def streamed(*chunks: Mapping[str, Any]) -> ConverseResponse:
    """The response that a stream of these events folds into."""
    decoder = AnthropicFamily().stream_decoder(context())
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1}}}
    stop = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
    events = [event for chunk in (start, *chunks, stop) for event in decoder.receive(chunk)]
    return fold([*events, *decoder.eof()])


# -- requests


def test_the_maximum_of_the_model_stands_where_none_is_given() -> None:
    """max_tokens is required natively; Converse uses the model's maximum, and a safe number replaces an unknown one."""
    question = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
    assert encoded(question)["max_tokens"] == 64_000
    assert encoded(question, "anthropic.claude-of-tomorrow")["max_tokens"] == 4_096
    assert encoded({**question, "inferenceConfig": {"maxTokens": 5}})["max_tokens"] == 5


@pytest.mark.parametrize(
    ("document", "source"),
    [
        (
            {"format": "pdf", "source": {"bytes": b"%PDF"}},
            {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
        ),
        (
            {"format": "md", "source": {"bytes": "# ä".encode()}},
            {"type": "text", "media_type": "text/plain", "data": "# ä"},
        ),
        ({"source": {"text": "plain"}}, {"type": "text", "media_type": "text/plain", "data": "plain"}),
        (
            {"source": {"content": [{"text": "one"}, {"text": "two"}]}},
            {"type": "content", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        ),
    ],
)
def test_documents_keep_their_kind(document: dict[str, Any], source: dict[str, Any]) -> None:
    """PDF as bytes, text as text, parts as parts; with title, context and whether to cite."""
    described = {"name": "report", "context": "of 2025", "citations": {"enabled": True}, **document}
    (block,) = blocks({"document": described})
    assert block == {
        "type": "document",
        "source": source,
        "title": "report",
        "context": "of 2025",
        "citations": {"enabled": True},
    }


@pytest.mark.parametrize("kind", ["doc", "docx", "xls", "xlsx", "odt"])
def test_documents_that_only_converse_converts_are_refused(kind: str) -> None:
    """The error names the format, the place, and the provider that supports it."""
    document = {"document": {"format": kind, "name": "d", "source": {"bytes": b"x"}}}
    with pytest.raises(
        InvalidRequestError, match=rf"'anthropic' cannot express documents of the format {kind}"
    ) as caught:
        blocks(document)
    assert caught.value.path == "messages[0].content[0]"
    assert "provider='converse'" in str(caught.value)


def test_a_text_document_that_is_no_text_is_refused() -> None:
    """Before the model reads noise."""
    with pytest.raises(InvalidRequestError, match="not UTF-8 text"):
        blocks({"document": {"format": "txt", "name": "d", "source": {"bytes": b"\xff\xfe"}}})


def test_images_and_search_results_have_native_words() -> None:
    """Bytes as base64, sources with their passages."""
    image = {"image": {"format": "jpeg", "source": {"bytes": b"\xff\xd8"}}}
    found = {"source": "https://a.example", "title": "A", "content": [{"text": "a"}], "citations": {"enabled": True}}
    assert blocks(image, {"searchResult": found}) == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9g="}},
        {
            "type": "search_result",
            "source": "https://a.example",
            "title": "A",
            "content": [{"type": "text", "text": "a"}],
            "citations": {"enabled": True},
        },
    ]


def test_results_of_tools_hold_blocks() -> None:
    """Text, JSON as text, images; an error is marked, success is not."""
    image = {"image": {"format": "png", "source": {"bytes": b"x"}}}
    content = [{"text": "a"}, {"json": {"b": "ä"}}, image]
    failed, done = blocks(
        {"toolResult": {"toolUseId": "1", "content": content, "status": "error"}},
        {"toolResult": {"toolUseId": "2", "content": [], "status": "success"}},
    )
    assert failed["is_error"] is True
    assert [part["type"] for part in failed["content"]] == ["text", "text", "image"]
    assert failed["content"][1]["text"] == '{"b": "ä"}'
    assert done == {"type": "tool_result", "tool_use_id": "2", "content": []}


def test_cache_points_mark_the_block_before_them() -> None:
    """In tools, system prompt and messages, with the time to live where one is given."""
    tool = {"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}, "strict": True}}
    body = encoded(
        {
            "toolConfig": {"tools": [tool, {"cachePoint": {"type": "default", "ttl": "1h"}}]},
            "system": [{"text": "s"}, {"cachePoint": {"type": "default"}}],
            "messages": [
                {"role": "user", "content": [{"text": "m"}, {"cachePoint": {"type": "default", "ttl": "5m"}}]}
            ],
        }
    )
    assert body["tools"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert body["tools"][0]["strict"] is True
    assert body["system"] == [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]
    assert body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "5m"}


def test_a_cache_point_with_nothing_before_it_is_refused() -> None:
    """The error names the place."""
    with pytest.raises(InvalidRequestError, match="nothing before it to be cached") as caught:
        blocks({"cachePoint": {"type": "default"}}, {"text": "late"})
    assert caught.value.path == "messages[0].content[0]"


def test_thinking_goes_back_as_it_came() -> None:
    """With its signature, or redacted."""
    assert blocks(
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": b"EmwKAhgBEgy"}},
        role="assistant",
    ) == [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "EmwKAhgBEgy"},
    ]


def test_a_tool_use_that_was_cut_off_is_refused() -> None:
    """Its input is not an object; the model would be shown something that it never said."""
    with pytest.raises(InvalidRequestError, match="cut off or malformed"):
        blocks({"toolUse": {"toolUseId": "1", "name": "t", "input": '{"a":'}}, role="assistant")


@pytest.mark.parametrize(
    ("choice", "native"),
    [
        ({"auto": {}}, {"type": "auto"}),
        ({"any": {}}, {"type": "any"}),
        ({"tool": {"name": "t"}}, {"type": "tool", "name": "t"}),
    ],
)
def test_the_choice_of_a_tool_has_native_words(choice: dict[str, Any], native: dict[str, str]) -> None:
    """And more of it, such as disable_parallel_tool_use, is merged in."""
    tool: dict[str, Any] = {"toolSpec": {"name": "t", "inputSchema": {"json": {}}}}
    wire: dict[str, Any] = {"messages": [], "toolConfig": {"tools": [tool], "toolChoice": choice}}
    assert encoded(wire)["tool_choice"] == native
    more = {"tool_choice": {"disable_parallel_tool_use": True}}
    assert encoded({**wire, "additionalModelRequestFields": more})["tool_choice"] == {**native, **more["tool_choice"]}


def test_schema_and_effort_are_an_output_config() -> None:
    """The caller's own members of it are kept."""
    schema = {"schema": '{"type":"object"}', "name": "n"}
    output = {"effort": "low", "textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
    body = encoded(
        {
            "messages": [],
            "outputConfig": output,
            "additionalModelRequestFields": {
                "thinking": {"type": "adaptive"},
                "output_config": {"task_budget": 5},
                "anthropic_beta": ["b"],
            },
        }
    )
    assert body["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": {"type": "object"}},
        "task_budget": 5,
    }
    assert body["thinking"] == {"type": "adaptive"}
    assert body["anthropic_beta"] == ["b"]


def test_the_description_of_a_schema_stands_in_it() -> None:
    """The body has no other member for it; a description in the schema wins."""
    for schema, described in (("{}", "Parks."), ('{"description": "Ponds."}', "Ponds.")):
        structure = {"jsonSchema": {"schema": schema, "name": "parks", "description": "Parks."}}
        wire: dict[str, Any] = {"messages": []}
        wire["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": structure}}
        assert encoded(wire)["output_config"]["format"]["schema"] == {"description": described}


@pytest.mark.parametrize("citation", [{"title": "t"}, {"title": "t", "location": {"newLocation": {}}}])
def test_a_citation_without_a_place_is_refused(citation: dict[str, Any]) -> None:
    """Another model's, say, or one of a later kind: the Messages API needs a location in every citation."""
    cited = {"citationsContent": {"content": [{"text": "x"}], "citations": [citation]}}
    with pytest.raises(InvalidRequestError, match="a citation that does not tell a place") as caught:
        blocks(cited, role="assistant")
    assert caught.value.path == "messages[0].content[0].citations[0]"


def test_messages_of_the_role_system_go_to_models_that_heed_them() -> None:
    """Other models refuse them: some of those would accept and then ignore them."""
    wire = {"messages": [{"role": "system", "content": [{"text": "Now in French."}]}]}
    body = encoded(wire, "anthropic.claude-opus-4-8")
    assert body["messages"][0] == {"role": "system", "content": [{"type": "text", "text": "Now in French."}]}
    with pytest.raises(InvalidRequestError, match="messages with the role system"):
        encoded(wire)


@pytest.mark.parametrize(
    ("model", "options", "native"),
    [
        ("anthropic.claude-v1", {}, "prompt"),
        ("anthropic.claude-v2:1", {}, "messages"),
        ("anthropic.claude-instant-v1", {"text_completions": True}, "prompt"),
        (SONNET, {}, "messages"),
    ],
)
def test_each_model_is_written_to_in_its_dialect(model: str, options: dict[str, Any], native: str) -> None:
    """Claude 1 takes only text completions; Claude 2 and Instant take both, and the call may choose."""
    request = ConverseRequest.from_wire({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]})
    body = encode_request(AnthropicFamily(), request, context(model, **options)).body
    assert native in body


def test_a_text_completion_refuses_what_it_cannot_express() -> None:
    """Tools and images belong to the Messages API."""
    image = {"image": {"format": "png", "source": {"bytes": b"x"}}}
    request = ConverseRequest.from_dict({"messages": [{"role": "user", "content": [{"text": "?"}, image]}]})
    with pytest.raises(InvalidRequestError, match="cannot express images"):
        encode_request(AnthropicFamily(), request, context("anthropic.claude-v1"))


def test_a_body_can_be_counted() -> None:
    """CountTokens takes the same body as InvokeModel."""
    request = ConverseRequest.from_wire({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]})
    family = AnthropicFamily()
    assert family.encode_count(request, context()) == family.encode(request, context())


# -- citations


def recorded_citations() -> list[Citation]:
    """Every citation that Converse was recorded to give."""
    found: list[Citation] = []
    for exchange in exchanges("converse", 200):
        if "citations_response" in exchange.features:
            for block in exchange.response_json["output"]["message"]["content"]:
                cited = block.get("citationsContent", {}).get("citations", ())
                found += [Citation.from_wire(citation) for citation in cited]
    return found


@pytest.mark.parametrize(
    "citation", recorded_citations(), ids=lambda citation: next(iter(citation.to_wire()["location"]))
)
def test_a_recorded_citation_survives_the_way_there_and_back(citation: Citation) -> None:
    """Converse's form becomes the native one, and is read back unchanged."""
    native = native_citation(citation)
    assert read_citation(native).to_wire() == citation.to_wire()
    assert native["type"].endswith("_location")


def test_citations_of_the_web_keep_their_proof() -> None:
    """The encrypted index must come back for the citation to be accepted."""
    native = {
        "type": "web_search_result_location",
        "url": "https://a.example",
        "title": "A",
        "cited_text": "a",
        "encrypted_index": "ZW5j",
    }
    citation = read_citation(native)
    assert citation.to_wire()["location"] == {"web": {"url": "https://a.example"}}
    assert native_citation(citation) == native


def test_cited_text_is_a_block_of_citations() -> None:
    """Whole and streamed alike, and ready to be sent back."""
    native = {
        "type": "char_location",
        "cited_text": "It is so.",
        "document_index": 0,
        "document_title": "facts",
        "start_char_index": 0,
        "end_char_index": 9,
    }
    block = {"type": "text", "text": "So it is.", "citations": [native]}
    whole = decoded(content=[block])
    stream = streamed(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": native}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "So it is."}},
        {"type": "content_block_stop", "index": 0},
    )
    assert whole.message.to_wire() == stream.message.to_wire()
    (cited,) = whole.message.to_dict()["content"]
    assert cited == {
        "citationsContent": {
            "content": [{"text": "So it is."}],
            "citations": [
                {
                    "title": "facts",
                    "sourceContent": [{"text": "It is so."}],
                    "location": {"documentChar": {"documentIndex": 0, "start": 0, "end": 9}},
                }
            ],
        }
    }
    (back,) = encoded({"messages": [whole.message.to_dict()]})["messages"]
    assert back["content"] == [block]


# -- answers


@pytest.mark.parametrize(
    ("native", "converse"),
    [
        ("end_turn", "end_turn"),
        ("max_tokens", "max_tokens"),
        ("stop_sequence", "stop_sequence"),
        ("tool_use", "tool_use"),
        ("refusal", "content_filtered"),
        ("model_context_window_exceeded", "model_context_window_exceeded"),
        ("pause_turn", "pause_turn"),
    ],
)
def test_stop_reasons_are_converses(native: str, converse: str) -> None:
    """One that Converse has no name for is passed on."""
    assert decoded(stop_reason=native).stop_reason == converse


def test_what_was_written_to_the_cache_is_told_by_its_time_to_live() -> None:
    """The details are those of Converse; the total counts everything."""
    usage = {
        "input_tokens": 4,
        "output_tokens": 10,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    }
    assert decoded(usage=usage).usage.to_wire() == {
        "inputTokens": 4,
        "outputTokens": 10,
        "cacheReadInputTokens": 100,
        "cacheWriteInputTokens": 30,
        "totalTokens": 144,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 20}, {"ttl": "5m", "inputTokens": 10}],
    }


def test_redacted_thinking_is_converses_blob() -> None:
    """Whole and streamed alike."""
    block = {"type": "redacted_thinking", "data": "EmwKAhgBEgy"}
    whole = decoded(content=[block])
    stream = streamed(
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
    )
    assert whole.message.to_dict() == stream.message.to_dict()
    assert whole.message.to_dict()["content"] == [{"reasoningContent": {"redactedContent": b"EmwKAhgBEgy"}}]


def test_blocks_of_claudes_own_come_and_go_back() -> None:
    """What Converse has no name for is an UnknownBlock, and becomes the same block again in the history."""
    block = {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "q"}}
    whole = decoded(content=[{"type": "text", "text": "Let me see."}, block, {"type": "text", "text": "Done."}])
    stream = streamed(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Let me see."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {**block, "input": {}}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"query"'}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": ':"q"}'}},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "Done."}},
        {"type": "content_block_stop", "index": 2},
    )
    assert whole.message.to_wire() == stream.message.to_wire()
    assert whole.text == "Let me see.Done."
    (back,) = encoded({"messages": [whole.message.to_dict()]})["messages"]
    assert back["content"][1] == block


def test_a_block_of_claudes_own_that_was_cut_off_is_kept() -> None:
    """An answer that ends within the input of a server's tool is an answer; the input is the text that came."""
    block: dict[str, Any] = {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {}}
    response = streamed(
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"query'}},
        {"type": "content_block_stop", "index": 0},
    )
    kept = {"server_tool_use": {"id": "srv", "name": "web_search", "input": '{"query'}}
    assert response.message.to_dict()["content"] == [kept]


def test_pieces_of_a_kind_of_tomorrow_are_kept() -> None:
    """They are neither lost nor taken for text."""
    response = streamed(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thought_map"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "map_delta", "nodes": [1]}},
        {"type": "content_block_stop", "index": 0},
    )
    assert response.message.to_dict()["content"] == [{"thought_map": {"nodes": [1]}}]


def test_a_tool_input_that_comes_with_its_start_is_kept() -> None:
    """Some servers send a small input whole."""
    block = {"type": "tool_use", "id": "1", "name": "t", "input": {"a": 1}}
    response = streamed(
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
    )
    assert [(use.name, use.input) for use in response.tool_uses] == [("t", {"a": 1})]


def test_an_error_event_is_an_error_of_the_stream() -> None:
    """Typed, retryable as the service's own."""
    decoder = AnthropicFamily().stream_decoder(context())
    with pytest.raises(ModelStreamError, match="overloaded_error: Overloaded") as caught:
        decoder.receive({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    assert caught.value.retryable
    assert caught.value.in_stream


def test_events_of_tomorrow_are_passed_over() -> None:
    """New event types may come at any time; the text around them stays."""
    response = streamed(
        {"type": "ping"},
        {"type": "heartbeat", "at": 5},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi."}},
        {"type": "content_block_stop", "index": 0},
    )
    assert response.text == "Hi."
    assert json.loads(json.dumps(response.to_wire()))["usage"]["outputTokens"] == 2
