"""DeepSeek's native dialects on Bedrock: R1's completion of a prompt, and the chat completions of V3."""

from __future__ import annotations

from .family import DeepSeekFamily

__all__ = ["DeepSeekFamily"]
