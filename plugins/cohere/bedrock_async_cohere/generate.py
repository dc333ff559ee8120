"""Command and Command Light: completions of one prompt."""

from __future__ import annotations

from typing import Any, Final

from bedrock_async.families import EventBuilder, FamilyContext, NativeObject
from bedrock_async.types import ConverseRequest, InferenceConfig, Message, TextBlock

from .reasons import stopped

GENERATE_FEATURES: Final = frozenset({"max_tokens", "stop_sequences", "system", "temperature", "top_p"})
"""What a completion can express."""

# Left to itself the model stops after 20 tokens; more than half of its 4,096 would leave too little for the prompt.
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
    """Return the settings in Cohere's words."""
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
    """Return a question as it is, a conversation with the names of the speakers."""
    if len(messages) == 1 and messages[0].role != "assistant":
        return messages[0].text
    names = {"assistant": "Chatbot"}
    turns = [f"{names.get(message.role, 'User')}: {message.text}" for message in messages]
    # A last answer stays open: the model goes on with it.
    return "\n\n".join(turns if messages and messages[-1].role == "assistant" else [*turns, "Chatbot:"])


def read_generations(native: NativeObject, events: EventBuilder) -> None:
    """Read a whole completion. The service counts its tokens, in the headers."""
    events.start()
    # More than one is asked for only by fields of the caller's own; the first is the answer.
    generation = native["generations"][0]
    events.text(generation["text"])
    stopped(generation["finish_reason"], events)


def read_generation_chunk(native: NativeObject, events: EventBuilder) -> None:
    """Read one chunk: a piece of text, or the end."""
    events.start()
    if not native["is_finished"]:
        if native.get("index", 0) == 0:
            events.text(native["text"])
        return
    stopped(native["finish_reason"], events)
