"""docs/iam.md: every policy is valid, allows what its verb needs, and nothing else; errors name what is missing."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import pytest
from moto.iam.access_control import IAMPolicyStatement, PermissionResult

from bedrock_async import NO_RETRY, AccessDeniedError, BedrockClient, Credentials
from bedrock_async.errors import service_error
from bedrock_async.iam import ACTIONS, BEARER_ACTION
from bedrock_async.testing import BedrockEmulator, EmulatorAccount, ScriptedModel, control_plane_model, service_model

PAGE: Final = (Path(__file__).parent.parent / "docs" / "iam.md").read_text("utf-8")
REFERENCE: Final[Mapping[str, Sequence[str]]] = json.loads(
    (Path(__file__).parent / "data" / "iam" / "actions.json").read_text("utf-8")
)["actions"]
"""IAM actions and the ARNs of the resources that they can be restricted to; none: only ``*``."""

MODEL: Final = "anthropic.claude-sonnet-4-6"
MODEL_ARN: Final = f"arn:aws:bedrock:us-east-1::foundation-model/{MODEL}"
OTHER_ARN: Final = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0"
IN_ACCOUNT: Final = "arn:aws:bedrock:us-east-1:123456789012:"

# What each verb sends. A verb of the client that is missing here fails a test below.
OPERATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "converse": ("Converse",),
    "parse": ("Converse",),
    "stream": ("ConverseStream",),
    "run_tools": ("ConverseStream",),
    "invoke": ("InvokeModel",),
    "invoke_stream": ("InvokeModelWithResponseStream",),
    "invoke_bidirectional": ("InvokeModelWithBidirectionalStream",),
    "embed": ("InvokeModel",),
    "rerank": ("InvokeModel",),
    "generate_image": ("InvokeModel",),
    "generate_video": ("StartAsyncInvoke",),
    "count_tokens": ("CountTokens",),
    "estimate_cost": ("CountTokens",),
    "apply_guardrail": ("ApplyGuardrail",),
    "invoke_guardrail_checks": ("InvokeGuardrailChecks",),
    "start_async_invoke": ("StartAsyncInvoke",),
    "async_invoke_job": ("GetAsyncInvoke",),
    "list_async_invokes": ("ListAsyncInvokes",),
    "list_models": ("ListFoundationModels", "GetFoundationModelAvailability"),
    "list_inference_profiles": ("ListInferenceProfiles",),
    "resolve_model": ("GetInferenceProfile",),
}
SEND_NOTHING: Final = frozenset(
    {"aclose", "conversation", "from_botocore_config", "load_prices", "model", "update_config", "plan_cache", "prepare"}
)
BESIDE: Final[Mapping[str, frozenset[str]]] = {
    "generate_video": frozenset({"s3:PutObject"}),
    "start_async_invoke": frozenset({"s3:PutObject"}),
    "async_invoke_job": frozenset({"s3:ListBucket", "s3:GetObject"}),
}
"""Actions of other services that a verb needs."""


def policies() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each policy of the page with the heading that it stands under."""
    for section in re.split(r"^#+ ", PAGE, flags=re.MULTILINE)[1:]:
        heading = section.partition("\n")[0]
        for block in re.findall(r"^```json\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
            yield heading, json.loads(block)


POLICIES: Final = list(policies())
OF_VERB: Final = {verb: policy for heading, policy in POLICIES for verb in re.findall(r"`(\w+)`", heading)}


def listed(value: str | list[str]) -> list[str]:
    """Return a text or a list of texts, both of which a policy may have, as a list."""
    return [value] if isinstance(value, str) else value


def statements(policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the statements of a policy."""
    return cast("list[dict[str, Any]]", policy["Statement"])


def actions(policy: Mapping[str, Any]) -> set[str]:
    """Return all actions that a policy names."""
    return {action for statement in statements(policy) for action in listed(statement["Action"])}


def allows(policy: Mapping[str, Any], action: str, resource: str, **conditions: str) -> bool:
    """Return how moto's implementation of IAM decides.

    All statements of the page allow, so one of them is enough; moto takes a condition that is not met for a denial.
    """
    context = {"bedrock:InferenceProfileArn": "", **conditions}
    return any(
        IAMPolicyStatement(statement).is_action_permitted(action, resource, incoming_condition_values=context)
        is PermissionResult.PERMITTED
        for statement in statements(policy)
    )


def fits(resource: str, pattern: str) -> bool:
    """Return whether an ARN of a policy is one of the kind that the reference describes; both may have wildcards."""
    parts = re.split(r"\$\{\w+\}", pattern)
    return re.fullmatch(".*".join(map(re.escape, parts)), resource) is not None


# -- the page


def test_every_verb_is_documented() -> None:
    """Whoever adds a verb to the client adds what it needs to the page."""
    verbs = {name for name, member in vars(BedrockClient).items() if not name.startswith("_") and callable(member)}
    verbs |= {name for name, member in vars(BedrockClient).items() if isinstance(member, classmethod)}
    assert verbs - SEND_NOTHING == set(OPERATIONS)
    assert set(OF_VERB) == set(OPERATIONS)
    for name in verbs:
        assert f"`{name}`" in PAGE


def test_every_operation_has_an_action_of_the_reference() -> None:
    """All operations of the service models, the runtime's and ours of the control plane; and no action is made up."""
    known = {*service_model().operation_names, *control_plane_model().operation_names}
    assert set(ACTIONS) == known
    assert {*ACTIONS.values(), BEARER_ACTION} <= set(REFERENCE)
    # An action of the operation's own name is the one that it needs.
    for operation, action in ACTIONS.items():
        assert f"bedrock:{operation}" == action or f"bedrock:{operation}" not in REFERENCE


@pytest.mark.parametrize(("heading", "policy"), POLICIES, ids=[heading for heading, _ in POLICIES])
def test_a_policy_is_one(heading: str, policy: dict[str, Any]) -> None:
    """The grammar of IAM, actions that exist, and resources that each action can be restricted to."""
    assert policy["Version"] == "2012-10-17"
    for statement in statements(policy):
        assert statement.keys() <= {"Effect", "Action", "Resource", "Condition"}
        assert statement["Effect"] == "Allow"
        for action in listed(statement["Action"]):
            assert action in REFERENCE, f"{action} is no action"
            for resource in listed(statement["Resource"]):
                patterns = REFERENCE[action]
                fitting = any(fits(resource, pattern) for pattern in patterns) if patterns else resource == "*"
                assert fitting, f"{action} is not about {resource}"


def test_the_checks_find_mistakes() -> None:
    """A resource of another kind, or one where only * is possible, would not pass."""
    (pattern,) = REFERENCE["bedrock:CountTokens"]
    assert fits(MODEL_ARN, pattern)
    assert not fits(f"{IN_ACCOUNT}inference-profile/us.{MODEL}", pattern)
    assert not REFERENCE["bedrock:ListFoundationModels"]
    assert "bedrock:Converse" not in REFERENCE
    assert "bedrock:StartAsyncInvoke" not in REFERENCE
    assert "bedrock:UseInferenceProfile" not in REFERENCE


@pytest.mark.parametrize("verb", sorted(OPERATIONS))
def test_a_verbs_policy_is_the_least(verb: str) -> None:
    """It names the actions of its operations, and nothing besides; the table above it says the same."""
    expected = {ACTIONS[operation] for operation in OPERATIONS[verb]} | BESIDE.get(verb, frozenset())
    assert actions(OF_VERB[verb]) == expected
    for operation in OPERATIONS[verb]:
        (row,) = re.findall(rf"^\|.*\| {operation} \|.*$", PAGE, re.MULTILINE)
        assert f"`{ACTIONS[operation]}`" in row


@pytest.mark.parametrize(
    "verb", ["converse", "stream", "invoke", "invoke_stream", "invoke_bidirectional", "embed", "count_tokens"]
)
def test_a_verbs_policy_is_about_its_model_alone(verb: str) -> None:
    """Evaluated: the verb's action on the named model, no other action, no other model."""
    operation = OPERATIONS[verb][0]
    policy = OF_VERB[verb]
    assert allows(policy, ACTIONS[operation], MODEL_ARN)
    assert not allows(policy, ACTIONS[operation], OTHER_ARN)
    for action in {*ACTIONS.values()} - {ACTIONS[operation]}:
        assert not allows(policy, action, MODEL_ARN)


PROFILES: Final[Mapping[str, tuple[str, Sequence[str]]]] = {
    "An inference profile of a geography": (
        f"{IN_ACCOUNT}inference-profile/us.{MODEL}",
        [f"arn:aws:bedrock:{region}::foundation-model/{MODEL}" for region in ("us-east-1", "us-east-2", "us-west-2")],
    ),
    "A global inference profile": (
        f"{IN_ACCOUNT}inference-profile/global.{MODEL}",
        [MODEL_ARN, f"arn:aws:bedrock:::foundation-model/{MODEL}"],
    ),
    "An application inference profile": (
        f"{IN_ACCOUNT}application-inference-profile/a1b2c3d4e5f6",
        ["arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"],
    ),
}


@pytest.mark.parametrize("heading", sorted(PROFILES))
def test_a_call_through_a_profile_needs_profile_and_models(heading: str) -> None:
    """Both are allowed, in every region; with the condition the model cannot be called without the profile."""
    (policy,) = [policy for found, policy in POLICIES if found == heading]
    profile, models = PROFILES[heading]
    conditional = "Condition" in json.dumps(policy)
    for action in ("bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"):
        assert allows(policy, action, profile)
        for model in models:
            assert allows(policy, action, model, **{"bedrock:InferenceProfileArn": profile})
            assert allows(policy, action, model) is not conditional
        assert not allows(policy, action, OTHER_ARN, **{"bedrock:InferenceProfileArn": profile})


# -- the client under each policy


async def _streamed(client: BedrockClient) -> None:
    async for _ in client.stream(MODEL, "Hi."):
        pass


async def _invoke_streamed(client: BedrockClient) -> None:
    async for _ in client.invoke_stream(MODEL, {"inputText": "Hi."}):
        pass


async def _conversed(client: BedrockClient) -> None:
    async with client.invoke_bidirectional(MODEL) as duplex:
        await duplex.end_input()
        async for _ in duplex:
            pass


CALLS: Final[Mapping[str, Callable[[BedrockClient], Awaitable[object]]]] = {
    "converse": lambda client: client.converse(MODEL, "Hi."),
    "stream": _streamed,
    "invoke": lambda client: client.invoke(MODEL, {"inputText": "Hi."}),
    "invoke_stream": _invoke_streamed,
    "invoke_bidirectional": _conversed,
    "count_tokens": lambda client: client.count_tokens(MODEL, "Hi."),
    "list_models": lambda client: client.list_models(access=True),
    "list_inference_profiles": lambda client: client.list_inference_profiles(),
    "resolve_model": lambda client: client.resolve_model(f"us.{MODEL}"),
}


@pytest.mark.parametrize("verb", sorted(CALLS))
async def test_a_verb_works_with_its_policy_and_fails_without(verb: str) -> None:
    """Against an emulator that refuses every action the policy does not allow, and then those of the policy too."""
    allowed = actions(OF_VERB[verb])
    for denied in (set(ACTIONS.values()) - allowed, allowed):
        model = ScriptedModel.text("Hello.", model_ids=[MODEL, f"us.{MODEL}"])
        async with (
            BedrockEmulator([model], account=EmulatorAccount(denied_actions=denied)) as emulator,
            BedrockClient(
                region="us-east-1",
                endpoint_url=emulator.url,
                credentials=Credentials("AKIDEXAMPLE", "secret"),
                retry=NO_RETRY,
            ) as client,
        ):
            if denied != allowed:
                await CALLS[verb](client)
            else:
                with pytest.raises(AccessDeniedError) as caught:
                    await CALLS[verb](client)
                assert any(action in (caught.value.hint or "") for action in allowed)


# -- what an error says

USER: Final = "User: arn:aws:sts::123456789012:assumed-role/role/session is not authorized to perform: "
NOVA_PROFILE: Final = f"{IN_ACCOUNT}inference-profile/eu.amazon.nova-pro-v1:0"
OPUS: Final = "arn:aws:bedrock:::foundation-model/anthropic.claude-opus-4-6-v1"
FOREIGN: Final = "arn:aws:bedrock:us-east-1:999999999999:application-inference-profile/abc"

DENIED_BY_ORGANISATION: Final = (
    f"{USER}bedrock:InvokeModelWithResponseStream on resource: {OPUS} "
    "with an explicit deny in a service control policy: arn:aws:organizations::111111111111:policy/o-x/p-y"
)


def refused(action: str, resource: str | None, policy: str) -> str:
    """Return IAM's refusal for want of a policy."""
    where = f" on resource: {resource}" if resource else ""
    return f"{USER}{action}{where} because no {policy} allows the {action} action"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            refused("bedrock:InvokeModel", NOVA_PROFILE, "identity-based policy"),
            ["bedrock:InvokeModel on that inference profile", "its foundation model in every region"],
        ),
        (
            refused("bedrock:InvokeModel", MODEL_ARN, "identity-based policy"),
            ["Allow the action bedrock:InvokeModel on that resource in the principal's IAM policy."],
        ),
        (
            refused("bedrock:ListFoundationModels", None, "identity-based policy"),
            ["Allow the action bedrock:ListFoundationModels in the principal's IAM policy."],
        ),
        (
            DENIED_BY_ORGANISATION,
            ["explicit deny in a service control policy forbids bedrock:InvokeModelWithResponseStream"],
        ),
        (
            refused("bedrock:InvokeModel", FOREIGN, "resource-based policy"),
            ["belongs to account 999999999999", "allow the caller bedrock:InvokeModel"],
        ),
        (
            refused("bedrock:InvokeModel", MODEL_ARN, "VPC endpoint policy"),
            ["Allow the action bedrock:InvokeModel also in the VPC endpoint policy"],
        ),
        (
            refused("s3:PutObject", "arn:aws:s3:::bucket/key", "permissions boundary"),
            ["Allow the action s3:PutObject also in the permissions boundary"],
        ),
        (refused(BEARER_ACTION, "*", "identity-based policy"), [f"Allow the action {BEARER_ACTION}"]),
    ],
)
def test_a_refusal_names_action_and_policy(message: str, said: list[str]) -> None:
    """What is missing and where, in each of the wordings of IAM."""
    hint = service_error("AccessDeniedException", message).hint or ""
    for words in said:
        assert words in hint


def test_verbs_are_functions_of_the_client() -> None:
    """The table above speaks of nothing that the client has not."""
    for verb in OPERATIONS:
        assert inspect.isfunction(getattr(BedrockClient, verb))
