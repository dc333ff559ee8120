"""The table of known model ids, the script that writes it, and the default model of each region."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from botocore_reading import structure
from hypothesis import given
from hypothesis import strategies as st

from bedrock_async import InvalidRequestError, KnownModelId, default_model
from bedrock_async.geography import DEFAULT_MODELS, geography_of
from bedrock_async.model_id import GEOGRAPHIES, VENDORS, parse_model_id

ROOT: Final = Path(__file__).parent.parent
SCRIPT: Final = ROOT / "scripts" / "known_models.py"
KNOWN: Final[tuple[str, ...]] = get_args(KnownModelId)
PATTERN: Final = re.compile(structure("ConverseRequest").members["modelId"].metadata["pattern"])


# -- the table


def test_the_table_is_sorted_and_names_its_sources() -> None:
    """A refresh shows as what has changed, and tells from where and of which day it is."""
    assert list(KNOWN) == sorted(set(KNOWN))
    assert len(KNOWN) > 200
    head = (ROOT / "bedrock_async" / "known_models.py").read_text("utf-8").split('"""')[1]
    assert re.search(r"As of 20\d\d-\d\d-\d\d, from .*litellm \d.*langchain-aws \d.*pydantic-ai \d", head)


@pytest.mark.parametrize("model", KNOWN)
def test_every_known_id_is_one(model: str) -> None:
    """Of a known vendor and, where it has one, a known geography; in the spelling that the service accepts."""
    parsed = parse_model_id(model)
    assert parsed.vendor in VENDORS
    assert parsed.geography is None or parsed.geography in GEOGRAPHIES
    assert parsed.kind == ("inference-profile" if parsed.geography else "foundation-model")
    assert PATTERN.fullmatch(model)


def test_completion_costs_no_import() -> None:
    """The table is one module of literals, which loads nothing else of the library."""
    program = "import sys, bedrock_async.known_models; print(*sorted(n for n in sys.modules if 'bedrock' in n))"
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    own = ("bedrock_async", "bedrock_async._lazy", "bedrock_async._version", "bedrock_async.known_models")
    assert tuple(output.split()) == own


# -- what readers copy

OTHERS: Final = {
    "amazon.no-such-model-v1:0": "no model has this id: `bedrock-async verify` asks for what is not there",
    "amazon.nova-reel-v1:1": "makes videos, in jobs: the sources of the table list models that answer",
    "cohere.command-r-v1:0": "Cohere's family is for its chat models, of which the table lists none any more",
}
"""Ids that texts name although they are not in the table, and why."""

_VENDOR: Final = "|".join(sorted(VENDORS))
_GEOGRAPHY: Final = "|".join(sorted(GEOGRAPHIES))
_NAME: Final = r"[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)*"
# What has a version or a geography is an id; without them it may be the pattern or the family of many.
WHOLE_ID: Final = re.compile(
    rf"(?<![\w.-])(?:(?:{_GEOGRAPHY})\.(?:{_VENDOR})\.{_NAME}(?::\d+)?|(?:{_VENDOR})\.{_NAME}-v\d+:\d+)(?![\w*:.-]*\*|\.\.)"
)


def texts_of(path: Path) -> str:
    """Return what a reader of the file may copy: a page, or the docstrings and sentences of a module."""
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        return text
    nodes = ast.walk(ast.parse(text))
    return "\n".join(each.value for each in nodes if isinstance(each, ast.Constant) and isinstance(each.value, str))


def copied_ids() -> dict[str, str]:
    """Return the ids of models in pages, docstrings, hints and other texts, each with one place where it stands."""
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("plugins/*/README.md")]
    modules = [*ROOT.glob("bedrock_async/**/*.py"), *ROOT.glob("plugins/*/bedrock_async_*/**/*.py")]
    # Tables of facts are about models of all times.
    spoken = [path for path in modules if path.name not in {"_facts.py", "facts.py", "known_models.py"}]
    return {
        name: path.relative_to(ROOT).as_posix()
        for path in [*pages, *spoken]
        for name in WHOLE_ID.findall(texts_of(path))
    }


def test_ids_that_readers_copy_are_of_current_models() -> None:
    """No page, docstring or hint sends anybody to a model that is not there any more."""
    copied = copied_ids()
    assert len(copied) > 10
    unknown = {name: place for name, place in copied.items() if name not in KNOWN and name not in OTHERS}
    assert not unknown


def test_the_table_of_other_ids_holds_no_leftovers() -> None:
    """What is excused is written somewhere, and is not in the table of known ids."""
    copied = copied_ids()
    assert [name for name in OTHERS if name not in copied or name in KNOWN] == []


# -- the script

TABLE: Final[dict[str, Any]] = {
    "amazon.nova-lite-v1:0": {"litellm_provider": "bedrock_converse"},
    "us.amazon.nova-lite-v1:0": {"litellm_provider": "bedrock", "deprecation_date": "2027-01-01"},
    "meta.llama3-1-405b-instruct-v1:0": {"litellm_provider": "bedrock", "deprecation_date": "2026-07-07"},
    "anthropic.claude-v2:1": {"litellm_provider": "bedrock"},
    "eu.anthropic.claude-3-5-haiku-20241022-v1:0": {"litellm_provider": "bedrock"},
    "anthropic.claude-haiku-4-5@20251001": {"litellm_provider": "bedrock_converse"},
    "bedrock/us-east-1/zai.glm-5": {"litellm_provider": "bedrock"},
    "bedrock_mantle/openai.gpt-5.4": {"litellm_provider": "bedrock_mantle"},
    "bedrock_mantle/zai.glm-5": {"litellm_provider": "bedrock_mantle"},
    "zai.glm-5": {"litellm_provider": "bedrock"},
    "mistral.not-ours": {"litellm_provider": "vertex_ai"},
    "sample_spec": "text",
}
PYTHON: Final = '''
"""A docstring with amazon.nova-pro-v1:0 inside is no id."""
NAMES = ["global.amazon.nova-2-lite-v1:0", "gpt-4o", "meta.llama3-1-405b-instruct-v1:0", "openai.gpt-5.4"]
'''


def test_the_script_takes_what_is_current_and_of_the_runtime(tmp_path: Path) -> None:
    """Not: what is past its end by any source, retired, of another endpoint or provider, or spelt in another way."""
    table, module, output = tmp_path / "table.json", tmp_path / "names.py", tmp_path / "known_models.py"
    table.write_text(json.dumps(TABLE))
    module.write_text(PYTHON)
    arguments = ["--date", "2026-11-20", "--output", str(output), f"litellm 1.2={table}", f"other 3={module}"]
    done = subprocess.run([sys.executable, str(SCRIPT), *arguments], check=True, capture_output=True, text=True)
    assert done.stdout == "known_models.py written: 4 ids\n"
    made = runpy.run_path(str(output))
    assert get_args(made["KnownModelId"]) == (
        "amazon.nova-lite-v1:0",
        "global.amazon.nova-2-lite-v1:0",
        "us.amazon.nova-lite-v1:0",
        "zai.glm-5",
    )
    assert "As of 2026-11-20, from litellm 1.2, other 3." in made["__doc__"]
    # What is written is as our formatter would write it.
    subprocess.run([sys.executable, "-m", "ruff", "format", "--check", "--isolated", str(output)], check=True)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [("litellm 1.2", "is not"), ("litellm 1.2=/nowhere.json", "is not"), ("empty 1={empty}", "holds no model id")],
)
def test_the_script_refuses_a_source_that_is_none(tmp_path: Path, source: str, complaint: str) -> None:
    """A wrong file would make a table with holes."""
    empty = tmp_path / "empty.py"
    empty.write_text("NAMES = []\n")
    arguments = ["--date", "2026-11-20", "--output", str(tmp_path / "out.py"), source.format(empty=empty)]
    done = subprocess.run([sys.executable, str(SCRIPT), *arguments], check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert complaint in done.stderr
    assert not (tmp_path / "out.py").exists()


# -- the default model


@pytest.mark.parametrize(
    ("region", "geography"),
    [
        ("us-east-1", "us"),
        ("us-west-2", "us"),
        ("us-gov-west-1", "us-gov"),
        ("us-gov-east-1", "us-gov"),
        ("eu-central-1", "eu"),
        ("eu-north-1", "eu"),
        ("eu-south-2", "eu"),
        ("ap-northeast-1", "jp"),
        ("ap-northeast-3", "jp"),
        ("ap-northeast-2", "apac"),
        ("ap-southeast-2", "au"),
        ("ap-southeast-4", "au"),
        ("ap-southeast-1", "apac"),
        ("ap-east-1", "apac"),
        ("ap-south-1", "in"),
        ("ap-south-2", "in"),
        ("ca-central-1", "ca"),
        ("ca-west-1", "ca"),
        ("sa-east-1", "global"),
        ("me-central-1", "global"),
        ("af-south-1", "global"),
        ("il-central-1", "global"),
        ("mx-central-1", "global"),
    ],
)
def test_the_default_model_is_of_the_regions_geography(region: str, geography: str) -> None:
    """An inference profile whose prefix is the region's own, or global where there is none."""
    assert geography_of(region) == geography
    chosen = parse_model_id(default_model(region))
    assert (chosen.kind, chosen.geography) == ("inference-profile", geography)


def test_every_default_is_a_known_profile_of_its_geography() -> None:
    """A refresh of the table that loses one of them fails here, not at a user's."""
    assert set(DEFAULT_MODELS) <= GEOGRAPHIES
    for geography, model in DEFAULT_MODELS.items():
        assert model in KNOWN
        assert parse_model_id(model).geography == geography


@pytest.mark.parametrize(
    "region",
    [
        *("cn-north-1", "us-iso-east-1", "us-isob-east-1", "us-isof-south-1", "eu-isoe-west-1", "eusc-de-east-1"),
        *("", "us-east", "US-EAST-1", "us-east-1 ", "moon-base-1", "xus-east-1"),
    ],
)
def test_a_region_without_profiles_has_no_default(region: str) -> None:
    """China, the isolated partitions, the European sovereign cloud, and what is no region at all."""
    with pytest.raises(InvalidRequestError, match="no inference profile is known for the region") as caught:
        default_model(region)
    assert caught.value.path == "region"
    assert "list_models" in str(caught.value)


@given(st.text())
def test_any_text_has_a_default_or_is_refused(region: str) -> None:
    """Nothing else can happen."""
    with contextlib.suppress(InvalidRequestError):
        assert default_model(region) in KNOWN
