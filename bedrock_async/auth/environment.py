"""Credentials and API keys in environment variables, read as botocore reads them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from ..errors import CredentialsError, InvalidRequestError
from .credentials import ApiKey, Credentials

__all__ = ["API_KEY_VARIABLE", "EnvironmentSource", "environment_api_key"]

API_KEY_VARIABLE: Final = "AWS_BEARER_TOKEN_BEDROCK"

# The older name takes precedence, as in botocore's EnvProvider.TOKENS.
_TOKEN_VARIABLES: Final = ("AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")


class EnvironmentSource:
    """Credentials from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_CREDENTIAL_EXPIRATION.

    The variables are read at every fetch, so that changes which the process makes to its own environment are noticed.
    """

    lifetime: timedelta | None = None

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.name = "environment (AWS_ACCESS_KEY_ID)"
        self._environ = environ

    @staticmethod
    def is_set(environ: Mapping[str, str]) -> bool:
        """Return whether the environment contains a key; an empty variable counts as unset, as in botocore."""
        return bool(environ.get("AWS_ACCESS_KEY_ID"))

    async def fetch(self) -> Credentials:
        """Read the variables. Raises CredentialsError, which names the variable that is missing or malformed."""
        environ = self._environ
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            if not environ.get(name):
                raise CredentialsError(
                    f"The environment variable {name} is not set.",
                    hint="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together: set both, or neither.",
                )
        token = next((environ[name] for name in _TOKEN_VARIABLES if environ.get(name)), None)
        try:
            return Credentials(
                environ["AWS_ACCESS_KEY_ID"],
                environ["AWS_SECRET_ACCESS_KEY"],
                token,
                expires_at=_expiry(environ.get("AWS_CREDENTIAL_EXPIRATION")),
                account_id=environ.get("AWS_ACCOUNT_ID") or None,
            )
        except InvalidRequestError as exc:
            raise CredentialsError(f"The AWS credentials in the environment: {exc.message}", hint=exc.hint) from exc

    def forget(self) -> bool:
        """Return True: the variables are read again."""
        return True


def environment_api_key(environ: Mapping[str, str]) -> ApiKey:
    """Return the API key in AWS_BEARER_TOKEN_BEDROCK. Raises CredentialsError when it is missing or malformed."""
    try:
        return ApiKey(environ.get(API_KEY_VARIABLE, ""))
    except InvalidRequestError as exc:
        raise CredentialsError(f"The environment variable {API_KEY_VARIABLE}: {exc.message}", hint=exc.hint) from exc


def _expiry(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        expiry = datetime.fromisoformat(text)
    except ValueError as exc:
        raise CredentialsError(
            f"AWS_CREDENTIAL_EXPIRATION is {text!r}, which is not an ISO 8601 timestamp.",
            hint="Write it as 2030-01-31T12:00:00Z.",
        ) from exc
    return expiry if expiry.tzinfo is not None else expiry.replace(tzinfo=UTC)
