"""Small files of every format that the service takes: valid heads, as far as anything here looks."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Final

__all__ = ["AUDIO", "DOCUMENTS", "IMAGES", "VIDEOS", "gif", "jpeg", "office", "old_office", "png", "webp"]


def png(width: int = 2, height: int = 3) -> bytes:
    """Return a whole white image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\x00" + b"\xff" * width for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg(width: int = 2, height: int = 3) -> bytes:
    """Return what stands before the picture, with a comment and padding before the frame's header."""
    app0 = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    comment = b"\xff\xfe\x00\x06\xff\xc0!!"
    frame = b"\xff\xff\xc2\x00\x0b\x08" + struct.pack(">HH", height, width) + b"\x01\x11\x00\x00"
    return b"\xff\xd8" + app0 + comment + frame + b"\xff\xda\x00\x08"


def gif(width: int = 2, height: int = 3) -> bytes:
    """Return the head of an image."""
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x00\x00\x00"


def webp(width: int = 2, height: int = 3, *, kind: bytes = b"VP8X") -> bytes:
    """Return the head of an image of one of the three kinds."""
    body = {
        b"VP8X": b"\x0a\x00\x00\x00\x00\x00\x00\x00"
        + (width - 1).to_bytes(3, "little")
        + (height - 1).to_bytes(3, "little"),
        b"VP8 ": b"\x10\x00\x00\x00\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height),
        b"VP8L": b"\x10\x00\x00\x00\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(8),
    }[kind]
    return b"RIFF" + struct.pack("<I", 4 + 4 + len(body)) + b"WEBP" + kind + body


def office(part: str) -> bytes:
    """Return an Office file with this part."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(part, "<document/>" * 100)
    return file.getvalue()


def old_office(stream: str) -> bytes:
    """Return the head of an Office file of before 2007, with the name of a stream in its directory."""
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + stream.encode("utf-16-le") + bytes(64)


def _ftyp(brand: bytes) -> bytes:
    return b"\x00\x00\x00\x18ftyp" + brand + b"\x00\x00\x02\x00" + brand + b"isom"


def _ebml(kind: bytes) -> bytes:
    return b"\x1aE\xdf\xa3\xa3B\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x88" + kind + b"B\x87\x81\x04"


IMAGES: Final[Mapping[str, bytes]] = {"png": png(), "jpeg": jpeg(), "gif": gif(), "webp": webp()}

DOCUMENTS: Final[Mapping[str, bytes]] = {
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj << /Type /Page >> endobj\n%%EOF\n",
    "docx": office("word/document.xml"),
    "xlsx": office("xl/workbook.xml"),
    "doc": old_office("WordDocument"),
    "xls": old_office("Workbook"),
    "html": b"\xef\xbb\xbf <!-- a comment -->\n<!DOCTYPE html><html><p>Hello.</p></html>",
    "csv": b"name,price\ncat,3\n",
    "txt": "Grüße.\n".encode(),
    "md": b"# Title\n\nText.\n",
}

VIDEOS: Final[Mapping[str, bytes]] = {
    "mkv": _ebml(b"matroska"),
    "webm": _ebml(b"webm\x00\x00\x00\x00"),
    "mov": _ftyp(b"qt  "),
    "mp4": _ftyp(b"isom"),
    "three_gp": _ftyp(b"3gp5"),
    "flv": b"FLV\x01\x05\x00\x00\x00\x09",
    "mpeg": b"\x00\x00\x01\xba\x44\x00\x04\x00",
    "mpg": b"\x00\x00\x01\xb3\x16\x00\xf0\x15",
    "wmv": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c",
}

AUDIO: Final[Mapping[str, bytes]] = {
    "mp3": b"ID3\x04\x00\x00\x00\x00\x00\x00",
    "wav": b"RIFF\x24\x00\x00\x00WAVEfmt ",
    "flac": b"fLaC\x00\x00\x00\x22",
    "ogg": b"OggS\x00\x02" + bytes(22) + b"\x01vorbis",
    "opus": b"OggS\x00\x02" + bytes(22) + b"OpusHead\x01",
    "aac": b"\xff\xf1\x50\x80\x02\x1f\xfc",
    "m4a": _ftyp(b"M4A "),
    "mp4": _ftyp(b"mp42"),
    "mka": _ebml(b"matroska"),
    "webm": _ebml(b"webm\x00\x00\x00\x00"),
}
