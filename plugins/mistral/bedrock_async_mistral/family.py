"""The family: it chooses the dialect of each request; answers are told apart by their members."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Final, Literal, TypeAlias

from bedrock_async.families import (
    EventBuilder,
    FamilyContext,
    ModelProfile,
    NativeDecoder,
    NativeObject,
    NativeRequest,
    decode_with,
    find_profile,
    stream_with,
)
from bedrock_async.types import ConverseRequest, ConverseResponse

from .chat import (
    MISTRAL_CHAT_FEATURES,
    OPEN_CHAT_FEATURES,
    read_completion,
    write_mistral_chat,
    write_open_chat,
)
from .prompts import PROMPT_FEATURES, read_outputs, write_prompt

Dialect: TypeAlias = Literal["prompt", "mistral_chat", "open_chat"]
"""A native form of requests and answers."""

# [user guide, "Mistral AI text completion", "Mistral AI chat completion"]
_PROMPT_MODELS: Final = ("mistral.mistral-7b-*", "mistral.mixtral-*")
_MISTRAL_CHAT_MODELS: Final = (
    "mistral.mistral-large-2402-*",
    "mistral.mistral-large-2407-*",
    "mistral.mistral-small-2402-*",
    "mistral.pixtral-large-2502-*",
)

# Where the user guide's model cards differ from the built-in table.
_PROFILES: Final[Mapping[str, ModelProfile]] = {
    "mistral.mistral-large-2402-*": replace(
        find_profile("mistral.mistral-large-2402-v1:0"),
        source="user guide, model card of Mistral Large",
        max_output_tokens=4_096,
    ),
    "mistral.pixtral-large-2502-*": replace(
        find_profile("mistral.pixtral-large-2502-v1:0"),
        source="user guide, model card of Pixtral Large",
        max_output_tokens=16_384,
    ),
}


class MistralFamily:
    """Mistral's models: prompts for 7B and Mixtral, chat for all others.

    A call has two ``provider_options``: ``text_completions`` sends a prompt to Large and Small 24.02, which take both
    forms; ``raw_prompt`` sends the request's texts as the prompt, without a template.
    """

    name = "mistral"
    interface_version = 1
    models = ("mistral.*",)
    verified = True
    profiles = _PROFILES

    def supports(self, ctx: FamilyContext) -> Collection[str]:
        """Return what the call's dialect can express."""
        match _dialect(ctx):
            case "prompt":
                return PROMPT_FEATURES
            case "mistral_chat":
                features = MISTRAL_CHAT_FEATURES
            case "open_chat":
                features = OPEN_CHAT_FEATURES
        return features | {"images"} if "image" in ctx.profile.input_modalities else features

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body of a text completion or of a chat completion."""
        match _dialect(ctx):
            case "prompt":
                return NativeRequest(write_prompt(request, ctx))
            case "mistral_chat":
                return NativeRequest(write_mistral_chat(request, ctx))
            case "open_chat":
                return NativeRequest(write_open_chat(request, ctx))

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Return the response of an answer in any of the dialects."""
        return decode_with(_read, body)

    def stream_decoder(self, ctx: FamilyContext) -> NativeDecoder:
        """Return a decoder of chunks in any of the dialects."""
        return stream_with(_read)


def _dialect(ctx: FamilyContext) -> Dialect:
    model = ctx.base_model
    if ctx.options.get("raw_prompt") or _fits(model, _PROMPT_MODELS):
        return "prompt"
    if not _fits(model, _MISTRAL_CHAT_MODELS):
        return "open_chat"
    return "prompt" if ctx.options.get("text_completions") and "-2402-" in model else "mistral_chat"


def _fits(model: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(model, pattern) for pattern in patterns)


def _read(native: NativeObject, events: EventBuilder) -> None:
    if "outputs" in native:
        read_outputs(native, events)
    else:
        read_completion(native, events)
