"""The provider async-invoke: a pure flow over canned answers, and the whole way through emulator and S3."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final

import pytest
from acme import Acme
from rawserver import RawConnection, RawServer
from s3_server import CREDENTIALS, S3Server, s3_server

from bedrock_async import (
    AccessDeniedError,
    AsyncInvokeFailedError,
    BedrockClient,
    BedrockError,
    ConverseRequest,
    ImageBlock,
    InvalidRequestError,
    ObjectNotFoundError,
    PluginError,
    ResponseDecodeError,
    ServiceError,
    ThrottlingError,
    VideoBlock,
)
from bedrock_async.errors import service_error
from bedrock_async.families import FamilyContext, GeneratedVideo, ModelFamily, VideoRequest, find_profile
from bedrock_async.model_id import parse_model_id
from bedrock_async.providers import CallContext, EffectResult, HttpResponse, ReadObject, Send, Sleep
from bedrock_async.providers.async_invoke import AsyncInvokeProvider
from bedrock_async.providers.registry import ProviderRegistry
from bedrock_async.testing import (
    BedrockEmulator,
    JobModel,
    JobScript,
    ProviderContract,
    ProviderSample,
    S3ObjectStore,
)
from bedrock_async.testing.expecting import driven

REEL: Final = "amazon.nova-reel-v1:1"
ARN: Final = "arn:aws:bedrock:us-east-1:123456789012:async-invoke/abcdef012345"
FOLDER: Final = "s3://videos/made/abcdef012345"
OPTIONS: Final = {"output_s3_uri": "s3://videos/made"}
PROMPT: Final = {"messages": [{"role": "user", "content": [{"text": "A bridge in fog."}]}]}
PNG: Final = b"\x89PNG\r\n\x1a\n"


class Reel(Acme):
    """A family whose models make video, after Amazon Nova Reel."""

    models = ("amazon.nova-reel-*",)

    def __init__(self) -> None:
        super().__init__()
        self.wanted: list[VideoRequest] = []

    def encode_video(self, request: VideoRequest, ctx: FamilyContext) -> Mapping[str, Any]:
        """Return the native input."""
        self.wanted.append(request)
        images = [{"format": image.format, "source": "..."} for image in request.images]
        return {"taskType": "TEXT_VIDEO", "textToVideoParams": {"text": request.prompt, "images": images}}

    def video_object(self, ctx: FamilyContext) -> str:
        """Return the name of the video."""
        return "output.mp4"

    def decode_video(self, name: str, data: bytes, ctx: FamilyContext) -> GeneratedVideo:
        """Return the video."""
        return GeneratedVideo(name, data, "mp4")


def answer(**members: Any) -> HttpResponse:  # noqa: ANN401 - JSON of any shape
    """Return a JSON answer."""
    return HttpResponse(200, {"content-type": "application/json"}, json.dumps(members).encode())


def state(status: str, **members: Any) -> HttpResponse:  # noqa: ANN401
    """Return the state of the job."""
    place = {"s3OutputDataConfig": {"s3Uri": FOLDER}}
    return answer(invocationArn=ARN, status=status, outputDataConfig=place, **members)


STARTED: Final = answer(invocationArn=ARN)
TIMES: Final = {"submitTime": "2026-03-01T12:00:00Z", "endTime": "2026-03-01T12:01:30.250Z"}
DONE: Final[Sequence[EffectResult]] = (STARTED, None, state("InProgress"), None, state("Completed", **TIMES))


class TestVideo(ProviderContract):
    """What every provider promises, for a model that makes video."""

    streams = False
    samples = (
        ProviderSample(
            model=REEL,
            request=PROMPT,
            options=OPTIONS,
            family=Reel(),
            answers=(*DONE, b"the video"),
            text="",
            stop_reason="end_turn",
        ),
    )

    def provider(self) -> AsyncInvokeProvider:
        """Return the provider, whose tokens are all the same."""
        return AsyncInvokeProvider(token=lambda: "the-token")


class TestNative(ProviderContract):
    """What every provider promises, for a model whose output is its native answer."""

    streams = False
    samples = (
        ProviderSample(
            model="acme.chat-1",
            options={"output_s3_uri": "s3://videos"},
            family=Acme(),
            answers=(*DONE, b'{"text": "Slow but sure.", "finish": "stop", "tokens": [3, 4]}'),
            text="Slow but sure.",
            stop_reason="end_turn",
            input_tokens=3,
            output_tokens=4,
        ),
    )

    def provider(self) -> AsyncInvokeProvider:
        """Return the provider, whose tokens are all the same."""
        return AsyncInvokeProvider(token=lambda: "the-token")


def context(family: ModelFamily | None = None, model: str = REEL, options: Mapping[str, Any] = OPTIONS) -> CallContext:
    """Return what the client tells a provider."""
    parsed = parse_model_id(model)
    profile = find_profile(parsed.base_model)
    return CallContext(parsed, "us-east-1", options, family=family or Reel(), profile=profile)


def run(
    answers: Sequence[EffectResult | BedrockError],
    request: Mapping[str, Any] = PROMPT,
    ctx: CallContext | None = None,
) -> Any:  # noqa: ANN401 - response and effects
    """Drive a call over canned answers; return its response and effects."""
    provider = AsyncInvokeProvider(token=lambda: "the-token")
    return driven(provider.converse(ConverseRequest.from_dict(request), ctx or context()), answers)


def body_of(effect: object) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON that an effect sends."""
    assert isinstance(effect, Send)
    return json.loads(effect.request.body)


def test_a_job_is_started_asked_for_and_read() -> None:
    """Start, wait, ask, wait, ask, read: in this order, with the waits growing."""
    response, effects = run([*DONE, b"the video"])
    start, first_wait, poll, second_wait, _, read = effects
    assert (start.request.method, start.request.path) == ("POST", "/async-invoke")
    assert start.request.idempotent
    assert body_of(start) == {
        "modelId": REEL,
        "modelInput": {"taskType": "TEXT_VIDEO", "textToVideoParams": {"text": "A bridge in fog.", "images": []}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://videos/made"}},
        "clientRequestToken": "the-token",
    }
    assert poll.request.path == "/async-invoke/" + ARN.replace(":", "%3A").replace("/", "%2F")
    assert isinstance(first_wait, Sleep)
    assert 0.4 <= first_wait.seconds <= 0.6
    assert isinstance(second_wait, Sleep)
    assert 0.52 <= second_wait.seconds <= 0.78
    assert read == ReadObject(f"{FOLDER}/output.mp4")
    (block,) = response.message.content
    assert isinstance(block, VideoBlock)
    assert (block.format, block.source.bytes) == ("mp4", b"the video")
    assert response.metrics.latency_ms == 90_250
    assert response.additional_model_response_fields == {"invocationArn": ARN, "outputS3Uri": FOLDER}


def test_the_waits_of_a_job_are_always_the_same() -> None:
    """They follow from the ARN, so that no two jobs are asked for in step and no test is surprised."""
    answers = [STARTED, *([None, state("InProgress")] * 30), None, state("Completed"), b""]
    waits = [[effect.seconds for effect in run(answers)[1] if isinstance(effect, Sleep)] for _ in range(2)]
    assert waits[0] == waits[1]
    assert waits[0] != sorted(waits[0])
    assert 12 <= waits[0][-1] <= 18


def test_options_of_the_job() -> None:
    """Key, owner, token and tags of provider_options are those of StartAsyncInvoke."""
    options = {
        **OPTIONS,
        "kms_key_id": "arn:aws:kms:us-east-1:123456789012:key/k",
        "bucket_owner": "111122223333",
        "client_request_token": "order-17",
        "tags": [{"key": "team", "value": "video"}],
    }
    _, effects = run([*DONE, b""], ctx=context(options=options))
    body = body_of(effects[0])
    assert effects[-1] == ReadObject(f"{FOLDER}/output.mp4", "111122223333")
    assert body["outputDataConfig"]["s3OutputDataConfig"] == {
        "s3Uri": "s3://videos/made",
        "kmsKeyId": "arn:aws:kms:us-east-1:123456789012:key/k",
        "bucketOwner": "111122223333",
    }
    assert body["clientRequestToken"] == "order-17"
    assert body["tags"] == [{"key": "team", "value": "video"}]


def test_tags_may_be_a_mapping() -> None:
    """They are taken as start_async_invoke takes them."""
    _, effects = run([*DONE, b""], ctx=context(options={**OPTIONS, "tags": {"team": "video", "cost": "7"}}))
    assert body_of(effects[0])["tags"] == [{"key": "team", "value": "video"}, {"key": "cost", "value": "7"}]


def test_options_of_the_family_pass() -> None:
    """What is not nearly an option of the provider may be one of the family."""
    _, effects = run([*DONE, b""], ctx=context(options={**OPTIONS, "raw_prompt": True, "today": "1 March 2026"}))
    assert body_of(effects[0])["modelId"] == REEL


def test_every_job_has_a_token() -> None:
    """Without one of the caller's each call makes its own, so that a retry starts no second job."""
    flows = [AsyncInvokeProvider().converse(ConverseRequest.from_dict(PROMPT), context()) for _ in range(2)]
    tokens = [body_of(next(flow))["clientRequestToken"] for flow in flows]
    assert tokens[0] != tokens[1]


def test_images_and_fields_reach_the_family() -> None:
    """The images of the message are the video's, and additional fields are merged over the native input."""
    family = Reel()
    request = {
        "messages": [
            {"role": "user", "content": [{"text": "Go on."}, {"image": {"format": "png", "source": {"bytes": PNG}}}]}
        ],
        "additionalModelRequestFields": {"videoGenerationConfig": {"seed": 7}},
    }
    _, effects = run([*DONE, b""], request, context(family))
    body = body_of(effects[0])
    assert body["modelInput"]["videoGenerationConfig"] == {"seed": 7}
    assert body["modelInput"]["textToVideoParams"]["text"] == "Go on."
    (wanted,) = family.wanted
    assert [type(image) for image in wanted.images] == [ImageBlock]


def test_failures_that_pass_do_not_end_a_job() -> None:
    """A throttled question is asked again after the next wait; the eleventh in a row is raised."""
    throttled = service_error("ThrottlingException", "slow down")
    response, effects = run([STARTED, None, throttled, None, throttled, *DONE[1:], b"v"])
    assert response.stop_reason == "end_turn"
    assert sum(isinstance(effect, Sleep) for effect in effects) == 4
    with pytest.raises(ThrottlingError):
        run([STARTED, *([None, throttled] * 11)])


def test_a_refusal_ends_the_call() -> None:
    """What will not pass is raised at once."""
    denied = service_error("AccessDeniedException", "no")
    with pytest.raises(ServiceError, match="no"):
        run([STARTED, None, denied])


def test_a_failed_job_is_an_error_with_the_services_message() -> None:
    """Nothing is read of a job that failed."""
    failed = state("Failed", failureMessage="The generated video has been blocked by our content filters.")
    with pytest.raises(AsyncInvokeFailedError, match=r"blocked by our content filters\.") as caught:
        run([STARTED, None, failed])
    assert caught.value.invocation_arn == ARN


def test_missing_output_is_an_error() -> None:
    """What the store says comes out of the flow."""
    with pytest.raises(ObjectNotFoundError, match="gone"):
        run([*DONE, ObjectNotFoundError("gone.", s3_uri=FOLDER)])


@pytest.mark.parametrize("data", [b"", b"<xml/>", b"[1]", b"\xff"])
def test_native_output_that_is_none(data: bytes) -> None:
    """Output that is no JSON object is a ResponseDecodeError with its beginning."""
    with pytest.raises(ResponseDecodeError, match="the output") as caught:
        run([*DONE, data], ctx=context(Acme(), "acme.chat-1"))
    assert caught.value.body == data


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs an output location"),
        ({"output_s3_uri": "videos"}, "provider_options.output_s3_uri is 'videos'"),
        ({"output_s3_uri": None}, "provider_options.output_s3_uri is of type NoneType"),
        ({**OPTIONS, "tags": {"team": 7}}, r"provider_options cannot be sent: tags"),
        ({**OPTIONS, "tags": "team"}, r"provider_options cannot be sent: tags"),
        ({**OPTIONS, "kms_key_id": 7}, r"provider_options cannot be sent: .*kms_key_id"),
        ({**OPTIONS, "bucketOwner": "111122223333"}, r"no option 'bucketOwner'.*'bucket_owner'"),
        ({**OPTIONS, "kms_key": "k"}, r"no option 'kms_key'.*'kms_key_id'"),
        ({"output_uri": "s3://videos"}, r"no option 'output_uri'.*'output_s3_uri'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_sent(options: dict[str, Any], said: str) -> None:
    """The error names provider_options and shows what is right."""
    with pytest.raises(InvalidRequestError, match=said):
        run([], ctx=context(options=options))


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({**PROMPT, "system": [{"text": "Be brief."}]}, r"cannot express a system prompt \(system\[0\]\)"),
        ({**PROMPT, "inferenceConfig": {"maxTokens": 7}}, "max_tokens"),
        ({"messages": PROMPT["messages"] * 2}, "made from one message, but there are 2"),
        ({"messages": []}, "there are 0"),
    ],
)
def test_what_a_video_cannot_be_made_of_is_refused(request_: dict[str, Any], said: str) -> None:
    """Nothing of a request is dropped in silence."""
    with pytest.raises(InvalidRequestError, match=said):
        run([], request_)


@pytest.mark.parametrize(
    ("member", "path"),
    [
        ({"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}}, "guardrail_config"),
        ({"performanceConfig": {"latency": "optimized"}}, "performance_config"),
        ({"requestMetadata": {"team": "a"}}, "request_metadata"),
        ({"serviceTier": {"type": "flex"}}, "service_tier"),
    ],
)
@pytest.mark.parametrize("ctx", [("acme.chat-1", Acme), (REEL, Reel)], ids=["native", "video"])
def test_what_jobs_have_no_place_for_is_refused(member: dict[str, Any], path: str, ctx: tuple[str, Any]) -> None:
    """A guardrail above all: nobody may believe that it looks at what a job makes."""
    model, family = ctx
    with pytest.raises(InvalidRequestError, match=f"does not support {path}") as caught:
        run([], {**PROMPT, **member}, context(family(), model))
    assert caught.value.path == path


def test_what_a_job_is_without_being_told_may_be_said() -> None:
    """Defaults of a client need not be taken away for one call."""
    ordinary = {"performanceConfig": {"latency": "standard"}, "serviceTier": {"type": "default"}}
    response, _ = run([*DONE, b"the video"], {**PROMPT, **ordinary})
    assert response.stop_reason == "end_turn"


class Broken(Reel):
    """A family that fails where a video is made."""

    def __init__(self, method: str, value: object = None) -> None:
        super().__init__()
        self.method = method
        self.value = value

    def encode_video(self, request: VideoRequest, ctx: FamilyContext) -> Any:  # noqa: ANN401 - any fault
        """Fail, or do as the others."""
        return self._result("encode_video", lambda: Reel.encode_video(self, request, ctx))

    def video_object(self, ctx: FamilyContext) -> Any:  # noqa: ANN401 - any fault
        """Fail, or do as the others."""
        return self._result("video_object", lambda: Reel.video_object(self, ctx))

    def decode_video(self, name: str, data: bytes, ctx: FamilyContext) -> Any:  # noqa: ANN401 - any fault
        """Fail, or do as the others."""
        return self._result("decode_video", lambda: Reel.decode_video(self, name, data, ctx))

    def _result(self, method: str, call: Callable[[], object]) -> object:
        if method != self.method:
            return call()
        if self.value is None:
            raise KeyError("missing")
        return self.value


@pytest.mark.parametrize("method", ["encode_video", "video_object", "decode_video"])
@pytest.mark.parametrize("value", [None, 7])
def test_a_family_that_fails_at_videos_is_named(method: str, value: object) -> None:
    """With the family's own error as the cause, or the type that it gave."""
    error = ResponseDecodeError if method == "decode_video" and value is None else PluginError
    with pytest.raises(error, match=r"'acme' \(.*Broken\)"):
        run([*DONE, b"the video"], ctx=context(Broken(method, value)))


def test_models_that_neither_chat_nor_make_video_are_refused() -> None:
    """An embedding model has no answer that Converse could give."""
    with pytest.raises(InvalidRequestError, match="makes embeddings; it does not chat"):
        run([], ctx=context(Acme(), "twelvelabs.marengo-embed-2-7-v1:0"))


def test_families_that_cannot_make_video_are_told() -> None:
    """The way out is the native input."""
    with pytest.raises(PluginError, match=r"'acme' does not make videos.*start_async_invoke"):
        run([], ctx=context(Acme()))


def test_without_a_family_there_is_no_call() -> None:
    """A provider that is used by hand needs the family in its context."""
    ctx = CallContext(parse_model_id(REEL), "us-east-1", OPTIONS)
    with pytest.raises(PluginError, match="without the model's family"):
        run([], ctx=ctx)


def test_it_is_built_in() -> None:
    """Its name is known without a plugin."""
    assert isinstance(ProviderRegistry().get("async-invoke"), AsyncInvokeProvider)


# The whole way.


@pytest.fixture(scope="module")
def s3() -> Generator[S3Server]:
    """One S3 for the module."""
    with s3_server() as server:
        yield server


async def test_converse_and_stream_through_a_job(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """`converse` returns the video that the service wrote to S3, and `stream` the same as events."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
    bucket = s3.bucket()
    settings: dict[str, Any] = {
        "provider": "async-invoke",
        "provider_options": {"output_s3_uri": f"s3://{bucket}/made"},
    }
    async with (
        S3ObjectStore(s3.url, credentials=CREDENTIALS) as store,
        BedrockEmulator([JobModel(JobScript.video(b"a video", polls=0))], object_store=store) as emulator,
        BedrockClient(
            region="us-east-1", endpoint_url=emulator.url, credentials=CREDENTIALS, families={"amazon": Reel()}
        ) as client,
    ):
        reply = await client.converse(REEL, "A bridge in fog.", **settings)
        async with client.stream(REEL, "A bridge in fog.", **settings) as stream:
            streamed = await stream.get_final_response()
        jobs = [summary async for summary in client.list_async_invokes(status="Completed")]
    assert len(jobs) == 2
    assert reply.meta.provider == "async-invoke"
    (block,) = reply.message.content
    assert isinstance(block, VideoBlock)
    assert block.source.bytes == b"a video"
    assert streamed.message.content == reply.message.content
    fields = reply.additional_model_response_fields
    assert isinstance(fields, dict)
    assert fields["invocationArn"] in {summary.invocation_arn for summary in jobs}


async def test_s3_checks_the_owner_of_the_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account in ``bucket_owner`` travels with the request for the output, so that S3 refuses any other's."""
    heads: list[bytes] = []

    async def refuse(peer: RawConnection) -> None:
        heads.append((await peer.read_request()).head.lower())
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        head = b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        await peer.send(head % len(body), body)

    options = {"output_s3_uri": "s3://videos/made", "bucket_owner": "111122223333"}
    async with (
        RawServer(refuse) as server,
        BedrockEmulator([JobModel(JobScript.video(b"a video", polls=0))]) as emulator,
        BedrockClient(
            region="us-east-1", endpoint_url=emulator.url, credentials=CREDENTIALS, families={"amazon": Reel()}
        ) as client,
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        with pytest.raises(AccessDeniedError, match="s3:GetObject"):
            await client.converse(REEL, "A bridge.", provider="async-invoke", provider_options=options)
    assert [b"x-amz-expected-bucket-owner: 111122223333" in head for head in heads] == [True]
