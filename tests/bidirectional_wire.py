"""Reading what clients sent in a conversation, holding its signatures to this package's signer, and keeping it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from smithy_conversation import Sent

from bedrock_async import Credentials
from bedrock_async.auth import EventSigner
from bedrock_async.errors import ConnectionLostError
from bedrock_async.eventstream import EventStreamDecoder, Frame
from bedrock_async.transport import DuplexResponse, WireRequest, WireResponse


def head_of(sent: Sent) -> dict[str, str]:
    """Return the head by names; no name came twice."""
    head = {name: value for name, value in sent["head"]}  # noqa: C416 - pairs that JSON made lists of
    assert len(head) == len(sent["head"])
    return head


def body_frames(sent: Sent) -> list[Frame]:
    """Return the frames of the body."""
    decoder = EventStreamDecoder()
    decoder.receive_data(bytes.fromhex(sent["body"]))
    decoder.receive_eof()
    return decoder.next_frames()


def seed_of(sent: Sent) -> str:
    """Return the signature of the request."""
    return head_of(sent)["authorization"].rpartition("Signature=")[2]


def checked_frames(sent: Sent, region: str, credentials: Credentials) -> list[bytes]:
    """Return what the signed frames carry; signed by us at the same times, they are the same bytes."""
    signer = EventSigner(credentials, seed_of(sent), service="bedrock", region=region)
    payloads: list[bytes] = []
    again = b""
    for frame in body_frames(sent):
        date = frame.headers[":date"]
        assert isinstance(date, datetime)
        again += signer.sign(frame.payload, date)
        payloads.append(frame.payload)
    assert again.hex() == sent["body"]
    return payloads


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

    def __init__(self, stream: KeptStream | None = None) -> None:
        self.requests: list[WireRequest] = []
        self.stream = stream or KeptStream()

    async def open(self, request: WireRequest, *, connect_timeout_s: float) -> DuplexResponse:
        self.requests.append(request)
        return self.stream

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        raise AssertionError("nothing but a conversation is sent here")

    async def aclose(self) -> None:
        self.stream.abort()
