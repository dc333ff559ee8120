"""docs/configuration.md names everything that is read, and nothing that is not."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Final

import botocore
import pytest

from bedrock_async import ConnectionOptions
from bedrock_async.engine import Engine

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = (ROOT / "docs" / "configuration.md").read_text("utf-8")
TABLE: Final = "\n".join(line for line in PAGE.splitlines() if line.startswith("| "))
NAMED: Final = frozenset(re.findall(r"`([^`\n]+)`", TABLE))

VARIABLE: Final = re.compile(r"(AWS|BEDROCK_ASYNC)(_[A-Z0-9]+)+_?")
# Kinds of personal data that a guardrail knows are spelt like variables.
NO_VARIABLES: Final = frozenset({"AWS_ACCESS_KEY", "AWS_SECRET_KEY"})
# Put together from a prefix and the service's name, or from a name in either case.
PUT_TOGETHER: Final = {"AWS_ENDPOINT_URL_": "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"}
PROXIES: Final = frozenset(f"{name}_proxy" for name in ("http", "https", "all", "no"))


@cache
def nodes() -> list[ast.AST]:
    """Return what every module of the package is made of."""
    modules = [ast.parse(path.read_text("utf-8")) for path in sorted((ROOT / "bedrock_async").rglob("*.py"))]
    return [node for module in modules for node in ast.walk(module)]


def is_environment(node: ast.expr) -> bool:
    """Whether an expression is a mapping of variables: ``environ``, ``os.environ``, ``self._environ``."""
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name.lstrip("_") == "environ"


@cache
def variables() -> frozenset[str]:
    """Return the environment variables that the package reads."""
    found = set[str](PROXIES | {name.upper() for name in PROXIES})
    for node in nodes():
        match node:
            case ast.Constant(value=str(name)) if VARIABLE.fullmatch(name) and name not in NO_VARIABLES:
                found.add(PUT_TOGETHER.get(name, name))
            case (
                ast.Call(func=ast.Attribute(value=where, attr="get"), args=[ast.Constant(value=str(name)), *_])
                | ast.Subscript(value=where, slice=ast.Constant(value=str(name)))
                | ast.Compare(left=ast.Constant(value=str(name)), ops=[ast.In() | ast.NotIn()], comparators=[where])
            ) if is_environment(where):
                found.add(name)
            case _:
                pass
    return frozenset(found)


def profile_settings() -> frozenset[str]:
    """Return the settings of profiles that the package reads."""
    found = set[str]()
    for node in nodes():
        match node:
            case ast.Call(func=ast.Attribute(attr="setting"), args=[*_, ast.Constant(value=str(key))]):
                found.add(key)
            case ast.Call(func=ast.Attribute(attr="who"), args=[_, ast.Constant(value=str(variable))]):
                found.add(variable.removeprefix("AWS_").lower())
            case _:
                pass
    return frozenset(found)


@pytest.mark.parametrize("variable", sorted(variables()))
def test_every_variable_that_is_read_is_in_the_table(variable: str) -> None:
    """Nobody is surprised by a variable that no page mentions."""
    assert variable in NAMED


def test_the_search_finds_what_is_read() -> None:
    """An empty search would pass in silence."""
    assert {"CI", "REQUEST_METHOD", "AWS_REGION", "AWS_USE_FIPS_ENDPOINT", "BEDROCK_ASYNC_MODEL"} <= variables()
    assert {"region", "services", "endpoint_url", "ca_bundle", "use_fips_endpoint"} <= profile_settings()


@pytest.mark.parametrize("key", sorted(profile_settings()))
def test_every_setting_of_a_profile_is_in_the_table(key: str) -> None:
    """The same for the configuration files."""
    assert re.search(rf"profile(?:'s)? `{key}`", TABLE)


@pytest.mark.parametrize("keyword", sorted(set(inspect.signature(Engine.__init__).parameters) - {"self"}))
def test_every_keyword_of_the_client_is_in_the_table(keyword: str) -> None:
    """The page is complete for those who never open the docstring."""
    assert keyword in NAMED


@pytest.mark.parametrize("option", sorted(each.name for each in fields(ConnectionOptions)))
def test_every_option_of_connections_is_in_the_table(option: str) -> None:
    """Each in the row of what it settles."""
    assert re.search(rf"keyword `connection`: (?:`\w+`, )*`{option}`", TABLE)


def test_the_table_names_nothing_else() -> None:
    """A variable that is not read any more goes from the page."""
    spelt_so = {name for name in NAMED if re.fullmatch(r"[A-Z][A-Z0-9_]+|\w+_proxy", name)}
    assert spelt_so == variables()


def test_variables_outside_the_table_are_botocores() -> None:
    """What the page says that botocore reads, botocore knows by that name."""
    source = "".join(path.read_text("utf-8") for path in Path(botocore.__file__).parent.glob("*.py"))
    others = set(re.findall(r"`(AWS_\w+)`", PAGE)) - NAMED
    assert len(others) > 10
    assert {name for name in others if f"'{name}'" not in source and f'"{name}"' not in source} == set()
