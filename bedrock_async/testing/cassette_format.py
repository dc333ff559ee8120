"""The cassette's file: one JSON document that reads well in a diff, versioned, and written whole or not at all.

::

    {
     "bedrock_async_cassette": 1,
     "redacted": ["secrets"],
     "exchanges": [
      {
       "request": {"method": "POST", "host": "...", "path": "/model/...", "headers": {...}, "body": {"json": {...}}},
       "response": {
        "status": 200,
        "head_ms": 412,
        "headers": {...},
        "body": {
         "frames": [
          {"event": "messageStart", "json": {"p": "abcd", "role": "assistant"}},
          ...
         ]
        },
        "piece_bytes": [325, 160],
        "piece_ms": [412, 433]
       },
       "ended": "complete"
      }
     ]
    }
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast, get_args

from ..errors import InvalidRequestError
from ..eventstream import CONTENT_TYPE as EVENT_STREAM
from ..types import JSONValue
from .cassette_bodies import body_form, body_of
from .cassette_exchange import (
    CassetteExchange,
    CassetteRequest,
    CassetteResponse,
    Ended,
    RecordedFailure,
    RecordedPiece,
    cut,
)
from .redaction import Redactor

__all__ = ["VERSION", "CassetteFile", "read_cassette", "write_cassette", "write_redacted"]

VERSION: Final = 1
"""The version of the format that is written, and the only one that can be read."""

_MARK: Final = "bedrock_async_cassette"
_LINE: Final = 120
_MAX_DEPTH: Final = 40  # deeper levels are written without line breaks
_PROMPTS: Final = "prompts"


@dataclass(frozen=True, slots=True)
class CassetteFile:
    """The content of a file; ``prompts_redacted`` tells that texts were blanked when it was recorded."""

    exchanges: Sequence[CassetteExchange]
    prompts_redacted: bool = False


def read_cassette(path: str | Path) -> CassetteFile:
    """Read a cassette. Reads a file: do not call it on an event loop.

    Raises InvalidRequestError when the file cannot be read, is not a cassette, or has another version.
    """
    try:
        document: object = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as exc:
        raise InvalidRequestError(f"the cassette {path} cannot be read: {exc}", path="path") from exc
    members = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    version = members.get(_MARK)
    if version is None:
        raise InvalidRequestError(
            f"{path} is not a cassette: it has no member {_MARK!r}.",
            path="path",
            hint="A directory of recorded exchanges, one to a file, is served by ReplayModel.from_directory.",
        )
    if version != VERSION:
        raise InvalidRequestError(
            f"the cassette {path} is of version {version!r}; this release of bedrock-async reads version {VERSION}.",
            path="path",
            hint="Upgrade bedrock-async, or record the cassette again.",
        )
    exchanges: list[CassetteExchange] = []
    try:
        for each in members["exchanges"]:
            exchanges.append(_exchange(each))  # noqa: PERF401 - its length tells which one is faulty
        return CassetteFile(exchanges, _PROMPTS in members.get("redacted", ()))
    except InvalidRequestError as exc:
        raise InvalidRequestError(
            f"exchange {len(exchanges) + 1} of the cassette {path}: {exc.message}", path="path"
        ) from exc
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise InvalidRequestError(
            f"exchange {len(exchanges) + 1} of the cassette {path} cannot be read: {type(exc).__name__} at {exc}.",
            path="path",
        ) from exc


def write_cassette(path: str | Path, file: CassetteFile) -> None:
    """Write a cassette atomically: readers see the old file or the new one. Do not call it on an event loop.

    Keys, tokens and account ids are never written, whatever the exchanges contain (such as `Cassette.recorded`). Raises
    InvalidRequestError when the file cannot be written; the old one is then unchanged.
    """
    redactor = Redactor()
    exchanges = [redactor.exchange(each) for each in file.exchanges]
    write_redacted(Path(path), CassetteFile(exchanges, file.prompts_redacted))


def write_redacted(path: Path, file: CassetteFile) -> None:
    """Write exchanges that are redacted already; otherwise like `write_cassette`."""
    document: dict[str, JSONValue] = {
        _MARK: VERSION,
        "redacted": ["secrets", _PROMPTS] if file.prompts_redacted else ["secrets"],
        "exchanges": [_record(each) for each in file.exchanges],
    }
    text = "".join(_lines(document, 0)) + "\n"
    try:
        data = text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can represent as an escape
        data = (json.dumps(document, indent=1) + "\n").encode()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)  # noqa: PTH105 - Path.replace says less about what it is for
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as exc:
        raise InvalidRequestError(f"the cassette {path} cannot be written: {exc}", path="path") from exc


def _lines(value: JSONValue, depth: int) -> Iterator[str]:
    """Yield the text of a value: on one line if it is short or contains no containers, else one line per member."""
    compact = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(compact) + depth <= _LINE or depth >= _MAX_DEPTH:
        yield compact
        return
    if isinstance(value, dict):
        members = [(f"{json.dumps(name, ensure_ascii=False)}: ", member) for name, member in value.items()]
    elif not any(isinstance(item, dict | list) for item in value):  # sizes, times, the numbers of an embedding
        yield compact
        return
    else:
        members = [("", item) for item in value]
    first, last = ("{", "}") if isinstance(value, dict) else ("[", "]")
    yield first
    for index, (name, member) in enumerate(members):
        yield f"{',' if index else ''}\n{' ' * (depth + 1)}{name}"
        yield from _lines(member, depth + 1)
    yield f"\n{' ' * depth}{last}"


def _record(exchange: CassetteExchange) -> JSONValue:
    request, response, failure = exchange.request, exchange.response, exchange.failure
    record: dict[str, JSONValue] = {}
    if exchange.label is not None:
        record["label"] = exchange.label
    record["request"] = {
        "method": request.method,
        "host": request.host,
        "path": request.path,
        **({"query": request.query} if request.query else {}),
        "headers": dict(request.headers),
        "body": body_form(request.body),
    }
    if response is not None:
        stream = response.headers.get("content-type", "").startswith(EVENT_STREAM)
        record["response"] = {
            "status": response.status,
            "head_ms": response.head_ms,
            "headers": dict(response.headers),
            "body": body_form(response.body, stream=stream),
            "piece_bytes": [len(piece.data) for piece in response.pieces],
            "piece_ms": [piece.at_ms for piece in response.pieces],
        }
    record["ended"] = exchange.ended
    if failure is not None:
        record["failure"] = {
            "error": failure.name,
            "message": failure.message,
            "hint": failure.hint,
            **({"sent": failure.sent} if failure.limit_s is None else {"limit_s": failure.limit_s}),
        }
    return record


def _exchange(record: Mapping[str, Any]) -> CassetteExchange:
    request: Mapping[str, Any] = record["request"]
    response: Mapping[str, Any] | None = record.get("response")
    failure: Mapping[str, Any] | None = record.get("failure")
    ended: Ended = record["ended"]
    if ended not in get_args(Ended):
        raise InvalidRequestError(f"ended is {ended!r}; expected one of {', '.join(get_args(Ended))}.")
    return CassetteExchange(
        CassetteRequest(
            request["method"],
            request["path"],
            body_of(request["body"]),
            request.get("query", ""),
            dict(request["headers"]),
            request["host"],
        ),
        None if response is None else _response(response),
        ended,
        None if failure is None else _failure(failure),
        record.get("label"),
    )


def _response(record: Mapping[str, Any]) -> CassetteResponse:
    # Editing a body by hand changes its length: the last piece takes whatever length results.
    parts = cut(body_of(record["body"]), record["piece_bytes"])
    times: list[int] = list(record["piece_ms"])
    times += [times[-1] if times else record["head_ms"]] * (len(parts) - len(times))
    pieces = tuple(RecordedPiece(data, at_ms) for data, at_ms in zip(parts, times, strict=False))
    return CassetteResponse(int(record["status"]), dict(record["headers"]), pieces, int(record["head_ms"]))


def _failure(record: Mapping[str, Any]) -> RecordedFailure:
    return RecordedFailure(
        record["error"],
        record["message"],
        record.get("hint"),
        bool(record.get("sent", False)),
        record.get("limit_s"),
    )
