"""The turns of a conversation: what may be given as one, and that each tool use has its result."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from .._error import a_kind
from ..errors import InvalidRequestError
from ..types import ContentBlock, Message, TextBlock, ToolResultBlock, ToolUseBlock, UnknownBlock
from ..types._wire import Block
from .settings import build_request
from .tool_results import error_block, result_block

TurnItem: TypeAlias = "str | Message | ContentBlock | Mapping[str, object]"
"""Text, one block of content, or a message."""

TurnContent: TypeAlias = "TurnItem | Sequence[TurnItem]"
"""What is said next: text, one block of content or several, a message, or several messages; dicts are boto3-shaped."""

_HINT: Final = 'Pass "a question", blocks such as [{"image": {...}}, "What is this?"], or messages.'
_SERVER: Final = "server_tool_use"


def given_turn(content: object) -> list[Any]:
    """Return the messages that were given as a turn, as they were given. Raises InvalidRequestError."""
    if isinstance(content, str):
        return [{"role": "user", "content": [{"text": content}]}]
    if _is_message(content):
        return [content]
    if _is_block(content):
        return [{"role": "user", "content": [content]}]
    if isinstance(content, bytes | bytearray) or not isinstance(content, Sequence):
        raise InvalidRequestError(
            f"a turn is text, blocks or messages, not {a_kind(content)}.", path="content", hint=_HINT
        )
    items = list(cast("Sequence[object]", content))
    if not items:
        raise InvalidRequestError("the turn is empty.", path="content", hint=_HINT)
    if _is_message(items[0]):
        _require_all(items, _is_message, "message")
        return items
    _require_all(items, _is_piece, "block")
    return [{"role": "user", "content": [{"text": item} if isinstance(item, str) else item for item in items]}]


def messages_of(given: Sequence[Any]) -> tuple[Message, ...]:
    """Return messages that were given, as objects. Raises InvalidRequestError with the path of what is wrong."""
    return tuple(build_request("any", given, {}).messages or ())


def _is_message(item: object) -> bool:
    return isinstance(item, Message) or (isinstance(item, Mapping) and "role" in item)


def _is_block(item: object) -> bool:
    return isinstance(item, Block | UnknownBlock) or (isinstance(item, Mapping) and "role" not in item)


def _is_piece(item: object) -> bool:
    return isinstance(item, str) or _is_block(item)


def _require_all(items: Sequence[object], fits: Callable[[object], bool], kind: str) -> None:
    for index, item in enumerate(items):
        if not fits(item):
            what = "a message" if _is_message(item) else a_kind(item)
            raise InvalidRequestError(
                f"content[{index}] is {what}, among items that are {kind}s.", path=f"content[{index}]", hint=_HINT
            )


# -- tools


def open_tool_uses(messages: Sequence[Message]) -> list[ToolUseBlock]:
    """Return the tool uses of the last message: those whose results must come next."""
    return _tool_uses(messages[-1]) if messages else []


def _tool_uses(message: Message) -> list[ToolUseBlock]:
    if message.role != "assistant":
        return []
    # What the service runs itself has its result in the same message.
    return [block for block in message.content if isinstance(block, ToolUseBlock) and block.type != _SERVER]


def check_tool_pairs(messages: Sequence[Message]) -> None:
    """Refuse a history in which a tool use has no result behind it, or a result no tool use before it.

    Tool uses of the last message are open, which is no fault. Raises InvalidRequestError with the path.
    """
    asked: dict[str, str] = {}
    waiting: dict[str, str] = {}
    asking = 0
    for index, message in enumerate(messages):
        if message.role == "assistant":
            if waiting:
                raise _unanswered(asking, waiting)
            asked = {use.tool_use_id: use.name for use in _tool_uses(message)}
            waiting, asking = dict(asked), index
        elif message.role == "user":
            for at, block in enumerate(message.content):
                if isinstance(block, ToolResultBlock):
                    _check_asked(block, asked, f"messages[{index}].content[{at}]")
                    waiting.pop(block.tool_use_id, None)
    if waiting and asking < len(messages) - 1:
        raise _unanswered(asking, waiting)


def check_may_ask(messages: Sequence[Message], said: Sequence[Message]) -> None:
    """Refuse a history that no model can answer; ``said`` is its new end. Raises InvalidRequestError."""
    check_tool_pairs(messages)
    if said and all(isinstance(each, TextBlock) and not each.text.strip() for turn in said for each in turn.content):
        raise InvalidRequestError("the turn is blank: there is nothing to answer.", path="content", hint=_HINT)
    if uses := open_tool_uses(messages):
        raise _unanswered(len(messages) - 1, {use.tool_use_id: use.name for use in uses})
    if not said and (not messages or messages[-1].role == "assistant"):
        what = "the history ends with an answer" if messages else "the history is empty"
        raise InvalidRequestError(f"{what}, and the turn is empty.", path="content", hint=_HINT)


def _unanswered(index: int, waiting: Mapping[str, str]) -> InvalidRequestError:
    uses = ", ".join(f"{name} ({tool_use_id})" for tool_use_id, name in waiting.items())
    noun = "use" if len(waiting) == 1 else "uses"
    return InvalidRequestError(
        f"messages[{index}] has {len(waiting)} tool {noun} without a result after it: {uses}.",
        path=f"messages[{index}]",
        hint="The results come next, all of them: await chat.converse(chat.tool_results({tool_use_id: result, ...})).",
    )


def _check_asked(block: ToolResultBlock, asked: Mapping[str, str], path: str) -> None:
    if block.tool_use_id not in asked:
        known = ", ".join(asked) or "none"
        raise InvalidRequestError(
            f"{path} is the result of {block.tool_use_id!r}, which the answer before it did not ask for.",
            path=path,
            hint=f"The tool uses of that answer: {known}.",
        )


def with_answer(messages: Sequence[Message], answer: Message) -> list[Message]:
    """Return a history with an answer behind it; one that goes on where the assistant had begun becomes one message."""
    if not answer.content:
        return list(messages)
    if not messages or messages[-1].role != "assistant":
        return [*messages, answer]
    begun = messages[-1]
    return [*messages[:-1], begun.model_copy(update={"content": [*begun.content, *answer.content]})]


def without_output_tool(answer: Message, name: str | None) -> Message:
    """Return an answer that is the input of the tool ``name``, which was there for that alone, as one of text.

    The last input counts; other tools that are asked for beside it are left out, for nobody runs them. An answer
    without that tool stays as it is.
    """
    uses = _tool_uses(answer)
    outputs = [use.input for use in uses if use.name == name]
    if not outputs:
        return answer
    last = outputs[-1]
    text = last if isinstance(last, str) else json.dumps(last, ensure_ascii=False)
    content = [block for block in answer.content if block not in uses]
    return answer.model_copy(update={"content": [*content, TextBlock(text=text)]})


def tool_results(uses: Sequence[ToolUseBlock], results: Mapping[str, object]) -> Message:
    """Return the message with the results of these tool uses, in their order.

    Keys are ids of tool uses, or names of tools that are used once; values are what tools may return (`result_block`),
    or exceptions. Raises InvalidRequestError for results that are missing or that nobody asked for.
    """
    if not hasattr(results, "items"):
        raise InvalidRequestError(
            f"results is {a_kind(results)}, not a mapping.",
            path="results",
            hint="Pass {tool_use_id: result, ...}.",
        )
    names = [use.name for use in uses]
    by_key = {use.name: use for use in uses if names.count(use.name) == 1} | {use.tool_use_id: use for use in uses}
    found: dict[str, object] = {}
    for key, value in results.items():
        if key not in by_key:
            times = names.count(key)
            known = ", ".join(f"{use.tool_use_id} ({use.name})" for use in uses) or "none"
            raise InvalidRequestError(
                f"{key!r} was asked for {times} times." if times else f"there is no open tool use {key!r}.",
                path=f"results[{key!r}]",
                hint=f"{'Name its results by their ids. ' if times else ''}Open: {known}.",
            )
        found[by_key[key].tool_use_id] = value
    missing = {use.tool_use_id: use.name for use in uses if use.tool_use_id not in found}
    if missing or not uses:
        listed = ", ".join(f"{tool_use_id} ({name})" for tool_use_id, name in missing.items())
        raise InvalidRequestError(
            f"the results of {listed} are missing." if missing else "the last answer asked for no tool.",
            path="results",
            hint="Pass a result for each; an exception tells the model that the tool failed." if missing else None,
        )
    return Message(role="user", content=[_result(use, found[use.tool_use_id]) for use in uses])


def _result(use: ToolUseBlock, value: object) -> ToolResultBlock:
    if isinstance(value, BaseException):
        return error_block(use, f"{type(value).__name__}: {value}")
    try:
        return result_block(use, value)
    except (TypeError, ValueError) as exc:
        raise InvalidRequestError(
            f"the result of {use.name} ({use.tool_use_id}) is invalid: {exc}.",
            path=f"results[{use.tool_use_id!r}]",
            hint="Pass text, JSON values, content blocks, or an exception.",
        ) from exc
