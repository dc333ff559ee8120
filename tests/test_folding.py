"""Folding events into a response and back, case by case and by properties."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterable
from functools import partial
from types import FrameType
from typing import Any

import pytest
from corpus import Exchange, exchanges
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from strategies import events, foldable_responses, json_objects

from bedrock_async import (
    CitationsBlock,
    ConverseResponse,
    Event,
    EventDecodeError,
    ImageBlock,
    ReasoningBlock,
    ResponseDecodeError,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
)
from bedrock_async.events import ConverseEventDecoder, event_from_wire
from bedrock_async.folding import ResponseAccumulator, condensed, fold, unfold


def start(index: int | None, **kind: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON of any shape
    """Return the start of a block."""
    return {"contentBlockStart": {"contentBlockIndex": index, "start": kind}}


def delta(index: int | None, **piece: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON of any shape
    """Return a piece of a block."""
    return {"contentBlockDelta": {"contentBlockIndex": index, "delta": piece}}


def tool_input(index: int, piece: str) -> dict[str, Any]:
    """Return a piece of a tool's input."""
    return delta(index, toolUse={"input": piece})


def folded(*wires: dict[str, Any]) -> ConverseResponse:
    """Fold events in wire form."""
    return fold(map(event_from_wire, wires))


def content(*wires: dict[str, Any]) -> list[Any]:
    """Return the content of the folded message in wire form."""
    made: Any = folded(*wires).to_wire()["output"]
    blocks: list[Any] = made["message"]["content"]
    return blocks


TOOL = start(0, toolUse={"toolUseId": "t1", "name": "weather"})


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(foldable_responses())
@example({"output": {"message": {"role": "assistant", "content": [{"text": ""}, {"text": "b"}]}}})
def test_folding_undoes_unfolding(wire: dict[str, Any]) -> None:
    """Any response that a stream can carry is the fold of its events, members that nobody knows included."""
    response = ConverseResponse.from_wire(wire)
    replayed = unfold(response)
    assert fold(replayed) == response
    assert fold(replayed).to_wire() == wire
    assert [event_from_wire(event.to_wire()) for event in replayed] == replayed


@given(st.lists(events(), max_size=6))
def test_any_events_in_any_order_fold(wires: list[dict[str, Any]]) -> None:
    """A stream that is out of order or full of holes still gives what it had; nothing is raised."""
    response = folded(*wires)
    assert ConverseResponse.from_wire(response.to_wire()) == response


def test_blocks_are_put_in_the_order_of_their_indices() -> None:
    """Pieces are joined by block, whatever else arrives between them."""
    blocks = content(delta(1, text="c"), delta(0, text="a"), delta(1, text="d"), delta(0, text="b"))
    assert blocks == [{"text": "ab"}, {"text": "cd"}]


@pytest.mark.parametrize("spelled", ["{}", '"{}"', "{}.0"])
def test_an_index_in_another_spelling_is_the_same_index(spelled: str) -> None:
    """Both "1" and 1.0 are the second block, as in the event itself, not a block that is elsewhere."""
    first, second = (json.loads(spelled.format(index)) for index in (0, 1))
    assert content(delta(first, text="a"), delta(second, text="b")) == [{"text": "a"}, {"text": "b"}]


def test_an_event_without_index_belongs_to_the_block_before_it() -> None:
    """The last block that was spoken of, not the one of the highest number."""
    blocks = content(delta(2, text="c"), delta(0, text="a"), delta(None, text="b"), {"contentBlockDelta": {}})
    assert blocks == [{"text": "ab"}, {"text": "c"}]


# -- tool use


@pytest.mark.parametrize("pieces", [[], [""], ["", " "]])
def test_a_tool_use_without_input_has_no_arguments(pieces: list[str]) -> None:
    """No delta at all, or empty ones, is how models call a tool that takes nothing."""
    (use,) = folded(TOOL, *(tool_input(0, piece) for piece in pieces)).tool_uses
    assert use == ToolUseBlock(tool_use_id="t1", name="weather", input={})
    assert use.invalid_input is False


@pytest.mark.parametrize("text", ['{"city": "Par', '{"city"', "{", '{"a": 1}}', "[1]", "null", "5", '"x"', "nonsense"])
def test_input_that_is_cut_or_malformed_is_flagged_and_kept(text: str) -> None:
    """Never {}: the text is kept as it came, and invalid_input says that it must not be run."""
    (use,) = folded(TOOL, *(tool_input(0, piece) for piece in text)).tool_uses
    assert use.invalid_input is True
    assert use.input == text


@given(json_objects(), st.data())
def test_input_survives_any_cutting(made: dict[str, Any], data: st.DataObject) -> None:
    """However the JSON text is cut into deltas, in the middle of an escape too, the input is the same."""
    text = json.dumps(made)
    at = data.draw(st.integers(0, len(text)))
    (use,) = folded(TOOL, tool_input(0, text[:at]), tool_input(0, text[at:])).tool_uses
    assert use.input == made
    assert use.invalid_input is False


@given(json_objects(), st.data())
def test_truncated_input_never_becomes_a_call(made: dict[str, Any], data: st.DataObject) -> None:
    """Every proper prefix of the JSON of an object is flagged."""
    text = json.dumps(made)
    (use,) = folded(TOOL, tool_input(0, text[: data.draw(st.integers(1, len(text) - 1))])).tool_uses
    assert use.invalid_input is True


def test_nulls_in_pieces_add_nothing() -> None:
    """A null where text is expected is no text, certainly not "None"."""
    blocks = content(
        TOOL,
        delta(0, toolUse={"input": None}),
        tool_input(0, "{}"),
        delta(1, text=None),
        delta(1, text="a"),
        delta(2, reasoningContent={"text": None, "signature": None, "redactedContent": None}),
        delta(2, reasoningContent={"text": "b"}),
    )
    assert blocks == [
        {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {}}},
        {"text": "a"},
        {"reasoningContent": {"reasoningText": {"text": "b"}}},
    ]


@pytest.mark.parametrize("kind", [{"toolUse": {}}, {"toolUse": {"toolUseId": None, "name": None}}])
def test_what_the_service_left_out_is_empty(kind: dict[str, Any]) -> None:
    """One incomplete block does not cost the rest of the answer."""
    response = folded(delta(0, text="a"), start(1, **kind), start(2, toolResult={}), start(3, image={}))
    text, use, result, image = response.message.content
    assert text == TextBlock(text="a")
    assert use == ToolUseBlock(tool_use_id="", name="", input={})
    assert result == ToolResultBlock(tool_use_id="", content=[])
    assert isinstance(image, ImageBlock)
    assert image.format == ""


def test_a_tool_use_that_never_started_is_kept() -> None:
    """Deltas without a start still give the input."""
    (use,) = folded(tool_input(3, '{"a":1}')).tool_uses
    assert (use.tool_use_id, use.name, use.input) == ("", "", {"a": 1})


# -- the other kinds of blocks


def test_text_and_reasoning_need_no_start() -> None:
    """Only tool uses, tool results and images are announced; reasoning keeps its signature, and redacted bytes join."""
    blocks = folded(
        delta(0, reasoningContent={"text": "th"}),
        delta(0, reasoningContent={"text": "ink"}),
        delta(0, reasoningContent={"signature": "s1"}),
        delta(0, reasoningContent={"signature": "s2"}),
        delta(1, reasoningContent={"redactedContent": base64.b64encode(b"ab").decode()}),
        delta(1, reasoningContent={"redactedContent": base64.b64encode(b"c").decode()}),
        delta(2, text="answer"),
    ).message.content
    thought, redacted, text = blocks
    assert isinstance(thought, ReasoningBlock)
    assert (thought.text, thought.signature) == ("think", "s1s2")
    assert isinstance(redacted, ReasoningBlock)
    assert redacted.redacted_content == b"abc"
    assert text == TextBlock(text="answer")


def test_text_with_citations_is_one_block() -> None:
    """Text and citation deltas of one block mix in real streams; together they are a citations block."""
    (block,) = folded(
        delta(0, text="Paris "),
        delta(0, citation={"title": "A"}),
        delta(0, text="is."),
        delta(0, citation={"title": "B"}),
    ).message.content
    assert isinstance(block, CitationsBlock)
    assert block.text == "Paris is."
    assert [citation.title for citation in block.citations or ()] == ["A", "B"]


def test_the_result_of_a_server_tool_is_joined_from_its_pieces() -> None:
    """Text pieces that follow one another are one text; JSON pieces stand between them."""
    blocks = content(
        start(0, toolResult={"toolUseId": "t", "status": "success"}),
        delta(0, toolResult=[{"text": "a"}, {"text": "b"}]),
        delta(0, toolResult=[{"text": "c"}]),
        delta(0, toolResult=[{"json": {"x": None}}, {"text": "d"}]),
    )
    assert blocks == [
        {
            "toolResult": {
                "toolUseId": "t",
                "status": "success",
                "content": [{"text": "abc"}, {"json": {"x": None}}, {"text": "d"}],
            }
        }
    ]


def test_an_image_is_joined_from_its_bytes_or_says_why_there_is_none() -> None:
    """Each piece of base64 stands for itself; an error in the place of the image is no fault of the response."""
    image, failed = folded(
        start(0, image={"format": "png"}),
        delta(0, image={"source": {"bytes": base64.b64encode(b"a").decode()}}),
        delta(0, image={"source": {"bytes": base64.b64encode(b"bc").decode()}}),
        start(1, image={"format": "png"}),
        delta(1, image={"error": {"message": "refused"}}),
    ).message.content
    assert isinstance(image, ImageBlock)
    assert image.source.bytes == b"abc"
    assert isinstance(failed, ImageBlock)
    assert failed.error is not None
    assert failed.error.message == "refused"


def test_a_block_of_which_nothing_came_but_its_index_is_empty_text() -> None:
    """A delta without a member has nothing to say."""
    assert content(delta(0), delta(1, text="")) == [{"text": ""}, {"text": ""}]


# -- what nobody knows


def test_unknown_members_survive_folding() -> None:
    """Beside a delta, in a start, in a delta, in the message, at its end and in the metadata."""
    response = folded(
        {"messageStart": {"role": "assistant", "turn": 3}},
        start(0, toolUse={"toolUseId": "t", "name": "n", "type": "tool_use", "caller": None}),
        tool_input(0, "{}"),
        {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"text": "a"}, "logprob": -0.5}},
        delta(2, hologram={"text": "ab", "list": [1], "deep": {"n": 1}}),
        delta(2, hologram={"text": "cd", "list": [2], "deep": {"m": None}}),
        delta(3, reasoningContent={"text": "t"}),
        delta(3, reasoningContent={"effort": "low"}),
        {"messageStop": {"stopReason": "end_turn", "why": "done"}},
        {
            "metadata": {
                "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2, "serverToolUsage": {}},
                "region": "x",
            }
        },
    )
    assert response.to_wire() == {
        "output": {
            "message": {
                "role": "assistant",
                "turn": 3,
                "content": [
                    {"toolUse": {"toolUseId": "t", "name": "n", "type": "tool_use", "caller": None, "input": {}}},
                    {"text": "a", "logprob": -0.5},
                    {"hologram": {"text": "abcd", "list": [1, 2], "deep": {"n": 1, "m": None}}},
                    {"reasoningContent": {"reasoningText": {"text": "t"}, "effort": "low"}},
                ],
            }
        },
        "stopReason": "end_turn",
        "why": "done",
        "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2, "serverToolUsage": {}},
        "region": "x",
    }
    assert isinstance(response.message.content[2], UnknownBlock)
    assert fold(unfold(response)) == response


def test_unknown_events_and_padding_leave_no_trace() -> None:
    """What an event of a later version means for the response nobody knows; padding means nothing."""
    assert folded({"hologram": {"a": 1}}, {"messageStart": {"role": "assistant", "p": "abc"}}).to_wire() == {
        "output": {"message": {"role": "assistant", "content": []}}
    }


# -- text that is no Unicode


def test_a_surrogate_pair_that_was_split_over_two_deltas_is_one_character() -> None:
    """Each half reaches the user as it came; the folded text has the character."""
    events = [event_from_wire(delta(0, text=half)) for half in ("a\ud83d", "\ude00b")]
    assert [event.text for event in events] == ["a\ud83d", "\ude00b"]
    assert fold(events).text == "a\U0001f600b"


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    """A response can always be written as UTF-8, unknown names and tool input included."""
    response = folded(
        delta(0, text="a\ud83d"),
        delta(1, **{"holo\ude00": "\ud83d"}),
        start(2, toolUse={"toolUseId": "t", "name": "n"}),
        tool_input(2, r'{"x": "\ud83d", "y": null}'),
    )
    assert response.text == "a\ufffd"
    assert response.message.content[1] == UnknownBlock(raw={"holo\ufffd": "\ufffd"})
    assert response.tool_uses[0].input == {"x": "\ufffd", "y": None}
    response.to_wire_bytes().decode()


def test_nulls_are_dropped_where_they_are_not_allowed_and_kept_in_documents() -> None:
    """A null usage does not cost the answer, and does not cost a null in the input of a tool either."""
    response = folded(TOOL, tool_input(0, '{"unit": null}'), {"metadata": {"usage": None, "metrics": {"latencyMs": 3}}})
    assert response.tool_uses[0].input == {"unit": None}
    assert response.usage.total_tokens == 0
    assert response.metrics.latency_ms == 3


# -- what cannot be folded


@pytest.mark.parametrize(
    "wire",
    [delta(0, reasoningContent={"redactedContent": "?"}), delta(0, image={"source": {"bytes": "A"}})],
)
def test_a_blob_that_is_no_base64_is_an_error_of_our_tree(wire: dict[str, Any]) -> None:
    """Bytes that cannot be had are not guessed."""
    with pytest.raises(EventDecodeError, match="not base64"):
        folded(wire)


def test_a_response_of_other_types_is_an_error_that_says_where() -> None:
    """ResponseDecodeError names the member and holds what was read."""
    with pytest.raises(ResponseDecodeError, match=r"usage: .*object") as caught:
        folded({"metadata": {"usage": [1]}})
    assert b'"usage": [1]' in caught.value.body
    assert caught.value.hint


# -- the accumulator


def test_the_response_so_far_can_be_had_at_any_time() -> None:
    """Asking changes nothing: each look is a response of its own."""
    accumulator = ResponseAccumulator()
    assert accumulator.response().message.content == []
    looks: list[ConverseResponse] = []
    for wire in ({"messageStart": {"role": "assistant"}}, delta(0, text="a"), delta(0, text="b"), delta(1, text="c")):
        accumulator.add(event_from_wire(wire))
        looks.append(accumulator.response())
    assert [look.text for look in looks] == ["", "a", "ab", "abc"]


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions ``work`` calls, those of C included: a measure of work that no machine changes."""
    count = 0

    def counting(_frame: FrameType, what: str, _argument: object) -> None:
        nonlocal count
        count += what in {"call", "c_call"}

    sys.setprofile(counting)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def long_streams(pieces: int, piece_chars: int = 40) -> dict[str, list[Event]]:
    """Return one stream of each kind of block with that many pieces of that length."""
    text = "x" * piece_chars
    blob = base64.b64encode(text.encode()).decode()
    kinds: dict[str, Iterable[dict[str, Any]]] = {
        "text": (delta(0, text=text) for _ in range(pieces)),
        "tool input": (tool_input(0, text) for _ in range(pieces)),
        "reasoning": (delta(0, reasoningContent={"text": text}) for _ in range(pieces)),
        "redacted": (delta(0, reasoningContent={"redactedContent": blob}) for _ in range(pieces)),
        "tool result": (delta(0, toolResult=[{"text": text}]) for _ in range(pieces)),
        "image": (delta(0, image={"source": {"bytes": blob}}) for _ in range(pieces)),
        "unknown": (delta(0, hologram={"text": text, "list": [1]}) for _ in range(pieces)),
        "blocks": (delta(index, text="x") for index in range(pieces)),
    }
    return {name: list(map(event_from_wire, wires)) for name, wires in kinds.items()}


def test_folding_calls_functions_in_proportion_to_the_events() -> None:
    """Twice the events, twice the calls, whatever the kind of block."""
    once, twice = long_streams(200), long_streams(400)
    for name, stream in once.items():
        fold(stream)  # builds the validators
        assert calls_of(partial(fold, twice[name])) < 2.1 * calls_of(partial(fold, stream)), name


@st.composite
def plain_pieces(draw: st.DrawFn) -> dict[str, Any]:
    """Return a piece of text, tool input or reasoning of one of two blocks."""
    index, text = draw(st.integers(0, 1)), draw(st.text(max_size=3))
    member = draw(st.sampled_from(["text", "toolUse", "reasoningContent"]))
    match member:
        case "text":
            return delta(index, text=text)
        case "toolUse":
            return tool_input(index, text)
        case _:
            return delta(index, reasoningContent={"text": text})


@given(st.lists(plain_pieces() | events(), max_size=12))
def test_condensed_events_fold_into_the_same_response(wires: list[dict[str, Any]]) -> None:
    """Joining pieces of text loses nothing of the response, whatever stands between and beside them."""
    seen = [event_from_wire(wire) for wire in wires]
    assert fold(condensed(seen)).to_wire() == fold(seen).to_wire()


@pytest.mark.parametrize("recorded", exchanges("converse-stream", 200), ids=str)
def test_recorded_streams_condense_without_loss(recorded: Exchange) -> None:
    """Padding included, what real traffic brings folds into the same response after joining."""
    decoder = ConverseEventDecoder()
    seen = [*decoder.receive(recorded.response_body)]
    assert fold(condensed(seen)).to_wire() == fold(seen).to_wire()


def test_runs_of_plain_text_become_one_event_each() -> None:
    """Text, tool input and reasoning are joined in their blocks; a member beside the text keeps an event apart."""
    wires = [
        *(delta(0, reasoningContent={"text": piece}) for piece in "abc"),
        delta(0, reasoningContent={"signature": "s"}),
        *(delta(1, text=piece) for piece in "defg"),
        {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"text": "h"}, "new": 1}},
        *(tool_input(2, piece) for piece in ("{", "}")),
    ]
    seen = [event_from_wire(wire) for wire in wires]
    assert [event.to_wire() for event in condensed(seen)] == [
        delta(0, reasoningContent={"text": "abc"}),
        delta(0, reasoningContent={"signature": "s"}),
        delta(1, text="defg"),
        wires[-3],
        tool_input(2, "{}"),
    ]
    assert fold(condensed(seen)).to_wire() == fold(seen).to_wire()
