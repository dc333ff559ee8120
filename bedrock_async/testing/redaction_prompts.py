"""Blanks what people and models wrote, in recorded traffic that stays valid.

Every string is replaced by as many ``x`` as it had bytes, unless it is known to be no content of the conversation:
roles, types, formats, enumerations, ids, tool names, schemas except their descriptions. A string that is JSON itself,
such as the input of a tool, is blanked inside, even if a stream splits it. White space, numbers and names of members
are kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, TypeAlias

from .json_places import Path, Place, decoded_string, looks_like_json, places
from .redaction_secrets import FILLER

__all__ = ["Document", "blanked", "treatment"]

# Members whose strings are kept: enumerations and ids of the service model, and their equivalents in native dialects.
_KEPT: Final = frozenset(
    {
        *("accept", "action", "additionalModelResponseFieldPaths", "allowed_modes", "amazon-bedrock-guardrailAction"),
        *("anthropic_beta", "anthropic_version", "bucketOwner", "category", "clientRequestToken", "completionReason"),
        *("confidence", "content_type", "contentType", "createdAt", "effort", "endTime", "filterStrength"),
        *("finish_reason", "format", "guardrailIdentifier", "guardrailOrigin", "guardrailOwnership", "id"),
        *("identifier", "input_type", "invokedModelId", "key", "lastModifiedTime", "latency", "logic", "media_type"),
        *("mode", "model", "name", "nextToken", "object", "outputScope", "p", "performanceConfigLatency"),
        *("qualifiers", "reasoning_effort", "role", "service_tier", "serviceTier", "sortBy", "sortOrder", "status"),
        *("statusEquals", "stop_reason", "stopReason", "streamProcessingMode", "submitTime", "system_fingerprint"),
        *("tool_choice", "trace", "truncate", "truncation", "truncationMode", "ttl", "type", "verbosity", "version"),
    }
)
_KEPT_ENDINGS: Final = re.compile(r"(?:[a-z](?:Arn|Id|Type|Version)|_(?:arn|id|type|version))$")
_REFUSAL: Final = frozenset({"__type", "code", "message", "Message", "originalMessage"})
_SCHEMAS: Final = frozenset({"inputSchema", "input_schema", "schema"})
_MEMBERS_OF_SCHEMAS: Final = frozenset({"$defs", "definitions", "patternProperties", "properties"})
_WORDS_OF_SCHEMAS: Final = frozenset({"$comment", "default", "description", "example", "examples", "title"})
# Below these, names are made up by models or users, and have no known meaning.
_FREE: Final = frozenset({"arguments", "input", "json", "promptVariables", "requestMetadata"})
_JSON_TEXTS: Final = frozenset({"arguments", "input", "partial_json", "schema"})
_S3: Final = b"s3://"
_BLOCK: Final = frozenset({"contentBlockIndex", "index"})
_WORD: Final = re.compile(rb"-?[0-9][0-9.eE+-]*|true|false|null|NaN|-?Infinity")

Treatment: TypeAlias = Literal["keep", "blank", "json"]
"""What to do with a string; ``json`` means that it is JSON itself, or a piece of it."""


@dataclass(frozen=True, slots=True)
class Document:
    """One JSON text of an exchange. The message of a refusal is kept, because it identifies the error."""

    text: bytes
    refusal: bool = False


@dataclass(frozen=True, slots=True)
class _Edit:
    """Replaces ``text[start:end]`` by fillers."""

    start: int
    end: int
    size: int


@dataclass(frozen=True, slots=True)
class _Part:
    """One unescaped string of a series, and the edits to its document."""

    text: bytes
    start: int
    origins: Sequence[int]
    edits: list[_Edit]


def blanked(documents: Sequence[Document], *, exact: bool) -> list[bytes]:
    """Return the documents with texts blanked; those of one stream belong together.

    With ``exact``, each document keeps its exact length in bytes, so that frames and chunks remain correct. Otherwise,
    a string becomes as long as its text, regardless of the client's escapes.
    """
    edits: list[list[_Edit]] = [[] for _ in documents]
    series: dict[tuple[Path, tuple[bytes, ...]], list[_Part]] = {}
    for document, changes in zip(documents, edits, strict=True):
        text = document.text
        found = list(places(text))
        block = tuple(text[each.start : each.end] for each in found if each.path[-1:] and each.path[-1] in _BLOCK)
        for place in found:
            raw = text[place.start : place.end]
            if place.kind == "word" and not _WORD.fullmatch(raw):
                changes.append(_Edit(place.start, place.end, len(raw)))
            if place.kind != "string":
                continue
            decoded, origins = decoded_string(raw)
            match treatment(place.path, decoded, refusal=document.refusal):
                case "blank" if decoded.strip():
                    kept = len(_S3) if decoded.startswith(_S3) else 0
                    start = place.start + origins[kept]
                    changes.append(_Edit(start, place.end, place.end - start if exact else len(decoded) - kept))
                case "json":
                    series.setdefault((place.path, block), []).append(_Part(decoded, place.start, origins, changes))
                case _:
                    pass
    for (path, _), parts in series.items():
        _blank_inside(path, parts, exact=exact)
    return [_applied(document.text, changes) for document, changes in zip(documents, edits, strict=True)]


def treatment(path: Path, text: bytes, *, refusal: bool = False) -> Treatment:
    """Return what to do with the string ``text`` at ``path``."""
    names = [step for step in path if isinstance(step, str)]
    if names[:1] == ["input"] and names[1:2] in (["converse"], ["invokeModel"]):  # CountTokens
        if names[1:] == ["invokeModel", "body"]:  # a base64 document, which is redacted separately
            return "keep"
        names = names[2:]
    if not names:
        return "blank"
    last = names[-1]
    if refusal and len(names) == 1 and last in _REFUSAL:
        return "keep"
    for position, name in enumerate(names[:-1]):
        if name in _SCHEMAS or (name == "parameters" and names[position - 1] in {"function", "tools"}):
            return _in_schema(names[position + 1 :])
        if name in _FREE:
            return "blank"
    if last in _JSON_TEXTS:
        return "json"
    if last == "source":
        return "keep" if text in {b"INPUT", b"OUTPUT"} else "blank"
    if last == "name":
        return "blank" if names[-2:-1] == ["document"] else "keep"
    return "keep" if last in _KEPT or _KEPT_ENDINGS.search(last) else "blank"


def _in_schema(names: Sequence[str]) -> Treatment:
    """Keep a schema except for its texts. Below ``properties``, names are properties rather than keywords."""
    keywords = [name for before, name in pairwise(["", *names]) if before not in _MEMBERS_OF_SCHEMAS]
    return "keep" if _WORDS_OF_SCHEMAS.isdisjoint(keywords) else "blank"


def _blank_inside(path: Path, parts: Sequence[_Part], *, exact: bool) -> None:
    """Blank the texts in JSON that spans one or more strings; if it is not JSON, blank it as a whole."""
    text = b"".join(part.text for part in parts)
    if looks_like_json(text):
        spans = [(each.start, each.end) for each in places(text) if _speaks(text, each, path)]
    else:
        spans = [(0, len(text))] if text.strip() else []
    spans.reverse()
    at = 0
    for part in parts:
        end = at + len(part.text)
        while spans and spans[-1][0] < end:
            first, last = spans.pop()
            if last > end:  # the rest is in the next part
                spans.append((end, last))
                last = end
            start_raw, end_raw = part.start + part.origins[first - at], part.start + part.origins[last - at]
            part.edits.append(_Edit(start_raw, end_raw, end_raw - start_raw if exact else last - first))
        at = end


def _speaks(text: bytes, place: Place, path: Path) -> bool:
    found = text[place.start : place.end]
    if place.kind == "word":
        return not _WORD.fullmatch(found)
    return place.kind == "string" and treatment((*path, *place.path), found) != "keep"


def _applied(text: bytes, edits: Sequence[_Edit]) -> bytes:
    pieces: list[bytes] = []
    at = 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        pieces += (text[at : edit.start], FILLER * edit.size)
        at = edit.end
    return b"".join((*pieces, text[at:]))
