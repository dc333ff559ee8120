"""A script for the emulator that answers with what a request asks for: an example of its schema, or a fine answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from bedrock_async.testing import ReceivedRequest
from bedrock_async.testing.script import Script, text_events, tool_use_events

__all__ = ["example_of", "schema_answers"]

_PLAIN: Final[Mapping[str, object]] = {"string": "text", "integer": 4, "number": 4.5, "boolean": True, "null": None}


def schema_answers(request: ReceivedRequest) -> Script:
    """Return the events of an answer in the form that the request wants: JSON, the use of a tool, or text."""
    body: dict[str, Any] = json.loads(request.body)
    if "outputConfig" in body:
        definition = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
        return text_events(json.dumps(example_of(json.loads(definition["schema"]))))
    config: dict[str, Any] = body.get("toolConfig", {})
    if config.get("toolChoice", {}).keys() & {"any", "tool"}:
        tool = config["tools"][-1]["toolSpec"]
        return tool_use_events(tool["name"], cast("dict[str, Any]", example_of(tool["inputSchema"]["json"])))
    return text_events("A fine answer.")


def example_of(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> object:
    """Return a value that fits the schema."""
    root = schema if root is None else root
    if "$ref" in schema:
        return example_of(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], root)
    match schema.get("type"):
        case "object":
            return {name: example_of(each, root) for name, each in schema.get("properties", {}).items()}
        case "array":
            return [example_of(schema["items"], root)]
        case kind:
            return _PLAIN[str(kind)]
