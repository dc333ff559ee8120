"""What families read from the content of messages while encoding, and the errors for what a native body cannot hold."""

from __future__ import annotations

from typing import Any, Final, cast

from ..errors import InvalidRequestError
from ..types import DocumentBlock, ToolUseBlock

_TEXT_FORMATS: Final = frozenset({"csv", "html", "md", "txt"})


def document_text(document: DocumentBlock, *, path: str) -> str | None:
    """Return the text of a document: its text, its parts as paragraphs, or its bytes if it is csv, html, md or txt.

    None for documents in S3 and for other formats, which only Converse converts to text. Raises InvalidRequestError for
    bytes that are not UTF-8.
    """
    source = document.source
    if source.text is not None:
        return source.text
    if source.content is not None:
        return "\n".join(part.text or "" for part in source.content)
    if document.format not in _TEXT_FORMATS or source.bytes is None:
        return None
    try:
        return source.bytes.decode()
    except UnicodeDecodeError as exc:
        raise InvalidRequestError(
            f"{path} is a document of the format {document.format}, but not UTF-8 text ({exc.reason} at byte "
            f"{exc.start}).",
            path=path,
            hint="Encode it as UTF-8.",
        ) from exc


def tool_use_input(use: ToolUseBlock, *, path: str) -> dict[str, Any]:
    """Return the input of a tool use, for native bodies that need an object.

    Raises InvalidRequestError if it is not one (`ToolUseBlock.invalid_input`).
    """
    if use.invalid_input:
        raise InvalidRequestError(
            f"{path} is a tool use whose input is not an object: it was cut off or malformed.",
            path=path,
            hint="Leave that turn out of the history, or ask for it again with more max_tokens.",
        )
    return cast("dict[str, Any]", use.input)


def misplaced_cache_point(*, path: str) -> InvalidRequestError:
    """Return the error for a cache point without a block before it, for native bodies that mark the block instead."""
    return InvalidRequestError(
        f"{path} is a cache point with nothing before it to be cached.",
        path=path,
        hint="Put it after the last block to cache.",
    )
