"""Every recorded exchange goes through the real client, over real sockets.

The request that arrives must be the recorded one; the answer must be complete, and be botocore's reading of it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

import pytest
from botocore_reading import output_shape, parsed, parsed_events, pruned
from corpus import CORPUS, Exchange, exchanges

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    ConverseRequest,
    CountTokensRequest,
    Credentials,
    GuardrailVerdict,
    InvokeStream,
    ServiceError,
    fold,
)
from bedrock_async.errors import service_error
from bedrock_async.events import event_from_wire
from bedrock_async.eventstream import CONTENT_TYPE, encode_frame
from bedrock_async.native import METRICS
from bedrock_async.testing import BedrockEmulator, HttpAnswer, RecordedExchange, ReplayModel

ANSWERED: Final = exchanges("converse", 200)
STREAMED: Final = exchanges("converse-stream", 200)
INVOKED: Final = exchanges("invoke", 200)
INVOKED_STREAMED: Final = exchanges("invoke-with-response-stream", 200)
COUNTED: Final = exchanges("count-tokens", 200)
GUARDED: Final = exchanges("apply-guardrail", 200)
REFUSED: Final = [each for each in exchanges() if each.status != 200]
PROFILES: Final = [each for each in exchanges("other") if each.host == "bedrock.us-east-1.amazonaws.com"]

OTHER_SERVICES: Final[Mapping[str, str]] = {
    "bedrock-agent-runtime": "Agents and Knowledge Bases for Amazon Bedrock are a service of their own",
    "bedrock-mantle": "an endpoint that speaks OpenAI's protocols (chat completions, responses, models)",
}
"""Recorded, but no operation of the Bedrock Runtime or of its control plane, by the first part of the host."""

PRINTED: Final[Mapping[str, dict[str, Any]]] = {
    f"{row['code']}-{number}": row
    for number, row in enumerate(json.loads((CORPUS / "errors.json").read_bytes()))
    if row["source"]["kind"] != "recording"
}
"""Errors whose text was printed in public; those that were recorded are among the exchanges."""

# Members of InvokeModel that the recorded clients sent in headers, and our keywords for them.
NATIVE_HEADERS: Final[Mapping[str, Mapping[str, str]]] = {
    "invoke": {"content-type": "content_type", "accept": "accept"},
    "invoke-with-response-stream": {"content-type": "content_type", "x-amzn-bedrock-accept": "accept"},
}
GUARDRAIL_HEADERS: Final = {
    "x-amzn-bedrock-guardrailidentifier": "guardrailIdentifier",
    "x-amzn-bedrock-guardrailversion": "guardrailVersion",
    "x-amzn-bedrock-trace": "trace",
}


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers under lower-case names."""
    return {name.lower(): value for name, value in headers.items()}


class Replay:
    """A client of an emulator that plays recordings."""

    def __init__(self, client: BedrockClient, emulator: BedrockEmulator, model: ReplayModel) -> None:
        self.client = client
        self._emulator = emulator
        self._model = model

    def play(self, exchange: Exchange | str) -> None:
        """Play the recorded answer next, whatever is sent."""
        self._model.play_next(exchange if isinstance(exchange, str) else exchange.raw["id"])

    def request_of(self, exchange: Exchange) -> ConverseRequest:
        """Return the recorded request, and play its answer next."""
        self.play(exchange)
        return ConverseRequest.from_wire(exchange.request_body or b"{}", model_id=exchange.model_id)

    async def count(self, exchange: Exchange) -> int:
        """Send the recorded count-tokens request."""
        self.play(exchange)
        request = CountTokensRequest.from_wire({"modelId": exchange.model_id, **exchange.request_json})
        return (await self.client.count_tokens(request)).input_tokens

    async def guard(self, exchange: Exchange) -> GuardrailVerdict:
        """Send the recorded apply-guardrail request through keywords."""
        self.play(exchange)
        _, _, guardrail_id, _, version, _ = exchange.path.split("/")
        members = exchange.request_json
        scope = members.get("outputScope")
        return await self.client.apply_guardrail(
            guardrail_id, version, source=members["source"], content=members["content"], output_scope=scope
        )

    def invoke_arguments(self, exchange: Exchange) -> tuple[str, bytes, dict[str, Any]]:
        """Return model, body and keywords of the recorded native request, and play its answer next."""
        self.play(exchange)
        headers = lower(exchange.request_headers)
        settings: dict[str, Any] = {
            keyword: headers[name] for name, keyword in NATIVE_HEADERS[exchange.kind].items() if name in headers
        }
        guardrail = {member: headers[name] for name, member in GUARDRAIL_HEADERS.items() if name in headers}
        if "trace" in guardrail:
            guardrail["trace"] = guardrail["trace"].lower()
        settings["guardrail"] = guardrail or None
        return exchange.model_id, exchange.request_body or b"{}", settings

    def check_request(self, exchange: Exchange) -> None:
        """Hold what arrived against what was recorded."""
        received = self._emulator.requests[-1]
        assert received.method == exchange.method
        assert unquote(received.path) == unquote(exchange.path)
        if exchange.method == "GET":
            return
        assert received.headers["content-type"] == "application/json"
        if exchange.kind in NATIVE_HEADERS:
            recorded = lower(exchange.request_headers)
            modelled = {*NATIVE_HEADERS[exchange.kind], *GUARDRAIL_HEADERS}
            assert {name: received.headers.get(name) for name in recorded.keys() & modelled} == {
                name: recorded[name] for name in recorded.keys() & modelled
            }
            assert received.body == (exchange.request_body or b"{}")
        elif exchange.request_body:
            assert json.loads(received.body) == exchange.request_json


@pytest.fixture(scope="module")
def recordings() -> ReplayModel:
    """All recordings, and the printed errors as answers."""
    return ReplayModel([*(each.raw for each in exchanges()), *map(printed_answer, PRINTED)])


def printed_answer(name: str) -> RecordedExchange:
    """Return a printed error as the answer that it was: an HTTP error, or an exception frame under status 200."""
    row = PRINTED[name]
    body = row["body"].encode()
    if row["where"] == "in-stream":
        frame = encode_frame(row["event_headers"], body)
        answer = HttpAnswer(200, frame, {"content-type": CONTENT_TYPE, "x-amzn-requestid": name})
    else:
        headers = {"content-type": "application/json", "x-amzn-requestid": name, "x-amzn-errortype": row["code"]}
        answer = HttpAnswer(row["status"], body, headers)
    return RecordedExchange(
        id=name, kind="converse", method="POST", path="/model/m/converse", request_body=None, answer=answer
    )


@pytest.fixture(params=["native", "aiohttp", "httpx"])
async def replay(request: pytest.FixtureRequest, recordings: ReplayModel) -> AsyncIterator[Replay]:
    """A client over either transport, and its emulator."""
    async with (
        BedrockEmulator([recordings]) as emulator,
        BedrockClient(
            region="us-east-1",
            endpoint_url=emulator.url,
            control_endpoint_url=emulator.url,
            credentials=Credentials("AKIDEXAMPLE", "secret"),
            transport=str(request.param),
            retry=NO_RETRY,
        ) as client,
    ):
        yield Replay(client, emulator, recordings)


@pytest.mark.parametrize("exchange", ANSWERED, ids=str)
async def test_converse(exchange: Exchange, replay: Replay) -> None:
    """The answer keeps every member that was received, and to_dict() is what botocore reads."""
    reply = await replay.client.converse(replay.request_of(exchange))
    replay.check_request(exchange)
    assert reply.to_wire() == exchange.response_json
    assert pruned(reply.to_dict(), output_shape("Converse")) == parsed("Converse", exchange.response_body)
    assert reply.meta.status == 200
    assert reply.meta.request_id == lower(exchange.response_headers).get("x-amzn-requestid")


@pytest.mark.parametrize("exchange", STREAMED, ids=str)
async def test_converse_stream(exchange: Exchange, replay: Replay) -> None:
    """Every event arrives in order and complete but for the padding; to_dict() is what botocore reads."""
    async with replay.client.stream(replay.request_of(exchange)) as stream:
        events = [event async for event in stream]
        reply = await stream.get_final_response()
    replay.check_request(exchange)
    recorded = recorded_events(exchange)
    assert [event.to_wire() for event in events] == recorded
    shape = output_shape("ConverseStream").members["stream"]
    reading = [pruned(event.to_dict(), shape) for event in events]
    assert reading == parsed_events(exchange.response_body)
    assert [event_from_wire(wire).to_wire() for wire in recorded] == recorded
    assert reply.to_wire() == fold(events).to_wire()
    texts = [each["contentBlockDelta"]["delta"].get("text", "") for each in recorded if "contentBlockDelta" in each]
    assert reply.text == "".join(texts)


def recorded_events(exchange: Exchange) -> list[dict[str, Any]]:
    """Return the events of a recorded stream as botocore's event-stream decoder saw them, without their padding."""
    assert exchange.eventstream is not None
    return [
        {each["headers"][":event-type"]: {name: value for name, value in each["payload"].items() if name != "p"}}
        for each in exchange.eventstream["events"]
    ]


@pytest.mark.parametrize("exchange", INVOKED, ids=str)
async def test_invoke(exchange: Exchange, replay: Replay) -> None:
    """A native body goes out and comes back byte for byte, with what the service says of it in headers."""
    model, body, settings = replay.invoke_arguments(exchange)
    answer = await replay.client.invoke(model, body, **settings)
    replay.check_request(exchange)
    headers = lower(exchange.response_headers)
    assert answer.body == exchange.response_body
    assert answer.json() == exchange.response_json
    assert answer.to_dict() == parsed("InvokeModel", exchange.response_body, headers=headers)
    assert answer.meta.request_id == headers.get("x-amzn-requestid")
    counts = (answer.input_tokens, answer.output_tokens, answer.latency_ms)
    names = ("input-token-count", "output-token-count", "invocation-latency")
    recorded = [headers.get(f"x-amzn-bedrock-{name}") for name in names]
    assert [None if count is None else str(count) for count in counts] == recorded


@pytest.mark.parametrize("exchange", INVOKED_STREAMED, ids=str)
async def test_invoke_stream(exchange: Exchange, replay: Replay) -> None:
    """Every native event arrives in order, byte for byte, as botocore reads it; the last one has the metrics."""
    model, body, settings = replay.invoke_arguments(exchange)
    async with replay.client.invoke_stream(model, body, **settings) as stream:
        chunks = [chunk async for chunk in stream]
    replay.check_request(exchange)
    assert [chunk.to_wire() for chunk in chunks] == recorded_events(exchange)
    shape = output_shape("InvokeModelWithResponseStream").members["body"]
    reading = parsed_events(exchange.response_body, "InvokeModelWithResponseStream")
    assert [pruned(chunk.to_dict(), shape) for chunk in chunks] == reading
    assert [chunk.bytes for chunk in chunks] == [each["chunk"]["bytes"] for each in reading]
    last = chunks[-1].json()
    assert isinstance(last, dict)
    assert (METRICS in last) == ("invocation_metrics" in exchange.features)
    check_head(stream, exchange)


def check_head(stream: InvokeStream, exchange: Exchange) -> None:
    """Hold what the head of a native stream says against the recorded headers."""
    headers = lower(exchange.response_headers)
    assert stream.content_type == headers.get("x-amzn-bedrock-content-type", "")
    assert stream.service_tier is stream.performance_config_latency is None
    assert stream.meta.request_id == headers.get("x-amzn-requestid")


@pytest.mark.parametrize("exchange", COUNTED, ids=str)
async def test_count_tokens(exchange: Exchange, replay: Replay) -> None:
    """A recorded count, of a conversation or a native body."""
    assert await replay.count(exchange) == exchange.response_json["inputTokens"]
    replay.check_request(exchange)


@pytest.mark.parametrize("exchange", GUARDED, ids=str)
async def test_apply_guardrail(exchange: Exchange, replay: Replay) -> None:
    """The verdict keeps its explicit nulls, and is botocore's reading."""
    verdict = await replay.guard(exchange)
    replay.check_request(exchange)
    assert verdict.to_wire() == exchange.response_json
    assert "null" in exchange.response_body.decode()
    reading = parsed("ApplyGuardrail", exchange.response_body)
    assert pruned(verdict.to_dict(), output_shape("ApplyGuardrail")) == reading
    assert verdict.intervened == (reading["action"] == "GUARDRAIL_INTERVENED")


@pytest.mark.parametrize("exchange", PROFILES, ids=str)
async def test_get_inference_profile(exchange: Exchange, replay: Replay) -> None:
    """A recorded application profile is resolved to the model behind it."""
    replay.play(exchange)
    resolved = await replay.client.resolve_model(unquote(exchange.path.rpartition("/")[2]))
    replay.check_request(exchange)
    recorded = exchange.response_json
    assert resolved.profile is not None
    assert resolved.profile.inference_profile_arn == recorded["inferenceProfileArn"]
    assert [model.model_arn for model in resolved.profile.models or ()] == [
        each["modelArn"] for each in recorded["models"]
    ]
    assert recorded["models"][0]["modelArn"].endswith(resolved.base_model.raw)


async def _refused_converse(replay: Replay, exchange: Exchange) -> None:
    await replay.client.converse(replay.request_of(exchange))


async def _refused_stream(replay: Replay, exchange: Exchange) -> None:
    await replay.client.stream(replay.request_of(exchange)).get_final_response()


async def _refused_invoke(replay: Replay, exchange: Exchange) -> None:
    model, body, settings = replay.invoke_arguments(exchange)
    await replay.client.invoke(model, body, **settings)


async def _refused_invoke_stream(replay: Replay, exchange: Exchange) -> None:
    model, body, settings = replay.invoke_arguments(exchange)
    await anext(replay.client.invoke_stream(model, body, **settings))


async def _refused_count(replay: Replay, exchange: Exchange) -> None:
    await replay.count(exchange)


CALLS: Final[Mapping[str, Callable[[Replay, Exchange], Awaitable[None]]]] = {
    "converse": _refused_converse,
    "converse-stream": _refused_stream,
    "invoke": _refused_invoke,
    "invoke-with-response-stream": _refused_invoke_stream,
    "count-tokens": _refused_count,
}


@pytest.mark.parametrize("exchange", REFUSED, ids=str)
async def test_refusal(exchange: Exchange, replay: Replay) -> None:
    """A recorded error has the class of its code, its message, status, request id and a next step."""
    with pytest.raises(ServiceError) as caught:
        await CALLS[exchange.kind](replay, exchange)
    replay.check_request(exchange)
    error = caught.value
    recorded = lower(exchange.response_headers)
    body = exchange.response_json
    assert type(error) is not ServiceError
    assert error.status == exchange.status
    assert error.message == body.get("message", body.get("Message"))
    assert error.request_id == recorded.get("x-amzn-requestid")
    assert error.retryable == (exchange.status >= 500)
    assert error.hint is not None
    if "x-amzn-errortype" in recorded:
        assert error.code == recorded["x-amzn-errortype"].partition(":")[0]
    assert len(error.attempts) == 1


@pytest.mark.parametrize("name", PRINTED)
async def test_printed_error(name: str, replay: Replay) -> None:
    """What users reported reaches the caller as what it is, over HTTP and inside a stream of either kind."""
    row = PRINTED[name]
    in_stream = row["where"] == "in-stream"
    replay.play(name)
    with pytest.raises(ServiceError) as caught:
        if not in_stream:
            await replay.client.converse("m", "hi")
        elif row.get("operation") == "InvokeModelWithResponseStream":
            await anext(replay.client.invoke_stream("m", {}))
        else:
            await anext(replay.client.stream("m", "hi"))
    error = caught.value
    body = json.loads(row["body"])
    expected = service_error(row["code"], body.get("message") or body["Message"])
    assert type(error) is type(expected) is not ServiceError
    assert error.code == row["code"][0].upper() + row["code"][1:]
    assert (error.message, error.hint, error.retryable) == (expected.message, expected.hint, expected.retryable)
    assert error.status == (expected.status if in_stream else row["status"])
    assert error.in_stream == in_stream
    assert error.request_id == name


def test_every_recording_is_played() -> None:
    """What is not played here is named, with its reason; an empty list of recordings would pass in silence."""
    played = [ANSWERED, STREAMED, INVOKED, INVOKED_STREAMED, COUNTED, GUARDED, REFUSED, PROFILES]
    assert [len(each) for each in played] == [237, 58, 133, 80, 3, 2, 34, 1]
    left = set(exchanges()) - {each for group in played for each in group}
    assert {each.host.partition(".")[0] for each in left} == OTHER_SERVICES.keys()
    assert len(left) == 23
    assert len(PRINTED) == 32
