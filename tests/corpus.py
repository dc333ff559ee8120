"""Loads the recorded exchanges of `tests/data/corpus`; its README describes the files and names their licences."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

__all__ = ["CORPUS", "Exchange", "exchange", "exchanges"]

CORPUS: Final = Path(__file__).parent / "data" / "corpus"
"""The folder of the recorded traffic and protocol vectors."""


@dataclass(frozen=True, slots=True, eq=False)
class Exchange:
    """One recorded HTTP exchange. Bodies are the bytes as recorded, header names are as recorded."""

    id: str
    """The stem of the file's name, which pytest shows."""
    kind: str
    model_id: str
    method: str
    host: str
    path: str
    """Verbatim: some clients send ``%3A``, some a raw colon."""
    request_headers: Mapping[str, str]
    request_body: bytes
    """Empty where nothing was recorded."""
    status: int
    response_headers: Mapping[str, str]
    response_body: bytes
    chunk_sizes: tuple[int, ...] | None
    """Sizes of the transport's chunks where the recorder kept them."""
    eventstream: Mapping[str, Any] | None
    """botocore's reading of an event stream: ``messages``, ``event_types``, ``events``; None for other bodies."""
    raw: Mapping[str, Any] = field(repr=False)
    """The whole file."""

    @override
    def __str__(self) -> str:
        """Return the id, so that ``ids=str`` names a parametrised test."""
        return self.id

    @property
    def features(self) -> frozenset[str]:
        """The tags of the exchange, such as ``tools`` or ``reasoning_response``."""
        return frozenset(self.raw["features"])

    @property
    def request_json(self) -> Any:  # noqa: ANN401 - JSON of any shape
        """The request body as JSON. Raises ValueError where none was recorded."""
        return json.loads(self.request_body)

    @property
    def response_json(self) -> Any:  # noqa: ANN401 - JSON of any shape
        """The response body as JSON. Raises ValueError for event streams."""
        return json.loads(self.response_body)


def exchanges(kind: str | None = None, status: int | None = None) -> list[Exchange]:
    """Return the recorded exchanges of that kind and status, all of them by default, sorted by id."""
    return [_load(stem) for stem in _stems() if _matches(stem, kind, status)]


def exchange(stem: str) -> Exchange:
    """Return the exchange of that id. Raises FileNotFoundError when there is none."""
    return _load(stem)


@cache
def _stems() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (CORPUS / "exchanges").glob("*.json")))


def _matches(stem: str, kind: str | None, status: int | None) -> bool:
    # <kind>__<model family>__<status>__<id>: choosing by name spares reading the other files.
    file_kind, _, rest = stem.partition("__")
    file_status = rest.rsplit("__", 2)[1]
    return kind in (None, file_kind) and (status is None or int(file_status) == status)


@cache
def _load(stem: str) -> Exchange:
    raw: dict[str, Any] = json.loads((CORPUS / "exchanges" / f"{stem}.json").read_bytes())
    sizes: list[int] | None = raw["response_chunk_sizes"]
    return Exchange(
        id=stem,
        kind=raw["kind"],
        model_id=raw["model_id"],
        method=raw["method"],
        host=raw["host"],
        path=raw["path"],
        request_headers=raw["request_headers"],
        request_body=(raw["request_body"] or "").encode(),
        status=raw["status"],
        response_headers=raw["response_headers"],
        response_body=b64decode(raw["response_body_b64"]),
        chunk_sizes=None if sizes is None else tuple(sizes),
        eventstream=raw["eventstream"],
        raw=raw,
    )
