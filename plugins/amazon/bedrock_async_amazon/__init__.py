"""Amazon's native dialects: Nova and Titan as InvokeModel and StartAsyncInvoke take them."""

from __future__ import annotations

from .family import AmazonFamily
from .segments import (
    SUMMARY,
    Segment,
    Segmentation,
    SegmentedContent,
    SegmentedPart,
    read_segmentation,
    read_segments,
    segmented_embedding,
)
from .videos import Shot, multi_shot

__all__ = [
    "SUMMARY",
    "AmazonFamily",
    "Segment",
    "Segmentation",
    "SegmentedContent",
    "SegmentedPart",
    "Shot",
    "multi_shot",
    "read_segmentation",
    "read_segments",
    "segmented_embedding",
]
