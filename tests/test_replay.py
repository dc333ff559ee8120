"""Every recorded converse and converse-stream exchange goes through the real client, over real sockets.

The request that arrives must be the recorded one; the answer must be complete, and be botocore's reading of it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from urllib.parse import unquote

import pytest
from botocore_reading import output_shape, parsed, parsed_events, pruned
from corpus import Exchange, exchanges

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    ConverseRequest,
    Credentials,
    ServiceError,
    fold,
)
from bedrock_async.events import event_from_wire
from bedrock_async.testing import BedrockEmulator, ReplayModel

ANSWERED = exchanges("converse", 200)
STREAMED = exchanges("converse-stream", 200)
REFUSED = [each for kind in ("converse", "converse-stream") for each in exchanges(kind) if each.status != 200]


class Replay:
    """A client of an emulator that plays recordings."""

    def __init__(self, client: BedrockClient, emulator: BedrockEmulator, model: ReplayModel) -> None:
        self.client = client
        self._emulator = emulator
        self._model = model

    def request_of(self, exchange: Exchange) -> ConverseRequest:
        """Return the recorded request, and play the recorded answer next, whatever is sent."""
        self._model.play_next(exchange.raw["id"])
        if exchange.request_body:
            return ConverseRequest.from_wire(exchange.request_body, model_id=exchange.model_id)
        return ConverseRequest.from_wire(b"{}", model_id=exchange.model_id)

    def check_request(self, exchange: Exchange) -> None:
        """Hold what arrived against what was recorded."""
        received = self._emulator.requests[-1]
        assert received.method == exchange.method
        assert unquote(received.path) == unquote(exchange.path)
        if exchange.request_body:
            assert json.loads(received.body) == exchange.request_json
        assert received.headers["content-type"] == "application/json"


@pytest.fixture(scope="module")
def recordings() -> ReplayModel:
    """All recordings of the two operations."""
    return ReplayModel([each.raw for each in (*ANSWERED, *STREAMED, *REFUSED)])


@pytest.fixture(params=["aiohttp", "httpx"])
async def replay(request: pytest.FixtureRequest, recordings: ReplayModel) -> AsyncIterator[Replay]:
    """A client over either transport, and its emulator."""
    async with (
        BedrockEmulator([recordings]) as emulator,
        BedrockClient(
            region="us-east-1",
            endpoint_url=emulator.url,
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
    recorded = {name.lower(): value for name, value in exchange.response_headers.items()}
    if "x-amzn-requestid" in recorded:
        assert reply.meta.request_id == recorded["x-amzn-requestid"]


@pytest.mark.parametrize("exchange", STREAMED, ids=str)
async def test_converse_stream(exchange: Exchange, replay: Replay) -> None:
    """Every event arrives in order and complete but for the padding; to_dict() is what botocore reads."""
    async with replay.client.stream(replay.request_of(exchange)) as stream:
        events = [event async for event in stream]
        reply = await stream.get_final_response()
    replay.check_request(exchange)
    assert exchange.eventstream is not None
    recorded = [
        {each["headers"][":event-type"]: {name: value for name, value in each["payload"].items() if name != "p"}}
        for each in exchange.eventstream["events"]
    ]
    assert [event.to_wire() for event in events] == recorded
    shape = output_shape("ConverseStream").members["stream"]
    reading = [pruned(event.to_dict(), shape) for event in events]
    assert reading == parsed_events(exchange.response_body)
    assert [event_from_wire(wire).to_wire() for wire in recorded] == recorded
    assert reply.to_wire() == fold(events).to_wire()
    texts = [each["contentBlockDelta"]["delta"].get("text", "") for each in recorded if "contentBlockDelta" in each]
    assert reply.text == "".join(texts)


@pytest.mark.parametrize("exchange", REFUSED, ids=str)
async def test_refusal(exchange: Exchange, replay: Replay) -> None:
    """A recorded error has the class of its code, its message, status, request id and a next step."""
    request = replay.request_of(exchange)
    with pytest.raises(ServiceError) as caught:
        if exchange.kind == "converse":
            await replay.client.converse(request)
        else:
            await replay.client.stream(request).get_final_response()
    replay.check_request(exchange)
    error = caught.value
    recorded = {name.lower(): value for name, value in exchange.response_headers.items()}
    body = exchange.response_json
    assert error.status == exchange.status
    assert error.message == body.get("message", body.get("Message"))
    assert error.request_id == recorded.get("x-amzn-requestid")
    assert error.retryable == (exchange.status >= 500)
    assert error.hint is not None or type(error).__name__ == "ValidationError"
    if "x-amzn-errortype" in recorded:
        assert error.code == recorded["x-amzn-errortype"].partition(":")[0]
    assert len(error.attempts) == 1


def test_the_recordings_are_there() -> None:
    """An empty list of recordings would pass in silence."""
    assert (len(ANSWERED), len(STREAMED), len(REFUSED)) == (237, 58, 12)
