"""Secrets and prompts stay where they belong, and nothing that a peer or a caller sends gets further than it should."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import pytest

from bedrock_async import (
    ApiKey,
    BedrockClient,
    BedrockError,
    ConnectionOptions,
    ContentBlockDeltaEvent,
    ConverseRequest,
    ConverseResponse,
    Credentials,
    ImageBlock,
    InvalidRequestError,
    Limits,
    MediaSource,
    Message,
    RedirectError,
    StandardRetry,
    TextBlock,
    Timeouts,
)
from bedrock_async.testing import BedrockEmulator, Chaos, Control, Fault, HttpAnswer, ReceivedRequest, ScriptedModel

MODEL: Final = "us.amazon.nova-lite-v1:0"
PROMPT: Final = "CANARY-PROMPT"
SYSTEM: Final = "CANARY-SYSTEM"
ANSWER: Final = "CANARY-ANSWER"
SECRETS: Final = ("CANARY-SECRET-KEY", "CANARY-SESSION-TOKEN", "CANARY-API-KEY")
CANARIES: Final = (PROMPT, SYSTEM, ANSWER, *SECRETS)
KEYS: Final = Credentials("AKIDEXAMPLE", SECRETS[0], SECRETS[1])
SHORT: Final = Timeouts(connect_s=5.0, first_event_s=0.2, idle_s=0.2, total_s=0.2)
AT_ONCE: Final = StandardRetry(max_attempts=2, base_delay_s=0.0, model_not_ready_attempts=1)


@pytest.fixture(params=["native", "aiohttp", "httpx"])
def transport(request: pytest.FixtureRequest) -> str:
    """Every promise here holds for every transport."""
    name: str = request.param
    return name


def told(caplog: pytest.LogCaptureFixture, *objects: object) -> list[str]:
    """Return the canaries that stand in the log, or in the texts and representations of these objects."""
    texts = [caplog.text, *(text for each in objects for text in (str(each), repr(each)))]
    for each in objects:
        cause = each.__cause__ if isinstance(each, BaseException) else None
        while cause is not None:
            texts += [str(cause), repr(cause)]
            cause = cause.__cause__
    return [canary for canary in CANARIES if any(canary in text for text in texts)]


SIGNED: Final[dict[str, Any]] = {"credentials": KEYS}
KEPT: Final[list[dict[str, Any]]] = [SIGNED, {"api_key": SECRETS[2]}, {"api_key": ApiKey(SECRETS[2])}]


@pytest.mark.parametrize(
    ("fault", "keys"),
    [*((fault, SIGNED) for fault in Fault), *((fault, keys) for fault in (None, Fault.EXPIRED_TOKEN) for keys in KEPT)],
)
async def test_no_canary_leaves_by_log_repr_or_error(
    fault: Fault | None, keys: dict[str, Any], transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys, prompts and answers are in none of these, at any log level, whatever becomes of the call."""
    caplog.set_level(logging.DEBUG)
    chaos = Chaos(choose=lambda _: fault, latency_s=0.0)
    async with (
        BedrockEmulator([ScriptedModel.text(f"{ANSWER} and more")], chaos=chaos) as emulator,
        BedrockClient(
            region="us-east-1", endpoint_url=emulator.url, transport=transport, retry=AT_ONCE, timeouts=SHORT, **keys
        ) as client,
    ):
        seen: list[object] = [client]
        try:
            reply = await client.converse(MODEL, PROMPT, system=SYSTEM)
            assert ANSWER in reply.text
            seen.append(reply.meta)
        except BedrockError as exc:
            seen.append(exc)
        stream = client.stream(MODEL, PROMPT, system=SYSTEM)
        try:
            async for _ in stream:
                pass
        except BedrockError as exc:
            seen.append(exc)
        seen += [stream, stream.meta]
        try:
            seen.append((await client.invoke(MODEL, {"messages": [{"content": [{"text": PROMPT}]}]})).meta)
        except BedrockError as exc:
            seen.append(exc)
        model = client.model(MODEL, system=SYSTEM)
        chat = model.conversation()
        try:
            await chat.converse(PROMPT)
        except BedrockError as exc:
            seen.append(exc)
        seen += [model, chat, client.credentials_source, client.endpoint, KEYS, ApiKey(SECRETS[2])]
    records = [record for record in caplog.records if record.name.startswith("bedrock_async")]
    assert told(caplog, *seen, *(vars(record) for record in records)) == []
    assert told(caplog, [*seen, PROMPT]) == [PROMPT]


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ([{"role": "user", "content": [{"txt": PROMPT}]}], {}),
        ([{"role": "user", "content": PROMPT}], {}),
        ([{"role": "user", "content": [{"text": 1, "more": PROMPT}]}], {}),
        ([{"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": PROMPT}}}]}], {}),
        ("hello", {"system": [{"txt": SYSTEM}]}),
        ("hello", {"system": [{"text": {"a": SYSTEM}}]}),
        ("hello", {"additional_request_fields": SYSTEM}),
        ("hello", {"extra_body": {"a": {SYSTEM.encode()}}}),
        ("hello", {"tools": [{"toolSpec": {"name": "t", "inputSchema": SYSTEM}}]}),
    ],
)
def test_a_mistake_is_told_without_what_was_written(
    arguments: Any,  # noqa: ANN401 - whatever is wrong
    settings: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The error of a wrong argument names its place and not its text."""
    client = BedrockClient(region="us-east-1", credentials=KEYS)
    with pytest.raises(InvalidRequestError) as caught:
        client.prepare(MODEL, arguments, **settings)
    error = caught.value
    assert [canary for canary in CANARIES if canary in f"{error} {error!r} {error.hint}"] == []
    assert told(caplog, error) == []


def test_what_holds_text_shows_it_and_bytes_by_their_length() -> None:
    """Who tries things out sees what a message, a request, a response or an event says; a medium is its length."""
    block = ImageBlock(format="png", source=MediaSource(bytes=ANSWER.encode()))
    message = Message(role="user", content=[TextBlock(text=PROMPT), block])
    answer = ConverseResponse.from_wire({"output": {"message": message.to_wire()}})
    event = ContentBlockDeltaEvent.from_wire({"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": PROMPT}}})
    for shown in (message, ConverseRequest(messages=[message]), answer, event):
        assert PROMPT in repr(shown)
    assert f"<{len(ANSWER)} bytes>" in repr(message)
    assert ANSWER not in repr(message)


@pytest.fixture
async def elsewhere() -> AsyncIterator[BedrockEmulator]:
    """A server that a redirect could lead to."""
    async with BedrockEmulator() as emulator:
        yield emulator


class Redirecting:
    """Answers everything with a redirect."""

    def __init__(self, location: str) -> None:
        self._location = location

    def respond(self, request: ReceivedRequest) -> HttpAnswer | Control | None:
        return HttpAnswer.redirect(self._location + request.path)

    async def aclose(self) -> None: ...


async def test_a_redirect_is_not_followed(elsewhere: BedrockEmulator, transport: str) -> None:
    """The place that a redirect names never sees the request."""
    async with (
        BedrockEmulator([Redirecting(elsewhere.url)]) as emulator,
        BedrockClient(region="us-east-1", endpoint_url=emulator.url, credentials=KEYS, transport=transport) as client,
    ):
        with pytest.raises(RedirectError):
            await client.converse(MODEL, "hello")
        with pytest.raises(RedirectError):
            await client.stream(MODEL, "hello").get_final_response()
    assert list(elsewhere.requests) == []


def test_plain_http_off_loopback_is_refused() -> None:
    """A key does not go over a network in the clear, unless that is asked for in so many words."""
    with pytest.raises(InvalidRequestError, match="http"):
        BedrockClient(region="us-east-1", credentials=KEYS, endpoint_url="http://bedrock.example.com")
    for url in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"):
        assert BedrockClient(region="us-east-1", credentials=KEYS, endpoint_url=url).endpoint.base_url == url
    allowed = ConnectionOptions(allow_http=True)
    BedrockClient(region="us-east-1", credentials=KEYS, endpoint_url="http://bedrock.example.com", connection=allowed)


class Sending:
    """Answers everything with this."""

    def __init__(self, answer: HttpAnswer) -> None:
        self._answer = answer

    def respond(self, request: ReceivedRequest) -> HttpAnswer | Control | None:
        return self._answer

    async def aclose(self) -> None: ...


@pytest.mark.parametrize("pieces", [None, [65536] * 20])
async def test_an_answer_larger_than_the_limit_is_refused(pieces: Sequence[int] | None, transport: str) -> None:
    """A body is read no further than ``max_response_bytes``, with its length told or not."""
    answer = HttpAnswer(200, b" " * 1_000_000, {"content-type": "application/json"}, chunk_bytes=pieces)
    limits = Limits(max_response_bytes=100_000)
    async with (
        BedrockEmulator([Sending(answer)]) as emulator,
        BedrockClient(
            region="us-east-1", endpoint_url=emulator.url, credentials=KEYS, transport=transport, limits=limits
        ) as client,
    ):
        with pytest.raises(BedrockError, match=r"100,?000"):
            await client.converse(MODEL, "hello")


async def test_nothing_is_decompressed(transport: str) -> None:
    """A compressed answer, which nobody asked for, does not swell in memory: it is an error."""
    bomb = gzip.compress(b" " * 10_000_000)
    answer = HttpAnswer(200, bomb, {"content-type": "application/json", "content-encoding": "gzip"})
    async with BedrockEmulator([Sending(answer)]) as emulator:
        async with BedrockClient(
            region="us-east-1", endpoint_url=emulator.url, credentials=KEYS, transport=transport
        ) as client:
            with pytest.raises(BedrockError):
                await client.converse(MODEL, "hello")
        assert "gzip" not in emulator.requests[0].headers.get("accept-encoding", "")


INJECTED: Final = "x\r\nx-evil: 1\r\n\r\n"


@pytest.mark.parametrize(
    "settings",
    [
        {"request_metadata": {"team": INJECTED}},
        {"request_metadata": {INJECTED: "team"}},
        {"guardrail": {"guardrailIdentifier": INJECTED, "guardrailVersion": "1"}},
        {"guardrail": {"guardrailIdentifier": "gr123", "guardrailVersion": INJECTED}},
        {"guardrail": {"guardrailIdentifier": "gr123", "guardrailVersion": "1", "trace": INJECTED}},
        {"performance": INJECTED},
        {"service_tier": INJECTED},
        {"content_type": INJECTED},
        {"accept": INJECTED},
    ],
    ids=lambda settings: next(iter(settings)),
)
async def test_no_header_is_injected(settings: dict[str, Any], transport: str) -> None:
    """Text with line breaks in what travels as headers is refused or escaped: no header of its own comes of it."""
    async with BedrockEmulator() as emulator:
        async with BedrockClient(
            region="us-east-1", endpoint_url=emulator.url, credentials=KEYS, transport=transport, retry=AT_ONCE
        ) as client:
            for call in (client.invoke(MODEL, {"messages": []}, **settings), _converse(client, settings)):
                try:
                    await call
                except BedrockError:
                    continue
        assert [each for each in emulator.requests if "x-evil" in each.headers] == []
        assert all(each.body for each in emulator.requests)


async def _converse(client: BedrockClient, settings: dict[str, Any]) -> None:
    await client.converse(MODEL, "hello", **settings)


@pytest.mark.parametrize("model", [INJECTED, f"{MODEL}\r\n", f"{MODEL}/../../evil", f"{MODEL}?x=1", f"{MODEL}#x"])
async def test_an_id_stays_one_segment_of_the_path(model: str, transport: str) -> None:
    """Whatever a model id holds, it reaches the service quoted, as one segment of the path, or not at all."""
    async with BedrockEmulator() as emulator:
        async with BedrockClient(
            region="us-east-1", endpoint_url=emulator.url, credentials=KEYS, transport=transport, retry=AT_ONCE
        ) as client:
            with pytest.raises(BedrockError):
                await client.converse(model, "hello")
        for received in emulator.requests:
            assert received.path.startswith("/model/")
            assert received.path.count("/") == 3
            assert received.query == ""


async def test_a_key_with_a_line_break_is_refused() -> None:
    """A key read from a file with its line break is an error that does not show it."""
    with pytest.raises(BedrockError) as caught:
        BedrockClient(region="us-east-1", api_key=f"{SECRETS[2]}\nx-evil: 1")
        await asyncio.sleep(0)
    assert SECRETS[2] not in f"{caught.value}{caught.value!r}{json.dumps(caught.value.hint)}"
