"""TwelveLabs' models on Bedrock: Marengo's embeddings of text, images, audio and video, Pegasus' text about videos."""

from __future__ import annotations

from .family import TwelveLabsFamily
from .marengo import Clip, embedding_input, read_clips

__all__ = ["Clip", "TwelveLabsFamily", "embedding_input", "read_clips"]
