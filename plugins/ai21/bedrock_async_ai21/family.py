"""The family: Jamba takes the common form of chat completions, Jurassic-2 a prompt."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from bedrock_async.families import FamilyContext, NativeObject, NativeRequest, decode_with
from bedrock_async.families.chat_form import ChatForm, ChatFormFamily
from bedrock_async.types import ConverseRequest, ConverseResponse

from .completions import COMPLETION_FEATURES, read_completion, write_completion

# The documented members of the body; answers have a member for tool calls, null if there are none.
# [user guide, "AI21 Labs Jamba models"; AI21, "Jamba chat completion"; corpus]
_FEATURES: Final = frozenset(
    {"max_tokens", "stop_sequences", "system", "system_messages", "temperature", "tools", "top_p"}
)
_FORM: Final = ChatForm(
    name="ai21",
    models=("ai21.*",),
    verified=True,
    features=_FEATURES,
    content_parts=False,
)


class AI21Family(ChatFormFamily):
    """Jamba and Jurassic-2."""

    def __init__(self) -> None:
        super().__init__(_FORM)

    def supports(self, ctx: FamilyContext) -> Collection[str]:
        """Return what the model's dialect can express; Jamba-Instruct has no tools."""
        if _completes(ctx):
            return COMPLETION_FEATURES
        return _FEATURES if ctx.profile.tools else _FEATURES - {"tools"}

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body of a chat completion, or of a completion."""
        return NativeRequest(write_completion(request)) if _completes(ctx) else super().encode(request, ctx)

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Return the response of either dialect; Jurassic-2 does not stream."""
        return decode_with(read_completion, body) if "completions" in body else super().decode(body, headers, ctx)


def _completes(ctx: FamilyContext) -> bool:
    return ctx.base_model.startswith("ai21.j2-")
