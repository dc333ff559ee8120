"""The Converse request that says the same as a recorded one of Claude's: the way back, apart from the family."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

_SAMPLING: Final = {
    "max_tokens": "maxTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "stop_sequences": "stopSequences",
}
_KNOWN: Final = {*_SAMPLING, "anthropic_version", "messages", "system", "tools", "tool_choice"}


def plain(native: Mapping[str, Any]) -> dict[str, Any]:
    """Return a native request with the short forms that mean the same written out: text for a list of one block."""
    body = dict(native)
    if isinstance(body.get("system"), str):
        body["system"] = [{"type": "text", "text": body["system"]}]
    body["messages"] = [{**message, "content": _plain_content(message["content"])} for message in body["messages"]]
    return body


def _plain_content(content: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - text or blocks
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    blocks: list[dict[str, Any]] = []
    for block in content:
        if block["type"] == "tool_result":
            members = {name: value for name, value in block.items() if not (name == "is_error" and value is False)}
            blocks.append({**members, "content": _plain_content(block.get("content") or [])})
        else:
            blocks.append(block)
    return blocks


def converse_of(native: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of the Converse request (blobs as bytes) that means the same as a native one."""
    body = plain(native)
    request: dict[str, Any] = {
        "messages": [{"role": message["role"], "content": _blocks(message["content"])} for message in body["messages"]],
    }
    if "system" in body:
        request["system"] = _blocks(body["system"])
    inference = {converse: body[name] for name, converse in _SAMPLING.items() if name in body}
    if inference:
        request["inferenceConfig"] = inference
    if "tools" in body:
        choice = {"toolChoice": _choice(body["tool_choice"])} if "tool_choice" in body else {}
        request["toolConfig"] = {"tools": _blocks(body["tools"]), **choice}
    if fields := {name: value for name, value in body.items() if name not in _KNOWN}:
        request["additionalModelRequestFields"] = fields
    return request


def _choice(native: Mapping[str, Any]) -> dict[str, Any]:
    kind = native["type"]
    return {"tool": {"name": native["name"]}} if kind == "tool" else {kind: {}}


def _blocks(native: list[dict[str, Any]]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for block in native:
        members = {name: value for name, value in block.items() if name != "cache_control"}
        blocks.append(_block(members))
        if (mark := block.get("cache_control")) is not None:
            ttl = {"ttl": mark["ttl"]} if "ttl" in mark else {}
            blocks.append({"cachePoint": {"type": "default", **ttl}})
    return blocks


def _block(block: Mapping[str, Any]) -> dict[str, Any]:
    match block.get("type"):
        case "text":
            return {"text": block["text"]}
        case "image":
            source = block["source"]
            kind = source["media_type"].removeprefix("image/")
            return {"image": {"format": kind, "source": {"bytes": base64.b64decode(source["data"])}}}
        case "tool_use":
            return {"toolUse": {"toolUseId": block["id"], "name": block["name"], "input": block["input"]}}
        case "tool_result":
            status = {"status": "error"} if block.get("is_error") else {}
            content = _blocks(block["content"])
            return {"toolResult": {"toolUseId": block["tool_use_id"], "content": content, **status}}
        case "thinking":
            text = {"text": block["thinking"], "signature": block["signature"]}
            return {"reasoningContent": {"reasoningText": text}}
        case None:
            spec = {"name": block["name"], "inputSchema": {"json": block["input_schema"]}}
            spec |= {name: block[name] for name in ("description", "strict") if name in block}
            return {"toolSpec": spec}
        case kind:
            raise AssertionError(f"no recorded request had a block of the kind {kind!r}: {sorted(block)}")
