"""Command R's documents, citations and tools, what is refused, and what the decoder does with odd chunks."""

from __future__ import annotations

from typing import Any, Final

import pytest
from bedrock_async_cohere import CohereFamily
from hypothesis import given
from hypothesis import strategies as st
from native_properties import cut, only_our_errors, strange_chunks, streamed
from native_traffic import native_body

from bedrock_async import BedrockError, ConverseRequest, EventDecodeError, InvalidRequestError
from bedrock_async.families import EmbedRequest, FamilyContext, encode_request, find_profile
from bedrock_async.model_id import parse_model_id
from bedrock_async.types import (
    ConverseResponse,
    ImageBlock,
    MediaSource,
    Message,
    S3Location,
    ToolUseBlock,
    VideoBlock,
)

FAMILY: Final = CohereFamily()
COMMAND_R: Final = "cohere.command-r-v1:0"
NOTHING: Final[dict[str, Any]] = {}
TEXT: Final = "Die Antwort, \U0001f600, ist: 42."
PNG: Final = ImageBlock(format="png", source=MediaSource(bytes=b"png"))
ANSWER: Final[dict[str, Any]] = {"text": "It is so.", "finish_reason": "COMPLETE"}
CITATIONS: Final = [{"start": 0, "end": 2, "text": "It", "document_ids": ["doc_0"]}]
DOCUMENTS: Final = [{"id": "doc_0", "title": "facts", "snippet": "So it is."}]


QUESTION: Final = Message.from_dict({"role": "user", "content": [{"text": "Hi"}]})


def context(model: str = COMMAND_R, *, streaming: bool = False) -> FamilyContext:
    """Return the context of a call."""
    parsed = parse_model_id(model)
    return FamilyContext(parsed, find_profile(parsed.base_model), streaming=streaming)


def body(wire: dict[str, Any], model: str = COMMAND_R) -> dict[str, Any]:
    """The native body of a request, which has a question where it says nothing else."""
    question = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
    native: dict[str, Any] = native_body(ConverseRequest.from_dict({**question, **wire}), model, FAMILY)
    return native


def said(*content: dict[str, Any]) -> dict[str, Any]:
    """A request with one message."""
    return {"messages": [{"role": "user", "content": list(content)}]}


def decoded(**members: object) -> ConverseResponse:
    """The response of an answer."""
    return FAMILY.decode({**ANSWER, **members}, {}, context())


def event(kind: str, **members: object) -> dict[str, Any]:
    """One event of a stream."""
    return {"event_type": kind, "is_finished": kind == "stream-end", **members}


# -- documents and citations


def test_documents_stand_beside_the_messages() -> None:
    """Text, parts, bytes of text formats, and search results."""
    native = body(
        said(
            {"text": "Which?"},
            {"document": {"name": "one", "source": {"text": "First."}, "context": "Of the archive."}},
            {"document": {"name": "two", "format": "md", "source": {"bytes": "Zw\u00f6lf.".encode()}}},
            {"document": {"name": "three", "source": {"content": [{"text": "a"}, {"text": "b"}]}}},
            {"searchResult": {"source": "https://a.example", "title": "four", "content": [{"text": "Found."}]}},
        )
    )
    assert native == {
        "message": "Which?",
        "documents": [
            {"title": "one", "snippet": "First.", "context": "Of the archive."},
            {"title": "two", "snippet": "Zw\u00f6lf."},
            {"title": "three", "snippet": "a\nb"},
            {"title": "four", "snippet": "Found.", "url": "https://a.example"},
        ],
    }


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"name": "a", "format": "pdf", "source": {"bytes": b"%PDF"}}, "documents of the format pdf"),
        ({"name": "a", "format": "txt", "source": {"bytes": b"\xff"}}, "not UTF-8 text"),
    ],
)
def test_documents_that_are_no_text_are_refused(document: dict[str, Any], complaint: str) -> None:
    """The place is named."""
    with pytest.raises(InvalidRequestError, match=complaint) as caught:
        body(said({"text": "?"}, {"document": document}))
    assert caught.value.path == "messages[0].content[1]"


def test_citations_name_their_documents() -> None:
    """Whole and streamed alike; what they are for is kept."""
    whole = decoded(citations=CITATIONS, documents=DOCUMENTS)
    stream = streamed(
        FAMILY,
        COMMAND_R,
        [
            event("search-results", documents=DOCUMENTS),
            event("text-generation", text="It is so."),
            event("citation-generation", citations=CITATIONS),
            event("stream-end", finish_reason="COMPLETE", response={**ANSWER, "citations": CITATIONS}),
        ],
    )
    assert whole.message.to_wire() == stream.message.to_wire()
    assert whole.message.to_dict()["content"] == [
        {
            "citationsContent": {
                "content": [{"text": "It is so."}],
                "citations": [
                    {
                        "title": "facts",
                        "source": "doc_0",
                        "sourceContent": [{"text": "So it is."}],
                        "start": 0,
                        "end": 2,
                        "text": "It",
                    }
                ],
            }
        }
    ]


def test_a_cited_answer_goes_back_as_text() -> None:
    """The history holds plain text only."""
    message = decoded(citations=CITATIONS, documents=DOCUMENTS).message.to_dict()
    native = body({"messages": [message, {"role": "user", "content": [{"text": "Sure?"}]}]})
    assert native == {"message": "Sure?", "chat_history": [{"role": "CHATBOT", "message": "It is so."}]}


# -- tools


def test_a_schema_becomes_definitions_of_parameters() -> None:
    """Types have Python's names; other keywords go into the description."""
    schema = {
        "type": "object",
        "properties": {
            "unit": {"type": "string", "enum": ["c", "f"], "description": "The unit."},
            "days": {"type": "array", "items": {"type": "integer"}},
            "exact": {"type": "boolean"},
            "either": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["unit"],
    }
    (tool,) = body({"toolConfig": {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": schema}}}]}})["tools"]
    assert tool["parameter_definitions"] == {
        "unit": {"description": 'The unit. JSON schema: {"enum": ["c", "f"]}', "type": "str", "required": True},
        "days": {"description": 'JSON schema: {"items": {"type": "integer"}}', "type": "list", "required": False},
        "exact": {"description": "", "type": "bool", "required": False},
        "either": {
            "description": 'JSON schema: {"anyOf": [{"type": "string"}, {"type": "null"}]}',
            "type": "str",
            "required": False,
        },
    }


def test_rounds_of_tools_stay_in_the_history() -> None:
    """Calls and results stay in their turns; a failed result says so."""
    use = {"toolUse": {"toolUseId": "1", "name": "t", "input": {"a": 1}}}
    result = {"toolUseId": "1", "status": "error", "content": [{"json": {"b": 2}}, {"json": [3]}]}
    native = body(
        {
            "messages": [
                {"role": "user", "content": [{"text": "Do."}]},
                {"role": "assistant", "content": [use]},
                {"role": "user", "content": [{"toolResult": result}]},
                {"role": "assistant", "content": [{"text": "Done."}]},
                {"role": "user", "content": [{"text": "Thanks."}]},
            ]
        }
    )
    call = {"name": "t", "parameters": {"a": 1}}
    assert native == {
        "message": "Thanks.",
        "chat_history": [
            {"role": "USER", "message": "Do."},
            {"role": "CHATBOT", "message": "", "tool_calls": [call]},
            {"role": "TOOL", "tool_results": [{"call": call, "outputs": [{"error": True}, {"b": 2}, {"json": [3]}]}]},
            {"role": "CHATBOT", "message": "Done."},
        ],
    }


def test_equal_calls_of_an_answer_have_ids_of_their_own() -> None:
    """And the same ones each time the answer is read."""
    call: dict[str, Any] = {"name": "t", "parameters": {}}
    first, second = (decoded(tool_calls=[call, call]).tool_uses for _ in range(2))
    ids = [use.tool_use_id for use in first]
    assert len(set(ids)) == 2
    assert ids == [use.tool_use_id for use in second]


def test_calls_that_only_the_end_tells_are_told() -> None:
    """No event of their own announced them."""
    answer = {"text": "", "tool_calls": [{"name": "t", "parameters": {"a": 1}}]}
    response = streamed(FAMILY, COMMAND_R, [event("stream-end", finish_reason="COMPLETE", response=answer)])
    assert [(use.name, use.input) for use in response.tool_uses] == [("t", {"a": 1})]
    assert response.stop_reason == "tool_use"


UNSAYABLE: Final[list[tuple[dict[str, Any], str]]] = [
    ({"messages": [{"role": "assistant", "content": [{"text": "I"}]}]}, "a last message of the assistant"),
    (
        {
            "messages": [
                {"role": "assistant", "content": [{"toolUse": {"toolUseId": "1", "name": "t", "input": {}}}]},
                {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": []}}, {"text": "Now?"}]},
            ]
        },
        "text beside the results of tools",
    ),
    (
        {"messages": [{"role": "user", "content": [{"toolResult": {"toolUseId": "9", "content": []}}]}]},
        "the result of a tool use that does not come before it",
    ),
    (
        {
            "toolConfig": {
                "tools": [
                    {
                        "toolSpec": {
                            "name": "t",
                            "inputSchema": {"json": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}}},
                        }
                    }
                ]
            }
        },
        "references within a schema",
    ),
]


@pytest.mark.parametrize(("wire", "complaint"), UNSAYABLE)
def test_what_the_body_cannot_say_is_refused(wire: dict[str, Any], complaint: str) -> None:
    """Nothing is dropped silently."""
    with pytest.raises(InvalidRequestError, match=complaint):
        body(wire)


def test_documents_in_results_are_refused() -> None:
    """The place is named."""
    document = {"document": {"name": "a", "source": {"text": "b"}}}
    messages: list[dict[str, Any]] = [
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "1", "name": "t", "input": {}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": [document]}}]},
    ]
    with pytest.raises(InvalidRequestError, match="DocumentBlock") as caught:
        body({"messages": messages})
    assert caught.value.path == "messages[1].content[0].content[0]"


def test_a_call_that_was_cut_off_is_refused() -> None:
    """Cohere takes only objects as parameters."""
    use = ToolUseBlock(tool_use_id="1", name="t", input='{"a": ')
    request = ConverseRequest(messages=[Message(role="assistant", content=[use]), QUESTION])
    with pytest.raises(InvalidRequestError, match="whose input is not an object"):
        encode_request(FAMILY, request, context())


def test_encoding_alone_drops_nothing() -> None:
    """A request that was not checked before is refused there."""
    message = Message(role="user", content=[PNG])
    with pytest.raises(InvalidRequestError, match="ImageBlock"):
        FAMILY.encode(ConverseRequest(messages=[message]), context())


def test_a_schema_is_an_object() -> None:
    """Parameter definitions cannot express any other schema."""
    tools = {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": [1]}}}]}
    with pytest.raises(InvalidRequestError, match="a schema that is no object"):
        body({"toolConfig": tools})


# -- completions, embeddings and ranking


@pytest.mark.parametrize("streaming", [True, False])
def test_completions_are_told_that_they_stream(*, streaming: bool) -> None:
    """These models need the member; for Command R the operation is enough."""
    request = ConverseRequest.from_dict(said({"text": "Hi"}))
    command = encode_request(FAMILY, request, context("cohere.command-light-text-v14", streaming=streaming)).body
    assert command.get("stream", False) is streaming
    assert "stream" not in encode_request(FAMILY, request, context(streaming=streaming)).body


def test_a_begun_answer_of_a_completion_is_left_open() -> None:
    """The prompt ends inside it, so the model continues it."""
    messages = [
        {"role": "user", "content": [{"text": "Count."}]},
        {"role": "assistant", "content": [{"text": "One,"}]},
    ]
    native = body({"messages": messages}, "cohere.command-text-v14")
    assert native["prompt"] == "User: Count.\n\nChatbot: One,"


@pytest.mark.parametrize(
    ("native", "converse"),
    [
        ("COMPLETE", "end_turn"),
        ("MAX_TOKENS", "max_tokens"),
        ("STOP_SEQUENCE", "stop_sequence"),
        ("ERROR_TOXIC", "content_filtered"),
        ("ERROR_LIMIT", "model_context_window_exceeded"),
        ("ERROR", "ERROR"),
    ],
)
def test_stop_reasons_are_converses(native: str, converse: str) -> None:
    """One that Converse has no name for is passed on."""
    assert decoded(finish_reason=native).stop_reason == converse


@pytest.mark.parametrize(
    ("model", "request_", "complaint"),
    [
        ("cohere.embed-v4:0", EmbedRequest(inputs=["a"], normalize=False), "not normalised"),
        ("cohere.embed-english-v3", EmbedRequest(inputs=["a"], dimensions=256), "a choice of dimensions"),
        ("cohere.embed-english-v3", EmbedRequest(inputs=[PNG, PNG]), "one image in a request"),
        ("cohere.embed-english-v3", EmbedRequest(inputs=["a", PNG]), "one image in a request"),
        ("cohere.embed-english-v3", EmbedRequest(inputs=[PNG], purpose="style"), "the purpose 'style' of an image"),
        (
            "cohere.embed-v4:0",
            EmbedRequest(inputs=[VideoBlock(format="mp4", source=MediaSource(bytes=b"v"))]),
            "VideoBlock",
        ),
        (
            "cohere.embed-v4:0",
            EmbedRequest(inputs=[ImageBlock(format="png", source=MediaSource(s3_location=S3Location(uri="s3://b/i")))]),
            "media in S3",
        ),
    ],
)
def test_inputs_that_cannot_be_embedded_are_refused(model: str, request_: EmbedRequest, complaint: str) -> None:
    """Before anything is sent, and without the advice to call Converse, which embeds nothing."""
    with pytest.raises(InvalidRequestError, match=complaint) as caught:
        FAMILY.encode_embed(request_, context(model))
    assert "converse" not in str(caught.value)


def test_a_text_that_looks_like_an_image_is_text() -> None:
    """What an input is depends on its type, not on how it begins."""
    request = EmbedRequest(inputs=["data:image/png;base64,x", PNG])
    first, second = FAMILY.encode_embed(request, context("cohere.embed-v4:0")).body["inputs"]
    assert first == {"content": [{"type": "text", "text": "data:image/png;base64,x"}]}
    assert second["content"][0]["type"] == "image_url"


# -- odd chunks


@given(cut(TEXT), st.booleans())
def test_text_may_be_cut_anywhere(pieces: list[str], chat: bool) -> None:  # noqa: FBT001 - hypothesis passes it by place
    """In events of a chat, and in chunks of a completion."""
    chunks = [
        event("text-generation", text=piece) if chat else {"is_finished": False, "text": piece} for piece in pieces
    ]
    end = event("stream-end", finish_reason="COMPLETE") if chat else {"is_finished": True, "finish_reason": "COMPLETE"}
    response = streamed(FAMILY, COMMAND_R, [*chunks, end])
    assert (response.text, response.stop_reason) == (TEXT, "end_turn")


def test_a_completion_may_come_in_one_chunk() -> None:
    """It does so if the body lacks ``stream``."""
    chunk = {"generations": [{"finish_reason": "COMPLETE", "id": "1", "text": TEXT}], "id": "2", "prompt": "Hi."}
    response = streamed(FAMILY, "cohere.command-text-v14", [chunk])
    assert (response.text, response.stop_reason) == (TEXT, "end_turn")


@given(
    st.lists(
        strange_chunks(
            *("event_type", "is_finished", "text", "finish_reason", "response", "tool_calls", "citations", "name"),
            *("parameters", "documents", "document_ids", "id", "index"),
        )
        | st.sampled_from(
            [
                event(kind, text=5, citations=[NOTHING], tool_calls=[{"name": 1}], documents=[NOTHING], response=5)
                for kind in ("text-generation", "citation-generation", "tool-calls-generation", "search-results", "x")
            ]
        ),
        max_size=3,
    )
)
def test_chunks_of_any_shape_are_events_or_an_error_of_ours(chunks: list[dict[str, Any]]) -> None:
    """No KeyError escapes, and no event out of order."""
    only_our_errors(FAMILY, COMMAND_R, chunks)


@pytest.mark.parametrize(
    "chunk", [{"event_type": "text-generation"}, {"is_finished": True}, {"text": "a"}, {"outputs": []}]
)
def test_a_bad_chunk_is_an_error(chunk: dict[str, Any]) -> None:
    """The error names the family."""
    with pytest.raises(EventDecodeError, match="'cohere'"):
        streamed(FAMILY, COMMAND_R, [chunk])


def test_nothing_at_all_is_no_answer() -> None:
    """A stream without any chunk is incomplete."""
    with pytest.raises(BedrockError):
        streamed(FAMILY, COMMAND_R, [])
