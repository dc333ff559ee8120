"""Videos of Nova Reel: the input of the job that makes one, and the object that holds it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from bedrock_async.errors import InvalidRequestError
from bedrock_async.families import FamilyContext, GeneratedVideo, NativeObject, VideoRequest, merged_body
from bedrock_async.types import ImageBlock

from .refusals import refused

OUTPUT: Final = "output.mp4"
"""The object that Nova Reel writes the video to; shot_0001.mp4 and so on have its parts."""

# [Nova user guide, "Video generation access and usage": all three are required, and have only these values,
# except 12 to 120 seconds in steps of 6]
_SHOT_S: Final = 6
_FPS: Final = 24
_DIMENSION: Final = "1280x720"

_SHOTS: Final = "Describe the shots one by one with multi_shot() of bedrock_async_amazon."


@dataclass(frozen=True, slots=True)
class Shot:
    """Six seconds of a video: a prompt, and optionally the first frame (png or jpeg, 1280 x 720 pixels)."""

    text: str
    image: ImageBlock | None = None


def multi_shot(shots: Iterable[Shot]) -> dict[str, Any]:
    """Return the native fields of a video described shot by shot (Nova Reel 1.1; 2 to 20 shots).

    ::

        shots = multi_shot([Shot("A cave."), Shot("A bear comes out.", image)])
        await client.generate_video(model, output_s3_uri=uri, additional_request_fields=shots)
    """
    written: list[dict[str, Any]] = []
    for shot in shots:
        image = {} if shot.image is None else {"image": _source(shot.image)}
        written.append({"text": shot.text, **image})
    return {"taskType": "MULTI_SHOT_MANUAL", "multiShotManualParams": {"shots": written}}


def write_video(request: VideoRequest, ctx: FamilyContext) -> NativeObject:
    """Return the job's input. Raises InvalidRequestError for what the model cannot express.

    Six seconds are the task TEXT_VIDEO, more are MULTI_SHOT_AUTOMATED with one prompt; ``fields`` made by `multi_shot`
    are MULTI_SHOT_MANUAL.
    """
    config = _config(request, ctx)
    task = request.fields.get("taskType")
    if task is None:
        return merged_body(_from_prompt(request, config, ctx), request.fields)
    if request.prompt is not None or request.images:
        raise InvalidRequestError(
            f"the additional fields set the task {task!r} and its parameters; there is a prompt or an image as well.",
            path="prompt" if request.prompt is not None else "images",
            hint="Put it into the fields; multi_shot() of bedrock_async_amazon makes those of several shots.",
        )
    if request.duration_s is None and task != "TEXT_VIDEO":
        config.pop("durationSeconds")  # it follows from the shots
    return merged_body({"videoGenerationConfig": config}, request.fields)


def _from_prompt(request: VideoRequest, config: dict[str, Any], ctx: FamilyContext) -> dict[str, Any]:
    if request.prompt is None:
        raise InvalidRequestError(
            f"{ctx.base_model or 'the model'} makes videos from a prompt, and there is none.",
            path="prompt",
            hint="Pass a prompt that describes the video; an image may be added as its first frame.",
        )
    params: dict[str, Any] = {"text": request.prompt}
    if config["durationSeconds"] > _SHOT_S:
        if request.images:
            what = f"a first frame for {config['durationSeconds']} seconds of video"
            raise refused(what, ctx, path="images", hint=_SHOTS)
        return {"taskType": "MULTI_SHOT_AUTOMATED", "multiShotAutomatedParams": params, "videoGenerationConfig": config}
    if len(request.images) > 1:
        raise refused(f"{len(request.images)} images", ctx, path="images", hint=_SHOTS)
    if request.images:
        params["images"] = [_source(image) for image in request.images]
    return {"taskType": "TEXT_VIDEO", "textToVideoParams": params, "videoGenerationConfig": config}


def _config(request: VideoRequest, ctx: FamilyContext) -> dict[str, Any]:
    if request.loop:
        raise refused("a loop", ctx, path="loop")
    if request.aspect_ratio not in {None, "16:9"}:
        raise refused(
            f"the aspect ratio {request.aspect_ratio!r}",
            ctx,
            path="aspect_ratio",
            hint="Leave it out: it is always 16:9.",
        )
    config: dict[str, Any] = {
        "durationSeconds": _SHOT_S if request.duration_s is None else request.duration_s,
        "fps": _FPS if request.frames_per_second is None else request.frames_per_second,
        "dimension": _dimension(request.resolution, ctx),
    }
    if request.seed is not None:
        config["seed"] = request.seed
    return config


def _dimension(resolution: str | None, ctx: FamilyContext) -> str:
    if resolution in {None, "720p"}:
        return _DIMENSION
    if re.fullmatch(r"\d+x\d+", resolution or "") is None:
        raise refused(
            f"the resolution {resolution!r}", ctx, path="resolution", hint=f"Leave it out: it is always {_DIMENSION}."
        )
    return str(resolution)


def _source(image: ImageBlock) -> dict[str, Any]:
    return {"format": image.format, "source": image.source.to_wire()}


def read_video(name: str, data: bytes) -> GeneratedVideo:
    """Return the video that an object holds."""
    return GeneratedVideo(name, data, "mp4")
