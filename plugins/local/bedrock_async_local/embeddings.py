"""Embeddings of the local model: its vectors for the tokens of a text, averaged.

A chat model is not trained for this, yet texts on one subject come out closer to each other than to others. It reads
256 tokens at a time, because memory grows with the number (1.3 GB for 2,048); a longer text is read in windows, whose
averages are averaged.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import anyio.to_thread

from bedrock_async.errors import service_error
from bedrock_async.testing import EmbeddedText, EmbeddingModel
from bedrock_async.types import JSONValue

from .loading import Loader
from .server import EmbeddingServer, Members, Port, closed, refusal, start_server

__all__ = ["EmbeddingEngine", "LocalEmbeddings"]

_WINDOW_TOKENS: Final = 256
_SLOTS: Final = 2
# How many windows are read at once: a second or two, after which the engine checks whether to go on.
_TOGETHER: Final = 4


class LocalEmbeddings(EmbeddingModel):
    """Embedding models of Amazon and Cohere for the emulator, answered by the local model.

    The vectors are real, but not those of the models whose ids it answers to. It is a companion of `LocalModel`, and is
    loaded at the first request for an embedding.
    """

    def __init__(self, loader: Loader[EmbeddingEngine]) -> None:
        super().__init__(self._vectors)
        self._loader = loader

    async def aclose(self) -> None:
        """Stop and free the memory. Idempotent."""
        await self._loader.aclose()

    async def _vectors(self, texts: Sequence[str]) -> Sequence[EmbeddedText]:
        engine = await self._loader.served()
        return await engine.embed(texts)


class EmbeddingEngine:
    """A loaded model that embeds and does not generate. ``load`` blocks; everything else is asynchronous."""

    def __init__(self, server: EmbeddingServer, port: Port) -> None:
        self._server: EmbeddingServer | None = server
        self._port = port

    @classmethod
    def load(cls, path: Path, *, threads: int | None = None) -> EmbeddingEngine:
        """Load the GGUF file at ``path``: 0.3 s and 130 to 210 MB beside a loaded chat engine. Raises EngineError."""

        def adjust(params: Any, xllamacpp: Any) -> None:  # noqa: ANN401 - the package ships no types
            params.embedding = True
            params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
            params.n_parallel = _SLOTS
            params.n_batch = params.n_ubatch = _WINDOW_TOKENS  # an average cannot span batches

        server, api_key = start_server(path, threads=threads, context_tokens=_SLOTS * _WINDOW_TOKENS, adjust=adjust)
        return cls(server, Port(server.listening_address, api_key))

    async def embed(self, texts: Sequence[str]) -> list[EmbeddedText]:
        """Return a vector for each text, with its token count. Raises ServiceError.

        Cancelling stops the engine after the windows being read.
        """
        stop = threading.Event()
        try:
            return await anyio.to_thread.run_sync(self._embed, list(texts), stop, abandon_on_cancel=True)
        finally:
            stop.set()

    async def aclose(self) -> None:
        """Free the memory, once the windows being read are done. Idempotent."""
        self._server = None

    # ---- in a worker thread

    def _embed(self, texts: Sequence[str], stop: threading.Event) -> list[EmbeddedText]:
        read = [self._port.tokens(text) for text in texts]
        windows = [
            (number, tokens[start : start + _WINDOW_TOKENS])
            for number, tokens in enumerate(read)
            for start in range(0, len(tokens), _WINDOW_TOKENS)
        ]
        sums: list[list[float]] = [[] for _ in texts]
        for start in range(0, len(windows), _TOGETHER):
            server = self._server
            if server is None or stop.is_set():
                raise closed()
            some = windows[start : start + _TOGETHER]
            for (number, tokens), average in zip(some, _averages(server, [each for _, each in some]), strict=True):
                total = sums[number] or [0.0] * len(average)
                sums[number] = [a + len(tokens) * b for a, b in zip(total, average, strict=True)]
        return [
            EmbeddedText([number / len(tokens) for number in total], len(tokens))
            for total, tokens in zip(sums, read, strict=True)
        ]


def _averages(server: EmbeddingServer, windows: Sequence[Sequence[int]]) -> list[list[float]]:
    """Return the average of the token vectors, for each window. Raises ServiceError."""
    inputs: list[JSONValue] = [[*window] for window in windows]
    try:
        # -1: not normalised; by default each would have norm 1, and a short window count as much as a long one.
        answer = server.handle_embeddings({"input": inputs, "encoding_format": "float", "embd_normalize": -1})
    except Exception as exc:
        # The engine's message can quote the input, so it stays in the cause.
        raise service_error("ModelErrorException", f"the local engine failed ({type(exc).__name__})") from exc
    if "error" in answer:
        raise refusal(answer)
    vectors: list[Members] = answer["data"]
    return [each["embedding"] for each in sorted(vectors, key=lambda each: int(each["index"]))]
