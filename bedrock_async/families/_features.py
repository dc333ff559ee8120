"""The features that a request uses, which a family may or may not be able to express in a native body."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final, TypeAlias, cast

from .._error import a_kind
from ..errors import InvalidRequestError
from ..types import (
    AudioBlock,
    CachePointBlock,
    CitationsBlock,
    ContentBlock,
    ConverseRequest,
    DocumentBlock,
    GuardContentBlock,
    ImageBlock,
    ReasoningBlock,
    SearchResultBlock,
    SystemTool,
    TextBlock,
    ToolAdditionBlock,
    ToolConfig,
    ToolRemovalBlock,
    ToolResultBlock,
    ToolSpec,
    ToolUseBlock,
    UnknownBlock,
    VideoBlock,
    WireModel,
)

FEATURES: Final[dict[str, str]] = {
    "audio": "audio clips",
    "cache_points": "cache points",
    "citations": "citations, or documents to be cited",
    "documents": "documents",
    "effort": "an effort level",
    "guard_content": "content marked for the guardrail",
    "images": "images",
    "max_tokens": "max_tokens",
    "prompt_variables": "variables of a managed prompt",
    "reasoning": "reasoning in the history",
    "response_field_paths": "paths of additional response fields",
    "s3_sources": "media in S3",
    "search_results": "search results",
    "server_tools": "tools that the service runs",
    "stop_sequences": "stop sequences",
    "strict_tools": "strict tools",
    "structured_output": "a schema for the answer",
    "system": "a system prompt",
    "system_messages": "messages with the role system, or with an unknown role",
    "temperature": "temperature",
    "tool_choice": "a forced choice among the tools",
    "tool_changes": "tools added or removed along the way",
    "tools": "tools, tool uses and their results",
    "top_p": "top_p",
    "unknown_blocks": "blocks that this version does not know",
    "unknown_members": "members or values that this version does not know",
    "video": "videos",
}
"""The features of a request beyond text, described in words. `ModelFamily.supports` returns the supported ones."""

CARRIED: Final = ("guardrail_config", "performance_config", "service_tier")
"""Request members that InvokeModel has headers for: the provider sends them, so families need not support them."""

_HINT: Final = "Call it with provider='converse', or leave that out."

_Use: TypeAlias = tuple[str, str]
"""A feature, and the path where it is used."""

_BLOCKS: Final[dict[type[WireModel], str]] = {
    AudioBlock: "audio",
    CachePointBlock: "cache_points",
    CitationsBlock: "citations",
    DocumentBlock: "documents",
    GuardContentBlock: "guard_content",
    ImageBlock: "images",
    ReasoningBlock: "reasoning",
    SearchResultBlock: "search_results",
    SystemTool: "server_tools",
    ToolAdditionBlock: "tool_changes",
    ToolRemovalBlock: "tool_changes",
    ToolResultBlock: "tools",
    ToolSpec: "tools",
    ToolUseBlock: "tools",
    UnknownBlock: "unknown_blocks",
    VideoBlock: "video",
}

# Converse's names for tools that the caller runs. Any other type is one of the service's own: "server_tool_use",
# "nova_code_interpreter_result".  [corpus, 2026]
_CALLERS_TYPES: Final = frozenset({None, "tool_use", "tool_result"})
_STATUSES: Final = frozenset({None, "success", "error"})


def features_used(request: ConverseRequest) -> dict[str, str]:
    """Return the features that a request uses, each with the path of its first use."""
    used: dict[str, str] = {}
    for feature, path in _uses(request):
        used.setdefault(feature, path)
    return used


def check_supported(request: ConverseRequest, supported: Collection[str], *, family: str, model: str) -> None:
    """Refuse what a family cannot express. Raises InvalidRequestError, which names family, feature and path."""
    for feature, path in _uses(request):
        if feature not in supported:
            raise unsupported(feature, family=family, model=model, path=path)


def check_carried(request: ConverseRequest) -> None:
    """Refuse members outside the native body for which there is no header. Raises InvalidRequestError."""
    for name in CARRIED:
        if isinstance(value := getattr(request, name), WireModel):
            for _, path in _unknown(value, name):
                raise InvalidRequestError(
                    f"InvokeModel has no header for {path}.",
                    path=path,
                    hint=_HINT,
                )


def unsupported(
    feature: str | WireModel, *, family: str, model: str, path: str | None = None, hint: str = _HINT
) -> InvalidRequestError:
    """Return the error for a feature that a family cannot express, for families that find out while encoding.

    ``feature`` is one of `FEATURES`, a description ("documents of the format xlsx"), or a block that cannot be in this
    place, whose type the error names. Pass a ``hint`` where Converse is not an alternative, as for embeddings.
    """
    what = FEATURES.get(feature, feature) if isinstance(feature, str) else f"{a_kind(feature)} here"
    return InvalidRequestError(
        f"the family {family!r} cannot express {what}{f' ({path})' if path else ''} in the native body of "
        f"{model or 'the model'}.",
        path=path,
        hint=hint,
    )


def _uses(request: ConverseRequest) -> Iterator[_Use]:
    yield from _settings(request)
    for index, block in enumerate(request.system or ()):
        path = f"system[{index}]"
        if index == 0:
            yield "system", path
        yield from _unknown(block, path)
        yield from _block(block, path)
    if request.tool_config is not None:
        yield from _tools(request.tool_config)
    for index, message in enumerate(request.messages or ()):
        yield from _unknown(message, f"messages[{index}]")
        if message.role not in {"user", "assistant"}:
            yield "system_messages", f"messages[{index}]"
        yield from _content(message.content, f"messages[{index}].content")


def _settings(request: ConverseRequest) -> Iterator[_Use]:
    for name in CARRIED:
        if isinstance(value := getattr(request, name), WireModel):
            yield from _unknown(value, name)
    if (inference := request.inference_config) is not None:
        yield from _unknown(inference, "inference_config")
        for name in ("max_tokens", "temperature", "top_p"):
            if getattr(inference, name) is not None:
                yield name, f"inference_config.{name}"
        if inference.stop_sequences:
            yield "stop_sequences", "inference_config.stop_sequences"
    if (output := request.output_config) is not None:
        yield from _unknown(output, "output_config")
        if output.text_format is not None:
            yield "structured_output", "output_config.text_format"
            if output.text_format.type != "json_schema":
                yield "unknown_members", "output_config.text_format.type"
        if output.effort is not None:
            yield "effort", "output_config.effort"
    if request.prompt_variables:
        yield "prompt_variables", "prompt_variables"
    if request.additional_model_response_field_paths:
        yield "response_field_paths", "additional_model_response_field_paths"


def _tools(config: ToolConfig) -> Iterator[_Use]:
    yield from _unknown(config, "tool_config")
    for index, tool in enumerate(config.tools):
        path = f"tool_config.tools[{index}]"
        yield from _block(tool, path)
        if isinstance(tool, ToolSpec) and tool.strict:
            yield "strict_tools", f"{path}.strict"
    choice = config.tool_choice
    if choice is not None and choice.auto is None:
        yield "tool_choice", "tool_config.tool_choice"


def _content(content: Iterable[ContentBlock], where: str) -> Iterator[_Use]:
    for index, block in enumerate(content):
        yield from _block(block, f"{where}[{index}]")


def _unknown(holder: WireModel, path: str) -> Iterator[_Use]:
    """Yield the unknown members of an object and of everything it contains."""
    if holder.model_extra:
        yield "unknown_members", f"{path}.{min(holder.model_extra)}"
    if isinstance(holder, CitationsBlock):  # comes from an answer; its citations may have members of the family's own
        return
    for name, value in holder:
        if isinstance(value, WireModel):
            yield from _unknown(value, f"{path}.{name}")
        elif isinstance(value, list):
            for index, each in enumerate(cast("list[object]", value)):
                # Most are texts, which contain nothing further: checking their own members is enough.
                if isinstance(each, WireModel) and (each.model_extra or type(each) is not TextBlock):
                    yield from _unknown(each, f"{path}.{name}[{index}]")


def _block(block: WireModel, path: str) -> Iterator[_Use]:
    if not isinstance(block, TextBlock) and (feature := _BLOCKS.get(type(block))) is not None:
        yield feature, path
    match block:
        case ToolResultBlock():
            if block.type not in _CALLERS_TYPES:
                yield "server_tools", f"{path}.type"
            if block.status not in _STATUSES:
                yield "unknown_members", f"{path}.status"
            for index, piece in enumerate(block.content):
                yield from _block(piece, f"{path}.content[{index}]")
        case ToolUseBlock() if block.type not in _CALLERS_TYPES:
            yield "server_tools", f"{path}.type"
        case CachePointBlock() if block.type != "default":
            yield "unknown_members", f"{path}.type"
        case DocumentBlock() | ImageBlock() | VideoBlock() | AudioBlock():
            if block.source.s3_location is not None:
                yield "s3_sources", f"{path}.source.s3_location"
            if isinstance(block, DocumentBlock) and block.citations is not None and block.citations.enabled:
                yield "citations", f"{path}.citations"
        case _:
            pass
