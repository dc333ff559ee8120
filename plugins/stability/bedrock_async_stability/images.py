"""The bodies of Stability AI's models and services: one set of members, of which each takes some.

[Bedrock user guide, "Stability.ai Stable Diffusion 3.5 Large", "Stable Image Ultra", "Stable Image Core" and "Stability
AI Image Services"]
"""

from __future__ import annotations

from base64 import b64decode
from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import zip_longest
from typing import Any, Final

from bedrock_async.errors import InvalidRequestError
from bedrock_async.families import FamilyContext, GeneratedImage, ImageRequest, NativeObject, merged_body, unsupported
from bedrock_async.types import ImageBlock

# Members with another name in `ImageRequest`.
_NATIVE: Final[Mapping[str, str]] = {"format": "output_format", "task": "mode"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    """What a model or service takes: members of an `ImageRequest`, and its own names for the images.

    ``image_mode`` is the ``mode`` that it needs with images.
    """

    takes: frozenset[str]
    images: tuple[str, ...] = ("image",)
    image_mode: str | None = None


_FORMAT: Final = frozenset({"format"})
_SEED: Final = _FORMAT | {"seed"}
_PROMPT: Final = _SEED | {"prompt"}
_TEXTS: Final = _PROMPT | {"negative_prompt"}
_MODEL: Final = _TEXTS | {"aspect_ratio", "task"}

# Their other members come in `additional_request_fields`: strength, creativity, style_preset, select_prompt,
# search_prompt, grow_mask, left, right, up, down, control_strength, fidelity, style_strength...
_SERVICES: Final[Mapping[str, _Service]] = {
    "stability.sd3-*": _Service(takes=_MODEL, image_mode="image-to-image"),
    "stability.stable-image-core-*": _Service(takes=_MODEL, images=()),
    "stability.stable-image-ultra-*": _Service(takes=_MODEL),
    "stability.stable-creative-upscale-*": _Service(takes=_TEXTS),
    "stability.stable-conservative-upscale-*": _Service(takes=_TEXTS),
    "stability.stable-fast-upscale-*": _Service(takes=_FORMAT),
    "stability.stable-image-inpaint-*": _Service(takes=_TEXTS | {"mask"}),
    "stability.stable-outpaint-*": _Service(takes=_PROMPT),
    "stability.stable-image-search-recolor-*": _Service(takes=_TEXTS),
    "stability.stable-image-search-replace-*": _Service(takes=_TEXTS),
    "stability.stable-image-erase-object-*": _Service(takes=_SEED | {"mask"}),
    "stability.stable-image-remove-background-*": _Service(takes=_FORMAT),
    "stability.stable-image-control-sketch-*": _Service(takes=_TEXTS),
    "stability.stable-image-control-structure-*": _Service(takes=_TEXTS),
    "stability.stable-image-style-guide-*": _Service(takes=_TEXTS | {"aspect_ratio"}),
    "stability.stable-style-transfer-*": _Service(takes=_TEXTS, images=("init_image", "style_image")),
}
_UNLISTED: Final = _Service(takes=_MODEL | {"mask"})


def write_image(request: ImageRequest, ctx: FamilyContext) -> NativeObject:
    """Return the body. Raises InvalidRequestError for what the model or service does not take."""
    service = _service(ctx.base_model)
    members: dict[str, Any] = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "aspect_ratio": request.aspect_ratio,
        "seed": request.seed,
        "format": request.format,
        "task": request.task,
        "mask": _base64(request.mask, "mask", ctx) if request.mask is not None else None,
        # None of them takes these; each request makes one image.
        "width": request.width,
        "height": request.height,
        "count": request.count if request.count != 1 else None,
    }
    body: dict[str, Any] = {}
    for name, value in members.items():
        if value is not None:
            if name not in service.takes:
                raise _refused(name, name, service, ctx)
            body[_NATIVE.get(name, name)] = value
    if len(request.images) > len(service.images):
        raise _refused(f"{len(request.images)} images", "images", service, ctx)
    images = [_base64(image, f"images[{index}]", ctx) for index, image in enumerate(request.images)]
    body |= zip(service.images, images, strict=False)
    if images and service.image_mode is not None:
        body.setdefault("mode", service.image_mode)
    return merged_body(body, request.fields)


def _service(base_model: str) -> _Service:
    return next((row for pattern, row in _SERVICES.items() if fnmatchcase(base_model, pattern)), _UNLISTED)


def _base64(image: ImageBlock, path: str, ctx: FamilyContext) -> str:
    data = image.source.bytes
    if data is None:
        what, where, hint = "an image in S3", f"{path}.source", "Pass the image as bytes."
        raise unsupported(what, family="stability", model=ctx.base_model, path=where, hint=hint)
    return b2a_base64(data, newline=False).decode("ascii")


def _refused(what: str, path: str, service: _Service, ctx: FamilyContext) -> InvalidRequestError:
    takes = sorted({*service.takes, *({"images"} if service.images else ())})
    hint = f"Leave it out. The model takes {', '.join(takes)}; its other members go into additional_request_fields."
    return unsupported(what, family="stability", model=ctx.base_model, path=path, hint=hint)


def read_images(body: NativeObject) -> list[GeneratedImage]:
    """Return the images of a body. Raises KeyError, TypeError or ValueError for JSON of another form.

    A withheld image has no data, and a finish reason: "Filter reason: prompt", "Filter reason: output image", "Filter
    reason: input image" or "Inference error".
    """
    told = zip_longest(body["finish_reasons"], body.get("images") or (), body.get("seeds") or ())
    return [_image(text, reason, seed) for reason, text, seed in told]


def _image(text: str | None, reason: str | None, seed: int | None) -> GeneratedImage:
    data = b64decode(text, validate=True) if text else b""
    if not data and not reason:
        raise ValueError("an image has neither data nor a finish reason")
    return GeneratedImage(data, _format(data), seed, reason)


def _format(data: bytes) -> str:
    """Return the format that the data shows, or the default, png: the answer does not name it."""
    if data.startswith(b"\xff\xd8"):
        return "jpeg"
    return "webp" if data[8:12] == b"WEBP" else "png"
