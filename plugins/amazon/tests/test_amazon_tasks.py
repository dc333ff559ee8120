"""Embeddings, images and videos: what requests become, and what answers say."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import pytest
from bedrock_async_amazon import AmazonFamily, Shot, multi_shot
from bedrock_async_amazon.videos import OUTPUT

from bedrock_async import InvalidRequestError, ModelError
from bedrock_async.families import (
    EmbedRequest,
    FamilyContext,
    GeneratedImage,
    ImageRequest,
    VideoRequest,
    find_profile,
)
from bedrock_async.model_id import parse_model_id
from bedrock_async.types import ImageBlock, MediaSource, S3Location, VideoBlock

FAMILY: Final = AmazonFamily()
TITAN_1: Final = "amazon.titan-embed-text-v1"
TITAN_2: Final = "amazon.titan-embed-text-v2:0"
TITAN_IMAGE: Final = "amazon.titan-embed-image-v1"
NOVA: Final = "amazon.nova-2-multimodal-embeddings-v1:0"
CANVAS: Final = "amazon.nova-canvas-v1:0"
REEL: Final = "amazon.nova-reel-v1:1"

PNG: Final = b"\x89PNG\r\n\x1a\n"
ENCODED: Final = b64encode(PNG).decode()
IMAGE: Final = ImageBlock(format="png", source=MediaSource(bytes=PNG))
PLACE: Final = MediaSource(s3_location=S3Location(uri="s3://bucket/key", bucket_owner="123456789012"))
STORED: Final = ImageBlock(format="jpeg", source=PLACE)


def context(model: str) -> FamilyContext:
    """Return the context of a call."""
    parsed = parse_model_id(model)
    return FamilyContext(parsed, find_profile(parsed.base_model, also=[FAMILY.profiles]))


# -- embeddings


def embedding(model: str, request: EmbedRequest) -> Any:  # noqa: ANN401 - JSON
    """The native body for an input."""
    return json.loads(json.dumps(FAMILY.encode_embed(request, context(model)).body))


@pytest.mark.parametrize("model", [TITAN_1, "amazon.titan-embed-g1-text-02"])
def test_titans_first_embeddings_take_text_alone(model: str) -> None:
    """What its body cannot express is refused; what it does anyway needs no member."""
    request = EmbedRequest(inputs=["a"], purpose="query", normalize=False, truncate="none")
    assert embedding(model, request) == {"inputText": "a"}
    for changes, path in (({"dimensions": 256}, "dimensions"), ({"normalize": True}, "normalize")):
        with pytest.raises(
            InvalidRequestError, match=r"'amazon' cannot express .* native body of amazon\.titan"
        ) as caught:
            embedding(model, replace(request, **changes))
        assert caught.value.path == path


@pytest.mark.parametrize(
    ("model", "changes", "path"),
    [
        (TITAN_2, {"truncate": "end"}, "truncate"),
        (TITAN_2, {"purpose": "search_query"}, "purpose"),
        (TITAN_2, {"inputs": [IMAGE]}, "inputs[0]"),
        (TITAN_IMAGE, {"normalize": True}, "normalize"),
        (TITAN_IMAGE, {"inputs": [STORED]}, "inputs[0].source"),
        (TITAN_IMAGE, {"inputs": [VideoBlock(format="mp4", source=PLACE)]}, "inputs[0]"),
        (NOVA, {"normalize": False}, "normalize"),
        (NOVA, {"inputs": [IMAGE], "truncate": "end"}, "truncate"),
    ],
)
def test_what_an_embedding_model_cannot_do_is_refused(model: str, changes: dict[str, Any], path: str) -> None:
    """The error names the family, the place and the model."""
    request = replace(EmbedRequest(inputs=["a"]), **changes)
    with pytest.raises(InvalidRequestError, match="the family 'amazon' cannot express") as caught:
        embedding(model, request)
    assert caught.value.path == path
    assert model in str(caught.value)


@pytest.mark.parametrize("inputs", [[], ["a", "b"]])
def test_one_input_goes_into_a_request(inputs: list[str]) -> None:
    """The error says how many there were."""
    with pytest.raises(InvalidRequestError, match=f"there are {len(inputs)}"):
        embedding(TITAN_2, EmbedRequest(inputs=inputs))


def test_a_model_that_makes_no_embeddings_is_refused() -> None:
    """It is refused before a body is written."""
    with pytest.raises(InvalidRequestError, match=r"knows no embedding model 'amazon\.nova-lite-v1:0'"):
        FAMILY.encode_embed(EmbedRequest(inputs=["a"]), context("amazon.nova-lite-v1:0"))


def test_titan_may_give_other_types_than_float() -> None:
    """The caller's additional fields ask for them."""
    request = EmbedRequest(inputs=["a"], fields={"embeddingTypes": ["binary"]})
    assert embedding(TITAN_2, request) == {"inputText": "a", "embeddingTypes": ["binary"]}
    body = {"embeddingsByType": {"binary": [0, 1, 1]}, "inputTextTokenCount": 1}
    assert FAMILY.decode_embed(body, {}, context(TITAN_2)).vectors == [[0, 1, 1]]


def test_titan_takes_text_with_an_image() -> None:
    """One vector for both."""
    request = EmbedRequest(inputs=[IMAGE], fields={"inputText": "a cat"})
    assert embedding(TITAN_IMAGE, request) == {"inputImage": ENCODED, "inputText": "a cat"}


def test_an_error_in_the_body_of_an_embedding_is_one() -> None:
    """Titan reports it in the body."""
    body = {"embedding": None, "inputTextTokenCount": 0, "message": "The image is too large."}
    with pytest.raises(ModelError, match="The image is too large"):
        FAMILY.decode_embed(body, {}, context(TITAN_IMAGE))


@pytest.mark.parametrize(
    ("purpose", "native"),
    [
        (None, "GENERIC_INDEX"),
        ("document", "GENERIC_INDEX"),
        ("query", "GENERIC_RETRIEVAL"),
        ("classification", "CLASSIFICATION"),
        ("clustering", "CLUSTERING"),
        ("image_retrieval", "IMAGE_RETRIEVAL"),
        ("VIDEO_RETRIEVAL", "VIDEO_RETRIEVAL"),
    ],
)
def test_nova_is_told_the_purpose_in_its_words(purpose: str | None, native: str) -> None:
    """Nova's own names are accepted too."""
    params = embedding(NOVA, EmbedRequest(inputs=["a"], purpose=purpose))["singleEmbeddingParams"]
    assert params == {"embeddingPurpose": native, "text": {"truncationMode": "NONE", "value": "a"}}


def test_nova_embeds_images_and_videos() -> None:
    """Bytes or a place in S3; a video becomes one vector."""
    video = VideoBlock(format="three_gp", source=PLACE)
    place = {"s3Location": {"uri": "s3://bucket/key", "bucketOwner": "123456789012"}}
    assert embedding(NOVA, EmbedRequest(inputs=[IMAGE]))["singleEmbeddingParams"]["image"] == {
        "format": "png",
        "source": {"bytes": ENCODED},
    }
    assert embedding(NOVA, EmbedRequest(inputs=[video]))["singleEmbeddingParams"]["video"] == {
        "format": "3gp",
        "source": place,
        "embeddingMode": "AUDIO_VIDEO_COMBINED",
    }
    fields = {"singleEmbeddingParams": {"image": {"detailLevel": "DOCUMENT_IMAGE"}}}
    params = embedding(NOVA, EmbedRequest(inputs=[STORED], fields=fields))["singleEmbeddingParams"]
    assert params["image"] == {"format": "jpeg", "source": place, "detailLevel": "DOCUMENT_IMAGE"}


def test_facts_say_what_nova_embeds() -> None:
    """They say more than the built-in table."""
    facts = context(NOVA).profile
    assert facts.input_modalities == {"text", "image", "video", "audio"}
    assert facts.embedding is not None
    assert facts.embedding.dimensions == (256, 384, 1_024, 3_072)


# -- images


def image(request: ImageRequest, model: str = CANVAS) -> Any:  # noqa: ANN401 - JSON
    """The native body for an image."""
    return json.loads(json.dumps(FAMILY.encode_image(request, context(model)).body))


@pytest.mark.parametrize(
    ("request_", "native"),
    [
        (
            ImageRequest(prompt="p", images=[IMAGE], task="text_image"),
            {"taskType": "TEXT_IMAGE", "textToImageParams": {"text": "p", "conditionImage": ENCODED}},
        ),
        (
            ImageRequest(prompt="p", images=[IMAGE, IMAGE]),
            {"taskType": "IMAGE_VARIATION", "imageVariationParams": {"text": "p", "images": [ENCODED, ENCODED]}},
        ),
        (
            ImageRequest(prompt="p", images=[IMAGE], mask=IMAGE),
            {"taskType": "INPAINTING", "inPaintingParams": {"text": "p", "image": ENCODED, "maskImage": ENCODED}},
        ),
        (
            ImageRequest(
                prompt="p",
                images=[IMAGE],
                task="OUTPAINTING",
                fields={"outPaintingParams": {"maskPrompt": "sky", "outPaintingMode": "PRECISE"}},
            ),
            {
                "taskType": "OUTPAINTING",
                "outPaintingParams": {
                    "text": "p",
                    "image": ENCODED,
                    "maskPrompt": "sky",
                    "outPaintingMode": "PRECISE",
                },
            },
        ),
        (
            ImageRequest(images=[IMAGE], task="BACKGROUND_REMOVAL"),
            {"taskType": "BACKGROUND_REMOVAL", "backgroundRemovalParams": {"image": ENCODED}},
        ),
        (
            ImageRequest(
                prompt="p",
                images=[IMAGE],
                task="COLOR_GUIDED_GENERATION",
                seed=0,
                format="png",
                fields={
                    "colorGuidedGenerationParams": {"colors": ["#ff8080"]},
                    "imageGenerationConfig": {"cfgScale": 8.0},
                },
            ),
            {
                "taskType": "COLOR_GUIDED_GENERATION",
                "colorGuidedGenerationParams": {"text": "p", "referenceImage": ENCODED, "colors": ["#ff8080"]},
                "imageGenerationConfig": {"seed": 0, "cfgScale": 8.0},
            },
        ),
        (
            ImageRequest(images=[IMAGE, IMAGE], mask=IMAGE, task="VIRTUAL_TRY_ON", count=1),
            {
                "taskType": "VIRTUAL_TRY_ON",
                "virtualTryOnParams": {
                    "sourceImage": ENCODED,
                    "referenceImage": ENCODED,
                    "maskType": "IMAGE",
                    "imageBasedMask": {"maskImage": ENCODED},
                },
                "imageGenerationConfig": {"numberOfImages": 1},
            },
        ),
    ],
    ids=["condition", "variation", "inpainting", "outpainting", "background", "colours", "try-on"],
)
@pytest.mark.parametrize("model", [CANVAS, "amazon.titan-image-generator-v2:0"])
def test_every_task_has_its_parameters(model: str, request_: ImageRequest, native: Mapping[str, Any]) -> None:
    """Images, masks and texts where the task wants them, settings beside them; the rest through fields."""
    assert image(request_, model) == native


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (ImageRequest(prompt="p", task="PAINTING"), "task"),
        (ImageRequest(prompt="p", aspect_ratio="16:9"), "aspect_ratio"),
        (ImageRequest(prompt="p", format="webp"), "format"),
        (ImageRequest(prompt="p", images=[STORED]), "images[0].source"),
        (ImageRequest(prompt="p", images=[IMAGE], mask=STORED), "mask.source"),
        (ImageRequest(prompt="p", images=[IMAGE, IMAGE], task="INPAINTING"), "images"),
        (ImageRequest(prompt="p", mask=IMAGE, task="TEXT_IMAGE"), "mask"),
        (ImageRequest(prompt="p", images=[IMAGE], task="BACKGROUND_REMOVAL"), "prompt"),
        (ImageRequest(images=[IMAGE], seed=5, task="BACKGROUND_REMOVAL"), "seed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_task_has_no_place_for_is_refused(request_: ImageRequest, path: str) -> None:
    """The error names the place; nothing is dropped silently."""
    with pytest.raises(InvalidRequestError) as caught:
        image(request_)
    assert caught.value.path == path
    assert caught.value.hint


def images(**body: Any) -> list[GeneratedImage]:  # noqa: ANN401 - JSON
    """The images of a native answer."""
    return list(FAMILY.decode_image(body, {}, context(CANVAS)))


def test_images_come_as_bytes() -> None:
    """Their first bytes give the format; a mask that was asked for is among them."""
    jpeg = b"\xff\xd8\xff"
    made = images(images=[ENCODED, b64encode(jpeg).decode()], maskImage=ENCODED, error=None)
    assert made == [
        GeneratedImage(PNG, "png"),
        GeneratedImage(jpeg, "jpeg"),
        GeneratedImage(PNG, "png", finish_reason="MASK"),
    ]


@pytest.mark.parametrize("withheld", [{}, {"images": None}, {"images": []}])
def test_an_error_in_the_body_is_told(withheld: dict[str, Any]) -> None:
    """It is the finish reason of the missing image."""
    (made,) = images(**withheld, error="All generated images were blocked.")
    assert made == GeneratedImage(b"", "png", finish_reason="All generated images were blocked.")


@pytest.mark.parametrize("body", [{}, {"images": None}, {"images": ["no base64"]}, {"images": [5]}])
def test_an_answer_without_images_is_an_error(body: dict[str, Any]) -> None:
    """It is not an empty success."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        images(**body)


# -- videos


def video(request: VideoRequest) -> Any:  # noqa: ANN401 - JSON
    """The native input of a job."""
    return json.loads(json.dumps(FAMILY.encode_video(request, context(REEL))))


def test_a_video_of_more_than_one_shot_is_made_from_one_prompt() -> None:
    """With the length that was asked for."""
    assert video(VideoRequest(prompt="p", duration_s=24, resolution="720p", aspect_ratio="16:9")) == {
        "taskType": "MULTI_SHOT_AUTOMATED",
        "multiShotAutomatedParams": {"text": "p"},
        "videoGenerationConfig": {"durationSeconds": 24, "fps": 24, "dimension": "1280x720"},
    }


def test_shots_may_be_told_one_by_one() -> None:
    """Each has a text and optionally a first frame; their number gives the length."""
    fields = multi_shot([Shot("A cave."), Shot("A bear.", STORED)])
    assert video(VideoRequest(seed=3, fields=fields)) == {
        "taskType": "MULTI_SHOT_MANUAL",
        "multiShotManualParams": {
            "shots": [
                {"text": "A cave."},
                {
                    "text": "A bear.",
                    "image": {
                        "format": "jpeg",
                        "source": {"s3Location": {"uri": "s3://bucket/key", "bucketOwner": "123456789012"}},
                    },
                },
            ]
        },
        "videoGenerationConfig": {"fps": 24, "dimension": "1280x720", "seed": 3},
    }


def test_fields_are_merged_over_the_input() -> None:
    """They hold what the model takes and the request has no member for."""
    body = video(VideoRequest(prompt="p", fields={"videoGenerationConfig": {"fps": 30}}))
    assert body["videoGenerationConfig"] == {"durationSeconds": 6, "fps": 30, "dimension": "1280x720"}
    whole = {"taskType": "TEXT_VIDEO", "textToVideoParams": {"text": "p"}}
    assert video(VideoRequest(fields=whole)) == {
        **whole,
        "videoGenerationConfig": {"durationSeconds": 6, "fps": 24, "dimension": "1280x720"},
    }


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (VideoRequest(images=[IMAGE]), "prompt"),
        (VideoRequest(prompt="p", images=[IMAGE, IMAGE]), "images"),
        (VideoRequest(prompt="p", images=[IMAGE], duration_s=12), "images"),
        (VideoRequest(prompt="p", loop=True), "loop"),
        (VideoRequest(prompt="p", aspect_ratio="9:16"), "aspect_ratio"),
        (VideoRequest(prompt="p", resolution="huge"), "resolution"),
        (VideoRequest(prompt="p", fields=multi_shot([Shot("A cave.")])), "prompt"),
        (VideoRequest(images=[IMAGE], fields=multi_shot([Shot("A cave.")])), "images"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_video_has_no_word_for_is_refused(request_: VideoRequest, path: str) -> None:
    """The error names the place, and says what to do instead."""
    with pytest.raises(InvalidRequestError) as caught:
        video(request_)
    assert caught.value.path == path
    assert caught.value.hint


def test_the_video_is_the_object_that_the_model_writes() -> None:
    """It is below the job's prefix."""
    assert FAMILY.video_object(context(REEL)) == OUTPUT == "output.mp4"
    made = FAMILY.decode_video(OUTPUT, b"mp4", context(REEL))
    assert (made.name, made.data, made.format) == ("output.mp4", b"mp4", "mp4")
