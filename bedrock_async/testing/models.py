"""The models that the emulator can serve: the protocol, and how a plugin registers one.

Entry-point group ``bedrock_async.emulator_models``: the name is what ``bedrock-async serve --model NAME`` takes,
the object a callable without arguments (or with keyword options) that returns an `EmulatorModel`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from ..types import JSONValue

ENTRY_POINT_GROUP = "bedrock_async.emulator_models"


@runtime_checkable
class EmulatorModel(Protocol):
    """A model behind the emulator. Requests are the wire JSON, already validated against the service model.

    A model refuses a request by raising `bedrock_async.errors.service_error(code, message)`; before the first
    event that becomes an HTTP error, after it an exception frame in the stream.
    """

    model_ids: Sequence[str]
    """The ids it answers to; the emulator also routes ids with a geography prefix (``us.``) and their ARNs."""

    def converse_stream(self, request: Mapping[str, JSONValue]) -> AsyncIterator[Mapping[str, JSONValue]]:
        """Yield the events of ConverseStream as one-key wire objects (``{"messageStart": {...}}``), unpadded.

        Blobs are base64. Converse answers with the same events, folded. The iterator is closed (``aclose``) as
        soon as the caller's connection goes away; the model stops its work then.
        """
        ...

    async def count_tokens(self, request: Mapping[str, JSONValue]) -> int:
        """Return the number of input tokens of a Converse request (the ``converse`` member of CountTokens)."""
        ...

    async def invoke(self, body: bytes) -> bytes:
        """Answer InvokeModel: native body in, native body out (JSON)."""
        ...

    def invoke_stream(self, body: bytes) -> AsyncIterator[bytes]:
        """Yield the native JSON chunks of InvokeModelWithResponseStream."""
        ...

    async def aclose(self) -> None:
        """Stop and free everything. Idempotent."""
        ...


@runtime_checkable
class HasCompanions(Protocol):
    """What a model may offer beside `EmulatorModel`: models that the emulator serves with it, under their own ids."""

    @property
    def companions(self) -> Sequence[EmulatorModel]:
        """The models. The emulator closes them before the one that brings them."""
        ...
