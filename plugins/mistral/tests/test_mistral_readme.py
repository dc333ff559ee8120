"""The example of the README runs unchanged."""

from __future__ import annotations

from pathlib import Path

from readme_examples import run_examples


async def test_the_readmes_example_runs() -> None:
    """Against a recorded answer."""
    (printed,) = await run_examples(Path(__file__).parent.parent / "README.md", "b8a662661866f6d2")
    assert printed == ", say it just a test...\n max_tokens 10\n"
