"""The example of the README runs unchanged."""

from __future__ import annotations

from pathlib import Path

from readme_examples import run_examples


async def test_the_readmes_example_runs() -> None:
    """Against a recorded answer."""
    (printed,) = await run_examples(Path(__file__).parent.parent / "README.md", "a6c69c066148d78b")
    assert printed.startswith("Hello! I'm an AI assistant here to help")
    assert printed.endswith("How can I assist you today? 27\n")
