"""The arguments of a client: wrong ones are refused by name before they fail somewhere inside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

from ..errors import InvalidRequestError
from ..resilience import Timeouts
from .settings import check_names

T = TypeVar("T")


def check_options(timeouts: object, retry: object) -> None:
    """Refuse numbers, which other libraries take here, before they fail in the middle of a call."""
    of_kind("timeouts", timeouts, Timeouts)
    if retry is not None and not callable(getattr(retry, "delay_s", None)):
        raise InvalidRequestError(
            f"retry is a {type(retry).__name__}, no retry policy.",
            path="retry",
            hint="Pass StandardRetry(max_attempts=3), NO_RETRY, or an object of the RetryPolicy protocol.",
        )


def check_texts(**given: object) -> None:
    """Refuse arguments of a client that are no text. Raises InvalidRequestError with the path."""
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise InvalidRequestError(f"{name} is a {type(value).__name__}, not text.", path=name, hint=_TEXTS[name])


_TEXTS: Final = {
    "region": 'Pass region="us-east-1".',
    "profile": "Pass the name of a profile of the AWS configuration.",
    "endpoint_url": 'Pass endpoint_url="https://...".',
    "control_endpoint_url": 'Pass control_endpoint_url="https://...".',
}


def checked_settings(settings: object) -> dict[str, Any]:
    """Return the defaults of a client. Raises InvalidRequestError for what is no mapping, or has an unknown name."""
    if settings is not None and not isinstance(settings, Mapping):
        raise InvalidRequestError(
            f"settings is a {type(settings).__name__}, not a mapping.",
            path="settings",
            hint='Pass the keywords of all calls: settings={"max_tokens": 500}.',
        )
    defaults = dict(cast("Mapping[str, Any]", settings or {}))
    check_names(defaults, verb="BedrockClient(settings=...)")
    return defaults


def of_kind(name: str, value: T | None, kind: type[T]) -> T | None:
    """Return the value of an argument. Raises InvalidRequestError when it is of another kind."""
    if value is not None and not isinstance(value, kind):
        raise InvalidRequestError(
            f"{name} is a {type(value).__name__}, not {kind.__name__}.", path=name, hint=f"Pass {_EXAMPLES[name]}."
        )
    return value


_EXAMPLES: Final = {
    "timeouts": "Timeouts(total_s=60)",
    "limits": "Limits(max_connections=100)",
    "continuation": "Continuation(max_continuations=1)",
    "connection": "ConnectionOptions(use_fips=True)",
    "hooks": "Hooks(on_error=function)",
}


def check_seconds(name: str, seconds: object, *, hint: str) -> None:
    """Refuse what is neither None nor a number of seconds. Raises InvalidRequestError."""
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or math.isnan(seconds):
        shown = "nan" if isinstance(seconds, float) else f"a {type(seconds).__name__}"
        raise InvalidRequestError(f"{name} is {shown}, no number of seconds.", path=name, hint=hint)
