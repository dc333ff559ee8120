"""What pydantic refused, as an error of our tree. Imported when there is something to refuse."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from .._error import InvalidRequestError
from ._wire import is_member


def invalid_request(
    fault: ValidationError, *, kind: str | None = None, hints: Callable[[str, str], str | None] | None = None
) -> InvalidRequestError:
    """Return the error for the first fault, with its path and how many more there are; never with what was given.

    ``kind`` names the class that was to be made, where the caller has named one. ``hints`` gives the next step for a
    path and pydantic's type of a fault, where it knows one.
    """
    details = fault.errors(include_url=False, include_input=False, include_context=False)
    first = details[0]
    path = ""
    for step in filter(is_member, first["loc"]):
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    more = f" ({len(details) - 1} more faults behind it)" if len(details) > 1 else ""
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
