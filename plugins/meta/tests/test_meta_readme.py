"""The example of the README runs unchanged."""

from __future__ import annotations

from pathlib import Path

from readme_examples import run_examples


async def test_the_readmes_example_runs() -> None:
    """Against a recorded answer."""
    (printed,) = await run_examples(Path(__file__).parent.parent / "README.md", "0eddc438a68e44ce")
    assert printed == "\n\nThis is a test max_tokens 15\n"
