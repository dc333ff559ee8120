"""The emulator's embedding models answer recorded requests in the recorded form, and vectors mean something."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import pytest
from corpus import Exchange, exchanges
from official_clients import OFFICIAL_CLIENTS, Connect

from bedrock_async import NO_RETRY, BedrockClient, Credentials, ServiceError
from bedrock_async.errors import InputTooLongError, ValidationError
from bedrock_async.testing import (
    EMBEDDING_MODEL_IDS,
    BedrockEmulator,
    EmbeddedText,
    EmbeddingModel,
    EmulatorModel,
    ScriptedModel,
    hashed_words,
)
from bedrock_async.testing.embedding_bodies import fitted

TITAN: Final = "amazon.titan-embed-text-v2:0"
COHERE: Final = "cohere.embed-english-v3"
COHERE_4: Final = "cohere.embed-v4:0"
NOVA: Final = "amazon.nova-2-multimodal-embeddings-v1:0"

RECORDED: Final = [
    each
    for each in exchanges(status=200)
    if "embed" in each.model_id and each.request_body and "g1-text" not in each.model_id
]


def client(emulator: BedrockEmulator) -> BedrockClient:
    """A client of the emulator."""
    return BedrockClient(
        region="us-east-1", endpoint_url=emulator.url, credentials=Credentials("AKIDEXAMPLE", "secret"), retry=NO_RETRY
    )


def form(value: Any) -> object:  # noqa: ANN401 - JSON
    """The form of JSON: its members, the lengths of its lists of numbers, and the types of everything else."""
    if isinstance(value, Mapping):
        members = cast("Mapping[str, Any]", value)
        return {name: form(members[name]) for name in sorted(members)}
    if isinstance(value, list):
        items = cast("Sequence[Any]", value)
        return f"{len(items)} numbers" if isinstance(items[0], int | float) else [form(item) for item in items]
    return type(value).__name__


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """How near two vectors are: 1 for the same direction."""
    dot = math.fsum(a * b for a, b in zip(one, other, strict=True))
    return dot / (math.hypot(*one) * math.hypot(*other))


@pytest.mark.parametrize("exchange", RECORDED, ids=str)
async def test_recorded_requests_are_answered_in_the_recorded_form(exchange: Exchange) -> None:
    """Member by member, with vectors of the recorded length; the service's count of tokens is in a header."""
    async with BedrockEmulator([EmbeddingModel()]) as emulator, client(emulator) as bedrock:
        answer = await bedrock.invoke(exchange.model_id, exchange.request_body)
    recorded: Any = exchange.response_json
    assert form(answer.json()) == form(recorded)
    assert int(answer.headers["x-amzn-bedrock-input-token-count"]) > 0
    assert answer.meta.request_id


def test_there_are_recordings() -> None:
    """Of every dialect: an empty list would pass in silence."""
    assert {exchange.model_id.removeprefix("us.") for exchange in RECORDED} == set(EMBEDDING_MODEL_IDS)
    assert len(RECORDED) >= 15


@pytest.mark.parametrize("library", OFFICIAL_CLIENTS)
async def test_official_clients_are_served(library: str) -> None:
    """The wire is that of InvokeModel."""
    connect: Connect = OFFICIAL_CLIENTS[library]
    async with BedrockEmulator([EmbeddingModel()]) as emulator, connect(emulator.url) as official:
        answer = await official.call("invoke_model", modelId=TITAN, body=json.dumps({"inputText": "Hello."}))
        members: Any = json.loads(answer["body"])
    assert len(members["embedding"]) == 1024
    assert members["inputTextTokenCount"] == 1


async def test_texts_that_share_words_are_near() -> None:
    """So that a search in a test finds what it should, without a model; and it is the same on every machine."""
    cat, kitten, stock = [
        each.vector
        for each in await hashed_words(["The cat sat on the mat.", "On the mat sat a cat.", "Stock prices fell."])
    ]
    assert cosine(cat, kitten) > 0.7
    assert abs(cosine(cat, stock)) < 0.3
    assert [index for index, number in enumerate((await hashed_words(["cat"]))[0].vector) if number] == [19]


@pytest.mark.parametrize(
    ("vector", "size", "unit", "expected"),
    [
        ([3.0, 4.0], 2, True, [0.6, 0.8]),
        ([3.0, 4.0], 2, False, [3.0, 4.0]),
        ([3.0, 4.0], 3, True, [0.6, 0.8, 0.0]),
        ([1.0, 1.0, 2.0, 3.0], 2, True, [0.6, 0.8]),
        ([3.0, 4.0], 0, True, [0.6, 0.8]),
        ([0.0, 0.0], 2, True, [0.0, 0.0]),
    ],
)
def test_vectors_are_brought_to_a_length(vector: list[float], size: int, unit: bool, expected: list[float]) -> None:  # noqa: FBT001
    """Filled up, folded or as they are; with the norm 1 where the model has that."""
    assert fitted(vector, size, unit=unit) == pytest.approx(expected)


async def embedded(model: EmbeddingModel, model_id: str, body: object) -> Any:  # noqa: ANN401 - JSON
    """The answer of the model, over HTTP."""
    async with BedrockEmulator([model]) as emulator, client(emulator) as bedrock:
        return (await bedrock.invoke(model_id, json.dumps(body))).json()


async def test_what_is_asked_for_is_what_comes() -> None:
    """Dimensions, normalising and types of numbers."""
    model = EmbeddingModel()
    asked = {"inputText": "a b c", "dimensions": 256, "normalize": False, "embeddingTypes": ["binary", "float"]}
    titan = await embedded(model, TITAN, asked)
    assert math.hypot(*titan["embedding"]) == pytest.approx(math.sqrt(3))
    assert set(titan["embeddingsByType"]["binary"]) == {0, 1}
    assert titan["embeddingsByType"]["float"] == titan["embedding"]
    cohere = await embedded(
        model, COHERE, {"texts": ["a", "b"], "input_type": "search_query", "embedding_types": ["int8", "uint8"]}
    )
    assert cohere["response_type"] == "embeddings_by_type"
    assert [max(abs(number) for number in vector) for vector in cohere["embeddings"]["int8"]] == [127, 127]
    assert all(0 <= number <= 255 for vector in cohere["embeddings"]["uint8"] for number in vector)


async def test_vectors_come_from_the_function_that_is_given() -> None:
    """In one call for all texts of a request."""
    calls: list[Sequence[str]] = []

    async def embed(texts: Sequence[str]) -> list[EmbeddedText]:
        calls.append(texts)
        return [EmbeddedText([float(len(text)), 0.0], len(text)) for text in texts]

    model = EmbeddingModel(embed, model_ids=[COHERE])
    answer = await embedded(model, COHERE, {"texts": ["a", "bb"], "input_type": "search_document"})
    assert calls == [["a", "bb"]]
    assert [vector[:2] for vector in answer["embeddings"]] == [[1.0, 0.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("model_id", "body", "said"),
    [
        (TITAN, {}, r"required key \[inputText\] not found"),
        (TITAN, {"inputText": ""}, "expected minLength: 1"),
        (TITAN, {"inputText": 5}, r"\[inputText\]"),
        (TITAN, {"inputText": "a", "texts": ["a"]}, "extraneous key"),
        (
            TITAN,
            {"inputText": "a", "dimensions": 100},
            "100 is not a valid value of dimensions: expected 256, 512, 1024",
        ),
        (TITAN, {"inputText": "a", "dimensions": "256"}, "is not a valid value"),
        (TITAN, {"inputText": "a", "embeddingTypes": ["octal"]}, "octal is not a valid type"),
        ("amazon.titan-embed-text-v1", {"inputText": "a", "normalize": True}, r"extraneous key \[normalize\]"),
        (COHERE, {"texts": ["a"]}, r"required key \[input_type\] not found"),
        (COHERE, {"texts": [], "input_type": "x"}, r"required key \[texts\] not found"),
        (COHERE, {"images": ["data:"], "input_type": "image"}, "this model reads text only"),
        (COHERE, {"texts": ["a", 5], "input_type": "x"}, r"\[texts\]"),
        (COHERE, {"texts": ["a"] * 97, "input_type": "x"}, "expected maximum item count: 96, found: 97"),
        (COHERE, {"texts": ["a"], "input_type": "x", "output_dimension": 512}, r"\[output_dimension\]"),
        (COHERE_4, {"texts": ["a"], "input_type": "x", "output_dimension": 5}, "expected 256, 512, 1024, 1536"),
        (NOVA, {"inputText": "a"}, r"extraneous key \[inputText\]"),
        (NOVA, {"taskType": "SINGLE_EMBEDDING"}, "with singleEmbeddingParams is required"),
        (NOVA, {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": {"text": {}}}, "embeddingPurpose is required"),
        (
            NOVA,
            {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": {"embeddingPurpose": "X", "image": {}}},
            "this model reads text only",
        ),
        (TITAN, [], "Malformed input request"),
    ],
)
async def test_bodies_that_cannot_be_are_refused(model_id: str, body: object, said: str) -> None:
    """As by the service: ValidationException, HTTP 400."""
    with pytest.raises(ValidationError, match=said) as caught:
        await embedded(EmbeddingModel(), model_id, body)
    assert caught.value.status == 400


async def test_a_text_over_the_limit_is_refused_unless_it_may_be_truncated() -> None:
    """With the service's own sentence, which names both numbers."""
    long = "word " * 600
    with pytest.raises(InputTooLongError, match="Max input tokens: 512, request input token count: 600"):
        await embedded(EmbeddingModel(), COHERE, {"texts": [long], "input_type": "x"})
    answer = await embedded(EmbeddingModel(), COHERE, {"texts": [long], "input_type": "x", "truncate": "END"})
    assert len(answer["embeddings"][0]) == 1024


async def test_every_other_operation_is_refused() -> None:
    """An embedding model does not converse, stream or count."""
    async with (
        BedrockEmulator([EmbeddingModel(), ScriptedModel.text("Hello.")]) as emulator,
        client(emulator) as bedrock,
    ):
        for call in (bedrock.converse(TITAN, "Hello?"), bedrock.count_tokens(TITAN, "Hello?")):
            with pytest.raises(ServiceError, match="makes embeddings; it supports InvokeModel only"):
                await call
        for stream in (bedrock.stream(TITAN, "Hello?"), bedrock.invoke_stream(TITAN, {"inputText": "a"})):
            with pytest.raises(ServiceError, match="makes embeddings; it supports InvokeModel only"):
                await anext(stream)
        assert (await bedrock.converse("us.amazon.nova-lite-v1:0", "Hello?")).text == "Hello."


async def test_it_can_be_used_without_an_emulator() -> None:
    """As every emulator model: the dialect is that which the body looks like."""
    model = EmbeddingModel()
    assert isinstance(model, EmulatorModel)
    titan = json.loads(await model.invoke(b'{"inputText": "a", "dimensions": 7}'))
    assert len(titan["embedding"]) == 7
    cohere = json.loads(await model.invoke(b'{"texts": ["a"], "input_type": "x"}'))
    assert len(cohere["embeddings"]["float"][0]) == 256
    await model.aclose()


# -- models that bring others


class Pair(ScriptedModel):
    """A model with a companion, that notes who is closed when."""

    def __init__(self, closed: list[str]) -> None:
        super().__init__([], model_ids=["acme.chat-1"])
        self._closed = closed
        self.companions = (_Companion(closed),)

    async def aclose(self) -> None:
        self._closed.append("chat")


class _Companion(EmbeddingModel):
    def __init__(self, closed: list[str]) -> None:
        super().__init__()
        self._closed = closed

    async def aclose(self) -> None:
        self._closed.append("embeddings")


async def test_companions_are_served_and_closed_first() -> None:
    """A model that brings an embedding model is one object to its user."""
    closed: list[str] = []
    async with BedrockEmulator([Pair(closed)]) as emulator, client(emulator) as bedrock:
        answer: Any = (await bedrock.invoke(TITAN, {"inputText": "a"})).json()
        listed = [model.model_id for model in await bedrock.list_models()]
    assert len(answer["embedding"]) == 1024
    assert TITAN in listed
    assert closed == ["embeddings", "chat"]
