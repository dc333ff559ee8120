"""The family of TwelveLabs keeps the public contracts of families and of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from bedrock_async_twelvelabs import TwelveLabsFamily

from bedrock_async import ImageBlock
from bedrock_async.families import Embeddings, EmbedRequest, ModelFamily
from bedrock_async.testing import FamilyContract, FamilySample, TaskContract, TaskSample
from bedrock_async.types import MediaSource, S3Location

SCHEMA: Final = '{"type": "object", "properties": {"summary": {"type": "string"}}, "required": ["summary"]}'
IN_S3: Final = {"uri": "s3://path-to-video-object-in-s3", "bucketOwner": "123456789012"}

# Requests and whole answers are those of the Bedrock user guide, "TwelveLabs Pegasus 1.2", shortened; the chunks have
# the members that the AI SDK of Vercel reads (packages/amazon-bedrock/src/amazon-bedrock-pegasus-language-model.ts).
INLINE: Final = FamilySample(
    model="us.twelvelabs.pegasus-1-2-v1:0",
    request={
        "messages": [
            {
                "role": "user",
                "content": [
                    {"video": {"format": "mp4", "source": {"bytes": b"video"}}},
                    {"text": "tell me about the video"},
                ],
            }
        ],
        "inferenceConfig": {"temperature": 0.0, "maxTokens": 2048},
    },
    native_request={
        "inputPrompt": "tell me about the video",
        "mediaSource": {"base64String": "dmlkZW8="},
        "temperature": 0.0,
        "maxOutputTokens": 2048,
    },
    native_response={"message": "This video shows a person walking through a park.", "finishReason": "stop"},
    headers={"X-Amzn-Bedrock-Input-Token-Count": "1200", "X-Amzn-Bedrock-Output-Token-Count": "12"},
    chunks=(
        {"message": "This video shows a ", "stopReason": ""},
        {"message": "person walking through a park.", "stopReason": ""},
        {
            "message": "",
            "stopReason": "stop",
            "amazon-bedrock-invocationMetrics": {
                "inputTokenCount": 1200,
                "outputTokenCount": 12,
                "invocationLatency": 900,
                "firstByteLatency": 500,
            },
        },
    ),
    text="This video shows a person walking through a park.",
    stop_reason="end_turn",
    input_tokens=1200,
    output_tokens=12,
)

STRUCTURED: Final = FamilySample(
    model="global.twelvelabs.pegasus-1-5-v1:0",
    request={
        "messages": [
            {
                "role": "user",
                "content": [
                    {"text": "Analyze this video and provide a structured summary"},
                    {"video": {"format": "mp4", "source": {"s3Location": IN_S3}}},
                ],
            }
        ],
        "outputConfig": {
            "textFormat": {
                "type": "json_schema",
                "structure": {"jsonSchema": {"name": "video_analysis", "schema": SCHEMA}},
            }
        },
    },
    native_request={
        "inputPrompt": "Analyze this video and provide a structured summary",
        "mediaSource": {"s3Location": IN_S3},
        "responseFormat": {
            "jsonSchema": {
                "type": "object",
                "properties": {"summary": {"type": "string"}},
                "required": ["summary"],
            }
        },
    },
    native_response={"message": '{"summary": "A peaceful evening walk through a pa', "stopReason": "length"},
    text='{"summary": "A peaceful evening walk through a pa',
    stop_reason="max_tokens",
)


class TestPegasus(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (INLINE, STRUCTURED)

    def family(self) -> ModelFamily:
        """Return the family under test."""
        return TwelveLabsFamily()


def image(**source: Any) -> ImageBlock:  # noqa: ANN401 - any source
    """An image."""
    return ImageBlock(format="png", source=MediaSource(**source))


PICTURE: Final = {"uri": "s3://amzn-s3-demo-bucket/my_image.png", "bucketOwner": "123456789012"}
LOCATION: Final = S3Location(uri="s3://amzn-s3-demo-bucket/my_image.png", bucket_owner="123456789012")


class TestMarengo(TaskContract):
    # Requests of the user guide, "TwelveLabs Marengo Embed 3.0" and "2.7"; answers as they document them, and as lists,
    # which is how clients were written that call the service.
    samples: ClassVar[Sequence[TaskSample]] = (
        TaskSample(
            model="us.twelvelabs.marengo-embed-3-0-v1:0",
            request=EmbedRequest(inputs=["man walking a dog"], purpose="query", dimensions=512),
            native_request={"inputType": "text", "text": {"inputText": "man walking a dog"}},
            native_response={"data": [{"embedding": [0.111, 0.234]}]},
            result=Embeddings([[0.111, 0.234]]),
        ),
        TaskSample(
            model="us.twelvelabs.marengo-embed-3-0-v1:0",
            request=EmbedRequest(inputs=[image(s3_location=LOCATION)]),
            native_request={"inputType": "image", "image": {"mediaSource": {"s3Location": PICTURE}}},
            native_response={"data": {"embedding": [0.111, 0.234]}},
            result=Embeddings([[0.111, 0.234]]),
        ),
        TaskSample(
            model="us.twelvelabs.marengo-embed-2-7-v1:0",
            request=EmbedRequest(inputs=["man walking a dog"], truncate="none"),
            native_request={"inputType": "text", "inputText": "man walking a dog", "textTruncate": "none"},
            native_response={"embedding": [0.1, 0.2, 0.3]},
            result=Embeddings([[0.1, 0.2, 0.3]]),
        ),
        TaskSample(
            model="us.twelvelabs.marengo-embed-2-7-v1:0",
            request=EmbedRequest(inputs=[image(bytes=b"image")]),
            native_request={"inputType": "image", "mediaSource": {"base64String": "aW1hZ2U="}},
            native_response={"data": [{"embedding": [0.1, 0.2, 0.3], "embeddingOption": "visual-image"}]},
            result=Embeddings([[0.1, 0.2, 0.3]]),
        ),
    )

    def family(self) -> ModelFamily:
        """Return the family under test."""
        return TwelveLabsFamily()
