"""Resolve every dependency of this checkout anew and write constraints.txt.

One resolution serves Python 3.11 to 3.13 on all platforms; the file holds ``package==version`` lines and nothing
else, so that it names neither a registry nor whoever wrote it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Installed by set-up beside what the projects ask for: the installer, and the build backend of editable installs.
TOOLS = ("editables", "hatchling", "uv")


def requirements() -> list[str]:
    """Return what set-up installs, as lines of a requirements file."""
    projects = sorted(ROOT.glob("plugins/*/pyproject.toml"))
    # As scripts/setup_env.sh installs them.
    extras = ["[test]" if "\ntest = " in project.read_text("utf-8") else "" for project in projects]
    plugins = [f"-e {project.parent}{extra}" for project, extra in zip(projects, extras, strict=True)]
    return [f"-e {ROOT}[all]", *plugins, *TOOLS]


def resolve() -> list[str]:
    """Return the resolution as sorted ``package==version`` lines. Raises SystemExit when a package has two versions."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    with tempfile.NamedTemporaryFile("w", suffix=".in") as file:
        file.write("\n".join(requirements()))
        file.flush()
        command = [uv, "pip", "compile", "--quiet", "--upgrade", "--universal", "--python-version=3.11"]
        command += ["--fork-strategy=fewest", "--no-header", "--no-annotate", "--no-emit-index-url", "--group=dev"]
        environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
        output = subprocess.run(
            [*command, file.name], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
        ).stdout
    pins = {match[1]: match[2] for match in re.finditer(r"^([a-z0-9-]+)(?:\[.*\])?==([^\s;]+)", output, re.MULTILINE)}
    lines = [line for line in output.splitlines() if "==" in line]
    if len(lines) != len(pins):
        sys.exit("a package needs different versions on different Pythons or platforms:\n" + output)
    return sorted(f"{name}=={version}" for name, version in pins.items())


if __name__ == "__main__":
    (ROOT / "constraints.txt").write_text("\n".join(resolve()) + "\n")
