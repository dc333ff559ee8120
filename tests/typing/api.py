"""The public API as type checkers see it: this file is checked, never run.

An ignored error is a promise too: mypy reports an ignore that is not needed, and so does pyright here.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

from bedrock_async import (
    BedrockClient,
    BedrockError,
    ConverseRequest,
    ConverseResponse,
    Embeddings,
    Event,
    GeneratedImage,
    GeneratedVideo,
    Message,
    RankedDocument,
    ResponseMeta,
    ResponseStream,
    ServiceError,
    StreamTruncatedError,
    TextBlock,
    ThrottlingError,
    TokenUsage,
    ToolUseBlock,
    VideoJob,
)


async def converse(client: BedrockClient) -> None:
    """The reply of `converse` and what hangs on it."""
    reply = await client.converse("amazon.nova-lite-v1:0", "Hello", system="Be brief.", max_tokens=10)
    assert_type(reply, ConverseResponse)
    assert_type(reply.text, str)
    assert_type(reply.message, Message)
    assert_type(reply.tool_uses, list[ToolUseBlock])
    assert_type(reply.usage, TokenUsage)
    assert_type(reply.meta, ResponseMeta)
    assert_type(reply.meta.status, int)


async def messages(client: BedrockClient, request: ConverseRequest) -> None:
    """Messages are text, boto3-shaped dicts, typed objects or a mixture; a ready request stands for both arguments."""
    await client.converse("model", [{"role": "user", "content": [{"text": "Hello"}]}])
    await client.converse("model", [Message(role="user", content=[TextBlock(text="Hello")])])
    await client.converse("model", [Message(role="user", content=[]), {"role": "assistant", "content": []}])
    await client.converse(request)
    await client.converse("model", request)
    assert_type(client.prepare("model", "Hello", max_tokens=10), ConverseRequest)


async def streams(client: BedrockClient) -> None:
    """A stream is at once an iterator of events and a context manager; calling `stream` awaits nothing."""
    assert_type(client.stream("model", "Hello"), ResponseStream)
    async for event in client.stream("model", "Hello"):
        assert_type(event, Event)
        assert_type(event.text, str | None)
    async with client.stream("model", "Hello") as stream:
        assert_type(stream, ResponseStream)
        async for text in stream.text_stream:
            assert_type(text, str)
        assert_type(await stream.get_final_response(), ConverseResponse)


async def tasks(client: BedrockClient) -> None:
    """What is not a conversation has results of its own."""
    embeddings = await client.embed("amazon.titan-embed-text-v2:0", ["a text", "another"], dimensions=256)
    assert_type(embeddings, Embeddings)
    assert_type(embeddings.vectors, Sequence[Sequence[float]])
    assert_type(embeddings.metas, Sequence[ResponseMeta])
    await client.embed("model", "a text", purpose="query", service_tier="flex")
    await client.embed("model", [{"image": {"format": "png", "source": {"bytes": b""}}}])
    for document in (await client.rerank("model", "a question", ["a text"])).documents:
        assert_type(document, RankedDocument)
    for image in (await client.generate_image("model", "A cat.")).images:
        assert_type(image, GeneratedImage)
    job = await client.generate_video("model", "A cat.", output_s3_uri="s3://bucket")
    assert_type(job, VideoJob)
    assert_type(await job.result(), GeneratedVideo)
    await client.embed("model", ["a text"], max_tokens=5)  # type: ignore[call-arg]
    await client.generate_video("model", "A cat.")  # type: ignore[call-arg]


async def blocks(reply: ConverseResponse) -> None:
    """Content blocks are told apart by `match`."""
    for block in reply.message.content:
        match block:
            case TextBlock(text=text):
                assert_type(text, str)
            case ToolUseBlock(name=name):
                assert_type(name, str)
            case _:
                pass


def errors(error: BedrockError) -> None:
    """Errors carry what a handler needs."""
    assert_type(error.retryable, bool)
    assert_type(error.hint, str | None)
    match error:
        case ThrottlingError(retry_after_s=seconds):
            assert_type(seconds, float | None)
        case ServiceError(code=code, status=status, request_id=request_id):
            assert_type(code, str)
            assert_type(status, int)
            assert_type(request_id, str | None)
        case StreamTruncatedError(partial_response=partial):
            assert_type(partial, ConverseResponse | None)
        case _:
            pass


async def mistakes(client: BedrockClient) -> None:
    """What a checker must refuse."""
    await client.converse("model", "Hello", max_token=10)  # type: ignore[call-overload]
    await client.converse("model", "Hello", temperature="hot")  # type: ignore[call-overload]
    await client.converse("model")  # type: ignore[call-overload]
    await client.converse("model", 1)  # type: ignore[call-overload]
    await client.stream("model", "Hello")  # type: ignore[misc]
    client.region = "eu-west-1"  # type: ignore[misc]
    BedrockClient("us-east-1")  # type: ignore[call-arg]
