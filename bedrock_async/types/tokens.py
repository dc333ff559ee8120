"""CountTokens: how many input tokens a request has."""

from __future__ import annotations

from typing import ClassVar

from ._wire import JSON, Blob, List, WireModel, WireUnion
from .content import Message, SystemBlock
from .response import ServiceResponse
from .tools import ToolConfig


class ConverseTokensRequest(WireModel):
    """The parts of a Converse request that count as input."""

    messages: List[Message] | None = None
    system: List[SystemBlock] | None = None
    tool_config: ToolConfig | None = None
    additional_model_request_fields: JSON | None = None


class InvokeModelTokensRequest(WireModel):
    """A native body, to be counted as InvokeModel would read it."""

    body: Blob


class CountTokensInput(WireUnion):
    """What is counted: a conversation, or a native body."""

    converse: ConverseTokensRequest | None = None
    invoke_model: InvokeModelTokensRequest | None = None


class CountTokensRequest(WireModel):
    """Everything one CountTokens call sends; ``model_id`` travels in the path."""

    not_in_body: ClassVar[set[str]] = {"model_id"}

    input: CountTokensInput
    model_id: str | None = None


class TokenCount(ServiceResponse):
    """The answer of CountTokens."""

    input_tokens: int = 0
