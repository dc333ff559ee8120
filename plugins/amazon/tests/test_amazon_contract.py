"""Amazon's family keeps the public contracts of model families and of their tasks."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from bedrock_async_amazon import AmazonFamily

from bedrock_async.families import (
    Embeddings,
    EmbedRequest,
    GeneratedImage,
    GeneratedVideo,
    ImageRequest,
    ModelFamily,
    VideoRequest,
)
from bedrock_async.testing import FamilyContract, FamilySample, TaskContract, TaskSample
from bedrock_async.types import ImageBlock, MediaSource

WEATHER: Final[dict[str, Any]] = {
    "toolSpec": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
}

NOVA: Final = FamilySample(
    model="us.amazon.nova-lite-v1:0",
    request={
        "messages": [
            {"role": "user", "content": [{"text": "A long text."}, {"cachePoint": {"type": "default"}}]},
            {"role": "assistant", "content": [{"text": "Yes?"}]},
            {"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": b"x"}}}]},
        ],
        "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
        "inferenceConfig": {"maxTokens": 300, "temperature": 0.5, "stopSequences": ["END"]},
        "toolConfig": {"tools": [WEATHER], "toolChoice": {"any": {}}},
        "additionalModelRequestFields": {"inferenceConfig": {"topK": 20}},
    },
    native_request={
        "schemaVersion": "messages-v1",
        "messages": [
            {"role": "user", "content": [{"text": "A long text.", "cachePoint": {"type": "default"}}]},
            {"role": "assistant", "content": [{"text": "Yes?"}]},
            {"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": "eA=="}}}]},
        ],
        "system": [{"text": "Be brief.", "cachePoint": {"type": "default"}}],
        "inferenceConfig": {"maxTokens": 300, "temperature": 0.5, "stopSequences": ["END"], "topK": 20},
        "toolConfig": {"tools": [WEATHER], "toolChoice": {"any": {}}},
    },
    native_response={
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"text": "Let me look."},
                    {"toolUse": {"name": "get_weather", "toolUseId": "1", "input": {"city": "Paris"}}},
                ],
            }
        },
        "stopReason": "tool_use",
        "usage": {"inputTokens": 20, "outputTokens": 30, "totalTokens": 50, "cacheReadInputTokenCount": 5},
    },
    chunks=(
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"delta": {"text": "Let me "}, "contentBlockIndex": 0}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"contentBlockDelta": {"delta": {"text": "look."}, "contentBlockIndex": 1}},
        {"contentBlockStop": {"contentBlockIndex": 1}},
        {
            "contentBlockStart": {
                "start": {"toolUse": {"name": "get_weather", "toolUseId": "1"}},
                "contentBlockIndex": 2,
            }
        },
        {"contentBlockDelta": {"delta": {"toolUse": {"input": '{"city": "Pa'}}, "contentBlockIndex": 2}},
        {"contentBlockDelta": {"delta": {"toolUse": {"input": 'ris"}'}}, "contentBlockIndex": 2}},
        {"contentBlockStop": {"contentBlockIndex": 2}},
        {"messageStop": {"stopReason": "tool_use"}},
        {
            "metadata": {
                "usage": {"inputTokens": 20, "outputTokens": 30, "cacheReadInputTokenCount": 5},
                "metrics": {},
                "trace": {},
            },
        },
    ),
    text="Let me look.",
    tool_uses=[("get_weather", {"city": "Paris"})],
    stop_reason="tool_use",
    input_tokens=20,
    output_tokens=30,
)

NOVA_2: Final = FamilySample(
    model="amazon.nova-2-lite-v1:0",
    request={
        "messages": [
            {"role": "user", "content": [{"text": "Think."}]},
            {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "[REDACTED]"}}}]},
            {"role": "user", "content": [{"text": "Go on."}]},
        ],
        "toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]},
        "outputConfig": {"effort": "low"},
    },
    native_request={
        "messages": [
            {"role": "user", "content": [{"text": "Think."}]},
            {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "[REDACTED]"}}}]},
            {"role": "user", "content": [{"text": "Go on."}]},
        ],
        "toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]},
        "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"},
    },
    native_response={
        "output": {
            "message": {
                "role": "assistant",
                "content": [{"reasoningContent": {"reasoningText": {"text": "[REDACTED]"}}}, {"text": "Done."}],
            }
        },
        "stopReason": "end_turn",
        "usage": {"inputTokens": 7, "outputTokens": 9, "totalTokens": 16},
    },
    chunks=(
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"delta": {"reasoningContent": {"text": "[REDACTED]"}}, "contentBlockIndex": 0}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"contentBlockDelta": {"delta": {"text": "Done."}, "contentBlockIndex": 1}},
        {"contentBlockStop": {"contentBlockIndex": 1}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": {"inputTokens": 7, "outputTokens": 9}}},
    ),
    text="Done.",
    reasoning="[REDACTED]",
    tool_uses=[],
    stop_reason="end_turn",
    input_tokens=7,
    output_tokens=9,
)

TITAN: Final = FamilySample(
    model="amazon.titan-text-express-v1",
    request={
        "messages": [
            {"role": "user", "content": [{"text": "Hi"}]},
            {"role": "assistant", "content": [{"text": "Hello."}]},
            {"role": "user", "content": [{"text": "Who are "}, {"text": "you?"}]},
        ],
        "inferenceConfig": {"maxTokens": 50, "topP": 0.9, "temperature": 0, "stopSequences": ["User:"]},
    },
    native_request={
        "inputText": "User: Hi\nBot: Hello.\nUser: Who are you?\nBot:",
        "textGenerationConfig": {"maxTokenCount": 50, "topP": 0.9, "temperature": 0, "stopSequences": ["User:"]},
    },
    native_response={
        "inputTextTokenCount": 12,
        "results": [{"tokenCount": 4, "outputText": "\nBot: I am Titan.", "completionReason": "STOP_CRITERIA_MET"}],
    },
    chunks=(
        {"outputText": "\nBo", "index": 0, "completionReason": None, "inputTextTokenCount": 12},
        {"outputText": "t: I am", "index": 0, "completionReason": None, "inputTextTokenCount": None},
        {
            "outputText": " Titan.",
            "index": 0,
            "completionReason": "STOP_CRITERIA_MET",
            "totalOutputTextTokenCount": 4,
            "inputTextTokenCount": None,
        },
    ),
    text="I am Titan.",
    stop_reason="stop_sequence",
    input_tokens=12,
    output_tokens=4,
)

COMPLETION: Final = FamilySample(
    model="amazon.titan-text-lite-v1",
    options={"text_completion": True},
    request={"messages": [{"role": "user", "content": [{"text": "Say this is a test"}]}]},
    native_request={"inputText": "Say this is a test"},
    native_response={
        "inputTextTokenCount": 5,
        "results": [{"tokenCount": 10, "outputText": "\nBot: a program", "completionReason": "LENGTH"}],
    },
    chunks=({"outputText": "\nBot: a program", "completionReason": "LENGTH", "inputTextTokenCount": 5},),
    text="\nBot: a program",
    stop_reason="max_tokens",
    input_tokens=5,
)


class TestAmazonChat(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (NOVA, NOVA_2, TITAN, COMPLETION)

    def family(self) -> ModelFamily:
        """Return the family under test."""
        return AmazonFamily()


PNG: Final = b"\x89PNG\r\n\x1a\nprobe"
IMAGE: Final = ImageBlock(format="png", source=MediaSource(bytes=PNG))
ENCODED: Final = b64encode(PNG).decode()


class TestAmazonTasks(TaskContract):
    samples: ClassVar[Sequence[TaskSample]] = (
        TaskSample(
            model="amazon.titan-embed-text-v2:0",
            request=EmbedRequest(inputs=["Hello"], purpose="query", dimensions=256, normalize=True),
            native_request={"inputText": "Hello", "dimensions": 256, "normalize": True},
            native_response={
                "embedding": [0.5, 0.25],
                "embeddingsByType": {"float": [0.5, 0.25]},
                "inputTextTokenCount": 3,
            },
            result=Embeddings([[0.5, 0.25]], 3),
        ),
        TaskSample(
            model="amazon.titan-embed-image-v1",
            request=EmbedRequest(inputs=[IMAGE], dimensions=384),
            native_request={"inputImage": ENCODED, "embeddingConfig": {"outputEmbeddingLength": 384}},
            native_response={"embedding": [1.0], "inputTextTokenCount": 0, "message": None},
            result=Embeddings([[1.0]], 0),
        ),
        TaskSample(
            model="amazon.nova-2-multimodal-embeddings-v1:0",
            request=EmbedRequest(inputs=["Hello"], purpose="query", dimensions=256, truncate="end"),
            native_request={
                "taskType": "SINGLE_EMBEDDING",
                "singleEmbeddingParams": {
                    "embeddingPurpose": "GENERIC_RETRIEVAL",
                    "embeddingDimension": 256,
                    "text": {"truncationMode": "END", "value": "Hello"},
                },
            },
            native_response={"embeddings": [{"embeddingType": "TEXT", "embedding": [0.5]}]},
            result=Embeddings([[0.5]]),
        ),
        TaskSample(
            model="amazon.nova-canvas-v1:0",
            request=ImageRequest(prompt="A robot", negative_prompt="rust", count=2, width=512, height=768, seed=7),
            native_request={
                "taskType": "TEXT_IMAGE",
                "textToImageParams": {"text": "A robot", "negativeText": "rust"},
                "imageGenerationConfig": {"numberOfImages": 2, "width": 512, "height": 768, "seed": 7},
            },
            native_response={"images": [ENCODED], "error": "One image was blocked by our content filters."},
            result=[
                GeneratedImage(PNG, "png"),
                GeneratedImage(b"", "png", finish_reason="One image was blocked by our content filters."),
            ],
        ),
        TaskSample(
            model="amazon.nova-reel-v1:1",
            request=VideoRequest(prompt="A cave.", images=[IMAGE], seed=7),
            native_request={
                "taskType": "TEXT_VIDEO",
                "textToVideoParams": {
                    "text": "A cave.",
                    "images": [{"format": "png", "source": {"bytes": ENCODED}}],
                },
                "videoGenerationConfig": {"durationSeconds": 6, "fps": 24, "dimension": "1280x720", "seed": 7},
            },
            output=("output.mp4", b"video"),
            result=GeneratedVideo("output.mp4", b"video", "mp4"),
        ),
    )

    def family(self) -> ModelFamily:
        """Return the family under test."""
        return AmazonFamily()
