"""A small language model inside the Python process, for bedrock-async's emulator.

::

    from bedrock_async.testing import BedrockEmulator
    from bedrock_async_local import MODEL_ID, LocalModel

    async with BedrockEmulator([LocalModel()]) as emulator: ...

It is SmolLM2-135M-Instruct: real tokens, real token counts and real stop reasons, and answers that are often wrong.
A demonstration and a test double, not an assistant.
"""

from __future__ import annotations

from .errors import EngineError, WeightsError
from .model import MODEL_ID, LocalModel
from .weights import SMOLLM2, Weights, cached_weights, fetch_weights

__all__ = [
    "MODEL_ID",
    "SMOLLM2",
    "EngineError",
    "LocalModel",
    "Weights",
    "WeightsError",
    "cached_weights",
    "fetch_weights",
]
