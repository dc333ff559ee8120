"""The family of Cohere's models keeps the public contracts: of chat, of embeddings and of ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from bedrock_async_cohere import CohereFamily

from bedrock_async.families import Embeddings, EmbedRequest, ModelFamily, RankedDocument, RerankRequest
from bedrock_async.testing import FamilyContract, FamilySample, TaskContract, TaskSample
from bedrock_async.types import ImageBlock, MediaSource

ADD: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"a": {"type": "integer", "description": "The first."}, "b": {"type": "integer"}},
    "required": ["a"],
}
PNG: Final = ImageBlock(format="png", source=MediaSource(bytes=b"png"))
CALL: Final = {"name": "add", "parameters": {"a": 5}}

TOOL_LOOP: Final = FamilySample(
    model="cohere.command-r-plus-v1:0",
    request={
        "system": [{"text": "Be exact."}],
        "messages": [
            {"role": "user", "content": [{"text": "Add 2 and 3."}]},
            {
                "role": "assistant",
                "content": [
                    {"text": "I will add."},
                    {"toolUse": {"toolUseId": "1", "name": "add", "input": {"a": 2, "b": 3}}},
                ],
            },
            {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": [{"text": "5"}]}}]},
        ],
        "inferenceConfig": {"maxTokens": 400, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "add", "description": "Add.", "inputSchema": {"json": ADD}}}],
            "toolChoice": {"auto": {}},
        },
        "additionalModelRequestFields": {"k": 50},
    },
    native_request={
        "message": "",
        "tool_results": [{"call": {"name": "add", "parameters": {"a": 2, "b": 3}}, "outputs": [{"text": "5"}]}],
        "chat_history": [
            {"role": "USER", "message": "Add 2 and 3."},
            {
                "role": "CHATBOT",
                "message": "I will add.",
                "tool_calls": [{"name": "add", "parameters": {"a": 2, "b": 3}}],
            },
        ],
        "preamble": "Be exact.",
        "tools": [
            {
                "name": "add",
                "description": "Add.",
                "parameter_definitions": {
                    "a": {"description": "The first.", "type": "int", "required": True},
                    "b": {"description": "", "type": "int", "required": False},
                },
            }
        ],
        "max_tokens": 400,
        "temperature": 0.5,
        "p": 0.9,
        "stop_sequences": ["END"],
        "k": 50,
    },
    native_response={
        "response_id": "r",
        "generation_id": "g",
        "text": "Again.",
        "chat_history": [],
        "finish_reason": "COMPLETE",
        "tool_calls": [CALL],
    },
    headers={"X-Amzn-Bedrock-Input-Token-Count": "20", "X-Amzn-Bedrock-Output-Token-Count": "9"},
    chunks=(
        {"is_finished": False, "event_type": "stream-start", "generation_id": "g"},
        {"is_finished": False, "event_type": "text-generation", "text": "Aga"},
        {"is_finished": False, "event_type": "text-generation", "text": "in."},
        {"is_finished": False, "event_type": "tool-calls-generation", "tool_calls": [CALL]},
        {
            "is_finished": True,
            "event_type": "stream-end",
            "finish_reason": "COMPLETE",
            "response": {"text": "Again.", "tool_calls": [CALL], "finish_reason": "COMPLETE"},
            "amazon-bedrock-invocationMetrics": {"inputTokenCount": 20, "outputTokenCount": 9},
        },
    ),
    text="Again.",
    tool_uses=[("add", {"a": 5})],
    stop_reason="tool_use",
    input_tokens=20,
    output_tokens=9,
)

COMMAND: Final = FamilySample(
    model="cohere.command-text-v14",
    request={
        "system": [{"text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [{"text": "Hi"}]},
            {"role": "assistant", "content": [{"text": "Hello."}]},
            {"role": "user", "content": [{"text": "Who are you?"}]},
        ],
        "inferenceConfig": {"maxTokens": 50},
    },
    native_request={
        "prompt": "Be brief.\n\nUser: Hi\n\nChatbot: Hello.\n\nUser: Who are you?\n\nChatbot:",
        "max_tokens": 50,
    },
    native_response={
        "id": "i",
        "prompt": "Hi",
        "generations": [{"id": "g", "text": " I am Command.", "finish_reason": "COMPLETE"}],
    },
    headers={"X-Amzn-Bedrock-Input-Token-Count": "23", "X-Amzn-Bedrock-Output-Token-Count": "5"},
    chunks=(
        {"is_finished": False, "text": " I am"},
        {"is_finished": False, "text": " Command."},
        {
            "finish_reason": "COMPLETE",
            "is_finished": True,
            "amazon-bedrock-invocationMetrics": {"inputTokenCount": 23, "outputTokenCount": 5},
        },
    ),
    text=" I am Command.",
    stop_reason="end_turn",
    input_tokens=23,
    output_tokens=5,
)


class TestCohereChat(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (TOOL_LOOP, COMMAND)

    def family(self) -> ModelFamily:
        """Return the family under test."""
        return CohereFamily()


class TestCohereTasks(TaskContract):
    samples: ClassVar[Sequence[TaskSample]] = (
        TaskSample(
            model="cohere.embed-v4:0",
            request=EmbedRequest(inputs=["one", "two"], purpose="query", dimensions=256, truncate="end"),
            native_request={
                "texts": ["one", "two"],
                "input_type": "search_query",
                "output_dimension": 256,
                "truncate": "END",
            },
            native_response={"embeddings": {"float": [[0.6, 0.8], [1.0, 0.0]]}, "response_type": "embeddings_by_type"},
            result=Embeddings([[0.6, 0.8], [1.0, 0.0]]),
        ),
        TaskSample(
            model="cohere.embed-v4:0",
            request=EmbedRequest(inputs=["one", PNG], purpose="clustering"),
            native_request={
                "inputs": [
                    {"content": [{"type": "text", "text": "one"}]},
                    {"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}}]},
                ],
                "input_type": "clustering",
            },
            native_response={"embeddings": {"int8": [[1, -2], [3, 4]]}},
            result=Embeddings([[1, -2], [3, 4]]),
        ),
        TaskSample(
            model="cohere.embed-v4:0",
            request=EmbedRequest(inputs=[PNG, PNG], normalize=True),
            native_request={"images": ["data:image/png;base64,cG5n"] * 2, "input_type": "search_document"},
        ),
        TaskSample(
            model="cohere.embed-english-v3",
            request=EmbedRequest(inputs=[PNG]),
            native_request={"images": ["data:image/png;base64,cG5n"], "input_type": "image"},
            native_response={"embeddings": [[0.6, 0.8]], "response_type": "embeddings_floats"},
            result=Embeddings([[0.6, 0.8]]),
        ),
        TaskSample(
            model="cohere.rerank-v3-5:0",
            request=RerankRequest(query="Which?", documents=["a", "b"], top_n=1),
            native_request={"query": "Which?", "documents": ["a", "b"], "top_n": 1, "api_version": 2},
            native_response={"results": [{"index": 1, "relevance_score": 0.875}]},
            result=[RankedDocument(1, 0.875)],
        ),
        TaskSample(
            model="cohere.rerank-v3-5:0",
            request=RerankRequest(query="Which?", documents=["a"]),
            native_request={"query": "Which?", "documents": ["a"], "api_version": 2},
        ),
    )

    def family(self) -> ModelFamily:
        """Return the family under test."""
        return CohereFamily()
