"""Marengo's embeddings: of one text or image directly, of audio and video through a job.

::

    job = await client.start_async_invoke(
        "twelvelabs.marengo-embed-3-0-v1:0",
        embedding_input("twelvelabs.marengo-embed-3-0-v1:0", video, embeddingScope=["clip"]),
        output_s3_uri="s3://bucket/prefix",
    )
    clips = await (await job.result()).decoded(read_clips)

[Bedrock user guide, "TwelveLabs Marengo Embed 2.7" and "TwelveLabs Marengo Embed 3.0"]
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from bedrock_async.errors import InvalidRequestError, ResponseDecodeError
from bedrock_async.families import Embeddings, EmbedRequest, FamilyContext, NativeObject, merged_body, unsupported
from bedrock_async.types import AudioBlock, ImageBlock, MediaSource, VideoBlock

Content: TypeAlias = str | ImageBlock | AudioBlock | VideoBlock
"""What Marengo embeds."""

# Its vectors are the same for all of these, so the body does not name one.
_PURPOSES: Final = frozenset({"classification", "clustering", "document", "query"})


def embedding_input(model: str, content: Content, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return the native input for a text or medium: the ``model_input`` of a job, or the body of InvokeModel.

    ``options`` are further members under the model's own names: ``startSec``, ``embeddingOption``; for Marengo 3.0
    ``endSec``, ``segmentation``, ``embeddingScope``, ``embeddingType``; for 2.7 ``lengthSec``, ``useFixedLengthSec``,
    ``minClipSec``, ``textTruncate``.
    """
    match content:
        case str():
            kind, members = "text", {"inputText": content}
        case ImageBlock():
            kind, members = "image", media_source(content.source)
        case AudioBlock():
            kind, members = "audio", media_source(content.source)
        case VideoBlock():
            kind, members = "video", media_source(content.source)
    members |= options
    # From 3.0 on, these members are nested in one named after the medium.
    return {"inputType": kind, **members} if _is_2_7(model) else {"inputType": kind, kind: members}


def media_source(source: MediaSource) -> dict[str, Any]:
    """Return the ``mediaSource`` member: base64 data, or a place in S3."""
    if source.bytes is not None:
        return {"mediaSource": {"base64String": b2a_base64(source.bytes, newline=False).decode("ascii")}}
    return {"mediaSource": source.to_wire()}


def _is_2_7(model: str) -> bool:
    return "marengo-embed-2-7-" in model


def write_embedding(request: EmbedRequest, ctx: FamilyContext) -> NativeObject:
    """Return the body of InvokeModel for the one input. Raises InvalidRequestError for what the model cannot do."""
    if ".marengo-" not in ctx.base_model:
        raise InvalidRequestError(
            f"the family 'twelvelabs' knows no embedding model {ctx.base_model or ctx.model.raw!r}.",
            path="model",
            hint="Its embedding models are called Marengo: twelvelabs.marengo-embed-3-0-v1:0.",
        )
    if len(request.inputs) != 1:
        raise InvalidRequestError(
            f"{ctx.base_model} embeds one input in a request, and there are {len(request.inputs)}.",
            path="inputs",
            hint="Send one request for each input.",
        )
    content = request.inputs[0]
    _check(request, content, ctx)
    options = {} if request.truncate is None else {"textTruncate": request.truncate}
    return merged_body(embedding_input(ctx.base_model, content, **options), request.fields)


def _check(request: EmbedRequest, content: Content, ctx: FamilyContext) -> None:
    """Refuse what the body cannot express."""
    if not isinstance(content, str | ImageBlock):
        # "Use InvokeModel to generate embeddings for search query. Use StartAsyncInvoke to generate embeddings for
        # assets at a large scale."
        hint = "Start a job: client.start_async_invoke(model, embedding_input(model, video), output_s3_uri=...)."
        raise _refused("a video for InvokeModel", "inputs[0]", ctx, hint=hint)
    made = ctx.profile.embedding.dimensions if ctx.profile.embedding is not None else ()
    if request.dimensions is not None and request.dimensions not in made:
        has = f"Its vectors have {made[0]} dimensions." if made else "Leave that out."
        raise _refused(f"{request.dimensions} dimensions", "dimensions", ctx, hint=has)
    if request.normalize is not None:
        raise _refused("a choice of normalizing", "normalize", ctx)
    if request.purpose is not None and request.purpose not in _PURPOSES:
        raise _refused(f"the purpose {request.purpose!r}", "purpose", ctx)
    if request.truncate is not None and not (_is_2_7(ctx.base_model) and isinstance(content, str)):
        raise _refused("a choice of truncating", "truncate", ctx)


def _refused(what: str, path: str, ctx: FamilyContext, *, hint: str = "Leave that out.") -> InvalidRequestError:
    return unsupported(what, family="twelvelabs", model=ctx.base_model, path=path, hint=hint)


def read_embeddings(body: NativeObject) -> Embeddings:
    """Return the vectors of a body. Raises KeyError, TypeError or ValueError for JSON of another form."""
    return Embeddings([item["embedding"] for item in _items(body)])


@dataclass(frozen=True, slots=True)
class Clip:
    """The vector of one clip, or of the whole: ``scope`` is ``"clip"`` or ``"asset"``, None from Marengo 2.7.

    ``option`` is what was embedded: ``"visual"``, ``"audio"``, ``"transcription"`` or ``"fused"``, from Marengo 2.7
    ``"visual-text"``, ``"visual-image"`` or ``"audio"``. It is None for text and images, as are the times.
    """

    vector: tuple[float, ...]
    option: str | None = None
    scope: str | None = None
    start_s: float | None = None
    end_s: float | None = None


def read_clips(name: str, data: bytes) -> tuple[Clip, ...]:
    """Return the clips in a job's ``output.json``; for `AsyncInvokeResult.decoded`. Raises ResponseDecodeError."""
    try:
        told: object = json.loads(data)
        if not isinstance(told, dict):
            raise TypeError(f"JSON of type {type(told).__name__}, not an object")
        return tuple(_clip(item) for item in _items(cast("dict[str, Any]", told)))
    except (LookupError, TypeError, ValueError, RecursionError) as exc:
        raise ResponseDecodeError(
            f"{name} ({len(data)} bytes) is not as the service documents it: {type(exc).__name__}: {exc}.",
            body=data,
            hint="Check that a Marengo embedding job wrote this object; if it did, report the error's `body`.",
        ) from exc


def _clip(item: Mapping[str, Any]) -> Clip:
    vector: list[float] = item["embedding"]
    return Clip(
        vector=tuple(vector),
        option=item.get("embeddingOption"),
        scope=item.get("embeddingScope"),
        start_s=item.get("startSec"),
        end_s=item.get("endSec"),
    )


def _items(body: NativeObject) -> list[Mapping[str, Any]]:
    """Return the items with vectors: one object in the user guide, a list as the service was seen to answer."""
    data: object = body.get("data", body)
    items = cast("list[Mapping[str, Any]]", data if isinstance(data, list) else [data])
    if not items:
        raise ValueError("there is no embedding")
    return items
