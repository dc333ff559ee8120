"""The provider protocol and the Converse provider, driven by canned answers: no socket, no loop, no clock."""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterable
from typing import Any, Final, TypeVar
from urllib.parse import unquote

import pytest
from corpus import Exchange, exchanges

from bedrock_async import (
    ConverseRequest,
    ConverseResponse,
    Event,
    InvalidRequestError,
    ResponseDecodeError,
    ThrottlingError,
    UnexpectedContentTypeError,
    UnknownBlock,
)
from bedrock_async.errors import service_error
from bedrock_async.events import ConverseEventDecoder
from bedrock_async.eventstream import CONTENT_TYPE
from bedrock_async.folding import fold
from bedrock_async.model_id import parse_model_id
from bedrock_async.providers import (
    INTERFACE_VERSION,
    CallContext,
    Effect,
    EffectResult,
    Flow,
    HttpRequest,
    HttpResponse,
    Provider,
    ReadObject,
    Send,
    Sleep,
    StreamPlan,
    read_object,
    send,
    sleep,
)
from bedrock_async.providers.converse import ConverseProvider

T = TypeVar("T")
JSON_HEADERS: Final = {"content-type": "application/json"}
CALLS: Final = [exchange for exchange in exchanges("converse", 200) if exchange.request_body]


def context(model: str = "us.amazon.nova-lite-v1:0") -> CallContext:
    """Return the context of a call of that model."""
    return CallContext(parse_model_id(model), "us-east-1")


def driven(
    flow: Generator[Effect, EffectResult, T], answers: Iterable[EffectResult | Exception]
) -> tuple[T, list[Effect]]:
    """Run a flow over canned answers; return its result and the effects it asked for."""
    effects: list[Effect] = []
    remaining = list(answers)
    try:
        effect = next(flow)
        while True:
            effects.append(effect)
            answer = remaining.pop(0)
            effect = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
    except StopIteration as end:
        assert remaining == []
        result: T = end.value
        return result, effects


# -- the Converse provider


@pytest.mark.parametrize("exchange", CALLS, ids=str)
def test_a_recorded_call_is_one_request_and_one_answer(exchange: Exchange) -> None:
    """Request and path as recorded, the answer whole: a list of canned answers is all that the provider needs."""
    request = ConverseRequest.from_wire(exchange.request_body, model_id=exchange.model_id)
    headers = {name.lower(): value for name, value in exchange.response_headers.items()}
    answer = HttpResponse(exchange.status, JSON_HEADERS | headers, exchange.response_body)

    response, (effect,) = driven(ConverseProvider().converse(request, context(exchange.model_id)), [answer])

    assert isinstance(effect, Send)
    assert effect.request.method == "POST"
    assert unquote(effect.request.path) == unquote(exchange.path)
    assert effect.request.path.count("/") == 3
    assert json.loads(effect.request.body) == exchange.request_json
    assert effect.request.headers == JSON_HEADERS
    assert response.to_wire() == exchange.response_json


@pytest.mark.parametrize("exchange", exchanges("converse-stream", 200), ids=str)
def test_a_recorded_stream_is_a_request_and_a_decoder(exchange: Exchange) -> None:
    """stream returns a plan: what to send, and what turns the bytes into events."""
    request = ConverseRequest.from_wire(exchange.request_body, model_id=exchange.model_id)
    plan = ConverseProvider().stream(request, context(exchange.model_id))

    assert unquote(plan.request.path) == unquote(exchange.path)
    assert json.loads(plan.request.body) == exchange.request_json
    plan.decoder.start(200, {"content-type": CONTENT_TYPE})
    events = [*plan.decoder.receive(exchange.response_body), *plan.decoder.eof()]
    assert fold(events).stop_reason


def test_every_plan_has_a_decoder_of_its_own() -> None:
    """A second attempt does not inherit half a frame of the first."""
    provider = ConverseProvider()
    request = ConverseRequest()
    plans = [provider.stream(request, context()) for _ in range(2)]
    assert all(isinstance(plan.decoder, ConverseEventDecoder) for plan in plans)
    assert plans[0].decoder is not plans[1].decoder
    assert plans[0].request == plans[1].request


def test_the_model_of_an_arn_is_one_segment_of_the_path() -> None:
    """Quoted with its colons and slashes."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2"
    plan = ConverseProvider().stream(ConverseRequest(), context(arn))
    assert plan.request.path == (
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fa1b2/converse-stream"
    )


def test_a_failure_of_the_request_is_thrown_into_the_flow() -> None:
    """The Converse provider has nothing to add to it."""
    failure = service_error("ThrottlingException", "slow down")
    with pytest.raises(ThrottlingError) as caught:
        driven(ConverseProvider().converse(ConverseRequest(), context()), [failure])
    assert caught.value is failure


@pytest.mark.parametrize("content_type", ["text/html", "", "application/vnd.amazon.eventstream", "text/json"])
def test_an_answer_of_another_content_type_is_refused(content_type: str) -> None:
    """Before its body is looked at: the error says what came and what was expected."""
    answer = HttpResponse(200, {"content-type": content_type}, b'{"output":{}}')
    with pytest.raises(UnexpectedContentTypeError, match=r"HTTP 200.*not application/json"):
        driven(ConverseProvider().converse(ConverseRequest(), context()), [answer])


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=UTF-8", "APPLICATION/JSON", "application/x-amz-json-1.1"]
)
def test_the_spellings_of_json_are_accepted(content_type: str) -> None:
    """Parameters and case of the content type do not matter."""
    answer = HttpResponse(200, {"content-type": content_type}, b'{"stopReason":"end_turn"}')
    response, _ = driven(ConverseProvider().converse(ConverseRequest(), context()), [answer])
    assert response.stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "is empty"),
        (b"{", "not as the service documents it"),
        (b"[]", "not as the service documents it: .*object"),
        (b"null", "not as the service documents it"),
        (b'{"usage":{"inputTokens":"many"}}', "usage.inputTokens: "),
        (b'{"output":{"message":{"role":"assistant","content":[{"text":5}]}}}', r"output\.message\.content\.0\.text: "),
        (b"\xff\xfe\x00", "not as the service documents it"),
        (b"[" * 100_000, "not as the service documents it"),
    ],
)
def test_an_answer_that_cannot_be_read_is_an_error_with_its_bytes(body: bytes, fault: str) -> None:
    """The first 2,048 bytes are kept, and the message says where it went wrong."""
    with pytest.raises(ResponseDecodeError, match=fault) as caught:
        driven(ConverseProvider().converse(ConverseRequest(), context()), [HttpResponse(200, JSON_HEADERS, body)])
    assert caught.value.body == body[:2048]
    assert caught.value.hint


def test_an_answer_with_nulls_and_broken_text_is_read() -> None:
    """Explicit nulls where objects are expected and lone surrogates do not cost the answer."""
    body = rb'{"output":{"message":{"role":"assistant","content":[{"text":"a\ud83d"}]}},"usage":null,"trace":null}'
    response, _ = driven(
        ConverseProvider().converse(ConverseRequest(), context()), [HttpResponse(200, JSON_HEADERS, body)]
    )
    assert response.text == "a\ufffd"
    assert response.usage.total_tokens == 0


@pytest.mark.parametrize("value", [object(), b"\xff", print, float("nan"), float("inf"), -float("inf")])
def test_what_json_cannot_hold_is_refused_before_anything_is_sent(value: Any) -> None:  # noqa: ANN401 - no JSON
    """In a document or in a block that no class knows."""
    for request in (
        ConverseRequest(additional_model_request_fields={"a": [value]}),
        ConverseRequest.from_dict(
            {"messages": [{"role": "user", "content": [UnknownBlock(raw={"new": {"a": value}})]}]}
        ),
    ):
        with pytest.raises(InvalidRequestError, match="the request contains a value that JSON cannot") as caught:
            next(ConverseProvider().converse(request, context()))
        assert caught.value.hint
        with pytest.raises(InvalidRequestError):
            ConverseProvider().stream(request, context())


@pytest.mark.parametrize(
    "members",
    [
        {"later": math.nan},
        {"inferenceConfig": {"maxTokens": 1, "later": math.nan}},
        {"messages": [{"role": "user", "content": [{"text": "Hi."}], "later": math.nan}]},
        {"messages": [{"role": "user", "content": [{"text": "Hi.", "later": math.nan}]}]},
        {"messages": [{"role": "user", "content": [{"later": math.nan}]}]},
        {"system": [{"text": "Be kind.", "later": math.nan}]},
        {"toolConfig": {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"maximum": math.inf}}}}]}},
    ],
)
@pytest.mark.parametrize("characters", [1, 100_000])
def test_a_number_that_json_cannot_hold_is_found_wherever_it_stands(members: dict[str, Any], characters: int) -> None:
    """Also beside texts, in members that no class knows, and however long the texts are."""
    before = {"role": "user", "content": [{"text": "x" * characters}]}
    request = ConverseRequest.from_dict({**members, "messages": [before, *members.get("messages", ())]})
    with pytest.raises(InvalidRequestError, match="the request contains a value that JSON cannot"):
        next(ConverseProvider().converse(request, context()))


def test_how_a_guardrail_reads_streams_is_told_to_streams_only() -> None:
    """The service model of Converse has no such member."""
    config = {"guardrailIdentifier": "g", "guardrailVersion": "1", "streamProcessingMode": "async", "later": 1}
    request = ConverseRequest.from_dict({"messages": [], "guardrailConfig": config})
    whole = next(ConverseProvider().converse(request, context()))
    assert isinstance(whole, Send)
    assert json.loads(whole.request.body)["guardrailConfig"] == {
        name: value for name, value in config.items() if name != "streamProcessingMode"
    }
    assert json.loads(ConverseProvider().stream(request, context()).request.body)["guardrailConfig"] == config


def test_text_that_names_no_number_is_text() -> None:
    """What JSON has no number for may be written about."""
    request = ConverseRequest(additional_model_request_fields={"NaN": "Infinity and -Infinity", "float": "NaN"})
    effect = next(ConverseProvider().converse(request, context()))
    assert isinstance(effect, Send)
    assert b'"NaN":"Infinity and -Infinity"' in effect.request.body


# -- the protocol


class Batching:
    """A provider with every kind of effect: starts a job, waits, and reads its result from S3."""

    name = "batching"
    interface_version = INTERFACE_VERSION

    def converse(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
        """Ask again after a refusal, then poll until the job is done."""
        body = request.to_wire_bytes()
        try:
            started = yield from send(HttpRequest("POST", "/async-invoke", body=body))
        except ThrottlingError:
            yield from sleep(2.5)
            started = yield from send(HttpRequest("POST", "/async-invoke", body=body))
        arn: str = json.loads(started.body)["invocationArn"]
        while True:
            state = yield from send(HttpRequest("GET", f"/async-invoke/{arn}", query={"verbose": "1"}))
            if json.loads(state.body)["status"] == "Completed":
                break
            yield from sleep(5.0)
        data = yield from read_object(str(ctx.provider_options["output_s3_uri"]))
        return ConverseResponse.from_wire(data)

    def stream(self, request: ConverseRequest, ctx: CallContext) -> StreamPlan[Event] | Flow[ConverseResponse]:
        """There is no stream: the client replays the answer."""
        return self.converse(request, ctx)


def answer(**members: Any) -> HttpResponse:  # noqa: ANN401 - JSON of any shape
    """Return a JSON answer."""
    return HttpResponse(200, JSON_HEADERS, json.dumps(members).encode())


def test_a_list_of_canned_answers_drives_every_effect() -> None:
    """Sending, waiting and reading objects are values; a failure arrives at the yield that asked for it."""
    ctx = CallContext(parse_model_id("amazon.nova-lite-v1:0"), "us-east-1", {"output_s3_uri": "s3://bucket/key"})
    answers: list[EffectResult | Exception] = [
        service_error("ThrottlingException", "slow down"),
        None,
        answer(invocationArn="job"),
        answer(status="InProgress"),
        None,
        answer(status="Completed"),
        b'{"stopReason":"end_turn"}',
    ]

    response, effects = driven(Batching().converse(ConverseRequest(), ctx), answers)

    assert response.stop_reason == "end_turn"
    start = Send(HttpRequest("POST", "/async-invoke", body=b"{}"))
    poll = Send(HttpRequest("GET", "/async-invoke/job", query={"verbose": "1"}))
    assert effects == [start, Sleep(2.5), start, poll, Sleep(5.0), poll, ReadObject("s3://bucket/key")]


def test_a_driver_that_answers_with_the_wrong_thing_is_told() -> None:
    """The typed helpers hold the driver to the type of each effect's result."""
    with pytest.raises(TypeError, match="answered Send with bytes"):
        driven(send(HttpRequest("GET", "/")), [b""])
    with pytest.raises(TypeError, match="answered ReadObject with NoneType"):
        driven(read_object("s3://b/k"), [None])


def test_what_travels_between_provider_and_client_is_immutable() -> None:
    """Requests, answers, plans and contexts are frozen values with defaults that say nothing."""
    request = HttpRequest("GET", "/")
    assert (dict(request.query), dict(request.headers), request.body) == ({}, {}, b"")
    assert (request.endpoint, request.signing_name, request.idempotent) == (None, "bedrock", False)
    for thing, name in ((request, "path"), (answer(), "status"), (context(), "region"), (Send(request), "request")):
        with pytest.raises(AttributeError):
            setattr(thing, name, None)
    with pytest.raises(TypeError):
        request.headers["a"] = "b"  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


def test_the_providers_here_keep_the_protocol() -> None:
    """A Provider is what has the name, the version and both verbs."""
    assert isinstance(ConverseProvider(), Provider)
    assert isinstance(Batching(), Provider)
    assert not isinstance(object(), Provider)
