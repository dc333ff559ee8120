"""What the service surely refuses, found before anything is sent.

Only what holds for every model is checked. Values and kinds of blocks that are not known here pass: they may be newer
than this package.
"""

from __future__ import annotations

import base64
import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast, get_args

from ..errors import InvalidRequestError
from ..model_id import parse_model_id
from ..types import (
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
    WireModel,
)
from ..types._wire import Block

MAX_CACHE_POINTS: Final = 4
"""Cache points that the service takes in one request: in tools, system prompt and messages together."""

_MAX_NAME: Final = 200
# The API reference does not list the underscore, but names with it were answered; tabs and other white space were
# refused in public reports, a blank at either end was not.  [corpus; API reference, DocumentBlock]
_NAME: Final = re.compile(r"[A-Za-z0-9_ ()\[\]-]+")
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_ ()\[\]-]+")
_DOCUMENT_ENDINGS: Final = frozenset({"pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"})

_SIGNATURES: Final[Mapping[str, re.Pattern[bytes]]] = {
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "jpeg": re.compile(rb"\xff\xd8\xff"),
    "gif": re.compile(rb"GIF8[79]a"),
    "webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
}
# As much base64 as every signature needs, so that megabytes are not decoded to look at their first bytes.
_BASE64_HEAD: Final = re.compile(rb"[A-Za-z0-9+/]{16}")

# How alike a tag must be to a known one to be taken for its misspelling: "imge", "txt" and "images" are, "toolSearch",
# "audioOutput" or "richText", which a later version of the service may have, are not.
_ALIKE: Final = 0.85


def check_request(request: ConverseRequest, messages: object, settings: Mapping[str, Any]) -> None:
    """Refuse a request made of keywords where the service surely would. Raises InvalidRequestError with the path.

    ``messages`` and ``settings`` are what the caller gave. A block that nobody knows passes when it was given as an
    `UnknownBlock`; given as a dict it is refused when it looks like a misspelling of a known one.
    """
    if not request.messages:
        _require_messages(request)
    for index, message in enumerate(request.messages or ()):
        for block in message.content:
            if type(block) in _CHECKS:  # text, by far the most, is not
                given = _given(_given(messages, index), "content")
                _check_blocks(message.content, f"messages[{index}].content", _CONTENT_TAGS, given)
                break
    if request.system:
        _check_blocks(request.system, "system", _SYSTEM_TAGS, settings.get("system"))
    if request.tool_config is not None:
        _check_blocks(request.tool_config.tools, "toolConfig.tools", _TOOL_TAGS, settings.get("tools"))
    check_cache_points(request)


def check_cache_points(request: ConverseRequest) -> None:
    """Refuse a request with more cache points than the service takes. Raises InvalidRequestError with their paths."""
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
            f"the request has {len(places)} cache points ({', '.join(places)}); the service takes {MAX_CACHE_POINTS}.",
            path=places[MAX_CACHE_POINTS],
            hint="Remove some: a cache point covers everything before it, so the last ones matter most.",
        )


def ready_request(request: ConverseRequest, model: str | None) -> ConverseRequest:
    """Return a ready request under ``model``, when that is given. Raises InvalidRequestError for another model's."""
    check_cache_points(request)
    if model is None or model == request.model_id:
        return request
    if request.model_id is not None:
        raise InvalidRequestError(
            f"the request is for the model {request.model_id!r}, the call for {model!r}.",
            path="model",
            hint="Pass one of them, or request.model_copy(update={'model_id': ...}).",
        )
    return request.model_copy(update={"model_id": model})


def check_image(image: ImageBlock | GuardImage, path: str) -> None:
    """Refuse bytes that are no image of the format that is named. Raises InvalidRequestError with the path."""
    data = image.source.bytes
    if data is None:
        return
    found = _format_of(data)
    if found is not None and found != image.format:
        raise InvalidRequestError(
            f"{path}.format is {image.format!r}, but the {len(data)} bytes are a {found} file.",
            path=f"{path}.format",
            hint=f"Pass format={found!r}.",
        )
    if found is None and image.format in _SIGNATURES:
        head = _BASE64_HEAD.match(data)
        encoded = head is not None and _format_of(base64.b64decode(head[0])) is not None
        raise InvalidRequestError(
            f"{path}.source.bytes: the {len(data)} bytes do not begin like a {image.format} file.",
            path=f"{path}.source.bytes",
            hint="They are base64: pass the raw bytes, which are encoded on sending."
            if encoded
            else "Read the whole file, in binary mode; images are png, jpeg, gif or webp.",
        )


def document_name(name: str) -> str:
    """Return ``name`` in a form that the service takes for a document, at most 200 characters long.

    A known ending such as ``.pdf`` is dropped, accents too; what cannot stand in a name becomes a hyphen, and a name of
    which nothing is left ``"document"``.
    """
    stem, _, ending = name.rpartition(".")
    plain = unicodedata.normalize("NFKD", stem if ending.lower() in _DOCUMENT_ENDINGS else name)
    letters = "".join(each for each in plain if not unicodedata.combining(each))
    words = " ".join(letters.split())
    return _NOT_IN_NAME.sub("-", words)[:_MAX_NAME].strip(" -") or "document"


def _require_messages(request: ConverseRequest) -> None:
    # A managed prompt brings messages of its own.  [API reference, Converse]
    if parse_model_id(request.model_id).kind != "prompt":
        raise InvalidRequestError(
            "messages is empty.", path="messages", hint='Pass "a question", or at least one message with role user.'
        )


def _check_blocks(blocks: Iterable[object], path: str, tags: Sequence[str], given: object) -> None:
    for place, block in enumerate(blocks):
        check = _CHECKS.get(type(block))
        if check is not None:
            check(block, f"{path}[{place}]", tags, _given(given, place))


def _given(holder: object, step: int | str) -> object:
    """Return what the caller gave in this place; None where nothing stands there.

    A typed object stands for everything in it.
    """
    if isinstance(holder, WireModel):
        return holder
    if isinstance(holder, Mapping):
        return cast("Mapping[object, object]", holder).get(step)
    if isinstance(holder, Sequence) and isinstance(step, int) and step < len(cast("Sequence[object]", holder)):
        return cast("Sequence[object]", holder)[step]
    return None


_Check: TypeAlias = Callable[[Any, str, Sequence[str], object], None]


def _check_image_block(block: ImageBlock, path: str, _tags: Sequence[str], _given_block: object) -> None:
    check_image(block, f"{path}.image")


def _check_guard_content(block: GuardContentBlock, path: str, _tags: Sequence[str], _given_block: object) -> None:
    if block.image is not None:
        check_image(block.image, f"{path}.guardContent.image")


def _check_document(block: DocumentBlock, path: str, _tags: Sequence[str], _given_block: object) -> None:
    name = block.name
    if not name:
        fault = "is empty"
    elif len(name) > _MAX_NAME:
        fault = f"has {len(name)} characters; {_MAX_NAME} are allowed"
    elif not _NAME.fullmatch(name):
        wrong = sorted({each for run in _NOT_IN_NAME.findall(name) for each in run})
        fault = f"has characters that the service refuses: {' '.join(map(ascii, wrong))}"
    elif "  " in name:
        fault = "has more than one blank in a row"
    else:
        return
    raise InvalidRequestError(
        f"{path}.document.name {fault}.",
        path=f"{path}.document.name",
        hint=f"Pass name={document_name(name)!r}. Names have letters A to Z, digits, single blanks, - _ ( ) [ ].",
    )


def _check_tool_result(block: ToolResultBlock, path: str, _tags: Sequence[str], given_block: object) -> None:
    given = _given(_given(given_block, ToolResultBlock.tag), "content")
    _check_blocks(block.content, f"{path}.toolResult.content", _RESULT_TAGS, given)


def _check_unknown(block: UnknownBlock, path: str, tags: Sequence[str], given_block: object) -> None:
    """Refuse a block without a member, or with several, and one that looks like the misspelling of a known one."""
    if not isinstance(given_block, Mapping):
        return
    names = list(block.raw)
    if len(names) != 1:
        raise InvalidRequestError(
            f"{path} has {len(names)} members ({', '.join(map(repr, names)) or 'none'}); a block has exactly one.",
            path=path,
            hint=f"A block reads {{'text': ...}}; its member is one of {', '.join(tags)}.",
        )
    if (meant := _near(names[0], tags)) is not None:
        raise InvalidRequestError(
            f"{path} is a {names[0]!r}, which is no kind of block here.",
            path=path,
            hint=f"Did you mean {meant!r}? If it is new, pass UnknownBlock(raw={{{names[0]!r}: ...}}), "
            "which is sent as it is.",
        )


def _near(name: str, tags: Sequence[str]) -> str | None:
    plain = {tag.lower(): tag for tag in tags}
    found = difflib.get_close_matches(name.replace("_", "").lower(), plain, n=1, cutoff=_ALIKE)
    return plain[found[0]] if found else None


def _cache_points(blocks: Iterable[object], path: str) -> list[str]:
    return [f"{path}[{place}]" for place, block in enumerate(blocks) if type(block) is CachePointBlock]


def _format_of(data: bytes) -> str | None:
    return next((name for name, signature in _SIGNATURES.items() if signature.match(data)), None)


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
    GuardContentBlock: _check_guard_content,
    ToolResultBlock: _check_tool_result,
    UnknownBlock: _check_unknown,
}
