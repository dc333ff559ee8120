"""What a file is, told from its bytes: formats of images, documents, videos and audio, and the size of an image.

Formats have the service's own names (`ImageFormat`, `DocumentFormat`, `VideoFormat`, `AudioFormat`). Sources: the PNG,
GIF89a, JPEG (ISO 10918-1) and WebP specifications, ISO 14496-12 (``ftyp``), Matroska/EBML, and for the rest the
signatures in the Unix ``file`` database.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

__all__ = ["ENDINGS", "MediaKind", "detect", "format_of_name", "image_size", "is_text", "what_it_is"]

MediaKind: TypeAlias = Literal["image", "document", "video", "audio"]

_HEAD: Final = 1024
"""The most that a signature needs; PDF readers allow that much before ``%PDF-``."""

_IMAGES: Final[Mapping[str, re.Pattern[bytes]]] = {
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "jpeg": re.compile(rb"\xff\xd8\xff"),
    "gif": re.compile(rb"GIF8[79]a"),
    "webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
}
_FTYP: Final = re.compile(rb"....ftyp(....)", re.DOTALL)
_STILLS: Final = frozenset({b"heic", b"heix", b"mif1", b"avif"})
_OLD_QUICKTIME: Final = re.compile(rb"....(?:moov|mdat|wide|pnot)", re.DOTALL)
_EBML: Final = b"\x1aE\xdf\xa3"
_ASF: Final = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
_PROGRAM_STREAM: Final = re.compile(rb"\x00\x00\x01[\xb3\xba]")
_TRANSPORT_STREAM: Final = re.compile(rb"\x47.{187}\x47", re.DOTALL)
_MP3: Final = re.compile(rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")
_ADTS: Final = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")
_WAVE: Final = re.compile(rb"(?:RIFF|RF64)....WAVE", re.DOTALL)
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP: Final = b"PK\x03\x04"
# Parts of an Office file, which stand in its directory uncompressed.  [ECMA-376, part 2]
_OFFICE: Final = {"docx": b"word/document", "xlsx": b"xl/workbook.xml"}
# The streams of the older ones are named in UTF-16.  [MS-CFB, MS-DOC, MS-XLS]
_OLD_OFFICE: Final = {
    "doc": ("WordDocument".encode("utf-16-le"),),
    "xls": ("Workbook".encode("utf-16-le"), "Book".encode("utf-16-le")),
}
# Possessive, so that a thousand comments cannot be divided up in a thousand ways.
_HTML: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*+(?:(?><!--.*?-->)\s*+)*+(?:<!doctype\s+html|<html[\s>])", re.IGNORECASE | re.DOTALL
)

ENDINGS: Final[Mapping[MediaKind, Mapping[str, str]]] = {
    "image": {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "jpe": "jpeg", "gif": "gif", "webp": "webp"},
    "document": {
        **{name: name for name in ("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md")},
        "htm": "html",
        "text": "txt",
        "log": "txt",
        "markdown": "md",
    },
    "video": {
        **{name: name for name in ("mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv")},
        "3gp": "three_gp",
        "3gpp": "three_gp",
        "m4v": "mp4",
        "qt": "mov",
    },
    "audio": {
        **{name: name for name in ("mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "m4a", "mpeg")},
        "mpga": "mpga",
        "pcm": "pcm",
        "webm": "webm",
        "oga": "ogg",
    },
}
"""The format that the ending of a file's name stands for, by kind."""


def format_of_name(kind: MediaKind, name: str) -> str | None:
    """Return the format that the ending of a file's name or key stands for, None where it stands for none."""
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    return ENDINGS[kind].get(ending)


def detect(kind: MediaKind, data: bytes) -> tuple[str, ...]:
    """Return the formats that the bytes can rightly be called by, the usual one first; empty where they tell nothing.

    Text tells no more than that it is no other document: csv, txt and md are all text. ``pcm`` has no signature.
    """
    match kind:
        case "image":
            return next(((name,) for name, signature in _IMAGES.items() if signature.match(data)), ())
        case "video":
            return _video(data)
        case "audio":
            return _audio(data)
        case "document":
            return _document(data)


def is_text(data: bytes) -> bool:
    """Tell whether the bytes begin like text: UTF-8, or UTF-16 with its mark, without a NUL."""
    head = data[: 4 * _HEAD]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    if b"\x00" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as exc:
        # The head may end within a character; older text is in some 8-bit code page, binary is full of controls.
        return exc.start >= len(head) - 3 or not any(byte < 9 or 13 < byte < 27 for byte in head)
    return True


def what_it_is(data: bytes) -> str:
    """Return what the bytes look like, in the words of an error message."""
    if not data:
        return "nothing: it is empty"
    for kind in ("image", "video", "audio", "document"):
        if found := detect(kind, data):
            return f"a {found[0]} file"
    if data.startswith(_ZIP):
        return "a PowerPoint file" if b"ppt/presentation" in data else "a zip archive"
    if data.startswith((b"II*\x00", b"MM\x00*")):
        return "a TIFF file"
    if data.startswith(b"BM"):
        return "a BMP file"
    if _FTYP.match(data) and data[8:12] in _STILLS:
        return "a HEIC or AVIF file"
    return "text" if is_text(data) else "of an unknown format"


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a png, jpeg, gif or webp in pixels, None where the bytes do not tell."""
    try:
        match detect("image", data):
            case ("png",):
                return _number(data, 16, 4), _number(data, 20, 4)
            case ("gif",):
                return _number(data, 6, 2, "little"), _number(data, 8, 2, "little")
            case ("jpeg",):
                return _jpeg_size(data)
            case ("webp",):
                return _webp_size(data)
            case _:
                return None
    except IndexError:
        return None


def _number(data: bytes, at: int, size: int, order: Literal["big", "little"] = "big") -> int:
    if at + size > len(data):
        raise IndexError(at)
    return int.from_bytes(data[at : at + size], order)


def _video(data: bytes) -> tuple[str, ...]:
    if found := _FTYP.match(data):
        brand = found[1]
        if brand == b"qt  ":
            return ("mov",)
        if brand.startswith((b"3gp", b"3g2", b"3ge", b"3gg")):
            return ("three_gp",)
        return () if brand.startswith(b"M4A") or brand in _STILLS else ("mp4",)
    if _OLD_QUICKTIME.match(data):
        return ("mov",)
    if data.startswith(_EBML):
        return ("webm",) if b"webm" in data[:64] else ("mkv",)
    if data.startswith(b"FLV\x01"):
        return ("flv",)
    if data.startswith(_ASF):
        return ("wmv",)
    if _PROGRAM_STREAM.match(data) or _TRANSPORT_STREAM.match(data):
        return ("mpeg", "mpg")
    return ()


def _audio(data: bytes) -> tuple[str, ...]:
    if _WAVE.match(data):
        return ("wav",)
    if data.startswith(b"fLaC"):
        return ("flac",)
    if data.startswith(b"OggS"):
        return ("opus", "ogg") if b"OpusHead" in data[:64] else ("ogg",)
    if (found := _FTYP.match(data)) and found[1] not in _STILLS:
        return ("m4a", "mp4") if found[1].startswith(b"M4A") else ("mp4", "m4a")
    if data.startswith(_EBML):
        return ("webm",) if b"webm" in data[:64] else ("mka", "mkv")
    if _ADTS.match(data):
        return ("aac", "x-aac")
    if _MP3.match(data):
        return ("mp3", "mpeg", "mpga")
    return ()


def _document(data: bytes) -> tuple[str, ...]:
    if b"%PDF-" in data[:_HEAD]:
        return ("pdf",)
    if data.startswith(_ZIP):
        return next(((name,) for name, part in _OFFICE.items() if part in data), ())
    if data.startswith(_OLE):
        return next(((name,) for name, parts in _OLD_OFFICE.items() if any(part in data for part in parts)), ())
    # A page may stand in a text file as a page to be read as text.
    return ("html", "txt", "md") if _HTML.match(data[: 4 * _HEAD]) else ()


# Markers that begin a frame and so hold the size: all SOFn but DHT, JPG and DAC.  [ISO 10918-1, table B.1]
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_SCAN: Final = 0xDA
_MOST_SEGMENTS: Final = 10_000
"""Looked at before the frame; real files have some dozens."""


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    for _ in range(_MOST_SEGMENTS):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker in _FRAMES:
            height, width = _number(data, at + 5, 2), _number(data, at + 7, 2)
            return (width, height) if width and height else None
        elif marker == _SCAN:
            return None
        else:
            at += 2 + max(2, _number(data, at + 2, 2))
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    match data[12:16]:
        case b"VP8X":
            return 1 + _number(data, 24, 3, "little"), 1 + _number(data, 27, 3, "little")
        case b"VP8 ":
            return _number(data, 26, 2, "little") & 0x3FFF, _number(data, 28, 2, "little") & 0x3FFF
        case b"VP8L":
            bits = _number(data, 21, 4, "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case _:
            return None
