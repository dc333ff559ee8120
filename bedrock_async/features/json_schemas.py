"""JSON Schemas in the forms that the service takes, and a check of values against those that users wrote by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from .._error import a_kind

Schema: TypeAlias = "dict[str, Any]"

VALUE: Final = "value"
"""The member that holds an output which is no object, where the service wants one at the top."""

# What the grammar behind strict outputs and strict tools refuses; it is told to the model in words instead.
# [Anthropic's guide, "Structured outputs", JSON Schema limitations]
_TOLD: Final = (
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern"),
    *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
)
_TAKEN: Final = (("minItems", 0), ("minItems", 1))
_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_LISTS: Final = ("anyOf", "allOf", "prefixItems")
_MAPS: Final = ("properties", "$defs", "definitions")


def strict_schema(schema: Mapping[str, Any]) -> Schema:
    """Return the schema as strict outputs and strict tools take it. The given one is not changed.

    Objects are closed, ``oneOf`` becomes ``anyOf``, and constraints that the service refuses move into descriptions.
    """
    made = _without_reference_at_top(schema)
    return _strict_object(made)


def strict_obstacle(schema: Mapping[str, Any]) -> str | None:
    """Say what keeps a schema from being strict, with its path; None where nothing does."""
    made = _without_reference_at_top(schema)
    return next(_obstacles(made, "schema", made, ()), None)


_TEXTS: Final = frozenset({"$ref", "description"})
_ARRAYS: Final = frozenset({"required", "enum", "oneOf", *_LISTS})


def malformed_schema(schema: Mapping[str, Any]) -> str | None:
    """Say which keyword of a schema has not the form that JSON Schema gives it; None where none is wrong."""
    return next(_malformed(schema, "schema"), None)


def _malformed(schema: object, path: str) -> Iterator[str]:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        yield f"{path} is {a_kind(schema)}, not an object"
        return
    for name, value in cast("Mapping[str, Any]", schema).items():
        here = f"{path}.{name}"
        if name in _TEXTS and not isinstance(value, str):
            yield f"{here} is {a_kind(value)}, not text"
        elif name in _MAPS:
            members = _mapping(value)
            if members is not value:
                yield f"{here} is {a_kind(value)}, not an object"
            for key, each in members.items():
                yield from _malformed(each, f"{here}.{key}")
        elif name in _ARRAYS:
            yield from _malformed_array(name, value, here)
        elif name == "items" and not isinstance(value, list):
            yield from _malformed(value, here)
        elif name == "type" and not isinstance(value, str):
            yield from _malformed_array(name, value, here)


def _malformed_array(name: str, value: Any, here: str) -> Iterator[str]:  # noqa: ANN401 - anything
    if not isinstance(value, list | tuple):
        yield f"{here} is {a_kind(value)}, not a list"
        return
    for index, each in enumerate(cast("Sequence[object]", value)):
        if name in ("required", "type"):
            if not isinstance(each, str):
                yield f"{here}[{index}] is {a_kind(each)}, not text"
        elif name != "enum":
            yield from _malformed(each, f"{here}[{index}]")


def object_schema(schema: Mapping[str, Any]) -> tuple[Schema, bool]:
    """Return a schema with an object at its top, as tools want it, and whether the output was wrapped for that."""
    made = _without_reference_at_top(schema)
    if made.get("type") == "object":
        return made, False
    inner = {name: value for name, value in made.items() if name not in {"$defs", "definitions", "$schema"}}
    wrapped: Schema = {"type": "object", "properties": {VALUE: inner}, "required": [VALUE]}
    wrapped |= {name: made[name] for name in ("$defs", "definitions") if name in made}
    return wrapped, True


def _without_reference_at_top(schema: Mapping[str, Any]) -> Schema:
    """Put the definition in the place of a reference that is the whole schema, as pydantic writes recursive models."""
    made = dict(schema)
    seen: set[str] = set()
    while isinstance(reference := made.get("$ref"), str) and reference not in seen:
        seen.add(reference)
        rest = {name: value for name, value in made.items() if name != "$ref"}
        made = {**_resolved(reference, made), **rest}
    return made


def _resolved(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    if reference == "#":
        return root
    for step in reference.removeprefix("#/").split("/"):
        found = _mapping(found).get(step)
    return _mapping(found)


def _strict(schema: Any) -> Any:  # noqa: ANN401 - an object, or one of the schemas true and false
    if not isinstance(schema, Mapping):
        return schema
    return _strict_object(cast("Mapping[str, Any]", schema))


def _strict_object(schema: Mapping[str, Any]) -> Schema:
    made: Schema = {}
    told: list[str] = []
    for name, value in schema.items():
        if name in _TOLD and (name, value) not in _TAKEN:
            told.append(f"{name}: {value}")
        elif name == "format" and value not in _FORMATS:
            told.append(f"format: {value}")
        elif name == "oneOf":
            made["anyOf"] = [_strict(each) for each in value]
        elif name in _LISTS:
            made[name] = [_strict(each) for each in value]
        elif name in _MAPS:
            made[name] = {key: _strict(each) for key, each in _mapping(value).items()}
        elif name == "items" and isinstance(value, Mapping):
            made[name] = _strict(cast("Mapping[str, Any]", value))
        elif name != "discriminator":
            made[name] = value
    if made.get("type") == "object" or "properties" in made:
        made["additionalProperties"] = False
    if told:
        said = made.get("description")
        made["description"] = f"{said} ({', '.join(told)})" if said else ", ".join(told)
    return made


def _obstacles(schema: Mapping[str, Any], path: str, root: Mapping[str, Any], within: tuple[str, ...]) -> Iterator[str]:
    if isinstance(reference := schema.get("$ref"), str):
        if reference in within:
            yield f"{path} refers to itself"
        else:
            yield from _obstacles(_resolved(reference, root), path, root, (*within, reference))
    properties = _mapping(schema.get("properties"))
    more = schema.get("additionalProperties")
    open_object = schema.get("type") == "object" and not properties and more is not False
    if open_object or isinstance(more, Mapping):
        yield f"{path} is an object with members of any name"
    for name, each in properties.items():
        yield from _obstacles(_mapping(each), f"{path}.{name}", root, within)
    if isinstance(schema.get("items"), Mapping):
        yield from _obstacles(schema["items"], f"{path}[]", root, within)
    for name in (*_LISTS, "oneOf"):
        for each in schema.get(name, ()):
            yield from _obstacles(_mapping(each), path, root, within)


# -- values

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def schema_faults(value: object, schema: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a value, each fault with its path; empty for a value that fits.

    Types, enumerations, constants, members, items and alternatives are checked, which is what the service's own
    grammar holds a model to; constraints on numbers and texts are not.
    """
    return list(_faults(value, schema, "", schema, 0))


def _faults(value: object, allowing: object, path: str, root: Mapping[str, Any], depth: int) -> Iterator[str]:
    here = path or "the output"
    if allowing is False:
        yield f"{here}: is not allowed"
    if depth > _DEEPEST:
        return
    schema = _mapping(allowing)
    if isinstance(reference := schema.get("$ref"), str):
        yield from _faults(value, _resolved(reference, root), path, root, depth + 1)
    kinds = schema.get("type")
    allowed = [kinds] if isinstance(kinds, str) else cast("Sequence[str]", kinds or ())
    if allowed and not any(_is(value, kind) for kind in allowed):
        yield f"{here}: is {a_kind(value)}, not {' or '.join(allowed)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{here}: is not one of the {len(schema['enum'])} allowed values"
    if "const" in schema and value != schema["const"]:
        yield f"{here}: is not the one allowed value"
    for name in ("anyOf", "oneOf"):
        if name in schema and all(any(_faults(value, each, path, root, depth + 1)) for each in schema[name]):
            yield f"{here}: matches none of {len(schema[name])} alternatives"
    for each in schema.get("allOf", ()):
        yield from _faults(value, each, path, root, depth + 1)
    if isinstance(value, dict):
        yield from _member_faults(cast("dict[str, object]", value), schema, path, root, depth)
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for index, item in enumerate(cast("list[object]", value)):
            yield from _faults(item, schema["items"], f"{path}[{index}]", root, depth + 1)


_DEEPEST: Final = 100


def _member_faults(
    value: Mapping[str, object], schema: Mapping[str, Any], path: str, root: Mapping[str, Any], depth: int
) -> Iterator[str]:
    properties = _mapping(schema.get("properties"))
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}".lstrip(".") + ": is missing"
    for name, member in value.items():
        there = f"{path}.{name}".lstrip(".")
        if name in properties:
            yield from _faults(member, properties[name], there, root, depth + 1)
        elif schema.get("additionalProperties") is False:
            yield f"{there}: is not a member of this object"
        elif isinstance(schema.get("additionalProperties"), Mapping):
            yield from _faults(member, schema["additionalProperties"], there, root, depth + 1)


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return kind not in _TYPES or isinstance(value, _TYPES[kind])


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
