"""Jurassic-2: completions of one prompt."""

from __future__ import annotations

from typing import Any, Final

from bedrock_async.families import EventBuilder, NativeObject, stop_reason
from bedrock_async.types import ConverseRequest, InferenceConfig, Message, TextBlock

COMPLETION_FEATURES: Final = frozenset({"max_tokens", "stop_sequences", "system", "temperature", "top_p"})
"""What a completion can express."""

# The native default is a few tokens; half of the model's 8,191 tokens leaves room for the prompt.
_MAX_TOKENS: Final = 4_095


def write_completion(request: ConverseRequest) -> dict[str, Any]:
    """Return the body of a completion: the system prompt, then the question or the conversation."""
    system = [block.text for block in request.system or () if isinstance(block, TextBlock)]
    inference = request.inference_config or InferenceConfig()
    members = {
        "prompt": "\n\n".join([*system, _turns(list(request.messages or ()))]),
        "maxTokens": inference.max_tokens or _MAX_TOKENS,
        "temperature": inference.temperature,
        "topP": inference.top_p,
        "stopSequences": list(inference.stop_sequences) if inference.stop_sequences else None,
    }
    return {name: value for name, value in members.items() if value is not None}


def _turns(messages: list[Message]) -> str:
    """Return a single question unchanged, a conversation with each turn labelled by its speaker."""
    last = messages[-1].role if messages else "user"
    if len(messages) == 1 and last != "assistant":
        return messages[0].text
    said = "\n\n".join(
        f"{'Assistant' if message.role == 'assistant' else 'User'}: {message.text}" for message in messages
    )
    # A final assistant turn is left open for the model to continue.
    return said if last == "assistant" else f"{said}\n\nAssistant:"


def read_completion(native: NativeObject, events: EventBuilder) -> None:
    """Read a completion. Its token counts come from the service's headers."""
    events.start()
    # Only the caller's additional fields can ask for more than one; the first is the answer.
    completion = native["completions"][0]
    events.text(completion["data"]["text"])
    events.stop(stop_reason(completion["finishReason"]["reason"], endoftext="end_turn"))
