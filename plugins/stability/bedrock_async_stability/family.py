"""The family: images only, no conversations."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from bedrock_async.errors import InvalidRequestError
from bedrock_async.families import (
    FamilyContext,
    GeneratedImage,
    ImageRequest,
    NativeDecoder,
    NativeObject,
    NativeRequest,
    unsupported,
)
from bedrock_async.types import ConverseRequest, ConverseResponse

from .images import read_images, write_image


class StabilityFamily:
    """Models that make images from text or from other images, and services that change images."""

    name = "stability"
    interface_version = 1
    models = ("stability.*",)
    verified = False

    def encode_image(self, request: ImageRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body for the model or service."""
        return NativeRequest(write_image(request, ctx))

    def decode_image(
        self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext
    ) -> Sequence[GeneratedImage]:
        """Return the image, or why it was withheld."""
        return read_images(body)

    def supports(self, ctx: FamilyContext) -> Collection[str]:
        """Return nothing: there are no conversations."""
        return ()

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Raise InvalidRequestError: there are no conversations."""
        raise _no_conversation(ctx)

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Raise InvalidRequestError: there are no conversations."""
        raise _no_conversation(ctx)

    def stream_decoder(self, ctx: FamilyContext) -> NativeDecoder:
        """Raise InvalidRequestError: there are no conversations."""
        raise _no_conversation(ctx)


def _no_conversation(ctx: FamilyContext) -> InvalidRequestError:
    hint = "Call client.generate_image()."
    return unsupported("a conversation", family="stability", model=ctx.base_model, path="messages", hint=hint)
