"""The events that a client sends carry signatures that rest on each other."""

from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from bedrock_async.auth import (
    STREAMING_EVENTS,
    ApiKey,
    BearerAuthenticator,
    Credentials,
    EventSigner,
    RefreshingAuthenticator,
    SigV4Signer,
    StaticAuthenticator,
    event_signer,
)
from bedrock_async.auth.signing import ProviderSource
from bedrock_async.errors import CredentialsError, EventStreamError
from bedrock_async.eventstream import EventStreamDecoder, encode_frame

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "event_signatures.json").read_text())
KEYS = Credentials(**RECORDED["credentials"])
SEED: str = RECORDED["request_signature"]
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
URL = "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.nova-sonic-v1%3A0/invoke-with-bidirectional-stream"


def signature_of(frame: bytes) -> str:
    """Return the signature that a frame carries, in hex."""
    decoder = EventStreamDecoder()
    decoder.receive_data(frame)
    (decoded,) = decoder.next_frames()
    signature = decoded.headers[":chunk-signature"]
    assert isinstance(signature, bytes)
    return signature.hex()


def test_frames_are_those_of_two_other_implementations() -> None:
    """A chain over midnight, ended by the empty frame, is byte for byte what two signers of AWS make of it."""
    signer = EventSigner(KEYS, SEED, service=RECORDED["service"], region=RECORDED["region"])
    assert len(RECORDED["events"]) == 4
    for event in RECORDED["events"]:
        frame = signer.sign(bytes.fromhex(event["payload"]), datetime.fromisoformat(event["date"]))
        assert frame.hex() == event["frame"]


def test_published_vector() -> None:
    """What is signed is the text that the AWS SDK for Rust publishes for one event, hashes included."""
    # aws-sigv4, event_stream.rs; it publishes the text only, so that the key is free.
    published = (
        "AWS4-HMAC-SHA256-PAYLOAD\n19731129T213309Z\n19731129/us-east-1/testservice/aws4_request\n"
        "be1f8c7d79ef8e1abc5254a2c70e4da3bfaf4f07328f527444e1fc6ea67273e2\n"
        "0c0e3b3bf66b59b976181bd7d401927bbd624107303c713fd1e5f3d3c8dd1b1e\n"
        "f2eba0f2e95967ee9fbc6db5e678d2fd599229c0d04b11e4fc8e0f2a02a806c6"
    )
    key = b"AWS4" + KEYS.secret_access_key.encode()
    for part in ("19731129", "us-east-1", "testservice", "aws4_request", published):
        key = hmac.digest(key, part.encode(), "sha256")
    payload = encode_frame({"some-header": "value"}, b"test payload")
    prior = sha256(b"last message sts").hexdigest()
    now = datetime(1973, 11, 29, 21, 33, 9, 1, tzinfo=UTC)
    frame = EventSigner(KEYS, prior, service="testservice", region="us-east-1").sign(payload, now)
    assert signature_of(frame) == key.hex()


def test_a_signature_rests_on_all_before_it() -> None:
    """The same event gets another signature when an earlier one was another, came twice or was left out."""

    def last(*payloads: bytes, seed: str = SEED) -> str:
        signer = EventSigner(KEYS, seed, service="bedrock", region="us-east-1")
        return [signature_of(signer.sign(payload, NOW)) for payload in payloads][-1]

    signatures = [
        last(b"one", b"last"),
        last(b"two", b"last"),
        last(b"one", b"one", b"last"),
        last(b"last"),
        last(b"one", b"last", seed="0" * 64),
    ]
    assert len(set(signatures)) == len(signatures)


def test_signatures_know_the_time_zone() -> None:
    """The same instant written in another zone is signed the same."""

    def sign(now: datetime) -> bytes:
        return EventSigner(KEYS, SEED, service="bedrock", region="us-east-1").sign(b"event", now)

    assert sign(NOW) == sign(NOW.astimezone(timezone(timedelta(hours=5, minutes=30))))


def test_an_event_that_is_too_large_changes_nothing() -> None:
    """A refused payload leaves the chain where it was: the next event is signed as if nothing had been."""
    signer = EventSigner(KEYS, SEED, service="bedrock", region="us-east-1")
    with pytest.raises(EventStreamError):
        signer.sign(bytes(25 * 1024 * 1024), NOW)
    fresh = EventSigner(KEYS, SEED, service="bedrock", region="us-east-1")
    assert signer.sign(b"event", NOW) == fresh.sign(b"event", NOW)


async def test_the_chain_begins_at_the_request() -> None:
    """Events rest on the signature of the request that opened the stream, with its credentials."""
    authenticator = RefreshingAuthenticator(ProviderSource(lambda: KEYS))
    await authenticator.prepare(NOW)
    headers = {"x-amz-content-sha256": STREAMING_EVENTS}
    authenticator.authorize("POST", URL, headers, b"", service="bedrock", region="us-east-1", now=NOW)
    signer = event_signer(authenticator, headers, service="bedrock", region="us-east-1")
    again = {"x-amz-content-sha256": STREAMING_EVENTS}
    seed = SigV4Signer(KEYS).sign("POST", URL, again, b"", service="bedrock", region="us-east-1", now=NOW)
    assert signer is not None
    expected = EventSigner(KEYS, seed, service="bedrock", region="us-east-1")
    assert signer.sign(b"event", NOW) == expected.sign(b"event", NOW)


async def test_with_an_api_key_events_are_not_signed() -> None:
    """A bearer token has nothing to sign with; the service takes the events as they are."""
    authenticator = BearerAuthenticator(ApiKey("ABSKexample"), source="test")
    await authenticator.prepare(NOW)
    headers: dict[str, str] = {}
    authenticator.authorize("POST", URL, headers, b"", service="bedrock", region="us-east-1", now=NOW)
    assert event_signer(authenticator, headers, service="bedrock", region="us-east-1") is None


def test_a_request_without_signature_cannot_begin_a_chain() -> None:
    """Where there is no signature to rest on, the stream is refused before anything is sent."""
    with pytest.raises(CredentialsError):
        event_signer(StaticAuthenticator(KEYS), {}, service="bedrock", region="us-east-1")


def test_the_secret_stays_hidden() -> None:
    """The repr of a signer tells its scope and nothing of its key."""
    text = repr(EventSigner(KEYS, SEED, service="bedrock", region="us-east-1"))
    assert text == "EventSigner(service='bedrock', region='us-east-1')"
