"""One TLS context per CA bundle, client certificate, protocol and process, built off the event loop."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
import threading
from pathlib import Path
from typing import Final, TypeAlias

from ..errors import TLSError
from . import _failures

ClientCert: TypeAlias = str | tuple[str, str]
"""The path of a PEM file with certificate and key, or one path for each."""

_contexts: Final[dict[tuple[str | None, ClientCert | None, str], ssl.SSLContext]] = {}
_building: Final = threading.Lock()


async def shared_context(
    ca_bundle: str | None, client_cert: ClientCert | None = None, *, protocol: str = "http/1.1"
) -> ssl.SSLContext:
    """Return the process-wide context that trusts ``ca_bundle`` (a file or directory; None: the system's store).

    It presents ``client_cert`` to servers that request a certificate, and offers ``protocol`` (ALPN). Loading a store
    takes 10 to 50 ms and a context a megabyte, so each is built once, in a worker thread. Cancelling does not stop the
    thread; its result is kept. Raises TLSError when bundle or certificate cannot be read, TooManyOpenFilesError when no
    file can be opened.
    """
    context = _contexts.get((ca_bundle, client_cert, protocol))
    if context is None:
        # Not anyio.to_thread, whose first use imports its backend on the loop.
        context = await asyncio.get_running_loop().run_in_executor(None, _build, ca_bundle, client_cert, protocol)
    return context


def _build(ca_bundle: str | None, client_cert: ClientCert | None, protocol: str) -> ssl.SSLContext:
    with _building:
        if (ca_bundle, client_cert, protocol) in _contexts:
            return _contexts[ca_bundle, client_cert, protocol]
        directory = ca_bundle is not None and Path(ca_bundle).is_dir()
        try:
            # OpenSSL silently skips files that it cannot open, and a context without any CA would be cached for good.
            Path(os.devnull).open("rb").close()
            # A bundle replaces the system's store, as in botocore, rather than extending it.
            context = ssl.create_default_context(
                cafile=None if directory else ca_bundle, capath=ca_bundle if directory else None
            )
        except OSError as exc:  # ssl.SSLError is an OSError, too, with its own numbers
            if exc.errno in (errno.EMFILE, errno.ENFILE) and not isinstance(exc, ssl.SSLError):
                raise _failures.too_many_open_files("the CA certificates", max_connections=None) from exc
            raise TLSError(
                f"the CA bundle {ca_bundle!r} cannot be read ({exc.strerror or exc}).",
                hint="Point AWS_CA_BUNDLE (or ca_bundle) at a PEM file, or at a directory prepared by c_rehash.",
            ) from exc
        if client_cert is not None:
            _load_client_cert(context, client_cert)
        # Without ALPN, a server may choose a protocol that the transport does not speak.
        context.set_alpn_protocols([protocol])
        _contexts[ca_bundle, client_cert, protocol] = context
        return context


def _load_client_cert(context: ssl.SSLContext, client_cert: ClientCert) -> None:
    certificate, key = (client_cert, None) if isinstance(client_cert, str) else client_cert
    try:
        # Without a password argument, OpenSSL would prompt for one on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except OSError as exc:  # includes ssl.SSLError
        raise TLSError(
            f"the client certificate {certificate!r} cannot be read ({exc.strerror or exc}).",
            hint="client_cert is a PEM file with the certificate and its key without a password, or a pair of files.",
        ) from exc
