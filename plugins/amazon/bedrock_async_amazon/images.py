"""Images of Titan Image Generator and Nova Canvas: one body for both, with parameters for each task."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bedrock_async.errors import InvalidRequestError
from bedrock_async.families import FamilyContext, GeneratedImage, ImageRequest, NativeObject, merged_body
from bedrock_async.types import ImageBlock

from .refusals import refused


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A task: the name of its parameters, where the images and the mask go, and what else it takes."""

    params: str
    images: tuple[str, ...] = ()
    several: bool = False
    mask: bool = False
    prompt: bool = True
    config: bool = True


# [Nova user guide, "Request and response structure for image generation"; Bedrock user guide, "Amazon Titan Image
# Generator G1 models": the same without VIRTUAL_TRY_ON]
_TASKS: Final[Mapping[str, _Task]] = {
    "TEXT_IMAGE": _Task(params="textToImageParams", images=("conditionImage",)),
    "COLOR_GUIDED_GENERATION": _Task(params="colorGuidedGenerationParams", images=("referenceImage",)),
    "IMAGE_VARIATION": _Task(params="imageVariationParams", images=("images",), several=True),
    "INPAINTING": _Task(params="inPaintingParams", images=("image",), mask=True),
    "OUTPAINTING": _Task(params="outPaintingParams", images=("image",), mask=True),
    "BACKGROUND_REMOVAL": _Task(params="backgroundRemovalParams", images=("image",), prompt=False, config=False),
    "VIRTUAL_TRY_ON": _Task(
        params="virtualTryOnParams", images=("sourceImage", "referenceImage"), mask=True, prompt=False
    ),
}

_PNG: Final = b"\x89PNG"


def write_image(request: ImageRequest, ctx: FamilyContext) -> NativeObject:
    """Return the body of a task. Raises InvalidRequestError for what the task does not take.

    Without `ImageRequest.task` a mask means INPAINTING, images mean IMAGE_VARIATION, anything else TEXT_IMAGE.
    """
    named = request.task or ("INPAINTING" if request.mask else "IMAGE_VARIATION" if request.images else "TEXT_IMAGE")
    name = named.upper()
    task = _TASKS.get(name)
    if task is None:
        raise InvalidRequestError(
            f"{ctx.base_model or 'the model'} has no task {named!r}.",
            path="task",
            hint=f"Pass one of {', '.join(_TASKS)}, or send any other native body with client.invoke().",
        )
    if request.aspect_ratio is not None:
        raise refused("an aspect ratio", ctx, path="aspect_ratio", hint="Pass width and height.")
    if request.format not in {None, "png"}:
        raise refused(
            f"the format {request.format!r}", ctx, path="format", hint="Leave it out: the images are always PNG."
        )
    body: dict[str, Any] = {"taskType": name, task.params: _params(request, name, task, ctx)}
    config = _config(request)
    if config and not task.config:
        raise refused(f"{', '.join(config)} of the task {name}", ctx, path=next(iter(config)))
    if config:
        body["imageGenerationConfig"] = config
    return merged_body(body, request.fields)


def _params(request: ImageRequest, name: str, task: _Task, ctx: FamilyContext) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for member, text, path in (
        ("text", request.prompt, "prompt"),
        ("negativeText", request.negative_prompt, "negative_prompt"),
    ):
        if text is None:
            continue
        if not task.prompt:
            raise refused(f"a text for the task {name}", ctx, path=path)
        params[member] = text
    images = [_base64(image, f"images[{index}]", ctx) for index, image in enumerate(request.images)]
    if task.several:
        params[task.images[0]] = images
    elif len(images) > len(task.images):
        raise refused(f"{len(images)} images for the task {name}", ctx, path="images")
    else:
        params |= zip(task.images, images, strict=False)
    if request.mask is not None:
        params |= _mask(_base64(request.mask, "mask", ctx), name, task, ctx)
    return params


def _mask(mask: str, name: str, task: _Task, ctx: FamilyContext) -> dict[str, Any]:
    if not task.mask:
        raise refused(f"a mask for the task {name}", ctx, path="mask")
    if name == "VIRTUAL_TRY_ON":
        return {"maskType": "IMAGE", "imageBasedMask": {"maskImage": mask}}
    return {"maskImage": mask}


def _config(request: ImageRequest) -> dict[str, Any]:
    members = {
        "numberOfImages": request.count,
        "width": request.width,
        "height": request.height,
        "seed": request.seed,
    }
    return {name: value for name, value in members.items() if value is not None}


def _base64(image: ImageBlock, path: str, ctx: FamilyContext) -> str:
    data = image.source.to_wire().get("bytes")
    if not isinstance(data, str):
        raise refused("an image in S3", ctx, path=f"{path}.source", hint="Pass the image as bytes.")
    return data


def read_images(body: NativeObject) -> list[GeneratedImage]:
    """Return the images of a body. Raises KeyError or ValueError for JSON of another form.

    If any were withheld, the last one has no data, and the body's ``error`` as its finish reason. A mask that was asked
    for (``returnMask``) comes after the images with the finish reason ``MASK``.
    """
    error: str | None = body.get("error")
    found: list[str] = (body.get("images") or []) if error else body["images"]
    images = [_image(text) for text in found]
    if mask := body.get("maskImage"):
        images.append(_image(mask, "MASK"))
    if error:
        images.append(GeneratedImage(b"", "png", finish_reason=error))
    return images


def _image(text: str, finish_reason: str | None = None) -> GeneratedImage:
    data = b64decode(text, validate=True)
    return GeneratedImage(data, "png" if data.startswith(_PNG) else "jpeg", finish_reason=finish_reason)
