"""A cold process: ``python -m benchmarks.cold PEER URL MODEL`` prints what import, first client and first stream cost.

The process has loaded asyncio before the clock starts, as every asynchronous application has, and nothing else of note.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from importlib import import_module

from .contract import Client, Peer
from .machine import pin, resident_bytes
from .peers import peer

Figures = dict[str, float]


async def main(subject: Peer, url: str, model: str) -> Figures:
    """Import the library, make a client, read a stream, and make another client."""
    modules, resident = len(sys.modules), resident_bytes() or 0
    began = time.process_time()
    if subject.package:
        import_module(subject.package)
    named = time.process_time()
    subject.load()
    imported = time.process_time()
    async with subject.opened(url) as client:
        made = time.process_time()
        before_call = set(sys.modules)
        called, texts = await _stream(client, model)
        assert texts, "the first stream had no text"
        by_call = sys.modules.keys() - before_call
        loaded = len(sys.modules) - modules
        grown = (resident_bytes() or 0) - resident
        gc.collect()
        again = time.process_time()
        async with subject.opened(url):
            further = time.process_time() - again
    return {
        "total_ms": (called - began) * 1e3,
        "statement_ms": (named - began) * 1e3,
        "import_ms": (imported - began) * 1e3,
        "client_ms": (made - imported) * 1e3,
        "call_ms": (called - made) * 1e3,
        "again_ms": further * 1e3,
        "modules": loaded,
        "call_modules": len(by_call),
        "mib": grown / 2**20,
    }


async def _stream(client: Client, model: str) -> tuple[float, int]:
    texts: list[str] = []
    await client.stream(model, client.conversation(["Write a sentence about foxes."]), texts.append)
    return time.process_time(), sum(map(len, texts))


if __name__ == "__main__":
    pin("client")
    candidate = peer(sys.argv[1])
    with asyncio.Runner(loop_factory=candidate.new_event_loop) as runner:
        figures = runner.run(main(candidate, sys.argv[2], sys.argv[3]))
    import json

    sys.stdout.write(f"\n{json.dumps(figures)}\n")
    sys.stdout.flush()
    os._exit(0)
