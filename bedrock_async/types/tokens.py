"""CountTokens: the number of input tokens of a request."""

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
    """A native body, counted as InvokeModel would interpret it."""

    body: Blob


class CountTokensInput(WireUnion):
    """The input to count: a conversation, or a native body."""

    converse: ConverseTokensRequest | None = None
    invoke_model: InvokeModelTokensRequest | None = None


class CountTokensRequest(WireModel):
    """The members of a CountTokens request; ``model_id`` is sent in the path."""

    not_in_body: ClassVar[set[str]] = {"model_id"}

    input: CountTokensInput
    model_id: str | None = None


class TokenBreakdown(msgspec.Struct, frozen=True, gc=False):
    """The input tokens of a request by part. System prompt and tools are counted by difference; messages are the rest.

    The numbers include what the service adds for tools, and around each turn.
    """

    system: int
    tools: int
    messages: int


class TokenCount(ServiceResponse):
    """The response of CountTokens, or an estimate in its place."""

    input_tokens: int = 0
    _estimated: bool = PrivateAttr(default=False)
    _breakdown: TokenBreakdown | None = PrivateAttr(default=None)

    @property
    def estimated(self) -> bool:
        """Whether this is an estimate, from the length of the request, and not a count."""
        return self._estimated

    @property
    def breakdown(self) -> TokenBreakdown | None:
        """The tokens by part, if requested; None for a native body."""
        return self._breakdown

    def as_estimate(self) -> Self:
        """Return this number marked as an estimate."""
        return self._changed(_estimated=True)

    def with_breakdown(self, breakdown: TokenBreakdown) -> Self:
        """Return this count with its breakdown."""
        return self._changed(_breakdown=breakdown)
