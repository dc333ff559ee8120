"""Which proxy a request goes through: a given one, or else the variables that curl, botocore and urllib read."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from ..errors import InvalidRequestError
from .endpoints import is_loopback


class EnvironmentProxies:
    """The proxies of one environment, read once: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, lower case first.

    ``given`` proxies, by the scheme of the request, replace all these variables; an empty mapping makes all connections
    direct.
    """

    def __init__(self, environ: Mapping[str, str], given: Mapping[str, str] | None = None) -> None:
        def read(name: str) -> str:
            return environ.get(f"{name}_proxy") or environ.get(f"{name.upper()}_PROXY") or ""

        self._given = given is not None
        if given is not None:
            environ = {f"{scheme}_proxy": proxy for scheme, proxy in given.items()}
        # In a CGI script, HTTP_PROXY holds the client's "Proxy:" header.  [CVE-2016-5385, httpoxy]
        self._by_scheme = {"http": "" if "REQUEST_METHOD" in environ else read("http"), "https": read("https")}
        self._default = read("all")
        self._direct = tuple(entry for part in read("no").lower().split(",") if (entry := part.strip().lstrip(".")))
        self._any = bool(self._default or any(self._by_scheme.values()))

    def proxy_for(self, url: str) -> str | None:
        """Return the URL of the proxy for a request to ``url``, or None for a direct connection.

        Requests to this machine never use a proxy of the environment, which could not reach it. Raises
        InvalidRequestError for a proxy whose scheme is not http or https.
        """
        if not self._any:
            return None
        parts = urlsplit(url)
        proxy = self._by_scheme.get(parts.scheme) or self._default
        host = parts.hostname or ""
        if not proxy or (not self._given and is_loopback(host)) or self._is_direct(host, parts.port):
            return None
        if "://" not in proxy:
            proxy = f"http://{proxy.removeprefix('//')}"
        scheme = proxy.partition("://")[0].lower()
        if scheme not in ("http", "https"):
            raise InvalidRequestError(
                f"a {scheme} proxy is configured; only http and https proxies are supported.",
                hint="Pass a ready client with that proxy: HttpxTransport(httpx.AsyncClient(proxy=...)).",
            )
        return proxy

    def _is_direct(self, host: str, port: int | None) -> bool:
        """Whether NO_PROXY lists the host, a parent domain, or ``*``; entries may include a port."""
        names = (host, f"{host}:{port}")
        return any(entry in ("*", name) or name.endswith(f".{entry}") for entry in self._direct for name in names)
