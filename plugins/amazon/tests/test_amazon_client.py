"""The family behind the client: over HTTP, against the emulator."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any, Final

import pytest
from bedrock_async_amazon import AmazonFamily

from bedrock_async import BedrockClient, Credentials, InvalidRequestError, StreamTruncatedError
from bedrock_async.testing import BedrockEmulator, ReceivedRequest, ScriptedModel

NOVA: Final = "us.amazon.nova-lite-v1:0"
TITAN: Final = "amazon.titan-text-express-v1"
PNG: Final = b"\x89PNG\r\n\x1a\n"
TOOL: Final[dict[str, Any]] = {"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}


def client(emulator: BedrockEmulator) -> BedrockClient:
    """A client of the emulator that calls models natively."""
    return BedrockClient(
        region="us-east-1",
        endpoint_url=emulator.url,
        credentials=Credentials("any", "key"),
        families={"amazon": AmazonFamily()},
        provider="invoke",
    )


async def test_nova_answers_whole_and_streamed() -> None:
    """The same text, one event for each piece."""
    async with BedrockEmulator([ScriptedModel.text("One two three.")]) as emulator, client(emulator) as bedrock:
        reply = await bedrock.converse(NOVA, "Count.", additional_request_fields={"inferenceConfig": {"topK": 3}})
        async with bedrock.stream(NOVA, "Count.", max_tokens=10) as stream:
            pieces = [piece async for piece in stream.text_stream]
            streamed = await stream.get_final_response()
        whole, parts = emulator.requests
    assert reply.text == streamed.text == "One two three."
    assert "".join(pieces) == reply.text
    assert len(pieces) > 1
    assert json.loads(whole.body)["inferenceConfig"] == {"topK": 3}
    assert json.loads(parts.body) == {
        "schemaVersion": "messages-v1",
        "messages": [{"role": "user", "content": [{"text": "Count."}]}],
        "inferenceConfig": {"maxTokens": 10},
    }
    assert parts.decoded_path == f"/model/{NOVA}/invoke-with-response-stream"


async def test_nova_calls_tools() -> None:
    """Whole and streamed; the results go back in the next turn."""
    model = ScriptedModel.tool_use("weather", {"city": "Paris"})
    async with BedrockEmulator([model]) as emulator, client(emulator) as bedrock:
        reply = await bedrock.converse(NOVA, "Weather?", tools=[TOOL])
        async with bedrock.stream(NOVA, "Weather?", tools=[TOOL]) as stream:
            streamed = await stream.get_final_response()
        (use,) = reply.tool_uses
        result = {"toolResult": {"toolUseId": use.tool_use_id, "content": [{"text": "Sunny."}]}}
        history: list[Any] = [
            {"role": "user", "content": [{"text": "Weather?"}]},
            reply.message,
            {"role": "user", "content": [result]},
        ]
        await bedrock.converse(NOVA, history, tools=[TOOL])
        sent = json.loads(emulator.requests[-1].body)
    assert (use.name, use.input, reply.stop_reason) == ("weather", {"city": "Paris"}, "tool_use")
    assert [(use.name, use.input) for use in streamed.tool_uses] == [("weather", {"city": "Paris"})]
    assert sent["messages"][1:] == [{"role": "assistant", "content": reply.message.to_wire()["content"]}, history[2]]


async def test_titan_answers_whole_and_streamed() -> None:
    """A dialogue goes out; the counts of the body come back."""
    chunks: list[Any] = [
        {"outputText": "\nOne ", "index": 0, "completionReason": None, "inputTextTokenCount": 4},
        {"outputText": "two.", "index": 0, "completionReason": "FINISH", "totalOutputTextTokenCount": 3},
    ]
    answer: Any = {
        "inputTextTokenCount": 4,
        "results": [{"tokenCount": 3, "outputText": "\nOne two.", "completionReason": "FINISH"}],
    }
    scripts = iter([[answer], chunks])
    model = ScriptedModel([], native=lambda _request: next(scripts))
    async with BedrockEmulator([model]) as emulator, client(emulator) as bedrock:
        reply = await bedrock.converse(TITAN, "Count.")
        streamed = await bedrock.stream(TITAN, "Count.").get_final_response()
        bodies = [json.loads(request.body) for request in emulator.requests]
    assert reply.text == streamed.text == "\nOne two."
    assert reply.usage == streamed.usage
    assert bodies == [{"inputText": "User: Count.\nBot:"}] * 2


async def test_what_a_model_cannot_express_never_leaves() -> None:
    """The error says which provider can, for a tool of Titan's and a document of Nova's."""
    document = {"document": {"format": "pdf", "name": "d", "source": {"bytes": b"%PDF-1.7"}}}
    messages = [{"role": "user", "content": [{"text": "Read it."}, document]}]
    async with BedrockEmulator([ScriptedModel.text()]) as emulator, client(emulator) as bedrock:
        with pytest.raises(InvalidRequestError, match=r"documents .*native body of amazon\.nova-lite"):
            await bedrock.converse(NOVA, messages)
        with pytest.raises(InvalidRequestError, match="provider='converse'"):
            await bedrock.converse(TITAN, "Weather?", tools=[TOOL])
        with pytest.raises(InvalidRequestError, match="makes images; it does not chat"):
            await bedrock.converse("amazon.nova-canvas-v1:0", "A robot.")
        assert not emulator.requests


async def test_a_stream_without_its_end_carries_what_arrived() -> None:
    """The error has the text so far."""
    chunks: list[Any] = [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"delta": {"text": "One "}, "contentBlockIndex": 0}},
    ]
    model = ScriptedModel([], native=chunks)
    async with BedrockEmulator([model]) as emulator, client(emulator) as bedrock:
        with pytest.raises(StreamTruncatedError) as caught:
            await bedrock.stream(NOVA, "Count.").get_final_response()
    assert caught.value.partial_response is not None
    assert caught.value.partial_response.text == "One "


async def test_texts_are_embedded_one_by_one_in_their_order() -> None:
    """A request for each, with the common settings in Titan's words; the tokens are summed."""
    lengths = {"one": [1.0], "three": [3.0]}

    def vector(request: ReceivedRequest) -> Any:  # noqa: ANN401 - a script of any JSON
        return [{"embedding": lengths[json.loads(request.body)["inputText"]], "inputTextTokenCount": 2}]

    model = ScriptedModel([], native=vector)
    async with BedrockEmulator([model]) as emulator, client(emulator) as bedrock:
        made = await bedrock.embed("amazon.titan-embed-text-v2:0", ["three", "one", "three"], dimensions=256)
        bodies = [json.loads(request.body) for request in emulator.requests]
    assert list(made.vectors) == [[3.0], [1.0], [3.0]]
    assert made.input_tokens == 6
    assert sorted(body["inputText"] for body in bodies) == ["one", "three", "three"]
    assert {body["dimensions"] for body in bodies} == {256}


async def test_images_are_made_and_withheld_ones_told() -> None:
    """Bytes, and the reason for the one that is missing."""
    answer: Any = {"images": [b64encode(PNG).decode()], "error": "One image was blocked."}
    model = ScriptedModel([], native=[answer])
    async with BedrockEmulator([model]) as emulator, client(emulator) as bedrock:
        made = await bedrock.generate_image(
            "amazon.nova-canvas-v1:0",
            "A robot.",
            count=2,
            additional_request_fields={"imageGenerationConfig": {"quality": "premium"}},
        )
        (request,) = emulator.requests
    assert [(image.data, image.finish_reason) for image in made.images] == [
        (PNG, None),
        (b"", "One image was blocked."),
    ]
    assert json.loads(request.body) == {
        "taskType": "TEXT_IMAGE",
        "textToImageParams": {"text": "A robot."},
        "imageGenerationConfig": {"numberOfImages": 2, "quality": "premium"},
    }
