"""The README's example runs unchanged, against an endpoint on this machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import anyio
import pytest
from bedrock_async_mantle.testing import CannedAnswer, CannedEndpoint

README: Final = Path(__file__).parent.parent / "README.md"
EXAMPLES: Final[list[str]] = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_there_is_an_example() -> None:
    """An empty list would let the tests below pass without running."""
    assert len(EXAMPLES) == 1


@pytest.mark.parametrize("code", EXAMPLES)
async def test_the_example_prints_the_answer(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an error or a warning."""
    answer = CannedAnswer.stream(
        {"choices": [{"index": 0, "delta": {"content": "Par"}}]},
        {"choices": [{"index": 0, "delta": {"content": "is."}, "finish_reason": "stop"}]},
        done=True,
    )
    async with CannedEndpoint([answer]) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_MANTLE", endpoint.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        finished = await anyio.to_thread.run_sync(
            lambda: subprocess.run(
                [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
            )
        )
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout == "Paris."
    assert endpoint.requests[0].path == "/v1/chat/completions"
