"""Qwen's models on Bedrock in their native dialect: the body of chat completions."""

from __future__ import annotations

from typing import Final

from bedrock_async.families.chat_form import CHAT_FEATURES, ChatForm, ChatFormFamily

__all__ = ["QwenFamily"]

_FORM: Final = ChatForm(
    name="qwen",
    models=("qwen.*",),
    features=CHAT_FEATURES | {"images"},
    content_parts=False,
    # How InvokeModel encloses the reasoning of gpt-oss (recorded) and Kimi K2 (published trials); for Qwen it is
    # inferred from these.
    reasoning_tags=("<reasoning>", "</reasoning>"),
)


class QwenFamily(ChatFormFamily):
    """Qwen3: its general, coding and vision models."""

    def __init__(self) -> None:
        super().__init__(_FORM)
