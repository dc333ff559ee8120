"""Request lines and headers as bytes, with nothing in them that would be another line."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ..errors import InvalidRequestError
from ._origin import Route
from ._protocol import WireRequest

__all__ = ["HeadWriter"]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What a method or a header's name may be.  [RFC 9110, section 5.6.2]"""

_LENGTH_ALWAYS: Final = frozenset({"PATCH", "POST", "PUT"})
"""Methods that announce an empty body, too.  [RFC 9110, section 8.6]"""

_OURS: Final = frozenset({"content-length", "transfer-encoding"})
"""How long the body is, is said once, by us."""

_MOST_LAYOUTS: Final = 256


class _Layout(msgspec.Struct, frozen=True):
    """What a method and the names of the headers decide."""

    text: str
    """Takes the target and the values."""
    lines: int
    has_host: bool
    length_always: bool


class HeadWriter:
    """Writes the heads of requests.

    Those of one client have the same headers in the same order again and again, so their names are looked at once.
    """

    def __init__(self) -> None:
        self._layouts: dict[tuple[str, ...], _Layout] = {}

    def head(self, request: WireRequest, route: Route) -> bytes:
        """Return the head, ``content-length`` included. Raises InvalidRequestError for what would be another line."""
        key = (request.method, *request.headers)
        layout = self._layouts.get(key) or self._new_layout(key, route)
        text = layout.text % (route.target, *request.headers.values())
        if text.count("\n") != layout.lines or text.count("\r") != layout.lines or "\0" in text:
            raise _refused(route, f"the value of {_broken_header(request)} holds a line break")
        if not layout.has_host:
            text += f"host: {route.host}\r\n"
        if request.body or layout.length_always:
            text += f"content-length: {len(request.body)}\r\n"
        try:
            return f"{text}{route.proxy_header}\r\n".encode()
        except UnicodeEncodeError as exc:
            raise _refused(route, "a header holds half a character") from exc

    def _new_layout(self, key: tuple[str, ...], route: Route) -> _Layout:
        method, *names = key
        for name in key:
            if not _TOKEN.fullmatch(name):
                raise _refused(route, f"{name!r} is no {'method' if name is method else 'name of a header'}")
        lower = {name.lower() for name in names}
        if twice := lower & _OURS:
            raise _refused(route, f"{twice.pop()} is set by the transport")
        lines = [f"{method} %s HTTP/1.1\r\n", *(f"{name.replace('%', '%%')}: %s\r\n" for name in names)]
        layout = _Layout("".join(lines), len(lines), "host" in lower, method in _LENGTH_ALWAYS)
        if len(self._layouts) >= _MOST_LAYOUTS:
            self._layouts.clear()
        self._layouts[key] = layout
        return layout


def _broken_header(request: WireRequest) -> str:
    return next((name for name, value in request.headers.items() if re.search("[\r\n\0]", value)), "a header")


def _refused(route: Route, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"the request to {route.peer} cannot be sent ({why}).")
