"""The cassette's file: the recorded bytes again, readable lines, versions, and writing that loses nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from corpus import Exchange, exchanges
from hypothesis import given
from hypothesis import strategies as st
from strategies import JSON_VALUES

from bedrock_async import InvalidRequestError
from bedrock_async.eventstream import encode_frame
from bedrock_async.testing import (
    CassetteExchange,
    CassetteFile,
    CassetteRequest,
    CassetteResponse,
    RecordedFailure,
    RecordedPiece,
    Redactor,
    chunk_frame,
    corrupted,
    event_frame,
    exception_frame,
    read_cassette,
    truncated,
    write_cassette,
)
from bedrock_async.testing.cassette_bodies import body_form, body_of
from bedrock_async.types import JSONValue

STREAM = {"content-type": "application/vnd.amazon.eventstream"}
REQUEST = CassetteRequest("POST", "/model/m.x/converse", b'{"a":1}', "q=1", {"accept": "a/b"}, "localhost")
COMPLETE = CassetteExchange(
    REQUEST,
    CassetteResponse(
        200, {"content-type": "application/json"}, (RecordedPiece(b'{"b"', 5), RecordedPiece(b":2}", 9)), 4
    ),
    label="first",
)
FAILED = CassetteExchange(
    REQUEST,
    CassetteResponse(200, STREAM, (RecordedPiece(truncated(event_frame("messageStart", {})), 7),)),
    "failed",
    RecordedFailure("ConnectionLostError", "it broke.", "Try again.", sent=True),
)
REFUSED = CassetteExchange(REQUEST, None, "failed", RecordedFailure("ConnectTimeoutError", "late.", limit_s=3.5))
CANCELLED = CassetteExchange(REQUEST, None, "incomplete")


def written(path: Path, *held: CassetteExchange, prompts: bool = False) -> dict[str, Any]:
    """Write a cassette and return its JSON."""
    write_cassette(path, CassetteFile(held, prompts_redacted=prompts))
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    """Every kind of ending, labels, failures, times and pieces survive; so does the note about prompts."""
    path = tmp_path / "tape.json"
    held = [COMPLETE, FAILED, REFUSED, CANCELLED]
    written(path, *held, prompts=True)
    file = read_cassette(path)
    assert list(file.exchanges) == held
    assert file.prompts_redacted
    written(path)
    assert read_cassette(path) == CassetteFile([], prompts_redacted=False)


def test_all_recorded_exchanges_survive_the_file(tmp_path: Path) -> None:
    """Every recorded exchange is read back to the byte, pieces included; only headers of the request are left out."""
    held = [Redactor().exchange(CassetteExchange.from_record(each.raw)) for each in exchanges()]
    assert [each.response for each in held] == [CassetteExchange.from_record(each.raw).response for each in exchanges()]
    written(tmp_path / "tape.json", *held)
    assert list(read_cassette(tmp_path / "tape.json").exchanges) == held


@pytest.mark.parametrize("recorded", [each for each in exchanges() if each.eventstream], ids=str)
def test_recorded_streams_are_readable(recorded: Exchange) -> None:
    """Each frame of a recorded stream stands in the file as its JSON, never as base64."""
    form = body_form(recorded.response_body, stream=True)
    assert body_of(form) == recorded.response_body
    frames = form["frames"]
    assert isinstance(frames, list)
    assert "rest_base64" not in form
    assert all(
        isinstance(each, dict) and {"event", "exception"} & {*each} and {"json", "chunk"} & {*each} for each in frames
    )


def test_a_body_of_json_is_json_in_the_file(tmp_path: Path) -> None:
    """Diffs show members, not base64; a stream's frames stand on lines of their own."""
    text = "x" * 100
    frames = event_frame("contentBlockDelta", {"delta": {"text": text}}) + chunk_frame(
        {"completion": text}, padding="ab"
    )
    stream = CassetteExchange(REQUEST, CassetteResponse(200, STREAM, (RecordedPiece(frames, 1),)))
    document = written(tmp_path / "tape.json", COMPLETE, stream)
    first, second = document["exchanges"]
    assert first["request"]["body"] == {"json": {"a": 1}}
    assert first["response"]["body"] == {"json": {"b": 2}}
    assert second["response"]["body"]["frames"] == [
        {"event": "contentBlockDelta", "json": {"delta": {"text": text}}},
        {"event": "chunk", "chunk": {"completion": text}, "p": "ab"},
    ]
    lines = (tmp_path / "tape.json").read_text("utf-8").splitlines()
    assert '    "piece_bytes": [4, 3],' in lines
    assert max(map(len, lines)) < 150


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", None),
        (b'{"a":"\xc3\xa9"}', "json"),
        (b'{"a":"\\u00e9"}', "json_ascii"),
        (b'{"a": "\xc3\xa9", "b": 1}', "json_spaced"),
        (b'{"a": "\\ud800"}', "json_spaced_ascii"),
        (b'{"a":1.0E-5}', "text"),
        (b'{"a":1,"a":2}', "text"),
        (b'{"a":NaN}', "text"),
        (b'{\n  "a": 1\n}', "text"),
        (b'{"a":', "text"),
        (b"[" * 5000, "text"),
        (b"<html>", "text"),
        (b"\xff\x00", "base64"),
    ],
)
def test_bodies_are_as_readable_as_their_bytes_allow(body: bytes, kind: str | None) -> None:
    """A body is shown as JSON only where the very bytes can be written again from it."""
    form = body_form(body)
    assert list(form) == ([] if kind is None else [kind])
    assert body_of(json.loads(json.dumps(form))) == body


@given(JSON_VALUES, st.booleans(), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_any_json_comes_back_to_the_byte(value: JSONValue, ascii: bool, separators: tuple[str, str]) -> None:  # noqa: A002, FBT001
    """Whoever wrote it, and whatever it holds."""
    body = json.dumps({"v": value}, ensure_ascii=ascii, separators=separators).encode("utf-8", "surrogatepass")
    assert body_of(json.loads(json.dumps(body_form(body)))) == body


@given(st.lists(st.binary(max_size=20)), st.binary(max_size=30))
def test_any_stream_comes_back_to_the_byte(payloads: list[bytes], rest: bytes) -> None:
    """Frames with any payload, and any bytes behind the last sound one."""
    body = b"".join(event_frame("chunk", payload) for payload in payloads) + rest
    assert body_of(json.loads(json.dumps(body_form(body, stream=True)))) == body


@pytest.mark.parametrize(
    "frame",
    [
        exception_frame("ThrottlingException", "Slow down."),
        encode_frame(
            {":message-type": "event", ":event-type": "other-order", ":content-type": "application/json"}, b"{}"
        ),
        encode_frame({"number": 5, ":event-type": "x"}, b"text"),
        encode_frame({}, b""),
        encode_frame(b"\x05broken", b"{}"),
        chunk_frame(b"no json"),
        event_frame("chunk", {"bytes": "bm90IGpzb24=", "event": "a member called event"}),
        event_frame("metadata", b'{"usage": {"inputTokens": 1}}'),
        corrupted(event_frame("messageStart", {"role": "assistant"})),
    ],
)
def test_any_frame_comes_back_to_the_byte(frame: bytes) -> None:
    """Frames with other headers, broken header blocks, other spacing or wrong checksums are kept too."""
    body = event_frame("messageStart", {"role": "assistant"}) + frame
    assert body_of(json.loads(json.dumps(body_form(body, stream=True)))) == body


def test_bodies_edited_by_hand_are_played_whole(tmp_path: Path) -> None:
    """Who shortens or lengthens a body in the file need not count its bytes."""
    path = tmp_path / "tape.json"
    document = written(path, COMPLETE)
    for text in ("", "a much longer text than before"):
        document["exchanges"][0]["response"]["body"] = {"json": {"b": text}}
        path.write_text(json.dumps(document))
        (held,) = read_cassette(path).exchanges
        assert held.response is not None
        assert json.loads(held.response.body) == {"b": text}


def test_deep_and_strange_json_is_written(tmp_path: Path) -> None:
    """Nesting that no line break could follow, and text that UTF-8 cannot hold, are no obstacle."""
    deep: JSONValue = "x" * 200
    for _ in range(300):
        deep = {"a": deep}
    body = json.dumps({"deep": deep, "lone": "\ud800"}, separators=(",", ":")).encode()
    held = CassetteExchange(CassetteRequest("POST", "/", body))
    written(tmp_path / "tape.json", held)
    assert list(read_cassette(tmp_path / "tape.json").exchanges) == [held]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "is not a cassette"),
        ('{"exchanges": []}', "is not a cassette"),
        (
            '{"bedrock_async_cassette": 2, "exchanges": []}',
            "of version 2; this release of bedrock-async reads version 1",
        ),
        ('{"bedrock_async_cassette": "1"}', "of version '1'"),
        ('{"bedrock_async_cassette": 1}', "exchange 1 of the cassette .* KeyError at 'exchanges'"),
        ('{"bedrock_async_cassette": 1, "exchanges": [{}]}', "exchange 1 of the cassette .* KeyError at 'request'"),
        ('{"bedrock_async_cassette": 1, "exchanges": [3]}', "exchange 1 of the cassette"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, said: str, tmp_path: Path) -> None:
    """The error names the file, the version or the exchange, and what to do."""
    path = tmp_path / "tape.json"
    path.write_text(text)
    with pytest.raises(InvalidRequestError, match=said) as caught:
        read_cassette(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ended": "later"}, "ended is 'later'; expected one of complete, failed, incomplete"),
        ({"response": {"status": 200}}, "KeyError"),
        ({"request": {"method": "POST", "path": "/", "host": "", "headers": {}, "body": {"base64": "?"}}}, "body"),
        (
            {
                "request": {
                    "method": "POST",
                    "path": "/",
                    "host": "",
                    "headers": {},
                    "body": {"frames": [{"event": "x", "base64": "?"}]},
                }
            },
            "body",
        ),
    ],
)
def test_a_faulty_exchange_is_named(change: dict[str, object], said: str, tmp_path: Path) -> None:
    """The error says which exchange of the file it is."""
    path = tmp_path / "tape.json"
    document = written(path, COMPLETE, COMPLETE)
    document["exchanges"][1] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidRequestError, match=f"exchange 2 of the cassette .*{said}"):
        read_cassette(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """Reading what is not there is an error of our tree."""
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        read_cassette(tmp_path / "none.json")


def test_writing_makes_folders_and_leaves_no_other_file(tmp_path: Path) -> None:
    """The folder is made; beside the cassette nothing stays."""
    path = tmp_path / "a" / "b" / "tape.json"
    written(path, COMPLETE)
    written(path, COMPLETE, FAILED)
    assert [each.name for each in path.parent.iterdir()] == ["tape.json"]


def test_a_file_that_cannot_be_written_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """When the new file cannot take the old one's place, the old one stays, and no temporary file does."""
    taken = tmp_path / "tape.json"
    (taken / "inside").mkdir(parents=True)
    with pytest.raises(InvalidRequestError, match="cannot be written"):
        write_cassette(taken, CassetteFile([COMPLETE]))
    assert [each.name for each in tmp_path.iterdir()] == ["tape.json"]
    blocked = tmp_path / "tape.json" / "inside" / "file"
    blocked.write_text("")
    with pytest.raises(InvalidRequestError, match="cannot be written"):
        write_cassette(blocked / "tape.json", CassetteFile([COMPLETE]))


def test_the_file_is_the_same_for_the_same_traffic(tmp_path: Path) -> None:
    """Nothing but the traffic is in it: no date, no version of Python, no order that changes."""
    for name in ("one", "two"):
        write_cassette(tmp_path / name, CassetteFile([COMPLETE, FAILED, REFUSED]))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_what_is_written_by_hand_holds_no_secret_either(tmp_path: Path) -> None:
    """The file says that secrets are gone: so they are, also where somebody writes what `Cassette.recorded` holds."""
    headers = {"authorization": "Bearer canary-key", "x-amz-security-token": "canary-token"}
    request = CassetteRequest("POST", "/model/m/converse", b'{"system":[{"text":"canary-key"}]}', headers=headers)
    response = CassetteResponse(403, {}, (RecordedPiece(b'{"Message":"account 998877665544"}'),))
    path = tmp_path / "tape.json"
    write_cassette(str(path), CassetteFile([CassetteExchange(request, response)]))
    assert "canary" not in path.read_text()
    assert "998877665544" not in path.read_text()
    assert len(read_cassette(str(path)).exchanges) == 1
