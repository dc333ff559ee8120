"""What a call costs: list prices of the package genai-prices or prices of your own, and the sum for the tokens used.

Nothing is computed before somebody asks, and genai-prices (the extra ``cost``) is not imported before that. A price
that nobody knows makes the cost None, never zero.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

import msgspec

from ._error import a_kind
from .errors import InvalidRequestError, MissingExtraError
from .events import MetadataEvent
from .families.profiles import best_match
from .folding import fold
from .model_id import InvalidModelIdError, ModelId, parse_model_id
from .native import METRICS
from .types import CacheDetail, ConverseRequest, ConverseResponse, TokenUsage

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, PriceCalculation

__all__ = ["Bill", "Cost", "CostLine", "ModelPrices", "PriceTable", "Prices", "as_prices", "native_usage"]

Price: TypeAlias = Decimal | str | int | float
"""US dollars; a float is taken as the number that it prints as."""

PriceTable: TypeAlias = "Mapping[str, ModelPrices | Mapping[str, object]]"
"""Prices by model: an id, an ARN, or a pattern such as ``"*anthropic.claude-sonnet-*"``; the most exact one counts."""

TokenKind: TypeAlias = Literal["input", "cache_read", "cache_write_5m", "cache_write_1h", "output"]

OPTIMIZED: Final = "optimized"
"""The latency class that has prices of its own, which no list here has."""

_MILLION: Final = Decimal(1_000_000)
_ONE: Final = Decimal(1)
_STANDARD: Final = frozenset({None, "default", "standard"})

# The share of the standard price, by the vendor of the model. AWS rounds the price of a tier to a cent for a few small
# models, so that theirs can be up to a seventh off.  [AWS price list, as in the table of litellm 1.109.1]
_ON_DEMAND_TIERS: Final[Mapping[str, Decimal]] = {
    "flex": Decimal("0.5"),
    "priority": Decimal("1.75"),
    "batch": Decimal("0.5"),
}
_BATCH_ONLY: Final[Mapping[str, Decimal]] = {"batch": Decimal("0.5")}
_TIERS: Final[Mapping[str, Mapping[str, Decimal]]] = {
    "amazon.nova-*": _ON_DEMAND_TIERS,
    "anthropic.*": _BATCH_ONLY,
    "deepseek.v3*": _ON_DEMAND_TIERS,
    "google.*": _ON_DEMAND_TIERS,
    "meta.*": _BATCH_ONLY,
    "minimax.*": _ON_DEMAND_TIERS,
    "mistral.*": _ON_DEMAND_TIERS,
    "moonshot*": _ON_DEMAND_TIERS,
    "nvidia.*": _ON_DEMAND_TIERS,
    "openai.*": _ON_DEMAND_TIERS,
    "qwen.*": _ON_DEMAND_TIERS,
    "writer.palmyra-vision-*": _ON_DEMAND_TIERS,
    "xai.*": _ON_DEMAND_TIERS,
    "zai.*": _ON_DEMAND_TIERS,
}

# Writing for an hour costs twice the input, where the vendor says so and the package has no price of its own.
# [Claude's documentation, "Pricing", prompt caching]
_HOUR_FACTOR: Final[Mapping[str, int]] = {"anthropic": 2}

# What is not paid by the token: capacity by the hour, machines of one's own.
_NOT_BY_TOKEN: Final = frozenset(
    {"provisioned-model", "custom-model", "custom-model-deployment", "imported-model", "endpoint"}
)
_OPAQUE: Final = frozenset({"application-inference-profile", "prompt", "prompt-router", "unknown"})


def _dollars(name: str, value: object) -> Decimal:
    try:
        amount = Decimal(str(value)) if isinstance(value, Decimal | str | int | float) else None
    except InvalidOperation:
        amount = None
    if amount is None or isinstance(value, bool) or not amount.is_finite() or amount < 0:
        raise InvalidRequestError(
            f"the price {name} is {value!r}; it must be US dollars per million tokens, 0 or more.",
            path=name,
            hint='Pass text, so that nothing is rounded: ModelPrices(input="3", output="15").',
        )
    return amount


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class ModelPrices:
    """The prices of a model, in US dollars per million tokens.

    ``cache_read`` and ``cache_write`` (for five minutes) cost as ordinary input unless given, ``cache_write_1h`` as
    ``cache_write``. ``service_tiers`` are factors, ``{"flex": "0.5"}``; the price of any other tier is unknown. Raises
    InvalidRequestError for anything but an amount.
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    service_tiers: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])

    def __init__(
        self,
        *,
        input: Price,  # noqa: A002 - the word of the price lists
        output: Price,
        cache_read: Price | None = None,
        cache_write: Price | None = None,
        cache_write_1h: Price | None = None,
        service_tiers: Mapping[str, Price] | None = None,
    ) -> None:
        given = {
            "input": input,
            "output": output,
            "cache_read": cache_read,
            "cache_write": cache_write,
            "cache_write_1h": cache_write_1h,
        }
        for name, value in given.items():
            absent = value is None and name not in {"input", "output"}
            object.__setattr__(self, name, None if absent else _dollars(name, value))
        tiers = {name: _dollars(f"service_tiers.{name}", factor) for name, factor in (service_tiers or {}).items()}
        object.__setattr__(self, "service_tiers", tiers)


@dataclass(frozen=True, slots=True)
class CostLine:
    """What one kind of tokens costs, at ``usd_per_million`` after the factor of the service tier."""

    kind: TokenKind
    tokens: int
    usd_per_million: Decimal
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call costs in US dollars, and how that is made up.

    ``model`` is the id whose price counts, ``source`` where the price comes from. ``estimated`` says that the tokens
    were not counted by the service; ``notes`` say what the figure leaves open.
    """

    usd: Decimal
    model: str
    lines: tuple[CostLine, ...]
    source: str
    service_tier: str = "default"
    estimated: bool = False
    notes: tuple[str, ...] = ()

    def explain(self) -> str:
        """Return the bill as text: a line for each kind of tokens, the sum, and where the prices come from."""
        rows = [f"{self.model}, service tier {self.service_tier}"]
        rows += [
            f"  {line.kind:<15}{line.tokens:>12,} tokens x ${_plain(line.usd_per_million)} per million"
            f" = ${_plain(line.usd)}"
            for line in self.lines
        ]
        rows.append(f"  {'total':<15}{'about ' if self.estimated else ''}${_plain(self.usd)}")
        rows.append(f"prices: {self.source}")
        rows += [f"note: {note}" for note in self.notes]
        return "\n".join(rows)


class _Rates(msgspec.Struct, frozen=True):
    """The prices for one call: tiers of long prompts are chosen."""

    input: Decimal
    output: Decimal | None
    cache_read: Decimal | None
    cache_write: Decimal | None
    cache_write_1h: Decimal | None
    tiers: Mapping[str, Decimal]
    source: str
    notes: tuple[str, ...] = ()


class Prices:
    """What models cost: the prices of ``table`` first, then the list prices of genai-prices.

    ``published=False`` leaves only the table. The list prices are those of the installed version of the package:
    on-demand, for the geography that the model's id names (``global.``, ``us.``...), without your discounts and
    otherwise without regard to the region. Raises InvalidRequestError for a table that cannot be read.
    """

    def __init__(self, table: PriceTable | None = None, *, published: bool = True) -> None:
        self._table = {pattern: _model_prices(pattern, prices) for pattern, prices in (table or {}).items()}
        self._published = published

    def __repr__(self) -> str:
        return f"Prices({[*self._table]!r}, published={self._published})"

    def load(self) -> None:
        """Import the price list, which takes some tenths of a second; `BedrockClient.load_prices` does it in a thread.

        Raises MissingExtraError without the extra.
        """
        if self._published:
            _published_rates("amazon.nova-lite-v1:0", 0)  # the package reads its list at the first question

    def cost(
        self,
        model: str | ModelId,
        usage: TokenUsage,
        *,
        service_tier: str | None = None,
        base: str | ModelId | None = None,
        estimated: bool = False,
    ) -> Cost | None:
        """Return what these tokens cost, None where a price is not known.

        ``base`` is the model behind a ``model`` that does not tell (an application inference profile);
        ``service_tier`` may be ``"batch"``. Raises MissingExtraError where only the package could know the price.
        """
        target = model if isinstance(model, ModelId) else parse_model_id(model)
        behind = base if isinstance(base, ModelId) or base is None else parse_model_id(base)
        read, write = usage.cache_read_input_tokens or 0, usage.cache_write_input_tokens or 0
        hour = min(write, sum(each.input_tokens for each in usage.cache_details or () if each.ttl == "1h"))
        priced = _priced_id(target, behind)
        rates = self._rates(target, priced, usage.input_tokens + read + write)
        if rates is None:
            return None
        factor = _ONE if service_tier in _STANDARD else rates.tiers.get(service_tier or "")
        if factor is None or (usage.output_tokens and rates.output is None):
            return None
        five_minutes = rates.input if rates.cache_write is None else rates.cache_write
        amounts: list[tuple[TokenKind, int, Decimal]] = [
            ("input", usage.input_tokens, rates.input),
            ("cache_read", read, rates.input if rates.cache_read is None else rates.cache_read),
            ("cache_write_5m", write - hour, five_minutes),
            ("cache_write_1h", hour, five_minutes if rates.cache_write_1h is None else rates.cache_write_1h),
            ("output", usage.output_tokens, rates.output or Decimal(0)),
        ]
        lines = tuple(
            CostLine(kind, tokens, factor * price, factor * price * tokens / _MILLION)
            for kind, tokens, price in amounts
            if tokens or kind in {"input", "output"}
        )
        return Cost(
            sum((line.usd for line in lines), Decimal(0)),
            priced or target.raw,
            lines,
            rates.source,
            service_tier or "default",
            estimated,
            rates.notes,
        )

    def _rates(self, target: ModelId, priced: str | None, input_tokens: int) -> _Rates | None:
        for name in dict.fromkeys(name for name in (target.raw, priced, _base_model(priced)) if name):
            if (pattern := best_match(name, self._table)) is not None:
                mine = self._table[pattern]
                return _Rates(
                    mine.input,
                    mine.output,
                    mine.cache_read,
                    mine.cache_write,
                    mine.cache_write_1h,
                    mine.service_tiers,
                    f"prices given for {pattern!r}",
                )
        if not self._published or priced is None:
            return None
        return _published_rates(priced, input_tokens)


class Bill:
    """What one call used, to be priced when somebody asks. ``meta.cost`` and ``meta.cost_details`` ask."""

    __slots__ = ("_base", "_cost", "_latency", "_native", "_priced", "_prices", "_target", "_tier", "_usage")

    def __init__(
        self,
        prices: Prices,
        target: ModelId,
        base: ModelId | None = None,
        *,
        usage: TokenUsage | None = None,
        tier: str | None = None,
        latency: str | None = None,
    ) -> None:
        self._prices = prices
        self._target = target
        self._base = base
        self._usage = usage
        self._tier = tier
        self._latency = latency
        self._native: tuple[Mapping[str, str], tuple[bytes, ...]] | None = None
        self._cost: Cost | None = None
        self._priced = False

    def __repr__(self) -> str:
        return f"<Bill of {self._target.raw}>"

    def of(self, response: ConverseResponse) -> Bill:
        """Return the bill of a response: its tokens, and the tier, latency class and model that it names.

        That is this one, unless it is that of another response already.
        """
        if self._usage is not None or self._native is not None:
            return Bill(self._prices, self._target, self._base, tier=self._tier, latency=self._latency).of(response)
        self._usage, self._priced = response.usage, False
        if response.service_tier is not None:
            self._tier = response.service_tier.type
        if response.performance_config is not None:
            self._latency = response.performance_config.latency
        if self._target.kind == "prompt-router":
            self._base = _routed(response) or self._base
        return self

    def of_native(self, headers: Mapping[str, str], *bodies: bytes) -> Bill:
        """Return the bill of a native answer; see `native_usage`."""
        bill = Bill(
            self._prices,
            self._target,
            self._base,
            tier=headers.get("x-amzn-bedrock-service-tier", self._tier),
            latency=headers.get("x-amzn-bedrock-performanceconfig-latency", self._latency),
        )
        bill._native = headers, bodies
        return bill

    @property
    def usage(self) -> TokenUsage | None:
        """The tokens, None where nobody counted them."""
        if self._usage is not None or self._native is None:
            return self._usage
        headers, bodies = self._native
        return native_usage(headers, *bodies)

    def without_answer(self) -> Bill:
        """Return the bill of a call that is served like this one, without keeping the answer."""
        return Bill(self._prices, self._target, self._base, tier=self._tier, latency=self._latency)

    @property
    def routed(self) -> bool:
        """Whether only the answer tells which model was used."""
        return self._target.kind == "prompt-router"

    @property
    def key(self) -> tuple[str | None, ...]:
        """What the price of a token depends on, beside the length of the prompt."""
        return self._target.raw, None if self._base is None else self._base.raw, self._tier, self._latency

    def rates(self, usage: TokenUsage) -> Mapping[str, Decimal] | None:
        """Return US dollars per million of each kind of token in a call like this, None where they are not known."""
        cost = Bill(self._prices, self._target, self._base, usage=usage, tier=self._tier, latency=self._latency).cost
        return None if cost is None else {line.kind: line.usd_per_million for line in cost.lines}

    @property
    def cost(self) -> Cost | None:
        """The cost; None where tokens or prices are not known, or genai-prices is not installed."""
        if not self._priced:
            self._cost = self._calculated()
            self._priced = True
        return self._cost

    def _calculated(self) -> Cost | None:
        usage = self.usage
        if usage is None or self._latency == OPTIMIZED:
            return None
        try:
            return self._prices.cost(self._target, usage, service_tier=self._tier, base=self._base)
        except MissingExtraError:
            return None


def bill_of(prices: Prices, target: ModelId, base: ModelId, request: ConverseRequest) -> Bill:
    """Return the bill of a call before it is answered, with the tier and the latency class that it asks for."""
    tier, performance = request.service_tier, request.performance_config
    return Bill(
        prices,
        target,
        base,
        tier=None if tier is None else tier.type,
        latency=None if performance is None else performance.latency,
    )


def bill_of_stream(bill: Bill | None, metadata: MetadataEvent) -> Bill | None:
    """Return the bill of a stream, whose last event says how it was served."""
    if bill is None or not (metadata.tells_how or bill.routed):
        return bill
    return bill.of(fold([metadata]))


def as_prices(given: object) -> Prices:
    """Return what the keyword ``prices`` means. Raises InvalidRequestError."""
    if given is None or isinstance(given, Prices):
        return given or Prices()
    if isinstance(given, Mapping):
        return Prices(cast("PriceTable", given))
    raise InvalidRequestError(
        f"prices is {a_kind(given)}, not a mapping or Prices.",
        path="prices",
        hint='Pass prices={"anthropic.claude-*": ModelPrices(input="3", output="15")}.',
    )


def native_usage(headers: Mapping[str, str], *bodies: bytes) -> TokenUsage | None:
    """Return the tokens of a native call, None if nothing tells.

    ``bodies`` are the body of the answer, or of a stream its first chunk and its last two. Counts are in the headers,
    or in the last chunk; for how long Claude cached what was written is in its own usage.
    """
    natives = [_object(body) for body in bodies]
    counts = [_count(headers, name) for name in ("input", "output", "cache-read-input", "cache-write-input")]
    metrics = natives[-1].get(METRICS) if natives and counts[0] is None else None
    if isinstance(metrics, Mapping):
        told = cast("Mapping[str, object]", metrics)
        names = ("inputTokenCount", "outputTokenCount", "cacheReadInputTokenCount", "cacheWriteInputTokenCount")
        counts = [_whole(told.get(name)) for name in names]
    read, written, cache_read, cache_written = counts
    if read is None:
        return None
    # Of a stream the service counts less than Claude does, where it calls tools or thinks: up to a third less, in 8 of
    # 48 recorded ones.  [corpus]
    written = max(written or 0, *(_told_output(native) for native in natives), 0)
    return TokenUsage(
        input_tokens=read,
        output_tokens=written,
        total_tokens=read + written,
        cache_read_input_tokens=cache_read,
        cache_write_input_tokens=cache_written,
        cache_details=_by_ttl(natives) if cache_written else None,
    )


def _count(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(f"x-amzn-bedrock-{name}-token-count", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _object(body: bytes) -> Mapping[str, object]:
    try:
        value: object = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return {}
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _told_output(native: Mapping[str, object]) -> int:
    """Return the output tokens in Claude's own usage, 0 where there is none."""
    usage = native.get("usage")
    return (_whole(cast("Mapping[str, object]", usage).get("output_tokens")) or 0) if isinstance(usage, Mapping) else 0


def _by_ttl(natives: Sequence[Mapping[str, object]]) -> list[CacheDetail] | None:
    """Return what Claude's usage says of times to live; in a stream it stands in message_start."""
    for native in natives:
        message = native.get("message")
        holder = cast("Mapping[str, object]", message) if isinstance(message, Mapping) else native
        usage = holder.get("usage")
        written = cast("Mapping[str, object]", usage).get("cache_creation") if isinstance(usage, Mapping) else None
        if isinstance(written, Mapping):
            told = cast("Mapping[str, object]", written)
            return [
                CacheDetail(ttl=ttl, input_tokens=_whole(told.get(f"ephemeral_{ttl}_input_tokens")) or 0)
                for ttl in ("5m", "1h")
            ]
    return None


def _routed(response: ConverseResponse) -> ModelId | None:
    """Return the model that a prompt router chose."""
    router = response.trace.prompt_router if response.trace is not None else None
    try:
        return parse_model_id(router.invoked_model_id) if router is not None else None
    except InvalidModelIdError:
        return None


def _priced_id(target: ModelId, base: ModelId | None) -> str | None:
    """Return the id that price lists know a model by, None where its tokens have no price."""
    if target.kind in _NOT_BY_TOKEN:
        return None
    if target.kind in _OPAQUE:
        return None if base is None or base is target or base.kind in _OPAQUE else _priced_id(base, None)
    return target.resource


def _base_model(name: str | None) -> str | None:
    return parse_model_id(name).base_model if name is not None else None


def _model_prices(pattern: str, prices: object) -> ModelPrices:
    if isinstance(prices, ModelPrices):
        return prices
    names = [each.name for each in fields(ModelPrices)]
    if not isinstance(prices, Mapping):
        raise InvalidRequestError(
            f"prices[{pattern!r}] is {a_kind(prices)}, not ModelPrices or a mapping.",
            path="prices",
            hint='Pass ModelPrices(input="3", output="15").',
        )
    given = cast("Mapping[str, Any]", prices)
    wrong = sorted(given.keys() - set(names)) or sorted({"input", "output"} - given.keys())
    if wrong:
        raise InvalidRequestError(
            f"prices[{pattern!r}] {'has' if wrong[0] in given else 'lacks'} {wrong[0]!r}.",
            path="prices",
            hint=f"It has input and output, and may have {', '.join(names[2:])}.",
        )
    return ModelPrices(**given)


def _genai() -> Any:  # noqa: ANN401 - a module
    try:
        import genai_prices
    except ImportError as exc:
        raise MissingExtraError(
            "prices need the package genai-prices, which is not installed.",
            hint="Install it: pip install 'bedrock-async[cost]'; or pass your own prices: "
            'BedrockClient(prices={"anthropic.claude-*": ModelPrices(input="3", output="15")}).',
        ) from exc
    return genai_prices


def _published_rates(model: str, input_tokens: int) -> _Rates | None:
    genai = _genai()
    try:
        found: PriceCalculation = genai.calc_price(
            genai.Usage(input_tokens=input_tokens, output_tokens=0), model_ref=model, provider_id="aws"
        )
    except LookupError:
        return None
    price = found.model_price
    base = _base_model(model) or model
    vendor = base.partition(".")[0]
    standard = _rate(price, "input_mtok", input_tokens)
    if standard is None:
        return None
    hour = _rate(price, "cache_write_1h_mtok", input_tokens)
    if hour is None and vendor in _HOUR_FACTOR:
        hour = _HOUR_FACTOR[vendor] * standard
    pattern = best_match(base, _TIERS)
    return _Rates(
        standard,
        _rate(price, "output_mtok", input_tokens),
        _rate(price, "cache_read_mtok", input_tokens),
        _rate(price, "cache_write_5m_mtok", input_tokens) or _rate(price, "cache_write_mtok", input_tokens),
        hour,
        {} if pattern is None else _TIERS[pattern],
        f"genai-prices {genai.__version__}, {found.provider.name}, {found.model.id}",
        ("list prices, without discounts; regional only as far as the model's id names the region",),
    )


def _rate(price: ModelPrice, name: str, input_tokens: int) -> Decimal | None:
    """Return a price per million tokens; a long prompt can have another one, for all of its tokens."""
    value: Any = getattr(price, name, None)
    if value is None or isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if input_tokens > tier.start]
    chosen: Decimal = reached[-1] if reached else value.base
    return chosen


def _plain(amount: Decimal) -> str:
    """Return an amount without an exponent and without zeros at the end."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
