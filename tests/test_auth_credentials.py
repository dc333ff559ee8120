"""Credentials and API keys as values: what they refuse, and that they never show a secret."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from bedrock_async.auth import ApiKey, Credentials
from bedrock_async.errors import InvalidRequestError

CANARY = "CANARY/secret+value"
EXPIRY = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r:>80}".format])
def test_no_secret_is_shown(show: Callable[[object], str]) -> None:
    """Printing, logging or formatting credentials shows whose they are and when they expire, never the secret."""
    shown = show(Credentials("AKIDEXAMPLE", CANARY, CANARY + "token", expires_at=EXPIRY))
    assert "AKIDEXAMPLE" in shown
    assert "2030-01-01" in shown
    assert "session_token=<hidden>" in shown
    assert CANARY not in shown
    assert "session_token" not in show(Credentials("AKIDEXAMPLE", CANARY))
    assert CANARY not in show(ApiKey(CANARY))
    assert "2030-01-01" in show(ApiKey(CANARY, EXPIRY))


@pytest.mark.parametrize("member", ["access_key_id", "secret_access_key", "session_token"])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "is empty"),
        (CANARY + "\n", f"white space at position {len(CANARY)} of {len(CANARY) + 1}"),
        (" " + CANARY, "white space at position 0"),
        (CANARY + "\r\nx-amz-evil: 1", "white space"),
        (CANARY + "é", "outside visible ASCII"),
        (CANARY + "\0", "outside visible ASCII"),
    ],
)
def test_unfit_members_are_refused_by_name(member: str, value: str, reason: str) -> None:
    """What cannot stand in a header is refused at once, naming the member and the place, not the value."""
    members = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret", "session_token": "token"}
    members[member] = value
    with pytest.raises(InvalidRequestError) as caught:
        Credentials(members["access_key_id"], members["secret_access_key"], members["session_token"])
    assert caught.value.path == member
    assert reason in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("value", ["", "key\n", "two words", "schlüssel"])
def test_unfit_api_keys_are_refused(value: str) -> None:
    """An API key that would break the header is refused without being quoted."""
    with pytest.raises(InvalidRequestError, match="api_key") as caught:
        ApiKey(value)
    assert not value or value not in str(caught.value)


def test_a_member_of_another_type_is_refused() -> None:
    """An environment variable that is not set arrives as None; the error says which member it was."""
    with pytest.raises(InvalidRequestError, match="secret_access_key must be a str, not NoneType"):
        Credentials("AKIDEXAMPLE", None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_an_expiry_needs_a_time_zone() -> None:
    """A naive expiry could be off by hours, so it is refused."""
    naive = datetime(2030, 1, 1)  # noqa: DTZ001
    with pytest.raises(InvalidRequestError, match="without a time zone"):
        Credentials("A", "s", expires_at=naive)
    with pytest.raises(InvalidRequestError, match="without a time zone"):
        ApiKey("k", naive)


def test_values_compare_copy_and_pickle() -> None:
    """Credentials are plain values: equal when their members are, and fit to be sent to another process."""
    credentials = Credentials("A", "s", "t", expires_at=EXPIRY, account_id="123456789012")
    assert copy.deepcopy(credentials) == pickle.loads(pickle.dumps(credentials)) == credentials  # noqa: S301
    assert credentials != Credentials("A", "other", "t", expires_at=EXPIRY, account_id="123456789012")
