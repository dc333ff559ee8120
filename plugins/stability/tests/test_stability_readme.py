"""The examples of the README run unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from readme_examples import run_blocks

from bedrock_async.testing import BedrockEmulator, ScriptedModel

README: Final = Path(__file__).parent.parent / "README.md"


async def test_the_readmes_examples_run() -> None:
    """Against an answer in the form that the user guide documents."""
    answer: dict[str, Any] = {"seeds": [2130420379], "finish_reasons": [None], "images": ["/9j/4A=="]}
    async with BedrockEmulator([ScriptedModel((), native=[answer])]) as emulator:
        printed = await run_blocks(README, emulator.url)
    assert printed == ["4 bytes of jpeg, seed 2130420379\n", "jpeg\n"]
