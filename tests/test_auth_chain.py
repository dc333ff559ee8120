"""Which credentials are used, and that every way of AWS's default chain works without blocking the loop.

The services of AWS are stood in for by small servers on loopback, which botocore is pointed to by its own variables.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typing_extensions import override

from bedrock_async.auth import (
    ApiKey,
    Authenticator,
    BearerAuthenticator,
    Credentials,
    RefreshingAuthenticator,
    StaticAuthenticator,
    resolve_authenticator,
)
from bedrock_async.auth.session import SessionSource
from bedrock_async.errors import (
    CredentialsError,
    ExpiredCredentialsError,
    InvalidRequestError,
    NoCredentialsError,
    ProfileNotFoundError,
)

NOW = datetime.now(UTC)
FAR = "2099-01-01T00:00:00Z"
CANARY = "CANARYsecretCANARY"
STATIC = Credentials("AKIDARGUMENT", CANARY)
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDENVIRONMENT", "AWS_SECRET_ACCESS_KEY": CANARY}
TOKEN = {"AWS_BEARER_TOKEN_BEDROCK": "environment-api-key"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AwsFiles:
    """The configuration files of one test, and the environment that names them."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self._monkeypatch = monkeypatch
        for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
            monkeypatch.delenv(name)
        self.set(HOME=str(home), AWS_EC2_METADATA_DISABLED="true")
        self.set(AWS_CONFIG_FILE=str(home / "config"), AWS_SHARED_CREDENTIALS_FILE=str(home / "credentials"))

    def set(self, **environ: str) -> None:
        """Set variables of the process, where botocore reads them."""
        for name, value in environ.items():
            self._monkeypatch.setenv(name, value)

    def unset(self, name: str) -> None:
        """Remove a variable of the process."""
        self._monkeypatch.delenv(name)

    def config(self, text: str) -> None:
        """Write the configuration file."""
        (self.home / "config").write_text(text)


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AwsFiles:
    """Return an environment in which nothing of this machine's AWS configuration shows."""
    return AwsFiles(tmp_path, monkeypatch)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncGenerator[str]:
    """Serve on loopback; yield the base URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def signed_headers(authenticator: Authenticator, now: datetime = NOW) -> dict[str, str]:
    """Return the headers of a request that the authenticator has authorised."""
    headers: dict[str, str] = {}
    authenticator.authorize(
        "POST", "https://example.com/", headers, b"{}", service="bedrock", region="us-east-1", now=now
    )
    return headers


def key_id(authenticator: Authenticator) -> str:
    """Return the access key id that a request is signed with."""
    return signed_headers(authenticator)["authorization"].partition("Credential=")[2].partition("/")[0]


async def prepared(authenticator: Authenticator) -> Authenticator:
    """Prepare, and check that this was needed and has worked."""
    assert not authenticator.ready(NOW)
    await authenticator.prepare(NOW)
    assert authenticator.ready(NOW)
    return authenticator


# What settles it


def test_passed_credentials_and_keys_are_ready_at_once() -> None:
    """Static credentials and keys beat the environment and need no preparation."""
    environ = KEYS | TOKEN
    by_credentials = resolve_authenticator(credentials=STATIC, environ=environ)
    assert isinstance(by_credentials, StaticAuthenticator)
    assert by_credentials.ready(NOW)
    assert (key_id(by_credentials), by_credentials.source) == ("AKIDARGUMENT", "credentials argument")
    for api_key in ("argument-api-key", ApiKey("argument-api-key")):
        by_key = resolve_authenticator(api_key=api_key, environ=environ)
        assert isinstance(by_key, BearerAuthenticator)
        assert by_key.ready(NOW)
        assert signed_headers(by_key) == {"authorization": "Bearer argument-api-key"}
        assert by_key.source == "api_key argument"


@pytest.mark.parametrize(
    ("passed", "named"),
    [
        ({"credentials": STATIC, "api_key": "k"}, "credentials and api_key"),
        ({"profile": "dev", "session": object()}, "session and profile"),
        ({"credentials": STATIC, "api_key": "k", "profile": "dev"}, "credentials, api_key and profile"),
    ],
)
def test_two_that_settle_it_are_an_error(passed: dict[str, Any], named: str) -> None:
    """What was passed twice is named, and no secret with it."""
    with pytest.raises(InvalidRequestError, match=f"^{named} were passed") as caught:
        resolve_authenticator(environ={}, **passed)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("passed", "named"),
    [
        ({"credentials": {"access_key_id": CANARY}}, "credentials is of type dict"),
        ({"credentials": CANARY}, "credentials is of type str"),
        ({"api_key": CANARY.encode()}, "api_key is of type bytes"),
        ({"session": CANARY}, "session is of type str"),
    ],
)
def test_other_types_are_an_error(passed: dict[str, Any], named: str) -> None:
    """A value of another type is refused at once with what can be passed instead."""
    with pytest.raises(InvalidRequestError, match=named) as caught:
        resolve_authenticator(environ={}, **passed)
    assert "Pass " in str(caught.value)
    assert CANARY not in str(caught.value)


async def test_the_api_key_of_the_environment_beats_its_access_keys() -> None:
    """AWS_BEARER_TOKEN_BEDROCK comes first, as in the AWS SDKs; an empty variable is none."""
    authenticator = await prepared(resolve_authenticator(environ=KEYS | TOKEN))
    assert signed_headers(authenticator) == {"authorization": "Bearer environment-api-key"}
    assert authenticator.source == "environment (AWS_BEARER_TOKEN_BEDROCK)"
    other = await prepared(resolve_authenticator(environ=KEYS | {"AWS_BEARER_TOKEN_BEDROCK": ""}))
    assert key_id(other) == "AKIDENVIRONMENT"
    assert other.source == "environment (AWS_ACCESS_KEY_ID)"


async def test_access_keys_of_the_environment_beat_its_profile() -> None:
    """AWS_PROFILE does not hide AWS_ACCESS_KEY_ID, as in botocore; a profile that was passed does."""
    environ = KEYS | {"AWS_PROFILE": "dev"}
    assert key_id(await prepared(resolve_authenticator(environ=environ))) == "AKIDENVIRONMENT"
    assert resolve_authenticator(environ=environ, profile="dev").source == "profile 'dev'"
    assert resolve_authenticator(environ=environ | TOKEN, profile="dev").source == "profile 'dev'"


# The environment


@pytest.mark.parametrize(
    ("variables", "token"),
    [
        ({}, None),
        ({"AWS_SESSION_TOKEN": ""}, None),
        ({"AWS_SESSION_TOKEN": "token"}, "token"),
        ({"AWS_SECURITY_TOKEN": "older", "AWS_SESSION_TOKEN": "token"}, "older"),
    ],
)
async def test_session_token_of_the_environment(variables: dict[str, str], token: str | None) -> None:
    """The session token is sent and signed when there is one; botocore's order of the two names is kept."""
    headers = signed_headers(await prepared(resolve_authenticator(environ=KEYS | variables)))
    assert headers.get("x-amz-security-token") == token
    assert ("x-amz-security-token" in headers["authorization"]) is (token is not None)


async def test_a_renewed_environment_is_followed() -> None:
    """A process that puts fresh keys into its environment before they expire needs no new client."""
    environ = KEYS | {"AWS_CREDENTIAL_EXPIRATION": (NOW + timedelta(hours=1)).isoformat()}
    authenticator = await prepared(resolve_authenticator(environ=environ))
    environ |= {"AWS_ACCESS_KEY_ID": "AKIDSECOND", "AWS_CREDENTIAL_EXPIRATION": FAR}
    soon = NOW + timedelta(minutes=50)
    assert not authenticator.ready(soon)
    await authenticator.prepare(soon)
    assert key_id(authenticator) == "AKIDSECOND"
    environ["AWS_ACCESS_KEY_ID"] = "AKIDTHIRD"
    assert authenticator.invalidate()
    await authenticator.prepare(soon)
    assert key_id(authenticator) == "AKIDTHIRD"


@pytest.mark.parametrize(
    ("variables", "error", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": ""}, CredentialsError, "AWS_SECRET_ACCESS_KEY is not set"),
        ({"AWS_SECRET_ACCESS_KEY": CANARY + "\n"}, CredentialsError, "secret_access_key holds white space"),
        ({"AWS_CREDENTIAL_EXPIRATION": "tomorrow"}, CredentialsError, "AWS_CREDENTIAL_EXPIRATION is 'tomorrow'"),
        ({"AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z"}, ExpiredCredentialsError, "expired at 2020-01-01"),
        ({"AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00"}, ExpiredCredentialsError, "expired at 2020-01-01"),
        ({"AWS_BEARER_TOKEN_BEDROCK": CANARY + "\n"}, CredentialsError, "AWS_BEARER_TOKEN_BEDROCK: .*white space"),
    ],
)
async def test_a_malformed_environment_is_an_error_that_names_the_variable(
    variables: dict[str, str], error: type[CredentialsError], said: str
) -> None:
    """Each mistake in the environment is said by name at the first call, without quoting a secret."""
    authenticator = resolve_authenticator(environ=KEYS | variables)
    with pytest.raises(error, match=said) as caught:
        await authenticator.prepare(NOW)
    assert CANARY not in str(caught.value)


# Callables


async def test_credentials_from_a_callable() -> None:
    """A function runs in a worker thread, a coroutine function on the loop; what they return signs the requests."""
    threads: list[int] = []

    def function() -> Credentials:
        threads.append(threading.get_ident())
        return Credentials("AKIDFUNCTION", "secret")

    async def coroutine() -> Credentials:
        threads.append(threading.get_ident())
        return Credentials("AKIDCOROUTINE", "secret")

    assert key_id(await prepared(resolve_authenticator(credentials=function, environ=KEYS))) == "AKIDFUNCTION"
    assert key_id(await prepared(resolve_authenticator(credentials=coroutine, environ=KEYS))) == "AKIDCOROUTINE"
    assert threads[0] != threading.get_ident() == threads[1]


async def test_a_callable_that_gives_something_else_is_an_error() -> None:
    """A dict of keys is refused with what to return instead, and is not quoted."""

    def function() -> Any:  # noqa: ANN401
        return {"secret": CANARY}

    with pytest.raises(CredentialsError, match="callable returned dict; Credentials are expected") as caught:
        await resolve_authenticator(credentials=function, environ={}).prepare(NOW)
    assert CANARY not in str(caught.value)


async def test_refused_credentials_are_asked_for_again_once() -> None:
    """After an expired token the callable gives others; late refusals of the old token do not ask a second time."""
    given = iter([Credentials("AKIDFIRST", "s", "t1"), Credentials("AKIDSECOND", "s", "t2")])

    async def provide() -> Credentials:
        return next(given)

    authenticator = await prepared(resolve_authenticator(credentials=provide, environ={}))
    assert isinstance(authenticator, RefreshingAuthenticator)
    refused = signed_headers(authenticator)
    assert authenticator.invalidate(refused)
    await prepared(authenticator)
    assert authenticator.invalidate(refused)
    assert authenticator.ready(NOW)
    assert key_id(authenticator) == "AKIDSECOND"


async def test_expired_static_credentials_are_an_error() -> None:
    """Credentials that have expired are not sent, and nothing can renew them."""
    expired = Credentials("AKIDARGUMENT", CANARY, "token", expires_at=NOW)
    authenticator = resolve_authenticator(credentials=expired, environ=KEYS)
    assert not authenticator.ready(NOW)
    with pytest.raises(ExpiredCredentialsError, match="credentials argument expired at") as caught:
        await authenticator.prepare(NOW)
    assert CANARY not in str(caught.value) + repr(authenticator)
    assert not authenticator.invalidate()


def test_authorising_before_preparing_is_an_error() -> None:
    """A request is never sent unsigned."""
    with pytest.raises(CredentialsError, match="are not loaded"):
        signed_headers(resolve_authenticator(environ=KEYS))


# Sessions


class BlockingSession:
    """A session in the manner of botocore's: its methods block until the event loop has had a turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, refreshable: bool = False) -> None:
        self.loop = loop
        self.loads = 0
        self.frozen = 0
        if refreshable:
            self.refresh_needed = lambda: False

    @property
    def method(self) -> str:
        """How the credentials were found."""
        return "iam-role"

    def _block(self) -> None:
        turn = threading.Event()
        self.loop.call_soon_threadsafe(turn.set)
        assert turn.wait(10), "called on the event loop"

    def get_credentials(self) -> object:
        """Return the session itself, which plays its credentials too."""
        self._block()
        self.loads += 1
        return self

    def get_frozen_credentials(self) -> object:
        """Return what botocore's ReadOnlyCredentials is."""
        self._block()
        self.frozen += 1
        return Frozen(f"AKIDFROZEN{self.frozen}", CANARY, "token")


class Frozen:
    """In the manner of botocore's ReadOnlyCredentials, before it had an account id."""

    def __init__(self, access_key: str, secret_key: str, token: str | None) -> None:
        self.access_key = access_key
        self.secret_key = secret_key
        self.token = token


async def test_a_session_never_blocks_the_loop_and_is_asked_once_a_minute() -> None:
    """Loading and refreshing happen in a worker thread; the session decides when to renew, and is asked for that."""
    session = BlockingSession(asyncio.get_running_loop())
    authenticator = resolve_authenticator(session=session, environ=KEYS | TOKEN)
    where = f"session argument ({__name__.partition('.')[0]})"
    assert authenticator.source == where
    await prepared(authenticator)
    assert authenticator.source == f"{where}: iam-role"
    assert key_id(authenticator) == "AKIDFROZEN1"
    later = NOW + timedelta(minutes=1)
    assert not authenticator.ready(later)
    await authenticator.prepare(later)
    assert (key_id(authenticator), session.loads) == ("AKIDFROZEN2", 1)


@pytest.mark.parametrize("refreshable", [True, False])
async def test_refused_credentials_of_a_session_are_renewed_where_it_can(*, refreshable: bool) -> None:
    """A session with lasting keys has no others to offer; one that refreshes is asked again."""
    session = BlockingSession(asyncio.get_running_loop(), refreshable=refreshable)
    authenticator = await prepared(resolve_authenticator(session=session, environ={}))
    assert authenticator.invalidate() is refreshable
    assert authenticator.ready(NOW) is not refreshable


class SlowSession(BlockingSession):
    """Its loading takes until it is released; as botocore's sessions do, it keeps what it has loaded."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.entered = asyncio.Event()
        self.release = threading.Event()

    @override
    def get_credentials(self) -> object:
        """Wait to be released, the first time."""
        if not self.loads:
            self.loop.call_soon_threadsafe(self.entered.set)
            assert self.release.wait(10)
            self.loads += 1
        return self


class WatchedLock(AbstractContextManager[None]):
    """A lock that tells the event loop how many threads have asked for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.asked: asyncio.Queue[None] = asyncio.Queue()
        self._loop = loop
        self._lock = threading.Lock()

    @override
    def __enter__(self) -> None:
        self._loop.call_soon_threadsafe(self.asked.put_nowait, None)
        self._lock.acquire()

    @override
    def __exit__(self, *exc: object) -> None:
        self._lock.release()


async def test_a_slow_session_is_loaded_once_although_the_first_call_gave_up() -> None:
    """The thread that a cancelled call left behind is not wasted: the next call waits for what it brings."""
    loop = asyncio.get_running_loop()
    session, lock = SlowSession(loop), WatchedLock(loop)
    source = SessionSource(lambda: session, name="slow session", owned=False, lock=lock)
    authenticator = RefreshingAuthenticator(source)
    first = asyncio.ensure_future(authenticator.prepare(NOW))
    second = asyncio.ensure_future(authenticator.prepare(NOW))
    await lock.asked.get()
    await session.entered.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await lock.asked.get()
    session.release.set()
    await second
    assert session.loads == 1
    assert authenticator.ready(NOW)


@pytest.mark.parametrize("kind", ["botocore", "boto3", "aiobotocore", "aioboto3"])
async def test_sessions_of_every_library(kind: str, aws: AwsFiles) -> None:
    """botocore, boto3, aiobotocore and aioboto3 sessions are taken as they are, profile and all."""
    aws.config(f"[profile dev]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = {CANARY}\n")
    library: Any = pytest.importorskip(f"{kind}.session")
    if kind.endswith("botocore"):
        session = (library.AioSession if kind == "aiobotocore" else library.Session)(profile="dev")
    else:
        session = library.Session(profile_name="dev")
    authenticator = await prepared(resolve_authenticator(session=session, environ=KEYS | TOKEN))
    assert key_id(authenticator) == "AKIDPROFILE"
    assert authenticator.source == f"session argument ({kind}): config-file"
    assert CANARY not in repr(authenticator)


async def test_a_session_without_credentials_is_an_error(aws: AwsFiles) -> None:
    """A session that finds nothing is an error with both ways forward."""
    library: Any = pytest.importorskip("botocore.session")
    aws.config("")
    with pytest.raises(NoCredentialsError, match=r"session argument \(botocore\) has no credentials") as caught:
        await resolve_authenticator(session=library.Session(), environ={}).prepare(NOW)
    assert "aws sso login" in str(caught.value)
    assert "AWS_BEARER_TOKEN_BEDROCK" in str(caught.value)


async def test_a_session_of_a_missing_profile_is_an_error(aws: AwsFiles) -> None:
    """A session of botocore notices a missing profile when it is asked for credentials; the error is one of ours."""
    library: Any = pytest.importorskip("botocore.session")
    aws.config("")
    with pytest.raises(ProfileNotFoundError, match="nobody"):
        await resolve_authenticator(session=library.Session(profile="nobody"), environ={}).prepare(NOW)


# The default chain

needs_botocore = pytest.mark.usefixtures("_botocore")


@pytest.fixture
def _botocore() -> None:
    pytest.importorskip("botocore.session")


@needs_botocore
async def test_static_profile(aws: AwsFiles) -> None:
    """Keys in the configuration files are used for the profile that was passed, and for the environment's."""
    aws.config(
        f"[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = {CANARY}\n"
        f"[profile dev]\naws_access_key_id = AKIDDEV\naws_secret_access_key = {CANARY}\naws_session_token = t\n"
    )
    by_argument = await prepared(resolve_authenticator(profile="dev", environ=os.environ))
    assert (key_id(by_argument), signed_headers(by_argument)["x-amz-security-token"]) == ("AKIDDEV", "t")
    assert by_argument.source.startswith("profile 'dev': ")
    assert key_id(await prepared(resolve_authenticator(environ=os.environ))) == "AKIDDEFAULT"
    aws.set(AWS_PROFILE="dev")
    by_environment = await prepared(resolve_authenticator(environ=os.environ))
    assert key_id(by_environment) == "AKIDDEV"
    assert by_environment.source.startswith("AWS default chain: ")


@needs_botocore
async def test_a_passed_profile_hides_the_keys_of_the_environment(aws: AwsFiles) -> None:
    """With profile=..., neither AWS_ACCESS_KEY_ID nor AWS_BEARER_TOKEN_BEDROCK is used."""
    aws.config(f"[profile dev]\naws_access_key_id = AKIDDEV\naws_secret_access_key = {CANARY}\n")
    aws.set(**KEYS, **TOKEN)
    assert key_id(await prepared(resolve_authenticator(profile="dev", environ=os.environ))) == "AKIDDEV"


@needs_botocore
async def test_refused_credentials_of_a_profile_are_read_again(aws: AwsFiles) -> None:
    """After a refusal the files are read anew: signing in again in another shell is enough."""
    config = "[profile dev]\naws_access_key_id = {}\naws_secret_access_key = s\n"
    aws.config(config.format("AKIDOLD"))
    authenticator = await prepared(resolve_authenticator(profile="dev", environ=os.environ))
    aws.config(config.format("AKIDNEW"))
    assert authenticator.invalidate()
    assert key_id(await prepared(authenticator)) == "AKIDNEW"


@needs_botocore
async def test_process(aws: AwsFiles) -> None:
    """credential_process runs outside the loop and gives the credentials."""
    answer = {"Version": 1, "AccessKeyId": "AKIDPROCESS", "SecretAccessKey": CANARY, "Expiration": FAR}
    (aws.home / "answer.json").write_text(json.dumps(answer))
    (aws.home / "process.py").write_text("import sys; print(open(sys.argv[1]).read())")
    command = f"{sys.executable} {aws.home / 'process.py'} {aws.home / 'answer.json'}"
    aws.config(f"[profile dev]\ncredential_process = {command}\n")
    authenticator = await prepared(resolve_authenticator(profile="dev", environ=os.environ))
    assert (key_id(authenticator), authenticator.source) == ("AKIDPROCESS", "profile 'dev': custom-process")


@needs_botocore
async def test_a_failing_process_is_an_error_with_its_reason(aws: AwsFiles) -> None:
    """What credential_process says on its way out is in the error."""
    (aws.home / "process.py").write_text("import sys; sys.exit('sign in with the portal first')")
    aws.config(f"[profile dev]\ncredential_process = {sys.executable} {aws.home / 'process.py'}\n")
    with pytest.raises(CredentialsError, match=r"profile 'dev' failed: .*sign in with the portal first"):
        await resolve_authenticator(profile="dev", environ=os.environ).prepare(NOW)


STS_ANSWER = """<{0}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{0}Result><Credentials>
<AccessKeyId>{1}</AccessKeyId><SecretAccessKey>{2}</SecretAccessKey><SessionToken>token</SessionToken>
<Expiration>{3}</Expiration></Credentials></{0}Result></{0}Response>"""


class Sts:
    """AssumeRole and AssumeRoleWithWebIdentity; refuses when told so."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.expiration = FAR
        self.refuse = False

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one call."""
        form = await request.post()
        self.calls.append((str(form["Action"]), request.headers.get("Authorization", "")))
        if self.refuse:
            text = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not yours</Message></Error></ErrorResponse>"
            return web.Response(status=403, text=text, content_type="text/xml")
        text = STS_ANSWER.format(form["Action"], f"ASIA{len(self.calls)}", CANARY, self.expiration)
        return web.Response(text=text, content_type="text/xml")


ROLE = """
[profile dev]
role_arn = arn:aws:iam::123456789012:role/developer
source_profile = base
[profile base]
aws_access_key_id = AKIDBASE
aws_secret_access_key = secret
"""


@needs_botocore
async def test_assumed_role(aws: AwsFiles) -> None:
    """A role is assumed in the client's region when the profile names none, once for all who wait."""
    sts = Sts()
    async with serving(sts.handle) as url:
        aws.config(ROLE)
        aws.set(AWS_ENDPOINT_URL_STS=url)
        authenticator = resolve_authenticator(profile="dev", region="eu-west-3", environ=os.environ)
        await asyncio.gather(*(authenticator.prepare(NOW) for _ in range(20)))
        assert (key_id(authenticator), authenticator.source) == ("ASIA1", "profile 'dev': assume-role")
        [(action, authorization)] = sts.calls
        assert action == "AssumeRole"
        assert "AKIDBASE" in authorization
        assert "/eu-west-3/sts/" in authorization


@needs_botocore
async def test_an_assumed_role_is_renewed_before_it_expires(aws: AwsFiles) -> None:
    """Temporary credentials in their last minutes are renewed the next time that the session is asked."""
    sts, now = Sts(), datetime.now(UTC)  # botocore compares with the time of the machine, and NOW may be long ago
    sts.expiration = (now + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    async with serving(sts.handle) as url:
        aws.config(ROLE)
        aws.set(AWS_ENDPOINT_URL_STS=url)
        authenticator = await prepared(resolve_authenticator(profile="dev", region="us-east-1", environ=os.environ))
        before = len(sts.calls)
        sts.expiration = FAR
        later = now + timedelta(minutes=1)
        assert not authenticator.ready(later)
        await authenticator.prepare(later)
        assert len(sts.calls) == before + 1
        assert key_id(authenticator) == f"ASIA{before + 1}"
        await authenticator.prepare(later + timedelta(minutes=1))
        assert len(sts.calls) == before + 1, "what is valid for long is not renewed"


@needs_botocore
async def test_a_refused_role_is_an_error_with_the_reason(aws: AwsFiles) -> None:
    """What the token service answers is in the error."""
    sts = Sts()
    sts.refuse = True
    async with serving(sts.handle) as url:
        aws.config(ROLE)
        aws.set(AWS_ENDPOINT_URL_STS=url)
        with pytest.raises(CredentialsError, match=r"profile 'dev' failed: .*AccessDenied.*not yours"):
            await resolve_authenticator(profile="dev", region="us-east-1", environ=os.environ).prepare(NOW)


@needs_botocore
async def test_web_identity(aws: AwsFiles) -> None:
    """The token file of a Kubernetes service account is exchanged for credentials."""
    sts = Sts()
    async with serving(sts.handle) as url:
        (aws.home / "token").write_text("web-identity-token")
        aws.set(AWS_ENDPOINT_URL_STS=url, AWS_WEB_IDENTITY_TOKEN_FILE=str(aws.home / "token"))
        aws.set(AWS_ROLE_ARN="arn:aws:iam::123456789012:role/pod", AWS_ROLE_SESSION_NAME="test")
        authenticator = await prepared(resolve_authenticator(region="us-east-1", environ=os.environ))
        assert key_id(authenticator) == "ASIA1"
        assert [action for action, _ in sts.calls] == ["AssumeRoleWithWebIdentity"]
        assert authenticator.source == "AWS default chain: assume-role-with-web-identity"


@needs_botocore
async def test_container(aws: AwsFiles) -> None:
    """The credentials endpoint of ECS tasks and EKS pods is asked with its authorization token."""

    async def handle(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "pod-token"
        return web.json_response(
            {"AccessKeyId": "ASIACONTAINER", "SecretAccessKey": CANARY, "Token": "t", "Expiration": FAR}
        )

    async with serving(handle) as url:
        aws.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{url}/creds", AWS_CONTAINER_AUTHORIZATION_TOKEN="pod-token")
        authenticator = await prepared(resolve_authenticator(environ=os.environ))
        assert (key_id(authenticator), authenticator.source) == ("ASIACONTAINER", "AWS default chain: container-role")


@needs_botocore
async def test_instance_metadata(aws: AwsFiles) -> None:
    """On an EC2 instance the role's credentials come from the metadata service, version 2."""

    async def handle(request: web.Request) -> web.Response:
        if request.path == "/latest/api/token":
            assert request.method == "PUT"
            return web.Response(text="imds-token")
        assert request.headers["x-aws-ec2-metadata-token"] == "imds-token"
        if request.path == "/latest/meta-data/iam/security-credentials/":
            return web.Response(text="my-role")
        assert request.path.endswith("/my-role")
        return web.json_response(
            {
                "Code": "Success",
                "AccessKeyId": "ASIAINSTANCE",
                "SecretAccessKey": CANARY,
                "Token": "t",
                "Expiration": FAR,
            }
        )

    async with serving(handle) as url:
        aws.unset("AWS_EC2_METADATA_DISABLED")
        aws.set(AWS_EC2_METADATA_SERVICE_ENDPOINT=f"{url}/")
        authenticator = await prepared(resolve_authenticator(environ=os.environ))
        assert (key_id(authenticator), authenticator.source) == ("ASIAINSTANCE", "AWS default chain: iam-role")


SSO = """
[profile dev]
sso_start_url = https://example.awsapps.com/start
sso_region = us-east-1
sso_account_id = 123456789012
sso_role_name = Developer
"""


@pytest.fixture
def sso_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of sign-ins; botocore has worked out the usual one when it was imported."""
    credentials: Any = pytest.importorskip("botocore.credentials")
    monkeypatch.setattr(credentials.SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(tmp_path))
    return tmp_path


def sign_in(cache: Path, expires_at: str) -> None:
    """Leave behind what `aws sso login` leaves behind."""
    start_url = "https://example.awsapps.com/start"
    name = hashlib.sha1(start_url.encode()).hexdigest()  # noqa: S324 - the file name that the AWS CLI gives it
    token = {"startUrl": start_url, "region": "us-east-1", "accessToken": CANARY, "expiresAt": expires_at}
    (cache / f"{name}.json").write_text(json.dumps(token))


async def test_sso(aws: AwsFiles, sso_cache: Path) -> None:
    """After `aws sso login` the cached token is exchanged for the role's credentials."""

    async def handle(request: web.Request) -> web.Response:
        assert request.headers["x-amz-sso_bearer_token"] == CANARY
        expiration = int(datetime(2099, 1, 1, tzinfo=UTC).timestamp() * 1000)
        return web.json_response(
            {
                "roleCredentials": {
                    "accessKeyId": "ASIASSO",
                    "secretAccessKey": CANARY,
                    "sessionToken": "t",
                    "expiration": expiration,
                }
            }
        )

    async with serving(handle) as url:
        aws.config(SSO)
        aws.set(AWS_ENDPOINT_URL_SSO=url)
        sign_in(sso_cache, FAR)
        authenticator = await prepared(resolve_authenticator(profile="dev", environ=os.environ))
        assert (key_id(authenticator), authenticator.source) == ("ASIASSO", "profile 'dev': sso")


@pytest.mark.parametrize(
    ("expires_at", "said"), [("2020-01-01T00:00:00Z", "has expired or is otherwise invalid"), (None, "does not exist")]
)
async def test_an_expired_or_missing_sign_in_is_an_error_with_the_command(
    aws: AwsFiles, sso_cache: Path, expires_at: str | None, said: str
) -> None:
    """Whoever has to sign in is told why, and the command."""
    aws.config(SSO)
    if expires_at is not None:
        sign_in(sso_cache, expires_at)
    with pytest.raises(ExpiredCredentialsError, match=said) as caught:
        await resolve_authenticator(profile="dev", environ=os.environ).prepare(NOW)
    assert "aws sso login" in str(caught.value)
    assert CANARY not in str(caught.value)


# Nothing there


@pytest.mark.parametrize("profile", ["nobody", None])
async def test_a_missing_profile_is_an_error_that_lists_those_there_are(aws: AwsFiles, profile: str | None) -> None:
    """A misspelt profile is found out before anything else, installed libraries included."""
    aws.config("[default]\n[profile dev]\n")
    (aws.home / "credentials").write_text(f"[old]\naws_secret_access_key = {CANARY}\n")
    if profile is None:
        aws.set(AWS_PROFILE="nobody")
    with pytest.raises(
        ProfileNotFoundError, match=r"'nobody' is neither .* profiles found: default, dev, old"
    ) as caught:
        await resolve_authenticator(profile=profile, environ=os.environ).prepare(NOW)
    assert CANARY not in str(caught.value)


@needs_botocore
async def test_no_credentials_anywhere(aws: AwsFiles) -> None:
    """With nothing configured the error says both ways forward, and no word of installing what is there."""
    with pytest.raises(NoCredentialsError, match="AWS default chain has no credentials") as caught:
        await resolve_authenticator(environ=os.environ).prepare(NOW)
    said = str(caught.value)
    assert "aws configure" in said
    assert "AWS_BEARER_TOKEN_BEDROCK or api_key=" in said
    assert "pip install" not in said


@needs_botocore
async def test_a_profile_without_credentials(aws: AwsFiles) -> None:
    """A profile that only names a region is said to have no credentials."""
    aws.config("[profile dev]\nregion = eu-west-1\n")
    with pytest.raises(NoCredentialsError, match="profile 'dev' has no credentials"):
        await resolve_authenticator(profile="dev", environ=os.environ).prepare(NOW)


@pytest.mark.parametrize(("profile", "named"), [(None, "AWS default chain"), ("dev", "profile 'dev'")])
async def test_without_botocore_the_extra_is_named(
    aws: AwsFiles, monkeypatch: pytest.MonkeyPatch, profile: str | None, named: str
) -> None:
    """In a light installation the error says which extra brings profiles, SSO, roles and metadata services."""
    aws.config("[profile dev]\n")
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(NoCredentialsError, match=named) as caught:
        await resolve_authenticator(profile=profile, environ=os.environ).prepare(NOW)
    said = str(caught.value)
    assert 'pip install "bedrock-async[aws]"' in said
    assert "AWS_BEARER_TOKEN_BEDROCK or api_key=" in said


@needs_botocore
async def test_a_broken_configuration_file_is_an_error_without_its_lines(aws: AwsFiles) -> None:
    """A file that cannot be parsed is named, and what stands in it is not repeated."""
    aws.config(f"[default]\n{CANARY}\n")
    with pytest.raises(CredentialsError, match="config") as caught:
        await resolve_authenticator(environ=os.environ).prepare(NOW)
    assert CANARY not in str(caught.value)


@needs_botocore
async def test_the_environment_of_the_process_is_never_written(aws: AwsFiles) -> None:
    """Whatever way the credentials come, os.environ is as it was."""
    aws.config(f"[profile dev]\naws_access_key_id = AKIDDEV\naws_secret_access_key = {CANARY}\n")
    before = dict(os.environ)
    for passed in ({"profile": "dev"}, {"credentials": STATIC}, {"api_key": "key"}):
        arguments: Any = passed
        authenticator = resolve_authenticator(region="eu-west-3", environ=os.environ, **arguments)
        await authenticator.prepare(NOW)
        signed_headers(authenticator)
    assert dict(os.environ) == before
