"""Decoders of a Converse stream, in memory: bytes in, events out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from .scenarios import frames

_PIECE_BYTES: Final = 8192


def body(events: int) -> list[bytes]:
    """Return the body of such a stream in 8 KiB pieces."""
    whole = b"".join(frames(events))
    return [whole[at : at + _PIECE_BYTES] for at in range(0, len(whole), _PIECE_BYTES)]


def ours(pieces: Sequence[bytes]) -> int:
    """Decode with bedrock_async: typed events, both checksums."""
    from bedrock_async.events import ConverseEventDecoder

    decoder = ConverseEventDecoder()
    return sum(len(decoder.receive(piece)) for piece in pieces)


def botocore(pieces: Sequence[bytes]) -> int:
    """Decode with botocore: its buffer and its shape parser, as boto3 and aiobotocore do."""
    from botocore.eventstream import EventStreamBuffer
    from botocore.parsers import EventStreamJSONParser

    shape = _stream_shape()
    parser = EventStreamJSONParser()
    buffer = EventStreamBuffer()
    events = 0
    for piece in pieces:
        buffer.add_data(piece)
        for event in buffer:
            parser.parse(event.to_response_dict(), shape)
            events += 1
    return events


def botocore_buffer(pieces: Sequence[bytes]) -> int:
    """Only cut the frames, with botocore."""
    from botocore.eventstream import EventStreamBuffer

    buffer = EventStreamBuffer()
    events = 0
    for piece in pieces:
        buffer.add_data(piece)
        events += sum(1 for _ in buffer)
    return events


def _stream_shape() -> Any:  # noqa: ANN401 - botocore's types are stubs
    from bedrock_async.testing.service_model import service_model

    return service_model().shape_for("ConverseStreamOutput")


DECODERS: Final[dict[str, Callable[[Sequence[bytes]], int]]] = {
    "bedrock_async": ours,
    "botocore (frames only)": botocore_buffer,
    "botocore": botocore,
}
