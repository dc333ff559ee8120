"""The arguments of a client: wrong ones are refused by name before they fail somewhere inside."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

from .._error import a_kind
from ..errors import InvalidRequestError
from ..resilience import StandardRetry, Timeouts
from .settings import check_names

T = TypeVar("T")


def check_options(timeouts: object, retry: object) -> None:
    """Refuse numbers, which other libraries take here, before they fail in the middle of a call."""
    of_kind("timeouts", timeouts, Timeouts)
    if retry is not None and not isinstance(retry, StandardRetry):
        _check_policy(retry)


def _check_policy(retry: object) -> None:
    decide = getattr(retry, "delay_s", None)
    if not callable(decide):
        raise InvalidRequestError(
            f"retry is {a_kind(retry)}, not a retry policy.",
            path="retry",
            hint="Pass StandardRetry(max_attempts=3), NO_RETRY, or an object of the RetryPolicy protocol.",
        )
    try:
        signature = inspect.signature(decide)
    except (TypeError, ValueError):  # a callable that is not written in Python need not tell
        return
    try:
        signature.bind(None, 1, random=None)
        fault = "is a coroutine function" if inspect.iscoroutinefunction(decide) else None
    except TypeError as exc:
        fault = f"cannot be called so: {exc}"
    if fault is not None:
        raise InvalidRequestError(
            f"delay_s of the retry policy {type(retry).__name__} {fault}.",
            path="retry",
            hint="Write it as def delay_s(self, failure, attempt, *, random): return the seconds to wait, or None to "
            "give up.",
        )


def check_texts(**given: object) -> None:
    """Refuse arguments of a client that are not text. Raises InvalidRequestError with the path."""
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise InvalidRequestError(f"{name} is {a_kind(value)}, not text.", path=name, hint=_TEXTS[name])


_TEXTS: Final = {
    "region": 'Pass region="us-east-1".',
    "profile": "Pass the name of a profile of the AWS configuration.",
    "endpoint_url": 'Pass endpoint_url="https://...".',
    "control_endpoint_url": 'Pass control_endpoint_url="https://...".',
}


def checked_settings(settings: object) -> dict[str, Any]:
    """Return the defaults of a client. Raises InvalidRequestError unless they are a mapping of known names."""
    if settings is not None and not isinstance(settings, Mapping):
        raise InvalidRequestError(
            f"settings is {a_kind(settings)}, not a mapping.",
            path="settings",
            hint='Pass the keywords of all calls: settings={"max_tokens": 500}.',
        )
    defaults = dict(cast("Mapping[str, Any]", settings or {}))
    check_names(defaults, verb="BedrockClient(settings=...)")
    check_options(defaults.get("timeouts"), defaults.get("retry"))
    return defaults


def of_kind(name: str, value: T | None, kind: type[T]) -> T | None:
    """Return the value of an argument. Raises InvalidRequestError when it is of another kind."""
    if value is not None and not isinstance(value, kind):
        raise InvalidRequestError(
            f"{name} is {a_kind(value)}, not {kind.__name__}.", path=name, hint=f"Pass {_EXAMPLES[name]}."
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
    """Refuse anything but None or a number of seconds. Raises InvalidRequestError."""
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or math.isnan(seconds):
        shown = "nan" if isinstance(seconds, float) else a_kind(seconds)
        raise InvalidRequestError(f"{name} is {shown}, not a number of seconds.", path=name, hint=hint)
