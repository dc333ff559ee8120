"""Selects the credentials of a client: those passed, else those in the environment, else AWS's default chain."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ..errors import InvalidRequestError
from ._protocol import Authenticator
from .bearer import BearerAuthenticator
from .credentials import ApiKey, ApiKeyProvider, Credentials, CredentialsProvider
from .environment import API_KEY_VARIABLE, EnvironmentSource, environment_api_key
from .session import AwsSession, SessionSource, open_session, session_kind
from .signing import ProviderSource, RefreshingAuthenticator, StaticAuthenticator

__all__ = ["authenticator_of_api_key", "authenticator_of_credentials", "resolve_authenticator"]


def resolve_authenticator(
    *,
    environ: Mapping[str, str],
    credentials: Credentials | CredentialsProvider | None = None,
    api_key: str | ApiKey | ApiKeyProvider | None = None,
    session: AwsSession | None = None,
    profile: str | None = None,
    region: str | None = None,
) -> Authenticator:
    """Return the authenticator for the arguments and ``environ``; reads no file and imports nothing.

    At most one of ``credentials``, ``api_key``, ``session`` and ``profile`` may be given, and is used. Otherwise it is
    the API key in AWS_BEARER_TOKEN_BEDROCK, else the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else the
    default chain: profile, assumed role, web identity, SSO, process, container, instance metadata. ``region`` is where
    the chain assumes roles when neither profile nor environment name one. Whether there are any credentials is only
    known in `Authenticator.prepare`. Raises InvalidRequestError for more than one of them, or one of the wrong type.
    """
    passed = [
        name
        for name, value in (
            ("credentials", credentials),
            ("api_key", api_key),
            ("session", session),
            ("profile", profile),
        )
        if value is not None
    ]
    if len(passed) > 1:
        raise InvalidRequestError(
            f"{', '.join(passed[:-1])} and {passed[-1]} were passed; only one source of credentials is allowed.",
            path=passed[-1],
            hint="Pass one of them.",
        )
    if credentials is not None:
        return authenticator_of_credentials(credentials)
    if api_key is not None:
        return authenticator_of_api_key(api_key)
    if session is not None:
        return _from_session(session)
    if profile is None and environ.get(API_KEY_VARIABLE):
        return _from_environment_api_key(environ)
    if profile is None and EnvironmentSource.is_set(environ):
        return RefreshingAuthenticator(EnvironmentSource(environ))
    return _from_chain(profile, region, environ)


def authenticator_of_credentials(credentials: Credentials | CredentialsProvider) -> Authenticator:
    """Return an authenticator that signs with these credentials. Raises InvalidRequestError for another type."""
    if isinstance(credentials, Credentials):
        return StaticAuthenticator(credentials)
    if callable(credentials):
        return RefreshingAuthenticator(ProviderSource(credentials))
    raise _wrong_type("credentials", credentials, "Credentials(access_key_id, secret_access_key) or a callable")


def authenticator_of_api_key(api_key: str | ApiKey | ApiKeyProvider) -> Authenticator:
    """Return an authenticator that sends this key. Raises InvalidRequestError for another type or an invalid key."""
    if isinstance(api_key, str | ApiKey) or callable(api_key):
        return BearerAuthenticator(api_key)
    raise _wrong_type("api_key", api_key, "the key as a str, an ApiKey or a callable")


def _from_session(session: object) -> Authenticator:
    if not isinstance(session, AwsSession):
        raise _wrong_type("session", session, "a session of aiobotocore, aioboto3, botocore or boto3")
    name = f"session argument ({session_kind(session)})"
    return RefreshingAuthenticator(SessionSource(lambda: session, name=name, owned=False))


def _from_environment_api_key(environ: Mapping[str, str]) -> Authenticator:
    async def read() -> ApiKey:
        return environment_api_key(environ)

    return BearerAuthenticator(read, source=f"environment ({API_KEY_VARIABLE})")


def _from_chain(profile: str | None, region: str | None, environ: Mapping[str, str]) -> Authenticator:
    name = "AWS default chain" if profile is None else f"profile {profile!r}"
    opener = partial(open_session, profile=profile, region=region, environ=environ)
    return RefreshingAuthenticator(SessionSource(opener, name=name, owned=True))


def _wrong_type(name: str, value: object, expected: str) -> InvalidRequestError:
    return InvalidRequestError(f"{name} is of type {type(value).__name__}.", path=name, hint=f"Pass {expected}.")
