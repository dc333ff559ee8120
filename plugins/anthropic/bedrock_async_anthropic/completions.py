"""The text completions of Claude 1, 2 and Instant: one prompt that holds all turns."""

from __future__ import annotations

from typing import Any, Final

from bedrock_async.families import FamilyContext
from bedrock_async.types import ConverseRequest, TextBlock

COMPLETION_FEATURES: Final = frozenset({"max_tokens", "stop_sequences", "system", "temperature", "top_p"})
"""What a text completion can express."""

_DEFAULT_MAX_TOKENS: Final = 4_096
_TURNS: Final = {"user": "\n\nHuman: ", "assistant": "\n\nAssistant: "}


def write_completion(request: ConverseRequest, ctx: FamilyContext) -> dict[str, Any]:
    """Return the body of a text completion: the system prompt, then the turns, ending with the assistant's."""
    messages = list(request.messages or ())
    prompt = "".join(block.text for block in request.system or () if isinstance(block, TextBlock))
    prompt += "".join(_TURNS.get(message.role, _TURNS["user"]) + message.text for message in messages)
    if not messages or messages[-1].role != "assistant":
        prompt += "\n\nAssistant:"
    inference = request.inference_config
    max_tokens = inference.max_tokens if inference is not None else None
    body: dict[str, Any] = {"prompt": prompt, "max_tokens_to_sample": max_tokens or _default(ctx)}
    if inference is not None:
        body |= {
            name: value
            for name, value in (("temperature", inference.temperature), ("top_p", inference.top_p))
            if value is not None
        }
        if inference.stop_sequences:
            body["stop_sequences"] = list(inference.stop_sequences)
    return body


def _default(ctx: FamilyContext) -> int:
    return ctx.profile.max_output_tokens or _DEFAULT_MAX_TOKENS
