"""The contract of model families, as a test class to inherit."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

from ..errors import BedrockError, InvalidRequestError, StreamTruncatedError
from ..events import Event, event_from_wire
from ..families import (
    FEATURES,
    EventOrder,
    FamilyContext,
    ModelFamily,
    ModelProfile,
    NativeRequest,
    encode_request,
    features_used,
    find_profile,
    native_body,
)
from ..families.profiles import best_match
from ..families.registry import FamilyRegistry, check_family
from ..folding import fold
from ..model_id import parse_model_id
from ..providers import CallContext, HttpResponse, StreamPlan
from ..providers.invoke import InvokeProvider
from ..types import ConverseRequest, ConverseResponse, Message, TextBlock
from .expecting import (
    JSON_HEAD,
    NOTHING,
    QUESTION,
    REGION,
    STRANGE,
    STREAM_HEAD,
    CallSample,
    decoded,
    driven,
    equal,
    expect,
    raises,
    wires,
)
from .frames import chunk_frame
from .probes import PARTS, PROBES

__all__ = ["FamilyContract", "FamilySample"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilySample(CallSample):
    """One native exchange with a model. Members that are omitted are not compared.

    - ``model``: the model's id. ``request``: a Converse request, as an object or in boto3's shape.
    - ``native_request``: the expected native body.
    - ``native_response``: a complete response, with its ``headers``; ``chunks``: a streamed one.
    - ``text``, ``reasoning``, ``tool_uses`` (name and input), ``stop_reason``, ``input_tokens``, ``output_tokens``: the
      expected content of both.
    - ``options``: the call's ``provider_options``.
    """

    native_request: Mapping[str, Any] | None = None
    native_response: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    chunks: Sequence[Mapping[str, Any]] = ()


class FamilyContract:
    """The contract of a `ModelFamily` that chats. Subclass it, provide a family and samples, and inherit the tests.

    ``samples`` needs at least one with a ``native_response`` and, unless ``streams`` is False, one with ``chunks``.
    """

    samples: ClassVar[Sequence[FamilySample]] = ()
    streams: ClassVar[bool] = True
    """Whether the models support streaming."""

    def family(self) -> ModelFamily:
        """Return the family under test."""
        raise NotImplementedError("override family()")

    # -- the object

    def test_it_keeps_the_protocol(self) -> None:
        """Everything that a registry checks is present, in this version of the interface."""
        family = self.family()
        checked = check_family(family, family.name, "the test")
        expect(holds=checked is family, otherwise="check_family returned another one")

    def test_its_name_is_the_vendor_of_its_models(self) -> None:
        """The registry finds it by the first segment of a model id."""
        family = self.family()
        for sample in self._given():
            equal(parse_model_id(sample.model).vendor, family.name, f"the vendor of {sample.model}")

    def test_it_claims_the_models_of_its_samples(self) -> None:
        """Its patterns match their ids, without geography."""
        family = self.family()
        for sample in self._given():
            base_model = parse_model_id(sample.model).base_model or ""
            found = best_match(base_model, family.models)
            expect(holds=found is not None, otherwise=f"no pattern of {tuple(family.models)} fits {base_model}")

    def test_it_claims_no_model_of_anybody_else(self) -> None:
        """Its patterns match no other vendor's ids."""
        found = best_match("vendor-of-tomorrow.model-1-v1:0", self.family().models)
        expect(holds=found is None, otherwise=f"the pattern {found!r} fits any vendor's models")

    def test_it_is_found_by_its_models(self) -> None:
        """Given to a client, it is the family of its models, in any geography."""
        family = self.family()
        registry = FamilyRegistry({family.name: family})
        for sample in self._given():
            base_model = parse_model_id(sample.model).base_model
            for model in (sample.model, f"us.{base_model}"):
                found = registry.resolve(parse_model_id(model))
                expect(holds=found is family, otherwise=f"{model} has another family")

    def test_its_facts_have_a_source(self) -> None:
        """The source of every fact in a profile can be looked up."""
        profiles: Mapping[str, ModelProfile] = getattr(self.family(), "profiles", {})
        for pattern, profile in profiles.items():
            expect(holds=bool(profile.source.strip()), otherwise=f"the profile {pattern!r} gives no source")
            fits = best_match(pattern.replace("*", "x"), self.family().models)
            expect(holds=fits is not None, otherwise=f"the profile {pattern!r} fits none of its models")

    # -- what it supports

    def test_it_supports_known_features_only(self) -> None:
        """A misspelt feature would silently refuse what was meant."""
        for sample in self._given():
            unknown = set(self.family().supports(self._ctx(sample))) - set(FEATURES)
            equal(unknown, set[str](), f"unknown features for {sample.model}")

    def test_it_supports_the_same_for_every_call(self) -> None:
        """What it can express depends only on the model and the call's options."""
        for sample in self._given():
            first, second = (set(self.family().supports(self._ctx(sample))) for _ in range(2))
            equal(first, second, f"the features of {sample.model}")

    def test_its_samples_use_what_it_supports(self) -> None:
        """Otherwise the provider would refuse them."""
        for sample in self._given():
            used = set(features_used(sample.converse_request()))
            equal(used - set(self.family().supports(self._ctx(sample))), set[str](), f"unsupported in {sample.model}")

    def test_what_it_does_not_support_is_refused(self) -> None:
        """The error names the family, the place, and a provider that can express it; nothing is dropped silently."""
        for sample, feature, request, _ in self._probes(supported=False):
            error = raises(InvalidRequestError, f"{feature} of {sample.model}", self._encode, request, sample)
            said = str(error)
            for part in (self.family().name, "converse"):
                expect(holds=part in said, otherwise=f"the refusal of {feature} does not say {part!r}: {said}")
            expect(holds=bool(error.path), otherwise=f"the refusal of {feature} has no path")

    def test_what_it_supports_can_be_encoded(self) -> None:
        """Every feature that it claims becomes a body that can be encoded as JSON."""
        for sample, _, request, _ in self._probes(supported=True):
            native_body(self.family(), self._encode(request, sample))

    def test_what_it_supports_reaches_the_body(self) -> None:
        """A feature that it claims is in the body, not dropped."""
        plain = {sample.model: self._text(ConverseRequest.from_dict(QUESTION), sample) for sample in self._given()}
        for sample, feature, request, marker in self._probes(supported=True):
            body = self._text(request, sample)
            found = marker in body if marker is not None else len(body) > len(plain[sample.model])
            expect(holds=found, otherwise=f"{feature} ({marker!r}) is not in the body for {sample.model}: {body}")

    def test_parts_of_what_it_supports_are_sent_or_refused(self) -> None:
        """The name and context of a document, the descriptions of a tool and a schema: none is dropped silently."""
        for sample in self._given():
            features = set(self.family().supports(self._ctx(sample)))
            for what, (wire, marker) in PARTS.items():
                request = ConverseRequest.from_dict(wire)
                if not set(features_used(request)) <= features:
                    continue
                try:
                    body = self._text(request, sample)
                except InvalidRequestError:
                    continue
                expect(
                    holds=marker in body, otherwise=f"{what} ({marker!r}) is not in the body for {sample.model}: {body}"
                )

    # -- encoding

    def test_a_question_becomes_a_body(self) -> None:
        """The text of the question is in the body."""
        for sample in self._given():
            body = self._text(ConverseRequest.from_dict(QUESTION), sample)
            expect(holds="A plain question?" in body, otherwise=f"the question is not in {body}")

    def test_every_turn_reaches_the_body_in_order(self) -> None:
        """A conversation is not reduced to its last message."""
        turns = ("first-turn", "second-turn", "third-turn")
        messages = [
            Message(role="assistant" if index % 2 else "user", content=[TextBlock(text=text)])
            for index, text in enumerate(turns)
        ]
        for sample in self._given():
            body = self._text(ConverseRequest(messages=messages), sample)
            places = [body.find(turn) for turn in turns]
            expect(holds=-1 not in places and places == sorted(places), otherwise=f"turns at {places} in {body}")

    def test_any_text_reaches_the_body(self) -> None:
        """Quotes, line breaks, characters beyond the BMP and lone surrogates are kept."""
        text = '"quoted"\n\tÄ\U0001f600 \x00'
        request = ConverseRequest(messages=[Message(role="user", content=[TextBlock(text=text)])])
        for sample in self._given():
            body = native_body(self.family(), self._encode(request, sample))
            found = any(text in value for value in _strings(json.loads(body)))
            expect(holds=found, otherwise=f"the text is not in {body!r}")
        lone = ConverseRequest(messages=[Message(role="user", content=[TextBlock(text="a\ud83d")])])
        for sample in self._given():
            json.loads(native_body(self.family(), self._encode(lone, sample)))

    def test_fields_of_the_caller_are_merged_over_the_body(self) -> None:
        """additional_model_request_fields reach the model, beside what the family writes."""
        fields: Any = {"probe_field": {"inner": [1, "two"]}}
        for sample in self._given():
            plain = self._encode(ConverseRequest.from_dict(QUESTION), sample).body
            request = ConverseRequest.from_dict({**QUESTION, "additionalModelRequestFields": fields})
            equal(dict(self._encode(request, sample).body), {**plain, **fields}, f"the body for {sample.model}")

    def test_encoding_leaves_the_request_alone(self) -> None:
        """A request can be sent repeatedly, and to several models."""
        for sample in self._given():
            request = sample.converse_request()
            before = copy.deepcopy(request.to_dict())
            self._encode(request, sample)
            equal(request.to_dict(), before, "the request after encoding")

    def test_encoding_is_repeatable(self) -> None:
        """A retry sends the same bytes."""
        for sample in self._given():
            first, second = (self._text(sample.converse_request(), sample) for _ in range(2))
            equal(first, second, f"the body for {sample.model}")

    def test_requests_become_the_native_ones_of_the_samples(self) -> None:
        """Member by member."""
        for sample in self._given():
            if sample.native_request is not None:
                body = json.loads(self._text(sample.converse_request(), sample))
                equal(body, json.loads(json.dumps(sample.native_request)), f"the body for {sample.model}")

    # -- decoding

    def test_answers_have_the_text_of_the_samples(self) -> None:
        """Text and reasoning, separately."""
        for sample, response in self._answers():
            sample.hold(response, ("text", "reasoning"), sample.model)

    def test_answers_have_the_tool_uses_of_the_samples(self) -> None:
        """Names, and inputs as objects."""
        for sample, response in self._answers():
            sample.hold(response, ("tool_uses",), sample.model)

    def test_answers_have_the_stop_reason_of_the_samples(self) -> None:
        """In Converse's words."""
        for sample, response in self._answers():
            sample.hold(response, ("stop_reason",), sample.model)
            expect(holds=bool(response.stop_reason), otherwise=f"the answer of {sample.model} has no stop reason")

    def test_answers_have_the_usage_of_the_samples(self) -> None:
        """From the body, or else from the headers; the total is the sum."""
        for sample, response in self._answers():
            sample.hold(response, ("input_tokens", "output_tokens"), sample.model)
            usage = response.usage
            cached = (usage.cache_read_input_tokens or 0) + (usage.cache_write_input_tokens or 0)
            equal(usage.total_tokens, usage.input_tokens + usage.output_tokens + cached, "the total of the tokens")

    def test_usage_comes_from_the_headers_where_the_body_has_none(self) -> None:
        """The service counts for every model; a family need not."""
        headers = {
            "x-amzn-bedrock-input-token-count": "7",
            "x-amzn-bedrock-output-token-count": "5",
            "x-amzn-bedrock-invocation-latency": "321",
        }
        for sample in self._given(whole=True):
            response = self._answer(sample, sample.native_response, headers)
            expect(holds=response.usage.input_tokens > 0, otherwise="no input tokens are counted")
            expect(holds=response.usage.output_tokens > 0, otherwise="no output tokens are counted")
            equal(response.metrics.latency_ms, 321, "the latency")

    def test_answers_are_turns_of_the_assistant(self) -> None:
        """They can be appended to the history."""
        for _, response in self._answers():
            equal(response.message.role, "assistant", "the role of the answer")

    def test_answers_can_be_sent_back(self) -> None:
        """The next turn of a conversation contains the previous answer."""
        for sample, response in self._answers():
            request = sample.converse_request()
            results = [
                {"toolResult": {"toolUseId": use.tool_use_id, "content": [{"text": "done"}]}}
                for use in response.tool_uses
            ]
            following = Message.from_dict({"role": "user", "content": results or [{"text": "Go on."}]})
            history = [*(request.messages or ()), response.message, following]
            self._text(request.model_copy(update={"messages": history}), sample)

    def test_a_guardrail_that_intervened_is_told(self) -> None:
        """The service's decision is reported as the stop reason, as in Converse, with the trace typed."""
        trace: dict[str, Any] = {
            "guardrail": {"input": {"probe": {}}, "outputs": [{"probe": {}}], "modelOutput": ["probe"]}
        }
        verdict: dict[str, Any] = {"amazon-bedrock-guardrailAction": "INTERVENED", "amazon-bedrock-trace": trace}
        for sample in self._given(whole=True):
            response = self._answer(sample, {**(sample.native_response or {}), **verdict})
            equal(response.stop_reason, "guardrail_intervened", "the stop reason")
            found = response.trace.guardrail if response.trace is not None else None
            expect(holds=found is not None and bool(found.output_assessments), otherwise="the trace is not there")

    def test_decoding_leaves_the_body_alone(self) -> None:
        """The received body can be inspected afterwards."""
        for sample in self._given(whole=True):
            body = copy.deepcopy(dict(sample.native_response or {}))
            self.family().decode(body, {}, self._ctx(sample))
            equal(body, dict(sample.native_response or {}), "the body after decoding")

    def test_members_of_tomorrow_do_no_harm(self) -> None:
        """An unknown member changes nothing."""
        for sample, response in self._answers():
            body = {**(sample.native_response or {}), "member_of_tomorrow": {"a": [1]}}
            more = self._answer(sample, body, sample.headers)
            equal(more.to_wire(), response.to_wire(), f"the answer of {sample.model}")

    def test_an_answer_of_another_family_is_an_error(self) -> None:
        """It names the family that could not read it, and is one of our errors: no KeyError escapes."""
        for sample in self._given(whole=True):
            for body in (STRANGE, NOTHING):
                error = raises(BedrockError, f"the answer {body!r}", self._answer, sample, body)
                said = str(error)
                expect(holds=self.family().name in said, otherwise=f"the error does not name the family: {said}")

    def test_an_answer_that_is_no_object_is_an_error(self) -> None:
        """Broken JSON, a list and an empty body are errors of ours."""
        for sample in self._given(whole=True):
            for raw in (b"", b"{", b"[]", b"null", b"\xff\xfe"):
                raises(BedrockError, f"the answer {raw!r}", self._answer_of, sample, raw, NOTHING)

    # -- streaming

    def test_streams_are_complete_and_in_order(self) -> None:
        """From messageStart to metadata, as a Converse stream."""
        for sample, events in self._streams():
            order = EventOrder(self.family().name)
            order.check(events)
            expect(holds=order.stopped, otherwise=f"the stream of {sample.model} has no messageStop")
            kinds = (events[0].type, events[-2].type, events[-1].type)
            equal(kinds, ("message_start", "message_stop", "metadata"), f"the frame of the stream of {sample.model}")

    def test_streams_have_the_text_of_the_samples(self) -> None:
        """Text and reasoning, separately."""
        for sample, events in self._streams():
            sample.hold(fold(events), ("text", "reasoning"), f"the stream of {sample.model}")

    def test_streams_have_the_tool_uses_of_the_samples(self) -> None:
        """Names, and inputs whose pieces join to the same objects."""
        for sample, events in self._streams():
            sample.hold(fold(events), ("tool_uses",), f"the stream of {sample.model}")

    def test_streams_have_the_stop_reason_of_the_samples(self) -> None:
        """In Converse's words."""
        for sample, events in self._streams():
            sample.hold(fold(events), ("stop_reason",), f"the stream of {sample.model}")

    def test_streams_have_the_usage_of_the_samples(self) -> None:
        """From the chunks, or else from the service's metrics."""
        for sample, events in self._streams():
            sample.hold(fold(events), ("input_tokens", "output_tokens"), f"the stream of {sample.model}")

    def test_text_is_streamed_as_it_comes(self) -> None:
        """The first text is returned before the stream has ended."""
        for sample in self._given(streamed=True):
            if not sample.text:
                continue
            decoder = self._plan(sample).decoder
            decoder.start(200, STREAM_HEAD)
            received = [event for chunk in sample.chunks for event in decoder.receive(chunk_frame(dict(chunk)))]
            text = "".join(event.text or "" for event in received)
            expect(holds=bool(text), otherwise=f"{sample.model} gives no text before the end")

    def test_bytes_may_come_one_by_one(self) -> None:
        """How the network splits a stream does not change the events."""
        for sample, events in self._streams():
            body = _frames(sample)
            equal(wires(decoded(self._plan(sample).decoder, body, STREAM_HEAD, size=1)), wires(events), sample.model)

    def test_streams_do_not_mix(self) -> None:
        """Every stream has its own decoder, with no shared state."""
        for sample, events in self._streams():
            plans = [self._plan(sample).decoder for _ in range(2)]
            received: list[list[Event]] = [[], []]
            for plan in plans:
                plan.start(200, STREAM_HEAD)
            for chunk in sample.chunks:
                for plan, got in zip(plans, received, strict=True):
                    got.extend(plan.receive(chunk_frame(dict(chunk))))
            for plan, got in zip(plans, received, strict=True):
                equal(wires([*got, *plan.eof()]), wires(events), f"one of two streams of {sample.model}")

    def test_a_stream_that_breaks_off_is_an_error(self) -> None:
        """Without its last chunk an answer is incomplete, and never reported as complete."""
        for sample in self._given(streamed=True):
            decoder = self._plan(sample).decoder
            body = chunk_frame(dict(sample.chunks[0]))
            if len(sample.chunks) > 1:
                what = f"one of {len(sample.chunks)} chunks of {sample.model}"
                raises(StreamTruncatedError, what, decoded, decoder, body, STREAM_HEAD)

    def test_a_chunk_of_another_family_is_an_error(self) -> None:
        """An error of ours names the family, or the stream is incomplete: the chunk never counts as an answer."""
        for sample in self._given(streamed=True):
            decoder = self._plan(sample).decoder
            raises(BedrockError, "a strange chunk", decoded, decoder, chunk_frame(STRANGE), STREAM_HEAD)

    def test_metrics_of_the_service_fill_in(self) -> None:
        """A last chunk with only the service's metrics is not passed to the family."""
        metrics: Any = {"inputTokenCount": 7, "outputTokenCount": 5, "invocationLatency": 321, "firstByteLatency": 12}
        for sample in self._given(streamed=True):
            body = _frames(sample) + chunk_frame({"amazon-bedrock-invocationMetrics": metrics})
            response = fold(decoded(self._plan(sample).decoder, body, STREAM_HEAD))
            expect(holds=response.usage.input_tokens > 0, otherwise="no input tokens are counted")
            expect(holds=response.usage.output_tokens > 0, otherwise="no output tokens are counted")
            equal(response.metrics.latency_ms, 321, "the latency")

    def test_events_survive_the_wire(self) -> None:
        """Encoded as Converse's JSON and read again, every event is the same."""
        for _, events in self._streams():
            for event in events:
                equal(event_from_wire(event.to_wire()).to_wire(), event.to_wire(), f"a {event.type}")

    def test_both_ways_give_the_same_answer(self) -> None:
        """If a sample has both, the stream folds into the same response, except for ids and counts."""
        for sample, events in self._streams():
            if sample.native_response is not None:
                whole = self._answer(sample, sample.native_response)
                equal(_said(fold(events)), _said(whole), f"the two answers of {sample.model}")

    # -- inside

    def _given(self, *, whole: bool = False, streamed: bool = False) -> Iterator[FamilySample]:
        expect(holds=bool(self.samples), otherwise="a FamilyContract needs samples")
        if streamed and not self.streams:
            return
        fitting = [
            sample
            for sample in self.samples
            if not (whole and sample.native_response is None) and not (streamed and not sample.chunks)
        ]
        what = "chunks" if streamed else "a native_response"
        expect(holds=bool(fitting), otherwise=f"a FamilyContract needs a sample with {what}")
        yield from fitting

    def _ctx(self, sample: FamilySample, *, streaming: bool = False) -> FamilyContext:
        model = parse_model_id(sample.model)
        return FamilyContext(model, self._profile(sample), REGION, sample.options, streaming)

    def _profile(self, sample: FamilySample) -> ModelProfile:
        own: Mapping[str, ModelProfile] = getattr(self.family(), "profiles", {})
        return find_profile(parse_model_id(sample.model).base_model, also=[own] if own else ())

    def _call(self, sample: FamilySample) -> CallContext:
        model = parse_model_id(sample.model)
        return CallContext(model, REGION, dict(sample.options), family=self.family(), profile=self._profile(sample))

    def _encode(self, request: ConverseRequest, sample: FamilySample) -> NativeRequest:
        return encode_request(self.family(), request, self._ctx(sample))

    def _text(self, request: ConverseRequest, sample: FamilySample) -> str:
        return json.dumps(json.loads(native_body(self.family(), self._encode(request, sample))), ensure_ascii=False)

    def _probes(self, *, supported: bool) -> Iterator[tuple[FamilySample, str, ConverseRequest, str | None]]:
        for sample in self._given():
            features = set(self.family().supports(self._ctx(sample)))
            for feature in sorted(FEATURES):
                wire, marker = PROBES[feature]
                request = ConverseRequest.from_dict(wire)
                # A probe may need more than its own feature: a forced tool choice needs tools.
                used = set(features_used(request))
                if used <= features if supported else feature not in features and used - {feature} <= features:
                    yield sample, feature, request, marker

    def _answers(self) -> Iterator[tuple[FamilySample, ConverseResponse]]:
        for sample in self._given(whole=True):
            yield sample, self._answer(sample, sample.native_response, sample.headers)

    def _answer(
        self, sample: FamilySample, body: Mapping[str, Any] | None, headers: Mapping[str, str] = NOTHING
    ) -> ConverseResponse:
        return self._answer_of(sample, json.dumps(dict(body or {})).encode(), headers)

    def _answer_of(self, sample: FamilySample, body: bytes, headers: Mapping[str, str]) -> ConverseResponse:
        lower = {name.lower(): value for name, value in headers.items()}
        answer = HttpResponse(200, {**lower, **JSON_HEAD}, body)
        request = ConverseRequest.from_dict(QUESTION)
        response, _ = driven(InvokeProvider().converse(request, self._call(sample)), [answer])
        return response

    def _plan(self, sample: FamilySample) -> StreamPlan[Event]:
        plan = InvokeProvider().stream(ConverseRequest.from_dict(QUESTION), self._call(sample))
        if not isinstance(plan, StreamPlan):
            fault = f"the profile of {sample.model} says that it does not stream: set streams = False"
            raise AssertionError(fault)  # noqa: TRY004 - it is a test that fails
        return plan

    def _streams(self) -> Iterator[tuple[FamilySample, list[Event]]]:
        for sample in self._given(streamed=True):
            yield sample, decoded(self._plan(sample).decoder, _frames(sample), STREAM_HEAD)


def _frames(sample: FamilySample) -> bytes:
    return b"".join(chunk_frame(dict(chunk)) for chunk in sample.chunks)


def _said(response: ConverseResponse) -> object:
    uses = [(use.name, use.input) for use in response.tool_uses]
    return response.text, response.reasoning, uses, response.stop_reason


def _strings(value: object) -> Iterator[str]:
    """Yield every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in cast("dict[str, object]", value).values():
            yield from _strings(member)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _strings(item)
