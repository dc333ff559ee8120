"""Embedding models for the emulator: the native bodies of Titan, Nova and Cohere, around an embedding function.

::

    async with BedrockEmulator([EmbeddingModel(), ScriptedModel.text("hello")]) as emulator: ...

By default, vectors are made of hashed words: equal on every machine, and similar for texts that share words.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, TypeAlias, cast

from ..errors import BedrockError
from ..families import EmbeddingFacts, find_profile
from ..model_id import parse_model_id
from ..types import JSONValue
from .answers import HttpAnswer, Output
from .embedding_bodies import EMBEDDING_MODEL_IDS, check_tokens, fitted, malformed, read_body, refused
from .frames import WireEvent, wire_json
from .received import ReceivedRequest

__all__ = ["EmbeddedText", "Embedder", "EmbeddingModel", "hashed_words"]

_WORDS: Final = re.compile(r"\w+")
_HASHED: Final = 256


@dataclass(frozen=True, slots=True)
class EmbeddedText:
    """The vector of a text, of any length, and the number of its tokens."""

    vector: Sequence[float]
    tokens: int


Embedder: TypeAlias = Callable[[Sequence[str]], Awaitable[Sequence[EmbeddedText]]]
"""Returns a vector for each text."""


async def hashed_words(texts: Sequence[str]) -> list[EmbeddedText]:
    """Return vectors in which each word adds to or subtracts from one of 256 numbers: no model, and no randomness."""
    return [_hashed(text) for text in texts]


def _hashed(text: str) -> EmbeddedText:
    words = _WORDS.findall(text.lower()) or [text]
    vector = [0.0] * _HASHED
    for word in words:
        place, sign = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=2).digest()
        vector[place] += 1.0 if sign & 1 else -1.0
    return EmbeddedText(vector, len(words))


class EmbeddingModel:
    """Answers InvokeModel as embedding models of Amazon and Cohere do, with vectors from ``embed``.

    Vectors are fitted to the requested length, or the model's default: longer ones are folded, which keeps similar
    vectors similar, and shorter ones padded with zeros, which preserves angles. A text with more tokens than the model
    accepts is refused, unless the request asks for truncation: then the whole text is used. Other operations, media,
    and members unknown to the model are refused.
    """

    def __init__(self, embed: Embedder = hashed_words, *, model_ids: Sequence[str] = EMBEDDING_MODEL_IDS) -> None:
        self.model_ids = model_ids
        self._embed = embed

    async def steps(self, request: ReceivedRequest) -> AsyncGenerator[Output]:
        """Yield the native response, with the token count in a header. Raises ServiceError."""
        if request.operation != "InvokeModel":
            raise _invoke_only()
        answer, tokens = await self._answer(request.model_id, request.body)
        headers = {
            "content-type": "application/json",
            "x-amzn-requestid": request.request_id,
            "x-amzn-bedrock-input-token-count": str(tokens),
        }
        yield HttpAnswer(200, wire_json(answer), headers)

    async def invoke(self, body: bytes) -> bytes:
        """Answer a native body in its own dialect. Raises ServiceError."""
        return wire_json((await self._answer(None, body))[0])

    # Not async, so that they fail when called.

    def invoke_stream(self, body: bytes) -> AsyncIterator[bytes]:
        """Refuse. Raises ServiceError."""
        raise _invoke_only()

    def converse_stream(self, request: Mapping[str, JSONValue]) -> AsyncIterator[WireEvent]:
        """Refuse. Raises ServiceError."""
        raise _invoke_only()

    async def count_tokens(self, request: Mapping[str, JSONValue]) -> int:
        """Refuse. Raises ServiceError."""
        raise _invoke_only()

    async def aclose(self) -> None:
        """Do nothing: the embedding function belongs to the caller."""

    async def _answer(self, model_id: str | None, raw: bytes) -> tuple[dict[str, JSONValue], int]:
        try:
            body: Any = json.loads(raw)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise malformed("expected type: JSONObject")
        base_model = (parse_model_id(model_id).base_model or "") if model_id else ""
        facts = find_profile(base_model).embedding or EmbeddingFacts()
        asked = read_body(base_model, cast("dict[str, Any]", body), facts)
        embedded = await self._embed(asked.texts)
        if not asked.truncates:
            for each in embedded:
                check_tokens(each.tokens, facts.max_tokens)
        size = asked.dimensions or max(facts.dimensions, default=0)
        vectors = [fitted(each.vector, size, unit=asked.unit) for each in embedded]
        tokens = sum(each.tokens for each in embedded)
        return asked.answer(vectors, tokens), tokens


def _invoke_only() -> BedrockError:
    # No such refusal was recorded: the message is ours, the code is the service's for unsupported requests.
    return refused("This model makes embeddings; it supports InvokeModel only.")
