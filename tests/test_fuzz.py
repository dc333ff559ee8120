"""Each fuzz target runs, comes to results and is repeatable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

FOLDER: Final = Path(__file__).parent.parent / "fuzz"
TARGETS: Final = sorted(FOLDER.glob("fuzz_*.py"))


def fuzz(target: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a fuzz target's own generator for 300 inputs in ``folder``."""
    command = [sys.executable, str(target), "--engine", "random", "--runs", "300", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("target", TARGETS, ids=lambda path: path.stem)
def test_changed_inputs_keep_the_promise(target: Path, tmp_path: Path) -> None:
    """300 inputs from the seeds keep the promise; the same seed makes the same ones."""
    first, second = fuzz(target, tmp_path, "--seed", "1"), fuzz(target, tmp_path, "--seed", "1")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("300 inputs from seed 1: ")
    assert ": 0 " not in first.stdout
    assert first.stdout == second.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", TARGETS, ids=lambda path: path.stem)
def test_seeds_are_few_and_small(target: Path) -> None:
    """What is kept to begin with stays a handful of files."""
    seeds = list((FOLDER / "corpus" / target.stem.removeprefix("fuzz_")).iterdir())
    assert 0 < len(seeds) <= 40
    assert max(seed.stat().st_size for seed in seeds) <= 16 * 1024
