"""Where requests go: the endpoint of a region, or the one that the caller or the environment names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from ..errors import InvalidRequestError

__all__ = ["Endpoint", "resolve_endpoint"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint. ``str()`` is its base URL."""

    scheme: str
    """``https``, or ``http`` for an endpoint on this machine."""

    host: str
    """As the Host header has it: lower case, with the port unless it is the scheme's own."""

    base_url: str
    """Scheme, host and any path prefix, without a slash at the end: request paths are appended to it."""

    source: str
    """Where it comes from, for people: ``"region us-east-1"``, ``"environment (AWS_ENDPOINT_URL)"``."""

    def __str__(self) -> str:
        """Return the base URL."""
        return self.base_url


@dataclass(frozen=True, slots=True)
class _Partition:
    """The domains of a group of regions."""

    regions: re.Pattern[str]
    suffix: str
    dual_stack_suffix: str


def _partition(regions: str, suffix: str, dual_stack_suffix: str) -> _Partition:
    return _Partition(re.compile(regions), suffix, dual_stack_suffix)


# botocore 1.43, data/partitions.json: all partitions have FIPS and dual-stack names.
_PARTITIONS: Final = (
    _partition(r"cn-\w+-\d+|aws-cn-global", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    _partition(r"eusc-de-\w+-\d+", "amazonaws.eu", "api.amazonwebservices.eu"),
    _partition(r"us-iso-\w+-\d+|aws-iso-global", "c2s.ic.gov", "api.aws.ic.gov"),
    _partition(r"us-isob-\w+-\d+|aws-iso-b-global", "sc2s.sgov.gov", "api.aws.scloud"),
    _partition(r"eu-isoe-\w+-\d+|aws-iso-e-global", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    _partition(r"us-isof-\w+-\d+|aws-iso-f-global", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
)
# Every other region, GovCloud and those to come among them.
_DEFAULT_PARTITION: Final = _partition(r"", "amazonaws.com", "api.aws")

_REGION: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_HOST: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def resolve_endpoint(
    region: str,
    *,
    service: str = "bedrock-runtime",
    endpoint_url: str | None = None,
    environ: Mapping[str, str],
    use_fips: bool | None = None,
    use_dualstack: bool | None = None,
    allow_http: bool = False,
) -> Endpoint:
    """Return the endpoint of ``service`` (its endpoint prefix, such as ``bedrock-runtime``) in ``region``.

    In this order: ``endpoint_url``; AWS_ENDPOINT_URL_BEDROCK_RUNTIME (the service's own name); AWS_ENDPOINT_URL;
    the region's public endpoint. AWS_IGNORE_CONFIGURED_ENDPOINT_URLS switches the two variables off. A path in a URL
    is kept as a prefix. ``use_fips`` and ``use_dualstack`` choose among public endpoints and default to
    AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT; neither goes together with a URL.

    Raises InvalidRequestError for a region or URL that cannot be one, and for plain http to another machine unless
    ``allow_http``: credentials and prompts would travel unencrypted.
    [AWS SDKs and Tools Reference Guide, "Service-specific endpoints"; botocore's endpoint rule set]
    """
    fips = _flag(environ, "AWS_USE_FIPS_ENDPOINT") if use_fips is None else use_fips
    dual_stack = _flag(environ, "AWS_USE_DUALSTACK_ENDPOINT") if use_dualstack is None else use_dualstack
    configured = _configured_url(service, endpoint_url, environ)
    if configured is not None:
        url, source = configured
        if fips or dual_stack:
            wanted = "a FIPS" if fips else "a dual-stack"
            raise InvalidRequestError(
                f"both {wanted} endpoint and an endpoint URL ({source}) are asked for.",
                path="endpoint_url",
                hint="Leave one of them out: which endpoint a URL leads to is the URL's business.",
            )
        return _endpoint_at(url, source, allow_http=allow_http)
    if not _REGION.fullmatch(region):
        raise InvalidRequestError(
            f"{region!r} cannot be a region.", path="region", hint="A region is spelt like us-east-1, in lower case."
        )
    partition = next((known for known in _PARTITIONS if known.regions.fullmatch(region)), _DEFAULT_PARTITION)
    suffix = partition.dual_stack_suffix if dual_stack else partition.suffix
    host = f"{service}{'-fips' if fips else ''}.{region}.{suffix}"
    return Endpoint("https", host, f"https://{host}", f"region {region}")


def _configured_url(service: str, endpoint_url: str | None, environ: Mapping[str, str]) -> tuple[str, str] | None:
    if endpoint_url is not None:
        return endpoint_url, "argument endpoint_url"
    if _flag(environ, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        return None
    for name in (f"AWS_ENDPOINT_URL_{service.replace('-', '_').upper()}", "AWS_ENDPOINT_URL"):
        if url := environ.get(name):
            return url, f"environment ({name})"
    return None


def _endpoint_at(url: str, source: str, *, allow_http: bool) -> Endpoint:
    parts, port = _split(url, source)
    name = (parts.hostname or "").rstrip(".")
    host = f"[{name}]" if ":" in name else name
    if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
        host = f"{host}:{port}"
    if parts.scheme == "http" and not allow_http and not is_loopback(name):
        raise InvalidRequestError(
            f"the endpoint http://{host} ({source}) is not on this machine: credentials and prompts would travel "
            "unencrypted.",
            path="endpoint_url",
            hint="Use https, or pass allow_http=True where the network in between is yours.",
        )
    return Endpoint(parts.scheme, host, f"{parts.scheme}://{host}{parts.path.rstrip('/')}", source)


def _split(url: str, source: str) -> tuple[SplitResult, int | None]:
    hint = "An endpoint URL looks like https://vpce-0123.bedrock-runtime.us-east-1.vpce.amazonaws.com."
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise InvalidRequestError(
            f"the endpoint URL ({source}) cannot be read ({exc}).", path="endpoint_url", hint=hint
        ) from exc
    fault = None
    if parts.scheme not in _DEFAULT_PORTS:
        fault = "does not begin with https:// or http://"
    elif parts.username is not None or parts.password is not None:
        fault = "holds a user name or password"  # which the message must not repeat
    elif not parts.hostname or not (_HOST.fullmatch(parts.hostname) or ":" in parts.hostname):
        fault = "names no host"
    elif parts.query or parts.fragment:
        fault = "has a query or a fragment"
    elif not url.isascii() or not url.isprintable() or " " in url:
        fault = "holds characters that must be quoted"
    if fault is not None:
        raise InvalidRequestError(f"the endpoint URL ({source}) {fault}.", path="endpoint_url", hint=hint)
    return parts, port


def is_loopback(host: str) -> bool:
    """Return whether a host (a name, or an address without brackets) is this machine by definition."""
    if host == "localhost" or host.endswith(".localhost"):  # always this machine  [RFC 6761, section 6.3]
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _flag(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").strip().lower() == "true"
