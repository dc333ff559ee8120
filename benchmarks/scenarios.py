"""What is measured: named questions on realistic payloads, shared by the server and all clients."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Literal

from bedrock_async.testing.frames import event_frame

# The padding of recorded streams is a prefix of this text; frames of about 200 bytes are what converse-stream sends.
_PADDING: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_WORDS: Final = (" the", " quick", " brown", " fox", " jumps", " over", " a", " lazy", " dog,", " again")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One question. ``unit`` is what the CPU time is divided by."""

    name: str
    title: str
    kind: Literal["decode", "stream", "converse"]
    unit: Literal["event", "call"]
    concurrency: int = 1
    count: int = 1
    """Events of each stream, or calls of each task."""
    frames_per_write: int = 1

    @property
    def model_id(self) -> str:
        """Tells the server what to send: events of a stream and frames in one write."""
        return f"bench.n{self.count}-w{self.frames_per_write}-v1:0"

    @property
    def units(self) -> int:
        """Events or calls in all."""
        return self.concurrency * self.count


SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        Scenario("decode", "decode only, 20,000 frames in 8 KiB pieces", "decode", "event", count=20_000),
        Scenario("coalesced", "1 stream, 64 frames per write", "stream", "event", count=5_000, frames_per_write=64),
        Scenario("saturated", "64 streams, one frame per write", "stream", "event", concurrency=64, count=500),
        Scenario("converse64", "converse, 64 in flight", "converse", "call", concurrency=64, count=40),
    )
}

CONVERSE_BODY: Final = json.dumps(
    {
        "metrics": {"latencyMs": 812},
        "output": {"message": {"role": "assistant", "content": [{"text": "".join(_WORDS) * 6}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 21, "outputTokens": 60, "totalTokens": 81, "serverToolUsage": {}},
    }
).encode()

QUESTION: Final = "Write a sentence about foxes."


def frames(events: int) -> list[bytes]:
    """Return the frames of a stream of so many events: the first one, deltas, and the last three."""
    head = [event_frame("messageStart", {"p": _PADDING[:20], "role": "assistant"})]
    tail = [
        event_frame("contentBlockStop", {"contentBlockIndex": 0, "p": _PADDING[:30]}),
        event_frame("messageStop", {"p": _PADDING[:12], "stopReason": "end_turn"}),
        event_frame(
            "metadata",
            {
                "metrics": {"latencyMs": 812},
                "p": _PADDING[:40],
                "usage": {"inputTokens": 21, "outputTokens": 60, "totalTokens": 81},
            },
        ),
    ]
    deltas = [
        event_frame(
            "contentBlockDelta",
            {"contentBlockIndex": 0, "delta": {"text": _WORDS[i % len(_WORDS)]}, "p": _PADDING[: 2 + i * 7 % 60]},
        )
        for i in range(events - len(head) - len(tail))
    ]
    return head + deltas + tail
