"""Chat completions: the body of a request, and the reader of answers and chunks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from bedrock_async import ConverseRequest, Event
from bedrock_async.families import EventBuilder, NativeObject, stop_reason
from bedrock_async.families.chat_form import CHAT_FEATURES, ChatForm, TagSplitter, read_content, write_chat

from .answers import tell_usage, with_service_tier
from .faults import told_error
from .lanes import Lanes
from .routes import Route

__all__ = ["ChatReader", "chat_body", "chat_features"]

_FEATURES: Final = CHAT_FEATURES | {"audio", "images"}


def chat_features(route: Route) -> frozenset[str]:
    """Return what chat completions can express; reasoning in the history only if the route has a place for it."""
    replays = route.reasoning_field is not None or route.reasoning_tags is not None
    return _FEATURES if replays else _FEATURES - {"reasoning"}


def chat_body(request: ConverseRequest, route: Route, *, stream: bool) -> dict[str, Any]:
    """Return the body of a request. Raises InvalidRequestError for what it cannot express."""
    form = ChatForm(
        name="mantle",
        models=("*",),
        features=_FEATURES,
        max_tokens_field=route.max_tokens_field,
        reasoning_field=route.reasoning_field,
        reasoning_tags=route.reasoning_tags,
    )
    body: dict[str, Any] = {"model": route.model, **write_chat(request, form, model=route.base_model), "stream": stream}
    if stream:
        # Without it no chunk has the usage. It comes in a chunk of its own, after the finish reason and before [DONE].
        # [captured from bedrock-mantle, 2026-09]
        body["stream_options"] = {"include_usage": True}
    return body


class ChatReader:
    """Reads one chat completion, whole or chunk by chunk, into the events of a Converse stream."""

    def __init__(self, route: Route) -> None:
        self.events: Final = EventBuilder()
        self.ended: Final = False
        """Whether nothing can follow: no chunk tells, because the usage comes after the finish reason."""
        self._splitter = TagSplitter(route.reasoning_tags)
        self._calls = Lanes(self.events.end_block)
        self._open: dict[int, tuple[int, str]] = {}
        """The lane and the id of each call, by its index in the answer."""
        self._begun = 0
        self._last = 0
        self._refused = False
        self._intervened = False
        self._tier: object = None

    def read(self, native: NativeObject) -> None:
        """Read a chunk, or a whole completion.

        Raises the ServiceError that it reports, and KeyError, TypeError or the like for JSON of another form.
        """
        if "error" in native or "choices" not in native:
            fault = told_error(native)
            if fault is not None:
                raise fault
        for choice in native["choices"]:
            if choice.get("index", 0) == 0:  # only the caller's additional fields can ask for more
                self._choice(choice)
        if usage := native.get("usage"):
            details = usage.get("prompt_tokens_details")
            tell_usage(self.events, usage.get("prompt_tokens"), usage.get("completion_tokens"), details)
        if tier := native.get("service_tier"):
            self._tier = tier
        # How the runtime's guardrail reports, as in the body of InvokeModel.
        self._intervened = self._intervened or native.get("amazon-bedrock-guardrailAction") == "INTERVENED"

    def finish(self) -> list[Event]:
        """Return the last events. Raises StreamTruncatedError if the answer had no finish reason."""
        self._settle()
        if self._intervened:
            self.events.stop("guardrail_intervened")
        return with_service_tier(self.events.finish(), self._tier)

    def _settle(self) -> None:
        self._splitter.flush(self.events)
        self._calls.close_all()

    def _choice(self, choice: Mapping[str, Any]) -> None:
        # The last chunk of some servers says null: there is nothing more.
        said: Mapping[str, Any] = (choice["delta"] if "delta" in choice else choice["message"]) or {}
        events = self.events
        events.start()
        # bedrock-mantle says "reasoning", other servers of the same form "reasoning_content".
        if reasoning := said.get("reasoning") or said.get("reasoning_content"):
            self._calls.close_all()
            events.reasoning(reasoning)
        if content := said.get("content"):
            self._content(content)
        if refusal := said.get("refusal"):
            self._refused = True
            self._content(refusal)
        for position, call in enumerate(said.get("tool_calls") or ()):
            self._tool_call(position, call)
        if (reason := stop_reason(choice.get("finish_reason"), function_call="tool_use")) is not None:
            self._settle()
            if reason == "end_turn":  # a forced tool ends some answers with "stop"
                reason = "content_filtered" if self._refused else "tool_use" if events.has_tool_use else reason
            events.stop(reason)

    def _content(self, content: str | list[Mapping[str, Any]]) -> None:
        self._calls.close_all()
        read_content(content, self.events, self._splitter)

    def _tool_call(self, position: int, call: Mapping[str, Any]) -> None:
        """Read a tool call, or a piece of one: only the first has id and name, ``index`` tells the call."""
        self._splitter.flush(self.events)
        function: Mapping[str, Any] = call.get("function") or {}
        call_id, name = call.get("id") or "", function.get("name") or ""
        index = call.get("index")
        if not isinstance(index, int):
            # A piece without an index continues the last call, unless it names a new one.
            index = max(position, self._begun) if call_id or name or not self._open else self._last
        lane, known_id = self._open.get(index, (0, ""))
        if not lane or (call_id and call_id != known_id):
            if lane:  # another call under the same index
                self._calls.close(lane)
            self._begun = lane = self._begun + 1
            call_id = call_id or f"call_{lane}"
            self._open[index] = lane, call_id
            self._calls.tell(lane, partial(self.events.tool_use, call_id, name))
        self._last = index
        if arguments := function.get("arguments"):
            text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            self._calls.tell(lane, partial(self.events.tool_input, text))
