"""The base of all request and response classes: two representations, with unknown members kept.

``to_wire``/``from_wire`` use the JSON of the wire (blobs as base64); ``to_dict``/``from_dict`` use boto3's shapes
(blobs as bytes, timestamps as aware datetimes). Unknown members survive both in both directions.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite, isnan
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self, TypeAlias, TypeVar, cast, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetPydanticSchema,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from .._error import InvalidRequestError

JSONValue: TypeAlias = "bool | int | float | str | list[JSONValue] | dict[str, JSONValue] | None"
"""Any JSON value, as the standard library's parser returns it."""

if TYPE_CHECKING:
    JSON: TypeAlias = JSONValue
    """A member that holds any JSON document, kept as it is without validation."""
else:  # otherwise pydantic would build a validator for the recursive type, and walk every document with it
    JSON = Annotated[object, GetPydanticSchema(lambda _source, _handler: core_schema.any_schema())]

Enum: Final = GetPydanticSchema(lambda _source, _handler: core_schema.str_schema())
"""Marks ``Literal[...] | str``: completion for the known values, while unknown ones are accepted."""

T = TypeVar("T")
M = TypeVar("M", bound="WireModel")

BOTO3: Final = object()
"""The validation context of input in boto3's shape, for members that are validated separately."""


def _bytes_from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        reason = {"reason": str(exc)}
        raise PydanticCustomError("blob_base64", "a blob is base64 on the wire: {reason}", reason) from exc


def _bytes_from_python(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(cast("bytearray | memoryview[int]", value))
    raise PydanticCustomError(
        "blob_type",
        "a blob is bytes here, not {kind}; pass the raw bytes (base64 belongs to from_wire only)",
        {"kind": type(value).__name__},
    )


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


_BLOB_SCHEMA = core_schema.json_or_python_schema(
    json_schema=core_schema.no_info_after_validator_function(_bytes_from_base64, core_schema.str_schema()),
    python_schema=core_schema.no_info_plain_validator_function(_bytes_from_python),
    serialization=core_schema.plain_serializer_function_ser_schema(_base64, when_used="json"),
)
Blob: TypeAlias = Annotated[bytes, GetPydanticSchema(lambda _source, _handler: _BLOB_SCHEMA)]
"""Bytes in Python, base64 on the wire."""


def _iso8601(value: datetime) -> str:
    text = value.astimezone(UTC).isoformat(timespec="microseconds" if value.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


_TIMESTAMP_SCHEMA = core_schema.no_info_after_validator_function(
    _aware,
    core_schema.datetime_schema(),
    serialization=core_schema.plain_serializer_function_ser_schema(_iso8601, when_used="json"),
)
Timestamp: TypeAlias = Annotated[datetime, GetPydanticSchema(lambda _source, _handler: _TIMESTAMP_SCHEMA)]
"""An aware datetime in Python, ISO 8601 in UTC on the wire; a naive one is taken as UTC."""


def _number_or_name(value: float) -> float | str:
    if isfinite(value):
        return value
    return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"


# JSON has no literals for these three; AWS writes their names (Smithy's rest-json 1 protocol).
_FLOAT_SCHEMA = core_schema.float_schema(
    serialization=core_schema.plain_serializer_function_ser_schema(_number_or_name, when_used="json"),
)
Float: TypeAlias = Annotated[float, GetPydanticSchema(lambda _source, _handler: _FLOAT_SCHEMA)]
"""A float in Python; on the wire, the text ``NaN``, ``Infinity`` or ``-Infinity`` if it is not a finite number."""


class _ListSchema:
    """Validates a covariant Sequence as a list, which is fast and boto3's shape."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        (item,) = get_args(source)
        return core_schema.list_schema(handler.generate_schema(item))


List: TypeAlias = Annotated[Sequence[T], _ListSchema()]


class _Length(int):
    """The length of a blob, for its ``repr``."""

    def __repr__(self) -> str:
        return f"<{int(self)} bytes>"


class WireModel(BaseModel):
    """A frozen object with a snake_case field for every member, and unknown members in ``model_extra``."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="allow",
        frozen=True,
        protected_namespaces=(),
        defer_build=True,
        ser_json_inf_nan="constants",
        hide_input_in_errors=True,
    )

    not_in_body: ClassVar[set[str]] = set()
    """Fields that are sent in path, query or headers: part of `to_dict` but not of `to_wire`."""

    if not TYPE_CHECKING:

        def __init__(self, **members: object) -> None:
            """Set the members that are not None: here None means absent, while from_wire keeps explicit nulls.

            Raises InvalidRequestError with the path of the fault.
            """
            try:
                super().__init__(**{name: value for name, value in members.items() if value is not None})
            except ValidationError as exc:
                raise _refusal(type(self), exc) from exc

        # Tells pydantic not to call this __init__ for nested validation (it would drop explicit nulls).
        __init__.__pydantic_base_init__ = True

        def __setattr__(self, name: str, value: object) -> None:
            """Refuse, except for private attributes: tasks may share the object."""
            try:
                super().__setattr__(name, value)
            except ValidationError:  # pydantic's error quotes the value
                raise _frozen(self, name) from None

        def __delattr__(self, name: str) -> None:
            """Refuse, as for setting an attribute."""
            try:
                super().__delattr__(name)
            except ValidationError:
                raise _frozen(self, name) from None

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        """Show the length of blobs instead of their content, which would flood a log."""
        for name, value in super().__repr_args__():
            yield name, _Length(len(value)) if isinstance(value, bytes) else value

    @classmethod
    def from_wire(cls, wire: bytes | str | Mapping[str, object]) -> Self:
        """Read the wire's JSON, as bytes, text or parsed. Raises InvalidRequestError with the path of the fault."""
        try:
            return read_wire(cls, wire if isinstance(wire, bytes | bytearray | str) else json.dumps(wire))
        except ValidationError as exc:
            raise _refusal(cls, exc) from exc
        except (TypeError, ValueError, RecursionError) as exc:
            raise InvalidRequestError(
                f"{cls.__name__}: the wire form contains a value that JSON cannot represent: {exc}."
            ) from exc

    @classmethod
    def from_dict(cls, members: Mapping[str, object]) -> Self:
        """Read boto3's shape: camelCase members, blobs as bytes. Raises InvalidRequestError, as `from_wire` does."""
        given = cast("object", members)
        try:
            return cls.model_validate(
                dict(members) if isinstance(given, Mapping) else given, by_alias=True, by_name=False, context=BOTO3
            )
        except ValidationError as exc:
            raise _refusal(cls, exc) from exc

    def to_wire(self) -> dict[str, JSONValue]:
        """Return the JSON object for the wire: camelCase members, blobs as base64, unset members omitted."""
        wire: dict[str, JSONValue] = self.__pydantic_serializer__.to_python(
            self, mode="json", by_alias=True, exclude_unset=True, exclude=self.not_in_body or None
        )
        return wire

    def to_dict(self) -> dict[str, Any]:
        """Return boto3's shape: camelCase members, blobs as bytes, timestamps as aware datetimes."""
        members: dict[str, Any] = self.__pydantic_serializer__.to_python(self, by_alias=True, exclude_unset=True)
        return members

    def to_wire_bytes(self) -> bytes:
        """Return `to_wire` as compact UTF-8 JSON; text with lone surrogates is escaped as ASCII JSON."""
        return self.wire_bytes_without()

    def wire_bytes_without(self, *names: str) -> bytes:
        """Return `to_wire_bytes` without these fields (their Python names)."""
        left_out = self.not_in_body | {*names} if names else self.not_in_body
        try:
            return self.__pydantic_serializer__.to_json(
                self, by_alias=True, exclude_unset=True, exclude=left_out or None
            )
        except ValueError:
            wire = self.__pydantic_serializer__.to_python(
                self, mode="json", by_alias=True, exclude_unset=True, exclude=left_out or None
            )
            return json.dumps(wire, separators=(",", ":")).encode("ascii")


def read_wire(kind: type[M], wire: bytes | str) -> M:
    """Return what `WireModel.from_wire` returns. Raises pydantic's ValidationError, which has every fault."""
    made: M = kind.__pydantic_validator__.validate_json(wire, by_alias=True, by_name=False)
    return made


def _frozen(model: WireModel, name: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{type(model).__name__} is frozen: {name} cannot be changed.",
        path=name,
        hint=f"Make a changed copy: model_copy(update={{{name!r}: ...}}).",
    )


def _refusal(kind: type[WireModel], fault: ValidationError) -> InvalidRequestError:
    from ._faults import invalid_request

    return invalid_request(fault, kind=kind.__name__)


class WireUnion(WireModel):
    """A structure with exactly one member set.

    Objects built in Python or read from a dict must set one; those read from the wire are kept as they are.
    """

    @model_validator(mode="after")
    def _exactly_one(self, info: ValidationInfo) -> Self:
        if info.mode == "json" or len(self.model_fields_set) == 1:
            return self
        # Wire objects may have explicit nulls beside the member that is set; through to_dict they reach from_dict.
        given = sorted(to_camel(name) for name in self.model_fields_set if getattr(self, name) is not None)
        if len(given) != 1:
            names = ", ".join(str(field.alias) for field in type(self).model_fields.values())
            context = {"names": names, "given": ", ".join(given) or "none"}
            raise PydanticCustomError("union_members", "exactly one of {names} must be set, not: {given}", context)
        return self


# Members beside the tag of a block. The service sends none today; they are kept under this key of model_extra.
_BESIDE = "$beside"


class Block(WireModel):
    """A member of a tagged union: on the wire, an object whose only key, ``tag``, names the kind of block."""

    tag: ClassVar[str]
    flat: ClassVar[bool] = False
    """Whether the field named like the tag holds the whole block (``{"text": "hello"}``)."""


class FlatBlock(Block):
    """A block whose own field is named like its tag."""

    flat: ClassVar[bool] = True


class NestedBlock(Block):
    """A block whose members are in an object under its tag."""

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        members = cast("Mapping[str, object]", data)
        inner = members.get(cls.tag)
        if not isinstance(inner, Mapping):
            return members
        if len(members) == 1:
            return cast("object", inner)
        beside = {name: value for name, value in members.items() if name != cls.tag}
        return {**cast("Mapping[str, object]", inner), _BESIDE: beside}

    @model_serializer(mode="wrap")
    def _wrap(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        members: dict[str, Any] = handler(self)
        beside: dict[str, Any] = members.pop(_BESIDE, {})
        return {self.tag: members, **beside}


UNREAD: Final = "$unread"
"""Marks, for a second reading, a known block that lacks a required member."""


class _Built(dict[str, Any]):
    """The members passed to a constructor, as distinct from a wire block named "raw"."""


class UnknownBlock(WireModel):
    """A block that this version does not know, or that lacks members; ``raw`` is the object exactly as on the wire."""

    raw: Mapping[str, Any]

    if not TYPE_CHECKING:

        def __init__(self, raw: Mapping[str, Any]) -> None:
            """Keep the whole object, ``UnknownBlock(raw={"newBlock": {...}})``."""
            self.__pydantic_validator__.validate_python(_Built(raw=raw), self_instance=self)

        __init__.__pydantic_base_init__ = True

    @model_validator(mode="before")
    @classmethod
    def _keep(cls, data: object) -> object:
        if isinstance(data, _Built | UnknownBlock):
            return data
        if isinstance(data, Mapping):
            members = cast("Mapping[str, object]", data)
            return {"raw": members.get(UNREAD, members)}
        return {"raw": data}

    @model_serializer(mode="plain")
    def _emit(self) -> dict[str, Any]:
        return dict(self.raw)


def _both_schema(tags: Sequence[str], unknown: CoreSchema) -> CoreSchema:
    """Two members of a union at once: rejected in requests, kept as unknown in responses."""

    def refuse(value: object) -> object:
        given = [tag for tag in tags if tag in cast("Mapping[str, object]", value)]
        raise PydanticCustomError(
            "union_members",
            "{names} are {how} set; a block has exactly one member",
            {"names": " and ".join(given), "how": "both" if len(given) == 2 else "all"},
        )

    return core_schema.json_or_python_schema(
        json_schema=unknown, python_schema=core_schema.no_info_plain_validator_function(refuse)
    )


# The prefix of those steps in pydantic's locations that denote a choice rather than a member; see `is_member`.
_CHOICE: Final = "("
_UNKNOWN: Final = "(unknown)"
_BOTH: Final = "(both)"


def _step(block: Block | type[Block]) -> str:
    """Return the step for a kind of block in a location: its tag, or ``(tag)`` if its member has the same name."""
    return f"({block.tag})" if block.flat else block.tag


def is_member(step: int | str) -> bool:
    """Return whether a step of a pydantic location is a member or index of the validated value."""
    return isinstance(step, int) or not step.startswith(_CHOICE)


class Tagged:
    """Marks a union of `Block` classes: ``Annotated[TextBlock | ImageBlock | UnknownBlock, Tagged()]``."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        by_tag: dict[str, type[Block]] = {block.tag: block for block in get_args(source) if block is not UnknownBlock}
        unknown = handler.generate_schema(UnknownBlock)
        choices: dict[Any, CoreSchema] = {_step(block): handler.generate_schema(block) for block in by_tag.values()}
        choices[_UNKNOWN] = unknown
        choices[_BOTH] = _both_schema(list(by_tag), unknown)
        return core_schema.tagged_union_schema(
            choices,
            _discriminator(by_tag),
            custom_error_type="block_type",
            custom_error_message="a block is an object such as {example}, or one of its classes",
            custom_error_context={"example": f'{{"{next(iter(by_tag))}": ...}}'},
        )


def _discriminator(by_tag: Mapping[str, type[Block]]) -> Callable[[object], str | None]:
    steps = {tag: _step(block) for tag, block in by_tag.items()}
    steps_of_types: dict[type[object], str] = {block: steps[tag] for tag, block in by_tag.items()}

    def tag_of(value: Any) -> str | None:  # noqa: ANN401 - pydantic passes any value
        kind: type[Any] = value.__class__
        if kind is dict and len(value) == 1:  # the common case
            return steps.get(next(iter(value)), _UNKNOWN)
        if (step := steps_of_types.get(kind)) is not None:
            return step
        if isinstance(value, Mapping):
            members = cast("Mapping[str, object]", value)
            tags = [name for name in members if name in by_tag]
            if len(tags) > 1:  # explicit nulls do not count as set
                tags = [name for name in tags if members[name] is not None]
            if len(tags) == 1:
                return steps[tags[0]]
            return _BOTH if tags else _UNKNOWN
        if isinstance(value, Block):
            return _step(value) if value.tag in by_tag else None
        return _UNKNOWN if isinstance(value, UnknownBlock) else None

    return tag_of


__all__ = [
    "JSON",
    "UNREAD",
    "Blob",
    "Block",
    "Enum",
    "FlatBlock",
    "Float",
    "JSONValue",
    "List",
    "NestedBlock",
    "Tagged",
    "Timestamp",
    "UnknownBlock",
    "WireModel",
    "WireUnion",
    "is_member",
    "read_wire",
]
