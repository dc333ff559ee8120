"""Conversations as JSON: every member of every message, blobs as base64, in a form that has a version."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, cast

import msgspec
from pydantic import ValidationError

from ..errors import InvalidRequestError
from ..events import mended
from ..types import ConverseRequest, JSONValue, Message
from ..types._wire import read_wire
from ..usage import NO_USAGE, USAGE_FIELDS, UsageTotals
from .settings import invalid_request

VERSION: Final = 1
"""The version of the form. Members may be added to one; what was before them does not change its meaning."""

_OURS: Final = frozenset({"version", "model", "messages", "usage"})


class _Usage(msgspec.Struct, kw_only=True):
    """The numbers of `UsageTotals`, as they are saved."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    cache_write_by_ttl: Mapping[str, int] = msgspec.field(default_factory=dict[str, int])
    cost: Decimal | None = None
    unpriced_calls: int = 0


@dataclass(frozen=True, slots=True)
class SavedConversation:
    """What is saved of a conversation; ``more`` are members that this version of the form does not know."""

    messages: Sequence[Message]
    usage: UsageTotals = NO_USAGE
    model: str | None = None
    more: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def to_json(self) -> str:
        """Return it as JSON, in ASCII. Raises InvalidRequestError for what JSON cannot hold."""
        try:
            members = {
                "version": VERSION,
                "model": self.model,
                "messages": [message.to_wire() for message in self.messages],
                "usage": msgspec.to_builtins(_Usage(**_numbers(self.usage)), enc_hook=dict),
                **self.more,
            }
            return json.dumps(members, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as exc:
            raise InvalidRequestError(
                f"the conversation contains a value that JSON cannot represent: {exc}.",
                path="messages",
                hint="Tool input and results are made of dicts, lists, text and numbers.",
            ) from exc

    @classmethod
    def from_json(cls, saved: str | bytes) -> SavedConversation:
        """Return what `to_json` gave. Raises InvalidRequestError for anything else, with the path of what is wrong."""
        members = _members(saved)
        if members.get("version") != VERSION:
            raise InvalidRequestError(
                f"the conversation was saved in the form {members.get('version')!r}; this version reads {VERSION}.",
                path="version",
                hint="It comes from a newer version of bedrock-async, or is not a saved conversation.",
            )
        try:
            messages = _messages(members.get("messages"))
            usage = UsageTotals(**_numbers(msgspec.convert(members.get("usage", {}), _Usage)))
        except ValidationError as exc:
            raise invalid_request(exc) from exc
        except msgspec.ValidationError as exc:
            raise InvalidRequestError(f"usage: {exc}.", path="usage") from exc
        if messages is None:
            raise InvalidRequestError("the saved conversation has no messages.", path="messages")
        model = members.get("model")
        more = {name: value for name, value in members.items() if name not in _OURS}
        return cls(messages, usage, model if isinstance(model, str) else None, MappingProxyType(more))


def _numbers(usage: UsageTotals | _Usage) -> dict[str, Any]:
    return {name: getattr(usage, name) for name in USAGE_FIELDS}


def _messages(given: JSONValue) -> Sequence[Message] | None:
    try:
        return read_wire(ConverseRequest, json.dumps({"messages": given})).messages
    except ValidationError as exc:
        if exc.errors(include_url=False, include_input=False)[0]["type"] != "json_invalid":
            raise
        # Text of the user may have lone surrogates, as names of files do; the strict reader takes none.
        return read_wire(ConverseRequest, json.dumps({"messages": mended(given)})).messages


def _members(saved: str | bytes) -> dict[str, Any]:
    try:
        members: object = json.loads(saved)
        fault = f"JSON, but not an object ({type(members).__name__})"
    except (TypeError, ValueError, RecursionError) as exc:
        members, fault = None, f"not JSON: {exc}"
    if not isinstance(members, dict):
        raise InvalidRequestError(
            f"the saved conversation is {fault}.", path="saved", hint="Pass what Conversation.to_json returned."
        )
    return cast("dict[str, Any]", members)
