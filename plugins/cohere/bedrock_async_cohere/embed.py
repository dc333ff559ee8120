"""Embed: texts, images, and both."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from bedrock_async.errors import InvalidRequestError
from bedrock_async.families import (
    Embeddings,
    EmbedInput,
    EmbedRequest,
    FamilyContext,
    NativeObject,
    NativeRequest,
    unsupported,
)
from bedrock_async.types import ImageBlock, WireModel

_PURPOSES: Final = {"document": "search_document", "query": "search_query"}
_IMAGE_PURPOSES: Final = frozenset({*_PURPOSES, *_PURPOSES.values(), "classification", "clustering", "image"})


def write_embed(request: EmbedRequest, ctx: FamilyContext) -> NativeRequest:
    """Return the body. Raises InvalidRequestError for what the model cannot do."""
    body: dict[str, Any] = {
        "input_type": _PURPOSES.get(request.purpose or "document", request.purpose),
        **_inputs(request, ctx),
    }
    if request.normalize is False:  # vectors of v3 and v4 have unit length  [corpus]
        raise _refused("vectors that are not normalised", ctx, path="normalize")
    if request.dimensions is not None:
        if not _is_v4(ctx):
            raise _refused("a choice of dimensions", ctx, path="dimensions")
        body["output_dimension"] = request.dimensions
    if request.truncate is not None:
        # The guide says LEFT and RIGHT for v4, which was recorded to take START and END.
        body["truncate"] = request.truncate.upper()
    return NativeRequest(body | dict(request.fields))


def _is_v4(ctx: FamilyContext) -> bool:
    return not ctx.base_model.endswith("-v3")


def _inputs(request: EmbedRequest, ctx: FamilyContext) -> dict[str, Any]:
    texts = [each for each in request.inputs if isinstance(each, str)]
    if len(texts) == len(request.inputs):
        return {"texts": texts}
    parts = [_part(each, ctx, f"inputs[{index}]") for index, each in enumerate(request.inputs)]
    images = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    if _is_v4(ctx):
        return {"images": images} if not texts else {"inputs": [{"content": [part]} for part in parts]}
    if len(request.inputs) > 1:
        raise InvalidRequestError(
            f"{ctx.base_model} embeds one image in a request, and no text beside it; there are {len(request.inputs)} "
            "inputs.",
            path="inputs",
            hint="Embed images one by one, or with cohere.embed-v4.",
        )
    # v3 has one input type for images; their vectors compare with those of documents and queries alike.
    if request.purpose is not None and request.purpose not in _IMAGE_PURPOSES:
        raise _refused(f"the purpose {request.purpose!r} of an image", ctx, path="purpose")
    return {"images": images, "input_type": "image"}


def _part(value: EmbedInput, ctx: FamilyContext, path: str) -> dict[str, Any]:
    if isinstance(value, str):
        return {"type": "text", "text": value}
    if not isinstance(value, ImageBlock):
        raise _refused(value, ctx, path=path)
    if value.source.bytes is None:
        raise _refused("s3_sources", ctx, path=f"{path}.source", hint="Pass the image as bytes.")
    data = b2a_base64(value.source.bytes, newline=False).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/{value.format};base64,{data}"}}


def _refused(
    what: str | WireModel, ctx: FamilyContext, *, path: str, hint: str = "Leave that out."
) -> InvalidRequestError:
    return unsupported(what, family="cohere", model=ctx.base_model, path=path, hint=hint)


def read_embed(body: NativeObject) -> Embeddings:
    """Return the vectors, of the number type that was asked for, floats by default. The service counts their tokens."""
    embeddings: object = body["embeddings"]
    if isinstance(embeddings, Mapping):  # by type, as v4 always gives them  [corpus]
        by_type = cast("Mapping[str, Any]", embeddings)
        embeddings = by_type["float"] if "float" in by_type else next(iter(by_type.values()))
    return Embeddings(cast("Sequence[Sequence[float]]", embeddings))
