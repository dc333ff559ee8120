"""What `bedrock_async` offers: sorted, importable, documented, and imported only when it is used."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

import bedrock_async

PACKAGE: Final = Path(bedrock_async.__file__).parent

# Importing the package must not pay for any of these; each takes from 20 ms to half a second.
HEAVY: Final = frozenset(
    {"aiobotocore", "aiohttp", "anyio", "asyncio", "botocore", "httpx", "msgspec", "pydantic", "rich", "ssl", "typer"}
)


def loaded_by(statements: str) -> frozenset[str]:
    """Return the top-level modules that a fresh interpreter has loaded after the statements."""
    program = f"import sys\n{statements}\nimport json\nprint(json.dumps(sorted(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    return frozenset(name.partition(".")[0] for name in json.loads(output))


def test_public_names_are_sorted() -> None:
    """``__all__`` lists constants, then classes, then functions, each in alphabetical order and once."""
    names = bedrock_async.__all__
    assert names == sorted(set(names), key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def test_every_public_name_can_be_imported() -> None:
    """Each name of ``__all__`` is there, and `dir` shows it."""
    missing = [name for name in bedrock_async.__all__ if not hasattr(bedrock_async, name)]
    assert missing == []
    assert set(bedrock_async.__all__) <= set(dir(bedrock_async))


def test_dir_shows_public_names_before_they_are_used() -> None:
    """Completion in a fresh interpreter offers everything, though nothing is imported yet."""
    statements = "import bedrock_async; assert set(bedrock_async.__all__) <= set(dir(bedrock_async))"
    assert loaded_by(statements) & HEAVY == set()


def test_type_checkers_and_the_interpreter_see_the_same_names() -> None:
    """The imports under ``TYPE_CHECKING``, the lazy table and ``__all__`` name the same things."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    imported = {
        alias.asname or alias.name: f".{node.module}"
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    lazy = {
        name: module
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOME"
        for module, names in ast.literal_eval(node.value).items()
        for name in names
    }
    assert imported == lazy
    assert set(bedrock_async.__all__) == {*lazy, "__version__"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name fails as in any module, and `hasattr` works."""
    assert not hasattr(bedrock_async, "BedrockKlient")
    with pytest.raises(AttributeError, match="'bedrock_async' has no attribute 'BedrockKlient'"):
        _ = bedrock_async.BedrockKlient  # type: ignore[attr-defined]


def test_importing_the_package_is_cheap() -> None:
    """``import bedrock_async`` loads no dependency and no event loop."""
    assert loaded_by("import bedrock_async") & HEAVY == set()


def test_the_client_needs_no_optional_dependency() -> None:
    """Importing the client loads nothing that only an extra installs."""
    extras = {"aiobotocore", "boto3", "botocore", "genai_prices", "httpx", "opentelemetry", "rich", "typer"}
    assert loaded_by("from bedrock_async import BedrockClient") & extras == set()


@pytest.mark.parametrize("module", ["bedrock_async.errors", "bedrock_async.eventstream", "bedrock_async.events"])
def test_pure_layers_load_no_io(module: str) -> None:
    """The pure layers can be used, in a thread or another framework, without asyncio or an HTTP library."""
    assert loaded_by(f"import {module}") & {"aiohttp", "anyio", "asyncio", "botocore", "httpx", "ssl"} == set()


@pytest.mark.parametrize("name", [name for name in bedrock_async.__all__ if not name.startswith("__")])
def test_every_public_name_has_a_docstring(name: str) -> None:
    """A class or function says what it promises; an alias or constant has a string below its assignment."""
    value: object = getattr(bedrock_async, name)
    if inspect.isclass(value):
        # An inherited docstring describes another class; so does the one that dataclasses and TypedDicts make.
        documented = value.__dict__.get("__doc__")
        assert documented
        assert not documented.startswith(f"{name}(")
    elif inspect.isroutine(value):
        assert value.__doc__
    else:
        assert name in documented_assignments(), f"{name} has no docstring below its assignment"


@cache
def documented_assignments() -> frozenset[str]:
    """Return the module-level names of the package that have a string below their assignment."""
    return frozenset(name for path in PACKAGE.rglob("*.py") for name in _documented(path))


def _documented(path: Path) -> Iterator[str]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for node, below in pairwise(body):
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    yield name
                case _:
                    pass
