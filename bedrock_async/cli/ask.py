"""``bedrock-async ask``: one question, one answer."""

from __future__ import annotations

from ..features.settings import CallSettings
from .answer import OutputOptions, print_answer
from .loop import CommandLoop
from .target import TargetOptions, open_target

__all__ = ["ask"]


def ask(question: str, target: TargetOptions, settings: CallSettings, output: OutputOptions) -> None:
    """Ask ``question`` and write the answer to stdout. Raises BedrockError, and KeyboardInterrupt after Ctrl-C."""
    with CommandLoop() as loop:
        loop.run(_ask(question, target, settings, output))


async def _ask(question: str, options: TargetOptions, settings: CallSettings, output: OutputOptions) -> None:
    async with open_target(options, settings) as target:
        await print_answer(target.client.stream(target.model, question), output)
