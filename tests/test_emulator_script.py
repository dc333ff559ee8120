"""Scripted models: every step and fault, seen from a bare socket and through the official clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import anyio
import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from botocore.exceptions import ClientError
from official_clients import OFFICIAL_CLIENTS, Connect

from bedrock_async import BedrockClient, Credentials
from bedrock_async.errors import InvalidRequestError, ServiceError, service_error
from bedrock_async.testing import (
    BedrockEmulator,
    Control,
    HttpAnswer,
    ReceivedRequest,
    Script,
    ScriptedModel,
    corrupted,
    event_frame,
    oversized_frame,
    stream_bytes,
    text_events,
    tool_use_events,
    truncated,
)

MODEL: Final = "amazon.nova-lite-v1:0"
MESSAGES: Final[list[Any]] = [{"role": "user", "content": [{"text": "Hi"}]}]
BODY: Final = json.dumps({"messages": MESSAGES}).encode()
HELLO: Final = text_events("hello")
FRAME: Final = event_frame("contentBlockStop", {"contentBlockIndex": 0})


@pytest.fixture(params=list(OFFICIAL_CLIENTS))
def connect(request: pytest.FixtureRequest) -> Connect:
    """Return the function that opens one of the official clients."""
    return OFFICIAL_CLIENTS[request.param]


class Peer:
    """A bare connection that has sent one request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> tuple[int, dict[str, str]]:
        """Return the status and headers of the answer."""
        status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return int(status.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def chunk(self) -> bytes:
        """Return one chunk of the chunked body; empty at its proper end."""
        size = int(await self.reader.readline(), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def chunks(self) -> list[bytes]:
        """Return the chunks up to the proper end of the body. Raises when the connection breaks before it."""
        chunks: list[bytes] = []
        while chunk := await self.chunk():
            chunks.append(chunk)
        return chunks


@asynccontextmanager
async def asking(
    script: Script | ScriptedModel, operation: str = "converse-stream", body: bytes = BODY
) -> AsyncGenerator[tuple[Peer, BedrockEmulator]]:
    """Serve the script and send it one request."""
    model = script if isinstance(script, ScriptedModel) else ScriptedModel(script)
    async with BedrockEmulator([model], padding_seed=None) as emulator:
        host, _, port = emulator.url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            head = f"POST /model/{MODEL}/{operation} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            yield Peer(reader, writer), emulator
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def test_a_stream_has_one_chunk_for_every_frame() -> None:
    """Each frame is written for itself, under the head that the service sends."""
    async with asking(HELLO) as (peer, emulator):
        status, headers = await peer.head()
        chunks = await peer.chunks()
    assert status == 200
    assert headers["content-type"] == "application/vnd.amazon.eventstream"
    assert headers["transfer-encoding"] == "chunked"
    assert headers["x-amzn-requestid"] == emulator.requests[0].request_id
    assert chunks == [stream_bytes([event], padding_seed=None) for event in HELLO]


async def test_invoke_streams_name_the_content_type_of_their_chunks() -> None:
    """x-amzn-bedrock-content-type stands beside the stream's own type."""
    async with asking(HELLO, "invoke-with-response-stream", b"{}") as (peer, _):
        _, headers = await peer.head()
        await peer.chunks()
    assert headers["x-amzn-bedrock-content-type"] == "application/json"


async def test_nothing_is_sent_before_the_first_event() -> None:
    """The head waits for the model, because a refusal must still be an HTTP error; then it goes out at once."""
    gate = asyncio.Event()
    async with asking([gate, *HELLO]) as (peer, emulator):
        await emulator.wait_for_requests()
        assert emulator.requests[0].status is None
        gate.set()
        assert (await peer.head())[0] == 200
        assert len(await peer.chunks()) == len(HELLO)


async def test_the_head_can_be_sent_first() -> None:
    """HEAD sends the head alone; a refusal after it is an exception frame."""
    gate = asyncio.Event()
    async with asking([Control.HEAD, gate, service_error("ThrottlingException", "Slow down")]) as (peer, emulator):
        assert (await peer.head())[0] == 200
        assert emulator.requests[0].status == 200
        gate.set()
        (frame,) = await peer.chunks()
    assert b"throttlingException" in frame


async def test_silence_lasts_until_the_client_goes() -> None:
    """After SILENCE nothing comes, and the connection stays open until the other side closes it."""
    async with asking([*HELLO[:1], Control.SILENCE]) as (peer, emulator):
        await peer.head()
        await peer.chunk()
        received = emulator.requests[0]
        assert not received.connection_closed
        peer.writer.close()
        with anyio.fail_after(30):
            await received.wait_connection_closed()


@pytest.mark.parametrize("before", [[], [*HELLO[:2]]])
async def test_close_breaks_the_answer_off(before: list[Any]) -> None:
    """CLOSE ends the connection where it stands: no head if there was none, no end of the body otherwise."""
    async with asking([*before, Control.CLOSE]) as (peer, _):
        if before:
            await peer.head()
            for event in before:
                assert await peer.chunk() == stream_bytes([event], padding_seed=None)
        assert await peer.reader.read() == b""


async def test_reset_is_a_reset() -> None:
    """RESET makes the client's next read fail with a connection reset, not with an end of file."""
    async with asking([*HELLO[:1], Control.HEAD, asyncio.Event()]) as (peer, _):
        await peer.head()
    gate = asyncio.Event()
    async with asking([*HELLO[:1], gate, Control.RESET]) as (peer, _):
        await peer.head()
        await peer.chunk()
        gate.set()
        with pytest.raises(ConnectionResetError):
            await peer.reader.read()


@pytest.mark.parametrize(
    "data",
    [truncated(FRAME), corrupted(FRAME), corrupted(FRAME, prelude=True), oversized_frame(), b"no frame at all"],
    ids=["truncated", "corrupted", "corrupted prelude", "oversized", "text"],
)
async def test_bytes_go_out_as_they_are(data: bytes) -> None:
    """Whatever bytes a script has are sent between the frames, and the body ends properly."""
    async with asking([*HELLO[:1], data]) as (peer, _):
        await peer.head()
        assert (await peer.chunks())[1:] == [data]


@pytest.mark.parametrize("prelude", [False, True])
async def test_a_corrupted_frame_fails_in_the_official_decoder(connect: Connect, *, prelude: bool) -> None:
    """botocore delivers the frames before it and raises ChecksumMismatch at it."""
    model = ScriptedModel([*HELLO[:2], corrupted(FRAME, prelude=prelude)])
    received: list[Any] = []
    async with BedrockEmulator([model]) as emulator, connect(emulator.url) as client:
        with pytest.raises(ChecksumMismatch):
            async for event in client.events("converse_stream", modelId=MODEL, messages=MESSAGES):
                received.append(event)  # noqa: PERF401 - what came before the error is the point
    assert len(received) <= 2


async def test_malformed_json_in_a_right_frame() -> None:
    """A frame may carry a payload that is no JSON; its checksums are right."""
    frame = event_frame("contentBlockDelta", b'{"contentBlockIndex":0,')
    async with asking([*HELLO[:1], frame]) as (peer, _):
        await peer.head()
        sent = (await peer.chunks())[1]
    buffer = EventStreamBuffer()
    buffer.add_data(sent)
    assert next(iter(buffer)).payload == b'{"contentBlockIndex":0,'


@pytest.mark.parametrize("operation", ["converse", "converse-stream"])
@pytest.mark.parametrize(
    ("answer", "status", "headers", "body"),
    [
        (HttpAnswer.html(502), 502, {"content-type": "text/html"}, b"<html>"),
        (HttpAnswer.html(503, "Service Unavailable"), 503, {"content-type": "text/html"}, b"<html>"),
        (HttpAnswer.redirect("http://127.0.0.1:1/"), 307, {"location": "http://127.0.0.1:1/"}, b""),
        (HttpAnswer.empty(), 200, {"content-type": "application/vnd.amazon.eventstream"}, b""),
        (HttpAnswer.empty("application/json"), 200, {"content-length": "0"}, b""),
        (HttpAnswer(200, b"hello", {"content-type": "text/plain"}), 200, {"content-type": "text/plain"}, b"hello"),
    ],
)
async def test_a_whole_answer_replaces_the_models(
    operation: str, answer: HttpAnswer, status: int, headers: dict[str, str], body: bytes
) -> None:
    """Gateways' pages, redirects, empty bodies and wrong content types come as written, for streams and others."""
    async with asking([answer], operation) as (peer, emulator):
        got_status, got_headers = await peer.head()
        got_body = await peer.reader.readexactly(int(got_headers["content-length"]))
    assert got_status == status == emulator.requests[0].status
    assert headers.items() <= got_headers.items()
    assert "x-amzn-requestid" not in got_headers
    assert got_body.startswith(body)
    assert bool(got_body) == bool(body)


async def test_a_whole_answer_cannot_follow_an_event() -> None:
    """An HttpAnswer in the middle of a stream is a mistake in the script and ends it with an exception frame."""
    async with asking([*HELLO[:1], HttpAnswer.html()]) as (peer, _):
        await peer.head()
        assert b"internalServerException" in (await peer.chunks())[1]


@pytest.mark.parametrize("operation", ["converse", "invoke"])
async def test_bytes_replace_the_body_of_an_answer_that_is_no_stream(operation: str) -> None:
    """Broken JSON, or any body of one's own, under the operation's head."""
    async with asking([*HELLO[:1], b'{"output": '], operation) as (peer, _):
        status, headers = await peer.head()
        body = await peer.reader.readexactly(int(headers["content-length"]))
    assert (status, headers["content-type"], body) == (200, "application/json", b'{"output": ')


@pytest.mark.parametrize("operation", ["converse", "invoke"])
async def test_controls_work_where_the_answer_is_no_stream(operation: str) -> None:
    """CLOSE ends the connection without an answer; HEAD has nothing to send before the body."""
    async with asking([*HELLO[:1], Control.CLOSE], operation) as (peer, _):
        assert await peer.reader.read() == b""
    async with asking([Control.HEAD, *HELLO], operation) as (peer, _):
        assert (await peer.head())[0] == 200


async def test_seconds_are_slept_with_the_given_sleep() -> None:
    """Numbers in a script wait; the waiting is an argument, so that tests do not."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    model = ScriptedModel([0.5, *HELLO[:1], 2, *HELLO[1:]], sleep=sleep)
    async with asking(model) as (peer, _):
        await peer.head()
        await peer.chunks()
    assert slept == [0.5, 2]


async def test_scripts_in_turn(connect: Connect) -> None:
    """The first script answers the first request, and the last one every later one."""
    model = ScriptedModel.in_turn(
        [service_error("ThrottlingException", "Slow down")], text_events("second"), text_events("later")
    )
    texts: list[str] = []
    async with BedrockEmulator([model]) as emulator, connect(emulator.url) as client:
        with pytest.raises(ClientError, match="ThrottlingException"):
            await client.call("converse", modelId=MODEL, messages=MESSAGES)
        for _ in range(3):
            reply = await client.call("converse", modelId=MODEL, messages=MESSAGES)
            texts.append(reply["output"]["message"]["content"][0]["text"])
    assert texts == ["second", "later", "later"]


async def test_an_error_can_be_raised_again_and_again() -> None:
    """The same error object answers every request, and its traceback does not grow."""
    error = service_error("ThrottlingException", "Slow down")
    model = ScriptedModel([error])
    depths: list[int] = []
    for _ in range(3):
        async with asking(model) as (peer, _):
            assert (await peer.head())[0] == 429
        traceback, depth = error.__traceback__, 0
        while traceback is not None:
            traceback, depth = traceback.tb_next, depth + 1
        depths.append(depth)
    assert depths[0] == depths[2]


async def test_a_script_may_depend_on_the_request(connect: Connect) -> None:
    """A callable gets the request as it arrived and returns the script for it."""

    def script(request: ReceivedRequest) -> Script:
        body: Any = request.json()
        return text_events(f"{request.model_id}: {body['messages'][0]['content'][0]['text']}")

    async with BedrockEmulator([ScriptedModel(script)]) as emulator, connect(emulator.url) as client:
        reply = await client.call("converse", modelId=MODEL, messages=MESSAGES)
    assert reply["output"]["message"]["content"] == [{"text": f"{MODEL}: Hi"}]


async def test_a_native_script_may_depend_on_the_request(connect: Connect) -> None:
    """The native script too may be a callable."""

    def native(request: ReceivedRequest) -> Script:
        return [{"echo": request.json()}]

    async with BedrockEmulator([ScriptedModel(HELLO, native=native)]) as emulator, connect(emulator.url) as client:
        reply = await client.call("invoke_model", modelId=MODEL, body=b'{"a": [1]}')
    assert json.loads(reply["body"]) == {"echo": {"a": [1]}}


def test_a_step_that_is_none_is_refused_when_the_script_is_written() -> None:
    """The error names the position and the kinds of steps."""
    wrong: Any = [*HELLO, "hello"]
    with pytest.raises(InvalidRequestError, match=f"step {len(HELLO)} of the script is of type str") as caught:
        ScriptedModel(wrong)
    assert caught.value.path == f"script[{len(HELLO)}]"
    with pytest.raises(InvalidRequestError, match="in_turn needs at least one script"):
        ScriptedModel.in_turn()
    with pytest.raises(InvalidRequestError, match="of type str"):
        ScriptedModel.in_turn(wrong)


async def test_a_code_that_nobody_knows_is_answered_with_400() -> None:
    """An error of a later version of the service is an error to its clients, not broken HTTP."""
    async with (
        BedrockEmulator([ScriptedModel([service_error("BrandNewException", "New.")])]) as emulator,
        BedrockClient(endpoint_url=emulator.url, credentials=Credentials("AKID", "secret")) as client,
    ):
        with pytest.raises(ServiceError) as caught:
            await client.converse(MODEL, "Hi.")
    assert (caught.value.code, caught.value.status, caught.value.message) == ("BrandNewException", 400, "New.")


@pytest.mark.parametrize("step", [b"raw", HttpAnswer.html(), Control.CLOSE])
async def test_without_a_connection_such_steps_are_refused(step: Any) -> None:  # noqa: ANN401
    """A scripted model that is used without the emulator says that the step needs it."""
    model = ScriptedModel([step])
    with pytest.raises(InvalidRequestError, match="BedrockEmulator"):
        _ = [event async for event in model.converse_stream({})]
    with pytest.raises(InvalidRequestError, match="BedrockEmulator"):
        await model.invoke(b"{}")


@pytest.mark.parametrize("text", ["", "one", "one two  three ", " leading", "two\nlines", "日本語 🎉"])
def test_words_make_up_the_text(text: str) -> None:
    """However it is split, the deltas are the text, and the usage counts them."""
    events: list[Any] = text_events(text, stop_reason="max_tokens", input_tokens=2)
    deltas = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    assert "".join(deltas) == text
    assert all(deltas)
    assert events[-2] == {"messageStop": {"stopReason": "max_tokens"}}
    assert events[-1]["metadata"]["usage"]["totalTokens"] == 2 + len(deltas)


def test_a_tool_use_may_follow_a_text() -> None:
    """The text is block 0 and the tool use block 1, each closed, under one message."""
    events = tool_use_events("t", {"a": 1}, text="Let me see")
    assert [next(iter(event)) for event in events].count("messageStart") == 1
    assert [event["contentBlockStop"] for event in events if "contentBlockStop" in event] == [
        {"contentBlockIndex": 0},
        {"contentBlockIndex": 1},
    ]
