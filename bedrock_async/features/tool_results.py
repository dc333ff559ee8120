"""What tools return, as the results that the model reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any, Final, Literal, cast, get_args

from pydantic_core import PydanticSerializationError, to_jsonable_python

from ..types import (
    JsonBlock,
    JSONValue,
    TextBlock,
    ToolResultBlock,
    ToolResultContent,
    ToolUseBlock,
    UnknownBlock,
)
from .normalize import NO_OUTPUT

_BLOCKS: Final[tuple[type[Any], ...]] = get_args(get_args(ToolResultContent)[0])
_TAGS: Final = frozenset(each.tag for each in _BLOCKS if each is not UnknownBlock)
_NOTHING: Final = frozenset[object]()
_MEMBERS: Final = frozenset({"toolUseId", "status", "content"})
_STATUSES: Final = frozenset({"success", "error"})


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool may return to say more than its value: ``status="error"`` tells the model that it failed.

    ``content`` is anything that a tool may return. Without a status none is sent, which counts as success.
    """

    content: object = None
    status: Literal["success", "error"] | None = None


def result_block(use: ToolUseBlock, value: object) -> ToolResultBlock:
    """Return the result of a tool use for what the tool returned.

    - Text is text; None and empty text are ``"(no output)"``, because the service wants some.
    - Blocks (`ImageBlock`, `DocumentBlock`, `VideoBlock`, `JsonBlock`, `SearchResultBlock`...) are the content, alone
      or in a list, where other values may stand between them.
    - Mappings, pydantic models, dataclasses and the like, which are objects in JSON, are JSON; lists, numbers and the
      rest are JSON written as text, because the service takes only objects.
    - `ToolResult`, `ToolResultBlock` and boto3's ``{"status": "error", "content": [{"text": ...}]}`` have a status.

    Raises TypeError for what JSON cannot hold.
    """
    if isinstance(value, ToolResultBlock):
        return value.model_copy(update={"tool_use_id": use.tool_use_id})
    if isinstance(value, ToolResult):
        return _block(use, _content(value.content), value.status)
    if _is_wire_result(value):
        return ToolResultBlock.from_dict({**cast("Mapping[str, object]", value), "toolUseId": use.tool_use_id})
    return _block(use, _content(value), None)


def error_block(use: ToolUseBlock, told: object) -> ToolResultBlock:
    """Return the result that tells the model of a failure; ``told`` is anything that a tool may return."""
    block = result_block(use, told)
    return block if block.status == "error" else block.model_copy(update={"status": "error"})


def _block(use: ToolUseBlock, content: Sequence[Any], status: str | None) -> ToolResultBlock:
    return ToolResultBlock(
        tool_use_id=use.tool_use_id,
        content=content or [TextBlock(text=NO_OUTPUT)],
        status=status,
    )


def _is_wire_result(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    members = cast("Mapping[str, object]", value)
    content = members.get("content")
    return (
        members.get("status") in _STATUSES
        and members.keys() <= _MEMBERS
        and isinstance(content, list)
        and all(_is_wire_block(each) for each in cast("list[object]", content))
    )


def _is_wire_block(value: object) -> bool:
    """Tell boto3's blocks from the objects of others: a service may well answer with a status and a content."""
    members = frozenset(cast("Mapping[object, object]", value)) if isinstance(value, Mapping) else _NOTHING
    return len(members) == 1 and members <= _TAGS


def _content(value: object) -> list[Any]:
    """Return the blocks that a value is; none for nothing."""
    if value is None or (isinstance(value, str) and not value):
        return []
    blocks = _blocks(value)
    return [_plain(value)] if blocks is None else blocks


def _blocks(value: object) -> list[Any] | None:
    """Return the blocks that a value holds; None for a value without any."""
    if isinstance(value, _BLOCKS):
        return [value]
    if isinstance(value, list | tuple):
        items = cast("Sequence[object]", value)
        if any(isinstance(item, _BLOCKS) for item in items):
            return [block for item in items for block in _content(item)]
    return None


def _plain(value: object) -> TextBlock | JsonBlock:
    if isinstance(value, str):
        return TextBlock(text=value)
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("bytes are not a result: return an ImageBlock or a DocumentBlock with them")
    try:
        document = _with_names(to_jsonable_python(value))
    except (PydanticSerializationError, ValueError, RecursionError) as exc:
        raise TypeError(f"JSON cannot represent a value of type {type(value).__name__} ({exc})") from exc
    if isinstance(document, dict):
        return JsonBlock(json=document)
    # "Provide a json object for the field": the service takes nothing else there.  [public threads]
    return TextBlock(text=document if isinstance(document, str) else json.dumps(document, ensure_ascii=False))


def _with_names(document: JSONValue) -> JSONValue:
    """Write the numbers that JSON has not as their names."""
    if isinstance(document, float) and not isfinite(document):
        return "NaN" if isnan(document) else "Infinity" if document > 0 else "-Infinity"
    if isinstance(document, dict):
        return {name: _with_names(member) for name, member in document.items()}
    if isinstance(document, list):
        return [_with_names(item) for item in document]
    return document
