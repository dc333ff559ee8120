"""Bedrock's OpenAI-compatible endpoints as a provider of bedrock-async: ``provider="mantle"``.

Chat completions and the Responses API, of bedrock-mantle and of bedrock-runtime, behind the requests, responses and
events of Converse.
"""

from __future__ import annotations

from .provider import MantleProvider
from .sse import ServerSentEvent, SseDecoder

__all__ = ["MantleProvider", "ServerSentEvent", "SseDecoder"]
