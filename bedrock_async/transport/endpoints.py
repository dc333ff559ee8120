"""Where requests go: the endpoint of a region, or the one configured by the caller or the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit

import msgspec

from ..errors import InvalidRequestError

__all__ = ["Endpoint", "EndpointSettings", "resolve_endpoint"]


class Endpoint(msgspec.Struct, frozen=True):
    """An endpoint; ``str()`` returns its base URL."""

    scheme: str
    """``https``, or ``http`` for an endpoint on this machine."""

    host: str
    """The value of the Host header: lower case, with the port unless it is the default of the scheme."""

    base_url: str
    """Scheme, host and any path prefix, without a trailing slash: request paths are appended to it."""

    source: str
    """Its origin in readable form: ``"region us-east-1"``, ``"environment (AWS_ENDPOINT_URL)"``."""

    def __str__(self) -> str:
        """Return the base URL."""
        return self.base_url


class EndpointSettings(Protocol):
    """The settings of a profile of the AWS configuration, such as `auth.ProfileSettings`."""

    def setting(self, key: str, *, service: str | None = None) -> tuple[str, str] | None:
        """Return the value of ``key`` and where it is set, or None.

        With ``service`` (``"bedrock_runtime"``), the value is looked up in the profile's services section.
        """
        ...


class _Partition(msgspec.Struct, frozen=True):
    """The domains of a group of regions."""

    regions: re.Pattern[str]
    suffix: str
    dual_stack_suffix: str


def _partition(regions: str, suffix: str, dual_stack_suffix: str) -> _Partition:
    return _Partition(re.compile(regions), suffix, dual_stack_suffix)


# botocore 1.43, data/partitions.json; all partitions have FIPS and dual-stack names.
_PARTITIONS: Final = (
    _partition(r"cn-\w+-\d+|aws-cn-global", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    _partition(r"eusc-de-\w+-\d+", "amazonaws.eu", "api.amazonwebservices.eu"),
    _partition(r"us-iso-\w+-\d+|aws-iso-global", "c2s.ic.gov", "api.aws.ic.gov"),
    _partition(r"us-isob-\w+-\d+|aws-iso-b-global", "sc2s.sgov.gov", "api.aws.scloud"),
    _partition(r"eu-isoe-\w+-\d+|aws-iso-e-global", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    _partition(r"us-isof-\w+-\d+|aws-iso-f-global", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
)
# For every other region, including GovCloud and future ones.
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
    config: EndpointSettings | None = None,
    use_fips: bool | None = None,
    use_dualstack: bool | None = None,
    ignore_configured_urls: bool | None = None,
    allow_http: bool = False,
) -> Endpoint:
    """Return the endpoint of ``service`` (an endpoint prefix, such as ``bedrock-runtime``) in ``region``.

    The first of these that is set: ``endpoint_url``; AWS_ENDPOINT_URL_BEDROCK_RUNTIME (with the name of the service);
    AWS_ENDPOINT_URL; with ``config``, ``endpoint_url`` in the services section of the profile, then in the profile
    itself; otherwise the region's public endpoint. ``ignore_configured_urls`` disables all but the first and the last.
    A path in a URL is kept as a prefix. Requests are signed for ``region``, whatever the URL.

    ``use_fips`` and ``use_dualstack`` select among public endpoints and cannot be combined with a URL. These three
    default to AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT and AWS_IGNORE_CONFIGURED_ENDPOINT_URLS, then to the
    settings of the same names in the profile. FIPS and dual-stack settings of environment and profile concern AWS's
    endpoints, and are ignored for a URL on this machine, such as an emulator's or a tunnel's.

    Raises InvalidRequestError for an invalid region or URL, and for plain http to another machine unless
    ``allow_http``, as credentials and prompts would travel unencrypted. [AWS SDKs and Tools Reference Guide,
    "Service-specific endpoints"; botocore's endpoint rule set]
    """
    chosen = _Choices(environ, config)
    configured = None
    if endpoint_url is not None:
        configured = (endpoint_url, "argument endpoint_url")
    elif not chosen.who(ignore_configured_urls, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        configured = _configured_url(service, environ, config)
    if configured is None:
        fips = chosen.who(use_fips, "AWS_USE_FIPS_ENDPOINT") is not None
        dual_stack = chosen.who(use_dualstack, "AWS_USE_DUALSTACK_ENDPOINT") is not None
        return _public(service, region, fips=fips, dual_stack=dual_stack)
    endpoint = _endpoint_at(*configured, allow_http=allow_http)
    if is_loopback(urlsplit(endpoint.base_url).hostname or ""):
        chosen = _Choices({}, None)
    if who := chosen.who(use_fips, "AWS_USE_FIPS_ENDPOINT"):
        raise _two_endpoints(f"a FIPS endpoint ({who})", endpoint)
    if who := chosen.who(use_dualstack, "AWS_USE_DUALSTACK_ENDPOINT"):
        raise _two_endpoints(f"a dual-stack endpoint ({who})", endpoint)
    return endpoint


class _Choices(msgspec.Struct, frozen=True):
    """Where an option of the endpoint is set: by the caller, else in the environment, else in the profile."""

    environ: Mapping[str, str]
    config: EndpointSettings | None

    def who(self, argument: bool | None, variable: str) -> str | None:  # noqa: FBT001 - None: not given
        """Return where the option is switched on; None if nothing sets it, or the first source that does says no.

        The profile's key is the name of the variable in lower case, without ``AWS_``.
        """
        if argument is not None:
            return "argument" if argument else None
        found = None
        if variable in self.environ:
            found = (self.environ[variable], f"environment ({variable})")
        elif self.config is not None:
            found = self.config.setting(variable.removeprefix("AWS_").lower())
        return found[1] if found is not None and found[0].strip().lower() == "true" else None


def ignores_configured_urls(
    argument: bool | None,  # noqa: FBT001 - None: not given
    environ: Mapping[str, str],
    config: EndpointSettings | None,
) -> bool:
    """Return whether the endpoint URLs of environment and profile are to be ignored."""
    return _Choices(environ, config).who(argument, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") is not None


def _public(service: str, region: str, *, fips: bool, dual_stack: bool) -> Endpoint:
    if not _REGION.fullmatch(region):
        raise InvalidRequestError(
            f"{region!r} is not a valid region.", path="region", hint="A region looks like us-east-1, in lower case."
        )
    partition = next((known for known in _PARTITIONS if known.regions.fullmatch(region)), _DEFAULT_PARTITION)
    suffix = partition.dual_stack_suffix if dual_stack else partition.suffix
    host = f"{service}{'-fips' if fips else ''}.{region}.{suffix}"
    return Endpoint("https", host, f"https://{host}", f"region {region}")


def _configured_url(
    service: str, environ: Mapping[str, str], config: EndpointSettings | None
) -> tuple[str, str] | None:
    key = service.replace("-", "_")
    for name in (f"AWS_ENDPOINT_URL_{key.upper()}", "AWS_ENDPOINT_URL"):
        if url := environ.get(name):
            return url, f"environment ({name})"
    if config is None:
        return None
    return config.setting("endpoint_url", service=key) or config.setting("endpoint_url")


def _two_endpoints(wanted: str, endpoint: Endpoint) -> InvalidRequestError:
    return InvalidRequestError(
        f"both {wanted} and an endpoint URL ({endpoint.source}) are configured.",
        path="endpoint_url",
        hint="Omit one of them: the URL alone determines the endpoint.",
    )


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
            hint="Use https, or pass allow_http=True if the network in between is yours.",
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
        fault = "holds a user name or password"  # the message must not repeat it
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
    """Return whether a host (a name, or an address without brackets) is a loopback host."""
    if host == "localhost" or host.endswith(".localhost"):  # always loopback  [RFC 6761, section 6.3]
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
