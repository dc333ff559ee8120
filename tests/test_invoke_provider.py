"""The invoke provider: the service's share of a native call, whatever the family, and families that fail."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, Final

import pytest
from acme import Acme, giving, raising, read
from corpus import CORPUS, exchange, exchanges

from bedrock_async import (
    BedrockClient,
    ConverseRequest,
    ConverseResponse,
    Credentials,
    Event,
    InvalidRequestError,
    PluginError,
    ResponseDecodeError,
    StreamTruncatedError,
    ThrottlingError,
    UnexpectedContentTypeError,
)
from bedrock_async.errors import EventDecodeError
from bedrock_async.events import MessageStopEvent, UnknownEvent
from bedrock_async.eventstream import CONTENT_TYPE, encode_frame
from bedrock_async.families import (
    EventBuilder,
    FamilyContext,
    ModelProfile,
    NativeObject,
    NativeRequest,
    stop_reason,
    stream_with,
)
from bedrock_async.families.chat_form import ChatForm, ChatFormFamily
from bedrock_async.folding import fold
from bedrock_async.model_id import parse_model_id
from bedrock_async.providers import CallContext, EventDecoder, HttpRequest, HttpResponse, Send, StreamPlan
from bedrock_async.providers.invoke import InvokeProvider
from bedrock_async.testing import BedrockEmulator, RecordedExchange, ReplayModel, chunk_frame, exception_frame

MODEL: Final = "us.acme.chat-1"
STREAM: Final = {"content-type": CONTENT_TYPE}
JSON: Final = {"content-type": "application/json"}


def context(family: Any = None, **members: Any) -> CallContext:  # noqa: ANN401 - tests give wrong ones
    """The context of a call with that family."""
    return CallContext(parse_model_id(MODEL), "us-east-1", family=family or Acme(), **members)


def question(**members: Any) -> ConverseRequest:  # noqa: ANN401 - any member
    """A question, with more members in boto3's shape."""
    return ConverseRequest.from_dict({"messages": [{"role": "user", "content": [{"text": "Hello?"}]}], **members})


def sent(request: ConverseRequest, ctx: CallContext | None = None) -> HttpRequest:
    """What goes out for a request."""
    effect = next(InvokeProvider().converse(request, ctx or context()))
    assert isinstance(effect, Send)
    return effect.request


def answered(
    body: Mapping[str, Any] | bytes, headers: Mapping[str, str] | None = None, ctx: CallContext | None = None
) -> ConverseResponse:
    """The response that an answer becomes."""
    flow = InvokeProvider().converse(question(), ctx or context())
    next(flow)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(StopIteration) as end:
        flow.send(HttpResponse(200, {**JSON, **(headers or {})}, raw))
    response: ConverseResponse = end.value.value
    return response


def plan(ctx: CallContext | None = None) -> StreamPlan[Event]:
    """How a question is streamed."""
    made = InvokeProvider().stream(question(), ctx or context())
    assert isinstance(made, StreamPlan)
    return made


def started(family: Any = None, headers: Mapping[str, str] | None = None) -> EventDecoder[Event]:  # noqa: ANN401
    """A decoder that has seen the head of its response."""
    decoder = plan(context(family)).decoder
    decoder.start(200, {**STREAM, **(headers or {})})
    return decoder


def streamed(
    *chunks: Mapping[str, Any],
    family: Any = None,  # noqa: ANN401 - tests give wrong ones
    headers: Mapping[str, str] | None = None,
) -> list[Event]:
    """The events that chunks become."""
    decoder = started(family, headers)
    return [*decoder.receive(b"".join(chunk_frame(dict(chunk)) for chunk in chunks)), *decoder.eof()]


LAST: Final = {"text": "lo.", "finish": "stop"}


# -- what is sent


def test_a_call_is_one_request_with_the_native_body() -> None:
    """To the model's path, as JSON."""
    request = sent(question())
    assert (request.method, request.path) == ("POST", "/model/us.acme.chat-1/invoke")
    assert json.loads(request.body) == {"prompt": "Hello?", "stream": False}
    assert request.headers == {"content-type": "application/json", "accept": "application/json"}


def test_a_stream_is_one_request_with_the_native_body() -> None:
    """The type of the chunks has a header of its own; the family is told that it streams."""
    request = plan().request
    assert (request.method, request.path) == ("POST", "/model/us.acme.chat-1/invoke-with-response-stream")
    assert json.loads(request.body) == {"prompt": "Hello?", "stream": True}
    assert request.headers == {"content-type": "application/json", "x-amzn-bedrock-accept": "application/json"}


def test_what_the_service_takes_from_headers_stands_there() -> None:
    """Guardrail, trace, latency, tier and metadata, under InvokeModel's names and in its words."""
    request = question(
        guardrailConfig={"guardrailIdentifier": "gr1", "guardrailVersion": "DRAFT", "trace": "enabled_full"},
        performanceConfig={"latency": "optimized"},
        serviceTier={"type": "flex"},
        requestMetadata={"team": "a", "tag": "ä"},
    )
    headers = dict(sent(request).headers)
    metadata = headers.pop("x-amzn-bedrock-request-metadata")
    assert json.loads(metadata) == {"team": "a", "tag": "ä"}
    assert metadata.isascii()
    assert headers == {
        "content-type": "application/json",
        "accept": "application/json",
        "x-amzn-bedrock-guardrailidentifier": "gr1",
        "x-amzn-bedrock-guardrailversion": "DRAFT",
        "x-amzn-bedrock-trace": "ENABLED_FULL",
        "x-amzn-bedrock-performanceconfig-latency": "optimized",
        "x-amzn-bedrock-service-tier": "flex",
    }


def test_how_a_stream_is_guarded_stands_in_the_body() -> None:
    """The one part of the guardrail's configuration that has no header; whole answers have no such mode."""
    request = question(
        guardrailConfig={"guardrailIdentifier": "g", "guardrailVersion": "1", "streamProcessingMode": "async"}
    )
    made = InvokeProvider().stream(request, context())
    assert isinstance(made, StreamPlan)
    body = json.loads(made.request.body)
    assert body["amazon-bedrock-guardrailConfig"] == {"streamProcessingMode": "ASYNCHRONOUS"}
    assert "amazon-bedrock-guardrailConfig" not in json.loads(sent(request).body)


def test_an_inference_profile_is_where_the_call_goes() -> None:
    """The model behind it decides the dialect; the path has the profile."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2"
    request = sent(question(), context(inference_profile=parse_model_id(arn)))
    assert request.path.startswith("/model/arn%3Aaws%3Abedrock%3A")


def test_a_family_may_name_other_types() -> None:
    """Of the body it sends and of the answer it reads."""
    native = NativeRequest({"a": 1}, content_type="application/x-acme", accept="image/png")
    request = sent(question(), context(Acme(encode=giving(native))))
    assert request.headers == {"content-type": "application/x-acme", "accept": "image/png"}


def test_members_of_the_callers_own_are_in_the_body() -> None:
    """additional_request_fields and extra_body."""
    request = question(additionalModelRequestFields={"top_k": 5}, own={"a": 1})
    assert json.loads(sent(request).body) == {"prompt": "Hello?", "stream": False, "top_k": 5, "own": {"a": 1}}


@pytest.mark.parametrize(
    "members",
    [
        {"system": [{"text": "Be brief."}]},
        {"promptVariables": {"a": {"text": "b"}}},
        {"additionalModelResponseFieldPaths": ["/stop_sequence"]},
        {"toolConfig": {"tools": [{"cachePoint": {"type": "default"}}]}},
    ],
)
def test_what_the_family_cannot_express_is_refused_before_sending(members: dict[str, Any]) -> None:
    """By converse and by stream alike, with the provider that can."""
    for verb in (lambda: next(InvokeProvider().converse(question(**members), context())), None):
        with pytest.raises(InvalidRequestError, match=r"'acme' cannot express.*provider='converse'"):
            if verb is not None:
                verb()
            else:
                InvokeProvider().stream(question(**members), context())


@pytest.mark.parametrize(
    "members",
    [
        {"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1", "new": 1}},
        {"performanceConfig": {"new": 1}},
        {"serviceTier": {"type": "flex", "new": 1}},
    ],
)
def test_what_has_no_header_is_refused_for_every_family(members: dict[str, Any]) -> None:
    """Also for one that passes on what it does not know: these members never come to it."""
    family = Acme(supports=giving(["unknown_members"]))
    with pytest.raises(InvalidRequestError, match=r"InvokeModel has no header for \w+\.new"):
        sent(question(**members), context(family))


def test_a_call_without_a_family_is_refused() -> None:
    """Only where the provider is driven by hand: the client looks the family up."""
    bare = CallContext(parse_model_id(MODEL), "us-east-1")
    with pytest.raises(PluginError, match="without the model's family"):
        next(InvokeProvider().converse(question(), bare))
    with pytest.raises(PluginError, match="without the model's family"):
        InvokeProvider().stream(question(), bare)


def test_a_model_that_cannot_stream_answers_whole() -> None:
    """stream gives a flow, which the client runs and replays as events."""
    ctx = context(profile=ModelProfile(source="test", streaming=False))
    flow = InvokeProvider().stream(question(), ctx)
    assert not isinstance(flow, StreamPlan)
    effect = next(flow)
    assert isinstance(effect, Send)
    assert effect.request.path.endswith("/invoke")


# -- what comes back


def test_usage_and_latency_come_from_the_headers() -> None:
    """Where the body has none; nonsense in a header counts as nothing."""
    headers = {
        "x-amzn-bedrock-input-token-count": "7",
        "x-amzn-bedrock-output-token-count": "5",
        "x-amzn-bedrock-cache-read-input-token-count": "3",
        "x-amzn-bedrock-cache-write-input-token-count": "0",
        "x-amzn-bedrock-invocation-latency": "321",
    }
    response = answered(LAST, headers)
    assert response.usage.to_wire() == {
        "inputTokens": 7,
        "outputTokens": 5,
        "cacheReadInputTokens": 3,
        "cacheWriteInputTokens": 0,
        "totalTokens": 15,
    }
    assert response.metrics.latency_ms == 321
    for nonsense in ("", "-1", "seven", "1e3", "9" * 400, "\u0663"):
        assert answered(LAST, {"x-amzn-bedrock-input-token-count": nonsense}).usage.to_wire() == {}


def test_the_models_own_usage_comes_first() -> None:
    """Headers only fill in what it does not tell."""
    response = answered({**LAST, "tokens": [1, 2]}, {"x-amzn-bedrock-input-token-count": "7"})
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (1, 2, 3)
    partial = answered({**LAST, "tokens": [1, None]}, {"x-amzn-bedrock-output-token-count": "5"})
    assert (partial.usage.input_tokens, partial.usage.output_tokens, partial.usage.total_tokens) == (1, 5, 6)


def test_latency_class_and_tier_come_from_the_headers() -> None:
    """Typed as in Converse."""
    headers = {"x-amzn-bedrock-performanceconfig-latency": "optimized", "x-amzn-bedrock-service-tier": "flex"}
    response = answered(LAST, headers)
    assert response.performance_config is not None
    assert response.performance_config.latency == "optimized"
    assert response.service_tier is not None
    assert response.service_tier.type == "flex"
    folded = fold(streamed(LAST, headers=headers))
    assert (folded.performance_config, folded.service_tier) == (response.performance_config, response.service_tier)


class Recorded:
    """Reads the answers of two Amazon models, as far as the recorded guardrails need."""

    name = "amazon"
    interface_version = 1
    models = ("amazon.*",)
    verified = False

    def supports(self, ctx: FamilyContext) -> Collection[str]:
        """Nothing."""
        return ()

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Nothing."""
        return NativeRequest({})

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Nova's body is Converse's."""
        assert not [name for name in body if name.startswith("amazon-bedrock-")]
        return ConverseResponse.from_wire(body)

    def stream_decoder(self, ctx: FamilyContext) -> Any:  # noqa: ANN401 - as the protocol's
        """Titan's chunks."""
        return stream_with(self._read)

    @staticmethod
    def _read(chunk: NativeObject, events: EventBuilder) -> None:
        events.text(chunk["outputText"])
        assert not [name for name in chunk if name.startswith("amazon-bedrock-")]
        events.stop(stop_reason(chunk.get("completionReason")))


def test_a_recorded_intervention_is_told_as_converse_tells_it() -> None:
    """A masked answer: guardrail_intervened, assessments by guardrail id, the model's own output."""
    recorded = exchange("invoke__amazon.nova__200__e0c99cbb88bfe474")
    headers = {name.lower(): value for name, value in recorded.response_headers.items()}
    response = answered(recorded.response_body, headers, context(Recorded()))
    assert response.stop_reason == "guardrail_intervened"
    assert "{Account Number}" in response.text
    assert response.trace is not None
    guardrail = response.trace.guardrail
    assert guardrail is not None
    assert guardrail.input_assessment is not None
    assert guardrail.output_assessments is not None
    (assessment,) = guardrail.output_assessments["v9kpg6yrwhs2"]
    assert assessment.sensitive_information_policy is not None
    found = next(iter(assessment.sensitive_information_policy.regexes or ()))
    assert (found.name, found.action) == ("Account Number", "ANONYMIZED")
    assert guardrail.input_assessment["v9kpg6yrwhs2"].invocation_metrics is not None
    assert "1234561666" in (guardrail.model_output or [""])[0]
    assert response.usage.output_tokens == 51


def test_a_recorded_intervention_in_a_stream_is_told_in_its_events() -> None:
    """The stop reason is in messageStop, the trace in metadata."""
    recorded = exchange("invoke-with-response-stream__amazon.titan-text__200__39d60971cfaf3ba3")
    decoder = plan(context(Recorded())).decoder
    decoder.start(200, {name.lower(): value for name, value in recorded.response_headers.items()})
    *_, stop, metadata = [*decoder.receive(recorded.response_body), *decoder.eof()]
    assert isinstance(stop, MessageStopEvent)
    assert stop.stop_reason == "guardrail_intervened"
    response = fold([stop, metadata])
    assert response.trace is not None
    assert response.trace.guardrail is not None
    assert response.trace.guardrail.output_assessments


@pytest.mark.parametrize("action", ["INTERVENED", "GUARDRAIL_INTERVENED"])
@pytest.mark.parametrize("header", ["amazon-bedrock-guardrailaction", "x-amzn-bedrock-guardrail-action", None])
def test_an_intervention_is_one_wherever_it_is_said(action: str, header: str | None) -> None:
    """In a header, which is all that some answers have, or in the body, in either word of the service."""
    headers, body = (
        ({}, {**LAST, "amazon-bedrock-guardrailAction": action}) if header is None else ({header: action}, LAST)
    )
    response = answered(body, headers)
    assert response.stop_reason == "guardrail_intervened"
    assert response.guardrail is not None
    assert response.guardrail.intervened
    assert fold(streamed(body, headers=headers)).stop_reason == "guardrail_intervened"


def test_a_guardrail_that_did_nothing_changes_nothing() -> None:
    """NONE is no intervention; one intervention in a stream is one, whatever later chunks say."""
    assert answered({**LAST, "amazon-bedrock-guardrailAction": "NONE"}).stop_reason == "end_turn"
    action = "amazon-bedrock-guardrailAction"
    events = streamed({"text": "a", action: "INTERVENED"}, {**LAST, action: "NONE"})
    assert fold(events).stop_reason == "guardrail_intervened"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_an_answer_that_is_no_object_is_an_error_with_its_bytes(body: bytes) -> None:
    """Before any family sees it."""
    with pytest.raises(ResponseDecodeError) as caught:
        answered(body)
    assert caught.value.body == body[:2048]


# -- streams


def test_a_stream_has_the_events_of_converse() -> None:
    """The service's metrics fill in what the model does not tell."""
    metrics = {"inputTokenCount": 7, "outputTokenCount": 5, "invocationLatency": 321, "firstByteLatency": 9}
    events = streamed({"text": "Hel"}, {**LAST, "amazon-bedrock-invocationMetrics": metrics})
    assert [event.to_wire() for event in events] == [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hel"}}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "lo."}}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "end_turn"}},
        {
            "metadata": {
                "usage": {"inputTokens": 7, "outputTokens": 5, "totalTokens": 12},
                "metrics": {"latencyMs": 321},
            }
        },
    ]


def test_a_family_never_sees_what_is_the_services() -> None:
    """A chunk of metrics alone does not reach it."""
    seen: list[NativeObject] = []

    def watching(chunk: NativeObject, events: EventBuilder) -> None:
        seen.append(chunk)
        read(chunk, events)

    family = Acme(stream_decoder=giving(stream_with(watching)))
    metrics = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 7}}
    streamed({**LAST, "amazon-bedrock-guardrailAction": "NONE"}, metrics, family=family)
    assert seen == [LAST]


@pytest.mark.parametrize("metrics", [None, 5, [], {}, {"inputTokenCount": "seven"}, {"inputTokenCount": True}])
def test_metrics_of_another_shape_count_as_none(metrics: object) -> None:
    """The answer is worth more than its counts."""
    events = streamed({**LAST, "amazon-bedrock-invocationMetrics": metrics})
    assert fold(events).usage.to_wire() == {}


def test_an_event_of_tomorrow_passes() -> None:
    """A frame of a type that nobody knows is an UnknownEvent, and the stream goes on."""
    headers = {":event-type": "newEvent", ":content-type": "application/json", ":message-type": "event"}
    decoder = started()
    (event,) = decoder.receive(encode_frame(headers, b'{"a":1}'))
    assert isinstance(event, UnknownEvent)
    assert (event.name, event.payload) == ("newEvent", b'{"a":1}')
    assert fold([*decoder.receive(chunk_frame({**LAST})), *decoder.eof()]).text == "lo."


def test_an_exception_inside_a_stream_does_not_cost_what_came_before() -> None:
    """The events first, the error with the next look."""
    decoder = started()
    events = decoder.receive(chunk_frame({"text": "Hel"}) + exception_frame("ThrottlingException", "slow down"))
    assert fold(events).text == "Hel"
    assert isinstance(decoder.pending_error, ThrottlingError)
    with pytest.raises(ThrottlingError):
        decoder.receive(b"")
    assert decoder.pending_error is None


def test_an_exception_alone_is_raised_at_once() -> None:
    """There is nothing to hand out before it."""
    with pytest.raises(ThrottlingError):
        started().receive(exception_frame("ThrottlingException", "slow down"))


def test_a_fault_is_raised_at_the_end_too() -> None:
    """A body that ends right behind a fault does not hide it."""
    decoder = started()
    decoder.receive(chunk_frame({"text": "Hel"}) + exception_frame("ThrottlingException", "slow down"))
    with pytest.raises(ThrottlingError):
        decoder.eof()


def test_a_stream_that_breaks_off_is_truncated() -> None:
    """Without the model's stop reason, in the middle of a frame, and without anything."""
    decoder = started()
    decoder.receive(chunk_frame({"text": "Hel"}))
    with pytest.raises(StreamTruncatedError):
        decoder.eof()
    with pytest.raises(StreamTruncatedError, match="without a chunk"):
        started().eof()


def test_a_decoder_of_ones_own_that_never_stops_is_truncated() -> None:
    """A family that does not use EventBuilder is held to it just as well."""

    class Silent:
        def receive(self, chunk: NativeObject) -> list[Event]:
            return []

        def eof(self) -> list[Event]:
            return []

    with pytest.raises(StreamTruncatedError, match="before the model gave a stop reason"):
        streamed({"text": "a"}, family=Acme(stream_decoder=giving(Silent())))


def test_the_head_of_a_stream_is_checked() -> None:
    """A gateway's page is refused before its body is looked at."""
    with pytest.raises(UnexpectedContentTypeError):
        plan().decoder.start(200, {"content-type": "text/html"})


# -- families that fail


@pytest.mark.parametrize(
    "chunk", [{"generation": "x"}, {"type": "message_start"}, {"outputText": "x"}, {"choices": []}]
)
def test_a_chunk_of_another_family_names_this_one(chunk: dict[str, Any]) -> None:
    """With the chunk in the error."""
    with pytest.raises(EventDecodeError, match=r"the family 'acme'.*cannot read a chunk") as caught:
        streamed(chunk)
    assert json.loads(caught.value.payload) == chunk


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_a_chunk_that_is_no_object_is_an_error(raw: bytes) -> None:
    """Before any family sees it."""
    with pytest.raises(EventDecodeError):
        started().receive(chunk_frame(raw))


def test_the_mark_at_the_end_of_openais_streams_says_nothing() -> None:
    """Streams in that form may end with a chunk that is the text "[DONE]"."""
    decoder = started()
    events = [*decoder.receive(chunk_frame({**LAST})), *decoder.receive(chunk_frame(b'"[DONE]"')), *decoder.eof()]
    assert fold(events).text == "lo."


WRONG: Final[list[tuple[Any, str]]] = [
    ([{"contentBlockDelta": {}}], "returned a dict instead of an event"),
    ([MessageStopEvent(stop_reason="end_turn")], "out of order: it comes once, after messageStart"),
    (None, "not a list of events"),
]


@pytest.mark.parametrize(("events", "says"), WRONG)
def test_a_decoder_that_gives_something_else_names_its_family(events: object, says: str) -> None:
    """Whatever it gives that is no event, or no event for now."""

    class Wrong:
        def receive(self, chunk: NativeObject) -> object:
            return events

        def eof(self) -> Sequence[Event]:
            return ()

    with pytest.raises(PluginError, match=f"'acme'.*{says}"):
        streamed({"text": "a"}, family=Acme(stream_decoder=giving(Wrong())))


@pytest.mark.parametrize(
    ("stream_decoder", "says"),
    [
        (raising(ZeroDivisionError("boom")), "failed in stream_decoder: ZeroDivisionError: boom"),
        (giving(None), r"returned a NoneType, not a decoder with receive\(chunk\) and eof\(\)"),
    ],
)
def test_a_family_without_a_decoder_is_named(stream_decoder: Any, says: str) -> None:  # noqa: ANN401 - any method
    """When the stream is planned, before anything is sent."""
    with pytest.raises(PluginError, match=rf"'acme'.*{says}"):
        plan(context(Acme(stream_decoder=stream_decoder)))


def test_a_decoder_that_fails_at_the_end_names_its_family() -> None:
    """With what had come before."""

    class Failing:
        def receive(self, chunk: NativeObject) -> list[Event]:
            return []

        def eof(self) -> list[Event]:
            raise KeyError("stop")

    with pytest.raises(EventDecodeError, match=r"'acme'.*cannot read the end of the stream: KeyError: 'stop'"):
        streamed({"text": "a"}, family=Acme(stream_decoder=giving(Failing())))


def test_a_page_in_the_place_of_an_answer_is_told() -> None:
    """A gateway's, before anybody tries to read it as JSON."""
    with pytest.raises(UnexpectedContentTypeError, match="text/html"):
        answered(b"<html>", {"content-type": "text/html"})


def test_what_came_before_a_fault_of_the_family_is_not_lost() -> None:
    """The events of good chunks first, the error with the next look."""
    decoder = started()
    events = decoder.receive(chunk_frame({"text": "Hel"}) + chunk_frame({"generation": "x"}))
    assert fold(events).text == "Hel"
    with pytest.raises(EventDecodeError):
        decoder.receive(b"")


# -- through the client


CHAT: Final = ChatFormFamily(
    ChatForm(name="openai", models=("openai.*",), reasoning_tags=("<reasoning>", "</reasoning>"))
)


def is_of_gpt_oss(recorded: RecordedExchange) -> bool:
    """Native calls of gpt-oss."""
    return recorded.kind.startswith("invoke") and "openai" in recorded.path


@pytest.fixture
async def replay() -> AsyncIterator[tuple[BedrockEmulator, ReplayModel]]:
    """An emulator that answers the next request with the exchange that is asked for."""
    model = ReplayModel.from_directory(CORPUS / "exchanges", select=is_of_gpt_oss)
    async with BedrockEmulator([model]) as emulator:
        yield emulator, model


def client(emulator: BedrockEmulator, **options: Any) -> BedrockClient:  # noqa: ANN401 - any option
    """A client of the emulator that calls models natively."""
    return BedrockClient(
        region="us-east-1",
        endpoint_url=emulator.url,
        credentials=Credentials("any", "key"),
        families={"openai": CHAT},
        **options,
    )


async def test_a_native_call_goes_all_the_way(replay: tuple[BedrockEmulator, ReplayModel]) -> None:
    """Over HTTP: the same verbs, the same response, told who answered."""
    emulator, model = replay
    recorded = next(e for e in exchanges("invoke", 200) if "__openai__" in e.id and "tool_use_response" in e.features)
    model.play_next(recorded.raw["id"])
    async with client(emulator) as bedrock:
        reply = await bedrock.converse(recorded.model_id, "Generate a profile", provider="invoke")
    (use,) = reply.tool_uses
    assert use.name == "structured_output"
    assert reply.meta.provider == "invoke"
    assert reply.meta.status == 200
    (request,) = emulator.requests
    assert request.decoded_path == f"/model/{recorded.model_id}/invoke"
    assert json.loads(request.body) == {"messages": [{"role": "user", "content": "Generate a profile"}]}


async def test_a_native_stream_goes_all_the_way(replay: tuple[BedrockEmulator, ReplayModel]) -> None:
    """Over HTTP, from a client whose default provider it is."""
    emulator, model = replay
    recorded = next(e for e in exchanges("invoke-with-response-stream", 200) if e.id.endswith("9d280b371e3d016a"))
    model.play_next(recorded.raw["id"])
    async with (
        client(emulator, provider="invoke") as bedrock,
        bedrock.stream(recorded.model_id, "Say hello", max_tokens=100) as stream,
    ):
        text = "".join([piece async for piece in stream.text_stream])
        reply = await stream.get_final_response()
    assert text == reply.text
    assert reply.text.startswith("Hello, bright dream")
    assert reply.reasoning
    assert reply.usage.output_tokens == 81
    assert stream.meta.provider == "invoke"


async def test_a_model_that_does_not_stream_is_replayed_as_events(
    replay: tuple[BedrockEmulator, ReplayModel],
) -> None:
    """The same interface: the facts of the call say that it cannot stream."""
    emulator, model = replay
    recorded = next(e for e in exchanges("invoke", 200) if e.id.endswith("6997098b2c8de6b2"))
    model.play_next(recorded.raw["id"])
    async with client(emulator) as bedrock:
        stream = bedrock.stream(
            recorded.model_id, "Add", provider="invoke", provider_options={"profile": {"streaming": False}}
        )
        kinds = [event.type async for event in stream]
    assert kinds[0] == "message_start"
    assert kinds[-1] == "metadata"
    (request,) = emulator.requests
    assert request.decoded_path.endswith("/invoke")


async def test_what_is_wrong_is_told_before_anything_is_sent(replay: tuple[BedrockEmulator, ReplayModel]) -> None:
    """stream() refuses at the call, as it does for every other wrong argument; the emulator sees nothing."""
    emulator, _ = replay
    async with client(emulator) as bedrock:
        with pytest.raises(InvalidRequestError, match="'openai' cannot express documents"):
            await bedrock.converse(
                "openai.gpt-oss-20b-1:0",
                [
                    {
                        "role": "user",
                        "content": [{"document": {"format": "pdf", "name": "d", "source": {"bytes": b"%PDF"}}}],
                    }
                ],
                provider="invoke",
            )
        with pytest.raises(PluginError, match=r"no installed family claims the model 'luma\.ray-v2:0'"):
            bedrock.stream("luma.ray-v2:0", "Hi", provider="invoke", provider_options={"a": 1})
    assert not emulator.requests
