"""The error of what a model's native body has no word for, where Converse is no way out."""

from __future__ import annotations

from bedrock_async.errors import InvalidRequestError
from bedrock_async.families import FamilyContext


def refused(what: str, ctx: FamilyContext, *, path: str, hint: str = "Leave that out.") -> InvalidRequestError:
    """Return the error that names family, model and place."""
    return InvalidRequestError(
        f"the family 'amazon' cannot express {what} ({path}) in the native body of {ctx.base_model or 'the model'}.",
        path=path,
        hint=hint,
    )
