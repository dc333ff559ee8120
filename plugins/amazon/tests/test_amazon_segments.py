"""Embeddings of long content: the input of the job, and the objects that it writes."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final

import pytest
from bedrock_async_amazon import (
    SUMMARY,
    Segment,
    Segmentation,
    SegmentedPart,
    read_segmentation,
    read_segments,
    segmented_embedding,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import JSON_VALUES

from bedrock_async import InvalidRequestError, ResponseDecodeError
from bedrock_async.types import AudioBlock, ImageBlock, MediaSource, S3Location, VideoBlock

MODEL: Final = "amazon.nova-2-multimodal-embeddings-v1:0"
PLACE: Final = S3Location(uri="s3://bucket/key")
SOURCE: Final = MediaSource(s3_location=PLACE)
# The machines that run this are shared: there is no deadline for an example.
unhurried: Final = settings(deadline=None)
NATIVE: Final = {"s3Location": {"uri": "s3://bucket/key"}}


@pytest.mark.parametrize(
    ("content", "options", "native"),
    [
        (
            "A long text.",
            {"segment_chars": 800, "truncate": "end"},
            {"text": {"truncationMode": "END", "value": "A long text.", "segmentationConfig": {"maxLengthChars": 800}}},
        ),
        (PLACE, {}, {"text": {"truncationMode": "NONE", "source": NATIVE, "segmentationConfig": {}}}),
        (ImageBlock(format="png", source=SOURCE), {}, {"image": {"format": "png", "source": NATIVE}}),
        (
            AudioBlock(format="mp3", source=SOURCE),
            {"segment_s": 15},
            {"audio": {"format": "mp3", "source": NATIVE, "segmentationConfig": {"durationSeconds": 15}}},
        ),
        (
            VideoBlock(format="three_gp", source=SOURCE),
            {"separate_audio": True},
            {
                "video": {
                    "format": "3gp",
                    "source": NATIVE,
                    "embeddingMode": "AUDIO_VIDEO_SEPARATE",
                    "segmentationConfig": {},
                }
            },
        ),
    ],
    ids=["text", "file", "image", "audio", "video"],
)
def test_content_of_every_kind_becomes_the_input_of_a_job(
    content: Any,  # noqa: ANN401 - each kind
    options: dict[str, Any],
    native: dict[str, Any],
) -> None:
    """With the purpose, the dimensions and how it is cut."""
    wanted = {"embeddingPurpose": "GENERIC_INDEX", "embeddingDimension": 384, **native}
    assert segmented_embedding(content, dimensions=384, **options) == {
        "taskType": "SEGMENTED_EMBEDDING",
        "segmentedEmbeddingParams": wanted,
    }


@pytest.mark.parametrize(
    ("content", "options", "path"),
    [
        ("text", {"segment_s": 5}, "segment_s"),
        ("text", {"separate_audio": True}, "separate_audio"),
        (ImageBlock(format="png", source=SOURCE), {"segment_chars": 800}, "segment_chars"),
        (VideoBlock(format="mp4", source=SOURCE), {"truncate": "end"}, "truncate"),
    ],
)
def test_what_says_nothing_about_the_content_is_refused(
    content: Any,  # noqa: ANN401 - each kind
    options: dict[str, Any],
    path: str,
) -> None:
    """Nothing is dropped silently."""
    with pytest.raises(InvalidRequestError, match=f"{path} says nothing about") as caught:
        segmented_embedding(content, **options)
    assert caught.value.path == path


def lines(*objects: Any) -> bytes:  # noqa: ANN401 - JSON
    """An object of S3 with one JSON object in each line."""
    return b"\n".join(json.dumps(each).encode() for each in objects) + b"\n"


TEXT: Final = lines(
    {
        "embedding": [0.5, 0.25],
        "segmentMetadata": {"segmentIndex": 0, "segmentStartCharPosition": 0, "segmentEndCharPosition": 800},
        "status": "SUCCESS",
    },
    {
        "embedding": [],
        "segmentMetadata": {"segmentIndex": 1, "segmentStartCharPosition": 800, "segmentEndCharPosition": 900},
        "status": "FAILURE",
        "failureReason": "INVALID_CONTENT",
        "message": "Invalid input.",
    },
)
TOLD: Final = {
    "sourceFileUri": "s3://bucket/key",
    "embeddingDimension": 384,
    "embeddingResults": [
        {"embeddingType": "TEXT", "status": "PARTIAL_SUCCESS", "outputFileUri": "s3://out/job/embedding-text.jsonl"}
    ],
}


def test_segments_are_read_line_by_line() -> None:
    """Text by characters, media by seconds; what failed says why."""
    assert read_segments("embedding-text.jsonl", TEXT) == (
        Segment((0.5, 0.25), 0, 0, 800),
        Segment((), 1, 800, 900, status="FAILURE", failure_reason="INVALID_CONTENT", message="Invalid input."),
    )
    place = {"segmentIndex": 2, "segmentStartSeconds": 10.0, "segmentEndSeconds": 15.0}
    (segment,) = read_segments("embedding-video.jsonl", lines({"embedding": [1.0], "segmentMetadata": place}))
    assert (segment.index, segment.start, segment.end, segment.status) == (2, 10.0, 15.0, "SUCCESS")
    (whole,) = read_segments("embedding-image.json", lines({"embedding": [1.0]}))
    assert (whole.vector, whole.start) == ((1.0,), None)


def test_the_summary_names_the_objects() -> None:
    """It tells the outcome of each part too."""
    assert read_segmentation(SUMMARY, json.dumps(TOLD).encode()) == Segmentation(
        (SegmentedPart("TEXT", "PARTIAL_SUCCESS", "embedding-text.jsonl"),), 384, "s3://bucket/key"
    )
    failed = {"embeddingType": "AUDIO", "status": "FAILURE", "failureReason": "INVALID_CONTENT", "message": "No."}
    told = read_segmentation(SUMMARY, json.dumps({"embeddingResults": [failed]}).encode())
    assert told.parts == (SegmentedPart("AUDIO", "FAILURE", "", "INVALID_CONTENT", "No."),)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"embeddingResults": [{}]}', b'{"embeddingResults": 5}'])
def test_a_summary_of_another_form_is_an_error(data: bytes) -> None:
    """The error carries its bytes."""
    with pytest.raises(ResponseDecodeError, match=SUMMARY) as caught:
        read_segmentation(SUMMARY, data)
    assert caught.value.body == data


def test_a_line_of_another_form_is_an_error() -> None:
    """The error has its number; the lines before it are not passed off as the whole."""
    with pytest.raises(ResponseDecodeError, match=r"line 2 of embedding-text\.jsonl .* KeyError: 'embedding'"):
        read_segments("embedding-text.jsonl", lines({"embedding": [1.0]}, {"status": "SUCCESS"}))


@unhurried
@given(data=st.binary(max_size=40) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_no_object_raises_anything_but_our_error(data: bytes) -> None:
    """Any bytes, any JSON."""
    for read in (read_segments, read_segmentation):
        with suppress(ResponseDecodeError):
            assert isinstance(read("object", data), tuple | Segmentation)
