"""The reference service model that the emulator and the completeness test read."""

from __future__ import annotations

import json
import runpy
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore.model import ServiceModel, StructureShape

from bedrock_async.errors import MissingExtraError
from bedrock_async.testing import control_plane_model, reference_version, service_model
from bedrock_async.types import JSONValue

OPERATIONS = [
    "ApplyGuardrail",
    "Converse",
    "ConverseStream",
    "CountTokens",
    "GetAsyncInvoke",
    "InvokeGuardrailChecks",
    "InvokeModel",
    "InvokeModelWithBidirectionalStream",
    "InvokeModelWithResponseStream",
    "ListAsyncInvokes",
    "StartAsyncInvoke",
]

CONTROL_PLANE = [
    "GetFoundationModelAvailability",
    "GetInferenceProfile",
    "ListFoundationModels",
    "ListInferenceProfiles",
]


def raw_model() -> dict[str, Any]:
    """Return the file as it is."""
    model: dict[str, Any] = json.loads(files("bedrock_async.testing").joinpath("service_model.json").read_bytes())
    return model


def texts_of_documentation(value: JSONValue) -> list[str]:
    """Return every text that stands under the key documentation."""
    if isinstance(value, dict):
        text = value.get("documentation")
        own = [text] if isinstance(text, str) else []
        return own + [text for member in value.values() for text in texts_of_documentation(member)]
    if isinstance(value, list):
        return [text for item in value for text in texts_of_documentation(item)]
    return []


def test_every_operation_of_the_service_is_known() -> None:
    """The model has the service's operations, each with the HTTP binding that routing needs."""
    model = service_model()
    assert sorted(model.operation_names) == OPERATIONS
    converse = model.operation_model("Converse")
    assert converse.http == {"method": "POST", "requestUri": "/model/{modelId}/converse", "responseCode": 200}
    assert model.signing_name == "bedrock"


def test_the_model_is_read_once() -> None:
    """Asking twice gives the same object, so that callers need not keep it."""
    assert service_model() is service_model()


def test_the_version_it_came_from_is_recorded() -> None:
    """The copy says which botocore it was taken from, as a version number."""
    assert all(part.isdigit() for part in reference_version().split("."))


def test_it_holds_no_documentation_text() -> None:
    """Nothing of the service's prose is in the package: only what decides about bytes."""
    assert texts_of_documentation(raw_model()) == []


@pytest.mark.parametrize("group", ["operations", "shapes"])
def test_its_keys_are_sorted(group: str) -> None:
    """A refresh changes only the lines of what the service changed."""
    names = list(raw_model()[group])
    assert names == sorted(names)


def test_constraints_and_traits_survive() -> None:
    """Enumerations, patterns, lengths, unions, documents, event streams and errors are all in it."""
    model = service_model()
    assert {"user", "assistant"} <= set(model.shape_for("ConversationRole").metadata["enum"])
    assert model.shape_for("ToolName").metadata["pattern"] == "[a-zA-Z0-9_-]+"
    assert model.shape_for("InferenceConfigurationTemperatureFloat").metadata["max"] == 1
    assert structure("ContentBlock").is_tagged_union
    assert structure("Document").is_document_type
    assert model.operation_model("ConverseStream").has_event_stream_output
    assert structure("ThrottlingException").metadata["error"]["httpStatusCode"] == 429


def structure(name: str) -> StructureShape:
    """Return the shape, which is a structure."""
    shape = service_model().shape_for(name)
    assert isinstance(shape, StructureShape)
    return shape


def test_the_script_makes_the_file_from_any_botocore() -> None:
    """What the refresh script writes from the installed botocore is a model that botocore reads back, undocumented."""
    script = Path(__file__).parent.parent / "scripts" / "refresh_service_model.py"
    text: str = runpy.run_path(str(script))["reference_model"]()
    made = json.loads(text)
    assert made["source"] == {"api": "bedrock-runtime/2023-09-30", "botocore": botocore.__version__}
    assert ServiceModel(made, "bedrock-runtime").shape_for("ConverseRequest").type_name == "structure"
    assert texts_of_documentation(made) == []


def test_the_control_plane_has_what_inference_needs_and_no_more() -> None:
    """Four operations and the shapes they reach, stripped and sorted like the runtime's."""
    model = control_plane_model()
    assert model is control_plane_model()
    assert sorted(model.operation_names) == CONTROL_PLANE
    assert (model.signing_name, model.endpoint_prefix) == ("bedrock", "bedrock")
    raw = json.loads(files("bedrock_async.testing").joinpath("control_plane_model.json").read_bytes())
    assert raw["source"]["botocore"] == reference_version()
    assert texts_of_documentation(raw) == []
    assert list(raw["shapes"]) == sorted(raw["shapes"])
    assert "FoundationModelSummary" in raw["shapes"]
    assert "CreateGuardrailRequest" not in raw["shapes"]
    for operation in CONTROL_PLANE:
        assert model.operation_model(operation).http["method"] == "GET"


def test_the_script_makes_the_control_plane_from_any_botocore() -> None:
    """Reachable shapes are enough: botocore reads the operations back, inputs and outputs."""
    made = runpy.run_path(str(Path(__file__).parent.parent / "scripts" / "refresh_service_model.py"))
    model = ServiceModel(json.loads(made["reference_model"](made["CONTROL_PLANE"])), "bedrock")
    for operation in CONTROL_PLANE:
        assert isinstance(model.operation_model(operation).output_shape, StructureShape)


def test_without_botocore_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore is an optional dependency; the error is the command that brings it."""
    monkeypatch.setitem(sys.modules, "botocore.model", None)
    with pytest.raises(MissingExtraError, match=r'pip install "bedrock-async\[testing\]"'):
        service_model.__wrapped__()
