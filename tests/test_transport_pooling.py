"""What the transports of our own making set up: limits, probing, proxies, TLS contexts, and what they import."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import httpx
import httpx2
import pytest
from rawserver import RawConnection, RawRequest, RawServer
from transports import CONNECT_S, OK, Tunnel, authority, body_of, post, server_tls, turns

from bedrock_async.errors import ConnectError, InvalidRequestError, MissingExtraError, TLSError
from bedrock_async.transport import (
    AiohttpTransport,
    HttpxTransport,
    NativeTransport,
    Transport,
    WireRequest,
    WireResponse,
    as_transport,
    default_transport,
)
from bedrock_async.transport._proxies import EnvironmentProxies
from bedrock_async.transport._sockets import default_max_connections, keepalive_options, soft_descriptor_limit
from bedrock_async.transport._tls import shared_context

ROOT: Final = Path(__file__).parent.parent

Maker = Callable[..., Transport]
own = pytest.mark.parametrize(
    "make", [NativeTransport, AiohttpTransport, HttpxTransport], ids=["native", "aiohttp", "httpx"]
)


# -- making one


@own
def test_a_transport_is_made_without_a_loop(make: Maker) -> None:
    """Making one opens nothing and needs no event loop; it is what the protocol asks for."""
    transport = make()
    assert isinstance(transport, Transport)
    assert transport.name in make.__name__.lower()
    asyncio.run(transport.aclose())


@own
@pytest.mark.parametrize("limit", [0, -1])
def test_a_pool_needs_a_connection(make: Maker, limit: int) -> None:
    """A pool without connections would let every request wait: it is refused, by its name."""
    with pytest.raises(InvalidRequestError, match=f"max_connections is {limit}") as caught:
        make(max_connections=limit)
    assert caught.value.path == "max_connections"


def test_importing_the_package_imports_no_http_library() -> None:
    """aiohttp and httpx come in with the transport that uses them, and not before."""
    program = (
        "import sys, bedrock_async.transport as transports\n"
        "libraries = ('aiohttp', 'httpx', 'httpx2', 'httpcore')\n"
        "assert not [name for name in libraries if name in sys.modules]\n"
        "transports.AiohttpTransport()\n"
        "assert 'aiohttp' in sys.modules and 'httpx' not in sys.modules\n"
        "assert 'HttpxTransport' in dir(transports)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("given", "kind", "ours"),
    [
        (None, NativeTransport, True),
        ("native", NativeTransport, True),
        ("aiohttp", AiohttpTransport, True),
        ("httpx", HttpxTransport, True),
        (httpx.AsyncClient(), HttpxTransport, True),
        (httpx2.AsyncClient(), HttpxTransport, True),
    ],
    ids=["none", "native", "aiohttp", "httpx", "httpx-client", "httpx2-client"],
)
def test_what_a_caller_may_pass_as_transport(given: httpx.AsyncClient | str | None, kind: type, *, ours: bool) -> None:
    """Names and ready clients become transports that are ours to close."""
    transport, owned = as_transport(given, max_connections=3)
    assert type(transport) is kind
    assert owned is ours


def test_a_transport_stays_what_it_is() -> None:
    """One that is passed in stays its owner's to close."""
    transport = default_transport(max_connections=7)
    assert as_transport(transport) == (transport, False)


@pytest.mark.parametrize("given", ["urllib3", httpx.Client(), object()], ids=["name", "sync-client", "object"])
def test_anything_else_is_no_transport(given: str) -> None:
    """The error says what there is."""
    with pytest.raises(InvalidRequestError, match=r"httpx\.AsyncClient"):
        as_transport(given)


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without httpx and httpx2 there is an error of ours, at once and not at the first request."""
    for name in ("httpx", "httpx2"):
        monkeypatch.setitem(sys.modules, name, None)  # what the import system understands as "not there"
    with pytest.raises(MissingExtraError, match=r"pip install 'bedrock-async\[httpx\]'"):
        HttpxTransport()


# -- limits and probing


def test_the_default_pool_leaves_room_below_the_descriptor_limit() -> None:
    """1,000 connections, or 64 less than the process may have files open."""
    limit = soft_descriptor_limit()
    assert default_max_connections() == (1000 if limit is None or limit >= 1064 else max(1, limit - 64))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_process_with_few_descriptors_gets_a_smaller_pool() -> None:
    """In a process of its own, whose limit is low."""
    program = (
        "import resource\n"
        "from bedrock_async.transport._sockets import default_max_connections\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "for soft in (200, 30):\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))\n"
        "    print(default_max_connections())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["136", "1"]


@own
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the socket in /proc")
async def test_idle_connections_are_probed(make: Maker) -> None:
    """Keep-alive probing starts after 60 silent seconds, well before the 350 of gateways and load balancers."""

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(OK)

    async with RawServer(script) as server:
        transport = make(trust_env=False)
        response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
        port: int = server.connections[0].transport.get_extra_info("peername")[1]
        with own_socket(port) as connection:
            options = {(level, name): connection.getsockopt(level, name) for level, name, _ in keepalive_options(60)}
        await response.read(100)
        await transport.aclose()
    assert options == {(level, name): value for level, name, value in keepalive_options(60)}
    assert options[socket.IPPROTO_TCP, socket.TCP_KEEPIDLE] == 60


def own_socket(local_port: int) -> socket.socket:
    """Return a duplicate of the socket of this process that is connected from the port."""
    for entry in Path("/proc/self/fd").iterdir():
        if entry.is_socket():
            found = socket.socket(fileno=os.dup(int(entry.name)))
            if found.family == socket.AF_INET and found.getsockname()[1] == local_port:
                return found
            found.close()
    raise AssertionError(f"no socket of this process is connected from port {local_port}")


@own
async def test_a_connection_that_was_idle_for_too_long_is_not_used(make: Maker) -> None:
    """With no idle time allowed, every request gets a connection of its own."""

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(OK)

    async with RawServer(script) as server:
        transport = make(trust_env=False, pool_idle_s=0.0)
        for _ in range(2):
            response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
            assert await body_of(response) == b"ok"
        await transport.aclose()
        assert len(server.connections) == 2


# -- TLS contexts


async def test_a_context_is_built_once_for_each_bundle() -> None:
    """All transports of the process share the context of a bundle, also those that ask for it at the same time."""
    with authority().cert_pem.tempfile() as bundle:
        first, second = await asyncio.gather(shared_context(bundle), shared_context(bundle))
    assert first is second is await shared_context(bundle)
    assert first is not await shared_context(None)
    assert await shared_context(None) is await shared_context(None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
async def test_a_context_is_built_off_the_loop(tmp_path: Path) -> None:
    """Reading a bundle takes its time (here: until the other end of a pipe is opened), and the loop goes on."""
    bundle = tmp_path / "bundle.pem"
    os.mkfifo(bundle)
    building = asyncio.create_task(shared_context(str(bundle)))
    await turns(20)
    assert not building.done()
    await asyncio.to_thread(bundle.write_bytes, authority().cert_pem.bytes())
    assert (await building).cert_store_stats()["x509_ca"] == 1


@own
@pytest.mark.parametrize("named_by", ["argument", "environment"])
async def test_a_bundle_is_trusted(make: Maker, named_by: str) -> None:
    """``ca_bundle`` or AWS_CA_BUNDLE name the CA of a corporate proxy or of a private endpoint."""

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(OK)

    async with RawServer(script, tls=server_tls()) as server:
        with authority().cert_pem.tempfile() as bundle:
            if named_by == "argument":
                transport = make(ca_bundle=bundle, environ={"AWS_CA_BUNDLE": "/nowhere"})
            else:
                transport = make(environ={"AWS_CA_BUNDLE": bundle})
            response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
            assert await response.read(100) == b"ok"
        await transport.aclose()


@own
async def test_the_environment_may_be_left_alone(make: Maker) -> None:
    """With ``trust_env=False`` neither AWS_CA_BUNDLE nor a proxy is read from anywhere."""

    async def script(peer: RawConnection) -> None:
        await peer.closed.wait()

    environ = {"AWS_CA_BUNDLE": "/nowhere", "ALL_PROXY": "http://127.0.0.1:1"}
    async with RawServer(script, tls=server_tls()) as server:
        transport = make(environ=environ, trust_env=False)
        with pytest.raises(TLSError, match="is not trusted"):
            await transport.send(post(server), connect_timeout_s=CONNECT_S)
        await transport.aclose()


@own
@pytest.mark.parametrize("content", [None, b"", b"no certificate"], ids=["missing", "empty", "text"])
async def test_a_bundle_that_cannot_be_read(make: Maker, tmp_path: Path, content: bytes | None) -> None:
    """The error names the file and the variable."""
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_bytes(content)
    transport = make(environ={"AWS_CA_BUNDLE": str(bundle)})
    with pytest.raises(TLSError, match=r"bundle\.pem' cannot be read .*AWS_CA_BUNDLE"):
        await transport.send(WireRequest("POST", "https://127.0.0.1:1/x", {}, b""), connect_timeout_s=CONNECT_S)
    await transport.aclose()


# -- proxies


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({}, "https://a.example/", None),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://a.example/", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p:3128"}, "http://a.example/", None),
        ({"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:2"}, "https://a.example/", "http://low:1"),
        ({"HTTP_PROXY": "p:3128"}, "http://a.example/", "http://p:3128"),
        ({"HTTP_PROXY": "http://p:3128", "REQUEST_METHOD": "GET"}, "http://a.example/", None),
        ({"ALL_PROXY": "http://p:3128"}, "https://a.example/", "http://p:3128"),
        ({"ALL_PROXY": "http://all:1", "HTTPS_PROXY": "http://p:2"}, "https://a.example/", "http://p:2"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "*"}, "https://a.example/", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "a.example"}, "https://a.example/", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "b.example, .Example"}, "https://a.example/", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "ample"}, "https://a.example/", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "a.example:8443"}, "https://a.example/", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "a.example:8443"}, "https://a.example:8443/", None),
        ({"ALL_PROXY": "http://p:1", "no_proxy": "a.example", "NO_PROXY": "b"}, "https://a.example/", None),
        ({"ALL_PROXY": "http://p:1"}, "http://127.0.0.1:8080/", None),
        ({"ALL_PROXY": "http://p:1"}, "http://localhost:8080/", None),
        ({"ALL_PROXY": "http://p:1"}, "http://[::1]:8080/", None),
        ({"HTTPS_PROXY": ""}, "https://a.example/", None),
    ],
)
def test_which_proxy_the_environment_asks_for(environ: Mapping[str, str], url: str, proxy: str | None) -> None:
    """The variables mean what they mean for curl; nothing on this machine goes through a proxy."""
    assert EnvironmentProxies(environ).proxy_for(url) == proxy


def test_a_kind_of_proxy_that_is_not_supported() -> None:
    """A SOCKS proxy is an error that says how it works, not a proxy that is silently not used."""
    with pytest.raises(InvalidRequestError, match=r"a socks5 proxy.*HttpxTransport\("):
        EnvironmentProxies({"ALL_PROXY": "socks5://user:secret@p:1080"}).proxy_for("https://a.example/")


async def ask_through(make: Maker, environ: Mapping[str, str], url: str) -> tuple[WireResponse, bytes]:
    """Send one request from an environment, and read the answer."""
    transport = make(environ=environ)
    try:
        request = WireRequest("POST", url, {"x-a": "1"}, b"{}")
        response = await transport.send(request, connect_timeout_s=CONNECT_S)
        return response, await response.read(100)
    finally:
        await transport.aclose()


@own
async def test_plain_http_through_a_proxy(make: Maker) -> None:
    """The proxy gets the whole URL, quoted as it was given, and its own credentials."""
    asked: list[RawRequest] = []

    async def script(peer: RawConnection) -> None:
        asked.append(await peer.read_request())
        await peer.send(OK)

    async with RawServer(script) as proxy:
        environ = {"HTTP_PROXY": f"http://user:secret@{proxy.host}"}
        _, body = await ask_through(make, environ, "http://a.example:8080/model/a%3Ab/converse")
    assert body == b"ok"
    assert asked[0].line == b"POST http://a.example:8080/model/a%3Ab/converse HTTP/1.1"
    headers = {name.lower(): value for name, value in asked[0].headers}
    assert headers[b"host"] == b"a.example:8080"
    assert headers[b"proxy-authorization"] == b"Basic dXNlcjpzZWNyZXQ="


@own
async def test_tls_through_a_proxy(make: Maker) -> None:
    """The proxy is asked for a tunnel and sees nothing of the request; the certificate is the endpoint's."""
    asked: list[RawRequest] = []

    async def endpoint(peer: RawConnection) -> None:
        asked.append(await peer.read_request())
        await peer.send(OK)

    async with RawServer(endpoint, tls=server_tls("a.example")) as server:
        tunnel = Tunnel(server.port)
        async with RawServer(tunnel) as proxy:
            with authority().cert_pem.tempfile() as bundle:
                environ = {"HTTPS_PROXY": f"http://user:secret@{proxy.host}", "AWS_CA_BUNDLE": bundle}
                _, body = await ask_through(make, environ, "https://a.example/model/a%3Ab/converse")
    assert body == b"ok"
    assert tunnel.asked.line == b"CONNECT a.example:443 HTTP/1.1"
    assert (b"proxy-authorization", b"Basic dXNlcjpzZWNyZXQ=") in [
        (name.lower(), value) for name, value in tunnel.asked.headers
    ]
    assert asked[0].line == b"POST /model/a%3Ab/converse HTTP/1.1"
    assert b"proxy-authorization" not in [name.lower() for name, _ in asked[0].headers]


@own
async def test_a_proxy_that_refuses(make: Maker) -> None:
    """The error says that it was the proxy, with its status and without its password; nothing was sent."""

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")

    async with RawServer(script) as proxy:
        environ = {"HTTPS_PROXY": f"http://user:secret@{proxy.host}"}
        with pytest.raises(ConnectError, match=r"the proxy refused to connect to a\.example:443 .*407") as caught:
            await ask_through(make, environ, "https://a.example/x")
    assert not caught.value.sent
    assert "secret" not in str(caught.value)


@own
async def test_a_proxy_that_is_not_there(make: Maker) -> None:
    """The error of a connection that cannot be made."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        environ = {"HTTPS_PROXY": f"http://user:secret@127.0.0.1:{taken.getsockname()[1]}"}
        with pytest.raises(ConnectError, match="refused the connection") as caught:
            await ask_through(make, environ, "https://a.example/x")
    assert "secret" not in str(caught.value)
