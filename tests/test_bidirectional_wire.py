"""What this client sends in a conversation is what the official SDK was recorded to send, byte for byte."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from bidirectional_wire import Keeper, body_frames, checked_frames, head_of
from smithy_conversation import EVENTS, RECORDED, Sent

from bedrock_async import BedrockClient, Credentials
from bedrock_async.native import encode_input

RECORDING: dict[str, Any] = json.loads(RECORDED.read_text())
SENT: Sent = RECORDING["sent"]
HEAD = head_of(SENT)
KEYS = Credentials(*RECORDING["credentials"])
REGION: str = RECORDING["region"]
HOST = HEAD[":authority"]
SIGNED_AT = datetime.strptime(HEAD["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


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
