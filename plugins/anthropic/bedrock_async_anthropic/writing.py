"""The Messages API body for InvokeModel (bedrock-2023-05-31), written from a Converse request."""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias, cast

from bedrock_async.families import FamilyContext, document_text, misplaced_cache_point, tool_use_input, unsupported
from bedrock_async.types import (
    CachePointBlock,
    CitationsBlock,
    ConverseRequest,
    DocumentBlock,
    ImageBlock,
    InferenceConfig,
    JsonBlock,
    JsonSchemaDefinition,
    OutputConfig,
    ReasoningBlock,
    SearchResultBlock,
    TextBlock,
    ToolChoice,
    ToolConfig,
    ToolResultBlock,
    ToolSpec,
    ToolUseBlock,
    UnknownBlock,
    WireModel,
)

from .citations import has_place, native_citation

Block: TypeAlias = dict[str, Any]
"""A native content block."""

VERSION: Final = "bedrock-2023-05-31"

# max_tokens is required. If it is not given, Converse uses the model's maximum, and so does this; a model of unknown
# maximum gets this many.
_DEFAULT_MAX_TOKENS: Final = 4_096


def write_messages(request: ConverseRequest, ctx: FamilyContext) -> dict[str, Any]:
    """Return the body. Raises InvalidRequestError for what it cannot express."""
    writer = _Writer(ctx)
    body: dict[str, Any] = {
        "anthropic_version": VERSION,
        "max_tokens": ctx.profile.max_output_tokens or _DEFAULT_MAX_TOKENS,
        "messages": [
            {"role": message.role, "content": writer.blocks(message.content, f"messages[{index}].content")}
            for index, message in enumerate(request.messages or ())
        ],
    }
    if request.system:
        body["system"] = writer.blocks(request.system, "system")
    if request.inference_config is not None:
        body |= _sampling(request.inference_config)
    if request.tool_config is not None:
        body |= _tools(request.tool_config, writer)
    if request.output_config is not None and (output := _output(request.output_config)):
        body["output_config"] = output
    return body


def _sampling(inference: InferenceConfig) -> dict[str, Any]:
    members = {
        "max_tokens": inference.max_tokens,
        "temperature": inference.temperature,
        "top_p": inference.top_p,
        "stop_sequences": list(inference.stop_sequences) if inference.stop_sequences else None,
    }
    return {name: value for name, value in members.items() if value is not None}


def _tools(config: ToolConfig, writer: _Writer) -> dict[str, Any]:
    members: dict[str, Any] = {"tools": writer.blocks(config.tools, "tool_config.tools")}
    if config.tool_choice is not None:
        members["tool_choice"] = _tool_choice(config.tool_choice)
    return members


def _tool_choice(choice: ToolChoice) -> dict[str, str]:
    if choice.tool is not None:
        return {"type": "tool", "name": choice.tool.name}
    return {"type": "any" if choice.any is not None else "auto"}


def _output(config: OutputConfig) -> dict[str, Any]:
    output: dict[str, Any] = {}
    if config.effort is not None:
        output["effort"] = config.effort
    if config.text_format is not None and (definition := config.text_format.structure.json_schema) is not None:
        output["format"] = {"type": "json_schema", "schema": _schema(definition)}
    return output


def _schema(definition: JsonSchemaDefinition) -> object:
    """Return the schema with the description inside it: the body has no member for a description or a name."""
    schema: object = json.loads(definition.schema_)
    if definition.description is None or not isinstance(schema, dict):
        return schema
    return {"description": definition.description, **cast("dict[str, Any]", schema)}


class _Writer:
    """Writes native blocks; its errors name the model and the place."""

    def __init__(self, ctx: FamilyContext) -> None:
        self._model = ctx.base_model

    def blocks(self, blocks: Iterable[WireModel], path: str) -> list[Block]:
        """Return native blocks; a cache point becomes ``cache_control`` of the block before it."""
        written: list[Block] = []
        for index, block in enumerate(blocks):
            where = f"{path}[{index}]"
            if isinstance(block, CachePointBlock):
                if not written:
                    raise misplaced_cache_point(path=where)
                written[-1]["cache_control"] = {"type": "ephemeral", **({"ttl": block.ttl} if block.ttl else {})}
            else:
                written.append(self._block(block, where))
        return written

    def _block(self, block: WireModel, path: str) -> Block:
        match block:
            case TextBlock():
                return {"type": "text", "text": block.text}
            case ImageBlock():
                return {"type": "image", "source": self._data(block.source.bytes, f"image/{block.format}", path)}
            case DocumentBlock():
                return self._document(block, path)
            case ToolUseBlock():
                tool_input = tool_use_input(block, path=path)
                return {"type": "tool_use", "id": block.tool_use_id, "name": block.name, "input": tool_input}
            case ToolResultBlock():
                return self._tool_result(block, path)
            case JsonBlock():
                return {"type": "text", "text": json.dumps(block.json_, ensure_ascii=False)}
            case ReasoningBlock():
                return _reasoning(block)
            case CitationsBlock():
                return {"type": "text", "text": block.text, "citations": self._citations(block, path)}
            case SearchResultBlock():
                return _search_result(block)
            case ToolSpec():
                return _tool(block)
            case UnknownBlock(raw=raw) if len(raw) == 1 and isinstance(members := next(iter(raw.values())), Mapping):
                # A native block that Converse has no type for, as `read_message` keeps it: restore it.
                return {"type": next(iter(raw)), **cast("Mapping[str, Any]", members)}
            case _:
                raise unsupported(block, family="anthropic", model=self._model, path=path)

    def _citations(self, block: CitationsBlock, path: str) -> list[Block]:
        citations = list(block.citations or ())
        for index, citation in enumerate(citations):
            if not has_place(citation):
                what, where = "a citation that does not tell a place in its source", f"{path}.citations[{index}]"
                raise unsupported(what, family="anthropic", model=self._model, path=where)
        return [native_citation(citation) for citation in citations]

    def _data(self, data: bytes | None, media_type: str, path: str) -> dict[str, str]:
        if data is None:
            raise unsupported("s3_sources", family="anthropic", model=self._model, path=f"{path}.source")
        encoded = b2a_base64(data, newline=False).decode("ascii")
        return {"type": "base64", "media_type": media_type, "data": encoded}

    def _document(self, block: DocumentBlock, path: str) -> Block:
        written: Block = {"type": "document", "source": self._document_source(block, path), "title": block.name}
        if block.context is not None:
            written["context"] = block.context
        if block.citations is not None:
            written["citations"] = {"enabled": block.citations.enabled}
        return written

    def _document_source(self, block: DocumentBlock, path: str) -> dict[str, Any]:
        if block.source.content is not None:
            parts = [{"type": "text", "text": part.text or ""} for part in block.source.content]
            return {"type": "content", "content": parts}
        if (text := document_text(block, path=path)) is not None:
            return {"type": "text", "media_type": "text/plain", "data": text}
        if block.format not in {None, "pdf"}:
            what = f"documents of the format {block.format}"
            raise unsupported(what, family="anthropic", model=self._model, path=path)
        return self._data(block.source.bytes, "application/pdf", path)

    def _tool_result(self, block: ToolResultBlock, path: str) -> Block:
        content = self.blocks(block.content, f"{path}.content")
        written: Block = {"type": "tool_result", "tool_use_id": block.tool_use_id, "content": content}
        if block.status == "error":
            written["is_error"] = True
        return written


def _reasoning(block: ReasoningBlock) -> Block:
    if block.redacted_content is not None:
        # Converse's blob is the text of the native member.  [corpus, 2025-11]
        return {"type": "redacted_thinking", "data": block.redacted_content.decode("latin-1")}
    written: Block = {"type": "thinking", "thinking": block.text}
    if block.signature is not None:
        written["signature"] = block.signature
    return written


def _search_result(block: SearchResultBlock) -> Block:
    content = [{"type": "text", "text": part.text} for part in block.content]
    written: Block = {"type": "search_result", "source": block.source, "title": block.title, "content": content}
    if block.citations is not None:
        written["citations"] = {"enabled": block.citations.enabled}
    return written


def _tool(tool: ToolSpec) -> Block:
    written: Block = {"name": tool.name, "input_schema": tool.input_schema.json_}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.strict is not None:
        written["strict"] = tool.strict
    return written
