"""The reference service model: what the service's own model says of every operation, member and constraint.

It is a copy of the newest bedrock-runtime model without its documentation text, written by
``scripts/refresh_service_model.py``, so that what the emulator knows does not depend on the botocore that happens to
be installed. botocore itself only interprets it.
"""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError

if TYPE_CHECKING:
    from botocore.model import ServiceModel

__all__ = ["reference_version", "service_model"]


@functools.cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(files("bedrock_async.testing").joinpath("service_model.json").read_bytes())
    return document


def reference_version() -> str:
    """Return the version of botocore that the reference model was taken from."""
    version: str = _document()["source"]["botocore"]
    return version


@functools.cache
def service_model() -> ServiceModel:
    """Return the reference model as a botocore ServiceModel, read from the package once.

    The first call reads 60 kB and imports botocore.model: call it in a worker thread where an event loop runs.
    Raises MissingExtraError when botocore is not installed.
    """
    try:
        from botocore.model import ServiceModel
    except ImportError as exc:
        raise MissingExtraError(
            "The emulator needs botocore, which is not installed.",
            hint='Install it with: pip install "bedrock-async[testing]"',
        ) from exc
    return ServiceModel(_document(), "bedrock-runtime")
