"""What a call counts against a quota of tokens: estimated before it is made, and as the service reports it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import ceil
from typing import Final, cast

import msgspec

from ..native import METRICS
from ..types import (
    AudioBlock,
    ConverseRequest,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    TokenUsage,
    ToolResultBlock,
    VideoBlock,
)

BYTES_PER_TOKEN: Final = 4
"""Of UTF-8: four letters of English, a good character of Chinese."""
IMAGE_TOKENS: Final = 1_600
"""What a large image counts for Claude, which makes it smaller first."""
_DOCUMENT_BYTES_PER_TOKEN: Final = 40
_FILM_BYTES_PER_TOKEN: Final = 1_000
DEFAULT_OUTPUT_TOKENS: Final = 4_096


class Counted(msgspec.Struct, frozen=True):
    """What a call is estimated at; ``burndown`` is what one of its output tokens counts."""

    input_tokens: int
    output_tokens: int
    burndown: float

    @property
    def reserved(self) -> int:
        """What is reserved for it."""
        return self.input_tokens + ceil(self.output_tokens * self.burndown)

    def used(self, usage: object) -> int | None:
        """Return what counts of the tokens that were used, None where nothing is known.

        Tokens read from the cache do not count.  [Bedrock user guide, "How tokens are counted"]
        """
        if not isinstance(usage, TokenUsage) or not (usage.input_tokens or usage.output_tokens):
            return None
        written = usage.cache_write_input_tokens or 0
        return usage.input_tokens + written + ceil(usage.output_tokens * self.burndown)


def estimated_tokens(request: ConverseRequest) -> int:
    """Return how many input tokens a request has, roughly: what is right is known with the answer."""
    size = sum(_tokens(block) for message in request.messages or () for block in message.content)
    for block in request.system or ():
        size += _tokens(block)
    if request.tool_config is not None:
        size += len(request.tool_config.to_wire_bytes()) / BYTES_PER_TOKEN
    return max(1, ceil(size))


def estimated_tokens_of_body(body: bytes) -> int:
    """Return the same of a native body."""
    return max(1, ceil(len(body) / BYTES_PER_TOKEN))


def _tokens(block: object) -> float:
    match block:
        case TextBlock():
            return len(block.text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN
        case ImageBlock():
            return IMAGE_TOKENS
        case DocumentBlock():
            text = block.source.text or ""
            return len(block.source.bytes or b"") / _DOCUMENT_BYTES_PER_TOKEN + len(text) / BYTES_PER_TOKEN
        case VideoBlock() | AudioBlock():
            return len(block.source.bytes or b"") / _FILM_BYTES_PER_TOKEN
        case ToolResultBlock():
            return sum(map(_tokens, block.content or ()))
        case _:
            to_wire = getattr(block, "to_wire", None)
            return len(json.dumps(to_wire())) / BYTES_PER_TOKEN if callable(to_wire) else 0


def counted_in_headers(headers: Mapping[str, str]) -> TokenUsage | None:
    """Return the usage that the headers of a native answer tell."""
    return _usage(headers.get("x-amzn-bedrock-input-token-count"), headers.get("x-amzn-bedrock-output-token-count"))


def counted_in_metrics(chunk: bytes) -> TokenUsage | None:
    """Return the usage that a native chunk tells, None for any but the last one."""
    if METRICS.encode() not in chunk:
        return None
    try:
        metrics = _object(_object(json.loads(chunk)).get(METRICS))
    except (ValueError, RecursionError):
        return None
    return _usage(metrics.get("inputTokenCount"), metrics.get("outputTokenCount"))


def _object(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _usage(read: object, written: object) -> TokenUsage | None:
    counts = [int(str(each)) if str(each).isascii() and str(each).isdigit() else 0 for each in (read, written)]
    return TokenUsage(input_tokens=counts[0], output_tokens=counts[1]) if any(counts) else None
