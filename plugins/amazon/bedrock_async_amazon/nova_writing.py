"""Nova's request, written from Converse's: nearly the same JSON, with cache points as members of blocks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from bedrock_async.families import FamilyContext, misplaced_cache_point, tool_use_input, unsupported
from bedrock_async.types import (
    CachePointBlock,
    ConverseRequest,
    ToolConfig,
    ToolResultBlock,
    ToolSpec,
    ToolUseBlock,
    WireModel,
)

Block: TypeAlias = dict[str, Any]
"""A native content block."""

SCHEMA_VERSION: Final = "messages-v1"

# Converse's members, except documents, which InvokeModel does not take.
# [Nova user guides, "Invoking understanding models", "Request and response schema"]
_NOVA_FEATURES: Final = frozenset(
    {
        *("cache_points", "images", "max_tokens", "s3_sources", "stop_sequences", "system", "temperature"),
        *("tool_choice", "tools", "top_p", "unknown_blocks", "unknown_members", "video"),
    }
)
# New in Nova 2: reasoning and its effort, audio, tools that the service runs, and citations of what those found.
_NOVA_2_FEATURES: Final = _NOVA_FEATURES | {"audio", "citations", "effort", "reasoning", "server_tools"}


def nova_features(ctx: FamilyContext) -> frozenset[str]:
    """Return what the model's generation can express."""
    return _NOVA_2_FEATURES if _is_nova_2(ctx) else _NOVA_FEATURES


def write_nova(request: ConverseRequest, ctx: FamilyContext) -> dict[str, Any]:
    """Return the body. Raises InvalidRequestError for what it cannot express."""
    # Nova 2's documented request has no version, and the service refuses unknown members.
    body: dict[str, Any] = {} if _is_nova_2(ctx) else {"schemaVersion": SCHEMA_VERSION}
    body["messages"] = [
        {
            "role": message.role,
            **(message.model_extra or {}),
            "content": _blocks(message.content, f"messages[{index}].content"),
        }
        for index, message in enumerate(request.messages or ())
    ]
    if request.system:
        body["system"] = _blocks(request.system, "system")
    if request.inference_config is not None and (inference := request.inference_config.to_wire()):
        body["inferenceConfig"] = inference
    if request.tool_config is not None:
        body["toolConfig"] = _tools(request.tool_config, ctx)
    if (output := request.output_config) is not None:
        if output.model_extra:
            path = f"output_config.{min(output.model_extra)}"
            raise unsupported("unknown_members", family="amazon", model=ctx.base_model, path=path)
        if output.effort is not None:
            body["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": output.effort}
    return body


def _is_nova_2(ctx: FamilyContext) -> bool:
    return ctx.base_model.startswith("amazon.nova-2-")


def _blocks(blocks: Iterable[WireModel], path: str) -> list[Block]:
    """Return native blocks; a cache point becomes a member of the block before it."""
    written: list[Block] = []
    for index, block in enumerate(blocks):
        where = f"{path}[{index}]"
        if isinstance(block, CachePointBlock):
            if not written:
                raise misplaced_cache_point(path=where)
            written[-1] |= block.to_wire()
        else:
            written.append(_block(block, where))
    return written


def _block(block: WireModel, path: str) -> Block:
    wire: Block = block.to_wire()
    if isinstance(block, ToolUseBlock):
        tool_use_input(block, path=path)  # refuses one that was cut off
        _without_plain_type(wire["toolUse"])
    elif isinstance(block, ToolResultBlock):
        _without_plain_type(wire["toolResult"])
    return wire


def _without_plain_type(members: Block) -> None:
    """Remove the type that Converse adds to tool uses that the caller runs: the native schema does not have it."""
    if members.get("type") in {None, "tool_use", "tool_result"}:
        members.pop("type", None)


def _tools(config: ToolConfig, ctx: FamilyContext) -> dict[str, Any]:
    members: dict[str, Any] = config.to_wire()
    tools: list[Block] = []
    for index, tool in enumerate(config.tools):
        if isinstance(tool, CachePointBlock):
            # Nova caches system prompts and messages only.  [Bedrock user guide, "Prompt caching"]
            path = f"tool_config.tools[{index}]"
            raise unsupported("cache points among the tools", family="amazon", model=ctx.base_model, path=path)
        wire: Block = tool.to_wire()
        if isinstance(tool, ToolSpec):
            wire["toolSpec"].pop("strict", None)  # False is the default; True was refused before
        tools.append(wire)
    return {**members, "tools": tools}
