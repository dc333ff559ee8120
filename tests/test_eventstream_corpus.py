"""Every recorded event stream through our decoder, in pieces of every kind, against botocore's reading."""

from __future__ import annotations

from typing import Final, cast

import pytest
from botocore.eventstream import EventStreamBuffer
from corpus import Exchange, exchanges
from framing import decode, decode_pieces

from bedrock_async.eventstream import CONTENT_TYPE, EventStreamDecoder, EventStreamError, HeaderValue, encode_frame

STREAMS: Final = [exchange for exchange in exchanges() if exchange.eventstream]
CHUNKED: Final = [exchange for exchange in STREAMS if exchange.chunk_sizes]


@pytest.mark.parametrize("stream", STREAMS, ids=str)
def test_a_recorded_stream_decodes_as_botocore_reads_it(stream: Exchange) -> None:
    """Whole, in 7-byte pieces and byte by byte: the same frames as botocore's, and encoding restores the recording."""
    body = stream.response_body
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    # The stubs of botocore say int for headers.
    reading = [(cast("dict[str, HeaderValue]", message.headers), message.payload) for message in buffer]

    frames = decode(body)

    assert stream.eventstream is not None
    assert len(frames) == stream.eventstream["messages"] > 0
    assert [(dict(frame.headers), frame.payload) for frame in frames] == reading
    assert decode(body, 7) == frames
    assert decode(body, 1) == frames
    assert b"".join(encode_frame(frame.headers, frame.payload) for frame in frames) == body


@pytest.mark.parametrize("stream", STREAMS, ids=str)
def test_raw_frames_are_the_same_frames_before_their_headers_are_parsed(stream: Exchange) -> None:
    """Header block and payload of the hot path, encoded again, are the recorded bytes."""
    decoder = EventStreamDecoder()
    decoder.receive_data(stream.response_body)
    raw = decoder.next_raw_frames()
    decoder.receive_eof()

    assert [payload for _, payload in raw] == [frame.payload for frame in decode(stream.response_body)]
    assert b"".join(encode_frame(block, payload) for block, payload in raw) == stream.response_body


@pytest.mark.parametrize("stream", CHUNKED, ids=str)
def test_the_recorded_chunks_give_the_same_frames(stream: Exchange) -> None:
    """The pieces that the transport really delivered make no difference."""
    assert stream.chunk_sizes is not None
    body, parts = stream.response_body, list[bytes]()
    for size in stream.chunk_sizes:
        parts.append(body[:size])
        body = body[size:]
    assert decode_pieces([*parts, body]) == decode(stream.response_body)


@pytest.mark.parametrize("stream", STREAMS, ids=str)
def test_a_recorded_stream_cut_in_its_last_frame_keeps_the_frames_before(stream: Exchange) -> None:
    """One missing byte costs the last frame and nothing else, and the end of the stream says so."""
    whole = decode(stream.response_body)
    decoder = EventStreamDecoder()
    decoder.receive_data(stream.response_body[:-1])

    assert decoder.next_frames() == whole[:-1]
    last = len(encode_frame(whole[-1].headers, whole[-1].payload))
    with pytest.raises(EventStreamError, match=f"{last - 1} of {last} bytes had arrived"):
        decoder.receive_eof()


def test_the_corpus_has_the_streams_that_its_readme_counts() -> None:
    """148 event streams with 4,342 messages, all of the one content type."""
    assert len(STREAMS) == 148
    assert sum(len(decode(stream.response_body)) for stream in STREAMS) == 4342
    assert len(CHUNKED) == 8
    for stream in STREAMS:
        headers = {name.lower(): value for name, value in stream.response_headers.items()}
        assert headers["content-type"] == CONTENT_TYPE, stream
