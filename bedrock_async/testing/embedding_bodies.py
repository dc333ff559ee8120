"""The native bodies of embedding models, read and answered as the service does. Pure.

As recorded (23 exchanges with these models, 2023-12 to 2026-01), and as documented by the vendors.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final, cast

from ..errors import BedrockError, service_error
from ..families import EmbeddingFacts
from ..types import JSONValue

__all__ = ["EMBEDDING_MODEL_IDS", "Asked", "check_tokens", "fitted", "malformed", "read_body", "refused"]

EMBEDDING_MODEL_IDS: Final = (
    "amazon.nova-2-multimodal-embeddings-v1:0",
    "amazon.titan-embed-text-v1",
    "amazon.titan-embed-text-v2:0",
    "cohere.embed-english-v3",
    "cohere.embed-multilingual-v3",
    "cohere.embed-v4:0",
)
"""The models whose native bodies are supported here; text inputs only, because embedders read nothing else."""


def fitted(vector: Sequence[float], size: int, *, unit: bool) -> list[float]:
    """Return a vector of this length (0: unchanged), and with ``unit`` of norm 1."""
    size = size or len(vector)
    resized = [0.0] * size
    for index, number in enumerate(vector):
        resized[index % size] += number
    norm = math.sqrt(math.fsum(number * number for number in resized)) if unit else 1.0
    return [number / (norm or 1.0) for number in resized]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a native body asks for, and how to answer it."""

    texts: Sequence[str]
    answer: Callable[[list[list[float]], int], dict[str, JSONValue]]
    dimensions: int | None = None
    unit: bool = True
    truncates: bool = False


def read_body(base_model: str, body: Mapping[str, Any], facts: EmbeddingFacts) -> Asked:
    """Read a body in the dialect of the model, or else in the one that it resembles. Raises ServiceError."""
    if "singleEmbeddingParams" in body or "nova" in base_model:
        return _nova(body, facts)
    if "texts" in body or "cohere" in base_model:
        return _cohere(body, facts, version_3=base_model.endswith("-v3"))
    return _titan_1(body) if base_model.endswith("-v1") else _titan_2(body, facts)


def _titan_1(body: Mapping[str, Any]) -> Asked:
    _only(body, {"inputText"})

    def answer(vectors: list[list[float]], tokens: int) -> dict[str, JSONValue]:
        return {"embedding": [*vectors[0]], "inputTextTokenCount": tokens}

    return Asked([_text(body, "inputText")], answer, unit=False)


def _titan_2(body: Mapping[str, Any], facts: EmbeddingFacts) -> Asked:
    _only(body, {"inputText", "dimensions", "normalize", "embeddingTypes"})
    kinds: Sequence[str] = body.get("embeddingTypes") or ["float"]

    def answer(vectors: list[list[float]], tokens: int) -> dict[str, JSONValue]:
        made = {kind: _typed(vectors[0], kind) for kind in kinds}
        answered: dict[str, JSONValue] = {"embeddingsByType": {**made}, "inputTextTokenCount": tokens}
        return {"embedding": made["float"], **answered} if "float" in made else answered

    dimensions = _dimensions(body.get("dimensions"), "dimensions", facts)
    return Asked([_text(body, "inputText")], answer, dimensions, unit=body.get("normalize", True) is not False)


def _nova(body: Mapping[str, Any], facts: EmbeddingFacts) -> Asked:
    _only(body, {"schemaVersion", "taskType", "singleEmbeddingParams"})
    params: object = body.get("singleEmbeddingParams")
    if body.get("taskType") != "SINGLE_EMBEDDING" or not isinstance(params, Mapping):
        raise malformed("taskType SINGLE_EMBEDDING with singleEmbeddingParams is required")
    members = cast("Mapping[str, Any]", params)
    if not members.get("embeddingPurpose"):
        raise malformed("singleEmbeddingParams.embeddingPurpose is required")
    text: object = members.get("text")
    if not isinstance(text, Mapping):
        raise malformed("singleEmbeddingParams.text is required: this model reads text only")
    given = cast("Mapping[str, Any]", text)

    def answer(vectors: list[list[float]], _tokens: int) -> dict[str, JSONValue]:
        return {"embeddings": [{"embeddingType": "TEXT", "embedding": [*vectors[0]]}]}

    return Asked(
        [_text(given, "value")],
        answer,
        _dimensions(members.get("embeddingDimension"), "embeddingDimension", facts),
        truncates=given.get("truncationMode", "NONE") != "NONE",
    )


_COHERE_3: Final = frozenset({"texts", "images", "input_type", "truncate", "embedding_types"})
_COHERE_4: Final = _COHERE_3 | {"inputs", "max_tokens", "output_dimension"}


def _cohere(body: Mapping[str, Any], facts: EmbeddingFacts, *, version_3: bool) -> Asked:
    _only(body, _COHERE_3 if version_3 else _COHERE_4)
    if not body.get("input_type"):
        raise malformed("required key [input_type] not found")
    texts = _texts(body.get("texts"))
    if len(texts) > facts.max_inputs:
        raise malformed(f"#/texts: expected maximum item count: {facts.max_inputs}, found: {len(texts)}")
    kinds: Sequence[str] = body.get("embedding_types") or []
    by_type = bool(kinds) or not version_3  # version 4 returns no plain list  [corpus]

    def answer(vectors: list[list[float]], _tokens: int) -> dict[str, JSONValue]:
        made: JSONValue = [[*vector] for vector in vectors]
        if by_type:
            made = {kind: [_typed(vector, kind) for vector in vectors] for kind in kinds or ["float"]}
        form = "embeddings_by_type" if by_type else "embeddings_floats"
        return {"embeddings": made, "id": str(uuid.uuid4()), "response_type": form, "texts": [*texts]}

    dimensions = _dimensions(body.get("output_dimension"), "output_dimension", facts)
    truncates = body.get("truncate", "NONE") not in {"NONE", None}
    return Asked(texts, answer, dimensions, truncates=truncates)


def _texts(value: object) -> list[str]:
    texts = list(cast("Sequence[object]", value)) if isinstance(value, list) else []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise malformed("required key [texts] not found: this model reads text only")
    return cast("list[str]", texts)


def _typed(vector: Sequence[float], kind: str) -> list[JSONValue]:
    """Return a vector converted to another type: bits, or 8-bit integers."""
    match kind:
        case "float":
            return [*vector]
        case "binary" | "ubinary":
            return [int(number > 0) for number in vector]
        case "int8" | "uint8":
            largest = max(map(abs, vector), default=0.0) or 1.0
            return [round(127 * number / largest) + (128 if kind == "uint8" else 0) for number in vector]
        case _:
            raise malformed(f"{kind} is not a valid type of embeddings")


def _only(body: Mapping[str, Any], known: AbstractSet[str]) -> None:
    for name in body:
        if name not in known:
            raise malformed(f"extraneous key [{name}] is not permitted")


def _text(body: Mapping[str, Any], name: str) -> str:
    text: object = body.get(name)
    if not isinstance(text, str):
        raise malformed(f"required key [{name}] not found")
    if not text:
        raise malformed(f"expected minLength: 1, actual: 0 at {name}")
    return text


def _dimensions(value: object, name: str, facts: EmbeddingFacts) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or value < 1 or (facts.dimensions and value not in facts.dimensions):
        allowed = ", ".join(map(str, facts.dimensions)) or "a number from 1 on"
        raise malformed(f"{value} is not a valid value of {name}: expected {allowed}")
    return value


def check_tokens(tokens: int, most: int | None) -> None:
    """Refuse a text with more tokens than a model accepts. Raises ServiceError."""
    if most is not None and tokens > most:
        raise refused(
            f"400 Bad Request: Too many input tokens. Max input tokens: {most}, request input token count: {tokens} "
        )


def malformed(reason: str) -> BedrockError:
    """Return the error for a malformed body."""
    return refused(f"Malformed input request: {reason}, please reformat your input and try again.")


def refused(message: str) -> BedrockError:
    """Return the error for a refused request."""
    return service_error("ValidationException", message)
