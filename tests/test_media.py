"""Blocks of images, documents, videos and audio: made from files, bytes, S3 and data URLs."""

from __future__ import annotations

import base64
import json
import os
import threading
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_files import AUDIO, DOCUMENTS, IMAGES, VIDEOS, gif, jpeg, office, png, webp

from bedrock_async import (
    Audio,
    AudioBlock,
    Document,
    DocumentBlock,
    Image,
    ImageBlock,
    InvalidRequestError,
    Message,
    Video,
    VideoBlock,
)
from bedrock_async.features.media_formats import ENDINGS, MediaKind, detect, format_of_name, image_size, what_it_is
from bedrock_async.testing import service_model

KINDS: Final = {"image": (Image, IMAGES), "video": (Video, VIDEOS), "audio": (Audio, AUDIO)}
CASES: Final = [
    pytest.param(kind, name, data, id=f"{kind}-{name}")
    for kind, (_, files) in KINDS.items()
    for name, data in files.items()
]
TEXTS: Final = {"csv", "txt", "md"}


def maker(kind: str) -> Any:  # noqa: ANN401 - one of three classes
    """Return the class that makes blocks of this kind."""
    return KINDS[kind][0]


# -- formats


@pytest.mark.parametrize(("kind", "name", "data"), CASES)
def test_the_format_is_told_from_the_bytes(kind: MediaKind, name: str, data: bytes) -> None:
    """Without a word about it, a file of each format is one of that; mpg is the same as mpeg."""
    block = maker(kind).from_bytes(data)
    assert block.format == {"mpg": "mpeg"}.get(name, name)
    assert block.source.bytes == data


@pytest.mark.parametrize(("name", "data"), [*DOCUMENTS.items()])
def test_the_format_of_a_document_is_told_from_the_bytes_as_far_as_they_tell(name: str, data: bytes) -> None:
    """Documents with a mark are known by it; text is txt unless its format is given or in its name."""
    assert Document.from_bytes(data).format == ("txt" if name in TEXTS else name)
    assert Document.from_bytes(data, format=name).format == name
    assert Document.from_bytes(data, name=f"report.{name}").format == name


def enum(shape: str) -> list[str]:
    """Return the values that the service model lists."""
    values: list[str] = service_model().shape_for(shape).metadata["enum"]
    return values


def test_every_format_of_the_service_has_a_file_or_an_ending() -> None:
    """No format that the service model lists is forgotten; synonyms are known by the ending or the argument."""
    kinds: list[tuple[MediaKind, str]] = [
        ("image", "ImageFormat"),
        ("document", "DocumentFormat"),
        ("video", "VideoFormat"),
    ]
    for kind, shape in kinds:
        assert set(enum(shape)) == set(ENDINGS[kind].values())
    assert set(enum("AudioFormat")) - set(ENDINGS["audio"].values()) == {"x-aac"}


def test_names_that_mean_the_same_are_taken() -> None:
    """A file can be called by each of its rightful names."""
    assert Video.from_bytes(VIDEOS["mpeg"], format="mpg").format == "mpg"
    assert Audio.from_bytes(AUDIO["mp3"], format="mpga").format == "mpga"
    assert Audio.from_bytes(AUDIO["aac"], format="x-aac").format == "x-aac"
    assert Audio.from_bytes(AUDIO["opus"], format="ogg").format == "ogg"
    assert Audio.from_bytes(b"\x01\x00\x02\x00", format="pcm").format == "pcm"
    assert Document.from_bytes(DOCUMENTS["html"], format="txt").format == "txt"


@pytest.mark.parametrize(
    ("make", "said", "hint"),
    [
        (lambda: Image.from_bytes(IMAGES["png"], format="jpeg"), "format is 'jpeg', but the", "format='png'"),
        (lambda: Document.from_bytes(DOCUMENTS["pdf"], format="docx"), "are a pdf file", "format='pdf'"),
        (lambda: Document.from_bytes(DOCUMENTS["html"], name="prices.csv"), "'prices.csv' says csv", "format='html'"),
        (lambda: Video.from_bytes(VIDEOS["webm"], format="mp4"), "are a webm file", "format='webm'"),
        (lambda: Image.from_bytes(b"<html>"), "not those of a supported image format", "png, jpeg, gif, webp"),
        (lambda: Image.from_bytes(b""), "data is empty", "png"),
        (lambda: Document.from_bytes(b""), "data is empty", "pdf"),
        (lambda: Image.from_bytes(b"II*\x00\x08\x00"), "a TIFF file", "png"),
        (lambda: Image.from_bytes(b"\x00\x00\x00\x1cftypheic"), "a HEIC or AVIF file", "png"),
        (lambda: Document.from_bytes(office("ppt/presentation.xml")), "a PowerPoint file", "pdf"),
        (lambda: Document.from_bytes(office("a.txt")), "a zip archive", "pdf"),
        (lambda: Document.from_bytes(b"hello", format="pdf"), "not those of a pdf file", "pdf"),
        (lambda: Document.from_bytes(b"\x00\x01\x02", format="txt"), "not those of a txt file", "txt"),
        (lambda: Audio.from_bytes(b"\x01\x00"), "of a supported audio format", "mp3"),
        (
            lambda: Image.from_bytes(IMAGES["png"], format="jpg"),
            "'jpg', which is not a supported image format",
            "format='jpeg'",
        ),
        (
            lambda: Video.from_bytes(VIDEOS["three_gp"], format="3gp"),
            "'3gp', which is not a supported video format",
            "'three_gp'",
        ),
        (lambda: Video.from_bytes(b"x", format="avi"), "'avi', which is not a supported video format", "flv, mkv"),
        (lambda: Image.from_bytes("iVBORw0KGgo="), "data is a str, not bytes", "from_data_url"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (lambda: Image.from_s3("https://example.com/cat.png"), "is not an S3 location", "s3://"),
        (lambda: Image.from_s3("s3://bucket"), "no object", "s3://bucket/key"),
        (lambda: Image.from_s3("s3://bucket/cat"), "no extension that tells its format", "png"),
        (lambda: Image.from_s3("s3://bucket/cat.pdf"), "no extension that tells its format", "png"),
        (lambda: Image.from_s3("s3://bucket/cat.png", bucket_owner="me"), "an account has 12 digits", None),
        (lambda: Image.from_data_url("data:image/png,abc"), "not a base64 data URL", "data:image/png;base64"),
        (lambda: Image.from_data_url("data:image/png;base64,a*b"), "not valid base64", None),
    ],
)
def test_what_is_wrong_is_refused_with_what_it_is(make: Any, said: str, hint: str | None) -> None:  # noqa: ANN401
    """Contradictions, unknown formats and what is no file are errors that name both sides and the next step."""
    with pytest.raises(InvalidRequestError) as caught:
        make()
    assert said in caught.value.message
    if hint is not None:
        assert hint in str(caught.value.hint)


@pytest.mark.parametrize("piece", [b"<!---->", b"<!--", b" ", b"<!--->", b"\xff\xff", b"PK\x03\x04", b"%PDF"])
def test_looking_at_bytes_takes_no_time(piece: bytes) -> None:
    """No input makes it try in more ways than it has bytes: a hundred thousand of anything are over at once."""
    data = piece * 100_000
    for kind in ("image", "document", "video", "audio"):
        detect(kind, data)
    assert what_it_is(data)
    assert image_size(b"\xff\xd8" + data) is None


@given(st.binary(max_size=200), st.sampled_from(["image", "document", "video", "audio"]))
def test_any_bytes_have_a_format_or_none(data: bytes, kind: MediaKind) -> None:
    """Looking at bytes never fails, whatever they are."""
    assert set(detect(kind, data)) <= {*ENDINGS[kind].values(), "x-aac"}
    assert what_it_is(data)
    assert image_size(data) is None or detect("image", data)


@given(st.integers(1, 16_383), st.integers(1, 16_383))
def test_the_size_of_an_image_is_read(width: int, height: int) -> None:
    """Width and height come out as they stand in each kind of file, and cut files tell nothing rather than fail."""
    files = [jpeg(width, height), gif(width, height)]
    files += [webp(width, height, kind=kind) for kind in (b"VP8X", b"VP8 ", b"VP8L")]
    for data in files:
        assert image_size(data) == (width, height)
    for data in files:
        for end in range(len(data)):
            assert image_size(data[:end]) in {None, (width, height)}
    assert image_size(png(7, 5)) == (7, 5)


# -- files


@pytest.mark.parametrize(("kind", "name", "data"), CASES)
async def test_a_file_is_read_at_once_or_beside_the_loop(kind: str, name: str, data: bytes, tmp_path: Path) -> None:
    """Both return the same block; the format is that of the name where the bytes allow it."""
    path = tmp_path / f"file.{ {'three_gp': '3gp', 'jpeg': 'jpg'}.get(name, name) }"
    path.write_bytes(data)
    block = maker(kind).from_path(path)
    assert (block.format, block.source.bytes) == (name, data)
    assert await maker(kind).read(str(path)) == block


async def test_a_large_file_is_read_by_another_thread(tmp_path: Path) -> None:
    """`read` leaves the loop free: the thread that opens the file is not the loop's."""
    threads: list[int] = []

    class Watched(type(tmp_path)):  # type: ignore[misc]
        def __fspath__(self) -> str:
            threads.append(threading.get_ident())
            return str(super().__fspath__())

    path = Watched(tmp_path / "a.png")
    path.write_bytes(IMAGES["png"])
    threads.clear()
    await Image.read(path)
    assert threads
    assert threading.get_ident() not in threads


def test_a_name_that_says_something_else_is_an_error(tmp_path: Path) -> None:
    """Both formats are named; an explicit format that fits the bytes settles it."""
    path = tmp_path / "cat.jpg"
    path.write_bytes(IMAGES["png"])
    with pytest.raises(InvalidRequestError, match=r"'cat.jpg' says jpeg, but the \d+ bytes are a png file") as caught:
        Image.from_path(path)
    assert str(tmp_path) not in str(caught.value)
    assert Image.from_path(path, format="png").format == "png"
    other = tmp_path / "cat.bin"
    other.write_bytes(IMAGES["png"])
    assert Image.from_path(other).format == "png"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """What the system says comes through; a file beyond any limit is not read at all."""
    with pytest.raises(FileNotFoundError):
        Image.from_path(tmp_path / "nothing.png")
    huge = tmp_path / "huge.mp4"
    with huge.open("wb") as file:
        file.truncate(101 * 1024 * 1024)
    with pytest.raises(InvalidRequestError, match=r"has 105906176 bytes \(101 MB\); up to 100 MB are read"):
        Video.from_path(huge)


@pytest.mark.parametrize("path", [None, 5, b"cat.png", "cat\0.png"])
async def test_what_is_no_path_is_refused(path: Any) -> None:  # noqa: ANN401 - what is wrong
    """With the tree's own error, here and beside the loop."""
    with pytest.raises(InvalidRequestError, match=r"^path ") as caught:
        Image.from_path(path)
    assert caught.value.path == "path"
    with pytest.raises(InvalidRequestError, match=r"^path "):
        await Document.read(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    """A pipe nobody writes to would hold up the caller for ever."""
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InvalidRequestError, match=r"pipe\.png is not a file but a pipe"):
        Image.from_path(tmp_path / "pipe.png")


def test_the_file_that_is_wrong_is_named(tmp_path: Path) -> None:
    """Of many files the one is found; an empty one is called empty."""
    for name, data, said in (
        ("empty.png", b"", "^'empty.png' is empty"),
        ("note.png", b"hello", "^the 5 bytes of 'note.png' are not those of a png file; they are text"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InvalidRequestError, match=said):
            Image.from_path(tmp_path / name)


# -- documents


def test_a_document_has_a_name_that_the_service_takes(tmp_path: Path) -> None:
    """The name is the file's, put right; one that is given is put right too; without any it is "document"."""
    path = tmp_path / "Größe & Preis  2025.csv"
    path.write_bytes(DOCUMENTS["csv"])
    assert Document.from_path(path).name == "Gro-e - Preis 2025"
    assert Document.from_path(path, name="Prices").name == "Prices"
    assert Document.from_bytes(DOCUMENTS["pdf"]).name == "document"
    assert Document.from_s3("s3://bucket/reports/q3.pdf").name == "q3"


async def test_a_document_carries_context_and_citations(tmp_path: Path) -> None:
    """The members of the service's DocumentBlock are there where they are asked for, and absent otherwise."""
    path = tmp_path / "a.md"
    path.write_bytes(DOCUMENTS["md"])
    plain = Document.from_path(path)
    assert plain.to_dict()["document"].keys() == {"name", "format", "source"}
    rich = await Document.read(path, context="minutes", citations=True)
    assert rich.context == "minutes"
    assert rich.citations is not None
    assert rich.citations.enabled
    assert Document.from_bytes(b"x", citations=False).to_dict()["document"]["citations"] == {"enabled": False}
    assert Document.from_text("Some text.").source.text == "Some text."


# -- S3 and data URLs


def test_an_object_of_s3_is_named(tmp_path: Path) -> None:
    """The URI and the owner of the bucket stand in the block; nothing is looked at."""
    image = Image.from_s3("s3://my-bucket/a/cat.JPG", bucket_owner="123456789012")
    assert image.to_dict() == {
        "image": {
            "format": "jpeg",
            "source": {"s3Location": {"uri": "s3://my-bucket/a/cat.JPG", "bucketOwner": "123456789012"}},
        }
    }
    assert Video.from_s3("s3://my-bucket/film", format="mp4").to_dict()["video"]["format"] == "mp4"
    assert isinstance(Audio.from_s3("s3://my-bucket/a.flac"), AudioBlock)
    document = Document.from_s3("s3://my-bucket/documents/report.pdf", bucket_owner="123456789012")
    assert document.to_dict()["document"]["source"]["s3Location"]["bucketOwner"] == "123456789012"


def test_data_urls() -> None:
    """The bytes of a data URL count, not its type; for text the type says which kind."""
    url = "data:image/jpeg;base64," + base64.b64encode(IMAGES["png"]).decode()
    assert Image.from_data_url(url) == Image.from_bytes(IMAGES["png"])
    text = "data:text/csv;charset=utf-8;base64," + base64.b64encode(DOCUMENTS["csv"]).decode()
    assert Document.from_data_url(text, name="prices").format == "csv"
    assert Image.from_data_url(url.replace("data:image/jpeg;base64", "DATA:image/jpeg;BASE64")).format == "png"


# -- in messages


def test_the_blocks_are_content_of_messages() -> None:
    """They can stand beside dicts, and travel as boto3 would send them."""
    message = Message(role="user", content=[Image.from_bytes(IMAGES["png"]), {"text": "What is it?"}])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    block = message.content[0]
    assert isinstance(block, ImageBlock)
    assert json.dumps(message.to_wire())
    assert message.to_dict()["content"][0]["image"]["source"]["bytes"] == IMAGES["png"]


@pytest.mark.parametrize(
    "block",
    [
        Image.from_bytes(IMAGES["png"]),
        Document.from_bytes(b"top secret", name="x"),
        Video.from_bytes(VIDEOS["mp4"]),
        Audio.from_bytes(AUDIO["wav"]),
        Message(role="user", content=[Image.from_bytes(IMAGES["png"])]),
    ],
    ids=lambda block: type(block).__name__,
)
def test_repr_never_shows_bytes(block: ImageBlock | DocumentBlock | VideoBlock | AudioBlock | Message) -> None:
    """A log line tells how long a medium is, not what is in it."""
    for shown in (repr(block), str(block)):
        assert "bytes>" in shown
        assert "secret" not in shown
        assert "\\x" not in shown


def test_endings_are_read_in_any_case() -> None:
    """Names in capitals, several dots and none."""
    assert format_of_name("image", "A.B.PNG") == "png"
    assert format_of_name("image", "png") is None
    assert format_of_name("video", "x.3gp") == "three_gp"
