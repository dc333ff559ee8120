"""A model that answers with recorded exchanges, byte for byte.

An exchange is matched by method, decoded path and body (equal as JSON); exchanges recorded with equal requests are
played in the order of recording, and the last one is repeated. One without a recorded request is played by name:
through the request header ``x-replay-exchange``, or with `ReplayModel.play_next`.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, cast
from urllib.parse import unquote

from ..errors import InvalidRequestError
from ..eventstream import CONTENT_TYPE
from ..types import JSONValue
from .answers import HttpAnswer
from .frames import wire_json
from .received import ReceivedRequest

__all__ = [
    "CONNECTION_HEADERS",
    "EXCHANGE_HEADER",
    "RecordedExchange",
    "ReplayModel",
    "body_key",
    "body_value",
    "not_recorded",
]

EXCHANGE_HEADER: Final = "x-replay-exchange"

CONNECTION_HEADERS: Final = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})
"""These describe the recorded connection, not the response, and the replaying server sets its own."""

_STREAMS: Final = frozenset({"converse-stream", "invoke-with-response-stream"})
_OK: Final = range(200, 300)


@dataclass(frozen=True, slots=True)
class RecordedExchange:
    """One recorded request and its response; ``request_body`` is None if no request was recorded."""

    id: str
    kind: str
    method: str
    path: str
    request_body: bytes | None
    answer: HttpAnswer
    request_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    source: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read one exchange in the format of the recorded corpus (see the README beside the data).

        Raises InvalidRequestError if a member is missing or cannot be read.
        """
        try:
            body: str | None = record["request_body"]
            status, response = record["status"], base64.b64decode(record["response_body_b64"])
            content_type = _content_type(record["kind"], status, response)
            headers = _headers(record.get("response_headers") or {}, content_type)
            answer = HttpAnswer(status, response, headers, chunk_bytes=record.get("response_chunk_sizes"))
            return cls(
                id=record["id"],
                kind=record["kind"],
                method=record["method"],
                path=record["path"],
                request_body=None if body is None else _body(body, record.get("request_body_encoding")),
                answer=answer,
                request_headers=record.get("request_headers") or {},
                source=record.get("source") or {},
            )
        except (KeyError, ValueError, TypeError, AttributeError) as exc:
            raise InvalidRequestError(f"this is not a recorded exchange: {type(exc).__name__} at {exc}.") from exc


def _headers(recorded: Mapping[str, object], content_type: str | None) -> dict[str, str]:
    """Return the headers to be sent; recorders write their values as text, numbers, or lists of either."""
    headers: dict[str, str] = {}
    for name, value in recorded.items():
        if name.lower() not in CONNECTION_HEADERS:
            values = cast("list[object]", value) if isinstance(value, list) else [value]
            headers[name] = ", ".join(map(str, values))
            if not {"\r", "\n", "\0"}.isdisjoint(headers[name]):
                raise ValueError(f"the value of the header {name!r}, which cannot be sent")
    if content_type is not None and "content-type" not in map(str.lower, headers):
        headers["content-type"] = content_type
    return headers


def _content_type(kind: str, status: int, body: bytes) -> str | None:
    """Return the service's content type of such a body: recorders drop headers, and a server would send its own."""
    if kind in _STREAMS and status in _OK:
        return CONTENT_TYPE
    return "application/json" if body.startswith((b"{", b"[")) else None


def _body(text: str, encoding: str | None) -> bytes:
    return base64.b64decode(text) if encoding == "base64" else text.encode(encoding or "utf-8")


class ReplayModel:
    """Serves recorded exchanges; pass it to the emulator among the models.

    It answers before validation and routing (authentication is still checked if keys are configured). A request that
    was not recorded gets a 404 that says how close it came; with ``strict=False``, it goes to the other models.
    """

    def __init__(self, exchanges: Iterable[RecordedExchange | Mapping[str, Any]], *, strict: bool = True) -> None:
        """Take the exchanges, in the order of recording. Raises InvalidRequestError for a malformed one."""
        self.exchanges = tuple(
            item if isinstance(item, RecordedExchange) else RecordedExchange.from_json(item) for item in exchanges
        )
        self._strict = strict
        self._by_id = {exchange.id: exchange for exchange in self.exchanges}
        self._by_request: dict[tuple[str, str, str], deque[RecordedExchange]] = {}
        self._paths: dict[tuple[str, str], int] = {}
        self._queue: deque[RecordedExchange] = deque()
        for exchange in self.exchanges:
            if exchange.request_body is not None:
                line = (exchange.method, unquote(exchange.path))
                self._paths[line] = self._paths.get(line, 0) + 1
                self._by_request.setdefault((*line, body_key(exchange.request_body)), deque()).append(exchange)

    @classmethod
    def from_directory(
        cls, path: str | Path, *, select: Callable[[RecordedExchange], bool] | None = None, strict: bool = True
    ) -> Self:
        """Read every ``*.json`` below ``path``, ordered by name; ``select`` keeps those for which it is true.

        Raises InvalidRequestError if there are none, or one cannot be read. It reads files: call it in a worker thread.
        """
        try:
            texts = [file.read_bytes() for file in sorted(Path(path).rglob("*.json"))]
            exchanges = [RecordedExchange.from_json(json.loads(text)) for text in texts]
        except (OSError, ValueError) as exc:
            raise InvalidRequestError(f"the recordings below {path} cannot be read: {exc}", path="path") from exc
        if not exchanges:
            raise InvalidRequestError(f"there is no recording (*.json) below {path}.", path="path")
        return cls([each for each in exchanges if select is None or select(each)], strict=strict)

    def play_next(self, exchange_id: str) -> None:
        """Answer the next request with this exchange, whatever the request is. Calls queue up.

        Raises InvalidRequestError if there is no such exchange.
        """
        self._queue.append(self._named(exchange_id))

    def respond(self, request: ReceivedRequest) -> HttpAnswer | None:
        """Return the recorded answer, None if the request was not recorded and other models may answer it."""
        exchange = self._find(request)
        if exchange is not None:
            return exchange.answer
        return self._not_recorded(request) if self._strict else None

    async def aclose(self) -> None:
        """Do nothing: recordings hold no resources."""

    def _find(self, request: ReceivedRequest) -> RecordedExchange | None:
        if name := request.headers.get(EXCHANGE_HEADER):
            return self._by_id.get(name)
        if self._queue:
            return self._queue.popleft()
        matching = self._by_request.get((request.method, request.decoded_path, body_key(request.body)))
        if matching is None:
            return None
        return matching.popleft() if len(matching) > 1 else matching[0]

    def _named(self, exchange_id: str) -> RecordedExchange:
        if exchange_id not in self._by_id:
            raise InvalidRequestError(f"there is no exchange {exchange_id!r} among the {len(self.exchanges)} recorded.")
        return self._by_id[exchange_id]

    def _not_recorded(self, request: ReceivedRequest) -> HttpAnswer:
        same_path = self._paths.get((request.method, request.decoded_path), 0)
        return not_recorded(
            request,
            f"None of the {len(self.exchanges)} recorded exchanges answers {request.method} {request.decoded_path} "
            f"with this body of {len(request.body)} bytes; {same_path} have the same path.",
        )


def not_recorded(request: ReceivedRequest, message: str) -> HttpAnswer:
    """Return the 404 for a request that was not recorded."""
    headers = {
        "content-type": "application/json",
        "x-amzn-errortype": "ResourceNotFoundException",
        "x-amzn-requestid": request.request_id,
    }
    return HttpAnswer(404, wire_json({"message": message}), headers)


def body_value(body: bytes) -> JSONValue | bytes:
    """Return the JSON of a body, with 1.0 and 1 as one number, or its bytes if it is not JSON."""
    try:
        value: JSONValue = json.loads(body)
    except (ValueError, RecursionError):
        return body
    return _numbers(value)


def body_key(body: bytes) -> str:
    """Return a text that is the same for bodies that are equal as JSON or, if they are not JSON, as bytes."""
    value = body_value(body)
    return repr(value) if isinstance(value, bytes) else json.dumps(value, sort_keys=True)


def _numbers(value: JSONValue) -> JSONValue:
    """Make 1.0 and 1 the same number, but keep true and 1 distinct."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _numbers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return value
