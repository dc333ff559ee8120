"""The emulator's control plane: which models and inference profiles there are, and who may use them.

Its routes and shapes come from a second reference model, and its responses from the models that are served and the
`EmulatorAccount`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

from ..errors import ServiceError, service_error
from ..model_id import ModelId, parse_model_id
from ..types import JSONValue
from .account import EmulatorAccount, parsed_or_none, partition_of
from .answers import HttpAnswer
from .frames import wire_json
from .received import ReceivedRequest
from .validation import Route, read_request

__all__ = ["ControlPlane"]

Members: TypeAlias = dict[str, JSONValue]
Operation: TypeAlias = Callable[["ControlPlane", Mapping[str, str], Mapping[str, str]], Members]

_MOST_RESULTS: Final = 1000
_MOST_MODELS: Final = 5
_CREATED: Final = "2025-01-01T00:00:00Z"
_PROVIDERS: Final[Mapping[str, str]] = {
    "ai21": "AI21 Labs",
    "deepseek": "DeepSeek",
    "mistral": "Mistral AI",
    "moonshotai": "Moonshot AI",
    "openai": "OpenAI",
    "stability": "Stability AI",
    "twelvelabs": "TwelveLabs",
    "zai": "Z.AI",
}
# Where the profiles of a geography route to: some of the regions of the service's own profiles.
_REGIONS: Final[Mapping[str, Sequence[str]]] = {
    "us": ("us-east-1", "us-east-2", "us-west-2"),
    "us-gov": ("us-gov-east-1", "us-gov-west-1"),
    "eu": ("eu-central-1", "eu-north-1", "eu-west-1", "eu-west-3"),
    "apac": ("ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2"),
    "jp": ("ap-northeast-1", "ap-northeast-3"),
    "au": ("ap-southeast-2", "ap-southeast-4"),
    "ca": ("ca-central-1", "ca-west-1"),
}


class ControlPlane:
    """The control plane of one emulator; call `load` before the first request."""

    def __init__(self, account: EmulatorAccount, region: str, model_ids: Iterable[str]) -> None:
        self._account = account
        self._region = region
        self._partition = partition_of(region)
        self._routes: tuple[Route, ...] = ()
        served = [model for model_id in model_ids if (model := parsed_or_none(model_id)) is not None]
        self._served = served
        profiles: dict[str, tuple[str, ...]] = {
            model.raw: (model.base_model,) for model in served if model.geography and model.base_model
        }
        for profile in account.inference_profiles:
            profiles[profile] = account.models_behind(parse_model_id(profile))
        bases = [*(model.base_model for model in served), *account.foundation_models]
        bases += [base for behind in profiles.values() for base in behind]
        on_demand = {model.raw for model in served}
        self._models = {base: self._model(base, on_demand=base in on_demand) for base in bases if base}
        self._profiles = {name: self._profile(parse_model_id(name), behind) for name, behind in profiles.items()}

    def load(self) -> None:
        """Read the reference model. Takes milliseconds and imports botocore: call it in a worker thread."""
        from .service_model import control_plane_model

        model = control_plane_model()
        self._routes = tuple(Route(model.operation_model(name)) for name in model.operation_names)

    def behind(self, model: ModelId) -> list[str]:
        """Return the ids under which the emulator serves the models behind a profile of the account."""
        bases = self._account.models_behind(model)
        return [*bases, *(served.raw for served in self._served if served.base_model in bases)]

    def answer(self, received: ReceivedRequest, check: Callable[[ReceivedRequest], None]) -> HttpAnswer | None:
        """Return the response to a control plane request, None for any other request.

        ``check`` is called with the request once its operation is known. Raises ServiceError.
        """
        for route in self._routes:
            labels = route.match(received.method, received.path)
            if labels is None:
                continue
            received.operation = route.operation.name
            check(received)
            read_request(route.operation, received, labels)
            query = dict(parse_qsl(received.query, keep_blank_values=True))
            members = _OPERATIONS[route.operation.name](self, labels, query)
            headers = {"content-type": "application/json", "x-amzn-requestid": received.request_id}
            return HttpAnswer(200, wire_json(members), headers)
        return None

    # The operations.

    def list_foundation_models(self, labels: Mapping[str, str], query: Mapping[str, str]) -> Members:
        """Return the models that pass every filter."""
        wanted = {
            "outputModalities": query.get("byOutputModality"),
            "inferenceTypesSupported": query.get("byInferenceType"),
            "customizationsSupported": query.get("byCustomizationType"),
        }
        provider = query.get("byProvider", "").lower()
        found: list[JSONValue] = []
        for summary in self._models.values():
            if provider and str(summary["providerName"]).lower() != provider:
                continue
            if all(value is None or value in _texts(summary.get(member)) for member, value in wanted.items()):
                found.append(summary)
        return {"modelSummaries": found}

    def get_availability(self, labels: Mapping[str, str], query: Mapping[str, str]) -> Members:
        """Return whether the account has access to a model."""
        model_id = labels["modelId"]
        if model_id not in self._models:
            raise _missing(f"The model {model_id} could not be found.")
        agreed = model_id not in self._account.without_access
        return {
            "modelId": model_id,
            "agreementAvailability": {"status": "AVAILABLE" if agreed else "NOT_AVAILABLE"},
            "authorizationStatus": "AUTHORIZED",
            "entitlementAvailability": "AVAILABLE" if agreed else "NOT_AVAILABLE",
            "regionAvailability": "AVAILABLE",
        }

    def list_inference_profiles(self, labels: Mapping[str, str], query: Mapping[str, str]) -> Members:
        """Return a page of the profiles."""
        kind = query.get("type")
        found = [profile for profile in self._profiles.values() if kind is None or kind == profile["type"]]
        start = _offset(query.get("nextToken"), len(found))
        size = min(_results(query.get("maxResults")), self._account.page_size)
        page: Members = {"inferenceProfileSummaries": [*found[start : start + size]]}
        if start + size < len(found):
            page["nextToken"] = f"offset-{start + size}"
        return page

    def get_inference_profile(self, labels: Mapping[str, str], query: Mapping[str, str]) -> Members:
        """Return one profile, by its id or ARN."""
        identifier = labels["inferenceProfileIdentifier"]
        for name, profile in self._profiles.items():
            if identifier in (name, profile["inferenceProfileArn"]):
                return profile
        raise _missing(f"The inference profile {identifier} could not be found.")

    # The data.

    def _model(self, base: str, *, on_demand: bool) -> Members:
        vendor, _, name = base.partition(".")
        summary: Members = {
            "modelArn": self._model_arn(base, self._region),
            "modelId": base,
            "modelName": name[:20],
            "providerName": _PROVIDERS.get(vendor, vendor.title()),
            "inputModalities": ["TEXT"],
            "outputModalities": ["TEXT"],
            "responseStreamingSupported": True,
            "customizationsSupported": [],
            # What the service reports for models that can only be called through profiles; its service model lacks the
            # value.
            "inferenceTypesSupported": ["ON_DEMAND" if on_demand else "INFERENCE_PROFILE"],
            "modelLifecycle": {"status": "ACTIVE"},
        }
        return {**summary, **self._account.foundation_models.get(base, {})}

    def _profile(self, profile: ModelId, behind: Sequence[str]) -> Members:
        system = profile.geography is not None
        kind = "inference-profile" if system else "application-inference-profile"
        models: list[JSONValue] = [
            {"modelArn": self._model_arn(base, region)}
            for base in behind
            for region in self._destinations(profile.geography)
        ]
        return {
            "inferenceProfileName": re.sub(r"[^0-9A-Za-z]+", " ", profile.raw).strip()[:64],
            "inferenceProfileArn": (
                f"arn:{self._partition}:bedrock:{self._region}:{self._account.account_id}:{kind}/{profile.raw}"
            ),
            "inferenceProfileId": profile.raw,
            "models": models[:_MOST_MODELS],
            "type": "SYSTEM_DEFINED" if system else "APPLICATION",
            "status": "ACTIVE",
            "createdAt": _CREATED,
            "updatedAt": _CREATED,
        }

    def _destinations(self, geography: str | None) -> Sequence[str]:
        if geography == "global":
            # A global profile has a second ARN, without a region, for any other region that a request may go to.
            return (self._region, "")
        return _REGIONS.get(geography or "", (self._region,))

    def _model_arn(self, base: str, region: str) -> str:
        return f"arn:{self._partition}:bedrock:{region}::foundation-model/{base}"


_OPERATIONS: Final[Mapping[str, Operation]] = {
    "GetFoundationModelAvailability": ControlPlane.get_availability,
    "GetInferenceProfile": ControlPlane.get_inference_profile,
    "ListFoundationModels": ControlPlane.list_foundation_models,
    "ListInferenceProfiles": ControlPlane.list_inference_profiles,
}


def _texts(value: JSONValue) -> list[JSONValue]:
    return value if isinstance(value, list) else []


def _offset(token: str | None, count: int) -> int:
    if token is None:
        return 0
    found = re.fullmatch(r"offset-([0-9]{1,9})", token)
    if found is None or int(found[1]) >= count:
        raise service_error("ValidationException", "The nextToken is invalid or has expired.")
    return int(found[1])


def _results(text: str | None) -> int:
    if text is None:
        return _MOST_RESULTS
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= _MOST_RESULTS:
        raise service_error(
            "ValidationException",
            f"1 validation error detected: Value '{text}' at 'maxResults' failed to satisfy constraint: Member must "
            f"have value between 1 and {_MOST_RESULTS}",
        )
    return int(text)


def _missing(message: str) -> ServiceError:
    return service_error("ResourceNotFoundException", message)
