"""docs/service.md: what it says of limits and loggers is so, and its program for a web framework has no stale name."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path
from typing import Final

import pytest

import bedrock_async
from bedrock_async import Limits, RateLimit, Timeouts

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = (ROOT / "docs" / "service.md").read_text("utf-8")
TEXT: Final = " ".join(PAGE.split())
SERVERS: Final = ("cli", "testing")
"""Parts of the package that log for a program of their own."""


def loggers() -> set[str]:
    """Return the names of the loggers that a client writes to."""
    found = set[str]()
    for path in (ROOT / "bedrock_async").rglob("*.py"):
        module = path.relative_to(ROOT).with_suffix("")
        if module.parts[1] in SERVERS:
            continue
        for name in re.findall(r"logging\.getLogger\(([^)]*)\)", path.read_text("utf-8")):
            found.add(".".join(module.parts) if name == "__name__" else name.strip('"'))
    return found


def test_every_logger_is_listed() -> None:
    """Whoever filters by name finds all of them."""
    assert len(loggers()) > 2
    assert set(re.findall(r"^\| `(bedrock_async[\w.]*)` \| [A-Z]+ \|", PAGE, re.MULTILINE)) == loggers()


@pytest.mark.parametrize("limit", [field.name for field in fields(Timeouts)])
def test_every_limit_of_time_has_its_default(limit: str) -> None:
    """A row each, with the number that holds where nothing is said."""
    row = re.search(rf"^\| `{limit}` \| .* \| ([\d,]+) s \| `(\w+)`", PAGE, re.MULTILINE)
    assert row is not None
    assert float(row[1].replace(",", "")) == getattr(Timeouts(), limit)
    assert issubclass(getattr(bedrock_async, row[2]), bedrock_async.CallTimeoutError)


def test_the_other_numbers_hold() -> None:
    """Those of the queue and of the pool."""
    assert f"The default `max_queue` is {RateLimit(max_in_flight=1).max_queue:,};" in TEXT
    assert Limits().max_connections is None  # worked out where it is needed, from the limit of open files


def test_the_program_that_is_not_run_names_what_there_is() -> None:
    """Its framework is no dependency: of its lines only those about this package can be held."""
    (code,) = re.findall(r"^```python app\.py\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    imported = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    (ours,) = (node for node in imported if node.module == "bedrock_async")
    assert {alias.name for alias in ours.names} <= set(bedrock_async.__all__)
