"""``bedrock-async doctor``: checks the path from this machine to an answer, line by line, with next steps.

The output contains no secrets: it names the sources of credentials, never their values. All waits are short.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sized
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal, TypeAlias

import anyio
from rich.text import Text

from .._version import __version__
from ..auth import ProfileSettings, RegionChoice, resolve_authenticator, resolve_region
from ..client import BedrockClient
from ..errors import AccessDeniedError, BedrockError
from ..iam import ACTIONS
from ..resilience import NO_RETRY
from ..transport import Endpoint, Transport, WireRequest, default_transport, resolve_endpoint
from .console import styled, terminal_safe
from .loop import CommandLoop

__all__ = [
    "DoctorOptions",
    "Finding",
    "check_credentials",
    "check_endpoint",
    "check_models",
    "check_region",
    "check_versions",
    "doctor",
]

State: TypeAlias = Literal["ok", "warning", "failed"]

LIMIT_S: Final = 5.0
"""The time limit for the credentials, and for the endpoint; both are checked concurrently."""

LIST_LIMIT_S: Final = 15.0
"""The time limit for each list of the control plane."""

# Signatures are rejected if their time is more than five minutes off.  [IAM user guide, "Signature Version 4"]
SKEW_LIMIT_S: Final = 300.0
SKEW_WARNING_S: Final = 60.0

_STYLES: Final[Mapping[State, str]] = {"ok": "green", "warning": "yellow", "failed": "bold red"}
_CORE: Final = ("aiohttp", "anyio", "httptools", "msgspec", "pydantic")
_EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "aws": ("aiobotocore", "botocore"),
    "httpx": ("httpx",),
    "cli": ("typer", "rich"),
}
_LOCAL: Final = "bedrock-async-local"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of output: what was examined, its state, and the next step."""

    state: State
    subject: str
    text: str
    next_step: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """The command line options for the client to examine."""

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    models: bool = False
    """Whether to query the control plane as well, which needs additional permissions."""


def doctor(options: DoctorOptions) -> bool:
    """Examine what a client with these options would use and print it; return whether nothing failed."""
    environ = os.environ
    findings = [*check_versions(_installed_version)]
    choice, finding = check_region(options, environ)
    findings.append(finding)
    _show(findings)
    with CommandLoop() as loop:
        rest = loop.run(_check_connection(options, choice, environ))
    _show(rest)
    return not any(finding.state == "failed" for finding in (*findings, *rest))


def check_versions(version_of: Callable[[str], str | None]) -> Iterable[Finding]:
    """Yield a line for Python and for each relevant package; ``version_of`` returns None for a missing one."""
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding("ok", "python", python)
    yield Finding("ok", "bedrock_async", __version__)
    for name in _CORE:
        yield _package(name, version_of(name), "failed", "pip install --force-reinstall bedrock-async")
    for extra, names in _EXTRAS.items():
        for name in names:
            # Profiles, SSO, roles and metadata services need botocore; the other packages are optional.
            missing: State = "warning" if name == "botocore" else "ok"
            yield _package(name, version_of(name), missing, f'pip install "bedrock-async[{extra}]"')
    yield _package(_LOCAL, version_of(_LOCAL), "ok", f"pip install {_LOCAL}")


def _package(name: str, found: str | None, missing: State, command: str) -> Finding:
    if found is not None:
        return Finding("ok", name, found)
    if missing == "ok":
        return Finding("ok", name, f"not installed, and not needed until you want it: {command}")
    return Finding(missing, name, "not installed", command)


def _installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_region(options: DoctorOptions, environ: Mapping[str, str]) -> tuple[RegionChoice | None, Finding]:
    """Return the region, or None if it cannot be determined, and a line about it."""
    try:
        choice = resolve_region(options.region, environ=environ, profile=options.profile)
    except BedrockError as exc:
        return None, _failed("region", exc)
    if choice.source == "default":
        text = f"{choice.region}, because nothing chooses one"
        return choice, Finding("warning", "region", text, "Set AWS_REGION, or pass --region.")
    return choice, Finding("ok", "region", f"{choice.region} ({choice.source})")


async def _check_connection(
    options: DoctorOptions, choice: RegionChoice | None, environ: Mapping[str, str]
) -> list[Finding]:
    credentials: list[Finding] = []
    connection: list[Finding] = []

    async def look_at_credentials() -> None:
        region = choice.region if choice is not None else None
        credentials.append(await check_credentials(options, region, environ))

    async def look_at_endpoint() -> None:
        if choice is None:
            connection.append(Finding("warning", "endpoint", "not looked for: the region is not known"))
            return
        try:
            config = ProfileSettings(environ, profile=options.profile)
            endpoint = resolve_endpoint(
                choice.region, endpoint_url=options.endpoint_url, environ=environ, config=config
            )
            transport = default_transport(max_connections=1)
        except BedrockError as exc:
            connection.append(_failed("endpoint", exc))
            return
        try:
            connection.extend(await check_endpoint(endpoint, transport))
        finally:
            await transport.aclose()

    async with anyio.create_task_group() as group:
        group.start_soon(look_at_credentials)
        group.start_soon(look_at_endpoint)
    if not options.models:
        return [*credentials, *connection]
    failed = [each.subject for each in (*credentials, *connection) if each.state == "failed"]
    if choice is None or failed:
        missing = ", ".join(["region"] if choice is None else failed)
        return [*credentials, *connection, Finding("warning", "models", f"not listed; this failed: {missing}")]
    return [*credentials, *connection, *await check_models(options)]


async def check_models(options: DoctorOptions, *, limit_s: float = LIST_LIMIT_S) -> list[Finding]:
    """List models and inference profiles as a client would; return a line for each list, naming missing permissions."""
    findings: list[Finding] = []
    async with BedrockClient(
        region=options.region, profile=options.profile, endpoint_url=options.endpoint_url, retry=NO_RETRY
    ) as client:
        asked: Mapping[str, tuple[str, Callable[[], Awaitable[Sized]]]] = {
            "models": ("ListFoundationModels", client.list_models),
            "inference profiles": ("ListInferenceProfiles", client.list_inference_profiles),
        }
        for subject, (operation, ask) in asked.items():
            try:
                async with asyncio.timeout(limit_s):
                    count = len(await ask())
            except AccessDeniedError as exc:
                step = f"Allow the action {ACTIONS[operation]} in the principal's IAM policy (docs/iam.md)."
                findings.append(Finding("failed", subject, exc.message, exc.hint if _names_action(exc) else step))
            except BedrockError as exc:
                findings.append(_failed(subject, exc))
            except TimeoutError:
                text = f"no answer within {limit_s:g} s"
                findings.append(Finding("failed", subject, text, "Check network, proxy and firewall."))
            else:
                findings.append(Finding("ok", subject, f"{count} in {client.region}"))
    return findings


def _names_action(error: AccessDeniedError) -> bool:
    """Return whether the service's message names what is missing: an action, or the key itself."""
    return "is not authorized to perform: " in error.message or "API Key" in error.message


async def check_credentials(
    options: DoctorOptions, region: str | None, environ: Mapping[str, str], *, limit_s: float = LIMIT_S
) -> Finding:
    """Load the credentials as a client would; return a line about their source."""
    try:
        authenticator = resolve_authenticator(environ=environ, profile=options.profile, region=region)
    except BedrockError as exc:
        return _failed("credentials", exc)
    try:
        async with asyncio.timeout(limit_s):
            await authenticator.prepare(datetime.now(UTC))
    except BedrockError as exc:
        return _failed("credentials", exc)
    except TimeoutError:
        return Finding(
            "failed",
            "credentials",
            f"not loaded within {limit_s:g} s ({authenticator.source})",
            "A credential_process, an MFA prompt or a metadata service is not responding; "
            "`aws sts get-caller-identity` shows which.",
        )
    return Finding("ok", "credentials", authenticator.source)


def _now() -> datetime:
    return datetime.now(UTC)


async def check_endpoint(
    endpoint: Endpoint, transport: Transport, *, now: Callable[[], datetime] = _now, limit_s: float = LIMIT_S
) -> list[Finding]:
    """Send an unauthenticated request to the endpoint; return lines about the endpoint and the clock difference."""
    where = f"{endpoint.base_url} ({endpoint.source})"
    request = WireRequest("GET", f"{endpoint.base_url}/", {"host": endpoint.host}, b"")
    started = now()
    try:
        async with asyncio.timeout(limit_s):
            response = await transport.send(request, connect_timeout_s=limit_s)
    except BedrockError as exc:
        failed = Finding("failed", "endpoint", f"{where}: {exc.message}", exc.hint)
    except TimeoutError:
        failed = Finding(
            "failed", "endpoint", f"{where}: no answer within {limit_s:g} s", "Check network, proxy and firewall."
        )
    else:
        ended = now()
        response.abort()
        reached = f"{where}: HTTP {response.status} after {(ended - started).total_seconds() * 1000:.0f} ms"
        date = response.headers.get("date")
        return [_endpoint_finding(response.status, reached), _clock_finding(date, started + (ended - started) / 2)]
    return [failed, Finding("warning", "clock", "not compared: the endpoint did not answer")]


def _endpoint_finding(status: int, reached: str) -> Finding:
    # Any response of the service will do: without credentials and path, it refuses every request.
    if status in range(300, 400):
        return Finding("warning", "endpoint", reached, "It redirects, and redirects are not followed: check the URL.")
    if status >= 500:
        return Finding(
            "warning", "endpoint", reached, "The service, or a gateway in front of it, is failing: try again."
        )
    return Finding("ok", "endpoint", reached)


def _clock_finding(date: str | None, local: datetime) -> Finding:
    try:
        remote = parsedate_to_datetime(date or "")
    except ValueError:
        return Finding("warning", "clock", "not compared: the endpoint gave no date")
    skew_s = (local - remote.replace(tzinfo=remote.tzinfo or UTC)).total_seconds()
    text = f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the endpoint's"
    if abs(skew_s) > SKEW_LIMIT_S:
        step = f"Set this machine's clock (NTP): signatures more than {SKEW_LIMIT_S:.0f} s off are refused."
        return Finding("failed", "clock", text, step)
    if abs(skew_s) > SKEW_WARNING_S:
        step = f"Set this machine's clock (NTP) before it is more than {SKEW_LIMIT_S:.0f} s off."
        return Finding("warning", "clock", text, step)
    return Finding("ok", "clock", text)


def _failed(subject: str, error: BedrockError) -> Finding:
    return Finding("failed", subject, error.message, error.hint)


def _show(findings: Iterable[Finding]) -> None:
    console = styled(sys.stdout)
    for each in findings:
        line = Text(f"{each.state:8}", style=_STYLES[each.state])
        line.append(f"{each.subject:20}", style="bold").append(terminal_safe(each.text), style="default")
        console.print(line)
        if each.next_step:
            console.print(Text(f"{'':28}-> {terminal_safe(each.next_step)}"))
    sys.stdout.flush()
