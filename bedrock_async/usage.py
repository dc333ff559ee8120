"""What calls used, added up: tokens, what the cache gave and took, the cost; in all, by model and by tag."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

import msgspec

from .types import CacheDetail, ConverseResponse, TokenUsage

MAX_KINDS: Final = 8_192
"""Kinds of calls that are counted apart, by model, service tier and length of long prompts; the model of those beyond
is `OTHER`."""

MAX_TAGS: Final = 8_192
"""Values of tags that are counted apart, by kind of call; those beyond are the value `OTHER` of their tag."""

OTHER: Final = "*"
"""Stands for all that there was no room for. No value of ``requestMetadata`` may contain it."""

_OTHER: Final = (OTHER, None, 0)
_MILLION: Final = Decimal(1_000_000)
_SHORT_PROMPT: Final = 64_000
"""No price that is known depends on the length of prompts below this."""
_STEP: Final = 4_000
"""Prices change at multiples of this: at 100,000, 128,000, 200,000, 272,000 tokens.  [genai-prices 0.2.3]"""


class UsageTotals(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a number of calls used, together. Totals can be added to each other, and an earlier state taken away.

    - ``calls``: answers whose usage is known, native ones included. Failed calls, and streams that ended before their
      metadata, are not.
    - ``input_tokens``: without what was read from the cache or written to it; ``output_tokens``.
    - ``cache_read_input_tokens``, ``cache_write_input_tokens``; ``cache_write_by_ttl``: those of the written ones whose
      time to live the service told, such as ``{"5m": 1200, "1h": 4000}``.
    - ``cost``: in US dollars, of all calls whose price is known, None where none is; ``unpriced_calls``: the others.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    cache_write_by_ttl: Mapping[str, int] = MappingProxyType({})
    cost: Decimal | None = None
    unpriced_calls: int = 0

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
        by_ttl = self.cache_write_by_ttl
        if usage.cache_details:
            for detail in usage.cache_details:
                by_ttl = _merged(by_ttl, {detail.ttl: detail.input_tokens} if detail.ttl else {}, 1)
        return UsageTotals(
            calls=self.calls + 1,
            input_tokens=self.input_tokens + usage.input_tokens,
            output_tokens=self.output_tokens + usage.output_tokens,
            cache_read_input_tokens=self.cache_read_input_tokens + (usage.cache_read_input_tokens or 0),
            cache_write_input_tokens=self.cache_write_input_tokens + (usage.cache_write_input_tokens or 0),
            cache_write_by_ttl=by_ttl,
            cost=self.cost if cost is None else _sum(self.cost, cost),
            unpriced_calls=self.unpriced_calls + (cost is None),
        )

    def __add__(self, other: UsageTotals) -> UsageTotals:
        """Return both together."""
        return self._combined(other, 1)

    def __sub__(self, earlier: UsageTotals) -> UsageTotals:
        """Return what was added since ``earlier``."""
        return self._combined(earlier, -1)

    def _combined(self, other: UsageTotals, sign: int) -> UsageTotals:
        return UsageTotals(
            calls=self.calls + sign * other.calls,
            input_tokens=self.input_tokens + sign * other.input_tokens,
            output_tokens=self.output_tokens + sign * other.output_tokens,
            cache_read_input_tokens=self.cache_read_input_tokens + sign * other.cache_read_input_tokens,
            cache_write_input_tokens=self.cache_write_input_tokens + sign * other.cache_write_input_tokens,
            cache_write_by_ttl=_merged(self.cache_write_by_ttl, other.cache_write_by_ttl, sign),
            cost=_sum(self.cost, None if other.cost is None else sign * other.cost),
            unpriced_calls=self.unpriced_calls + sign * other.unpriced_calls,
        )


NO_USAGE: Final = UsageTotals()
"""The totals of no call."""


def usage_of(answers: Iterable[ConverseResponse]) -> UsageTotals:
    """Return what these answers used, together, and what they cost where that is known."""
    totals = NO_USAGE
    for each in answers:
        totals = totals.plus(each.usage, each.meta.cost)
    return totals


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


class UsageReport(UsageTotals, frozen=True, kw_only=True, gc=False):
    """What all calls of a client used until the moment that this was asked for: the totals, and their parts.

    ``by_model`` has the ids that calls went to (`ResponseMeta.model`).
    """

    by_model: Mapping[str, UsageTotals]
    _by_tag: Mapping[tuple[str, str, _Kind], UsageTotals]
    _priced: Callable[[_Kind, UsageTotals], UsageTotals]

    @property
    def tags(self) -> frozenset[str]:
        """The names that calls had in their ``request_metadata``."""
        return frozenset(name for name, _, _ in self._by_tag)

    def by_tag(self, name: str) -> dict[str, UsageTotals]:
        """Return the totals of the calls with that name in their ``request_metadata``, by the value they gave it."""
        found: dict[str, UsageTotals] = {}
        for (each, value, kind), totals in self._by_tag.items():
            if each == name:
                found[value] = found.get(value, NO_USAGE) + self._priced(kind, totals)
        return found

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in UsageTotals.__struct_fields__)
        return f"{type(self).__name__}({fields}, {len(self.by_model)} models, {len(self.tags)} tags)"


class UsageMeter:
    """Counts calls as they end. Its memory is bounded, whatever models and tags there are.

    Tokens of calls that cost the same are added up, and priced together when somebody asks.
    """

    __slots__ = ("_bills", "_by_kind", "_by_tag", "_max_kinds", "_max_tags", "_rates")

    def __init__(self, *, max_kinds: int = MAX_KINDS, max_tags: int = MAX_TAGS) -> None:
        self._max_kinds = max_kinds
        self._max_tags = max_tags
        self._by_kind: dict[_Kind, UsageTotals] = {}
        self._by_tag: dict[tuple[str, str, _Kind], UsageTotals] = {}
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
        counted[kind] = counted.get(kind, NO_USAGE).plus(usage)
        if tags:
            self._add_tags(tags, kind, usage)

    def report(self) -> UsageReport:
        """Return what was counted until now."""
        by_model: dict[str, UsageTotals] = {}
        for kind, totals in self._by_kind.items():
            by_model[kind[0]] = by_model.get(kind[0], NO_USAGE) + self._priced(kind, totals)
        total = sum(by_model.values(), NO_USAGE)
        parts = {name: getattr(total, name) for name in UsageTotals.__struct_fields__}
        by_tag = self._by_tag.copy()
        return UsageReport(**parts, by_model=MappingProxyType(by_model), _by_tag=by_tag, _priced=self._priced)

    def _add_tags(self, tags: Mapping[str, str], kind: _Kind, usage: TokenUsage) -> None:
        counted = self._by_tag
        for name, value in tags.items():
            tag = (name, value, kind)
            if tag not in counted and len(counted) >= self._max_tags:
                tag = (name, OTHER, kind)
                if tag not in counted and len(counted) >= 2 * self._max_tags:  # names, too, may be made for every call
                    tag = (OTHER, OTHER, _OTHER)
            counted[tag] = counted.get(tag, NO_USAGE).plus(usage)

    def _priced(self, kind: _Kind, totals: UsageTotals) -> UsageTotals:
        """Return totals of one kind with what they cost."""
        rates = self._rates_of(kind)
        if rates is None:
            return totals
        hour = min(totals.cache_write_input_tokens, totals.cache_write_by_ttl.get("1h", 0))
        tokens = {
            "input": totals.input_tokens,
            "cache_read": totals.cache_read_input_tokens,
            "cache_write_5m": totals.cache_write_input_tokens - hour,
            "cache_write_1h": hour,
            "output": totals.output_tokens,
        }
        if any(count and name not in rates for name, count in tokens.items()):
            return totals
        cost = sum((rates[name] * count for name, count in tokens.items() if count), Decimal(0)) / _MILLION
        return msgspec.structs.replace(totals, cost=cost, unpriced_calls=0)

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
