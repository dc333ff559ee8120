"""The Responses API: the body of a request."""

from __future__ import annotations

import json
import re
from binascii import b2a_base64
from collections.abc import Iterator
from typing import Any, Final, cast

from bedrock_async import (
    ContentBlock,
    ConverseRequest,
    ImageBlock,
    InferenceConfig,
    InvalidRequestError,
    JsonBlock,
    Message,
    OutputFormat,
    ReasoningBlock,
    TextBlock,
    ToolChoice,
    ToolConfig,
    ToolResultBlock,
    ToolSpec,
    ToolUseBlock,
    UnknownBlock,
)

from .routes import Route
from .seals import unsealed

__all__ = ["RESPONSES_FEATURES", "responses_body"]

RESPONSES_FEATURES: Final = frozenset(
    {
        *("effort", "images", "max_tokens", "reasoning", "strict_tools", "structured_output", "system"),
        *("system_messages", "temperature", "tool_choice", "tools", "top_p", "unknown_blocks"),
    }
)
"""What the Responses API can express; it has no stop sequences."""

_ENCRYPTED: Final = "reasoning.encrypted_content"


def responses_body(request: ConverseRequest, route: Route, *, stream: bool) -> dict[str, Any]:
    """Return the body of a request. Raises InvalidRequestError for what it cannot express.

    ``store`` is False: otherwise the service keeps input and output for 30 days, and a Converse call keeps nothing.
    """
    body: dict[str, Any] = {"model": route.model}
    if request.system:
        texts = [_only_text(block, f"system[{index}]") for index, block in enumerate(request.system)]
        body["instructions"] = "\n".join(texts)
    body["input"] = [
        item for index, message in enumerate(request.messages or ()) for item in _items(message, f"messages[{index}]")
    ]
    body |= _sampling(request.inference_config)
    if request.tool_config is not None:
        body |= _tools(request.tool_config)
    if (output := request.output_config) is not None:
        if output.text_format is not None:
            body["text"] = {"format": _text_format(output.text_format)}
        if output.effort is not None:
            body["reasoning"] = {"effort": output.effort}
    if route.encrypted_reasoning:
        body["include"] = [_ENCRYPTED]
    return {**body, "store": False, "stream": stream}


def _sampling(inference: InferenceConfig | None) -> dict[str, Any]:
    if inference is None:
        return {}
    members = {
        "max_output_tokens": inference.max_tokens,
        "temperature": inference.temperature,
        "top_p": inference.top_p,
    }
    return {name: value for name, value in members.items() if value is not None}


def _tools(config: ToolConfig) -> dict[str, Any]:
    tools: list[dict[str, Any]] = []
    for tool in config.tools:
        if isinstance(tool, ToolSpec):
            # In the API a tool is strict by default, which most schemas do not meet.
            function = {"name": tool.name, "parameters": tool.input_schema.json_, "strict": bool(tool.strict)}
            if tool.description is not None:
                function["description"] = tool.description
            tools.append({"type": "function", **function})
    members: dict[str, Any] = {"tools": tools}
    if config.tool_choice is not None:
        members["tool_choice"] = _tool_choice(config.tool_choice)
    return members


def _tool_choice(choice: ToolChoice) -> object:
    if choice.tool is not None:
        return {"type": "function", "name": choice.tool.name}
    return "required" if choice.any is not None else "auto"


def _text_format(text_format: OutputFormat) -> dict[str, Any]:
    definition = text_format.structure.json_schema
    written: dict[str, Any] = {"type": "json_schema", "name": "answer"}
    if definition is not None:
        written |= {"name": definition.name or "answer", "schema": json.loads(definition.schema_)}
        if definition.description is not None:
            written["description"] = definition.description
    return written


def _items(message: Message, path: str) -> Iterator[dict[str, Any]]:
    """Yield the items of one turn: tool calls, tool results and reasoning are items beside messages."""
    parts: list[ContentBlock] = []

    def said() -> Iterator[dict[str, Any]]:
        if parts:
            yield {"role": message.role, "content": _content(parts, message.role)}
            parts.clear()

    for index, block in enumerate(message.content):
        where = f"{path}.content[{index}]"
        match block:
            case TextBlock():
                parts.append(block)
            case ImageBlock() if message.role != "assistant":
                parts.append(block)
            case ToolUseBlock():
                yield from said()
                arguments = block.input if isinstance(block.input, str) else json.dumps(block.input)
                call = {"call_id": block.tool_use_id, "name": block.name, "arguments": arguments}
                yield {"type": "function_call", **call}
            case ToolResultBlock():
                yield from said()
                yield {"type": "function_call_output", "call_id": block.tool_use_id, "output": _result(block, where)}
            case ReasoningBlock():
                yield from said()
                yield _reasoning(block, where)
            case UnknownBlock():
                yield from said()
                yield _own_item(block, where)
            case _:
                raise _unsupported(f"a block of type {type(block).__name__} in a message of the {message.role}", where)
    yield from said()


def _content(blocks: list[ContentBlock], role: str) -> object:
    if role != "user" or len(blocks) == 1:
        texts = [block.text for block in blocks if isinstance(block, TextBlock)]
        if len(texts) == len(blocks):
            return "".join(texts) if role == "assistant" else "\n".join(texts)
    return [_part(block) for block in blocks]


def _part(block: object) -> dict[str, Any]:
    if isinstance(block, ImageBlock):
        data = b2a_base64(block.source.bytes or b"", newline=False).decode("ascii")
        return {"type": "input_image", "detail": "auto", "image_url": f"data:image/{block.format};base64,{data}"}
    return {"type": "input_text", "text": block.text if isinstance(block, TextBlock) else ""}


def _result(block: ToolResultBlock, path: str) -> object:
    texts: list[str] = []
    parts: list[dict[str, Any]] = []
    for index, piece in enumerate(block.content):
        match piece:
            case TextBlock():
                texts.append(piece.text)
            case JsonBlock():
                texts.append(json.dumps(piece.json_, ensure_ascii=False))
            case ImageBlock():
                parts.append(_part(piece))
                continue
            case _:
                what = f"a block of type {type(piece).__name__} in the result of a tool"
                raise _unsupported(what, f"{path}.content[{index}]")
        parts.append({"type": "input_text", "text": texts[-1]})
    # A result has no member for its status, so its text tells the model.
    failed = block.status == "error" and not "".join(texts).lower().startswith("error")
    if len(texts) == len(parts):
        text = "\n".join(texts)
        return f"Error: {text}" if failed else text
    return [{"type": "input_text", "text": "Error:"}, *parts] if failed else parts


def _reasoning(block: ReasoningBlock, path: str) -> dict[str, Any]:
    """Return the item that the reasoning came as: readable, or encrypted."""
    if (item := unsealed(block)) is not None:
        summary = [{"type": "summary_text", "text": block.text}] if block.text else []
        return {"type": "reasoning", **item, "summary": summary}
    content = [{"type": "reasoning_text", "text": block.text}]
    return {"type": "reasoning", "id": "rs_" + re.sub(r"\W+", "_", path).strip("_"), "summary": [], "content": content}


def _own_item(block: UnknownBlock, path: str) -> dict[str, Any]:
    """Return an item of the API that Converse has no block for, such as a web search, as `ResponsesReader` kept it."""
    for name, item in block.raw.items():
        if len(block.raw) == 1 and isinstance(item, dict) and cast("dict[str, Any]", item).get("type") == name:
            return cast("dict[str, Any]", item)
    raise _unsupported("blocks that this version does not know", path)


def _only_text(block: object, path: str) -> str:
    if not isinstance(block, TextBlock):
        raise _unsupported(f"a block of type {type(block).__name__} in the system prompt", path)
    return block.text


def _unsupported(what: str, path: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"the provider 'mantle' cannot express {what} ({path}) in the Responses API.",
        path=path,
        hint="Call the model with provider='converse', or leave that out.",
    )
