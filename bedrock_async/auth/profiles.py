"""The profiles of the AWS configuration files, read without botocore but in the same way.

Only non-secret data is used here: names, and settings such as ``region`` and ``endpoint_url``. Reading takes a few
hundred microseconds of file access: with an event loop, do it in a worker thread or once at start-up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from ..errors import CredentialsError, InvalidRequestError

__all__ = ["ConfigReader", "ProfileSettings", "Profiles", "profile_name", "read_config_file", "read_profiles"]

ConfigReader: TypeAlias = Callable[[str], str | None]
"""Returns the text of a configuration file, given its path as configured; None if there is no such file."""

_DEFAULT_CONFIG_FILE: Final = "~/.aws/config"
_DEFAULT_CREDENTIALS_FILE: Final = "~/.aws/credentials"


class Profiles(msgspec.Struct, frozen=True):
    """The profiles of the two files, and the file that each came from."""

    config_file: str
    credentials_file: str
    in_config: Mapping[str, Mapping[str, str]]
    in_credentials: Mapping[str, Mapping[str, str]]
    services: Mapping[str, Mapping[str, str]] = msgspec.field(default_factory=dict[str, Mapping[str, str]])
    """The ``[services NAME]`` sections of the config file; the settings of a service are a text, not parsed yet."""

    @property
    def names(self) -> list[str]:
        """Return the names of all profiles, sorted."""
        return sorted({*self.in_config, *self.in_credentials})

    def setting(self, profile: str, key: str) -> tuple[str, str] | None:
        """Return the value of ``key`` in the profile and the file that contains it, or None if it is not set.

        The credentials file takes precedence, as in botocore's Session.full_config.
        """
        for profiles, path in (
            (self.in_credentials, self.credentials_file),
            (self.in_config, self.config_file),
        ):
            value = profiles.get(profile, {}).get(key, "").strip()
            if value:
                return value, path
        return None


def read_config_file(path: str) -> str | None:
    """Return the text of the file, or None if there is none; ``~`` and ``$NAME`` in the path are expanded.

    Raises CredentialsError when the file exists but cannot be read.
    """
    try:
        return Path(os.path.expandvars(path)).expanduser().read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except (OSError, UnicodeDecodeError, RuntimeError) as exc:
        raise CredentialsError(
            f"The AWS configuration file {path} cannot be read ({type(exc).__name__}).",
            hint="Make it a readable UTF-8 text file, or point AWS_CONFIG_FILE elsewhere.",
        ) from exc


def read_profiles(environ: Mapping[str, str], *, reader: ConfigReader = read_config_file) -> Profiles:
    """Return the profiles of the files named by AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE, or the default files.

    Raises CredentialsError when a file exists but is malformed.
    """
    config_file = environ.get("AWS_CONFIG_FILE") or _DEFAULT_CONFIG_FILE
    credentials_file = environ.get("AWS_SHARED_CREDENTIALS_FILE") or _DEFAULT_CREDENTIALS_FILE
    in_config: dict[str, Mapping[str, str]] = {}
    services: dict[str, Mapping[str, str]] = {}
    for section, settings in _sections(config_file, reader).items():
        if section == "default":
            in_config[section] = settings
        elif name := _name_of_section(section, "profile"):
            in_config[name] = settings
        elif name := _name_of_section(section, "services"):
            services[name] = settings
    return Profiles(config_file, credentials_file, in_config, _sections(credentials_file, reader), services)


class ProfileSettings:
    """The settings of one profile: ``profile``, else the one that the environment names, else ``default``.

    The files are read once, when a setting is first requested.
    """

    def __init__(
        self, environ: Mapping[str, str], *, profile: str | None = None, reader: ConfigReader = read_config_file
    ) -> None:
        self.profile = profile or profile_name(environ) or "default"
        self._environ = environ
        self._reader = reader

    def setting(self, key: str, *, service: str | None = None) -> tuple[str, str] | None:
        """Return the value of ``key`` and a phrase that says where it is set, or None if it is not set.

        With ``service`` (``"bedrock_runtime"``), the value is taken from the services section that the profile names.
        Raises CredentialsError when a file cannot be read, InvalidRequestError when there is no such section. [AWS SDKs
        and Tools Reference Guide, "Service-specific endpoints"]
        """
        if service is not None:
            return self._service_setting(key, service)
        found = self._profiles.setting(self.profile, key)
        return found and (found[0], f"profile {self.profile!r} in {found[1]}")

    @cached_property
    def _profiles(self) -> Profiles:
        return read_profiles(self._environ, reader=self._reader)

    def _service_setting(self, key: str, service: str) -> tuple[str, str] | None:
        named = self._profiles.setting(self.profile, "services")
        if named is None:
            return None
        section, path = named[0], self._profiles.config_file
        if section not in self._profiles.services:
            raise InvalidRequestError(
                f"the profile {self.profile!r} names the services section {section!r}, which is not in {path}.",
                path="profile",
                hint=f"Write a section [services {section}], or remove the line from the profile.",
            )
        value = _nested(self._profiles.services[section].get(service, ""), where=f"{service} of [services {section}]")
        return (value[key], f"services section {section!r} in {path}") if value.get(key) else None


def profile_name(environ: Mapping[str, str]) -> str | None:
    """Return the profile that the environment selects; AWS_DEFAULT_PROFILE precedes AWS_PROFILE, as in botocore."""
    return environ.get("AWS_DEFAULT_PROFILE") or environ.get("AWS_PROFILE") or None


def _sections(path: str, reader: ConfigReader) -> dict[str, dict[str, str]]:
    text = reader(path)
    if text is None:
        return {}
    import configparser  # imported only if there is such a file

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as exc:
        kind = type(exc).__name__
    else:
        return {section: dict(parser.items(section)) for section in parser.sections()}
    # Raised outside the handler: configparser quotes the offending lines, which may contain a secret key.
    raise CredentialsError(
        f"The AWS configuration file {path} is not a valid INI file ({kind}).",
        hint="Sections look like [profile dev], settings like region = us-east-1; neither may occur twice.",
    )


def _name_of_section(section: str, kind: str) -> str | None:
    """Return the name in a section's title (``profile dev`` -> ``dev``); None for a section of another kind."""
    if not section.startswith(kind):
        return None
    import shlex

    try:
        words = shlex.split(section)
    except ValueError:
        return None
    match words:
        case [first, name] if first == kind:
            return name
        case _:
            return None


def _nested(text: str, *, where: str) -> dict[str, str]:
    """Return the settings in the indented lines below a key."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if text and (not text.startswith("\n") or any("=" not in line for line in lines)):
        raise InvalidRequestError(
            f"{where} in the AWS configuration file contains something other than indented settings.",
            path="profile",
            hint="Below the section: a line `bedrock_runtime =`, and below that, indented, `endpoint_url = URL`.",
        )
    pairs = (line.partition("=")[::2] for line in lines)
    return {key.strip(): value.strip() for key, value in pairs}
