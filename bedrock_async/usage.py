"""What calls used, added up: tokens, cache reads and writes, the cost; in total, by model and by tag."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

import msgspec

from .types import CacheDetail, ConverseResponse, ResponseMeta, TokenUsage

MAX_KINDS: Final = 8_192
"""Kinds of calls that are counted apart, by model, service tier and length of long prompts; the model of those beyond
is `OTHER`."""

MAX_TAGS: Final = 8_192
"""Values of tags that are counted apart, by kind of call; those beyond are the value `OTHER` of their tag."""

OTHER: Final = "*"
"""Stands for everything beyond those limits. No value of ``requestMetadata`` may contain it."""

_OTHER: Final = (OTHER, None, 0)
_MILLION: Final = Decimal(1_000_000)
_SHORT_PROMPT: Final = 64_000
"""No price that is known depends on the length of prompts below this."""
_STEP: Final = 4_000
"""Prices change at multiples of this: at 100,000, 128,000, 200,000, 272,000 tokens.  [genai-prices 0.2.3]"""


class _Counts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What calls used, without what that cost."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    cache_write_by_ttl: Mapping[str, int] = MappingProxyType({})

    def plus(self, usage: TokenUsage) -> _Counts:
        """Return these counts with one more call in them."""
        by_ttl = self.cache_write_by_ttl
        if usage.cache_details:
            for detail in usage.cache_details:
                by_ttl = _merged(by_ttl, {detail.ttl: detail.input_tokens} if detail.ttl else {}, 1)
        return _Counts(
            calls=self.calls + 1,
            input_tokens=self.input_tokens + usage.input_tokens,
            output_tokens=self.output_tokens + usage.output_tokens,
            cache_read_input_tokens=self.cache_read_input_tokens + (usage.cache_read_input_tokens or 0),
            cache_write_input_tokens=self.cache_write_input_tokens + (usage.cache_write_input_tokens or 0),
            cache_write_by_ttl=by_ttl,
        )

    def combined(self, other: _Counts, sign: int) -> _Counts:
        """Return both together, or without the other."""
        return _Counts(
            calls=self.calls + sign * other.calls,
            input_tokens=self.input_tokens + sign * other.input_tokens,
            output_tokens=self.output_tokens + sign * other.output_tokens,
            cache_read_input_tokens=self.cache_read_input_tokens + sign * other.cache_read_input_tokens,
            cache_write_input_tokens=self.cache_write_input_tokens + sign * other.cache_write_input_tokens,
            cache_write_by_ttl=_merged(self.cache_write_by_ttl, other.cache_write_by_ttl, sign),
        )


_NOTHING: Final = _Counts()


class _Paid(msgspec.Struct, frozen=True):
    """What calls cost, and how many of them have no price."""

    cost: Decimal | None = None
    unpriced_calls: int = 0

    def combined(self, other: _Paid, sign: int) -> _Paid:
        """Return both together, or without the other."""
        cost = None if other.cost is None else sign * other.cost
        return _Paid(_sum(self.cost, cost), self.unpriced_calls + sign * other.unpriced_calls)


class UsageTotals:
    """What several calls used in total. Totals can be added, and earlier ones subtracted.

    Costs are looked up when `cost` or `unpriced_calls` is first read.
    """

    __slots__ = ("_counts", "_paid")

    def __init__(
        self,
        *,
        calls: int = 0,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cache_read_input_tokens: int = 0,
        cache_write_input_tokens: int = 0,
        cache_write_by_ttl: Mapping[str, int] = MappingProxyType({}),
        cost: Decimal | None = None,
        unpriced_calls: int = 0,
    ) -> None:
        """Hold these numbers."""
        self._counts = _Counts(
            calls=calls,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cache_read_input_tokens=cache_read_input_tokens,
            cache_write_input_tokens=cache_write_input_tokens,
            cache_write_by_ttl=cache_write_by_ttl,
        )
        self._paid = _Paid(cost, unpriced_calls), _NOT_LATER

    @property
    def calls(self) -> int:
        """Answers whose usage is known, native ones included.

        Failed calls, and streams that ended before their metadata, are not.
        """
        return self._counts.calls

    @property
    def input_tokens(self) -> int:
        """Tokens of the input, without what was read from the cache or written to it."""
        return self._counts.input_tokens

    @property
    def output_tokens(self) -> int:
        """Tokens of the output."""
        return self._counts.output_tokens

    @property
    def cache_read_input_tokens(self) -> int:
        """Tokens of the input that were read from the cache."""
        return self._counts.cache_read_input_tokens

    @property
    def cache_write_input_tokens(self) -> int:
        """Tokens of the input that were written to the cache."""
        return self._counts.cache_write_input_tokens

    @property
    def cache_write_by_ttl(self) -> Mapping[str, int]:
        """Written tokens by their time to live, where the service tells it, such as ``{"5m": 1200, "1h": 4000}``."""
        return self._counts.cache_write_by_ttl

    @property
    def cost(self) -> Decimal | None:
        """US dollars for all calls whose price is known, None if none is.

        The first look in a process reads the price list, which takes some tenths of a second;
        `BedrockClient.load_prices` reads it beforehand, in a thread.
        """
        return self._settled().cost

    @property
    def unpriced_calls(self) -> int:
        """The calls whose price is not known; looked up as `cost` is."""
        return self._settled().unpriced_calls

    @property
    def total_tokens(self) -> int:
        """All tokens: input, read from the cache, written to it, output."""
        return self._all_input + self.output_tokens

    @property
    def cache_hit_rate(self) -> float:
        """The share of all input tokens that was read from the cache, from 0.0 to 1.0; 0.0 where there were none."""
        return self.cache_read_input_tokens / self._all_input if self.cache_read_input_tokens else 0.0

    @property
    def _all_input(self) -> int:
        return self.input_tokens + self.cache_read_input_tokens + self.cache_write_input_tokens

    def plus(self, usage: TokenUsage, cost: Decimal | None = None) -> UsageTotals:
        """Return these totals with one more call in them; ``cost`` is None where its price is unknown."""
        paid = _Paid(cost, int(cost is None))
        return self + _totals(_NOTHING.plus(usage), paid)

    def __add__(self, other: UsageTotals) -> UsageTotals:
        """Return both together."""
        return self._combined(other, 1)

    def __sub__(self, earlier: UsageTotals) -> UsageTotals:
        """Return what was added since ``earlier``."""
        return self._combined(earlier, -1)

    def __eq__(self, other: object) -> bool:
        """Return whether all numbers are the same."""
        if not isinstance(other, UsageTotals):
            return NotImplemented
        return self._counts == other._counts and self._settled() == other._settled()

    def __hash__(self) -> int:
        """Return the hash of what needs no prices."""
        return hash((self.calls, self.input_tokens, self.output_tokens))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in USAGE_FIELDS)
        return f"{type(self).__name__}({fields})"

    def _combined(self, other: UsageTotals, sign: int) -> UsageTotals:
        (paid, later), (others_paid, others_later) = self._paid, other._paid
        signed = others_later if sign > 0 else tuple((-each, price) for each, price in others_later)
        return _totals(self._counts.combined(other._counts, sign), paid.combined(others_paid, sign), (*later, *signed))

    def _settled(self) -> _Paid:
        paid, later = self._paid
        if later:
            for sign, price in later:
                paid = paid.combined(price(), sign)
            self._paid = paid, _NOT_LATER
        return paid


_Later: TypeAlias = tuple[tuple[int, Callable[[], _Paid]], ...]
"""Costs that nobody has looked up, to be added or taken away."""

_NOT_LATER: Final[_Later] = ()

USAGE_FIELDS: Final = (*_Counts.__struct_fields__, *_Paid.__struct_fields__)
"""The names of the numbers in `UsageTotals`, which are its keywords."""


def _totals(counts: _Counts, paid: _Paid, later: _Later = _NOT_LATER) -> UsageTotals:
    totals = UsageTotals()  # the only place where its parts are set from outside
    totals._counts, totals._paid = counts, (paid, later)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return totals


NO_USAGE: Final = UsageTotals()
"""The totals of no call."""


def usage_of(answers: Iterable[ConverseResponse]) -> UsageTotals:
    """Return what these answers used in total, and what they cost where that is known."""
    each = [(answer.usage, answer.meta) for answer in answers]
    return usage_of_calls(each)


def usage_of_calls(calls: Sequence[tuple[TokenUsage, ResponseMeta]]) -> UsageTotals:
    """Return what these calls used in total, and what they cost where that is known."""
    counts = _NOTHING
    for usage, _ in calls:
        counts = counts.plus(usage)

    def price() -> _Paid:
        paid = _Paid()
        for _, meta in calls:
            paid = paid.combined(_Paid(meta.cost, int(meta.cost is None)), 1)
        return paid

    return _totals(counts, _Paid(), ((1, price),) if calls else ())


class Pricing(Protocol):
    """What prices tokens; looked at when somebody asks for a cost, and not before."""

    @property
    def key(self) -> Hashable:
        """What the price depends on, beside the tokens."""
        ...

    def rates(self, usage: TokenUsage) -> Mapping[str, Decimal] | None:
        """Return US dollars per million tokens of each kind for a call like this one, None where they are not known."""
        ...


_Kind: TypeAlias = tuple[str, Hashable, int]
"""Calls that cost the same for a token: the model, what else the price depends on, and the steps of input tokens,
rounded up, where there are so many that the price may depend on them."""


class UsageReport(UsageTotals):
    """What all calls of a client had used when this was asked for: the totals, and their parts.

    ``by_model`` has the ids that calls went to (`ResponseMeta.model`).
    """

    __slots__ = ("_by_tag", "_priced", "by_model")

    by_model: Mapping[str, UsageTotals]

    def __init__(
        self,
        by_model: Mapping[str, UsageTotals],
        by_tag: Mapping[tuple[str, str, _Kind], _Counts],
        priced: Callable[[_Kind, _Counts], UsageTotals],
    ) -> None:
        """Add up what is told of each model."""
        total = sum(by_model.values(), NO_USAGE)
        self._counts, self._paid = total._counts, total._paid  # noqa: SLF001 - of the base class
        self.by_model = by_model
        self._by_tag = by_tag
        self._priced = priced

    @property
    def tags(self) -> frozenset[str]:
        """The names that calls used in their ``request_metadata``."""
        return frozenset(name for name, _, _ in self._by_tag)

    def by_tag(self, name: str) -> dict[str, UsageTotals]:
        """Return the totals of the calls with that name in their ``request_metadata``, by the value they gave it."""
        found: dict[str, UsageTotals] = {}
        for (each, value, kind), counts in self._by_tag.items():
            if each == name:
                found[value] = found.get(value, NO_USAGE) + self._priced(kind, counts)
        return found

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in USAGE_FIELDS)
        return f"{type(self).__name__}({fields}, {len(self.by_model)} models, {len(self.tags)} tags)"


class UsageMeter:
    """Counts calls as they end. Its memory is bounded, whatever models and tags there are.

    Tokens of calls that cost the same are added up, and priced together when somebody asks.
    """

    __slots__ = ("_bills", "_by_kind", "_by_tag", "_max_kinds", "_max_tags", "_rates")

    def __init__(self, *, max_kinds: int = MAX_KINDS, max_tags: int = MAX_TAGS) -> None:
        self._max_kinds = max_kinds
        self._max_tags = max_tags
        self._by_kind: dict[_Kind, _Counts] = {}
        self._by_tag: dict[tuple[str, str, _Kind], _Counts] = {}
        self._bills: dict[_Kind, Pricing] = {}
        self._rates: dict[_Kind, Mapping[str, Decimal]] = {}

    def add(
        self, model: str, usage: TokenUsage, bill: Pricing | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        """Count one call."""
        long = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_write_input_tokens or 0)
        kind = (model, None if bill is None else bill.key, 0 if long <= _SHORT_PROMPT else -(-long // _STEP))
        counted = self._by_kind
        if kind not in counted:
            if len(counted) >= self._max_kinds:
                kind = _OTHER
            elif bill is not None:
                self._bills[kind] = bill
        counted[kind] = counted.get(kind, _NOTHING).plus(usage)
        if tags:
            self._add_tags(tags, kind, usage)

    def report(self) -> UsageReport:
        """Return what was counted until now."""
        by_model: dict[str, UsageTotals] = {}
        for kind, counts in self._by_kind.items():
            by_model[kind[0]] = by_model.get(kind[0], NO_USAGE) + self._priced(kind, counts)
        return UsageReport(MappingProxyType(by_model), self._by_tag.copy(), self._priced)

    def _add_tags(self, tags: Mapping[str, str], kind: _Kind, usage: TokenUsage) -> None:
        counted = self._by_tag
        for name, value in tags.items():
            tag = (name, value, kind)
            if tag not in counted and len(counted) >= self._max_tags:
                tag = (name, OTHER, kind)
                if tag not in counted and len(counted) >= 2 * self._max_tags:  # names, too, may be made for every call
                    tag = (OTHER, OTHER, _OTHER)
            counted[tag] = counted.get(tag, _NOTHING).plus(usage)

    def _priced(self, kind: _Kind, counts: _Counts) -> UsageTotals:
        """Return totals of one kind, which know what they cost when somebody asks."""
        return _totals(counts, _Paid(), ((1, partial(self._price, kind, counts)),))

    def _price(self, kind: _Kind, totals: _Counts) -> _Paid:
        """Return what calls of one kind cost."""
        unknown = _Paid(None, totals.calls)
        rates = self._rates_of(kind)
        if rates is None:
            return unknown
        hour = min(totals.cache_write_input_tokens, totals.cache_write_by_ttl.get("1h", 0))
        tokens = {
            "input": totals.input_tokens,
            "cache_read": totals.cache_read_input_tokens,
            "cache_write_5m": totals.cache_write_input_tokens - hour,
            "cache_write_1h": hour,
            "output": totals.output_tokens,
        }
        if any(count and name not in rates for name, count in tokens.items()):
            return unknown
        cost = sum((rates[name] * count for name, count in tokens.items() if count), Decimal(0)) / _MILLION
        return _Paid(cost)

    def _rates_of(self, kind: _Kind) -> Mapping[str, Decimal] | None:
        if (known := self._rates.get(kind)) is not None:
            return known
        if (bill := self._bills.get(kind)) is None:
            return None
        # One token of each kind, and as many in all as such calls have: prices may rise with the length of a prompt.
        like = TokenUsage(
            input_tokens=max(1, kind[2] * _STEP - 3),
            output_tokens=1,
            cache_read_input_tokens=1,
            cache_write_input_tokens=2,
            cache_details=[CacheDetail(ttl="1h", input_tokens=1)],
        )
        rates = bill.rates(like) or bill.rates(like.model_copy(update={"output_tokens": 0}))
        if rates is not None:
            self._rates[kind] = rates
        return rates


def _sum(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    if one is None:
        return other
    return one if other is None else one + other


def _merged(counts: Mapping[str, int], others: Mapping[str, int], sign: int) -> Mapping[str, int]:
    if not others:
        return counts
    merged = {name: counts.get(name, 0) + sign * others.get(name, 0) for name in {**counts, **others}}
    return MappingProxyType(merged)
