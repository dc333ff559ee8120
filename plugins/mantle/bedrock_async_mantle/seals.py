"""Encrypted reasoning, which must be sent back, and where a Converse message keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from bedrock_async import ReasoningBlock

__all__ = ["is_own_reasoning", "sealed", "unsealed"]

_MEMBERS: Final = {"id", "encrypted_content"}


def sealed(item: Mapping[str, Any]) -> str | None:
    """Return the encrypted content of a reasoning item, with the item's id, as JSON text, or None if it has none.

    It becomes the signature of readable reasoning, or the redacted content of reasoning without text.
    """
    if not (encrypted := item.get("encrypted_content")):
        return None
    return json.dumps({"id": item.get("id"), "encrypted_content": encrypted}, separators=(",", ":"))


def unsealed(block: ReasoningBlock) -> dict[str, Any] | None:
    """Return the members of a reasoning item that `sealed` kept, or None if the block has none."""
    seal = block.signature if block.redacted_content is None else block.redacted_content.decode("utf-8", "replace")
    try:
        item: object = json.loads(seal or "")
    except (ValueError, RecursionError):
        return None
    members = cast("dict[str, Any]", item) if isinstance(item, dict) else {}
    return members if members.keys() == _MEMBERS else None


def is_own_reasoning(block: ReasoningBlock) -> bool:
    """Return whether reasoning can go back to the Responses API: readable and unsigned, or sealed by `sealed`."""
    plain = block.signature is None and block.redacted_content is None
    return plain or unsealed(block) is not None
