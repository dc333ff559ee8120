"""The operations of Bedrock's control plane that inference needs, as pure flows.

``endpoint`` is the base URL of the control plane; as at runtime, requests are signed for the service "bedrock".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..errors import ResponseDecodeError
from ..model_id import ModelId, parse_model_id
from ..types.control_plane import (
    FoundationModel,
    FoundationModelList,
    InferenceProfile,
    InferenceProfilePage,
    ListFoundationModelsRequest,
    ListInferenceProfilesRequest,
    ModelAccess,
)
from ._protocol import Flow, HttpRequest, send
from .converse import read_json

# The request members and their names in the query, from the service model.
_MODEL_FILTERS: Final[Mapping[str, str]] = {
    "by_provider": "byProvider",
    "by_customization_type": "byCustomizationType",
    "by_output_modality": "byOutputModality",
    "by_inference_type": "byInferenceType",
}
_PROFILE_FILTERS: Final[Mapping[str, str]] = {
    "type_equals": "type",
    "max_results": "maxResults",
    "next_token": "nextToken",
}


def list_foundation_models(request: ListFoundationModelsRequest, *, endpoint: str) -> Flow[list[FoundationModel]]:
    """ListFoundationModels, which is not paginated."""
    response = yield from send(_get("/foundation-models", endpoint, _query(request, _MODEL_FILTERS)))
    return list(read_json(FoundationModelList, response).model_summaries or ())


def get_foundation_model_availability(model: ModelId, *, endpoint: str) -> Flow[ModelAccess]:
    """GetFoundationModelAvailability; the service accepts only ids of foundation models, not ARNs."""
    response = yield from send(_get(f"/foundation-model-availability/{model.quoted}", endpoint))
    return read_json(ModelAccess, response)


def list_inference_profiles(request: ListInferenceProfilesRequest, *, endpoint: str) -> Flow[list[InferenceProfile]]:
    """ListInferenceProfiles: the requested page and all that follow.

    Raises ResponseDecodeError when a page refers back to one that was already read.
    """
    profiles: list[InferenceProfile] = []
    seen: set[str] = set()
    while True:
        response = yield from send(_get("/inference-profiles", endpoint, _query(request, _PROFILE_FILTERS)))
        page = read_json(InferenceProfilePage, response)
        profiles += page.inference_profile_summaries or ()
        token = page.next_token
        if not token:
            return profiles
        if token in seen:
            raise ResponseDecodeError(
                f"the list of inference profiles is cyclic: page {len(seen) + 1} refers back to an earlier one.",
                hint="Check the control plane's endpoint, or ask again.",
                body=response.body,
            )
        seen.add(token)
        request = request.model_copy(update={"next_token": token})


def get_inference_profile(profile: ModelId, *, endpoint: str) -> Flow[InferenceProfile]:
    """GetInferenceProfile, by id or ARN."""
    response = yield from send(_get(f"/inference-profiles/{profile.quoted}", endpoint))
    return read_json(InferenceProfile, response)


def base_models(profile: InferenceProfile) -> tuple[ModelId, ...]:
    """Return the distinct models that a profile routes to, without regions and in the profile's order."""
    # Not parsed as ARNs: a global profile names its model twice, once in an ARN without a region.
    arns = (model.model_arn for model in profile.models if model.model_arn)
    return tuple(parse_model_id(base) for base in dict.fromkeys(arn.partition("/")[2] or arn for arn in arns))


def _get(path: str, endpoint: str, query: Mapping[str, str] | None = None) -> HttpRequest:
    return HttpRequest("GET", path, query=query or {}, endpoint=endpoint, idempotent=True)


def _query(
    request: ListFoundationModelsRequest | ListInferenceProfilesRequest, names: Mapping[str, str]
) -> dict[str, str]:
    members = {name: getattr(request, member) for member, name in names.items()}
    return {name: str(value) for name, value in members.items() if value is not None}
