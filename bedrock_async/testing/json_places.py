"""Where the strings of a JSON text stand, found in the text itself, so that all around them stays as it came.

A parser would lose what makes recorded bytes the recorded bytes: blanks, the spelling of numbers and escapes, members
that come twice. It would also refuse half a text, which is what a broken connection or a piece of a tool's input
leaves. Nothing here refuses anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["Path", "Place", "decoded_string", "encoded_string", "looks_like_json", "path_text", "places"]

Path: TypeAlias = "tuple[str | int, ...]"
"""The way to a value: names of members and positions in arrays."""

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
    """One object or array that is open."""

    is_object: bool
    step: str | int
    at_name: bool


def places(text: bytes) -> Iterator[Place]:
    """Yield every string and bare word of a JSON text in its order; of broken text, what can be made out."""
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
    """Return the path as messages show it: ``messages[0].content[1].text``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def looks_like_json(body: bytes) -> bool:
    """Whether a body is, or begins as, a JSON object or array."""
    return body.lstrip()[:1] in (b"{", b"[")


def decoded_string(raw: bytes) -> tuple[bytes, Sequence[int]]:
    """Return the UTF-8 text of a JSON string, and for each byte of it, and its end, the place in ``raw``.

    Lone surrogates come as the three bytes that UTF-8 would have for them; what is no escape stays as it is.
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
    """Return the text as a JSON string without its quotes, in UTF-8 where that is possible."""
    try:
        return json.dumps(text, ensure_ascii=False)[1:-1].encode()
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(text)[1:-1].encode()
