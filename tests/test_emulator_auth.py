"""The emulator's authentication: official clients' signatures and keys accepted, everything else refused."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import trustme
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from official_clients import KEY_ID, OFFICIAL_CLIENTS, SECRET, Connect

from bedrock_async.errors import InvalidRequestError, ServiceError
from bedrock_async.testing import BedrockEmulator, EmulatorCredentials, ReceivedRequest
from bedrock_async.testing.authentication import Authentication

MODEL: Final = "anthropic.claude-sonnet-4-20250514-v1:0"
ARN: Final = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{MODEL}"
MESSAGES: Final[list[Any]] = [{"role": "user", "content": [{"text": "Grüße"}]}]
API_KEY: Final = "ABSKexample-api-key"
NOW: Final = datetime(2025, 2, 10, 1, 39, 11, tzinfo=UTC)
TOKEN: Final = "session-token-of-the-example"


@pytest.fixture(params=list(OFFICIAL_CLIENTS))
def connect(request: pytest.FixtureRequest) -> Connect:
    """Return the function that opens one of the official clients."""
    return OFFICIAL_CLIENTS[request.param]


async def refused(connect: Connect, emulator: BedrockEmulator, **options: Any) -> ClientError:  # noqa: ANN401
    """Return the error that a Converse call of such a client meets."""
    async with connect(emulator.url, **options) as client:
        with pytest.raises(ClientError) as caught:
            await client.call("converse", modelId=MODEL, messages=MESSAGES)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert caught.value.response["ResponseMetadata"]["RequestId"] == emulator.requests[-1].request_id
    return caught.value


@pytest.mark.parametrize("model_id", [MODEL, ARN])
@pytest.mark.parametrize("token", [None, TOKEN])
async def test_an_official_signature_is_accepted(connect: Connect, model_id: str, token: str | None) -> None:
    """Signatures over ids with ``:`` and ``/``, over JSON and native bodies, with and without a session token."""
    emulator = BedrockEmulator(credentials=[(KEY_ID, SECRET, token)])
    async with emulator, connect(emulator.url, aws_session_token=token) as client:
        await client.call("converse", modelId=model_id, messages=MESSAGES)
        await client.call("invoke_model", modelId=model_id, body='{"é": 1}'.encode())
        await client.call("count_tokens", modelId=model_id, input={"converse": {"messages": MESSAGES}})
    assert all(received.headers["authorization"].startswith("AWS4-HMAC-SHA256 ") for received in emulator.requests)
    assert [received.status for received in emulator.requests] == [200, 200, 200]


async def test_a_wrong_secret_is_an_invalid_signature(connect: Connect) -> None:
    """The key id is known, but the signature is another's."""
    async with BedrockEmulator(credentials=[(KEY_ID, SECRET)]) as emulator:
        error = await refused(connect, emulator, aws_secret_access_key="another")
    assert error.response["Error"]["Code"] == "InvalidSignatureException"
    assert "does not match the signature you provided" in error.response["Error"]["Message"]


async def test_an_unknown_key_is_an_unrecognized_client(connect: Connect) -> None:
    """The texts and the header are those of the recorded refusal."""
    async with BedrockEmulator(credentials=[("AKIDOTHER", SECRET)]) as emulator:
        error = await refused(connect, emulator)
    assert error.response["Error"] == {
        "Code": "UnrecognizedClientException",
        "Message": "The security token included in the request is invalid.",
    }
    assert error.response["ResponseMetadata"]["HTTPHeaders"]["x-amzn-errortype"] == (
        "UnrecognizedClientException:http://internal.amazon.com/coral/com.amazon.coral.service/"
    )


@pytest.mark.parametrize(("accepted", "sent"), [(TOKEN, None), (TOKEN, "another"), (None, TOKEN)])
async def test_a_wrong_session_token_is_an_unrecognized_client(
    connect: Connect, accepted: str | None, sent: str | None
) -> None:
    """A temporary key needs exactly its token, and a long-term key has none."""
    async with BedrockEmulator(credentials=[(KEY_ID, SECRET, accepted)]) as emulator:
        error = await refused(connect, emulator, aws_session_token=sent)
    assert error.response["Error"]["Code"] == "UnrecognizedClientException"


async def test_expired_credentials_are_told_so(connect: Connect) -> None:
    """After expires_at a right signature is answered with ExpiredTokenException, and before with success."""
    credentials = EmulatorCredentials(KEY_ID, SECRET, TOKEN, expires_at=datetime.now(UTC) + timedelta(hours=1))
    async with (
        BedrockEmulator(credentials=[credentials]) as emulator,
        connect(emulator.url, aws_session_token=TOKEN) as client,
    ):
        await client.call("converse", modelId=MODEL, messages=MESSAGES)
    expired = EmulatorCredentials(KEY_ID, SECRET, TOKEN, expires_at=datetime.now(UTC) - timedelta(hours=1))
    async with BedrockEmulator(credentials=[expired]) as emulator:
        error = await refused(connect, emulator, aws_session_token=TOKEN)
    assert error.response["Error"] == {
        "Code": "ExpiredTokenException",
        "Message": "The security token included in the request is expired",
    }


@pytest.mark.parametrize(("minutes", "text"), [(6, "Signature expired: "), (-6, "Signature not yet current: ")])
async def test_a_clock_that_is_off_is_told_so(connect: Connect, minutes: int, text: str) -> None:
    """Five minutes are the limit, both ways; the clock of the emulator is the test's."""
    shift = timedelta(minutes=minutes)
    emulator = BedrockEmulator(credentials=[(KEY_ID, SECRET)], clock=lambda: datetime.now(UTC) + shift)
    async with emulator:
        error = await refused(connect, emulator)
    assert error.response["Error"]["Code"] == "InvalidSignatureException"
    assert error.response["Error"]["Message"].startswith(text)


async def test_authentication_comes_first(connect: Connect) -> None:
    """An unauthentic request to an unknown model or route is refused for its signature."""
    async with BedrockEmulator([], credentials=[("AKIDOTHER", SECRET)]) as emulator:
        error = await refused(connect, emulator)
    assert error.response["Error"]["Code"] == "UnrecognizedClientException"
    assert emulator.requests[0].operation is None


async def test_without_keys_everything_is_accepted(connect: Connect) -> None:
    """An emulator that was given no keys looks at no signature."""
    async with BedrockEmulator() as emulator, connect(emulator.url, aws_access_key_id="x") as client:
        await client.call("converse", modelId=MODEL, messages=MESSAGES)


# Signatures by hand, at a fixed time.


def signed(
    *,
    secret: str = SECRET,
    region: str = "us-east-1",
    service: str = "bedrock",
    path: str = "/model/m/converse",
    query: str = "",
    headers: Mapping[str, str] | None = None,
    at: datetime = NOW,
) -> ReceivedRequest:
    """Return a request that botocore signed as of that time."""
    url = f"http://localhost:1{path}" + (f"?{query}" if query else "")
    request = AWSRequest("POST", url, data=b"{}", headers={"host": "localhost:1", **(headers or {})})
    request.context["timestamp"] = at.strftime("%Y%m%dT%H%M%SZ")
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    signer = SigV4Auth(Credentials(KEY_ID, secret), service, region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    names = signer.signed_headers(signer.headers_to_sign(request))
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={names}, "
        f"Signature={signer.signature(text, request)}"
    )
    sent = {name.lower(): str(value) for name, value in request.headers.items()}
    return ReceivedRequest(
        method="POST", path=path, query=query, headers={**sent, "authorization": authorization}, body=b"{}"
    )


def check(request: ReceivedRequest, now: datetime = NOW) -> None:
    """Check the request as an emulator in us-east-1 does."""
    Authentication(region="us-east-1", credentials=[(KEY_ID, SECRET)]).check(request, now)


def refusal(request: ReceivedRequest, now: datetime = NOW) -> ServiceError:
    """Return the error with which the request is refused."""
    with pytest.raises(ServiceError) as caught:
        check(request, now)
    return caught.value


def test_a_signature_is_good_for_five_minutes() -> None:
    """At the edges of the window it holds, a second later the recorded text is returned."""
    check(signed(query="b=2&a=1"))
    for minutes in (-5, 5):
        check(signed(), NOW + timedelta(minutes=minutes))
    late = refusal(signed(at=datetime(2025, 1, 30, 6, 45, 8, tzinfo=UTC)))
    assert late.message == (
        "Signature expired: 20250130T064508Z is now earlier than 20250210T013411Z (20250210T013911Z - 5 min.)"
    )
    assert "is still later than" in refusal(signed(), NOW - timedelta(minutes=5, seconds=1)).message


def altered(request: ReceivedRequest, **changes: str | bytes) -> ReceivedRequest:
    """Return the request after somebody changed it on its way; other names than attributes are headers."""
    headers = {**request.headers, **{name.replace("_", "-"): str(value) for name, value in changes.items()}}
    body = changes.get("body", request.body)
    return ReceivedRequest(
        method="POST",
        path=str(changes.get("path", request.path)),
        query=str(changes.get("query", request.query)),
        headers=headers,
        body=body if isinstance(body, bytes) else body.encode(),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"path": "/model/n/converse"},
        {"query": "a=1"},
        {"body": b"{} "},
        {"host": "elsewhere"},
        {"x_custom": "changed"},
        {"x_amz_content_sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "body": b"[]"},
    ],
    ids="+".join,
)
def test_any_change_breaks_the_signature(change: dict[str, Any]) -> None:
    """Path, query, body and signed headers are all covered; a claimed body hash is not believed."""
    request = signed(headers={"x-custom": "value"})
    check(altered(request))
    assert refusal(altered(request, **change)).code == "InvalidSignatureException"


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (signed(region="eu-west-1"), "InvalidSignatureException", "valid region"),
        (signed(service="bedrock-runtime"), "InvalidSignatureException", "correct service: 'bedrock'"),
        (altered(signed(), x_amz_date="20250211T013911Z"), "InvalidSignatureException", "does not match YYYYMMDD"),
        (altered(signed(), x_amz_date="yesterday"), "IncompleteSignatureException", "X-Amz-Date"),
        (altered(signed(), authorization="AWS4-HMAC-SHA256 Credential=a"), "IncompleteSignatureException", "Signature"),
        (
            altered(signed(), authorization="AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c"),
            "IncompleteSignatureException",
            "5 slash-delimited",
        ),
        (altered(signed(), authorization="Basic abc"), "IncompleteSignatureException", "algorithm"),
        (altered(signed(), authorization=""), "MissingAuthenticationTokenException", "Missing Authentication Token"),
        (
            altered(signed(), authorization=signed().headers["authorization"].replace("aws4_request", "aws5")),
            "InvalidSignatureException",
            "terminator",
        ),
        (
            altered(signed(), authorization=signed().headers["authorization"].replace("=host;", "=")),
            "InvalidSignatureException",
            "'Host'",
        ),
        (
            altered(signed(), authorization=signed().headers["authorization"].replace("Signature=", "Signature=é")),
            "InvalidSignatureException",
            "does not match",
        ),
    ],
)
def test_malformed_authorization_is_told_apart(request_: ReceivedRequest, code: str, text: str) -> None:
    """Each way of being wrong has the service's code and names what is wrong; no secret is in any of them."""
    error = refusal(request_)
    assert error.code == code
    assert text in error.message
    assert SECRET not in str(error)


def test_an_impossible_date_is_refused() -> None:
    """A timestamp of the right form that is no date does not get past the check."""
    request = altered(signed(), x_amz_date="20259999T999999Z")
    authorization = request.headers["authorization"].replace("20250210", "20259999")
    assert "is not a date" in refusal(altered(request, authorization=authorization)).message


@dataclass(frozen=True)
class OwnCredentials:
    """Credentials of another library with the same three attributes."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


def test_credentials_may_be_any_object_with_the_attributes() -> None:
    """The client's own credentials can be handed to the emulator; nonsense is refused with the right forms."""
    Authentication(region="us-east-1", credentials=[OwnCredentials(KEY_ID, SECRET)]).check(signed(), NOW)
    bad: Any = "AKID:secret"
    with pytest.raises(InvalidRequestError, match="access_key_id, secret_access_key"):
        BedrockEmulator(credentials=[bad])


def test_credentials_do_not_show_their_secrets() -> None:
    """repr has the key id only."""
    text = repr(EmulatorCredentials(KEY_ID, SECRET, TOKEN))
    assert KEY_ID in text
    assert SECRET not in text
    assert TOKEN not in text


# API keys. New releases of botocore send them over TLS only, so these tests serve TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key, a certificate for 127.0.0.1 and the one of its authority, made for this run."""
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("tls") / "emulator.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    authority.cert_pem.write_to_path(path, append=True)
    return path


def tls(certificate: Path) -> ssl.SSLContext:
    """Return the server's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_an_api_key_is_accepted_over_tls(
    connect: Connect, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore's AWS_BEARER_TOKEN_BEDROCK goes through, on an emulator that serves TLS."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", API_KEY)
    emulator = BedrockEmulator(api_keys=["ABSKother", API_KEY], ssl_context=tls(certificate))
    keyless: dict[str, Any] = {
        "aws_access_key_id": None,
        "aws_secret_access_key": None,
        "verify": str(certificate),
    }
    async with emulator, connect(emulator.url, **keyless) as client:
        await client.call("converse", modelId=MODEL, messages=MESSAGES)
        events = [event async for event in client.events("converse_stream", modelId=MODEL, messages=MESSAGES)]
    assert emulator.requests[0].headers["authorization"] == f"Bearer {API_KEY}"
    assert "metadata" in events[-1]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("wrong", "Invalid API Key format: Must start with pre-defined prefix"),
        ("ABSKwrong", "Authentication failed: Please make sure your API Key is valid."),
    ],
)
async def test_a_wrong_api_key_is_access_denied(
    connect: Connect, certificate: Path, monkeypatch: pytest.MonkeyPatch, key: str, message: str
) -> None:
    """The refusals are those printed in public, AccessDeniedException both."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", key)
    keyless: dict[str, Any] = {
        "aws_access_key_id": None,
        "aws_secret_access_key": None,
        "verify": str(certificate),
    }
    async with BedrockEmulator(api_keys=[API_KEY], ssl_context=tls(certificate)) as emulator:
        error = await refused(connect, emulator, **keyless)
    assert error.response["Error"] == {"Code": "AccessDeniedException", "Message": message}


async def test_an_api_key_is_no_use_where_only_signatures_are_accepted() -> None:
    """With credentials but no API keys configured every bearer token is refused, and the body says `Message`."""
    async with BedrockEmulator(credentials=[(KEY_ID, SECRET)]) as emulator, aiohttp.ClientSession() as session:
        headers = {"authorization": f"Bearer {API_KEY}"}
        async with session.post(f"{emulator.url}/model/m.x/converse", json={}, headers=headers) as response:
            assert response.status == 403
            assert json.loads(await response.read()) == {
                "Message": "Authentication failed: Please make sure your API Key is valid."
            }
