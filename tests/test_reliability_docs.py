"""docs/reliability.md: the tests that hold its promises are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = (ROOT / "docs" / "reliability.md").read_text("utf-8")


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the tests of a file: functions, and classes made by assignment."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                found.add(name)
            case _:
                pass
    return frozenset(found)


def references() -> Iterator[tuple[str, str]]:
    """Yield file and test of every row; ``::test_x`` is of the file that the row named last."""
    for row in (line for line in PAGE.splitlines() if line.startswith("| ") and "test_" in line):
        file = ""
        for name, test in re.findall(r"`([\w/]*(?:test_\w+\.py)?)::(\w+)`", row.rpartition(" | ")[2]):
            file = name or file
            yield file if "/" in file else f"tests/{file}", test


def test_every_promise_has_a_test() -> None:
    """No row of a table of promises is without one."""
    tables = re.findall(r"^\| promise \| held by \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) >= 30
    assert [row for row in rows if "::" not in row.rpartition(" | ")[2]] == []


@pytest.mark.parametrize(("file", "test"), sorted(set(references())))
def test_the_test_is_there(file: str, test: str) -> None:
    """Under that name, in that file."""
    assert test in names_in(ROOT / file)
