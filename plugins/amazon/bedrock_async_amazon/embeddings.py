"""Embeddings of Titan (text, text and image) and Nova (text, image, video): one input in each request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bedrock_async.errors import InvalidRequestError, service_error
from bedrock_async.families import Embeddings, EmbedInput, EmbedRequest, FamilyContext, NativeObject, merged_body
from bedrock_async.types import AudioBlock, ImageBlock, VideoBlock

from .refusals import refused

# Nova's names; any other purpose is passed on in capitals ("TEXT_RETRIEVAL"). The body must have one.
# [Nova user guide, "Complete embeddings request and response schema"]
_PURPOSES: Final[Mapping[str, str]] = {
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
    "document": "GENERIC_INDEX",
    "query": "GENERIC_RETRIEVAL",
}


def write_embedding(request: EmbedRequest, ctx: FamilyContext) -> NativeObject:
    """Return the body for the one input. Raises InvalidRequestError for what the model cannot do."""
    if len(request.inputs) != 1:
        raise InvalidRequestError(
            f"{ctx.base_model or 'the model'} embeds one input in a request, and there are {len(request.inputs)}.",
            path="inputs",
            hint="client.embed() sends a request for each.",
        )
    write = next((write for prefix, write in _WRITERS.items() if ctx.base_model.startswith(prefix)), None)
    if write is None:
        raise InvalidRequestError(
            f"the family 'amazon' knows no embedding model {ctx.base_model or ctx.model.raw!r}.",
            path="model",
            hint="It knows amazon.titan-embed-text-v2:0, amazon.titan-embed-image-v1 and "
            "amazon.nova-2-multimodal-embeddings-v1:0.",
        )
    return merged_body(write(request, request.inputs[0], ctx), request.fields)


def _write_titan_1(request: EmbedRequest, content: EmbedInput, ctx: FamilyContext) -> dict[str, Any]:
    if request.dimensions is not None:
        raise refused("a choice of dimensions", ctx, path="dimensions")
    if request.normalize:  # its vectors have lengths of about 20  [recorded, 2024-04]
        raise refused("normalizing", ctx, path="normalize")
    _refuse_for_titan(request, ctx)
    return {"inputText": _text(content, ctx)}


def _write_titan_2(request: EmbedRequest, content: EmbedInput, ctx: FamilyContext) -> dict[str, Any]:
    _refuse_for_titan(request, ctx)
    members = {
        "inputText": _text(content, ctx),
        "dimensions": request.dimensions,
        "normalize": request.normalize,
    }
    return {name: value for name, value in members.items() if value is not None}


def _write_titan_image(request: EmbedRequest, content: EmbedInput, ctx: FamilyContext) -> dict[str, Any]:
    if request.normalize is not None:
        raise refused("a choice of normalizing", ctx, path="normalize")
    _refuse_for_titan(request, ctx)
    body: dict[str, Any] = {}
    if isinstance(content, ImageBlock):
        source = content.source.to_wire()
        if "bytes" not in source:
            raise refused("an image in S3", ctx, path="inputs[0].source", hint="Pass the image as bytes.")
        body["inputImage"] = source["bytes"]
    else:
        body["inputText"] = _text(content, ctx)
    if request.dimensions is not None:
        body["embeddingConfig"] = {"outputEmbeddingLength": request.dimensions}
    return body


def _refuse_for_titan(request: EmbedRequest, ctx: FamilyContext) -> None:
    """Refuse what no Titan model can express.

    Titan makes the same vectors for every purpose, so the common ones pass without a member; and it refuses text that
    is too long, which is what ``truncate="none"`` asks for.
    """
    if request.purpose is not None and request.purpose not in _PURPOSES:
        raise refused(f"the purpose {request.purpose!r}", ctx, path="purpose")
    if request.truncate not in {None, "none"}:
        raise refused("truncating", ctx, path="truncate")


def _text(content: EmbedInput, ctx: FamilyContext) -> str:
    if not isinstance(content, str):
        raise refused("an image" if isinstance(content, ImageBlock) else "a video", ctx, path="inputs[0]")
    return content


def _write_nova(request: EmbedRequest, content: EmbedInput, ctx: FamilyContext) -> dict[str, Any]:
    if request.normalize is False:  # its vectors have unit length  [recorded]
        raise refused("vectors that are not normalised", ctx, path="normalize")
    params: dict[str, Any] = {"embeddingPurpose": nova_purpose(request.purpose)}
    if request.dimensions is not None:
        params["embeddingDimension"] = request.dimensions
    if isinstance(content, str):
        # The service refuses text that is too long unless the caller says otherwise.
        params["text"] = {"truncationMode": (request.truncate or "none").upper(), "value": content}
    elif request.truncate not in {None, "none"}:
        raise refused("truncating a medium", ctx, path="truncate")
    else:
        params |= nova_medium(content)
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": params}


def nova_purpose(purpose: str | None) -> str:
    """Return Nova's name for a purpose; None means that of documents to be searched."""
    return _PURPOSES.get(purpose or "document") or str(purpose).upper()


def nova_medium(content: ImageBlock | VideoBlock | AudioBlock) -> dict[str, dict[str, Any]]:
    """Return the member of Nova's body that holds a medium; a video becomes one vector, of picture and sound."""
    members: dict[str, Any] = {"format": content.format, "source": content.source.to_wire()}
    match content:
        case ImageBlock():
            return {"image": members}
        case AudioBlock():
            return {"audio": members}
        case VideoBlock():
            members["format"] = "3gp" if content.format == "three_gp" else content.format
            return {"video": members | {"embeddingMode": "AUDIO_VIDEO_COMBINED"}}


_Write = Callable[[EmbedRequest, EmbedInput, FamilyContext], dict[str, Any]]
_WRITERS: Final[Mapping[str, _Write]] = {
    "amazon.titan-embed-text-v1": _write_titan_1,
    "amazon.titan-embed-g1-text-": _write_titan_1,
    "amazon.titan-embed-text-": _write_titan_2,
    "amazon.titan-embed-image-": _write_titan_image,
    "amazon.nova-2-multimodal-embeddings-": _write_nova,
}


def read_embedding(body: NativeObject) -> Embeddings:
    """Return the vectors of a body. Raises ServiceError for an error in it, KeyError for JSON of another form.

    Titan's token count is in the body; Nova's is in a header, which the family need not read.
    """
    if "embeddings" in body:
        return Embeddings([each["embedding"] for each in body["embeddings"]])
    if (message := body.get("message")) and not body.get("embedding"):
        raise service_error("ModelErrorException", str(message))
    return Embeddings([_vector(body)], body.get("inputTextTokenCount"))


def _vector(body: NativeObject) -> list[float]:
    if (vector := body.get("embedding")) is None:  # a type other than float was asked for: {"binary": [0, 1, ...]}
        (vector,) = body["embeddingsByType"].values()
    return list(vector)
