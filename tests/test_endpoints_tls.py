"""CA bundles, client certificates and proxies of a client, with real TLS and real tunnels on loopback."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Final

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from rawserver import RawServer
from transports import Tunnel, authority, server_tls

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    ConnectError,
    ConnectionOptions,
    Credentials,
    InvalidRequestError,
    TLSError,
    TransportError,
)
from bedrock_async.testing import BedrockEmulator, ScriptedModel
from bedrock_async.testing.canned import CannedTransport
from bedrock_async.transport import as_transport
from bedrock_async.transport._proxies import EnvironmentProxies

MODEL: Final = "us.amazon.nova-lite-v1:0"
NOBODY: Final = "http://127.0.0.1:1"

every_transport = pytest.mark.parametrize("transport", ["native", "aiohttp", "httpx"])


def emulator_of(context: ssl.SSLContext) -> BedrockEmulator:
    """Return an emulator that serves TLS."""
    return BedrockEmulator([ScriptedModel.text("Here.")], ssl_context=context)


async def ask(endpoint_url: str, **keywords: Any) -> str:  # noqa: ANN401
    """Return the answer of the model behind the endpoint."""
    async with BedrockClient(
        region="us-east-1", endpoint_url=endpoint_url, credentials=Credentials("AKID", "s"), retry=NO_RETRY, **keywords
    ) as client:
        return (await client.converse(MODEL, "Where?")).text


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    """Return the path of a file with the CA that vouches for the emulator."""
    path = tmp_path / "bundle.pem"
    path.write_bytes(authority().cert_pem.bytes())
    return str(path)


# -- CA bundles


@every_transport
@pytest.mark.parametrize("named_by", ["connection", "environment", "profile"])
async def test_a_ca_bundle_is_trusted(
    transport: str, named_by: str, bundle: str, monkeypatch: pytest.MonkeyPatch, no_aws_settings: Path
) -> None:
    """The bundle of ``connection`` goes before AWS_CA_BUNDLE, and that before ``ca_bundle`` of the profile."""
    config = no_aws_settings / ".aws" / "config"
    config.parent.mkdir()
    config.write_text(f"[profile dev]\nca_bundle = {bundle if named_by == 'profile' else '/nowhere'}\n")
    if named_by != "profile":
        monkeypatch.setenv("AWS_CA_BUNDLE", bundle if named_by == "environment" else "/nowhere")
    monkeypatch.setenv("AWS_PROFILE", "dev")
    connection = ConnectionOptions(ca_bundle=bundle) if named_by == "connection" else None
    async with emulator_of(server_tls()) as emulator:
        assert await ask(emulator.url, transport=transport, connection=connection) == "Here."


async def test_the_bundle_of_a_sessions_profile_counts(bundle: str, no_aws_settings: Path) -> None:
    """A session that was made for a profile brings what the profile says of certificates."""
    config = no_aws_settings / ".aws" / "config"
    config.parent.mkdir()
    config.write_text(f"[profile dev]\nca_bundle = {bundle}\naws_access_key_id = A\naws_secret_access_key = s\n")
    library: Any = pytest.importorskip("botocore.session")
    async with (
        emulator_of(server_tls()) as emulator,
        BedrockClient(region="us-east-1", endpoint_url=emulator.url, session=library.Session(profile="dev")) as client,
    ):
        assert (await client.converse(MODEL, "Where?")).text == "Here."


async def test_a_stranger_is_not_trusted() -> None:
    """Without a bundle the system's store decides, which has never heard of the authority of these tests."""
    async with emulator_of(server_tls()) as emulator:
        with pytest.raises(TLSError, match=r"not trusted .*AWS_CA_BUNDLE"):
            await ask(emulator.url)


# -- client certificates


@pytest.fixture
def mutual_tls() -> tuple[ssl.SSLContext, trustme.CA]:
    """Return the context of a server that asks for certificates, and the authority that issues them."""
    clients = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert("127.0.0.1").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    clients.configure_trust(context)  # pyright: ignore[reportUnknownMemberType]
    context.verify_mode = ssl.CERT_REQUIRED
    return context, clients


@every_transport
@pytest.mark.parametrize("files", [1, 2])
async def test_a_client_certificate_is_shown(
    transport: str, files: int, bundle: str, mutual_tls: tuple[ssl.SSLContext, trustme.CA], tmp_path: Path
) -> None:
    """An endpoint that asks for a certificate gets it, from one file with its key or from one for each."""
    context, clients = mutual_tls
    certificate, key = written(clients.issue_cert("client.example"), tmp_path)
    if files == 1:
        certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
    connection = ConnectionOptions(
        ca_bundle=bundle, client_cert=str(certificate) if files == 1 else (str(certificate), str(key))
    )
    async with emulator_of(context) as emulator:
        assert await ask(emulator.url, transport=transport, connection=connection) == "Here."
        with pytest.raises(TransportError):
            await ask(emulator.url, transport=transport, connection=ConnectionOptions(ca_bundle=bundle))


def written(issued: trustme.LeafCert, directory: Path) -> tuple[Path, Path]:
    """Return the files of a certificate and of its key."""
    certificate, key = directory / "client.pem", directory / "client.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return certificate, key


@pytest.mark.parametrize("fault", ["missing", "not its key", "password"])
async def test_a_client_certificate_that_cannot_be_read(
    fault: str, bundle: str, mutual_tls: tuple[ssl.SSLContext, trustme.CA], tmp_path: Path
) -> None:
    """The error names the file, and a key with a password does not make anybody wait for one at the terminal."""
    context, clients = mutual_tls
    issued = clients.issue_cert("client.example")
    certificate, key = written(issued, tmp_path)
    match fault:
        case "missing":
            certificate.unlink()
        case "not its key":
            key.write_bytes(clients.issue_cert("other.example").private_key_pem.bytes())
        case _:
            private = serialization.load_pem_private_key(issued.private_key_pem.bytes(), password=None)
            form, format_ = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
            key.write_bytes(private.private_bytes(form, format_, serialization.BestAvailableEncryption(b"password")))
    connection = ConnectionOptions(ca_bundle=bundle, client_cert=(str(certificate), str(key)))
    async with emulator_of(context) as emulator:
        with pytest.raises(TLSError, match=r"the client certificate '.*client\.pem' cannot be read .*PEM file"):
            await ask(emulator.url, connection=connection)


# -- proxies


@every_transport
@pytest.mark.parametrize("named_by", ["connection", "environment"])
async def test_a_client_goes_through_a_proxy(
    transport: str, named_by: str, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tunnel to the endpoint is asked for, with the proxy's own password; ``connection`` goes before HTTPS_PROXY."""
    async with emulator_of(server_tls("a.example")) as emulator:
        tunnel = Tunnel(int(emulator.url.rpartition(":")[2]))
        async with RawServer(tunnel) as proxy:
            url = f"http://user:secret@{proxy.host}"
            monkeypatch.setenv("HTTPS_PROXY", NOBODY if named_by == "connection" else url)
            proxies = {"https": url, "http": NOBODY} if named_by == "connection" else None
            connection = ConnectionOptions(ca_bundle=bundle, proxies=proxies)
            assert await ask("https://a.example", transport=transport, connection=connection) == "Here."
        assert emulator.requests[-1].headers["host"] == "a.example"
        assert "proxy-authorization" not in emulator.requests[-1].headers
    assert tunnel.asked.line == b"CONNECT a.example:443 HTTP/1.1"
    assert (b"proxy-authorization", b"Basic dXNlcjpzZWNyZXQ=") in [(k.lower(), v) for k, v in tunnel.asked.headers]
    assert "secret" not in repr(connection)


@pytest.mark.parametrize(
    ("given", "url", "proxy"),
    [
        ({}, "https://a.example/", None),
        ({"https": "http://p:3128"}, "https://a.example/", "http://p:3128"),
        ({"https": "p:3128"}, "https://a.example/", "http://p:3128"),
        ({"https": "//p:3128"}, "https://a.example/", "http://p:3128"),
        ({"https": "http://p:3128"}, "http://a.example/", None),
        ({"http": "http://p:3128"}, "http://localhost:8080/", "http://p:3128"),
        ({"https": "http://p:3128"}, "https://direct.example/", "http://p:3128"),
    ],
)
def test_given_proxies_replace_the_environment(given: dict[str, str], url: str, proxy: str | None) -> None:
    """As in botocore: what is given counts alone, also for this machine and for what NO_PROXY names; {} is none."""
    environ = {"ALL_PROXY": NOBODY, "HTTPS_PROXY": NOBODY, "NO_PROXY": "direct.example", "REQUEST_METHOD": "GET"}
    assert EnvironmentProxies(environ, given).proxy_for(url) == proxy


async def test_a_proxy_has_certificates_of_its_own(bundle: str, tmp_path: Path) -> None:
    """An https proxy of another authority, which asks for a certificate, is trusted for itself alone."""
    proxies = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    proxies.issue_cert("127.0.0.1").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    proxies.configure_trust(context)  # pyright: ignore[reportUnknownMemberType]
    context.verify_mode = ssl.CERT_REQUIRED
    proxy_bundle = tmp_path / "proxy.pem"
    proxy_bundle.write_bytes(proxies.cert_pem.bytes())
    certificate, key = written(proxies.issue_cert("client.example"), tmp_path)
    async with emulator_of(server_tls("a.example")) as emulator:
        tunnel = Tunnel(int(emulator.url.rpartition(":")[2]))
        async with RawServer(tunnel, tls=context) as proxy:
            options = {
                "proxies": {"https": proxy.url},
                "proxy_ca_bundle": str(proxy_bundle),
                "proxy_client_cert": (str(certificate), str(key)),
            }
            connection: Any = ConnectionOptions(ca_bundle=bundle, **options)  # type: ignore[arg-type]
            assert await ask("https://a.example", connection=connection) == "Here."
            for missing in ({"ca_bundle": str(proxy_bundle)}, {"ca_bundle": bundle, "proxy_ca_bundle": bundle}):
                connection = ConnectionOptions(**{**options, **missing})  # type: ignore[arg-type]
                with pytest.raises(ConnectError, match="not trusted"):
                    await ask("https://a.example", connection=connection)


# -- what cannot be


@pytest.mark.parametrize("transport", ["aiohttp", "httpx"])
@pytest.mark.parametrize("option", ["proxy_ca_bundle", "proxy_client_cert"])
def test_certificates_of_a_proxy_need_the_native_transport(transport: str, option: str) -> None:
    """The others would trust the proxy's authority for the endpoint too: they refuse."""
    options: Any = {option: "/nowhere"}
    with pytest.raises(InvalidRequestError, match="only the native transport"):
        as_transport(transport, options=ConnectionOptions(**options))


@pytest.mark.parametrize("option", ["ca_bundle", "client_cert", "proxies", "proxy_ca_bundle", "proxy_client_cert"])
def test_a_ready_transport_has_settled_it_for_itself(option: str) -> None:
    """An option that would be passed over in silence is refused by name; what is not of the transport is taken."""
    options: Any = {option: {} if option == "proxies" else "/nowhere"}
    with pytest.raises(
        InvalidRequestError, match=rf"{option} of connection=\.\.\. cannot be applied to an existing transport"
    ):
        BedrockClient(region="us-east-1", transport=CannedTransport([]), connection=ConnectionOptions(**options))
    agent = ConnectionOptions(user_agent_extra="me/1", use_fips=True)
    BedrockClient(region="us-east-1", transport=CannedTransport([]), connection=agent)


@pytest.mark.parametrize("name", ["user_agent", "user_agent_extra"])
@pytest.mark.parametrize("text", ["", "a\r\nx-evil: 1", "caf\u00e9", 7])
def test_what_cannot_stand_in_a_header(name: str, text: object) -> None:
    """A line end in the user agent would be a header of its own."""
    options: Any = {name: text}
    with pytest.raises(InvalidRequestError, match=f"connection.{name} is not a valid header value") as caught:
        ConnectionOptions(**options)
    assert caught.value.path == f"connection.{name}"


def test_a_proxy_is_given_by_the_scheme_of_the_endpoint() -> None:
    """A key that no endpoint has would be a proxy that is silently not used."""
    with pytest.raises(InvalidRequestError, match="has the key 'HTTPS'"):
        ConnectionOptions(proxies={"HTTPS": "http://p:3128"})
