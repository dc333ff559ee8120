"""Who sharpens the hints of errors. What it knows is in `bedrock_async.features.hints`, loaded by the first error."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import msgspec

from ..errors import BedrockError, ServiceError
from ..families.profiles import ModelProfile
from ..model_id import ModelId

__all__ = ["Adviser"]


class Adviser(msgspec.Struct, frozen=True):
    """Puts a better hint on errors, for the calls of one client.

    ``facts`` are those about a base model; ``listed`` are the inference profiles that the control plane has named so
    far, by id, each with the ids of the models behind it.
    """

    region: str
    facts: Callable[[str | None], ModelProfile]
    listed: Callable[[], Mapping[str, Collection[str]]]

    def advise(self, error: BedrockError, model: ModelId | str | None, *, region: str | None = None) -> None:
        """Sharpen the hint of an error that ended a call to ``model``, and leave one alone that somebody else wrote.

        ``region`` is where the call went, when that is another one than the client's.
        """
        if isinstance(error, ServiceError):
            from .hints import sharpen

            sharpen(self, error, model, region=region or self.region)
