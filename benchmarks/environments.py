"""The environments of the measured clients: one each, made by uv from the pinned lists in ``benchmarks/peers``.

``python -m benchmarks.environments [NAME ...]`` makes them, all without names; ``--resolve`` writes the lists first.
They live in ``.venv-bench`` and are made again when their list or the Python has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from .peers import ALL, environment_of, peer

ROOT: Final = Path(__file__).resolve().parent.parent
LISTS: Final = Path(__file__).resolve().parent / "peers"
FOLDER: Final = ROOT / ".venv-bench"
PYTHONS: Final = ("3.13", "3.12", "3.11")
"""The newest that is installed runs every client: some of them want 3.12 or 3.13, and ratios want one interpreter."""

_OURS: Final = "ours"
_STAMP: Final = ".made-of"


class EnvironmentFailedError(Exception):
    """An environment cannot be made; the message is the reason in one line."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment that is there."""

    name: str
    python: Path
    packages: dict[str, str]
    """Version by distribution, of everything that is installed."""


def names() -> list[str]:
    """Return the environments of all clients."""
    return list(dict.fromkeys(environment_of(name) for name in ALL))


@cache
def interpreter(wanted: str | None = None) -> Path:
    """Return the Python of that version or path, by default the newest of `PYTHONS`. Raises EnvironmentFailedError."""
    for version in (wanted,) if wanted else PYTHONS:
        for candidate in _candidates(version):
            # Version managers put some on the PATH that do not run.
            if (
                candidate.exists()
                and subprocess.run([candidate, "-c", ""], check=False, capture_output=True).returncode == 0
            ):
                return candidate
    raise EnvironmentFailedError(f"no Python {wanted or ', '.join(PYTHONS)} is installed")


def _candidates(version: str) -> Iterable[Path]:
    if os.sep in version:
        yield Path(version)
    if sys.version_info[:2] == tuple(map(int, re.findall(r"\d+", version)[:2])):
        yield Path(sys.executable)
    for folder in os.get_exec_path():
        yield Path(folder, f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    yield from sorted((found / "bin" / "python" for found in pyenv.glob(f"{version}*")), reverse=True)


def environment(name: str, python: str | None = None) -> Environment:
    """Return the environment of that name, made if need be. Raises EnvironmentFailedError."""
    folder = FOLDER / name
    program = folder / "bin" / "python"
    source = interpreter(python)
    made_of = _made_of(name, source)
    stamp = folder / _STAMP
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != made_of:
        shutil.rmtree(folder, ignore_errors=True)
        _uv("venv", "--quiet", "--python", str(source), str(folder))
        _install(name, program)
        stamp.write_text(made_of, encoding="utf-8")
    # A cold start reads compiled modules, as in an application that has run before; sources may have changed since.
    sources = [str(ROOT / folder) for folder in ("bedrock_async", "benchmarks")]
    subprocess.run([program, "-m", "compileall", "-q", *sources], check=False, capture_output=True)
    return Environment(name, program, _versions(program))


def build_extension(source: str, python: Path) -> None:
    """Compile a C file of the adapters into the environment. Raises EnvironmentFailedError."""
    code = LISTS / source
    ask = (
        "import sysconfig as s\n"
        "print(s.get_path('include'), s.get_path('platlib'), s.get_config_var('EXT_SUFFIX'), sep='\\n')"
    )
    finished = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True)
    include, folder, suffix = finished.stdout.splitlines()
    target = Path(folder, f"bedrock_async_{code.stem}{suffix}")
    if target.exists() and target.stat().st_mtime > code.stat().st_mtime:
        return
    compiler = shutil.which(sysconfig.get_config_var("CC") or "cc") or shutil.which("cc")
    if compiler is None:
        raise EnvironmentFailedError("there is no C compiler")
    command = [compiler, "-O2", "-shared", "-fPIC", f"-I{include}", str(code), "-o", str(target), "-lz"]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    if finished.returncode:
        raise EnvironmentFailedError(f"it does not compile: {_last_line(finished.stderr)}")


def resolve(name: str) -> None:
    """Write the pinned list of an environment anew. Raises EnvironmentFailedError."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "wanted.in")
        wanted.write_text("\n".join(peer(name).requirements) + "\n", encoding="utf-8")
        options = ["--no-header", "--no-annotate", "--no-emit-index-url", "--python", str(interpreter())]
        if name == _OURS:
            options += ["--constraint", str(ROOT / "constraints.txt")]
        # --upgrade is not needed: the answer goes to standard output, so that no older list is looked at.
        resolved = _uv("pip", "compile", "--quiet", *options, str(wanted))
    pins = sorted(line for line in resolved.splitlines() if "==" in line)
    (LISTS / f"{name}.txt").write_text("\n".join(pins) + "\n", encoding="utf-8")


def _install(name: str, program: Path) -> None:
    options = ["--quiet", "--compile-bytecode", "--python", str(program)]
    requirements = ["--requirement", str(LISTS / f"{name}.txt")]
    if name == _OURS:
        requirements += ["--constraint", str(ROOT / "constraints.txt"), "--editable", str(ROOT)]
    _uv("pip", "install", *options, *requirements)


def _made_of(name: str, python: Path) -> str:
    parts = [str(python), (LISTS / f"{name}.txt").read_text(encoding="utf-8")]
    if name == _OURS:
        parts += [(ROOT / file).read_text(encoding="utf-8") for file in ("pyproject.toml", "constraints.txt")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _versions(program: Path) -> dict[str, str]:
    ask = (
        "import importlib.metadata as m, platform\n"
        "print('python', platform.python_version())\n"
        "for d in m.distributions(): print(d.metadata['Name'], d.version)"
    )
    printed = subprocess.run([program, "-c", ask], check=True, capture_output=True, text=True).stdout
    pairs = (line.split() for line in printed.splitlines())
    return dict(sorted((name.lower().replace("_", "-"), version) for name, version in pairs))


def _uv(*arguments: str) -> str:
    program = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    variables = {name: value for name, value in os.environ.items() if name not in {"UV_PYTHON", "VIRTUAL_ENV"}}
    try:
        finished = subprocess.run(
            [program, *arguments],
            cwd=ROOT,
            env=variables | {"UV_PYTHON_DOWNLOADS": "never"},
            check=False,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError as exc:
        raise EnvironmentFailedError("uv is not installed; make setup installs it") from exc
    if finished.returncode:
        raise EnvironmentFailedError(_last_line(finished.stderr))
    return finished.stdout


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason was given"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the named environments; the exit status is the number of those that failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.environments", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names())}; default all")
    parser.add_argument("--resolve", action="store_true", help="write the pinned lists anew before")
    parser.add_argument("--python", help="the version or path of the Python to use")
    options = parser.parse_args(arguments)
    failed = 0
    for name in options.names or names():
        try:
            if options.resolve:
                resolve(name)
            made = environment(name, options.python)
        except EnvironmentFailedError as exc:
            failed += 1
            print(f"{name:14}{exc}")
        else:
            print(f"{name:14}{len(made.packages) - 1} distributions, Python {made.packages['python']}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
