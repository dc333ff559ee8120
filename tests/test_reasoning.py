"""Reasoning: one setting for all models, written the way each of them takes it, or refused with the reason."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from corpus import Exchange, exchanges
from hypothesis import given
from hypothesis import strategies as st

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    ConnectionLostError,
    Credentials,
    InvalidRequestError,
    Reasoning,
)
from bedrock_async.families.profiles import UNKNOWN, ReasoningForm, find_profile
from bedrock_async.features.reasoning import BUDGETS, LEVELS, MIN_BUDGET_TOKENS, write_reasoning
from bedrock_async.model_id import parse_model_id
from bedrock_async.testing.canned import CannedTransport
from bedrock_async.types import ConverseRequest

SONNET_4: Final = "anthropic.claude-sonnet-4-20250514-v1:0"
OPUS_45: Final = "anthropic.claude-opus-4-5-20251101-v1:0"
SONNET_46: Final = "anthropic.claude-sonnet-4-6"
OPUS_47: Final = "anthropic.claude-opus-4-7"
NOVA_2: Final = "amazon.nova-2-lite-v1:0"
GPT_OSS: Final = "openai.gpt-oss-120b-1:0"
ADAPTIVE: Final = {"thinking": {"type": "adaptive"}}


def thinking(tokens: int) -> dict[str, Any]:
    """Return the member of Claude models that takes a number."""
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


def written(
    model: str, reasoning: Reasoning, form: ReasoningForm | None = None, **members: object
) -> tuple[Any, list[str]]:
    """Return the additional fields that a request gets, and what was made to fit."""
    request = ConverseRequest.from_dict({"modelId": model, **members})
    profile = find_profile(model)
    if form is not None:
        profile = type(profile)(source="test", reasoning=form)
    made, adjustments = write_reasoning(request, reasoning, profile)
    return made.additional_model_request_fields, [str(each) for each in adjustments]


@pytest.mark.parametrize(
    ("model", "reasoning", "fields"),
    [
        (SONNET_4, Reasoning(budget_tokens=4096), thinking(4096)),
        (SONNET_4, Reasoning(budget_tokens=4096, effort="high"), thinking(4096)),
        (OPUS_45, Reasoning(budget_tokens=4096), thinking(4096)),
        (SONNET_46, Reasoning(budget_tokens=4096), thinking(4096)),
        (SONNET_46, Reasoning(), ADAPTIVE),
        (SONNET_46, Reasoning(effort="max"), {**ADAPTIVE, "output_config": {"effort": "max"}}),
        (
            SONNET_46,
            Reasoning(budget_tokens=2000, effort="low"),
            {**thinking(2000), "output_config": {"effort": "low"}},
        ),
        (OPUS_47, Reasoning(effort="xhigh"), {**ADAPTIVE, "output_config": {"effort": "xhigh"}}),
        (OPUS_47, Reasoning(budget_tokens=2000, effort="low"), {**ADAPTIVE, "output_config": {"effort": "low"}}),
        (NOVA_2, Reasoning(effort="low"), {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
        (GPT_OSS, Reasoning(effort="medium"), {"reasoning_effort": "medium"}),
        (GPT_OSS, Reasoning(budget_tokens=9000, effort="medium"), {"reasoning_effort": "medium"}),
        (GPT_OSS, Reasoning(), None),
        ("qwen.qwen3-32b-v1:0", Reasoning(effort="high"), {"reasoning_config": "high"}),
        ("xai.grok-4-6", Reasoning(effort="xhigh"), {"reasoning": {"effort": "xhigh"}}),
        ("openai.gpt-6-terra", Reasoning(effort="max"), {"reasoning": {"effort": "max"}}),
        ("deepseek.v3-v1:0", Reasoning(effort="high"), {"reasoning_effort": "high"}),
        ("zai.glm-4-7", Reasoning(effort="high"), {"reasoning_effort": "high"}),
    ],
)
def test_each_model_is_told_its_own_way(model: str, reasoning: Reasoning, fields: dict[str, Any] | None) -> None:
    """What fits is written and nothing is reported."""
    assert written(model, reasoning) == (fields, [])


@pytest.mark.parametrize(
    ("model", "effort", "fields", "line"),
    [
        (
            SONNET_4,
            "high",
            thinking(16_384),
            "reasoning.effort: level high written as 16,384 thinking tokens: the model requires a number (reasoning)",
        ),
        (
            GPT_OSS,
            "max",
            {"reasoning_effort": "high"},
            "reasoning.effort: level max written as high: the model has low, medium, high (reasoning)",
        ),
        (
            "qwen.qwen3-32b-v1:0",
            "medium",
            {"reasoning_config": "high"},
            "reasoning.effort: level medium written as high: the model has low, high (reasoning)",
        ),
        (
            "deepseek.r1-v1:0",
            "low",
            None,
            "reasoning.effort: level low left out: the model always reasons, and accepts no level (reasoning)",
        ),
    ],
)
def test_a_level_that_a_model_does_not_have_is_made_to_fit(
    model: str,
    effort: Any,  # noqa: ANN401
    fields: dict[str, Any] | None,
    line: str,
) -> None:
    """The nearest level, the higher of two; a number where only numbers are taken: always reported."""
    assert written(model, Reasoning(effort=effort)) == (fields, [line])


def test_a_number_made_of_a_level_leaves_tokens_to_answer() -> None:
    """Where the level's number does not fit below max_tokens, half of them are for thinking."""
    fields, lines = written(SONNET_4, Reasoning(effort="high"), inferenceConfig={"maxTokens": 4000})
    assert fields == thinking(2000)
    assert "written as 2,000 thinking tokens" in lines[0]


@pytest.mark.parametrize(
    ("model", "reasoning", "members", "path", "why"),
    [
        ("amazon.nova-lite-v1:0", Reasoning(effort="low"), {}, "reasoning", "does not reason"),
        ("acme.new-model-v1:0", Reasoning(effort="low"), {}, "reasoning", "not known here how"),
        (OPUS_47, Reasoning(budget_tokens=2000), {}, "reasoning.budget_tokens", "does not accept a number"),
        (NOVA_2, Reasoning(budget_tokens=2000), {}, "reasoning.budget_tokens", "does not accept a number"),
        ("deepseek.r1-v1:0", Reasoning(budget_tokens=2000), {}, "reasoning.budget_tokens", "does not accept a number"),
        (NOVA_2, Reasoning(), {}, "reasoning", "needs one of them"),
        (SONNET_4, Reasoning(), {}, "reasoning", "needs one of them"),
        (
            SONNET_4,
            Reasoning(budget_tokens=2000),
            {"inferenceConfig": {"maxTokens": 2000}},
            "reasoning.budget_tokens",
            "is 2,000 and max_tokens 2,000",
        ),
        (
            SONNET_4,
            Reasoning(effort="low"),
            {"inferenceConfig": {"maxTokens": 900}},
            "max_tokens",
            "max_tokens is 900, and the model thinks with 1,024 tokens or more",
        ),
        (
            SONNET_4,
            Reasoning(budget_tokens=2000),
            {"additionalModelRequestFields": thinking(4000)},
            "additional_request_fields.thinking.budget_tokens",
            "say thinking.budget_tokens = 4000, but reasoning would set 2000",
        ),
        (
            SONNET_4,
            Reasoning(budget_tokens=2000),
            {"additionalModelRequestFields": {"reasoning_config": {"type": "enabled", "budget_tokens": 2000}}},
            "additional_request_fields.reasoning_config",
            "an older name of thinking",
        ),
        (
            SONNET_46,
            Reasoning(effort="low"),
            {"outputConfig": {"effort": "high"}},
            "effort",
            "effort is 'high' and reasoning.effort 'low'",
        ),
        (
            GPT_OSS,
            Reasoning(effort="low"),
            {"additionalModelRequestFields": ["no", "object"]},
            "additional_request_fields",
            "is a list",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    model: str, reasoning: Reasoning, members: dict[str, Any], path: str, why: str
) -> None:
    """A model that does not reason, numbers that leave nothing to answer, and two settings that contradict."""
    with pytest.raises(InvalidRequestError) as failure:
        written(model, reasoning, **members)
    assert failure.value.path == path
    assert why in str(failure.value)
    assert "acme" not in model or UNKNOWN is find_profile(model)


def test_fields_of_the_caller_stay() -> None:
    """What else stands below additionalModelRequestFields is merged, and what says the same is no contradiction."""
    fields, _ = written(SONNET_46, Reasoning(effort="low"), additionalModelRequestFields={"top_k": 5, **ADAPTIVE})
    assert fields == {"top_k": 5, **ADAPTIVE, "output_config": {"effort": "low"}}


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"budget_tokens": MIN_BUDGET_TOKENS - 1}, "reasoning.budget_tokens"),
        ({"budget_tokens": "4096"}, "reasoning.budget_tokens"),
        ({"budget_tokens": 4096.5}, "reasoning.budget_tokens"),
        ({"budget_tokens": True}, "reasoning.budget_tokens"),
        ({"effort": "much"}, "reasoning.effort"),
    ],
)
def test_what_no_model_takes_is_refused_at_once(wrong: dict[str, Any], path: str) -> None:
    """Too few tokens, what is no number of them, and levels that nobody has."""
    with pytest.raises(InvalidRequestError) as failure:
        Reasoning(**wrong)
    assert failure.value.path == path


FORMS: Final = st.builds(
    ReasoningForm,
    budget=st.booleans(),
    adaptive=st.booleans(),
    efforts=st.sets(st.sampled_from(LEVELS)).map(lambda found: tuple(sorted(found, key=LEVELS.index))),
    field=st.sampled_from(["output_config.effort", "reasoning_effort", "a.b"]),
    always=st.booleans(),
)


@given(form=FORMS, effort=st.sampled_from(LEVELS), budget=st.none() | st.integers(MIN_BUDGET_TOKENS, 90_000))
def test_a_level_is_never_refused(form: ReasoningForm, effort: Any, budget: int | None) -> None:  # noqa: ANN401
    """Whatever a model takes, a level is written, made to fit or reported as left out, and a number needs a budget."""
    if not (form.budget or form.adaptive or form.efforts or form.always):
        return
    try:
        fields, lines = written("acme.any", Reasoning(effort=effort, budget_tokens=budget), form)
    except InvalidRequestError:
        assert budget is not None
        assert not form.budget
        return
    text = str(fields)
    assert budget is None or not form.budget or str(budget) in text
    assert form.budget or "budget_tokens" not in text
    assert effort in text or lines or (budget is not None and form.budget)
    assert set(BUDGETS) == set(LEVELS)


RECORDED: Final = [
    each
    for kind in ("converse", "converse-stream")
    for each in exchanges(kind, 200)
    # One recorder says "reasoning_config", an older name of "thinking".
    if "reasoning_request" in each.features and b"reasoning_config" not in each.request_body
]


@pytest.mark.parametrize("exchange", RECORDED, ids=str)
def test_recorded_requests_are_written_as_they_were(exchange: Exchange) -> None:
    """The numbers and levels of recorded requests, asked for here, give the members that the service took."""
    fields = exchange.request_json["additionalModelRequestFields"]
    thought = fields.get("thinking", {})
    effort = fields.get("output_config", {}).get("effort") or fields.get("reasoning_effort")
    reasoning = Reasoning(budget_tokens=thought.get("budget_tokens"), effort=effort)
    base = parse_model_id(exchange.model_id).base_model
    request = ConverseRequest.from_wire({**exchange.request_json, "additionalModelRequestFields": {}})
    made, adjustments = write_reasoning(request, reasoning, find_profile(base))
    assert made.additional_model_request_fields == {name: fields[name] for name in fields if name in _WRITTEN}
    assert adjustments == ()


_WRITTEN: Final = {"thinking", "output_config", "reasoning_effort"}


@pytest.mark.parametrize(
    ("model", "reasoning", "member"),
    [
        (SONNET_4, Reasoning(budget_tokens=2048), thinking(2048)),
        (SONNET_46, Reasoning(effort="low"), {**ADAPTIVE, "output_config": {"effort": "low"}}),
        (NOVA_2, Reasoning(effort="low"), {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
        (GPT_OSS, Reasoning(effort="low"), {"reasoning_effort": "low"}),
    ],
)
async def test_families_are_told_in_the_native_body(model: str, reasoning: Reasoning, member: dict[str, Any]) -> None:
    """With ``provider="invoke"`` the same members stand in the body that the model's family writes."""
    transport = CannedTransport([ConnectionLostError("far enough", sent=True)])
    async with BedrockClient(
        region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret"), transport=transport, retry=NO_RETRY
    ) as client:
        with pytest.raises(ConnectionLostError):
            await client.converse(model, "Hello.", reasoning=reasoning, max_tokens=9000, provider="invoke")
    body = json.loads(transport.requests[0].body)
    for name, value in member.items():
        assert body[name] == value
