"""The response of Converse, and what a call knows beside the body."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Final, Literal, Self, TypeAlias

import msgspec
from pydantic import PrivateAttr

from ._wire import JSON, Enum, List, WireModel
from .content import Message, ReasoningBlock, ToolUseBlock
from .guardrails import GuardrailTrace
from .request import PerformanceConfig, ServiceTier

StopReason: TypeAlias = Annotated[
    Literal[
        "end_turn",
        "tool_use",
        "max_tokens",
        "stop_sequence",
        "guardrail_intervened",
        "content_filtered",
        "malformed_model_output",
        "malformed_tool_use",
        "model_context_window_exceeded",
    ]
    | str,
    Enum,
]
"""Why the model stopped; values that are not known yet pass too."""


class CacheDetail(WireModel):
    """Input tokens written to the cache with one time to live."""

    ttl: Annotated[Literal["5m", "1h"] | str, Enum] | None = None
    input_tokens: int = 0


class TokenUsage(WireModel):
    """Tokens that the call used. What was read from the cache is not part of ``input_tokens``."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    cache_details: List[CacheDetail] | None = None


class ConverseMetrics(WireModel):
    """``latency_ms`` is the service's own time, in milliseconds."""

    latency_ms: int | None = None


class PromptRouterTrace(WireModel):
    """Which model a prompt router chose."""

    invoked_model_id: str | None = None


class ConverseTrace(WireModel):
    """What the guardrail and the prompt router did."""

    guardrail: GuardrailTrace | None = None
    prompt_router: PromptRouterTrace | None = None


class ConverseOutput(WireModel):
    """The answer."""

    message: Message | None = None


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One attempt of a call: how long it took, and how it failed when it did."""

    number: int
    duration_s: float
    status: int | None = None
    code: str | None = None
    request_id: str | None = None


class ResponseMeta(msgspec.Struct, frozen=True, gc=False):
    """All that is known of a call and is not in the body.

    ``headers`` have lower-case names. ``adjustments`` are the changes that the normaliser made to the request.
    ``cost`` is in US dollars, None where the price is unknown.
    """

    request_id: str | None = None
    status: int = 200
    headers: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    attempts: tuple[Attempt, ...] = ()
    adjustments: tuple[str, ...] = ()
    cost: Decimal | None = None
    model: str = ""
    region: str = ""
    provider: str = ""


_NO_META: Final = ResponseMeta()


class ServiceResponse(WireModel):
    """The answer of an operation, with what is known of the call."""

    _meta: ResponseMeta | None = PrivateAttr(default=None)

    @property
    def meta(self) -> ResponseMeta:
        """Request id, status, headers, attempts: all that is not in the body."""
        return self._meta or _NO_META

    def with_meta(self, meta: ResponseMeta) -> Self:
        """Return this response with ``meta``; the body is shared, not copied."""
        # As pydantic's own copy does it, without copying the members: they are frozen.
        response = type(self).__new__(type(self))
        object.__setattr__(response, "__dict__", self.__dict__)
        object.__setattr__(response, "__pydantic_extra__", self.__pydantic_extra__)
        object.__setattr__(response, "__pydantic_fields_set__", self.__pydantic_fields_set__)
        object.__setattr__(response, "__pydantic_private__", {"_meta": meta})
        return response


class ConverseResponse(ServiceResponse):
    """The answer of a model: from Converse, or folded from the events of a stream."""

    output: ConverseOutput | None = None
    stop_reason: StopReason = ""
    usage: TokenUsage = TokenUsage.model_construct()
    metrics: ConverseMetrics = ConverseMetrics.model_construct()
    additional_model_response_fields: JSON | None = None
    trace: ConverseTrace | None = None
    performance_config: PerformanceConfig | None = None
    service_tier: ServiceTier | None = None

    @property
    def message(self) -> Message:
        """The assistant's message, ready to be appended to the history; without content where none came."""
        if self.output is not None and self.output.message is not None:
            return self.output.message
        return Message(role="assistant", content=[])

    @property
    def text(self) -> str:
        """The text of the answer (text and citation blocks joined), without reasoning."""
        return self.message.text

    @property
    def tool_uses(self) -> list[ToolUseBlock]:
        """The tools that the model asks the caller to run, in order."""
        return [
            block
            for block in self.message.content
            if isinstance(block, ToolUseBlock) and block.type != "server_tool_use"
        ]

    @property
    def reasoning(self) -> str:
        """The readable reasoning, joined; empty where there is none."""
        return "".join(block.text for block in self.message.content if isinstance(block, ReasoningBlock))
