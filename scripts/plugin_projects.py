"""What installs the plugins of this checkout: ``python scripts/plugin_projects.py`` prints it, an argument a line.

Every plugin is a distribution of its own; an extra ``test`` has what only its tests need.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


def arguments() -> list[str]:
    """Return the arguments of ``uv pip install``, to be run in the checkout."""
    found: list[str] = []
    for path in sorted(ROOT.glob("plugins/*/pyproject.toml")):
        extras = tomllib.loads(path.read_text("utf-8"))["project"].get("optional-dependencies", {})
        found += ("--editable", f"./{path.parent.relative_to(ROOT).as_posix()}{'[test]' if 'test' in extras else ''}")
    return found


if __name__ == "__main__":
    print(*arguments(), sep="\n")
