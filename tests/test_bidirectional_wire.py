"""What this client sends in a conversation is what the official SDK was recorded to send, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from bidirectional_wire import body_frames, checked_frames, head_of
from smithy_conversation import EVENTS, RECORDED, Sent

from bedrock_async import BedrockClient, Credentials
from bedrock_async.errors import ConnectionLostError
from bedrock_async.native import encode_input
from bedrock_async.transport import DuplexResponse, WireRequest, WireResponse

RECORDING: dict[str, Any] = json.loads(RECORDED.read_text())
SENT: Sent = RECORDING["sent"]
HEAD = head_of(SENT)
KEYS = Credentials(*RECORDING["credentials"])
REGION: str = RECORDING["region"]
HOST = HEAD[":authority"]
SIGNED_AT = datetime.strptime(HEAD["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


class KeptStream:
    """A stream that keeps what is sent, and never answers."""

    def __init__(self) -> None:
        self.body = b""
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.takes_input = True

    async def send(self, data: bytes) -> None:
        self.body += data

    async def head(self) -> None:
        raise ConnectionLostError("this stream never answers.", sent=True)

    async def receive(self) -> bytes:
        return b""

    async def read(self, max_bytes: int) -> bytes:
        return b""

    def end(self) -> None:
        self.takes_input = False

    def abort(self) -> None:
        self.takes_input = False


class Keeper:
    """A transport for conversations alone."""

    name = "keeper"

    def __init__(self) -> None:
        self.requests: list[WireRequest] = []
        self.stream = KeptStream()

    async def open(self, request: WireRequest, *, connect_timeout_s: float) -> DuplexResponse:
        self.requests.append(request)
        return self.stream

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        raise AssertionError("nothing but a conversation is sent here")

    async def aclose(self) -> None:
        self.stream.abort()


def test_the_recording_holds_these_events() -> None:
    """The data belongs to the events that this file names, and is not empty."""
    assert RECORDING["events"] == [event.hex() for event in EVENTS]
    assert checked_frames(SENT, REGION, KEYS) == [*map(encode_input, EVENTS), b""]


async def test_our_headers_and_frames_are_theirs() -> None:
    """For the same events, keys and clock: every header but two that are not signed, and every byte that follows."""
    clock = iter([SIGNED_AT, *(frame.headers[":date"] for frame in body_frames(SENT))])
    transport = Keeper()
    client = BedrockClient(region=REGION, credentials=KEYS, endpoint_url=f"https://{HOST}", transport=transport)
    client._line = replace(client._line, now=lambda: cast("datetime", next(clock)))
    async with client, client.invoke_bidirectional(RECORDING["model_id"]) as duplex:
        for event in EVENTS:
            await duplex.send(event)
        await duplex.end_input()
    (request,) = transport.requests
    # The SDK ends the path with the mark of a query that is empty.
    assert (request.method, request.url) == (HEAD[":method"], f"https://{HOST}{HEAD[':path'].removesuffix('?')}")
    ours = {"host": request.headers["host"], **request.headers}
    assert ours.pop("host") == HOST
    assert ours.pop("user-agent").startswith("bedrock-async/")
    theirs = {name: value for name, value in HEAD.items() if not name.startswith(":")}
    assert theirs.pop("user-agent").startswith("aws-sdk-python/")
    assert theirs.pop("accept") == "*/*"
    assert ours == theirs
    assert transport.stream.body.hex() == SENT["body"]
