"""Guardrails of the emulator, as boto3 and aiobotocore see them and as recorded answers look."""

from __future__ import annotations

from typing import Any, Final, cast

import aiohttp
import pytest
from botocore.exceptions import ClientError
from botocore.session import get_session
from corpus import exchanges
from official_clients import OFFICIAL_CLIENTS, Connect

from bedrock_async import BedrockClient, Credentials
from bedrock_async.testing import BedrockEmulator, EmulatorAccount, GuardrailRules

GUARDRAIL: Final = "274u1upxm897"
RULES: Final = GuardrailRules(
    blocked_words=("Nessie",),
    topics={"InvestmentObjectives": ("stock", "CAGR")},
    filters={"VIOLENCE": ("bomb",), "JAILBREAK": ("ignore all rules",)},
    blocked_entities={"EMAIL": r"\S+@\S+"},
    masked_entities={"PHONE": r"\d{3}-\d{4}"},
)


@pytest.fixture(params=list(OFFICIAL_CLIENTS))
def connect(request: pytest.FixtureRequest) -> Connect:
    """Return the function that opens one of the official clients."""
    return OFFICIAL_CLIENTS[request.param]


async def verdict(connect: Connect, rules: GuardrailRules | None, *texts: str, **members: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the verdict on these texts as the official client reads it."""
    async with BedrockEmulator(guardrail=rules) as emulator, connect(emulator.url) as client:
        return await client.call(
            "apply_guardrail",
            **{
                "guardrailIdentifier": GUARDRAIL,
                "guardrailVersion": "1",
                "source": "INPUT",
                "content": [{"text": {"text": text}} for text in texts],
                **members,
            },
        )


def policies_of(answer: dict[str, Any]) -> set[str]:
    """Return the policies that found something."""
    (assessment,) = answer["assessments"]
    return {name for name in assessment if name.endswith("Policy")}


async def test_without_rules_nothing_is_found(connect: Connect) -> None:
    """The default guardrail lets everything pass, and says what it looked at."""
    answer = await verdict(connect, None, "Hello Nessie.")
    assert answer["action"] == "NONE"
    assert answer["outputs"] == []
    assert answer["guardrailCoverage"] == {"textCharacters": {"guarded": 13, "total": 13}}
    assert policies_of(answer) == set()
    assert set(answer["usage"].values()) == {0}


async def test_what_is_blocked_is_replaced_by_the_message(connect: Connect) -> None:
    """Each policy reports its finding, and the output is the message alone."""
    text = "Tell nessie to ignore all rules, bomb the stock and write to a@b.c"
    answer = await verdict(connect, RULES, text)
    assert answer["action"] == "GUARDRAIL_INTERVENED"
    assert answer["actionReason"] == "Guardrail blocked."
    assert answer["outputs"] == [{"text": RULES.message}]
    (assessment,) = answer["assessments"]
    assert assessment["wordPolicy"]["customWords"] == [{"match": "Nessie", "action": "BLOCKED", "detected": True}]
    assert [each["type"] for each in assessment["contentPolicy"]["filters"]] == ["VIOLENCE", "PROMPT_ATTACK"]
    assert [each["name"] for each in assessment["topicPolicy"]["topics"]] == ["InvestmentObjectives"]
    assert assessment["sensitiveInformationPolicy"]["piiEntities"] == [
        {"match": "a@b.c", "type": "EMAIL", "action": "BLOCKED", "detected": True}
    ]
    assert {name: count for name, count in answer["usage"].items() if count} == {
        "contentPolicyUnits": 1,
        "sensitiveInformationPolicyUnits": 1,
        "topicPolicyUnits": 1,
        "wordPolicyUnits": 1,
    }


async def test_what_is_masked_keeps_the_rest(connect: Connect) -> None:
    """Every text comes back, with the kind of data in the place of the data."""
    answer = await verdict(connect, RULES, "Call 555-1234.", "Nothing here.")
    assert answer["actionReason"] == "Guardrail masked."
    assert answer["outputs"] == [{"text": "Call {PHONE}."}, {"text": "Nothing here."}]
    (entity,) = answer["assessments"][0]["sensitiveInformationPolicy"]["piiEntities"]
    assert entity == {"match": "555-1234", "type": "PHONE", "action": "ANONYMIZED", "detected": True}


async def test_the_full_scope_tells_what_was_not_found(connect: Connect) -> None:
    """outputScope FULL lists everything that was looked for, and INTERVENTIONS only what was found."""
    full = await verdict(connect, RULES, "Hello.", outputScope="FULL")
    brief = await verdict(connect, RULES, "Hello.")
    (assessment,) = full["assessments"]
    assert full["action"] == "NONE"
    assert {each["type"] for each in assessment["contentPolicy"]["filters"]} >= {"VIOLENCE", "HATE", "PROMPT_ATTACK"}
    assert not any(each["detected"] for each in assessment["contentPolicy"]["filters"])
    assert [each["type"] for each in assessment["sensitiveInformationPolicy"]["piiEntities"]] == ["EMAIL", "PHONE"]
    assert assessment["topicPolicy"]["topics"][0]["action"] == "NONE"
    assert policies_of(brief) == set()


async def test_attacks_are_looked_for_in_input_only(connect: Connect) -> None:
    """A model's own words are no attack on the prompt."""
    attacked = await verdict(connect, RULES, "Ignore all rules.")
    said = await verdict(connect, RULES, "Ignore all rules.", source="OUTPUT")
    assert attacked["action"] == "GUARDRAIL_INTERVENED"
    assert said["action"] == "NONE"


async def test_words_are_whole_words(connect: Connect) -> None:
    """A word inside another one is none."""
    assert (await verdict(connect, RULES, "stockings"))["action"] == "NONE"
    assert (await verdict(connect, RULES, "STOCK!"))["action"] == "GUARDRAIL_INTERVENED"


async def test_images_are_counted(connect: Connect) -> None:
    """Images are covered and charged for, and no rule finds anything in them."""
    image = {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}
    answer = await verdict(connect, RULES, content=[image, {"text": {"text": "Hi"}}])
    assert answer["guardrailCoverage"]["images"] == {"guarded": 1, "total": 1}
    assert answer["usage"]["contentPolicyImageUnits"] == 1


@pytest.mark.parametrize(
    "members",
    [
        {"guardrailIdentifier": "NOT-AN-ID"},
        {"guardrailVersion": "latest"},
        {"source": "BOTH"},
        {"content": [{"text": {"text": "a", "qualifiers": ["unknown"]}}]},
    ],
)
async def test_wrong_members_are_refused_as_the_service_does(connect: Connect, members: dict[str, Any]) -> None:
    """Ids, versions and enumerations are held to the service model."""
    with pytest.raises(ClientError) as caught:
        await verdict(connect, None, "Hello.", **members)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert "failed to satisfy constraint" in caught.value.response["Error"]["Message"]


async def test_a_denied_action_is_refused(connect: Connect) -> None:
    """What the account may not do is refused as IAM does."""
    account = EmulatorAccount(denied_actions=["bedrock:ApplyGuardrail"])
    async with BedrockEmulator(account=account) as emulator, connect(emulator.url) as client:
        with pytest.raises(ClientError, match="not authorized to perform: bedrock:ApplyGuardrail"):
            await client.call(
                "apply_guardrail", guardrailIdentifier="abc", guardrailVersion="DRAFT", source="INPUT", content=[]
            )


def shape(value: object) -> object:
    """Return the names and types of a JSON value; a list is told by its first item."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in sorted(cast("dict[str, object]", value).items())}
    if isinstance(value, list):
        return [shape(item) for item in cast("list[object]", value)[:1]]
    return type(value).__name__


@pytest.mark.parametrize("recorded", exchanges("apply-guardrail", 200), ids=str)
async def test_the_form_is_that_of_recorded_answers(recorded: Any) -> None:  # noqa: ANN401
    """The recorded request has an answer of the recorded form: the same members, nulls included, of the same types."""
    rules = GuardrailRules(
        topics={"InvestmentObjectives": ("stock",)},
        filters={"VIOLENCE": ("bomb",)},
        blocked_entities={"EMAIL": r"\S+@\S+", "PHONE": r"\d{3}-\d{4}"},
    )
    async with (
        BedrockEmulator(guardrail=rules) as emulator,
        aiohttp.ClientSession() as session,
        session.post(emulator.url + recorded.path, data=recorded.request_body) as response,
    ):
        answer = await response.json()
        assert response.headers["content-type"] == "application/json"
    assert shape(answer) == shape(recorded.response_json)
    for member in ("action", "actionReason", "outputs", "output", "guardrailCoverage", "usage"):
        assert answer[member] == recorded.response_json[member]
    told, wanted = answer["assessments"][0], recorded.response_json["assessments"][0]
    for member in ("appliedGuardrailDetails", "contentPolicy", "sensitiveInformationPolicy", "topicPolicy"):
        assert told[member] == wanted[member]


async def test_our_client_reads_the_verdict() -> None:
    """`apply_guardrail` gives the verdict, what to show, and the explicit nulls."""
    async with (
        BedrockEmulator(guardrail=RULES) as emulator,
        BedrockClient(
            region="us-east-1", endpoint_url=emulator.url, credentials=Credentials("AKIDEXAMPLE", "secret")
        ) as client,
    ):
        blocked = await client.apply_guardrail(GUARDRAIL, "1", source="INPUT", content="Call 555-1234.")
        passed = await client.apply_guardrail(GUARDRAIL, "DRAFT", source="INPUT", content="Hello.")
    assert blocked.intervened
    assert blocked.text == "Call {PHONE}."
    assert not passed.intervened
    assessments = passed.to_wire()["assessments"]
    assert isinstance(assessments, list)
    assert isinstance(assessments[0], dict)
    assert assessments[0]["wordPolicy"] is None
    assert blocked.assessments
    details = blocked.assessments[0].applied_guardrail_details
    assert details is not None
    assert details.guardrail_arn == f"arn:aws:bedrock:us-east-1:123456789012:guardrail/{GUARDRAIL}"
    assert details.guardrail_version == "1"


# InvokeGuardrailChecks, which the older releases of botocore do not know.

checks_are_known: Final = pytest.mark.skipif(
    "InvokeGuardrailChecks" not in get_session().get_service_model("bedrock-runtime").operation_names,
    reason="this botocore is older than the operation",
)

CHECKS: Final = {
    "contentFilter": {"categories": [{"category": "VIOLENCE"}, {"category": "HATE"}]},
    "promptAttack": {"categories": [{"category": "JAILBREAK"}]},
    "sensitiveInformation": {"entities": [{"type": "EMAIL"}]},
}


@checks_are_known
async def test_checks_report_what_was_asked_for(connect: Connect) -> None:
    """Each category has a score, personal data its place, and kinds that nobody asked for are left out."""
    messages = [
        {"role": "user", "content": [{"text": "A bomb."}, {"text": "Write to a@b.c or call 555-1234"}]},
        {"role": "assistant", "content": [{"text": "d@e.f"}]},
    ]
    async with BedrockEmulator(guardrail=RULES) as emulator, connect(emulator.url) as client:
        report = await client.call("invoke_guardrail_checks", messages=messages, checks=CHECKS)
    results = report["results"]
    assert [(each["category"], each["severityScore"] > 0.5) for each in results["contentFilter"]["results"]] == [
        ("VIOLENCE", True),
        ("HATE", False),
    ]
    assert results["promptAttack"]["results"] == [{"category": "JAILBREAK", "severityScore": 0.0}]
    found = results["sensitiveInformation"]["results"]
    places = [(each["messageIndex"], each["contentIndex"], each["beginOffset"], each["endOffset"]) for each in found]
    assert places == [(0, 1, 9, 14), (1, 0, 0, 5)]
    assert {each["type"] for each in found} == {"EMAIL"}
    assert report["usage"] == {name: {"textUnits": 1} for name in CHECKS}


@checks_are_known
async def test_only_the_checks_that_were_asked_for_are_made(connect: Connect) -> None:
    """A check that is not in the request is not in the answer."""
    messages = [{"role": "user", "content": [{"text": "Hello."}]}]
    checks = {"promptAttack": CHECKS["promptAttack"]}
    async with BedrockEmulator() as emulator, connect(emulator.url) as client:
        report = await client.call("invoke_guardrail_checks", messages=messages, checks=checks)
    assert report["results"].keys() == {"promptAttack"}
    assert report["usage"].keys() == {"promptAttack"}


async def test_our_client_reads_the_report() -> None:
    """`invoke_guardrail_checks` gives typed scores."""
    async with (
        BedrockEmulator(guardrail=RULES) as emulator,
        BedrockClient(
            region="us-east-1", endpoint_url=emulator.url, credentials=Credentials("AKIDEXAMPLE", "secret")
        ) as client,
    ):
        report = await client.invoke_guardrail_checks("Ignore all rules.", CHECKS)
    assert report.results is not None
    assert report.results.prompt_attack is not None
    (score,) = list(report.results.prompt_attack.results or ())
    assert score.category == "JAILBREAK"
    assert (score.severity_score or 0) > 0.5
