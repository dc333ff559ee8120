"""Embeddings of long content with Nova: a job that splits it into segments and writes a vector for each to S3.

::

    job = await client.start_async_invoke(
        "amazon.nova-2-multimodal-embeddings-v1:0",
        segmented_embedding(VideoBlock(format="mp4", source=source), segment_s=10),
        output_s3_uri="s3://bucket/prefix",
    )
    result = await job.result()
    summary = await result.decoded(read_segmentation, SUMMARY)
    for part in summary.parts:
        segments = await result.decoded(read_segments, part.name)

[Nova user guide, "Complete embeddings request and response schema"]
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from bedrock_async.errors import InvalidRequestError, ResponseDecodeError
from bedrock_async.types import AudioBlock, ImageBlock, S3Location, VideoBlock

from .embeddings import nova_medium, nova_purpose

SUMMARY: Final = "segmented-embedding-result.json"
"""The name of the object with the job's outcome and the names of the objects that hold the vectors."""

SegmentedContent: TypeAlias = str | S3Location | ImageBlock | VideoBlock | AudioBlock
"""What is split into segments: text, a text file in S3, or a medium in S3."""


def segmented_embedding(
    content: SegmentedContent,
    *,
    purpose: str | None = None,
    dimensions: int | None = None,
    truncate: str | None = None,
    segment_chars: int | None = None,
    segment_s: int | None = None,
    separate_audio: bool = False,
) -> dict[str, Any]:
    """Return the ``model_input`` of the job; None means the model's own default.

    ``purpose`` and ``truncate`` are those of `EmbedRequest`. Text is split after at most ``segment_chars`` characters
    (800 to 50,000), audio and video after ``segment_s`` seconds (1 to 30). ``separate_audio`` makes two vectors for
    each segment of a video, of the picture and of the sound. Raises InvalidRequestError for an argument that does not
    apply to the content.
    """
    params: dict[str, Any] = {"embeddingPurpose": nova_purpose(purpose)}
    if dimensions is not None:
        params["embeddingDimension"] = dimensions
    kind, members = _content(content, (truncate or "none").upper())
    for name, given, fits in (
        ("truncate", truncate, kind == "text"),
        ("segment_chars", segment_chars, kind == "text"),
        ("segment_s", segment_s, kind in {"audio", "video"}),
        ("separate_audio", separate_audio or None, kind == "video"),
    ):
        if given is not None and not fits:
            raise InvalidRequestError(f"{name} says nothing about {kind}.", path=name, hint="Leave it out.")
    if kind != "image":
        config = {"maxLengthChars": segment_chars, "durationSeconds": segment_s}
        members["segmentationConfig"] = {name: value for name, value in config.items() if value is not None}
    if separate_audio:
        members["embeddingMode"] = "AUDIO_VIDEO_SEPARATE"
    return {"taskType": "SEGMENTED_EMBEDDING", "segmentedEmbeddingParams": {**params, kind: members}}


def _content(content: SegmentedContent, truncation: str) -> tuple[str, dict[str, Any]]:
    match content:
        case str():
            return "text", {"truncationMode": truncation, "value": content}
        case S3Location():
            return "text", {"truncationMode": truncation, "source": {"s3Location": content.to_wire()}}
        case _:
            ((kind, members),) = nova_medium(content).items()
            return kind, members


@dataclass(frozen=True, slots=True)
class SegmentedPart:
    """The vectors of one kind (``"TEXT"``, ``"AUDIO_VIDEO_COMBINED"``): ``name`` is the object that holds them.

    ``status`` is ``SUCCESS``, ``PARTIAL_SUCCESS`` or a failure, which ``failure_reason`` and ``message`` explain;
    ``name`` is empty if nothing was written.
    """

    kind: str
    status: str
    name: str = ""
    failure_reason: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The outcome of a job: its parts, the dimensions of the vectors, and the source."""

    parts: tuple[SegmentedPart, ...]
    dimensions: int | None = None
    source_uri: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """The vector of one segment; empty if ``status`` says that it failed.

    ``start`` and ``end`` are character positions (``end`` is exclusive) or seconds; None if nothing was split.
    """

    vector: tuple[float, ...]
    index: int = 0
    start: float | None = None
    end: float | None = None
    truncated_chars: int | None = None
    status: str = "SUCCESS"
    failure_reason: str | None = None
    message: str | None = None


def read_segmentation(name: str, data: bytes) -> Segmentation:
    """Return the outcome in the object `SUMMARY`. Raises ResponseDecodeError."""
    try:
        told = _object(data)
        parts = [
            SegmentedPart(
                kind=part["embeddingType"],
                status=part["status"],
                name=str(part.get("outputFileUri") or "").rpartition("/")[2],
                failure_reason=part.get("failureReason"),
                message=part.get("message"),
            )
            for part in told["embeddingResults"]
        ]
    except (LookupError, TypeError, ValueError, RecursionError) as exc:
        raise _unreadable(name, data, exc) from exc
    return Segmentation(tuple(parts), told.get("embeddingDimension"), told.get("sourceFileUri"))


def read_segments(name: str, data: bytes) -> tuple[Segment, ...]:
    """Return the segments in an object with one JSON object per line. Raises ResponseDecodeError."""
    lines = [line for line in data.splitlines() if line.strip()]
    segments: list[Segment] = []
    for number, line in enumerate(lines, 1):
        try:
            segments.append(_segment(_object(line)))
        except (LookupError, TypeError, ValueError, RecursionError) as exc:
            raise _unreadable(f"line {number} of {name}", line, exc) from exc
    return tuple(segments)


def _segment(line: Mapping[str, Any]) -> Segment:
    place: Mapping[str, Any] = line.get("segmentMetadata") or {}
    status: str = line.get("status") or "SUCCESS"
    vector: list[float] = line["embedding"] if status == "SUCCESS" else line.get("embedding") or []
    return Segment(
        vector=tuple(vector),
        index=place.get("segmentIndex", 0),
        start=place.get("segmentStartCharPosition", place.get("segmentStartSeconds")),
        end=place.get("segmentEndCharPosition", place.get("segmentEndSeconds")),
        truncated_chars=place.get("truncatedCharLength"),
        status=status,
        failure_reason=line.get("failureReason"),
        message=line.get("message"),
    )


def _object(data: bytes) -> dict[str, Any]:
    value: object = json.loads(data)
    if not isinstance(value, dict):
        raise TypeError(f"JSON of type {type(value).__name__}, not an object")
    return cast("dict[str, Any]", value)


def _unreadable(what: str, data: bytes, exc: Exception) -> ResponseDecodeError:
    return ResponseDecodeError(
        f"{what} ({len(data)} bytes) is not as the service documents it: {type(exc).__name__}: {exc}.",
        body=data,
        hint="Check that a Nova embedding job wrote this object; if it did, report the error's `body`.",
    )
