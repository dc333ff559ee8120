"""The replay model: recorded exchanges served byte for byte, and read by the official clients."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import aiohttp
import pytest
import yarl
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from corpus import CORPUS, Exchange, exchanges
from official_clients import OFFICIAL_CLIENTS, Connect, OfficialClient

from bedrock_async.errors import InvalidRequestError
from bedrock_async.testing import (
    EXCHANGE_HEADER,
    BedrockEmulator,
    HttpAnswer,
    RecordedExchange,
    ReplayModel,
    ScriptedModel,
    ServedModel,
)
from bedrock_async.types import JSONValue

CONVERSE: Final = exchanges("converse", 200)
STREAMS: Final = exchanges("converse-stream", 200)
ERRORS: Final = [each for kind in ("converse", "converse-stream") for each in exchanges(kind) if each.status != 200]
EVERYTHING: Final = [each for each in exchanges() if each.kind != "other"]
MESSAGES: Final[list[Any]] = [{"role": "user", "content": [{"text": "Hi"}]}]

# Members of boto3's parameters whose wire form is base64, by the member that holds them.
_BLOBS: Final = {"bytes", "redactedContent"}


def parameters(value: JSONValue, parent: str = "") -> Any:  # noqa: ANN401
    """Turn a recorded body into boto3's parameters: blobs decoded, explicit nulls left out."""
    if parent in {"json", "input", "additionalModelRequestFields"}:
        return value
    if isinstance(value, dict):
        return {
            name: base64.b64decode(item) if name in _BLOBS and isinstance(item, str) else parameters(item, name)
            for name, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [parameters(item) for item in value]
    return value


def response_of(exchange: Exchange) -> Any:  # noqa: ANN401
    """Return the recorded Converse response."""
    return json.loads(exchange.response_body)


@pytest.fixture(params=list(OFFICIAL_CLIENTS))
async def connect(request: pytest.FixtureRequest) -> Connect:
    """Return the function that opens one of the official clients."""
    return OFFICIAL_CLIENTS[request.param]


@asynccontextmanager
async def replaying(exchange: Exchange, connect: Connect) -> AsyncGenerator[OfficialClient]:
    """Serve the exchange alone to an official client whose own validation is switched off."""
    config = Config(parameter_validation=False, retries={"max_attempts": 0})
    replay = ReplayModel([exchange.raw])
    if not sendable(exchange):
        replay.play_next(exchange.raw["id"])
    async with BedrockEmulator([replay]) as emulator, connect(emulator.url, config=config) as client:
        yield client


def asked(exchange: Exchange) -> dict[str, Any]:
    """Return the parameters that make the recorded request, or any where botocore cannot make it."""
    members = parameters(exchange.request_json) if sendable(exchange) else {"messages": MESSAGES}
    return {"modelId": exchange.model_id, **members}


def sendable(exchange: Exchange) -> bool:
    """Whether the installed botocore makes the recorded request: one was recorded, and its model knows all of it."""
    roundtrip: Mapping[str, Any] = exchange.raw["botocore_request_roundtrip"] or {}
    if not roundtrip.get("body_equal"):
        return False
    shape = installed_model().shape_for("ConverseRequest")
    report = ParamValidator().validate(parameters(exchange.request_json), shape)
    return "Unknown parameter" not in report.generate_report()


@cache
def installed_model() -> ServiceModel:
    """Return the service model of the installed botocore, which may be older than the recordings."""
    document: dict[str, Any] = Loader().load_service_model("bedrock-runtime", "service-2")
    return ServiceModel(document, "bedrock-runtime")


@pytest.mark.parametrize("exchange", CONVERSE, ids=str)
async def test_recorded_answers_replay_through_the_official_clients(exchange: Exchange, connect: Connect) -> None:
    """The recorded request, made by an official client, gets the recorded answer, which it reads whole."""
    async with replaying(exchange, connect) as client:
        reply = await client.call("converse", **asked(exchange))
    recorded = response_of(exchange)
    assert reply["stopReason"] == recorded["stopReason"]
    assert reply["output"]["message"]["role"] == recorded["output"]["message"]["role"]
    assert len(reply["output"]["message"]["content"]) == len(recorded["output"]["message"]["content"])
    assert reply["usage"]["totalTokens"] == recorded["usage"]["totalTokens"]


@pytest.mark.parametrize("exchange", STREAMS, ids=str)
async def test_recorded_streams_replay_through_the_official_clients(exchange: Exchange, connect: Connect) -> None:
    """Each recorded stream is read event for event, as botocore read the recording itself."""
    async with replaying(exchange, connect) as client:
        events = [event async for event in client.events("converse_stream", **asked(exchange))]
    assert exchange.eventstream is not None
    assert [next(iter(event)) for event in events] == [
        message["headers"][":event-type"] for message in exchange.eventstream["events"]
    ]


@pytest.mark.parametrize("exchange", ERRORS, ids=str)
async def test_recorded_errors_replay_through_the_official_clients(exchange: Exchange, connect: Connect) -> None:
    """Status, code and message of each recorded refusal are what the clients raise."""
    operation = exchange.kind.replace("-", "_")
    async with replaying(exchange, connect) as client:
        with pytest.raises((ClientError, EventStreamError)) as caught:
            await client.call(operation, **asked(exchange))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == exchange.status
    assert caught.value.response["Error"]["Message"] == response_of(exchange)["message"]


async def send(
    session: aiohttp.ClientSession, url: str, exchange: Exchange, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    """Send the recorded request as it was; return status, headers and body."""
    target = yarl.URL(f"{url}{exchange.path}", encoded=True)
    body = exchange.request_body
    async with session.request(exchange.method, target, data=body, headers=headers, allow_redirects=False) as response:
        return response.status, response.headers, await response.read()


async def test_every_exchange_is_answered_byte_for_byte() -> None:
    """All exchanges at once: each recorded request finds an answer recorded for an equal request."""
    named = [each for each in EVERYTHING if each.raw["request_body"] is not None]
    answers: dict[tuple[str, str, str], list[tuple[int, bytes]]] = {}
    for each in named:
        key = (each.method, unquote(each.path), json.dumps(each.request_json, sort_keys=True))
        answers.setdefault(key, []).append((each.status, each.response_body))
    replay = ReplayModel([each.raw for each in EVERYTHING])
    async with BedrockEmulator([replay]) as emulator, aiohttp.ClientSession() as session:
        for each in named:
            key = (each.method, unquote(each.path), json.dumps(each.request_json, sort_keys=True))
            status, headers, body = await send(session, emulator.url, each)
            # Exchanges with equal requests are played in the order of their recording.
            assert (status, body) == answers[key].pop(0)
            for name, value in each.response_headers.items():
                if name.lower() not in {"connection", "content-length", "transfer-encoding"}:
                    assert headers[name] == value
    assert not any(answers.values())


async def test_recorded_chunks_are_kept() -> None:
    """Where the recorder kept the transport's chunks, the body is sent in exactly these."""
    chunked = [each for each in STREAMS if each.chunk_sizes]
    assert chunked
    replay = ReplayModel([each.raw for each in chunked])
    async with BedrockEmulator([replay]) as emulator, aiohttp.ClientSession() as session:
        for each in chunked:
            target = yarl.URL(f"{emulator.url}{each.path}", encoded=True)
            async with session.post(target, data=each.request_body) as response:
                sizes = [0]
                async for data, end in response.content.iter_chunks():
                    sizes[-1] += len(data)
                    if end:
                        sizes.append(0)
            assert tuple(size for size in sizes if size) == each.chunk_sizes


async def test_an_exchange_without_a_request_is_played_by_name() -> None:
    """Body-only recordings are chosen by the header, or queued for the next request whatever it is."""
    unnamed = [each for each in EVERYTHING if each.raw["request_body"] is None]
    assert unnamed
    replay = ReplayModel([each.raw for each in EVERYTHING])
    other = next(each for each in CONVERSE if each.raw["request_body"])
    async with BedrockEmulator([replay]) as emulator, aiohttp.ClientSession() as session:
        for each in unnamed:
            _, _, body = await send(session, emulator.url, other, {EXCHANGE_HEADER: each.raw["id"]})
            assert body == each.response_body
        for each in unnamed[:2]:
            replay.play_next(each.raw["id"])
        for each in unnamed[:2]:
            assert (await send(session, emulator.url, other))[2] == each.response_body
        assert (await send(session, emulator.url, other))[2] != unnamed[1].response_body
        status, _, _ = await send(session, emulator.url, other, {EXCHANGE_HEADER: "nonsense"})
    assert status == 404


async def test_the_last_of_equal_requests_stays() -> None:
    """Two recordings of one request are played in order, and the second one from then on."""
    first = recorded("a", b"first")
    second = recorded("b", b"second")
    async with BedrockEmulator([ReplayModel([first, second])]) as emulator:
        for body, answer in (
            (b'{"a": 1, "b": true}', b"first"),
            (b'{"b":true,"a":1.0}', b"second"),
            (b'{"a":1,"b":true}', b"second"),
        ):
            assert await ask(emulator, body) == (200, answer)


async def ask(emulator: BedrockEmulator, body: bytes) -> tuple[int, bytes]:
    """Send this body to the path of `recorded`; return status and body of the answer."""
    url = f"{emulator.url}/model/m.x/converse"
    async with aiohttp.ClientSession() as session, session.post(url, data=body) as response:
        return response.status, await response.read()


def recorded(name: str, body: bytes, request: bytes | None = b'{"a":1,"b":true}') -> RecordedExchange:
    """Return an exchange of one's own."""
    return RecordedExchange(
        id=name,
        kind="converse",
        method="POST",
        path="/model/m.x/converse",
        request_body=request,
        answer=HttpAnswer(200, body, {"content-type": "application/json"}),
    )


@pytest.mark.parametrize("body", [b'{"a": 1, "b": 1}', b'{"a": 1}', b"a", b""])
async def test_a_request_that_was_not_recorded_is_told_so(body: bytes) -> None:
    """The refusal says what was asked for, and how many recordings have the same path; true is not 1."""
    async with BedrockEmulator([ReplayModel([recorded("a", b"")])]) as emulator:
        status, answer = await ask(emulator, body)
    assert status == 404
    message = json.loads(answer)["message"]
    assert "None of the 1 recorded exchanges answers POST /model/m.x/converse" in message
    assert f"this body of {len(body)} bytes; 1 have the same path" in message


async def test_a_lenient_replay_leaves_the_rest_to_the_other_models(connect: Connect) -> None:
    """With strict=False what was not recorded goes to the models behind it."""
    models: list[ServedModel] = [ReplayModel([recorded("a", b"{}")], strict=False), ScriptedModel.text("live")]
    async with BedrockEmulator(models) as emulator, connect(emulator.url) as client:
        reply = await client.call("converse", modelId="m.x", messages=MESSAGES)
    assert reply["output"]["message"]["content"] == [{"text": "live"}]


async def test_bodies_that_are_no_json_are_matched_as_bytes() -> None:
    """A recorded body of any kind can be matched."""
    replay = ReplayModel([recorded("a", b"answer", b"\x00\xffraw")])
    async with BedrockEmulator([replay]) as emulator:
        assert await ask(emulator, b"\x00\xffraw") == (200, b"answer")


async def test_keys_are_checked_before_a_recording_is_played() -> None:
    """An emulator with keys does not answer strangers, recordings or not."""
    async with BedrockEmulator([ReplayModel([recorded("a", b"")])], api_keys=["ABSKkey"]) as emulator:
        status, _ = await ask(emulator, b'{"a":1,"b":true}')
    assert status == 403


def test_a_directory_of_recordings_is_read(tmp_path: Path) -> None:
    """Every file is read, and `select` keeps what it is true for; an empty or broken directory is an error."""
    replay = ReplayModel.from_directory(CORPUS / "exchanges", select=lambda each: each.kind == "count-tokens")
    assert {each.kind for each in replay.exchanges} == {"count-tokens"}
    assert len(replay.exchanges) == len(exchanges("count-tokens"))
    with pytest.raises(InvalidRequestError, match="no recording"):
        ReplayModel.from_directory(tmp_path)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        ReplayModel.from_directory(tmp_path)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InvalidRequestError, match="not a recorded exchange: KeyError at 'request_body'"):
        ReplayModel.from_directory(tmp_path)


def test_a_name_that_is_not_recorded_is_refused() -> None:
    """play_next says how many there are to choose from."""
    with pytest.raises(InvalidRequestError, match="'z' among the 1 recorded"):
        ReplayModel([recorded("a", b"")]).play_next("z")


def record(kind: str = "converse", body: bytes = b"{}", **members: object) -> dict[str, Any]:
    """Return a record of one exchange."""
    text = base64.b64encode(body).decode()
    head = {"id": "a", "kind": kind, "method": "POST", "path": "/model/m/converse", "request_body": None}
    return {**head, "status": 200, "response_body_b64": text, **members}


def test_recorded_headers_may_be_lists_and_numbers() -> None:
    """Recorders write them so; what no header can hold is an error at once, not a connection that breaks."""
    headers = {"Content-Type": ["text/plain"], "x-count": 7, "x-both": ["a", "b"], "Content-Length": ["2"]}
    read = RecordedExchange.from_json(record(response_headers=headers))
    assert read.answer.headers == {"Content-Type": "text/plain", "x-count": "7", "x-both": "a, b"}
    with pytest.raises(InvalidRequestError, match="the header 'x-note'"):
        RecordedExchange.from_json(record(response_headers={"x-note": "a\r\nb"}))


@pytest.mark.parametrize(
    ("kind", "status", "body", "content_type"),
    [
        ("converse", 200, b"{}", "application/json"),
        ("converse-stream", 200, b"\0", "application/vnd.amazon.eventstream"),
        ("invoke-with-response-stream", 200, b"", "application/vnd.amazon.eventstream"),
        ("converse-stream", 400, b'{"message":"No."}', "application/json"),
        ("invoke", 502, b"<html>", None),
        ("invoke", 403, b"", None),
    ],
)
def test_a_content_type_that_was_not_recorded_is_the_services(
    kind: str, status: int, body: bytes, content_type: str | None
) -> None:
    """Recorders drop headers; clients look at this one."""
    read = RecordedExchange.from_json(record(kind, body, status=status, response_headers=None))
    assert read.answer.headers.get("content-type") == content_type
