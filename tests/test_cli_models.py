"""`bedrock-async models`, and `doctor --models`: what there is, who may use it, and which permission is missing."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from anyio.from_thread import start_blocking_portal
from commandline import CREDENTIALS, run
from typer.testing import Result

from bedrock_async.cli.doctor import DoctorOptions, Finding, check_models
from bedrock_async.testing import BedrockEmulator, EmulatorAccount, HttpAnswer, ReceivedRequest, ScriptedModel

NOVA: Final = "amazon.nova-lite-v1:0"
CLAUDE: Final = "anthropic.claude-sonnet-4-6"
CANVAS: Final = "amazon.nova-canvas-v1:0"
ACCOUNT: Final = EmulatorAccount(
    inference_profiles={"a1b2c3d4e5f6": CLAUDE, "old456789012": "amazon.titan-text-express-v1"},
    foundation_models={
        CANVAS: {"outputModalities": ["IMAGE"], "inferenceTypesSupported": ["PROVISIONED"]},
        CLAUDE: {"inputModalities": ["TEXT", "IMAGE"], "modelLifecycle": {"status": "LEGACY"}},
    },
    without_access=[CLAUDE],
)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set credentials and a region in the environment."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@contextmanager
def serving(account: EmulatorAccount = ACCOUNT, *others: Any) -> Generator[BedrockEmulator]:  # noqa: ANN401 - models
    """Serve two models, and what the account has, from another thread."""
    model = ScriptedModel.text("Hello.", model_ids=[f"us.{NOVA}", CLAUDE])
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(BedrockEmulator([model, *others], account=account)) as emulator,
    ):
        yield emulator


def listed(*options: str, account: EmulatorAccount = ACCOUNT) -> Result:
    """Return what the command says of such an account."""
    with serving(account) as emulator:
        return run("models", "--endpoint-url", emulator.url, *options)


def rows(result: Result) -> dict[str, list[str]]:
    """Return the cells of each row by the id in front."""
    assert result.exit_code == 0, result.output
    header, *lines = result.stdout.splitlines()
    assert header.split() == ["id", "kind", "name", "provider", "input", "output", "status", "access"]
    starts = [found.start() for found in re.finditer(r"\S+", header)]
    cut = [
        [line[start:stop].strip() for start, stop in zip(starts, [*starts[1:], None], strict=True)] for line in lines
    ]
    return {cells[0]: cells[1:] for cells in cut}


def test_models_and_profiles_are_listed() -> None:
    """A row each, the profiles with what is known of the models behind them; access is not asked for."""
    found = rows(listed())
    assert found[NOVA] == ["model", "nova-lite-v1:0", "Amazon", "TEXT", "TEXT", "ACTIVE", "not asked"]
    assert found[CLAUDE][3:6] == ["TEXT,IMAGE", "TEXT", "LEGACY"]
    profile = ["profile", "us amazon nova lite v1 0", "Amazon", "TEXT", "TEXT", "ACTIVE", "not asked"]
    assert found[f"us.{NOVA}"] == profile
    assert found["a1b2c3d4e5f6"][0] == "application profile"
    assert found["a1b2c3d4e5f6"][2] == "Anthropic"


def test_access_is_asked_for_on_request() -> None:
    """Granted, or what is lacking; a profile has the access of the models behind it."""
    found = {name: cells[-1] for name, cells in rows(listed("--access")).items()}
    assert found[NOVA] == found[f"us.{NOVA}"] == "granted"
    assert found[CLAUDE] == found["a1b2c3d4e5f6"] == "lacks agreement,entitlement"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--modality", "image"], {CANVAS}),
        (["--inference", "provisioned"], {CANVAS}),
        (["--provider", "Anthropic"], {CLAUDE, "a1b2c3d4e5f6"}),
        (["--provider", "Anthropic", "--only", "models"], {CLAUDE}),
        (["--only", "profiles"], {f"us.{NOVA}", "a1b2c3d4e5f6", "old456789012"}),
    ],
)
def test_filters_leave_rows_out(options: list[str], expected: set[str]) -> None:
    """Of models by the service, of profiles by the models that are left; upper and lower case are the same."""
    assert set(rows(listed(*options))) == expected


def test_json_has_a_line_for_each() -> None:
    """The service's own members, the kind, and with `--access` the availability of each model behind it."""
    result = listed("--json", "--access", "--provider", "Anthropic")
    model, profile = map(json.loads, result.stdout.splitlines())
    assert (model["kind"], model["modelId"], model["modelLifecycle"]) == ("model", CLAUDE, {"status": "LEGACY"})
    assert model["access"][0]["agreementAvailability"] == {"status": "NOT_AVAILABLE"}
    assert (profile["kind"], profile["inferenceProfileId"]) == ("application profile", "a1b2c3d4e5f6")
    assert profile["access"] == model["access"]
    assert "access" not in json.loads(listed("--json", "--only", "models").stdout.splitlines()[0])


def test_nothing_to_list_is_no_failure() -> None:
    """No row, no header, and no complaint."""
    result = listed("--provider", "Nobody")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_a_refusal_names_the_action() -> None:
    """Status 1, and on stderr what to allow."""
    result = listed(account=EmulatorAccount(denied_actions=["bedrock:ListInferenceProfiles"]))
    assert result.exit_code == 1
    assert "Allow the action bedrock:ListInferenceProfiles in the principal's IAM policy." in result.stderr


def test_a_wrong_choice_is_wrong_usage() -> None:
    """Typer tells what there is."""
    result = run("models", "--only", "nothing")
    assert result.exit_code == 2
    assert "profiles" in result.stderr


# -- doctor


def states(stdout: str) -> dict[str, str]:
    """Return the state of each subject."""
    return {line[8:28].strip(): line[:8].strip() for line in stdout.splitlines() if line[:1].strip()}


def test_doctor_lists_when_asked() -> None:
    """Two more lines with the numbers; without the option the control plane is left alone."""
    with serving() as emulator:
        asked = run("doctor", "--models", "--endpoint-url", emulator.url)
        plain = run("doctor", "--endpoint-url", emulator.url)
        operations = [request.operation for request in emulator.requests if request.operation]
    assert asked.exit_code == plain.exit_code == 0
    assert (states(asked.stdout)["models"], states(asked.stdout)["inference profiles"]) == ("ok", "ok")
    assert "4 in us-east-1" in asked.stdout
    assert "3 in us-east-1" in asked.stdout
    assert "models" not in states(plain.stdout)
    assert operations == ["ListFoundationModels", "ListInferenceProfiles"]


def test_doctor_names_the_missing_action() -> None:
    """A refusal of IAM is a failed line with the action as next step; the other list is still looked at."""
    account = EmulatorAccount(denied_actions=["bedrock:ListFoundationModels"])
    with serving(account) as emulator:
        result = run("doctor", "--models", "--endpoint-url", emulator.url)
    found = states(result.stdout)
    assert (found["models"], found["inference profiles"], result.exit_code) == ("failed", "ok", 1)
    assert "-> Allow the action bedrock:ListFoundationModels in the principal's IAM policy." in result.stdout


class Refusing:
    """Refuses every request in words that name no action."""

    def __init__(self, message: str) -> None:
        self._body = json.dumps({"message": message}).encode()

    def respond(self, request: ReceivedRequest) -> HttpAnswer | None:
        """Answer 403."""
        kind = "AccessDeniedException:http://internal.amazon.com/coral/com.amazon.bedrock/"
        return HttpAnswer(403, self._body, {"content-type": "application/json", "x-amzn-errortype": kind})

    async def aclose(self) -> None:
        """Free nothing."""


@pytest.mark.parametrize(
    ("message", "step"),
    [
        (
            "Your account is not authorized to invoke this API operation.",
            "Allow the action bedrock:ListFoundationModels",
        ),
        ("Invalid API Key format: Must start with pre-defined prefix", "allow bedrock:CallWithBearerToken"),
    ],
)
async def test_doctor_knows_the_action_where_the_service_does_not_say(message: str, step: str) -> None:
    """Older messages name no action, but the operation needs only one; a refused key is another matter."""
    async with BedrockEmulator([Refusing(message)]) as emulator:
        models, profiles = await check_models(DoctorOptions(endpoint_url=emulator.url))
    assert (models.state, models.subject, models.text) == ("failed", "models", message)
    assert step in (models.next_step or "")
    assert profiles.state == "failed"


async def test_doctor_does_not_wait_for_a_list() -> None:
    """After the limit each line is failed."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = await check_models(DoctorOptions(endpoint_url=url), limit_s=0.05)
    assert found == [
        Finding("failed", subject, "no answer within 0.05 s", "Check network, proxy and firewall.")
        for subject in ("models", "inference profiles")
    ]


def test_doctor_lists_nothing_when_the_rest_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials no list can come: that is said once."""
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    with serving() as emulator:
        result = run("doctor", "--models", "--endpoint-url", emulator.url)
    assert states(result.stdout)["models"] == "warning"
    assert "not listed; this failed: credentials" in result.stdout
