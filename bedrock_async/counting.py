"""Counting the tokens of a request, in parts when asked, and what they would cost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, TypeAlias, cast

import anyio
from anyio import to_thread

from ._bounded import remember
from .errors import InvalidRequestError, ModelIdRejectedError, OnDemandNotSupportedError, ValidationError
from .model_id import ModelId, parse_model_id
from .pricing import OPTIMIZED, Cost, Prices
from .resilience.token_estimate import estimated_tokens, estimated_tokens_of_body
from .types import (
    CacheDetail,
    ConverseRequest,
    ConverseTokensRequest,
    CountTokensInput,
    CountTokensRequest,
    Message,
    TextBlock,
    TokenBreakdown,
    TokenCount,
    TokenUsage,
)

__all__ = ["Estimate", "ExpectedTokens", "TokenCounter", "estimated_cost", "priced_settings"]

Estimate: TypeAlias = Literal["offline", "fallback"]
"""When tokens are estimated instead of counted: always, or if the model cannot count."""

Ask: TypeAlias = Callable[[CountTokensRequest, ModelId, Mapping[str, Any]], Awaitable[TokenCount]]

# "The provided model doesn't support counting tokens."  [public threads, 2025-11 to 2026-08]
_CANNOT_COUNT: Final = "support counting tokens"
_OF_THE_ID: Final = (ModelIdRejectedError, OnDemandNotSupportedError)
_MOST_MODELS: Final = 1000
_PROBE: Final = [Message(role="user", content=[TextBlock(text="x")])]


class TokenCounter:
    """Counts tokens for one client, and remembers for the last thousand models which can count, and under which id."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._ids: dict[str, ModelId] = {}
        self._refusals: dict[str, ValidationError] = {}

    async def count(
        self,
        request: CountTokensRequest,
        target: ModelId,
        base: ModelId,
        settings: Mapping[str, Any],
        *,
        breakdown: bool = False,
        estimate: str | None = None,
    ) -> TokenCount:
        """Return the count, in parts with ``breakdown``. Raises ValidationError for a model that cannot count."""
        if estimate not in {None, "offline", "fallback"}:
            raise InvalidRequestError(
                f"estimate is {estimate!r}.",
                path="estimate",
                hint='Pass "offline" to make no request, "fallback" to estimate if the model cannot count.',
            )
        if estimate == "offline":
            return _estimated(request, breakdown=breakdown)
        try:
            total = await self._total(request, target, base, settings)
        except ValidationError as exc:
            if estimate == "fallback" and _cannot_count(exc):
                return _estimated(request, breakdown=breakdown)
            raise
        if not breakdown or request.input.converse is None:
            return total
        return await self._in_parts(request, request.input.converse, total, self._ids[target.raw], settings)

    async def _total(
        self, request: CountTokensRequest, target: ModelId, base: ModelId, settings: Mapping[str, Any]
    ) -> TokenCount:
        known = self._refusals.get(target.raw)
        if known is not None:
            raise _again(known)
        remembered = self._ids.get(target.raw)
        refusals: list[ValidationError] = []
        for candidate in _candidates(target, base) if remembered is None else (remembered,):
            try:
                count = await self._ask(request, candidate, settings)
            except ValidationError as exc:
                refusals.append(exc)
            else:
                remember(self._ids, target.raw, candidate, _MOST_MODELS)
                return count
        raise self._refused(target, refusals)

    def _refused(self, target: ModelId, refusals: Sequence[ValidationError]) -> ValidationError:
        """Return the refusal to raise: one of the request itself, else that the model cannot count."""
        unable = [each for each in refusals if _cannot_count(each)]
        of_request = [each for each in refusals if each not in unable and not isinstance(each, _OF_THE_ID)]
        if of_request or not unable:
            return (of_request or list(refusals))[0]
        refusal = unable[0]
        refusal.hint = 'Pass estimate="fallback" for an estimate if a model cannot count.'
        remember(self._refusals, target.raw, refusal, _MOST_MODELS)
        return refusal

    async def _in_parts(
        self,
        request: CountTokensRequest,
        counted: ConverseTokensRequest,
        total: TokenCount,
        model: ModelId,
        settings: Mapping[str, Any],
    ) -> TokenCount:
        """Count system prompt and tools by difference, beside a message of one letter: three requests at most."""
        parts = [name for name in ("system", "tool_config") if getattr(counted, name)]
        counts: dict[str, int] = {}

        async def ask(name: str) -> None:
            counts[name] = (await self._ask(_part(request, counted, name), model, settings)).input_tokens

        if parts:
            try:
                async with anyio.create_task_group() as group:
                    for name in ("", *parts):
                        group.start_soon(ask, name)
            except ExceptionGroup as failed:
                first = _first(failed)
                raise first from first.__cause__
        system, tools = (
            max(0, counts[name] - counts[""]) if name in parts else 0 for name in ("system", "tool_config")
        )
        return total.with_breakdown(TokenBreakdown(system, tools, max(0, total.input_tokens - system - tools)))


@dataclass(frozen=True, slots=True)
class ExpectedTokens:
    """The tokens of a call that was not made; None is what is still to be found out.

    ``cache_write_1h`` comes on top of ``cache_write``, unlike in a response, where it is part of it.
    """

    input: int | None
    output: int | None
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0


async def estimated_cost(
    prices: Prices,
    tokens: ExpectedTokens,
    target: ModelId,
    base: ModelId,
    settings: Mapping[str, Any],
    *,
    batch: bool,
    count: Callable[[], Awaitable[TokenCount]],
) -> Cost | None:
    """Return what these tokens would cost; input tokens that are not given are counted."""
    output = settings.get("max_tokens") if tokens.output is None else tokens.output
    if output is None:
        raise InvalidRequestError(
            "the length of the answer is unknown.",
            path="output_tokens",
            hint="Pass output_tokens=, or max_tokens= for the highest possible cost.",
        )
    usage = _usage(replace(tokens, input=tokens.input or 0, output=output))
    if settings.get("performance") == OPTIMIZED and not batch:
        return None
    estimated = False
    if tokens.input is None:
        counted = await count()
        estimated = counted.estimated
        usage = _usage(replace(tokens, input=counted.input_tokens, output=output))
    tier = "batch" if batch else settings.get("service_tier")
    # The first time it reads a module of 30,000 lines, which would hold up the loop.
    return await to_thread.run_sync(
        lambda: prices.cost(target, usage, service_tier=tier, base=base, estimated=estimated)
    )


def priced_settings(request: ConverseRequest) -> dict[str, Any]:
    """Return the settings of a ready request that its price depends on."""
    inference, performance, tier = request.inference_config, request.performance_config, request.service_tier
    return {
        "max_tokens": None if inference is None else inference.max_tokens,
        "performance": None if performance is None else performance.latency,
        "service_tier": None if tier is None else tier.type,
    }


def _usage(tokens: ExpectedTokens) -> TokenUsage:
    """Return tokens as a response reports them. Raises InvalidRequestError for what is no number of tokens."""
    for name, number in asdict(tokens).items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise InvalidRequestError(
                f"{name}_tokens is {number!r}; it must be a whole number, 0 or more.", path=f"{name}_tokens"
            )
    read, written = tokens.input or 0, tokens.output or 0
    return TokenUsage(
        input_tokens=read,
        output_tokens=written,
        total_tokens=read + written,
        cache_read_input_tokens=tokens.cache_read,
        cache_write_input_tokens=tokens.cache_write + tokens.cache_write_1h,
        cache_details=[
            CacheDetail(ttl="5m", input_tokens=tokens.cache_write),
            CacheDetail(ttl="1h", input_tokens=tokens.cache_write_1h),
        ],
    )


def _part(request: CountTokensRequest, counted: ConverseTokensRequest, name: str) -> CountTokensRequest:
    """Return the request with one of its parts, beside a message that says nothing."""
    part = ConverseTokensRequest(
        messages=_PROBE,
        system=counted.system if name == "system" else None,
        tool_config=counted.tool_config if name == "tool_config" else None,
        additional_model_request_fields=counted.additional_model_request_fields,
    )
    return CountTokensRequest(input=CountTokensInput(converse=part), model_id=request.model_id)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first: BaseException = group.exceptions[0]
    return _first(cast("BaseExceptionGroup[BaseException]", first)) if isinstance(first, BaseExceptionGroup) else first


def _estimated(request: CountTokensRequest, *, breakdown: bool) -> TokenCount:
    counted, native = request.input.converse, request.input.invoke_model
    if counted is None:
        size = estimated_tokens_of_body(b"" if native is None else native.body)
        return TokenCount(input_tokens=size).as_estimate()
    system = estimated_tokens(ConverseRequest(system=counted.system)) if counted.system else 0
    tools = estimated_tokens(ConverseRequest(tool_config=counted.tool_config)) if counted.tool_config else 0
    messages = estimated_tokens(ConverseRequest(messages=counted.messages))
    count = TokenCount(input_tokens=system + tools + messages).as_estimate()
    return count.with_breakdown(TokenBreakdown(system, tools, messages)) if breakdown else count


def _candidates(target: ModelId, base: ModelId) -> tuple[ModelId, ...]:
    """Return the ids to ask for a count, the one that calls go to first."""
    if target.geography is not None and target.base_model is not None:
        base = parse_model_id(target.base_model)
    return (target,) if base == target else (target, base)


def _cannot_count(refusal: ValidationError) -> bool:
    return _CANNOT_COUNT in refusal.message.lower()


def _again(known: ValidationError) -> ValidationError:
    """Return the error of a refusal that is remembered; each raise has a traceback of its own."""
    return type(known)(
        known.message, code=known.code, status=known.status, request_id=known.request_id, hint=known.hint
    )
