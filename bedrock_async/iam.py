"""Which IAM action each operation needs. Several operations share one, and not every operation has one of its name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["ACTIONS", "BEARER_ACTION"]

# Service Authorization Reference, "Actions, resources, and condition keys for Amazon Bedrock" (2026-10); for Converse,
# ConverseStream, StartAsyncInvoke and InvokeModelWithBidirectionalStream, which are no actions, the permissions that
# their pages of the API reference name.
ACTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ApplyGuardrail": "bedrock:ApplyGuardrail",
        "Converse": "bedrock:InvokeModel",
        "ConverseStream": "bedrock:InvokeModelWithResponseStream",
        "CountTokens": "bedrock:CountTokens",
        "GetAsyncInvoke": "bedrock:GetAsyncInvoke",
        "GetFoundationModelAvailability": "bedrock:GetFoundationModelAvailability",
        "GetInferenceProfile": "bedrock:GetInferenceProfile",
        "InvokeGuardrailChecks": "bedrock:InvokeGuardrailChecks",
        "InvokeModel": "bedrock:InvokeModel",
        "InvokeModelWithBidirectionalStream": "bedrock:InvokeModel",
        "InvokeModelWithResponseStream": "bedrock:InvokeModelWithResponseStream",
        "ListAsyncInvokes": "bedrock:ListAsyncInvokes",
        "ListFoundationModels": "bedrock:ListFoundationModels",
        "ListInferenceProfiles": "bedrock:ListInferenceProfiles",
        "StartAsyncInvoke": "bedrock:InvokeModel",
    }
)
"""The IAM action that an operation of Amazon Bedrock is allowed or refused by."""

BEARER_ACTION: Final = "bedrock:CallWithBearerToken"
"""The action that every call with an API key needs beside its own."""
