"""A request for every feature that a family may support, with what the native body must contain for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_IMAGE: Final = b"\x89PNG\r\n\x1a\nprobe"
_USER: Final[Mapping[str, Any]] = {"role": "user", "content": [{"text": "Probe?"}]}
_TOOL: Final[Mapping[str, Any]] = {
    "toolSpec": {
        "name": "probe_tool",
        "description": "Probes.",
        "inputSchema": {"json": {"type": "object", "properties": {"probe_member": {"type": "string"}}}},
    }
}


def _with(*content: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"text": "Probe?"}, *content]}]}


def _after(*content: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": [_USER, {"role": "assistant", "content": [*content, {"text": "Probed."}]}, _USER]}


PROBES: Final[Mapping[str, tuple[Mapping[str, Any], str | None]]] = {
    "audio": (_with({"audio": {"format": "mp3", "source": {"bytes": b"probe"}}}), None),
    "cache_points": (_with({"cachePoint": {"type": "default"}}), None),
    "citations": (
        _after({"citationsContent": {"content": [{"text": "probe-cited"}], "citations": []}}),
        "probe-cited",
    ),
    "documents": (
        _with({"document": {"format": "txt", "name": "probe-name", "source": {"bytes": b"probe document"}}}),
        None,
    ),
    "effort": ({"messages": [_USER], "outputConfig": {"effort": "low"}}, '"low"'),
    "guard_content": (_with({"guardContent": {"text": {"text": "probe-guarded"}}}), "probe-guarded"),
    "images": (_with({"image": {"format": "png", "source": {"bytes": _IMAGE}}}), "iVBORw0KGgpwcm9iZQ=="),
    "max_tokens": ({"messages": [_USER], "inferenceConfig": {"maxTokens": 1234}}, "1234"),
    "prompt_variables": ({"messages": [_USER], "promptVariables": {"probe": {"text": "probe-value"}}}, "probe-value"),
    "reasoning": (
        _after({"reasoningContent": {"reasoningText": {"text": "probe-thought", "signature": "probe-signed"}}}),
        "probe-thought",
    ),
    "response_field_paths": ({"messages": [_USER], "additionalModelResponseFieldPaths": ["/probe"]}, None),
    "s3_sources": (
        _with({"image": {"format": "png", "source": {"s3Location": {"uri": "s3://probe/image"}}}}),
        "s3://probe/image",
    ),
    "search_results": (
        _with({"searchResult": {"source": "probe-source", "title": "Probe", "content": [{"text": "probe-found"}]}}),
        "probe-found",
    ),
    "server_tools": ({"messages": [_USER], "toolConfig": {"tools": [{"systemTool": {"name": "probe_tool"}}]}}, None),
    "stop_sequences": ({"messages": [_USER], "inferenceConfig": {"stopSequences": ["probe-stop"]}}, "probe-stop"),
    "strict_tools": (
        {"messages": [_USER], "toolConfig": {"tools": [{"toolSpec": {**_TOOL["toolSpec"], "strict": True}}]}},
        "true",
    ),
    "structured_output": (
        {
            "messages": [_USER],
            "outputConfig": {
                "textFormat": {
                    "type": "json_schema",
                    "structure": {
                        "jsonSchema": {"name": "probe", "schema": '{"type":"object","title":"probe-schema"}'}
                    },
                }
            },
        },
        "probe-schema",
    ),
    "system": ({"messages": [_USER], "system": [{"text": "probe-system"}]}, "probe-system"),
    "system_messages": (
        {"messages": [_USER, {"role": "system", "content": [{"text": "probe-inserted"}]}, _USER]},
        "probe-inserted",
    ),
    "temperature": ({"messages": [_USER], "inferenceConfig": {"temperature": 0.125}}, "0.125"),
    "tool_changes": (
        {"messages": [_USER, {"role": "system", "content": [{"toolAddition": {"tool": {"name": "probe_tool"}}}]}]},
        "probe_tool",
    ),
    "tool_choice": (
        {"messages": [_USER], "toolConfig": {"tools": [_TOOL], "toolChoice": {"tool": {"name": "probe_tool"}}}},
        "probe_tool",
    ),
    "tools": ({"messages": [_USER], "toolConfig": {"tools": [_TOOL]}}, "probe_member"),
    "top_p": ({"messages": [_USER], "inferenceConfig": {"topP": 0.375}}, "0.375"),
    "unknown_blocks": (_with({"blockOfTomorrow": {"member": "probe-unknown"}}), "probe-unknown"),
    "unknown_members": ({"messages": [{**_USER, "probeMember": "probe-strange"}]}, "probe-strange"),
    "video": (_with({"video": {"format": "mp4", "source": {"bytes": b"probe"}}}), None),
}

_TEXT_FORMAT: Final[Mapping[str, Any]] = {
    "type": "json_schema",
    "structure": {"jsonSchema": {"name": "probe", "description": "probe-told", "schema": '{"type":"object"}'}},
}

PARTS: Final[Mapping[str, tuple[Mapping[str, Any], str]]] = {
    "the context of a document": (
        _with({"document": {"name": "d", "source": {"text": "probe"}, "context": "probe-context"}}),
        "probe-context",
    ),
    "the description of a schema": ({"messages": [_USER], "outputConfig": {"textFormat": _TEXT_FORMAT}}, "probe-told"),
    "the description of a tool": ({"messages": [_USER], "toolConfig": {"tools": [_TOOL]}}, "Probes."),
    "the name of a document": (_with({"document": {"name": "probe-name", "source": {"text": "probe"}}}), "probe-name"),
    "the title of a search result": (
        _with({"searchResult": {"source": "s", "title": "probe-title", "content": [{"text": "probe"}]}}),
        "probe-title",
    ),
}
"""Members within a feature: a family that supports the feature must send them, or refuse them."""
