"""The part of Amazon Bedrock's control plane that inference needs: the available models and inference profiles.

Source: ListFoundationModels, GetFoundationModelAvailability, ListInferenceProfiles and GetInferenceProfile of the
Amazon Bedrock API, 2023-04-20.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import PrivateAttr

from ._wire import Enum, List, Timestamp, WireModel

ModelModality: TypeAlias = Annotated[Literal["TEXT", "IMAGE", "EMBEDDING"] | str, Enum]
"""What a model accepts or produces; unknown values are accepted."""

ModelCustomization: TypeAlias = Annotated[Literal["FINE_TUNING", "CONTINUED_PRE_TRAINING", "DISTILLATION"] | str, Enum]
"""How a model can be customised."""

InferenceType: TypeAlias = Annotated[Literal["ON_DEMAND", "PROVISIONED"] | str, Enum]
"""How a model can be called. A model that can only be called through inference profiles has other values, or none."""

InferenceProfileType: TypeAlias = Annotated[Literal["SYSTEM_DEFINED", "APPLICATION"] | str, Enum]
"""Who created an inference profile: the service, or a user of the account."""


class ListFoundationModelsRequest(WireModel):
    """The filters of ListFoundationModels, all sent in the query."""

    by_provider: str | None = None
    by_customization_type: ModelCustomization | None = None
    by_output_modality: ModelModality | None = None
    by_inference_type: InferenceType | None = None


class FoundationModelLifecycle(WireModel):
    """Whether a model is active or legacy, and when that changes."""

    status: Annotated[Literal["ACTIVE", "LEGACY"] | str, Enum] = ""
    start_of_life_time: Timestamp | None = None
    legacy_time: Timestamp | None = None
    public_extended_access_time: Timestamp | None = None
    end_of_life_time: Timestamp | None = None


class AgreementAvailability(WireModel):
    """Whether the account has agreed to the model's terms; ``error_message`` describes a failure."""

    status: Annotated[Literal["AVAILABLE", "PENDING", "NOT_AVAILABLE", "ERROR"] | str, Enum] = ""
    error_message: str | None = None


class ModelAccess(WireModel):
    """Whether the account may use a model in the client's region: the response of GetFoundationModelAvailability."""

    model_id: str = ""
    agreement_availability: AgreementAvailability | None = None
    authorization_status: Annotated[Literal["AUTHORIZED", "NOT_AUTHORIZED"] | str, Enum] = ""
    entitlement_availability: Annotated[Literal["AVAILABLE", "NOT_AVAILABLE"] | str, Enum] = ""
    region_availability: Annotated[Literal["AVAILABLE", "NOT_AVAILABLE"] | str, Enum] = ""

    @property
    def granted(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

    @property
    def missing(self) -> tuple[str, ...]:
        """What the account lacks to use the model: of agreement, authorization, entitlement and region."""
        agreement = self.agreement_availability.status if self.agreement_availability is not None else ""
        found = {
            "agreement": agreement == "AVAILABLE",
            "authorization": self.authorization_status == "AUTHORIZED",
            "entitlement": self.entitlement_availability == "AVAILABLE",
            "region": self.region_availability == "AVAILABLE",
        }
        return tuple(name for name, there in found.items() if not there)


class FoundationModel(WireModel):
    """A model that is offered in the region."""

    model_arn: str = ""
    model_id: str = ""
    model_name: str | None = None
    provider_name: str | None = None
    input_modalities: List[ModelModality] | None = None
    output_modalities: List[ModelModality] | None = None
    response_streaming_supported: bool | None = None
    customizations_supported: List[ModelCustomization] | None = None
    inference_types_supported: List[InferenceType] | None = None
    model_lifecycle: FoundationModelLifecycle | None = None

    _access: ModelAccess | None = PrivateAttr(default=None)

    @property
    def access(self) -> ModelAccess | None:
        """Whether the account may use the model; None if it was not requested, or the service cannot tell."""
        return self._access

    def with_access(self, access: ModelAccess | None) -> FoundationModel:
        """Return this model with ``access``; the other members are shared, not copied."""
        model = self.model_copy()
        model._access = access  # noqa: SLF001 - of this class
        return model


class FoundationModelList(WireModel):
    """The response of ListFoundationModels."""

    model_summaries: List[FoundationModel] | None = None


class ListInferenceProfilesRequest(WireModel):
    """The parameters of ListInferenceProfiles, all sent in the query."""

    type_equals: InferenceProfileType | None = None
    max_results: int | None = None
    next_token: str | None = None


class InferenceProfileModel(WireModel):
    """A model that a profile routes to: the ARN of a foundation model in one of the profile's regions."""

    model_arn: str | None = None


class InferenceProfile(WireModel):
    """An inference profile: the response of GetInferenceProfile, and an item of ListInferenceProfiles.

    Calls accept ``inference_profile_id`` or ``inference_profile_arn`` as their model.
    """

    inference_profile_name: str = ""
    inference_profile_arn: str = ""
    inference_profile_id: str = ""
    description: str | None = None
    models: List[InferenceProfileModel] = ()
    type: InferenceProfileType = ""
    status: Annotated[Literal["ACTIVE"] | str, Enum] = ""
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None


class InferenceProfilePage(WireModel):
    """A page of ListInferenceProfiles; ``next_token`` is None on the last page."""

    inference_profile_summaries: List[InferenceProfile] | None = None
    next_token: str | None = None
