"""Every recorded Converse stream through the event decoder and the fold, against botocore and an independent fold."""

from __future__ import annotations

import json
from typing import Any, Final, cast

import pytest
from botocore_reading import parsed_events, pruned, structure
from corpus import Exchange, exchanges
from framing import pieces

from bedrock_async import CitationsBlock, ConverseResponse, Event, ToolUseBlock, UnknownEvent
from bedrock_async.events import ConverseEventDecoder, event_from_wire
from bedrock_async.eventstream import CONTENT_TYPE
from bedrock_async.folding import fold, unfold

STREAMS: Final = exchanges("converse-stream", 200)


def decoded(body: bytes, piece_bytes: int | None = None) -> list[Event]:
    """Return the events of a complete body that arrives in pieces of that many bytes; None is in one."""
    decoder = ConverseEventDecoder()
    decoder.start(200, {"content-type": CONTENT_TYPE})
    events: list[Event] = []
    for piece in pieces(body, piece_bytes):
        events += decoder.receive(piece)
        assert decoder.pending_error is None
    assert decoder.eof() == []
    assert decoder.complete
    return events


def raw_events(stream: Exchange) -> list[tuple[str, dict[str, Any]]]:
    """Return name and JSON of each event as recorded, without the padding."""
    assert stream.eventstream is not None
    raw: list[tuple[str, dict[str, Any]]] = []
    for message in stream.eventstream["events"]:
        members = {name: member for name, member in message["payload"].items() if name != "p"}
        raw.append((message["headers"][":event-type"], members))
    return raw


@pytest.mark.parametrize("stream", STREAMS, ids=str)
def test_a_recorded_stream_gives_its_events_whatever_the_pieces(stream: Exchange) -> None:
    """Whole, in 7-byte pieces and byte by byte: equal events, complete in to_wire but for the padding."""
    events = decoded(stream.response_body)

    assert [event.to_wire() for event in events] == [{name: members} for name, members in raw_events(stream)]
    assert decoded(stream.response_body, 7) == events
    assert decoded(stream.response_body, 1) == events
    assert not any(isinstance(event, UnknownEvent) for event in events)
    assert [event_from_wire(event.to_wire()).to_wire() for event in events] == [event.to_wire() for event in events]


@pytest.mark.parametrize("stream", STREAMS, ids=str)
def test_a_recorded_stream_reads_as_botocore_reads_it(stream: Exchange) -> None:
    """Pruned to what botocore's model knows, to_dict of every event is what its parser returns."""
    shape = structure("ConverseStreamOutput")
    assert [pruned(event.to_dict(), shape) for event in decoded(stream.response_body)] == parsed_events(
        stream.response_body
    )


@pytest.mark.parametrize("stream", STREAMS, ids=str)
def test_the_members_of_recorded_events_are_those_of_the_json(stream: Exchange) -> None:
    """text, tool_input and the block index of every event, and the usage, are read as they stand in the payload."""
    for event, (name, members) in zip(decoded(stream.response_body), raw_events(stream), strict=True):
        delta = members.get("delta", {})
        assert event.wire_name == name
        assert event.text == delta.get("text")
        assert event.tool_input == delta.get("toolUse", {}).get("input")
        assert getattr(event, "content_block_index", None) == members.get("contentBlockIndex")
        assert json.loads(event.payload) == {**members, "p": json.loads(event.payload)["p"]}


@pytest.mark.parametrize("stream", STREAMS, ids=str)
def test_a_recorded_stream_folds_as_an_independent_fold_of_its_json_does(stream: Exchange) -> None:
    """Text, reasoning, signatures, tool inputs, citations, usage and stop reason, joined from the raw JSON."""
    raw = raw_events(stream)
    deltas = [members["delta"] for name, members in raw if name == "contentBlockDelta"]
    inputs: dict[int, str] = {}
    uses: dict[int, dict[str, Any]] = {}
    for name, members in raw:
        index = members.get("contentBlockIndex", -1)
        if name == "contentBlockStart" and "toolUse" in members["start"]:
            uses[index] = members["start"]["toolUse"]
            inputs[index] = ""
        elif name == "contentBlockDelta" and "toolUse" in members["delta"]:
            inputs[index] += members["delta"]["toolUse"]["input"]
    (stop,) = (members for name, members in raw if name == "messageStop")
    (metadata,) = (members for name, members in raw if name == "metadata")

    response = fold(decoded(stream.response_body))
    blocks = response.message.content

    assert response.text == "".join(delta.get("text", "") for delta in deltas)
    assert response.reasoning == "".join(delta.get("reasoningContent", {}).get("text", "") for delta in deltas)
    assert [(block.name, block.tool_use_id, block.input) for block in blocks if isinstance(block, ToolUseBlock)] == [
        (use["name"], use["toolUseId"], json.loads(inputs[index] or "{}")) for index, use in sorted(uses.items())
    ]
    citations = [block.to_wire()["citationsContent"] for block in blocks if isinstance(block, CitationsBlock)]
    assert [citation for block in citations for citation in cast("Any", block)["citations"]] == [
        delta["citation"] for delta in deltas if "citation" in delta
    ]
    assert response.stop_reason == stop["stopReason"]
    assert response.to_wire()["usage"] == metadata["usage"]
    assert response.to_wire()["metrics"] == metadata["metrics"]
    assert response.message.role == "assistant"
    assert len(blocks) == len(
        {members["contentBlockIndex"] for _, members in raw if "delta" in members or "start" in members}
    )


@pytest.mark.parametrize("stream", STREAMS, ids=str)
def test_a_folded_recording_unfolds_and_folds_to_itself(stream: Exchange) -> None:
    """The response of a stream can be replayed as events without losing anything."""
    response = fold(decoded(stream.response_body))
    assert fold(unfold(response)) == response
    assert ConverseResponse.from_dict(response.to_dict()) == response


@pytest.mark.parametrize("exchange", exchanges("converse", 200), ids=str)
def test_a_recorded_response_unfolds_and_folds_to_itself(exchange: Exchange) -> None:
    """Every recorded answer of Converse can be replayed as a stream."""
    response = ConverseResponse.from_wire(exchange.response_body)
    events = unfold(response)
    assert fold(events) == response
    assert "".join(event.text or "" for event in events) == response.text
    assert [event.type for event in events[-2:]] == ["message_stop", "metadata"]


@pytest.mark.parametrize("stream", exchanges("converse-stream"), ids=str)
def test_all_recorded_streams_are_tested_here(stream: Exchange) -> None:
    """An exchange of converse-stream is an event stream exactly when its status is 200."""
    assert (stream.eventstream is not None) is (stream.status == 200) is (stream in STREAMS)
