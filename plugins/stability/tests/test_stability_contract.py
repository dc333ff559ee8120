"""The family of Stability AI keeps the public contract of tasks, with the bodies of the user guide as samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from bedrock_async_stability import StabilityFamily

from bedrock_async import ImageBlock
from bedrock_async.families import GeneratedImage, ImageRequest, ModelFamily
from bedrock_async.testing import TaskContract, TaskSample
from bedrock_async.types import MediaSource

PNG: Final = b"\x89PNG\r\n\x1a\n"
JPEG: Final = b"\xff\xd8\xff\xe0"
WEBP: Final = b"RIFF\x04\x00\x00\x00WEBP"
INPUT: Final = "aW5wdXQ="
MASK: Final = "bWFzaw=="


def image(data: bytes = b"input") -> ImageBlock:
    """An image of these bytes."""
    return ImageBlock(format="png", source=MediaSource(bytes=data))


def answer(data: str) -> dict[str, Any]:
    """The answer of the user guide, "Stability.ai Stable Diffusion 3.5 Large"."""
    return {"seeds": [2130420379], "finish_reasons": [None], "images": [data]}


MADE: Final = (GeneratedImage(PNG, "png", 2130420379),)


def sample(service: str, native: dict[str, Any], **request: Any) -> TaskSample:  # noqa: ANN401 - any member
    """A request to one of the services, from the user guide's page "Stability AI Image Services"."""
    return TaskSample(
        model=f"us.stability.{service}-v1:0",
        request=ImageRequest(**request),
        native_request=native,
        native_response=answer("iVBORw0KGgo="),
        result=[*MADE],
    )


class TestStability(TaskContract):
    samples: ClassVar[Sequence[TaskSample]] = (
        TaskSample(
            model="stability.sd3-5-large-v1:0",
            request=ImageRequest(
                prompt="A car made out of vegetables.",
                negative_prompt="Wheels.",
                aspect_ratio="16:9",
                seed=7,
                format="jpeg",
                count=1,
            ),
            native_request={
                "prompt": "A car made out of vegetables.",
                "negative_prompt": "Wheels.",
                "aspect_ratio": "16:9",
                "seed": 7,
                "output_format": "jpeg",
            },
            native_response=answer("/9j/4A=="),
            result=[GeneratedImage(JPEG, "jpeg", 2130420379)],
        ),
        TaskSample(
            model="stability.sd3-5-large-v1:0",
            request=ImageRequest(
                prompt="A car made out of vegetables.", images=[image()], fields={"strength": 0.7}, format="webp"
            ),
            native_request={
                "prompt": "A car made out of vegetables.",
                "image": INPUT,
                "mode": "image-to-image",
                "strength": 0.7,
                "output_format": "webp",
            },
            native_response=answer("UklGRgQAAABXRUJQ"),
            result=[GeneratedImage(WEBP, "webp", 2130420379)],
        ),
        # An answer that was withheld, as the same page has it.
        TaskSample(
            model="stability.stable-image-core-v1:1",
            request=ImageRequest(prompt="Create an image of a panda", task="text-to-image"),
            native_request={"prompt": "Create an image of a panda", "mode": "text-to-image"},
            native_response={"finish_reasons": ["Filter reason: prompt"]},
            result=[GeneratedImage(b"", "png", None, "Filter reason: prompt")],
        ),
        TaskSample(
            model="stability.stable-image-ultra-v1:1",
            request=ImageRequest(prompt="A car made out of vegetables.", images=[image()]),
            native_request={"prompt": "A car made out of vegetables.", "image": INPUT},
            native_response=answer("iVBORw0KGgo="),
            result=[*MADE],
        ),
        sample(
            "stable-creative-upscale",
            {"image": INPUT, "prompt": "Big Ben in London", "creativity": 0.3},
            prompt="Big Ben in London",
            images=[image()],
            fields={"creativity": 0.3},
        ),
        sample("stable-fast-upscale", {"image": INPUT}, images=[image()]),
        sample(
            "stable-image-inpaint",
            {"image": INPUT, "mask": MASK, "prompt": "artificer of time and space"},
            prompt="artificer of time and space",
            images=[image()],
            mask=image(b"mask"),
        ),
        sample(
            "stable-outpaint",
            {"image": INPUT, "left": 512, "right": 512, "up": 200, "down": 100},
            images=[image()],
            fields={"left": 512, "right": 512, "up": 200, "down": 100},
        ),
        sample(
            "stable-image-search-recolor",
            {"image": INPUT, "prompt": "pink jacket", "select_prompt": "jacket"},
            prompt="pink jacket",
            images=[image()],
            fields={"select_prompt": "jacket"},
        ),
        sample(
            "stable-image-search-replace",
            {"image": INPUT, "prompt": "jacket", "search_prompt": "sweater"},
            prompt="jacket",
            images=[image()],
            fields={"search_prompt": "sweater"},
        ),
        sample("stable-image-erase-object", {"image": INPUT, "mask": MASK}, images=[image()], mask=image(b"mask")),
        sample("stable-image-remove-background", {"image": INPUT}, images=[image()]),
        sample(
            "stable-image-control-structure",
            {"image": INPUT, "prompt": "surreal structure with motion generated sparks lighting the scene"},
            prompt="surreal structure with motion generated sparks lighting the scene",
            images=[image()],
        ),
        sample(
            "stable-image-style-guide",
            {"image": INPUT, "prompt": "wide shot of modern metropolis", "aspect_ratio": "21:9"},
            prompt="wide shot of modern metropolis",
            images=[image()],
            aspect_ratio="21:9",
        ),
        sample(
            "stable-style-transfer",
            {"init_image": INPUT, "style_image": "c3R5bGU=", "prompt": "statue"},
            prompt="statue",
            images=[image(), image(b"style")],
        ),
    )

    def family(self) -> ModelFamily:
        """Return the family under test."""
        return StabilityFamily()
