"""The Responses API: the reader of answers and stream events."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Final

from bedrock_async import Citation, CitationLocation, Event, ServiceError, WebLocation
from bedrock_async.errors import service_error
from bedrock_async.families import EventBuilder, NativeObject

from .answers import tell_usage, with_service_tier
from .faults import told_error
from .lanes import Lanes
from .routes import Route
from .seals import sealed

__all__ = ["ResponsesReader"]

# GPT-5 numbers its tool calls anew in every response, so ids would collide within a conversation; ids that are sent
# back need not be the model's.  [recorded from openai.gpt-5.5 and 5.6-luna, 2026-07: call_0 in every response]
_NUMBERED: Final = re.compile(r"call_\d{1,3}")
_MAX_ID: Final = 64  # as Converse has it

_REASONS: Final[Mapping[str, str]] = {"max_output_tokens": "max_tokens", "content_filter": "content_filtered"}


class ResponsesReader:
    """Reads one response, whole or as the events of its stream, into the events of a Converse stream.

    Each item of the output is a lane: its pieces become one block, the parts of a message one block each.
    """

    def __init__(self, route: Route) -> None:
        self.events: Final = EventBuilder()
        self.ended = False
        """Whether the response has ended, so that nothing can follow."""
        self._id = ""
        self._lanes = Lanes(self.events.end_block)
        self._told: dict[int, set[object]] = {}
        """The parts that have come in pieces, by item."""
        self._refused = False
        self._tier: object = None

    def read(self, native: NativeObject) -> None:
        """Read an event of a stream, or a whole response.

        Raises the ServiceError that it reports, and KeyError, TypeError or the like for JSON of another form.
        """
        if (native.get("error") or native.get("type") == "error") and (fault := told_error(native)) is not None:
            if native.get("object") == "response":
                fault.in_stream, fault.status = False, 200
            raise fault
        if native.get("object") == "response":
            self._response(native)
            for index, item in enumerate(native["output"]):
                self._item_done(index, item)
            self._end(native)
        else:
            self._event(native["type"], native)

    def finish(self) -> list[Event]:
        """Return the last events. Raises StreamTruncatedError if the response has not ended."""
        self._lanes.close_all()
        return with_service_tier(self.events.finish(), self._tier)

    # -- the events of a stream

    def _event(self, kind: str, event: NativeObject) -> None:
        """Read an event; those not listed repeat others, or report what the service does itself."""
        match kind:
            case "response.output_text.delta":
                self._text_delta(event)
            case "response.function_call_arguments.delta":
                self._piece(event, "arguments", self.events.tool_input)
            case (
                "response.reasoning_text.delta"
                | "response.reasoning_summary_text.delta"
                # Gemma's; its form is not documented.  [aws-samples/sample-per-model-bedrock, 2026-08]
                | "response.reasoning.delta"
            ):
                self._reasoning_delta(event)
            case "response.refusal.delta":
                self._refused = True
                self._text_delta(event)
            case "response.output_text.annotation.added":
                self._annotation(event)
            case "response.output_item.added":
                self._added(event)
            case "response.output_item.done":
                self._item_done(event["output_index"], event["item"])
            case "response.created" | "response.in_progress":
                self._response(event["response"])
            case "response.completed" | "response.incomplete":
                self._end(event["response"])
            case "response.failed":
                fault = event["response"].get("error") or {"message": "the response failed and does not say why"}
                raise told_error({"error": fault}) or _unfinished("failed")
            case _:
                pass

    def _added(self, event: NativeObject) -> None:
        item: Mapping[str, Any] = event["item"]
        if item["type"] == "function_call":
            self._tool_use(event["output_index"], item)

    def _text_delta(self, event: NativeObject) -> None:
        events = self.events
        self._piece(event, event["content_index"], events.text, between=events.end_block)

    def _reasoning_delta(self, event: NativeObject) -> None:
        if "summary_index" in event:
            part = "summary", event["summary_index"]
        else:
            part = "content", event.get("content_index")
        tell = self.events.reasoning
        self._piece(event, part, tell, between=partial(tell, "\n\n"))

    def _annotation(self, event: NativeObject) -> None:
        if (citation := _citation(event["annotation"])) is not None:
            self._told.setdefault(event["output_index"], set()).add("annotations")
            self._lanes.tell(event["output_index"], partial(self.events.citation, citation))

    def _piece(
        self,
        event: NativeObject,
        part: object,
        tell: Callable[[str], None],
        *,
        between: Callable[[], None] | None = None,
    ) -> None:
        """Pass on a piece of one part of an item; ``between`` separates the parts."""
        index: int = event["output_index"]
        delta = event["delta"]
        text: str = delta if isinstance(delta, str) else delta["text"]
        told = self._told.setdefault(index, set())
        if part not in told:
            if told and between is not None:
                self._lanes.tell(index, between)
            told.add(part)
        if text:
            self._lanes.tell(index, partial(tell, text))

    # -- the response and its items

    def _response(self, response: NativeObject) -> None:
        self._id = response.get("id") or ""
        self.events.start()

    def _item_done(self, index: int, item: Mapping[str, Any]) -> None:
        """Pass on what has not come in pieces, and end the item."""
        match item["type"]:
            case "message":
                self._message(index, item)
            case "reasoning":
                self._reasoning(index, item)
            case "function_call":
                if "call" not in self._told.get(index, ()):
                    self._tool_use(index, item)
                if "arguments" not in self._told[index] and (arguments := item["arguments"]):
                    self._lanes.tell(index, partial(self.events.tool_input, arguments))
            case str() as kind:
                # What the service did itself, such as a web search: kept whole, to go back as it came.
                self._lanes.tell(index, partial(self.events.other, kind, dict(item)))
            case kind:
                raise TypeError(f"the type of an item is not text ({type(kind).__name__})")
        self._lanes.close(index)

    def _tool_use(self, index: int, item: Mapping[str, Any]) -> None:
        call_id: str = item["call_id"]
        if _NUMBERED.fullmatch(call_id):
            call_id = f"{call_id}_{self._id.removeprefix('resp_')}"[:_MAX_ID]
        self._told.setdefault(index, set()).add("call")
        self._lanes.tell(index, partial(self.events.tool_use, call_id, item["name"]))

    def _message(self, index: int, item: Mapping[str, Any]) -> None:
        told: Collection[object] = self._told.get(index, ())
        text_told = any(part != "annotations" for part in told)
        for part in item["content"]:
            refusal = part["type"] == "refusal"
            self._refused = self._refused or refusal
            if not text_told:
                self._lanes.tell(index, partial(self.events.text, part["refusal" if refusal else "text"]))
            for annotation in () if "annotations" in told else part.get("annotations") or ():
                if (citation := _citation(annotation)) is not None:
                    self._lanes.tell(index, partial(self.events.citation, citation))
            if not told:
                self._lanes.tell(index, self.events.end_block)

    def _reasoning(self, index: int, item: Mapping[str, Any]) -> None:
        parts = [*(item.get("summary") or ()), *(item.get("content") or ())]
        text = "\n\n".join(part["text"] for part in parts if part.get("text"))
        if text and index not in self._told:
            self._lanes.tell(index, partial(self.events.reasoning, text))
        if (seal := sealed(item)) is None:
            return
        if text or index in self._told:
            self._lanes.tell(index, partial(self.events.reasoning, signature=seal))
        else:
            self._lanes.tell(index, partial(self.events.reasoning, redacted=seal.encode()))

    def _end(self, response: NativeObject) -> None:
        self._lanes.close_all()
        self._tier = response.get("service_tier")
        status: str = response["status"]
        if status not in {"completed", "incomplete"}:
            raise _unfinished(status)
        if usage := response.get("usage"):
            cached = usage.get("input_tokens_details")
            tell_usage(self.events, usage.get("input_tokens"), usage.get("output_tokens"), cached)
        if status == "incomplete":
            details = response.get("incomplete_details")
            reason: str = (details["reason"] if details else None) or "incomplete"
            self.events.stop(_REASONS.get(reason, reason))
        elif self._refused:
            self.events.stop("content_filtered")
        else:
            self.events.stop("tool_use" if self.events.has_tool_use else "end_turn")
        self.ended = True


def _unfinished(status: str) -> ServiceError:
    error = service_error("ModelErrorException", f"the response is not complete: its status is {status!r}.")
    error.code, error.status = status, 200
    error.hint = "Responses that go on in the background cannot be waited for here: leave background out."
    return error


def _citation(annotation: Mapping[str, Any]) -> Citation | None:
    """Return the citation of a URL annotation, or None for any other."""
    if annotation.get("type") != "url_citation":
        return None
    location = CitationLocation(web=WebLocation(url=annotation["url"]))
    return Citation(title=annotation.get("title"), source=annotation["url"], location=location)
