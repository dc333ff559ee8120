"""JSON schemas before they reach the engine: what would hang it is refused here. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from bedrock_async.types import JSONValue

__all__ = ["contradiction"]

_REPEATED: Final = re.compile(r"\{(\d{1,9}),(\d{1,9})\}")
# Values, not schemas: what is in them does not matter.
_VALUES: Final = frozenset({"const", "default", "enum", "examples"})


def contradiction(schema: JSONValue) -> str | None:
    """Return the contradiction in a schema that would hang the engine, or None.

    Its grammars repeat "at least m, at most n times" for ever if m is greater than n, for all streams at once; it
    checks everything else that was tried (cycles, empty choices, huge counts) itself.  [xllamacpp 2026.10]
    """
    for found in _schemas(schema):
        least, most = found.get("minLength"), found.get("maxLength")
        if isinstance(least, int) and isinstance(most, int) and least > most:
            return f"minLength {least} is greater than maxLength {most}"
        pattern = found.get("pattern")
        if isinstance(pattern, str):
            for low, high in _REPEATED.findall(pattern):
                if int(low) > int(high):
                    return f"the pattern asks for at least {low} and at most {high} times"
    return None


def _schemas(schema: JSONValue) -> Iterator[Mapping[str, JSONValue]]:
    """Yield every object in the schema that can be a schema, without recursion."""
    pending = [schema]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield value
            pending += [member for name, member in value.items() if name not in _VALUES]
        elif isinstance(value, list):
            pending += value
