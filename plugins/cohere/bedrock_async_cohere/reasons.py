"""Why an answer ended, in Converse's words."""

from __future__ import annotations

from bedrock_async.families import EventBuilder, stop_reason


def stopped(native: object, events: EventBuilder) -> None:
    """Tell why the model stopped. It says COMPLETE where it wants tools to be called, too."""
    reason = stop_reason(native, error_toxic="content_filtered", error_limit="model_context_window_exceeded")
    events.stop("tool_use" if reason == "end_turn" and events.has_tool_use else reason)
