"""Messages that the service surely refuses are refused before anything is sent, with the path and the next step."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeAlias

import pytest
from corpus import exchanges
from hypothesis import given
from hypothesis import strategies as st
from strategies import IMAGE_STARTS

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    CachePointBlock,
    ConnectionLostError,
    ConverseRequest,
    Credentials,
    ImageBlock,
    InvalidRequestError,
    Message,
    TextBlock,
    UnknownBlock,
)
from bedrock_async.features.checks import MAX_CACHE_POINTS, check_cache_points, check_request, document_name
from bedrock_async.testing.canned import CannedTransport
from bedrock_async.types import MediaSource, SystemBlock, ToolDefinition

MODEL: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
PROMPT_ARN: Final = "arn:aws:bedrock:us-east-1:123456789012:prompt/ABCDEFGHIJ:1"
POINT: Final = {"cachePoint": {"type": "default"}}
TOOL: Final[dict[str, Any]] = {"toolSpec": {"name": "t", "inputSchema": {"json": {}}}}
SECRET: Final = "canary"
NOTHING: Final[dict[str, Any]] = {}

Block: TypeAlias = "dict[str, Any] | UnknownBlock"
Verb: TypeAlias = "Callable[..., Any]"


class Probe:
    """A client whose transport notes what it is given, and goes no further."""

    def __init__(self) -> None:
        self.transport = CannedTransport([ConnectionLostError("far enough", sent=True)])
        keys = Credentials("AKIDEXAMPLE", "secret")
        self.client = BedrockClient(
            region="us-east-1",
            transport=self.transport,
            credentials=keys,
            retry=NO_RETRY,
            settings={"normalize": False},  # which would put some of it right
        )

    async def refused(self, *arguments: Any, **settings: Any) -> InvalidRequestError:  # noqa: ANN401 - whatever is wrong
        """Return the error of these arguments, which every verb raises before anything is sent."""
        client = self.client
        errors: list[InvalidRequestError] = []
        verbs: list[Verb] = [client.converse, client.stream, client.count_tokens]
        if not isinstance(arguments[0], ConverseRequest):
            verbs.append(client.prepare)
        for verb in verbs:
            with pytest.raises(InvalidRequestError) as caught:
                await verb(*arguments, **settings)
            errors.append(caught.value)
        assert self.transport.requests == []
        assert len({str(error) for error in errors}) == 1
        error = errors[0]
        assert error.path
        assert error.hint
        assert SECRET not in str(error)
        return error

    async def sent(self, *arguments: Any, **settings: Any) -> bytes:  # noqa: ANN401 - any arguments of converse
        """Return the body that goes out for these arguments."""
        with pytest.raises(ConnectionLostError):
            await self.client.converse(*arguments, **settings)
        return self.transport.requests.pop().body


@pytest.fixture
async def probe() -> AsyncIterator[Probe]:
    """A probe, closed in the end."""
    made = Probe()
    yield made
    await made.client.aclose()


def asked(*blocks: Block) -> list[dict[str, Any]]:
    """Return a history whose last turn has these blocks."""
    before = [{"role": "user", "content": [{"text": SECRET}]}, {"role": "assistant", "content": [{"text": "b"}]}]
    return [*before, {"role": "user", "content": list(blocks)}]


def image(data: bytes, name: str = "png") -> dict[str, Any]:
    """Return an image block."""
    return {"image": {"format": name, "source": {"bytes": data}}}


def document(name: str) -> dict[str, Any]:
    """Return a document block."""
    return {"document": {"name": name, "format": "txt", "source": {"bytes": b"text"}}}


# -- types and unions


@pytest.mark.parametrize(
    ("block", "path"),
    [
        ({"image": {"format": 5, "source": {"bytes": b"x"}}}, "messages[2].content[0].image.format"),
        ({"image": {"format": None, "source": {"bytes": b"x"}}}, "messages[2].content[0].image.format"),
        ({"text": "a", "image": NOTHING}, "messages[2].content[0]"),
        (
            {"image": {"format": "png", "source": {"bytes": b"x", "s3Location": {"uri": "s3://b/k"}}}},
            "messages[2].content[0].image.source",
        ),
        ({"image": {"format": "png", "source": NOTHING}}, "messages[2].content[0].image.source"),
        (
            {"toolResult": {"toolUseId": "t", "content": [{"json": NOTHING, "text": ""}]}},
            "messages[2].content[0].toolResult.content[0]",
        ),
    ],
)
async def test_wrong_types_and_both_or_no_members_of_a_union(block: dict[str, Any], path: str, probe: Probe) -> None:
    """The error names the place as it was passed, however deep."""
    for verb in (probe.client.prepare, probe.client.stream, probe.client.converse):
        with pytest.raises(InvalidRequestError) as caught:
            await verb(MODEL, asked(block))  # type: ignore[misc]
        assert caught.value.path == path
        assert path in str(caught.value)
    assert probe.transport.requests == []


async def test_a_block_without_members_is_refused(probe: Probe) -> None:
    """Neither of a block's kinds is none of them."""
    error = await probe.refused(MODEL, asked({"text": "a"}, {}))
    assert error.path == "messages[2].content[1]"
    assert "has 0 members (none); a block has exactly one" in str(error)


@pytest.mark.parametrize(
    "block", [{"type": "image_url", "image_url": {"url": "https://..."}}, {"type": "image", "source": {"data": "..."}}]
)
async def test_blocks_of_other_services_are_explained(block: dict[str, Any], probe: Probe) -> None:
    """A block that says its kind in a member called type is not Bedrock's."""
    error = await probe.refused(MODEL, asked(block))
    assert error.path == "messages[2].content[0]"
    assert "has 2 members ('type', " in str(error)
    assert "its member is one of text, image, document" in str(error)


# -- misspelt kinds


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("imge", "image"),
        ("images", "image"),
        ("Text", "text"),
        ("txt", "text"),
        ("docment", "document"),
        ("tool_use", "toolUse"),
        ("toolresult", "toolResult"),
        ("cache_point", "cachePoint"),
        ("searchResults", "searchResult"),
    ],
)
async def test_a_misspelt_kind_of_block_is_refused(name: str, meant: str, probe: Probe) -> None:
    """With the kind that was meant, and the way to send the block all the same."""
    error = await probe.refused(MODEL, asked({"text": "a"}, {name: {}}))
    assert error.path == "messages[2].content[1]"
    assert f"Did you mean '{meant}'?" in str(error)
    assert f"UnknownBlock(raw={{'{name}': ...}})" in str(error)
    assert name.encode() in await probe.sent(MODEL, asked({"text": "a"}, UnknownBlock(raw={name: {}})))


@pytest.mark.parametrize("name", ["toolSearch", "audioOutput", "richText", "imageEdit", "table", "reasoningTextDelta"])
async def test_kinds_that_are_new_pass(name: str, probe: Probe) -> None:
    """What a later version of the service knows needs no new version of this package."""
    assert f'{{"{name}":{{"a":1}}}}'.encode() in await probe.sent(MODEL, asked({"text": "a"}, {name: {"a": 1}}))


async def test_misspellings_are_found_in_every_place(probe: Probe) -> None:
    """In tool results, in the system prompt and among the tools, each with the kinds of its place."""
    result = {"toolResult": {"toolUseId": "t", "content": [{"text": "a"}, {"jsn": NOTHING}]}}
    error = await probe.refused(MODEL, asked(result))
    assert error.path == "messages[2].content[0].toolResult.content[1]"
    assert "Did you mean 'json'?" in str(error)
    error = await probe.refused(MODEL, "hi", system=["a", {"cachepoint": {}}])
    assert error.path == "system[1]"
    assert "Did you mean 'cachePoint'?" in str(error)
    error = await probe.refused(MODEL, "hi", tools=[TOOL, {"tool_spec": {}}])
    assert error.path == "toolConfig.tools[1]"
    assert "Did you mean 'toolSpec'?" in str(error)


async def test_blocks_in_typed_objects_pass(probe: Probe) -> None:
    """A message that came from the service is sent back as it is, whatever its blocks are called."""
    kept = Message.from_wire({"role": "assistant", "content": [{"text": "b"}, {"textt": "c"}]})
    history = [asked({"text": "a"})[0], kept, {"role": "user", "content": [{"text": "d"}]}]
    assert b'{"textt":"c"}' in await probe.sent(MODEL, history)
    system: list[SystemBlock] = [TextBlock(text="a"), UnknownBlock(raw={"txt": "b"})]
    tools: list[ToolDefinition] = [UnknownBlock(raw={"toolSpecs": {}})]
    body = await probe.sent(MODEL, "hi", system=system, tools=tools)
    assert b'{"txt":"b"}' in body
    assert b'{"toolSpecs":{}}' in body


async def test_what_extra_body_brings_is_not_looked_into(probe: Probe) -> None:
    """It is the way around everything."""
    extra = {"messages": [{"role": "user", "content": [{"txt": "a"}, NOTHING]}, {"role": "user", "content": [NOTHING]}]}
    assert b'{"txt":"a"},{}' in await probe.sent(MODEL, "hi", extra_body=extra)


# -- images


@pytest.mark.parametrize("name", IMAGE_STARTS)
@pytest.mark.parametrize("other", IMAGE_STARTS)
async def test_bytes_of_another_format_are_refused(name: str, other: str, probe: Probe) -> None:
    """The error has the path and both formats."""
    data = IMAGE_STARTS[other] + b"\x00" * 100
    if name == other:
        assert base64.b64encode(data) in await probe.sent(MODEL, asked(image(data, name)))
        return
    error = await probe.refused(MODEL, asked({"text": "Look:"}, image(data, name)))
    assert error.path == "messages[2].content[1].image.format"
    assert f"is '{name}', but the {len(data)} bytes are a {other} file" in str(error)
    assert f"Pass format='{other}'" in str(error)


@pytest.mark.parametrize("name", ["jpg", "PNG", "avif"])
async def test_a_format_that_the_service_may_come_to_know_is_held_against_the_bytes(name: str, probe: Probe) -> None:
    """A name that is not known here passes, unless the bytes are an image of a format that is."""
    assert await probe.sent(MODEL, asked(image(b"\x00\x00\x00\x1cftypavif", name)))
    error = await probe.refused(MODEL, asked(image(IMAGE_STARTS["jpeg"], name)))
    assert "Pass format='jpeg'" in str(error)


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"", "Read the whole file"),
        (b"\x89PN", "Read the whole file"),
        (b"<html>", "Read the whole file"),
        (b"RIFF\x00\x00\x00\x00WAVE", "Read the whole file"),
        (b"AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "Read the whole file"),
        (base64.b64encode(IMAGE_STARTS["png"] + b"\x00" * 30), "They are base64: pass the raw bytes"),
        (base64.b64encode(IMAGE_STARTS["jpeg"] + b"\x00" * 30), "They are base64: pass the raw bytes"),
    ],
)
async def test_bytes_that_are_no_image_are_refused(data: bytes, hint: str, probe: Probe) -> None:
    """The error has the path, the number of bytes and the format that was named."""
    error = await probe.refused(MODEL, asked(image(data)))
    assert error.path == "messages[2].content[0].image.source.bytes"
    assert f"the {len(data)} bytes do not begin like a png file" in str(error)
    assert hint in str(error)


async def test_images_are_looked_at_in_every_place(probe: Probe) -> None:
    """In tool results and for guardrails, as dicts and as objects."""
    wrong = image(IMAGE_STARTS["gif"])
    error = await probe.refused(MODEL, asked({"toolResult": {"toolUseId": "t", "content": [wrong]}}))
    assert error.path == "messages[2].content[0].toolResult.content[0].image.format"
    error = await probe.refused(MODEL, asked({"guardContent": wrong}))
    assert error.path == "messages[2].content[0].guardContent.image.format"
    error = await probe.refused(MODEL, "hi", system=[{"text": "a"}, {"guardContent": wrong}])
    assert error.path == "system[1].guardContent.image.format"
    typed = ImageBlock(format="png", source=MediaSource(bytes=IMAGE_STARTS["gif"]))
    error = await probe.refused(MODEL, [Message(role="user", content=[TextBlock(text="a"), typed])])
    assert error.path == "messages[0].content[1].image.format"
    with pytest.raises(InvalidRequestError, match="bytes are a gif file") as caught:
        await probe.client.apply_guardrail("abc", "1", source="INPUT", content=["a", wrong])
    assert caught.value.path == "content[1].image.format"
    assert probe.transport.requests == []


async def test_images_elsewhere_are_not_looked_at(probe: Probe) -> None:
    """The service fetches them from S3, and guardrails have texts too."""
    block = {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://bucket/a.gif"}}}}
    assert b"s3://bucket/a.gif" in await probe.sent(MODEL, asked(block, {"guardContent": {"text": {"text": "a"}}}))


def test_recorded_images_pass() -> None:
    """What the service has answered is not refused here."""
    for exchange in exchanges("converse", 200):
        if exchange.request_body and exchange.features & {"image_input", "document_input", "prompt_caching"}:
            request = ConverseRequest.from_wire(exchange.request_body, model_id=exchange.model_id)
            check_request(request)


# -- documents


@pytest.mark.parametrize(
    ("name", "fault", "cleaned"),
    [
        ("report.pdf", "invalid characters: '.'", "report"),
        ("John's report #2.docx", "invalid characters: '#' \"'\" '.'", "John-s report -2"),
        ("résumé", r"invalid characters: '\xe9'", "resume"),
        ("分期", r"invalid characters: '\u5206' '\u671f'", "document"),
        ("a\tb", r"invalid characters: '\t'", "a b"),
        ("a  b", "contains consecutive spaces", "a b"),
        ("a\u3000b", r"invalid characters: '\u3000'", "a b"),
        ("", "is empty", "document"),
        ("x" * 201, "has 201 characters; 200 are allowed", "x" * 200),
    ],
)
async def test_a_document_name_that_the_service_refuses(name: str, fault: str, cleaned: str, probe: Probe) -> None:
    """The error has the path, what is wrong with the name, and one that the service takes."""
    error = await probe.refused(MODEL, asked({"text": "Read:"}, document(name)))
    assert error.path == "messages[2].content[1].document.name"
    assert fault in str(error)
    assert f"Pass name='{cleaned}'" in str(error)
    assert cleaned.encode() in await probe.sent(MODEL, asked({"text": "Read:"}, document(cleaned)))


async def test_document_names_are_looked_at_in_tool_results(probe: Probe) -> None:
    """They are held to the same rule there."""
    result = {"toolResult": {"toolUseId": "t", "content": [document("a.b")]}}
    error = await probe.refused(MODEL, asked(result))
    assert error.path == "messages[2].content[0].toolResult.content[0].document.name"


@pytest.mark.parametrize("name", ["a", "A-1 (b) [c]", "company_policy", " a", "a ", "x" * 200])
async def test_document_names_that_the_service_takes(name: str, probe: Probe) -> None:
    """Also underscores, which the API reference does not list, and blanks at the ends."""
    assert f'"{name}"'.encode() in await probe.sent(MODEL, asked({"text": "Read:"}, document(name)))


@given(st.text(max_size=300))
def test_a_cleaned_name_is_always_taken(name: str) -> None:
    """Whatever the file was called; and a name that was clean stays, but for its ends."""
    cleaned = document_name(name)
    request = ConverseRequest.from_dict({"messages": asked({"text": "a"}, document(cleaned))})
    check_request(request)
    assert document_name(cleaned) == cleaned


# -- empty messages


@pytest.mark.parametrize("empty", [[], ()])
async def test_an_empty_list_of_messages_is_refused(empty: Any, probe: Probe) -> None:  # noqa: ANN401 - any sequence
    """With what to pass instead."""
    error = await probe.refused(MODEL, empty)
    assert error.path == "messages"
    assert "messages is empty" in str(error)


async def test_a_managed_prompt_needs_no_messages(probe: Probe) -> None:
    """It brings its own."""
    assert b"promptVariables" in await probe.sent(PROMPT_ARN, [], prompt_variables={"a": "b"})


async def test_a_ready_request_is_sent_as_it_is(probe: Probe) -> None:
    """No messages, strange names and blocks: whoever builds a request has decided on it."""
    blocks: list[Block] = [document("a.b"), image(b"x"), {"imge": {}}, {}]
    for request in (
        ConverseRequest(model_id=MODEL, messages=[]),
        ConverseRequest(model_id=MODEL),
        ConverseRequest.from_dict({"modelId": MODEL, "messages": asked(*blocks)}),
    ):
        assert await probe.sent(request) == request.to_wire_bytes()


# -- cache points


def cached(tools: int, system: int, messages: int) -> dict[str, Any]:
    """Return a request with so many cache points in each of its parts."""
    return {
        "modelId": MODEL,
        "toolConfig": {"tools": [TOOL, *[POINT] * tools]},
        "system": [{"text": "a"}, *[POINT] * system],
        "messages": [*asked({"text": "a"}), {"role": "user", "content": [{"text": "a"}, *[POINT] * messages]}],
    }


@pytest.mark.parametrize(
    ("counts", "path"),
    [
        ((2, 2, 1), "messages[3].content[1]"),
        ((5, 0, 0), "toolConfig.tools[5]"),
        ((0, 5, 0), "system[5]"),
        ((0, 0, 6), "messages[3].content[5]"),
    ],
)
async def test_more_cache_points_than_the_service_takes(counts: tuple[int, int, int], path: str, probe: Probe) -> None:
    """Refused also in a ready request, with the number, the limit and every place."""
    members = cached(*counts)
    ready = await probe.refused(ConverseRequest.from_dict(members))
    made = await probe.refused(
        MODEL, members["messages"], system=members["system"], tools=members["toolConfig"]["tools"]
    )
    assert str(ready) == str(made)
    assert ready.path == path
    assert f"has {sum(counts)} cache points (" in str(ready)
    assert f"{MAX_CACHE_POINTS} are allowed" in str(ready)
    assert path in str(ready)


@pytest.mark.parametrize("counts", [(0, 0, 0), (1, 1, 2), (4, 0, 0), (0, 4, 0), (0, 0, 4)])
async def test_as_many_cache_points_as_the_service_takes(counts: tuple[int, int, int], probe: Probe) -> None:
    """Four in all are sent."""
    request = ConverseRequest.from_dict(cached(*counts))
    assert (await probe.sent(request)).count(b"cachePoint") == sum(counts)


def test_a_request_without_tools_or_messages_has_no_cache_points() -> None:
    """Every part may be missing."""
    check_cache_points(ConverseRequest())
    check_cache_points(ConverseRequest(system=[CachePointBlock(type="default")]))


# -- headers


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"content_type": "text/plain\r\nx-evil: 1"}, "content_type"),
        ({"accept": "é"}, "accept"),
        ({"accept": " json"}, "accept"),
        ({"guardrail": {"guardrailIdentifier": "a\nb", "guardrailVersion": "1"}}, "guardrail_identifier"),
        ({"service_tier": "\x00"}, "service_tier"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_no_header_can_hold_is_refused(
    settings: dict[str, Any], path: str, probe: Probe, *, streamed: bool
) -> None:
    """Keywords of invoke that travel in headers: nothing is injected, and nothing fails as something else later."""
    with pytest.raises(InvalidRequestError, match="which cannot represent it") as caught:
        if streamed:
            await anext(probe.client.invoke_stream(MODEL, {}, **settings))
        else:
            await probe.client.invoke(MODEL, {}, **settings)
    assert caught.value.path == path
    assert caught.value.hint
    assert probe.transport.requests == []
