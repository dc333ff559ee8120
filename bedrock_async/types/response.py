"""The response of Converse, and the metadata of a call."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias, TypeVar

import msgspec

from ._later import Later
from ._wire import JSON, Enum, List, WireModel
from .content import Citation, CitationsBlock, Message, ReasoningBlock, ToolResultBlock, ToolUseBlock
from .guardrail_decisions import INTERVENED, GuardrailDecision, trace_decision
from .request import PerformanceConfig, ServiceTier

GUARDRAIL_TRACE: Final = Later(".guardrails", "GuardrailTrace")
"""The trace and its forty classes; when traces are requested, they are loaded off the event loop."""

if TYPE_CHECKING:
    from ..pricing import Bill, Cost
    from .guardrails import GuardrailTrace
else:
    GuardrailTrace = Annotated[object, GUARDRAIL_TRACE]

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
"""Why the model stopped; unknown values are accepted."""


class CacheDetail(WireModel):
    """Input tokens written to the cache with one TTL."""

    ttl: Annotated[Literal["5m", "1h"] | str, Enum] | None = None
    input_tokens: int = 0


class TokenUsage(WireModel):
    """The tokens used by a call. Tokens read from the cache are not part of ``input_tokens``."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    cache_details: List[CacheDetail] | None = None


class ConverseMetrics(WireModel):
    """The service's own latency: ``latency_ms``, in milliseconds."""

    latency_ms: int | None = None


class PromptRouterTrace(WireModel):
    """The model that a prompt router chose."""

    invoked_model_id: str | None = None


class ConverseTrace(WireModel):
    """What the guardrail and the prompt router did."""

    guardrail: GuardrailTrace | None = None
    prompt_router: PromptRouterTrace | None = None


class ConverseOutput(WireModel):
    """The answer of the model."""

    message: Message | None = None


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One attempt of a call: when it began (UTC), its duration, and its failure, if any.

    ``code`` is the service's error code, or the name of the error class; "Cancelled" means that another attempt
    answered first. An attempt whose stream failed later has status 200 and the code of that failure.
    """

    number: int
    duration_s: float
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    started_at: datetime | None = None
    target: str = ""
    """The name of the target, for a call with several of them."""


class ResponseMeta(msgspec.Struct, frozen=True, gc=False):
    """What is known of a call besides the body.

    ``headers`` have lower-case names. ``adjustments`` are the changes that normalization made to the request. `cost` is
    in US dollars, or None if the price is unknown.
    """

    request_id: str | None = None
    status: int = 200
    headers: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    attempts: tuple[Attempt, ...] = ()
    adjustments: tuple[str, ...] = ()
    model: str = ""
    region: str = ""
    provider: str = ""
    target: str = ""
    continuations: int = 0
    bill: Bill | None = None
    """The basis of `cost` and `cost_details`, as far as it is known."""

    @property
    def cost(self) -> Decimal | None:
        """The cost of the call in US dollars, by list prices or the client's own; None if it is unknown.

        It is computed on first access, and needs the extra ``cost`` unless the client has prices of its own; without
        either it is None. It is also None for incomplete answers, and while a stream is in progress.
        """
        details = self.cost_details
        return None if details is None else details.usd

    @property
    def cost_details(self) -> Cost | None:
        """The breakdown of `cost`: the tokens of each kind, their prices and the source of these."""
        return None if self.bill is None else self.bill.cost


_NO_META: Final = ResponseMeta()

_CUT_OFF: Final = frozenset({"max_tokens", "model_context_window_exceeded", "malformed_model_output"})


R = TypeVar("R", bound="ServiceResponse")


def _with_meta(response: R, meta: ResponseMeta) -> R:
    object.__setattr__(response, "_meta", meta)
    return response


class ServiceResponse(WireModel):
    """The response of an operation, with the metadata of the call."""

    # A private attribute of pydantic's would cost a twentieth of a call, as each validation initializes it in Python.
    __slots__ = ("_meta",)
    if TYPE_CHECKING:
        _meta: ClassVar[ResponseMeta]

    @property
    def meta(self) -> ResponseMeta:
        """Request id, status, headers, attempts: what is known of the call besides the body."""
        try:
            return self._meta
        except AttributeError:
            return _NO_META

    def with_meta(self, meta: ResponseMeta) -> Self:
        """Return this response with ``meta``; the body is shared, not copied."""
        return self._changed(meta)

    def __copy__(self) -> Self:
        """Return a copy with the same `meta`."""
        return _with_meta(super().__copy__(), self.meta)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a deep copy with the same `meta`, which is immutable."""
        return _with_meta(super().__deepcopy__(memo), self.meta)

    def __getstate__(self) -> dict[Any, Any]:
        """Return the state to pickle, including `meta`."""
        return {**super().__getstate__(), "_meta": self.meta}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Restore the pickled state."""
        super().__setstate__({name: value for name, value in state.items() if name != "_meta"})
        _with_meta(self, state["_meta"])

    def _changed(self, meta: ResponseMeta | None = None, **private: object) -> Self:
        # Like pydantic's own copy, but without copying the members, which are frozen.
        response = type(self).__new__(type(self))
        object.__setattr__(response, "__dict__", self.__dict__)
        object.__setattr__(response, "__pydantic_extra__", self.__pydantic_extra__)
        object.__setattr__(response, "__pydantic_fields_set__", self.__pydantic_fields_set__)
        own = self.__pydantic_private__
        object.__setattr__(response, "__pydantic_private__", {**(own or {}), **private} if own or private else own)
        return _with_meta(response, meta or self.meta)


class ConverseResponse(ServiceResponse):
    """A model's answer: the response of Converse, or folded from the events of a stream."""

    output: ConverseOutput | None = None
    stop_reason: StopReason = ""
    usage: TokenUsage = TokenUsage.model_construct()
    metrics: ConverseMetrics = ConverseMetrics.model_construct()
    additional_model_response_fields: JSON | None = None
    trace: ConverseTrace | None = None
    performance_config: PerformanceConfig | None = None
    service_tier: ServiceTier | None = None

    def with_meta(self, meta: ResponseMeta) -> Self:
        """Return this response with ``meta``, whose bill is updated with this usage; the body is shared, not copied."""
        if meta.bill is not None and (bill := meta.bill.of(self)) is not meta.bill:
            meta = msgspec.structs.replace(meta, bill=bill)
        return super().with_meta(meta)

    @property
    def message(self) -> Message:
        """The assistant's message, ready to be appended to the history; without content if none arrived."""
        if self.output is not None and self.output.message is not None:
            return self.output.message
        return Message(role="assistant", content=[])

    @property
    def text(self) -> str:
        """The text of the answer (text and citation blocks joined), without reasoning."""
        return self.message.text

    @property
    def tool_uses(self) -> list[ToolUseBlock]:
        """The tools that the model asks the caller to run, in order; check `broken_tool_uses` before running one."""
        return [
            block
            for block in self.message.content
            if isinstance(block, ToolUseBlock) and block.type != "server_tool_use"
        ]

    @property
    def broken_tool_uses(self) -> list[ToolUseBlock]:
        """Those of `tool_uses` that must not be run: their input was truncated, or is not a JSON object.

        If the answer itself was truncated, a tool use at its very end counts as well, even with an object as input:
        recorded answers limited to 100 tokens end in an empty object, which the model never wrote.  [corpus, 2024]
        """
        uses = self.tool_uses
        if not uses or self.stop_reason == "malformed_tool_use":
            return uses
        last = self.message.content[-1] if self.stop_reason in _CUT_OFF else None
        return [use for use in uses if use.invalid_input or use is last]

    @property
    def server_tool_uses(self) -> list[ToolUseBlock]:
        """The tools that the service ran itself, in order; the caller need not run anything for them."""
        return [
            block
            for block in self.message.content
            if isinstance(block, ToolUseBlock) and block.type == "server_tool_use"
        ]

    @property
    def server_tool_results(self) -> list[ToolResultBlock]:
        """The results of tools that the service ran, in order; ``tool_use_id`` links each to its use."""
        return [block for block in self.message.content if isinstance(block, ToolResultBlock)]

    @property
    def citations(self) -> list[Citation]:
        """The sources that the answer cites, in order: documents, search results, web pages."""
        blocks = (block for block in self.message.content if isinstance(block, CitationsBlock))
        return [citation for block in blocks for citation in block.citations or ()]

    @property
    def guardrail(self) -> GuardrailDecision | None:
        """A guardrail's decision about the call; None if there was no guardrail.

        With the trace disabled, only an intervention is visible, by the stop reason.
        """
        trace = self.trace.guardrail if self.trace is not None else None
        return trace_decision(trace, intervened=self.stop_reason == INTERVENED)

    @property
    def reasoning(self) -> str:
        """The readable reasoning, joined; empty if there is none."""
        return "".join(block.text for block in self.message.content if isinstance(block, ReasoningBlock))
