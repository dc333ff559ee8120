"""The signer agrees with botocore on whatever it is given, and its caches never show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_async.auth import Credentials, SigV4Signer

botocore_auth = pytest.importorskip("botocore.auth")
botocore_awsrequest = pytest.importorskip("botocore.awsrequest")
botocore_credentials = pytest.importorskip("botocore.credentials")

NOON = datetime(2026, 1, 15, 12, 34, 56, tzinfo=UTC)
CREDENTIALS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
URL = "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.amazon.nova-lite-v1%3A0/converse"


def signed_by_botocore(
    method: str,
    url: str,
    headers: dict[str, str],
    body: bytes,
    *,
    credentials: Credentials,
    region: str,
    service: str,
    now: datetime,
) -> dict[str, str]:
    """Return the request's headers, names in lower case, after botocore's SigV4Auth.add_auth at the time ``now``."""
    keys = botocore_credentials.Credentials(
        credentials.access_key_id, credentials.secret_access_key, credentials.session_token
    )
    signer: Any = botocore_auth.SigV4Auth(keys, service, region)
    request: Any = botocore_awsrequest.AWSRequest(method, url, headers=dict(headers), data=body)
    # The body of add_auth, with the clock as an argument.
    request.context["timestamp"] = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    signer._modify_request_before_signing(request)
    string_to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(string_to_sign, request))
    return {name.lower(): value for name, value in request.headers.items()}


def sign(signer: SigV4Signer, now: datetime = NOON, **changes: object) -> str:
    """Return the signature of a plain Converse request; ``changes`` replace its parts."""
    call: dict[str, object] = {
        "method": "POST",
        "url": URL,
        "headers": {"content-type": "application/json"},
        "body": b"{}",
        "service": "bedrock",
        "region": "us-east-1",
    }
    arguments: Any = call | changes
    return signer.sign(**arguments, now=now)


MODELS = st.one_of(
    st.sampled_from(
        [
            "anthropic.claude-3-haiku-20240307-v1:0",
            "us.anthropic.claude-sonnet-4-20250514-v1:0",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0",
            "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:provisioned-model/a1b2c3d4e5f6",
            "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/my endpoint",
        ]
    ),
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40),
)
NAMES = st.from_regex(r"x-amzn?-[a-z][a-z0-9-]{0,20}[a-z0-9]", fullmatch=True).filter(
    lambda name: name not in {"x-amz-content-sha256", "x-amzn-trace-id"}
)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
SECRETS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)
QUOTED = st.text(max_size=12).map(lambda text: quote(text, safe="-_.~"))


@settings(max_examples=300, deadline=None)
@given(
    method=st.sampled_from(["POST", "GET", "PUT", "DELETE"]),
    host=st.sampled_from(
        [
            "https://bedrock-runtime.us-east-1.amazonaws.com",
            "https://BEDROCK-runtime.eu-central-1.amazonaws.com:443",
            "http://127.0.0.1:8080",
            "http://localhost:80",
            "https://[::1]:8443",
        ]
    ),
    model=MODELS,
    operation=st.sampled_from(["converse", "converse-stream", "invoke", "", "a//b/./../c"]),
    query=st.lists(st.tuples(QUOTED, QUOTED), max_size=4),
    extra=st.dictionaries(NAMES, VALUES, max_size=4),
    body=st.binary(max_size=200),
    secret=SECRETS,
    token=st.none() | SECRETS,
    region=st.sampled_from(["us-east-1", "eu-central-1", "us-gov-west-1"]),
    service=st.sampled_from(["bedrock", "s3express", "sts"]),
    now=st.datetimes(datetime(2001, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_random_requests_are_signed_as_botocore_signs_them(
    *,
    method: str,
    host: str,
    model: str,
    operation: str,
    query: list[tuple[str, str]],
    extra: dict[str, str],
    body: bytes,
    secret: str,
    token: str | None,
    region: str,
    service: str,
    now: datetime,
) -> None:
    """Any method, host, model id or ARN, query, header, body, secret, token, region and time: the same headers."""
    url = f"{host}/model/{quote(model, safe='')}/{operation}"
    if query:
        url += "?" + "&".join(f"{name}={value}" for name, value in query)
    headers = {"content-type": "application/json", "accept": "application/json", "user-agent": "test/1", **extra}
    credentials = Credentials("AKIDEXAMPLE", secret, token)
    expected = signed_by_botocore(
        method, url, headers, body, credentials=credentials, region=region, service=service, now=now
    )
    ours = dict(headers)
    SigV4Signer(credentials).sign(method, url, ours, body, service=service, region=region, now=now)
    del ours["host"]
    assert ours == expected


def variants() -> list[dict[str, Any]]:
    """Return changes to the plain request, each of which changes its signature."""
    return [
        {},
        {"region": "eu-west-1"},
        {"service": "s3"},
        {"url": URL + "-stream"},
        {"method": "GET"},
        {"body": b"{ }"},
        {"headers": {"content-type": "application/json", "x-amz-target": "x"}},
    ]


def test_one_signer_gives_what_fresh_signers_give() -> None:
    """The caches for seconds, days, URLs, header sets, regions and services never mix requests up."""
    shared = SigV4Signer(CREDENTIALS)
    times = [NOON, NOON + timedelta(microseconds=999_999), NOON + timedelta(seconds=1), NOON - timedelta(days=1)]
    seen: set[str] = set()
    for _ in range(2):
        for now in times:
            for ours, fresh in zip(variants(), variants(), strict=True):
                signature = sign(shared, now, **ours)
                assert signature == sign(SigV4Signer(CREDENTIALS), now, **fresh)
                seen.add(signature)
    assert len(seen) == 3 * len(variants()), "two of the four times are in the same second"


def test_caches_stay_bounded() -> None:
    """A client that calls ever new URLs, with ever new headers, regions and days, does not grow without end."""
    signer = SigV4Signer(CREDENTIALS)
    for number in range(2_000):
        sign(
            signer,
            NOON + timedelta(days=number),
            url=f"{URL}/{number}",
            headers={f"x-amz-{number}": "v"},
            region=f"r{number}",
        )
    assert max(len(signer._targets), len(signer._shapes), len(signer._keys)) <= 512


def test_the_clock_may_be_of_any_zone_and_may_go_back() -> None:
    """``now`` in another time zone signs the same instant; a clock that was set back is followed."""
    signer = SigV4Signer(CREDENTIALS)
    later = sign(signer, NOON + timedelta(seconds=5))
    there = NOON.astimezone(timezone(timedelta(hours=-11)))
    assert sign(signer, there) == sign(SigV4Signer(CREDENTIALS), NOON) != later


def test_headers_signed_before_can_be_signed_again() -> None:
    """A retry with other credentials and a later time leaves nothing of the first signature behind."""
    headers = {"content-type": "application/json"}
    sign(SigV4Signer(Credentials("OLD", "old", "old-token")), headers=headers)
    later = NOON + timedelta(seconds=3)
    sign(SigV4Signer(CREDENTIALS), later, headers=headers)
    fresh = {"content-type": "application/json"}
    sign(SigV4Signer(CREDENTIALS), later, headers=fresh)
    assert headers == fresh
    assert "x-amz-security-token" not in headers


@pytest.mark.parametrize(
    "name", ["user-agent", "content-length", "accept-encoding", "connection", "x-amzn-trace-id", "traceparent"]
)
def test_headers_that_others_rewrite_are_not_signed(name: str) -> None:
    """What HTTP libraries, proxies and tracing agents add or change does not break the signature."""
    signer = SigV4Signer(CREDENTIALS)
    assert sign(signer, headers={name: "1"}) == sign(signer, headers={})


@pytest.mark.parametrize("name", ["content-type", "accept", "x-amzn-bedrock-trace", "x-amz-anything"])
def test_every_other_header_is_signed(name: str) -> None:
    """A header that is sent as we set it is part of the signature."""
    signer = SigV4Signer(CREDENTIALS)
    assert sign(signer, headers={name: "1"}) != sign(signer, headers={name: "2"})


def test_a_given_host_header_is_signed_and_kept() -> None:
    """Behind a proxy the host header may name another host than the URL; that one counts."""
    signer = SigV4Signer(CREDENTIALS)
    headers = {"host": "bedrock-runtime.us-east-1.amazonaws.com"}
    signature = sign(signer, headers=headers, url=URL.replace("bedrock-runtime.us-east-1.amazonaws.com", "proxy:8443"))
    assert headers["host"] == "bedrock-runtime.us-east-1.amazonaws.com"
    assert signature == sign(signer, headers={})


def test_the_repr_hides_the_secret() -> None:
    """A signer in a log shows whose it is, not the key."""
    shown = repr(SigV4Signer(CREDENTIALS))
    assert "AKIDEXAMPLE" in shown
    assert CREDENTIALS.secret_access_key not in shown
