"""The limits of media in a request, checked before it is sent: sizes, numbers and pixels, with the place of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

from ..errors import InvalidRequestError
from ..families import MediaLimits
from ..types import AudioBlock, ConverseRequest, DocumentBlock, ImageBlock, ToolResultBlock, VideoBlock
from .media_formats import MediaKind, detect, image_size, what_it_is

__all__ = ["check_clip", "check_media", "megabytes"]

Medium: TypeAlias = ImageBlock | DocumentBlock | VideoBlock | AudioBlock

_MEBIBYTE: Final = 1024 * 1024
_OVERRIDE: Final = 'model_profile={"media": MediaLimits(...)} sets other limits, if they have changed.'


class _Placed(NamedTuple):
    block: Medium
    path: str


def check_media(request: ConverseRequest, limits: MediaLimits) -> None:
    """Refuse media beyond what the model takes. Raises InvalidRequestError with the path and the numbers.

    Media in S3 count, as far as the limits say so; their size is not known here.
    """
    media = [
        each
        for index, message in enumerate(request.messages or ())
        for each in _media(message.content, f"messages[{index}].content")
    ]
    images = [each for each in media if isinstance(each.block, ImageBlock)]
    _check_number("images", images, limits.images)
    documents = [
        each
        for each in media
        if isinstance(each.block, DocumentBlock) and (limits.s3_counts or each.block.source.s3_location is None)
    ]
    _check_number("documents", documents, limits.documents)
    _check_number("videos", [each for each in media if isinstance(each.block, VideoBlock)], limits.videos)
    for each in media:
        _check_size(each, limits)
    _check_pixels(images, limits)
    _check_sum(media, limits.inline_bytes)


def megabytes(size: int) -> str:
    """Return a number of bytes as people read it, in the unit of the limits: 1 MB is 1,048,576 bytes."""
    return f"{size / _MEBIBYTE:.2f}".rstrip("0").rstrip(".") + " MB"


def check_clip(block: VideoBlock | AudioBlock, path: str) -> None:
    """Refuse bytes that are a medium of another format than the one that is named. Raises InvalidRequestError."""
    data = block.source.bytes
    if data is None:
        return
    kind: MediaKind = "video" if isinstance(block, VideoBlock) else "audio"
    found = detect(kind, data)
    if found and block.format not in found:
        raise InvalidRequestError(
            f"{path}.format is {block.format!r}, but the {len(data)} bytes are {what_it_is(data)}.",
            path=f"{path}.format",
            hint=f"Pass format={found[0]!r}.",
        )


def _media(blocks: Iterable[object], path: str) -> Iterator[_Placed]:
    for place, block in enumerate(blocks):
        if isinstance(block, ImageBlock | DocumentBlock | VideoBlock | AudioBlock):
            yield _Placed(block, f"{path}[{place}].{block.tag}")
        elif isinstance(block, ToolResultBlock):
            yield from _media(block.content or (), f"{path}[{place}].toolResult.content")


def _check_number(what: str, given: list[_Placed], limit: int | None) -> None:
    if limit is not None and len(given) > limit:
        raise InvalidRequestError(
            f"the request has {len(given)} {what}; this model accepts {limit}.",
            path=given[limit].path,
            hint=f"Drop the earliest ones from the conversation, or ask about them in several requests. {_OVERRIDE}",
        )


def _check_size(given: _Placed, limits: MediaLimits) -> None:
    block, path = given
    data = block.source.bytes
    if data is None:
        return
    limit: int | None = None
    hint = "Pass it as an S3 object (from_s3), if the model accepts one."
    match block:
        case ImageBlock():
            limit = limits.image_bytes
            hint = "Scale it down: models see little more than 1,600 pixels per side."
        case DocumentBlock() if block.format not in limits.large_documents:
            limit = limits.document_bytes
            hint = "Split it, or extract its text."
        case VideoBlock():
            limit = limits.video_bytes
            hint = "Upload it to S3 and pass Video.from_s3(uri)."
        case _:
            pass
    if limit is not None and len(data) > limit:
        raise InvalidRequestError(
            f"{path}.source.bytes has {len(data)} bytes ({megabytes(len(data))}); this model accepts {limit} "
            f"({megabytes(limit)}) for a {block.format} {block.tag}.",
            path=f"{path}.source.bytes",
            hint=f"{hint} {_OVERRIDE}",
        )


def _check_pixels(images: list[_Placed], limits: MediaLimits) -> None:
    many = limits.many_images is not None and len(images) > limits.many_images
    limit = limits.many_images_side_px if many else limits.image_side_px
    if limit is None:
        return
    for block, path in images:
        size = image_size(block.source.bytes or b"")
        if size is None or max(size) <= limit:
            continue
        why = f" in a request with more than {limits.many_images} images" if many else ""
        raise InvalidRequestError(
            f"{path} has {size[0]} x {size[1]} pixels; at most {limit} per side are allowed{why}.",
            path=f"{path}.source.bytes",
            hint=f"Scale it down. {_OVERRIDE}",
        )


def _check_sum(media: list[_Placed], limit: int | None) -> None:
    total = sum(len(each.block.source.bytes or b"") for each in media) if limit is not None else 0
    if limit is not None and total > limit:
        largest = max(media, key=lambda each: len(each.block.source.bytes or b""))
        raise InvalidRequestError(
            f"the media of the request have {total} bytes ({megabytes(total)}) in all; this model accepts {limit} "
            f"({megabytes(limit)}).",
            path=f"{largest.path}.source.bytes",
            hint=f"Upload the larger ones to S3 and pass them with from_s3. {_OVERRIDE}",
        )
