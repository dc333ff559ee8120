"""Media from the web: fetched within bounds, and never from inside the network unless that is wanted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias

import pytest
from aiohttp import web
from media_files import DOCUMENTS, IMAGES

from bedrock_async import (
    BedrockError,
    ConnectError,
    ConnectionLostError,
    Document,
    Image,
    InvalidRequestError,
    NameResolutionError,
    ProtocolError,
    RedirectError,
    TotalTimeoutError,
    TransportError,
)
from bedrock_async.transport.download import download, is_public

Answer: TypeAlias = "Callable[[web.Request], Awaitable[web.StreamResponse]]"
BODY: Final = IMAGES["png"]


class Site:
    """A server on loopback with one page, and what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = self.image
        self.requests: list[web.Request] = []
        self.url = ""
        self.released = asyncio.Event()

    async def image(self, request: web.Request) -> web.StreamResponse:
        """Answer with an image."""
        return web.Response(body=BODY, content_type="image/png")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Note the request, and answer it."""
        self.requests.append(request)
        return await self.answer(request)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A running `Site`."""
    here = Site()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", here.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    server = web.TCPSite(runner, "127.0.0.1", 0)
    await server.start()
    port: int = runner.addresses[0][1]
    here.url = f"http://127.0.0.1:{port}"
    yield here
    here.released.set()
    await runner.cleanup()


def says(**options: Any) -> Answer:  # noqa: ANN401 - the arguments of a response
    """Return what answers always the same."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(**options)

    return answer


def moved(location: str, status: int = 302) -> Answer:
    """Return what leads elsewhere."""
    return says(status=status, headers={"Location": location})


async def test_an_image_is_fetched(site: Site) -> None:
    """The bytes come as they are; nothing of the caller goes along, no cookie, no credentials, no compression."""
    assert await Image.fetch(f"{site.url}/cat.png", allow_private=True) == Image.from_bytes(BODY)
    headers = site.requests[0].headers
    assert headers["Accept-Encoding"] == "identity"
    assert not {"Authorization", "Cookie", "Referer"} & set(headers)


@pytest.mark.parametrize(
    "url", ["{site}/cat.png", "http://localhost:{port}/cat.png", "http://[::ffff:127.0.0.1]:{port}/"]
)
async def test_a_private_address_is_not_reached(site: Site, url: str) -> None:
    """An address, a name that resolves to one, and one wrapped in IPv6: no request is made to any of them."""
    port = site.url.rpartition(":")[2]
    with pytest.raises(InvalidRequestError, match="not a public internet address") as caught:
        await Image.fetch(url.format(site=site.url, port=port))
    assert "allow_private=True" in str(caught.value.hint)
    assert not site.requests


async def test_a_redirect_is_checked_again(site: Site) -> None:
    """A public page that leads to a private address is followed no further."""
    seen: list[str] = []

    def public_at_first(address: str) -> bool:
        seen.append(address)
        return len(seen) == 1

    site.answer = moved("/inside")
    with pytest.raises(InvalidRequestError, match="not a public internet address"):
        await download(f"{site.url}/outside", max_bytes=1_000, timeout_s=30, public=public_at_first)
    assert [request.path for request in site.requests] == ["/outside"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(site: Site, status: int) -> None:
    """Each kind of redirect leads to the image, relative URLs too."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (site.image(request) if request.path == "/b/cat.png" else moved("../b/cat.png", status)(request))

    site.answer = answer
    assert (await Image.fetch(f"{site.url}/a/x", allow_private=True)).format == "png"


async def test_redirects_are_counted(site: Site) -> None:
    """A page that leads to itself is given up after five redirects."""
    site.answer = moved("/again")
    with pytest.raises(RedirectError, match="redirects more than 5 times"):
        await Image.fetch(site.url, allow_private=True)
    assert len(site.requests) == 6


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://example.com/x", "gopher://x", "http://", "http://[::1"]
)
async def test_redirects_lead_to_the_web_only(site: Site, location: str) -> None:
    """Other schemes, and what is no URL, are refused."""
    site.answer = moved(location)
    with pytest.raises(RedirectError):
        await Image.fetch(site.url, allow_private=True)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "file:///etc/passwd",
            "ftp://example.com/a",
            "s3://bucket/a.png",
            "data:image/png;base64,aaaa",
            "cat.png",
            "",
        ),
        *("http://", "//example.com/a.png", "http://user:password@example.com/a.png", 5),
    ],
)
async def test_other_urls_are_refused(url: Any) -> None:  # noqa: ANN401 - also what is no text
    """Only http and https URLs with a host are fetched, and none with a password, which is not shown."""
    with pytest.raises(InvalidRequestError) as caught:
        await Image.fetch(url)
    assert caught.value.path == "url"
    assert "password@" not in str(caught.value)


async def test_the_size_is_bounded(site: Site) -> None:
    """A length that is too large is refused before the body; a body that goes on without one is cut."""
    with pytest.raises(InvalidRequestError, match=rf"has {len(BODY)} bytes; at most 10 are downloaded"):
        await Image.fetch(site.url, allow_private=True, max_bytes=10)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while True:
            await response.write(bytes(65_536))

    site.answer = endless
    with pytest.raises(InvalidRequestError, match="has more than 1000000 bytes"):
        await Image.fetch(site.url, allow_private=True, max_bytes=1_000_000)


async def test_the_time_is_bounded(site: Site) -> None:
    """A server that says nothing is given up after ``timeout_s``."""

    async def silent(_: web.Request) -> web.StreamResponse:
        await site.released.wait()
        return web.Response()

    site.answer = silent
    with pytest.raises(TotalTimeoutError, match=r"was not read within 0.05 s"):
        await Image.fetch(site.url, allow_private=True, timeout_s=0.05)


async def test_cancelling_ends_the_request(site: Site) -> None:
    """A fetch that is cancelled leaves no connection."""
    asked = asyncio.Event()

    async def silent(_: web.Request) -> web.StreamResponse:
        asked.set()
        await site.released.wait()
        return web.Response()

    site.answer = silent
    task = asyncio.create_task(Image.fetch(site.url, allow_private=True))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (says(status=404), InvalidRequestError, "answered 404"),
        (says(status=429), TransportError, "answered 429"),
        (says(status=503), TransportError, "answered 503"),
        (says(status=204), TransportError, "answered 204"),
        (says(status=302), TransportError, "answered 302"),
        (says(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), ProtocolError, "compressed"),
        (says(body=b"", content_type="image/png"), InvalidRequestError, "is empty"),
        (says(text="<html>Log in</html>", content_type="text/html"), InvalidRequestError, "a html file"),
    ],
)
async def test_answers_that_are_no_image(site: Site, answer: Answer, kind: type[BedrockError], said: str) -> None:
    """Each is an error of our tree that says what came, without the query of the URL, which can be a signature."""
    site.answer = answer
    with pytest.raises(kind, match=said) as caught:
        await Image.fetch(f"{site.url}/cat.png?X-Amz-Signature=canary", allow_private=True)
    assert "canary" not in str(caught.value)


async def test_servers_that_are_not_there() -> None:
    """A refused connection and a name that nobody has are errors of the transport."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        with pytest.raises(ConnectError) as refused:
            await Image.fetch(f"http://127.0.0.1:{port}/", allow_private=True)
    with pytest.raises(NameResolutionError) as unknown:
        await Image.fetch(f"http://{'a' * 64}.invalid/", allow_private=True)
    for failure in (refused.value, unknown.value):  # the advice is about the URL, not about Bedrock's endpoint
        assert "Check the URL" in str(failure)
        assert "endpoint" not in str(failure)


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"timeout_s": "5"}, "timeout_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_bytes": "1"}, "max_bytes"),
        ({"max_bytes": True}, "max_bytes"),
        ({"format": ["png"]}, "format"),
        ({"url": "http://127.0.0.1:99999/cat.png"}, "url"),
    ],
)
async def test_arguments_that_are_wrong_are_named(site: Site, wrong: dict[str, Any], path: str) -> None:
    """With the tree's own error, before anything is sent where that can be."""
    with pytest.raises(InvalidRequestError) as caught:
        arguments: dict[str, Any] = {"url": f"{site.url}/cat.png", "allow_private": True, **wrong}
        await Image.fetch(**arguments)
    assert caught.value.path == path


async def test_a_connection_that_breaks(site: Site) -> None:
    """A body that ends too early is an error, not a smaller image."""

    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(BODY[:10])
        assert request.transport is not None
        request.transport.close()
        return response

    site.answer = broken
    with pytest.raises(ConnectionLostError, match="after 10 bytes"):
        await Image.fetch(site.url, allow_private=True)


async def test_a_document_is_named_and_typed_by_the_server(site: Site) -> None:
    """Text is of the type that the server names, else of the URL's ending; the name is the URL's last step."""
    site.answer = says(body=DOCUMENTS["csv"], headers={"Content-Type": "text/csv; charset=utf-8"})
    document = await Document.fetch(f"{site.url}/reports/q3.php?x=1", allow_private=True)
    assert (document.format, document.name) == ("csv", "q3-php")
    site.answer = says(body=DOCUMENTS["md"], headers={"Content-Type": "application/octet-stream"})
    assert (await Document.fetch(f"{site.url}/README.md", allow_private=True, name="Read me")).format == "md"
    site.answer = says(body=DOCUMENTS["pdf"], headers={"Content-Type": "text/plain"})
    assert (await Document.fetch(f"{site.url}/a", allow_private=True)).format == "pdf"


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "0.0.0.0",  # noqa: S104 - looked at, not bound to
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
        ),
        *(
            "192.0.0.8",
            "198.18.0.1",
            "192.0.2.1",
            "240.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fe80::1%eth0",
        ),
        *("fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
        *("2001:0:1::1", "2001:db8::1", "64:ff9b:1::1", "fec0::1"),
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    """Loopback, private, link-local (instance metadata), shared, reserved, and those inside IPv6 addresses."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "52.94.236.248", "2600:1f18::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_that_are_public(address: str) -> None:
    """Those of the internet pass, however they are written."""
    assert is_public(address)
