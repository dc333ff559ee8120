"""The region of a client: where it comes from, in which order, and what it is called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bedrock_async.auth import RegionChoice, read_profiles, resolve_region
from bedrock_async.errors import CredentialsError, InvalidRequestError, ProfileNotFoundError

CONFIG = """
[default]
region = eu-north-1
[profile dev]
region = eu-west-1
s3 =
    addressing_style = path
[profile "two words"]
region=ap-south-1
[profile bare]
output = json
[sso-session corp]
sso_region = us-east-2
[plugins]
region = us-gov-east-1
"""
CREDENTIALS = """
[default]
aws_access_key_id = AKIDEXAMPLE
[old]
aws_access_key_id = AKIDEXAMPLE
region = sa-east-1
"""
CANARY = "CANARY-secret"


class Files:
    """Configuration files in memory; counts how often they are read."""

    def __init__(self, **texts: str) -> None:
        self.texts = {"~/.aws/config": CONFIG, "~/.aws/credentials": CREDENTIALS} | texts
        self.reads = 0

    def read(self, path: str) -> str | None:
        """Return the text, as `read_config_file` does."""
        self.reads += 1
        return self.texts.get(path)


class Boto3Session:
    """As much of a boto3 session as the region needs."""

    def __init__(self, region_name: str | None) -> None:
        self.region_name = region_name

    def get_credentials(self) -> object:
        """Make it a session."""
        raise AssertionError("the region does not need credentials")


class BotocoreSession:
    """As much of a botocore session as the region needs."""

    def __init__(self, region: str | Exception | None) -> None:
        self.region = region

    def get_credentials(self) -> object:
        """Make it a session."""
        raise AssertionError("the region does not need credentials")

    def get_config_variable(self, logical_name: str) -> object:
        """Return the region, as botocore does."""
        assert logical_name == "region"
        if isinstance(self.region, Exception):
            raise self.region
        return self.region


OUR_SESSION = f"session ({__name__.partition('.')[0]})"
EVERYTHING = {"AWS_DEFAULT_REGION": "us-east-2", "AWS_PROFILE": "dev", "AWS_REGION": "ca-central-1"}


def without(*names: str) -> dict[str, str]:
    """Return an environment that says everything but this."""
    return {name: value for name, value in EVERYTHING.items() if name not in names}


@pytest.mark.parametrize(
    ("region", "session", "environ", "expected", "source"),
    [
        ("us-east-1", Boto3Session("eu-west-3"), EVERYTHING, "us-east-1", "argument"),
        (None, Boto3Session("eu-west-3"), EVERYTHING, "eu-west-3", OUR_SESSION),
        (None, BotocoreSession("eu-west-3"), EVERYTHING, "eu-west-3", OUR_SESSION),
        (None, BotocoreSession(None), without("AWS_DEFAULT_REGION"), "ca-central-1", "AWS_REGION"),
        (None, Boto3Session(None), {}, "us-west-2", "default"),
        (None, None, EVERYTHING, "us-east-2", "AWS_DEFAULT_REGION"),
        (None, None, without("AWS_DEFAULT_REGION"), "eu-west-1", "profile 'dev' in ~/.aws/config"),
        (None, None, {"AWS_REGION": "ca-central-1"}, "eu-north-1", "profile 'default' in ~/.aws/config"),
        (None, None, {"AWS_PROFILE": "bare", "AWS_REGION": "ca-central-1"}, "ca-central-1", "AWS_REGION"),
        (None, None, {"AWS_PROFILE": "bare"}, "us-west-2", "default"),
        (None, None, {"AWS_PROFILE": "missing"}, "us-west-2", "default"),
        (None, None, {"AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_REGION": "x"}, "eu-north-1", None),
    ],
)
def test_order(
    region: str | None,
    session: Boto3Session | BotocoreSession | None,
    environ: dict[str, str],
    expected: str,
    source: str | None,
) -> None:
    """The first that is set wins: argument, session, AWS_DEFAULT_REGION, profile, AWS_REGION, us-west-2."""
    choice = resolve_region(region, session=session, environ=environ, config_reader=Files().read)
    assert choice.region == expected
    assert source in {None, choice.source}


@pytest.mark.parametrize(
    ("profile", "environ", "expected", "source"),
    [
        ("dev", {"AWS_PROFILE": "old"}, "eu-west-1", "profile 'dev' in ~/.aws/config"),
        ("two words", {}, "ap-south-1", "profile 'two words' in ~/.aws/config"),
        ("old", {}, "sa-east-1", "profile 'old' in ~/.aws/credentials"),
        ("dev", {"AWS_DEFAULT_REGION": "us-east-2"}, "us-east-2", "AWS_DEFAULT_REGION"),
        (None, {"AWS_DEFAULT_PROFILE": "old", "AWS_PROFILE": "dev"}, "sa-east-1", None),
        ("plugins", {}, "us-west-2", "default"),
    ],
)
def test_profiles(profile: str | None, environ: dict[str, str], expected: str, source: str | None) -> None:
    """A profile that was passed beats those of the environment; only profile sections are profiles."""
    choice = resolve_region(None, profile=profile, environ=environ, config_reader=Files().read)
    assert choice.region == expected
    assert source in {None, choice.source}


def test_files_are_read_only_when_it_comes_to_that() -> None:
    """An argument, a session or AWS_DEFAULT_REGION costs no file access."""
    files = Files()
    resolve_region("us-east-1", environ={}, config_reader=files.read)
    resolve_region(None, session=Boto3Session("us-east-1"), environ={}, config_reader=files.read)
    resolve_region(None, environ=EVERYTHING, config_reader=files.read)
    assert files.reads == 0
    resolve_region(None, environ={}, config_reader=files.read)
    assert files.reads == 2


@pytest.mark.parametrize(
    "region", ["", " us-east-1", "us-east-1\n", "US-EAST-1", "us_east_1", "us-east-1/..", "a.b", "-x", "x" * 64]
)
def test_what_is_no_region_is_refused(region: str) -> None:
    """A region becomes part of a host name, so that anything else is an error that says where it came from."""
    with pytest.raises(InvalidRequestError, match=r"argument.*is not a region name") as caught:
        resolve_region(region, environ={})
    assert caught.value.path == "region"
    if region:
        with pytest.raises(InvalidRequestError, match=r"AWS_REGION.*is not a region name"):
            resolve_region(None, environ={"AWS_REGION": region}, config_reader=lambda _path: None)


@pytest.mark.parametrize("region", ["us-east-1", "us-gov-west-1", "eusc-de-east-1", "x" * 63, "local"])
def test_new_regions_are_accepted(region: str) -> None:
    """Regions are not listed anywhere, so that a new one works on its first day."""
    assert resolve_region(region, environ={}).region == region


@pytest.mark.parametrize(
    "text",
    [f"[default\nkey = {CANARY}", f"[default]\n{CANARY}", f"{CANARY}", f"[a]\nx={CANARY}\n[a]\n", "[a]\nx=1\nx=2"],
)
def test_a_broken_file_is_an_error_that_does_not_quote_it(text: str) -> None:
    """A configuration file that cannot be parsed is named; its lines, which may hold keys, are nowhere in the error."""
    with pytest.raises(CredentialsError, match=r"~/\.aws/credentials is not a valid INI file") as caught:
        resolve_region(None, environ={}, config_reader=Files(**{"~/.aws/credentials": text}).read)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_paths_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name the files; ~ and variables in them are expanded."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CONFIGS", str(tmp_path))
    (tmp_path / "conf").write_text(CONFIG)
    (tmp_path / "cred").write_text(CREDENTIALS)
    environ = {"AWS_CONFIG_FILE": "$CONFIGS/conf", "AWS_SHARED_CREDENTIALS_FILE": "~/cred"}
    assert resolve_region(None, environ=environ).source == "profile 'default' in $CONFIGS/conf"
    assert resolve_region(None, profile="old", environ=environ).source == "profile 'old' in ~/cred"
    assert read_profiles(environ).names == ["bare", "default", "dev", "old", "two words"]


@pytest.mark.parametrize("path", ["missing", "missing/below", "."])
def test_missing_files_are_no_error(tmp_path: Path, path: str) -> None:
    """A machine without configuration files gets the default region."""
    environ = {"AWS_CONFIG_FILE": str(tmp_path / path), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / path)}
    assert resolve_region(None, environ=environ) == RegionChoice("us-west-2", "default")


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are reported with the file's name."""
    (tmp_path / "config").write_bytes(b"[default]\nregion = \xff\xfe")
    with pytest.raises(CredentialsError, match="config cannot be read"):
        resolve_region(None, environ={"AWS_CONFIG_FILE": str(tmp_path / "config")})


class ProfileNotFound(Exception):  # noqa: N818
    """Named as botocore's."""


def test_a_session_that_cannot_read_its_profile() -> None:
    """A session of botocore looks for the profile only when it is asked for the region; the error is one of ours."""
    session = BotocoreSession(ProfileNotFound("The config profile (dev) could not be found"))
    with pytest.raises(ProfileNotFoundError):
        resolve_region(None, session=session, environ={})


@pytest.mark.parametrize("config", [CONFIG, f"[DEFAULT]\nregion = us-gov-west-1\n{CONFIG}"])
@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"AWS_PROFILE": "dev"},
        {"AWS_PROFILE": "old"},
        {"AWS_PROFILE": "two words"},
        {"AWS_PROFILE": "bare"},
        {"AWS_DEFAULT_PROFILE": "old", "AWS_PROFILE": "dev"},
        {"AWS_PROFILE": "dev", "AWS_DEFAULT_REGION": "us-east-2"},
    ],
)
def test_botocore_finds_the_same_region(
    environ: dict[str, str], config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our reading of the files agrees with botocore's, so that a client moves over without a surprise."""
    session_module: Any = pytest.importorskip("botocore.session")
    (tmp_path / "config").write_text(config)
    (tmp_path / "credentials").write_text(CREDENTIALS)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    theirs = session_module.Session().get_config_variable("region")
    assert resolve_region(None, environ=os.environ).region == (theirs or "us-west-2")
