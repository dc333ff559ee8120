"""bedrock_async with its default transport, on uvloop."""

from __future__ import annotations

import asyncio
from importlib import import_module

from .ours import PEER as OURS


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a loop of uvloop."""
    loop: asyncio.AbstractEventLoop = import_module("uvloop").new_event_loop()
    return loop


PEER = OURS._replace(
    title="bedrock_async (uvloop)",
    new_event_loop=new_event_loop,
    decode=None,
    not_offered={"decode": "the decoder is the same", "cold": "the loop is loaded before the clock starts"},
)
