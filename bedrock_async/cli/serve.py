"""``bedrock-async serve``: the emulator as a standalone server, for programs in any language."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio

from ..testing.chaos import Chaos, Fault
from ..testing.emulator import BedrockEmulator
from ..testing.registry import ServedModel
from ..testing.replay import ReplayModel
from .console import styled
from .loop import CommandLoop
from .models import SCRIPTED, load_model, start_model

__all__ = ["Load", "ServeOptions", "run_server", "serve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """The command line options for the server."""

    models: Sequence[str] = ()
    text: str | None = None
    replay: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    region: str = "us-east-1"
    allow_remote: bool = False
    chaos: float | None = None
    faults: Sequence[str] = ()


Load: TypeAlias = Callable[[], Awaitable[tuple[Sequence[ServedModel], str]]]
"""Creates the models to serve, and describes them in a few words."""


def serve(options: ServeOptions) -> int:
    """Serve models until SIGINT or SIGTERM; see `run_server`."""
    return run_server(
        partial(_load, options),
        host=options.host,
        port=options.port,
        region=options.region,
        allow_remote=options.allow_remote,
        chaos=None if options.chaos is None else Chaos(options.chaos, faults=options.faults or tuple(Fault)),
    )


def run_server(load: Load, *, host: str, port: int, region: str, allow_remote: bool, chaos: Chaos | None = None) -> int:
    """Serve until SIGINT or SIGTERM, stop cleanly, and return the number of the signal.

    The endpoint's URL is written to stdout, on a line of its own, as soon as it accepts requests; everything else goes
    to stderr. Raises BedrockError when the server cannot start.
    """
    # A model's failure is reported to its client in one sentence, and here with its traceback.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    with CommandLoop(signal.SIGINT, signal.SIGTERM) as loop:
        try:
            loop.run(_serve(load, host=host, port=port, region=region, allow_remote=allow_remote, chaos=chaos))
        except KeyboardInterrupt:
            return loop.received or signal.SIGINT
    return 0


async def _load(options: ServeOptions) -> tuple[Sequence[ServedModel], str]:
    names = options.models or (() if options.replay else (SCRIPTED,))
    served: list[ServedModel] = []
    if options.replay is not None:
        strict = not names  # requests that were not recorded go to the other models, if any
        directory = options.replay
        served.append(await anyio.to_thread.run_sync(lambda: ReplayModel.from_directory(directory, strict=strict)))
    served += [await load_model(name, text=options.text) for name in names]
    what = [f"recordings of {options.replay}"] if options.replay else []
    return served, ", ".join([*what, *names])


async def _serve(load: Load, *, host: str, port: int, region: str, allow_remote: bool, chaos: Chaos | None) -> None:
    served, what = await load()
    emulator = BedrockEmulator(served, host=host, port=port, region=region, allow_remote=allow_remote, chaos=chaos)
    async with emulator:
        for model in served:
            await start_model(model)
        console = styled(sys.stderr)
        console.print(f"Serving {what} in {region}. Ctrl-C stops.")
        if chaos is not None:
            console.print(f"{chaos.rate:.0%} of the requests meet a fault.")
        console.print(f"Clients find it with  AWS_ENDPOINT_URL_BEDROCK_RUNTIME={emulator.url}  and any credentials.")
        sys.stdout.write(f"{emulator.url}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().create_future()
