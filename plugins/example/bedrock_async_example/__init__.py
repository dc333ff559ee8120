"""Example's models on Amazon Bedrock, in their native dialect."""

from __future__ import annotations

from .family import ExampleFamily

__all__ = ["ExampleFamily"]
