"""What can go wrong before the model answers; both are in the error tree of bedrock_async, under PluginError."""

from __future__ import annotations

from bedrock_async.errors import PluginError

__all__ = ["DISTRIBUTION", "EngineError", "WeightsError"]

DISTRIBUTION = "bedrock-async-local"


class WeightsError(PluginError):
    """The weights of the local model could not be fetched, or are not what they should be."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, distribution=DISTRIBUTION, hint=hint)


class EngineError(PluginError):
    """The inference engine could not be loaded, or could not load the weights."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, distribution=DISTRIBUTION, hint=hint)
