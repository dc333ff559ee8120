"""Translates connection failures into our errors, with the same messages for every HTTP library."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Final, cast
from urllib.parse import urlsplit

from ..errors import (
    ClientClosedError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    InvalidRequestError,
    NameResolutionError,
    ProtocolError,
    TLSError,
    TooManyOpenFilesError,
    TransportError,
)
from ._sockets import soft_descriptor_limit

_PORTS: Final = {"http": 80, "https": 443}


def peer_of(url: str) -> str:
    """Return ``host:port`` of an absolute http or https URL. Raises InvalidRequestError for any other."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _PORTS[parts.scheme]
    except (KeyError, ValueError) as exc:
        raise InvalidRequestError(
            "the request's URL is not an absolute http or https URL.", path="endpoint_url"
        ) from exc
    if not host:
        raise InvalidRequestError("the request's URL names no host.", path="endpoint_url")
    return host_port(host, port)


def host_port(host: str, port: int) -> str:
    """Return host and port as written in a URL, and as messages name a peer."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def connect_failure(exc: BaseException, *, peer: str, max_connections: int | None) -> TransportError:
    """Return the error for a failed attempt to connect to ``peer`` (``host:port``), from the causes of ``exc``.

    The causes decide, because HTTP libraries wrap the error of the operating system, each in its own way and
    repeatedly.
    """
    causes = _beneath(exc)
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return _tls_failure(cause, peer=peer, sent=False)
        if isinstance(cause, socket.gaierror | UnicodeError):
            # UnicodeError: labels that are empty or longer than 63 characters are never resolved.
            return NameResolutionError(
                f"the host name of {peer} cannot be resolved ({_said([cause])}).",
                hint="Check region and endpoint_url, the DNS settings and, in a VPC, the endpoint's private DNS.",
            )
        # After name resolution and TLS, whose errors are OSErrors with numbers of their own.
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return too_many_open_files(f"a connection to {peer}", max_connections=max_connections)
        if isinstance(cause, ConnectionRefusedError):
            return ConnectError(
                f"{peer} refused the connection.", hint="Check the endpoint, and that a server is listening there."
            )
    return ConnectError(
        f"no connection to {peer} could be made ({_said(causes)}).",
        hint="Check the network, proxies, security groups and firewalls between here and the endpoint.",
    )


def connect_timeout(*, peer: str, limit_s: float, max_connections: int | None) -> ConnectTimeoutError:
    """Return the error for a connection that was neither available nor established in time."""
    pool = "of the client" if max_connections is None else f"of at most {max_connections}"
    return ConnectTimeoutError(
        f"no connection to {peer} became available within {limit_s:g} s (from a pool {pool}).",
        limit_s=limit_s,
        hint="Check that the endpoint is reachable; when more calls are in flight than there are connections, pass "
        "limits=Limits(max_connections=...), or let calls wait with rate_limit=RateLimit(max_in_flight=...).",
    )


def connection_lost(exc: BaseException, *, peer: str, received_bytes: int | None) -> TransportError:
    """Return the error for a connection that broke after the request was sent.

    ``received_bytes`` counts the body; None means that the head of the response was not complete.
    """
    causes = _beneath(exc)
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and received_bytes is None:
            # With TLS 1.3, a server rejects a client after the handshake: its alert is the first thing that is read.
            return _tls_failure(cause, peer=peer, sent=True)
    when = "before it answered" if received_bytes is None else f"after {received_bytes} bytes of the response's body"
    how = next((_said([cause]) for cause in causes if isinstance(cause, OSError) and cause.errno is not None), None)
    return ConnectionLostError(
        f"the connection to {peer} broke {when} ({how or 'closed by the peer'}).",
        hint="Try again; if it persists, look for a proxy or load balancer that cuts connections.",
        sent=True,
    )


def connection_aborted(*, peer: str) -> ConnectionLostError:
    """Return the error for reading on after ``abort()``, or after a cancelled read."""
    return ConnectionLostError(
        f"the response of {peer} was closed here before its body was read.",
        hint="It cannot be read any further: send the request again.",
        sent=True,
    )


def not_http(said: str, *, peer: str) -> ProtocolError:
    """Return the error for a peer that does not speak HTTP/1.1; ``said`` is the message of the parser."""
    # The lines after the first quote the received bytes.
    complaint = said.strip().partition("\n")[0].rstrip(" :")[:200]
    return ProtocolError(
        f"{peer} answered something that is not HTTP ({complaint}).",
        hint="Check endpoint_url, its scheme (http or https) and any proxy in between.",
        sent=True,
    )


def body_too_large(*, peer: str, max_bytes: int) -> ProtocolError:
    """Return the error for a response body longer than ``max_bytes``."""
    return ProtocolError(
        f"the body of {peer}'s response is longer than the {max_bytes} bytes allowed.",
        hint="Check that the endpoint is Bedrock's.",
        sent=True,
    )


def transport_closed() -> ClientClosedError:
    """Return the error for a transport that is used after ``aclose()``."""
    return ClientClosedError("the transport is closed.", hint="Create a new client, or keep this one open for longer.")


def too_many_open_files(purpose: str, *, max_connections: int | None) -> TooManyOpenFilesError:
    """Return the error for a process that ran out of file descriptors; ``purpose`` is what one was needed for."""
    limit = soft_descriptor_limit()
    most = "" if limit is None else f"; the limit is {limit}"
    pool = "" if max_connections is None else f" or lower max_connections (now {max_connections})"
    return TooManyOpenFilesError(
        f"no file descriptor is left for {purpose}{most}.",
        hint=f"Raise the limit (ulimit -n){pool}.",
    )


def _tls_failure(exc: ssl.SSLError, *, peer: str, sent: bool) -> TLSError:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return TLSError(
            f"the certificate of {peer} is not trusted ({exc.verify_message}).",
            hint="Point AWS_CA_BUNDLE at the CA of your proxy or endpoint, and check that the endpoint is right.",
            sent=sent,
        )
    return TLSError(
        f"the TLS handshake with {peer} failed ({exc.reason or _said([exc])}).",
        hint="Check that the endpoint speaks TLS on this port, or whether endpoint_url should begin with http://.",
        sent=sent,
    )


def _beneath(exc: BaseException) -> list[BaseException]:
    """Return ``exc`` and everything that it wraps, outermost first."""
    found: list[BaseException] = []
    pending = [exc]
    while pending:
        current = pending.pop(0)
        if current in found:
            continue
        found.append(current)
        # httpcore re-raises with "from None", which hides the cause but keeps it as the context. The context of any
        # other exception may be unrelated: whatever the caller was handling.
        hidden = current.__context__ if current.__suppress_context__ else None
        inner = current.__cause__ or hidden
        if inner is not None:
            pending.append(inner)
        if isinstance(current, BaseExceptionGroup):
            pending.extend(cast("BaseExceptionGroup[BaseException]", current).exceptions)
    return found


def _said(causes: list[BaseException]) -> str:
    """Return the operating system's message, or that of the first cause with one; one line, at most 200 characters."""
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno is not None and cause.strerror:
            return f"{cause.strerror}, errno {cause.errno}"
    texts = (str(cause).strip() for cause in causes)
    text = next((text for text in texts if text), type(causes[0]).__name__)
    return text.splitlines()[0][:200]
