"""Image, Document, Video, Audio: content blocks from files, bytes, S3 and the web.

What they return are the blocks that ``messages`` takes. The format is told from the bytes; a name or an argument that
says something else is an error. How much of a medium a model takes is checked when the request is made.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Generic, TypeAlias, TypeVar, cast

from anyio import to_thread

from ._error import a_kind
from .errors import InvalidRequestError
from .features.arguments import check_seconds
from .features.checks import document_name
from .features.media_checks import megabytes
from .features.media_formats import ENDINGS, MediaKind, detect, format_of_name, is_text, what_it_is
from .providers.invocations import parse_s3_uri
from .types import (
    AudioBlock,
    CitationsConfig,
    DocumentBlock,
    DocumentSource,
    ImageBlock,
    MediaSource,
    S3Location,
    VideoBlock,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .transport.download import Download

__all__ = ["Audio", "Document", "Image", "Video"]

B = TypeVar("B", ImageBlock, VideoBlock, AudioBlock)
StrPath: TypeAlias = "str | os.PathLike[str]"

_MAX_FILE_BYTES: Final = 100 * 1024 * 1024
"""No model takes that much in a request; a larger file is a mistake, or belongs in S3."""

_FETCH_BYTES: Final = 25 * 1024 * 1024
_FETCH_S: Final = 30.0
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_DATA_URL: Final = re.compile(r"(?i)data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+-]+=[^;,]*)*);base64,(.*)", re.DOTALL)
_TEXT_TYPES: Final = {"text/html": "html", "text/csv": "csv", "text/markdown": "md", "text/plain": "txt"}
_TEXTS: Final = frozenset({"csv", "html", "md", "txt"})


class _Medium(Generic[B]):
    """What images, videos and audio clips have in common."""

    _kind: ClassVar[MediaKind]

    @classmethod
    def from_bytes(cls, data: bytes, *, format: str | None = None) -> B:  # noqa: A002 - the service's word
        """Return a block with these bytes, which are those of a whole file.

        ``format`` is the service's name of it (``"jpeg"``), told from the bytes unless given. Raises
        InvalidRequestError for bytes of no known or another format. Base64 text is refused: see `from_data_url`.
        """
        return cls._block(_checked(cls._kind, data, format, None), MediaSource(bytes=bytes(data)))

    @classmethod
    def from_path(cls, path: StrPath, *, format: str | None = None) -> B:  # noqa: A002
        """Return a block with the bytes of a file, which is read at once; see `read` for large files on an event loop.

        Raises as `from_bytes`, also when the name's extension contradicts the bytes and no ``format`` is given, and
        OSError when the file cannot be read.
        """
        data = _file(path)
        return cls._block(_checked(cls._kind, data, format, os.fspath(path)), MediaSource(bytes=data))

    @classmethod
    async def read(cls, path: StrPath, *, format: str | None = None) -> B:  # noqa: A002
        """Return what `from_path` returns; the file is read beside the event loop."""
        return await to_thread.run_sync(lambda: cls.from_path(path, format=format))

    @classmethod
    def from_s3(cls, uri: str, *, format: str | None = None, bucket_owner: str | None = None) -> B:  # noqa: A002
        """Return a block that names an object of S3, which the service reads with the caller's permissions.

        ``format`` is told from the key's extension unless given; the object is not looked at. ``bucket_owner`` is the
        account of the bucket, if that is another one. Raises InvalidRequestError for something that is not an S3 URI or
        an account, and for a key whose extension tells no format.
        """
        location = _location(uri, bucket_owner)
        return cls._block(_named(cls._kind, uri, format), MediaSource(s3_location=location))

    @classmethod
    def from_data_url(cls, url: str, *, format: str | None = None) -> B:  # noqa: A002
        """Return a block with the bytes of a ``data:...;base64,...`` URL, as browsers make them.

        Its media type is ignored: the bytes tell the format. Raises as `from_bytes`, and InvalidRequestError for
        anything but such a URL.
        """
        return cls.from_bytes(_data_of(url)[0], format=format)

    @classmethod
    async def fetch(
        cls,
        url: str,
        *,
        format: str | None = None,  # noqa: A002
        max_bytes: int = _FETCH_BYTES,
        timeout_s: float = _FETCH_S,
        allow_private: bool = False,
    ) -> B:
        """Return a block with what an http or https URL answers, for the service itself fetches nothing.

        Only addresses of the public internet are reached, unless ``allow_private``, whatever the URL or a redirect
        says: URLs may come from users. At most ``max_bytes`` are read, within ``timeout_s`` seconds and over at most
        five redirects. Cancelling closes the connection.

        Raises InvalidRequestError for a URL that may not or cannot be fetched and as `from_bytes`, TransportError for
        what the network or the server does, TotalTimeoutError.
        """
        _declared(cls._kind, format)
        fetched = await _fetched(url, max_bytes=max_bytes, timeout_s=timeout_s, allow_private=allow_private)
        try:
            found = _checked(cls._kind, fetched.data, format, None)
        except InvalidRequestError as exc:
            raise _with_type(exc, fetched) from exc
        return cls._block(found, MediaSource(bytes=fetched.data))

    @classmethod
    def _block(cls, format: str, source: MediaSource) -> B:  # noqa: A002
        raise NotImplementedError


class Image(_Medium[ImageBlock]):
    """Makes `ImageBlock`: png, jpeg, gif and webp.

    ::

        content = [Image.from_path("cat.png"), {"text": "What is it?"}]
        await client.converse(model, [{"role": "user", "content": content}])
    """

    _kind = "image"

    @classmethod
    def _block(cls, format: str, source: MediaSource) -> ImageBlock:  # noqa: A002
        return ImageBlock(format=format, source=source)


class Video(_Medium[VideoBlock]):
    """Makes `VideoBlock`: mkv, mov, mp4, webm, flv, mpeg, mpg, wmv and three_gp. Large ones belong in S3."""

    _kind = "video"

    @classmethod
    def _block(cls, format: str, source: MediaSource) -> VideoBlock:  # noqa: A002
        return VideoBlock(format=format, source=source)


class Audio(_Medium[AudioBlock]):
    """Makes `AudioBlock`: mp3, wav, flac, ogg, opus, aac, m4a, mka, webm; and pcm if named, as it has no signature."""

    _kind = "audio"

    @classmethod
    def _block(cls, format: str, source: MediaSource) -> AudioBlock:  # noqa: A002
        return AudioBlock(format=format, source=source)


class Document:
    """Makes `DocumentBlock`: pdf, docx, xlsx, doc, xls, html, csv, txt and md.

    ``name`` is what the model sees; one that the service would refuse is corrected (`from_path` and `fetch` use the
    file's name). ``context`` is text about the document, ``citations=True`` lets the model cite it. Text has no
    signature: csv, txt and md are told by the name, or given as ``format``. The service wants a text block beside it.
    """

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        *,
        format: str | None = None,  # noqa: A002 - the service's word
        name: str | None = None,
        context: str | None = None,
        citations: bool | None = None,
    ) -> DocumentBlock:
        """Return a block with these bytes, which are those of a whole file; raises as `Image.from_bytes`.

        Text of no known ``format`` is ``html`` where it begins like that, else ``txt``.
        """
        found = _checked("document", data, format, name)
        return _document(found, DocumentSource(bytes=bytes(data)), name, context, citations)

    @classmethod
    def from_text(
        cls, text: str, *, name: str | None = None, context: str | None = None, citations: bool | None = None
    ) -> DocumentBlock:
        """Return a block whose source is this text itself, not a file."""
        return _document("txt", DocumentSource(text=text), name, context, citations)

    @classmethod
    def from_path(
        cls,
        path: StrPath,
        *,
        format: str | None = None,  # noqa: A002
        name: str | None = None,
        context: str | None = None,
        citations: bool | None = None,
    ) -> DocumentBlock:
        """Return a block with the bytes of a file, read before this returns; raises as `Image.from_path`."""
        data = _file(path)
        found = _checked("document", data, format, os.fspath(path))
        return _document(found, DocumentSource(bytes=data), name or Path(path).name, context, citations)

    @classmethod
    async def read(
        cls,
        path: StrPath,
        *,
        format: str | None = None,  # noqa: A002
        name: str | None = None,
        context: str | None = None,
        citations: bool | None = None,
    ) -> DocumentBlock:
        """Return what `from_path` returns; the file is read beside the event loop."""
        return await to_thread.run_sync(
            lambda: cls.from_path(path, format=format, name=name, context=context, citations=citations)
        )

    @classmethod
    def from_s3(
        cls,
        uri: str,
        *,
        format: str | None = None,  # noqa: A002
        name: str | None = None,
        bucket_owner: str | None = None,
        context: str | None = None,
        citations: bool | None = None,
    ) -> DocumentBlock:
        """Return a block that names an object of S3; see `Image.from_s3`."""
        source = DocumentSource(s3_location=_location(uri, bucket_owner))
        found = _named("document", uri, format)
        return _document(found, source, name or uri.rpartition("/")[2], context, citations)

    @classmethod
    def from_data_url(
        cls,
        url: str,
        *,
        format: str | None = None,  # noqa: A002
        name: str | None = None,
        context: str | None = None,
        citations: bool | None = None,
    ) -> DocumentBlock:
        """Return a block with the bytes of a ``data:...;base64,...`` URL; its media type tells csv from md and txt."""
        data, media_type = _data_of(url)
        told = format or (None if detect("document", data) else _TEXT_TYPES.get(media_type))
        return cls.from_bytes(data, format=told, name=name, context=context, citations=citations)

    @classmethod
    async def fetch(
        cls,
        url: str,
        *,
        format: str | None = None,  # noqa: A002
        name: str | None = None,
        context: str | None = None,
        citations: bool | None = None,
        max_bytes: int = _FETCH_BYTES,
        timeout_s: float = _FETCH_S,
        allow_private: bool = False,
    ) -> DocumentBlock:
        """Return a block with what an http or https URL answers; see `Image.fetch`.

        Text gets the format that the server names.
        """
        _declared("document", format)
        fetched = await _fetched(url, max_bytes=max_bytes, timeout_s=timeout_s, allow_private=allow_private)
        told = format or (None if detect("document", fetched.data) else _TEXT_TYPES.get(fetched.content_type))
        try:
            found = _checked("document", fetched.data, told, None if told else fetched.name)
        except InvalidRequestError as exc:
            raise _with_type(exc, fetched) from exc
        return _document(found, DocumentSource(bytes=fetched.data), name or fetched.name, context, citations)


def _document(
    found: str,
    source: DocumentSource,
    name: str | None,
    context: str | None,
    citations: bool | None,  # noqa: FBT001 - as it was given
) -> DocumentBlock:
    return DocumentBlock(
        name=document_name(name or ""),
        format=found,
        source=source,
        context=context,
        citations=None if citations is None else CitationsConfig(enabled=citations),
    )


def _checked(kind: MediaKind, data: object, declared: str | None, name: str | None) -> str:
    """Return the format of the bytes, which ``declared`` or the ending of ``name`` may not contradict."""
    if isinstance(data, str) or not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidRequestError(
            f"data is {a_kind(data)}, not bytes.",
            path="data",
            hint="Base64 text is passed as a data URL: from_data_url('data:image/png;base64,...').",
        )
    content = bytes(cast("bytes | bytearray | memoryview[int]", data))
    wanted = _declared(kind, declared)
    found = detect(kind, content)
    if wanted is None and name is not None:
        wanted = format_of_name(kind, name)
    if not found:
        return _told(kind, content, wanted, name, declared=declared is not None)
    if wanted is None or wanted in found:
        return wanted or found[0]
    said = f"format is {declared!r}" if declared is not None else f"the name {Path(name or '').name!r} says {wanted}"
    raise InvalidRequestError(
        f"{said}, but the {len(content)} bytes are {what_it_is(content)}.",
        path="format",
        hint=f"Pass format={found[0]!r}, if the bytes are right.",
    )


def _told(kind: MediaKind, content: bytes, wanted: str | None, name: str | None, *, declared: bool) -> str:
    """Return the format of bytes that have no mark of their own, as far as that can be."""
    if kind == "document" and is_text(content) and content:
        if wanted is None or wanted in _TEXTS:
            return wanted or "txt"
    elif kind == "audio" and wanted == "pcm" and declared and content:
        return wanted
    shown = repr(Path(name).name) if name else ""
    said = f"not those of a {wanted} file" if wanted is not None else f"not those of a supported {kind} format"
    raise InvalidRequestError(
        f"the {len(content)} bytes{shown and f' of {shown}'} are {said}; they are {what_it_is(content)}."
        if content
        else f"{shown or 'data'} is empty.",
        path="data",
        hint=f"The service accepts {', '.join(dict.fromkeys(ENDINGS[kind].values()))}.",
    )


def _declared(kind: MediaKind, declared: object) -> str | None:
    if declared is None:
        return None
    known = {*ENDINGS[kind].values(), *(("x-aac",) if kind == "audio" else ())}
    if not isinstance(declared, str) or declared not in known:
        name = str(declared).lower().removeprefix(".")
        meant = ENDINGS[kind].get(name)
        raise InvalidRequestError(
            f"format is {declared!r}, which is not a supported {kind} format.",
            path="format",
            hint=f"Pass format={meant!r}." if meant else f"It is one of {', '.join(sorted(known))}.",
        )
    return declared


def _named(kind: MediaKind, uri: str, declared: str | None) -> str:
    found = _declared(kind, declared) or format_of_name(kind, uri)
    if found is None:
        raise InvalidRequestError(
            f"the key of {uri!r} has no extension that tells its format.",
            path="format",
            hint=f"Pass format=, one of {', '.join(dict.fromkeys(ENDINGS[kind].values()))}.",
        )
    return found


def _location(uri: str, owner: object) -> S3Location:
    if not parse_s3_uri(uri, path="uri").key:
        raise InvalidRequestError(f"{uri!r} names a bucket but no object.", path="uri", hint="Pass s3://bucket/key.")
    if owner is not None and not (isinstance(owner, str) and _ACCOUNT.fullmatch(owner)):
        raise InvalidRequestError(f"bucket_owner is {owner!r}; an account has 12 digits, as text.", path="bucket_owner")
    return S3Location(uri=uri, bucket_owner=owner)


def _file(path: object) -> bytes:
    named = isinstance(path, str | os.PathLike)
    text: object = os.fspath(cast("StrPath", path)) if named else None
    if not isinstance(text, str) or "\0" in text:
        said = "contains a NUL" if isinstance(text, str) else f"is {a_kind(path)}, not a file name"
        raise InvalidRequestError(f"path {said}.", path="path", hint='Pass from_path("cat.png"), or from_bytes(data).')
    found = Path(text).stat()
    size = found.st_size
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise InvalidRequestError(
            f"{text} is not a file but a pipe, a socket or a device, which may never end.",
            path="path",
            hint="Read it yourself, and pass from_bytes(data).",
        )
    if size > _MAX_FILE_BYTES:
        raise InvalidRequestError(
            f"{text} has {size} bytes ({megabytes(size)}); up to {megabytes(_MAX_FILE_BYTES)} are read.",
            path="path",
            hint="Upload it to S3 and pass it with from_s3.",
        )
    return Path(text).read_bytes()


def _data_of(url: object) -> tuple[bytes, str]:
    found = _DATA_URL.fullmatch(url) if isinstance(url, str) else None
    if found is None:
        raise InvalidRequestError(
            "this is not a base64 data URL.", path="url", hint="It looks like data:image/png;base64,iVBORw0... ."
        )
    try:
        return base64.b64decode(found[3], validate=True), (found[1] or "").lower()
    except (binascii.Error, ValueError) as exc:
        raise InvalidRequestError(f"the data URL is not valid base64: {exc}.", path="url") from exc


async def _fetched(url: str, *, max_bytes: int, timeout_s: float, allow_private: bool) -> Download:
    check_seconds("timeout_s", timeout_s, hint="Pass timeout_s=30.")
    limit = cast("object", max_bytes)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidRequestError(
            f"max_bytes is {limit!r}; a number of bytes, 1 or more, is needed.",
            path="max_bytes",
            hint="Pass max_bytes=25 * 1024 * 1024.",
        )
    # aiohttp takes a tenth of a second to import, and a client with another transport has not.
    download = await to_thread.run_sync(_downloader)
    return await download(url, max_bytes=max_bytes, timeout_s=timeout_s, allow_private=allow_private)


def _downloader() -> Callable[..., Awaitable[Download]]:
    from .transport.download import download

    return download


def _with_type(fault: InvalidRequestError, fetched: Download) -> InvalidRequestError:
    kind = f"The server calls it {fetched.content_type}. " if fetched.content_type else ""
    return InvalidRequestError(fault.message, path="url", hint=kind + (fault.hint or ""))
