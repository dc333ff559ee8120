"""The floor with frames split in C: what a compiled extension of our own could save.

No distribution on PyPI brings a splitter of event streams in C or Rust; awscrt's module has only the RPC protocol over
event streams. So this one is compiled when the environment is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ..contract import Peer
from .raw_socket import PEER as RAW
from .raw_socket import Receive, opened


def new_decoder() -> Receive:
    """Return a decoder of typed events over the splitter; both checksums are compared."""
    from bedrock_async.events import decode_event
    from bedrock_async.eventstream import parse_headers

    split: Any = import_module("bedrock_async_splitter").split
    names: dict[bytes, str] = {}
    tail = b""

    def receive(data: bytes) -> list[Any]:
        nonlocal tail
        if tail:
            data = tail + data
        frames, end = split(data)
        tail = data[end:]
        events: list[Any] = []
        for block, payload in frames:
            name = names.get(block)
            if name is None:
                name = names[block] = str(parse_headers(block)[":event-type"])
            events.append(decode_event(name, payload))
        return events

    return receive


def load() -> None:
    """Import the decoder and the splitter."""
    RAW.load()
    import_module("bedrock_async_splitter")


def decode(pieces: Sequence[bytes]) -> int:
    """Decode typed events."""
    receive = new_decoder()
    return sum(len(receive(piece)) for piece in pieces)


PEER = Peer(
    title="raw socket, C splitter",
    kind="floor",
    environment="ours",
    packages=("msgspec",),
    extension="splitter.c",
    load=load,
    opened=opened(new_decoder),
    decode=decode,
)
