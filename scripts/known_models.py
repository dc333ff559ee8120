r"""Write bedrock_async/known_models.py: the model ids that editors offer.

No page of the service lists them all, so they are taken from what other projects keep up to date. Each source is a
file; name the version it is from, for that goes into the table:

    python scripts/known_models.py --date 2026-11-20 \
        "litellm 1.109.1"=model_prices_and_context_window_backup.json \
        "langchain-aws 1.9.1"=langchain_aws/data/_profiles.py \
        "pydantic-ai 2.68.0"=pydantic_ai/models/bedrock.py

Of a JSON file (litellm's table of models) the keys count whose provider is Bedrock's runtime and whose end of life is
not reached on that date; of a Python file every text that is spelt like a model id. What has been retired although a
source still lists it is left out.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final, cast

from bedrock_async.model_id import GEOGRAPHIES, VENDORS

TARGET: Final = Path(__file__).resolve().parent.parent / "bedrock_async" / "known_models.py"

_RUNTIME: Final = frozenset({"bedrock", "bedrock_converse"})
_MANTLE: Final = "bedrock_mantle/"  # models behind another endpoint, which no operation of the runtime reaches
_VENDOR: Final = "|".join(sorted(VENDORS))
_GEOGRAPHY: Final = "|".join(sorted(GEOGRAPHIES))
# The service's own pattern of foundation model ids, behind a geography and a vendor.
_NAME: Final = r"[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::[a-z0-9-]+){0,2}"
MODEL_ID: Final = re.compile(rf"(?:(?:{_GEOGRAPHY})\.)?(?:{_VENDOR})\.{_NAME}")

# Out of service, in spite of the sources.  [Amazon Bedrock user guide, "Model lifecycle", end-of-life versions]
RETIRED: Final = (
    "ai21.j2-",
    "ai21.jamba-instruct",
    "amazon.titan-image-generator-v1",
    "amazon.titan-text-",
    "anthropic.claude-3-",
    "anthropic.claude-instant",
    "anthropic.claude-v1",
    "anthropic.claude-v2",
    "cohere.command-light-text",
    "cohere.command-text",
    "meta.llama2-",
    "stability.sd3-large-v1",
    "stability.stable-diffusion",
    "stability.stable-image-core-v1:0",
    "stability.stable-image-ultra-v1:0",
)

_HEAD: Final = '''"""Ids of models and system inference profiles, for completion in editors; any other id works too.

Written by scripts/known_models.py: do not edit.
As of {date}, from {sources}.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

KnownModelId: TypeAlias = Literal[
'''
_TAIL: Final = ''']
"""A model id or inference profile id that was known when this version was released; others work too."""

__all__ = ["KnownModelId"]
'''


def from_table(table: Mapping[str, Any], day: date) -> Iterator[str]:
    """Yield the ids of litellm's table that are of Bedrock's runtime and not past their end on that day."""
    for name, facts in table.items():
        members = cast("dict[str, str]", facts) if isinstance(facts, dict) else {}
        if members.get("litellm_provider") in _RUNTIME:
            end = members.get("deprecation_date")
            if end is None or date.fromisoformat(end) > day:
                yield name


def from_python(source: str) -> Iterator[str]:
    """Yield every text of a Python file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def read(path: Path, day: date) -> set[str]:
    """Return the model ids of one source."""
    text = path.read_text(encoding="utf-8")
    found = from_table(cast("dict[str, Any]", json.loads(text)), day) if path.suffix == ".json" else from_python(text)
    return {name for name in found if MODEL_ID.fullmatch(name)}


def retired(model_id: str) -> bool:
    """Return whether the id, behind its geography, is one of a model that is out of service."""
    first, _, rest = model_id.partition(".")
    return (rest if first in GEOGRAPHIES else model_id).startswith(RETIRED)


def left_out(table: Mapping[str, Any], day: date) -> set[str]:
    """Return the ids that litellm's table knows to be past their end or not of the runtime: others may not know."""
    return {name.removeprefix(_MANTLE) for name in table} - set(from_table(table, day))


def module(sources: Mapping[str, Path], day: date) -> str:
    """Return the text of the module: sorted, one id a line. Raises SystemExit for a source without any id."""
    found: set[str] = set()
    for name, path in sources.items():
        ids = read(path, day)
        if not ids:
            sys.exit(f"{path} ({name}) holds no model id: is it the right file?")
        found |= ids
    for path in sources.values():
        if path.suffix == ".json":
            found -= left_out(cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8"))), day)
    lines = [f'    "{model_id}",\n' for model_id in sorted(found) if not retired(model_id)]
    return _HEAD.format(date=day.isoformat(), sources=", ".join(sources)) + "".join(lines) + _TAIL


def _source(argument: str) -> tuple[str, Path]:
    name, sign, path = argument.partition("=")
    if not sign or not name or not Path(path).is_file():
        raise argparse.ArgumentTypeError(f'{argument!r} is not "name and version"=existing file')
    return name, Path(path)


def main(arguments: list[str] | None = None) -> int:
    """Write the table; return the exit code."""
    parser = argparse.ArgumentParser(description="Write the table of known model ids.")
    parser.add_argument("--date", type=date.fromisoformat, required=True, help="the day that the table is as of")
    parser.add_argument("--output", type=Path, default=TARGET)
    parser.add_argument("sources", nargs="+", type=_source, metavar="NAME=FILE")
    options = parser.parse_args(arguments)
    text = module(dict(options.sources), options.date)
    options.output.write_text(text, encoding="utf-8")
    print(f"{options.output.name} written: {text.count(chr(10) + '    ' + chr(34))} ids")
    return 0


if __name__ == "__main__":
    sys.exit(main())
