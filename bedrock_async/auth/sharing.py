"""A client's credentials for requests that it does not sign itself, such as reading S3 objects."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, runtime_checkable

from ..errors import CredentialsError
from ._protocol import Authenticator
from .credentials import Credentials

__all__ = ["HoldsCredentials", "shared_credentials"]


@runtime_checkable
class HoldsCredentials(Protocol):
    """An authenticator that signs with AWS credentials, and exposes them."""

    @property
    def credentials(self) -> Credentials | None:
        """The current credentials; None before `Authenticator.prepare`."""
        ...


async def shared_credentials(authenticator: Authenticator, now: datetime, *, purpose: str) -> Credentials:
    """Return the AWS credentials that ``authenticator`` signs with, refreshed if due.

    ``purpose`` completes the message "... cannot be used for". Raises CredentialsError when they cannot be obtained,
    and for an API key, which only Bedrock accepts.
    """
    if not isinstance(authenticator, HoldsCredentials):
        raise CredentialsError(
            f"the client authenticates with the {authenticator.source}, which cannot be used for {purpose}.",
            hint="An Amazon Bedrock API key works only for Bedrock. Use a client with AWS credentials for this, in "
            "this process or another: BedrockClient(credentials=..., profile=... or session=...).",
        )
    if not authenticator.ready(now):
        await authenticator.prepare(now)
    credentials = authenticator.credentials
    if credentials is None:
        raise CredentialsError(f"The credentials of the {authenticator.source} are not loaded.", hint="Try again.")
    return credentials
