"""``bedrock-async replay``: a cassette as a server, for clients in any language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from ..testing.cassette import Cassette
from ..testing.registry import ServedModel
from .serve import run_server

__all__ = ["ReplayOptions", "replay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """The command line options for the cassette and the server."""

    cassette: Path
    once: bool = False
    pace: float = 0.0
    host: str = "127.0.0.1"
    port: int = 0
    region: str = "us-east-1"
    allow_remote: bool = False


def replay(options: ReplayOptions) -> int:
    """Serve the cassette until SIGINT or SIGTERM, and return the number of the signal.

    The endpoint's URL is written to stdout, on a line of its own, as soon as it accepts requests. A request that was
    not recorded gets a 404 that names the nearest one. Raises BedrockError when the cassette cannot be read, or the
    server cannot start.
    """
    return run_server(
        partial(_load, options),
        host=options.host,
        port=options.port,
        region=options.region,
        allow_remote=options.allow_remote,
    )


async def _load(options: ReplayOptions) -> tuple[Sequence[ServedModel], str]:
    cassette = Cassette(options.cassette, mode="replay", repeat=not options.once, pace=options.pace)
    held = await anyio.to_thread.run_sync(lambda: cassette.exchanges)
    return [cassette], f"the {len(held)} exchange{'s' * (len(held) != 1)} of {options.cassette}"
