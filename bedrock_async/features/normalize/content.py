"""Rules about content: texts, documents, media, and whole messages."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, cast

from ...errors import InvalidRequestError
from ...types import (
    CachePointBlock,
    DocumentBlock,
    GuardContentBlock,
    ImageBlock,
    ReasoningBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    VideoBlock,
    WireModel,
)
from ..checks import document_name, document_name_fault
from ._draft import Draft, Turn, changed, edit_blocks, kind_of, same

DOCUMENT_TEXT: Final = "The document is attached."
"""The text added to a message with a document and no text: the service requires a text block there."""


def read_s3_locations(draft: Draft) -> None:
    """Write ``{"location": {"type": "s3", "uri": ..., "bucketOwner": ...}}``, Strands' form, as ``s3Location``."""

    def edit(block: Any, path: str) -> Iterator[Any]:  # noqa: ANN401 - any block
        source = getattr(block, "source", None)
        location = source.model_extra.get("location") if isinstance(source, WireModel) and source.model_extra else None
        if not isinstance(source, WireModel) or not isinstance(location, Mapping):
            yield block
            return
        members = dict(cast("Mapping[str, object]", location))
        kind = members.pop("type", "s3")
        if kind != "s3" or not isinstance(members.get("uri"), str):
            raise InvalidRequestError(
                f"{path}.{block.tag}.source.location is not an S3 location.",
                path=f"{path}.{block.tag}.source.location",
                hint='Pass {"s3Location": {"uri": "s3://bucket/key"}}.',
            )
        draft.report(f"{path}.{block.tag}.source.location", "written as s3Location")
        yield changed(block, source=type(source).from_dict({"s3Location": members}))

    edit_blocks(draft, edit, results=True)


_FORMATS: Final[Mapping[type[Any], Mapping[str, str]]] = {
    VideoBlock: {"3gp": "three_gp"},
    ImageBlock: {"jpg": "jpeg"},
    DocumentBlock: {"htm": "html", "markdown": "md"},
}


def name_formats(draft: Draft) -> None:
    """Use the service's names for formats."""

    def edit(block: Any, path: str) -> Iterator[Any]:  # noqa: ANN401
        plain = _FORMATS.get(kind_of(block), {}).get(getattr(block, "format", None) or "")
        if plain is None:
            yield block
            return
        draft.report(f"{path}.{block.tag}.format", f"{block.format} written as {plain}")
        yield changed(block, format=plain)

    edit_blocks(draft, edit, results=True)


def drop_blank_text(draft: Draft) -> None:
    """Drop blank text blocks from messages, tool results and the system prompt."""
    for turn in draft.turns:
        if not _has_blank(turn.message.content):
            continue
        content = _without_blank(draft, turn.message.content, f"{turn.path}.content")
        if not same(content, turn.message.content):
            turn.message = changed(turn.message, content=content)
    system = draft.request.system
    if system is not None and _has_blank(system):
        kept = _without_blank(draft, system, "system")
        if not same(kept, system):
            draft.set(system=kept or None)


def _has_blank(blocks: Sequence[Any]) -> bool:
    for block in blocks:
        if type(block) is TextBlock:
            if not block.text or block.text.isspace():
                return True
        elif type(block) is ToolResultBlock:
            if _has_blank(block.content):
                return True
        elif type(block) is GuardContentBlock and _is_blank(block):
            return True
    return False


def _without_blank(draft: Draft, blocks: Sequence[Any], path: str) -> list[Any]:
    kept: list[Any] = []
    for index, block in enumerate(blocks):
        here = f"{path}[{index}]"
        if type(block) is ToolResultBlock:
            inner = _without_blank(draft, block.content, f"{here}.toolResult.content")
            kept.append(block if same(inner, block.content) else changed(block, content=inner))
        elif _is_blank(block) and not _holds_cache_point(kept, blocks[index + 1 :]):
            draft.report(here, "blank text dropped")
        else:
            kept.append(block)
    return kept


def _is_blank(block: Any) -> bool:  # noqa: ANN401 - any block
    text = block.text if type(block) is GuardContentBlock else block if type(block) is TextBlock else None
    return text is not None and (not text.text or text.text.isspace())


_NO_POINT_BEHIND: Final = frozenset({DocumentBlock, VideoBlock})


def _holds_cache_point(before: Sequence[object], after: Sequence[object]) -> bool:
    """Tell whether a text separates a cache point from a document or video.

    The service rejects the point directly after one, and accepts a line break between them.  [corpus, 2026]
    """
    return bool(before and after) and type(before[-1]) in _NO_POINT_BEHIND and type(after[0]) is CachePointBlock


def drop_empty_messages(draft: Draft) -> None:
    """Drop messages that have nothing left but cache points, and join the two around a dropped one.

    Recorded answers to consecutive messages of one role exist; so do public reports of "A conversation must alternate
    between user and assistant roles".  [corpus, 2025-08; langchain-ai/langchain-aws 130]
    """
    if all(turn.message.content and type(turn.message.content[0]) is not CachePointBlock for turn in draft.turns):
        return
    kept: list[Turn] = []
    dropped = False
    for turn in draft.turns:
        if all(type(block) is CachePointBlock for block in turn.message.content):
            draft.report(turn.path, "message without content dropped")
            dropped = True
            continue
        if dropped and kept and kept[-1].message.role == turn.message.role:
            draft.report(turn.path, f"joined with {kept[-1].path}, which has the same role")
            before = kept.pop()
            joined = changed(before.message, content=[*before.message.content, *turn.message.content])
            turn = Turn(joined, before.path)  # noqa: PLW2901
        dropped = False
        kept.append(turn)
    draft.turns = kept


def name_documents(draft: Draft) -> None:
    """Give each document a unique name that the service accepts."""
    taken: set[str] = set()

    def edit(block: Any, path: str) -> Iterator[Any]:  # noqa: ANN401
        if type(block) is not DocumentBlock:
            yield block
            return
        taken_as_it_is = document_name_fault(block.name) is None
        name = _free(block.name if taken_as_it_is else document_name(block.name), taken)
        taken.add(name)
        if name == block.name:
            yield block
        else:
            draft.report(f"{path}.document.name", f"changed to {name!r}")
            yield changed(block, name=name)

    edit_blocks(draft, edit, results=True)


def _free(name: str, taken: Collection[str]) -> str:
    """Return a free name. A growing history changes none of the earlier names, which may be part of a cached prefix."""
    number, free = 1, name
    while free in taken:
        number += 1
        ending = f" ({number})"
        free = name[: 200 - len(ending)] + ending
    return free


def put_text_beside_documents(draft: Draft) -> None:
    """Add a text block to messages that have a document and no text."""
    for turn in draft.turns:
        kinds = set(map(type, turn.message.content))
        if DocumentBlock in kinds and TextBlock not in kinds:
            last = max(i for i, block in enumerate(turn.message.content) if type(block) is DocumentBlock)
            content = list(turn.message.content)
            content.insert(last + 1, TextBlock(text=DOCUMENT_TEXT))
            turn.message = changed(turn.message, content=content)
            draft.report(f"{turn.path}.content", f"{DOCUMENT_TEXT!r} added to a document without text")


def order_blocks(draft: Draft) -> None:
    """Put reasoning first and text before tool uses in assistant messages, tool results first in user messages."""
    for turn in draft.turns:
        if draft.blocks.isdisjoint(map(type, turn.message.content)):
            continue
        answer = turn.message.role == "assistant"
        ordered = _ordered(turn.message.content, _ANSWER_RANKS if answer else _USER_RANKS)
        if not same(ordered, turn.message.content):
            change = "reasoning moved to the front, text before the tool uses" if answer else _RESULTS_FIRST
            draft.report(f"{turn.path}.content", change)
            turn.message = changed(turn.message, content=ordered)


_ANSWER_RANKS: Final[Mapping[type[Any], int]] = {ReasoningBlock: 0, ToolUseBlock: 2}
# "The tool_result blocks must come first in the content array."  [Claude's documentation, "Handle tool calls"]
_USER_RANKS: Final[Mapping[type[Any], int]] = {ToolResultBlock: 0}
_RESULTS_FIRST: Final = "tool results moved to the front"


def _ordered(content: Sequence[object], order: Mapping[type[Any], int]) -> Sequence[object]:
    ranks = [order.get(type(block), 1) for block in content if type(block) is not CachePointBlock]
    if all(rank <= following for rank, following in pairwise(ranks)):
        return content
    # Server tool uses keep their positions, and so do the results that follow them.
    if order is _ANSWER_RANKS and any(
        getattr(block, "type", None) == "server_tool_use" or type(block) is ToolResultBlock for block in content
    ):
        return content
    groups: list[tuple[int, list[Any]]] = []
    for block in content:
        if type(block) is CachePointBlock and groups:
            groups[-1][1].append(block)
        else:
            groups.append((order.get(kind_of(block), 1), [block]))
    # Reasoning between the blocks of an answer is as the service sent it, and is signed; only an answer that does not
    # begin with reasoning was assembled by hand.
    if order is _ANSWER_RANKS and groups and groups[0][0] == 0:
        groups = [(1 if rank == 0 and index else rank, blocks) for index, (rank, blocks) in enumerate(groups)]
    return [block for _, blocks in sorted(groups, key=lambda group: group[0]) for block in blocks]


def trim_last_assistant_text(draft: Draft) -> None:
    """Drop trailing whitespace from an answer that the model is to continue."""
    if not draft.turns or (turn := draft.turns[-1]).message.role != "assistant" or not turn.message.content:
        return
    *before, last = turn.message.content
    if type(last) is TextBlock and last.text != (text := last.text.rstrip()) and text:
        draft.report(f"{turn.path}.content[{len(before)}].text", "trailing whitespace dropped")
        turn.message = changed(turn.message, content=[*before, changed(last, text=text)])
