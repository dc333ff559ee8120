"""Asynchronous invocations through the client: start, wait, result, resume, list; emulator and an S3 of others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio
import pytest
from official_clients import OFFICIAL_CLIENTS, Connect
from rawserver import RawConnection, RawServer
from s3_server import CREDENTIALS, SESSIONS, S3Server, s3_server
from transports import Clock, with_clock

from bedrock_async import (
    AccessDeniedError,
    AsyncInvokeFailedError,
    AsyncInvokeJob,
    AsyncInvokeResult,
    AsyncInvokeSummary,
    AsyncInvokeTimeoutError,
    AuthenticationError,
    BedrockClient,
    ClientClosedError,
    ConflictError,
    ConnectionLostError,
    CredentialsError,
    InvalidModelIdError,
    InvalidRequestError,
    JSONValue,
    ObjectNotFoundError,
    OutputObject,
    ProtocolError,
    ResponseDecodeError,
    StandardRetry,
    Timeouts,
    ValidationError,
)
from bedrock_async.resilience import Limits
from bedrock_async.testing import (
    BedrockEmulator,
    Control,
    EmulatorAccount,
    HttpAnswer,
    JobModel,
    JobScript,
    MemoryObjectStore,
    ObjectStore,
    ReceivedRequest,
    S3ObjectStore,
)
from bedrock_async.transport import AiohttpTransport, WireRequest, WireResponse
from bedrock_async.types import JobTag

REEL: Final = "amazon.nova-reel-v1:1"
INPUT: Final = {"taskType": "TEXT_VIDEO", "textToVideoParams": {"text": "A bridge in fog."}}
VIDEO: Final = bytes(range(256)) * 2048
AT_ONCE: Final = StandardRetry(base_delay_s=0.0)
DONE: Final = JobScript.video(VIDEO, polls=0)


@pytest.fixture(scope="module")
def s3() -> Generator[S3Server]:
    """One S3 for the module; each test has a bucket of its own."""
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket, in the S3 that the environment names."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
    return s3.bucket()


@asynccontextmanager
async def served(
    script: JobScript | Callable[[Mapping[str, Any]], JobScript] = DONE,
    *,
    store: ObjectStore | None = None,
    emulator: Mapping[str, Any] | None = None,
    models: Any = (),  # noqa: ANN401
    **options: Any,  # noqa: ANN401
) -> AsyncGenerator[tuple[BedrockClient, BedrockEmulator]]:
    """A client and the emulator that it speaks to; ``options`` are the client's."""
    served_models = [*models, JobModel(script)]
    settings: dict[str, Any] = {"region": "us-east-1", "retry": AT_ONCE, **options}
    if not {"session", "api_key", "profile"} & settings.keys():
        settings.setdefault("credentials", CREDENTIALS)
    async with (
        BedrockEmulator(served_models, object_store=store, **(emulator or {})) as running,
        BedrockClient(endpoint_url=running.url, **settings) as client,
    ):
        yield client, running


@asynccontextmanager
async def writing(s3: S3Server, script: JobScript = DONE, **options: Any) -> AsyncGenerator[BedrockClient]:  # noqa: ANN401
    """A client of an emulator whose jobs write to S3."""
    async with (
        S3ObjectStore(s3.url, credentials=CREDENTIALS) as store,
        served(script, store=store, **options) as (client, _),
    ):
        yield client


async def finished(client: BedrockClient, bucket: str) -> AsyncInvokeResult:
    """Run a job and return its result."""
    job = await client.start_async_invoke(REEL, INPUT, output_s3_uri=f"s3://{bucket}/made")
    return await job.result()


def names_in(folder: Path) -> list[str]:
    """Return the names of the files in a folder."""
    return [path.name for path in folder.iterdir()]


# The whole way.


async def test_a_job_from_start_to_file(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """Start, wait, list the output, read it whole, in pieces, as JSON and into a file."""
    async with writing(s3) as client:
        job = await client.start_async_invoke(REEL, INPUT, output_s3_uri=f"s3://{bucket}/made/")
        result = await job.result()
        names = {output.name: output.size for output in result.outputs}
        whole = await result.read()
        async with result.open("output.mp4") as stream:
            pieces = [piece async for piece in stream]
        report = await result.json("video-generation-status.json")
        saved = await result.save(tmp_path / "video.mp4")
    assert result.output_s3_uri == f"s3://{bucket}/made/{job.invocation_id}"
    assert names["output.mp4"] == len(VIDEO)
    assert names.keys() == {"manifest.json", "output.mp4", "shot_0001.mp4", "video-generation-status.json"}
    assert result.main.name == "output.mp4"
    assert whole == b"".join(pieces) == saved.read_bytes() == VIDEO
    assert isinstance(report, dict)
    assert report["schemaVersion"] == "1.0.0"
    assert saved == tmp_path / "video.mp4"
    assert result.summary.status == "Completed"


@pytest.mark.parametrize("library", list(SESSIONS))
async def test_the_output_is_read_with_the_session_of_the_client(
    s3: S3Server, bucket: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever session the client was given signs the job and reads its output."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS.secret_access_key)
    keys = {"credentials": [CREDENTIALS]}
    async with writing(s3, session=SESSIONS[library](), emulator=keys) as client:
        assert await (await finished(client, bucket)).read() == VIDEO
        assert library in client.credentials_source


async def test_a_job_is_taken_up_by_its_arn_elsewhere(s3: S3Server, bucket: str) -> None:
    """Another client, which knows nothing but the ARN, waits for the job and reads its output."""
    async with writing(s3) as client:
        job = await client.start_async_invoke(REEL, INPUT, output_s3_uri=f"s3://{bucket}/made")
        endpoint = client.endpoint.base_url
        async with BedrockClient(region="us-east-1", endpoint_url=endpoint, credentials=CREDENTIALS) as other:
            again = other.async_invoke_job(job.arn)
            result = await again.result()
            assert await result.read() == VIDEO
    assert again.arn == job.arn
    assert again.model == f"arn:aws:bedrock:us-east-1::foundation-model/{REEL}"
    assert again.meta is None


async def test_the_states_of_a_job() -> None:
    """`status` is the word, `summary` all the service tells, and a failed job is an error of `wait` only."""
    async with served(JobScript(failure="blocked by our content filters.", polls=1)) as (client, _):
        job = await client.start_async_invoke(REEL, INPUT, output_s3_uri="s3://videos")
        first = await job.status()
        summary = await job.summary()
        with pytest.raises(AsyncInvokeFailedError, match=r"blocked by our content filters\."):
            await job.wait()
        with pytest.raises(AsyncInvokeFailedError, match=job.arn):
            await job.result()
    assert first == "InProgress"
    assert (summary.status, summary.failure_message) == ("Failed", "blocked by our content filters.")
    assert summary.submit_time is not None
    assert summary.submit_time.tzinfo is not None
    assert summary.meta.status == 200


async def test_the_handle_tells_of_its_start() -> None:
    """Model, place and the request's id are at hand without another question."""
    async with served() as (client, emulator):
        job = await client.start_async_invoke(f"us.{REEL}", INPUT, output_s3_uri="s3://videos/a")
        (received,) = emulator.requests
    assert (job.model, job.output_s3_uri) == (f"us.{REEL}", "s3://videos/a")
    assert job.meta is not None
    assert job.meta.request_id == received.request_id


# What is sent.


@pytest.fixture(params=list(OFFICIAL_CLIENTS))
def connect(request: pytest.FixtureRequest) -> Connect:
    """Return the function that opens one of the official clients."""
    return OFFICIAL_CLIENTS[request.param]


async def test_requests_equal_those_of_official_clients(connect: Connect) -> None:
    """Method, path, query and body of all three operations are what boto3 and aiobotocore send."""
    key = "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012"
    after = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    async with served() as (client, emulator), connect(emulator.url) as official:
        job = await client.start_async_invoke(
            REEL,
            INPUT,
            output_s3_uri="s3://videos/a",
            kms_key_id=key,
            bucket_owner="111122223333",
            client_request_token="one",
            tags={"team": "video"},
        )
        await job.status()
        listing = client.list_async_invokes(
            status="InProgress",
            submitted_after=after.astimezone(timezone(timedelta(hours=2))),
            submitted_before=after,
            sort_by="SubmissionTime",
            sort_order="Ascending",
            page_size=7,
        )
        assert [summary async for summary in listing] == []
        place = {"s3Uri": "s3://videos/a", "kmsKeyId": key, "bucketOwner": "111122223333"}
        await official.call(
            "start_async_invoke",
            modelId=REEL,
            modelInput=INPUT,
            outputDataConfig={"s3OutputDataConfig": place},
            clientRequestToken="one",
            tags=[{"key": "team", "value": "video"}],
        )
        await official.call("get_async_invoke", invocationArn=job.arn)
        await official.call(
            "list_async_invokes",
            statusEquals="InProgress",
            submitTimeAfter=after,
            submitTimeBefore=after,
            sortBy="SubmissionTime",
            sortOrder="Ascending",
            maxResults=7,
        )
        sent = list(emulator.requests)
    assert len(sent) == 6
    for ours, theirs in zip(sent[:3], sent[3:], strict=True):
        assert (ours.method, ours.path) == (theirs.method, theirs.path)
        assert sorted(ours.query.split("&")) == sorted(theirs.query.split("&"))
        assert (ours.json() if ours.body else None) == (theirs.json() if theirs.body else None)


@pytest.mark.parametrize(
    "tags",
    [{"team": "video"}, [{"key": "team", "value": "video"}], [JobTag(key="team", value="video")]],
    ids=["mapping", "dicts", "objects"],
)
async def test_tags_in_every_form(tags: Any) -> None:  # noqa: ANN401
    """A mapping, the service's own list, and objects mean the same."""
    async with served() as (client, emulator):
        job = await client.start_async_invoke(REEL, INPUT, output_s3_uri="s3://videos", tags=tags)
        assert emulator.jobs.tags(job.arn) == {"team": "video"}


# Tokens.


class LosingTransport:
    """Sends requests, and loses the first answer after it has arrived."""

    name = "losing"

    def __init__(self) -> None:
        self._inner = AiohttpTransport()
        self.sent = 0

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        response = await self._inner.send(request, connect_timeout_s=connect_timeout_s)
        self.sent += 1
        if self.sent == 1:
            await response.read(1024 * 1024)
            raise ConnectionLostError("the answer was lost.", sent=True)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


async def test_a_request_that_is_sent_again_starts_no_second_job() -> None:
    """By default each call has a token, so that a lost answer costs nothing."""
    transport = LosingTransport()
    async with served(transport=transport) as (client, emulator):
        job = await client.start_async_invoke(REEL, INPUT, output_s3_uri="s3://videos")
        jobs = [summary async for summary in client.list_async_invokes()]
        first, second = list(emulator.requests)[:2]
    await transport.aclose()
    assert transport.sent == 3
    assert [summary.invocation_arn for summary in jobs] == [job.arn]
    assert first.body == second.body
    assert job.meta is not None
    assert len(job.meta.attempts) == 2


async def test_every_call_has_a_token_of_its_own() -> None:
    """Two calls are two jobs."""
    async with served() as (client, emulator):
        for _ in range(2):
            await client.start_async_invoke(REEL, INPUT, output_s3_uri="s3://videos")
        bodies: list[Any] = [request.json() for request in emulator.requests]
    tokens = [body["clientRequestToken"] for body in bodies]
    assert len(set(tokens)) == 2
    assert all(len(token) == 36 for token in tokens)


async def test_a_token_of_ones_own_names_one_job() -> None:
    """The same token gives the same job, and a conflict where it stands for something else."""
    async with served() as (client, _):
        options: dict[str, Any] = {"output_s3_uri": "s3://videos", "client_request_token": "order-17"}
        first = await client.start_async_invoke(REEL, INPUT, **options)
        second = await client.start_async_invoke(REEL, INPUT, **options)
        with pytest.raises(ConflictError, match="another idempotency token"):
            await client.start_async_invoke(REEL, {"taskType": "OTHER"}, **options)
    assert first.arn == second.arn


# Bad input that never leaves.


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"output_s3_uri": "https://bucket.s3.amazonaws.com/a"}, "output_s3_uri"),
        ({"output_s3_uri": "s3://Not_A_Bucket/a"}, "output_s3_uri"),
        ({"output_s3_uri": "s3://videos/" + "a" * 1024}, "output_s3_uri"),
        ({"output_s3_uri": None}, "output_s3_uri"),
        ({"model_input": '{"taskType": "TEXT_VIDEO"}'}, "model_input"),
        ({"model_input": {"image": b"\x89PNG"}}, "model_input"),
        ({"model_input": {"seed": float("nan") * 1j}}, "model_input"),
        ({"client_request_token": ""}, "client_request_token"),
        ({"kms_key_id": 7}, "output_data_config.s3_output_data_config.kms_key_id"),
        ({"tags": [{"key": "a"}]}, "tags[0].value"),
        ({"tags": {"a": 1}}, "tags[0].value"),
    ],
)
async def test_wrong_arguments_are_refused_before_anything_is_sent(arguments: dict[str, Any], path: str) -> None:
    """The error names the argument, and no request goes out."""
    members: dict[str, Any] = {"model": REEL, "model_input": INPUT, "output_s3_uri": "s3://videos", **arguments}
    async with served() as (client, emulator):
        with pytest.raises(InvalidRequestError) as caught:
            await client.start_async_invoke(**members)
        assert not emulator.requests
    assert caught.value.path == path


async def test_models_of_another_region_and_malformed_ids_are_refused() -> None:
    """As for every verb."""
    async with served() as (client, emulator):
        for model in ("arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-reel-v1:1", "no model", ""):
            with pytest.raises(InvalidModelIdError):
                await client.start_async_invoke(model, INPUT, output_s3_uri="s3://videos")
        assert not emulator.requests


async def test_arns_of_jobs_are_looked_at() -> None:
    """A malformed ARN and one of another region are refused here and now."""
    async with served() as (client, emulator):
        with pytest.raises(InvalidRequestError, match="is not valid"):
            client.async_invoke_job("arn:aws:bedrock:us-east-1:1:async-invoke/x")
        with pytest.raises(InvalidRequestError, match=r"eu-west-1; the client's is us-east-1 \(argument\)") as caught:
            client.async_invoke_job("arn:aws:bedrock:eu-west-1:123456789012:async-invoke/abcdef012345")
        assert "BedrockClient(region='eu-west-1')" in str(caught.value)
        assert not emulator.requests


@pytest.mark.parametrize(
    ("filters", "path"),
    [
        ({"submitted_after": datetime(2026, 3, 1)}, "submitted_after"),  # noqa: DTZ001 - that is the fault
        ({"submitted_before": datetime(2026, 3, 1)}, "submitted_before"),  # noqa: DTZ001
        ({"max_results": 0}, "max_results"),
        ({"page_size": -1}, "page_size"),
        ({"status": 7}, "status_equals"),
    ],
)
async def test_wrong_filters_are_refused_at_once(filters: dict[str, Any], path: str) -> None:
    """A listing with a fault is not begun."""
    async with served() as (client, _):
        with pytest.raises(InvalidRequestError) as caught:
            client.list_async_invokes(**filters)
    assert caught.value.path == path


# Bad input that the service or S3 refuses.


async def test_a_prefix_without_permission_is_refused_at_the_start() -> None:
    """The service's own words reach the caller, with no job left behind."""
    async with served(store=MemoryObjectStore(denied=("s3://videos/",))) as (client, _):
        with pytest.raises(ValidationError, match="Invalid Output Config/Credentials"):
            await client.start_async_invoke(REEL, INPUT, output_s3_uri="s3://videos/secret")
        assert [summary async for summary in client.list_async_invokes()] == []


async def test_a_job_of_another_account_names_it() -> None:
    """The service denies it, and the hint tells the account of the ARN."""
    async with served() as (client, _):
        job = client.async_invoke_job("arn:aws:bedrock:us-east-1:999999999999:async-invoke/abcdef012345")
        with pytest.raises(AccessDeniedError, match="not authorized to perform: bedrock:GetAsyncInvoke") as caught:
            await job.result()
    assert "belongs to the account 999999999999 in us-east-1" in str(caught.value)


async def test_a_job_that_the_service_does_not_know() -> None:
    """The hint says that records expire, and where the output still is."""
    async with served() as (client, _):
        job = client.async_invoke_job("arn:aws:bedrock:us-east-1:123456789012:async-invoke/abcdef012345")
        with pytest.raises(ValidationError, match="not that of an invocation") as caught:
            await job.status()
    assert "The service forgets jobs after a time" in str(caught.value)
    assert "the folder abcdef012345" in str(caught.value)


async def test_denied_operations_name_their_action() -> None:
    """Listing has an action of its own."""
    account = EmulatorAccount(denied_actions=["bedrock:ListAsyncInvokes"])
    async with served(emulator={"account": account}) as (client, _):
        with pytest.raises(AccessDeniedError, match="Allow the action bedrock:ListAsyncInvokes"):
            await anext(client.list_async_invokes())


async def test_output_that_is_gone(s3: S3Server, bucket: str) -> None:
    """A removed object, all of them removed, and a name that never was: three errors with the place."""
    async with writing(s3) as client:
        job = await client.start_async_invoke(REEL, INPUT, output_s3_uri=f"s3://{bucket}")
        result = await job.result()
        folder = f"s3://{bucket}/{job.invocation_id}"
        with pytest.raises(ObjectNotFoundError, match=r"no object 'sound\.wav'.*It wrote: manifest\.json") as caught:
            await result.read("sound.wav")
        assert caught.value.s3_uri == f"{folder}/sound.wav"
        for output in result.outputs:
            s3.remove(bucket, f"{job.invocation_id}/{output.name}")
        with pytest.raises(ObjectNotFoundError, match=f"no object {folder}/output.mp4"):
            await result.read()
        with pytest.raises(ObjectNotFoundError, match=f"{job.arn} is complete, but there is no output in {folder}"):
            await job.result()


async def test_output_that_may_not_be_read(s3: S3Server, bucket: str) -> None:
    """What the bucket's policy denies names bucket, key and action."""
    async with writing(s3) as client:
        result = await finished(client, bucket)
        s3.deny(bucket, "s3:GetObject")
        with pytest.raises(AccessDeniedError, match=f"bucket {bucket}, key made/.*/output.mp4") as caught:
            await result.read()
    assert "Allow s3:GetObject" in str(caught.value)


async def test_output_that_may_not_be_listed(s3: S3Server, bucket: str) -> None:
    """Without s3:ListBucket the result cannot tell what there is, and says which permission is missing."""
    user = s3.user(["s3:GetObject"])
    async with writing(s3) as client:
        job = await client.start_async_invoke(REEL, INPUT, output_s3_uri=f"s3://{bucket}")
        await job.wait()
        async with BedrockClient(region="us-east-1", endpoint_url=client.endpoint.base_url, credentials=user) as other:
            with s3.asking_iam(), pytest.raises(AccessDeniedError, match=f"Allow s3:ListBucket on the bucket {bucket}"):
                await other.async_invoke_job(job.arn).result()


async def test_an_api_key_starts_jobs_and_reads_no_output(s3: S3Server, bucket: str) -> None:
    """Bedrock takes the key, S3 does not: the error says so, and the job goes on."""
    async with writing(
        s3, api_key="bedrock-api-key-CANARY", emulator={"api_keys": ["bedrock-api-key-CANARY"]}
    ) as client:
        job = await client.start_async_invoke(REEL, INPUT, output_s3_uri=f"s3://{bucket}")
        assert (await job.wait()).status == "Completed"
        with pytest.raises(CredentialsError, match="cannot be used for reading objects of S3") as caught:
            await job.result()
    assert "CANARY" not in str(caught.value)


async def test_new_credentials_read_the_output_too(s3: S3Server, bucket: str) -> None:
    """Credentials that are set on a client are those that S3 is asked with from then on."""
    user = s3.user(["s3:GetObject", "s3:ListBucket"])
    async with writing(s3) as client:
        result = await finished(client, bucket)
        with s3.asking_iam():
            with pytest.raises(AuthenticationError, match="InvalidAccessKeyId"):
                await result.read()
            client.credentials = user
            assert await result.read() == VIDEO


# Failures on the way.


async def no_sleep(_seconds: float) -> None:
    """Go on at once."""


class Interrupting:
    """Does something else in the place of the first answers to questions about jobs."""

    def __init__(self, *instead: HttpAnswer | Control) -> None:
        self.instead = list(instead)

    def respond(self, request: ReceivedRequest) -> HttpAnswer | Control | None:
        asked = request.method == "GET" and request.path.startswith("/async-invoke/")
        return self.instead.pop(0) if asked and self.instead else None

    async def aclose(self) -> None:
        """Nothing is held."""


async def test_waiting_survives_throttling_and_lost_connections(s3: S3Server, bucket: str) -> None:
    """The service throttles, the connection resets, a gateway answers nonsense: the job is waited for all the same."""
    throttled = HttpAnswer(
        429,
        b'{"message": "Too many requests"}',
        {"x-amzn-errortype": "ThrottlingException:", "content-type": "application/json"},
    )
    interrupting = Interrupting(throttled, Control.RESET, HttpAnswer.html(503), throttled)
    async with writing(s3, models=[interrupting]) as client:
        job = await client.start_async_invoke(REEL, INPUT, output_s3_uri=f"s3://{bucket}")
        job._sleep = no_sleep
        assert await (await job.result()).read() == VIDEO
    assert interrupting.instead == []


async def test_time_runs_out_while_the_job_goes_on() -> None:
    """The error carries the ARN, with which the job is found again."""
    gate = asyncio.Event()
    async with served(JobScript(polls=0, until=gate.is_set)) as (client, _):
        job = await client.start_async_invoke(REEL, INPUT, output_s3_uri="s3://videos")
        with pytest.raises(AsyncInvokeTimeoutError) as caught:
            await job.wait(timeout_s=0)
        gate.set()
        again = client.async_invoke_job(caught.value.invocation_arn)
        assert (await again.wait()).status == "Completed"


def test_the_limits_of_a_question_are_those_given() -> None:
    """timeouts and retry of the handle are for each question about the job."""

    async def test(clock: Clock) -> None:
        async with served(models=[Interrupting(Control.SILENCE)]) as (client, emulator):
            job = await client.start_async_invoke(REEL, INPUT, output_s3_uri="s3://videos")
            again = client.async_invoke_job(job.arn, timeouts=Timeouts(total_s=5))
            asking = asyncio.ensure_future(again.status())
            await emulator.wait_for_requests(2)
            await clock.pass_(6)
            with pytest.raises(TimeoutError, match="5 s"):
                await asking
            assert await again.status() == "Completed"

    with_clock(test)


async def test_a_closed_client_reads_no_output(s3: S3Server, bucket: str) -> None:
    """A result belongs to its client."""
    async with writing(s3) as client:
        result = await finished(client, bucket)
        await client.aclose()
        with pytest.raises(ClientClosedError):
            await result.read()


async def test_the_owner_of_the_bucket_is_checked_when_it_was_given(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket owner that the job was started with is what S3 is asked to check."""
    heads: list[bytes] = []

    async def empty(peer: RawConnection) -> None:
        heads.append((await peer.read_request()).head.lower())
        body = b"<ListBucketResult></ListBucketResult>"
        head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/xml\r\ncontent-length: %d\r\n\r\n"
        await peer.send(head % len(body), body)

    async with RawServer(empty) as server, served() as (client, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        job = await client.start_async_invoke(REEL, INPUT, output_s3_uri="s3://videos", bucket_owner="111122223333")
        with pytest.raises(ObjectNotFoundError):
            await job.result()
    assert [b"x-amz-expected-bucket-owner: 111122223333" in head for head in heads] == [True]


# Results.


async def test_the_main_object() -> None:
    """The object called output, else the only one that is no report; else the name has to be said."""

    def result_of(*names: str) -> AsyncInvokeResult:
        outputs = [OutputObject(name, 1, f"s3://b-u-c/{name}") for name in names]
        return AsyncInvokeResult(SUMMARY, "s3://b-u-c/id", outputs, NOBODY, max_bytes=1)

    assert result_of("manifest.json", "output.json").main.name == "output.json"
    assert result_of("manifest.json", "embeddings.jsonl").main.name == "embeddings.jsonl"
    assert result_of("manifest.json").main.name == "manifest.json"
    assert result_of("generation-status.json", "shot_0001.mp4", "output.mp4").main.name == "output.mp4"
    with pytest.raises(InvalidRequestError, match=r"wrote 2 objects.*a\.json \(1 bytes\), b\.json \(1 bytes\)"):
        _ = result_of("a.json", "b.json").main
    assert repr(result_of("output.json")) == "AsyncInvokeResult('s3://b-u-c/id', ['output.json'])"


async def test_json_and_a_decoder_of_ones_own(s3: S3Server, bucket: str) -> None:
    """Embeddings come as JSON, or as what a function makes of the bytes; what is no JSON is told."""
    document: JSONValue = {"data": [{"embedding": [0.5, -1.25], "startSec": 0.0}]}
    async with writing(s3, JobScript.json(document, polls=0)) as client:
        result = await finished(client, bucket)
        assert await result.json() == document

        def vectors(name: str, data: bytes) -> tuple[str, list[list[float]]]:
            return name, [item["embedding"] for item in json.loads(data)["data"]]

        assert await result.decoded(vectors) == ("output.json", [[0.5, -1.25]])
    async with writing(s3, JobScript(objects={"output.json": b"\xff{"}, polls=0)) as client:
        with pytest.raises(ResponseDecodeError, match=r"output\.json of 2 bytes is not JSON"):
            await (await finished(client, bucket)).json()


async def test_large_output_is_streamed_and_not_read(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """What does not fit into memory by the client's limit goes to a file all the same."""
    async with writing(s3, limits=Limits(max_response_bytes=10_000)) as client:
        result = await finished(client, bucket)
        with pytest.raises(ProtocolError, match=r"at most 10000 are read into memory.*Stream it to a file"):
            await result.read()
        assert (await result.save(tmp_path / "video.mp4")).stat().st_size == len(VIDEO)


async def test_saving_into_a_folder_and_saving_everything(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """In a folder an object keeps its name; folders in names are made."""
    script = JobScript(objects={"output.json": b"{}", "parts/embedding-1.jsonl": b"1"}, polls=0)
    async with writing(s3, script) as client:
        result = await finished(client, bucket)
        assert await result.save(tmp_path) == tmp_path / "output.json"
        assert await result.save(tmp_path, "parts/embedding-1.jsonl") == tmp_path / "embedding-1.jsonl"
        paths = await result.save_all(tmp_path / "all")
    names = ["manifest.json", "output.json", "parts/embedding-1.jsonl"]
    assert [path.relative_to(tmp_path / "all").as_posix() for path in paths] == names
    assert paths[2].read_bytes() == b"1"


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "/etc/secret", "..\\secret"])
async def test_a_name_that_leads_out_of_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    """Keys of S3 are anybody's; nothing is written outside the folder, and nothing at all when one key is wrong."""
    outputs = [OutputObject("good", 1, "s3://b-u-c/good"), OutputObject(name, 1, f"s3://b-u-c/{name}")]
    result = AsyncInvokeResult(SUMMARY, "s3://b-u-c", outputs, NOBODY, max_bytes=1)
    with pytest.raises(InvalidRequestError, match="outside the folder"):
        await result.save_all(tmp_path)
    assert names_in(tmp_path) == []


async def test_a_save_that_fails_leaves_what_was_there(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """Neither half a file nor a temporary one stays, and the old file is untouched."""
    target = tmp_path / "video.mp4"
    target.write_bytes(b"old")
    async with writing(s3) as client:
        result = await finished(client, bucket)
        s3.remove(bucket, f"made/{result.output_s3_uri.rpartition('/')[2]}/output.mp4")
        with pytest.raises(ObjectNotFoundError):
            await result.save(target)
    assert names_in(tmp_path) == ["video.mp4"]
    assert target.read_bytes() == b"old"


async def test_a_save_that_is_cancelled_leaves_nothing(
    s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download that is cancelled in the middle removes its unfinished file."""
    half_sent = asyncio.Event()

    async def half(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        half_sent.set()
        await peer.closed.wait()

    async with writing(s3) as client, RawServer(half) as server:
        listed = await finished(client, bucket)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        async with BedrockClient(
            region="us-east-1", endpoint_url=client.endpoint.base_url, credentials=CREDENTIALS
        ) as other:
            result = AsyncInvokeResult(
                listed.summary, listed.output_s3_uri, listed.outputs, other._objects, max_bytes=100
            )
            async with anyio.create_task_group() as group:
                group.start_soon(result.save, tmp_path / "video.mp4")
                await half_sent.wait()
                group.cancel_scope.cancel()
    assert names_in(tmp_path) == []


# Lists.


async def test_a_list_pages_by_itself_and_filters() -> None:
    """All jobs come in one loop, the newest first, over as many pages as it takes."""
    now = datetime(2026, 3, 1, tzinfo=UTC)

    def clock() -> datetime:
        return now

    account = EmulatorAccount(page_size=2)
    async with served(emulator={"clock": clock, "account": account}) as (client, emulator):
        arns: list[str] = []
        for _ in range(5):
            arns.append((await client.start_async_invoke(REEL, INPUT, output_s3_uri="s3://videos")).arn)
            now += timedelta(minutes=1)
        emulator.requests.clear()
        listed = [summary async for summary in client.list_async_invokes()]
        assert len(emulator.requests) == 3
        oldest = [each async for each in client.list_async_invokes(sort_order="Ascending", max_results=3)]
        recent = [
            each async for each in client.list_async_invokes(submitted_after=now - timedelta(minutes=2, seconds=1))
        ]
        none = [each async for each in client.list_async_invokes(status="Failed")]
    assert [summary.invocation_arn for summary in listed] == arns[::-1]
    assert [summary.invocation_arn for summary in oldest] == arns[:3]
    assert [summary.invocation_arn for summary in recent] == arns[:2:-1]
    assert none == []
    assert all(summary.output_s3_uri for summary in listed)


async def test_a_listing_goes_on_in_another_process_until_its_token_expires() -> None:
    """next_token takes a listing up again; an expired one is told with the next step."""
    now = datetime(2026, 3, 1, tzinfo=UTC)

    def clock() -> datetime:
        return now

    async with served(emulator={"clock": clock}) as (client, _):
        for _ in range(3):
            await client.start_async_invoke(REEL, INPUT, output_s3_uri="s3://videos")
        listing = client.list_async_invokes(page_size=1)
        first = await anext(listing)
        rest = [each async for each in client.list_async_invokes(page_size=1, next_token=listing.next_token)]
        now += timedelta(hours=2)
        with pytest.raises(ValidationError, match=r"has expired.*start the listing again"):
            await anext(listing)
        with pytest.raises(ValidationError, match=r"is invalid.*start the listing again"):
            await anext(client.list_async_invokes(next_token="of-another-account"))
    assert len({first.invocation_arn, *(each.invocation_arn for each in rest)}) == 3


SUMMARY: Final = AsyncInvokeSummary.from_wire(
    {"invocationArn": "arn:aws:bedrock:us-east-1:123456789012:async-invoke/abcdef012345", "status": "Completed"}
)
NOBODY: Any = None


async def test_handles_need_no_client() -> None:
    """The class can be used over any service and store; defaults of clock, sleep and randomness are its own."""

    async def poll(limit_s: float | None) -> AsyncInvokeSummary:
        return SUMMARY

    job = AsyncInvokeJob(SUMMARY.invocation_arn, poll=poll, objects=NOBODY, max_bytes=1, random=Random(1))
    assert (await job.wait(timeout_s=1)) is SUMMARY
