"""The examples of a plugin's README run as they stand, against recorded answers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import anyio
from corpus import CORPUS

from bedrock_async.testing import BedrockEmulator, RecordedExchange, ReplayModel

__all__ = ["run_examples"]

_BLOCK: Final = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _examples(readme: Path) -> list[str]:
    return _BLOCK.findall(readme.read_text("utf-8"))


async def run_examples(readme: Path, exchange: str) -> list[str]:
    """Run every Python block of a README; each request is answered with this exchange. Return what each printed."""

    def chosen(recorded: RecordedExchange) -> bool:
        return recorded.id == exchange

    model = ReplayModel.from_directory(CORPUS / "exchanges", select=chosen)
    printed: list[str] = []
    async with BedrockEmulator([model]) as emulator:
        environment = {
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": emulator.url,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
        for code in _examples(readme):
            model.play_next(exchange)
            command = [sys.executable, "-W", "error", "-c", code]
            with anyio.fail_after(60):
                done = await anyio.run_process(command, check=False, env=environment, stderr=subprocess.PIPE)
            assert done.returncode == 0, done.stderr.decode()
            assert not done.stderr
            printed.append(done.stdout.decode())
    return printed
