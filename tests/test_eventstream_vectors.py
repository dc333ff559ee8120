"""The official vectors of the framing: smithy-typescript's, botocore's and Smithy's own protocol tests."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
from framing import build_frame, decode, pieces

from bedrock_async.eventstream import (
    EventStreamDecoder,
    EventStreamError,
    HeaderValue,
    Int8,
    Int16,
    Int32,
    Int64,
    encode_frame,
)

VECTORS: Final = Path(__file__).parent / "data" / "eventstream_vectors"
MANIFEST: Final[list[dict[str, Any]]] = json.loads((VECTORS / "manifest.json").read_bytes())["vectors"]
POSITIVE: Final = [vector for vector in MANIFEST if vector["kind"] == "positive"]
NEGATIVE: Final = [vector for vector in MANIFEST if vector["kind"] == "negative" and vector["file"]]
SMITHY: Final[list[dict[str, Any]]] = json.loads((VECTORS / "smithy_restjson1_event_stream_tests.json").read_bytes())[
    "tests"
]
SMITHY_EVENTS: Final = [(test["id"], event) for test in SMITHY for event in test.get("events", [])]

# The reason each implementation gives for its negative vectors -> what ours says.
REASONS: Final = {
    "Prelude checksum mismatch": "prelude checksum",
    "Message checksum mismatch": "message checksum",
    "ChecksumMismatch": "checksum",
    "DuplicateHeader": "comes twice",
    "InvalidHeadersLength": "header bytes",
}

# The start of botocore's vector that has no file. Its checksum is right; the 25 MB that follow in botocore's test
# are 16 fewer than it declares, so nothing behind it means anything.
HUGE_PRELUDE: Final = bytes.fromhex("0180002100000000dd3f33b1")

INTS: Final[Mapping[str, type[int]]] = {"byte": Int8, "int16": Int16, "int32": Int32, "int64": Int64, "long": Int64}
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def header_value(kind: str, value: Any) -> HeaderValue:  # noqa: ANN401 - JSON of any shape
    """Return a value of the manifest, or of Smithy's tests, as we decode it."""
    if kind in INTS:
        return INTS[kind](value)
    if kind == "timestamp":
        return datetime.fromisoformat(value) if isinstance(value, str) else EPOCH + timedelta(milliseconds=value)
    if kind == "byte_array":
        return bytes.fromhex(value["hex"])
    if kind == "blob":
        return b64decode(value)
    if kind == "uuid":
        return UUID(hex=value["hex"])
    if kind == "string":
        return str(value)
    return {"bool_true": True, "bool_false": False}[kind]


def typed(headers: Mapping[str, HeaderValue]) -> list[tuple[str, str, HeaderValue]]:
    """Make order and types count in a comparison: Int8(1) == Int64(1) == True."""
    return [(name, type(value).__name__, value) for name, value in headers.items()]


def name_of(vector: dict[str, Any]) -> str:
    """Name a vector in pytest's output."""
    return str(vector["file"])


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize("vector", POSITIVE, ids=name_of)
def test_a_valid_vector_decodes_to_what_its_source_expects(vector: dict[str, Any], size: int | None) -> None:
    """Names, types, values, order and payload are those of the official decoder, and encoding restores the bytes."""
    data = (VECTORS / vector["file"]).read_bytes()
    expected = vector["expected"]

    (frame,) = decode(data, size)

    wanted = {header["name"]: header_value(header["type"], header["value"]) for header in expected["headers"]}
    assert typed(frame.headers) == typed(wanted)
    assert frame.payload == b64decode(expected["payload_b64"])
    assert encode_frame(frame.headers, frame.payload) == data


@pytest.mark.parametrize("vector", POSITIVE, ids=name_of)
def test_a_valid_vector_is_delivered_before_its_tail_is_complete(vector: dict[str, Any]) -> None:
    """What follows a frame neither changes nor delays it."""
    data = (VECTORS / vector["file"]).read_bytes()
    (alone,) = decode(data)
    after = build_frame(b"", b"after")

    decoder = EventStreamDecoder()
    decoder.receive_data(data + after[:-1])
    assert decoder.next_frames() == [alone]
    decoder.receive_data(after[-1:])
    assert [frame.payload for frame in decoder.next_frames()] == [b"after"]
    decoder.receive_eof()


@pytest.mark.parametrize("arrival", ["whole", "byte by byte", "with a tail"])
@pytest.mark.parametrize("vector", NEGATIVE, ids=name_of)
def test_an_invalid_vector_is_refused_for_its_reason(vector: dict[str, Any], arrival: str) -> None:
    """Every fault that the official decoders find is found, and the decoder does not recover from it."""
    data = (VECTORS / vector["file"]).read_bytes()
    decoder = EventStreamDecoder()
    for piece in pieces(data + build_frame() * (arrival == "with a tail"), 1 if arrival == "byte by byte" else None):
        decoder.receive_data(piece)

    with pytest.raises(EventStreamError, match=REASONS[vector["expected_error"]]) as first:
        decoder.next_frames()
    with pytest.raises(EventStreamError) as second:
        decoder.receive_data(build_frame())
    assert str(second.value) == str(first.value)


def test_the_oversized_vector_is_refused_by_its_length() -> None:
    """A frame over the limit is refused when the 12 bytes of its prelude are there, without waiting for the rest."""
    assert [vector["name"] for vector in MANIFEST if not vector["file"]] == ["botocore_invalid_payload_length"]
    decoder = EventStreamDecoder()
    decoder.receive_data(HUGE_PRELUDE)
    with pytest.raises(EventStreamError, match=r"declares 25165857 bytes; 16 to 16908304 are allowed"):
        decoder.next_frames()


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize(("test_id", "event"), SMITHY_EVENTS)
def test_smithys_protocol_tests_decode_and_encode(test_id: str, event: dict[str, Any], size: int | None) -> None:
    """The frames of Smithy's own restJson1 tests hold the headers and bodies that the tests state."""
    data = b64decode(event["bytes"])

    (frame,) = decode(data, size)

    stated = {
        name: header_value(kind, value) for name, header in event["headers"].items() for kind, value in header.items()
    }
    assert sorted(typed(frame.headers)) == sorted(typed(stated)), test_id
    # Without a stated body the test does not look at the payload.
    assert frame.payload == event.get("body", frame.payload.decode()).encode()
    assert encode_frame(frame.headers, frame.payload) == data


def test_no_vector_is_left_out() -> None:
    """The counts are those of the manifest: 14 positive, 11 negative (one without a file), 44 Smithy events."""
    assert (len(POSITIVE), len(NEGATIVE), len(SMITHY_EVENTS)) == (14, 10, 44)
