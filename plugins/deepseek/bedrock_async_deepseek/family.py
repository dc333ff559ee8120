"""The family: R1 completes a prompt, every other model takes chat completions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from bedrock_async.families import FamilyContext, NativeDecoder, NativeObject, NativeRequest
from bedrock_async.families.chat_form import ChatForm, ChatFormFamily
from bedrock_async.types import ConverseRequest, ConverseResponse

from .completions import COMPLETION_FEATURES, CompletionDecoder, write_completion

# How InvokeModel encloses the reasoning of gpt-oss (recorded) and Kimi K2 (published trials); for V3 it is inferred
# from these.
_V3: Final = ChatForm(
    name="deepseek",
    models=("deepseek.*",),
    content_parts=False,
    reasoning_tags=("<reasoning>", "</reasoning>"),
)


class DeepSeekFamily(ChatFormFamily):
    """R1, V3.1 and V3.2."""

    def __init__(self) -> None:
        super().__init__(_V3)

    def supports(self, ctx: FamilyContext) -> Collection[str]:
        """Return what the model's dialect can express."""
        return COMPLETION_FEATURES if _completes(ctx) else super().supports(ctx)

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body of a completion, or of a chat completion."""
        return NativeRequest(write_completion(request, ctx)) if _completes(ctx) else super().encode(request, ctx)

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Return the response of a whole answer."""
        if not _completes(ctx):
            return super().decode(body, headers, ctx)
        decoder = CompletionDecoder()
        decoder.read(body)
        decoder.flush()
        return decoder.events.response()

    def stream_decoder(self, ctx: FamilyContext) -> NativeDecoder:
        """Return a decoder of chunks."""
        return CompletionDecoder() if _completes(ctx) else super().stream_decoder(ctx)


def _completes(ctx: FamilyContext) -> bool:
    return ctx.base_model.startswith("deepseek.r1-")
