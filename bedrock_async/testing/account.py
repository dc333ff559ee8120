"""The AWS account that the emulator simulates: its inference profiles, and what it may not do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from ..errors import InvalidModelIdError, service_error
from ..iam import ACTIONS
from ..model_id import ModelId, parse_model_id
from ..types import JSONValue
from .received import ReceivedRequest

__all__ = ["EmulatorAccount", "parsed_or_none", "partition_of"]

_PARTITIONS: Final = (("us-gov-", "aws-us-gov"), ("cn-", "aws-cn"), ("eusc-", "aws-eusc"))


def partition_of(region: str) -> str:
    """Return the partition of a region, as in its ARNs."""
    return next((name for prefix, name in _PARTITIONS if region.startswith(prefix)), "aws")


def parsed_or_none(model_id: str) -> ModelId | None:
    """Return the parsed id, or None if it is invalid: the operation rejects that with its own message."""
    try:
        return parse_model_id(model_id)
    except InvalidModelIdError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorAccount:
    """What the emulator's control plane knows besides the models served, and which calls it denies.

    ``inference_profiles`` maps each profile id to the model, or models, behind it: an id with a geography
    (``us.amazon...``) is a system-defined profile, any other id an application profile; calls through either reach the
    emulator's model behind it. Profiles of models that the emulator serves under their own ids need not be listed.

    ``foundation_models`` maps model ids to further members for ListFoundationModels
    (``{"outputModalities": ["IMAGE"]}``), also for models that the emulator does not serve. The account has no access
    to the models in ``without_access``: the control plane says so, and calls are refused. ``denied_actions``
    (``"bedrock:ListFoundationModels"``) are refused as IAM refuses them. A page of a list has at most ``page_size``
    items.
    """

    account_id: str = "123456789012"
    inference_profiles: Mapping[str, str | Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))
    foundation_models: Mapping[str, Mapping[str, JSONValue]] = field(default_factory=lambda: MappingProxyType({}))
    without_access: Collection[str] = ()
    denied_actions: Collection[str] = ()
    page_size: int = 100

    def models_behind(self, model: ModelId) -> tuple[str, ...]:
        """Return the ids of the foundation models that one of the account's profiles routes to; empty for other ids."""
        behind = self.inference_profiles.get(model.resource, ())
        return (behind,) if isinstance(behind, str) else tuple(behind)

    def check(self, received: ReceivedRequest, region: str) -> None:
        """Return if the account may send this request. Raises ServiceError as IAM, or the service behind it, would."""
        action = ACTIONS.get(received.operation or "", "")
        model = None if received.model_id is None else parsed_or_none(received.model_id)
        if action in self.denied_actions:
            self._refuse(action, "" if model is None else self._arn(model, region), "identity-based")
        if model is None:
            return
        if model.account not in {None, self.account_id}:
            self._refuse(action, model.raw, "resource-based")
        if {model.raw, model.base_model, *self.models_behind(model)} & set(self.without_access):
            # [shared corpus, errors.json]
            raise service_error(
                "AccessDeniedException", "You don't have access to the model with the specified model ID."
            )

    def _refuse(self, action: str, resource: str, policy: str) -> None:
        where = f" on resource: {resource}" if resource else ""
        raise service_error(
            "AccessDeniedException",
            f"User: arn:aws:sts::{self.account_id}:assumed-role/emulator/session is not authorized to perform: "
            f"{action}{where} because no {policy} policy allows the {action} action",
        )

    def _arn(self, model: ModelId, region: str) -> str:
        if model.region is not None:
            return model.raw
        account = "" if model.kind == "foundation-model" else self.account_id
        return f"arn:{partition_of(region)}:bedrock:{region}:{account}:{model.kind}/{model.raw}"
