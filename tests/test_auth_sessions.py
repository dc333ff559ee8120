"""Sessions of aiobotocore, aioboto3, botocore and boto3, through a whole client and an emulator that verifies."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from bedrock_async import (
    AuthenticationError,
    BedrockClient,
    InvalidRequestError,
    ProfileNotFoundError,
)
from bedrock_async.auth import session_profile
from bedrock_async.testing import BedrockEmulator, ScriptedModel

MODEL: Final = "us.amazon.nova-lite-v1:0"
REGION: Final = "eu-central-1"
KEYS: Final = ("AKIDPROFILE", "profile-secret", "profile-token")
OTHERS: Final = ("AKIDARGUMENT", "argument-secret", None)
PROFILE_KEYS: Final = """aws_access_key_id = AKIDPROFILE
aws_secret_access_key = profile-secret
aws_session_token = profile-token
"""

Make = Callable[..., Any]


def _of_botocore(module: str, name: str) -> Make:
    def make(profile: str | None = None, keys: tuple[str, str, str | None] | None = None) -> Any:  # noqa: ANN401
        session = getattr(import_module(module), name)(profile=profile)
        if keys is not None:
            session.set_credentials(*keys)
        return session

    return make


def _of_boto3(module: str) -> Make:
    def make(profile: str | None = None, keys: tuple[str, str, str | None] | None = None) -> Any:  # noqa: ANN401
        key_id, secret, token = keys or (None, None, None)
        session: Any = import_module(module).Session
        return session(
            profile_name=profile, aws_access_key_id=key_id, aws_secret_access_key=secret, aws_session_token=token
        )

    return make


SESSIONS: Final[dict[str, Make]] = {
    "botocore": _of_botocore("botocore.session", "Session"),
    "aiobotocore": _of_botocore("aiobotocore.session", "AioSession"),
    "boto3": _of_boto3("boto3"),
    "aioboto3": _of_boto3("aioboto3"),
}

every_library = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.skipif(find_spec(kind) is None, reason=f"{kind} is not installed"))
        for kind in SESSIONS
    ],
)


@pytest.fixture
def configured(no_aws_settings: Path) -> Callable[[str], None]:
    """Return a function that writes the configuration file."""

    def write(text: str) -> None:
        path = no_aws_settings / ".aws" / "config"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    return write


@every_library
async def test_a_session_settles_credentials_region_and_endpoint(
    kind: str, configured: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client of a session needs nothing else: keys, region and endpoint are those of the session's profile."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "not-this")
    monkeypatch.setenv("AWS_REGION", "us-west-1")
    async with BedrockEmulator([ScriptedModel.text("Hello.")], credentials=[KEYS], region=REGION) as emulator:
        configured(
            f"[profile dev]\nregion = {REGION}\nservices = local\n{PROFILE_KEYS}"
            f"[services local]\nbedrock_runtime =\n    endpoint_url = {emulator.url}\n"
        )
        async with BedrockClient(session=SESSIONS[kind](profile="dev")) as client:
            assert (client.region, client.region_source) == (REGION, f"session ({kind})")
            assert client.endpoint.base_url == emulator.url
            assert client.endpoint.source.startswith("services section 'local' in ")
            assert client.credentials == f"session argument ({kind})"
            assert (await client.converse(MODEL, "Hi.")).text == "Hello."
            assert client.credentials == f"session argument ({kind}): config-file"
            assert [event.text async for event in client.stream(MODEL, "Hi.") if event.text] == ["Hello."]


@every_library
async def test_a_session_with_keys_of_its_own(kind: str, configured: Callable[[str], None]) -> None:
    """Keys that were given to a session are used, whatever the files hold; what it has none of is looked for."""
    configured(f"[default]\nregion = {REGION}\n{PROFILE_KEYS}")
    async with (
        BedrockEmulator([ScriptedModel.text("Hello.")], credentials=[OTHERS], region=REGION) as emulator,
        BedrockClient(session=SESSIONS[kind](keys=OTHERS), endpoint_url=emulator.url) as client,
    ):
        assert (await client.converse(MODEL, "Hi.")).text == "Hello."


@every_library
async def test_arguments_go_before_a_session(kind: str, configured: Callable[[str], None]) -> None:
    """``region`` and ``endpoint_url`` replace those of the session; its keys sign for that region."""
    configured(f"[profile dev]\nregion = us-east-2\nendpoint_url = https://unused.example\n{PROFILE_KEYS}")
    async with (
        BedrockEmulator([ScriptedModel.text("Hello.")], credentials=[KEYS], region=REGION) as emulator,
        BedrockClient(session=SESSIONS[kind](profile="dev"), region=REGION, endpoint_url=emulator.url) as client,
    ):
        assert (await client.converse(MODEL, "Hi.")).text == "Hello."


@every_library
async def test_wrong_keys_of_a_session_are_the_services_refusal(kind: str, configured: Callable[[str], None]) -> None:
    """The emulator does verify: keys that it does not know are refused as the service refuses them."""
    configured(f"[profile dev]\nregion = {REGION}\n{PROFILE_KEYS}")
    async with (
        BedrockEmulator([ScriptedModel.text("Hello.")], credentials=[OTHERS], region=REGION) as emulator,
        BedrockClient(session=SESSIONS[kind](profile="dev"), endpoint_url=emulator.url) as client,
    ):
        with pytest.raises(AuthenticationError, match="UnrecognizedClientException"):
            await client.converse(MODEL, "Hi.")


@every_library
def test_a_session_knows_its_profile(kind: str, configured: Callable[[str], None]) -> None:
    """The name that a session was made with is read without loading anything."""
    configured(f"[profile dev]\n{PROFILE_KEYS}")
    assert session_profile(SESSIONS[kind](profile="dev")) == "dev"
    assert session_profile(SESSIONS[kind]()) in (None, "default")


@pytest.mark.parametrize("kind", [kind for kind in ("botocore", "aiobotocore") if find_spec(kind)])
def test_a_missing_profile_of_a_session_is_an_error(kind: str) -> None:
    """boto3 refuses to make such a session; botocore's tells when it is asked for its region."""
    with pytest.raises(ProfileNotFoundError, match="nobody"):
        BedrockClient(session=SESSIONS[kind](profile="nobody"))


def test_what_is_no_session_is_refused() -> None:
    """A client of boto3 is the usual mistake; the error says what is taken."""
    wrong: Any = object()
    with pytest.raises(InvalidRequestError, match=r"session is of type object\..*aiobotocore, aioboto3, botocore"):
        BedrockClient(session=wrong)
