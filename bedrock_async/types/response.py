"""The response of Converse, and what a call knows beside the body."""

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
"""The trace and the forty classes in it; whoever asks for traces loads it beside the event loop."""

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
    """One attempt of a call: when it began (UTC), how long it took, and how it failed when it did.

    ``code` is the service's, or the name of the error class; "Cancelled" is an attempt that lost against another one.
    A stream that broke later has status 200 and the code of what broke it.
    """

    number: int
    duration_s: float
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    started_at: datetime | None = None
    target: str = ""
    """Where it went, where a call may go to several places."""


class ResponseMeta(msgspec.Struct, frozen=True, gc=False):
    """All that is known of a call and is not in the body.

    ``headers`` have lower-case names. ``adjustments`` are the changes that the normaliser made to the request.
    `cost` is in US dollars, None where the price is unknown.
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
    """What is to be paid, as far as that is known; `cost` and `cost_details` read it."""

    @property
    def cost(self) -> Decimal | None:
        """What the call cost in US dollars, by list prices or those of the client; None where that is not known.

        It is computed when it is first asked for, and needs the extra ``cost``, without which it is None, unless the
        client has prices of its own. None too for answers that have no end yet, and while a stream is under way.
        """
        details = self.cost_details
        return None if details is None else details.usd

    @property
    def cost_details(self) -> Cost | None:
        """How `cost` comes about: the tokens of each kind, their prices and where these come from."""
        return None if self.bill is None else self.bill.cost


_NO_META: Final = ResponseMeta()

_CUT_OFF: Final = frozenset({"max_tokens", "model_context_window_exceeded", "malformed_model_output"})


R = TypeVar("R", bound="ServiceResponse")


def _with_meta(response: R, meta: ResponseMeta) -> R:
    object.__setattr__(response, "_meta", meta)
    return response


class ServiceResponse(WireModel):
    """The answer of an operation, with what is known of the call."""

    # A private attribute of pydantic's would be a twentieth of a call: each validation sets it up in Python.
    __slots__ = ("_meta",)
    if TYPE_CHECKING:
        _meta: ClassVar[ResponseMeta]

    @property
    def meta(self) -> ResponseMeta:
        """Request id, status, headers, attempts: all that is not in the body."""
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
        """Return a deep copy with the same `meta`, which nobody can change."""
        return _with_meta(super().__deepcopy__(memo), self.meta)

    def __getstate__(self) -> dict[Any, Any]:
        """Return what is pickled, `meta` included."""
        return {**super().__getstate__(), "_meta": self.meta}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Take what was pickled."""
        super().__setstate__({name: value for name, value in state.items() if name != "_meta"})
        _with_meta(self, state["_meta"])

    def _changed(self, meta: ResponseMeta | None = None, **private: object) -> Self:
        # As pydantic's own copy does it, without copying the members: they are frozen.
        response = type(self).__new__(type(self))
        object.__setattr__(response, "__dict__", self.__dict__)
        object.__setattr__(response, "__pydantic_extra__", self.__pydantic_extra__)
        object.__setattr__(response, "__pydantic_fields_set__", self.__pydantic_fields_set__)
        own = self.__pydantic_private__
        object.__setattr__(response, "__pydantic_private__", {**(own or {}), **private} if own or private else own)
        return _with_meta(response, meta or self.meta)


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

    def with_meta(self, meta: ResponseMeta) -> Self:
        """Return this response with ``meta``, whose bill becomes that of these tokens; the body is shared."""
        if meta.bill is not None and (bill := meta.bill.of(self)) is not meta.bill:
            meta = msgspec.structs.replace(meta, bill=bill)
        return super().with_meta(meta)

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
        """The tools that the model asks the caller to run, in order; before running one see `broken_tool_uses`."""
        return [
            block
            for block in self.message.content
            if isinstance(block, ToolUseBlock) and block.type != "server_tool_use"
        ]

    @property
    def broken_tool_uses(self) -> list[ToolUseBlock]:
        """Those of `tool_uses` that must not be run: their input was cut off, or is no JSON object.

        Where the whole answer was cut off, a tool use at its very end counts, too, even when its input is an object:
        recorded answers of 100 tokens end in an empty one, which the model never wrote.  [corpus, 2024]
        """
        uses = self.tool_uses
        if not uses or self.stop_reason == "malformed_tool_use":
            return uses
        last = self.message.content[-1] if self.stop_reason in _CUT_OFF else None
        return [use for use in uses if use.invalid_input or use is last]

    @property
    def server_tool_uses(self) -> list[ToolUseBlock]:
        """The tools that the service ran itself, in order; nothing is to be run for them."""
        return [
            block
            for block in self.message.content
            if isinstance(block, ToolUseBlock) and block.type == "server_tool_use"
        ]

    @property
    def server_tool_results(self) -> list[ToolResultBlock]:
        """What the tools that the service ran gave, in order; ``tool_use_id`` says to which use each belongs."""
        return [block for block in self.message.content if isinstance(block, ToolResultBlock)]

    @property
    def citations(self) -> list[Citation]:
        """The sources that the answer cites, in order: documents, search results, pages of the web."""
        blocks = (block for block in self.message.content if isinstance(block, CitationsBlock))
        return [citation for block in blocks for citation in block.citations or ()]

    @property
    def guardrail(self) -> GuardrailDecision | None:
        """What a guardrail decided about the call; None where none was at work.

        With the trace disabled only an intervention shows, by the stop reason.
        """
        trace = self.trace.guardrail if self.trace is not None else None
        return trace_decision(trace, intervened=self.stop_reason == INTERVENED)

    @property
    def reasoning(self) -> str:
        """The readable reasoning, joined; empty where there is none."""
        return "".join(block.text for block in self.message.content if isinstance(block, ReasoningBlock))
