"""Redacts recorded exchanges: removes private data, and leaves valid traffic.

Always removed: request headers other than those of the service's protocol, cookies, keys, tokens and the like in
bodies, account ids, names of principals, idempotency and page tokens, hosts other than the service's public ones. On
request, also what people and models wrote (`redaction_prompts`). Frames of event streams get new lengths and checksums,
base64 chunks are redacted inside, and an id is found even if a stream splits it. Replacements in responses keep their
length, so that the recorded chunks remain correct.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Final, TypeAlias, cast
from urllib.parse import parse_qsl, quote, urlencode

from ..errors import InvalidRequestError
from ..eventstream import CONTENT_TYPE as EVENT_STREAM
from ..eventstream import EventStreamDecoder, EventStreamError, encode_frame
from .cassette_exchange import CassetteExchange, CassetteRequest, CassetteResponse, RecordedFailure, RecordedPiece, cut
from .json_places import Path, Place, decoded_string, encoded_string, looks_like_json, path_text, places
from .redaction_prompts import Document, blanked
from .redaction_secrets import (
    ACCOUNT_ID,
    FILLER,
    hide,
    hide_in_quoted,
    holds_account,
    kept_request_header,
    kept_response_header,
    public_host,
    replaced_member,
    secrets_of,
)

__all__ = ["Redact", "Redactor", "frames_of"]

Redact: TypeAlias = Callable[[str, str], str]
"""``redact(text, where)`` returns the text to record.

It is called for every string of a JSON body, including those in event-stream frames and base64 chunks, and for every
header and path that is kept. ``where`` is its place: ``request.body.messages[0].content[0].text``, ``request.path``,
``response.headers.x-amzn-requestid``, ``response.frames[3].delta.text``. Requests are redacted before they are compared
with recorded ones, so equal texts must always have equal results.
"""

_METADATA_HEADER: Final = "x-amzn-bedrock-request-metadata"  # InvokeModel's; other requests have it in the body
_PRELUDE_BYTES: Final = 12
_FRAME_OVERHEAD: Final = 16
_REFUSED: Final = 400
_SERVER_SENT: Final = "text/event-stream"
_DATA_LINE: Final = re.compile(rb"(data: ?)([^\r\n]*)")
_BODY_OF_COUNT_TOKENS: Final = ("input", "invokeModel", "body")


def frames_of(body: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the frames of an event stream as (header block, payload), and the bytes after the last valid one."""
    decoder = EventStreamDecoder()
    decoder.receive_data(body)
    try:
        frames = decoder.next_raw_frames()
    except EventStreamError:
        frames = []
    return frames, body[sum(_FRAME_OVERHEAD + len(block) + len(payload) for block, payload in frames) :]


class Redactor:
    """Redacts exchanges; equal requests stay equal. ``prompts`` blanks texts, ``redact`` is called for the rest."""

    def __init__(self, *, prompts: bool = False, redact: Redact | Iterable[Redact] = ()) -> None:
        self.prompts = prompts
        self._custom = (redact,) if callable(redact) else tuple(redact)

    def builtin(self) -> Redactor:
        """Return a redactor with the same rules, except for the user's own."""
        return Redactor(prompts=self.prompts)

    def request(self, request: CassetteRequest) -> CassetteRequest:
        """Return the request as it is recorded, and compared. Redacting it again changes nothing."""
        secrets = secrets_of(request.headers)
        path = hide_in_quoted(request.path, secrets)
        return CassetteRequest(
            request.method,
            self._said(path, "request.path"),
            self._request_body(request.body, secrets),
            self._query(request.query, secrets),
            self._headers(request.headers, kept_request_header, secrets, "request.headers"),
            public_host(request.host),
        )

    def exchange(self, exchange: CassetteExchange) -> CassetteExchange:
        """Return the exchange as it is recorded."""
        secrets = secrets_of(exchange.request.headers)
        return CassetteExchange(
            self.request(exchange.request),
            None if exchange.response is None else self._response(exchange.response, secrets),
            exchange.ended,
            None if exchange.failure is None else self._failure(exchange.failure, exchange.request.host, secrets),
            exchange.label,
        )

    # -- requests

    def _headers(
        self, headers: Mapping[str, str], keeps: Callable[[str], bool], secrets: Iterable[bytes], where: str
    ) -> dict[str, str]:
        kept: dict[str, str] = {}
        for name, value in headers.items():
            if keeps(name):
                hidden = hide(value.encode(), secrets).decode()
                if self.prompts and name == _METADATA_HEADER:
                    hidden = FILLER.decode() * len(value)
                kept[name] = self._said(hidden, f"{where}.{name}")
        return kept

    def _query(self, query: str, secrets: Iterable[bytes]) -> str:
        pairs: list[tuple[str, str]] = []
        changed = False
        for name, value in parse_qsl(query, keep_blank_values=True):
            found = replaced_member(name, value)
            if found is None and name.lower().startswith("x-amz-"):  # a signature, or a related header
                found = FILLER.decode() * len(value)
            text = self._said(value if found is None else found, f"request.query.{name}")
            changed = changed or text != value
            pairs.append((name, text))
        return hide_in_quoted(urlencode(pairs, quote_via=quote, safe="-._~") if changed else query, secrets)

    def _request_body(self, body: bytes, secrets: Iterable[bytes]) -> bytes:
        if not looks_like_json(body):
            return self._plain(body, secrets, refusal=False)
        nested = _string_at(_BODY_OF_COUNT_TOKENS, body)
        if nested is not None and (inner := _from_base64(body[nested.start : nested.end])) is not None:
            inside = base64.b64encode(self._request_body(inner, secrets))
            body = body[: nested.start] + inside + body[nested.end :]
        return self._documents([Document(body)], secrets, where=["request.body"], exact=False)[0]

    # -- responses

    def _response(self, response: CassetteResponse, secrets: Iterable[bytes]) -> CassetteResponse:
        body = response.body
        refusal = response.status >= _REFUSED
        content_type = response.headers.get("content-type", "")
        if content_type.startswith(EVENT_STREAM):
            segments = _stream_segments(body)
        elif content_type.startswith(_SERVER_SENT):
            segments = _line_segments(body)
        elif looks_like_json(body):
            segments = [_Segment("response.body", len(body), Document(body, refusal=refusal), bytes)]
        else:
            segments = []
            body = self._plain(body, secrets, refusal=refusal)
        if segments:
            where = [each.where for each in segments]
            documents = self._documents([each.document for each in segments], secrets, where=where, exact=True)
            parts = [each.around(document) for each, document in zip(segments, documents, strict=True)]
        else:
            parts = [body]
        return replace(
            response,
            headers=self._headers(response.headers, kept_response_header, secrets, "response.headers"),
            pieces=_pieces(response.pieces, [each.size for each in segments] or [len(body)], parts),
        )

    def _plain(self, body: bytes, secrets: Iterable[bytes], *, refusal: bool) -> bytes:
        """Redact a body that is not JSON: a gateway's page is kept, anything else may be private text."""
        if self.prompts and not refusal:
            return FILLER * len(body)
        return hide(body, secrets)

    def _failure(self, failure: RecordedFailure, host: str, secrets: Iterable[bytes]) -> RecordedFailure:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        message = failure.message
        if name and (shown := public_host(host)) != host:
            message = message.replace(name, shown)
        hidden = hide(message.encode(), secrets).decode()
        return replace(failure, message=self._said(hidden, "failure.message"))

    # -- JSON

    def _documents(
        self, documents: Sequence[Document], secrets: Iterable[bytes], *, where: Sequence[str], exact: bool
    ) -> list[bytes]:
        texts = blanked(documents, exact=exact) if self.prompts else [document.text for document in documents]
        found = [[_Word(each, text) for each in places(text) if _matters(each)] for text in texts]
        series: dict[Path, list[_Word]] = {}
        for word in (word for words in found for word in words):
            series.setdefault(word.place.path, []).append(word)
        for path, words in series.items():
            _hide_all(path, words, secrets)
        if self._custom:
            for words, start in zip(found, where, strict=True):
                for word in words:
                    if word.place.kind == "string":
                        said = self._said(word.text.decode("utf-8", "replace"), _where(start, word.place.path))
                        word.say(said)
        return [_rewritten(text, words) for text, words in zip(texts, found, strict=True)]

    def _said(self, text: str, where: str) -> str:
        for redact in self._custom:
            said = cast("object", redact(text, where))
            if not isinstance(said, str):
                raise InvalidRequestError(
                    f"redact returned a {type(said).__name__} for {where}, not the text to record.",
                    path="redact",
                    hint="Return the text unchanged if there is nothing to redact.",
                )
            text = said
        return text


def _where(start: str, path: Path) -> str:
    inside = path_text(path)
    return f"{start}{inside}" if inside.startswith("[") else f"{start}.{inside}" if inside else start


class _Word:
    """A string or bare word of a document, and its replacement."""

    __slots__ = ("_origins", "new", "place", "raw", "text")

    def __init__(self, place: Place, document: bytes) -> None:
        self.place = place
        self.raw = document[place.start : place.end]
        self.text, self._origins = decoded_string(self.raw)
        self.new = self.raw

    def overwrite(self, text: bytes) -> None:
        """Replace the text by one of the same length, in place unless an escaped byte changes."""
        raw = bytearray(self.raw)
        for index, (old, new) in enumerate(zip(self.text, text, strict=True)):
            if old != new:
                if self._origins[index + 1] - self._origins[index] != 1:
                    self.say(text.decode("utf-8", "surrogatepass"))
                    return
                raw[self._origins[index]] = new
        self.text, self.new = text, bytes(raw)

    def say(self, text: str) -> None:
        """Replace the text by another one."""
        encoded = text.encode("utf-8", "surrogatepass")
        if encoded != self.text:
            self.text, self.new = encoded, encoded_string(text)


def _matters(place: Place) -> bool:
    """Whether a place can contain something to hide; few numbers can, and embeddings have thousands of them."""
    return place.kind != "word" or (place.end - place.start == len(ACCOUNT_ID) and holds_account(_name_of(place.path)))


def _name_of(path: Path) -> str:
    return next((step for step in reversed(path) if isinstance(step, str)), "")


def _hide_all(path: Path, words: Sequence[_Word], secrets: Iterable[bytes]) -> None:
    """Hide private data in the words at one path, which in a stream are the pieces of one text."""
    name = _name_of(path)
    strings: list[_Word] = []
    for word in words:
        if word.place.kind == "word":
            if word.raw.isdigit():
                word.new = ACCOUNT_ID
        elif word.place.kind == "string" and (text := _replaced(name, word)) is not None:
            word.say(text)
        else:
            strings.append(word)
    for kind in ("name", "string"):
        parts = [word for word in strings if word.place.kind == kind]
        joined = b"".join(word.text for word in parts)
        hidden = hide(joined, secrets)
        if hidden != joined:
            ends = list(accumulate(len(word.text) for word in parts))
            for word, end in zip(parts, ends, strict=True):
                word.overwrite(hidden[end - len(word.text) : end])


def _replaced(name: str, word: _Word) -> str | None:
    return replaced_member(name, word.text.decode("utf-8", "surrogatepass"))


def _rewritten(text: bytes, words: Sequence[_Word]) -> bytes:
    pieces: list[bytes] = []
    at = 0
    for word in words:
        if word.new is not word.raw:
            pieces += (text[at : word.place.start], word.new)
            at = word.place.end
    return b"".join((*pieces, text[at:])) if at else text


# -- the parts of a body


@dataclass(frozen=True, slots=True)
class _Segment:
    """Bytes of a body that contain one JSON text, and how to wrap a replacement."""

    where: str
    size: int
    document: Document
    around: Callable[[bytes], bytes]


def _stream_segments(body: bytes) -> list[_Segment]:
    frames, rest = frames_of(body)
    segments = [_frame_segment(f"response.frames[{index}]", *frame) for index, frame in enumerate(frames)]
    if rest:
        # Truncated or damaged: redacted in place as far as it can be read, and left truncated or damaged.
        head = _PRELUDE_BYTES + int.from_bytes(rest[4:8], "big")
        head = head if head <= len(rest) else 0
        around = partial(_joined, rest[:head], b"")
        segments.append(_Segment(f"response.frames[{len(frames)}]", len(rest), Document(rest[head:]), around))
    return segments


def _line_segments(body: bytes) -> list[_Segment]:
    """Return the lines of server-sent events, which endpoints other than the runtime's use."""
    segments: list[_Segment] = []
    for index, line in enumerate(body.splitlines(keepends=True)):
        found = _DATA_LINE.match(line)
        before, text, after = (found[1], found[2], line[found.end() :]) if found else (hide(line), b"", b"")
        around = partial(_joined, before, after)
        segments.append(_Segment(f"response.lines[{index}]", len(line), Document(text), around))
    return segments


def _joined(before: bytes, after: bytes, text: bytes) -> bytes:
    return before + text + after


def _frame_segment(where: str, block: bytes, payload: bytes) -> _Segment:
    size = _FRAME_OVERHEAD + len(block) + len(payload)
    chunk = _string_at(("bytes",), payload)
    if chunk is not None:
        inner = _from_base64(payload[chunk.start : chunk.end])
        if inner is not None and looks_like_json(inner):
            around = partial(_chunk_frame, block, hide(payload[: chunk.start]), hide(payload[chunk.end :]))
            return _Segment(where, size, Document(inner), around)
    return _Segment(where, size, Document(payload, refusal=b":exception-type" in block), partial(encode_frame, block))


def _chunk_frame(block: bytes, before: bytes, after: bytes, text: bytes) -> bytes:
    return encode_frame(block, before + base64.b64encode(text) + after)


def _string_at(path: Path, text: bytes) -> Place | None:
    return next((each for each in places(text) if each.path == path and each.kind == "string"), None)


def _from_base64(raw: bytes) -> bytes | None:
    try:
        data = base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data) == raw else None


def _pieces(old: Sequence[RecordedPiece], sizes: Sequence[int], parts: Sequence[bytes]) -> tuple[RecordedPiece, ...]:
    """Return the new body in the pieces of the old one; a cut inside a part whose length changed moves with it."""
    body = b"".join(parts)
    if len(body) == sum(sizes) and all(len(part) == size for part, size in zip(parts, sizes, strict=True)):
        cuts = [len(piece.data) for piece in old]
    else:
        ends = [_moved(end, sizes, parts) for end in accumulate(len(piece.data) for piece in old)]
        cuts = [end - start for start, end in zip((0, *ends), ends, strict=False)]
    times = [piece.at_ms for piece, size in zip(old, cuts, strict=True) if size]
    return tuple(RecordedPiece(data, at_ms) for data, at_ms in zip(cut(body, cuts), times, strict=True))


def _moved(position: int, sizes: Sequence[int], parts: Sequence[bytes]) -> int:
    old_start = new_start = 0
    for size, part in zip(sizes, parts, strict=True):
        if position < old_start + size:
            return new_start + min(position - old_start, len(part))
        old_start += size
        new_start += len(part)
    return new_start
