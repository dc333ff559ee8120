"""Run the tests in each environment that bedrock-async promises to work in: ``python scripts/matrix.py [NAME ...]``.

Without names these are the three combinations of AWS's libraries, each resolved anew, and what depends on them is
tested: credentials, endpoints, objects of S3. ``redis`` is the plugin for Redis beside Debian's redis-server.
``smithy`` is the official SDK for Python beside this one, in conversations. ``all`` is every environment there is;
those of the supported Pythons and of the lowest versions run all tests. Each has its own folder ``.venv-NAME``, made
anew at every run; the exit status is the number of environments that failed. One whose Python is not installed fails:
nothing is left out silently.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.environments import EnvironmentFailedError, interpreter
from scripts import plugin_projects

ROOT: Final = Path(__file__).resolve().parent.parent
PINNED: Final = ("--constraint", "constraints.txt")
THIS_PYTHON: Final = ".".join(map(str, sys.version_info[:2]))


AWS_TESTS: Final = (
    "tests/test_auth*.py",
    "tests/test_*endpoints*.py",
    "tests/test_region.py",
    "tests/test_botocore_config.py",
    "tests/test_objects*.py",
    "tests/test_jobs*.py",
    "tests/test_s3*.py",
)
"""What touches aiobotocore, aioboto3, botocore or boto3: the files that match one of these patterns."""

SMITHY_TESTS: Final = ("tests/test_smithy.py", "tests/test_bidirectional*.py", "tests/test_emulator_bidirectional.py")
"""What holds this client and the emulator to the official SDK for Python, which needs Python 3.12."""

REDIS_TESTS: Final = ("plugins/redis/tests/test_*.py",)

ALL_TESTS: Final = ("tests/test_*.py", "plugins/*/tests/test_*.py")


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python and what is installed into it; ``requirements`` are arguments of ``uv pip install``."""

    name: str
    python: str
    requirements: tuple[str, ...]
    tests: tuple[str, ...] = ALL_TESTS
    lowest: bool = False
    program: str = ""
    """What the tests would be skipped without; it has the name of its Debian package."""


ENVIRONMENTS: Final = (
    Environment("python3.11", "3.11", (*PINNED, "--editable", ".[all]")),
    Environment("python3.12", "3.12", (*PINNED, "--editable", ".[all]")),
    Environment("python3.13", "3.13", (*PINNED, "--editable", ".[all]")),
    # Every lower bound of ours at once: the ranges are as wide as this proves.
    Environment("lowest", "3.11", ("--editable", ".[all]"), lowest=True),
    # The newest aiobotocore there is, with the botocore that it pins.
    Environment("aiobotocore", THIS_PYTHON, ("--editable", ".[all]"), AWS_TESTS),
    # aioboto3 pins an aiobotocore of 2025, and with it that year's botocore.
    Environment("aioboto3", THIS_PYTHON, ("--editable", ".[all,aioboto3]"), AWS_TESTS),
    # No aiobotocore can be installed beside the newest boto3, so this is also the environment without it.
    Environment("boto3", THIS_PYTHON, ("--editable", ".[cli,cost,httpx,telemetry,testing]", "boto3>=1.44"), AWS_TESTS),
    # The official SDK, with the transport of its own that speaks HTTP/2.
    Environment("smithy", "3.12", ("--editable", ".[all]", "aws-sdk-bedrock-runtime[awscrt]"), SMITHY_TESTS),
    # Limits that processes share, against a real server.
    Environment("redis", THIS_PYTHON, (*PINNED, "--editable", ".[all]"), REDIS_TESTS, program="redis-server"),
)
BY_DEFAULT: Final = ("aiobotocore", "aioboto3", "boto3", "redis")


def uv(*arguments: str, **variables: str) -> None:
    """Run uv in the checkout. Raises CalledProcessError."""
    program = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"} | variables
    subprocess.run([program, *arguments], cwd=ROOT, env=environment, check=True)


def install(environment: Environment, python: Path) -> None:
    """Install what the environment names, the plugins and the development tools."""
    requirements = [*environment.requirements, *plugin_projects.arguments(), "--group", "dev"]
    if not environment.lowest:
        uv("pip", "install", "--quiet", "--python", str(python), *requirements)
        return
    # The lowest versions of our own dependencies, then the newest tools that agree with them.
    with tempfile.TemporaryDirectory() as folder:
        lines = (line for line in requirements[:-2] if line != "--editable")
        source, pins = Path(folder, "projects.in"), Path(folder, "lowest.txt")
        source.write_text("".join(f"-e {line}\n" for line in lines))
        options = ("--quiet", "--no-annotate", "--no-header", "--resolution", "lowest-direct", "--python", str(python))
        uv("pip", "compile", *options, "--output-file", str(pins), str(source))
        pins.write_text("".join(line for line in pins.read_text().splitlines(keepends=True) if "==" in line))
        uv("pip", "install", "--quiet", "--python", str(python), "--constraint", str(pins), *requirements)


def passes(environment: Environment) -> bool:
    """Make the environment and run the tests in it."""
    if environment.program and shutil.which(environment.program) is None:
        print(f"{environment.program} is not installed; on Debian: apt-get install {environment.program}")
        return False
    folder = ROOT / f".venv-{environment.name}"
    python = folder / "bin" / "python"
    try:
        uv("venv", "--quiet", "--clear", "--seed", "--python", str(interpreter(environment.python)), str(folder))
        install(environment, python)
    except EnvironmentFailedError as exc:
        print(exc)
        return False
    except subprocess.CalledProcessError:
        return False
    files = sorted({str(path) for pattern in environment.tests for path in ROOT.glob(pattern)})
    return subprocess.run([python, "-m", "pytest", "-q", *files], cwd=ROOT, check=False).returncode == 0


def main(names: list[str]) -> int:
    """Run the named environments and print how each ended."""
    known = [environment.name for environment in ENVIRONMENTS]
    names = known if names == ["all"] else names or list(BY_DEFAULT)
    if unknown := set(names) - set(known):
        sys.exit(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    outcomes: dict[str, bool] = {}
    for environment in ENVIRONMENTS:
        if environment.name in names:
            print(f"== {environment.name} (Python {environment.python})", flush=True)
            outcomes[environment.name] = passes(environment)
    for name, passed in outcomes.items():
        print(f"{name:12}{'passed' if passed else 'FAILED'}")
    return sum(not passed for passed in outcomes.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
