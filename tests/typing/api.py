"""The public API as type checkers see it: this file is checked, never run.

An ignored error is a promise too: mypy reports an ignore that is not needed, and so does pyright here.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_type

from pydantic import BaseModel

import bedrock_async
from bedrock_async import (
    BedrockClient,
    BedrockError,
    BidirectionalStream,
    BoundModel,
    CacheConfig,
    CachePlan,
    Conversation,
    ConverseRequest,
    ConverseResponse,
    Embeddings,
    Event,
    GeneratedImage,
    GeneratedVideo,
    GuardrailDecision,
    GuardrailSettings,
    InvokeChunk,
    InvokeStream,
    Message,
    Normalization,
    Output,
    OutputStream,
    OutputType,
    PartialToolInput,
    RankedDocument,
    Reasoning,
    ResponseMeta,
    ResponseStream,
    ServiceError,
    StreamTruncatedError,
    SystemTool,
    TextBlock,
    ThrottlingError,
    TokenUsage,
    ToolFinished,
    ToolLike,
    ToolLoop,
    ToolLoopResult,
    ToolStarted,
    ToolUseBlock,
    UsageTotals,
    VideoJob,
    redacted_messages,
    tool,
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


async def settled(client: BedrockClient, history: list[Message]) -> None:
    """What is wanted of a request has classes, and a guardrail's decision is typed everywhere."""
    guardrail = GuardrailSettings("gr", "1", latest_turn_only=True)
    reply = await client.converse(
        "model",
        history,
        cache=CacheConfig(system="1h", strategy="auto"),
        reasoning=Reasoning(budget_tokens=2048, effort="high"),
        guardrail=guardrail,
        normalize=Normalization(off={"document_name"}),
    )
    assert_type(reply.guardrail, GuardrailDecision | None)
    assert_type(reply.meta.adjustments, tuple[str, ...])
    assert_type(redacted_messages(history, reply, guardrail), list[Message])
    assert_type(client.plan_cache("model", history, cache="auto"), CachePlan)
    async for chunk in client.invoke_stream("model", {}):
        assert_type(chunk.guardrail, GuardrailDecision | None)


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


class City(BaseModel):
    """An output."""

    name: str


@dataclass
class Point:
    """An output of another kind."""

    x: int


async def outputs(client: BedrockClient) -> None:
    """An output is of the type that was asked for, whole and streamed; a schema and a special form may be anything."""
    result = await client.parse("model", "Hello", output_type=City, max_tokens=10)
    assert_type(result, Output[City])
    assert_type(result.value, City)
    assert_type(result.response, ConverseResponse)
    assert_type((await client.parse("model", "Hello", output_type=Point)).value, Point)
    assert_type((await client.parse("model", "Hello", output_type=list[int])).value, list[int])
    assert_type((await client.parse("model", "Hello", output_type={"type": "object"})).value, Any)
    assert_type((await client.parse("model", "Hello", output_type=City | Point)).value, Any)
    stream = client.stream("model", "Hello", output_type=City, output_mode="tool")
    assert_type(stream, OutputStream[City])
    assert_type(await stream.get_final_output(), City)
    async for event in stream:
        assert_type(event, Event)
    assert_type(client.stream("model", "Hello", output_type={"type": "object"}), OutputStream[Any])
    either: OutputType[City | Point] = OutputType.of(City | Point)
    assert_type(client.stream("model", "Hello", output_type=either), OutputStream[City | Point])
    assert_type(await client.parse("model", "Hello", output_type=either), Output[City | Point])
    assert_type(await client.converse("model", "Hello", output_type=City), ConverseResponse)


@tool
async def weather(city: str, days: int = 1) -> str:
    """Tell the weather."""
    return city


class Shop:
    """An object with a tool."""

    @tool(strict=True)
    def count(self, item: str) -> int:
        """Count an item."""
        return len(item)


async def tools(client: BedrockClient, shop: Shop) -> None:
    """A tool is called as its function is; the loop is an iterator, a context manager, and has a result."""
    assert_type(await weather("Paris", days=2), str)
    assert_type(shop.count("pens"), int)
    await weather(1)  # type: ignore[arg-type]
    shop.count(1)  # type: ignore[arg-type]
    plain: list[ToolLike] = [weather, shop.count, len, SystemTool(name="nova_grounding"), {"toolSpec": {}}]
    reply = await client.converse("model", "Hello", tools=plain, tool_choice=weather, parallel_tools=False)
    assert_type(reply.broken_tool_uses, list[ToolUseBlock])
    async for step in client.run_tools("model", "Hello", tools=[weather], deps=shop, max_rounds=3):
        assert_type(step, Event | ToolStarted | ToolFinished)
        assert_type(step.text, str | None)
    async with client.run_tools("model", "Hello", tools=[weather, shop.count], on_tool_error=str) as run:
        assert_type(run, ToolLoop)
        result = await run.result()
        assert_type(result, ToolLoopResult)
        assert_type(result.messages, tuple[Message, ...])
        assert_type(result.response, ConverseResponse)
    async for growing in client.stream("model", "Hello", tools=[weather]).tool_inputs:
        assert_type(growing, PartialToolInput)
    client.run_tools("model", "Hello", tools=[weather], on_tool_error="ignore")  # type: ignore[arg-type]


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


async def models(client: BedrockClient) -> None:
    """A bound model has the verbs of the client, with all their keywords, but for the model."""
    model = client.model("amazon.nova-lite-v1:0", temperature=0.5, model_profile={"streaming": False})
    assert_type(model, BoundModel)
    assert_type(await model.converse("Hello", max_tokens=10), ConverseResponse)
    assert_type(model.stream([{"role": "user", "content": [{"text": "Hello"}]}]), ResponseStream)
    assert_type(model.stream("Hello", output_type=City), OutputStream[City])
    assert_type(await model.parse("Hello", output_type=City), Output[City])
    assert_type(model.run_tools("Hello", tools=[], max_rounds=3), ToolLoop)
    assert_type(model.prepare("Hello"), ConverseRequest)
    assert_type(await model.embed(["a text"], dimensions=256), Embeddings)
    assert_type(model.invoke_stream({"prompt": "Hello"}), InvokeStream)
    model.update_config(model="amazon.nova-pro-v1:0", temperature=None)
    await model.converse("Hello", max_token=10)  # type: ignore[call-arg]
    await model.embed(["a text"], max_tokens=5)  # type: ignore[call-arg]
    await model.invoke({}, temperature=0.5)  # type: ignore[call-arg]
    model.update_config(temprature=0.5)  # type: ignore[call-arg]
    client.model("model", model_profile={"streamin": False})  # type: ignore[arg-type]


async def conversations(client: BedrockClient) -> None:
    """A conversation takes text, blocks and messages, and has the same verbs."""
    chat = client.conversation("model", system="Be brief.")
    assert_type(chat, Conversation)
    assert_type(await chat.converse("Hello"), ConverseResponse)
    assert_type(await chat.converse([TextBlock(text="Hello"), {"text": "again"}, "and again"]), ConverseResponse)
    assert_type(chat.stream(Message(role="user", content=[])), ResponseStream)
    assert_type((await chat.parse("Hello", output_type=City)).value, City)
    assert_type(chat.run_tools("Hello", tools=[]), ToolLoop)
    assert_type(await chat.converse(chat.tool_results({"id": {"any": "value"}})), ConverseResponse)
    assert_type(chat.messages, list[Message])
    assert_type(chat.usage, UsageTotals)
    assert_type(client.usage.by_tag("team"), dict[str, UsageTotals])
    await chat.converse(5)  # type: ignore[arg-type]


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
    bedrock_async.BedrockKlient()  # type: ignore[attr-defined]
    bedrock_async.families.ModelFamly()  # type: ignore[attr-defined]
    bedrock_async.resilience.TimeOuts()  # type: ignore[attr-defined]
    bedrock_async.transport.NativeTransprot()  # type: ignore[attr-defined]
    bedrock_async.types.TextBlok()  # type: ignore[attr-defined]


async def conversations_have_chunks(client: BedrockClient) -> None:
    """What is sent is JSON in any form; what comes back are native chunks."""
    async with client.invoke_bidirectional("m", inference_profile="p", timeouts=None) as duplex:
        assert_type(duplex, BidirectionalStream)
        await duplex.send({"event": {"sessionStart": {}}})
        await duplex.send(b"{}")
        async for chunk in duplex:
            assert_type(chunk, InvokeChunk)
        assert_type(duplex.meta, ResponseMeta)
    await duplex.send(1)  # type: ignore[arg-type]
