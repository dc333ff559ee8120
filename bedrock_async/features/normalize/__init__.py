"""What the service is known to refuse in a request, put right before it is sent: a table of rules, one row each.

A rule has a name, says why it is there, and applies to all models, to those of some families or to those with some
facts. Each change is an `Adjustment` that says what was changed and where. Any rule can be switched off by its name;
in strict mode a request that would be changed is refused in the place of being changed.

Rules only look at requests that hold what they are about, and a question in plain text meets none of them.
"""

from __future__ import annotations

from ._draft import Rule
from .content import DOCUMENT_TEXT
from .engine import (
    Normalization,
    Normalized,
    check_rules,
    is_plain,
    normalization,
    normalize,
    refused,
    rules_for,
)
from .table import RULES
from .tools import INVALID_JSON, NO_OUTPUT, NO_TOOL, SEPARATOR, with_object_input

__all__ = [
    "DOCUMENT_TEXT",
    "INVALID_JSON",
    "NO_OUTPUT",
    "NO_TOOL",
    "RULES",
    "SEPARATOR",
    "Normalization",
    "Normalized",
    "Rule",
    "check_rules",
    "is_plain",
    "normalization",
    "normalize",
    "refused",
    "rules_for",
    "with_object_input",
]
