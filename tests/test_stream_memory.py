"""What a stream keeps while it is read."""

from __future__ import annotations

import asyncio
import tracemalloc
from itertools import count
from typing import Any

import pytest

from bedrock_async import BedrockClient, Credentials, StreamError
from bedrock_async.eventstream import CONTENT_TYPE
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.testing.frames import frame_of
from bedrock_async.types import JSONValue

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
COUNT = 20_000


class Endless:
    """A piece of text, again and again, each in a frame and a read of its own."""

    def __init__(self) -> None:
        piece: dict[str, JSONValue] = {
            "contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": " again"}, "p": "abcdefghijklm"}
        }
        self._frame = frame_of(piece)
        self._left = COUNT

    def __len__(self) -> int:
        return self._left

    def pop(self, _index: int) -> bytes:
        self._left -= 1
        return bytes(bytearray(self._frame))


def client() -> BedrockClient:
    """Return a client of one slow, long stream."""
    response = CannedResponse(headers={"content-type": CONTENT_TYPE})
    endless: Any = Endless()
    response._pieces = endless
    return BedrockClient(
        region="us-east-1", credentials=Credentials("id", "secret"), transport=CannedTransport([response])
    )


async def grown(monkeypatch: pytest.MonkeyPatch, *, accumulate: bool) -> int:
    """Return the bytes that the second half of a stream adds to what it holds, thirty events a second."""
    ticks = count(1)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: next(ticks) / 30)
    stream = client().stream(MODEL, "go on", accumulate=accumulate)
    for _ in range(COUNT // 2):
        await anext(stream)
    tracemalloc.start()
    try:
        for _ in range(COUNT // 2):
            await anext(stream)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    stream.abort()
    return held


async def test_a_slow_stream_keeps_little_more_than_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 events of 6 letters add less than 25 bytes each; as objects they would be some 400."""
    assert await grown(monkeypatch, accumulate=True) < 25 * COUNT // 2


async def test_slow_streams_that_began_together_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """With each event of 64 streams only a few join what they keep: no reader waits for the work of all of them."""
    events = count(1)
    now = [next(events) / 30]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
    streams = [client().stream(MODEL, "go on") for _ in range(64)]
    kept = [0] * len(streams)
    joined: list[int] = []
    for _ in range(300):
        now[0] = next(events) / 30
        for stream in streams:
            await anext(stream)
        before, kept = kept, [len(stream._seen) for stream in streams]
        joined.append(sum(after < least for after, least in zip(kept, before, strict=True)))
    for stream in streams:
        stream.abort()
    assert sum(joined) >= 2 * len(streams)
    assert max(joined) <= 4


async def test_a_stream_that_accumulates_nothing_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``accumulate=False`` memory does not depend on the length of the stream."""
    assert await grown(monkeypatch, accumulate=False) < 20_000


async def test_what_was_not_kept_is_not_promised() -> None:
    """Asking such a stream for its response says what to do, before anything is sent."""
    stream = client().stream(MODEL, "go on", accumulate=False)
    with pytest.raises(StreamError, match="accumulate=False"):
        await stream.get_final_response()
    with pytest.raises(StreamError, match="accumulate=False"):
        _ = stream.response_so_far
