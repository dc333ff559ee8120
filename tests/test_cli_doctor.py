"""`bedrock-async doctor`: every line says how it is, and a failed one what to do."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from commandline import CREDENTIALS, run, serving

from bedrock_async.cli.doctor import (
    DoctorOptions,
    Finding,
    check_credentials,
    check_endpoint,
    check_region,
    check_versions,
)
from bedrock_async.testing import ScriptedModel
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.transport import resolve_endpoint

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
ENDPOINT = resolve_endpoint("us-east-1", environ={})


def states(stdout: str) -> dict[str, str]:
    """Return the state of each subject."""
    found = re.findall(r"^(ok|warning|failed) +(\S+) ", stdout, re.MULTILINE)
    return {subject: state for state, subject in found}


def test_all_is_well_against_a_server_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With credentials, a region and an endpoint everything is ok, the status 0, and no secret is shown."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with serving(ScriptedModel.text()) as (emulator, _):
        url = emulator.url
        result = run("doctor", "--endpoint-url", url)
    found = states(result.stdout)
    assert set(found.values()) == {"ok"}
    assert {"python", "bedrock_async", "aiohttp", "botocore", "region", "credentials", "endpoint", "clock"} <= set(
        found
    )
    assert "us-east-1 (AWS_REGION)" in result.stdout
    assert "environment (AWS_ACCESS_KEY_ID)" in result.stdout
    assert f"{url} (argument endpoint_url): HTTP 404" in result.stdout
    assert result.exit_code == 0
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in result.output
    assert CREDENTIALS["AWS_ACCESS_KEY_ID"] not in result.output


def test_what_fails_is_told_with_the_next_step() -> None:
    """Offline and without credentials: two lines failed, each with a next step, and the status is 1."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    result = run("doctor", "--endpoint-url", f"http://127.0.0.1:{port}")
    found = states(result.stdout)
    assert (found["credentials"], found["endpoint"], found["clock"], found["region"]) == (
        "failed",
        "failed",
        "warning",
        "warning",
    )
    lines = result.stdout.splitlines()
    for index, line in enumerate(lines):
        if line.startswith("failed"):
            assert lines[index + 1].lstrip().startswith("-> ")
    assert "AWS_BEARER_TOKEN_BEDROCK" in result.stdout
    assert "refused" in result.stdout
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "subject"),
    [
        (("--region", "Nowhere!"), "region"),
        (("--profile", "nobody"), "credentials"),
        (("--endpoint-url", "ftp://127.0.0.1"), "endpoint"),
    ],
)
def test_wrong_settings_are_findings(arguments: tuple[str, ...], subject: str) -> None:
    """A region, profile or URL that cannot be is a failed line, not the end of the examination."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    endpoint = () if "--endpoint-url" in arguments else ("--endpoint-url", f"http://127.0.0.1:{port}")
    result = run("doctor", *arguments, *endpoint)
    assert states(result.stdout)[subject] == "failed"
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("behind_s", "state", "said"),
    [
        (0, "ok", "0 s"),
        (59, "ok", "59 s behind the endpoint's"),
        (-61, "warning", "61 s ahead of the endpoint's"),
        (300, "warning", "300 s behind"),
        (301, "failed", "301 s behind"),
        (-7200, "failed", "7200 s ahead"),
    ],
)
async def test_the_clock_is_compared_with_the_endpoints(behind_s: int, state: str, said: str) -> None:
    """Up to a minute is ok, beyond five the service refuses signatures, in between is a warning."""
    date = format_datetime(NOW + timedelta(seconds=behind_s), usegmt=True)
    transport = CannedTransport([CannedResponse(status=403, headers={"date": date})])
    endpoint, clock = await check_endpoint(ENDPOINT, transport, now=lambda: NOW)
    assert endpoint.state == "ok"
    assert clock.state == state
    assert said in clock.text
    assert (clock.next_step is None) == (state == "ok")


@pytest.mark.parametrize(
    ("status", "state"), [(200, "ok"), (403, "ok"), (404, "ok"), (307, "warning"), (503, "warning")]
)
async def test_any_answer_of_the_service_will_do(status: int, state: str) -> None:
    """A refusal shows that the endpoint is reachable; redirects and gateway errors are doubtful."""
    answer = CannedResponse(status=status, headers={"date": "nonsense"})
    transport = CannedTransport([answer])
    endpoint, clock = await check_endpoint(ENDPOINT, transport, now=lambda: NOW)
    assert endpoint.state == state
    assert (clock.state, clock.text) == ("warning", "not compared: the endpoint gave no date")
    assert answer.aborted
    assert "authorization" not in transport.requests[0].headers


async def test_an_endpoint_that_says_nothing_is_not_waited_for() -> None:
    """After the limit the line is failed, and the examination goes on."""
    transport = CannedTransport([asyncio.Event(), CannedResponse()])
    endpoint, clock = await check_endpoint(ENDPOINT, transport, limit_s=0.01)
    assert (endpoint.state, clock.state) == ("failed", "warning")
    assert "no answer within 0.01 s" in endpoint.text


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes are POSIX")
async def test_credentials_that_do_not_come_are_not_waited_for(no_aws_settings: Path) -> None:
    """A credential helper that hangs is a failed line after the limit, which says where it hangs."""
    fifo = no_aws_settings / "helper"
    os.mkfifo(fifo)
    config = no_aws_settings / ".aws" / "config"
    config.parent.mkdir()
    config.write_text(f"[profile slow]\ncredential_process = cat {fifo}\n")
    found = await check_credentials(DoctorOptions(profile="slow"), "us-east-1", os.environ, limit_s=0.05)
    assert found.state == "failed"
    assert "not loaded within 0.05 s (profile 'slow')" in found.text
    # The helper ends, and with it the thread that waits for it.
    answer = {"Version": 1, "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "secret"}
    await asyncio.to_thread(fifo.write_text, json.dumps(answer))


async def test_a_credential_helper_is_named(no_aws_settings: Path) -> None:
    """Credentials that come are a line with their source, never with their values."""
    config = no_aws_settings / ".aws" / "config"
    config.parent.mkdir()
    answer = {"Version": 1, "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "verysecret"}
    (no_aws_settings / "answer.json").write_text(json.dumps(answer))
    config.write_text(f"[profile quick]\ncredential_process = cat {no_aws_settings / 'answer.json'}\n")
    found = await check_credentials(DoctorOptions(profile="quick"), "us-east-1", os.environ)
    assert found == Finding("ok", "credentials", "profile 'quick': custom-process")


def test_the_region_tells_why() -> None:
    """A region that somebody chose is ok with the reason; the fallback is a warning."""
    choice, finding = check_region(DoctorOptions(region="eu-west-1"), {})
    assert choice is not None
    assert (choice.region, finding.state, finding.text) == ("eu-west-1", "ok", "eu-west-1 (argument)")
    choice, finding = check_region(DoctorOptions(), {"AWS_REGION": "eu-west-3"})
    assert finding == Finding("ok", "region", "eu-west-3 (AWS_REGION)")
    _, finding = check_region(DoctorOptions(), dict(os.environ))
    assert (finding.state, finding.next_step) == ("warning", "Set AWS_REGION, or pass --region.")


def test_missing_packages_are_told_with_the_command() -> None:
    """Without botocore profiles and roles do not work, which is a warning; other extras are nobody's fault."""
    core = {"aiohttp": "3.12", "anyio": "4.9", "httptools": "0.6", "msgspec": "0.19"}
    installed = {**core, "typer": "0.16", "rich": "14"}
    found = {each.subject: each for each in check_versions(installed.get)}
    assert found["aiohttp"] == Finding("ok", "aiohttp", "3.12")
    assert found["pydantic"].state == "failed"
    assert found["botocore"] == Finding("warning", "botocore", "not installed", 'pip install "bedrock-async[aws]"')
    assert found["httpx"].state == "ok"
    assert 'pip install "bedrock-async[httpx]"' in found["httpx"].text
