"""The family: it chooses the dialect of each request; answers are told apart by their members."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from bedrock_async.families import (
    Embeddings,
    EmbedRequest,
    FamilyContext,
    NativeDecoder,
    NativeObject,
    NativeRequest,
    RankedDocument,
    RerankRequest,
    decode_with,
)
from bedrock_async.types import ConverseRequest, ConverseResponse

from .chat_reading import ChatReader
from .chat_writing import CHAT_FEATURES, write_chat
from .embed import read_embed, write_embed
from .generate import GENERATE_FEATURES, read_generations, write_generate

_API_VERSION: Final = 2


class CohereFamily:
    """Cohere's models: Command and Command R chat, Embed makes embeddings, Rerank ranks documents."""

    name = "cohere"
    interface_version = 1
    models = ("cohere.*",)
    verified = True

    def supports(self, ctx: FamilyContext) -> Collection[str]:
        """Return what the model's dialect can express."""
        return GENERATE_FEATURES if _completes(ctx) else CHAT_FEATURES

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body of a completion or of a chat."""
        return NativeRequest((write_generate if _completes(ctx) else write_chat)(request, ctx))

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Return the response of a completion or of a chat."""
        if "generations" in body:
            return decode_with(read_generations, body)
        reader = ChatReader()
        reader.read_answer(body)
        return reader.events.response()

    def stream_decoder(self, ctx: FamilyContext) -> NativeDecoder:
        """Return a decoder of a completion's chunks and of a chat's events."""
        return ChatReader()

    def encode_embed(self, request: EmbedRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body for texts, images or both. Raises InvalidRequestError for what the model cannot do."""
        return write_embed(request, ctx)

    def decode_embed(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> Embeddings:
        """Return the vectors."""
        return read_embed(body)

    def encode_rerank(self, request: RerankRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body, in version 2 of the API: the only one that the service takes."""
        body: dict[str, object] = {"query": request.query, "documents": list(request.documents)}
        if request.top_n is not None:
            body["top_n"] = request.top_n
        return NativeRequest({**body, "api_version": _API_VERSION, **request.fields})

    def decode_rerank(
        self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext
    ) -> Sequence[RankedDocument]:
        """Return the documents, most relevant first."""
        return [RankedDocument(result["index"], result["relevance_score"]) for result in body["results"]]


def _completes(ctx: FamilyContext) -> bool:
    return ctx.base_model.startswith(("cohere.command-text-", "cohere.command-light-text-"))
