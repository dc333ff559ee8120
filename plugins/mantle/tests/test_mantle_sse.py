"""The decoder of server-sent events, held to the rules of the HTML standard."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

import pytest
from bedrock_async_mantle import ServerSentEvent, SseDecoder
from hypothesis import example, given
from hypothesis import strategies as st

Read = list[tuple[str, str]]


def decoded(pieces: Iterable[bytes], limit: int = 1 << 20) -> tuple[Read, bool]:
    """Return the events (type, data) of a body that comes in pieces, and whether it could be read to its end."""
    decoder = SseDecoder(max_event_bytes=limit)
    events = [event for piece in pieces for event in decoder.receive(piece)]
    return [(event.event, event.data.decode("utf-8", "replace")) for event in events], decoder.error is None


def read_by_the_standard(body: bytes) -> Read:
    """Return the events of a body, read as sections 9.2.5 and 9.2.6 of the HTML standard say, word by word."""
    text = body.decode("utf-8", "replace")
    text = text.removeprefix("\ufeff")
    lines = re.split("\r\n|\r|\n", text)[:-1]  # what no line end follows is not dispatched
    events: Read = []
    data, kind = "", ""
    for line in lines:
        if line == "":
            if data == "":
                kind = ""
                continue
            events.append((kind, data.removesuffix("\n")))
            data, kind = "", ""
        elif line.startswith(":"):
            continue
        else:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                kind = value
            elif name == "data":
                data += value + "\n"
    return events


def cut(body: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut a body at these places."""
    edges = [0, *sorted({place % (len(body) + 1) for place in places}), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: one\n\ndata: two\n\n", [("", "one"), ("", "two")]),
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("", "YHOO\n+2\n10")]),
        (b": a comment\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n", [("", "first"), ("", "second")]),
        (b"data\n\ndata\ndata\n\ndata:", [("", ""), ("", "\n")]),
        (b"data:test\n\ndata: test\n\n", [("", "test"), ("", "test")]),
        (b"event: add\ndata: 1\n\ndata: 2\n\n", [("add", "1"), ("", "2")]),
        (b"event: lost\n\ndata: 2\n\n", [("", "2")]),
        (b"event: gone\nevent\ndata: 1\n\n", [("", "1")]),
        (b"data: crlf\r\n\r\ndata: cr\r\rdata: lf\n\n", [("", "crlf"), ("", "cr"), ("", "lf")]),
        (b"\xef\xbb\xbfdata: bom\n\ndata: \xef\xbb\xbfkept\n\n", [("", "bom"), ("", "\ufeffkept")]),
        (b"retry: 10\nunknown: 1\n data: no field\ndata : no field\ndata: x\n\n", [("", "x")]),
        (b"data: caf\xc3\xa9 \xf0\x9f\x98\x80\n\n", [("", "caf\u00e9 \U0001f600")]),
        (b"data: \xff\n\n", [("", "\ufffd")]),
        (b"\n\n\n", []),
        (b"", []),
        (b"data: no blank line follows\n", []),
    ],
)
def test_bodies_are_read_by_the_rules(body: bytes, events: Read) -> None:
    """The examples of the standard, and each rule of it; whole, byte by byte, and as the oracle reads them."""
    assert decoded([body]) == (events, True)
    assert decoded(body[place : place + 1] for place in range(len(body))) == (events, True)
    assert read_by_the_standard(body) == events


LINES = st.sampled_from(
    [
        b"data: {}",
        b"data:",
        b"data",
        b"data:  x",
        b"event: e",
        b"event",
        b": c",
        b"id: 1",
        b"",
        b"",
        b"\xef\xbb\xbf",
        b" ",
    ]
) | st.text(max_size=8).map(lambda text: b"data: " + text.encode("utf-8", "replace"))
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(LINES, ENDS)), st.sampled_from([b"", b"\xef\xbb\xbf"]), st.lists(st.integers(min_value=0)))
@example([(b"data: x", b"\r\n"), (b"", b"\r\n")], b"\xef\xbb\xbf", [1, 2, 3, 4, 12, 13, 14])
def test_cutting_changes_nothing(lines: list[tuple[bytes, bytes]], bom: bytes, places: list[int]) -> None:
    """However a body is cut, inside a line end, a BOM or a character too, its events are those of the standard."""
    body = bom + b"".join(line + end for line, end in lines)
    assert decoded(cut(body, places)) == (read_by_the_standard(body), True)


@given(st.binary(max_size=200), st.lists(st.integers(min_value=0)))
def test_any_bytes_are_read_or_not_at_all(body: bytes, places: list[int]) -> None:
    """Whatever the bytes are and however they are cut, the events are those of the whole body; nothing is raised."""
    assert decoded(cut(body, places)) == decoded([body])


@given(st.lists(st.tuples(LINES, ENDS)), st.lists(st.integers(min_value=0)), st.integers(min_value=1, max_value=20))
@example(lines=[(b"\xef\xbb\xbf", b"\n")], places=[3], limit=1)
def test_cutting_changes_no_refusal(lines: list[tuple[bytes, bytes]], places: list[int], limit: int) -> None:
    """What is too large is too large however it is cut, and the events before it come."""
    body = b"".join(line + end for line, end in lines)
    assert decoded(cut(body, places), limit) == decoded([body], limit)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"data: ok\n\ndata: " + b"x" * 200, "a line of the event stream has 206 bytes or more; 100 are allowed"),
        (b"data: ok\n\n: " + b"x" * 200 + b"\n\n", "a line of the event stream has 202 bytes"),
        (b"data: ok\n\n" + b"data: 123456789\n" * 20, "the data of an event of the event stream has 108 bytes"),
    ],
)
def test_lines_and_events_are_bounded(body: bytes, what: str) -> None:
    """A body without line ends, or one endless event, is refused with numbers; what was whole before it comes."""
    decoder = SseDecoder(max_event_bytes=100)
    assert decoder.receive(body) == [ServerSentEvent(b"ok")]
    assert decoder.error is not None
    assert what in str(decoder.error)
    assert decoder.receive(b"\n\ndata: more\n\n") == []
    assert decoder.receive(b"") == []
