"""How much a model is to think: one setting, written the way each model takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from .._error import a_kind
from ..errors import InvalidRequestError
from ..families.profiles import UNKNOWN, ModelProfile, ReasoningForm
from ..types import ConverseRequest
from .adjustment import Adjustment
from .fields import of_fields

MIN_BUDGET_TOKENS: Final = 1_024
"""The least number of thinking tokens that the service takes.  [user guide, "Extended thinking"]"""

LEVELS: Final = ("minimal", "low", "medium", "high", "xhigh", "max")
"""The levels of effort, the least one first."""

BUDGETS: Final = {"minimal": 1_024, "low": 2_048, "medium": 10_000, "high": 16_384, "xhigh": 32_768, "max": 32_768}
"""Thinking tokens for a level, where a model takes only a number. These are the numbers of Pydantic AI 2.68."""

# Besides the value itself these objects have a member that switches them on.
_SWITCHED_ON: Final = {"thinking": {"type": "enabled"}, "reasoningConfig": {"type": "enabled"}}
_BUDGET_FIELD: Final = "thinking.budget_tokens"
_ADAPTIVE: Final = {"thinking": {"type": "adaptive"}}
_OLD_NAME: Final = "reasoning_config"  # which the service still takes for Claude's thinking.  [corpus, 2025-10]
_RULE: Final = "reasoning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoning:
    """How much a model is to think before it answers, for all models alike.

    - ``budget_tokens``: the most tokens that it may think, 1,024 or more and fewer than ``max_tokens``.
    - ``effort``: ``"minimal"``, ``"low"``, ``"medium"``, ``"high"``, ``"xhigh"`` or ``"max"``.

    Each model gets the one that it takes: if both are given, Claude up to 4.5 gets the number, Nova 2 and the models of
    OpenAI the level. A level that a model does not have becomes the nearest one, or a number for models that take only
    numbers (`reply.meta.adjustments` says so). With neither, a model that can decide for itself does so.

    Raises InvalidRequestError for numbers and levels that no model takes.
    """

    budget_tokens: int | None = None
    effort: Literal["minimal", "low", "medium", "high", "xhigh", "max"] | None = None

    def __post_init__(self) -> None:
        budget = cast("object", self.budget_tokens)
        if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int)):
            raise InvalidRequestError(
                f"reasoning.budget_tokens is {a_kind(budget)}, not a number of tokens.",
                path="reasoning.budget_tokens",
                hint="Pass Reasoning(budget_tokens=4096).",
            )
        if self.budget_tokens is not None and self.budget_tokens < MIN_BUDGET_TOKENS:
            raise InvalidRequestError(
                f"reasoning.budget_tokens is {self.budget_tokens}; it must be {MIN_BUDGET_TOKENS:,} or more.",
                path="reasoning.budget_tokens",
            )
        if self.effort is not None and self.effort not in LEVELS:
            raise InvalidRequestError(
                f"reasoning.effort is {self.effort!r}; it must be one of {', '.join(LEVELS)}.",
                path="reasoning.effort",
                hint="Pass a model's own levels through additional_request_fields.",
            )


def reasoning_of(given: object) -> Reasoning | None:
    """Return what the keyword ``reasoning`` means: a `Reasoning`, or a mapping of its fields."""
    if given is None or isinstance(given, Reasoning):
        return given
    if not isinstance(given, Mapping):
        raise InvalidRequestError(
            f"reasoning is {a_kind(given)}.", path="reasoning", hint='Pass Reasoning(effort="high").'
        )
    return of_fields(Reasoning, cast("Mapping[str, Any]", given), path="reasoning")


def write_reasoning(
    request: ConverseRequest, reasoning: Reasoning, profile: ModelProfile
) -> tuple[ConverseRequest, tuple[Adjustment, ...]]:
    """Return the request with ``reasoning`` the way the model takes it, and what was made to fit.

    Raises InvalidRequestError for a model that does not reason, or for which it is not known how to ask; for a number
    that leaves no tokens to answer; and where ``additional_model_request_fields`` say something else.
    """
    form = profile.reasoning
    if form is None:
        raise _cannot(request, profile)
    writer = _Writer(request, reasoning, form)
    written = writer.fields()
    if not written:
        return request, tuple(writer.adjustments)
    given = request.additional_model_request_fields
    if given is not None and not isinstance(given, Mapping):
        raise InvalidRequestError(
            f"additional_request_fields is {a_kind(given)}: reasoning cannot be written into it.",
            path="additional_request_fields",
        )
    if "thinking" in written and isinstance((given or {}).get(_OLD_NAME), Mapping):
        raise InvalidRequestError(
            f"additional_request_fields contains {_OLD_NAME}, an older name of thinking, which reasoning sets.",
            path=f"additional_request_fields.{_OLD_NAME}",
            hint="Pass one of them.",
        )
    merged = _merged(dict(given or {}), written, "")
    return request.model_copy(update={"additional_model_request_fields": merged}), tuple(writer.adjustments)


def without_reasoning(request: ConverseRequest, reasoning: Reasoning, profile: ModelProfile) -> ConverseRequest:
    """Return the request without what `write_reasoning` put there for a model."""
    given = request.additional_model_request_fields
    if profile.reasoning is None or not isinstance(given, Mapping):
        return request
    bare = request.model_copy(update={"additional_model_request_fields": None})
    left = _less(given, _Writer(bare, reasoning, profile.reasoning).fields())
    copy = request.model_copy(update={"additional_model_request_fields": left or None})
    if not left:
        copy.__pydantic_fields_set__.discard("additional_model_request_fields")
    return copy


def _less(given: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    left: dict[str, Any] = {}
    for name, value in given.items():
        inner = written.get(name)
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            if rest := _less(cast("Mapping[str, Any]", value), cast("Mapping[str, Any]", inner)):
                left[name] = rest
        elif name not in written or value != inner:
            left[name] = value
    return left


def _cannot(request: ConverseRequest, profile: ModelProfile) -> InvalidRequestError:
    if profile is UNKNOWN or profile.source == UNKNOWN.source:
        return InvalidRequestError(
            f"it is not known here how {request.model_id or 'the model'} is asked to reason.",
            path="reasoning",
            hint="Pass its own members as additional_request_fields; for a profile's ARN pass the model's id, and the "
            "ARN as inference_profile=, or call client.resolve_model(arn) once.",
        )
    return InvalidRequestError(
        f"{request.model_id or 'the model'} does not reason, or cannot be told how much.",
        path="reasoning",
        hint="Leave reasoning out. If the facts are outdated, pass additional_request_fields, or the model's facts as "
        'model_profile={"reasoning": ReasoningForm(...)}.',
    )


class _Writer:
    """Finds the members that say for one model what was asked for."""

    def __init__(self, request: ConverseRequest, reasoning: Reasoning, form: ReasoningForm) -> None:
        self.adjustments: list[Adjustment] = []
        self._request = request
        self._asked = reasoning
        self._form = form

    def fields(self) -> dict[str, Any]:
        """Return the additional fields of the request."""
        asked, form = self._asked, self._form
        if asked.budget_tokens is not None and form.budget:
            fields = self._budget(asked.budget_tokens)
            return fields | (self._effort(asked.effort) if asked.effort and form.adaptive else {})
        if form.adaptive:
            if asked.budget_tokens is not None and asked.effort is None:
                raise self._no_budget()
            return _ADAPTIVE | (self._effort(asked.effort) if asked.effort else {})
        if form.budget:
            return self._budget_of_effort()
        if asked.effort is not None and form.efforts:
            return self._effort(asked.effort)
        if asked.budget_tokens is not None:
            raise self._no_budget()
        if asked.effort is not None:
            self._adjust("effort", f"level {asked.effort} left out: the model always reasons, and accepts no level")
        elif not form.always:
            raise self._nothing_said('effort="high"')
        return {}

    def _budget(self, tokens: int) -> dict[str, Any]:
        limit = self._max_tokens()
        if limit is not None and tokens >= limit:
            raise InvalidRequestError(
                f"reasoning.budget_tokens is {tokens:,} and max_tokens {limit:,}: thinking counts as output, and "
                "nothing is left for the answer.",
                path="reasoning.budget_tokens",
                hint=f"Raise max_tokens above {tokens:,}, or lower the budget.",
            )
        field = _BUDGET_FIELD if self._form.efforts else self._form.field or _BUDGET_FIELD
        return _nested(field, tokens)

    def _budget_of_effort(self) -> dict[str, Any]:
        effort = self._asked.effort
        if effort is None:
            raise self._nothing_said("budget_tokens=4096")
        tokens, limit = BUDGETS[effort], self._max_tokens()
        if limit is not None and tokens >= limit:
            if limit <= MIN_BUDGET_TOKENS:
                raise InvalidRequestError(
                    f"max_tokens is {limit:,}, and the model thinks with {MIN_BUDGET_TOKENS:,} tokens or more, which "
                    "count as output: nothing would be left for the answer.",
                    path="max_tokens",
                    hint=f"Raise max_tokens above {MIN_BUDGET_TOKENS:,}, or leave reasoning out.",
                )
            # Half of what there is, so that an answer follows the thoughts.
            tokens = max(MIN_BUDGET_TOKENS, limit // 2)
        self._adjust("effort", f"level {effort} written as {tokens:,} thinking tokens: the model requires a number")
        return self._budget(tokens)

    def _effort(self, effort: str) -> dict[str, Any]:
        form = self._form
        if not form.efforts or form.field is None:
            self._adjust("effort", f"level {effort} left out: the model accepts none")
            return {}
        level = min(form.efforts, key=lambda each: _distance(each, effort))
        if level != effort:
            self._adjust("effort", f"level {effort} written as {level}: the model has {', '.join(form.efforts)}")
        stated = self._request.output_config.effort if self._request.output_config is not None else None
        if stated is not None and stated != level:
            raise InvalidRequestError(
                f"effort is {stated!r} and reasoning.effort {effort!r}.", path="effort", hint="Pass one of them."
            )
        return _nested(form.field, level)

    def _max_tokens(self) -> int | None:
        inference = self._request.inference_config
        return None if inference is None else inference.max_tokens

    def _adjust(self, name: str, change: str) -> None:
        self.adjustments.append(Adjustment(_RULE, f"reasoning.{name}", change))

    def _no_budget(self) -> InvalidRequestError:
        levels = ", ".join(self._form.efforts)
        return InvalidRequestError(
            f"{self._request.model_id or 'the model'} does not accept a number of thinking tokens.",
            path="reasoning.budget_tokens",
            hint=f"Pass Reasoning(effort=...), one of {levels}." if levels else "Leave reasoning out.",
        )

    def _nothing_said(self, example: str) -> InvalidRequestError:
        return InvalidRequestError(
            f"reasoning sets neither effort nor budget, but {self._request.model_id or 'the model'} needs one of them.",
            path="reasoning",
            hint=f"Pass Reasoning({example}).",
        )


def _distance(level: str, wanted: str) -> tuple[int, int]:
    """Rank a level of a model by its distance; of two that are equally near the higher one comes first."""
    if level not in LEVELS:
        return len(LEVELS), 0
    steps = LEVELS.index(level) - LEVELS.index(wanted)
    return abs(steps), -steps


def _nested(field: str, value: object) -> dict[str, Any]:
    head, _, last = field.partition(".")
    return {head: {**_SWITCHED_ON.get(head, {}), last: value}} if last else {head: value}


def _merged(given: dict[str, Any], written: Mapping[str, Any], path: str) -> dict[str, Any]:
    for name, value in written.items():
        here = f"{path}{name}"
        if name not in given:
            given[name] = value
        elif isinstance(given[name], Mapping) and isinstance(value, Mapping):
            given[name] = _merged(dict(given[name]), cast("Mapping[str, Any]", value), f"{here}.")
        elif given[name] != value:
            raise InvalidRequestError(
                f"additional_request_fields say {here} = {given[name]!r}, but reasoning would set {value!r}.",
                path=f"additional_request_fields.{here}",
                hint="Pass one of them.",
            )
    return given
