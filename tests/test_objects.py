"""Reading objects of S3 through each library of AWS, against an S3 that is code of others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import anyio
import pytest
from rawserver import RawConnection, RawServer
from s3_server import CREDENTIALS, SESSIONS, S3Server, s3_server

from bedrock_async import (
    AccessDeniedError,
    AuthenticationError,
    BedrockError,
    ClientClosedError,
    ConnectError,
    ConnectionLostError,
    Credentials,
    CredentialsError,
    InvalidRequestError,
    ObjectNotFoundError,
    ProtocolError,
    StreamError,
    TransportError,
)
from bedrock_async.auth import BearerAuthenticator, StaticAuthenticator, shared_credentials
from bedrock_async.transport.objects import ObjectStream, S3ObjectReader
from bedrock_async.transport.s3 import S3Clients

REGION: Final = "us-east-1"
LARGE: Final = bytes(range(256)) * 4096  # a megabyte: several pieces


WAYS: Final = ["none", *SESSIONS]


@pytest.fixture(scope="module")
def s3() -> Generator[S3Server]:
    """One S3 for the module; each test has a bucket of its own."""
    with s3_server() as server:
        yield server


@pytest.fixture(params=WAYS)
def session(request: pytest.FixtureRequest) -> Any:  # noqa: ANN401 - of any library
    """A session of each library that is installed, and none."""
    return SESSIONS[request.param]() if request.param != "none" else None


async def _credentials() -> Credentials:
    return CREDENTIALS


@asynccontextmanager
async def reader_of(
    url: str,
    session: Any = None,  # noqa: ANN401
    credentials: Callable[[], Any] = _credentials,
) -> AsyncGenerator[S3ObjectReader]:
    """A reader of the S3 at ``url``, closed in the end."""
    reader = S3ObjectReader(S3Clients(region=REGION, session=session, endpoint_url=url), credentials)
    try:
        yield reader
    finally:
        await reader.aclose()


async def test_an_object_is_read_whole_and_in_pieces(s3: S3Server, session: Any) -> None:  # noqa: ANN401
    """Every library gives the same bytes, whole and as a stream that tells its size."""
    bucket = s3.bucket({"jobs/abc/output.mp4": LARGE})
    uri = f"s3://{bucket}/jobs/abc/output.mp4"
    async with reader_of(s3.url, session) as reader:
        whole = await reader.read(uri, max_bytes=len(LARGE))
        async with reader.open(uri) as stream:
            assert stream.size == len(LARGE)
            pieces = [piece async for piece in stream]
    assert whole == LARGE
    assert b"".join(pieces) == LARGE
    assert len(pieces) > 1


async def test_a_listing_has_every_object_below_the_prefix(s3: S3Server, session: Any) -> None:  # noqa: ANN401
    """Names, sizes and times come in the order of the keys, and nothing from beside the prefix."""
    bucket = s3.bucket({"a/2": b"22", "a/1": b"1", "ab/3": b"3"})
    async with reader_of(s3.url, session) as reader:
        found = await reader.list(f"s3://{bucket}/a/")
    assert [(each.key, each.size, each.s3_uri) for each in found] == [
        ("a/1", 1, f"s3://{bucket}/a/1"),
        ("a/2", 2, f"s3://{bucket}/a/2"),
    ]
    assert all(each.last_modified is not None and each.last_modified.tzinfo is not None for each in found)


async def test_a_listing_of_more_than_one_page_is_whole(session: Any) -> None:  # noqa: ANN401
    """S3 lists a thousand objects at once; the rest is asked for with the token of the page before."""
    lines: list[bytes] = []

    async def page(peer: RawConnection) -> None:
        lines.append((await peer.read_request()).line)
        more = b"<IsTruncated>true</IsTruncated><NextContinuationToken>the-token</NextContinuationToken>"
        item = b"<Contents><Key>a/%d</Key><Size>%d</Size></Contents>" % (len(lines), len(lines))
        body = b"<ListBucketResult>%b%b</ListBucketResult>" % (item, more if len(lines) == 1 else b"")
        head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/xml\r\ncontent-length: %d\r\n\r\n"
        await peer.send(head % len(body), body)

    async with RawServer(page) as server, reader_of(server.url, session) as reader:
        found = await reader.list("s3://bucket/a/")
    assert [(each.key, each.size) for each in found] == [("a/1", 1), ("a/2", 2)]
    assert b"continuation-token" not in lines[0]
    assert b"continuation-token=the-token" in lines[1]


async def test_an_empty_object_is_no_piece(s3: S3Server, session: Any) -> None:  # noqa: ANN401
    """A stream of nothing ends at once."""
    bucket = s3.bucket({"empty": b""})
    async with reader_of(s3.url, session) as reader:
        assert [piece async for piece in reader.open(f"s3://{bucket}/empty")] == []
        assert await reader.read(f"s3://{bucket}/empty", max_bytes=0) == b""


async def test_a_missing_object_is_an_error_with_its_place(s3: S3Server, session: Any) -> None:  # noqa: ANN401
    """The error names the object, or the bucket when it is that which is missing."""
    bucket = s3.bucket()
    async with reader_of(s3.url, session) as reader:
        with pytest.raises(ObjectNotFoundError, match=f"no object s3://{bucket}/nothing") as caught:
            await reader.read(f"s3://{bucket}/nothing", max_bytes=1)
        with pytest.raises(ObjectNotFoundError, match="bucket no-such-bucket does not exist"):
            await reader.read("s3://no-such-bucket/nothing", max_bytes=1)
        with pytest.raises(ObjectNotFoundError, match="bucket no-such-bucket does not exist"):
            await reader.list("s3://no-such-bucket/nothing/")
    assert caught.value.s3_uri == f"s3://{bucket}/nothing"


async def test_a_denied_object_names_bucket_key_and_action(s3: S3Server, session: Any) -> None:  # noqa: ANN401
    """What S3 refuses is an AccessDeniedError, which says what to allow, and that the object may not exist."""
    bucket = s3.bucket({"jobs/output.json": b"{}"})
    s3.deny(bucket, "s3:GetObject")
    async with reader_of(s3.url, session) as reader:
        with pytest.raises(AccessDeniedError) as caught:
            await reader.read(f"s3://{bucket}/jobs/output.json", max_bytes=10)
    text = str(caught.value)
    assert f"bucket {bucket}, key jobs/output.json" in text
    assert f"Allow s3:GetObject on the object s3://{bucket}/jobs/output.json" in text
    assert "s3:ListBucket" in text
    assert caught.value.status == 403
    assert not caught.value.retryable


async def test_a_denied_listing_names_bucket_and_action(s3: S3Server) -> None:
    """Listing needs another permission, on the bucket; the refusal is that of IAM's own rules."""
    bucket = s3.bucket({"a/1": b"1"})
    user = s3.user(["s3:GetObject"])

    async def credentials() -> Credentials:
        return user

    async with reader_of(s3.url, credentials=credentials) as reader:
        with s3.asking_iam():
            assert await reader.read(f"s3://{bucket}/a/1", max_bytes=1) == b"1"
            with pytest.raises(AccessDeniedError) as caught:
                await reader.list(f"s3://{bucket}/a/")
    assert f"Allow s3:ListBucket on the bucket {bucket}" in str(caught.value)


async def test_unknown_keys_are_an_authentication_error(s3: S3Server) -> None:
    """A key that S3 does not know is told as such, and the secret stays where it is."""
    bucket = s3.bucket({"a": b"1"})
    async with reader_of(s3.url) as reader:
        with s3.asking_iam(), pytest.raises(AuthenticationError) as caught:
            await reader.read(f"s3://{bucket}/a", max_bytes=1)
    assert caught.value.code == "InvalidAccessKeyId"
    assert CREDENTIALS.secret_access_key not in str(caught.value)


async def test_no_more_than_the_limit_is_read_into_memory(s3: S3Server) -> None:
    """An object that is larger than allowed is refused before it is read, and the way out is named."""
    bucket = s3.bucket({"large": b"x" * 11})
    async with reader_of(s3.url) as reader:
        said = "at least 11 bytes; at most 10 are read into memory.*Stream it to a file"
        with pytest.raises(ProtocolError, match=said):
            await reader.read(f"s3://{bucket}/large", max_bytes=10)
        assert await reader.read(f"s3://{bucket}/large", max_bytes=11) == b"x" * 11


@pytest.mark.parametrize(
    "uri", ["", "https://bucket/key", "s3://", "s3://UPPER/key", "s3://ab/key", "arn:aws:s3:::bucket/key", None, 3]
)
async def test_what_is_no_uri_is_refused_here(uri: Any) -> None:  # noqa: ANN401
    """A place that cannot be one is told before anything is sent."""
    async with reader_of("http://127.0.0.1:1") as reader:
        with pytest.raises(InvalidRequestError, match=r"s3_uri is .*looks like s3://bucket/prefix"):
            reader.open(uri)
        with pytest.raises(InvalidRequestError, match="s3_uri is "):
            await reader.list(uri)


def test_a_bucket_alone_is_no_object() -> None:
    """Reading needs a key."""
    reader = S3ObjectReader(S3Clients(region=REGION), _credentials)
    with pytest.raises(InvalidRequestError, match="s3://bucket names a bucket"):
        reader.open("s3://bucket")


async def test_an_unreachable_s3_is_a_connect_error(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    """A port where nobody listens is told as that, with the place that was asked for."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    async with RawServer(_closing) as server:
        url = server.url
    async with reader_of(url, session) as reader:
        with pytest.raises(ConnectError, match="s3://bucket/key"):
            await reader.read("s3://bucket/key", max_bytes=1)


async def _closing(peer: RawConnection) -> None:
    await peer.read_request()


async def _half(peer: RawConnection) -> None:
    await peer.read_request()
    await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 10\r\n\r\nhalf")
    peer.end()


async def test_a_connection_that_breaks_in_the_middle_is_an_error(
    session: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half an object is never taken for a whole one."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    async with RawServer(_half) as server, reader_of(server.url, session) as reader:
        with pytest.raises(ConnectionLostError, match="s3://bucket/key"):
            await reader.read("s3://bucket/key", max_bytes=100)


async def test_cancelling_closes_the_connection(session: Any) -> None:  # noqa: ANN401
    """A reader that is cancelled while the object is on its way lets go of the connection, without holding the loop up.

    A library that reads in a thread would keep the thread, and the lock that closing needs, until its timeout of 60 s.
    """
    arrived, left = asyncio.Event(), asyncio.Event()

    async def never_ending(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 10\r\n\r\nhalf")
        arrived.set()
        await peer.closed.wait()
        left.set()

    async with RawServer(never_ending) as server, reader_of(server.url, session) as reader:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: reader.read("s3://bucket/key", max_bytes=100))
                await arrived.wait()
                group.cancel_scope.cancel()
            await left.wait()


async def test_leaving_a_stream_early_closes_it(s3: S3Server, session: Any) -> None:  # noqa: ANN401
    """``async with`` and ``break`` leave no connection behind (an open one would fail the test with a warning)."""
    bucket = s3.bucket({"large": LARGE})
    async with reader_of(s3.url, session) as reader:
        async with reader.open(f"s3://{bucket}/large") as stream:
            async for piece in stream:
                assert LARGE.startswith(piece)
                break
        assert [each async for each in stream] == []
        await stream.aclose()


async def test_a_bare_loop_that_is_left_closes_the_connection(session: Any) -> None:  # noqa: ANN401
    """When the last reference to a stream dies, its connection goes, though nobody closed it."""
    left = asyncio.Event()

    async def never_ending(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 600000\r\n\r\n", bytes(300_000)
        )
        await peer.closed.wait()
        left.set()

    async with RawServer(never_ending) as server, reader_of(server.url, session) as reader:
        async for piece in reader.open("s3://bucket/key"):
            assert piece
            break
        with anyio.fail_after(30):
            await left.wait()


async def test_the_owner_of_the_bucket_is_checked() -> None:
    """The account that the bucket must belong to travels with every request."""
    heads: list[bytes] = []

    async def refuse(peer: RawConnection) -> None:
        heads.append((await peer.read_request()).head.lower())
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        await peer.send(
            b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-type: application/xml\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )

    async with RawServer(refuse) as server, reader_of(server.url) as reader:
        with pytest.raises(AccessDeniedError, match="Access Denied"):
            await reader.read("s3://bucket/key", max_bytes=1, owner="111122223333")
        with pytest.raises(AccessDeniedError, match="Access Denied"):
            await reader.list("s3://bucket/key/", owner="111122223333")
    assert len(heads) == 2
    assert all(b"x-amz-expected-bucket-owner: 111122223333" in head for head in heads)


async def test_every_request_is_signed_with_the_credentials_of_now() -> None:
    """Renewed credentials are used from the next object on; a stream that is open goes on with its own."""
    keys: list[str] = []
    current = [CREDENTIALS]

    async def credentials() -> Credentials:
        return current[0]

    async def serve(peer: RawConnection) -> None:
        head = (await peer.read_request()).head.decode()
        keys.append(head.partition("Credential=")[2].partition("/")[0])
        await peer.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")

    async with RawServer(serve) as server, reader_of(server.url, credentials=credentials) as reader:
        async with reader.open("s3://bucket/first") as open_stream:
            current[0] = Credentials("AKIDSECOND", "secret", "token")
            assert await reader.read("s3://bucket/second", max_bytes=2) == b"ok"
            assert [piece async for piece in open_stream] == [b"ok"]
        assert await reader.read("s3://bucket/third", max_bytes=2) == b"ok"
    assert keys == ["AKIDEXAMPLE", "AKIDSECOND", "AKIDSECOND"]


async def test_one_client_serves_many_reads_at_once(s3: S3Server) -> None:
    """Concurrent first reads share one client, and all get their own object."""
    bucket = s3.bucket({f"a/{number}": b"%d" % number for number in range(20)})
    found: dict[int, bytes] = {}
    async with reader_of(s3.url) as reader:

        async def read(number: int) -> None:
            found[number] = await reader.read(f"s3://{bucket}/a/{number}", max_bytes=9)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(read, number)
    assert found == {number: b"%d" % number for number in range(20)}


async def test_a_client_that_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration that the library refuses is an error of our tree, with the library's reason."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    async with reader_of("http://127.0.0.1:1") as reader:
        with pytest.raises(TransportError, match="nobody"):
            await reader.read("s3://bucket/key", max_bytes=1)


async def test_a_client_that_is_being_made_does_not_survive_the_close() -> None:
    """Who waits for it is told that all is closed, and so is who comes later; the client of the library is closed."""
    session = pytest.importorskip("aiobotocore.session")
    begun, go_on = asyncio.Event(), asyncio.Event()
    closed: list[bool] = []

    class Slow(session.AioSession):  # type: ignore[misc,name-defined]
        @asynccontextmanager
        async def create_client(self, *arguments: object, **keywords: object) -> AsyncGenerator[object]:
            begun.set()
            await go_on.wait()
            yield object()
            closed.append(True)

    reader = S3ObjectReader(S3Clients(region=REGION, session=Slow()), _credentials)
    failures: list[BedrockError] = []

    async def read() -> None:
        with pytest.raises(ClientClosedError) as caught:
            await reader.read("s3://bucket/key", max_bytes=1)
        failures.append(caught.value)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await begun.wait()
        await reader.aclose()
        go_on.set()
    await read()
    assert len(failures) == 2
    assert closed == [True]


async def test_the_environment_names_the_endpoint(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_ENDPOINT_URL_S3 is honoured, by whichever library there is."""
    bucket = s3.bucket({"a": b"1"})
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
    reader = S3ObjectReader(S3Clients(region=REGION), _credentials)
    try:
        assert await reader.read(f"s3://{bucket}/a", max_bytes=1) == b"1"
    finally:
        await reader.aclose()


def test_without_a_library_of_aws_the_extra_is_named() -> None:
    """Where neither aiobotocore nor botocore is installed, the error says what to install; importing needs neither."""
    program = """
import asyncio, sys
for name in ("aiobotocore", "aiobotocore.session", "botocore", "botocore.session", "boto3", "aioboto3"):
    sys.modules[name] = None
from bedrock_async import Credentials, MissingExtraError
from bedrock_async.transport.objects import S3ObjectReader
from bedrock_async.transport.s3 import S3Clients

async def main():
    async def credentials():
        return Credentials("AKIDEXAMPLE", "secret")
    reader = S3ObjectReader(S3Clients(region="us-east-1"), credentials)
    try:
        await reader.read("s3://bucket/key", max_bytes=1)
    except MissingExtraError as exc:
        print(exc)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True)
    assert 'pip install "bedrock-async[aws]"' in done.stdout


async def test_a_body_that_fails_is_closed() -> None:
    """An error of the store reaches the reader once, and the stream is over."""
    closed: list[bool] = []

    class Broken:
        size: int | None = 5

        async def receive(self) -> bytes:
            raise ConnectionLostError("broke off", sent=True)

        async def aclose(self) -> None:
            closed.append(True)

        def abort(self) -> None:
            raise AssertionError("the stream was closed already")

    async def opener() -> Broken:
        return Broken()

    stream = ObjectStream(opener)
    assert stream.size is None
    with pytest.raises(ConnectionLostError):
        await anext(stream)
    assert closed
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


class Endless:
    """A body that never ends, and knows whether it was closed."""

    size: int | None = None
    closed = False

    async def receive(self) -> bytes:
        return b"x"

    async def aclose(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


@pytest.mark.parametrize("entering", [True, False], ids=["async with", "async for"])
@pytest.mark.parametrize("obeys", [True, False], ids=["cancelled", "opened all the same"])
async def test_closing_a_stream_that_is_being_opened_leaves_no_connection(*, entering: bool, obeys: bool) -> None:
    """Opening is cancelled, a connection that is there already is closed, and the stream has no piece."""
    body, entered, released = Endless(), asyncio.Event(), asyncio.Event()

    async def opener() -> Endless:
        entered.set()
        try:
            await released.wait()
        except asyncio.CancelledError:
            if obeys:
                raise
        return body

    stream = ObjectStream(opener)
    opening = asyncio.ensure_future(stream.__aenter__() if entering else anext(stream, None))
    await entered.wait()
    await stream.aclose()
    async with asyncio.timeout(30):
        assert await opening is (stream if entering else None)
    assert body.closed is not obeys
    assert [each async for each in stream] == []
    async with stream:
        assert [each async for each in stream] == []


async def test_one_task_at_a_time_opens_and_reads_a_stream() -> None:
    """A second one is told so, and opens no connection; the first goes on."""
    bodies: list[Endless] = []
    entered, released = asyncio.Event(), asyncio.Event()

    async def opener() -> Endless:
        bodies.append(Endless())
        entered.set()
        await released.wait()
        return bodies[-1]

    stream = ObjectStream(opener)
    first = asyncio.ensure_future(anext(stream))
    await entered.wait()
    with pytest.raises(StreamError, match="another task is already waiting"):
        await anext(stream)
    with pytest.raises(StreamError, match="another task is already waiting"):
        await stream.__aenter__()
    released.set()
    assert await first == b"x"
    assert len(bodies) == 1
    await stream.aclose()
    assert bodies[0].closed


# Credentials of the client.

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)


async def test_static_credentials_are_shared() -> None:
    """What the client signs with is what S3 is asked with."""
    assert await shared_credentials(StaticAuthenticator(CREDENTIALS), NOW, purpose="tests") is CREDENTIALS


async def test_expired_credentials_are_not_shared() -> None:
    """Credentials that have expired are told here, and not by S3."""
    expired = Credentials("AKIDEXAMPLE", "secret", expires_at=NOW - timedelta(seconds=1))
    with pytest.raises(CredentialsError, match="expired"):
        await shared_credentials(StaticAuthenticator(expired), NOW, purpose="tests")


async def test_an_api_key_cannot_read_s3() -> None:
    """An API key is refused with the way out, and never shown."""
    with pytest.raises(CredentialsError) as caught:
        await shared_credentials(BearerAuthenticator("bedrock-api-key-CANARY"), NOW, purpose="reading objects of S3")
    text = str(caught.value)
    assert "cannot be used for reading objects of S3" in text
    assert "BedrockClient(credentials=" in text
    assert "CANARY" not in text


def test_every_failure_is_of_the_tree() -> None:
    """Whatever a library raises becomes a BedrockError that names the object."""
    from botocore.exceptions import BotoCoreError, ParamValidationError

    from bedrock_async.providers.invocations import S3Uri
    from bedrock_async.transport.s3 import READING, storage_error

    uri = S3Uri("bucket", "key")
    kinds: list[tuple[Exception, type[BedrockError]]] = [
        (BotoCoreError(), TransportError),
        (ParamValidationError(report="bad"), InvalidRequestError),
        (OSError("gone"), ConnectionLostError),
        (TimeoutError(), ConnectionLostError),
        (RuntimeError("what"), TransportError),
    ]
    for raised, expected in kinds:
        error = storage_error(raised, uri, READING)
        assert type(error) is expected
        assert "s3://bucket/key" in str(error)
