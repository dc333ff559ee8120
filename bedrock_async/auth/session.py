"""Credentials from AWS sessions: existing ones (aiobotocore, aioboto3, botocore, boto3) or one of our own.

Nothing here imports an AWS library at import time or on the event loop.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Final, Protocol, runtime_checkable

from ..errors import BedrockError, CredentialsError, ExpiredCredentialsError, NoCredentialsError, ProfileNotFoundError
from .credentials import Credentials
from .environment import API_KEY_VARIABLE
from .profiles import profile_name, read_profiles
from .refresh import call_off_loop

__all__ = ["AwsSession", "SessionSource", "as_credentials_error", "open_session", "session_kind", "session_profile"]


@runtime_checkable
class AwsSession(Protocol):
    """What is needed of an aiobotocore, aioboto3, botocore or boto3 session."""

    def get_credentials(self) -> object:
        """Return the session's credentials object, or an awaitable for it."""
        ...


class _BotocoreSession(AwsSession, Protocol):
    """What is needed of the session that we open."""

    def get_config_variable(self, logical_name: str) -> object: ...
    def set_config_variable(self, logical_name: str, value: str) -> None: ...


@runtime_checkable
class _SessionCredentials(Protocol):
    """Matches botocore's Credentials, RefreshableCredentials and DeferredRefreshableCredentials, and aiobotocore's."""

    def get_frozen_credentials(self) -> object | Awaitable[object]: ...


@runtime_checkable
class _FrozenCredentials(Protocol):
    """Matches botocore's ReadOnlyCredentials, which has an ``account_id`` only in later versions."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


# The session itself refreshes, with botocore's own windows, when its frozen credentials are requested. Requesting them
# costs a thread hop (some 50 us), and nearly always does nothing else.
_ASK_AGAIN_AFTER: Final = timedelta(minutes=1)

WAYS_FORWARD: Final = (
    "Either configure AWS credentials (`aws configure`, `aws sso login`, a role, or AWS_ACCESS_KEY_ID and "
    f"AWS_SECRET_ACCESS_KEY), or use an Amazon Bedrock API key ({API_KEY_VARIABLE} or api_key=...)."
)

_LIBRARIES: Final = frozenset({"aioboto3", "aiobotocore", "boto3", "botocore"})

# The names of botocore's exceptions, so that botocore need not be imported to recognise them.
_SIGNED_OUT: Final = frozenset(
    {
        "LoginRefreshRequired",
        "LoginTokenLoadError",
        "SSOTokenLoadError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)


class SessionSource:
    """Credentials from a session.

    ``open_session`` returns the session; it is called in a worker thread at the first fetch. An ``owned`` session is
    dropped and opened again when its credentials are refused, so that files and services are consulted anew. Only one
    thread at a time, the holder of ``lock``, loads the session's credentials.
    """

    lifetime: timedelta | None = _ASK_AGAIN_AFTER

    def __init__(
        self,
        open_session: Callable[[], AwsSession],
        *,
        name: str,
        owned: bool,
        lock: AbstractContextManager[object] | None = None,
    ) -> None:
        self.name = name
        self._where = name
        self._open = open_session
        self._owned = owned
        self._session: AwsSession | None = None
        self._credentials: _SessionCredentials | None = None
        # Held in worker threads only: if a cancelled waiter has left a thread behind that is still querying the
        # metadata service, the next one waits for that answer, which the session keeps, instead of querying again.
        self._loading = threading.Lock() if lock is None else lock

    async def fetch(self) -> Credentials:
        """Return the session's credentials, which the session refreshes when it considers that due.

        A botocore or boto3 session does all its work in a worker thread; an aiobotocore or aioboto3 session works on
        the event loop, as designed. Raises NoCredentialsError, ProfileNotFoundError, ExpiredCredentialsError when a
        sign-in has expired, or CredentialsError with botocore's reason.
        """
        try:
            frozen = await self._frozen_credentials()
        except BedrockError:
            raise
        except Exception as exc:
            raise as_credentials_error(exc, source=self._where) from exc
        account_id: object = getattr(frozen, "account_id", None)
        return Credentials(
            frozen.access_key,
            frozen.secret_key,
            frozen.token or None,
            account_id=account_id if isinstance(account_id, str) else None,
        )

    def forget(self) -> bool:
        """Drop what can be loaded again; return whether other credentials may result.

        For a session that was passed in, they may if its credentials are of a refreshable kind.
        """
        holder = self._credentials
        if not self._owned:
            return hasattr(holder, "refresh_needed")
        self._session = self._credentials = None
        return True

    async def _frozen_credentials(self) -> _FrozenCredentials:
        holder = self._credentials
        if holder is None:
            loaded: object = await call_off_loop(self._load)
            if loaded is None:
                raise NoCredentialsError(f"The {self._where} has no credentials.", hint=WAYS_FORWARD)
            if not isinstance(loaded, _SessionCredentials):
                raise _unknown_credentials(loaded)
            holder = self._credentials = loaded
            method: object = getattr(loaded, "method", None)
            if isinstance(method, str) and method:
                self.name = f"{self._where}: {method}"
        frozen: object = await call_off_loop(holder.get_frozen_credentials)
        if not isinstance(frozen, _FrozenCredentials):
            raise _unknown_credentials(frozen)
        return frozen

    def _load(self) -> object | Awaitable[object]:
        with self._loading:
            session = self._session
            if session is None:
                session = self._session = self._open()
            # Reading this attribute makes the session load and cache the configuration files here, in a worker thread,
            # instead of later on the event loop, as aiobotocore would.
            getattr(session, "available_profiles", None)
            return session.get_credentials()


def open_session(*, profile: str | None, region: str | None, environ: Mapping[str, str]) -> AwsSession:
    """Return a botocore session for the profile, or for AWS's default chain if it is None. Blocks.

    ``region`` is where roles are assumed when neither profile nor environment name one. botocore reads the process's
    own environment, whatever ``environ`` is. Raises ProfileNotFoundError, and NoCredentialsError when botocore is not
    installed.
    """
    wanted = profile or profile_name(environ)
    if wanted is not None:
        profiles = read_profiles(environ)
        if wanted not in profiles.names:
            there = ", ".join(profiles.names) or "none"
            raise ProfileNotFoundError(
                f"The profile {wanted!r} is neither in {profiles.config_file} nor in {profiles.credentials_file}; "
                f"profiles found: {there}.",
                hint="Correct the name (profile=..., AWS_PROFILE), or create it with `aws configure --profile NAME`.",
            )
    # Always botocore in a worker thread, even if aiobotocore (which installs botocore) is available: assuming a role on
    # the loop blocks it for 32-36 ms each time (client models, TLS context, files), in a thread for 12-18 ms (the GIL),
    # and takes 64 ms in all instead of 45.  [two shared cores, STS faked on loopback]
    try:
        library = importlib.import_module("botocore.session")
    except ImportError as exc:
        what = "AWS default chain" if wanted is None else f"profile {wanted!r}"
        raise NoCredentialsError(
            "No AWS credentials or Bedrock API key are among the arguments or in the environment, and the "
            f"{what} cannot be used, because neither aiobotocore nor boto3 is installed.",
            hint=f'{WAYS_FORWARD} Profiles, SSO, roles and metadata services need: pip install "bedrock-async[aws]".',
        ) from exc
    session: _BotocoreSession = library.Session(profile=profile)
    if region is not None and not session.get_config_variable("region"):
        session.set_config_variable("region", region)
    return session


def session_kind(session: object) -> str:
    """Return the library of the session: ``boto3``, ``aiobotocore``, ..."""
    return type(session).__module__.partition(".")[0]


def session_profile(session: object) -> str | None:
    """Return the profile that a session was created for, or None. Reads no file."""
    for name in ("profile", "profile_name"):  # the latter for boto3 and aioboto3
        profile: object = getattr(session, name, None)
        if isinstance(profile, str) and profile:
            return profile
    return None


def as_credentials_error(exc: Exception, *, source: str) -> CredentialsError:
    """Return our error for an exception that a session raised."""
    kinds = {kind.__name__ for kind in type(exc).__mro__}
    # Messages of botocore and of the operating system name profiles, files and roles, never keys. Others may not be
    # safe.
    known = isinstance(exc, OSError) or session_kind(exc) in _LIBRARIES
    said = str(exc) if known and str(exc) else f"{type(exc).__name__} was raised."
    if "ProfileNotFound" in kinds:
        return ProfileNotFoundError(
            f"The {source}: {said}", hint="`aws configure list-profiles` lists the available profiles."
        )
    if not kinds.isdisjoint(_SIGNED_OUT):
        return ExpiredCredentialsError(
            f"The {source}: {said}", hint="Sign in again with `aws sso login` or `aws login`, naming the profile."
        )
    return CredentialsError(
        f"The {source} failed: {said}",
        hint="`aws sts get-caller-identity` with the same profile and environment shows whether this library is the "
        "cause.",
    )


def _unknown_credentials(value: object) -> CredentialsError:
    return CredentialsError(
        f"The AWS session returned {type(value).__name__}, which is not a botocore credentials object.",
        hint="Pass a session of aiobotocore, aioboto3, botocore or boto3, or credentials=Credentials(...).",
    )
