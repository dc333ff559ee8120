"""OpenAI's own package as judge: what it reads from an answer we read too, and what we send fits its types."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import pytest
from bedrock_async_mantle import MantleProvider
from bedrock_async_mantle.testing import CannedAnswer, CannedEndpoint
from corpus import Exchange, exchange, exchanges

from bedrock_async import BedrockClient, ConverseResponse, Credentials, ServiceError
from bedrock_async.providers import HttpRequest

openai = pytest.importorskip("openai", reason="the extra test is not installed: nobody else judged the two APIs")

pydantic = pytest.importorskip("pydantic")

STREAMS: Final[list[dict[str, Any]]] = json.loads((Path(__file__).parent / "data" / "streams.json").read_bytes())
RECORDED: Final = [
    each
    for each in exchanges("other")
    if "__mantle__" in each.id and each.request_body and not each.request_json.get("stream")
]
TOOL_CHUNKS: Final[list[dict[str, Any]]] = [
    {"index": 0, "id": "call-a", "type": "function", "function": {"name": "add", "arguments": ""}},
    {"index": 0, "function": {"arguments": '{"n": '}},
    {"index": 0, "function": {"arguments": "1}"}},
    {"index": 1, "id": "call-b", "type": "function", "function": {"name": "mul", "arguments": '{"n": 2}'}},
]


def chunk(delta: Mapping[str, Any], reason: str | None = None) -> dict[str, Any]:
    """One chunk of a chat completion, with all that the official client demands."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def ours(endpoint: CannedEndpoint) -> BedrockClient:
    """Our client of the endpoint."""
    return BedrockClient(
        region="us-east-1",
        credentials=Credentials("AKIDEXAMPLE", "secret"),
        provider="mantle",
        providers={"mantle": MantleProvider(endpoint.url)},
    )


def official(endpoint: CannedEndpoint, path: str = "/v1") -> Any:  # noqa: ANN401 - the package may not be there
    """The official client of the endpoint."""
    return openai.AsyncOpenAI(api_key="key", base_url=endpoint.url + path, max_retries=0)


def said(response: ConverseResponse) -> tuple[str, list[tuple[str, Any]], int, int]:
    """What our client read: text, calls, tokens in (cached ones too) and out."""
    usage = response.usage
    tokens_in = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_write_input_tokens or 0)
    calls = [(use.name, use.input) for use in response.tool_uses]
    return response.text, calls, tokens_in, usage.output_tokens


def read_response(response: Any) -> tuple[str, list[tuple[str, Any]], int, int]:  # noqa: ANN401
    """What the official client read of the Responses API."""
    calls = [(item.name, json.loads(item.arguments)) for item in response.output if item.type == "function_call"]
    return response.output_text, calls, response.usage.input_tokens, response.usage.output_tokens


def read_completion(completion: Any) -> tuple[str, list[tuple[str, Any]], int, int]:  # noqa: ANN401
    """What the official client read of a chat completion."""
    message, usage = completion.choices[0].message, completion.usage
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()]
    return message.content or "", calls, usage.prompt_tokens, usage.completion_tokens


@pytest.mark.parametrize("recorded", RECORDED, ids=str)
async def test_recorded_answers_are_read_alike(recorded: Exchange) -> None:
    """Both clients call the endpoint, and read the same from the same bytes."""
    answer = CannedAnswer((recorded.response_body,))
    chat = recorded.path.endswith("/chat/completions")
    async with CannedEndpoint([answer]) as endpoint, ours(endpoint) as client, official(endpoint) as judge:
        options = {"api": "chat" if chat else "responses"}
        reply = await client.converse(recorded.model_id, "Hi.", provider_options=options)
        if chat:
            judged = read_completion(await judge.chat.completions.create(model="m", messages=[]))
        else:
            judged = read_response(await judge.responses.create(model="m", input="Hi."))
    assert said(reply) == judged


@pytest.mark.parametrize(
    "body",
    [
        *(each["response_body"].encode() for each in STREAMS),
        exchange("other__mantle__200__3188bc6c923acf7f").response_body,
    ],
)
async def test_recorded_streams_are_read_alike(body: bytes) -> None:
    """Events of the Responses API, in small pieces."""
    answer = CannedAnswer.raw_stream(body, size=97)
    async with CannedEndpoint([answer]) as endpoint, ours(endpoint) as client, official(endpoint) as judge:
        reply = await client.stream("openai.gpt-5.6-luna", "Hi.").get_final_response()
        events: AsyncIterator[Any] = await judge.responses.create(model="m", input="Hi.", stream=True)
        last = [event async for event in events][-1]
    assert last.type == "response.completed"
    assert said(reply) == read_response(last.response)


async def test_streams_of_chat_completions_are_read_alike() -> None:
    """Text, parallel calls, and the tokens behind the end."""
    tokens = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    usage: dict[str, Any] = {**chunk({}), "choices": [], "usage": tokens}
    calls = [chunk({"tool_calls": [each]}) for each in TOOL_CHUNKS]
    chunks = [chunk({"role": "assistant", "content": "Bo"}), chunk({"content": "th."}), *calls, chunk({}, "tool_calls")]
    answer = CannedAnswer.stream(*chunks, usage, done=True)
    async with CannedEndpoint([answer]) as endpoint, ours(endpoint) as client, official(endpoint) as judge:
        reply = await client.stream("qwen.qwen3-32b", "Hi.").get_final_response()
        async with judge.chat.completions.stream(model="m", messages=[]) as stream:
            completion = await stream.get_final_completion()
    assert said(reply) == read_completion(completion) == ("Both.", [("add", {"n": 1}), ("mul", {"n": 2})], 7, 3)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [(401, "invalid_api_key", "Invalid bearer token"), (429, "rate_limit_exceeded", "Slow."), (400, None, "No.")],
)
async def test_errors_are_read_alike(status: int, code: str | None, message: str) -> None:
    """Status, code and message."""
    answer = CannedAnswer.error(status, code, message)
    async with CannedEndpoint([answer]) as endpoint, ours(endpoint) as client, official(endpoint) as judge:
        with pytest.raises(ServiceError) as caught:
            await client.converse("qwen.qwen3-32b", "Hi.", retry=_Once())
        with pytest.raises(openai.APIStatusError) as judged:
            await judge.chat.completions.create(model="m", messages=[])
    assert caught.value.status == judged.value.status_code
    assert caught.value.message == judged.value.body["message"]
    assert code is None or caught.value.code == judged.value.code


class _Once:
    """One attempt."""

    def delay_s(self, failure: object, attempt: int, *, random: object) -> None:
        """Give up."""


@pytest.mark.parametrize("service", ["mantle", "runtime"])
async def test_requests_are_signed_alike(service: str) -> None:
    """For the same service and region; the official client's signer is botocore's."""
    from openai.providers import bedrock

    answer = CannedAnswer((exchange("other__mantle__200__eae36612e999979f").response_body,))
    async with CannedEndpoint([answer]) as endpoint:
        judge = openai.AsyncOpenAI(
            provider=bedrock(
                endpoint=cast("Any", service),
                region="us-east-1",
                base_url=endpoint.url + "/openai/v1",
                access_key_id="AKIDEXAMPLE",
                secret_access_key="secret",
            )
        )
        async with (
            judge,
            BedrockClient(
                region="us-east-1",
                endpoint_url=endpoint.url,
                credentials=Credentials("AKIDEXAMPLE", "secret"),
                providers={"mantle": MantleProvider(endpoint.url)},
            ) as client,
        ):
            await judge.responses.create(model="m", input="Hi.")
            await client.converse("openai.gpt-5.5", "Hi.", provider="mantle", provider_options={"endpoint": service})
    theirs, own = (
        request.headers["authorization"].split("Credential=")[1].split(",")[0] for request in endpoint.requests
    )
    assert theirs.split("/")[2:] == own.split("/")[2:]
    assert [request.path for request in endpoint.requests] == ["/openai/v1/responses"] * 2


# -- requests, held to the types of the official package

RICH: Final[dict[str, Any]] = {
    "system": [{"text": "Be brief."}],
    "messages": [
        {"role": "user", "content": [{"text": "See?"}, {"image": {"format": "png", "source": {"bytes": b"x"}}}]},
        {
            "role": "assistant",
            "content": [{"text": "Look."}, {"toolUse": {"toolUseId": "a", "name": "f", "input": {"n": 1}}}],
        },
        {"role": "user", "content": [{"toolResult": {"toolUseId": "a", "content": [{"text": "5"}]}}, {"text": "And?"}]},
    ],
    "inferenceConfig": {"maxTokens": 99, "temperature": 1.0, "topP": 0.9},
    "toolConfig": {
        "tools": [{"toolSpec": {"name": "f", "description": "F.", "inputSchema": {"json": {"type": "object"}}}}],
        "toolChoice": {"any": {}},
    },
    "outputConfig": {
        "effort": "low",
        "textFormat": {
            "type": "json_schema",
            "structure": {"jsonSchema": {"name": "n", "schema": '{"type":"object"}'}},
        },
    },
    "serviceTier": {"type": "flex"},
}


def walked(value: object) -> object:
    """Return a validated value with its lazy parts read: pydantic checks an Iterable only when it is iterated."""
    if isinstance(value, Mapping):
        return {name: walked(each) for name, each in cast("Mapping[str, object]", value).items()}
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        return value
    return [walked(each) for each in cast("list[object]", value)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_what_is_sent_fits_the_official_types(
    api: str,
    stream: bool,  # noqa: FBT001
    written: Callable[..., HttpRequest],
) -> None:
    """Every member is known and of its type."""
    from openai.types.chat import completion_create_params as chat
    from openai.types.responses import response_create_params as responses

    kinds: dict[tuple[str, bool], Any] = {
        ("chat", False): chat.CompletionCreateParamsNonStreaming,
        ("chat", True): chat.CompletionCreateParamsStreaming,
        ("responses", False): responses.ResponseCreateParamsNonStreaming,
        ("responses", True): responses.ResponseCreateParamsStreaming,
    }
    body = json.loads(written(RICH, "openai.gpt-5.6-sol", api=api, stream=stream).body)
    adapter = pydantic.TypeAdapter(kinds[api, stream])
    assert walked(adapter.validate_python(body, extra="forbid")) == body
    with pytest.raises(pydantic.ValidationError):
        walked(adapter.validate_python({**body, "nobody_knows": 1}, extra="forbid"))
