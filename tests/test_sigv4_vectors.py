"""The official SigV4 vectors, and Bedrock requests signed by botocore, come out of our signer bit by bit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from bedrock_async.auth import UNSIGNED_HEADERS, Credentials, SigV4Signer

VECTORS = Path(__file__).parent / "data" / "corpus" / "sigv4_vectors"
CRT_CASES = sorted(path.parent for path in (VECTORS / "aws-c-auth_v4").rglob("context.json"))
BOTOCORE_CASES = sorted((VECTORS / "botocore_aws4_testsuite").rglob("*.req"))
BEDROCK_CASES: list[dict[str, Any]] = json.loads((VECTORS / "bedrock_by_botocore.json").read_text())["cases"]

ACCESS_KEY_ID = "AKIDEXAMPLE"
SECRET_ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@dataclass(frozen=True)
class Request:
    """A request as the suites write it down, in the form in which it is given to a signer."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


def parse_request(text: str) -> Request:
    """Read a raw HTTP request: folded lines are unfolded, repeated headers joined, non-ASCII quoted in the query."""
    head, _, body = text.partition("\n\n")
    first, *lines = head.rstrip("\n").split("\n")
    method, _, rest = first.partition(" ")
    target = rest.removesuffix(" HTTP/1.1")
    path, mark, query = target.partition("?")
    fields: list[tuple[str, str]] = []
    for line in lines:
        if line[:1].isspace():
            name, value = fields.pop()
            fields.append((name, f"{value} {line}"))
        else:
            name, _, value = line.partition(":")
            fields.append((name.lower(), value))
    headers: dict[str, str] = {}
    for name, value in fields:
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    url = f"http://{headers['host']}{path}{mark}{quote(query, safe='=&-_.~%')}"
    return Request(method, url, headers, body.encode())


def test_the_suites_are_complete() -> None:
    """The parametrised tests below cannot pass for want of cases."""
    assert (len(CRT_CASES), len(BOTOCORE_CASES), len(BEDROCK_CASES)) == (21, 17, 6)


@pytest.mark.parametrize("folder", CRT_CASES, ids=lambda folder: folder.name)
def test_aws_crt_suite(folder: Path) -> None:
    """Every header-signing case of the AWS common runtime's suite has the published signature."""
    context: dict[str, Any] = json.loads((folder / "context.json").read_text())
    request = parse_request((folder / "request.txt").read_text())
    keys: dict[str, str] = context["credentials"]
    # omit_session_token: the token is added after signing, so the signature is the one without it.
    token = None if context.get("omit_session_token") else keys.get("token")
    signer = SigV4Signer(
        Credentials(keys["access_key_id"], keys["secret_access_key"], token),
        normalize_path=context["normalize"],
        unsigned_headers=UNSIGNED_HEADERS - {"content-length"},
    )
    headers = dict(request.headers)
    if context["sign_body"]:
        canonical = (folder / "header-canonical-request.txt").read_text()
        headers["x-amz-content-sha256"] = canonical.rpartition("\n")[2]
    signature = signer.sign(
        request.method,
        request.url,
        headers,
        request.body,
        service=context["service"],
        region=context["region"],
        now=datetime.fromisoformat(context["timestamp"]),
    )
    assert signature == (folder / "header-signature.txt").read_text().strip()
    expected = parse_request((folder / "header-signed-request.txt").read_text()).headers
    assert headers["authorization"] == expected["authorization"].strip()


@pytest.mark.parametrize("path", BOTOCORE_CASES, ids=lambda path: path.stem)
def test_botocore_suite(path: Path) -> None:
    """Every case of the suite that botocore ships has the published authorization header."""
    request = parse_request(path.read_text())
    authorization = path.with_suffix(".authz").read_text().strip()
    token = None
    if "x-amz-security-token" in authorization:
        token = parse_request(path.with_suffix(".sreq").read_text()).headers["x-amz-security-token"]
    headers = dict(request.headers)
    SigV4Signer(Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY, token)).sign(
        request.method,
        request.url,
        headers,
        request.body,
        service="service",
        region="us-east-1",
        now=datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
    )
    assert headers["authorization"] == authorization


@pytest.mark.parametrize("case", BEDROCK_CASES, ids=lambda case: case["name"])
def test_bedrock_requests_signed_by_botocore(case: dict[str, Any]) -> None:
    """Bedrock requests get the very headers that botocore added to them, model ids and ARNs in the path included."""
    keys: dict[str, str | None] = case["credentials"]
    assert keys["access_key_id"] is not None
    assert keys["secret_access_key"] is not None
    signer = SigV4Signer(Credentials(keys["access_key_id"], keys["secret_access_key"], keys["session_token"]))
    headers = {name.lower(): value for name, value in case["headers_in"].items()}
    signer.sign(
        case["method"],
        case["url"],
        headers,
        (case["body"] or "").encode(),
        service=case["service"],
        region=case["region"],
        now=datetime.strptime(case["timestamp"], "%Y%m%dT%H%M%S%z"),
    )
    host = headers.pop("host")
    assert f"https://{host}/" in case["url"]
    assert headers == {name.lower(): value for name, value in case["headers_added"].items()}
