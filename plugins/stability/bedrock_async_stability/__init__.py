"""Stability AI's images on Bedrock: Stable Diffusion 3.5, Stable Image Core and Ultra, and the image services."""

from __future__ import annotations

from .family import StabilityFamily

__all__ = ["StabilityFamily"]
