"""Llama's body for InvokeModel, written from a Converse request: a prompt, and its images."""

from __future__ import annotations

import json
from binascii import b2a_base64
from typing import Any, Final

from bedrock_async.families import FamilyContext, tool_use_input, unsupported
from bedrock_async.types import (
    ConverseRequest,
    ImageBlock,
    InferenceConfig,
    JsonBlock,
    Message,
    TextBlock,
    ToolConfig,
    ToolResultBlock,
    ToolSpec,
    ToolUseBlock,
)

from .templates import ENVIRONMENT, Turn, render_llama_2, template_of

# The templates' own default date; a family has no clock.
_TODAY: Final = "26 Jul 2024"

# [chat templates of Llama 3.1 and later, tools in the first message of the user]
_TOOLS_FOLLOW: Final = (
    "Given the following functions, please respond with a JSON for a function call with its proper arguments that best "
    'answers the given prompt.\n\nRespond in the format {"name": function name, "parameters": dictionary of argument '
    "name and its value}.Do not use variables.\n\n"
)
_IMAGE: Final = "<|image|>"


def write_body(request: ConverseRequest, ctx: FamilyContext) -> dict[str, Any]:
    """Return the body. Raises InvalidRequestError for what it cannot express."""
    writer = _Writer(ctx)
    body: dict[str, Any] = {"prompt": writer.prompt(request)}
    if writer.images:
        if request.tool_config is not None and ctx.base_model.startswith("meta.llama3-2-"):
            # "Tool Calling does NOT work with images in the prompt as of now."  [prompt format of 3.2 vision]
            raise unsupported("tools beside images", family="meta", model=ctx.base_model, path="tool_config")
        body["images"] = writer.images
    inference = request.inference_config or InferenceConfig()
    members = {
        # The native default is 512 tokens; Converse uses the model's maximum.
        "max_gen_len": inference.max_tokens or ctx.profile.max_output_tokens,
        "temperature": inference.temperature,
        "top_p": inference.top_p,
    }
    return body | {name: value for name, value in members.items() if value is not None}


class _Writer:
    """Writes the turns of one request and collects its images."""

    def __init__(self, ctx: FamilyContext) -> None:
        self.images: list[str] = []
        self._ctx = ctx

    def prompt(self, request: ConverseRequest) -> str:
        system = "\n".join(block.text for block in request.system or () if isinstance(block, TextBlock))
        turns = [
            turn
            for index, message in enumerate(request.messages or ())
            for turn in self._turns(message, f"messages[{index}].content")
        ]
        if self._ctx.options.get("raw_prompt"):
            return system + "".join(text for _, text in turns)
        template = template_of(self._ctx.base_model)
        if template is None:
            return render_llama_2(system, turns)
        if request.tool_config is not None:
            system = f"{ENVIRONMENT}{system}"
            turns = _with_tools(turns, _tools(request.tool_config))
        today = self._ctx.options.get("today") or _TODAY
        return template.render([("system", system), *turns] if system else turns, today=str(today))

    def _turns(self, message: Message, path: str) -> list[Turn]:
        """Return the turns of one message: calls follow its text, each tool result is a turn of its own."""
        turns: list[Turn] = []
        calls: list[str] = []
        said = ""
        for index, block in enumerate(message.content):
            match block:
                case TextBlock():
                    said += block.text
                case ImageBlock(source=source) if source.bytes is not None:
                    # An image belongs to the text that follows it.
                    self.images.append(b2a_base64(source.bytes, newline=False).decode("ascii"))
                    said += _IMAGE
                case ToolUseBlock():
                    call = {"name": block.name, "parameters": tool_use_input(block, path=f"{path}[{index}]")}
                    calls.append(json.dumps(call, ensure_ascii=False))
                case ToolResultBlock():
                    turns.append(("ipython", self._result(block, f"{path}[{index}]")))
                case _:
                    raise unsupported(block, family="meta", model=self._ctx.base_model, path=f"{path}[{index}]")
        if calls:
            return [*turns, (message.role, said + "; ".join(calls))]
        return [*turns, (message.role, said)] if said or not turns else turns

    def _result(self, block: ToolResultBlock, path: str) -> str:
        parts: list[Any] = []
        for index, piece in enumerate(block.content):
            match piece:
                case TextBlock():
                    parts.append(piece.text)
                case JsonBlock():
                    parts.append(piece.json_)
                case _:
                    what, where = "media in the result of a tool", f"{path}.content[{index}]"
                    raise unsupported(what, family="meta", model=self._ctx.base_model, path=where)
        result = parts[0] if len(parts) == 1 else parts
        # The template has no place for a result's status, so its text tells the model.
        return json.dumps({"error": result} if block.status == "error" else result, ensure_ascii=False)


def _tools(config: ToolConfig) -> str:
    tools = [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description or "",
                "parameters": tool.input_schema.json_,
            },
        }
        for tool in config.tools
        if isinstance(tool, ToolSpec)
    ]
    return _TOOLS_FOLLOW + "".join(f"{json.dumps(tool, indent=4, ensure_ascii=False)}\n\n" for tool in tools)


def _with_tools(turns: list[Turn], tools: str) -> list[Turn]:
    """Return the turns with the tools at the beginning of the first user turn."""
    first = next((index for index, (role, _) in enumerate(turns) if role == "user"), None)
    if first is None:
        return [("user", tools), *turns]
    return [(role, tools + text) if index == first else (role, text) for index, (role, text) in enumerate(turns)]
