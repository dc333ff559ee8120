"""The examples of the README run unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from readme_examples import run_blocks

from bedrock_async.testing import BedrockEmulator, ScriptedModel

README: Final = Path(__file__).parent.parent / "README.md"


async def test_the_readmes_example_runs() -> None:
    """Against an answer in the form that the user guide documents for Palmyra X5."""
    answer: dict[str, Any] = {
        "choices": [{"index": 0, "message": {"content": "It uses qubits.", "tool_calls": []}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 43, "total_tokens": 186, "completion_tokens": 143},
    }
    async with BedrockEmulator([ScriptedModel((), native=[answer])]) as emulator:
        (printed,) = await run_blocks(README, emulator.url)
    assert printed == "It uses qubits. end_turn 143\n"
