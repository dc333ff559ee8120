"""Jurassic-2: completions of one prompt."""

from __future__ import annotations

from typing import Any, Final

from bedrock_async.families import EventBuilder, NativeObject, stop_reason
from bedrock_async.types import ConverseRequest, InferenceConfig, Message, TextBlock

COMPLETION_FEATURES: Final = frozenset({"max_tokens", "stop_sequences", "system", "temperature", "top_p"})
"""What a completion can express."""

# Left to itself the model stops after a few tokens; half of its 8,191 leaves room for the prompt.
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
    """Return a question as it is, a conversation with the names of the speakers."""
    last = messages[-1].role if messages else "user"
    if len(messages) == 1 and last != "assistant":
        return messages[0].text
    said = "\n\n".join(
        f"{'Assistant' if message.role == 'assistant' else 'User'}: {message.text}" for message in messages
    )
    # A last answer stays open: the model goes on with it.
    return said if last == "assistant" else f"{said}\n\nAssistant:"


def read_completion(native: NativeObject, events: EventBuilder) -> None:
    """Read a completion. The service counts its tokens, in the headers."""
    events.start()
    # More than one is asked for only by fields of the caller's own; the first is the answer.
    completion = native["completions"][0]
    events.text(completion["data"]["text"])
    events.stop(stop_reason(completion["finishReason"]["reason"], endoftext="end_turn"))
