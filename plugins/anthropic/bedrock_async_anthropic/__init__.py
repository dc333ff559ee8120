"""Claude's native dialect: the Messages API as InvokeModel takes it, and the text completions before it."""

from __future__ import annotations

from .family import AnthropicFamily

__all__ = ["AnthropicFamily"]
