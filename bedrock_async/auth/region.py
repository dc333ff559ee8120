"""Selects the region of a client, and records where it was found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Protocol, runtime_checkable

import msgspec

from ..errors import InvalidRequestError
from .profiles import ConfigReader, ProfileSettings, read_config_file
from .session import AwsSession, as_credentials_error, session_kind

__all__ = ["DEFAULT_REGION", "RegionChoice", "resolve_region"]

DEFAULT_REGION: Final = "us-west-2"

# A region becomes a label of the endpoint's host name and a part of the signature's scope.
_REGION: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class RegionChoice(msgspec.Struct, frozen=True):
    """A region, and a phrase that says where it was found: ``"profile 'dev' in ~/.aws/config"``."""

    region: str
    source: str


@runtime_checkable
class _WithRegionName(Protocol):
    """boto3 and aioboto3 sessions."""

    @property
    def region_name(self) -> object: ...


@runtime_checkable
class _WithConfigVariable(Protocol):
    """botocore and aiobotocore sessions."""

    def get_config_variable(self, logical_name: str) -> object: ...


def resolve_region(
    region: str | None,
    *,
    environ: Mapping[str, str],
    session: AwsSession | None = None,
    profile: str | None = None,
    config: ProfileSettings | None = None,
    config_reader: ConfigReader = read_config_file,
) -> RegionChoice:
    """Return the region to use, and where it was found.

    It is the argument, else the session's region, else AWS_DEFAULT_REGION, else the profile's region in the AWS
    configuration files, else AWS_REGION, else us-west-2. The profile is ``profile``, else the one that the environment
    names, else ``default``; with ``config`` it is that one's. The files are read only if needed; a session reads them
    itself. Raises InvalidRequestError for an invalid region name, and CredentialsError when the session or a
    configuration file cannot be read.
    """
    config = config or ProfileSettings(environ, profile=profile, reader=config_reader)
    choice = _first_choice(region, session, environ, config)
    if not _REGION.fullmatch(choice.region):
        raise InvalidRequestError(
            f"{choice.region!r} ({choice.source}) is not a region name.",
            path="region",
            hint="A region is lower-case letters, digits and hyphens, such as us-east-1.",
        )
    return choice


def _first_choice(
    region: str | None, session: AwsSession | None, environ: Mapping[str, str], config: ProfileSettings
) -> RegionChoice:
    if region is not None:
        return RegionChoice(region, "argument")
    if session is not None and (found := _region_of_session(session)):
        return RegionChoice(found, f"session ({session_kind(session)})")
    if found := environ.get("AWS_DEFAULT_REGION"):
        return RegionChoice(found, "AWS_DEFAULT_REGION")
    if session is None and (setting := config.setting("region")):
        return RegionChoice(*setting)
    if found := environ.get("AWS_REGION"):
        return RegionChoice(found, "AWS_REGION")
    return RegionChoice(DEFAULT_REGION, "default")


def _region_of_session(session: AwsSession) -> str | None:
    try:
        if isinstance(session, _WithConfigVariable):
            found = session.get_config_variable("region")
        elif isinstance(session, _WithRegionName):
            found = session.region_name
        else:
            return None
    except Exception as exc:
        # botocore reads its configuration only here, so this is where a missing profile is reported.
        raise as_credentials_error(exc, source=f"session ({session_kind(session)})") from exc
    return found if isinstance(found, str) and found else None
