"""The guardrail of a request."""

from __future__ import annotations

from typing import Annotated, Literal

from ._wire import Enum, WireModel


class GuardrailConfig(WireModel):
    """The guardrail of a request; ``stream_processing_mode`` applies to streams only."""

    guardrail_identifier: str | None = None
    guardrail_version: str | None = None
    trace: Annotated[Literal["enabled", "disabled", "enabled_full"] | str, Enum] | None = None
    stream_processing_mode: Annotated[Literal["sync", "async"] | str, Enum] | None = None
