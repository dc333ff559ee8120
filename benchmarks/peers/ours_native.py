"""bedrock_async over the transport "native"."""

from __future__ import annotations

from .ours import PEER as OURS
from .ours import opened

PEER = OURS._replace(
    title="bedrock_async (native)",
    opened=opened("native"),
    decode=None,
    not_offered={"decode": "the decoder is the same"},
)
