"""docs/errors.md has a row for every class of the tree, and nothing that is not in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from bedrock_async import BedrockError, errors
from bedrock_async.advice import RULES, Rule

PAGE: Final = (Path(__file__).parent.parent / "docs" / "errors.md").read_text("utf-8")
TREE: Final = PAGE.partition("## The tree")[2]
LINES: Final = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", TREE, re.MULTILINE)
ROWS: Final = {name: (when, todo) for name, when, todo in LINES}
TROUBLE: Final = PAGE.partition("## Trouble")[2].partition("## The tree")[0]
ENTRIES: Final = dict(re.findall(r'^\| <a id="([\w-]+)"></a>(.*)$', TROUBLE, re.MULTILINE))
CLASSES: Final = [
    name
    for name in errors.__all__
    if isinstance(kind := getattr(errors, name), type) and issubclass(kind, BedrockError)
]


def test_every_class_has_a_row() -> None:
    """Whoever adds an error says when it comes and what to do; what is gone leaves the page."""
    assert set(ROWS) == set(CLASSES)
    assert all(when and todo for when, todo in ROWS.values())


def test_the_rows_stand_as_the_tree_is_drawn() -> None:
    """Each class behind the one that it is a kind of."""
    order = list(ROWS)
    for name in CLASSES:
        base = getattr(errors, name).__bases__[0].__name__
        assert base not in ROWS or order.index(base) < order.index(name)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.texts], ids=lambda rule: rule.topic)
def test_what_the_service_says_is_explained(rule: Rule) -> None:
    """Under the topic of each text, with a class that its error has, or one above it."""
    entry = ENTRIES[rule.topic]
    named = [getattr(errors, name) for name in re.findall(r"`(\w+Error)`", entry.partition("|")[0])]
    assert named
    possible = [getattr(errors, name) for name in filter(None, (*rule.errors, rule.becomes))]
    assert any(issubclass(one, other) or issubclass(other, one) for one in named for other in possible)


def test_links_within_the_page_lead_somewhere() -> None:
    """Every anchor that the page points to is there."""
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= set(ENTRIES)
