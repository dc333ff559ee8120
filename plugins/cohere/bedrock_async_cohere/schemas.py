"""Tools: from a JSON schema to Cohere's definitions of parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from bedrock_async.families import unsupported
from bedrock_async.types import ToolSpec

# Cohere names types as Python does.  [user guide, "Cohere Command R and Command R+ models"; Cohere, "Tool use"]
_TYPES: Final = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "array": "list",
    "object": "dict",
}


def write_tool(tool: ToolSpec, *, model: str, path: str) -> dict[str, Any]:
    """Return a tool in Cohere's form. Raises InvalidRequestError for a schema that it cannot express."""
    schema = tool.input_schema.json_
    if not isinstance(schema, Mapping):
        raise unsupported("a schema that is no object", family="cohere", model=model, path=path)
    members = cast("Mapping[str, Any]", schema)
    if '"$ref"' in json.dumps(members):
        raise unsupported("references within a schema", family="cohere", model=model, path=path)
    required = members.get("required") or ()
    properties = cast("Mapping[str, Any]", members.get("properties") or {})
    return {
        "name": tool.name,
        "description": tool.description or "",
        "parameter_definitions": {
            name: _parameter(definition, required=name in required) for name, definition in properties.items()
        },
    }


def _parameter(definition: object, *, required: bool) -> dict[str, Any]:
    members: dict[str, Any] = dict(cast("Mapping[str, Any]", definition)) if isinstance(definition, Mapping) else {}
    kind = members.get("type")
    native = _TYPES.get(kind) if isinstance(kind, str) else None
    said = {"description", "type"} if native else {"description"}
    description = str(members.get("description") or "")
    # Keywords that a definition has no member for (enum, items, ...) go into its description.
    if rest := {name: value for name, value in members.items() if name not in said}:
        description = f"{description} JSON schema: {json.dumps(rest, ensure_ascii=False)}".strip()
    return {"description": description, "type": native or "str", "required": required}
