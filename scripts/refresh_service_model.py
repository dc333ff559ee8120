"""Write bedrock_async/testing/service_model.json from the botocore that runs this script.

Run it where the newest botocore is installed; the library itself runs with any botocore, because the emulator and
the completeness test read this copy and not the installed one. The copy keeps what decides about bytes (shapes,
members, enumerations, constraints, HTTP bindings, errors) and drops documentation text; keys are sorted, so that a
refresh shows in review as exactly what the service changed.

    python scripts/refresh_service_model.py            writes the file
    python scripts/refresh_service_model.py --check    writes nothing; exits 1 when the file would change
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TypeAlias, cast

import botocore
from botocore.loaders import Loader

SERVICE = "bedrock-runtime"
API_VERSION = "2023-09-30"
TARGET = Path(__file__).resolve().parent.parent / "bedrock_async" / "testing" / "service_model.json"


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


def reference_model() -> str:
    """Return the text of the file: one JSON object, sorted and compact, one operation or shape a line."""
    full = cast("JSON", Loader().load_service_model(SERVICE, "service-2", API_VERSION))
    model = cast("dict[str, dict[str, JSON]]", without_documentation(full))
    source = {"api": f"{SERVICE}/{API_VERSION}", "botocore": botocore.__version__}
    parts = {"metadata": model["metadata"], "source": source, "version": model["version"]}
    lines = [f"{json.dumps(name)}:{_compact(part)}" for name, part in parts.items()]
    lines += [f"{json.dumps(group)}:{{\n{_rows(model[group])}\n}}" for group in ("operations", "shapes")]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _rows(group: dict[str, JSON]) -> str:
    return ",\n".join(f"{json.dumps(name)}:{_compact(group[name])}" for name in sorted(group))


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def main() -> int:
    """Write or check the file; return the exit code."""
    parser = argparse.ArgumentParser(description="Refresh the reference copy of the bedrock-runtime service model.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file would change")
    arguments = parser.parse_args()
    text = reference_model()
    current = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    if text == current:
        print(f"{TARGET.name} is up to date with botocore {botocore.__version__}")
        return 0
    if arguments.check:
        print(f"{TARGET.name} differs from botocore {botocore.__version__}; run this script without --check")
        return 1
    TARGET.write_text(text, encoding="utf-8")
    print(f"{TARGET.name} written from botocore {botocore.__version__}: {len(text):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
