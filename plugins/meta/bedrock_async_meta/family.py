"""The family: what each generation's prompt can express."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from bedrock_async.families import FamilyContext, NativeDecoder, NativeObject, NativeRequest
from bedrock_async.types import ConverseRequest, ConverseResponse

from .reading import LlamaDecoder
from .templates import template_of
from .writing import write_body

_PROMPT: Final = frozenset({"max_tokens", "system", "temperature", "top_p"})


class MetaFamily:
    """Llama 2 to 4.

    A call has two ``provider_options``: ``raw_prompt`` sends the request's texts as the prompt, without a template;
    ``today`` is the date in the templates of 3.1 to 3.3, written as in ``"26 Jul 2024"``, their default.
    """

    name = "meta"
    interface_version = 1
    models = ("meta.*",)
    verified = True

    def supports(self, ctx: FamilyContext) -> Collection[str]:
        """Return what the model's template can express."""
        features = set(_PROMPT)
        if ctx.options.get("raw_prompt"):
            return features
        if template_of(ctx.base_model) is not None:
            features.add("system_messages")
            if ctx.profile.tools:
                features.add("tools")
            # "Llama 3.2 and later models add images to the request structure"  [user guide, "Meta Llama models"]
            if "image" in ctx.profile.input_modalities:
                features.add("images")
        return features

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body: the prompt, the images and the settings."""
        return NativeRequest(write_body(request, ctx))

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Return the response of a whole answer."""
        decoder = LlamaDecoder()
        decoder.read(body)
        decoder.flush()
        return decoder.events.response()

    def stream_decoder(self, ctx: FamilyContext) -> NativeDecoder:
        """Return a decoder of chunks."""
        return LlamaDecoder()
