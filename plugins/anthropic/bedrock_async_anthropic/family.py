"""The family: it chooses the dialect of each request; answers are told apart by their members."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from bedrock_async.families import (
    FEATURES,
    EventBuilder,
    FamilyContext,
    NativeDecoder,
    NativeObject,
    NativeRequest,
)
from bedrock_async.types import ConverseRequest, ConverseResponse

from .completions import COMPLETION_FEATURES, write_completion
from .reading import MessageDecoder, read_message
from .writing import write_messages

# What the Messages API on Bedrock cannot express.
_NOT_IN_MESSAGES: Final = frozenset(
    {
        *("audio", "guard_content", "prompt_variables", "response_field_paths", "s3_sources", "server_tools"),
        *("tool_changes", "unknown_members", "video"),
    }
)
_MESSAGE_FEATURES: Final = frozenset(FEATURES) - _NOT_IN_MESSAGES


class AnthropicFamily:
    """Claude models. ``provider_options={"text_completions": True}`` sends Claude 2 and Instant text completions.

    Claude 1 takes only that form. Claude 2 and Instant take both, and get messages by default, as every later model.
    """

    name = "anthropic"
    interface_version = 1
    models = ("anthropic.*",)
    verified = True

    def supports(self, ctx: FamilyContext) -> Collection[str]:
        """Return what the call's dialect can express."""
        if _completes(ctx):
            return COMPLETION_FEATURES
        return _MESSAGE_FEATURES if ctx.profile.system_messages else _MESSAGE_FEATURES - {"system_messages"}

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body of a message, or of a text completion."""
        write = write_completion if _completes(ctx) else write_messages
        return NativeRequest(write(request, ctx))

    def encode_count(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body to count: that of the call."""
        return self.encode(request, ctx)

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Return the response of a message or a text completion."""
        events = EventBuilder()
        read_message(body, events)
        return events.response()

    def stream_decoder(self, ctx: FamilyContext) -> NativeDecoder:
        """Return a decoder of the Messages API's events, or of text completions."""
        return MessageDecoder()


def _completes(ctx: FamilyContext) -> bool:
    return ctx.base_model.startswith("anthropic.claude-v1") or bool(ctx.options.get("text_completions"))
