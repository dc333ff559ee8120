from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from bedrock_async_local import MODEL_ID, LocalModel
from bedrock_async_local.embeddings import EmbeddingEngine
from bedrock_async_local.server import Port
from typing_extensions import override

from bedrock_async import BedrockClient, Credentials, ServiceError
from bedrock_async.errors import (
    InputTooLongError,
    ModelError,
    ResourceNotFoundError,
    ServiceUnavailableError,
    ValidationError,
)
from bedrock_async.testing import EMBEDDING_MODEL_IDS, BedrockEmulator
from bedrock_async.types import JSONValue

Members = dict[str, Any]


class Words(Port):
    """A port without a server: every word is a token, the number that it says."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", "key")

    @override
    def tokens(self, text: str) -> list[int]:
        return [int(word) for word in text.split()]


class Averages:
    """A server whose average of some tokens is their mean, in a vector beside a 1; it keeps what it was asked."""

    def __init__(self, program: Callable[[list[list[int]]], Members | None] = lambda _: None) -> None:
        self.asked: list[list[list[int]]] = []
        self._program = program

    def handle_embeddings(self, prompt: dict[str, JSONValue]) -> Members:
        windows: Any = prompt["input"]
        assert prompt["embd_normalize"] == -1
        self.asked.append(windows)
        answer = self._program(windows)
        if answer is not None:
            return answer
        data = [{"index": index, "embedding": [sum(window) / len(window), 1.0]} for index, window in enumerate(windows)]
        return {"data": data[::-1]}  # in whatever order


def engine_of(server: Averages) -> EmbeddingEngine:
    """An engine over that server."""
    return EmbeddingEngine(server, Words())


async def test_a_text_is_read_in_windows_that_count_by_their_length() -> None:
    """300 tokens are two windows; the average is that of all tokens, in the order of the texts."""
    server = Averages()
    texts = ["1", " ".join(["4"] * 256 + ["40"] * 44), "7 9"]
    made = await engine_of(server).embed(texts)
    assert [each.tokens for each in made] == [1, 300, 2]
    assert [each.vector for each in made] == [[1.0, 1.0], [pytest.approx((4 * 256 + 40 * 44) / 300), 1.0], [8.0, 1.0]]
    assert [[len(window) for window in windows] for windows in server.asked] == [[1, 256, 44, 2]]


async def test_many_windows_are_read_some_at_a_time() -> None:
    """So that the engine can stop between them."""
    server = Averages()
    await engine_of(server).embed(["1"] * 10)
    assert [len(windows) for windows in server.asked] == [4, 4, 2]


async def test_whoever_gives_up_stops_the_engine() -> None:
    """It stops after the windows being read; the rest is not waited for."""
    reading, go_on = threading.Event(), threading.Event()
    left = threading.Event()

    def wait(windows: list[list[int]]) -> None:
        reading.set()
        go_on.wait(30)
        left.set()

    server = Averages(wait)
    call = asyncio.ensure_future(engine_of(server).embed(["1"] * 10))
    await asyncio.to_thread(reading.wait, 30)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go_on.set()
    await asyncio.to_thread(left.wait, 30)
    assert len(server.asked) == 1


async def test_a_closed_engine_refuses() -> None:
    """Requests that were waiting are refused too."""
    engine = engine_of(Averages())
    await engine.aclose()
    await engine.aclose()
    with pytest.raises(ServiceUnavailableError):
        await engine.embed(["1"])


def failing(windows: list[list[int]]) -> Members:
    """Fail as the engine does, with the input in the message."""
    message = f"cannot read {windows}"
    raise RuntimeError(message)


def refusing(code: int, kind: str) -> Callable[[list[list[int]]], Members]:
    """Answer with an error."""

    def refuse(windows: list[list[int]]) -> Members:
        return {"error": {"code": code, "type": kind, "message": "no"}}

    return refuse


@pytest.mark.parametrize(
    ("program", "error"),
    [
        (failing, ModelError),
        (refusing(400, "invalid_request_error"), ValidationError),
        (refusing(500, "server_error"), ModelError),
    ],
)
async def test_what_the_engine_refuses_is_the_services_error(
    program: Callable[[list[list[int]]], Members], error: type[ServiceError]
) -> None:
    """The error does not quote the input."""
    with pytest.raises(error) as caught:
        await engine_of(Averages(program)).embed(["123456789"])
    assert "123456789" not in str(caught.value)


async def test_weights_that_are_not_there_are_told() -> None:
    """Asked for embeddings the model says what it would say to a chat."""
    async with BedrockEmulator([LocalModel("/no/such/file.gguf")]) as emulator, client(emulator) as bedrock:
        with pytest.raises(ResourceNotFoundError, match=r"/no/such/file\.gguf"):
            await bedrock.invoke("amazon.titan-embed-text-v2:0", {"inputText": "Hello."})


def test_making_a_model_loads_nothing() -> None:
    """The ids of the embedding models are there at once."""
    model = LocalModel("/no/such/file.gguf")
    assert [list(companion.model_ids) for companion in model.companions] == [list(EMBEDDING_MODEL_IDS)]
    assert list(model.model_ids) == [MODEL_ID]


# -- the real model: skipped, and says so, where the weights cannot be fetched


def client(emulator: BedrockEmulator) -> BedrockClient:
    """A client of the emulator."""
    keys = Credentials("AKIDEXAMPLE", "secret")
    return BedrockClient(region="us-east-1", endpoint_url=emulator.url, credentials=keys)


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine similarity of two vectors."""
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))


PAIRS = [
    ("The cat sat on the mat.", "A kitten rests on a rug."),
    ("Stock prices fell sharply on Monday.", "Markets dropped at the start of the week."),
    ("How do I bake bread?", "A recipe for a sourdough loaf."),
    ("The rocket launched into orbit.", "A spacecraft lifted off towards the station."),
]
"""Texts of one subject that share hardly a word."""

real = pytest.mark.timeout(600)


@real
@pytest.mark.parametrize(
    ("model", "options", "size"),
    [
        ("amazon.titan-embed-text-v2:0", {"dimensions": 256}, 256),
        ("amazon.titan-embed-text-v2:0", {}, 1024),
        ("amazon.nova-2-multimodal-embeddings-v1:0", {"purpose": "clustering"}, 3072),
        ("cohere.embed-english-v3", {"purpose": "document"}, 1024),
        ("us.cohere.embed-v4:0", {"dimensions": 512}, 512),
    ],
)
async def test_texts_of_one_subject_are_near(weights: Path, model: str, options: Members, size: int) -> None:
    """`client.embed` for real, through the family of each vendor: each text is nearest to the other of its pair."""
    texts = [text for pair in PAIRS for text in pair]
    async with BedrockEmulator([LocalModel(weights)]) as emulator, client(emulator) as bedrock:
        made = await bedrock.embed(model, texts, **options)
    vectors = made.vectors
    for index, vector in enumerate(vectors):
        others = [other for other in range(len(vectors)) if other != index]
        nearest = max(others, key=lambda other: cosine(vector, vectors[other]))
        assert nearest == index ^ 1, f"{texts[index]!r} is nearest to {texts[nearest]!r}"
    assert {len(vector) for vector in vectors} == {size}
    assert made.input_tokens is not None
    assert made.input_tokens > 30


@real
async def test_long_texts_and_their_limit(weights: Path) -> None:
    """More than a window is read whole; more than the model of that id takes is refused in the service's words."""
    async with BedrockEmulator([LocalModel(weights)]) as emulator, client(emulator) as bedrock:
        made = await bedrock.embed("amazon.titan-embed-text-v2:0", "A cat is a cat. " * 60)
        assert made.input_tokens is not None
        assert made.input_tokens > 300
        assert math.hypot(*made.vectors[0]) == pytest.approx(1.0)
        with pytest.raises(InputTooLongError, match=r"inputs 0 to 1 of 2: .*Max input tokens: 512"):
            await bedrock.embed("cohere.embed-english-v3", ["short", "word " * 600])


@real
async def test_chat_and_embeddings_are_served_side_by_side(weights: Path) -> None:
    """One object in the emulator; the ids of the embedding models do not chat."""
    async with BedrockEmulator([LocalModel(weights)]) as emulator, client(emulator) as bedrock:
        reply = await bedrock.converse(MODEL_ID, "What is the capital of France?")
        made = await bedrock.embed("amazon.titan-embed-text-v2:0", ["Paris", "London"])
        with pytest.raises(ValidationError, match="makes embeddings"):
            await bedrock.converse("amazon.titan-embed-text-v2:0", "Hello?")
    assert "Paris" in reply.text
    assert len(made.vectors) == 2


@real
async def test_equal_texts_have_equal_vectors(weights: Path) -> None:
    """The other texts of the request make no difference."""
    engine = EmbeddingEngine.load(weights)
    alone = await engine.embed(["The cat sat on the mat."])
    beside = await engine.embed(["Something else.", "The cat sat on the mat.", "word " * 300])
    await engine.aclose()
    assert cosine(alone[0].vector, beside[1].vector) > 0.9999
    assert json.dumps(alone[0].vector)  # plain numbers
