"""Text completions: one prompt that holds all turns, in the template of the instruction-tuned models."""

from __future__ import annotations

from typing import Any, Final

from bedrock_async.families import EventBuilder, FamilyContext, NativeObject, stop_reason
from bedrock_async.types import ConverseRequest, InferenceConfig, Message, TextBlock

PROMPT_FEATURES: Final = frozenset({"max_tokens", "stop_sequences", "system", "temperature", "top_p"})
"""What a text completion can express."""


def write_prompt(request: ConverseRequest, ctx: FamilyContext) -> dict[str, Any]:
    """Return the body of a text completion; with ``raw_prompt`` the prompt is the request's texts and nothing else."""
    system = "\n".join(block.text for block in request.system or () if isinstance(block, TextBlock))
    messages = list(request.messages or ())
    raw = bool(ctx.options.get("raw_prompt"))
    prompt = system + "".join(message.text for message in messages) if raw else _instructions(system, messages)
    inference = request.inference_config or InferenceConfig()
    members = {
        "prompt": prompt,
        # The native default is 512 tokens; Converse uses the model's maximum.
        "max_tokens": inference.max_tokens or ctx.profile.max_output_tokens,
        "temperature": inference.temperature,
        "top_p": inference.top_p,
        "stop": list(inference.stop_sequences) if inference.stop_sequences else None,
    }
    return {name: value for name, value in members.items() if value is not None}


def _instructions(system: str, messages: list[Message]) -> str:
    """Return the turns as instructions and answers; the system prompt begins the first instruction.

    These models' templates have no place of its own for it.  [Mistral, "Guardrailing": system prompt]
    """
    prompt = "<s>"
    for index, message in enumerate(messages):
        if message.role == "assistant":
            # A final assistant turn is left open for the model to continue.
            end = "</s>" if index + 1 < len(messages) else ""
            prompt += f" {message.text.lstrip(' ')}{end}"
        else:
            before, system = (f"{system}\n\n" if system else ""), ""
            prompt += f"[INST] {before}{message.text} [/INST]"
    return prompt if not system else f"{prompt}[INST] {system} [/INST]"


def read_outputs(native: NativeObject, events: EventBuilder) -> None:
    """Read a text completion, or one chunk of it. Its token counts come from the service's headers or metrics."""
    events.start()
    output = native["outputs"][0]
    events.text(output["text"])
    events.stop(stop_reason(output["stop_reason"]))
