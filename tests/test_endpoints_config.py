"""Endpoints that a profile of the AWS configuration names, compared with what botocore makes of the same files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.configloader import load_config
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.exceptions import InvalidConfigError
from hypothesis import given
from hypothesis import strategies as st

from bedrock_async import (
    BedrockClient,
    ConnectionOptions,
    Credentials,
    CredentialsError,
    InvalidRequestError,
)
from bedrock_async.auth import ProfileSettings
from bedrock_async.testing import BedrockEmulator, ScriptedModel
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.transport import resolve_endpoint

MODEL: Final = "us.amazon.nova-lite-v1:0"
KEYS: Final = Credentials("AKIDEXAMPLE", "secret")
PUBLIC: Final = "https://bedrock-runtime.eu-west-1.amazonaws.com"
REPLY: Final = json.dumps(
    {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
        "metrics": {"latencyMs": 1},
    }
).encode()

CONFIG: Final = """
[default]
endpoint_url = https://default.example
[profile own]
endpoint_url = https://profile.example
services = local
[profile other]
endpoint_url = https://other.example
services = others
[profile bare]
region = eu-west-1
[profile fips]
use_fips_endpoint = true
[profile dual]
use_dualstack_endpoint = TRUE
[profile ignoring]
endpoint_url = https://profile.example
ignore_configured_endpoint_urls = true
[services local]
bedrock_runtime =
    endpoint_url = https://service.example/prefix
s3 =
    endpoint_url = https://s3.example
[services others]
bedrock =
  endpoint_url = https://control.example
"""


def config_of(text: str, environ: Mapping[str, str], profile: str | None = None) -> ProfileSettings:
    """Return the settings of a profile of a file in memory."""
    return ProfileSettings(environ, profile=profile, reader={"~/.aws/config": text}.get)


def url_of(profile: str | None, environ: Mapping[str, str], service: str = "bedrock-runtime", **more: Any) -> str:  # noqa: ANN401
    """Return the endpoint of a client in eu-west-1."""
    config = config_of(CONFIG, environ, profile)
    return str(resolve_endpoint("eu-west-1", service=service, environ=environ, config=config, **more))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what botocore reads from a file with `CONFIG` in it."""
    path = tmp_path_factory.mktemp("aws") / "config"
    path.write_text(CONFIG)
    return load_config(str(path))


@given(
    st.sampled_from(["default", "own", "other", "bare"]),
    st.sampled_from(["bedrock-runtime", "bedrock"]),
    st.dictionaries(
        st.sampled_from(["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL_BEDROCK"]),
        st.sampled_from(["", "https://a.example", "https://b.example"]),
    ),
)
def test_configured_urls_are_botocores(
    written: dict[str, Any], profile: str, service: str, environ: dict[str, str]
) -> None:
    """Variables go before the profile, what is said of one service before what is said of all; empty is not said."""
    found = ConfiguredEndpointProvider(written, written["profiles"][profile], service, environ).provide()
    assert url_of(profile, environ, service) == (found or f"https://{service}.eu-west-1.amazonaws.com")


@pytest.mark.parametrize(
    ("profile", "source"),
    [
        ("own", "services section 'local' in ~/.aws/config"),
        ("other", "profile 'other' in ~/.aws/config"),
        (None, "profile 'default' in ~/.aws/config"),
        ("bare", "region eu-west-1"),
    ],
)
def test_the_endpoint_says_where_it_comes_from(profile: str | None, source: str) -> None:
    """Whoever wonders about an endpoint is told the section and the file."""
    found = resolve_endpoint("eu-west-1", environ={}, config=config_of(CONFIG, {}, profile))
    assert found.source == source


@pytest.mark.parametrize(
    ("profile", "environ", "arguments", "url"),
    [
        ("ignoring", {}, {}, PUBLIC),
        ("ignoring", {"AWS_ENDPOINT_URL": "https://a.example"}, {}, PUBLIC),
        ("ignoring", {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"}, {}, "https://profile.example"),
        ("ignoring", {}, {"ignore_configured_urls": False}, "https://profile.example"),
        ("ignoring", {}, {"endpoint_url": "https://argument.example"}, "https://argument.example"),
        ("own", {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, {}, PUBLIC),
        ("own", {}, {"ignore_configured_urls": True}, PUBLIC),
        ("fips", {}, {}, "https://bedrock-runtime-fips.eu-west-1.amazonaws.com"),
        ("fips", {"AWS_USE_FIPS_ENDPOINT": "false"}, {}, PUBLIC),
        ("fips", {"AWS_USE_FIPS_ENDPOINT": ""}, {}, PUBLIC),
        ("fips", {}, {"use_fips": False}, PUBLIC),
        ("dual", {}, {}, "https://bedrock-runtime.eu-west-1.api.aws"),
        ("dual", {"AWS_USE_FIPS_ENDPOINT": "true"}, {}, "https://bedrock-runtime-fips.eu-west-1.api.aws"),
    ],
)
def test_switches_of_arguments_environment_and_profile(
    profile: str, environ: Mapping[str, str], arguments: Mapping[str, Any], url: str
) -> None:
    """The argument goes before the variable, and that before the profile; the first one to say something counts."""
    assert url_of(profile, environ, **arguments) == url


def test_a_profile_of_the_environment_counts() -> None:
    """AWS_PROFILE chooses the profile, unless one is passed."""
    assert url_of(None, {"AWS_PROFILE": "own"}) == "https://service.example/prefix"
    assert url_of("other", {"AWS_PROFILE": "own"}) == "https://other.example"


def test_the_credentials_file_counts_too() -> None:
    """botocore merges both files, the credentials file above the other; the services stand in the config file only."""
    texts = {
        "~/.aws/config": CONFIG,
        "~/.aws/credentials": "[bare]\nservices = local\nendpoint_url = https://c.example",
    }
    config = ProfileSettings({}, profile="bare", reader=texts.get)
    assert str(resolve_endpoint("eu-west-1", environ={}, config=config)) == "https://service.example/prefix"
    control = resolve_endpoint("eu-west-1", service="bedrock", environ={}, config=config)
    assert str(control) == "https://c.example"


def test_a_missing_services_section_is_an_error() -> None:
    """As in botocore: a request must not go to AWS because a name was misspelt."""
    text = "[profile dev]\nservices = locale\n[services local]\nbedrock_runtime =\n  endpoint_url = https://a.example\n"
    with pytest.raises(InvalidRequestError, match=r"'dev' names the services section 'locale'") as caught:
        resolve_endpoint("eu-west-1", environ={}, config=config_of(text, {}, "dev"))
    assert caught.value.hint == "Write a section [services locale], or remove the line from the profile."
    full: dict[str, Any] = {"services": {"local": {"bedrock_runtime": {}}}}
    with pytest.raises(InvalidConfigError):
        ConfiguredEndpointProvider(full, {"services": "locale"}, "bedrock-runtime", {}).provide()


@pytest.mark.parametrize(
    "value", ["https://a.example", "\n    https://a.example", "\n    endpoint_url https://a.example"]
)
def test_a_services_section_without_settings_is_an_error(value: str) -> None:
    """What cannot be an indented setting is refused, not passed over."""
    text = f"[profile dev]\nservices = local\n[services local]\nbedrock_runtime ={value}\n"
    with pytest.raises(InvalidRequestError, match=r"bedrock_runtime of \[services local\].*indented"):
        resolve_endpoint("eu-west-1", environ={}, config=config_of(text, {}, "dev"))


def test_other_sections_are_no_services() -> None:
    """Sections of other kinds, unreadable ones among them, neither disturb nor count."""
    text = '[services]\na = b\n[services "open]\na = b\n[services a b]\na = b\n[servicesx y]\na = b\n[default]\nx = y\n'
    assert str(resolve_endpoint("eu-west-1", environ={}, config=config_of(text, {}))) == PUBLIC


def test_the_files_are_read_once_and_not_before() -> None:
    """A client reads each file once, and none when an argument and the environment say everything."""
    read: list[str] = []

    def reader(path: str) -> str | None:
        read.append(path)
        return None

    config = ProfileSettings({}, reader=reader)
    resolve_endpoint("eu-west-1", endpoint_url="http://127.0.0.1:1", environ={}, config=config)
    assert read == []
    for _ in range(2):
        resolve_endpoint("eu-west-1", environ={}, config=config)
    assert read == ["~/.aws/config", "~/.aws/credentials"]


# -- FIPS and dual stack beside a URL


@pytest.mark.parametrize("variable", ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
@pytest.mark.parametrize("profile", ["bare", "fips", "dual"])
def test_what_is_said_of_public_endpoints_does_not_count_for_this_machine(variable: str, profile: str) -> None:
    """An emulator, or a tunnel, is reached at its URL wherever FIPS endpoints are the rule."""
    environ = {variable: "true", "AWS_ENDPOINT_URL": "http://localhost:8080"}
    assert url_of(profile, environ) == "http://localhost:8080"
    assert url_of(profile, {variable: "true"}, endpoint_url="https://127.0.0.1:8443") == "https://127.0.0.1:8443"
    with pytest.raises(InvalidRequestError, match=r"both a FIPS endpoint \(argument\) and an endpoint URL"):
        url_of(profile, {}, endpoint_url="http://127.0.0.1:1", use_fips=True)


@pytest.mark.parametrize(
    ("profile", "environ", "who"),
    [
        ("bare", {"AWS_USE_FIPS_ENDPOINT": "true"}, r"a FIPS endpoint \(environment \(AWS_USE_FIPS_ENDPOINT\)\)"),
        ("fips", {}, r"a FIPS endpoint \(profile 'fips' in ~/.aws/config\)"),
        ("dual", {}, r"a dual-stack endpoint \(profile 'dual' in ~/.aws/config\)"),
    ],
)
def test_any_other_url_beside_them_is_an_error(profile: str, environ: Mapping[str, str], who: str) -> None:
    """As in botocore, and the error names who asks for the one and who for the other."""
    with pytest.raises(InvalidRequestError, match=rf"both {who} and an endpoint URL \(argument endpoint_url\)"):
        url_of(profile, environ, endpoint_url="https://a.example")


# -- through a client


@pytest.fixture
def aws(no_aws_settings: Path) -> Path:
    """Return the directory of configuration files of the test, with `CONFIG` in it."""
    directory = no_aws_settings / ".aws"
    directory.mkdir()
    (directory / "config").write_text(CONFIG)
    return directory


def test_a_client_reads_the_profile(aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint of a client is that of its profile, of its session's, or of the environment's."""
    client = BedrockClient(region="eu-west-1", profile="own")
    assert client.endpoint.base_url == "https://service.example/prefix"
    monkeypatch.setenv("AWS_PROFILE", "fips")
    assert BedrockClient(region="eu-west-1").endpoint.host == "bedrock-runtime-fips.eu-west-1.amazonaws.com"
    options = ConnectionOptions(use_fips=False, use_dualstack=True)
    assert BedrockClient(region="eu-west-1", connection=options).endpoint.host == "bedrock-runtime.eu-west-1.api.aws"
    monkeypatch.setenv("AWS_PROFILE", "other")
    options = ConnectionOptions(ignore_configured_endpoint_urls=True)
    assert str(BedrockClient(region="eu-west-1", connection=options).endpoint) == PUBLIC


def test_a_client_may_be_let_use_plain_http(aws: Path) -> None:
    """What the error advises can be done: a network of one's own needs no TLS."""
    url = "http://10.0.0.1:8080"
    with pytest.raises(InvalidRequestError, match="allow_http=True"):
        BedrockClient(region="eu-west-1", endpoint_url=url)
    client = BedrockClient(region="eu-west-1", endpoint_url=url, connection=ConnectionOptions(allow_http=True))
    assert str(client.endpoint) == url


async def test_an_emulator_is_reached_where_fips_is_the_rule(aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_USE_FIPS_ENDPOINT and a profile that asks for it do not keep a test from its emulator."""
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    monkeypatch.setenv("AWS_PROFILE", "fips")
    async with (
        BedrockEmulator([ScriptedModel.text("Here.")]) as emulator,
        BedrockClient(region=emulator.region, endpoint_url=emulator.url, credentials=KEYS) as client,
    ):
        assert (await client.converse(MODEL, "Where?")).text == "Here."


@pytest.mark.parametrize(
    "url",
    [
        "https://vpce-0a1b2c3d-4e5f.bedrock-runtime.eu-west-1.vpce.amazonaws.com",
        "https://gateway.example/bedrock",
        "https://10.0.0.1:8443",
    ],
)
async def test_requests_are_signed_for_the_clients_region(aws: Path, url: str) -> None:
    """A URL says where a request goes, not which region answers: the signature has the client's, as botocore's has."""
    transport = CannedTransport([CannedResponse([REPLY])])
    async with BedrockClient(region="us-east-1", endpoint_url=url, credentials=KEYS, transport=transport) as client:
        await client.converse(MODEL, "Where?")
    (request,) = transport.requests
    assert request.url == f"{url}/model/us.amazon.nova-lite-v1%3A0/converse"
    assert request.headers["host"] == url.removeprefix("https://").partition("/")[0]
    scope = request.headers["authorization"].partition("/")[2].partition(",")[0]
    assert scope.split("/")[1:] == ["us-east-1", "bedrock", "aws4_request"]


def test_a_broken_configuration_is_told_when_the_client_is_made(aws: Path) -> None:
    """The endpoint may stand in a file that cannot be read: no request goes to another one instead."""
    (aws / "config").write_text("[profile dev\n")
    with pytest.raises(CredentialsError, match="not a valid INI file"):
        BedrockClient(region="eu-west-1", credentials=KEYS)
