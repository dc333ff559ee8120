"""Applies the table to a request: which rules, in which order, and what they report."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

from ...errors import InvalidRequestError
from ...families.profiles import UNKNOWN, ModelProfile
from ...types import ConverseRequest, SystemTool, TextBlock, ToolResultBlock, ToolSpec
from ..adjustment import Adjustment
from ._draft import Draft, Rule, Turn
from .table import RULES

_WHY: Final = {rule.name: rule.why for rule in RULES}


def check_rules(names: Collection[str]) -> None:
    """Reject names that no rule has. Raises InvalidRequestError with the nearest one."""
    for name in names:
        if name not in _WHY:
            near = difflib.get_close_matches(name, _WHY, n=1)
            raise InvalidRequestError(
                f"there is no rule {name!r} to switch off.",
                path="normalize",
                hint=f"Did you mean {near[0]!r}?" if near else f"The rules are: {', '.join(_WHY)}.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization:
    """How requests made from keywords are corrected before they are sent.

    - ``off``: names of rules that must not run; docs/requests.md lists them.
    - ``strict``: reject a request that would have to be changed, and change nothing.

    Raises InvalidRequestError for a rule that does not exist.
    """

    off: Collection[str] = ()
    strict: bool = False

    def __post_init__(self) -> None:
        off = (self.off,) if isinstance(self.off, str) else self.off
        object.__setattr__(self, "off", frozenset(off))
        check_rules(self.off)


_TOOLS: Final = frozenset({ToolSpec, SystemTool})
_DEFAULT: Final = Normalization()
_STRICT: Final = Normalization(strict=True)


def normalization(value: object) -> Normalization | None:
    """Return what the keyword ``normalize`` means; None if nothing is to be changed.

    Raises InvalidRequestError for values other than True, False, ``"strict"`` and a `Normalization`.
    """
    if value is None or value is True:
        return _DEFAULT
    if value is False:
        return None
    if isinstance(value, Normalization):
        return value
    if value == "strict":
        return _STRICT
    raise InvalidRequestError(
        f"normalize is {value!r}.",
        path="normalize",
        hint='Pass True, False, "strict", or Normalization(off={"document_name"}).',
    )


class Normalized(msgspec.Struct, frozen=True):
    """A request that can be sent, and what was changed to make it so."""

    request: ConverseRequest
    adjustments: tuple[Adjustment, ...] = ()


def normalize(
    request: ConverseRequest,
    *,
    base_model: str | None = None,
    profile: ModelProfile = UNKNOWN,
    off: Collection[str] = (),
    strict: bool = False,
) -> Normalized:
    """Return ``request`` as the service accepts it, and the changes made. The given request is not changed.

    ``base_model`` is the model's id without geography, None if the model behind an ARN is unknown; ``off`` names the
    rules that must not run. Raises InvalidRequestError for a rule that does not exist and, if ``strict``, for a request
    that would have to be changed.
    """
    if off:
        check_rules(off)
    kinds = _kinds(request)
    draft = Draft(
        request,
        [Turn(message, f"messages[{index}]") for index, message in enumerate(request.messages or ())],
        profile,
        base_model or "",
    )
    for rule in _rules_about(base_model or "", frozenset(kinds)):
        if rule.name not in off and rule.applies(profile):
            draft.rule, draft.blocks = rule.name, rule.blocks
            rule.apply(draft)
    if not draft.changes:
        return Normalized(request)
    if strict:
        raise refused(draft.changes)
    if request.messages is not None:
        draft.set(messages=[turn.message for turn in draft.turns])
    return Normalized(draft.request, tuple(draft.changes))


def is_plain(request: ConverseRequest, profile: ModelProfile) -> bool:
    """Tell quickly whether no rule has anything to do: texts only, none of them blank, the last one the user's.

    Tools may be declared. A request that is not plain may still need no change; a plain one is never changed, whatever
    the model is.
    """
    if request.additional_model_request_fields is not None or not request.messages:
        return False
    if (config := request.tool_config) is not None:
        if not _TOOLS.issuperset(map(type, config.tools)):
            return False
        if not profile.strict_tools and any(type(each) is ToolSpec and each.strict for each in config.tools):
            return False
    if (inference := request.inference_config) is not None and (
        inference.temperature is not None or inference.top_p is not None
    ):
        both = inference.temperature is not None and inference.top_p is not None
        if not profile.sampling or (both and not profile.temperature_with_top_p):
            return False
    for message in request.messages:
        if not message.content or not _all_text(message.content):
            return False
    return request.messages[-1].role == "user" and (request.system is None or _all_text(request.system))


def _all_text(blocks: Sequence[Any]) -> bool:
    for block in blocks:  # noqa: SIM110 - a generator would double what a plain question costs here
        if type(block) is not TextBlock or not block.text or block.text.isspace():
            return False
    return True


def rules_for(base_model: str | None, profile: ModelProfile = UNKNOWN) -> tuple[Rule, ...]:
    """Return the rules for a model, in the order in which they run."""
    return tuple(rule for rule in _rules_of(base_model or "") if rule.applies(profile))


@lru_cache(maxsize=512)
def _rules_of(base_model: str) -> tuple[Rule, ...]:
    return tuple(rule for rule in RULES if rule.fits(base_model))


@lru_cache(maxsize=1024)
def _rules_about(base_model: str, kinds: frozenset[type[Any]]) -> tuple[Rule, ...]:
    """Return the rules for a model that have something to do in a request with these kinds of blocks."""
    return tuple(rule for rule in _rules_of(base_model) if not rule.blocks or not kinds.isdisjoint(rule.blocks))


def refused(changes: Sequence[Adjustment]) -> InvalidRequestError:
    """Return the error of strict mode for a request that would have to be changed."""
    first = changes[0]
    more = f" ({len(changes) - 1} more changes follow)" if len(changes) > 1 else ""
    why = _WHY.get(first.rule)
    switch = f", switch the rule {first.rule!r} off," if why else ""
    return InvalidRequestError(
        f"{first.path} would have to be changed: {first.change}{more}.",
        path=first.path,
        hint=f"Change it{switch} or turn strict mode off.{f' {why}' if why else ''}",
    )


def _kinds(request: ConverseRequest) -> set[type[Any]]:
    kinds: set[type[Any]] = {type(block) for block in request.system or ()}
    if request.tool_config is not None:
        kinds.update(map(type, request.tool_config.tools))
    for message in request.messages or ():
        kinds.update(map(type, message.content))
        for block in message.content:
            if type(block) is ToolResultBlock:
                kinds.update(map(type, block.content))
    return kinds
