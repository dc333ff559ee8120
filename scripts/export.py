"""Adds names to the public ones: `python scripts/export.py .stream InvokeStream`. Without names it only rewrites.

A public name stands in three places of `bedrock_async/__init__.py`: the imports that checkers read, ``__all__``, and
the table of lazy imports. They are written from the table.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "bedrock_async" / "__init__.py"


def table(source: str) -> dict[str, set[str]]:
    """Return the table of lazy imports: module -> names."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "_HOME":
            return {module: set(names) for module, names in ast.literal_eval(node.value).items()}
    raise SystemExit(f"{PACKAGE} has no table _HOME")


def written(source: str, homes: Mapping[str, set[str]]) -> str:
    """Return the source with its three lists made from ``homes``."""
    head, _, rest = source.partition("if TYPE_CHECKING:\n")
    tail = rest[rest.index("if not TYPE_CHECKING:") :]
    imports = "".join(
        f"    from {module} import (\n" + "".join(f"        {name},\n" for name in in_order(names)) + "    )\n"
        for module, names in sorted(homes.items())
    )
    every = in_order({"__version__"}.union(*homes.values()))
    public = "__all__ = [\n" + "".join(f'    "{name}",\n' for name in every) + "]\n"
    home = "".join(
        f'    "{module}": (\n' + "".join(f'        "{name}",\n' for name in in_order(names)) + "    ),\n"
        for module, names in sorted(homes.items())
    )
    return f"{head}if TYPE_CHECKING:\n{imports}\n{public}\n_HOME = {{\n{home}}}\n{tail}"


def in_order(names: set[str]) -> list[str]:
    """Sort as the linter does: constants, classes, functions."""
    return sorted(names, key=lambda name: (0 if name.isupper() else 1 if name[0].isupper() else 2, name))


def main(arguments: list[str]) -> None:
    """Add the names after the first argument to the module that this names."""
    source = PACKAGE.read_text(encoding="utf-8")
    homes = table(source)
    if arguments:
        homes.setdefault(arguments[0], set()).update(arguments[1:])
    temporary = PACKAGE.with_suffix(".tmp")
    temporary.write_text(written(source, homes), encoding="utf-8")
    temporary.replace(PACKAGE)


if __name__ == "__main__":
    main(sys.argv[1:])
