"""The examples in README and docs run as they stand, against the emulator."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import anyio
import pytest
from bedrock_async_amazon import sonic_echo
from claude_answers import claude_answers
from markdown_links import anchors_of, links_of
from s3_server import CREDENTIALS, S3Server, s3_server
from tool_answers import tool_answers

from bedrock_async.families import Embeds, GeneratesImages, GeneratesVideo, ModelFamily, Reranks
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
PLUGINS_PAGE = (ROOT / "docs" / "plugins.md").read_text("utf-8")
TASKS = {"embeddings": Embeds, "ranking": Reranks, "images": GeneratesImages, "videos": GeneratesVideo}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(BLOCK.findall(page.read_text("utf-8")), 1)
]
CLAUDE_ID = re.compile(r"\banthropic\.claude[\w:.-]*\w(?=[^\w:.*-])")
CLAUDE = sorted({name for page in PAGES for name in CLAUDE_ID.findall(page.read_text("utf-8"))})


def python(*arguments: str, cwd: Path, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run an interpreter of this environment, and return what it printed and how it ended."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False)


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
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
    if "BedrockEmulator(" not in code:  # one that brings its own must run on a machine without settings
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", emulator.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    finished = await anyio.to_thread.run_sync(partial(python, "-W", "error", "-c", code, cwd=tmp_path))
    assert finished.returncode == 0, finished.stderr
    assert not finished.stderr


def test_the_pytest_examples_pass(tmp_path: Path) -> None:
    """The tests that the page on testing shows are collected and pass, with the one setting that it names."""
    shown = BLOCK.findall((ROOT / "docs" / "testing.md").read_text("utf-8"))
    (code,) = (code for code in shown if "def test_" in code and "BedrockEmulator(" in code)
    (tmp_path / "test_shown.py").write_text(code, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n", "utf-8")
    finished = python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    assert finished.returncode == 0, finished.stdout
    assert "2 passed" in finished.stdout


def test_the_examples_are_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a reader copies passes ``mypy --strict`` as it stands: our annotations ask for no casts."""
    files = [tmp_path / f"example_{number}.py" for number in range(len(EXAMPLES))]
    for file, example in zip(files, EXAMPLES, strict=True):
        file.write_text(f"{example.values[0]}", "utf-8")
    names = {file.name: str(example.id) for file, example in zip(files, EXAMPLES, strict=True)}
    options = ["--strict", "--config-file=", "--follow-imports=silent", "--ignore-missing-imports"]
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    cache = f"--cache-dir={tmp_path / 'cache'}"
    checked = python("-m", "mypy", *options, cache, *map(str, files), cwd=ROOT, timeout_s=300)
    found = re.sub(r"\S*(example_\d+\.py)", lambda match: names[match[1]], checked.stdout)
    assert checked.returncode == 0, found + checked.stderr


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


def test_contributing_names_what_there_is() -> None:
    """Each private name and each constant stands in the file that is named beside it, or somewhere in the package."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Add a provider")[2]
    sources = [*ROOT.glob("bedrock_async/**/*.py"), *ROOT.glob("tests/*.py"), *ROOT.glob("scripts/*.py")]
    code = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sources}
    named = re.findall(r"`(_[A-Za-z]\w*|[A-Z][A-Z_]{2,})`(?:\s(?:in|of)\s`([\w/]+\.py)`)?", text)
    assert {"_CHAT_FORMS", "RULES"} <= {name for name, _ in named}
    for name, place in named:
        defined = re.compile(rf"^(?:class |def )?{name}\b", re.MULTILINE)
        assert any(defined.search(each) for path, each in code.items() if not place or path == place), (name, place)
    for path in re.findall(r"`([\w/]+/\w+\.py)`", text):
        assert (ROOT / path).is_file(), path


def test_every_plugin_is_in_the_list() -> None:
    """Each package below plugins/ has one row, which leads to its own page."""
    rows = re.findall(r"^\| \[bedrock-async-(\w+)\]\(\.\./plugins/(\w+)/README\.md\)", PLUGINS_PAGE, re.MULTILINE)
    assert sorted(rows) == [(path.parent.name,) * 2 for path in sorted((ROOT / "plugins").glob("*/pyproject.toml"))]


@pytest.mark.parametrize("entry", entry_points(group="bedrock_async.families"), ids=lambda entry: entry.name)
def test_the_list_says_what_a_family_does(entry: EntryPoint) -> None:
    """What it does beside chat, and whether recordings hold it, are what its code says."""
    assert entry.dist is not None
    row = next(line for line in PLUGINS_PAGE.splitlines() if line.startswith(f"| [{entry.dist.name}]"))
    *_, beside, recordings = (cell.strip() for cell in row.strip("|").split("|"))
    family: ModelFamily = entry.load()()
    assert recordings == ("yes" if family.verified else "no")
    for word, task in TASKS.items():
        assert (word in beside) is isinstance(family, task), word
