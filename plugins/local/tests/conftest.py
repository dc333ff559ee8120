"""Fixtures of the local model's tests: the real weights, fetched once into the user's cache, or a reason why not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from bedrock_async_local import LocalModel, WeightsError, fetch_weights
from bedrock_async_local.engine import LlamaEngine


@pytest.fixture(scope="session")
def weights() -> Path:
    """The real weights. Tests that need them are skipped if they cannot be fetched."""
    try:
        return fetch_weights()
    except WeightsError as exc:
        pytest.skip(f"the real weights are not here, so nothing of the real model was tested: {exc}")


@pytest.fixture(scope="session")
def engine(weights: Path) -> Iterator[LlamaEngine]:
    """The real engine with the real weights, loaded once for all tests."""
    engine = LlamaEngine.load(weights, parallel=2)
    yield engine
    asyncio.run(engine.aclose())


@pytest.fixture
def model(engine: LlamaEngine) -> LocalModel:
    """A model over the real engine; the engine outlives it."""
    return LocalModel(engine=engine)
