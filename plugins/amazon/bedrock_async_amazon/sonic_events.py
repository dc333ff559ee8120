"""Nova Sonic's event protocol: input events as JSON objects, output events as typed ones. Pure.

Source: "Handling input events" and "Handling output events with the bidirectional API", Amazon Nova user guides (Sonic
and 2 Sonic); in AWS's samples text has its ``role`` in the event itself, too. No recording of it was at hand.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, cast

from bedrock_async.errors import EventDecodeError, InvalidRequestError

__all__ = [
    "SonicAudio",
    "SonicCompletionEnd",
    "SonicCompletionStart",
    "SonicContentEnd",
    "SonicContentStart",
    "SonicEvent",
    "SonicReader",
    "SonicText",
    "SonicToolUse",
    "SonicUnknown",
    "SonicUsage",
    "audio_input",
    "audio_start",
    "content_end",
    "prompt_end",
    "prompt_start",
    "session_end",
    "session_start",
    "text_input",
    "text_start",
    "tool_result",
    "tool_result_start",
]

JsonObject: TypeAlias = dict[str, Any]

Sensitivity: TypeAlias = Literal["HIGH", "MEDIUM", "LOW"]
Role: TypeAlias = Literal["SYSTEM", "USER", "ASSISTANT", "TOOL", "SYSTEM_SPEECH"]

_TEXT: Final[Mapping[str, str]] = {"mediaType": "text/plain"}
_SAMPLE_BITS: Final = 16


# -- input events


def session_start(
    *,
    max_tokens: int = 1024,
    top_p: float = 0.9,
    temperature: float = 0.7,
    endpointing_sensitivity: Sensitivity | str | None = None,
) -> JsonObject:
    """Return the event that begins a session. ``endpointing_sensitivity`` is how soon a pause ends a turn (2 Sonic)."""
    members: JsonObject = {
        "inferenceConfiguration": {"maxTokens": max_tokens, "topP": top_p, "temperature": temperature}
    }
    if endpointing_sensitivity is not None:
        members["turnDetectionConfiguration"] = {"endpointingSensitivity": endpointing_sensitivity}
    return _event("sessionStart", members)


def prompt_start(
    prompt: str,
    *,
    voice: str,
    sample_rate_hz: int = 24_000,
    tools: Sequence[Mapping[str, Any]] = (),
    tool_choice: Mapping[str, Any] | None = None,
) -> JsonObject:
    """Return the event that says how to answer. Raises InvalidRequestError for a tool without a schema.

    ``tools`` have Converse's form, ``{"toolSpec": {...}}``; their schemas become text.
    """
    members: JsonObject = {
        "promptName": prompt,
        "textOutputConfiguration": dict(_TEXT),
        "audioOutputConfiguration": {**_audio(sample_rate_hz), "voiceId": voice},
    }
    if tools:
        configuration: JsonObject = {"tools": [_tool(tool) for tool in tools]}
        if tool_choice is not None:
            configuration["toolChoice"] = dict(tool_choice)
        members["toolUseOutputConfiguration"] = {"mediaType": "application/json"}
        members["toolConfiguration"] = configuration
    return _event("promptStart", members)


def text_start(prompt: str, content: str, *, role: Role | str, interactive: bool) -> JsonObject:
    """Return the event that begins a text: system prompt, turn of the history, or typed (``interactive``, 2 Sonic)."""
    return _start(prompt, content, "TEXT", role, interactive=interactive, textInputConfiguration=dict(_TEXT))


def audio_start(prompt: str, content: str, *, sample_rate_hz: int = 16_000) -> JsonObject:
    """Return the event that begins the user's audio, which stays open for the whole conversation."""
    configuration = _audio(sample_rate_hz)
    return _start(prompt, content, "AUDIO", "USER", interactive=True, audioInputConfiguration=configuration)


def tool_result_start(prompt: str, content: str, tool_use_id: str) -> JsonObject:
    """Return the event that begins a tool result."""
    configuration = {"toolUseId": tool_use_id, "type": "TEXT", "textInputConfiguration": dict(_TEXT)}
    return _start(prompt, content, "TOOL", "TOOL", interactive=False, toolResultInputConfiguration=configuration)


def text_input(prompt: str, content: str, text: str) -> JsonObject:
    """Return the event with a text."""
    return _event("textInput", {"promptName": prompt, "contentName": content, "content": text})


def audio_input(prompt: str, content: str, pcm: bytes) -> JsonObject:
    """Return the event with some audio: mono, 16-bit little-endian samples, usually 32 ms of them."""
    audio = base64.b64encode(pcm).decode("ascii")
    return _event("audioInput", {"promptName": prompt, "contentName": content, "content": audio})


def tool_result(prompt: str, content: str, result: Mapping[str, Any] | str) -> JsonObject:
    """Return the event with what a tool returned; an object is written as JSON."""
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    return _event("toolResult", {"promptName": prompt, "contentName": content, "content": text})


def content_end(prompt: str, content: str) -> JsonObject:
    """Return the event that ends a text, the audio or a tool result."""
    return _event("contentEnd", {"promptName": prompt, "contentName": content})


def prompt_end(prompt: str) -> JsonObject:
    """Return the event that ends the prompt."""
    return _event("promptEnd", {"promptName": prompt})


def session_end() -> JsonObject:
    """Return the event that ends the session."""
    return _event("sessionEnd", {})


def _event(name: str, members: JsonObject) -> JsonObject:
    return {"event": {name: members}}


def _start(
    prompt: str, content: str, kind: str, role: str, *, interactive: bool, **configuration: JsonObject
) -> JsonObject:
    members = {"promptName": prompt, "contentName": content, "type": kind, "role": role, "interactive": interactive}
    return _event("contentStart", {**members, **configuration})


def _audio(sample_rate_hz: int) -> JsonObject:
    return {
        "mediaType": "audio/lpcm",
        "sampleRateHertz": sample_rate_hz,
        "sampleSizeBits": _SAMPLE_BITS,
        "channelCount": 1,
        "audioType": "SPEECH",
        "encoding": "base64",
    }


def _tool(tool: Mapping[str, Any]) -> JsonObject:
    try:
        document: Any = tool["toolSpec"]["inputSchema"]["json"]
    except (KeyError, TypeError) as exc:
        raise InvalidRequestError(
            "a tool has no toolSpec with an inputSchema.",
            path="tools",
            hint='Pass {"toolSpec": {"name": ..., "description": ..., "inputSchema": {"json": {...}}}}.',
        ) from exc
    text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    return {"toolSpec": {**tool["toolSpec"], "inputSchema": {"json": text}}}


# -- output events


@dataclass(frozen=True, slots=True, kw_only=True)
class SonicEvent:
    """The base of all output events. ``raw`` is the whole event; ids that it does not have are empty."""

    session_id: str = ""
    prompt_name: str = ""
    completion_id: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SonicCompletionStart(SonicEvent):
    """The model begins to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content(SonicEvent):
    content_id: str = ""
    role: str = ""
    """``USER`` for what the model has heard, ``ASSISTANT`` for what it says, ``TOOL``."""
    stage: str = ""
    """``SPECULATIVE`` for text about to be spoken, ``FINAL`` for text that was spoken; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SonicContentStart(_Content):
    """A content block begins; ``type`` is ``TEXT``, ``AUDIO`` or ``TOOL``. Audio has a ``sample_rate_hz``."""

    type: str = ""
    sample_rate_hz: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SonicText(_Content):
    """Text: what the user said, or what the model says."""

    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SonicAudio(_Content):
    """Speech to play: mono PCM with 16-bit little-endian samples."""

    audio: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SonicToolUse(_Content):
    """The model asks for a tool; ``content`` is its input as JSON text."""

    name: str = ""
    tool_use_id: str = ""
    content: str = ""

    def input(self) -> Any:  # noqa: ANN401 - JSON of the model
        """Return the parsed input. Raises EventDecodeError if it is not JSON."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError) as exc:
            raise EventDecodeError(
                f"the input of a tool ({len(self.content)} characters) is no JSON ({exc}).",
                event_type="toolUse",
                payload=self.content.encode("utf-8", "replace"),
            ) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class SonicContentEnd(_Content):
    """A content block ends; ``stop_reason`` is ``PARTIAL_TURN``, ``END_TURN``, ``INTERRUPTED`` or ``TOOL_USE``."""

    type: str = ""
    stop_reason: str = ""

    @property
    def interrupted(self) -> bool:
        """Whether the user interrupted: drop audio that has not been played yet."""
        return self.stop_reason == "INTERRUPTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class SonicUsage(SonicEvent):
    """Tokens of the session so far, and what this event adds to them, by direction and kind."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    delta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """``{"input": {"speechTokens": ..., "textTokens": ...}, "output": {...}}``"""
    total: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class SonicCompletionEnd(SonicEvent):
    """The model has answered."""

    stop_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SonicUnknown(SonicEvent):
    """An event that this version does not know; ``name`` is its type."""

    name: str = ""


class SonicReader:
    """Makes typed events from native ones, in the order of arrival: the start of a content block tells its role."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, str]] = {}

    def read(self, native: bytes) -> SonicEvent:
        """Return the event; missing members are empty. Raises EventDecodeError for anything that is not an event."""
        try:
            document: Any = json.loads(native)
            event = cast("Mapping[str, Any]", document["event"])
            ((name, members),) = event.items()
            common = {
                "session_id": str(members.get("sessionId", "")),
                "prompt_name": str(members.get("promptName", "")),
                "completion_id": str(members.get("completionId", "")),
                "raw": event,
            }
            return self._typed(name, cast("Mapping[str, Any]", members), common)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
            raise EventDecodeError(
                f"{len(native)} bytes are not an event of Nova Sonic ({type(exc).__name__}).",
                event_type="",
                payload=native,
            ) from exc

    def _typed(self, name: str, members: Mapping[str, Any], common: dict[str, Any]) -> SonicEvent:
        match name:
            case "completionStart":
                return SonicCompletionStart(**common)
            case "completionEnd":
                return SonicCompletionEnd(**common, stop_reason=str(members.get("stopReason", "")))
            case "usageEvent":
                return _usage(members, common)
            case "contentStart" | "textOutput" | "audioOutput" | "toolUse" | "contentEnd":
                return self._content(name, members, common)
            case _:
                return SonicUnknown(**common, name=name)

    def _content(self, name: str, members: Mapping[str, Any], common: dict[str, Any]) -> SonicEvent:
        content_id = str(members.get("contentId", ""))
        role, stage = self._open.get(content_id, ("", ""))
        if name == "contentStart":
            role, stage = str(members.get("role", "")), _stage(members.get("additionalModelFields"))
            self._open[content_id] = role, stage
        elif name == "contentEnd":
            self._open.pop(content_id, None)
        common |= {"content_id": content_id, "role": role or str(members.get("role", "")), "stage": stage}
        text = str(members.get("content", ""))
        kind = str(members.get("type", ""))
        match name:
            case "textOutput":
                return SonicText(**common, text=text)
            case "audioOutput":
                return SonicAudio(**common, audio=_decoded(text))
            case "toolUse":
                used, tool_use_id = str(members.get("toolName", "")), str(members.get("toolUseId", ""))
                return SonicToolUse(**common, name=used, tool_use_id=tool_use_id, content=text)
            case "contentStart":
                audio = _object(members.get("audioOutputConfiguration"))
                return SonicContentStart(**common, type=kind, sample_rate_hz=audio.get("sampleRateHertz"))
            case _:
                return SonicContentEnd(**common, type=kind, stop_reason=str(members.get("stopReason", "")))


def _usage(members: Mapping[str, Any], common: dict[str, Any]) -> SonicUsage:
    details = _object(members.get("details"))
    return SonicUsage(
        **common,
        input_tokens=int(members.get("totalInputTokens", 0)),
        output_tokens=int(members.get("totalOutputTokens", 0)),
        total_tokens=int(members.get("totalTokens", 0)),
        delta=_object(details.get("delta")),
        total=_object(details.get("total")),
    )


def _object(value: object) -> JsonObject:
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def _stage(fields: object) -> str:
    """Return the stage in JSON text such as ``{"generationStage": "FINAL"}``, empty if there is none."""
    if not isinstance(fields, str):
        return ""
    document: Any = json.loads(fields)
    return str(document.get("generationStage", ""))


def _decoded(audio: str) -> bytes:
    try:
        return base64.b64decode(audio, validate=True)
    except binascii.Error as exc:
        raise ValueError("not base64") from exc
