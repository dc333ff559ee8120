"""Imports point down the layers, and the pure layers do no input or output."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
PACKAGE: Final = "bedrock_async"

# Lowest first. A unit is a module or a package directly below bedrock_async; `bedrock_async` itself is the facade,
# which only what stands above the client may import from.
LAYERS: Final[tuple[frozenset[str], ...]] = (
    frozenset({"_bounded", "_error", "_lazy", "_version"}),
    frozenset({"model_id", "eventstream", "types", "advice", "iam", "known_models"}),
    frozenset({"usage"}),
    frozenset({"errors"}),
    frozenset({"events", "folding", "geography", "native", "plugins"}),
    frozenset({"families", "pricing", "providers", "features", "resilience"}),
    frozenset({"hooks"}),
    frozenset({"auth", "transport"}),
    frozenset({"in_flight", "limiting"}),
    frozenset({"calls"}),
    frozenset({"bidirectional", "botocore_config", "control_plane", "conversation", "jobs", "media", "stream"})
    | {"bound_model", "continuing", "counting", "outputs", "routing", "targets", "tasks", "tool_loop"},
    frozenset({"engine"}),
    frozenset({"client"}),
    frozenset({PACKAGE}),
    frozenset({"testing", "cli"}),
    frozenset({"__main__"}),
)
LAYER_OF: Final = {unit: index for index, units in enumerate(LAYERS) for unit in units}
PURE: Final = frozenset[str]().union(*LAYERS[: LAYER_OF["auth"]])

# Within a layer only these units know each other, and why.
WITHIN_LAYER: Final = {
    ("folding", "events"): "a response is folded from events, and unfolded into them",
    ("native", "events"): "native chunks come in the same framing",
    ("providers", "families"): "a call's context has the family and the facts; the invoke provider speaks through it",
    ("pricing", "families"): "prices belong to patterns of model ids, as facts do",
    ("features", "families"): "the keywords of embed and the like become what families are asked",
    ("features", "resilience"): "the keywords of a call hold its retry policy and timeouts",
    ("bound_model", "conversation"): "a model with its settings begins conversations",
    ("conversation", "outputs"): "an answer of a type is kept in another form",
    ("outputs", "stream"): "the output of a stream is read from its events",
    ("routing", "continuing"): "a stream that breaks goes on the way that every question goes",
    ("routing", "targets"): "where a question goes",
    ("tasks", "jobs"): "a video is made by a job",
    ("tool_loop", "stream"): "each round of the loop is a stream",
    ("cli", "testing"): "`bedrock-async serve` runs the emulator",
}

# What would make a pure module wait, look at the clock or touch the machine.
IMPURE: Final = frozenset(
    {
        *("aiobotocore", "aiohttp", "anyio", "asyncio", "boto3", "botocore", "concurrent", "ftplib", "h11", "h2"),
        *("hpack", "http", "httpcore", "httpcore2", "httptools", "httpx", "httpx2", "hyperframe", "importlib.metadata"),
        *("multiprocessing", "os", "pathlib", "requests", "select", "selectors", "shutil", "signal", "socket"),
        *("socketserver", "ssl"),
        *("subprocess", "tempfile", "threading", "time", "trio", "urllib.request", "urllib3", "uvloop"),
    }
)
# Loading plugins; nothing else in the pure layers looks at what is installed.
ALLOWED_IMPURE: Final = {
    "bedrock_async.plugins": frozenset({"importlib.metadata"}),
    "bedrock_async.providers.registry": frozenset({"importlib.metadata"}),
}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module: the dotted name, the line, and whether only type checkers run the statement."""

    target: str
    line: int
    typing_only: bool


def modules_below(root: Path, package: str) -> dict[str, Path]:
    """Return the files of a package by their dotted names; ``root`` is the folder that holds the package."""
    modules: dict[str, Path] = {}
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imports_of(module: str, path: Path) -> list[Import]:
    """Return each module that the file imports, at its top, in a function or through `import_module("literal")`.

    ``from a import b`` yields ``a.b``: the caller knows which of the two is a module.
    """
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: list[Import] = []
    todo: list[tuple[ast.AST, bool]] = [(ast.parse(path.read_text(encoding="utf-8"), str(path)), False)]
    while todo:
        node, typing_only = todo.pop()
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                todo += [(child, True) for child in node.body] + [(child, typing_only) for child in node.orelse]
                continue
            case ast.Import(names=names):
                found += [Import(name.name, node.lineno, typing_only) for name in names]
            case ast.ImportFrom(module=source, names=names, level=level):
                base = package.rsplit(".", level - 1)[0] if level else ""
                prefix = ".".join(part for part in (base, source) if part)
                found += [Import(f"{prefix}.{name.name}", node.lineno, typing_only) for name in names]
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(target)), *_],
            ):
                absolute = f"{package}{target}" if target.startswith(".") else target
                found.append(Import(absolute, node.lineno, typing_only))
            case _:
                pass
        todo += [(child, typing_only) for child in ast.iter_child_nodes(node)]
    return sorted(found, key=lambda each: each.line)


def unit_of(module: str) -> str:
    """``bedrock_async.transport.aiohttp`` belongs to the unit ``transport``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def begins_with(module: str, prefixes: frozenset[str]) -> bool:
    """Whether the module is one of the prefixes or lies below one."""
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


def violations(root: Path) -> tuple[list[str], set[tuple[str, str]]]:
    """Return what breaks the rules in the tree below ``root``, and the pairs of one layer that know each other."""
    modules = modules_below(root, PACKAGE)
    found: list[str] = []
    pairs: set[tuple[str, str]] = set()
    for module, path in modules.items():
        unit = unit_of(module)
        if unit not in LAYER_OF:
            found.append(f"{module} has no place in LAYERS")
            continue
        for imported in imports_of(module, path):
            where = f"{path.relative_to(root)}:{imported.line}"
            if imported.target.split(".")[0] != PACKAGE:
                found += foreign(module, unit, imported, where)
                continue
            # `from a import b` names the module a.b, or the name b of the module a.
            target = next(
                (name for name in (imported.target, imported.target.rpartition(".")[0]) if name in modules), None
            )
            if target is None:
                found.append(f"{where}: {imported.target} does not exist")
                continue
            other = unit_of(target)
            if other == unit or imported.typing_only or other not in LAYER_OF:
                # A name in an annotation makes nobody wait for a module: it cannot close a cycle, so it may point up.
                continue
            if LAYER_OF[other] == LAYER_OF[unit]:
                pairs.add((unit, other))
            if LAYER_OF[other] > LAYER_OF[unit]:
                found.append(f"{where}: {unit} imports {other}, which lies above it")
            elif LAYER_OF[other] == LAYER_OF[unit] and (unit, other) not in WITHIN_LAYER:
                found.append(f"{where}: {unit} imports {other} of the same layer, which WITHIN_LAYER does not list")
    return found, pairs


def foreign(module: str, unit: str, imported: Import, where: str) -> Iterator[str]:
    """Yield what is wrong with importing a module that is not ours."""
    allowed = ALLOWED_IMPURE.get(module, frozenset[str]())
    if imported.typing_only or begins_with(imported.target, allowed):
        return
    if unit in PURE and begins_with(imported.target, IMPURE):
        yield f"{where}: {unit} is pure and imports {imported.target}"
    if unit in {"_error", "eventstream"} and imported.target.split(".")[0] not in sys.stdlib_module_names:
        yield f"{where}: {unit} imports {imported.target}, which is not of the standard library"


def test_imports_point_down_and_pure_modules_do_no_io() -> None:
    """Every module has a layer, imports from lower ones only, and the pure ones import nothing that waits."""
    found, _ = violations(ROOT)
    assert not found, "\n" + "\n".join(found)


def test_the_drawing_shows_every_unit_in_its_order() -> None:
    """CONTRIBUTING.md draws the layers from the highest to the lowest, with all that there is and nothing else."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    drawing = text.partition("## Layers")[2].split("```")[1]
    columns = [line[:40].rstrip(" ,") for line in drawing.splitlines() if line.strip()]
    drawn = [unit for column in columns for unit in column.split(", ") if unit != "plugins/*"]
    assert set(drawn) == {unit_of(module) for module in modules_below(ROOT, PACKAGE)} - {PACKAGE}
    assert drawn == sorted(drawn, key=lambda unit: -LAYER_OF[unit])


def test_the_table_of_imports_within_a_layer_holds_no_leftovers() -> None:
    """What WITHIN_LAYER allows is used: an entry that nobody needs any more is removed."""
    _, pairs = violations(ROOT)
    assert set(WITHIN_LAYER) <= pairs


def test_the_event_stream_decoder_stands_alone() -> None:
    """`eventstream` can be taken out of the package: it imports the standard library and the root errors."""
    modules = modules_below(ROOT, PACKAGE)
    imported = {each.target for each in imports_of("bedrock_async.eventstream", modules["bedrock_async.eventstream"])}
    assert {name for name in imported if name.startswith(PACKAGE)} <= {
        "bedrock_async._error.BedrockError",
        "bedrock_async._error.StreamError",
    }


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("events.py", "from .client import BedrockClient", "events imports client, which lies above it"),
        ("events.py", "def f():\n    from . import calls", "events imports calls, which lies above it"),
        ("events.py", "importlib.import_module('.cli', __package__)", "events imports cli"),
        ("client.py", "from bedrock_async import BedrockError", "client imports bedrock_async, which lies above it"),
        ("auth/chain.py", "from ..transport import Transport", "auth imports transport of the same layer"),
        ("events.py", "import asyncio", "events is pure and imports asyncio"),
        ("providers/converse.py", "from time import monotonic", "providers is pure and imports time.monotonic"),
        ("providers/converse.py", "from importlib import metadata", "providers is pure and imports importlib.metadata"),
        ("types/__init__.py", "import urllib.request as r", "types is pure and imports urllib.request"),
        ("eventstream.py", "import msgspec", "eventstream imports msgspec, which is not of the standard library"),
        ("events.py", "from .nowhere import x", "bedrock_async.nowhere.x does not exist"),
        (
            "events.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .nowhere import x",
            "bedrock_async.nowhere.x does not exist",
        ),
        ("utils.py", "", "bedrock_async.utils has no place in LAYERS"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, module: str, source: str, complaint: str) -> None:
    """The checker sees each kind of violation, wherever in the file the import stands."""
    found, _ = violations(planted(tmp_path, module, source))
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("client.py", "from .events import Event\nfrom . import calls\nimport bedrock_async.types"),
        ("transport/aiohttp.py", "import asyncio, ssl\nfrom ._protocol import Transport"),
        ("providers/registry.py", "import importlib.metadata"),
        ("_error.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .types import ConverseResponse"),
        ("events.py", "from urllib.parse import quote"),
        ("cli/__init__.py", "from bedrock_async import BedrockClient\nfrom ..testing import BedrockEmulator"),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, module: str, source: str) -> None:
    """Imports that point down, that are of one unit, or that only type checkers see are no violations."""
    assert violations(planted(tmp_path, module, source))[0] == []


def planted(root: Path, module: str, source: str) -> Path:
    """Make a tree of empty modules below ``root``, one of them with the given source; return ``root``."""
    package = root / PACKAGE
    packages = ("", "auth", "cli", "providers", "testing", "transport", "types")
    names = ("_error", "calls", "client", "events", "eventstream", "transport/_protocol")
    for name in [*(f"{name}.py" for name in names), *(f"{name}/__init__.py" for name in packages), module]:
        path = package / name.removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (package / module).write_text(source)
    return root


def public_names(path: Path) -> frozenset[str]:
    """Return what the module's ``__all__`` lists; a module without one offers nothing."""
    for node in ast.parse(path.read_text(encoding="utf-8"), str(path)).body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=names) | ast.Tuple(elts=names))
                | ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.List(elts=names) | ast.Tuple(elts=names))
            ):
                return frozenset(str(name.value) for name in names if isinstance(name, ast.Constant))
            case _:
                pass
    return frozenset()


def private_imports(plugin: Path) -> Iterator[str]:
    """Yield the imports of a plugin's modules that are not public names of `bedrock_async`."""
    modules = modules_below(ROOT, PACKAGE)
    for path in sorted(plugin.glob("bedrock_async_*/**/*.py")):
        name = ".".join(path.relative_to(plugin).with_suffix("").parts).removesuffix(".__init__")
        for imported in imports_of(name, path):
            if imported.target.split(".")[0] != PACKAGE:
                continue
            module, _, attribute = imported.target.rpartition(".")
            private = any(part.startswith("_") for part in imported.target.split("."))
            offered = imported.target in modules or (module in modules and attribute in public_names(modules[module]))
            if private or not offered:
                yield f"{path.relative_to(plugin)}:{imported.line}: {imported.target} is not public"


def test_plugins_import_public_names_only() -> None:
    """The plugins of this repository need nothing that a plugin of a stranger could not have."""
    plugins = [path.parent for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    found = [complaint for plugin in plugins for complaint in private_imports(plugin)]
    assert not found, "\n" + "\n".join(found)


def test_a_private_import_of_a_plugin_is_found(tmp_path: Path) -> None:
    """Private modules, private names and names that no ``__all__`` lists are refused; public ones are not."""
    module = tmp_path / "bedrock_async_example" / "__init__.py"
    module.parent.mkdir()
    module.write_text(
        "from bedrock_async.errors import BedrockError\n"
        "from bedrock_async._error import StreamError\n"
        "from bedrock_async.errors import _CODES\n"
        "from bedrock_async.errors import json\n"
        "from bedrock_async import _error, errors\n"
    )
    assert list(private_imports(tmp_path)) == [
        "bedrock_async_example/__init__.py:2: bedrock_async._error.StreamError is not public",
        "bedrock_async_example/__init__.py:3: bedrock_async.errors._CODES is not public",
        "bedrock_async_example/__init__.py:4: bedrock_async.errors.json is not public",
        "bedrock_async_example/__init__.py:5: bedrock_async._error is not public",
    ]
