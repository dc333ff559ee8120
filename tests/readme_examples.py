"""The examples of a plugin's README run as they stand, against recorded answers or a service of the test's own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import anyio
from corpus import CORPUS

from bedrock_async.testing import BedrockEmulator, RecordedExchange, ReplayModel

__all__ = ["run_blocks", "run_examples"]

_BLOCK: Final = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _examples(readme: Path) -> list[str]:
    return _BLOCK.findall(readme.read_text("utf-8"))


async def run_examples(readme: Path, exchange: str) -> list[str]:
    """Run every Python block of a README; each request is answered with this exchange. Return what each printed."""

    def chosen(recorded: RecordedExchange) -> bool:
        return recorded.id == exchange

    model = ReplayModel.from_directory(CORPUS / "exchanges", select=chosen)
    for _ in _examples(readme):
        model.play_next(exchange)
    async with BedrockEmulator([model]) as emulator:
        return await run_blocks(readme, emulator.url)


async def run_blocks(readme: Path, url: str, **environment: str) -> list[str]:
    """Run every Python block of a README against the service at ``url``. Return what each printed."""
    environment = {
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        **environment,
    }
    printed: list[str] = []
    for code in _examples(readme):
        command = [sys.executable, "-W", "error", "-c", code]
        with anyio.fail_after(60):
            done = await anyio.run_process(command, check=False, env=environment, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr.decode()
        assert not done.stderr
        printed.append(done.stdout.decode())
    return printed
