"""``bedrock-async verify``: makes small calls of every kind, and checks that they return what this client promises.

With ``--live`` on the user's account, within a cost limit; otherwise with a scripted model in this process, which shows
what would be done.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, Unpack, cast

import anyio
from rich.text import Text

from .._version import __version__
from ..auth import Credentials
from ..botocore_config import ClientKeywords
from ..client import BedrockClient
from ..errors import BedrockError, CredentialsError, InvalidRequestError, ServiceError
from ..geography import default_model
from ..resilience import Timeouts
from ..testing.cassette import Cassette
from ..testing.emulator import BedrockEmulator
from ..testing.redaction import Redact
from ..types import JSONValue
from .checks import CHECKS
from .console import show_note, show_table, styled, terminal_safe
from .contract import Check, Configuration, Finding, Skipped, Subject, has_official_parser
from .demonstration import DEMONSTRATION_MODEL, demonstration_model
from .loop import CommandLoop
from .spending import OverBudgetError, SpendingGuard, UnknownPriceError, price_list, usd
from .target import MODEL_VARIABLE

__all__ = ["Outcome", "State", "VerifyOptions", "examine_one", "verify"]

logger = logging.getLogger("bedrock_async.cli.verify")

State: TypeAlias = Literal["agrees", "disagrees", "failed", "model differs", "not run", "refused", "skipped"]
"""The outcome of a check.

``model differs``: the model did not do what it was asked for, but its answer was read correctly. ``refused``: by the
service; ``failed``: in the client, or on the way; ``not run``: over the cost limit; ``skipped``: not requested.
"""

_STYLES: Final[Mapping[str, str]] = {
    "agrees": "green",
    "disagrees": "bold red",
    "failed": "bold red",
    "model differs": "yellow",
    "not run": "yellow",
    "refused": "yellow",
}
_HEADER: Final = ("check", "operation", "what was seen", "ms", "cost", "state")
_TIMEOUTS: Final = Timeouts(total_s=180.0, first_event_s=120.0, idle_s=60.0)
_MOST_DETAIL: Final = 100
_EXAMPLE_KEY: Final = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """The command line options."""

    live: bool = False
    model: str | None = None
    max_cost: Decimal | None = Decimal("0.05")
    prices: Sequence[str] = ()
    only: Sequence[str] = ()
    guardrail: str | None = None
    guardrail_checks: bool = False
    output_s3_uri: str | None = None
    async_model: str | None = None
    async_input: Path | None = None
    native_body: Path | None = None
    cassette: Path | None = None
    redact_prompts: bool = False
    as_json: bool = False
    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one check."""

    check: Check
    state: State
    detail: str = ""
    findings: tuple[Finding, ...] = ()
    duration_s: float = 0.0
    cost_usd: Decimal = Decimal(0)

    @property
    def faulty(self) -> bool:
        """Whether the outcome counts against the client, or shows that the account could not be examined."""
        return self.state in {"disagrees", "failed"} or (
            self.check.essential and self.state not in {"agrees", "model differs"}
        )


def verify(options: VerifyOptions) -> bool:
    """Run the checks, write the findings to stdout, and return whether none counts against the client.

    When interrupted, it shows the findings so far. Raises BedrockError when it cannot begin.
    """
    chosen = _chosen(options.only)
    outcomes: list[Outcome] = []
    run = _Run(options, chosen, outcomes)
    try:
        with CommandLoop() as loop:
            loop.run(run.examine())
    finally:
        if outcomes:
            _show(run, outcomes)
    return not any(outcome.faulty for outcome in outcomes)


def _chosen(names: Sequence[str]) -> tuple[Check, ...]:
    known = [check.name for check in CHECKS]
    for name in names:
        if name not in known:
            raise InvalidRequestError(
                f"there is no check {name!r}.", path="only", hint=f"There are {', '.join(known)}."
            )
    return tuple(check for check in CHECKS if not names or check.name in names)


class _Run:
    """One run of all checks."""

    def __init__(self, options: VerifyOptions, checks: Sequence[Check], outcomes: list[Outcome]) -> None:
        self.options = options
        self.model = ""
        self.region = ""
        self.endpoint = ""
        self.spent_usd = Decimal(0)
        self.unpriced = 0
        self.official = False
        self._checks = checks
        self._outcomes = outcomes
        self._prices = price_list(options.prices)

    async def examine(self) -> None:
        """Make the calls, one check after another, and record them."""
        options = self.options
        self.official = await anyio.to_thread.run_sync(has_official_parser)
        files = await anyio.to_thread.run_sync(_read_files, options)
        async with _endpoint(options) as keywords:
            cassette = Cassette(
                options.cassette, mode="record", redact_prompts=options.redact_prompts, redact=_redactions(options)
            )
            async with cassette:
                limit = options.max_cost if options.live else None
                guard = SpendingGuard(cassette, self._prices, limit)
                async with _client(guard, keywords) as client:
                    configuration = _configuration(options, client.region, files)
                    self.model, self.region = configuration.model, client.region
                    self.endpoint = client.endpoint.host
                    # Clients with other credentials use the same endpoint, even if a profile determined it.
                    keywords["region"], keywords["endpoint_url"] = client.region, client.endpoint.base_url
                    others = partial(_client, guard, keywords)
                    subject = Subject(client, others, guard, cassette, configuration, self.official)
                    for check in self._checks:
                        show_note(f"{check.name}: {check.promise}")
                        self._outcomes.append(await examine_one(check, subject, options))
                        self.spent_usd, self.unpriced = guard.spent_usd, guard.unpriced


async def examine_one(check: Check, subject: Subject, options: VerifyOptions) -> Outcome:
    """Make the calls of one check, and return its outcome. Raises CredentialsError, which would affect every check."""
    guard = subject.guard
    subject.findings = []
    subject.cassette.label = check.name
    recorded, spent, started = len(subject.cassette.recorded), guard.spent_usd, time.perf_counter()
    state, detail = await _state(check, subject, options)
    duration_s = time.perf_counter() - started
    guard.settle(subject.cassette.recorded[recorded:])
    return Outcome(check, state, detail, tuple(subject.findings), duration_s, guard.spent_usd - spent)


async def _state(check: Check, subject: Subject, options: VerifyOptions) -> tuple[State, str]:
    if check.needs is not None and not _given(check.needs, options):
        return "skipped", f"it needs {check.needs}"
    try:
        await check.run(subject)
    except Skipped as exc:
        return "skipped", str(exc)
    except (OverBudgetError, UnknownPriceError) as exc:
        return "not run", f"{exc.message} {exc.hint or ''}".strip()
    except CredentialsError:
        raise  # every check would fail in the same way
    except ServiceError as exc:
        state: State = "refused"
        detail = f"{exc.code}: {exc.message}"
    except BedrockError as exc:
        logger.debug("the check %s failed", check.name, exc_info=exc)
        state, detail = "failed", f"{type(exc).__name__}: {exc.message}"
    except Exception as exc:
        # The client raises only its own errors: any other is the kind of finding that this command looks for.
        logger.debug("the check %s failed", check.name, exc_info=exc)
        state, detail = "failed", f"{type(exc).__name__}, which is not one of the client's errors"
    else:
        state, detail = "agrees", ""
    broken = [finding for finding in subject.findings if not finding.holds]
    if of_client := [finding.what for finding in broken if not finding.of_model]:
        return "disagrees", f"not so: {of_client[0]}"
    if broken and state != "failed":
        return "model differs", f"not so: {broken[0].what}"
    return state, detail or f"{len(subject.findings)} of {len(subject.findings)} hold"


def _given(needed: str, options: VerifyOptions) -> bool:
    return bool(getattr(options, needed.removeprefix("--").replace("-", "_"))) or not options.live


@asynccontextmanager
async def _endpoint(options: VerifyOptions) -> AsyncGenerator[ClientKeywords]:
    """Yield the keyword arguments for a client of the account, or of an emulator that lives as long as this."""
    if options.live:
        yield ClientKeywords(region=options.region, profile=options.profile, endpoint_url=options.endpoint_url)
        return
    # With keys of its own, the emulator refuses unknown ones.
    emulator = BedrockEmulator(
        [demonstration_model()], credentials=[_EXAMPLE_KEY], api_keys=["the-emulators-key"], region="us-east-1"
    )
    async with emulator:
        yield ClientKeywords(region=emulator.region, endpoint_url=emulator.url, credentials=Credentials(*_EXAMPLE_KEY))


def _client(guard: SpendingGuard, keywords: ClientKeywords, **others: Unpack[ClientKeywords]) -> BedrockClient:
    asked: ClientKeywords = {**keywords, "transport": guard, "timeouts": _TIMEOUTS}
    if others:  # they replace the profile's or the emulator's
        asked.pop("credentials", None)
        asked.pop("profile", None)
        asked.update(others)
    return BedrockClient(**asked)


def _configuration(options: VerifyOptions, region: str, files: Mapping[str, Mapping[str, JSONValue]]) -> Configuration:
    if not options.live:
        return Configuration(
            model=DEMONSTRATION_MODEL,
            guardrail_id="demonstration",
            output_s3_uri="s3://demonstration/output",
            async_model=DEMONSTRATION_MODEL,
            async_input={"messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
        )
    guardrail_id, _, version = (options.guardrail or "").rpartition(":")
    if not version.isdecimal() and version != "DRAFT":  # the colons of an ARN
        guardrail_id, version = options.guardrail or "", "DRAFT"
    return Configuration(
        model=options.model or os.environ.get(MODEL_VARIABLE) or default_model(region),
        guardrail_id=guardrail_id or None,
        guardrail_version=version,
        output_s3_uri=options.output_s3_uri,
        async_model=options.async_model,
        async_input=files.get("async_input"),
        native_body=files.get("native_body"),
    )


def _read_files(options: VerifyOptions) -> dict[str, Mapping[str, JSONValue]]:
    """Return the JSON objects in the named files. Raises InvalidRequestError for a file without one."""
    found: dict[str, Mapping[str, JSONValue]] = {}
    for name, path in (("async_input", options.async_input), ("native_body", options.native_body)):
        if path is None:
            continue
        try:
            value: object = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as exc:
            raise InvalidRequestError(f"the file {path} cannot be read as JSON: {exc}", path=name) from exc
        if not isinstance(value, dict):
            raise InvalidRequestError(f"the file {path} does not contain a JSON object.", path=name)
        found[name] = cast("dict[str, JSONValue]", value)
    return found


def _redactions(options: VerifyOptions) -> list[Redact]:
    """Return the redactions of account data that a shared cassette does not need: the name of the bucket."""
    bucket = (options.output_s3_uri or "").removeprefix("s3://").partition("/")[0]
    if not bucket:
        return []
    return [lambda text, _: text.replace(bucket, "bucket")]


# -- what is shown


def _show(run: _Run, outcomes: Sequence[Outcome]) -> None:
    if run.options.as_json:
        sys.stdout.write(json.dumps(_report(run, outcomes), indent=1, ensure_ascii=False) + "\n")
    else:
        show_table(_HEADER, [_row(outcome) for outcome in outcomes], _STYLES)
        console = styled(sys.stdout)
        for outcome in outcomes:
            if outcome.faulty:
                for line in _faults(outcome):
                    console.print(Text(terminal_safe(f"{outcome.check.name}: {line}")))
    sys.stdout.flush()
    styled(sys.stderr).print(_summary(run, outcomes))


def _row(outcome: Outcome) -> tuple[str, ...]:
    detail = outcome.detail if len(outcome.detail) <= _MOST_DETAIL else f"{outcome.detail[:_MOST_DETAIL]}..."
    return (
        outcome.check.name,
        outcome.check.operation,
        " ".join(detail.split()),
        f"{outcome.duration_s * 1000:.0f}",
        usd(outcome.cost_usd) if outcome.cost_usd else "",
        outcome.state,
    )


def _faults(outcome: Outcome) -> Iterable[str]:
    broken = [finding.what for finding in outcome.findings if not finding.holds]
    return [f"not so: {what}" for what in broken] or [outcome.detail]


def _report(run: _Run, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "bedrock_async": __version__,
        "live": run.options.live,
        "model": run.model,
        "region": run.region,
        "endpoint": run.endpoint,
        "compared_with_botocore": run.official,
        "spent_usd": float(run.spent_usd),
        "calls_without_a_price": run.unpriced,
        "checks": [
            {
                "name": outcome.check.name,
                "operation": outcome.check.operation,
                "promise": outcome.check.promise,
                "state": outcome.state,
                "detail": outcome.detail,
                "findings": [
                    {"holds": finding.holds, "what": finding.what, "of_model": finding.of_model}
                    for finding in outcome.findings
                ],
                "duration_ms": round(outcome.duration_s * 1000),
                "cost_usd": float(outcome.cost_usd),
            }
            for outcome in outcomes
        ],
    }


def _summary(run: _Run, outcomes: Sequence[Outcome]) -> Text:
    options = run.options
    counts = ((state, sum(outcome.state == state for outcome in outcomes)) for state in _ORDER)
    parts = [", ".join(f"{count} {_PLURALS.get(state, state)}" for state, count in counts if count)]
    parts.append(f"{run.model} in {run.region}" if options.live else "the emulator in this process: no account")
    parts.append(_costs(run))
    if not run.official:
        parts.append('botocore was not consulted: pip install "bedrock-async[testing]"')
    if options.cassette is not None:
        parts.append(f"recorded without secrets: {options.cassette}")
    return Text(terminal_safe(". ".join(parts) + "."))


_PLURALS: Final[Mapping[str, str]] = {"agrees": "agree", "disagrees": "disagree"}
_ORDER: Final[tuple[State, ...]] = ("agrees", "disagrees", "failed", "model differs", "refused", "not run", "skipped")


def _costs(run: _Run) -> str:
    if run.unpriced:
        return f"the cost of {run.unpriced} of the calls is unknown"
    if not run.options.live:
        return f"on an account it would have cost at most {usd(run.spent_usd)}"
    limit = "" if run.options.max_cost is None else f" of {usd(run.options.max_cost)}"
    return f"at most {usd(run.spent_usd)} spent{limit}"
