"""One file for each client: how it is installed, imported, opened and read.

Versions are pinned in the ``.txt`` files beside them, one for each environment; ``python -m benchmarks.environments
--resolve`` makes them anew.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from ..contract import Peer

QUICK: Final = ("ours", "raw-socket", "raw-socket-c", "aiobotocore", "botocore")
"""What ``make bench`` measures."""

ALL: Final = (
    *QUICK,
    "raw-reader",
    "ours-aiohttp",
    "ours-native",
    "ours-uvloop",
    "ours-httpx",
    "aioboto3",
    "aiobedrock",
    "capo",
    "lmux",
    "smithy",
    "boto3",
    "anthropic",
    "litellm",
    "langchain",
    "pydantic-ai",
    "strands",
)
"""What ``make bench-peers`` measures."""

FASTEST_OF: Final = ("aiobedrock", "capo", "lmux", "aiobotocore", "smithy")
"""Those among which the fastest peer of a scenario is looked for: asynchronous to the wire, as ours is."""


def peer(name: str) -> Peer:
    """Return the client of that name; its library is not imported yet. Raises ModuleNotFoundError."""
    found: Peer = import_module(f"{__name__}.{name.replace('-', '_')}").PEER
    return found


def environment_of(name: str) -> str:
    """Return the name of the environment in which the client runs."""
    return peer(name).environment or name
