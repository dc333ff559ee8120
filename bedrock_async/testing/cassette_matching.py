"""Finds the recorded exchange for a request, or describes the nearest one and how it differs.

A request matches if method, path, query and body are equal, the body as JSON, and so are the headers that InvokeModel
uses for members (guardrail, trace, latency, tier). Exchanges with equal requests are played in the order of the
recording, each once.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, unquote

from ..errors import InvalidRequestError
from ..types import JSONValue
from .cassette_exchange import CassetteExchange, CassetteRequest
from .json_places import Path, path_text
from .redaction import Redactor
from .redaction_prompts import treatment
from .replay import body_key, body_value

__all__ = ["NotRecordedError", "Shelf"]

_Pairs: TypeAlias = tuple[tuple[str, str], ...]
_Key: TypeAlias = tuple[str, str, _Pairs, _Pairs, str]
_MEMBER_HEADERS: Final = (
    "x-amzn-bedrock-guardrail",
    "x-amzn-bedrock-performance",
    "x-amzn-bedrock-service",
    "x-amzn-bedrock-trace",
)
_SHOWN: Final = 60
_MOST_COMPARED: Final = 200


class NotRecordedError(InvalidRequestError):
    """No exchange of the cassette answers this request, or the matching one was not recorded to its end.

    ``nearest`` is the number of the most similar recorded exchange, counted from 1, and ``difference`` the place where
    it first differs: ``path``, ``query`` or ``body.messages[0].content[0].text``. Both are None if no exchange was
    compared.
    """

    def __init__(
        self, message: str, *, nearest: int | None = None, difference: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, path=difference, hint=hint)
        self.nearest = nearest
        self.difference = difference


class _Difference(NamedTuple):
    """Where two requests first differ, and how, without quoting their texts."""

    where: str
    how: str


class Shelf:
    """The recorded exchanges of a cassette, each taken once; with ``repeat``, the last of equal ones is repeated."""

    def __init__(
        self, exchanges: Iterable[CassetteExchange], redactor: Redactor, *, repeat: bool = False, source: str = ""
    ) -> None:
        self.exchanges = tuple(exchanges)
        self._repeat = repeat
        self._source = source or "the cassette"
        # Redacted again, so that exchanges that were recorded with other settings, or imported, compare equal.
        self._requests = [redactor.builtin().request(each.request) for each in self.exchanges]
        self._waiting: dict[_Key, deque[int]] = {}
        for number, (exchange, request) in enumerate(zip(self.exchanges, self._requests, strict=True)):
            if exchange.response is None and exchange.failure is None:  # cancelled before anything arrived
                continue
            self._waiting.setdefault(_key(request), deque()).append(number)
        self._played: set[int] = set()

    @property
    def unplayed(self) -> tuple[CassetteExchange, ...]:
        """The exchanges that no request has asked for yet."""
        return tuple(each for number, each in enumerate(self.exchanges) if number not in self._played)

    def take(self, request: CassetteRequest) -> CassetteExchange | None:
        """Return the next exchange for an already redacted request, or None if none is left."""
        waiting = self._waiting.get(_key(request))
        if not waiting:
            return None
        number = waiting[0] if self._repeat and len(waiting) == 1 else waiting.popleft()
        self._played.add(number)
        return self.exchanges[number]

    def missing(self, request: CassetteRequest, *, hint: str | None = None) -> NotRecordedError:
        """Return the error for a request for which `take` found no exchange."""
        line = f"{request.method} {request.path}"
        if not self._requests:
            return NotRecordedError(f"{line}: {self._source} has no exchanges.", hint=hint)
        key = _key(request)
        if key in self._waiting:
            times = sum(_key(each) == key for each in self._requests)
            return NotRecordedError(
                f"{line} was recorded {times} time{'s' * (times > 1)} in {self._source} and requested once more.",
                hint=f"Pass repeat=True to play the last one again. {hint or ''}".strip(),
            )
        number, difference = self._nearest(request)
        return NotRecordedError(
            f"{line} with this body is not in {self._source} ({len(self._requests)} recorded). "
            f"The nearest is exchange {number + 1}: {difference.where} {difference.how}.",
            nearest=number + 1,
            difference=difference.where,
            hint=hint,
        )

    def _nearest(self, request: CassetteRequest) -> tuple[int, _Difference]:
        """Return the recorded request most similar to this one, the first of equals."""
        leaves = _leaves_of(request.body)

        def likeness(number: int) -> tuple[bool, bool, int, int]:
            other = self._requests[number]
            common = (leaves & _leaves_of(other.body)).total() if number < _MOST_COMPARED else 0
            return other.method == request.method, unquote(other.path) == unquote(request.path), common, -number

        number = max(range(len(self._requests)), key=likeness)
        return number, _difference(self._requests[number], request)


def _key(request: CassetteRequest) -> _Key:
    return request.method, unquote(request.path), _query(request), _members(request), body_key(request.body)


def _query(request: CassetteRequest) -> _Pairs:
    return tuple(sorted(parse_qsl(request.query, keep_blank_values=True)))


def _members(request: CassetteRequest) -> _Pairs:
    return tuple(sorted(pair for pair in request.headers.items() if pair[0].startswith(_MEMBER_HEADERS)))


def _leaves(value: JSONValue, path: Path = ()) -> Iterator[tuple[Path, JSONValue]]:
    """Yield scalars, empty objects and empty lists, with their paths."""
    if isinstance(value, dict) and value:
        for name, member in value.items():
            yield from _leaves(member, (*path, name))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    else:
        yield path, value


def _leaves_of(body: bytes) -> Counter[tuple[Path, str]]:
    value = body_value(body)
    return Counter() if isinstance(value, bytes) else Counter((path, repr(leaf)) for path, leaf in _leaves(value))


def _difference(recorded: CassetteRequest, sent: CassetteRequest) -> _Difference:
    if recorded.method != sent.method:
        return _Difference("method", f"is {recorded.method} there and {sent.method} here")
    if unquote(recorded.path) != unquote(sent.path):
        return _Difference("path", f"is {recorded.path} there")
    for place, pairs_of in (("query", _query), ("headers", _members)):
        there, here = (_placed(place, pairs_of(each)) for each in (recorded, sent))
        if there != here:
            return _first_difference(there, here)
    bodies = body_value(recorded.body), body_value(sent.body)
    if isinstance(bodies[0], bytes) or isinstance(bodies[1], bytes):
        return _Difference("body", f"has {len(recorded.body)} bytes there and {len(sent.body)} here")
    return _first_difference(dict(_leaves(bodies[0], ("body",))), dict(_leaves(bodies[1], ("body",))))


def _placed(place: str, pairs: _Pairs) -> dict[Path, JSONValue]:
    return {(place, name): value for name, value in pairs}


def _first_difference(there: Mapping[Path, JSONValue], here: Mapping[Path, JSONValue]) -> _Difference:
    for path in (*there, *here):
        if path not in there or path not in here:
            ways = [_shown(path[1:], side[path]) if path in side else "absent" for side in (there, here)]
        elif type(old := there[path]) is type(new := here[path]) and old == new:
            continue
        elif isinstance(old, str) and isinstance(new, str) and (_private(path[1:], old) or _private(path[1:], new)):
            pairs = enumerate(zip(old, new, strict=False))
            at = next((index for index, (a, b) in pairs if a != b), min(len(old), len(new)))
            how = f"has {len(old)} characters there and {len(new)} here, and differs from character {at + 1} on"
            return _Difference(path_text(path), how)
        else:
            ways = [_shown(path[1:], old), _shown(path[1:], new)]
        return _Difference(path_text(path), f"is {ways[0]} there and {ways[1]} here")
    return _Difference("body", "is the same, but nothing had come back when that recording was cancelled")


def _private(path: Path, text: str) -> bool:
    return treatment(path, text.encode("utf-8", "replace")) != "keep"


def _shown(path: Path, value: JSONValue) -> str:
    """Return a value for messages: numbers and enumerations as they are, only the length of other texts."""
    if isinstance(value, str) and (_private(path, value) or len(value) > _SHOWN):
        return f"a text of {len(value)} character{'s' * (len(value) != 1)}"
    return json.dumps(value, ensure_ascii=False)
