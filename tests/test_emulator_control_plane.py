"""The emulator's control plane and its account: what they tell, and whom they refuse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import pytest
from official_clients import OFFICIAL_CLIENTS

from bedrock_async.testing import BedrockEmulator, EmulatorAccount, ScriptedModel

NOVA: Final = "amazon.nova-lite-v1:0"
CLAUDE: Final = "anthropic.claude-sonnet-4-6"


async def get(emulator: BedrockEmulator, path: str) -> tuple[int, Mapping[str, str], Any]:
    """Return status, headers and JSON of a GET."""
    async with aiohttp.ClientSession() as session, session.get(emulator.url + path) as response:
        return response.status, response.headers, json.loads(await response.read())


def serving(*model_ids: str, region: str = "us-east-1", **account: Any) -> BedrockEmulator:  # noqa: ANN401 - the account's
    """Return an emulator of one model under these ids."""
    models = [ScriptedModel.text("Hello.", model_ids=list(model_ids))]
    return BedrockEmulator(models, region=region, account=EmulatorAccount(**account))


async def test_models_come_from_what_is_served() -> None:
    """Ids, also with a geography or as ARN, are foundation models; a wildcard and opaque names are none."""
    arn = f"arn:aws:bedrock:us-east-1::foundation-model/{CLAUDE}"
    async with serving(f"us.{NOVA}", arn, "*", "local", "not an id") as emulator:
        _, headers, listed = await get(emulator, "/foundation-models")
        _, _, profiles = await get(emulator, "/inference-profiles")
    models = {model["modelId"]: model for model in listed["modelSummaries"]}
    assert set(models) == {NOVA, CLAUDE}
    assert models[CLAUDE]["modelArn"] == arn
    assert (models[NOVA]["providerName"], models[CLAUDE]["providerName"]) == ("Amazon", "Anthropic")
    assert [profile["inferenceProfileId"] for profile in profiles["inferenceProfileSummaries"]] == [f"us.{NOVA}"]
    assert headers["content-type"] == "application/json"
    assert headers["x-amzn-requestid"]


async def test_a_model_that_only_profiles_reach_says_so() -> None:
    """As the service does: there is no on-demand inference for it."""
    async with serving(f"us.{NOVA}", CLAUDE) as emulator:
        _, _, listed = await get(emulator, "/foundation-models")
    kinds = {model["modelId"]: model["inferenceTypesSupported"] for model in listed["modelSummaries"]}
    assert kinds == {NOVA: ["INFERENCE_PROFILE"], CLAUDE: ["ON_DEMAND"]}


@pytest.mark.parametrize(
    ("region", "profile", "partition", "regions"),
    [
        ("us-east-1", f"us.{NOVA}", "aws", ["us-east-1", "us-east-2", "us-west-2"]),
        ("us-gov-west-1", f"us-gov.{NOVA}", "aws-us-gov", ["us-gov-east-1", "us-gov-west-1"]),
        ("eu-west-1", f"global.{NOVA}", "aws", ["eu-west-1", ""]),
        ("sa-east-1", f"sa.{NOVA}", "aws", ["sa-east-1"]),
    ],
)
async def test_a_profile_routes_to_the_regions_of_its_geography(
    region: str, profile: str, partition: str, regions: list[str]
) -> None:
    """The ARNs are of the region's partition; a global profile names its model once without a region."""
    async with serving(profile, region=region, account_id="210987654321") as emulator:
        status, _, found = await get(emulator, f"/inference-profiles/{profile.replace(':', '%3A')}")
    assert status == 200
    assert found["inferenceProfileArn"] == f"arn:{partition}:bedrock:{region}:210987654321:inference-profile/{profile}"
    assert [model["modelArn"] for model in found["models"]] == [
        f"arn:{partition}:bedrock:{each}::foundation-model/{NOVA}" for each in regions
    ]


@pytest.mark.parametrize(
    ("path", "status", "code", "message"),
    [
        ("/inference-profiles/nosuch", 404, "ResourceNotFoundException", "nosuch could not be found"),
        (f"/foundation-model-availability/{CLAUDE}", 404, "ResourceNotFoundException", "could not be found"),
        ("/inference-profiles?maxResults=0", 400, "ValidationException", "between 1 and 1000"),
        ("/inference-profiles?maxResults=1001", 400, "ValidationException", "between 1 and 1000"),
        ("/inference-profiles?maxResults=ten", 400, "ValidationException", "Value 'ten' at 'maxResults'"),
        ("/inference-profiles?nextToken=offset-7", 400, "ValidationException", "invalid or has expired"),
        ("/inference-profiles?nextToken=%C3%A4", 400, "ValidationException", "invalid or has expired"),
        ("/inference-profiles?type=NOBODY", 400, "ValidationException", "[SYSTEM_DEFINED, APPLICATION]"),
        ("/foundation-models?byOutputModality=SMELL", 400, "ValidationException", "[TEXT, IMAGE, EMBEDDING]"),
        ("/guardrails", 404, "UnknownOperationException", "is not an operation"),
    ],
)
async def test_what_the_service_refuses_is_refused(path: str, status: int, code: str, message: str) -> None:
    """In the service's form: code in a header, message in the body."""
    async with serving(NOVA) as emulator:
        found, headers, body = await get(emulator, path)
    assert found == status
    assert headers["x-amzn-errortype"].startswith(f"{code}:")
    assert message in body["message"]


async def test_calls_through_an_application_profile_reach_the_model_behind_it() -> None:
    """By id and ARN, whether the model is served under its own id or a profile's; others are unknown ids."""
    profiles = {"a1b2c3d4e5f6": NOVA, "b1b2c3d4e5f6": CLAUDE}
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/"
    connect = OFFICIAL_CLIENTS["boto3"]
    async with serving(f"us.{NOVA}", CLAUDE, inference_profiles=profiles) as emulator, connect(emulator.url) as client:
        for model in ("a1b2c3d4e5f6", f"{arn}a1b2c3d4e5f6", "b1b2c3d4e5f6"):
            messages = [{"role": "user", "content": [{"text": "Hi."}]}]
            reply = await client.call("converse", modelId=model, messages=messages)
            assert reply["output"]["message"]["content"] == [{"text": "Hello."}]
        with pytest.raises(Exception, match="model identifier is invalid"):
            await client.call("converse", modelId=f"{arn}c1b2c3d4e5f6", messages=[])


@pytest.mark.parametrize(
    ("account", "model", "message"),
    [
        (
            {"denied_actions": ["bedrock:InvokeModel"]},
            NOVA,
            f"on resource: arn:aws:bedrock:us-east-1::foundation-model/{NOVA}",
        ),
        (
            {"denied_actions": ["bedrock:InvokeModel"]},
            f"us.{NOVA}",
            f"on resource: arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{NOVA} because no identity",
        ),
        (
            {"account_id": "210987654321"},
            "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghijkl",
            "because no resource-based policy allows the bedrock:InvokeModel action",
        ),
        ({"without_access": [NOVA]}, f"us.{NOVA}", "You don't have access to the model with the specified model ID."),
        (
            {"without_access": [NOVA], "inference_profiles": {"a1b2c3d4e5f6": NOVA}},
            "a1b2c3d4e5f6",
            "You don't have access to the model with the specified model ID.",
        ),
    ],
)
@pytest.mark.parametrize("library", sorted(OFFICIAL_CLIENTS))
async def test_calls_are_refused_as_the_account_says(
    library: str, account: dict[str, Any], model: str, message: str
) -> None:
    """Official clients get AccessDeniedException with the words of IAM, or of the service."""
    connect = OFFICIAL_CLIENTS[library]
    async with serving(NOVA, f"us.{NOVA}", "*", **account) as emulator, connect(emulator.url) as client:
        messages = [{"role": "user", "content": [{"text": "Hi."}]}]
        with pytest.raises(Exception, match="AccessDeniedException") as caught:
            await client.call("converse", modelId=model, messages=messages)
    assert message in str(caught.value)


async def test_iams_refusal_has_iams_body() -> None:
    """Its member is ``Message`` with a capital, as recorded; everything behind IAM writes it small."""
    async with serving(NOVA, denied_actions=["bedrock:ListFoundationModels"]) as emulator:
        status, headers, body = await get(emulator, "/foundation-models")
    assert (status, list(body)) == (403, ["Message"])
    assert headers["x-amzn-errortype"].startswith("AccessDeniedException:")
    assert (
        "is not authorized to perform: bedrock:ListFoundationModels because no identity-based policy" in body["Message"]
    )
