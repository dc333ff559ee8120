"""The profiles of the AWS configuration files, read without botocore and as botocore reads them.

Only what is not secret is of interest here: names, and settings such as ``region``. Reading is a few hundred
microseconds of file access: on an event loop, do it in a worker thread or once at start.
"""

from __future__ import annotations

import configparser
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from ..errors import CredentialsError

__all__ = ["ConfigReader", "Profiles", "profile_name", "read_config_file", "read_profiles"]

ConfigReader: TypeAlias = Callable[[str], str | None]
"""Returns the text of a configuration file, given its path as it is configured; None when there is no such file."""

_DEFAULT_CONFIG_FILE: Final = "~/.aws/config"
_DEFAULT_CREDENTIALS_FILE: Final = "~/.aws/credentials"


@dataclass(frozen=True, slots=True)
class Profiles:
    """The profiles of the two files, and where each came from."""

    config_file: str
    credentials_file: str
    in_config: Mapping[str, Mapping[str, str]]
    in_credentials: Mapping[str, Mapping[str, str]]

    @property
    def names(self) -> list[str]:
        """Return the names of all profiles, sorted."""
        return sorted({*self.in_config, *self.in_credentials})

    def setting(self, profile: str, key: str) -> tuple[str, str] | None:
        """Return the value of ``key`` in the profile and the file it stands in; None when it is not set.

        The credentials file wins, as in botocore's Session.full_config.
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
    """Return the text of the file; ``~`` and ``$NAME`` are expanded. None when it is not there.

    Raises CredentialsError when it is there and cannot be read.
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
    """Return the profiles of the files that AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name, or the usual two.

    Raises CredentialsError when a file is there and is not what it should be.
    """
    config_file = environ.get("AWS_CONFIG_FILE") or _DEFAULT_CONFIG_FILE
    credentials_file = environ.get("AWS_SHARED_CREDENTIALS_FILE") or _DEFAULT_CREDENTIALS_FILE
    in_config: dict[str, Mapping[str, str]] = {}
    for section, settings in _sections(config_file, reader).items():
        name = _profile_of_section(section)
        if name is not None:
            in_config[name] = settings
    return Profiles(config_file, credentials_file, in_config, _sections(credentials_file, reader))


def profile_name(environ: Mapping[str, str]) -> str | None:
    """Return the profile that the environment asks for; AWS_DEFAULT_PROFILE wins over AWS_PROFILE, as in botocore."""
    return environ.get("AWS_DEFAULT_PROFILE") or environ.get("AWS_PROFILE") or None


def _sections(path: str, reader: ConfigReader) -> dict[str, dict[str, str]]:
    text = reader(path)
    if text is None:
        return {}
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as exc:
        kind = type(exc).__name__
    else:
        return {section: dict(parser.items(section)) for section in parser.sections()}
    # Raised outside the handler: configparser quotes the offending lines, and they may hold a secret key.
    raise CredentialsError(
        f"The AWS configuration file {path} is no valid INI file ({kind}).",
        hint="Sections look like [profile dev], settings like region = us-east-1; neither may occur twice.",
    )


def _profile_of_section(section: str) -> str | None:
    """``profile dev`` -> ``dev``, ``default`` -> ``default``; anything else is no profile."""
    if section == "default":
        return section
    if not section.startswith("profile"):
        return None
    try:
        words = shlex.split(section)
    except ValueError:
        return None
    match words:
        case ["profile", name]:
            return name
        case _:
            return None
