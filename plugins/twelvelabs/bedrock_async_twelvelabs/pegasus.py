"""Pegasus: a prompt and one video in, text out, and segments if they are asked for.

[Bedrock user guide, "TwelveLabs Pegasus 1.2"; the announcement of Pegasus 1.5, 2026-10]
"""

from __future__ import annotations

import json
from typing import Any, Final, cast

from bedrock_async.families import EventBuilder, FamilyContext, NativeObject, decode_with, stop_reason, unsupported
from bedrock_async.types import ConverseRequest, ConverseResponse, OutputConfig, TextBlock, VideoBlock

from .marengo import media_source

PEGASUS_FEATURES: Final = frozenset({"max_tokens", "s3_sources", "structured_output", "temperature", "video"})
"""What the body can express."""

# What Pegasus 1.5 answers to analysis_mode "time_based_metadata".
_SEGMENTS: Final = ("segments", "definition_errors")


def write_analysis(request: ConverseRequest, ctx: FamilyContext) -> dict[str, Any]:
    """Return the body. Raises InvalidRequestError for a second video."""
    body: dict[str, Any] = {}
    if prompt := _prompt(request):
        body["inputPrompt"] = prompt
    for path, video in _videos(request):
        if "mediaSource" in body:
            raise unsupported("more than one video", family="twelvelabs", model=ctx.base_model, path=path)
        body |= media_source(video.source)
    if (inference := request.inference_config) is not None:
        members = {"temperature": inference.temperature, "maxOutputTokens": inference.max_tokens}
        body |= {name: value for name, value in members.items() if value is not None}
    if request.output_config is not None:
        body |= _response_format(request.output_config)
    return body


def _prompt(request: ConverseRequest) -> str:
    """Return the single prompt; several turns become lines, each labelled with its role."""
    turns = [
        (message.role, "\n".join(block.text for block in message.content if isinstance(block, TextBlock)))
        for message in request.messages or ()
    ]
    return turns[0][1] if len(turns) == 1 else "\n".join(f"{role}: {text}" for role, text in turns)


def _videos(request: ConverseRequest) -> list[tuple[str, VideoBlock]]:
    return [
        (f"messages[{turn}].content[{index}]", block)
        for turn, message in enumerate(request.messages or ())
        for index, block in enumerate(message.content)
        if isinstance(block, VideoBlock)
    ]


def _response_format(config: OutputConfig) -> dict[str, Any]:
    definition = config.text_format.structure.json_schema if config.text_format is not None else None
    if definition is None:
        return {}
    # The schema itself, as every published client sends it; the user guide's example has a name around it.
    schema: object = json.loads(definition.schema_)
    if definition.description is not None and isinstance(schema, dict):
        schema = {"description": definition.description, **cast("dict[str, Any]", schema)}
    return {"responseFormat": {"jsonSchema": schema}}


def read_analysis(native: NativeObject, events: EventBuilder) -> None:
    """Read an answer or one chunk of it. Raises KeyError or TypeError for JSON of another form."""
    message = native.get("message", "") if "segments" in native else native["message"]
    if not isinstance(message, str):
        raise TypeError(f"message is of type {type(message).__name__}")
    events.start()
    events.text(message)
    # Whole answers of 1.2 say finishReason; chunks, and 1.5, stopReason, which is empty until the last one.
    events.stop(stop_reason(native.get("finishReason") or native.get("stopReason")))


def decode_analysis(body: NativeObject) -> ConverseResponse:
    """Return the response of a whole answer; segments are among its ``additional_model_response_fields``."""
    response = decode_with(read_analysis, body)
    segments = {name: body[name] for name in _SEGMENTS if name in body}
    return response.model_copy(update={"additional_model_response_fields": segments}) if segments else response
