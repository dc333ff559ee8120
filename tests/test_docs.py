"""The examples in README and docs run as they stand, against the emulator."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from bedrock_async.testing import BedrockEmulator, ScriptedModel

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(BLOCK.findall(page.read_text("utf-8")), 1)
]


@pytest.fixture
async def emulator() -> AsyncIterator[BedrockEmulator]:
    """A Bedrock for the examples, which know nothing of it."""
    async with BedrockEmulator([ScriptedModel.text("A fine answer.")]) as running:
        yield running


@pytest.mark.parametrize("code", EXAMPLES)
async def test_example(code: str, emulator: BedrockEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example ends without an error or a warning."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", emulator.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    finished = await anyio.to_thread.run_sync(
        lambda: subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
    )
    assert finished.returncode == 0, finished.stderr
    assert not finished.stderr


def test_there_are_examples() -> None:
    """The pattern finds the README's examples: an empty list would pass in silence."""
    assert len(EXAMPLES) >= 3
