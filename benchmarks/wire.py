"""The bytes that the server sends, made before anyone asks for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import cycle, islice
from typing import NamedTuple

from bedrock_async.testing.frames import Padding, chunk_frame, event_frame
from bedrock_async.types import JSONValue

from .contract import TOOL_NAME
from .scenarios import WORDS, Plan


class Script(NamedTuple):
    """The writes of one stream, in its three acts; each write is one HTTP chunk or several."""

    opening: bytes
    body: Sequence[bytes]
    ending: bytes


@lru_cache
def stream_script(plan: Plan, *, native: bool) -> Script:
    """Return what a stream consists of: its first delta is part of the opening where others wait for it."""
    first, deltas, last = native_frames(plan) if native else converse_frames(plan)
    early = 1 if plan.mode in {"hold", "gate", "paced"} else 0
    opening = chunk(b"".join([*first, *deltas[:early]]))
    rest = deltas[early:]
    if plan.chunk_bytes:
        whole = b"".join(rest)
        body = [whole[at : at + plan.chunk_bytes] for at in range(0, len(whole), plan.chunk_bytes)]
    else:
        step = plan.frames_per_write
        body = [b"".join(rest[at : at + step]) for at in range(0, len(rest), step)]
    return Script(opening, [chunk(piece) for piece in body], chunk(b"".join(last)) + b"0\r\n\r\n")


def chunk(data: bytes) -> bytes:
    """Return bytes as one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def delta_frame(text: str, *, native: bool, padding: str = "abcdefgh") -> bytes:
    """Return the frame of one text delta."""
    return _native_delta(text, padding, tool=False) if native else _delta(text, padding, tool=False)


def converse_frames(plan: Plan) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return the frames before the deltas, the deltas, and the frames after them, padded as the service does."""
    padding = Padding()

    def frame(name: str, **members: JSONValue) -> bytes:
        return event_frame(name, members, padding=padding.next())

    first = [frame("messageStart", role="assistant")]
    tool = plan.content == "tool"
    if tool:
        start: JSONValue = {"toolUse": {"name": TOOL_NAME, "toolUseId": "tooluse_kZJMlvQmRJ6eAyJE5GIl7Q"}}
        first.append(frame("contentBlockStart", contentBlockIndex=0, start=start))
    deltas = [_delta(piece, padding.next(), tool=tool) for piece in _pieces(plan)]
    usage: JSONValue = {"inputTokens": 21, "outputTokens": plan.deltas, "totalTokens": 21 + plan.deltas}
    last = [
        frame("contentBlockStop", contentBlockIndex=0),
        frame("messageStop", stopReason="tool_use" if tool else "end_turn"),
        frame("metadata", metrics={"latencyMs": 812}, usage=usage),
    ]
    return first, deltas, last


def native_frames(plan: Plan) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return the same stream in the native form of Anthropic's models."""
    tool = plan.content == "tool"
    usage: JSONValue = {"input_tokens": 21, "output_tokens": 1}
    message: JSONValue = {
        "id": "msg_bdrk_01",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    block: JSONValue = {"type": "text", "text": ""}
    if tool:
        block = {"type": "tool_use", "id": "toolu_bdrk_01", "name": TOOL_NAME, "input": {}}
    padding = Padding()
    deltas = [_native_delta(piece, padding.next(), tool=tool) for piece in _pieces(plan)]
    first: list[dict[str, JSONValue]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
    ]
    stop: JSONValue = {"stop_reason": "tool_use" if tool else "end_turn", "stop_sequence": None}
    last: list[dict[str, JSONValue]] = [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": {"output_tokens": plan.deltas}},
        {"type": "message_stop"},
    ]
    return [*map(chunk_frame, first)], deltas, [*map(chunk_frame, last)]


@lru_cache
def answer(plan: Plan, *, native: bool) -> bytes:
    """Return the JSON body of an answer that is no stream."""
    text = "".join(WORDS) * 6
    if plan.response_chars:
        text = (text * (plan.response_chars // len(text) + 1))[: plan.response_chars]
    body: dict[str, JSONValue] = {
        "metrics": {"latencyMs": 812},
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 21, "outputTokens": 60, "totalTokens": 81, "serverToolUsage": {}},
    }
    if native:
        body = {
            "id": "msg_bdrk_01",
            "type": "message",
            "role": "assistant",
            "model": "claude",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 21, "output_tokens": 60},
        }
    return json.dumps(body).encode()


@lru_cache
def decode_body(plan: Plan, *, native: bool) -> bytes:
    """Return a stream's body without the HTTP around it."""
    return b"".join(b"".join(frames) for frames in (native_frames(plan) if native else converse_frames(plan)))


def _pieces(plan: Plan) -> Iterable[str]:
    return islice(cycle(plan.pieces()), plan.deltas)


# The same few hundred deltas come over and over.
@lru_cache(maxsize=4096)
def _delta(piece: str, padding: str, *, tool: bool) -> bytes:
    delta: JSONValue = {"toolUse": {"input": piece}} if tool else {"text": piece}
    return event_frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta}, padding=padding)


@lru_cache(maxsize=4096)
def _native_delta(piece: str, padding: str, *, tool: bool) -> bytes:
    text: JSONValue = {"type": "text_delta", "text": piece}
    delta: JSONValue = {"type": "input_json_delta", "partial_json": piece} if tool else text
    return chunk_frame({"type": "content_block_delta", "index": 0, "delta": delta}, padding=padding)
