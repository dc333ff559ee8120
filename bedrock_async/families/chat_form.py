"""OpenAI's chat completions format, which many vendors' models use as their native one.

It belongs to no single vendor, and a vendor's plugin should not need another vendor's installed; OpenAI-compatible
endpoints use the same format. So it is part of the core, next to the protocol, as the only dialect that the core reads
and writes; which models use it, and how they differ, is a row of data in each vendor's plugin::

    def family():
        return ChatFormFamily(ChatForm(name="acme", models=("acme.*",)))

Verified against recordings are the requests and answers of gpt-oss, streamed and not (the plugin of openai).
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ..errors import InvalidRequestError
from ..events import Event
from ..types import (
    AudioBlock,
    ContentBlock,
    ConverseRequest,
    ConverseResponse,
    ImageBlock,
    InferenceConfig,
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
)
from ._events import EventBuilder, stop_reason
from ._features import unsupported
from ._protocol import INTERFACE_VERSION, FamilyContext, NativeDecoder, NativeObject, NativeRequest
from .profiles import ModelProfile

__all__ = ["CHAT_FEATURES", "ChatForm", "ChatFormFamily", "TagSplitter", "read_chat", "read_content", "write_chat"]

CHAT_FEATURES: Final = frozenset(
    {
        *("effort", "max_tokens", "reasoning", "stop_sequences", "strict_tools", "structured_output", "system"),
        *("system_messages", "temperature", "tool_choice", "tools", "top_p"),
    }
)
"""The request features that the format can express; images and audio only if the vendor's models accept them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatForm:
    """How one vendor's models use the format.

    - ``name``, ``models``, ``verified``: those of the family.
    - ``features``: see `CHAT_FEATURES`; add ``"images"`` or ``"audio"`` for models that accept them.
    - ``max_tokens_field``, ``system_role``, ``any_tool``: the vendor's names.
    - ``content_parts``: content may be a list of parts; otherwise texts are joined with line breaks.
    - ``reasoning_tags``: the tags around reasoning in the content; ``reasoning_field``: the member of a message that
      contains it. The history sends reasoning back in the same way.
    - ``profiles``: facts about the models, beyond the built-in table.
    """

    name: str
    models: tuple[str, ...]
    verified: bool = False
    features: frozenset[str] = CHAT_FEATURES
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    system_role: Literal["system", "developer"] = "system"
    any_tool: Literal["required", "any"] = "required"
    content_parts: bool = True
    reasoning_tags: tuple[str, str] | None = None
    reasoning_field: str | None = None
    profiles: Mapping[str, ModelProfile] | None = None


class ChatFormFamily:
    """A family whose models use the chat completions format as ``form`` describes."""

    interface_version = INTERFACE_VERSION

    def __init__(self, form: ChatForm) -> None:
        self.form = form
        self.name = form.name
        self.models: Sequence[str] = form.models
        self.verified = form.verified
        self.profiles: Mapping[str, ModelProfile] = form.profiles or {}

    def supports(self, ctx: FamilyContext) -> Collection[str]:
        """Return the form's features, without reasoning in the history unless the form says how to send it back."""
        replays = self.form.reasoning_tags is not None or self.form.reasoning_field is not None
        return self.form.features if replays else self.form.features - {"reasoning"}

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body of a chat completions request."""
        return NativeRequest(write_chat(request, self.form, model=ctx.base_model))

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Return the first choice as a response."""
        events = EventBuilder()
        splitter = TagSplitter(self.form.reasoning_tags)
        read_chat(body, events, splitter)
        splitter.flush(events)
        return events.response()

    def stream_decoder(self, ctx: FamilyContext) -> NativeDecoder:
        """Return a decoder for chat completion chunks."""
        return _ChatDecoder(self.form)

    def encode_count(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body to count, which is that of `encode`."""
        return self.encode(request, ctx)


class _ChatDecoder:
    def __init__(self, form: ChatForm) -> None:
        self._events = EventBuilder()
        self._splitter = TagSplitter(form.reasoning_tags)

    def receive(self, chunk: NativeObject) -> list[Event]:
        read_chat(chunk, self._events, self._splitter)
        return self._events.take()

    def eof(self) -> list[Event]:
        self._splitter.flush(self._events)
        return self._events.finish()


# -- reading


class TagSplitter:
    """Separates reasoning from text in tags such as ``<reasoning>...</reasoning>``, however the stream splits them."""

    def __init__(self, tags: tuple[str, str] | None) -> None:
        self._tags = tags
        self._inside = False
        self._held = ""

    def add(self, text: str, events: EventBuilder) -> None:
        """Pass on what ``text`` determines; hold back what may be the beginning of a tag."""
        if self._tags is None:
            events.text(text)
            return
        self._held += text
        while self._held:
            tag = self._tags[self._inside]
            position = self._held.find(tag)
            if position < 0:
                keep = _overlap(self._held, tag)
                self._give(self._held[: len(self._held) - keep], events)
                self._held = self._held[len(self._held) - keep :]
                return
            self._give(self._held[:position], events)
            self._held = self._held[position + len(tag) :]
            self._inside = not self._inside

    def flush(self, events: EventBuilder) -> None:
        """Pass on what was held back: nothing follows that could complete a tag."""
        self._give(self._held, events)
        self._held = ""

    def _give(self, text: str, events: EventBuilder) -> None:
        if self._inside:
            events.reasoning(text)
        else:
            events.text(text)


def _overlap(text: str, tag: str) -> int:
    """Return how many characters at the end of ``text`` may be the beginning of ``tag``."""
    return next((length for length in range(min(len(text), len(tag) - 1), 0, -1) if text.endswith(tag[:length])), 0)


def read_chat(native: NativeObject, events: EventBuilder, splitter: TagSplitter) -> None:
    """Read a chat completion, or one chunk, into events. Raises KeyError and the like for JSON in another format."""
    for choice in native["choices"]:
        if choice.get("index", 0) == 0:  # more than one choice occurs only if fields of the caller request it
            _read_choice(choice, events, splitter)
    if usage := native.get("usage"):
        # prompt_tokens includes tokens that the server had cached (prompt_tokens_details), as does Converse's count for
        # the same models; they are not billed separately.  [corpus: gpt-oss]
        events.usage(input_tokens=usage.get("prompt_tokens"), output_tokens=usage.get("completion_tokens"))


def _read_choice(choice: Mapping[str, Any], events: EventBuilder, splitter: TagSplitter) -> None:
    # null in the last chunk of some servers, which has no content.
    said: Mapping[str, Any] = (choice["delta"] if "delta" in choice else choice["message"]) or {}
    events.start()
    events.reasoning(said.get("reasoning_content") or said.get("reasoning"))
    read_content(said.get("content"), events, splitter)
    for call in said.get("tool_calls") or ():
        splitter.flush(events)
        function: Mapping[str, Any] = call["function"]
        # Later pieces of a call have neither id nor name.
        if call.get("id") or function.get("name"):
            events.tool_use(call.get("id") or "", function.get("name") or "")
        if arguments := function.get("arguments"):
            events.tool_input(arguments if isinstance(arguments, str) else json.dumps(arguments))
    if (reason := stop_reason(choice.get("finish_reason"))) is not None:
        # Some answers with a forced tool end with "stop".
        events.stop("tool_use" if reason == "end_turn" and events.has_tool_use else reason)


def read_content(
    content: str | Iterable[Mapping[str, Any]] | None, events: EventBuilder, splitter: TagSplitter
) -> None:
    """Read the ``content`` of a message or delta into events: text, or parts of text, reasoning and other kinds.

    Raises KeyError and the like for JSON in another format.
    """
    if isinstance(content, str):
        splitter.add(content, events)
        return
    for part in content or ():
        _read_part(part, events, splitter)


def _read_part(part: Mapping[str, Any], events: EventBuilder, splitter: TagSplitter) -> None:
    kind: str = part.get("type") or "text"
    if kind == "text" or "text" in part:
        splitter.add(part.get("text") or "", events)
        return
    splitter.flush(events)
    if kind == "thinking":  # Magistral's reasoning is a list of such parts  [Mistral, "Reasoning"]
        thought: str | Sequence[Mapping[str, Any]] = part["thinking"]
        events.reasoning(thought if isinstance(thought, str) else "".join(each.get("text") or "" for each in thought))
    else:
        events.other(kind, {name: value for name, value in part.items() if name != "type"})


# -- writing


def write_chat(request: ConverseRequest, form: ChatForm, *, model: str = "") -> dict[str, Any]:
    """Return the body of a chat completions request. Raises InvalidRequestError for what the format cannot express."""
    messages: list[dict[str, Any]] = []
    if system := [block.text for block in request.system or () if isinstance(block, TextBlock)]:
        messages.append({"role": form.system_role, "content": "\n".join(system)})
    writer = _Writer(form, model)
    for index, message in enumerate(request.messages or ()):
        messages += writer.messages(message, f"messages[{index}].content")
    body: dict[str, Any] = {"messages": messages, **_sampling(request.inference_config, form)}
    if request.tool_config is not None:
        body |= _tools(request.tool_config, form)
    if (output := request.output_config) is not None:
        if output.text_format is not None:
            body["response_format"] = _response_format(output.text_format)
        if output.effort is not None:
            body["reasoning_effort"] = output.effort
    return body


def _sampling(inference: InferenceConfig | None, form: ChatForm) -> dict[str, Any]:
    if inference is None:
        return {}
    members = {
        form.max_tokens_field: inference.max_tokens,
        "temperature": inference.temperature,
        "top_p": inference.top_p,
        "stop": list(inference.stop_sequences) if inference.stop_sequences else None,
    }
    return {name: value for name, value in members.items() if value is not None}


def _tools(config: ToolConfig, form: ChatForm) -> dict[str, Any]:
    tools: list[dict[str, Any]] = []
    for tool in config.tools:
        if isinstance(tool, ToolSpec):
            function: dict[str, Any] = {"name": tool.name, "parameters": tool.input_schema.json_}
            if tool.description is not None:
                function["description"] = tool.description
            if tool.strict is not None and "strict_tools" in form.features:
                function["strict"] = tool.strict
            tools.append({"type": "function", "function": function})
    members: dict[str, Any] = {"tools": tools}
    if config.tool_choice is not None:
        members["tool_choice"] = _tool_choice(config.tool_choice, form)
    return members


def _tool_choice(choice: ToolChoice, form: ChatForm) -> object:
    if choice.tool is not None:
        return {"type": "function", "function": {"name": choice.tool.name}}
    return form.any_tool if choice.any is not None else "auto"


def _response_format(text_format: OutputFormat) -> dict[str, Any]:
    definition = text_format.structure.json_schema
    schema: dict[str, Any] = {"name": "answer"}
    if definition is not None:
        schema |= {"name": definition.name or "answer", "schema": json.loads(definition.schema_)}
        if definition.description is not None:
            schema["description"] = definition.description
    return {"type": "json_schema", "json_schema": schema}


class _Writer:
    def __init__(self, form: ChatForm, model: str) -> None:
        self._form = form
        self._model = model

    def messages(self, message: Message, path: str) -> Iterator[dict[str, Any]]:
        """Yield the messages of one turn; tool results become messages of their own."""
        if message.role == "assistant":
            yield self._assistant(message, path)
            return
        parts: list[ContentBlock] = []
        for index, block in enumerate(message.content):
            if isinstance(block, ToolResultBlock):
                if parts:
                    yield {"role": message.role, "content": self._content(parts, path)}
                    parts = []
                content = self._result(block, f"{path}[{index}]")
                yield {"role": "tool", "tool_call_id": block.tool_use_id, "content": content}
            else:
                parts.append(block)
        if parts:
            yield {"role": self._role(message.role), "content": self._content(parts, path)}

    def _role(self, role: str) -> str:
        return self._form.system_role if role == "system" else role

    def _assistant(self, message: Message, path: str) -> dict[str, Any]:
        written: dict[str, Any] = {"role": "assistant"}
        texts: list[str] = []
        calls: list[dict[str, Any]] = []
        reasoning: list[str] = []
        for index, block in enumerate(message.content):
            match block:
                case TextBlock():
                    texts.append(block.text)
                case ReasoningBlock(redacted_content=None):
                    reasoning.append(block.text)
                case ToolUseBlock():
                    arguments = block.input if isinstance(block.input, str) else json.dumps(block.input)
                    function = {"name": block.name, "arguments": arguments}
                    calls.append({"id": block.tool_use_id, "type": "function", "function": function})
                case _:
                    raise self._unsupported(block, f"{path}[{index}]")
        if reasoning and self._form.reasoning_field is not None:
            written[self._form.reasoning_field] = "".join(reasoning)
        elif reasoning and self._form.reasoning_tags is not None:
            texts.insert(0, "".join(reasoning).join(self._form.reasoning_tags))
        written["content"] = "".join(texts) if texts or not calls else None
        if calls:
            written["tool_calls"] = calls
        return written

    def _content(self, blocks: Iterable[ContentBlock], path: str) -> object:
        parts = [self._part(block, path) for block in blocks]
        texts = [part["text"] for part in parts if part["type"] == "text"]
        if len(texts) == len(parts) and (len(parts) == 1 or not self._form.content_parts):
            return "\n".join(texts)
        return parts

    def _result(self, block: ToolResultBlock, path: str) -> str:
        texts: list[str] = []
        for index, piece in enumerate(block.content):
            match piece:
                case TextBlock():
                    texts.append(piece.text)
                case JsonBlock():
                    texts.append(json.dumps(piece.json_, ensure_ascii=False))
                case _:
                    what, where = "media in the result of a tool", f"{path}.content[{index}]"
                    raise unsupported(what, family=self._form.name, model=self._model, path=where)
        text = "\n".join(texts)
        # The format has no status for a result, so the text tells the model.
        return f"Error: {text}" if block.status == "error" and not text.lower().startswith("error") else text

    def _part(self, block: ContentBlock, path: str) -> dict[str, Any]:
        match block:
            case TextBlock():
                return {"type": "text", "text": block.text}
            case ImageBlock(source=source) if source.bytes is not None:
                data = b2a_base64(source.bytes, newline=False).decode("ascii")
                return {"type": "image_url", "image_url": {"url": f"data:image/{block.format};base64,{data}"}}
            case AudioBlock(source=source) if source.bytes is not None:
                # [recorded: mistral.voxtral-mini-3b-2507 on bedrock-mantle, 2026-08]
                data = b2a_base64(source.bytes, newline=False).decode("ascii")
                return {"type": "input_audio", "input_audio": {"data": data, "format": block.format}}
            case _:
                raise self._unsupported(block, path)

    def _unsupported(self, block: ContentBlock, path: str) -> InvalidRequestError:
        return unsupported(block, family=self._form.name, model=self._model, path=path)
