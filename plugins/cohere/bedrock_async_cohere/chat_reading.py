"""Command R's answers and stream events, read as Converse's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from bedrock_async import Event
from bedrock_async.families import EventBuilder, NativeObject
from bedrock_async.types import Citation

from .generate import read_generation_chunk
from .reasons import tell_stop_reason


class ChatReader:
    """Reads one answer, whole or in stream events.

    Token counts are not read from the answer, which has both billed units and the tokens of the whole prompt: the
    service's headers and metrics have the billed units, as Converse does.  [corpus, 2025-11]
    """

    def __init__(self) -> None:
        self.events = EventBuilder()
        self._text: list[str] = []
        self._calls = 0
        self._citations = 0
        self._documents: dict[str, Mapping[str, Any]] = {}

    def read_answer(self, native: NativeObject) -> None:
        """Read a whole answer."""
        self.events.start()
        self._add_text(native["text"])
        self._add_missing(native)
        tell_stop_reason(native["finish_reason"], self.events)

    def receive(self, chunk: NativeObject) -> list[Event]:
        """Return the events of one stream event, or of one chunk of a completion."""
        if "event_type" in chunk:
            self._event(chunk)
        else:
            read_generation_chunk(chunk, self.events)
        return self.events.take()

    def eof(self) -> list[Event]:
        """Return the last events. Raises StreamTruncatedError if no finish reason has arrived."""
        return self.events.finish()

    def _event(self, chunk: NativeObject) -> None:
        self.events.start()
        match chunk["event_type"]:
            case "text-generation":
                self._add_text(chunk["text"])
            case "citation-generation":
                self._add_citations(chunk["citations"])
            case "search-results":
                self._add_documents(chunk.get("documents"))
            case "tool-calls-generation":
                self._add_calls(chunk["tool_calls"])
            case "stream-end":
                # The end repeats the answer: take from it what no event has brought.
                self._add_missing(chunk.get("response") or {})
                tell_stop_reason(chunk["finish_reason"], self.events)
            case _:  # stream-start and the like carry nothing; event types yet to come are ignored
                pass

    def _add_missing(self, answer: NativeObject) -> None:
        self._add_documents(answer.get("documents"))
        if not self._text:
            self._add_text(answer.get("text"))
        if not self._citations:
            self._add_citations(answer.get("citations"))
        if not self._calls:
            self._add_calls(answer.get("tool_calls"))

    def _add_text(self, text: str | None) -> None:
        if text:
            self._text.append(text)
            self.events.text(text)

    def _add_documents(self, documents: Iterable[Mapping[str, Any]] | None) -> None:
        self._documents |= {document["id"]: document for document in documents or ()}

    def _add_citations(self, citations: Iterable[Mapping[str, Any]] | None) -> None:
        for citation in citations or ():
            self._citations += 1
            for document_id in citation.get("document_ids") or ("",):
                self.events.citation(self._citation(citation, document_id))

    def _citation(self, native: Mapping[str, Any], document_id: str) -> Citation:
        """Return a citation of one document; ``start``, ``end`` and ``text`` are the part of the answer it supports.

        Converse has no member for that part; its location is one within the document, which Cohere does not give.
        """
        wire: dict[str, Any] = {name: native[name] for name in ("start", "end", "text") if name in native}
        document = self._documents.get(document_id, {})
        if title := document.get("title"):
            wire["title"] = title
        if source := document.get("url") or document_id:
            wire["source"] = source
        if snippet := document.get("snippet"):
            wire["sourceContent"] = [{"text": snippet}]
        return Citation.from_wire(wire)

    def _add_calls(self, calls: Iterable[Mapping[str, Any]] | None) -> None:
        for call in calls or ():
            name, parameters = call["name"], call["parameters"]
            self.events.whole_tool_use(self._id(name, parameters), name, parameters)
            self._calls += 1

    def _id(self, name: str, parameters: object) -> str:
        # Cohere's calls have no ids, Converse's must: the same answer gives the same ids, whole or streamed.
        told = json.dumps(["".join(self._text), self._calls, name, parameters], sort_keys=True)
        return f"tooluse_{sha256(told.encode()).hexdigest()[:22]}"
