"""The reference service models, which define every operation, member and constraint.

They are copies of the newest bedrock-runtime model and of the operations of the control plane (bedrock) that inference
needs, without documentation text, written by ``scripts/refresh_service_model.py``. So the emulator does not depend on
the installed version of botocore, which only interprets them.
"""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError

if TYPE_CHECKING:
    from botocore.model import ServiceModel

__all__ = ["control_plane_model", "reference_version", "service_model"]


@functools.cache
def _document(name: str = "service_model.json") -> dict[str, Any]:
    document: dict[str, Any] = json.loads(files("bedrock_async.testing").joinpath(name).read_bytes())
    return document


def reference_version() -> str:
    """Return the version of botocore that the reference model was taken from."""
    version: str = _document()["source"]["botocore"]
    return version


@functools.cache
def service_model() -> ServiceModel:
    """Return the reference model as a botocore ServiceModel, read from the package once.

    The first call reads 60 kB and imports botocore.model: with an event loop, call it in a worker thread. Raises
    MissingExtraError when botocore is not installed.
    """
    return _read(_document(), "bedrock-runtime")


@functools.cache
def control_plane_model() -> ServiceModel:
    """Return the reference model of the control plane's operations; otherwise like `service_model`."""
    return _read(_document("control_plane_model.json"), "bedrock")


def _read(document: dict[str, Any], service: str) -> ServiceModel:
    try:
        from botocore.model import ServiceModel
    except ImportError as exc:
        raise MissingExtraError(
            "The emulator needs botocore, which is not installed.",
            hint='Install it with: pip install "bedrock-async[testing]"',
        ) from exc
    return ServiceModel(document, service)
