"""Model identifiers: foundation models, inference profiles and every kind of Bedrock ARN."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import quote

from ._error import BedrockError

ModelKind = Literal[
    "foundation-model",
    "inference-profile",
    "application-inference-profile",
    "provisioned-model",
    "custom-model",
    "custom-model-deployment",
    "imported-model",
    "prompt-router",
    "prompt",
    "endpoint",
    "unknown",
]

# Geography prefixes of system inference profiles. A prefix that is not listed is still read as one when a vendor
# follows it (``mars.anthropic.claude...``), so that a new geography works on its first day.
GEOGRAPHIES: Final = frozenset({"us", "us-gov", "eu", "apac", "jp", "au", "in", "sa", "ca", "global"})

VENDORS: Final = frozenset(
    {
        "ai21",
        "amazon",
        "anthropic",
        "cohere",
        "deepseek",
        "google",
        "luma",
        "meta",
        "minimax",
        "mistral",
        "moonshot",
        "moonshotai",
        "nvidia",
        "openai",
        "qwen",
        "stability",
        "twelvelabs",
        "writer",
        "xai",
        "zai",
    }
)

_MAX_LENGTH: Final = 2048
_ARN_KINDS: Final[dict[str, ModelKind]] = {
    "foundation-model": "foundation-model",
    "inference-profile": "inference-profile",
    "application-inference-profile": "application-inference-profile",
    "provisioned-model": "provisioned-model",
    "custom-model": "custom-model",
    "custom-model-deployment": "custom-model-deployment",
    "imported-model": "imported-model",
    "prompt-router": "prompt-router",
    "default-prompt-router": "prompt-router",
    "prompt": "prompt",
}
_SERVICES: Final[dict[str, dict[str, ModelKind]]] = {"bedrock": _ARN_KINDS, "sagemaker": {"endpoint": "endpoint"}}
_VERSION: Final = re.compile(r"[-.](v\d+(?::\d+)?(?::\d+k|:mm)?|\d+:\d+)$")
_BAD_CHARACTER: Final = re.compile(r"[^!-~]")
_ACCOUNT: Final = re.compile(r"(?:[0-9]{12})?")  # foundation models belong to no account


class InvalidModelIdError(BedrockError, ValueError):
    """The model id cannot be one: empty, of the wrong type, with blanks, or a malformed ARN."""


@dataclass(frozen=True, slots=True)
class ModelId:
    """A model identifier, taken apart.

    ``raw`` is what the caller gave and what is sent. ``vendor`` (``"anthropic"``), ``base_model``
    (``"anthropic.claude-sonnet-4-5-20250929-v1:0"``, without geography) and ``version`` (``"v1:0"``, of a prompt its
    number) are None where the id does not tell, as for the opaque id of an application inference profile. ``region``,
    ``account`` and ``partition`` come from ARNs only; default prompt routers are prompt routers too.
    """

    raw: str
    kind: ModelKind
    resource: str
    vendor: str | None = None
    base_model: str | None = None
    version: str | None = None
    geography: str | None = None
    region: str | None = None
    account: str | None = None
    partition: str | None = None

    @property
    def quoted(self) -> str:
        """The id as one segment of a path, quoted as botocore quotes it (``:`` and ``/`` too)."""
        return _quoted(self.raw)

    def __str__(self) -> str:
        """Return the id as the caller gave it."""
        return self.raw


@lru_cache(maxsize=1024)
def _quoted(raw: str) -> str:
    return quote(raw, safe="-._~")


def parse_model_id(model: object) -> ModelId:
    """Take a model id or ARN apart. Raises InvalidModelIdError; an id of an unknown vendor is not an error."""
    if not isinstance(model, str):
        raise InvalidModelIdError(
            f"the model id is {'None' if model is None else 'of type ' + type(model).__name__}, not text.",
            hint='Pass an id such as "us.amazon.nova-lite-v1:0", or default_model(client.region).',
        )
    return _parse(model)


@lru_cache(maxsize=512)
def _parse(model: str) -> ModelId:
    if not model:
        raise InvalidModelIdError("the model id is empty.", hint="Pass the id of a model, a profile, or an ARN.")
    if len(model) > _MAX_LENGTH:
        raise InvalidModelIdError(
            f"the model id has {len(model)} characters; {_MAX_LENGTH} are allowed.",
            hint="Pass the id of a model, a profile, or an ARN; the question is the second argument.",
        )
    if found := _BAD_CHARACTER.search(model):
        raise InvalidModelIdError(
            f"the model id {model!r} has a blank or another invalid character at position {found.start()}.",
            hint="Remove it; ids have letters, digits and - . _ : / only.",
        )
    if model.startswith("arn:"):
        return _parse_arn(model)
    geography, vendor, base_model = _split(model)
    return ModelId(
        raw=model,
        kind="inference-profile" if geography else "foundation-model" if vendor else "unknown",
        resource=model,
        vendor=vendor,
        base_model=base_model,
        version=_version(base_model),
        geography=geography,
    )


def _split(model: str) -> tuple[str | None, str | None, str | None]:
    """Return geography, vendor and base model of an id that is no ARN."""
    first, dot, rest = model.partition(".")
    if not dot:
        return None, None, None
    second, second_dot, _ = rest.partition(".")
    if first in GEOGRAPHIES or (second_dot and second in VENDORS and first not in VENDORS):
        return first, second if second_dot else None, rest
    return None, first, model


def _version(base_model: str | None) -> str | None:
    found = _VERSION.search(base_model or "")
    return found[1] if found else None


def _parse_arn(arn: str) -> ModelId:
    parts = arn.split(":", 5)
    hint = "An ARN looks like arn:aws:bedrock:<region>:<account>:<kind>/<id>."
    if len(parts) != 6:
        raise InvalidModelIdError(f"the ARN {arn!r} has {len(parts)} of 6 parts.", hint=hint)
    _, partition, service, region, account, resource = parts
    name, slash, resource_id = resource.partition("/")
    if not partition.startswith("aws") or not region or not slash or not resource_id:
        raise InvalidModelIdError(f"the ARN {arn!r} lacks a partition, region or resource id.", hint=hint)
    kinds = _SERVICES.get(service)
    if kinds is None:
        raise InvalidModelIdError(f"the ARN {arn!r} belongs to the service {service!r}, not to bedrock.", hint=hint)
    if not _ACCOUNT.fullmatch(account):
        raise InvalidModelIdError(f"the ARN {arn!r} has the account {account!r}; an account has 12 digits.", hint=hint)
    kind = kinds.get(name)
    if kind is None:
        raise InvalidModelIdError(
            f"the ARN {arn!r} names a {name!r}, which is not a model of {service}.",
            hint=f"Models are: {', '.join(sorted(kinds))}.",
        )
    geography = vendor = base_model = None
    if kind in {"foundation-model", "inference-profile", "custom-model"}:
        geography, vendor, base_model = _split(resource_id.partition("/")[0])
    version = resource_id.partition(":")[2] or None if kind == "prompt" else _version(base_model)
    return ModelId(
        raw=arn,
        kind=kind,
        resource=resource_id,
        vendor=vendor,
        base_model=base_model,
        version=version,
        geography=geography,
        region=region,
        account=account or None,
        partition=partition,
    )


__all__ = ["GEOGRAPHIES", "VENDORS", "InvalidModelIdError", "ModelId", "ModelKind", "parse_model_id"]
