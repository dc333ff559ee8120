"""Marengo: the input of jobs, the clips that they write, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any, Final

import pytest
from bedrock_async_twelvelabs import Clip, TwelveLabsFamily, embedding_input, read_clips
from bedrock_async_twelvelabs.marengo import Content
from hypothesis import given
from native_properties import strange_chunks
from s3_server import CREDENTIALS, S3Server, s3_server

from bedrock_async import AudioBlock, BedrockClient, ImageBlock, InvalidRequestError, ResponseDecodeError, VideoBlock
from bedrock_async.families import EmbedRequest, FamilyContext, ModelProfile, find_profile
from bedrock_async.model_id import parse_model_id
from bedrock_async.testing import BedrockEmulator, JobModel, JobScript, S3ObjectStore
from bedrock_async.types import MediaSource, S3Location

FAMILY: Final = TwelveLabsFamily()
THREE: Final = "twelvelabs.marengo-embed-3-0-v1:0"
TWO: Final = "twelvelabs.marengo-embed-2-7-v1:0"
LOCATION: Final = S3Location(uri="s3://amzn-s3-demo-bucket/my-video.mp4", bucket_owner="123456789012")
WIRE: Final = {"s3Location": {"uri": "s3://amzn-s3-demo-bucket/my-video.mp4", "bucketOwner": "123456789012"}}
VIDEO: Final = VideoBlock(format="mp4", source=MediaSource(s3_location=LOCATION))
AUDIO: Final = AudioBlock(format="wav", source=MediaSource(s3_location=LOCATION))
IMAGE: Final = ImageBlock(format="png", source=MediaSource(bytes=b"image"))

# As output.json was seen to be, and as it is documented.  [Bedrock user guide, "TwelveLabs Marengo Embed 3.0"]
OUTPUT: Final[dict[str, Any]] = {
    "data": [
        {
            "embedding": [0.111, 0.234],
            "embeddingOption": "visual",
            "embeddingScope": "clip",
            "startSec": 0.0,
            "endSec": 4.2,
        },
        {
            "embedding": [0.5, 0.6],
            "embeddingOption": "fused",
            "embeddingScope": "asset",
            "startSec": 0,
            "endSec": 19.35,
        },
    ]
}
CLIPS: Final = (
    Clip((0.111, 0.234), option="visual", scope="clip", start_s=0.0, end_s=4.2),
    Clip((0.5, 0.6), option="fused", scope="asset", start_s=0, end_s=19.35),
)


@pytest.mark.parametrize(
    ("model", "content", "options", "native"),
    [
        (
            THREE,
            VIDEO,
            {"startSec": 10, "endSec": 20, "segmentation": {"method": "fixed", "fixed": {"durationSec": 5}}},
            {
                "inputType": "video",
                "video": {
                    "mediaSource": WIRE,
                    "startSec": 10,
                    "endSec": 20,
                    "segmentation": {"method": "fixed", "fixed": {"durationSec": 5}},
                },
            },
        ),
        (THREE, AUDIO, {}, {"inputType": "audio", "audio": {"mediaSource": WIRE}}),
        (
            TWO,
            VIDEO,
            {"lengthSec": 13, "embeddingOption": ["visual-text", "audio"]},
            {
                "inputType": "video",
                "mediaSource": WIRE,
                "lengthSec": 13,
                "embeddingOption": ["visual-text", "audio"],
            },
        ),
        (f"us.{TWO}", IMAGE, {}, {"inputType": "image", "mediaSource": {"base64String": "aW1hZ2U="}}),
        (f"us.{THREE}", "a dog", {}, {"inputType": "text", "text": {"inputText": "a dog"}}),
    ],
)
def test_the_input_of_a_job_is_that_of_the_user_guide(
    model: str,
    content: Content,
    options: dict[str, Any],
    native: dict[str, Any],
) -> None:
    """Flat for 2.7, with a member for the medium since 3.0."""
    assert embedding_input(model, content, **options) == native


@pytest.mark.parametrize(
    ("output", "clips"),
    [
        (OUTPUT, CLIPS),
        ({"data": OUTPUT["data"][0]}, CLIPS[:1]),
        (
            {"embedding": [1.0], "embeddingOption": "visual-text", "startSec": 0, "endSec": 5},
            (Clip((1.0,), option="visual-text", start_s=0, end_s=5),),
        ),
        ({"data": [{"embedding": [1.0]}]}, (Clip((1.0,)),)),
    ],
)
def test_clips_are_read_in_every_form(output: Any, clips: tuple[Clip, ...]) -> None:  # noqa: ANN401 - JSON
    """A list of them, the only one, and that of Marengo 2.7."""
    assert read_clips("output.json", json.dumps(output).encode()) == clips


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"{}", b"\xff", b'{"data": []}', b'{"data": [{}]}', b'{"data": 7}', b'{"data": "a"}'],
)
def test_an_output_of_another_form_is_an_error(data: bytes) -> None:
    """The error has the bytes and the name of the object."""
    with pytest.raises(ResponseDecodeError, match=r"output\.json \(\d+ bytes\) is not as the service") as caught:
        read_clips("output.json", data)
    assert caught.value.body == data


@given(strange_chunks("data", "embedding", "embeddingOption", "startSec"))
def test_outputs_of_any_shape_are_clips_or_an_error_of_ours(output: dict[str, Any]) -> None:
    """No KeyError escapes."""
    try:
        clips = read_clips("output.json", json.dumps(output).encode())
    except ResponseDecodeError:
        return
    assert clips


@pytest.mark.parametrize(
    ("model", "request_", "said", "path"),
    [
        (THREE, EmbedRequest(inputs=["a", "b"]), "one input in a request, and there are 2", "inputs"),
        (THREE, EmbedRequest(inputs=[]), "one input in a request, and there are 0", "inputs"),
        (THREE, EmbedRequest(inputs=[VIDEO]), r"a video for InvokeModel.*start_async_invoke", r"inputs[0]"),
        (THREE, EmbedRequest(inputs=["a"], dimensions=1024), r"1024 dimensions.*have 512", "dimensions"),
        (THREE, EmbedRequest(inputs=["a"], normalize=True), "a choice of normalizing", "normalize"),
        (THREE, EmbedRequest(inputs=["a"], purpose="haste"), "the purpose 'haste'", "purpose"),
        (THREE, EmbedRequest(inputs=["a"], truncate="end"), "a choice of truncating", "truncate"),
        (TWO, EmbedRequest(inputs=[IMAGE], truncate="end"), "a choice of truncating", "truncate"),
        ("twelvelabs.pegasus-1-2-v1:0", EmbedRequest(inputs=["a"]), "knows no embedding model", "model"),
    ],
)
def test_what_the_body_cannot_say_is_refused(model: str, request_: EmbedRequest, said: str, path: str) -> None:
    """The error names the place, and what is supported instead."""
    parsed = parse_model_id(model)
    with pytest.raises(InvalidRequestError, match=said) as caught:
        FAMILY.encode_embed(request_, FamilyContext(parsed, find_profile(parsed.base_model)))
    assert caught.value.path == path


def test_dimensions_that_nobody_knows_are_refused() -> None:
    """The body cannot express them, whatever a profile says."""
    ctx = FamilyContext(parse_model_id(THREE), ModelProfile(source="the call"))
    with pytest.raises(InvalidRequestError, match="512 dimensions"):
        FAMILY.encode_embed(EmbedRequest(inputs=["a"], dimensions=512), ctx)


@pytest.fixture(scope="module")
def s3() -> Generator[S3Server]:
    """One S3 for the module."""
    with s3_server() as server:
        yield server


async def test_a_job_embeds_a_video(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the medium to typed clips, through the emulator and S3."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
    bucket = s3.bucket()
    async with (
        S3ObjectStore(s3.url, credentials=CREDENTIALS) as store,
        BedrockEmulator([JobModel(JobScript.json(OUTPUT, polls=0))], object_store=store) as emulator,
        BedrockClient(region="us-east-1", endpoint_url=emulator.url, credentials=CREDENTIALS) as client,
    ):
        job = await client.start_async_invoke(THREE, embedding_input(THREE, VIDEO), output_s3_uri=f"s3://{bucket}/made")
        clips = await (await job.result()).decoded(read_clips)
    assert clips == CLIPS
