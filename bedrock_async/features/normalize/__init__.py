"""Automatic corrections of what the service is known to reject in a request: a table of rules, one row each.

A rule has a name and a reason, and applies to all models, to those of some families or to those with certain facts.
Each change is an `Adjustment` that says what was changed and where. Any rule can be switched off by name; in strict
mode, a request that would be changed is rejected instead.

A rule looks only at requests that contain what it is about, so no rule runs for a plain-text question.
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
