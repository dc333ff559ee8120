"""What a Converse request asks of the engine, in the words of chat templates. Pure.

The model reads text only. Text-like documents, search results, tool calls and tool results become text; images and
the like are refused by name. Two things that the model cannot do by itself, calling tools and keeping to a JSON schema,
a grammar makes it do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

from bedrock_async.errors import InvalidRequestError, ServiceError, service_error
from bedrock_async.types import (
    CachePointBlock,
    CitationsBlock,
    ContentBlock,
    ConverseRequest,
    DocumentBlock,
    GuardContentBlock,
    JsonBlock,
    JSONValue,
    OutputConfig,
    ReasoningBlock,
    SearchResultBlock,
    TextBlock,
    ToolConfig,
    ToolResultBlock,
    ToolResultContent,
    ToolSpec,
    ToolUseBlock,
    UnknownBlock,
)

from .engine import DEFAULT_MAX_TOKENS, ChatMessage, ChatRequest
from .schemas import contradiction

__all__ = [
    "DEFAULT_SYSTEM_PROMPT",
    "Plan",
    "chosen_tool",
    "clean_text",
    "invalid",
    "read_request",
    "tool_choice_request",
    "tool_input_request",
]

# With it the model answered 18 of 20 easy questions; without it, it drifts into other topics and languages.
DEFAULT_SYSTEM_PROMPT: Final = (
    "You are a helpful, honest assistant. You always reply in plain English, stay on the question, "
    "and keep the answer short."
)

_TEXT_FORMATS: Final = frozenset({"txt", "md", "csv", "html"})
_SAMPLING_FIELDS: Final = frozenset(
    {"frequency_penalty", "min_p", "presence_penalty", "repeat_penalty", "seed", "top_k"}
)
_LONE_SURROGATES: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the engine does for a Converse request."""

    chat: ChatRequest
    """The generation that answers; when ``tools`` is not empty, the conversation that leads to the call."""
    stop_sequences: tuple[str, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    """The tools, one of which must be called; empty if the answer is text."""
    question: str = ""
    """The user's last message, by which one of several tools is chosen."""


def invalid(message: str) -> ServiceError:
    """Return the error for a request that is refused: ValidationException, the service's code."""
    return service_error("ValidationException", message)


def clean_text(text: str) -> str:
    """Return the text without lone surrogates, which cannot be encoded: each becomes U+FFFD."""
    return _LONE_SURROGATES.sub("\ufffd", text)


def read_request(wire: Mapping[str, JSONValue]) -> Plan:
    """Return the plan for a Converse request (wire JSON). Raises ServiceError (ValidationException)."""
    try:
        request = ConverseRequest.from_wire(wire)
    except InvalidRequestError as exc:
        raise invalid(f"The request cannot be read: {exc.message}") from exc
    system, messages = _conversation(request)
    config = request.inference_config
    chat = ChatRequest(messages=messages, sampling=_sampling(request.additional_model_request_fields))
    if config is not None:
        chat = replace(
            chat,
            max_tokens=config.max_tokens or DEFAULT_MAX_TOKENS,
            temperature=config.temperature or 0.0,
            top_p=config.top_p,
        )
    stops = tuple(config.stop_sequences or ()) if config is not None else ()
    tools = _forced_tools(request.tool_config)
    if tools:
        question = next((message["content"] for message in reversed(messages) if message["role"] == "user"), "")
        return Plan(chat=_with_system(chat, system), tools=tools, question=question)
    schema = _output_schema(request.output_config)
    if schema is not None:
        instruction = f"Reply with only JSON that follows this JSON schema: {json.dumps(schema, ensure_ascii=False)}"
        chat = replace(_with_system(chat, [*system, instruction]), json_schema=schema)
    else:
        chat = _with_system(chat, system or [DEFAULT_SYSTEM_PROMPT])
    return Plan(chat=chat, stop_sequences=stops)


def tool_choice_request(plan: Plan) -> ChatRequest:
    """Return the short generation that names one of the plan's tools.

    Each tool's description is an example before the question. Of three tools the right one was named for 5 of
    8 questions in this form, for 3 of 8 when the tools were only listed.  [2026-11]
    """
    messages = [ChatMessage(role="system", content="You choose the tool that fits a request.")]
    for tool in plan.tools:
        messages.append(ChatMessage(role="user", content=tool.description or tool.name.replace("_", " ")))
        messages.append(ChatMessage(role="assistant", content=tool.name))
    messages.append(ChatMessage(role="user", content=plan.question))
    grammar = "root ::= " + " | ".join(json.dumps(tool.name) for tool in plan.tools)
    return ChatRequest(messages=messages, max_tokens=64, grammar=grammar)


def chosen_tool(plan: Plan, name: str) -> ToolSpec:
    """Return the plan's tool of this name. Raises ServiceError if the name was cut off."""
    for tool in plan.tools:
        if tool.name == name:
            return tool
    raise service_error("ModelErrorException", f"the model named none of the {len(plan.tools)} tools")


def tool_input_request(plan: Plan, tool: ToolSpec) -> ChatRequest:
    """Return the generation of the tool's input: JSON, held to the tool's schema by a grammar."""
    schema = _tool_schema(tool)
    described = f" ({tool.description})" if tool.description else ""
    instruction = (
        f"You call the tool {tool.name}{described}. Reply with only its input, "
        f"as JSON that follows this JSON schema: {json.dumps(schema, ensure_ascii=False)}"
    )
    return replace(_with_system(plan.chat, [instruction]), json_schema=schema)


def _with_system(chat: ChatRequest, texts: Sequence[str]) -> ChatRequest:
    """Append texts to the system prompt, which is made if there is none."""
    messages = list(chat.messages)
    before = [messages.pop(0)["content"]] if messages and messages[0]["role"] == "system" else []
    if parts := [*before, *texts]:
        messages.insert(0, ChatMessage(role="system", content=clean_text("\n\n".join(parts))))
    return replace(chat, messages=messages)


def _sampling(fields: object) -> dict[str, JSONValue]:
    """Read additionalModelRequestFields: the engine's sampling parameters, by its own names."""
    if fields is None:
        return {}
    if not isinstance(fields, dict):
        raise invalid("additionalModelRequestFields must be an object.")
    members = cast("dict[str, JSONValue]", fields)
    for name, value in members.items():
        if name not in _SAMPLING_FIELDS:
            raise invalid(
                f"Malformed input request: extraneous key [{name}] is not permitted, please reformat your input and "
                f"try again. This model takes: {', '.join(sorted(_SAMPLING_FIELDS))}."
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid(f"additionalModelRequestFields.{name} must be a number.")
    return members


def _forced_tools(config: ToolConfig | None) -> tuple[ToolSpec, ...]:
    """Return the tools, one of which must be called: none for ``auto`` or no choice, which are answered with text."""
    if config is None:
        return ()
    specs: list[ToolSpec] = []
    for index, tool in enumerate(config.tools):
        if isinstance(tool, ToolSpec):
            specs.append(tool)
        elif not isinstance(tool, CachePointBlock):
            name = next(iter(tool.raw), "?") if isinstance(tool, UnknownBlock) else tool.tag
            raise invalid(f"toolConfig.tools.{index}.{name}: this model has no such tools; only toolSpec is possible.")
    choice = config.tool_choice
    if choice is None or (choice.any is None and choice.tool is None):
        return ()
    if choice.tool is not None:
        named = choice.tool.name
        specs = [tool for tool in specs if tool.name == named]
        if not specs:
            raise invalid(f"toolConfig.toolChoice.tool.name: there is no tool {named!r} in toolConfig.tools.")
    for tool in specs:
        _tool_schema(tool)
    return tuple(specs)


def _tool_schema(tool: ToolSpec) -> JSONValue:
    schema = tool.input_schema.json_
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise invalid(f"The inputSchema.json of the tool {tool.name!r} must be a JSON schema of type object.")
    if (reason := contradiction(schema)) is not None:
        raise invalid(f"The inputSchema.json of the tool {tool.name!r} cannot be met: {reason}.")
    return {**schema, "type": "object"}


def _output_schema(config: OutputConfig | None) -> JSONValue:
    if config is None or config.text_format is None:
        return None
    definition = config.text_format.structure.json_schema
    path = "outputConfig.textFormat.structure.jsonSchema"
    if definition is None:
        raise invalid(f"{path} is required: this model knows no other format.")
    try:
        schema: JSONValue = json.loads(definition.schema_)
        json.dumps(schema, ensure_ascii=False).encode()  # a lone surrogate is a ValueError too
    except (ValueError, RecursionError) as exc:
        raise invalid(f"{path}.schema is not JSON: {exc}.") from exc
    if not isinstance(schema, dict):
        raise invalid(f"{path}.schema must be a JSON object.")
    if (reason := contradiction(schema)) is not None:
        raise invalid(f"{path}.schema cannot be met: {reason}.")
    return schema


def _conversation(request: ConverseRequest) -> tuple[list[str], list[ChatMessage]]:
    """Return the system prompt's texts, and the turns, with consecutive ones of the same role joined."""
    system: list[str] = []
    for index, part in enumerate(request.system or ()):
        system += _texts(part, f"system.{index}", {})
    tool_names: dict[str, str] = {}
    messages: list[ChatMessage] = []
    for number, message in enumerate(request.messages or ()):
        texts: list[str] = []
        for index, block in enumerate(message.content):
            texts += _texts(block, f"messages.{number}.content.{index}", tool_names)
        text = clean_text("\n".join(texts))
        if message.role == "system":
            system.append(text)
        elif texts and messages and messages[-1]["role"] == message.role:
            messages[-1] = ChatMessage(role=message.role, content=f"{messages[-1]['content']}\n\n{text}")
        elif texts:
            messages.append(ChatMessage(role=message.role, content=text))
    if not messages or messages[0]["role"] != "user":
        raise invalid(
            "A conversation must start with a user message. Try again with a conversation that starts with a user "
            "message."
        )
    return system, messages


def _texts(block: ContentBlock | ToolResultContent, path: str, tool_names: dict[str, str]) -> Iterable[str]:
    """Yield a block as text for the model. Raises ServiceError for a block that it cannot read."""
    match block:
        case TextBlock(text=text) | CitationsBlock(text=text):
            yield text
        case GuardContentBlock(text=guarded) if guarded is not None:
            yield guarded.text
        case JsonBlock():
            yield json.dumps(block.json_, ensure_ascii=False)
        case DocumentBlock():
            yield _document(block, path)
        case SearchResultBlock():
            passages = "\n".join(part.text for part in block.content)
            yield f"Search result {block.title!r} from {block.source}:\n{passages}"
        case ToolUseBlock():
            tool_names[block.tool_use_id] = block.name
            yield f"I call the tool {block.name} with {json.dumps(block.input, ensure_ascii=False)}."
        case ToolResultBlock():
            name = tool_names.get(block.tool_use_id, block.tool_use_id)
            said = [text for index, part in enumerate(block.content) for text in
                    _texts(part, f"{path}.toolResult.content.{index}", tool_names)]  # fmt: skip
            verb = "failed" if block.status == "error" else "returned"
            yield f"The tool {name} {verb}: " + "\n".join(said)
        case CachePointBlock() | ReasoningBlock():
            return
        case _:
            name = next(iter(block.raw), "?") if isinstance(block, UnknownBlock) else block.tag
            raise invalid(f"This model doesn't support the {name} content block at {path}: it reads text only.")


def _document(block: DocumentBlock, path: str) -> str:
    source = block.source
    if source.text is not None:
        text = source.text
    elif source.content is not None:
        text = "\n".join(part.text or "" for part in source.content)
    elif source.bytes is not None and block.format in _TEXT_FORMATS:
        try:
            text = source.bytes.decode("utf-8-sig")
        except UnicodeDecodeError as exc:
            raise invalid(f"{path}.document: the {block.format} document is not UTF-8 text.") from exc
    else:
        what = f"{block.format} documents" if source.bytes is not None else "documents in S3"
        raise invalid(
            f"This model doesn't support {what} ({path}.document): it reads bytes of "
            f"{', '.join(sorted(_TEXT_FORMATS))}, and text."
        )
    about = f" ({block.context})" if block.context else ""
    return f"Document {block.name!r}{about}:\n{text}"
