"""How a client reaches its endpoint: the options for endpoints, TLS and proxies, as one value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from ..errors import InvalidRequestError
from .endpoints import EndpointSettings

__all__ = ["ConnectionOptions"]

# A line break would start another header.
_FOR_PROXIES: Final = ("proxy_ca_bundle", "proxy_client_cert")
_HEADER_VALUE: Final = re.compile(r"[ -~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """Options for a client's connections beyond ``endpoint_url``. None leaves the choice to environment and profile.

    - ``use_fips``, ``use_dualstack``: which of a region's public endpoints to use.
    - ``ignore_configured_endpoint_urls``: ignore the endpoint URLs of environment and profile.
    - ``allow_http``: allow plain http to other machines, for networks that you control.
    - ``ca_bundle``: a PEM file, or a directory prepared by c_rehash, to trust instead of the system's store.
    - ``client_cert``: presented to an endpoint that requests a certificate: a PEM file with certificate and key without
      a password, or a pair of files.
    - ``proxies``: the proxy's URL by the scheme of the endpoint, ``{"https": "http://user:secret@proxy:3128"}``,
      instead of HTTPS_PROXY and the like; an empty mapping makes all connections direct.
    - ``proxy_ca_bundle``, ``proxy_client_cert``: the same two for an https proxy, if they differ.
    - ``user_agent``: replaces ours; ``user_agent_extra`` is appended to it.

    Options for certificates and proxies configure the client's own transport, and are rejected together with an
    existing one. Raises InvalidRequestError for an invalid proxy scheme or header value.
    """

    use_fips: bool | None = None
    use_dualstack: bool | None = None
    ignore_configured_endpoint_urls: bool | None = None
    allow_http: bool = False
    ca_bundle: str | None = None
    client_cert: str | tuple[str, str] | None = None
    proxies: Mapping[str, str] | None = field(default=None, repr=False)  # the URLs may contain a password
    proxy_ca_bundle: str | None = None
    proxy_client_cert: str | tuple[str, str] | None = None
    user_agent: str | None = None
    user_agent_extra: str | None = None

    def __post_init__(self) -> None:
        """Reject values that would fail at the first request."""
        for scheme in self.proxies or ():
            if scheme not in ("http", "https"):
                raise InvalidRequestError(
                    f"connection.proxies has the key {scheme!r}; it is the scheme of the endpoint, http or https.",
                    path="connection.proxies",
                    hint='Almost always the endpoint is an https one: {"https": "http://proxy:3128"}.',
                )
        for name in ("user_agent", "user_agent_extra"):
            text: object = getattr(self, name)
            if text is not None and not (isinstance(text, str) and _HEADER_VALUE.fullmatch(text)):
                raise InvalidRequestError(
                    f"connection.{name} is not a valid header value.",
                    path=f"connection.{name}",
                    hint="Write it in visible ASCII characters and spaces, on one line.",
                )

    def with_ca_bundle(self, environ: Mapping[str, str], config: EndpointSettings) -> ConnectionOptions:
        """Return these options with the CA bundle of the environment or else the profile, unless they name one."""
        if self.ca_bundle is not None:
            return self
        bundle = environ.get("AWS_CA_BUNDLE")
        if not bundle:
            setting = config.setting("ca_bundle")
            bundle = setting[0] if setting is not None else None
        return self if bundle is None else replace(self, ca_bundle=bundle)

    def agent(self, ours: str) -> str:
        """Return the User-Agent header, given this package's own."""
        return " ".join(part for part in (self.user_agent or ours, self.user_agent_extra) if part)

    @property
    def for_transports(self) -> list[str]:
        """Return the names of the options given that only a transport created by the client can honour."""
        names = ("ca_bundle", "client_cert", "proxies", *_FOR_PROXIES)
        return [name for name in names if getattr(self, name) is not None]
