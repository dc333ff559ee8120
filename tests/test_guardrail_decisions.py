"""Guardrail decisions: one reading of every form of trace, and histories without what was blocked."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any, Final

import pytest
from corpus import Exchange, exchange, exchanges
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import responses

from bedrock_async.features.guardrails import GuardrailSettings, redacted_answer, redacted_messages
from bedrock_async.types import ConverseResponse, GuardrailTrace, GuardrailVerdict, Message
from bedrock_async.types.guardrail_decisions import (
    GuardrailAction,
    GuardrailDecision,
    native_decision,
    trace_decision,
)

BLOCKED: Final = {"topicPolicy": {"topics": [{"name": "Stocks", "type": "DENY", "action": "BLOCKED"}]}}
MASKED: Final = {
    "sensitiveInformationPolicy": {"piiEntities": [{"type": "NAME", "match": "Bob", "action": "ANONYMIZED"}]}
}
CLEAN: Final = {"invocationMetrics": {"guardrailProcessingLatency": 5}}


def trace(sent: dict[str, Any] | None = None, said: dict[str, Any] | None = None, **more: object) -> dict[str, Any]:
    """Return a trace of Converse: the assessments of what was sent and of what the model said."""
    members: dict[str, Any] = {"inputAssessment": {"g": sent or CLEAN}, **more}
    return members if said is None else {**members, "outputAssessments": {"g": [said]}}


def native(found: dict[str, Any]) -> dict[str, Any]:
    """Return the same trace as InvokeModel writes it."""
    members: dict[str, Any] = {"input": found["inputAssessment"]}
    outputs: dict[str, list[Any]] = found.get("outputAssessments", {})
    members["outputs"] = [{name: each} for name, all_of in outputs.items() for each in all_of]
    return members


@pytest.mark.parametrize(
    ("sent", "said", "expected"),
    [
        (None, None, ("none", "none")),
        (BLOCKED, None, ("blocked", "none")),
        (None, BLOCKED, ("none", "blocked")),
        (MASKED, None, ("masked", "none")),
        (MASKED, BLOCKED, ("masked", "blocked")),
        ({**MASKED, **BLOCKED}, MASKED, ("blocked", "masked")),
        ({**BLOCKED, **MASKED}, None, ("blocked", "none")),
    ],
)
@pytest.mark.parametrize("detected", [True, None])
def test_the_source_of_an_intervention_is_known(
    sent: dict[str, Any] | None,
    said: dict[str, Any] | None,
    expected: tuple[str, str],
    detected: bool | None,  # noqa: FBT001
) -> None:
    """Input and output are told apart, in Converse's form and the native one, with and without ``detected``."""
    found = copy.deepcopy(trace(sent, said))
    if detected is not None:
        _set_detected(found, detected)
    acted = expected != ("none", "none")
    headers = {"x-amzn-bedrock-guardrail-action": "INTERVENED" if acted else "NONE"}
    for decision in (
        trace_decision(found),
        trace_decision(GuardrailTrace.from_dict(found)),
        native_decision({}, {"amazon-bedrock-trace": {"guardrail": native(found)}}),
        native_decision(headers, {"amazon-bedrock-trace": {"guardrail": native(found)}}),
    ):
        assert decision is not None
        assert (decision.input, decision.output, decision.intervened) == (*expected, acted)


def _set_detected(found: dict[str, Any], detected: bool) -> None:  # noqa: FBT001
    outputs = [each for all_of in found.get("outputAssessments", {}).values() for each in all_of]
    for assessment in [*found["inputAssessment"].values(), *outputs]:
        for each in assessment.get("topicPolicy", {}).get("topics", []):
            each["detected"] = detected
        for each in assessment.get("sensitiveInformationPolicy", {}).get("piiEntities", []):
            each["detected"] = detected


def test_what_was_looked_for_and_not_found_is_no_intervention() -> None:
    """A full trace lists what did not happen, with ``detected`` false: it blocks nothing, and stays readable."""
    found = copy.deepcopy(trace(BLOCKED))
    _set_detected(found, detected=False)
    decision = trace_decision(found)
    assert decision is not None
    assert decision == GuardrailDecision(intervened=False, input="none", output="none", findings=decision.findings)
    assert [(each.policy, each.name, each.blocks) for each in decision.findings] == [("topic", "Stocks", False)]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("Guardrail blocked.", ("blocked", "none")),
        ("No action.\nGuardrail masked.", ("none", "masked")),
        ("No action.\nNo action.\nGuardrail blocked.", ("none", "blocked")),
        ("No action.", ("unknown", "unknown")),
        (None, ("unknown", "unknown")),
    ],
)
def test_an_intervention_without_findings_is_read_from_its_reason(
    reason: str | None, expected: tuple[str, str]
) -> None:
    """Where the trace has no details the reason says what was done, and else nobody knows."""
    more: dict[str, Any] = {} if reason is None else {"actionReason": reason}
    decision = trace_decision(trace(**more), intervened=True)
    assert decision is not None
    assert (decision.input, decision.output) == expected


def test_without_a_trace_only_the_intervention_shows() -> None:
    """Trace disabled: the stop reason says that the guardrail intervened, nothing else; without it there is nothing."""
    response = ConverseResponse.from_dict({"stopReason": "guardrail_intervened"})
    decision = response.guardrail
    assert decision is not None
    assert (decision.intervened, decision.action, decision.blocked) == (True, "unknown", False)
    assert ConverseResponse.from_dict({"stopReason": "end_turn"}).guardrail is None


@pytest.mark.parametrize(
    ("headers", "body", "action"),
    [
        ({"amazon-bedrock-guardrailaction": "GUARDRAIL_INTERVENED"}, None, "unknown"),
        ({"x-amzn-bedrock-guardrail-action": "INTERVENED"}, {}, "unknown"),
        ({}, {"amazon-bedrock-guardrailAction": "INTERVENED"}, "unknown"),
        ({}, {"amazon-bedrock-guardrailAction": "NONE"}, "none"),
        ({"content-type": "application/json"}, {"completion": "hi"}, None),
        ({}, b"no JSON", None),
    ],
)
def test_native_answers_say_so_in_headers_and_members(
    headers: dict[str, str], body: object, action: GuardrailAction | None
) -> None:
    """InvokeModel tells by a header or by a member of the body; an answer without a guardrail has no decision."""
    decision = native_decision(headers, body)
    assert (None if decision is None else decision.action) == action


def test_findings_do_not_show_what_was_found() -> None:
    """Personal data stays out of `repr` and of the explanation: both end up in logs."""
    decision = trace_decision(
        trace({**MASKED, "wordPolicy": {"customWords": [{"match": "hush", "action": "BLOCKED"}]}}),
    )
    assert decision is not None
    assert {each.match for each in decision.findings} == {"Bob", "hush"}
    assert "Bob" not in repr(decision) + decision.explain()
    assert "hush" not in repr(decision) + decision.explain()
    assert decision.explain() == "input blocked: word custom; input masked: sensitiveInformation NAME"


# -- recorded answers


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("converse__amazon.nova__200__013537983f07b6d6", ("none", "masked", True)),
        ("converse__amazon.nova__200__85ee48fb5099d12f", ("none", "none", False)),
        ("converse__amazon.titan-text__200__28d49c7963d1e297", ("none", "masked", True)),
        ("converse-stream__amazon.titan-text__200__23666af4bb8385c4", ("none", "masked", True)),
        ("converse-stream__amazon.titan-text__200__5ae2e21844359ea4", ("none", "masked", True)),
        ("invoke__amazon.nova__200__e0c99cbb88bfe474", ("none", "masked", True)),
        ("invoke-with-response-stream__amazon.titan-text__200__39d60971cfaf3ba3", ("none", "masked", True)),
    ],
)
def test_recorded_interventions_are_read(stem: str, expected: tuple[str, str, bool]) -> None:
    """Real traces, of Converse, of streams and of native answers, some of them without ``detected``."""
    decision = recorded_decision(exchange(stem))
    assert decision is not None
    assert (decision.input, decision.output, decision.intervened) == expected


def test_recorded_answers_without_a_guardrail_have_no_decision() -> None:
    """No answer of the corpus is taken for one of a guardrail that has none."""
    for kind in ("converse", "invoke"):
        for each in exchanges(kind, 200):
            if "guardrail_response" not in each.features and "guardrail" not in each.features:
                assert recorded_decision(each) is None, each.id


def recorded_decision(recorded: Exchange) -> GuardrailDecision | None:
    """Read the decision of a recorded answer, of any kind."""
    if recorded.kind == "converse":
        return ConverseResponse.from_wire(recorded.response_body).guardrail
    if recorded.eventstream is None:
        try:
            body = recorded.response_json
        except ValueError:
            body = None
        return native_decision({name.lower(): value for name, value in recorded.response_headers.items()}, body)
    events = recorded.eventstream["events"]
    if recorded.kind == "converse-stream":
        stop = next(e["payload"] for e in events if e["headers"][":event-type"] == "messageStop")
        last = next(e["payload"] for e in events if e["headers"][":event-type"] == "metadata")
        intervened = stop["stopReason"] == "guardrail_intervened"
        return trace_decision(last.get("trace", {}).get("guardrail"), intervened=intervened)
    return native_decision({}, json.loads(base64.b64decode(events[-1]["payload"]["bytes"])))


@pytest.mark.parametrize("source", ["input", "output"])
def test_a_recorded_verdict_is_read(source: Any) -> None:  # noqa: ANN401
    """ApplyGuardrail: what blocked, and that what was looked for in vain did not; explicit nulls do not disturb."""
    body = exchange("apply-guardrail__guardrail__200__467f300654613a67").response_body
    decision = GuardrailVerdict.from_wire(body).decision(source)
    assert (decision.input, decision.output)[source == "output"] == "blocked"
    assert (decision.input, decision.output)[source == "input"] == "none"
    assert {(each.policy, each.name) for each in decision.findings if each.blocks} == {
        ("topic", "InvestmentObjectives"),
        ("sensitiveInformation", "EMAIL"),
    }
    assert {each.guardrail_id for each in decision.findings} == {"274u1upxm897"}


@pytest.mark.parametrize("source", ["input", "output"])
def test_a_verdict_without_assessments_knows_its_source(source: Any) -> None:  # noqa: ANN401
    """What was asked about is what was blocked or masked, whatever else is missing."""
    decision = GuardrailVerdict(action="GUARDRAIL_INTERVENED").decision(source)
    assert (decision.input, decision.output) == (("unknown", "none") if source == "input" else ("none", "unknown"))


@given(responses())
@settings(max_examples=100, deadline=None)
def test_any_answer_is_read_without_failing(wire: dict[str, Any]) -> None:
    """Whatever the service documents, nulls and new members in it, gives a decision or none, never an error."""
    response = ConverseResponse.from_wire(json.dumps(wire))
    decision = response.guardrail
    if response.stop_reason == "guardrail_intervened":
        assert decision is not None
        assert decision.intervened
        assert decision.action != "none"


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_nonsense_in_the_place_of_a_trace_is_no_error(nonsense: Any) -> None:  # noqa: ANN401
    """A trace of a form that nobody knows says nothing, and breaks nothing."""
    for name in ("inputAssessment", "outputAssessments", "input", "outputs"):
        trace_decision({name: nonsense})
    native_decision({}, {"amazon-bedrock-trace": nonsense})


# -- redaction

USE: Final[dict[str, Any]] = {"toolUse": {"toolUseId": "u", "name": "t", "input": {}}}
HISTORY: Final = [
    Message.from_dict({"role": "user", "content": [{"text": "first"}]}),
    Message.from_dict({"role": "assistant", "content": [USE]}),
    Message.from_dict(
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "u", "content": [{"json": {"secret": 1}}], "status": "success"}},
                {"text": "second"},
            ],
        }
    ),
]
ANSWER: Final = Message.from_dict({"role": "assistant", "content": [{"text": "Sorry."}]})


def decided(sent: GuardrailAction, said: GuardrailAction) -> GuardrailDecision:
    """Return a decision."""
    return GuardrailDecision(intervened=True, input=sent, output=said)


def test_blocked_input_is_redacted_and_the_tool_loop_stays_whole() -> None:
    """The last message of the user goes, its tool results keep their ids; what stands before is not touched."""
    kept = redacted_messages(HISTORY, decided("blocked", "none"), GuardrailSettings("g", "1"))
    assert kept[:2] == HISTORY[:2]
    assert kept[2].to_dict() == {
        "role": "user",
        "content": [
            {"toolResult": {"toolUseId": "u", "content": [{"text": "[User input redacted.]"}], "status": "success"}}
        ],
    }
    asked = redacted_messages(
        HISTORY[:1], decided("blocked", "none"), GuardrailSettings("g", "1", redact_input_message="Blocked!")
    )
    assert asked[0].to_dict() == {"role": "user", "content": [{"text": "Blocked!"}]}


@pytest.mark.parametrize(
    ("decision", "redaction", "sent", "said"),
    [
        (decided("blocked", "none"), GuardrailSettings("g", "1"), True, False),
        (decided("none", "blocked"), GuardrailSettings("g", "1"), False, False),
        (decided("none", "blocked"), GuardrailSettings("g", "1", redact_output=True), False, True),
        (decided("blocked", "none"), GuardrailSettings("g", "1", redact_input=False, redact_output=True), False, True),
        (decided("masked", "masked"), GuardrailSettings("g", "1", redact_output=True), False, False),
        (decided("unknown", "unknown"), GuardrailSettings("g", "1", redact_output=True), True, True),
        (decided("unknown", "unknown"), GuardrailSettings("g", "1", redact_input=False), False, False),
        (None, GuardrailSettings("g", "1", redact_output=True), False, False),
    ],
)
def test_only_what_was_blocked_is_redacted(
    decision: GuardrailDecision | None,
    redaction: GuardrailSettings,
    sent: bool,  # noqa: FBT001
    said: bool,  # noqa: FBT001
) -> None:
    """A blocked answer costs the user no message; masked texts stay; where nobody knows, the safe side is taken."""
    assert (redacted_messages(HISTORY, decision, redaction) != HISTORY) is sent
    answer = redacted_answer(ANSWER, decision, redaction)
    assert (answer.text == redaction.redact_output_message) is said
    assert (answer is ANSWER) is not said


def test_a_history_without_a_message_of_the_user_is_left_alone() -> None:
    """Nothing to redact is no error."""
    assert redacted_messages([ANSWER], decided("blocked", "none"), GuardrailSettings("g", "1")) == [ANSWER]
