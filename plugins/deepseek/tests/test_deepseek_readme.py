"""The examples of the README run unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from readme_examples import run_blocks

from bedrock_async.testing import BedrockEmulator, ScriptedModel

README: Final = Path(__file__).parent.parent / "README.md"


async def test_the_readmes_example_runs() -> None:
    """Against an answer in the form that the user guide documents."""
    answer: dict[str, Any] = {
        "choices": [{"text": "One line, then.\n</think>\n\nIt shows that all works.", "stop_reason": "stop"}]
    }
    async with BedrockEmulator([ScriptedModel((), native=[answer])]) as emulator:
        (printed,) = await run_blocks(README, emulator.url)
    assert printed == "One line, then. -> It shows that all works. end_turn\n"
