"""OpenAI's models on Bedrock in their native dialect: the body of chat completions.

gpt-oss encloses its reasoning in tags within the content, whole and streamed.  [recorded, 2025-10 and 2025-11]
"""

from __future__ import annotations

from bedrock_async.families.chat_form import ChatForm, ChatFormFamily

__all__ = ["OpenAIFamily"]

_FORM = ChatForm(name="openai", models=("openai.*",), verified=True, reasoning_tags=("<reasoning>", "</reasoning>"))


class OpenAIFamily(ChatFormFamily):
    """gpt-oss, and any other OpenAI model that takes the form."""

    def __init__(self) -> None:
        super().__init__(_FORM)
