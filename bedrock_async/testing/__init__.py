"""A Bedrock emulator, models to put behind it, and frame builders, for testing programs that use Bedrock.

::

    async with BedrockEmulator([ScriptedModel.text("hello world")]) as emulator:
        async with BedrockClient(endpoint_url=emulator.url, ...) as client: ...
"""

from __future__ import annotations

from .account import EmulatorAccount
from .answers import Control, HttpAnswer, HttpModel, Output, StepModel
from .authentication import CredentialsLike, EmulatorCredentials, SigningCredentials
from .cassette import Cassette, CassetteMode
from .cassette_exchange import CassetteExchange, CassetteRequest, CassetteResponse, RecordedFailure, RecordedPiece
from .cassette_format import CassetteFile, read_cassette, write_cassette
from .cassette_matching import NotRecordedError
from .chaos import Chaos, Fault, FaultPlan
from .contracts import (
    FamilyContract,
    FamilySample,
    ProviderContract,
    ProviderSample,
    TaskContract,
    TaskSample,
)
from .duplex import DuplexModel, DuplexSession, echo
from .embedding_bodies import EMBEDDING_MODEL_IDS
from .embeddings import EmbeddedText, Embedder, EmbeddingModel, hashed_words
from .emulator import BedrockEmulator
from .fold import fold_wire_events
from .frames import (
    PADDING_ALPHABET,
    Padding,
    WireEvent,
    chunk_frame,
    corrupted,
    error_frame,
    event_frame,
    exception_frame,
    oversized_frame,
    stream_bytes,
    truncated,
    wire_json,
)
from .guardrails import GuardrailRules
from .jobs import JobModel, JobObjects, Jobs, JobScript, RunsJobs
from .models import ENTRY_POINT_GROUP, EmulatorModel, HasCompanions
from .object_store import MemoryObjectStore, ObjectStore, S3ObjectStore
from .operations import CountsInvokeTokens
from .received import ReceivedRequest
from .redaction import Redact, Redactor
from .registry import ServedModel, emulator_model_names, load_emulator_model
from .replay import EXCHANGE_HEADER, RecordedExchange, ReplayModel
from .script import Script, ScriptedModel, Step, Waitable, text_events, tool_use_events
from .service_model import control_plane_model, reference_version, service_model

__all__ = [
    "EMBEDDING_MODEL_IDS",
    "ENTRY_POINT_GROUP",
    "EXCHANGE_HEADER",
    "PADDING_ALPHABET",
    "BedrockEmulator",
    "Cassette",
    "CassetteExchange",
    "CassetteFile",
    "CassetteMode",
    "CassetteRequest",
    "CassetteResponse",
    "Chaos",
    "Control",
    "CountsInvokeTokens",
    "CredentialsLike",
    "DuplexModel",
    "DuplexSession",
    "EmbeddedText",
    "Embedder",
    "EmbeddingModel",
    "EmulatorAccount",
    "EmulatorCredentials",
    "EmulatorModel",
    "FamilyContract",
    "FamilySample",
    "Fault",
    "FaultPlan",
    "GuardrailRules",
    "HasCompanions",
    "HttpAnswer",
    "HttpModel",
    "JobModel",
    "JobObjects",
    "JobScript",
    "Jobs",
    "MemoryObjectStore",
    "NotRecordedError",
    "ObjectStore",
    "Output",
    "Padding",
    "ProviderContract",
    "ProviderSample",
    "ReceivedRequest",
    "RecordedExchange",
    "RecordedFailure",
    "RecordedPiece",
    "Redact",
    "Redactor",
    "ReplayModel",
    "RunsJobs",
    "S3ObjectStore",
    "Script",
    "ScriptedModel",
    "ServedModel",
    "SigningCredentials",
    "Step",
    "StepModel",
    "TaskContract",
    "TaskSample",
    "Waitable",
    "WireEvent",
    "chunk_frame",
    "control_plane_model",
    "corrupted",
    "echo",
    "emulator_model_names",
    "error_frame",
    "event_frame",
    "exception_frame",
    "fold_wire_events",
    "hashed_words",
    "load_emulator_model",
    "oversized_frame",
    "read_cassette",
    "reference_version",
    "service_model",
    "stream_bytes",
    "text_events",
    "tool_use_events",
    "truncated",
    "wire_json",
    "write_cassette",
]
