"""InvokeModel and InvokeModelWithResponseStream with the request, response and events of Converse.

The model's family writes and reads native bodies. What concerns the service is handled here, for all families alike:
guardrail, performance, service tier and metadata in headers; token counts, latency and the guardrail's trace from
headers and from the ``amazon-bedrock-...`` members that the service adds to native JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Final, cast

import msgspec

from ..errors import (
    BedrockError,
    EventDecodeError,
    PluginError,
    ResponseDecodeError,
    StreamTruncatedError,
)
from ..events import Event, MessageStopEvent, MetadataEvent, UnknownEvent, mended, read_model, unexpected_content_type
from ..families import (
    EventOrder,
    FamilyContext,
    ModelFamily,
    NativeObject,
    NativeRequest,
    encode_request,
    merged_body,
    native_body,
)
from ..families._encoding import decode_response, new_decoder, read_chunk
from ..families._features import check_carried
from ..folding import fold, unfold
from ..model_id import ModelId
from ..native import METRICS, InvokeChunk
from ..types import (
    ConverseMetrics,
    ConverseRequest,
    ConverseResponse,
    ConverseTrace,
    GuardrailConfig,
    InvokeRequest,
    JSONValue,
    PerformanceConfig,
    ServiceTier,
    TokenUsage,
)
from ..types.guardrail_decisions import INTERVENED, NATIVE_ACTION, NATIVE_TRACE, native_decision
from ._protocol import INTERFACE_VERSION, CallContext, EventDecoder, Flow, HttpResponse, StreamPlan
from .runtime import invoke, invoke_stream

_OURS: Final = "amazon-bedrock-"
_MARK: Final = b'"amazon-bedrock-'
_GUARDRAIL: Final = "amazon-bedrock-guardrailConfig"
# The stream processing mode is the only part of the guardrail configuration that is sent in the body. [user guide,
# "Configure streaming response behavior to filter content"]
_PROCESSING_MODES: Final = {"sync": "SYNCHRONOUS", "async": "ASYNCHRONOUS"}
_COUNT_HEADERS: Final = {
    "input_tokens": "x-amzn-bedrock-input-token-count",
    "output_tokens": "x-amzn-bedrock-output-token-count",
    "cache_read_input_tokens": "x-amzn-bedrock-cache-read-input-token-count",
    "cache_write_input_tokens": "x-amzn-bedrock-cache-write-input-token-count",
}
_COUNT_METRICS: Final = {
    "input_tokens": "inputTokenCount",
    "output_tokens": "outputTokenCount",
    "cache_read_input_tokens": "cacheReadInputTokenCount",
    "cache_write_input_tokens": "cacheWriteInputTokenCount",
}


class InvokeProvider:
    """Calls a model in its native dialect; the model's family must be installed or given."""

    name = "invoke"
    interface_version = INTERFACE_VERSION
    needs_family = True

    def converse(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
        """Return the flow of one InvokeModel call. Raises InvalidRequestError for what the family cannot express."""
        family = _family(ctx)
        told = family_context(ctx, streaming=False)
        response = yield from invoke(_invoke_request(family, request, told, ctx.target), ctx.target)
        service = _Service(response.headers)
        members = service.take(_answer_members(response), response.body)
        return service.completed(decode_response(family, members, response.headers, told, raw=response.body))

    def stream(self, request: ConverseRequest, ctx: CallContext) -> StreamPlan[Event] | Flow[ConverseResponse]:
        """Return the plan of a stream; for a model that cannot stream, the flow of an InvokeModel call to replay."""
        if not ctx.profile.streaming:
            return self.converse(request, ctx)
        family = _family(ctx)
        told = family_context(ctx, streaming=True)
        plan = invoke_stream(_invoke_request(family, request, told, ctx.target), ctx.target)
        return StreamPlan(plan.request, FamilyEventDecoder(family, told, plan.decoder))


def _family(ctx: CallContext) -> ModelFamily:
    if ctx.family is None:
        raise PluginError(
            f"the provider 'invoke' was called for {ctx.model.raw} without the model's family.",
            hint="Call it through BedrockClient, or set the family of the CallContext.",
        )
    return ctx.family


def family_context(ctx: CallContext, *, streaming: bool = False) -> FamilyContext:
    """Return what a family may know of a call."""
    return FamilyContext(ctx.model, ctx.profile, ctx.region, ctx.provider_options, streaming)


def _invoke_request(
    family: ModelFamily, request: ConverseRequest, ctx: FamilyContext, target: ModelId
) -> InvokeRequest:
    check_carried(request)
    native = encode_request(family, request, ctx)
    guardrail = request.guardrail_config or GuardrailConfig()
    if (mode := guardrail.stream_processing_mode) is not None and ctx.streaming:
        spelt = {"streamProcessingMode": _PROCESSING_MODES.get(mode, mode)}
        native = NativeRequest(merged_body(native.body, {_GUARDRAIL: spelt}), native.content_type, native.accept)
    performance, tier = request.performance_config, request.service_tier
    return InvokeRequest(
        model_id=target.raw,
        body=native_body(family, native),
        content_type=native.content_type,
        accept=native.accept,
        # Converse's "enabled_full" is InvokeModel's "ENABLED_FULL".
        trace=guardrail.trace.upper() if guardrail.trace else None,
        guardrail_identifier=guardrail.guardrail_identifier,
        guardrail_version=guardrail.guardrail_version,
        performance_config_latency=performance.latency if performance is not None else None,
        service_tier=tier.type if tier is not None else None,
        request_metadata=_metadata(request.request_metadata),
    )


def _metadata(metadata: Mapping[str, str] | None) -> str | None:
    return json.dumps(metadata, separators=(",", ":")) if metadata else None


def _loads(raw: bytes) -> JSONValue:
    """Parse native JSON. Raises ValueError or RecursionError."""
    try:
        value: JSONValue = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = mended(json.loads(raw))  # the standard library's parser is slower, but more lenient
    return value


def native_answer(response: HttpResponse) -> tuple[NativeObject, int | None]:
    """Return the model's own members of a native response, and the input tokens that the service counted.

    Raises UnexpectedContentTypeError and ResponseDecodeError.
    """
    service = _Service(response.headers)
    members = service.take(_answer_members(response), response.body)
    return members, service.input_tokens()


def _answer_members(response: HttpResponse) -> NativeObject:
    kind, body = response.headers.get("content-type", ""), response.body
    if kind and "json" not in kind.lower():
        raise unexpected_content_type(response.status, kind, "application/json")
    try:
        value, fault = _loads(body), "JSON of another type than an object"
    except (ValueError, RecursionError) as exc:
        value, fault = None, f"not JSON ({exc})"
    if isinstance(value, dict):
        return value
    raise ResponseDecodeError(
        f"the native answer of {len(body)} bytes is {fault}.",
        body=body,
        hint="Read it with client.invoke(), which gives the body as it is.",
    )


def _chunk_members(chunk: InvokeChunk) -> NativeObject:
    try:
        value, fault = _loads(chunk.bytes), "JSON of another type than an object"
    except (ValueError, RecursionError) as exc:
        value, fault = None, f"not JSON ({exc})"
    if isinstance(value, dict):
        return value
    raise EventDecodeError(
        f"a native chunk of {len(chunk.bytes)} bytes is {fault}.", event_type=chunk.name, payload=chunk.bytes
    )


# The end marker of OpenAI's streams, which Palmyra X5's chunks end with.  [langchain-aws, tests of ChatWriter]
_DONE: Final = b'"[DONE]"'


class _Service(msgspec.Struct):
    """What the service reports besides the model's answer: in headers, and in members added to native JSON."""

    headers: Mapping[str, str]
    metrics: Mapping[str, JSONValue] = msgspec.field(default_factory=dict[str, JSONValue])
    action: str | None = None
    trace: Mapping[str, JSONValue] | None = None

    def take(self, native: NativeObject, raw: bytes) -> NativeObject:
        """Extract the service's members from native JSON, parsed from ``raw``; return the model's members."""
        if _MARK not in raw:  # true of most chunks, and ten times cheaper than looking at every member
            return native
        if isinstance(metrics := native.get(METRICS), Mapping):
            self.metrics = cast("Mapping[str, JSONValue]", metrics)
        if isinstance(action := native.get(NATIVE_ACTION), str):
            # Every chunk of a stream reports an action; one intervention decides.
            self.action = self.action if self._intervened() else action
        if isinstance(trace := native.get(NATIVE_TRACE), Mapping):
            self.trace = cast("Mapping[str, JSONValue]", trace)
        return {name: value for name, value in native.items() if not name.startswith(_OURS)}

    def completed(self, response: ConverseResponse) -> ConverseResponse:
        """Return the response, filling in from the service what the model's own answer lacks."""
        changes: dict[str, Any] = {"usage": self._usage(response.usage)}
        if response.metrics.latency_ms is None and (latency_ms := self._latency_ms()) is not None:
            changes["metrics"] = ConverseMetrics(latency_ms=latency_ms)
        if self._intervened():
            # Converse reports this whether the guardrail blocked or masked.  [corpus, 2025-02]
            changes["stop_reason"] = INTERVENED
        if response.trace is None and self.trace:
            changes["trace"] = _trace(self.trace)
        if latency := self.headers.get("x-amzn-bedrock-performanceconfig-latency"):
            changes["performance_config"] = PerformanceConfig(latency=latency)
        if tier := self.headers.get("x-amzn-bedrock-service-tier"):
            changes["service_tier"] = ServiceTier(type=tier)
        return response.model_copy(update=changes)

    def _intervened(self) -> bool:
        decision = native_decision(self.headers, {NATIVE_ACTION: self.action})
        return decision is not None and decision.intervened

    def _usage(self, usage: TokenUsage) -> TokenUsage:
        counts: dict[str, int] = {}
        for name in _COUNT_HEADERS:
            if name in usage.model_fields_set:
                continue
            if (number := self._counted(name)) is not None:
                counts[name] = number
        if not counts and (not usage.model_fields_set or "total_tokens" in usage.model_fields_set):
            return usage
        filled = usage.model_copy(update=counts)
        total = filled.input_tokens + filled.output_tokens
        total += (filled.cache_read_input_tokens or 0) + (filled.cache_write_input_tokens or 0)
        return filled.model_copy(update={"total_tokens": total})

    def input_tokens(self) -> int | None:
        """Return the input tokens that the service counted, or None if it did not report them."""
        return self._counted("input_tokens")

    def _counted(self, name: str) -> int | None:
        told = _count(self.metrics.get(_COUNT_METRICS[name]))
        return _count(self.headers.get(_COUNT_HEADERS[name])) if told is None else told

    def _latency_ms(self) -> int | None:
        latency_ms = _count(self.metrics.get("invocationLatency"))
        return _count(self.headers.get("x-amzn-bedrock-invocation-latency")) if latency_ms is None else latency_ms


def _count(value: JSONValue) -> int | None:
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() and len(value) <= 12 else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return int(value)


def _trace(native: Mapping[str, JSONValue]) -> ConverseTrace:
    """Return Converse's trace; InvokeModel has other names for the same assessments."""
    trace = dict(native)
    if isinstance(guardrail := trace.get("guardrail"), dict):
        members = dict(guardrail)
        if "input" in members:
            members["inputAssessment"] = members.pop("input")
        if isinstance(outputs := members.pop("outputs", None), list):
            by_id: dict[str, JSONValue] = {}
            for output in outputs:
                for guardrail_id, assessment in output.items() if isinstance(output, dict) else ():
                    assessments = by_id.setdefault(guardrail_id, [])
                    if isinstance(assessments, list):
                        assessments.append(assessment)
            members["outputAssessments"] = by_id
        trace["guardrail"] = members
    return read_model(ConverseTrace, json.dumps(trace).encode("ascii"))


class FamilyEventDecoder:
    """Decodes the bytes of a native stream into events, through the framing's decoder and then the family's.

    The family's events are checked for type and for the order of a Converse stream. Its messageStop and metadata are
    held back until the body has ended, because the last chunk has the service's counts and the guardrail's decision.
    Errors are those of `ConverseEventDecoder`, EventDecodeError for a chunk that the family cannot read, and
    PluginError.
    """

    def __init__(self, family: ModelFamily, ctx: FamilyContext, chunks: EventDecoder[InvokeChunk]) -> None:
        self.pending_error: BedrockError | None = None
        self._family = family
        self._chunks = chunks
        self._native = new_decoder(family, ctx)
        self._order = EventOrder(family.name)
        self._service = _Service({})
        self._last: list[Event] = []

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Check the head of the response. Raises UnexpectedContentTypeError."""
        self._chunks.start(status, headers)
        self._service.headers = headers

    def receive(self, data: bytes) -> list[Event]:
        """Return the events that ``data`` completes; ``b""`` only raises a pending error."""
        self._raise_pending()
        events: list[Event] = []
        try:
            for chunk in self._chunks.receive(data):
                events += self._read(chunk)
            if self._chunks.pending_error is not None:
                self._chunks.receive(b"")  # raises it
        except BedrockError as exc:
            self.pending_error = exc
            if not events:
                self._raise_pending()
        return events

    def eof(self) -> list[Event]:
        """Return the last events. Raises StreamTruncatedError if the answer is incomplete."""
        self._raise_pending()
        self._chunks.eof()
        events = self._checked(read_chunk(self._family, self._native.eof, None))
        if not self._order.stopped:
            raise StreamTruncatedError(
                "the stream ended before the model gave a stop reason.",
                hint="The answer is not complete: partial_response has what arrived. Call again to get a whole one.",
            )
        return [*events, *unfold(self._service.completed(fold(self._last)))[-2:]]

    def _raise_pending(self) -> None:
        # Drop the reference: the error's traceback leads to the stream, and an abandoned stream can only close at once
        # if no cycle keeps it alive.
        error, self.pending_error = self.pending_error, None
        if error is not None:
            raise error

    def _read(self, chunk: InvokeChunk) -> Sequence[Event]:
        if chunk.name != "chunk":
            return [UnknownEvent(name=chunk.name, payload=chunk.bytes)]
        if chunk.bytes == _DONE:
            return ()
        members = self._service.take(_chunk_members(chunk), chunk.bytes)
        if not members:
            return ()
        return self._checked(read_chunk(self._family, lambda: self._native.receive(members), chunk.bytes))

    def _checked(self, events: Sequence[object]) -> list[Event]:
        content: list[Event] = []
        for event in self._order.check(events):
            last = isinstance(event, MessageStopEvent | MetadataEvent)
            (self._last if last else content).append(event)
        return content


__all__ = ["FamilyEventDecoder", "InvokeProvider", "family_context", "native_answer"]
