"""Chunks in any order, cut anywhere, or of any form: an error of our tree, and never an answer that lacks something."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import pytest
from bedrock_async_amazon import AmazonFamily
from hypothesis import given, settings
from hypothesis import strategies as st
from native_traffic import call_context
from strategies import JSON_VALUES

from bedrock_async import BedrockError, ConverseRequest, ConverseResponse, Event, EventDecodeError, StreamTruncatedError
from bedrock_async.folding import fold
from bedrock_async.providers import StreamPlan
from bedrock_async.providers.invoke import InvokeProvider
from bedrock_async.testing.frames import chunk_frame

Chunk = dict[str, Any]

QUESTION: Final = ConverseRequest.from_wire({"messages": [{"role": "user", "content": [{"text": "Hello"}]}]})
NOVA: Final = "amazon.nova-micro-v1:0"
TITAN: Final = "amazon.titan-text-express-v1"
# The machines that run this are shared: there is no deadline for an example.
unhurried: Final = settings(deadline=None)
HEAD: Final = {"content-type": "application/vnd.amazon.eventstream"}


def events_of(model: str, chunks: Sequence[Mapping[str, Any]]) -> list[Event]:
    """The events that the provider makes of native chunks."""
    plan = InvokeProvider().stream(QUESTION, call_context(model, AmazonFamily()))
    assert isinstance(plan, StreamPlan)
    plan.decoder.start(200, HEAD)
    events = [event for chunk in chunks for event in plan.decoder.receive(chunk_frame(dict(chunk)))]
    return [*events, *plan.decoder.eof()]


def response_of(model: str, chunks: Sequence[Mapping[str, Any]]) -> ConverseResponse:
    """What these chunks fold into."""
    return fold(events_of(model, chunks))


# -- nova

TEXT: Final = st.text(max_size=10)
TOOL: Final = st.fixed_dictionaries({"tool": st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)})
BLOCKS: Final = st.lists(TEXT | TOOL, min_size=1, max_size=6)


def nova_stream(blocks: Sequence[str | Mapping[str, Any]]) -> list[Chunk]:
    """A stream as Nova was recorded to send it: every piece of text a block of its own, numbered without a gap."""
    chunks: list[Chunk] = [{"messageStart": {"role": "assistant"}}]
    for index, block in enumerate(blocks):
        place = {"contentBlockIndex": index}
        if isinstance(block, str):
            chunks.append({"contentBlockDelta": {"delta": {"text": block}, **place}})
        else:
            start = {"toolUse": {"toolUseId": f"id-{index}", "name": "tool"}}
            chunks.append({"contentBlockStart": {"start": start, **place}})
            delta = {"toolUse": {"input": json.dumps(block["tool"])}}
            chunks.append({"contentBlockDelta": {"delta": delta, **place}})
        chunks.append({"contentBlockStop": place})
    usage = {"inputTokens": 5, "outputTokens": 7}
    return [*chunks, {"messageStop": {"stopReason": "end_turn"}}, {"metadata": {"usage": usage, "metrics": {}}}]


@unhurried
@given(blocks=BLOCKS)
def test_everything_that_nova_says_arrives(blocks: list[Any]) -> None:
    """Text joined between tools, tools with their input, in their order; ids, stop reason and usage."""
    response = response_of(NOVA, nova_stream(blocks))
    assert response.text == "".join(block for block in blocks if isinstance(block, str))
    assert [(use.tool_use_id, use.input) for use in response.tool_uses] == [
        (f"id-{index}", block["tool"]) for index, block in enumerate(blocks) if not isinstance(block, str)
    ]
    kinds = ["text" if isinstance(block, str) else index for index, block in enumerate(blocks)]
    runs = [kind for at, kind in enumerate(kinds) if at == 0 or kind != kinds[at - 1]]
    assert len(response.message.content) == len(runs)
    assert (response.stop_reason, response.usage.total_tokens) == ("end_turn", 12)


@unhurried
@given(blocks=BLOCKS, data=st.data())
def test_a_stream_of_nova_that_is_cut_off_is_an_error(blocks: list[Any], data: st.DataObject) -> None:
    """After any chunk but the last one, the one with the usage included."""
    chunks = nova_stream(blocks)
    cut = data.draw(st.integers(1, len(chunks) - 1))
    with pytest.raises(StreamTruncatedError, match=r"without (messageStop and )?metadata"):
        events_of(NOVA, chunks[:cut])


@unhurried
@given(blocks=BLOCKS, data=st.data())
def test_a_stream_of_nova_that_lacks_a_chunk_is_an_error(blocks: list[Any], data: st.DataObject) -> None:
    """Whichever chunk it is: no answer with a gap is returned."""
    chunks = nova_stream(blocks)
    without_input = [at for at, chunk in enumerate(chunks) if "toolUse" in json.dumps(chunk.get("contentBlockDelta"))]
    del chunks[data.draw(st.sampled_from([at for at in range(len(chunks)) if at not in without_input]))]
    with pytest.raises(BedrockError):
        events_of(NOVA, chunks)


@unhurried
@given(blocks=BLOCKS, data=st.data())
def test_a_stream_of_nova_that_says_something_twice_is_an_error(blocks: list[Any], data: st.DataObject) -> None:
    """Except deltas, of which a block may have equal ones."""
    chunks = nova_stream(blocks)
    pieces = [at for at, chunk in enumerate(chunks) if "contentBlockDelta" in chunk]
    at = data.draw(st.sampled_from([at for at in range(len(chunks)) if at not in pieces]))
    with pytest.raises(BedrockError):
        events_of(NOVA, [*chunks[:at], chunks[at], *chunks[at:]])


@unhurried
@given(blocks=BLOCKS, data=st.data())
def test_a_stream_of_nova_in_another_order_is_an_error(blocks: list[Any], data: st.DataObject) -> None:
    """The error says what is out of order, and names the family."""
    chunks = nova_stream(blocks)
    shuffled = data.draw(st.permutations(chunks))
    if shuffled == chunks:
        assert response_of(NOVA, shuffled).stop_reason == "end_turn"
        return
    with pytest.raises(EventDecodeError, match=r"the family 'amazon' .* is out of order") as caught:
        events_of(NOVA, shuffled)
    assert caught.value.payload


# -- titan

PIECES: Final = st.lists(st.text(max_size=10), min_size=1, max_size=5)


def titan_stream(pieces: Sequence[str]) -> list[Chunk]:
    """A stream as Titan was recorded to send it: the first chunk counts the input, the last one tells the rest."""
    chunks: list[Chunk] = [
        {"outputText": piece, "index": 0, "totalOutputTextTokenCount": None, "completionReason": None}
        for piece in pieces
    ]
    chunks[0]["inputTextTokenCount"] = 5
    chunks[-1] |= {"totalOutputTextTokenCount": 7, "completionReason": "FINISH"}
    return chunks


@unhurried
@given(pieces=PIECES)
def test_everything_that_titan_says_arrives(pieces: list[str]) -> None:
    """However the text is split; only the dialogue's cue is left out, if the model repeats it at the beginning."""
    response = response_of(TITAN, titan_stream(pieces))
    assert response.text == "".join(pieces)
    assert (response.stop_reason, response.usage.input_tokens, response.usage.output_tokens) == ("end_turn", 5, 7)
    cued = response_of(TITAN, titan_stream([*"\nBot: ", *pieces]))
    assert cued.text == "".join(pieces)


@unhurried
@given(pieces=PIECES.filter(lambda pieces: len(pieces) > 1), data=st.data())
def test_a_stream_of_titan_that_is_cut_off_is_an_error(pieces: list[str], data: st.DataObject) -> None:
    """After any chunk but the last one."""
    chunks = titan_stream(pieces)
    with pytest.raises(StreamTruncatedError):
        events_of(TITAN, chunks[: data.draw(st.integers(1, len(chunks) - 1))])


@unhurried
@given(pieces=PIECES.filter(lambda pieces: len(pieces) > 1), data=st.data())
def test_a_stream_of_titan_in_another_order_loses_nothing(pieces: list[str], data: st.DataObject) -> None:
    """It is an error if the first or the last chunk is moved; the others look alike, and all of them arrive."""
    chunks = titan_stream(pieces)
    shuffled = data.draw(st.permutations(chunks))
    if shuffled[0] == chunks[0] and shuffled[-1] == chunks[-1]:
        assert sorted(response_of(TITAN, shuffled).text) == sorted("".join(pieces))
        return
    with pytest.raises(EventDecodeError, match="the family 'amazon'"):
        events_of(TITAN, shuffled)


# -- anything


@pytest.mark.parametrize("model", [NOVA, TITAN])
@unhurried
@given(data=st.data())
def test_no_chunk_raises_anything_but_our_errors(model: str, data: st.DataObject) -> None:
    """Objects with names of both dialects and any JSON in them."""
    names = (
        *("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"),
        *("outputText", "completionReason", "inputTextTokenCount", "contentBlockIndex", "delta", "start", "usage"),
    )
    inner = JSON_VALUES | st.dictionaries(st.sampled_from(names), JSON_VALUES, max_size=3)
    chunks = data.draw(st.lists(st.dictionaries(st.sampled_from(names), inner, max_size=3), max_size=4))
    with suppress(BedrockError):
        assert response_of(model, chunks).stop_reason


@pytest.mark.parametrize(
    ("model", "chunk", "fault"),
    [
        (NOVA, {"contentBlockDelta": {"contentBlockIndex": 0}}, "KeyError: 'delta'"),
        (NOVA, {"contentBlockDelta": {"delta": {"text": "x"}}}, "KeyError: 'contentBlockIndex'"),
        (NOVA, {"contentBlockDelta": {"delta": {"text": "x"}, "contentBlockIndex": 1}}, "the next one is block 0"),
        (
            NOVA,
            {"contentBlockDelta": {"delta": {"toolUse": {"input": "{}"}}, "contentBlockIndex": 0}},
            "contentBlockStart comes before it",
        ),
        (NOVA, {"contentBlockStop": {"contentBlockIndex": 0}}, "that block is not the open one"),
        (NOVA, {"messageStart": {"role": "assistant"}}, "it comes once"),
        (NOVA, {"metadata": {"usage": {}}}, "it comes once, after messageStop"),
        (NOVA, {"messageStop": "x"}, "TypeError"),
        (NOVA, {"messageStop": {}}, "KeyError: 'stopReason'"),
        (NOVA, {"messageStop": {"stopReason": None}}, "does not tell why the model stopped"),
        (TITAN, {"outputText": 5}, "TypeError: outputText is of type int"),
        (TITAN, {"outputText": "a", "inputTextTokenCount": "many"}, "ValueError"),
        (TITAN, {"output": "a"}, "KeyError: 'outputText'"),
    ],
)
def test_a_bad_chunk_is_an_error_that_names_the_family(model: str, chunk: Chunk, fault: str) -> None:
    """It says what is wrong, and carries the chunk."""
    begin: list[Chunk] = [{"messageStart": {"role": "assistant"}}] if model == NOVA else []
    with pytest.raises(BedrockError) as caught:
        events_of(model, [*begin, chunk])
    assert fault in str(caught.value)
    assert isinstance(caught.value, EventDecodeError)
    assert json.loads(caught.value.payload)


def test_a_chunk_of_tomorrow_is_kept() -> None:
    """It becomes an UnknownEvent between the known ones."""
    chunks = nova_stream(["a"])
    events = events_of(NOVA, [*chunks[:2], {"heartbeat": {"at": 5}}, *chunks[2:]])
    assert [event.to_wire() for event in events if event.type == "unknown"] == [{"heartbeat": {"at": 5}}]
    assert fold(events).text == "a"
