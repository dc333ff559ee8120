"""The official SDK and this client, at the same server: runs where the SDK is installed (`make test-matrix`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest
import trustme
from bidirectional_wire import body_frames, checked_frames, head_of
from rawhttp2 import RawHttp2Server
from smithy_conversation import (
    EVENTS,
    KEYS,
    MODEL,
    RECORDED,
    REGION,
    Sent,
    captured,
    keeper,
    server_context,
    talk_smithy,
)

from bedrock_async import BedrockClient, ConnectionOptions, Credentials
from bedrock_async.testing import BedrockEmulator, DuplexSession, ScriptedModel

pytest.importorskip("aws_sdk_bedrock_runtime", reason="needs the official SDK, as the environment smithy has it")
pytest.importorskip("awscrt.aio", reason="needs the transport of the official SDK")

CREDENTIALS = Credentials(*KEYS)


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, str]:
    """An authority, and the file with its certificate."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    return made, str(tmp_path / "ca.pem")


async def talk_ours(url: str, ca_bundle: str, events: Sequence[bytes]) -> list[bytes]:
    """Hold the conversation with this client."""
    client = BedrockClient(
        region=REGION, endpoint_url=url, credentials=CREDENTIALS, connection=ConnectionOptions(ca_bundle=ca_bundle)
    )
    async with client, client.invoke_bidirectional(MODEL) as duplex:
        for event in events:
            await duplex.send(event)
        await duplex.end_input()
        return [chunk.bytes async for chunk in duplex]


async def test_the_sdk_talks_to_the_emulator(authority: tuple[trustme.CA, str]) -> None:
    """The SDK's request and events pass the emulator's verification, and it reads what comes back."""
    made, path = authority
    async with BedrockEmulator(credentials=[CREDENTIALS], ssl_context=server_context(made)) as emulator:
        url = emulator.url.replace("127.0.0.1", "localhost")
        assert await talk_smithy(url, path, EVENTS) == list(EVENTS)
    (received,) = emulator.requests
    assert (received.status, list(received.input_events)) == (200, list(EVENTS))


async def test_the_sdk_with_another_secret_is_refused(authority: tuple[trustme.CA, str]) -> None:
    """What the emulator verifies of the SDK is more than that it signs at all."""
    made, path = authority
    other = Credentials(KEYS[0], "another", KEYS[2])

    async def script(session: DuplexSession) -> None:
        raise AssertionError("nobody may come here")

    model = ScriptedModel.text(bidirectional=script)
    async with BedrockEmulator([model], credentials=[other], ssl_context=server_context(made)) as emulator:
        url = emulator.url.replace("127.0.0.1", "localhost")
        with pytest.raises(Exception, match="InvalidSignatureException"):  # of a class of the SDK
            await talk_smithy(url, path, EVENTS)
    assert emulator.requests[0].status == 403


async def test_both_send_the_same(authority: tuple[trustme.CA, str]) -> None:
    """The same headers, the same of them signed, and frames that differ in nothing but times and signatures."""
    made, path = authority
    kept: list[Sent] = []
    async with RawHttp2Server(keeper(kept), tls=server_context(made)) as server:
        theirs = await captured(talk_smithy, server, path, kept)
        ours = await captured(talk_ours, server, path, kept)
    heads: list[dict[str, str]] = []
    for sent in (theirs, ours):
        head = head_of(sent)
        head[":path"] = head[":path"].removesuffix("?")  # of a query that is empty
        head["authorization"] = head["authorization"].partition("Signature=")[0]
        heads.append({name: value for name, value in head.items() if name not in {"x-amz-date", "user-agent"}})
    assert heads[0].pop("accept") == "*/*"
    assert heads[0] == heads[1]
    assert checked_frames(theirs, REGION, CREDENTIALS) == checked_frames(ours, REGION, CREDENTIALS)


async def test_the_recording_is_what_the_sdk_sends(authority: tuple[trustme.CA, str]) -> None:
    """The bytes that every other environment compares with have the form of those that the installed SDK sends."""
    made, path = authority
    recorded: Sent = json.loads(RECORDED.read_text())["sent"]
    kept: list[Sent] = []
    async with RawHttp2Server(keeper(kept), tls=server_context(made)) as server:
        sent = await captured(talk_smithy, server, path, kept)
    assert set(head_of(sent)) == set(head_of(recorded))
    assert checked_frames(sent, REGION, CREDENTIALS) == checked_frames(recorded, REGION, CREDENTIALS)
    assert all(isinstance(frame.headers[":date"], datetime) for frame in body_frames(sent))
