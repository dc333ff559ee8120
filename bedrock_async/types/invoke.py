"""InvokeModel and InvokeModelWithResponseStream: the request around a model's native body."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from ._wire import Enum, WireModel


class InvokeRequest(WireModel):
    """The members of an InvokeModel request besides its body; the model id is sent in the path, the rest in headers."""

    not_in_body: ClassVar[set[str]] = {
        "model_id",
        "body",
        "content_type",
        "accept",
        "trace",
        "guardrail_identifier",
        "guardrail_version",
        "performance_config_latency",
        "service_tier",
        "request_metadata",
    }

    model_id: str
    body: bytes = b""
    content_type: str | None = None
    accept: str | None = None
    trace: Annotated[Literal["ENABLED", "DISABLED", "ENABLED_FULL"] | str, Enum] | None = None
    guardrail_identifier: str | None = None
    guardrail_version: str | None = None
    performance_config_latency: Annotated[Literal["standard", "optimized"] | str, Enum] | None = None
    service_tier: Annotated[Literal["priority", "default", "flex", "reserved"] | str, Enum] | None = None
    request_metadata: str | None = None
