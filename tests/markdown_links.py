"""The places that a Markdown page has, and the links that lead to other places."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["anchors_of", "links_of"]

_FENCE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors_of(page: str) -> set[str]:
    """Return the anchors of a page: of its headings, as GitHub makes them, and those that are written down."""
    text = _FENCE.sub("", page)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {_slug(heading) for heading in headings} | set(re.findall(r'<a id="([\w-]+)">', text))


def links_of(page: str) -> list[tuple[str, str]]:
    """Return the relative links of a page: path and anchor, either of which may be empty."""
    links = re.findall(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)", _FENCE.sub("", page))
    return [(path, anchor) for path, anchor in links if not re.match(r"\w+:", path)]


def _slug(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")
