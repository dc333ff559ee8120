from __future__ import annotations

from collections.abc import Sequence

import pytest
from bedrock_async_local.stops import StopFilter
from hypothesis import given
from hypothesis import strategies as st


def run(pieces: Sequence[str], stops: Sequence[str]) -> tuple[str, str | None]:
    """Feed all pieces, and end the text unless a stop sequence did."""
    stop_filter = StopFilter(stops)
    out = "".join(stop_filter.feed(piece) for piece in pieces)
    if stop_filter.matched is None:
        out += stop_filter.flush()
    return out, stop_filter.matched


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("one two three", ["two"], ("one ", "two")),
        ("one two three", ["three", "two"], ("one ", "two")),
        ("aaab", ["aab"], ("a", "aab")),
        ("abcd", ["abcd", "bc"], ("a", "bc")),
        ("xab", ["b", "ab"], ("x", "ab")),
        ("one tw", ["two"], ("one tw", None)),
        ("héllo 😀 end", ["😀"], ("héllo ", "😀")),
        ("anything", [], ("anything", None)),
        ("anything", [""], ("anything", None)),
    ],
)
def test_text_ends_before_the_stop_sequence_that_is_complete_first(
    text: str, stops: list[str], expected: tuple[str, str | None]
) -> None:
    """What comes out ends before the stop sequence that is complete first, and tells which one it was."""
    assert run([text], stops) == expected


@given(
    pieces=st.lists(st.text(alphabet="abc", max_size=4), max_size=12),
    stops=st.lists(st.text(alphabet="abc", min_size=1, max_size=4), max_size=3),
)
def test_the_cut_of_the_text_into_pieces_makes_no_difference(pieces: list[str], stops: list[str]) -> None:
    """Whole, in pieces or character by character: the same text comes out, and the same sequence is found."""
    whole = "".join(pieces)
    assert run(pieces, stops) == run(list(whole), stops) == run([whole], stops)


@given(text=st.text(alphabet="abc", max_size=20), stops=st.lists(st.text(alphabet="abc", min_size=1, max_size=3)))
def test_nothing_that_came_out_had_to_be_taken_back(text: str, stops: list[str]) -> None:
    """At every moment what is out is the beginning of the final text and holds no stop sequence."""
    final, _ = run([text], stops)
    stop_filter, out = StopFilter(stops), ""
    for character in text:
        out += stop_filter.feed(character)
        assert final.startswith(out)
        assert not any(stop in out for stop in stops)


def test_text_that_cannot_begin_a_stop_sequence_goes_out_at_once() -> None:
    """Only what may be the beginning of a stop sequence waits for the next piece."""
    stop_filter = StopFilter(["STOP"])
    assert stop_filter.feed("hello S") == "hello "
    assert stop_filter.feed("T") == ""
    assert stop_filter.feed("AR") == "STAR"
    assert stop_filter.feed("STOP and more") == ""
    assert stop_filter.feed("still more") == ""
    assert stop_filter.flush() == ""
