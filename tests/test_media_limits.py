"""How much of which media a model takes is checked before anything is sent, by the facts about the model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest
from media_files import AUDIO, DOCUMENTS, IMAGES, VIDEOS, png

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    ConnectionLostError,
    ConverseRequest,
    Credentials,
    Document,
    Image,
    InvalidRequestError,
    Video,
)
from bedrock_async.families import MediaLimits, find_profile
from bedrock_async.testing.canned import CannedTransport

CLAUDE: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
CLAUDE_5: Final = "us.anthropic.claude-sonnet-5"
NOVA: Final = "us.amazon.nova-lite-v1:0"
MB: Final = 1024 * 1024
ASK: Final = {"text": "What is it?"}


def asked(*blocks: object) -> list[dict[str, Any]]:
    """Return a conversation with these blocks in its last message."""
    return [{"role": "user", "content": [*blocks, ASK]}]


def padded(data: bytes, size: int) -> bytes:
    """Return the file with zeros behind it."""
    return data + bytes(size - len(data))


@pytest.fixture
async def client() -> AsyncIterator[BedrockClient]:
    """A client whose transport goes nowhere: ConnectionLostError says that a request would have been sent."""
    transport = CannedTransport([ConnectionLostError("far enough", sent=True)] * 9)
    keys = Credentials("AKIDEXAMPLE", "secret")
    async with BedrockClient(region="us-east-1", transport=transport, credentials=keys, retry=NO_RETRY) as made:
        yield made


async def refused(client: BedrockClient, model: str, *blocks: object, **settings: Any) -> InvalidRequestError:  # noqa: ANN401
    """Return the error of these blocks."""
    with pytest.raises(InvalidRequestError) as caught:
        await client.converse(model, asked(*blocks), **settings)
    return caught.value


async def passes(client: BedrockClient, model: str, *blocks: object, **settings: Any) -> None:  # noqa: ANN401
    """Fail unless these blocks would be sent."""
    with pytest.raises(ConnectionLostError):
        await client.converse(model, asked(*blocks), **settings)


IMAGE_LIMIT: Final = 3_932_160


async def test_an_image_of_claude_has_at_most_so_many_bytes(client: BedrockClient) -> None:
    """The vendor's 5 MB count base64: 3.75 MB of the file; one byte more is refused, with path and numbers."""
    await passes(client, CLAUDE, Image.from_bytes(padded(IMAGES["png"], IMAGE_LIMIT)))
    error = await refused(client, CLAUDE, ASK, Image.from_bytes(padded(IMAGES["png"], IMAGE_LIMIT + 1)))
    assert error.path == "messages[0].content[1].image.source.bytes"
    assert "has 3932161 bytes (3.75 MB); this model accepts 3932160 (3.75 MB) for a png image" in error.message
    await passes(client, NOVA, Image.from_bytes(padded(IMAGES["png"], IMAGE_LIMIT + 1)))


async def test_an_image_has_at_most_8000_pixels_of_a_side(client: BedrockClient) -> None:
    """The limit holds for every model."""
    for model in (CLAUDE, NOVA, "acme.unknown-v1"):
        await passes(client, model, Image.from_bytes(png(8_000, 1)))
        error = await refused(client, model, Image.from_bytes(png(1, 8_001)))
        assert "has 1 x 8001 pixels; at most 8000 per side are allowed." in error.message


async def test_many_images_are_smaller(client: BedrockClient) -> None:
    """Beside more than 20 images Claude takes 2,000 pixels of a side."""
    small, large = Image.from_bytes(png(2_000, 1)), Image.from_bytes(png(2_001, 1))
    await passes(client, CLAUDE_5, *[large] * 20)
    await passes(client, CLAUDE_5, *[small] * 29)
    error = await refused(client, CLAUDE_5, *[small] * 28, large)
    assert error.path == "messages[0].content[28].image.source.bytes"
    assert "2001 x 1 pixels; at most 2000 per side are allowed in a request with more than 20 images" in error.message


async def test_the_number_of_images_is_the_models(client: BedrockClient) -> None:
    """100 for Claude with a window of 200,000 tokens, 600 with a million; for Nova only the sum counts."""
    image = Image.from_bytes(IMAGES["gif"])
    error = await refused(client, CLAUDE, *[image] * 101)
    assert "the request has 101 images; this model accepts 100." in error.message
    assert error.path == "messages[0].content[100].image"
    for model in (CLAUDE_5, NOVA):
        await passes(client, model, *[image] * 101)


async def test_documents_are_counted_over_all_messages(client: BedrockClient) -> None:
    """Five in a request, wherever they stand; results of tools count too."""
    document = Document.from_bytes(DOCUMENTS["txt"], name="a")
    result = {"toolResult": {"toolUseId": "t", "content": [document.to_dict()]}}
    for model in (CLAUDE, NOVA):
        await passes(client, model, *[document] * 5)
        error = await refused(client, model, result, *[document] * 5)
        assert error.path == "messages[0].content[5].document"
        assert "6 documents; this model accepts 5" in error.message


async def test_documents_in_s3_count_where_the_service_says_so(client: BedrockClient) -> None:
    """Nova takes up to 1,000 of them, for the others the limit is one of the request."""
    document = Document.from_s3("s3://bucket/a.pdf")
    await passes(client, NOVA, *[document] * 6)
    await refused(client, CLAUDE, *[document] * 6)


@pytest.mark.parametrize(
    ("model", "name", "limited"),
    [
        (CLAUDE, "csv", True),
        (CLAUDE, "pdf", False),
        (NOVA, "docx", False),
        (NOVA, "txt", True),
        ("anthropic.claude-3-haiku-20240307-v1:0", "pdf", True),
        ("mistral.mistral-large-2402-v1:0", "pdf", True),
    ],
)
async def test_the_size_of_a_document(client: BedrockClient, model: str, name: str, limited: bool) -> None:  # noqa: FBT001
    """4.5 MB, but for PDFs of Claude 4 and later, PDF and DOCX of Nova."""
    size = int(4.5 * MB)
    fits = Document.from_bytes(DOCUMENTS[name] + b"\n" * (size - len(DOCUMENTS[name])), format=name)
    larger = Document.from_bytes(DOCUMENTS[name] + b"\n" * (size + 1 - len(DOCUMENTS[name])), format=name)
    await passes(client, model, fits)
    if limited:
        error = await refused(client, model, larger)
        said = f"has {size + 1} bytes (4.5 MB); this model accepts {size} (4.5 MB) for a {name} document"
        assert said in error.message
    else:
        await passes(client, model, larger)


async def test_videos_of_nova(client: BedrockClient) -> None:
    """One in a request, of 25 MB; larger ones belong into S3."""
    video = Video.from_bytes(VIDEOS["mp4"])
    await passes(client, NOVA, video)
    assert "2 videos; this model accepts 1" in (await refused(client, NOVA, video, video)).message
    error = await refused(client, NOVA, Video.from_bytes(padded(VIDEOS["mp4"], 25 * MB + 1)))
    assert "Video.from_s3(uri)" in str(error.hint)
    await passes(client, NOVA, Video.from_s3("s3://bucket/film.mp4"))


async def test_the_media_of_a_request_to_nova_have_25_mb_in_all(client: BedrockClient) -> None:
    """The largest is named."""
    images = [Image.from_bytes(padded(IMAGES["png"], size)) for size in (10 * MB, 12 * MB, 4 * MB)]
    error = await refused(client, NOVA, *images)
    assert "have 27262976 bytes (26 MB) in all; this model accepts 26214400 (25 MB)" in error.message
    assert error.path == "messages[0].content[1].image.source.bytes"


@pytest.mark.parametrize(
    ("block", "path", "said"),
    [
        (
            {"document": {"name": "a", "format": "pdf", "source": {"bytes": DOCUMENTS["docx"]}}},
            "document.format",
            "docx",
        ),
        ({"document": {"name": "a", "format": "csv", "source": {"bytes": DOCUMENTS["pdf"]}}}, "document.format", "pdf"),
        ({"video": {"format": "mp4", "source": {"bytes": VIDEOS["webm"]}}}, "video.format", "webm"),
        ({"audio": {"format": "mp3", "source": {"bytes": AUDIO["wav"]}}}, "audio.format", "wav"),
    ],
)
async def test_blocks_made_by_hand_are_held_against_their_bytes(
    client: BedrockClient, block: Mapping[str, object], path: str, said: str
) -> None:
    """A dict whose format contradicts the bytes is refused, as for images."""
    error = await refused(client, CLAUDE, block)
    assert error.path == f"messages[0].content[0].{path}"
    assert f"are a {said} file" in error.message
    assert error.hint == f"Pass format={said!r}."


async def test_who_knows_better_says_so(client: BedrockClient) -> None:
    """Limits are facts about the model, and as others can be set for a call; a ready request is not looked at."""
    limits = replace(find_profile("anthropic.claude-sonnet-4-20250514-v1:0").media, images=1)
    image = Image.from_bytes(IMAGES["png"])
    options = {"profile": {"media": limits}}
    assert "this model accepts 1" in (await refused(client, CLAUDE, image, image, provider_options=options)).message
    huge = Image.from_bytes(padded(IMAGES["png"], IMAGE_LIMIT + 1))
    await passes(client, CLAUDE, huge, provider_options={"profile": {"media": MediaLimits()}})
    ready = ConverseRequest.from_dict({"modelId": CLAUDE, "messages": [{"role": "user", "content": [huge.to_dict()]}]})
    with pytest.raises(ConnectionLostError):
        await client.converse(ready)


async def test_an_inference_profile_has_the_limits_of_its_model(client: BedrockClient) -> None:
    """With ``inference_profile`` the limits are those of ``model``."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdefghijkl"
    huge = Image.from_bytes(padded(IMAGES["png"], IMAGE_LIMIT + 1))
    await refused(client, CLAUDE, huge, inference_profile=arn)
    await passes(client, arn, huge)
