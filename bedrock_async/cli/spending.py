"""Bounds the cost of calls before they are made: a guard on the transport that rejects requests over budget.

The bound is computed from each request as it is sent, so that retries count, too: an input token has at least one byte,
and a request never gets more output tokens than it asks for. The actual cost, from the tokens that the service reports,
replaces the bound as soon as it is known.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple, Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

from ..errors import InvalidModelIdError, InvalidRequestError, MissingExtraError
from ..pricing import Prices
from ..testing.cassette_exchange import CassetteExchange, CassetteRequest
from ..testing.redaction import frames_of
from ..transport import Transport, WireRequest, WireResponse
from ..types import JSONValue, TokenUsage

__all__ = ["OverBudgetError", "PriceList", "SpendingGuard", "TokenPrices", "Tokens", "UnknownPriceError", "price_list"]

_MILLION: Final = Decimal(1_000_000)
# The tokens that the service adds to a request with tools; the largest number stated by a vendor is 530. [Claude's
# documentation, "Pricing", tool use system prompt token count]
_ADDED_TOKENS: Final = 600
# Writing to the cache for an hour costs twice the input price, the most for any use of input.
_CACHE_FACTOR: Final = 2
_CACHE_MARKS: Final = (b'"cachePoint"', b'"cache_control"')
_GUARDRAIL_MARKS: Final = (b'"guardrailConfig"',)

_OUTPUT_LIMITS: Final = frozenset(
    {
        *("maxTokens", "max_tokens", "max_new_tokens", "max_gen_len", "maxTokenCount", "max_tokens_to_sample"),
        "max_completion_tokens",
    }
)
_INFERENCE: Final = frozenset({"converse", "converse-stream", "invoke", "invoke-with-response-stream"})
_OK: Final = range(200, 300)

_Key: TypeAlias = tuple[str, str, str, bytes]


class OverBudgetError(InvalidRequestError):
    """The call was not made, because it might exceed the cost limit."""


class UnknownPriceError(InvalidRequestError):
    """The call was not made, because its maximum cost is unknown."""


class Tokens(NamedTuple):
    """The tokens of one call; tokens written to or read from the cache count as input."""

    input: int
    output: int


class TokenPrices(Protocol):
    """Knows the prices of models."""

    def usd(self, model: str, tokens: Tokens) -> Decimal:
        """Return the price of the tokens in US dollars. Raises UnknownPriceError."""
        ...


@dataclass(frozen=True, slots=True)
class FixedPrices:
    """Prices given by the user, in US dollars per million tokens."""

    input: Decimal
    output: Decimal

    def usd(self, model: str, tokens: Tokens) -> Decimal:
        """Return the price of the tokens, regardless of the model."""
        return (self.input * tokens.input + self.output * tokens.output) / _MILLION


class PublishedPrices:
    """The list prices in the package genai-prices."""

    def usd(self, model: str, tokens: Tokens) -> Decimal:
        """Return the price of the tokens. Raises UnknownPriceError for a model that the package does not have."""
        usage = TokenUsage(input_tokens=tokens.input, output_tokens=tokens.output)
        try:
            cost = Prices().cost(model, usage)
        except MissingExtraError as exc:
            raise UnknownPriceError(
                "prices are not known: the package genai-prices is not installed.",
                hint='pip install "bedrock-async[cost]", or pass them: --price input=3 --price output=15 '
                "(US dollars per million tokens).",
            ) from exc
        except InvalidModelIdError:
            cost = None
        if cost is None:
            raise UnknownPriceError(
                f"the package genai-prices has no price for the model {model}.",
                hint="Pass it: --price input=3 --price output=15 (US dollars per million tokens).",
            )
        return cost.usd


@dataclass(frozen=True, slots=True)
class PriceList:
    """All prices that calls can incur: for tokens, and per use of a guardrail or a job."""

    tokens: TokenPrices
    guardrail: Decimal | None = None
    job: Decimal | None = None

    def each(self, kind: str, usd: Decimal | None) -> Decimal:
        """Return the price of one use. Raises UnknownPriceError."""
        if usd is None:
            raise UnknownPriceError(
                f"the price of a {kind} is unknown.",
                hint=f"Pass its highest price in US dollars: --price {kind}=0.01.",
            )
        return usd


def price_list(given: Sequence[str]) -> PriceList:
    """Return the prices given by ``--price NAME=USD`` options, and otherwise the published ones.

    Raises InvalidRequestError for an option that cannot be parsed.
    """
    prices: dict[str, Decimal] = {}
    for option in given:
        name, _, amount = option.partition("=")
        if name not in {"input", "output", "guardrail", "job"} or not amount.replace(".", "", 1).isdecimal():
            raise InvalidRequestError(
                f"--price {option} cannot be parsed.",
                path="price",
                hint="Pass input and output in US dollars per million tokens, guardrail and job per use: "
                "--price input=3 --price output=15 --price guardrail=0.001 --price job=0.5.",
            )
        prices[name] = Decimal(amount)
    if ("input" in prices) != ("output" in prices):
        raise InvalidRequestError("--price needs both input and output.", path="price")
    tokens: TokenPrices = FixedPrices(prices["input"], prices["output"]) if "input" in prices else PublishedPrices()
    return PriceList(tokens, prices.get("guardrail"), prices.get("job"))


class SpendingGuard:
    """A `Transport` that sends only requests within the limit; with ``limit_usd`` None, all of them, priced or not."""

    name = "spending guard"

    def __init__(self, inner: Transport, prices: PriceList, limit_usd: Decimal | None) -> None:
        self._inner = inner
        self._prices = prices
        self._limit_usd = limit_usd
        self._free = False
        self._bounds: list[tuple[_Key, Decimal]] = []
        self.spent_usd = Decimal(0)
        """The cost of the calls so far, or its upper bound if the cost is not known yet."""
        self.unpriced = 0
        """The number of calls that were made without a known price."""

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        """Send the request if its maximum cost is within the limit; see `Transport.send`.

        Raises OverBudgetError or UnknownPriceError before anything is sent.
        """
        bound = self._bound(request)
        if self._limit_usd is not None and self.spent_usd + bound > self._limit_usd:
            raise OverBudgetError(
                f"the call could cost {usd(bound)}, and {usd(max(self._limit_usd - self.spent_usd, Decimal(0)))} of "
                f"{usd(self._limit_usd)} are left.",
                hint="Raise --max-cost, or choose a cheaper model.",
            )
        self._bounds.append((_key(CassetteRequest.from_wire(request)), bound))
        self.spent_usd += bound
        return await self._inner.send(request, connect_timeout_s=connect_timeout_s)

    async def aclose(self) -> None:
        """Do nothing: the underlying transport belongs to its creator."""

    @contextmanager
    def refused(self) -> Generator[None]:
        """Count requests inside as free, because the service is expected to refuse them."""
        self._free = True
        try:
            yield
        finally:
            self._free = False

    def settle(self, exchanges: Sequence[CassetteExchange]) -> None:
        """Replace the bounds of the calls since the last time with their cost, as far as the exchanges tell it.

        Exchanges are matched by their requests: one that failed before anything was sent is not recorded.
        """
        bounds: dict[_Key, deque[Decimal]] = {}
        for key, bound in self._bounds:
            bounds.setdefault(key, deque()).append(bound)
        for exchange in exchanges:
            if waiting := bounds.get(_key(exchange.request)):
                bound, actual = waiting.popleft(), self._actual(exchange)
                if actual is not None:
                    self.spent_usd += actual - bound
        self._bounds.clear()

    def _bound(self, request: WireRequest) -> Decimal:
        if self._free:
            return Decimal(0)
        try:
            return bound_usd(request, self._prices)
        except UnknownPriceError:
            if self._limit_usd is not None:
                raise
            self.unpriced += 1
            return Decimal(0)

    def _actual(self, exchange: CassetteExchange) -> Decimal | None:
        response = exchange.response
        if response is None:
            return None
        if response.status not in _OK:
            return Decimal(0)
        model, operation = _target(exchange.request.path)
        if operation not in _INFERENCE or b'"guardrailConfig"' in exchange.request.body:
            return None
        tokens = tokens_used(exchange)
        try:
            return None if tokens is None else self._prices.tokens.usd(model, tokens)
        except UnknownPriceError:
            return None


def _key(request: CassetteRequest) -> _Key:
    return request.method, request.path, request.query, request.body


def usd(amount: Decimal) -> str:
    """Return an amount formatted for display."""
    return f"${amount:.4f}"


def bound_usd(request: WireRequest, prices: PriceList) -> Decimal:
    """Return the maximum cost of a request. Raises UnknownPriceError if it cannot be bounded."""
    path = urlsplit(request.url).path
    model, operation = _target(path)
    if request.method == "GET" or operation == "count-tokens":
        return Decimal(0)
    if operation == "apply" or path.endswith("/guardrail-checks/invoke"):
        return prices.each("guardrail", prices.guardrail)
    if operation == "async-invoke":
        return prices.each("job", prices.job)
    if operation not in _INFERENCE:
        raise UnknownPriceError(f"the cost of {request.method} {path} is unknown.", hint="Pass --no-max-cost.")
    factor = _CACHE_FACTOR if any(mark in request.body for mark in _CACHE_MARKS) else 1
    output = _output_limit(request.body)
    if output is None:
        raise UnknownPriceError(
            "the request does not limit its output, so its cost is unbounded.",
            hint="Limit the output tokens in the native body (max_tokens or what the model calls it).",
        )
    cost = prices.tokens.usd(model, Tokens(factor * (len(request.body) + _ADDED_TOKENS), output))
    if any(mark in request.body for mark in _GUARDRAIL_MARKS):
        cost += prices.each("guardrail", prices.guardrail)
    return cost


def _target(path: str) -> tuple[str, str]:
    """Return model and operation of a path that ends in ``/model/{model}/{operation}``, or only the last segment."""
    steps = path.strip("/").split("/")
    return (unquote(steps[-2]) if steps[-3:-2] == ["model"] else "", steps[-1])


def _output_limit(body: bytes) -> int | None:
    """Return the maximum number of output tokens in a body, under any of the names that models use."""
    try:
        value: JSONValue = json.loads(body)
    except (ValueError, RecursionError):
        return None
    limits: list[int] = []
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            limits += [member for name, member in current.items() if name in _OUTPUT_LIMITS and isinstance(member, int)]
            pending += [member for name, member in current.items() if name not in {"messages", "toolConfig", "tools"}]
    return max(limits, default=None)


def tokens_used(exchange: CassetteExchange) -> Tokens | None:
    """Return the tokens that the service reports for a call, or None if it reports none."""
    response = exchange.response
    if response is None:
        return None
    counts = [response.headers.get(f"x-amzn-bedrock-{side}-token-count", "") for side in ("input", "output")]
    if all(count.isdecimal() for count in counts):
        return Tokens(int(counts[0]), int(counts[1]))
    frames, _ = frames_of(response.body)
    for payload in reversed([payload for _, payload in frames] or [response.body]):
        if b'"usage"' in payload and (tokens := _usage(payload)) is not None:
            return tokens
    return None


def _usage(payload: bytes) -> Tokens | None:
    try:
        usage: Mapping[str, int] = json.loads(payload)["usage"]
        cached = usage.get("cacheReadInputTokens", 0) + _CACHE_FACTOR * usage.get("cacheWriteInputTokens", 0)
        return Tokens(usage["inputTokens"] + cached, usage["outputTokens"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
