"""The contract of providers, as a test class to inherit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Final

from ..errors import (
    BedrockError,
    InvalidRequestError,
    StreamTruncatedError,
    UnexpectedContentTypeError,
    service_error,
)
from ..events import Event, event_from_wire
from ..families import EventOrder, ModelFamily, find_profile
from ..folding import fold
from ..model_id import parse_model_id
from ..providers import CallContext, EffectResult, Flow, HttpRequest, HttpResponse, Provider, Send, StreamPlan
from ..providers.registry import ProviderRegistry, check_provider
from ..types import ConverseRequest, ConverseResponse
from .expecting import (
    JSON_HEAD,
    REGION,
    STREAM_HEAD,
    CallSample,
    decoded,
    driven,
    equal,
    expect,
    raises,
    wires,
)
from .frames import stream_bytes

__all__ = ["ProviderContract", "ProviderSample"]

# Request members besides the conversation, and what the sent request must contain for them.
_BESIDE: Final[Mapping[str, tuple[Mapping[str, Any], str]]] = MappingProxyType(
    {
        "a guardrail": (
            {"guardrailConfig": {"guardrailIdentifier": "probeguardrail", "guardrailVersion": "1"}},
            "probeguardrail",
        ),
        "a latency": ({"performanceConfig": {"latency": "optimized"}}, "optimized"),
        "a service tier": ({"serviceTier": {"type": "flex"}}, "flex"),
        "metadata": ({"requestMetadata": {"probe-name": "probe-value"}}, "probe-value"),
        "stop sequences": ({"inferenceConfig": {"stopSequences": ["probe-stop"]}}, "probe-stop"),
        "a system prompt": ({"system": [{"text": "probe-system"}]}, "probe-system"),
        "additional fields": ({"additionalModelRequestFields": {"probe_field": "probe-field"}}, "probe-field"),
        "members of the caller's own": ({"probeMember": "probe-member"}, "probe-member"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSample(CallSample):
    """One call through a provider, as driven by the client. Members that are omitted are not compared.

    - ``model``, ``request``: as in `FamilySample`; ``options``: the call's ``provider_options``.
    - ``family``: the model's family, for providers that need one.
    - ``answers``: the results of the effects of `converse`, in order.
    - ``stream_body``, ``stream_headers``: the body and the headers of a streamed response.
    """

    family: ModelFamily | None = None
    answers: Sequence[EffectResult] = ()
    stream_body: bytes | None = None
    stream_headers: Mapping[str, str] = field(default_factory=lambda: STREAM_HEAD)


class ProviderContract:
    """The contract of a `Provider`. Subclass it, provide a provider and samples, and inherit the tests.

    ``samples`` needs at least one with ``answers`` and, unless ``streams`` is False, one with a ``stream_body``.
    """

    samples: ClassVar[Sequence[ProviderSample]] = ()
    streams: ClassVar[bool] = True
    """Whether `stream` returns a plan; otherwise its flow is run and replayed."""

    def provider(self) -> Provider:
        """Return the provider under test."""
        raise NotImplementedError("override provider()")

    # -- the object

    def test_it_keeps_the_protocol(self) -> None:
        """Everything that a registry checks is present, in this version of the interface."""
        provider = self.provider()
        found = check_provider(provider, provider.name, "the test")
        expect(holds=found is provider, otherwise="check_provider returned another one")

    def test_it_is_found_by_its_name(self) -> None:
        """Given to a client under its own name, it is the provider that is used."""
        provider = self.provider()
        expect(holds=bool(provider.name.strip()), otherwise="its name is blank")
        found = ProviderRegistry({provider.name: provider}).get(provider.name)
        expect(holds=found is provider, otherwise=f"the registry returned another {provider.name!r}")

    def test_it_keeps_nothing_between_calls(self) -> None:
        """One object serves all calls: the same call yields the same effects, whatever came before."""
        provider = self.provider()
        for sample in self._given():
            first, second = (driven(self._flow(sample, provider), sample.answers)[1] for _ in range(2))
            equal(second, first, f"the effects of a second call of {sample.model}")

    # -- requests

    def test_the_first_effect_is_a_request(self) -> None:
        """A call begins with a request."""
        for sample in self._given():
            effect = next(self._flow(sample))
            expect(holds=isinstance(effect, Send), otherwise=f"the first effect is {effect}")

    def test_nothing_is_asked_for_before_the_flow_is_driven(self) -> None:
        """converse() itself performs nothing: it returns a generator."""
        for sample in self._given():
            flow = self._flow(sample)
            expect(holds=hasattr(flow, "send") and hasattr(flow, "throw"), otherwise=f"converse() returned {flow!r}")
            flow.close()

    def test_requests_are_of_http(self) -> None:
        """A method, a quoted path that begins with a slash, and a body of bytes."""
        for sample, request in self._requests():
            expect(holds=request.method.isupper(), otherwise=f"the method of {sample.model} is {request.method!r}")
            quoted = request.path.startswith("/") and request.path.isascii() and " " not in request.path
            expect(holds=quoted, otherwise=f"the path of {sample.model} is {request.path!r}")
            expect(holds=type(request.body) is bytes, otherwise=f"the body of {sample.model} is not bytes")

    def test_header_names_are_in_lower_case(self) -> None:
        """Otherwise the client's own headers could be duplicated in another spelling."""
        for sample, request in self._requests():
            wrong = [name for name in request.headers if name != name.lower()]
            equal(wrong, [], f"names of headers of {sample.model}")

    def test_requests_hold_no_credentials(self) -> None:
        """The client signs; a provider never sees a secret."""
        for sample, request in self._requests():
            own = {"authorization", "host", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"}
            equal(own & set(request.headers), set[str](), f"headers of {sample.model} that are the client's")
            expect(holds=bool(request.signing_name), otherwise="the signature has no service")

    def test_requests_are_repeatable(self) -> None:
        """A retry sends the same bytes."""
        first = [request for _, request in self._requests()]
        second = [request for _, request in self._requests()]
        equal(second, first, "the requests of a second time")

    def test_the_request_is_left_alone(self) -> None:
        """A request can be sent repeatedly, and to several models."""
        for sample in self._given():
            request = sample.converse_request()
            before = copy.deepcopy(request.to_dict())
            driven(self.provider().converse(request, self._ctx(sample)), sample.answers)
            equal(request.to_dict(), before, "the request after the call")

    def test_what_cannot_be_sent_is_refused_before_sending(self) -> None:
        """A value that JSON cannot represent is an InvalidRequestError, before any effect."""
        for sample in self._given():
            request = sample.converse_request().model_copy(
                update={"additional_model_request_fields": {"probe": object()}}
            )
            flow = self.provider().converse(request, self._ctx(sample))
            raises(InvalidRequestError, "a request with an object() in it", next, flow)

    def test_what_stands_beside_the_conversation_is_sent_or_refused(self) -> None:
        """Guardrail, latency, tier, metadata, the caller's fields, ...: nothing is dropped silently."""
        for sample in self._given():
            for what, (members, marker) in _BESIDE.items():
                request = ConverseRequest.from_dict({**sample.converse_request().to_dict(), **members})
                try:
                    _, effects = driven(self.provider().converse(request, self._ctx(sample)), sample.answers)
                except InvalidRequestError:
                    continue
                sent = [_told(effect.request) for effect in effects if isinstance(effect, Send)]
                found = any(marker in told for told in sent)
                expect(holds=found, otherwise=f"{what} ({marker!r}) is neither refused nor in {sent}")

    # -- answers

    def test_answers_say_what_the_samples_say(self) -> None:
        """Text, reasoning, tool uses and stop reason."""
        for sample in self._given():
            sample.hold(self._answer(sample), ("text", "reasoning", "tool_uses", "stop_reason"), sample.model)

    def test_answers_have_the_usage_of_the_samples(self) -> None:
        """Tokens in and out."""
        for sample in self._given():
            sample.hold(self._answer(sample), ("input_tokens", "output_tokens"), sample.model)

    def test_answers_are_responses(self) -> None:
        """Of our type, with a message of the assistant."""
        for sample in self._given():
            response = self._answer(sample)
            equal(type(response), ConverseResponse, f"the type of the answer of {sample.model}")
            equal(response.message.role, "assistant", "the role of the answer")

    def test_a_failure_comes_out_of_the_flow(self) -> None:
        """An error thrown in at a request leaves the flow unchanged, or as another error of ours."""
        for sample in self._given():
            failure = service_error("ThrottlingException", "slow down")
            flow = self._flow(sample)
            next(flow)
            try:
                flow.throw(failure)
            except BedrockError:
                continue
            except StopIteration:
                pass
            else:
                flow.close()
                continue  # it may try something else
            raise AssertionError(f"{sample.model} answers although its request failed")

    def test_an_answer_of_another_kind_is_an_error(self) -> None:
        """A gateway's page in place of JSON is an error of ours."""
        page = HttpResponse(200, {"content-type": "text/html"}, b"<html>502</html>")
        self._refuses(page)

    def test_an_empty_answer_is_an_error(self) -> None:
        """An empty body in place of a response is an error of ours."""
        self._refuses(HttpResponse(200, JSON_HEAD, b""))

    def test_a_broken_answer_is_an_error(self) -> None:
        """Truncated JSON, JSON that is not an object and bytes that are not text are errors of ours."""
        for body in (b'{"output', b"[1]", b'"text"', b"\xff\xfe\x00"):
            self._refuses(HttpResponse(200, JSON_HEAD, body))

    # -- streams

    def test_every_plan_has_a_decoder_of_its_own(self) -> None:
        """A second attempt inherits nothing from the first, and sends the same request."""
        for sample in self._streamed():
            first, second = (self._plan(sample) for _ in range(2))
            expect(holds=first.decoder is not second.decoder, otherwise="two plans share a decoder")
            equal(second.request, first.request, "the request of a second plan")

    def test_streams_are_complete_and_in_order(self) -> None:
        """From messageStart to messageStop, and metadata."""
        for sample in self._streamed():
            order = EventOrder(sample.model)
            order.check(self._events(sample))
            expect(holds=order.stopped, otherwise=f"the stream of {sample.model} has no messageStop")

    def test_streams_say_what_the_samples_say(self) -> None:
        """Text, reasoning, tool uses and stop reason."""
        for sample in self._streamed():
            said = fold(self._events(sample))
            sample.hold(said, ("text", "reasoning", "tool_uses", "stop_reason"), f"the stream of {sample.model}")

    def test_streams_have_the_usage_of_the_samples(self) -> None:
        """Tokens in and out."""
        for sample in self._streamed():
            sample.hold(fold(self._events(sample)), ("input_tokens", "output_tokens"), f"the stream of {sample.model}")

    def test_bytes_may_come_one_by_one(self) -> None:
        """How the network splits a stream does not change the events."""
        for sample in self._streamed():
            one_by_one = decoded(self._plan(sample).decoder, sample.stream_body or b"", sample.stream_headers, size=1)
            equal(wires(one_by_one), wires(self._events(sample)), f"the events of {sample.model}")

    def test_streams_do_not_mix(self) -> None:
        """Two streams of one provider, read alternately, each return their own events."""
        for sample in self._streamed():
            decoders = [self._plan(sample).decoder for _ in range(2)]
            got: list[list[Event]] = [[], []]
            for decoder in decoders:
                decoder.start(200, sample.stream_headers)
            body = sample.stream_body or b""
            for start in range(0, len(body), 50):
                for decoder, events in zip(decoders, got, strict=True):
                    events.extend(decoder.receive(body[start : start + 50]))
            for decoder, events in zip(decoders, got, strict=True):
                equal(wires([*events, *decoder.eof()]), wires(self._events(sample)), "one of two streams")

    def test_a_stream_that_breaks_off_is_an_error(self) -> None:
        """Half a body is not a complete answer."""
        for sample in self._streamed():
            body = sample.stream_body or b""
            decoder, half = self._plan(sample).decoder, body[: len(body) // 2]
            _refuses("half a stream", decoded, decoder, half, sample.stream_headers)

    def test_a_stream_without_anything_is_an_error(self) -> None:
        """A body that ends before it begins is a StreamTruncatedError."""
        for sample in self._streamed():
            decoder = self._plan(sample).decoder
            raises(StreamTruncatedError, "an empty stream", decoded, decoder, b"", sample.stream_headers)

    def test_a_head_of_another_kind_is_an_error(self) -> None:
        """A gateway's page in place of a stream is refused at its head."""
        for sample in self._streamed():
            decoder = self._plan(sample).decoder
            head = {"content-type": "text/html"}
            raises(UnexpectedContentTypeError, "a head of text/html", decoder.start, 200, head)

    def test_noise_is_an_error_of_ours(self) -> None:
        """Whatever the bytes are, only errors of ours are raised."""
        for sample in self._streamed():
            for noise in (b"\x00" * 64, b"\xff" * 64, b"data: {\n\n" * 8, stream_bytes([{"chunk": {"bytes": "!"}}])):
                decoder = self._plan(sample).decoder
                _refuses(f"{noise!r}", decoded, decoder, noise, sample.stream_headers)

    def test_events_before_a_fault_are_not_lost(self) -> None:
        """Complete events before a fault are returned first; the next call raises the fault."""
        for sample in self._streamed():
            whole = self._plan(sample).decoder
            whole.start(200, sample.stream_headers)
            before = list(whole.receive(sample.stream_body or b""))
            decoder = self._plan(sample).decoder
            decoder.start(200, sample.stream_headers)
            events = list(decoder.receive((sample.stream_body or b"") + b"\xff" * 64))
            equal(wires(events), wires(before), "the events before the fault")

    def test_events_survive_the_wire(self) -> None:
        """Encoded as Converse's JSON and read again, every event is the same."""
        for sample in self._streamed():
            for event in self._events(sample):
                equal(event_from_wire(event.to_wire()).to_wire(), event.to_wire(), f"a {event.type}")

    # -- inside

    def _given(self) -> Iterator[ProviderSample]:
        fitting = [sample for sample in self.samples if sample.answers]
        expect(holds=bool(fitting), otherwise="a ProviderContract needs a sample with answers")
        yield from fitting

    def _streamed(self) -> Iterator[ProviderSample]:
        if not self.streams:
            return
        fitting = [sample for sample in self.samples if sample.stream_body is not None]
        expect(holds=bool(fitting), otherwise="a ProviderContract needs a sample with a stream_body")
        yield from fitting

    def _ctx(self, sample: ProviderSample) -> CallContext:
        model = parse_model_id(sample.model)
        profile = find_profile(model.base_model)
        return CallContext(model, REGION, dict(sample.options), family=sample.family, profile=profile)

    def _flow(self, sample: ProviderSample, provider: Provider | None = None) -> Flow[ConverseResponse]:
        return (provider or self.provider()).converse(sample.converse_request(), self._ctx(sample))

    def _answer(self, sample: ProviderSample) -> ConverseResponse:
        return driven(self._flow(sample), sample.answers)[0]

    def _requests(self) -> Iterator[tuple[ProviderSample, HttpRequest]]:
        for sample in self._given():
            for effect in driven(self._flow(sample), sample.answers)[1]:
                if isinstance(effect, Send):
                    yield sample, effect.request
        for sample in self._streamed():
            yield sample, self._plan(sample).request

    def _refuses(self, answer: HttpResponse) -> None:
        for sample in self._given():
            flow = self._flow(sample)
            next(flow)
            _refuses(f"the answer {answer.body!r}", flow.send, answer)

    def _plan(self, sample: ProviderSample) -> StreamPlan[Event]:
        plan = self.provider().stream(sample.converse_request(), self._ctx(sample))
        if not isinstance(plan, StreamPlan):
            fault = f"stream() of {sample.model} returned no plan: set streams = False"
            raise AssertionError(fault)  # noqa: TRY004 - it is a test that fails
        return plan

    def _events(self, sample: ProviderSample) -> list[Event]:
        return decoded(self._plan(sample).decoder, sample.stream_body or b"", sample.stream_headers)


def _refuses(what: str, call: Callable[..., object], *arguments: object) -> None:
    """Expect an error about the response; an InvalidRequestError, as from `from_wire`, would blame the request."""
    error = raises(BedrockError, what, call, *arguments)
    expect(
        holds=not isinstance(error, InvalidRequestError),
        otherwise=f"{what}: an InvalidRequestError says that the request is wrong; raise ResponseDecodeError",
    )


def _told(request: HttpRequest) -> str:
    """Return everything in a request as one text."""
    return f"{request.path} {dict(request.query)} {dict(request.headers)} {request.body.decode(errors='replace')}"
