"""Reading what clients sent in a conversation, and holding its signatures to this package's signer."""

from __future__ import annotations

from datetime import datetime

from smithy_conversation import Sent

from bedrock_async import Credentials
from bedrock_async.auth import EventSigner
from bedrock_async.eventstream import EventStreamDecoder, Frame


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
