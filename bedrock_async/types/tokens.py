"""CountTokens: how many input tokens a request has."""

from __future__ import annotations

from typing import ClassVar, Self

import msgspec
from pydantic import PrivateAttr

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


class TokenBreakdown(msgspec.Struct, frozen=True, gc=False):
    """Where the input tokens of a request are. System prompt and tools are counted by difference, the rest is messages.

    What the service adds for the tools, and around each turn, is part of these numbers.
    """

    system: int
    tools: int
    messages: int


class TokenCount(ServiceResponse):
    """The answer of CountTokens, or an estimate in its place."""

    input_tokens: int = 0
    _estimated: bool = PrivateAttr(default=False)
    _breakdown: TokenBreakdown | None = PrivateAttr(default=None)

    @property
    def estimated(self) -> bool:
        """Whether nobody counted: the number is told from the length of the request."""
        return self._estimated

    @property
    def breakdown(self) -> TokenBreakdown | None:
        """The parts, where they were asked for; None for a native body."""
        return self._breakdown

    def as_estimate(self) -> Self:
        """Return this number as an estimate."""
        return self._changed(_estimated=True)

    def with_breakdown(self, breakdown: TokenBreakdown) -> Self:
        """Return this count with its parts."""
        return self._changed(_breakdown=breakdown)
