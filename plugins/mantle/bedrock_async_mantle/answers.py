"""What both APIs report besides the content of an answer: tokens, and the service tier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from bedrock_async import Event, MetadataEvent
from bedrock_async.families import EventBuilder

__all__ = ["tell_usage", "with_service_tier"]


def tell_usage(events: EventBuilder, input_tokens: object, output_tokens: object, details: object) -> None:
    """Tell the tokens as Converse counts them: input excludes what was read from or written to the cache.

    OpenAI's input includes both.  [recorded: input 109, cache_write_tokens 107, total 114 with 5 of output]
    """
    told: Mapping[str, Any] = cast("Mapping[str, Any]", details) if isinstance(details, Mapping) else {}
    read, written = _count(told.get("cached_tokens")), _count(told.get("cache_write_tokens"))
    total = _count(input_tokens)
    events.usage(
        input_tokens=None if total is None else max(0, total - (read or 0) - (written or 0)),
        output_tokens=_count(output_tokens),
        cache_read_input_tokens=read,
        cache_write_input_tokens=written,
    )


def with_service_tier(events: list[Event], tier: object) -> list[Event]:
    """Return the last events of an answer, with the tier in its metadata if there is one ("auto" is none)."""
    if not isinstance(tier, str) or tier == "auto" or not events or not isinstance(events[-1], MetadataEvent):
        return events
    members = events[-1].to_wire()[MetadataEvent.wire_name]
    if isinstance(members, dict):
        told = {**members, "serviceTier": {"type": tier}}
        events[-1] = MetadataEvent.from_wire({MetadataEvent.wire_name: told})
    return events


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
