"""plugins/README.md: every command and program of the tutorial runs, and makes plugins/example."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from distributions import build_wheel

PLUGINS: Final = Path(__file__).parent.parent / "plugins"
_BLOCK: Final = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MADE: Final = frozenset({".pytest_cache", "__pycache__", "dist", ".mypy_cache", ".ruff_cache"})

BLOCKS: Final = [
    (language, words.split(), text)
    for language, words, text in _BLOCK.findall((PLUGINS / "README.md").read_text("utf-8"))
]


@dataclass
class Reader:
    """Follows the tutorial, in a folder of its own and with this interpreter; nothing comes from a network."""

    folder: Path
    site: Path
    home: Path = field(init=False)
    printed: str = ""
    shown: int = 0

    def __post_init__(self) -> None:
        self.home = self.folder

    def follow(self, language: str, words: list[str], text: str) -> None:
        """Do what a block says."""
        match language, words:
            case "sh", _:
                self.printed = "".join(self.command(line) for line in text.splitlines())
            case "text", _:
                self.compare(text)
            case "python", []:
                self.printed = self.run([sys.executable, "-W", "error", "-c", text])
            case _, [path, "as", "generated"]:
                assert (self.folder / path).read_text("utf-8") == text, f"{path} is not what is shown"
                self.shown += 1
            case _, [path, "append"]:
                with (self.folder / path).open("a", encoding="utf-8") as file:
                    file.write(text)
            case _, [path]:
                (self.folder / path).write_text(text, encoding="utf-8")
            case _:
                raise AssertionError(language, words)

    def command(self, line: str) -> str:
        """Run a command as the reader would; return what it prints."""
        words = shlex.split(line.removesuffix(" || true"))
        match words:
            case ["cd", place]:
                self.folder = self.folder / place
                return ""
            case ["pip", "install", "-e", "."]:
                with build_wheel(self.folder, self.site / "wheels") as wheel:
                    wheel.extractall(self.site, [name for name in wheel.namelist() if ".dist-info/" in name])
                return ""
            case ["pip", "install", *_]:
                return ""  # all of that is here
            case ["bedrock-async", "serve", *_]:
                return self.served(words[1:])
            case ["bedrock-async", *arguments]:
                return self.run([sys.executable, "-m", "bedrock_async.cli", *arguments])
            case ["pytest", *arguments]:
                quiet = ["-q", "-p", "no:asyncio", "-p", "no:cacheprovider", "-W", "error", *arguments]
                return self.run([sys.executable, "-m", "pytest", *quiet], fails=line.endswith("|| true"))
            case ["python", *arguments]:
                return self.run([sys.executable, *arguments])
            case _:
                raise AssertionError(line)

    def run(self, command: list[str], *, fails: bool = False) -> str:
        """Run a program where the reader is, with the package on the path; return what it prints."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=50, check=False
        )
        assert (done.returncode != 0) is fails, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def served(self, arguments: list[str]) -> str:
        """Start the server, and stop it when it has told its URL."""
        command = [sys.executable, "-m", "bedrock_async.cli", *arguments, "--port", "0"]
        process = subprocess.Popen(command, cwd=self.folder, env=self.environment(), stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            url = process.stdout.readline()
            assert url.startswith("http://127.0.0.1:")
        finally:
            process.kill()
            process.communicate()
        return url

    def environment(self) -> dict[str, str]:
        """The environment of what the reader runs."""
        # Below the real one of this name, which is installed here for its own tests.
        paths = [str(self.folder), str(self.site), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}

    def compare(self, text: str) -> None:
        """Hold what the last block printed to what the tutorial shows, blanks aside."""
        printed = [" ".join(line.split()) for line in self.printed.splitlines()]
        for line in filter(None, map(str.strip, text.splitlines())):
            shown = " ".join(line.split())
            assert any(shown in each for each in printed), f"{shown!r} is not in:\n{self.printed}"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Somebody who has followed the tutorial to its end."""
    reader = Reader(tmp_path_factory.mktemp("tutorial"), tmp_path_factory.mktemp("site"))
    for language, words, text in BLOCKS:
        reader.follow(language, words, text)
    return reader


def tree(folder: Path) -> Iterator[tuple[str, str]]:
    """The files of a package and what is in them, without what tools make."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not _MADE & set(path.relative_to(folder).parts):
            yield path.relative_to(folder).as_posix(), path.read_text("utf-8")


@pytest.mark.timeout(180)
def test_the_tutorial_makes_the_example(reader: Reader) -> None:
    """File by file: whoever follows it has what this repository tests and checks."""
    made = dict(tree(reader.home / "bedrock-async-example"))
    kept = dict(tree(PLUGINS / "example"))
    assert made.keys() == kept.keys()
    for path, text in made.items():
        assert text == kept[path], f"{path} differs"


def test_nothing_is_shown_that_is_not_so(reader: Reader) -> None:
    """The generated file stands in the text as it is generated, and there are programs and expectations at all."""
    languages = [language for language, _, _ in BLOCKS]
    assert reader.shown == 1
    assert languages.count("text") >= 6
    assert sum(language == "python" and not words for language, words, _ in BLOCKS) >= 2


def test_what_the_tutorial_links_to_is_there() -> None:
    """Folders of plugins and pages of the documentation."""
    links = re.findall(r"\]\(([^)#]+)\)", (PLUGINS / "README.md").read_text("utf-8"))
    assert links
    missing = [link for link in links if "://" not in link and not (PLUGINS / link).exists()]
    assert missing == []
