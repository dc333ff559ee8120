"""The family: Pegasus answers with text, Marengo embeds."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bedrock_async.families import (
    Embeddings,
    EmbedRequest,
    FamilyContext,
    NativeDecoder,
    NativeObject,
    NativeRequest,
    stream_with,
)
from bedrock_async.types import ConverseRequest, ConverseResponse

from .marengo import read_embeddings, write_embedding
from .pegasus import PEGASUS_FEATURES, decode_analysis, read_analysis, write_analysis


class TwelveLabsFamily:
    """Marengo Embed 2.7 and 3.0, Pegasus 1.2 and 1.5."""

    name = "twelvelabs"
    interface_version = 1
    models = ("twelvelabs.*",)
    verified = False

    def supports(self, ctx: FamilyContext) -> Collection[str]:
        """Return what Pegasus' body can express."""
        return PEGASUS_FEATURES

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the prompt and the video."""
        return NativeRequest(write_analysis(request, ctx))

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Return the response of a whole answer."""
        return decode_analysis(body)

    def stream_decoder(self, ctx: FamilyContext) -> NativeDecoder:
        """Return a decoder of chunks."""
        return stream_with(read_analysis)

    def encode_embed(self, request: EmbedRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body for one text or image."""
        return NativeRequest(write_embedding(request, ctx))

    def decode_embed(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> Embeddings:
        """Return the vector."""
        return read_embeddings(body)
