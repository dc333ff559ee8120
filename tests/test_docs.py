"""The examples in README and docs run as they stand, against the emulator."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest
from bedrock_async_amazon import sonic_echo
from claude_answers import claude_answers
from markdown_links import anchors_of, links_of
from s3_server import CREDENTIALS, S3Server, s3_server
from tool_answers import tool_answers

from bedrock_async.testing import (
    BedrockEmulator,
    EmbeddingModel,
    EmulatorModel,
    JobModel,
    JobScript,
    S3ObjectStore,
    ScriptedModel,
)

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(BLOCK.findall(page.read_text("utf-8")), 1)
]
CLAUDE_ID = re.compile(r"\banthropic\.claude[\w:.-]*\w(?=[^\w:.*-])")
CLAUDE = sorted({name for page in PAGES for name in CLAUDE_ID.findall(page.read_text("utf-8"))})


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """An S3 with the bucket of the examples."""
    with s3_server() as server:
        server.bucket(name="my-bucket")
        yield server


@pytest.fixture
async def emulator(s3: S3Server) -> AsyncIterator[BedrockEmulator]:
    """A Bedrock for the examples, which know nothing of it; its jobs are done when they are asked for."""
    models: list[EmulatorModel] = [
        JobModel(JobScript.video(b"a video", polls=0), model_ids=["amazon.nova-reel-v1:1"]),
        JobModel(JobScript.json({"data": []}, polls=1), model_ids=["twelvelabs.marengo-embed-2-7-v1:0"]),
        EmbeddingModel(),
        ScriptedModel.text(model_ids=["amazon.nova-2-sonic-v1:0"], bidirectional=sonic_echo),
        ScriptedModel(tool_answers, native=claude_answers, model_ids=CLAUDE),
        ScriptedModel(tool_answers),
    ]
    async with (
        S3ObjectStore(s3.url, credentials=CREDENTIALS) as store,
        BedrockEmulator(models, object_store=store) as running,
    ):
        yield running


@pytest.mark.parametrize("code", EXAMPLES)
async def test_example(
    code: str, emulator: BedrockEmulator, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example ends without an error or a warning; files that it makes are made elsewhere."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", emulator.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    finished = await anyio.to_thread.run_sync(
        lambda: subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    )
    assert finished.returncode == 0, finished.stderr
    assert not finished.stderr


def test_there_are_examples() -> None:
    """The pattern finds the README's examples: an empty list would pass in silence."""
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Files that pages link to are there, and so are the places in them."""
    for path, anchor in links_of(page.read_text("utf-8")):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors_of(target.read_text("utf-8")), f"{path}#{anchor}"


def test_the_readme_leads_to_every_page() -> None:
    """Each page has a row in the README's table: a page that nobody finds is not there."""
    table = PAGES[0].read_text("utf-8").partition("## Where to go next")[2]
    assert [page.name for page in PAGES[1:] if f"| [docs/{page.name}](docs/{page.name}) | " not in table] == []
