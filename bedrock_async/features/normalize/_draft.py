"""The parts that rules are made of: the request on its way through them, and the functions that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import msgspec

from ...families.profiles import ModelProfile
from ...types import ConverseRequest, Message, ToolResultBlock, WireModel
from ..adjustment import Adjustment

M = TypeVar("M", bound=WireModel)


class Turn(msgspec.Struct):
    """A message on its way through the rules; ``path`` is its position in what the caller gave."""

    message: Message
    path: str


class Draft(msgspec.Struct):
    """A request on its way through the rules. The messages are in ``turns`` until the end."""

    request: ConverseRequest
    turns: list[Turn]
    profile: ModelProfile
    base_model: str = ""
    rule: str = ""
    blocks: frozenset[type[Any]] = frozenset()
    """The kinds of blocks that the current rule is about."""
    changes: list[Adjustment] = msgspec.field(default_factory=list[Adjustment])

    def report(self, path: str, change: str) -> None:
        """Record a change made by the current rule."""
        self.changes.append(Adjustment(self.rule, path, change))

    def set(self, **members: object) -> None:
        """Set members of the request; None removes a member."""
        self.request = changed(self.request, **members)


def _always(_profile: ModelProfile) -> bool:
    return True


class Rule(msgspec.Struct, frozen=True):
    """One row of the table.

    - ``why``: what the rule prevents.
    - ``models``: patterns of the base model ids (without geography) that it is for. An id that does not name the model,
      such as that of an application profile, matches only ``"*"``.
    - ``applies``: whether the rule is for a model with these facts.
    - ``blocks``: the kinds of blocks without which it has nothing to do; empty if it looks at the settings.
    """

    name: str
    why: str
    apply: Callable[[Draft], None]
    models: tuple[str, ...] = ("*",)
    applies: Callable[[ModelProfile], bool] = _always
    blocks: frozenset[type[Any]] = frozenset()

    def fits(self, base_model: str) -> bool:
        """Tell whether the rule is for the family of this model."""
        if self.models == ("*",):
            return True
        return any(fnmatchcase(base_model, pattern) for pattern in self.models)


def changed(model: M, **members: object) -> M:
    """Return a copy with these members changed; None removes a member."""
    gone = {name for name, value in members.items() if value is None}
    copy = model.model_copy(update=members)
    if gone:
        copy.__pydantic_fields_set__.difference_update(gone)
    return copy


def edit_blocks(draft: Draft, edit: Callable[[Any, str], Iterable[Any]], *, results: bool = False) -> None:
    """Replace each block of the messages with what ``edit(block, path)`` yields; ``results`` includes tool results.

    Messages without a block that the rule is about are skipped.
    """
    looked_for = draft.blocks | {ToolResultBlock} if results else draft.blocks
    for turn in draft.turns:
        if looked_for.isdisjoint(map(type, turn.message.content)):
            continue
        content = list(_edited(turn.message.content, f"{turn.path}.content", edit, results=results))
        if not same(content, turn.message.content):
            turn.message = changed(turn.message, content=content)


def _edited(
    blocks: Sequence[Any], path: str, edit: Callable[[Any, str], Iterable[Any]], *, results: bool
) -> Iterator[Any]:
    for index, block in enumerate(blocks):
        here = f"{path}[{index}]"
        made = block
        if results and type(block) is ToolResultBlock:
            inner = list(_edited(block.content, f"{here}.toolResult.content", edit, results=False))
            made = block if same(inner, block.content) else changed(block, content=inner)
        yield from edit(made, here)


def same(made: Sequence[object], given: Sequence[object]) -> bool:
    """Tell whether both contain the same objects in the same order."""
    return len(made) == len(given) and all(new is old for new, old in zip(made, given, strict=True))


def kind_of(block: object) -> type[Any]:
    """Return the class of a block, as the key of a table."""
    return type(block)


def thinking_of(request: ConverseRequest) -> tuple[str, Mapping[str, object]] | None:
    """Return the name and value of the additional field that enables Claude's reasoning; None if none does.

    ``reasoning_config`` is an older name of ``thinking``, which the service still accepts.  [corpus, 2025-10]
    """
    fields = request.additional_model_request_fields
    for name in ("thinking", "reasoning_config"):
        thinking = fields.get(name) if isinstance(fields, Mapping) else None
        if isinstance(thinking, Mapping) and thinking.get("type") != "disabled":
            return name, thinking
    return None
