"""Citations, both ways: the Messages API names the type of a location, Converse has a member for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bedrock_async.types import Citation

# Converse's location -> the native kind, and the native names of index, start and end.
# [corpus, 2025-08 to 2026-07, for what Converse gives; Anthropic's "Citations" for the native names]
_LOCATIONS: Final[Mapping[str, tuple[str, str, str, str]]] = {
    "documentChar": ("char_location", "document_index", "start_char_index", "end_char_index"),
    "documentPage": ("page_location", "document_index", "start_page_number", "end_page_number"),
    "documentChunk": ("content_block_location", "document_index", "start_block_index", "end_block_index"),
    "searchResultLocation": (
        "search_result_location",
        "search_result_index",
        "start_block_index",
        "end_block_index",
    ),
}
_KINDS: Final = {native[0]: (name, *native[1:]) for name, native in _LOCATIONS.items()}
_WEB: Final = "web_search_result_location"


def read_citation(native: Mapping[str, Any]) -> Citation:
    """Return the Converse form of a Messages API citation."""
    kind: str = native["type"]
    wire: dict[str, Any] = {}
    if title := native.get("document_title") or native.get("title"):
        wire["title"] = title
    if source := native.get("source"):
        wire["source"] = source
    if cited := native.get("cited_text"):
        wire["sourceContent"] = [{"text": cited}]
    if kind in _KINDS:
        name, index, start, end = _KINDS[kind]
        index_name = "searchResultIndex" if index == "search_result_index" else "documentIndex"
        wire["location"] = {name: {index_name: native[index], "start": native[start], "end": native[end]}}
    elif kind == _WEB:
        wire["location"] = {"web": {"url": native.get("url")}}
        if encrypted := native.get("encrypted_index"):
            wire["encryptedIndex"] = encrypted
    return Citation.from_wire(wire)


def has_place(citation: Citation) -> bool:
    """Return whether a citation has a location that the Messages API knows; citations without one are refused there."""
    location = citation.to_wire().get("location")
    return isinstance(location, dict) and not {*_LOCATIONS, "web"}.isdisjoint(location)


def native_citation(citation: Citation) -> dict[str, Any]:
    """Return the Messages API form of a citation, for an answer that is sent back in the history."""
    wire = citation.to_wire()
    location = wire.get("location")
    native: dict[str, Any] = {"cited_text": "".join(part.text or "" for part in citation.source_content or ())}
    name, place = next(iter(location.items())) if isinstance(location, dict) and location else ("", None)
    members: dict[str, Any] = place if isinstance(place, dict) else {}
    if name in _LOCATIONS:
        kind, index, start, end = _LOCATIONS[name]
        native |= {"type": kind, start: members.get("start"), end: members.get("end")}
        native[index] = members.get("searchResultIndex" if index == "search_result_index" else "documentIndex")
        native["title" if kind == "search_result_location" else "document_title"] = citation.title
        if citation.source is not None:
            native["source"] = citation.source
        return native
    return native | {
        "type": _WEB,
        "url": members.get("url"),
        "title": citation.title,
        "encrypted_index": (citation.model_extra or {}).get("encryptedIndex"),
    }
