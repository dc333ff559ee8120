"""InvokeModel's body for this model: OpenAI chat completions, the form that gpt-oss has on Bedrock. Pure.

The last chunk of a stream carries finish reason, usage and ``amazon-bedrock-invocationMetrics``, as recorded streams
do.  [corpus, invoke-with-response-stream, openai]
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from bedrock_async.types import JSONValue

from .converse import DEFAULT_SYSTEM_PROMPT, clean_text, invalid
from .engine import DEFAULT_MAX_TOKENS, ChatMessage, ChatRequest
from .schemas import contradiction

__all__ = ["NativeRequest", "chunk", "completion", "last_chunk", "read_body"]

_ROLES: Final = frozenset({"system", "developer", "user", "assistant"})
_PASSED_ON: Final = frozenset({"frequency_penalty", "presence_penalty", "seed"})
# The model id is in the path and the operation says whether to stream; recorded bodies carry both all the same.
_IGNORED: Final = frozenset({"model", "stream", "stream_options", "user"})
_READ: Final = frozenset(
    {"max_completion_tokens", "max_tokens", "messages", "response_format", "stop", "temperature", "top_p"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeRequest:
    """The generation that a body asks for, and its stop sequences."""

    chat: ChatRequest
    stop_sequences: tuple[str, ...]


def read_body(body: bytes) -> NativeRequest:
    """Read a native request body. Raises ServiceError (ValidationException)."""
    try:
        members: JSONValue = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise invalid(
            "Malformed input request: the body is not JSON, please reformat your input and try again."
        ) from exc
    if not isinstance(members, dict):
        raise invalid("Malformed input request: expected type: JSONObject, please reformat your input and try again.")
    given = {name: value for name, value in members.items() if value is not None and name not in _IGNORED}
    for name in given:
        if name not in _READ | _PASSED_ON:
            raise invalid(
                f"Malformed input request: extraneous key [{name}] is not permitted, please reformat your input and "
                "try again."
            )
    messages = _messages(given.get("messages"))
    if messages[0]["role"] != "system":
        messages.insert(0, ChatMessage(role="system", content=DEFAULT_SYSTEM_PROMPT))
    limit = given.get("max_completion_tokens", given.get("max_tokens", DEFAULT_MAX_TOKENS))
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise _wrong("max_tokens", "an integer of at least 1")
    chat = ChatRequest(
        messages=messages,
        max_tokens=limit,
        temperature=_number(given, "temperature", 2.0) or 0.0,
        top_p=_number(given, "top_p", 1.0),
        json_schema=_schema(given.get("response_format")),
        sampling={name: given[name] for name in _PASSED_ON if _number(given, name) is not None},
    )
    return NativeRequest(chat=chat, stop_sequences=_stops(given.get("stop")))


def completion(
    *, identity: str, created: int, model: str, text: str, finish_reason: str, usage: tuple[int, int]
) -> bytes:
    """Return the whole answer; ``usage`` is the number of input and of output tokens."""
    choice: dict[str, JSONValue] = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "finish_reason": finish_reason,
        "logprobs": None,
    }
    return _json({**_head("chat.completion", identity, created, model), "choices": [choice], "usage": _usage(usage)})


def chunk(*, identity: str, created: int, model: str, delta: Mapping[str, JSONValue]) -> bytes:
    """Return one chunk of a streamed answer."""
    choice: dict[str, JSONValue] = {"index": 0, "delta": dict(delta), "finish_reason": None}
    return _json({**_head("chat.completion.chunk", identity, created, model), "choices": [choice]})


def last_chunk(
    *,
    identity: str,
    created: int,
    model: str,
    finish_reason: str,
    usage: tuple[int, int],
    latency_ms: int,
    first_chunk_ms: int,
) -> bytes:
    """Return the chunk that ends a streamed answer."""
    choice: dict[str, JSONValue] = {"index": 0, "delta": {}, "finish_reason": finish_reason}
    metrics: dict[str, JSONValue] = {
        "inputTokenCount": usage[0],
        "outputTokenCount": usage[1],
        "invocationLatency": latency_ms,
        "firstByteLatency": first_chunk_ms,
    }
    return _json(
        {
            **_head("chat.completion.chunk", identity, created, model),
            "choices": [choice],
            "usage": _usage(usage),
            "amazon-bedrock-invocationMetrics": metrics,
        }
    )


def _head(kind: str, identity: str, created: int, model: str) -> dict[str, JSONValue]:
    return {"id": identity, "object": kind, "created": created, "model": model}


def _usage(usage: tuple[int, int]) -> dict[str, JSONValue]:
    return {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}


def _json(members: Mapping[str, JSONValue]) -> bytes:
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()


def _messages(value: JSONValue) -> list[ChatMessage]:
    if not isinstance(value, list) or not value:
        raise _wrong("messages", "a list of at least one message")
    messages: list[ChatMessage] = []
    for index, message in enumerate(value):
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(message, dict) or not isinstance(role, str) or role not in _ROLES:
            raise _wrong(f"messages.{index}.role", f"one of {', '.join(sorted(_ROLES))}")
        text = clean_text(_text(message.get("content"), f"messages.{index}.content"))
        messages.append(ChatMessage(role="system" if role == "developer" else role, content=text))
    return messages


def _text(value: JSONValue, path: str) -> str:
    if isinstance(value, str):
        return value
    texts = [part.get("text") if isinstance(part, dict) else None for part in value] if isinstance(value, list) else []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise _wrong(path, "text, or a list of text parts: this model reads text only")
    return "\n".join(cast("list[str]", texts))


def _stops(value: JSONValue) -> tuple[str, ...]:
    if value is None:
        return ()
    stops = value if isinstance(value, list) else [value]
    if not all(isinstance(stop, str) and stop for stop in stops):
        raise _wrong("stop", "a string or a list of strings, none of them empty")
    return tuple(cast("list[str]", stops))


def _schema(value: JSONValue) -> JSONValue:
    """Read response_format; ``json_object`` is the schema of any object."""
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(value, dict) or kind not in {"text", "json_object", "json_schema"}:
        raise _wrong("response_format.type", "text, json_object or json_schema")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    definition = value.get("json_schema")
    schema = definition.get("schema") if isinstance(definition, dict) else None
    if not isinstance(schema, dict):
        raise _wrong("response_format.json_schema.schema", "a JSON schema")
    if (reason := contradiction(schema)) is not None:
        raise _wrong("response_format.json_schema.schema", f"a schema that can be met ({reason})")
    return schema


def _number(given: Mapping[str, JSONValue], name: str, highest: float | None = None) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(name, "a number")
    if highest is not None and not 0 <= value <= highest:
        raise _wrong(name, f"between 0 and {highest:g}")
    return value


def _wrong(path: str, expected: str) -> Exception:
    return invalid(f"Malformed input request: {path} must be {expected}, please reformat your input and try again.")
