"""What each model and service refuses, and what odd answers make."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from bedrock_async_stability import StabilityFamily
from hypothesis import given
from native_properties import strange_chunks

from bedrock_async import ConverseRequest, ImageBlock, InvalidRequestError
from bedrock_async.families import FamilyContext, GeneratedImage, ImageRequest, ModelProfile
from bedrock_async.model_id import parse_model_id
from bedrock_async.types import MediaSource, S3Location

FAMILY: Final = StabilityFamily()
SD: Final = "stability.sd3-5-large-v1:0"
IMAGE: Final = ImageBlock(format="png", source=MediaSource(bytes=b"input"))
IN_S3: Final = ImageBlock(format="png", source=MediaSource(s3_location=S3Location(uri="s3://bucket/input.png")))


def context(model: str) -> FamilyContext:
    """The context of a call of that model."""
    return FamilyContext(parse_model_id(model))


@pytest.mark.parametrize(
    ("model", "request_", "path"),
    [
        (SD, ImageRequest(prompt="A panda", width=512), "width"),
        (SD, ImageRequest(prompt="A panda", height=512), "height"),
        (SD, ImageRequest(prompt="A panda", count=2), "count"),
        (SD, ImageRequest(prompt="A panda", mask=IMAGE), "mask"),
        (SD, ImageRequest(prompt="A panda", images=[IMAGE, IMAGE]), "images"),
        (SD, ImageRequest(prompt="A panda", images=[IN_S3]), "images[0].source"),
        ("stability.stable-image-core-v1:1", ImageRequest(prompt="A panda", images=[IMAGE]), "images"),
        ("us.stability.stable-fast-upscale-v1:0", ImageRequest(prompt="Sharper", images=[IMAGE]), "prompt"),
        ("us.stability.stable-fast-upscale-v1:0", ImageRequest(seed=1, images=[IMAGE]), "seed"),
        ("us.stability.stable-outpaint-v1:0", ImageRequest(negative_prompt="Sky", images=[IMAGE]), "negative_prompt"),
        ("us.stability.stable-image-inpaint-v1:0", ImageRequest(prompt="A panda", mask=IN_S3), "mask.source"),
        ("us.stability.stable-image-erase-object-v1:0", ImageRequest(aspect_ratio="1:1"), "aspect_ratio"),
        ("us.stability.stable-image-control-sketch-v1:0", ImageRequest(task="sketch"), "task"),
        ("us.stability.stable-style-transfer-v1:0", ImageRequest(images=[IMAGE] * 3), "images"),
    ],
)
def test_what_a_service_has_no_word_for_is_refused(model: str, request_: ImageRequest, path: str) -> None:
    """The error names the family, the member and the model, and what is taken instead."""
    with pytest.raises(InvalidRequestError, match=r"the family 'stability' cannot express .* of stability\.") as caught:
        FAMILY.encode_image(request_, context(model))
    assert caught.value.path == path
    assert caught.value.hint


def test_a_service_of_tomorrow_takes_what_is_usual() -> None:
    """The service decides whether it takes them."""
    request = ImageRequest(prompt="A panda", images=[IMAGE], mask=IMAGE, task="restore")
    body = FAMILY.encode_image(request, context("stability.stable-image-of-tomorrow-v1:0")).body
    assert body == {"prompt": "A panda", "image": "aW5wdXQ=", "mask": "aW5wdXQ=", "mode": "restore"}


def test_the_callers_mode_is_kept() -> None:
    """Even where there are images."""
    request = ImageRequest(prompt="A panda", images=[IMAGE], task="text-to-image")
    assert FAMILY.encode_image(request, context(SD)).body["mode"] == "text-to-image"


def test_conversations_are_refused_whatever_a_profile_says() -> None:
    """An image model stays an image model."""
    ctx = FamilyContext(parse_model_id(SD), ModelProfile(source="the call"))
    request = ConverseRequest.from_dict({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]})
    assert not FAMILY.supports(ctx)
    for call in (
        lambda: FAMILY.encode(request, ctx),
        lambda: FAMILY.decode({}, {}, ctx),
        lambda: FAMILY.stream_decoder(ctx),
    ):
        with pytest.raises(InvalidRequestError, match="'stability' cannot express a conversation"):
            call()


def test_images_and_reasons_stand_in_their_places() -> None:
    """A withheld image keeps its place among the others."""
    body: dict[str, Any] = {
        "seeds": [1, 2],
        "finish_reasons": [None, "Filter reason: output image"],
        "images": ["iVBORw0KGgo=", None],
    }
    assert FAMILY.decode_image(body, {}, context(SD)) == [
        GeneratedImage(b"\x89PNG\r\n\x1a\n", "png", 1),
        GeneratedImage(b"", "png", 2, "Filter reason: output image"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"images": ["iVBORw0KGgo="]},
        {"finish_reasons": [None]},
        {"finish_reasons": [None], "images": [""]},
        {"finish_reasons": [None], "images": ["no base64!"]},
        {"finish_reasons": [None], "images": [7]},
        {"finish_reasons": 1},
    ],
)
def test_an_answer_of_another_form_is_no_image(body: dict[str, Any]) -> None:
    """The seam makes an error of these, with the family's name and the answer."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        FAMILY.decode_image(body, {}, context(SD))


@given(strange_chunks("finish_reasons", "images", "seeds"))
def test_answers_of_any_shape_are_images_or_a_plain_error(body: dict[str, Any]) -> None:
    """Nothing is made up: an image has data, or a finish reason."""
    before = json.dumps(body)
    try:
        images = FAMILY.decode_image(body, {}, context(SD))
    except (KeyError, TypeError, ValueError):
        return
    finally:
        assert json.dumps(body) == before
    assert all(image.data or image.finish_reason for image in images)
