"""Jobs of the emulator, as boto3 and aiobotocore drive them: states, tokens, pages, output, refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import aiohttp
import anyio
import pytest
from botocore.exceptions import ClientError
from official_clients import OFFICIAL_CLIENTS, Connect, OfficialClient
from s3_server import CREDENTIALS, S3Server, s3_server

from bedrock_async import ConnectError
from bedrock_async.errors import service_error
from bedrock_async.testing import (
    BedrockEmulator,
    EmulatorAccount,
    JobModel,
    JobScript,
    MemoryObjectStore,
    S3ObjectStore,
    ScriptedModel,
)

REEL: Final = "amazon.nova-reel-v1:1"
INPUT: Final = {"taskType": "TEXT_VIDEO", "textToVideoParams": {"text": "A bridge in fog."}}
OUTPUT: Final = {"s3OutputDataConfig": {"s3Uri": "s3://videos/made/"}}


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **interval: float) -> None:
        """Let time pass."""
        self.now += timedelta(**interval)


@pytest.fixture(params=list(OFFICIAL_CLIENTS))
def connect(request: pytest.FixtureRequest) -> Connect:
    """Return the function that opens one of the official clients."""
    return OFFICIAL_CLIENTS[request.param]


@pytest.fixture
def clock() -> Clock:
    """The emulator's clock."""
    return Clock()


@pytest.fixture
def store() -> MemoryObjectStore:
    """Where jobs write."""
    return MemoryObjectStore()


class Served:
    """An emulator of jobs and an official client of it."""

    def __init__(self, emulator: BedrockEmulator, client: OfficialClient) -> None:
        self.emulator = emulator
        self.client = client

    async def start(self, **members: Any) -> str:  # noqa: ANN401
        """Start a job; return its ARN."""
        request: dict[str, Any] = {"modelId": REEL, "modelInput": INPUT, "outputDataConfig": OUTPUT, **members}
        arn: str = (await self.client.call("start_async_invoke", **request))["invocationArn"]
        return arn

    async def get(self, arn: str) -> dict[str, Any]:
        """Ask for a job."""
        return await self.client.call("get_async_invoke", invocationArn=arn)

    async def page(self, **filters: Any) -> dict[str, Any]:  # noqa: ANN401
        """Ask for a page of jobs."""
        return await self.client.call("list_async_invokes", **filters)

    async def all(self, **filters: Any) -> list[str]:  # noqa: ANN401
        """Return the ARNs of all pages."""
        arns: list[str] = []
        token: Mapping[str, str] = {}
        while True:
            page = await self.page(**filters, **token)
            arns += [summary["invocationArn"] for summary in page["asyncInvokeSummaries"]]
            if "nextToken" not in page:
                return arns
            token = {"nextToken": page["nextToken"]}


@asynccontextmanager
async def served(connect: Connect, script: JobScript | None = None, **options: Any) -> AsyncGenerator[Served]:  # noqa: ANN401
    """Serve a model of jobs."""
    model = JobModel(script or JobScript.video(b"a video"), model_ids=[REEL])
    async with BedrockEmulator([model], **options) as emulator, connect(emulator.url) as client:
        yield Served(emulator, client)


async def refusal(call: Any) -> tuple[str, str]:  # noqa: ANN401 - an awaitable of any result
    """Return code and message of the service's refusal."""
    with pytest.raises(ClientError) as caught:
        await call
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


async def test_a_job_runs_and_writes_its_output(connect: Connect, clock: Clock, store: MemoryObjectStore) -> None:
    """In progress, then complete: with times, the folder of the job, and objects in the store."""
    async with served(connect, JobScript.video(b"a video", polls=2), clock=clock, object_store=store) as served_:
        arn = await served_.start(clientRequestToken="token-1")
        first = await served_.get(arn)
        assert [key for key in store.objects if not key.endswith("manifest.json")] == []
        clock.turn(seconds=90)
        second, third = await served_.get(arn), await served_.get(arn)
    prefix, _, invocation_id = arn.partition("async-invoke/")
    assert prefix == "arn:aws:bedrock:us-east-1:123456789012:"
    assert [each["status"] for each in (first, second, third)] == ["InProgress", "InProgress", "Completed"]
    assert "endTime" not in second
    assert third["endTime"] - third["submitTime"] == timedelta(seconds=90)
    assert third["lastModifiedTime"] == third["endTime"]
    assert third["clientRequestToken"] == "token-1"
    assert third["modelArn"] == f"arn:aws:bedrock:us-east-1::foundation-model/{REEL}"
    folder = f"s3://videos/made/{invocation_id}"
    assert third["outputDataConfig"] == {"s3OutputDataConfig": {"s3Uri": folder}}
    assert sorted(store.objects) == [
        f"{folder}/manifest.json",
        f"{folder}/output.mp4",
        f"{folder}/shot_0001.mp4",
        f"{folder}/video-generation-status.json",
    ]
    assert store.objects[f"{folder}/output.mp4"] == b"a video"
    report = json.loads(store.objects[f"{folder}/video-generation-status.json"])
    assert report["fullVideo"] == {"status": "SUCCESS", "location": f"{folder}/output.mp4"}


async def test_a_failed_job_says_why(connect: Connect, clock: Clock, store: MemoryObjectStore) -> None:
    """The message is in failureMessage, and nothing but the manifest is written."""
    said = "The generated video has been blocked by our content filters."
    async with served(connect, JobScript(failure=said, polls=0), clock=clock, object_store=store) as served_:
        job = await served_.get(await served_.start())
    assert (job["status"], job["failureMessage"]) == ("Failed", said)
    assert job["endTime"] == job["submitTime"]
    assert len(store.objects) == 1


async def test_a_job_takes_the_time_of_its_script(connect: Connect, clock: Clock) -> None:
    """Seconds pass by the emulator's clock only, and a gate holds a job as long as it is closed."""
    gate = asyncio.Event()
    script = JobScript(polls=0, seconds=60, until=gate.is_set)
    async with served(connect, script, clock=clock) as served_:
        arn = await served_.start()
        clock.turn(seconds=59)
        gate.set()
        assert (await served_.get(arn))["status"] == "InProgress"
        gate.clear()
        clock.turn(seconds=1)
        assert (await served_.get(arn))["status"] == "InProgress"
        gate.set()
        assert (await served_.get(arn))["status"] == "Completed"
        assert (await served_.get(arn))["status"] == "Completed"


async def test_a_script_for_every_input(connect: Connect, store: MemoryObjectStore) -> None:
    """A function sees the job's input, and may refuse it as the service does."""

    def script(model_input: Mapping[str, Any]) -> JobScript:
        if "prompt" not in model_input:
            raise service_error("ValidationException", "The provided request is not valid")
        return JobScript.json({"said": model_input["prompt"]}, polls=0)

    model = JobModel(script)
    async with BedrockEmulator([model], object_store=store) as emulator, connect(emulator.url) as client:
        served_ = Served(emulator, client)
        arn = await served_.start(modelInput={"prompt": "Hi"})
        await served_.get(arn)
        refused = await refusal(served_.start(modelInput={}))
    assert store.objects[f"s3://videos/made/{arn[-12:]}/output.json"] == b'{"said": "Hi"}'
    assert refused == ("ValidationException", "The provided request is not valid")


async def test_any_model_runs_jobs(connect: Connect, store: MemoryObjectStore) -> None:
    """A model that knows nothing of jobs writes its native answer; what it refuses is a job that fails."""
    models = [
        ScriptedModel([], native=[{"embedding": [1, 2]}], model_ids=["amazon.titan-embed-text-v2:0"]),
        ScriptedModel([service_error("ModelErrorException", "no such voice")], model_ids=["acme.voice-v1"]),
    ]
    async with BedrockEmulator(models, object_store=store) as emulator, connect(emulator.url) as client:
        served_ = Served(emulator, client)
        done = await served_.start(modelId="amazon.titan-embed-text-v2:0")
        failed = await served_.start(modelId="acme.voice-v1")
        states = [await served_.get(arn) for arn in (done, done, failed, failed)]
    assert [state["status"] for state in states] == ["InProgress", "Completed", "InProgress", "Failed"]
    assert states[3]["failureMessage"] == "no such voice"
    assert json.loads(store.objects[f"s3://videos/made/{done[-12:]}/output.json"]) == {"embedding": [1, 2]}


# Tokens.


async def test_the_same_token_is_the_same_job(connect: Connect) -> None:
    """However often a request comes in, also at once, there is one job; another token is another job."""
    async with served(connect) as served_:
        arns: list[str] = []

        async def start() -> None:
            arns.append(await served_.start(clientRequestToken="one"))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(start)
        other = await served_.start(clientRequestToken="two")
        assert await served_.all() == [other, arns[0]]
    assert len(set(arns)) == 1


@pytest.mark.parametrize(
    "members",
    [
        {"modelInput": {"taskType": "OTHER"}},
        {"modelId": f"us.{REEL}"},
        {"outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://videos/elsewhere"}}},
        {"tags": [{"key": "a", "value": "b"}]},
    ],
)
async def test_the_same_token_for_something_else_is_a_conflict(connect: Connect, members: dict[str, Any]) -> None:
    """A token stands for one request, whatever of it is changed."""
    async with served(connect) as served_:
        await served_.start(clientRequestToken="one")
        code, message = await refusal(served_.start(clientRequestToken="one", **members))
    assert code == "ConflictException"
    assert "clientRequestToken" in message


async def test_official_clients_bring_a_token_of_their_own(connect: Connect) -> None:
    """botocore makes a token for every call, so that two calls are two jobs."""
    async with served(connect) as served_:
        assert await served_.start() != await served_.start()


async def test_tags_are_kept(connect: Connect) -> None:
    """The emulator knows the tags of a job."""
    async with served(connect) as served_:
        arn = await served_.start(tags=[{"key": "team", "value": "video"}])
        assert served_.emulator.jobs.tags(arn) == {"team": "video"}


# Lists.


async def test_lists_come_newest_first_and_by_pages(connect: Connect, clock: Clock) -> None:
    """Pages of any size hold every job once, newest first unless asked otherwise."""
    async with served(connect, clock=clock) as served_:
        arns: list[str] = []
        for _ in range(5):
            arns.append(await served_.start())
            clock.turn(minutes=1)
        assert await served_.all() == arns[::-1]
        assert await served_.all(maxResults=2) == arns[::-1]
        assert await served_.all(maxResults=5) == arns[::-1]
        assert await served_.all(maxResults=2, sortBy="SubmissionTime", sortOrder="Ascending") == arns
        first = await served_.page(maxResults=2)
        newest = await served_.start()
        rest = await served_.page(maxResults=2, nextToken=first["nextToken"])
    listed = [summary["invocationArn"] for summary in rest["asyncInvokeSummaries"]]
    assert listed == arns[1:3][::-1]
    assert newest not in listed


async def test_lists_are_filtered(connect: Connect, clock: Clock) -> None:
    """By status and by time of submission; listing brings jobs further too."""
    async with served(connect, JobScript(polls=0, seconds=100), clock=clock) as served_:
        early = await served_.start()
        clock.turn(seconds=60)
        between = clock.now - timedelta(seconds=30)
        late = await served_.start()
        assert await served_.all(statusEquals="InProgress") == [late, early]
        clock.turn(seconds=60)
        assert await served_.all(statusEquals="Completed") == [early]
        assert await served_.all(statusEquals="Failed") == []
        assert await served_.all(submitTimeAfter=between) == [late]
        assert await served_.all(submitTimeBefore=between) == [early]
        assert await served_.all(submitTimeAfter=between, submitTimeBefore=between) == []


async def test_page_tokens_expire_and_hold_for_their_filters(connect: Connect, clock: Clock) -> None:
    """A token is good for an hour, for the listing it came from, and for this account."""
    async with served(connect, clock=clock) as served_:
        for _ in range(3):
            await served_.start()
        token = (await served_.page(maxResults=1))["nextToken"]
        other = await refusal(served_.page(maxResults=1, nextToken=token, statusEquals="Failed"))
        foreign = await refusal(served_.page(nextToken="of-another-account"))
        clock.turn(hours=1)
        assert len((await served_.page(maxResults=1, nextToken=token))["asyncInvokeSummaries"]) == 1
        clock.turn(seconds=1)
        expired = await refusal(served_.page(maxResults=1, nextToken=token))
    assert {other[0], foreign[0], expired[0]} == {"ValidationException"}
    assert "invalid" in other[1]
    assert "invalid" in foreign[1]
    assert "expired" in expired[1]


@pytest.mark.parametrize("query", ["maxResults=0", "maxResults=1001", "maxResults=many", "submitTimeAfter=yesterday"])
async def test_wrong_queries_are_refused(query: str) -> None:
    """Numbers and times that cannot be meant are refused; official clients would not send them."""
    async with (
        BedrockEmulator() as emulator,
        aiohttp.ClientSession() as session,
        session.get(f"{emulator.url}/async-invoke?{query}") as response,
    ):
        assert response.status == 400
        assert response.headers["x-amzn-errortype"].startswith("ValidationException:")


async def test_the_account_sets_the_size_of_pages(connect: Connect) -> None:
    """A page is no larger than the account's, whatever was asked for."""
    async with served(connect, account=EmulatorAccount(page_size=2)) as served_:
        for _ in range(3):
            await served_.start()
        assert len((await served_.page(maxResults=1000))["asyncInvokeSummaries"]) == 2
        assert len(await served_.all()) == 3


# Refusals.


async def test_arns_of_others_and_of_nobody(connect: Connect) -> None:
    """Another account's job is denied by IAM, an unknown one is invalid, and what is no ARN too."""
    async with served(connect) as served_:
        arn = await served_.start()
        foreign = await refusal(served_.get(arn.replace("123456789012", "999999999999")))
        unknown = await refusal(served_.get(arn[:-12] + "abcdef012345"))
        malformed = await refusal(served_.get("arn:aws:bedrock:us-east-1:123456789012:async-invoke/SHOUTING"))
    assert foreign[0] == "AccessDeniedException"
    assert "not authorized to perform: bedrock:GetAsyncInvoke" in foreign[1]
    assert unknown[0] == "ValidationException"
    assert malformed[0] == "ValidationException"
    assert "failed to satisfy constraint" in malformed[1]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"modelId": "no.such-model"}, "The provided model identifier is invalid."),
        ({"outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "https://videos"}}}, "failed to satisfy constraint"),
        (
            {"outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://videos", "bucketOwner": "me"}}},
            "failed to satisfy constraint",
        ),
        (
            {"outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://videos", "kmsKeyId": "key"}}},
            "failed to satisfy constraint",
        ),
    ],
)
async def test_wrong_members_are_refused(connect: Connect, members: dict[str, Any], said: str) -> None:
    """Models, places and keys are held to the service model."""
    async with served(connect) as served_:
        code, message = await refusal(served_.start(**members))
        assert await served_.all() == []
    assert code == "ValidationException"
    assert said in message


async def test_a_prefix_without_permission_starts_no_job(connect: Connect) -> None:
    """The service tries to write at the start, and its refusal is the one that users print in public threads."""
    async with served(connect, object_store=MemoryObjectStore(denied=("s3://videos/",))) as served_:
        refused = await refusal(served_.start(clientRequestToken="one"))
        assert await served_.all() == []
        allowed = {"s3OutputDataConfig": {"s3Uri": "s3://elsewhere"}}
        assert await served_.start(clientRequestToken="one", outputDataConfig=allowed)
    assert refused == ("ValidationException", "Invalid Output Config/Credentials")


async def test_a_permission_that_goes_away_fails_the_job(connect: Connect, store: MemoryObjectStore) -> None:
    """What cannot be written in the end is the job's failure."""
    async with served(connect, JobScript(polls=0), object_store=store) as served_:
        arn = await served_.start()
        store.denied = ("s3://videos/",)
        job = await served_.get(arn)
    assert job["status"] == "Failed"
    assert "Access Denied" in job["failureMessage"]


async def test_denied_actions_are_refused(connect: Connect) -> None:
    """Each operation has its own action; starting one needs bedrock:InvokeModel."""
    denied = ["bedrock:InvokeModel", "bedrock:GetAsyncInvoke", "bedrock:ListAsyncInvokes"]
    arn = "arn:aws:bedrock:us-east-1:123456789012:async-invoke/abcdef012345"
    async with served(connect, account=EmulatorAccount(denied_actions=denied)) as served_:
        for call, action in zip((served_.start(), served_.get(arn), served_.page()), denied, strict=True):
            code, message = await refusal(call)
            assert code == "AccessDeniedException"
            assert f"not authorized to perform: {action}" in message


async def test_a_model_that_fails_to_make_a_script_is_an_error_of_the_service(connect: Connect) -> None:
    """An exception of a test's own function is answered in the service's form."""

    def broken(model_input: Mapping[str, Any]) -> JobScript:
        raise LookupError(str(model_input))

    async with BedrockEmulator([JobModel(broken)]) as emulator, connect(emulator.url) as client:
        code, message = await refusal(Served(emulator, client).start())
    assert code == "InternalServerException"
    assert "LookupError" in message


# Stores.


@pytest.fixture(scope="module")
def s3() -> Generator[S3Server]:
    """One S3 for the module."""
    with s3_server() as server:
        yield server


async def test_output_goes_to_a_real_s3(connect: Connect, s3: S3Server) -> None:
    """With a store of S3 the objects are in the bucket that the request named."""
    bucket = s3.bucket()
    place = {"s3OutputDataConfig": {"s3Uri": f"s3://{bucket}"}}
    async with (
        S3ObjectStore(s3.url, credentials=CREDENTIALS) as store,
        served(connect, JobScript.video(b"a video", polls=0), object_store=store) as served_,
    ):
        arn = await served_.start(outputDataConfig=place)
        await served_.get(arn)
    objects = s3.objects(bucket)
    assert objects[f"{arn[-12:]}/output.mp4"] == b"a video"
    assert sorted(objects) == [
        f"{arn[-12:]}/{name}"
        for name in ("manifest.json", "output.mp4", "shot_0001.mp4", "video-generation-status.json")
    ]


async def test_a_bucket_that_denies_or_is_not_there_refuses_the_job(connect: Connect, s3: S3Server) -> None:
    """A bucket policy and a missing bucket are told in the same words."""
    bucket = s3.bucket({"x": b""})
    s3.deny(bucket, "s3:PutObject")
    async with S3ObjectStore(s3.url) as store, served(connect, object_store=_Strict(store, bucket)) as served_:
        for name in (bucket, "no-such-bucket"):
            refused = await refusal(served_.start(outputDataConfig={"s3OutputDataConfig": {"s3Uri": f"s3://{name}"}}))
            assert refused == ("ValidationException", "Invalid Output Config/Credentials")


class _Strict:
    """Writes over an object that is there: moto looks at a bucket's policy only then."""

    def __init__(self, store: S3ObjectStore, bucket: str) -> None:
        self._store, self._bucket = store, bucket

    async def put(self, uri: str, data: bytes) -> None:
        await self._store.put(f"s3://{self._bucket}/x" if uri.startswith(f"s3://{self._bucket}/") else uri, data)


async def test_a_store_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store names what it could not reach."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    async with S3ObjectStore("http://127.0.0.1:1") as store:
        with pytest.raises(ConnectError, match="s3://bucket/key"):
            await store.put("s3://bucket/key", b"")


async def test_without_a_store_output_stays_in_memory(connect: Connect) -> None:
    """An emulator of nothing in particular keeps the output where a test finds it."""
    async with served(connect, JobScript(polls=0)) as served_:
        await served_.get(await served_.start())
        store = cast("MemoryObjectStore", served_.emulator.object_store)
    assert [uri.rpartition("/")[2] for uri in store.objects] == ["manifest.json", "output.json"]
