"""bedrock_async over the transport "httpx"."""

from __future__ import annotations

from .ours import PEER as OURS
from .ours import opened

PEER = OURS._replace(
    title="bedrock_async (httpx)",
    opened=opened("httpx"),
    decode=None,
    not_offered={"decode": "the decoder is the same"},
)
