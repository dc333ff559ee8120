"""Meta's Llama models on Bedrock in their native dialect: one prompt, in the template of each generation."""

from __future__ import annotations

from .family import MetaFamily

__all__ = ["MetaFamily"]
