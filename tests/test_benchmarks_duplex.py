"""The measurement of conversations runs, and prints a figure for each of its cells."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_the_table_is_made() -> None:
    """Both modes in cleartext and over TLS, each with a median and a range."""
    command = [sys.executable, "-m", "benchmarks.duplex", "--rounds", "1", "--events", "20"]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, *rows = done.stdout.splitlines()
    assert [row.split("  ")[0] for row in rows] == ["ours, cleartext", "ours, TLS"]
    for row in rows:
        assert len(re.findall(r"\d+ \(\d+-\d+\)", row)) == 2
