"""Rules about tools: tool uses, tool results, and tool definitions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from ...families.profiles import ModelProfile
from ...types import (
    AudioBlock,
    CachePointBlock,
    DocumentBlock,
    ImageBlock,
    JsonBlock,
    Message,
    TextBlock,
    ToolConfig,
    ToolInputSchema,
    ToolResultBlock,
    ToolSpec,
    ToolUseBlock,
    VideoBlock,
)
from ._draft import Draft, Turn, changed, edit_blocks, kind_of

NO_OUTPUT: Final = "(no output)"
"""The text of a tool result that has no content: the service rejects one without any."""

SEPARATOR: Final = "OK."
"""The assistant's text between tool results and content that must not share a message with them."""

INVALID_JSON: Final = "INVALID_JSON"
"""The member that holds the input of a tool use that is not a JSON object. The name is that of Anthropic's guide to
fine-grained tool streaming."""

NO_TOOL: Final = "noop"
"""The tool that is declared if the history uses tools and the request has none; Strands uses the same name."""

TOOL_BLOCKS: Final = frozenset({ToolUseBlock, ToolResultBlock})


def with_object_input(use: ToolUseBlock) -> ToolUseBlock:
    """Return a tool use whose input is an object, as a history requires; any other input is kept in one as text."""
    if not use.invalid_input:
        return use
    whole = use.input if isinstance(use.input, str) else json.dumps(use.input)
    return changed(use, input={INVALID_JSON: whole})


def keep_tool_inputs_objects(draft: Draft) -> None:
    """Make the input of each tool use an object; any other input is kept in one as text."""
    if not _any_block(draft, ToolUseBlock, lambda use: not isinstance(use.input, dict)):
        return

    def edit(block: Any, path: str) -> Iterator[Any]:  # noqa: ANN401 - any block
        if type(block) is not ToolUseBlock or not block.invalid_input:
            yield block
            return
        parsed = _object_of(block.input)
        where = f"{path}.toolUse.input"
        if parsed is not None:
            draft.report(where, "JSON text parsed into an object")
        else:
            draft.report(where, f"not a JSON object: kept as text under {INVALID_JSON!r}")
        yield with_object_input(block) if parsed is None else changed(block, input=parsed)

    edit_blocks(draft, edit)


def loosen_tools(draft: Draft) -> None:
    """Drop ``strict`` from the tools."""
    config = draft.request.tool_config
    if config is None:
        return
    definitions = [changed(each, strict=None) if _is_strict(each) else each for each in config.tools]
    for index, each in enumerate(config.tools):
        if _is_strict(each):
            draft.report(f"toolConfig.tools[{index}].toolSpec.strict", "dropped, because the model does not support it")
    if any(map(_is_strict, config.tools)):
        draft.set(tool_config=changed(config, tools=definitions))


def _is_strict(definition: object) -> bool:
    return isinstance(definition, ToolSpec) and definition.strict is True


def _any_block(draft: Draft, kind: type[Any], is_one: Callable[[Any], bool]) -> bool:
    """Tell whether any block of this kind passes the test; most requests have none and need no copy."""
    for turn in draft.turns:
        for block in turn.message.content:
            if type(block) is kind and is_one(block):
                return True
    return False


def _object_of(value: object) -> dict[str, Any] | None:
    if not isinstance(value, str):
        return None
    if not value:  # a tool without arguments: its stream has no piece of input
        return {}
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else None


def write_json_results_as_text(draft: Draft) -> None:
    """Write JSON in tool results as text."""

    def edit(block: Any, path: str) -> Iterator[Any]:  # noqa: ANN401
        if type(block) is JsonBlock:
            draft.report(path, "JSON written as text")
            yield TextBlock(text=json.dumps(block.json_, ensure_ascii=False))
        else:
            yield block

    edit_blocks(draft, edit, results=True)


def fill_empty_results(draft: Draft) -> None:
    """Add a text to tool results without content."""
    if not _any_block(draft, ToolResultBlock, lambda result: not result.content):
        return

    def edit(block: Any, path: str) -> Iterator[Any]:  # noqa: ANN401
        if type(block) is ToolResultBlock and not block.content:
            draft.report(f"{path}.toolResult.content", f"was empty: {NO_OUTPUT!r} added")
            yield changed(block, content=[TextBlock(text=NO_OUTPUT)])
        else:
            yield block

    edit_blocks(draft, edit)


_MEDIA: Final[Mapping[type[Any], str]] = {
    TextBlock: "text",
    ImageBlock: "image",
    DocumentBlock: "document",
    VideoBlock: "video",
    AudioBlock: "audio",
}


def separate_tool_results(draft: Draft) -> None:
    """Move content that must not be next to tool results into a turn of its own.

    The service joins consecutive turns of one role, so an assistant turn must separate them.
    [pydantic-ai 2.68.0, observed]
    """
    turns: list[Turn] = []
    for turn in draft.turns:
        if turn.message.role != "user" or ToolResultBlock not in (kinds := set(map(type, turn.message.content))):
            turns.append(turn)
            continue
        here, after = _split(turn.message.content, kinds, draft.profile)
        if not after:
            turns.append(turn)
            continue
        blocks = "1 block" if len(after) == 1 else f"{len(after)} blocks"
        draft.report(turn.path, f"tool results separated from {blocks} by an assistant message")
        turns += [
            Turn(changed(turn.message, content=here), turn.path),
            Turn(Message(role="assistant", content=[TextBlock(text=SEPARATOR)]), turn.path),
            Turn(changed(turn.message, content=after), turn.path),
        ]
    draft.turns = turns


def _split(content: Sequence[Any], kinds: set[type[Any]], profile: ModelProfile) -> tuple[list[Any], list[Any]]:
    beside = profile.beside_tool_results
    if "text" in beside and TextBlock in kinds:
        # Claude accepts a document next to a tool result if there is text, too.  [corpus, 2025-11]
        beside |= {"document"}
    here: list[Any] = []
    after: list[Any] = []
    into = here
    for block in content:
        if type(block) is not CachePointBlock:  # which stays with the block before it
            media = _MEDIA.get(kind_of(block))
            into = after if media is not None and media not in beside else here
        into.append(block)
    return here, after


def declare_a_tool(draft: Draft) -> None:
    """Declare an unused tool if the history uses tools and the request has none."""
    config = draft.request.tool_config
    if config is not None and any(type(tool) is not CachePointBlock for tool in config.tools):
        return
    if not any(type(block) in TOOL_BLOCKS for turn in draft.turns for block in turn.message.content):
        return
    schema = ToolInputSchema(json={"type": "object", "properties": {}})
    tool = ToolSpec(name=NO_TOOL, description="Never use this tool.", input_schema=schema)
    draft.report("toolConfig", f"tool {NO_TOOL!r} declared, because the history uses tools")
    draft.set(tool_config=ToolConfig(tools=[tool]))
