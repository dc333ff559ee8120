"""Finds the positions of the strings in a JSON text, so that everything around them can be kept unchanged.

A parser would lose what makes recorded bytes exact: white space, the spelling of numbers and escapes, duplicate
members. It would also reject an incomplete text, as left by a broken connection or in a piece of a tool's input.
Nothing here rejects anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["Path", "Place", "decoded_string", "encoded_string", "looks_like_json", "path_text", "places"]

Path: TypeAlias = "tuple[str | int, ...]"
"""The path to a value: names of members and positions in arrays."""

_TOKEN: Final = re.compile(
    rb'"(?P<string>[^"\\]*+(?:\\.[^"\\]*+)*+)(?:"|\\?\Z)|(?P<mark>[{}\[\]:,])|(?P<word>[^\s{}\[\]:,"]++)', re.DOTALL
)
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Place:
    """A string without its quotes, or a bare word (number, true, null), at ``text[start:end]``."""

    start: int
    end: int
    path: Path
    kind: Literal["name", "string", "word"]
    """``name`` is the name of a member; its path is that of the value which it names."""


@dataclass(slots=True)
class _Level:
    """An object or array that is still open."""

    is_object: bool
    step: str | int
    at_name: bool


def places(text: bytes) -> Iterator[Place]:
    """Yield every string and bare word of a JSON text in order; of broken text, as far as possible."""
    levels: list[_Level] = []
    for token in _TOKEN.finditer(text):
        mark = token["mark"]
        if mark is not None:
            _follow(levels, mark)
            continue
        kind: Literal["string", "word"] = "string" if token["string"] is not None else "word"
        start, end = token.span(kind)
        if levels and levels[-1].is_object and levels[-1].at_name:
            levels[-1].step = decoded_string(text[start:end])[0].decode("utf-8", "replace")
            yield Place(start, end, _path(levels), "name")
        else:
            yield Place(start, end, _path(levels), kind)


def _follow(levels: list[_Level], mark: bytes) -> None:
    if mark in b"{[":
        is_object = mark == b"{"
        levels.append(_Level(is_object, "" if is_object else 0, is_object))
    elif mark in b"}]":
        if levels:
            levels.pop()
    elif levels:
        level = levels[-1]
        if mark == b":":
            level.at_name = False
        elif isinstance(level.step, int):
            level.step += 1
        else:
            level.at_name = True


def _path(levels: Sequence[_Level]) -> Path:
    return tuple(level.step for level in levels)


def path_text(path: Path) -> str:
    """Return the path as shown in messages: ``messages[0].content[1].text``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def looks_like_json(body: bytes) -> bool:
    """Whether a body is a JSON object or array, or the beginning of one."""
    return body.lstrip()[:1] in (b"{", b"[")


def decoded_string(raw: bytes) -> tuple[bytes, Sequence[int]]:
    """Return the UTF-8 text of a JSON string, and the position in ``raw`` of each of its bytes and of its end.

    Lone surrogates become the three bytes that UTF-8 would have for them; invalid escapes are kept unchanged.
    """
    if b"\\" not in raw:
        return raw, range(len(raw) + 1)
    text = bytearray()
    origins: list[int] = []
    at = 0
    for escape in _ESCAPE.finditer(raw):
        start, end = escape.span()
        origins.extend(range(at, start))
        text += raw[at:start]
        try:
            character = json.loads(b'"' + escape[0] + b'"').encode("utf-8", "surrogatepass")
        except ValueError:
            character = escape[0]
        origins.extend([start] * len(character))
        text += character
        at = end
    origins.extend(range(at, len(raw) + 1))
    text += raw[at:]
    return bytes(text), origins


def encoded_string(text: str) -> bytes:
    """Return the text as a JSON string without quotes, in UTF-8 if possible."""
    try:
        return json.dumps(text, ensure_ascii=False)[1:-1].encode()
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(text)[1:-1].encode()
