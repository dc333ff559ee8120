"""``bedrock-async models``: the models and inference profiles of a region, and whether the account may use them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..client import BedrockClient
from ..providers.control_plane import base_models
from ..types import FoundationModel, InferenceProfile, JSONValue, ModelAccess
from .console import show_note, show_table
from .loop import CommandLoop

__all__ = ["ListingOptions", "models"]

_HEADER: Final = ("id", "kind", "name", "provider", "input", "output", "status", "access")
_STYLES: Final = {"granted": "green"}
_KINDS: Final[Mapping[str, str]] = {"SYSTEM_DEFINED": "profile", "APPLICATION": "application profile"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingOptions:
    """The command line options for the list."""

    provider: str | None = None
    modality: str | None = None
    inference: str | None = None
    models: bool = True
    profiles: bool = True
    access: bool = False
    as_json: bool = False
    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None

    @property
    def filtered(self) -> bool:
        """Whether some of the models are filtered out."""
        return (self.provider, self.modality, self.inference) != (None, None, None)


@dataclass(frozen=True, slots=True)
class _Listed:
    """A model, or a profile with the listed models behind it."""

    item: FoundationModel | InferenceProfile
    behind: Sequence[FoundationModel]

    @property
    def access(self) -> Sequence[ModelAccess]:
        """The known access of the account to the models behind it."""
        return [model.access for model in self.behind if model.access is not None]


def models(options: ListingOptions) -> None:
    """Write the list to stdout: in columns, or as one line of JSON per item. Raises BedrockError."""
    with CommandLoop() as loop:
        listed = loop.run(_listed(options))
    if options.as_json:
        for each in listed:
            sys.stdout.write(json.dumps(_wire(each)) + "\n")
    elif listed:
        show_table(_HEADER, [_row(each, asked=options.access) for each in listed], _STYLES)
    else:
        show_note("There is none.")
    sys.stdout.flush()


async def _listed(options: ListingOptions) -> list[_Listed]:
    async with BedrockClient(
        region=options.region, profile=options.profile, endpoint_url=options.endpoint_url
    ) as client:
        found = await client.list_models(
            provider=options.provider,
            output_modality=options.modality,
            inference_type=options.inference,
            access=options.access,
        )
        listed = [_Listed(model, [model]) for model in found] if options.models else []
        if options.profiles:
            by_id = {model.model_id: model for model in found}
            for profile in await client.list_inference_profiles():
                behind = [by_id[base.raw] for base in base_models(profile) if base.raw in by_id]
                if behind or not options.filtered:
                    listed.append(_Listed(profile, behind))
    return listed


def _wire(listed: _Listed) -> dict[str, JSONValue]:
    item = listed.item
    access: list[JSONValue] = [{**each.to_wire()} for each in listed.access]
    return {"kind": _kind(item), **item.to_wire(), **({"access": access} if access else {})}


def _row(listed: _Listed, *, asked: bool) -> tuple[str, ...]:
    item, behind = listed.item, listed.behind
    if isinstance(item, FoundationModel):
        status = item.model_lifecycle.status if item.model_lifecycle is not None else ""
        name, identifier = item.model_name or "", item.model_id
    else:
        name, identifier, status = item.inference_profile_name, item.inference_profile_id, item.status
    return (
        identifier,
        _kind(item),
        name,
        _joined(model.provider_name or "" for model in behind),
        _joined(modality for model in behind for modality in model.input_modalities or ()),
        _joined(modality for model in behind for modality in model.output_modalities or ()),
        status,
        _access(listed) if asked else "not asked",
    )


def _kind(item: FoundationModel | InferenceProfile) -> str:
    return "model" if isinstance(item, FoundationModel) else _KINDS.get(item.type, item.type or "profile")


def _joined(texts: Iterable[str]) -> str:
    return ",".join(dict.fromkeys(filter(None, texts)))


def _access(listed: _Listed) -> str:
    if not listed.access:
        return "unknown"
    missing = _joined(name for access in listed.access for name in access.missing)
    return f"lacks {missing}" if missing else "granted"
