"""Translates pydantic's validation errors into ours. Imported only when there is one."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from .._error import InvalidRequestError
from ._wire import is_member


def invalid_request(
    fault: ValidationError, *, kind: str | None = None, hints: Callable[[str, str], str | None] | None = None
) -> InvalidRequestError:
    """Return the error for the first fault, with its path and the number of further ones; never with the given value.

    ``kind`` names the class to be created, if the caller named it. ``hints`` returns the next step for a path and
    pydantic's type of a fault, or None.
    """
    details = fault.errors(include_url=False, include_input=False, include_context=False)
    first = details[0]
    path = ""
    for step in filter(is_member, first["loc"]):
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    more = f" ({len(details) - 1} more faults follow)" if len(details) > 1 else ""
    hint = hints(path, first["type"]) if hints is not None else None
    where = ": ".join(filter(None, (kind, path))) or "the request"
    return InvalidRequestError(
        f"{where}: {first['msg']}{more}.", path=path or None, hint=hint or _hint(path, first["type"])
    )


def _hint(path: str, kind: str) -> str | None:
    if path.rpartition(".")[2] == "content" and kind == "list_type":
        return 'Content is a list of blocks: [{"text": "..."}].'
    return None


__all__ = ["invalid_request"]
