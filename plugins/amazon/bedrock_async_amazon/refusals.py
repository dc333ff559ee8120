"""The error for what a native body cannot express, where Converse is no alternative."""

from __future__ import annotations

from bedrock_async.errors import InvalidRequestError
from bedrock_async.families import FamilyContext


def refused(what: str, ctx: FamilyContext, *, path: str, hint: str = "Leave that out.") -> InvalidRequestError:
    """Return an error that names the family, the model and the place."""
    return InvalidRequestError(
        f"the family 'amazon' cannot express {what} ({path}) in the native body of {ctx.base_model or 'the model'}.",
        path=path,
        hint=hint,
    )
