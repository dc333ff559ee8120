"""Amazon's native dialects: Nova and Titan as InvokeModel and StartAsyncInvoke take them, and Nova Sonic's events."""

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
from .sonic import SonicSession
from .sonic_emulation import sonic_echo
from .sonic_events import (
    SonicAudio,
    SonicCompletionEnd,
    SonicCompletionStart,
    SonicContentEnd,
    SonicContentStart,
    SonicEvent,
    SonicReader,
    SonicText,
    SonicToolUse,
    SonicUnknown,
    SonicUsage,
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
    "SonicAudio",
    "SonicCompletionEnd",
    "SonicCompletionStart",
    "SonicContentEnd",
    "SonicContentStart",
    "SonicEvent",
    "SonicReader",
    "SonicSession",
    "SonicText",
    "SonicToolUse",
    "SonicUnknown",
    "SonicUsage",
    "multi_shot",
    "read_segmentation",
    "read_segments",
    "segmented_embedding",
    "sonic_echo",
]
