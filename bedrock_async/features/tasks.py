"""The keywords of embed, rerank, generate_image and generate_video, and what a family is then asked to write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict, TypeVar, cast

import msgspec
from pydantic import ValidationError

from .. import families
from .._error import a_kind
from ..errors import InvalidRequestError
from ..families.profiles import EmbeddingFacts, ModelProfile, ProfileFields
from ..known_models import KnownModelId
from ..resilience import RetryPolicy, Timeouts
from ..types import GuardrailConfig, ImageBlock, Message, VideoBlock
from .checks import check_image
from .settings import invalid_request

if TYPE_CHECKING:
    from ..families import EmbedInput, EmbedRequest, ImageRequest, RerankRequest, VideoRequest

M = TypeVar("M", ImageBlock, VideoBlock)

EmbedInputs: TypeAlias = "EmbedInput | Mapping[str, object] | Sequence[EmbedInput | Mapping[str, object]]"
"""What `embed` takes: texts, images and videos, also as boto3's ``{"image": {...}}``; one alone is a list of one."""

ImageInput: TypeAlias = "ImageBlock | Mapping[str, object]"
"""An image, also as boto3's ``{"image": {"format": "png", "source": {"bytes": b"..."}}}``."""

_MEDIUM_HINT: Final = 'Pass an ImageBlock, or {"image": {"format": "png", "source": {"bytes": data}}}.'


class TaskSettings(TypedDict, total=False):
    """The keywords that `embed`, `rerank` and `generate_image` share. None is the same as leaving one out."""

    guardrail: GuardrailConfig | Mapping[str, object] | None
    performance: Literal["standard", "optimized"] | str | None
    service_tier: Literal["priority", "default", "flex", "reserved"] | str | None
    request_metadata: Mapping[str, str] | None
    inference_profile: KnownModelId | str | None
    """The id or ARN that the call goes to, while ``model`` says what the model behind it can do."""
    model_profile: ModelProfile | ProfileFields | None
    """Facts about the model that correct the built-in tables: all of them, or some."""
    provider_options: Mapping[str, object] | None
    """``family`` names the model's family; a family may know more."""
    timeouts: Timeouts | None
    """They hold for each request that the verb sends."""
    retry: RetryPolicy | None


class EmbedBatch(msgspec.Struct, frozen=True):
    """Some of the inputs, for one request; ``first`` is the index of the first of them."""

    first: int
    request: EmbedRequest


def build_embed(
    inputs: object,
    facts: EmbeddingFacts | None,
    *,
    purpose: str | None,
    dimensions: int | None,
    normalize: bool | None,
    truncate: str | None,
    fields: Mapping[str, object] | None,
) -> list[EmbedBatch]:
    """Return the requests that embed the inputs, none with more of them than the model takes, in their order.

    Texts go together; a medium has a request of its own, as some models take but one. Raises InvalidRequestError with
    the path of what is no input.
    """
    checked = _inputs(inputs)
    check_positive(dimensions=dimensions)
    check_text(purpose=purpose, truncate=truncate)
    together = max(1, (facts or EmbeddingFacts()).max_inputs)
    batches: list[EmbedBatch] = []
    first = 0
    for is_text, run in groupby(checked, lambda each: isinstance(each, str)):
        alike = list(run)
        size = together if is_text else 1
        for start in range(0, len(alike), size):
            request = families.EmbedRequest(
                inputs=alike[start : start + size],
                purpose=purpose,
                dimensions=dimensions,
                normalize=normalize,
                truncate=truncate,
                fields=_fields(fields),
            )
            batches.append(EmbedBatch(first + start, request))
        first += len(alike)
    return batches


def build_rerank(
    query: str | None, documents: object, *, top_n: int | None, fields: Mapping[str, object] | None
) -> RerankRequest:
    """Return the request that ranks the documents. Raises InvalidRequestError with the path of what is wrong."""
    check_text(query=query)
    if not query or not query.strip():
        raise InvalidRequestError("the query is empty.", path="query")
    if isinstance(documents, str | bytes) or not isinstance(documents, Iterable):
        raise InvalidRequestError(
            f"documents is {a_kind(documents)}, not a list of texts.",
            path="documents",
            hint="Pass a list, even for a single text.",
        )
    texts = list(cast("Iterable[object]", documents))
    if not texts:
        raise InvalidRequestError("there are no documents to rank.", path="documents")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidRequestError(f"documents[{index}] is {a_kind(text)}, not text.", path=f"documents[{index}]")
    check_positive(top_n=top_n)
    return families.RerankRequest(query=query, documents=cast("list[str]", texts), top_n=top_n, fields=_fields(fields))


def build_image(
    prompt: str | None,
    *,
    images: Sequence[ImageInput],
    mask: ImageInput | None,
    fields: Mapping[str, object] | None,
    **members: Any,  # noqa: ANN401 - the other members of ImageRequest, as they are
) -> ImageRequest:
    """Return the request that makes images. Raises InvalidRequestError with the path of what is wrong."""
    check_text(prompt=prompt, negative_prompt=members.get("negative_prompt"), aspect_ratio=members.get("aspect_ratio"))
    given = _images(images)
    _check_wanted("an image", prompt, given, fields)
    check_positive(**{name: members.get(name) for name in ("count", "width", "height")})
    covered = None if mask is None else _image(mask, "mask")
    return families.ImageRequest(prompt=prompt, images=given, mask=covered, fields=_fields(fields), **members)


def build_video(
    prompt: str | None,
    *,
    images: Sequence[ImageInput],
    fields: Mapping[str, object] | None,
    **members: Any,  # noqa: ANN401 - the other members of VideoRequest, as they are
) -> VideoRequest:
    """Return the request that makes a video. Raises InvalidRequestError with the path of what is wrong."""
    check_text(prompt=prompt, aspect_ratio=members.get("aspect_ratio"), resolution=members.get("resolution"))
    given = _images(images)
    _check_wanted("a video", prompt, given, fields)
    check_positive(**{name: members.get(name) for name in ("duration_s", "frames_per_second")})
    return families.VideoRequest(prompt=prompt, images=given, fields=_fields(fields), **members)


def check_text(**texts: object) -> None:
    """Refuse a value that is not text. Raises InvalidRequestError, which names the argument."""
    for name, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise InvalidRequestError(f"{name} is {a_kind(text)}, not text.", path=name)


def media_bytes(request: EmbedRequest | RerankRequest | ImageRequest) -> int:
    """Return about how many bytes the media of a request have."""
    media: list[object] = []
    match request:
        case families.EmbedRequest():
            media += request.inputs
        case families.ImageRequest():
            media += [*request.images, request.mask]
        case families.RerankRequest():
            pass
    return sum(len(medium.source.bytes or b"") for medium in media if isinstance(medium, ImageBlock | VideoBlock))


def _inputs(inputs: object) -> list[EmbedInput]:
    listed: list[object] = []
    if isinstance(inputs, str | ImageBlock | VideoBlock | Mapping):
        listed.append(cast("object", inputs))
    elif isinstance(inputs, bytes | bytearray) or not isinstance(inputs, Iterable):
        raise InvalidRequestError(
            f"inputs is {a_kind(inputs)}, not a list of texts and images.",
            path="inputs",
            hint='Pass client.embed(model, ["a text", "another"]).',
        )
    else:
        listed += cast("Iterable[object]", inputs)
    if not listed:
        raise InvalidRequestError("there are no inputs to embed.", path="inputs")
    return [_input(each, f"inputs[{index}]") for index, each in enumerate(listed)]


def _input(value: object, path: str) -> EmbedInput:
    if isinstance(value, str):
        if not value:
            raise InvalidRequestError(f"{path} is empty: there is nothing to embed.", path=path)
        return value
    return _medium(value, path, VideoBlock) if _is_video(value) else _image(value, path)


def _is_video(value: object) -> bool:
    return isinstance(value, VideoBlock) or (isinstance(value, Mapping) and "video" in value)


def _images(values: object) -> list[ImageBlock]:
    kind = type(values).__name__
    if isinstance(values, ImageBlock | Mapping | str | bytes) or not isinstance(values, Iterable):
        raise InvalidRequestError(f"images is a {kind}, not a list of images.", path="images", hint=_MEDIUM_HINT)
    return [_image(value, f"images[{index}]") for index, value in enumerate(cast("Iterable[object]", values))]


def _image(value: object, path: str) -> ImageBlock:
    image = _medium(value, path, ImageBlock)
    check_image(image, path)
    return image


def _medium(value: object, path: str, kind: type[M]) -> M:
    block: object = value
    if isinstance(value, Mapping):
        try:
            (block,) = Message.model_validate({"role": "user", "content": [value]}).content
        except ValidationError as exc:
            fault = invalid_request(exc)
            said, where = (text.replace("content[0]", path, 1) for text in (fault.message, fault.path or ""))
            raise InvalidRequestError(said, path=where, hint=fault.hint) from exc
    if not isinstance(block, kind):
        raise InvalidRequestError(f"{path} is {a_kind(block)}.", path=path, hint=_MEDIUM_HINT)
    return block


def _fields(fields: object) -> dict[str, Any]:
    if fields is not None and not isinstance(fields, Mapping):
        raise InvalidRequestError(
            f"additional_request_fields is {a_kind(fields)}, not a mapping.",
            path="additional_request_fields",
            hint='Pass additional_request_fields={"name": ...}.',
        )
    return dict(cast("Mapping[str, Any]", fields or {}))


def _check_wanted(what: str, prompt: str | None, images: Sequence[ImageBlock], fields: object) -> None:
    if not (prompt and prompt.strip()) and not images and not fields:
        raise InvalidRequestError(
            f"there is nothing to make {what} from: no prompt and no images.",
            path="prompt",
            hint="Pass a prompt, or images=[...] for what is made from images alone.",
        )


def check_positive(**numbers: object) -> None:
    """Refuse a value that is not a whole number from 1 on. Raises InvalidRequestError, which names the argument."""
    for name, number in numbers.items():
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int):
            raise InvalidRequestError(f"{name} is {a_kind(number)}, not a whole number.", path=name)
        if number < 1:
            raise InvalidRequestError(f"{name} is {number}; it must be 1 or more.", path=name)
