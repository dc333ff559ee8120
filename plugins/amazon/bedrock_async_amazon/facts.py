"""Profiles of models that differ from the built-in table's row for all Nova models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bedrock_async.families import ModelProfile, find_profile

PROFILES: Final[Mapping[str, ModelProfile]] = {
    "amazon.nova-2-multimodal-embeddings-*": replace(
        find_profile("amazon.nova-2-multimodal-embeddings-v1:0"),
        source="Nova user guide, 'Using Nova Embeddings'",
        input_modalities=frozenset({"text", "image", "video", "audio"}),
    ),
    # It also takes audio and gives images.
    "amazon.nova-2-omni-*": replace(
        find_profile("amazon.nova-2-omni-v1:0"),
        source="Nova 2 user guide, 'Request and response schema'",
        input_modalities=frozenset({"text", "image", "document", "video", "audio"}),
        output_modalities=frozenset({"text", "image"}),
    ),
}
"""Profiles, by the pattern of model ids that they apply to, without the geography."""
