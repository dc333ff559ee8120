"""Why an answer ended, in Converse's words."""

from __future__ import annotations

from bedrock_async.families import EventBuilder, stop_reason


def tell_stop_reason(native: object, events: EventBuilder) -> None:
    """Tell why the model stopped; COMPLETE is also its word for an answer that calls tools."""
    reason = stop_reason(native, error_toxic="content_filtered", error_limit="model_context_window_exceeded")
    events.stop("tool_use" if reason == "end_turn" and events.has_tool_use else reason)
