"""The representation of bodies in a cassette: readable where that restores the exact bytes, otherwise base64.

Decoding any representation returns the recorded bytes; the encoder verifies that for every body.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias, cast

from ..errors import InvalidRequestError
from ..eventstream import EventStreamError, encode_frame, encode_headers, parse_headers
from ..types import JSONValue
from .json_places import looks_like_json
from .redaction import frames_of

__all__ = ["Form", "body_form", "body_of"]

Form: TypeAlias = dict[str, JSONValue]
"""A body, or a part of one, as represented in the cassette's JSON."""

_JSON: Final = "application/json"

# The styles of JSON writers. The service and our own client write the first one.
_STYLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "json": {"separators": (",", ":"), "ensure_ascii": False},
    "json_ascii": {"separators": (",", ":")},
    "json_spaced": {"ensure_ascii": False},
    "json_spaced_ascii": {},
}


def body_form(body: bytes, *, stream: bool = False) -> Form:
    """Return the form of a body; ``stream`` means an event stream, whose frames are represented individually."""
    if not body:
        return {}
    if stream:
        frames, rest = frames_of(body)
        form: Form = {"frames": [_frame_form(block, payload) for block, payload in frames]}
        if rest:
            form["rest_base64"] = _base64(rest)
        if frames and body_of(form) == body:
            return form
    return _first(body, _data_forms(body), body_of)


def body_of(form: Mapping[str, JSONValue]) -> bytes:
    """Return the bytes of a form. Raises InvalidRequestError if it is invalid."""
    try:
        if "frames" in form:
            frames = cast("list[dict[str, Any]]", form["frames"])
            rest = base64.b64decode(cast("str", form.get("rest_base64", "")), validate=True)
            return b"".join([_frame_of(frame) for frame in frames]) + rest
        return _data_of(form)
    except (AttributeError, KeyError, TypeError, ValueError, binascii.Error, EventStreamError) as exc:
        raise InvalidRequestError(f"a body in the cassette cannot be read: {type(exc).__name__} at {exc}.") from exc


def _first(data: bytes, forms: Iterable[Form], read: Callable[[Form], bytes]) -> Form:
    """Return the first form that restores the exact bytes; the last one always does."""
    *readable, raw = forms
    for form in readable:
        try:
            if read(form) == data:
                return form
        except (InvalidRequestError, EventStreamError, ValueError, RecursionError):
            continue
    return raw


def _data_forms(data: bytes) -> list[Form]:
    forms: list[Form] = []
    if looks_like_json(data):
        try:
            value: JSONValue = json.loads(data)
            json.dumps(value, allow_nan=False)
        except (ValueError, RecursionError):
            pass
        else:
            forms = [{style: value} for style in _STYLES]
    with suppress(UnicodeDecodeError):
        forms.append({"text": data.decode()})
    return [*forms, {"base64": _base64(data)}]


def _data_of(form: Mapping[str, Any]) -> bytes:
    for style, options in _STYLES.items():
        if style in form:
            return json.dumps(form[style], **options).encode()
    if "text" in form:
        text: str = form["text"]
        return text.encode()
    return base64.b64decode(form.get("base64", ""), validate=True)


def _frame_form(block: bytes, payload: bytes) -> Form:
    """Return a frame as ``{"event": "messageStart", "json": {...}}``; a chunk with the JSON inside it."""
    head = _head_form(block)
    forms = [{**head, **form} for form in (*_chunk_forms(payload), *_data_forms(payload))]
    return _first(encode_frame(block, payload), forms, _frame_of)


def _head_form(block: bytes) -> Form:
    try:
        headers = parse_headers(block)
    except EventStreamError:
        return {"headers_base64": _base64(block)}
    for name in ("event", "exception"):
        kind = headers.get(f":{name}-type")
        if isinstance(kind, str) and _standard(name, kind) == block:
            return {name: kind}
    texts: dict[str, JSONValue] = {name: value for name, value in headers.items() if isinstance(value, str)}
    if texts and len(texts) == len(headers):
        return {"headers": texts}
    return {"headers_base64": _base64(block)}


def _standard(name: str, kind: str) -> bytes:
    """Return the header block that the service writes for events and exceptions."""
    return encode_headers({f":{name}-type": kind, ":content-type": _JSON, ":message-type": name})


def _chunk_forms(payload: bytes) -> list[Form]:
    """Return the form of a payload with base64-encoded JSON, next to other members such as the padding."""
    try:
        members: JSONValue = json.loads(payload)
        if isinstance(members, dict) and isinstance(data := members.get("bytes"), str):
            chunk: JSONValue = json.loads(base64.b64decode(data, validate=True))
            return [{"chunk": chunk, **{name: value for name, value in members.items() if name != "bytes"}}]
    except (ValueError, RecursionError):
        pass
    return []


def _frame_of(form: Mapping[str, Any]) -> bytes:
    members = dict(form)
    if "headers_base64" in members:
        block = base64.b64decode(members.pop("headers_base64"), validate=True)
    elif "headers" in members:
        block = encode_headers(members.pop("headers"))
    else:
        name = "event" if "event" in members else "exception"
        block = _standard(name, members.pop(name))
    if "chunk" in members:
        chunk = json.dumps(members.pop("chunk"), **_STYLES["json"]).encode()
        return encode_frame(block, _data_of({"json": {"bytes": _base64(chunk), **members}}))
    return encode_frame(block, _data_of(members))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
