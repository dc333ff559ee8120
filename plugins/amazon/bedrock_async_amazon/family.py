"""The family: it chooses the dialect of each of Amazon's models."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from bedrock_async.families import (
    Embeddings,
    EmbedRequest,
    EventBuilder,
    FamilyContext,
    GeneratedImage,
    GeneratedVideo,
    ImageRequest,
    NativeDecoder,
    NativeObject,
    NativeRequest,
    VideoRequest,
)
from bedrock_async.types import ConverseRequest, ConverseResponse

from .embeddings import read_embedding, write_embedding
from .facts import PROFILES
from .images import read_images, write_image
from .nova_reading import NovaDecoder, read_nova
from .nova_writing import nova_features, write_nova
from .titan_text import TITAN_TEXT_FEATURES, TitanTextDecoder, read_titan_text, write_titan_text
from .videos import OUTPUT, read_video, write_video


class AmazonFamily:
    """Nova and Titan models: chat, text, embeddings, images and video.

    ``provider_options={"text_completion": True}`` sends Titan Text the text unchanged, to be continued; by default it
    gets a dialogue, as Converse writes it.
    """

    name = "amazon"
    interface_version = 1
    models = ("amazon.nova-*", "amazon.titan-*")
    # This covers text and embeddings; images, videos and segmented embeddings were never recorded.
    verified = True
    profiles = PROFILES

    def supports(self, ctx: FamilyContext) -> Collection[str]:
        """Return what the model's dialect can express."""
        return TITAN_TEXT_FEATURES if _is_titan(ctx) else nova_features(ctx)

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body of Nova's messages, or of Titan's prompt."""
        write = write_titan_text if _is_titan(ctx) else write_nova
        return NativeRequest(write(request, ctx))

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Return the response of a whole answer."""
        if not _is_titan(ctx):
            return read_nova(body)
        events = EventBuilder()
        read_titan_text(body, events, ctx)
        return events.response()

    def stream_decoder(self, ctx: FamilyContext) -> NativeDecoder:
        """Return a decoder of Nova's events, or of Titan's chunks."""
        return TitanTextDecoder(ctx) if _is_titan(ctx) else NovaDecoder()

    def encode_embed(self, request: EmbedRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body for one input."""
        return NativeRequest(write_embedding(request, ctx))

    def decode_embed(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> Embeddings:
        """Return the vector, and Titan's token count."""
        return read_embedding(body)

    def encode_image(self, request: ImageRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body of a task of Titan Image Generator or Nova Canvas."""
        return NativeRequest(write_image(request, ctx))

    def decode_image(
        self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext
    ) -> Sequence[GeneratedImage]:
        """Return the images, and why some were withheld."""
        return read_images(body)

    def encode_video(self, request: VideoRequest, ctx: FamilyContext) -> NativeObject:
        """Return the input of a Nova Reel job."""
        return write_video(request, ctx)

    def video_object(self, ctx: FamilyContext) -> str:
        """Return the name of the object that holds the video."""
        return OUTPUT

    def decode_video(self, name: str, data: bytes, ctx: FamilyContext) -> GeneratedVideo:
        """Return the video that an object holds."""
        return read_video(name, data)


def _is_titan(ctx: FamilyContext) -> bool:
    return ctx.base_model.startswith("amazon.titan-")
