"""Titan Text: one prompt that holds all turns, one text back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bedrock_async import Event
from bedrock_async.families import EventBuilder, FamilyContext, NativeObject, stop_reason
from bedrock_async.types import ConverseRequest, InferenceConfig, Message

TITAN_TEXT_FEATURES: Final = frozenset({"max_tokens", "stop_sequences", "temperature", "top_p"})
"""What the body can express."""

# "User: <prompt>\nBot:" [Bedrock user guide, "Amazon Titan Text models"]. Converse writes the same: a guardrail that
# looked at the whole prompt of a recorded call counted 11 characters more than the message has, and messages of one
# role in a row cost no more tokens than one.  [recorded, 2025]
_SPEAKERS: Final = {"user": "User: ", "assistant": "Bot: "}
_CUE: Final = "Bot:"

_STOP_REASONS: Final = {"finished": "end_turn", "stop_criteria_met": "stop_sequence"}


def write_titan_text(request: ConverseRequest, ctx: FamilyContext) -> dict[str, Any]:
    """Return the body: the turns as a dialogue, or with the option ``text_completion`` their text unchanged."""
    messages = list(request.messages or ())
    completes = is_completion(ctx)
    body: dict[str, Any] = {"inputText": _text(messages) if completes else _dialogue(messages)}
    if request.inference_config is not None and (config := _config(request.inference_config)):
        body["textGenerationConfig"] = config
    return body


def is_completion(ctx: FamilyContext) -> bool:
    """Return whether the call wants its text continued, not answered."""
    return bool(ctx.options.get("text_completion"))


def _text(messages: list[Message]) -> str:
    return "\n".join(message.text for message in messages)


def _dialogue(messages: list[Message]) -> str:
    turns: list[tuple[str, str]] = []
    for message in messages:
        if turns and turns[-1][0] == message.role:
            turns[-1] = (message.role, f"{turns[-1][1]}\n{message.text}")
        else:
            turns.append((message.role, message.text))
    lines = [_SPEAKERS.get(role, _SPEAKERS["user"]) + text for role, text in turns]
    if not turns or turns[-1][0] != "assistant":
        lines.append(_CUE)
    return "\n".join(lines)


def _config(inference: InferenceConfig) -> dict[str, Any]:
    members = {
        "maxTokenCount": inference.max_tokens,
        "temperature": inference.temperature,
        "topP": inference.top_p,
        "stopSequences": None if inference.stop_sequences is None else list(inference.stop_sequences),
    }
    return {name: value for name, value in members.items() if value is not None}


def read_titan_text(body: NativeObject, events: EventBuilder, ctx: FamilyContext) -> None:
    """Read a whole answer. Raises KeyError, TypeError or ValueError for JSON of another form."""
    (result,) = body["results"]
    text = _Text(events, cue=not is_completion(ctx))
    text.add(_output(result))
    text.end()
    events.stop(_reason(result))
    events.usage(input_tokens=_count(body, "inputTextTokenCount"), output_tokens=_count(result, "tokenCount"))


class TitanTextDecoder:
    """Makes events from Titan's chunks; the first one counts the input, the last one tells why the text ends."""

    def __init__(self, ctx: FamilyContext) -> None:
        self._events = EventBuilder()
        self._text = _Text(self._events, cue=not is_completion(ctx))
        self._begun = False

    def receive(self, chunk: NativeObject) -> list[Event]:
        """Return the events of one chunk. Raises KeyError, TypeError or ValueError if malformed or out of order."""
        piece = _output(chunk)
        if self._events.stop_reason is not None:
            raise ValueError("a chunk comes after the one that told why the text ends")
        input_tokens = _count(chunk, "inputTextTokenCount")
        if self._begun and input_tokens is not None:
            raise ValueError("a chunk after the first one counts the input")
        self._begun = True
        self._events.start()
        self._text.add(piece)
        self._events.usage(input_tokens=input_tokens, output_tokens=_count(chunk, "totalOutputTextTokenCount"))
        if (reason := _reason(chunk)) is not None:
            self._text.end()
            self._events.stop(reason)
        return self._events.take()

    def eof(self) -> list[Event]:
        """Return the last events. Raises StreamTruncatedError if no chunk told why the text ends."""
        self._text.end()
        return self._events.finish()


def _output(native: Mapping[str, Any]) -> str:
    text = native["outputText"]
    if not isinstance(text, str):
        raise TypeError(f"outputText is of type {type(text).__name__}")
    return text


def _reason(native: Mapping[str, Any]) -> str | None:
    return stop_reason(native.get("completionReason"), **_STOP_REASONS)


def _count(native: Mapping[str, Any], name: str) -> int | None:
    # Behind a guardrail a count is written as 28.0.  [recorded, 2025-02]
    value = native.get(name)
    return None if value is None else int(value)


class _Text:
    r"""Passes text on, without the dialogue's cue that Titan may repeat.

    Converse was recorded to leave it out: the guardrail's trace of that answer has "\nBot: Hello, ...".
    """

    def __init__(self, events: EventBuilder, *, cue: bool) -> None:
        self._events = events
        self._held: str | None = "" if cue else None

    def add(self, piece: str) -> None:
        if self._held is None:
            self._events.text(piece)
            return
        self._held += piece
        seen = self._held.lstrip()
        if len(seen) > len(_CUE) or not _CUE.startswith(seen):
            self._decide(seen)

    def end(self) -> None:
        """Pass on the text held back: nothing follows that could complete the cue."""
        if self._held is not None:
            self._decide(self._held.lstrip())

    def _decide(self, seen: str) -> None:
        text = seen.removeprefix(_CUE).removeprefix(" ") if seen.startswith(_CUE) else self._held
        self._held = None
        self._events.text(text)
