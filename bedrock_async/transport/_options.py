"""How a client reaches its endpoint: what may be said about endpoints, TLS and proxies, in one value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from ..errors import InvalidRequestError
from .endpoints import EndpointSettings

__all__ = ["ConnectionOptions"]

# One line end would begin a header of its own.
_FOR_PROXIES: Final = ("proxy_ca_bundle", "proxy_client_cert")
_HEADER_VALUE: Final = re.compile(r"[ -~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """What a client is told about its connections beyond ``endpoint_url``. None leaves it to environment and profile.

    - ``use_fips``, ``use_dualstack``: which of a region's public endpoints.
    - ``ignore_configured_endpoint_urls``: use no endpoint URL of environment and profile.
    - ``allow_http``: let plain http go to other machines, where the network in between is yours.
    - ``ca_bundle``: a PEM file, or a directory prepared by c_rehash, that is trusted in place of the system's store.
    - ``client_cert``: shown to an endpoint that asks for a certificate: a PEM file with certificate and key without a
      password, or a pair of files.
    - ``proxies``: the proxy's URL by the scheme of the endpoint, ``{"https": "http://user:secret@proxy:3128"}``, in
      place of HTTPS_PROXY and the like; an empty mapping makes all connections direct.
    - ``proxy_ca_bundle``, ``proxy_client_cert``: what those two are for an https proxy, where that differs.
    - ``user_agent``: in place of ours; ``user_agent_extra`` stands behind it.

    What is said of certificates and proxies settles how the client's own transport is made, and is refused with a ready
    one. Raises InvalidRequestError for what cannot be a proxy or a header.
    """

    use_fips: bool | None = None
    use_dualstack: bool | None = None
    ignore_configured_endpoint_urls: bool | None = None
    allow_http: bool = False
    ca_bundle: str | None = None
    client_cert: str | tuple[str, str] | None = None
    proxies: Mapping[str, str] | None = field(default=None, repr=False)  # they may hold a password
    proxy_ca_bundle: str | None = None
    proxy_client_cert: str | tuple[str, str] | None = None
    user_agent: str | None = None
    user_agent_extra: str | None = None

    def __post_init__(self) -> None:
        """Refuse what would fail at the first request."""
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
                    f"connection.{name} cannot stand in a header.",
                    path=f"connection.{name}",
                    hint="Write it in visible ASCII characters and spaces, on one line.",
                )

    def with_ca_bundle(self, environ: Mapping[str, str], config: EndpointSettings) -> ConnectionOptions:
        """Return these options with the CA bundle of the environment, else of the profile, where they name none."""
        if self.ca_bundle is not None:
            return self
        bundle = environ.get("AWS_CA_BUNDLE")
        if not bundle:
            setting = config.setting("ca_bundle")
            bundle = setting[0] if setting is not None else None
        return self if bundle is None else replace(self, ca_bundle=bundle)

    def agent(self, ours: str) -> str:
        """Return the User-Agent header, given the one that stands for this package."""
        return " ".join(part for part in (self.user_agent or ours, self.user_agent_extra) if part)

    @property
    def for_transports(self) -> list[str]:
        """Return the names of the given options that only a transport of the client's own can keep."""
        names = ("ca_bundle", "client_cert", "proxies", *_FOR_PROXIES)
        return [name for name in names if getattr(self, name) is not None]
