"""The family of an invented vendor: the smallest one that works, and what tests break about it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from bedrock_async import ConverseRequest, ConverseResponse
from bedrock_async.families import (
    INTERFACE_VERSION,
    EmbeddingFacts,
    Embeddings,
    EmbedRequest,
    EventBuilder,
    FamilyContext,
    GeneratedImage,
    GeneratedVideo,
    ImageRequest,
    ModelProfile,
    NativeObject,
    NativeRequest,
    RankedDocument,
    RerankRequest,
    VideoRequest,
    decode_with,
    stop_reason,
    stream_with,
)

__all__ = ["Acme", "AcmeStudio", "giving", "raising", "read"]


class Acme:
    """Takes the last text, and max_tokens. ``methods`` replace those of the class."""

    name = "acme"
    interface_version = INTERFACE_VERSION
    models = ("acme.*",)
    verified = False

    def __init__(self, **methods: Callable[..., Any]) -> None:
        self.__dict__.update(methods)

    def supports(self, ctx: FamilyContext) -> Collection[str]:
        """Return one feature."""
        return {"max_tokens"}

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the turns as text, and whether the answer is to be streamed."""
        turns = [message.text for message in request.messages or ()]
        body: dict[str, Any] = {"prompt": "\n".join(turns), "stream": ctx.streaming}
        if request.inference_config is not None and request.inference_config.max_tokens is not None:
            body["sampling"] = {"limit": request.inference_config.max_tokens}
        return NativeRequest(body)

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Read a body as chunks are read."""
        return decode_with(read, body)

    def stream_decoder(self, ctx: FamilyContext) -> Any:  # noqa: ANN401 - tests give wrong ones
        """Read chunks as bodies are read."""
        return stream_with(read)


class AcmeStudio(Acme):
    """Embeds, three texts at a time, ranks, draws and films; its chat model only chats."""

    profiles: Mapping[str, ModelProfile] = {
        "acme.chat-*": ModelProfile(source="invented"),
        "acme.embed-*": ModelProfile(
            source="invented",
            output_modalities=frozenset({"embedding"}),
            embedding=EmbeddingFacts(max_inputs=3, dimensions=(2, 4)),
        ),
        "acme.rank-*": ModelProfile(source="invented", output_modalities=frozenset({"ranking"})),
        "acme.draw-*": ModelProfile(source="invented", output_modalities=frozenset({"image"})),
        "acme.film-*": ModelProfile(source="invented", output_modalities=frozenset({"video"})),
    }

    def encode_embed(self, request: EmbedRequest, ctx: FamilyContext) -> NativeRequest:
        """Return texts as they are and images as their format; what was not asked for is left out."""
        inputs = [each if isinstance(each, str) else f"a {each.format}" for each in request.inputs]
        asked = {"purpose": request.purpose, "dimensions": request.dimensions, "unit": request.normalize}
        given = {name: value for name, value in asked.items() if value is not None}
        return NativeRequest({"inputs": inputs, **given, **request.fields})

    def decode_embed(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> Embeddings:
        """Read ``{"vectors": [[...], ...], "tokens": n}``; the service counts where the model does not."""
        return Embeddings(body["vectors"], body.get("tokens"))

    def encode_rerank(self, request: RerankRequest, ctx: FamilyContext) -> NativeRequest:
        """Return query and documents."""
        return NativeRequest(
            {"query": request.query, "texts": list(request.documents), "most": request.top_n, **request.fields}
        )

    def decode_rerank(
        self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext
    ) -> Sequence[RankedDocument]:
        """Read ``{"ranks": [[index, score], ...]}``."""
        return [RankedDocument(index, score) for index, score in body["ranks"]]

    def encode_image(self, request: ImageRequest, ctx: FamilyContext) -> NativeRequest:
        """Return prompt, size and the number of images to begin with."""
        size = [request.width, request.height]
        return NativeRequest(
            {"prompt": request.prompt, "size": size, "from": len(request.images), **request.fields},
            accept="application/json",
        )

    def decode_image(
        self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext
    ) -> Sequence[GeneratedImage]:
        """Read ``{"drawings": [base64, ...]}``."""
        return [GeneratedImage(b64decode(drawing), "png") for drawing in body["drawings"]]

    def encode_video(self, request: VideoRequest, ctx: FamilyContext) -> NativeObject:
        """Return prompt and length."""
        return {"prompt": request.prompt, "seconds": request.duration_s, **request.fields}

    def video_object(self, ctx: FamilyContext) -> str:
        """Return the name that Amazon's video models give, which the emulator's jobs imitate."""
        return "output.mp4"

    def decode_video(self, name: str, data: bytes, ctx: FamilyContext) -> GeneratedVideo:
        """Return the bytes."""
        return GeneratedVideo(name, data, "mp4")


def read(native: NativeObject, events: EventBuilder) -> None:
    """Read ``{"text": ..., "finish": ..., "tokens": [in, out]}``; only the text must be there."""
    events.text(native["text"])
    events.stop(stop_reason(native.get("finish")))
    if "tokens" in native:
        events.usage(input_tokens=native["tokens"][0], output_tokens=native["tokens"][1])


def giving(value: object) -> Callable[..., Any]:
    """Return a method that gives a value, whatever it is given."""

    def give(*arguments: object) -> Any:  # noqa: ANN401 - of any type
        return value

    return give


def raising(error: Exception) -> Callable[..., Any]:
    """Return a method that fails."""

    def fail(*arguments: object) -> Any:  # noqa: ANN401 - never returns
        raise error

    return fail
