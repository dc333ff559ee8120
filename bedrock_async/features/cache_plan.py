"""Where cache points stand in a request: those that the caller set, and those that a `CacheConfig` asks for.

A cache point makes the service keep everything before it, in the order tools, system prompt, messages, and read it from
there when a later request begins the same. The service takes at most four, refuses them in some places, and wants
points with a longer time to live before those with a shorter one. The planner keeps to that and says in words what it
did:

    plan = plan_cache(request, CacheConfig(system=True, strategy="auto"), profile)
    print(plan.explain())
    request = plan.request
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec

from ..errors import InvalidRequestError
from ..families.profiles import UNKNOWN, CachedPart, ModelProfile, PromptCaching
from ..types import (
    CachePointBlock,
    CitationsBlock,
    ConverseRequest,
    DocumentBlock,
    GuardContentBlock,
    JsonBlock,
    ReasoningBlock,
    SystemTool,
    TextBlock,
    ToolResultBlock,
    ToolSpec,
    ToolUseBlock,
    VideoBlock,
)
from .adjustment import Adjustment
from .checks import MAX_CACHE_POINTS
from .fields import of_fields

Ttl: TypeAlias = Literal["5m", "1h"]
"""How long a cached prefix lives after its last use: five minutes, or one hour."""

Origin: TypeAlias = Literal["manual", "planned"]
"""Who set a point: the caller, or the planner."""

_RULE: Final = "cache_points"
_DEFAULT_TTL: Final = "5m"
_SECONDS: Final = {"5m": 300, "1h": 3600}


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheConfig:
    """What to cache of a request. True means with the common ``ttl``; ``"5m"`` and ``"1h"`` set the part's own.

    - ``system``: a point behind the system prompt; ``tools``: one behind the tools.
    - ``messages``: a point at the end of the last message of the user.
    - ``ttl``: how long points live that have no time of their own; None for the service's default, five minutes.
    - ``strategy="auto"``: a point at the end of each message of the assistant, so that a growing conversation is read
      from the cache up to its last answer. If that makes more than four, the newest stay.
    - ``min_tokens``: the least number of tokens before a point; None for the model's own minimum, 0 to set every point.

    Raises InvalidRequestError for values that mean nothing.
    """

    system: bool | Ttl = False
    tools: bool | Ttl = False
    messages: bool | Ttl = False
    ttl: Ttl | None = None
    strategy: Literal["auto"] | None = None
    min_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("system", "tools", "messages"):
            _check(f"cache.{name}", getattr(self, name), (True, False, *_SECONDS))
        _check("cache.ttl", self.ttl, (None, *_SECONDS))
        _check("cache.strategy", self.strategy, (None, "auto"), hint='Pass strategy="auto", or leave it out.')
        least: Any = self.min_tokens
        if least is not None and (isinstance(least, bool) or not isinstance(least, int) or least < 0):
            raise InvalidRequestError(
                f"cache.min_tokens is {least!r}.", path="cache.min_tokens", hint="Pass a number of tokens, 0 or more."
            )

    def ttl_of(self, part: CachedPart) -> str | None:
        """Return how long a point of this part lives; None for the service's default."""
        own: bool | str = getattr(self, part)
        return own if isinstance(own, str) else self.ttl


def _check(
    path: str, value: object, allowed: tuple[object, ...], hint: str = 'The times to live are "5m" and "1h".'
) -> None:
    if not any(value is each or (isinstance(value, str) and value == each) for each in allowed):
        raise InvalidRequestError(
            f"{path} is {value!r}; it must be one of {', '.join(map(repr, allowed))}.",
            path=path,
            hint=hint,
        )


def cache_config(given: object) -> CacheConfig | None:
    """Return what the keyword ``cache`` means: a `CacheConfig`, a mapping of its fields, or ``"auto"``.

    Raises InvalidRequestError for anything else.
    """
    if given is None or isinstance(given, CacheConfig):
        return given
    if given == "auto":
        return CacheConfig(strategy="auto")
    if not isinstance(given, Mapping):
        raise InvalidRequestError(
            f"cache is {given!r}, not a CacheConfig.",
            path="cache",
            hint='Pass CacheConfig(system=True), or "auto"; CacheConfig() plans nothing.',
        )
    return of_fields(CacheConfig, cast("Mapping[str, Any]", given), path="cache")


class PlannedPoint(msgspec.Struct, frozen=True):
    """A cache point of the request that is sent, in ``path``. ``tokens_before`` is an estimate from the text before it.

    None where media stand before it, of which the text says nothing.
    """

    path: str
    part: CachedPart
    origin: Origin
    ttl: str | None
    reason: str
    tokens_before: int | None = None


class LeftOutPoint(msgspec.Struct, frozen=True):
    """A cache point that was left out of the request: where it was or would have been, and why."""

    path: str
    origin: Origin
    reason: str


@dataclass(frozen=True, slots=True)
class CachePlan:
    """The request with its cache points, each of them with its reason, and what was left out."""

    request: ConverseRequest
    points: tuple[PlannedPoint, ...] = ()
    left_out: tuple[LeftOutPoint, ...] = ()
    notes: tuple[str, ...] = ()
    adjustments: tuple[Adjustment, ...] = ()
    """What was changed about the points that the caller had set."""

    def explain(self) -> str:
        """Return the plan in words, a line for every point that is set or left out."""
        lines = [f"{len(self.points)} of {MAX_CACHE_POINTS} cache points"]
        for point in self.points:
            before = "" if point.tokens_before is None else f", about {point.tokens_before:,} tokens before it"
            lines.append(f"+ {point.path} ({point.origin}, {point.ttl or _DEFAULT_TTL}{before}): {point.reason}")
        lines += [f"- {point.path} ({point.origin}): {point.reason}" for point in self.left_out]
        lines += [f"* {note}" for note in self.notes]
        return "\n".join(lines)


class _Point(msgspec.Struct, eq=False):
    part: CachedPart
    origin: Origin
    place: str
    reason: str
    block: CachePointBlock
    tokens: int | None = None

    @property
    def ttl(self) -> str | None:
        return self.block.ttl

    @property
    def seconds(self) -> int:
        # A time to live that is not known here is taken for the longest.
        return _SECONDS.get(self.block.ttl or _DEFAULT_TTL, 3600)


class _Row(msgspec.Struct):
    """One list of the request that can hold cache points: the tools, the system prompt, the content of a message."""

    part: CachedPart
    path: str
    items: list[Any]
    role: str = ""


class _Plan:
    """A plan in the making."""

    def __init__(self, request: ConverseRequest, profile: ModelProfile) -> None:
        self.request = request
        self.profile = profile
        self.caching = profile.caching
        self.rows = list(_rows(request))
        self.left_out: list[LeftOutPoint] = []
        self.notes: list[str] = []
        self.adjustments: list[Adjustment] = []

    def points(self) -> list[_Point]:
        return [item for row in self.rows for item in row.items if type(item) is _Point]

    def drop(self, point: _Point, reason: str) -> None:
        for row in self.rows:
            row.items = [item for item in row.items if item is not point]
        self.left_out.append(LeftOutPoint(point.place, point.origin, reason))
        if point.origin == "manual":
            self.adjustments.append(Adjustment(_RULE, point.place, f"cache point dropped: {reason}"))

    def set_ttl(self, point: _Point, ttl: str | None, reason: str) -> None:
        if point.ttl == ttl:
            return
        change = f"time to live {point.ttl or _DEFAULT_TTL} changed to {ttl or _DEFAULT_TTL}: {reason}"
        point.block = CachePointBlock(type=point.block.type, ttl=ttl)
        if point.origin == "manual":
            self.adjustments.append(Adjustment(_RULE, point.place, change))
        self.notes.append(f"{point.place}: {change}")


def plan_cache(request: ConverseRequest, config: CacheConfig | None, profile: ModelProfile) -> CachePlan:
    """Return the request with the points that ``config`` asks for, as the service takes them. Nothing is sent.

    Points that are in the request already are kept and counted; one that the service would refuse is left out and
    reported in ``adjustments``. If there are more than four, planned points are dropped first (the oldest of the
    messages, then those of tools and system prompt), then the caller's oldest in the messages.
    """
    if config is None and not _has_points(request):
        return CachePlan(request)
    plan = _Plan(request, profile)
    _refuse(plan)
    if config is not None:
        _place(plan, config)
    _measure(plan)
    _drop_short(plan, config)
    _trim(plan)
    _order_ttls(plan)
    return _written(plan)


def _has_points(request: ConverseRequest) -> bool:
    return any(type(item) is _Point for row in _rows(request) for item in row.items)


def _rows(request: ConverseRequest) -> Iterator[_Row]:
    if request.tool_config is not None:
        yield _row("tools", "toolConfig.tools", request.tool_config.tools)
    if request.system is not None:
        yield _row("system", "system", request.system)
    for index, message in enumerate(request.messages or ()):
        yield _row("messages", f"messages[{index}].content", message.content, message.role)


def _row(part: CachedPart, path: str, blocks: Sequence[Any], role: str = "") -> _Row:
    items = [
        _Point(part, "manual", f"{path}[{index}]", "set by the caller", block)
        if type(block) is CachePointBlock
        else block
        for index, block in enumerate(blocks)
    ]
    return _Row(part, path, items, role)


# -- places


def _refusal(before: object) -> str | None:
    """Say why the service would refuse a cache point right after this; None where it takes one."""
    match before:
        case None:
            return "nothing precedes it there"
        case DocumentBlock() if before.format != "pdf":
            return "it would directly follow a document that is not a PDF"
        case VideoBlock():
            return "it would directly follow a video"
        case ReasoningBlock():
            return "it would directly follow reasoning"
        case _Point():
            return "another one is already there"
        case _:
            return None


def _refuse(plan: _Plan) -> None:
    """Leave out the caller's points that the service would refuse, and times to live that the model does not know."""
    for row in plan.rows:
        before: object = None
        for item in list(row.items):
            if type(item) is not _Point:
                before = item
                continue
            # Whether the service refuses a point after reasoning is not known; the caller's own is left to try.
            reason = None if isinstance(before, ReasoningBlock) else _refusal(before)
            if plan.caching is not None and row.part not in plan.caching.parts:
                reason = f"the model does not cache {_PARTS[row.part]}"
            if reason is not None:
                plan.drop(item, reason)
                continue
            before = item
            if plan.caching is not None and item.ttl is not None and item.ttl not in plan.caching.ttls:
                plan.set_ttl(item, None, "the model supports no other")


_PARTS: Final[dict[CachedPart, str]] = {"tools": "tools", "system": "system prompts", "messages": "messages"}


_NOT_CACHING: Final = (
    "nothing was planned: the model is not known to cache prompts; if it does, pass "
    'model_profile={"caching": PromptCaching(min_tokens=...)}'
)
_NOT_KNOWN: Final = (
    "nothing was planned: the model is unknown here, and so not known to cache prompts. If it is an application "
    "inference profile, call `await client.resolve_model(arn)`, or pass the model with inference_profile=arn; for any "
    'other pass model_profile={"caching": PromptCaching(min_tokens=...)}'
)


def _place(plan: _Plan, config: CacheConfig) -> None:
    for part in ("tools", "system"):
        if getattr(config, part) and not any(row.items for row in plan.rows if row.part == part):
            plan.notes.append(f"no point in {part}: the request has none")
    wishes = list(_wishes(plan, config))
    if plan.caching is None:
        if wishes:
            plan.notes.append(_NOT_KNOWN if plan.profile is UNKNOWN else _NOT_CACHING)
        return
    for row, reason in wishes:
        _place_in(plan, row, config.ttl_of(row.part), reason)


def _wishes(plan: _Plan, config: CacheConfig) -> Iterator[tuple[_Row, str]]:
    users = [row for row in plan.rows if row.role == "user"]
    for row in plan.rows:
        if row.part == "messages":
            if config.strategy == "auto" and row.role == "assistant":
                yield row, "the end of an assistant message"
            elif config.messages and users and row is users[-1]:
                yield row, "the end of the last user message"
        elif getattr(config, row.part):
            yield row, "the end of the tools" if row.part == "tools" else "the end of the system prompt"


def _place_in(plan: _Plan, row: _Row, ttl: str | None, reason: str) -> None:
    caching = cast("PromptCaching", plan.caching)
    end = f"{row.path}[{len(row.items)}]"
    if row.part not in caching.parts:
        plan.left_out.append(LeftOutPoint(end, "planned", f"the model does not cache {_PARTS[row.part]}"))
        return
    if ttl is not None and ttl not in caching.ttls:
        plan.notes.append(f"{end}: time to live {ttl} changed to {_DEFAULT_TTL}: the model supports no other")
    known = ttl if ttl in caching.ttls and len(caching.ttls) > 1 else None
    at = len(row.items)
    while at and _refusal(row.items[at - 1]) and type(row.items[at - 1]) is not _Point:
        at -= 1
    if not at or type(row.items[at - 1]) is _Point:
        why = _refusal(row.items[-1] if row.items else None) or "another one is already there"
        plan.left_out.append(LeftOutPoint(end, "planned", why))
        return
    if at < len(row.items):
        reason += f", moved to the front: there {_refusal(row.items[-1])}"
    row.items.insert(at, _Point(row.part, "planned", end, reason, CachePointBlock(type="default", ttl=known)))


# -- sizes


def _measure(plan: _Plan) -> None:
    """Note before each point how many tokens stand there."""
    bytes_before = 0
    known = True
    for row in plan.rows:
        for item in row.items:
            if type(item) is _Point:
                # English has about four bytes to a token, most other texts fewer.
                item.tokens = -(-bytes_before // 4) if known else None
            elif (size := _bytes_of(item)) is None:
                known = False
            else:
                bytes_before += size


def _bytes_of(block: object) -> int | None:
    """Return the bytes of a block's text; None for media, of which nobody knows how many tokens they are."""
    match block:
        case TextBlock() | ReasoningBlock() | CitationsBlock():
            return len(block.text.encode(errors="replace"))
        case GuardContentBlock() if block.text is not None:
            return len(block.text.text.encode(errors="replace"))
        case JsonBlock():
            return _json_bytes(block.json_)
        case ToolUseBlock():
            return len(block.name) + _json_bytes(block.input)
        case ToolSpec():
            return len(block.name) + len(block.description or "") + _json_bytes(block.input_schema.json_)
        case SystemTool():
            return len(block.name)
        case ToolResultBlock():
            sizes = [_bytes_of(piece) for piece in block.content]
            return None if None in sizes else sum(size or 0 for size in sizes)
        case _:
            return None


def _json_bytes(value: object) -> int:
    try:
        return len(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    except (TypeError, ValueError, RecursionError):
        return 0


def _drop_short(plan: _Plan, config: CacheConfig | None) -> None:
    """Leave out planned points that surely have too little before them: they would do nothing, and use up places."""
    if plan.caching is None:
        return
    least = config.min_tokens if config is not None and config.min_tokens is not None else plan.caching.min_tokens
    for point in plan.points():
        # Twice as many tokens as estimated are not seen in any script.
        if point.origin == "planned" and point.tokens is not None and 2 * point.tokens < least:
            reason = f"about {point.tokens:,} tokens precede it; the model caches {least:,} or more"
            plan.drop(point, reason)


# -- number and order


def _trim(plan: _Plan) -> None:
    limit = MAX_CACHE_POINTS if plan.caching is None else min(MAX_CACHE_POINTS, plan.caching.max_points)
    while len(points := plan.points()) > limit:
        point = min(points, key=_worth)
        plan.drop(point, f"the service accepts {limit}, and this one matters least")


def _worth(point: _Point) -> tuple[bool, bool, int]:
    """Rank points by what is lost without them; `min` finds the first, which is the oldest, of equals."""
    # The last point in the messages covers all before it. The one of the tools matters least of the other two: the
    # system prompt comes behind them, and its point covers both.
    if point.origin == "planned":
        return False, point.part != "messages", ("tools", "system", "messages").index(point.part)
    return True, point.part != "messages", ("messages", "tools", "system").index(point.part)


def _order_ttls(plan: _Plan) -> None:
    """Let no point live longer than one before it: raise what stands before the caller's, lower what stands behind."""
    points = plan.points()
    manual = [point for point in points if point.origin == "manual"]
    _raise_earlier(plan, manual)
    shortest: _Point | None = None
    for point in points:
        if point.origin == "manual":
            shortest = point
        elif shortest is not None and point.seconds > shortest.seconds:
            plan.set_ttl(point, shortest.ttl, f"the one before it, {shortest.place}, does not live longer")
    _raise_earlier(plan, points)


def _raise_earlier(plan: _Plan, points: Sequence[_Point]) -> None:
    longest: _Point | None = None
    for point in reversed(points):
        if longest is not None and point.seconds < longest.seconds:
            plan.set_ttl(point, longest.ttl, f"one after it, {longest.place}, lives longer")
        if longest is None or point.seconds > longest.seconds:
            longest = point


# -- the request


def _written(plan: _Plan) -> CachePlan:
    points: list[PlannedPoint] = []
    for row in plan.rows:
        for index, item in enumerate(row.items):
            if type(item) is _Point:
                path = f"{row.path}[{index}]"
                points.append(PlannedPoint(path, row.part, item.origin, item.ttl, item.reason, item.tokens))
    return CachePlan(_request(plan), tuple(points), tuple(plan.left_out), tuple(plan.notes), tuple(plan.adjustments))


def _request(plan: _Plan) -> ConverseRequest:
    request = plan.request
    changes: dict[str, object] = {}
    messages = list(request.messages or ())
    for row, blocks in zip(plan.rows, map(_blocks, plan.rows), strict=True):
        match row.part:
            case "tools" if request.tool_config is not None and blocks != list(request.tool_config.tools):
                changes["tool_config"] = request.tool_config.model_copy(update={"tools": blocks})
            case "system" if blocks != list(request.system or ()):
                changes["system"] = blocks
            case "messages":
                index = int(row.path.partition("[")[2].partition("]")[0])
                if blocks != list(messages[index].content):
                    messages[index] = messages[index].model_copy(update={"content": blocks})
                    changes["messages"] = messages
            case _:
                pass
    return request.model_copy(update=changes) if changes else request


def _blocks(row: _Row) -> list[Any]:
    return [item.block if type(item) is _Point else item for item in row.items]
