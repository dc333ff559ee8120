"""The limits of a client are checked when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from bedrock_async import InvalidRequestError, Limits


@pytest.mark.parametrize("name", ["max_response_bytes", "max_connections"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "10", True])
def test_a_limit_that_nothing_can_keep_is_refused(name: str, value: object) -> None:
    """The error names the limit and what was given, not the first call that meets it."""
    wrong: Any = {name: value}
    with pytest.raises(
        InvalidRequestError, match=rf"limits\.{name} is {value!r}; it must be a whole number, 1 or more"
    ) as caught:
        Limits(**wrong)
    assert caught.value.path == f"limits.{name}"
    assert caught.value.hint


def test_no_limit_of_bytes_is_refused() -> None:
    """A body that is read whole has a limit in any case; the number of connections may be left to the machine."""
    nothing: Any = None
    with pytest.raises(InvalidRequestError, match="max_response_bytes is None"):
        Limits(max_response_bytes=nothing)
    assert Limits(max_response_bytes=1, max_connections=1) == Limits(1, 1)
    assert Limits().max_connections is None
