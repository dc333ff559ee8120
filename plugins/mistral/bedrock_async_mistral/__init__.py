"""Mistral's models on Bedrock in their native dialects: prompts with instructions, and two forms of chat."""

from __future__ import annotations

from .family import MistralFamily

__all__ = ["MistralFamily"]
