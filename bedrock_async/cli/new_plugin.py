"""``bedrock-async plugin new``: creates a plugin, as a package whose tests pass."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final, Literal

from ..errors import InvalidRequestError
from ..families.registry import known_distribution
from ..providers.registry import PROVIDERS

__all__ = ["PluginOptions", "new_plugin"]

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_LONGEST: Final = 40

_FILES: Final[Mapping[str, str]] = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "__init__.py": "{module}/__init__.py",
    "family.py": "{module}/family.py",
    "provider.py": "{module}/provider.py",
    "test.py": "tests/test_{name}.py",
}
"""The templates and the files that they become; each kind of plugin has its own templates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginOptions:
    """The command line options for the plugin."""

    name: str
    kind: Literal["family", "provider"] = "family"
    directory: Path = Path()


def new_plugin(options: PluginOptions) -> Path:
    """Write the package below the directory, report it on stdout, and return its folder.

    Raises InvalidRequestError for an invalid or taken name, for a folder that is not empty, and when writing fails.
    Never overwrites a file.
    """
    _check(options)
    words = _words(options.name, options.kind)
    folder = options.directory / words["distribution"]
    written = {
        path.format(module=words["module"], name=words["module_name"]): text
        for template, path in _FILES.items()
        if (text := _filled(options.kind, template, words)) is not None
    }
    written[f"{words['module']}/py.typed"] = ""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InvalidRequestError(
                f"{folder} already exists.",
                path="directory",
                hint="Nothing was written. Remove it, or name another place: --directory DIR.",
            )
        for path, text in written.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise InvalidRequestError(f"{folder} cannot be written: {exc.strerror or exc}.", path="directory") from exc
    _tell(folder, sorted(written))
    return folder


def _check(options: PluginOptions) -> None:
    name, kind = options.name, options.kind
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        likely = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST].rstrip("-")
        what = "the vendor segment of the model ids" if kind == "family" else "what provider= is given"
        raise InvalidRequestError(
            f"{name!r} is not a valid name for a {kind}: it is {what}, lower-case letters, digits and single hyphens, "
            f"a letter first, at most {_LONGEST} characters.",
            path="name",
            hint=f"Did you mean {likely!r}?" if _NAME.fullmatch(likely) else "For example: acme.",
        )
    taken = known_distribution(name) if kind == "family" else None
    if any(point.name == name for point in PROVIDERS.built_in) and kind == "provider":
        taken = "bedrock-async"
    if taken is not None:
        raise InvalidRequestError(
            f"the {kind} {name!r} already exists: {taken} provides it.",
            path="name",
            hint="Installing both would conflict. Choose another name, or contribute to the existing one.",
        )


def _words(name: str, kind: str) -> dict[str, str]:
    """Return the values for the placeholders in the templates."""
    title = "".join(part.capitalize() for part in name.split("-"))
    identifier = name.replace("-", "_")
    return {
        "name": name,
        "title": title,
        "class_name": f"{title}{kind.capitalize()}",
        "distribution": f"bedrock-async-{name}",
        "module": f"bedrock_async_{identifier}",
        "module_name": identifier,
    }


def _filled(kind: str, template: str, words: Mapping[str, str]) -> str | None:
    """Return the filled-in template of this kind; None if the kind does not have the file."""
    source = files("bedrock_async.cli") / "templates" / kind / f"{template}.template"
    return Template(source.read_text("utf-8")).substitute(words) if source.is_file() else None


def _tell(folder: Path, written: list[str]) -> None:
    lines = [
        f"Wrote {folder}:",
        *(f"  {path}" for path in written),
        "",
        f"Next:  cd {folder} && pip install -e '.[test]' && pytest",
        "Then change the samples in tests/ to what the vendor's models say, and the code until the tests pass again.",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
