"""Geographies: which inference profiles a region can use, and the default model of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, cast

from ._error import a_kind
from .errors import InvalidRequestError
from .known_models import KnownModelId

__all__ = ["DEFAULT_MODELS", "default_model", "geography_of"]

DEFAULT_MODELS: Final[Mapping[str, KnownModelId]] = MappingProxyType(
    {
        "us": "us.anthropic.claude-sonnet-4-6",
        "us-gov": "us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "eu": "eu.anthropic.claude-sonnet-4-6",
        "apac": "apac.anthropic.claude-sonnet-4-6",
        "jp": "jp.anthropic.claude-sonnet-4-6",
        "au": "au.anthropic.claude-sonnet-4-6",
        "in": "in.anthropic.claude-sonnet-5",
        "ca": "ca.amazon.nova-lite-v1:0",
        "global": "global.anthropic.claude-sonnet-4-6",
    }
)
"""The inference profile that `default_model` chooses for each geography.

Claude Sonnet 4.6, as in Strands Agents 1.62; where a geography has no profile of it, the nearest model that has one.
"""

# First match wins. A geography within Asia and Pacific goes before "apac"; regions whose continent has no profiles of
# its own (South America, Middle East, Africa, Mexico) have the global ones. Partitions without any profile (China,
# the isolated ones, the European sovereign cloud) are in no row.
_GEOGRAPHIES: Final = tuple(
    (re.compile(regions, re.ASCII), geography)
    for regions, geography in (
        (r"us-gov-[a-z]+-\d+", "us-gov"),
        (r"us-(?!iso)[a-z]+-\d+", "us"),
        (r"eu-(?!iso)[a-z]+-\d+", "eu"),
        (r"ap-northeast-[13]", "jp"),
        (r"ap-southeast-[24]", "au"),
        (r"ap-south-[12]", "in"),
        (r"ap-[a-z]+-\d+", "apac"),
        (r"ca-[a-z]+-\d+", "ca"),
        (r"(?:af|il|me|mx|sa)-[a-z]+-\d+", "global"),
    )
)


def geography_of(region: str) -> str:
    """Return the prefix of the inference profiles that are nearest to a region: ``"eu"``, ``"jp"``, ``"global"``...

    Raises InvalidRequestError for a region of which no profile is known.
    """
    if not isinstance(cast("object", region), str):
        raise InvalidRequestError(f"the region is {a_kind(region)}, not text.", path="region", hint='Pass "us-east-1".')
    for regions, geography in _GEOGRAPHIES:
        if regions.fullmatch(region):
            return geography
    raise InvalidRequestError(
        f"no inference profile is known for the region {region!r}.",
        path="region",
        hint="Pass the id of a model that this region offers; client.list_models() lists them.",
    )


def default_model(region: str) -> KnownModelId:
    """Return a capable model for a region: an inference profile of the region's own geography.

    Requests stay within that geography; in regions without one (South America, Middle East, Africa, Mexico) the profile
    is a global one, and requests may be processed anywhere. The choice may change with any release: pass an id of your
    own if that matters. Nothing is asked over the network; `BedrockClient.list_inference_profiles` tells what the
    account really has. Raises InvalidRequestError for a region of which no profile is known (China, isolated
    partitions, a misspelt name).
    """
    return DEFAULT_MODELS[geography_of(region)]
