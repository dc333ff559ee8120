"""The frame builders: what recorded streams look like, rebuilt and damaged."""

from __future__ import annotations

import json
import struct
from collections import Counter
from typing import Any, Final, cast

import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from corpus import Exchange, exchanges

from bedrock_async.errors import InvalidRequestError
from bedrock_async.events import event_from_wire
from bedrock_async.folding import fold
from bedrock_async.testing import (
    PADDING_ALPHABET,
    Padding,
    chunk_frame,
    corrupted,
    event_frame,
    exception_frame,
    fold_wire_events,
    oversized_frame,
    stream_bytes,
    text_events,
    tool_use_events,
    truncated,
    wire_json,
)

STREAMS: Final = [each for kind in ("converse-stream", "invoke-with-response-stream") for each in exchanges(kind, 200)]


def messages_of(exchange: Exchange) -> list[dict[str, Any]]:
    """Return the recorded messages as botocore read them."""
    events: list[dict[str, Any]] = (exchange.eventstream or {})["events"]
    return events


def parsed(data: bytes) -> list[tuple[dict[str, str], bytes]]:
    """Return what botocore's own decoder makes of the bytes."""
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [(message.headers, message.payload) for message in cast("Any", buffer)]


@pytest.mark.parametrize("exchange", STREAMS, ids=str)
def test_recorded_streams_are_rebuilt_byte_for_byte(exchange: Exchange) -> None:
    """From each recorded event and its padding the builders make the very frame that the service sent."""
    frames: list[bytes] = []
    for message in messages_of(exchange):
        payload: dict[str, Any] = message["payload"]
        members = {name: value for name, value in payload.items() if name != "p"}
        frames.append(event_frame(message["headers"][":event-type"], members, padding=payload.get("p")))
    assert b"".join(frames) == exchange.response_body


def test_padding_has_the_recorded_distribution() -> None:
    """Lengths from 2 to 61, all about equally likely, of the recorded alphabet: as in the recordings."""
    recorded = [
        message["payload"]["p"] for each in STREAMS for message in messages_of(each) if "p" in message["payload"]
    ]
    assert all(PADDING_ALPHABET.startswith(text) for text in recorded)
    padding = Padding(7)
    ours = [padding.next() for _ in range(len(recorded))]
    assert all(PADDING_ALPHABET.startswith(text) for text in ours)
    assert {len(text) for text in ours} == {len(text) for text in recorded} == set(range(2, 62))
    assert Counter(map(len, ours)).most_common(1)[0][1] < 2 * len(ours) / 60


def test_padding_is_reproducible() -> None:
    """The same seed gives the same padding, another one another."""
    events = text_events("hello world")
    assert stream_bytes(events) == stream_bytes(events, padding_seed=0)
    assert stream_bytes(events, padding_seed=1) != stream_bytes(events)
    assert all("p" in json.loads(payload) for _, payload in parsed(stream_bytes(events)))
    assert not any("p" in json.loads(payload) for _, payload in parsed(stream_bytes(events, padding_seed=None)))


def test_an_exception_frame_has_the_headers_of_the_service() -> None:
    """The code is in lower camel case whichever way it is given; further members stand beside the message."""
    ((headers, payload),) = parsed(exception_frame("ModelStreamErrorException", "broken", originalStatusCode=500))
    assert list(headers.items()) == [
        (":exception-type", "modelStreamErrorException"),
        (":content-type", "application/json"),
        (":message-type", "exception"),
    ]
    assert json.loads(payload) == {"message": "broken", "originalStatusCode": 500}
    assert exception_frame("modelStreamErrorException", "m") == exception_frame("ModelStreamErrorException", "m")


def test_chunks_hold_native_json_as_base64() -> None:
    """Bytes go in unchanged, objects as compact JSON."""
    assert chunk_frame({"a": "é"}) == chunk_frame('{"a":"é"}'.encode())
    assert chunk_frame(b"{}", padding="ab") == event_frame("chunk", {"bytes": "e30="}, padding="ab")


def test_bytes_in_a_stream_stay_as_they_are() -> None:
    """Frames of one's own and damaged ones mix with events."""
    frame = event_frame("contentBlockStop", b"{broken")
    assert stream_bytes([frame, {"messageStop": {"stopReason": "end_turn"}}], padding_seed=None) == (
        frame + event_frame("messageStop", {"stopReason": "end_turn"})
    )


@pytest.mark.parametrize("event", [{}, {"messageStop": {}, "metadata": {}}, {"messageStop": 1}])
def test_an_event_is_an_object_of_one_key(event: dict[str, Any]) -> None:
    """Anything else is refused with an example of the right form."""
    with pytest.raises(InvalidRequestError, match="messageStart"):
        stream_bytes([event])


def test_json_is_written_as_the_service_writes_it() -> None:
    """Compact UTF-8 with sorted members; a document keeps its own order, and a lone surrogate is escaped."""
    assert wire_json({"b": [{"z": 1, "a": "é"}], "a": {"input": {"y": 1, "x": 2}}}) == (
        '{"a":{"input":{"y":1,"x":2}},"b":[{"a":"é","z":1}]}'.encode()
    )
    assert wire_json({"text": "\ud800"}) == b'{"text":"\\ud800"}'


def test_corrupted_frames_fail_their_checksums() -> None:
    """botocore refuses the damaged message checksum, and the damaged prelude checksum."""
    frame = event_frame("messageStart", {"role": "assistant"})
    for damaged in (corrupted(frame), corrupted(frame, prelude=True)):
        assert len(damaged) == len(frame)
        with pytest.raises(ChecksumMismatch):
            parsed(damaged)


def test_truncated_frames_are_not_frames() -> None:
    """Half a frame, or as many bytes of it as asked for, decode to nothing."""
    frame = event_frame("messageStart", {"role": "assistant"})
    assert truncated(frame) == frame[: len(frame) // 2]
    assert truncated(frame, 3) == frame[:3]
    assert parsed(truncated(frame, len(frame) - 1)) == []


def test_an_oversized_frame_has_a_right_prelude() -> None:
    """The length is what was asked for, and the prelude's checksum holds, so that only the length can be refused."""
    data = oversized_frame(123_456_789)
    assert struct.unpack(">I", data[:4]) == (123_456_789,)
    assert parsed(oversized_frame(1_000_000)) == []  # the prelude was taken; the rest is waited for


def test_folding_puts_every_kind_of_block_together() -> None:
    """Text, reasoning, signatures, redacted content, tool use, citations and images, in the order of their index."""
    deltas: list[tuple[int, dict[str, Any]]] = [
        (1, {"text": "b"}),
        (0, {"reasoningContent": {"text": "th"}}),
        (0, {"reasoningContent": {"text": "ink"}}),
        (0, {"reasoningContent": {"signature": "sig"}}),
        (1, {"text": "c"}),
        (2, {"reasoningContent": {"redactedContent": "AQ=="}}),
        (2, {"reasoningContent": {"redactedContent": "Ag=="}}),
        (3, {"text": "cited"}),
        (3, {"citation": {"title": "one"}}),
        (3, {"citation": {"title": "two"}}),
        (4, {"image": {"source": {"bytes": "AQ=="}}}),
        (5, {"toolResult": [{"text": "r"}]}),
        (5, {"toolResult": [{"json": {"a": 1}}]}),
    ]
    events: list[Any] = [
        {"messageStart": {"role": "assistant", "p": "abc"}},
        {"contentBlockStart": {"contentBlockIndex": 4, "start": {"image": {"format": "png"}}}},
        {"contentBlockStart": {"contentBlockIndex": 5, "start": {"toolResult": {"toolUseId": "t"}}}},
        *({"contentBlockDelta": {"contentBlockIndex": index, "delta": delta}} for index, delta in deltas),
        {"messageStop": {"stopReason": "end_turn", "additionalModelResponseFields": {"x": 1}, "p": "ab"}},
        {"metadata": {"usage": {"inputTokens": 1}, "tomorrow": True, "p": "ab"}},
    ]
    assert fold_wire_events(events) == {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "think", "signature": "sig"}}},
                    {"text": "bc"},
                    {"reasoningContent": {"redactedContent": "AQI="}},
                    {
                        "citationsContent": {
                            "citations": [{"title": "one"}, {"title": "two"}],
                            "content": [{"text": "cited"}],
                        }
                    },
                    {"image": {"format": "png", "source": {"bytes": "AQ=="}}},
                    {"toolResult": {"toolUseId": "t", "content": [{"text": "r"}, {"json": {"a": 1}}]}},
                ],
            }
        },
        "stopReason": "end_turn",
        "additionalModelResponseFields": {"x": 1},
        "usage": {"inputTokens": 1},
        "tomorrow": True,
    }


@pytest.mark.parametrize("exchange", exchanges("converse-stream", 200), ids=str)
def test_folding_agrees_with_the_library(exchange: Exchange) -> None:
    """The emulator's fold and the library's, written apart, make the same response of every recorded stream."""
    events: list[dict[str, Any]] = [
        {message["headers"][":event-type"]: message["payload"]} for message in messages_of(exchange)
    ]
    assert fold_wire_events(events) == fold(map(event_from_wire, events)).to_wire()


def test_folding_parses_tool_input() -> None:
    """The pieces are one document; none at all is an empty one; what is no JSON stays text."""

    def folded_input(*pieces: str) -> Any:  # noqa: ANN401
        start, stop = tool_use_events("t", {})[1], tool_use_events("t", {})[-2]
        deltas: list[Any] = [
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"toolUse": {"input": piece}}}} for piece in pieces
        ]
        response = cast("Any", fold_wire_events([start, *deltas, stop]))
        return response["output"]["message"]["content"][0]["toolUse"]["input"]

    assert folded_input('{"a', '": [1]}') == {"a": [1]}
    assert folded_input() == {}
    assert folded_input('{"a') == '{"a'
