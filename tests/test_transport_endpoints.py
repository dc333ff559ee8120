"""Where requests go, compared with what botocore makes of the same region and environment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

import pytest
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import EndpointProviderError
from botocore.loaders import Loader
from hypothesis import given
from hypothesis import strategies as st

from bedrock_async.errors import InvalidRequestError
from bedrock_async.transport import Endpoint, resolve_endpoint

SERVICES: Final = ("bedrock", "bedrock-agent-runtime", "bedrock-runtime")


@cache
def partitions() -> dict[str, Any]:
    """Return botocore's table of partitions and their regions."""
    table: dict[str, Any] = json.loads(resources.files("botocore").joinpath("data/partitions.json").read_text())
    return table


@cache
def rules(service: str) -> EndpointProvider:
    """Return botocore's endpoint rules of a service."""
    loader = Loader()
    return EndpointProvider(loader.load_service_model(service, "endpoint-rule-set-1"), partitions())


def regions() -> Iterator[str]:
    """Yield every region that botocore knows, and some that it will."""
    for partition in partitions()["partitions"]:
        yield from partition["regions"]
    yield from ("us-east-9", "eu-north-7", "mx-central-2", "cn-south-1", "us-gov-north-1", "us-iso-north-1")
    yield from ("us-isob-south-1", "eu-isoe-north-9", "us-isof-west-2", "eusc-de-west-1", "moon-base-1", "us-iso-x")


@pytest.mark.parametrize("region", sorted(regions()))
def test_public_endpoints_are_botocores(region: str) -> None:
    """Every region of every partition, with and without FIPS and dual stack, for all of Bedrock's services."""
    for service in SERVICES:
        for fips, dual_stack in ((False, False), (True, False), (False, True), (True, True)):
            parameters = {"Region": region, "UseFIPS": fips, "UseDualStack": dual_stack}
            expected = rules(service).resolve_endpoint(**parameters).url
            found = resolve_endpoint(region, service=service, environ={}, use_fips=fips, use_dualstack=dual_stack)
            assert str(found) == found.base_url == expected
            assert (found.scheme, found.host) == ("https", expected.removeprefix("https://"))
            assert found.source == f"region {region}"


@pytest.mark.parametrize(
    ("environ", "fips", "dual_stack"),
    [
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, True, False),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "True"}, False, True),
        ({"AWS_USE_FIPS_ENDPOINT": "false", "AWS_USE_DUALSTACK_ENDPOINT": ""}, False, False),
    ],
)
def test_the_environment_chooses_among_public_endpoints(
    environ: Mapping[str, str], *, fips: bool, dual_stack: bool
) -> None:
    """The variables are botocore's; an argument, True or False, goes before them."""
    wanted = resolve_endpoint("us-east-1", environ={}, use_fips=fips, use_dualstack=dual_stack)
    assert resolve_endpoint("us-east-1", environ=environ) == wanted
    plain = resolve_endpoint("us-east-1", environ=environ, use_fips=False, use_dualstack=False)
    assert plain.host == "bedrock-runtime.us-east-1.amazonaws.com"


OWN, GLOBAL, IGNORE = "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"


@pytest.mark.parametrize(
    ("argument", "environ", "host", "source"),
    [
        ("https://a.example", {OWN: "https://b", GLOBAL: "https://c"}, "a.example", "argument endpoint_url"),
        ("https://a.example", {IGNORE: "true"}, "a.example", "argument endpoint_url"),
        (None, {OWN: "https://b.example", GLOBAL: "https://c"}, "b.example", f"environment ({OWN})"),
        (None, {GLOBAL: "https://c.example"}, "c.example", f"environment ({GLOBAL})"),
        (None, {OWN: "", GLOBAL: "https://c.example"}, "c.example", f"environment ({GLOBAL})"),
        (
            None,
            {"AWS_ENDPOINT_URL_S3": "https://d.example"},
            "bedrock-runtime.eu-west-1.amazonaws.com",
            "region eu-west-1",
        ),
        (
            None,
            {OWN: "https://b", GLOBAL: "https://c", IGNORE: "true"},
            "bedrock-runtime.eu-west-1.amazonaws.com",
            "region eu-west-1",
        ),
    ],
)
def test_what_goes_before_the_public_endpoint(
    argument: str | None, environ: Mapping[str, str], host: str, source: str
) -> None:
    """The argument, then the service's variable, then the general one, unless they are to be ignored."""
    found = resolve_endpoint("eu-west-1", endpoint_url=argument, environ=environ)
    assert (found.host, found.source) == (host, source)


def test_each_service_has_its_variable() -> None:
    """The endpoint of the runtime is not that of the control plane."""
    environ = {OWN: "https://runtime.example", "AWS_ENDPOINT_URL_BEDROCK": "https://control.example"}
    assert resolve_endpoint("eu-west-1", environ=environ).host == "runtime.example"
    assert resolve_endpoint("eu-west-1", service="bedrock", environ=environ).host == "control.example"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://A.Example/", ("https", "a.example", "https://a.example")),
        ("https://a.example:443", ("https", "a.example", "https://a.example")),
        ("https://a.example:8443/", ("https", "a.example:8443", "https://a.example:8443")),
        ("https://gateway.example/bedrock/v1/", ("https", "gateway.example", "https://gateway.example/bedrock/v1")),
        ("https://g.example/a%2Fb", ("https", "g.example", "https://g.example/a%2Fb")),
        ("http://127.0.0.1:8080", ("http", "127.0.0.1:8080", "http://127.0.0.1:8080")),
        ("http://127.0.0.53:80", ("http", "127.0.0.53", "http://127.0.0.53")),
        ("http://localhost:4566", ("http", "localhost:4566", "http://localhost:4566")),
        ("http://emulator.localhost", ("http", "emulator.localhost", "http://emulator.localhost")),
        ("http://[::1]:8080/x", ("http", "[::1]:8080", "http://[::1]:8080/x")),
    ],
)
def test_a_url_becomes_an_endpoint(url: str, expected: tuple[str, str, str]) -> None:
    """The host is in lower case and without the scheme's own port, as HTTP libraries send it; a path is a prefix."""
    found = resolve_endpoint("us-east-1", endpoint_url=url, environ={})
    assert (found.scheme, found.host, found.base_url) == expected


@pytest.mark.parametrize("url", ["http://10.0.0.1", "http://localstack:4566", "http://[fe80::1]/", "http://0.0.0.0:80"])
def test_plain_http_stays_on_this_machine(url: str) -> None:
    """Credentials and prompts do not travel unencrypted, unless that is said to be all right."""
    with pytest.raises(InvalidRequestError, match=r"unencrypted.*allow_http=True") as caught:
        resolve_endpoint("us-east-1", endpoint_url=url, environ={})
    assert caught.value.path == "endpoint_url"
    assert resolve_endpoint("us-east-1", endpoint_url=url, environ={}, allow_http=True).scheme == "http"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example",
        "//a.example",
        "ftp://a.example",
        "https://",
        "https:///x",
        "https://a.example:port",
        "https://a.example:99999",
        "https://[::1",
        "https://user:hunter2@a.example",
        "https://hunter2@a.example",
        "https://a.example/?x=1",
        "https://a.example/#x",
        "https://a example",
        "https://a.example/a b",
        "https://ä.example",
        "https://a.example/ä",
        "https://-a.example",
        "https://a.example/\n",
    ],
)
def test_what_is_no_endpoint_url(url: str) -> None:
    """The error says where the URL came from and how one looks, and does not repeat a password."""
    with pytest.raises(InvalidRequestError, match=r"AWS_ENDPOINT_URL.*https://vpce") as caught:
        resolve_endpoint("us-east-1", environ={"AWS_ENDPOINT_URL": url or " "})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(InvalidRequestError, match="argument endpoint_url"):
        resolve_endpoint("us-east-1", endpoint_url=url, environ={})


@pytest.mark.parametrize(
    "region", ["", "US-EAST-1", "us east 1", "us-east-1.evil.example/", "-us", "us_east_1", "a" * 64]
)
def test_what_is_no_region(region: str) -> None:
    """A region becomes part of a host name: what cannot be one is refused."""
    with pytest.raises(InvalidRequestError, match=r"is not a valid region.*us-east-1") as caught:
        resolve_endpoint(region, environ={})
    assert caught.value.path == "region"


@pytest.mark.parametrize("fips", [True, False], ids=["fips", "dual-stack"])
def test_a_url_is_not_combined_with_a_kind_of_public_endpoint(*, fips: bool) -> None:
    """As in botocore: the URL wins silently nowhere."""
    url = "https://a.example"
    with pytest.raises(InvalidRequestError, match="Omit one of them"):
        resolve_endpoint("us-east-1", endpoint_url=url, environ={}, use_fips=fips, use_dualstack=not fips)
    with pytest.raises(EndpointProviderError):
        rules("bedrock-runtime").resolve_endpoint(Region="us-east-1", UseFIPS=fips, UseDualStack=not fips, Endpoint=url)


@given(st.text(max_size=40), st.text(max_size=60))
def test_nothing_else_is_raised(region: str, url: str) -> None:
    """Whatever region and URL are, there is an endpoint or an InvalidRequestError."""
    for endpoint_url in (None, url, f"https://{url}"):
        try:
            found = resolve_endpoint(region, endpoint_url=endpoint_url, environ={})
        except InvalidRequestError:
            continue
        assert isinstance(found, Endpoint)
        assert found.base_url.isascii()
        assert found.base_url.startswith(f"{found.scheme}://{found.host}")
