"""Write the reference models in bedrock_async/testing from the botocore that runs this script.

``service_model.json`` is the whole of bedrock-runtime, ``control_plane_model.json`` those operations of bedrock that an
inference client uses, with the shapes that they need.

Run it where the newest botocore is installed; the library itself runs with any botocore, because the emulator and
the completeness test read this copy and not the installed one. The copy keeps what decides about bytes (shapes,
members, enumerations, constraints, HTTP bindings, errors) and drops documentation text; keys are sorted, so that a
refresh shows in review as exactly what the service changed.

    python scripts/refresh_service_model.py            writes the files
    python scripts/refresh_service_model.py --check    writes nothing; exits 1 when a file would change
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, cast

import botocore
from botocore.loaders import Loader

FOLDER: Final = Path(__file__).resolve().parent.parent / "bedrock_async" / "testing"


@dataclass(frozen=True, slots=True)
class Reference:
    """A file to write; ``operations`` None means all of the service's."""

    file_name: str
    service: str
    api_version: str
    operations: Collection[str] | None = None


RUNTIME: Final = Reference("service_model.json", "bedrock-runtime", "2023-09-30")
CONTROL_PLANE: Final = Reference(
    "control_plane_model.json",
    "bedrock",
    "2023-04-20",
    ("GetFoundationModelAvailability", "GetInferenceProfile", "ListFoundationModels", "ListInferenceProfiles"),
)

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"


def without_documentation(value: JSON) -> JSON:
    """Return a copy without documentation texts; a member that is *named* documentation has an object there."""
    if isinstance(value, dict):
        return {
            name: without_documentation(member)
            for name, member in value.items()
            if not (name == "documentation" and isinstance(member, str))
        }
    if isinstance(value, list):
        return [without_documentation(member) for member in value]
    return value


def only(model: dict[str, dict[str, JSON]], operations: Collection[str]) -> dict[str, dict[str, JSON]]:
    """Return the model with these operations and the shapes that can be reached from them."""
    kept = {name: model["operations"][name] for name in operations}
    shapes: dict[str, JSON] = {}
    todo = list(_shapes_of(kept))
    while todo:
        name = todo.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            todo += _shapes_of(shapes[name])
    return {**model, "operations": kept, "shapes": shapes}


def _shapes_of(value: object) -> set[str]:
    """Return the names of the shapes that a part of the model refers to."""
    if isinstance(value, list):
        return {name for item in cast("list[object]", value) for name in _shapes_of(item)}
    if not isinstance(value, dict):
        return set()
    members = cast("dict[str, object]", value)
    own = members.get("shape")
    found = {name for member in members.values() for name in _shapes_of(member)}
    return found | {own} if isinstance(own, str) else found


def reference_model(reference: Reference = RUNTIME) -> str:
    """Return the text of the file: one JSON object, sorted and compact, one operation or shape a line."""
    full = cast("JSON", Loader().load_service_model(reference.service, "service-2", reference.api_version))
    model = cast("dict[str, dict[str, JSON]]", without_documentation(full))
    if reference.operations is not None:
        model = only(model, reference.operations)
    source = {"api": f"{reference.service}/{reference.api_version}", "botocore": botocore.__version__}
    parts = {"metadata": model["metadata"], "source": source, "version": model["version"]}
    lines = [f"{json.dumps(name)}:{_compact(part)}" for name, part in parts.items()]
    lines += [f"{json.dumps(group)}:{{\n{_rows(model[group])}\n}}" for group in ("operations", "shapes")]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _rows(group: dict[str, JSON]) -> str:
    return ",\n".join(f"{json.dumps(name)}:{_compact(group[name])}" for name in sorted(group))


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def refresh(reference: Reference, *, write: bool) -> bool:
    """Write one file where ``write`` says so, and tell; return whether it is up to date then."""
    target, name = FOLDER / reference.file_name, reference.file_name
    text = reference_model(reference)
    current = target.read_text(encoding="utf-8") if target.exists() else ""
    if text == current:
        print(f"{name} is up to date with botocore {botocore.__version__}")
    elif write:
        target.write_text(text, encoding="utf-8")
        print(f"{name} written from botocore {botocore.__version__}: {len(text):,} bytes")
    else:
        print(f"{name} differs from botocore {botocore.__version__}; run this script without --check")
    return write or text == current


def main() -> int:
    """Write or check the files; return the exit code."""
    parser = argparse.ArgumentParser(description="Refresh the reference copies of the service models.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file would change")
    write = not parser.parse_args().check
    return 0 if all([refresh(reference, write=write) for reference in (RUNTIME, CONTROL_PLANE)]) else 1  # noqa: C419


if __name__ == "__main__":
    sys.exit(main())
