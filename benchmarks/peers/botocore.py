"""botocore's decoder: its buffer and its shape parser, as boto3, aiobotocore and aioboto3 use them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from ..contract import Peer
from .aiobotocore import load, opened


@cache
def _stream_shape() -> Any:  # noqa: ANN401 - a shape of botocore
    import botocore.session

    loader: Any = botocore.session.get_session().get_component("data_loader")
    from botocore.model import ServiceModel

    model = ServiceModel(loader.load_service_model("bedrock-runtime", "service-2"))
    return model.shape_for("ConverseStreamOutput")


def decode(pieces: Sequence[bytes]) -> int:
    """Decode events into dicts; botocore compares both checksums, too."""
    from botocore.eventstream import EventStreamBuffer
    from botocore.parsers import EventStreamJSONParser

    shape = _stream_shape()
    parser: Any = EventStreamJSONParser()
    buffer: Any = EventStreamBuffer()
    events = 0
    for piece in pieces:
        buffer.add_data(piece)
        for event in buffer:
            parser.parse(event.to_response_dict(), shape)
            events += 1
    return events


PEER = Peer(
    title="botocore",
    environment="aiobotocore",
    packages=("botocore",),
    load=load,
    opened=opened,
    decode=decode,
    not_offered={"*": "only its decoder is measured: it is synchronous, and measured as boto3 in threads"},
)
