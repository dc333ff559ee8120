"""What `ask` and `chat` talk to: Amazon Bedrock, or a local model behind an emulator in this process."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import anyio

from ..auth import Credentials, resolve_authenticator
from ..client import BedrockClient
from ..errors import CredentialsError, InvalidRequestError, NoCredentialsError
from ..features.settings import CallSettings
from ..resilience import NO_RETRY, Timeouts
from .console import show_note

__all__ = ["MODEL_VARIABLE", "Target", "TargetOptions", "open_target"]

MODEL_VARIABLE: Final = "BEDROCK_ASYNC_MODEL"

_EXAMPLE_ID: Final = "us.anthropic.claude-sonnet-4-6"
_LOOK_FOR_CREDENTIALS_S: Final = 10.0
_WITHOUT_ACCOUNT: Final = (
    "Or ask the demonstration model on this machine, which needs no account and no key: add --local "
    "(pip install bedrock-async-local)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions:
    """The command line options for the target."""

    local: bool = False
    model: str | None = None
    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A client, and the model to call with it."""

    client: BedrockClient
    model: str


@asynccontextmanager
async def open_target(options: TargetOptions, settings: CallSettings) -> AsyncGenerator[Target]:
    """Open a client with ``settings`` as its defaults, and with ``local`` the model behind it; close both on exit.

    Raises InvalidRequestError when no model is given, NoCredentialsError when there are no credentials either,
    MissingExtraError or PluginError for the local model.
    """
    opened = _local(options, settings) if options.local else _aws(options, settings)
    async with opened as target:
        yield target


@asynccontextmanager
async def _aws(options: TargetOptions, settings: CallSettings) -> AsyncGenerator[Target]:
    model = options.model or os.environ.get(MODEL_VARIABLE)
    if not model:
        await _require_credentials(options)
        raise InvalidRequestError(
            "no model was given.",
            path="model",
            hint=f"Pass its id or ARN, for example --model {_EXAMPLE_ID}, or set {MODEL_VARIABLE}.\n{_WITHOUT_ACCOUNT}",
        )
    try:
        async with BedrockClient(
            region=options.region, profile=options.profile, endpoint_url=options.endpoint_url, settings=settings
        ) as client:
            yield Target(client, model)
    except NoCredentialsError as exc:
        raise _both_ways(exc) from exc


async def _require_credentials(options: TargetOptions) -> None:
    """Raise NoCredentialsError if there are none, which precedes a missing model. Other faults appear later."""
    authenticator = resolve_authenticator(environ=os.environ, profile=options.profile, region=options.region)
    try:
        with anyio.move_on_after(_LOOK_FOR_CREDENTIALS_S):
            await authenticator.prepare(datetime.now(UTC))
    except NoCredentialsError as exc:
        raise _both_ways(exc) from exc
    except CredentialsError:
        pass


def _both_ways(error: NoCredentialsError) -> NoCredentialsError:
    return NoCredentialsError(error.message, hint=f"{error.hint}\n{_WITHOUT_ACCOUNT}")


@asynccontextmanager
async def _local(options: TargetOptions, settings: CallSettings) -> AsyncGenerator[Target]:
    from ..testing.emulator import BedrockEmulator
    from ..testing.models import EmulatorModel
    from .models import LOCAL, load_model, start_model

    served = await load_model(LOCAL)
    # The emulator closes the model, even if starting it fails or is cancelled.
    async with BedrockEmulator([served]) as emulator:
        ids = served.model_ids if isinstance(served, EmulatorModel) else ()
        model = options.model or next(iter(ids), LOCAL)
        show_note(f"{model}: a demonstration model in this process. Its tokens are real, its answers often wrong.")
        await start_model(served)
        async with BedrockClient(
            region=emulator.region,
            endpoint_url=emulator.url,
            credentials=Credentials("local", "local"),
            settings=settings,
            timeouts=Timeouts(first_event_s=None, idle_s=None),
            retry=NO_RETRY,
        ) as client:
            yield Target(client, model)
