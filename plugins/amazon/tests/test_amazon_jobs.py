"""Jobs of Amazon's models the whole way: through the emulator, with what they write in S3."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from typing import Any, Final

import pytest
from bedrock_async_amazon import (
    SUMMARY,
    AmazonFamily,
    Shot,
    multi_shot,
    read_segmentation,
    read_segments,
    segmented_embedding,
)
from s3_server import CREDENTIALS, S3Server, s3_server

from bedrock_async import BedrockClient, VideoBlock
from bedrock_async.testing import BedrockEmulator, JobModel, JobScript, S3ObjectStore

REEL: Final = "amazon.nova-reel-v1:1"


@pytest.fixture(scope="module")
def s3() -> Generator[S3Server]:
    """One S3 for the module."""
    with s3_server() as server:
        yield server


def client(emulator: BedrockEmulator) -> BedrockClient:
    """A client of the emulator."""
    return BedrockClient(
        region="us-east-1", endpoint_url=emulator.url, credentials=CREDENTIALS, families={"amazon": AmazonFamily()}
    )


async def test_a_video_is_made_by_a_job(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a prompt to the bytes of the video; the input of the job is Nova Reel's."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
    inputs: list[Mapping[str, Any]] = []

    def script(model_input: Mapping[str, Any]) -> JobScript:
        inputs.append(model_input)
        return JobScript.video(b"a video", polls=0)

    async with (
        S3ObjectStore(s3.url, credentials=CREDENTIALS) as store,
        BedrockEmulator([JobModel(script)], object_store=store) as emulator,
        client(emulator) as bedrock,
    ):
        options = {"output_s3_uri": f"s3://{s3.bucket()}/made"}
        reply = await bedrock.converse(REEL, "A cave.", provider="async-invoke", provider_options=options)
    (block,) = reply.message.content
    assert isinstance(block, VideoBlock)
    assert (block.format, block.source.bytes) == ("mp4", b"a video")
    assert inputs == [
        {
            "taskType": "TEXT_VIDEO",
            "textToVideoParams": {"text": "A cave."},
            "videoGenerationConfig": {"durationSeconds": 6, "fps": 24, "dimension": "1280x720"},
        }
    ]


async def test_long_content_is_embedded_by_a_job(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary names the objects, and each holds a vector for every segment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
    line = {"embedding": [0.5], "segmentMetadata": {"segmentIndex": 0}, "status": "SUCCESS"}
    inputs: list[Mapping[str, Any]] = []

    def objects(folder: str) -> Mapping[str, bytes]:
        part = {"embeddingType": "TEXT", "status": "SUCCESS", "outputFileUri": f"{folder}/embedding-text.jsonl"}
        return {
            SUMMARY: json.dumps({"embeddingDimension": 256, "embeddingResults": [part]}).encode(),
            "embedding-text.jsonl": b"\n".join([json.dumps(line).encode()] * 2),
        }

    def script(model_input: Mapping[str, Any]) -> JobScript:
        inputs.append(model_input)
        return JobScript(objects=objects, polls=0)

    async with (
        S3ObjectStore(s3.url, credentials=CREDENTIALS) as store,
        BedrockEmulator([JobModel(script)], object_store=store) as emulator,
        client(emulator) as bedrock,
    ):
        wanted = segmented_embedding("A long text.", dimensions=256)
        job = await bedrock.start_async_invoke(
            "amazon.nova-2-multimodal-embeddings-v1:0", wanted, output_s3_uri=f"s3://{s3.bucket()}"
        )
        result = await job.result()
        summary = await result.decoded(read_segmentation, SUMMARY)
        segments = [segment for part in summary.parts for segment in await result.decoded(read_segments, part.name)]
    assert inputs == [wanted]
    assert [segment.vector for segment in segments] == [(0.5,), (0.5,)]


async def test_the_shots_of_a_video_are_told_one_by_one(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """As native fields of generate_video; the job's handle gives the video."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
    inputs: list[Mapping[str, Any]] = []

    def script(model_input: Mapping[str, Any]) -> JobScript:
        inputs.append(model_input)
        return JobScript.video(b"a video", polls=0)

    fields = multi_shot([Shot("A cave."), Shot("A bear comes out.")])
    async with (
        S3ObjectStore(s3.url, credentials=CREDENTIALS) as store,
        BedrockEmulator([JobModel(script)], object_store=store) as emulator,
        client(emulator) as bedrock,
    ):
        job = await bedrock.generate_video(
            REEL, output_s3_uri=f"s3://{s3.bucket()}", seed=5, additional_request_fields=fields
        )
        video = await job.result()
    assert (video.name, video.data, video.format) == ("output.mp4", b"a video", "mp4")
    assert inputs == [{**fields, "videoGenerationConfig": {"fps": 24, "dimension": "1280x720", "seed": 5}}]
