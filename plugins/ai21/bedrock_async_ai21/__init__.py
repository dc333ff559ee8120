"""AI21's models on Bedrock in their native dialects: Jamba's chat completions, Jurassic-2's completions."""

from __future__ import annotations

from .family import AI21Family

__all__ = ["AI21Family"]
