"""A pytest plugin: the fixture ``bedrock_cassette``, a cassette in a file beside the test.

Switch it on in the topmost conftest.py (or with ``-p bedrock_async.testing.pytest_plugin``)::

    pytest_plugins = ["bedrock_async.testing.pytest_plugin"]

and write tests that know nothing of recording::

    async def test_greeting(bedrock_cassette):
        async with BedrockClient(
            region="us-east-1", transport=bedrock_cassette, credentials=bedrock_cassette.credentials
        ) as client:
            assert "hello" in (await client.converse(MODEL, "Say hello.")).text

``pytest --bedrock-record=auto`` records what is missing, ``--bedrock-record=all`` everything anew, with the credentials
of the default chain; without the option, tests only replay and need neither network nor account. It is no entry point,
which pytest would import at every start, in every project of the environment.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

import pytest

from .cassette import Cassette, CassetteMode

if TYPE_CHECKING:
    from ..transport import HttpClient, Transport
    from .redaction import Redact

__all__ = ["CassetteOptions", "bedrock_cassette", "bedrock_cassette_options", "pytest_addoption"]

_MODES: Final[dict[str, CassetteMode]] = {"none": "replay", "auto": "auto", "all": "record"}
_FOLDER: Final = "cassettes"
_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9_.=+-]+")
_LONGEST_NAME: Final = 100  # file systems allow 255 bytes, shared here with folder names and suffix


class CassetteOptions(TypedDict, total=False):
    """Keyword arguments of `Cassette` that a project sets for all its tests."""

    transport: Transport | HttpClient | str | None
    redact_prompts: bool
    redact: Redact | Iterable[Redact]
    repeat: bool
    pace: float


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--bedrock-record``."""
    parser.getgroup("bedrock", "Amazon Bedrock").addoption(
        "--bedrock-record",
        choices=tuple(_MODES),
        default="none",
        help="none (the default): replay what was recorded, send nothing. auto: record what is missing, but nothing "
        "where the environment variable CI is set. all: record everything anew.",
    )


@pytest.fixture
def bedrock_cassette_options() -> CassetteOptions:
    """Return the keyword arguments of the cassettes; override it in a conftest.py, a module or a class."""
    return {}


@pytest.fixture
def bedrock_cassette(request: pytest.FixtureRequest, bedrock_cassette_options: CassetteOptions) -> Iterator[Cassette]:
    """Return the test's cassette, ``cassettes/<module>/<test>.json`` next to the test's file.

    It is written when the test ends, even if it fails: it then contains what had arrived.
    """
    mode = _MODES[str(request.config.getoption("--bedrock-record"))]
    cassette = Cassette(cassette_path(request.path, request.node.nodeid), mode=mode, **bedrock_cassette_options)
    yield cassette
    cassette.save()


def cassette_path(module: Path, node_id: str) -> Path:
    """Return the file for a test: its name as far as file systems allow, with a digest if anything was changed."""
    name = node_id.partition("::")[2].replace("::", ".")
    safe = _UNUSUAL.sub("-", name)[:_LONGEST_NAME]
    if safe != name:
        safe += "-" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return module.parent / _FOLDER / module.stem / f"{safe}.json"
