"""The protocol of models that the emulator can serve, and how a plugin registers one.

Entry-point group ``bedrock_async.emulator_models``: the name is the argument of ``bedrock-async serve --model NAME``,
the object a callable without arguments (or with keyword options) that returns an `EmulatorModel`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from ..types import JSONValue

ENTRY_POINT_GROUP = "bedrock_async.emulator_models"


@runtime_checkable
class EmulatorModel(Protocol):
    """A model behind the emulator. Requests are wire JSON, already validated against the service model.

    A model refuses a request by raising `bedrock_async.errors.service_error(code, message)`; before the first event
    this becomes an HTTP error, later an exception frame in the stream.
    """

    model_ids: Sequence[str]
    """The ids of the model; the emulator also routes ids with a geography prefix (``us.``) and their ARNs to it."""

    def converse_stream(self, request: Mapping[str, JSONValue]) -> AsyncIterator[Mapping[str, JSONValue]]:
        """Yield the events of ConverseStream as one-key wire objects (``{"messageStart": {...}}``), unpadded.

        Blobs are base64. Converse returns the same events, folded. The iterator is closed (``aclose``) as soon as the
        client's connection is lost, and the model should then stop working.
        """
        ...

    async def count_tokens(self, request: Mapping[str, JSONValue]) -> int:
        """Return the number of input tokens of a Converse request (the ``converse`` member of CountTokens)."""
        ...

    async def invoke(self, body: bytes) -> bytes:
        """Return the native response body (JSON) to a native request body."""
        ...

    def invoke_stream(self, body: bytes) -> AsyncIterator[bytes]:
        """Yield the native JSON chunks of InvokeModelWithResponseStream."""
        ...

    async def aclose(self) -> None:
        """Stop, and release all resources. Idempotent."""
        ...


@runtime_checkable
class HasCompanions(Protocol):
    """An optional extension of `EmulatorModel`: further models that the emulator serves under their own ids."""

    @property
    def companions(self) -> Sequence[EmulatorModel]:
        """The further models. The emulator closes them before the model that brings them."""
        ...
