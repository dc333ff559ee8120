"""Hypothesis strategies made from the service model: whatever the service documents can come out of them.

Two forms, as everywhere: wire JSON (blobs base64) and boto3's parameters (blobs bytes). Values keep the lengths and
ranges of the model, so that botocore's validator accepts what comes out; patterns and enumerations are not kept, except
where a value travels in the path or in a header, which cannot hold everything.
"""

from __future__ import annotations

import base64
import json
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from itertools import pairwise
from typing import Any, Final, TypeAlias, cast

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from botocore_reading import input_shape, output_shape, structure
from hypothesis import strategies as st

__all__ = [
    "IMAGES",
    "IMAGE_STARTS",
    "JSON_VALUES",
    "bodies",
    "damaged",
    "events",
    "foldable_responses",
    "inputs",
    "iso8601",
    "json_objects",
    "outputs",
    "parameters",
    "pieces",
    "responses",
    "structures",
]

Values: TypeAlias = "st.SearchStrategy[Any]"
Objects: TypeAlias = "st.SearchStrategy[dict[str, Any]]"

_SCALARS: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**63), max_value=2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
)

JSON_VALUES: Final[Values] = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
"""Any JSON document."""

_TEXTS: Final = st.text(max_size=20)
# As text with and without parts of a second, which is how the service and botocore write them.
_OFFSETS: Final = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_TIMESTAMPS: Final = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis wants them naive
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=_OFFSETS,
) | st.datetimes(
    min_value=datetime(2023, 1, 1),  # noqa: DTZ001
    max_value=datetime(2030, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(microsecond=0))

# Of ids and ARNs, and some that a path must escape. A short alphabet is three times as fast as all that is visible.
_IN_PATH: Final = f"{string.ascii_letters}{string.digits}-_.:/~%+@"

# What can stand in a header.
_HEADERS: Final = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)

# Members that no model knows, as a later version of the service would send them.
_FOREIGN: Final = st.dictionaries(st.sampled_from(["newMember", "x", "_y", "type2"]), JSON_VALUES, max_size=2)


def json_objects() -> Objects:
    """Return JSON documents that are objects, such as the input of a tool."""
    return st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=3)


def parameters(operation_input: str) -> Objects:
    """Return valid parameters for boto3: blobs are bytes, nothing foreign, no nulls."""
    return structures(operation_input, wire=False)


def bodies(name: str) -> Objects:
    """Return wire JSON of the structure of that name, with members that no model knows."""
    return structures(name, wire=True, foreign=True)


def responses() -> Objects:
    """Return wire JSON of any response of Converse: foreign members and explicit nulls in it."""
    return structures("ConverseResponse", wire=True, foreign=True, nulls=True)


def events(stream: str = "ConverseStreamOutput") -> Objects:
    """Return any event of that stream as the one-key object of the wire, foreign members and nulls in it."""
    members = structure(stream).members
    kinds = {
        name: structures(shape.name, wire=True, foreign=True, nulls=True)
        for name, shape in members.items()
        if not shape.metadata.get("exception")
    }
    return st.sampled_from(sorted(kinds)).flatmap(lambda name: st.fixed_dictionaries({name: kinds[name]}))


@cache
def structures(name: str, *, wire: bool, foreign: bool = False, nulls: bool = False) -> Objects:
    """Return objects of the structure of that name: wire JSON or parameters, foreign members and nulls if asked."""
    return _Shapes(wire=wire, foreign=foreign, nulls=nulls).structure(structure(name))


IMAGE_STARTS: Final[Mapping[str, bytes]] = {
    "png": b"\x89PNG\r\n\x1a\n",
    "jpeg": b"\xff\xd8\xff\xe0",
    "gif": b"GIF89a",
    "webp": b"RIFF\x10\x00\x00\x00WEBP",
}
"""How files of the service's image formats begin."""

IMAGES: Final[Objects] = st.tuples(st.sampled_from(["png", "jpeg"]), st.binary(max_size=8)).map(
    lambda made: {"format": made[0], "source": {"bytes": IMAGE_STARTS[made[0]] + made[1]}}
)
"""Images as boto3's parameters, of the formats that guardrails take too."""


def inputs(operation: str, instead: Mapping[str, Values] | None = None) -> Objects:
    """Return valid parameters for boto3's method of that operation; ``instead`` replaces shapes by their names.

    A document that is null is not among them: at the top botocore leaves it out, while ours says null.
    """
    made = _Shapes(wire=False, foreign=False, nulls=False, instead=instead).structure(input_shape(operation))
    return made.filter(lambda members: None not in members.values())


def outputs(operation: str) -> Objects:
    """Return wire JSON of the answer of that operation, foreign members and nulls in it."""
    return _Shapes(wire=True, foreign=True, nulls=True).structure(output_shape(operation))


def iso8601(moment: datetime) -> str:
    """Return a timestamp as botocore writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ" if moment.microsecond else "%Y-%m-%dT%H:%M:%SZ")


@cache
def _in_path(pattern: str | None) -> Values:
    if pattern is None:
        return st.text(min_size=1, max_size=20)
    found = st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True, alphabet=_IN_PATH)
    # The patterns also take any text of these characters, and so what begins like an ARN and is none.
    return found.filter(lambda made: len(made) <= 2048 and ("/" in made or not made.startswith("arn:")))


class _Shapes:
    """Strategies of shapes, each made once: shapes may contain themselves."""

    def __init__(self, *, wire: bool, foreign: bool, nulls: bool, instead: Mapping[str, Values] | None = None) -> None:
        self._wire = wire
        self._foreign = foreign
        self._nulls = nulls
        self._made: dict[str, Values] = dict(instead or {})

    def value(self, shape: Shape) -> Values:
        match shape.serialization.get("location"):
            case "uri":
                return _in_path(shape.metadata.get("pattern"))
            case "header":
                enum: Sequence[str] = shape.metadata.get("enum", ())
                return st.sampled_from(enum) | _HEADERS if enum else _HEADERS
            case _:
                return self._named(shape)

    def _named(self, shape: Shape) -> Values:
        if shape.name not in self._made:
            self._made[shape.name] = st.deferred(lambda: self._value(shape))
        return self._made[shape.name]

    def _value(self, shape: Shape) -> Values:
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        match shape:
            case StructureShape():
                return self.structure(shape)
            case ListShape():
                least = low or 0
                return st.lists(self.value(shape.member), min_size=least, max_size=max(least, 3))
            case MapShape():
                return st.dictionaries(self.value(shape.key), self.value(shape.value), max_size=2)
            case StringShape():
                texts = st.text(min_size=low or 0, max_size=max(low or 0, 12))
                return st.sampled_from(shape.enum) | texts if shape.enum else texts
            case _:
                return self._plain(shape.type_name, low, high)

    def _plain(self, kind: str, low: float | None, high: float | None) -> Values:
        match kind:
            case "boolean":
                return st.booleans()
            case "integer" | "long":
                least = 0 if low is None else int(low)
                return st.integers(min_value=least, max_value=2**31 - 1 if high is None else int(high))
            case "float" | "double":
                return st.floats(min_value=low, max_value=high, allow_nan=False, allow_infinity=False)
            case "blob":
                blobs = st.binary(min_size=int(low or 0), max_size=8)
                return blobs.map(lambda blob: base64.b64encode(blob).decode()) if self._wire else blobs
            case "timestamp":
                return _TIMESTAMPS.map(iso8601) if self._wire else _TIMESTAMPS
            case _:
                raise AssertionError(f"no strategy for the type {kind}")

    def structure(self, shape: StructureShape) -> Objects:
        if shape.is_document_type:
            return cast("Objects", JSON_VALUES)
        if shape.is_tagged_union:
            known = st.one_of(
                [st.fixed_dictionaries({name: self._union_member(member)}) for name, member in shape.members.items()]
            )
            return known | st.fixed_dictionaries({"newKind": json_objects()}) if self._foreign else known
        return self._members(shape)

    def _union_member(self, shape: Shape) -> Values:
        # null in the place of a document is no member at all for botocore, which then refuses the union.
        return json_objects() if isinstance(shape, StructureShape) and shape.is_document_type else self.value(shape)

    def _members(self, shape: StructureShape) -> Objects:
        return _drawn_members(self, shape, wire_nulls=self._nulls, foreign=self._foreign)


@st.composite
def _drawn_members(
    draw: st.DrawFn, shapes: _Shapes, shape: StructureShape, *, wire_nulls: bool, foreign: bool
) -> dict[str, Any]:
    optional = [name for name in shape.members if name not in shape.required_members]
    # A few of the optional members: all of them at once would make every example huge.
    chosen = draw(st.lists(st.sampled_from(optional), max_size=4, unique=True)) if optional else []
    made: dict[str, Any] = {}
    for name in [*shape.required_members, *chosen]:
        member = shapes.value(shape.members[name])
        made[name] = draw(st.none() | member if wire_nulls and name in chosen else member)
    return {**made, **draw(_FOREIGN)} if foreign else made


# -- responses that a stream can carry


def _blobs() -> st.SearchStrategy[str]:
    return st.binary(min_size=1, max_size=20).map(lambda blob: base64.b64encode(blob).decode())


@st.composite
def _tool_uses(draw: st.DrawFn) -> dict[str, Any]:
    head = st.fixed_dictionaries({"toolUseId": _TEXTS, "name": _TEXTS}, optional={"type": _TEXTS})
    made = draw(json_objects())
    # Cut off, as max_tokens leaves it, or whole. JSON text would be read as the document that it is.
    tool_input = made if draw(st.booleans()) else json.dumps(made)[:-1]
    return {"toolUse": {**draw(head), **draw(_FOREIGN), "input": tool_input}}


@st.composite
def _tool_results(draw: st.DrawFn) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    for made in draw(st.lists(_TEXTS | json_objects(), max_size=4)):
        if not isinstance(made, str):
            content.append({"json": made})
        elif not content or "json" in content[-1]:
            content.append({"text": made})
    return {"toolResult": {"toolUseId": draw(_TEXTS), "content": content}}


@st.composite
def _citations(draw: st.DrawFn) -> dict[str, Any]:
    citations = draw(st.lists(structures("Citation", wire=True, foreign=True), min_size=1, max_size=3))
    return {"citationsContent": {"content": [{"text": draw(_TEXTS)}], "citations": citations}}


def _blocks() -> Objects:
    reasoning = st.fixed_dictionaries({"text": _TEXTS}, optional={"signature": _TEXTS, "new": json_objects()})
    image: Objects = st.fixed_dictionaries({"format": _TEXTS, "source": st.fixed_dictionaries({"bytes": _blobs()})})
    return st.one_of(
        st.fixed_dictionaries({"text": _TEXTS}, optional={"newMember": json_objects()}),
        st.fixed_dictionaries({"newBlock": json_objects()}),
        _tool_uses(),
        _tool_results(),
        _citations(),
        st.fixed_dictionaries({"image": image}),
        st.fixed_dictionaries({"reasoningContent": st.fixed_dictionaries({"redactedContent": _blobs()})}),
        st.fixed_dictionaries({"reasoningContent": st.fixed_dictionaries({"reasoningText": reasoning})}),
    )


@st.composite
def foldable_responses(draw: st.DrawFn) -> dict[str, Any]:
    """Return wire JSON of responses as a stream can carry them.

    A stream has no words for some that Converse may give: citations whose text is cut into several parts (deltas are
    joined), text pieces of a tool result side by side (the same), and tool input that is JSON but no object.
    """
    response = draw(structures("ConverseResponse", wire=True, foreign=True))
    message = {"role": "assistant", **draw(_FOREIGN), "content": draw(st.lists(_blocks(), max_size=5))}
    return {**response, "output": {"message": message}}


@st.composite
def damaged(draw: st.DrawFn, whole: Objects) -> dict[str, Any]:
    """Return wire JSON of ``whole`` with one value, at any depth, replaced by any JSON."""
    made = json.loads(json.dumps(draw(whole)))
    holders = list(_holders(made))
    if not holders:
        return draw(json_objects())
    holder, key = draw(st.sampled_from(holders))
    holder[key] = draw(JSON_VALUES)
    return cast("dict[str, Any]", made)


def _holders(value: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - JSON of any shape
    """Yield every object and list with each of its keys or indices."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(cast("dict[str, Any]", value).items())
    elif isinstance(value, list):
        items = cast("Sequence[Any]", value)
        inner = list(enumerate(items))
    for key, member in inner:
        yield value, key
        yield from _holders(member)


def pieces(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """Return cuts of ``data`` into pieces of any sizes, empty ones included."""
    cuts = st.lists(st.integers(0, len(data)), max_size=6).map(lambda found: [0, *sorted(found), len(data)])
    return cuts.map(lambda found: [data[start:stop] for start, stop in pairwise(found)])
