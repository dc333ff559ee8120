"""From the request that keywords mean to the one that is sent: reasoning, normaliser, guardrail, cache points, checks.

None of this happens to a ready request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from ..errors import InvalidRequestError
from ..families.profiles import ModelProfile
from ..model_id import ModelId
from ..types import ConverseRequest, JsonBlock, Message, TextBlock, ToolResultBlock
from .adjustment import Adjustment
from .checks import check_given, check_request
from .guardrails import guard_latest_turn, guardrail_settings
from .normalize import is_plain, normalization, normalize, refused
from .reasoning import reasoning_of, without_reasoning, write_reasoning
from .tools import resettle_tool_choice, settle_tool_choice

if TYPE_CHECKING:
    from ..families import ModelFamily
    from ..providers import Provider
    from .cache_plan import CachePlan

_CACHE_POINTS: Final = "cache_points"
_ASKED: Final = frozenset({"cache", "guardrail", "normalize", "reasoning"})
"""The keywords that this module is about."""

Settled: TypeAlias = "tuple[ConverseRequest, tuple[Adjustment, ...], CachePlan | None]"
"""A request that can be sent, what was changed to make it so, and the plan of its cache points if one was made."""


class Prepared(msgspec.Struct, frozen=True):
    """What the arguments of a call come to: the request that is sent, who sends it, and what made it so.

    ``target`` is where it goes, ``base`` the model whose capabilities count, ``profile`` the facts about that;
    ``family`` is there where the provider needs one.
    """

    request: ConverseRequest
    settings: Mapping[str, Any]
    target: ModelId
    base: ModelId
    provider: Provider
    family: ModelFamily | None
    profile: ModelProfile
    adjustments: tuple[Adjustment, ...] = ()
    cache: CachePlan | None = None


def settle(
    request: ConverseRequest,
    messages: object,
    settings: Mapping[str, Any],
    *,
    base_model: str | None,
    profile: ModelProfile,
) -> Settled:
    """Return the request as it is sent. A question in plain text passes at once, for no rule is about it.

    ``messages`` and ``settings`` are what the caller gave. Raises InvalidRequestError with the path.
    """
    if request.tool_config is not None:
        request = settle_tool_choice(request, settings, profile)
    if _ASKED.isdisjoint(settings) and is_plain(request, profile):
        return request, (), None
    check_given(request, messages, settings)
    adjustments: list[Adjustment] = []
    rules = normalization(settings.get("normalize"))
    if (reasoning := reasoning_of(settings.get("reasoning"))) is not None:
        request, made = write_reasoning(request, reasoning, profile)
        adjustments += made
    if rules is not None:
        normalized = normalize(request, base_model=base_model, profile=profile, off=rules.off, strict=rules.strict)
        _check_still_asks(request, normalized.request)
        request = normalized.request
        adjustments += normalized.adjustments
    guardrail = guardrail_settings(settings.get("guardrail"))
    if guardrail is not None and guardrail.latest_turn_only:
        request, made = guard_latest_turn(request)
        adjustments += made
    plan = None
    if (cache := settings.get("cache")) is not None:
        from .cache_plan import cache_config, plan_cache

        plan = plan_cache(request, cache_config(cache), profile)
        request = plan.request
        adjustments += plan.adjustments
    if adjustments and rules is not None and rules.strict:
        raise refused(adjustments)
    check_request(request, profile.media)
    return request, tuple(adjustments), plan


def _check_still_asks(given: ConverseRequest, normalized: ConverseRequest) -> None:
    """Refuse a question without content behind an answer: without it the model would go on with that answer."""
    before, after = given.messages or (), normalized.messages or ()
    if before and after and before[-1].role == "user" and after[-1].role != "user":
        path = f"messages[{len(before) - 1}]"
        raise InvalidRequestError(
            f"{path} contains only blank text, and without it the previous answer would be continued.",
            path=path,
            hint="Ask something, or omit the message if you mean to continue the answer.",
        )


def resettle(
    request: ConverseRequest,
    settings: Mapping[str, Any],
    *,
    was: ModelProfile,
    base_model: str | None,
    profile: ModelProfile,
) -> tuple[ConverseRequest, tuple[Adjustment, ...]]:
    """Return a request that was settled for one model (``was``) as another one takes it, and what that changed.

    Reasoning is written again for the new model, and left out if that cannot take it: an answer without reasoning is
    worth more here than none. Raises InvalidRequestError in strict mode.
    """
    request, made = resettle_tool_choice(request, settings, was=was, profile=profile)
    adjustments: list[Adjustment] = [*made]
    rules = normalization(settings.get("normalize"))
    if (reasoning := reasoning_of(settings.get("reasoning"))) is not None:
        request = without_reasoning(request, reasoning, was)
        try:
            request, made = write_reasoning(request, reasoning, profile)
        except InvalidRequestError as exc:
            made = (Adjustment("reasoning", "reasoning", f"left out: {exc.message}"),)
        adjustments += made
    if rules is not None:
        normalized = normalize(request, base_model=base_model, profile=profile, off=rules.off, strict=rules.strict)
        request = normalized.request
        adjustments += normalized.adjustments
        if adjustments and rules.strict:
            raise refused(adjustments)
    return request, tuple(adjustments)


_IN_RESULT: Final = "messages[0].content[0].toolResult."


def checked_result(result: ToolResultBlock) -> ToolResultBlock:
    """Return the result of a tool. Raises InvalidRequestError where a request with it would be refused.

    What the rules would put right is not a fault.
    """
    if all(isinstance(block, TextBlock | JsonBlock) for block in result.content):
        return result
    try:
        check_request(normalize(ConverseRequest(messages=[Message(role="user", content=[result])])).request)
    except InvalidRequestError as exc:
        path = (exc.path or "").removeprefix(_IN_RESULT)
        raise InvalidRequestError(exc.message.replace(_IN_RESULT, ""), path=path or None, hint=exc.hint) from exc
    return result


def cache_plan_of(prepared: Prepared) -> CachePlan:
    """Return the plan of the cache points of a call, with a note on each one of the caller's that was left out."""
    from .cache_plan import plan_cache

    plan = prepared.cache or plan_cache(prepared.request, None, prepared.profile)
    changes = tuple(
        each for each in prepared.adjustments if each.rule == _CACHE_POINTS and each not in plan.adjustments
    )
    notes = (*map(str, changes), *plan.notes)
    return replace(plan, notes=notes, adjustments=(*changes, *plan.adjustments))


def places_of(adjustments: tuple[Adjustment, ...]) -> str:
    """Return rules and places without what was changed there, which may be a part of a prompt."""
    return ", ".join(f"{each.rule} at {each.path}" for each in adjustments)
