"""Model families: the native dialects of vendors' models, behind one protocol. The names here are for plugin authors.

A family converts a `ConverseRequest` to a native body, and a native body or its chunks to a `ConverseResponse` or
events. `ModelFamily` is the protocol, `EventBuilder` keeps events in order, and `FamilyContract` of
`bedrock_async.testing` tests a family. No families are included: each is a distribution of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy

if TYPE_CHECKING:
    from ._content import document_text, misplaced_cache_point, tool_use_input
    from ._encoding import check_output_schema, encode_request, merged_body, native_body
    from ._events import EventBuilder, EventOrder, Read, decode_with, stop_reason, stream_with
    from ._features import FEATURES, features_used, unsupported
    from ._protocol import (
        INTERFACE_VERSION,
        FamilyContext,
        ModelFamily,
        NativeDecoder,
        NativeObject,
        NativeRequest,
    )
    from ._tasks import (
        CountsTokens,
        Embeddings,
        EmbedInput,
        EmbedRequest,
        Embeds,
        GeneratedImage,
        GeneratedVideo,
        GeneratesImages,
        GeneratesVideo,
        ImageRequest,
        RankedDocument,
        RerankRequest,
        Reranks,
        VideoRequest,
    )
    from .profiles import (
        UNKNOWN,
        CachedPart,
        EmbeddingFacts,
        MediaLimits,
        Modality,
        ModelProfile,
        OutputModality,
        ProfileFields,
        PromptCaching,
        ReasoningForm,
        ToolChoiceForm,
        find_profile,
    )

__all__ = [
    "FEATURES",
    "INTERFACE_VERSION",
    "UNKNOWN",
    "CachedPart",
    "CountsTokens",
    "EmbedInput",
    "EmbedRequest",
    "EmbeddingFacts",
    "Embeddings",
    "Embeds",
    "EventBuilder",
    "EventOrder",
    "FamilyContext",
    "GeneratedImage",
    "GeneratedVideo",
    "GeneratesImages",
    "GeneratesVideo",
    "ImageRequest",
    "MediaLimits",
    "Modality",
    "ModelFamily",
    "ModelProfile",
    "NativeDecoder",
    "NativeObject",
    "NativeRequest",
    "OutputModality",
    "ProfileFields",
    "PromptCaching",
    "RankedDocument",
    "Read",
    "ReasoningForm",
    "RerankRequest",
    "Reranks",
    "ToolChoiceForm",
    "VideoRequest",
    "check_output_schema",
    "decode_with",
    "document_text",
    "encode_request",
    "features_used",
    "find_profile",
    "merged_body",
    "misplaced_cache_point",
    "native_body",
    "stop_reason",
    "stream_with",
    "tool_use_input",
    "unsupported",
]

_HOME = {
    "._content": (
        "document_text",
        "misplaced_cache_point",
        "tool_use_input",
    ),
    "._encoding": (
        "check_output_schema",
        "encode_request",
        "merged_body",
        "native_body",
    ),
    "._events": (
        "EventBuilder",
        "EventOrder",
        "Read",
        "decode_with",
        "stop_reason",
        "stream_with",
    ),
    "._features": (
        "FEATURES",
        "features_used",
        "unsupported",
    ),
    "._protocol": (
        "INTERFACE_VERSION",
        "FamilyContext",
        "ModelFamily",
        "NativeDecoder",
        "NativeObject",
        "NativeRequest",
    ),
    "._tasks": (
        "CountsTokens",
        "Embeddings",
        "EmbedInput",
        "EmbedRequest",
        "Embeds",
        "GeneratedImage",
        "GeneratedVideo",
        "GeneratesImages",
        "GeneratesVideo",
        "ImageRequest",
        "RankedDocument",
        "RerankRequest",
        "Reranks",
        "VideoRequest",
    ),
    ".profiles": (
        "UNKNOWN",
        "CachedPart",
        "EmbeddingFacts",
        "MediaLimits",
        "Modality",
        "ModelProfile",
        "OutputModality",
        "ProfileFields",
        "PromptCaching",
        "ReasoningForm",
        "ToolChoiceForm",
        "find_profile",
    ),
}
if not TYPE_CHECKING:  # see `lazy`
    __getattr__, __dir__ = lazy(__name__, _HOME)
