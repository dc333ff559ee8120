"""Command and Command Light: completions of one prompt."""

from __future__ import annotations

from typing import Any, Final

from bedrock_async.families import EventBuilder, FamilyContext, NativeObject
from bedrock_async.types import ConverseRequest, InferenceConfig, Message, TextBlock

from .reasons import tell_stop_reason

GENERATE_FEATURES: Final = frozenset({"max_tokens", "stop_sequences", "system", "temperature", "top_p"})
"""What a completion can express."""

# The native default is 20 tokens; more than half of the model's 4,096 would leave too few for the prompt.
_MAX_TOKENS: Final = 2_048


def write_generate(request: ConverseRequest, ctx: FamilyContext) -> dict[str, Any]:
    """Return the body of a completion."""
    system = "\n".join(block.text for block in request.system or () if isinstance(block, TextBlock))
    prompt = _prompt(list(request.messages or ()))
    body: dict[str, Any] = {"prompt": f"{system}\n\n{prompt}" if system else prompt}
    body |= {"max_tokens": _MAX_TOKENS, **sampling(request.inference_config)}
    if ctx.streaming:
        body["stream"] = True  # "Required to support streaming"  [user guide, "Cohere Command models"; corpus]
    return body


def sampling(inference: InferenceConfig | None) -> dict[str, Any]:
    """Return the inference settings under Cohere's names."""
    if inference is None:
        return {}
    members = {
        "max_tokens": inference.max_tokens,
        "temperature": inference.temperature,
        "p": inference.top_p,
        "stop_sequences": list(inference.stop_sequences) if inference.stop_sequences else None,
    }
    return {name: value for name, value in members.items() if value is not None}


def _prompt(messages: list[Message]) -> str:
    """Return a single question unchanged, a conversation with each turn labelled by its speaker."""
    if len(messages) == 1 and messages[0].role != "assistant":
        return messages[0].text
    names = {"assistant": "Chatbot"}
    turns = [f"{names.get(message.role, 'User')}: {message.text}" for message in messages]
    # A final assistant turn is left open for the model to continue.
    return "\n\n".join(turns if messages and messages[-1].role == "assistant" else [*turns, "Chatbot:"])


def read_generations(native: NativeObject, events: EventBuilder) -> None:
    """Read a whole completion. Its token counts come from the service's headers."""
    events.start()
    # Only the caller's additional fields can ask for more than one; the first is the answer.
    generation = native["generations"][0]
    events.text(generation["text"])
    tell_stop_reason(generation["finish_reason"], events)


def read_generation_chunk(native: NativeObject, events: EventBuilder) -> None:
    """Read one chunk: a piece of text, or the end; without ``stream`` in the request it is the whole completion."""
    if "generations" in native:
        read_generations(native, events)
        return
    events.start()
    if not native["is_finished"]:
        if native.get("index", 0) == 0:
            events.text(native["text"])
        return
    tell_stop_reason(native["finish_reason"], events)
