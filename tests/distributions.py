"""Distributions that are built, or installed for one test: a folder of sys.path, and no module left over."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["build_sdist", "build_wheel", "importable"]


def build_wheel(project: Path, folder: Path) -> zipfile.ZipFile:
    """Build the wheel as the Makefile does, without the network, and open it."""
    _build(project, folder, "wheel")
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel)


def build_sdist(project: Path, folder: Path) -> tarfile.TarFile:
    """Build the source distribution, without the network, and open it."""
    _build(project, folder, "sdist")
    (sdist,) = folder.glob("*.tar.gz")
    return tarfile.open(sdist)


def _build(project: Path, folder: Path, target: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    done = subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@contextmanager
def importable(folder: Path) -> Generator[None]:
    """Put a folder before all others on the path; in the end forget it, and every module imported meanwhile."""
    path, modules = list(sys.path), set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            del sys.modules[name]
        importlib.invalidate_caches()
