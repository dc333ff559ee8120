"""Tasks that only some families support: embeddings, reranking, images, video, token counting; a protocol for each.

A family implements those that its models support, in addition to the chat methods or without supporting chat;
``isinstance(family, Embeds)`` tells whether it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from ..types import ConverseRequest, ImageBlock, ResponseMeta, VideoBlock
from ._protocol import FamilyContext, NativeObject, NativeRequest

EmbedInput: TypeAlias = str | ImageBlock | VideoBlock
"""What can be embedded: text, or an image or video if the model accepts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """The inputs to embed in one request, at most the profile's ``embedding.max_inputs``.

    None means the model's default. ``fields`` are merged over the native body.
    """

    inputs: Sequence[EmbedInput]
    purpose: Literal["document", "query", "classification", "clustering"] | str | None = None
    dimensions: int | None = None
    normalize: bool | None = None
    truncate: Literal["none", "start", "end"] | str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of the inputs, in the same order; ``input_tokens`` is None if they were not counted.

    ``metas`` describes the requests, in the order of the inputs; it is added by the client, not by the family.
    """

    vectors: Sequence[Sequence[float]]
    input_tokens: int | None = None
    metas: Sequence[ResponseMeta] = ()


@runtime_checkable
class Embeds(Protocol):
    """A family with embedding models."""

    def encode_embed(self, request: EmbedRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the native request. Raises InvalidRequestError for what the model does not support."""
        ...

    def decode_embed(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> Embeddings:
        """Return the vectors in a native body."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankRequest:
    """Documents to rank by their relevance to the query; ``top_n`` limits the results."""

    query: str
    documents: Sequence[str]
    top_n: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """A document, by its index in the request, and its relevance (0 to 1)."""

    index: int
    score: float


@runtime_checkable
class Reranks(Protocol):
    """A family with reranking models."""

    def encode_rerank(self, request: RerankRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the native request. Raises InvalidRequestError for what the model does not support."""
        ...

    def decode_rerank(
        self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext
    ) -> Sequence[RankedDocument]:
        """Return the ranked documents in a native body, the most relevant first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """An image to generate from a prompt or from other images. None means the model's default.

    ``width`` and ``height`` are in pixels, ``aspect_ratio`` is text such as ``"16:9"``. ``task`` is the model's own
    name of the task (``"INPAINTING"``), if it does not follow from the other members.
    """

    prompt: str | None = None
    negative_prompt: str | None = None
    images: Sequence[ImageBlock] = ()
    mask: ImageBlock | None = None
    count: int | None = None
    width: int | None = None
    height: int | None = None
    aspect_ratio: str | None = None
    seed: int | None = None
    format: str | None = None
    task: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """An image; ``finish_reason`` says why there is none (then ``data`` is empty), or how it was modified."""

    data: bytes
    format: str
    seed: int | None = None
    finish_reason: str | None = None


@runtime_checkable
class GeneratesImages(Protocol):
    """A family with models that generate images."""

    def encode_image(self, request: ImageRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the native request. Raises InvalidRequestError for what the model does not support."""
        ...

    def decode_image(
        self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext
    ) -> Sequence[GeneratedImage]:
        """Return the images in a native body."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRequest:
    """A video to generate from a prompt, optionally starting from images. None means the model's default."""

    prompt: str | None = None
    images: Sequence[ImageBlock] = ()
    duration_s: int | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    frames_per_second: int | None = None
    loop: bool | None = None
    seed: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class GeneratedVideo:
    """A video, from the S3 object that the service wrote; ``name`` is its key relative to the job's prefix."""

    name: str
    data: bytes
    format: str


@runtime_checkable
class GeneratesVideo(Protocol):
    """A family with models that generate video: asynchronously, with the result in S3."""

    def encode_video(self, request: VideoRequest, ctx: FamilyContext) -> NativeObject:
        """Return the ``modelInput`` of StartAsyncInvoke. Raises InvalidRequestError for what is not supported."""
        ...

    def video_object(self, ctx: FamilyContext) -> str:
        """Return the name of the object, relative to the job's prefix, that will hold the video."""
        ...

    def decode_video(self, name: str, data: bytes, ctx: FamilyContext) -> GeneratedVideo:
        """Return the video that an object contains."""
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """A family whose native bodies CountTokens can count (its member ``invokeModel``)."""

    def encode_count(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the native request to count, often the same as that of `ModelFamily.encode`."""
        ...
