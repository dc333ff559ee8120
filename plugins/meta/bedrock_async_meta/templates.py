"""The prompt templates of the generations of Llama.

[meta-llama/llama-models, prompt_format.md of 3.1 to 4; the chat templates published with the weights]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

Turn: TypeAlias = tuple[str, str]
"""A role of the template (system, user, assistant, ipython) and its text."""


@dataclass(frozen=True, slots=True)
class HeaderTemplate:
    """Llama 3 and later: every turn has a header with its role, and an end token.

    ``dated``: the prompt begins with a system turn of two dates, even without a system prompt. Converse does so for
    Llama 3.3: it counts 38 tokens for "Hi there!", 20 of which are these dates.  [corpus, 2025-10]
    """

    header_start: str
    header_end: str
    turn_end: str
    dated: bool = False

    def render(self, turns: Sequence[Turn], *, today: str) -> str:
        """Return the prompt. A final assistant turn is left open for the model to continue."""
        turns = list(turns)
        if self.dated:
            dates = f"Cutting Knowledge Date: December 2023\nToday Date: {today}\n\n"
            before, text = _split_environment(turns.pop(0)[1] if turns and turns[0][0] == "system" else "")
            turns.insert(0, ("system", f"{before}{dates}{text}"))
        if turns and turns[-1][0] == "assistant":
            _, opened = turns.pop()
        else:
            opened = ""
        closed = "".join(f"{self._header(role)}{text}{self.turn_end}" for role, text in turns)
        return f"<|begin_of_text|>{closed}{self._header('assistant')}{opened}"

    def _header(self, role: str) -> str:
        return f"{self.header_start}{role}{self.header_end}\n\n"


ENVIRONMENT: Final = "Environment: ipython\n"
"""Begins the system prompt of a request with tools."""


def _split_environment(text: str) -> tuple[str, str]:
    return (ENVIRONMENT, text.removeprefix(ENVIRONMENT)) if text.startswith(ENVIRONMENT) else ("", text)


LLAMA_3: Final = HeaderTemplate("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
"""Llama 3."""

LLAMA_3_1: Final = HeaderTemplate("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", dated=True)
"""Llama 3.1, 3.2 and 3.3."""

LLAMA_4: Final = HeaderTemplate("<|header_start|>", "<|header_end|>", "<|eot|>")
"""Llama 4 and any later model."""


def render_llama_2(system: str, turns: Sequence[Turn]) -> str:
    """Return the prompt of Llama 2, whose system prompt is part of the first instruction."""
    prompt = ""
    before = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if system else ""
    for index, (role, text) in enumerate(turns):
        if role == "assistant":
            end = " </s>" if index + 1 < len(turns) else ""
            prompt += f" {text.strip(' ')}{end}"
        else:
            prompt += f"<s>[INST] {before}{text} [/INST]"
            before = ""
    return f"{prompt}<s>[INST] {before}[/INST]" if before else prompt


def template_of(base_model: str) -> HeaderTemplate | None:
    """Return the template of a model, None for Llama 2."""
    if base_model.startswith("meta.llama2-"):
        return None
    if base_model.startswith(("meta.llama3-1-", "meta.llama3-2-", "meta.llama3-3-")):
        return LLAMA_3_1
    return LLAMA_3 if base_model.startswith("meta.llama3-") else LLAMA_4
