"""The fuzz target runs, delivers frames and is repeatable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
TARGET: Final = ROOT / "fuzz" / "fuzz_eventstream.py"


def fuzz(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the fuzz target's own generator for 300 inputs in ``folder``."""
    command = [sys.executable, str(TARGET), "--engine", "random", "--runs", "300", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_mutated_streams_give_frames_or_event_stream_errors(tmp_path: Path) -> None:
    """300 inputs from the seeds keep the promise; the same seed makes the same ones."""
    first, second = fuzz(tmp_path, "--seed", "1"), fuzz(tmp_path, "--seed", "1")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("300 inputs from seed 1: ")
    assert " 0 frames" not in first.stdout
    assert first.stdout == second.stdout
    assert list(tmp_path.iterdir()) == []
