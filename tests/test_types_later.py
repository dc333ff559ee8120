"""Members that a class of another module validates: nobody can tell the difference, but for when it is imported."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any, Final, cast

import pytest
from pydantic import ValidationError

from bedrock_async.errors import ResponseDecodeError
from bedrock_async.events import read_model
from bedrock_async.types import ConverseResponse, ConverseTrace, GuardrailTrace, WireModel
from bedrock_async.types._later import Later
from bedrock_async.types._wire import read_wire

TRACE: Final[dict[str, Any]] = {
    "modelOutput": ["x"],
    "inputAssessment": {
        "g": {
            "contextualGroundingPolicy": {"filters": [{"type": "GROUNDING", "threshold": 0.5, "score": "Infinity"}]},
            "automatedReasoningPolicy": {"findings": [{"valid": {"translation": {}}, "newKind": None}]},
            "newPolicy": {"found": [1, None]},
        }
    },
    "outputAssessments": {"g": [{"wordPolicy": None}]},
    "action_reason": "a member of the service's that happens to be spelt like a field",
}


def around(trace: object) -> dict[str, Any]:
    """Return the trace in a response."""
    return {"stopReason": "end_turn", "trace": {"guardrail": trace}}


def found(response: ConverseResponse) -> GuardrailTrace:
    """Return the trace of a response."""
    assert response.trace is not None
    assert isinstance(response.trace.guardrail, GuardrailTrace)
    return response.trace.guardrail


@pytest.mark.parametrize("way", ["from_wire", "from_dict"])
def test_a_trace_is_read_as_by_its_own_class(way: str) -> None:
    """Nulls, unknown members and numbers that are none: all is as the class reads it, and goes out as it came."""
    trace = copy.deepcopy(TRACE)
    if way == "from_dict":
        del trace["inputAssessment"]["g"]["automatedReasoningPolicy"]["findings"][0]["newKind"]
    response = getattr(ConverseResponse, way)(around(trace))
    alone = getattr(GuardrailTrace, way)(trace)
    assert repr(found(response)) == repr(alone)
    assert found(response).to_wire() == alone.to_wire()
    assert response.to_wire()["trace"]["guardrail"] == alone.to_wire()
    assert response.to_dict()["trace"]["guardrail"] == alone.to_dict()
    assert found(response).action_reason is None


def test_the_constructor_takes_objects_and_the_names_of_python() -> None:
    """What is built by hand has fields by either name, and an object stays the object that it is."""
    trace = GuardrailTrace(action_reason="why")
    for given in (trace, {"action_reason": "why"}, {"actionReason": "why"}):
        built = ConverseTrace(guardrail=cast("GuardrailTrace", given))
        assert built.guardrail == trace
        assert (built.guardrail is trace) == (given is trace)


def in_python(kind: type[WireModel], members: object) -> WireModel:
    """Validate a dict of boto3's shape."""
    return kind.model_validate(members, by_alias=True, by_name=False)


def on_the_wire(kind: type[WireModel], members: object) -> WireModel:
    """Validate JSON."""
    return read_wire(kind, json.dumps(members))


@pytest.mark.parametrize("read", [in_python, on_the_wire])
@pytest.mark.parametrize(
    "wrong",
    ["text", {"modelOutput": [1]}, {"inputAssessment": {"g": {"wordPolicy": {"customWords": [{"match": 1}]}}}}],
)
def test_a_fault_is_told_with_its_whole_path(
    read: Callable[[type[WireModel], object], WireModel], wrong: object
) -> None:
    """The path leads from the response into the trace, and the fault is the one that the class itself tells."""
    with pytest.raises(ValidationError) as caught:
        read(ConverseResponse, around(wrong))
    with pytest.raises(ValidationError) as alone:
        read(GuardrailTrace, wrong)
    (fault,), (own,) = caught.value.errors(), alone.value.errors()
    assert fault["loc"] == ("trace", "guardrail", *own["loc"])
    assert (fault["type"], fault["msg"]) == (own["type"], own["msg"])


def test_nulls_that_are_refused_go_from_a_trace_as_from_everywhere() -> None:
    """A null in the place of an assessment, which the strict reading refuses, costs no answer that was paid for."""
    response = read_model(ConverseResponse, b'{"trace": {"guardrail": {"inputAssessment": {"g": null}}}}')
    assert found(response).input_assessment == {}
    with pytest.raises(ResponseDecodeError, match=r"trace\.guardrail\.modelOutput\.0"):
        read_model(ConverseResponse, b'{"trace": {"guardrail": {"modelOutput": [1]}}}')


def test_a_response_with_a_trace_can_be_copied_and_pickled() -> None:
    """The trace is an object like all others."""
    response = ConverseResponse.from_wire(around(TRACE))
    for other in (copy.deepcopy(response), pickle.loads(pickle.dumps(response))):  # noqa: S301 - of our own
        assert other.to_wire() == response.to_wire()
        assert found(other) == found(response)


def test_the_schema_of_a_response_describes_the_trace() -> None:
    """JSON schemas name the class and its members."""
    schema = ConverseResponse.model_json_schema()
    assert schema["$defs"]["ConverseTrace"]["properties"]["guardrail"]["anyOf"][0] == {"$ref": "#/$defs/GuardrailTrace"}
    assert schema["$defs"]["GuardrailTrace"]["properties"].keys() >= {"modelOutput", "inputAssessment"}


def test_a_class_is_loaded_by_its_first_value() -> None:
    """Until then nothing is imported and no validator built."""
    later = Later(".guardrails", "GuardrailTrace")
    assert not later.loaded
    assert later.kind is GuardrailTrace
    assert later.loaded
