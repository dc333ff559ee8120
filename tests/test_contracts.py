"""The public contracts find what is wrong: each of these broken families and providers fails the test it should."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

import pytest
from acme import Acme, giving, read

from bedrock_async import ConverseRequest, ConverseResponse, DocumentBlock, Event
from bedrock_async.events import ContentBlockStopEvent, ConverseEventDecoder
from bedrock_async.families import (
    Embeddings,
    EmbedRequest,
    EventBuilder,
    FamilyContext,
    GeneratedImage,
    GeneratedVideo,
    ImageRequest,
    ModelFamily,
    ModelProfile,
    NativeObject,
    NativeRequest,
    RankedDocument,
    RerankRequest,
    VideoRequest,
)
from bedrock_async.providers import CallContext, Flow, HttpRequest, HttpResponse, Provider, StreamPlan, send
from bedrock_async.providers.converse import ConverseProvider
from bedrock_async.testing import (
    FamilyContract,
    FamilySample,
    ProviderContract,
    ProviderSample,
    TaskContract,
    TaskSample,
    stream_bytes,
)

SAMPLE: Final = FamilySample(
    model="acme.chat-1",
    request={"messages": [{"role": "user", "content": [{"text": "Hi?"}]}], "inferenceConfig": {"maxTokens": 9}},
    native_request={"prompt": "Hi?", "stream": False, "sampling": {"limit": 9}},
    native_response={"text": "Hello.", "finish": "stop", "tokens": [1, 2]},
    chunks=({"text": "Hel"}, {"text": "lo.", "finish": "stop", "tokens": [1, 2]}),
    text="Hello.",
    tool_uses=(),
    stop_reason="end_turn",
    input_tokens=1,
    output_tokens=2,
)


def contract(family: object, *samples: FamilySample) -> FamilyContract:
    """The contract of a family, with these samples."""

    class Contract(FamilyContract):
        def family(self) -> Any:  # noqa: ANN401 - some are no families
            return family

    Contract.samples = samples or (SAMPLE,)
    return Contract()


def failures(held: FamilyContract | ProviderContract | TaskContract) -> set[str]:
    """The names of the tests that fail."""
    failed: set[str] = set()
    for name in dir(held):
        if name.startswith("test_"):
            try:
                getattr(held, name)()
            except Exception:  # noqa: BLE001 - whatever it is, the test fails
                failed.add(name.removeprefix("test_"))
    return failed


def test_a_family_that_keeps_its_promises_passes() -> None:
    """All of the tests, of which there are some forty."""
    held = contract(Acme())
    assert failures(held) == set()
    assert sum(name.startswith("test_") for name in dir(held)) >= 40


class Stateful(Acme):
    """Counts its calls, and shares one decoder among all streams."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.shared = super().stream_decoder(None)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Another body every time."""
        self.calls += 1
        return NativeRequest({**super().encode(request, ctx).body, "call": self.calls})

    def stream_decoder(self, ctx: FamilyContext) -> Any:  # noqa: ANN401 - as the parent
        """The same one again."""
        return self.shared


class Buffering(Acme):
    """Gives everything at the end of a stream."""

    def stream_decoder(self, ctx: FamilyContext) -> Any:  # noqa: ANN401 - as the parent
        """One that holds all back."""

        class Decoder:
            def __init__(self) -> None:
                self.events = EventBuilder()

            def receive(self, chunk: NativeObject) -> list[Event]:
                read(chunk, self.events)
                return []

            def eof(self) -> list[Event]:
                return self.events.finish()

        return Decoder()


class Careless(Acme):
    """Takes whatever comes for an answer."""

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Never fails."""
        return ConverseResponse.from_wire({"output": {"message": {"role": "assistant", "content": []}}})

    def stream_decoder(self, ctx: FamilyContext) -> Any:  # noqa: ANN401 - as the parent
        """Never fails either."""

        class Decoder:
            def receive(self, chunk: NativeObject) -> list[Event]:
                return []

            def eof(self) -> list[Event]:
                events = EventBuilder()
                events.stop("end_turn")
                return events.finish()

        return Decoder()


class Disorderly(Acme):
    """Ends a block that was never begun, before the message."""

    def stream_decoder(self, ctx: FamilyContext) -> Any:  # noqa: ANN401 - as the parent
        """Events in no order."""
        whole = super().stream_decoder(ctx)

        class Decoder:
            def receive(self, chunk: NativeObject) -> list[Event]:
                return [ContentBlockStopEvent(content_block_index=0), *whole.receive(chunk)]

            def eof(self) -> list[Event]:
                last: list[Event] = whole.eof()
                return last

        return Decoder()


def _changing(request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
    object.__setattr__(request, "messages", [])
    return NativeRequest({"prompt": "A plain question?"})


def _last_turn(request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
    limit = request.inference_config.max_tokens if request.inference_config else None
    return NativeRequest({"prompt": (request.messages or [])[-1].text, "limit": limit})


def _last_document(request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
    blocks = [block for message in request.messages or () for block in message.content]
    documents = [{"title": block.name} for block in blocks if isinstance(block, DocumentBlock)]
    return NativeRequest({**_last_turn(request, ctx).body, "documents": documents})


def _emptying(body: Any, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:  # noqa: ANN401
    response = Acme().decode(body, headers, ctx)
    body.clear()
    return response


def _member(name: str, value: object) -> Callable[[], object]:
    kind: type[Acme] = type("Odd", (Acme,), {name: value})
    return kind


FAMILIES: Final[dict[str, tuple[Callable[[], object], set[str]]]] = {
    "no family": (object, {"it_keeps_the_protocol", "a_question_becomes_a_body"}),
    "another version": (_member("interface_version", 99), {"it_keeps_the_protocol", "it_is_found_by_its_models"}),
    "another name": (_member("name", "zebra"), {"its_name_is_the_vendor_of_its_models"}),
    "narrow patterns": (_member("models", ("acme.write-*",)), {"it_claims_the_models_of_its_samples"}),
    "wide patterns": (_member("models", ("*",)), {"it_claims_no_model_of_anybody_else"}),
    "facts without a source": (
        _member("profiles", {"acme.*": ModelProfile(source=" ")}),
        {"its_facts_have_a_source"},
    ),
    "misspelt feature": (lambda: Acme(supports=giving({"max_token"})), {"it_supports_known_features_only"}),
    "refuses its own samples": (lambda: Acme(supports=giving(())), {"its_samples_use_what_it_supports"}),
    "drops what it claims": (
        lambda: Acme(supports=giving({"max_tokens", "top_p", "system"})),
        {"what_it_supports_reaches_the_body"},
    ),
    "drops the context of documents": (
        lambda: Acme(supports=giving({"max_tokens", "documents"}), encode=_last_document),
        {"parts_of_what_it_supports_are_sent_or_refused"},
    ),
    "drops the history": (
        lambda: Acme(encode=_last_turn),
        {"every_turn_reaches_the_body_in_order", "requests_become_the_native_ones_of_the_samples"},
    ),
    "changes the request": (lambda: Acme(encode=_changing), {"encoding_leaves_the_request_alone"}),
    "changes the body": (lambda: Acme(decode=_emptying), {"decoding_leaves_the_body_alone"}),
    "keeps state": (Stateful, {"encoding_is_repeatable", "streams_do_not_mix"}),
    "buffers": (Buffering, {"text_is_streamed_as_it_comes"}),
    "takes anything": (
        Careless,
        {
            "an_answer_of_another_family_is_an_error",
            "answers_have_the_text_of_the_samples",
            "answers_have_the_stop_reason_of_the_samples",
            "a_chunk_of_another_family_is_an_error",
            "a_stream_that_breaks_off_is_an_error",
            "streams_have_the_text_of_the_samples",
        },
    ),
    "out of order": (Disorderly, {"streams_are_complete_and_in_order", "events_survive_the_wire"}),
}


@pytest.mark.parametrize(("family", "fails"), FAMILIES.values(), ids=FAMILIES)
def test_a_family_that_breaks_a_promise_fails(family: Callable[[], object], fails: set[str]) -> None:
    """At least the tests that are about what is broken."""
    assert failures(contract(family())) >= fails


UNEXPECTED: Final[list[tuple[str, Any, set[str]]]] = [
    ("text", "Goodbye.", {"answers_have_the_text_of_the_samples", "streams_have_the_text_of_the_samples"}),
    ("reasoning", "Hm.", {"answers_have_the_text_of_the_samples"}),
    ("tool_uses", [("add", {})], {"answers_have_the_tool_uses_of_the_samples"}),
    ("stop_reason", "max_tokens", {"streams_have_the_stop_reason_of_the_samples"}),
    ("input_tokens", 9, {"answers_have_the_usage_of_the_samples", "streams_have_the_usage_of_the_samples"}),
]


@pytest.mark.parametrize(("member", "wrong", "fails"), UNEXPECTED)
def test_what_a_sample_expects_is_compared(member: str, wrong: Any, fails: set[str]) -> None:  # noqa: ANN401 - any
    """With the whole answer and with the stream."""
    assert failures(contract(Acme(), replace(SAMPLE, **{member: wrong}))) >= fails


def test_a_contract_without_samples_fails() -> None:
    """It would promise nothing."""

    class Empty(FamilyContract):
        def family(self) -> ModelFamily:
            return Acme()

    assert len(failures(Empty())) > 30

    class Whole(Empty):
        samples = (FamilySample(model="acme.chat-1", native_response={"text": "Hi.", "finish": "stop"}),)

    assert "streams_are_complete_and_in_order" in failures(Whole())

    class Still(Whole):
        streams: ClassVar[bool] = False

    assert failures(Still()) == set()


# -- tasks


class Embedder(Acme):
    """Embeds, ranks and draws, and makes video."""

    profiles: ClassVar[Mapping[str, ModelProfile]] = {
        "acme.embed-*": ModelProfile(source="test", output_modalities=frozenset({"embedding"}))
    }

    def encode_embed(self, request: EmbedRequest, ctx: FamilyContext) -> NativeRequest:
        """The inputs."""
        return NativeRequest({"inputs": list(request.inputs), **request.fields})

    def decode_embed(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> Embeddings:
        """The vectors, and the count of the headers."""
        return Embeddings(body["vectors"], int(headers.get("x-tokens", "0")))

    def encode_rerank(self, request: RerankRequest, ctx: FamilyContext) -> NativeRequest:
        """Query and documents."""
        return NativeRequest({"query": request.query, "documents": list(request.documents), **request.fields})

    def decode_rerank(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> list[RankedDocument]:
        """The scores, the best first."""
        return [RankedDocument(each["index"], each["score"]) for each in body["ranked"]]

    def encode_image(self, request: ImageRequest, ctx: FamilyContext) -> NativeRequest:
        """The prompt."""
        return NativeRequest({"prompt": request.prompt, **request.fields})

    def decode_image(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> list[GeneratedImage]:
        """The images."""
        return [GeneratedImage(image.encode(), "png") for image in body["images"]]

    def encode_video(self, request: VideoRequest, ctx: FamilyContext) -> NativeObject:
        """The prompt."""
        return {"prompt": request.prompt, **request.fields}

    def video_object(self, ctx: FamilyContext) -> str:
        """One name for all."""
        return "output.mp4"

    def decode_video(self, name: str, data: bytes, ctx: FamilyContext) -> GeneratedVideo:
        """As it is."""
        return GeneratedVideo(name, data, "mp4")


TASKS: Final = (
    TaskSample(
        model="us.acme.embed-1",
        request=EmbedRequest(inputs=["a", "b"]),
        native_request={"inputs": ["a", "b"]},
        native_response={"vectors": [[1.0], [2.0]]},
        headers={"X-Tokens": "5"},
        result=Embeddings([[1.0], [2.0]], 5),
    ),
    TaskSample(
        model="acme.rank-1",
        request=RerankRequest(query="q", documents=["a"]),
        native_response={"ranked": [{"index": 0, "score": 0.5}]},
        result=[RankedDocument(0, 0.5)],
    ),
    TaskSample(
        model="acme.draw-1",
        request=ImageRequest(prompt="p"),
        native_response={"images": ["i"]},
        result=[GeneratedImage(b"i", "png")],
    ),
    TaskSample(
        model="acme.film-1",
        request=VideoRequest(prompt="p"),
        native_request={"prompt": "p"},
        output=("output.mp4", b"v"),
        result=GeneratedVideo("output.mp4", b"v", "mp4"),
    ),
)


def task_contract(family: object, *samples: TaskSample) -> TaskContract:
    """The contract of a family's tasks."""

    class Contract(TaskContract):
        def family(self) -> Any:  # noqa: ANN401 - some are no families
            return family

    Contract.samples = samples
    return Contract()


def test_tasks_that_keep_their_promises_pass() -> None:
    """All kinds of them."""
    assert failures(task_contract(Embedder(), *TASKS)) == set()


def _without_fields(request: EmbedRequest, ctx: FamilyContext) -> NativeRequest:
    return NativeRequest({"inputs": list(request.inputs)})


TASK_FAULTS: Final[dict[str, tuple[object, set[str]]]] = {
    "no tasks": (Acme(), {"it_has_the_methods_of_its_tasks", "answers_are_the_results_of_the_samples"}),
    "no family": (object(), {"it_keeps_the_protocol", "it_claims_the_models_of_its_samples"}),
    "drops fields": (Embedder(encode_embed=_without_fields), {"fields_of_the_caller_reach_the_body"}),
    "another body": (
        Embedder(encode_embed=giving(NativeRequest({"inputs": []}))),
        {"requests_become_the_native_ones_of_the_samples"},
    ),
    "takes anything": (
        Embedder(decode_embed=giving(Embeddings([]))),
        {"an_answer_of_another_family_is_an_error", "answers_are_the_results_of_the_samples"},
    ),
}


@pytest.mark.parametrize(("family", "fails"), TASK_FAULTS.values(), ids=TASK_FAULTS)
def test_a_task_that_breaks_a_promise_fails(family: object, fails: set[str]) -> None:
    """At least the tests that are about what is broken."""
    assert failures(task_contract(family, *TASKS)) >= fails


def test_a_task_contract_without_samples_fails() -> None:
    """It would promise nothing."""
    assert len(failures(task_contract(Embedder()))) > 5


# -- providers

ANSWER: Final = HttpResponse(
    200,
    {"content-type": "application/json"},
    b'{"output":{"message":{"role":"assistant","content":[{"text":"Hi."}]}},"stopReason":"end_turn"}',
)
STREAM: Final = stream_bytes(
    [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hi."}}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {}},
    ]
)


class Plain(ConverseProvider):
    """A provider that tests break."""

    def __init__(self, headers: Mapping[str, str] | None = None, decoder: ConverseEventDecoder | None = None) -> None:
        self.headers = headers or {}
        self.decoder = decoder

    def converse(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
        """With headers of its own."""
        plan = super().stream(request, ctx)
        sent = HttpRequest("POST", "/converse", headers=self.headers, body=plan.request.body)
        response = yield from send(sent)
        return ConverseResponse.from_wire(response.body or b"{}")

    def stream(self, request: ConverseRequest, ctx: CallContext) -> StreamPlan[Event]:
        """With a decoder of its own."""
        plan = super().stream(request, ctx)
        return StreamPlan(plan.request, self.decoder or plan.decoder)


class Forgetful(ConverseProvider):
    """A provider that sends no guardrail, and does not say so."""

    def converse(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
        """Without the guardrail."""
        return super().converse(request.model_copy(update={"guardrail_config": None}), ctx)


def provider_contract(provider: Provider) -> ProviderContract:
    """The contract of a provider."""

    class Contract(ProviderContract):
        samples = (
            ProviderSample(
                model="acme.chat-1", answers=(ANSWER,), stream_body=STREAM, text="Hi.", stop_reason="end_turn"
            ),
        )

        def provider(self) -> Provider:
            return provider

    return Contract()


def test_a_provider_that_keeps_its_promises_passes() -> None:
    """All of the tests."""
    assert failures(provider_contract(ConverseProvider())) == set()


PROVIDERS: Final[dict[str, tuple[Provider, set[str]]]] = {
    "capital letters": (Plain({"Content-Type": "a"}), {"header_names_are_in_lower_case"}),
    "credentials": (Plain({"authorization": "secret"}), {"requests_hold_no_credentials"}),
    "takes anything": (
        Plain(),
        {"an_answer_of_another_kind_is_an_error", "an_empty_answer_is_an_error", "a_broken_answer_is_an_error"},
    ),
    "one decoder": (
        Plain(decoder=ConverseEventDecoder()),
        {"every_plan_has_a_decoder_of_its_own", "streams_do_not_mix"},
    ),
    "drops a guardrail": (Forgetful(), {"what_stands_beside_the_conversation_is_sent_or_refused"}),
}


@pytest.mark.parametrize(("provider", "fails"), PROVIDERS.values(), ids=PROVIDERS)
def test_a_provider_that_breaks_a_promise_fails(provider: Provider, fails: set[str]) -> None:
    """At least the tests that are about what is broken."""
    assert failures(provider_contract(provider)) >= fails
