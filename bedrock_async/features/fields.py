"""Settings that are an object or a mapping of its fields: misspelt names are refused with the nearest one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InvalidRequestError
from ..types import WireModel

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

D = TypeVar("D", bound="DataclassInstance")


def of_fields(kind: type[D], given: Mapping[str, Any], *, path: str) -> D:
    """Return the object of ``kind``, a dataclass, that a mapping of its fields means.

    Raises InvalidRequestError for a name that is no field and for a field that must be there, and what making the
    object raises.
    """
    members = dict(given)
    names = [each.name for each in fields(kind)]
    if unknown := sorted(members.keys() - set(names)):
        near = difflib.get_close_matches(unknown[0], names, n=1)
        raise InvalidRequestError(
            f"{path} has no {unknown[0]!r}.",
            path=f"{path}.{unknown[0]}",
            hint=f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(names)}.",
        )
    needed = [each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING]
    if missing := [name for name in needed if name not in members]:
        raise InvalidRequestError(
            f"{path} has no {' and no '.join(missing)}.",
            path=path,
            hint=f"Pass {path}={{{', '.join(f'{name!r}: ...' for name in needed)}}}.",
        )
    return kind(**members)


def check_members(kind: type[WireModel], given: Mapping[str, Any], *, path: str, newer: str) -> None:
    """Refuse names that are none of a request's members, spelt in either way: the service would pass over them.

    ``newer`` says where a member goes that is not known here yet. Raises InvalidRequestError with the nearest name.
    """
    known = {name: field.alias or name for name, field in kind.model_fields.items()}
    names = [*known.values(), *known]
    unknown = next((str(name) for name in given if name not in names), None)
    if unknown is None:
        return
    near = [name for name in names if name.startswith(unknown)] or difflib.get_close_matches(unknown, names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(known.values())}; newer members go {newer}."
    raise InvalidRequestError(f"{path} has no {unknown!r}.", path=f"{path}.{unknown}", hint=hint)
