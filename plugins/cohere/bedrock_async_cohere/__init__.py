"""Cohere's models on Bedrock in their native dialects: Command, Command R, Embed and Rerank."""

from __future__ import annotations

from .family import CohereFamily

__all__ = ["CohereFamily"]
