"""Requests that the caller made: sent as they are, once it is certain that they are valid requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from pydantic import ValidationError

from ..errors import InvalidRequestError
from ..types import ConverseRequest
from .checks import check_cache_points
from .settings import invalid_request


def ready_request(request: ConverseRequest, model: str | None) -> ConverseRequest:
    """Return a ready request under ``model``, when that is given.

    Raises InvalidRequestError for another model's request, and for an invalid one: `model_copy` validates nothing.
    """
    if _has_untyped(request):
        request = _typed(request)
    check_cache_points(request)
    if model is None or model == request.model_id:
        return request
    if request.model_id is not None:
        raise InvalidRequestError(
            f"the request is for the model {request.model_id!r}, the call for {model!r}.",
            path="model",
            hint="Pass one of them, or request.model_copy(update={'model_id': ...}).",
        )
    return request.model_copy(update={"model_id": model})


_OBJECTS: Final = frozenset({"additional_model_request_fields", "prompt_variables", "request_metadata"})


def _has_untyped(request: ConverseRequest) -> bool:
    """Tell whether a dict or text stands where an object of ours belongs, as ``model_copy(update=...)`` leaves them."""
    for name, value in request.__dict__.items():
        if isinstance(value, dict) and name not in _OBJECTS:
            return True
    for blocks in cast("tuple[object, object]", (request.messages, request.system)):
        if blocks is None:
            continue
        if not isinstance(blocks, list | tuple):
            return True
        if any(isinstance(each, dict | str) for each in cast("Sequence[object]", blocks)):
            return True
    return False


def _typed(request: ConverseRequest) -> ConverseRequest:
    members = {name: getattr(request, name) for name in request.model_fields_set}
    try:
        return ConverseRequest.model_validate({**members, **(request.model_extra or {})})
    except ValidationError as exc:
        raise invalid_request(exc) from exc
