"""Checks for what the service is certain to reject, made before anything is sent.

Only what holds for every model is checked. Unknown values and kinds of blocks pass: they may be newer than this
package.
"""

from __future__ import annotations

import base64
import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast, get_args

from ..errors import InvalidRequestError
from ..families.profiles import MediaLimits
from ..model_id import parse_model_id
from ..types import (
    AudioBlock,
    CachePointBlock,
    ContentBlock,
    ConverseRequest,
    DocumentBlock,
    GuardContentBlock,
    GuardImage,
    ImageBlock,
    SystemBlock,
    ToolDefinition,
    ToolResultBlock,
    ToolResultContent,
    UnknownBlock,
    VideoBlock,
    WireModel,
)
from ..types._wire import Block
from .media_checks import check_clip, check_media
from .media_formats import ENDINGS, detect, what_it_is

MAX_CACHE_POINTS: Final = 4
"""The service's limit of cache points per request, in tools, system prompt and messages together."""

_MAX_NAME: Final = 200
# The API reference does not list the underscore, but names with it were answered; tabs and other whitespace were
# rejected in public reports, a space at either end was not.  [corpus; API reference, DocumentBlock]
_NAME: Final = re.compile(r"[A-Za-z0-9_ ()\[\]-]+")
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_ ()\[\]-]+")
_IMAGE_FORMATS: Final = frozenset({"png", "jpeg", "gif", "webp"})
# Enough base64 for every signature, so that megabytes are not decoded to check their first bytes.
_BASE64_HEAD: Final = re.compile(rb"[A-Za-z0-9+/]{16}")

# How similar a tag must be to a known one to count as its misspelling: "imge", "txt" and "images" do; "toolSearch",
# "audioOutput" and "richText", which a later version of the service may have, do not.
_ALIKE: Final = 0.85


def check_given(request: ConverseRequest, messages: object, settings: Mapping[str, Any]) -> None:
    """Reject misspelt blocks in what the caller gave. Raises InvalidRequestError with the path.

    ``request`` is what ``messages`` and ``settings`` mean, block by block. An unknown block passes if it was given as
    an `UnknownBlock`; given as a dict, it is rejected if it looks like a misspelling of a known one.
    """
    for index, message in enumerate(request.messages or ()):
        if _has_unknown(message.content):
            given = _given(_given(messages, index), "content")
            _check_spelling(message.content, f"messages[{index}].content", _CONTENT_TAGS, given)
    if request.system:
        _check_spelling(request.system, "system", _SYSTEM_TAGS, settings.get("system"))
    if request.tool_config is not None:
        _check_spelling(request.tool_config.tools, "toolConfig.tools", _TOOL_TAGS, settings.get("tools"))


def check_request(request: ConverseRequest, limits: MediaLimits | None = None) -> None:
    """Reject a request made from keywords if the service certainly would. Raises InvalidRequestError with the path.

    ``limits`` are the model's limits for media.
    """
    if not request.messages:
        _require_messages(request)
    for index, message in enumerate(request.messages or ()):
        _check_blocks(message.content, f"messages[{index}].content")
    _check_blocks(request.system or (), "system")
    if limits is not None:
        check_media(request, limits)
    check_cache_points(request)


def check_cache_points(request: ConverseRequest) -> None:
    """Reject a request with more cache points than the service allows. Raises InvalidRequestError with their paths."""
    places: list[str] = []
    if request.tool_config is not None:
        places += _cache_points(request.tool_config.tools, "toolConfig.tools")
    if request.system:
        places += _cache_points(request.system, "system")
    for index, message in enumerate(request.messages or ()):
        for block in message.content:
            if type(block) is CachePointBlock:
                places += _cache_points(message.content, f"messages[{index}].content")
                break
    if len(places) > MAX_CACHE_POINTS:
        raise InvalidRequestError(
            f"the request has {len(places)} cache points ({', '.join(places)}); {MAX_CACHE_POINTS} are allowed.",
            path=places[MAX_CACHE_POINTS],
            hint="Remove some: a cache point covers everything before it, so the last ones are the most useful.",
        )


def check_image(image: ImageBlock | GuardImage, path: str) -> None:
    """Reject bytes that are not an image of the given format. Raises InvalidRequestError with the path."""
    data = image.source.bytes
    if data is None:
        return
    found = detect("image", data)
    if found and image.format not in found:
        raise InvalidRequestError(
            f"{path}.format is {image.format!r}, but the {len(data)} bytes are a {found[0]} file.",
            path=f"{path}.format",
            hint=f"Pass format={found[0]!r}.",
        )
    if not found and image.format in _IMAGE_FORMATS:
        head = _BASE64_HEAD.match(data)
        encoded = head is not None and bool(detect("image", base64.b64decode(head[0])))
        raise InvalidRequestError(
            f"{path}.source.bytes: the {len(data)} bytes do not begin like a {image.format} file.",
            path=f"{path}.source.bytes",
            hint="They are base64: pass the raw bytes; the client encodes them."
            if encoded
            else "Read the whole file, in binary mode. Images are png, jpeg, gif or webp.",
        )


def document_name(name: str) -> str:
    """Return ``name`` in a form that the service accepts for a document, at most 200 characters long.

    A known extension such as ``.pdf`` is dropped, accents too; invalid characters become hyphens, and a name of which
    nothing is left becomes ``"document"``.
    """
    stem, _, ending = name.rpartition(".")
    plain = unicodedata.normalize("NFKD", stem if ending.lower() in ENDINGS["document"] else name)
    letters = "".join(each for each in plain if not unicodedata.combining(each))
    words = " ".join(letters.split())
    return _NOT_IN_NAME.sub("-", words)[:_MAX_NAME].strip(" -") or "document"


def _require_messages(request: ConverseRequest) -> None:
    # A managed prompt has its own messages.  [API reference, Converse]
    if parse_model_id(request.model_id).kind != "prompt":
        raise InvalidRequestError(
            "messages is empty, or contains only blank text.",
            path="messages",
            hint='Pass "a question", or at least one message with the role user.',
        )


def _check_blocks(blocks: Iterable[object], path: str) -> None:
    for place, block in enumerate(blocks):
        check = _CHECKS.get(type(block))
        if check is not None:
            check(block, f"{path}[{place}]")


def _has_unknown(blocks: Iterable[object]) -> bool:
    for block in blocks:
        if type(block) is UnknownBlock or (type(block) is ToolResultBlock and _has_unknown(block.content)):
            return True
    return False


def _check_spelling(blocks: Iterable[object], path: str, tags: Sequence[str], given: object) -> None:
    for place, block in enumerate(blocks):
        if isinstance(block, UnknownBlock):
            _check_unknown(block, f"{path}[{place}]", tags, _given(given, place))
        elif isinstance(block, ToolResultBlock):
            inner = _given(_given(_given(given, place), ToolResultBlock.tag), "content")
            _check_spelling(block.content, f"{path}[{place}].toolResult.content", _RESULT_TAGS, inner)


def _given(holder: object, step: int | str) -> object:
    """Return what the caller gave at this position; None if there is nothing.

    A typed object represents everything in it.
    """
    if isinstance(holder, WireModel):
        return holder
    if isinstance(holder, Mapping):
        return cast("Mapping[object, object]", holder).get(step)
    if isinstance(holder, Sequence) and isinstance(step, int) and step < len(cast("Sequence[object]", holder)):
        return cast("Sequence[object]", holder)[step]
    return None


_Check: TypeAlias = Callable[[Any, str], None]


def _check_image_block(block: ImageBlock, path: str) -> None:
    check_image(block, f"{path}.image")


def _check_guard_content(block: GuardContentBlock, path: str) -> None:
    if block.image is not None:
        check_image(block.image, f"{path}.guardContent.image")


def document_name_fault(name: str) -> str | None:
    """Return why the service rejects a document name; None if it accepts it."""
    if not name:
        return "is empty"
    if len(name) > _MAX_NAME:
        return f"has {len(name)} characters; {_MAX_NAME} are allowed"
    if not _NAME.fullmatch(name):
        wrong = sorted({each for run in _NOT_IN_NAME.findall(name) for each in run})
        return f"contains invalid characters: {' '.join(map(ascii, wrong))}"
    return "contains consecutive spaces" if "  " in name else None


def _check_clip_block(block: VideoBlock | AudioBlock, path: str) -> None:
    check_clip(block, f"{path}.{block.tag}")


def _check_document(block: DocumentBlock, path: str) -> None:
    _check_document_name(block.name, f"{path}.document.name")
    data = block.source.bytes
    found = detect("document", data) if data is not None else ()
    if data is not None and found and block.format is not None and block.format not in found:
        raise InvalidRequestError(
            f"{path}.document.format is {block.format!r}, but the {len(data)} bytes are {what_it_is(data)}.",
            path=f"{path}.document.format",
            hint=f"Pass format={found[0]!r}.",
        )


def _check_document_name(name: str, path: str) -> None:
    if (fault := document_name_fault(name)) is None:
        return
    raise InvalidRequestError(
        f"{path} {fault}.",
        path=path,
        hint=f"Pass name={document_name(name)!r}. Names may have letters A to Z, digits, single spaces, - _ ( ) [ ].",
    )


def _check_tool_result(block: ToolResultBlock, path: str) -> None:
    _check_blocks(block.content, f"{path}.toolResult.content")


def _check_unknown(block: UnknownBlock, path: str, tags: Sequence[str], given_block: object) -> None:
    """Reject a block without a member or with several, and one that looks like a misspelling of a known one."""
    if not isinstance(given_block, Mapping):
        return
    names = list(block.raw)
    if len(names) != 1:
        raise InvalidRequestError(
            f"{path} has {len(names)} members ({', '.join(map(repr, names)) or 'none'}); a block has exactly one.",
            path=path,
            hint=f"A block looks like {{'text': ...}}; its member is one of {', '.join(tags)}.",
        )
    if (meant := _near(names[0], tags)) is not None:
        raise InvalidRequestError(
            f"{path} is a {names[0]!r}, which is not a kind of block here.",
            path=path,
            hint=f"Did you mean {meant!r}? If it is a new kind, pass UnknownBlock(raw={{{names[0]!r}: ...}}), "
            "which is sent unchanged.",
        )


def _near(name: str, tags: Sequence[str]) -> str | None:
    plain = {tag.lower(): tag for tag in tags}
    found = difflib.get_close_matches(name.replace("_", "").lower(), plain, n=1, cutoff=_ALIKE)
    return plain[found[0]] if found else None


def _cache_points(blocks: Iterable[object], path: str) -> list[str]:
    return [f"{path}[{place}]" for place, block in enumerate(blocks) if type(block) is CachePointBlock]


def _tags(union: object) -> tuple[str, ...]:
    kinds: tuple[type[Any], ...] = get_args(get_args(union)[0])
    return tuple(kind.tag for kind in kinds if issubclass(kind, Block))


_CONTENT_TAGS: Final = _tags(ContentBlock)
_RESULT_TAGS: Final = _tags(ToolResultContent)
_SYSTEM_TAGS: Final = _tags(SystemBlock)
_TOOL_TAGS: Final = _tags(ToolDefinition)

_CHECKS: Final[Mapping[type[Any], _Check]] = {
    ImageBlock: _check_image_block,
    DocumentBlock: _check_document,
    VideoBlock: _check_clip_block,
    AudioBlock: _check_clip_block,
    GuardContentBlock: _check_guard_content,
    ToolResultBlock: _check_tool_result,
}
