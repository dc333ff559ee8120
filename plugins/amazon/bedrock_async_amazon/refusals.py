"""The error for what a native body cannot express, where Converse is no alternative."""

from __future__ import annotations

from bedrock_async.errors import InvalidRequestError
from bedrock_async.families import FamilyContext, unsupported


def refused(what: str, ctx: FamilyContext, *, path: str, hint: str = "Leave that out.") -> InvalidRequestError:
    """Return an error that names the family, the model and the place."""
    return unsupported(what, family="amazon", model=ctx.base_model, path=path, hint=hint)
