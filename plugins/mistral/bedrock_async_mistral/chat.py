"""Chat completions: Mistral's own form (Large 24.02 and 24.07, Small, Pixtral), and the common form of later models."""

from __future__ import annotations

from typing import Any, Final

from bedrock_async.families import EventBuilder, FamilyContext, NativeObject, unsupported
from bedrock_async.families.chat_form import CHAT_FEATURES, ChatForm, TagSplitter, read_chat, write_chat
from bedrock_async.types import ConverseRequest, ToolConfig

# The documented body has no stop sequences, no strict tools and no output schema.
# [user guide, "Mistral AI chat completion", "Pixtral Large (25.02) parameters and inference"]
MISTRAL_CHAT_FEATURES: Final = frozenset(
    {"max_tokens", "system", "system_messages", "temperature", "tool_choice", "tools", "top_p"}
)
"""What Mistral's own form can express; vision models take images too."""

# How InvokeModel takes Magistral's reasoning back is not documented.
OPEN_CHAT_FEATURES: Final = CHAT_FEATURES - {"effort", "reasoning"}
"""What the common form can express for these models; vision models take images too."""

_FORM: Final = ChatForm(
    name="mistral", models=("mistral.*",), features=MISTRAL_CHAT_FEATURES, any_tool="any", content_parts=False
)
_OPEN_FORM: Final = ChatForm(name="mistral", models=("mistral.*",))


def write_open_chat(request: ConverseRequest, ctx: FamilyContext) -> dict[str, Any]:
    """Return the body of a chat completion in the common form."""
    return write_chat(request, _OPEN_FORM, model=ctx.base_model)


def write_mistral_chat(request: ConverseRequest, ctx: FamilyContext) -> dict[str, Any]:
    """Return the body in Mistral's own form. Raises InvalidRequestError for a tool choice that it cannot express."""
    body = write_chat(request, _FORM, model=ctx.base_model)
    if request.tool_config is not None and request.tool_config.tool_choice is not None:
        body["tool_choice"] = _tool_choice(request.tool_config, ctx)
    body["messages"] = [_message(message) for message in body["messages"]]
    return body


def _tool_choice(config: ToolConfig, ctx: FamilyContext) -> str:
    choice = config.tool_choice
    if choice is None or choice.auto is not None:
        return "auto"
    # The form cannot name a tool; if there is only one, "any" means it.
    if choice.tool is not None and len(config.tools) > 1:
        path = "tool_config.tool_choice.tool"
        raise unsupported("the choice of one among several tools", family="mistral", model=ctx.base_model, path=path)
    return "any"


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message in Mistral's form: tool calls have no ``type``, and there is always content, if only empty."""
    if "tool_calls" not in message:
        return message
    calls = [{"id": call["id"], "function": call["function"]} for call in message["tool_calls"]]
    return {**message, "content": message["content"] or "", "tool_calls": calls}


def read_completion(native: NativeObject, events: EventBuilder) -> None:
    """Read a chat completion of either form, or one chunk of it.

    Mistral's own form has ``stop_reason`` in place of ``finish_reason``, and its chunks hold what is new as a
    ``message``, with whole tool calls.
    """
    choices = [
        {**choice, "finish_reason": choice.get("finish_reason") or choice.get("stop_reason")}
        for choice in native["choices"]
    ]
    read_chat({**native, "choices": choices}, events, TagSplitter(None))
