"""A Bedrock emulator, models to put behind it, and frame builders, for the tests of programs that use Bedrock.

::

    async with BedrockEmulator([ScriptedModel.text("hello world")]) as emulator:
        async with BedrockClient(endpoint_url=emulator.url, ...) as client: ...
"""

from __future__ import annotations

from .answers import Control, HttpAnswer, HttpModel, Output, StepModel
from .authentication import CredentialsLike, EmulatorCredentials, SigningCredentials
from .emulator import BedrockEmulator
from .fold import fold_wire_events
from .frames import (
    PADDING_ALPHABET,
    Padding,
    WireEvent,
    chunk_frame,
    corrupted,
    event_frame,
    exception_frame,
    oversized_frame,
    stream_bytes,
    truncated,
    wire_json,
)
from .models import ENTRY_POINT_GROUP, EmulatorModel
from .operations import CountsInvokeTokens
from .received import ReceivedRequest
from .registry import ServedModel, emulator_model_names, load_emulator_model
from .replay import EXCHANGE_HEADER, RecordedExchange, ReplayModel
from .script import Script, ScriptedModel, Step, Waitable, text_events, tool_use_events
from .service_model import reference_version, service_model

__all__ = [
    "ENTRY_POINT_GROUP",
    "EXCHANGE_HEADER",
    "PADDING_ALPHABET",
    "BedrockEmulator",
    "Control",
    "CountsInvokeTokens",
    "CredentialsLike",
    "EmulatorCredentials",
    "EmulatorModel",
    "HttpAnswer",
    "HttpModel",
    "Output",
    "Padding",
    "ReceivedRequest",
    "RecordedExchange",
    "ReplayModel",
    "Script",
    "ScriptedModel",
    "ServedModel",
    "SigningCredentials",
    "Step",
    "StepModel",
    "Waitable",
    "WireEvent",
    "chunk_frame",
    "corrupted",
    "emulator_model_names",
    "event_frame",
    "exception_frame",
    "fold_wire_events",
    "load_emulator_model",
    "oversized_frame",
    "reference_version",
    "service_model",
    "stream_bytes",
    "text_events",
    "tool_use_events",
    "truncated",
    "wire_json",
]
