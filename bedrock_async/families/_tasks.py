"""What only some families do: embeddings, reranking, images, video, counting. Each is a small protocol of its own.

A family implements those that its models can do, beside or in place of the chat methods' support for them; which one a
family has is asked with ``isinstance(family, Embeds)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from ..types import ConverseRequest, ImageBlock, ResponseMeta, VideoBlock
from ._protocol import FamilyContext, NativeObject, NativeRequest

EmbedInput: TypeAlias = str | ImageBlock | VideoBlock
"""What can be embedded: text, or a medium where the model takes one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """Inputs to embed in one request: never more than the profile's ``embedding.max_inputs``.

    None means the model's own default. ``fields`` are merged over the native body.
    """

    inputs: Sequence[EmbedInput]
    purpose: Literal["document", "query", "classification", "clustering"] | str | None = None
    dimensions: int | None = None
    normalize: bool | None = None
    truncate: Literal["none", "start", "end"] | str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of the inputs, in their order; ``input_tokens`` is None where nobody counted.

    ``metas`` tell of the requests, in the order of the inputs; that is the client's to add, not the family's.
    """

    vectors: Sequence[Sequence[float]]
    input_tokens: int | None = None
    metas: Sequence[ResponseMeta] = ()


@runtime_checkable
class Embeds(Protocol):
    """A family with embedding models."""

    def encode_embed(self, request: EmbedRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the native request. Raises InvalidRequestError for what the model cannot do."""
        ...

    def decode_embed(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> Embeddings:
        """Return the vectors of a native body."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankRequest:
    """Documents to be ordered by how well they answer the query; ``top_n`` limits the answer."""

    query: str
    documents: Sequence[str]
    top_n: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """A document by its index in the request, and how relevant it is (0 to 1)."""

    index: int
    score: float


@runtime_checkable
class Reranks(Protocol):
    """A family with reranking models."""

    def encode_rerank(self, request: RerankRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the native request. Raises InvalidRequestError for what the model cannot do."""
        ...

    def decode_rerank(
        self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext
    ) -> Sequence[RankedDocument]:
        """Return the documents of a native body, the best first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """An image to make from a prompt, or to make from other images. None means the model's own default.

    ``width`` and ``height`` are in pixels, ``aspect_ratio`` is text such as ``"16:9"``. ``task`` is the model's own
    name of what to do (``"INPAINTING"``), where it is not to be told from the rest.
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
    """An image; ``finish_reason`` says why there is none (``data`` is empty then), or what was done to it."""

    data: bytes
    format: str
    seed: int | None = None
    finish_reason: str | None = None


@runtime_checkable
class GeneratesImages(Protocol):
    """A family with models that make images."""

    def encode_image(self, request: ImageRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the native request. Raises InvalidRequestError for what the model cannot do."""
        ...

    def decode_image(
        self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext
    ) -> Sequence[GeneratedImage]:
        """Return the images of a native body."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRequest:
    """A video to make from a prompt, and from images to begin with. None means the model's own default."""

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
    """A video, as the object in S3 that the service wrote; ``name`` is its key below the job's prefix."""

    name: str
    data: bytes
    format: str


@runtime_checkable
class GeneratesVideo(Protocol):
    """A family with models that make video: asynchronously, with the result in S3."""

    def encode_video(self, request: VideoRequest, ctx: FamilyContext) -> NativeObject:
        """Return the ``modelInput`` of StartAsyncInvoke. Raises InvalidRequestError for what the model cannot do."""
        ...

    def video_object(self, ctx: FamilyContext) -> str:
        """Return the name of the object, below the job's prefix, that will hold the video."""
        ...

    def decode_video(self, name: str, data: bytes, ctx: FamilyContext) -> GeneratedVideo:
        """Return the video that an object holds."""
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """A family whose native body CountTokens counts (its member ``invokeModel``)."""

    def encode_count(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the native request to be counted; often that of `ModelFamily.encode`."""
        ...
