"""What is installed: the wheels, their metadata, the constraints, and the set-up that needs only Python."""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any, Final

import pytest
from distributions import build_sdist, build_wheel
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import bedrock_async

ROOT: Final = Path(__file__).parent.parent
PROJECTS: Final = (ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml")))

# Everything that an installed package must not bring along.


def project_table(project: Path) -> dict[str, Any]:
    """Return the ``[project]`` table of a distribution of this repository."""
    table: dict[str, Any] = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def member(wheel: zipfile.ZipFile, name: str) -> str:
    """Return the text of a file of the wheel's dist-info folder."""
    (path,) = (path for path in wheel.namelist() if path.endswith(f".dist-info/{name}"))
    return wheel.read(path).decode()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """Build the wheel of bedrock-async, once."""
    with build_wheel(ROOT, tmp_path_factory.mktemp("wheel")) as built:
        yield built


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """Return the metadata that an index shows and an installer reads."""
    return email.message_from_string(member(wheel, "METADATA"))


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """Every module and data file of the package is in the wheel; tests, plugins and tools are not."""
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "bedrock_async").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == expected
    assert "bedrock_async/py.typed" in inside


def test_the_source_distribution_holds_what_belongs_to_the_package(tmp_path: Path) -> None:
    """Sources, and the pages that they lead to. Tests read plugins and benchmarks: only a checkout can run them."""
    with build_sdist(ROOT, tmp_path) as sdist:
        inside = {name.partition("/")[2] for name in sdist.getnames()}
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert len(pages) > 10
    assert inside >= pages | {"README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE", "pyproject.toml"}
    assert "bedrock_async/client.py" in inside
    assert not any(name.startswith(("tests/", "plugins/", "benchmarks/", "fuzz/")) for name in inside)


def test_the_wheel_carries_the_licence(wheel: zipfile.ZipFile, metadata: Message) -> None:
    """Licence text and SPDX expression travel with the package."""
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0, January 2004" in member(wheel, "licenses/LICENSE")


def test_the_version_stands_in_one_place(metadata: Message) -> None:
    """The wheel's version is the one that the package tells."""
    assert metadata["Version"] == bedrock_async.__version__


def test_the_wheel_imports_and_runs_by_itself(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """The client imports from the unpacked wheel, far from the checkout."""
    wheel.extractall(tmp_path)
    program = "import bedrock_async; from bedrock_async import BedrockClient; print(bedrock_async.__file__)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-P", "-c", program]
    output = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    assert Path(output.strip()) == tmp_path / "bedrock_async" / "__init__.py"


def test_entry_points_name_what_exists(wheel: zipfile.ZipFile) -> None:
    """What the wheel announces can be loaded."""
    announced = re.findall(r"^([\w-]+) = ([\w.]+):(\w+)$", member(wheel, "entry_points.txt"), re.MULTILINE)
    assert "bedrock-async" in {name for name, _, _ in announced}
    program = "import importlib, sys; getattr(importlib.import_module(sys.argv[1]), sys.argv[2])"
    for _, module, attribute in announced:
        subprocess.run([sys.executable, "-c", program, module, attribute], check=True)


def test_extras_are_what_the_readme_promises(metadata: Message) -> None:
    """The core is light, each extra brings what its name says, and aioboto3 stands alone with its old botocore."""
    requirements = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]

    def names(extra: str) -> set[str]:
        return {each.name for each in requirements if each.marker is None or each.marker.evaluate({"extra": extra})}

    extras = {
        "aws": {"aiobotocore"},
        "bidirectional": {"h2"},
        "cli": {"rich", "typer"},
        "cost": {"genai-prices"},
        "httpx": {"httpx"},
        "telemetry": {"opentelemetry-api"},
        "testing": {"botocore"},
    }
    assert names("") == {"aiohttp", "anyio", "httptools", "msgspec", "pydantic"}
    assert {extra: names(extra) - names("") for extra in metadata.get_all("Provides-Extra", [])} == {
        **extras,
        "all": set[str]().union(*extras.values()),
        "aioboto3": {"aioboto3"},
    }
    assert all(not each.name.startswith("bedrock-async-") for each in requirements)


def test_every_environment_has_the_plugins_with_what_their_tests_need() -> None:
    """One rule for `make setup` and the matrix: what is missing in one of them would be skipped there unseen."""
    program = [sys.executable, str(ROOT / "scripts" / "plugin_projects.py")]
    printed = subprocess.run(program, check=True, capture_output=True, text=True).stdout.split()
    tested = {
        plugin.name for plugin in PROJECTS[1:] if "test" in project_table(plugin).get("optional-dependencies", {})
    }
    assert "mantle" in tested
    extras = {plugin.name: "[test]" if plugin.name in tested else "" for plugin in PROJECTS[1:]}
    assert printed[::2] == ["--editable"] * len(extras)
    assert printed[1::2] == [f"./plugins/{name}{extra}" for name, extra in extras.items()]
    for user in ("setup_env.sh", "matrix.py"):
        assert "plugin_projects" in (ROOT / "scripts" / user).read_text("utf-8"), user


def test_plugins_say_the_version_that_they_were_written_for() -> None:
    """A plugin that repeats the host's own number would fit whatever changes there; templates and pages show it so."""
    programs = [
        *ROOT.glob("plugins/*/bedrock_async_*/**/*.py"),
        *ROOT.glob("bedrock_async/cli/templates/**/*.template"),
    ]
    pages = [ROOT / "CONTRIBUTING.md", ROOT / "plugins" / "README.md"]
    texts = {path: path.read_text("utf-8") for path in (*programs, *pages)}
    assert sum("interface_version = 1\n" in texts[path] for path in programs) > 5
    assert [path.name for path, text in texts.items() if "INTERFACE_VERSION" in text] == []


@pytest.mark.parametrize("plugin", PROJECTS[1:], ids=lambda plugin: plugin.name)
def test_a_plugin_is_a_distribution_of_its_own(plugin: Path, tmp_path: Path) -> None:
    """Each plugin builds alone, holds its one typed package, and asks for bedrock-async."""
    module = f"bedrock_async_{plugin.name.replace('-', '_')}"
    with build_wheel(plugin, tmp_path) as built:
        assert {name.partition("/")[0] for name in built.namelist() if ".dist-info/" not in name} == {module}
        assert f"{module}/py.typed" in built.namelist()
        described = email.message_from_string(member(built, "METADATA"))
    assert described["Name"] == f"bedrock-async-{plugin.name}"
    assert described["License-Expression"] == "Apache-2.0"
    requirements = [Requirement(line).name for line in described.get_all("Requires-Dist", [])]
    assert "bedrock-async" in requirements


def constraints() -> dict[str, str]:
    """Return the pinned versions by package."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==", 1) for line in lines)


def test_constraints_hold_versions_only() -> None:
    """constraints.txt is sorted ``package==version`` lines: no marker, address, hash or option."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.+!]*", line)] == []
    assert lines == sorted(lines)
    assert len(constraints()) == len(lines)


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_constraints_satisfy_the_ranges(project: Path) -> None:
    """Whatever set-up installs by name is pinned, within the range that its project asks for."""
    table = project_table(project)
    lines = [*table["dependencies"]]
    for extra, more in table.get("optional-dependencies", {}).items():
        lines += more if extra != "aioboto3" else []
    lines += tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["dev"]
    pinned = constraints()
    for requirement in map(Requirement, lines):
        name = canonicalize_name(requirement.name)
        if name == "bedrock-async":
            continue
        assert name in pinned
        assert requirement.specifier.contains(pinned[name], prereleases=True), requirement


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_no_range_has_an_upper_bound(project: Path) -> None:
    """A library that caps its dependencies cannot be installed beside others: ours have lower bounds alone."""
    table = project_table(project)
    groups: list[list[str]] = [table["dependencies"], *table.get("optional-dependencies", {}).values()]
    operators = {each.operator for lines in groups for line in lines for each in Requirement(line).specifier}
    assert operators <= {">="}


def repository_files() -> list[Path]:
    """Return the text files of this repository, without what .gitignore keeps out and recorded data."""
    skipped = {".git", "dist", "data", "__pycache__"}
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file()
        and not any(
            part in skipped or part.startswith(".venv") or part.endswith("_cache")
            for part in path.relative_to(ROOT).parts
        )
        and path.suffix in {"", ".cfg", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
    ]


def test_no_file_names_a_package_registry() -> None:
    """Set-up asks the registry that the user's pip or uv is configured for; no file names another one."""
    hosts = re.compile("pypi[.]org|pythonhosted[.]org|npmjs[.](org|com)|debian[.]org")
    files = repository_files()
    assert ROOT / "Makefile" in files
    named = [path for path in files if hosts.search(path.read_text(encoding="utf-8", errors="replace"))]
    assert named == []
    assert not (ROOT / "uv.lock").exists()


def test_ci_runs_what_the_readme_says() -> None:
    """CI checks first and tests last, with the same targets as everybody, and stops at the first failure."""
    script = ROOT / ".ci" / "run"
    lines = [line for line in script.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "set -euo pipefail"
    assert lines[-2:] == ["make check", "make test"]
    assert os.access(script, os.X_OK)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_alone_lists_the_targets() -> None:
    """`make` without a target says what there is; it installs nothing."""
    output = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S607
    listed = set(re.findall(r"^  make ([a-z-]+) +\S", output, re.MULTILINE))
    assert {"bench", "build", "check", "clean", "demo", "format", "fuzz", "help", "test"} <= listed


def set_up(python: Path | str, folder: Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the set-up with the given Python; a PATH without uv unless told otherwise."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_", "VIRTUAL_ENV"))
    }
    environment |= {"PYTHON": str(python), "VENV": str(folder / "env"), "PATH": path or "/usr/bin:/bin"}
    command = ["/bin/sh", str(ROOT / "scripts" / "setup_env.sh")]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)


def pretended_python(folder: Path, preparation: str) -> Path:
    """Return a program that behaves as this Python does after some statements."""
    program = folder / "python"
    start = f"import sys; {preparation}; code = sys.argv[1]; sys.argv = ['-c', *sys.argv[2:]]; exec(code)"
    program.write_text(f'#!/bin/sh\nshift\nexec {sys.executable} -c {json.dumps(start)} "$@"\n')
    program.chmod(0o755)
    return program


def test_set_up_refuses_an_old_python(tmp_path: Path) -> None:
    """An old Python is refused before anything is made, with its version and the way to name another one."""
    old = pretended_python(tmp_path, "sys.version_info = (3, 9, 2, 'final', 0)")
    done = set_up(old, tmp_path)
    assert done.returncode == 1
    assert "needs Python 3.11 or later" in done.stderr
    assert "is 3.9" in done.stderr
    assert "make PYTHON=python3.12" in done.stderr
    assert not (tmp_path / "env").exists()


def test_set_up_says_which_package_brings_venv(tmp_path: Path) -> None:
    """Where the Python of the system has no ensurepip, the message is the command that brings it."""
    bare = pretended_python(tmp_path, "sys.modules['ensurepip'] = None")
    if shutil.which("uv", path="/usr/bin:/bin"):
        pytest.skip("uv stands beside the system's programs, so that set-up needs no venv module")
    done = set_up(bare, tmp_path)
    assert done.returncode == 1
    assert "apt install python3-venv" in done.stderr
    assert not (tmp_path / "env").exists()


def test_set_up_says_when_there_is_no_python(tmp_path: Path) -> None:
    """A Python that is not there is named, with what to do."""
    done = set_up(tmp_path / "python3.99", tmp_path)
    assert done.returncode == 1
    assert "python3.99 is not on the PATH" in done.stderr
    assert not (tmp_path / "env").exists()
