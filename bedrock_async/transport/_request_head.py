"""Serializes request lines and headers, and rejects values that would inject further lines."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ..errors import InvalidRequestError
from ._origin import Route
from ._protocol import WireRequest

__all__ = ["HeadWriter"]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Valid methods and header names.  [RFC 9110, section 5.6.2]"""

_LENGTH_ALWAYS: Final = frozenset({"PATCH", "POST", "PUT"})
"""Methods that send ``content-length`` even for an empty body.  [RFC 9110, section 8.6]"""

_OURS: Final = frozenset({"content-length", "transfer-encoding"})
"""Headers about the length of the body, which only this module sets."""

_MOST_LAYOUTS: Final = 256


class _Layout(msgspec.Struct, frozen=True):
    """What depends only on the method and the names of the headers."""

    text: str
    """A template for the target and the header values."""
    lines: int
    has_host: bool
    length_always: bool


class HeadWriter:
    """Serializes the heads of requests.

    The requests of a client repeat the same headers in the same order, so that their names are validated only once.
    """

    def __init__(self) -> None:
        self._layouts: dict[tuple[str, ...], _Layout] = {}

    def head(self, request: WireRequest, route: Route) -> bytes:
        """Return the head, including ``content-length``. Raises InvalidRequestError for values with a line break."""
        key = (request.method, *request.headers)
        layout = self._layouts.get(key) or self._new_layout(key, route)
        text = layout.text % (route.target, *request.headers.values())
        if text.count("\n") != layout.lines or text.count("\r") != layout.lines or "\0" in text:
            raise _refused(route, f"the value of {_broken_header(request)} contains a line break")
        if not layout.has_host:
            text += f"host: {route.host}\r\n"
        if request.body or layout.length_always:
            text += f"content-length: {len(request.body)}\r\n"
        try:
            return f"{text}{route.proxy_header}\r\n".encode()
        except UnicodeEncodeError as exc:
            raise _refused(route, "a header has a lone surrogate") from exc

    def _new_layout(self, key: tuple[str, ...], route: Route) -> _Layout:
        method, *names = key
        for name in key:
            if not _TOKEN.fullmatch(name):
                raise _refused(route, f"{name!r} is not a {'method' if name is method else 'header name'}")
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
